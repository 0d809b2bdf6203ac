/* tree.h: which beginnings of text there are keys and values of, by their tokens.
 *
 * A node stands for one block of 64 tokens behind all blocks on the way to it, and holds the pages
 * that a cache (kv.h) has for it; a leaf may have fewer tokens. The tokens are compared in full; a
 * hash only finds them among a node's children.
 *
 *     root | "You are a helpful ..." | "... What is a fish?"      pages 0, 1
 *                                    | "... What is a" (13)       pages 0, 1'
 *
 * There are two roots, of trees that share nothing, for models whose angles depend on how long the
 * context may get. Below a root there may be spaces: nodes without pages whose 64 numbers are no
 * tokens but say for whom they are, and below which a tree begins as below a root. A page of the
 * layers with a window may be missing: it serves only what goes on near it. What is used by nobody
 * is dropped when the pool wants a page (slv_tree_evict), least recently used first: a leaf with
 * all it has, or one page of the layers with a window.
 *
 * Invariants: a node of fewer than 64 tokens has no child and no user. A page in a node counts the
 * node as one holder. All nodes are there from the beginning.
 * Threads: one at a time; the pool's lock is held.
 * Sources: block tables and copy on write: Kwon et al. 2023 (PagedAttention); a tree of prefixes
 * with least recently used leaves: Zheng et al. 2024 (SGLang).
 */
#ifndef SLV_ENGINE_TREE_H
#define SLV_ENGINE_TREE_H

#include "engine/pool.h"
#include "kernel/kernels.h"

struct slv_tree_link {
    struct slv_tree_link *older, *newer;
};

struct slv_tree_node {
    struct slv_tree_link used, window_used; /* places by last use; window: while it has that page */
    struct slv_tree_node *parent, *child, *next; /* next: of the parent's children, or free */
    struct slv_tree_node *same_hash;
    uint64_t when, window_when;
    uint32_t depth; /* blocks up to and with this one; a root's or a space's is 0 */
    uint32_t n_tok;
    uint32_t users;             /* sessions that go on behind it */
    uint32_t pins, window_pins; /* of the node; of its page of layers with a window */
    unsigned char *page[SLV_PAGE_CLASSES];
    int32_t tok[SLV_KV_BLOCK];
};

struct slv_tree {
    struct slv_pool *pool;
    struct slv_tree_node *nodes; /* [n_nodes], the roots first */
    uint32_t n_nodes, n_taken;
    struct slv_tree_node *free;
    struct slv_tree_node **hash; /* [mask + 1] */
    size_t mask;
    struct slv_tree_link used, window_used; /* newer: the oldest; older: the newest */
    uint64_t now, evictions;
};

/* A tree over the pool, which it sets to evict from it. SLV_E_NOMEM. */
int slv_tree_open(struct slv_pool *pool, struct slv_tree **ret) SLV_MUST_USE;
/* Gives back all pages. No session uses it. NULL is taken. */
void slv_tree_close(struct slv_tree *t);

/* Bytes of a tree over such a pool. */
size_t slv_tree_bytes(const uint32_t n[SLV_PAGE_CLASSES]);

#define SLV_TREE_ROOTS 2u
struct slv_tree_node *slv_tree_root(struct slv_tree *t, bool second);

/* The space of a root with these 64 numbers, which is made if it is not there; the first is below
 * 0, as no token is. NULL: there are too many nodes in use. It goes when it has neither users nor
 * children. */
struct slv_tree_node *slv_tree_space(struct slv_tree *t, struct slv_tree_node *root,
                                     const int32_t number[SLV_KV_BLOCK]);

/* The child of n with these 64 tokens, or NULL. */
struct slv_tree_node *slv_tree_child(const struct slv_tree *t, const struct slv_tree_node *n,
                                     const int32_t tok[SLV_KV_BLOCK]);

/* The child of n that begins with the most of tok[0..most), and how many: NULL and 0 if none. */
struct slv_tree_node *slv_tree_begins(const struct slv_tree_node *n, const int32_t *tok,
                                      uint32_t most, uint32_t *ret);

/* A new child of n with tok[0..n_tok) and these pages (NULL: it has none), which get one more
 * holder. Leaves that say nothing more are dropped. NULL: there are too many nodes in use. */
struct slv_tree_node *slv_tree_add(struct slv_tree *t, struct slv_tree_node *n, const int32_t *tok,
                                   uint32_t n_tok, unsigned char *const page[SLV_PAGE_CLASSES]);

/* Puts a page into a node in the place of what it has. */
void slv_tree_put(struct slv_tree *t, struct slv_tree_node *n, enum slv_page_class c,
                  unsigned char *page);

/* The node, and those before it, were used now; of their pages of layers with a window the last
 * n_window. */
void slv_tree_touch(struct slv_tree *t, struct slv_tree_node *n, uint32_t n_window);

/* Drops the least recently used of what nobody uses. False: there is nothing. */
bool slv_tree_evict(struct slv_tree *t);

#endif
