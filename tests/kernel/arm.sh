#!/bin/sh
# arm.sh SOURCE_ROOT WORK_DIR NATIVE_CHECK: the kernel check, cross-compiled for 64-bit ARM and run by qemu on a
# CPU with the dot product and on one without; its digest must be that of the native program. Exits 77 where compiler or emulator are missing.
set -eu
root=$1
work=$2
native=$(realpath "$3")
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null && command -v qemu-aarch64-static >/dev/null || exit 77
mkdir -p "$work"
cd "$root"
flags="-std=gnu11 -O2 -ffp-contract=off -fno-strict-aliasing -Wall -Wextra -Werror -Iinclude -Isrc"
objects=
for src in src/kernel/*.c src/base/mem.c src/base/dtype.c src/base/clock.c tests/kernel/check.c \
    src/kernel/arm/kernels_neon.c; do
    object=$work/$(echo "$src" | tr / _).o
    $cc $flags -c "$src" -o "$object"
    objects="$objects $object"
done
$cc $flags -march=armv8.2-a+dotprod -c src/kernel/arm/kernels_dotprod.c -o "$work/dotprod.o"
$cc -static $objects "$work/dotprod.o" -o "$work/check"
n=0
for cpu in max cortex-a72; do # a72 has no dot product: using it there would be SIGILL
    n=$((n + 1))
    if qemu-aarch64-static -cpu $cpu "$work/check" 1 >"$work/$cpu.log" && ! grep -q '^not ok' "$work/$cpu.log"; then
        echo "ok $n - $cpu: $(grep -c '^ok' "$work/$cpu.log") kernel checks"
    else
        echo "not ok $n - $cpu"
        grep '^not ok\|^#' "$work/$cpu.log" | head -5
    fi
done
n=$((n + 1))
here=$("$native" --digest | tail -1)
there=$(qemu-aarch64-static -cpu max "$work/check" --digest | tail -1)
if [ "$here" = "$there" ]; then echo "ok $n - both give the same bits: $here"
else echo "not ok $n - here $here, there $there"; fi
echo "1..$n"
