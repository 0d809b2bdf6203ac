#!/usr/bin/env python3
"""Several models within one budget: what fits is there early, what does not comes when it is asked for and
in the place of another, nobody who asks waits for ever, and the budget is kept. A model with adapters stays. And pages of an origin that was named.

usage: test_models.py SELVAGE MODEL ADAPTER      prints TAP
"""
import os
import shutil
import signal
import sys
import threading
import time

from serving import SLOW, Home, tap

MODEL, ADAPTER = (os.path.abspath(a) for a in sys.argv[2:4])
HOME = Home("models")
NAMES = ("a", "b", "c")
# a cache of a size of its own, or the first model would take all that the others leave
SMALL = ("--slots", "2", "--ctx", "128", "--kv-memory", "2M")


def ask(server, name, **how):
    return server.ask("POST", "/v1/completions", {"model": name, "prompt": "Hi", "max_tokens": 2, **how}, timeout=60)


def one_takes():
    """Bytes that one model takes, of a memory whose share for schemas is the least."""
    with HOME.serve(*SMALL, "--memory", "100M", models=["a=" + MODEL]) as server:
        return int(server.metrics()["selvage_memory_planned_bytes"])


def room_for(n, *args):
    budget = int(ONE * (n + 0.4))
    return HOME.serve(*SMALL, "--memory", str(budget), *args, models=[f"{n}={MODEL}" for n in NAMES])


def what_fits_is_there_early():
    with room_for(2) as server:
        server.until(lambda: sorted(server.states().values()) == ["ready", "ready", "unloaded"])
        server.until(lambda: "opened when it is asked for" in server.stderr())
        assert ask(server, "c").status == 200
        assert server.states()["c"] == "ready" and list(server.states().values()).count("ready") == 2, server.states()


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
        assert list(server.states().values()).count("ready") == 1, server.states()


def a_model_with_adapters_stays():
    folder = HOME.path("adapters")
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
    small = ("--memory", str(ONE // 2))
    with HOME.serve(*SMALL, *small, "--lazy", models=["a=" + MODEL], wait=False) as server:
        r = ask(server, "a")
        assert r.status == 503 and "MiB" in r.error()["message"] and MODEL not in r.error()["message"], r.body
        assert server.ask("GET", "/health").json()["status"] == "failed"
    with HOME.serve(*SMALL, *small, "--memory", str(3 * ONE), models=["a=" + MODEL, "b=" + MODEL]) as server:
        assert ask(server, "b").status == 200


def a_server_of_no_use_ends():
    """Not one that says it listens and answers 503 for ever; with one model that is good it goes on."""
    broken = HOME.path("broken.gguf")
    with open(MODEL, "rb") as f, open(broken, "wb") as to:
        to.write(f.read(5000))
    said = HOME.run("serve", "--listen", "127.0.0.1:0", *SMALL, "--memory", ONE // 2, MODEL, status=4)
    assert "MiB" in said.splitlines()[-1], said
    said = HOME.run("serve", "--listen", "127.0.0.1:0", *SMALL, broken, status=3)
    assert broken in said.splitlines()[-1], said
    with HOME.serve(*SMALL, models=["a=" + MODEL, "b=" + broken]) as server:
        assert ask(server, "a").status == 200 and ask(server, "b").status == 503


def a_small_memory_makes_small_requests():
    """The context is what fits, unless one was asked for: then it is said which would."""
    def look(*args):
        with HOME.serve("--slots", "2", "--memory", "100M", *args, models=["a=" + MODEL]) as server:
            return (server.get("/v1/models")["data"][0]["context"],
                    int(server.metrics()["selvage_memory_planned_bytes"]))
    context, takes = look()
    fixed = look("--kv-memory", "2M")[1] - (2 << 20)
    kept = fixed + (takes - fixed) // 4  # half of what one request would like
    with HOME.serve("--slots", "2", "--memory", kept, models=["a=" + MODEL]) as server:
        small = server.get("/v1/models")["data"][0]["context"]
        assert 64 <= small < context, (small, context)
        r = ask(server, "a", max_tokens=None, ignore_eos=True)
        assert r.status == 200 and r.json()["usage"]["total_tokens"] == small, r.body
        assert int(server.metrics()["selvage_memory_planned_bytes"]) <= kept
    said = HOME.run("serve", "--listen", "127.0.0.1:0", "--memory", kept, "--ctx", context, MODEL, status=4)
    fits = int(said.rsplit("--ctx ", 1)[1].split()[0])
    assert 64 <= fits < context, said
    HOME.serve("--memory", kept, "--ctx", fits, models=["a=" + MODEL]).stop()


def a_page_that_was_named_may_ask():
    """And reads what it gets, also in a stream and where it is refused; others may not."""
    page = {"Origin": "http://app.example"}
    with HOME.serve(*SMALL, "--origin", "http://app.example", models=["a=" + MODEL]) as server:
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


def names_in_a_path_are_decoded():
    """A model whose name has a slash could not be asked for by clients that encode it; and a path that is
    not what it seems must not reach another route, or another model."""
    names = ["hf:a/b", "50%", "h\u00e9"]
    with HOME.serve(*SMALL, "--lazy", "--adapters", HOME.path("adapters"), models=[f"{n}={MODEL}" for n in names]) as server:
        for path, name in (("hf%3Aa%2Fb", names[0]), ("hf:a/b", names[0]), ("hf%3aa%2fb", names[0]),
                           ("%68f:a/b", names[0]), ("50%25", names[1]), ("h%C3%A9", names[2])):
            r = server.ask("GET", "/v1/models/" + path)
            assert r.status == 200 and r.json()["id"] == name, (path, r.body)
        for path in ("50%", "%", "%4", "%zz", "hf%3", "a%00", "%00", "hf:a/b%00", "%2", "%-1", "%+1", "% 1", "%C3", "%ff"):
            r = server.ask("GET", "/v1/models/" + path.replace(" ", "%20"))
            assert r.status == 400 and r.error()["code"] == "wrong_path", (path, r.status, r.body)
            r = server.ask("DELETE", "/v1/adapters/" + path.replace(" ", "%20"))
            assert r.status == 400, (path, r.status, r.body)
        for path in ("hf%253Aa%252Fb", "hf+a", "..", "%2e%2e", "%2E%2E%2F", "hf:a/b%0a", "hf:a/b/"):
            assert server.ask("GET", "/v1/models/" + path).status == 404, path
        for path in ("/v1/model%73", "/%761/models", "/v1%2Fmodels", "/v1/models%2Fhf:a", "/heal%74h", "/v1/%61dmin/log"):
            assert server.ask("GET", path).status == 404, path
        r = server.ask("DELETE", "/v1/adapters/m%61th")
        assert r.status == 404 and '"math"' in r.error()["message"], r.body


def a_method_that_a_path_does_not_take():
    """Clients and caches learn from Allow what it does take."""
    allowed = {"/health": "GET, HEAD", "/v1/models": "GET, HEAD", "/v1/models/a": "GET, HEAD", "/console": "GET, HEAD",
               "/v1/chat/completions": "POST", "/tokenize": "POST", "/v1/adapters": "GET, HEAD, POST",
               "/v1/adapters/a": "DELETE", "/v1/admin/log": "GET, HEAD"}
    with HOME.serve(*SMALL, "--lazy", models=["a=" + MODEL]) as server:
        for path, methods in allowed.items():
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"):
                r = server.ask(method, path, {} if method == "POST" else None)
                taken = method in methods.split(", ")
                assert (r.status != 405) == taken, (method, path, r.status)
                assert r.headers["Allow"] == (None if taken else methods), (method, path, r.headers["Allow"])
        assert server.ask("GET", "/nothing").headers["Allow"] is None


def checker_of(server):
    """The process that reads a file before the server opens it: while it stands still, so does opening."""
    with open("/proc/%d/task/%d/children" % ((server.process.pid,) * 2)) as f:
        return int(f.read().split()[0])


def ask_slowly(server, statuses, **body):
    def run():
        statuses.append(ask(server, "a", **body).status)
    t = threading.Thread(target=run)
    t.start()
    return t


def time_goes_on_while_a_model_is_opened():
    """Who sets a limit would else wait for as long as a large file takes; and the file is opened all the same."""
    with HOME.serve(*SMALL, "--lazy", models=["a=" + MODEL], wait=False) as server:
        pid = checker_of(server)
        os.kill(pid, signal.SIGSTOP)
        try:
            patient, statuses = None, []
            patient = ask_slowly(server, statuses)
            server.until(lambda: server.states()["a"] == "loading")
            start = time.monotonic()
            r = ask(server, "a", timeout_ms=300)
            took = time.monotonic() - start
            choice = r.json()["choices"][0]
            assert r.status == 200 and choice["finish_reason"] == "timeout" and choice["text"] == "", r.body
            assert 0.3 <= took < 0.3 + 5 * SLOW, took
            for path, body, word in (
                    ("/v1/completions", {"prompt": "a", "n": 2}, b'"finish_reason":"timeout"'),
                    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}, b'"finish_reason":"timeout"'),
                    ("/v1/responses", {"input": "a"}, b'"reason":"timeout"'),
                    ("/v1/messages", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3},
                     b'"stop_reason":"timeout"')):
                for stream in (False, True):
                    r = server.ask("POST", path, {**body, "model": "a", "timeout_ms": 20, "stream": stream})
                    assert r.status == 200 and word in r.body, (path, stream, r.body)
            r = server.ask("POST", "/v1/embeddings", {"model": "a", "input": "a", "timeout_ms": 20})
            assert r.status == 408 and r.error()["code"] == "timeout", r.body
            assert server.states()["a"] == "loading" and not statuses
        finally:
            os.kill(pid, signal.SIGCONT)
        patient.join()
        assert statuses == [200] and server.states()["a"] == "ready", (statuses, server.states())
        assert ask(server, "a", timeout_ms=60000).json()["choices"][0]["text"]
        assert server.metrics()['selvage_model_loads_total{model="a"}'] == 1


def the_servers_own_limit_counts_there_too():
    with HOME.serve(*SMALL, "--lazy", "--timeout-ms", "200", models=["a=" + MODEL], wait=False) as server:
        pid = checker_of(server)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                assert ask(server, "a", timeout_ms=60000).json()["choices"][0]["finish_reason"] == "timeout"
            r = server.ask("POST", "/tokenize", {"model": "a", "content": "a"})
            assert r.status == 408, r.body
        finally:
            os.kill(pid, signal.SIGCONT)
        server.until(lambda: server.states()["a"] == "ready")
        # (on a machine that stands still for 200 ms it is late once more)
        server.until(lambda: server.ask("POST", "/tokenize", {"model": "a", "content": "a"}).status == 200)


ONE = one_takes()

if __name__ == "__main__":
    sys.exit(tap.run([what_fits_is_there_early, whoever_asks_is_answered, a_model_with_adapters_stays,
                      what_never_fits_is_said, a_server_of_no_use_ends, a_small_memory_makes_small_requests,
                      a_page_that_was_named_may_ask, names_in_a_path_are_decoded,
                      a_method_that_a_path_does_not_take, time_goes_on_while_a_model_is_opened,
                      the_servers_own_limit_counts_there_too]))
