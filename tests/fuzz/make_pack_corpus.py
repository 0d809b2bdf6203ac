#!/usr/bin/env python3
"""make_pack_corpus.py FOLDER STAMP: packed messages as one might make them up, written down from RFC 8878 and
docs/mesh-wire.md and not by the code that is tested, and messages to be packed (fuzz_pack.c)."""
import pathlib
import random
import struct
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
PACKED, ROUND_TRIP, BEND = range(3)
DICT = 40961
RAW, REPEAT, COMPRESSED, RESERVED = range(4)


def block(kind, size, data, last=True):
    return struct.pack("<I", last | kind << 1 | size << 3)[:3] + data


def frame(blocks, length, dictionary=DICT, checksum=False, magic=0xFD2FB528):
    """A single segment, with the dictionary's id in four bytes and the length in eight."""
    return struct.pack("<IBIQ", magic, 0xC0 | 0x20 | 4 * checksum | 3, dictionary, length) + blocks


def packed(blocks, length, **how):
    return bytes([PACKED, 9]) + frame(blocks, length, **how)


def message(seed, n):
    rnd = random.Random(seed)
    out = b"\x05" + rnd.randbytes(8)
    while len(out) < n:
        out += b"\x1cline-%d/pump-%d/temperature\0" % (rnd.randrange(4), rnd.randrange(90)) + rnd.randbytes(3)
        out += b'\x10{"value": %3d}' % rnd.randrange(1000)
    return out[:n]


TEXT = message(1, 700)
CASES = {
    "raw": packed(block(RAW, 700, TEXT), 700),
    "repeated": packed(block(REPEAT, 700, b"\1"), 700),
    "two-blocks": packed(block(RAW, 300, TEXT[:300], False) + block(RAW, 400, TEXT[300:]), 700),
    "largest": packed(b"".join(block(REPEAT, 131072, b"\1", k == 7) for k in range(8)), 1 << 20),
    "too-large": packed(b"".join(block(REPEAT, 131072, b"\1", k == 8) for k in range(9)), 9 << 17),
    "bomb": packed(b"".join(block(REPEAT, 131072, b"\1", k == 99) for k in range(100)), 1 << 20),
    "says-much": packed(block(RAW, 700, TEXT), 1 << 20),
    "says-all": packed(block(RAW, 700, TEXT), 2**64 - 1),
    "says-little": packed(block(RAW, 700, TEXT), 699),
    "says-nothing": packed(block(RAW, 0, b""), 0),
    "no-end": packed(block(RAW, 700, TEXT, False), 700),
    "cut": packed(block(RAW, 700, TEXT), 700)[:300],
    "goes-on": packed(block(RAW, 700, TEXT), 700) + b"\0",
    "two-frames": packed(block(RAW, 700, TEXT), 700) + frame(block(RAW, 700, TEXT), 700),
    "left-out": bytes([PACKED, 9]) + struct.pack("<II", 0x184D2A50, 700) + TEXT,
    "old-magic": packed(block(RAW, 700, TEXT), 700, magic=0xFD2FB527),
    "no-dictionary": packed(block(RAW, 700, TEXT), 700, dictionary=0),
    "another-dictionary": packed(block(RAW, 700, TEXT), 700, dictionary=DICT + 1),
    "summed-wrongly": packed(block(RAW, 700, TEXT) + b"abcd", 700, checksum=True),
    "compressed-rubbish": packed(block(COMPRESSED, 200, TEXT[:200]), 700),
    "repeated-tables": packed(block(COMPRESSED, 9, bytes([3, 0x10, 0, 5, 5, 1, 0xFC, 0, 1])), 700),
    "reserved-block": packed(block(RESERVED, 20, TEXT[:20]), 700),
    "twice": packed(block(RAW, 700, b"\x09" + TEXT[1:]), 700),
    "window": bytes([PACKED, 9]) + struct.pack("<IBBH", 0xFD2FB528, 0x42, 0xFF, DICT) + struct.pack("<H", 444) +
    block(RAW, 700, TEXT),
    "short": bytes([ROUND_TRIP]) + message(2, 200),
    "usual": bytes([ROUND_TRIP]) + message(3, 3000),
    "long": bytes([ROUND_TRIP]) + message(4, 60000),
    "incompressible": bytes([ROUND_TRIP]) + random.Random(5).randbytes(4000),
    "begins-packed": bytes([ROUND_TRIP]) + b"\x09" * 1000,
    **{"bent-%d" % k: bytes([BEND, 0, k, 1 << k % 8]) + message(k, 900) for k in range(24)},
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
STAMP.write_text("")
