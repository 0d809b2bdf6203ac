#!/usr/bin/env python3
"""Attestation through the program and a TPM: what a node shows is judged the same by a second reader
(this script, and openssl); another program, policy, boot, nonce, node or machine is refused with one
line and exit status 5; and a machine stays the one it is when its TPM starts anew, or is cleared.

usage: test_attest.py SELVAGE      prints TAP; skipped without swtpm, or where the program has no TPM
"""
import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import swtpm
import tap

PROGRAM = os.path.abspath(sys.argv[1])
BASE = tempfile.mkdtemp(prefix="selvage-attest-")
RNG = random.Random(20261129)
ZEROS = "00" * 32
CC_CLEAR, CC_PCR_ALLOCATE, CC_PCR_EXTEND = 0x126, 0x12b, 0x182
RH_LOCKOUT, RH_PLATFORM = 0x4000000a, 0x4000000c
SHA256, SHA384 = 0x000b, 0x000c


class Node:
    """A folder with a store and a device key, and the TPM that it asks."""

    def __init__(self, tpm, *key_options):
        self.tpm, self.dir = tpm, tempfile.mkdtemp(dir=BASE)
        self.key = json.loads(self.run("key", "new", "--json", *key_options))["public"]

    def run(self, *args, want=0, says=None, program=PROGRAM, tpm=None):
        env = {"PATH": os.environ["PATH"], "SELVAGE_HOME": self.dir, "SELVAGE_TPM": tpm or self.tpm.name}
        env.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_"))})
        p = subprocess.run([program, *args], env=env, cwd=self.dir, text=True, timeout=60,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        context = "%s\nexit %s\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr)
        assert p.returncode in (want if isinstance(want, tuple) else (want,)), context
        assert "Sanitizer" not in p.stderr, context
        assert want == 0 or (p.stderr.startswith("selvage: ") and p.stderr.count("\n") == 1), context
        assert says is None or re.search(says, p.stderr), context
        return p.stdout

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)

    def read(self, name):
        with open(self.path(name)) as f:
            return f.read()

    def quote(self, nonce, *more, to="e", **kw):
        return json.loads(self.run("attest", "quote", "--nonce", nonce, "-o", to, "--json", *more, **kw))

    def verify(self, nonce, *more, node=None, file="e", **kw):
        return self.run("attest", "verify", file, "--nonce", nonce, "--node", node or self.key, *more,
                        tpm="swtpm:host=127.0.0.1,port=1", **kw)


def nonce():
    return RNG.randbytes(32).hex()


def sha256(data):
    return hashlib.sha256(data).digest()


def hash_of(path):
    with open(path, "rb") as f:
        return sha256(f.read()).hex()


def command(tpm, code, handle, parameters):
    """A command with one handle whose authorization is the empty password."""
    body = struct.pack(">III", code, handle, 9) + struct.pack(">IHBH", 0x40000009, 0, 0, 0) + parameters
    answer = tpm.ask(struct.pack(">HI", 0x8002, 6 + len(body)) + body)
    assert struct.unpack(">HII", answer[:10])[2] == 0, answer.hex()


def allocate(tpm, banks):
    """PCRs (a bit each) by bank, from the next start on."""
    parts = [struct.pack(">HB", bank, 3) + pcrs.to_bytes(3, "little") for bank, pcrs in banks.items()]
    command(tpm, CC_PCR_ALLOCATE, RH_PLATFORM, struct.pack(">I", len(parts)) + b"".join(parts))
    tpm.restart()


def extend(tpm, pcr, digest):
    command(tpm, CC_PCR_EXTEND, pcr, struct.pack(">IH", 1, SHA256) + digest)


# --- a second reader ----------------------------------------------------------------------------

def der_number(b):
    b = b.lstrip(b"\0") or b"\0"
    b = b"\0" + b if b[0] & 128 else b
    return bytes([2, len(b)]) + b


def openssl_verifies(point, signature, data, folder):
    """Of a P-256 key, by another program."""
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\4" + point
    numbers = der_number(signature[:32]) + der_number(signature[32:])
    for name, content in (("k", spki), ("s", bytes([0x30, len(numbers)]) + numbers), ("d", data)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)
    p = subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", "k", "-signature", "s", "d"],
                       cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "Verified OK" in p.stdout


def judge(text, given, node, folder):
    """What the text says, all of it checked without a line of the program's."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines()]
    assert lines[0] == ["selvage attestation", "1"]
    fields = {name: bytes.fromhex(value) for name, value in lines[1:]}
    ak, attest = fields["ak"], fields["quote"]
    public, x, y = ak[2:], ak[24:56], ak[58:90]
    magic, kind, n = struct.unpack(">IHH", attest[:8])
    signer, rest = attest[8:8 + n], attest[8 + n:]
    assert (magic, kind) == (0xff544347, 0x8018)
    assert signer == b"\0\x0b" + sha256(struct.pack(">I", 0x4000000b) + b"\0\x0b" + sha256(public))
    extra, rest = rest[2:34], rest[34:]
    assert extra == sha256(b"selvage attest 1" + bytes.fromhex(given) + bytes.fromhex(node))
    clock, resets, restarts, safe, firmware, banks, bank, size = struct.unpack(">QIIBQIHB", rest[:32])
    assert (banks, bank, size) == (1, 0x000b, 3)
    chosen = int.from_bytes(rest[32:35], "little")
    pcrs = {i: fields["pcr %d" % i] for i in range(24) if chosen >> i & 1}
    assert set(pcrs) == {0, 1, 2, 3, 4, 5, 6, 7, 23}
    assert rest[35:] == b"\0\x20" + sha256(b"".join(pcrs[i] for i in sorted(pcrs)))
    replayed = sha256(sha256(bytes(32) + fields["binary"]) + fields["policy"])
    assert pcrs[23] == replayed
    assert openssl_verifies(x + y, fields["signature"], attest, folder)
    return {"ak": sha256(public).hex(), "binary": fields["binary"].hex(), "policy": fields["policy"].hex(),
            "resets": resets, "restarts": restarts, "clock_ms": clock, "clock_safe": bool(safe),
            "firmware": "%016x" % firmware, "extra": extra.hex(),
            "pcrs": [{"pcr": i, "value": v.hex()} for i, v in sorted(pcrs.items())]}


# --- tests --------------------------------------------------------------------------------------

def with_tpm(test):
    """A test that has a TPM of its own."""
    def made():
        tpm = swtpm.Tpm(BASE)
        try:
            return test(tpm)
        finally:
            tpm.stop()
    made.__name__ = test.__name__
    return made


@with_tpm
def what_a_node_shows_is_judged_the_same_by_two(tpm):
    node, asked = Node(tpm), nonce()
    node.write("policy", "allow: line 7\n")
    said = node.quote(asked, "--policy", "policy")
    judged = judge(node.read("e"), asked, node.key, node.dir)
    assert {k: said[k] for k in judged} == judged
    assert said["binary"] == hash_of(PROGRAM) and said["policy"] == sha256(b"allow: line 7\n").hex()
    assert json.loads(node.run("attest", "show", "e", "--json")) == said
    assert all(value in node.run("attest", "show", "e") for value in (said["ak"], said["binary"], said["policy"]))
    expected = ["--ak", said["ak"], "--binary", said["binary"], "--policy", "policy"]
    for pcr in said["pcrs"]:
        expected += ["--pcr", "%d=%s" % (pcr["pcr"], pcr["value"])]
    assert json.loads(node.verify(asked, *expected, "--json")) == {"valid": True, "ak_expected": True, **said}
    assert not json.loads(node.verify(asked, "--json"))["ak_expected"]
    node.verify(asked, says="without --ak this does not show that a TPM made it")
    node.verify(asked, "--ak", nonce(), "--ak", said["ak"])  # one of several


@with_tpm
def what_is_not_expected_is_refused(tpm):
    node, other, asked = Node(tpm), Node(tpm), nonce()
    node.write("policy", "a")
    node.write("changed", "b")
    said = node.quote(asked, "--policy", "policy")
    node.verify(nonce(), want=5, says="e: it was made for another nonce, or for another node")
    node.verify(asked, node=other.key, want=5, says="another node")
    node.verify(asked, "--ak", nonce(), want=5, says="e: attestation key %s is not" % said["ak"])
    node.verify(asked, "--binary", nonce(), want=5, says="e: binary %s is not" % said["binary"])
    node.verify(asked, "--policy", "changed", want=5, says="e: policy %s is not" % said["policy"])
    node.verify(asked, "--pcr", "4=" + nonce(), want=5, says="e: PCR 4 is 0*, which is not expected")
    for bad in (["--ak", "00"], ["--binary", ZEROS.replace("0", "A")], ["--pcr", "8=" + ZEROS], ["--pcr", "7"],
                ["--pcr", "-1=" + ZEROS], ["--pcr", "7=" + ZEROS, "--pcr", "7=" + ZEROS]):
        node.verify(asked, *bad, want=2, says="attest verify: " + bad[0] + ": ")
    node.verify(asked, "--policy", "absent", want=1, says="absent: ")
    node.run("attest", "verify", "e", "--nonce", asked, want=2, says="--node: is missing")
    node.run("attest", "quote", "--nonce", asked, want=2, says="--out: is missing")
    node.run("attest", "quote", "--nonce", asked[:-1], "-o", "x", want=2, says="--nonce: ")
    assert not os.path.exists(node.path("x"))


@with_tpm
def evidence_that_was_changed_is_refused(tpm):
    node, asked = Node(tpm), nonce()
    node.quote(asked)
    good = node.read("e")
    for _ in range(40):
        at = RNG.randrange(len(good))
        node.write("hurt", good[:at] + chr(ord(good[at]) ^ 1 << RNG.randrange(7)) + good[at + 1:])
        node.verify(asked, file="hurt", want=(3, 5), says="hurt: ")
    node.write("hurt", good[:300])
    node.run("attest", "show", "hurt", want=3, says="hurt: line 3: 'quote' is missing or malformed")
    node.write("hurt", good * 8)
    node.run("attest", "show", "hurt", want=4)


@with_tpm
def a_changed_program_is_refused(tpm):
    node, asked, again = Node(tpm), nonce(), nonce()
    said = node.quote(asked)
    copy = shutil.copy(PROGRAM, node.path("copy"))
    with open(copy, "ab") as f:
        f.write(b"\0")
    changed = node.quote(again, program=copy)
    assert changed["ak"] == said["ak"] and changed["binary"] == hash_of(copy) != said["binary"]
    node.verify(again, "--ak", said["ak"], "--binary", said["binary"], want=5, says="e: binary ")
    node.verify(again, "--ak", said["ak"], "--binary", changed["binary"])


@with_tpm
def a_machine_stays_the_one_it_is(tpm):
    node = Node(tpm)
    said = node.quote(nonce())
    for what in ("restarted", "cleared"):
        asked = nonce()
        if what == "restarted":
            tpm.restart()
        else:
            command(tpm, CC_CLEAR, RH_LOCKOUT, b"")
        now = node.quote(asked)
        judge(node.read("e"), asked, node.key, node.dir)
        node.verify(asked, "--ak", said["ak"])
        assert now["resets"] == said["resets"] + 1 or what == "cleared", (said, now)
    other, asked = swtpm.Tpm(BASE), nonce()
    try:
        node.quote(asked, tpm=other.name)
        node.verify(asked, "--ak", said["ak"], want=5, says="e: attestation key ")
    finally:
        other.stop()


@with_tpm
def another_boot_is_refused(tpm):
    node, asked, again, last = Node(tpm), nonce(), nonce(), nonce()
    booted = ["--pcr", "7=" + ZEROS]
    node.quote(asked)
    node.verify(asked, *booted)
    extend(tpm, 7, sha256(b"another key for Secure Boot"))
    node.quote(again)
    node.verify(again, *booted, want=5, says="e: PCR 7 is [0-9a-f]{64}, which is not expected")
    node.verify(again)
    tpm.restart()
    node.quote(last)
    node.verify(last, *booted)


@with_tpm
def pcrs_that_a_tpm_lacks_are_left_out(tpm):
    node, asked = Node(tpm), nonce()
    quote = ["attest", "quote", "--nonce", asked, "-o", "x"]
    allocate(tpm, {SHA256: 0, SHA384: 0xffffff})
    node.run(*quote, want=1, says="TPM: has no PCRs with SHA-256")
    allocate(tpm, {SHA256: 0xffff, SHA384: 0})
    node.run(*quote, want=1, says="TPM: has no PCR 23 with SHA-256")
    assert not os.path.exists(node.path("x"))
    allocate(tpm, {SHA256: 0x80000f, SHA384: 0})
    assert [p["pcr"] for p in node.quote(asked)["pcrs"]] == [0, 1, 2, 3, 23]
    node.verify(asked, "--pcr", "3=" + ZEROS)
    node.verify(asked, "--pcr", "7=" + ZEROS, want=5, says="e: PCR 7 was not quoted")


@with_tpm
def quotes_leave_nothing_in_the_tpm(tpm):
    node = Node(tpm, "--tpm")
    for _ in range(5):  # it has room for three objects
        asked = nonce()
        extend(tpm, 23, sha256(b"another program"))
        said = node.quote(asked)
        node.verify(asked, "--ak", said["ak"], "--binary", hash_of(PROGRAM))
    node.write("m", "model")
    node.run("sign", "m")


@with_tpm
def without_a_tpm_nothing_is_shown(tpm):
    node = Node(tpm)
    node.run("attest", "quote", "--nonce", nonce(), "-o", "x", want=1, says="TPM: cannot be reached",
             tpm="swtpm:host=127.0.0.1,port=1")
    assert not os.path.exists(node.path("x"))


def main():
    help_text = subprocess.run([PROGRAM, "help"], stdout=subprocess.PIPE, text=True).stdout
    if not swtpm.is_there() or "attest quote" not in help_text:
        print("1..0 # SKIP no swtpm, or a program without TPM")
        return 0
    try:
        return tap.run([what_a_node_shows_is_judged_the_same_by_two, what_is_not_expected_is_refused,
                        evidence_that_was_changed_is_refused, a_changed_program_is_refused,
                        a_machine_stays_the_one_it_is, another_boot_is_refused,
                        pcrs_that_a_tpm_lacks_are_left_out, quotes_leave_nothing_in_the_tpm,
                        without_a_tpm_nothing_is_shown])
    finally:
        shutil.rmtree(BASE, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
