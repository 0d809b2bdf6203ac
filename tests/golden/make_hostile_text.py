#!/usr/bin/env python3
"""Makes the corpus of hostile texts that tokenizers are compared on.

usage: make_hostile_text.py [COUNT [SEED]] > texts.bin
       make_hostile_text.py --files FOLDER STAMP

Output: COUNT records (default 3000) of a little-endian u32 length and that many bytes of valid
UTF-8. The same COUNT and SEED (default 1) always give the same bytes. Kinds: scripts of the world,
combining marks, emoji sequences, digit runs in several scripts, white space of every sort,
contractions, control tokens written as text, long runs, random code points (unassigned and private
ones too), code, URLs; and mixtures of all these. --files writes 400 of them as files for
tests/fuzz/fuzz_tokenizer.c, whose first byte chooses what is done with the text, and then STAMP.
"""
import os
import random
import struct
import sys

SCRIPTS = [
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F),
    (0x531, 0x58A), (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1), (0x800, 0x83E),
    (0x900, 0x97F), (0x980, 0x9FE), (0xA01, 0xA76), (0xA81, 0xAF1), (0xB82, 0xBFA), (0xC00, 0xC7F),
    (0xD00, 0xD7F), (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F),
    (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1401, 0x167F),
    (0x1780, 0x17F9), (0x1800, 0x18AA), (0x1C90, 0x1CBF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE),
    (0x2C00, 0x2C7F), (0x2D30, 0x2D7F), (0x3041, 0x3096), (0x30A0, 0x30FF), (0x3105, 0x312F),
    (0x3131, 0x318E), (0x31F0, 0x31FF), (0x3400, 0x3500), (0x4E00, 0x9FA5), (0xA000, 0xA48C),
    (0xA720, 0xA7CA), (0xAB70, 0xABBF), (0xAC00, 0xD7A3), (0xF900, 0xFA6D), (0xFB00, 0xFB06),
    (0xFB1D, 0xFB4F), (0xFE70, 0xFEFC), (0xFF00, 0xFFEF), (0x10400, 0x1044F), (0x104B0, 0x104FB),
    (0x118A0, 0x118DF), (0x1D400, 0x1D7FF), (0x1E900, 0x1E943), (0x20000, 0x20100),
    (0x2F800, 0x2F900), (0x30000, 0x30050),
]
MARKS = [(0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x64B, 0x652), (0x93A, 0x94F),
         (0x1AB0, 0x1ABD), (0x20D0, 0x20F0), (0x3099, 0x309A), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F)]
SPACES = [
    " ", "\t", "\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2000", "\u2003", "\u2009",
    "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\r\n", "  ", "   ", "\n\n", " \n",
    "\n ", "\u200b", "\u180e", "\ufeff", "\x1c", "\x1f",
]
DIGITS = [
    "0123456789", "٠١٢٩", "०१९", "０１９", "ⅠⅣⅫ", "²½①〇௰", "𝟎𝟿",
]
WORDS = (
    "the quick brown Fox JUMPS overTheLazy dog iPhone McDonald HTTPServer naive café straße "
    "Ünïcödé ÉCOLE éA Éa ΣΊΣΥΦΟΣ ǅungla İstanbul ıI ﬁne hello world don't "
    "it's we'll I've they're I'm he'd DON'T IT'S WE'LL I'VE THEY'RE I'M HE'D o'ſ 'ſ 'K "
    "rock'n'roll l'été e\u0301te\u0301 नमस्ते привет 你好世界 "
    "こんにちは 안녕하세요 สวัสดี שלום مرحبا "
    "ქართული").split()
SIGNS = [
    "!", "?", "...", "…", ".", ",", ";", ":", "-", "--", "—", "_", "__", "'", '"', "`", "``",
    "(", ")", "[", "]", "{", "}", "<", ">", "<|", "|>", "/", "\\", "//", "@", "#", "$", "%", "^",
    "&", "&&", "*", "**", "+", "=", "==", "~", "|", "€", "£", "¥", "©", "°", "×", "÷", "«",
    "»", "„", "“", "”", "‘", "’", "、", "。", "，", "！", "？", "：", "；", "「",
    "」", "・", "।", "۔", "؟", "‿", "⁀", "∑", "≠", "→", "█", "▁", "▁▁",
    "�",
]
EMOJI = [
    "😀", "👍🏽", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308", "🇩🇪", "🇩🇪🇫🇷", "❤️", "☺", "1️⃣",
    "\U0001f9d1\U0001f3ff\u200d\U0001f680", "🫠", "\U0001fabf",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
TOKENS = [
    "<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<|endoftext|>", "<|im_start|>",
    "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|user|>", "<|assistant|>", "<|end|>", "<|system|>", "[CLS]", "[SEP]",
    "[MASK]", "[UNK]", "[PAD]", "<mask>", "<0x0A>", "<0x41>", "<start_of_turn>", "<end_of_turn>",
    "<fim_prefix>", "<|fim_middle|>", "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>", "<unused1>", "<turn|>", "<|turn>", "<reponame>", "<filename>",
    "<gh_stars>", "<|START_OF_TURN_TOKEN|>", ">>TITLE<<", "<tool_call>", "<think>",
]
CODE = [
    "def f(x):\n    return x ** 2  # square\n",
    "for (int i = 0; i < n; i++) {\n\ta[i] += b[i];\n}\n", "SELECT * FROM t WHERE id=1; -- x",
    '<div class="a">\n  <p>hi</p>\n</div>', "x_1 = y[0][1:]",
    "https://example.com/a/b?q=1&r=%20#frag", "user.name+tag@example.co.uk", "C:\\Users\\x\\y.txt",
    '{"a": [1, 2.5, -3e10], "b": null}', "3.14159 1,234,567.89 0xDEADBEEF 1e-9",
    "#include <stdio.h>", "$\\int_0^1 x^2\\,dx$", "```c\nint x;\n```", "a->b::c<d>&&!e||f",
    "\t\t\tif a:\r\n\t\t\t\tpass\r\n",
]


def any_of(r, ranges):
    lo, hi = r.choice(ranges)
    return chr(r.randint(lo, hi))


def random_cp(r):
    while True:
        c = r.choice([r.randint(0, 0x7F), r.randint(0, 0x7FF), r.randint(0, 0xFFFF),
                      r.randint(0, 0x10FFFF), r.randint(0xE000, 0xF8FF),
                      r.randint(0x1F000, 0x1FAFF)])
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def script_word(r):
    lo, hi = r.choice(SCRIPTS)
    return "".join(chr(r.randint(lo, hi)) for _ in range(r.randint(1, 9)))


def marked(r):
    return "".join(any_of(r, SCRIPTS) + "".join(any_of(r, MARKS) for _ in range(r.randint(0, 3)))
                   for _ in range(r.randint(1, 5)))


def digits(r):
    d = r.choice(DIGITS)
    return "".join(r.choice(d) for _ in range(r.choice([1, 2, 3, 4, 5, 6, 7, 10, 23])))


def long_run(r):
    unit = r.choice(["a", "A", " ", "\n", "\t", "0", "7", "!", "=", "-", "ab", "aA", "é", "中",
                     "😀", "\u0301", "\r\n", " \n", "'s", "x ", "▁", "<", "<|", "\u3000"])
    return unit * r.choice([2, 3, 5, 8, 13, 33, 70, 150, 300])


def spaces(r):
    return "".join(r.choice(SPACES) for _ in range(r.randint(1, 6)))


def case_word(r):
    return "".join(r.choice([w.upper(), w.lower(), w.title()]) for w in r.choices(WORDS, k=2))


ATOMS = [script_word, marked, digits, long_run, spaces, case_word,
         lambda r: r.choice(WORDS), lambda r: r.choice(SIGNS), lambda r: r.choice(EMOJI),
         lambda r: r.choice(TOKENS), lambda r: r.choice(CODE),
         lambda r: "".join(random_cp(r) for _ in range(r.randint(1, 6))),
         lambda r: r.choice(" \n\t")]


def text(r):
    kind = r.randrange(4)
    if kind == 0:  # one atom many times over
        f = r.choice(ATOMS)
        return "".join(f(r) for _ in range(r.randint(1, 4)))
    if kind == 1:  # words as people write them
        return " ".join(r.choice([r.choice(WORDS), script_word(r), digits(r), r.choice(SIGNS)])
                        for _ in range(r.randint(1, 12)))
    return "".join(r.choice(ATOMS)(r) for _ in range(r.randint(1, 14)))


def texts(count=3000, seed=1):
    r = random.Random(seed)
    fixed = ["", " ", "  ", "\n", "a", " a", "a ", " a ", "\u2581", "\u0301", "\r\n\r\n", "'",
             "''s"]
    fixed += TOKENS + CODE + [t + " x" for t in TOKENS] + ["x " + t for t in TOKENS]
    return [t.encode() for t in (fixed + [text(r) for _ in range(count)])[:count]]


def write_files(folder, stamp):
    os.makedirs(folder, exist_ok=True)
    for i, t in enumerate(texts(400)):
        with open(os.path.join(folder, f"{i:03}"), "wb") as f:
            f.write(bytes([i % 32]) + t)
    open(stamp, "w").close()


def main():
    if sys.argv[1:2] == ["--files"]:
        write_files(sys.argv[2], sys.argv[3])
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for t in texts(count, seed):
        sys.stdout.buffer.write(struct.pack("<I", len(t)) + t)


if __name__ == "__main__":
    main()
