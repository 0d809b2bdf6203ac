#!/usr/bin/env python3
"""make_strong_corpus.py FOLDER STAMP: messages, snapshots and records of a strong group (fuzz_strong.c), written down
from their description (strong_wire.h, strong_state.h) and not by the code that is tested."""
import pathlib
import sys

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
VOTE, VOTE_RESULT, APPEND, APPEND_RESULT, TIMEOUT_NOW, PIECE, PIECE_RESULT, CALL, ANSWER, DAMAGED, READMIT = range(1, 12)
PUT, DELETE, CAS, CAS_VALUE, LOCK, UNLOCK, GRANT, KEEPALIVE, REVOKE, EPOCH, GET, NOP, LEAD, EXPIRE = range(1, 15)


def num(*values):
    out = b""
    for v in values:
        while v > 0x7F:
            out += bytes([v & 0x7F | 0x80])
            v >>= 7
        out += bytes([v])
    return out


def ident(v):
    return v.to_bytes(8, "big")


def text(b):
    return num(len(b)) + b


def command(op, key=b"k", value=b"v", client=7, seq=1, more=()):
    head = num(op) + (ident(client) + num(seq) if op < GET else b"")
    keyed = ident(1) + text(key) if op in (PUT, DELETE, CAS, CAS_VALUE, LOCK, UNLOCK, EPOCH, GET) else b""
    return head + keyed + (text(value) if op in (PUT, CAS, CAS_VALUE, LOCK) else b"") + num(*more)


def members(*roles):
    return num(len(roles)) + b"".join(ident(i) + num(r) for i, r in roles)


def entry(term, kind, payload):
    return num(term, kind) + text(payload)


def message(kind, *values, rest=b""):
    return num(1, kind, *values) + rest


ALL = members((1, 3), (2, 3), (3, 3))
ENTRIES = [entry(2, 1, command(PUT, more=(0,))), entry(2, 1, num(NOP)), entry(2, 1, num(LEAD, 400)),
           entry(2, 3, members((1, 3), (2, 3), (3, 3), (4, 1))), entry(2, 1, command(LOCK, more=(1000,))),
           entry(2, 1, command(GRANT, more=(500,))), entry(2, 1, command(EPOCH)), entry(2, 1, num(EXPIRE, 3, 3))]
SNAPSHOT = (num(1, 9, 400, 1) + ident(7) + num(2, 8, 0, 8) + num(1) + num(3, 1000, 3) + num(2)
            + ident(1) + text(b"a") + num(0, 5, 0) + text(b"v") + ident(1) + text(b"l") + num(1, 3, 3) + text(ident(7)))
MESSAGES = {
    "vote": message(VOTE, 2, 1, 1, 0), "prevote": message(VOTE, 2, 1, 1, 1), "granted": message(VOTE_RESULT, 2, 1),
    "pregranted": message(VOTE_RESULT, 2, 3), "beat": message(APPEND, 2, 1, 1, 1, 0),
    "entries": message(APPEND, 2, 1, 1, 1, len(ENTRIES), rest=b"".join(ENTRIES)),
    "result": message(APPEND_RESULT, 2, 9, 0), "refusal": message(APPEND_RESULT, 2, 1, 1),
    "now": message(TIMEOUT_NOW, 2, 9, 2),
    "piece": message(PIECE, 2, 9, 2, 1, 0, rest=ALL + num(len(SNAPSHOT)) + text(SNAPSHOT)),
    "wanted": message(PIECE_RESULT, 9, 2, 0), "damaged": message(DAMAGED, rest=ident(5)),
    "readmit": message(READMIT, 2, 9, rest=b"") [:2] + num(2) + num(9) + ident(5),
    "call": message(CALL, 0, rest=ident(3) + command(GET, more=(1,))),
    "answer": message(ANSWER, rest=ident(3) + num(0, 4, 4) + ident(0) + text(b"v")),
}
for op, more in ((PUT, (0,)), (DELETE, ()), (CAS, (3, 0)), (LOCK, (100,)), (UNLOCK, (3,)), (GRANT, (100,)),
                 (KEEPALIVE, (3,)), (REVOKE, (3,)), (EPOCH, ())):
    MESSAGES[f"call{op}"] = message(CALL, 0, rest=ident(4) + command(op, more=more))


def record(key, value):
    return bytes([len(key)]) + key + len(value).to_bytes(2, "little") + value


def give(what, data=b""):
    return bytes([what]) + len(data).to_bytes(2, "little") + data


SYNC, TIME = give(4), give(5, b"1234567")
LOG = record(b"T", num(2) + ident(0)) + record(b"L" + ident(1), entry(1, 3, ALL))
HEAD = record(b"H", num(9, 2, 1) + ALL + num(len(SNAPSHOT))) + record(b"P" + ident(0), SNAPSHOT)
LEADS = TIME + b"".join(give(1, m) for t in range(1, 4) for m in (message(VOTE_RESULT, t + 1, 3), message(VOTE_RESULT, t + 1, 1))
                        for m in (SYNC[3:] or m,)) + SYNC
CASES = {f"m-{k}": b"\0" + v for k, v in MESSAGES.items()}
CASES |= {
    "s-plain": b"\1" + SNAPSHOT, "s-empty": b"\1" + num(1, 0, 0, 0, 0, 0),
    "r-log": b"\2" + LOG + b"".join(record(b"L" + ident(2 + i), e) for i, e in enumerate(ENTRIES)),
    "r-snapshot": b"\2" + record(b"T", num(2) + ident(1)) + HEAD, "r-gap": b"\2" + LOG + record(b"L" + ident(3), ENTRIES[1]),
    "r-fresh": b"\2" + record(b"Q", num(2, 9)) + record(b"T", num(2) + ident(2)), "r-damaged": b"\2" + record(b"Q", num(1)),
    "t-follow": b"\3" + give(1, MESSAGES["entries"]) + SYNC + give(1, message(APPEND, 2, 9, 2, 9, 0)) + SYNC + TIME,
    "t-conflict": b"\3" + give(1, MESSAGES["entries"]) + SYNC + give(2, message(APPEND, 3, 2, 2, 2, 1, rest=entry(3, 1, num(NOP)))) + SYNC,
    "t-snapshot": b"\3" + give(1, MESSAGES["piece"]) + SYNC + give(1, MESSAGES["piece"]) + give(1, message(APPEND, 2, 9, 2, 9, 0)),
    "t-lead": b"\3" + LEADS + give(1, message(APPEND_RESULT, 2, 2, 0)) + give(6, b"key") + SYNC + give(1, message(APPEND_RESULT, 2, 3, 0)) + TIME,
    "t-all": b"\3" + b"".join(give(1 + i % 3, m) + SYNC for i, m in enumerate(MESSAGES.values())) + TIME,
}

FOLDER.mkdir(parents=True, exist_ok=True)
for name, data in CASES.items():
    (FOLDER / name).write_bytes(data)
STAMP.write_text("")
