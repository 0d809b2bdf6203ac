/* adapter.h: a LoRA adapter: what a file of low-rank matrices adds to a model's products.
 *
 * The file is GGUF as llama.cpp reads it: general.type "adapter", adapter.type "lora",
 * general.architecture that of the model, adapter.lora.alpha, and for a matrix NAME of the model,
 * of n_out rows and n_in columns, two tensors of rank r (dimensions as in ggml, the contiguous one
 * first):
 *
 *     NAME.lora_a [n_in, r]     NAME.lora_b [r, n_out]
 *     of token_embd.weight:     NAME.lora_a [r, n_vocab]     NAME.lora_b [r, n_embd]
 *
 * What it does, for an input row x of f32 (the one that is quantized for W) and each output i:
 *
 *     u[j] = chain over k of fma(A[j][k], x[k], acc), from 0, k ascending
 *     t[i] = chain over j of fma(B[i][j], u[j], acc), from 0, j ascending
 *     y[i] = fma(t[i], s, y[i])          s = alpha ? scale * alpha / r : scale, in f32
 *
 * where y is W x with its scale and bias, or after the adapters before this one. Embeddings: u is
 * row `token` of A, y the row of the table before it is scaled. So the bits are the same at every
 * level, for any number of threads and whoever else is in the step.
 *
 * In memory: matrices that one operator of the plan multiplies with the same input (q, k, v) have
 * their A one below the other, each padded to whole tiles, so that one product makes all their u;
 * the B of each by itself. Numbers keep their values: a tensor is kept as f16 or bf16 where that
 * loses nothing, whatever its type in the file, and as f32 otherwise.
 *
 * Immutable when opened; the file is closed then. Threads: any.
 * Sources: Hu et al. 2021 (LoRA); ggml's docs/gguf.md. */
#ifndef SLV_ENGINE_ADAPTER_H
#define SLV_ENGINE_ADAPTER_H

#include "engine/model.h"

/* What it adds to one matrix of an operator. */
struct slv_adapter_part {
    struct slv_mat b; /* cols: the rank; layout NULL: nothing is added */
    size_t at;        /* of its u in the operator's */
};

/* To one operator of the plan, whose parts are those of struct slv_op. */
struct slv_adapter_op {
    struct slv_mat a; /* rows: a multiple of 16; 0: nothing is added */
    struct slv_adapter_part part[3];
};

/* To the embeddings. */
struct slv_adapter_embd {
    const struct slv_dtype *type; /* NULL: nothing */
    unsigned char *rows;          /* [n_vocab] of row_bytes, as in the file */
    size_t row_bytes;
    struct slv_mat b;
};

struct slv_adapter {
    struct slv_model *m;
    uint64_t id;      /* no other adapter of this process has it, nor ever had */
    uint64_t content; /* checksum of the file */
    float alpha;      /* 0: the file gives none */
    uint32_t rank;    /* the largest */
    uint32_t n_pairs;
    size_t width;               /* most rows of an operator's A */
    struct slv_adapter_op *ops; /* [n_ops of the plan] */
    struct slv_adapter_embd embd;
    unsigned char *tiles;
    size_t tile_bytes;
    uint64_t bytes; /* all it takes */
    char *name;
};

/* The adapters of a session, in the order in which they are applied. */
struct slv_adapter_set {
    size_t n;
    size_t width; /* sum of theirs: floats of u that a token takes */
    struct slv_adapter_use use[SLV_ADAPTERS_MAX];
};

/* slv_adapter_open for a file that is indexed already, which it does not keep. */
int slv_adapter_read(struct slv_model *m, const struct slv_gguf *g, struct slv_adapter **ret,
                     struct slv_err *err) SLV_MUST_USE;

/* What t is multiplied by, for a pair of that rank. */
static inline float slv_adapter_gain(const struct slv_adapter_use *u, size_t rank) {
    return u->adapter->alpha != 0.0f ? u->scale * u->adapter->alpha / (float)rank : u->scale;
}

/* Whether both are the same adapters, scales and order. NULL is a set of none. */
bool slv_adapter_set_same(const struct slv_adapter_set *a, const struct slv_adapter_set *b);

/* A checksum of what they contain, their scales and order; 0: there are none. */
uint64_t slv_adapter_set_content(const struct slv_adapter_set *s);

#endif
