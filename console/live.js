/* live.js: what the server does now, from /metrics, asked every two seconds while the page is seen. */

const PERIOD_MS = 2000;
const SAMPLES = 60;

/* The text format of Prometheus as a map: name -> [{labels, value}]. */
export function parseMetrics(text) {
    const found = new Map();
    for (const line of text.split("\n")) {
        const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
        if (!m) continue;
        const labels = {};
        for (const l of (m[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g))
            labels[l[1]] = l[2].replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
        if (!found.has(m[1])) found.set(m[1], []);
        found.get(m[1]).push({ labels, value: Number(m[3]) });
    }
    return found;
}

const sum = (metrics, name) => (metrics.get(name) || []).reduce((n, s) => n + s.value, 0);

export function bytes(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
    return `${n.toFixed(i && n < 100 ? 1 : 0)} ${units[i]}`;
}

const $ = (id) => document.getElementById(id);
const put = (id, text) => {
    if ($(id).textContent !== text) $(id).textContent = text;
};

function meter(name, used, budget, text) {
    const bar = $(name + "-bar");
    const part = budget > 0 ? Math.min(1, used / budget) : 0;
    put(name + "-text", text);
    bar.setAttribute("aria-valuenow", String(Math.round(part * 100)));
    bar.setAttribute("aria-valuetext", text);
    bar.firstElementChild.style.transform = `scaleX(${part})`;
}

/* A line through the samples, the newest at the right edge. */
function spark(svg, samples) {
    const [, , w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
    const top = Math.max(1, ...samples);
    const x = (i) => (w * i) / (SAMPLES - 1);
    const y = (v) => h - 2 - (h - 4) * (v / top);
    const line = samples.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
    const paths = svg.querySelectorAll("path");
    paths[paths.length - 1].setAttribute("d", line);
    if (paths.length > 1) paths[0].setAttribute("d", `${line}L${w} ${h}L0 ${h}Z`);
}

export class Live {
    /* onTick(up, changed) is called with each answer of the server, and where there is none; changed:
     * models were loaded or unloaded. */
    constructor(onTick) {
        this.onTick = onTick;
        this.loads = null;
        this.changed = false;
        this.rates = new Array(SAMPLES).fill(0);
        this.last = null;
        this.timer = 0;
        document.addEventListener("visibilitychange", () => this.look());
        this.look();
    }

    look() {
        clearTimeout(this.timer);
        if (document.visibilityState === "visible") this.poll();
        else this.last = null; /* what happened unseen is not drawn */
    }

    async poll() {
        let ok = false;
        this.changed = false;
        try {
            const reply = await fetch("/metrics", { cache: "no-store", credentials: "omit" });
            ok = reply.ok;
            if (ok) this.show(parseMetrics(await reply.text()));
        } catch {
            ok = false;
        }
        if (!ok) this.lost();
        this.onTick(ok, this.changed);
        clearTimeout(this.timer);
        if (document.visibilityState === "visible")
            this.timer = setTimeout(() => this.poll(), PERIOD_MS);
    }

    lost() {
        this.last = null;
        for (const id of ["pulse-rate", "live-rate", "live-active", "live-waiting", "live-connections"])
            put(id, "–");
    }

    show(metrics) {
        const at = performance.now();
        const loads = `${sum(metrics, "selvage_models_loaded")} ${sum(metrics, "selvage_model_loads_total")}`;
        this.changed = this.loads !== null && this.loads !== loads;
        this.loads = loads;
        /* the first token of each answer, and those between tokens, are counted as they are made */
        const tokens = sum(metrics, "selvage_first_token_seconds_count") +
                       sum(metrics, "selvage_between_tokens_seconds_count");
        if (this.last && tokens >= this.last.tokens) {
            const rate = ((tokens - this.last.tokens) * 1000) / (at - this.last.at);
            this.rates.push(rate);
            this.rates.shift();
            const text = rate >= 100 ? rate.toFixed(0) : rate.toFixed(1);
            put("pulse-rate", text);
            put("live-rate", text);
            spark($("pulse-line"), this.rates);
            spark($("live-line"), this.rates);
        } else {
            for (const id of ["live-rate", "pulse-rate"]) put(id, "0.0");
        }
        this.last = { tokens, at };
        put("live-active", String(sum(metrics, "selvage_active")));
        put("live-waiting", String(sum(metrics, "selvage_waiting")));
        put("live-connections", String(sum(metrics, "selvage_connections")));
        const used = sum(metrics, "selvage_memory_planned_bytes");
        const budget = sum(metrics, "selvage_memory_budget_bytes");
        meter("memory", used, budget, `${bytes(used)} of ${bytes(budget)}`);
        const kv = sum(metrics, "selvage_kv_used_bytes");
        const kvBudget = sum(metrics, "selvage_kv_budget_bytes");
        meter("kv", kv, kvBudget, `${bytes(kv)} of ${bytes(kvBudget)}`);
        const hits = sum(metrics, "selvage_prefix_hits");
        const all = hits + sum(metrics, "selvage_prefix_misses");
        meter("hits", hits, all, all ? `${hits} of ${all} prompts` : "no prompts yet");
    }
}

/* Models as /v1/models lists them. */
export function showModels(list) {
    const ul = $("live-models");
    ul.replaceChildren(...list.map((m) => {
        const li = document.createElement("li");
        const name = document.createElement("span");
        const state = document.createElement("span");
        name.className = "name";
        name.textContent = m.id;
        state.className = "state";
        state.dataset.state = m.status;
        state.textContent = m.memory ? `${m.status}, ${bytes(m.memory)}` : m.status;
        li.append(name, state);
        return li;
    }));
}
