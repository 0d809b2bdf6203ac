/* tok_trie.h: a byte trie over pieces: prefix matches from one place, one hash probe a byte.
 *
 * Node 0 is the root. Edges live in one open-addressing table keyed by (node, byte), so building
 * is linear in the bytes inserted and a step is O(1). Used for control tokens in text, for the
 * unigram lattice and for WordPiece. Threads: read-only after building. */
#ifndef SLV_FORMAT_TOK_TRIE_H
#define SLV_FORMAT_TOK_TRIE_H

#include "selvage.h"

struct slv_trie_edge {
    uint64_t key; /* (node << 8 | byte) + 1; 0: free */
    uint32_t child;
};

struct slv_trie {
    struct slv_trie_edge *edges;
    size_t n_edges, cap; /* cap: 0 or a power of two */
    int32_t *value;      /* by node; -1: no piece ends here */
    size_t n_nodes, node_cap;
};

/* Empty: all zero. */
void slv_trie_fini(struct slv_trie *t);

/* Adds s[0..n), n >= 1, with a value >= 0; a second value for the same bytes replaces the first.
 * SLV_E_NOMEM; SLV_E_LIMIT when the table degenerates, which honest pieces never cause. */
int slv_trie_add(struct slv_trie *t, const char *s, size_t n, int32_t value) SLV_MUST_USE;

/* Where a key's search begins, before it is cut to the table: the high bits of the product are the
 * well mixed ones. */
static inline size_t slv_trie_home(uint64_t key) {
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 32);
}

/* The child of `node` for byte c, or 0. */
static inline uint32_t slv_trie_step(const struct slv_trie *t, uint32_t node, unsigned char c) {
    uint64_t key = ((uint64_t)node << 8 | c) + 1;
    if (!t->cap) return 0;
    size_t mask = t->cap - 1;
    for (size_t i = slv_trie_home(key) & mask;; i = (i + 1) & mask) {
        if (t->edges[i].key == key) return t->edges[i].child;
        if (!t->edges[i].key) return 0;
    }
}

/* The value of the longest piece that begins s[0..n), *ret_len its bytes; -1 if none does. */
int32_t slv_trie_longest(const struct slv_trie *t, const char *s, size_t n, size_t *ret_len);

#endif
