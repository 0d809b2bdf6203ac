#!/usr/bin/env python3
"""Keys, signatures, sealed files and audit logs through the program: what a user does works as the
guide says; what somebody else did to a file is refused with one line and exit status 5; and a process
that is killed at any moment loses nothing.

usage: test_trust.py SELVAGE AUDIT_WRITER [DIE_AT_LIBRARY]
prints TAP; DIE_AT_LIBRARY is built from die_at.c, without it the tests that kill step by step are left out
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import tap

PROGRAM = os.path.abspath(sys.argv[1])
WRITER = os.path.abspath(sys.argv[2])
DIE_AT = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
BASE = tempfile.mkdtemp(prefix="selvage-trust-")
RNG = random.Random(20261128)
HEX = "[0-9a-f]"


class Case:
    """A folder, and a store in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(dir=BASE)
        self.home = self.dir + "/home"
        self.env = {"PATH": os.environ["PATH"], "SELVAGE_HOME": self.home}
        self.env.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, *args, want=0, says=None, env=None, **kw):
        kw = {"stdin": subprocess.DEVNULL, **kw}
        p = subprocess.run([PROGRAM, *args], env={**self.env, **(env or {})}, text=True, timeout=120,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir, **kw)
        context = "%s\nexit %s\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr)
        assert p.returncode == want, context
        assert "Sanitizer" not in p.stderr, context
        if says is not None:
            assert re.search(says, p.stderr), context
        if want not in (0, -9):
            assert p.stderr.startswith("selvage: ") and p.stderr.count("\n") == 1, context
        return p.stdout

    def json(self, *args, **kw):
        return json.loads(self.run(*args, "--json", **kw))

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def log(self, name="audit.log", records=20, threads=1, sync="never", segment=0, every=4, **kw):
        return subprocess.run([WRITER, self.home + "/keys/device.key", self.path(name), str(records),
                               str(threads), sync, str(segment), str(every)], env={**self.env, **kw},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)


def with_key():
    c = Case()
    c.run("key", "new")
    return c


# --- keys ---------------------------------------------------------------------------------------

def a_key_is_made_once_and_shown_without_its_secret():
    c = Case()
    c.run("key", "show", want=1, says="there is no key: 'selvage key new' makes one")
    made = c.json("key", "new")
    assert re.fullmatch(HEX + "{32}", made["id"]) and re.fullmatch(HEX + "{64}", made["public"])
    assert os.stat(made["path"]).st_mode & 0o777 == 0o600
    with open(made["path"]) as f:
        secret = re.search("secret (%s{64})" % HEX, f.read()).group(1)
    for args in (["key", "show"], ["key", "show", "--json"], ["key", "show", "--public"]):
        assert secret not in c.run(*args) and made["public"] in c.run(*args)
    c.run("key", "new", want=2, says="there is a key already")
    assert c.json("key", "show")["id"] == made["id"]
    assert c.json("key", "new", "--force")["id"] != made["id"]


def a_key_that_others_may_read_is_refused():
    c = with_key()
    path = c.json("key", "show")["path"]
    c.write("f", b"x")
    for mode in (0o644, 0o640, 0o604):
        os.chmod(path, mode)
        for args in (["key", "show"], ["key", "rotate"], ["sign", "f"], ["seal", "f", "g"]):
            c.run(*args, want=5, says="others may read it")
    os.chmod(path, 0o600)
    c.run("sign", "f")


def malformed_keys_are_exit_status_3():
    c = Case()
    for text in (b"", b"hello\n", b"selvage device key 1\n", b"selvage device key 2\ncreated 1\n"):
        os.chmod(c.write("k", text), 0o600)
        c.run("key", "show", "--key", "k", want=3, says="k: line 1|k: line 2")


# --- signatures ---------------------------------------------------------------------------------

def what_a_trusted_device_signed_is_verified_elsewhere():
    maker, user = with_key(), with_key()
    data = RNG.randbytes(3 << 20)
    maker.write("model.gguf", data)
    maker.run("sign", "model.gguf")
    user.write("model.gguf", data)
    user.run("verify", "model.gguf", want=5, says="there is no signature")
    shutil.copy(maker.path("model.gguf.sig"), user.path("model.gguf.sig"))
    user.run("verify", "model.gguf", want=5, says="signed by key %s{32}, which is not trusted" % HEX)
    with open(user.path("maker.pub"), "w") as f:
        f.write(maker.run("key", "show", "--public"))
    user.run("verify", "model.gguf", "--pub", "maker.pub")
    user.run("key", "trust", "maker.pub")
    got = user.json("verify", "model.gguf")
    assert got["valid"] and got["key"] == maker.json("key", "show")["id"] and got["size"] == len(data)
    user.run("verify", "model.gguf", "--pub", got["key"])
    user.run("verify", "model.gguf", "--pub", user.json("key", "show")["id"], want=5, says="not trusted")
    user.run("verify", "model.gguf", "--pub", "0" * 32, want=5, says="no trusted key has this id")
    for at in (0, len(data) // 2, len(data) - 1):
        user.write("model.gguf", data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        user.run("verify", "model.gguf", want=5, says="its content has another digest")
    user.write("model.gguf", data + b"x")
    user.run("verify", "model.gguf", want=5, says="3145729 bytes, 3145728 were signed")
    user.write("model.gguf.sig", b"selvage signature 9\n")
    user.run("verify", "model.gguf", want=3, says="line 1")


def what_an_old_key_signed_is_still_verified():
    c, user = with_key(), with_key()
    c.write("f", b"content")
    c.run("sign", "f")
    with open(user.path("old.pub"), "w") as f:
        f.write(c.run("key", "show", "--public"))
    user.run("key", "trust", "old.pub")
    first, second = c.json("key", "show")["id"], c.json("key", "rotate")["id"]
    assert first != second
    assert c.json("verify", "f")["key"] == first
    c.run("sign", "f")
    assert c.json("verify", "f")["key"] == second
    for name in ("f", "f.sig"):
        shutil.copy(c.path(name), user.path(name))
    user.run("verify", "f", want=5, says="not trusted")
    with open(user.path("new.pub"), "w") as f:
        f.write(c.run("key", "show", "--public"))
    user.run("key", "trust", "new.pub")
    assert user.json("verify", "f")["key"] == second
    user.run("key", "trust", "old.pub", want=5, says="the keys trusted of this device so far")
    # a list of keys into which another's was put
    stranger = with_key().run("key", "show", "--public").splitlines()
    text = user.read("new.pub").decode() + "\n".join(stranger[1:]) + "\nsigned " + "0" * 128 + "\n"
    user.write("bad.pub", text.encode())
    user.run("key", "trust", "bad.pub", want=5, says="is not signed by the one before it")


# --- sealed files -------------------------------------------------------------------------------

def what_was_sealed_is_for_its_devices_only():
    one, two, three = with_key(), with_key(), with_key()
    data = RNG.randbytes(200000)
    one.write("model.gguf", data)
    for other, name in ((two, "two.pub"), (three, "three.pub")):
        with open(one.path(name), "w") as f:
            f.write(other.run("key", "show", "--public"))
    one.run("seal", "model.gguf", "own.sealed")
    one.run("unseal", "own.sealed", "out")
    assert one.read("out") == data
    assert one.json("seal", "model.gguf", "both.sealed", "--for", "two.pub", "--self")["size"] == len(data)
    one.run("seal", "model.gguf", "theirs.sealed", "--for", "two.pub", "--for", "three.pub")
    one.run("unseal", "theirs.sealed", "no", want=5, says="is sealed for keys %s{32} and %s{32}; this device has" % (HEX, HEX))
    two.run("unseal", one.path("own.sealed"), "no", want=5, says="is sealed for key")
    for device, sealed in ((one, "both"), (two, "both"), (two, "theirs"), (three, "theirs")):
        device.run("unseal", one.path(sealed + ".sealed"), "out", "--force")
        assert device.read("out") == data
        assert os.stat(device.path("out")).st_mode & 0o777 == 0o600
    assert not os.path.exists(one.path("no")) and not os.path.exists(two.path("no"))
    one.run("key", "rotate")
    one.run("unseal", "own.sealed", "out", "--force")
    one.run("key", "rotate", "--forget")
    one.run("unseal", "own.sealed", "no", want=5, says="is sealed for key")
    one.run("unseal", "model.gguf", "no", want=3, says="is not a sealed file")
    one.run("unseal", "nothing", "no", want=1, says="No such file")
    one.run("seal", "nothing", "no", want=1, says="No such file")
    one.run("seal", "model.gguf", "no", "--for", "model.gguf", want=3)


def no_file_is_replaced_unasked():
    c = with_key()
    for name in ("m", "s", "u"):
        c.write(name, name.encode())
    c.run("seal", "m", "s", want=2, says="s: is there already: --force replaces it")
    assert c.read("s") == b"s"
    c.run("seal", "m", "s", "--force")
    c.run("unseal", "s", "u", want=2, says="u: is there already: --force replaces it")
    assert c.read("u") == b"u"
    c.run("unseal", "s", "u", "--force")
    assert c.read("u") == b"m"


def standard_input_can_be_sealed():
    c = with_key()
    p = subprocess.run([PROGRAM, "seal", "-", c.path("s")], env=c.env, input=b"a" * 100000, timeout=60,
                       stderr=subprocess.DEVNULL)
    assert p.returncode == 0
    c.run("unseal", "s", "out")
    assert c.read("out") == b"a" * 100000


def what_was_done_to_a_sealed_file_is_refused():
    c = with_key()
    data = RNG.randbytes(5 * 65536)
    c.write("m", data)
    c.run("seal", "m", "s")
    c.run("seal", "m", "t")
    s, t = c.read("s"), c.read("t")
    stride, first = 65536 + 16, 160

    def block(f, i):
        return f[first + i * stride:first + (i + 1) * stride]

    def refused(f, says):
        c.write("bad", f)
        c.run("unseal", "bad", "no", want=5, says=says)
        assert not os.path.exists(c.path("no")) and not os.path.exists(c.path("no.tmp"))

    for at in [9, 13, 17, 21, 25, 33, 60, 140] + [first + RNG.randrange(5 * stride) for _ in range(20)]:
        refused(s[:at] + bytes([s[at] ^ (1 << RNG.randrange(8))]) + s[at + 1:],
                "sealed for|header|cut short" if at < first else "block %d is not" % ((at - first) // stride))
    for end in (20, 100, first, first + stride, len(s) - stride, len(s) - 1):
        refused(s[:end], "cut short")
    refused(s + b"x", "has grown")
    refused(s[:first] + block(s, 1) + block(s, 0) + s[first + 2 * stride:], "block 0 is not")
    refused(s[:first] + block(t, 0) + s[first + stride:], "block 0 is not")
    refused(s[:-stride] + block(s, 0), "block 4 is not")
    refused(t[:first] + s[first:], "block 0 is not")
    c.write("s", s)
    c.run("unseal", "s", "out")
    assert c.read("out") == data


# --- audit logs ---------------------------------------------------------------------------------

def an_audit_log_shows_what_was_done_to_it():
    c = with_key()
    assert c.log(records=20, every=100).returncode == 0
    found = c.json("audit", "verify", "audit.log")
    assert found["valid"] and found["requests"] == 20 and found["closed"] and found["unsigned"] == 0
    with open(c.path("point"), "w") as f:
        f.write(c.run("audit", "checkpoint", "audit.log"))
    lines = c.read("audit.log").splitlines(keepends=True)
    assert len(lines) == 23

    def refused(new, record, says, *args):
        c.write("audit.log", b"".join(new))
        p = c.run("audit", "verify", "audit.log", "--json", *args, want=5, says=says)
        got = json.loads(p)
        assert not got["valid"] and got["record"] == record and re.search(says, got["error"]), got
        c.run("audit", "verify", "audit.log", *args, want=5, says="record %d: .*%s" % (record, says))

    refused(lines[:7] + lines[8:], 7, "is missing: record 8 stands")
    refused(lines[:7] + [lines[8], lines[7]] + lines[9:], 8, "out of order")
    refused(lines[:9] + [lines[5]] + lines[9:], 5, "stands here again")
    refused(lines[:7] + [lines[7].replace(b'"status":200', b'"status":500')] + lines[8:], 7, "has been changed")
    refused(lines[:7] + [lines[7].replace(b'"', b"'")] + lines[8:], 7, "it is no record any more")
    refused(lines[:-1] + [lines[-1].replace(b'"close"', b'"count"')], 22, "did not sign what stands here")
    refused(lines[:15], 15, "the log is cut off", "--checkpoint", "point")
    c.write("audit.log", b"".join(lines[:15]))
    found = c.json("audit", "verify", "audit.log")
    assert found["unsigned"] == 13 and not found["closed"]
    c.write("audit.log", b"".join(lines))
    assert c.json("audit", "verify", "audit.log", "--checkpoint", "point")["checkpoints"] == 1
    stranger = with_key()
    with open(c.path("stranger.pub"), "w") as f:
        f.write(stranger.run("key", "show", "--public"))
    refused(lines, 1, "not trusted", "--pub", "stranger.pub")
    stranger.log(records=20)
    shutil.copy(stranger.path("audit.log"), c.path("audit.log"))
    refused([stranger.read("audit.log")], 1, "not trusted")
    c.run("audit", "verify", "point", want=3, says="is not an audit log")
    c.run("audit", "verify", "nothing", want=1, says="No such file")
    c.run("audit", "verify", "audit.log", "--checkpoint", "audit.log", want=3, says="is not a checkpoint")


def records_are_shown_across_segments():
    c = with_key()
    assert c.log(records=60, segment=4000).returncode == 0
    assert os.path.exists(c.path("audit.log.000002"))
    lines = [json.loads(line) for line in c.run("audit", "show", "audit.log", "--json").splitlines()]
    assert [r["seq"] for r in lines] == list(range(len(lines)))
    assert sum(r["type"] == "request" for r in lines) == 60
    for n in (1, 7, 30, len(lines), 10 * len(lines)):
        last = c.run("audit", "show", "audit.log", "--json", "--last", str(n)).splitlines()
        assert [json.loads(line) for line in last] == lines[-n:], n
    assert len(c.run("audit", "show", "audit.log", "-n", "5").splitlines()) == 5
    os.unlink(c.path("audit.log.000001"))
    c.run("audit", "verify", "audit.log", want=5)
    assert c.json("audit", "verify", "audit.log", "--from", "2")["first_segment"] == 2
    c.run("audit", "verify", "audit.log", "--from", "1", want=5, says="segment 1 is missing")


def a_log_goes_on_after_its_key_was_rotated():
    c = with_key()
    with open(c.path("first.pub"), "w") as f:
        f.write(c.run("key", "show", "--public"))
    for _ in range(3):
        assert c.log(records=5).returncode == 0
        c.run("key", "rotate", "--forget")
    assert c.json("audit", "verify", "audit.log")["requests"] == 15
    assert c.json("audit", "verify", "audit.log", "--pub", "first.pub")["requests"] == 15


# --- API keys -----------------------------------------------------------------------------------

def api_keys_are_made_listed_and_revoked():
    c = Case()
    c.run("key", "list", want=1, says="No such file")
    token = c.run("key", "add", "alice", "--model", "a", "--context", "4096", "--days", "30").strip()
    assert re.fullmatch("slv_[A-Za-z0-9_-]{43}", token)
    made = c.json("key", "add", "bob", "--admin")
    with open(c.home + "/keys/api.json") as f:
        text = f.read()
    assert token not in text and made["token"] not in text
    listed = c.json("key", "list")["keys"]
    assert [k["name"] for k in listed] == ["alice", "bob"] and listed[0]["models"] == ["a"], listed
    assert listed[0]["context"] == 4096 and listed[1]["admin"] and listed[1]["id"] == made["id"]
    c.run("key", "add", "alice", want=2, says="there is a key of this name already")
    c.run("key", "revoke", made["id"])
    assert [k["state"] for k in c.json("key", "list")["keys"]] == ["good", "revoked"]
    c.run("key", "revoke", "nobody", want=1, says="no key has this id or name")
    c.run("key", "add", "x\x1b", want=2, says="printable")
    c.run("key", "list", "--file", c.write("bad", b"{"), want=3, says="line 1")
    assert "until" in c.run("key", "list")


# --- killed -------------------------------------------------------------------------------------

def at_each_step(c, args, check, program=PROGRAM):
    """Runs it, killed before its n-th change to the file system, for each n until it is not killed."""
    for n in range(1, 400):
        env = {**c.env, "LD_PRELOAD": DIE_AT, "DIE_AT": str(n)}
        p = subprocess.run([program, *args], env=env, cwd=c.dir, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        check(n, p)
        if p.returncode != -signal.SIGKILL:
            assert p.returncode == 0, p
            assert n > 3
            return
    raise AssertionError("never done")


def keys_survive_being_killed():
    c = Case()

    def made(n, p):
        path = c.home + "/keys/device.key"
        if os.path.exists(path):
            c.run("key", "show")
            if p.returncode:
                os.unlink(path)

    at_each_step(c, ["key", "new"], made)
    ids = [c.json("key", "show")["id"]]

    def rotated(n, p):
        keys = [k["id"] for k in c.json("key", "show")["keys"]]
        assert keys[:len(ids)] == ids and len(keys) <= len(ids) + 1
        ids[:] = keys

    at_each_step(c, ["key", "rotate"], rotated)

    def added(n, p):
        path = c.home + "/keys/api.json"
        if os.path.exists(path):
            c.run("key", "list")
            if p.returncode:
                os.unlink(path)

    at_each_step(c, ["key", "add", "a"], added)


def sealed_files_are_whole_or_absent():
    c = with_key()
    data = RNG.randbytes(3 * 65536 + 5)
    c.write("m", data)

    def whole(n, p):
        if os.path.exists(c.path("s")):
            c.run("unseal", "s", "out", "--force")
            assert c.read("out") == data
            os.unlink(c.path("s"))

    at_each_step(c, ["seal", "m", "s"], whole)
    c.run("seal", "m", "s")
    os.unlink(c.path("out"))

    def unsealed(n, p):
        if os.path.exists(c.path("out")):
            assert c.read("out") == data
            os.unlink(c.path("out"))

    at_each_step(c, ["unseal", "s", "out"], unsealed)
    at_each_step(c, ["sign", "m"], lambda n, p: c.run("verify", "m") if os.path.exists(c.path("m.sig")) else None)


def an_audit_log_goes_on_after_each_step():
    c = with_key()
    args = [c.home + "/keys/device.key", c.path("audit.log"), "6", "1", "record", "1500", "2"]
    taken = 0

    def sound(n, p):
        nonlocal taken
        taken += p.stdout.count(b"\n")
        there = [f for f in os.listdir(c.dir) if re.fullmatch(r"audit\.log(\.\d{6})?", f)]
        if there:
            found = c.json("audit", "verify", "audit.log")
            assert taken <= found["requests"] <= taken + n, (n, taken, found)
            taken = found["requests"]  # the one that was written when it was killed

    at_each_step(c, args, sound, WRITER)


def an_audit_log_survives_being_killed_at_random():
    c = with_key()
    taken = 0
    for i in range(25):
        p = subprocess.Popen([WRITER, c.home + "/keys/device.key", c.path("audit.log"), "1000000", "4",
                              ("record", "interval", "never")[i % 3], "200000", "16"],
                             env=c.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.02 + 0.03 * RNG.random())
        p.kill()
        out, err = p.communicate(timeout=60)
        assert p.returncode == -signal.SIGKILL, err
        taken += out.count(b"\n")
        if i % 5 == 4 and os.path.exists(c.path("audit.log")):  # and as if in the middle of a write
            with open(c.path("audit.log"), "ab") as f:
                f.write(b'{"seq":')
        found = c.json("audit", "verify", "audit.log")
        assert found["requests"] >= taken, (found, taken)
        taken = found["requests"]
    assert c.log(records=4).returncode == 0
    found = c.json("audit", "verify", "audit.log")
    assert found["requests"] == taken + 4 and found["torn"] >= 1 and found["closed"], (found, taken)


def sealing_survives_being_killed_at_random():
    c = with_key()
    data = RNG.randbytes(16 << 20)
    c.write("m", data)
    for _ in range(15):
        for args, out in ((["seal", "m", "s"], "s"), (["unseal", "good", "u"], "u")):
            if out == "u" and not os.path.exists(c.path("good")):
                c.run("seal", "m", "good")
            p = subprocess.Popen([PROGRAM, *args], env=c.env, cwd=c.dir, stderr=subprocess.DEVNULL)
            time.sleep(0.05 * RNG.random())
            p.kill()
            p.wait(60)
            if os.path.exists(c.path(out)):
                if out == "s":
                    c.run("unseal", "s", "check", "--force")
                assert c.read("check" if out == "s" else "u") == data
                os.unlink(c.path(out))
    c.run("seal", "m", "s")  # what was left behind is in nobody's way
    assert [f for f in os.listdir(c.dir) if f.endswith(".tmp")] in ([], ["u.tmp"])


def ctrl_c_leaves_nothing():
    c = with_key()
    with open(c.path("m"), "wb") as f:
        f.truncate(1 << 30)
    for args, out in ((["seal", "m", "s"], "s"), (["sign", "m"], "m.sig")):
        p = subprocess.Popen([PROGRAM, *args], env=c.env, cwd=c.dir, stderr=subprocess.PIPE, text=True)
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=60)
        assert p.returncode == 130 and "interrupted" in err, (p.returncode, err)
        assert not os.path.exists(c.path(out)) and not os.path.exists(c.path(out + ".tmp"))


def main():
    tests = [
        a_key_is_made_once_and_shown_without_its_secret,
        a_key_that_others_may_read_is_refused,
        malformed_keys_are_exit_status_3,
        what_a_trusted_device_signed_is_verified_elsewhere,
        what_an_old_key_signed_is_still_verified,
        what_was_sealed_is_for_its_devices_only,
        no_file_is_replaced_unasked,
        standard_input_can_be_sealed,
        what_was_done_to_a_sealed_file_is_refused,
        an_audit_log_shows_what_was_done_to_it,
        records_are_shown_across_segments,
        a_log_goes_on_after_its_key_was_rotated,
        api_keys_are_made_listed_and_revoked,
        an_audit_log_survives_being_killed_at_random,
        sealing_survives_being_killed_at_random,
        ctrl_c_leaves_nothing,
    ]
    if DIE_AT:
        tests += [keys_survive_being_killed, sealed_files_are_whole_or_absent,
                  an_audit_log_goes_on_after_each_step]
    try:
        return tap.run(tests)
    finally:
        shutil.rmtree(BASE, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
