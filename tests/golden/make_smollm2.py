#!/usr/bin/env python3
"""The exact answer for SmolLM2-135M-Instruct over a text, as a golden file.

    make_smollm2.py F32.gguf TOKENS.json > tests/data/smollm2.json

F32.gguf is the default model's file dequantized to F32 (dequantize.py); TOKENS.json is the output of
`selvage tokenize --json MODEL` on the text. llama.cpp runs it in f32, token by token, with an F32
cache; for each position the golden file has the most probable next token and the log-probability of
the text's own next token. Needs numpy and llama_cpp_py_sync (see measure_exact.py).
"""
import json
import sys

from measure_exact import WINDOW, log_softmax, theirs


def main():
    ids = [t["id"] for t in json.load(open(sys.argv[2]))["tokens"]][:WINDOW]
    rows = [log_softmax(x) for x in theirs(sys.argv[1], ids)]
    best = [int(r.argmax()) for r in rows]
    logprobs = [round(float(r[ids[i + 1]]), 5) for i, r in enumerate(rows[:-1])]
    print(json.dumps({"source": "llama.cpp b11434, F32, f32 cache, one token at a time",
                      "ids": ids, "best": best, "logprobs": logprobs}))


if __name__ == "__main__":
    main()
