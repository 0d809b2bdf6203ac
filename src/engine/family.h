/* family.h: what makes one model family different from another: one table row a family.
 *
 * The row, together with the file's numbers and the tensors that are there, becomes a plan
 * (plan.c): there is no forward function for a family. Presence decides the rest: biases, fused or
 * separate projections, a separate output matrix.
 */
#ifndef SLV_ENGINE_FAMILY_H
#define SLV_ENGINE_FAMILY_H

#include "format/gguf.h"

enum slv_norm_kind { SLV_NORM_RMS, SLV_NORM_LAYER };

enum slv_rope_kind {
    SLV_ROPE_NONE, /* absolute positions, learned (GPT-2) */
    SLV_ROPE_NORM, /* pairs (2 i, 2 i + 1) */
    SLV_ROPE_NEOX, /* pairs (i, i + n_rot / 2) */
};

enum slv_act_kind {
    SLV_ACT_SILU,
    SLV_ACT_GELU,     /* by tanh */
    SLV_ACT_GELU_ERF, /* by erf: what its definition says */
};

/* What the feed-forward part consists of. */
enum slv_ffn_kind {
    SLV_FFN_GATED, /* ffn_gate, ffn_up, ffn_down */
    SLV_FFN_FUSED, /* ffn_up holds gate and up, in that order */
    SLV_FFN_PLAIN, /* ffn_up, ffn_down */
};

enum slv_qk_norm {
    SLV_QKN_NONE,
    SLV_QKN_HEAD,  /* RMS over each head, one weight vector for all heads */
    SLV_QKN_HEADS, /* layer norm over each head, each head its own weights; optional */
    SLV_QKN_ROW,   /* RMS over all heads together */
};

enum slv_window_use {
    SLV_WINDOW_NONE,   /* the file's window is not used */
    SLV_WINDOW_ALL,    /* every layer, if the file gives a window */
    SLV_WINDOW_PATTERN /* layer i is windowed unless (i + 1) % pattern == 0 */
};

struct slv_family {
    const char *arch; /* general.architecture */
    uint8_t norm;     /* enum slv_norm_kind */
    uint8_t rope;     /* enum slv_rope_kind */
    uint8_t act;      /* enum slv_act_kind */
    uint8_t ffn;      /* enum slv_ffn_kind */
    uint8_t qk_norm;  /* enum slv_qk_norm */
    bool pre_norm;    /* norms before attention and feed-forward */
    bool post_norm;   /* norms after them, before the residual is added */
    bool post_ln;     /* norms after a residual is added, and it goes on from what they give */
    bool encoder;     /* every token sees all of its text; makes states, not a next token */
    bool types;       /* tokens have types, whose embeddings are added; optional */
    bool parallel;    /* a layer may have no second norm: feed-forward runs beside attention then */
    bool embd_sqrt;   /* embeddings are multiplied by sqrt(n_embd) */
    bool caps;        /* attention and logits are soft-capped, at 50 and 30 by default */
    bool scales;      /* Granite's embedding, residual, attention and logit scales */
    uint8_t window;   /* enum slv_window_use */
    uint8_t pattern;  /* default of the window pattern */
    uint16_t window_default; /* window where the file gives none; 0: no window then */
    bool swa_plain;          /* positions of windowed layers are not scaled */
    uint16_t swa_base;       /* default of their RoPE base; 0: that of the other layers */
    uint8_t nope_step;       /* every nope_step-th layer has no RoPE */
    uint8_t big_layers; /* this many layers scale attention by n_embd / n_head, not by head size */
};

/* The row of an architecture name, or NULL. */
const struct slv_family *slv_family_get(struct slv_str arch);

/* Row i, for listing; NULL past the end. */
const struct slv_family *slv_family_at(size_t i);

#endif
