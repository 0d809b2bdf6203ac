#!/usr/bin/env python3
"""make_replica_corpus.py FOLDER STAMP: what peers send to a replica, written down from its description (batch.h,
replica.h, replica_range.c) and not by the code that is tested."""
import hashlib
import pathlib
import struct
import sys

from make_mesh_corpus import FULL, MANY, dots, ident, number, top, unique, with_length

SPACE = 0x7370616365
STAMP_NOW = 1700000000000 << 16


def writer(node, store):
    what = b"selvage mesh writer 1\0" + struct.pack(">QI", node, store)
    return struct.unpack(">Q", hashlib.blake2b(what, digest_size=16).digest()[:8])[0]


def op(key, removes, entries):
    out = with_length(key) + dots(removes) + number(len(entries))
    return out + b"".join(with_length(path) + with_length(data) for path, data in entries)


def batch(node, store, first, ops, deps={}, stamp=STAMP_NOW, count=None):
    body = b"".join(o for o, _ in ops)
    n = count or sum(k for _, k in ops)
    head = number(1) + ident(SPACE) + ident(node) + number(store) + number(first) + number(n - 1) + ident(stamp)
    head += dots(deps) + number(len(body)) + hashlib.blake2b(body, digest_size=32).digest() + bytes(64)
    return head, head + body


def message(kind, body, peer=3):
    m = number(kind) + ident(SPACE) + body
    return struct.pack(">HB", len(m), peer) + m


def place(key, path, w, n):
    return with_length(key) + with_length(path) + ident(w) + number(n)


W = writer(9, 5)
ADD = [(op(b"k", {}, [(b"red", b""), (b"blue", b"")]), 3)]
HEAD, FIRST = batch(9, 5, 1, ADD)
_, SECOND = batch(9, 5, 4, [(op(b"k", {W: [(2, 2)]}, []), 1)])
_, OTHER = batch(8, 5, 1, [(op(b"k", {W: [(3, 3)]}, [(b"green", b"")]), 2)], {W: [(4, 4)]})
_, AGAIN = batch(9, 5, 1, [(op(b"k", {}, [(b"pink", b""), (b"blue", b"")]), 3)])
ALL = number(0) + number(0) + ident(0) + ident(0)
ASK = message(4, ident(7) + number(100000) + number(1) + dots({}) + number(1) + ALL)
ITEMS = number(2) + number(1) + number(1) + ident(0) + ident(0) + dots({W: [(2, 2)]}) + number(1) + place(b"k", b"red", W, 2) + with_length(b"")
TELL = message(5, ident(2) + ident(99) + number(1) + dots({W: [(1, 3)]}) + number(1) + HEAD + number(0) + ITEMS, peer=11)

def row(node, data, removes={}):
    return [(op(b"k", removes, [(ident(writer(node, 5)), data)]), 2)]


SKETCHES = {
    "sketches": message(1, batch(9, 5, 1, row(9, unique({645: 1, 3246: 2})))[1] + batch(8, 5, 1, row(8, MANY))[1]),
    "sketch-over": message(1, batch(9, 5, 1, row(9, unique({5: 1})))[1]
                           + batch(9, 5, 3, row(9, unique({5: 53, 9: 1}), {W: [(2, 2)]}))[1]),
    "sketch-bad": message(1, batch(9, 5, 1, row(9, MANY[:-1]))[1] + batch(8, 5, 1, row(8, unique({1: 54})))[1]),
    "tops": message(1, batch(9, 5, 1, row(9, FULL))[1] + batch(8, 5, 1, row(8, top({b"s1": (9, 0), b"": (1, 0)})))[1]),
    "top-bad": message(1, batch(9, 5, 1, row(9, FULL + FULL))[1] + batch(8, 5, 1, row(8, top({b"a": (1, 1)})))[1]),
    "top-many": message(1, batch(9, 5, 1, row(9, top({b"a": (2**50, 0)})))[1]
                        + batch(8, 5, 1, row(8, top({b"a": (2**50, 0)})))[1]),
}


def stamped(data=b"", after_ms=0):
    return ident(STAMP_NOW + (after_ms << 16)) + data


# With a time to live of 20 s, and grains of 1 s: what is due in time, what was due, what has no stamp, or one of the future.
NOW = number(1700000000)
TTL_HEAD, TTL_FIRST = batch(9, 5, 1, [(op(b"k", {}, [(b"red", stamped()), (b"blue", stamped(b"", -30000))]), 3)])
TTL_ITEMS = (number(2) + number(1) + number(1) + ident(0) + ident(0) + dots({W: [(2, 2)]}) + number(1)
             + place(b"k", b"red", W, 2) + with_length(stamped()))


def ttl_tell(cut):
    seen = number(1) + dots({W: [(1, 3)]}) + number(1) + TTL_HEAD + number(0)
    return (message(3, ident(2) + number(2) + NOW + bytes(32), 11)
            + message(5, ident(3) + ident(99) + number(cut) + seen + TTL_ITEMS, 11))


TTL = {
    "ttl-batches": message(1, TTL_FIRST) + message(1, batch(9, 5, 4, [(op(b"k", {W: [(2, 2)]}, []), 1)])[1]),
    "ttl-bad": message(1, FIRST) + message(1, batch(8, 5, 1, [(op(b"k", {}, [(b"x", stamped(b"", 1))]), 2)])[1]),
    "ttl-values": message(1, batch(9, 5, 1, [(op(b"k", {}, [(b"", stamped(b"21.5"))]), 2)])[1]),
    "ttl-counter": message(1, batch(9, 5, 1, row(9, stamped(number(7) + number(2))))[1]),
    "ttl-pull": message(1, TTL_FIRST) + b"".join(
        message(2, ident(1) + number(32768) + number(cut) + dots({})) for cut in (1700000000, 1700000005, 1700003600, 2**63)),
    "ttl-ask": message(1, TTL_FIRST) + message(4, ident(7) + number(100000) + NOW + number(1) + dots({}) + number(1) + ALL),
    "ttl-tell": ttl_tell(1700000000) + ttl_tell(1700000022),
    "ttl-tell-far": ttl_tell(1700003600),
}
CASES = {
    "batches": message(1, FIRST + SECOND) + message(1, OTHER),
    "out-of-order": message(1, OTHER) + message(1, SECOND) + message(1, FIRST),
    "two-faces": message(1, FIRST) + message(1, AGAIN) + message(1, SECOND),
    "pull": message(1, FIRST) + message(2, ident(1) + number(32768) + dots({})),
    "pull-ahead": message(2, ident(1) + number(32768) + dots({W: [(1, 2**40)]})),
    "give": message(1, FIRST, 11) + message(3, ident(2) + number(2) + bytes(32), 11),
    "ask": message(1, FIRST + SECOND) + ASK,
    "tell": message(3, ident(2) + number(2) + bytes(32), 11) + TELL,
    "future": message(1, batch(9, 5, 1, ADD, stamp=2**63)[1]),
    "numbers": message(1, batch(9, 5, 1, ADD, count=2)[1]) + message(1, batch(9, 5, 2**55, ADD)[1]),
}

if __name__ == "__main__":
    folder, stamp = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in CASES.items():
        for how in (0, 1, 2, 3, 4, 7):
            (folder / ("%s-%d" % (name, how))).write_bytes(bytes([how]) + body)
    for name, body in TTL.items():
        for how in (16, 17, 19, 20, 23, 28):
            (folder / ("%s-%d" % (name, how))).write_bytes(bytes([how]) + body)
    for name, body in SKETCHES.items():
        for how in (8, 9, 12, 13):
            (folder / ("%s-%d" % (name, how))).write_bytes(bytes([how]) + body)
    stamp.touch()
