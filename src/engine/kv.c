/* kv.c: see kv.h. */
#include "engine/kv.h"
#include "base/mem.h"

#include <string.h>

#define BLOCK SLV_KV_BLOCK
#define LANES 16

static const uint8_t elem_bytes[SLV_KV_TYPES] = {
    [SLV_KV_F32] = 4, [SLV_KV_F16] = 2, [SLV_KV_Q8] = 1};

static size_t pad(size_t n, enum slv_kv_type type) {
    size_t to = type == SLV_KV_Q8 ? 32 : LANES;
    return (n + to - 1) / to * to;
}

static bool is_windowed(const struct slv_hparams *h, uint32_t layer) {
    return h->window && h->windowed[layer];
}

/* Offsets in a block, and of layers in their pages. False: a page is too large. */
static bool lay_out_page(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type) {
    *kv = (struct slv_kv){
        .type = type, .n_layer = h->n_layer, .n_head_kv = h->n_head_kv, .window = h->window};
    kv->dk = pad(h->head_k, type);
    kv->dv = pad(h->head_v, type);
    size_t scales = type == SLV_KV_Q8 ? BLOCK * sizeof(float) / 32 : 0, layer_bytes;
    kv->v_at = BLOCK * kv->dk * elem_bytes[type];
    kv->ks_at = kv->v_at + BLOCK * kv->dv * elem_bytes[type];
    kv->vs_at = kv->ks_at + scales * kv->dk;
    kv->block_bytes = kv->vs_at + scales * kv->dv; /* a multiple of 64, as all before */
    if (!slv_size_mul(kv->block_bytes, h->n_head_kv, &layer_bytes)) return false;
    for (uint32_t i = 0; i < h->n_layer; i++) {
        size_t *page = &kv->table[is_windowed(h, i) ? SLV_PAGE_WINDOWED : SLV_PAGE_FULL].page_bytes;
        if (h->sees_all && i) continue; /* each has what the one before it no longer needs */
        kv->layer[i].at = *page;
        if (!slv_size_add(*page, layer_bytes, page)) return false;
    }
    return true;
}

static uint32_t blocks_of(uint32_t n_pos) {
    return (uint32_t)(((uint64_t)n_pos + BLOCK - 1) / BLOCK);
}

/* Pages of a class that are needed at the same time. */
static uint32_t most_pages(const struct slv_hparams *h, enum slv_page_class c, uint32_t n_ctx,
                           uint32_t n_batch) {
    uint32_t all = blocks_of(n_ctx);
    if (c == SLV_PAGE_FULL) return all;
    /* The oldest position a batch looks at and the newest it writes, wherever blocks begin. */
    uint64_t need = ((uint64_t)h->window + n_batch + BLOCK - 2) / BLOCK + 1;
    return (uint32_t)(need < all ? need : all);
}

/* All but the memory. spare: pages of each class besides. */
static bool lay_out(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                    uint32_t n_ctx, uint32_t n_batch, uint32_t spare) {
    if (!lay_out_page(kv, h, type)) return false;
    kv->n_ctx = n_ctx;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        struct slv_kv_table *t = &kv->table[c];
        size_t n;
        if (!t->page_bytes) continue;
        t->most = most_pages(h, (enum slv_page_class)c, n_ctx, n_batch);
        if (!slv_size_mul((size_t)t->most + spare, t->page_bytes, &n) ||
            !slv_size_add(kv->bytes, n, &kv->bytes))
            return false;
    }
    return true;
}

size_t slv_kv_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                    uint32_t n_batch) {
    struct slv_kv kv;
    return lay_out(&kv, h, type, n_ctx, n_batch, 0) ? kv.bytes : 0;
}

size_t slv_kv_shared_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                           uint32_t n_batch) {
    struct slv_kv kv;
    return lay_out(&kv, h, type, n_ctx, n_batch, 1) ? kv.bytes : 0;
}

size_t slv_kv_table_bytes(uint32_t n_ctx) {
    return SLV_PAGE_CLASSES * sizeof(unsigned char *) * blocks_of(n_ctx);
}

bool slv_kv_page_bytes(const struct slv_hparams *h, enum slv_kv_type type,
                       size_t ret[SLV_PAGE_CLASSES]) {
    struct slv_kv kv;
    if (!lay_out_page(&kv, h, type)) return false;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        ret[c] = kv.table[c].page_bytes;
    return true;
}

/* A pool of its own, just as large as it needs. */
static int open_pool(struct slv_kv *kv) {
    size_t page_bytes[SLV_PAGE_CLASSES];
    uint32_t n[SLV_PAGE_CLASSES];
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        page_bytes[c] = kv->table[c].page_bytes;
        n[c] = kv->table[c].most;
    }
    return slv_pool_open(page_bytes, n, kv->bytes, &kv->pool);
}

/* All but the pool. */
static int open_tables(struct slv_kv *kv, const struct slv_hparams *h, uint32_t n_ctx) {
    int rc = 0;
    for (int c = 0; c < SLV_PAGE_CLASSES && !rc; c++) {
        struct slv_kv_table *t = &kv->table[c];
        if (!t->page_bytes) continue;
        t->page = slv_mem_calloc(blocks_of(n_ctx), sizeof *t->page);
        if (!t->page) rc = SLV_E_NOMEM;
    }
    for (uint32_t i = 0; i < h->n_layer && !rc; i++)
        kv->layer[i].page = kv->table[is_windowed(h, i) ? SLV_PAGE_WINDOWED : SLV_PAGE_FULL].page;
    return rc;
}

int slv_kv_borrow(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                  uint32_t n_ctx, uint32_t n_batch, struct slv_pool *pool) {
    if (!lay_out(kv, h, type, n_ctx, n_batch, 1)) return SLV_E_NOMEM;
    kv->bytes = 0;
    kv->pool = pool;
    kv->shares = true;
    int rc = open_tables(kv, h, n_ctx);
    if (rc) slv_kv_fini(kv);
    return rc;
}

int slv_kv_init(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                uint32_t n_ctx, uint32_t n_batch, struct slv_pool *pool) {
    int rc;
    if (pool) {
        rc = slv_kv_borrow(kv, h, type, n_ctx, n_batch, pool);
        if (!rc) rc = slv_kv_reserve(kv, n_ctx);
    } else {
        if (!lay_out(kv, h, type, n_ctx, n_batch, 0)) return SLV_E_NOMEM;
        kv->n_room = n_ctx;
        rc = open_pool(kv);
        if (!rc) rc = open_tables(kv, h, n_ctx);
    }
    if (rc) slv_kv_fini(kv);
    return rc;
}

/* Of a shared pool's bytes, those that so many positions may want, with a page of each class
 * besides for copies. */
static size_t bytes_of(const struct slv_kv *kv, uint32_t n) {
    size_t bytes = 0;
    for (int c = 0; c < SLV_PAGE_CLASSES && n; c++) {
        const struct slv_kv_table *t = &kv->table[c];
        if (!t->page_bytes) continue;
        uint32_t pages = blocks_of(n) < t->most ? blocks_of(n) : t->most;
        bytes += ((size_t)pages + 1) * t->page_bytes; /* at most what lay_out has checked */
    }
    return bytes;
}

int slv_kv_reserve(struct slv_kv *kv, uint32_t n) {
    if (!kv->shares) return 0;
    const size_t bytes = bytes_of(kv, n);
    bool ok = true;
    slv_pool_lock(kv->pool);
    if (bytes > kv->bytes) ok = slv_pool_reserve(kv->pool, bytes - kv->bytes);
    else slv_pool_unreserve(kv->pool, kv->bytes - bytes);
    slv_pool_unlock(kv->pool);
    if (!ok) return SLV_E_FIT;
    kv->bytes = bytes;
    uint64_t room = (uint64_t)blocks_of(n) * BLOCK;
    kv->n_room = room < kv->n_ctx ? (uint32_t)room : kv->n_ctx;
    return 0;
}

void slv_kv_cut(struct slv_kv *kv, enum slv_page_class c, uint32_t first, uint32_t end) {
    struct slv_kv_table *t = &kv->table[c];
    for (; t->first < t->end && t->first < first; t->first++) {
        slv_pool_drop(kv->pool, c, t->page[t->first]);
        t->page[t->first] = NULL;
    }
    for (; t->first < t->end && t->end > end; t->end--) {
        slv_pool_drop(kv->pool, c, t->page[t->end - 1]);
        t->page[t->end - 1] = NULL;
    }
}

void slv_kv_fini(struct slv_kv *kv) {
    if (!kv) return;
    if (kv->pool && kv->shares) {
        slv_pool_lock(kv->pool);
        for (int c = 0; c < SLV_PAGE_CLASSES; c++)
            slv_kv_cut(kv, (enum slv_page_class)c, 0, 0);
        slv_pool_unreserve(kv->pool, kv->bytes);
        slv_pool_unlock(kv->pool);
    } else {
        slv_pool_close(kv->pool);
    }
    kv->pool = NULL;
    for (int c = 0; c < SLV_PAGE_CLASSES; c++) {
        slv_mem_free(kv->table[c].page);
        kv->table[c] = (struct slv_kv_table){0};
    }
}

/* A page for a block that is the cache's alone, in the place of what was there. */
static int ready_block(struct slv_kv *kv, enum slv_page_class c, uint32_t block) {
    struct slv_kv_table *t = &kv->table[c];
    unsigned char *old = block >= t->first && block < t->end ? t->page[block] : NULL;
    if (old && slv_pool_holders(kv->pool, c, old) == 1) return 0;
    if (!old && t->end - t->first == t->most) slv_kv_cut(kv, c, t->first + 1, t->end);
    unsigned char *page = slv_pool_take(kv->pool, c);
    if (!page) return SLV_E_NOMEM;
    if (old) {
        if (block * BLOCK < kv->n_pos) memcpy(page, old, t->page_bytes);
        slv_pool_drop(kv->pool, c, old);
    } else {
        if (t->first == t->end) t->first = block;
        t->end = block + 1;
    }
    t->page[block] = page;
    return 0;
}

int slv_kv_ready(struct slv_kv *kv, uint32_t n) {
    if (kv->n_pos >= kv->ready_from && kv->n_pos + n <= kv->ready_end) return 0;
    const uint32_t b0 = kv->n_pos / BLOCK, b1 = (kv->n_pos + n - 1) / BLOCK;
    int rc = 0;
    slv_pool_lock(kv->pool);
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        for (uint32_t b = b0; b <= b1 && kv->table[c].page_bytes && !rc; b++)
            rc = ready_block(kv, (enum slv_page_class)c, b);
    slv_pool_unlock(kv->pool);
    if (rc) return rc;
    kv->ready_from = kv->n_pos;
    kv->ready_end = (b1 + 1) * BLOCK;
    return 0;
}

int slv_kv_open_block(struct slv_kv *kv, uint32_t block, const bool of[SLV_PAGE_CLASSES]) {
    int rc = 0;
    slv_pool_lock(kv->pool);
    for (int i = 0; i < SLV_PAGE_CLASSES && !rc; i++) {
        const enum slv_page_class c = (enum slv_page_class)i;
        if (!kv->table[c].page_bytes) continue;
        if (!of[c] || kv->table[c].end < block) slv_kv_cut(kv, c, of[c] ? block : 0, block);
        if (of[c]) rc = ready_block(kv, c, block);
    }
    slv_pool_unlock(kv->pool);
    return rc;
}

int slv_kv_fill(struct slv_kv *kv, uint32_t block,
                const unsigned char *const page[SLV_PAGE_CLASSES]) {
    const bool of[SLV_PAGE_CLASSES] = {page[SLV_PAGE_FULL] != NULL,
                                       page[SLV_PAGE_WINDOWED] != NULL};
    int rc = slv_kv_open_block(kv, block, of);
    for (int c = 0; c < SLV_PAGE_CLASSES && !rc; c++)
        if (kv->table[c].page_bytes && of[c])
            memcpy(kv->table[c].page[block], page[c], kv->table[c].page_bytes);
    return rc;
}

static unsigned char *block_at(const struct slv_kv *kv, uint32_t layer, uint32_t head,
                               uint32_t block) {
    return kv->layer[layer].page[block] + kv->layer[layer].at + head * kv->block_bytes;
}

static void store_q8(const struct slv_kv *kv, const struct slv_kernels *kern, unsigned char *blk,
                     uint32_t pos, const float *k, const float *v) {
    int8_t q[SLV_MAX_HEAD_DIM];
    float d[SLV_MAX_HEAD_DIM / 32];
    size_t in = pos % BLOCK, tile = in / LANES, lane = in % LANES;
    kern->quantize(k, kv->dk, 32, 1, &(struct slv_codes){.q = q, .d = d});
    int8_t *kq = (int8_t *)blk + tile * kv->dk * LANES;
    float *ks = (float *)(void *)(blk + kv->ks_at) + tile * (kv->dk / 32) * LANES;
    for (size_t i = 0; i < kv->dk; i++)
        kq[(i / 4 * LANES + lane) * 4 + i % 4] = q[i];
    for (size_t b = 0; b < kv->dk / 32; b++)
        ks[b * LANES + lane] = d[b];
    const struct slv_codes to = {.q = (int8_t *)blk + kv->v_at + in * kv->dv,
                                 .d = (float *)(void *)(blk + kv->vs_at) + in * (kv->dv / 32)};
    kern->quantize(v, kv->dv, 32, 1, &to);
}

static void store_floats(const struct slv_kv *kv, const struct slv_kernels *kern,
                         unsigned char *blk, uint32_t pos, const float *k, const float *v) {
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

/* x[n] padded with zeros to `to`: itself where it needs none, else a copy. */
static const float *padded(const float *x, size_t n, size_t to, float copy[SLV_MAX_HEAD_DIM]) {
    if (n == to) return x;
    memcpy(copy, x, n * sizeof *x);
    memset(copy + n, 0, (to - n) * sizeof *x);
    return copy;
}

void slv_kv_store(struct slv_kv *kv, const struct slv_kernels *kern, uint32_t layer, uint32_t head,
                  uint32_t pos, const float *k, size_t head_k, const float *v, size_t head_v) {
    float kp[SLV_MAX_HEAD_DIM], vp[SLV_MAX_HEAD_DIM];
    k = padded(k, head_k, kv->dk, kp);
    v = padded(v, head_v, kv->dv, vp);
    unsigned char *blk = block_at(kv, layer, head, pos / BLOCK);
    if (kv->type == SLV_KV_Q8) store_q8(kv, kern, blk, pos, k, v);
    else store_floats(kv, kern, blk, pos, k, v);
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

void slv_kv_wipe(const struct slv_kv *kv, const struct slv_kernels *kern, enum slv_page_class c,
                 unsigned char *page, uint32_t n) {
    const float zeros[SLV_MAX_HEAD_DIM] = {0};
    for (size_t at = 0; at < kv->table[c].page_bytes; at += kv->block_bytes)
        for (uint32_t in = n; in < BLOCK; in++) {
            if (kv->type == SLV_KV_Q8) store_q8(kv, kern, page + at, in, zeros, zeros);
            else store_floats(kv, kern, page + at, in, zeros, zeros);
        }
}

uint32_t slv_kv_sees(const struct slv_kv *kv, enum slv_page_class c, uint32_t pos) {
    return c == SLV_PAGE_FULL || pos < kv->window ? 0 : pos + 1 - kv->window;
}

bool slv_kv_rewind(struct slv_kv *kv, uint32_t n_pos) {
    if (n_pos > kv->n_pos) return false;
    const struct slv_kv_table *w = &kv->table[SLV_PAGE_WINDOWED];
    uint32_t need = slv_kv_sees(kv, SLV_PAGE_WINDOWED, n_pos);
    if (w->page_bytes && need < n_pos && need / BLOCK < w->first) return false;
    slv_pool_lock(kv->pool);
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        slv_kv_cut(kv, (enum slv_page_class)c, 0, blocks_of(n_pos));
    slv_pool_unlock(kv->pool);
    kv->n_pos = n_pos;
    kv->ready_from = kv->ready_end = 0;
    return true;
}
