/* lang.c: see lang.h.
 *
 * A node's derivatives are kept as spans: ranges of code points that cover all of them, each with
 * the node it leads to. These may be empty languages that do not look it (an intersection, say);
 * what leaves this file has been through `alive`, which looks for a string once and remembers.
 *
 * Normal form: concatenations lean to the right; unions and intersections are flat, sorted and
 * without repetition, sets of single code points in them are joined; complements are not
 * doubled. Finite sets of words are tables, and a node of such a set is a part of the sorted
 * table: the words that begin alike. */
#include "engine/constraint/lang_int.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define ASCII 128u
#define FIRST_SURROGATE 0xd800u /* no string has them: they go where what is before them goes */
#define LAST_SURROGATE 0xdfffu
#define WORDS_JOINED 4096u /* words of two tables that a union puts into one */
#define WORDS_SIEVED 65536u

/* --- making nodes ----------------------------------------------------------------------------- */

slv_lang slv_lang_fail(struct slv_langs *p, int code) {
    if (!p->status) p->status = code;
    return SLV_LANG_FAIL;
}

void slv_langs_allow(struct slv_langs *p, uint64_t steps) {
    p->left = steps;
    if (p->status == SLV_E_LIMIT) p->status = 0; /* nothing was kept of what failed */
    p->spent = false;
}

uint64_t slv_langs_left(const struct slv_langs *p) { return p->left; }

bool slv_langs_spend(struct slv_langs *p, uint64_t steps) {
    if (p->status) return false;
    if (steps <= p->left) {
        p->left -= steps;
        return true;
    }
    p->spent = true;
    return slv_lang_fail(p, SLV_E_LIMIT) != SLV_LANG_FAIL;
}

bool slv_langs_is_spent(const struct slv_langs *p) { return p->spent; }

const char *slv_langs_why(const struct slv_langs *p) {
    if (p->status == SLV_E_NOMEM) return "out of memory";
    if (p->spent) return "too many steps to put it together with what else is asked";
    if (p->n >= SLV_LANG_MAX_NODES) return "more than 65536 states, with what else is asked";
    return "its states need more than 32 MiB, with what else is asked";
}

size_t slv_langs_bytes(const struct slv_langs *p) {
    return p->mem.used + p->cap * sizeof *p->v + p->n_slots * sizeof *p->slots;
}

static void *take(struct slv_langs *p, size_t n, size_t size) {
    if (!slv_langs_spend(p, n)) return NULL;
    void *r = slv_arena_calloc(&p->mem, n ? n : 1, size);
    if (!r) (void)slv_lang_fail(p, SLV_E_LIMIT);
    return r;
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t hash_of(const struct slv_lang_node *k) {
    uint64_t h = mix(0, k->kind);
    switch ((enum slv_lang_kind)k->kind) {
    case K_CONCAT:
        return mix(mix(h, k->concat.a), k->concat.b);
    case K_REPEAT:
        return mix(mix(mix(h, k->repeat.a), k->repeat.lo), k->repeat.hi);
    case K_NOT:
        return mix(h, k->inner);
    case K_WORDS:
        return mix(mix(mix(mix(h, (uintptr_t)k->words.t), k->words.lo), k->words.hi),
                   k->words.depth);
    case K_SET:
        for (uint32_t i = 0; i < k->set.n; i++)
            h = mix(mix(h, k->set.v[i].lo), k->set.v[i].hi);
        return h;
    case K_OR:
    case K_AND:
        for (uint32_t i = 0; i < k->kids.n; i++)
            h = mix(h, k->kids.v[i]);
        return h;
    case K_NONE:
    case K_EMPTY:
    case K_ANY:
    case K_FAIL:
        break;
    }
    return h;
}

static bool same(const struct slv_lang_node *x, const struct slv_lang_node *y) {
    if (x->kind != y->kind) return false;
    switch ((enum slv_lang_kind)x->kind) {
    case K_CONCAT:
        return x->concat.a == y->concat.a && x->concat.b == y->concat.b;
    case K_REPEAT:
        return x->repeat.a == y->repeat.a && x->repeat.lo == y->repeat.lo &&
               x->repeat.hi == y->repeat.hi;
    case K_NOT:
        return x->inner == y->inner;
    case K_WORDS:
        return x->words.t == y->words.t && x->words.lo == y->words.lo &&
               x->words.hi == y->words.hi && x->words.depth == y->words.depth;
    case K_SET:
        return x->set.n == y->set.n && !memcmp(x->set.v, y->set.v, x->set.n * sizeof x->set.v[0]);
    case K_OR:
    case K_AND:
        return x->kids.n == y->kids.n &&
               !memcmp(x->kids.v, y->kids.v, x->kids.n * sizeof x->kids.v[0]);
    case K_NONE:
    case K_EMPTY:
    case K_ANY:
    case K_FAIL:
        break;
    }
    return true;
}

static bool rehash(struct slv_langs *p, size_t n_slots) {
    uint32_t *s = slv_mem_calloc(n_slots, sizeof *s);
    if (!s) return false;
    for (size_t i = 0; i < p->n; i++) {
        size_t at = hash_of(&p->v[i]) & (n_slots - 1);
        while (s[at])
            at = (at + 1) & (n_slots - 1);
        s[at] = (uint32_t)i + 1;
    }
    slv_mem_free(p->slots);
    p->slots = s;
    p->n_slots = n_slots;
    return true;
}

static uint32_t plus(uint32_t a, uint32_t b) {
    return a == SLV_LANG_INF || b == SLV_LANG_INF || a > SLV_LANG_INF - 1 - b ? SLV_LANG_INF
                                                                              : a + b;
}

static uint32_t times(uint32_t a, uint32_t b) {
    if (!a || !b) return 0;
    if (a == SLV_LANG_INF || b == SLV_LANG_INF) return SLV_LANG_INF;
    return (uint64_t)a * b < SLV_LANG_INF ? a * b : SLV_LANG_INF;
}

static uint32_t letters(const struct slv_word *w, uint32_t from) {
    uint32_t n = 0;
    for (size_t i = from; i < w->n; i++)
        n += ((unsigned char)w->s[i] & 0xc0u) != 0x80u;
    return n;
}

static struct slv_lengths words_lengths(const struct slv_lang_node *k) {
    struct slv_lengths r = {SLV_LANG_INF, 0, false};
    uint64_t seen = 0;
    for (uint32_t i = k->words.lo; i < k->words.hi; i++) {
        const uint32_t n = letters(&k->words.t->w[i], k->words.depth);
        r.min = n < r.min ? n : r.min;
        r.max = n > r.max ? n : r.max;
        if (n < 64) seen |= (uint64_t)1 << n;
    }
    if (r.max < 64) {
        const uint64_t run = (seen >> r.min) + 1;
        r.dense = (run & (run - 1)) == 0;
    }
    return r;
}

#define MAX_PASSES 16u /* a union of more runs that touch is not seen to be dense */

static struct slv_lengths or_lengths(const struct slv_langs *p, const struct slv_lang_node *k) {
    struct slv_lengths r = p->v[k->kids.v[0]].len;
    bool joined = true;
    for (unsigned pass = 0; joined && r.dense && pass < MAX_PASSES; pass++) {
        joined = false;
        for (uint32_t i = 0; i < k->kids.n; i++) {
            const struct slv_lengths x = p->v[k->kids.v[i]].len;
            if (!x.dense) r.dense = false;
            if (x.min >= r.min && x.max <= r.max) continue;
            if (x.min > plus(r.max, 1) || r.min > plus(x.max, 1)) continue;
            r.min = x.min < r.min ? x.min : r.min;
            r.max = x.max > r.max ? x.max : r.max;
            joined = true;
        }
    }
    for (uint32_t i = 0; i < k->kids.n; i++) {
        const struct slv_lengths x = p->v[k->kids.v[i]].len;
        if (x.min < r.min || x.max > r.max) r.dense = false;
        r.min = x.min < r.min ? x.min : r.min;
        r.max = x.max > r.max ? x.max : r.max;
    }
    return r;
}

static struct slv_lengths lengths_of(const struct slv_langs *p, const struct slv_lang_node *k) {
    struct slv_lengths r = {0, SLV_LANG_INF, false};
    switch ((enum slv_lang_kind)k->kind) {
    case K_NONE:
        return (struct slv_lengths){SLV_LANG_INF, 0, true};
    case K_EMPTY:
        return (struct slv_lengths){0, 0, true};
    case K_ANY:
        return (struct slv_lengths){0, SLV_LANG_INF, true};
    case K_SET:
        return (struct slv_lengths){1, 1, true};
    case K_WORDS:
        return words_lengths(k);
    case K_OR:
        return or_lengths(p, k);
    case K_CONCAT: {
        const struct slv_lengths a = p->v[k->concat.a].len, b = p->v[k->concat.b].len;
        return (struct slv_lengths){plus(a.min, b.min), plus(a.max, b.max), a.dense && b.dense};
    }
    case K_REPEAT: {
        const struct slv_lengths a = p->v[k->repeat.a].len;
        const uint32_t lo = k->repeat.lo, hi = k->repeat.hi;
        r.min = times(lo, a.min);
        r.max = times(hi, a.max);
        r.dense = a.dense && (lo == hi || times(lo + 1, a.min) <= plus(times(lo, a.max), 1));
        return r;
    }
    case K_AND: /* a word has a length that all of them have */
        for (uint32_t i = 0; i < k->kids.n; i++) {
            const struct slv_lengths x = p->v[k->kids.v[i]].len;
            r.min = x.min > r.min ? x.min : r.min;
            r.max = x.max < r.max ? x.max : r.max;
        }
        return r;
    case K_NOT:
    case K_FAIL:
        break;
    }
    return r;
}

static bool nullable_of(const struct slv_langs *p, const struct slv_lang_node *k) {
    switch ((enum slv_lang_kind)k->kind) {
    case K_EMPTY:
    case K_ANY:
        return true;
    case K_NONE:
    case K_FAIL:
    case K_SET:
        return false;
    case K_CONCAT:
        return p->v[k->concat.a].nullable && p->v[k->concat.b].nullable;
    case K_REPEAT:
        return k->repeat.lo == 0 || p->v[k->repeat.a].nullable;
    case K_NOT:
        return !p->v[k->inner].nullable;
    case K_WORDS:
        return k->words.t->w[k->words.lo].n == k->words.depth;
    case K_OR:
        for (uint32_t i = 0; i < k->kids.n; i++)
            if (p->v[k->kids.v[i]].nullable) return true;
        return false;
    case K_AND:
        for (uint32_t i = 0; i < k->kids.n; i++)
            if (!p->v[k->kids.v[i]].nullable) return false;
        return true;
    }
    return false;
}

static uint32_t many(uint32_t a, uint32_t b) {
    uint32_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT32_MAX : r;
}

static uint32_t sum(uint32_t a, uint32_t b) { return a > UINT32_MAX - b ? UINT32_MAX : a + b; }

static uint32_t size_of(const struct slv_langs *p, const struct slv_lang_node *k) {
    uint32_t r = 0;
    switch ((enum slv_lang_kind)k->kind) {
    case K_CONCAT:
        return sum(p->v[k->concat.a].size, p->v[k->concat.b].size);
    case K_REPEAT:
        return many(p->v[k->repeat.a].size,
                    k->repeat.hi != SLV_LANG_INF ? k->repeat.hi : k->repeat.lo + 1);
    case K_OR:
    case K_AND:
        for (uint32_t i = 0; i < k->kids.n; i++)
            r = sum(r, p->v[k->kids.v[i]].size);
        return r;
    case K_NOT:
        return p->v[k->inner].size;
    case K_NONE:
    case K_EMPTY:
    case K_ANY:
    case K_FAIL:
    case K_SET:
    case K_WORDS: /* a table */
        break;
    }
    return 1;
}

uint32_t slv_lang_size(const struct slv_langs *p, slv_lang a) {
    const struct slv_lang_node *k = &p->v[a];
    return k->kind == K_REPEAT && p->v[k->repeat.a].kind == K_SET ? 1 : k->size;
}

/* Steps that a new table of words costs: their lengths are looked at. */
static uint64_t cost_of_words(const struct slv_lang_node *k) {
    uint64_t r = 0;
    for (uint32_t i = k->words.lo; i < k->words.hi; i++)
        r += 1 + (k->words.t->w[i].n - k->words.depth) / 16;
    return r;
}

/* Steps that a node costs: as much as is looked at to make it, or to find that it is there. */
static uint64_t cost_of(const struct slv_lang_node *k) {
    switch ((enum slv_lang_kind)k->kind) {
    case K_SET:
        return 1 + k->set.n / 4;
    case K_OR:
    case K_AND:
        return 1 + k->kids.n;
    case K_WORDS:
    case K_NONE:
    case K_EMPTY:
    case K_ANY:
    case K_FAIL:
    case K_CONCAT:
    case K_REPEAT:
    case K_NOT:
        break;
    }
    return 1;
}

/* The node that looks like k; its arrays are the pool's already. */
static slv_lang intern(struct slv_langs *p, struct slv_lang_node k) {
    if (!slv_langs_spend(p, cost_of(&k))) return SLV_LANG_FAIL;
    size_t at = hash_of(&k) & (p->n_slots - 1);
    for (; p->slots[at]; at = (at + 1) & (p->n_slots - 1))
        if (same(&p->v[p->slots[at] - 1], &k)) return p->slots[at] - 1;
    const int rc = slv_mem_grow((void **)&p->v, p->n, &p->cap, sizeof *p->v, SLV_LANG_MAX_NODES);
    if (rc) return slv_lang_fail(p, rc);
    if (k.kind == K_WORDS && !slv_langs_spend(p, cost_of_words(&k))) return SLV_LANG_FAIL;
    k.nullable = nullable_of(p, &k);
    k.len = lengths_of(p, &k);
    k.size = size_of(p, &k);
    k.life = k.nullable ? L_ALIVE : L_UNKNOWN;
    p->v[p->n] = k;
    p->slots[at] = (uint32_t)++p->n;
    const slv_lang id = (slv_lang)p->n - 1; /* before the table is made anew */
    if (p->n * 2 > p->n_slots && !rehash(p, p->n_slots * 2)) return slv_lang_fail(p, SLV_E_NOMEM);
    return id;
}

int slv_langs_open(struct slv_langs **ret) {
    struct slv_langs *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return SLV_E_NOMEM;
    slv_arena_init(&p->mem, SLV_LANG_MAX_BYTES);
    p->left = SLV_LANG_NO_BOUND;
    if (!rehash(p, 256)) p->status = SLV_E_NOMEM;
    for (unsigned k = K_NONE; k <= K_FAIL; k++)
        (void)intern(p, (struct slv_lang_node){.kind = (uint8_t)k});
    if (p->status) {
        slv_langs_close(p);
        return SLV_E_NOMEM;
    }
    *ret = p;
    return 0;
}

void slv_langs_close(struct slv_langs *p) {
    if (!p) return;
    slv_arena_fini(&p->mem);
    slv_mem_free(p->v);
    slv_mem_free(p->slots);
    slv_mem_free(p);
}

size_t slv_langs_nodes(const struct slv_langs *p) { return p->n; }

int slv_langs_status(const struct slv_langs *p) { return p->status; }

/* --- sets of code points ---------------------------------------------------------------------- */

static int by_lo(const void *a, const void *b) {
    const struct slv_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorted in place and joined; the number left. */
static size_t tidy(struct slv_range *r, size_t n) {
    size_t out = 0;
    qsort(r, n, sizeof *r, by_lo);
    for (size_t i = 0; i < n; i++) {
        if (out && r[i].lo <= r[out - 1].hi + 1) {
            if (r[i].hi > r[out - 1].hi) r[out - 1].hi = r[i].hi;
        } else r[out++] = r[i];
    }
    return out;
}

/* Whether no string can have any of them: sorted ranges, all of surrogates. */
static bool unwritable(const struct slv_range *r, size_t n) {
    return n == 0 || (r[0].lo >= FIRST_SURROGATE && r[n - 1].hi <= LAST_SURROGATE);
}

slv_lang slv_lang_set(struct slv_langs *p, const struct slv_range *r, size_t n) {
    if (!n) return SLV_LANG_NONE;
    struct slv_range *v = take(p, n, sizeof *v);
    if (!v) return SLV_LANG_FAIL;
    memcpy(v, r, n * sizeof *v);
    n = tidy(v, n);
    if (unwritable(v, n)) return SLV_LANG_NONE;
    return intern(p, (struct slv_lang_node){.kind = K_SET, .set = {v, (uint32_t)n}});
}

slv_lang slv_lang_set_not(struct slv_langs *p, const struct slv_range *r, size_t n) {
    struct slv_range *v = take(p, 2 * n + 1, sizeof *v), *in = v + n + 1;
    size_t out = 0;
    uint32_t from = 0;
    if (!v) return SLV_LANG_FAIL;
    if (n) memcpy(in, r, n * sizeof *in);
    n = tidy(in, n);
    for (size_t i = 0; i < n; i++) {
        if (in[i].lo > from) v[out++] = (struct slv_range){from, in[i].lo - 1};
        from = in[i].hi + 1;
    }
    if (from <= SLV_CODE_POINT_MAX) v[out++] = (struct slv_range){from, SLV_CODE_POINT_MAX};
    if (unwritable(v, out)) return SLV_LANG_NONE;
    return intern(p, (struct slv_lang_node){.kind = K_SET, .set = {v, (uint32_t)out}});
}

static slv_lang set_or(struct slv_langs *p, const struct slv_lang_node *a,
                       const struct slv_lang_node *b) {
    struct slv_range *v = take(p, (size_t)a->set.n + b->set.n, sizeof *v);
    if (!v) return SLV_LANG_FAIL;
    memcpy(v, a->set.v, a->set.n * sizeof *v);
    memcpy(v + a->set.n, b->set.v, b->set.n * sizeof *v);
    const size_t n = tidy(v, (size_t)a->set.n + b->set.n);
    return intern(p, (struct slv_lang_node){.kind = K_SET, .set = {v, (uint32_t)n}});
}

static slv_lang set_and(struct slv_langs *p, const struct slv_lang_node *a,
                        const struct slv_lang_node *b) {
    struct slv_range *v = take(p, (size_t)a->set.n + b->set.n, sizeof *v);
    uint32_t n = 0;
    if (!v) return SLV_LANG_FAIL;
    for (uint32_t i = 0, j = 0; i < a->set.n && j < b->set.n;) {
        const struct slv_range x = a->set.v[i], y = b->set.v[j];
        const struct slv_range z = {x.lo > y.lo ? x.lo : y.lo, x.hi < y.hi ? x.hi : y.hi};
        if (z.lo <= z.hi) v[n++] = z;
        if (x.hi < y.hi) i++;
        else j++;
    }
    if (unwritable(v, n)) return SLV_LANG_NONE;
    return intern(p, (struct slv_lang_node){.kind = K_SET, .set = {v, n}});
}

/* --- words ------------------------------------------------------------------------------------ */

static int word_cmp(const void *a, const void *b) {
    const struct slv_word *x = a, *y = b;
    const int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

/* v is the pool's, and sorted here. */
static slv_lang words_from(struct slv_langs *p, struct slv_word *v, size_t n) {
    size_t out = 0;
    if (!n) return SLV_LANG_NONE;
    qsort(v, n, sizeof *v, word_cmp);
    for (size_t i = 0; i < n; i++)
        if (!out || word_cmp(&v[out - 1], &v[i]) != 0) v[out++] = v[i];
    if (out == 1 && v[0].n == 0) return SLV_LANG_EMPTY;
    struct slv_lang_table *t = take(p, 1, sizeof *t);
    if (!t) return SLV_LANG_FAIL;
    *t = (struct slv_lang_table){v, out};
    return intern(p, (struct slv_lang_node){.kind = K_WORDS, .words = {t, 0, (uint32_t)out, 0}});
}

slv_lang slv_lang_words(struct slv_langs *p, const struct slv_word *w, size_t n) {
    if (n > UINT32_MAX - 1) return slv_lang_fail(p, SLV_E_LIMIT);
    struct slv_word *v = take(p, n, sizeof *v);
    if (!v) return SLV_LANG_FAIL;
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct slv_word){slv_arena_strndup(&p->mem, w[i].s, w[i].n), w[i].n};
        if (!v[i].s) return slv_lang_fail(p, SLV_E_LIMIT);
    }
    return words_from(p, v, n);
}

static struct slv_word rest_of(const struct slv_lang_node *k, uint32_t i) {
    const struct slv_word *w = &k->words.t->w[i];
    return (struct slv_word){w->s + k->words.depth, w->n - k->words.depth};
}

static slv_lang words_or(struct slv_langs *p, struct slv_lang_node a, struct slv_lang_node b) {
    const uint32_t na = a.words.hi - a.words.lo, nb = b.words.hi - b.words.lo;
    struct slv_word *v = take(p, (size_t)na + nb, sizeof *v);
    if (!v) return SLV_LANG_FAIL;
    for (uint32_t i = 0; i < na; i++)
        v[i] = rest_of(&a, a.words.lo + i);
    for (uint32_t i = 0; i < nb; i++)
        v[na + i] = rest_of(&b, b.words.lo + i);
    return words_from(p, v, (size_t)na + nb);
}

/* Those words of k that belong to b. */
static slv_lang words_and(struct slv_langs *p, struct slv_lang_node k, slv_lang b) {
    const uint32_t n = k.words.hi - k.words.lo;
    struct slv_word *v = take(p, n, sizeof *v);
    size_t out = 0;
    if (!v) return SLV_LANG_FAIL;
    for (uint32_t i = 0; i < n; i++) {
        const struct slv_word w = rest_of(&k, k.words.lo + i);
        if (slv_lang_has(p, b, w.s, w.n)) v[out++] = w;
    }
    if (p->status) return SLV_LANG_FAIL;
    return words_from(p, v, out);
}

/* The code point of word i at `depth`; false at its end. */
static bool letter_at(const struct slv_lang_table *t, uint32_t i, uint32_t depth, uint32_t *ret) {
    if (t->w[i].n <= depth) return false;
    (void)slv_utf8_decode(t->w[i].s + depth, t->w[i].n - depth, ret);
    return true;
}

/* The first word of [lo, hi) whose letter at depth is at least c; those that end there come
 * before. */
static uint32_t words_from_letter(const struct slv_lang_node *k, uint32_t c) {
    uint32_t lo = k->words.lo, hi = k->words.hi;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        uint32_t x;
        if (!letter_at(k->words.t, mid, k->words.depth, &x) || x < c) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static slv_lang words_next(struct slv_langs *p, struct slv_lang_node k, uint32_t c,
                           struct slv_range *same_to) {
    const uint32_t from = words_from_letter(&k, c), to = words_from_letter(&k, c + 1);
    uint32_t x;
    if (from == to) { /* the gap between two letters that occur */
        if (to < k.words.hi && letter_at(k.words.t, to, k.words.depth, &x) && x - 1 < same_to->hi)
            same_to->hi = x - 1;
        if (from > k.words.lo && letter_at(k.words.t, from - 1, k.words.depth, &x) &&
            x + 1 > same_to->lo)
            same_to->lo = x + 1;
        return SLV_LANG_NONE;
    }
    char utf8[SLV_UTF8_MAX];
    *same_to = (struct slv_range){c, c};
    const uint32_t depth = k.words.depth + (uint32_t)slv_utf8_encode(c, utf8);
    if (to - from == 1 && k.words.t->w[from].n == depth) return SLV_LANG_EMPTY;
    return intern(p,
                  (struct slv_lang_node){.kind = K_WORDS, .words = {k.words.t, from, to, depth}});
}

/* --- the operations --------------------------------------------------------------------------- */

slv_lang slv_lang_concat(struct slv_langs *p, slv_lang a, slv_lang b) {
    if (a == SLV_LANG_FAIL || b == SLV_LANG_FAIL) return SLV_LANG_FAIL;
    if (a == SLV_LANG_NONE || b == SLV_LANG_NONE) return SLV_LANG_NONE;
    if (a == SLV_LANG_EMPTY) return b;
    if (b == SLV_LANG_EMPTY) return a;
    if (p->v[a].kind == K_CONCAT) {
        const slv_lang tail = slv_lang_concat(p, p->v[a].concat.b, b);
        return slv_lang_concat(p, p->v[a].concat.a, tail);
    }
    /* x* x* = x*, also where more follows. */
    const slv_lang head = p->v[b].kind == K_CONCAT ? p->v[b].concat.a : b;
    const bool star = a == SLV_LANG_ANY || (p->v[a].kind == K_REPEAT && p->v[a].repeat.lo == 0 &&
                                            p->v[a].repeat.hi == SLV_LANG_INF);
    if (star && head == a) return b;
    return intern(p, (struct slv_lang_node){.kind = K_CONCAT, .concat = {a, b}});
}

/* Whether k, a repetition, from lo to hi times is one repetition: the counts that so many times add
 * up to have no gap between them, and are numbers. */
static bool without_gaps(const struct slv_lang_node *k, uint32_t lo, uint32_t hi, uint32_t *least,
                         uint32_t *most) {
    const uint32_t a = k->repeat.lo, b = k->repeat.hi;
    *least = times(lo, a);
    *most = times(hi, b);
    if (*least == SLV_LANG_INF) return false;
    if (*most == SLV_LANG_INF && hi != SLV_LANG_INF && b != SLV_LANG_INF) return false;
    return lo == hi || (uint64_t)*least + a <= (uint64_t)times(lo, b) + 1;
}

slv_lang slv_lang_repeat(struct slv_langs *p, slv_lang a, uint32_t lo, uint32_t hi) {
    if (a == SLV_LANG_FAIL || lo > hi) return slv_lang_fail(p, SLV_E_LIMIT);
    if (hi == 0 || a == SLV_LANG_EMPTY) return SLV_LANG_EMPTY;
    if (a == SLV_LANG_NONE) return lo ? SLV_LANG_NONE : SLV_LANG_EMPTY;
    if (a == SLV_LANG_ANY || (lo == 1 && hi == 1)) return a;
    const struct slv_lang_node k = p->v[a];
    if (k.nullable) lo = 0;
    if (k.kind == K_SET && lo == 0 && hi == SLV_LANG_INF && k.set.n == 1 && k.set.v[0].lo == 0 &&
        k.set.v[0].hi == SLV_CODE_POINT_MAX)
        return SLV_LANG_ANY;
    if (k.kind == K_REPEAT && k.repeat.hi == SLV_LANG_INF && k.repeat.lo <= 1 && hi == SLV_LANG_INF)
        return slv_lang_repeat(p, k.repeat.a, k.repeat.lo < lo ? k.repeat.lo : lo, hi);
    uint32_t least, most;
    if (k.kind == K_REPEAT && without_gaps(&k, lo, hi, &least, &most))
        return slv_lang_repeat(p, k.repeat.a, least, most);
    return intern(p, (struct slv_lang_node){.kind = K_REPEAT, .repeat = {a, lo, hi}});
}

slv_lang slv_lang_not(struct slv_langs *p, slv_lang a) {
    if (a == SLV_LANG_FAIL) return a;
    if (a == SLV_LANG_NONE) return SLV_LANG_ANY;
    if (a == SLV_LANG_ANY) return SLV_LANG_NONE;
    if (p->v[a].kind == K_NOT) return p->v[a].inner;
    return intern(p, (struct slv_lang_node){.kind = K_NOT, .inner = a});
}

static int id_cmp(const void *a, const void *b) {
    const slv_lang x = *(const slv_lang *)a, y = *(const slv_lang *)b;
    return x < y ? -1 : x > y;
}

/* The kids of a and b in one array, if they are of that kind; else themselves. */
static slv_lang *together(struct slv_langs *p, enum slv_lang_kind kind, slv_lang a, slv_lang b,
                          size_t *n) {
    const struct slv_lang_node *x = &p->v[a], *y = &p->v[b];
    const size_t na = x->kind == kind ? x->kids.n : 1, nb = y->kind == kind ? y->kids.n : 1;
    slv_lang *v = take(p, na + nb, sizeof *v);
    if (!v) return NULL;
    memcpy(v, x->kind == kind ? x->kids.v : &a, na * sizeof *v);
    memcpy(v + na, y->kind == kind ? y->kids.v : &b, nb * sizeof *v);
    *n = na + nb;
    return v;
}

/* Whether v, sorted, holds a node and its complement. */
static bool opposed(const struct slv_langs *p, const slv_lang *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p->v[v[i]].kind == K_NOT && bsearch(&p->v[v[i]].inner, v, n, sizeof *v, id_cmp))
            return true;
    return false;
}

/* Joins the last kid that `is` a kind with those of its kind before it, by `join`. */
static bool joined(struct slv_langs *p, slv_lang *v, size_t *n, enum slv_lang_kind kind,
                   slv_lang (*join)(struct slv_langs *p, const struct slv_lang_node *a,
                                    const struct slv_lang_node *b)) {
    size_t first = *n;
    for (size_t i = 0; i < *n; i++) {
        if (p->v[v[i]].kind != kind) continue;
        if (first == *n) {
            first = i;
            continue;
        }
        const struct slv_lang_node a = p->v[v[first]], b = p->v[v[i]];
        const slv_lang to = join(p, &a, &b);
        if (to == SLV_LANG_FAIL) return false;
        v[first] = to;
        v[i--] = v[--*n];
    }
    return true;
}

static slv_lang of_kids(struct slv_langs *p, enum slv_lang_kind kind, slv_lang *v, size_t n) {
    size_t out = 0;
    qsort(v, n, sizeof *v, id_cmp);
    for (size_t i = 0; i < n; i++)
        if (!out || v[out - 1] != v[i]) v[out++] = v[i];
    if (opposed(p, v, out)) return kind == K_OR ? SLV_LANG_ANY : SLV_LANG_NONE;
    if (out == 1) return v[0];
    return intern(p, (struct slv_lang_node){.kind = (uint8_t)kind, .kids = {v, (uint32_t)out}});
}

static slv_lang words_join(struct slv_langs *p, const struct slv_lang_node *a,
                           const struct slv_lang_node *b) {
    return words_or(p, *a, *b);
}

static size_t words_in(const struct slv_langs *p, const slv_lang *v, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        if (p->v[v[i]].kind == K_WORDS && p->v[v[i]].words.depth == 0)
            sum += p->v[v[i]].words.hi - p->v[v[i]].words.lo;
        else if (p->v[v[i]].kind == K_WORDS) sum += WORDS_JOINED;
    return sum;
}

slv_lang slv_lang_or(struct slv_langs *p, slv_lang a, slv_lang b) {
    size_t n = 0;
    if (a == SLV_LANG_FAIL || b == SLV_LANG_FAIL) return SLV_LANG_FAIL;
    if (a == b || b == SLV_LANG_NONE || a == SLV_LANG_ANY) return a;
    if (a == SLV_LANG_NONE || b == SLV_LANG_ANY) return b;
    if (a == SLV_LANG_EMPTY && p->v[b].nullable) return b;
    if (b == SLV_LANG_EMPTY && p->v[a].nullable) return a;
    slv_lang *v = together(p, K_OR, a, b, &n);
    if (!v || !joined(p, v, &n, K_SET, set_or)) return SLV_LANG_FAIL;
    if (words_in(p, v, n) <= WORDS_JOINED && !joined(p, v, &n, K_WORDS, words_join))
        return SLV_LANG_FAIL;
    return of_kids(p, K_OR, v, n);
}

slv_lang slv_lang_and(struct slv_langs *p, slv_lang a, slv_lang b) {
    size_t n = 0;
    if (a == SLV_LANG_FAIL || b == SLV_LANG_FAIL) return SLV_LANG_FAIL;
    if (a == b || b == SLV_LANG_ANY || a == SLV_LANG_NONE) return a;
    if (a == SLV_LANG_ANY || b == SLV_LANG_NONE) return b;
    if (a == SLV_LANG_EMPTY) return p->v[b].nullable ? a : SLV_LANG_NONE;
    if (b == SLV_LANG_EMPTY) return p->v[a].nullable ? b : SLV_LANG_NONE;
    if (p->v[b].kind == K_WORDS && p->v[a].kind != K_WORDS) return slv_lang_and(p, b, a);
    if (p->v[a].kind == K_WORDS && p->v[a].words.hi - p->v[a].words.lo <= WORDS_SIEVED)
        return words_and(p, p->v[a], b);
    slv_lang *v = together(p, K_AND, a, b, &n);
    if (!v || !joined(p, v, &n, K_SET, set_and)) return SLV_LANG_FAIL;
    for (size_t i = 0; i < n; i++)
        if (v[i] == SLV_LANG_NONE) return SLV_LANG_NONE;
    return of_kids(p, K_AND, v, n);
}

/* --- derivatives ------------------------------------------------------------------------------ */

static slv_lang set_next(const struct slv_lang_node *k, uint32_t c, struct slv_range *same_to) {
    uint32_t lo = 0, hi = k->set.n; /* the first range that ends at c or after */
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (k->set.v[mid].hi < c) lo = mid + 1;
        else hi = mid;
    }
    const bool in = lo < k->set.n && k->set.v[lo].lo <= c;
    const uint32_t from = in ? k->set.v[lo].lo : lo ? k->set.v[lo - 1].hi + 1 : 0;
    const uint32_t to = in              ? k->set.v[lo].hi
                        : lo < k->set.n ? k->set.v[lo].lo - 1
                                        : SLV_CODE_POINT_MAX;
    if (from > same_to->lo) same_to->lo = from;
    if (to < same_to->hi) same_to->hi = to;
    return in ? SLV_LANG_EMPTY : SLV_LANG_NONE;
}

/* The derivative of a by c; *same_to shrinks to code points around c that have the same one. */
static slv_lang derive(struct slv_langs *p, slv_lang a, uint32_t c, struct slv_range *same_to) {
    const struct slv_lang_node k = p->v[a]; /* a copy: the pool moves */
    slv_lang r;
    if (!slv_langs_pay(p, 1)) return SLV_LANG_FAIL;
    switch ((enum slv_lang_kind)k.kind) {
    case K_NONE:
    case K_EMPTY:
        return SLV_LANG_NONE;
    case K_ANY:
    case K_FAIL:
        return a;
    case K_SET:
        return set_next(&k, c, same_to);
    case K_WORDS:
        return words_next(p, k, c, same_to);
    case K_NOT:
        return slv_lang_not(p, derive(p, k.inner, c, same_to));
    case K_CONCAT:
        r = slv_lang_concat(p, derive(p, k.concat.a, c, same_to), k.concat.b);
        if (!p->v[k.concat.a].nullable) return r;
        return slv_lang_or(p, r, derive(p, k.concat.b, c, same_to));
    case K_REPEAT:
        r = derive(p, k.repeat.a, c, same_to);
        if (r == SLV_LANG_NONE || r == SLV_LANG_FAIL) return r;
        return slv_lang_concat(
            p, r,
            slv_lang_repeat(p, k.repeat.a, k.repeat.lo ? k.repeat.lo - 1 : 0,
                            k.repeat.hi == SLV_LANG_INF ? SLV_LANG_INF : k.repeat.hi - 1));
    case K_OR:
        r = SLV_LANG_NONE;
        for (uint32_t i = 0; i < k.kids.n && r != SLV_LANG_ANY; i++)
            r = slv_lang_or(p, r, derive(p, k.kids.v[i], c, same_to));
        return r;
    case K_AND:
        r = SLV_LANG_ANY;
        for (uint32_t i = 0; i < k.kids.n && r != SLV_LANG_NONE; i++)
            r = slv_lang_and(p, r, derive(p, k.kids.v[i], c, same_to));
        return r;
    }
    return SLV_LANG_FAIL;
}

/* Makes the spans of a. */
bool slv_lang_spread(struct slv_langs *p, slv_lang a) {
    struct slv_lang_span few[64], *v = few;
    size_t n = 0, cap = 64;
    if (p->v[a].spans) return true;
    for (uint32_t c = 0; c <= SLV_CODE_POINT_MAX;) {
        struct slv_range r = {0, SLV_CODE_POINT_MAX};
        const slv_lang to = derive(p, a, c, &r);
        if (to == SLV_LANG_FAIL) return false;
        if (r.hi + 1 >= FIRST_SURROGATE && r.hi < LAST_SURROGATE) r.hi = LAST_SURROGATE;
        if (n && v[n - 1].to == to) v[n - 1].hi = r.hi;
        else {
            if (n == cap) {
                struct slv_lang_span *more = take(p, cap * 4, sizeof *more);
                if (!more) return false;
                memcpy(more, v, n * sizeof *v);
                v = more;
                cap *= 4;
            }
            v[n++] = (struct slv_lang_span){r.hi, to};
        }
        c = r.hi + 1;
    }
    struct slv_lang_span *keep = take(p, n, sizeof *keep);
    if (!keep) return false;
    memcpy(keep, v, n * sizeof *v);
    p->v[a].spans = keep;
    p->v[a].n_spans = (uint32_t)n;
    return true;
}

/* --- emptiness -------------------------------------------------------------------------------- */

/* What the form alone says of a's life. */
static enum slv_lang_life by_form(struct slv_langs *p, slv_lang a) {
    const struct slv_lang_node k = p->v[a];
    switch ((enum slv_lang_kind)k.kind) {
    case K_NONE:
        return L_DEAD;
    case K_EMPTY:
    case K_ANY:
    case K_FAIL:
    case K_SET:
    case K_WORDS:
        return L_ALIVE;
    case K_CONCAT:
        return slv_lang_alive(p, k.concat.a) && slv_lang_alive(p, k.concat.b) ? L_ALIVE : L_DEAD;
    case K_REPEAT:
        return k.repeat.lo == 0 || slv_lang_alive(p, k.repeat.a) ? L_ALIVE : L_DEAD;
    case K_OR:
        for (uint32_t i = 0; i < k.kids.n; i++)
            if (slv_lang_alive(p, k.kids.v[i])) return L_ALIVE;
        return L_DEAD;
    case K_AND:
    case K_NOT:
        break;
    }
    return L_UNKNOWN;
}

/* Whether `to` leads to a word for sure; queued where that is not known. */
static bool visit(struct slv_langs *p, slv_lang to, uint32_t stamp, slv_lang **queue, size_t *n,
                  size_t *cap) {
    if (!slv_langs_spend(p, 1)) return false;
    if (p->v[to].life == L_UNKNOWN) {
        const enum slv_lang_life l = by_form(p, to);
        if (p->status) return false;
        p->v[to].life = (uint8_t)l;
    }
    if (p->v[to].life == L_ALIVE) return true;
    if (p->v[to].life == L_DEAD || p->v[to].seen == stamp) return false;
    const int rc = slv_mem_grow((void **)queue, *n, cap, sizeof **queue, SLV_LANG_MAX_NODES);
    if (rc) {
        (void)slv_lang_fail(p, rc);
        return false;
    }
    (*queue)[(*n)++] = to;
    p->v[to].seen = stamp;
    return false;
}

/* Whether a word is found from a on, breadth first. Where none is, all that was visited is dead.
 * A search may be inside another one (a concatenation asks for its parts), and takes marks of
 * the outer one away: what is visited twice then does no harm. */
static bool search(struct slv_langs *p, slv_lang a) {
    const uint32_t stamp = ++p->n_searches;
    slv_lang *queue = NULL;
    size_t n = 0, cap = 0;
    bool found = visit(p, a, stamp, &queue, &n, &cap);
    for (size_t at = 0; !found && !p->status && at < n; at++) {
        const slv_lang x = queue[at];
        if (!slv_lang_spread(p, x)) break;
        for (uint32_t i = 0; !found && !p->status && i < p->v[x].n_spans; i++)
            found = visit(p, p->v[x].spans[i].to, stamp, &queue, &n, &cap);
    }
    for (size_t i = 0; i < n && !found && !p->status; i++)
        p->v[queue[i]].life = L_DEAD;
    slv_mem_free(queue);
    return found;
}

bool slv_lang_alive(struct slv_langs *p, slv_lang a) {
    if (p->v[a].life == L_UNKNOWN) {
        enum slv_lang_life l = by_form(p, a);
        if (l == L_UNKNOWN) l = search(p, a) ? L_ALIVE : L_DEAD;
        if (p->status) return true;
        p->v[a].life = (uint8_t)l;
    }
    return p->v[a].life == L_ALIVE;
}

static slv_lang if_alive(struct slv_langs *p, slv_lang a) {
    return slv_lang_alive(p, a) ? a : SLV_LANG_NONE;
}

bool slv_lang_is_none(struct slv_langs *p, slv_lang a) { return !slv_lang_alive(p, a); }

/* --- the automaton ---------------------------------------------------------------------------- */

bool slv_lang_nullable(const struct slv_langs *p, slv_lang a) { return p->v[a].nullable; }

static slv_lang raw_next(struct slv_langs *p, slv_lang a, uint32_t c) {
    if (!slv_lang_spread(p, a)) return SLV_LANG_FAIL;
    const struct slv_lang_span *s = p->v[a].spans;
    uint32_t lo = 0, hi = p->v[a].n_spans - 1;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (s[mid].hi < c) lo = mid + 1;
        else hi = mid;
    }
    return s[lo].to;
}

slv_lang slv_lang_next(struct slv_langs *p, slv_lang a, uint32_t c) {
    if (a == SLV_LANG_ANY) return a;
    const slv_lang to = raw_next(p, a, c);
    return to == SLV_LANG_FAIL ? to : if_alive(p, to);
}

bool slv_lang_fits(const struct slv_langs *p, slv_lang a, uint32_t least, uint32_t most) {
    return a != SLV_LANG_NONE && p->v[a].len.min <= most && p->v[a].len.max >= least;
}

static bool any_fits(struct slv_langs *p, slv_lang a, uint32_t lo, uint32_t hi, uint32_t least,
                     uint32_t most) {
    if (lo > hi || !slv_lang_spread(p, a)) return false;
    for (uint32_t i = 0; i < p->v[a].n_spans; i++) {
        if (p->v[a].spans[i].hi < lo) continue;
        if (slv_lang_fits(p, if_alive(p, p->v[a].spans[i].to), least, most)) return true;
        if (p->v[a].spans[i].hi >= hi) return false;
    }
    return false;
}

bool slv_lang_any_next(struct slv_langs *p, slv_lang a, uint32_t lo, uint32_t hi, uint32_t least,
                       uint32_t most) {
    if (a == SLV_LANG_ANY) return lo < 0xd800u || hi > 0xdfffu;
    return any_fits(p, a, lo, hi < 0xd7ffu ? hi : 0xd7ffu, least, most) ||
           any_fits(p, a, lo > 0xe000u ? lo : 0xe000u, hi, least, most);
}

const slv_lang *slv_lang_ascii(struct slv_langs *p, slv_lang a) {
    if (p->v[a].ascii) return p->v[a].ascii;
    slv_lang *t = take(p, ASCII, sizeof *t);
    if (!t || !slv_lang_spread(p, a)) return NULL;
    for (uint32_t c = 0, i = 0; c < ASCII; c++) {
        while (p->v[a].spans[i].hi < c)
            i++;
        t[c] = if_alive(p, p->v[a].spans[i].to);
    }
    if (p->status) return NULL;
    p->v[a].ascii = t;
    return t;
}

bool slv_lang_has(struct slv_langs *p, slv_lang a, const char *s, size_t n) {
    for (size_t i = 0; i < n && a != SLV_LANG_NONE && a != SLV_LANG_ANY && a != SLV_LANG_FAIL;) {
        uint32_t c;
        i += slv_utf8_decode(s + i, n - i, &c);
        struct slv_range r = {0, SLV_CODE_POINT_MAX};
        a = p->v[a].spans ? raw_next(p, a, c) : derive(p, a, c, &r);
    }
    return a != SLV_LANG_FAIL && p->v[a].nullable;
}
