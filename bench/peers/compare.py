#!/usr/bin/env python3
"""Speed beside other engines: every engine in turn, on the same file and threads, round after round;
what is compared are the ratios of one round. Prints Markdown.

usage: compare.py SELVAGE [--rounds N] [--threads 1,2] [--peer NAME=COMMAND]... [--own] MODEL...

A peer's COMMAND is its llama-bench, with options that it needs: --peer 'ik=/opt/ik/llama-bench -rtr 1'.
--own adds the rows that need no peer: the cache at depth, batches, other programs on every core,
starting a second time, memory. Standard library only.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

PROMPT, DRAWN, DEPTH = 512, 64, 4096


def ours(selvage, model, threads, *more):
    out = subprocess.run([selvage, "bench", model, "-t", str(threads), "--repeat", "1", "--json", *more],
                         capture_output=True, check=True).stdout
    return json.loads(out)


def theirs(command, model, threads):
    out = subprocess.run([*command, "-m", model, "-p", str(PROMPT), "-n", str(DRAWN), "-t", str(threads), "-r", "1",
                          "-o", "json"], capture_output=True, check=True).stdout
    return {f"pp{r['n_prompt']}" if r["n_prompt"] else f"tg{r['n_gen']}": r["avg_ts"] for r in json.loads(out)}


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def compare(o, model, threads):
    """{test: {engine: [tokens a second by round]}}; "wall": what part of the memory bus, as measured in
    the same run at the model's size, ours has used; "bus": that, in GB/s."""
    table = {}
    for _ in range(o.rounds):
        size = str(os.path.getsize(model))
        run = ours(o.selvage, model, threads, "-p", str(PROMPT), "-n", str(DRAWN), "--membw", "--membw-size", size)
        bus = run["membw"][0]["gbps"]
        for r in run["rows"]:
            table.setdefault(r["test"], {}).setdefault("selvage", []).append(r["tps_median"])
            table[r["test"]].setdefault("bus", []).append(bus)
            table[r["test"]].setdefault("wall", []).append(r["gbps"] / bus if bus else 0.0)
        for name, command in o.peer:
            for test, speed in theirs(command, model, threads).items():
                table[test].setdefault(name, []).append(speed)
    return table


def print_comparison(o, model):
    names = [name for name, _ in o.peer]
    for threads in o.threads:
        table = compare(o, model, threads)
        for test, by in sorted(table.items()):
            best = [max(by[n][i] for n in names) for i in range(o.rounds)] if names else None
            ratio = spread([a / b for a, b in zip(by["selvage"], best)]) if best else "-"
            used, bus = statistics.median(by["wall"]), statistics.median(by["bus"])
            wall = f"{100 * used:.0f} % of {bus:.1f} GB/s" if test[0] == "t" and bus else "-"
            cells = [f"{statistics.median(by[n]):.1f}" for n in ["selvage", *names]]
            print(f"| {os.path.basename(model)} | {test} | {threads} | " + " | ".join(cells) + f" | {ratio} | {wall} |",
                  flush=True)


# --- rows that need no peer ----------------------------------------------------------------------

def speeds(o, model, threads, *more):
    return {(r["test"], r["batch"], r["depth"]): r for r in ours(o.selvage, model, threads, *more)["rows"]}


def at_depth(o, model, threads):
    """Decode behind a long cache, against what the added bytes allow."""
    got = []
    for _ in range(o.rounds):
        rows = speeds(o, model, threads, "-p", "0", "-n", "16", "-d", f"0,{DEPTH}")
        empty, deep = rows["tg16", 1, 0], rows["tg16", 1, DEPTH]
        bytes_empty, bytes_deep = (r["gbps"] / r["tps_median"] for r in (empty, deep))
        got.append(deep["tps_median"] / (empty["tps_median"] * bytes_empty / bytes_deep))
    return f"{spread(got)} of what weights / (weights + KV) allows"


def in_batch(o, model, threads):
    got = []
    for _ in range(o.rounds):
        rows = speeds(o, model, threads, "-p", "0", "-n", "24", "-b", "1,8")
        got.append(rows["tg24", 8, 0]["tps_median"] / rows["tg24", 1, 0]["tps_median"])
    return f"{spread(got)} times one session"


def crowded(o, model, threads):
    got, spin = [], "while True: pass"
    for _ in range(o.rounds):
        quiet = ours(o.selvage, model, threads, "-p", "0", "-n", "48")["rows"][0]["tps_median"]
        others = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(os.cpu_count())]
        try:
            got.append(ours(o.selvage, model, threads, "-p", "0", "-n", "48")["rows"][0]["tps_median"] / quiet)
        finally:
            for p in others:
                p.kill()
                p.wait()
    return f"{spread(got)} of the quiet speed"


def prompt_of(o, model, n):
    """A text of n tokens, or the fewest more that whole words allow."""
    text, count = "one", 0
    while True:
        out = subprocess.run([o.selvage, "tokenize", model, text, "--json"], capture_output=True, check=True).stdout
        if len(json.loads(out)["tokens"]) >= n:
            return text
        text, count = f"{text} {('two', 'three', 'four', 'five', 'one')[count % 5]}", count + 1


def started(o, model, threads):
    """The command's own clock for load and first token; whoever watches it sees the end of the program too."""
    first, whole, prompt = [], [], prompt_of(o, model, 16)
    for _ in range(o.rounds + 1):
        begin = time.monotonic()
        out = subprocess.run([o.selvage, "run", model, prompt, "--raw", "-n", "1", "-t", str(threads), "--json"],
                             capture_output=True, check=True).stdout
        whole.append(1000 * (time.monotonic() - begin))
        timing = json.loads(out)["timing"]
        first.append(timing["load_ms"] + timing["ttft_ms"])
    return f"{spread(first[1:])} ms to load and draw the first token, {spread(whole[1:])} ms for the command, after one"


def memory(o, model, threads):
    out = subprocess.run([o.selvage, "run", model, "one two three", "--raw", "-n", "4", "-t", str(threads), "--json"],
                         capture_output=True, check=True).stdout
    m = json.loads(out)["memory"]
    over = (m["peak_rss"] - os.path.getsize(model) - m["kv"]) / 1e6
    return f"peak {m['peak_rss'] / 1e6:.0f} MB: file + KV {'+' if over >= 0 else '-'} {abs(over):.0f} MB"


OWN = [("decode at depth", at_depth), ("8 sessions", in_batch), ("a program spinning on each core", crowded),
       ("second start", started), ("memory", memory)]


def peer(text):
    name, _, command = text.partition("=")
    if not command:
        raise argparse.ArgumentTypeError("NAME=COMMAND is wanted")
    return name, shlex.split(command)


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    p.add_argument("selvage")
    p.add_argument("models", nargs="+")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=lambda t: [int(x) for x in t.split(",")], default=[1, 2])
    p.add_argument("--peer", type=peer, action="append", default=[])
    p.add_argument("--own", action="store_true")
    o = p.parse_args()
    names = "".join(f" {n} |" for n, _ in o.peer)
    print(f"| file | test | threads | selvage |{names} to the best of them | of the memory bus |")
    print("|---" * (6 + len(o.peer)) + "|")
    for model in o.models:
        print_comparison(o, model)
    for model in o.models if o.own else []:
        print(f"\n{os.path.basename(model)}:\n")
        for what, measure in OWN:
            for threads in o.threads:
                print(f"- {what}, {threads} thread{'s' if threads > 1 else ''}: {measure(o, model, threads)}", flush=True)
    print(f"\n{o.rounds} rounds")


if __name__ == "__main__":
    main()
