"""The demonstration's record as a timeline: one SVG, written by hand, light or dark as the reader's page is.

    title, the times that were measured
    labels of what happened
    a lane for each node:    band     it leads
                             bar      runs, is cut off, is killed
                             ticks    eventual writes that were acknowledged
                             marks    strong writes, of 0.2 s each
    the cable, between the lanes of the two sides
    how many nodes lack something, from nought to all
    seconds; legend

What is not at a place of its own by these functions stands in a row (Rows), so that labels never lie on each other.
"""
import xml.sax.saxutils

from demo_claims import EVENTUAL, OK, STRONG, Having, of

WIDTH, LEFT, RIGHT = 1200, 122, 22
LABELS = 88      # the first row of labels
ROW = 17         # px from one row of labels to the next
LANE = 62
CABLE = 34       # between the sides
STRIP = 64       # height of the last part
BIN = 0.2        # seconds of strong writes in a mark
GRID = 0.05      # seconds between points of the strip
LETTER = 6.4     # px, of labels at 12 px, at most

STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1d2329 }
.paper { fill: #ffffff }
.title { font-size: 19px; font-weight: 600 }
.dim { fill: #5b6570 }
.name { font-size: 14px; font-weight: 600 }
.small { font-size: 11px }
.label { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
.ink { fill: #1d2329 }
.grid { stroke: #e3e7eb; fill: none }
.up { fill: #c9d3dd }
.off { fill: #f0a53a }
.dead { fill: none; stroke: #b3261e; stroke-width: 1.5; stroke-dasharray: 4 3 }
.cross { stroke: #b3261e; stroke-width: 3; fill: none }
.leads { fill: #7a4fc0 }
.tick { stroke: #2274c4; stroke-width: 1; fill: none }
.yes { stroke: #12805c; stroke-width: 6; stroke-linecap: round; fill: none }
.no { stroke: #c4391d; stroke-width: 1.4; fill: none }
.mark { stroke: #1d2329; stroke-width: 1; stroke-dasharray: 2 3; fill: none }
.bad { fill: #b3261e }
.good { fill: #12805c }
.whole { stroke: #5b6570; stroke-width: 3; fill: none }
.broken { stroke: #b3261e; stroke-width: 3; stroke-dasharray: 3 7; fill: none }
.lack { fill: #f0a53a; fill-opacity: 0.55; stroke: #b86e00; stroke-width: 1.2 }
.rest { fill: #7d8894; fill-opacity: 0.13 }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ec }
.paper { fill: #14181d }
.dim { fill: #9aa5b1 }
.label { stroke: #14181d }
.ink { fill: #e6e9ec }
.grid { stroke: #2a3138 }
.up { fill: #46525f }
.off { fill: #c77f17 }
.dead { stroke: #ff7b6e }
.cross { stroke: #ff7b6e }
.leads { fill: #a98bea }
.tick { stroke: #62aef2 }
.yes { stroke: #41c796 }
.no { stroke: #ff8766 }
.mark { stroke: #e6e9ec }
.bad { fill: #ff7b6e }
.good { fill: #41c796 }
.whole { stroke: #9aa5b1 }
.broken { stroke: #ff7b6e }
.lack { fill: #c77f17; stroke: #f0b65a }
}
"""


class Rows:
    """Gives each label the first row in which there is room for it."""

    def __init__(self, most):
        self.ends = [0.0] * most

    def place(self, x, text):
        """(row, x): ending at the right border where it would go beyond."""
        wide = LETTER * len(text) + 12
        at = min(x, WIDTH - RIGHT - wide)
        row = next((k for k, end in enumerate(self.ends) if end <= at), len(self.ends) - 1)
        self.ends[row] = at + wide
        return row, at


class Picture:
    def __init__(self, record, times):
        self.r, self.times, self.out = record, times, []
        self.sides = [list(self.r.cut[2]), list(self.r.cut[3])] if record.cut else [list(record.nodes), []]
        self.rows = Rows(3)
        self.top = LABELS + 3 * ROW
        self.cable_y = self.top + LANE * len(self.sides[0]) + CABLE / 2
        self.bottom = self.top + LANE * len(record.nodes) + CABLE
        self.strip = self.bottom + 30
        self.height = self.strip + STRIP + 90

    # --- pieces ---

    def x(self, t):
        return LEFT + (WIDTH - LEFT - RIGHT) * t / self.r.end

    def lane(self, node):
        return self.top + LANE * self.r.nodes.index(node) + (0 if node in self.sides[0] else CABLE)

    def add(self, form, *args):
        self.out.append(form % args)

    def text(self, x, y, text, cls="", anchor="start"):
        self.add('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>', x, y, cls, anchor,
                 xml.sax.saxutils.escape(text))

    def bar(self, a, b, y, height, cls, hint=None):
        """From a to b, seconds."""
        title = "<title>%s</title>" % xml.sax.saxutils.escape(hint) if hint else ""
        self.add('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s">%s</rect>', self.x(a), y,
                 max(1.0, self.x(b) - self.x(a)), height, cls, title)

    def path(self, cls, d):
        if d:
            self.add('<path class="%s" d="%s"/>', cls, d)

    def down(self, node):
        return [(a, b) for n, a, b in self.r.downs if n == node]

    # --- parts ---

    def heading(self):
        told = (("write_to_all", "a write is at all five in %.0f ms", 1e3),
                ("strong_after_cut", "the majority agrees again %.2f s after the cut", 1),
                ("equal_after_heal", "all have all %.2f s after the heal", 1),
                ("strong_after_kill", "strong writes go on %.2f s after the leader's death", 1))
        self.text(LEFT, 32, "Selvage mesh: five machines, a cut network, a killed leader", "title")
        self.text(LEFT, 54, "  \u00b7  ".join(form % (self.times[k] * by) for k, form, by in told if k in self.times), "dim")

    def seconds(self):
        y = self.strip + STRIP
        step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1000) if self.r.end / s <= 30)
        t = 0
        while t <= self.r.end:
            self.add('<path class="grid" d="M%.1f %.1fV%.1f"/>', self.x(t), self.top, y)
            self.text(self.x(t), y + 16, "%d s" % t if t == 0 else str(t), "dim", "middle")
            t += step

    def rests(self):
        for a, b in self.r.rests:
            self.bar(a, b, self.top, self.bottom - self.top, "rest", "the load rests, and all is compared")

    def labels(self):
        """Texts after all lines, on a ground that hides those."""
        texts = []
        for t, label in self.r.marks:
            cls = "bad" if label.startswith(("cut", "kill")) else "good" if label in ("heal", "all have all") else "ink"
            text = "%s, %.1f s" % (label, t)
            row, at = self.rows.place(self.x(t), text)
            y = LABELS + ROW * row
            self.add('<path class="mark" d="M%.1f %.1fV%.1f"/>', self.x(t), y + 4, self.strip + STRIP)
            self.add('<path class="%s" d="M%.1f %.1fl4 -7h-8z"/>', cls, self.x(t), y + 9)
            texts.append((at + (6 if at == self.x(t) else 0), y, text, cls + " label"))
        for args in texts:
            self.text(*args)

    def states(self, node):
        y = self.lane(node) + 14
        up = self.r.ups.get(node, 0.0)
        for a, b in [*self.down(node), (self.r.end, self.r.end)]:
            self.bar(up, a, y, 14, "up", "runs")
            if b > a:
                self.bar(a, b, y + 1, 12, "dead", "killed")
                self.text(self.x((a + b) / 2), y + 11, "killed", "bad small", "middle")
                self.path("cross", "M%.1f %.1fl10 10m0 -10l-10 10" % (self.x(a) - 5, y + 2))
            up = b
        if self.r.cut and node in self.r.cut[2]:
            self.bar(self.r.cut[0], self.r.cut[1], y, 14, "off", "cut off")
            self.text(self.x((self.r.cut[0] + self.r.cut[1]) / 2), y + 11, "cut off", "small", "middle")

    def leading(self, node):
        """From the first time that it said so to the last, of each of its terms."""
        spans = {}
        for t, n, leads, term in self.r.status:
            if n == node and leads:
                spans[term] = (spans.get(term, (t, t))[0], t)
        for term, (a, b) in sorted(spans.items()):
            self.bar(a, b, self.lane(node) + 6, 6, "leads", "leads, term %d" % term)

    def ticks(self, node):
        y = self.lane(node) + 34
        self.path("tick", "".join("M%.1f %.1fv9" % (self.x(w.answered), y) for w in of(self.r, EVENTUAL, OK, node)))

    def strong(self, node):
        """Dots: acknowledged; rings: not; a dot in a ring: some were."""
        y = self.lane(node) + 52
        bins = {}
        for w in of(self.r, STRONG, node=node):
            bins.setdefault(int(w.asked / BIN), set()).add(w.outcome == OK)
        at = {k: self.x((k + 0.5) * BIN) for k in bins}
        self.path("yes", "".join("M%.1f %.1fh0" % (at[k], y) for k in sorted(bins) if bins[k] == {True}))
        for k in sorted(bins):
            if False in bins[k]:
                self.add('<circle class="no" cx="%.1f" cy="%.1f" r="2.9"/>', at[k], y)
            if bins[k] == {True, False}:
                self.add('<circle class="good" cx="%.1f" cy="%.1f" r="1.5"/>', at[k], y)

    def node(self, node):
        y = self.lane(node)
        self.add('<path class="grid" d="M%d %.1fH%d"/>', LEFT, y + LANE - 1, WIDTH - RIGHT)
        self.text(20, y + 26, "node %d" % node, "name")
        self.text(LEFT - 10, y + 43, "writes", "dim", "end")
        self.text(LEFT - 10, y + 56, "strong", "dim", "end")
        self.states(node)
        self.leading(node)
        self.ticks(node)
        self.strong(node)

    def cable(self):
        if not self.r.cut:
            return
        a, b, few, many = self.r.cut
        y = self.cable_y
        self.text(20, y + 4, "the cable", "name")
        for cls, start, end in ("whole", 0, a), ("broken", a, b), ("whole", b, self.r.end):
            self.path(cls, "M%.1f %.1fH%.1f" % (self.x(start), y, self.x(end)))
        self.text(self.x((a + b) / 2), y - 5, "cut for %.1f s" % (b - a), "bad", "middle")

    def lacking(self):
        having, points, t = Having(self.r), [], self.r.ups and max(self.r.ups.values()) or 0.0
        while t <= self.r.end:
            points.append((t, len(having.lacking(t, self.r.downs))))
            t += GRID
        y = self.strip + STRIP
        unit = STRIP / len(self.r.nodes)
        self.text(20, self.strip + 12, "nodes that", "name")
        self.text(20, self.strip + 29, "lack writes", "name")
        self.text(20, self.strip + 46, "of 0.25 s ago", "dim")
        for k in (0, len(self.r.nodes)):
            self.path("grid", "M%d %.1fH%d" % (LEFT, y - k * unit, WIDTH - RIGHT))
            self.text(LEFT - 6, y - k * unit + 4, str(k), "dim", "end")
        d, last = "M%.1f %.1f" % (self.x(points[0][0]), y), 0
        for t, n in points:
            if n != last:
                d += "H%.1fV%.1f" % (self.x(t), y - n * unit)
            last = n
        self.path("lack", d + "H%.1fV%.1fz" % (self.x(points[-1][0]), y))

    def legend(self):
        y = self.strip + STRIP + 48
        box = '<rect x="%d" y="%d" width="22" height="%d" class="%s"/>'
        items = ((box % (0, -9, 10, "up"), "runs"), (box % (0, -9, 10, "off"), "runs, cut off from the most"),
                 (box % (0, -9, 10, "dead"), "killed"), (box % (0, -7, 6, "leads"), "leads the group"),
                 ('<path class="tick" d="M2 -9v9M5 -9v9M8 -9v9M11 -9v9M14 -9v9M17 -9v9M20 -9v9"/>', "eventual writes, acknowledged"),
                 ('<path class="yes" d="M11 -4h0"/>', "strong writes of 0.2 s: all acknowledged"),
                 ('<circle class="no" cx="11" cy="-4" r="2.9"/><circle class="good" cx="11" cy="-4" r="1.5"/>', "some"),
                 ('<circle class="no" cx="11" cy="-4" r="2.9"/>', "none: refused, or not answered"),
                 (box % (0, -9, 10, "rest"), "the load rests, all is compared"))
        x = LEFT
        for shape, text in items:
            wide = 34 + LETTER * len(text) + 14
            if x + wide > WIDTH - RIGHT:
                x, y = LEFT, y + 22
            self.add('<g transform="translate(%.1f %.1f)">%s</g>', x, y, shape)
            self.text(x + 29, y, text)
            x += wide

    def whole(self):
        self.heading()
        self.rests()
        self.seconds()
        self.labels()
        self.cable()
        for node in self.r.nodes:
            self.node(node)
        self.lacking()
        self.legend()
        head = ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">\n'
                "<title>Five nodes of a mesh over time</title>\n<style>%s</style>\n"
                '<rect class="paper" width="%d" height="%d"/>\n')
        return head % (WIDTH, self.height, WIDTH, self.height, STYLE, WIDTH, self.height) + "\n".join(self.out) + "\n</svg>\n"


def draw(record, times, path):
    text = Picture(record, times).whole()
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
