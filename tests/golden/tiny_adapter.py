#!/usr/bin/env python3
"""Writes LoRA adapters for some tiny models of tiny_model.py, and of each case the model with the
adapters merged into its weights, which must answer alike.

usage: tiny_adapter.py FOLDER [STAMP]

FOLDER/MODEL+NAME.gguf are adapters as convert_lora_to_gguf.py writes them; FOLDER/manifest.txt lists

    case MODEL CASE ADAPTER SCALE [ADAPTER SCALE]   FOLDER/MODEL+CASE-merged.gguf has them merged
    bits MODEL ADAPTER                              of a model that is not made of floats
    folder MODEL ADAPTER                            of a model of tiny_folders.py
    bad MODEL NAME CODE                             NAME.gguf must be refused: SLV_E_CODE

Where the output's matrix is the table of embeddings, the merged model has two: an adapter of the
table changes only what goes in.

Numbers come from SHAKE-256 of the adapter's and the tensor's name. Standard library only.
"""
import array
import os
import struct
import sys

for sibling in ("hostile", "tools"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", sibling))
import gguf_writer as g  # noqa: E402
import tiny_folders  # noqa: E402
import tiny_model as tm  # noqa: E402

T_BF16 = 30
EVERY = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
         "output.weight", "token_embd")


def adapter(model, name, kind=g.T_F32, which=EVERY, ranks=(1, 3, 16, 20), alpha=6.0):
    return {"model": model, "name": f"{model}+{name}", "kind": kind, "which": which, "ranks": ranks,
            "alpha": alpha}


ADAPTERS = [adapter(m, "all") for m in ("llama2", "llama3", "qwen3", "phi2", "phi3", "gemma2",
                                         "gemma3", "gemma3-flags", "gpt2", "llama-scale",
                                         "stablelm-12b")] + [
    adapter("llama2", "f16", g.T_F16, ("attn_q", "attn_v"), (4,), 0.0),
    adapter("llama2", "bf16", T_BF16, ("ffn_down", "attn_output", "output.weight"), (8,), 3.0),
    adapter("llama2", "q8", g.T_Q8_0, ("attn_k", "ffn_up"), (32,), 40.0),
    adapter("gemma3", "other", g.T_F16, ("attn_q", "ffn_gate"), (5, 17), 9.0),
]
BITS = [adapter("mixed", "all"), adapter("mixed", "f16", g.T_F16, ("attn_v", "ffn_down"), (16,))]
FOLDERS = [adapter(c["name"], "all") for c, _ in tiny_folders.DECODERS]

# model, case, adapters with their scales
CASES = [(a["model"], a["name"].split("+")[1], [(a["name"], 1.0)]) for a in ADAPTERS] + [
    ("llama2", "scaled", [("llama2+all", -0.375)]),
    ("llama2", "stacked", [("llama2+all", 0.5), ("llama2+f16", 1.25), ("llama2+q8", -1.0)]),
    ("gemma3", "stacked", [("gemma3+other", 0.75), ("gemma3+all", 1.0)]),
]


OTHERS = [tm.case("mixed", "llama", embd=256, ff=256)] + [c for c, _ in tiny_folders.DECODERS]


def case_of(name):
    return next(c for c in tm.CASES + OTHERS if c["name"] == name)


def floats(raw):
    a = array.array("f", raw)
    if sys.byteorder == "big":
        a.byteswap()
    return a


def half(v):
    return struct.unpack("<e", struct.pack("<e", v))[0]


def encode(values, kind):
    """Bytes of a tensor, and the numbers that they stand for."""
    if kind == g.T_F16:
        return struct.pack(f"<{len(values)}e", *values), [half(v) for v in values]
    if kind == T_BF16:
        words = [struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in values]
        return (struct.pack(f"<{len(words)}H", *words),
                [struct.unpack("<f", struct.pack("<I", w << 16))[0] for w in words])
    if kind == g.T_Q8_0:
        raw, out = b"", []
        for i in range(0, len(values), 32):
            d = half(max(abs(v) for v in values[i:i + 32]) / 127)
            codes = [max(-127, min(127, round(v / d))) for v in values[i:i + 32]]
            raw += struct.pack("<e32b", d, *codes)
            out += [d * q for q in codes]
        return raw, out
    raw = tm.little(array.array("f", values))
    return raw, list(floats(raw))


def pairs(a):
    """For each tensor of the model that the adapter changes: (name, dims, rank, A, B), A and B as
    (dims, bytes, numbers)."""
    count = 0
    for name, dims, _, _ in tm.tensors(case_of(a["model"])):
        if not name.endswith(".weight") or not any(w in name for w in a["which"]) or "norm" in name:
            continue
        rank = a["ranks"][count % len(a["ranks"])]
        count += 1
        cols, rows = dims
        shapes = ([rank, rows], [rank, cols]) if "token_embd" in name else ([cols, rank], [rank, rows])
        sides = []
        for side, shape, spread in (("a", shapes[0], (3.0 / cols) ** 0.5), ("b", shapes[1], 0.4)):
            values = [spread * tm.UNIT[v]
                      for v in tm.randoms(f"{a['name']}/{name}/{side}", shape[0] * shape[1])]
            sides.append((shape, *encode(values, a["kind"])))
        yield name, dims, rank, *sides


def entries(arch, **more):
    meta = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": arch, **more}
    return [tm.entry(k, v) for k, v in meta.items()]


def adapter_file(a):
    more = {"general.name": a["name"]}
    if a["alpha"]:
        more["adapter.lora.alpha"] = a["alpha"]
    items = []
    for name, _, _, side_a, side_b in pairs(a):
        for end, (shape, raw, _) in (("lora_a", side_a), ("lora_b", side_b)):
            items.append((f"{name}.{end}", shape, a["kind"], raw))
    return tm.pack(entries(case_of(a["model"])["arch"], **more), items)


def deltas(a, scale):
    """name -> what is added to the tensor, row after row."""
    out = {}
    for name, (cols, rows), rank, (_, _, va), (_, _, vb) in pairs(a):
        s = scale * a["alpha"] / rank if a["alpha"] else scale
        if "token_embd" in name:
            by_row = [va[i * rank:(i + 1) * rank] for i in range(rows)]
            by_col = [vb[i * rank:(i + 1) * rank] for i in range(cols)]
        else:
            by_row = [vb[i * rank:(i + 1) * rank] for i in range(rows)]
            by_col = [va[i::cols] for i in range(cols)]
        out[name] = [s * sum(x * y for x, y in zip(r, c)) for r in by_row for c in by_col]
    return out


def merged(model, uses):
    c = case_of(model)
    by_name = {a["name"]: a for a in ADAPTERS}
    added = [deltas(by_name[name], scale) for name, scale in uses]
    items = []
    for name, dims, centre, spread in tm.tensors(c):
        raw = tm.numbers(c, name, dims, centre, spread)
        if name == "token_embd.weight" and c["tied"]:
            items.append(("output.weight", dims, g.T_F32, raw))
        scale = f"{name.removesuffix('.weight')}.scale"
        whole = [floats(tm.numbers(c, *t))[0] for t in tm.tensors(c) if t[0] == scale]
        for d in added:
            if name in d:
                raw = tm.little(array.array("f", [v + x / (whole[0] if whole else 1.0)
                                                  for v, x in zip(floats(raw), d[name])]))
        items.append((name, dims, g.T_F32, raw))
    return tm.pack(tm.metadata(c), items)


# --- files that must be refused -------------------------------------------------------------------

def side(name, dims, kind=g.T_F32, value=0.25):
    n = tm.size(dims)
    raw = {g.T_F16: 2, T_BF16: 2}.get(kind, 4) * n
    return name, dims, kind, tm.little(array.array("f", [value] * n)) if kind == g.T_F32 else bytes(raw)


Q = "blk.0.attn_q.weight"
GOOD = [side(f"{Q}.lora_a", [64, 4]), side(f"{Q}.lora_b", [4, 64])]


def one(items=None, drop=None, **meta):
    more = {"adapter.lora.alpha": 8.0, **meta}
    kvs = [tm.entry(k, v) for k, v in
           {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama",
            **more}.items() if k != drop and v is not None]
    return tm.pack(kvs, GOOD if items is None else items)


def pair(name, dims_a, dims_b):
    return [side(f"{name}.lora_a", dims_a), side(f"{name}.lora_b", dims_b)]


def hostile():
    yield "no-type", "FORMAT", one(drop="general.type")
    yield "model", "UNSUPPORTED", one(**{"general.type": "model"})
    yield "no-adapter-type", "FORMAT", one(drop="adapter.type")
    yield "adapter-type", "UNSUPPORTED", one(**{"adapter.type": "ia3"})
    yield "no-arch", "FORMAT", one(drop="general.architecture")
    yield "other-arch", "UNSUPPORTED", one(**{"general.architecture": "qwen3"})
    yield "alpha-text", "FORMAT", one(**{"adapter.lora.alpha": "8"})
    yield "alpha-nan", "FORMAT", one(**{"adapter.lora.alpha": float("nan")})
    yield "alpha-inf", "FORMAT", one(**{"adapter.lora.alpha": float("inf")})
    yield "alora", "UNSUPPORTED", one(**{"adapter.alora.invocation_tokens": [1, 2]})
    yield "empty", "FORMAT", one([])
    yield "no-a", "FORMAT", one(GOOD[1:])
    yield "no-b", "FORMAT", one(GOOD[:1])
    yield "other-name", "UNSUPPORTED", one(GOOD + [side("blk.0.attn_q.weight", [64, 64])])
    yield "suffix-only", "UNSUPPORTED", one(GOOD + [side(".lora_a", [64, 4])])
    yield "suffix-c", "UNSUPPORTED", one(GOOD + [side(f"{Q}.lora_c", [64, 4])])
    yield "no-such-layer", "FORMAT", one(pair("blk.9.attn_q.weight", [64, 4], [4, 64]))
    yield "no-such-tensor", "FORMAT", one(pair("blk.0.ffn_gate_exps.weight", [64, 4], [4, 64]))
    yield "nul-name", "FORMAT", one(pair("blk.0.attn_q.weight\0x", [64, 4], [4, 64]))
    yield "escape-name", "FORMAT", one(pair("blk.0.\x1b[2J\n", [64, 4], [4, 64]))
    yield "norm", "UNSUPPORTED", one(pair("blk.0.attn_norm.weight", [64, 4], [4, 1]))
    yield "not-transposed", "FORMAT", one(pair(Q, [4, 64], [64, 4]))
    yield "short-a", "FORMAT", one(pair(Q, [63, 4], [4, 64]))
    yield "short-b", "FORMAT", one(pair(Q, [64, 4], [4, 63]))
    yield "long-b", "FORMAT", one(pair(Q, [64, 4], [4, 65]))
    yield "ranks-differ", "FORMAT", one(pair(Q, [64, 4], [5, 64]))
    yield "three-dims", "FORMAT", one(pair(Q, [64, 4, 2], [4, 64]))
    yield "four-dims", "FORMAT", one(pair(Q, [64, 4], [4, 64, 1, 3]))
    yield "rank", "LIMIT", one(pair(Q, [64, 1025], [1025, 64]))
    yield "table-turned", "FORMAT", one(pair("token_embd.weight", [64, 4], [4, 283]))
    yield "table-rows", "FORMAT", one(pair("token_embd.weight", [4, 282], [4, 64]))
    good = one()
    yield "cut", "FORMAT", good[:-40]
    yield "head-only", "FORMAT", good[:30]
    yield "nothing", "FORMAT", b""


def files():
    for a in ADAPTERS:
        yield a["name"], adapter_file(a), ""
    for a in BITS:
        yield a["name"], adapter_file(a), f"bits {a['model']} {a['name']}\n"
    for a in FOLDERS:
        yield a["name"], adapter_file(a), f"folder {a['model']} {a['name']}\n"
    for model, case, uses in CASES:
        words = " ".join(f"{name} {scale}" for name, scale in uses)
        yield f"{model}+{case}-merged", merged(model, uses), f"case {model} {case} {words}\n"
    for name, code, raw in hostile():
        yield f"bad-{name}", raw, f"bad llama2 bad-{name} {code}\n"


if __name__ == "__main__":
    g.command(__doc__, files)
