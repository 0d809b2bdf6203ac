/* tok_merge.c: the merge loop of byte-level BPE and of SentencePiece's BPE.
 *
 * Both do the same thing with different scores: of all neighbours that may merge, merge the best
 * pair, the leftmost among equals, until none may. Stretches are a doubly linked list in an array;
 * candidates are a binary heap. An entry is not taken out when its stretches change; it is known
 * as stale when it comes up, because a stretch only grows: the pair is as it was if the left one
 * lives and both together are as long as they were.
 *
 * Each merge adds at most two candidates and removes a stretch, so for n stretches the heap sees
 * fewer than 3n entries: O(n log n) time, O(n) memory. */
#include "base/mem.h"
#include "format/tok_int.h"

int slv_tok_sym_add(struct slv_tok_work *w, size_t at, size_t len, int32_t id) {
    int rc = slv_mem_grow((void **)&w->sym, w->n_sym, &w->sym_cap, sizeof *w->sym, INT32_MAX);
    if (rc) return rc;
    int32_t i = (int32_t)w->n_sym;
    if (i > 0) w->sym[i - 1].next = i;
    w->sym[i] = (struct slv_sym){(uint32_t)at, (uint32_t)len, i - 1, -1, id};
    w->n_sym++;
    return 0;
}

static int push(struct slv_tok_work *w, struct slv_tok_pair item) {
    int rc = slv_mem_grow((void **)&w->heap, w->n_heap, &w->heap_cap, sizeof *w->heap, SIZE_MAX);
    if (rc) return rc;
    size_t i = w->n_heap++;
    while (i > 0) {
        size_t up = (i - 1) / 2;
        if (w->heap[up].key <= item.key) break;
        w->heap[i] = w->heap[up];
        i = up;
    }
    w->heap[i] = item;
    return 0;
}

static struct slv_tok_pair pop(struct slv_tok_work *w) {
    struct slv_tok_pair top = w->heap[0], item = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t down = 2 * i + 1;
        if (down >= w->n_heap) break;
        if (down + 1 < w->n_heap && w->heap[down + 1].key < w->heap[down].key) down++;
        if (w->heap[down].key >= item.key) break;
        w->heap[i] = w->heap[down];
        i = down;
    }
    if (w->n_heap) w->heap[i] = item;
    return top;
}

static int consider(struct slv_tok_work *w, const char *s, slv_tok_pair_fn pair, int32_t left,
                    int32_t right) {
    uint32_t rank;
    int32_t id;
    if (left < 0 || right < 0) return 0;
    const struct slv_sym *a = w->sym + left, *b = w->sym + right;
    if (!pair(w->t, s, a, b, &rank, &id)) return 0;
    return push(w,
                (struct slv_tok_pair){(uint64_t)rank << 32 | (uint32_t)left, a->len + b->len, id});
}

int slv_tok_merge_all(struct slv_tok_work *w, const char *s, slv_tok_pair_fn pair) {
    int rc = 0;
    w->n_heap = 0;
    for (size_t i = 1; !rc && i < w->n_sym; i++)
        rc = consider(w, s, pair, (int32_t)i - 1, (int32_t)i);
    while (!rc && w->n_heap) {
        struct slv_tok_pair best = pop(w);
        int32_t left = (int32_t)(uint32_t)best.key;
        struct slv_sym *a = w->sym + left;
        if (!a->len || a->next < 0) continue;
        struct slv_sym *b = w->sym + a->next;
        if (a->len + b->len != best.len) continue;
        a->len = best.len;
        a->id = best.id;
        b->len = 0;
        a->next = b->next;
        if (a->next >= 0) w->sym[a->next].prev = left;
        rc = consider(w, s, pair, a->prev, left);
        if (!rc) rc = consider(w, s, pair, left, a->next);
    }
    return rc;
}
