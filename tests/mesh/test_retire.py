#!/usr/bin/env python3
"""Writers that are over, on real processes: stores that are lost, nodes that are revoked. A user would lose what such a
writer had written, or keep for ever what it left behind.

usage: test_retire.py SELVAGE      prints TAP
"""
import contextlib
import glob
import os
import shutil
import sys
import tempfile

from nodes import Mesh, Node, end_all, tap, until

SPACES = ("hits:counter", "tags:set", "notes:doc:causal", "fund:budget", "conf:last:strong")


def has_group(nodes):
    """All know that three of them vote, so that one may be lost."""
    ids = {n.id for n in nodes}

    def well(n):
        g = n.status()["strong"]
        return g and g["leader"] and sum(m["role"] == "voter" and m["id"] in ids for m in g["members"]) >= 3
    until(lambda: all(well(n) for n in nodes), 40, "three who vote")


def founded(nodes):
    nodes[0].run("mesh", "found")
    has_group(nodes)


def files(node):
    return glob.glob(os.path.join(node.home, "**", "mesh.db*"), recursive=True)


def lose_store(node):
    """As if the disk were another."""
    node.kill()
    assert files(node)
    for path in files(node):
        os.remove(path)
    node.start()


def retired(nodes, n, seconds=40):
    """(A node that opens its store again says nothing.)"""
    def said():
        answers = [x.ask("GET", "/v1/status") for x in nodes]
        return [(s["retired"], s["over"]) if code == 200 else None for code, s in answers]
    last = []
    try:
        until(lambda: last.append(said()) or all(s == (n, []) for s in last[-1]), seconds, "%d writers to be retired" % n)
    except AssertionError:
        print("# " + repr(last[-1]))
        raise


def shows(node, space, key, value):
    """(The same.)"""
    status, said = node.ask("GET", node.path(space, key))
    return status == 200 and said["value"] == value


def writers(node, space):
    return next(s["writers"] for s in node.status()["spaces"] if s["name"] == space)


def write_all(node):
    node.put("hits", "k", 5)
    for tag in ("kept", "gone"):
        node.put("tags", "t", tag, op="add")
    node.put("notes", "n", {"by": node.name})


def begin(m):
    """A group, and what the last node wrote, at all of them."""
    m.whole()
    founded(m.nodes)
    write_all(m.nodes[-1])
    m.everywhere("hits", "k", 5)


def a_lost_store_is_retired():
    with Mesh(3, SPACES) as m:
        begin(m)
        m[0].put("hits", "k", 1)
        m.everywhere("hits", "k", 6)
        m.everywhere("notes", "n", {"by": "n2"})
        assert m[0].status()["retired"] == 0
        session = os.path.join(m.folder.name, "session")  # what it has seen is seen by who has let the writer go, and back
        assert m[2].run("mesh", "get", "hits", "k", "--session", session) == "6\n"
        lose_store(m[2])
        m.everywhere("hits", "k", 6)
        retired(m.nodes, 1)
        for node in m.nodes:
            assert node.run("mesh", "get", "hits", "k", "--session", session) == "6\n"
        m[1].put("tags", "t", "gone", op="remove")  # of what a writer wrote of whom nobody has a number any more
        m[2].put("hits", "k", 10)
        m[2].put("notes", "n", 7, op="set", pointer="/more")
        m.everywhere("hits", "k", 16)
        m.everywhere("tags", "t", ["kept"])
        m.everywhere("notes", "n", {"by": "n2", "more": 7})
        for node in m.nodes:
            until(lambda: writers(node, "hits") == 2, 5)  # noqa: B023
            assert "retired  1 writer\n" in node.run("mesh", "status")
        for node in m.nodes:  # that is remembered
            node.kill()
            node.start()
        m.whole()
        retired(m.nodes, 1)
        m.everywhere("hits", "k", 16)
        m.everywhere("tags", "t", ["kept"])
        has_group(m.nodes)
        lose_store(m[1])  # who has nothing hears all of it from those who do not know those writers
        retired(m.nodes, 2)
        m.everywhere("hits", "k", 16)
        m.everywhere("tags", "t", ["kept"])
        m.everywhere("notes", "n", {"by": "n2", "more": 7})


def who_is_away_holds_it_up():
    with Mesh(4, SPACES) as m:
        begin(m)
        m[1].stop()
        has_group([m[0], m[2], m[3]])
        lose_store(m[3])
        until(lambda: any(o["waits"] == 1 and o["waits_for"] == m[1].id for o in m[0].status()["over"]), 30,
              "it to wait for who is away")
        assert m[1].id in m[0].run("mesh", "status")
        assert m[0].status()["retired"] == 0
        m[1].start()
        retired(m.nodes, 1)
        m.everywhere("hits", "k", 5)


def what_a_revoked_node_wrote_stays():
    with contextlib.ExitStack() as end:
        folder = end.enter_context(tempfile.TemporaryDirectory(prefix="selvage-retire-"))
        owner = Node(folder, "owner", SPACES)
        secret = os.path.join(owner.home, "keys", "device.key")
        nodes = []
        for i in range(3):
            n = Node(folder, "n%d" % i, SPACES, args=["--authority", owner.key])
            n.peers = nodes[:1]
            nodes.append(n.start())
        end.push(lambda kind, *_: end_all(nodes, kind is not None))
        for n in nodes:
            nodes[0].run("mesh", "admit", *([n.key] if n is not nodes[0] else []), "--key", secret)
        until(lambda: all(len(n.sees("alive")) == 3 for n in nodes), 20, "all to see all")
        founded(nodes)
        write_all(nodes[2])
        until(lambda: all(n.get("hits", "k") == 5 for n in nodes), 20)
        nodes[0].run("mesh", "revoke", nodes[2].key, "--key", secret)
        retired(nodes[:2], 1)
        for n in nodes[:2]:
            until(lambda: writers(n, "tags") == 0, 5)  # noqa: B023
            assert n.get("hits", "k") == 5 and n.get("tags", "t") == ["gone", "kept"]
        nodes[1].put("hits", "k", 1)
        until(lambda: nodes[0].get("hits", "k") == 6, 20)
        nodes[2].put("hits", "k", 100)  # it goes on alone, and is let in again: that was written by nobody
        nodes[2].put("tags", "t", "kept", op="remove")
        nodes[0].run("mesh", "admit", nodes[2].key, "--key", secret)
        until(lambda: shows(nodes[2], "hits", "k", 6) and shows(nodes[2], "tags", "t", ["gone", "kept"]), 40,
              "what it did alone to be undone")
        nodes[2].put("hits", "k", 1)
        until(lambda: all(n.get("hits", "k") == 7 for n in nodes), 20)


def what_is_not_declared_is_left_alone():
    with Mesh(3, SPACES) as m:
        begin(m)
        m.everywhere("tags", "t", ["gone", "kept"])

        def restart(spaces):
            for node in m.nodes:
                node.stop()
                node.spaces = spaces
            for node in m.nodes:
                node.start()
            m.whole()
        restart([s for s in SPACES if s != "tags:set"])
        has_group(m.nodes)
        lose_store(m[2])
        retired(m.nodes, 1)
        restart(SPACES)
        m.everywhere("tags", "t", ["gone", "kept"])
        m.everywhere("hits", "k", 5)


def a_store_put_back_goes_on_under_another_writer():
    with Mesh(3, SPACES) as m:
        begin(m)
        m[2].stop()
        kept = os.path.join(m.folder.name, "kept")
        os.mkdir(kept)
        for path in files(m[2]):
            shutil.copy(path, kept)
        m[2].start()
        m.whole()
        lose_store(m[2])
        retired(m.nodes, 1)
        m[2].put("hits", "k", 1)
        m.everywhere("hits", "k", 6)
        m[2].stop()
        for path in files(m[2]):
            os.remove(path)
        shutil.copytree(kept, os.path.join(m[2].home, "mesh"), dirs_exist_ok=True)
        m[2].start()
        retired(m.nodes, 2)  # that of the store between; the one that was put back had been before
        m[2].put("hits", "k", 2)
        m.everywhere("hits", "k", 8)


if __name__ == "__main__":
    sys.exit(tap.run([a_lost_store_is_retired, who_is_away_holds_it_up, what_a_revoked_node_wrote_stays,
                      what_is_not_declared_is_left_alone,
                      a_store_put_back_goes_on_under_another_writer]))
