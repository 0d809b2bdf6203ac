/* weights.h: a model's tensors, found, checked against the metadata and packed into tiles.
 *
 * Vectors (norms, biases, RoPE factors) become f32 arrays; matrices become tiles (kernel/layout.h)
 * in one block, anonymous or mapped from a file of its own (engine/repack.h); the embedding table
 * stays in the model file's mapping, a row at a time being read. After packing, the pages of the
 * source are given back, so that resident memory is about the size of the file and not twice that.
 *
 * A model without a mapping (struct slv_model_opts' source) is read piece by piece: vectors when
 * they are found, matrices as they are packed, tables by slv_weights_read into memory of their own.
 * A table that is the output's matrix too is not read again: its rows are taken from the tiles.
 */
#ifndef SLV_ENGINE_WEIGHTS_H
#define SLV_ENGINE_WEIGHTS_H

#include "base/arena.h"
#include "base/blocks.h"
#include "base/team.h"
#include "engine/hparams.h"
#include "kernel/kernels.h"

/* y = scale * (W x) + bias. mat.layout is NULL where the model has none. */
struct slv_linear {
    struct slv_mat mat;
    float scale;                        /* of the whole tensor (NVFP4 files); else 1 */
    const float *bias;                  /* [rows padded to 16] or NULL */
    const struct slv_gguf_tensor *from; /* packed from rows [row0, row0 + mat.rows) of this */
    size_t row0;
    size_t at; /* bytes into the block of tiles */
};

/* Vectors are NULL where the model has none. */
struct slv_layer {
    const float *attn_norm, *attn_norm_b; /* [n_embd]; post_ln: what gave this layer its input */
    const float *attn_post;               /* [n_embd] */
    const float *ffn_norm, *ffn_norm_b;   /* [n_embd]; without: parallel to attention */
    const float *ffn_post;                /* [n_embd] */
    const float *q_norm, *k_norm;         /* by family: [head_k], [n_head(_kv)][head_k] or rows */
    struct slv_linear q, k, v, o;
    struct slv_linear gate, up, down;
};

/* Of which rows are read one at a time. */
struct slv_table {
    const struct slv_gguf_tensor *from; /* of the model's file; NULL: there is no such table */
    const unsigned char *data; /* as in the file; NULL of a source's: the rows of `out` are these */
};

struct slv_weights {
    struct slv_layer *layers;            /* [n_layer] */
    struct slv_table embd;               /* [n_vocab][n_embd] */
    struct slv_table pos_embd;           /* [n_ctx][n_embd] or none */
    struct slv_table types;              /* [n_types][n_embd] or none */
    const float *out_norm, *out_norm_b;  /* [n_embd] */
    struct slv_linear head;              /* before `out` in models that score texts, or none */
    struct slv_linear out;               /* n_vocab rows, or a score each, or none */
    const float *rope_factors;           /* [n_rot / 2] or NULL: angles are divided by them */
    const float *rope_long, *rope_short; /* the same, by context length */
    struct slv_arena arena;              /* vectors and layers */
    unsigned char *tiles;                /* a mapping of its own, of memory or of a file */
    size_t tile_bytes;
    struct slv_packcheck *check;     /* owns the mapping of a file, NULL where there is none */
    const struct slv_blocks *source; /* while the model is opened; NULL: tensors have data */
    size_t table_bytes; /* of tables that slv_weights_read has to read, in memory of slv_mem_map */
};

/* Finds and checks every tensor; sets tile_bytes and all sizes, packs nothing. source, if tensors
 * have no data, is borrowed until the last of slv_weights_read and slv_weights_pack. */
int slv_weights_find(const struct slv_gguf *g, const struct slv_hparams *h,
                     const struct slv_blocks *source, struct slv_weights *ret,
                     struct slv_err *err) SLV_MUST_USE;

/* Reads the tables of a source. As its reading fails; SLV_E_NOMEM. */
int slv_weights_read(struct slv_weights *w, struct slv_team *team,
                     struct slv_err *err) SLV_MUST_USE;

/* n elements, all there are, of a table's row as floats. Threads: any. */
void slv_weights_row(const struct slv_weights *w, const struct slv_table *t, size_t row, size_t n,
                     float *ret);

/* Memory for the tiles, of zeros. SLV_E_NOMEM. Given back by slv_weights_drop, or with the rest. */
int slv_weights_room(struct slv_weights *w, struct slv_err *err) SLV_MUST_USE;
void slv_weights_drop(struct slv_weights *w);

/* Packs all matrices with the team. *ret_sum (may be NULL; not of a source): the source's checksum,
 * as below. SLV_E_NOMEM, or as the source's reading fails. */
int slv_weights_pack(struct slv_weights *w, const struct slv_hparams *h, struct slv_team *team,
                     const struct slv_model_opts *opts, uint64_t *ret_sum,
                     struct slv_err *err) SLV_MUST_USE;

/* A checksum of every byte that would be packed, and of where it belongs. Reads all of them. */
uint64_t slv_weights_sum(struct slv_weights *w, const struct slv_hparams *h, struct slv_team *team,
                         const struct slv_model_opts *opts);

/* Takes over tiles that were packed before, and what checks them when they are first used. */
void slv_weights_adopt(struct slv_weights *w, const struct slv_hparams *h, void *tiles,
                       struct slv_packcheck *check);

/* Packs what lies in bytes [from, to) of the tiles again, and nothing beside it. `tile` has room
 * for slv_weights_tile_max bytes. */
void slv_weights_mend(struct slv_weights *w, const struct slv_hparams *h, size_t from, size_t to,
                      void *tile);
size_t slv_weights_tile_max(struct slv_weights *w, const struct slv_hparams *h);

/* Whether tiles [t0, t1) of a matrix can be multiplied with; false: SLV_E_NOMEM. Before each use.
 * Threads: any. */
bool slv_weights_ready(const struct slv_weights *w, const struct slv_linear *l, size_t t0,
                       size_t t1) SLV_MUST_USE;

/* The matrices in the order of their tiles' places in the job of packing; mat.layout is NULL for
 * those that the model does not have. */
size_t slv_weights_count(const struct slv_hparams *h);
struct slv_linear *slv_weights_at(struct slv_weights *w, const struct slv_hparams *h, size_t i);

void slv_weights_fini(struct slv_weights *w);

#endif
