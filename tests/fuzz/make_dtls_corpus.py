#!/usr/bin/env python3
"""make_dtls_corpus.py FOLDER STAMP: datagrams and handshakes to begin fuzzing from (fuzz_dtls.c), written down
from RFC 6347 and not by the code that is tested."""
import pathlib
import struct
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])


def record(kind, body, epoch=0, number=0, version=0xFEFD):
    return struct.pack(">BHHHIH", kind, version, epoch, number >> 32, number & 0xFFFFFFFF, len(body)) + body


def message(kind, body, number=0, at=0, whole=None):
    size = (len(body) if whole is None else whole).to_bytes(3, "big")
    return bytes([kind]) + size + struct.pack(">H", number) + at.to_bytes(3, "big") + len(body).to_bytes(3, "big") + body


def hello(cookie=b"", session=b"", extensions=b"", version=b"\xfe\xfd"):
    body = version + bytes(range(32)) + bytes([len(session)]) + session + bytes([len(cookie)]) + cookie
    body += b"\0\4\xc0\x2c\xcc\xa9\1\0"
    return message(1, body + struct.pack(">H", len(extensions)) + extensions)


GROUPS = bytes.fromhex("000a0006000400 1d0017".replace(" ", "")) + bytes.fromhex("000d000400020403") + bytes.fromhex("00170000")
DATAGRAMS = {
    "hello": record(22, hello(extensions=GROUPS), version=0xFEFF),
    "hello-cookie": record(22, hello(b"c" * 16, b"s" * 32, GROUPS), number=1),
    "hello-pieces": record(22, message(1, b"\xfe\xfd" + b"r" * 32, 0, 0, 80)),
    "hello-long": record(22, message(1, b"\xfe\xfd" + b"r" * 32, 0, 0, 0xFFFFFF)),
    "hello-old": record(22, hello(version=b"\xfe\xff")),
    "verify": record(22, message(3, b"\xfe\xff\x10" + b"c" * 16)),
    "server-hello": record(22, message(2, b"\xfe\xfd" + b"r" * 32 + b"\0\xc0\x2c\0", 1)),
    "certificate": record(22, message(11, b"\0\0\6\0\0\3abc", 2)),
    "alert": record(21, b"\2\x28"),
    "ccs": record(20, b"\1"),
    "finished": record(22, b"e" * 40, 1),
    "data": record(23, b"e" * 40, 1, 7),
    "short": record(23, b"e" * 3, 1, 7),
    "two": record(20, b"\1") + record(22, b"e" * 40, 1),
    "many": b"".join(record(22, b"e" * 40, 1, i) for i in range(12)),
    "tls": b"\x16\x03\x01\0\x05\1\0\0\1\0",
    "dns": bytes.fromhex("abcd01000001000000000000") + b"\7example\3com\0\0\1\0\1",
}
SCRIPTS = {
    "plain": b"\0",
    "lost": b"\1\0\0\1\0\0\1\0\0\1",
    "doubled": b"\5" * 9,
    "late": b"\0\0\0\4\0\4\0\4\0",
    "flipped": b"\0\0\0\2\0\x20\x01\0\0\0\2\0\x90\x80",
    "cut": b"\0\0\0\3\0\x40\0\0\0",
    "then-data": b"\0" * 9 + bytes([len(DATAGRAMS["data"])]) + DATAGRAMS["data"] + bytes([len(DATAGRAMS["short"])])
    + DATAGRAMS["short"],
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in DATAGRAMS.items():
    (FOLDER / name).write_bytes(b"\0" + data)
    for step in (2, 3, 5, 7):
        (FOLDER / f"{name}-{step}").write_bytes(bytes([1, step]) + data)
for name, data in SCRIPTS.items():
    (FOLDER / f"script-{name}").write_bytes(b"\3" + data)
for place in (0, 4, 13, 17, 25, 60, 80, 100, 120):
    (FOLDER / f"changed-{place}").write_bytes(b"\2" + bytes([0, place, 0x55]))
STAMP.write_text("")
