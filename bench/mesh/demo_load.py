"""The demonstration's load, and what watches it: on a loop and thread of its own, while the story goes on in another.

At each node that runs, every 50 ms: one is added to the node's own key of "parts" (the next when that is answered), and a
key that nobody has written yet is written in "config", for which the group must agree (answered in its own time). A
watcher at each node records when it has what of whom; and its status is asked for ten times a second.
All becomes lists of the record (demo_claims.py).
"""
import asyncio
import json
import threading
import time

from demo_claims import EVENTUAL, OK, REFUSED, STRONG, UNKNOWN, Having, Write

EVERY = 0.05      # seconds
STRONG_MS = 1000  # how long a strong write is waited for
ASK = 0.1         # seconds between questions for the status
GONE = (OSError, EOFError, asyncio.IncompleteReadError)


class Talk:
    """Requests one after the other to a unix socket."""

    def __init__(self, path):
        self.path, self.reader, self.writer = path, None, None

    async def send(self, method, path, body=b""):
        """OSError: it never went out."""
        if self.reader and self.reader.at_eof():  # who was there has ended meanwhile
            self.close()
        if not self.writer:
            self.reader, self.writer = await asyncio.open_unix_connection(self.path)
        self.writer.write(b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (
            method.encode(), path.encode(), len(body), body))

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def answer(self):
        status, head = await self.head()
        body = await self.reader.readexactly(int(head["content-length"]))
        if head.get("connection") == "close":
            self.close()
        return status, json.loads(body)

    async def ask(self, method, path, body=b""):
        await self.send(method, path, body)
        return await self.answer()

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


class Load(threading.Thread):
    """`machines`: {number: node}, with `.socket`, and `.process`, None where it does not run. `began`: the time that is
    0 in the record. `slow`: how much longer than usual everything may take."""

    def __init__(self, machines, record, began, slow=1.0):
        super().__init__(daemon=True)
        self.machines, self.record, self.began, self.slow = machines, record, began, slow
        self.resting, self.ending, self.failure = True, False, None
        self.next = dict.fromkeys(machines, 0)
        self.going = set()  # writes
        self.loop = asyncio.new_event_loop()

    def now(self):
        return time.monotonic() - self.began

    def run(self):
        try:
            self.loop.run_until_complete(self.all())
        except Exception as e:  # the story looks at it: a load that has ended unseen would be waited for in vain
            self.failure = e

    async def all(self):
        tasks = (self.counting, self.deciding, self.watching, self.asking)
        await asyncio.gather(*(task(i) for i in self.machines for task in tasks))

    def begin(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.going.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task):
        self.going.discard(task)
        self.failure = self.failure or task.exception()

    def works(self, i):
        return not self.resting and self.machines[i].process is not None

    async def each(self, every, i, works, act):
        """Calls act(i, a talk to i) so often, where it works; one that takes longer is not made up for."""
        talk = None
        due = self.now()
        while not self.ending:
            if works(i):
                talk = talk or Talk(self.machines[i].socket)
                try:
                    await act(i, talk)
                except GONE:
                    talk.close()
            due = max(due + every, self.now())
            await asyncio.sleep(due - self.now())
        if talk:
            talk.close()

    async def write(self, talk, w, path, body):
        """Records w with what came of it; nothing, if it never went out."""
        try:
            await talk.send("PUT", path, json.dumps(body).encode())
        except OSError:
            talk.close()
            return
        outcome = UNKNOWN
        try:
            status, _ = await talk.answer()
            outcome = {200: OK, 504: UNKNOWN}.get(status, REFUSED)
        except GONE:
            talk.close()
        self.record.writes.append(Write(*w, self.now(), outcome))

    async def counting(self, i):
        async def act(i, talk):
            await self.begin(self.write(talk, (i, EVENTUAL, "n%d" % i, 1, self.now()), "/v1/spaces/parts/keys/n%d" % i,
                                        {"value": 1}))
        await self.each(EVERY, i, self.works, act)

    async def deciding(self, i):
        """Many at a time, as those wait that the group cannot decide."""
        free = []

        async def one(talk, key, value):
            await self.write(talk, (i, STRONG, key, value, self.now()),
                             "/v1/spaces/config/keys/%s?timeout_ms=%d" % (key, STRONG_MS * self.slow), {"value": value})
            free.append(talk)

        async def act(i, _):
            self.next[i] += 1
            talk = free.pop() if free else Talk(self.machines[i].socket)
            self.begin(one(talk, "n%d-%05d" % (i, self.next[i]), self.next[i]))
        await self.each(EVERY, i, self.works, act)
        for talk in free:
            talk.close()

    async def watching(self, i):
        """As long as it runs, and again when it does so again."""
        async def act(i, talk):
            await talk.send("GET", "/v1/spaces/parts/watch")
            await talk.head()
            other = Talk(self.machines[i].socket)
            for j in self.machines:
                status, said = await other.ask("GET", "/v1/spaces/parts/keys/n%d" % j)
                self.record.told.append((self.now(), i, j, said["value"] if status == 200 else 0))
            other.close()
            while not self.ending:
                try:
                    line = await asyncio.wait_for(talk.reader.readline(), 0.2)
                except asyncio.TimeoutError:
                    continue
                if not line:
                    raise EOFError
                if line.startswith(b"data: "):
                    said = json.loads(line[6:])
                    self.record.told.append((self.now(), i, int(said["key"][1:]), said["value"]))
        await self.each(EVERY, i, lambda i: self.machines[i].process is not None, act)

    async def asking(self, i):
        async def act(i, talk):
            _, said = await talk.ask("GET", "/v1/status")
            group = said["strong"] or {"leader": None, "term": 0}
            self.record.status.append((self.now(), i, group["leader"] == said["node"], group["term"]))
        await self.each(ASK, i, lambda i: self.machines[i].process is not None, act)

    # --- for the story, from its thread ---

    def fail(self):
        if self.failure:
            raise RuntimeError("the load has failed: %r" % self.failure) from self.failure

    def rest(self, yes):
        """True: returns when nothing is under way any more."""
        async def quiet():
            self.resting = yes
            while yes and self.going:
                await asyncio.wait(self.going)
        self.fail()
        asyncio.run_coroutine_threadsafe(quiet(), self.loop).result(20 * self.slow)

    def count(self, kind, outcome, since, nodes):
        """How many of the writes asked for since then came out so, at the node that has the fewest."""
        self.fail()
        each = dict.fromkeys(nodes, 0)
        for w in reversed(list(self.record.writes)):
            if w.answered < since:
                break
            if w.kind == kind and w.outcome in outcome and w.asked >= since and w.node in each:
                each[w.node] += 1
        return min(each.values())

    def first(self, kind, since, nodes):
        """When the first such write was acknowledged that was asked for since then; None: none was."""
        return min((w.answered for w in list(self.record.writes) if w.kind == kind and w.outcome == OK and w.asked >= since and
                    w.node in nodes), default=None)

    def lack(self, since, nodes):
        """Those of the nodes that do not have yet what was acknowledged before `since`."""
        self.fail()
        having = Having(self.record)
        now = self.now()
        return [i for i in nodes if having.lacks(i, now, now - since)]

    def end(self):
        self.ending = True
        self.join(20 * self.slow)
