#!/usr/bin/env python3
"""A program that has a node inside (examples/mesh.c, libselvage-mesh) is a node like any other: with those of
`selvage mesh up`, and under the commands.

usage: test_embed.py SELVAGE      prints TAP; mesh_hello is beside it
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import types

from nodes import LOCAL, PROGRAM, SLOW, Mesh, tap, until

HELLO = os.path.join(os.path.dirname(PROGRAM), "mesh_hello")


class Example:
    """The example's process, and its key."""

    def __init__(self, folder, *args):
        self.folder = folder
        self.process = subprocess.Popen([HELLO, folder, "%s:0" % LOCAL, *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.key = self.process.stdout.readline().strip()

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=30 * SLOW)
        assert self.process.returncode == 0, (self.process.returncode, err)
        return out, err


def lives_with_other_nodes():
    with Mesh(1, ("parts:counter",)) as m:
        a = m[0]
        folder = os.path.join(m.folder.name, "inside")
        key = Example(folder)
        until(lambda: os.path.exists(os.path.join(folder, "mesh.sock")), 20, "it to be up")
        key.end()
        a.stop()
        a.members.append(types.SimpleNamespace(key=key.key))
        a.start()
        e = Example(folder, "%s@%s" % (a.key, a.address()))
        try:
            assert e.key == key.key
            until(lambda: (a.get("parts", "line-1") or 0) >= 2, 20, "its counts")
            a.put("parts", "line-1", 1000)
            at = ("--socket", os.path.join(folder, "mesh.sock"))
            until(lambda: int(a.run("mesh", "get", "parts", "line-1", *at)) > 1000, 20, "it to see another's")
            status = json.loads(a.run("mesh", "status", "--json", *at))
            assert {n["id"] for n in status["members"] if n["state"] == "alive"} == {a.id, status["node"]}, status
        finally:
            out, err = e.end()
        values = [json.loads(line) for line in out.splitlines()]
        assert values[-1]["value"] > 1000 and all(v["key"] == "line-1" for v in values), values
        assert "is alive" in err, err
        until(lambda: len(a.sees("alive")) == 1, 20, "it to be gone")


def what_is_wrong_is_said():
    with tempfile.TemporaryDirectory(prefix="selvage-embed-") as folder:
        for args, want in (((folder, "nowhere"), "nowhere"), (("/proc/none", "127.0.0.1:0"), "/proc/none")):
            p = subprocess.run([HELLO, *args], capture_output=True, text=True, timeout=30 * SLOW, check=False)
            assert p.returncode == 1 and want in p.stderr and p.stderr.count("\n") == 1, p


if __name__ == "__main__":
    sys.exit(tap.run([lives_with_other_nodes, what_is_wrong_is_said]))
