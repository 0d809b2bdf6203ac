#!/usr/bin/env python3
"""What bench measures and shows, on a tiny model: rows, operators, traces, tuning.

    test_bench.py SELVAGE MODEL WINDOWED_MODEL     (TAP on standard output)

What a user would lose is in each test's name.
"""
import atexit
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tap

SELVAGE, MODEL, WINDOWED = sys.argv[1:4]
TESTS = []
HOME = tempfile.mkdtemp(prefix="selvage-bench-")
os.environ["SELVAGE_HOME"] = HOME
atexit.register(shutil.rmtree, HOME, True)


def test(fn):
    TESTS.append(fn)
    return fn


def run(*args, env=None):
    return subprocess.run([SELVAGE, *args], capture_output=True, env=dict(os.environ, **(env or {})), timeout=240)


def bench(*args, env=None):
    done = run("bench", MODEL, "--json", *args, env=env)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def fails(done, status, *words):
    err = done.stderr.decode()
    assert done.returncode == status and err.startswith("selvage: ") and err.count("\n") == 1, (done.returncode, err)
    for word in words:
        assert word in err, (word, err)


@test
def rows_cover_every_setting_and_count_weights_once_a_step():
    out = bench("-p", "16", "-n", "8", "-t", "1,2", "-d", "0,16", "-b", "1,4", "--repeat", "3")
    got = [(r["test"], r["threads"], r["batch"], r["depth"]) for r in out["rows"]]
    assert got == [(test, t, b, d) for t in (1, 2) for d in (0, 16) for b, tests in ((1, ("pp16", "tg8")), (4, ("tg8",)))
                   for test in tests], got
    for r in out["rows"]:
        assert 0 < r["tps_min"] <= r["tps_median"] <= r["tps_max"] and r["peak_rss"] > 0 and r["load_ms"] > 0, r
        assert "joules_per_token" not in r or r["joules_per_token"] > 0
    a_token = {(r["test"], r["batch"], r["depth"]): r["gbps"] / r["tps_median"] * 1e9 for r in out["rows"]}
    weights = out["model"]["weights"]
    one, four, deep = (a_token["tg8", b, d] for b, d in ((1, 0), (4, 0), (1, 16)))
    cache = one - weights  # of 4 positions
    assert cache > 0 and math.isclose(deep, weights + cache * 5, rel_tol=1e-6), (one, deep)
    assert math.isclose(four, weights / 4 + cache, rel_tol=1e-6), (one, four)
    assert a_token["pp16", 1, 0] < weights / 16 + cache * 4
    # a prompt of two steps reads all but the output matrix twice
    halves = bench("-p", "16", "-n", "0", "-t", "1", "--repeat", "1", "--batch-size", "8")["rows"][0]
    assert halves["gbps"] / halves["tps_median"] * 1e9 > 1.2 * a_token["pp16", 1, 0]


@test
def runs_behind_a_window_begin_where_they_say():
    # Each run goes on past what a window of 12 keeps, so the next one must read its depth again.
    for more in (), ("--ops",):
        done = run("bench", WINDOWED, "--json", "-p", "0", "-n", "200", "-d", "200", "--repeat", "3",
                   "-t", "1", "--batch-size", "8", *more)
        assert done.returncode == 0, done
        out = json.loads(done.stdout)
        deep = out["ops"][0] if more else out["rows"][0]
        assert deep["depth"] == 200 and deep["tokens" if more else "tps_min"] > 0, out


@test
def operators_make_up_the_time_of_a_token():
    out = bench("--ops", "-p", "32", "-n", "8", "-t", "1,2", "--repeat", "2")
    assert out["rows"] == []
    assert [(t["test"], t["threads"]) for t in out["ops"]] == [(x, n) for n in (1, 2) for x in ("pp32", "tg8")]
    for t in out["ops"]:
        names = [o["operator"] for o in t["operators"]]
        for name in ("embedding", "norm", "q,k,v", "rope, cache", "attention", "attention output", "ffn gate+up",
                     "ffn activation", "ffn down", "output norm", "logits"):
            assert name in names, (name, names)
        assert len(set(names)) == len(names)
        whole = sum(o["share"] for o in t["operators"]) + t["waiting"] + t["between"]
        assert abs(whole - 1) < 1e-6, whole
        assert math.isclose(sum(o["us"] for o in t["operators"]), t["us"] * (1 - t["waiting"] - t["between"]), rel_tol=1e-6)
        assert math.isclose(t["us"] * t["tps"], 1e6, rel_tol=1e-6)
        assert t["tokens"] == 2 * (32 if t["test"] == "pp32" else 8)
        assert t["ceilings"]["product_tops"] > 0 and t["ceilings"]["columns"] == (32 if t["test"] == "pp32" else 1)
        for o in t["operators"]:
            reads = o["operator"] in ("q,k,v", "attention", "attention output", "ffn gate+up", "ffn down", "logits")
            assert (o["bytes"] > 0) == reads == (o["gbps"] is not None) == (o["tops"] is not None), o
    weights = sum(o["bytes"] for o in out["ops"][1]["operators"] if o["operator"] != "attention")
    assert 0.9 * out["model"]["weights"] < weights <= out["model"]["weights"], (weights, out["model"])
    text = run("bench", MODEL, "--ops", "-p", "0", "-n", "4", "-t", "2", "--repeat", "1").stdout.decode()
    for word in ("tg4, 2 threads", "ffn gate+up", "waiting", "between steps", "ceilings: memory"):
        assert word in text, text


def check_trace(events, threads):
    """Complete events that lie side by side or one in the other, of every operator, on every member."""
    done = [e for e in events if e["ph"] == "X"]
    assert {e["ph"] for e in events} == {"X", "M"}
    for pid in {e["pid"] for e in done}:
        of_pid = [e for e in done if e["pid"] == pid]
        steps = [e for e in of_pid if e["name"] in ("token", "prompt step")]
        assert steps and all(s["tid"] == 0 for s in steps)
        names = {e["name"] for e in of_pid} - {"token", "prompt step"}
        assert {"embedding", "norm", "q,k,v", "rope, cache", "attention", "attention output", "ffn gate+up",
                "ffn activation", "ffn down", "output norm", "logits"} <= names, names
        assert {e["tid"] for e in of_pid} <= set(range(threads))
        for tid in {e["tid"] for e in of_pid}:
            end, last = 0.0, sorted((e for e in of_pid if e["tid"] == tid and e not in steps), key=lambda e: e["ts"])
            for e in last:
                assert e["dur"] >= 0 and e["ts"] >= end - 1e-3, e
                end = e["ts"] + e["dur"]
                step = steps[e["args"]["step"]]
                assert step["ts"] - 1e-3 <= e["ts"] and end <= step["ts"] + step["dur"] + 1e-3, (e, step)
                assert e["args"]["layer"] >= 0 and e["args"]["bytes"] >= 0
        for a, b in zip(steps, steps[1:]):
            assert a["ts"] + a["dur"] <= b["ts"] + 1e-3
    return done


@test
def a_trace_is_whole_and_nothing_in_it_overlaps():
    with tempfile.TemporaryDirectory() as d:
        file = pathlib.Path(d, "trace.json")
        out = bench("-p", "16", "-n", "6", "-t", "2", "--repeat", "1", "--trace", str(file))
        assert [r["test"] for r in out["rows"]] == ["pp16", "tg6"] and "ops" not in out
        done = check_trace(json.loads(file.read_text()), 2)
        assert sum(e["name"] == "token" for e in done) == 6 and sum(e["name"] == "prompt step" for e in done) == 1
        assert os.listdir(d) == ["trace.json"]
        # with --ops, and one process for each setting
        bench("--ops", "-p", "16", "-n", "6", "-t", "1,3", "-d", "0,8", "--repeat", "2", "--trace", str(file))
        done = check_trace(json.loads(file.read_text()), 3)
        assert len({e["pid"] for e in done}) == 8
        fails(run("bench", MODEL, "-p", "4", "-n", "0", "-t", "1", "--trace", d + "/none/x.json"), 1, "none/x.json")


@test
def options_that_do_not_go_together_are_refused():
    fails(run("bench", MODEL, "-p", "0", "-n", "0"), 2, "nothing to measure")
    fails(run("bench", MODEL, "-p", "0", "-n", "0", "--membw", "--ops"), 2, "nothing to measure")
    fails(run("bench", MODEL, "--speculate", "/dev/null", "--ops"), 2, "--ops", "--speculate")
    fails(run("bench", MODEL, "--ops", "-b", "1,4"), 2, "one session")
    for more in (("-p", "0"), ("-n", "0"), ("-t", "1"), ("--batch-size", "8"), ("--ops",), ("-d", "4"), ("-b", "2")):
        fails(run("bench", MODEL, "--tune", *more), 2, "--tune")
    fails(run("bench", MODEL, "-n", "4", "-p", "0", "-d", "100000", "--ops"), 2, "positions")


ASK = ["run", MODEL, "--raw", "some words to begin with, and some more of them", "-n", "12", "--logprobs", "3",
       "--echo-tokens", "--json"]


def said(*more, env=None):
    done = run(*ASK, *more, env=env)
    assert done.returncode == 0, done.stderr.decode()
    out = json.loads(done.stdout)
    return [out[key] for key in ("text", "tokens", "logprobs", "prompt_logprobs", "finish")], done.stderr.decode()


@test
def what_was_tuned_is_used_and_changes_no_answer():
    assert bench("-p", "8", "-n", "4", "--repeat", "1")["model"]["tuned"] is False
    before, _ = said()
    out = bench("--tune", "-p", "200", "-n", "16", "--repeat", "2")["tune"]
    tried = [(t["what"], t["threads"], t["step"]) for t in out["tried"]]
    assert all(t["tps"] > 0 for t in out["tried"]), tried
    assert {t[1] for t in tried if t[0] == "decode"} >= {1}
    for side in ("before", "after"):
        assert out[side]["prompt_tps"] > 0 and out[side]["decode_tps"] > 0
        assert 1 <= out[side]["decode_threads"] <= out[side]["prompt_threads"]
    assert out["after"]["prompt_tps"] >= out["before"]["prompt_tps"] and \
        out["after"]["decode_tps"] >= out["before"]["decode_tps"]
    file = pathlib.Path(out["file"])
    assert file.parent == pathlib.Path(HOME, "tuned") and os.listdir(file.parent) == [file.name]
    used = bench("-p", "8", "-n", "4", "--repeat", "1")
    assert used["model"]["tuned"] is True
    assert [r["threads"] for r in used["rows"]] == [out["after"]["prompt_threads"], out["after"]["decode_threads"]]
    assert bench("-p", "8", "-n", "4", "--repeat", "1", "--no-tuned")["model"]["tuned"] is False
    for args in ((), ("--no-tuned",), ("-t", "3"), ("-b", "5")):
        assert said(*args) == (before, ""), args
    # a foreign or broken file costs one line, and nothing else
    good = file.read_bytes()
    for bad in (good[:-1], good.replace(b"tuned 1", b"tuned 2"), b"", os.urandom(5000), good.replace(b"threads, ", b"threadz, ")):
        file.write_bytes(bad)
        answer, err = said()
        assert answer == before and err.count("\n") == 1 and "passed over" in err and str(file) in err, (bad, err)
        assert said("--no-tuned") == (before, "")
        assert said("-t", "1", "-b", "16") == (before, ""), "nothing was left to fill in"
    file.write_bytes(good)
    assert said() == (before, "")
    lines = b'{"prompt": "one"}\n{"prompt": "two"}\n'
    got = [subprocess.run([SELVAGE, "batch", MODEL, "-", "-n", "6", *more], input=lines, capture_output=True, check=True)
           for more in ((), ("--no-tuned",))]
    assert got[0].stdout == got[1].stdout and got[0].stdout.count(b"\n") == 2


@test
def a_model_takes_along_what_was_tuned_for_it():
    assert run("pull", "--quiet", "--from", MODEL, "tiny:x").returncode == 0
    done = run("bench", "tiny:x", "--tune", "-p", "8", "-n", "4", "--repeat", "1")
    assert done.returncode == 0 and b"before" in done.stdout and b"kept in " in done.stdout, done
    assert os.listdir(HOME + "/tuned")
    assert run("rm", "--quiet", "tiny:x").returncode == 0
    assert not os.listdir(HOME + "/tuned")


@test
def what_cannot_be_kept_is_shown_all_the_same():
    os.rmdir(HOME + "/tuned")
    pathlib.Path(HOME, "tuned").write_text("in the way")
    done = run("bench", MODEL, "--quiet", "--tune", "-p", "8", "-n", "4", "--repeat", "1")
    pathlib.Path(HOME, "tuned").unlink()
    assert b"before" in done.stdout and b"after" in done.stdout and b"kept in" not in done.stdout, done.stdout
    fails(done, 5, "tuned", "not a folder")


sys.exit(tap.run(TESTS))
