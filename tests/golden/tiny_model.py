#!/usr/bin/env python3
"""Writes a tiny random model of every family the engine knows, and of each the same model with one
feature taken away.

usage: tiny_model.py FOLDER [STAMP]

FOLDER/manifest.txt lists them: "case NAME N_CTX" is NAME.gguf, to be run with that context;
"off NAME FEATURE" is NAME~FEATURE.gguf, which must answer differently from NAME.gguf;
"quant NAME N_CTX" is NAME.gguf, whose matrices have many types, and NAME~float.gguf, the same
numbers as floats; "bits NAME N_CTX" is NAME.gguf, whose matrices have all the other types and which
has only to answer the same everywhere.

Numbers come from SHAKE-256 of the case's and the tensor's name, so they are the same everywhere
and do not depend on the order of anything. Their scales are chosen so that logits are a few units,
attention is sharp, and every feature moves some logit by a tenth or more. Standard library only:
the models are made when the tests are built; goldens for them (make_families.py) are stored.
"""
import array
import copy
import functools
import hashlib
import itertools
import os
import struct
import sys

for sibling in ("hostile", "tools"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", sibling))
import gguf_writer as g  # noqa: E402
from make_gguf import MERGES, byte_letters  # noqa: E402

N_VOCAB = 283  # not a multiple of 16, so that the last tile is part of every test
N_CTX = 512


def case(name, arch, first=False, **how):
    """A row: what is said here replaces what the family says, which replaces DEFAULTS. A family's
    own features are taken away from its first case only."""
    c = copy.deepcopy({**DEFAULTS, **FAMILIES[arch], **how})
    c["meta"] = {**FAMILIES[arch].get("meta", {}), **how.get("meta", {})}
    c["off"] = {**(FAMILIES[arch].get("off", {}) if first else {}), **how.get("off", {})}
    c["name"], c["arch"] = name, arch
    c["head"] = c["head"] or c["embd"] // c["heads"]
    return c


def without(c, change):
    """The case with one feature changed: keys as in case(), meta values of None are removed."""
    c = {**c, **change, "meta": {**c["meta"], **change.get("meta", {})}}
    c["meta"] = {k: v for k, v in c["meta"].items() if v is not None}
    return c


DEFAULTS = {
    "layers": 2, "embd": 64, "heads": 4, "kv": 2, "head": None, "ff": 80, "n_ctx": N_CTX,
    "n_vocab": N_VOCAB,
    "norm": "rms",      # or "layer", with biases
    "tied": False,      # no output.weight
    "qkv": "split",     # or "fused"
    "gate": "split",    # or "fused" with up, or None
    "bias": (),         # of q, k, v, o, gate, up, down, output
    "scale": (),        # one number that a whole tensor is multiplied by: of the same
    "qk_norm": None,    # "head", "heads" or "row"
    "pre": True, "post": False,
    "ffn_norm": True,   # without: attention and feed-forward run side by side
    "positions": False,  # learned ones
    "factors": (),      # rope_freqs, rope_factors_long, rope_factors_short
    "vocab": "bpe",     # or "spm"
    "flat": (),         # tensors with such names hold ones, biases zeros
    "qk_centre": 1.6,   # around which q and k norms lie
    "meta": {},
    "off": {},
}


def flat(*names):
    return {"flat": names}


def meta(**how):
    """meta(rope_freq_base=1.0): '__' stands for '.', '_' for itself."""
    return {"meta": {k.replace("__", "."): v for k, v in how.items()}}


NORMS = {"attn-norm": flat("attn_norm.weight"), "ffn-norm": flat("ffn_norm.weight"),
         "output-norm": flat("output_norm.weight")}
QK_NORMS = {"q-norm": flat("attn_q_norm"), "k-norm": flat("attn_k_norm")}
POST_NORMS = {"post-attn": flat("post_attention_norm"), "post-ffn": flat("post_ffw_norm")}
NORM_BIASES = {"attn-norm-bias": flat("attn_norm.bias"), "ffn-norm-bias": flat("ffn_norm.bias"),
               "output-norm-bias": flat("output_norm.bias")}
QKV_BIASES = {"q-bias": flat("attn_q.bias"), "k-bias": flat("attn_k.bias"),
              "v-bias": flat("attn_v.bias")}
MLP_BIASES = {"o-bias": flat("attn_output.bias"), "up-bias": flat("ffn_up.bias"),
              "down-bias": flat("ffn_down.bias")}
ROPE = {"rope-base": meta(rope__freq_base=100.0)}
ALL_BIAS = ("q", "k", "v", "o", "up", "down")

# What the files of a family hold. Sources: ggml's docs/gguf.md and the published files.
FAMILIES = {
    "llama": {"off": {**NORMS, **ROPE}},
    "mistral3": {"off": {**ROPE}},
    "smollm3": {"layers": 5, "tied": True, "off": {**NORMS, **ROPE}},
    "qwen2": {"tied": True, "bias": ("q", "k", "v"), "meta": {"rope.freq_base": 1e6},
              "off": {**NORMS, **ROPE, **QKV_BIASES}},
    "qwen3": {"head": 32, "qk_norm": "head", "meta": {"rope.freq_base": 1e6},
              "off": {**NORMS, **ROPE, **QK_NORMS}},
    "gemma": {"head": 32, "kv": 1, "tied": True, "vocab": "spm", "off": {**NORMS, **ROPE}},
    "gemma2": {"layers": 4, "tied": True, "post": True, "vocab": "spm",
               "meta": {"attention.sliding_window": 16, "attn_logit_softcapping": 2.0,
                        "final_logit_softcapping": 4.0},
               "off": {**NORMS, **POST_NORMS, **ROPE,
                       "window": meta(attention__sliding_window=4096),
                       "attn-cap": meta(attn_logit_softcapping=1e6),
                       "logit-cap": meta(final_logit_softcapping=1e6)}},
    "gemma3": {"layers": 7, "tied": True, "post": True, "qk_norm": "head", "vocab": "spm",
               "meta": {"attention.sliding_window": 12, "rope.freq_base": 1e6},
               "off": {**NORMS, **POST_NORMS, **QK_NORMS, **ROPE,
                       "window": meta(attention__sliding_window=None)}},
    "phi2": {"norm": "layer", "qkv": "fused", "gate": None, "ffn_norm": False, "kv": 4,
             "bias": (*ALL_BIAS, "output"), "meta": {"rope.dimension_count": 6},
             "off": {"attn-norm": NORMS["attn-norm"], "output-norm": NORMS["output-norm"],
                     "attn-norm-bias": NORM_BIASES["attn-norm-bias"],
                     "output-norm-bias": NORM_BIASES["output-norm-bias"], **MLP_BIASES, **ROPE,
                     "qkv-bias": flat("attn_qkv.bias"), "output-bias": flat("output.bias"),
                     "rotary": meta(rope__dimension_count=16)}},
    "phi3": {"qkv": "fused", "gate": "fused",
             "meta": {"attention.sliding_window": 16}, "off": {**NORMS, **ROPE}},
    "stablelm": {"norm": "layer", "bias": ("q", "k", "v"), "meta": {"rope.dimension_count": 4},
                 "off": {**NORMS, **NORM_BIASES, **QKV_BIASES, **ROPE,
                         "rotary": meta(rope__dimension_count=16)}},
    "granite": {"tied": True,
                "meta": {"embedding_scale": 6.0, "residual_scale": 0.4, "attention.scale": 0.5,
                         "logit_scale": 3.0},
                "off": {**NORMS, **ROPE, "embedding-scale": meta(embedding_scale=1.0),
                        "residual-scale": meta(residual_scale=1.0),
                        "attention-scale": meta(attention__scale=None),
                        "logit-scale": meta(logit_scale=1.0)}},
    "olmo2": {"pre": False, "post": True, "qk_norm": "row", "kv": 4,
              "meta": {"rope.freq_base": 500000.0},
              "off": {**QK_NORMS, **POST_NORMS, "output-norm": NORMS["output-norm"], **ROPE}},
    "starcoder2": {"norm": "layer", "gate": None, "tied": True, "bias": ALL_BIAS,
                   "off": {**NORMS, **NORM_BIASES, **QKV_BIASES, **MLP_BIASES, **ROPE}},
    "gpt2": {"norm": "layer", "gate": None, "qkv": "fused", "tied": True, "kv": 4,
             "bias": ALL_BIAS, "positions": True,
             "off": {**NORMS, **NORM_BIASES, **MLP_BIASES, "qkv-bias": flat("attn_qkv.bias"),
                     "positions": flat("position_embd")}},
}

YARN = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 64}
LONGROPE = {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": 1.2}
NO_YARN = {"yarn": meta(rope__scaling__type="none"),
           "yarn-factor": meta(rope__scaling__factor=2.0),
           "yarn-context": meta(rope__scaling__original_context_length=512)}
LONG = {"factors": ("rope_factors_long", "rope_factors_short")}
LONG_OFF = {"long": flat("rope_factors_long"), "attn-factor": meta(rope__scaling__attn_factor=None)}

CASES = [
    case("llama2", "llama", True, kv=4),
    case("llama3", "llama", head=32, tied=True, factors=("rope_freqs",),
         meta={"rope.freq_base": 500000.0, "rope.dimension_count": 32},
         off={"factors": flat("rope_freqs")}),
    case("llama-linear", "llama", meta={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
         off={"scaling": meta(rope__scaling__factor=None),
              "type-none": meta(rope__scaling__type="none")}),
    case("llama-linear-old", "llama", meta={"rope.scale_linear": 2.0},
         off={"scaling": meta(rope__scale_linear=None)}),
    case("llama-yarn", "llama", meta=YARN, off=NO_YARN),
    case("llama-yarn-factors", "llama", factors=("rope_freqs",),
         meta={**YARN, "rope.scaling.attn_factor": 1.3},
         off={"factors": flat("rope_freqs"), "attn-factor": meta(rope__scaling__attn_factor=None)}),
    case("llama-bias", "llama", bias=("q", "k", "v", "o", "gate", "up", "down"),
         off={**QKV_BIASES, **MLP_BIASES, "gate-bias": flat("ffn_gate.bias")}),
    case("llama-scale", "llama", bias=("q",), scale=("q", "k", "v", "o", "gate", "up", "down"),
         off={f"{n}-scale": flat(f"{n}.scale") for n in
              ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}),
    case("llama-scale-output", "llama", scale=("output",),
         off={"output-scale": flat("output.scale")}),
    case("phi3-scale", "phi3", scale=("q", "o"), off={"qkv-scale": flat("attn_qkv.scale")}),
    case("phi3-scale-ffn", "phi3", scale=("up", "down"), off={"up-scale": flat("ffn_up.scale")}),
    case("llama-window", "llama", meta={"attention.sliding_window": 24},
         off={"window": meta(attention__sliding_window=None)}),
    case("falcon3", "llama", head=24, meta={"rope.freq_base": 1000042.0}),
    case("tinyllama", "llama", vocab="spm", kv=1),
    case("mistral3", "mistral3", True, head=32,
         meta={**YARN, "rope.scaling.original_context_length": 256,
               "rope.scaling.yarn_log_multiplier": 0.5,
               "rope.scaling.yarn_beta_fast": 8.0, "rope.scaling.yarn_beta_slow": 2.0},
         off={**NO_YARN, "log-multiplier": meta(rope__scaling__yarn_log_multiplier=None),
              "beta-fast": meta(rope__scaling__yarn_beta_fast=None),
              "beta-slow": meta(rope__scaling__yarn_beta_slow=1.0)}),
    case("mistral3-temperature", "mistral3", meta={**YARN, "attention.temperature_scale": 0.3},
         off={"temperature": meta(attention__temperature_scale=None)}),
    case("smollm3", "smollm3", True),
    case("qwen2", "qwen2", True),
    case("qwen2-untied", "qwen2", tied=False, kv=1),
    case("qwen3", "qwen3", True),
    case("qwen3-yarn", "qwen3", head=24, meta=YARN, off=NO_YARN),
    case("gemma", "gemma", True),
    case("gemma2", "gemma2", True),
    case("gemma2-swa-base", "gemma2", meta={"rope.freq_base_swa": 200.0},
         off={"swa-base": meta(rope__freq_base_swa=None)}),
    case("gemma2-27b", "gemma2", layers=46, heads=2, kv=1, head=16, ff=32),
    case("gemma3", "gemma3", True, meta={"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
         off={"scaling": meta(rope__scaling__factor=None)}),
    case("gemma3-flags", "gemma3", layers=4, tied=False,
         meta={"attention.sliding_window_pattern": [False, True, True, False],
               "rope.freq_base_swa": 300.0, "final_logit_softcapping": 4.0},
         off={"pattern": meta(attention__sliding_window_pattern=None),
              "swa-base": meta(rope__freq_base_swa=None),
              "logit-cap": meta(final_logit_softcapping=None)}),
    case("gemma3-27b", "gemma3", layers=62, heads=2, kv=1, head=16, ff=32),
    case("gemma3-full", "gemma3", layers=2, meta={"attention.sliding_window": 0},
         off={"window": meta(attention__sliding_window=12)}),
    case("phi2", "phi2", True),
    case("phi2-split", "phi2", qkv="split", kv=2, off=QKV_BIASES),
    case("phi3", "phi3", True),
    case("phi3-long", "phi3", **LONG, meta=LONGROPE, off=LONG_OFF),
    case("phi3-short", "phi3", **LONG, n_ctx=1024,
         meta={**LONGROPE, "rope.scaling.original_context_length": 512},
         off={"short": flat("rope_factors_short"),
              "attn-factor": meta(rope__scaling__attn_factor=None)}),
    case("phi4-mini", "phi3", **LONG, tied=True,
         meta={**LONGROPE, "rope.dimension_count": 12},
         off={**LONG_OFF, "rotary": {**meta(rope__dimension_count=16), "factors": ()}}),
    case("stablelm", "stablelm", True),
    case("stablelm-12b", "stablelm", qk_norm="heads", ffn_norm=False, bias=(),
         off={"q-norm": flat("attn_q_norm"), "k-norm": flat("attn_k_norm")}),
    case("granite", "granite", True),
    case("granite-nope", "granite", meta={"rope.scaling.finetuned": False},
         off={"nope": meta(rope__scaling__finetuned=True)}),
    case("olmo2", "olmo2", True),
    case("olmo3", "olmo2", layers=5, meta={**YARN, "attention.sliding_window": 16},
         off={**NO_YARN, "window": meta(attention__sliding_window=None),
              "pattern": meta(attention__sliding_window_pattern=2)}),
    case("starcoder2", "starcoder2", True),
    case("starcoder2-untied", "starcoder2", tied=False, kv=1),
    case("gpt2", "gpt2", True),
]


# --- tensors ------------------------------------------------------------------------------------

GAIN = {"attn_q": 1.7, "attn_k": 1.7, "attn_v": 1.2, "attn_qkv": 1.5, "attn_output": 1.2,
        "ffn_gate": 1.5, "ffn_up": 1.5, "ffn_down": 1.3, "output": 2.0}
BIAS_NAMES = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "o", "ffn_gate": "gate",
              "ffn_up": "up", "ffn_down": "down", "output": "output", "attn_qkv": "q"}


def matrix(c, prefix, name, cols, rows):
    """(name, dims, centre, spread) of a matrix and, where the case has one, its bias."""
    yield f"{prefix}{name}.weight", [cols, rows], 0.0, GAIN[name] * (3.0 / cols) ** 0.5
    if BIAS_NAMES[name] in c["bias"]:
        yield f"{prefix}{name}.bias", [rows], 0.0, 0.7
    if BIAS_NAMES[name] in c["scale"]:
        yield f"{prefix}{name}.scale", [1], 1.0, 0.5
        yield f"{prefix}{name}.input_scale", [1], 1.0, 0.5


def norm(c, name, bias=True):
    yield f"{name}.weight", [c["embd"]], 1.0, 0.6
    if bias and c["norm"] == "layer":
        yield f"{name}.bias", [c["embd"]], 0.0, 0.6


def qk_norm(c, p):
    for name, heads in (("attn_q_norm", c["heads"]), ("attn_k_norm", c["kv"])):
        dims = {"head": [c["head"]], "heads": [c["head"], heads], "row": [c["head"] * heads]}
        if c["qk_norm"]:
            yield f"{p}{name}.weight", dims[c["qk_norm"]], c["qk_centre"], 0.8


def layer(c, p):
    embd, ff, nq, nk = c["embd"], c["ff"], c["heads"] * c["head"], c["kv"] * c["head"]
    if c["pre"]:
        yield from norm(c, f"{p}attn_norm")
    if c["qkv"] == "fused":
        yield from matrix(c, p, "attn_qkv", embd, nq + 2 * nk)
    else:
        for name, rows in (("attn_q", nq), ("attn_k", nk), ("attn_v", nk)):
            yield from matrix(c, p, name, embd, rows)
    yield from qk_norm(c, p)
    yield from matrix(c, p, "attn_output", nq, embd)
    if c["post"]:
        yield from norm(c, f"{p}post_attention_norm", False)
    if c["pre"] and c["ffn_norm"]:
        yield from norm(c, f"{p}ffn_norm")
    if c["gate"] == "split":
        yield from matrix(c, p, "ffn_gate", embd, ff)
    yield from matrix(c, p, "ffn_up", embd, ff * (2 if c["gate"] == "fused" else 1))
    yield from matrix(c, p, "ffn_down", ff, embd)
    if c["post"]:
        yield from norm(c, f"{p}post_ffw_norm", False)


def tensors(c):
    embd = c["embd"]
    yield "token_embd.weight", [embd, c["n_vocab"]], 0.0, 0.5
    if c["positions"]:
        yield "position_embd.weight", [embd, c["n_ctx"]], 0.0, 0.5
    yield from norm(c, "output_norm")
    if not c["tied"]:
        yield from matrix(c, "", "output", embd, c["n_vocab"])
    for name in c["factors"]:
        yield f"{name}.weight", [c["meta"].get("rope.dimension_count", c["head"]) // 2], 3.0, 2.0
    for i in range(c["layers"]):
        yield from layer(c, f"blk.{i}.")


UNIT = [(i - 32767.5) / 32768.0 for i in range(65536)]


def randoms(seed, n):
    """n numbers of 16 bits."""
    a = array.array("H")
    a.frombytes(hashlib.shake_256(seed.encode()).digest(2 * n))
    if sys.byteorder == "big":
        a.byteswap()
    return a


def size(dims):
    n = 1
    for d in dims:
        n *= d
    return n


def little(floats):
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


KNOWN = {}  # tensors already made: most models differ in one only


def numbers(c, name, dims, centre, spread):
    n = size(dims)
    if any(part in name for part in c["flat"]):
        rest = 0.0 if ".bias" in name or "position_embd" in name else 1.0
        return little(array.array("f", [rest]) * n)
    key = (c["name"], name, n)
    if key not in KNOWN:
        KNOWN[key] = little(array.array("f", [centre + spread * UNIT[v]
                                              for v in randoms(f"{c['name']}/{name}", n)]))
    return KNOWN[key]


# --- metadata -----------------------------------------------------------------------------------

def entry(key, v):
    if isinstance(v, list):
        return g.array(key, g.BOOL if isinstance(v[0], bool) else g.I32, v)
    kind = (g.BOOL if isinstance(v, bool) else g.U32 if isinstance(v, int)
            else g.F32 if isinstance(v, float) else g.STR)
    return g.kv(key, kind, v)


@functools.cache
def vocabulary(kind, n_vocab):
    """N_VOCAB tokens, and unused ones up to n_vocab."""
    if kind == "bpe":
        merges = MERGES[:N_VOCAB - 260]
        tokens = sorted(byte_letters()) + [s.replace(" ", "") for s in merges]
        tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
        types = [1] * (N_VOCAB - 4) + [3] * 4
        rest = [g.kv("tokenizer.ggml.model", g.STR, "gpt2"),
                g.kv("tokenizer.ggml.pre", g.STR, "gpt-2"),
                g.array("tokenizer.ggml.merges", g.STR, merges)]
        bos = eos = N_VOCAB - 4
    else:
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
        tokens += ["▁t", "he", "▁the", "in", "▁a", "▁", *"etaoinshrdlcumwfgy"]
        types = [2, 3, 3] + [6] * 256 + [1] * (N_VOCAB - 259)
        rest = [g.kv("tokenizer.ggml.model", g.STR, "llama"),
                g.kv("tokenizer.ggml.pre", g.STR, "default"),
                g.array("tokenizer.ggml.scores", g.F32,
                        [0.0] * 259 + [-float(i) for i in range(N_VOCAB - 259)])]
        bos, eos = 1, 2
    assert len(tokens) == len(set(tokens)) == len(types) == N_VOCAB
    tokens += [f"[unused{i}]" for i in range(n_vocab - N_VOCAB)]
    types += [5] * (n_vocab - N_VOCAB)
    return rest + [g.array("tokenizer.ggml.tokens", g.STR, tokens),
                   g.array("tokenizer.ggml.token_type", g.I32, types),
                   g.kv("tokenizer.ggml.bos_token_id", g.U32, bos),
                   g.kv("tokenizer.ggml.eos_token_id", g.U32, eos)]


def metadata(c):
    eps = f"attention.layer_norm_{'rms_' if c['norm'] == 'rms' else ''}epsilon"
    m = {"block_count": c["layers"], "context_length": c["n_ctx"], "embedding_length": c["embd"],
         "feed_forward_length": c["ff"], "attention.head_count": c["heads"],
         "attention.head_count_kv": c["kv"], eps: 1e-5}
    if c["head"] != c["embd"] // c["heads"]:
        m["attention.key_length"] = m["attention.value_length"] = c["head"]
    m.update(c["meta"])
    return ([entry("general.architecture", c["arch"]), entry("general.name", "tiny")]
            + [entry(f"{c['arch']}.{k}", v) for k, v in m.items()]
            + vocabulary(c["vocab"], c["n_vocab"]))


def pack(entries, items):
    """items: (name, dims, type, bytes)"""
    infos, data, at = [], [], 0
    for name, dims, kind, raw in items:
        infos.append(g.tensor(name, dims, kind, at))
        raw += bytes(-len(raw) % 32)
        data.append(raw)
        at += len(raw)
    return g.gguf(entries, infos, b"".join(data))


def model(c):
    return pack(metadata(c), [(name, dims, g.T_F32, numbers(c, name, dims, centre, spread))
                              for name, dims, centre, spread in tensors(c)])


# --- models with many tensor types ----------------------------------------------------------------
#
# A block is made of random codes; encoders give its bytes and the numbers they stand for, as
# ggml's block formats define them. `s` is the standard deviation wanted.

def half(x):
    raw = struct.pack("<e", x)
    return raw, struct.unpack("<e", raw)[0]


def q8_0(r, s):
    raw, d = half(s / 74 * (0.75 + r[0] / 131072))
    codes = [v % 256 - 128 for v in r[1:33]]
    return raw + struct.pack("32b", *codes), [d * q for q in codes]


def q4_0(r, s):
    raw, d = half(s / 4.6 * (0.75 + r[0] / 131072))
    codes = [v % 256 for v in r[1:17]]
    return (raw + bytes(codes),
            [d * ((q & 15) - 8) for q in codes] + [d * ((q >> 4) - 8) for q in codes])


def q4_1(r, s):
    raw_d, d = half(s / 4.6 * (0.75 + r[0] / 131072))
    raw_m, m = half(-7.5 * d)
    codes = [v % 256 for v in r[1:17]]
    return (raw_d + raw_m + bytes(codes),
            [d * (q & 15) + m for q in codes] + [d * (q >> 4) + m for q in codes])


def q4_k(r, s):
    raw_d, d = half(s / 257 * (0.75 + r[0] / 131072))
    raw_m, dmin = half(7.5 * d)
    sc, mn = [v % 64 for v in r[1:9]], [v % 64 for v in r[9:17]]
    codes = [v % 256 for v in r[17:145]]
    packed = ([sc[i] | (sc[i + 4] >> 4) << 6 for i in range(4)]
              + [mn[i] | (mn[i + 4] >> 4) << 6 for i in range(4)]
              + [sc[i + 4] & 15 | (mn[i + 4] & 15) << 4 for i in range(4)])
    out = []
    for i in range(8):
        part = codes[i // 2 * 32:i // 2 * 32 + 32]
        out += [d * sc[i] * (q >> 4 if i % 2 else q & 15) - dmin * mn[i] for q in part]
    return raw_d + raw_m + bytes(packed) + bytes(codes), out


def q6_k(r, s):
    raw, d = half(s / 1367 * (0.75 + r[0] / 131072))
    sc = [v % 256 - 128 for v in r[1:17]]
    low, high = [v % 256 for v in r[17:145]], [v % 256 for v in r[145:209]]
    out = []
    for i in range(256):
        part, j = i // 128, i % 128
        lo = low[part * 64 + j % 64] >> (j // 64 * 4) & 15
        hi = high[part * 32 + j % 32] >> (j // 32 * 2) & 3
        out.append(d * sc[i // 16] * ((lo | hi << 4) - 32))
    return bytes(low) + bytes(high) + struct.pack("16b", *sc) + raw, out


def f16(r, s):
    return half((r[0] / 32768 - 1) * s * 1.7)[0], [half((r[0] / 32768 - 1) * s * 1.7)[1]]


def bf16(r, s):
    raw = struct.pack("<f", (r[0] / 32768 - 1) * s * 1.7)[2:]
    return raw, [struct.unpack("<f", b"\0\0" + raw)[0]]


# name: number in ggml's enum, numbers in a block, random numbers it takes, encoder
TYPES = {"q8_0": (8, 32, 33, q8_0), "q4_0": (2, 32, 17, q4_0), "q4_1": (3, 32, 17, q4_1),
         "q4_k": (12, 256, 145, q4_k), "q6_k": (14, 256, 209, q6_k),
         "f16": (1, 1, 1, f16), "bf16": (30, 1, 1, bf16)}
MIXES = {  # q, k, v, output, gate, up, down of each layer; embedding; output
    "mixed": ("q8_0 q4_0 q4_k q6_k q4_0 q8_0 q4_k", "q4_k f16 q8_0 bf16 q6_k q4_k q6_k", "q6_k",
              "q8_0"),
    "mixed-k": ("q4_k q4_k q6_k q4_k q4_k q4_k q6_k", "q6_k q4_k q4_k q4_k q6_k q6_k q4_k", "q4_k",
                None),
}
PARTS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def encode(seed, n, kind, s):
    number, block, take, encoder = TYPES[kind]
    r = randoms(seed, n // block * take)
    raw, values = bytearray(), array.array("f")
    for i in range(0, len(r), take):
        b, v = encoder(r[i:i + take], s)
        raw += b
        values.extend(v)
    return number, bytes(raw), little(values)


def mixed(name):
    """The bytes of the model and of its float twin."""
    *layers, embedding, output = MIXES[name]
    c = case(name, "llama", embd=256, ff=256, tied=output is None)
    kinds = {f"blk.{i}.{part}.weight": kind for i, row in enumerate(layers)
             for part, kind in zip(PARTS, row.split())}
    kinds.update({"token_embd.weight": embedding, "output.weight": output})
    quant, floats = [], []
    for t, dims, centre, spread in tensors(c):
        if t in kinds:
            number, raw, plain = encode(f"{name}/{t}", size(dims), kinds[t], spread / 1.7)
        else:
            number, raw = g.T_F32, numbers(c, t, dims, centre, spread)
            plain = raw
        quant.append((t, dims, number, raw))
        floats.append((t, dims, g.T_F32, plain))
    return pack(metadata(c), quant), pack(metadata(c), floats)


# --- a model with all the other types -------------------------------------------------------------
#
# Codes are random bytes. No numbers are needed besides: that they are unpacked rightly is shown by
# tests/unit/test_quant.c.

# name: number in ggml's enum, numbers in a block, bytes, where its f16 numbers lie and what they
# are about, for codes to come to about half a unit
BLOCKS = {
    "q4_1": (3, 32, 20, {0: 0.1, 2: -0.8}), "q5_0": (6, 32, 22, {0: 0.05}),
    "q5_1": (7, 32, 24, {0: 0.05, 2: -0.8}), "q8_1": (9, 32, 36, {0: 0.007, 2: 0.0}),
    "q2_k": (10, 256, 84, {80: 0.05, 82: 0.05}), "q3_k": (11, 256, 110, {108: 0.01}),
    "q5_k": (13, 256, 176, {0: 0.001, 2: 0.015}), "iq2_xxs": (16, 256, 66, {0: 0.005}),
    "iq2_xs": (17, 256, 74, {0: 0.005}), "iq3_xxs": (18, 256, 98, {0: 0.003}),
    "iq1_s": (19, 256, 50, {0: 0.07}), "iq4_nl": (20, 32, 18, {0: 0.007}),
    "iq3_s": (21, 256, 110, {0: 0.003}), "iq2_s": (22, 256, 82, {0: 0.005}),
    "iq4_xs": (23, 256, 136, {0: 0.0004}), "tq1_0": (34, 256, 54, {52: 0.6}),
    "tq2_0": (35, 256, 66, {64: 0.6}), "q1_0": (41, 128, 18, {0: 0.5}),
    "q2_0": (42, 64, 18, {0: 0.4}),
    # scales that are no f16: bytes by place
    "q8_k": (15, 256, 292, struct.pack("<f", 0.007)), "iq1_m": (29, 256, 56, {}),
    "mxfp4": (39, 32, 17, b"\x7b"), "nvfp4": (40, 64, 36, bytes([0x28, 0x29, 0x2a, 0x2b])),
}


def of_type(seed, n, kind):
    number, block, size_of, scale = BLOCKS[kind]
    raw = bytearray(hashlib.shake_256(seed.encode()).digest(n // block * size_of))
    for at in range(0, len(raw), size_of):
        if isinstance(scale, bytes):
            raw[at:at + len(scale)] = scale
        elif kind == "iq1_m":  # an f16 of 0.07 in the top nibbles of four numbers
            for i in range(4):
                low = raw[at + 49 + 2 * i] & 15
                raw[at + 49 + 2 * i] = low | (0x2c7b >> 4 * i & 15) << 4
        else:
            for place, v in scale.items():
                raw[at + place:at + place + 2] = struct.pack("<e", v)
    return number, bytes(raw)


def all_types():
    c = case("all-types", "llama", embd=256, ff=256, layers=-(-len(BLOCKS) // len(PARTS)))
    kinds = itertools.cycle(BLOCKS)
    items = []
    for t, dims, centre, spread in tensors(c):
        if len(dims) == 2:
            items.append((t, dims, *of_type(f"all-types/{t}", size(dims), next(kinds))))
        else:
            items.append((t, dims, g.T_F32, numbers(c, t, dims, centre, spread)))
    return pack(metadata(c), items)


# ------------------------------------------------------------------------------------------------

def files():
    for c in CASES:
        yield c["name"], model(c), f"case {c['name']} {N_CTX}\n"
        for feature, change in c["off"].items():
            yield (f"{c['name']}~{feature}", model(without(c, change)),
                   f"off {c['name']} {feature}\n")
        KNOWN.clear()
    for name in MIXES:
        quant, floats = mixed(name)
        yield name, quant, f"quant {name} {N_CTX}\n"
        yield f"{name}~float", floats, ""
    yield "all-types", all_types(), f"bits all-types {N_CTX}\n"


if __name__ == "__main__":
    g.command(__doc__, files)
