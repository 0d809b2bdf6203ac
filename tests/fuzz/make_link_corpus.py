#!/usr/bin/env python3
"""make_link_corpus.py FOLDER STAMP: what happens between two links (fuzz_link.c), and datagrams as one might make
them up, written down from their description (link.h) and not by the code that is tested."""
import pathlib
import random
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
GIVE, GIVE_LONG, POLL, POLL_ALL, MOMENT, WHILE, TIMER, DROP, MIXED, TWICE, BENT, HOLD, PROBE, FORGE, STARVE, ALL = range(16)


def step(what, end=0, small=0, *rest):
    return bytes([what | end << 4 | small << 5, *rest])


def numbers(*values):
    out = b""
    for v in values:
        while v > 0x7F:
            out += bytes([v & 0x7F | 0x80])
            v >>= 7
        out += bytes([v])
    return out


def forged(*values):
    datagram = numbers(*values)
    return step(FORGE, 1, 0, len(datagram)) + datagram


def talk(seed, loss):
    """Both give, most comes."""
    rnd, out = random.Random(seed), b""
    for _ in range(60):
        end = rnd.randrange(2)
        out += step(GIVE_LONG, end, rnd.randrange(4), rnd.randrange(256), rnd.randrange(8))
        out += step(GIVE, end, rnd.randrange(4), rnd.randrange(256))
        out += step(POLL_ALL, 0) + step(POLL_ALL, 1)
        if rnd.random() < loss:
            out += step(DROP, 0, 0, rnd.randrange(64))
        out += step(rnd.choice([ALL, ALL, MIXED]), 0, 0) + step(MOMENT, 0, rnd.randrange(8)) + step(TIMER, end)
    return out


CASES = {
    "plain": bytes([0]) + talk(1, 0),
    "lossy": bytes([0]) + talk(2, 0.5),
    "large": bytes([2]) + talk(3, 0.2),
    "rated": bytes([6]) + talk(4, 0.2),
    "starved": bytes([2]) + step(STARVE, 0, 3) + talk(5, 0.2) + step(STARVE, 0, 1) + talk(6, 0.2),
    "held": bytes([0]) + step(HOLD, 0, 3, 1) + talk(7, 0.1) + step(PROBE, 0, 0, 100) + talk(8, 0),
    "silent": bytes([0]) + step(GIVE_LONG, 0, 0, 0, 9) + (step(POLL_ALL) + step(TIMER)) * 40,
    "bent": bytes([1]) + talk(9, 0.1) + step(BENT, 0, 0, 3, 5, 0, 1) * 8,
    "forged-data": bytes([1])
    + b"".join(forged(n, 8 + n % 4, n * 2, 1, 0) for n in range(1, 30))
    + forged(40, 8, 0, 3, 2, 65, 66),
    "forged-ack": bytes([1]) + talk(10, 0) + forged(900, 2, 5, 100, 1, 0, 1, 1) + forged(901, 2, 3, 0, 0, 3),
    "forged-credit": bytes([1]) + forged(3, 4, 2**40, 5, 2**61, 1) + talk(11, 0) + forged(70, 3, 2, 9, 9, 0, 0, 0),
    "forged-large": bytes([1]) + forged(0, 8, 0, 3, 0xFF, 0x7F, 0),
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
STAMP.write_text("")
