/* tok_trie.c: see tok_trie.h. */
#include "format/tok_trie.h"
#include "base/mem.h"

#define MAX_NODES ((size_t)1 << 24) /* a million pieces of T5's or BERT's kind make half of that */
#define MAX_PROBES 512u             /* at load 1/2 a run this long has no honest cause */

void slv_trie_fini(struct slv_trie *t) {
    slv_mem_free(t->edges);
    slv_mem_free(t->value);
    *t = (struct slv_trie){0};
}

/* The slot of a key, or the free one it belongs in; NULL when there is none near. */
static struct slv_trie_edge *slot(struct slv_trie_edge *edges, size_t cap, uint64_t key) {
    size_t i = slv_trie_home(key) & (cap - 1);
    for (unsigned probes = 0; probes < MAX_PROBES; probes++) {
        if (edges[i].key == key || !edges[i].key) return edges + i;
        i = (i + 1) & (cap - 1);
    }
    return NULL;
}

static int grow_edges(struct slv_trie *t) {
    if (t->n_edges * 2 < t->cap) return 0;
    size_t cap = t->cap ? t->cap * 2 : 64;
    struct slv_trie_edge *edges = slv_mem_calloc(cap, sizeof *edges);
    if (!edges) return SLV_E_NOMEM;
    for (size_t i = 0; i < t->cap; i++) {
        if (!t->edges[i].key) continue;
        struct slv_trie_edge *e = slot(edges, cap, t->edges[i].key);
        if (!e) {
            slv_mem_free(edges);
            return SLV_E_LIMIT;
        }
        *e = t->edges[i];
    }
    slv_mem_free(t->edges);
    t->edges = edges;
    t->cap = cap;
    return 0;
}

static int add_node(struct slv_trie *t, uint32_t *ret) {
    int rc =
        slv_mem_grow((void **)&t->value, t->n_nodes, &t->node_cap, sizeof *t->value, MAX_NODES);
    if (rc) return rc;
    *ret = (uint32_t)t->n_nodes;
    t->value[t->n_nodes++] = -1;
    return 0;
}

int slv_trie_add(struct slv_trie *t, const char *s, size_t n, int32_t value) {
    uint32_t node = 0;
    int rc = t->n_nodes ? 0 : add_node(t, &node);
    for (size_t i = 0; !rc && i < n; i++) {
        uint64_t key = ((uint64_t)node << 8 | (unsigned char)s[i]) + 1;
        if ((rc = grow_edges(t))) break;
        struct slv_trie_edge *e = slot(t->edges, t->cap, key);
        if (!e) return SLV_E_LIMIT;
        if (!e->key) {
            uint32_t child;
            if ((rc = add_node(t, &child))) break;
            *e = (struct slv_trie_edge){.key = key, .child = child};
            t->n_edges++;
        }
        node = e->child;
    }
    if (!rc) t->value[node] = value;
    return rc;
}

int32_t slv_trie_longest(const struct slv_trie *t, const char *s, size_t n, size_t *ret_len) {
    int32_t best = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = slv_trie_step(t, node, (unsigned char)s[i]);
        if (!node) break;
        if (t->value[node] < 0) continue;
        best = t->value[node];
        *ret_len = i + 1;
    }
    return best;
}
