#!/usr/bin/env python3
"""Writes tiny random models as folders in Hugging Face layout, and each as a GGUF file too.

usage: tiny_folders.py FOLDER [STAMP]

FOLDER/NAME is a folder, FOLDER/NAME.gguf the same numbers; encoders (CASES) also have
FOLDER/NAME-q8.gguf where their sizes allow it, with matrices of 8 bits. Decoders (DECODERS) are
models of tiny_model.py. FOLDER/manifest.txt lists them, a line each: "encoder NAME", "decoder NAME".

Numbers come from SHAKE-256 of the case's and the tensor's name, as in tiny_model.py. Standard
library only; goldens of the encoders (make_encoders.py) are stored.
"""
import array
import json
import os
import shutil
import struct
import sys

for sibling in ("hostile", "tools"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", sibling))
import gguf_writer as g  # noqa: E402
import tiny_model as tm  # noqa: E402

# --- words --------------------------------------------------------------------------------------

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-'"
WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "##ing", "##ed", "##er", "un", "naive", "日", "本"]
PIECES = SPECIAL + list(LETTERS) + ["##" + c for c in LETTERS] + WORDS

TEXTS = [
    "",
    "the cat sat on the mat.",
    "The DOG ran!",
    "Naïve cats, un-sitting? 日本 [MASK] x9",
    "a",
    "\t  the \n\n cat\u00a0ran\u3000... \u0001\ufffd",
    "the cat sat on the mat and the dog ran " * 6,
    "\U0001f600 the \u0434\u043e\u043c",
]
MORE_TEXTS = ["e\u0301a\u0300 cafe\u0301 \u1112\u1161\u11ab", "12345 6,789.0 v2", "it's I'LL we've'd", "  two  spaces ",
              "a\n\n b\r\nc\n", " ", "the  ", "<s> the </s> <|im_start|>the<|endoftext|> <mask> x", "tttthe theein", "\u00e9\u00e8 \U0001f600"]
PAIRS = [("the cat?", "the cat sat on the mat."), ("the cat?", "dog"), ("", "ran"), ("ran " * 9, "")]


def tokenizer(c):
    added = [{"id": i, "content": t, "single_word": False, "lstrip": t == "[MASK]", "rstrip": False,
              "normalized": False, "special": True} for i, t in enumerate(SPECIAL)]
    single = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
              {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": True},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {
                t: {"id": t, "ids": [SPECIAL.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(PIECES)}}}


WORDS_UNIGRAM = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "\u65e5\u672c"]


def unigram():
    """As XLM-RoBERTa's, without a table of characters."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [[t, 0.0] for t in special] + [["\u2581", -3.0]]
    pieces += [["\u2581" + w, -4.0 - i / 8] for i, w in enumerate(WORDS_UNIGRAM)]
    pieces += [[c, -6.0 - i / 16] for i, c in enumerate(LETTERS)] + [["in", -5.0], ["er", -5.5], ["ing", -5.25]]
    pieces += [["<mask>", 0.0]]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": t == "<mask>", "rstrip": False,
              "normalized": False, "special": True} for i, (t, _) in enumerate(pieces) if t in special + ["<mask>"]]

    def put(*parts):
        return [{"Sequence" if p in "AB" else "SpecialToken": {"id": p, "type_id": 0}} for p in parts]

    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                                              "split": True}]},
            "post_processor": {"type": "TemplateProcessing", "single": put("<s>", "A", "</s>"),
                               "pair": put("<s>", "A", "</s>", "</s>", "B", "</s>"), "special_tokens": {
                t: {"id": t, "ids": [special.index(t)], "tokens": [t]} for t in ("<s>", "</s>")}},
            "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
            "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False}}


# --- encoders -----------------------------------------------------------------------------------

# vocab: more than there are pieces, as where a checkpoint was padded
CASES = [
    {"name": "bert", "type": "bert", "layers": 2, "heads": 3, "embd": 51, "ff": 77, "ctx": 64, "pool": "mean",
     "vocab": len(PIECES)},
    {"name": "bert-cls", "type": "bert", "layers": 3, "heads": 2, "embd": 80, "ff": 96, "ctx": 96, "pool": "cls",
     "vocab": len(PIECES) + 7, "dtype": "F16", "shards": 3, "act": "gelu_new", "prefix": "bert."},
    {"name": "bert-long", "type": "bert", "layers": 1, "heads": 4, "embd": 64, "ff": 64, "ctx": 700, "pool": "mean",
     "vocab": len(PIECES)},
    {"name": "bert-rank", "type": "bert", "layers": 2, "heads": 2, "embd": 32, "ff": 64, "ctx": 64, "pool": "rank",
     "vocab": len(PIECES), "labels": 3, "prefix": "bert."},
    {"name": "distilbert", "type": "distilbert", "layers": 2, "heads": 4, "embd": 52, "ff": 40, "ctx": 64,
     "pool": "mean", "vocab": len(PIECES), "lines": True, "prefix": "distilbert."},
    {"name": "xlm-roberta", "type": "xlm-roberta", "layers": 2, "heads": 2, "embd": 32, "ff": 48, "ctx": 64,
     "pool": "mean", "prefix": "roberta.", "tokens": "unigram"},
    {"name": "roberta-rank", "type": "xlm-roberta", "layers": 1, "heads": 2, "embd": 32, "ff": 32, "ctx": 80,
     "pool": "rank", "labels": 1, "prefix": "roberta.", "tokens": "unigram"},
    {"name": "nomic", "type": "nomic_bert", "layers": 2, "heads": 2, "embd": 64, "ff": 96, "ctx": 2048, "pool": "mean",
     "vocab": len(PIECES) + 1, "dtype": "BF16"},
]


def config(c):
    if c["type"] in ("bert", "xlm-roberta"):
        kind = "ForSequenceClassification" if c["pool"] == "rank" else "Model"
        kind = ("Bert" if c["type"] == "bert" else "XLMRoberta") + kind
        return {"architectures": [kind], "model_type": c["type"], "hidden_size": c["embd"], "num_hidden_layers": c["layers"],
                "num_attention_heads": c["heads"], "intermediate_size": c["ff"], "max_position_embeddings": c["ctx"] + places(c),
                "vocab_size": c["vocab"], "type_vocab_size": types(c), "layer_norm_eps": 1e-12,
                "hidden_act": c.get("act", "gelu"), "position_embedding_type": "absolute",
                "pad_token_id": 0 if c["type"] == "bert" else 1}
    if c["type"] == "distilbert":
        return {"architectures": ["DistilBertModel"], "model_type": "distilbert", "dim": c["embd"],
                "n_layers": c["layers"], "n_heads": c["heads"], "hidden_dim": c["ff"],
                "max_position_embeddings": c["ctx"], "vocab_size": c["vocab"], "activation": "gelu"}
    return {"architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": c["embd"], "n_layer": c["layers"],
            "n_head": c["heads"], "n_inner": c["ff"], "n_positions": c["ctx"], "vocab_size": c["vocab"],
            "type_vocab_size": 2, "layer_norm_epsilon": 1e-12, "activation_function": "swiglu", "prenorm": False,
            "parallel_block": False, "rotary_emb_fraction": 1.0, "rotary_emb_base": 1000, "rotary_emb_interleaved": False,
            "rotary_emb_scale_base": None, "rotary_scaling_factor": None, "causal": False, "use_rms_norm": False,
            "qkv_proj_bias": False}


def places(c):
    """Rows of positions before that of a text's first token."""
    return 2 if c["type"] == "xlm-roberta" else 0


def types(c):
    return 1 if c["type"] == "xlm-roberta" else 2


def matrix(ours, theirs, rows, cols, bias=True):
    """(GGUF's name, the folder's, shape, centre, spread)"""
    yield f"{ours}.weight", f"{theirs}.weight", (rows, cols), 0.0, 1.5 * (3.0 / cols) ** 0.5
    if bias:
        yield f"{ours}.bias", f"{theirs}.bias", (rows,), 0.0, 0.5


def norm(ours, theirs, n):
    yield f"{ours}.weight", f"{theirs}.weight", (n,), 1.0, 0.5
    yield f"{ours}.bias", f"{theirs}.bias", (n,), 0.0, 0.5


LAYER = {
    "xlm-roberta": None,
    "bert": ("encoder.layer.%d.", {"attn_q": "attention.self.query", "attn_k": "attention.self.key",
             "attn_v": "attention.self.value", "attn_output": "attention.output.dense",
             "attn_output_norm": "attention.output.LayerNorm", "ffn_up": "intermediate.dense",
             "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm"}),
    "distilbert": ("transformer.layer.%d.", {"attn_q": "attention.q_lin", "attn_k": "attention.k_lin",
                   "attn_v": "attention.v_lin", "attn_output": "attention.out_lin", "attn_output_norm": "sa_layer_norm",
                   "ffn_up": "ffn.lin1", "ffn_down": "ffn.lin2", "layer_output_norm": "output_layer_norm"}),
    "nomic_bert": ("encoder.layers.%d.", {"attn_qkv": "attn.Wqkv", "attn_output": "attn.out_proj",
                   "attn_output_norm": "norm1", "ffn_up": "mlp.fc11", "ffn_gate": "mlp.fc12", "ffn_down": "mlp.fc2",
                   "layer_output_norm": "norm2"}),
}


LAYER["xlm-roberta"] = LAYER["bert"]


def layer(c, i):
    embd, ff = c["embd"], c["ff"]
    prefix, names = LAYER[c["type"]]
    sizes = {"attn_qkv": (3 * embd, embd), "ffn_up": (ff, embd), "ffn_gate": (ff, embd), "ffn_down": (embd, ff)}
    for ours, theirs in names.items():
        ours, theirs, key = f"blk.{i}.{ours}", prefix % i + theirs, ours
        if key.endswith("norm"):
            yield from norm(ours, theirs, embd)
        else:
            yield from matrix(ours, theirs, *sizes.get(key, (embd, embd)), c["type"] != "nomic_bert")


def tensors(c):
    embd = c["embd"]
    yield "token_embd.weight", "embeddings.word_embeddings.weight", (c["vocab"], embd), 0.0, 0.6
    if c["type"] != "nomic_bert":
        yield "position_embd.weight", "embeddings.position_embeddings.weight", (c["ctx"] + places(c), embd), 0.0, 0.4
    if c["type"] != "distilbert":
        yield "token_types.weight", "embeddings.token_type_embeddings.weight", (types(c), embd), 0.0, 0.4
    yield from norm("token_embd_norm", "emb_ln" if c["type"] == "nomic_bert" else "embeddings.LayerNorm", embd)
    for i in range(c["layers"]):
        yield from layer(c, i)
    if c["type"] == "bert":
        yield from matrix("cls", "pooler.dense", embd, embd)
        if "labels" in c:
            yield from matrix("cls.output", "classifier", c["labels"], embd)
    elif "labels" in c:
        yield from matrix("cls", "classifier.dense", embd, embd)
        yield from matrix("cls.output", "classifier.out_proj", c["labels"], embd)


def floats(c, name, shape, centre, spread):
    n = shape[0] * (shape[1] if len(shape) > 1 else 1)
    return array.array("f", [centre + spread * tm.UNIT[v] for v in tm.randoms(f"{c['name']}/{name}", n)])


def stored(values, dtype):
    """Bytes of floats as a type; and of the floats those are."""
    if dtype == "F32":
        return tm.little(values), values
    if dtype == "F16":
        raw = struct.pack(f"<{len(values)}e", *values)
        return raw, array.array("f", struct.unpack(f"<{len(values)}e", raw))
    raw = b"".join(struct.pack("<f", v)[2:] for v in values)
    return raw, array.array("f", [struct.unpack("<f", b"\0\0" + raw[i:i + 2])[0] for i in range(0, len(raw), 2)])


# --- files --------------------------------------------------------------------------------------

def safetensors(items, metadata=None):
    """items: (name, dtype, shape, bytes)"""
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, dtype, shape, raw in items:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(raw for *_, raw in items)


def write(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else json.dumps(content).encode())


def write_tensors(folder, items, shards=1):
    if shards == 1:
        write(folder, "model.safetensors", safetensors(items, {"format": "pt"}))
        return
    places = {}
    for i in range(shards):
        name = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write(folder, name, safetensors(items[i::shards]))
        places.update({item[0]: name for item in items[i::shards]})
    write(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def write_encoder(folder, c, items):
    write(folder, "config.json", config(c))
    write(folder, "tokenizer_config.json", {"do_lower_case": True, "cls_token": "[CLS]", "pad_token": {"content": "[PAD]"}})
    if c.get("lines"):
        write(folder, "vocab.txt", ("\n".join(PIECES) + "\n").encode())
    else:
        write(folder, "tokenizer.json", unigram() if c.get("tokens") == "unigram" else tokenizer(c))
    if c["pool"] != "rank":
        write(folder, "config_sentence_transformers.json", {"prompts": {"query": "q: "}, "default_prompt_name": None})
        write(folder, "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
        write(folder, "modules.json", [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"}
                                       for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                                                   ("2_Normalize", "Normalize")])])
        write(folder, "1_Pooling/config.json", {"word_embedding_dimension": c["embd"], "pooling_mode_max_tokens": False,
                                                "pooling_mode_cls_token": c["pool"] == "cls",
                                                "pooling_mode_mean_tokens": c["pool"] == "mean"})
    extra = [("embeddings.position_ids", "I64", (1, c["ctx"]), struct.pack(f"<{c['ctx']}q", *range(c["ctx"])))]
    named = [(c.get("prefix", "") * (not theirs.startswith("classifier")) + theirs, dtype, shape, raw)
             for theirs, dtype, shape, raw in items + (extra if c["type"] == "bert" else [])]
    write_tensors(folder, named, c.get("shards", 1))


def vocabulary(c):
    if c.get("tokens") == "unigram":
        pieces = unigram()["model"]["vocab"]
        kinds = [3, 3, 3, 2] + [1] * (len(pieces) - 5) + [3]
        return [g.kv("tokenizer.ggml.model", g.STR, "t5"), g.array("tokenizer.ggml.tokens", g.STR, [p for p, _ in pieces]),
                g.array("tokenizer.ggml.token_type", g.I32, kinds),
                g.array("tokenizer.ggml.scores", g.F32, [s for _, s in pieces]),
                g.kv("tokenizer.ggml.bos_token_id", g.U32, 0), g.kv("tokenizer.ggml.eos_token_id", g.U32, 2),
                g.kv("tokenizer.ggml.unknown_token_id", g.U32, 3), g.kv("tokenizer.ggml.add_bos_token", g.BOOL, True),
                g.kv("tokenizer.ggml.add_eos_token", g.BOOL, True), g.kv("tokenizer.ggml.add_space_prefix", g.BOOL, True),
                g.kv("tokenizer.ggml.remove_extra_whitespaces", g.BOOL, True),
                g.kv("tokenizer.selvage.any_space", g.BOOL, True)]
    tokens = [p if i < len(SPECIAL) else p[2:] if p.startswith("##") else "\u2581" + p for i, p in enumerate(PIECES)]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), c["vocab"])]
    types = [3] * len(SPECIAL) + [1] * (len(PIECES) - len(SPECIAL)) + [5] * (c["vocab"] - len(PIECES))
    return [g.kv("tokenizer.ggml.model", g.STR, "bert"), g.array("tokenizer.ggml.tokens", g.STR, tokens),
            g.array("tokenizer.ggml.token_type", g.I32, types), g.kv("tokenizer.ggml.cls_token_id", g.U32, 2),
            g.kv("tokenizer.ggml.seperator_token_id", g.U32, 3), g.kv("tokenizer.ggml.unknown_token_id", g.U32, 1),
            g.kv("tokenizer.ggml.padding_token_id", g.U32, 0), g.kv("tokenizer.ggml.token_type_count", g.U32, 2)]


def metadata(c):
    arch = "nomic-bert" if c["type"] == "nomic_bert" else "bert"
    m = {"block_count": c["layers"], "context_length": c["ctx"], "embedding_length": c["embd"],
         "feed_forward_length": c["ff"], "attention.head_count": c["heads"], "attention.layer_norm_epsilon": 1e-12,
         "attention.causal": False, "pooling_type": {"mean": 1, "cls": 2, "rank": 4}[c["pool"]]}
    if c["type"] == "nomic_bert":
        m["rope.freq_base"] = 1000.0
    if "act" in c:
        m["activation"] = c["act"]
    return ([tm.entry("general.architecture", arch), tm.entry("general.name", "tiny")]
            + [tm.entry(f"{arch}.{k}", v) for k, v in m.items()] + vocabulary(c))


def q8_0(values):
    out = bytearray()
    for i in range(0, len(values), 32):
        block = values[i:i + 32]
        raw, d = tm.half(max(abs(v) for v in block) / 127)
        out += raw + struct.pack("32b", *(max(-127, min(127, round(v / d))) if d else 0 for v in block))
    return bytes(out)


def encoder(folder, c):
    c = {"vocab": len(unigram()["model"]["vocab"]), **c}
    kinds = {"F32": g.T_F32, "F16": g.T_F16, "BF16": 30}
    items, plain, quant = [], [], []
    for ours, theirs, shape, centre, spread in tensors(c):
        dtype = c.get("dtype", "F32")
        raw, values = stored(floats(c, ours, shape, centre, spread), dtype)
        dims = list(reversed(shape))
        items.append((theirs, dtype, shape, raw))
        if ours == "position_embd.weight":  # a GGUF file begins with the first token's
            raw = raw[places(c) * len(raw) // shape[0]:]
            dims[1] -= places(c)
        plain.append((ours, dims, kinds[dtype], raw))
        eighth = len(dims) == 2 and dims[0] % 32 == 0 and not ours.startswith(("token", "position", "cls"))
        quant.append((ours, dims, g.T_Q8_0, q8_0(values)) if eighth else (ours, dims, kinds[dtype], raw))
    write_encoder(os.path.join(folder, c["name"]), c, items)
    write(folder, f"{c['name']}.gguf", tm.pack(metadata(c), plain))
    if c["embd"] % 32 == 0 and c["ff"] % 32 == 0:
        write(folder, f"{c['name']}-q8.gguf", tm.pack(metadata(c), quant))


# --- tokenizers ---------------------------------------------------------------------------------

def sentence_piece():
    """As Llama 2's: tiny_model.py's vocabulary, with the merges that its scores are made into."""
    special = ["<unk>", "<s>", "</s>"]
    pieces = ["\u2581t", "he", "\u2581the", "in", "\u2581a", "\u2581\u2581", "th", "\u2581", *"etaoinshrdlcumwfgy.T", "\u00e9"]
    tokens = special + [f"<0x{b:02X}>" for b in range(256)] + pieces
    merges = [[p[:i], p[i:]] for p in pieces for i in range(1, len(p)) if p[:i] in pieces and p[i:] in pieces]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(special)]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return {"version": "1.0", "added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            "pre_tokenizer": None, "post_processor": template, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}


def tokenizers():
    qwen = bpe({"arch": "qwen2"})
    regex = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
             "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    qwen.update(normalizer={"type": "NFC"}, pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte_level]})
    llama3 = bpe({"arch": "llama"})
    llama3["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {**split, "pattern": {"Regex": regex.replace("|\\p{N}|", "|\\p{N}{1,3}|")}}, byte_level]}
    llama3["model"]["ignore_merges"] = True
    begin = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                                                      {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
        {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {
        "<|endoftext|>": {"id": "<|endoftext|>", "ids": [tm.N_VOCAB - 4], "tokens": ["<|endoftext|>"]}}}
    llama3["post_processor"] = {"type": "Sequence", "processors": [byte_level, begin]}
    smollm = bpe({"arch": "llama"})
    smollm["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, {**byte_level, "use_regex": True}]}
    one = unigram()
    one["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}]}
    spaces = {**unigram(), "pre_tokenizer": one["pre_tokenizer"]["pretokenizers"][1]}
    yield from {"wordpiece": tokenizer({}), "unigram": one, "unigram-spaces": spaces, "gpt2": bpe({"arch": "qwen2"}), "qwen2": qwen,
                "llama3": llama3, "smollm": smollm, "llama2": sentence_piece()}.items()


# --- decoders -----------------------------------------------------------------------------------

# Cases of tiny_model.py's families, with names of their own.
DECODERS = [
    (tm.case("hf-llama", "llama", tied=True, meta={"rope.freq_base": 500000.0}), "llama"),
    (tm.case("hf-qwen2", "qwen2"), "qwen2"),
    (tm.case("hf-qwen3", "qwen3"), "qwen3"),
]
DECODER_NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
                 "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
                 "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj",
                 "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def decoder_name(ours):
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
    if ours in top:
        return top[ours]
    _, i, name, kind = ours.split(".")
    return f"model.layers.{i}.{DECODER_NAMES[name]}.{kind}"


def halves(raw, head):
    """Rows of heads from pairs (2 i, 2 i + 1), as GGUF has Llama's, to (i, i + half)."""
    n = len(raw) // head
    rows = [raw[i * n:(i + 1) * n] for i in range(head)]
    return b"".join(rows[0::2] + rows[1::2])


def unpermuted(c, ours, dims, raw):
    if c["arch"] != "llama" or not ours.endswith(("attn_q.weight", "attn_k.weight")):
        return raw
    size = dims[0] * c["head"] * 4
    return b"".join(halves(raw[i:i + size], c["head"]) for i in range(0, len(raw), size))


def bpe(c):
    """tiny_model.py's byte-level vocabulary as tokenizer.json."""
    merges = tm.MERGES[:tm.N_VOCAB - 260]
    tokens = sorted(tm.byte_letters()) + [s.replace(" ", "") for s in merges]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    added = [{"id": len(tokens) + i, "content": t, "special": True, "lstrip": False, "rstrip": False,
              "single_word": False, "normalized": False} for i, t in enumerate(special)]
    listed = merges if c["arch"] == "llama" else [s.split(" ") for s in merges]
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False},
            "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "vocab": {t: i for i, t in enumerate(tokens)},
                      "merges": listed}}


def decoder(folder, c, kind):
    items = []
    for ours, dims, centre, spread in tm.tensors(c):
        raw = tm.numbers(c, ours, dims, centre, spread)
        items.append((decoder_name(ours), "F32", tuple(reversed(dims)), unpermuted(c, ours, dims, raw)))
    to = os.path.join(folder, c["name"])
    m = {"architectures": ["X"], "model_type": kind, "hidden_size": c["embd"], "num_hidden_layers": c["layers"],
         "num_attention_heads": c["heads"], "num_key_value_heads": c["kv"], "intermediate_size": c["ff"],
         "max_position_embeddings": c["n_ctx"], "vocab_size": c["n_vocab"], "rms_norm_eps": 1e-5, "hidden_act": "silu",
         "tie_word_embeddings": c["tied"], "rope_theta": c["meta"].get("rope.freq_base", 10000.0), "rope_scaling": None}
    if c["head"] != c["embd"] // c["heads"]:
        m["head_dim"] = c["head"]
    write(to, "config.json", m)
    write(to, "tokenizer.json", bpe(c))
    write(to, "tokenizer_config.json", {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
    write_tensors(to, items)
    write(folder, f"{c['name']}.gguf", tm.model(c))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = sys.argv[1]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    lines = []
    for c in CASES:
        encoder(folder, c)
        lines.append(f"encoder {c['name']}\n")
    for c, kind in DECODERS:
        decoder(folder, c, kind)
        lines.append(f"decoder {c['name']}\n")
    for name, t in tokenizers():
        write(folder, f"tokenizers/{name}.json", t)
    write(folder, "manifest.txt", "".join(lines).encode())
    if len(sys.argv) == 3:
        open(sys.argv[2], "w").close()


if __name__ == "__main__":
    main()
