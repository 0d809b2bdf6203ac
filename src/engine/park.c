/* park.c: see park.h. */
#include "engine/park.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

#define BLOCK SLV_KV_BLOCK
#define PAGES_A_STEP 8u /* written or read beside one step */
#define NOWHERE UINT64_MAX

/* Pages of a session that is leaving, out, or coming: at[c][i] is where the spill has that of block
 * first[c] + i, or NOWHERE. */
struct slv_parked {
    uint32_t first[SLV_PAGE_CLASSES], n[SLV_PAGE_CLASSES];
    uint64_t *at[SLV_PAGE_CLASSES];
    uint32_t n_pos;  /* positions that they hold */
    uint32_t n_done; /* pages that have been looked at, class by class */
    uint64_t room[]; /* of at */
};

static struct slv_batch_slot *slots_end(const struct slv_batch *b) {
    return b->slot + b->o.n_sessions;
}

/* --- who -------------------------------------------------------------------------------------- */

/* Whether x waits for y rather than y for x. */
static bool is_behind(const struct slv_batch_slot *x, const struct slv_batch_slot *y) {
    if (x->s->o.priority != y->s->o.priority) return x->s->o.priority < y->s->o.priority;
    return x->joined > y->joined;
}

/* The first, or the last, by rank of the slots in a place; NULL: there are none. */
static struct slv_batch_slot *find(const struct slv_batch *b, enum slv_place place, bool last) {
    struct slv_batch_slot *best = NULL;
    for (struct slv_batch_slot *t = b->slot; t < slots_end(b); t++)
        if (t->s && t->place == place && (!best || is_behind(t, best) == last)) best = t;
    return best;
}

static uint32_t count(const struct slv_batch *b, enum slv_place place) {
    uint32_t n = 0;
    for (const struct slv_batch_slot *t = b->slot; t < slots_end(b); t++)
        n += t->s && t->place == place;
    return n;
}

static bool is_full(const struct slv_batch *b) {
    return count(b, SLV_PLACE_IN) + count(b, SLV_PLACE_COMING) >= b->o.n_at_once;
}

/* Positions that its next step, or all of what it is reading, takes it to. */
static uint32_t wants(const struct slv_batch_slot *t) {
    const struct slv_reading r = slv_batch_reading(t);
    return t->s->kv.n_pos + (r.n ? (uint32_t)r.n : t->feed.n);
}

/* --- leaving ---------------------------------------------------------------------------------- */

static void forget(const struct slv_batch *b, struct slv_batch_slot *t) {
    struct slv_parked *p = t->parked;
    for (int c = 0; p && c < SLV_PAGE_CLASSES; c++)
        for (uint32_t i = 0; i < p->n[c]; i++)
            if (p->at[c][i] != NOWHERE) b->o.spill->drop(b->o.spill->ctx, p->at[c][i]);
    slv_mem_free(p);
    t->parked = NULL;
}

void slv_park_end(const struct slv_batch *b, struct slv_batch_slot *t) {
    forget(b, t);
    if (t->place == SLV_PLACE_COMING) slv_session_drop(t->s); /* its windows may have gaps */
}

/* The list of what a session has, nothing of it written yet. NULL: there is no memory for that. */
static struct slv_parked *list_pages(const struct slv_kv *kv) {
    size_t all = 0, at = 0;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        all += kv->table[c].end - kv->table[c].first;
    struct slv_parked *p = slv_mem_alloc(sizeof *p + all * sizeof *p->room);
    if (!p) return NULL;
    *p = (struct slv_parked){.n_pos = kv->n_pos};
    for (size_t i = 0; i < all; i++)
        p->room[i] = NOWHERE;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        p->first[c] = kv->table[c].first;
        p->n[c] = kv->table[c].end - kv->table[c].first;
        p->at[c] = p->room + at;
        at += p->n[c];
    }
    return p;
}

/* One that has memory of its own keeps it: it would be of no use to others. */
static void go_out(struct slv_batch_slot *t) {
    t->place = SLV_PLACE_OUT;
    if (!t->s->kv.shares) return;
    if (t->n_back < t->s->kv.n_pos) t->n_back = t->s->kv.n_pos;
    slv_session_drop(t->s);
}

/* It has no more steps until it is back. */
static void leave(struct slv_batch *b, struct slv_batch_slot *t) {
    const struct slv_kv *kv = &t->s->kv;
    b->stats.waits++;
    t->place = SLV_PLACE_LEAVING;
    if (b->o.spill && kv->shares && kv->n_pos) t->parked = list_pages(kv);
    if (!t->parked) go_out(t);
}

void slv_park_join(const struct slv_batch *b, struct slv_batch_slot *t) {
    t->place = SLV_PLACE_OUT; /* not counted */
    if (is_full(b)) go_out(t);
    else t->place = SLV_PLACE_IN;
}

/* Page i of the list. False: the spill takes no more. What others hold too, beside the tree, is not
 * written: it is likely to be there still. */
static bool write_page(struct slv_batch *b, struct slv_batch_slot *t, uint32_t i) {
    struct slv_parked *p = t->parked;
    const struct slv_kv *kv = &t->s->kv;
    const enum slv_page_class c = i < p->n[SLV_PAGE_FULL] ? SLV_PAGE_FULL : SLV_PAGE_WINDOWED;
    const uint32_t k = c == SLV_PAGE_FULL ? i : i - p->n[SLV_PAGE_FULL];
    const unsigned char *page = kv->table[c].page[p->first[c] + k];
    slv_pool_lock(kv->pool);
    bool shared = slv_pool_holders(kv->pool, c, page) > 2;
    slv_pool_unlock(kv->pool);
    if (shared) return true;
    const size_t n = kv->table[c].page_bytes;
    if (b->o.spill->put(b->o.spill->ctx, page, n, &p->at[c][k])) {
        p->at[c][k] = NOWHERE;
        return false;
    }
    b->stats.spilled += n;
    return true;
}

static void go_on_leaving(struct slv_batch *b, struct slv_batch_slot *t) {
    struct slv_parked *p = t->parked;
    const uint32_t all = p->n[SLV_PAGE_FULL] + p->n[SLV_PAGE_WINDOWED];
    bool takes = true;
    for (uint32_t i = 0; i < PAGES_A_STEP && p->n_done < all && takes; i++)
        takes = write_page(b, t, p->n_done++);
    if (takes && p->n_done < all) return;
    go_out(t);
}

void slv_park_after(struct slv_batch *b) {
    for (struct slv_batch_slot *t = b->slot; t < slots_end(b); t++)
        if (t->s && t->place == SLV_PLACE_LEAVING) go_on_leaving(b, t);
}

bool slv_batch_yield(struct slv_batch *b, int32_t priority) {
    if (find(b, SLV_PLACE_LEAVING, false)) return false;
    struct slv_batch_slot *t = find(b, SLV_PLACE_IN, true);
    if (!t || t->s->o.priority >= priority) return false;
    leave(b, t);
    return t->place == SLV_PLACE_OUT;
}

/* --- coming back ------------------------------------------------------------------------------ */

/* From now on it has steps; what it has not is to be read. */
static void come_in(struct slv_batch *b, struct slv_batch_slot *t) {
    forget(b, t);
    t->place = SLV_PLACE_IN;
}

static void take_known(struct slv_batch_slot *t) {
    struct slv_session *s = t->s;
    if (s->kv.n_pos < t->n_back)
        slv_session_take(s, s->history + s->kv.n_pos, t->n_back - s->kv.n_pos);
}

/* A page of the block from the spill, into memory that the session has for it. */
static int read_page(const struct slv_batch *b, struct slv_batch_slot *t, enum slv_page_class c,
                     uint32_t block) {
    const struct slv_parked *p = t->parked;
    const struct slv_kv_table *table = &t->s->kv.table[c];
    const uint64_t at = p->at[c][block - p->first[c]];
    if (at == NOWHERE) return SLV_E_NOENT;
    return b->o.spill->get(b->o.spill->ctx, at, table->page[block], table->page_bytes);
}

/* The block that the session's position is in, from the spill: as much of it as was valid. */
static int read_block(const struct slv_batch *b, struct slv_batch_slot *t) {
    struct slv_session *s = t->s;
    const struct slv_parked *p = t->parked;
    const uint32_t pos = s->kv.n_pos, block = pos / BLOCK, end = (block + 1) * BLOCK;
    bool there[SLV_PAGE_CLASSES]; /* pages before a window are not, and not wanted */
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        there[c] = block >= p->first[c] && block - p->first[c] < p->n[c];
    int rc = slv_kv_open_block(&s->kv, block, there);
    for (int c = 0; c < SLV_PAGE_CLASSES && !rc; c++)
        if (there[c]) rc = read_page(b, t, (enum slv_page_class)c, block);
    if (!rc) slv_session_keep(s, s->history + pos, (end < p->n_pos ? end : p->n_pos) - pos);
    return rc;
}

/* Where layers have a window, a block is of use only with those behind it: so none is. */
static void give_up_reading(struct slv_batch_slot *t) {
    if (!t->s->kv.table[SLV_PAGE_WINDOWED].page_bytes) return;
    const uint32_t room = t->s->kv.n_room;
    slv_session_drop(t->s);
    if (!slv_session_room(t->s, room)) take_known(t);
}

static void go_on_coming(struct slv_batch *b, struct slv_batch_slot *t) {
    const uint32_t end = t->parked->n_pos;
    int rc = 0;
    for (uint32_t i = 0; i < PAGES_A_STEP && t->s->kv.n_pos < end && !rc; i++)
        rc = read_block(b, t);
    if (rc) give_up_reading(t);
    if (rc || t->s->kv.n_pos >= end) come_in(b, t);
}

/* Room for what it had, for what it will do next, and for `more` positions, which stay free. */
static bool find_room(struct slv_batch_slot *t, uint32_t more) {
    struct slv_session *s = t->s;
    const uint64_t need = t->n_back + (t->g ? t->feed.n : t->n_ids - t->n_read);
    const uint64_t all = need + more < s->o.n_ctx ? need + more : s->o.n_ctx;
    if (slv_kv_reserve(&s->kv, (uint32_t)all)) return false;
    return !slv_kv_reserve(&s->kv, (uint32_t)need); /* less than before */
}

static void come_back(struct slv_batch *b, struct slv_batch_slot *t) {
    take_known(t);
    t->place = SLV_PLACE_COMING;
    if (!t->parked) come_in(b, t);
}

/* There is nobody else to wait for. */
static void end_for_good(struct slv_batch *b, struct slv_batch_slot *t) {
    struct slv_err e = {0};
    slv_err_set(&e, SLV_E_FIT, "no memory for position %u: others keep it", wants(t));
    slv_batch_end(b, t, e.code, &e);
}

static void bring_back(struct slv_batch *b) {
    const uint32_t n_in = count(b, SLV_PLACE_IN) + count(b, SLV_PLACE_COMING);
    struct slv_batch_slot *t = find(b, SLV_PLACE_OUT, false);
    if (!t || is_full(b) || count(b, SLV_PLACE_LEAVING)) return;
    for (const struct slv_batch_slot *o = b->slot; o < slots_end(b); o++)
        if (o->s && o->starved) return;
    if (find_room(t, n_in ? (n_in + 1) * BLOCK : 0)) come_back(b, t);
    else if (!n_in) end_for_good(b, t);
}

/* --- growing ---------------------------------------------------------------------------------- */

/* The first by rank of those that have too little memory and are not starved yet. */
static struct slv_batch_slot *next_poor(const struct slv_batch *b) {
    struct slv_batch_slot *best = NULL;
    for (struct slv_batch_slot *t = b->slot; t < slots_end(b); t++)
        if (t->s && t->place == SLV_PLACE_IN && !t->starved && wants(t) > t->s->kv.n_room &&
            (!best || is_behind(best, t)))
            best = t;
    return best;
}

/* Memory for one of them, or somebody leaves. */
static void feed_poor(struct slv_batch *b, struct slv_batch_slot *t) {
    while (t->place == SLV_PLACE_IN && slv_session_room(t->s, wants(t))) {
        struct slv_batch_slot *last = find(b, SLV_PLACE_IN, true);
        bool coming = count(b, SLV_PLACE_LEAVING) || count(b, SLV_PLACE_COMING);
        t->starved = coming || last != t || count(b, SLV_PLACE_IN) > 1;
        if (!t->starved) {
            end_for_good(b, t);
            return;
        }
        if (coming) return;
        leave(b, last);
        if (last->place == SLV_PLACE_OUT) t->starved = false; /* there may be enough now */
    }
}

void slv_park_before(struct slv_batch *b) {
    struct slv_batch_slot *t;
    for (t = b->slot; t < slots_end(b); t++)
        if (t->s && t->place == SLV_PLACE_COMING) go_on_coming(b, t);
    bring_back(b);
    for (t = b->slot; t < slots_end(b); t++)
        t->starved = false;
    while ((t = next_poor(b)))
        feed_poor(b, t);
}

/* --- seen from outside ------------------------------------------------------------------------ */

void slv_batch_stats(const struct slv_batch *b, struct slv_batch_stats *ret) {
    *ret = b->stats;
    ret->active = b->n_active;
    for (const struct slv_batch_slot *t = b->slot; t < slots_end(b); t++) {
        if (!t->s || t->place == SLV_PLACE_IN) continue;
        if (!ret->waiting++ || t->s->o.priority > ret->priority) ret->priority = t->s->o.priority;
    }
}
