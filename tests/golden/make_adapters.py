#!/usr/bin/env python3
"""Makes tests/data/adapters/goldens.bin: what the tiny models answer with the adapters of
tiny_adapter.py, by forward.py on merged weights, and by llama.cpp with the adapters' files.

usage: make_adapters.py MODEL_FOLDER ADAPTER_FOLDER DATA_FOLDER

Needs SLV_LIBLLAMA, numpy and gguf as make_families.py does, whose way with llama.cpp this shares.

goldens.bin, little-endian:
    "SLVADA1\\n", u32 n_vocab, u32 cases, u32 ids, i32 ids[]
    for each case: char model[32], char name[32], f32 llama_bar (0: llama.cpp has no such goldens),
                   f32 exact[2][n_vocab], f32 llama[2][n_vocab]
The two are the logits after the first 7 and all ids.
"""
import ctypes
import os
import struct
import sys

import numpy as np

import forward
import make_families as mf
import tiny_adapter
import tiny_model

LENGTHS = (7, 120)
# How far llama.cpp may be: beside tensors of these types it rounds what it multiplies.
BARS = {tiny_adapter.g.T_F16: 5e-3, tiny_adapter.T_BF16: 2e-2, tiny_adapter.g.T_Q8_0: 0.3}
BY_NAME = {a["name"]: a for a in tiny_adapter.ADAPTERS}


def known_to_llama(c, uses):
    """Where tensors have scales of their own it answers otherwise than merged weights, by units. With
    one table for both ends it applies an adapter of the table to the output, where shapes do not fit."""
    return not c["scale"] and not (c["tied"] and any("token_embd" in BY_NAME[a]["which"] for a, _ in uses))


class Llama(mf.Llama):
    def __init__(self, path):
        super().__init__(path)
        for name, result, *args in (
                ("llama_adapter_lora_init", mf.P, mf.P, ctypes.c_char_p),
                ("llama_set_adapters_lora", mf.I32, mf.P, mf.P, ctypes.c_size_t, mf.P)):
            f = getattr(self.lib, name)
            f.restype, f.argtypes = result, args

    def adapted(self, path, uses, ids):
        lib, m = self.lib, self.lib.llama_model_default_params()
        m.n_gpu_layers = 0
        model = lib.llama_model_load_from_file(path.encode(), m)
        adapters = [lib.llama_adapter_lora_init(model, p.encode()) for p, _ in uses]
        if not model or not all(adapters):
            sys.exit(f"{path}: llama.cpp does not open it, or an adapter")
        c = lib.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = tiny_model.N_CTX
        c.n_threads = c.n_threads_batch = 1
        c.flash_attn_type = 0
        c.type_k = c.type_v = mf.GGML_F32
        ctx = lib.llama_init_from_model(model, c)
        n = len(uses)
        if lib.llama_set_adapters_lora(ctx, (mf.P * n)(*adapters), n,
                                       (mf.F * n)(*[s for _, s in uses])):
            sys.exit(f"{path}: llama.cpp refuses its adapters")
        out = []
        for n in LENGTHS:
            lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
            tokens = (mf.I32 * n)(*ids[:n])
            if lib.llama_decode(ctx, lib.llama_batch_get_one(tokens, n)):
                sys.exit(f"{path}: llama.cpp fails")
            p = lib.llama_get_logits_ith(ctx, -1)
            out.append(np.ctypeslib.as_array(p, (tiny_model.N_VOCAB,)).astype("<f4"))
        lib.llama_free(ctx)
        lib.llama_model_free(model)
        return np.stack(out)


def one(llama, models, adapters, case, ids):
    model, name, uses = case
    merged = os.path.join(adapters, f"{model}+{name}-merged.gguf")
    exact = forward.logits(merged, ids, tiny_model.N_CTX)[[n - 1 for n in LENGTHS]].astype("<f4")
    c = tiny_adapter.case_of(model)
    known = known_to_llama(c, uses)
    files = [(os.path.join(adapters, f"{a}.gguf"), s) for a, s in uses]
    path = os.path.join(models, f"{model}.gguf")
    theirs = llama.adapted(path, files, ids) if known else np.zeros_like(exact)
    bar = max([mf.GELU_BAR if c["arch"] in forward.GELU else mf.LLAMA_BAR]
              + [BARS.get(BY_NAME[a]["kind"], 0.0) for a, _ in uses]) if known else 0.0
    line = f"{model:14} {name:8} {np.abs(exact).max():6.2f}  " + (
        f"{np.abs(theirs - exact).max():.1e}" if known else "-")
    return (struct.pack("<32s32sf", model.encode(), name.encode(), bar) + exact.tobytes()
            + theirs.tobytes()), line


def main(models, adapters, data):
    llama = Llama(os.environ["SLV_LIBLLAMA"])
    ids = mf.prompt()[:LENGTHS[-1]]
    records, lines = [], []
    for case in tiny_adapter.CASES:
        record, line = one(llama, models, adapters, case, ids)
        print(line)
        records.append(record)
        lines.append(line + "\n")
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "goldens.bin"), "wb") as f:
        f.write(b"SLVADA1\n" + struct.pack("<III", tiny_model.N_VOCAB, len(records), len(ids))
                + struct.pack(f"<{len(ids)}i", *ids) + b"".join(records))
    with open(os.path.join(data, "README"), "w") as f:
        f.write("""Goldens of adapters, made by tests/golden/make_adapters.py, which says what is in goldens.bin, on
the files of tests/golden/tiny_model.py and tiny_adapter.py:

    SLV_LIBLLAMA=.../libllama.so python3 tests/golden/make_adapters.py MODELS ADAPTERS tests/data/adapters

model, case, largest |logit|, largest difference between forward.py on merged weights and llama.cpp
b11434 with the adapters' files:

""")
        f.writelines(lines)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
