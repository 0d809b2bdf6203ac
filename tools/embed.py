#!/usr/bin/env python3
"""embed.py OUT.c FILE...: files as arrays of a C file, for src/serve/console.c.

Each becomes a row of console_files[]: the name it is served as, its type, its bytes."""
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8"}


def main(out, paths):
    text = '/* made by tools/embed.py */\n#include "serve/console_files.h"\n\n'
    rows = ""
    for i, path in enumerate(map(pathlib.Path, paths)):
        data = path.read_bytes()
        body = "".join("%d,%s" % (byte, "\n" if k % 24 == 23 else "") for k, byte in enumerate(data))
        text += "static const unsigned char file_%d[] = {\n%s\n};\n" % (i, body)
        name = "" if path.name == "index.html" else "/" + path.name
        rows += '    {"%s", "%s", file_%d, sizeof file_%d},\n' % (name, TYPES[path.suffix], i, i)
    text += "\nconst struct console_file console_files[] = {\n%s};\n" % rows
    text += "const size_t n_console_files = sizeof console_files / sizeof *console_files;\n"
    pathlib.Path(out).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
