#!/usr/bin/env python3
"""Makes a golden file of ids for a model's tokenizer, from libllama.

usage: make_tokenizer.py MODEL.gguf > tests/data/tokenizer/NAME.json

SLV_LIBLLAMA is the path of libllama.so. The texts are the first of make_hostile_text.py (seed 11)
of at most 60 bytes; each is tokenized with control tokens parsed and not. check_tokenizer.py
compares.
"""
import json
import sys

import check_llama
import make_hostile_text

COUNT = 300


def main():
    ref = check_llama.Llama(sys.argv[1])
    texts = [t for t in make_hostile_text.texts(3000, 11) if len(t) <= 60][:COUNT]
    rows = [[t.decode(), ref.ids(t, False), ref.ids(t, True)] for t in texts]
    rows = [r if r[1] != r[2] else r[:2] for r in rows]
    print('{"made_by": "tests/golden/make_tokenizer.py", "with": "libllama, llama.cpp b11434",')
    print(f' "model": {json.dumps(sys.argv[1].split("/")[-1])}, "pieces": {ref.n},')
    print(' "rows: text, ids, ids with control tokens parsed where they differ": [')
    print(",\n".join(json.dumps(r, separators=(",", ":")) for r in rows))
    print("]}")


if __name__ == "__main__":
    main()
