/* attend.c: see attend.h. */
#include "engine/attend.h"

#include <string.h>

#define RUN 8      /* tokens of a unit, and the most whose spans wait */
#define QUERIES 24 /* query heads given to a kernel at once: it takes 6 or 8 together */
#define ROOM 4096  /* floats in which they lie, heads padded */
#define SPAN (SLV_KV_SPAN * SLV_KV_BLOCK)

/* Query heads that share a KV head. */
static size_t group(const struct slv_hparams *h) { return h->n_head / h->n_head_kv; }

static size_t padded(size_t n) { return (n + 31) / 32 * 32; }

/* A part: output, maximum, sum; whole cache lines. */
static size_t part_floats(const struct slv_hparams *h) { return padded(h->head_v) + 16; }

size_t slv_attend_part_floats(const struct slv_hparams *h) {
    return SLV_ATTEND_PARTS * part_floats(h);
}

/* The positions [first, end) that token i sees. */
static uint32_t seen_end(const struct slv_attend *a, size_t i) {
    return a->tok[i].end ? a->tok[i].end : a->tok[i].pos + 1;
}

static uint32_t seen_first(const struct slv_attend *a, size_t i) {
    const struct slv_hparams *h = a->h;
    uint32_t end = seen_end(a, i);
    return h->window && h->windowed[a->layer] && end > h->window ? end - h->window : 0;
}

static uint32_t first_span(const struct slv_attend *a, size_t i) { return seen_first(a, i) / SPAN; }

static uint32_t n_spans(const struct slv_attend *a, size_t i) {
    return (seen_end(a, i) - 1) / SPAN + 1 - first_span(a, i);
}

/* The most spans any token has, 1 for steps of many tokens. */
static size_t most_spans(const struct slv_attend *a) {
    size_t most = 1;
    for (size_t i = 0; i < a->n && a->n <= RUN; i++)
        if (n_spans(a, i) > most) most = n_spans(a, i);
    return most;
}

bool slv_attend_waits(const struct slv_attend *a) {
    size_t spans = a->part ? most_spans(a) : 1;
    return spans > 1 && a->n * a->h->n_head * spans <= SLV_ATTEND_PARTS;
}

static float *part_of(const struct slv_attend *a, size_t i, size_t head, size_t spans,
                      size_t span) {
    return a->part + ((i * a->h->n_head + head) * spans + span) * part_floats(a->h);
}

/* --- some queries of one KV head ------------------------------------------------------------ */

/* What some positions come to. */
struct part {
    float *o; /* [dv] */
    float max, sum;
};

/* One query on its way: what it has of a block, of the span it is in, and of the spans before. */
struct state {
    uint32_t first, end;
    struct part block, span, all;
    bool in_span, has_all;
};

struct work {
    size_t n, dk, dv;
    struct slv_attn_query query[QUERIES];
    struct state state[QUERIES];
    int8_t q8[ROOM];
    float q8_scale[ROOM / 32];
    int32_t q8_less[ROOM / 32];
    _Alignas(64) float q[ROOM], block[ROOM], span[ROOM], all[ROOM];
};

static void put_query(const struct slv_attend *a, struct work *w, size_t i, size_t head) {
    const struct slv_hparams *h = a->h;
    const struct slv_kv *kv = a->tok[i].kv;
    size_t c = w->n++;
    const size_t part = c * w->dk / 32;
    const struct slv_codes q8 = {
        .q = w->q8 + c * w->dk, .d = w->q8_scale + part, .less = w->q8_less + part};
    float *q = w->q + c * w->dk;
    memcpy(q, a->q + i * a->ldq + head * h->head_k, h->head_k * sizeof *q);
    memset(q + h->head_k, 0, (w->dk - h->head_k) * sizeof *q);
    w->query[c] = (struct slv_attn_query){.q = q, .q8 = q8.q, .q8_scale = q8.d, .q8_less = q8.less};
    if (kv->type == SLV_KV_Q8) a->kern->quantize(q, w->dk, 32, 1, &q8);
    w->state[c] = (struct state){.first = seen_first(a, i),
                                 .end = seen_end(a, i),
                                 .block.o = w->block + c * w->dv,
                                 .span.o = w->span + c * w->dv,
                                 .all.o = w->all + c * w->dv};
}

/* The first of something is the something, and gets its room for its own; what follows joins it. */
static void join(const struct slv_kernels *kern, struct part *from, size_t n, bool *has,
                 struct part *to) {
    if (*has) {
        kern->attn_join(from->max, from->sum, from->o, n, &to->max, &to->sum, to->o);
        return;
    }
    const struct part room = *to;
    *to = *from;
    *from = room;
    *has = true;
}

static void end_span(const struct slv_attend *a, struct work *w) {
    for (size_t c = 0; c < w->n; c++) {
        struct state *s = &w->state[c];
        if (!s->in_span) continue;
        join(a->kern, &s->span, w->dv, &s->has_all, &s->all);
        s->in_span = false;
    }
}

/* Keys of a block of one KV head. */
static const void *keys_at(const struct slv_attend *a, const struct slv_kv *kv, size_t kv_head,
                           uint32_t block) {
    struct slv_attn_block b;
    slv_kv_block(kv, a->layer, (uint32_t)kv_head, block, &b);
    return b.k;
}

/* One block for the queries that see something of it; the keys `next` come after it. */
static void one_block(const struct slv_attend *a, const struct slv_kv *kv, size_t kv_head,
                      uint32_t block, const void *next, struct work *w) {
    const uint32_t base = block * SLV_KV_BLOCK;
    struct slv_attn_query q[QUERIES];
    size_t who[QUERIES], n = 0;
    for (size_t c = 0; c < w->n; c++) {
        const struct state *s = &w->state[c];
        if (s->end <= base || s->first >= base + SLV_KV_BLOCK) continue;
        q[n] = w->query[c];
        q[n].out = s->block.o;
        q[n].first = s->first > base ? s->first - base : 0;
        q[n].last = s->end - base < SLV_KV_BLOCK ? s->end - base : SLV_KV_BLOCK;
        who[n++] = c;
    }
    if (!n) return;
    struct slv_attn_block b = {.scale = a->h->attn_scale, .cap = a->h->attn_cap, .next = next};
    slv_kv_block(kv, a->layer, (uint32_t)kv_head, block, &b);
    a->kern->attn[kv->type](&b, q, n);
    for (size_t k = 0; k < n; k++) {
        struct state *s = &w->state[who[k]];
        s->block.max = q[k].max;
        s->block.sum = q[k].sum;
        join(a->kern, &s->block, w->dv, &s->in_span, &s->span);
    }
}

/* All queries over blocks [b0, b1); the keys `then` come after them. */
static void blocks(const struct slv_attend *a, const struct slv_kv *kv, size_t kv_head, uint32_t b0,
                   uint32_t b1, const void *then, struct work *w) {
    for (uint32_t b = b0; b < b1; b++) {
        one_block(a, kv, kv_head, b, b + 1 < b1 ? keys_at(a, kv, kv_head, b + 1) : then, w);
        if ((b + 1) % SLV_KV_SPAN == 0) end_span(a, w);
    }
    end_span(a, w);
}

/* --- units ---------------------------------------------------------------------------------- */

static size_t most_queries(const struct work *w) {
    size_t fit = ROOM / (w->dk > w->dv ? w->dk : w->dv);
    return fit < QUERIES ? fit : QUERIES;
}

/* out = o / sum, for n dimensions. */
static void divide(const float *restrict o, float sum, size_t n, float *restrict out) {
    for (size_t j = 0; j < n; j++)
        out[j] = o[j] / sum;
}

/* What the queries of w have come to goes to their rows. */
static void give(const struct slv_attend *a, const struct work *w, size_t c, size_t i,
                 size_t head) {
    const struct part *all = &w->state[c].all;
    divide(all->o, all->sum, a->h->head_v, a->out + i * a->ldo + head * a->h->head_v);
}

/* The first keys that token i sees. */
static const void *first_keys(const struct slv_attend *a, size_t i, size_t kv_head) {
    return keys_at(a, a->tok[i].kv, kv_head, seen_first(a, i) / SLV_KV_BLOCK);
}

/* The queries [from, to) of tokens that share a cache, counted token by token over the group's
 * heads, from token i on; after them token `then` comes. */
static void some_queries(const struct slv_attend *a, size_t i, size_t kv_head, size_t from,
                         size_t to, size_t then, struct work *w) {
    const struct slv_kv *kv = a->tok[i].kv;
    const size_t g = group(a->h), head0 = kv_head * g;
    uint32_t first = UINT32_MAX, end = 0;
    w->n = 0;
    for (size_t k = from; k < to; k++) {
        put_query(a, w, i + k / g, head0 + k % g);
        const struct state *s = &w->state[w->n - 1];
        if (s->first < first) first = s->first;
        if (s->end > end) end = s->end;
    }
    blocks(a, kv, kv_head, first / SLV_KV_BLOCK, (end - 1) / SLV_KV_BLOCK + 1,
           first_keys(a, then, kv_head), w);
    for (size_t k = from; k < to; k++)
        give(a, w, k - from, i + k / g, head0 + k % g);
}

/* Tokens [i0, i1) and one KV head. */
static void run_of_tokens(const struct slv_attend *a, size_t i0, size_t i1, size_t kv_head,
                          struct work *w) {
    for (size_t i = i0; i < i1;) {
        const struct slv_kv *kv = a->tok[i].kv;
        size_t end = i + 1;
        while (end < i1 && a->tok[end].kv == kv)
            end++;
        w->dk = kv->dk;
        w->dv = kv->dv;
        const size_t all = (end - i) * group(a->h), most = most_queries(w);
        for (size_t k = 0; k < all; k += most) {
            const size_t to = k + most < all ? k + most : all;
            some_queries(a, i, kv_head, k, to, to == all && end < i1 ? end : i, w);
        }
        i = end;
    }
}

/* One span of one token and KV head. */
static void one_span(const struct slv_attend *a, size_t i, size_t kv_head, size_t spans,
                     size_t span, struct work *w) {
    const struct slv_kv *kv = a->tok[i].kv;
    const size_t g = group(a->h);
    if (span >= n_spans(a, i)) return;
    w->dk = kv->dk;
    w->dv = kv->dv;
    const uint32_t b0 = (first_span(a, i) + (uint32_t)span) * SLV_KV_SPAN;
    const uint32_t last = (seen_end(a, i) - 1) / SLV_KV_BLOCK + 1, b1 = b0 + SLV_KV_SPAN;
    for (size_t from = 0, most = most_queries(w); from < g; from += most) {
        size_t to = from + most < g ? from + most : g;
        w->n = 0;
        for (size_t k = from; k < to; k++)
            put_query(a, w, i, kv_head * g + k);
        blocks(a, kv, kv_head, b0, b1 < last ? b1 : last, first_keys(a, i, kv_head), w);
        for (size_t k = from; k < to; k++) {
            const struct state *s = &w->state[k - from];
            float *part = part_of(a, i, kv_head * g + k, spans, span);
            part[0] = s->all.max;
            part[1] = s->all.sum;
            memcpy(part + 16, s->all.o, w->dv * sizeof *part);
        }
    }
}

size_t slv_attend_units(const struct slv_attend *a) {
    if (slv_attend_waits(a)) return a->n * a->h->n_head_kv * most_spans(a);
    return (a->n + RUN - 1) / RUN * a->h->n_head_kv;
}

void slv_attend_run(const struct slv_attend *a, size_t from, size_t to) {
    const size_t heads = a->h->n_head_kv, spans = most_spans(a);
    const bool waits = slv_attend_waits(a);
    struct work w;
    for (size_t j = from; j < to; j++) {
        if (waits) {
            one_span(a, j / spans / heads, j / spans % heads, spans, j % spans, &w);
        } else {
            size_t i = j / heads * RUN, left = a->n - i;
            run_of_tokens(a, i, i + (left < RUN ? left : RUN), j % heads, &w);
        }
    }
}

/* --- joining what waits --------------------------------------------------------------------- */

/* Dimensions [d0, d1) of one head. Every part of a head joins by the same maxima and sums, whatever
 * its dimensions, so a head may be finished in pieces. */
static void finish_head(const struct slv_attend *a, size_t i, size_t head, size_t spans, size_t d0,
                        size_t d1) {
    _Alignas(64) float acc[SLV_MAX_HEAD_DIM];
    const size_t begin = d0 / 16 * 16, n = (d1 - begin + 15) / 16 * 16;
    const float *first = part_of(a, i, head, spans, 0);
    float max = first[0], sum = first[1];
    memcpy(acc, first + 16 + begin, n * sizeof *acc);
    for (size_t s = 1; s < n_spans(a, i); s++) {
        const float *part = part_of(a, i, head, spans, s);
        a->kern->attn_join(part[0], part[1], part + 16 + begin, n, &max, &sum, acc);
    }
    divide(acc + (d0 - begin), sum, d1 - d0, a->out + i * a->ldo + head * a->h->head_v + d0);
}

void slv_attend_finish(const struct slv_attend *a, size_t i, size_t c0, size_t c1) {
    if (!slv_attend_waits(a)) return;
    const size_t dim = a->h->head_v, spans = most_spans(a);
    for (size_t head = c0 / dim; head * dim < c1; head++) {
        size_t d0 = head * dim < c0 ? c0 - head * dim : 0;
        size_t d1 = (head + 1) * dim > c1 ? c1 - head * dim : dim;
        finish_head(a, i, head, spans, d0, d1);
    }
}
