/* mesh.js: the mesh behind the server: who is there, what is shared, what changes. Asked for while
 * it is shown, and at no other time.
 *
 * Nodes stand on a ring, this one at its top; a line leads from it to each that answers, with the
 * time there and back. All that is drawn is in tables below, too. What nodes say becomes text and
 * attributes of elements made here, never markup. */
import { clock, count, make, note, table } from "./admin.js";
import { bytes } from "./live.js";

const $ = (id) => document.getElementById(id);

const CHANGES_MAX = 200; /* rows */
const TEXT_MAX = 1000;   /* characters of a value */
const LABELS_MAX = 24;   /* nodes; of more, names are in the table only */
const RTTS_MAX = 12;     /* the same, times */
const RTT_AT = 0.6;      /* of the way */
const WAIT_MS = 2000;    /* before a watch that ended is begun again */
const RING = { x: 200, y: 165, rx: 112, ry: 108 };

/* States: what the table says and the legend explains. */
const STATES = {
    alive: "alive",
    suspect: "suspect",
    dead: "dead",
    left: "has left",
    removed: "removed",
};

const short = (id) => String(id).slice(0, 8);
const round = (n) => Math.round(n * 10) / 10;
const ms = (n) => (n >= 100 ? n.toFixed(0) : n >= 1 ? n.toFixed(1) : n.toFixed(2)) + " ms";
const isThere = (m) => m.state === "alive" || m.state === "suspect";
/* Whether there is a way to it. */
const isNear = (m) => !m.self && isThere(m) && m.connected;

/* A node's answer as the page has it: only what is used, and of the type that it should be. */
function read(status) {
    const list = (v) => (Array.isArray(v) ? v : []);
    const strong = status.strong && typeof status.strong === "object" ? status.strong : null;
    const group = strong ? list(strong.members) : [];
    const roles = new Map(group.map((m) => [String(m.id), String(m.role)]));
    const members = list(status.members).map((m) => ({
        id: String(m.id),
        state: Object.hasOwn(STATES, m.state) ? m.state : "removed",
        self: m.self === true,
        connected: m.connected === true,
        rtt: Number(m.rtt_ms) || 0, /* 0: not known yet */
        role: roles.get(String(m.id)) || "",
        leads: !!strong && !!strong.leader && String(strong.leader) === String(m.id),
    }));
    members.sort((a, b) => b.self - a.self || (a.id < b.id ? -1 : 1));
    const spaces = list(status.spaces).map((s) => ({
        name: String(s.name),
        type: String(s.type),
        order: String(s.order),
        entries: Number(s.entries) || 0,
    }));
    return { status, members, spaces, strong };
}

/* --- the ring ------------------------------------------------------------------------------- */

function draw(tag, attributes, cls, text) {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, String(value));
    if (cls) e.setAttribute("class", cls);
    if (text !== undefined) e.textContent = text;
    return e;
}

/* Where the i-th of n stands: the first at the top, the others clockwise. */
function place(i, n) {
    const angle = (2 * Math.PI * i) / n - Math.PI / 2;
    const dx = Math.cos(angle), dy = Math.sin(angle);
    const out = n === 1 ? 0 : 1;
    return { x: round(RING.x + RING.rx * out * dx), y: round(RING.y + RING.ry * out * dy), dx, dy };
}

/* "voter" is filled where there is a group; where there is none, all are. */
function classOf(m, hasGroup) {
    const isFilled = isThere(m) && (!hasGroup || m.role === "voter");
    return `node ${m.state}${isFilled ? " filled" : ""}`;
}

/* A circle with its marks, around 0, 0. */
function drawMark(m, r, hasGroup) {
    const g = draw("g", {}, classOf(m, hasGroup));
    if (m.leads) g.append(draw("circle", { r: r + 5 }, "leads"));
    g.append(draw("circle", { r }, "body"));
    if (m.self) g.append(draw("circle", { r: r * 0.35 }, "dot"));
    if (m.state === "dead") {
        const k = round(r * 0.45);
        g.append(draw("path", { d: `M${-k} ${-k}L${k} ${k}M${k} ${-k}L${-k} ${k}` }, "cross"));
    }
    return g;
}

function drawLabel(m, p, r) {
    const anchor = Math.abs(p.dx) < 0.3 ? "middle" : p.dx > 0 ? "start" : "end";
    const more = m.self ? "this node" : m.state === "alive" ? "" : STATES[m.state];
    const half = more ? 7 : 0; /* of the distance of two lines */
    const x = round(p.x + p.dx * (r + 9));
    const middle = p.y + p.dy * (r + 9 + (anchor === "middle" ? 2 + half : 0));
    const text = draw("text", { x, y: round(middle + 4 - half), "text-anchor": anchor }, "name");
    text.append(draw("tspan", { x }, "", short(m.id)));
    if (more) text.append(draw("tspan", { x, dy: 2 * half }, "state", more));
    return text;
}

/* The line from this node to another one, and what stands at it. */
function drawWay(m, from, to, isNamed) {
    const line = draw("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y }, "way " + m.state);
    if (!isNamed) return [line];
    const x = round(from.x + (to.x - from.x) * RTT_AT);
    const y = round(from.y + (to.y - from.y) * RTT_AT + 4);
    return [line, draw("text", { x, y, "text-anchor": "middle" }, "rtt", ms(m.rtt))];
}

function drawNode(m, p, r, hasGroup) {
    const g = drawMark(m, r, hasGroup);
    g.setAttribute("transform", `translate(${p.x} ${p.y})`);
    g.append(draw("title", {}, "", `${m.id}: ${STATES[m.state]}`));
    return g;
}

/* Ways lie below nodes, and names above all. */
function drawRing(members, hasGroup) {
    const n = members.length;
    const r = Math.max(4, Math.min(17, 220 / Math.max(1, n)));
    const places = members.map((m, i) => place(i, n));
    const self = members.findIndex((m) => m.self);
    const ways = members.flatMap((m, i) => (self >= 0 && isNear(m)
        ? drawWay(m, places[self], places[i], n <= RTTS_MAX && m.rtt > 0) : []));
    const nodes = members.map((m, i) => drawNode(m, places[i], r, hasGroup));
    const names = n > LABELS_MAX ? []
        : members.map((m, i) => drawLabel(m, places[i], r + (m.leads ? 5 : 0)));
    $("mesh-ring").replaceChildren(...ways, ...nodes, ...names);
}

/* What a picture says in words. */
function ringText(members) {
    const parts = Object.keys(STATES).map((s) => [members.filter((m) => m.state === s).length, s])
        .filter(([n]) => n).map(([n, s]) => `${n} ${STATES[s]}`);
    const nodes = `${members.length} node${members.length === 1 ? "" : "s"}`;
    return `${nodes}: ${parts.join(", ")}. The table below has them.`;
}

/* Marks of the states that there are, and of the group's. */
function drawLegend(members, hasGroup) {
    const states = Object.keys(STATES).filter((s) => members.some((m) => m.state === s));
    const rows = states.map((state) => [{ state, role: "voter" }, STATES[state]]);
    if (hasGroup) {
        rows.push([{ state: "alive", role: "voter", leads: true }, "leads the group"]);
        rows.push([{ state: "alive", role: "" }, "does not vote"]);
    }
    $("mesh-legend").replaceChildren(...rows.map(([m, text]) => {
        const li = make("li");
        const svg = draw("svg", { viewBox: "-13 -13 26 26", "aria-hidden": "true" });
        svg.append(drawMark(m, 7, hasGroup));
        li.append(svg, make("span", "", text));
        return li;
    }));
}

/* --- facts and tables ----------------------------------------------------------------------- */

function factsOf({ status, strong, members }) {
    const rows = [
        ["node", short(status.node)],
        ["connected to", count(status.connected || 0)],
        ["others answer", status.local_only ? "none: it is on its own" : "yes"],
        ["sent, before encryption", bytes(Number(status.bytes_sent) || 0)],
        ["received", bytes(Number(status.bytes_received) || 0)],
    ];
    if (!strong) return rows;
    const leader = members.find((m) => m.leads);
    return rows.concat([
        ["leader of the group", leader ? short(leader.id) : "none known"],
        ["its term", count(strong.term || 0)],
        ["part of this node", strong.role || "–"],
        ["entries applied here", count(strong.applied || 0)],
    ]);
}

function showFacts(rows) {
    $("mesh-facts").replaceChildren(...rows.map(([name, value]) => {
        const div = make("div");
        div.append(make("dt", "", name), make("dd", "", String(value)));
        return div;
    }));
}

const NODES = {
    columns: [
        ["Node", "mono", (m) => m.id + (m.self ? ", this one" : "")],
        ["State", "", (m) => [STATES[m.state], "chip " + m.state]],
        ["There and back", "num", (m) => (isNear(m) && m.rtt > 0 ? ms(m.rtt) : "–")],
        ["In the group", "", (m) => (m.leads ? "leader" : m.role || "–")],
    ],
};
const SPACES = {
    columns: [
        ["Space", "", (s) => s.name],
        ["Type", "", (s) => s.type],
        ["Order", "", (s) => s.order],
        ["Entries", "num", (s) => count(s.entries)],
    ],
};
const CHANGES = {
    columns: [
        ["Time", "", (c) => clock(c.at)],
        ["Key", "", (c) => c.key],
        ["Value", "wide", (c) => c.text],
    ],
};

function valueText(event) {
    if (event.value === null || event.value === undefined) return "gone";
    const text = typeof event.value === "string" ? event.value : JSON.stringify(event.value);
    return text.length > TEXT_MAX ? text.slice(0, TEXT_MAX) + "…" : text;
}

/* --- all of it ------------------------------------------------------------------------------ */

export class Mesh {
    /* ask(path, options) fetches with the key; events(body) reads a stream; needKey() shows where
     * to give a key. */
    constructor(ask, events, needKey) {
        this.ask = ask;
        this.events = events;
        this.needKey = needKey;
        this.open = false;
        this.shown = {};
        this.turn = 0;
        this.changes = [];
        this.watch = null; /* the AbortController of the one that runs */
        this.space = "";   /* it is of */
        this.again = 0;    /* when one may be begun */
        $("mesh-space").addEventListener("change", () => this.choose());
        document.addEventListener("visibilitychange", () => this.look());
    }

    newKey() {
        this.end();
        this.refresh();
    }

    /* Nothing is asked while nobody looks. */
    look() {
        if (this.open && document.visibilityState === "visible") return true;
        this.end();
        return false;
    }

    say(text, isRefused) {
        this.end();
        $("mesh-note").replaceChildren(note(text, isRefused, this.needKey));
        $("mesh-note").hidden = false;
        $("mesh-body").hidden = true;
    }

    /* Calls fn if what it shows is not what it showed before. */
    put(name, what, fn) {
        const text = JSON.stringify(what);
        if (this.shown[name] === text) return;
        this.shown[name] = text;
        fn();
    }

    async refresh() {
        if (!this.look()) return;
        const turn = ++this.turn;
        let reply, body;
        try {
            reply = await this.ask("/mesh/status");
            body = await reply.json();
        } catch {
            reply = null;
        }
        if (turn !== this.turn || !this.look()) return; /* another one was asked for meanwhile */
        if (!reply) return this.say("The server does not answer.");
        const isRefused = reply.status === 401 || reply.status === 403;
        if (!reply.ok) return this.say(body.error.message + ".", isRefused);
        this.show(read(body));
        this.follow();
    }

    show(mesh) {
        const { members, spaces, strong, status } = mesh;
        const name = status.mesh ? `Nodes of ${status.mesh}` : "Nodes";
        $("mesh-note").hidden = true;
        $("mesh-body").hidden = false;
        if ($("mesh-name").textContent !== name) $("mesh-name").textContent = name;
        this.put("ring", [members, !!strong], () => {
            drawRing(members, !!strong);
            $("mesh-ring").setAttribute("aria-label", ringText(members));
        });
        const states = members.map((m) => m.state);
        this.put("legend", [states, !!strong], () => drawLegend(members, !!strong));
        const facts = factsOf(mesh);
        this.put("facts", facts, () => showFacts(facts));
        this.put("nodes", members, () => $("mesh-nodes").replaceChildren(table(NODES, members)));
        this.put("spaces", spaces, () => $("mesh-spaces").replaceChildren(
            spaces.length ? table(SPACES, spaces) : note("The node shares no space.")));
        this.put("names", spaces.map((s) => s.name), () => this.fill(spaces));
    }

    /* --- changes ---------------------------------------------------------------------------- */

    fill(spaces) {
        const select = $("mesh-space");
        const chosen = select.value;
        select.replaceChildren(...spaces.map((s) => {
            const o = make("option", "", s.name);
            o.value = s.name;
            return o;
        }));
        if (spaces.some((s) => s.name === chosen)) select.value = chosen;
        if (select.value !== chosen) this.choose();
    }

    choose() {
        this.end();
        this.again = 0;
        this.changes = [];
        this.list();
        this.follow();
    }

    end() {
        if (this.watch) this.watch.abort();
        this.watch = null;
    }

    list() {
        const rows = this.changes;
        $("mesh-changes").replaceChildren(rows.length ? table(CHANGES, rows)
            : note("What changes from now on is shown here."));
    }

    follow() {
        const space = $("mesh-space").value;
        if (this.watch || !space || performance.now() < this.again || !this.look()) return;
        this.watch = new AbortController();
        this.run(space, this.watch);
    }

    /* Until the stream ends, or its controller says so. */
    async run(space, controller) {
        const says = (text) => {
            if (this.watch === controller) $("mesh-watching").textContent = text;
        };
        let why = "the watch has ended";
        try {
            const path = `/mesh/spaces/${encodeURIComponent(space)}/watch`;
            const reply = await this.ask(path, { signal: controller.signal });
            if (reply.ok) says("live");
            else why = (await reply.json()).error.message;
            if (reply.ok) for await (const data of this.events(reply.body)) {
                const event = JSON.parse(data);
                if (controller.signal.aborted) return;
                if (event.error) why = String(event.error.message);
                else this.add(event);
            }
        } catch {
            if (controller.signal.aborted) return;
        }
        says(why);
        if (this.watch !== controller) return;
        this.watch = null;
        this.again = performance.now() + WAIT_MS;
    }

    add(event) {
        this.changes.unshift({ at: Date.now(), key: String(event.key), text: valueText(event) });
        this.changes.length = Math.min(this.changes.length, CHANGES_MAX);
        if (this.drawn) return;
        this.drawn = true; /* at most once a frame */
        requestAnimationFrame(() => {
            this.drawn = false;
            this.list();
        });
    }
}
