/* hparams.h: a model's numbers, read from its metadata and checked against each other. */
#ifndef SLV_ENGINE_HPARAMS_H
#define SLV_ENGINE_HPARAMS_H

#include "engine/family.h"

#define SLV_MAX_LAYERS 512u
#define SLV_MAX_EMBD 65536u
#define SLV_MAX_HEADS 1024u
#define SLV_MAX_HEAD_DIM 512u
#define SLV_MAX_FF 1048576u
#define SLV_MAX_VOCAB 4194304u
#define SLV_MAX_CTX 16777216u
#define SLV_MAX_LABELS 65536u
#define SLV_MIN_ROPE_FACTOR 1e-3f /* the least that angles are divided by */

/* How one kind of layer turns positions into angles. */
struct slv_rope_conf {
    float base;       /* 10000 */
    float freq_scale; /* 1 / factor of linear or YaRN scaling */
    bool yarn;
    float beta_fast, beta_slow;
    float mscale;      /* cos and sin are multiplied by it */
    uint32_t ctx_orig; /* context the model was first trained with */
    float low, high;   /* Llama 3.1's scaling: turns in that context; 0: another kind */
};

/* What one vector is made of for a text (GGUF's pooling_type). */
enum slv_pooling_type {
    SLV_POOLING_NONE, /* the file does not say */
    SLV_POOLING_MEAN,
    SLV_POOLING_CLS,
    SLV_POOLING_LAST,
    SLV_POOLING_RANK, /* scores, of the first token */
    SLV_POOLING_END
};

struct slv_hparams {
    const struct slv_family *family;
    uint8_t act;       /* enum slv_act_kind */
    uint8_t rope_kind; /* enum slv_rope_kind */
    uint8_t pooling;   /* enum slv_pooling_type */
    bool sees_all;     /* a token sees those after it too */
    uint32_t n_layer, n_embd, n_head, n_head_kv, head_k, head_v, n_ff, n_vocab, n_ctx, n_rot;
    float norm_eps;
    float embd_scale;          /* 1: none */
    float residual_scale;      /* 1: none */
    float logit_scale;         /* logits are multiplied by it; 1: none */
    float attn_scale;          /* q.k is multiplied by it */
    float attn_cap, logit_cap; /* 0: none */
    float temperature;         /* queries grow by it times log(1 + pos / ctx_orig); 0: none */
    uint32_t window;           /* positions a windowed layer sees; 0: no windowed layers */
    bool windowed[SLV_MAX_LAYERS];
    bool rope_off[SLV_MAX_LAYERS];
    struct slv_rope_conf rope, rope_swa;
};

/* SLV_E_UNSUPPORTED: an architecture, or a feature of it, that is not known. SLV_E_FORMAT: a key is
 * missing or its value contradicts another; the message names it. */
int slv_hparams_read(const struct slv_gguf *g, struct slv_hparams *ret,
                     struct slv_err *err) SLV_MUST_USE;

#endif
