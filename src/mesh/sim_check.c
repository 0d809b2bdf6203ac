/* sim_check.c: see sim_int.h. */
#include "mesh/sim_int.h"
#include "base/mem.h"

#define DUE_MS 20u    /* for which what is due may still be there */
#define KEPT_LOOKS 6u /* after which a disk has what its node has */

static size_t space_of(const struct sim_node *n, uint64_t id) {
    for (size_t i = 0; i < SIM_SPACES; i++) {
        uint64_t own = slv_replica_id(slv_node_replica(n->node, n->space[i]));
        if (own == id) return i;
    }
    return SIM_SPACES;
}

static bool overlaps(struct slv_dot_range a, struct slv_dot_range b) {
    return a.first <= b.last && b.first <= a.last;
}

/* --- all that was written --------------------------------------------------------------------- */

static void check_numbers(struct sim_node *n, const struct slv_batch *b) {
    struct sim *s = n->sim;
    for (size_t i = 0; i < s->n_batch; i++) {
        const struct slv_batch_head *h = &s->batch[i].batch.head;
        if (h->space == b->head.space && h->writer == b->head.writer &&
            overlaps(h->dots, b->head.dots))
            sim_fail(s, "node %u gave number %llu twice", n->index,
                     (unsigned long long)b->head.dots.first);
    }
}

static const struct slv_space *space_at(const struct sim_node *n, size_t space) {
    return slv_node_read(n->node, n->space[space]);
}

void sim_check_wrote(struct sim_node *n, size_t space) {
    struct sim *s = n->sim;
    const uint64_t writer = slv_node_writer(n->node);
    void *p = n->view;
    const bool room = sim_room(s, &p, n->n_view, &n->room_view, sizeof *n->view);
    n->view = p;
    if (!room) return;
    struct sim_view *v = &n->view[n->n_view];
    const struct slv_dots *seen = &space_at(n, space)->context;
    *v = (struct sim_view){space, writer, slv_dots_last(seen, writer), {0}};
    if (slv_dots_join(&v->seen, seen)) s->no_memory = true;
    n->n_view++;
}

/* The view in which a batch was written; older ones of its space are forgotten. */
static struct slv_dots take_view(struct sim_node *n, size_t space, const struct slv_batch_head *h) {
    struct slv_dots found = {0};
    size_t k = 0;
    for (size_t i = 0; i < n->n_view; i++) {
        struct sim_view *v = &n->view[i];
        const bool is_it = v->space == space && v->writer == h->writer && v->last == h->dots.last;
        if (v->space != space || v->last > h->dots.last || v->writer != h->writer)
            n->view[k++] = *v;
        else if (is_it && !found.n) found = v->seen;
        else slv_dots_fini(&v->seen);
    }
    n->n_view = k;
    return found;
}

void sim_check_crashed(struct sim_node *n) {
    while (n->n_view)
        slv_dots_fini(&n->view[--n->n_view].seen);
}

void sim_check_published(struct sim_node *n, const struct slv_batch *b) {
    struct sim *s = n->sim;
    void *p = s->batch;
    const bool room = sim_room(s, &p, s->n_batch, &s->room_batch, sizeof *s->batch);
    s->batch = p;
    if (!room) return;
    if (n->role != SIM_TRAITOR && !(s->faults & SLV_SIM_LIE)) check_numbers(n, b);
    struct sim_batch *to = &s->batch[s->n_batch];
    *to = (struct sim_batch){.bytes = sim_dup(s, b->bytes), .by = n->index};
    to->view = take_view(n, space_of(n, b->head.space), &b->head);
    struct slv_reader r = slv_reader_of(to->bytes.p ? to->bytes.p : "", to->bytes.n);
    if (slv_batch_read(&r, &to->batch)) s->no_memory = true;
    s->n_batch++;
    s->result->batches++;
}

void sim_check_close(struct sim *s) {
    for (size_t i = 0; i < s->n_batch; i++) {
        slv_batch_fini(&s->batch[i].batch);
        slv_dots_fini(&s->batch[i].view);
        slv_mem_free(s->batch[i].bytes.p);
    }
    slv_mem_free(s->batch);
    for (unsigned i = 0; i < s->n && s->node; i++) {
        sim_check_crashed(&s->node[i]);
        slv_mem_free(s->node[i].view);
    }
}

/* Not so what nobody had of its writer when that was retired. */
static bool was_seen(const struct sim_node *n, const struct slv_batch_head *h, uint64_t number) {
    const struct slv_space *s = space_at(n, space_of(n, h->space));
    const struct slv_dot dot = {h->writer, number};
    if (!slv_space_let_go(s, h->writer)) return slv_dots_has(&s->context, dot);
    const struct slv_dots *all = slv_retired_seen(slv_node_retired(n->node), h->writer, h->space);
    return all && slv_dots_has(all, dot);
}

static bool was_all_seen(const struct sim_node *n, const struct slv_batch_head *h) {
    for (uint64_t i = h->dots.first; i <= h->dots.last; i++)
        if (!was_seen(n, h, i)) return false;
    return true;
}

/* What it had synced before it crashed is there. */
void sim_check_started(struct sim_node *n) {
    struct sim *s = n->sim;
    if (s->faults & (SLV_SIM_LIE | SLV_SIM_FLIP) || n->role == SIM_TRAITOR) return;
    for (size_t i = 0; i < s->n_batch; i++) {
        const struct slv_batch_head *h = &s->batch[i].batch.head;
        if (s->batch[i].by != n->index || s->batch[i].is_orphan) continue;
        if (!was_all_seen(n, h))
            sim_fail(s, "node %u has lost its batch %llu, which was synced", n->index,
                     (unsigned long long)h->dots.first);
    }
}

/* --- at all times ----------------------------------------------------------------------------- */

static void check_causes(struct sim_node *n, const struct sim_batch *b, size_t space) {
    const struct slv_batch_head *h = &b->batch.head;
    const struct slv_space *have = space_at(n, space);
    if (!slv_replica_is_causal(slv_node_replica(n->node, n->space[space]))) return;
    if (!was_seen(n, h, h->dots.first)) return;
    const bool follows =
        h->dots.first == 1 || slv_space_has(have, (struct slv_dot){h->writer, h->dots.first - 1});
    if (!follows || !slv_space_covers(have, &h->deps) || !slv_space_covers(have, &b->view))
        sim_fail(n->sim, "node %u shows batch %llu of node %u before what it followed", n->index,
                 (unsigned long long)h->dots.first, b->by);
}

/* No write that was seen has removed what is there. */
static void check_removed(struct sim_node *n, const struct sim_batch *b, size_t space) {
    const struct slv_space *have = space_at(n, space);
    struct slv_batch_walk w = slv_batch_walk_of(&b->batch);
    struct slv_op op = {0};
    while (!slv_batch_next(&w, &op)) {
        const bool seen = was_seen(n, &b->batch.head, op.dot.n);
        for (uint32_t i = 0; i < op.removes.n && seen; i++)
            for (uint32_t k = 0; k < op.removes.writer[i].n; k++) {
                const struct slv_dot_range d = op.removes.writer[i].range[k];
                for (uint64_t x = d.first; x <= d.last; x++)
                    if (slv_entries_find(have->entries,
                                         (struct slv_dot){op.removes.writer[i].id, x}))
                        sim_fail(n->sim, "node %u holds what batch %llu of node %u had removed",
                                 n->index, (unsigned long long)b->batch.head.dots.first, b->by);
            }
        slv_op_fini(&op);
    }
}

/* --- time to live ----------------------------------------------------------------------------- */

/* When an entry that was written with this stamp is due: as mesh-wire.md has it. */
static uint64_t due_ms(const struct sim *s, struct slv_str data) {
    const uint64_t grain = s->ttl_ms / 64 > 1000 ? s->ttl_ms / 64 : 1000;
    uint64_t stamp = 0;
    for (size_t i = 0; i < 8 && data.n >= 8; i++)
        stamp = stamp << 8 | (uint8_t)data.p[i];
    return ((stamp >> 16) + s->ttl_ms) / grain * grain + grain;
}

/* What no clock has shown yet, but for far ones, which nobody may follow: what is due behind it
 * nobody else may have let go. */
static uint64_t nobodys_ms(const struct sim *s) {
    const uint64_t drift = s->now / 1000000 * SIM_CLOCK_PPM;
    return (SIM_WALL + s->now + SIM_CLOCK_OFF + drift) / MS + 1;
}

/* (A node does what is due within a millisecond of its clock, unless it is stuck. That its clock
 * has jumped it sees with its next round; what it was to do while stuck comes when that ends.) */
static void check_due(struct sim_node *n) {
    const struct slv_entries *e = space_at(n, 0)->entries;
    const struct sim *s = n->sim;
    const uint64_t now = sim_wall_ms(n);
    if (!s->ttl_ms || s->now <= n->late_until) return;
    for (uint64_t i = 0; i < slv_entries_count(e); i++) {
        const struct slv_entry *at = slv_entries_at(e, i);
        if (due_ms(s, slv_entry_data(at)) + DUE_MS < now)
            sim_fail(n->sim, "node %u holds what was due %llu ms ago", n->index,
                     (unsigned long long)(now - due_ms(s, slv_entry_data(at))));
    }
}

static void check_node(struct sim_node *n) {
    const struct sim *s = n->sim;
    for (size_t i = 0; i < s->n_batch; i++) {
        const size_t space = space_of(n, s->batch[i].batch.head.space);
        check_causes(n, &s->batch[i], space);
        check_removed(n, &s->batch[i], space);
    }
    check_due(n);
}

/* Who has it is looked for, and looked after. */
static void look_after(struct sim *s, struct sim_batch *b) {
    const struct slv_batch_head *h = &b->batch.head;
    for (unsigned i = 0; i < s->n; i++) {
        const unsigned k = (b->keeper + i) % s->n;
        const struct sim_node *n = &s->node[k];
        if (!n->node || slv_node_failed(n->node) || !was_all_seen(n, h)) continue;
        const bool same = !i && b->keeper_life == n->life;
        b->looks = same ? b->looks + 1 : b->looks < KEPT_LOOKS ? 0 : b->looks;
        b->keeper = k;
        b->keeper_life = n->life;
        return;
    }
}

void sim_check_lost(struct sim_node *n) {
    struct sim *s = n->sim;
    for (size_t i = 0; i < s->n_batch; i++) {
        struct sim_batch *b = &s->batch[i];
        if (b->by == n->index) b->is_orphan = true;
        if (b->keeper == n->index) b->looks = 0;
    }
}

/* (A node that has lost records knows of what it has, and not of what that followed.) */
void sim_check_always(struct sim *s) {
    for (size_t i = 0; i < s->n_batch; i++)
        if (s->batch[i].is_orphan) look_after(s, &s->batch[i]);
    if (s->faults & (SLV_SIM_LIE | SLV_SIM_FLIP | SLV_SIM_TRAITOR)) return;
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].node && !slv_node_failed(s->node[i].node)) check_node(&s->node[i]);
}

/* --- agreement -------------------------------------------------------------------------------- */

static void sums_of(const struct sim_node *n, uint8_t ret[SIM_SPACES][SLV_SUM_BYTES]) {
    for (size_t i = 0; i < SIM_SPACES; i++)
        slv_replica_sum(slv_node_replica(n->node, n->space[i]), ret[i]);
}

bool sim_check_agreed(struct sim *s) {
    uint8_t first[SIM_SPACES][SLV_SUM_BYTES], sums[SIM_SPACES][SLV_SUM_BYTES];
    const struct sim_node *before = NULL;
    for (unsigned i = 0; i < s->n; i++) {
        const struct sim_node *n = &s->node[i];
        if (!n->is_core) continue;
        if (!n->node || slv_node_failed(n->node)) return false;
        sums_of(n, before ? sums : first);
        if (before && memcmp(first, sums, sizeof sums) != 0) return false;
        before = n;
    }
    return true;
}

static void tell_space(struct sim *s, const struct sim_node *n, size_t space) {
    const struct slv_replica *r = slv_node_replica(n->node, n->space[space]);
    const struct slv_replica_count *c = slv_replica_count(r);
    const struct slv_dots *seen = &space_at(n, space)->context;
    const struct slv_entries *e = slv_replica_space(r)->entries;
    sim_trace(s,
              "node %u, space %zu: %llu entries, sum %016llx; pulls %llu, ranges %llu, unanswered "
              "%llu, useless "
              "%llu; waited %llu, put off %llu, refused %llu %llu %llu %llu%s",
              n->index, space, (unsigned long long)slv_entries_count(e),
              (unsigned long long)slv_entries_sum(e, 0, slv_entries_count(e)).lo,
              (unsigned long long)c->pulls, (unsigned long long)c->ranges,
              (unsigned long long)c->unanswered, (unsigned long long)c->useless,
              (unsigned long long)c->waited, (unsigned long long)c->put_off,
              (unsigned long long)c->malformed, (unsigned long long)c->forged,
              (unsigned long long)c->forbidden, (unsigned long long)c->in_future,
              slv_replica_asking(r) ? ", asking" : "");
    for (uint32_t i = 0; i < seen->n; i++)
        for (uint32_t k = 0; k < seen->writer[i].n; k++)
            sim_trace(s, "    %016llx: %llu to %llu", (unsigned long long)seen->writer[i].id,
                      (unsigned long long)seen->writer[i].range[k].first,
                      (unsigned long long)seen->writer[i].range[k].last);
}

void sim_check_tell(struct sim *s) {
    for (size_t k = 0; k < SIM_SPACES; k++)
        for (unsigned i = 0; i < s->n; i++)
            if (s->node[i].is_core && s->node[i].node) tell_space(s, &s->node[i], k);
}

/* --- truth ------------------------------------------------------------------------------------ */

struct truth {
    struct slv_dots removed; /* by ops that were seen */
    struct slv_print sum;    /* of entries that were seen */
    uint64_t n;
    const struct sim_node *at;
    const struct slv_space *have;
    const struct sim *ttl; /* NULL: entries do not go by themselves */
};

/* Whether an entry that was seen, and not removed, is to be there: it is not due by any clock; or,
 * where it is due by some, it is there. (That one is there no longer check_due has seen to.) */
static bool is_expected(const struct truth *t, const struct slv_place *at, struct slv_str data) {
    if (!t->ttl || due_ms(t->ttl, data) > nobodys_ms(t->ttl)) return true;
    return slv_entries_find(t->have->entries, at->dot) != NULL;
}

static int each_op(const struct sim_batch *b, struct truth *t, bool entries) {
    struct slv_batch_walk w = slv_batch_walk_of(&b->batch);
    struct slv_op op = {0};
    int rc;
    while (!(rc = slv_batch_next(&w, &op))) {
        if (!entries && was_seen(t->at, &b->batch.head, op.dot.n))
            rc = slv_dots_join(&t->removed, &op.removes);
        for (uint32_t i = 0; i < op.n && entries; i++) {
            const struct slv_place at = {op.key, op.entry[i].path, slv_op_entry_dot(&op, i)};
            if (!was_seen(t->at, &b->batch.head, at.dot.n) || slv_dots_has(&t->removed, at.dot))
                continue;
            if (!is_expected(t, &at, op.entry[i].data)) continue;
            const struct slv_print p = slv_place_print(&at, op.entry[i].data);
            t->n++;
            t->sum.lo += p.lo;
            t->sum.hi += p.hi + (t->sum.lo < p.lo);
        }
        slv_op_fini(&op);
        if (rc) return rc;
    }
    return rc == 1 ? 0 : rc;
}

static void check_space(struct sim *s, const struct sim_node *n, size_t space) {
    const struct slv_space *have = space_at(n, space);
    const uint64_t id = slv_replica_id(slv_node_replica(n->node, n->space[space]));
    const uint64_t count = slv_entries_count(have->entries);
    const struct slv_print sum = slv_entries_sum(have->entries, 0, count);
    struct truth t = {.at = n, .have = have, .ttl = space || !s->ttl_ms ? NULL : s};
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < s->n_batch; i++)
            if (s->batch[i].batch.head.space == id && each_op(&s->batch[i], &t, turn))
                s->no_memory = true;
    slv_dots_fini(&t.removed);
    if (t.n != count || t.sum.lo != sum.lo || t.sum.hi != sum.hi)
        sim_fail(s, "space %zu holds %llu entries at node %u, and %llu were written", space,
                 (unsigned long long)count, n->index, (unsigned long long)t.n);
}

/* What members of the core have written and synced is seen in it. */
static void check_nothing_lost(struct sim *s, const struct sim_node *n) {
    for (size_t i = 0; i < s->n_batch; i++) {
        const struct slv_batch_head *h = &s->batch[i].batch.head;
        const struct sim_node *by = &s->node[s->batch[i].by];
        const bool is_kept = s->batch[i].looks >= KEPT_LOOKS && s->node[s->batch[i].keeper].is_core;
        if (!by->is_core || by->role == SIM_TRAITOR) continue;
        if (s->batch[i].is_orphan && !is_kept) continue;
        if (!was_all_seen(n, h))
            sim_fail(s, "batch %llu of node %u is not seen", (unsigned long long)h->dots.first,
                     by->index);
    }
}

/* (Where a traitor, or a disk, gives a number twice, there is no telling what is true; but all
 * agree. Nor where all clocks were far ahead for a while, of a time to live.) */
void sim_check_truth(struct sim *s) {
    const struct sim_node *n = NULL;
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].is_core && (!n || n->was_far)) n = &s->node[i];
    if (s->faults & (SLV_SIM_LIE | SLV_SIM_TRAITOR) || !n) return;
    for (size_t k = s->ttl_ms && n->was_far; k < SIM_SPACES; k++)
        check_space(s, n, k);
    if (!(s->faults & SLV_SIM_FLIP)) check_nothing_lost(s, n);
}
