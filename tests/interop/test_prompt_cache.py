#!/usr/bin/env python3
"""What was read once is not read again: run and chat with --prompt-cache, the turns of a chat, the
lines of a batch. Whatever happens to the file and to who writes it, every answer is the right one.

usage: test_prompt_cache.py SELVAGE FULL.gguf WINDOWED.gguf [DIE_AT_LIBRARY]      prints TAP
"""
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import tap

PROGRAM, FULL, WINDOWED = (os.path.abspath(p) for p in sys.argv[1:4])
DIE_AT = os.path.abspath(sys.argv[4]) if len(sys.argv) > 4 else None
BASE = tempfile.mkdtemp(prefix="selvage-prompt-")
TEXT = "hello world, this is the beginning of a text that is long enough for two pages and a bit of a third one; "
RUN = ("--raw", "-n", "90", "--logprobs", "2", "--json", "--no-repack-cache", "-t", "1", "--logit-bias", "2:-inf")


def start(*args, env=None, stdin=subprocess.DEVNULL, **kw):
    return subprocess.Popen([PROGRAM, *args], env=dict(os.environ, **(env or {})), text=True, stdin=stdin,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def run(model, text, *args, says=None, status=0, **kw):
    p = start("run", model, text, *RUN, *args, **kw)
    out, err = p.communicate(timeout=120)
    assert p.returncode == status and "Sanitizer" not in err, (p.returncode, err)
    assert err.count("\n") == (1 if says else 0), err
    assert not says or says in err, "no %r in: %s" % (says, err)
    return json.loads(out) if status == 0 else None


def pick(out):
    return [out[k] for k in ("text", "tokens", "logprobs", "finish", "prompt_tokens")]


KNOWN = {}


def plain(model, text):
    if (model, text) not in KNOWN:
        KNOWN[model, text] = pick(run(model, text))
    return KNOWN[model, text]


def same(model, text, path, reused=None, **kw):
    """The answer is that without a file, and so many tokens were taken from it (a negative number:
    all but so many)."""
    out = run(model, text, "--prompt-cache", path, **kw)
    assert pick(out) == plain(model, text)
    n = len(out["prompt_tokens"])
    if reused is not None:
        want = reused if reused >= 0 else n + reused
        assert out["timing"]["reused"] == want, (out["timing"], n)
    return out


def name(kind):
    return os.path.join(BASE, kind)


def the_second_run_reads_nothing_again():
    for model in (FULL, WINDOWED):
        path = name("second" + os.path.basename(model))
        first = same(model, TEXT, path, 0)
        assert os.stat(path).st_mode & 0o777 == 0o600
        same(model, TEXT, path, -1)
        n = len(first["prompt_tokens"])
        more = same(model, TEXT + "and it goes on.", path)
        assert more["timing"]["reused"] >= n - 3, (more["timing"], n)  # tokens may merge where it goes on
        other = same(model, "hello world, but another text", path)
        assert 3 <= other["timing"]["reused"] < n, other["timing"]
        same(model, "zzz", path)
        same(model, TEXT, path, env={"SLV_CPU": "scalar"})
        same(model, TEXT, path, -1, env={"SLV_CPU": "sse4"})
        same(model, TEXT, path, -1, says=None)


def what_does_not_fit_costs_one_line():
    path = name("fit")
    same(FULL, TEXT, path)
    same(WINDOWED, TEXT, path, 0, says="%s: is of another model: not used" % path)
    same(WINDOWED, TEXT, path, -1)
    with open(path, "wb") as f:
        f.write(b"something else" * 1000)
    same(WINDOWED, TEXT, path, 0, says="is not a saved session: not used")
    q8 = run(WINDOWED, TEXT, "--prompt-cache", path, "--kv", "q8", says="is of another kind of KV cache: not used")
    again = run(WINDOWED, TEXT, "--prompt-cache", path, "--kv", "q8")
    assert pick(again) == pick(q8) and again["timing"]["reused"] == len(q8["prompt_tokens"]) - 1
    p = start("run", WINDOWED, TEXT, *RUN, "--prompt-cache", "/proc/nowhere/file")
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and pick(json.loads(out)) == plain(WINDOWED, TEXT)
    assert err.count("\n") == 1 and "not kept" in err, err
    run(FULL, TEXT, "--prompt-cache", path, "--echo-tokens", "--ctx", "400")  # which reads everything
    run(FULL, TEXT, "--prompt-cache", name("none"), "--ctx", "50", status=4, says="do not fit")
    assert not os.path.exists(name("none"))


def memory_for_windows_is_taken_where_there_is_some():
    """What fits without is not refused; it only has to read more."""
    path = name("memory")
    plan = run(WINDOWED, TEXT)["memory"]
    limit = ("--memory", str(plan["weights"] + plan["kv"] + plan["arena"] + 1000))
    tight = run(WINDOWED, TEXT, "--prompt-cache", path, *limit)
    assert pick(tight) == plain(WINDOWED, TEXT) and tight["memory"]["kv"] == plan["kv"]
    again = run(WINDOWED, TEXT, "--prompt-cache", path, *limit)
    assert pick(again) == plain(WINDOWED, TEXT)
    assert run(WINDOWED, TEXT, "--prompt-cache", path)["memory"]["kv"] > plan["kv"]


def damage_costs_one_line():
    path = name("damage")
    same(WINDOWED, TEXT, path)
    whole = open(path, "rb").read()
    rnd = random.Random(7)
    for at in [0, 8, 100, 4095, 4096, len(whole) - 1] + [rnd.randrange(len(whole)) for _ in range(8)]:
        with open(path, "wb") as f:
            f.write(whole[:at] + bytes([whole[at] ^ 1 << rnd.randrange(8)]) + whole[at + 1:])
        same(WINDOWED, TEXT, path, 0, says=": not used")
        same(WINDOWED, TEXT, path, -1)
    for end in (0, 4095, 5000, len(whole) - 1):
        with open(path, "wb") as f:
            f.write(whole[:end])
        same(WINDOWED, TEXT, path, 0, says="is cut short")


def a_killed_writer_costs_nothing():
    """Killed before each change to the file system in turn, with and without an older file."""
    if not DIE_AT:
        return
    killed = 0
    for older in (False, True):
        for n in range(1, 100):
            path = os.path.join(BASE, "kill%d%d" % (older, n))
            if older:
                same(FULL, TEXT, path)
            text = TEXT + "and then" if older else TEXT
            p = start("run", FULL, text, *RUN, "--prompt-cache", path, env={"LD_PRELOAD": DIE_AT, "DIE_AT": str(n)})
            p.communicate(timeout=60)
            if p.returncode == 0:
                break
            assert p.returncode == -signal.SIGKILL, p.returncode
            killed += 1
            there = os.path.exists(path)
            assert there or not older
            same(FULL, TEXT, path, -1 if there else 0)
            same(FULL, TEXT, path, -1)
            assert not os.path.exists(path + ".tmp")
    assert killed >= 12, killed
    print("# killed at %d places" % killed)


def a_full_disk_costs_one_line():
    path = name("full")

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, 1 << 12))
    same(FULL, TEXT, path, 0, says="not kept", preexec_fn=small)
    assert not os.path.exists(path) and not os.path.exists(path + ".tmp")


def writers_at_once_are_all_right():
    path = name("once")
    for _ in range(2):
        many = [start("run", FULL, TEXT, *RUN, "--prompt-cache", path) for _ in range(5)]
        for p in many:
            out, err = p.communicate(timeout=120)
            assert p.returncode == 0 and pick(json.loads(out)) == plain(FULL, TEXT)
            assert err == "" or (err.count("\n") == 1 and "not kept" in err), err
        same(FULL, TEXT, path, -1)


def chat(model, lines, *args):
    p = start("chat", model, "--json", "--no-repack-cache", "--temp", "0", "-n", "100", "-t", "1", "--quiet",
              "--logit-bias", "2:-inf", *args, stdin=subprocess.PIPE)
    out, err = p.communicate("".join(line + "\n" for line in lines), timeout=120)
    assert p.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def a_chat_reads_no_turn_twice():
    """What was read for a question stays, also where windows have moved on by an answer of 100 tokens."""
    lines = ["hello world, how are you today?", "what is a text?", "and a page?"]
    for model in (FULL, WINDOWED):
        turns = chat(model, lines, "--batch", "8")  # so that a window holds little more than itself
        assert len(turns) == 3 and turns[0]["read"] == turns[0]["prompt_tokens"]
        for before, turn in zip(turns, turns[1:]):
            kept = turn["prompt_tokens"] - turn["read"]
            assert kept >= before["prompt_tokens"] - 3, (model, before, turn)


def a_chat_goes_on_after_a_restart():
    for model in (FULL, WINDOWED):
        path, talk = name("chat" + os.path.basename(model)), name("talk.json")
        turns = chat(model, ["hello world, how are you?", "what is a text?", "/save " + talk], "--prompt-cache", path)
        without = chat(model, ["/load " + talk, "and a page?"])
        after = chat(model, ["/load " + talk, "and a page?"], "--prompt-cache", path)
        assert [t["content"] for t in after] == [t["content"] for t in without]
        assert without[0]["read"] == without[0]["prompt_tokens"]
        kept = after[0]["prompt_tokens"] - after[0]["read"]
        assert kept >= turns[-1]["prompt_tokens"] - 3, (model, turns, after)


def a_batch_reads_common_beginnings_once():
    lines = "".join("%swhat is number %d?\n" % (TEXT, i) for i in range(12))
    for model in (FULL, WINDOWED):
        outs, said = [], []
        for more in ((), ("--no-prefix-cache",), ("--sessions", "1"), ("--sessions", "3", "-t", "2"),
                     ("--kv", "f16", "--memory", "20M")):
            p = start("batch", model, "--lines", "--raw", "-n", "20", "--no-repack-cache", *more, stdin=subprocess.PIPE)
            out, err = p.communicate(lines, timeout=120)
            assert p.returncode == 0 and out.count("\n") == 12, err
            outs.append(out)
            said.append(int(err.split(" of them once")[0].split()[-1]))
        assert len(set(outs)) == 1, model
        n = json.loads(outs[0].splitlines()[0])["prompt_tokens"]
        assert said[1] == 0 and said[2] > 11 * (n - 20), (said, n)
        assert said[0] > 0 and said[3] > 7 * (n - 20), (said, n)


TESTS = [the_second_run_reads_nothing_again, what_does_not_fit_costs_one_line,
         memory_for_windows_is_taken_where_there_is_some, damage_costs_one_line,
         a_killed_writer_costs_nothing, a_full_disk_costs_one_line, writers_at_once_are_all_right,
         a_chat_reads_no_turn_twice, a_chat_goes_on_after_a_restart, a_batch_reads_common_beginnings_once]


if __name__ == "__main__":
    status = tap.run(TESTS)
    shutil.rmtree(BASE, ignore_errors=True)
    sys.exit(status)
