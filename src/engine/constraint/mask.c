/* mask.c: see mask.h. */
#include "engine/constraint/mask.h"
#include "base/mem.h"
#include "engine/constraint/lang_int.h"

#include <stdlib.h>
#include <string.h>

#define MAX_KEPT 1024u /* states of languages whose tokens are kept */

/* Tokens that close a string, by what they have behind the quote; or that leave a terminal, by all
 * they have. */
struct leaving {
    int32_t token;
    uint8_t chars; /* before the quote */
};

struct kept {
    slv_lang lang;
    uint32_t part, least, most; /* part of a character; bounds of what is left; 0, INF: none */
    bool text;                  /* a terminal's, not a string's */
    bool walked;                /* too many leave: nothing is kept, such states are walked */
    bool loops;                 /* every token that stays leads back to the same state */
    uint64_t used;
    uint64_t *stay;
    /* A trie of what lies behind the quote, in depth-first order; node 0: nothing. */
    uint8_t *byte, *depth;
    uint32_t *end, *first; /* tokens of a node: [first[i], first[i + 1]) */
    struct leaving *leave;
    size_t n;
    size_t n_leave;
    size_t bytes; /* that it takes */
};

struct slv_free_text {
    const struct slv_lexicon *l;
    struct kept *any;
    struct kept *any_text;
    uint8_t *chars; /* by token that stays in such a string: its characters, 255 and more as 255 */
    int32_t *by_chars; /* those tokens, the ones with most characters first */
    size_t n;
};

struct slv_masks {
    const struct slv_free_text *f;
    const struct slv_lexicon *l;
    struct slv_langs *p;
    const struct slv_grammar *g; /* NULL: a schema's masks */
    struct kept **v;
    size_t n, cap, bytes; /* bytes: of what is kept */
    uint64_t clock;
    struct slv_mark *marks; /* by depth of a walk */
    struct slv_string_at *strings;
    uint64_t *some; /* a mask in the making */
    bool *keep;     /* by way */
    bool *walk;     /* by way: it is none of those that tokens are kept for */
};

size_t slv_mask_words(const struct slv_lexicon *l) { return (l->n_tokens + 63) / 64; }

static void set_bit(uint64_t *bits, int32_t i) { bits[i / 64] |= (uint64_t)1 << (i % 64); }
static void clear_bit(uint64_t *bits, int32_t i) { bits[i / 64] &= ~((uint64_t)1 << (i % 64)); }

static void set_tokens(const struct slv_lexicon *l, uint32_t node, uint64_t *bits) {
    for (int32_t t = l->token[node]; t >= 0; t = l->same[t])
        set_bit(bits, t);
}

/* --- tokens of a string's state --------------------------------------------------------------- */

struct
    rest { /* a token that closes: what is behind the quote, as a node of the vocabulary's trie */
    uint32_t quote, node;
    uint8_t chars;
    int32_t token;
    unsigned char text[SLV_LEXICON_DEPTH];
    uint8_t n;
};

struct rests {
    struct rest *v;
    size_t n, cap;
};

/* All tokens of the subtree of the quote at node q, whose path is `path`. */
static int add_rests(const struct slv_lexicon *l, uint32_t q, uint8_t chars, struct rests *r) {
    unsigned char path[SLV_LEXICON_DEPTH + 1];
    const unsigned base = l->depth[q];
    for (uint32_t i = q; i < l->end[q]; i++) {
        path[l->depth[i] - base] = l->byte[i];
        for (int32_t t = l->token[i]; t >= 0; t = l->same[t]) {
            const int rc =
                slv_mem_grow((void **)&r->v, r->n, &r->cap, sizeof *r->v, (size_t)1 << 20);
            if (rc) return rc;
            struct rest *x = &r->v[r->n++];
            x->token = t;
            x->chars = chars;
            x->n = (uint8_t)(l->depth[i] - base);
            memcpy(x->text, path + 1, x->n);
        }
    }
    return 0;
}

static int by_text(const void *a, const void *b) {
    const struct rest *x = a, *y = b;
    const int c = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return c ? c : (int)x->n - (int)y->n;
}

static unsigned shared(const struct rest *a, const struct rest *b) {
    unsigned n = 0;
    while (n < a->n && n < b->n && a->text[n] == b->text[n])
        n++;
    return n;
}

static bool alloc_rests(struct kept *k, size_t nodes, size_t tokens) {
    k->byte = slv_mem_calloc(nodes, 1);
    k->depth = slv_mem_calloc(nodes, 1);
    k->end = slv_mem_calloc(nodes, sizeof *k->end);
    k->first = slv_mem_calloc(nodes + 1, sizeof *k->first);
    k->leave = slv_mem_calloc(tokens ? tokens : 1, sizeof *k->leave);
    return k->byte && k->depth && k->end && k->first && k->leave;
}

/* The trie of the rests. */
static int plant(struct kept *k, struct rests *r) {
    size_t nodes = 1, deep = 0, at = 1;
    uint32_t path[SLV_LEXICON_DEPTH + 1] = {0};
    if (r->n) qsort(r->v, r->n, sizeof *r->v, by_text);
    for (size_t i = 0; i < r->n; i++)
        nodes += r->v[i].n - (i ? shared(&r->v[i - 1], &r->v[i]) : 0u);
    if (!alloc_rests(k, nodes, r->n)) return SLV_E_NOMEM;
    for (size_t i = 0; i < r->n; i++) {
        const struct rest *x = &r->v[i];
        const size_t keep = i ? shared(&r->v[i - 1], x) : 0;
        for (; deep > keep; deep--)
            k->end[path[deep]] = (uint32_t)at;
        for (; deep < x->n; at++) {
            k->byte[at] = x->text[deep];
            path[++deep] = (uint32_t)at;
            k->depth[at] = (uint8_t)deep;
            k->first[at] = (uint32_t)i;
        }
        k->leave[i] = (struct leaving){x->token, x->chars};
    }
    for (; deep > 0; deep--)
        k->end[path[deep]] = (uint32_t)at;
    k->end[0] = (uint32_t)at;
    k->first[at] = (uint32_t)r->n;
    k->n = nodes;
    k->n_leave = r->n;
    return 0;
}

static void count_characters(const struct slv_lexicon *l, uint32_t node, uint32_t n,
                             uint8_t *chars) {
    for (int32_t t = l->token[node]; t >= 0; t = l->same[t])
        chars[t] = (uint8_t)(n < 255 ? n : 255);
}

/* Walks the vocabulary's trie in the string alone. chars (may be NULL): of each token that
 * stays. */
static int find_tokens(const struct slv_lexicon *l, struct slv_langs *p, struct slv_string_at *at,
                       const struct slv_string_at *from, struct kept *k, struct rests *r,
                       uint8_t *chars) {
    at[0] = *from;
    for (uint32_t i = 1; i < l->n;) {
        const unsigned d = l->depth[i];
        const unsigned char c = l->byte[i];
        at[d] = at[d - 1];
        if (!slv_langs_pay(p, 1)) break;
        if (c == '"' && !at[d].part) {
            if (slv_string_may_close(p, &at[d - 1])) {
                const int rc = add_rests(l, i, (uint8_t)(at[d].count - from->count), r);
                if (rc) return rc;
            }
            i = l->end[i];
        } else if (slv_string_byte(p, &at[d], c)) {
            set_tokens(l, i, k->stay);
            if (chars) count_characters(l, i, at[d].count + (at[d].part != 0), chars);
            k->loops = k->loops && (at[d].part || at[d].lang == from->lang);
            i++;
        } else i = l->end[i];
    }
    return slv_langs_status(p);
}

#define MAX_LEAVING 8192u /* tokens */

/* A token that leaves a terminal at the earliest place may do so at others too: all its bytes are
 * kept, and the matcher is asked. */
static int add_whole(const struct slv_lexicon *l, uint32_t node, const unsigned char *path,
                     struct rests *r) {
    unsigned char text[SLV_LEXICON_DEPTH + 1];
    memcpy(text, path, l->depth[node]);
    for (uint32_t i = node; i < l->end[node]; i++) {
        text[l->depth[i] - 1] = l->byte[i];
        for (int32_t t = l->token[i]; t >= 0; t = l->same[t]) {
            const int rc = slv_mem_grow((void **)&r->v, r->n, &r->cap, sizeof *r->v, MAX_LEAVING);
            if (rc) return rc;
            struct rest *x = &r->v[r->n++];
            *x = (struct rest){.token = t, .n = l->depth[i]};
            memcpy(x->text, text, x->n);
        }
    }
    return 0;
}

/* Tokens that stay in the terminal, and those that may leave it after a byte. */
static int find_text(const struct slv_lexicon *l, struct slv_langs *p, struct slv_string_at *at,
                     const struct slv_string_at *from, struct kept *k, struct rests *r) {
    unsigned char path[SLV_LEXICON_DEPTH + 1];
    bool left[SLV_LEXICON_DEPTH + 1] = {false}; /* by depth: it may have ended */
    at[0] = *from;
    for (uint32_t i = 1; i < l->n;) {
        const unsigned d = l->depth[i];
        at[d] = at[d - 1];
        if (!slv_langs_pay(p, 1)) break;
        path[d - 1] = l->byte[i];
        if (slv_text_byte(p, &at[d], l->byte[i])) {
            set_tokens(l, i, k->stay);
            left[d] = left[d - 1] || (!at[d].part && slv_lang_nullable(p, at[d].lang));
            i++;
            continue;
        }
        const int rc = left[d - 1] ? add_whole(l, i, path, r) : 0;
        if (rc) return rc;
        i = l->end[i];
    }
    return slv_langs_status(p);
}

static void drop(struct kept *k) {
    if (!k) return;
    slv_mem_free(k->stay);
    slv_mem_free(k->byte);
    slv_mem_free(k->depth);
    slv_mem_free(k->end);
    slv_mem_free(k->first);
    slv_mem_free(k->leave);
    slv_mem_free(k);
}

/* The same for a terminal's state. */
static int find_in_text(const struct slv_lexicon *l, struct slv_langs *p, struct slv_string_at *at,
                        const struct slv_string_at *s, struct kept *k) {
    struct rests r = {0};
    k->text = true;
    k->stay = slv_mem_calloc(slv_mask_words(l), sizeof *k->stay);
    int rc = k->stay ? find_text(l, p, at, s, k, &r) : SLV_E_NOMEM;
    k->walked = rc == SLV_E_LIMIT && !slv_langs_status(p);
    if (k->walked) {
        slv_mem_free(k->stay);
        k->stay = NULL;
        rc = 0;
    } else if (!rc) rc = plant(k, &r);
    slv_mem_free(r.v);
    return rc;
}

/* Fills k for the state s. at: SLV_LEXICON_DEPTH + 1 of them, scratch. */
static int find(const struct slv_lexicon *l, struct slv_langs *p, struct slv_string_at *at,
                const struct slv_string_at *s, struct kept *k, uint8_t *chars) {
    static const struct slv_string_set free_set = {SLV_LANG_ANY, 0, SLV_LANG_INF};
    struct slv_string_at from = *s;
    struct rests r = {0};
    if (!from.set) from.set = &free_set; /* so that characters are counted */
    from.count = 0;
    const struct slv_string_set left = {s->lang, k->least, k->most};
    if (s->set) from.set = &left;
    k->loops = true;
    k->stay = slv_mem_calloc(slv_mask_words(l), sizeof *k->stay);
    int rc = k->stay ? find_tokens(l, p, at, &from, k, &r, chars) : SLV_E_NOMEM;
    if (!rc) rc = plant(k, &r);
    slv_mem_free(r.v);
    return rc;
}

static size_t bytes_of(const struct slv_lexicon *l, const struct kept *k) {
    return sizeof *k + (k->stay ? slv_mask_words(l) * sizeof *k->stay : 0) +
           k->n * (sizeof *k->byte + sizeof *k->depth + sizeof *k->end + sizeof *k->first) +
           k->n_leave * sizeof *k->leave;
}

static void drop_oldest(struct slv_masks *z) {
    size_t oldest = 0;
    for (size_t i = 1; i < z->n; i++)
        if (z->v[i]->used < z->v[oldest]->used) oldest = i;
    z->bytes -= z->v[oldest]->bytes;
    drop(z->v[oldest]);
    z->v[oldest] = z->v[--z->n];
}

/* Keeps one more: those that were not used for longest go. */
static int keep(struct slv_masks *z, struct kept *k) {
    k->bytes = bytes_of(z->l, k);
    while (z->n && (z->n == MAX_KEPT || z->bytes + k->bytes > SLV_MASKS_MAX_BYTES))
        drop_oldest(z);
    const int rc = slv_mem_grow((void **)&z->v, z->n, &z->cap, sizeof *z->v, MAX_KEPT);
    if (rc) return rc;
    z->bytes += k->bytes;
    z->v[z->n++] = k;
    return 0;
}

size_t slv_masks_bytes(const struct slv_masks *z) {
    return sizeof *z + z->bytes + z->cap * sizeof *z->v + slv_mask_words(z->l) * sizeof *z->some +
           (SLV_LEXICON_DEPTH + 1) * (sizeof *z->marks + sizeof *z->strings) +
           2 * SLV_MAX_THREADS * sizeof *z->keep;
}

static struct kept *known(struct slv_masks *z, slv_lang lang, uint32_t part, uint32_t least,
                          uint32_t most, bool text) {
    for (size_t i = 0; i < z->n; i++) {
        struct kept *k = z->v[i];
        if (k->lang == lang && k->part == part && k->least == least && k->most == most &&
            k->text == text) {
            k->used = ++z->clock;
            return k;
        }
    }
    return NULL;
}

static int add_kept(struct slv_masks *z, const struct slv_string_at *s, uint32_t least,
                    uint32_t most, bool text, struct kept **ret) {
    struct kept *k = slv_mem_calloc(1, sizeof *k);
    if (!k) return SLV_E_NOMEM;
    k->lang = s->lang;
    k->part = s->part;
    k->least = least;
    k->most = most;
    k->used = ++z->clock;
    struct slv_string_at from = *s;
    if (least == 0 && most == SLV_LANG_INF) from.set = NULL;
    int rc = text ? find_in_text(z->l, z->p, z->strings, s, k)
                  : find(z->l, z->p, z->strings, &from, k, NULL);
    if (!rc) rc = keep(z, k);
    if (rc) drop(k);
    else *ret = k;
    return rc;
}

/* What is kept for the state of s; bounds of the length count only where the language does not
 * loop: else they are a matter of counting. */
static int kept_for(struct slv_masks *z, const struct slv_string_at *s, struct kept **ret) {
    const uint32_t least = s->set && s->set->min > s->count ? s->set->min - s->count : 0;
    const uint32_t most =
        s->set && s->set->max != SLV_LANG_INF ? s->set->max - s->count : SLV_LANG_INF;
    const bool any = s->lang == SLV_LANG_ANY && !s->part;
    *ret = any ? z->f->any : known(z, s->lang, s->part, 0, SLV_LANG_INF, false);
    if (!*ret) {
        const int rc = add_kept(z, s, 0, SLV_LANG_INF, false, ret);
        if (rc) return rc;
    }
    if (((*ret)->loops && !s->part) || (least == 0 && most == SLV_LANG_INF)) return 0;
    *ret = known(z, s->lang, s->part, least, most, false);
    return *ret ? 0 : add_kept(z, s, least, most, false, ret);
}

/* --- masks ------------------------------------------------------------------------------------ */

static bool same_place(const struct slv_string_at *a, const struct slv_string_at *b) {
    return a->lang == b->lang && a->part == b->part && a->count == b->count && a->set == b->set;
}

/* Walks the vocabulary's trie below a node from the current set on. */
static void walk_below(struct slv_masks *z, struct slv_matcher *m, uint32_t node, uint64_t *bits) {
    const struct slv_lexicon *l = z->l;
    const unsigned base = l->depth[node];
    z->marks[0] = slv_matcher_mark(m);
    unsigned open = 0; /* the depth that the matcher is at */
    for (uint32_t i = node + 1; i < l->end[node];) {
        const unsigned d = l->depth[i] - base;
        if (open >= d) slv_matcher_rewind(m, &z->marks[d - 1]);
        open = d - 1;
        if (!slv_matcher_try(m, l->byte[i])) {
            i = l->end[i];
            continue;
        }
        z->marks[d] = slv_matcher_mark(m);
        open = d;
        set_tokens(l, i, bits);
        i++;
    }
    slv_matcher_rewind(m, &z->marks[0]);
}

static void set_leaving(const struct kept *k, size_t node, uint32_t least, uint32_t most,
                        uint64_t *bits) {
    for (uint32_t i = k->first[node]; i < k->first[node + 1]; i++)
        if (k->leave[i].chars >= least && k->leave[i].chars <= most)
            set_bit(bits, k->leave[i].token);
}

/* Tokens that close the string: what they have behind the quote. */
static void walk_rests(struct slv_masks *z, struct slv_matcher *m, const struct kept *k,
                       uint32_t least, uint32_t most, uint64_t *bits) {
    unsigned open = 0;
    z->marks[0] = slv_matcher_mark(m);
    set_leaving(k, 0, least, most, bits);
    for (uint32_t i = 1; i < k->n;) {
        const unsigned d = k->depth[i];
        if (open >= d) slv_matcher_rewind(m, &z->marks[d - 1]);
        open = d - 1;
        if (!slv_matcher_try(m, k->byte[i])) {
            i = k->end[i];
            continue;
        }
        z->marks[d] = slv_matcher_mark(m);
        open = d;
        set_leaving(k, i, least, most, bits);
        i++;
    }
    slv_matcher_rewind(m, &z->marks[0]);
}

/* Tokens that stay in the string and have at most so many characters. */
static void add_staying(struct slv_masks *z, const struct kept *k, uint32_t most, uint64_t *bits) {
    const struct slv_free_text *f = z->f;
    const size_t n = slv_mask_words(z->l);
    const uint64_t *from = k->stay;
    if (most < 255) {
        memcpy(z->some, k->stay, n * sizeof *from);
        for (size_t i = 0; i < f->n && f->chars[f->by_chars[i]] > most; i++)
            clear_bit(z->some, f->by_chars[i]);
        from = z->some;
    }
    for (size_t i = 0; i < n; i++)
        bits[i] |= from[i];
}

struct retry {
    struct slv_masks *z;
    struct slv_matcher *m;
};

static bool takes(struct slv_matcher *m, const unsigned char *path, unsigned n) {
    const struct slv_mark mark = slv_matcher_mark(m);
    unsigned i = 0;
    while (i < n && slv_matcher_try(m, path[i]))
        i++;
    slv_matcher_rewind(m, &mark);
    return i == n;
}

/* Tokens that begin with `rest` are asked for one by one. */
static void retry_beginning(void *ctx, const char *rest, size_t n) {
    struct retry *r = ctx;
    struct slv_masks *z = r->z;
    const struct slv_lexicon *l = z->l;
    unsigned char path[SLV_LEXICON_DEPTH];
    const uint32_t at = slv_lexicon_find(l, rest, n);
    if (!at) return;
    memcpy(path, rest, n);
    for (uint32_t i = at; i < l->end[at]; i++) {
        path[l->depth[i] - 1] = l->byte[i];
        if (l->token[i] < 0 || takes(r->m, path, l->depth[i])) continue;
        for (int32_t t = l->token[i]; t >= 0; t = l->same[t])
            clear_bit(z->some, t);
    }
}

/* The ways that keep[] says, all in the same state of the same string. */
static int string_mask(struct slv_masks *z, struct slv_matcher *m, const struct slv_string_at *s,
                       uint64_t *bits) {
    struct kept *k;
    const int rc = kept_for(z, s, &k);
    if (rc) return rc;
    uint32_t least = 0, most = SLV_LANG_INF;
    if (s->set && k->loops && !s->part) {
        least = s->set->min > s->count ? s->set->min - s->count : 0;
        most = s->set->max == SLV_LANG_INF ? most : s->set->max - s->count;
    }
    add_staying(z, k, most, bits);
    if (!k->n_leave) return 0;
    const struct slv_mark mark = slv_matcher_mark(m);
    (void)slv_matcher_focus(m, z->keep);
    memset(z->some, 0, slv_mask_words(z->l) * sizeof *z->some);
    slv_matcher_may_repeat(m, true);
    if (slv_matcher_close_string(m)) walk_rests(z, m, k, least, most, z->some);
    slv_matcher_may_repeat(m, false);
    slv_matcher_rewind(m, &mark);
    (void)slv_matcher_focus(m, z->keep);
    struct retry r = {z, m};
    for (size_t i = 0; i < slv_matcher_ways(m); i++)
        slv_matcher_taken(m, i, retry_beginning, &r);
    slv_matcher_rewind(m, &mark);
    for (size_t i = 0; i < slv_mask_words(z->l); i++)
        bits[i] |= z->some[i];
    return slv_matcher_status(m);
}

#define FEW_LETTERS 8u

/* Whether few letters go on with the terminal: walking it costs less than looking for its tokens.
 * */
static bool is_narrow(struct slv_masks *z, slv_lang lang) {
    const slv_lang *to = slv_lang_ascii(z->p, lang);
    unsigned n = 0;
    for (unsigned c = 0x20; to && c < 0x7f; c++)
        n += to[c] != SLV_LANG_NONE;
    return n < FEW_LETTERS;
}

/* The ways that are in the same state of a terminal's language as `way`; false if one of them came
 * before. */
static bool text_group_of(struct slv_masks *z, const struct slv_matcher *m, size_t way,
                          const struct slv_string_at *s) {
    struct slv_string_at t;
    for (size_t i = 0; i < slv_matcher_ways(m); i++) {
        z->keep[i] = slv_matcher_text(m, i, &t) && same_place(s, &t);
        if (z->keep[i] && i < way) return false;
    }
    return true;
}

/* Tokens that begin in the terminal that `way` is in, in state s. What leaves it at once is the
 * other ways' matter. */
static int text_mask(struct slv_masks *z, struct slv_matcher *m, size_t way,
                     const struct slv_string_at *s, uint64_t *bits) {
    struct kept *k = s->lang == SLV_LANG_ANY && !s->part ? z->f->any_text : NULL;
    if (s->part || (!k && is_narrow(z, s->lang))) {
        z->walk[way] = true;
        return 0;
    }
    if (!k) k = known(z, s->lang, 0, 0, SLV_LANG_INF, true);
    const int rc = k ? 0 : add_kept(z, s, 0, SLV_LANG_INF, true, &k);
    if (rc) return rc;
    z->walk[way] = k->walked;
    if (k->walked || !text_group_of(z, m, way, s)) return 0;
    add_staying(z, k, SLV_LANG_INF, bits);
    if (!k->n_leave) return 0;
    const struct slv_mark mark = slv_matcher_mark(m);
    (void)slv_matcher_focus(m, z->keep);
    walk_rests(z, m, k, 0, SLV_LANG_INF, bits);
    slv_matcher_rewind(m, &mark);
    return slv_matcher_status(m);
}

/* keep[]: the ways that are in the string s like `way` is; a free key stands alone. False if one
 * of them came before. */
static bool group_of(struct slv_masks *z, const struct slv_matcher *m, size_t way,
                     const struct slv_string_at *s, bool key) {
    const size_t n = slv_matcher_ways(m);
    struct slv_string_at t;
    bool other_key;
    for (size_t i = 0; i < n; i++) {
        z->keep[i] = i == way || (!key && slv_matcher_string(m, i, &t, &other_key) && !other_key &&
                                  same_place(s, &t));
        if (z->keep[i] && i < way) return false;
    }
    return true;
}

/* The ways that are left, together. */
static void other_mask(struct slv_masks *z, struct slv_matcher *m, uint64_t *bits) {
    const size_t n = slv_matcher_ways(m);
    bool any = false;
    for (size_t i = 0; i < n; i++)
        any = any || z->walk[i];
    if (!any) return;
    const struct slv_mark mark = slv_matcher_mark(m);
    (void)slv_matcher_focus(m, z->walk);
    walk_below(z, m, 0, bits);
    slv_matcher_rewind(m, &mark);
}

/* Tokens that a grammar names are no text: they may come only where it says so. */
static void named_tokens(const struct slv_grammar *g, const struct slv_matcher *m, uint64_t *bits) {
    int32_t id;
    for (size_t i = 0; i < g->n_tokens; i++)
        clear_bit(bits, g->tokens[i]);
    for (size_t i = 0; i < slv_matcher_ways(m); i++)
        if (slv_matcher_token(m, i, &id)) set_bit(bits, id);
}

int slv_mask_next(struct slv_masks *z, struct slv_matcher *m, uint64_t *bits) {
    const size_t n = slv_matcher_ways(m);
    struct slv_string_at s;
    bool key;
    int rc = 0;
    memset(bits, 0, slv_mask_words(z->l) * sizeof *bits);
    for (size_t i = 0; i < n && !rc; i++) {
        z->walk[i] = false;
        if (slv_matcher_string(m, i, &s, &key)) {
            if (group_of(z, m, i, &s, key)) rc = string_mask(z, m, &s, bits);
        } else if (slv_matcher_text(m, i, &s)) rc = text_mask(z, m, i, &s, bits);
        else z->walk[i] = true;
    }
    if (!rc) other_mask(z, m, bits);
    if (!rc && z->g) named_tokens(z->g, m, bits);
    return rc ? rc : slv_matcher_status(m);
}

int slv_mask_under(struct slv_masks *z, struct slv_matcher *m, uint32_t node, uint64_t *bits) {
    walk_below(z, m, node, bits);
    return slv_matcher_status(m);
}

static bool waits_for_token(const struct slv_matcher *m) {
    int32_t id;
    for (size_t i = 0; i < slv_matcher_ways(m); i++)
        if (slv_matcher_token(m, i, &id)) return true;
    return false;
}

int slv_mask_forced_token(const struct slv_matcher *m) {
    int32_t only = -1, id;
    for (size_t i = 0; i < slv_matcher_ways(m); i++) {
        if (!slv_matcher_token(m, i, &id) || (only >= 0 && only != id)) return -1;
        only = id;
    }
    return only;
}

int slv_mask_forced(struct slv_matcher *m, char *out, size_t most, size_t *ret_n) {
    const struct slv_mark from = slv_matcher_mark(m);
    size_t n = 0;
    for (int only = 0; n < most && !slv_matcher_done(m) && !waits_for_token(m); n++) {
        only = -1;
        for (int c = 0; c < 0xf5 && only != -2; c++) {
            const struct slv_mark mark = slv_matcher_mark(m);
            if (!slv_matcher_try(m, (unsigned char)c)) continue;
            only = only == -1 ? c : -2;
            slv_matcher_rewind(m, &mark);
        }
        if (only < 0 || !slv_matcher_try(m, (unsigned char)only)) break;
        out[n] = (char)only;
    }
    slv_matcher_rewind(m, &from);
    *ret_n = n;
    return slv_matcher_status(m);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Tokens by their characters, most first: a counting sort. */
static void sort_tokens(struct slv_free_text *f) {
    size_t at[257] = {0};
    for (size_t i = 0; i < f->l->n_tokens; i++)
        at[255 - f->chars[i] + 1]++;
    for (size_t c = 1; c < 257; c++)
        at[c] += at[c - 1];
    f->n = at[255]; /* those that do not stay have none */
    for (size_t i = 0; i < f->l->n_tokens; i++)
        f->by_chars[at[255 - f->chars[i]]++] = (int32_t)i;
}

static int find_any(struct slv_free_text *f) {
    struct slv_langs *p = NULL;
    struct slv_string_at *at = slv_mem_calloc(SLV_LEXICON_DEPTH + 1, sizeof *at);
    const struct slv_string_at from = {.lang = SLV_LANG_ANY};
    int rc = at ? slv_langs_open(&p) : SLV_E_NOMEM;
    if (!rc) rc = find(f->l, p, at, &from, f->any, f->chars);
    if (!rc) rc = find_in_text(f->l, p, at, &from, f->any_text);
    slv_langs_close(p);
    slv_mem_free(at);
    return rc;
}

int slv_free_text_open(const struct slv_lexicon *l, struct slv_free_text **ret) {
    struct slv_free_text *f = slv_mem_calloc(1, sizeof *f);
    if (!f) return SLV_E_NOMEM;
    f->l = l;
    f->any = slv_mem_calloc(1, sizeof *f->any);
    f->any_text = slv_mem_calloc(1, sizeof *f->any_text);
    f->chars = slv_mem_calloc(l->n_tokens, 1);
    f->by_chars = slv_mem_calloc(l->n_tokens, sizeof *f->by_chars);
    int rc = f->any && f->any_text && f->chars && f->by_chars ? 0 : SLV_E_NOMEM;
    if (!rc) {
        f->any->lang = SLV_LANG_ANY;
        f->any->most = SLV_LANG_INF;
        rc = find_any(f);
    }
    if (!rc) sort_tokens(f);
    if (rc) slv_free_text_close(f);
    else *ret = f;
    return rc;
}

void slv_free_text_close(struct slv_free_text *f) {
    if (!f) return;
    drop(f->any);
    drop(f->any_text);
    slv_mem_free(f->chars);
    slv_mem_free(f->by_chars);
    slv_mem_free(f);
}

static int open_on(const struct slv_free_text *f, struct slv_langs *p, const struct slv_grammar *g,
                   struct slv_masks **ret) {
    struct slv_masks *z = slv_mem_calloc(1, sizeof *z);
    if (!z) return SLV_E_NOMEM;
    z->f = f;
    z->l = f->l;
    z->p = p;
    z->g = g;
    z->marks = slv_mem_calloc(SLV_LEXICON_DEPTH + 1, sizeof *z->marks);
    z->strings = slv_mem_calloc(SLV_LEXICON_DEPTH + 1, sizeof *z->strings);
    z->some = slv_mem_calloc(slv_mask_words(z->l), sizeof *z->some);
    z->keep = slv_mem_calloc(SLV_MAX_THREADS, sizeof *z->keep);
    z->walk = slv_mem_calloc(SLV_MAX_THREADS, sizeof *z->walk);
    if (!z->marks || !z->strings || !z->some || !z->keep || !z->walk) {
        slv_masks_close(z);
        return SLV_E_NOMEM;
    }
    *ret = z;
    return 0;
}

int slv_masks_open(const struct slv_free_text *f, struct slv_schema *s, struct slv_masks **ret) {
    return open_on(f, s->c.p, NULL, ret);
}

int slv_masks_open_grammar(const struct slv_free_text *f, struct slv_grammar *g,
                           struct slv_masks **ret) {
    return open_on(f, g->p, g, ret);
}

void slv_masks_close(struct slv_masks *z) {
    if (!z) return;
    for (size_t i = 0; i < z->n; i++)
        drop(z->v[i]);
    slv_mem_free(z->v);
    slv_mem_free(z->marks);
    slv_mem_free(z->strings);
    slv_mem_free(z->some);
    slv_mem_free(z->keep);
    slv_mem_free(z->walk);
    slv_mem_free(z);
}
