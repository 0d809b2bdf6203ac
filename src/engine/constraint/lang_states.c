/* lang_states.c: what can be said of all states of a language: see lang.h. */
#include "engine/constraint/lang_int.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

static slv_lang alive_or_none(struct slv_langs *p, slv_lang a) {
    return slv_lang_alive(p, a) ? a : SLV_LANG_NONE;
}

/* States that are reached from a, each once, a first; 0 where there are more than `most`. */
static size_t states_of(struct slv_langs *p, slv_lang a, slv_lang *v, size_t most) {
    const uint32_t stamp = ++p->n_searches;
    size_t n = 0;
    a = alive_or_none(p, a);
    if (a == SLV_LANG_NONE || !most) return 0;
    v[n++] = a;
    p->v[a].seen = stamp;
    for (size_t at = 0; at < n; at++) {
        if (!slv_lang_spread(p, v[at]) || !slv_langs_spend(p, p->v[v[at]].n_spans)) return 0;
        for (uint32_t i = 0; i < p->v[v[at]].n_spans; i++) {
            const slv_lang to = p->v[v[at]].spans[i].to;
            if (p->v[to].life == L_DEAD || p->v[to].seen == stamp) continue;
            if (!slv_lang_alive(p, to)) continue;
            if (n == most || p->status) return 0;
            v[n++] = to;
            p->v[to].seen = stamp; /* a search for life inside has its own stamps, and goes first */
        }
    }
    return n;
}

#define DENSE_STATES 64

struct slv_lengths slv_lang_lengths(struct slv_langs *p, slv_lang a) {
    struct slv_lengths r = p->v[a].len;
    slv_lang v[DENSE_STATES];
    if (!r.dense || a == SLV_LANG_ANY) return r;
    if (p->v[a].kind == K_REPEAT && p->v[p->v[a].repeat.a].kind == K_SET) return r;
    const size_t n = states_of(p, a, v, DENSE_STATES);
    r.dense = n > 0;
    for (size_t i = 0; i < n; i++)
        r.dense = r.dense && p->v[v[i]].len.dense;
    return r;
}

/* Code points of [lo, hi], surrogates left out. */
static size_t letters_of(uint32_t lo, uint32_t hi) {
    const uint32_t from = lo > 0xd800u ? lo : 0xd800u, to = hi < 0xdfffu ? hi : 0xdfffu;
    return hi - lo + 1u - (from <= to ? to - from + 1u : 0);
}

/* Strings of v[i], the graph's states: the sum over what follows, if nothing goes round. Fills
 * count[], `most` for infinite ones and for more. False out of memory. */
static void count_states(struct slv_langs *p, const slv_lang *v, size_t n, size_t most,
                         size_t *count) {
    for (size_t i = 0; i < n; i++)
        count[i] = SIZE_MAX; /* not known */
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = n; i-- > 0;) {
            size_t sum = p->v[v[i]].nullable;
            uint32_t lo = 0;
            if (count[i] != SIZE_MAX) continue;
            for (uint32_t s = 0; s < p->v[v[i]].n_spans && sum != SIZE_MAX; s++) {
                const struct slv_lang_span x = p->v[v[i]].spans[s];
                const size_t wide = letters_of(lo, x.hi);
                size_t j = 0;
                lo = x.hi + 1;
                if (p->v[x.to].life == L_DEAD || !wide) continue;
                while (j < n && v[j] != x.to)
                    j++;
                if (!slv_langs_spend(p, 1 + j / 8)) count[j < n ? j : i] = most;
                if (j == n) continue; /* not reached: dead */
                if (count[j] == SIZE_MAX) sum = SIZE_MAX;
                else if (count[j] >= most || wide > most / (count[j] ? count[j] : 1)) sum = most;
                else sum = sum + wide * count[j] < most ? sum + wide * count[j] : most;
            }
            if (sum == SIZE_MAX) continue;
            count[i] = sum < most ? sum : most;
            changed = true;
        }
    }
    for (size_t i = 0; i < n; i++) /* round and round */
        if (count[i] == SIZE_MAX) count[i] = most;
}

#define COUNT_STATES 512

size_t slv_lang_count(struct slv_langs *p, slv_lang a, size_t most) {
    if (p->v[a].kind == K_WORDS) {
        const size_t n = p->v[a].words.hi - p->v[a].words.lo;
        return n < most ? n : most;
    }
    if (a == SLV_LANG_NONE || a == SLV_LANG_EMPTY) return a == SLV_LANG_EMPTY && most > 0;
    slv_lang *v = slv_mem_calloc(COUNT_STATES, sizeof *v);
    size_t *count = slv_mem_calloc(COUNT_STATES, sizeof *count);
    size_t r = 0;
    if (v && count) {
        const size_t n = states_of(p, a, v, COUNT_STATES);
        count_states(p, v, n, most, count);
        r = n                                      ? count[0]
            : alive_or_none(p, a) == SLV_LANG_NONE ? 0
                                                   : 1; /* too large to know: one */
    } else (void)slv_lang_fail(p, SLV_E_NOMEM);
    slv_mem_free(v);
    slv_mem_free(count);
    return r;
}

bool slv_lang_boundless(struct slv_langs *p, slv_lang a, size_t states) {
    if (a == SLV_LANG_ANY) return true;
    slv_lang *v = slv_mem_calloc(states, sizeof *v);
    size_t *count = slv_mem_calloc(states, sizeof *count);
    bool r = v && count;
    if (r) {
        const size_t n = states_of(p, a, v, states);
        count_states(p, v, n, SIZE_MAX / 2, count);
        r = n > 0;
        for (size_t i = 0; i < n; i++)
            r = r && count[i] == SIZE_MAX / 2;
    } else (void)slv_lang_fail(p, SLV_E_NOMEM);
    slv_mem_free(v);
    slv_mem_free(count);
    return r;
}

struct each {
    void (*f)(void *ctx, const char *s, size_t n);
    void *ctx;
    struct slv_buf b;
    size_t left;
};

static void each_from(struct slv_langs *p, slv_lang a, struct each *e) {
    const size_t len = e->b.len;
    if (p->v[a].nullable && e->left) {
        e->left--;
        e->f(e->ctx, e->b.data, e->b.len);
    }
    uint32_t lo = 0;
    for (uint32_t i = 0; slv_lang_spread(p, a) && i < p->v[a].n_spans && e->left; i++) {
        const struct slv_lang_span s = p->v[a].spans[i];
        const slv_lang to = alive_or_none(p, s.to);
        for (uint32_t c = lo; to != SLV_LANG_NONE && c <= s.hi && e->left && !p->status; c++) {
            char utf8[SLV_UTF8_MAX];
            if (c >= 0xd800 && c <= 0xdfff) continue;
            (void)slv_buf_add(&e->b, utf8, slv_utf8_encode(c, utf8));
            each_from(p, to, e);
            e->b.len = len;
            e->b.data[len] = 0;
        }
        lo = s.hi + 1;
    }
}

bool slv_lang_each(struct slv_langs *p, slv_lang a, size_t most,
                   void (*f)(void *ctx, const char *s, size_t n), void *ctx) {
    slv_lang v[COUNT_STATES];
    const size_t n = states_of(p, a, v, COUNT_STATES);
    if (!n || slv_lang_count(p, a, most + 1) > most) return false;
    struct each e = {.f = f, .ctx = ctx, .left = most};
    slv_buf_init(&e.b, COUNT_STATES * SLV_UTF8_MAX);
    if (!slv_buf_reserve(&e.b, 1)) each_from(p, a, &e);
    if (e.b.status) (void)slv_lang_fail(p, e.b.status);
    slv_buf_fini(&e.b);
    return true;
}

bool slv_lang_is_repeat(const struct slv_langs *p, slv_lang a, slv_lang *ret_set, uint32_t *ret_lo,
                        uint32_t *ret_hi) {
    const struct slv_lang_node *k = &p->v[a];
    if (k->kind != K_REPEAT || p->v[k->repeat.a].kind != K_SET) return false;
    *ret_set = k->repeat.a;
    *ret_lo = k->repeat.lo;
    *ret_hi = k->repeat.hi;
    return true;
}
