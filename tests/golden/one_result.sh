#!/bin/sh
# one_result.sh PROGRAM TINY_MODEL: one_result on the default model (SLV_TEST_MODEL) and on a tiny one, and
# then the same bits on every instruction set that this machine has. TAP.
set -eu
program=$1
n=0

result() { # ""|"not " NAME
    n=$((n + 1))
    echo "$1ok $n - $2"
}

levels() { # MODEL NAME: native against all below
    "$program" "$1" --digest all >"$out/here"
    for cpu in scalar sse4 avx2 avxvnni avx512 avx512vnni amx; do
        much=all
        [ "$cpu $2" = "scalar default" ] && much=few # it is slow
        SLV_CPU=$cpu "$program" "$1" --digest $much >"$out/there"
        grep -qx "cpu $cpu" "$out/there" || continue # not on this machine
        if [ $much = few ]; then "$program" "$1" --digest few; else cat "$out/here"; fi | grep ^bits >"$out/want"
        if grep ^bits "$out/there" | cmp -s - "$out/want"; then
            result "" "$2 model: $cpu gives the bits of $(sed -n 's/^cpu //p' "$out/here")"
        else
            result "not " "$2 model: $cpu gives other bits than $(sed -n 's/^cpu //p' "$out/here")"
        fi
    done
}

ways() { # MODEL NAME
    "$program" "$1" >"$out/ways" || true
    grep '^#' "$out/ways" || true
    # the plan comes last: nothing was cut short
    grep -q '^1\.\.' "$out/ways" || { result "not " "$2 model: $(tail -1 "$out/ways")"; return; }
    while read -r verdict line; do
        case $verdict in
        ok) result "" "$2 model: ${line#* - }" ;;
        not) result "not " "$2 model: ${line#* - }" ;;
        esac
    done <"$out/ways"
}

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
ways "$2" tiny
levels "$2" tiny
if [ -n "${SLV_TEST_MODEL:-}" ]; then
    ways "$SLV_TEST_MODEL" default
    levels "$SLV_TEST_MODEL" default
fi
echo "1..$n"
