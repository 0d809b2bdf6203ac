/* kv.h: one conversation's keys and values.
 *
 * For each layer and KV head a ring of blocks of 64 positions, aligned to absolute position: block
 * p / 64 lives in slot (p / 64) % n. A layer without a window has slots for the whole context; a
 * windowed one only for what its window and one batch of new tokens can touch.
 *
 *     block:  K tiles [4][head_k][16] | V [64][head_v] | Q8: K scales [4][head_k / 32][16] f32
 *                                                          | V scales [64][head_v / 32] f32
 *
 * Head sizes are padded with zeros to 16 (Q8: 32). Elements are f32, f16 or int8 (kernels.h).
 * Threads: any number may store different positions or heads; readers come after a barrier.
 */
#ifndef SLV_ENGINE_KV_H
#define SLV_ENGINE_KV_H

#include "engine/hparams.h"
#include "kernel/kernels.h"

struct slv_kv {
    enum slv_kv_type type;
    uint32_t n_ctx; /* positions it can hold */
    uint32_t n_pos; /* positions it holds */
    uint32_t
        highest; /* most positions ever written: windowed rings have lost what lies far below */
    uint32_t n_layer, n_head_kv, window;
    size_t dk, dv; /* padded head sizes */
    size_t v_at, ks_at, vs_at, block_bytes;
    struct {
        size_t at;      /* bytes into data */
        uint32_t slots; /* blocks in the ring */
    } layer[SLV_MAX_LAYERS];
    bool windowed[SLV_MAX_LAYERS];
    size_t bytes;
    unsigned char *data; /* 64-byte aligned, inside raw */
    void *raw;
};

/* Bytes that slv_kv_init would take, 0 if that overflows. n_batch: most tokens in one step. */
size_t slv_kv_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                    uint32_t n_batch);

/* SLV_E_NOMEM. Pages are touched as positions are used. */
int slv_kv_init(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                uint32_t n_ctx, uint32_t n_batch) SLV_MUST_USE;
void slv_kv_fini(struct slv_kv *kv);

/* Stores one head's key k[head_k] and value v[head_v] of a position. */
void slv_kv_store(struct slv_kv *kv, const struct slv_kernels *kern, uint32_t layer, uint32_t head,
                  uint32_t pos, const float *k, size_t head_k, const float *v, size_t head_v);

/* Fills b->k, v, k_scale, v_scale, dk, dv for the block that holds position 64 * block. */
void slv_kv_block(const struct slv_kv *kv, uint32_t layer, uint32_t head, uint32_t block,
                  struct slv_attn_block *b);

/* Goes back to n_pos positions. False, and nothing changed, if a windowed layer no longer has what
 * a token there would look at; then only 0 works. */
bool slv_kv_rewind(struct slv_kv *kv, uint32_t n_pos);

#endif
