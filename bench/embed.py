#!/usr/bin/env python3
"""Texts a second beside ONNX Runtime, on one BERT-like model, in turns in one run.

usage: embed.py MODEL_FOLDER LIBSELVAGE [--threads 1,2] [--rounds 5] [--seconds 2]

MODEL_FOLDER: a BERT model in Hugging Face layout (all-MiniLM-L6-v2); LIBSELVAGE: libselvage.so. Needs
numpy, tokenizers, safetensors, onnx, onnxruntime.

Both get the same texts and give vectors: tokens, model, mean, length 1. ONNX Runtime's model is
written here from the same weights with its fused operators for transformers (Attention,
SkipLayerNormalization, BiasGelu), in batches of 32 texts sorted by length, padded, as is usual for it;
its tokens come from Hugging Face's tokenizers. All graph optimizations are on. A figure is the median of
the rounds; the two take turns within each.
"""
import argparse
import ctypes
import json
import pathlib
import statistics
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).parent
BATCH = 32


def texts(words):
    """Pieces of this project's own documents, of about so many words: half as many to half as many more."""
    w = " ".join((HERE.parent / name).read_text() for name in
                 ("ARCHITECTURE.md", "docs/engine.md", "docs/embed.md", "README.md", "bench/RESULTS.md")).split()
    out, at = [], 0
    while at < len(w):
        n = words // 2 + (7919 * len(out)) % (words + 1)
        out.append(" ".join(w[at:at + n]))
        at += n
    return out[:-1]


# --- ONNX Runtime ---------------------------------------------------------------------------------

class Peer:
    def __init__(self, folder, threads):
        import onnxruntime
        from tokenizers import Tokenizer
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tok.no_padding()
        self.tok.no_truncation()
        o = onnxruntime.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(model_bytes(folder), o, ["CPUExecutionProvider"])

    def embed(self, texts):
        rows = self.tok.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(rows[i].ids))
        out = np.empty((len(texts), self.session.get_outputs()[0].shape[-1]), np.float32)
        for at in range(0, len(order), BATCH):
            part = order[at:at + BATCH]
            n = max(len(rows[i].ids) for i in part)
            ids, mask = np.zeros((len(part), n), np.int32), np.zeros((len(part), n), np.int32)
            for k, i in enumerate(part):
                ids[k, :len(rows[i].ids)] = rows[i].ids
                mask[k, :len(rows[i].ids)] = 1
            states = self.session.run(None, {"ids": ids, "types": np.zeros_like(ids), "mask": mask})[0]
            v = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            out[part] = v / np.linalg.norm(v, axis=1, keepdims=True)
        return out


def model_bytes(folder):
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file
    c = json.loads((folder / "config.json").read_text())
    t = {k.removeprefix("bert."): v.astype(np.float32) for k, v in load_file(folder / "model.safetensors").items()
         if v.dtype.kind == "f"}
    nodes, weights = [], []

    def w(name, v):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(v), name))
        return name

    def op(kind, inputs, outputs, **how):
        nodes.append(helper.make_node(kind, inputs, outputs, domain="com.microsoft" if kind not in ("MatMul",) else "", **how))

    e, eps = "embeddings.", c["layer_norm_eps"]
    op("EmbedLayerNormalization", ["ids", "types", w("words", t[e + "word_embeddings.weight"]),
       w("places", t[e + "position_embeddings.weight"]), w("kinds", t[e + "token_type_embeddings.weight"]),
       w("g", t[e + "LayerNorm.weight"]), w("b", t[e + "LayerNorm.bias"])], ["x0", ""], epsilon=eps)
    x = "x0"
    for i in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        a = p + "attention.self."
        qkv = np.concatenate([t[a + f"{k}.weight"].T for k in ("query", "key", "value")], 1)
        bias = np.concatenate([t[a + f"{k}.bias"] for k in ("query", "key", "value")])
        op("Attention", [x, w(p + "qkv", qkv), w(p + "qkvb", bias), "mask"], [p + "a"], num_heads=c["num_attention_heads"])
        op("MatMul", [p + "a", w(p + "o", t[p + "attention.output.dense.weight"].T)], [p + "o1"])
        n = p + "attention.output.LayerNorm."
        op("SkipLayerNormalization", [p + "o1", x, w(n + "g", t[n + "weight"]), w(n + "b", t[n + "bias"]),
           w(p + "ob", t[p + "attention.output.dense.bias"])], [p + "n1"], epsilon=eps)
        op("MatMul", [p + "n1", w(p + "up", t[p + "intermediate.dense.weight"].T)], [p + "u"])
        op("BiasGelu", [p + "u", w(p + "upb", t[p + "intermediate.dense.bias"])], [p + "h"])
        op("MatMul", [p + "h", w(p + "down", t[p + "output.dense.weight"].T)], [p + "d"])
        n = p + "output.LayerNorm."
        op("SkipLayerNormalization", [p + "d", p + "n1", w(n + "g", t[n + "weight"]), w(n + "b", t[n + "bias"]),
           w(p + "db", t[p + "output.dense.bias"])], [p + "n2"], epsilon=eps)
        x = p + "n2"
    nodes[-1].output[0] = "states"

    def value(name, kind, *shape):
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(nodes, "bert", [value(k, TensorProto.INT32, "n", "m") for k in ("ids", "types", "mask")],
                              [value("states", TensorProto.FLOAT, "n", "m", c["hidden_size"])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 9
    return model.SerializeToString()


# --- selvage ------------------------------------------------------------------------------------

class Err(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("msg", ctypes.c_char * 500)]


class Opts(ctypes.Structure):  # struct slv_embedder_opts
    _fields_ = [("pooling", ctypes.c_int), ("n_ctx", ctypes.c_uint32), ("n_batch", ctypes.c_uint32),
                ("threads", ctypes.c_uint32), ("dimensions", ctypes.c_uint32), ("raw", ctypes.c_bool),
                ("truncate", ctypes.c_bool), ("special", ctypes.c_bool), ("memory", ctypes.c_uint64)]


class Text(ctypes.Structure):  # struct slv_embed_text
    _fields_ = [("p", ctypes.c_char_p), ("n", ctypes.c_size_t), ("second", ctypes.c_char_p), ("second_n", ctypes.c_size_t)]


class Selvage:
    def __init__(self, lib, folder, threads):
        self.lib = ctypes.CDLL(str(lib))
        self.lib.slv_embedder_dimensions.restype = ctypes.c_uint32
        self.err, model, self.e = Err(), ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.lib.slv_model_open(str(folder).encode(), None, ctypes.byref(model), ctypes.byref(self.err)))
        opts = Opts(threads=threads, special=True)  # as the other tokenizer takes them
        self.check(self.lib.slv_embedder_open(model, ctypes.byref(opts), ctypes.byref(self.e), ctypes.byref(self.err)))
        self.dim = self.lib.slv_embedder_dimensions(self.e)

    def check(self, rc):
        if rc:
            sys.exit(self.err.msg.decode())

    def embed(self, texts):
        raw = [t.encode() for t in texts]
        rows = (Text * len(raw))(*[Text(t, len(t), None, 0) for t in raw])
        out = np.empty((len(raw), self.dim), np.float32)
        self.check(self.lib.slv_embed(self.e, rows, ctypes.c_size_t(len(raw)), ctypes.c_void_p(out.ctypes.data), None,
                                      ctypes.byref(self.err)))
        return out


# --- measuring ----------------------------------------------------------------------------------

def rate(engine, some, seconds):
    """Texts a second, over whole rounds of the texts."""
    begin, n = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        engine.embed(some)
        n += len(some)
    return n / (time.perf_counter() - begin)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("folder", type=pathlib.Path)
    a.add_argument("lib", type=pathlib.Path)
    a.add_argument("--threads", default="1,2")
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--seconds", type=float, default=2.0)
    a.add_argument("--words", default="12,90")
    o = a.parse_args()
    for threads in map(int, o.threads.split(",")):
        ours, theirs = Selvage(o.lib, o.folder, threads), Peer(o.folder, threads)
        for words in map(int, o.words.split(",")):
            some = texts(words)[:256]
            tokens = sum(len(r.ids) for r in theirs.tok.encode_batch(some)) / len(some)
            x, y = ours.embed(some), theirs.embed(some)
            rows = [(rate(ours, some, o.seconds), rate(theirs, some, o.seconds)) for _ in range(o.rounds)]
            us, them = (statistics.median(r[i] for r in rows) for i in range(2))
            spread = max(max(r[i] for r in rows) / min(r[i] for r in rows) for i in range(2))
            print(f"{threads} threads, {tokens:5.1f} tokens a text: selvage {us:7.1f} texts/s, onnxruntime {them:7.1f}, "
                  f"ratio {us / them:.2f} (rounds within {spread:.2f}); least cosine {(x * y).sum(1).min():.7f}", flush=True)


if __name__ == "__main__":
    main()
