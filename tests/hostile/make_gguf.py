#!/usr/bin/env python3
"""Writes malformed GGUF files, one for each way a reader can be led astray, and valid tiny models.

usage: make_gguf.py FOLDER [STAMP]      STAMP: an empty file written when all is done

Python's standard library only, and deterministic: the same bytes on every run. FOLDER/manifest.txt
has a line "FILE CODE" for each file:

    FORMAT, LIMIT, UNSUPPORTED, NOENT, USAGE    what slv_gguf_open must answer (SLV_E_...)
    OK                                          opens; a whole model where the name begins with ok-
    MODEL                                       opens as GGUF; the engine must refuse it

The classes are those behind the public advisories on GGUF readers: counts, lengths and offsets that
wrap, dimension products that overflow, types out of range, alignment of zero, duplicate names,
token ids past the vocabulary, shapes that contradict the metadata.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from gguf_writer import (  # noqa: E402
    ARR, BOOL, F32, I32, STR, T_F32, T_I32, T_Q4_0, T_Q8_0, U16, U32, U64, U8, array,
    command, gguf, kv, tensor, text, u32, u64)

MAX = (1 << 64) - 1

ARCH = kv("general.architecture", STR, "llama")
TWO = [tensor("a", [8], T_F32, 0), tensor("b", [32, 2], T_Q4_0, 32)]
DATA = bytes(range(32)) + bytes(64)  # b takes 36 of the last 64 bytes


def small(**how):
    """A valid file of two entries and two tensors, with parts replaced."""
    args = {"kvs": [ARCH, array("list", U32, [1, 2])], "tensors": TWO, "data": DATA}
    args.update(how)
    return gguf(**args)


def with_kv(raw):
    return small(kvs=[ARCH, raw])


def with_tensor(raw, **how):
    return small(tensors=[TWO[0], raw], **how)


def nested(depth):
    return u32(U8) + u64(1) + b"x" if depth == 0 else u32(ARR) + u64(1) + nested(depth - 1)


# --- files the parser must refuse ---------------------------------------------------------------

def header_cases():
    good = small()
    yield "magic-lower", "FORMAT", b"gguf" + good[4:]
    yield "magic-ggjt", "FORMAT", b"tjgg" + good[4:]
    yield "empty", "FORMAT", b""
    yield "zeros", "FORMAT", bytes(4096)
    yield "version-0", "FORMAT", small(version=0)
    yield "version-1", "UNSUPPORTED", small(version=1)
    yield "version-4", "UNSUPPORTED", small(version=4)
    yield "version-max", "UNSUPPORTED", small(version=0xffffffff)
    yield "big-endian", "UNSUPPORTED", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    for name, n in [("2-32", 1 << 32), ("2-63", 1 << 63), ("max", MAX), ("wraps", MAX // 14 + 2)]:
        yield f"kv-count-{name}", "FORMAT", small(n_kv=n)
        yield f"tensor-count-{name}", "FORMAT", small(n_tensors=n)
    yield "kv-count-one-more", "FORMAT", small(n_kv=3)
    yield "kv-count-one-less", "FORMAT", small(n_kv=1)
    yield "tensor-count-one-more", "FORMAT", small(n_tensors=3)
    yield "kv-count-limit", "LIMIT", gguf([bytes(65537 * 14)], n_kv=65537)
    yield "tensor-count-limit", "LIMIT", gguf([], [bytes(65537 * 33)], n_tensors=65537)


def truncation_cases():
    good = small()
    cuts = set(range(0, 40)) | set(range(40, len(good) - 28, 7)) | {len(good) - 29}
    for cut in sorted(cuts):
        yield f"cut-{cut:03d}", "FORMAT", good[:cut]


def name_cases():
    for name, n in [("0", 0), ("past-end", 100000), ("2-32", 1 << 32), ("2-63", 1 << 63),
                    ("wraps", MAX - 7), ("max", MAX)]:
        yield f"key-length-{name}", "FORMAT", with_kv(kv("key", U32, 1, key_length=n))
        yield f"tensor-name-length-{name}", "FORMAT", with_tensor(
            tensor("b", [32, 2], T_Q4_0, 32, name_length=n))
    yield "key-length-257", "LIMIT", with_kv(kv("k" * 257, U32, 1))
    yield "tensor-name-length-257", "LIMIT", with_tensor(tensor("t" * 257, [32, 2], T_Q4_0, 32))
    yield "key-twice", "FORMAT", small(kvs=[ARCH, kv("x", U8, 1), kv("y", U8, 1), kv("x", U8, 2)])
    yield "key-alignment-twice", "FORMAT", small(
        kvs=[kv("general.alignment", U32, 32), kv("general.alignment", U32, 64)])
    yield "tensor-twice", "FORMAT", with_tensor(tensor("a", [8], T_F32, 32))


def value_cases():
    for name, n in [("past-end", 100000), ("2-63", 1 << 63), ("wraps", MAX - 3), ("max", MAX)]:
        yield f"string-length-{name}", "FORMAT", with_kv(text("s") + u32(STR) + text("abc", n))
        yield f"array-string-length-{name}", "FORMAT", with_kv(
            text("s") + u32(ARR) + u32(STR) + u64(2) + text("ok") + text("abc", n))
    for kind in (13, 14, 255, 1 << 31, 0xffffffff):
        yield f"kind-{kind}", "FORMAT", with_kv(text("k") + u32(kind) + bytes(64))
        yield f"array-kind-{kind}", "FORMAT", with_kv(
            text("k") + u32(ARR) + u32(kind) + u64(1) + bytes(64))
    for v in (2, 255):
        yield f"bool-{v}", "FORMAT", with_kv(kv("b", BOOL, v))
        yield f"array-bool-{v}", "FORMAT", with_kv(array("b", BOOL, [0, 1, v]))
    sizes = [("u8", U8, 1), ("u32", U32, 4), ("u64", U64, 8), ("str", STR, 8), ("arr", ARR, 12)]
    for name, kind, size in sizes:
        for what, n in [("past-end", 1000), ("wraps", (1 << 64) // size), ("max", MAX),
                        ("2-63", 1 << 63)]:
            yield f"array-{name}-count-{what}", "FORMAT", with_kv(
                text("k") + u32(ARR) + u32(kind) + u64(n & MAX if n <= MAX else MAX) + bytes(48))
    yield "array-nested-100", "LIMIT", with_kv(text("n") + u32(ARR) + nested(100))
    yield "array-nested-4000", "LIMIT", with_kv(text("n") + u32(ARR) + nested(900) + bytes(40000))
    yield "array-nested-count", "FORMAT", with_kv(
        text("n") + u32(ARR) + u32(ARR) + u64(2) + nested(0) + u32(U64) + u64(1 << 61))


def tensor_cases():
    for n in (0, 5, 1 << 16, 0xffffffff):
        yield f"dims-{n}", "FORMAT", with_tensor(
            tensor("b", [32, 2, 1, 1, 1], T_Q4_0, 32, n_dims=n))
    shapes = {
        "zero": [0], "zero-second": [32, 0], "zero-last": [32, 1, 1, 0],
        "negative": [1 << 63], "negative-second": [32, MAX], "negative-block": [MAX - 31],
        "wraps-to-0": [1 << 32, 1 << 32], "wraps-to-small": [1 << 60, 17], 
        "wraps-three": [1 << 24] * 3, "wraps-four": [1 << 16] * 4,
        "2-63-elements": [1 << 33, 1 << 30],
    }
    for name, dims in shapes.items():
        yield f"shape-{name}", "FORMAT", with_tensor(tensor("b", dims, T_Q4_0, 32))
    yield "shape-bytes-wrap-to-0", "FORMAT", with_tensor(tensor("b", [1 << 62], T_F32, 32))
    yield "shape-bytes-wrap-i64", "FORMAT", with_tensor(tensor("b", [1 << 61], 28, 32))
    yield "shape-half-a-block", "FORMAT", with_tensor(tensor("b", [48], T_Q4_0, 32))
    yield "shape-rows-share-a-block", "FORMAT", with_tensor(tensor("b", [16, 4], T_Q4_0, 32))
    for t in (4, 5, 31, 32, 33, 36, 37, 38, 43, 255, 1 << 31, 0xffffffff):
        yield f"tensor-type-{t}", "UNSUPPORTED", with_tensor(tensor("b", [32, 2], t, 32))
    for name, offset in [("unaligned", 16), ("at-end", 96), ("past-end", 128), ("2-63", 1 << 63),
                         ("wraps", MAX - 31), ("wraps-with-size", MAX - 63), ("last-bytes", 64)]:
        yield f"offset-{name}", "FORMAT", with_tensor(tensor("b", [32, 2], T_Q4_0, offset))
    for name, tensors in [("same", [tensor("a", [16], T_F32, 0), tensor("b", [16], T_F32, 0)]),
                          ("half", [tensor("a", [16], T_F32, 0), tensor("b", [16], T_F32, 32)]),
                          ("many", [tensor(f"t{i}", [16], T_F32, 0) for i in range(1000)])]:
        yield f"data-shared-{name}", "FORMAT", small(tensors=tensors, data=bytes(96))
    yield "data-cut", "FORMAT", small(data=DATA[:32 + 35])
    yield "data-missing", "FORMAT", small(data=b"")
    yield "data-no-padding", "FORMAT", small(data=b"", pad=False)


def alignment_cases():
    for v in (0, 1, 3, 4, 7, 24, 48, 131072, 1 << 31, 0xffffffff):
        yield f"alignment-{v}", "FORMAT", small(kvs=[kv("general.alignment", U32, v)],
                                                data=bytes(256))
    for name, kind, v in [("u64", U64, 32), ("i32", I32, 32), ("f32", F32, 32.0),
                          ("str", STR, "32"), ("bool", BOOL, 1)]:
        yield f"alignment-is-{name}", "FORMAT", small(kvs=[kv("general.alignment", kind, v)])
    yield "alignment-is-array", "FORMAT", small(kvs=[array("general.alignment", U32, [32])])
    yield "alignment-past-end", "FORMAT", small(kvs=[kv("general.alignment", U32, 65536)])


def split_part(no, count, tensors, name="a", kind=U16):
    return gguf([kv("split.no", kind, no), kv("split.count", kind, count),
                 kv("split.tensors.count", I32, tensors)], [tensor(name, [8], T_F32, 0)], bytes(32))


def split_cases():
    """Names carry the part numbers; parts that are not opened themselves have no code."""
    yield "split-alone-00001-of-00002", "NOENT", split_part(0, 2, 2)
    yield "split-self-00001-of-00002", "FORMAT", split_part(0, 2, 2)
    yield "split-self-00002-of-00002", None, split_part(0, 2, 2)
    yield "split-twice-00001-of-00002", "FORMAT", split_part(0, 2, 2)
    yield "split-twice-00002-of-00002", None, split_part(1, 2, 2)
    yield "split-few-00001-of-00002", "FORMAT", split_part(0, 2, 3)
    yield "split-few-00002-of-00002", "USAGE", split_part(1, 2, 3, "b")
    yield "split-broken-00001-of-00002", "FORMAT", split_part(0, 2, 2)
    yield "split-broken-00002-of-00002", None, split_part(1, 2, 2, "b")[:60]
    yield "split-name", "FORMAT", split_part(0, 2, 2)
    yield "split-past-00003-of-00002", "FORMAT", split_part(2, 2, 2)
    yield "split-count-65535", "LIMIT", split_part(0, 65535, 1)
    yield "split-count-max", "FORMAT", split_part(0, MAX, 1, kind=U64)
    yield "split-count-negative", "FORMAT", split_part(0, -1, 1, kind=I32)
    yield "split-count-string", "FORMAT", split_part("0", "2", 1, kind=STR)
    yield "split-merged", "OK", split_part(0, 0, 1)
    yield "split-single", "OK", split_part(0, 1, 1)


# --- tiny models --------------------------------------------------------------------------------

VOCAB, EMBD, HEADS, HEADS_KV, FF = 300, 32, 2, 1, 32
MERGES = ["Ġ t", "Ġ a", "h e", "i n", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "Ġ w", "Ġ o",
          "e n", "Ġ c", "i t", "i s", "a n", "o r", "e s", "Ġ b", "e d", "Ġ f", "in g", "Ġ p",
          "o u", "Ġa n", "a l", "a r", "Ġt o", "Ġ m", "Ġo f", "Ġ in", "Ġ d", "Ġ h", "Ġan d", "i c",
          "l e", "Ġt h", "o m", "l l"]


def byte_letters():
    """GPT-2's printable stand-in for each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in keep]
    return [chr(b) if b in keep else chr(256 + other.index(b)) for b in range(256)]


def random_floats(seed, n, scale):
    """Uniform in +-scale, from a 64-bit linear congruence."""
    out = []
    for _ in range(n):
        seed = (seed * 6364136223846793005 + 1442695040888963407) & MAX
        out.append(((seed >> 40) / (1 << 23) - 1) * scale)
    return out


def q8_0(values):
    out = b""
    for i in range(0, len(values), 32):
        block = values[i:i + 32]
        d = max(map(abs, block)) / 127 or 1.0
        out += struct.pack("<e", d) + bytes(round(v / d) & 255 for v in block)
    return out


def f32(values):
    return b"".join(struct.pack("<f", v) for v in values)


class Model:
    """Metadata by key -> encoded entry, tensors by name -> [dims, type, bytes]."""

    def __init__(self):
        self.kvs = {}
        self.tensors = {}

    def set(self, key, kind, v):
        self.kvs[key] = kv(key, kind, v)

    def set_array(self, key, kind, items):
        self.kvs[key] = array(key, kind, items)

    def add(self, name, dims, quantized=True):
        n = 1
        for d in dims:
            n *= d
        scale = 0.5 if quantized else 0.1
        values = random_floats(len(self.tensors) + 1, n, scale)
        if quantized:
            self.tensors[name] = [dims, T_Q8_0, q8_0(values)]
        else:
            self.tensors[name] = [dims, T_F32, f32([1 + v for v in values])]

    def bytes(self):
        infos, data = [], b""
        for name, (dims, kind, raw) in self.tensors.items():
            infos.append(tensor(name, dims, kind, len(data)))
            data += raw + bytes(-len(raw) % 32)
        return gguf(list(self.kvs.values()), infos, data)


def llama():
    m = Model()
    m.set("general.architecture", STR, "llama")
    m.set("general.name", STR, "tiny")
    m.set("general.file_type", U32, 7)
    m.set("llama.block_count", U32, 1)
    m.set("llama.context_length", U32, 256)
    m.set("llama.embedding_length", U32, EMBD)
    m.set("llama.feed_forward_length", U32, FF)
    m.set("llama.attention.head_count", U32, HEADS)
    m.set("llama.attention.head_count_kv", U32, HEADS_KV)
    m.set("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)
    m.set("llama.rope.freq_base", F32, 10000.0)
    m.set("llama.rope.dimension_count", U32, EMBD // HEADS)
    m.set("llama.vocab_size", U32, VOCAB)
    kv_dim = EMBD // HEADS * HEADS_KV
    m.add("token_embd.weight", [EMBD, VOCAB])
    m.add("output_norm.weight", [EMBD], False)
    m.add("blk.0.attn_norm.weight", [EMBD], False)
    m.add("blk.0.attn_q.weight", [EMBD, EMBD])
    m.add("blk.0.attn_k.weight", [EMBD, kv_dim])
    m.add("blk.0.attn_v.weight", [EMBD, kv_dim])
    m.add("blk.0.attn_output.weight", [EMBD, EMBD])
    m.add("blk.0.ffn_norm.weight", [EMBD], False)
    m.add("blk.0.ffn_gate.weight", [EMBD, FF])
    m.add("blk.0.ffn_up.weight", [EMBD, FF])
    m.add("blk.0.ffn_down.weight", [FF, EMBD])
    return m


def bpe():
    """GPT-2-style tokenizer: 256 bytes, 40 merges, 4 control tokens."""
    m = llama()
    tokens = sorted(byte_letters()) + [s.replace(" ", "") for s in MERGES]
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    assert len(tokens) == len(set(tokens)) == VOCAB
    m.set("tokenizer.ggml.model", STR, "gpt2")
    m.set("tokenizer.ggml.pre", STR, "gpt-2")
    m.set_array("tokenizer.ggml.tokens", STR, tokens)
    m.set_array("tokenizer.ggml.token_type", I32, [1] * 296 + [3] * 4)
    m.set_array("tokenizer.ggml.merges", STR, MERGES)
    m.set("tokenizer.ggml.bos_token_id", U32, 296)
    m.set("tokenizer.ggml.eos_token_id", U32, 296)
    m.set("tokenizer.ggml.padding_token_id", U32, 299)
    return m


def spm():
    """Llama-style tokenizer: 3 special tokens, 256 bytes, 41 pieces with scores."""
    m = llama()
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokens += ["▁t", "he", "▁the", "in", "▁a", "▁"]
    tokens += list("etaoinshrdlcumwfgypbvk.,'?!-0123456")
    tokens = tokens[:VOCAB]
    assert len(tokens) == len(set(tokens)) == VOCAB
    m.set("tokenizer.ggml.model", STR, "llama")
    m.set("tokenizer.ggml.pre", STR, "default")
    m.set_array("tokenizer.ggml.tokens", STR, tokens)
    m.set_array("tokenizer.ggml.scores", F32, [0.0] * 259 + [-float(i) for i in range(VOCAB - 259)])
    m.set_array("tokenizer.ggml.token_type", I32, [2, 3, 3] + [6] * 256 + [1] * (VOCAB - 259))
    m.set("tokenizer.ggml.bos_token_id", U32, 1)
    m.set("tokenizer.ggml.eos_token_id", U32, 2)
    m.set("tokenizer.ggml.unknown_token_id", U32, 0)
    return m


# --- one tiny model of each family, and of each kind of tokenizer -------------------------------

def other_family(arch, drop=(), add=(), keys=(), base=bpe):
    """A Llama turned into another family: metadata renamed, tensors dropped and added."""
    m = base()
    m.set("general.architecture", STR, arch)
    for key in [k for k in m.kvs if k.startswith("llama.")]:
        raw = m.kvs.pop(key)[8 + len(key):]
        m.kvs[arch + key[5:]] = text(arch + key[5:]) + raw
    for name in drop:
        m.tensors.pop(f"blk.0.{name}")
    for name, dims in add:
        quantized = len(dims) > 1 and "norm" not in name
        m.add(name if "_embd" in name or name.startswith("output") else f"blk.0.{name}", dims,
              quantized)
    for key, kind, v in keys:
        m.set(f"{arch}.{key}", kind, v)
    return m


def families():
    kv_dim, head = EMBD // HEADS * HEADS_KV, EMBD // HEADS
    post = [("post_attention_norm.weight", [EMBD]), ("post_ffw_norm.weight", [EMBD])]
    qk = [("attn_q_norm.weight", [head]), ("attn_k_norm.weight", [head])]
    eps = [("attention.layer_norm_epsilon", F32, 1e-5)]
    window = [("attention.sliding_window", U32, 5)]
    biases = [("attn_norm.bias", [EMBD]), ("output_norm.bias", [EMBD]), ("attn_q.bias", [EMBD]),
              ("attn_k.bias", [kv_dim]), ("attn_v.bias", [kv_dim]), ("attn_output.bias", [EMBD]),
              ("ffn_up.bias", [FF]), ("ffn_down.bias", [EMBD])]
    qkv = [("attn_qkv.weight", [EMBD, EMBD + 2 * kv_dim])]
    split = ["attn_q.weight", "attn_k.weight", "attn_v.weight"]
    yield other_family("mistral3", keys=window + [("attention.temperature_scale", F32, 0.1),
                                                  ("rope.scaling.original_context_length", U32, 2)])
    yield other_family("qwen2", add=[b for b in biases if b[0][5:8] in ("q.b", "k.b", "v.b")])
    yield other_family("qwen3", add=qk)
    yield other_family("gemma2", add=post, keys=window)
    yield other_family("gemma3", add=post + qk, keys=window + [
        ("rope.scaling.type", STR, "yarn"), ("rope.scaling.factor", F32, 4.0)])
    yield other_family("phi2", drop=["ffn_gate.weight", "ffn_norm.weight"], add=biases, keys=eps)
    yield other_family("phi3", drop=split + ["ffn_gate.weight", "ffn_up.weight"],
                       add=qkv + [("ffn_up.weight", [EMBD, 2 * FF])], keys=window)
    yield other_family("stablelm", keys=eps, add=[
        ("attn_q_norm.weight", [head, HEADS]), ("attn_k_norm.weight", [head, HEADS_KV])])
    yield other_family("granite", keys=[("embedding_scale", F32, 12.0), ("logit_scale", F32, 8.0)])
    yield other_family("olmo2", drop=["attn_norm.weight", "ffn_norm.weight"], add=post + [
        ("attn_q_norm.weight", [EMBD]), ("attn_k_norm.weight", [kv_dim])])
    yield other_family("gpt2", drop=split + ["ffn_gate.weight"], keys=eps, add=qkv + [
        ("position_embd.weight", [EMBD, 256]), ("ffn_norm.bias", [EMBD]),
        ("attn_qkv.bias", [EMBD + 2 * kv_dim])] + [b for b in biases if b[0][5:8] not in (
            "q.b", "k.b", "v.b")])


def other_tokenizer(model):
    """The SentencePiece vocabulary under another name, which reads it its own way."""
    m = spm()
    m.set("tokenizer.ggml.model", STR, model)
    if model == "t5":
        texts = b"A\0"
        m.set_array("tokenizer.ggml.precompiled_charsmap", U8, u32(8) + u64(1 << 18) + texts)
    if model == "gemma4":
        m.set_array("tokenizer.ggml.merges", STR, ["h e", "i n"])
    m.set("tokenizer.chat_template", STR,
          "{% for m in messages %}{{ m.role ~ ': ' ~ m['content'] }}\n{% endfor %}")
    return m


# --- models the engine must refuse --------------------------------------------------------------

def changed(base, change):
    m = base()
    change(m)
    return m.bytes()


def scalar_cases():
    """One metadata value replaced: (name, key, kind, value)."""
    for name in ("bos", "eos", "padding", "unknown"):
        for v in (VOCAB, 1 << 31):
            yield f"{name}-{v}", f"tokenizer.ggml.{name}_token_id", U32, v
    yield "eos-string", "tokenizer.ggml.eos_token_id", STR, "<|endoftext|>"
    for key in ("block_count", "embedding_length", "context_length", "feed_forward_length",
                "attention.head_count", "attention.head_count_kv", "rope.dimension_count"):
        short = key.split(".")[-1].replace("_", "-")
        yield f"{short}-0", f"llama.{key}", U32, 0
        yield f"{short}-string", f"llama.{key}", STR, "32"
        yield f"{short}-2-64", f"llama.{key}", U64, MAX
        if key != "context_length":
            yield f"{short}-2-31", f"llama.{key}", U32, 1 << 31
            yield f"{short}-max", f"llama.{key}", U32, 0xffffffff
    yield "block-count-2", "llama.block_count", U32, 2
    yield "head-count-3", "llama.attention.head_count", U32, 3
    yield "head-count-64", "llama.attention.head_count", U32, 64
    yield "head-count-kv-3", "llama.attention.head_count_kv", U32, 3
    yield "rope-dimension-odd", "llama.rope.dimension_count", U32, 15
    yield "rope-dimension-over-head", "llama.rope.dimension_count", U32, 18
    nan, inf = float("nan"), float("inf")
    for name, v in [("zero", 0.0), ("negative", -1.0), ("nan", nan), ("inf", inf)]:
        yield f"rope-base-{name}", "llama.rope.freq_base", F32, v
        if name != "zero":
            yield f"epsilon-{name}", "llama.attention.layer_norm_rms_epsilon", F32, v
    yield "rope-factor-tiny", "llama.rope.scaling.factor", F32, 1e-40
    yield "rope-factor-nan", "llama.rope.scaling.factor", F32, nan
    yield "rope-linear-tiny", "llama.rope.scale_linear", F32, 1e-40
    yield "vocab-size-299", "llama.vocab_size", U32, VOCAB - 1
    yield "architecture-unknown", "general.architecture", STR, "no-such-family"
    yield "architecture-empty", "general.architecture", STR, ""
    yield "architecture-number", "general.architecture", U32, 1
    yield "tokenizer-unknown", "tokenizer.ggml.model", STR, "no-such-tokenizer"
    yield "pre-unknown", "tokenizer.ggml.pre", STR, "no-such-splitter"
    yield "tokens-string", "tokenizer.ggml.tokens", STR, "a"


def list_cases():
    """One tokenizer list replaced: (name, base, key, kind, items)."""
    good = bpe()
    assert good.bytes() == bpe().bytes()
    n = VOCAB
    tokens, kinds, merges = (f"tokenizer.ggml.{k}" for k in ("tokens", "token_type", "merges"))
    yield "tokens-empty", bpe, tokens, STR, []
    yield "tokens-few", bpe, tokens, STR, [f"t{i}" for i in range(n - 1)]
    yield "tokens-many", bpe, tokens, STR, [f"t{i}" for i in range(n + 1)]
    yield "tokens-numbers", bpe, tokens, U32, list(range(n))
    yield "token-types-few", bpe, kinds, I32, [1] * (n - 1)
    yield "token-types-floats", bpe, kinds, F32, [1.0] * n
    yield "token-types-strings", bpe, kinds, STR, ["1"] * n
    yield "token-types-unknown", bpe, kinds, I32, [1] * (n - 1) + [77]
    yield "merges-numbers", bpe, merges, U32, list(range(40))
    yield "merges-empty-string", bpe, merges, STR, MERGES[:-1] + [""]
    yield "merges-one-word", bpe, merges, STR, MERGES[:-1] + ["ll"]
    yield "merges-only-space", bpe, merges, STR, MERGES[:-1] + [" "]
    yield "merges-unknown-token", bpe, merges, STR, MERGES[:-1] + ["zz yy"]
    yield "scores-few", spm, "tokenizer.ggml.scores", F32, [0.0] * (n - 1)
    yield "scores-many", spm, "tokenizer.ggml.scores", F32, [0.0] * (n + 1)
    yield "scores-strings", spm, "tokenizer.ggml.scores", STR, ["0"] * n
    yield "scores-nan", spm, "tokenizer.ggml.scores", F32, [float("nan")] * n


def shape_cases():
    """One tensor replaced: (name, tensor, dims, type)."""
    yield "embedding-few-rows", "token_embd.weight", [EMBD, VOCAB - 1], T_Q8_0
    yield "embedding-wide", "token_embd.weight", [EMBD * 2, VOCAB], T_Q8_0
    yield "embedding-flat", "token_embd.weight", [EMBD * VOCAB], T_Q8_0
    yield "embedding-three-dims", "token_embd.weight", [EMBD, VOCAB, 2], T_Q8_0
    yield "embedding-integers", "token_embd.weight", [EMBD, VOCAB], T_I32
    yield "norm-short", "blk.0.attn_norm.weight", [EMBD - 1], T_F32
    yield "norm-quantized", "blk.0.attn_norm.weight", [EMBD], T_Q8_0
    yield "norm-two-dims", "output_norm.weight", [EMBD, 2], T_F32
    yield "q-tall", "blk.0.attn_q.weight", [EMBD, EMBD * 2], T_Q8_0
    yield "k-tall", "blk.0.attn_k.weight", [EMBD, EMBD], T_Q8_0
    yield "v-short", "blk.0.attn_v.weight", [EMBD, 8], T_Q8_0
    yield "o-wide", "blk.0.attn_output.weight", [EMBD * 2, EMBD], T_Q8_0
    yield "gate-short", "blk.0.ffn_gate.weight", [EMBD, FF - 1], T_Q8_0
    yield "up-short", "blk.0.ffn_up.weight", [EMBD, 1], T_Q8_0
    yield "down-wide", "blk.0.ffn_down.weight", [FF * 2, EMBD], T_Q8_0


def resize(m, name, dims, kind):
    n = 1
    for d in dims:
        n *= d
    m.tensors[name] = [dims, kind, bytes(n // 32 * 34 if kind == T_Q8_0 else n * 4)]


def uneven_groups(m):
    """Shapes agree; 4 heads cannot share 3 key heads."""
    m.set("llama.attention.head_count", U32, 4)
    m.set("llama.attention.head_count_kv", U32, 3)
    m.set("llama.rope.dimension_count", U32, EMBD // 4)
    for name in ("k", "v"):
        resize(m, f"blk.0.attn_{name}.weight", [EMBD, 24], T_Q8_0)


def experts_without_tensors(m):
    m.set("llama.expert_count", U32, 4)
    m.set("llama.expert_used_count", U32, 8)


def yarn(m, **how):
    m.set("llama.rope.scaling.type", STR, "yarn")
    m.set("llama.rope.scaling.factor", F32, 4.0)
    for key, v in how.items():
        m.set("llama.rope." + key.replace("__", "."), F32, v)


def rope_factors(m, name, value):
    m.tensors[name + ".weight"] = [[EMBD // HEADS // 2], T_F32,
                                   f32([1.0] * (EMBD // HEADS // 2 - 1) + [value])]


def rope_cases():
    """Angles that are no numbers, or too large to be turned into a place on the circle."""
    yield "yarn-base-one", lambda m: yarn(m, freq_base=1.0)
    yield "yarn-base-swa-one", lambda m: yarn(m, freq_base_swa=1.0)
    for v in (-7.2134752, -1e6):  # 0.1 * -7.2134752 * ln 4 = -1
        yield f"yarn-multiplier{v:.0f}", lambda m, v=v: yarn(m, scaling__yarn_log_multiplier=v)
    for name in ("rope_freqs", "rope_factors_long", "rope_factors_short"):
        for v in (0.0, -1.0, 1e-30, float("inf"), float("nan")):
            yield f"{name}-{v}", lambda m, name=name, v=v: rope_factors(m, name, v)


def shared_layers(m, layers=512):
    """A small file whose layers, all over the same bytes, would take a hundred times its size."""
    m.set("llama.block_count", U32, layers)
    names = [n for n in m.tensors if n.startswith("blk.0.")]
    for i in range(1, layers):
        for name in names:
            m.tensors[name.replace("blk.0.", f"blk.{i}.")] = m.tensors[name]
    infos, data, at = [], b"", {}
    for name, (dims, kind, raw) in m.tensors.items():
        at.setdefault(raw, len(data))
        infos.append(tensor(name, dims, kind, at[raw]))
        if at[raw] == len(data):
            data += raw + bytes(-len(raw) % 32)
    return gguf(list(m.kvs.values()), infos, data)


def stray_tensor(m):
    """Of another family: a loader that passes it over gives wrong answers."""
    m.add("blk.0.attn_q_norm.weight", [EMBD // HEADS], False)


def model_cases():
    yield "ok-llama", "OK", bpe().bytes()
    yield "ok-llama-spm", "OK", spm().bytes()
    for m in families():
        arch = m.kvs["general.architecture"].split(b"architecture")[1][12:].decode()
        yield f"ok-{arch}", "OK", m.bytes()
    for model in ("t5", "bert", "gemma4"):
        yield f"ok-tokenizer-{model}", "OK", other_tokenizer(model).bytes()
    for name, key, kind, v in scalar_cases():
        yield f"model-{name}", "MODEL", changed(bpe, lambda m: m.set(key, kind, v))
    for name, base, key, kind, items in list_cases():
        yield f"model-{name}", "MODEL", changed(base, lambda m: m.set_array(key, kind, items))
    for name, what, dims, kind in shape_cases():
        yield f"model-{name}", "MODEL", changed(bpe, lambda m: resize(m, what, dims, kind))
    for name, change in rope_cases():
        yield f"model-{name}", "MODEL", changed(bpe, change)
    for n in (0, 513):
        yield f"model-numbers-{n}", "MODEL", changed(
            bpe, lambda m, n=n: m.set_array("llama.attention.head_count_kv", U32, [1] * n))
    yield "model-groups-uneven", "MODEL", changed(bpe, uneven_groups)
    yield "model-stray-tensor", "MODEL", changed(bpe, stray_tensor)
    yield "shared-layers", "FORMAT", shared_layers(bpe())
    yield "model-not-causal", "MODEL", changed(
        bpe, lambda m: m.set("llama.attention.causal", BOOL, 0))
    yield "model-experts-missing", "MODEL", changed(bpe, experts_without_tensors)
    for key in ("general.architecture", "llama.block_count", "llama.embedding_length",
                "llama.attention.head_count", "tokenizer.ggml.model", "tokenizer.ggml.tokens",
                "tokenizer.ggml.merges"):
        yield f"model-without-{key}", "MODEL", changed(bpe, lambda m: m.kvs.pop(key))
    for name in llama().tensors:
        yield f"model-without-{name}", "MODEL", changed(bpe, lambda m: m.tensors.pop(name))


# ------------------------------------------------------------------------------------------------

GROUPS = [header_cases, truncation_cases, name_cases, value_cases, tensor_cases, alignment_cases,
          split_cases, model_cases]


def files():
    names = set()
    for group in GROUPS:
        for name, code, data in group():
            assert name not in names, name
            names.add(name)
            yield name, data, f"{name}.gguf {code}\n" if code else ""


if __name__ == "__main__":
    command(__doc__, files)
