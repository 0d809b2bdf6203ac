#!/usr/bin/env python3
"""The store of records, through records_writer.c: a writer that is killed at any moment, a disk that is
full, a power cut: what was reported is there, transactions are whole, and none is there without those
before it.

usage: test_records.py RECORDS_WRITER [DIE_AT_LIBRARY] [--full]
prints TAP; DIE_AT_LIBRARY is built from die_at.c, without it the tests that kill step by step are left out
"""
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import tap

ARGS = [a for a in sys.argv[1:] if a != "--full"]
WRITER = os.path.abspath(ARGS[0])
DIE_AT = os.path.abspath(ARGS[1]) if len(ARGS) > 1 else None
FULL = "--full" in sys.argv
BASE = tempfile.mkdtemp(prefix="selvage-records-")
RNG = random.Random(20261129)
ENV = {k: v for k, v in os.environ.items() if k == "PATH" or k.startswith(("ASAN_", "UBSAN_", "LSAN_"))}
FORMS = ((1, 100), (7, 300), (3, 9000))  # records of a transaction, bytes of each


def folder():
    return tempfile.mkdtemp(dir=BASE)


def numbers(out):
    """(n, second number) of its whole lines."""
    return [tuple(int(x) for x in line.split()) for line in out.split(b"\n")[:-1]]


def write(path, count, form, want=0, env=None, **kw):
    """What it printed, and its line of error."""
    p = subprocess.run([WRITER, path, str(count), *map(str, form)], env={**ENV, **(env or {})}, timeout=120,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **kw)
    assert p.returncode == want, (p.returncode, p.stdout[-200:], p.stderr)
    assert b"Sanitizer" not in p.stderr, p.stderr
    if want > 0:
        assert p.stderr.count(b"\n") == 1 and path.encode() in p.stderr, p.stderr
    return numbers(p.stdout), p.stderr.decode()


def there(path, form, damaged=0):
    """The number of the last transaction; the writer has found that it and those before are whole."""
    (n, told), = write(path, 0, form)[0]
    assert told == damaged, (n, told)
    return n


def start(path, form):
    return subprocess.Popen([WRITER, path, "1000000", *map(str, form)], env=ENV, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


# --- killed -------------------------------------------------------------------------------------

def killed_at_random_nothing_reported_is_lost():
    for form in FORMS:
        path, last, kills = folder() + "/r", 0, 0
        end = time.monotonic() + (60 if FULL else 1)
        while time.monotonic() < end or kills < 3:
            p = start(path, form)
            time.sleep(0.15 * RNG.random())
            p.kill()
            out, err = p.communicate(timeout=60)
            assert p.returncode == -signal.SIGKILL and not err, (p.returncode, err)
            reported = numbers(out)
            kills += 1
            if reported:  # it had opened the store
                assert last <= reported[0][0] <= last + 1 and reported[0][1] == 0, (last, reported[0])
                last = reported[-1][0]
            n = there(path, form)
            assert last <= n <= last + 1, (n, last)
            last = n
        assert last > 10, last


def at_each_step(path, prepare, check, count, stride=1):
    """Killed before its n-th change to the file system, for each n until it is not killed."""
    for n in range(1, 400, stride):
        prepare()
        p = subprocess.run([WRITER, path, str(count), "3", "300"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env={**ENV, "LD_PRELOAD": DIE_AT, "DIE_AT": str(n)}, timeout=60)
        check(numbers(p.stdout))
        if p.returncode != -signal.SIGKILL:
            assert p.returncode == 0, p
            return n
    raise AssertionError("never done")


def a_store_survives_each_step_of_its_making_and_writing():
    path = folder() + "/r"

    def prepare():
        shutil.rmtree(os.path.dirname(path))
        os.mkdir(os.path.dirname(path))

    def check(reported):
        last = reported[-1][0] if reported else 0
        (n, told), *_ = write(path, 1, (3, 300))[0]
        assert last <= n <= last + 1 and not told, (reported, n, told)

    assert at_each_step(path, prepare, check, 3) > 20


def a_salvage_survives_each_step():
    home = folder()
    path, good = home + "/r", home + "/good"
    write(path, 60, (3, 300))
    os.rename(path, good)
    with open(good, "rb") as f:
        db = bytearray(f.read())
    leaves = [at for at in range(8192, len(db), 4096) if db[at] == 10]
    for at in leaves[3:5]:
        db[at:at + 4096] = RNG.randbytes(4096)

    def prepare():
        for name in os.listdir(home):
            os.unlink(os.path.join(home, name)) if name != "good" else None
        with open(path, "wb") as f:
            f.write(db)
        with open(path + ".lock", "w") as f:
            f.write("selvage records S\n")

    def check(reported):
        # told of until there was a commit, however often it was begun; that one may have been made
        p = subprocess.run([WRITER, path, "0", "3", "300"], env=ENV, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, timeout=60)
        now, = numbers(p.stdout)
        assert now in ((60, 1), (61, 1), (61, 0)), (now, reported)
        assert p.returncode == (0 if now[1] else 9), p  # 9: it misses what was lost
        if len(reported) == 2:
            assert now == (61, 0), now
        kept = [name for name in os.listdir(home) if name.startswith("r.damaged-")]
        assert 1 <= len(kept) <= 2, kept
        with open(os.path.join(home, kept[0]), "rb") as f:
            assert f.read() == db

    assert at_each_step(path, prepare, check, 1, 1 if FULL else 3) > 20


# --- a disk that is full ------------------------------------------------------------------------

def a_file_that_may_not_grow_is_one_clear_error():
    form = (7, 300)
    path = folder() + "/r"
    last = write(path, 50, form)[0][-1][0]
    for size in (100000, 130000, 200001):
        def limit(size=size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        reported, err = write(path, 1000000, form, want=1, preexec_fn=limit)
        assert "File too large" in err, err
        last = max([last] + [n for n, _ in reported])
        assert there(path, form) == last, last  # that which failed is taken back
        last = write(path, 5, form)[0][-1][0]
    assert there(path, form) == last


FULL_DISK = """
mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
cd "$1"; writer=$2
head -c 400000 /dev/zero >filler
"$writer" "$1/r" 1000000 7 300; echo "status $?"
"$writer" "$1/r" 0 7 300; echo "status $?"
rm filler
"$writer" "$1/r" 5 7 300; echo "status $?"
"$writer" "$1/r" 0 7 300; echo "status $?"
"""


def a_full_disk_is_one_clear_error_and_space_mends_it():
    home = folder()
    p = subprocess.run(["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", home, WRITER], env=ENV, timeout=120,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE) if shutil.which("unshare") else None
    if not p or p.returncode == 77 or not p.stdout:
        return tap.skip("no file system can be mounted here")
    runs = p.stdout.split(b"status ")
    errors = p.stderr.decode().splitlines()
    assert [int(r.split(b"\n")[0]) for r in runs[1:]][0] == 1, (runs[1:], errors)
    assert errors and "/r: " in errors[0] and "the disk is full" in errors[0], errors
    status = [int(r.split(b"\n")[0]) for r in runs[1:]]
    reported = numbers(runs[0])[-1][0]
    # while it is full the store may be refused, with a line; what was reported is there after
    assert status[2:] == [0, 0] and len(errors) == 1 + (status[1] != 0), (status, errors)
    after = numbers(b"\n".join(runs[2].split(b"\n")[1:]))
    assert after[0] == (reported, 0), (after[0], reported)
    assert numbers(b"\n".join(runs[3].split(b"\n")[1:]))[0][0] == reported + 5


# --- power cuts ---------------------------------------------------------------------------------

def image(p, path, to):
    """Its files as they are at one moment, and what it had reported by then."""
    os.kill(p.pid, signal.SIGSTOP)
    while True:
        with open("/proc/%d/stat" % p.pid) as f:
            if f.read().rsplit(")", 1)[1].split()[0] == "T":
                break
    out = b""
    try:
        while chunk := os.read(p.stdout.fileno(), 65536):
            out += chunk
    except BlockingIOError:
        pass
    for name in ("", "-wal", ".lock"):
        if os.path.exists(path + name):
            shutil.copyfile(path + name, to + name)
    os.kill(p.pid, signal.SIGCONT)
    return out


def cut(to, keep):
    """The log's bytes behind those that were synced: some are lost, some are others."""
    with open(to + "-wal", "r+b") as f:
        log = bytearray(f.read())
        end = RNG.randint(keep, len(log))
        if end < len(log) and RNG.random() < 0.5:
            at = RNG.randrange(end, len(log))
            log[at:at + 512] = bytes(len(log[at:at + 512]))
            end = len(log)
        f.seek(0)
        f.truncate()
        f.write(log[:end])


def power_cuts_lose_nothing_reported():
    for form in FORMS:
        home = folder()
        path = home + "/r"
        p = start(path, form)
        os.set_blocking(p.stdout.fileno(), False)
        out, done, end = b"", 0, time.monotonic() + (30 if FULL else 1)
        try:
            while time.monotonic() < end or done < 5:
                time.sleep(0.05 * RNG.random())
                to = home + "/image"
                out += image(p, path, to)
                reported = numbers(out)
                if reported:
                    last, synced = reported[-1] if len(reported) > 1 else (reported[-1][0], None)
                    n = there(to, form) if RNG.random() < 0.5 else None
                    if n is None and synced is not None and os.path.exists(to + "-wal"):
                        sizes = [s for _, s in reported[1:]]
                        # (only while the log has not begun again from its start)
                        if max(sizes) == synced and len(set(sizes[-2:])) == len(sizes[-2:]):
                            cut(to, synced)
                    n = there(to, form) if n is None else n
                    assert last <= n <= last + 1, (last, n)
                    done += 1
                for name in os.listdir(home):
                    if name.startswith("image"):
                        os.unlink(os.path.join(home, name))
        finally:
            p.kill()
            p.communicate()
        assert done >= 5, done


def a_log_cut_anywhere_is_a_beginning():
    form = (3, 300)
    home = folder()
    path, to = home + "/r", home + "/image"
    for _ in range(20):  # until one is killed before its log begins again from its start
        p = start(path, form)
        out = b"".join(p.stdout.readline() for _ in range(60))
        p.kill()
        sizes = dict(numbers(out + p.communicate()[0])[1:])
        with open(path + "-wal", "rb") as f:
            log = f.read()
        if len(log) < 900 * 4096:
            break
        write(path, 0, form)
    else:
        return tap.skip("no writer is slow enough here")
    for _ in range(200 if FULL else 25):
        shutil.copyfile(path, to)
        shutil.copyfile(path + ".lock", to + ".lock")
        end = RNG.randrange(len(log))
        with open(to + "-wal", "wb") as f:
            f.write(log[:end])
        n = there(to, form)
        assert n >= max([k for k, size in sizes.items() if size <= end], default=0), (n, end)


def main():
    tests = [
        killed_at_random_nothing_reported_is_lost,
        a_file_that_may_not_grow_is_one_clear_error,
        a_full_disk_is_one_clear_error_and_space_mends_it,
        power_cuts_lose_nothing_reported,
        a_log_cut_anywhere_is_a_beginning,
    ]
    if DIE_AT:
        tests += [a_store_survives_each_step_of_its_making_and_writing, a_salvage_survives_each_step]
    try:
        return tap.run(tests)
    finally:
        shutil.rmtree(BASE, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
