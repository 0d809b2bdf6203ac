"""What happens in the demonstration, in its order. Nothing waits by sleeping: the nodes are asked until it is so.

The program is the script's first argument (nodes.py).
"""
import concurrent.futures
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

import demo_net
import demo_picture
from demo_claims import EVENTUAL, OK, REFUSED, STRONG, UNKNOWN, Record, broken, differing, during_cut, of
from demo_load import Load

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "mesh"))
from nodes import PROGRAM, SLOW, Node, Unix, until  # noqa: E402

SPACES = ("parts:counter", "tags:set", "notes:doc:causal", "config:last:strong")
ALL = (1, 2, 3, 4, 5)
FEW, MANY = demo_net.SIDES["left"], demo_net.SIDES["right"]
PORT = 7420
KEYS = 1000  # asked for at a time


def names(nodes):
    return ", ".join(map(str, nodes))


class Machine(Node):
    """A node in a network namespace, which knows where the others are."""

    def __init__(self, net, root, number):
        super().__init__(root, str(number), SPACES)
        self.net, self.number = net, number
        self.listen = None  # where it is found

    def start(self, wait=True):
        args = [PROGRAM, "mesh", "up", "--json", "--listen", self.listen or self.address(), *self.args]
        for s in self.spaces:
            args += ["--space", s]
        for m in self.members:
            args += ["--member", m.key]
        for p in self.peers:
            args += ["--peer", "%s@%s" % (p.key, p.address())]
        self.log = open(os.path.join(self.home, "log"), "ab")
        process = subprocess.Popen(self.net.on(self.number, *args), stdout=subprocess.PIPE, stderr=self.log, env=self.env())
        line = process.stdout.readline()
        if not line:
            process.wait()
            raise OSError("machine %d does not start: %s" % (self.number, self.stderr().strip()[-500:]))
        said = json.loads(line)
        self.id, self.socket = said["node"], said["socket"]
        self.process = process  # only now: the load looks at it
        return self

    def address(self):
        return "%s:%d" % (demo_net.address(self.number), PORT)

    def everything(self):
        """{space: {key: value}}, as this node has it by itself."""
        c = Unix(self.socket, 30 * SLOW)

        def ask(path):
            c.request("GET", path)
            r = c.getresponse()
            said = json.loads(r.read())
            assert r.status == 200, (path, said)
            return said
        have = {}
        for space in (s.split(":")[0] for s in self.spaces):
            have[space], keys = {}, [""]
            while keys:
                keys = ask("/v1/spaces/%s/keys?limit=%d&after=%s" % (space, KEYS, keys[-1]))["keys"]
                have[space].update((k, ask(self.path(space, k) + "?read=local")["value"]) for k in keys)
        c.close()
        return have

    def says(self):
        """What its status says that must be the same at all nodes."""
        s = self.status()
        g = s["strong"]
        return {"members": {m["id"]: m["state"] for m in s["members"]},
                "connections": {"count": s["connected"]},
                "entries": {x["name"]: x["entries"] for x in s["spaces"]},
                "group": {x: g[x] for x in ("group", "leader", "term", "applied")},
                "roles": {m["id"]: m["role"] for m in g["members"]}}


class Story:
    def __init__(self, net, folder, out):
        self.net, self.out = net, out
        self.machines = {i: Machine(net, folder, i) for i in ALL}
        for m in self.machines.values():
            m.peers = [p for p in self.machines.values() if p is not m]
        self.began = time.monotonic()
        self.record = Record(nodes=list(ALL), parts={"tags": [], "notes": {}})
        self.load = Load(self.machines, self.record, self.began, SLOW)
        self.times = {}

    def now(self):
        return time.monotonic() - self.began

    def say(self, line, mark=None, at=None):
        at = self.now() if at is None else at
        print("%6.2f s  %s" % (at, line), file=self.out, flush=True)
        if mark:
            self.record.marks.append((at, mark))
        return at

    def took(self, name, since, until_=None):
        """Seconds, kept under that name."""
        self.times[name] = round((self.now() if until_ is None else until_) - since, 4)
        return self.times[name]

    # --- asking ---

    def some(self, nodes=ALL):
        return [self.machines[i] for i in nodes]

    @staticmethod
    def group(m):
        return m.status()["strong"] or {"leader": None, "members": []}

    def see_each_other(self, nodes=ALL):
        """Those, and nobody else."""
        ids = {m.id for m in self.some(nodes)}
        return all(m.sees("alive") == ids for m in self.some(nodes))

    def leader(self, nodes=ALL):
        """Who leads, as all of them say; one of them."""
        said = {self.group(m)["leader"] for m in self.some(nodes)}
        return next((m.number for m in self.some(nodes) if said == {m.id}), None)

    def voters(self):
        return min(sum(x["role"] == "voter" for x in self.group(m)["members"]) for m in self.some())

    def wrote(self, kind, n, since, nodes=ALL, outcome=(OK,)):
        until(lambda: self.load.count(kind, outcome, since, nodes) >= n, 30, "%d %s writes at each of %s" % (n, kind, names(nodes)))

    def have_all(self, since, nodes=ALL):
        until(lambda: not self.load.lack(since, nodes), 30, "%s to have all that was written" % names(nodes))

    def same(self, when):
        """The load rests; until all have the same, by value and by what they say of themselves."""
        start = self.now()
        self.load.rest(True)
        said = {}

        def is_so():
            said.update(states={i: m.says() for i, m in self.machines.items()})
            return not differing(said["states"]) and self.see_each_other()
        until(is_so, 30, "the status of all to be the same")
        self.record.states.append((when, said["states"]))
        views = {i: m.everything() for i, m in self.machines.items()}
        self.record.views.append((when, views))
        self.record.rests.append((start, self.now()))
        return differing(views)

    # --- what happens ---

    def gather(self):
        self.say("five machines on two switches, a cable between them: %s | %s" % (names(FEW), names(MANY)))
        for m in self.some():
            m.start()
            self.record.ups[m.number] = self.now()
        until(lambda: self.see_each_other() and all(m.status()["connected"] == 4 for m in self.some()), 30, "all to see all")
        self.took("all_see_all", 0)
        self.say("all five see each other", "five meet")
        start = self.now()
        status, said = self.machines[1].ask("POST", "/v1/found")
        assert status == 200, said
        until(lambda: self.voters() == 5 and self.leader(), 30, "five to vote")
        self.took("five_vote", start)
        self.say("1 has founded the group, and five vote in it; %d leads" % self.leader(), "five vote")

    def first_write(self):
        self.machines[2].put("notes", "shift", {})
        start = self.now()
        self.machines[2].put("tags", "seen", "hello")
        until(lambda: all(m.get("tags", "seen") == ["hello"] for m in self.some()), 15, "what is written at one to be at all")
        self.record.parts["tags"].append("hello")
        self.say("what is written through 2 is read at all five after %.0f ms" % (1e3 * self.took("write_to_all", start)))
        self.load.start()
        self.load.rest(False)
        start = self.say("from now on each adds to a counter and writes a strong key every 50 ms", "load")
        self.wrote(STRONG, 50, start)

    def put_on_both_sides(self):
        for i, side in (1, "left"), (5, "right"):
            self.machines[i].put("tags", "seen", side)
            self.machines[i].put("notes", "shift", "written at %d" % i, pointer="/" + side)
            self.record.parts["tags"].append(side)
            self.record.parts["notes"][side] = "written at %d" % i

    def cut(self):
        led = self.leader()
        self.net.cut()
        start = self.say("CUT: %s | %s; %s leads" % (names(FEW), names(MANY), led), "cut")
        until(lambda: self.see_each_other(FEW) and self.see_each_other(MANY), 30, "each side to see that it is alone")
        self.took("cut_seen", start)
        self.say("each side sees that the other is gone")
        self.wrote(STRONG, 1, start, MANY)
        first = self.load.first(STRONG, start, MANY)
        self.say("%d leads the majority: its first strong write is acknowledged %.2f s after the cut" % (
            self.leader(MANY) or led, self.took("strong_after_cut", start, first)))
        self.put_on_both_sides()
        self.wrote(STRONG, 60, start, FEW, (REFUSED, UNKNOWN))
        self.wrote(STRONG, 60, start, MANY)
        self.wrote(EVENTUAL, 100, start)
        end = self.now()
        self.record.cut = (start, end, FEW, MANY)
        for side in FEW, MANY:
            n, yes, all_ = (len(during_cut(self.record, of(self.record, *what), side)) for what in (
                (EVENTUAL, OK), (STRONG, OK), (STRONG,)))
            self.say("acknowledged to %s meanwhile: %d eventual writes, and %d of %d strong ones" % (names(side), n, yes, all_))
        return start

    def heal(self):
        self.record.cut = (self.record.cut[0], self.now(), FEW, MANY)
        start = self.now()
        self.net.heal()
        self.say("HEAL", "heal", start)
        self.have_all(start)
        self.say("each node has what the others wrote, %.2f s after the heal" % self.took("equal_after_heal", start), "all have all")
        self.wrote(STRONG, 1, start)
        self.took("strong_after_heal", start)
        until(self.see_each_other, 30, "all to see all")
        self.say("strong writes are acknowledged at all five, %.2f s after the heal" % self.times["strong_after_heal"])
        self.wrote(STRONG, 30, start)
        self.compare("after the heal")

    def compare(self, when):
        line = self.same(when)
        n = sum(len(keys) for keys in self.record.views[-1][1][1].values())
        self.say("%s: %s" % (when, line or "five nodes have the same %d values, and say the same of themselves" % n),
                 "compared")

    def kill(self):
        start = self.now()
        self.load.rest(False)
        self.wrote(STRONG, 20, start)
        victim = self.machines[self.leader()]
        others = [i for i in ALL if i != victim.number]
        victim.process.kill()
        start = self.say("KILL -9: %d, which leads" % victim.number, "kill node %d" % victim.number)
        victim.kill()
        self.wrote(STRONG, 1, start, others)
        first = self.load.first(STRONG, start, others)
        until(lambda: self.leader(others), 30, "a new leader")
        self.say("%d leads: the first strong write is acknowledged %.2f s after the kill" % (
            self.leader(others), self.took("strong_after_kill", start, first)))
        until(lambda: self.see_each_other(others), 30, "the death to be seen")
        self.took("death_seen", start)
        self.wrote(STRONG, 40, start, others)
        self.restart(victim, start)

    def restart(self, victim, killed):
        start = self.now()
        self.record.downs.append((victim.number, killed, start))
        victim.start()
        self.say("%d is started again" % victim.number, "restart", start)
        self.have_all(start)
        self.wrote(STRONG, 1, start)
        until(lambda: self.see_each_other() and self.voters() == 5, 30, "it to be one of five again")
        self.say("it has what it missed, and votes, %.2f s after its start" % self.took("back", start))
        self.wrote(STRONG, 40, start)
        self.compare("at the end")

    def stop(self):
        self.record.end = self.now()
        self.load.end()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Machine.stop, self.some()))
        self.say("all five have stopped")

    def tell(self):
        for step in (self.gather, self.first_write, self.cut, self.heal, self.kill, self.stop):
            step()

    def end(self):
        """What is still there, however it came to the end."""
        self.load.ending = True
        for m in self.some():
            if m.process:
                m.process.kill()


def run(out):
    """The story, and what went wrong in its telling, or None."""
    with tempfile.TemporaryDirectory(prefix="selvage-demo-") as folder, demo_net.Net() as net:
        story = Story(net, folder, out)
        try:
            story.tell()
            return story, None
        except (AssertionError, OSError, RuntimeError, ValueError, http.client.HTTPException) as e:
            return story, str(e) or type(e).__name__
        finally:
            story.end()


def tell(path, as_json):
    """Exit status."""
    out = sys.stderr if as_json else sys.stdout
    story, wrong = run(out)
    wrong = wrong or broken(story.record)
    story.record.end = story.record.end or story.now()
    demo_picture.draw(story.record, story.times, path)
    if as_json:
        print(json.dumps(story.times))
    print("        drawn: %s" % os.path.relpath(path), file=out)
    if wrong:
        print("demo: it does not hold: " + wrong, file=sys.stderr)
        return 1
    print("        every claim held", file=out)
    return 0
