"""What the demonstration claims, as functions of what was recorded: each returns None, or a line that says what does not
hold. Nothing here asks a node: records in, verdicts out, so that tests can make records up.

Times are seconds since the beginning. Nodes are numbers from 1 on.
"""
import bisect
import collections
import dataclasses

OK = "ok"            # acknowledged
REFUSED = "refused"  # it was not done, and will not be
UNKNOWN = "unknown"  # no answer: nobody knows

EVENTUAL, STRONG = "eventual", "strong"
LATE = 0.25  # seconds that a write may take to the others before a node counts as lacking it


@dataclasses.dataclass(frozen=True)
class Write:
    """Eventual: one is added to the writer's key of "parts". Strong: `key` of "config" becomes `value`; each key is
    written once."""
    node: int
    kind: str
    key: str
    value: int
    asked: float
    answered: float
    outcome: str


@dataclasses.dataclass
class Record:
    nodes: list = dataclasses.field(default_factory=list)
    writes: list = dataclasses.field(default_factory=list)
    told: list = dataclasses.field(default_factory=list)     # (t, node, writer, count): what a node has of a writer's
    status: list = dataclasses.field(default_factory=list)   # (t, node, leads, term): what a node says of the group
    marks: list = dataclasses.field(default_factory=list)    # (t, label)
    ups: dict = dataclasses.field(default_factory=dict)      # {node: when it was started first}
    downs: list = dataclasses.field(default_factory=list)    # (node, from, to)
    rests: list = dataclasses.field(default_factory=list)    # (from, to): the load rests, and all is compared
    cut: tuple = None                                        # (from, to, those cut off, the others)
    parts: dict = dataclasses.field(default_factory=dict)    # what was put besides: {"tags": [..], "notes": {..}}
    views: list = dataclasses.field(default_factory=list)    # (when, {node: {space: {key: value}}}), while all rests
    states: list = dataclasses.field(default_factory=list)   # (when, {node: what its status says}), likewise
    end: float = 0.0


# --- sameness ------------------------------------------------------------------------------------------------------

def differing(said):
    """{node: {what: {key: value}}}: the first thing that is not the same everywhere, as a line."""
    first, *others = sorted(said)
    for other in others:
        for what in sorted(set(said[first]) | set(said[other])):
            a, b = said[first].get(what), said[other].get(what)
            if a == b:
                continue
            keys = sorted(k for k in set(a or {}) | set(b or {}) if (a or {}).get(k) != (b or {}).get(k))
            return "nodes %d and %d differ in %s: %s" % (first, other, what, ", ".join(keys[:3]))
    return None


def all_are_equal(r):
    if not r.views or not r.states:
        return "nothing was compared"
    for when, said in [*r.views, *r.states]:
        if set(said) != set(r.nodes):
            return "%s: only %d nodes of %d were compared" % (when, len(said), len(r.nodes))
        line = differing(said)
        if line:
            return "%s: %s" % (when, line)
    return None


# --- what was written --------------------------------------------------------------------------------------------

def of(r, kind, outcome=None, node=None):
    return [w for w in r.writes if w.kind == kind and outcome in (None, w.outcome) and node in (None, w.node)]


def counts_are_what_was_acknowledged(r):
    """Exactly; but for a write under way at a node that was killed, which may have been done or not."""
    counts = r.views[-1][1][r.nodes[0]]["parts"]
    killed = {node for node, _, _ in r.downs}
    for node in r.nodes:
        acked, unknown = len(of(r, EVENTUAL, OK, node)), len(of(r, EVENTUAL, UNKNOWN, node))
        most = acked + (unknown if node in killed else 0)
        got = counts.get("n%d" % node, 0)
        if not acked:
            return "node %d counted nothing" % node
        if not acked <= got <= most:
            return "node %d: %d were acknowledged, %d are counted" % (node, acked, got)
    return None


def acknowledged_strong_writes_are_there(r):
    config = r.views[-1][1][r.nodes[0]]["config"]
    acked = of(r, STRONG, OK)
    for w in acked:
        if config.get(w.key) != w.value:
            return "the strong write %s = %d, acknowledged at node %d, is lost: %r" % (w.key, w.value, w.node, config.get(w.key))
    return None if acked else "no strong write was acknowledged"


def refused_strong_writes_are_not_there(r):
    config = r.views[-1][1][r.nodes[0]]["config"]
    asked = {w.key for w in of(r, STRONG)}
    for w in of(r, STRONG, REFUSED):
        if w.key in config:
            return "the strong write %s, refused at node %d, was done all the same" % (w.key, w.node)
    return next(("config has %s, which nobody wrote" % k for k in sorted(config) if k not in asked), None)


def what_both_sides_put_is_there(r):
    have = r.views[-1][1][r.nodes[0]]
    for tag in r.parts["tags"]:
        if tag not in have["tags"].get("seen", []):
            return "the tag %s is lost" % tag
    for name, text in r.parts["notes"].items():
        if have["notes"].get("shift", {}).get(name) != text:
            return "the note of %s is lost" % name
    return None


# --- the cut -----------------------------------------------------------------------------------------------------

def during_cut(r, writes, side):
    start, end, *_ = r.cut
    return [w for w in writes if w.node in side and w.asked >= start and w.answered <= end]


def the_minority_agreed_on_nothing(r):
    few = r.cut[2]
    bad = during_cut(r, of(r, STRONG, OK), few)
    if bad:
        return "node %d, cut off, acknowledged the strong write %s" % (bad[0].node, bad[0].key)
    tried = {w.node for w in during_cut(r, of(r, STRONG), few)}
    return next(("node %d, cut off, tried no strong write" % n for n in few if n not in tried), None)


def the_majority_went_on(r):
    many = r.cut[3]
    wrote = {w.node for w in during_cut(r, of(r, STRONG, OK), many)}
    return next(("node %d had no strong write acknowledged while the network was cut" % n for n in many if n not in wrote), None)


def both_sides_wrote(r):
    wrote = {w.node for w in during_cut(r, of(r, EVENTUAL, OK), r.nodes)}
    return next(("node %d wrote nothing while the network was cut" % n for n in r.nodes if n not in wrote), None)


def strong_writes_went_on_after_the_kill(r):
    for node, start, end in r.downs:
        if not any(w.asked >= start and w.answered <= end and w.node != node for w in of(r, STRONG, OK)):
            return "no strong write was acknowledged while node %d was dead" % node
    return None if r.downs else "nobody was killed"


def a_term_has_one_leader(r):
    led = collections.defaultdict(set)
    for _, node, leads, term in r.status:
        if leads:
            led[term].add(node)
    for term in sorted(led):
        if len(led[term]) > 1:
            return "nodes %s led in term %d" % (" and ".join(map(str, sorted(led[term]))), term)
    return None if led else "nobody ever led"


CLAIMS = (all_are_equal, counts_are_what_was_acknowledged, acknowledged_strong_writes_are_there,
          refused_strong_writes_are_not_there, what_both_sides_put_is_there, the_minority_agreed_on_nothing,
          the_majority_went_on, both_sides_wrote, strong_writes_went_on_after_the_kill, a_term_has_one_leader)


def broken(r):
    """The first claim that does not hold: a line; None: all hold."""
    for claim in CLAIMS:
        line = claim(r)
        if line:
            return "%s: %s" % (claim.__name__.replace("_", " "), line)
    return None


# --- who lacks what, over time -------------------------------------------------------------------------------------

class Having:
    """What each node had of each writer, and how much each writer had acknowledged, at any time."""

    def __init__(self, r):
        self.nodes = r.nodes
        self.acked = {n: sorted(w.answered for w in of(r, EVENTUAL, OK, n)) for n in r.nodes}
        self.had = {}
        for t, node, writer, count in r.told:
            times, counts = self.had.setdefault((node, writer), ([], []))
            times.append(t)
            counts.append(max(count, counts[-1] if counts else 0))

    def count(self, node, writer, t):
        times, counts = self.had.get((node, writer), ((), ()))
        k = bisect.bisect_right(times, t)
        return counts[k - 1] if k else 0

    def lacks(self, node, t, late=LATE):
        """How many writes that were acknowledged before t - late it does not have at t."""
        return sum(max(0, bisect.bisect_right(self.acked[w], t - late) - self.count(node, w, t)) for w in self.nodes)

    def lacking(self, t, down=(), late=LATE):
        """The nodes that lack something at t, of those that run."""
        return [n for n in self.nodes if not any(n == d and a <= t < b for d, a, b in down) and self.lacks(n, t, late)]
