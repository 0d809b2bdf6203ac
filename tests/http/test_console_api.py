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

from serving import HERE, POLICY, Home, Stream, tap

MODEL = "tiny=" + os.path.abspath(sys.argv[2])
HOME = Home("console")
CONSOLE = os.path.join(HERE, "..", "..", "console")
FIELDS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin",
          "cross-origin-resource-policy": "same-origin"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
SECRET = "zebra"
ADMIN = ["/v1/admin/sessions", "/v1/admin/audit", "/v1/admin/log"]


def serve(*args):
    return HOME.serve(*args, models=[MODEL])


def long_one(server, prompt, key=None):
    """A stream of 64 answers, of which 16 are made at a time: the model is small and quick."""
    return Stream(server, "/v1/completions", {"prompt": prompt, "n": 64, "max_tokens": 200, "ignore_eos": True,
                                              "logprobs": 5, "seed": 1}, key)


def files():
    return {"/console" if f == "index.html" else "/console/" + f: f for f in os.listdir(CONSOLE)}


def the_page_and_its_files_are_in_the_program():
    with serve() as s:
        for path, name in files().items():
            r = s.ask("GET", path)
            with open(os.path.join(CONSOLE, name), "rb") as f:
                assert r.status == 200 and r.body == f.read(), (path, r.status)
            assert r.headers["Content-Type"] == TYPES[os.path.splitext(name)[1]] + "; charset=utf-8", r.headers
            for field, value in FIELDS.items():
                assert r.headers[field] == value, (path, field, r.headers)
            again = s.ask("HEAD", path)
            assert again.status == 200 and not again.body
            assert again.headers["Content-Length"] == r.headers["Content-Length"]
        for path in ("/console/", "/console/x", "/console/../console.js", "/consolex", "/console/console.js/"):
            assert s.ask("GET", path).status == 404, path
        assert s.ask("POST", "/console", {}).status == 405


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
            for field, value, status in (("Host", "evil.example", 421), ("Origin", "http://evil.example", 403),
                                         ("Origin", "null", 403), ("Origin", s.url, 200)):
                assert s.ask("GET", path, headers={field: value}).status == status, (path, field, value)


def without_keys_this_machine_sees_who_is_served_and_never_what():
    with serve("--audit", HOME.path("who.log")) as s:
        assert s.get("/v1/admin/sessions")["data"] == []
        got = []

        def answers():
            got[:] = s.get("/v1/admin/sessions")["data"]
            return any(r["tokens"] for r in got)
        with long_one(s, SECRET):
            s.until(answers)
        active = [r for r in got if r["state"] == "active"]
        waiting = [r for r in got if r["state"] == "waiting"]
        assert active and waiting and len(active) <= 16 and got == active + waiting, got
        assert {r["id"] for r in got} == {got[0]["id"]} and got[0]["id"].startswith("cmpl-"), got
        assert len({r["index"] for r in got}) == len(got) <= 64, got
        assert any(r["tokens"] for r in active) and not any(r["tokens"] for r in waiting), got
        for r in got:
            assert r["model"] == "tiny" and r["key"] is None and r["prompt_tokens"] >= 1, r
            assert 0 <= r["queued_ms"] <= r["ms"] < 60000, r
        assert len(s.get("/v1/admin/sessions?last=1")["data"]) <= 1
        s.until(lambda: not s.get("/v1/admin/sessions")["data"])  # its client has left
        s.ask("POST", "/v1/completions", {"prompt": SECRET, "max_tokens": 2})
        for path in ADMIN:
            r = s.ask("GET", path)
            assert r.status == 200 and r.headers["Cache-Control"] == "no-store", (path, r.headers)
            assert SECRET.encode() not in r.body, path


def with_keys_an_admin_only():
    user, admin = HOME.add_key("alice"), HOME.add_key("root", "--admin")
    with serve("--keys", HOME.path("keys.json")) as s:
        assert s.ask("GET", "/console").status == 200  # the page has nothing in it
        for path in ADMIN:
            assert s.get(path, status=401)["error"]["code"] == "no_api_key"
            assert s.get(path, "slv_" + "A" * 43, 401)["error"]["code"] == "invalid_api_key"
            assert s.get(path, user, 403)["error"]["code"] == "not_admin"
            assert s.get(path, admin)["object"] == "list"
        with long_one(s, SECRET, user):
            assert {r["key"] for r in s.get("/v1/admin/sessions", admin)["data"]} == {"alice"}
        for path in ADMIN:
            data = json.dumps(s.get(path, admin))
            assert SECRET not in data and user not in data and admin not in data, path


def records_are_those_of_the_audit_log():
    with serve() as s:
        assert s.get("/v1/admin/audit") == {"object": "list", "kept": False, "data": []}
    log = HOME.path("records.log")
    with serve("--audit", log) as s:
        for _ in range(3):
            s.ask("POST", "/v1/completions", {"prompt": SECRET, "max_tokens": 2})
        got = s.get("/v1/admin/audit?last=2")["data"]
        shown = [json.loads(line) for line in HOME.run("audit", "show", "--json", "--last", "2", log).splitlines()]
        assert got == shown and got[-1]["type"] == "request" and got[-1]["output_tokens"] <= 2, (got, shown)
        assert len(s.get("/v1/admin/audit?last=1000")["data"]) >= 5


def the_log_keeps_its_last_lines():
    with serve() as s:
        rows = s.get("/v1/admin/log")["data"]
        assert rows[0]["msg"].startswith("listening at ") and rows[0]["seq"] == 0, rows
        assert abs(rows[0]["time_ms"] / 1000 - time.time()) < 60, rows
        for i in range(600):
            assert s.ask("GET", "/nothing/%d" % i).status == 404
        s.ask("GET", "/" + "x" * 2000)
        rows = s.get("/v1/admin/log?last=1000")["data"]
        assert len(rows) == 512 and [r["seq"] for r in rows] == list(range(rows[0]["seq"], rows[0]["seq"] + 512))
        assert "/nothing/599" in rows[-2]["msg"] and {r["level"] for r in rows} == {"info"}, rows[-2]
        assert len(rows[-1]["msg"]) < 500 and rows[-1]["msg"].endswith("..."), rows[-1]
        assert len(s.get("/v1/admin/log?last=7")["data"]) == 7


def what_is_asked_for_is_checked():
    with serve() as s:
        for query in ("last=0", "last=1001", "last=-1", "last=", "last=1x", "last=99999999999", "n=3", "last=1&last=2"):
            for path in ADMIN:
                assert s.get(path + "?" + query, status=400)["error"]["param"] == "last", query
        for path in ("/v1/admin", "/v1/admin/", "/v1/admin/keys", "/v1/admin/log/x"):
            s.get(path, status=404)
        assert s.ask("POST", "/v1/admin/log", {}).status == 405


TESTS = [the_page_and_its_files_are_in_the_program, the_page_loads_nothing_of_elsewhere_and_has_no_inline_code,
         other_sites_and_names_are_refused, without_keys_this_machine_sees_who_is_served_and_never_what,
         with_keys_an_admin_only, records_are_those_of_the_audit_log,
         the_log_keeps_its_last_lines, what_is_asked_for_is_checked]

if __name__ == "__main__":
    HOME.run("key", "new")
    sys.exit(tap.run(TESTS))
