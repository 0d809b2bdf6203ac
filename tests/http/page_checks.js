/* page_checks.js: what tests/http/test_console.py asks of a page: labels, contrast, focus. */

/* The colour behind an element: its own and its ancestors', laid over each other. */
function ground(e) {
    const layers = [];
    for (; e; e = e.parentElement) {
        const c = rgba(getComputedStyle(e).backgroundColor);
        if (c[3]) layers.push(c);
        if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]);
}

function rgba(text) {
    const v = text.match(/[\d.]+/g).map(Number);
    return [v[0], v[1], v[2], v[3] === undefined ? 1 : v[3]];
}

const over = (c, under) => [0, 1, 2].map((i) => c[i] * c[3] + under[i] * (1 - c[3])).concat(1);

/* WCAG 2.2: relative luminance, contrast. */
function luminance(c) {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
}

const isSeen = (e) => {
    const r = e.getBoundingClientRect();
    const s = getComputedStyle(e);
    return r.width > 2 && r.height > 2 && s.visibility === "visible" && e.checkVisibility();
};

/* Texts whose contrast is less than 4.5: [text, contrast]. What is switched off is exempt. */
function faintTexts() {
    const found = [];
    let n = 0;
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !isSeen(e) || e.closest(":disabled")) continue;
        const under = ground(e);
        const value = contrast(over(rgba(getComputedStyle(e).color), under), under);
        n++;
        if (value < 4.5) found.push([walk.currentNode.data.trim().slice(0, 40), value.toFixed(2), e.className]);
    }
    for (const e of document.querySelectorAll("[placeholder]")) {
        if (!isSeen(e)) continue;
        const under = ground(e);
        const value = contrast(over(rgba(getComputedStyle(e, "::placeholder").color), under), under);
        n++;
        if (value < 4.5) found.push([e.placeholder, value.toFixed(2), "placeholder"]);
    }
    return { n, found };
}

/* Fields and buttons that have no name for who does not see them. */
function nameless() {
    const named = (e) =>
        (e.labels && [...e.labels].some((l) => l.textContent.trim())) || (e.getAttribute("aria-label") || "").trim() ||
        document.getElementById(e.getAttribute("aria-labelledby"))?.textContent.trim() ||
        (e.matches("button, a, summary") && e.textContent.trim());
    return [...document.querySelectorAll("input, select, textarea, button, a, summary, [role=meter], [role=img]")]
        .filter((e) => !named(e)).map((e) => e.outerHTML.slice(0, 120));
}

/* What can be reached with the keyboard, in the page's order. */
const reachable = () =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
        .filter((e) => isSeen(e) && !e.disabled && e.tabIndex >= 0).map(nameOf);

function nameOf(e) {
    return e.id || e.tagName + ":" + (e.textContent || "").trim().slice(0, 30);
}

/* The element with the focus, and whether it can be seen to have it. */
function focused() {
    const e = document.activeElement;
    if (!e || e === document.body) return null;
    const s = getComputedStyle(e);
    const rings = [s, e.parentElement && getComputedStyle(e.parentElement)];
    const isShown = (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1) ||
        rings.some((r) => r && r.boxShadow.includes("0px 0px 0px 1px"));
    return { name: nameOf(e), isShown };
}

const doubleIds = () => {
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    return ids.filter((id, i) => ids.indexOf(id) !== i);
};

const danglingReferences = () =>
    [...document.querySelectorAll("[for], [aria-controls], [aria-labelledby], [aria-describedby]")].flatMap((e) =>
        ["for", "aria-controls", "aria-labelledby", "aria-describedby"].flatMap((a) => (e.getAttribute(a) || "").split(" "))
            .filter((id) => id && !document.getElementById(id)));

Object.assign(window, { ground, luminance, isSeen, faintTexts, nameless, reachable, focused, doubleIds, danglingReferences });
