#!/usr/bin/env python3
"""Writes the templates of data/template/cases.jsonl as files, to begin fuzzing from.

make_template_corpus.py CASES FOLDER STAMP
"""
import json
import os
import sys


def main():
    cases, folder, stamp = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    with open(cases, encoding="utf-8") as f:
        next(f)  # the names
        for number, line in enumerate(f):
            with open(os.path.join(folder, f"case{number:04}"), "wb") as out:
                out.write(json.loads(line)[0].encode("utf-8"))
    with open(stamp, "w", encoding="ascii"):
        pass


if __name__ == "__main__":
    main()
