#!/usr/bin/env python3
"""embed.py OUT.c FILE...: files as arrays of a C file, for src/serve/console.c.

Each becomes a row of console_files[]: the name it is served as, its type, its bytes.

embed.py --as NAME HEADER OUT.c FILE: the bytes of one file as NAME, and how many as n_NAME; HEADER declares both."""
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8"}


def numbers(data):
    return "".join("%d,%s" % (byte, "\n" if k % 24 == 23 else "") for k, byte in enumerate(data))


def one(name, header, out, path):
    text = '/* made by tools/embed.py */\n#include "%s"\n\n' % header
    text += "const unsigned char %s[] = {\n%s\n};\n" % (name, numbers(pathlib.Path(path).read_bytes()))
    text += "const size_t n_%s = sizeof %s;\n" % (name, name)
    pathlib.Path(out).write_text(text)


def main(out, paths):
    text = '/* made by tools/embed.py */\n#include "serve/console_files.h"\n\n'
    rows = ""
    for i, path in enumerate(map(pathlib.Path, paths)):
        text += "static const unsigned char file_%d[] = {\n%s\n};\n" % (i, numbers(path.read_bytes()))
        name = "" if path.name == "index.html" else "/" + path.name
        rows += '    {"%s", "%s", file_%d, sizeof file_%d},\n' % (name, TYPES[path.suffix], i, i)
    text += "\nconst struct console_file console_files[] = {\n%s};\n" % rows
    text += "const size_t n_console_files = sizeof console_files / sizeof *console_files;\n"
    pathlib.Path(out).write_text(text)


if __name__ == "__main__":
    if sys.argv[1] == "--as":
        one(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2:])
