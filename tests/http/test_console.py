#!/usr/bin/env python3
"""The console in a browser: Debian's chromium, driven by Playwright, before a server with the real model.
What a user would lose: answers that stream and stop, a page that cannot be taken over by what a model
writes, one that can be read, and used with a keyboard, on a phone, in the dark.

usage: test_console.py SELVAGE [--screenshots FOLDER]      prints TAP

SLV_TEST_MODEL: the model's file; SLV_TEST_PLAYWRIGHT: where to import Playwright from
(tools/get-playwright.sh). Without one of them, or chromium, all of it is skipped.
"""
import json
import os
import re
import shutil
import sys
import threading

from serving import HERE, MODEL, NAME, POLICY, Home, bearer, tap

sys.path += [os.environ.get("SLV_TEST_PLAYWRIGHT", "")]
HOME = Home("console")
CHROMIUM = shutil.which("chromium")
with open(os.path.join(HERE, "page_checks.js")) as f:
    CHECKS = f.read()
with open(os.path.join(HERE, "hostile.md")) as f:
    HOSTILE = f.read()
FRANCE = "What is the capital of France? Answer in one sentence."
state = {}


def page(size=(1280, 800), url=None, **context):
    """A page of its own: nothing is shared but the browser."""
    c = state["browser"].new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True, **context)
    p = c.new_page()
    p.set_default_timeout(30000)
    p.said, p.asked = [], []
    p.on("console", lambda m: p.said.append((m.type, m.text)) if m.type in ("error", "warning") else None)
    p.on("pageerror", lambda e: p.said.append(("pageerror", str(e))))
    p.on("request", lambda r: p.asked.append(r.url))
    p.add_init_script(CHECKS)
    p.answer = p.goto((url or state["server"].url) + "/console")
    p.wait_for_selector("#live-models li, #model option[value='']", state="attached")
    return p


def ask(p, text, wait=True, **settings):
    for name, value in {"temperature": "0", "max-tokens": "60", **settings}.items():
        p.evaluate("([id, v]) => { document.getElementById(id).value = v; }", [name, str(value)])
    p.fill("#ask", text)
    p.press("#ask", "Enter")
    if wait:
        ended(p)


def ended(p):
    p.wait_for_selector("#log[aria-busy=false] .message:last-child .again-button")


def until(p, what):
    """The page's own policy forbids Playwright's way of waiting for it."""
    for _ in range(300):
        if p.evaluate(what):
            return
        p.wait_for_timeout(50)
    raise AssertionError("never: " + what)


def last(p):
    return p.locator(".message.assistant .body").last


def mocked(p, text, piece=40):
    """The server's next answers are this text."""
    def chunk(delta, finish=None):
        return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}) + "\n\n"
    body = "".join(chunk({"content": text[i:i + piece]}) for i in range(0, len(text), piece))
    body += chunk({}, "stop") + "data: [DONE]\n\n"
    p.route("**/v1/chat/completions", lambda r: r.fulfill(status=200, content_type="text/event-stream", body=body))


def endless(p):
    """The model's own end does not count."""
    p.route("**/v1/chat/completions", lambda r: r.continue_(post_data=json.dumps(
        {**r.request.post_data_json, "ignore_eos": True})))


def fits(p, width=360):
    assert p.evaluate("document.documentElement.scrollWidth") <= width
    wide = p.evaluate("""w => [...document.querySelectorAll("body *")].filter(e => isSeen(e) &&
        e.getBoundingClientRect().right > w + 0.5 && !e.closest("pre, .table, .panel"))
        .map(e => e.outerHTML.slice(0, 100))""", width)
    assert not wide, wide


# --- loading --------------------------------------------------------------------------------------

def the_page_is_quiet_and_asks_nobody_else():
    p = page()
    assert p.answer.headers["content-security-policy"] == POLICY
    p.wait_for_timeout(4500)
    p.click("#view-server")
    p.wait_for_timeout(500)
    assert not p.said, p.said
    hosts = {re.match(r"\w+://[^/]*", u)[0] for u in p.asked if not u.startswith("data:")}
    assert hosts == {state["server"].url}, hosts
    assert sum(u.endswith("/metrics") for u in p.asked) in (2, 3, 4), p.asked
    models = [u for u in p.asked if u.endswith(("/v1/models", "/v1/adapters"))]
    assert len(models) <= 4, models  # a key's requests are counted
    assert p.evaluate("localStorage.length + sessionStorage.length") == 0 and not p.context.cookies()
    p.context.close()


def inline_code_does_not_run():
    p = page()
    p.evaluate("""() => { const s = document.createElement("script"); s.textContent = "window.ran = 1";
        document.body.append(s); document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 2'>"); }""")
    p.wait_for_timeout(300)
    assert p.evaluate("window.ran") is None
    assert any("Content Security Policy" in text for _, text in p.said), p.said
    p.context.close()


# --- answers --------------------------------------------------------------------------------------

def an_answer_streams_and_ends_and_nothing_jumps():
    p = page()
    p.evaluate("""() => { window.seen = []; const look = () => {
        const b = document.querySelector(".message.assistant .body"), u = document.querySelector(".message.user");
        if (b) seen.push([b.textContent.length, u.getBoundingClientRect().top,
            document.getElementById("composer").getBoundingClientRect().top]);
        requestAnimationFrame(look); }; look(); }""")
    ask(p, FRANCE, **{"max-tokens": 40})
    assert "Paris" in last(p).inner_text(), last(p).inner_text()
    seen = p.evaluate("seen")
    assert len({n for n, _, _ in seen}) >= 3, seen
    assert len({(round(u), round(c)) for _, u, c in seen}) == 1, "something moved while the answer came"
    assert re.search(r"\d+ tokens · [\d.]+ tokens/s · first after", p.inner_text(".stats")), p.inner_text(".stats")
    assert p.inner_text("#status") == "The answer has ended"
    assert p.evaluate("document.activeElement.id") == "ask"
    ask(p, "And of Italy?")
    assert "Rome" in last(p).inner_text() and p.locator(".message").count() == 4
    assert not p.said, p.said
    p.context.close()


def an_answer_can_be_stopped():
    p = page()
    endless(p)
    for stop in (lambda: p.keyboard.press("Escape"), lambda: p.click("#send")):
        ask(p, "Count to one thousand, one number a line.", wait=False, **{"max-tokens": 3000})
        until(p, "document.querySelector('.message:last-child .body').textContent.length > 20")
        assert p.get_attribute("#send", "aria-label") == "Stop"
        stop()
        ended(p)
        assert "stopped" in p.locator(".stats").last.inner_text() and last(p).inner_text()
        assert p.get_attribute("#send", "aria-label") == "Send"
    state["server"].until(lambda: not state["server"].get("/v1/admin/sessions")["data"])  # it does not go on
    p.context.close()


def again_makes_the_last_answer_again():
    p = page()
    ask(p, "Name three colours.", temperature=1, seed=7)
    first = last(p).inner_text()
    p.click(".again-button")
    ended(p)
    assert last(p).inner_text() == first and p.locator(".message").count() == 2
    ask(p, "More?")
    assert p.locator(".again-button").count() == 1
    p.click("#clear")
    assert p.locator(".message").count() == 0 and p.is_visible("#empty")
    p.context.close()


def a_conversation_can_be_taken_along():
    p = page()
    p.fill("#system", "You are brief.")
    ask(p, "What is 2 + 2?", seed=3)
    answer = p.locator(".message.assistant .body").inner_text()
    with p.expect_download() as d:
        p.click("#export-json")
    with open(d.value.path()) as f:
        got = json.load(f)
    assert [m["role"] for m in got["messages"]] == ["system", "user", "assistant"], got
    assert got["model"] == "smollm2" and got["seed"] == 3 and got["messages"][1]["content"] == "What is 2 + 2?", got
    with p.expect_download() as d:
        p.click("#export-md")
    with open(d.value.path()) as f:
        text = f.read()
    assert "## Question\n\nWhat is 2 + 2?" in text and answer.split("\n")[0][:20] in text, text
    p.context.close()


def answers_keep_to_a_schema_and_a_bad_one_is_told_of():
    p = page()
    p.click("summary")
    p.click("#schema-example")
    assert p.is_visible("#schema-on")
    ask(p, "Describe a rose.", **{"max-tokens": 200})
    got = json.loads(last(p).inner_text())
    assert set(got) == {"name", "kind", "colours"} and got["kind"] in ("plant", "animal", "mineral"), got
    p.fill("#schema", '{"type": "object", "unevaluatedNonsense": 1, "properties": {"a": {"$ref": "#/nowhere"}}}')
    ask(p, "Again.")
    said = p.inner_text("#schema-error")
    asked = []
    p.on("request", lambda r: asked.append(r.post_data_json) if r.method == "POST" else None)
    assert "nowhere" in said and p.inner_text(".refusal") == "The schema " + said, said
    assert p.get_attribute("#schema", "aria-invalid") == "true"
    assert p.evaluate("document.activeElement.id") == "schema"
    p.fill("#schema", "{")
    assert p.inner_text("#schema-error") == ""
    n = p.locator(".message").count()
    p.fill("#ask", "x")
    p.press("#ask", "Enter")
    assert p.inner_text("#schema-error").startswith("Not JSON") and p.locator(".message").count() == n
    assert p.input_value("#ask") == "x" and not asked
    p.fill("#schema", "")
    ask(p, "Thanks.")
    assert [m["content"] for m in asked[0]["messages"][2:]] == ["Thanks."], "a question that was refused is told again"
    p.context.close()


# --- Markdown -------------------------------------------------------------------------------------

def what_a_model_writes_is_text():
    p = page()
    for piece in (7, 4000):
        mocked(p, HOSTILE, piece)
        ask(p, "<img src=x onerror=alert(1)>")
        assert p.evaluate("window.pwned") is None
        body = last(p)
        assert body.locator("script, img, iframe, object, embed, form, input, style, link, svg, base, meta").count() == 0
        links = body.locator("a").evaluate_all("l => l.map(a => [a.getAttribute('href'), a.rel, a.target])")
        assert links and all(re.match("https?://", a[0]) for a in links), links
        assert {(r, t) for _, r, t in links} == {("noopener noreferrer", "_blank")}, links
        ons = body.evaluate("b => [...b.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))")
        assert set(ons) <= {"href", "rel", "target", "class", "type", "data-copy", "aria-label", "tabindex", "scope"}, set(ons)
        text = body.inner_text()
        for t in ("<script>window.pwned = 1</script>", "<img src=x onerror=\"window.pwned = 2\">",
                  "javascript:window.pwned", "<iframe", "data:text/html"):
            assert t in text, t
    user = p.locator(".message.user .body").first
    assert user.inner_text() == "<img src=x onerror=alert(1)>" and user.locator("img").count() == 0
    assert not p.said, p.said
    p.context.close()


def render(p, text):
    return p.evaluate("""async t => { const m = await import("/console/markdown.js");
        const d = document.createElement("div"); const begun = performance.now();
        new m.MarkdownView(d).update(t); return [d.innerHTML, performance.now() - begun]; }""", text)


def markdown_is_what_it_means():
    p = page()
    for text, want in [
            ("a **b** *c* `d` ~~e~~", "<p>a <strong>b</strong> <em>c</em> <code>d</code> <del>e</del></p>"),
            ("snake_case_name 2*3*4 a * b", "<p>snake_case_name 2<em>3</em>4 a * b</p>"),
            ("***x*** **un", "<p><strong><em>x</em></strong> **un</p>"),
            ("# One\n## Two ##", "<h3>One</h3><h4>Two</h4>"),
            ("- a\n- b\n  1. c\n  2. d\n- e", "<ul><li><span>a</span></li><li><span>b</span><ol><li><span>c</span>"
             "</li><li><span>d</span></li></ol></li><li><span>e</span></li></ul>"),
            ("3) a\n4) b", '<ol start="3"><li><span>a</span></li><li><span>b</span></li></ol>'),
            ("> q\n> r", "<blockquote><p>q<br>r</p></blockquote>"),
            ("a\n---\nb", "<p>a</p><hr><p>b</p>"),
            ("\\*a\\* &amp; <b>", "<p>*a* &amp;amp; &lt;b&gt;</p>"),
            ("``a`b``", "<p><code>a`b</code></p>"),
            ("|a|b|\n|-|-:|\n|1|2 \\| 3|", '<div class="table" tabindex="0"><table><thead><tr><th class="" scope="col">a</th>'
             '<th class="right" scope="col">b</th></tr></thead><tbody><tr><td>1</td><td class="right">2 | 3</td></tr></tbody></table></div>')]:
        got = render(p, text)[0].replace(' class=""', "")
        assert got == want.replace(' class=""', ""), (text, got)
    got = render(p, "```py\na = 1 < 2\n")[0]
    assert "<span>py</span>" in got and "<code>a = 1 &lt; 2\n</code>" in got, got
    got = render(p, "[x](https://a.example/b_(c)) https://d.example/e. <http://f.example>")[0]
    assert re.findall('href="([^"]*)"', got) == ["https://a.example/b_(c)", "https://d.example/e", "http://f.example/"], got
    p.context.close()


def no_text_takes_long():
    p = page()
    n = 20000
    for text in ["*" * n, "**a " * n, "[" * n, "[](" * n, "[" * n + "](http://x", "`" * n, "`a``b" * n, "_a " * n,
                 "> " * n, "- " * n, "#" * n, "# " + "# " * n, "|" * n + "\n" + "|-" * n, "~~a" * n, "<http://" * n,
                 "``` " + " " * n + "`", "~" * n + "`", "  " * n + "x", "1. " * n, "\\" * n, "a\n" * n, "![](" * n,
                 "[x](" + " " * n, "- a\n" * 2000, "\n".join(" " * i + "- a" for i in range(300))]:
        ms = render(p, text)[1]
        assert ms < 5000, (text[:20], ms)
    p.context.close()


def code_can_be_copied():
    p = page(permissions=["clipboard-read", "clipboard-write"])
    mocked(p, "```c\nint x = 1 < 2;\n```\n")
    ask(p, "code")
    p.click("[data-copy]")
    assert p.evaluate("navigator.clipboard.readText()") == "int x = 1 < 2;"
    p.context.close()


# --- for everybody --------------------------------------------------------------------------------

def all_can_be_done_with_a_keyboard():
    p = page()
    mocked(p, "A [link](https://example.org) and\n\n```\ncode\n```\n")
    assert p.evaluate("document.activeElement.id") == "ask"
    p.keyboard.type("Hello")
    p.keyboard.press("Shift+Enter")
    p.keyboard.type("there")
    assert p.input_value("#ask") == "Hello\nthere"
    p.keyboard.press("Enter")
    ended(p)
    for view in ("chat", "server"):
        p.evaluate("document.activeElement.blur()")
        want, got = set(p.evaluate("reachable()")), []
        for _ in range(80):
            p.keyboard.press("Tab")
            f = p.evaluate("focused()")
            if f and got and f["name"] == got[0]["name"]:
                break
            got += [f] if f else []
        assert want <= {g["name"] for g in got} | {"panel-admin"}, want - {g["name"] for g in got}
        assert all(g["isShown"] for g in got), [g for g in got if not g["isShown"]]
        if view == "chat":
            p.focus("#view-server")
            p.keyboard.press("Enter")
    p.focus("#tab-sessions")
    p.keyboard.press("ArrowLeft")
    assert p.evaluate("document.activeElement.id") == "tab-log"
    p.wait_for_selector("#panel-admin td")
    p.context.close()


def names_and_contrast():
    for scheme in ("light", "dark"):
        p = page(color_scheme=scheme)
        with open(os.path.join(HERE, "..", "..", "README.md")) as f:
            mocked(p, HOSTILE + f.read(), 3000)
        ask(p, "Show me all of it.")
        p.click("summary")
        p.fill("#schema", "{")
        p.fill("#ask", "x")
        p.press("#ask", "Enter")
        for view in ("chat", "server"):
            p.click("#view-" + view)
            p.wait_for_timeout(400)
            for tab in ("sessions", "audit", "log") if view == "server" else [None]:
                if tab:
                    p.click("#tab-" + tab)
                    p.wait_for_timeout(400)
                faint = p.evaluate("faintTexts()")
                assert faint["n"] > 20 and not faint["found"], (scheme, view, faint)
        assert not p.evaluate("nameless()"), p.evaluate("nameless()")
        assert not p.evaluate("doubleIds()") and not p.evaluate("danglingReferences()")
        p.context.close()


def colours_are_the_systems_until_chosen():
    p = page(color_scheme="dark")

    def is_dark():
        return p.evaluate("luminance(ground(document.body)) < 0.2")
    assert is_dark()
    p.click("#theme")
    assert not is_dark() and p.evaluate("localStorage.getItem('selvage-theme')") == "light"
    p.reload()
    assert not is_dark()
    p.click("#theme")
    assert is_dark()
    p.context.close()
    p = page(color_scheme="light")
    assert not is_dark()
    p.context.close()


def a_phone_shows_all_of_it():
    p = page((360, 740), is_mobile=True, has_touch=True)
    fits(p)
    mocked(p, HOSTILE + "\n" + "x" * 300 + "\n\n```\n" + "y" * 300 + "\n```\n\n|" + "wide column|" * 12 + "\n" + "|-" * 12 + "|\n")
    p.tap("#open-settings")
    assert p.is_visible("#system") and p.is_visible("#key")
    fits(p)
    p.tap("#close-settings")
    assert not p.is_visible("#system")
    p.fill("#ask", "z" * 200)
    p.tap("#send")
    ended(p)
    fits(p)
    p.tap("#view-server")
    for tab in ("sessions", "audit", "log"):
        p.tap("#tab-" + tab)
        p.wait_for_timeout(400)
        fits(p)
    small = p.evaluate("""[...document.querySelectorAll("button")].filter(isSeen).map(e => [e.id,
        e.getBoundingClientRect()]).filter(([, r]) => r.width < 24 || r.height < 24).map(([i]) => i)""")
    assert not small, small
    p.context.close()


def who_wants_no_motion_gets_none():
    p = page(reduced_motion="reduce")
    moving = p.evaluate("""[...document.querySelectorAll("*")].filter(e => getComputedStyle(e).animationName !== "none" ||
        getComputedStyle(e).transitionDuration !== "0s").length""")
    assert moving == 0
    p.context.close()


# --- the server -----------------------------------------------------------------------------------

def the_panel_shows_what_is_going_on():
    p = page()
    endless(p)
    ask(p, "Count to one thousand.", wait=False, **{"max-tokens": 3000})
    until(p, "Number(document.getElementById('live-active').textContent) >= 1")
    until(p, "Number(document.getElementById('live-rate').textContent) > 1")
    assert re.fullmatch(r"[\d.]+ [KMG]iB of [\d.]+ [MG]iB", p.inner_text("#memory-text"))
    assert int(p.get_attribute("#memory-bar", "aria-valuenow")) > 0
    assert "ready" in p.inner_text("#live-models")
    p.click("#view-server")
    p.wait_for_selector("#panel-admin td .active")
    p.click("#view-chat")
    p.keyboard.press("Escape")
    ended(p)
    until(p, "document.getElementById('live-active').textContent === '0'")
    p.context.close()


def nothing_is_asked_while_nobody_looks():
    p = page()
    p.evaluate("""Object.defineProperty(document, "visibilityState", { get: () => window.seenState || "visible" });
        window.seenState = "hidden"; document.dispatchEvent(new Event("visibilitychange"))""")
    p.wait_for_timeout(300)
    n = len(p.asked)
    p.wait_for_timeout(4500)
    assert len(p.asked) == n, p.asked[n:]
    p.evaluate("window.seenState = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    p.wait_for_timeout(500)
    assert len(p.asked) > n
    p.context.close()


def with_keys_nothing_goes_without_one():
    HOME.run("key", "new")
    user, admin = HOME.add_key("alice"), HOME.add_key("root", "--admin")
    with HOME.serve("--keys", HOME.path("keys.json"), "--audit", HOME.path("audit.log"),
                    models=["smollm2=" + MODEL]) as s:
        p = page(url=s.url)
        assert p.locator("#model option").inner_text() == "An API key is wanted"
        assert "wants a key" in p.inner_text("#key-hint")
        ask(p, "Hello", wait=False)
        p.wait_for_selector(".refusal")
        assert p.evaluate("document.activeElement.id") == "key"
        for key, is_admin in ((user, False), (admin, True)):
            p.fill("#key", key)
            p.press("#key", "Tab")
            p.wait_for_selector("#model option[value=smollm2]", state="attached")
            ask(p, FRANCE)
            assert "Paris" in last(p).inner_text()
            p.click("#view-server")
            for tab in ("sessions", "audit", "log"):
                p.click("#tab-" + tab)
                p.wait_for_selector("#panel-admin :is(td, .note)")
                text = p.inner_text("#panel-admin")
                assert bool(p.locator("#panel-admin .note button").count()) != is_admin, (tab, text)
                if is_admin and tab == "audit":
                    assert "request" in text and "of log" in text and "smollm2" in text, text
                if is_admin and tab == "log":
                    assert "alice" in text and "root" in text, text
                assert "capital" not in text
            p.click("#view-chat")
        kept = p.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie, location.href]")
        assert admin in kept[1] and admin not in kept[0] + kept[2] + kept[3] and user not in str(kept), kept
        p.reload()
        p.wait_for_selector("#model option[value=smollm2]", state="attached")
        p.context.close()
        p = page(url=s.url)
        assert p.input_value("#key") == ""
        p.context.close()


# --- pictures -------------------------------------------------------------------------------------

def busy(s, keys, n):
    """n answers at a time, until they are told to end."""
    over = threading.Event()

    def go_on(i):
        while not over.is_set():
            body = {"prompt": "Once upon a time, in house %d, there was" % i, "max_tokens": 400, "ignore_eos": True}
            s.ask("POST", "/v1/completions", body, bearer(keys[i % len(keys)]))
    threads = [threading.Thread(target=go_on, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()

    def end():
        over.set()
        for t in threads:
            t.join()
    return end


def picture(p, path):
    from PIL import Image
    p.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(path, optimize=True)
    assert os.path.getsize(path) < 150000, os.path.getsize(path)
    p.context.close()


def screenshots(folder):
    """For docs/; Pillow is wanted."""
    keys = [HOME.add_key(name, file="picture.json") for name in ("alice", "press-hall", "night-shift")]
    admin = HOME.add_key("operator", "--admin", file="picture.json")
    with HOME.serve("--keys", HOME.path("picture.json"), "--slots", "3", models=[NAME + "=" + MODEL]) as s:
        end = busy(s, keys, 2)
        for name, size in (("light", (1280, 800)), ("phone", (360, 740)), ("dark", (1280, 800))):
            p = page(size, url=s.url, color_scheme="dark" if name == "dark" else "light")
            p.evaluate("""k => { const e = document.getElementById("key"); e.value = k;
                e.dispatchEvent(new Event("change")); }""", admin)
            p.wait_for_selector("#model option[value^=smollm2]", state="attached")
            if name == "dark":
                p.click("#view-server")
                p.wait_for_timeout(22000)
            else:
                ask(p, "Write a Python function that reverses a string.", **{"max-tokens": 300})
                p.wait_for_timeout(20000 if name == "light" else 500)
            if name == "light":
                end()
                end = busy(s, keys, 5)
            picture(p, os.path.join(folder, "console-%s.png" % name))
        end()


TESTS = [the_page_is_quiet_and_asks_nobody_else, inline_code_does_not_run, an_answer_streams_and_ends_and_nothing_jumps,
         an_answer_can_be_stopped, again_makes_the_last_answer_again, a_conversation_can_be_taken_along,
         answers_keep_to_a_schema_and_a_bad_one_is_told_of, what_a_model_writes_is_text, markdown_is_what_it_means,
         no_text_takes_long, code_can_be_copied, all_can_be_done_with_a_keyboard, names_and_contrast,
         colours_are_the_systems_until_chosen, a_phone_shows_all_of_it, who_wants_no_motion_gets_none,
         the_panel_shows_what_is_going_on, nothing_is_asked_while_nobody_looks, with_keys_nothing_goes_without_one]


def main():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if not (MODEL and CHROMIUM and sync_playwright):
        print("1..0 # SKIP chromium, SLV_TEST_MODEL or SLV_TEST_PLAYWRIGHT is missing")
        return 0
    with sync_playwright() as play, HOME.serve(models=["smollm2=" + MODEL]) as server:
        state.update(server=server, browser=play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]))
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
