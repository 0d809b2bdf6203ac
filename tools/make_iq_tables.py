#!/usr/bin/env python3
"""Writes src/kernel/quant_iq_tables.c: the codebooks of GGUF's IQ types.

The codebooks are constants of the file format: a model's bytes are indices into them. They are read
from the Python package gguf (gguf/quants.py; checked with 0.19.0) and written with the digits of a
row packed into one number, lowest first: 2 bits for each of 8 elements (IQ1, IQ2), 3 bits for each
of 4 (IQ3).

usage: make_iq_tables.py [--check] FILE     --check: only compare with FILE
"""
import sys

import gguf
from gguf.quants import _type_traits

TABLES = [  # C name, GGUF type, elements in a row, bits a digit
    ("iq1", "IQ1_S", 8, 2),
    ("iq2_xxs", "IQ2_XXS", 8, 2),
    ("iq2_xs", "IQ2_XS", 8, 2),
    ("iq2_s", "IQ2_S", 8, 2),
    ("iq3_xxs", "IQ3_XXS", 4, 3),
    ("iq3_s", "IQ3_S", 4, 3),
]

HEAD = """/* quant_iq_tables.c: the codebooks of the IQ types, as quant_int.h lays them out. Constants of
 * the GGUF format, read from the Python package gguf. Made by tools/make_iq_tables.py; do not edit.
 */
#include "kernel/quant_int.h"
"""


def rows(kind, width, bits):
    cls = _type_traits[gguf.GGMLQuantizationType[kind]]
    cls.init_grid()
    digit = {float(v): i for i, v in enumerate(cls.grid_map)}
    for row in cls.grid.reshape(-1, width):
        yield sum(digit[float(v)] << bits * i for i, v in enumerate(row))


def text():
    out = [HEAD]
    for name, kind, width, bits in TABLES:
        v = [f"0x{x:04x}," for x in rows(kind, width, bits)]
        lines = ["    " + " ".join(v[i:i + 12]) for i in range(0, len(v), 12)]
        body = "\n".join(lines)
        out.append(f"const uint16_t quant_{name}_grid[{len(v)}] = {{\n{body}\n}};\n")
    return "\n".join(out)


def main(args):
    check = "--check" in args
    paths = [a for a in args if a != "--check"]
    if len(paths) != 1:
        sys.exit(__doc__)
    if not check:
        open(paths[0], "w").write(text())
    elif open(paths[0]).read() != text():
        sys.exit(f"{paths[0]}: differs from the codebooks of gguf")


if __name__ == "__main__":
    main(sys.argv[1:])
