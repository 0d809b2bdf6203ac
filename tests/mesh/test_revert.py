#!/usr/bin/env python3
"""Putting back what was written to the mesh: what a user would lose is the state before a bad broadcast, or what others
wrote after it.

usage: test_revert.py SELVAGE [--full]      prints TAP
"""
import json
import sys
import time

from nodes import FULL, Mesh, tap, until

TYPES = ("last", "many", "on-wins", "off-wins", "set", "counter", "list", "text", "doc")
SPACES = tuple("%s:%s:history=1h" % (t, t) for t in TYPES)
GOOD = {  # operations, and what is read then
    "last": ([{"value": "good"}], "good"),
    "many": ([{"value": "good"}], ["good"]),
    "on-wins": ([{"value": True}], True),
    "off-wins": ([{"value": False}], False),
    "set": ([{"value": "a"}, {"value": "b"}], ["a", "b"]),
    "counter": ([{"value": 5}], 5),
    "list": ([{"value": x, "at": i} for i, x in enumerate([1, "two", {"x": 3}])], [1, "two", {"x": 3}]),
    "text": ([{"value": "schöne grüße"}], "schöne grüße"),
    "doc": ([{"value": {"on": True, "list": [1, 2, 3]}}, {"op": "text", "pointer": "/say", "value": "hello"},
             {"op": "count", "pointer": "/n", "value": 7}], {"list": [1, 2, 3], "n": 7, "on": True, "say": "hello"}),
}
BAD = {
    "last": [{"value": "bad"}, {"value": "worse"}],
    "many": [{"value": "bad"}],
    "on-wins": [{"value": False}],
    "off-wins": [{"value": True}],
    "set": [{"value": "bad"}, {"op": "remove", "value": "a"}],
    "counter": [{"value": 1000000}],
    "list": [{"op": "remove", "value": 2, "at": 1}, {"value": "bad", "at": 0}],
    "text": [{"op": "remove", "value": 7, "at": 0}, {"op": "insert", "value": "bäd ", "at": 1}],
    "doc": [{"value": "bad", "pointer": "/on"}, {"op": "remove", "pointer": "/list/1"}, {"op": "remove", "pointer": "/say"},
            {"op": "count", "pointer": "/n", "value": -90}, {"value": {"a": [1, {"b": 2}]}, "pointer": "/more"}],
}


def now():
    """Of one reading: gmtime() has a clock of its own, that is some ms behind."""
    ms = time.time_ns() // 1000000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + ".%03dZ" % (ms % 1000)


def put_all(node, ops, key):
    for t in TYPES:
        for op in ops[t]:
            node.put(t, key, **op)


def reads(node, key):
    return {t: node.get(t, key) for t in TYPES}


def same_everywhere(m, key, want):
    until(lambda: all(reads(n, key) == want for n in m.nodes), 20, "%s to be %r: %r" % (key, want, reads(m[0], key)))


def revert(node, space, *args, status=0):
    return node.run("mesh", "revert", space, *args, status=status)


def each_type_is_put_back():
    want = {t: v for t, (_, v) in GOOD.items()}
    with Mesh(3, SPACES) as m:
        m.whole()
        put_all(m[0], {t: ops for t, (ops, _) in GOOD.items()}, "k")
        same_everywhere(m, "k", want)
        time.sleep(0.01)  # (stamps are of milliseconds)
        then = now()
        put_all(m[2], BAD, "k")
        put_all(m[2], BAD | {"on-wins": [{"value": True}], "off-wins": [{"value": False}], "list": [{"value": "bad", "at": 0}], "text": [{"value": "bad"}], "doc": [{"value": 1}]},
                "new")
        bad = reads(m[2], "k")
        assert all(bad[t] != want[t] for t in TYPES), bad
        same_everywhere(m, "k", bad)
        m[0].kill()
        m[0].start()
        same_everywhere(m, "k", bad)
        m.everywhere("doc", "new", 1)
        for t in TYPES:
            said = revert(m[0], t, "--since", then, "--by", m[2].id, "--dry-run")
            assert "\t{" in said and "2 keys would be put back" in said, said
        assert reads(m[0], "k") == bad
        again = now()
        for t in TYPES:
            revert(m[0], t, "--since", then, "--by", m[2].id)
        same_everywhere(m, "k", want)
        until(lambda: all(n.get(t, "new") in (None, [], False, 0, "") for t in TYPES if t != "off-wins" for n in m.nodes),
              20, "what was new to be gone")
        for t in TYPES:  # the marks of it are keys that nobody sees, before all others
            for node in m.nodes:
                assert node.ask("GET", "/v1/spaces/%s/keys" % t)[1]["keys"] in (["k"], ["k", "new"]), t
                assert node.ask("GET", "/v1/spaces/%s/keys?limit=1" % t)[1]["keys"] == ["k"], t
                assert node.ask("GET", "/v1/spaces/%s/keys?after=k" % t)[1]["keys"] in ([], ["new"]), t
        for t in TYPES:  # once is enough, wherever it is asked for again
            for node in m.nodes:
                assert "0 keys put back" in revert(node, t, "--since", then, "--by", m[2].id), t
        m[1].put("doc", "k", "HE", op="edit", pointer="/say", at=0, gone=2)  # it is a text still, and a counter
        m[1].put("doc", "k", 1, op="count", pointer="/n")
        m.everywhere("doc", "k", want["doc"] | {"say": "HEllo", "n": 8})
        for t in TYPES:  # what was put back is undone in turn
            revert(m[1], t, "--since", again, "--by", m[0].id, "--key", "k")
        until(lambda: reads(m[1], "k") == bad | {"doc": reads(m[1], "k")["doc"]}, 20, "%r to be %r" % (reads(m[1], "k"), bad))


def what_others_write_stays():
    with Mesh(2, ("last:last:history=1h", "hits:counter:history=10m", "tags:set:causal:history=1d")) as m:
        m.whole()
        m[0].put("last", "a", "1")
        m[0].put("hits", "h", 10)
        m.everywhere("last", "a", "1")
        time.sleep(0.01)
        then = now()
        m[1].put("last", "a", "bad")
        m[1].put("hits", "h", 500)
        m[1].put("tags", "t", "bad")
        m.everywhere("tags", "t", ["bad"])
        m[0].put("hits", "h", 3)
        m[0].put("tags", "t", "good")
        m[0].put("last", "b", "kept")
        m.everywhere("last", "b", "kept")
        said = json.loads(m[0].run("mesh", "revert", "hits", "--since", then, "--by", m[1].id, "--json"))
        assert said == {"key": "h", "ops": [{"op": "add", "value": -500}]}, said
        revert(m[0], "tags", "--since", then, "--by", m[1].id)
        revert(m[0], "last", "--since", then, "--by", m[1].id)
        m.everywhere("hits", "h", 13)
        m.everywhere("tags", "t", ["good"])
        m.everywhere("last", "a", "1")
        m.everywhere("last", "b", "kept")
        revert(m[0], "last", "--since", then, "--prefix", "b")  # all that was written since
        m.everywhere("last", "b", None)
        m.everywhere("last", "a", "1")


def undoing_all_takes_undoings_back_too():
    with Mesh(2, ("last:last:history=1h", "hits:counter:history=1h")) as m:
        m.whole()
        first = now()
        m[0].put("last", "a", "good")
        m[0].put("hits", "h", 10)
        m.everywhere("hits", "h", 10)
        time.sleep(0.01)
        then = now()
        m[1].put("last", "a", "bad")
        m[1].put("hits", "h", 500)
        m.everywhere("hits", "h", 510)
        for space in ("last", "hits"):
            revert(m[0], space, "--since", then, "--by", m[1].id)
        m.everywhere("hits", "h", 10)
        for since, a, h in ((then, "good", 10), (then, "good", 10), (first, None, None), (first, None, None)):
            for space in ("last", "hits"):  # by anybody: also what was done against the bad
                revert(m[0], space, "--since", since)
            m.everywhere("last", "a", a)
            m.everywhere("hits", "h", h)


def many_keys_in_pages():
    n = 20000 if FULL else 3000
    with Mesh(2, ("last:last:history=1h",)) as m:
        m.whole()

        def write_all(node, value):
            for i in range(n):
                node.put("last", "k%05d" % i, value % i)
        write_all(m[0], "good %d")
        m.everywhere("last", "k%05d" % (n - 1), "good %d" % (n - 1))
        then = now()
        write_all(m[1], "bad %d")
        m.everywhere("last", "k%05d" % (n - 1), "bad %d" % (n - 1))
        begun = time.monotonic()
        said = revert(m[0], "last", "--since", then)
        print("# %d keys put back in %.2f s" % (n, time.monotonic() - begun))
        assert "%d keys put back" % n in said, said[-200:]
        for node in m.nodes:
            until(lambda: all(node.get("last", "k%05d" % i) == "good %d" % i for i in (0, n // 2, n - 1)), 20)  # noqa: B023
        for i in range(0, n, 7):
            assert m[0].get("last", "k%05d" % i) == "good %d" % i
        assert "0 keys" in revert(m[0], "last", "--since", then, "--by", m[1].id)


def what_does_not_fit_is_left_and_said():
    with Mesh(2, ("last:last:history=1h:max=128K",)) as m:
        m.whole()
        for key in ("a", "b"):
            m[0].put("last", key, "good" * 1000)
            m.everywhere("last", key, "good" * 1000)
        time.sleep(0.01)
        then = now()
        m[1].ask("DELETE", m[1].path("last", "a"))
        m[1].put("last", "b", "bad")
        m.everywhere("last", "b", "bad")
        m.everywhere("last", "a", None)
        i = 0
        while m[0].ask("PUT", m[0].path("last", "more%d" % i), {"value": "x" * 4000})[0] == 200:
            i += 1
        said = revert(m[0], "last", "--since", then, "--by", m[1].id, status=1)
        assert "a: left as it is: the space is full" in said and "1 left" in said, said
        assert m[0].get("last", "b") == "good" * 1000 and m[0].get("last", "a") is None
        for k in range(i):
            assert m[0].ask("DELETE", m[0].path("last", "more%d" % k))[0] == 200
        assert "1 key put back" in revert(m[0], "last", "--since", then, "--by", m[1].id)  # what was left, and nothing else
        m.everywhere("last", "a", "good" * 1000)


def what_cannot_be_is_said():
    with Mesh(1, ("short:last:history=1s", "none:last", "hits:counter:history=1h", "conf:last:strong")) as m:
        m[0].put("short", "k", "1")
        shown = {s["name"]: s for s in m[0].ask("GET", "/v1/spaces")[1]}
        assert shown["short"]["history_ms"] == 1000 and shown["hits"]["history_bytes"] > 0 and "history_ms" not in shown["none"]
        until(lambda: "reaches back" in m[0].ask("POST", "/v1/spaces/short/revert", {
            "since_ms": shown["short"]["history_since_ms"] + 1})[1].get("error", {}).get("message", ""), 20, "history to end")
        for args, status, want in (
                (("none", "--since", "1h"), 2, "keeps no history"), (("conf", "--since", "1h"), 2, "strong"),
                (("nowhere", "--since", "1h"), 1, "no such space"), (("short",), 2, "--since"),
                (("short", "--since", "yesterday"), 2, "how long ago"), (("short", "--since", "2026-11-29"), 2, "how long ago"),
                (("hits", "--since", "1s", "--by", "somebody"), 2, "16 hexadecimal digits"),
                (("hits", "--since", "1s", "--by", "0123456789abcdef"), 1, "no such node has written"),
                (("hits", "--since", "9999-01-01T00:00:00Z"), 2, "is to come"),
                (("hits", "--since", "1s", "--key", "a", "--prefix", "b"), 2, "not both"),
                (("short", "--since", "3650d"), 2, "reaches back to 20")):
            assert want in revert(m[0], *args, status=status), args
        for body, want in (([], "since_ms"), ({}, "since_ms"), ({"since_ms": -1}, "since_ms"), ({"since_ms": 1, "x": 1}, "x: not"),
                           ({"since_ms": 0, "until_ms": "a"}, "until_ms"), ({"since_ms": 0, "by": "somebody"}, "by: not known")):
            status, said = m[0].ask("POST", "/v1/spaces/hits/revert", body)
            assert status == 400 and want in said["error"]["message"], (body, said)
        assert m[0].ask("GET", "/v1/spaces/hits/revert")[0] == 405


if __name__ == "__main__":
    sys.exit(tap.run([each_type_is_put_back, what_others_write_stays, undoing_all_takes_undoings_back_too, many_keys_in_pages,
                      what_does_not_fit_is_left_and_said, what_cannot_be_is_said]))
