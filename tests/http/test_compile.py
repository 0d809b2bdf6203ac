#!/usr/bin/env python3
"""Schemas that take long to compile: nobody waits for them but those who sent such, and these no longer than
they said.

usage: test_compile.py SELVAGE MODEL      prints TAP
"""
import os
import sys
import threading

from serving import SLOW, Home, tap

MODEL = os.path.abspath(sys.argv[2])
HOME = Home("compile")
HEAVY = 16


def ask(server, status=200, **how):
    r = server.ask("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 2, **how}, timeout=120 * SLOW)
    assert r.status == status, r.body
    return r.json()["choices"][0]["finish_reason"] if status == 200 else r.error()["message"]


def heavy(k):
    """One that no other is like, and that takes all the steps there are before it is refused."""
    all_of = [{"type": "string", "pattern": "(?=a%d)..{4,%d}" % (i, 6000 - i - k)} for i in range(50)]
    return {"type": "json_schema", "json_schema": {"name": "h%d" % k, "schema": {"allOf": all_of}}}


class Crowd:
    """So many of them at once, and how many have had their answer."""

    def __init__(self, server, first):
        self.done, self.lock = 0, threading.Lock()
        self.threads = [threading.Thread(target=self.client, args=(server, first + k)) for k in range(HEAVY)]
        for t in self.threads:
            t.start()

    def client(self, server, k):
        said = ask(server, 400, response_format=heavy(k))
        assert "/pattern" in said, said
        with self.lock:
            self.done += 1

    def join(self):
        for t in self.threads:
            t.join()
        assert self.done == HEAVY


def others_do_not_wait():
    with HOME.serve("--slots", "4", "--ctx", "256", models=["a=" + MODEL]) as server:
        ask(server)
        crowd = Crowd(server, 0)
        server.until(lambda: crowd.done > 0)
        ask(server)
        assert server.ask("POST", "/tokenize", {"content": "Hi"}).status == 200
        assert crowd.done < HEAVY // 2, "most of them came first"
        crowd.join()


def who_waits_for_a_compiler_waits_as_long_as_it_said():
    with HOME.serve("--slots", "4", "--ctx", "256", models=["a=" + MODEL]) as server:
        ask(server)
        crowd = Crowd(server, 100)
        server.until(lambda: crowd.done > 0)
        assert ask(server, response_format={"type": "json_object"}, timeout_ms=20) == "timeout"
        assert crowd.done < HEAVY // 2, "it waited for most of them"
        crowd.join()


sys.exit(tap.run([others_do_not_wait, who_waits_for_a_compiler_waits_as_long_as_it_said]))
