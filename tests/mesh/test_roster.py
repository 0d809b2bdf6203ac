#!/usr/bin/env python3
"""Who is a member: what an authority says, on real processes. A user would lose by one who is let in and should not
be, one who is not and should, and one who is revoked and goes on.

usage: test_roster.py SELVAGE      prints TAP
"""
import json
import os
import subprocess
import sys
import tempfile
import time

from nodes import FULL, PROGRAM, Node, end_all, tap, until

SPACES = ("hits:counter", "tags:set", "conf:last:strong")


class Place:
    """A folder, an authority's key, and nodes that know nothing but that."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-roster-")
        self.nodes = []
        self.owner = Node(self.folder.name, "owner", SPACES)  # a home with a key: no process
        self.secret = os.path.join(self.owner.home, "keys", "device.key")

    def node(self, *args, peers=(), authority=True):
        n = Node(self.folder.name, "n%d" % len(self.nodes), SPACES, args=list(args))
        if authority:
            n.args += ["--authority", self.owner.key]
        n.peers = list(peers)
        self.nodes.append(n)
        return n

    def say(self, at, *args, status=0):
        return at.run("mesh", *args, "--key", self.secret, status=status)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        end_all(self.nodes, kind is not None)
        self.folder.cleanup()


def joined(*nodes):
    return all(len(n.sees("alive")) == len(nodes) for n in nodes)


def who_is_admitted_joins():
    with Place() as p:
        a = p.node().start()
        b = p.node(peers=[a]).start()
        a.put("hits", "k", 1)
        until(lambda: b.get("hits", "k") is None and len(b.sees("alive")) == 1, 10, "nothing to come of it")
        p.say(a, "admit")
        p.say(a, "admit", b.key, "--name", "pump house")
        until(lambda: joined(a, b), 20, "it to join")
        until(lambda: b.get("hits", "k") == 1, 10, "what was written before")
        assert "pump house" in b.run("mesh", "roster"), b.run("mesh", "roster")
        p.say(a, "admit", b.key)
        assert "pump house" in a.run("mesh", "roster"), "its name stays, unless another is given"
        c = p.node(peers=[b]).start()  # the first has never heard of it
        p.say(b, "admit", c.key)
        until(lambda: joined(a, b, c), 20, "the third to join")
        c.put("tags", "t", "from c")
        until(lambda: a.get("tags", "t") == ["from c"], 10, "its write")
        b.kill()  # statements are on the disk
        b.start()
        until(lambda: joined(a, b, c), 20, "it to join again")
        assert len(json.loads(b.run("mesh", "roster", "--json"))["members"]) == 3


def who_is_revoked_is_out():
    with Place() as p:
        a = p.node().start()
        nodes = [a] + [p.node(peers=[a]) for _ in range(2)]
        for n in nodes[1:]:
            p.say(a, "admit", n.key)
            n.start()
        until(lambda: joined(*nodes), 20, "all to join")
        b, c = nodes[1:]
        c.put("tags", "t", "kept")
        until(lambda: b.get("tags", "t") == ["kept"], 10, "a write of before")
        since = time.monotonic()
        p.say(b, "revoke", c.key)
        until(lambda: c.id not in a.sees("alive") | b.sees("alive") and a.status()["connected"] == b.status()["connected"] == 1,
              10, "it to be cut off")
        print("# out after %.2f s" % (time.monotonic() - since))
        c.put("tags", "t", "after")
        a.put("tags", "t", "of a")
        until(lambda: b.get("tags", "t") == ["kept", "of a"], 10, "the others to go on")
        assert c.get("tags", "t") == ["after", "kept"], c.get("tags", "t")
        a.kill()
        a.start()
        until(lambda: joined(a, b) or c.id in a.sees("removed"), 20, "the others to be two")
        assert a.get("tags", "t") == ["kept", "of a"]
        p.say(a, "admit", c.key)  # and in again, with what it wrote
        until(lambda: all(n.get("tags", "t") == ["after", "kept", "of a"] for n in nodes), 40, "it to be back")


def who_is_named_by_an_option_can_be_revoked():
    with Place() as p:
        a, b = p.node(), p.node()
        a.members, b.members = [b], [a]
        a.start()
        b.peers = [a]
        b.start()
        until(lambda: joined(a, b), 20, "both")
        p.say(a, "revoke", b.key)
        until(lambda: a.status()["connected"] == 0 and b.id in a.sees("removed"), 10, "it to be out")


def an_invitation_is_used_once():
    with Place() as p:
        a = p.node().start()
        line = p.say(a, "invite").strip()
        b = p.node("--invitation", line, authority=False).start()
        until(lambda: a.status()["strong"] is None and len(b.sees("alive")) == 1, 10, "nothing, without a group")
        a.run("mesh", "found")
        until(lambda: joined(a, b), 30, "it to join")
        assert "joined" in a.run("mesh", "roster") and ", used" in b.run("mesh", "roster")
        thief = p.node("--invitation", line, authority=False).start()
        b.put("hits", "k", 1)
        until(lambda: a.get("hits", "k") == 1, 10, "its write")
        time.sleep(3)  # (that nothing happens cannot be waited for)
        assert len(thief.sees("alive")) == 1 and thief.get("hits", "k") is None and len(a.sees("alive")) == 2
        b.kill()
        b.start()
        until(lambda: joined(a, b), 20, "it to be back")
        late = p.say(a, "invite", "--for", "1").strip()
        time.sleep(1.5)
        c = p.node("--invitation", late, authority=False).start()
        time.sleep(3)
        assert len(c.sees("alive")) == 1 and c.id not in a.sees("alive")
        other = p.node("--invitation", p.say(b, "invite", "--write", "tags/north-").strip(), authority=False).start()
        until(lambda: joined(a, b, other), 30, "the next to join")
        other.put("tags", "north-1", "x")
        until(lambda: a.get("tags", "north-1") == ["x"], 10, "what it may write")
        for space, key in (("tags", "south-1"), ("hits", "k")):
            status, said = other.ask("PUT", other.path(space, key), {"value": "x" if space == "tags" else 1})
            assert status == 403 and "may not write" in said["error"]["message"], said
        status, said = other.ask("PUT", other.path("conf", "x"), {"value": 1})
        assert status == 403 and "may not write" in said["error"]["message"], said
        assert b.ask("PUT", b.path("conf", "x"), {"value": 1})[0] == 200
        assert other.ask("GET", other.path("conf", "x"))[1]["value"] == 1


def a_space_that_is_not_there_is_noticed():
    with Place() as p:
        a = p.node().start()
        for command in ("admit", "invite"):
            said = subprocess.run([PROGRAM, "mesh", command, "--write", "tags/x", "--write", "tgas/x", "--key", p.secret],
                                  capture_output=True, text=True, timeout=60, env=a.env(), check=True).stderr
            assert "--write tgas: the node of this machine has no such space" in said and said.count("no such space") == 1, said
        assert "writes tgas/x" in a.run("mesh", "roster")  # others may have it


def an_invitation_is_revoked_by_its_line():
    with Place() as p:
        a = p.node().start()
        a.run("mesh", "found")
        said = json.loads(p.say(a, "invite", "--json", "--name", "crane 7"))
        line, key = said["invitation"], said["key"]
        over = json.loads(p.say(a, "invite", "--json", "--for", "1s"))["key"]
        rows = a.run("mesh", "roster").splitlines()
        assert "%s  invitation  crane 7" % key in rows, rows
        until(lambda: "%s  invitation, over" % over in a.run("mesh", "roster").splitlines(), 10, "that to be over")
        p.say(a, "revoke", line)
        assert any(r.startswith(key + "  revoked") for r in a.run("mesh", "roster").splitlines())
        assert line not in a.run("mesh", "roster")
        b = p.node("--invitation", line, authority=False).start()
        until(lambda: OUT in b.stderr(), 40, "it not to be let in")
        said = p.say(a, "revoke", line[:-20], status=3)
        assert said.startswith("selvage: mesh revoke: ") and said.count("\n") == 1, said


def what_is_not_signed_by_the_authority_is_refused():
    with Place() as p:
        a = p.node().start()
        assert "not signed by this mesh's authority" in a.run("mesh", "admit", p.owner.key, status=5), "its own key"
        for body, want in (({"statement": "zz"}, 400), ({"statement": "01"}, 400), ({}, 400), ({"statement": "0" * 20000}, 400)):
            status, said = a.ask("POST", "/v1/roster", body)
            assert status == want and said["error"]["message"], (body, status, said)
        for lasts in ("0", "1 h", "-1", "soon", "3651d"):
            assert "not a time as" in p.say(a, "invite", "--for", lasts, status=2), lasts
        plain = p.node(authority=False).start()
        assert "--authority" in p.say(plain, "admit", a.key, status=2)
        for line in ("selvage-invite-", "selvage-invite-AAAA", "hello", p.say(a, "invite").strip()[:-8]):
            n = p.node("--invitation", line, authority=False)
            n.start(wait=False)
            assert n.process.wait(20) != 0
            n.process.stdout.close()
            n.process = None
            assert "invitation" in n.stderr(), n.stderr()


OUT = "this node is not in the mesh: "


def who_is_not_let_in_says_so():
    """Used, expired, revoked; no group to agree; no invitation at all; nobody there. And nobody says so who is in."""
    with Place() as p:
        a, gone = p.node().start(), p.node().start()
        gone.stop()
        alone = p.node(peers=[gone]).start()
        line = p.say(a, "invite").strip()
        b = p.node("--invitation", line, authority=False).start()
        until(lambda: OUT + "members answer" in b.stderr() and "`mesh found`" in b.stderr(), 30, "no group to be said")
        a.run("mesh", "found")
        until(lambda: joined(a, b), 30, "it to join")
        until(lambda: "this node is let in" in b.stderr(), 10, "that to be said")
        used = p.node("--invitation", line, authority=False).start()
        over = p.node("--invitation", p.say(a, "invite", "--for", "1").strip(), authority=False)
        none = p.node(peers=[a])
        ends = time.time() + 1.5
        until(lambda: time.time() > ends, 10, "it to be over")
        for n in (over, none):
            n.start()
        until(lambda: OUT + "it was refused" in used.stderr() and "invitation was used" in used.stderr(), 40, "a used one")
        until(lambda: OUT + "it was refused" in over.stderr(), 40, "one that is over")
        until(lambda: OUT + "it was refused" in none.stderr() and none.key + " is not let in" in none.stderr(), 40, "a stranger")
        assert "its key" in none.status()["outside"], none.status()
        assert "\noutside  it was refused" in none.run("mesh", "status"), none.run("mesh", "status")
        assert "outside" not in a.status() and "outside" not in b.status()
        until(lambda: "no member lets it in, or none can be reached" in alone.stderr(), 40, "nobody")
        out = [b, used, over, none, alone]
        if FULL:
            p.say(a, "invite")  # while one is open, strangers are guests
            out.append(p.node("--invitation", line, authority=False).start())
            until(lambda: OUT + "members answer" in out[-1].stderr(), 40, "a guest")
        p.say(a, "admit", none.key)
        until(lambda: joined(a, b, none) and "this node is let in" in none.stderr(), 60, "it to be let in")
        assert "outside" not in none.status()
        for n in out:
            assert n.stderr().count(OUT) == 1, n.stderr()
        assert OUT not in a.stderr(), a.stderr()


def what_cannot_be_is_refused():
    with Place() as p:
        a = p.node().start()
        line = p.say(a, "invite").strip()
        for args, want in ((("--advertise", "foo"), "--advertise foo: not ADDRESS:PORT"),
                           (("--advertise", "10.0.0.1"), "not ADDRESS:PORT"),
                           (("--advertise", "10.0.0.1:0"), "not ADDRESS:PORT"),
                           (("--advertise", "name.test:7420"), "in numbers"),
                           (("--peer", a.key + "@name.test"), "not HOST:PORT"),
                           (("--peer", a.key + "@name.test:http"), "not HOST:PORT"),
                           (("--space", "pa rts:counter"), "--space pa rts:counter: a name has letters"),
                           (("--space", "pa/rts:counter"), "a name has letters"),
                           (("--space", "t\u00e4gs:set"), "a name has letters"),
                           (("--invitation", line, "--name", "other"), "--name other: the invitation is to mesh 'mesh'")):
            said = p.owner.run("mesh", "up", "--space", "Hits-1_a.b:counter", "--listen", "127.0.0.1:0", *args, status=2)
            assert want in said and said.count("\n") == 1, (args, said)
        b = p.node("--invitation", line, "--name", "mesh", authority=False).start()
        b.stop()


if __name__ == "__main__":
    sys.exit(tap.run([who_is_admitted_joins, who_is_revoked_is_out, who_is_named_by_an_option_can_be_revoked,
                      an_invitation_is_used_once, a_space_that_is_not_there_is_noticed, an_invitation_is_revoked_by_its_line,
                      what_is_not_signed_by_the_authority_is_refused,
                      who_is_not_let_in_says_so, what_cannot_be_is_refused]))
