#!/usr/bin/env python3
"""The demonstration of the mesh (bench/mesh/demo.py): that it can be run, that it leaves nothing behind, and that it would
say so if something it claims did not hold, which is tried with records that are made up.

usage: test_demo.py SELVAGE      prints TAP
"""
import contextlib
import copy
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "..", "bench", "mesh")
sys.path += [BENCH]
import demo_net  # noqa: E402
import demo_picture  # noqa: E402
import demo_story  # noqa: E402
from demo_claims import CLAIMS, EVENTUAL, OK, REFUSED, STRONG, UNKNOWN, Having, Record, Write, broken  # noqa: E402
from nodes import PROGRAM, SLOW, tap, until  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
TIMES = {"all_see_all", "five_vote", "write_to_all", "cut_seen", "strong_after_cut", "equal_after_heal", "strong_after_heal",
         "strong_after_kill", "death_seen", "back"}


# --- a record that is as it should be ------------------------------------------------------------------------------

def eventual(node, at, outcome=OK):
    return Write(node, EVENTUAL, "n%d" % node, 1, at, at + 0.01, outcome)


def strong(node, at, outcome=OK, took=0.01):
    key = "n%d-%03d" % (node, round(10 * at))
    return Write(node, STRONG, key, round(10 * at), at, at + took, outcome)


def good():
    """Five nodes for 20 s; cut from 5 to 10; 3 is dead from 15 to 17. A write of each kind at each second."""
    r = Record(nodes=[1, 2, 3, 4, 5], cut=(5.0, 10.0, (1, 2), (3, 4, 5)), downs=[(3, 15.0, 17.0)], end=20.0,
               ups=dict.fromkeys(range(1, 6), 0.1), rests=[(12.2, 12.8)], marks=[(5.0, "cut"), (10.0, "heal")],
               parts={"tags": ["hello", "left"], "notes": {"left": "written at 1"}})
    for node in r.nodes:
        for at in range(1, 20):
            if node == 3 and 15 <= at < 17:
                continue
            few = node < 3 and 5 <= at < 10
            r.writes += [eventual(node, at + 0.1), strong(node, at + 0.1, (UNKNOWN, REFUSED)[at % 2] if few else OK)]
    for w in list(r.writes):
        for node in r.nodes:
            if w.kind == EVENTUAL:
                away = (node in (1, 2)) != (w.node in (1, 2)) and 5 <= w.answered < 10
                back = node == 3 and 15 <= w.answered < 17
                had = sum(x.answered <= w.answered for x in r.writes if x.kind == EVENTUAL and x.node == w.node)
                r.told.append((10.1 if away else 17.1 if back else w.answered + 0.01, node, w.node, had))
    r.told.sort(key=lambda x: x[0])
    r.status = [(t + 0.5, n, n == (1 if t < 5 else 3 if t < 15 else 4), 1 if t < 5 else 2 if t < 15 else 3)
                for t in range(20) for n in r.nodes]
    view = {"parts": {"n%d" % n: sum(w.kind == EVENTUAL and w.node == n for w in r.writes) for n in r.nodes},
            "tags": {"seen": ["hello", "left"]}, "notes": {"shift": {"left": "written at 1"}},
            "config": {w.key: w.value for w in r.writes if w.kind == STRONG and w.outcome == OK}}
    r.views = [("at the end", {n: copy.deepcopy(view) for n in r.nodes})]
    r.states = [("at the end", {n: {"group": {"leader": "x", "term": 3}} for n in r.nodes})]
    return r


def everywhere(change):
    def act(r):
        for view in r.views[-1][1].values():
            change(view)
    return act


def replace(r, pick, **new):
    k = next(k for k, w in enumerate(r.writes) if pick(w))
    r.writes[k] = dataclasses.replace(r.writes[k], **new)


def is_cut_off(w):
    return w.kind == STRONG and w.node == 2 and 5 <= w.asked < 10


def without(kind, nodes, start, end):
    def act(r):
        r.writes = [w for w in r.writes if not (w.kind == kind and w.node in nodes and start <= w.asked < end)]
        for view in r.views[-1][1].values():
            view["parts"].update(("n%d" % n, sum(w.kind == EVENTUAL and w.node == n for w in r.writes)) for n in r.nodes)
            view["config"] = {w.key: w.value for w in r.writes if w.kind == STRONG and w.outcome == OK}
    return act


def acknowledged_while_cut_off(r):
    replace(r, is_cut_off, outcome=OK)
    w = next(w for w in r.writes if is_cut_off(w) and w.outcome == OK)
    everywhere(lambda v: v["config"].update({w.key: w.value}))(r)


def one_status_differs(r):
    r.states[-1][1][4]["group"] = {"leader": "y", "term": 3}


# What goes wrong, and what is said of it.
FAULTS = (
    ("one node has another count", lambda r: r.views[-1][1][5]["parts"].update(n1=3), "nodes 1 and 5 differ in parts: n1"),
    ("one node lacks a key", lambda r: r.views[-1][1][2]["config"].popitem(), "nodes 1 and 2 differ in config"),
    ("one node says otherwise who leads", one_status_differs, "nodes 1 and 4 differ in group: leader"),
    ("a node was not asked", lambda r: r.views[-1][1].pop(3), "only 4 nodes of 5"),
    ("nothing was compared", lambda r: r.views.clear(), "nothing was compared"),
    ("a count too many", everywhere(lambda v: v["parts"].update(n2=v["parts"]["n2"] + 1)), "node 2: 19 were acknowledged, 20"),
    ("a count too few", everywhere(lambda v: v["parts"].update(n2=v["parts"]["n2"] - 1)), "node 2: 19 were acknowledged, 18"),
    ("a count that nobody was told of", lambda r: replace(r, lambda w: w.kind == EVENTUAL, outcome=UNKNOWN),
     "node 1: 18 were acknowledged, 19"),
    ("a strong write is lost", everywhere(lambda v: v["config"].pop("n4-011")), "n4-011 = 11, acknowledged at node 4, is lost"),
    ("a strong write has another's value", everywhere(lambda v: v["config"].update({"n4-011": 7})), "is lost: 7"),
    ("a strong write was refused, and done", everywhere(lambda v: v["config"].update({"n1-051": 51})), "refused at node 1"),
    ("a key that nobody wrote", everywhere(lambda v: v["config"].update(ghost=1)), "config has ghost"),
    ("a tag is lost", everywhere(lambda v: v["tags"]["seen"].remove("left")), "the tag left is lost"),
    ("a note is lost", everywhere(lambda v: v["notes"]["shift"].clear()), "the note of left is lost"),
    ("the minority agrees", acknowledged_while_cut_off, "node 2, cut off, acknowledged the strong write n2-0"),
    ("the minority does not try", without(STRONG, (1,), 5, 10), "node 1, cut off, tried no strong write"),
    ("the majority stands still", without(STRONG, (4,), 5, 10), "node 4 had no strong write acknowledged"),
    ("a side stands still", without(EVENTUAL, (2,), 5, 10), "node 2 wrote nothing"),
    ("nobody leads after the kill", without(STRONG, (1, 2, 4, 5), 15, 17), "acknowledged while node 3 was dead"),
    ("nobody is killed", lambda r: r.downs.clear(), "nobody was killed"),
    ("two lead in one term", lambda r: r.status.append((16.0, 5, True, 3)), "nodes 4 and 5 led in term 3"),
    ("nobody ever leads", lambda r: r.status.clear(), "nobody ever led"),
)


def each_claim_is_broken_by_what_it_is_about():
    assert broken(good()) is None, broken(good())
    said = set()
    for what, spoil, want in FAULTS:
        r = good()
        spoil(r)
        line = broken(r)
        assert line and want in line, (what, want, line)
        said.add(line.split(":")[0])
    assert said == {c.__name__.replace("_", " ") for c in CLAIMS}, said


def what_is_in_doubt_may_be_either():
    """A write that was under way at a killed node; and one that a group without a leader left unanswered."""
    for there in (0, 1):
        r = good()
        r.writes.append(eventual(3, 14.99, UNKNOWN))
        everywhere(lambda v: v["parts"].update(n3=v["parts"]["n3"] + there))(r)  # noqa: B023
        assert broken(r) is None, broken(r)
        r.writes.append(strong(1, 15.5, UNKNOWN))
        everywhere(lambda v: v["config"].update({"n1-155": 155} if there else {}))(r)  # noqa: B023
        assert broken(r) is None, broken(r)
    r = good()  # acknowledged after the heal, though it was asked for before
    replace(r, is_cut_off, outcome=OK, answered=10.2)
    w = next(w for w in r.writes if is_cut_off(w) and w.outcome == OK)
    everywhere(lambda v: v["config"].update({w.key: w.value}))(r)
    assert broken(r) is None, broken(r)


def who_lacks_what_is_known_at_any_time():
    r = good()
    having = Having(r)
    assert having.lacking(4.9) == []
    assert having.lacking(6.9) == [1, 2, 3, 4, 5]
    assert having.lacks(1, 6.9) == 2 * 3 and having.lacks(4, 6.9) == 2 * 2
    assert having.lacking(10.2) == []
    assert having.lacking(16.9, r.downs) == [] and having.lacking(16.9) == [3]
    assert having.lacking(17.05, r.downs) == [3] and having.lacking(17.2, r.downs) == []
    assert having.lacks(4, 5.9, late=0.9) == 0 and having.lacks(4, 5.9, late=0.0) == 2


def the_exit_status_is_the_verdict():
    with tempfile.TemporaryDirectory() as folder:
        for spoil, wrong, want in ((None, None, ""), (FAULTS[0][1], None, "nodes 1 and 5 differ"),
                                   (None, "waited in vain for x", "waited in vain")):
            story = type("Told", (), {"record": good(), "times": {"back": 1.0}})
            if spoil:
                spoil(story.record)
            demo_story.run = lambda _: (story, wrong)  # noqa: B023
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = demo_story.tell(os.path.join(folder, "t.svg"), False)
            assert status == (1 if want else 0), (status, want)
            assert want in err.getvalue() and err.getvalue().count("\n") == (1 if want else 0), err.getvalue()
            assert ("every claim held" in out.getvalue()) == (not want), out.getvalue()


# --- the picture ---------------------------------------------------------------------------------------------------

def look_at(path):
    """Its texts; that nothing of it lies outside."""
    root = xml.etree.ElementTree.parse(path).getroot()
    assert root.tag == SVG + "svg" and root.get("width") == "1200", root.attrib
    high = float(root.get("height"))
    for rect in root.iter(SVG + "rect"):
        x, y, w, h = (float(rect.get(k, 0)) for k in ("x", "y", "width", "height"))
        assert -10 <= x and x + w <= 1201 and -10 <= y and y + h <= high, rect.attrib
    assert "prefers-color-scheme: dark" in root.find(SVG + "style").text
    return ["".join(t.itertext()) for t in root.iter(SVG + "text")]


def labels_do_not_lie_on_each_other():
    rows = demo_picture.Rows(3)
    taken = {}
    for x in (200, 210, 260, 400, 405, 1150):
        text = "label %d" % x
        row, at = rows.place(x, text)
        assert at + demo_picture.LETTER * len(text) <= demo_picture.WIDTH, (x, at)
        assert taken.get(row, 0) <= at, (x, row, at, taken)
        taken[row] = at + demo_picture.LETTER * len(text)


def a_record_becomes_a_picture():
    """Also one that ended before anything happened, as of a story that failed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "t.svg")
        demo_picture.draw(good(), dict.fromkeys(TIMES, 0.5), path)
        texts = look_at(path)
        for want in ("node 1", "node 5", "cut, 5.0 s", "heal, 10.0 s", "killed", "cut off", "cut for 5.0 s", "nodes that"):
            assert want in texts, (want, texts)
        demo_picture.draw(Record(nodes=[1, 2, 3, 4, 5], end=0.3), {}, path)
        assert "node 5" in look_at(path)


# --- the whole -----------------------------------------------------------------------------------------------------

def impossible():
    try:
        demo_net.way()
    except demo_net.Impossible as e:
        return str(e)
    return None


def started(folder, *args):
    return subprocess.Popen([sys.executable, os.path.join(BENCH, "demo.py"), PROGRAM, os.path.join(folder, "demo.svg"), *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "TMPDIR": os.path.join(folder, "tmp")})


def left_in(folder):
    """Processes of its nodes, which have that folder in their environment."""
    mark = ("SELVAGE_HOME=" + folder).encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/environ" % pid, "rb") as f:
            if mark in f.read():
                found.append(pid)
    return found


def five_nodes_are_cut_heal_and_lose_their_leader():
    why = impossible()
    if why:
        return tap.skip(why)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "tmp"))
        start = time.monotonic()
        p = started(folder, "--json")
        out, err = p.communicate(timeout=120 * SLOW)
        assert p.returncode == 0, (p.returncode, out, err[-3000:])
        assert time.monotonic() - start < 60 * SLOW
        times = json.loads(out)
        assert set(times) == TIMES and all(t > 0 for t in times.values()), times
        for line in err.splitlines():
            print("# " + line)
        texts = look_at(os.path.join(folder, "demo.svg"))
        assert sum(t.startswith("compared, ") for t in texts) == 2 and "killed" in texts, texts
        assert os.path.getsize(os.path.join(folder, "demo.svg")) < 200000
        assert os.listdir(os.path.join(folder, "tmp")) == [] and left_in(folder) == []
    return None


def it_ends_with_all_its_nodes_whatever_ends_it():
    why = impossible()
    if why:
        return tap.skip(why)
    for how, want in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "tmp"))
            p = started(folder)
            for line in p.stdout:
                if "all five see each other" in line:
                    break
            assert len(left_in(folder)) >= 5
            p.send_signal(how)
            p.communicate(timeout=60 * SLOW)
            assert p.returncode == want, (how, p.returncode)
            until(lambda: not left_in(folder), 20, "its nodes to be gone")  # noqa: B023
            assert how == signal.SIGKILL or os.listdir(os.path.join(folder, "tmp")) == []
    return None


def it_says_what_it_cannot_do():
    with tempfile.TemporaryDirectory() as folder:
        drawn, none = os.path.join(folder, "x.svg"), os.path.join(folder, "none")
        for args, path, want in (((PROGRAM,), "", "usage: "), ((none, drawn), "", "none: no such program"),
                                 ((PROGRAM, os.path.join(none, "x.svg")), "", "no such folder"),
                                 ((PROGRAM, drawn), folder, "unshare is not installed")):
            p = subprocess.run([sys.executable, os.path.join(BENCH, "demo.py"), *args], capture_output=True, text=True, check=False,
                               env={**os.environ, "PATH": path or os.environ["PATH"]})
            assert p.returncode == 2 and p.stderr.count("\n") == 1 and want in p.stderr, (args, p)


if __name__ == "__main__":
    # (on one thread: standard output is taken away for a moment)
    sys.exit(tap.run_here([each_claim_is_broken_by_what_it_is_about, what_is_in_doubt_may_be_either,
                           who_lacks_what_is_known_at_any_time, the_exit_status_is_the_verdict,
                           labels_do_not_lie_on_each_other, a_record_becomes_a_picture, it_says_what_it_cannot_do,
                           five_nodes_are_cut_heal_and_lose_their_leader, it_ends_with_all_its_nodes_whatever_ends_it]))
