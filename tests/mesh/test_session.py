#!/usr/bin/env python3
"""Sessions on real processes: what a user would lose is what he wrote, or has seen, when he asks another node.

usage: test_session.py SELVAGE      prints TAP
"""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import resource
import socket
import sys
import threading
import time

from nodes import SLOW, Mesh, Unix, tap, until

SPACES = ("config:last", "tags:set", "notes:doc:causal", "conf:last:strong", "fund:budget")
DELAY = 0.2  # s, one way


def ask(node, method, path, body=None, token=None, timeout=60):
    """Status, what was said, the token, and how long it took."""
    c = Unix(node.socket, timeout * SLOW)
    start = time.monotonic()
    try:
        c.request(method, path, json.dumps(body).encode() if body is not None else None,
                  {"Selvage-Token": token} if token else {})
        r = c.getresponse()
        return r.status, json.loads(r.read()), r.getheader("Selvage-Token"), time.monotonic() - start
    finally:
        c.close()


def put(node, space, key, value, token=None, **more):
    status, said, got, _ = ask(node, "PUT", node.path(space, key), {"value": value, **more}, token)
    assert status == 200 and got, (status, said, got)
    return got


def raw(token):
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def text(data):
    """A token of these bytes, with their sum."""
    data = data + hashlib.blake2b(data, digest_size=16).digest()[:4]
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def slow():
    m = Mesh(2, SPACES, relays=True)
    for r in m.relays:
        r.delay = DELAY
    return m


def each_answer_says_what_was_seen():
    with Mesh(1, SPACES) as m:
        a = m[0]
        keys = "/v1/spaces/config/keys"
        assert ask(a, "GET", a.path("config", "k"))[0::2] == (404, text(b"\1\0\0")), "nothing was seen"
        one = put(a, "config", "k", "v")
        for method, path in (("GET", a.path("config", "k")), ("GET", keys), ("GET", a.path("config", "none"))):
            assert ask(a, method, path)[2] == one, (method, path)
        status, _, two, _ = ask(a, "DELETE", a.path("config", "k"))
        assert status == 200 and two != one and ask(a, "GET", keys)[2] == two
        assert ask(a, "GET", a.path("tags", "k"))[2] != two, "a token is of its space"
        # What came with the question is in the answer.
        both = put(a, "tags", "k", "v", two)
        assert ask(a, "GET", a.path("tags", "k"), token=both)[2] == both
        assert ask(a, "GET", a.path("config", "k"), token=both)[2] == both and len(raw(both)) > len(raw(two))
        assert ask(a, "GET", a.path("config", "k") + "?token=" + both)[0::2] == (404, both)
        for path in ("/v1/spaces", "/v1/status", "/v1/roster"):
            assert ask(a, "GET", path)[2] is None, path


def what_was_written_is_read_at_another_node():
    with slow() as m:
        m.whole(40)
        a, b = m.nodes
        session = os.path.join(m.folder.name, "session")
        stale = 0
        for i in range(50):
            writer, reader = (a, b) if i % 5 else (b, a)
            writer.run("mesh", "put", "config", "k", "v%d" % i, "--session", session)
            stale += reader.get("config", "k") != "v%d" % i
            assert reader.run("mesh", "get", "config", "k", "--session", session) == "v%d\n" % i
        assert stale, "the path is not slow: nothing was tested"
        print("# without a session %d of 50 reads were old" % stale)


def what_was_read_is_not_taken_back():
    with slow() as m:
        m.whole(40)
        a, b = m.nodes
        for i in range(5):
            put(a, "config", "k", "v%d" % i)
            status, said, token, _ = ask(a, "GET", a.path("config", "k"))  # of another's write
            assert said["value"] == "v%d" % i
            assert ask(b, "GET", b.path("config", "k"), token=token)[1]["value"] == "v%d" % i
            put(a, "notes", "d", {"n": i})
            token = ask(a, "GET", a.path("notes", "d"), token=token)[2]
            assert ask(b, "GET", b.path("notes", "d"), token=token)[1]["value"] == {"n": i}
            ask(a, "DELETE", a.path("config", "k"))
            status, _, token, _ = ask(a, "GET", a.path("config", "k"), token=token)
            assert status == 404 and ask(b, "GET", b.path("config", "k"), token=token)[0] == 404
            put(a, "tags", "t%d" % i, "v")
            token = ask(a, "GET", "/v1/spaces/tags/keys", token=token)[2]
            assert len(ask(b, "GET", "/v1/spaces/tags/keys", token=token)[1]["keys"]) == i + 1
            # A write waits, too, and is done at once then.
            took = ask(b, "PUT", b.path("config", "w"), {"value": "x"}, put(a, "config", "k", "w"))[3]
            assert DELAY / 2 < took < DELAY + 1.5 * SLOW, took


def a_strong_space_is_read_where_it_was_applied():
    with slow() as m:
        m.whole(40)
        a, b = m.nodes
        a.run("mesh", "found")

        def learns():
            group = b.status()["strong"]
            return group and any(x["id"] == b.id and x["role"] == "learner" for x in group["members"])
        until(learns, 40, "the other to learn")
        session = os.path.join(m.folder.name, "session")
        stale = 0
        for i in range(20):
            a.run("mesh", "put", "conf", "k", "%d" % i, "--session", session)
            stale += ask(b, "GET", b.path("conf", "k") + "?read=local")[1].get("value") != i
            assert b.run("mesh", "get", "conf", "k", "--read", "local", "--session", session) == "%d\n" % i
        assert stale, "the path is not slow: nothing was tested"
        token = pathlib.Path(session).read_text().strip()
        assert ask(b, "GET", "/v1/spaces/conf/keys", token=token)[1]["keys"] == ["k"]
        # Who asks the group waits for nothing else; what he is told is in the session.
        status, said, later, _ = ask(b, "GET", b.path("conf", "k"), token=token)
        assert status == 200 and said["value"] == 19 and later, said
        status, said, _, _ = ask(b, "PUT", b.path("conf", "k"), {"op": "cas", "value": 1, "version": 1}, token)
        assert status == 409, said
        # Another group's index says nothing of this one's.
        other = text(b"\1\0\1" + b"12345678" + b"\1")
        status, said, _, took = ask(b, "GET", b.path("conf", "k") + "?read=local&timeout_ms=300", token=other)
        assert status == 504 and took >= 0.3, (status, said)
        status, _, healed, _ = ask(b, "GET", b.path("conf", "k"), token=other)
        assert status == 200 and ask(b, "GET", b.path("conf", "k") + "?read=local", token=healed)[0] == 200


def a_session_of_another_mesh_is_taken_for_one():
    with Mesh(1, SPACES) as m, Mesh(1, SPACES) as other:
        session = os.path.join(m.folder.name, "session")
        other[0].run("mesh", "put", "config", "k", "v", "--session", session)
        said = m[0].run("mesh", "get", "config", "k", "--session", session, "--timeout", "0.3", status=1)
        assert "nor knows who wrote it: is the session of this mesh?" in said, said


def what_cannot_have_been_seen_is_said_in_time():
    with Mesh(2, SPACES, relays=True) as m:
        m.whole(40)
        a, b = m.nodes
        put(a, "config", "k", "old")
        m.everywhere("config", "k", "old")
        m.split((0,), (1,))
        session = os.path.join(m.folder.name, "session")
        a.run("mesh", "put", "config", "k", "new", "--session", session)
        token = pathlib.Path(session).read_text().strip()
        start = time.monotonic()
        said = b.run("mesh", "get", "config", "k", "--session", session, "--timeout", "0.7", status=1)
        took = time.monotonic() - start
        assert said.endswith("has not seen what the session has\n") and 0.7 <= took < 5 * SLOW, (said, took)
        assert pathlib.Path(session).read_text().strip() == token
        status, said, none, took = ask(b, "GET", b.path("config", "k") + "?timeout_ms=400", token=token)
        assert status == 504 and none is None and 0.4 <= took < 3 * SLOW, (status, said, took)
        # Many wait, and nobody else for them; who leaves meanwhile writes nothing.
        answers = []
        put_token = put(a, "tags", "first", "x")

        def wait(i):
            if i % 2:
                answers.append(ask(b, "GET", b.path("config", "k"), token=token))
            else:
                answers.append(ask(b, "PUT", b.path("tags", "t%d" % i), {"value": "x"}, put_token))
        many = [threading.Thread(target=wait, args=(i,)) for i in range(60)]
        for t in many:
            t.start()
        leaver = socket.socket(socket.AF_UNIX)
        leaver.connect(b.socket)
        body = b'{"value":"left"}'
        leaver.sendall(b"PUT /v1/spaces/tags/keys/left HTTP/1.1\r\nHost: x\r\nSelvage-Token: %s\r\nContent-Length: %d\r\n\r\n%s"
                       % (put_token.encode(), len(body), body))
        assert ask(b, "GET", b.path("config", "k"))[3] < 2 * SLOW and ask(b, "GET", "/v1/status")[3] < 2 * SLOW
        leaver.close()
        assert ask(b, "GET", b.path("tags", "t0"))[0] == 404 and not answers
        m.split()
        for t in many:
            t.join()
        assert {x[0] for x in answers} == {200}, answers
        assert b.get("config", "k") == "new" and b.get("tags", "t0") == ["x"] and b.get("tags", "left") is None


def a_session_goes_on_after_a_node_has_begun_again():
    with Mesh(2, SPACES) as m:
        m.whole()
        token = put(m[0], "config", "k", "v")
        m.everywhere("config", "k", "v")
        m[1].kill()
        m[1].start()
        assert ask(m[1], "GET", m[1].path("config", "k"), token=token)[1]["value"] == "v"
        m[0].stop()
        assert ask(m[1], "GET", m[1].path("config", "k"), token=token)[1]["value"] == "v"


def who_waits_at_a_node_that_ends_is_told():
    with Mesh(1, SPACES) as m:
        a = m[0]
        unseen = text(raw(put(a, "config", "k", "v"))[:10] + b"\1" + b"abcdefgh" + b"\1\0\4" + b"\0")
        said = []

        def wait():
            try:
                said.append(ask(a, "GET", a.path("config", "k") + "?timeout_ms=60000", token=unseen)[0])
            except (OSError, http.client.HTTPException) as e:
                said.append(type(e))

        def waits():
            t = threading.Thread(target=wait)
            t.start()
            assert ask(a, "GET", a.path("config", "k") + "?timeout_ms=200", token=unseen)[0] == 504 and not said
            return t
        # Its store fails, and it begins again.
        t = waits()
        before = resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        assert ask(a, "PUT", a.path("config", "k"), {"value": "w"})[0] == 503
        resource.prlimit(a.process.pid, resource.RLIMIT_FSIZE, before)
        t.join()
        assert said == [503], said
        until(lambda: ask(a, "PUT", a.path("config", "k"), {"value": "x"})[0] == 200, 20, "the store to be opened again")
        said.clear()
        t = waits()
        start = time.monotonic()
        a.stop()
        t.join()
        assert said and said != [200] and time.monotonic() - start < 15 * SLOW, said


def what_is_no_token_is_refused():
    with Mesh(1, SPACES) as m:
        a = m[0]
        token = put(a, "config", "k", "v")
        data = raw(token)[:-4]
        wrong = [token[:-1], token + "A", token[:9] + ("A" if token[9] != "A" else "B") + token[10:], "x", "=", "A" * 9000,
                 text(b"\2" + data[1:]), text(data + b"\0"), text(data[:-2]), text(b"\1\1" + bytes(8) + b"\0\0"), text(b"")]
        for t in wrong:
            status, said, got, _ = ask(a, "GET", a.path("config", "k"), token=t)
            assert status == 400 and "not a token" in said["error"]["message"] and got is None, (t, status, said)
        assert ask(a, "PUT", a.path("config", "k"), {"value": "x"}, "x")[0] == 400 and a.get("config", "k") == "v"
        assert ask(a, "GET", a.path("config", "k") + "?token=")[0] == 400
        # A space that is not here, or a writer whom nobody knows.
        elsewhere = text(b"\1\1" + b"12345678" + b"\1" + b"abcdefgh" + b"\1\0\4" + b"\0")
        status, said, got, _ = ask(a, "GET", a.path("config", "k"), token=elsewhere)
        assert status == 200 and b"12345678" in raw(got), said
        stranger = text(data[:10] + b"\1" + b"abcdefgh" + b"\1\0\4" + b"\0")
        assert ask(a, "GET", a.path("config", "k") + "?timeout_ms=100", token=stranger)[0] == 504
        session = os.path.join(m.folder.name, "session")
        pathlib.Path(session).write_text("hello\n")
        assert "not a token" in a.run("mesh", "get", "config", "k", "--session", session, status=3)
        assert pathlib.Path(session).read_text() == "hello\n"
        # More writers than a token names.
        crowd = b"".join(i.to_bytes(8, "big") + b"\1\0\0" for i in range(1, 558))
        full = text(b"\1\1" + b"12345678" + bytes([557 & 127 | 128, 557 >> 7]) + crowd + b"\0")  # (a number of two bytes)
        assert len(full) <= 8192, len(full)
        assert ask(a, "GET", a.path("tags", "none"), token=full)[0] == 404
        status, said, _, _ = ask(a, "PUT", a.path("config", "k"), {"value": "y"}, full)
        assert status == 413 and "no token" in said["error"]["message"] and a.get("config", "k") == "v", said


if __name__ == "__main__":
    sys.exit(tap.run([each_answer_says_what_was_seen, what_was_written_is_read_at_another_node, what_was_read_is_not_taken_back,
                      a_strong_space_is_read_where_it_was_applied, a_session_of_another_mesh_is_taken_for_one,
                      what_cannot_have_been_seen_is_said_in_time, a_session_goes_on_after_a_node_has_begun_again,
                      who_waits_at_a_node_that_ends_is_told, what_is_no_token_is_refused]))
