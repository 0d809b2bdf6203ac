#!/usr/bin/env python3
"""The server among strangers, over raw sockets: each trick gets one clear error, takes bounded memory, and
leaves the server answering others.

    SLV_TEST_MODEL=FILE test_hostile.py SELVAGE [--full]      prints TAP"""
import concurrent.futures
import json
import random
import re
import socket
import time

import serving
from serving import FULL, Server, full, read_all, test

serving.skip_unless("SLV_TEST_MODEL")
HOST = "Host: localhost\r\n"
SHARED = []


def server():
    if not SHARED:
        SHARED.append(Server("--ctx", 2048))
        SHARED.append(SHARED[0].text("hello"))
    return SHARED[0]


def calm():
    """It is there, answers as before, and does nothing else."""
    s = server()
    s.alive()
    assert s.text("hello") == SHARED[1]
    s.until(lambda: s.active() == 0)


def send(data, half=False, timeout=30):
    """What comes back until the server closes."""
    raw = server().raw(timeout)
    try:
        raw.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        if half:
            raw.shutdown(socket.SHUT_WR)
        return read_all(raw)
    finally:
        raw.close()


def refused(data, *status):
    """One reply with an error in words, and the end of the connection."""
    got = send(data)
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", got)) == 1, (data[:200], got[:600])
    head, body = got.split(b"\r\n\r\n", 1)
    assert int(head.split()[1]) in status, (data[:200], got[:300])
    assert b"Connection: close" in head and json.loads(body)["error"]["message"], got
    return body


def post(body, path="/v1/chat/completions"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server().ask("POST", path, data)


def wrong(body, status, path="/v1/chat/completions"):
    r = post(body, path)
    assert r.status in (status if isinstance(status, tuple) else (status,)), (body[:100], r.status, r.body[:300])
    assert r.error()["message"] and len(r.body) < 4000, r.body[:300]
    return r.error()


# --- two readers of one request -------------------------------------------------------------------

@test
def nothing_is_smuggled():
    get = "GET /health HTTP/1.1\r\n" + HOST
    start = "POST /tokenize HTTP/1.1\r\n" + HOST
    evil = "GET /v1/models HTTP/1.1\r\n" + HOST + "\r\n"
    for data, *status in (
            (start + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, 400),
            (start + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" + evil, 400),
            (start + "Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}" + evil, 400),
            (start + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
            (start + "Content-Length: 2, 2\r\n\r\n{}", 400), (start + "Content-Length: +2\r\n\r\n{}", 400),
            (start + "Content-Length: 0x2\r\n\r\n{}", 400), (start + "Content-Length: -2\r\n\r\n{}", 400),
            (start + "Content-Length : 2\r\n\r\n{}", 400), (start + "Content-Length:\r\n 2\r\n\r\n{}", 400),
            (start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
            (start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
            (start + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
            (start + "Transfer-Encoding: chunked\r\n\r\n2;x\r\n{}\r\n0\r\n\r\n", 400),
            (start + "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n", 400),
            (start + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n", 400),
            (start + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 400),
            (start + "Transfer-Encoding: chunked\r\n\r\n100000000\r\n{}\r\n0\r\n\r\n", 413),
            (get.replace("\r\n", "\n") + "\n", 400), (get + "X: a\rb\r\n\r\n", 400), (get + "X: \0\r\n\r\n", 400),
            (get + HOST + "\r\n", 400), ("GET /health HTTP/1.1\r\n\r\n", 400), (get + "X\r\n\r\n", 400),
            ("GET /health HTTP/0.9\r\n\r\n", 505), ("GET /health HTTP/2.0\r\n\r\n", 505), ("GET /health\r\n\r\n", 400),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400), ("SSH-2.0-x\r\n\r\n", 400),
            ("GET /" + "a" * 4096 + " HTTP/1.1\r\n" + HOST + "\r\n", 414), (get + "a: b\r\n" * 65 + "\r\n", 431),
            (get + "a: " + "b" * 16384 + "\r\n\r\n", 431), (get + "a: " + "b" * 3_000_000, 431),
            ("a" * 20000, 431), (get + "Expect: the-best\r\n\r\n", 417),
            (start + "Content-Length: 33554433\r\n\r\n", 413),
            (start + "Content-Length: 99999999999999999999\r\n\r\n", 413)):
        refused(data, *status)
    calm()


@test
def methods_and_forms():
    s = server()
    for method, path, status in (("HEAD", "/health", 200), ("OPTIONS", "/health", 405), ("OPTIONS", "*", 404),
                                 ("BREW", "/health", 405), ("DELETE", "/v1/models/x", 405), ("GET", "/%00", 404),
                                 ("PUT", "/v1/chat/completions", 405), ("GET", "//health", 404), ("GET", "/health/", 404),
                                 ("GET", "/../health", 404), ("GET", "http://localhost/health", 200)):
        got = send("%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (method, path, HOST))
        head, body = got.split(b"\r\n\r\n", 1)
        assert int(head.split()[1]) == status, (method, path, got[:200])
        assert (method == "HEAD") == (body == b""), (method, path, got[:200])
    old = send("GET /health HTTP/1.0\r\n\r\n")
    assert old.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in old
    asked = s.raw()
    asked.sendall(("POST /tokenize HTTP/1.1\r\n%sExpect: 100-continue\r\nContent-Length: 15\r\n\r\n" % HOST).encode())
    assert asked.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    asked.sendall(b'{"content":"a"}')
    assert b" 200 OK" in asked.recv(1000)
    asked.close()
    chunks = ["%x\r\n%s\r\n" % (len(p), p) for p in ('{"con', 't', 'ent":"a b"', '}')]
    data = "POST /tokenize HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % HOST
    assert b'"count":2' in send(data + "".join(chunks) + "0\r\n\r\n")
    calm()


@test
def many_requests_on_one_connection():
    raw = server().raw()
    one = ("GET /v1/models HTTP/1.1\r\n" + HOST + "\r\n").encode()
    raw.sendall(one * 100)  # all at once
    got, n = b"", 0
    while got.count(b'"object":"list"') < 100:
        got += raw.recv(65536)
    for _ in range(300):  # one after the other
        raw.sendall(one)
        n += len(raw.recv(65536)) > 0
    assert n == 300 and got.count(b"HTTP/1.1 200 OK") == 100
    raw.close()
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 4}).encode()
    raw = server().raw()
    raw.sendall(serving.raw_request(body=body) * 3 + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    got = read_all(raw)
    assert got.count(b"data: [DONE]\n\n\r\n0\r\n\r\n") == 3 and got.count(b"HTTP/1.1 200 OK") == 4, got[-500:]
    calm()


@test
def halves_of_connections():
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}).encode()
    send(serving.raw_request(body=body), half=True)  # its side is closed: it has left
    assert send("GET /heal", half=True) == b""
    assert send("", half=True) == b""
    assert send(serving.raw_request(body=body)[:-3], half=True) == b""
    calm()


# --- silence --------------------------------------------------------------------------------------

@test
def those_who_say_nothing_keep_nobody_waiting():
    s = server()
    silent = []
    heads = ["", "GET /health HTTP/1.1\r\nHo", "POST /tokenize HTTP/1.1\r\n%sContent-Length: 33554432\r\n\r\n" % HOST,
             "POST /tokenize HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % HOST]
    for i in range(500):
        raw = s.raw()
        raw.sendall(heads[i % 4].encode())
        silent.append(raw)
    start = time.monotonic()
    for _ in range(5):
        assert s.chat(max_tokens=2).status == 200
    took = time.monotonic() - start
    print("# 5 answers among 500 silent connections: %.0f ms" % (took * 1000), flush=True)
    assert s.metrics()["selvage_connections"] >= 490
    for raw in silent:
        raw.close()
    s.until(lambda: s.metrics()["selvage_connections"] < 10)
    calm()


@full
def slow_heads_are_told_so():
    start = time.monotonic()
    got = send("GET /health HTTP/1.1\r\nHo")
    assert b" 408 " in got and 8 < time.monotonic() - start < 20, got
    calm()


# --- bodies ---------------------------------------------------------------------------------------

@test
def large_prompts_are_too_long_and_no_more():
    s = server()
    before = s.memory()
    wrong({"messages": [{"role": "user", "content": "hello " * 1_700_000}]}, 413)  # 10 MB
    wrong({"prompt": "x" * 10_000_000}, 413, "/v1/completions")
    wrong({"prompt": [1] * 1_000_000}, 413, "/v1/completions")
    wrong(b" " * 33_554_432 + b"{}", 413)
    wrong({"messages": [{"role": "user", "content": "a"}] * 200_000}, 413)
    print("# memory: %.0f MiB before, %.0f after" % (before, s.memory()), flush=True)
    assert s.memory() < before + 700 * serving.SLOW
    calm()


@test
def json_bombs_are_refused():
    def chat(**kw):
        return json.dumps({"messages": [{"role": "user", "content": "a"}], "max_tokens": 2, **kw}).encode()

    for body in (b"", b"{", b"nothing", b"[]", b"1", b'"x"', b"null", b"{}{}", b'{"messages":}', b"\xff\xfe{}", b"\xef\xbb\xbf{}",
                 b"[" * 3_000_000, b'{"a":' * 1_000_000, b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
                 b'{"model":"a","model":"b"}', b'{"seed":' + b"9" * 100_000 + b"}", b'{"temperature":1e999}',
                 b'{"messages":[{"role":"user","content":"\\ud800"}]}', b'{"messages":[{"role":"user","content":"\\u0000"}]}',
                 b'{"messages":[{"role":"user","content":"\xc3"}]}', b'{"messages":[{"role":"user","content":"a\nb"}]}',
                 b'{"' + b"a" * 1_000_000 + b'":1}', chat(stop=["a"] * 100_000), chat(n=10**18), chat(seed=1.5),
                 chat(logit_bias={str(i): 1 for i in range(5000)}), chat(max_tokens=-1), chat(metadata="x", extra=1)):
        wrong(body, 400)
    wrong(b'{"a":[' + b"{}," * 5_000_000 + b"{}]}", (400, 413))
    before = server().memory()
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":[%s1]}' % ("{}," * 5_000_000)}}
    r = post({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}]})
    assert r.status in (400, 413), r.body[:300]
    assert server().memory() < before + 700 * serving.SLOW, server().memory()
    wrong(b"[" + b"1," * 8_000_000 + b"1]", (400, 413))
    calm()


@test
def schemas_that_never_end_are_refused():
    def schema(s):
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3, "timeout_ms": 20000,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": s}}}
        start = time.monotonic()
        r = post(body)
        assert time.monotonic() - start < 25 * serving.SLOW, "took %.1f s" % (time.monotonic() - start)
        assert r.status in (200, 400, 413), (r.status, r.body[:300])
        if r.status != 200:
            assert r.error()["message"] and len(r.body) < 4000
        return r.status

    deep = {}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    assert schema({"$ref": "#"}) == 400
    assert schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}) == 400
    schema({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})  # no value is finite
    schema({"type": "array", "items": {"$ref": "#"}})
    schema({"allOf": [{"$ref": "#"}, {"type": "string"}]})
    schema(deep)
    schema({"enum": ["v%d" % i for i in range(60_000)]})  # 0.6 MB
    schema({"type": "object", "properties": {"p%d" % i: {"type": "string", "description": "x" * 60} for i in range(9000)}})
    schema({"type": "string", "pattern": "^(a{1,1000}){1,1000}$"})
    schema({"type": "string", "minLength": 10**9})
    schema({"type": "array", "minItems": 10**9, "items": {"type": "null"}})
    schema({"anyOf": [{"type": "object", "properties": {"k%d" % i: {"const": j}}} for i in range(30) for j in range(30)]})
    assert schema({"type": "string", "pattern": "(a+)+$\\1"}) == 400
    body = {"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"items": {"pattern": "^(((ab?){1,100}c?){1,100}d?){1,100}$"}}}}}
    e = wrong(json.dumps(body).encode(), 400)
    assert e["code"] == "unsupported_schema" and "/items/pattern: " in e["message"], e
    assert "repetitions multiply to more than" in e["message"], e
    calm()


def anonymous_mib(s):
    with open("/proc/%d/status" % s.process.pid) as f:
        return int(re.search(r"RssAnon:\s+(\d+) kB", f.read())[1]) / 1024


@test
def many_schemas_take_bounded_memory():
    """Each is of 1 MB, and is kept for who asks again: so many bytes of all, given back when others come."""
    s = Server("--ctx", 512, "--kv-memory", "32M")

    def ask(schema, status=200):
        r = s.ask("POST", "/v1/chat/completions", json.dumps({
            "messages": [{"role": "user", "content": "a"}], "max_tokens": 2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}).encode())
        assert r.status == status, (r.status, r.body[:300])
        return r

    ask({"type": "boolean"})
    before, most = anonymous_mib(s), 0
    for i in range(100 if FULL else 40):
        ask({"enum": ["%03d%06d" % (i, k) for k in range(60_000)]})
        most = max(most, anonymous_mib(s))
    if serving.SLOW == 1:
        assert most < before + 64 + 48, (before, most)  # what is kept; and what compiling one takes
        for i in range(40):
            ask({"type": "boolean", "title": str(i)})
        assert anonymous_mib(s) < before + 48, (before, most, anonymous_mib(s))
    e = ask({"enum": ["%07d" % k for k in range(200_000)]}, 400).error()
    assert e["code"] == "unsupported_schema" and "at most 1048576" in e["message"], e
    s.stop()


@test
def answers_that_outgrow_a_grammar_are_cut():
    s = server()

    def ask(grammar, **more):
        return post({"messages": [{"role": "user", "content": "a"}], "max_tokens": 60, "grammar": grammar, **more})

    r = ask('root ::= ((("a"{1,1000}){1,1000}){1,1000}){1,1000}')
    assert r.status == 400 and "repetitions multiply" in r.error()["message"], r.body
    for stream in (False, True):
        r = ask('root ::= (([a-c]{3,30} "b"?){20,30} "c"?){20,30} "."', stream=stream)
        assert r.status == 200 and b'"finish_reason":"length"' in r.body and b'"error"' not in r.body, r.body[-500:]
    calm()


@test
def bytes_at_random_do_no_harm():
    rng = random.Random(7)
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}).encode()
    good = serving.raw_request(body=body, headers=["Connection: close"])
    s = server()

    def one(seed):
        r = random.Random(seed)
        data = bytearray(good)
        for _ in range(r.randrange(1, 6)):
            i = r.randrange(len(data))
            if r.random() < 0.5:
                data[i] = r.randrange(256)
            else:
                data[i:i + r.randrange(4)] = r.randbytes(r.randrange(4))
        raw = s.raw()
        raw.sendall(data)
        if r.random() < 0.5:
            raw.settimeout(0.2)
            try:
                raw.recv(4000)
            except OSError:
                pass
        raw.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, [rng.randrange(1 << 30) for _ in range(2000 if FULL else 300)]))
    calm()


@test
def it_ends_well():
    log = server().stop()
    assert "internal" not in log.lower(), log[-2000:]


if __name__ == "__main__":
    serving.main()
