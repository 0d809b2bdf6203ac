#!/usr/bin/env python3
"""The frame of the command line: help, wrong usage, exit statuses, output that cannot be written.

usage: test_frame.py SELVAGE      prints TAP
"""
import json
import os
import platform
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))
import make_gguf

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
HOME = tempfile.TemporaryDirectory(prefix="selvage-frame-")
ENV = {"PATH": os.environ["PATH"], "SELVAGE_HOME": HOME.name + "/store"}
ENV.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})


def run(*args, env=None, **kw):
    kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kw}
    p = subprocess.run([PROGRAM, *args], env={**ENV, **(env or {})}, text=True, timeout=60, **kw)
    assert "Sanitizer" not in (p.stderr or ""), p.stderr
    assert p.returncode >= 0, p
    return p


def fails(args, status, pattern):
    """One line on stderr, nothing on stdout."""
    p = run(*args)
    assert p.returncode == status, (args, p)
    assert p.stdout == "" and p.stderr.count("\n") == 1 and p.stderr.startswith("selvage: "), (args, p)
    assert re.search(pattern, p.stderr), (args, p.stderr)


def commands():
    text = run("help").stdout.split("commands:\n")[1].split("\n\n")[0]
    return [m.group(1).strip() for m in re.finditer(r"^  (\S+(?: \S+)?)  +\S", text, re.M)]


def a_model_file_cut_short_in_use_is_an_error():
    with tempfile.TemporaryDirectory(prefix="selvage-frame-") as folder:
        path = os.path.join(folder, "m.gguf")
        with open(path, "wb") as f:
            f.write(make_gguf.bpe().bytes())
        p = subprocess.Popen([PROGRAM, "chat", path, "-n", "1", "-t", "2"], env=ENV, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write("a\n")
        p.stdin.flush()
        assert p.stdout.readline()  # an answer: the model is loaded, its embeddings are mapped
        os.truncate(path, 0)
        out, err = p.communicate("b\n", timeout=60)
        assert p.returncode == 1, (p.returncode, out, err)
        assert re.search("^selvage: .*cut short.*\n$", err, re.M), err


def version_is_one_line():
    for option in ("--version", "-V"):
        assert re.fullmatch(r"selvage \d+\.\d+\.\d+\n", run(option).stdout)


def every_command_has_help():
    names = commands()
    assert {"list", "pull", "rm", "doctor"} <= set(names), names
    for name in names:
        helps = [run("help", *name.split()), run(*name.split(), "--help"), run(*name.split(), "-h")]
        assert all(p.returncode == 0 and p.stderr == "" for p in helps), name
        assert len({p.stdout for p in helps}) == 1, name
        text = helps[0].stdout
        assert text.startswith("usage: selvage %s [options]" % name)
        for option in ("--json", "--quiet", "--log-json", "--help"):
            assert option in text, (name, option)
        assert all(len(line) <= 80 for line in text.splitlines()), name
    assert run("help").stdout == run("--help").stdout == run("-h").stdout


def families_of_commands_have_help():
    names = commands()
    families = {n.split()[0] for n in names if " " in n}
    assert {"key", "audit"} <= families, families
    for family in families:
        helps = [run("help", family), run(family, "--help"), run(family, "-h")]
        assert all(p.returncode == 0 and p.stderr == "" for p in helps), (family, helps[0])
        assert len({p.stdout for p in helps}) == 1, family
        for name in names:
            assert (re.search("^  %s  +[a-z]" % name, helps[0].stdout, re.M) is not None) == \
                (name.split()[0] == family and " " in name), (family, name)
        assert all(len(line) <= 80 for line in helps[0].stdout.splitlines()), family
    fails(["help", "key", "x"], 2, "no such command: the ones there are")
    fails(["key"], 2, "no such command: the ones there are")


def addresses_to_listen_at_are_read_strictly():
    for bad in ("127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:80a", "127.0.0.1:-1", "foo", "unix:"):
        fails(["serve", "x.gguf", "--listen", bad], 2,
              "--listen: %s: ADDRESS:PORT with a port of 0 to 65535, or unix:PATH, is wanted" % re.escape(bad))
    fails(["serve", "x.gguf", "--listen", "0.0.0.0:0"], 2, "other machines are let in with --tls-cert and --keys")


def slips_of_the_finger_are_answered_with_the_nearest_name():
    fails(["lsit"], 2, r"lsit: no such command: did you mean 'list'\?")
    fails(["hepl"], 2, "did you mean 'help'")
    fails(["doc"], 2, "did you mean 'doctor'")
    fails(["help", "pul"], 2, "did you mean 'pull'")
    fails(["pull", "--retires", "3"], 2, r"pull: unknown option '--retires': did you mean --retries\?")
    fails(["list", "--jsno"], 2, "did you mean --json")
    fails(["xyzzy"], 2, "see 'selvage help'")
    fails(["list", "--xyzzy"], 2, "unknown option '--xyzzy': see --help")
    fails(["list", "-x"], 2, "unknown option '-x'")
    fails(["--json", "list"], 2, "options follow the command")


def wrong_values_name_the_option_and_the_range():
    fails(["pull", "--retries", "-1"], 2, r"--retries: -1 is out of range: 0 to 1000")
    fails(["pull", "--retries=x"], 2, "--retries: 'x' is not a whole number")
    fails(["pull", "--retries=99999999999999999999"], 2, "not a whole number")
    fails(["pull", "--retries"], 2, "--retries: wants a value: N")
    fails(["pull", "--link=yes"], 2, "--link: takes no value")
    fails(["pull", "--link"], 2, "--link: goes with --from")


def wrong_numbers_of_arguments_show_the_usage():
    fails(["list", "x"], 2, "unexpected argument 'x': usage: selvage list")
    fails(["pull", "a", "b"], 2, r"unexpected argument 'b': usage: selvage pull \[NAME\]")
    fails(["rm"], 2, "usage: selvage rm NAME")


def no_command_shows_the_help_and_is_wrong_usage():
    p = run()
    assert p.returncode == 2 and p.stdout == run("help").stdout
    assert p.stderr == "selvage: no command given\n"


def names_from_the_command_line_cannot_drive_the_terminal():
    p = run("\x1b[31mred\n")
    assert p.returncode == 2 and "\x1b" not in p.stderr and p.stderr.count("\n") == 1
    p = run("rm", "\x1b]0;x\x07", "--log-json")
    assert json.loads(p.stderr)["level"] == "error"


def on_a_terminal(*args, which="stdout"):
    """What a terminal as standard output, or error, is sent, and the exit status."""
    master, slave = pty.openpty()
    outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, which: slave}
    p = subprocess.Popen([PROGRAM, *args], env=ENV, stdin=subprocess.DEVNULL, **outputs)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 20)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        seen += piece
        if not piece:
            break
    os.close(master)
    return seen, p.wait()


def names_from_a_model_file_cannot_drive_the_terminal():
    evil = b"\x1b]0;x\x07red\nL\xc2\x9b31m\xff"
    m = make_gguf.bpe()
    for key in ("general.name", "general.license", "tokenizer.chat_template"):
        m.kvs[key] = make_gguf.text(key) + make_gguf.u32(make_gguf.STR) + make_gguf.text(evil)
    with tempfile.TemporaryDirectory(prefix="selvage-frame-") as folder:
        path = os.path.join(folder, "m.gguf")
        with open(path, "wb") as f:
            f.write(m.bytes())
        shown = run("show", path).stdout
        assert "\x1b" not in shown and "\nL" not in shown and shown.count("?]0;x?red?L?31m?") == 2
        for args in (["show", path], ["show", path, "--template"], ["show", path, "--tensors"]):
            seen, _ = on_a_terminal(*args)
            assert b"red" in seen and not re.search(rb"[\x00-\x08\x0e-\x1f\xff]|\xc2\x9b", seen), seen
        raw = subprocess.run([PROGRAM, "show", path, "--template"], env=ENV, capture_output=True)
        assert raw.stdout == evil + b"\n"  # elsewhere than on a terminal every byte is kept


def json_is_exactly_one_document():
    for args in (["list"], ["doctor"]):
        p = run(*args, "--json")
        json.loads(p.stdout)
        assert p.stdout.count("\n") == 1 and p.stderr == "", p
        assert run("--", *args).returncode == 2


def options_stand_anywhere_and_end_at_two_dashes():
    assert run("list", "--json", "--", ).returncode == 0
    fails(["list", "--", "--json"], 2, "unexpected argument '--json'")
    fails(["rm", "no:such", "-q"], 1, "no:such: not in the store")
    fails(["rm", "-q", "--", "no:such"], 1, "no:such: not in the store")


def quiet_says_nothing_but_errors():
    assert run("list", "-q").stderr == ""
    assert "empty" in run("list").stderr
    fails(["rm", "-q", "x"], 1, "not in the store")


def a_full_disk_under_stdout_is_an_error():
    for args in (["help"], ["doctor"], ["list", "--json"], ["--version"]):
        with open("/dev/full", "w") as full:
            p = run(*args, stdout=full)
        assert p.returncode == 1, (args, p)
        assert p.stderr.startswith("selvage: standard output: No space left"), p.stderr


def a_closed_pipe_is_an_error():
    for args in (["help"], ["doctor", "--json"]):
        r, w = os.pipe()
        os.close(r)
        p = run(*args, stdout=w)
        os.close(w)
        assert p.returncode == 1 and p.stderr == "selvage: standard output: Broken pipe\n", (args, p)


def closed_descriptors_are_not_reused_for_files():
    p = subprocess.run(["/bin/sh", "-c", 'exec "$0" list --json >&- <&-', PROGRAM],
                       stderr=subprocess.PIPE, text=True, env=ENV)
    assert p.returncode == 1 and "standard output: Bad file descriptor" in p.stderr, p
    model = HOME.name + "/m.gguf"
    with open(model, "wb") as f:
        f.write(make_gguf.bpe().bytes())
    p = subprocess.run(["/bin/sh", "-c", 'exec "$0" pull --json --from "$1" fd >&- <&- 2>&-', PROGRAM, model],
                       env=ENV)
    assert p.returncode == 1, p
    path = json.loads(run("list", "--json").stdout)["models"][0]["path"]
    with open(path, "rb") as f:
        assert f.read() == make_gguf.bpe().bytes()
    run("rm", "fd")


def the_home_folder_is_found_or_missed_with_a_reason():
    p = run("list", "--json", env={"SELVAGE_HOME": "", "XDG_DATA_HOME": "/x/y"})
    assert json.loads(p.stdout)["store"] == "/x/y/selvage"
    p = run("list", "--json", env={"SELVAGE_HOME": "", "XDG_DATA_HOME": "rel", "HOME": "/h"})
    assert json.loads(p.stdout)["store"] == "/h/.local/share/selvage"
    p = run("list", env={"SELVAGE_HOME": "", "HOME": ""})
    assert p.returncode == 2 and "SELVAGE_HOME" in p.stderr, p
    model = HOME.name + "/h.gguf"
    with open(model, "wb") as f:
        f.write(make_gguf.bpe().bytes())
    p = run("pull", "--from", model, "x", env={"SELVAGE_HOME": "/proc/nowhere"})
    assert p.returncode == 1 and "/proc/nowhere" in p.stderr, p


def doctor_fails_on_what_will_fail():
    for env, what in (({"SLV_CPU": "z80"}, "SLV_CPU"), ({"SLV_THREADS": "0"}, "SLV_THREADS")):
        p = run("doctor", "--json", env=env)
        out = json.loads(p.stdout)
        assert p.returncode == 1 and not out["ok"] and out["findings"][0]["what"] == what, p
        p = run("doctor", env=env)
        assert p.returncode == 1 and "problem: " + what in p.stdout, p
    p = run("doctor", "--json", env={"SLV_CPU": "scalar"})
    assert p.returncode == 0 and json.loads(p.stdout)["cpu"]["level"] == "scalar"


def doctor_finds_missing_and_damaged_models():
    model = HOME.name + "/m.gguf"
    with open(model, "wb") as f:
        f.write(b"GGUF" + b"\1" * 5000)
    assert run("pull", "--from", model, "hurt").returncode == 0
    path = json.loads(run("list", "--json").stdout)["models"][0]["path"]
    os.chmod(path, 0o644)
    with open(path, "r+b") as f:
        f.seek(100)
        f.write(b"\2")
    assert run("doctor").returncode == 0
    p = run("doctor", "--verify")
    assert p.returncode == 1 and "damaged" in p.stdout, p
    os.truncate(path, 50)
    p = run("doctor")
    assert p.returncode == 1 and "another size" in p.stdout, p
    assert json.loads(run("list", "--json").stdout)["models"][0]["path"] is None
    assert run("rm", "hurt").returncode == 0
    names = HOME.name + "/store/names"
    with open(os.path.join(names, "0" * 64 + ".json"), "w") as f:
        f.write("{")
    assert run("doctor").returncode == 1
    assert "cannot be read" in run("list").stderr
    os.unlink(os.path.join(names, "0" * 64 + ".json"))
    assert run("doctor").returncode == 0


def progress_is_for_terminals_only():
    model = HOME.name + "/big.gguf"
    with open(model, "wb") as f:
        f.write(make_gguf.bpe().bytes() + b"\0" * (8 << 20))
    assert "\x1b" not in run("pull", "--from", model, "big").stderr
    for option, drawn in (("--json", True), ("--quiet", False)):
        seen, status = on_a_terminal("pull", "--from", model, "big", option, which="stderr")
        assert status == 0
        assert (b"MiB" in seen) == drawn, (option, seen)
    run("rm", "big")


def tiny(name="tiny.gguf"):
    """The path of a small model that can be run."""
    path = os.path.join(HOME.name, name)
    with open(path, "wb") as f:
        f.write(make_gguf.bpe().bytes())
    return path


def a_file_is_run_without_a_home():
    env = {"SELVAGE_HOME": "", "HOME": "", "XDG_DATA_HOME": ""}
    assert run("run", tiny(), "--raw", "a", "-n", "1", env=env).returncode == 0
    p = run("show", "nothing", env=env)
    assert p.returncode == 2 and "SELVAGE_HOME" in p.stderr, p


def a_malformed_model_gets_no_name():
    cut = os.path.join(HOME.name, "cut.gguf")
    with open(tiny(), "rb") as f, open(cut, "wb") as g:
        g.write(f.read()[:-100])
    fails(["pull", "--from", cut, "cut"], 3, "pull: .*cut.gguf: .*offset")
    fails(["run", "cut", "a"], 1, "not in the store")


def levels_of_other_machines_are_caps_too():
    other = "amx" if platform.machine() in ("aarch64", "arm64") else "neon"
    p = run("run", tiny(), "--raw", "a", "-n", "1", env={"SLV_CPU": other})
    assert p.returncode == 0 and "no %s; using" % other in p.stderr, p
    p = run("run", tiny(), "--raw", "a", "-n", "1", env={"SLV_CPU": "z80"})
    assert p.returncode == 2 and p.stderr.startswith("selvage: SLV_CPU: 'z80'"), p


def options_are_not_passed_over():
    fails(["run", tiny(), "a", "--logprobs", "2"], 2, "--logprobs: goes with --json")
    fails(["run", tiny(), "a", "--echo-tokens"], 2, "--echo-tokens: goes with --json")
    fails(["run", tiny(), "a", "--raw", "--system", "x"], 2, "--system: a --raw prompt")
    fails(["bench", tiny(), "-p", "0", "-n", "0"], 2, "nothing to measure")
    fails(["detokenize", tiny(), "0", "99999", "1"], 2, "99999: not in the vocabulary of")


def a_seed_is_new_each_time_and_can_be_given_back():
    args = ["run", tiny(), "--raw", "ab", "-n", "20", "--temp", "5", "--top-k", "0", "--top-p", "1",
            "--min-p", "0", "--json"]
    first, second = (json.loads(run(*args).stdout) for _ in range(2))
    assert first["seed"] != second["seed"]
    again = json.loads(run(*args, "--seed", str(first["seed"])).stdout)
    assert again["tokens"] == first["tokens"] and again["seed"] == first["seed"]
    assert "seed" not in json.loads(run("run", tiny(), "--raw", "a", "-n", "1", "--json").stdout)


def ctrl_c_while_a_prompt_is_awaited_ends_at_once():
    for args in (["run", tiny()], ["chat", tiny()], ["tokenize", tiny()]):
        p = subprocess.Popen([PROGRAM, *args], env=ENV, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while True:  # until it waits for its standard input
            with open("/proc/%d/syscall" % p.pid) as f:
                if f.read().split()[:2] == ["0", "0x0"]:
                    break
            assert p.poll() is None
        p.send_signal(signal.SIGINT)
        assert p.wait(60) == 130 and p.stderr.read() == "selvage: interrupted\n", args
        p.communicate()


def a_conversation_outlives_its_context():
    p = run("chat", tiny(), "-c", "24", "-n", "4", "--json", "--temp", "0", stdin=None,
            input="abcd\n" * 5)
    lines = [json.loads(line) for line in p.stdout.splitlines()]
    assert p.returncode == 0 and len(lines) == 5, p
    assert all(m["role"] == "assistant" and m["tokens"] <= 4 for m in lines), lines
    assert "the oldest turns are forgotten" in p.stderr, p
    p = run("chat", tiny(), "-c", "16", stdin=None, input="a" * 100 + "\n")
    assert p.returncode == 4 and "do not fit in a context of 16" in p.stderr, p
    p = run("chat", tiny(), "-n", "2", "--json", stdin=None, input='"""a\nb\n"""\nc\n')
    assert p.returncode == 0 and p.stdout.count("\n") == 2, p


TESTS = [f for f in list(globals().values())
         if callable(f) and getattr(f, "__module__", "") == "__main__" and
         f.__name__ not in ("run", "fails", "commands", "on_a_terminal", "main", "tiny")]


if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
