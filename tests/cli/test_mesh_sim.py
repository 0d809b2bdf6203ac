#!/usr/bin/env python3
"""The mesh in the simulator: what was written is there, whatever the network and the disks do.

usage: test_mesh_sim.py SELVAGE [--full]      prints TAP
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
FULL = "--full" in sys.argv
SLOW = 20 if tap.sanitized(PROGRAM) else 1


def sim(*args, status=0):
    p = subprocess.run([PROGRAM, "mesh", "sim", *map(str, args)], capture_output=True, text=True, timeout=3000, check=False)
    assert p.returncode == status, (args, p.returncode, p.stdout[-3000:], p.stderr[-3000:])
    return p.stderr if status else p.stdout


def seeds(n):
    return max(n * (40 if FULL else 1) // SLOW, 5)


def all_hold(nodes, n, *args, first=1):
    said = sim("--nodes", nodes, "--seed", first, "--seeds", seeds(n), *args, "--json")
    got = json.loads(said)
    assert got["failed"] == [] and got["held"] == got["seeds"] == seeds(n), got
    assert got["writes"] > 20 * got["seeds"], got
    return got


def five_nodes_agree_whatever_befalls_them():
    got = all_hold(5, 300)
    assert got["crashes"] > got["seeds"], got


def two_nodes_agree():
    all_hold(2, 60)


def three_nodes_agree():
    all_hold(3, 80)


def nine_nodes_agree():
    all_hold(9, 40)


def each_fault_alone_is_survived():
    for i, fault in enumerate(("loss", "delay", "double", "split", "one-way", "crash", "clock", "slow", "full", "flip", "lie",
                               "narrow", "traitor", "churn", "lost")):
        all_hold(4, 5, "--faults", fault, "--exact", "--for", 10, first=1000 * i)


def a_hundred_nodes_agree():
    all_hold(100, 1, "--faults", "loss,crash,delay", "--for", 3)


def without_faults_all_agree_at_once():
    """Where a disk takes 600 ms to sync, handing over (which is asked for until the end) takes three of them, and a read by
    barrier two: each may have to wait for one under way."""
    assert all_hold(5, 5, "--faults", "none")["agreed_ms"] < 5000


def the_same_seed_prints_the_same():
    args = ("--seed", 77, "--seeds", 3)
    assert sim(*args) == sim(*args)
    assert sim("--seed", 78, "--trace") == sim("--seed", 78, "--trace")
    assert sim(*args) != sim("--seed", 80, "--seeds", 3)


def what_happens_can_be_read():
    said = sim("--seed", 5, "--faults", "crash,split", "--exact", "--trace")
    assert re.search(r"^ +\d+\.\d{3}  node \d crashes$", said, re.M), said
    assert "the network is split" in said and "suffer no more" in said, said


def wrong_options_are_refused():
    for args, word in ((("--faults", "los"), "'los'"), (("--nodes", 1), "nodes"), (("--faults", "loss,"), "''"),
                       (("--trace", "--json"), "--trace")):
        said = sim(*args, status=2)
        assert word in said and said.count("\n") == 1, said


if __name__ == "__main__":
    sys.exit(tap.run([five_nodes_agree_whatever_befalls_them, two_nodes_agree, three_nodes_agree, nine_nodes_agree,
                      each_fault_alone_is_survived, a_hundred_nodes_agree, without_faults_all_agree_at_once,
                      the_same_seed_prints_the_same, what_happens_can_be_read, wrong_options_are_refused]))
