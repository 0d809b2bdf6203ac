/* kv.h: one conversation's keys and values.
 *
 * They lie in pages of 64 positions, aligned to absolute position: page p / 64 of a table holds
 * position p. There are two tables, one for the layers that see the whole context and one for those
 * with a window, whose old pages are given back; a page has the block of every layer and KV head
 * of its kind, one after the other:
 *
 *     page:   layer a, head 0 | layer a, head 1 | ... | layer b, head 0 | ...
 *     block:  K tiles [4][head_k][16] | V [64][head_v] | Q8: K scales [4][head_k / 32][16] f32
 *                                                          | V scales [64][head_v / 32] f32
 *
 * Where tokens see those after them, a step has a whole text, and no layer looks at what another
 * one stored: all of them share the blocks of one.
 *
 * Head sizes are padded with zeros to 16 (Q8: 32). Elements are f32, f16 or int8 (kernels.h).
 * Pages come from a pool (pool.h), the cache's own or one that is shared, and are taken before a
 * step, never in one. A page that somebody else holds too is not written: slv_kv_ready puts a copy
 * in its place.
 *
 * Invariant: a table has a page for each block of [first, end) and for no other.
 * Threads: any number may store different positions or heads; readers come after a barrier.
 */
#ifndef SLV_ENGINE_KV_H
#define SLV_ENGINE_KV_H

#include "engine/hparams.h"
#include "engine/pool.h"
#include "kernel/kernels.h"

/* The pages of one class. */
struct slv_kv_table {
    unsigned char **page; /* [blocks of n_ctx] */
    uint32_t first, end;  /* blocks that have a page */
    uint32_t most;        /* pages there may be */
    size_t page_bytes;    /* 0: no layer is of this class */
};

struct slv_kv {
    enum slv_kv_type type;
    uint32_t n_ctx; /* positions it can hold */
    uint32_t n_pos; /* positions it holds */
    uint32_t n_layer, n_head_kv, window;
    size_t dk, dv; /* padded head sizes */
    size_t v_at, ks_at, vs_at, block_bytes;
    struct {
        unsigned char **page; /* of its class's table */
        size_t at;            /* of its first block in a page */
    } layer[SLV_MAX_LAYERS];
    struct slv_kv_table table[SLV_PAGE_CLASSES];
    uint32_t ready_from, ready_end; /* positions whose pages are there and nobody else's */
    size_t bytes;                   /* of all pages it may hold */
    uint32_t n_room;                /* positions that these are enough for */
    struct slv_pool *pool;
    bool shares; /* the pool, in which `bytes` are reserved */
};

/* Bytes that slv_kv_init would take, 0 if that overflows. n_batch: most tokens in one step. */
size_t slv_kv_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                    uint32_t n_batch);

/* The same for a cache in a shared pool: one page more of each class, for copies. */
size_t slv_kv_shared_bytes(const struct slv_hparams *h, enum slv_kv_type type, uint32_t n_ctx,
                           uint32_t n_batch);

/* Bytes of the tables of pages. */
size_t slv_kv_table_bytes(uint32_t n_ctx);

/* The sizes of pages; 0 for a class that no layer is of. False: too large. */
bool slv_kv_page_bytes(const struct slv_hparams *h, enum slv_kv_type type,
                       size_t ret[SLV_PAGE_CLASSES]) SLV_MUST_USE;

/* pool NULL: a pool of its own. SLV_E_NOMEM; SLV_E_FIT: the shared pool has not so much to give.
 * Memory is touched as positions are used. */
int slv_kv_init(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                uint32_t n_ctx, uint32_t n_batch, struct slv_pool *pool) SLV_MUST_USE;
/* The same in a pool that is shared, without a reservation: that is made later (slv_kv_reserve), or
 * whoever lends the pool sees to it that pages are there when they are wanted. SLV_E_NOMEM. */
int slv_kv_borrow(struct slv_kv *kv, const struct slv_hparams *h, enum slv_kv_type type,
                  uint32_t n_ctx, uint32_t n_batch, struct slv_pool *pool) SLV_MUST_USE;
void slv_kv_fini(struct slv_kv *kv);

/* Makes what is reserved in a shared pool enough for the first n positions, n_pos <= n <= n_ctx, no
 * more and no less; 0: nothing, of a cache that has no pages. SLV_E_FIT: the pool has not so much
 * to give, and nothing changed. */
int slv_kv_reserve(struct slv_kv *kv, uint32_t n) SLV_MUST_USE;

/* Before a step: pages for the positions [n_pos, n_pos + n) that nobody else holds, n at most
 * n_batch and n_pos + n at most n_room. What lies before the window may be given back for them.
 * SLV_E_NOMEM does not happen to a cache whose pool keeps its word. No heap allocation. */
int slv_kv_ready(struct slv_kv *kv, uint32_t n) SLV_MUST_USE;

/* Pages of those classes for the block that n_pos is in, that are the cache's alone: whoever fills
 * them moves n_pos over it. Of the other classes it has none then, as what it had would be in part
 * of other tokens; and pages that end before it, with some missing between, go. SLV_E_NOMEM as
 * above. */
int slv_kv_open_block(struct slv_kv *kv, uint32_t block,
                      const bool of[SLV_PAGE_CLASSES]) SLV_MUST_USE;

/* Puts bytes of pages, as they lie in memory, into a block behind those that have pages: whoever
 * knows what its tokens are moves n_pos over it. NULL: none of that class. SLV_E_NOMEM as above. */
int slv_kv_fill(struct slv_kv *kv, uint32_t block,
                const unsigned char *const page[SLV_PAGE_CLASSES]) SLV_MUST_USE;

/* Gives back the pages of a class but those of blocks [first, end). The pool's lock is held. */
void slv_kv_cut(struct slv_kv *kv, enum slv_page_class c, uint32_t first, uint32_t end);

/* The first position that a token at position pos sees in layers of a class. */
uint32_t slv_kv_sees(const struct slv_kv *kv, enum slv_page_class c, uint32_t pos);

/* Stores one head's key k[head_k] and value v[head_v] of a position. */
void slv_kv_store(struct slv_kv *kv, const struct slv_kernels *kern, uint32_t layer, uint32_t head,
                  uint32_t pos, const float *k, size_t head_k, const float *v, size_t head_v);

/* Fills b->k, v, k_scale, v_scale, dk, dv for the block that holds position 64 * block. */
void slv_kv_block(const struct slv_kv *kv, uint32_t layer, uint32_t head, uint32_t block,
                  struct slv_attn_block *b);

/* Fills a page of a class with zeros from position n of its block on. */
void slv_kv_wipe(const struct slv_kv *kv, const struct slv_kernels *kern, enum slv_page_class c,
                 unsigned char *page, uint32_t n);

/* Goes back to n_pos positions, and gives back pages beyond. False, and nothing changed, if a
 * windowed layer no longer has what a token there would look at; then only 0 works. */
bool slv_kv_rewind(struct slv_kv *kv, uint32_t n_pos);

#endif
