#!/usr/bin/env python3
"""serve.py SELVAGE MODEL [--peer PATH-OF-llama-server]: servers side by side, in one run, in turn.

What a user of a shared machine meets:

  streams   16 conversations at once, prompts of some 115 tokens that differ from their first word
            on, 128 tokens out: tokens a second of all of them, first token, between tokens
  prefix    a question behind 2,000 tokens that were asked about before: first token, beside what
            one decode step at that depth takes
  same      one request alone, among 15 others, cached or not, as many times: different texts
  idle      memory that 1,000 silent connections take, and what /health 200 times a second costs
            8 streams
  memory    peak memory with 16 conversations and 16,384 positions
  short     16 answers with a fourth of the memory that they want
  sealed    the model sealed beside the model as it is, both by selvage: first token of a new short
            request, tokens a second of one stream

Both servers get the same requests from the same client. Figures are the client's."""
import argparse
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

WORDS = ("river stone market winter engine letter garden silver window captain harbour signal forest "
         "mirror copper ladder village thunder basket lantern meadow anchor bridge candle desert "
         "falcon glacier hammer island jacket kettle lemon magnet needle orchard pepper quarry "
         "rocket saddle timber umbrella valley wagon yellow zebra").split()


def prompt_of(i, n_words=102):
    """Some 115 tokens, different from the first word on."""
    words = [WORDS[(i * 7 + k * (i + 3)) % len(WORDS)] for k in range(n_words)]
    return f"{WORDS[i % len(WORDS)].capitalize()} {i}: " + " ".join(words) + ". Tell a story of these."


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server that is started for the test."""

    def __init__(self, name, command, env=None):
        self.name, self.port = name, free_port()
        self.log = open(f"/tmp/bench-{name}.log", "wb")
        command = [c.replace("PORT", str(self.port)) for c in command]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=env)
        self.wait()

    def wait(self):
        for _ in range(1200):
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                c.request("GET", "/health")
                if c.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"{self.name} ended: see {self.log.name}")
            time.sleep(0.1)
        sys.exit(f"{self.name} does not come up")

    def peak(self):
        """Peak resident memory, bytes."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        return 0

    def resident(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0

    def busy(self):
        """Processor time so far, in ticks."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def stream(port, prompt, n, result, path="/v1/completions"):
    """One streamed answer: times of its tokens, and its text."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"prompt": prompt, "max_tokens": n, "temperature": 0, "stream": True,
            "ignore_eos": True}
    begun = time.perf_counter()
    c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    r = c.getresponse()
    if r.status != 200:
        sys.exit(f"status {r.status}: {r.read()[:300]}")
    times, text = [], []
    while True:
        line = r.readline()
        if not line or line.startswith(b"data: [DONE]"):
            break
        if not line.startswith(b"data: "):
            continue
        event = json.loads(line[6:])
        for choice in event.get("choices", []):
            if choice.get("text") or choice.get("finish_reason") is None:
                times.append(time.perf_counter())
                text.append(choice.get("text") or "")
    c.close()
    result.update(begun=begun, times=times, text="".join(text))


def together(port, prompts, n):
    results = [{} for _ in prompts]
    threads = [threading.Thread(target=stream, args=(port, p, n, r))
               for p, r in zip(prompts, results)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def settle(servers, seconds=10):
    """Waits until none of them computes any more: one may go on after its last reply."""
    end = time.monotonic() + seconds
    quiet = 0
    while quiet < 3 and time.monotonic() < end:
        before = [s.busy() for s in servers]
        time.sleep(0.2)
        quiet = quiet + 1 if [s.busy() for s in servers] == before else 0


def measure_streams(server, round_no, n=16, out=128):
    results = together(server.port, [prompt_of(100 * round_no + i) for i in range(n)], out)
    first = [r["times"][0] - r["begun"] for r in results]
    between = [b - a for r in results for a, b in zip(r["times"], r["times"][1:])]
    tokens = sum(len(r["times"]) for r in results)
    took = max(r["times"][-1] for r in results) - min(r["begun"] for r in results)
    return {"tps": tokens / took, "first_p50": statistics.median(first), "first_p99": max(first),
            "between_p50": statistics.median(between), "between_p99": quantile(between, 0.99)}


def measure_prefix(server, n_words=1990):
    """First token behind a known prefix, and a decode step there, seconds."""
    base = " ".join(WORDS[(k * k + 3 * k) % len(WORDS)] for k in range(n_words)) + "\n"
    r = {}
    stream(server.port, base + "Question: what comes first?", 24, r)
    step = statistics.median(b - a for a, b in zip(r["times"], r["times"][1:]))
    firsts = []
    for word in WORDS[:12]:
        stream(server.port, base + f"Question: where is the {word}?", 8, r)
        firsts.append(r["times"][0] - r["begun"])
    return {"first": statistics.median(firsts), "step": step}


def measure_same(server, rounds=6):
    """Different texts of one request: alone and cached, or among 15 others."""
    texts = set()
    for k in range(rounds):
        r = {}
        stream(server.port, prompt_of(3), 96, r)
        texts.add(r["text"])
        results = together(server.port, [prompt_of(3 if i == 5 else 1000 + 31 * k + i)
                                         for i in range(16)], 96)
        texts.add(results[5]["text"])
    return len(texts)


def in_turn(servers, times, what):
    """Median of what(server, number) for each server, asked alternately, another one first each time."""
    rows = {name: [] for name in servers}
    for k in range(times):
        for name in sorted(servers, reverse=k % 2 == 1):
            rows[name].append(what(servers[name], k))
    return {name: statistics.median(r) for name, r in rows.items()}


def measure_sealed(selvage, model, options, rounds):
    """Seconds to the first token of a request that nothing is known of, and tokens a second of one
    stream, of a plain and a sealed model."""
    def first(server, k):
        r = {}
        stream(server.port, f"{WORDS[k % len(WORDS)]} {k}: what is it made of?", 4, r)
        return r["times"][0] - r["begun"]

    def speed(server, k):
        r = {}
        stream(server.port, prompt_of(9000 + k), 128, r)
        return (len(r["times"]) - 1) / (r["times"][-1] - r["times"][0])

    with tempfile.TemporaryDirectory(prefix="bench-sealed-") as home:
        env = dict(os.environ, SELVAGE_HOME=home)  # a key and packed weights of their own
        sealed = os.path.join(home, "model.sealed")
        for command in (["key", "new"], ["seal", model, sealed]):
            subprocess.run([selvage, *command], env=env, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        servers = {name: Server(name, [selvage, "serve", path, *options], env)
                   for name, path in (("plain", model), ("sealed", sealed))}
        in_turn(servers, 2, first)  # opened, and memory touched
        out = {"first": in_turn(servers, 10 * rounds, lambda s, k: first(s, k + 2)),
               "tps": in_turn(servers, 4 * rounds, speed)}
        for s in servers.values():
            s.stop()
    return out


def measure_short(ours, rounds):
    """Tokens a second of 16 answers that want 235 MB of keys and values together, and the 99 % of their
    gaps, with so much and with 64 MB: what waits is computed again, or is on the disk meanwhile."""
    ways = {"enough": ["--kv-memory", "400M"], "again": ["--kv-memory", "64M"],
            "spilled": ["--kv-memory", "64M", "--spill", tempfile.gettempdir()]}
    rows = {way: [] for way in ways}
    for k in range(rounds):
        for way, options in ways.items():
            s = Server("selvage-" + way, [*ours, *options])
            rows[way].append(measure_streams(s, k, out=512))
            s.stop()
    return {way: {key: statistics.median(x[key] for x in r) for key in ("tps", "between_p99")}
            for way, r in rows.items()}


def measure_idle(server, n=1000):
    before = server.resident()
    sockets = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", server.port))
        sockets.append(s)
    time.sleep(1.0)
    more = server.resident() - before
    for s in sockets:
        s.close()
    return more


def measure_health(server, per_second=200):
    """Tokens a second of 8 streams with /health beside them to those without: the median of pairs, of which the first is
    now the one and now the other, as a shared machine is faster at one moment than at the next."""
    def run(beside, k):
        stop = threading.Event()

        def ask():
            # (Plain bytes: http.client would take several times of what the server does.)
            with socket.create_connection(("127.0.0.1", server.port)) as c:
                while not stop.is_set():
                    c.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    if not c.recv(4096).startswith(b"HTTP/1.1 200"):
                        sys.exit("/health does not answer 200")
                    time.sleep(1.0 / per_second)
        t = threading.Thread(target=ask)
        if beside:
            t.start()
        results = together(server.port, [prompt_of(5000 + 100 * k + i) for i in range(8)], 128)
        stop.set()
        if beside:
            t.join()
        times = [x for r in results for x in r["times"]]
        return len(times) / (max(times) - min(times))
    pairs = []
    for k in range(12):
        both = {first: run(first, 2 * k + first) for first in (k % 2 == 1, k % 2 == 0)}
        pairs.append(both[True] / both[False])
    return statistics.median(pairs)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("selvage")
    p.add_argument("model")
    p.add_argument("--peer", help="llama-server")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--bar", type=float, default=4, help="of the streams: times the peer's tokens/s")
    p.add_argument("--what", default="streams,prefix,same,idle,memory,short,sealed")
    a = p.parse_args()
    what = a.what.split(",")
    os.environ.setdefault("LC_ALL", "C")
    options = ["--listen", "127.0.0.1:PORT", "--quiet", "--max-connections", "4096"]
    ours = [a.selvage, "serve", a.model, *options]
    theirs = [a.peer, "-m", a.model, "--port", "PORT", "-np", "16", "-c", "16384", "-t", "2",
              "--no-webui"] if a.peer else None
    out = {}
    servers = {"selvage": Server("selvage", ours)}
    if theirs:
        servers["llama-server"] = Server("llama-server", theirs)
    if "streams" in what:
        rows = {name: [] for name in servers}
        for k in range(a.rounds):
            for name, s in servers.items():
                settle(servers.values())
                rows[name].append(measure_streams(s, k))
        for name, r in rows.items():
            out[name] = {key: statistics.median(x[key] for x in r) for key in r[0]}
        print(json.dumps(out), file=sys.stderr, flush=True)
        if theirs:
            tps = [out[name]["tps"] for name in servers]
            print(f"{os.path.basename(a.model)}: 16 streams, tokens/s: {tps[0]:.0f} to {tps[1]:.0f}, "
                  f"{tps[0] / tps[1]:.2f}x, bar {a.bar:g}x", flush=True)
    for name, s in servers.items():
        if "same" in what:
            out.setdefault(name, {})["texts"] = measure_same(s)
    if "idle" in what:
        out.setdefault("selvage", {})["idle_bytes"] = measure_idle(servers["selvage"])
        out["selvage"]["health"] = measure_health(servers["selvage"])
    for s in servers.values():
        s.stop()
    if "prefix" in what:  # one request at a time, so that the peer has room for it
        alone = [a.peer, "-m", a.model, "--port", "PORT", "-np", "1", "-c", "4096", "-t", "2",
                 "--no-webui"] if a.peer else None
        for name, command in (("selvage", ours), ("llama-server", alone)):
            if command:
                s = Server(name, command)
                out.setdefault(name, {})["prefix"] = measure_prefix(s)
                s.stop()
        print(json.dumps(out), file=sys.stderr, flush=True)
    if "memory" in what:
        for name, command in (("selvage", [*ours, "--kv-memory", "400M"]),
                              ("selvage q8", [*ours, "--kv", "q8", "--kv-memory", "210M"]),
                              ("llama-server", theirs)):
            if not command:
                continue
            s = Server(name.replace(" ", "-"), command)
            together(s.port, [prompt_of(i, 700) for i in range(16)], 64)
            out.setdefault(name, {})["peak_bytes"] = s.peak()
            s.stop()
    if "short" in what:
        out["short"] = measure_short(ours, a.rounds)
    if "sealed" in what:
        out["sealed"] = r = measure_sealed(a.selvage, a.model, options, a.rounds)
        first, tps = r["first"], r["tps"]
        print(f"{os.path.basename(a.model)}: sealed to plain, first token: {1e3 * first['sealed']:.1f} to "
              f"{1e3 * first['plain']:.1f} ms, {first['sealed'] / first['plain']:.2f}x, bar 1.5x; one "
              f"stream: {tps['sealed']:.0f} to {tps['plain']:.0f} tokens/s, "
              f"{tps['sealed'] / tps['plain']:.3f}x, bar 1x", flush=True)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
