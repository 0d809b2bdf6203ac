#!/usr/bin/env python3
"""A server under clients that come, go, break off and send rubbish, for as long as is wished.

usage: soak.py SELVAGE [SECONDS [CLIENTS]]      prints TAP

At the end: nothing is being made or waits, memory beside the cache is what it was at first, the planned
memory was never above the budget, every answer that was given has a record in an audit log that
verifies, and whoever asked the same got the same.
"""
import json
import os
import random
import sys
import threading
import time

from serving import NAME, Home, raw_request, tap

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 600
CLIENTS = int(sys.argv[3]) if len(sys.argv) > 3 else 16
BUDGET = 1200  # MiB
HOME = Home("soak")
LOG = HOME.path("audit.log")

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "n": {"type": "integer"}},
          "required": ["name", "n"], "additionalProperties": False}
RUBBISH = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\nHost: x\n\n", b"\0" * 200,
           b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
           b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n",
           raw_request(body=b"{" * 5000), raw_request(body=b'{"messages": [], "x": 1}'),
           raw_request(body=json.dumps({"messages": [{"role": "user", "content": "x " * 200000}]}).encode())]


class Clients:
    def __init__(self, server):
        self.server, self.stop = server, threading.Event()
        self.lock, self.texts, self.answered, self.failures = threading.Lock(), {}, 0, []
        self.counts = {}

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def ask(self, rnd, **how):
        which = rnd.randrange(12)
        r = self.server.chat(f"Tell me of the number {which}. " + "Say more. " * (which * 6), max_tokens=8 + which * 3,
                             **how)
        assert r.status == 200, r.body
        if not how:
            text = r.json()["choices"][0]["message"]["content"]
            with self.lock:
                assert self.texts.setdefault(which, text) == text, (which, text, self.texts[which])
        with self.lock:
            self.answered += 1

    def schema(self, rnd):
        r = self.server.chat("A person.", max_tokens=60, temperature=1, seed=rnd.randrange(5),
                             response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}})
        assert r.status == 200, r.body
        with self.lock:
            self.answered += 1
        if r.json()["choices"][0]["finish_reason"] == "stop":
            json.loads(r.json()["choices"][0]["message"]["content"])

    def leave(self, rnd):
        """Breaks off: before the reply, or within its stream."""
        s = self.server.raw()
        body = {"model": NAME, "messages": [{"role": "user", "content": "A long story. " * rnd.randrange(1, 80)}],
                "max_tokens": 200, "stream": bool(rnd.randrange(2))}
        s.sendall(raw_request(body=json.dumps(body).encode()))
        if rnd.randrange(2):
            s.recv(rnd.randrange(1, 3000))
        else:
            time.sleep(rnd.random() / 5)
        s.close()

    def rubbish(self, rnd):
        s = self.server.raw(timeout=60)
        s.sendall(rnd.choice(RUBBISH))
        s.recv(4096)
        s.close()

    def run(self, seed):
        rnd = random.Random(seed)
        acts = [self.ask] * 4 + [lambda r: self.ask(r, stream=True), self.schema, self.leave, self.leave, self.rubbish]
        while not self.stop.is_set():
            act = rnd.choice(acts)
            try:
                act(rnd)
                self.count(getattr(act, "__name__", "stream"))
            except (ConnectionError, TimeoutError):
                self.count("lost")
            except BaseException as e:  # whatever it is, it is told of
                with self.lock:
                    self.failures.append(repr(e)[:500])
                return


def soak():
    with HOME.serve("--audit", LOG, "--memory", f"{BUDGET}M", "--slots", "8", "--ctx", "2048") as server:
        clients = Clients(server)
        threads = [threading.Thread(target=clients.run, args=(k,)) for k in range(CLIENTS)]
        begun, samples = time.monotonic(), []
        for t in threads:
            t.start()
        while time.monotonic() - begun < SECONDS and not clients.failures:
            time.sleep(min(2.0, SECONDS / 50))
            m = server.metrics()
            assert m["selvage_memory_planned_bytes"] <= m["selvage_memory_budget_bytes"], m
            kv = sum(v for k, v in m.items() if k.startswith("selvage_kv_used_bytes")) / 2**20
            samples.append((time.monotonic() - begun, server.memory(), server.memory() - kv))
        clients.stop.set()
        for t in threads:
            t.join()
        assert not clients.failures, clients.failures
        server.until(lambda: server.active() == 0 and server.metrics()["selvage_waiting"] == 0)
        # the cache fills up, which is what it is for: what is beside it stays as it is
        early = max(beside for t, _, beside in samples if t <= SECONDS / 3)
        late = max(beside for t, _, beside in samples if t >= SECONDS * 2 / 3)
        most = max(mib for _, mib, _ in samples)
        print(f"# {clients.counts}, {most:.0f} MiB; beside the cache {early:.0f}, later {late:.0f}", flush=True)
        assert late <= early * 1.03 + 8, (early, late)
        assert most <= BUDGET, most
        metrics = server.metrics()
        given = sum(v for k, v in metrics.items() if k.startswith("selvage_requests_total") and 'status="200"' in k)
        assert given >= clients.answered, (given, clients.answered)
    said = json.loads(HOME.run("audit", "verify", LOG, "--json"))
    assert said["requests"] >= clients.answered, (said, clients.answered)


def main():
    HOME.run("key", "new")
    return tap.run([soak])


if __name__ == "__main__":
    if not os.environ.get("SLV_TEST_MODEL"):
        sys.exit(77)
    sys.exit(main())
