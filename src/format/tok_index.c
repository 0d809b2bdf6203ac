/* tok_index.c: pieces by their bytes and merges by their two sides, each in one open-addressing
 * table at half load or less.
 *
 * The hash is not keyed, since two loads of a file must not differ. A file made to collide is
 * caught by a bound on probes instead: at this load an honest run of that length does not occur. */
#include "base/mem.h"
#include "format/tok_int.h"

#include <string.h>

#define MAX_PROBES 512u /* at 2^23 slots the longest honest run is about 100 */
#define MIX 0x9e3779b97f4a7c15u

static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = n * MIX, v;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&v, s, 8);
        h = (h ^ v) * MIX;
        h ^= h >> 32;
    }
    v = 0;
    memcpy(&v, s, n);
    h = (h ^ v) * MIX;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
}

static size_t table_size(size_t n) {
    size_t cap = 64;
    while (cap < 2 * n)
        cap *= 2;
    return cap;
}

/* A table of zeros. Written, not asked for as zeros: of those the system shows one page until it is
 * written to, and as each slot is read first, every page would be mapped twice, the second time by
 * interrupting all other threads. */
static void *new_table(size_t cap, size_t slot_bytes) {
    size_t n;
    void *p = slv_size_mul(cap, slot_bytes, &n) ? slv_mem_alloc(n) : NULL;
    return p ? memset(p, 0, n) : NULL;
}

/* The slot of s[0..n), or the free one where it belongs; NULL after too many probes. */
static struct slv_tok_slot *find_slot(const struct slv_tokenizer *t, const char *s, size_t n) {
    uint64_t h = hash_bytes(s, n);
    uint32_t tag = (uint32_t)(h >> 32);
    size_t i = (size_t)h & (t->slot_cap - 1);
    for (unsigned probes = 0; probes < MAX_PROBES; probes++) {
        struct slv_tok_slot *p = t->slot + i;
        if (!p->id1) {
            p->tag = tag;
            return p;
        }
        if (p->tag == tag) {
            const struct slv_str *piece = t->piece + (p->id1 - 1);
            if (piece->n == n && !memcmp(piece->p, s, n)) return p;
        }
        i = (i + 1) & (t->slot_cap - 1);
    }
    return NULL;
}

/* A piece's home is nowhere near the one before: memory is asked for some pieces early. */
#define AHEAD 16

static void ask_for_slot(const struct slv_tokenizer *t, uint32_t id) {
    if (id >= t->n) return;
    size_t home = (size_t)hash_bytes(t->piece[id].p, t->piece[id].n) & (t->slot_cap - 1);
    __builtin_prefetch(t->slot + home, 1);
}

/* Of two tokens with the same bytes the later one is found, as in the loaders of others. */
int slv_tok_index_build(struct slv_tokenizer *t, struct slv_err *err) {
    t->slot_cap = table_size(t->n);
    t->slot = new_table(t->slot_cap, sizeof *t->slot);
    if (!t->slot) return slv_err_set(err, SLV_E_NOMEM, "out of memory for the vocabulary's index");
    for (uint32_t id = 0; id < t->n; id++) {
        ask_for_slot(t, id + AHEAD);
        if (!t->piece[id].n) continue;
        struct slv_tok_slot *p = find_slot(t, t->piece[id].p, t->piece[id].n);
        if (!p)
            return slv_err_set(err, SLV_E_FORMAT,
                               "tokenizer.ggml.tokens[%u]: the pieces collide beyond measure", id);
        p->id1 = id + 1;
    }
    return 0;
}

int32_t slv_tokenizer_find(const struct slv_tokenizer *t, const char *piece, size_t n) {
    uint64_t h = hash_bytes(piece, n);
    uint32_t tag = (uint32_t)(h >> 32);
    if (!n || n > t->max_piece) return -1;
    for (size_t i = (size_t)h & (t->slot_cap - 1);; i = (i + 1) & (t->slot_cap - 1)) {
        const struct slv_tok_slot *p = t->slot + i;
        if (!p->id1) return -1;
        if (p->tag != tag) continue;
        const struct slv_str *found = t->piece + (p->id1 - 1);
        if (found->n == n && !memcmp(found->p, piece, n)) return (int32_t)(p->id1 - 1);
    }
}

/* --- merges ----------------------------------------------------------------------------------- */

static size_t merge_home(const struct slv_tokenizer *t, uint64_t key) {
    uint64_t h = key * MIX;
    h = (h ^ h >> 32) * 0xbf58476d1ce4e5b9u;
    return (size_t)(h ^ h >> 32) & (t->merge_cap - 1);
}

const struct slv_tok_merge_row *slv_tok_merge_find(const struct slv_tokenizer *t, int32_t left,
                                                   int32_t right) {
    if (left < 0 || right < 0) return NULL;
    uint64_t key = ((uint64_t)left << 32 | (uint32_t)right) + 1;
    for (size_t i = merge_home(t, key);; i = (i + 1) & (t->merge_cap - 1)) {
        if (t->merge[i].key == key) return t->merge + i;
        if (!t->merge[i].key) return NULL;
    }
}

/* "left right": the first space that is not the first byte separates. */
static bool cut_merge(struct slv_str row, struct slv_str *ret_left, struct slv_str *ret_right) {
    const char *sp = row.n > 2 ? memchr(row.p + 1, ' ', row.n - 1) : NULL;
    if (!sp || sp + 1 == row.p + row.n) return false;
    *ret_left = (struct slv_str){row.p, (size_t)(sp - row.p)};
    *ret_right = (struct slv_str){sp + 1, row.n - ret_left->n - 1};
    return true;
}

/* Reads row i: the ids of both sides and of what they make. */
static int read_merge(const struct slv_tokenizer *t, const struct slv_gguf_array *rows, size_t i,
                      struct slv_buf *joined, uint64_t *ret_key, int32_t *ret_id,
                      struct slv_err *err) {
    static const char key[] = "tokenizer.ggml.merges";
    struct slv_str row, a, b;
    if (!slv_gguf_arr_str(rows, i, &row) || !cut_merge(row, &a, &b))
        return slv_err_set(err, SLV_E_FORMAT, "%s[%zu] is not two pieces and a space", key, i);
    int32_t left = slv_tokenizer_find(t, a.p, a.n), right = slv_tokenizer_find(t, b.p, b.n);
    slv_buf_clear(joined);
    slv_buf_add(joined, a.p, a.n);
    if (slv_buf_add(joined, b.p, b.n))
        return slv_err_set(err, joined->status, "%s[%zu]: %s", key, i,
                           slv_strerror(joined->status));
    *ret_id = slv_tokenizer_find(t, joined->data, joined->len);
    if (left < 0 || right < 0 || *ret_id < 0)
        return slv_err_set(err, SLV_E_FORMAT, "%s[%zu]: '%.*s' is not in the vocabulary", key, i,
                           (int)(row.n < 80 ? row.n : 80), row.p);
    *ret_key = ((uint64_t)left << 32 | (uint32_t)right) + 1;
    return 0;
}

/* The first row of a pair counts. A merge into a control token is left out: text stays text. */
static int put_merge(struct slv_tokenizer *t, uint64_t key, size_t rank, int32_t id) {
    if (!(t->attr[id] & SLV_TOK_TEXT)) return 0;
    size_t i = merge_home(t, key);
    for (unsigned probes = 0; probes < MAX_PROBES; probes++) {
        if (t->merge[i].key == key) return 0;
        if (!t->merge[i].key) {
            t->merge[i] = (struct slv_tok_merge_row){key, (uint32_t)rank, id};
            return 0;
        }
        i = (i + 1) & (t->merge_cap - 1);
    }
    return SLV_E_FORMAT;
}

int slv_tok_merges_load(struct slv_tokenizer *t, const struct slv_gguf *g, struct slv_err *err) {
    struct slv_gguf_array rows;
    if (!slv_gguf_arr(g, "tokenizer.ggml.merges", &rows) || rows.kind != SLV_GGUF_STR)
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.merges is not an array of strings");
    const size_t n = rows.n;
    if (n > 4 * (size_t)SLV_TOK_MAX_PIECES)
        return slv_err_set(err, SLV_E_FORMAT, "tokenizer.ggml.merges: %zu are too many", n);
    t->merge_cap = table_size(n);
    t->merge = new_table(t->merge_cap, sizeof *t->merge);
    if (!t->merge) return slv_err_set(err, SLV_E_NOMEM, "out of memory for the merges");
    struct slv_buf joined;
    slv_buf_init(&joined, 2 * SLV_TOK_MAX_PIECE);
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        uint64_t key = 0;
        int32_t id = 0;
        rc = read_merge(t, &rows, i, &joined, &key, &id, err);
        if (!rc && put_merge(t, key, i, id))
            rc = slv_err_set(err, SLV_E_FORMAT,
                             "tokenizer.ggml.merges[%zu]: the merges collide beyond measure", i);
    }
    slv_buf_fini(&joined);
    return rc;
}
