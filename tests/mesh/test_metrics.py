#!/usr/bin/env python3
"""What a node measures, on real processes: what an operator would lose is a mesh that is late, or loses choices, and
does not say so.

usage: test_metrics.py SELVAGE      prints TAP
"""
import os
import re
import shutil
import subprocess
import sys
import time

from nodes import Mesh, Node, Unix, tap, until

SPACES = ("config:last", "both:many", "lamp:on-wins", "tags:set", "hits:counter", "notes:doc", "conf:last:strong")


def page(node):
    c = Unix(node.socket, 30)
    try:
        c.request("GET", "/metrics")
        return c.getresponse().read().decode()
    finally:
        c.close()


def metrics(node):
    """{'name{labels}': value}"""
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{.*\})?) (\S+)$", page(node), re.M)}


def conflicts(node):
    return {s: int(v) for k, v in metrics(node).items() for s in re.findall(r'^selvage_mesh_conflicts_total\{space="(.*)"', k)}


def how_late_a_write_is():
    with Mesh(2, SPACES, relays=True) as m:
        for r in m.relays:
            r.delay = 0.2
        m.whole(40)
        for i in range(5):
            m[0].put("config", "k", "v%d" % i)
            m.everywhere("config", "k", "v%d" % i)
        own, other = metrics(m[0]), metrics(m[1])
        name = "selvage_mesh_staleness_seconds"
        assert not own.get(name + '_count{space="config"}'), "a node's own writes are not late"
        assert other[name + '_count{space="config"}'] == 5, other
        assert other[name + '_bucket{space="config",le="0.1"}'] == 0, other
        assert 1.0 <= other[name + '_sum{space="config"}'] < 10, other
        assert not other.get(name + '_count{space="tags"}'), other
        # A clock that is behind the writer's makes no time below 0.
        assert all(v >= 0 for v in other.values()), other


def what_is_repaired_goes_packed():
    """A hundred documents of one half: fewer bytes than they have, on the wire as well."""
    with Mesh(2, SPACES, relays=True) as m:
        m.whole(40)
        a, b = m.nodes
        m.split((0,), (1,))
        until(lambda: all(n.status()["connected"] == 0 for n in m.nodes), 40, "both to be alone")
        before = metrics(a)
        for i in range(100):
            a.put("notes", "ticket-%d" % i, {"title": "inspection of pump %d" % i, "state": "open", "at": "2026-11-29T12:00:00Z",
                                             "parts": ["seal", "bearing"], "visits": i, "by": "n0"})
        m.split()
        m.everywhere("notes", "ticket-99", a.get("notes", "ticket-99"), 40)
        m.everywhere("notes", "ticket-0", a.get("notes", "ticket-0"), 40)
        after = metrics(a)
        plain, packed, sent = (after[k] - before[k] for k in ("selvage_mesh_plain_bytes_total", "selvage_mesh_packed_bytes_total",
                                                              "selvage_mesh_sent_bytes_total"))
        assert plain > 20000, plain
        assert 0 < packed < 0.6 * plain, (packed, plain)
        assert sent < plain, (sent, plain)
        assert metrics(b)["selvage_mesh_refused_total"] == 0, metrics(b)


def what_was_lost_to_another_choice():
    with Mesh(2, SPACES, relays=True) as m:
        m.whole(40)
        a, b = m.nodes
        a.put("notes", "d", {"x": 1, "o": {}})
        m.everywhere("notes", "d", {"x": 1, "o": {}})
        for i in range(3):  # one after the other is no conflict
            m[i % 2].put("config", "k", "v%d" % i)
            m.everywhere("config", "k", "v%d" % i)
        assert not any(conflicts(n)[s] for n in m.nodes for s in conflicts(n)), conflicts(a)
        m.split((0,), (1,))
        for node in m.nodes:
            node.put("config", "k", node.name)
            node.put("config", node.name, "another key")
            node.put("both", "k", node.name)
            node.put("lamp", "k", True)
            node.put("tags", "k", "t")
            node.put("hits", "k", 1)
            node.put("notes", "d", node.name, pointer="/x")
            node.put("notes", "d", node.name, pointer="/o/" + node.name)
            node.put("notes", "d", 1, op="count", pointer="/visits")
            node.put("notes", "d", {}, pointer="/same")
        until(lambda: all(n.status()["connected"] == 0 for n in m.nodes), 40, "both to be alone")
        m.split()
        m.everywhere("hits", "k", 2, 40)
        until(lambda: all(sorted(n.get("both", "k")) == ["n0", "n1"] for n in m.nodes), 40, "both choices")
        until(lambda: a.get("notes", "d") == b.get("notes", "d") and a.get("config", "k") == b.get("config", "k"), 40,
              "the same choices")
        for node in m.nodes:
            assert conflicts(node) == {"config": 1, "both": 1, "lamp": 1, "tags": 0, "hits": 0, "notes": 1}, conflicts(node)


def how_long_and_how_much_until_all_agree():
    with Mesh(2, SPACES, relays=True) as m:
        m.whole(40)
        m[0].put("hits", "k", 1)
        m.everywhere("hits", "k", 1)
        differed = "selvage_mesh_convergence_seconds"
        before = [metrics(n)[differed + "_sum"] for n in m.nodes]
        m.split((0,), (1,))
        until(lambda: all(n.status()["connected"] == 0 for n in m.nodes), 40, "both to be alone")
        start = time.monotonic()
        for i in range(200):
            m[0].put("tags", "k%d" % i, "v" * 100)
        m.split()
        m.everywhere("tags", "k199", ["v" * 100], 60)
        until(lambda: any(metrics(n)[differed + "_sum"] > s for n, s in zip(m.nodes, before)), 30, "sums to be equal again")
        took = time.monotonic() - start
        got = [metrics(n) for n in m.nodes]
        assert all(g[differed + "_sum"] - s < took for g, s in zip(got, before)), (got, took)
        rounds = sum(g["selvage_mesh_round_bytes_count"] for g in got)
        sent = sum(g["selvage_mesh_round_bytes_sum"] for g in got)
        assert rounds >= 1 and sent > 200 * 100, (rounds, sent)
        assert sent < sum(g["selvage_mesh_sent_bytes_total"] + g["selvage_mesh_received_bytes_total"] for g in got)


def how_long_the_group_takes():
    with Mesh(3, SPACES) as m:
        m.whole()
        m[0].run("mesh", "found")

        def votes():
            groups = [n.status()["strong"] for n in m.nodes]
            return all(g and sum(x["role"] == "voter" for x in g["members"]) == 3 for g in groups)
        until(votes, 30, "three to vote")
        leader = next(n for n in m.nodes if n.id == m[0].status()["strong"]["leader"])
        other = next(n for n in m.nodes if n is not leader)
        name = "selvage_mesh_strong_commit_seconds"
        before = metrics(leader)[name + "_count"]
        for _ in range(7):
            status, said = leader.ask("PUT", leader.path("conf", "k"), {"value": 1})
            assert status == 200, said
        assert leader.ask("GET", leader.path("conf", "k"))[0] == 200
        assert other.ask("PUT", other.path("conf", "k"), {"value": 2})[0] == 200
        got = metrics(leader)
        assert got[name + "_count"] == before + 7 and 0 < got[name + "_sum"] < 30, got
        assert metrics(other)[name + "_count"] == 0
        assert got["selvage_mesh_strong_term"] >= 1 and got["selvage_mesh_strong_leads"] == 1


def who_is_connected():
    with Mesh(3, SPACES) as m:
        m.whole()
        said = m[0].status()
        assert {(x["id"], x["connected"]) for x in said["members"]} == {(n.id, n is not m[0]) for n in m.nodes}, said
        m[2].kill()
        until(lambda: {x["id"] for x in m[0].status()["members"] if x["connected"]} == {m[1].id}, 30, "the dead one to be gone")


def a_key_on_two_machines():
    """As after a disk was copied: each takes the other's place at the third, and of all that nothing fails."""
    with Mesh(3, SPACES) as m:
        m.whole()
        a, b, c = m.nodes
        b.stop(), b.start()  # a process of one machine after another of it is none
        m.whole()
        copy = Node(m.folder.name, "copy", SPACES)
        b.stop()
        shutil.rmtree(copy.home)
        shutil.copytree(b.home, copy.home)  # as of a disk that is copied whole
        b.start()
        m.whole()
        assert a.status()["odd"] == [] and metrics(a)['selvage_mesh_odd_total{what="twin"}'] == 0
        copy.members, copy.peers = [a, c], [a]
        m.nodes.append(copy.start())
        until(lambda: [(o["what"], o["node"]) for o in a.status()["odd"]] == [("twin", b.id)], 120, "the third to see two")
        assert "\nodd      %s has a key that two machines have" % b.id in a.run("mesh", "status"), a.run("mesh", "status")
        assert a.stderr().count("node %s has a key that two machines have" % b.id) == 1, a.stderr()
        got = metrics(a)
        assert got['selvage_mesh_odd_total{what="twin"}'] >= 1 and got["selvage_mesh_outside"] == 0, got
        alive = a.stderr().count("node %s is alive" % b.id)  # (they go on: the log does not)
        twice = got['selvage_mesh_odd_total{what="twin"}'] + 2
        until(lambda: metrics(a)['selvage_mesh_odd_total{what="twin"}'] >= twice, 120, "them to be seen again")
        assert a.stderr().count("node %s is alive" % b.id) == alive, a.stderr()
        said = "node %s says that another machine has this node's key" % a.id
        until(lambda: all(said in n.stderr() for n in (b, copy)), 60, "both to be told")
        assert all(n.stderr().count(said) == 1 for n in (b, copy))


def prometheus_takes_it():
    with Mesh(2, SPACES) as m:
        m.whole()
        m[0].put("config", "k", "v")
        m.everywhere("config", "k", "v")
        text = page(m[1])
        for line in ('selvage_mesh_members{state="suspect"} 0', 'selvage_mesh_dropped_total{space="config",reason="forged"} 0',
                     'selvage_mesh_late_total{space="config"} 0', 'selvage_mesh_conflicts_total{space="notes"} 0',
                     "# TYPE selvage_mesh_staleness_seconds histogram", "selvage_mesh_convergence_seconds_bucket{le=\"+Inf\"}"):
            assert line in text, (line, text)
        if not shutil.which("promtool"):
            return tap.skip("no promtool")
        p = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert p.returncode == 0 and not p.stdout + p.stderr, p.stdout + p.stderr
        return None


if __name__ == "__main__":
    sys.exit(tap.run([how_late_a_write_is, what_is_repaired_goes_packed, what_was_lost_to_another_choice,
                      how_long_and_how_much_until_all_agree, how_long_the_group_takes, who_is_connected, a_key_on_two_machines,
                      prometheus_takes_it]))
