#!/usr/bin/env python3
"""DTLS on real sockets: nodes with each other, and with OpenSSL's own tools, which are strangers: both sides
must be told why they are refused.

usage: test_dtls.py DTLS_NODE       prints TAP; without the openssl tool, half of it is skipped
"""
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import tap

NODE = os.path.abspath(sys.argv[1])
BASE = tempfile.mkdtemp(prefix="selvage-dtls-")
PATIENCE = 60


class Process:
    """Its lines, of both outputs, as they come."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, pattern):
        while True:
            line = self.lines.get(timeout=PATIENCE)
            assert line is not None, "ended without %r: %r" % (pattern, self.seen[-20:])
            self.seen.append(line)
            found = re.search(pattern, line)
            if found:
                return found

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def node(number, *port):
    return Process(NODE, str(number), *map(str, port))


def port_of(process):
    return int(process.wait_for(r"^port (\d+)").group(1))


def certificate():
    """A stranger's, of the kind of key that nodes have."""
    made = os.path.join(BASE, "made.pem")
    if not os.path.exists(made):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", "/CN=stranger", "-keyout", made + ".key", "-out", made + ".crt"], check=True,
                       capture_output=True)
        os.rename(made + ".crt", made)
    return ["-cert", made, "-key", made + ".key"]


def client(port, *more):
    return Process("openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:%d" % port, *more)


def nodes_speak_with_each_other():
    with node(1) as a:
        with node(2, port_of(a)) as b:
            a.wait_for("^open with 2$")
            b.wait_for("^open with 1$")
            a.wait_for("^data from 2: hello$")
            b.wait_for("^data from 1: HELLO$")
            assert b.end() == 0
        a.wait_for("^closed$")
        assert a.end() == 0


def a_node_that_is_no_member_is_refused():
    with node(1) as a, node(9, port_of(a)) as b:
        a.wait_for("^failed: DTLS: the peer's key is not one that is let in$")
        b.wait_for("^failed: DTLS: the peer has refused: unknown CA$")


def a_client_without_a_certificate_is_told():
    if not shutil.which("openssl"):
        return tap.skip("no openssl tool")
    with node(1) as a, client(port_of(a)) as c:
        a.wait_for("^failed: DTLS: the peer shows no certificate$")
        c.wait_for("alert handshake failure")


def a_client_with_another_certificate_is_told():
    if not shutil.which("openssl"):
        return tap.skip("no openssl tool")
    with node(1) as a, client(port_of(a), *certificate()) as c:
        a.wait_for("^failed: DTLS: the peer's certificate is not of the form that nodes use$")
        c.wait_for("alert bad certificate")
        c.wait_for("CN ?= ?selvage link")  # what it makes of ours


def a_client_with_other_suites_is_told():
    if not shutil.which("openssl"):
        return tap.skip("no openssl tool")
    with node(1) as a, client(port_of(a), "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256") as c:
        a.wait_for("^failed: DTLS: the peer does not keep to DTLS")
        c.wait_for("alert handshake failure")


def a_server_with_another_certificate_is_told():
    if not shutil.which("openssl"):
        return tap.skip("no openssl tool")
    command = ["openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:0", "-Verify", "1", "-mtu", "1200"]
    with Process(*command, *certificate()) as s:
        with node(1, s.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)").group(1)) as a:
            a.wait_for("^failed: DTLS: the peer's certificate is not of the form that nodes use$")
            s.wait_for("alert bad certificate")


status = tap.run([nodes_speak_with_each_other, a_node_that_is_no_member_is_refused,
                  a_client_without_a_certificate_is_told, a_client_with_another_certificate_is_told,
                  a_client_with_other_suites_is_told, a_server_with_another_certificate_is_told])
shutil.rmtree(BASE, ignore_errors=True)
sys.exit(status)
