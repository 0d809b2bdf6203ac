/* lanes.c: see lanes.h. */
#include "engine/lanes.h"

/* There must be this times the square of the members of tokens: members that do not keep in step
 * read more of the weights from memory, with 4 of them some 20 GB/s at most (4-bit weights, 160 G
 * products a second of each). Where a layer is larger than what caches share they soon do that. */
#define TOKENS 4
#define TOKENS_LARGE 8
#define LARGE ((size_t)8 << 20)

#define RUNS 64  /* of tokens of one cache each, in a step that is cut */
#define UNEVEN 8 /* a lane may cost this part more than an even share */

/* A product of floats takes as long as so many of bytes. */
#define FLOATS 6

void slv_lanes_measure(const struct slv_plan *p, struct slv_lane_costs *ret) {
    const struct slv_hparams *h = p->h;
    const uint64_t seen = FLOATS * (uint64_t)h->n_head * ((uint64_t)h->head_k + h->head_v);
    uint64_t bytes = 0;
    *ret = (struct slv_lane_costs){0};
    for (size_t i = 0; i < p->n_ops && p->ops[i].kind != SLV_OP_OUT_NORM; i++) {
        const struct slv_op *op = &p->ops[i];
        if (op->kind == SLV_OP_ATTN)
            *(h->window && h->windowed[op->layer] ? &ret->near : &ret->seen) += seen;
        if (i && op->layer != op[-1].layer) bytes = 0;
        for (size_t k = 0; k < op->n_parts; k++) {
            const struct slv_mat *m = &op->part[k].lin->mat;
            ret->token += (uint64_t)m->rows * m->cols * (m->layout->act ? 1 : FLOATS);
            bytes += (m->rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS * m->tile_bytes;
        }
        if (bytes > ret->layer_bytes) ret->layer_bytes = bytes;
    }
}

/* A step that is being cut. */
struct cutting {
    const struct slv_hparams *h;
    const struct slv_lane_costs *c;
    const struct slv_step_token *tok;
    size_t n, n_runs;
    struct run { /* tokens [first, first + n) have one cache */
        size_t first, n;
        bool whole; /* they are not to be cut */
    } run[RUNS];
};

static uint64_t cost(const struct cutting *k, size_t i) {
    const struct slv_step_token *t = &k->tok[i];
    const uint64_t seen = t->end ? t->end : (uint64_t)t->pos + 1;
    const uint64_t near = seen < k->h->window ? seen : k->h->window;
    return k->c->token + k->c->seen * seen + k->c->near * near;
}

static uint64_t cost_of(const struct cutting *k, size_t from, size_t to) {
    uint64_t sum = 0;
    for (size_t i = from; i < to; i++)
        sum += cost(k, i);
    return sum;
}

/* The run that token `first` begins. False: its tokens are in no order. */
static bool take_run(const struct cutting *k, size_t first, struct run *ret) {
    const struct slv_step_token *tok = k->tok;
    *ret = (struct run){.first = first, .whole = k->h->sees_all};
    for (size_t i = first; i < k->n && tok[i].kv == tok[first].kv; i++, ret->n++) {
        if (i > first && tok[i].pos != tok[i - 1].pos + 1) return false;
        if (tok[i].end > tok[i].pos + 1) ret->whole = true;
    }
    return true;
}

/* False: there are too many, or tokens of one cache stand apart. */
static bool find_runs(struct cutting *k) {
    for (size_t i = 0; i < k->n; i += k->run[k->n_runs++].n) {
        if (k->n_runs == RUNS || !take_run(k, i, &k->run[k->n_runs])) return false;
        for (size_t j = 0; j < k->n_runs; j++)
            if (k->tok[k->run[j].first].kv == k->tok[i].kv) return false;
    }
    return true;
}

/* The token before which most nearly so much has been spent. */
static size_t token_at(const struct cutting *k, uint64_t want) {
    uint64_t sum = 0, next;
    size_t i = 0;
    for (; i < k->n; i++, sum += next) {
        next = cost(k, i);
        if (sum + next / 2 >= want) break;
    }
    return i;
}

/* A lane that begins at token i of run r, or where it may near it. */
static struct slv_lane lane_near(const struct cutting *k, const struct run *r, size_t i) {
    const size_t in = i - r->first, left = r->n - in;
    size_t past = k->tok[i].pos % SLV_LANE_ALIGN, less = past, more = SLV_LANE_ALIGN - past;
    if (!in) return (struct slv_lane){.first = i};
    if (r->whole || less > in) less = in;
    if (r->whole || more > left) more = left;
    if (!past && !r->whole) less = 0;
    if (less <= more) return (struct slv_lane){.first = i - less, .follows = less < in};
    return (struct slv_lane){.first = i + more, .follows = more < left};
}

/* False: a lane has nothing to do, or too much. */
static bool cut(const struct cutting *k, size_t lanes, struct slv_lane *lane) {
    const uint64_t share = cost_of(k, 0, k->n) / lanes;
    const struct run *r = k->run;
    lane[0] = (struct slv_lane){0};
    for (size_t j = 1; j <= lanes; j++) {
        struct slv_lane next = {.first = k->n};
        if (j < lanes) {
            const size_t i = token_at(k, share * j);
            if (i == k->n) return false; /* the last token costs more than others together */
            while (i >= r->first + r->n)
                r++;
            next = lane[j] = lane_near(k, r, i);
        }
        struct slv_lane *l = &lane[j - 1];
        if (next.first <= l->first) return false;
        l->n = next.first - l->first;
        if (cost_of(k, l->first, next.first) > share + share / UNEVEN) return false;
    }
    return true;
}

size_t slv_lanes_cut(const struct slv_hparams *h, const struct slv_lane_costs *c,
                     const struct slv_step_token *tok, size_t n, size_t members,
                     struct slv_lane *lane) {
    const size_t least = (c->layer_bytes > LARGE ? TOKENS_LARGE : TOKENS) * members * members;
    struct cutting k = {.h = h, .c = c, .tok = tok, .n = n};
    if (members > 1 && n >= least && find_runs(&k) && cut(&k, members, lane)) return members;
    lane[0] = (struct slv_lane){.n = n};
    return 1;
}
