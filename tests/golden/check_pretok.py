#!/usr/bin/env python3
"""Compares the hand-written splitters with the authors' regular expressions on the hostile corpus.

usage: check_pretok.py TOK_DUMP [-n COUNT] [-s SEED] [-v SHOWN] [NAME...]

The expressions, as in each model's tokenizer.json, run in Oniguruma through the Python package
`tokenizers` (Hugging Face). A word must end at the same byte in both. Texts with code points
that Python's Unicode does not know are left out of the verdict and counted, and for falcon those
with punctuation that Unicode 8, by which `tokenizers` itself tells it, has not or has otherwise.
Exits 77
(skipped) without the package.
"""
import argparse
import os
import re
import struct
import subprocess
import sys
import unicodedata

import make_hostile_text

try:
    from tokenizers import Regex, pre_tokenizers as P
except ImportError:
    print("skipped: the Python package tokenizers is not there")
    sys.exit(77)

CI = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORD = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
SPACE = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CI + WORD + r"|\p{N}{1,3}" + SIGNS + SPACE
QWEN2 = CI + WORD + r"|\p{N}" + SIGNS + SPACE
UP = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOW = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LEAD = r"[^\r\n\p{L}\p{N}]?"
HUP = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
HLOW = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"


def camel(up, low, suffix, number, signs):
    return (f"{LEAD}{up}*{low}+{suffix}|{LEAD}{up}+{low}*{suffix}|{number}{signs}{SPACE}")


GPT4O = camel(UP, LOW, CI + "?", r"\p{N}{1,3}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*")
CJK = "[一-龥\u3040-\u309f\u30a0-\u30ff]+"
WIDE = "[一-龥\u0800-一가-\ud7ff]+"
V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+")


def deepseek_letters():
    """The long list of cased letters, as llama.cpp's source has it; None without that source."""
    path = os.path.join(os.environ.get("SLV_LLAMA_SRC", ""), "src", "llama-vocab.cpp")
    if not os.path.exists(path):
        return None
    found = re.search(r'"\\\\s\?(\[A-Za-zµ.*?\]\+)"', open(path, encoding="utf-8").read())
    return r"\s?" + found.group(1)


HALVING = "|".join(r"\s{%d}(?!\S)" % k for k in (512, 256, 128, 64, 32, 16, 8, 4)) + \
    r"|\s{1,2}(?!\S)|\s{1}"

# Each pre-tokenizer by the expressions of its passes; names that share them follow.
PASSES = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "qwen35": [CI + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
               + SPACE],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + SIGNS + SPACE],
    "jais-2": [CI + WORD + r"|\p{N}{1,3}" + SIGNS + r"|\s*[\r\n]+|" + HALVING],
    "seed-coder": [CI + WORD + r"|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + SPACE],
    "exaone-moe": [CI + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "minicpm5": [r"\p{N}{1,3}", CI + WORD + r"|\p{N}+" + SIGNS + SPACE],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "gpt-4o": [GPT4O],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "tekken": [camel(UP, LOW, "", r"\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*")],
    "kimi-k2": [r"[\p{Han}]+|" + camel(HUP, HLOW, CI + "?", r"\p{N}{1,3}", SIGNS)],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-\u303f︰-\ufe4f]+|[ㄅ-ㄯ]+|" + CJK,
              camel(UP, LOW, CI + "?", r"\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*")],
    "deepseek-llm": ["[\r\n]", deepseek_letters(), r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", WIDE,
                     "digits"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", WIDE, "digits"],
    "deepseek-v3": [r"\p{N}{1,3}", CJK, V3 + r"| ?[\p{P}\p{S}]+[\r\n]*" + SPACE],
    "spark2_5": [r"\p{N}{1,3}", CJK, V3 + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
    "falcon": ["punctuation", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "bloom": [r" ?[^(\s|[.,!?…。，、।۔،])]+"],
    "viking": [r" ?[^(\s|[.,!?…。，、।۔،])]+", r"\p{N}"],
    "gemma4": [r"[^\n]+|[\n]+"],
}


YOUNG = re.compile("[\u061d\u166d\u1885\u1886\u09fd\u0a76\u0c77\u0c84\u1b7d\u1b7e\u2e43-\u2e5d]")


def step(expr):
    if expr == "digits":
        return P.Digits(individual_digits=True)
    if expr == "punctuation":
        return P.Punctuation("contiguous")
    return P.Split(Regex(expr), "isolated")


def newer(text):
    """Whether the text has a code point that this Python's Unicode does not know."""
    return any(unicodedata.category(c) == "Cn" for c in text)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("-n", type=int, default=3000)
    p.add_argument("-s", type=int, default=1)
    p.add_argument("-v", type=int, default=3)
    p.add_argument("names", nargs="*")
    a = p.parse_intermixed_args()
    texts = make_hostile_text.texts(a.n, a.s)
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    total = 0
    for name in a.names or PASSES:
        if None in PASSES[name]:
            print(f"{name}: not checked, SLV_LLAMA_SRC is not set")
            continue
        pre = P.Sequence([step(e) for e in PASSES[name]])
        run = subprocess.run([a.tool, "split", name], input=data, capture_output=True, check=True)
        bad = open_points = 0
        for t, line in zip(texts, run.stdout.decode().split("\n")):
            words = [w for w, _ in pre.pre_tokenize_str(t.decode())]
            want = [len(w.encode()) for w in words if w]
            have = [int(x) for x in line.split()]
            if have == want:
                continue
            if newer(t.decode()) or (name == "falcon" and YOUNG.search(t.decode())):
                open_points += 1
                continue
            bad += 1
            if bad <= a.v:
                at, cut = 0, []
                for n in have:
                    cut.append(t[at:at + n].decode(errors="replace"))
                    at += n
                print(f"  {t.decode()!r}\n    want {words}\n    have {cut}")
        print(f"{name}: {len(texts)} texts, {bad} differ, {open_points} with young code points",
              flush=True)
        total += bad
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
