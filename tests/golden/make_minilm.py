#!/usr/bin/env python3
"""Makes tests/data/minilm/: what all-MiniLM-L6-v2 makes of 200 texts, by encoder.py in double
precision, and their tokens, by Hugging Face's tokenizers.

usage: make_minilm.py MODEL_FOLDER DATA_FOLDER        (needs numpy, safetensors, tokenizers)

texts.json: {"texts": [..], "ids": [[..], ..]}; vectors.f16: [200][384] little-endian halves, vectors of
length 1 (a half's rounding moves a cosine by 1e-7).
"""
import json
import os
import random
import sys

import numpy as np
from tokenizers import Tokenizer

import encoder

WORDS = ("time river stone window market engine winter silver garden letter bridge music copper island thunder recipe "
         "doctor planet harbour velvet quiet rapid ancient broken golden hollow walks carries repairs forgets paints "
         "measures whispers crosses the a of and with under over between without slowly never").split()

FIXED = [
    "", " ", "\t\n \r\n", "a", "I", "7", ".", "?!", "...", "\u2014", "'", "\"quoted\"", "(brackets [of {every} kind])",
    "The capital of France is Paris.", "What is the capital of France?", "Paris ist die Hauptstadt von Frankreich.",
    "A man is eating food.", "A man is eating a piece of bread.", "Two dogs are playing in the snow.",
    "The girl is carrying a baby.", "SHOUTING IN CAPITAL LETTERS!!!", "cAmElCaSe and snake_case and kebab-case",
    "don't can't won't it's we've they'll I'm you'd", "e.g. i.e. etc. U.S.A. Ph.D. 3.14 1,000,000",
    "http://example.org/path?query=1&other=two#part", "someone@example.org wrote: \"hello\"",
    "for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }", "SELECT name FROM users WHERE id = 42;",
    "{\"key\": [1, 2.5e-3, null, true]}", "<html><body>text &amp; more</body></html>", "C:\\Program Files\\x.exe /home/x",
    "2026-11-28T12:34:56Z 12:34 01/02/2003", "+49 (0)30 123456-78", "50% of $1,234.56 is \u20ac567.89 or \u00a3500",
    "na\u00efve caf\u00e9 r\u00e9sum\u00e9 \u00e5ngstr\u00f6m jalape\u00f1o", "nai\u0308ve cafe\u0301 (decomposed)",
    "Stra\u00dfe \u00dcber \u00c6ther \u0152uvre \u0130stanbul \u0131rmak", "\u0141\u00f3d\u017a \u017d\u00e1\u010dek \u0218tefan \u0110\u00e0 N\u1eb5ng",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0401\u0436\u0438\u043a", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5 \u03a3\u03b1\u03c2",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c \u30ab\u30bf\u30ab\u30ca", "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "mixed \u4e2d\u6587 and English\u6df7\u5408words", "\U00020000\U0002a6d6 rare Han", "\u1100\u1161\u11a8 Hangul jamo",
    "\U0001f600\U0001f44d\U0001f3fd\u200d\U0001f469 \u2764\ufe0f", "flags \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\u2603 snow \u2602 rain \u2600 sun",
    "zero\u200bwidth\u200cand\u200djoiners\ufeffbom", "soft\u00adhyphen non\u00a0breaking\u2003em\u3000ideographic",
    "bell\u0007 escape\u001b[31m delete\u007f c1\u0085\u009f", "line one\nline two\r\nline three\u2028line four\u2029end",
    "tabs\tand\vvertical\fform feeds", "replacement \ufffd and \ufdd0 noncharacters", "private \ue000 \U000f0000 use",
    "combining a\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 pile", "\u202eright to left override\u202c", "\uff26\uff55\uff4c\uff4c\uff57\uff49\uff44\uff54\uff48 \uff11\uff12\uff13",
    "\u2460\u2461\u2462 \u2160\u2161\u2162 \u00bd \u00b2\u00b3 \u2075", "\ufb01ligature \u01c4 \u1e9e \u2126", "math \u2211 \u222b \u221a \u2260 \u2264 \u221e \u2202 \u03b1\u03b2\u03b3",
    "x" * 100, "x" * 101, "y" * 99 + " z", "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 3000,
    "supercalifragilisticexpialidocious " * 3, "[CLS] in a text", "before [SEP] after", "fill the [MASK] in", "[UNK] [PAD]",
    "[cls] [sep] [mask] are not tokens", "##ing ##s # #hash", "\u2581under \u2581score", "[unused1] [unused99]",
    "one-two\u2013three\u2014four\u2212five", "semi;colon:colon,comma.dot", "\u00a1Hola! \u00bfQu\u00e9 tal?", "\u00abguillemets\u00bb \u201ecurly\u201c \u2018quotes\u2019",
    "`code` *bold* _italic_ ~struck~", "a+b=c a*b a/b a^b a|b a&b", "C++ C# F# .NET node.js", "1st 2nd 3rd 4th 10k 5G",
    "0x7fff 0b1010 1e10 -0.5", "abc123def456", "A1B2C3", "...leading and trailing...   ",
]


def sentence(r):
    n = r.randint(3, 18)
    words = [r.choice(WORDS) for _ in range(n)]
    if r.random() < 0.3:
        words.insert(r.randrange(n), str(r.randint(0, 99999)))
    return " ".join(words).capitalize() + r.choice([".", "!", "?", "", ";", " ..."])


def random_text(r):
    """Characters of many blocks, in words of random length."""
    blocks = [(0x20, 0x7e), (0xa1, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f),
              (0x1e00, 0x1fff), (0x2000, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x4fff), (0xac00, 0xad00), (0x1f300, 0x1f6ff)]
    out = []
    for _ in range(r.randint(1, 30)):
        lo, hi = r.choice(blocks)
        out.append("".join(chr(r.randint(lo, hi)) for _ in range(r.randint(1, 8))))
    return " ".join(out)


def all_texts():
    r = random.Random(20)
    texts = list(FIXED)
    for n in (1, 3, 10, 25, 32):
        texts += [" ".join(sentence(r) for _ in range(n)) for _ in range(4)]
    texts.append(" ".join(["time"] * 510))  # as long as the model takes
    while len(texts) < 160:
        texts.append(sentence(r))
    while len(texts) < 200:
        texts.append(random_text(r))
    return texts


def main(model, data):
    tok = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tok.no_truncation()
    tok.no_padding()
    texts = all_texts()
    ids = [tok.encode(t).ids for t in texts]
    assert len(texts) == 200 and len(set(texts)) == 200 and max(map(len, ids)) == 512, max(map(len, ids))
    net = encoder.Encoder(model)
    vectors = np.stack([net.embed(i) for i in ids])
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "texts.json"), "w") as f:
        f.write('{"texts": [\n' + ",\n".join(map(json.dumps, texts)) + '],\n"ids": [\n'
                + ",\n".join(json.dumps(i, separators=(",", ":")) for i in ids) + "]}\n")
    with open(os.path.join(data, "vectors.f16"), "wb") as f:
        f.write(vectors.astype("<f2").tobytes())
    print(sum(map(len, ids)), "tokens")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
