/* kv.c: see kv.h. */
#include "engine/kv.h"
#include "base/mem.h"

#include <string.h>

#define BLOCK SLV_KV_BLOCK
#define LANES 16

static const uint8_t elem_bytes[SLV_KV_TYPES] = {
    [SLV_KV_F32] = 4, [SLV_KV_F16] = 2, [SLV_KV_Q8] = 1};

static uint32_t slots_for(const struct slv_hparams *h, uint32_t layer, uint32_t n_ctx,
                          uint32_t n_batch) {
    uint64_t all = ((uint64_t)n_ctx + BLOCK - 1) / BLOCK;
    if (!h->window || !h->windowed[layer]) return (uint32_t)all;
    /* The oldest position a batch looks at and the newest it writes, wherever blocks begin. */
    uint64_t need = ((uint64_t)h->window + n_batch + BLOCK - 2) / BLOCK + 1;
    return (uint32_t)(need < all ? need : all);
}

static size_t pad(size_t n, enum slv_kv_type type) {
    size_t to = type == SLV_KV_Q8 ? 32 : LANES;
    return (n + to - 1) / to * to;
}

/* All but the memory. */
static bool lay_out(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                    uint32_t n_ctx, uint32_t n_batch) {
    *kv = (struct slv_kv){.type = type,
                          .n_ctx = n_ctx,
                          .n_layer = h->n_layer,
                          .n_head_kv = h->n_head_kv,
                          .window = h->window};
    kv->dk = pad(h->head_k, type);
    kv->dv = pad(h->head_v, type);
    size_t scales = type == SLV_KV_Q8 ? BLOCK * sizeof(float) / 32 : 0;
    kv->v_at = BLOCK * kv->dk * elem_bytes[type];
    kv->ks_at = kv->v_at + BLOCK * kv->dv * elem_bytes[type];
    kv->vs_at = kv->ks_at + scales * kv->dk;
    kv->block_bytes = kv->vs_at + scales * kv->dv;
    size_t at = 0;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        size_t n;
        kv->layer[i].at = at;
        kv->layer[i].slots = slots_for(h, i, n_ctx, n_batch);
        kv->windowed[i] = h->window && h->windowed[i];
        if (!slv_size_mul(kv->layer[i].slots, h->n_head_kv, &n) ||
            !slv_size_mul(n, kv->block_bytes, &n) || !slv_size_add(at, n, &at))
            return false;
    }
    kv->bytes = at;
    return true;
}

size_t slv_kv_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                    uint32_t n_batch) {
    struct slv_kv kv;
    return lay_out(&kv, h, type, n_ctx, n_batch) ? kv.bytes : 0;
}

int slv_kv_init(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                uint32_t n_ctx, uint32_t n_batch) {
    size_t all;
    if (!lay_out(kv, h, type, n_ctx, n_batch) || !slv_size_add(kv->bytes, 64, &all))
        return SLV_E_NOMEM;
    kv->raw = slv_mem_calloc(all, 1); /* zero pages come from the system untouched */
    if (!kv->raw) return SLV_E_NOMEM;
    kv->data = (unsigned char *)(((uintptr_t)kv->raw + 63) / 64 * 64);
    return 0;
}

void slv_kv_fini(struct slv_kv *kv) {
    if (!kv) return;
    slv_mem_free(kv->raw);
    kv->raw = NULL;
    kv->data = NULL;
}

static unsigned char *block_at(const struct slv_kv *kv, uint32_t layer, uint32_t head,
                               uint32_t block) {
    size_t slot = block % kv->layer[layer].slots;
    return kv->data + kv->layer[layer].at + (slot * kv->n_head_kv + head) * kv->block_bytes;
}

static void store_q8(struct slv_kv *kv, const struct slv_kernels *kern, unsigned char *blk,
                     uint32_t pos, const float *k, const float *v) {
    int8_t q[SLV_MAX_HEAD_DIM];
    float d[SLV_MAX_HEAD_DIM / 32];
    int16_t sum[SLV_MAX_HEAD_DIM / LANES];
    size_t in = pos % BLOCK, tile = in / LANES, lane = in % LANES;
    kern->quantize(k, kv->dk, 32, 1, q, d, sum);
    int8_t *kq = (int8_t *)blk + tile * kv->dk * LANES;
    float *ks = (float *)(void *)(blk + kv->ks_at) + tile * (kv->dk / 32) * LANES;
    for (size_t i = 0; i < kv->dk; i++)
        kq[(i / 4 * LANES + lane) * 4 + i % 4] = q[i];
    for (size_t b = 0; b < kv->dk / 32; b++)
        ks[b * LANES + lane] = d[b];
    kern->quantize(v, kv->dv, 32, 1, (int8_t *)blk + kv->v_at + in * kv->dv,
                   (float *)(void *)(blk + kv->vs_at) + in * (kv->dv / 32), sum);
}

static void store_floats(struct slv_kv *kv, const struct slv_kernels *kern, unsigned char *blk,
                         uint32_t pos, const float *k, const float *v) {
    size_t in = pos % BLOCK, at = in / LANES * kv->dk * LANES + in % LANES;
    if (kv->type == SLV_KV_F32) {
        float *kf = (float *)(void *)blk + at;
        for (size_t i = 0; i < kv->dk; i++)
            kf[i * LANES] = k[i];
        memcpy(blk + kv->v_at + in * kv->dv * 4, v, kv->dv * 4);
        return;
    }
    uint16_t half[SLV_MAX_HEAD_DIM], *kh = (uint16_t *)(void *)blk + at;
    kern->f32_to_f16(k, kv->dk, half);
    for (size_t i = 0; i < kv->dk; i++)
        kh[i * LANES] = half[i];
    kern->f32_to_f16(v, kv->dv, (uint16_t *)(void *)(blk + kv->v_at) + in * kv->dv);
}

void slv_kv_store(struct slv_kv *kv, const struct slv_kernels *kern, uint32_t layer, uint32_t head,
                  uint32_t pos, const float *k, size_t head_k, const float *v, size_t head_v) {
    float kp[SLV_MAX_HEAD_DIM] = {0}, vp[SLV_MAX_HEAD_DIM] = {0};
    memcpy(kp, k, head_k * sizeof *k);
    memcpy(vp, v, head_v * sizeof *v);
    unsigned char *blk = block_at(kv, layer, head, pos / BLOCK);
    if (kv->type == SLV_KV_Q8) store_q8(kv, kern, blk, pos, kp, vp);
    else store_floats(kv, kern, blk, pos, kp, vp);
}

void slv_kv_block(const struct slv_kv *kv, uint32_t layer, uint32_t head, uint32_t block,
                  struct slv_attn_block *b) {
    const unsigned char *blk = block_at(kv, layer, head, block);
    b->k = blk;
    b->v = blk + kv->v_at;
    b->k_scale = (const float *)(const void *)(blk + kv->ks_at);
    b->v_scale = (const float *)(const void *)(blk + kv->vs_at);
    b->dk = kv->dk;
    b->dv = kv->dv;
}

bool slv_kv_rewind(struct slv_kv *kv, uint32_t n_pos) {
    if (n_pos > kv->n_pos) return false;
    for (uint32_t i = 0; i < kv->n_layer && n_pos; i++) {
        if (!kv->windowed[i]) continue;
        uint32_t newest = (kv->highest - 1) / BLOCK, slots = kv->layer[i].slots;
        uint32_t oldest = newest >= slots ? (newest - slots + 1) * BLOCK : 0;
        uint32_t need = n_pos + 1 > kv->window ? n_pos + 1 - kv->window : 0;
        if (need < oldest) return false;
    }
    kv->n_pos = n_pos;
    if (n_pos == 0) kv->highest = 0;
    return true;
}
