#!/bin/sh
# arm.sh kernels|engine|model|families SOURCE_ROOT BUILD: tests cross-compiled for 64-bit ARM (arm.mk) and run by
# qemu on a CPU with matrix products, on one with the dot product alone and on one without either, where
# using them would be SIGILL; bits must be those of the same program here. TAP; everything is skipped where
# compiler or emulator are missing.
#
#   kernels    every kernel against scalar, and scalar here against scalar there
#   engine     the engine's unit tests; logits and an answer of models that cover every feature
#   model      tokens, log-probabilities and logits of the default model (SLV_TEST_MODEL)
#   families   the same of all models with long prompts, and the families test itself: long
set -eu
what=$1 root=$2 build=$(realpath "$3")
cpus="max neoverse-n1 cortex-a72"
case $what in families | model) cpus="max cortex-a72" ;; esac
out=$build/tests/arm
n=0
if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64-static >/dev/null; then
    echo "1..0 # SKIP no compiler or no emulator for ARM"
    exit 0
fi
mkdir -p "$out"
cd "$root"

result() { # ""|"not " NAME
    n=$((n + 1))
    echo "$1ok $n - $2"
}

both() { # NAME PROGRAM [ARGUMENT...]: its output on each CPU is $out/NAME.CPU
    name=$1 program=$out/$2
    shift 2
    for cpu in $cpus; do
        { qemu-aarch64-static -cpu "$cpu" "$program" "$@" || echo "not ok: status $?"; } >"$out/$name.$cpu" 2>&1 &
    done
    wait
}

passes() { # NAME: what it printed is TAP of a whole and good run
    for cpu in $cpus; do
        log=$out/$1.$cpu
        if grep -q '^1\.\.' "$log" && ! grep -q '^not ok' "$log"; then
            result "" "$1 on $cpu: $(grep -c '^ok' "$log") passed"
        else
            result "not " "$1 on $cpu"
            grep -v '^ok' "$log" | head -5 | sed 's/^/# /'
        fi
    done
}

same_bits() { # NAME HERE [ARGUMENT...]: what program HERE prints of bits is what NAME printed there
    name=$1 program=$build/tests/$2
    shift 2
    "$program" "$@" 2>/dev/null | grep '^bits' >"$out/$name.here" || true
    for cpu in $cpus; do
        grep '^bits' "$out/$name.$cpu" >"$out/$name.there" || true
        if [ -s "$out/$name.here" ] && cmp -s "$out/$name.here" "$out/$name.there"; then
            result "" "$name on $cpu: $(tail -1 "$out/$name.here") in both, $(wc -l <"$out/$name.here") lines"
        else
            result "not " "$name on $cpu: other bits than here"
            diff "$out/$name.here" "$out/$name.there" >"$out/$name.diff" || true
            sed -n 's/^< /# here:  /p' "$out/$name.diff" | head -1
            sed -n 's/^> /# there: /p' "$out/$name.diff" | head -1
            grep '^not ok' "$out/$name.$cpu" | sed 's/^/# /' || true
        fi
    done
}

# Two of these tests may want the programs at once.
if ! flock "$out/lock" make -s -j2 -f tests/arm/arm.mk BUILD="$build" >"$out/make.log" 2>&1; then
    result "not " "the programs for ARM"
    sed 's/^/# /' "$out/make.log" | head -20
    echo "1..1"
    exit 0
fi
case $what in
kernels)
    both kernels kernel/check 1
    passes kernels
    both kernel-bits kernel/check --digest
    same_bits kernel-bits kernel_check --digest
    ;;
engine)
    for test in base fmath layout quant engine; do
        both $test unit/test_$test
        passes $test
    done
    both answers golden/check_families --digest few
    same_bits answers check_families --digest few
    ;;
model)
    if [ -n "${SLV_TEST_MODEL:-}" ]; then
        both model golden/one_result "$SLV_TEST_MODEL" --digest few
        same_bits model one_result "$SLV_TEST_MODEL" --digest few
    else
        result "" "the default model # SKIP SLV_TEST_MODEL is not set"
    fi
    ;;
families)
    both all-answers golden/check_families --digest
    same_bits all-answers check_families --digest
    both families golden/check_families
    passes families
    ;;
esac
echo "1..$n"
