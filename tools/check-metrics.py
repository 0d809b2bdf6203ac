#!/usr/bin/env python3
"""Metrics that the dashboard and the alerts name are metrics that the server, or the mesh, has. Prints those that are
not."""
import pathlib
import re
import sys


def main():
    tables = [pathlib.Path(p).read_text() for p in ("src/serve/metrics.c", "src/mesh/service_status.c")]
    have = {name for t in tables for name in re.findall(r'"((?:selvage|process)_[a-z_]+)"', t)}
    bad = 0
    for path in sorted(pathlib.Path("packaging").glob("*.*")):
        for name in sorted(set(re.findall(r"\b(?:selvage|process)_[a-z_]+\b", path.read_text()))):
            if re.sub(r"_(bucket|sum|count)$", "", name) in have or name in have:
                continue
            print(f"{path}: {name}: there is no such metric")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
