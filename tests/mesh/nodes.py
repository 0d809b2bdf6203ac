"""What tests of the mesh on real sockets share: nodes as processes, each with a key and a store of its own, plain
requests to their unix sockets, waiting, and a UDP relay before each node that loses, delays, doubles and cuts.
The program is the script's first argument.
"""
import heapq
import http.client
import json
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", "interop")]
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
FULL = "--full" in sys.argv
SLOW = 10.0 if tap.sanitized(PROGRAM) else 1.0
# An address of this process alone: a node that is started again has its port again, whatever others were given meanwhile.
LOCAL = "127.%d.%d.%d" % (1 + os.getpid() // 62500 % 250, 1 + os.getpid() // 250 % 250, 1 + os.getpid() % 250)
SPACES = ("hits:counter", "tags:set", "config:last", "notes:doc:causal", "log:text", "fund:budget")


class Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def until(condition, seconds=15.0, what="it"):
    """Seconds until it holds."""
    start = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - start
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() - start < seconds * SLOW, "waited in vain for " + what
        time.sleep(0.005)


class Node:
    """With a folder of its own; `through`: the relay that others reach it by."""

    def __init__(self, root, name, spaces=SPACES, through=None, args=()):
        self.name, self.spaces, self.through, self.args = name, spaces, through, list(args)
        self.home = os.path.join(root, name)
        os.makedirs(self.home)
        self.run("key", "new")
        self.key = json.loads(self.run("key", "show", "--json"))["public"]
        self.process, self.listening, self.members, self.peers = None, None, [], []
        self.port = None

    def env(self):
        return {**os.environ, "SELVAGE_HOME": self.home}

    def run(self, *args, status=0, stdin=None):
        p = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=60 * SLOW, env=self.env(),
                           input=stdin, check=False)
        assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
        return p.stderr if status else p.stdout

    def address(self):
        return self.through.address if self.through else self.listening

    def start(self, wait=True):
        listen = "%s:%d" % (LOCAL, self.port or 0)
        args = [PROGRAM, "mesh", "up", "--json", "--listen", listen]
        for s in self.spaces:
            args += ["--space", s]
        for m in self.members:
            args += ["--member", m.key]
        for p in self.peers:
            args += ["--peer", "%s@%s" % (p.key, p.address())]
        if self.through:
            args += ["--advertise", self.through.address]
        self.log = open(os.path.join(self.home, "log"), "ab")
        self.process = subprocess.Popen(args + self.args, stdout=subprocess.PIPE, stderr=self.log, env=self.env())
        if not wait:
            return self
        line = self.process.stdout.readline()
        assert line, self.stderr()
        said = json.loads(line)
        self.id, self.socket, self.listening = said["node"], said["socket"], said["listening"][0]
        self.port = int(self.listening.rsplit(":", 1)[1])
        if self.through:
            self.through.target = (LOCAL, self.port)
        return self

    def stderr(self):
        return pathlib.Path(self.home, "log").read_text(errors="replace")

    def ask(self, method, path, body=None, timeout=30):
        c = Unix(self.socket, timeout * SLOW)
        try:
            c.request(method, path, json.dumps(body).encode() if body is not None else None)
            r = c.getresponse()
            return r.status, json.loads(r.read())
        finally:
            c.close()

    @staticmethod
    def path(space, key):
        return "/v1/spaces/%s/keys/%s" % (space, urllib.parse.quote(key, safe=""))

    def put(self, space, key, value=None, **more):
        body = dict(more)
        if value is not None:
            body["value"] = value
        status, said = self.ask("PUT", self.path(space, key), body)
        assert status == 200, (status, said)

    def get(self, space, key):
        status, said = self.ask("GET", self.path(space, key))
        assert status in (200, 404), (status, said)
        return said["value"] if status == 200 else None

    def status(self):
        status, said = self.ask("GET", "/v1/status")
        assert status == 200, said
        return said

    def sees(self, state):
        return {m["id"] for m in self.status()["members"] if m["state"] == state}

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            got = self.process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("does not stop\n" + self.stderr()[-3000:]) from None
        self.process.stdout.close()
        self.process = None
        log = self.stderr()
        assert "Sanitizer" not in log and "runtime error" not in log, log[-20000:]
        assert got == 0, (got, log[-3000:])


def end_all(nodes, failed):
    """Ends the nodes that run; after a failure it kills them, and shows what each has said."""
    for node in nodes:
        if node.process and not failed:
            node.stop()
        elif node.process:
            print("# %s: %s" % (node.name, node.stderr()[-1500:].replace("\n", "\n# ")))
            node.kill()


class Mesh:
    """Some nodes that know each other's keys; the first is whom the others ask."""

    def __init__(self, n, spaces=SPACES, relays=False, args=()):
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-mesh-")
        self.relays = [Relay() if relays else None for _ in range(n)]
        self.nodes = [Node(self.folder.name, "n%d" % i, spaces, self.relays[i], args) for i in range(n)]
        for node in self.nodes:
            node.members = [m for m in self.nodes if m is not node]
        for i, node in enumerate(self.nodes):
            node.peers = self.nodes[:1] if i else []
            node.start()

    def __getitem__(self, i):
        return self.nodes[i]

    def whole(self, seconds=20):
        n = len(self.nodes)
        return until(lambda: all(len(node.sees("alive")) == n and node.status()["connected"] == n - 1
                                 for node in self.nodes), seconds, "all to see all")

    def everywhere(self, space, key, value, seconds=15, among=None):
        return until(lambda: all(node.get(space, key) == value for node in among or self.nodes), seconds,
                     "%s %s to be %r" % (space, key, value))

    def split(self, *parts):
        """Nodes of different parts do not reach each other; without parts all do."""
        for part in parts:
            for i in part:
                self.relays[i].cut = {self.nodes[k].port for k in range(len(self.nodes)) if k not in part}
        if not parts:
            for r in self.relays:
                r.cut = set()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            end_all(self.nodes, kind is not None)
        finally:
            for relay in self.relays:
                if relay:
                    relay.close()
            self.folder.cleanup()


class Relay(threading.Thread):
    """Stands before a node: what comes to its address goes on to the node, and answers back; after a delay, or
    never. Each sender has a socket of its own towards the node, as behind a NAT."""

    def __init__(self):
        super().__init__(daemon=True)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind((LOCAL, 0))
        self.address = "%s:%d" % (LOCAL, self.front.getsockname()[1])
        self.target = None
        self.back, self.senders = {}, {}
        self.delay = self.jitter = 0.0
        self.loss = self.double = 0.0
        self.rate, self.mtu = 0, 0
        self.cut = set()  # ports of nodes that do not reach this one, nor it them
        self.random = random.Random(1)
        self.queue, self.count, self.busy = [], 0, 0.0
        self.ending = False
        self.start()

    def close(self):
        self.ending = True
        self.join()
        for s in [self.front, *self.senders.values()]:
            s.close()

    def send_later(self, data, by, to):
        if self.random.random() < self.loss or (self.mtu and len(data) + 28 > self.mtu):
            return
        for _ in range(2 if self.random.random() < self.double else 1):
            at = time.monotonic() + self.delay + self.jitter * self.random.random()
            if self.rate:
                self.busy = max(self.busy, time.monotonic()) + len(data) * 8 / self.rate
                if self.busy - time.monotonic() > 1.0:
                    return
                at += self.busy - time.monotonic()
            self.count += 1
            heapq.heappush(self.queue, (at, self.count, data, by, to))

    def sender(self, address):
        if address not in self.senders:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((LOCAL, 0))
            self.senders[address], self.back[s] = s, address
        return self.senders[address]

    def run(self):
        while not self.ending:
            wait = max(0.0, min(0.05, self.queue[0][0] - time.monotonic())) if self.queue else 0.05
            for s in select.select([self.front, *self.senders.values()], [], [], wait)[0]:
                try:
                    data, address = s.recvfrom(65536)
                except OSError:
                    continue
                if s is self.front and self.target and address[1] not in self.cut:
                    self.send_later(data, self.sender(address), self.target)
                elif s is not self.front and self.back[s][1] not in self.cut:
                    self.send_later(data, self.front, self.back[s])
            while self.queue and self.queue[0][0] <= time.monotonic():
                _, _, data, by, to = heapq.heappop(self.queue)
                try:
                    by.sendto(data, to)
                except OSError:
                    pass
