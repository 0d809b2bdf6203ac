#!/usr/bin/env python3
"""make_mesh_corpus.py FOLDER STAMP: sets of dots and runs of ops as the mesh sends them, written down from
their description (dots.h, op.h, types.h, seq.h) and not by the code that is tested."""
import base64
import pathlib
import struct
import sys


def number(v):
    out = b""
    while v > 0x7F:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def with_length(b):
    return number(len(b)) + b


def ident(v):
    return struct.pack(">Q", v)


def dots(sets):
    """{writer: [(first, last), ..]}"""
    out = number(len(sets))
    for writer, ranges in sorted(sets.items()):
        out += ident(writer) + number(len(ranges))
        following = 1
        for first, last in ranges:
            out += number(first - following) + number(last - first)
            following = last + 2
    return out


def op(writer, n, key, removes, entries):
    out = ident(writer) + number(n) + with_length(key) + dots(removes) + number(len(entries))
    return out + b"".join(with_length(path) + with_length(data) for path, data in entries)


def run(right, writer, n, i, elements):
    return b"r", number(right) + ident(writer) + number(n) + number(i) + elements


def unique(registers):
    out, following = b"\0", 0
    for i, rank in sorted(registers.items()):
        out += number(i - following) + bytes([rank])
        following = i + 1
    return out


def unique_dense(ranks):
    bits = sum(rank << 6 * i for i, rank in enumerate(ranks))
    return b"\1" + bits.to_bytes(3072, "little")


def top(slots):
    return b"".join(with_length(s) + number(count) + number(error) for s, (count, error) in sorted(slots.items()))


MANY = unique_dense([1 + i % 9 for i in range(4096)])
FULL = top({b"s%d" % i: (20 + i, i % 20) for i in range(64)})

def condition(aks=(), binaries=(), policies=()):
    return number(not aks) + b"".join(number(len(d)) + b"".join(bytes([x]) * 32 for x in d) for d in (aks, binaries, policies))


def statement(kind, n, key, flags=7, until=0, name=b"", scopes=(), invitation=b"", attest=b""):
    """roster.h: signed, as far as a fuzzer asks."""
    return with_length(number(2 if attest else 1) + number(kind) + number(n) + bytes([key]) * 32 + number(flags) + number(until) +
                       with_length(name) + number(len(scopes)) +
                       b"".join(with_length(space) + with_length(prefix) for space, prefix in scopes) + invitation + attest + b"s" * 64)


CASES = {
    "dots-none": dots({}),
    "dots-some": dots({1: [(1, 9), (12, 12)], 2**63: [(5, 2**40)]}),
    "register": op(7, 1, b"name", {}, [(b"", ident(99 << 16) + b"first")])
    + op(7, 3, b"name", {7: [(2, 2)]}, [(b"", ident(100 << 16) + b"second")]),
    "set": op(7, 1, b"s", {}, [(b"red", b""), (b"green", b"")]) + op(9, 1, b"s", {7: [(3, 3)]}, []),
    "counter": op(7, 1, b"c", {}, [(ident(7), number(10) + number(3))])
    + op(7, 3, b"c", {7: [(2, 2)]}, [(ident(7), number(11) + number(3))]),
    "budget": op(7, 1, b"b", {}, [(ident(7), number(100) + number(30) + number(1) + ident(9) + number(20))]),
    "vector": op(7, 1, b"v", {}, [(ident(1) + ident(7), struct.pack("<4f", 1, 2, 3, 4))]),
    "text": op(7, 1, b"t", {}, [run(1, 0, 0, 0, "héllo".encode())])
    + op(9, 1, b"t", {}, [run(0, 7, 2, 3, b"XY"), (b"d" + ident(7) + ident(2), number(1) + number(2))]),
    "list": op(7, 1, b"l", {}, [run(1, 0, 0, 0, with_length(b"one") + with_length(b""))]),
    "doc": op(7, 1, b"d", {}, [(b"=", ident(5) + b"{"), (b".a\0\0=", ident(5) + b'v"x"'),
                               (b".l\0\0=", ident(5) + b"[" + ident(7) + number(4)),
                               (b".l\0\0#" + ident(7) + ident(4) + b"r", b"\1" + ident(0) + b"\0\0" + b"\0"),
                               (b".l\0\0@" + ident(7) + ident(5) + b"\0\0\0\0=", ident(5) + b"v1"),
                               (b".n\0\0=", ident(5) + b"+"), (b".n\0\0+" + ident(7), number(4) + number(1)),
                               (b".t\0\0=", ident(5) + b"t" + ident(7) + number(10)),
                               (b".t\0\0#" + ident(7) + ident(10) + b"r", b"\1" + ident(0) + b"\0\0" + b"hi")]),
    "unique": op(7, 1, b"u", {}, [(ident(7), unique({645: 1, 2059: 1, 3246: 2}))])
    + op(9, 1, b"u", {}, [(ident(9), unique({0: 53, 4095: 1}))]),
    "unique-dense": op(7, 1, b"u", {}, [(ident(7), MANY)]) + op(9, 1, b"u", {}, [(ident(9), unique({}))]),
    "top": op(7, 1, b"w", {}, [(ident(7), top({b"a": (4, 0), b"ab": (1, 0), b"b": (7, 0)}))])
    + op(9, 1, b"w", {}, [(ident(9), top({b"b": (2, 0), b"": (2**49, 0)}))]),
    "top-full": op(7, 1, b"w", {}, [(ident(7), FULL)]) + op(9, 1, b"w", {}, [(ident(9), top({b"s1": (3, 0)}))]),
    "statements": statement(1, 1, 1, name=b"pump", scopes=((b"tags", b"north-"), (b"hits", b""))) + statement(2, 2, 1)
    + statement(3, 3, 2, until=99) + statement(4, 0, 3, flags=0, invitation=bytes([2]) * 32),
    "conditions": statement(1, 1, 1, attest=condition((1,), (2, 3), (4,))) + statement(3, 3, 2, attest=condition())
    + statement(4, 0, 3, flags=0, invitation=bytes([2]) * 32) + statement(3, 4, 2, attest=condition((5, 6), (7,))),
    "invitation": b"selvage-invite-" + base64.urlsafe_b64encode(
        number(1) + with_length(b"floor") + b"a" * 32 + b"s" * 32 + number(1) + b"k" * 32 + with_length(b"[::1]:7420")).rstrip(b"="),
    "retired": ident(7) + ident(5) + number(2) + ident(3) + dots({7: [(1, 9)]}) + ident(4) + dots({7: [(1, 2), (5, 6)]}),
    "late": op(7, 3, b"k", {7: [(2, 2)]}, [(b"", b"new")]) + op(7, 1, b"k", {}, [(b"", b"old")]),
}

if __name__ == "__main__":
    folder, stamp = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in CASES.items():
        (folder / name).write_bytes(data)
    stamp.write_text("")
