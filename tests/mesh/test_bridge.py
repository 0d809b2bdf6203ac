#!/usr/bin/env python3
"""Zones on real processes: a user would lose by a sum that does not arrive above, a wrong value that does, an alarm
that nobody hears, and a zone that nobody speaks for.

usage: test_bridge.py SELVAGE      prints TAP
"""
import json
import os
import signal
import subprocess
import sys
import threading

from nodes import PROGRAM, SLOW, Mesh, tap, until

ZONE = ("parts:counter", "state:last", "settings:last", "recipes:doc", "conf:last:strong")
UPPER = ("parts:doc", "state:last", "settings:last", "recipes:doc", "board:last:strong", "hits:counter")


class Bridge:
    """A process; what it says is read by a thread."""

    def __init__(self, low, high, name, *rules):
        self.args = [PROGRAM, "mesh", "bridge", "--json", "--from", low.socket, "--to", high.socket, "--as", name, *rules]
        self.log = os.path.join(low.home, "bridge-%s.log" % name)
        self.start()

    def start(self):
        self.events = []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=log, text=True)
        self.reader = threading.Thread(target=self.read, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        return self

    def read(self, out):
        for line in out:
            self.events.append(json.loads(line))

    def said(self, event, **more):
        return [e for e in list(self.events) if e["event"] == event and all(e.get(k) == v for k, v in more.items())]

    def rule(self, kind):
        status = self.said("status")
        return next((r for r in status[-1]["rules"] if r["kind"] == kind), None) if status else None

    def stderr(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        got = self.process.wait(20 * SLOW)
        self.reader.join()
        self.process.stdout.close()
        assert "Sanitizer" not in self.stderr() and "runtime error" not in self.stderr(), self.stderr()[-20000:]
        assert got == (-how if how == signal.SIGKILL else 0), (got, self.stderr()[-3000:])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None and self.process.poll() is None:
            self.end()
        elif self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print("# bridge: %s\n# %s" % (self.stderr()[-1500:].replace("\n", "\n# "), self.events[-6:]))


def zone(name, n=2):
    return Mesh(n, ZONE, args=("--name", name))


def upper(n=2):
    return Mesh(n, UPPER, args=("--name", "plant"))


def above(node, space, key):
    """A summary's value, how many keys it comes of, and why it is held."""
    v = node.get(space, key)
    return v and (v["value"], v["keys"], v.get("held"))


def sums_arrive_and_a_wrong_value_stays_in_its_zone():
    with zone("north") as north, zone("south") as south, upper() as top:
        for m in (north, south, top):
            m.whole()
        bounds = ":min=0,max=10000,every=50ms"
        with Bridge(north[1], top[0], "north", "--sum", "parts" + bounds, "--max", "parts:every=50ms") as a, \
                Bridge(south[0], top[1], "south", "--sum", "parts" + bounds) as b:
            north[0].put("parts", "line-1", 20)
            north[1].put("parts", "line-2", 21)
            south[1].put("parts", "line-1", 7)
            for n in top.nodes:  # both nodes have what either bridge was told
                until(lambda: above(n, "parts", "north/parts") == (41, 2, None), 20, "north's sum")  # noqa: B023
                until(lambda: above(n, "parts", "north/parts:max") == (21, 2, None), 20, "its largest")  # noqa: B023
                until(lambda: above(n, "parts", "south/parts") == (7, 1, None), 20, "south's sum")  # noqa: B023
            north[0].put("parts", "line-2", 10 ** 12)
            until(lambda: a.said("alarm", key="north/parts", why="max"), 20, "the alarm")
            for n in top.nodes:
                until(lambda: above(n, "parts", "north/parts") == (41, 2, "max"), 20, "it to be held")  # noqa: B023
            assert a.said("alarm")[0]["value"] == 10 ** 12 + 41, a.said("alarm")
            assert all(above(n, "parts", "south/parts") == (7, 1, None) for n in top.nodes)
            south[0].put("parts", "line-3", 1)
            until(lambda: above(top[0], "parts", "south/parts") == (8, 2, None), 20, "the other zone to go on")
            assert not b.said("alarm"), b.events
            assert "is above 10000" in a.stderr() and above(top[0], "parts", "north/parts") == (41, 2, "max")
            until(lambda: (a.rule("sum")["held"], a.rule("sum")["alarms"]) == ("max", 1), 20, "the status to say so")
            north[1].put("parts", "line-2", -(10 ** 12))
            until(lambda: above(top[1], "parts", "north/parts") == (41, 2, None), 20, "it to go on")
            until(lambda: a.said("clear", key="north/parts"), 20, "the end of the alarm")
            north[1].ask("DELETE", north[1].path("parts", "line-2"))
            until(lambda: above(top[1], "parts", "north/parts") == (20, 1, None), 20, "a key that goes to be seen")


def copies_go_up_and_settings_down():
    with zone("north") as north, upper() as top:
        north.whole(), top.whole()
        top[0].put("settings", "line/speed", "80 %")
        top[0].put("settings", "else", "not for lines")
        north[0].put("state", "pump", "hot")
        north[0].put("recipes", "bread", {"b": [1, {"c": None}], "a": "x"})
        rules = ("--copy", "state:every=50ms", "--copy", "recipes:every=50ms", "--count", "state:every=50ms,to=board",
                 "--down", "settings/line/:every=50ms")
        with Bridge(north[0], top[0], "north", *rules) as b:
            until(lambda: top[1].get("state", "north/pump") == "hot", 20, "a copy")
            until(lambda: top[1].get("recipes", "north/bread") == {"a": "x", "b": [1, {"c": None}]}, 20, "a copied doc")
            until(lambda: north[1].get("settings", "line/speed") == "80 %", 20, "a setting")
            assert north[0].get("settings", "else") is None
            until(lambda: b.said("alarm", why="unanswered"), 20, "a space without a group to be said")
            assert not b.said("down") and not b.rule("count")["written"]
            top[0].run("mesh", "found")
            until(lambda: above(top[0], "board", "north/state:count") == (1, 1, None), 30, "the group to be there")
            top[1].put("settings", "line/speed", "70 %")
            until(lambda: north[1].get("settings", "line/speed") == "70 %", 20, "the setting to change")
            top[1].ask("DELETE", top[1].path("settings", "line/speed"))
            until(lambda: north[1].get("settings", "line/speed") is None, 20, "the setting to go")
            north[1].put("state", "valve", "")
            until(lambda: top[1].get("state", "north/valve") == "", 20, "an empty text")
            b.end(signal.SIGKILL)
            for key in ("pump", "valve"):
                north[1].ask("DELETE", north[1].path("state", key))
            north[1].put("state", "lamp", "on")
            until(lambda: north[0].get("state", "lamp") == "on" and north[0].get("state", "valve") is None, 20, "the other node")
            b.start()
            until(lambda: top[1].get("state", "north/lamp") == "on", 20, "what is new")
            until(lambda: top[1].get("state", "north/pump") is None is top[1].get("state", "north/valve"), 20, "what went")
            until(lambda: b.rule("copy"), 20, "it to say so")
            assert not b.said("written", space="recipes"), "it was the same"


def locked(m, key="conf/bridge"):
    status, said = m.ask("GET", m.path(*key.split("/")) + "?read=local")
    return said["value"] if status == 200 else None


def another_one_takes_over():
    with zone("north") as north, upper(1) as top:
        north.whole()
        north[0].run("mesh", "found")
        until(lambda: north[0].status()["strong"] and len(north[0].status()["strong"]["members"]) == 2, 30, "the group")
        rules = ("--sum", "parts:every=50ms", "--lock", "conf/bridge", "--ttl", "3")
        with Bridge(north[0], top[0], "north", *rules) as a:
            until(lambda: a.said("active"), 20, "the first")
            north[0].put("parts", "x", 1)
            until(lambda: above(top[0], "parts", "north/parts") == (1, 1, None), 20, "its sum")
            first = top[0].get("parts", "north/parts")["token"]
            with Bridge(north[1], top[0], "north", *rules) as b:
                until(lambda: b.said("status") and b.rule("sum")["known"], 20, "the second to know all")
                until(lambda: locked(north[1]) == "bridge north", 20, "it to see who has the lock")
                assert not b.said("active")
                a.end(signal.SIGKILL)
                took = until(lambda: b.said("active"), 20, "the second to take over")
                print("# took over after %.1f s" % took)
                assert took < 3 * 2 * SLOW and not b.said("written")
                north[1].put("parts", "x", 1)
                until(lambda: above(top[0], "parts", "north/parts") == (2, 1, None), 20, "the second's sum")
                assert top[0].get("parts", "north/parts")["token"] > first
                # what one with a later token has written is left alone
                top[0].put("parts", "north/parts", {"value": 77, "keys": 1, "token": 10 ** 9})
                north[1].put("parts", "x", 1)
                until(lambda: b.said("alarm", why="token"), 20, "it to see that")
                assert above(top[0], "parts", "north/parts") == (77, 1, None)
                a.start()
                until(lambda: a.said("status") and a.rule("sum")["known"], 20, "the first to be back")
                b.end()
                until(lambda: a.said("active"), 20, "it to take over from one that ends")


def the_lock_is_lost_with_its_group():
    with zone("north", 3) as north, upper(1) as top:
        north.whole()
        north[0].run("mesh", "found")

        def three():
            return [m["role"] for m in north[0].status()["strong"]["members"]].count("voter") == 3
        until(three, 40, "three to vote")
        with Bridge(north[0], top[0], "north", "--sum", "parts:every=50ms", "--lock", "conf/bridge", "--ttl", "2") as b:
            until(lambda: b.said("active"), 20, "it to be active")
            north[1].kill(), north[2].kill()
            until(lambda: b.said("standby"), 20, "it to stand by")
            north[0].put("parts", "x", 5)
            north[1].start()
            until(lambda: len(b.said("active")) == 2, 30, "it to be active again")
            until(lambda: above(top[0], "parts", "north/parts") == (5, 1, None), 20, "what changed meanwhile")
            north[2].start()


def nodes_go_away_and_come_back():
    with zone("north", 1) as north, upper() as top:
        top.whole()
        with Bridge(north[0], top[0], "north", "--sum", "parts:every=50ms,max=100") as b:
            north[0].put("parts", "x", 1)
            until(lambda: above(top[1], "parts", "north/parts") == (1, 1, None), 20, "the sum")
            top[0].kill()
            north[0].put("parts", "x", 1)
            until(lambda: b.said("down", side="to"), 20, "it to be missed")
            north[0].put("parts", "x", 1000)
            until(lambda: b.said("alarm", why="max"), 20, "an alarm while the upper mesh is away")
            north[0].put("parts", "x", -1000)
            top[0].start()
            until(lambda: above(top[1], "parts", "north/parts") == (2, 1, None), 30, "it to go on")
            until(lambda: b.said("up", side="to"), 20, "that to be said")
            north[0].kill()
            until(lambda: b.said("down", side="from"), 20, "the zone's node to be missed")
            north[0].start()
            north[0].put("parts", "y", 3)
            until(lambda: above(top[1], "parts", "north/parts") == (5, 2, None), 30, "the zone to be back")
            assert len(b.said("down", side="to")) == 1 and len(b.said("down", side="from")) == 1, b.events
            # a node that hangs costs a second, and what it missed is written when it goes on
            top[0].process.send_signal(signal.SIGSTOP)
            try:
                north[0].put("parts", "y", 1)
                until(lambda: len(b.said("down", side="to")) == 2, 20, "a node that hangs to be missed")
            finally:
                top[0].process.send_signal(signal.SIGCONT)
            until(lambda: above(top[1], "parts", "north/parts") == (6, 2, None), 30, "it to go on")
        assert "Traceback" not in b.stderr()


def values_that_nobody_meant():
    with zone("north", 1) as north, upper(1) as top:
        n, t = north[0], top[0]
        for i in range(30):
            n.put("state", "k%d" % i, "1")
        deep = "x"
        for _ in range(40):
            deep = [deep]
        n.put("recipes", "deep", deep)
        n.put("recipes", "long", "x" * 70000)
        n.put("recipes", "fine", 1)
        n.put("recipes", "a key/with ü%25 and more", 2)
        rules = ("--sum", "state/k:every=50ms,keys=30,to=parts", "--copy", "recipes:every=50ms", "--copy", "state/n:every=50ms,step=5")
        with Bridge(n, t, "north", *rules) as b:
            until(lambda: above(t, "parts", "north/state/k") == (30, 30, None), 20, "a sum of texts")
            until(lambda: t.get("recipes", "north/a key/with ü%25 and more") == 2 and t.get("recipes", "north/fine") == 1, 20, "what is fine")
            until(lambda: len(b.said("alarm", why="size")) == 2, 20, "two alarms")
            assert t.get("recipes", "north/deep") is None is t.get("recipes", "north/long")
            n.put("state", "k30", "1")
            until(lambda: above(t, "parts", "north/state/k") == (30, 30, "keys"), 20, "too many keys to be held")
            n.ask("DELETE", n.path("state", "k30"))
            n.put("state", "k0", "nan")
            until(lambda: above(t, "parts", "north/state/k") == (30, 30, "number"), 30, "what is no number to be held")
            n.put("state", "k0", "2.5")
            until(lambda: above(t, "parts", "north/state/k") == (31.5, 30, None), 20, "it to go on")
            n.put("state", "n", "10")
            until(lambda: t.get("state", "north/n") == "10", 20, "the first")
            n.put("state", "n", "16")
            until(lambda: b.said("alarm", why="step"), 20, "a jump to be held")
            n.put("state", "n", "14")
            until(lambda: t.get("state", "north/n") == "14", 20, "a step to pass")


def who_waits_for_the_lock_says_so():
    with zone("north") as north, upper(1) as top:
        north.whole()
        rules = ("--sum", "parts:every=50ms", "--lock", "conf/bridge", "--ttl", "2")
        waits = "waits for the lock conf/bridge: "
        with Bridge(north[0], top[0], "north", *rules) as a:
            until(lambda: waits in a.stderr(), 20, "it to say that there is no group")
            assert "nobody leads the group" in a.stderr(), a.stderr()
            north[0].run("mesh", "found")
            until(lambda: "active: it has the zone's lock" in a.stderr(), 30, "the first to have it")
            with Bridge(north[1], top[0], "north", *rules) as b:
                until(lambda: waits + "bridge north has it" in b.stderr(), 20, "the other to say who has it")
                a.end()
                until(lambda: "active: it has the zone's lock" in b.stderr(), 30, "the other to have it")
                assert b.stderr().count("has it\n") == 1, b.stderr()
            assert a.stderr().count(waits) == 1, a.stderr()


def what_cannot_be_is_refused():
    with zone("north", 1) as north, upper(1) as top:
        n, t = north[0].socket, top[0].socket
        ways = ("--from", n, "--to", t, "--as", "north")
        for args, want in (((*ways, "--sum", "parts:to=hits"), "must be doc or last"),
                           ((*ways, "--sum", "nothing"), "has no space 'nothing'"),
                           ((*ways, "--sum", "parts:to=nothing"), "has no space 'nothing'"),
                           ((*ways, "--sum", "parts:max=x"), "no number"),
                           ((*ways, "--sum", "parts:min=2,max=1"), "min is above max"),
                           ((*ways, "--copy", "state", "--down", "state/x"), "would go up again"),
                           ((*ways, "--copy", "state", "--sum", "parts:to=state"), "the same keys"),
                           ((*ways,), "1 to 64 rules"),
                           ((*ways, "--sum", "parts", "--lock", "conf"), "not SPACE/KEY"),
                           ((*ways, "--sum", "parts", "--lock", "state/x"), "'state' is no strong space"),
                           ((*ways, "--sum", "parts", "--lock", "board/x"), "the zone's node has no space 'board'"),
                           (("--from", n, "--to", n, "--as", "north", "--copy", "state"), "a zone has a name of its own"),
                           (("--from", n, "--to", t, "--as", "a/b", "--sum", "parts"), "a zone's name"),
                           (("--from", n, "--as", "north", "--sum", "parts"), "--to must be said")):
            said = north[0].run("mesh", "bridge", *args, status=2)
            assert want in said and said.count("\n") == 1, (args, said)
        path = os.path.join(north[0].home, "bridge.yaml")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"mesh bridge": {"from": n, "to": t, "as": "north", "sum": ["parts:to=hits"]}}, f)
        assert "must be doc or last" in north[0].run("mesh", "bridge", "--config", path, status=2)


if __name__ == "__main__":
    sys.exit(tap.run([sums_arrive_and_a_wrong_value_stays_in_its_zone, copies_go_up_and_settings_down,
                      another_one_takes_over, the_lock_is_lost_with_its_group, nodes_go_away_and_come_back,
                      values_that_nobody_meant, who_waits_for_the_lock_says_so, what_cannot_be_is_refused]))
