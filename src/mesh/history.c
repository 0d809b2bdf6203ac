/* history.c: see history.h. */
#include "mesh/history.h"
#include "base/mem.h"
#include "mesh/hlc.h"

#include <stdlib.h>
#include <string.h>

#define UNDONE_MAX ((size_t)1 << 22) /* ops, entries, keys */
#define RECORD_MAX ((size_t)1 << 20)
#define UNKNOWN_MS 1000u
#define MARKS_MAX 256u /* that may speak of what is to be undone */

enum kind { BEGIN, OP, GONE, KINDS };

struct slv_history_item {
    struct slv_history_item *next;
    uint64_t number, at_ms;
    size_t n;
    char bytes[];
};

struct slv_history {
    uint64_t window_ms, next, reach_ms;
    size_t max, bytes;
    const struct slv_history_keep *keep;
    struct slv_history_item *oldest, **end;
    bool held, broken; /* broken: something was lost while it was held */
};

/* An item, read. */
struct what {
    enum kind kind;
    bool empty;
    uint64_t at_ms, node, stamp, writer;
    struct slv_dot_range dots;
    struct slv_place at;
    struct slv_str data;
};

static bool read_item(struct slv_str bytes, struct what *ret) {
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    *ret = (struct what){.kind = (enum kind)slv_read_number(&r, KINDS - 1)};
    ret->at_ms = slv_read_number(&r, (uint64_t)1 << 48);
    if (ret->kind == BEGIN) {
        ret->empty = slv_read_number(&r, 1);
        return slv_reader_done(&r);
    }
    ret->node = slv_read_id(&r);
    if (ret->kind == OP) {
        ret->writer = slv_read_id(&r);
        ret->dots.first = slv_read_number(&r, SLV_DOT_MAX);
        ret->dots.last = ret->dots.first + slv_read_number(&r, SLV_DOT_MAX);
        ret->stamp = slv_read_id(&r);
        return slv_reader_done(&r) && ret->dots.first;
    }
    ret->stamp = slv_read_id(&r);
    ret->at = slv_place_read(&r);
    ret->data = slv_read_bytes(&r, SLV_DATA_MAX);
    return slv_reader_done(&r);
}

static struct what what_of(const struct slv_history_item *i) {
    struct what w;
    (void)read_item((struct slv_str){i->bytes, i->n}, &w); /* it was checked when it came */
    return w;
}

/* --- keeping ---------------------------------------------------------------------------------- */

int slv_history_open(uint64_t window_ms, size_t max, const struct slv_history_keep *keep,
                     struct slv_history **ret) {
    struct slv_history *h = slv_mem_calloc(1, sizeof *h);
    if (!h) return SLV_E_NOMEM;
    h->window_ms = window_ms;
    h->max = max;
    h->keep = keep;
    h->end = &h->oldest;
    *ret = h;
    return 0;
}

static void free_oldest(struct slv_history *h) {
    struct slv_history_item *i = h->oldest;
    h->oldest = i->next;
    if (!i->next) h->end = &h->oldest;
    h->bytes -= sizeof *i + i->n;
    slv_mem_free(i);
}

void slv_history_close(struct slv_history *h) {
    if (!h) return;
    while (h->oldest)
        free_oldest(h);
    slv_mem_free(h);
}

static void reach(struct slv_history *h, uint64_t ms) {
    if (h->reach_ms < ms) h->reach_ms = ms;
}

/* (Of the same ms others may have been dropped, and a stamp may be ahead of its arrival.) */
static void drop_oldest(struct slv_history *h) {
    const struct what w = what_of(h->oldest);
    reach(h, 1 + (w.at_ms > w.stamp >> 16 ? w.at_ms : w.stamp >> 16));
    h->keep->del(h->keep->ctx, h->oldest->number);
    free_oldest(h);
}

static struct slv_history_item *append(struct slv_history *h, uint64_t number, uint64_t at_ms,
                                       struct slv_str bytes) {
    struct slv_history_item *i = slv_mem_alloc(sizeof *i + bytes.n);
    if (!i) return NULL;
    *i = (struct slv_history_item){.number = number, .at_ms = at_ms, .n = bytes.n};
    memcpy(i->bytes, bytes.p, bytes.n);
    *h->end = i;
    h->end = &i->next;
    h->bytes += sizeof *i + i->n;
    h->next = number + 1;
    return i;
}

static void begin_anew(struct slv_history *h, uint64_t now_ms) {
    reach(h, now_ms + 1);
    h->broken = h->held;
    while (h->oldest && !h->held)
        drop_oldest(h);
}

/* Ends the buffer. */
static void add(struct slv_history *h, uint64_t now_ms, struct slv_buf *b) {
    const struct slv_str bytes = {b->data, b->len};
    const struct slv_history_item *i = b->status ? NULL : append(h, h->next, now_ms, bytes);
    if (i) h->keep->put(h->keep->ctx, i->number, bytes);
    else begin_anew(h, now_ms);
    slv_buf_fini(b);
    slv_history_trim(h, now_ms);
}

static void begin_item(struct slv_buf *b, enum kind kind, uint64_t now_ms) {
    slv_buf_init(b, RECORD_MAX);
    slv_write_number(b, kind);
    slv_write_number(b, now_ms);
}

void slv_history_op(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                    uint64_t writer, struct slv_dot_range dots) {
    struct slv_buf b;
    begin_item(&b, OP, now_ms);
    slv_write_id(&b, node);
    slv_write_id(&b, writer);
    slv_write_number(&b, dots.first);
    slv_write_number(&b, dots.last - dots.first);
    slv_write_id(&b, stamp);
    add(h, now_ms, &b);
}

void slv_history_gone(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                      const struct slv_entry *e) {
    const struct slv_place at = slv_entry_place(e);
    const struct slv_str data = slv_entry_data(e);
    struct slv_buf b;
    begin_item(&b, GONE, now_ms);
    slv_write_id(&b, node);
    slv_write_id(&b, stamp);
    slv_place_write(&at, &b);
    slv_write_bytes(&b, data.p, data.n);
    add(h, now_ms, &b);
}

void slv_history_hold(struct slv_history *h, bool on) {
    h->held = on;
    while (h->oldest && !on && (h->broken || h->bytes > h->max))
        drop_oldest(h);
    h->broken = h->broken && on;
}

/* (Once a second, however much comes.) */
void slv_history_unknown(struct slv_history *h, uint64_t now_ms) {
    struct slv_buf b;
    if (h->reach_ms > now_ms) return;
    reach(h, now_ms + UNKNOWN_MS);
    begin_item(&b, BEGIN, now_ms + UNKNOWN_MS);
    slv_write_number(&b, 0);
    add(h, now_ms, &b);
}

/* (A clock that was set back keeps it for longer.) */
uint64_t slv_history_trim(struct slv_history *h, uint64_t now_ms) {
    if (h->held) return UINT64_MAX;
    while (h->oldest && (h->bytes > h->max || h->oldest->at_ms + h->window_ms <= now_ms))
        drop_oldest(h);
    return h->oldest ? h->oldest->at_ms + h->window_ms : UINT64_MAX;
}

int slv_history_load(struct slv_history *h, uint64_t number, struct slv_str record) {
    struct what w;
    if (number < h->next || !read_item(record, &w)) return SLV_E_FORMAT;
    /* What is behind a gap is what is known. */
    const bool gap = !h->oldest || number != h->next;
    if (w.kind == BEGIN) h->reach_ms = w.empty ? 0 : w.at_ms + 1;
    else if (gap) h->reach_ms = w.at_ms + SLV_SKEW_MS;
    return append(h, number, w.at_ms, record) ? 0 : SLV_E_NOMEM;
}

void slv_history_loaded(struct slv_history *h, uint64_t now_ms, bool lost, bool empty) {
    struct slv_buf b;
    if (lost) begin_anew(h, now_ms);
    if (h->oldest) return;
    if (!lost && empty) h->reach_ms = 0;
    else reach(h, now_ms + 1);
    begin_item(&b, BEGIN, now_ms);
    slv_write_number(&b, !lost && empty);
    add(h, now_ms, &b);
}

uint64_t slv_history_reach(const struct slv_history *h) { return h->reach_ms; }
size_t slv_history_bytes(const struct slv_history *h) { return h->bytes; }

/* --- marks ------------------------------------------------------------------------------------ */

static const char mark_key[] = "\0put back";

struct slv_str slv_mark_key(void) {
    return (struct slv_str){mark_key, sizeof mark_key - 1};
}

bool slv_mark_is_key(struct slv_str key) {
    return key.n == sizeof mark_key - 1 && !memcmp(key.p, mark_key, key.n);
}

void slv_mark_write(const struct slv_mark *m, struct slv_buf *b) {
    slv_write_number(b, m->undo.from_ms);
    slv_write_number(b, m->undo.to_ms);
    slv_write_id(b, m->undo.node);
    slv_write_number(b, m->at_ms);
    slv_write_id(b, m->by);
    slv_write_bytes(b, m->first.p, m->first.n);
    slv_write_bytes(b, m->last.p, m->last.n);
}

bool slv_mark_read(struct slv_str data, struct slv_mark *ret) {
    struct slv_reader r = slv_reader_of(data.p, data.n);
    ret->undo.from_ms = slv_read_number(&r, UINT64_MAX);
    ret->undo.to_ms = slv_read_number(&r, UINT64_MAX);
    ret->undo.node = slv_read_id(&r);
    ret->at_ms = slv_read_number(&r, UINT64_MAX);
    ret->by = slv_read_id(&r);
    ret->first = slv_read_bytes(&r, SLV_KEY_MAX);
    ret->last = slv_read_bytes(&r, SLV_KEY_MAX);
    return slv_reader_done(&r) && ret->undo.to_ms <= ret->at_ms;
}

static bool is_among(const struct slv_undo *u, uint64_t ms, uint64_t node) {
    return ms >= u->from_ms && ms < u->to_ms && (!u->node || node == u->node);
}

static bool covers(const struct slv_mark *m, struct slv_str key) {
    return slv_str_compare(m->first, key) <= 0 && slv_str_compare(key, m->last) <= 0;
}

/* Which marks count for a key: those that nothing later has undone, nor will be by what is asked
 * now. From the latest on, so that each is decided once. */
static int look_at_marks(struct slv_undone *u, struct slv_str key) {
    if (!u->n_mark || (u->looked.p && !slv_str_compare(u->looked, key))) return 0;
    char *copy = slv_mem_strndup(key.p, key.n);
    if (!copy) return SLV_E_NOMEM;
    slv_mem_free((void *)(uintptr_t)u->looked.p);
    u->looked = (struct slv_str){copy, key.n};
    for (size_t i = 0; i < u->n_mark; i++) {
        const struct slv_mark *m = &u->mark[i];
        u->in_force[i] = covers(m, key) && !is_among(&u->undo, m->at_ms, m->by);
        for (size_t k = 0; k < i && u->in_force[i]; k++)
            if (u->in_force[k] && is_among(&u->mark[k].undo, m->at_ms, m->by))
                u->in_force[i] = false;
    }
    return 0;
}

/* An op with this stamp, of this node, has been undone of that key. (Without memory it has not.) */
static bool is_put_back(struct slv_undone *u, struct slv_str key, uint64_t stamp, uint64_t node,
                        uint64_t number) {
    if (look_at_marks(u, key)) return false;
    for (size_t i = 0; i < u->n_mark; i++)
        if (u->in_force[i] && number < u->mark[i].number &&
            is_among(&u->mark[i].undo, stamp >> 16, node))
            return true;
    return false;
}

/* --- undoing ---------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b) {
    return slv_str_compare(*(const struct slv_str *)a, *(const struct slv_str *)b);
}

/* By key; of one key in the order in which they went. */
static int by_key(const void *a, const void *b) {
    const struct slv_history_item *x = *(struct slv_history_item *const *)a,
                                  *y = *(struct slv_history_item *const *)b;
    const int d = slv_str_compare(what_of(x).at.key, what_of(y).at.key);
    return d ? d : (x->number > y->number) - (x->number < y->number);
}

static int by_dot(const void *a, const void *b) {
    const struct slv_undone_op *x = a, *y = b;
    return slv_dot_compare((struct slv_dot){x->writer, x->dots.first},
                           (struct slv_dot){y->writer, y->dots.first});
}

static int latest_first(const void *a, const void *b) {
    const struct slv_mark *x = a, *y = b;
    if (x->at_ms != y->at_ms) return x->at_ms < y->at_ms ? 1 : -1;
    return slv_str_compare(x->first, y->first);
}

struct gathering {
    struct slv_undone *u;
    const struct slv_space *s;
    const struct slv_undo *undo;
    slv_node_of *node_of;
    const void *ctx;
    size_t room_op, room_gone, room_mark, room_key;
};

/* One element more. */
static int more(void *array, size_t n, size_t *room, size_t size) {
    void **p = array;
    return slv_mem_grow(p, n, room, size, UNDONE_MAX);
}

static int note_key(struct gathering *g, struct slv_str key) {
    struct slv_undone *u = g->u;
    const int rc = more(&u->key, u->n_key, &g->room_key, sizeof *u->key);
    char *copy = rc ? NULL : slv_mem_strndup(key.p, key.n);
    if (!copy) return rc ? rc : SLV_E_NOMEM;
    u->key[u->n_key++] = (struct slv_str){copy, key.n};
    return 0;
}

static int note_gone(struct gathering *g, struct slv_history_item *i, const struct what *w) {
    struct slv_undone *u = g->u;
    if (slv_mark_is_key(w->at.key)) return 0;
    if (is_put_back(u, w->at.key, w->stamp, w->node, i->number)) {
        u->excused++;
        return 0;
    }
    const int rc = more(&u->gone, u->n_gone, &g->room_gone, sizeof(struct slv_history_item *));
    if (rc) return rc;
    u->gone[u->n_gone++] = i;
    return note_key(g, w->at.key);
}

/* And the keys of what it brought that is still there. */
static int note_op(struct gathering *g, const struct what *w, uint64_t number) {
    struct slv_undone *u = g->u;
    struct slv_dot dot = {w->writer, w->dots.first};
    int rc = more(&u->op, u->n_op, &g->room_op, sizeof *u->op);
    if (rc) return rc;
    u->op[u->n_op++] = (struct slv_undone_op){w->writer, w->node, w->stamp, w->dots, number, 0};
    for (; dot.n <= w->dots.last && !rc; dot.n++) {
        const struct slv_entry *e = slv_entries_find(g->s->entries, dot);
        if (!e || slv_mark_is_key(slv_entry_key(e))) continue;
        if (is_put_back(u, slv_entry_key(e), w->stamp, w->node, number)) u->excused++;
        else rc = note_key(g, slv_entry_key(e));
    }
    return rc;
}

/* (One from before the time that is asked of speaks of nothing in it, nor of a later one.) */
static int gather_mark(struct gathering *g, const struct slv_entry *e) {
    struct slv_undone *u = g->u;
    struct slv_mark m = {.dot = e->dot, .number = UINT64_MAX};
    if (!slv_mark_read(slv_entry_data(e), &m) || m.at_ms < g->undo->from_ms) return 0;
    if (g->node_of(g->ctx, e->dot.writer) != m.by) return 0;
    if (u->n_mark == MARKS_MAX) return SLV_E_LIMIT;
    const int rc = more(&u->mark, u->n_mark, &g->room_mark, sizeof *u->mark);
    if (!rc) u->mark[u->n_mark++] = m;
    return rc;
}

static int gather_marks(struct gathering *g) {
    const struct slv_str key = slv_mark_key();
    const struct slv_entries *t = g->s->entries;
    struct slv_undone *u = g->u;
    uint64_t i = slv_entries_rank(t, &(struct slv_place){.key = key});
    const uint64_t end = slv_entries_rank_behind(t, key);
    int rc = 0;
    for (; i < end && !rc; i++)
        rc = gather_mark(g, slv_entries_at(t, i));
    if (rc || !u->n_mark) return rc;
    qsort(u->mark, u->n_mark, sizeof *u->mark, latest_first);
    u->in_force = slv_mem_calloc(u->n_mark, sizeof *u->in_force);
    return u->in_force ? 0 : SLV_E_NOMEM;
}

/* When they came: who made one had not seen what came here later, as far as this node can tell. */
static void number_marks(struct slv_undone *u, const struct slv_history *h) {
    for (const struct slv_history_item *i = h->oldest; i && u->n_mark; i = i->next) {
        const struct what w = what_of(i);
        for (size_t k = 0; k < u->n_mark && w.kind == OP; k++) {
            struct slv_mark *m = &u->mark[k];
            if (m->dot.writer == w.writer && m->dot.n >= w.dots.first && m->dot.n <= w.dots.last)
                m->number = i->number;
        }
    }
}

static void drop_doubles(struct slv_undone *u) {
    size_t kept = 0;
    if (u->n_key) qsort(u->key, u->n_key, sizeof *u->key, by_bytes);
    for (size_t i = 0; i < u->n_key; i++) {
        if (kept && !slv_str_compare(u->key[kept - 1], u->key[i]))
            slv_mem_free((void *)(uintptr_t)u->key[i].p);
        else u->key[kept++] = u->key[i];
    }
    u->n_key = kept;
}

static void sort_ops(struct slv_undone *u) {
    if (u->n_op) qsort(u->op, u->n_op, sizeof *u->op, by_dot);
    for (size_t i = 0; i < u->n_op; i++) {
        struct slv_undone_op *o = &u->op[i];
        const uint64_t before = i && o[-1].writer == o->writer ? o[-1].reach : 0;
        o->reach = before > o->dots.last ? before : o->dots.last;
    }
}

int slv_history_undone(const struct slv_history *h, const struct slv_space *s,
                       const struct slv_undo *undo, bool again, slv_node_of *node_of,
                       const void *ctx, struct slv_undone *ret) {
    struct gathering g = {.u = ret, .s = s, .undo = undo, .node_of = node_of, .ctx = ctx};
    *ret = (struct slv_undone){.undo = *undo};
    if (undo->from_ms < h->reach_ms) return SLV_E_NOENT;
    int rc = again ? 0 : gather_marks(&g);
    if (!rc) number_marks(ret, h);
    for (struct slv_history_item *i = h->oldest; i && !rc; i = i->next) {
        const struct what w = what_of(i);
        if (w.kind == BEGIN || !is_among(undo, w.stamp >> 16, w.node)) continue;
        rc = w.kind == OP ? note_op(&g, &w, i->number) : note_gone(&g, i, &w);
    }
    if (rc) {
        slv_undone_fini(ret);
        return rc;
    }
    drop_doubles(ret);
    sort_ops(ret);
    if (ret->n_gone) qsort(ret->gone, ret->n_gone, sizeof(struct slv_history_item *), by_key);
    return 0;
}

void slv_undone_fini(struct slv_undone *u) {
    for (size_t i = 0; i < u->n_key; i++)
        slv_mem_free((void *)(uintptr_t)u->key[i].p);
    slv_mem_free(u->key);
    slv_mem_free(u->gone);
    slv_mem_free(u->mark);
    slv_mem_free(u->in_force);
    slv_mem_free((void *)(uintptr_t)u->looked.p);
    slv_mem_free(u->op);
    *u = (struct slv_undone){0};
}

/* Whether an entry was put in by one of the ops. (They may overlap, where a number was given
 * twice.) */
static bool was_put(struct slv_undone *u, struct slv_str key, struct slv_dot dot) {
    size_t lo = 0, hi = u->n_op;
    while (lo < hi) { /* behind the last that begins with it, or before */
        const size_t mid = lo + (hi - lo) / 2;
        const struct slv_dot at = {u->op[mid].writer, u->op[mid].dots.first};
        if (slv_dot_compare(at, dot) <= 0) lo = mid + 1;
        else hi = mid;
    }
    for (; lo && u->op[lo - 1].writer == dot.writer && u->op[lo - 1].reach >= dot.n; lo--) {
        const struct slv_undone_op *o = &u->op[lo - 1];
        if (dot.n <= o->dots.last && !is_put_back(u, key, o->stamp, o->node, o->number))
            return true;
    }
    return false;
}

static int copy_there(struct slv_undone *u, const struct slv_space *s, struct slv_str key,
                      struct slv_space *to) {
    uint64_t i = slv_entries_rank(s->entries, &(struct slv_place){.key = key});
    const uint64_t end = slv_entries_rank_behind(s->entries, key);
    int rc = 0;
    for (; i < end && !rc; i++) {
        const struct slv_entry *e = slv_entries_at(s->entries, i);
        const struct slv_place at = slv_entry_place(e);
        if (!was_put(u, key, e->dot)) rc = slv_space_load(to, &at, slv_entry_data(e));
    }
    return rc;
}

static size_t first_gone(const struct slv_undone *u, struct slv_str key) {
    size_t lo = 0, hi = u->n_gone;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (slv_str_compare(what_of(u->gone[mid]).at.key, key) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

int slv_undone_before(struct slv_undone *u, const struct slv_space *s, struct slv_str key,
                      struct slv_space *ret) {
    int rc = slv_space_init(ret);
    if (!rc) rc = copy_there(u, s, key, ret);
    for (size_t i = first_gone(u, key); i < u->n_gone && !rc; i++) {
        const struct what w = what_of(u->gone[i]);
        if (slv_str_compare(w.at.key, key) != 0) break;
        if (was_put(u, key, w.at.dot) || slv_entries_find(ret->entries, w.at.dot)) continue;
        rc = slv_space_load(ret, &w.at, w.data);
    }
    if (rc) slv_space_fini(ret);
    return rc;
}
