#!/usr/bin/env python3
"""How far a quantized file's logits are from the exact answer, ours and llama.cpp's.

The exact answer is the same file dequantized to F32 and run in f32 by llama.cpp. Over teacher-forced
positions of a text this prints, against it: the mean KL divergence of llama.cpp on the quantized
file, of ours on the quantized file, and of ours on the F32 file, with mean |difference of log-
probability| of the true next token.

    measure_exact.py LIBSELVAGE.so QUANTIZED.gguf F32.gguf TEXT [POSITIONS]

needs numpy, and llama_cpp_py_sync on PYTHONPATH with LLAMA_CPP_LIB set to a libllama.so of the same
build (the two must match). Make F32.gguf with dequantize.py beside this file.
"""
import ctypes as C
import sys

import numpy as np

WINDOW = 500


class Err(C.Structure):
    _fields_ = [("code", C.c_int), ("msg", C.c_char * 500)]


class SessionOpts(C.Structure):
    _fields_ = [("n_ctx", C.c_uint32), ("n_batch", C.c_uint32), ("n_logits", C.c_uint32),
                ("threads", C.c_uint32), ("kv", C.c_int), ("memory", C.c_uint64)]


class Tokens(C.Structure):
    _fields_ = [("v", C.POINTER(C.c_int32)), ("n", C.c_size_t)]


FN = C.CFUNCTYPE(None, C.c_size_t, C.POINTER(C.c_float), C.c_void_p)


def ours(lib, path, ids, n_vocab):
    err, model = Err(), C.c_void_p()
    if lib.slv_model_open(path.encode(), None, C.byref(model), C.byref(err)):
        sys.exit(err.msg.decode())
    session = C.c_void_p()
    opts = SessionOpts(n_ctx=WINDOW, n_batch=50, n_logits=50, kv=1)
    if lib.slv_session_open(model, C.byref(opts), C.byref(session), C.byref(err)):
        sys.exit(err.msg.decode())
    rows = []
    keep = FN(lambda i, p, ctx: rows.append(np.ctypeslib.as_array(p, (n_vocab,)).copy()))
    for at in range(0, len(ids), WINDOW):
        part = ids[at:at + WINDOW]
        lib.slv_session_rewind(session, 0)
        array = (C.c_int32 * len(part))(*part)
        if lib.slv_session_feed_each(session, array, C.c_size_t(len(part)), keep, None, C.byref(err)):
            sys.exit(err.msg.decode())
    lib.slv_session_close(session)
    lib.slv_model_close(model)
    return rows


def theirs(path, ids):
    from llama_cpp_py_sync import Llama
    llm = Llama(path, n_ctx=WINDOW + 12, n_threads=2, n_batch=1, n_ubatch=1, flash_attn_type=0, type_k="f32",
                type_v="f32", verbose=False)
    rows = []
    for at in range(0, len(ids), WINDOW):
        llm._clear_context_state()
        for i, token in enumerate(ids[at:at + WINDOW]):
            llm._eval_tokens([token], i)
            raw = llm._lib.llama_get_logits_ith(llm._ctx, -1)
            rows.append(np.frombuffer(llm._ffi.buffer(raw, 4 * llm.n_vocab), "<f4").copy())
    return rows


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max()
    return x - np.log(np.exp(x).sum())


def main():
    lib = C.CDLL(sys.argv[1])
    quant, full, text = sys.argv[2], sys.argv[3], open(sys.argv[4], "rb").read()
    limit = int(sys.argv[5]) if len(sys.argv) > 5 else 2000
    err, model, tokens = Err(), C.c_void_p(), Tokens()
    if lib.slv_model_open(quant.encode(), None, C.byref(model), C.byref(err)):
        sys.exit(err.msg.decode())
    lib.slv_model_tokenize(model, text, C.c_size_t(len(text)), False, C.byref(tokens))
    ids = tokens.v[:tokens.n][:limit]
    lib.slv_model_close(model)
    exact = theirs(full, ids)
    n_vocab = len(exact[0])
    runs = {"llama.cpp, quantized": theirs(quant, ids), "ours, quantized": ours(lib, quant, ids, n_vocab),
            "ours, F32": ours(lib, full, ids, n_vocab)}
    truth = [log_softmax(x) for x in exact]
    print(f"{len(ids)} positions in windows of {WINDOW}")
    for name, rows in runs.items():
        kl, dlp, same = [], [], 0
        for i, (p, x) in enumerate(zip(truth, rows)):
            q = log_softmax(x)
            kl.append(float((np.exp(p) * (p - q)).sum()))
            same += int(p.argmax() == q.argmax())
            if i + 1 < len(ids) and (i + 1) % WINDOW:
                dlp.append(abs(p[ids[i + 1]] - q[ids[i + 1]]))
        print(f"{name:22s} mean KL {np.mean(kl):.6e}  max {np.max(kl):.3e}  mean |dlogprob| "
              f"{np.mean(dlp):.3e}  same first choice {same / len(ids):.4f}")


if __name__ == "__main__":
    main()
