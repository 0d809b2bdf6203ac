#!/usr/bin/env python3
"""Checks the tokenizer against the vocabularies and expected ids that llama.cpp ships.

usage: check_vocab.py TOK_DUMP      with SLV_LLAMA_SRC the llama.cpp source folder

Each models/ggml-vocab-NAME.gguf that has NAME.gguf.inp (texts between "__ggml_vocab_test__" lines)
and NAME.gguf.out (their ids, a line each, made by the model authors' tokenizer) is run through
TOK_DUMP. Exits 77 (skipped) when SLV_LLAMA_SRC is not set.
"""
import glob
import os
import struct
import subprocess
import sys


def records(texts):
    return b"".join(struct.pack("<I", len(t)) + t for t in texts)


def main():
    src = os.environ.get("SLV_LLAMA_SRC")
    if not src:
        print("skipped: SLV_LLAMA_SRC is not set")
        return 77
    bad = total = files = 0
    for inp in sorted(glob.glob(os.path.join(src, "models", "ggml-vocab-*.gguf.inp"))):
        texts = open(inp, "rb").read().split(b"\n__ggml_vocab_test__\n")
        texts = texts if texts[-1] else texts[:-1]
        want = [line.split() for line in open(inp[:-4] + ".out").read().split("\n")]
        run = subprocess.run([sys.argv[1], "ids", inp[:-4], "0"], input=records(texts),
                             capture_output=True)
        if run.returncode:
            print(f"{inp[:-4]}: {run.stderr.decode()}", end="")
            bad += 1
            continue
        have = [line.split() for line in run.stdout.decode().split("\n")]
        wrong = [i for i in range(len(texts)) if have[i] != want[i]]
        for i in wrong[:3]:
            print(f"{os.path.basename(inp)}: {texts[i]!r}\n  want {want[i]}\n  have {have[i]}")
        files += 1
        total += len(texts)
        bad += len(wrong)
    print(f"{files} vocabularies, {total} texts, {bad} wrong")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
