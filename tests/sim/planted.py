#!/usr/bin/env python3
"""Faults planted in copies of the mesh's code, one at a time: the simulator must find each.

A fault is a change of one place in one file: old text, new text. Where the old text is no longer there the
fault has to be planted anew: that fails, too. The unchanged code must hold for the same seeds.

usage: planted.py SOURCE-ROOT [NAME...]      prints TAP, with the seed and what it found
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(sys.argv[1]).resolve()
BASE = ["buf", "mem", "arena", "clock", "utf8", "json", "json_parse", "jsonin", "err"]
FLAGS = ["-std=gnu11", "-O1", "-w", "-ffp-contract=off", f"-I{ROOT}/include", f"-I{ROOT}/src", f"-I{ROOT}/tests"]
LIBS = ["-lcmocka", "-lsodium", "-lutf8proc", "-ljansson", "-lraft", "-lzstd", "-lm"]
CC = os.environ.get("CC", "cc").split()

FAULT = {name: 1 << i for i, name in enumerate(
    "loss delay double split one-way crash clock slow full flip lie narrow traitor churn lost".split())}
# Tests of replicas in place of the simulator, in which associations end with a crash, and far clocks are few.
REPLICAS, EXPIRY, RETIRED, LONE = "replica", "replica_ttl", "retire", "node_lone"
HONEST = "loss delay double split one-way crash clock slow full churn"
HURT = "loss delay split crash flip full"
LOST, WIPED = "=lost loss", "=lost crash delay split"  # all of these in each run

# name: (file, old, new, kinds of faults, seeds at most)
PLANTED = {
    "a write leaves before the store has it": (
        "node.c", "    n->is_committing = true;\n",
        "    n->is_committing = true;\n"
        "    for (size_t i = 0; i < n->n_space; i++)\n"
        "        if (n->space[i]->out.len)\n"
        "            node_spread(n, (struct slv_str){n->space[i]->out.data, n->space[i]->out.len}, 0);\n", HONEST, 400),
    "removals that may still be lost are told": (
        "replica_store.c", "    if (r->writing) keep_ghost(r, e);\n", "", HONEST, 1500),
    "what another has seen is taken over before all is told": (
        "replica_range.c", "if (!rc && !p->n_ask) {", "if (!rc) {", HONEST, 600),
    "what another has removed stays": (
        "space.c", "if (slv_seen_has(seen, dot) && !slv_dots_has(theirs, dot)) {", "if (0) {", HONEST, 200),
    "a removed dot is not remembered": (
        "space.c", "const int rc = all_seen ? 0 : slv_dots_add(&s->context, w->id, w->range[k]);", "const int rc = 0;", HONEST, 200),
    "a removed entry is put in again": (
        "space.c", "if (slv_space_has(s, at->dot) || slv_entries_find(s->entries, at->dot)) return 0;",
        "if (slv_entries_find(s->entries, at->dot)) return 0;", HONEST, 400),
    "a causal batch does not wait": (
        "replica.c", "if (rc || !*ret || !r->conf.causal) return rc;", "return rc;", HONEST, 100),
    "a batch does not say what it followed": (
        "replica.c", "    if (!rc && r->conf.causal)\n        rc = slv_dots_add_dot(&r->deps",
        "    if (0)\n        rc = slv_dots_add_dot(&r->deps", HONEST, 200),
    "a teller that crashed goes on telling": (
        "replica_range.c", "p->life != life", "0", REPLICAS, 0),
    "answers from before a crash are taken": (
        "replica.c", "r->pull_id = conf->chance;", "r->pull_id = 0;", REPLICAS, 0),
    "numbers begin again after a crash": (
        "replica_store.c", "r->next = r->flushed + 1;", "r->next = 1;", HONEST, 50),
    "a batch whose numbers were given before is never done": (
        "replica.c", "rc == 1 ? slv_dots_add(&r->space.context, b->head.writer, b->head.dots) : rc",
        "rc == 1 ? 0 : rc", "crash lie loss delay", 600),
    "a log does not say what it no longer has": (
        "oplog.c", "    if (next <= r.last) s->gone = true;\n", "", HONEST, 200),
    "an association that broke is kept": (
        "node_peer.c", "n->now - p->unheard > (is_dead ? SILENT_DEAD_NS : SILENT_NS)", "0", LONE, 0),
    "what was seen is not stored": (
        "replica.c", "        replica_keep_context(r);\n", "        r->context_changed = false;\n", HONEST, 50),
    "a removed record stays in the store": (
        "replica_store.c", "    entry_key(r, &key, e->dot);\n    del_record(r, &key);", "    (void)key;", HONEST, 100),
    "a damaged store believes to have seen what it lost": (
        "replica_store.c", "int rc = s->damaged ? salvage(r, s) : 0;", "int rc = 0;", "flip crash loss", 400),
    "of two versions each keeps its own": (
        "space.c", "    if (stays) return 0;", "    return 0;", "lie crash loss delay", 1500),
    "the dead are not looked for": (
        "swim.c", "    next = sooner(next, swim_far(s, now));\n", "", HONEST, 300),
    "what was lost is not sent again": (
        "link_recover.c", "    release(l, rec, PIECE_LOST);\n    mtu_lost", "    release(l, rec, PIECE_ACKED);\n    mtu_lost", HONEST, 100),
    "ranges of dots that nearly touch are one": (
        "dots.c", "while (j < w->n && w->range[j].first <= r.last + 1)",
        "while (j < w->n && w->range[j].first <= r.last + 2)", HONEST, 300),
    "a node that was overtaken goes on as before": (
        "node.c", "if (!n->n_store || damaged || fresh || over) begin_store(n);",
        "if (!n->n_store || damaged || over) begin_store(n);",
        "lie crash loss", 600),
    "a ghost outlives the removal by another": (
        "replica_range.c", "|| slv_dots_has(&r->overruled, at.dot)", "", REPLICAS, 0),
    "heads are not told": (
        "replica_range.c", "if (!h || !h->n || slv_dots_base(t->theirs->context, id) >= slv_dots_last(shown, id))",
        "if (1)", HONEST, 200),
    "what comes packed is lost": (
        "node_peer.c", "    if (!rc) take_message(p, lane, bytes, sent);",
        "    if (!rc && sent == bytes.n) take_message(p, lane, bytes, sent);", HONEST, 50),
    "own writes are not handed to those who ask": (
        "replica_pull.c", "    slv_oplog_missing(r->log, have, theirs, give_batch, &g, &gone);\n", "    gone = 0;\n",
        HONEST, 50),
    # Of writers that are retired.
    "a writer is retired before all have said what they have": (
        "node_retire.c", "o->node && !o->waits && !o->differs", "o->node && !o->differs", WIPED, 1500),
    "a writer is retired while some lack something of it": (
        "node_retire.c", "o->node && !o->waits && !o->differs", "o->node && !o->waits", "=lost loss one-way crash", 8000),
    "a writer is let go before all of it is there": (
        "replica_retire.c", "(told || slv_space_covers(&r->space, all))", "(told || all)", WIPED, 3000),
    "a batch does not say that it followed a retirement": (
        "replica_retire.c", "int rc = r->conf.causal ? slv_dots_add_dot(&r->deps, t->dot) : 0;", "int rc = 0;", LOST, 100),
    "what another has let go is taken for not seen": (
        "replica_range.c", "if (d.last > most && !slv_dots_last(&r->pull.unchecked, writer)) return SLV_E_BUSY;", "",
        LOST, 200),
    "what nobody else had of a writer stays": (
        "replica_retire.c", " && !has_more(r, t);", ";", RETIRED, 0),
    "what was removed by what nobody else had stays gone": (
        "replica_store.c", "int rc = s->damaged ? salvage(r, s) : 0;",
        "int rc = 0;\n    if (s->damaged) replica_drop_retired(r);", RETIRED, 0),
    "a retirement counts in spaces that it does not list": (
        "replica_retire.c", "bool done = !all ||", "bool done = ", RETIRED, 0),
    "who lacks something of one that was let go is not told": (
        "replica_retire.c", "*ret_lacks = true;", "*ret_lacks = false;", LOST, 200),
    "a node that was told all does not let go": (
        "replica_range.c", "if (!rc) rc = replica_let_go_named(r, &r->pull.seen, &r->pull.refused);", "", LOST, 200),
    # Of a time to live.
    "what is due and offered is taken again": (
        "space.c", "    if (slv_ttl_is_gone(&s->ttl, data)) return 0; /* as if it had been here */\n", "", EXPIRY, 0),
    "a peer's clock is followed however far it is ahead": (
        "replica.c", "    if (ms << 16 > slv_hlc_limit(r->conf.hlc)) {", "    if (0) {", EXPIRY, 0),
    "a teller does not say what it let go": (
        "replica_range.c", "    slv_write_id(&t.b, r->conf.chance);\n    replica_write_cut(r, &t.b);",
        "    slv_write_id(&t.b, r->conf.chance);\n    if (r->space.ttl.ms) slv_write_number(&t.b, 0);", EXPIRY, 0),
    "who has let go too much tells what was removed": (
        "replica_range.c", "    if (r->space.ttl.reach > r->space.ttl.cut) return 0; /* what is missing here is not due */\n", "",
        EXPIRY, 0),
    "what was let go is forgotten with a crash": (
        "replica_store.c", "    replica_write_reach(r, &value);", "    if (r->space.ttl.ms) slv_write_number(&value, 0);",
        EXPIRY, 0),
    "what is due goes when something comes": (
        "node.c", "        const uint64_t due = slv_replica_expire(r);", "        const uint64_t due = UINT64_MAX;", HONEST, 100),
    "a time to live is half of what was declared": (
        "ttl.c", "slv_stamp_ms(stamp) + t->ms)", "slv_stamp_ms(stamp) + t->ms / 2)", HONEST, 100),
    # Of strong spaces.
    "entries count before they are on the disk": (
        "strong_io.c", "    w->ticket = strong_gate(s);\n    w->append = req;", "    w->ticket = 0;\n    w->append = req;",
        HONEST, 400),
    "what a damaged store has left of a log is believed": (
        "strong.c", "int rc = s->damaged || damaged ? SLV_E_FORMAT : strong_load_check(s);",
        "int rc = s->damaged ? SLV_E_FORMAT : strong_load_check(s);", HURT, 3000),
    "who may have lost that it votes does not": (
        "strong_guard.c", "    if (own) own->role = RAFT_VOTER;\n", "", HONEST, 2000),
    "a read is answered by a barrier from before it": (
        "strong_call.c", "    c->round = s->round + 1;\n    c->key", "    c->round = s->round;\n    c->key", HONEST, 6000),
    "a new leader does not wait for another's lease": (
        "strong_call.c", "return s->leads && s->raft.state == RAFT_LEADER && s->own_index && s->now >= s->others_until &&",
        "return s->leads && s->raft.state == RAFT_LEADER && s->own_index &&", "=crash split slow delay", 8000),
    "what is asked again is done again": (
        "strong_state.c", "    if (!client || !was_done(st, c, &r)) {", "    if (1) {", HONEST, 400),
    "a snapshot forgets who was answered": (
        "strong_state.c", "    slv_write_number(b, st->n_client);\n    for (size_t i = 0; i < st->n_client; i++) {",
        "    slv_write_number(b, 0);\n    for (size_t i = 0; i < 0; i++) {", HONEST, 2000),
    "a lock that is held is given": (
        "strong_state.c", "static int lock(struct step *s) {\n    if (s->old) return refuse(s);",
        "static int lock(struct step *s) {", HONEST, 100),
    "what is asked is asked under a new number": (
        "node_strong.c", "    a->call = 0;\n    a->next", "    a->call = 0;\n    a->command.seq++;\n    a->next", HONEST, 400),
}


def core():
    """What runs without sockets and disk, as the build has it."""
    text = (ROOT / "src/mesh/meson.build").read_text()
    return re.findall(r"'([a-z_]+\.c)'", text.split("mesh_core_src = files(")[1].split(")")[0])


def embedded(work):
    """The dictionary of packed messages, as the build has it."""
    out = work / "pack_dict.c"
    subprocess.run([sys.executable, ROOT / "tools/embed.py", "--as", "slv_pack_dict", "mesh/pack_dict.h", out,
                    ROOT / "src/mesh/pack.dict"], check=True)
    return out


def compile_file(path, to, include=None):
    extra = [f"-I{include}"] if include else []
    subprocess.run(CC + extra + FLAGS + ["-c", str(path), "-o", str(to)], check=True)


def link(objects, to):
    subprocess.run(CC + [str(o) for o in objects] + LIBS + ["-o", str(to)], check=True)


def mask(kinds):
    return sum(FAULT[k] for k in kinds.strip("=").split())


def run(program, kinds, seeds, first=1):
    if kinds in (REPLICAS, EXPIRY, RETIRED, LONE):
        p = subprocess.run([program], capture_output=True, text=True, timeout=900, check=False)
        failed = [line for line in (p.stdout + p.stderr).splitlines() if "FAILED  ]" in line]
        return "seed of its own: " + (failed or ["crashed"])[0] if p.returncode else "held"
    exact = ["exact"] if kinds.startswith("=") else []
    p = subprocess.run([program, "5", hex(mask(kinds)), str(first), str(seeds), *exact], capture_output=True, text=True,
                       timeout=900, check=False)
    assert p.returncode in (0, 1), (p.returncode, p.stderr)
    return p.stdout.strip()


def plant(work, objects, name):
    file, old, new, kinds, seeds = PLANTED[name]
    text = (ROOT / "src/mesh" / file).read_text()
    assert text.count(old) == 1, f"{file}: the place is there {text.count(old)} times"
    copy, obj, program = work / (file + ".planted.c"), work / (file + ".planted.o"), work / "planted"
    copy.write_text(text.replace(old, new))
    compile_file(copy, obj, ROOT / "src/mesh")
    link([obj if o.name == file + ".o" else o for o in objects[kinds if kinds in objects else None]], program)
    return run(program, kinds, seeds)


def main():
    names = sys.argv[2:] or list(PLANTED)
    with tempfile.TemporaryDirectory(prefix="selvage-planted-") as folder:
        work = pathlib.Path(folder)
        sources = [ROOT / "src/mesh" / f for f in core()] + [ROOT / "src/base" / (b + ".c") for b in BASE]
        sources += [embedded(work), ROOT / "tests/sim/seeds.c"]
        shared = [work / (s.name + ".o") for s in sources]
        objects = {None: shared}
        for test in (REPLICAS, EXPIRY, RETIRED, LONE):
            own = [ROOT / "tests/unit" / ("test_%s.c" % test), ROOT / "tests/replicas.c"]
            objects[test] = shared[:-1] + [work / (s.name + ".o") for s in own]
            sources += [s for s in own if s not in sources]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_file, sources, [work / (s.name + ".o") for s in sources]))
        link(objects[None], work / "sound")
        print(f"1..{len(names)}", flush=True)
        bad = 0
        for i, name in enumerate(names, 1):
            try:
                said = plant(work, objects, name)
                found = said.startswith("seed")
            except (AssertionError, subprocess.SubprocessError) as e:
                said, found = str(e), False
            at = re.match(r"seed (\d+):", said)
            sound = run(work / "sound", PLANTED[name][3], 1, at.group(1)) if at else "held"
            found = found and sound == "held"
            bad += not found
            print(f"{'ok' if found else 'not ok'} {i} - {name}\n# {said}" + ("" if sound == "held" else f"\n# sound: {sound}"),
                  flush=True)
        return bad != 0


if __name__ == "__main__":
    sys.exit(main())
