#!/usr/bin/env python3
"""Compares ids with Hugging Face tokenizers, built from the vocabularies in GGUF files.

usage: check_hf.py TOK_DUMP [-n COUNT] [-s SEED] [-v SHOWN] MODEL.gguf...

Needs the Python packages `tokenizers` and `gguf`; exits 77 (skipped) without them. A tokenizer is
made of the file's pieces and merges and of what the authors' tokenizer.json says of the rest: the
expressions of check_pretok.py for byte-level BPE, BertNormalizer and WordPiece for bert, BPE with
byte fallback for gemma4. (Not t5: SentencePiece decides there, whose normalizer goes by code points
where Hugging Face's goes by grapheme clusters.) Control and user-defined tokens are added tokens,
parsed in the text. Texts with young code points are counted apart. A token that only llama.cpp's
rules make a control token ("</s>" in a vocabulary that marks it as text) is one here too.
"""
import argparse
import os
import sys

import check_llama
import check_pretok
import make_hostile_text

try:
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
except ImportError:
    print("skipped: the Python packages tokenizers and gguf are not there")
    sys.exit(77)

SAME_AS = {"llama-bpe": "llama-bpe", "starcoder": "smollm", "refact": "smollm",
           "command-r": "smollm", "mpt": "gpt-2", "qwen2": "qwen2"}
WHOLE = {"llama-bpe", "tekken", "glm4", "minicpm5", "youtu"}
SPACE = "\u2581"
END_TEXTS = {"</s>", "<|end|>", "<EOT>", "[EOS]", "[EOT]", "<eos>", "[PAD]", "<PAD>"}


def byte_level(get, pre):
    passes = check_pretok.PASSES[SAME_AS.get(pre, pre)]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(get("tokens"))},
                               merges=[split_merge(m) for m in get("merges")],
                               ignore_merges=pre in WHOLE))
    steps = [check_pretok.step(e) for e in passes]
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tok


def split_merge(row):
    at = row.index(" ", 1)
    return row[:at], row[at + 1:]


def gemma4(get):
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(get("tokens"))},
                               merges=[split_merge(m) for m in get("merges")], byte_fallback=True,
                               unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizers.Replace(" ", SPACE)
    return tok


def wordpiece(get):
    kinds = get("token_type")
    vocab = {}
    for i, t in enumerate(get("tokens")):
        special = kinds[i] == 3
        vocab[t if special else t[1:] if t.startswith(SPACE) else "##" + t] = i
    tok = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tok


def build(path):
    reader = GGUFReader(path)

    def get(key):
        field = reader.fields.get("tokenizer.ggml." + key)
        return field.contents() if field else None

    model = get("model")
    pre = get("pre")
    if model == "gpt2":
        tok = byte_level(get, pre) if SAME_AS.get(pre, pre) in check_pretok.PASSES else None
    else:
        tok = {"gemma4": gemma4, "bert": wordpiece}.get(model, lambda g: None)(get)
    if tok is None:
        return None
    for i, (t, k) in enumerate(zip(get("tokens"), get("token_type"))):
        if k == 3 or (get("model") == "gpt2" and t in END_TEXTS):
            tok.add_special_tokens([AddedToken(t, special=True, normalized=False)])
        elif k == 4:
            tok.add_tokens([AddedToken(t, normalized=False)])
    return tok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("-n", type=int, default=3000)
    p.add_argument("-s", type=int, default=1)
    p.add_argument("-v", type=int, default=2)
    p.add_argument("models", nargs="+")
    a = p.parse_intermixed_args()
    texts = make_hostile_text.texts(a.n, a.s)
    total = 0
    for path in a.models:
        tok = build(path)
        if tok is None:
            print(f"{os.path.basename(path)}: not built here")
            continue
        have = check_llama.dump(a.tool, "ids", path, 1, texts)
        bad = young = 0
        for t, line in zip(texts, have):
            got = [int(x) for x in line.split()]
            want = tok.encode(t.decode(), add_special_tokens=False).ids
            if got == want:
                continue
            if check_pretok.newer(t.decode()) or check_pretok.YOUNG.search(t.decode()):
                young += 1
                continue
            bad += 1
            if bad <= a.v:
                k = next((k for k in range(min(len(got), len(want))) if got[k] != want[k]),
                         min(len(got), len(want)))
                names = [[tok.id_to_token(i) for i in x[max(k - 1, 0):k + 6]]
                         for x in (want, got)]
                print(f"  {t.decode()!r}\n    want {names[0]}\n    have {names[1]}")
        print(f"{os.path.basename(path)}: {len(texts)} texts, {bad} differ, {young} with young "
              "code points", flush=True)
        total += bad
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
