#!/usr/bin/env python3
"""Writes small safetensors files and tokenizers to begin fuzzing from.

usage: make_hf_corpus.py FOLDER [STAMP]        FOLDER/safetensors, FOLDER/tokenizer
"""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden"))
import tiny_folders as tf  # noqa: E402
import tiny_model as tm  # noqa: E402


def tensors():
    item = ("a.weight", "F32", (2, 3), bytes(24))
    yield "one", tf.safetensors([item])
    yield "more", tf.safetensors([item, ("b", "BF16", (4,), bytes(8)), ("s", "I64", (), bytes(8))], {"format": "pt"})
    yield "none", tf.safetensors([])
    yield "escaped", tf.safetensors([("\u00e9\U0001f600\n", "F8_E4M3", (1, 2, 1, 2), bytes(4))])
    for name, row in {
        "gap": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        "overlap": {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                    "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}},
        "huge": {"a": {"dtype": "F64", "shape": [2 ** 31, 2 ** 31, 2 ** 3], "data_offsets": [0, 8]}},
        "beyond": {"a": {"dtype": "U8", "shape": [99], "data_offsets": [0, 99]}},
    }.items():
        text = json.dumps(row).encode()
        yield name, struct.pack("<Q", len(text)) + text + bytes(8)
    yield "long-header", struct.pack("<Q", 2 ** 63) + b"{}"


def tokenizers():
    words = tf.tokenizer({})
    words["model"]["vocab"] = {t: i for i, t in enumerate(tf.SPECIAL + ["a", "##b", "the", "."])}
    yield "wordpiece", words
    old = {**words, "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}}
    old["model"] = {k: v for k, v in old["model"].items() if k != "type"}
    yield "wordpiece-old", old
    letters = sorted(tm.byte_letters())
    merges = ["t h", "h e", "th e", "\u0120 the"]
    vocab = {t: i for i, t in enumerate(letters + [m.replace(" ", "") for m in merges])}
    bpe = {"added_tokens": [{"id": len(vocab), "content": "<|im_end|>", "special": True, "rstrip": True}],
           "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
           "post_processor": None, "model": {"type": "BPE", "vocab": vocab, "merges": merges}}
    yield "bpe", bpe
    yield "bpe-digits", {**bpe, "normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]}}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_end|>"}}, {"Sequence": {"id": "A"}}]}
    yield "bpe-template", {**bpe, "model": {**bpe["model"], "merges": [m.split() for m in merges]},
                           "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}}
    yield "unigram", tf.unigram()
    mapped = {**tf.unigram(), "normalizer": {"type": "Precompiled", "precompiled_charsmap": "CAAAAAAAAAAAAAAAAA=="}}
    yield "unigram-mapped", mapped
    yield "llama2", tf.sentence_piece()


def main():
    for kind, files in (("safetensors", tensors()), ("tokenizer", tokenizers())):
        folder = os.path.join(sys.argv[1], kind)
        os.makedirs(folder, exist_ok=True)
        for name, content in files:
            with open(os.path.join(folder, name), "wb") as f:
                f.write(content if isinstance(content, bytes) else json.dumps(content).encode())
    if len(sys.argv) == 3:
        open(sys.argv[2], "w").close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main()
