/* prefix.c: see prefix.h. */
#include "engine/prefix.h"
#include "base/err.h"
#include "base/mem.h"
#include "kernel/fmath.h"

#include <string.h>

#define BLOCK SLV_KV_BLOCK
#define FULL SLV_PAGE_FULL
#define WINDOWED SLV_PAGE_WINDOWED
#define WARM 4u /* free pages that have memory */

/* --- the cache -------------------------------------------------------------------------------- */

/* Twice what a session with default options takes. */
static int default_bytes(const struct slv_model *m, enum slv_kv_kind kv, uint64_t *ret,
                         struct slv_err *err) {
    struct slv_session_opts so = {.kv = kv};
    struct slv_memory mem = {0};
    int rc = slv_model_memory(m, &so, &mem, err);
    if (!rc) *ret = 2 * mem.kv;
    return rc;
}

/* Pages of each class that the budget is enough for. */
static bool count_pages(const size_t page_bytes[SLV_PAGE_CLASSES], uint64_t budget,
                        uint32_t ret[SLV_PAGE_CLASSES]) {
    bool any = false;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        uint64_t n = page_bytes[c] ? budget / page_bytes[c] : 0;
        ret[c] = n > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)n;
        any = any || n;
    }
    return any && budget <= SIZE_MAX / 4;
}

int slv_prefix_cache_open(struct slv_model *m, const struct slv_prefix_cache_opts *opts,
                          struct slv_prefix_cache **ret, struct slv_err *err) {
    struct slv_prefix_cache_opts o = opts ? *opts : (struct slv_prefix_cache_opts){0};
    size_t page_bytes[SLV_PAGE_CLASSES];
    uint32_t n[SLV_PAGE_CLASSES];
    int rc = slv_model_check_generates(m, err);
    if (o.kv > SLV_KV_KIND_Q8) return slv_err_set(err, SLV_E_USAGE, "unknown kind of KV cache");
    if (!rc && !o.bytes) rc = default_bytes(m, o.kv, &o.bytes, err);
    if (rc) return rc;
    if (!slv_kv_page_bytes(&m->h, slv_kv_type_of(o.kv), page_bytes) ||
        !count_pages(page_bytes, o.bytes, n))
        return slv_err_set(err, SLV_E_FIT, "prefix cache: %llu bytes hold no page of this model",
                           (unsigned long long)o.bytes);
    struct slv_prefix_cache *c = slv_mem_calloc(1, sizeof *c);
    if (!c) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    *c = (struct slv_prefix_cache){.m = m, .kind = o.kv};
    c->window_blocks = m->h.window ? (m->h.window - 1) / BLOCK + 2 : 0;
    c->bytes = o.bytes + slv_pool_table_bytes(n) + slv_tree_bytes(n);
    rc = slv_pool_open(page_bytes, n, (size_t)o.bytes, &c->pool);
    if (!rc) rc = slv_tree_open(c->pool, &c->tree);
    if (rc) {
        slv_prefix_cache_close(c);
        return slv_err_set(err, rc, "no memory for a prefix cache of %llu bytes",
                           (unsigned long long)o.bytes);
    }
    *ret = c;
    return 0;
}

void slv_prefix_cache_close(struct slv_prefix_cache *c) {
    if (!c) return;
    slv_tree_close(c->tree);
    slv_pool_close(c->pool);
    slv_mem_free(c);
}

void slv_prefix_cache_stats(struct slv_prefix_cache *c, struct slv_prefix_stats *ret) {
    slv_pool_lock(c->pool);
    *ret = (struct slv_prefix_stats){.hits = c->hits,
                                     .misses = c->misses,
                                     .reused = c->reused,
                                     .evictions = c->tree->evictions,
                                     .bytes = c->pool->used,
                                     .budget = c->pool->budget};
    slv_pool_unlock(c->pool);
}

/* --- places in the tree ----------------------------------------------------------------------- */

/* A space's numbers: -1, so that they are no tokens; the caller's; how many adapters, and of each
 * its id and the bits of its scale. */
static void name_space(uint64_t space, const struct slv_adapter_set *adapters, int32_t ret[BLOCK]) {
    uint32_t v[BLOCK] = {UINT32_MAX, (uint32_t)space, (uint32_t)(space >> 32),
                         (uint32_t)adapters->n};
    _Static_assert(4 + 3 * SLV_ADAPTERS_MAX <= BLOCK, "a block has room for all");
    for (size_t i = 0; i < adapters->n; i++) {
        const struct slv_adapter_use *use = &adapters->use[i];
        v[4 + 3 * i] = (uint32_t)use->adapter->id;
        v[5 + 3 * i] = (uint32_t)(use->adapter->id >> 32);
        v[6 + 3 * i] = slv_f32_bits(use->scale);
    }
    memcpy(ret, v, sizeof v);
}

bool slv_prefix_warm(struct slv_prefix_cache *c) {
    bool did = false;
    slv_pool_lock(c->pool);
    for (int k = 0; k < SLV_PAGE_CLASSES && !did; k++)
        did = c->pool->cls[k].page_bytes && slv_pool_warm(c->pool, (enum slv_page_class)k, WARM);
    slv_pool_unlock(c->pool);
    return did;
}

void slv_prefix_join(struct slv_prefix_user *u, struct slv_prefix_cache *c, uint32_t n_ctx,
                     uint64_t space, const struct slv_adapter_set *adapters) {
    int32_t name[BLOCK];
    *u = (struct slv_prefix_user){.cache = c};
    if (!c) return;
    name_space(space, adapters, name);
    slv_pool_lock(c->pool);
    u->at = slv_tree_root(c->tree, slv_model_is_long(c->m, n_ctx));
    if (space || adapters->n) u->at = slv_tree_space(c->tree, u->at, name);
    if (u->at) u->at->users++;
    c->n_users++;
    slv_pool_unlock(c->pool);
}

void slv_prefix_part(struct slv_prefix_user *u) {
    if (!u->cache) return;
    slv_pool_lock(u->cache->pool);
    if (u->at) u->at->users--;
    u->cache->n_users--;
    slv_pool_unlock(u->cache->pool);
    *u = (struct slv_prefix_user){0};
}

static void move_to(struct slv_prefix_user *u, struct slv_tree_node *n) {
    u->at->users--;
    n->users++;
    u->at = n;
}

/* The node of a block on the way to n, or n itself; NULL: the way is not so long. */
static struct slv_tree_node *on_the_way(struct slv_tree_node *n, uint32_t block) {
    if (n->depth <= block) return NULL;
    while (n->depth > block + 1)
        n = n->parent;
    return n;
}

static bool has_page(const struct slv_kv *kv, enum slv_page_class c, uint32_t block) {
    return block >= kv->table[c].first && block < kv->table[c].end;
}

/* --- taking ----------------------------------------------------------------------------------- */

/* A way to go on: up to position n, the last of them in the block of `last`. */
struct offer {
    struct slv_tree_node *last;
    uint32_t n;
};

/* Whether all pages are there that a token at o->n sees of the layers with a window: of blocks
 * before `own` the session's do as well. */
static bool is_usable(const struct slv_kv *kv, const struct offer *o, uint32_t own) {
    if (!kv->table[WINDOWED].page_bytes) return true;
    uint32_t sees = slv_kv_sees(kv, WINDOWED, o->n);
    if (sees >= o->n) return true;
    const struct slv_tree_node *x = o->last;
    for (uint32_t b = (o->n - 1) / BLOCK;; b--, x = x->parent) {
        if (!x->page[WINDOWED] && !(b < own && has_page(kv, WINDOWED, b))) return false;
        if (b == sees / BLOCK) return true;
    }
}

/* The longest beginning of history[0..n) that the tree knows and the session can use, but the last
 * token; in whole blocks, or of any length. Its n is 0: none that is longer than what there is. */
static struct offer find_offer(const struct slv_prefix_user *u, const struct slv_kv *kv,
                               const int32_t *history, uint32_t n, bool any_length) {
    struct slv_tree_node *x = u->at, *child;
    const uint32_t own = kv->n_pos / BLOCK, most = n - 1;
    uint32_t k = 0;
    while ((x->depth + 1) * BLOCK <= most &&
           (child = slv_tree_child(u->cache->tree, x, history + x->depth * BLOCK)))
        x = child;
    child = slv_tree_begins(x, history + x->depth * BLOCK, most - x->depth * BLOCK, &k);
    struct offer o = {child, x->depth * BLOCK + k};
    if (any_length && child && o.n > kv->n_pos && is_usable(kv, &o, own)) return o;
    for (; x != u->at; x = x->parent) {
        o = (struct offer){x, x->depth * BLOCK};
        if (o.n > kv->n_pos && is_usable(kv, &o, own)) return o;
    }
    return (struct offer){NULL, 0};
}

/* Nothing goes that a continuation behind n needs, until this is taken back. */
static void guard(const struct slv_prefix_cache *c, struct slv_tree_node *n, bool on) {
    const uint32_t by = on ? 1 : UINT32_MAX; /* minus one */
    n->pins += by;
    for (uint32_t k = 0; k < c->window_blocks && n->parent; k++, n = n->parent)
        n->window_pins += by;
}

/* Copies of the pages of a block of which only the beginning is wanted. False: there is no room,
 * and nothing was taken. */
static bool copy_pages(const struct slv_prefix_cache *p, const struct slv_kv *kv,
                       struct slv_tree_node *from, unsigned char *ret[SLV_PAGE_CLASSES]) {
    bool ok = true;
    guard(p, from, true);
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        ret[c] = NULL;
        if (!from->page[c] || !ok) continue;
        ret[c] = slv_pool_take(p->pool, (enum slv_page_class)c);
        if (ret[c]) memcpy(ret[c], from->page[c], kv->table[c].page_bytes);
        ok = ret[c] != NULL;
    }
    guard(p, from, false);
    for (int c = 0; c < SLV_PAGE_CLASSES && !ok; c++)
        if (ret[c]) slv_pool_drop(p->pool, (enum slv_page_class)c, ret[c]);
    return ok;
}

/* Puts the tree's pages of blocks [first, end) into a table, where the session has none; x is the
 * node of the last. What the session has is some of the last of them. */
static void fill_table(const struct slv_prefix_cache *p, struct slv_kv *kv, enum slv_page_class c,
                       struct slv_tree_node *x, uint32_t first, uint32_t end) {
    struct slv_kv_table *t = &kv->table[c];
    for (uint32_t b = end; b-- > first; x = x->parent) {
        if (b >= t->first && b < t->end) continue;
        slv_pool_hold(p->pool, c, x->page[c]);
        t->page[b] = x->page[c];
    }
    t->first = first;
    t->end = end;
}

/* Makes the session's pages those of the offer. */
static void accept(const struct slv_prefix_cache *p, struct slv_kv *kv, const struct offer *o,
                   unsigned char *const copy[SLV_PAGE_CLASSES]) {
    const uint32_t whole = o->n / BLOCK, own = kv->n_pos / BLOCK;
    struct slv_tree_node *x = o->n % BLOCK ? o->last->parent : o->last;
    for (int i = 0; i < SLV_PAGE_CLASSES; i++) {
        enum slv_page_class c = (enum slv_page_class)i;
        struct slv_kv_table *t = &kv->table[c];
        if (!t->page_bytes) continue;
        uint32_t first = slv_kv_sees(kv, c, o->n) / BLOCK;
        if (first > whole) first = whole;
        slv_kv_cut(kv, c, first, own);
        fill_table(p, kv, c, x, first, whole);
        if (!copy[c]) continue;
        t->page[whole] = copy[c];
        t->end = whole + 1;
    }
    kv->n_pos = o->n;
    kv->ready_from = kv->ready_end = 0;
}

/* The best offer there is room for. */
static struct offer take_offer(const struct slv_prefix_user *u, struct slv_kv *kv,
                               const int32_t *history, uint32_t n) {
    unsigned char *copy[SLV_PAGE_CLASSES] = {NULL};
    struct offer o = find_offer(u, kv, history, n, true);
    if (o.n % BLOCK && !copy_pages(u->cache, kv, o.last, copy))
        o = find_offer(u, kv, history, n, false);
    if (o.n) accept(u->cache, kv, &o, copy);
    return o;
}

uint32_t slv_prefix_take(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history,
                         uint32_t n) {
    const uint32_t from = kv->n_pos;
    struct slv_prefix_cache *p = u->cache;
    struct offer o = {NULL, 0};
    if (!u->at || n < from + 2) return 0;
    slv_pool_lock(p->pool);
    if (u->at->depth == from / BLOCK) o = take_offer(u, kv, history, n);
    if (o.n) {
        move_to(u, o.n % BLOCK ? o.last->parent : o.last);
        slv_tree_touch(p->tree, o.last, p->window_blocks);
        p->hits++;
        p->reused += o.n - from;
    } else if (!from) {
        p->misses++;
    }
    slv_pool_unlock(p->pool);
    return o.n ? o.n - from : 0;
}

/* --- giving ----------------------------------------------------------------------------------- */

/* The session's pages of a block; NULL where it has none. */
static void own_pages(const struct slv_kv *kv, uint32_t block, unsigned char *ret[]) {
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        bool there = has_page(kv, (enum slv_page_class)c, block);
        ret[c] = there ? kv->table[c].page[block] : NULL;
    }
}

/* The tree has the block: its pages take the place of the session's, but where only the session has
 * one. */
static void adopt(struct slv_prefix_user *u, struct slv_kv *kv, struct slv_tree_node *n) {
    const uint32_t block = n->depth - 1;
    for (int i = 0; i < SLV_PAGE_CLASSES; i++) {
        enum slv_page_class c = (enum slv_page_class)i;
        unsigned char **own = has_page(kv, c, block) ? &kv->table[c].page[block] : NULL;
        if (!own || *own == n->page[c]) continue;
        if (!n->page[c]) {
            slv_tree_put(u->cache->tree, n, c, *own);
            continue;
        }
        slv_pool_hold(u->cache->pool, c, n->page[c]);
        slv_pool_drop(u->cache->pool, c, *own);
        *own = n->page[c];
    }
}

void slv_prefix_grow(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history) {
    unsigned char *page[SLV_PAGE_CLASSES];
    if (!u->at || u->at->depth >= kv->n_pos / BLOCK) return;
    slv_pool_lock(u->cache->pool);
    while (u->at->depth < kv->n_pos / BLOCK) {
        const uint32_t block = u->at->depth;
        const int32_t *tok = history + (size_t)block * BLOCK;
        struct slv_tree_node *n = slv_tree_child(u->cache->tree, u->at, tok);
        own_pages(kv, block, page);
        if (n) adopt(u, kv, n);
        else n = slv_tree_add(u->cache->tree, u->at, tok, BLOCK, page);
        if (!n) break; /* the next block is another try */
        move_to(u, n);
    }
    slv_pool_unlock(u->cache->pool);
}

void slv_prefix_give(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history) {
    unsigned char *page[SLV_PAGE_CLASSES];
    const uint32_t n_tok = kv->n_pos % BLOCK, block = kv->n_pos / BLOCK;
    uint32_t known;
    if (!u->at || !n_tok || u->at->depth != block) return;
    const int32_t *tok = history + (size_t)block * BLOCK;
    slv_pool_lock(u->cache->pool);
    struct slv_tree_node *n = slv_tree_begins(u->at, tok, n_tok, &known);
    own_pages(kv, block, page);
    if (n && known == n_tok) {
        if (n->n_tok == n_tok) adopt(u, kv, n);
        slv_tree_touch(u->cache->tree, n, u->cache->window_blocks);
    } else {
        slv_tree_add(u->cache->tree, u->at, tok, n_tok, page);
    }
    kv->ready_from = kv->ready_end = 0; /* the page is not the session's alone any more */
    slv_pool_unlock(u->cache->pool);
}

/* --- going back ------------------------------------------------------------------------------- */

unsigned char *slv_prefix_page(const struct slv_prefix_user *u, const struct slv_kv *kv,
                               enum slv_page_class c, uint32_t block) {
    if (has_page(kv, c, block)) return kv->table[c].page[block];
    const struct slv_tree_node *n = u->at ? on_the_way(u->at, block) : NULL;
    return n ? n->page[c] : NULL;
}

bool slv_prefix_recover(struct slv_prefix_user *u, struct slv_kv *kv, uint32_t n) {
    struct slv_kv_table *t = &kv->table[WINDOWED];
    const uint32_t first = slv_kv_sees(kv, WINDOWED, n) / BLOCK, end = (n + BLOCK - 1) / BLOCK;
    bool ok = u->at && n;
    if (!ok) return false;
    slv_pool_lock(u->cache->pool);
    for (uint32_t b = first; b < end && ok; b++)
        ok = slv_prefix_page(u, kv, WINDOWED, b) != NULL;
    if (ok) {
        slv_kv_cut(kv, WINDOWED, first, end);
        uint32_t lost = t->first < t->end ? t->first : end;
        for (uint32_t b = first; b < lost; b++) {
            t->page[b] = on_the_way(u->at, b)->page[WINDOWED];
            slv_pool_hold(u->cache->pool, WINDOWED, t->page[b]);
        }
        t->first = first;
        t->end = end;
    }
    slv_pool_unlock(u->cache->pool);
    return ok;
}

void slv_prefix_back(struct slv_prefix_user *u, uint32_t n) {
    if (!u->at || u->at->depth <= n / BLOCK) return;
    slv_pool_lock(u->cache->pool);
    struct slv_tree_node *to = u->at;
    while (to->depth > n / BLOCK)
        to = to->parent;
    move_to(u, to);
    slv_pool_unlock(u->cache->pool);
}

/* --- pinning ---------------------------------------------------------------------------------- */

/* What a pinned beginning keeps others from. */
static size_t pinned_bytes(const struct slv_prefix_cache *c, const struct slv_tree_node *n) {
    uint32_t windows = n->depth < c->window_blocks ? n->depth : c->window_blocks;
    return n->depth * c->pool->cls[FULL].page_bytes + windows * c->pool->cls[WINDOWED].page_bytes;
}

/* The last node of whole blocks of ids[0..n) under a root, or the last of them that is pinned;
 * NULL: there is none. */
static struct slv_tree_node *find_whole(const struct slv_prefix_cache *c, bool root,
                                        const int32_t *ids, size_t n, bool pinned) {
    struct slv_tree_node *x = slv_tree_root(c->tree, root), *last = NULL;
    while (n - (size_t)x->depth * BLOCK >= BLOCK &&
           (x = slv_tree_child(c->tree, x, ids + (size_t)x->depth * BLOCK)))
        if (!pinned || x->pins) last = x;
    return last;
}

int slv_prefix_pin(struct slv_prefix_cache *c, const int32_t *ids, size_t n, bool on,
                   struct slv_err *err) {
    int rc = 0;
    slv_pool_lock(c->pool);
    struct slv_tree_node *x = find_whole(c, false, ids, n, !on),
                         *other = find_whole(c, true, ids, n, !on);
    if (!x || (other && other->depth > x->depth)) x = other;
    if (!x) rc = SLV_E_NOENT;
    else if (!on) slv_pool_unreserve(c->pool, pinned_bytes(c, x));
    else if (!slv_pool_reserve(c->pool, pinned_bytes(c, x))) rc = SLV_E_FIT;
    if (!rc) guard(c, x, on);
    slv_pool_unlock(c->pool);
    if (rc == SLV_E_NOENT)
        return slv_err_set(
            err, rc, on ? "nothing is known of what was to be pinned" : "nothing of it is pinned");
    return rc ? slv_err_set(err, rc, "sessions may need what was to be pinned") : 0;
}
