#!/usr/bin/env python3
"""The console's view of a mesh, in a browser: nodes of their own behind a server with a tiny model. What a user would
lose: a node that is gone and is seen to be, changes as they happen, names of strangers that stay text.

usage: test_console_mesh.py SELVAGE MODEL [--screenshots FOLDER]      prints TAP

SLV_TEST_PLAYWRIGHT: where to import Playwright from (tools/get-playwright.sh). Without it, or chromium, all of it is
skipped.
"""
import json
import os
import sys

from serving import HERE, Home, tap
from test_console import CHROMIUM, fits, page, picture, state, until

sys.path += [os.path.join(HERE, "..", "mesh")]
from nodes import Mesh  # noqa: E402

MODEL = "tiny=" + os.path.abspath(sys.argv[2])
HOME = Home("console-mesh")
IMG = "<img src=x onerror='window.pwned = 1'>"


def mesh_page(server, size=(1280, 800), **context):
    p = page(size, url=server.url, **context)
    p.click("#view-mesh")
    p.wait_for_selector("#mesh-nodes td")
    return p


def mocked(p, **more):
    """What the node says next, from the state of it that is given."""
    status = {"mesh": "floor", "node": "00000000000000aa", "local_only": False, "connected": 2, "members": [],
              "spaces": [], "bytes_sent": 1, "bytes_received": 2, **more}
    p.route("**/mesh/status", lambda r: r.fulfill(status=200, content_type="application/json", body=json.dumps(status)))


def member(i, state="alive", **more):
    return {"id": "%016x" % (0xaa + i), "state": state, "self": not i, "rtt_ms": 0.4 * i,
            "connected": i > 0 and state in ("alive", "suspect"), **more}


def rows(p, what):
    return p.locator("#mesh-%s tbody tr" % what).evaluate_all("l => l.map(r => [...r.cells].map(c => c.textContent))")


# --- tests ----------------------------------------------------------------------------------------

def without_a_mesh_there_is_no_view():
    with HOME.serve(models=[MODEL]) as s:
        p = page(url=s.url)
        with p.expect_response("**/health?live"):
            p.reload()
        with p.expect_response("**/metrics"):  # later than that
            pass
        assert not p.is_visible("#view-mesh") and not any("/mesh/" in u for u in p.asked), p.asked
        assert not p.said, p.said
        p.context.close()


def nodes_are_seen_and_one_that_ends_is_seen_to():
    with Mesh(3) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        m.whole()
        p = mesh_page(s)
        until(p, "document.querySelectorAll('.ring > .node.alive').length === 3")
        until(p, "document.querySelectorAll('.ring .way').length === 2")
        names = set(p.locator(".ring > .node title").all_text_contents())
        assert names == {n.id + ": alive" for n in m.nodes}, names
        assert p.locator(".ring text.name", has_text="this node").text_content().startswith(m[0].id[:8])
        assert {r[0].split(",")[0] for r in rows(p, "nodes")} == {n.id for n in m.nodes}
        assert [r[:3] for r in rows(p, "spaces")] == [["hits", "counter", "eventual"], ["tags", "set", "eventual"],
                                                      ["config", "last", "eventual"], ["notes", "doc", "causal"],
                                                      ["log", "text", "eventual"], ["fund", "budget", "eventual"]]
        assert p.get_attribute("#mesh-ring", "aria-label").startswith("3 nodes: 3 alive")
        m[2].kill()
        until(p, "document.querySelectorAll('.ring > .node.dead').length === 1")
        m[1].stop()
        until(p, "document.querySelectorAll('.ring > .node.left').length === 1")
        assert {r[0].split(",")[0]: r[1] for r in rows(p, "nodes")} == {
            m[0].id: "alive", m[1].id: "has left", m[2].id: "dead"}
        assert p.locator(".ring .way").count() == 0
        m[2].start()
        until(p, "document.querySelectorAll('.ring > .node.alive').length === 2")
        assert not p.said, p.said
        m[0].kill()
        until(p, "document.getElementById('mesh-note').textContent.includes('cannot be reached')")
        assert not p.is_visible("#mesh-body")
        m[0].start()
        until(p, "!document.getElementById('mesh-body').hidden")
        assert not [t for t in p.said if "503" not in t[1]], p.said  # which a browser says of a status alone
        p.context.close()


def changes_come_as_they_happen():
    with Mesh(2, spaces=("parts:counter", "config:last")) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        m.whole()
        p = mesh_page(s)
        until(p, "document.getElementById('mesh-watching').textContent === 'live'")
        m[1].put("parts", "line-3", 4)
        until(p, "document.querySelector('#mesh-changes td')")
        assert [r[1:] for r in rows(p, "changes")] == [["line-3", "4"]]
        p.select_option("#mesh-space", "config")
        until(p, "document.getElementById('mesh-watching').textContent === 'live'")
        assert rows(p, "changes") == []
        s.until(lambda: s.metrics()["selvage_mesh_watches"] == 1)
        m[1].put("config", IMG, IMG + "x" * 3000)
        m[1].put("config", "k", "v")
        m[1].run("mesh", "del", "config", "k")
        until(p, "document.querySelectorAll('#mesh-changes tbody tr').length >= 2 && "
                 "document.querySelector('#mesh-changes td + td + td').textContent === 'gone'")
        first = rows(p, "changes")[-1]
        assert first[1] == IMG and first[2].startswith(IMG) and first[2].endswith("…") and len(first[2]) == 1001, first
        assert p.locator("#mesh img").count() == 0 and p.evaluate("window.pwned") is None
        p.click("#view-chat")
        s.until(lambda: s.metrics()["selvage_mesh_watches"] == 0)  # it is watched while it is seen
        p.click("#view-mesh")
        s.until(lambda: s.metrics()["selvage_mesh_watches"] == 1)
        m[0].kill()
        m[0].start()
        until(p, "document.getElementById('mesh-watching').textContent === 'live' && "
                 "!document.getElementById('mesh-body').hidden")
        s.until(lambda: s.metrics()["selvage_mesh_watches"] == 1)
        m.whole()
        m[1].put("config", "again", "v")
        until(p, "document.querySelector('#mesh-changes td + td').textContent === 'again'")
        p.context.close()


def what_nodes_say_is_text_and_may_be_anything():
    with Mesh(1) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        p = mesh_page(s)
        for more in (
                {"members": [member(0), {"id": IMG, "state": IMG, "self": False, "rtt_ms": "x"}],
                 "spaces": [{"name": IMG, "type": IMG, "order": IMG, "entries": IMG}], "mesh": IMG},
                {"members": None, "spaces": 3, "strong": 7}, {"members": [{}], "spaces": [{}], "strong": {}},
                {"members": [member(i, ["alive", "suspect", "dead", "left", "removed"][i % 5]) for i in range(300)]}):
            mocked(p, **more)
            for _ in range(2):  # the second is asked for when the first is drawn
                with p.expect_response("**/mesh/status"):
                    pass
            assert p.locator("#mesh img").count() == 0 and p.evaluate("window.pwned") is None
            said = [t for t in p.said if "404" not in t[1]]  # the real node has no such space to watch
            assert p.is_visible("#mesh-ring") and not said, said
        assert p.locator(".ring > .node").count() == 300 and p.locator(".ring text").count() == 0
        # A line leads to whom it is connected with; what stands at it is known when it was timed.
        mocked(p, members=[member(0), member(1), member(2, rtt_ms=0), member(3, connected=False)])
        until(p, "document.querySelectorAll('.ring > .node').length === 4")
        assert p.locator(".ring .way").count() == 2 and p.locator(".ring text.rtt").count() == 1
        p.context.close()


def a_group_shows_who_leads_and_who_votes():
    with Mesh(1) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        p = mesh_page(s)
        strong = {"group": "1", "leader": "%016x" % 0xab, "term": 7, "role": "voter", "applied": 1234, "members": [
            {"id": "%016x" % (0xaa + i), "role": "voter" if i < 3 else "learner"} for i in range(4)]}
        mocked(p, members=[member(i) for i in range(4)], strong=strong)
        until(p, "document.querySelectorAll('.ring .leads').length === 1")
        assert p.locator(".ring > .node.filled").count() == 3 and p.locator(".ring > .node").count() == 4
        assert p.locator(".ring > .node:has(.leads) title").text_content() == "%016x: alive" % 0xab
        assert [r[3] for r in rows(p, "nodes")] == ["voter", "leader", "voter", "learner"]
        facts = p.inner_text("#mesh-facts")
        for text in ("%08x" % 0, "7", "voter", "1,234"):
            assert text in facts, facts
        mocked(p, members=[member(i) for i in range(4)], strong={**strong, "leader": None})
        until(p, "document.getElementById('mesh-facts').textContent.includes('none known')")
        assert p.locator(".ring .leads").count() == 0
        p.context.close()


def with_keys_it_wants_an_admins():
    user, admin = HOME.add_key("alice"), HOME.add_key("root", "--admin")
    with Mesh(1) as m, HOME.serve("--mesh", m[0].socket, "--keys", HOME.path("keys.json"), models=[MODEL]) as s:
        p = page(url=s.url)
        p.wait_for_selector("#view-mesh")
        for key, text in ((None, "API key is wanted"), (user, "may administer")):
            if key:
                p.click("#view-chat")
                p.fill("#key", key)
                p.press("#key", "Tab")
            p.click("#view-mesh")
            until(p, "document.getElementById('mesh-note').textContent.includes('%s')" % text)
            assert not p.is_visible("#mesh-body")
        p.click("#mesh-note button")
        assert p.evaluate("document.activeElement.id") == "key"
        p.fill("#key", admin)
        p.press("#key", "Tab")
        p.click("#view-mesh")
        p.wait_for_selector("#mesh-nodes td")
        until(p, "document.getElementById('mesh-watching').textContent === 'live'")
        p.context.close()


def it_can_be_used_by_everybody():
    with Mesh(2) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        m.whole()
        for scheme in ("light", "dark"):
            p = mesh_page(s, color_scheme=scheme)
            m[1].put("hits", "k", 1)
            p.wait_for_selector("#mesh-changes td")
            mocked(p, members=[member(i, t) for i, t in enumerate(("alive", "suspect", "dead", "left", "removed"))],
                   spaces=m[0].status()["spaces"])
            until(p, "document.querySelectorAll('.ring > .node').length === 5")
            faint = p.evaluate("faintTexts()")
            assert faint["n"] > 40 and not faint["found"], (scheme, faint)
            assert not p.evaluate("nameless()"), p.evaluate("nameless()")
            assert not p.evaluate("doubleIds()") and not p.evaluate("danglingReferences()")
            p.evaluate("document.activeElement.blur()")
            want, got = set(p.evaluate("reachable()")), []
            for _ in range(30):
                p.keyboard.press("Tab")
                f = p.evaluate("focused()")
                if f and got and f["name"] == got[0]["name"]:
                    break
                got += [f] if f else []
            assert {"view-mesh", "mesh-space", "mesh-changes"} <= want <= {g["name"] for g in got}, (want, got)
            assert all(g["isShown"] for g in got), [g for g in got if not g["isShown"]]
            p.context.close()
        p = mesh_page(s, (360, 740), is_mobile=True, has_touch=True)
        m[1].put("config", "key-" * 30, "value " * 60)
        p.select_option("#mesh-space", "config")
        m[1].put("config", "key-" * 30, "value " * 61)
        fits(p)
        small = p.evaluate("""[...document.querySelectorAll(".ring text")].filter(e =>
            e.getBoundingClientRect().height < 10).length""")
        assert not small, small
        p.context.close()


# --- pictures -------------------------------------------------------------------------------------

def screenshots(folder):
    """For docs/; Pillow is wanted."""
    spaces = ("parts:counter", "settings:last", "alarms:on-wins", "notes:doc:causal")
    with Mesh(6, spaces=spaces) as m, HOME.serve("--mesh", m[0].socket, models=[MODEL]) as s:
        m.whole()
        for i, node in enumerate(m.nodes[1:], 1):
            node.put("settings", "line-%d/speed" % i, "%d %%" % (70 + 3 * i))
        m[5].stop()
        m[4].kill()
        for name, size in (("light", (1280, 840)), ("dark", (1280, 840)), ("phone", (360, 740))):
            p = mesh_page(s, size, color_scheme="dark" if name == "dark" else "light")
            until(p, "document.querySelectorAll('.ring > .node.dead, .ring > .node.left').length === 2")
            until(p, "document.getElementById('mesh-watching').textContent === 'live'")
            for line in (3, 1, 2, 3):
                m[line].put("parts", "line-%d" % line, 1)
            until(p, "document.querySelectorAll('#mesh-changes tbody tr').length >= 3")
            picture(p, os.path.join(folder, "console-mesh-%s.png" % name))


TESTS = [without_a_mesh_there_is_no_view, nodes_are_seen_and_one_that_ends_is_seen_to, changes_come_as_they_happen,
         what_nodes_say_is_text_and_may_be_anything, a_group_shows_who_leads_and_who_votes,
         with_keys_it_wants_an_admins, it_can_be_used_by_everybody]


def main():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if not (CHROMIUM and sync_playwright):
        print("1..0 # SKIP chromium or SLV_TEST_PLAYWRIGHT is missing")
        return 0
    with sync_playwright() as play:
        state["browser"] = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            if "--screenshots" in sys.argv:
                screenshots(sys.argv[sys.argv.index("--screenshots") + 1])
                return 0
            only = os.environ.get("SLV_TEST_ONLY", "")
            return tap.run_here([t for t in TESTS if only in t.__name__])
        finally:
            state["browser"].close()


if __name__ == "__main__":
    sys.exit(main())
