#!/usr/bin/env python3
"""Packed weights that are kept for the next start: whatever happens to their folder and to the
programs that write there, every answer is the right one and every start goes on.

usage: test_packed.py SELVAGE MODEL.gguf [DIE_AT_LIBRARY]      prints TAP
"""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import tap

PROGRAM, MODEL = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
DIE_AT = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
BASE = tempfile.mkdtemp(prefix="selvage-packed-")
RUN = ("--raw", "hello world", "-n", "6", "--logprobs", "3", "--echo-tokens", "--json")


class Home:
    """A store's folder of its own."""

    def __init__(self, path=None):
        self.path = path or tempfile.mkdtemp(dir=BASE)
        self.packed = os.path.join(self.path, "packed")
        self.env = dict(os.environ, SELVAGE_HOME=self.path)
        self.env.pop("SELVAGE_PACKED_MAX", None)

    def start(self, *args, env=None, before=(), **kw):
        return subprocess.Popen([*before, PROGRAM, *args], env=dict(self.env, **(env or {})), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def run(self, *args, want=0, says=None, lines=0, **kw):
        p = self.start(*args, **kw)
        out, err = p.communicate(timeout=120)
        context = "%s\nexit %s\n%s%s" % (" ".join(args), p.returncode, out, err)
        assert p.returncode == want and "Sanitizer" not in err, context
        assert err.count("\n") == (1 if says else lines), context
        assert not says or says in err, "no %r in: %s" % (says, context)
        return json.loads(out) if "--json" in args and not want else out

    def answer(self, packed, *more, model=MODEL, **kw):
        """The answer is that of a start without a cache, and the weights came from where they should."""
        out = self.run("run", model, *RUN, *more, **kw)
        assert out["timing"]["packed"] == packed, out["timing"]
        assert pick(out) == pick(plain(model)), out

    def files(self):
        return sorted(os.listdir(self.packed)) if os.path.isdir(self.packed) else []

    def file(self):
        assert len(self.files()) == 1 and self.files()[0].endswith(".tiles"), self.files()
        return os.path.join(self.packed, self.files()[0])


def pick(out):
    return [out[k] for k in ("text", "tokens", "logprobs", "prompt_logprobs", "finish")]


KNOWN = {}


def plain(model):
    if model not in KNOWN:
        home = Home()
        KNOWN[model] = home.run("run", model, *RUN, "--no-repack-cache")
        assert KNOWN[model]["timing"]["packed"] == "built" and os.listdir(home.path) == []
    return KNOWN[model]


def changed_copy(name, at_end):
    """A model of the same shape with other weights."""
    data = bytearray(open(MODEL, "rb").read())
    data[-at_end] ^= 1
    path = os.path.join(BASE, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def flip(path, at, bits=1):
    with open(path, "r+b") as f:
        f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ bits]))


def the_second_start_does_not_pack():
    home = Home()
    home.answer("built")
    home.answer("cached")
    home.answer("cached", "-t", "1")
    home.answer("built", "--no-repack-cache")
    assert os.stat(home.packed).st_mode & 0o777 == 0o700
    assert os.stat(home.file()).st_mode & 0o777 == 0o600
    out = home.run("bench", MODEL, "-p", "4", "-n", "2", "-r", "1", "--json")
    assert out["model"]["packed"] == "cached", out["model"]
    p = home.start("chat", MODEL)
    assert p.communicate(timeout=60)[1] == "" and p.returncode == 0


def every_command_can_do_without():
    home = Home()
    with open(os.path.join(BASE, "text"), "w") as f:
        f.write("hello world " * 40)
    for args in (("run", MODEL, "hello", "-n", "1"), ("chat", MODEL),
                 ("bench", MODEL, "-p", "4", "-n", "1", "-r", "1"),
                 ("eval", MODEL, "--text", f.name, "--ctx", "16")):
        p = home.start(*args, "--no-repack-cache")
        p.communicate(timeout=60)
        assert p.returncode == 0, args
        assert os.listdir(home.path) == [], args
    for args in (("show", MODEL), ("tokenize", MODEL, "hello")):
        home.run(*args)
        assert os.listdir(home.path) == [], args
    home.answer("built", env={"SELVAGE_PACKED_MAX": "0"})
    home.answer("built", env={"SELVAGE_PACKED_MAX": "4K"})
    assert home.files() == []
    home.run("run", MODEL, "x", want=2, says="SELVAGE_PACKED_MAX: 'much' is not a size",
             env={"SELVAGE_PACKED_MAX": "much"})


def damage_costs_one_line_and_the_file():
    home = Home()
    home.answer("built")
    size = os.path.getsize(home.file())
    tiles = 2 << 20
    for at in (0, 9, 64, 4095, 4096, 4300, size // 2, tiles, (tiles + size) // 2, size - 1):
        flip(home.file(), at)
        # what is bad among the tiles is packed again, and the file written anew in the end
        home.answer("cached" if at >= tiles else "built", says=": packed again")
        home.answer("cached")
    for end in (0, 100, 4096, 2 << 20, size - 1, size + 1):
        os.truncate(home.file(), end)
        home.answer("built", says="is cut short")
        home.answer("cached")
    flip(home.file(), -1)
    line = json.loads(home.start("run", MODEL, *RUN, "--log-json").communicate(timeout=60)[1])
    assert line["level"] == "warn" and "damaged" in line["msg"], line


def models_of_one_shape_are_told_apart():
    """Whether the key sees where they differ, and they have files of their own, or does not."""
    home, seen = Home(), set()
    size = os.path.getsize(MODEL)
    home.answer("built")
    for k in range(24):
        other = changed_copy("other%d.gguf" % k, 40 + k * (size // 64))
        p = home.start("run", other, *RUN)
        out, err = p.communicate(timeout=60)
        if p.returncode == 3:
            continue  # the byte was no weight
        assert pick(json.loads(out)) == pick(plain(other)), (k, err)
        assert err == "" or "is of another model: packed again" in err, err
        seen.add(err != "")
    assert seen == {False, True}, seen


def killed_starts(name, before, after):
    """Starts that are killed before each change to the file system in turn, and what is done before and after."""
    if not DIE_AT:
        return
    killed = 0
    for n in range(1, 100):
        home = Home(os.path.join(BASE, "%s%d" % (name, n), "home"))
        before(home, n)
        p = home.start("run", MODEL, *RUN, env={"LD_PRELOAD": DIE_AT, "DIE_AT": str(n)})
        p.communicate(timeout=60)
        if p.returncode == 0:
            break
        assert p.returncode == -signal.SIGKILL, p.returncode
        killed += 1
        after(home)
        home.answer("cached")
        home.file()
    assert killed >= 8, killed
    print("# killed at %d places" % killed)


def a_killed_start_costs_nothing():
    def the_next_one_builds_what_is_missing(home):
        done = os.path.exists(home.packed) and any(f.endswith(".tiles") for f in home.files())
        home.answer("cached" if done else "built")

    killed_starts("kill", lambda home, n: None, the_next_one_builds_what_is_missing)


def a_start_that_mends_may_be_killed():
    """While what is bad is packed again and written anew."""
    def damage(home, n):
        home.answer("built")
        flip(home.file(), (2 << 20) + 100 * n)

    def the_next_one_is_right(home):
        p = home.start("run", MODEL, *RUN)
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0 and pick(json.loads(out)) == pick(plain(MODEL)), err
        assert err == "" or err.count("\n") == 1 and ": packed again" in err, err

    killed_starts("mend", damage, the_next_one_is_right)


def leftovers_are_swept():
    home = Home()
    os.makedirs(home.packed, 0o700)
    left = os.path.join(home.packed, "00112233445566ff.tiles.tmp")
    with open(left, "wb") as f:
        f.write(b"x" * 100000)
    doctor = home.run("doctor", "--json")
    assert any("half-written" in f["message"] for f in doctor["findings"]), doctor
    home.answer("built")
    home.file()
    assert home.run("doctor", "--json")["store"]["packed"]["models"] == 1


def starts_at_once_are_all_right():
    home = Home()
    for _ in range(3):
        many = [home.start("run", MODEL, *RUN) for _ in range(6)]
        for p in many:
            out, err = p.communicate(timeout=120)
            assert p.returncode == 0 and err == "", err
            assert pick(json.loads(out)) == pick(plain(MODEL))
        home.file()
        home.answer("cached")
        flip(home.file(), -5)
        many = [home.start("run", MODEL, *RUN) for _ in range(4)]
        for p in many:
            out, err = p.communicate(timeout=120)
            assert p.returncode == 0 and err.count("\n") <= 1, err
            assert pick(json.loads(out)) == pick(plain(MODEL))


def a_full_disk_costs_only_the_cache():
    home = Home()
    os.makedirs(home.packed, 0o700)

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, 1 << 12))
    home.answer("built", says="the packed weights are not kept", preexec_fn=small)
    assert home.files() == []
    folder = os.path.join(BASE, "small")
    os.mkdir(folder)
    inside = ["unshare", "-m", "sh", "-c",
              "mount -t tmpfs -o size=20k none %s && mkdir -m 700 %s/packed && exec \"$@\"" % (folder, folder), "sh"]
    try:
        probe = subprocess.run([*inside, "true"], capture_output=True, timeout=20).returncode
    except FileNotFoundError:
        probe = 1
    if probe:
        print("# no tmpfs can be mounted here")
        return
    full = Home(folder)
    full.answer("built", before=inside, env={"SELVAGE_PACKED_MAX": "1G"},
                says="No space left on device: the packed weights are not kept")
    full.answer("built", before=inside)  # more than a third of the disk: not tried


def a_folder_that_cannot_be_made_costs_one_line():
    home = Home("/proc/selvage")
    home.answer("built", says="packed weights are not kept")
    home = Home()
    with open(home.packed, "w"):
        pass
    home.answer("built", says="packed weights are not kept")
    home = Home()
    os.mkdir(home.packed, 0o700)
    os.chmod(home.packed, 0o777)
    home.answer("built", says="others may write to it: packed weights are not kept")
    assert home.files() == []
    assert any(f["what"] == "packed" for f in home.run("doctor", "--json")["findings"])


def the_least_recently_used_go_first():
    home = Home()
    home.answer("built")
    first = home.file()
    each = os.stat(first).st_blocks * 512
    os.utime(first, (1, 1))
    room = {"SELVAGE_PACKED_MAX": str(each + each // 2)}
    other = os.path.join(os.path.dirname(MODEL), "ok-phi2.gguf")  # of another shape
    p = home.start("run", other, "--raw", "hello", "-n", "1", env=room)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    assert os.path.basename(first) not in home.files() and len(home.files()) == 1, home.files()
    home.answer("built", env=room)
    assert home.file() == first


def removing_a_model_removes_its_packed_weights():
    home = Home()
    for name in ("one", "two"):
        home.run("pull", "--from", MODEL, name, "--quiet")
    home.answer("built", model=MODEL)
    name = home.file()
    assert home.run("list", "--json")["packed"]["models"] == 1
    home.run("rm", "one", "--quiet")
    assert home.file() == name  # the other name stands for the same file
    freed = home.run("rm", "two", "--json", "--quiet")["freed"]
    assert home.files() == [] and freed > os.path.getsize(MODEL), freed
    home.answer("built")
    assert home.run("rm", "--packed", "--json")["freed"] > 0 and home.files() == []


TESTS = [the_second_start_does_not_pack, every_command_can_do_without, damage_costs_one_line_and_the_file,
         models_of_one_shape_are_told_apart, a_killed_start_costs_nothing,
         a_start_that_mends_may_be_killed, leftovers_are_swept, starts_at_once_are_all_right,
         a_full_disk_costs_only_the_cache,
         a_folder_that_cannot_be_made_costs_one_line, the_least_recently_used_go_first,
         removing_a_model_removes_its_packed_weights]


if __name__ == "__main__":
    status = tap.run(TESTS)
    shutil.rmtree(BASE, ignore_errors=True)
    sys.exit(status)
