#!/usr/bin/env python3
"""make_records_corpus.py FOLDER STAMP: databases for fuzz_records.c, made by SQLite from the description in
records.h and not by the code that is tested: stores of records, some that want to be one, and changes to one."""
import hashlib
import os
import pathlib
import random
import sqlite3
import struct
import sys
import tempfile

FOLDER, STAMP = map(pathlib.Path, sys.argv[1:3])
RNG = random.Random(20261129)
TABLE = "CREATE TABLE records(k BLOB PRIMARY KEY,v BLOB,sum BLOB)WITHOUT ROWID"
KNOWN, CHANGES = 1, 4


def total(key, value):
    return hashlib.blake2b(struct.pack("<I", len(key)) + key + value, key=b"selvage.records1", digest_size=16).digest()[:8]


def database(rows, *more, table=TABLE, application=0x736C7672, version=1, page=4096, log=True):
    with tempfile.TemporaryDirectory() as home:
        path = os.path.join(home, "db")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA page_size=%d" % page)
        if log:
            db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA application_id=%d" % application)
        db.execute("PRAGMA user_version=%d" % version)
        db.execute(table)
        db.execute("BEGIN")
        db.executemany("INSERT INTO records VALUES(?,?,?)", rows)
        db.execute("COMMIT")
        for statement in more:
            db.execute(statement)
        db.close()
        return pathlib.Path(path).read_bytes()


def records(n, size=lambda i: 40):
    out = []
    for i in range(n):
        key, value = b"key-%d" % i, RNG.randbytes(size(i))
        out.append((key, value, total(key, value)))
    return out


def put(db, at, data):
    return db[:at] + data + db[at + len(data):]


def main():
    plain = database(records(3))
    deep = database(records(120), page=512)
    long = database(records(6, lambda i: 3000 * i))
    # a page of the tree that is a part of itself
    root = 512 * next(i for i in range(1, len(deep) // 512) if deep[512 * i] == 2)
    cell = struct.unpack(">H", deep[root + 12:root + 14])[0]
    loop = put(deep, root + 8, struct.pack(">I", root // 512 + 1))
    twice = put(loop, root + cell, struct.pack(">I", root // 512 + 1))
    dbs = [
        plain, deep, long, loop, twice, database([]), plain[:4096], plain[:5000], plain[:99], plain[:100], b"",
        database(records(3), log=False), database(records(3), page=65536)[:70000],
        database(records(3), "DELETE FROM records"),
        database([(b"k", b"v", b"wrong"), (1, 2, 3), (None, None, None), ("text", "text", "text"), (b"", b"", b"")]
                 + records(2), table="CREATE TABLE records(k BLOB,v BLOB,sum BLOB)"),
        database([(b"k", b"v", b"wrong sum"), (1, 2, 3), ("text", b"", b""), (b"", b"", total(b"", b""))] + records(2)),
        database(records(2), "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END"),
        database(records(2), "CREATE VIEW other AS SELECT * FROM records"),
        database(records(2), "CREATE TABLE other(x)"), database(records(2), "CREATE INDEX i ON records(v)"),
        database(records(2), application=7), database(records(2), version=2), b"SQLite format 3\0" + bytes(84),
    ]
    contents = [bytes([how]) + db for db in dbs for how in (0, KNOWN)]
    for _ in range(60):
        page = RNG.randrange(6) * 4096
        changes = b"".join(struct.pack(">HBB", page + RNG.choice((RNG.randrange(12), RNG.randrange(4096))),
                                       RNG.randrange(256), RNG.randrange(256)) for _ in range(RNG.randrange(1, 4)))
        contents.append(bytes([CHANGES | RNG.randrange(2)]) + changes)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(contents):
        (FOLDER / ("%03d" % i)).write_bytes(content)
    STAMP.touch()


if __name__ == "__main__":
    main()
