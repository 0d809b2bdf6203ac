#!/usr/bin/env python3
"""Compares the vectors of an encoder with llama.cpp's, on a GGUF file made here from its folder.

usage: SLV_LIBLLAMA=.../libllama.so SLV_TEST_ENCODER=FOLDER check_encoder_llama.py SELVAGE DATA/minilm

The file has the names that llama.cpp's converter gives (ggml's docs/gguf.md). It must give the folder's
vectors to the bit. llama.cpp takes GELU from a table of halves: its vectors must be near. Exits 77
(skipped) where either variable is not set, or numpy, gguf and safetensors are not there.
"""
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BAR = 0.9999
LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
         "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
         "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
TOP = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
       "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm"}


def skip(why):
    print("skipped:", why)
    sys.exit(77)


if not os.environ.get("SLV_LIBLLAMA") or not os.environ.get("SLV_TEST_ENCODER"):
    skip("SLV_LIBLLAMA or SLV_TEST_ENCODER is not set")
try:
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    import make_families as mf
except ImportError as e:
    skip(e)


def name_of(theirs):
    base, _, kind = theirs.rpartition(".")
    if base in TOP:
        return f"{TOP[base]}.{kind}"
    parts = base.split(".", 3)
    if parts[:2] == ["encoder", "layer"] and parts[3] in LAYER:
        return f"blk.{parts[2]}.{LAYER[parts[3]]}.{kind}"
    return None  # position_ids, pooler


def convert(folder, path):
    c = json.loads((folder / "config.json").read_text())
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    pieces = sorted(vocab, key=vocab.get)
    w = gguf.GGUFWriter(path, "bert")
    w.add_name("tiny")
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_layer_norm_eps(c["layer_norm_eps"])
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list([p if p in special else p[2:] if p.startswith("##") else "\u2581" + p for p in pieces])
    w.add_token_types([3 if p in special else 1 for p in pieces])
    w.add_token_type_count(2)
    for key, token in (("bos", "[CLS]"), ("sep", "[SEP]"), ("unk", "[UNK]"), ("pad", "[PAD]"), ("mask", "[MASK]")):
        getattr(w, f"add_{key}_token_id")(vocab[token])
    for theirs, t in load_file(folder / "model.safetensors").items():
        ours = name_of(theirs)
        if ours:
            w.add_tensor(ours, t.astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Llama(mf.Llama):
    def vectors(self, path, rows):
        lib = self.lib
        lib.llama_get_embeddings_seq.restype = ctypes.POINTER(mf.F)
        lib.llama_get_embeddings_seq.argtypes = mf.P, mf.I32
        lib.llama_encode.restype, lib.llama_encode.argtypes = mf.I32, [mf.P, mf.Batch]
        m = lib.llama_model_default_params()
        m.n_gpu_layers = 0
        model = lib.llama_model_load_from_file(path.encode(), m)
        c = lib.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = 512
        c.n_threads = c.n_threads_batch = 1
        c.flash_attn_type = 0
        c.embeddings = True
        ctx = lib.llama_init_from_model(model, c)
        if not model or not ctx:
            sys.exit("llama.cpp does not open the file")
        out = []
        for ids in rows:
            tokens = (mf.I32 * len(ids))(*ids)
            if lib.llama_encode(ctx, lib.llama_batch_get_one(tokens, len(ids))):
                sys.exit("llama.cpp fails")
            v = np.ctypeslib.as_array(lib.llama_get_embeddings_seq(ctx, 0), (384,)).astype(np.float64)
            out.append(v / np.linalg.norm(v))
        return np.stack(out)


def main(selvage, data):
    folder = pathlib.Path(os.environ["SLV_TEST_ENCODER"])
    golden = json.loads((pathlib.Path(data) / "texts.json").read_text())
    keep = range(0, 200, 4)
    texts, ids = [golden["texts"][i] for i in keep], [golden["ids"][i] for i in keep]
    with tempfile.TemporaryDirectory(prefix="selvage-encoder-") as work:
        path = os.path.join(work, "minilm.gguf")
        convert(folder, path)
        ours, same = (subprocess.run([selvage, "embed", m, "--special", "--no-repack-cache", *texts], capture_output=True,
                                     check=True).stdout for m in (path, str(folder)))
        if ours != same:
            sys.exit("the file and the folder give different vectors")
        ours = np.array([[float(x) for x in line.split()] for line in ours.decode().splitlines()])
        theirs = Llama(os.environ["SLV_LIBLLAMA"]).vectors(path, ids)
    least = (ours * theirs).sum(1).min()
    print(f"{len(texts)} texts, least cosine to llama.cpp {least:.6f}")
    return int(least < BAR)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
