#!/usr/bin/env python3
"""More answers than there is memory for: none fails, and none says another word than it says alone, whether
what waits is put on the disk, cannot be put there, or is computed again; who is worth more does not wait. And
that the file on the disk is nobody's to find.

usage: test_memory.py SELVAGE MODEL...      prints TAP
"""
import glob
import os
import resource
import sys
import threading

from serving import SLOW, Home, tap

MODELS = [os.path.abspath(a) for a in sys.argv[2:]]
NAMES = [os.path.basename(m).rsplit(".", 1)[0] for m in MODELS]
HOME = Home("memory")
CLIENTS = 8
# Some two answers of full length have room together.
TIGHT = ("--ctx", "512", "--kv-memory", "1M", "--slots", str(CLIENTS))


def serve(*args, **how):
    return HOME.serve(*TIGHT, *args, **how, models=[f"{n}={m}" for n, m in zip(NAMES, MODELS)])


def ask(server, model, i, **how):
    """Without a word of how long the answer may be: as long as the context is."""
    body = {"model": model, "prompt": "The %d children of the house" % i, "seed": i, "temperature": 0.8,
            "ignore_eos": True, **how}
    r = server.ask("POST", "/v1/completions", body, timeout=120 * SLOW)
    assert r.status == 200, (r.status, r.body)
    choice = r.json()["choices"][0]
    return choice["text"], choice["finish_reason"], r.json()["usage"]["completion_tokens"]


def together(server, model, **how):
    said = [None] * CLIENTS

    def client(i):
        said[i] = ask(server, model, i, **how)
    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return said


def count(server, metric, model):
    return float(server.metrics().get(metric + '{model="%s"}' % model, 0))


def check(server, model, spills):
    said = together(server, model)
    parks, spilled, again = (count(server, "selvage_" + m, model) for m in
                             ("parks_total", "spilled_bytes_total", "recomputed_tokens_total"))
    print("# %s: waited %d times, %d bytes spilled, %d tokens again" % (model, parks, spilled, again))
    assert said == ALONE[model], [i for i in range(CLIENTS) if said[i] != ALONE[model][i]]
    assert parks > 0, "there was memory for all"
    assert (spilled > 0) == spills and (spills or again > 0), (spilled, again)
    assert count(server, "selvage_parked", model) == 0 and server.active() == 0


def spill_folder(name):
    os.mkdir(HOME.path(name))
    return HOME.path(name)


def what_waits_is_computed_again():
    with serve() as server:
        for model in NAMES:
            check(server, model, spills=False)


def or_put_on_the_disk():
    folder = spill_folder("spill")
    with serve("--spill", folder) as server:
        for model in NAMES:
            check(server, model, spills=True)
        assert not os.listdir(folder), os.listdir(folder)
        children = {int(p) for p in open("/proc/%d/task/%d/children" % (server.process.pid, server.process.pid)).read().split()}
        have = [p for p in {server.process.pid, *children} if any(
            os.readlink(f).startswith(os.path.realpath(folder)) for f in glob.glob("/proc/%d/fd/*" % p))]
        assert have == [server.process.pid], (have, children)


def where_the_disk_is_full_it_is_computed_again():
    with serve("--spill", spill_folder("full"), full_disks=True) as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for model in NAMES:
            check(server, model, spills=False)
        assert server.stderr().count("spill: cannot write") == 1, server.stderr()


def who_is_worth_more_does_not_wait():
    model = NAMES[0]
    with serve() as server:
        ended, lock = [], threading.Lock()

        def client(i, priority):
            said = ask(server, model, i % CLIENTS, priority=priority)
            with lock:
                ended.append(priority)
            assert said == ALONE[model][i % CLIENTS]
        low = [threading.Thread(target=client, args=(i, 0)) for i in range(3 * CLIENTS)]
        for t in low:
            t.start()
        server.until(lambda: count(server, "selvage_parks_total", model) > 0)
        before = len(ended)
        high = threading.Thread(target=client, args=(5, 9))
        high.start()
        for t in [*low, high]:
            t.join()
        assert ended.index(9) - before < CLIENTS, (before, ended)  # they began before it


def nor_for_a_place():
    model = NAMES[0]
    with HOME.serve("--ctx", "512", "--slots", "1", models=[f"{model}={MODELS[0]}"]) as server:
        ended, lock = [], threading.Lock()

        def client(i, priority, **how):
            said = ask(server, model, i, priority=priority, **how)
            with lock:
                ended.append(priority)
            assert "max_tokens" in how or said == ALONE[model][i]
        low = [threading.Thread(target=client, args=(i, -3)) for i in range(CLIENTS)]
        for t in low:
            t.start()
        server.until(lambda: server.active() == 1)
        before = len(ended)
        client(6, 4, max_tokens=2)
        assert ended.index(4) <= before + 1 and count(server, "selvage_parks_total", model) >= 1, (before, ended)
        for t in low:
            t.join()


def a_folder_that_is_not_there_is_an_error():
    said = HOME.run("serve", "--listen", "127.0.0.1:0", "--spill", HOME.path("nowhere"), MODELS[0], status=1)
    assert "nowhere" in said and len(said.strip().splitlines()) == 1, said


with serve() as server:
    ALONE = {model: [ask(server, model, i) for i in range(CLIENTS)] for model in NAMES}
    # the disk, and those who wait, are not used for one at a time
    assert all(count(server, "selvage_parks_total", model) == 0 for model in NAMES)
assert all(finish == "length" and n > 400 for model in NAMES for _, finish, n in ALONE[model]), ALONE
sys.exit(tap.run([what_waits_is_computed_again, or_put_on_the_disk, where_the_disk_is_full_it_is_computed_again,
                  who_is_worth_more_does_not_wait, nor_for_a_place, a_folder_that_is_not_there_is_an_error]))
