/* tree.c: see tree.h. */
#include "engine/tree.h"
#include "base/mem.h"
#include "base/sum.h"

#include <string.h>

#define BLOCK SLV_KV_BLOCK

/* --- lists by use ----------------------------------------------------------------------------- */

static void list_init(struct slv_tree_link *l) { l->older = l->newer = l; }

static void list_remove(struct slv_tree_link *l) {
    l->older->newer = l->newer;
    l->newer->older = l->older;
    list_init(l);
}

/* Just before `next` in age: one step older than it. The list's head is newer than all. */
static void list_add(struct slv_tree_link *l, struct slv_tree_link *next) {
    l->newer = next;
    l->older = next->older;
    next->older->newer = l;
    next->older = l;
}

static struct slv_tree_node *of_used(struct slv_tree_link *l) {
    return (struct slv_tree_node *)(void *)((char *)l - offsetof(struct slv_tree_node, used));
}

static struct slv_tree_node *of_window(struct slv_tree_link *l) {
    return (struct slv_tree_node *)(void *)((char *)l -
                                            offsetof(struct slv_tree_node, window_used));
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* One for each page, and a space for each session that there can be: it has a page. */
static uint32_t nodes_for(const uint32_t n[SLV_PAGE_CLASSES]) {
    const uint32_t full = n[SLV_PAGE_FULL], windowed = n[SLV_PAGE_WINDOWED];
    return full + windowed + (full > windowed ? full : windowed) + SLV_TREE_ROOTS;
}

static size_t hash_size(uint32_t n_nodes) {
    size_t n = 16;
    while (n < n_nodes)
        n *= 2;
    return n;
}

size_t slv_tree_bytes(const uint32_t n[SLV_PAGE_CLASSES]) {
    return sizeof(struct slv_tree) + nodes_for(n) * sizeof(struct slv_tree_node) +
           hash_size(nodes_for(n)) * sizeof(struct slv_tree_node *);
}

static bool evict(void *tree) { return slv_tree_evict(tree); }

int slv_tree_open(struct slv_pool *pool, struct slv_tree **ret) {
    const uint32_t n[SLV_PAGE_CLASSES] = {pool->cls[SLV_PAGE_FULL].n,
                                          pool->cls[SLV_PAGE_WINDOWED].n};
    struct slv_tree *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return SLV_E_NOMEM;
    t->pool = pool;
    t->n_nodes = nodes_for(n);
    t->mask = hash_size(t->n_nodes) - 1;
    t->nodes = slv_mem_calloc(t->n_nodes, sizeof *t->nodes);
    t->hash = slv_mem_calloc(t->mask + 1, sizeof(struct slv_tree_node *));
    list_init(&t->used);
    list_init(&t->window_used);
    if (!t->nodes || !t->hash) {
        slv_tree_close(t);
        return SLV_E_NOMEM;
    }
    t->n_taken = SLV_TREE_ROOTS;
    pool->evict = evict;
    pool->evict_ctx = t;
    *ret = t;
    return 0;
}

struct slv_tree_node *slv_tree_root(struct slv_tree *t, bool second) {
    return t->nodes + second;
}

static struct slv_tree_node **bucket(const struct slv_tree *t, const struct slv_tree_node *parent,
                                     const int32_t *tok) {
    uint64_t place = (uint64_t)(parent - t->nodes);
    return &t->hash[slv_sum64(tok, BLOCK * sizeof *tok, place) & t->mask];
}

struct slv_tree_node *slv_tree_child(const struct slv_tree *t, const struct slv_tree_node *n,
                                     const int32_t tok[SLV_KV_BLOCK]) {
    struct slv_tree_node *c = *bucket(t, n, tok);
    while (c && (c->parent != n || memcmp(c->tok, tok, sizeof c->tok) != 0))
        c = c->same_hash;
    return c;
}

static uint32_t common(const int32_t *a, uint32_t n_a, const int32_t *b, uint32_t n_b) {
    uint32_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

struct slv_tree_node *slv_tree_begins(const struct slv_tree_node *n, const int32_t *tok,
                                      uint32_t most, uint32_t *ret) {
    struct slv_tree_node *best = NULL;
    *ret = 0;
    for (struct slv_tree_node *c = n->child; c; c = c->next) {
        uint32_t k = common(c->tok, c->n_tok, tok, most);
        if (k <= *ret) continue;
        best = c;
        *ret = k;
    }
    return best;
}

static void drop_page(struct slv_tree *t, struct slv_tree_node *n, enum slv_page_class c) {
    if (!n->page[c]) return;
    slv_pool_drop(t->pool, c, n->page[c]);
    n->page[c] = NULL;
    if (c == SLV_PAGE_WINDOWED) list_remove(&n->window_used);
}

/* A leaf goes. */
static void remove_node(struct slv_tree *t, struct slv_tree_node *n) {
    struct slv_tree_node **at = &n->parent->child;
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    if (n->n_tok == BLOCK) {
        at = bucket(t, n->parent, n->tok);
        while (*at != n)
            at = &(*at)->same_hash;
        *at = n->same_hash;
    }
    for (int c = 0; c < SLV_PAGE_CLASSES; c++)
        drop_page(t, n, (enum slv_page_class)c);
    list_remove(&n->used);
    *n = (struct slv_tree_node){.next = t->free};
    t->free = n;
}

void slv_tree_close(struct slv_tree *t) {
    if (!t) return;
    while (t->used.newer != &t->used) { /* children are removed before their parents */
        struct slv_tree_node *n = of_used(t->used.newer);
        while (n->child)
            n = n->child;
        remove_node(t, n);
    }
    t->pool->evict = NULL;
    slv_mem_free(t->nodes);
    slv_mem_free((void *)t->hash);
    slv_mem_free(t);
}

static struct slv_tree_node *new_node(struct slv_tree *t) {
    while (!t->free && t->n_taken == t->n_nodes)
        if (!slv_tree_evict(t)) return NULL;
    struct slv_tree_node *n = t->free;
    if (!n) n = &t->nodes[t->n_taken++];
    else t->free = n->next;
    *n = (struct slv_tree_node){.parent = NULL};
    list_init(&n->used);
    list_init(&n->window_used);
    return n;
}

/* Shorter leaves that the new child begins with. */
static void drop_shorter(struct slv_tree *t, const struct slv_tree_node *by) {
    struct slv_tree_node *c = by->parent->child, *next;
    for (; c; c = next) {
        next = c->next;
        if (c == by || c->n_tok > by->n_tok || c->n_tok == BLOCK) continue;
        if (common(c->tok, c->n_tok, by->tok, by->n_tok) == c->n_tok) remove_node(t, c);
    }
}

struct slv_tree_node *slv_tree_add(struct slv_tree *t, struct slv_tree_node *n, const int32_t *tok,
                                   uint32_t n_tok, unsigned char *const page[SLV_PAGE_CLASSES]) {
    n->users++; /* it stays while room is made */
    struct slv_tree_node *c = new_node(t);
    n->users--;
    if (!c) return NULL;
    c->parent = n;
    c->depth = n->depth + 1;
    c->n_tok = n_tok;
    memcpy(c->tok, tok, n_tok * sizeof *tok);
    c->next = n->child;
    n->child = c;
    if (n_tok == BLOCK) {
        struct slv_tree_node **at = bucket(t, n, c->tok);
        c->same_hash = *at;
        *at = c;
    }
    c->when = ++t->now;
    list_add(&c->used, &t->used);
    for (int k = 0; k < SLV_PAGE_CLASSES; k++)
        if (page[k]) slv_tree_put(t, c, (enum slv_page_class)k, page[k]);
    drop_shorter(t, c);
    return c;
}

struct slv_tree_node *slv_tree_space(struct slv_tree *t, struct slv_tree_node *root,
                                     const int32_t number[BLOCK]) {
    unsigned char *const none[SLV_PAGE_CLASSES] = {NULL};
    struct slv_tree_node *n = slv_tree_child(t, root, number);
    if (!n) n = slv_tree_add(t, root, number, BLOCK, none);
    if (n) n->depth = 0;
    return n;
}

void slv_tree_put(struct slv_tree *t, struct slv_tree_node *n, enum slv_page_class c,
                  unsigned char *page) {
    slv_pool_hold(t->pool, c, page);
    drop_page(t, n, c);
    n->page[c] = page;
    if (c != SLV_PAGE_WINDOWED) return;
    n->window_when = ++t->now;
    list_add(&n->window_used, &t->window_used);
}

void slv_tree_touch(struct slv_tree *t, struct slv_tree_node *n, uint32_t n_window) {
    struct slv_tree_link *newer = &t->window_used; /* the last block is worth most */
    t->now++;
    for (; n->parent; n = n->parent) {
        list_remove(&n->used);
        list_add(&n->used, &t->used);
        n->when = t->now;
        if (!n_window) continue;
        n_window--;
        if (!n->page[SLV_PAGE_WINDOWED]) continue;
        list_remove(&n->window_used);
        list_add(&n->window_used, newer);
        n->window_when = t->now;
        newer = &n->window_used;
    }
}

/* --- what goes -------------------------------------------------------------------------------- */

static bool only_here(const struct slv_tree *t, const struct slv_tree_node *n,
                      enum slv_page_class c) {
    return !n->page[c] || slv_pool_holders(t->pool, c, n->page[c]) == 1;
}

static struct slv_tree_node *oldest_leaf(struct slv_tree *t) {
    for (struct slv_tree_link *l = t->used.newer; l != &t->used; l = l->newer) {
        struct slv_tree_node *n = of_used(l);
        if (!n->child && !n->users && !n->pins && only_here(t, n, SLV_PAGE_FULL) &&
            only_here(t, n, SLV_PAGE_WINDOWED))
            return n;
    }
    return NULL;
}

static struct slv_tree_node *oldest_window(struct slv_tree *t) {
    for (struct slv_tree_link *l = t->window_used.newer; l != &t->window_used; l = l->newer) {
        struct slv_tree_node *n = of_window(l);
        if (!n->window_pins && only_here(t, n, SLV_PAGE_WINDOWED)) return n;
    }
    return NULL;
}

bool slv_tree_evict(struct slv_tree *t) {
    struct slv_tree_node *leaf = oldest_leaf(t), *window = oldest_window(t);
    if (!leaf && !window) return false;
    t->evictions++;
    if (window && (!leaf || window->window_when < leaf->when))
        drop_page(t, window, SLV_PAGE_WINDOWED);
    else remove_node(t, leaf);
    return true;
}
