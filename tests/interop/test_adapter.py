#!/usr/bin/env python3
"""Adapters on the command line: run, chat and batch with --adapter answer alike, by the scale asked
for; what is no adapter is refused in one line; a saved prompt of other adapters is not used.

usage: test_adapter.py SELVAGE MODELS ADAPTERS      prints TAP
"""
import json
import os
import subprocess
import sys
import tempfile

import tap

PROGRAM, MODELS, ADAPTERS = (os.path.abspath(p) for p in sys.argv[1:4])
MODEL = os.path.join(MODELS, "llama2.gguf")
ALL, SOME = (os.path.join(ADAPTERS, f"llama2+{name}.gguf") for name in ("all", "f16"))
TEXT = "hello world, this is a text"
HOW = ("-n", "24", "--no-repack-cache", "-t", "1", "--temp", "0")


def run(*args, status=0, says=None, stdin=None):
    p = subprocess.run([PROGRAM, *args], text=True, input=stdin or "", capture_output=True, timeout=120)
    assert p.returncode == status and "Sanitizer" not in p.stderr, (p.returncode, p.stderr)
    if says is not None:
        assert says in p.stderr and p.stderr.count("\n") == 1, p.stderr
    return p.stdout


def answer(*args, **kw):
    return json.loads(run("run", MODEL, TEXT, "--raw", "--json", "--logprobs", "1", *HOW, *args, **kw))


def seen(*args, **kw):
    out = answer(*args, **kw)
    return out["tokens"], out["logprobs"]


def scales_and_order():
    plain, whole, half = seen(), seen("--adapter", ALL), seen("--adapter", ALL + ":0.5")
    assert plain != whole != half != plain
    assert seen("--adapter", ALL + ":1") == whole == seen("--adapter", ALL + ":1e0")
    assert seen("--adapter", ALL + ":0") == plain
    both = seen("--adapter", ALL, "--adapter", SOME + ":-2")
    assert both not in (plain, whole, half)
    assert seen("--adapter", ALL, "--adapter", SOME + ":-2", "-b", "3", "-t", "2") == both


def batch_answers_as_run_does():
    want = answer("--adapter", ALL)["text"]
    lines = json.dumps({"prompt": TEXT}) + "\n"
    for more in ((), ("--no-prefix-cache",)):
        out = run("batch", MODEL, "--raw", "--adapter", ALL, *HOW, *more, stdin=lines * 5)
        assert [json.loads(line)["text"] for line in out.splitlines()] == [want] * 5


def chat_changes_adapters():
    def chat(*turns, args=()):
        out = run("chat", MODEL, "--json", *HOW, *args, stdin="".join(t + "\n" for t in turns))
        return [json.loads(line)["content"] for line in out.splitlines()]
    plain, = chat(TEXT)
    adapted, = chat(TEXT, args=("--adapter", ALL))
    assert plain != adapted
    assert chat(TEXT, "/clear", f"/adapter {ALL}", TEXT, "/clear", "/adapter", TEXT) == [plain, adapted, plain]
    # What was said stays, and is read again.
    first, second = chat(TEXT, f"/adapter {ALL}:0.5", TEXT)
    assert first == plain and second == chat(TEXT, f"/adapter {SOME}", f"/adapter {ALL}:0.5", TEXT)[1]
    out = run("chat", MODEL, "--json", *HOW, stdin=f"/adapter {MODEL}\n{TEXT}\n", status=3, says="general.type")
    assert json.loads(out)["content"] == plain


def what_is_none_is_refused():
    for name, status, says in (("/no/such/file", 1, "No such file"), (MODEL, 3, "general.type"),
                               (os.path.join(ADAPTERS, "gemma3+all.gguf"), 3, "general.architecture"),
                               (os.path.join(ADAPTERS, "bad-ranks-differ.gguf"), 3, "lora_a"), ("", 2, "no file"),
                               (ALL + ":x", 1, "No such file"), (ALL + ":nan", 1, "No such file")):
        for command in (("run", MODEL, TEXT), ("batch", MODEL, "/dev/null"), ("chat", MODEL)):
            run(*command, *HOW, "--adapter", name, status=status, says=says)
    run("run", MODEL, TEXT, *HOW, *["--adapter", ALL] * 9, status=2, says="the limit is 8")


def saved_prompts_know_their_adapters():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")
        cached = ("--prompt-cache", path)
        plain, adapted = seen(), seen("--adapter", ALL)
        assert seen(*cached) == plain
        assert seen(*cached, "--adapter", ALL, says="other adapters") == adapted
        out = answer(*cached, "--adapter", ALL)
        assert (out["tokens"], out["logprobs"]) == adapted and out["timing"]["reused"] > 0
        assert seen(*cached, "--adapter", ALL + ":0.5", says="other adapters") == seen("--adapter", ALL + ":0.5")


if __name__ == "__main__":
    sys.exit(tap.run([scales_and_order, batch_answers_as_run_does, chat_changes_adapters, what_is_none_is_refused,
                      saved_prompts_know_their_adapters]))
