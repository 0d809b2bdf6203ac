#!/usr/bin/env python3
"""Metrics that the dashboard and the alerts name are metrics that the server has. Prints those that are not."""
import pathlib
import re
import sys


def main():
    have = set(re.findall(r'"((?:selvage|process)_[a-z_]+)"', pathlib.Path("src/serve/metrics.c").read_text()))
    bad = 0
    for path in sorted(pathlib.Path("packaging").glob("*.*")):
        for name in sorted(set(re.findall(r"\b(?:selvage|process)_[a-z_]+\b", path.read_text()))):
            if re.sub(r"_(bucket|sum|count)$", "", name) in have or name in have:
                continue
            print(f"{path}: {name}: the server has no such metric")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
