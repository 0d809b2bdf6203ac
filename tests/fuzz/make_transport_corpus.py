#!/usr/bin/env python3
"""make_transport_corpus.py FOLDER STAMP: messages, streams, announcements and addresses for fuzz_transport.c, written
down from their description (transport.h) and not by the code that is tested."""
import pathlib
import struct
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
MESSAGE, STREAM, ANNOUNCEMENT, ADDRESS = range(4)
DATA, USE, USED, VIA, OF, NOWHERE, WELCOME, TWIN = range(8)


def framed(*messages):
    return b"".join(struct.pack(">H", len(m)) + m for m in messages)


def announcement(mesh, node, port):
    return b"SLVA" + struct.pack(">QQH", mesh, node, port)


MESSAGES = {
    "data": bytes([DATA]) + b"a datagram",
    "data-empty": bytes([DATA]),
    "use": bytes([USE, 1]) + struct.pack(">Q", 3),
    "use-long": bytes([USE, 1]) + struct.pack(">Q", 3) + b"!",
    "use-short": bytes([USE, 1]),
    "used": bytes([USED, 0]) + struct.pack(">Q", 2**63),
    "used-flags": bytes([USED, 2]) + struct.pack(">Q", 3),
    "via": bytes([VIA]) + struct.pack(">Q", 77) + b"\x16\xfe\xfd",
    "of": bytes([OF]) + struct.pack(">Q", 2**64 - 1) + b"\x17\xfe\xfd",
    "of-short": bytes([OF]) + b"1234567",
    "nowhere": bytes([NOWHERE]) + struct.pack(">Q", 5),
    "nowhere-long": bytes([NOWHERE]) + struct.pack(">Q", 5) + b"!",
    "welcome": bytes([WELCOME]),
    "twin": bytes([TWIN]),
    "twin-long": bytes([TWIN, 0]),
    "unknown": bytes([8, 0]),
}
CASES = {"message-" + k: bytes([MESSAGE]) + v for k, v in MESSAGES.items()}
CASES |= {
    "stream": bytes([STREAM]) + framed(*MESSAGES.values()),
    "stream-cut": bytes([STREAM]) + framed(*MESSAGES.values())[:-1],
    "stream-zero": bytes([STREAM]) + framed(MESSAGES["use"]) + b"\0\0",
    "stream-most": bytes([STREAM]) + framed(bytes(2048), bytes(2048)),
    "stream-more": bytes([STREAM]) + framed(bytes(2049)),
    "announcement": bytes([ANNOUNCEMENT]) + announcement(7, 9, 8376),
    "announcement-port": bytes([ANNOUNCEMENT]) + announcement(7, 9, 0),
    "announcement-long": bytes([ANNOUNCEMENT]) + announcement(7, 9, 1) + b"\0",
}
for i, text in enumerate(["127.0.0.1:80", "[::1]:80", "::1:80", "[fe80::1%lo]:9", "1.2.3.4:65536", "1.2.3.4:0", "[::]",
                          "[1.2.3.4]:5", "x" * 300 + ":1", "1.2.3.4:", ":1", "[]:1"]):
    CASES["address-%d" % i] = bytes([ADDRESS]) + text.encode()

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
STAMP.write_text("")
