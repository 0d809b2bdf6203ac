#!/bin/sh
# old_cpu.sh SELVAGE ONE_RESULT TINY_MODEL: on a processor of 2008 (qemu's Nehalem: SSE4.2, no AVX), where any
# newer instruction is SIGILL, the program runs and answers as it does here. TAP; skipped without qemu.
set -eu
selvage=$1 one_result=$2 tiny=$3
if ! command -v qemu-x86_64-static >/dev/null || [ "$(uname -m)" != x86_64 ]; then
    echo "1..0 # SKIP no emulator for x86, or another machine"
    exit 0
fi
n=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

result() { # ""|"not " NAME
    n=$((n + 1))
    echo "$1ok $n - $2"
}

same() { # NAME PROGRAM [ARGUMENT...]: prints the same here and there
    name=$1
    shift
    "$@" >"$out/here" 2>"$out/here.err" || true
    qemu-x86_64-static -cpu Nehalem "$@" >"$out/there" 2>"$out/there.err" || echo "status $?" >>"$out/there"
    grep -v '^cpu ' "$out/here" >"$out/here.bits" || true
    grep -v '^cpu ' "$out/there" >"$out/there.bits" || true
    if [ -s "$out/here.bits" ] && cmp -s "$out/here.bits" "$out/there.bits"; then
        result "" "$name: the same on an old processor"
    else
        result "not " "$name: not the same on an old processor"
        cat "$out/there" "$out/there.err" | tail -n 6 | sed 's/^/# /'
    fi
}

same "bits of a tiny model" "$one_result" "$tiny" --digest few
[ -z "${SLV_TEST_MODEL:-}" ] || same "an answer of the default model" \
    "$selvage" run "$SLV_TEST_MODEL" --raw "Once" -n 3 --no-repack-cache --quiet
# What is packed here is right there: checksums are the same with other vectors.
SELVAGE_HOME=$out/home
export SELVAGE_HOME
"$selvage" run "$tiny" --raw "a" -n 1 --quiet >/dev/null
if qemu-x86_64-static -cpu Nehalem "$selvage" run "$tiny" --raw "a" -n 1 --json 2>"$out/packed.err" |
    grep -q '"packed":"cached"' && [ ! -s "$out/packed.err" ]; then
    result "" "packed weights are read on an old processor"
else
    result "not " "packed weights are not read on an old processor"
    sed 's/^/# /' "$out/packed.err"
fi
if qemu-x86_64-static -cpu Nehalem "$selvage" doctor --json | grep -q '"sse4"'; then
    result "" "doctor says sse4"
else
    result "not " "doctor does not say sse4"
fi
echo "1..$n"
