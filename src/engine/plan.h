/* plan.h: a model as a flat list of fused operators over a planned arena.
 *
 * The list is made once from the family's row, the numbers and the tensors that are there. Every
 * operator works on all tokens of a step, or on those of a lane (lanes.h).
 *
 * One layer, sequential:              and parallel (no norm before the feed-forward part):
 *
 *     NORM    x (+ pending) -> n         NORM    x (+ pending) -> n
 *     MATMUL  n -> q, k, v               MATMUL  n -> q, k, v
 *     QK      norms, RoPE, cache         QK
 *     ATTN    q, cache -> a              ATTN    q, cache -> a
 *     ATTN_OUT a                         ATTN_OUT a
 *     MATMUL  a -> t                     MATMUL  a -> t
 *     NORM    x + t -> x, n              MATMUL  n -> gate, up
 *     MATMUL  n -> gate, up              ACT     gate, up -> f
 *     ACT     gate, up -> f              MATMUL  f -> u
 *     MATMUL  f -> t                     (t and u are pending)
 *
 * Where norms come after (post_ln), NORM gives x and not n, MATMULs read x, and the first NORM is
 * that of the embeddings. An encoder has no LOGITS: what it makes is what OUT_NORM gives (step.h).
 *
 * What a MATMUL reads is quantized by the operator that made it, once for each activation block
 * size its matrices want.
 */
#ifndef SLV_ENGINE_PLAN_H
#define SLV_ENGINE_PLAN_H

#include "engine/weights.h"

/* Float buffers, one row a token. */
enum slv_buf_id {
    SLV_B_X,  /* residual stream [n_embd] */
    SLV_B_N,  /* normed [n_embd] */
    SLV_B_Q,  /* [n_head][head_k] */
    SLV_B_K,  /* [n_head_kv][head_k] */
    SLV_B_V,  /* [n_head_kv][head_v] */
    SLV_B_A,  /* attention's output [n_head][head_v] */
    SLV_B_G,  /* gate, then activated [n_ff] */
    SLV_B_U,  /* up [n_ff] */
    SLV_B_T,  /* pending for the residual [n_embd] */
    SLV_B_T2, /* the second pending one of a parallel layer [n_embd] */
    SLV_B_L,  /* logits [n_vocab], or scores */
    SLV_B_COUNT,
    SLV_B_NONE = SLV_B_COUNT
};

/* Quantized copies of a buffer; which block sizes exist is in struct slv_plan. */
enum slv_act_id { SLV_A_N, SLV_A_A, SLV_A_F, SLV_A_COUNT };

/* Activation block sizes, as bits of a mask: 32, 64, 128, 256; floats need no copy. */
#define SLV_ACT_KINDS 4

enum slv_op_kind {
    SLV_OP_EMBED,
    SLV_OP_NORM,
    SLV_OP_MATMUL,
    SLV_OP_QK,
    SLV_OP_ATTN,
    SLV_OP_ATTN_OUT,
    SLV_OP_ACT,
    SLV_OP_OUT_NORM,
    SLV_OP_HEAD,     /* of models that score texts: one matrix more, */
    SLV_OP_HEAD_ACT, /* and tanh, before the scores, which are their logits */
    SLV_OP_LOGITS,
    SLV_OP_KINDS
};

struct slv_op {
    uint8_t kind;
    uint8_t in, out; /* buffers; NORM: pending ones in `in`, `in2` */
    uint8_t in2;
    uint8_t act; /* MATMUL: reads this; others: write it */
    uint8_t n_parts;
    uint16_t layer;
    const float *w, *b; /* norm */
    const float *post;  /* norm of the pending buffer before it is added */
    struct {
        const struct slv_linear *lin;
        uint8_t out;
    } part[3]; /* MATMUL: matrices with one input */
};

struct slv_plan {
    const struct slv_hparams *h;
    struct slv_op *ops; /* [n_ops] */
    size_t n_ops;
    size_t width[SLV_B_COUNT];                    /* floats a row, padded to 16; 0: unused */
    size_t act_cols[SLV_A_COUNT];                 /* elements a row */
    uint8_t act_mask[SLV_A_COUNT];                /* bit i: block size 32 << i is wanted */
    uint8_t act_read[SLV_A_COUNT][SLV_ACT_KINDS]; /* slv_codes_read of what reads it */
};

/* The operators borrow from w. SLV_E_NOMEM. */
int slv_plan_init(struct slv_plan *p, const struct slv_hparams *h, const struct slv_weights *w);
void slv_plan_fini(struct slv_plan *p);

/* What a person calls the operator: "q,k,v", "attention", "ffn down". Never NULL. */
const char *slv_op_name(const struct slv_op *op);

/* The bit of an activation block size (32, 64, 128, 256), 0 for floats. */
uint8_t slv_act_bit(size_t block);

#endif
