#!/usr/bin/env python3
"""A node of the mesh behind the server: what is asked below /mesh goes on to its unix socket. What a user would lose:
a look at the mesh from elsewhere, a server that stops or grows because a node does, the mesh in the hands of who may
not administer.

usage: test_serve_mesh.py SELVAGE MODEL      prints TAP
"""
import http.client
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading

from serving import FULL, HERE, SLOW, Home, bearer, tap

sys.path += [os.path.join(HERE, "..", "mesh")]
from nodes import Mesh, until  # noqa: E402

MODEL = "tiny=" + os.path.abspath(sys.argv[2])
HOME = Home("serve-mesh")
PATHS = ["/mesh/status", "/mesh/spaces", "/mesh/metrics", "/mesh/spaces/hits/keys", "/mesh/spaces/hits/keys/k"]


def serve(node, *args):
    return HOME.serve("--mesh", node if isinstance(node, str) else node.socket, *args, models=[MODEL])


class Watch:
    """A watch of a space, read as it comes. `with` ends in leaving."""

    def __init__(self, server, space, key=None):
        self.events, self.comments, self.ended = [], 0, False
        self.connection = server.connection()
        self.connection.request("GET", "/mesh/spaces/%s/watch" % space, headers=bearer(key))
        self.reply = self.connection.getresponse()
        assert self.reply.status == 200, self.reply.read()
        assert self.reply.headers["Content-Type"] == "text/event-stream"
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.reply:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))
                self.comments += line.startswith(b":")
            self.ended = True
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass

    def until(self, event, seconds=15):
        until(lambda: event in self.events, seconds, "%r among %r" % (event, self.events))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.connection.close()


class Fake(threading.Thread):
    """Listens where a node would; each connection is read up to its request's end and given to `answer`."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.folder = tempfile.TemporaryDirectory(prefix="selvage-fake-")
        self.path = os.path.join(self.folder.name, "s")
        self.answer, self.asked, self.left = answer, [], 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(100)
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        with s:
            data = b""
            while b"\r\n\r\n" not in data:
                data += s.recv(65536)
            self.asked.append(data)
            try:
                self.answer(s)
            except OSError:
                self.left += 1

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.folder.cleanup()


def waits(s):
    """Until the other side leaves."""
    if not s.recv(1):
        raise OSError


def error(r):
    return r.json()["error"]["message"]


# --- a node ---------------------------------------------------------------------------------------

def what_a_node_says_comes_through():
    with Mesh(2) as m, serve(m[0]) as s:
        m.whole()
        status = s.get("/mesh/status")
        assert status["node"] == m[0].id and {x["id"] for x in status["members"]} == {n.id for n in m.nodes}, status
        assert [x["name"] for x in s.get("/mesh/spaces")] == [x.split(":")[0] for x in m[0].spaces]
        r = s.ask("PUT", "/mesh/spaces/hits/keys/a%2Fb%20%C3%BC", {"value": 5})
        assert r.status == 200 and r.json() == {"written": True}, r.body
        m.everywhere("hits", "a/b \u00fc", 5)
        assert s.get("/mesh/spaces/hits/keys/a%2Fb%20%C3%BC")["value"] == 5
        m[1].put("hits", "other", 2)
        m.everywhere("hits", "other", 2)
        assert s.get("/mesh/spaces/hits/keys")["keys"] == ["a/b \u00fc", "other"]
        assert s.get("/mesh/spaces/hits/keys?after=b&limit=1")["keys"] == ["other"]
        assert s.ask("DELETE", "/mesh/spaces/hits/keys/other").status == 200
        m.everywhere("hits", "other", None)
        for path, status in (("keys/other", 404), ("keys?n=1", 400), ("keys/%ff", 400)):
            r = s.ask("GET", "/mesh/spaces/hits/" + path)
            assert r.status == status and error(r), (path, r.status, r.body)
        r = s.ask("PUT", "/mesh/spaces/hits/keys/k", {"value": "no number"})
        assert r.status == 400 and error(r), r.body
        assert s.ask("PUT", "/mesh/spaces/none/keys/k", {"value": 1}).status == 404
        r = s.ask("GET", "/mesh/metrics")
        assert b'selvage_mesh_members{state="alive"} 2' in r.body and r.headers["Content-Type"].startswith("text/plain")
        big = "x" * 300000
        assert s.ask("PUT", "/mesh/spaces/config/keys/big", {"value": big}).status == 200
        assert s.get("/mesh/spaces/config/keys/big")["value"] == big
        head = s.ask("HEAD", "/mesh/spaces/config/keys/big")
        assert head.status == 200 and not head.body and int(head.headers["Content-Length"]) > 300000
        for path in PATHS:
            r = s.ask("GET", path)
            assert r.headers["Cache-Control"] == "no-store" and r.headers["X-Content-Type-Options"] == "nosniff", path
        assert s.get("/health")["mesh"] is True
        assert s.metrics()['selvage_mesh_requests_total{status="200"}'] >= 12


def sessions_go_on_at_another_server():
    with Mesh(2) as m, serve(m[0]) as a, serve(m[1]) as b:
        m.whole()
        path, token = "/mesh/spaces/hits/keys/k?timeout_ms=10000", None
        for k in range(20):  # written here, and seen there
            r = a.ask("PUT", path, {"value": 1}, headers={"Selvage-Token": token} if token else {})
            assert r.status == 200, r.body
            r = b.ask("GET", path, headers={"Selvage-Token": r.headers["Selvage-Token"]})
            assert r.status == 200 and r.json()["value"] == k + 1, (k, r.body)
            token = r.headers["Selvage-Token"]
        m[0].kill()
        r = b.ask("PUT", path, {"value": 1}, headers={"Selvage-Token": token})
        m[1].kill()
        m[0].start()  # it has not heard of that one
        late = a.ask("GET", path.replace("10000", "300"), headers={"Selvage-Token": r.headers["Selvage-Token"]})
        assert late.status == 504 and "has not seen" in error(late), (late.status, late.body)
        assert a.ask("GET", path, headers={"Selvage-Token": "none"}).status == 400
        assert a.ask("GET", path, headers={"Selvage-Token": "x" * 16000}).status in (400, 431)
        m[1].start()


def a_watch_sees_what_is_written_elsewhere():
    with Mesh(3) as m, serve(m[0]) as s:
        m.whole()
        with Watch(s, "config") as a, Watch(s, "config") as b, Watch(s, "hits") as other:
            until(lambda: s.metrics()["selvage_mesh_watches"] == 3, what="three watches")
            m[2].put("config", "k", "v1")
            for w in (a, b):
                w.until({"key": "k", "value": "v1"})
            assert s.ask("PUT", "/mesh/spaces/config/keys/k", {"value": "v2"}).status == 200
            for w in (a, b):
                w.until({"key": "k", "value": "v2"})
            m[1].run("mesh", "del", "config", "k")
            a.until({"key": "k", "value": None})
            assert not other.events, other.events
        until(lambda: s.metrics()["selvage_mesh_watches"] == 0, what="watches to end")
        watch = Watch(s, "config")
        s.stop()  # does not wait for who watches
        watch.thread.join(10)
        assert watch.ended and "stopping" in watch.events[-1]["error"]["message"], watch.events


def a_node_that_is_gone_is_told_of_and_comes_back():
    with Mesh(2) as m, serve(m[0]) as s:
        m.whole()
        with Watch(s, "hits") as w:
            m[0].kill()
            until(lambda: w.ended, what="the watch to end")
            assert w.events[-1]["error"]["message"] == "the mesh's node has ended", w.events
        for path in PATHS[:2]:
            r = s.ask("GET", path)
            assert r.status == 503 and "cannot be reached" in error(r) and "\n" not in error(r), r.body
            assert r.headers["Retry-After"] == "1"
        s.alive()
        m[0].start()
        until(lambda: s.ask("GET", "/mesh/status").status == 200, what="the node again")


def a_node_that_is_not_there_yet_hinders_nothing():
    with tempfile.TemporaryDirectory() as folder, serve(os.path.join(folder, "later")) as s:
        assert s.ask("GET", "/mesh/status").status == 503
        s.alive()
    assert "bytes" in HOME.run("serve", "--mesh", "/" + "x" * 200, "--alias", MODEL, status=2)


# --- who may --------------------------------------------------------------------------------------

def without_a_node_there_is_nothing():
    with HOME.serve(models=[MODEL]) as s:
        for path in PATHS + ["/mesh", "/mesh/", "/mesh/spaces/hits/watch"]:
            for method in ("GET", "PUT", "POST", "DELETE"):
                assert s.ask(method, path).status == 404, (method, path)
        assert s.get("/health")["mesh"] is False


def with_keys_an_admin_only():
    user, admin = HOME.add_key("alice"), HOME.add_key("root", "--admin")
    with Mesh(1) as m, serve(m[0], "--keys", HOME.path("keys.json")) as s:
        for path in PATHS + ["/mesh/spaces/hits/watch", "/mesh/nothing"]:
            for method in ("GET",) if path != PATHS[-1] else ("GET", "PUT", "DELETE"):
                for key, status, code in ((None, 401, "no_api_key"), ("slv_" + "A" * 43, 401, "invalid_api_key"),
                                          (user, 403, "not_admin")):
                    r = s.ask(method, path, {"value": 1}, bearer(key))
                    assert r.status == status and r.error()["code"] == code, (method, path, r.status, r.body)
        assert m[0].get("hits", "k") is None
        assert s.ask("PUT", PATHS[-1], {"value": 1}, bearer(admin)).status == 200
        assert s.get(PATHS[-1], admin)["value"] == 1
        with Watch(s, "hits", admin) as w:
            m[0].put("hits", "k", 1)
            w.until({"key": "k", "value": 2})
        log = s.stop()
    assert re.search(r"PUT /mesh/spaces/hits/keys/k 200 [0-9a-f]{16}\n", log), log[-2000:]
    assert admin not in log and user not in log


def pages_of_other_sites_are_refused():
    with Mesh(1) as m, serve(m[0]) as s:
        for headers, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403),
                                ({"Origin": s.url}, 200)):
            assert s.ask("GET", "/mesh/status", headers=headers).status == status, headers
            assert s.ask("PUT", PATHS[-1], {"value": 1}, headers).status == status, headers
        assert m[0].get("hits", "k") == 1


def nothing_else_is_passed_on():
    with Fake(lambda s: s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as fake, serve(fake.path) as s:
        for path in ("/mesh", "/mesh/", "/mesh/v1/status", "/mesh/statusx", "/mesh/status/", "/mesh/spaces/",
                     "/mesh/spaces/a", "/mesh/spaces/a/", "/mesh/spaces//keys", "/mesh/spaces/a/keys/",
                     "/mesh/spaces/a/keysx", "/mesh/spaces/a/watch/x", "/mesh/spaces/a/b/watch", "/meshx/status",
                     "/mesh/../metrics", "//mesh/status"):
            assert s.ask("GET", path).status == 404, path
        for method, path in (("PUT", "/mesh/status"), ("DELETE", "/mesh/spaces"), ("POST", PATHS[-1]),
                             ("HEAD", "/mesh/spaces/a/watch"), ("PUT", "/mesh/spaces/a/keys")):
            r = s.ask(method, path, {})
            assert r.status == 405 and r.headers["Allow"], (method, path, r.status)
        assert not fake.asked, fake.asked
        assert s.ask("PUT", PATHS[-1] + "?x=%0d%0aa", {"value": 1}, {"X-Api-Key": "secret", "Cookie": "secret"}).status == 200
        assert fake.asked[0].startswith(b"PUT /v1/spaces/hits/keys/k?x=%0d%0aa HTTP/1.0\r\nHost: localhost\r\n"), fake.asked
        assert b"secret" not in fake.asked[0]


def the_server_itself_may_connect_nowhere():
    """What connects is another process, which has no files and may not start programs."""
    with Mesh(1) as m, serve(m[0]) as s:
        assert s.ask("GET", "/mesh/status").status == 200
        children = pathlib.Path("/proc/%d/task/%d/children" % (s.process.pid, s.process.pid)).read_text().split()
        assert len(children) == 2, children  # and who reads models
        for pid in [str(s.process.pid), *children]:
            text = pathlib.Path("/proc", pid, "status").read_text()
            filters = re.search(r"Seccomp_filters:\s+(\d+)", text)
            if pid == children[0]:
                assert re.search(r"Seccomp:\s+2\n", text) and re.search(r"NoNewPrivs:\s+1\n", text), text
                until(lambda pid=pid: len(os.listdir("/proc/%s/fd" % pid)) == 4,  # the standard ones, and the server
                      what="nothing to be open that it handed over")
            assert filters, text
        log = s.stop()
        assert "sandbox" not in log, log
        for pid in children:
            assert not os.path.exists("/proc/" + pid), pid


# --- nodes that lie -------------------------------------------------------------------------------

def replies_that_are_none_are_one_line():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: "
    for text in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{}", head + b"5\r\n\r\n{}", head + b"x\r\n\r\n{}",
                 head + b"-1\r\n\r\n", head + b"2\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
                 head + b"2\r\nTransfer-Encoding: chunked\r\n\r\n{}", b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}\r\n\r\n",
                 b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 3000, b"HTTP/1.1 200 OK\r\n" + b"x" * 100000,
                 b"HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n", b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n"):
        with Fake(lambda s, text=text: s.sendall(text)) as fake, serve(fake.path) as s:
            streams = text.endswith(b"OK\r\n\r\n{}")  # no length: so it would, if it could be watched
            for path in ("/mesh/status",) if streams else ("/mesh/status", "/mesh/spaces/a/watch"):
                r = s.ask("GET", path)
                assert r.status == 503 and error(r).startswith("the mesh's node "), (text[:60], path, r.status, r.body)
            r = s.ask("PUT", PATHS[-1], {"value": 1})  # it may be done: nobody is to do it again for a 503
            assert r.status == 504 and "or not" in error(r) and "Retry-After" not in r.headers, (text[:60], r.body)
            s.alive()


def a_reply_is_no_longer_than_said():
    most = 16 << 20
    for n, status in ((most, 200), (most + 1, 413), (10 ** 14, 413), (10 ** 15, 503)):
        def answer(s, n=n):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n)
            s.sendall(b"1" * min(n, most))
        with Fake(answer) as fake, serve(fake.path) as s:
            r = s.ask("GET", "/mesh/status")
            assert r.status == status, (n, r.status, r.body[:200])
            assert status != 200 or r.body == b"1" * n
            assert s.memory() < 600 * SLOW
            s.alive()


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def events_come_whole_and_not_longer_than_may_be():
    def answer(s):
        s.sendall(STREAM + b": waiting\n\nda")
        s.sendall(b'ta: {"key":"a","value":1}\n')
        s.sendall(b'\ndata: {"key":"b"}\n\n: waiting\n\ndata: {"key":"' + b"c" * 1000000 + b'"}\n\n')
        s.sendall(b'data: {"key":"' + b"d" * 1200000)
        waits(s)
    with Fake(answer) as fake, serve(fake.path) as s:
        with Watch(s, "a") as w:
            until(lambda: w.ended, what="the end")
        assert [e.get("key", "")[:3] for e in w.events] == ["a", "b", "ccc", ""], [str(e)[:50] for e in w.events]
        assert "longer" in w.events[-1]["error"]["message"], w.events[-1]
        assert not w.comments  # the server makes its own
        until(lambda: fake.left == 1, what="the node to be left")
        s.alive()


def a_watcher_that_does_not_read_is_let_go():
    event = b'data: {"key":"%s"}\n\n' % (b"x" * 60000)

    def answer(s):
        s.sendall(STREAM)
        while True:
            s.sendall(event)
    with Fake(answer) as fake, serve(fake.path) as s:
        slow = s.raw()
        slow.sendall(b"GET /mesh/spaces/a/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: fake.left == 1, 60, "the node to be left")
        until(lambda: s.metrics()["selvage_mesh_watches"] == 0, what="no watch")
        assert s.memory() < 600 * SLOW
        s.alive()
        slow.close()


def a_client_that_leaves_ends_its_request():
    with Fake(waits) as fake, serve(fake.path) as s:
        for path in ("/mesh/status", "/mesh/spaces/a/watch"):
            before, left = len(fake.asked), fake.left
            c = s.raw()
            c.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            until(lambda: len(fake.asked) == before + 1, what="the request")
            c.close()
            until(lambda: fake.left == left + 1, what="the node to be left")
        s.alive()


def so_many_at_a_time_and_no_more():
    with Fake(waits) as fake, serve(fake.path) as s:
        for path, most in (("/mesh/status", 32), ("/mesh/spaces/a/watch", 64)):
            before = len(fake.asked)
            held = []
            for _ in range(most):
                c = s.raw()
                c.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
                held.append(c)
            until(lambda: len(fake.asked) == before + most, what="all of them")
            r = s.ask("GET", path)
            assert r.status == 503 and str(most) in error(r), r.body
            left = fake.left
            for c in held:
                c.close()
            until(lambda: fake.left == left + most, what="the node to be left")
        s.alive()


def requests_that_wait_do_not_hinder_others():
    gate = threading.Event()

    def answer(s):
        gate.wait(60)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    with Fake(answer) as fake, serve(fake.path) as s:
        got = []
        threads = [threading.Thread(target=lambda: got.append(s.ask("GET", "/mesh/status").status)) for _ in range(20)]
        for t in threads:
            t.start()
        until(lambda: len(fake.asked) == 20, what="all of them")
        r = s.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 2})
        assert r.status == 200 and not got
        gate.set()
        for t in threads:
            t.join()
        assert got == [200] * 20, got


def a_node_that_is_silent_is_given_up():
    def answer(s):
        if b"watch" in fake.asked[-1]:
            s.sendall(STREAM)
        waits(s)
    with Fake(answer) as fake, serve(fake.path) as s:
        with Watch(s, "a") as w:
            r = s.ask("GET", "/mesh/status")
            assert r.status == 503 and error(r) == "the mesh's node does not answer", r.body
            until(lambda: w.ended, 40, "the watch to end")
            assert w.events == [{"error": {"message": "the mesh's node does not answer"}}], w.events


TESTS = [what_a_node_says_comes_through, sessions_go_on_at_another_server, a_watch_sees_what_is_written_elsewhere,
         a_node_that_is_gone_is_told_of_and_comes_back, a_node_that_is_not_there_yet_hinders_nothing,
         without_a_node_there_is_nothing, with_keys_an_admin_only, pages_of_other_sites_are_refused,
         nothing_else_is_passed_on, the_server_itself_may_connect_nowhere, replies_that_are_none_are_one_line,
         a_reply_is_no_longer_than_said, events_come_whole_and_not_longer_than_may_be,
         a_watcher_that_does_not_read_is_let_go, a_client_that_leaves_ends_its_request, so_many_at_a_time_and_no_more,
         requests_that_wait_do_not_hinder_others] + ([a_node_that_is_silent_is_given_up] if FULL else [])

if __name__ == "__main__":
    sys.exit(tap.run(TESTS))
