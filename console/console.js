/* console.js: the conversation and its settings.
 *
 * A conversation lives in this page and is gone with it. The API key is kept for the tab's session,
 * the choice of colours for the browser; nothing else is kept anywhere.
 *
 * An answer comes as server-sent events (HTML standard, 9.2) over fetch, and is drawn at most once
 * a frame by markdown.js, which never reads it as HTML. */
import { Admin } from "./admin.js";
import { Live, showModels } from "./live.js";
import { MarkdownView } from "./markdown.js";
import { Mesh } from "./mesh.js";

const $ = (id) => document.getElementById(id);
const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
};
const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    svg.setAttribute("aria-hidden", "true");
    use.setAttribute("href", "#i-" + name);
    svg.append(use);
    return svg;
};
const say = (text) => { $("status").textContent = text; };

const KEY = "selvage-key", THEME = "selvage-theme";
const store = (kind, name, value) => {
    try {
        if (value === undefined) return window[kind].getItem(name);
        if (value) window[kind].setItem(name, value);
        else window[kind].removeItem(name);
    } catch {
        /* storage is switched off */
    }
    return null;
};

/* {role, content, error?, stats?}; the last one is being written while `running`. */
const talk = [];
const rows = []; /* their elements */
let running = null; /* the AbortController of the answer */
let models = [];

/* --- asking the server ---------------------------------------------------------------------- */

function ask(path, options = {}) {
    const headers = { ...options.headers };
    const key = $("key").value.trim();
    if (key) headers.Authorization = "Bearer " + key;
    return fetch(path, { cache: "no-store", credentials: "omit", ...options, headers });
}

async function errorOf(reply) {
    try {
        const e = (await reply.json()).error;
        return { status: reply.status, param: e.param || "", message: e.message };
    } catch {
        const message = `the server answers with status ${reply.status}`;
        return { status: reply.status, param: "", message };
    }
}

/* What went wrong without a status. */
const trouble = (message) => ({ status: 0, param: "", message });

/* The data of each event of a stream, as it comes. */
async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        rest += value;
        const parts = rest.split(/\r?\n\r?\n/);
        rest = parts.pop();
        for (const part of parts) {
            const data = part.split(/\r?\n/).filter((l) => l.startsWith("data:"))
                .map((l) => l.slice(5).replace(/^ /, "")).join("\n");
            if (data) yield data;
        }
    }
}

/* --- models and adapters -------------------------------------------------------------------- */

function option(value, text) {
    const o = make("option", "", text);
    o.value = value;
    return o;
}

function refill(select, options) {
    const chosen = select.value;
    const old = select.options;
    const isSame = (o, i) => o.value === old[i].value && o.text === old[i].text;
    if (options.length === old.length && options.every(isSame)) return;
    select.replaceChildren(...options);
    if (options.some((o) => o.value === chosen)) select.value = chosen;
}

function modelHint() {
    const m = models.find((x) => x.id === $("model").value);
    let hint = "\u00a0";
    if (m) {
        const states = { unloaded: "is loaded when it is asked", loading: "is being loaded",
            unloading: "is being unloaded", failed: "cannot be loaded: the server's log says why" };
        hint = m.status === "ready" ? `ready, ${m.context.toLocaleString("en")} positions`
            : states[m.status];
    }
    if ($("model-hint").textContent !== hint) $("model-hint").textContent = hint;
}

function keyWanted(wanted) {
    $("key").setAttribute("aria-invalid", String(wanted));
    $("key-hint").textContent = !wanted ? "Only where the server has keys. Forgotten with this tab."
        : $("key").value.trim() ? "The server does not take this key." : "This server wants a key.";
}

async function loadModels() {
    try {
        const reply = await ask("/v1/models");
        if (reply.status === 401) keyWanted(true);
        if (!reply.ok) {
            models = [];
            const why = reply.status === 401 ? "An API key is wanted" : "None to be had";
            refill($("model"), [option("", why)]);
            showModels(models);
            modelHint();
            return;
        }
        keyWanted(false);
        models = (await reply.json()).data;
    } catch {
        return; /* the pulse shows it */
    }
    const chat = models.filter((m) => m.kind !== "embeddings");
    refill($("model"), chat.map((m) => option(m.id, m.id)));
    showModels(models);
    modelHint();
    await loadAdapters();
}

async function loadAdapters() {
    try {
        const reply = await ask("/v1/adapters");
        const all = reply.ok ? (await reply.json()).data : [];
        const list = all.filter((a) => a.model === $("model").value);
        $("adapter-field").hidden = !list.length;
        refill($("adapter"), [option("=", "As the server has it"), option("", "None"),
            ...list.map((a) => option("+" + a.name, a.name))]);
    } catch {
        $("adapter-field").hidden = true;
    }
}

/* --- settings ------------------------------------------------------------------------------- */

function schemaError(message) {
    $("schema-error").textContent = message;
    $("schema").setAttribute("aria-invalid", String(message !== ""));
    if (!message) return;
    $("schema-box").open = true;
    showSettings(true);
    $("schema").focus();
}

/* What is said so far; a question that got no answer is none of it, but for the last one. */
function told() {
    const isNothing = (m) => m && m.role === "assistant" && (m.error || !m.content);
    const some = talk.filter((m, i) => !isNothing(m) && !isNothing(talk[i + 1]));
    return some.map(({ role, content }) => ({ role, content }));
}

/* The request for the next answer; null, and said, where the schema is no JSON. */
function request() {
    const system = $("system").value.trim();
    const body = {
        model: $("model").value,
        messages: told(),
        stream: true,
        stream_options: { include_usage: true },
    };
    if (system) body.messages.unshift({ role: "system", content: system });
    if ($("temperature").value !== "") body.temperature = Number($("temperature").value);
    if ($("max-tokens").value !== "") body.max_tokens = Number($("max-tokens").value);
    if ($("seed").value !== "") body.seed = Number($("seed").value);
    const adapter = $("adapter-field").hidden ? "=" : $("adapter").value;
    if (adapter !== "=") body.adapters = adapter ? [adapter.slice(1)] : [];
    const text = $("schema").value.trim();
    schemaError("");
    if (!text) return body;
    try {
        const schema = JSON.parse(text);
        const named = { name: "answer", schema, strict: true };
        body.response_format = { type: "json_schema", json_schema: named };
    } catch (e) {
        schemaError("Not JSON: " + e.message);
        return null;
    }
    return body;
}

function showSettings(open) {
    document.body.classList.toggle("settings-open", open);
    $("open-settings").setAttribute("aria-expanded", String(open));
}

/* --- the conversation ----------------------------------------------------------------------- */

const log = $("log");
const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function action(name, text, fn) {
    const b = make("button", "quiet");
    b.type = "button";
    b.append(icon(name), make("span", "", text));
    b.addEventListener("click", () => fn(b));
    return b;
}

async function copy(text, button) {
    const label = button.lastElementChild || button;
    const before = label.textContent;
    try {
        await navigator.clipboard.writeText(text);
        label.textContent = "Copied";
        say("Copied");
    } catch {
        label.textContent = "Not allowed";
    }
    setTimeout(() => { label.textContent = before; }, 1500);
}

function addRow(message) {
    const row = make("article", "message " + message.role);
    row.append(make("h3", "hidden", message.role === "user" ? "You" : "Answer"));
    const body = make("div", "body");
    row.append(body);
    if (message.role === "user") {
        body.textContent = message.content;
    } else {
        row.append(make("div", "foot"));
        row.view = new MarkdownView(body);
        row.view.update(message.content);
    }
    $("empty").hidden = true;
    log.append(row);
    rows.push(row);
    return row;
}

function statsText(s) {
    const parts = [];
    if (s.tokens) parts.push(`${s.tokens} token${s.tokens === 1 ? "" : "s"}`);
    if (s.rate) parts.push(`${s.rate.toFixed(1)} tokens/s`);
    if (s.first >= 1000) parts.push(`first after ${(s.first / 1000).toFixed(1)} s`);
    else if (s.first) parts.push(`first after ${Math.round(s.first)} ms`);
    if (s.cached) parts.push(`${s.cached} known before`);
    const ends = { length: "cut at its longest", timeout: "out of time", stopped: "stopped" };
    if (ends[s.finish]) parts.push(ends[s.finish]);
    return parts.join(" · ");
}

/* What stands below the last answer; those before lose their button to make it again. */
function addFoot(message, row) {
    const foot = row.querySelector(".foot");
    const parts = [make("span", "stats", statsText(message.stats))];
    if (message.content) parts.push(action("copy", "Copy", (b) => copy(message.content, b)));
    parts.push(action("again", "Again", again));
    for (const r of rows.slice(0, -1)) r.querySelector(".again-button")?.remove();
    parts[parts.length - 1].classList.add("again-button");
    foot.replaceChildren(...parts);
}

function addError(message, row, error) {
    message.error = true;
    row.classList.add("failed");
    row.querySelector(".body").append(make("p", "refusal", error.message));
}

function setRunning(controller) {
    running = controller;
    log.setAttribute("aria-busy", String(!!running));
    $("send").classList.toggle("is-stop", !!running);
    $("send").setAttribute("aria-label", running ? "Stop" : "Send");
    $("send-icon").setAttribute("href", running ? "#i-stop" : "#i-send");
    tools();
}

function tools() {
    $("send").disabled = !running && !$("ask").value.trim();
    const none = !talk.length || !!running;
    for (const id of ["export-md", "export-json", "clear"]) $(id).disabled = none;
    for (const b of log.querySelectorAll(".again-button")) b.disabled = !!running;
}

/* Reads the answer into message and row. Returns what went wrong, or null. */
async function read(body, message, row, signal) {
    const begun = performance.now();
    const s = message.stats;
    let drawn = true, failed = null, first = 0, last = 0;
    const draw = () => {
        const follow = isAtEnd();
        drawn = true;
        row.view.update(message.content);
        if (follow) toEnd();
    };
    try {
        const reply = await ask("/v1/chat/completions", {
            method: "POST",
            signal,
            body: JSON.stringify(body),
            headers: { "Content-Type": "application/json" },
        });
        if (!reply.ok) return await errorOf(reply);
        for await (const data of events(reply.body)) {
            if (data === "[DONE]") break;
            const event = JSON.parse(data);
            if (event.error) failed = trouble(event.error.message);
            const choice = event.choices?.[0];
            if (choice?.delta?.content) {
                last = performance.now();
                first = first || last;
                message.content += choice.delta.content;
                if (drawn) requestAnimationFrame(draw);
                drawn = false;
            }
            if (choice?.finish_reason) s.finish = choice.finish_reason;
            if (event.usage) {
                s.tokens = event.usage.completion_tokens;
                s.cached = event.usage.prompt_tokens_details?.cached_tokens || 0;
            }
        }
        if (!s.finish && !failed) failed = trouble("the connection ended before the answer did");
    } catch (e) {
        if (signal.aborted) s.finish = "stopped";
        else failed = trouble("the server cannot be reached: " + e.message);
    }
    draw();
    if (first) s.first = first - begun;
    if (s.tokens > 1 && last > first) s.rate = ((s.tokens - 1) * 1000) / (last - first);
    return failed;
}

async function answer() {
    const body = request();
    if (!body || running) return;
    const message = { role: "assistant", content: "", stats: {} };
    const controller = new AbortController();
    setRunning(controller);
    say("The answer is being made");
    const row = addRow(message);
    row.classList.add("writing");
    talk.push(message);
    toEnd();
    const failed = await read(body, message, row, controller.signal);
    row.classList.remove("writing");
    setRunning(null);
    if (failed) {
        const isSchema = failed.param.startsWith("response_format");
        if (isSchema) schemaError(failed.message);
        if (isSchema) failed.message = "The schema " + failed.message;
        addError(message, row, failed);
        if (failed.status === 401) needKey();
    }
    const follow = isAtEnd();
    addFoot(message, row);
    if (follow) toEnd();
    if (failed) say("Refused: " + failed.message);
    else say(message.stats.finish === "stopped" ? "Stopped" : "The answer has ended");
    tools();
}

function again() {
    if (running || !talk.length || !request()) return;
    while (talk.length && talk[talk.length - 1].role === "assistant") {
        talk.pop();
        rows.pop().remove();
    }
    $("ask").focus();
    answer();
}

function send() {
    const text = $("ask").value.trim();
    if (!text || running || !request()) return;
    const message = { role: "user", content: text };
    talk.push(message);
    addRow(message);
    $("ask").value = "";
    grow();
    showSettings(false);
    answer();
}

function clear() {
    talk.length = 0;
    for (const row of rows.splice(0)) row.remove();
    $("empty").hidden = false;
    say("Cleared");
    tools();
    $("ask").focus();
}

/* --- taking it along ------------------------------------------------------------------------ */

function download(name, type, text) {
    const a = make("a");
    a.href = URL.createObjectURL(new Blob([text], { type }));
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}

const stamp = () => new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-");

function exportJson() {
    const { stream, stream_options, messages, ...settings } = request() || {};
    const system = messages?.[0]?.role === "system" ? [messages[0]] : [];
    download(`conversation-${stamp()}.json`, "application/json", JSON.stringify({
        ...settings, messages: [...system, ...told()],
    }, null, 2) + "\n");
}

function exportMarkdown() {
    const title = { user: "## Question", assistant: "## Answer" };
    const parts = told().map((m) => `${title[m.role]}\n\n${m.content.trim()}\n`);
    parts.unshift(`# Conversation with ${$("model").value}\n`);
    download(`conversation-${stamp()}.md`, "text/markdown", parts.join("\n"));
}

/* --- the page ------------------------------------------------------------------------------- */

/* The box is as high as its text, up to a third of the window. */
function grow() {
    const box = $("ask");
    box.style.height = "auto";
    box.style.height = Math.min(box.scrollHeight, Math.max(96, window.innerHeight / 3)) + "px";
    tools();
}

function isDark() {
    const set = document.documentElement.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function themeButton() {
    $("theme-icon").setAttribute("href", isDark() ? "#i-sun" : "#i-moon");
    $("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
}

function switchTheme() {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    store("localStorage", THEME, next);
    themeButton();
}

let admin, mesh;

function view(name) {
    document.body.dataset.view = name;
    for (const v of ["chat", "server", "mesh"]) {
        if (v === name) $("view-" + v).setAttribute("aria-current", "page");
        else $("view-" + v).removeAttribute("aria-current");
    }
    admin.open = name === "server";
    mesh.open = name === "mesh";
    showSettings(false);
    admin.refresh();
    mesh.refresh();
}

function needKey() {
    if (document.body.dataset.view !== "chat") view("chat");
    showSettings(true);
    $("key").focus();
}

/* What keys do: Enter sends, Escape stops, or closes the settings where they lie over the page. */
function keys(e) {
    if (e.key !== "Escape") return;
    if (running) running.abort();
    else if (document.body.classList.contains("settings-open")) {
        showSettings(false);
        $("open-settings").focus();
    }
}

const EXAMPLE = {
    type: "object",
    properties: {
        name: { type: "string" },
        kind: { enum: ["plant", "animal", "mineral"] },
        colours: { type: "array", items: { type: "string" }, maxItems: 3 },
    },
    required: ["name", "kind", "colours"],
    additionalProperties: false,
};

function wire() {
    $("composer").addEventListener("submit", (e) => {
        e.preventDefault();
        if (running) running.abort();
        else send();
    });
    $("ask").addEventListener("input", grow);
    $("ask").addEventListener("keydown", (e) => {
        if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
        e.preventDefault();
        send();
    });
    $("ideas").addEventListener("click", (e) => {
        if (e.target.tagName !== "BUTTON") return;
        $("ask").value = e.target.textContent;
        grow();
        $("ask").focus();
    });
    log.addEventListener("click", (e) => {
        const b = e.target.closest("[data-copy]");
        if (b) copy(b.closest("figure").querySelector("pre").textContent, b);
    });
    $("schema").addEventListener("input", () => {
        $("schema-on").hidden = !$("schema").value.trim();
        schemaError("");
    });
    $("schema-example").addEventListener("click", () => {
        $("schema").value = JSON.stringify(EXAMPLE, null, 2);
        $("schema").dispatchEvent(new Event("input"));
    });
    $("model").addEventListener("change", () => { modelHint(); loadAdapters(); });
    $("key").addEventListener("change", () => {
        store("sessionStorage", KEY, $("key").value.trim());
        loadModels();
        admin.refresh();
        mesh.newKey();
    });
    $("export-json").addEventListener("click", exportJson);
    $("export-md").addEventListener("click", exportMarkdown);
    $("clear").addEventListener("click", clear);
    $("theme").addEventListener("click", switchTheme);
    $("view-chat").addEventListener("click", () => view("chat"));
    $("view-server").addEventListener("click", () => view("server"));
    $("view-mesh").addEventListener("click", () => view("mesh"));
    $("open-settings").addEventListener("click", () => {
        const open = !document.body.classList.contains("settings-open");
        if (document.body.dataset.view !== "chat") view("chat");
        showSettings(open);
        if (open) $("close-settings").focus();
    });
    $("close-settings").addEventListener("click", () => {
        showSettings(false);
        $("open-settings").focus();
    });
    document.addEventListener("keydown", keys);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeButton);
    window.addEventListener("resize", grow);
    window.addEventListener("focus", loadModels);
}

/* Whether there is a mesh: then it has a view. */
async function lookForMesh() {
    try {
        const health = await (await fetch("/health?live", { cache: "no-store" })).json();
        $("view-mesh").hidden = !health.mesh;
    } catch {
        return; /* the pulse shows it */
    }
    if ($("view-mesh").hidden && mesh.open) view("chat");
}

function start() {
    let wasUp = true;
    $("key").value = store("sessionStorage", KEY) || "";
    admin = new Admin(ask, needKey);
    mesh = new Mesh(ask, events, needKey);
    wire();
    themeButton();
    grow();
    loadModels();
    lookForMesh();
    /* asking for models counts as a request of the key: only when there is something new */
    new Live((up, changed) => {
        document.body.classList.toggle("down", !up);
        const isMoving = models.some((m) => m.status.endsWith("loading"));
        if (up && (!wasUp || changed || isMoving)) loadModels();
        if (up && !wasUp) lookForMesh();
        if (admin.open) admin.refresh();
        mesh.refresh();
        wasUp = up;
    });
    if (matchMedia("(hover: hover)").matches) $("ask").focus();
}

start();
