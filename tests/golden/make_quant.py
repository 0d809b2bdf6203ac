#!/usr/bin/env python3
"""Writes tests/data/quant/blocks.bin, what tests/unit/test_quant.c compares with.

Expected values are those of the Python package gguf (gguf.quants.dequantize; made with 0.19.0). It
does not know Q8_K, Q1_0 and Q2_0: those come from ggml's own ggml_get_type_traits(type)->to_float
(Q8_K: dequantize_row_q8_K) in libggml-base.so (llama.cpp b11434). Q8_1 has no such function
anywhere, being ggml's type for activations: value = d * q by its definition in ggml-common.h.
Types that both know are compared with each other, and the counts are printed.

    SLV_LIBLLAMA=/path/to/libllama.so make_quant.py tests/data/quant/blocks.bin

The file is a row of records, all little-endian:

    u32 type | u32 seed | u32 blocks | u32 bytes = 0 | u64 FNV-1a of the values' bits
    u32 type | 0        | u32 blocks | u32 bytes | bytes | f32 x blocks * block size

With a seed the bytes are drawn from splitmix64(seed), and bit 6 of the high byte of each float in a
block is cleared, which keeps scales finite. Seed 0xffffffff stands for the 65536 16-bit numbers in
order. Every NaN counts as 0x7fc00000.
"""
import ctypes
import os
import struct
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

NAMES = """F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS
IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS IQ1_M TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0""".split()
IDS = {n: T[n].value for n in NAMES if n in T.__members__} | {"Q1_0": 41, "Q2_0": 42}

# name: (elements, bytes, offsets of f16 numbers in the block)
BLOCKS = {
    "F16": (1, 2, []), "BF16": (1, 2, []),
    "Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]),
    "Q5_1": (32, 24, [0, 2]), "Q8_0": (32, 34, [0]), "Q8_1": (32, 36, [0, 2]),
    "Q2_K": (256, 84, [80, 82]), "Q3_K": (256, 110, [108]), "Q4_K": (256, 144, [0, 2]),
    "Q5_K": (256, 176, [0, 2]), "Q6_K": (256, 210, [208]), "Q8_K": (256, 292, [2]),
    "IQ2_XXS": (256, 66, [0]), "IQ2_XS": (256, 74, [0]), "IQ3_XXS": (256, 98, [0]),
    "IQ1_S": (256, 50, [0]), "IQ4_NL": (32, 18, [0]), "IQ3_S": (256, 110, [0]),
    "IQ2_S": (256, 82, [0]), "IQ4_XS": (256, 136, [0]), "IQ1_M": (256, 56, [54]),
    "TQ1_0": (256, 54, [52]), "TQ2_0": (256, 66, [64]), "MXFP4": (32, 17, []),
    "NVFP4": (64, 36, []), "Q1_0": (128, 18, [0]), "Q2_0": (64, 18, [0]),
}
# Q8_K's scale is an f32 at 0 and IQ1_M's f16 is spread over the top nibbles of four u16 at 48; for
# both the listed offset is where the sign and the exponent's upper bits are.

# zero, subnormals, the largest, an ordinary one, infinity, NaN
SCALES = [0x0000, 0x8001, 0x03ff, 0xfbff, 0x1234, 0xfc00, 0x7e01]
E8M0 = [0, 1, 2, 3, 127, 128, 253, 254, 255]
UE4M3 = [0, 1, 7, 8, 9, 0x3f, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff]


def random_bytes(seed, n):
    """splitmix64, eight little-endian bytes a step."""
    out = bytearray()
    mask = (1 << 64) - 1
    while len(out) < n:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out += struct.pack("<Q", z ^ (z >> 31))
    return bytes(out[:n])


def seeded(name, seed, count):
    _, size, halves = BLOCKS[name]
    b = bytearray(random_bytes(seed, size * count))
    for i in range(count):
        for h in halves:
            b[i * size + h + 1] &= 0xBF
    return bytes(b)


def put_scale(name, block, half, at):
    if name == "IQ1_M":
        for k in range(4):
            block[49 + 2 * k] = (block[49 + 2 * k] & 15) | (half >> 4 * k & 15) << 4
    elif name == "Q8_K":
        block[0:4] = np.array([half], np.uint16).view(np.float16).astype(np.float32).tobytes()
    else:
        block[at:at + 2] = struct.pack("<H", half)


def extremes(name):
    """One block for each scale worth trying, other bytes random."""
    _, size, halves = BLOCKS[name]
    if name in ("F16", "BF16"):
        return np.arange(65536, dtype="<u2").tobytes()
    cases = E8M0 if name == "MXFP4" else UE4M3 if name == "NVFP4" else SCALES
    out = bytearray()
    for i, case in enumerate(cases):
        block = bytearray(random_bytes(1000 * IDS[name] + i, size))
        if name == "MXFP4":
            block[0] = case
        elif name == "NVFP4":
            block[0:4] = bytes(UE4M3[(i + k) % len(UE4M3)] for k in range(4))
        for k, at in enumerate(halves):
            put_scale(name, block, SCALES[(i + 3 * k) % len(SCALES)], at)
        out += block
    return bytes(out)


class Traits(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("block", ctypes.c_int64),
                ("interleave", ctypes.c_int64), ("size", ctypes.c_size_t),
                ("quantized", ctypes.c_bool), ("to_float", ctypes.c_void_p)]


def by_ggml(lib, name, data):
    traits = lib.ggml_get_type_traits(IDS[name]).contents
    elements, size, _ = BLOCKS[name]
    to_float = traits.to_float
    if name == "Q8_K":
        to_float = ctypes.cast(lib.dequantize_row_q8_K, ctypes.c_void_p).value
    if not to_float:
        return None
    assert (traits.block, traits.size) == (elements, size), name
    src = np.frombuffer(data, np.uint8).copy()
    n = len(data) // size * elements
    dst = np.empty(n, np.float32)
    fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(to_float)
    fn(src.ctypes.data, dst.ctypes.data, n)
    return dst


def by_gguf(name, data):
    if name not in T.__members__:
        return None
    _, size, _ = BLOCKS[name]
    rows = np.frombuffer(data, np.uint8).reshape(-1, size).copy()
    if name == "Q8_1":
        d = rows[:, :2].copy().view(np.float16).astype(np.float32)
        return (d * rows[:, 4:].copy().view(np.int8).astype(np.float32)).reshape(-1)
    try:
        with np.errstate(all="ignore"):
            return quants.dequantize(rows, T[name]).reshape(-1)
    except NotImplementedError:
        return None


def bits(values):
    u = values.astype("<f4").view("<u4").copy()
    u[(u & 0x7fffffff) > 0x7f800000] = 0x7fc00000
    return u


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def values(lib, name, data, counts):
    ours, theirs = by_gguf(name, data), by_ggml(lib, name, data)
    if ours is None or theirs is None:
        counts["one source"] += 1
        return bits(theirs if ours is None else ours)
    a, b = bits(ours), bits(theirs)
    counts["two sources"] += 1
    counts["values that differ"] += int((a != b).sum())
    return a


def main(path):
    base = os.path.join(os.path.dirname(os.environ["SLV_LIBLLAMA"]), "libggml-base.so")
    lib = ctypes.CDLL(base)
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    counts = {"one source": 0, "two sources": 0, "values that differ": 0}
    out = bytearray()
    for name in NAMES:
        elements, size, _ = BLOCKS[name]
        data = extremes(name)
        v = values(lib, name, data, counts)
        if elements == 1:  # all 65536 numbers: a hash is enough
            out += struct.pack("<IIII", IDS[name], 0xFFFFFFFF, len(data) // size, 0)
            out += struct.pack("<Q", fnv(v.tobytes()))
            continue
        out += struct.pack("<IIII", IDS[name], 0, len(data) // size, len(data)) + data + v.tobytes()
        seed, count = 7 + IDS[name], 1024
        v = values(lib, name, seeded(name, seed, count), counts)
        out += struct.pack("<IIIIQ", IDS[name], seed, count, 0, fnv(v.tobytes()))
    open(path, "wb").write(out)
    print(f"{len(NAMES)} types, {len(out)} bytes; comparisons: {counts}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
