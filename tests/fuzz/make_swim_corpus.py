#!/usr/bin/env python3
"""make_swim_corpus.py FOLDER STAMP: programs for fuzz_swim.c, with messages written down from their description
(swim.h) and not by the code that is tested."""
import pathlib
import struct
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
PING, ACK, NACK, REQ, GOSSIP, RECORDS, SUMS, PAGE, WANT = range(9)
ALIVE, LEFT, DEAD_RECORD, SUSPECT, DEAD = range(5)
SELF = 9


def number(v):
    out = b""
    while v > 0x7F:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def ident(v):
    return struct.pack(">Q", v)


def bucket(v):
    """The six high bits of the finalizer of SplitMix64."""
    mask = 2**64 - 1
    v = (v ^ v >> 30) * 0xBF58476D1CE4E5B9 & mask
    v = (v ^ v >> 27) * 0x94D049BB133111EB & mask
    return (v ^ v >> 31) >> 58


def record(kind, who, incarnation, data=b"addr", good=True):
    return bytes([kind]) + ident(who) + number(incarnation) + number(len(data)) + data + (b"s" if good else b"x") * 64


def claim(kind, who, incarnation, *accusers):
    return bytes([kind]) + ident(who) + number(incarnation) + number(len(accusers)) + b"".join(map(ident, accusers))


def message(sender, kind, body):
    body = bytes([1 << 4 | kind]) + body
    return bytes([sender << 3 | 2]) + struct.pack("<H", len(body)) + body


def tick(ms):
    return bytes([0, ms // 10])


def call(what, who):
    return bytes([who << 3 | 1, what])


def ping(sender, seq, flags=0, digest=0, updates=b""):
    return message(sender, PING, number(seq) + number(flags) + ident(digest) + updates)


def page(*entries):
    out, by = b"", {}
    for who, incarnation, state in entries:
        by.setdefault(bucket(who), []).append((who, incarnation << 2 | state))
    for b in sorted(by):
        out += number(b) + number(0) + number(len(by[b]))
        out += b"".join(ident(who) + number(v) for who, v in sorted(by[b]))
    return out


def hello(*who):
    return b"".join(ping(w, w, 1, 0, record(ALIVE, w, 1)) for w in who)


RUN = tick(200) * 12
CASES = {
    "join": hello(1, 2, 3) + RUN,
    "refute": hello(1, 2) + message(1, GOSSIP, claim(SUSPECT, SELF, 1, 1)) + tick(50)
    + message(2, GOSSIP, claim(DEAD, SELF, 2, 1, 2)) + RUN,
    "suspect": hello(1, 2, 3, 4, 5) + tick(500) + message(1, GOSSIP, claim(SUSPECT, 2, 1, 1, 3, 4)) + RUN,
    "forged": hello(1, 2) + message(1, GOSSIP, record(ALIVE, 2, 9, good=False) + record(LEFT, 2, 3)) + RUN,
    "own": hello(1) + message(1, RECORDS, record(ALIVE, SELF, 40)) + RUN,
    "helper": hello(1, 2) + message(1, REQ, number(5) + ident(2) + number(40)) + RUN + message(2, ACK, number(7) + number(1)),
    "nack": hello(1, 2, 3, 4) + tick(200) + tick(250) + message(1, NACK, number(3)) + RUN,
    "sums": hello(1, 2, 3) + message(1, SUMS, bytes(256)) + RUN,
    "page": hello(1, 2, 3) + message(1, PAGE, page((1, 1, 0), (2, 7, 0), (3, 1, 1), (30, 1, 2), (SELF, 1, 1)))
    + message(1, RECORDS, record(DEAD_RECORD, 30, 1) + record(ALIVE, 2, 7)) + RUN,
    "want": hello(1, 2, 3) + message(1, WANT, ident(2) + ident(3) + ident(SELF)) + RUN,
    "calls": hello(1, 2, 3) + b"".join(call(what, 2) for what in range(5)) + tick(300) + call(251, 0) + RUN,
    "full": b"".join(message(1, GOSSIP, record(ALIVE, w, 1)) for w in range(1, 40)) + RUN * 3
    + message(1, GOSSIP, record(ALIVE, 50, 1)) + RUN,
    "long": hello(1) + message(1, GOSSIP, record(ALIVE, 2, 2**60 - 1, b"r" * 222) + record(ALIVE, 3, 1, b"r" * 223)) + RUN,
    "dead": hello(1, 2) + tick(2000) * 10 + ping(1, 1, 0, 5) + hello(2) + RUN,
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
STAMP.write_text("")
