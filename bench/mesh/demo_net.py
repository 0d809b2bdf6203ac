"""The network of the demonstration: five machines and a closet with two switches, each a network namespace of its own.

    1   2        3   4   5
    |   |        |   |   |        veth pairs; 10.77.0.1 to 10.77.0.5
    left --------- right          two bridges, and a cable between them: a veth pair, which is what is cut

The network is cut by `ip link set cable down`: needs nothing of the kernel but veth and bridges, which all the rest
stands on as well; no tables of filters that would have to be there. A machine notices nothing of it but silence.

All of it is inside a namespace that this process enters first (enter), a user's own where that is allowed, so that
nothing of the machine's own network is touched, and all is gone with the process, however it ends.
"""
import os
import shutil
import subprocess
import sys

INSIDE = "--inside"  # the argument by which a process knows that it has entered
NEEDED = ("unshare", "setpriv", "mount", "ip")
WAYS = (("unshare", "--user", "--map-root-user", "--net", "--mount"), ("unshare", "--net", "--mount"))
# All that will be needed, once: /run is hidden, because names of namespaces are files in it.
PROBE = ("mount -t tmpfs tmpfs /run && ip netns add probe && ip -n probe link add left type bridge && "
         "ip -n probe link add plug type veth peer name end && ip netns exec probe true")
SIDES = {"left": (1, 2), "right": (3, 4, 5)}


class Impossible(Exception):
    """Why there can be no namespaces here."""


def way():
    """How they are entered: arguments before a command. By a namespace of users if at all possible; without one only
    root may."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        raise Impossible("%s is not installed (util-linux, iproute2)" % missing[0])
    why = []
    for how in WAYS[:1 if os.getuid() else 2]:
        p = subprocess.run([*how, "sh", "-c", PROBE], capture_output=True, text=True, check=False)
        if p.returncode == 0:
            return how
        why.append((p.stderr.strip().splitlines() or ["status %d" % p.returncode])[-1])
    raise Impossible("no network namespaces here: " + "; ".join(why))


def enter():
    """Becomes the same command inside of them; returns there."""
    if INSIDE in sys.argv:
        sys.argv.remove(INSIDE)
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        return
    how = way()
    os.execvp(how[0], [*how, sys.executable, *sys.argv, INSIDE])


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, check=False)
    if p.returncode:
        raise OSError("%s: %s" % (" ".join(command), p.stderr.strip()))


def address(i):
    return "10.77.0.%d" % i


class Net:
    """Machines 1 to 5, to be used as a context: nothing of it is left behind."""

    def __init__(self):
        self.names = []

    def name(self, what):
        return "selvage-demo-%d-%s" % (os.getpid(), what)

    def ip(self, what, *command):
        run("ip", "-n", self.name(what), *command)

    def add(self, what):
        run("ip", "netns", "add", self.name(what))
        self.names.append(what)
        self.ip(what, "link", "set", "lo", "up")

    def __enter__(self):
        try:
            self.make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        self.add("closet")
        self.ip("closet", "link", "add", "cable", "type", "veth", "peer", "name", "cable-end")
        for side, plug in zip(SIDES, ("cable", "cable-end")):
            self.ip("closet", "link", "add", side, "type", "bridge")
            self.ip("closet", "link", "set", plug, "master", side, "up")
            self.ip("closet", "link", "set", side, "up")
            for i in SIDES[side]:
                self.machine(i, side)

    def machine(self, i, side):
        self.add(str(i))
        self.ip("closet", "link", "add", "to%d" % i, "type", "veth", "peer", "name", "eth0", "netns", self.name(str(i)))
        self.ip("closet", "link", "set", "to%d" % i, "master", side, "up")
        self.ip(str(i), "addr", "add", address(i) + "/24", "dev", "eth0")
        self.ip(str(i), "link", "set", "eth0", "up")

    def on(self, i, *command):
        """The command for machine i; it ends if this process does."""
        return ["ip", "netns", "exec", self.name(str(i)), "setpriv", "--pdeathsig", "KILL", *command]

    def cut(self):
        self.ip("closet", "link", "set", "cable", "down")

    def heal(self):
        self.ip("closet", "link", "set", "cable", "up")

    def __exit__(self, *_):
        while self.names:
            subprocess.run(["ip", "netns", "del", self.name(self.names.pop())], capture_output=True, check=False)
