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


def ak():
    return bytes.fromhex("0058" "0023" "000b" "00050472" "0000" "0010" "0018" "000b" "0003" "0010") + \
        b"\0\x20" + RNG.randbytes(32) + b"\0\x20" + RNG.randbytes(32)


def attest():
    return (b"\xffTCG\x80\x18\0\x22\0\x0b" + RNG.randbytes(32) + b"\0\x20" + RNG.randbytes(32) + bytes(16) + b"\1"
            + bytes(8) + b"\0\0\0\1\0\x0b\3\xff\0\x80\0\x20" + RNG.randbytes(32))


def evidence(pcrs):
    text = "selvage attestation 1\nak %s\nquote %s\nsignature %s\n" % (ak().hex(), attest().hex(), digits(64))
    for i in pcrs:
        text += "pcr %d %s\n" % (i, digits(32))
    return (text + "binary %s\npolicy %s\n" % (digits(32), digits(32))).encode()


def main():
    folder = pathlib.Path(sys.argv[1])
    files = {
        "attest": [b"", b"\0", b"\0" + evidence(list(range(8)) + [23]), b"\0" + evidence([23]), b"\0" + evidence([]),
                   b"\1" + attest(), b"\2" + ak(), b"\3"]
                  + [b"\3" + at.to_bytes(2, "big") + to for at in (0, 20, 40, 210, 300, 500, 700, 1300) for to in (b"0", b"\n")],
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
