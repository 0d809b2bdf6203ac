#!/usr/bin/env python3
"""Makes tests/data/encoders/goldens.json: what the tiny encoders (tiny_folders.py) make of some
texts, by encoder.py in double precision, and their tokens, by Hugging Face's tokenizers.

usage: make_encoders.py MODEL_FOLDER DATA_FOLDER        (needs numpy, safetensors, tokenizers)

tokens.json: {"TOKENIZER": [{"text": .., "ids": [..]}, ..], ..}

{"CASE": [{"text": .., "second": .. or null, "ids": [..], "vector": [..]}, ..], ..}; vectors are as
long as they come.
"""
import json
import os
import sys

import numpy as np
import safetensors
from tokenizers import Tokenizer

import encoder
import tiny_folders


def tensors(folder):
    """All tensors of a folder as floats; also BF16, which numpy does not know."""
    out = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            for tensor, info in safetensors.deserialize(f.read()):
                raw, shape = bytes(info["data"]), info["shape"]
                if info["dtype"] == "BF16":
                    wide = np.zeros((len(raw) // 2, 2), "<u2")
                    wide[:, 1] = np.frombuffer(raw, "<u2")
                    v = wide.view("<f4")
                else:
                    v = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "I64": "<i8"}[info["dtype"]])
                out[tensor] = v.astype(np.float64).reshape(shape)
    return out


def main(models, data):
    out = {}
    for c in tiny_folders.CASES:
        folder = os.path.join(models, c["name"])
        model = encoder.Encoder(folder, tensors(folder))
        # distilbert's folder has no tokenizer.json, but the words of the others
        words = os.path.join(models, "xlm-roberta" if c.get("tokens") else "bert", "tokenizer.json")
        tok = Tokenizer.from_file(words)
        texts = [(t, None) for t in tiny_folders.TEXTS]
        if c["ctx"] > 600:
            texts.append((" ".join(tiny_folders.WORDS[:8]) * 70, None))
        if c["type"] in ("bert", "xlm-roberta"):
            texts += tiny_folders.PAIRS
        rows = []
        for text, second in texts:
            e = tok.encode(text, second) if second is not None else tok.encode(text)
            if len(e.ids) > c["ctx"]:
                continue
            v = model.embed(e.ids, c["pool"], e.type_ids, False)
            rows.append({"text": text, "second": second, "ids": e.ids, "vector": [float(f"{x:.9g}") for x in v]})
        print(c["name"], len(rows), "texts, the longest of", max(len(r["ids"]) for r in rows), "tokens")
        out[c["name"]] = rows
    os.makedirs(data, exist_ok=True)
    rows = {}
    for name, t in tiny_folders.tokenizers():
        tok = Tokenizer.from_str(json.dumps(t))
        rows[name] = [{"text": text, "ids": tok.encode(text).ids} for text in tiny_folders.TEXTS + tiny_folders.MORE_TEXTS]
    with open(os.path.join(data, "tokens.json"), "w") as f:
        f.write("{" + ",\n".join(json.dumps(name) + ": [\n" + ",\n".join(json.dumps(r) for r in part) + "]"
                                 for name, part in rows.items()) + "}\n")
    with open(os.path.join(data, "goldens.json"), "w") as f:
        f.write("{" + ",\n".join(json.dumps(name) + ": [\n" + ",\n".join(json.dumps(r) for r in rows) + "]"
                                 for name, rows in out.items()) + "}\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
