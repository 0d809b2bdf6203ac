/* replica_range.c: see replica.h. Ranges of places that are compared by their sums, and told where
 * they differ.
 *
 *     ASK   number of the asking, bytes for the answer, cut (ttl.h; where there is a time to
 *           live), whether what the other has seen is wanted too, what was seen here (dots.h),
 *           ranges: flags, its ends as far as it has any, how many entries, their sum (16)
 *     TELL  number, the teller's life, cut, whether what was seen is told: then that, and heads;
 *           how many entries were there until a write that may still be lost, each: place, data;
 *           then answers, in the order of the ranges, as many as fit: one of
 *               SAME
 *               PARTS  how many, and of each its end (but of the last), how many entries, their sum
 *               ITEMS  whether this is all of the range, or else to where; how many entries are
 *                      there, their sum, their dots; how many follow, each: place, data
 *
 *     place: key, path, writer (8), number
 */
#include "mesh/replica_int.h"
#include "base/mem.h"
#include "mesh/check.h"

enum { FROM = 1, TO = 2, SETTLE = 4, ASK_FLAGS = 7, GHOST = 8, KEPT_FLAGS = 8 };
enum { SAME, PARTS, ITEMS, ANSWERS };

#define FEW 64u       /* entries that are told rather than parted */
#define FANOUT 16u    /* parts of a range */
#define ASKED_MAX 64u /* ranges of one message */
#define WORK_MAX ((uint64_t)1 << 18)

/* --- on the wire ------------------------------------------------------------------------------ */

/* How many entries, and their sum. */
struct total {
    uint64_t n;
    struct slv_print sum;
};

static struct total total_of(const struct slv_replica *r, uint64_t from, uint64_t to) {
    return (struct total){to - from, slv_entries_sum(r->space.entries, from, to)};
}

static bool equal(const struct total *a, const struct total *b) {
    return a->n == b->n && a->sum.lo == b->sum.lo && a->sum.hi == b->sum.hi;
}

static void write_total(struct slv_buf *b, const struct total *t) {
    slv_write_number(b, t->n);
    slv_write_id(b, t->sum.hi);
    slv_write_id(b, t->sum.lo);
}

static struct total read_total(struct slv_reader *r) {
    struct total t;
    t.n = slv_read_number(r, UINT64_MAX);
    t.sum.hi = slv_read_id(r);
    t.sum.lo = slv_read_id(r);
    return t;
}

/* The ends of a range, good while their bytes are. */
struct ends {
    struct slv_place from, to;
    bool has_from, has_to;
};

static struct slv_space_range range_of(const struct ends *e) {
    return (struct slv_space_range){e->has_from ? &e->from : NULL, e->has_to ? &e->to : NULL};
}

static void find(const struct slv_replica *r, const struct ends *e, uint64_t *ret_from,
                 uint64_t *ret_to) {
    const struct slv_space_range range = range_of(e);
    slv_space_find(&r->space, &range, ret_from, ret_to);
    if (*ret_to < *ret_from) *ret_to = *ret_from;
}

/* Whether a place lies behind the range's beginning and before its end, so that it parts it. */
static bool parts(const struct ends *e, const struct slv_place *p) {
    return (!e->has_from || slv_place_compare(&e->from, p) < 0) &&
           (!e->has_to || slv_place_compare(p, &e->to) < 0);
}

/* --- what is to be asked for ------------------------------------------------------------------ */

static void free_ask(struct ask *a) {
    slv_mem_free(a->from);
    slv_mem_free(a->to);
}

void replica_forget_ranges(struct slv_replica *r) {
    struct pull *p = &r->pull;
    while (p->n_ask)
        free_ask(&p->ask[--p->n_ask]);
    slv_mem_free(p->ask);
    slv_dots_fini(&p->seen);
    slv_dots_fini(&p->ghosts);
    slv_dots_fini(&p->unchecked);
    slv_dots_fini(&p->refused);
    slv_buf_fini(&p->later);
    slv_buf_init(&p->later, r->conf.repair_max);
    p->ask = NULL;
    p->room_ask = p->n_asked = 0;
    p->has_seen = false;
}

static struct ends ends_of(const struct ask *a) {
    struct ends e = {.has_from = a->from, .has_to = a->to};
    struct slv_reader from = slv_reader_of(a->from ? a->from : "", a->n_from);
    struct slv_reader to = slv_reader_of(a->to ? a->to : "", a->n_to);
    if (a->from) e.from = slv_place_read(&from);
    if (a->to) e.to = slv_place_read(&to);
    return e;
}

static char *dup_place(const struct slv_place *p, uint32_t *ret_n) {
    struct slv_buf b;
    size_t n = 0;
    slv_buf_init(&b, SLV_MESSAGE_MAX);
    slv_place_write(p, &b);
    char *bytes = b.status ? NULL : slv_buf_take(&b, &n);
    *ret_n = (uint32_t)n;
    slv_buf_fini(&b);
    return bytes;
}

static int push(struct slv_replica *r, const struct ends *e, bool settle) {
    struct pull *p = &r->pull;
    struct ask a = {.settle = settle};
    void *v = p->ask;
    int rc = slv_mem_grow(&v, p->n_ask, &p->room_ask, sizeof *p->ask, RANGES_MAX);
    p->ask = v;
    if (rc) return rc;
    if (e->has_from) a.from = dup_place(&e->from, &a.n_from);
    if (e->has_to) a.to = dup_place(&e->to, &a.n_to);
    if ((e->has_from && !a.from) || (e->has_to && !a.to)) {
        free_ask(&a);
        return SLV_E_NOMEM;
    }
    p->ask[p->n_ask++] = a;
    return 0;
}

static void write_ask(const struct slv_replica *r, struct ask *a, struct slv_buf *b) {
    const struct ends e = ends_of(a);
    uint64_t from, to;
    find(r, &e, &from, &to);
    const struct total t = total_of(r, from, to);
    a->n = t.n;
    a->sum = t.sum;
    slv_write_number(b, (a->from ? FROM : 0u) | (a->to ? TO : 0u) | (a->settle ? SETTLE : 0u));
    slv_buf_add(b, a->from ? a->from : "", a->n_from);
    slv_buf_add(b, a->to ? a->to : "", a->n_to);
    write_total(b, &t);
}

static void send_ask(struct slv_replica *r, uint64_t now) {
    struct pull *p = &r->pull;
    struct slv_dots shown = {0};
    struct slv_buf b;
    p->id = ++r->pull_id;
    p->deadline = now + ANSWER_NS;
    p->n_asked = p->n_ask < ASKED_MAX ? p->n_ask : ASKED_MAX;
    if (replica_shown(r, &shown)) return; /* as if it were lost */
    replica_begin(r, &b, SLV_MSG_ASK);
    slv_write_id(&b, p->id);
    slv_write_number(&b, BUDGET_MAX);
    replica_write_cut(r, &b);
    slv_write_number(&b, !p->has_seen);
    slv_dots_write(&shown, &b);
    slv_dots_fini(&shown);
    slv_write_number(&b, p->n_asked);
    for (size_t i = 0; i < p->n_asked; i++)
        write_ask(r, &p->ask[p->n_ask - p->n_asked + i], &b);
    if (replica_send(r, p->peer, &b)) p->deadline = now + SHY_NS;
}

void replica_ask_all(struct slv_replica *r, uint64_t now) {
    const struct ends all = {0};
    replica_forget_ranges(r);
    r->pull.what = FOR_RANGES;
    r->pull.work = WORK_MAX;
    r->count.ranges++;
    if (push(r, &all, false)) replica_pull_end(r, now, USELESS);
    else send_ask(r, now);
}

/* --- being asked ------------------------------------------------------------------------------ */

struct telling {
    struct slv_replica *r;
    size_t budget;
    const struct slv_seen *theirs;
    struct slv_buf b;
};

/* Their writers' heads that prove what they have not seen yet. */
static void tell_heads(struct telling *t, const struct slv_dots *shown) {
    const struct slv_replica *r = t->r;
    uint64_t n = 0;
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < shown->n; i++) {
            const uint64_t id = shown->writer[i].id;
            const struct head *h = replica_head(r, id);
            if (id == r->writer && r->flushed != r->synced) h = &r->synced_head;
            if (!h || !h->n || slv_dots_base(t->theirs->context, id) >= slv_dots_last(shown, id))
                continue;
            if (turn) slv_buf_add(&t->b, h->bytes, h->n);
            else n++;
        }
        if (!turn) slv_write_number(&t->b, n);
    }
}

static void tell_parts(struct telling *t, uint64_t from, uint64_t to) {
    const struct slv_replica *r = t->r;
    slv_write_number(&t->b, PARTS);
    slv_write_number(&t->b, FANOUT);
    for (uint64_t i = 0; i < FANOUT; i++) {
        const uint64_t begin = from + (to - from) * i / FANOUT;
        const uint64_t end = from + (to - from) * (i + 1) / FANOUT;
        const struct total part = total_of(r, begin, end);
        if (i + 1 < FANOUT) {
            const struct slv_place at = slv_entry_place(slv_entries_at(r->space.entries, end));
            slv_place_write(&at, &t->b);
        }
        write_total(&t->b, &part);
    }
}

/* Entries of [from, to) as far as they fit, at least one: behind the last. */
static uint64_t gather(const struct telling *t, uint64_t from, uint64_t to, bool settle,
                       struct slv_dots *dots, struct slv_buf *items, uint64_t *ret_n, int *ret_rc) {
    const struct slv_replica *r = t->r;
    uint64_t i = from;
    for (; i < to && (i == from || t->b.len + items->len < t->budget); i++) {
        const struct slv_entry *e = slv_entries_at(r->space.entries, i);
        const struct slv_place at = slv_entry_place(e);
        if (!replica_may_show(r, e->dot)) continue;
        const int rc = slv_dots_add_dot(dots, e->dot);
        if (rc == SLV_E_LIMIT && i > from) break;
        *ret_rc = rc ? rc : items->status;
        if (*ret_rc) break;
        if (!settle && slv_seen_has(t->theirs, e->dot)) continue;
        slv_place_write(&at, items);
        slv_write_bytes(items, slv_entry_data(e).p, e->n_data);
        ++*ret_n;
    }
    return i;
}

static int tell_items(struct telling *t, uint64_t from, uint64_t to, bool settle) {
    const struct slv_replica *r = t->r;
    struct slv_dots dots = {0};
    struct slv_buf items;
    uint64_t n = 0;
    int rc = 0;
    slv_buf_init(&items, SLV_MESSAGE_MAX);
    const uint64_t end = gather(t, from, to, settle, &dots, &items, &n, &rc);
    const struct total told = total_of(r, from, end);
    slv_write_number(&t->b, ITEMS);
    slv_write_number(&t->b, end == to);
    if (end != to) {
        const struct slv_place at = slv_entry_place(slv_entries_at(r->space.entries, end));
        slv_place_write(&at, &t->b);
    }
    write_total(&t->b, &told);
    slv_dots_write(&dots, &t->b);
    slv_write_number(&t->b, n);
    slv_buf_add(&t->b, items.data, items.len);
    slv_buf_fini(&items);
    slv_dots_fini(&dots);
    return rc ? rc : t->b.status;
}

static int tell_range(struct telling *t, struct slv_reader *m) {
    const uint64_t flags = slv_read_number(m, ASK_FLAGS);
    struct ends e = {.has_from = flags & FROM, .has_to = flags & TO};
    uint64_t from, to;
    if (e.has_from) e.from = slv_place_read(m);
    if (e.has_to) e.to = slv_place_read(m);
    const struct total theirs = read_total(m);
    if (m->bad) return SLV_E_FORMAT;
    if (t->b.len >= t->budget) return 0; /* it asks again */
    find(t->r, &e, &from, &to);
    const struct total ours = total_of(t->r, from, to);
    if (flags & SETTLE) return tell_items(t, from, to, true);
    if (equal(&ours, &theirs)) {
        slv_write_number(&t->b, SAME);
        return 0;
    }
    if (!theirs.n || ours.n <= FEW) return tell_items(t, from, to, false);
    tell_parts(t, from, to);
    return 0;
}

/* Of those, what others may know of: an entry that was removed before it was synced is none of
 * their business until it is. */
static uint64_t show_ghosts(const struct slv_replica *r, const struct ghosts *g,
                            struct slv_buf *to) {
    struct slv_reader m = slv_reader_of(g->bytes.data, g->bytes.len);
    uint64_t n = 0;
    while (slv_reader_left(&m)) {
        const struct slv_place at = slv_place_read(&m);
        const struct slv_str data = slv_read_bytes(&m, SLV_DATA_MAX);
        if (!replica_may_show(r, at.dot) || slv_dots_has(&r->overruled, at.dot)) continue;
        slv_place_write(&at, to);
        slv_write_bytes(to, data.p, data.n);
        n++;
    }
    return n;
}

static int tell_ghosts(const struct slv_replica *r, struct slv_buf *b) {
    struct slv_buf shown;
    slv_buf_init(&shown, SLV_MESSAGE_MAX);
    const uint64_t n = show_ghosts(r, &r->unsynced, &shown) + show_ghosts(r, &r->unsigned_, &shown);
    slv_write_number(b, n);
    slv_buf_add(b, shown.data, shown.len);
    const int rc = shown.status ? shown.status : b->status;
    slv_buf_fini(&shown);
    if (rc) return rc;
    return r->unsynced.bytes.status ? r->unsynced.bytes.status : r->unsigned_.bytes.status;
}

int replica_on_ask(struct slv_replica *r, uint64_t peer, struct slv_reader *m) {
    const uint64_t id = slv_read_id(m), budget = slv_read_number(m, BUDGET_MAX);
    if (!replica_read_cut(r, peer, m, NULL) && m->bad) return SLV_E_FORMAT;
    if (r->space.ttl.reach > r->space.ttl.cut) return 0; /* what is missing here is not due */
    const uint64_t first = slv_read_number(m, 1);
    struct slv_dots theirs = {0}, shown = {0};
    const struct slv_seen seen = {.context = &theirs, .retired = r->conf.retired};
    struct telling t = {.r = r, .budget = (size_t)budget, .theirs = &seen};
    int rc = m->bad ? SLV_E_FORMAT : slv_dots_read(m, &theirs);
    if (!rc && first) rc = replica_shown(r, &shown);
    replica_begin(r, &t.b, SLV_MSG_TELL);
    slv_write_id(&t.b, id);
    slv_write_id(&t.b, r->conf.chance);
    replica_write_cut(r, &t.b);
    slv_write_number(&t.b, first);
    if (!rc && first) {
        slv_dots_write(&shown, &t.b);
        tell_heads(&t, &shown); /* where these are many, the answers come with the next */
    }
    if (!rc) rc = tell_ghosts(r, &t.b);
    const uint64_t n = rc ? 0 : slv_read_number(m, ASKED_MAX);
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = tell_range(&t, m);
    if (!rc && !slv_reader_done(m)) rc = SLV_E_FORMAT;
    if (rc) slv_buf_fini(&t.b);
    else rc = replica_send(r, peer, &t.b);
    slv_dots_fini(&shown);
    slv_dots_fini(&theirs);
    return rc == SLV_E_BUSY ? 0 : rc;
}

/* --- what was told ---------------------------------------------------------------------------- */

/* Of a writer, not further than its signed head says, or its retirement. More without a head is
 * nothing to go on: somebody was let go there of whom nothing is known here, and what that one
 * wrote would stay here when the write that removed it is seen. */
static int clip(void *ctx, uint64_t writer, struct slv_dot_range d) {
    struct slv_replica *r = ctx;
    const uint64_t proved = replica_proved(r, writer);
    const uint64_t most = proved ? proved : slv_dots_last(&r->space.context, writer);
    if (d.last > most && !slv_dots_last(&r->pull.unchecked, writer)) return SLV_E_BUSY;
    if (d.last > most) d.last = most;
    return d.first > d.last ? 0 : slv_dots_add(&r->pull.seen, writer, d);
}

/* What it has seen, as far as that is proved, and retirements that are known here. */
static int take_seen(struct slv_replica *r, const struct slv_dots *theirs) {
    static const struct slv_dots nothing = {0};
    const struct slv_dots *known = &r->conf.retired->dots;
    struct slv_dots named = {0}, rest = {0};
    int rc = slv_dots_join(&rest, theirs);
    if (!rc) rc = slv_dots_subtract(&rest, known);
    if (!rc) rc = slv_dots_join(&named, theirs);
    if (!rc) rc = slv_dots_subtract(&named, &rest);
    if (!rc) rc = slv_dots_missing(&rest, &nothing, clip, r);
    if (!rc) rc = slv_dots_join(&r->pull.seen, &named);
    slv_dots_fini(&named);
    slv_dots_fini(&rest);
    return rc;
}

/* What the other has seen, so that what of it is not there was removed. */
static struct slv_seen gone_of(const struct slv_replica *r) {
    return (struct slv_seen){&r->pull.seen, &r->pull.ghosts, r->conf.retired};
}

static int read_heads(struct slv_replica *r, struct slv_reader *m) {
    const struct slv_replica_world *w = r->conf.world;
    int rc = 0;
    for (uint64_t n = slv_read_number(m, SLV_WRITERS_MAX); n > 0 && !rc && !m->bad; n--) {
        struct slv_batch_head h;
        rc = slv_batch_head_read(m, &h);
        if (rc) return rc;
        const bool gone = slv_space_let_go(&r->space, h.writer);
        const bool good = h.space == r->conf.id && !gone && slv_batch_head_check(&h, r->conf.trust);
        const bool ahead = good && h.writer == r->writer && h.dots.last >= r->next;
        if (ahead) {
            r->failed = rc = SLV_E_BUSY;
            w->behind_itself(w->ctx);
        } else if (good) {
            rc = replica_keep_head(r, &h);
        } else if (!gone) {
            rc = slv_dots_add_dot(&r->pull.unchecked, (struct slv_dot){h.writer, 1});
        }
        slv_batch_head_fini(&h);
    }
    return m->bad ? SLV_E_FORMAT : rc;
}

static int read_seen(struct slv_replica *r, uint64_t life, struct slv_reader *m) {
    struct slv_dots theirs = {0};
    if (r->pull.has_seen) return SLV_E_FORMAT;
    int rc = slv_dots_read(m, &theirs);
    if (!rc) rc = read_heads(r, m);
    if (!rc) rc = take_seen(r, &theirs);
    slv_dots_fini(&theirs);
    r->pull.has_seen = !rc;
    r->pull.life = life;
    return rc;
}

static bool is_inside(const struct ends *e, const struct slv_place *at) {
    return (!e->has_from || slv_place_compare(&e->from, at) <= 0) &&
           (!e->has_to || slv_place_compare(at, &e->to) < 0);
}

/* Own ghosts of a range that the other has seen removed are none any more. */
static int overrule(struct slv_replica *r, const struct ghosts *g, const struct ends *e,
                    const struct slv_dots *theirs) {
    struct slv_reader m = slv_reader_of(g->bytes.data, g->bytes.len);
    const struct slv_seen gone = gone_of(r);
    int rc = 0;
    while (slv_reader_left(&m) && !rc) {
        const struct slv_place at = slv_place_read(&m);
        slv_read_bytes(&m, SLV_DATA_MAX);
        if (is_inside(e, &at) && slv_seen_has(&gone, at.dot) && !slv_dots_has(theirs, at.dot))
            rc = slv_dots_add_dot(&r->overruled, at.dot);
    }
    return rc;
}

static int overrule_all(struct slv_replica *r, const struct ends *e,
                        const struct slv_dots *theirs) {
    const int rc = overrule(r, &r->unsigned_, e, theirs);
    return rc ? rc : overrule(r, &r->unsynced, e, theirs);
}

/* The same is there as here: no ghost of ours, which is not here. */
static int take_same(struct slv_replica *r, const struct ends *e) {
    const struct slv_dots nothing = {0};
    return overrule_all(r, e, &nothing);
}

/* What was here when it was asked for is the same; what is here now may be other. */
static int on_same(struct slv_replica *r, const struct ask *a, const struct ends *e) {
    const struct total asked = {a->n, a->sum};
    uint64_t from, to;
    find(r, e, &from, &to);
    const struct total now = total_of(r, from, to);
    return equal(&asked, &now) ? take_same(r, e) : push(r, e, false);
}

/* Those of a range whose sums differ here are to be asked for. */
static int take_parts(struct slv_replica *r, const struct ends *whole, struct slv_reader *m) {
    const uint64_t n = slv_read_number(m, FANOUT);
    struct ends e = *whole;
    int rc = n ? 0 : SLV_E_FORMAT;
    for (uint64_t i = 0; i < n && !rc; i++) {
        uint64_t from, to;
        e.has_to = i + 1 < n || whole->has_to;
        if (i + 1 < n) e.to = slv_place_read(m);
        else e.to = whole->to;
        const struct total theirs = read_total(m);
        const struct ends rest = {e.from, whole->to, e.has_from, whole->has_to};
        if (m->bad || (i + 1 < n && !parts(&rest, &e.to))) return SLV_E_FORMAT;
        find(r, &e, &from, &to);
        const struct total ours = total_of(r, from, to);
        rc = equal(&ours, &theirs) ? take_same(r, &e) : push(r, &e, false);
        e.from = e.to;
        e.has_from = true;
    }
    return rc;
}

/* The same dots are here and there, and what they name is not. */
static bool differ_in_contents(const struct slv_replica *r, const struct ends *e,
                               const struct total *theirs, const struct slv_dots *dots) {
    uint64_t i, to;
    find(r, e, &i, &to);
    const struct total ours = total_of(r, i, to);
    if (ours.n != theirs->n || equal(&ours, theirs)) return false;
    for (; i < to; i++)
        if (!slv_dots_has(dots, slv_entries_at(r->space.entries, i)->dot)) return false;
    return true;
}

static bool is_allowed(struct slv_replica *r, const struct slv_place *at, struct slv_str data) {
    struct slv_op_entry entry = {at->path, data};
    const struct slv_op op = {.dot = at->dot, .key = at->key, .entry = &entry, .n = 1};
    const bool good = slv_op_check(&op, r->conf.type, r->conf.ttl_ms, slv_hlc_limit(r->conf.hlc));
    r->count.malformed += !good;
    return good;
}

static int take_item(struct slv_replica *r, const struct slv_place *at, struct slv_str data,
                     bool settle) {
    bool changes = false;
    if (at->dot.n > replica_proved(r, at->dot.writer)) return 0; /* it comes as a batch */
    /* It is not seen then, or it would seem to have been removed here. */
    const bool allowed = is_allowed(r, at, data);
    const bool room = r->conf.causal || replica_has_room(r, true); /* causal: join has looked */
    r->count.full += allowed && !room;
    if (!allowed || !room)
        return r->conf.causal ? SLV_E_TRUST : slv_dots_add_dot(&r->pull.refused, at->dot);
    const int rc = settle ? slv_space_settle(&r->space, at, data, &changes)
                          : slv_space_take(&r->space, at, data, &changes);
    r->pull.gained = r->pull.gained || changes;
    return rc;
}

/* The items of a range: what the other has seen and has not goes, and its entries come. Without
 * `apply` they are only read. */
static int take_items(struct slv_replica *r, const struct ends *e, bool settle,
                      struct slv_reader *m, bool apply) {
    const struct slv_space_range range = range_of(e);
    const struct slv_seen gone = gone_of(r);
    const struct total theirs = read_total(m);
    struct slv_dots dots = {0};
    int rc = m->bad ? SLV_E_FORMAT : slv_dots_read(m, &dots);
    if (rc) return rc;
    if (!settle && differ_in_contents(r, e, &theirs, &dots)) rc = push(r, e, true);
    if (apply && !rc && slv_space_retain(&r->space, &range, &dots, &gone)) r->pull.gained = true;
    if (apply && !rc) rc = overrule_all(r, e, &dots);
    for (uint64_t n = slv_read_number(m, UINT32_MAX); n > 0 && !rc && !m->bad; n--) {
        const struct slv_place at = slv_place_read(m);
        const struct slv_str data = slv_read_bytes(m, SLV_DATA_MAX);
        if (m->bad || !is_inside(e, &at) || !at.dot.n || !slv_dots_has(&dots, at.dot))
            rc = SLV_E_FORMAT;
        else if (apply) rc = take_item(r, &at, data, settle);
    }
    if (!rc && m->bad) rc = SLV_E_FORMAT;
    slv_dots_fini(&dots);
    return rc;
}

/* For when all is told: the range and its items. */
static int keep_items(struct slv_replica *r, const struct ends *e, bool settle,
                      struct slv_reader *m) {
    const uint8_t *from = m->p;
    struct slv_buf *b = &r->pull.later;
    const int rc = take_items(r, e, settle, m, false);
    if (rc) return rc;
    slv_write_number(b, (e->has_from ? FROM : 0u) | (e->has_to ? TO : 0u) | (settle ? SETTLE : 0u));
    if (e->has_from) slv_place_write(&e->from, b);
    if (e->has_to) slv_place_write(&e->to, b);
    slv_buf_add(b, from, (size_t)(m->p - from));
    return b->status;
}

static int take_kept(struct slv_replica *r) {
    struct slv_reader m = slv_reader_of(r->pull.later.data, r->pull.later.len);
    int rc = 0;
    while (!rc && slv_reader_left(&m)) {
        const uint64_t flags = slv_read_number(&m, KEPT_FLAGS);
        struct ends e = {.has_from = flags & FROM, .has_to = flags & TO};
        if (e.has_from || flags & GHOST) e.from = slv_place_read(&m);
        if (e.has_to) e.to = slv_place_read(&m);
        if (flags & GHOST) rc = take_item(r, &e.from, slv_read_bytes(&m, SLV_DATA_MAX), false);
        else rc = take_items(r, &e, flags & SETTLE, &m, true);
    }
    return rc;
}

static int on_items(struct slv_replica *r, const struct ends *whole, bool settle,
                    struct slv_reader *m) {
    struct ends e = *whole;
    const bool all = slv_read_number(m, 1);
    if (!all) {
        e.to = slv_place_read(m);
        e.has_to = true;
        if (m->bad || !parts(whole, &e.to)) return SLV_E_FORMAT;
        const struct ends rest = {e.to, whole->to, true, whole->has_to};
        const int rc = push(r, &rest, settle);
        if (rc) return rc;
    }
    return r->conf.causal ? keep_items(r, &e, settle, m) : take_items(r, &e, settle, m, true);
}

/* What the other would have again if it crashed: it was not removed. */
static int read_ghosts(struct slv_replica *r, struct slv_reader *m) {
    struct slv_buf *b = &r->pull.later;
    int rc = 0;
    for (uint64_t n = slv_read_number(m, UINT32_MAX); n > 0 && !rc && !m->bad; n--) {
        const struct slv_place at = slv_place_read(m);
        const struct slv_str data = slv_read_bytes(m, SLV_DATA_MAX);
        if (m->bad || !at.dot.n) return SLV_E_FORMAT;
        rc = slv_dots_add_dot(&r->pull.ghosts, at.dot);
        if (!rc && !r->conf.causal) rc = take_item(r, &at, data, false);
        if (rc || !r->conf.causal) continue;
        slv_write_number(b, GHOST);
        slv_place_write(&at, b);
        slv_write_bytes(b, data.p, data.n);
    }
    return rc ? rc : m->bad ? SLV_E_FORMAT : 0;
}

/* One range's answer. */
static int on_answer(struct slv_replica *r, const struct ask *a, struct slv_reader *m) {
    const struct ends e = ends_of(a);
    if (!r->pull.work--) return SLV_E_LIMIT;
    switch (slv_read_number(m, ANSWERS - 1)) {
    case SAME:
        return on_same(r, a, &e);
    case PARTS:
        return take_parts(r, &e, m);
    case ITEMS:
        return on_items(r, &e, a->settle, m);
    default:
        return SLV_E_FORMAT;
    }
}

/* What was asked for is answered, or asked again: the answers are fewer where they do not fit. */
static int on_answers(struct slv_replica *r, bool first, struct slv_reader *m) {
    struct pull *p = &r->pull;
    struct ask asked[ASKED_MAX];
    const size_t n = p->n_asked;
    size_t i = 0;
    int rc = 0;
    p->n_ask -= n;
    memcpy(asked, p->ask + p->n_ask, n * sizeof *asked);
    p->n_asked = 0;
    for (; i < n && !rc && slv_reader_left(m); i++)
        rc = m->bad ? SLV_E_FORMAT : on_answer(r, &asked[i], m);
    const bool some = i > 0;
    for (; i < n && !rc; i++) {
        const struct ends e = ends_of(&asked[i]);
        rc = push(r, &e, asked[i].settle);
    }
    for (i = 0; i < n; i++)
        free_ask(&asked[i]);
    if (!rc && ((!some && !first) || !slv_reader_done(m))) rc = SLV_E_FORMAT;
    return rc;
}

/* All ranges were told: what the other had seen is seen here. */
static int join(struct slv_replica *r) {
    /* (What a causal space is told is taken all at once, or not: it may be full after that.) */
    const bool full = r->conf.causal && !replica_has_room(r, true);
    r->count.full += full;
    int rc = full ? SLV_E_LIMIT : r->conf.causal ? take_kept(r) : 0;
    if (!slv_space_covers(&r->space, &r->pull.seen)) r->pull.gained = true;
    if (!rc) rc = replica_let_go_named(r, &r->pull.seen, &r->pull.refused);
    if (!rc) rc = replica_strip(r, &r->pull.seen);
    if (!rc) rc = slv_dots_subtract(&r->pull.seen, &r->pull.refused);
    if (!rc) rc = slv_dots_join(&r->space.context, &r->pull.seen);
    if (!rc && r->conf.causal) rc = replica_depend_on(r, &r->pull.seen);
    replica_saw(r);
    if (!rc) rc = replica_drain(r);
    return rc ? rc : replica_let_go(r);
}

int replica_on_tell(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m) {
    const struct slv_replica_world *w = r->conf.world;
    struct pull *p = &r->pull;
    const uint64_t id = slv_read_id(m), life = slv_read_id(m);
    /* (What is missing there may have been due: it goes here, too, or nothing of it counts.) */
    const bool near = replica_read_cut(r, peer, m, NULL);
    const uint64_t seen = slv_read_number(m, 1);
    if (m->bad) return SLV_E_FORMAT;
    if (p->what != FOR_RANGES || p->peer != peer || p->id != id) return 0;
    int rc = w->may_repair(w->ctx, peer) ? 0 : SLV_E_TRUST;
    if (!rc && !near) {
        replica_pull_end(r, now, USELESS);
        return 0;
    }
    if (!rc && seen) rc = read_seen(r, life, m);
    /* What one that has crashed since had seen, and no longer has, was not removed. */
    if (!rc && (!p->has_seen || p->life != life)) rc = SLV_E_FORMAT;
    if (!rc) rc = read_ghosts(r, m);
    if (!rc) rc = on_answers(r, seen, m);
    if (!rc && !p->n_ask) {
        rc = join(r);
        if (!rc) {
            replica_pull_end(r, now, p->gained ? GAINS : USELESS);
            return 0;
        }
    }
    if (rc) replica_pull_end(r, now, USELESS);
    else send_ask(r, now);
    return rc == SLV_E_BUSY ? r->failed : rc; /* it is no fault of the peer's */
}
