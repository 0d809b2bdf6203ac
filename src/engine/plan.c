/* plan.c: see plan.h. */
#include "engine/plan.h"
#include "base/mem.h"

#define OPS_A_LAYER 10

uint8_t slv_act_bit(size_t block) {
    for (uint8_t i = 0; i < SLV_ACT_KINDS; i++)
        if (block == (size_t)32 << i) return (uint8_t)(1u << i);
    return 0;
}

static const char *product_name(const struct slv_op *op) {
    if (op->act == SLV_A_A) return "attention output";
    if (op->act == SLV_A_F) return "ffn down";
    if (op->kind == SLV_OP_HEAD) return "head";
    switch (op->part[0].out) {
    case SLV_B_G:
        return op->n_parts > 1 ? "ffn gate+up" : "ffn gate";
    case SLV_B_U:
        return "ffn up";
    case SLV_B_L:
        return "logits";
    default:
        return op->n_parts > 1 ? "q,k,v" : "q";
    }
}

const char *slv_op_name(const struct slv_op *op) {
    static const char *const names[SLV_OP_KINDS] = {
        [SLV_OP_EMBED] = "embedding",         [SLV_OP_NORM] = "norm",
        [SLV_OP_QK] = "rope, cache",          [SLV_OP_ATTN] = "attention",
        [SLV_OP_ATTN_OUT] = "attention join", [SLV_OP_ACT] = "ffn activation",
        [SLV_OP_OUT_NORM] = "output norm",    [SLV_OP_HEAD_ACT] = "head activation",
    };
    const char *name = names[op->kind];
    return name ? name : product_name(op);
}

static struct slv_op *add(struct slv_plan *p, enum slv_op_kind kind, size_t layer) {
    struct slv_op *op = &p->ops[p->n_ops++];
    *op = (struct slv_op){.kind = (uint8_t)kind,
                          .layer = (uint16_t)layer,
                          .in = SLV_B_NONE,
                          .in2 = SLV_B_NONE,
                          .out = SLV_B_NONE,
                          .act = SLV_A_COUNT};
    return op;
}

static void part(struct slv_plan *p, struct slv_op *op, const struct slv_linear *lin, uint8_t out) {
    if (!lin->mat.layout) return;
    op->part[op->n_parts].lin = lin;
    op->part[op->n_parts++].out = out;
    const struct slv_layout *l = lin->mat.layout;
    p->act_mask[op->act] |= slv_act_bit(l->act);
    for (size_t k = 0; k < SLV_ACT_KINDS; k++)
        if (l->act == (size_t)32 << k) p->act_read[op->act][k] |= slv_codes_read(l);
}

static struct slv_op *matmul(struct slv_plan *p, size_t layer, enum slv_buf_id in,
                             enum slv_act_id act) {
    struct slv_op *op = add(p, SLV_OP_MATMUL, layer);
    op->in = (uint8_t)in;
    op->act = (uint8_t)act;
    return op;
}

/* What norms give and products read. */
static enum slv_buf_id normed(const struct slv_plan *p) {
    return p->h->family->post_ln ? SLV_B_X : SLV_B_N;
}

/* x += what is pending (after its own norm), then n = norm(x), or x = norm(x). */
static void norm(struct slv_plan *p, size_t layer, uint8_t pending, uint8_t pending2,
                 const float *post, const float *w, const float *b) {
    struct slv_op *op = add(p, SLV_OP_NORM, layer);
    op->in = pending;
    op->in2 = pending2;
    op->post = post;
    op->w = w;
    op->b = b;
    op->out = (uint8_t)normed(p);
    op->act = SLV_A_N;
}

static void add_layer(struct slv_plan *p, const struct slv_weights *w, size_t i, bool pre_norm) {
    const struct slv_layer *l = &w->layers[i], *prev = i ? l - 1 : NULL;
    bool parallel = pre_norm && !l->ffn_norm;
    bool prev_parallel = prev && pre_norm && !prev->ffn_norm;
    norm(p, i, prev ? SLV_B_T : SLV_B_NONE, prev_parallel ? SLV_B_T2 : SLV_B_NONE,
         prev ? prev->ffn_post : NULL, l->attn_norm, l->attn_norm_b);
    struct slv_op *op = matmul(p, i, normed(p), SLV_A_N);
    part(p, op, &l->q, SLV_B_Q);
    part(p, op, &l->k, SLV_B_K);
    part(p, op, &l->v, SLV_B_V);
    add(p, SLV_OP_QK, i);
    op = add(p, SLV_OP_ATTN, i);
    op->out = SLV_B_A;
    /* A block of activations spans heads of several threads. */
    op = add(p, SLV_OP_ATTN_OUT, i);
    op->in = SLV_B_A;
    op->act = SLV_A_A;
    op = matmul(p, i, SLV_B_A, SLV_A_A);
    part(p, op, &l->o, SLV_B_T);
    if (!parallel) norm(p, i, SLV_B_T, SLV_B_NONE, l->attn_post, l->ffn_norm, l->ffn_norm_b);
    op = matmul(p, i, normed(p), SLV_A_N);
    part(p, op, &l->gate, SLV_B_G);
    part(p, op, &l->up, SLV_B_U);
    op = add(p, SLV_OP_ACT, i);
    op->in = l->gate.mat.layout ? SLV_B_G : SLV_B_U;
    op->in2 = l->gate.mat.layout ? SLV_B_U : SLV_B_NONE;
    op->out = SLV_B_G;
    op->act = SLV_A_F;
    op = matmul(p, i, SLV_B_G, SLV_A_F);
    part(p, op, &l->down, parallel ? SLV_B_T2 : SLV_B_T);
}

/* From the last layer's output to logits, or to scores. */
static void add_output(struct slv_plan *p, const struct slv_weights *w, size_t last) {
    if (!w->out.mat.layout) return;
    if (w->head.mat.layout) {
        struct slv_op *head = matmul(p, last, SLV_B_N, SLV_A_N);
        head->kind = SLV_OP_HEAD;
        part(p, head, &w->head, SLV_B_T);
        head = add(p, SLV_OP_HEAD_ACT, last);
        head->in = SLV_B_T;
        head->out = SLV_B_N;
        head->act = SLV_A_N;
    }
    struct slv_op *op = matmul(p, last, SLV_B_N, SLV_A_N);
    op->kind = SLV_OP_LOGITS;
    part(p, op, &w->out, SLV_B_L);
}

static void set_widths(struct slv_plan *p, const struct slv_hparams *h,
                       const struct slv_weights *weights) {
    size_t w[SLV_B_COUNT] = {
        [SLV_B_X] = h->n_embd,
        [SLV_B_N] = h->n_embd,
        [SLV_B_Q] = (size_t)h->n_head * h->head_k,
        [SLV_B_K] = (size_t)h->n_head_kv * h->head_k,
        [SLV_B_V] = (size_t)h->n_head_kv * h->head_v,
        [SLV_B_A] = (size_t)h->n_head * h->head_v,
        [SLV_B_G] = h->n_ff,
        [SLV_B_U] = h->n_ff,
        [SLV_B_T] = h->n_embd,
        [SLV_B_T2] = h->n_embd,
        [SLV_B_L] = weights->out.mat.rows,
    };
    for (size_t i = 0; i < SLV_B_COUNT; i++)
        p->width[i] = (w[i] + 15) / 16 * 16;
    p->act_cols[SLV_A_N] = h->n_embd;
    p->act_cols[SLV_A_A] = (size_t)h->n_head * h->head_v;
    p->act_cols[SLV_A_F] = h->n_ff;
}

int slv_plan_init(struct slv_plan *p, const struct slv_hparams *h, const struct slv_weights *w) {
    *p = (struct slv_plan){.h = h};
    p->ops = slv_mem_calloc((size_t)h->n_layer * OPS_A_LAYER + 5, sizeof *p->ops);
    if (!p->ops) return SLV_E_NOMEM;
    set_widths(p, h, w);
    add(p, SLV_OP_EMBED, 0);
    for (size_t i = 0; i < h->n_layer; i++)
        add_layer(p, w, i, h->family->pre_norm);
    const struct slv_layer *last = &w->layers[h->n_layer - 1];
    norm(p, h->n_layer - 1, SLV_B_T, h->family->pre_norm && !last->ffn_norm ? SLV_B_T2 : SLV_B_NONE,
         last->ffn_post, w->out_norm, w->out_norm_b);
    p->ops[p->n_ops - 1].kind = SLV_OP_OUT_NORM;
    add_output(p, w, h->n_layer - 1);
    return 0;
}

void slv_plan_fini(struct slv_plan *p) {
    if (!p) return;
    slv_mem_free(p->ops);
    p->ops = NULL;
}
