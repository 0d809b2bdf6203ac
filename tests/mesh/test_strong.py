#!/usr/bin/env python3
"""Strong spaces on real processes: what a user would lose if the group's nodes disagreed, hung, or forgot.

usage: test_strong.py SELVAGE [--full]      prints TAP
"""
import glob
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from nodes import FULL, PROGRAM, SLOW, Mesh, tap, until

SPACES = ("conf:last:strong", "hits:counter")


def group(node):
    return node.status()["strong"]


def roles(node):
    g = group(node)
    return {m["id"]: m["role"] for m in g["members"]} if g else {}


def leader(m):
    """Who leads, as all say that are up."""
    up = [n for n in m.nodes if n.process]
    said = {group(n)["leader"] for n in up}
    found = [n for n in up if n.id in said]
    return found[0] if len(said) == 1 and found else None


class Group(Mesh):
    def __init__(self, n, relays=False, args=()):
        super().__init__(n, SPACES, relays, args)

    def founded(self, voters, seconds=30):
        self.whole(30)
        self[0].run("mesh", "found")
        return self.votes(voters, seconds)

    def votes(self, voters, seconds=30):
        def they_do():
            return all(list(roles(n).values()).count("voter") == voters for n in self.nodes if n.process) and leader(self)
        return until(they_do, seconds, "%d to vote" % voters)


def write(node, key, value, ms=10000, **more):
    return node.ask("PUT", node.path("conf", key) + "?timeout_ms=%d" % ms, {"value": value, **more})


def read(node, key, how="barrier", ms=10000):
    return node.ask("GET", node.path("conf", key) + "?read=%s&timeout_ms=%d" % (how, ms))


def one_copy():
    with Group(3) as m:
        print("# voters %.1f s after the founding" % m.founded(3))
        assert write(m[0], "a", {"x": [1, "two"]})[0] == 200
        for n in m.nodes:
            for how in ("barrier", "leased"):
                status, said = read(n, "a", how)
                assert status == 200 and said["value"] == {"x": [1, "two"]}, said
        version = read(m[1], "a")[1]["version"]
        status, said = write(m[1], "a", 2, op="cas", version=version)
        assert status == 200 and said["version"] > version, said
        status, again = write(m[2], "a", 3, op="cas", version=version)
        assert status == 409 and again["error"]["version"] == said["version"], again
        assert write(m[2], "a", 3, op="swap", expect=2)[0] == 200
        assert write(m[2], "a", 4, op="swap", expect=2)[0] == 409
        assert write(m[0], "new", 1, op="cas", version=0)[0] == 200
        assert [m[i % 3].ask("PUT", m[i % 3].path("conf", "e"), {"op": "epoch"})[1]["epoch"] for i in range(5)] == [1, 2, 3, 4, 5]
        assert m[1].ask("DELETE", m[1].path("conf", "a"))[0] == 200
        assert read(m[0], "a")[0] == 404
        for n in m.nodes:
            until(lambda: n.ask("GET", "/v1/spaces/conf/keys")[1]["keys"] == ["e", "new"], 10, "all keys")  # noqa: B023
            until(lambda: read(n, "e", "local")[1]["value"] == 5, 10, "what is local to be new")  # noqa: B023


def commands():
    with Group(2) as m:
        m.whole()
        assert "in a group already" in m[0].run("mesh", "found") + m[0].run("mesh", "found", status=1)
        until(lambda: roles(m[1]).get(m[1].id) == "learner", 20, "the other to learn")
        a, b = m.nodes
        a.run("mesh", "put", "conf", "limit", "42")
        assert b.run("mesh", "get", "conf", "limit") == "42\n"
        a.run("mesh", "put", "conf", "name", "pump 3")
        said = json.loads(b.run("mesh", "get", "conf", "name", "--read", "leased", "--json"))
        assert said["value"] == "pump 3" and said["version"] > 0, said
        b.run("mesh", "put", "conf", "limit", "43", "--op", "swap", "--expect", "42")
        assert "nothing was done" in b.run("mesh", "put", "conf", "limit", "44", "--op", "swap", "--expect", "42", status=1)
        assert b.run("mesh", "put", "conf", "boots", "--op", "epoch") == "1\n"
        lease = int(b.run("mesh", "put", "conf", "l", "--op", "grant", "--ttl", "0.3"))
        b.run("mesh", "put", "conf", "alive", "1", "--lease", lease)
        until(lambda: a.ask("GET", a.path("conf", "alive"))[0] == 404, 20, "the lease to end")
        lease = b.run("mesh", "put", "conf", "l", "--op", "grant", "--ttl", "600").strip()
        b.run("mesh", "put", "conf", "held", "1", "--lease", lease)
        assert a.run("mesh", "put", "conf", "l", "--op", "keepalive", "--lease", lease).strip() == lease
        a.run("mesh", "put", "conf", "l", "--op", "revoke", "--lease", lease)
        assert b.ask("GET", b.path("conf", "held"))[0] == 404
        text = a.run("mesh", "status")
        assert "leader " + a.id in text and "voter" in text and "conf: last, strong" in text, text
        for args, want in ((("get", "conf", "none"), "no such key"), (("put", "conf", "k", "1", "--op", "cas"), "wants --version"),
                           (("put", "conf", "k", "1", "--op", "count"), "no op"),
                           (("get", "conf", "limit", "--read", "never"), "none of barrier")):
            assert want in a.run("mesh", *args, status=1 if args[0] == "get" and args[2] == "none" else 2), args


def refuses(node, *args, want):
    assert want in node.run("mesh", "found", *args, status=1), args


def a_group_without_its_majority_is_made_of_a_copy():
    with Group(4) as m:
        m.founded(3)
        voters = [n for n in m.nodes if roles(m[0])[n.id] == "voter"]
        copy, lost = voters[0], voters[1:]
        rest = [n for n in m.nodes if n not in lost]
        refuses(copy, "--from-copy", want="has a leader")
        for i in range(30):
            assert write(m[i % 4], "k%d" % i, i)[0] == 200
        token = int(m[0].run("mesh", "lock", "conf", "lock", "--ttl", "1").strip())
        for n in m.nodes:
            until(lambda: read(n, "k29", "local")[0] == 200, 20, "what is local to be new")  # noqa: B023
        for n in lost:
            n.kill()
        until(lambda: group(copy)["leader"] is None, 20, "the leader to be missed")
        assert write(copy, "after", 1, 500)[0] == 503
        old = group(copy)["group"]
        refuses(copy, want="in a group already")
        assert old not in copy.run("mesh", "found", "--from-copy")
        assert until(lambda: write(copy, "after", 1, 5000)[0] == 200, 20, "the group to decide") < 15 * SLOW
        # whoever is left, and hears no leader of the old one, goes over
        until(lambda: all(group(n)["group"] != old and group(n)["leader"] == copy.id for n in rest), 60, "all to go over")
        until(lambda: all(read(n, "after", "local")[0] == 200 for n in rest), 20, "the other to have it")
        for n in rest:
            for i in range(30):
                assert read(n, "k%d" % i)[1]["value"] == i
        assert int(copy.run("mesh", "lock", "conf", "lock", "--ttl", "1").strip()) > token
        copy.kill()
        copy.start()
        until(lambda: read(copy, "after")[0] == 200, 20, "it to be there after a restart")
        # who was lost, and comes back alone, finds no majority and goes over as well
        lost[0].start()
        until(lambda: group(lost[0])["group"] == group(copy)["group"], 60, "who comes back to go over")
        until(lambda: read(lost[0], "after", "local")[0] == 200, 20, "it to learn")


def two_groups_are_told_and_one_is_given_up():
    with Group(3, relays=True) as m:
        m.whole(30)
        m.split((0,), (1, 2))
        until(lambda: m[0].status()["local_only"], 20, "being alone to be noticed")
        for n, value in ((m[0], "of the first"), (m[1], "of the second")):
            n.run("mesh", "found")
            until(lambda: group(n)["leader"] == n.id, 10, "it to lead")  # noqa: B023
            assert write(n, "k", value)[0] == 200
        refuses(m[0], "--give-up", want="no other group")
        until(lambda: (group(m[2]) or {}).get("leader") == m[1].id, 20, "the third to be in the second")
        m.split()
        until(lambda: group(m[0]).get("rival") == group(m[1])["leader"] and group(m[1]).get("rival") == m[0].id, 20, "both to hear of it")
        assert "two were founded" in m[0].run("mesh", "status") and "Give one up" in m[0].stderr()
        assert read(m[0], "k")[1]["value"] == "of the first" and read(m[1], "k")[1]["value"] == "of the second"
        m[0].run("mesh", "found", "--give-up")
        m.votes(3, 60)
        until(lambda: not any(group(n).get("rival") for n in m.nodes), 30, "there to be one")
        for n in m.nodes:
            assert read(n, "k")[1]["value"] == "of the second"
        assert write(m[0], "k", "of all")[0] == 200
        m[0].kill()  # that is kept
        m[0].start()
        m.votes(3, 60)
        assert read(m[0], "k")[1]["value"] == "of all"


def a_lone_node_that_lost_its_disk_founds_anew():
    with Group(2) as m:
        m[0].run("mesh", "found")
        until(lambda: write(m[0], "k", 1)[0] == 200, 20, "the group to decide")
        refuses(m[0], "--anew", want="in a group already")
        until(lambda: roles(m[1]).get(m[1].id) == "learner", 20, "the other to learn")
        m[0].kill()
        for path in glob.glob(os.path.join(m[0].home, "mesh", "mesh.db*")):
            os.unlink(path)
        m[0].start()
        m.whole()
        assert write(m[0], "k", 2, 500)[0] in (503, 504)  # it asks, and hears of a group whose only voter it was
        m[0].run("mesh", "found", "--anew")
        until(lambda: write(m[0], "k", 2, 5000)[0] == 200, 20, "the new group to decide")
        assert read(m[0], "k")[1]["value"] == 2
        until(lambda: group(m[1])["group"] == group(m[0])["group"], 60, "the other to go over")
        until(lambda: read(m[1], "k", "local")[1].get("value") == 2, 20, "it to learn")


def without_a_group():
    with Group(1) as m:
        status, said = write(m[0], "a", 1, ms=300)
        assert status == 503 and "was not done" in said["error"]["message"], (status, said)
        assert read(m[0], "a", ms=300)[0] == 503
        assert m[0].status()["strong"] is None
        for body, want, why in (({"value": "x" * (128 << 10)}, 413, '"value": of a strong space it has at most 131072 bytes'),
                                ({"op": "swap", "value": 1, "expect": "x" * (128 << 10)}, 413, '"expect"'),
                                ({"op": "keepalive"}, 400, 'op "keepalive" wants "lease"'),
                                ({"op": "cas", "value": 1}, 400, 'op "cas" wants "version"'),
                                ({"op": "grant", "ttl_ms": 5, "token": 7}, 400, 'op "grant" has no "token"'),
                                ({"op": "lock", "ttl_ms": 0}, 400, '"ttl_ms" is not known, or not so'),
                                ({"value": 1, "more": 1}, 400, '"more"'), ({"op": 1}, 400, '"op"'), ([], 400, "wants")):
            status, said = m[0].ask("PUT", m[0].path("conf", "k"), body)
            assert status == want and why in said["error"]["message"], (body if want == 400 else want, status, said)


def locks_exclude():
    with Group(3) as m, tempfile.TemporaryDirectory() as folder:
        m.founded(3)
        count = os.path.join(folder, "count")
        tokens = os.path.join(folder, "tokens")
        with open(count, "w") as f:
            f.write("0")
        script = ('v=$(cat "%s"); echo $SELVAGE_TOKEN >>"%s"; sleep 0.01; echo $((v+1)) >"%s"' % (count, tokens, count))
        turns = 8 if FULL else 4

        def worker(n):
            for _ in range(turns):
                n.run("mesh", "lock", "conf", "the-lock", "--wait", "60", "--holder", n.name, "--", "sh", "-c", script)
        threads = [threading.Thread(target=worker, args=(n,)) for n in m.nodes]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with open(count) as f:
            assert f.read().strip() == str(3 * turns)
        with open(tokens) as f:
            seen = [int(x) for x in f.read().split()]
        assert seen == sorted(set(seen)) and len(seen) == 3 * turns, seen
        token = m[0].run("mesh", "lock", "conf", "l2", "--ttl", "60").strip()
        assert "the lock is held" in m[1].run("mesh", "lock", "conf", "l2", status=1)
        m[2].run("mesh", "put", "conf", "l2", "--op", "unlock", "--token", token)
        assert int(m[1].run("mesh", "lock", "conf", "l2", "--ttl", "0.2")) > int(token)
        m[0].run("mesh", "lock", "conf", "l2", "--wait", "20", "--", "true")  # after its time
        assert m[0].run("mesh", "lock", "conf", "l2", "--", "sh", "-c", "exit 7", status=7) == ""


def a_lock_that_is_lost_ends_its_command():
    with Group(3) as m:
        m.founded(3)
        p = subprocess.Popen([PROGRAM, "mesh", "lock", "conf", "l", "--ttl", "1", "--", "sh", "-c", "echo held; exec sleep 600"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=m[0].env())
        assert p.stdout.readline() == "held\n"
        m[1].kill()
        m[2].kill()
        out, err = p.communicate(timeout=60 * SLOW)
        assert p.returncode == 1 and "the lock was lost" in err, (p.returncode, out, err)
        m[1].start()
        m[2].start()


def what_was_acknowledged_survives_leaders_that_die():
    with Group(3) as m:
        m.founded(3)
        acked, stop = [], threading.Event()

        def writer(i):
            k = 0
            while not stop.is_set():
                k += 1
                try:
                    if write(m[i], "w%d-%05d" % (i, k), k, 20000)[0] == 200:
                        acked.append("w%d-%05d" % (i, k))
                except (OSError, http.client.HTTPException, json.JSONDecodeError):
                    time.sleep(0.02)
        threads = [threading.Thread(target=writer, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        for _ in range(12 if FULL else 4):
            before = len(acked)
            until(lambda: len(acked) > before + 100, 30, "writes")  # noqa: B023
            until(lambda: leader(m), 20, "a leader")
            dead = leader(m)
            dead.kill()
            since, after = time.monotonic(), len(acked)
            until(lambda: len(acked) > after + 3, 20, "others to go on")  # noqa: B023
            print("# went on %.2f s after its leader had died" % (time.monotonic() - since))
            dead.start()
        stop.set()
        for t in threads:
            t.join()
        status, _ = read(m[0], "w0-00001")
        assert status in (200, 404)
        for n in m.nodes:
            def has_all():
                keys, after = set(), ""
                while True:
                    page = n.ask("GET", "/v1/spaces/conf/keys?after=%s" % after)[1]["keys"]  # noqa: B023
                    if not page:
                        break
                    keys |= set(page)
                    after = page[-1]
                return not set(acked) - keys
            until(has_all, 20, "%d acknowledged writes at %s" % (len(acked), n.name))


def a_minority_neither_writes_nor_reads():
    with Group(5, relays=True) as m:
        m.founded(5, 60)
        assert write(m[0], "k", "before")[0] == 200
        lead = leader(m)
        few = [m.nodes.index(lead), (m.nodes.index(lead) + 1) % 5]
        many = [i for i in range(5) if i not in few]
        m.split(few, many)
        since = time.monotonic()
        status, said = write(m[many[0]], "k", "after", 20000)
        assert status == 200, said
        print("# the majority went on %.2f s after its leader was cut off" % (time.monotonic() - since))
        for i in few:
            assert read(m[i], "k", "barrier", 700)[0] in (503, 504)
            status, said = read(m[i], "k", "leased", 700)
            assert status in (503, 504), (status, said)
            assert read(m[i], "k", "local")[1]["value"] == "before"
            assert write(m[i], "k", "lost", 700)[0] in (503, 504)
        m.split()
        for i in range(5):
            until(lambda: read(m[i], "k")[1].get("value") == "after", 30, "all to read it")  # noqa: B023


def a_node_whose_disk_is_gone_is_let_in_again():
    with Group(3) as m:
        m.founded(3)
        for i in range(50):
            assert write(m[0], "k%d" % i, i)[0] == 200
        victim = next(n for n in m.nodes if n is not leader(m))
        victim.kill()
        for path in glob.glob(os.path.join(victim.home, "mesh", "mesh.db*")):
            os.unlink(path)
        victim.start()
        until(lambda: roles(victim).get(victim.id) == "voter", 40, "it to vote again")
        until(lambda: read(victim, "k49", "local")[0] == 200, 20, "it to have all")
        other = next(n for n in m.nodes if n not in (victim, leader(m)))
        other.kill()  # its vote counts
        assert write(victim, "more", 1, 20000)[0] == 200
        other.start()


def watchers_and_restarts():
    with Group(3) as m:
        m.founded(3)
        p = subprocess.Popen([PROGRAM, "mesh", "watch", "conf", "--json"], stdout=subprocess.PIPE, text=True, env=m[1].env())
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(json.loads(x) for x in p.stdout))
        reader.start()
        k = 0

        def is_told():  # the watch may begin after some
            nonlocal k
            k += 1
            return write(m[0], "k", k)[0] == 200 and len(seen) > 2
        until(is_told, 20, "changes")
        until(lambda: seen[-1]["value"] == k, 20, "the last")
        assert all(x["key"] == "k" and x["value"] <= y["value"] and x["version"] <= y["version"]
                   for x, y in zip(seen, seen[1:])), seen
        p.terminate()
        p.wait(20)
        reader.join()
        p.stdout.close()
        for n in m.nodes:
            n.stop()
        for n in m.nodes:
            n.start()
        m.votes(3)
        assert read(m[2], "k")[1]["value"] == k


def the_lead_goes_where_it_is_asked():
    with Group(4) as m:
        m.founded(3)
        acked, failed, stop = [], [], threading.Event()

        def writer():
            while not stop.is_set():
                key = "w%05d" % len(acked)
                answer = write(m[0], key, 1)
                (acked if answer[0] == 200 else failed).append(key)
        thread = threading.Thread(target=writer)
        thread.start()
        voters = [n for n in m.nodes if roles(m[0])[n.id] == "voter"]
        learner = [n for n in m.nodes if n not in voters][0]
        try:
            for k in range(6):
                to, asked, before = voters[k % 3], m[k % 4], len(acked)
                out = asked.run("mesh", "lead", *(() if asked is to else (to.id,)))
                assert out == to.id + "\n", out
                until(lambda: leader(m) is to, 10, "%s to lead" % to.name)  # noqa: B023
                until(lambda: len(acked) > before + 20, 20, "writes")  # noqa: B023
        finally:
            stop.set()
            thread.join()
        assert not failed, failed
        for n in m.nodes:
            until(lambda: n.ask("GET", n.path("conf", acked[-1]) + "?read=local")[0] == 200, 10, "the last write")  # noqa: B023
            lost = [k for k in acked if n.ask("GET", n.path("conf", k) + "?read=local")[0] != 200]
            assert not lost, lost
        for to, status, want in ((learner.id, 1, "does not vote"), ("f" * 16, 1, "does not vote"), ("f" * 15, 2, "16 digits"),
                                 ("g" * 16, 2, "16 digits"), ("x" * 5000, 2, "16 digits")):
            err = m[0].run("mesh", "lead", to, status=status)
            assert want in err and err.count("\n") == 1, err
        was = leader(m)
        gone = [n for n in voters if n is not was][0]
        gone.kill()
        assert write(was, "k", 1)[0] == 200
        err = was.run("mesh", "lead", gone.id, "--timeout", "1.5", status=1)
        assert "does not lead" in err, err
        assert write(was, "k", 2)[0] == 200
        gone.start()


def a_leader_that_does_not_get_to_run_hands_over():
    with Group(3) as m:
        m.founded(3)
        deadline = time.monotonic() + 60 * SLOW
        while not any("hands the lead over" in n.stderr() for n in m.nodes):
            assert time.monotonic() < deadline, "nobody handed over"
            slow = leader(m)
            if not slow:
                continue
            for _ in range(10):  # it runs a tenth of the time, and is heard before an election
                slow.process.send_signal(signal.SIGSTOP)
                time.sleep(0.25)
                slow.process.send_signal(signal.SIGCONT)
                time.sleep(0.03)
        until(lambda: leader(m), 10, "a leader")
        assert write(m[0], "k", 1)[0] == 200


if __name__ == "__main__":
    sys.exit(tap.run([one_copy, commands, a_group_without_its_majority_is_made_of_a_copy,
                      two_groups_are_told_and_one_is_given_up, a_lone_node_that_lost_its_disk_founds_anew, without_a_group, locks_exclude, a_lock_that_is_lost_ends_its_command,
                      what_was_acknowledged_survives_leaders_that_die, a_minority_neither_writes_nor_reads,
                      a_node_whose_disk_is_gone_is_let_in_again, the_lead_goes_where_it_is_asked,
                      a_leader_that_does_not_get_to_run_hands_over, watchers_and_restarts]))
