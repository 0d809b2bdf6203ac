#!/usr/bin/env python3
"""Options from a file: what it says is in force unless the command line says otherwise, and what is
wrong in it is named by line and key.

usage: test_config.py SELVAGE      prints TAP
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = tempfile.TemporaryDirectory(prefix="selvage-config-")


def run(*args, file=None, env=None):
    """The program in a folder of its own, with `file` as its selvage.yaml."""
    with tempfile.TemporaryDirectory(dir=FOLDER.name) as here:
        if file is not None:
            with open(os.path.join(here, "selvage.yaml"), "w") as f:
                f.write(file)
        p = subprocess.run([PROGRAM, *args], cwd=here, text=True, capture_output=True, timeout=60,
                           env={"PATH": os.environ["PATH"], "HOME": here, **(env or {})})
    assert p.returncode >= 0, p
    return p


def in_force(*args, **kw):
    p = run(*args, "--print-config", **kw)
    assert p.returncode == 0, p
    return dict(re.findall(r"^  ([\w-]+): (.*)$", p.stdout, re.M))


def a_file_says_what_the_command_line_does_not():
    file = "serve:\n  slots: 3\n  kv: q8\n  lazy: true\n  listen: [a, b]\n  models: [x, y]\n"
    c = in_force("serve", file=file)
    assert (c["slots"], c["kv"], c["lazy"]) == ("3", "q8", "true"), c
    assert c["listen"] == '["a", "b"]' and c["models"] == '["x", "y"]', c
    c = in_force("serve", "z", "--slots", "4", "--listen", "c", file=file)
    assert (c["slots"], c["kv"], c["listen"], c["models"]) == ("4", "q8", '["c"]', '["z"]'), c


def other_commands_are_not_concerned():
    c = in_force("run", "m", file="serve:\n  threads: 3\nrun:\n  temp: 0.25\n")
    assert c["temp"] == "0.25" and "threads" not in c, c
    assert in_force("run", "m", file="")["temp"] == in_force("run", "m")["temp"]


def json_is_yaml():
    assert in_force("serve", file='{"serve": {"slots": 5, "host": ["a b"]}}')["host"] == '["a b"]'


def what_is_printed_is_read_again():
    args = ["serve", "m", "--slots", "7", "--alias", 'a"b=c', "--memory", "2G", "--share-prefixes"]
    p = run(*args, "--print-config")
    again = run("serve", "--print-config", file=p.stdout)
    assert again.stdout == p.stdout, (p.stdout, again)


def options_of_all_commands_may_stand_there():
    c = in_force("serve", file="serve:\n  log-json: true\n  quiet: yes\n")
    assert (c["log-json"], c["quiet"], c["json"]) == ("true", "true", "false"), c
    p = run("serve", "x.gguf", file="serve: {log-json: true}\n")
    assert p.returncode == 1 and '"level":"error"' in p.stderr, p
    assert run("serve", "x.gguf", file="run: {log-json: true}\n").stderr.startswith("selvage: "), "another section's"
    for no in ("config: a", "print-config: true", "help: true"):  # they choose the file, or what is done
        p = run("serve", file="serve:\n  %s\n" % no)
        assert p.returncode == 2 and ":2: %s: serve has no such option" % no.split(":")[0] in p.stderr, p
    p = run("serve", file="serve:\n  log-json: perhaps\n")
    assert p.returncode == 2 and ":2: log-json: true or false" in p.stderr, p


def what_is_not_set_is_shown_with_its_default():
    text = run("serve", "--print-config", "--spill-size", "600M", "--max-body", "1500K", "--memory", "2000000").stdout
    for line in ("# models: default: ", "# listen: default: 127.0.0.1:8080", "# ctx: default: the model's, at most 8192",
                 "# keys: not set", "memory: 2000000", "spill-size: 600M", "max-body: 1500K", "log-size: 16M"):
        assert "\n  " + line in text, (line, text)
    assert "# memory: default: four fifths of what is free\n" in run("serve", "--print-config").stdout


def files_are_found_in_their_order():
    with tempfile.TemporaryDirectory(dir=FOLDER.name) as conf:
        os.mkdir(os.path.join(conf, "selvage"))
        with open(os.path.join(conf, "selvage", "selvage.yaml"), "w") as f:
            f.write("serve: {slots: 9}\n")
        env = {"XDG_CONFIG_HOME": conf}
        assert in_force("serve", env=env)["slots"] == "9"
        assert in_force("serve", env=env, file="serve: {slots: 8}")["slots"] == "8"
        other = os.path.join(conf, "other.yaml")
        with open(other, "w") as f:
            f.write("serve: {slots: 7}\n")
        c = in_force("serve", "--config", other, env=env, file="serve: {slots: 8}")
        assert c["slots"] == "7", c


def what_is_wrong_is_named():
    rows = [("serve:\n  slots: 4\n  lasy: true\n", r"selvage\.yaml:3: lasy: .* did you mean lazy\?"),
            ("serve:\n  slots: 100000\n", r":2: slots: .*out of range"),
            ("serve:\n  slots: [1]\n", r":2: slots: one value"),
            ("serve:\n  lazy: perhaps\n", r":2: lazy: true or false"),
            ("serve:\n  listen: {a: b}\n", r":2: listen: a value or a list"),
            ("serve:\n  kv: f64\n", r":2: kv: "),
            ("serve:\n  slots: 1\n  slots: 2\n", r":3: slots: stands there twice"),
            ("serve: {}\nserve: {}\n", r":2: serve: stands there twice"),
            ("sreve:\n  slots: 1\n", r":1: sreve: there is no such command"),
            ("run:\n  temp: hot\n", r":2: temp: "),
            ("[1, 2]\n", r":1: sections are wanted"),
            ("serve: 3\n", r":1: serve: options are wanted"),
            ("serve:\n  slots: [1, 2\n", r":\d+: did not find"),
            ("serve:\n  models: all\n", r":2: models: a list"),
            ("a: &a [*a]\n", r":1: "),
            ("serve:\n  audit: \"a\\0b\"\n", r":2: audit: "),
            ("\tserve: 1\n", r":1: ")]
    for file, pattern in rows:
        p = run("serve", "m", "--print-config", file=file)
        assert p.returncode == 2 and p.stdout == "" and p.stderr.count("\n") == 1, (file, p)
        assert re.search(pattern, p.stderr), (file, p.stderr)
    p = run("serve", "--config", "missing.yaml")
    assert p.returncode == 1 and "missing.yaml" in p.stderr, p
    p = run("serve", "--print-config", file="serve:\n" + "  alias: [" + "a=b, " * 70 + "]\n")
    assert p.returncode == 2, p


TESTS = [a_file_says_what_the_command_line_does_not, other_commands_are_not_concerned, json_is_yaml,
         what_is_printed_is_read_again, options_of_all_commands_may_stand_there,
         what_is_not_set_is_shown_with_its_default, files_are_found_in_their_order, what_is_wrong_is_named]

if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
