#!/usr/bin/env python3
"""What the audit log says of requests that got no answer. What a user would lose: the trace of a key that
somebody tries out, by requests that are refused; and a log that has a line for each stranger.

usage: test_records.py SELVAGE MODEL      prints TAP
"""
import json
import os
import re
import resource
import sys

from serving import Home, bearer, tap

MODEL = os.path.abspath(sys.argv[2])
HOME = Home("records")
SECRET = "zebra"


def records(log):
    return [r for r in map(json.loads, HOME.run("audit", "show", "--json", log).splitlines()) if r["type"] == "request"]


def serve(log, *args, **how):
    return HOME.serve("--audit", log, "--ctx", "128", "--slots", "2", "--kv-memory", "2M", *args,
                      models=["a=" + MODEL, "b=" + MODEL], **how)


def refused_requests_leave_a_record():
    log = HOME.path("refused.log")
    who, key = HOME.new_key("user")
    few_who, few = HOME.new_key("few", "--requests-per-minute", "1")
    only_who, only = HOME.new_key("only", "--model", "b")
    want = []
    with serve(log, "--keys", HOME.path("keys.json")) as s:
        def ask(status, body, token=key, by=None, path="/v1/completions", model="a", finish="refused"):
            r = s.ask("POST", path, body, bearer(token))
            assert r.status == status, (body, r.status, r.body)
            if finish:
                want.append((by or who, model, status, finish))

        text = {"prompt": SECRET, "max_tokens": 2, "ignore_eos": True}
        ask(200, {"model": "a", **text}, finish="length")
        ask(400, {"model": "a", **text, "n": 0})
        ask(400, {"n": 0, "model": "b"}, model="b")  # what is wrong comes before the name
        ask(400, text | {SECRET: 1})  # the first model is meant
        ask(400, {"model": "b", "messages": [{"role": "user", "content": SECRET}], "response_format": {
            "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(?<=a)b"}}}},
            path="/v1/chat/completions", model="b")
        ask(413, {"model": "a", "prompt": SECRET * 200})
        ask(404, {"model": "a", "prompt": SECRET, "adapters": ["none"]})
        ask(403, {"model": "a", **text}, only, only_who)
        ask(400, {"model": "a", "input": []}, path="/v1/embeddings")
        ask(200, {"model": "b", "content": SECRET}, path="/tokenize", model="b", finish="stop")
        ask(400, {"model": "b"}, path="/tokenize", model="b")
        ask(200, {"model": "a", "tokens": [5, 6]}, path="/detokenize", finish="stop")
        ask(400, {"model": "a", "tokens": [-1]}, path="/detokenize")
        ask(200, {"model": "a", **text}, few, few_who, finish="length")
        ask(429, {"model": "b", **text}, few, few_who, model="b")
        ask(429, {"model": "b", SECRET: 2}, few, few_who, model="b")
        # nobody, or no model: metrics count them, the log does not
        ask(401, {"model": "a", **text}, None, finish=None)
        ask(401, {"model": "a", **text}, key[:-1] + ("a" if key[-1] != "a" else "b"), finish=None)
        ask(404, {"model": "none", **text}, finish=None)
        ask(400, {"model": 1, **text}, finish=None)
        ask(400, b'{"model":"a",' + SECRET.encode(), finish=None)
        ask(400, b'["a"]', finish=None)
        ask(429, b'{"model":"a",', few, finish=None)
        ask(429, {"model": "none"}, few, finish=None)
        m = s.metrics()
        assert m['selvage_refused_total{reason="no_api_key"}'] == 1, m
        assert m['selvage_refused_total{reason="invalid_api_key"}'] == 1
        assert m['selvage_refused_total{reason="model_not_found"}'] == 1
    got = records(log)
    assert [(r["who"], r["model"], r["status"], r["finish"]) for r in got] == want, (got, want)
    assert all(r["output_tokens"] == 0 for r in got if r["finish"] in ("refused", "stop")), got
    assert sum(r["output_tokens"] for r in got) == 4, got
    HOME.run("audit", "verify", log)
    with open(log, "rb") as f:
        assert SECRET.encode() not in f.read()


def without_keys_too():
    log = HOME.path("open.log")
    with serve(log) as s:
        assert s.ask("POST", "/v1/completions", {"prompt": "a", "n": 0}).status == 400
        assert s.ask("POST", "/tokenize", {"content": "a"}).status == 200
    assert [(r["who"], r["model"], r["status"]) for r in records(log)] == [("", "a", 400), ("", "a", 200)]


def what_cannot_be_recorded_is_not_answered():
    """A disk that is full: not even a refusal, or a text's tokens, are told without a trace."""
    for body, path in (({"prompt": "a", "n": 0}, "/v1/completions"), ({"content": "a"}, "/tokenize"),
                       ({"tokens": [1]}, "/detokenize"), ({"prompt": "a", "max_tokens": 1}, "/v1/completions")):
        log = HOME.path(path.replace("/", "-") + str(len(body)) + ".log")
        s = serve(log, full_disks=True)
        size = os.path.getsize(log)
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (size, size))
        for _ in range(2):
            r = s.ask("POST", path, body)
            assert r.status == 503 and r.error()["code"] == "audit_failed", (path, r.body)
        assert s.ask("GET", "/health").json()["status"] == "audit"
        s.process.kill()
        s.stop(status=-9)
        assert records(log) == []


def what_is_wrong_is_said_plainly():
    """In the words of who asks, not of the library; and the log says when, without an empty reason."""
    text = HOME.path("messages.log")
    with serve(HOME.path("plain.log"), "--log", text) as s:
        for body, says in ((b"[1]", "the body is a JSON object"), (b"5", "the body is a JSON object"),
                           (b"", "the body is a JSON object"), (b" \r\n", "the body is a JSON object"),
                           (b'{"prompt": "a\\u0000b"}', "body: line 1, column 21: a NUL character cannot be taken")):
            r = s.ask("POST", "/v1/completions", body)
            assert r.status == 400 and r.error()["message"] == says, (body, r.body)
    with open(text) as f:
        lines = f.read().splitlines()
    assert len(lines) > 5
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info) \S", line), line
        assert not line.rstrip().endswith(":"), line
    said = HOME.run("serve", MODEL, "--listen", "127.0.0.1:0", "--audit", HOME.path("no/such/a.log"), status=1)
    assert said.endswith("selvage: --audit: %s: its folder: No such file or directory\n" % HOME.path("no/such/a.log")), said


if __name__ == "__main__":
    HOME.run("key", "new")
    sys.exit(tap.run([refused_requests_leave_a_record, without_keys_too, what_is_wrong_is_said_plainly,
                      what_cannot_be_recorded_is_not_answered]))
