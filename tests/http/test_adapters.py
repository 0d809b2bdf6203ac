#!/usr/bin/env python3
"""Adapters come and go while others are answered. What a user would lose: a stream that runs well and stands
still, as long as a file takes to read, whenever an administrator loads an adapter or unloads one.

    SLV_TEST_MODEL=FILE test_adapters.py SELVAGE      prints TAP

Quiet spells and spells of loading and unloading take turns in one run, while streams go on, so that whatever
else the machine does is in both; of each spell the longest pause counts, and medians are compared.
"""
import os
import signal
import statistics
import struct
import sys
import time

import serving
from serving import NAME, SLOW, Home, Stream, tap

import gguf_writer as g

serving.skip_unless("SLV_TEST_MODEL")
HOME = Home("adapters")
ROUNDS = 7
SPELL = 0.8  # seconds
PAUSE = 0.05
# of SmolLM2 135M: what is multiplied in each of its layers, columns and rows
LAYERS, RANK = 30, 64
MATRICES = {"attn_q": (576, 576), "attn_k": (576, 192), "attn_v": (576, 192), "attn_output": (576, 576),
            "ffn_gate": (576, 1536), "ffn_up": (576, 1536), "ffn_down": (1536, 576)}


def write_adapter(path):
    """One of rank 64 on all matrices, 39 MB: it takes a while to read."""
    piece = struct.pack("<8e", *(x / 4096 for x in (3, -5, 7, 1, -2, 6, -4, -1)))
    heads, data = [], b""
    for i in range(LAYERS):
        for name, (cols, rows) in MATRICES.items():
            for end, dims in (("lora_a", (cols, RANK)), ("lora_b", (RANK, rows))):
                heads.append(g.tensor(f"blk.{i}.{name}.weight.{end}", dims, g.T_F16, len(data)))
                data += piece * (dims[0] * dims[1] // 8)
    meta = [g.kv("general.type", g.STR, "adapter"), g.kv("adapter.type", g.STR, "lora"),
            g.kv("general.architecture", g.STR, "llama"), g.kv("adapter.lora.alpha", g.F32, 1.0)]
    with open(path, "wb") as f:
        f.write(g.gguf(meta, heads, data))


def begin(server, seed):
    return Stream(server, "/v1/completions", {"model": NAME, "prompt": "Once", "max_tokens": 1900, "ignore_eos": True,
                                              "seed": seed})


def load_and_unload(server, end):
    """Seconds of each loading."""
    took = []
    while time.monotonic() < end:
        start = time.monotonic()
        r = server.ask("POST", "/v1/adapters", {"name": "large"})
        took.append(time.monotonic() - start)
        assert r.status == 200 and [a["name"] for a in r.json()["data"]] == ["large"], r.body
        r = server.ask("DELETE", "/v1/adapters/large")
        assert r.status == 200 and r.json()["data"] == [], r.body
    return took


def streams_do_not_pause_for_adapters():
    write_adapter(HOME.path("large.gguf"))
    with HOME.serve("--ctx", "2048", "--slots", "4", "--adapters", HOME.root) as server:
        load_and_unload(server, 0.0)
        streams, seed, loads, pauses = [], 0, [], {"quiet": [], "loading": []}
        spell = SPELL * SLOW
        for i in range(2 * ROUNDS):
            for s in [s for s in streams if not s.lives(400)]:
                streams.remove(s)
                s.close()
            while len(streams) < 2:
                seed += 1
                streams.append(begin(server, seed))
            server.until(lambda: all(len(s.times) > 5 for s in streams), 60)
            kind = "loading" if i % 2 else "quiet"
            start = time.monotonic()
            if kind == "loading":
                loads += load_and_unload(server, start + spell)
            else:
                time.sleep(spell)
            end = time.monotonic()
            pauses[kind].append(max(s.longest_pause(start, end) for s in streams))
        for s in streams:
            s.close()
    quiet, loading = (statistics.median(pauses[k]) for k in ("quiet", "loading"))
    ms = {k: " ".join("%.0f" % (x * 1e3) for x in v) for k, v in pauses.items()}
    print("# longest pauses, ms: %s; while loading %s; %d loads of %.0f ms" % (
        ms["quiet"], ms["loading"], len(loads), statistics.median(loads) * 1e3), flush=True)
    assert len(loads) >= ROUNDS
    # standing still for a load would be as long as one; the machine may be busy with other things
    assert loading <= quiet + max(PAUSE * SLOW, statistics.median(loads) / 4), (quiet, loading, loads)


def only_files_of_the_folder_are_adapters():
    """What an administrator would lose: whoever may write to the folder had the server read any file it may."""
    folder = HOME.path("some")
    os.mkdir(folder)
    write_adapter(HOME.path("outside.gguf"))
    write_adapter(os.path.join(folder, "good.gguf"))
    os.mkdir(os.path.join(folder, "folder.gguf"))
    os.mkfifo(os.path.join(folder, "pipe.gguf"))
    os.symlink("good.gguf", os.path.join(folder, "inside.gguf"))
    os.symlink(HOME.path("outside.gguf"), os.path.join(folder, "link.gguf"))
    os.symlink("../outside.gguf", os.path.join(folder, "upwards.gguf"))
    with open(os.path.join(folder, "good.gguf"), "rb") as f, open(os.path.join(folder, "cut.gguf"), "wb") as to:
        to.write(f.read(30000))
    for more in ((), ("--no-sandbox",)):
        with HOME.serve("--ctx", "512", "--adapters", folder, *more) as server:
            for name, status, says in (
                    ("none", 404, "there is no file none.gguf in"), ("link", 404, "there is no file link.gguf in"),
                    ("upwards", 404, "there is no file upwards.gguf in"), ("folder", 400, "folder: is not a file"),
                    ("pipe", 400, "pipe: is not a file"), ("cut", 400, "cut: ")):
                r = server.ask("POST", "/v1/adapters", {"name": name})
                assert r.status == status and r.error()["message"].startswith(says), (name, r.status, r.body)
                assert ": :" not in r.error()["message"] and HOME.path("") not in r.error()["message"], r.body
            for name in ("good", "inside"):
                assert server.ask("POST", "/v1/adapters", {"name": name}).status == 200


def a_pause_would_be_seen():
    """The same measure, where the server is made to stand still: what finds nothing finds nothing wrong."""
    with HOME.serve("--ctx", "2048") as server, begin(server, 1) as s:
        server.until(lambda: len(s.times) > 20)
        start = time.monotonic()
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(server.process.pid, signal.SIGCONT)
        n = len(s.times)
        server.until(lambda: len(s.times) > n + 5)
        assert s.longest_pause(start, time.monotonic()) >= 0.25, s.times[-20:]


if __name__ == "__main__":
    sys.exit(tap.run([only_files_of_the_folder_are_adapters, streams_do_not_pause_for_adapters, a_pause_would_be_seen]))
