#!/usr/bin/env python3
"""Checks a model's tokenizer against its golden file.

usage: check_tokenizer.py TOK_DUMP GOLDEN.json      with SLV_TEST_MODEL the model's GGUF file

Exits 77 (skipped) when SLV_TEST_MODEL is not set.
"""
import json
import os
import struct
import subprocess
import sys


def main():
    model = os.environ.get("SLV_TEST_MODEL")
    if not model:
        print("skipped: SLV_TEST_MODEL is not set")
        return 77
    golden = json.load(open(sys.argv[2], encoding="utf-8"))
    rows = next(v for k, v in golden.items() if k.startswith("rows"))
    texts = [r[0].encode() for r in rows]
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    bad = 0
    for special in (0, 1):
        run = subprocess.run([sys.argv[1], "ids", model, str(2 + special)], input=data,
                             capture_output=True, check=True)
        for row, line in zip(rows, run.stdout.decode().split("\n")):
            want = row[-1] if special else row[1]
            have = [int(x) for x in line.split()]
            if have != want:
                bad += 1
                print(f"{row[0]!r}, special {special}\n  want {want}\n  have {have}")
    print(f"{len(rows)} texts, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
