#!/usr/bin/env python3
"""A shard of nodes as processes on this machine, real sockets, DTLS, stores on its disk: how long a write takes to
every peer, what an idle node sends, how fast a death is seen and a split heals.

usage: lan.py SELVAGE [NODES [WRITES]]      prints a table
"""
import json
import os
import select
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "mesh"))
from nodes import Mesh, Unix, until  # noqa: E402

N = int(sys.argv[2]) if len(sys.argv) > 2 else 32
WRITES = int(sys.argv[3]) if len(sys.argv) > 3 else 200


class Watcher:
    """An event stream of a node, read without waiting."""

    def __init__(self, node, space):
        self.c = Unix(node.socket, 60)
        self.c.request("GET", "/v1/spaces/%s/watch" % space)
        self.r = self.c.getresponse()
        self.c.sock.setblocking(False)
        self.fd, self.rest = self.c.sock.fileno(), b""

    def tells(self, value):
        """Whether the event of this value has come. (All share the machine's processors, so nothing is parsed: each
        value is written once.)"""
        self.rest += self.c.sock.recv(65536)
        *events, self.rest = self.rest.split(b"\n\n")
        return any(value in e for e in events)


def quantile(v, q):
    return sorted(v)[min(len(v) - 1, int(q * len(v)))]


def spread(m):
    """Milliseconds from asking for a write to when the last peer's watcher is told, and from its answer."""
    watchers = [Watcher(node, "config") for node in m.nodes[1:]]
    asked, answered = [], []
    poll = select.epoll()
    for w in watchers:
        poll.register(w.fd, select.EPOLLIN)
    of = {w.fd: w for w in watchers}
    for i in range(WRITES):
        value = "v%d" % i
        start = time.monotonic()
        m[0].put("config", "k", value)
        written = time.monotonic()
        mark, waiting = json.dumps(value).encode(), set(of)
        while waiting:
            waiting -= {fd for fd, _ in poll.poll(5) if of[fd].tells(mark)}
        now = time.monotonic()
        asked.append((now - start) * 1e3)
        answered.append((now - written) * 1e3)
    return asked, answered


def idle(m, seconds=10):
    def total():
        return sum(n.status()["bytes_sent"] for n in m.nodes)
    before, start = total(), time.monotonic()
    time.sleep(seconds)
    return (total() - before) / (time.monotonic() - start) / len(m.nodes)


def death(m):
    victim = m.nodes[-1]
    victim.kill()
    start = time.monotonic()
    until(lambda: all(victim.id in n.sees("dead") for n in m.nodes[:-1]), 30, "the death to be seen")
    took = time.monotonic() - start
    victim.start()
    m.whole(60)
    return took


def main():
    start = time.monotonic()
    with Mesh(N, ("config:last", "tags:set")) as m:
        joined = m.whole(120)
        print("%d nodes up and connected    %.1f s" % (N, time.monotonic() - start), flush=True)
        asked, answered = spread(m)
        for name, v in (("write to every peer", asked), ("  after it is on the writer's disk", answered)):
            print("%-36s median %.1f ms, p99 %.1f ms, max %.1f ms" % (name, statistics.median(v), quantile(v, 0.99), max(v)))
        print("an idle node sends                   %.2f kB/s, heads of UDP and DTLS not counted" % (idle(m) / 1e3))
        print("a killed node is dead to all after   %.2f s" % death(m))
    return joined


if __name__ == "__main__":
    main()
