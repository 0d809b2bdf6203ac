#!/usr/bin/env python3
"""Members that must show what they run, on real processes, each with a TPM in software. A user would lose by one that
is heard without having shown it, by one that stays out though it has, and by not being told why.

usage: test_attested.py SELVAGE      prints TAP; skipped without swtpm, or where the program has no TPM
"""
import json
import os
import subprocess
import sys
import tempfile
import time

from nodes import PROGRAM, Node, end_all, tap, until

import swtpm

SPACES = ("tags:set", "conf:last:strong")
WRONG = "5e" * 32


class Machine(Node):
    """With a TPM of its own, or without one."""

    tpm = None

    def env(self):
        return {**super().env(), "SELVAGE_TPM": self.tpm.name if self.tpm else "swtpm:host=127.0.0.1,port=1"}

    def measured(self):
        """What `attest quote` of this machine says: ak, binary, policy."""
        at = os.path.join(self.home, "evidence")
        return json.loads(self.run("attest", "quote", "--nonce", "00" * 32, "-o", at, "--json"))

    def condition(self, **other):
        said = {**self.measured(), **other}
        return [x for name in ("ak", "binary", "policy") for x in ("--" + name, said[name])]


class Place:
    """A folder, an authority's key, a node that needs to show nothing, and others."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-attested-")
        self.nodes, self.tpms = [], []
        self.owner = Node(self.folder.name, "owner", SPACES)  # a home with a key: no process
        self.secret = os.path.join(self.owner.home, "keys", "device.key")
        self.first = self.node(tpm=False).start()
        self.say("admit")

    def node(self, *args, tpm=True, peers=()):
        n = Machine(self.folder.name, "n%d" % len(self.nodes), SPACES, args=["--authority", self.owner.key, *args])
        if tpm:
            n.tpm = swtpm.Tpm(self.folder.name)
            self.tpms.append(n.tpm)
        n.peers = list(peers)
        self.nodes.append(n)
        return n

    def say(self, *args, status=0):
        return self.first.run("mesh", *args, "--key", self.secret, status=status)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            end_all(self.nodes, kind is not None)
        finally:
            for tpm in self.tpms:
                tpm.stop()
            self.folder.cleanup()


def shown(at, of):
    """Whether `at` has been shown what `of` must show, and why not."""
    for a in at.status()["attested"]:
        if a["id"] == of.id:
            return a["attested"], a.get("why")
    return None, None


def joined(*nodes):
    return all(len(n.sees("alive")) == len(nodes) for n in nodes)


def who_shows_what_it_must_joins():
    with Place() as p:
        a = p.first
        good = p.node("--attest", peers=[a])
        wrong = p.node("--attest", peers=[a])
        none = p.node(tpm=False, peers=[a])
        p.say("admit", good.key, *good.condition())
        p.say("admit", wrong.key, *wrong.condition(binary=WRONG))
        p.say("admit", none.key, *good.condition())
        a.put("tags", "t", "of a")
        for n in (good, wrong, none):
            n.start()
        until(lambda: joined(a, good), 20, "the good one to join")
        until(lambda: good.get("tags", "t") == ["of a"], 10, "what was written before")
        good.put("tags", "t", "of good")
        until(lambda: a.get("tags", "t") == ["of a", "of good"], 10, "its write")
        until(lambda: shown(a, wrong)[1] == "its evidence: binary %s is not an expected one" % wrong.measured()["binary"],
              20, "a reason")
        until(lambda: "no TPM" in (shown(a, none)[1] or ""), 20, "a reason")
        assert shown(a, good) == (True, None), a.status()
        wrong.put("tags", "t", "of wrong")
        none.put("tags", "t", "of none")
        time.sleep(3)  # (that nothing happens cannot be waited for)
        for n in (a, good):
            assert n.get("tags", "t") == ["of a", "of good"] and len(n.sees("alive")) == 2, n.status()
        for n in (wrong, none):
            assert len(n.get("tags", "t")) == 1 and len(json.loads(n.run("mesh", "roster", "--json"))["members"]) == 0
        text, roster = a.run("mesh", "status"), a.run("mesh", "roster")
        assert "attested %s  yes" % good.id in text and "attested %s  no: its evidence: binary" % wrong.id in text, text
        assert "    binary  %s\n" % WRONG in roster, roster
        assert a.stderr().count("node %s is not heard: its evidence: binary" % wrong.id) == 1, a.stderr()
        p.say("admit", wrong.key, *wrong.condition())  # what it runs is right after all
        until(lambda: joined(a, good, wrong), 30, "it to join")
        until(lambda: all(n.get("tags", "t") == ["of a", "of good", "of wrong"] for n in (a, good, wrong)), 20, "its write")
        p.say("admit", none.key)  # and here it does not matter
        until(lambda: joined(a, good, wrong, none), 30, "the last")
        until(lambda: len(good.get("tags", "t")) == 4, 20, "all of them")


def it_must_be_shown_again_and_again():
    with Place() as p:
        a = p.first
        b = p.node("--attest", "--attest-every", "10s", peers=[a])
        policy = os.path.join(p.folder.name, "policy")
        with open(policy, "w") as f:
            f.write("allow: line 7\n")
        said = b.measured()
        p.say("admit", b.key, "--ak", said["ak"], "--policy", said["policy"])
        p.say("admit", p.first.key, "--any-ak")  # which has no TPM
        b.start()
        until(lambda: shown(a, b)[0], 20, "it to be heard")
        until(lambda: "no TPM" in (shown(b, a)[1] or "no"), 20, "the other not to be")
        p.say("admit", p.first.key)
        until(lambda: joined(a, b), 30, "both")
        b.kill()
        b.args += ["--policy", policy]
        b.start()
        until(lambda: "policy" in (shown(a, b)[1] or ""), 30, "the policy to be seen")
        p.tpms[0].restart()  # PCR 23 is measured anew, and the key is the same
        b.kill()
        del b.args[-2:]
        b.start()
        until(lambda: shown(a, b)[0] and joined(a, b), 40, "it to be back")
        p.tpms[0].stop()
        b.put("tags", "t", "of b")
        until(lambda: a.get("tags", "t") == ["of b"], 10, "a write")
        p.say("admit", b.key, "--ak", said["ak"])
        until(lambda: "no TPM" in (shown(a, b)[1] or ""), 30, "it to have none")
        until(lambda: "no evidence to show: TPM" in b.stderr(), 10, "a line at the node itself")
        p.tpms[0].start()


def an_invitation_may_want_it():
    with Place() as p:
        a = p.first
        a.run("mesh", "found")
        b, c = p.node("--attest"), p.node("--attest")
        for n, ok in ((b, True), (c, False)):
            line = p.say("invite", *n.condition(**({} if ok else {"binary": WRONG}))).strip()
            n.args = ["--attest", "--invitation", line]
            n.start()
            if ok:
                until(lambda: joined(a, b), 40, "it to join")
        until(lambda: "binary" in (shown(a, c)[1] or ""), 30, "the other to be refused")
        b.put("tags", "t", "of b")
        until(lambda: a.get("tags", "t") == ["of b"], 10, "a write")
        assert c.get("tags", "t") is None and len(a.sees("alive")) == 2


def what_makes_no_sense_is_refused():
    with Place() as p:
        a, b = p.first, p.node("--attest", tpm=False)
        digest = "00" * 32
        for args, says in ((["--binary", digest], "want --ak"), (["--policy", digest], "want --ak"),
                           (["--ak", "12"], "64 hexadecimal"), (["--any-ak", "--ak", digest], "does not go"),
                           (["--ak", digest] + ["--binary", digest] * 17, "more than 16")):
            said = p.say("admit", b.key, *args, status=4 if "more" in says else 2)
            assert says in said, (args, said)
        b.start(wait=False)
        assert b.process.wait(20) == 1
        b.process.stdout.close()
        b.process = None
        assert "TPM: cannot be reached" in b.stderr(), b.stderr()
        for args, says in ((["--policy", "x"], "goes with --attest"), (["--attest-every", "1s"], "10 s to 30d")):
            said = a.run("mesh", "up", "--space", "x:set", *args, status=2)
            assert says in said, said


def main():
    help_text = subprocess.run([PROGRAM, "help"], stdout=subprocess.PIPE, text=True, check=False).stdout
    if not swtpm.is_there() or "attest quote" not in help_text:
        print("1..0 # SKIP no swtpm, or a program without TPM")
        return 0
    return tap.run([who_shows_what_it_must_joins, it_must_be_shown_again_and_again, an_invitation_may_want_it,
                    what_makes_no_sense_is_refused])


if __name__ == "__main__":
    sys.exit(main())
