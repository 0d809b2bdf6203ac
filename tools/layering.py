#!/usr/bin/env python3
"""Who may include whom. Prints each include that breaks the layering; exit 1 if there is one.

A room may include itself, the rooms listed for it and, through them, nothing more: the list is
closed. Public headers and the build's config.h belong to all."""
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "format": ["base"],
    "kernel": ["base"],
    "trust": ["base"],
    "net": ["base", "trust"],
    "store": ["base", "trust", "net"],
    "engine": ["base", "format", "kernel"],
    "lab": ["base", "format", "kernel", "engine", "trust", "net", "store"],
    "serve": ["base", "format", "kernel", "engine", "trust", "net", "store"],
    "flow": ["base", "format", "kernel", "engine", "trust", "net", "store"],
    "mesh": ["base", "trust", "net", "store"],
    "fleet": ["base", "format", "kernel", "engine", "trust", "net", "store", "lab", "serve", "flow", "mesh"],
}
BELOW["cli"] = list(BELOW)
FREE = {"selvage.h", "selvage_mesh.h", "config.h"}


def main():
    bad = 0
    for path in sorted(pathlib.Path("src").rglob("*.[ch]")):
        room = path.parts[1]
        for n, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found or found.group(1) in FREE:
                continue
            to = found.group(1).split("/")[0]
            if to != room and to not in BELOW.get(room, []):
                print(f"{path}:{n}: {room} may not include {found.group(1)}")
                bad = 1
    sys.exit(bad)


if __name__ == "__main__":
    main()
