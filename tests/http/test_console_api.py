#!/usr/bin/env python3
"""The console without a browser: its files and their headers, and what only an admin may see. What a
user would lose: a page of another site in the console's place, a look at who is served for somebody
who may not, prompts in what admins see.

usage: test_console_api.py SELVAGE MODEL      prints TAP
"""
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "interop")]
import tap  # noqa: E402
from console_server import POLICY, Server  # noqa: E402

PROGRAM, MODEL = sys.argv[1], "tiny=" + os.path.abspath(sys.argv[2])
CONSOLE = os.path.join(HERE, "..", "..", "console")
FIELDS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin",
          "cross-origin-resource-policy": "same-origin"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
SECRET = "zebra"
ADMIN = ["/v1/admin/sessions", "/v1/admin/audit", "/v1/admin/log"]


def serve(*args):
    return Server(PROGRAM, "--alias", MODEL, *args)


def long_one(prompt):
    """A request of 64 answers, of which 16 are made at a time: the model is small and quick."""
    return {"prompt": prompt, "n": 64, "max_tokens": 200, "ignore_eos": True, "logprobs": 5, "seed": 1}


def files():
    return {"/console" if f == "index.html" else "/console/" + f: f for f in os.listdir(CONSOLE)}


def the_page_and_its_files_are_in_the_program():
    with serve() as s:
        for path, name in files().items():
            status, fields, data = s.ask("GET", path)
            with open(os.path.join(CONSOLE, name), "rb") as f:
                assert status == 200 and data == f.read(), (path, status)
            assert fields["content-type"] == TYPES[os.path.splitext(name)[1]] + "; charset=utf-8", fields
            for field, value in FIELDS.items():
                assert fields[field] == value, (path, field, fields)
            status, again, data = s.ask("HEAD", path)
            assert status == 200 and not data and again["content-length"] == fields["content-length"]
        for path in ("/console/", "/console/x", "/console/../console.js", "/consolex", "/console/console.js/"):
            assert s.ask("GET", path)[0] == 404, path
        assert s.ask("POST", "/console", {})[0] == 405


def the_page_loads_nothing_of_elsewhere_and_has_no_inline_code():
    for name in os.listdir(CONSOLE):
        with open(os.path.join(CONSOLE, name)) as f:
            text = f.read()
        addresses = [a for a in re.findall(r"https?://[\w.]+", text) if a != "http://www.w3.org"]
        assert not addresses, (name, addresses)
        assert "innerHTML" not in text and "outerHTML" not in text and "insertAdjacentHTML" not in text, name
        assert "eval(" not in text and "document.write" not in text and "url(" not in text, name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)", text) and "<style" not in text
            assert not re.search(r"\s(style|on\w+)=", text) and "javascript:" not in text


def other_sites_and_names_are_refused():
    with serve() as s:
        for path in ["/console", "/console/console.js", *ADMIN]:
            assert s.ask("GET", path, Host="evil.example")[0] == 421, path
            assert s.ask("GET", path, Origin="http://evil.example")[0] == 403, path
            assert s.ask("GET", path, Origin="null")[0] == 403, path
            assert s.ask("GET", path, Origin=s.url)[0] == 200, path


def without_keys_this_machine_sees_who_is_served_and_never_what():
    s = serve("--audit", "{}/audit.log")
    s.run("key", "new")
    with s:
        assert s.json("/v1/admin/sessions")["data"] == []
        c = s.stream(long_one(SECRET))
        try:
            got = s.json("/v1/admin/sessions")["data"]
        finally:
            c.close()
        active = [r for r in got if r["state"] == "active"]
        waiting = [r for r in got if r["state"] == "waiting"]
        assert active and waiting and len(active) <= 16 and got == active + waiting, got
        assert {r["id"] for r in got} == {got[0]["id"]} and got[0]["id"].startswith("cmpl-"), got
        assert len({r["index"] for r in got}) == len(got) <= 64, got
        assert any(r["tokens"] for r in active) and not any(r["tokens"] for r in waiting), got
        for r in got:
            assert r["model"] == "tiny" and r["key"] is None and r["prompt_tokens"] >= 1, r
            assert 0 <= r["queued_ms"] <= r["ms"] < 60000, r
        assert len(s.json("/v1/admin/sessions?last=1")["data"]) <= 1
        for _ in range(100):
            if not s.json("/v1/admin/sessions")["data"]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("a session whose client has left is still there")
        s.ask("POST", "/v1/completions", {"prompt": SECRET, "max_tokens": 2})
        for path in ADMIN:
            status, fields, data = s.ask("GET", path)
            assert status == 200 and fields["cache-control"] == "no-store", (path, fields)
            assert SECRET.encode() not in data, path


def with_keys_an_admin_only():
    s = serve("--keys", "{}/keys.json")
    user, admin = s.add_key("alice"), s.add_key("root", "--admin")
    with s:
        assert s.ask("GET", "/console")[0] == 200  # the page has nothing in it
        for path in ADMIN:
            assert s.json(path, want=401)["error"]["code"] == "no_api_key"
            assert s.json(path, want=401, key="slv_" + "A" * 43)["error"]["code"] == "invalid_api_key"
            assert s.json(path, want=403, key=user)["error"]["code"] == "not_admin"
            assert s.json(path, key=admin)["object"] == "list"
        c = s.stream(long_one(SECRET), key=user)
        try:
            assert {r["key"] for r in s.json("/v1/admin/sessions", key=admin)["data"]} == {"alice"}
        finally:
            c.close()
        for path in ADMIN:
            data = s.ask("GET", path, key=admin)[2].decode()
            assert SECRET not in data and user not in data and admin not in data, path


def records_are_those_of_the_audit_log():
    with serve() as s:
        assert s.json("/v1/admin/audit") == {"object": "list", "kept": False, "data": []}
    s = serve("--audit", "{}/audit.log")
    s.run("key", "new")
    with s:
        for _ in range(3):
            s.ask("POST", "/v1/completions", {"prompt": SECRET, "max_tokens": 2})
        got = s.json("/v1/admin/audit?last=2")["data"]
        shown = [json.loads(line) for line in s.run("audit", "show", "--json", "--last", "2",
                                                    s.path("audit.log")).splitlines()]
        assert got == shown and got[-1]["type"] == "request" and got[-1]["output_tokens"] <= 2, (got, shown)
        assert len(s.json("/v1/admin/audit?last=1000")["data"]) >= 5


def the_log_keeps_its_last_lines():
    with serve() as s:
        rows = s.json("/v1/admin/log")["data"]
        assert rows[0]["msg"].startswith("listening at ") and rows[0]["seq"] == 0, rows
        assert abs(rows[0]["time_ms"] / 1000 - time.time()) < 60, rows
        for i in range(600):
            assert s.ask("GET", "/nothing/%d" % i)[0] == 404
        s.ask("GET", "/" + "x" * 2000)
        rows = s.json("/v1/admin/log?last=1000")["data"]
        assert len(rows) == 512 and [r["seq"] for r in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + 512))
        assert "/nothing/599" in rows[-2]["msg"] and {r["level"] for r in rows} == {"info"}, rows[-2]
        assert len(rows[-1]["msg"]) < 500 and rows[-1]["msg"].endswith("..."), rows[-1]
        assert len(s.json("/v1/admin/log?last=7")["data"]) == 7


def what_is_asked_for_is_checked():
    with serve() as s:
        for query in ("last=0", "last=1001", "last=-1", "last=", "last=1x", "last=99999999999", "n=3", "last=1&last=2"):
            for path in ADMIN:
                assert s.json(path + "?" + query, want=400)["error"]["param"] == "last", query
        for path in ("/v1/admin", "/v1/admin/", "/v1/admin/keys", "/v1/admin/log/x"):
            s.json(path, want=404)
        assert s.ask("POST", "/v1/admin/log", {})[0] == 405


TESTS = [the_page_and_its_files_are_in_the_program, the_page_loads_nothing_of_elsewhere_and_has_no_inline_code,
         other_sites_and_names_are_refused, without_keys_this_machine_sees_who_is_served_and_never_what,
         with_keys_an_admin_only, records_are_those_of_the_audit_log,
         the_log_keeps_its_last_lines, what_is_asked_for_is_checked]

if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
