#!/usr/bin/env python3
"""Who is not on this machine: in a network of the test's own, where the server has an address that is not
local. What a user would lose: a server that others on the network may use, or watch, without a key.

usage: test_peers.py SELVAGE MODEL      prints TAP

It starts itself again by unshare(1), in a namespace of users and networks; skipped where that is forbidden.
"""
import fcntl
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys

INSIDE = "SLV_TEST_NETWORK"
UNSHARE = ["unshare", "--map-root-user", "--net"]
if not os.environ.get(INSIDE):
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        print("1..0 # SKIP no network of our own: unshare --map-root-user --net is not permitted here")
        sys.exit(0)
    os.environ[INSIDE] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *sys.argv])

import serving
from serving import Home, bearer, tap

MODEL = os.path.abspath(sys.argv[2])
HOME = Home("peers")
CERTIFICATE = ["--tls-cert", HOME.path("server.crt"), "--tls-key", HOME.path("server.key")]
FAR, NEAR = "10.77.0.1", "127.0.0.1"
ASK = ("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 2})
KEYED = [ASK, ("POST", "/tokenize", {"content": "a"}), ("GET", "/v1/models", None), ("GET", "/v1/models/m", None),
         ("GET", "/v1/adapters", None), ("POST", "/v1/adapters", {"name": "a"}), ("GET", "/v1/admin/sessions", None),
         ("GET", "/v1/admin/log", None)]


def give_addresses():
    """netdevice(7): the loopback device, up, and with an address that is not local to the server's eyes."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
    fcntl.ioctl(s, 0x8916, struct.pack("16sH2x4s8x", b"lo:1", socket.AF_INET, socket.inet_aton(FAR)))  # SIOCSIFADDR
    s.close()


def serve(*args, tls):
    s = HOME.serve(*CERTIFICATE, *args, listen=(FAR + ":0", NEAR + ":0"), host=FAR, models=["m=" + MODEL], tls=tls)
    near = next(u for u in s.urls if NEAR in u)
    return s, int(near.rsplit(":", 1)[1])


def client(name=None):
    """Certificates are for a name, which nobody looks up here."""
    ctx = serving.client_tls(HOME.root, "ours", name)
    ctx.check_hostname = False
    return ctx


def from_near(s, port, *how, **more):
    far, s.host, s.port = (s.host, s.port), NEAR, port
    try:
        return s.ask(*how, **more)
    finally:
        s.host, s.port = far


def without_a_key_a_peer_gets_nothing():
    key = bearer(HOME.add_key("user"))
    s, near = serve("--keys", HOME.path("keys.json"), tls=client())
    with s:
        for how in KEYED + [("GET", "/metrics", None)]:
            r = s.ask(*how)
            assert r.status == 401 and r.error()["code"] == "no_api_key", (how, r.status, r.body)
            r = s.ask(*how, headers=bearer("slv_" + "A" * 43))
            assert r.status == 401 and r.error()["code"] == "invalid_api_key", (how, r.status, r.body)
        assert s.ask(*ASK, headers=key).status == 200 and s.ask("GET", "/metrics", headers=key).status == 200
        assert s.ask("GET", "/health").status == 200 and s.ask("GET", "/console").status == 200
        # this machine may watch, and no more
        assert from_near(s, near, "GET", "/metrics").status == 200
        for how in KEYED:
            assert from_near(s, near, *how).status == 401, how


def without_keys_a_peer_with_a_certificate_does_not_administer():
    s, near = serve("--client-ca", HOME.path("ours.crt"), tls=client("friend"))
    with s:
        assert s.ask(*ASK).status == 200
        for what in ("sessions", "audit", "log"):
            r = s.ask("GET", "/v1/admin/" + what)
            assert r.status == 403 and r.error()["code"] == "not_admin", r.body
            assert from_near(s, near, "GET", "/v1/admin/" + what).status == 200
        for who in (None, "stranger"):
            friend, s.tls = s.tls, client(who)
            try:
                s.ask(*ASK)
                raise AssertionError("a peer without a certificate was answered")
            except (ssl.SSLError, ConnectionError, serving.http.client.HTTPException):
                pass
            finally:
                s.tls = friend


def an_address_that_is_not_local_is_refused_without_either():
    for args in ([], ["--keys", HOME.path("keys.json")], CERTIFICATE):
        said = HOME.run("serve", "--alias", "m=" + MODEL, "--listen", FAR + ":0", *args, status=2)
        assert "--tls-cert and --keys" in said, (args, said)


if __name__ == "__main__":
    give_addresses()
    for ca in ("ours", "theirs"):
        serving.authority(HOME.root, ca)
    serving.certificate(HOME.root, "ours", "server")
    serving.certificate(HOME.root, "ours", "friend")
    serving.certificate(HOME.root, "theirs", "stranger")
    sys.exit(tap.run([without_a_key_a_peer_gets_nothing, without_keys_a_peer_with_a_certificate_does_not_administer,
                      an_address_that_is_not_local_is_refused_without_either]))
