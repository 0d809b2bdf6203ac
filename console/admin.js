/* admin.js: sessions, audit log and messages: what only an admin may see. Asked for while it is
 * shown, and at no other time. */

const $ = (id) => document.getElementById(id);
export const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
};

export const count = (n) => Number(n).toLocaleString("en");
const seconds = (ms) => (ms < 10000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)) + " s";
export const clock = (t) => {
    const d = new Date(t);
    const two = (n) => String(n).padStart(2, "0");
    const isToday = d.toDateString() === new Date().toDateString();
    const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} `;
    const time = [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(":");
    return isToday ? time : day + time;
};

/* What a record of the audit log says besides who, what and how much. */
function recordNote(r) {
    switch (r.type) {
    case "open":
        return `segment ${r.segment} of log ${r.log} begins`;
    case "start":
        return "opened again";
    case "sign":
        return `signed: ${r.why}`;
    case "key":
        return "another key signs from here on";
    case "torn":
        return `${r.bytes} bytes of an unfinished record were moved aside`;
    default:
        return "";
    }
}

/* Columns: heading, class, what it shows of a row. */
const VIEWS = {
    sessions: {
        path: "/v1/admin/sessions?last=500",
        none: "No answer is being made.",
        key: (r) => r.id + r.index,
        columns: [
            ["State", "", (r) => [r.state, "chip " + r.state]],
            ["Key", "", (r) => r.key || "–"],
            ["Model", "", (r) => r.model],
            ["Prompt", "num", (r) => count(r.prompt_tokens)],
            ["Tokens", "num", (r) => count(r.tokens)],
            ["Time", "num", (r) => seconds(r.ms)],
            ["Queued", "num", (r) => seconds(r.queued_ms)],
            ["Request", "mono", (r) => r.id],
        ],
    },
    audit: {
        path: "/v1/admin/audit?last=200",
        none: "No records yet.",
        unkept: "This server keeps no audit log: start it with --audit.",
        columns: [
            ["Record", "num", (r) => count(r.seq)],
            ["Time", "", (r) => clock(r.time)],
            ["Type", "", (r) => [r.type, "chip " + r.type]],
            ["Key", "", (r) => r.who || (r.type === "request" ? "–" : "")],
            ["Model", "", (r) => r.model || recordNote(r)],
            ["Prompt", "num", (r) => (r.type === "request" ? count(r.prompt_tokens) : "")],
            ["Answer", "num", (r) => (r.type === "request" ? count(r.output_tokens) : "")],
            ["Time taken", "num", (r) => (r.type === "request" ? seconds(r.ms) : "")],
            ["End", "", (r) => (r.type === "request" ? `${r.finish} ${r.status}` : "")],
        ],
    },
    log: {
        path: "/v1/admin/log?last=300",
        none: "No messages yet.",
        columns: [
            ["Time", "", (r) => clock(r.time_ms)],
            ["Level", "", (r) => [r.level, "chip " + r.level]],
            ["Message", "wide", (r) => r.msg],
        ],
    },
};
const NEWEST_FIRST = new Set(["audit", "log"]);

/* Rows as a table with view.columns, as above. */
export function table(view, rows) {
    const t = make("table");
    const head = make("tr");
    for (const [name, cls] of view.columns) {
        const th = make("th", cls, name);
        th.scope = "col";
        head.append(th);
    }
    const thead = make("thead");
    thead.append(head);
    const body = make("tbody");
    for (const r of rows) {
        const tr = make("tr");
        for (const [name, cls, show] of view.columns) {
            const value = show(r);
            const td = make("td", cls);
            td.dataset.name = name;
            if (Array.isArray(value)) td.append(make("span", value[1], value[0]));
            else td.textContent = value;
            tr.append(td);
        }
        body.append(tr);
    }
    t.append(thead, body);
    return t;
}

/* What is said in a panel's place; isRefused: and where to give a key. */
export function note(text, isRefused, needKey) {
    const p = make("p", "note", text);
    if (!isRefused) return p;
    const b = make("button", "plain", "Enter a key");
    b.type = "button";
    b.addEventListener("click", needKey);
    p.append(" ", b);
    return p;
}

export class Admin {
    /* ask(path) fetches with the key; needKey() shows where to give one. */
    constructor(ask, needKey) {
        this.ask = ask;
        this.needKey = needKey;
        this.name = "sessions";
        this.open = false;
        this.shown = "";
        this.turn = 0;
        this.tabs = [...document.querySelectorAll('[role="tab"]')];
        this.tabs.forEach((tab, i) => {
            tab.addEventListener("click", () => this.choose(tab));
            tab.addEventListener("keydown", (e) => {
                const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
                if (!step) return;
                e.preventDefault();
                const next = this.tabs[(i + step + this.tabs.length) % this.tabs.length];
                next.focus();
                this.choose(next);
            });
        });
    }

    choose(tab) {
        for (const t of this.tabs) {
            t.setAttribute("aria-selected", String(t === tab));
            t.tabIndex = t === tab ? 0 : -1;
        }
        $("panel-admin").setAttribute("aria-labelledby", tab.id);
        this.name = tab.id.slice(4);
        this.shown = "";
        $("panel-admin").replaceChildren();
        this.refresh();
    }

    say(text, button) {
        $("panel-admin").replaceChildren(note(text, button, this.needKey));
        this.shown = "";
    }

    async refresh() {
        if (!this.open) return;
        const view = VIEWS[this.name];
        const turn = ++this.turn;
        let reply, body;
        try {
            reply = await this.ask(view.path);
            body = await reply.json();
        } catch {
            reply = null;
        }
        if (turn !== this.turn) return; /* another one was asked for meanwhile */
        if (!reply) return this.say("The server does not answer.");
        const isRefused = reply.status === 401 || reply.status === 403;
        if (isRefused) return this.say(body.error.message + ".", true);
        if (!reply.ok) return this.say(body.error.message);
        if (!body.kept) return this.say(view.unkept);
        const rows = NEWEST_FIRST.has(this.name) ? body.data.reverse() : body.data;
        if (!rows.length) return this.say(view.none);
        const text = JSON.stringify(rows);
        if (text === this.shown) return;
        $("panel-admin").replaceChildren(table(view, rows));
        this.shown = text;
    }
}
