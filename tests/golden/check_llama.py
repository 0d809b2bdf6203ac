#!/usr/bin/env python3
"""Compares the tokenizer with libllama's on the hostile corpus.

usage: check_llama.py TOK_DUMP [-n COUNT] [-s SEED] [-v] MODEL.gguf...

SLV_LIBLLAMA is the path of libllama.so. With no MODEL, all models/ggml-vocab-*.gguf of
SLV_LLAMA_SRC are taken. Ids are compared with control tokens in the text parsed and not parsed, BOS
and EOS added; then the bytes of every token of the vocabulary, with control tokens shown and not;
then the set of tokens that end a generation. Differences that are ours on purpose (see "known
differences" below) are counted apart. Exits 77 (skipped) when SLV_LIBLLAMA is not set.

Known differences, each with the reference that decides:
  ascii-fold   U+017F after an apostrophe is a contraction's s: Oniguruma, (?i:'s)
  bert-clean   controls go even where they are white space, 100 characters a word, full NFD,
               only Mn are accents: Hugging Face's BertNormalizer and WordPiece
  wide-space   in DeepSeek's lists of characters, white space above ASCII is what it is: Oniguruma
  lost-byte    a byte the vocabulary lacks (some have no U+000B, no F1) does not keep its
               neighbours from merging: Hugging Face's BPE
  not-bytes    a piece that is not byte-level text stands as it is: Hugging Face's ByteLevel
  spm-reserved text that spells a control or byte piece does not become it: SentencePiece
"""
import argparse
import ctypes
import glob
import os
import re
import struct
import subprocess
import sys
import unicodedata

import make_hostile_text


class Params(ctypes.Structure):
    _fields_ = [("devices", ctypes.c_void_p), ("bufts", ctypes.c_void_p),
                ("n_gpu_layers", ctypes.c_int32), ("split_mode", ctypes.c_int),
                ("load_mode", ctypes.c_int), ("lazy_mode", ctypes.c_int),
                ("main_gpu", ctypes.c_int32), ("tensor_split", ctypes.c_void_p),
                ("progress", ctypes.c_void_p), ("progress_data", ctypes.c_void_p),
                ("kv_overrides", ctypes.c_void_p), ("vocab_only", ctypes.c_bool),
                ("check_tensors", ctypes.c_bool), ("use_extra_bufts", ctypes.c_bool),
                ("no_host", ctypes.c_bool), ("no_alloc", ctypes.c_bool),
                ("load_mtp", ctypes.c_bool)]


WIDE_SPACE = "[\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Llama:
    def __init__(self, path):
        self.lib = lib = ctypes.CDLL(os.environ["SLV_LIBLLAMA"])
        self.quiet = LOG(lambda *a: None)
        lib.llama_log_set(self.quiet, None)
        lib.llama_model_default_params.restype = Params
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
        lib.llama_model_load_from_file.restype = ctypes.c_void_p
        lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        lib.llama_model_get_vocab.restype = ctypes.c_void_p
        lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32,
                                       ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool,
                                       ctypes.c_bool]
        lib.llama_token_to_piece.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p,
                                             ctypes.c_int32, ctypes.c_int32, ctypes.c_bool]
        lib.llama_vocab_is_eog.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        lib.llama_vocab_is_eog.restype = ctypes.c_bool
        lib.llama_vocab_n_tokens.argtypes = lib.llama_vocab_type.argtypes = [ctypes.c_void_p]
        lib.llama_model_free.argtypes = [ctypes.c_void_p]
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.vocab_only = True
        params.n_gpu_layers = 0
        self.model = lib.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(path)
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.n = lib.llama_vocab_n_tokens(self.vocab)
        self.kind = {1: "spm", 2: "bpe", 3: "wpm", 4: "ugm"}[lib.llama_vocab_type(self.vocab)]

    def ids(self, text, special):
        buf = (ctypes.c_int32 * (4 * len(text) + 16))()
        n = self.lib.llama_tokenize(self.vocab, text, len(text), buf, len(buf), True, special)
        return list(buf[:n])

    def piece(self, i, special):
        buf = ctypes.create_string_buffer(65536)
        drop = 0 if self.kind == "bpe" else 1
        n = self.lib.llama_token_to_piece(self.vocab, i, buf, len(buf), drop, special)
        return buf.raw[:n]

    def ends(self):
        return [i for i in range(self.n) if self.lib.llama_vocab_is_eog(self.vocab, i)]


def dump(tool, mode, model, flags, records):
    data = b"".join(struct.pack("<I", len(t)) + t for t in records)
    run = subprocess.run([tool, mode, model, str(flags)], input=data, capture_output=True)
    if run.returncode:
        raise RuntimeError(run.stderr.decode())
    return run.stdout.decode().split("\n")


def known(kind, path, text, have_bytes):
    """The name of the known difference that a text may show, or None."""
    s = text.decode()
    if kind == "bpe" and re.search("'\u017f", s):
        return "ascii-fold"
    if "deepseek-" in path and re.search(WIDE_SPACE, s):
        return "wide-space"
    if kind == "bpe" and any(b not in have_bytes for b in text):
        return "lost-byte"
    if kind == "wpm":
        for c in s:
            d = unicodedata.normalize("NFD", c)
            if (c in "\v\f\x1c\x1d\x1e\x1f\x85" or len(d) > 2
                    or unicodedata.category(c) in ("Mc", "Me", "Cn", "Co")
                    or any(unicodedata.category(x) != "Mn" for x in d[1:])):
                return "bert-clean"
        if max(map(len, s.split()), default=0) > 99:
            return "bert-clean"
    if kind == "spm" and re.search("<0x[0-9A-F]|<s>|</s>|<unk>|<\\|", s):
        return "spm-reserved"
    return None


def compare(tool, path, texts, verbose):
    ref = Llama(path)
    bad, tolerated, shown = 0, {}, 0
    have_bytes = {p[0] for p in (ref.piece(i, False) for i in range(ref.n)) if len(p) == 1}
    for special in (False, True):
        have = dump(tool, "ids", path, 3 if special else 2, texts)
        for i, t in enumerate(texts):
            want = ref.ids(t, special)
            got = [int(x) for x in have[i].split()]
            if got == want:
                continue
            why = known(ref.kind, path, t, have_bytes)
            if why:
                tolerated[why] = tolerated.get(why, 0) + 1
                continue
            bad += 1
            if verbose and shown < verbose:
                shown += 1
                k = next((k for k in range(min(len(got), len(want))) if got[k] != want[k]),
                         min(len(got), len(want)))
                print(f"  special={special} {t.decode()!r}\n    at {k}: want {want[k:k+8]} "
                      f"{[ref.piece(x, True) for x in want[max(k-1,0):k+5]]}\n"
                      f"    have {got[k:k+8]} "
                      f"{[ref.piece(x, True) for x in got[max(k-1,0):k+5]]}")
    pieces = 0
    for special in (False, True):
        have = dump(tool, "text", path, int(special), [str(i).encode() for i in range(ref.n)])
        for i in range(ref.n):
            want = ref.piece(i, special)
            if bytes.fromhex(have[i]) != want and not want.startswith(b"[UNK_BYTE"):
                pieces += 1
                if verbose and pieces <= verbose:
                    print(f"  token {i}: want {want!r} have {bytes.fromhex(have[i])!r}")
    ends = [int(x) for x in dump(tool, "ends", path, 0, []) if x]
    end_diff = sorted(set(ends) ^ set(ref.ends()))
    print(f"{os.path.basename(path)}: {ref.kind}, {2 * len(texts)} texts, {bad} differ, known "
          f"{tolerated or 0}; {ref.n} pieces, {pieces} differ; {len(ends)} ends, {end_diff} differ",
          flush=True)
    return bad + pieces + len(end_diff)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tool")
    p.add_argument("-n", type=int, default=3000)
    p.add_argument("-s", type=int, default=1)
    p.add_argument("-v", type=int, default=3)
    p.add_argument("models", nargs="*")
    a = p.parse_intermixed_args()
    if not os.environ.get("SLV_LIBLLAMA"):
        print("skipped: SLV_LIBLLAMA is not set")
        return 77
    if not a.models:
        a.models = sorted(glob.glob(os.path.join(os.environ.get("SLV_LLAMA_SRC", "."), "models",
                                                 "ggml-vocab-*.gguf")))
    texts = make_hostile_text.texts(a.n, a.s)
    bad = sum(compare(a.tool, m, texts, a.v) for m in a.models)
    return 1 if bad or not a.models else 0


if __name__ == "__main__":
    sys.exit(main())
