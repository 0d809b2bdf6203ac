#!/usr/bin/env python3
"""Nodes on networks of the kernel's own, in namespaces of this test: paths that carry little, ways that are closed in one
direction or for one protocol, links that are slow. What the kernel has no part for is skipped, and said.

usage: test_netns.py SELVAGE      prints TAP
"""
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "..", "bench", "mesh")]
import demo_net  # noqa: E402
from demo_story import PORT, Machine  # noqa: E402
from nodes import SLOW, end_all, tap, until  # noqa: E402


class Pair:
    """Machines 1 and 3, on two switches, and what is done to their network, and to them, before they start."""

    def __init__(self, *before, prepare=lambda nodes: None):
        self.net = demo_net.Net()
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-netns-")
        self.before, self.prepare = before, prepare

    def on(self, i, *command):
        demo_net.run(*self.net.on(i, *command))

    def __enter__(self):
        self.net.__enter__()
        self.nodes = [Machine(self.net, self.folder.name, i) for i in (1, 3)]
        try:
            for command in self.before:
                for i in (1, 3):
                    self.on(i, *command.split())
            for n, other in zip(self.nodes, reversed(self.nodes)):
                n.peers = [other]
            self.prepare(self.nodes)
            for n in self.nodes:
                n.start()
        except BaseException:
            self.__exit__(OSError, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        end_all(self.nodes, kind is not None)
        self.net.__exit__()
        self.folder.cleanup()

    def together(self, seconds=40):
        return until(lambda: all(len(n.sees("alive")) == 2 and n.status()["connected"] == 1 for n in self.nodes), seconds,
                     "both to see each other")

    def share(self, seconds=60):
        """Both write, small things and large ones; both have all."""
        a, b = self.nodes[:2]
        start = time.monotonic()
        for i in range(20):
            a.put("tags", "s", "a%02d" % i)
            b.put("tags", "s", "b%02d" % i)
        a.put("notes", "n", {"text": "x" * 30000})
        want = sorted("%s%02d" % (w, i) for w in "ab" for i in range(20))
        until(lambda: all(n.get("tags", "s") == want for n in self.nodes), seconds, "all to be at both")
        until(lambda: (b.get("notes", "n") or {}).get("text") == "x" * 30000, seconds, "what is large")
        return time.monotonic() - start


def a_path_of_576_bytes():
    with Pair("ip link set eth0 mtu 576") as p:
        took = p.together()
        print("# joined after %.1f s, shared in %.1f s" % (took, p.share()))


def udp_is_closed():
    with Pair("iptables -A INPUT -p udp -j DROP") as p:
        took = p.together(60)
        print("# joined by TCP after %.1f s, shared in %.1f s" % (took, p.share()))


def one_does_not_hear_the_other():
    with Pair() as p:
        p.together()
        a, b = p.nodes
        p.on(3, "iptables", "-A", "INPUT", "-s", demo_net.address(1), "-j", "DROP")
        a.put("parts", "k", 1)
        b.put("parts", "k", 1)
        until(lambda: b.status()["local_only"] and a.status()["local_only"], 30, "each to see that it is alone")
        assert b.get("parts", "k") == 1, b.get("parts", "k")
        p.on(3, "iptables", "-F")
        print("# agreed %.1f s after it was heard again" % until(lambda: a.get("parts", "k") == b.get("parts", "k") == 2, 60, "both"))
        p.share()


def large_datagrams_vanish():
    """A black hole: what is longer than 600 bytes is dropped, and nobody is told."""
    with Pair("iptables -A INPUT -p udp -m length --length 601:65535 -j DROP",
              "iptables -A INPUT -p tcp -j DROP") as p:
        took = p.together(60)
        print("# joined after %.1f s, shared in %.1f s" % (took, p.share()))


def a_link_of_64_kbit():
    try:
        with Pair("tc qdisc add dev eth0 root tbf rate 64kbit burst 2k latency 400ms") as p:
            took = p.together(60)
            print("# joined after %.1f s, shared in %.1f s" % (took, p.share(120)))
    except OSError as e:
        if "qdisc" not in str(e):
            raise
        return tap.skip("this kernel has no token bucket filter")
    return None


def neighbours_find_each_other():
    """They know each other's keys, and nobody's address."""
    def prepare(nodes):
        for n in nodes:
            n.members, n.peers, n.args = n.peers, [], ["--discover"]
    with Pair(prepare=prepare) as p:
        took = p.together()
        print("# found after %.1f s, shared in %.1f s" % (took, p.share()))


def an_address_changes():
    """A lease that ends: the machine is found at its new address, the only one that it has, and its old one is another's."""
    def prepare(nodes):
        nodes[1].listen = "0.0.0.0:%d" % PORT
    with Pair(prepare=prepare) as p:
        p.together()
        p.on(3, "ip", "addr", "del", "10.77.0.3/24", "dev", "eth0")
        p.on(3, "ip", "addr", "add", "10.77.0.33/24", "dev", "eth0")
        since = time.monotonic()
        p.nodes[0].put("parts", "k", 1)
        until(lambda: p.nodes[1].get("parts", "k") == 1, 40, "what was written since")
        print("# heard of it %.1f s after its address had changed" % (time.monotonic() - since))
        p.together()
        p.share()


def one_in_between_passes_it_on():
    """Two that do not reach each other, and one that both reach."""
    with Pair("true") as p:
        a, b = p.nodes
        c = Machine(p.net, p.folder.name, 2)
        p.nodes.append(c)
        for n in (a, b):
            n.stop()
            n.peers, n.members = [c], [x for x in (a, b) if x is not n]
        c.peers, c.args = [a, b], ["--relay", "1M"]
        for i, k in ((1, 3), (3, 1)):
            p.on(i, "iptables", "-A", "INPUT", "-s", demo_net.address(k), "-j", "DROP")
        for n in p.nodes:
            n.start()
        took = until(lambda: all(len(n.sees("alive")) == 3 and n.status()["connected"] == 2 for n in p.nodes), 60,
                     "all to be connected with all")
        assert b.id in a.sees("alive")
        print("# connected after %.1f s, shared in %.1f s" % (took, p.share()))


class Named:
    """A machine as a peer that others know by a name only."""

    def __init__(self, machine, name):
        self.key, self.name = machine.key, name

    def address(self):
        return "%s:%d" % (self.name, PORT)


class Hosts:
    """This test's own /etc/hosts, in its mount namespace: what is written is there at once."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "hosts")
        self.write()
        demo_net.run("mount", "--bind", self.path, "/etc/hosts")

    def write(self, *lines):
        with open(self.path, "w", encoding="utf-8") as f:  # (in its place: it is mounted)
            f.write("".join(x + "\n" for x in ("127.0.0.1 localhost", *lines)))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        demo_net.run("umount", "/etc/hosts")


def a_name_is_found_later():
    """A machine that starts before its DNS; then the name is another machine's address."""
    def prepare(nodes):
        a, b = nodes
        a.peers, b.peers, b.members = [Named(b, "three.test")], [], [a]
        b.listen = "0.0.0.0:%d" % PORT
    with tempfile.TemporaryDirectory() as folder, Hosts(folder) as hosts, Pair(prepare=prepare) as p:
        a, b = p.nodes
        said = "mesh: peer %s: three.test:%d: " % (b.id, PORT)
        until(lambda: said in a.stderr() and "trying again" in a.stderr(), 30, "the warning")
        time.sleep(6)  # (a second try)
        assert a.stderr().count(said) == 1 and len(a.sees("alive")) == 1, a.stderr()
        hosts.write("10.77.0.3 three.test")
        print("# joined %.1f s after the name was there" % p.together(60))
        b.kill()
        for x in os.listdir(os.path.join(b.home, "mesh")):  # it knows nobody's address
            os.remove(os.path.join(b.home, "mesh", x))
        p.on(3, "ip", "addr", "del", "10.77.0.3/24", "dev", "eth0")
        p.on(3, "ip", "addr", "add", "10.77.0.33/24", "dev", "eth0")
        hosts.write("10.77.0.33 three.test")
        b.start()
        print("# joined %.1f s after it was another address" % p.together(90))
        assert a.stderr().count("trying again") == 1, a.stderr()
        p.share()


def names_do_not_hold_up_the_end():
    """A resolver that never answers costs a node nothing: neither its loop nor its end."""
    with Pair() as p:
        a, b = p.nodes
        p.together()
        a.stop()
        resolver = os.path.join(p.folder.name, "resolv.conf")
        with open(resolver, "w", encoding="utf-8") as f:
            f.write("nameserver 10.77.0.99\noptions timeout:20\n")
        demo_net.run("mount", "--bind", resolver, os.path.realpath("/etc/resolv.conf"))
        try:
            a.peers = [b, Named(b, "nowhere.test")]
            a.start()
            print("# joined in %.1f s" % p.together(20))
            since = time.monotonic()
            a.stop()
            print("# ended in %.1f s" % (time.monotonic() - since))
            assert time.monotonic() - since < 10 * SLOW
        finally:
            demo_net.run("umount", os.path.realpath("/etc/resolv.conf"))


if __name__ == "__main__":
    try:
        if demo_net.INSIDE not in sys.argv:
            demo_net.way()
        demo_net.enter()
    except demo_net.Impossible as e:
        print("1..0 # SKIP %s" % e)
        sys.exit(0)
    sys.exit(tap.run([a_path_of_576_bytes, udp_is_closed, one_does_not_hear_the_other, large_datagrams_vanish,
                      a_link_of_64_kbit, neighbours_find_each_other, an_address_changes, one_in_between_passes_it_on,
                      a_name_is_found_later, names_do_not_hold_up_the_end]))
