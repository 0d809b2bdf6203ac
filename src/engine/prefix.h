/* prefix.h: what sessions of one model share of their beginnings. The public half is selvage.h.
 *
 * A cache is a pool of pages (pool.h) and a tree that knows what is in them (tree.h). A session
 * that goes on from a place in the tree takes what is known of the tokens it is to read: whole
 * blocks are the tree's own pages, of which it becomes one more holder; of the block after them the
 * common beginning is copied. That is exact, as the keys and values of a position depend on the
 * tokens up to it and on the session's adapters alone: sessions with other adapters, scales or
 * order have spaces of the tree by themselves (tree.h), and so have those whose caller wants it. A
 * layer with a window needs only pages that a token there still sees.
 *
 * A session puts a block into the tree as soon as it is full, and what remains when an answer ends,
 * it goes back, or is closed. A block that the tree has already is replaced by the tree's, which
 * holds the same bits.
 *
 * Threads: any, for sessions of different threads; each session has one at a time.
 */
#ifndef SLV_ENGINE_PREFIX_H
#define SLV_ENGINE_PREFIX_H

#include "engine/adapter.h"
#include "engine/kv.h"
#include "engine/model.h"
#include "engine/tree.h"

struct slv_prefix_cache {
    const struct slv_model *m;
    enum slv_kv_kind kind;
    struct slv_pool *pool;
    struct slv_tree *tree;
    uint32_t window_blocks; /* pages that layers with a window see at most */
    uint64_t bytes;         /* pages and tables */
    uint64_t hits, misses, reused;
    uint32_t n_users, n_batch; /* sessions; those of them that count for a batch's memory */
};

/* A session's place in the tree. */
struct slv_prefix_user {
    struct slv_prefix_cache *cache; /* NULL: it has none */
    struct slv_tree_node *at; /* of the last block that is in the tree; NULL: nothing is shared */
};

/* While there is nothing else to do, again and again while it returns true: the next sessions find
 * memory for their first pages, and for as many as were taken lately. */
bool slv_prefix_warm(struct slv_prefix_cache *c);

/* Begins and ends using the cache, NULL: none, for a session of n_ctx positions whose pages are of
 * its pool. It shares with those of the same space and the same adapters. */
void slv_prefix_join(struct slv_prefix_user *u, struct slv_prefix_cache *c, uint32_t n_ctx,
                     uint64_t space, const struct slv_adapter_set *adapters);
void slv_prefix_part(struct slv_prefix_user *u);

/* history[0..n) are to be the session's tokens, of which kv has n_pos: takes what the tree knows of
 * the rest but the last one, and moves kv->n_pos over it. Returns how many. No heap allocation. */
uint32_t slv_prefix_take(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history,
                         uint32_t n);

/* Blocks that have become full go into the tree. No heap allocation. */
void slv_prefix_grow(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history);

/* So does the rest, as a leaf. */
void slv_prefix_give(struct slv_prefix_user *u, struct slv_kv *kv, const int32_t *history);

/* Gets pages that a window lost from the tree, so that slv_kv_rewind to n can be. False: they are
 * not there, and nothing changed. */
bool slv_prefix_recover(struct slv_prefix_user *u, struct slv_kv *kv, uint32_t n);

/* kv went back to n positions. */
void slv_prefix_back(struct slv_prefix_user *u, uint32_t n);

/* The page of a block before the session's position, its own or the tree's; NULL: it is gone. The
 * pool's lock is held. */
unsigned char *slv_prefix_page(const struct slv_prefix_user *u, const struct slv_kv *kv,
                               enum slv_page_class c, uint32_t block);

#endif
