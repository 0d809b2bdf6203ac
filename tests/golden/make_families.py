#!/usr/bin/env python3
"""Makes tests/data/families/goldens.bin: what every tiny model (tiny_model.py) answers, by
llama.cpp and by forward.py.

usage: make_families.py MODEL_FOLDER DATA_FOLDER

SLV_LIBLLAMA is the path of libllama.so; its structs are those of llama.h at b11434, checked by
their defaults. Flash attention is off, the cache is F32, one thread. Needs numpy and gguf.

goldens.bin, little-endian:
    "SLVFAM1\\n", u32 n_vocab, u32 cases, u32 ids, i32 ids[]
    for each case: char name[32], f32 llama_bar, f32 exact_bar (0: no such goldens),
                   f32 exact[3][n_vocab], f32 llama[4][n_vocab]
The four are the logits after the first 1, 7 and 300 ids, and after 300 fed as 290 and 10.
"""
import ctypes
import hashlib
import os
import struct
import sys

import numpy as np

import forward
import tiny_model

LENGTHS = (1, 7, 300)
FILLED = 290
# How far our engine may be from llama.cpp. Its GELU reads a table of halves.
LLAMA_BAR = 1e-3
LLAMA_BARS = {"gemma3-27b": 3e-2}  # 62 layers
GELU_BAR = 5e-3
EXACT_BAR = 1e-4
NOT_LLAMA = {"llama-window": "llama.cpp passes over the window",
             "llama-scale-output": "llama.cpp knows output.scale beside NVFP4 only",
             "phi3-scale-ffn": "llama.cpp passes over these scales"}

P, I32, U32, F, B = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_float,
                     ctypes.c_bool)


def struct_of(name, fields):
    return type(name, (ctypes.Structure,), {"_fields_": fields})


ModelParams = struct_of("ModelParams", [
    ("devices", P), ("bufts", P), ("n_gpu_layers", I32), ("split_mode", I32), ("load_mode", I32),
    ("lazy_mode", I32), ("main_gpu", I32), ("tensor_split", P), ("progress", P),
    ("progress_data", P), ("kv_overrides", P), ("vocab_only", B), ("check_tensors", B),
    ("use_extra_bufts", B), ("no_host", B), ("no_alloc", B), ("load_mtp", B)])
ContextParams = struct_of("ContextParams", [
    ("n_ctx", U32), ("n_batch", U32), ("n_ubatch", U32), ("n_seq_max", U32), ("n_rs_seq", U32),
    ("n_outputs_max", U32), ("n_outputs_max_per_seq", U32), ("n_threads", I32),
    ("n_threads_batch", I32), ("ctx_type", I32), ("rope_scaling_type", I32), ("pooling_type", I32),
    ("attention_type", I32), ("flash_attn_type", I32), ("rope_freq_base", F),
    ("rope_freq_scale", F), ("yarn_ext_factor", F), ("yarn_attn_factor", F), ("yarn_beta_fast", F),
    ("yarn_beta_slow", F), ("yarn_orig_ctx", U32), ("defrag_thold", F), ("cb_eval", P),
    ("cb_eval_data", P), ("type_k", I32), ("type_v", I32), ("abort", P), ("abort_data", P),
    ("embeddings", B), ("offload_kqv", B), ("no_perf", B), ("op_offload", B), ("swa_full", B),
    ("kv_unified", B), ("samplers", P), ("n_samplers", ctypes.c_size_t), ("ctx_other", P)])
Batch = struct_of("Batch", [
    ("n_tokens", I32), ("token", P), ("embd", P), ("pos", P), ("n_seq_id", P), ("seq_id", P),
    ("logits", P)])
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, P)
GGML_F32, GGML_F16 = 0, 1


def said(level, text, _):
    if level == 4:  # errors
        sys.stderr.write(text.decode())


class Llama:
    def __init__(self, path):
        self.lib = lib = ctypes.CDLL(path)
        for name, result, *args in (
                ("llama_model_default_params", ModelParams),
                ("llama_context_default_params", ContextParams),
                ("llama_model_load_from_file", P, ctypes.c_char_p, ModelParams),
                ("llama_init_from_model", P, P, ContextParams),
                ("llama_batch_get_one", Batch, P, I32), ("llama_decode", I32, P, Batch),
                ("llama_get_logits_ith", ctypes.POINTER(F), P, I32), ("llama_get_memory", P, P),
                ("llama_memory_clear", None, P, B), ("llama_free", None, P),
                ("llama_model_free", None, P), ("llama_log_set", None, P, P)):
            f = getattr(lib, name)
            f.restype, f.argtypes = result, args
        self.log = LOG(said)
        lib.llama_log_set(self.log, None)
        lib.llama_backend_init()
        c = lib.llama_context_default_params()
        m = lib.llama_model_default_params()
        if ((c.n_ctx, c.n_batch, c.n_ubatch, c.yarn_beta_fast, c.flash_attn_type, c.type_k,
             c.type_v, c.swa_full, c.n_samplers) != (512, 2048, 512, -1.0, -1, 1, 1, True, 0)
                or (m.load_mode, m.vocab_only, m.use_extra_bufts) != (-1, False, True)):
            sys.exit("libllama's structs are not those this script knows")

    def logits(self, path, n_ctx, ids):
        """After each of LENGTHS, then with a filled cache."""
        lib, m = self.lib, self.lib.llama_model_default_params()
        m.n_gpu_layers = 0
        model = lib.llama_model_load_from_file(path.encode(), m)
        if not model:
            sys.exit(f"{path}: llama.cpp does not open it")
        c = lib.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = n_ctx
        c.n_threads = c.n_threads_batch = 1
        c.flash_attn_type = 0
        c.type_k = c.type_v = GGML_F32
        ctx = lib.llama_init_from_model(model, c)
        if not ctx:
            sys.exit(f"{path}: llama.cpp gives no context")
        out = []
        for parts in [[n] for n in LENGTHS] + [[FILLED, LENGTHS[-1] - FILLED]]:
            lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
            at = 0
            for n in parts:
                tokens = (I32 * n)(*ids[at:at + n])
                if lib.llama_decode(ctx, lib.llama_batch_get_one(tokens, n)):
                    sys.exit(f"{path}: llama.cpp fails")
                at += n
            p = lib.llama_get_logits_ith(ctx, -1)
            out.append(np.ctypeslib.as_array(p, (tiny_model.N_VOCAB,)).astype("<f4"))
        lib.llama_free(ctx)
        lib.llama_model_free(model)
        return np.stack(out)


def prompt():
    r = tiny_model.randoms("prompt", LENGTHS[-1])
    return [v % tiny_model.N_VOCAB for v in r]


def one(llama, folder, c, ids):
    """The record of a case, and a line about it."""
    path = os.path.join(folder, f"{c['name']}.gguf")
    exact = forward.logits(path, ids, tiny_model.N_CTX)[[n - 1 for n in LENGTHS]]
    known = c["name"] not in NOT_LLAMA
    theirs = (llama.logits(path, tiny_model.N_CTX, ids) if known
              else np.zeros((4, tiny_model.N_VOCAB), "<f4"))
    bar = LLAMA_BARS.get(c["name"], GELU_BAR if c["arch"] in forward.GELU else LLAMA_BAR)
    bar = bar if known else 0.0
    apart = np.abs(theirs - exact[[0, 1, 2, 2]]).max() if known else 0.0
    rough = forward.logits(path, ids, tiny_model.N_CTX, True)[[0, 6, 299, 299]]
    like = np.abs(theirs - rough).max()
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()[:16]
    line = (f"{c['name']:20} {digest}  {np.abs(exact).max():6.2f}  {exact[-1].std():5.2f}  "
            + (f"{apart:.1e}  {like:.1e}" if known else NOT_LLAMA[c["name"]]))
    return (struct.pack("<32sff", c["name"].encode(), bar, EXACT_BAR)
            + exact.astype("<f4").tobytes() + theirs.tobytes()), line


def main(folder, data):
    llama = Llama(os.environ["SLV_LIBLLAMA"])
    ids = prompt()
    records, lines = [], []
    for c in tiny_model.CASES:
        record, line = one(llama, folder, c, ids)
        print(line)
        records.append(record)
        lines.append(line + "\n")
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "goldens.bin"), "wb") as f:
        f.write(b"SLVFAM1\n" + struct.pack("<III", tiny_model.N_VOCAB, len(records), len(ids))
                + struct.pack(f"<{len(ids)}i", *ids) + b"".join(records))
    with open(os.path.join(data, "README"), "w") as f:
        f.write(f"""Goldens of the model families, made by tests/golden/make_families.py, which says what is
in goldens.bin. llama.cpp b11434 (CPU, flash attention off, F32 cache, 1 thread) and
tests/golden/forward.py (double precision, numpy {np.__version__}), on the models of
tests/golden/tiny_model.py:

    SLV_LIBLLAMA=.../libllama.so python3 tests/golden/make_families.py MODELS tests/data/families

case, SHA-256 of the model (begin), largest |logit|, their spread after the long prompt, largest
difference between the two oracles, the same where forward.py reads GELU from a table of halves, as
llama.cpp does:

""")
        f.writelines(lines)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
