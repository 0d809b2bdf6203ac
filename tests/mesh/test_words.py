#!/usr/bin/env python3
"""What the mesh's commands say and refuse: what a user would lose is a write that he was told had failed and did again, a
text where a document was meant, or an hour over a message that does not say what is wrong.

usage: test_words.py SELVAGE      prints TAP
"""
import os
import subprocess
import sys

from nodes import PROGRAM, SLOW, Mesh, tap, until

SPACES = ("parts:counter", "notes:doc:causal", "queue:list", "sums:vector", "tags:set", "config:last", "log:text", "tally:top",
          "flag:on-wins", "fund:budget", "conf:last:strong", "old:last:history=7d", "soon:set:ttl=90", "half:set:ttl=36h",
          "odd:last:history=30m")


def one_line(said):
    assert said.count("\n") == 1 and said.endswith("\n"), said
    return said


def refuse(node, status, *args):
    """What is said, which is one line; nothing is printed beside."""
    p = subprocess.run([PROGRAM, "mesh", *args], capture_output=True, timeout=60 * SLOW, env=node.env(), check=False)
    assert p.returncode == status and not p.stdout, (args, p)
    return one_line(p.stderr.decode())


def a_write_whose_session_cannot_be_kept_is_not_made():
    with Mesh(1, SPACES) as m:
        a = m[0]
        a.put("parts", "k", 1)
        folder = os.path.join(m.folder.name, "folder")
        os.mkdir(folder)
        for session in ("/nonexistent/x", "/proc/x", folder, ""):
            for args in (("put", "parts", "k", "5"), ("get", "parts", "k"), ("del", "config", "k")):
                said = refuse(a, 1, *args, "--session", session)
                assert session == folder or "nothing was done" in said and "cannot be written" in said, said
            assert a.get("parts", "k") == 1
        session = os.path.join(folder, "session")
        a.run("mesh", "put", "parts", "k", "5", "--session", session)
        assert a.get("parts", "k") == 6 and os.listdir(folder) == ["session"]
        # Where nothing is asked, nothing is left behind.
        refuse(a, 1, "get", "parts", "k", "--session", os.path.join(folder, "other"), "--socket", os.path.join(folder, "none"))
        assert os.listdir(folder) == ["session"]


def what_is_meant_is_said():
    with Mesh(1, SPACES) as m:
        a = m[0]
        a.put("notes", "d", {"x": 1})
        for args, word in ((("put", "config", "", "x"), "KEY is empty"), (("get", "config", ""), "KEY is empty"),
                           (("revert", "old", "--since", "1h", "--key", ""), "--key is empty"),
                           (("revert", "old", "--since", "1h", "--by", "zz"), "a node is 16 hexadecimal digits"),
                           (("put", "fund", "k", "1", "--op", "give", "--to", a.key), "a node is 16 hexadecimal digits"),
                           (("put", "notes", "d", "1", "--pointer", "x"), "it begins with '/'"),
                           (("put", "parts", "k", "99999999999999999999"), "of 64 bits"),
                           (("put", "config", "k", "v", "--file", "x"), "VALUE and --file")):
            assert word in refuse(a, 2, *args), args
        a.run("mesh", "found")
        until(lambda: m[0].status()["strong"]["leader"] == a.id, 20, "a leader")
        assert "this one: voter, leads" in a.run("mesh", "status")
        a.run("mesh", "put", "conf", "limit", "42")
        assert "has a value" in refuse(a, 1, "lock", "conf", "limit")


def a_value_can_come_from_a_file():
    with Mesh(1, SPACES) as m:
        a = m[0]
        path = os.path.join(m.folder.name, "value")
        long = "é\n" * 90000  # longer than an argument may be
        with open(path, "w", encoding="utf-8") as f:
            f.write(long)
        a.run("mesh", "put", "config", "k", "--file", path)
        assert a.get("config", "k") == long
        a.run("mesh", "put", "notes", "k", "--file", "-", stdin='{"x": [1, 2]}\n')
        assert a.get("notes", "k") == {"x": [1, 2]}
        assert "no such file" in refuse(a, 1, "put", "config", "k", "--file", path + "x").lower()
        for bad, word in ((b"a\0b", "no text"), (b"\xff", "UTF-8")):
            with open(path, "wb") as f:
                f.write(bad)
            assert word in refuse(a, 2, "put", "config", "k", "--file", path), word
        assert a.get("config", "k") == long


def what_must_be_json_is():
    with Mesh(1, SPACES) as m:
        a = m[0]
        deep = "[" * 100 + "]" * 100
        a.put("notes", "d", {"x": 1})
        for space, more in (("notes", ()), ("notes", ("--op", "insert", "--pointer", "/y")), ("queue", ()), ("sums", ()),
                            ("notes", ("--op", "count", "--pointer", "/x"))):
            for value in ("{bad", "tru", "", deep, "hello", "1 2"):
                said = refuse(a, 2, "put", space, "d", value, *more)
                assert "takes JSON" in said and "'\"b\"'" in said, said
            assert "VALUE is wanted" in refuse(a, 2, "put", space, "d", *more)
        assert "64 deep" in refuse(a, 2, "put", "notes", "d", deep)
        assert a.get("notes", "d") == {"x": 1} and a.get("queue", "d") is None and a.get("sums", "d") is None
        a.run("mesh", "put", "notes", "d", '"b"', "--pointer", "/y")
        a.run("mesh", "put", "notes", "d", "hello", "--pointer", "/z", "--op", "text")
        a.run("mesh", "put", "notes", "d", "oh ", "--pointer", "/z", "--op", "edit", "--at", "0", "--gone", "1")
        assert a.get("notes", "d") == {"x": 1, "y": "b", "z": "oh ello"}
        a.run("mesh", "put", "notes", "d", "--pointer", "/z", "--op", "remove")
        a.run("mesh", "put", "queue", "q", '{"a":[1]}')
        a.run("mesh", "put", "sums", "v", "[1,-2.5]", "--epoch", "0")
        assert a.get("notes", "d") == {"x": 1, "y": "b"} and a.get("queue", "q") == [{"a": [1]}]
        assert a.get("sums", "v")["sum"] == [1, -2.5]
        # Texts are texts, however they look.
        for value in ("{bad", "tru", "1", '"b"', ""):
            a.run("mesh", "put", "config", "k", value)
            assert a.get("config", "k") == value
            a.run("mesh", "put", "log", "k", value)
            assert a.get("log", "k") == value
        a.run("mesh", "found")
        for value, want in (("1", 1), ("{bad", "{bad"), ('"b"', "b"), ("07", "07"), ("null", None)):
            a.run("mesh", "put", "conf", "k", value)
            assert a.get("conf", "k") == want, value


def what_is_not_utf8_is_refused():
    with Mesh(1, SPACES) as m:
        a = m[0]
        for space, key, value, more in (("config", b"k", b"\xff", ()), ("notes", b"k", b'"\xff"', ()), ("conf", b"k", b"a\xc3", ()),
                                        ("tags", b"k", b"\xed\xa0\x80", ())):
            assert "VALUE is not UTF-8" in refuse(a, 2, "put", space, key, value, *more)
            assert a.get(space, "k") is None if space != "conf" else True
        for args in (("put", "config", b"\xff", "v"), ("get", "config", b"\xff"), ("del", "config", b"\xff"),
                     ("lock", "conf", b"\xff")):
            assert "KEY is not UTF-8" in refuse(a, 2, *args)
        for args, want in ((("put", "notes", "k", "1", "--pointer", b"/\xff"), "--pointer"),
                           (("put", "conf", "k", "1", "--op", "swap", "--expect", b"\xff"), "--expect"),
                           (("lock", "conf", "k", "--holder", b"\xff"), "--holder"), (("admit", "--name", b"\xff"), "--name"),
                           (("revert", "old", "--since", "1h", "--key", b"\xff"), "--key"),
                           (("revert", "old", "--since", "1h", "--prefix", b"\xff"), "--prefix")):
            assert want + " is not UTF-8" in refuse(a, 2, *args), args
        assert a.ask("GET", "/v1/spaces/config/keys")[1]["keys"] == []
        a.run("mesh", "put", "config", "schlüssel", "grün")
        assert a.run("mesh", "get", "config", "schlüssel") == "grün\n"


def who_does_not_answer_is_named():
    with Mesh(1, SPACES) as m:
        a = m[0]
        none = os.path.join(m.folder.name, "none.sock")
        for command in (("get", "parts", "k"), ("put", "parts", "k", "1"), ("del", "tags", "k"), ("watch", "parts"), ("status",),
                        ("roster",), ("revert", "old", "--since", "1h"), ("lock", "conf", "k")):
            said = refuse(a, 1, *command, "--socket", none)
            assert "no node is up at " + none in said and "`selvage mesh up`" in said, said
        # One that a node has left behind, as it was killed.
        a.kill()
        assert os.path.exists(a.socket)
        for command in (("get", "parts", "k"), ("watch", "parts")):
            assert "no node is up at " + a.socket in refuse(a, 1, *command), command
        a.start()
        # One that may not be opened: by somebody else, where root runs this, whom nothing stops.
        as_other = {"user": 65534, "cwd": "/"} if os.geteuid() == 0 else {}
        os.chmod(m.folder.name, 0o000 if not as_other else 0o700)
        try:
            p = subprocess.run([PROGRAM, "mesh", "get", "parts", "k", "--socket", a.socket], capture_output=True, text=True, check=False,
                               timeout=60 * SLOW, env={**os.environ, "HOME": "/", "SELVAGE_HOME": "/"}, **as_other)
        finally:
            os.chmod(m.folder.name, 0o700)
        assert p.returncode == 1 and "permission denied" in one_line(p.stderr) and "no node" not in p.stderr, p
        # A path that no socket can have.
        long = os.path.join(m.folder.name, "x" * 120)
        a.stop()
        for command in (("get", "parts", "k"), ("watch", "parts"), ("up", "--space", "s:set", "--listen", "127.0.0.1:0")):
            for path in (long, long * 5) if command[0] != "up" else (long,):
                said = refuse(a, 2, *command, "--socket", path)
                assert "107 bytes" in said and "ADDRESS" not in said, said


def a_watch_says_that_its_node_has_ended():
    with Mesh(1, SPACES) as m:
        a = m[0]
        w = subprocess.Popen([PROGRAM, "mesh", "watch", "parts"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=a.env())

        def one_is_told():
            a.put("parts", "k", 1)
            os.set_blocking(w.stdout.fileno(), False)
            return w.stdout.read()
        until(one_is_told, 20, "a change to be told")
        a.kill()
        said = w.communicate(timeout=20 * SLOW)[1]
        assert w.returncode == 1 and "the node at %s has ended" % a.socket in one_line(said.decode()), (w.returncode, said)


def what_is_missing_is_named():
    with Mesh(1, SPACES) as m:
        a = m[0]
        for command in (("get", "no/ne ü", "k"), ("put", "no/ne ü", "k", "1"), ("del", "no/ne ü", "k"), ("watch", "no/ne ü"),
                        ("lock", "no/ne ü", "k"), ("revert", "no/ne ü", "--since", "1h")):
            assert "no such space: 'no/ne ü'" in refuse(a, 1, *command), command
        for op, value, want in (("cas", "1", "version"), ("swap", "1", "expect"), ("unlock", None, "token"), ("keepalive", None, "lease"),
                                ("revoke", None, "lease"), ("grant", None, "ttl"), ("lock", None, "ttl")):
            said = refuse(a, 2, "put", "conf", "k", *([value] if value else []), "--op", op)
            assert "--op %s wants --%s" % (op, want) in said, said
        assert "--op give wants --to" in refuse(a, 2, "put", "fund", "k", "1", "--op", "give")
        assert "VALUE is wanted" in refuse(a, 2, "put", "conf", "k")
        assert "VALUE is wanted" in refuse(a, 2, "put", "conf", "k", "--op", "cas", "--version", "0")
        assert "no operation 'cas'" in refuse(a, 2, "put", "tags", "k", "1", "--op", "cas")
        said = refuse(a, 2, "get", "conf", "k", "--read", "bogus")
        assert "barrier|leased|local" in said and "query" not in said, said
        for how in ("barrier", "leased", "local"):
            a.run("mesh", "get", "parts", "k", "--read", how, status=1)
        for rule, want in (("parts:min=x", "no number"), ("parts:max=", "no number"), ("parts:step=-1", "0 or more"),
                           ("parts:every=2d", "10ms to 1h"), ("parts:keys=1.5", "whole number"), ("parts:min", "no number"),
                           ("parts:to=", "a space's name"), ("parts:least=3", "bounds are min="), ("parts:x", "bounds are min=")):
            said = refuse(a, 2, "bridge", "--from", a.socket, "--to", a.socket, "--as", "z", "--sum", rule)
            assert want in said, (rule, said)
        for bad in ("selvage-invite-", "selvage-inv", "selvage-invite-AQ", "selvage-invite-A!"):
            said = refuse(a, 3, "up", "--space", "s:set", "--invitation", bad)
            assert "cut short, or damaged" in said and "begins with" not in said, said
        assert "begins with selvage-invite-" in refuse(a, 3, "up", "--space", "s:set", "--invitation", "hello")


def numbers_are_as_people_write_them():
    with Mesh(1, SPACES) as m:
        a = m[0]
        for option, least in (("n", 1), ("version", 0), ("token", 1), ("lease", 1), ("at", 0), ("gone", 0), ("epoch", 0), ("keep", 0)):
            said = refuse(a, 2, "put", "tally", "k", "x", "--" + option, "-5")
            assert "at least %d\n" % least in said, said
            assert "at least %d\n" % least in refuse(a, 2, "put", "tally", "k", "x", "--" + option, str(least - 1))
        a.run("mesh", "put", "parts", "k", "-1")
        a.run("mesh", "put", "parts", "k", "--", "-2")
        assert a.get("parts", "k") == -3
        a.run("mesh", "put", "config", "-7", "-.5")
        assert a.run("mesh", "get", "config", "-7") == "-.5\n"
        assert "unknown option" in refuse(a, 2, "put", "parts", "k", "-x")
        a.run("mesh", "put", "tally", "k", "x", "--n", "3")
        a.run("mesh", "put", "log", "k", "ac")
        a.run("mesh", "put", "log", "k", "b", "--op", "insert", "--at", "1")
        a.run("mesh", "put", "log", "k", "0", "--op", "insert", "--at", "0")
        assert a.get("tally", "k")[0]["count"] == 3 and a.get("log", "k") == "0abc"
        for command in ("put", "lock", "invite", "get", "lead"):
            said = a.run("mesh", command, "--help")
            assert "e+0" not in said and "default -1" not in said and "(-1" not in said, said
        assert "0.001 to 2000000" in " ".join(a.run("mesh", "put", "--help").split())
        said = a.run("mesh", "status")
        for want in ("parts: counter, eventual, 1 entry\n", "tags: set, eventual, 0 entries\n", "history of 7d,", "each for 90s,",
                     "each for 36h,", "history of 30m,"):
            assert want in said, (want, said)


def a_revert_that_is_refused_says_only_why():
    with Mesh(1, SPACES) as m:
        a = m[0]
        a.put("old", "k", "v")
        for status, args in ((2, ("old", "--since", "yesterday")), (2, ("old", "--since", "1s", "--by", "somebody")),
                             (2, ("parts", "--since", "1h")), (2, ("old",)), (1, ("none", "--since", "1h"))):
            assert "put back" not in refuse(a, status, "revert", *args), args
        assert a.run("mesh", "revert", "old", "--since", "1h", "--dry-run").endswith("1 key would be put back\n")
        assert a.run("mesh", "revert", "old", "--since", "1h", "--key", "none") == "0 keys put back\n"


if __name__ == "__main__":
    sys.exit(tap.run([a_write_whose_session_cannot_be_kept_is_not_made, what_is_meant_is_said,
                      a_value_can_come_from_a_file, what_must_be_json_is, what_is_not_utf8_is_refused,
                      who_does_not_answer_is_named, a_watch_says_that_its_node_has_ended, what_is_missing_is_named,
                      numbers_are_as_people_write_them, a_revert_that_is_refused_says_only_why]))
