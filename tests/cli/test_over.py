#!/usr/bin/env python3
"""A question over texts: one that fits is read as it is, a longer one in parts, in the memory of one
context; the same every time.

usage: test_over.py SELVAGE MODEL      prints TAP
"""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

PROGRAM, MODEL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
FOLDER = tempfile.TemporaryDirectory(prefix="selvage-over-")
ENV = {"PATH": os.environ["PATH"], "SELVAGE_HOME": FOLDER.name + "/store"}
ENV.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})


def text_file(name, n):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w") as f:
        for i in range(n):
            f.write(f"Line {i} of {name}.{chr(10) * (1 + (i % 7 == 0))}")
    return path


def run(*args, **kw):
    p = subprocess.run([PROGRAM, "run", MODEL, "Which line?", "--temp", "0", "-n", "8", "--json", *args],
                       env=ENV, text=True, capture_output=True, timeout=120, **kw)
    assert p.returncode >= 0 and "Sanitizer" not in p.stderr, p
    return p


def prompt_of(answer):
    ids = [str(i) for i in answer["prompt_tokens"]]
    p = subprocess.run([PROGRAM, "detokenize", MODEL, *ids], env=ENV, text=True, capture_output=True)
    assert p.returncode == 0, p
    return p.stdout


def a_text_that_fits_is_read_as_it_is():
    path = text_file("short", 2)
    a = json.loads(run("--over", path, "-c", "256").stdout)
    assert a["over"]["parts"] == 0 and a["over"]["levels"] == 0, a["over"]
    assert "Line 1 of short." in prompt_of(a) and "Which line?" in prompt_of(a), prompt_of(a)
    b = json.loads(run("--over", "-", "-c", "256", input=open(path).read()).stdout)
    assert b["text"] == a["text"] and b["prompt_tokens"] == a["prompt_tokens"]


def a_longer_one_is_read_in_parts():
    path = text_file("long", 120)
    a = run("--over", path, "-c", "256")
    assert a.returncode == 0, a
    a, b = json.loads(a.stdout), json.loads(run("--over", path, "-c", "256", "-t", "1").stdout)
    assert a["over"]["bytes"] == os.path.getsize(path), a["over"]
    assert a["over"]["parts"] >= 120 * 18 // 1024 and a["over"]["levels"] >= 1, a["over"]
    assert len(a["prompt_tokens"]) + len(a["tokens"]) <= 256, a
    assert a["text"] == b["text"] and a["over"] == b["over"], (a["over"], b["over"])


def several_files_are_one_text():
    x, y = text_file("x", 1), text_file("y", 1)
    a = json.loads(run("--over", x, "--over", y, "-c", "256").stdout)
    text = prompt_of(a)
    assert text.index("Line 0 of x.") < text.index("Line 0 of y."), text


def what_cannot_be_is_said():
    path = text_file("long", 120)
    p = run("--over", path, "-c", "40")
    assert p.returncode == 4 and "no room beside the prompt" in p.stderr, p
    p = run("--over", path + ".missing")
    assert p.returncode == 1 and ".missing" in p.stderr, p
    p = run("--over", path, "--raw")
    assert p.returncode == 2 and "--over" in p.stderr, p
    p = run("--over", text_file("none", 0))
    assert p.returncode == 2 and "no text" in p.stderr, p


TESTS = [a_text_that_fits_is_read_as_it_is, a_longer_one_is_read_in_parts, several_files_are_one_text,
         what_cannot_be_is_said]

if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
