#!/usr/bin/env python3
"""Writes each grammar of a file, which has lines of --- between them, as files that fuzz_grammar.c reads.

make_grammar_corpus.py GRAMMARS FOLDER STAMP
"""
import os
import re
import sys

# The tokens that the fuzzer's vocabulary has instead.
NAMES = re.compile(r'</?tool_call>|<think>|<\|python_tag\|>|<"\[TOOL_CALLS\]">|<\[300\]>')


def main():
    grammars, folder, stamp = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    with open(grammars, encoding="utf-8") as f:
        texts = re.split(r"^---.*\n", f.read(), flags=re.M)
    for number, text in enumerate(texts):
        for way in range(4):
            with open(os.path.join(folder, f"grammar{number:03}-{way}"), "wb") as out:
                out.write(bytes([(way * 64 + number) % 256]))
                # inside quotes a name is text
                out.write("".join(part if i % 2 else NAMES.sub("<user>", part)
                                  for i, part in enumerate(re.split(r'("(?:[^"\\]|\\.)*")', text))).encode())
    with open(stamp, "w", encoding="ascii"):
        pass


if __name__ == "__main__":
    main()
