#!/usr/bin/env python3
"""Writes each schema of a list as files that fuzz_schema.c reads, to begin fuzzing from.

make_schema_corpus.py SCHEMAS FOLDER STAMP
"""
import os
import sys


def main():
    schemas, folder, stamp = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    with open(schemas, "rb") as f:
        for number, line in enumerate(f):
            for way in range(4):
                with open(os.path.join(folder, f"schema{number:03}-{way}"), "wb") as out:
                    out.write(bytes([way + 4 * number % 256]) + line.rstrip(b"\n"))
    with open(stamp, "w", encoding="ascii"):
        pass


if __name__ == "__main__":
    main()
