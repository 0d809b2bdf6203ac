#!/usr/bin/env python3
"""The mesh as processes on real sockets: what a user would lose is a write that he was told is written.

usage: test_mesh.py SELVAGE [--full]      prints TAP
"""
import http.client
import json
import os
import pathlib
import resource
import secrets
import subprocess
import sys
import threading
import time

from nodes import FULL, PROGRAM, SLOW, SPACES, Mesh, Node, Unix, tap, until


def three_nodes_share_what_each_writes():
    with Mesh(3) as m:
        m.whole()
        for i, node in enumerate(m.nodes):
            node.put("hits", "k", 10 + i)
            node.put("tags", "s", "t%d" % i)
        m.everywhere("hits", "k", 33)
        m.everywhere("tags", "s", ["t0", "t1", "t2"])
        m[1].put("tags", "s", "t0", op="remove")
        m.everywhere("tags", "s", ["t1", "t2"])
        m[2].put("config", "limit of \u00fc/s", "42 %")
        m.everywhere("config", "limit of \u00fc/s", "42 %")
        m[0].put("notes", "d", {"shelves": [{"name": "x"}], "open": True})
        m.everywhere("notes", "d", {"shelves": [{"name": "x"}], "open": True})
        m[1].put("notes", "d", 3, op="count", pointer="/visits")
        m[2].put("notes", "d", "y", pointer="/shelves/0/name")
        m.everywhere("notes", "d", {"shelves": [{"name": "y"}], "open": True, "visits": 3})
        m[0].put("log", "t", "hello")
        m.everywhere("log", "t", "hello")
        m[1].put("log", "t", " world", op="insert")
        m.everywhere("log", "t", "hello world")
        m[0].put("fund", "b", 100, op="mint")
        m.everywhere("fund", "b", {"left": 100, "mine": 0}, among=m.nodes[1:])
        m[0].put("fund", "b", 30)
        assert m[0].get("fund", "b") == {"left": 70, "mine": 70}
        status, said = m[1].ask("PUT", m[1].path("fund", "b"), {"value": 1})
        assert status == 409 and "may give out 0" in said["error"]["message"], said
        status, said = m[0].ask("DELETE", m[0].path("config", "limit of \u00fc/s"))
        assert status == 200, said
        m.everywhere("config", "limit of \u00fc/s", None)


def commands_read_and_write():
    with Mesh(2) as m:
        m.whole()
        a, b = m.nodes
        a.run("mesh", "put", "hits", "k", "5")
        a.run("mesh", "put", "config", "k", "007")
        m.everywhere("hits", "k", 5)
        m.everywhere("config", "k", "007")
        assert b.run("mesh", "get", "hits", "k") == "5\n"
        assert b.run("mesh", "get", "config", "k") == "007\n"
        assert json.loads(b.run("mesh", "get", "config", "k", "--json")) == {
            "space": "config", "key": "k", "type": "last", "value": "007"}
        b.run("mesh", "del", "config", "k")
        assert "no such key" in b.run("mesh", "get", "config", "k", status=1)
        assert "no such space" in b.run("mesh", "put", "nothing", "k", "1", status=1)
        assert "counter, 'add'" in b.run("mesh", "put", "hits", "k", "one", status=2)
        said = a.run("mesh", "status")
        assert a.id in said and b.id in said and "hits: counter, eventual, 1 entry" in said, said
        a.stop()
        assert "no node is up" in a.run("mesh", "get", "hits", "k", status=1)


def sketches_of_both_are_read_as_one():
    with Mesh(2, spaces=("visitors:unique", "alarms:top")) as m:
        m.whole()
        a, b = m.nodes
        for node, value in ((a, "robot-7"), (b, "robot-7"), (b, "42")):
            node.run("mesh", "put", "visitors", "today", value)
        m.everywhere("visitors", "today", 2)
        assert b.run("mesh", "get", "visitors", "today") == "2\n"
        a.run("mesh", "put", "alarms", "june", "pump 3: hot", "--n", "5")
        a.run("mesh", "put", "alarms", "june", "7")
        b.run("mesh", "put", "alarms", "june", "7", "--n", "6")
        both = [{"value": "7", "count": 7, "error": 0}, {"value": "pump 3: hot", "count": 5, "error": 0}]
        m.everywhere("alarms", "june", both)
        assert json.loads(a.run("mesh", "get", "alarms", "june")) == both
        assert "at least 1" in a.run("mesh", "put", "alarms", "june", "7", "--n", "0", status=2)
        assert "n: not known" in a.run("mesh", "put", "visitors", "today", "7", "--n", "2", status=2)
        a.run("mesh", "del", "alarms", "june")
        m.everywhere("alarms", "june", None)
        b.run("mesh", "put", "alarms", "june", "new")
        m.everywhere("alarms", "june", [{"value": "new", "count": 1, "error": 0}])


def what_is_old_goes_by_itself():
    """Also at a node that was stopped meanwhile: it does not bring back what the others no longer have."""
    with Mesh(2, spaces=("seen:set:ttl=1", "last:last:causal:ttl=1s", "kept:set:ttl=7d")) as m:
        m.whole()
        a, b = m.nodes
        assert [s.get("ttl_ms") for s in a.ask("GET", "/v1/spaces")[1]] == [1000, 1000, 7 * 86400 * 1000]
        assert "seen: set, eventual, each for 1s, 0 entries" in a.run("mesh", "status")
        a.put("kept", "k", "x")
        m.everywhere("kept", "k", ["x"])

        def written():  # (again, where the others hear of it too late)
            a.put("seen", "k", "x")
            a.put("last", "k", "y")
            return b.get("seen", "k") == ["x"] and b.get("last", "k") == "y"
        until(written, what="both at the other")
        m.everywhere("seen", "k", None)
        m.everywhere("last", "k", None)
        until(written, what="both at the other")
        a.kill()  # in whose store they are
        until(lambda: b.get("seen", "k") is None and b.get("last", "k") is None, what="them to go")
        b.put("kept", "k", "met again")
        a.start()
        m.everywhere("kept", "k", ["met again", "x"])
        until(lambda: all([s["entries"] for s in n.status()["spaces"]] == [0, 0, 2] for n in m.nodes), what="nothing")


def a_watcher_is_told_of_changes():
    with Mesh(2) as m:
        m.whole()
        p = subprocess.Popen([PROGRAM, "mesh", "watch", "hits", "--json"], stdout=subprocess.PIPE, env=m[1].env(), text=True)
        try:
            until(lambda: m[1].status() and p.poll() is None)
            got = []
            t = threading.Thread(target=lambda: got.extend(json.loads(line) for line in p.stdout))
            t.start()
            n = 0

            def told():
                nonlocal n
                n += 1
                m[0].put("hits", "k", 1)
                return any(g["key"] == "k" for g in got)
            until(told, 20, "the watcher")
            until(lambda: got[-1]["value"] == n)
        finally:
            p.terminate()
            t.join()
            p.stdout.close()
            p.wait()


def what_was_said_to_be_written_survives_kill_9():
    with Mesh(3) as m:
        m.whole()
        written = [0, 0, 0]
        stop = threading.Event()

        def writer(i):
            while not stop.is_set():
                try:
                    m[i].put("hits", "k%d" % i, 1)
                    written[i] += 1
                except (OSError, AssertionError, http.client.HTTPException, json.JSONDecodeError):  # the node was killed
                    time.sleep(0.02)
        threads = [threading.Thread(target=writer, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        for turn in range(9 if FULL else 4):
            before = sum(written)
            until(lambda: sum(written) > before + 30, 20, "writes")  # noqa: B023
            m[turn % 3].kill()
            m[turn % 3].start()
        stop.set()
        for t in threads:
            t.join()
        # (a write may have been made whose answer was lost with its node: at most one of each kill)
        def all_there():
            values = [[node.get("hits", "k%d" % i) or 0 for i in range(3)] for node in m.nodes]
            return values[0] == values[1] == values[2] and all(w <= v <= w + 9 for w, v in zip(written, values[0]))
        until(all_there, 20, "%r to be everywhere" % written)


def a_node_that_was_away_catches_up():
    with Mesh(3) as m:
        m.whole()
        m[2].stop()
        for i in range(300):
            m[i % 2].put("tags", "s%d" % (i % 50), "v%d" % i)
        m[2].start()
        want = m[0].get("tags", "s49")
        until(lambda: m[2].get("tags", "s49") == want and m[2].get("tags", "s0") == m[1].get("tags", "s0"), 20, "the rest")


def who_was_known_is_found_without_who_told_of_it():
    with Mesh(4) as m:
        m.whole()
        until(lambda: all(n.status()["remembered"] == 3 for n in m.nodes), 20, "members to be remembered")
        for node in m.nodes:  # (what a write is in one transaction with is on the disk with it)
            node.put("hits", "k", 1)
        for node in m.nodes:
            node.kill()
        rest = m.nodes[2:]
        for node in rest:
            node.start()  # its only --peer is the first, which stays away
        until(lambda: all(n.status()["connected"] == 1 for n in rest), 20, "the two to find each other")
        m[3].put("hits", "k", 1)
        m.everywhere("hits", "k", 5, among=rest)
        m[1].start()
        m[0].start()
        m.whole()


def who_comes_back_is_found_by_who_took_it_for_dead():
    """The first node is told of nobody, and is killed as soon as the others are there: it has just come to know them."""
    took = []
    while not took or (min(took) > 1.2 * SLOW and len(took) < 3):
        with Mesh(3, ("hits:counter",)) as m:
            m.whole()
            m[0].kill()
            for node in m.nodes[1:]:
                until(lambda: m[0].id in node.sees("dead"), 20, "the death to be seen")  # noqa: B023
            m[0].start()
            took.append(m.whole(10))
            m[0].put("hits", "k", 1, op="add")
            m.everywhere("hits", "k", 1)
    print("# all there again after %s s" % ", ".join("%.2f" % t for t in took))
    assert min(took) <= 1.2 * SLOW, took


def who_was_stopped_is_back_at_once():
    """Whoever of the two it is that was told of the other, and however short they ran; also when it has lost its store."""
    for k in range(2):
        with Mesh(2) as m:
            m.whole()
            m[k].stop()
            m[k].start()
            m.whole()
    with Mesh(2) as m:
        m.whole()
        m[0].stop()
        for path in pathlib.Path(m[0].home).rglob("*.db*"):
            path.unlink()
        m[0].start()
        m.whole()


def halves_of_a_split_agree_when_it_heals():
    with Mesh(4, relays=True) as m:
        m.whole(30)
        m.split((0, 1), (2, 3))
        for i, node in enumerate(m.nodes):
            node.put("hits", "k", 1)
            node.put("tags", "s", "n%d" % i)
        m.everywhere("tags", "s", ["n0", "n1"], among=m.nodes[:2])
        m.everywhere("tags", "s", ["n2", "n3"], among=m.nodes[2:])
        m.split()
        took = max(m.everywhere("hits", "k", 4, 40), m.everywhere("tags", "s", ["n0", "n1", "n2", "n3"], 40))
        print("# agreed %.1f s after the split" % took)


def who_is_far_is_found_again():
    """A round trip of 0.7 s, and each took the other for dead: what it says comes long after the handshake."""
    with Mesh(2, ("hits:counter",), relays=True) as m:
        m.whole()
        m.split((0,), (1,))
        until(lambda: m[0].id in m[1].sees("dead") and m[1].id in m[0].sees("dead"), 30, "both to be dead")
        for r in m.relays:
            r.delay = 0.35
        m.split()
        print("# found after %.1f s" % m.whole(30))


def cases():
    """What befalls datagrams on their way to and from the second node."""
    for delay in (0.001, 0.02, 0.2):
        for loss in (0, 0.01, 0.05, 0.2):
            if FULL or (delay, loss) in ((0.001, 0.2), (0.02, 0.05), (0.2, 0.01)):
                yield "%d ms, %d %% lost" % (delay * 1000, loss * 100), {"delay": delay, "loss": loss}
    yield "out of order", {"delay": 0.005, "jitter": 0.05}
    yield "doubled", {"delay": 0.005, "double": 0.5}
    yield "64 kbit/s", {"delay": 0.005, "rate": 64000}
    yield "MTU 576", {"delay": 0.005, "mtu": 576}


def whatever_befalls_datagrams():
    for name, how in cases():
        with Mesh(2, relays=True) as m:
            for r in m.relays:
                for what, value in how.items():
                    setattr(r, what, value)
            m.whole(60)
            start = time.monotonic()
            for i in range(20):
                m[i % 2].put("tags", "s", "v%02d" % i)
                m[1 - i % 2].put("hits", "k", 1)
            m[0].put("log", "t", "x" * 20000)
            m.everywhere("tags", "s", ["v%02d" % i for i in range(20)], 60)
            m.everywhere("hits", "k", 20, 60)
            until(lambda: len(m[1].get("log", "t") or "") == 20000, 60, "a long text")  # noqa: B023
            print("# %s: %.1f s" % (name, time.monotonic() - start))


def space(node, name):
    return next(s for s in node.ask("GET", "/v1/spaces")[1] if s["name"] == name)


def a_full_space_takes_no_more_and_catches_up():
    with Mesh(2, ("s:last:max=128K", "c:last:causal:max=128K")) as m:
        small, large = m[0], m[1]
        large.stop()
        large.spaces = ("s:last:max=1M", "c:last:causal")
        large.start()
        m.whole()
        for name in ("s", "c"):
            for i in range(400):
                large.put(name, "k%03d" % i, "x" * 1000)
            until(lambda: space(small, name)["full"], 20, "the space to be full")  # noqa: B023
            had = space(small, name)
            assert had["bytes"] < 1.3 * had["max"] and had["entries"] < 400, had
            status, said = small.ask("PUT", small.path(name, "new"), {"value": "y"})
            assert status == 413 and "max=" in said["error"]["message"], said
            assert not space(large, name)["full"] and large.get(name, "k399")
            small.put(name, "k000", "z" * 1000)  # no larger than what was there
            large.put(name, "k001", "z" * 1000)
            until(lambda: large.get(name, "k000") == small.get(name, "k001") == "z" * 1000, 20)  # noqa: B023
            for i in range(380):  # now there is room, and what was refused comes
                large.ask("DELETE", large.path(name, "k%03d" % i))
            until(lambda: [small.get(name, "k%03d" % i) for i in (0, 379, 380, 399)] ==
                  [None, None, "x" * 1000, "x" * 1000], 60, "the rest")  # noqa: B023
            until(lambda: not space(small, name)["full"], 20, "room")  # noqa: B023
            small.put(name, "new", "y")
        assert 'reason="full"' in metrics(small)


def who_sends_too_much_waits():
    with Mesh(2, ("s:last",), args=("--peer-rate", "256K")) as m:
        m.whole()
        begun = time.monotonic()
        for i in range(120):  # 2.4 MB: a second's at once, and what was allowed before that; then 256 KiB a second
            m[0].put("s", "k%d" % i, secrets.token_urlsafe(15000))
        until(lambda: all(m[1].get("s", "k%d" % i) for i in range(120)), 60, "all of it")
        assert time.monotonic() - begun > 3.5
        m[1].put("s", "other", "way")
        m.everywhere("s", "other", "way", 5)


def who_is_heard_by_nobody_goes_on_alone():
    with Mesh(3, relays=True) as m:
        m.whole(30)
        m.split((0, 1), (2,))
        until(lambda: m[2].status()["local_only"], 30, "being alone to be noticed")
        m[2].put("hits", "k", 7)
        assert m[2].get("hits", "k") == 7 and m[0].get("hits", "k") is None
        m.split()
        m.everywhere("hits", "k", 7, 40)
        until(lambda: not m[2].status()["local_only"], 20, "company")


def strangers_are_not_let_in():
    with Mesh(2) as m:
        m.whole()
        stranger = Node(m.folder.name, "stranger")
        stranger.peers = [m[0]]
        stranger.members = [m[1]]
        stranger.start()
        m[0].put("hits", "k", 1)
        m.everywhere("hits", "k", 1)
        until(lambda: True)
        time_is_up = time.monotonic() + 2
        while time.monotonic() < time_is_up:
            assert stranger.get("hits", "k") is None
            assert stranger.id not in m[0].sees("alive")
            time.sleep(0.1)
        stranger.stop()


def what_cannot_be_is_said_in_a_line():
    with Mesh(1) as m:
        a = m[0]
        other = Node(m.folder.name, "other")

        def fails(node, words, status, *args, spaces=("a:set",)):
            args = [*args, *(x for s in spaces for x in ("--space", s))]
            said = node.run("mesh", "up", *args, status=status)
            assert said.count("\n") == 1 and said.startswith("selvage: ") and words in said, said
        fails(other, a.listening, 1, "--listen", a.listening)
        fails(a, "another process has it open", 1, "--listen", "127.0.0.1:0", spaces=("hits:counter",))
        fails(other, "--space", 2, spaces=())
        fails(other, "no such type", 2, spaces=("a:sets",))
        for s in ("a:set:max=1K", "a:set:max=x", "a:set:max=65G"):
            fails(other, "max is 64K to 64G", 2, spaces=(s,))
        fails(other, "no history", 2, spaces=("a:set:ttl=1:history=1h",))
        fails(other, "cannot be put back", 2, spaces=("a:budget:history=1h",))
        fails(other, "size of its own", 2, spaces=("a:last:strong:max=1M",))
        for s in ("a:set:strict", "a:set:ttl=1:causal", "a:set:causal:causal", "a:set:ttl=1:ttl=2", "a:set:", "a"):
            fails(other, "NAME:TYPE", 2, spaces=(s,))
        for s in ("ttl=", "ttl=0", "ttl=1w", "ttl=-1", "ttl=s", "ttl=4000d", "ttl=99999999999999999999"):
            fails(other, "NAME:TYPE" if s == "ttl=" else "1 s to 3650d", 2, spaces=("a:set:" + s,))
        for t in ("budget", "vector", "list", "text", "doc"):
            fails(other, "fall apart", 2, spaces=("a:%s:ttl=1" % t,))
        fails(other, "leases", 2, spaces=("a:last:strong:ttl=1",))
        fails(other, "two of that name", 2, "--listen", "127.0.0.1:0", spaces=("a:set", "a:last"))
        fails(other, "64 hexadecimal", 2, "--member", "abc")
        fails(other, "KEY@HOST:PORT", 2, "--peer", "127.0.0.1:1")
        config = os.path.join(m.folder.name, "config.yaml")
        with open(config, "w") as f:
            f.write("mesh up:\n  space: [a:set]\n  lissten: [127.0.0.1:0]\n")
        said = other.run("mesh", "up", "--config", config, status=2)
        assert "lissten" in said and "line 3" in said.replace(":3:", " line 3 "), said


def a_file_says_how():
    with Mesh(1) as m:
        node = Node(m.folder.name, "filed")
        config = os.path.join(m.folder.name, "mesh.yaml")
        with open(config, "w") as f:
            f.write("mesh up:\n  name: floor\n  listen: [127.0.0.1:0]\n  space: [a:set, b:counter]\n")
        p = subprocess.Popen([PROGRAM, "mesh", "up", "--config", config, "--json"], stdout=subprocess.PIPE, env=node.env())
        try:
            node.socket = json.loads(p.stdout.readline())["socket"]
            assert node.status()["mesh"] == "floor" and [s["name"] for s in node.status()["spaces"]] == ["a", "b"]
        finally:
            p.terminate()
            p.wait()
            p.stdout.close()


def a_share_of_a_budget_is_given_to_a_node():
    with Mesh(2) as m:
        m.whole()
        a, b = m.nodes
        a.put("fund", "b", 100, op="mint")

        def give(to, n=40):
            return a.ask("PUT", a.path("fund", "b"), {"op": "give", "to": to, "value": n})
        for to, want in ((b.id, "no node that has written"), ("0" * 16, "no node"), ("f" * 16, "no node"), (a.id, "this node itself"),
                         ("x", "is to be"), (b.id[:15], "is to be")):
            status, said = give(to)
            assert status == 400 and want in said["error"]["message"], (to, status, said)
        assert a.get("fund", "b") == {"left": 100, "mine": 100}
        b.put("hits", "k", 1)  # now it has a number that it writes under, wherever
        m.everywhere("hits", "k", 1)
        a.run("mesh", "put", "fund", "b", "--op", "give", "--to", b.id, "40")
        m.everywhere("fund", "b", {"left": 100, "mine": 40}, among=[b])
        for node, mine in ((a, 60), (b, 40)):
            status, said = node.ask("PUT", node.path("fund", "b"), {"value": 61})
            assert status == 409 and "may give out %d" % mine in said["error"]["message"], (status, said)
        b.put("fund", "b", 40)
        m.everywhere("fund", "b", {"left": 60, "mine": 60}, among=[a])


def who_has_met_nobody_is_on_its_own():
    with Mesh(1) as m:
        a = m[0]
        assert not a.status()["local_only"]  # there is nobody else
        other = Node(m.folder.name, "other")
        a.stop()
        a.members = [other]
        a.start()
        assert a.status()["local_only"] and "selvage_mesh_local_only 1" in metrics(a)
        m.nodes.append(other)
        other.peers = [a]
        other.start()
        until(lambda: not any(n.status()["local_only"] for n in m.nodes), 20, "company")


def a_flag_is_one_or_the_other():
    with Mesh(1, ("on:on-wins", "off:off-wins")) as m:
        a = m[0]
        for space, begins in (("on", False), ("off", True)):
            assert a.get(space, "k") is begins  # nobody has set it
            for value in (True, False, True):
                a.put(space, "k", value)
                assert a.get(space, "k") is value
            assert a.run("mesh", "get", space, "k") == "true\n"


def a_disk_that_fails_is_said_and_outlived():
    with Mesh(2) as m:
        m.whole()
        a = m[0]
        a.put("hits", "k", 1)
        before = resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        status, said = a.ask("PUT", a.path("hits", "k"), {"value": 1})
        assert status == 503 and said["error"]["message"], (status, said)
        resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE, before)
        until(lambda: a.ask("PUT", a.path("hits", "k"), {"value": 1})[0] == 200, 20, "the store to be opened again")
        assert "the store is open again" in a.stderr(), a.stderr()
        # (the refused write may have come to be, or not)
        until(lambda: a.get("hits", "k") in (2, 3) and m[1].get("hits", "k") == a.get("hits", "k"), 20, "the other to agree")


def who_is_in_some_lists_only_is_told_of():
    """One lets in two who do not know each other: all look alive, and do not have the same."""
    with Mesh(3) as m:
        for node in m.nodes:
            node.stop()
        m[1].members, m[2].members = [m[0]], [m[0]]
        for node in m.nodes:
            node.start()
        for node in m.nodes:
            node.put("hits", "k", 1)
        m.everywhere("hits", "k", 3, among=m.nodes[:1])
        for node, other in ((m[1], m[2]), (m[2], m[1])):
            said = "node %s, whose key is in no list here" % other.id
            until(lambda: said in node.stderr(), 60, "%s to tell of %s" % (node.name, other.name))
            assert node.stderr().count(said) == 1 and node.get("hits", "k") == 2
        assert "in no list" not in m[0].stderr()


def who_has_another_name_is_not_heard():
    with Mesh(2) as m:
        m.whole()
        other = Node(m.folder.name, "other", args=["--name", "north"])
        other.members, other.peers = m.nodes, m.nodes[:1]
        m[0].stop()
        m[0].members.append(other)
        m[0].start()
        m.nodes.append(other.start())
        until(lambda: "node %s is of another mesh" % other.id in m[0].stderr(), 30, "it to be told")
        until(lambda: "node %s is of another mesh" % m[0].id in other.stderr(), 30, "the other to be told")
        m[0].put("hits", "k", 1)
        m.everywhere("hits", "k", 1, among=m.nodes[:2])
        assert other.get("hits", "k") is None and other.sees("alive") == {other.id}
        assert "odd      %s is of another mesh" % m[0].id in other.run("mesh", "status", "--socket", other.socket)


def a_peer_with_another_key_is_told_of():
    """A key that was copied wrong, or of a machine that is not there any more."""
    with Mesh(2) as m:
        m.whole()
        other = Node(m.folder.name, "other", args=["--peer", "%s@%s" % (m[1].key, m[0].address())])
        m[0].stop()
        m[0].members.append(other)
        m[0].start()
        m.nodes.append(other.start())
        until(lambda: "node %s has another key where it was looked for" % m[1].id in other.stderr(), 30, "that to be said")
        assert "odd      %s has another key where it was looked for" % m[1].id in other.run("mesh", "status", "--socket", other.socket)
        assert "another key" not in m[0].stderr() + m[1].stderr()


def spaces_that_are_declared_otherwise_are_told_of():
    with Mesh(2, SPACES + ("soon:set:ttl=12h",)) as m:
        m.whole()
        other = Node(m.folder.name, "other", ("hits:set", "tags:set:causal", "config:last:ttl=90", "notes:last:strong", "log:text",
                                                    "prats:counter", "soon:set:ttl=24h"))
        other.members, other.peers = m.nodes, m.nodes[:1]
        for node in m.nodes:
            node.stop()
            node.members.append(other)
            node.start()
        m.nodes.append(other.start())
        m.whole()

        def told(node, of, space, how):
            return "node %s has a space '%s' that is declared otherwise (%s)" % (of.id, space, how) in node.stderr()
        for space, there, here in (("hits", "set, eventual, no ttl", "counter, eventual, no ttl"),
                                   ("tags", "set, causal, no ttl", "set, eventual, no ttl"),
                                   ("soon", "set, eventual, ttl=86400s", "set, eventual, ttl=43200s")):
            until(lambda: any(told(n, other, space, there) for n in m.nodes[:2]), 60, "%s to be told" % space)
            until(lambda: any(told(other, n, space, here) for n in m.nodes[:2]), 60, "%s to be told at the other" % space)
        until(lambda: any(told(n, other, "config", "last, eventual, ttl=90s") for n in m.nodes[:2]), 60, "one with a time to live")
        until(lambda: any(told(other, n, "config", "last, eventual, no ttl") for n in m.nodes[:2]), 60, "one without")
        until(lambda: any(told(other, n, "notes", "doc, causal, no ttl") for n in m.nodes[:2]), 60, "a strong one")
        m[0].put("log", "k", "same")
        m.everywhere("log", "k", "same")
        until(lambda: "no other node that was met has a space 'prats'" in other.stderr(), 60, "it to be alone with it")
        assert other.stderr().count("no other node") == 1 and "no other node" not in m[0].stderr() + m[1].stderr()
        assert "'log'" not in "".join(n.stderr() for n in m.nodes)
        for node in m.nodes:
            assert node.stderr().count("'hits'") <= 1, node.stderr()


def metrics(node):
    c = Unix(node.socket, 30)
    c.request("GET", "/metrics")
    text = c.getresponse().read().decode()
    c.close()
    return text


def metrics_say_what_happens():
    with Mesh(2) as m:
        m.whole()
        m[0].put("hits", "k", 1)
        m.everywhere("hits", "k", 1)
        text = metrics(m[1])
        for line in ('selvage_mesh_members{state="alive"} 2', "selvage_mesh_connected 1", 'selvage_mesh_entries{space="hits"} 1',
                     'selvage_mesh_writers{space="hits"} 1', "selvage_mesh_retired 0", "selvage_mesh_over 0",
                     "# TYPE selvage_mesh_sent_bytes_total counter", "selvage_mesh_local_only 0",
                     "# TYPE selvage_mesh_health_score gauge"):
            assert line in text, (line, text)


def what_is_no_request_is_refused():
    with Mesh(1) as m:
        a = m[0]
        for method, path, body, want in (
                ("GET", "/", None, 404), ("GET", "/v1/spaces/none/keys/k", None, 404), ("POST", "/v1/spaces", {}, 405),
                ("PUT", a.path("hits", "k"), {"op": "set", "value": 1}, 400), ("PUT", a.path("hits", "k"), [1], 400),
                ("PUT", a.path("hits", "k"), {"value": 1, "ttl": 5}, 400), ("PUT", a.path("hits", "k"), {}, 400),
                ("PUT", a.path("hits", "x" * 1025), {"value": 1}, 413), ("PUT", "/v1/spaces/hits/keys/%zz", {"value": 1}, 400),
                ("PUT", a.path("notes", "d"), {"value": 1, "pointer": "x"}, 400),
                ("DELETE", a.path("fund", "b"), None, 400), ("PATCH", a.path("hits", "k"), {}, 405)):
            status, said = a.ask(method, path, body)
            assert status == want and said["error"]["message"], (method, path[:60], body, status, said)
        c = Unix(a.socket, 10)
        c.request("PUT", a.path("hits", "k"), b"{\"value\":")
        r = c.getresponse()
        assert r.status == 400, r.read()
        c.close()
        assert a.get("hits", "k") is None


if __name__ == "__main__":
    sys.exit(tap.run([three_nodes_share_what_each_writes, commands_read_and_write, sketches_of_both_are_read_as_one,
                      what_is_old_goes_by_itself, a_watcher_is_told_of_changes,
                      what_was_said_to_be_written_survives_kill_9, a_node_that_was_away_catches_up,
                      who_was_known_is_found_without_who_told_of_it, who_comes_back_is_found_by_who_took_it_for_dead,
                      who_was_stopped_is_back_at_once, halves_of_a_split_agree_when_it_heals, who_is_far_is_found_again, whatever_befalls_datagrams,
                      a_full_space_takes_no_more_and_catches_up, who_sends_too_much_waits,
                      who_is_heard_by_nobody_goes_on_alone, strangers_are_not_let_in, what_cannot_be_is_said_in_a_line,
                      a_file_says_how, a_share_of_a_budget_is_given_to_a_node, a_flag_is_one_or_the_other,
                      who_has_met_nobody_is_on_its_own, a_disk_that_fails_is_said_and_outlived,
                      who_is_in_some_lists_only_is_told_of, who_has_another_name_is_not_heard,
                      a_peer_with_another_key_is_told_of,
                      spaces_that_are_declared_otherwise_are_told_of, metrics_say_what_happens, what_is_no_request_is_refused]))
