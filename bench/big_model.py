#!/usr/bin/env python3
"""Writes a model of a published shape with random weights, for measuring speed and memory where no
real one of that size is at hand. Nothing sensible comes out of it, but every number is finite.

usage: big_model.py SHAPE MIX FILE
       SHAPE: see SHAPES; MIX: q4_0, q4_1, q8_0, f16, or q4_k_m (types as llama.cpp's quantizer mixes)

A tensor's bytes are a pool of random blocks, laid end to end from a place that depends on the
tensor's name, so that gigabytes take seconds. Standard library only, the same bytes every time.
"""
import hashlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden"))
import tiny_model as tiny  # noqa: E402  shapes to tensors, block encoders

SHAPES = {
    "smollm2-135m": ("llama", {"layers": 30, "embd": 576, "heads": 9, "kv": 3, "ff": 1536,
                               "n_vocab": 49152, "tied": True,
                               "meta": {"rope.freq_base": 100000.0}}),
    "llama-1b": ("llama", {"layers": 16, "embd": 2048, "heads": 32, "kv": 8, "ff": 8192,
                           "n_vocab": 128256, "tied": True, "meta": {"rope.freq_base": 500000.0}}),
    "qwen2.5-1.5b": ("qwen2", {"layers": 28, "embd": 1536, "heads": 12, "kv": 2, "ff": 8960,
                               "n_vocab": 151936}),
    "qwen2.5-3b": ("qwen2", {"layers": 36, "embd": 2048, "heads": 16, "kv": 2, "ff": 11008,
                             "n_vocab": 151936}),
    "llama-8b": ("llama", {"layers": 32, "embd": 4096, "heads": 32, "kv": 8, "ff": 14336,
                           "n_vocab": 128256, "meta": {"rope.freq_base": 500000.0}}),
}
POOL = 4096  # blocks


def half_the_layers(i, n):
    """Of which llama.cpp's quantizer gives some tensors more bits."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def kind_of(c, mix, name):
    """The type of a matrix."""
    if mix != "q4_k_m":
        return mix
    if name == "output.weight" or (name == "token_embd.weight" and c["tied"]):
        return "q6_k"
    part = name.split(".")[-2]
    if part in ("attn_v", "ffn_down") and half_the_layers(int(name.split(".")[1]), c["layers"]):
        return "q6_k"
    return "q4_k"


class Pools:
    """Random blocks by type and spread."""

    def __init__(self):
        self.known = {}

    def get(self, kind, spread):
        key = (kind, round(spread, 9))
        if key not in self.known:
            block = tiny.TYPES[kind][1]
            _, raw, _ = tiny.encode(f"pool/{key}", POOL * block, kind, spread)
            self.known[key] = raw * 64  # a piece to write at a time
        return self.known[key]


def write_tensor(f, pool, name, n):
    """n bytes of the pool, from a place of the tensor's own; then zeros up to 32."""
    at = int(hashlib.sha256(name.encode()).hexdigest(), 16) % POOL * (len(pool) // (64 * POOL))
    left = n
    while left:
        piece = pool[at:at + left]
        f.write(piece)
        left -= len(piece)
        at = 0
    f.write(bytes(-n % 32))


def main(shape, mix, path):
    arch, how = SHAPES[shape]
    c = tiny.case(f"{shape}-{mix}", arch, n_ctx=32768, **how)
    infos, plans, at, pools = [], [], 0, Pools()
    for name, dims, centre, spread in tiny.tensors(c):
        count = tiny.size(dims)
        if len(dims) == 2:
            kind = kind_of(c, mix, name)
            number, block = tiny.TYPES[kind][:2]
            if dims[0] % block:
                sys.exit(f"{name}: {dims[0]} columns do not divide into {kind} blocks")
            n = count // block * len(pools.get(kind, spread / 1.7)) // (64 * POOL)
            plans.append((name, n, kind, spread / 1.7))
        else:
            number, n = tiny.g.T_F32, 4 * count
            plans.append((name, n, None, tiny.numbers(c, name, dims, centre, spread)))
        infos.append(tiny.g.tensor(name, dims, number, at))
        at += n + -n % 32
    with open(path, "wb") as f:
        f.write(tiny.g.gguf(tiny.metadata(c), infos))
        for name, n, kind, what in plans:
            if kind:
                write_tensor(f, pools.get(kind, what), name, n)
            else:
                f.write(what + bytes(-n % 32))


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__ + "\nSHAPES: " + ", ".join(SHAPES))
    main(*sys.argv[1:])
