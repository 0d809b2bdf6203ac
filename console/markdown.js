/* markdown.js: Markdown as nodes of the page.
 *
 * What a model writes is hostile: nothing here is ever read as HTML. Nodes are made one by one and
 * filled with text; the only attribute that comes from the text is the address of a link, and only
 * http and https are addresses. Pictures are not loaded; they become links.
 *
 * The part of Markdown that models write: headings, paragraphs, lists, quotes, tables, rules, code;
 * within them emphasis, code and links. Work is bounded: what is nested deeper than DEPTH, or spans
 * more than SPAN characters, is text.
 *
 * Sources: CommonMark 0.31, GitHub Flavored Markdown (tables, strikethrough, autolinks). */

const DEPTH = 8; /* of quotes, lists and emphasis in each other */
const SPAN = 4000; /* characters of emphasis, at most */
const LABEL = 1000;
const ADDRESS = 2000;
const COLUMNS = 40;

const make = (tag, cls) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    return e;
};

/* The address, or null where it is not one that a link may have. */
export function safeAddress(text) {
    try {
        const url = new URL(text.trim());
        return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
    } catch {
        return null;
    }
}

/* --- within a line -------------------------------------------------------------------------- */

const SPECIAL = /[\\`*_~[!<]|https?:\/\//g;
const isSpace = (c) => c === undefined || /\s/.test(c);
const isWord = (c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);

function addText(to, text) {
    const lines = text.split("\n");
    lines.forEach((line, i) => {
        if (i) to.append(make("br"));
        if (line) to.append(line);
    });
}

function addLink(to, address, depth, label) {
    const a = make("a");
    a.href = address;
    a.rel = "noopener noreferrer";
    a.target = "_blank";
    if (depth === null) a.append(label);
    else inline(label, a, depth);
    to.append(a);
}

/* `code`: where the run of backticks that began at i ends again. Each reader returns where it
 * stands behind what it took, or 0 if it was nothing. */
function code(s, i, to, dead) {
    let n = 1;
    while (s[i + n] === "`") n++;
    const run = "`".repeat(n);
    if (dead.has(run)) return 0;
    for (let at = s.indexOf(run, i + n); at >= 0; at = s.indexOf(run, at)) {
        let m = n;
        while (s[at + m] === "`") m++;
        if (m === n) {
            const e = make("code");
            const text = s.slice(i + n, at).replace(/\n/g, " ");
            e.append(/^ .*\S.* $/.test(text) ? text.slice(1, -1) : text);
            to.append(e);
            return at + n;
        }
        at += m;
    }
    dead.add(run);
    return 0;
}

/* *, **, _, __ and ~~ around something. */
function emphasis(s, i, to, depth, dead) {
    const c = s[i];
    const double = s[i + 1] === c;
    if (c === "~" && !double) return 0;
    for (const n of double ? (c === "~" ? [2] : [2, 1]) : [1]) {
        const mark = c.repeat(n);
        if (isSpace(s[i + n]) || (c === "_" && isWord(s[i - 1])) || dead.has(mark)) continue;
        const end = Math.min(s.length, i + SPAN);
        let at = s.indexOf(mark, i + n);
        if (at < 0) dead.add(mark);
        for (; at >= 0 && at < end; at = s.indexOf(mark, at + n)) {
            if (n === 1 && s[at + 1] === c) {
                at += 1; /* two of them belong to something else */
                continue;
            }
            if (s[at - 1] === "\\" || isSpace(s[at - 1]) || (c === "_" && isWord(s[at + n])) || at === i + n) continue;
            if (n === 2 && s[at + 2] === c) at++; /* ***both*** */
            const e = make(c === "~" ? "del" : n === 2 ? "strong" : "em");
            inline(s.slice(i + n, at), e, depth + 1);
            to.append(e);
            return at + n;
        }
    }
    return 0;
}

/* [label](address "title"); with ! before it a picture. */
function link(s, i, to, depth) {
    const open = s[i] === "!" ? i + 1 : i;
    if (s[open] !== "[") return 0;
    const near = s.slice(open + 1, open + LABEL);
    const middle = near.indexOf("](");
    if (middle < 0) return 0;
    const label = near.slice(0, middle);
    const begin = open + 1 + middle + 2;
    const rest = s.slice(begin, begin + ADDRESS);
    const m = /^\s{0,8}(<[^<>\n]*>|[^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)(?:\s{1,8}"[^"\n]*")?\s{0,8}\)/.exec(rest);
    if (!m) return 0;
    const address = safeAddress(m[1].replace(/^<|>$/g, ""));
    if (!address) return 0;
    addLink(to, address, depth + 1, label || address);
    return begin + m[0].length;
}

function autolink(s, i, to) {
    const angle = s[i] === "<";
    const near = s.slice(i + (angle ? 1 : 0), i + ADDRESS);
    const m = angle ? /^https?:\/\/[^\s<>]+>/.exec(near) : /^https?:\/\/[^\s<>"'`|*]+/.exec(near);
    if (!m) return 0;
    let text = angle ? m[0].slice(0, -1) : m[0].replace(/[.,:;!?)\]]+$/, "");
    if (!angle && m[0][text.length] === ")" && text.includes("(")) text += ")";
    const address = safeAddress(text);
    if (!address) return 0;
    addLink(to, address, null, text);
    return i + text.length + (angle ? 2 : 0);
}

/* Appends what a text within a block means. */
export function inline(s, to, depth = 0) {
    const dead = new Set(); /* marks of which there is no other one any more */
    let plain = "";
    let i = 0;
    if (depth > DEPTH) {
        addText(to, s);
        return;
    }
    while (i < s.length) {
        SPECIAL.lastIndex = i;
        const m = SPECIAL.exec(s);
        const at = m ? m.index : s.length;
        plain += s.slice(i, at);
        if (!m) break;
        const c = s[at];
        if (c === "\\" && /[!-/:-@[-`{-~]/.test(s[at + 1] || "")) {
            plain += s[at + 1];
            i = at + 2;
            continue;
        }
        const part = document.createDocumentFragment();
        let next = 0;
        if (c === "`") next = code(s, at, part, dead);
        else if (c === "[" || c === "!") next = link(s, at, part, depth);
        else if (c === "<" || c === "h") next = autolink(s, at, part);
        else if (c !== "\\") next = emphasis(s, at, part, depth, dead);
        if (next) {
            addText(to, plain);
            plain = "";
            to.append(part);
            i = next;
        } else {
            let n = 1; /* a run that means nothing is passed over as one */
            while ("`*_~".includes(c) && s[at + n] === c) n++;
            plain += s.slice(at, at + n);
            i = at + n;
        }
    }
    addText(to, plain);
}

/* --- blocks --------------------------------------------------------------------------------- */

/* None of them can match a line in more than one way, so that no line takes long. */
const FENCE = /^ {0,3}(`{3,}(?!`)|~{3,}(?!~))([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*))?$/;
const DIVIDER = /^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const isTable = (lines, i) =>
    lines[i].includes("|") && i + 1 < lines.length && lines[i + 1].includes("-") &&
    lines[i + 1].length < 4000 && DIVIDER.test(lines[i + 1]);

const begins = (lines, i) =>
    FENCE.test(lines[i]) || HEADING.test(lines[i]) || RULE.test(lines[i]) || ITEM.test(lines[i]) ||
    /^ {0,3}>/.test(lines[i]) || isTable(lines, i);

const indent = (line) => line.length - line.trimStart().length;

/* Where the list that begins at `from` ends: items, and what is indented below them. */
function listEnd(lines, from) {
    const base = indent(lines[from]);
    const ordered = /\d/.test(ITEM.exec(lines[from])[2]);
    let i = from + 1;
    for (; i < lines.length; i++) {
        const line = lines[i];
        if (!line.trim()) {
            const next = lines[i + 1];
            if (next === undefined || !next.trim()) break;
            const item = ITEM.exec(next);
            if (indent(next) > base || (item && /\d/.test(item[2]) === ordered)) continue;
            break;
        }
        const item = ITEM.exec(line);
        if (item && indent(line) <= base && /\d/.test(item[2]) !== ordered) break;
        if (!item && indent(line) <= base && begins(lines, i)) break;
    }
    return i;
}

function blockEnd(lines, i) {
    const fence = FENCE.exec(lines[i]);
    let end = i + 1;
    if (fence) {
        const closes = (line) => {
            const t = line.trim();
            return t.length >= fence[1].length && t === fence[1][0].repeat(t.length);
        };
        while (end < lines.length && !closes(lines[end])) end++;
        return ["code", Math.min(end + 1, lines.length)];
    }
    if (HEADING.test(lines[i])) return ["heading", end];
    if (RULE.test(lines[i])) return ["rule", end];
    if (/^ {0,3}>/.test(lines[i])) {
        while (end < lines.length && /^ {0,3}>/.test(lines[end])) end++;
        return ["quote", end];
    }
    if (ITEM.test(lines[i])) return ["list", listEnd(lines, i)];
    if (isTable(lines, i)) {
        end++;
        while (end < lines.length && lines[end].includes("|")) end++;
        return ["table", end];
    }
    while (end < lines.length && lines[end].trim() && !begins(lines, end)) end++;
    return ["text", end];
}

/* The blocks of a text: what each is, and its lines. */
function blocks(lines) {
    const found = [];
    for (let i = 0; i < lines.length;) {
        if (!lines[i].trim()) {
            i++;
            continue;
        }
        const [kind, end] = blockEnd(lines, i);
        found.push({ kind, lines: lines.slice(i, end) });
        i = end;
    }
    return found;
}

function codeBlock(lines) {
    const [, mark, info] = FENCE.exec(lines[0]);
    const last = lines.length > 1 ? lines[lines.length - 1].trim() : "";
    const closed = last.length >= mark.length && last === mark[0].repeat(last.length);
    const text = lines.slice(1, closed ? -1 : undefined).join("\n");
    const figure = make("figure", "code");
    const head = make("figcaption");
    const name = make("span");
    name.textContent = info.trim().split(/\s/)[0].slice(0, 30) || "text";
    const copy = make("button", "quiet");
    copy.type = "button";
    copy.textContent = "Copy";
    copy.dataset.copy = "code";
    copy.setAttribute("aria-label", "Copy this code");
    head.append(name, copy);
    const pre = make("pre");
    pre.tabIndex = 0;
    const inner = make("code");
    inner.textContent = text;
    pre.append(inner);
    figure.append(head, pre);
    return figure;
}

/* A row's cells: bars outside of code, and not escaped, divide. */
function cells(line) {
    const t = line.trim().replace(/^\|/, "").replace(/\|$/, "");
    const found = [""];
    let inCode = false;
    for (let i = 0; i < t.length && found.length <= COLUMNS; i++) {
        if (t[i] === "\\" && t[i + 1] === "|") found[found.length - 1] += t[++i];
        else if (t[i] === "|" && !inCode) found.push("");
        else {
            if (t[i] === "`") inCode = !inCode;
            found[found.length - 1] += t[i];
        }
    }
    return found.slice(0, COLUMNS).map((c) => c.trim());
}

function tableBlock(lines) {
    const wrap = make("div", "table");
    const table = make("table");
    const sides = cells(lines[1]).map((c) =>
        c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : "");
    const width = cells(lines[0]).length;
    lines.forEach((line, i) => {
        if (i === 1) return;
        const row = make("tr");
        const found = cells(line);
        for (let k = 0; k < width; k++) {
            const cell = make(i ? "td" : "th", sides[k]);
            if (!i) cell.scope = "col";
            inline(found[k] || "", cell);
            row.append(cell);
        }
        if (i === 0 || i === 2) table.append(make(i ? "tbody" : "thead"));
        (i ? table.tBodies[0] : table.tHead).append(row);
    });
    wrap.tabIndex = 0;
    wrap.append(table);
    return wrap;
}

function listBlock(lines, depth) {
    const first = ITEM.exec(lines[0]);
    const ordered = /\d/.test(first[2]);
    const list = make(ordered ? "ol" : "ul");
    const start = parseInt(first[2], 10);
    if (ordered && start !== 1) list.start = start;
    const base = indent(lines[0]);
    let body = null;
    let inside = 0;
    const close = () => {
        if (!body) return;
        const item = make("li");
        const loose = body.some((line, i) => !line.trim() && i + 1 < body.length);
        renderBlocks(body, item, depth + 1, !loose);
        list.append(item);
    };
    for (const line of lines) {
        const m = indent(line) <= base + 1 ? ITEM.exec(line) : null;
        if (m) {
            close();
            body = [m[3] || ""];
            inside = m[1].length + m[2].length + 1;
        } else {
            body.push(line.slice(Math.min(indent(line), inside)));
        }
    }
    close();
    return list;
}

function headingBlock(line) {
    const [, marks, text] = HEADING.exec(line);
    /* below the page's own headings */
    const h = make("h" + Math.min(6, marks.length + 2));
    let end = (text || "").trimEnd().length;
    while (end && text[end - 1] === "#") end--;
    inline(end && text[end - 1] !== " " ? text.trim() : (text || "").slice(0, end).trim(), h);
    return h;
}

function block(b, depth, tight) {
    if (depth > DEPTH || b.kind === "text") {
        const p = make(tight ? "span" : "p");
        inline(b.lines.map((line) => line.trim()).join("\n"), p);
        return p;
    }
    switch (b.kind) {
    case "code":
        return codeBlock(b.lines);
    case "heading":
        return headingBlock(b.lines[0]);
    case "rule":
        return make("hr");
    case "list":
        return listBlock(b.lines, depth);
    case "table":
        return tableBlock(b.lines);
    default: {
        const quote = make("blockquote");
        renderBlocks(b.lines.map((line) => line.replace(/^ {0,3}> ?/, "")), quote, depth + 1);
        return quote;
    }
    }
}

function renderBlocks(lines, to, depth, tight = false) {
    for (const b of blocks(lines)) to.append(block(b, depth, tight));
}

/* A text that grows: update() makes again only the blocks that have changed, so that what stands
 * does not move, and can be selected while more is written. */
export class MarkdownView {
    constructor(to) {
        this.to = to;
        this.shown = []; /* {key, node} */
    }

    update(text) {
        const lines = text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n");
        const found = blocks(lines);
        let same = 0;
        found.forEach((b) => (b.key = b.kind + "\n" + b.lines.join("\n")));
        while (same < found.length && same < this.shown.length && found[same].key === this.shown[same].key)
            same++;
        for (const old of this.shown.splice(same)) old.node.remove();
        for (const b of found.slice(same)) {
            const node = block(b, 0, false);
            this.to.append(node);
            this.shown.push({ key: b.key, node });
        }
    }
}
