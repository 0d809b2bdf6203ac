/* step.c: see step.h. Owns the arena's layout, the operators and how threads share them. */
#define _GNU_SOURCE
#include "engine/step.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/mem.h"
#include "engine/attend.h"
#include "engine/lanes.h"
#include "engine/lora.h"
#include "engine/profile.h"
#include "engine/rope.h"
#include "kernel/fmath.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGN 64

/* One lane of the step being run, and of how many layers it and those before it that have to do
 * with it have stored keys and values. */
struct lane {
    _Alignas(ALIGN) struct slv_lane of;
    struct slv_gate stored;
};

struct slv_runner {
    struct slv_runner_model m;
    struct slv_team *team;
    struct slv_team *few; /* its own, for steps of few tokens, or NULL */
    uint32_t n_batch, n_out;
    float *buf[SLV_B_COUNT];
    struct slv_codes act[SLV_A_COUNT][SLV_ACT_KINDS];
    float *part;        /* attention's spans */
    float *cs, *cs_swa; /* RoPE: [n_batch][n_rot] */
    double *freq[3];    /* plain or short, long, windowed: [n_rot / 2] */
    size_t bytes;
    unsigned char *arena;
    /* the step being run */
    const struct slv_step_token *tok;
    struct slv_lane all, outs; /* its tokens, and the rows of those that become logits or states */
    struct lane *lane;         /* [the team's members] */
    size_t n_lanes;            /* 1: all members share the work on all tokens */
    size_t n_layered;          /* operators of the plan up to the last layer's */
    struct slv_lane_costs costs;
    uint32_t *out_row;       /* [n_out, or n_batch]: token of each row of logits or states */
    _Atomic bool *bad_logit; /* [n_out]: one of the row is NaN or infinite */
    _Atomic bool lost;       /* weights are damaged, and there was no memory to pack them again */
    uint64_t n_steps;
    struct slv_lora lora;        /* what adapters add; no runs: none has any in this step */
    const _Atomic bool *cancel;  /* or NULL */
    struct slv_profile *profile; /* or NULL */
};

/* --- arena ------------------------------------------------------------------------------------ */

/* Lays out the arena; with base NULL only its size is found. */
static bool carve(const struct slv_plan *p, uint32_t n_batch, uint32_t n_out, struct slv_runner *r,
                  unsigned char *base, size_t *ret_bytes) {
    size_t at = 0, n;
#define TAKE(field, type, rows, cols)                                                              \
    do {                                                                                           \
        if (!slv_size_mul((rows), (cols), &n) || !slv_size_mul(n, sizeof(type), &n) ||             \
            !slv_size_align(n, ALIGN, &n))                                                         \
            return false;                                                                          \
        if (r) (field) = base ? (type *)(void *)(base + at) : NULL;                                \
        if (!slv_size_add(at, n, &at)) return false;                                               \
    } while (0)
    struct slv_runner none;
    struct slv_runner *to = r ? r : &none;
    for (size_t i = 0; i < SLV_B_COUNT; i++)
        TAKE(to->buf[i], float, (size_t)(i == SLV_B_L ? n_out : n_batch), p->width[i]);
    for (size_t a = 0; a < SLV_A_COUNT; a++)
        for (size_t k = 0; k < SLV_ACT_KINDS; k++) {
            if (!(p->act_mask[a] >> k & 1)) continue;
            TAKE(to->act[a][k].q, int8_t, (size_t)n_batch, p->act_cols[a]);
            const size_t blocks = p->act_cols[a] / ((size_t)32 << k);
            TAKE(to->act[a][k].d, float, (size_t)n_batch, blocks);
            TAKE(to->act[a][k].m, float, (size_t)n_batch, blocks);
            TAKE(to->act[a][k].less, int32_t, (size_t)n_batch, blocks);
            TAKE(to->act[a][k].sum, int16_t, (size_t)n_batch, p->act_cols[a] / 16);
            if (k > 0) TAKE(to->act[a][k].sum32, int16_t, (size_t)n_batch, p->act_cols[a] / 32);
        }
    TAKE(to->part, float, (size_t)1, slv_attend_part_floats(p->h));
    TAKE(to->cs, float, (size_t)n_batch, p->h->n_rot);
    TAKE(to->cs_swa, float, (size_t)n_batch, p->h->n_rot);
    for (size_t i = 0; i < 3; i++)
        TAKE(to->freq[i], double, (size_t)1, p->h->n_rot / 2);
    TAKE(to->out_row, uint32_t, (size_t)1, n_out ? n_out : n_batch);
    TAKE(to->bad_logit, _Atomic bool, (size_t)1, n_out);
#undef TAKE
    *ret_bytes = at;
    return true;
}

size_t slv_runner_bytes(const struct slv_plan *p, uint32_t n_batch, uint32_t n_out) {
    size_t bytes;
    return carve(p, n_batch, n_out, NULL, NULL, &bytes) ? bytes : 0;
}

static void set_frequencies(struct slv_runner *r) {
    const struct slv_hparams *h = r->m.h;
    const struct slv_weights *w = r->m.w;
    const float *f = w->rope_factors;
    slv_rope_frequencies(&h->rope, h->n_rot, f ? f : w->rope_short, r->freq[0]);
    slv_rope_frequencies(&h->rope, h->n_rot, f ? f : w->rope_long, r->freq[1]);
    slv_rope_frequencies(&h->rope_swa, h->n_rot, f, r->freq[2]);
}

int slv_runner_open(const struct slv_runner_model *m, uint32_t n_batch, uint32_t n_out,
                    struct slv_team *team, struct slv_runner **ret) {
    size_t bytes = slv_runner_bytes(m->plan, n_batch, n_out);
    struct slv_runner *r = bytes ? slv_mem_calloc(1, sizeof *r) : NULL;
    if (!r) return SLV_E_NOMEM;
    *r = (struct slv_runner){
        .m = *m, .team = team, .n_batch = n_batch, .n_out = n_out, .bytes = bytes};
    r->arena = slv_mem_alloc_aligned(ALIGN, bytes);
    r->lane = slv_mem_alloc_aligned(ALIGN, slv_team_size(team) * sizeof *r->lane);
    if (!r->arena || !r->lane) {
        slv_runner_close(r);
        return SLV_E_NOMEM;
    }
    memset(r->arena, 0, bytes);
    carve(m->plan, n_batch, n_out, r, r->arena, &bytes);
    slv_lanes_measure(m->plan, &r->costs);
    while (m->plan->ops[r->n_layered].kind != SLV_OP_OUT_NORM)
        r->n_layered++;
    if (m->h->n_rot) set_frequencies(r);
    *ret = r;
    return 0;
}

void slv_runner_close(struct slv_runner *r) {
    if (!r) return;
    slv_team_close(r->few);
    slv_lora_fini(&r->lora);
    slv_mem_free(r->lane);
    slv_mem_free(r->arena);
    slv_mem_free(r);
}

/* A team of its own: one team with fewer members now and then would have to tell late-comers of a
 * stage by how many it was shared. Who is not called sleeps. */
int slv_runner_few(struct slv_runner *r, size_t n) {
    struct slv_team *few = NULL;
    int rc = n && n < slv_team_size(r->team) ? slv_team_open(n, &few) : 0;
    if (rc) return rc;
    slv_team_close(r->few);
    r->few = few;
    return 0;
}

int slv_runner_adapt(struct slv_runner *r, size_t width) {
    return slv_lora_reserve(&r->lora, r->n_batch, width);
}

size_t slv_runner_adapt_bytes(const struct slv_runner *r, size_t width) {
    if (width <= r->lora.ld) return 0;
    size_t all = slv_lora_bytes(r->n_batch, width);
    return all ? all - (r->lora.ld ? slv_lora_bytes(r->n_batch, r->lora.ld) : 0) : SIZE_MAX;
}

const float *slv_runner_logits(const struct slv_runner *r, uint32_t i) {
    return r->buf[SLV_B_L] + (size_t)i * r->m.plan->width[SLV_B_L];
}

const float *slv_runner_state(const struct slv_runner *r, uint32_t i) {
    return r->buf[SLV_B_N] + (size_t)i * r->m.plan->width[SLV_B_N];
}

bool slv_runner_finite(const struct slv_runner *r, uint32_t i) {
    return !atomic_load_explicit(&r->bad_logit[i], memory_order_relaxed);
}

uint64_t slv_runner_steps(const struct slv_runner *r) { return r->n_steps; }

/* --- operators -------------------------------------------------------------------------------- */

/* An operator says how many units of work it has in this step, and does some of them. A unit is a
 * token, a head of a token, a tile of rows, or a block of activations. */

/* Row i of a lane. */
static float *row(const struct slv_runner *r, const struct slv_lane *l, uint8_t buf, size_t i) {
    return r->buf[buf] + (l->first + i) * r->m.plan->width[buf];
}

/* Columns [c0, c1) of row i of a lane into the quantized copies. Bounds are multiples of the
 * largest block size wanted. A lane's panels are its own. */
static void quantize(const struct slv_runner *r, enum slv_act_id act, const struct slv_lane *l,
                     const float *x, size_t i, size_t c0, size_t c1) {
    const struct slv_plan *p = r->m.plan;
    struct slv_panel to = slv_panel_of(i, l->n, p->act_cols[act]);
    to.at += l->first * p->act_cols[act];
    for (size_t k = 0; k < SLV_ACT_KINDS; k++) {
        if (!(p->act_mask[act] >> k & 1)) continue;
        const size_t block = (size_t)32 << k;
        struct slv_codes column = slv_codes_at(&r->act[act][k], to.at + c0 * to.w, block, to.c);
        const uint8_t read = p->act_read[act][k];
        if (!(read & SLV_CODES_M)) column.m = NULL;
        if (!(read & SLV_CODES_LESS)) column.less = NULL;
        if (!(read & SLV_CODES_SUM)) column.sum = NULL;
        if (!(read & SLV_CODES_SUM32)) column.sum32 = NULL;
        r->m.kern->quantize(x + c0, c1 - c0, block, to.w, &column);
    }
}

/* The largest block size a row of this copy is cut by. */
static size_t act_unit(const struct slv_runner *r, enum slv_act_id act) {
    size_t unit = 32;
    for (size_t k = 0; k < SLV_ACT_KINDS; k++)
        if (r->m.plan->act_mask[act] >> k & 1) unit = (size_t)32 << k;
    return unit;
}

static size_t rows_of(const struct slv_runner *r, const struct slv_op *op,
                      const struct slv_lane *l) {
    (void)r, (void)op;
    return l->n;
}

/* x += a row of a table; for token i. */
static void add_row(struct slv_runner *r, const struct slv_lane *l, const struct slv_table *table,
                    size_t at, size_t i) {
    const size_t n = r->m.h->n_embd;
    float *x = row(r, l, SLV_B_X, i), *y = row(r, l, SLV_B_N, i);
    slv_weights_row(r->m.w, table, at, n, y);
    r->m.kern->add(x, y, n, x);
}

static void op_embed(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                     size_t from, size_t to) {
    (void)op;
    const struct slv_hparams *h = r->m.h;
    const struct slv_weights *w = r->m.w;
    for (size_t i = from; i < to; i++) {
        const struct slv_step_token *t = &r->tok[l->first + i];
        float *x = row(r, l, SLV_B_X, i);
        slv_weights_row(w, &w->embd, (size_t)t->id, h->n_embd, x);
        if (t->adapters) slv_lora_embed(t->adapters, r->m.kern, t->id, x);
        if (h->embd_scale != 1.0f)
            for (size_t j = 0; j < h->n_embd; j++)
                x[j] *= h->embd_scale;
        if (w->types.from) add_row(r, l, &w->types, t->type, i);
        if (w->pos_embd.from) add_row(r, l, &w->pos_embd, t->pos, i);
        if (h->n_rot) {
            bool is_long = w->rope_long && t->kv->n_ctx > h->rope.ctx_orig;
            const size_t at = (l->first + i) * h->n_rot;
            slv_rope_angles(r->freq[is_long], h->n_rot, h->rope.mscale, t->pos, r->cs + at);
            if (h->window)
                slv_rope_angles(r->freq[2], h->n_rot, h->rope_swa.mscale, t->pos, r->cs_swa + at);
        }
    }
}

static void apply_norm(const struct slv_runner *r, const float *x, const float *w, const float *b,
                       float *out) {
    const struct slv_hparams *h = r->m.h;
    if (h->family->norm == SLV_NORM_LAYER)
        r->m.kern->layer_norm(x, w, b, h->n_embd, h->norm_eps, out);
    else r->m.kern->rms_norm(x, w, h->n_embd, h->norm_eps, out);
}

/* x += pending; for one token. */
static void add_pending(const struct slv_runner *r, const struct slv_op *op,
                        const struct slv_lane *l, size_t i) {
    const struct slv_hparams *h = r->m.h;
    float *x = row(r, l, SLV_B_X, i);
    if (op->in != SLV_B_NONE) {
        float *t = row(r, l, op->in, i);
        if (op->post) apply_norm(r, t, op->post, NULL, t);
        r->m.kern->axpy(x, t, h->residual_scale, h->n_embd, x);
    }
    if (op->in2 != SLV_B_NONE)
        r->m.kern->axpy(x, row(r, l, op->in2, i), h->residual_scale, h->n_embd, x);
}

static void op_norm(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                    size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        float *x = row(r, l, SLV_B_X, i), *n = row(r, l, op->out, i);
        add_pending(r, op, l, i);
        if (op->w) apply_norm(r, x, op->w, op->b, n);
        else memcpy(n, x, r->m.h->n_embd * sizeof *n);
        quantize(r, SLV_A_N, l, n, i, 0, r->m.h->n_embd);
    }
}

/* The last norm, only of rows that become logits, gathered to the front. */
static void op_out_norm(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                        size_t from, size_t to) {
    for (size_t j = from; j < to; j++) {
        size_t i = r->out_row[j];
        float *n = row(r, l, SLV_B_N, j);
        add_pending(r, op, &r->all, i);
        apply_norm(r, row(r, &r->all, SLV_B_X, i), op->w, op->b, n);
        quantize(r, SLV_A_N, l, n, j, 0, r->m.h->n_embd);
    }
}

/* Tiles [t0, t1) of one matrix. */
static void product(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *rows,
                    size_t part, size_t t0, size_t t1) {
    const struct slv_linear *lin = op->part[part].lin;
    const struct slv_layout *l = lin->mat.layout;
    const struct slv_plan *p = r->m.plan;
    const size_t ldo = p->width[op->part[part].out], ldx = p->width[op->in];
    float *out = row(r, rows, op->part[part].out, 0);
    struct slv_acts x = {.f = r->buf[op->in] + rows->first * ldx, .ld = ldx};
    for (size_t k = 0; l->act && k < SLV_ACT_KINDS; k++)
        if (l->act == (size_t)32 << k) {
            x.ld = p->act_cols[op->act];
            x.codes = slv_codes_at(&r->act[op->act][k], rows->first * x.ld, l->act, 0);
        }
    if (!slv_weights_ready(r->m.w, lin, t0, t1))
        atomic_store_explicit(&r->lost, true, memory_order_relaxed);
    r->m.kern->matmul[l->form](&lin->mat, &x, rows->n, t0, t1, out, ldo);
    size_t r0 = t0 * SLV_TILE_ROWS, r1 = t1 * SLV_TILE_ROWS;
    if (r1 > lin->mat.rows) r1 = lin->mat.rows;
    for (size_t i = 0; i < rows->n; i++) {
        float *y = out + i * ldo;
        for (size_t j = r0; lin->scale != 1.0f && j < r1; j++)
            y[j] *= lin->scale;
        if (lin->bias) r->m.kern->add(y + r0, lin->bias + r0, r1 - r0, y + r0);
    }
}

static size_t tiles_of(const struct slv_op *op, size_t part) {
    return (op->part[part].lin->mat.rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS;
}

/* All parts' tiles are one line of work. */
static size_t all_tiles(const struct slv_runner *r, const struct slv_op *op,
                        const struct slv_lane *l) {
    (void)r, (void)l;
    size_t all = 0;
    for (size_t i = 0; i < op->n_parts; i++)
        all += tiles_of(op, i);
    return all;
}

static void op_matmul(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                      size_t from, size_t to) {
    size_t first = 0;
    for (size_t i = 0; i < op->n_parts; i++) {
        size_t n = tiles_of(op, i);
        size_t t0 = from > first ? from - first : 0, t1 = to > first ? to - first : 0;
        if (t1 > n) t1 = n;
        if (t0 < t1) product(r, op, l, i, t0, t1);
        first += n;
    }
}

/* Of a matrix for the rows that become logits. */
static size_t logits_tiles(const struct slv_runner *r, const struct slv_op *op,
                           const struct slv_lane *l) {
    return l->n && r->n_out ? tiles_of(op, 0) : 0;
}

static void op_head(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                    size_t t0, size_t t1) {
    product(r, op, l, 0, t0, t1);
}

static size_t head_rows(const struct slv_runner *r, const struct slv_op *op,
                        const struct slv_lane *l) {
    (void)op;
    return r->n_out ? l->n : 0;
}

static void op_head_act(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                        size_t from, size_t to) {
    const size_t cols = r->m.h->n_embd;
    for (size_t i = from; i < to; i++) {
        float *out = row(r, l, op->out, i);
        r->m.kern->softcap(row(r, l, op->in, i), 1.0f, cols, out); /* tanh */
        quantize(r, SLV_A_N, l, out, i, 0, cols);
    }
}

/* What adapters add to an operator. */
static struct slv_lora_work lora_work(const struct slv_runner *r, const struct slv_op *op) {
    return (struct slv_lora_work){.runs =
                                      op->kind == SLV_OP_MATMUL ? &r->lora.tokens : &r->lora.logits,
                                  .kern = r->m.kern,
                                  .op = (size_t)(op - r->m.plan->ops),
                                  .u = r->lora.u,
                                  .ldu = r->lora.ld};
}

/* Scales, caps and looks at the logits that the operator's tiles [t0, t1) made. */
static void finish_logits(struct slv_runner *r, const struct slv_op *op, size_t t0, size_t t1) {
    const struct slv_hparams *h = r->m.h;
    size_t ld = r->m.plan->width[SLV_B_L];
    const size_t rows = op->part[0].lin->mat.rows;
    size_t r0 = t0 * SLV_TILE_ROWS, n = t1 * SLV_TILE_ROWS;
    n = (n > rows ? rows : n) - r0;
    for (size_t i = 0; i < r->outs.n; i++) {
        float *l = r->buf[SLV_B_L] + i * ld + r0;
        for (size_t j = 0; h->logit_scale != 1.0f && j < n; j++)
            l[j] *= h->logit_scale;
        if (h->logit_cap > 0.0f) r->m.kern->softcap(l, h->logit_cap, n, l);
        if (r->m.kern->top(l, n) >= 0x7f800000u)
            atomic_store_explicit(&r->bad_logit[i], true, memory_order_relaxed);
    }
}

static void op_logits(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                      size_t t0, size_t t1) {
    product(r, op, l, 0, t0, t1);
    const struct slv_lora_work w = lora_work(r, op);
    if (!slv_lora_units(&w)) finish_logits(r, op, t0, t1);
}

/* Norms and turns one head of q or k: x[head_k]. `i`: of the step. */
static void turn_head(const struct slv_runner *r, const struct slv_op *op, const float *w,
                      size_t head, size_t i, float *x) {
    const struct slv_hparams *h = r->m.h;
    if (w && h->family->qk_norm == SLV_QKN_HEAD)
        r->m.kern->rms_norm(x, w, h->head_k, h->norm_eps, x);
    if (w && h->family->qk_norm == SLV_QKN_HEADS)
        r->m.kern->layer_norm(x, w + head * h->head_k, NULL, h->head_k, h->norm_eps, x);
    if (!h->n_rot || h->rope_off[op->layer]) return;
    const float *cs = h->window && h->windowed[op->layer] ? r->cs_swa : r->cs;
    slv_rope_apply((enum slv_rope_kind)h->rope_kind, h->n_rot, cs + i * h->n_rot, x);
}

/* Ministral 3: attention is sharpened for each time the first training context is exceeded. */
static float temperature(const struct slv_hparams *h, uint32_t pos) {
    uint32_t times = pos / h->rope.ctx_orig;
    if (h->temperature == 0.0f || !times) return 1.0f;
    return (float)(1.0 + (double)h->temperature * slv_log64(1.0 + (double)times));
}

static void query_head(struct slv_runner *r, const struct slv_op *op, size_t i, size_t head) {
    const struct slv_hparams *h = r->m.h;
    float *q = row(r, &r->all, SLV_B_Q, i) + head * h->head_k, t = temperature(h, r->tok[i].pos);
    turn_head(r, op, r->m.w->layers[op->layer].q_norm, head, i, q);
    for (size_t j = 0; t != 1.0f && j < h->head_k; j++)
        q[j] *= t;
}

/* Heads [from, to) of token i of the step: [0, n_head) are queries, the rest keys with their
 * values. */
static void qk_heads(struct slv_runner *r, const struct slv_op *op, size_t i, size_t from,
                     size_t to) {
    const struct slv_hparams *h = r->m.h;
    const struct slv_layer *l = &r->m.w->layers[op->layer];
    for (size_t j = from; j < to; j++) {
        if (j < h->n_head) {
            query_head(r, op, i, j);
            continue;
        }
        size_t head = j - h->n_head;
        float *k = row(r, &r->all, SLV_B_K, i) + head * h->head_k;
        turn_head(r, op, l->k_norm, head, i, k);
        slv_kv_store(r->tok[i].kv, r->m.kern, op->layer, (uint32_t)head, r->tok[i].pos, k,
                     h->head_k, row(r, &r->all, SLV_B_V, i) + head * h->head_v, h->head_v);
    }
}

/* A norm over all heads keeps a token in one piece. */
static size_t tokens_or_heads(const struct slv_runner *r, const struct slv_op *op,
                              const struct slv_lane *l) {
    (void)op;
    const struct slv_hparams *h = r->m.h;
    if (h->family->qk_norm == SLV_QKN_ROW) return l->n;
    return l->n * ((size_t)h->n_head + h->n_head_kv);
}

static void op_qk(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *lane,
                  size_t from, size_t to) {
    const struct slv_hparams *h = r->m.h;
    const struct slv_layer *l = &r->m.w->layers[op->layer];
    size_t heads = (size_t)h->n_head + h->n_head_kv;
    if (h->family->qk_norm == SLV_QKN_ROW) {
        for (size_t i = from; i < to; i++) {
            float *q = row(r, lane, SLV_B_Q, i), *k = row(r, lane, SLV_B_K, i);
            r->m.kern->rms_norm(q, l->q_norm, (size_t)h->n_head * h->head_k, h->norm_eps, q);
            r->m.kern->rms_norm(k, l->k_norm, (size_t)h->n_head_kv * h->head_k, h->norm_eps, k);
            qk_heads(r, op, lane->first + i, 0, heads);
        }
        return;
    }
    while (from < to) {
        size_t i = from / heads, j = from % heads, left = to - from;
        size_t end = left < heads - j ? j + left : heads;
        qk_heads(r, op, lane->first + i, j, end);
        from += end - j;
    }
}

/* Nothing waits to be joined in a lane: it is one member's. */
static struct slv_attend attention(const struct slv_runner *r, const struct slv_lane *l,
                                   uint32_t layer) {
    const struct slv_plan *p = r->m.plan;
    return (struct slv_attend){.h = r->m.h,
                               .kern = r->m.kern,
                               .tok = r->tok + l->first,
                               .n = l->n,
                               .q = row(r, l, SLV_B_Q, 0),
                               .ldq = p->width[SLV_B_Q],
                               .out = row(r, l, SLV_B_A, 0),
                               .ldo = p->width[SLV_B_A],
                               .part = r->n_lanes == 1 ? r->part : NULL,
                               .layer = layer};
}

static size_t attn_units(const struct slv_runner *r, const struct slv_op *op,
                         const struct slv_lane *l) {
    const struct slv_attend a = attention(r, l, op->layer);
    return slv_attend_units(&a);
}

static void op_attn(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                    size_t from, size_t to) {
    const struct slv_attend a = attention(r, l, op->layer);
    slv_attend_run(&a, from, to);
}

/* Activation blocks of the largest size wanted; a row that is only wanted as floats is one. */
static size_t block_cols(const struct slv_runner *r, const struct slv_op *op) {
    size_t cols = r->m.plan->act_cols[op->act], unit = act_unit(r, (enum slv_act_id)op->act);
    return cols % unit ? cols : unit;
}

static size_t act_blocks(const struct slv_runner *r, const struct slv_op *op,
                         const struct slv_lane *l) {
    return l->n * (r->m.plan->act_cols[op->act] / block_cols(r, op));
}

/* Nothing to do where nothing waits to be joined and the product wants floats. */
static size_t attn_out_units(const struct slv_runner *r, const struct slv_op *op,
                             const struct slv_lane *l) {
    const struct slv_attend attn = attention(r, l, op->layer);
    const bool needed = r->m.plan->act_mask[op->act] || slv_attend_waits(&attn);
    return needed ? act_blocks(r, op, l) : 0;
}

/* Attention's output, joined and quantized. */
static void op_attn_out(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                        size_t from, size_t to) {
    const struct slv_attend attn = attention(r, l, op->layer);
    size_t unit = block_cols(r, op), a_row = r->m.plan->act_cols[op->act] / unit;
    while (from < to) {
        size_t i = from / a_row, b = from % a_row,
               n = to - from < a_row - b ? to - from : a_row - b;
        slv_attend_finish(&attn, i, b * unit, (b + n) * unit);
        quantize(r, (enum slv_act_id)op->act, l, row(r, l, op->in, i), i, b * unit, (b + n) * unit);
        from += n;
    }
}

/* out = act(g), times u where there is one. */
static void activate(const struct slv_runner *r, const float *g, const float *u, size_t n,
                     float *out) {
    const struct slv_kernels *k = r->m.kern;
    switch ((enum slv_act_kind)r->m.h->act) {
    case SLV_ACT_SILU:
        if (u) k->silu_mul(g, u, n, out);
        else k->silu(g, n, out);
        break;
    case SLV_ACT_GELU:
        if (u) k->gelu_mul(g, u, n, out);
        else k->gelu(g, n, out);
        break;
    case SLV_ACT_GELU_ERF:
        k->gelu_erf(g, n, out);
        if (u) k->mul(out, u, n, out);
        break;
    }
}

static void op_act(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                   size_t from, size_t to) {
    size_t unit = block_cols(r, op), a_row = r->m.plan->act_cols[op->act] / unit;
    while (from < to) {
        size_t i = from / a_row, b = from % a_row,
               n = to - from < a_row - b ? to - from : a_row - b;
        size_t c = b * unit, cols = n * unit;
        const float *u = op->in2 != SLV_B_NONE ? row(r, l, op->in2, i) + c : NULL;
        float *out = row(r, l, op->out, i);
        activate(r, row(r, l, op->in, i) + c, u, cols, out + c);
        quantize(r, (enum slv_act_id)op->act, l, out, i, c, c + cols);
        from += n;
    }
}

/* --- running ---------------------------------------------------------------------------------- */

static const struct {
    size_t (*units)(const struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l);
    void (*run)(struct slv_runner *r, const struct slv_op *op, const struct slv_lane *l,
                size_t from, size_t to);
} op_table[SLV_OP_KINDS] = {
    [SLV_OP_EMBED] = {rows_of, op_embed},         [SLV_OP_NORM] = {rows_of, op_norm},
    [SLV_OP_MATMUL] = {all_tiles, op_matmul},     [SLV_OP_QK] = {tokens_or_heads, op_qk},
    [SLV_OP_ATTN] = {attn_units, op_attn},        [SLV_OP_ATTN_OUT] = {attn_out_units, op_attn_out},
    [SLV_OP_ACT] = {act_blocks, op_act},          [SLV_OP_OUT_NORM] = {rows_of, op_out_norm},
    [SLV_OP_LOGITS] = {logits_tiles, op_logits},  [SLV_OP_HEAD] = {logits_tiles, op_head},
    [SLV_OP_HEAD_ACT] = {head_rows, op_head_act},
};

static bool cancelled(const struct slv_runner *r) {
    return r->cancel && atomic_load_explicit(r->cancel, memory_order_relaxed);
}

static size_t units_of(const struct slv_runner *r, size_t i, const struct slv_lane *l) {
    const struct slv_op *op = &r->m.plan->ops[i];
    return cancelled(r) ? 0 : op_table[op->kind].units(r, op, l);
}

/* Units [from, to) of operator i for a lane. */
static void run_units(struct slv_runner *r, size_t i, const struct slv_lane *l, size_t from,
                      size_t to) {
    const struct slv_op *op = &r->m.plan->ops[i];
    if (cancelled(r)) return;
    uint64_t begin = r->profile ? slv_clock_mono(&slv_clock_system) : 0;
    uint64_t fp = slv_fpenv_enter();
    op_table[op->kind].run(r, op, l, from, to);
    slv_fpenv_leave(fp);
    if (r->profile) slv_profile_piece(r->profile, i, begin);
}

/* --- all members share each operator: a stage is one */

static const struct slv_lane *whole(const struct slv_runner *r, size_t i) {
    return i < r->n_layered ? &r->all : &r->outs;
}

static size_t op_units(void *arg, size_t i) {
    const struct slv_runner *r = arg;
    return units_of(r, i, whole(r, i));
}

static void op_run(void *arg, size_t i, size_t from, size_t to) {
    struct slv_runner *r = arg;
    run_units(r, i, whole(r, i), from, to);
}

/* --- each member takes a lane through all layers: the first stage; then as above */

static size_t lane_units(void *arg, size_t stage) {
    const struct slv_runner *r = arg;
    return stage ? op_units(arg, r->n_layered + stage - 1) : r->n_lanes;
}

/* All layers, cancelled or not: others wait for what it stores. */
static void run_lane(struct slv_runner *r, struct lane *l) {
    for (size_t i = 0; i < r->n_layered; i++) {
        const struct slv_op *op = &r->m.plan->ops[i];
        if (op->kind == SLV_OP_ATTN) {
            if (l->of.follows) slv_gate_await(&l[-1].stored, op->layer + 1u);
            slv_gate_raise(&l->stored);
        }
        const size_t n = units_of(r, i, &l->of);
        if (n) run_units(r, i, &l->of, 0, n);
    }
}

static void lane_run(void *arg, size_t stage, size_t from, size_t to) {
    struct slv_runner *r = arg;
    if (stage) op_run(arg, r->n_layered + stage - 1, from, to);
    for (size_t i = from; !stage && i < to; i++)
        run_lane(r, &r->lane[i]);
}

/* --- with adapters */

/* With adapters every operator has two stages. In the first, beside the operator's own units and
 * before them, are those of u = A x; in the second what comes of it is added. */
static size_t adapted_units(void *arg, size_t stage) {
    const struct slv_runner *r = arg;
    const struct slv_op *op = &r->m.plan->ops[stage / 2];
    const struct slv_lora_work w = lora_work(r, op);
    size_t own = stage % 2 && !op->n_parts ? 0 : op_units(arg, stage / 2);
    size_t more = own && op->n_parts ? slv_lora_units(&w) : 0;
    return stage % 2 ? (more ? own : 0) : own + more;
}

/* Adds to the tiles [from, to) of an operator's parts. */
static void add_adapters(struct slv_runner *r, const struct slv_op *op, size_t from, size_t to) {
    const struct slv_lora_work w = lora_work(r, op);
    size_t first = 0;
    for (size_t i = 0; i < op->n_parts; i++) {
        const uint8_t out = op->part[i].out;
        size_t n = tiles_of(op, i);
        size_t t0 = from > first ? from - first : 0, t1 = to > first ? to - first : 0;
        if (t1 > n) t1 = n;
        if (t0 < t1) slv_lora_add(&w, i, t0, t1, r->buf[out], r->m.plan->width[out]);
        first += n;
    }
    if (op->kind == SLV_OP_LOGITS) finish_logits(r, op, from, to);
}

static void adapted_run(void *arg, size_t stage, size_t from, size_t to) {
    struct slv_runner *r = arg;
    const size_t i = stage / 2;
    const struct slv_op *op = &r->m.plan->ops[i];
    const struct slv_lora_work w = lora_work(r, op);
    const size_t more = stage % 2 || !op->n_parts ? 0 : slv_lora_units(&w);
    if (cancelled(r)) return;
    uint64_t begin = r->profile ? slv_clock_mono(&slv_clock_system) : 0;
    uint64_t fp = slv_fpenv_enter();
    if (stage % 2) add_adapters(r, op, from, to);
    else if (from < more)
        slv_lora_run(&w, r->buf[op->in], r->m.plan->width[op->in], from, to < more ? to : more);
    slv_fpenv_leave(fp);
    if (r->profile && (stage % 2 || from < more)) slv_profile_piece(r->profile, i, begin);
    if (stage % 2 == 0 && to > more) op_run(arg, i, from > more ? from - more : 0, to - more);
}

void slv_runner_watch(struct slv_runner *r, const _Atomic bool *flag) { r->cancel = flag; }

void slv_runner_profile(struct slv_runner *r, struct slv_profile *p) { r->profile = p; }

/* Takes the tokens of a step: which rows become logits, which have adapters. */
static int begin_step(struct slv_runner *r, const struct slv_step_token *tokens, uint32_t n) {
    bool adapted = false;
    if (n < 1 || n > r->n_batch) return SLV_E_INTERNAL;
    r->tok = tokens;
    r->all = (struct slv_lane){.n = n};
    r->outs = (struct slv_lane){0};
    for (uint32_t i = 0; i < n; i++) {
        adapted = adapted || tokens[i].adapters;
        if (!tokens[i].logits) continue;
        if (r->n_out && r->outs.n == r->n_out) return SLV_E_INTERNAL;
        r->out_row[r->outs.n++] = i;
    }
    r->lora.tokens.n = r->lora.logits.n = 0;
    bool fits = !adapted || slv_lora_begin(&r->lora, tokens, n, r->out_row, (uint32_t)r->outs.n);
    return fits ? 0 : SLV_E_INTERNAL;
}

/* How a team does the step. */
static struct slv_job job_of(struct slv_runner *r, struct slv_team *team) {
    struct slv_lane lane[SLV_TEAM_MAX];
    const size_t n_ops = r->m.plan->n_ops;
    r->n_lanes = 1;
    if (r->lora.tokens.n) return (struct slv_job){2 * n_ops, adapted_units, adapted_run, r};
    r->n_lanes = slv_lanes_cut(r->m.h, &r->costs, r->tok, r->all.n, slv_team_size(team), lane);
    if (r->n_lanes == 1) return (struct slv_job){n_ops, op_units, op_run, r};
    for (size_t i = 0; i < r->n_lanes; i++)
        r->lane[i] = (struct lane){.of = lane[i]};
    return (struct slv_job){n_ops - r->n_layered + 1, lane_units, lane_run, r};
}

int slv_step(struct slv_runner *r, const struct slv_step_token *tokens, uint32_t n) {
    int rc = begin_step(r, tokens, n);
    if (rc) return rc;
    for (uint32_t i = 0; i < r->outs.n && r->n_out; i++)
        atomic_store_explicit(&r->bad_logit[i], false, memory_order_relaxed);
    r->n_steps++;
    atomic_store_explicit(&r->lost, false, memory_order_relaxed);
    struct slv_team *team = r->few && n <= SLV_STEP_FEW ? r->few : r->team;
    const struct slv_job job = job_of(r, team);
    if (r->profile) slv_profile_begin_step(r->profile);
    slv_team_run(team, &job);
    if (r->profile)
        slv_profile_end_step(r->profile, tokens, n, (uint32_t)r->outs.n,
                             r->n_lanes > 1 ? r->n_layered : 0, slv_team_size(team));
    if (cancelled(r)) return SLV_E_CANCELLED;
    if (atomic_load_explicit(&r->lost, memory_order_relaxed)) return SLV_E_NOMEM;
    for (uint32_t i = 0; i < r->outs.n && r->n_out; i++)
        if (!slv_runner_finite(r, i)) return SLV_E_NUMERIC;
    return 0;
}
