#!/usr/bin/env python3
"""Several models within one budget: what fits is there early, what does not comes when it is asked for and
in the place of another, nobody who asks waits for ever, and the budget is kept. A model with adapters stays. And pages of an origin that was named.

usage: test_models.py SELVAGE MODEL ADAPTER      prints TAP
"""
import os
import shutil
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
for sibling in ("interop", "http"):
    sys.path.insert(0, os.path.join(HERE, "..", sibling))
import tap  # noqa: E402
from serving import Server  # noqa: E402

PROGRAM, MODEL, ADAPTER = (os.path.abspath(a) for a in sys.argv[1:4])
FOLDER = tempfile.TemporaryDirectory(prefix="selvage-models-")
HOME = {"SELVAGE_HOME": FOLDER.name + "/store"}
NAMES = ("a", "b", "c")
# a cache of a size of its own, or the first model would take all that the others leave
SMALL = ("--slots", "2", "--ctx", "128", "--kv-memory", "2M")


def ask(server, name, **how):
    return server.ask("POST", "/v1/completions", {"model": name, "prompt": "Hi", "max_tokens": 2, **how}, timeout=60)


def states(server):
    return {m["id"]: m["status"] for m in server.ask("GET", "/v1/models").json()["data"]}


def one_takes():
    """Bytes that one model takes."""
    with Server(PROGRAM, *SMALL, models=["a=" + MODEL], env=HOME) as server:
        return int(server.metrics()["selvage_memory_planned_bytes"])


def room_for(n, *args):
    budget = int(ONE * (n + 0.4))
    return Server(PROGRAM, *SMALL, "--memory", str(budget), *args, models=[f"{n}={MODEL}" for n in NAMES], env=HOME)


def what_fits_is_there_early():
    with room_for(2) as server:
        server.until(lambda: sorted(states(server).values()) == ["ready", "ready", "unloaded"])
        server.until(lambda: "opened when it is asked for" in server.stderr())
        assert ask(server, "c").status == 200
        assert states(server)["c"] == "ready" and list(states(server).values()).count("ready") == 2, states(server)


def whoever_asks_is_answered():
    with room_for(1) as server:
        statuses, lock = [], threading.Lock()

        def client(k):
            for i in range(12):
                r = ask(server, NAMES[(k + i * (k + 1)) % 3])
                with lock:
                    statuses.append(r.status)
        threads = [threading.Thread(target=client, args=(k,)) for k in range(6)]
        for t in threads:
            t.start()
        most = 0
        while any(t.is_alive() for t in threads):
            m = server.metrics()
            most = max(most, m["selvage_memory_planned_bytes"] / m["selvage_memory_budget_bytes"])
        for t in threads:
            t.join()
        assert statuses == [200] * 72, statuses
        assert most <= 1, most
        assert list(states(server).values()).count("ready") == 1, states(server)


def a_model_with_adapters_stays():
    folder = os.path.join(FOLDER.name, "adapters")
    os.makedirs(folder, exist_ok=True)
    shutil.copy(ADAPTER, os.path.join(folder, "one.gguf"))
    with room_for(1, "--lazy", "--adapters", folder) as server:
        assert ask(server, "a").status == 200
        r = server.ask("POST", "/v1/adapters", {"name": "one", "model": "a"})
        assert r.status == 200, r.body
        r = ask(server, "b")
        assert r.status == 503 and r.error()["code"] == "out_of_memory", r.body
        assert ask(server, "a", adapters=["one"]).status == 200
        assert server.ask("DELETE", "/v1/adapters/one").status == 200
        server.until(lambda: ask(server, "b").status == 200, 20)  # a failure is remembered for a moment


def what_never_fits_is_said():
    with Server(PROGRAM, *SMALL, "--memory", str(ONE // 2), models=["a=" + MODEL], env=HOME, wait=False) as server:
        server.until(lambda: server.ask("GET", "/health").json()["status"] == "failed")
        r = ask(server, "a")
        assert r.status == 503 and "MiB" in r.error()["message"] and MODEL not in r.error()["message"], r.body


def a_page_that_was_named_may_ask():
    """And reads what it gets, also in a stream and where it is refused; others may not."""
    page = {"Origin": "http://app.example"}
    with Server(PROGRAM, *SMALL, "--origin", "http://app.example", models=["a=" + MODEL], env=HOME) as server:
        before = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        r = server.ask("OPTIONS", "/v1/chat/completions", headers=before)
        assert r.status == 200 and "POST" in r.headers["Access-Control-Allow-Methods"], r.headers
        assert "content-type" in r.headers["Access-Control-Allow-Headers"], r.headers
        for body, status in (({"prompt": "Hi", "max_tokens": 2}, 200), ({"prompt": "Hi", "max_tokens": 2, "stream": True},
                             200), ({"prompt": "Hi", "no": 1}, 400)):
            r = server.ask("POST", "/v1/completions", body, page)
            assert r.status == status and r.headers["Access-Control-Allow-Origin"] == "http://app.example", r.headers
        r = server.ask("POST", "/v1/completions", {"prompt": "Hi"}, {"Origin": "http://app.example.evil"})
        assert r.status == 403 and "Access-Control-Allow-Origin" not in r.headers, r.headers
        assert "Access-Control-Allow-Origin" not in server.ask("GET", "/v1/models").headers
        assert server.ask("OPTIONS", "/nothing", headers=before).status == 404


ONE = one_takes()

if __name__ == "__main__":
    sys.exit(tap.run([what_fits_is_there_early, whoever_asks_is_answered, a_model_with_adapters_stays,
                      what_never_fits_is_said, a_page_that_was_named_may_ask]))
