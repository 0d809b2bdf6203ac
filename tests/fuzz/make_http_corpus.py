#!/usr/bin/env python3
"""Requests to begin fuzzing from, behind two bytes that choose pieces: make_http_corpus.py FOLDER STAMP"""
import pathlib
import sys

HOST = b"Host: a\r\n"
LONG = b"x" * 2500
REQUESTS = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /v1/models?a=b HTTP/1.1\r\n" + HOST + b"Connection: close, x\r\n\r\n",
    b"GET http://b:80/x?y HTTP/1.1\r\n" + HOST + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2500\r\n\r\n" + LONG,
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9999\r\n\r\n" + LONG + LONG,
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n" * 2,
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n9c4\r\n" + LONG + b"\r\n9c4\r\n" + LONG + b"\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X : 1\r\n\r\n",
    b"GET / HTTP/1.1\n" + HOST + b"\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 65 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 16400,
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]

folder, stamp = map(pathlib.Path, sys.argv[1:])
folder.mkdir(exist_ok=True)
for i, r in enumerate(REQUESTS):
    (folder / f"{i:02}").write_bytes(bytes([i % 7, i * 11 % 256]) + r)
stamp.write_text("")
