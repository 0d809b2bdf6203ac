#!/usr/bin/env python3
"""The mesh's transport between processes in network namespaces: over networks that let little through, and that
change under them.

usage: test_transport.py TRANSPORT_NODE     prints TAP; who may not make namespaces skips it
"""
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time

import tap

NODE = os.path.abspath(sys.argv[1])
PATIENCE = 60
MARK = "slvt%d" % os.getpid()


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True)


class Net:
    """Namespaces, and cables between them; gone at the end."""

    def __init__(self, *names):
        self.names = names
        self.cables = 0
        for name in names:
            run("ip", "netns", "add", MARK + name)
            self.ip(name, "link", "set", "lo", "up")

    def ip(self, name, *command):
        return run("ip", "-n", MARK + name, *command)

    def inside(self, name, *command):
        return run("ip", "netns", "exec", MARK + name, *command)

    def cable(self, a, address_a, b, address_b, mtu=1500):
        self.cables += 1
        ends = ["eth%d" % self.cables, "eth%dx" % self.cables]
        self.ip(a, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", MARK + b)
        for name, end, address in (a, ends[0], address_a), (b, ends[1], address_b):
            self.ip(name, "addr", "add", address + "/24", "dev", end)
            self.ip(name, "link", "set", end, "mtu", str(mtu), "up")
        return ends

    def node(self, name, *args):
        return Process("ip", "netns", "exec", MARK + name, NODE, *map(str, args))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", MARK + name], capture_output=True)


class Process:
    """Its lines as they come, and what it is told."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()
        self.port = int(self.wait_for(r"^listening .*:(\d+)$").group(1))

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def wait_for(self, pattern, patience=PATIENCE):
        end = time.monotonic() + patience
        while True:
            line = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            assert line is not None, "ended without %r: %r" % (pattern, self.seen[-20:])
            self.seen.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def count(self):
        self.tell("count")
        found = self.wait_for(r"^count (\d+) lost (\d+) relayed (\d+) moved (\d+)$")
        return dict(zip(("came", "lost", "relayed", "moved"), map(int, found.groups())))

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def where_udp_is_dropped_there_is_tcp_and_then_udp_again():
    if not shutil.which("iptables"):
        return tap.skip("no iptables")
    with Net("a", "b") as net:
        net.cable("a", "10.77.0.1", "b", "10.77.0.2")
        drop = ["INPUT", "-p", "udp", "-j", "DROP"]
        net.inside("b", "iptables", "-A", *drop)
        with net.node("a", 1, "0.0.0.0:0", "again=1500") as a, net.node("b", 2, "0.0.0.0:0", "again=1500") as b:
            began = time.monotonic()
            a.tell("connect", 2, "10.77.0.2:%d" % b.port)
            a.wait_for("^up 2 tcp$")
            b.wait_for("^up 1 tcp$")
            assert time.monotonic() - began < 3.5
            a.tell("send", 2, 1400)
            b.wait_for("^from 1: 1400 bytes$")
            net.inside("b", "iptables", "-D", *drop)
            a.wait_for("^up 2 udp$")
            b.wait_for("^up 1 udp$")
            b.tell("send", 1, 1200)
            a.wait_for("^from 2: 1200 bytes$")
            assert "down 2" not in a.seen and "down 1" not in b.seen
            assert a.end() == 0 and b.end() == 0


def paths_of_576_bytes_carry_what_is_promised_and_lose_the_rest():
    with Net("a", "b", "r") as net:
        net.cable("a", "10.77.1.1", "r", "10.77.1.2", mtu=576)
        net.cable("b", "10.77.2.1", "r", "10.77.2.2", mtu=576)
        with net.node("a", 1, "0.0.0.0:0", "via") as a, net.node("b", 2, "0.0.0.0:0", "via") as b, \
                net.node("r", 3, "0.0.0.0:0", "relay=1000000") as r:
            a.tell("connect", 3, "10.77.1.2:%d" % r.port)
            b.tell("connect", 3, "10.77.2.2:%d" % r.port)
            a.wait_for("^up 3 udp$")
            b.wait_for("^up 3 udp$")
            a.tell("send", 3, 1000)
            a.tell("send", 3, 510)
            r.wait_for("^from 1: 510 bytes$")
            assert a.count()["lost"] == 1
            a.tell("connect", 2)
            a.wait_for("^up 2 relayed$")
            b.wait_for("^up 1 relayed$")
            a.tell("send", 2, 464)
            b.wait_for("^from 1: 464 bytes$")
            assert "from 1: 1000 bytes" not in r.seen


def who_reach_only_a_third_speak_through_it():
    with Net("a", "b", "r") as net:
        net.cable("a", "10.77.1.1", "r", "10.77.1.2")
        net.cable("b", "10.77.2.1", "r", "10.77.2.2")
        with net.node("a", 1, "0.0.0.0:0", "via") as a, net.node("b", 2, "0.0.0.0:0", "via") as b:
            with net.node("r", 3, "0.0.0.0:0", "relay=1000000") as r:
                a.tell("connect", 3, "10.77.1.2:%d" % r.port)
                b.tell("connect", 3, "10.77.2.2:%d" % r.port)
                a.wait_for("^up 3 udp$")
                b.wait_for("^up 3 udp$")
                began = time.monotonic()
                a.tell("connect", 2, "10.77.2.1:%d" % b.port)
                a.wait_for("^up 2 relayed$")
                b.wait_for("^up 1 relayed$")
                assert 2.5 < time.monotonic() - began < 6
                for size in 464, 1200:
                    b.tell("send", 1, size)
                    a.wait_for("^from 2: %d bytes$" % size)
                count = r.count()
                assert count["relayed"] > 6 and count["came"] == 0
                assert r.end() == 0
            a.wait_for("^down 2$")
            b.wait_for("^down 1$")


def a_node_whose_address_changes_goes_on():
    """Either of the two, while both send fifty datagrams a second."""
    for mover in "a", "b":
        with Net("a", "b") as net:
            ends = net.cable("a", "10.77.0.1", "b", "10.77.0.2")
            with net.node("a", 1, "0.0.0.0:0") as a, net.node("b", 2, "0.0.0.0:0") as b:
                a.tell("connect", 2, "10.77.0.2:%d" % b.port)
                a.wait_for("^up 2 udp$")
                b.wait_for("^up 1 udp$")
                a.tell("tick", 2)
                b.tell("tick", 1)
                end, old = (ends[0], "10.77.0.1") if mover == "a" else (ends[1], "10.77.0.2")
                net.ip(mover, "addr", "del", old + "/24", "dev", end)
                net.ip(mover, "addr", "add", "10.77.0.9/24", "dev", end)
                began = time.monotonic()
                a.wait_for("^up 2 udp$", 10)
                b.wait_for("^up 1 udp$", 10)
                assert time.monotonic() - began < 5
                before = a.count()["came"], b.count()["came"]
                a.tell("send", 2, 100)
                b.wait_for("^from 1: 100 bytes$")
                b.tell("send", 1, 100)
                a.wait_for("^from 2: 100 bytes$")
                assert a.count()["came"] > before[0] and b.count()["came"] > before[1]
                assert (a if mover == "a" else b).count()["moved"] == 1
                assert "down 2" not in a.seen and "down 1" not in b.seen


def a_node_at_several_addresses_answers_from_the_one_that_was_asked():
    for family, more in ("10.77.0.2", "10.77.0.7/24"), ("0.0.0.0", "fd77::7/64"):
        with Net("a", "b") as net:
            ends = net.cable("a", "10.77.0.1", "b", "10.77.0.2")
            six = ":" in more
            net.ip("b", "addr", "add", more, "dev", ends[1], *["nodad"] * six)
            if six:
                net.ip("a", "addr", "add", "fd77::1/64", "dev", ends[0], "nodad")
                net.ip("b", "addr", "add", "fd77::2/64", "dev", ends[1], "nodad")
            listen = "[::]:0" if six else "0.0.0.0:0"
            with net.node("a", 1, listen) as a, net.node("b", 2, listen) as b:
                host = more.split("/")[0]
                a.tell("connect", 2, ("[%s]:%d" if six else "%s:%d") % (host, b.port))
                a.wait_for("^up 2 udp$")
                b.tell("send", 1, 50)
                a.wait_for("^from 2: 50 bytes$")


def a_node_that_is_killed_and_begins_again_is_back():
    with Net("a", "b") as net:
        net.cable("a", "10.77.0.1", "b", "10.77.0.2")
        with net.node("a", 1, "0.0.0.0:0") as a:
            for turn in range(2):
                with net.node("b", 2, "10.77.0.2:7777") as b:
                    b.tell("connect", 1, "10.77.0.1:%d" % a.port)
                    a.wait_for("^up 2 udp$")
                    b.wait_for("^up 1 udp$")
                    a.tell("send", 2, 33)
                    b.wait_for("^from 1: 33 bytes$")


TESTS = [
    where_udp_is_dropped_there_is_tcp_and_then_udp_again,
    paths_of_576_bytes_carry_what_is_promised_and_lose_the_rest,
    who_reach_only_a_third_speak_through_it,
    a_node_whose_address_changes_goes_on,
    a_node_at_several_addresses_answers_from_the_one_that_was_asked,
    a_node_that_is_killed_and_begins_again_is_back,
]


def may():
    """None, or why there can be no namespaces."""
    if not shutil.which("ip"):
        return "no ip"
    if os.geteuid():
        return "only root makes network namespaces"
    try:
        with Net("try"):
            pass
    except subprocess.CalledProcessError as e:
        return "no network namespaces here: " + e.stderr.strip().replace("\n", " ")[:200]
    return None


if __name__ == "__main__":
    WHY = may()
    if WHY:
        print("1..0 # SKIP " + WHY)
        sys.exit(0)
    sys.exit(tap.run(TESTS))
