#!/usr/bin/env python3
"""Inputs to begin fuzzing the trust room from: usage: make_trust_corpus.py FOLDER STAMP

What is signed in them is signed by nobody: the forms are right, so that changes reach past them."""
import pathlib
import random
import sys

RNG = random.Random(20261128)


def digits(n):
    return RNG.randbytes(n).hex()


def signature():
    return ("selvage signature 1\nkey %s\ntime 1764332628\nsize 98362432\nblake2b %s\nsignature %s\n"
            % (digits(16), digits(64), digits(64))).encode()


def public_keys(n):
    text = "selvage public key 1\n"
    for i in range(n):
        text += "created %d\npublic %s\n" % (1764332628 + i, digits(32))
        if i:
            text += "signed %s\n" % digits(64)
    return text.encode()


def api_keys():
    return ('{"version":1,"keys":[{"id":"%s","name":"alice","hash":"%s","created":1,"not_after":2,'
            '"revoked":0,"admin":false,"priority":-1,"models":["a","b"],"adapters":[],"limits":'
            '{"tokens_per_minute":1,"requests_per_minute":2,"context":3,"sessions":4}}]}'
            % (digits(8), digits(32))).encode()


def log():
    head = '{"seq":%d,"time":"2026-11-28T12:23:24.512Z","type":"%s",'
    lines = [
        head % (0, "open") + '"version":1,"log":"%s","segment":0,"key":"%s","hash_key":"%s","prev":"%s"}'
        % (digits(16), digits(16), digits(16), "0" * 64),
        head % (1, "sign") + '"why":"open","key":"%s","prev":"%s","sig":"%s"}'
        % (digits(16), digits(32), digits(64)),
        head % (2, "request") + '"id":"\\u0001\\"","who":"w","model":"m","prompt_tokens":1,'
        '"output_tokens":2,"ms":3,"finish":"stop","status":200,"prompt_hash":"%s","answer_hash":"%s",'
        '"prev":"%s"}' % (digits(32), digits(32), digits(32)),
        head % (3, "torn") + '"bytes":7,"hash":"%s","prev":"%s"}' % (digits(32), digits(32)),
        head % (4, "key") + '"key":"%s","created":5,"public":"%s","signed":"%s","prev":"%s"}'
        % (digits(16), digits(32), digits(64), digits(32)),
    ]
    return ("\n".join(lines) + "\n").encode()


def header(recipients):
    n = recipients.to_bytes(4, "little")
    size = 64 + 96 * recipients
    return (b"slvseal1" + size.to_bytes(4, "little") + (65536).to_bytes(4, "little") + n + bytes(4)
            + (131172).to_bytes(8, "little") + RNG.randbytes(size - 32))


def main():
    folder = pathlib.Path(sys.argv[1])
    files = {
        "sign": [b"", signature(), public_keys(1), public_keys(3), api_keys()],
        "audit": [b"", b"\0", b"\0" + log(), b"\1"] + [b"\1" + bytes([i, j, k]) for i in (0, 1, 4, 14)
                                                       for j in (0, 2, 14, 60) for k in range(8)],
        "seal": [b"", b"\0", b"\0" + header(1), b"\1" + header(1), b"\1" + header(64), b"\2"]
                + [b"\2" + bytes([at & 255, at >> 8, end, 7]) for at in (0, 9, 17, 25, 40, 150, 161, 65700)
                   if at < 65536 for end in (0, 128)],
    }
    for name, contents in files.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, content in enumerate(contents):
            (folder / name / ("%02d" % i)).write_bytes(content)
    pathlib.Path(sys.argv[2]).touch()


if __name__ == "__main__":
    main()
