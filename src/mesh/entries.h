/* entries.h: what lives in a space: entries in the order of their keys, found by place and by dot.
 *
 * An entry is (key, path in the key's value, dot, data). A tree of nodes that know how many entries
 * are below them and the sum of their fingerprints answers in logarithmic time what a range holds:
 * two nodes that hold the same have equal sums, and halve a range where they differ (Meyer,
 * Range-Based Set Reconciliation, 2022). Sums of hashes modulo 2^128, not exclusive or, of which
 * anybody can write down a set that comes to any value.
 *
 *     order: key, path (bytes, a shorter one first), writer, number
 *     node:  up to ORDER entries, or children with their first entry, count and sum
 *     dots:  a table of entries by dot, open addressing, never more than two thirds full
 *
 * Invariants: the tree and the table have the same entries, no dot twice; a child's count, sum and
 * first entry are right between calls.
 * Threads: one.
 */
#ifndef SLV_MESH_ENTRIES_H
#define SLV_MESH_ENTRIES_H

#include "mesh/dots.h"

#define SLV_KEY_MAX 1024u
#define SLV_PATH_MAX 4096u
#define SLV_DATA_MAX ((size_t)512 << 10)

/* A key's bytes, once for all of its entries. */
struct slv_name {
    uint32_t refs, n;
    char bytes[];
};

struct slv_entry {
    struct slv_name *key;
    struct slv_dot dot;
    uint32_t n_data;
    uint16_t n_path;
    char bytes[]; /* path, then data */
};

/* A fingerprint, and a sum of them. */
struct slv_print {
    uint64_t lo, hi;
};

/* A place in the order: before all entries that are not before it. Path and dot may be left out. */
struct slv_place {
    struct slv_str key, path;
    struct slv_dot dot;
};

struct slv_entries;

int slv_entries_open(struct slv_entries **ret) SLV_MUST_USE;
void slv_entries_close(struct slv_entries *t);

/* Copies an entry in. SLV_E_NOMEM; SLV_E_LIMIT: longer than it may be; SLV_E_USAGE: the dot is
 * there. *ret (may be NULL) is the tree's, good until it is removed. */
int slv_entries_put(struct slv_entries *t, const struct slv_place *at, struct slv_str data,
                    const struct slv_entry **ret) SLV_MUST_USE;

/* False: there is none. */
bool slv_entries_remove(struct slv_entries *t, struct slv_dot dot);

const struct slv_entry *slv_entries_find(const struct slv_entries *t, struct slv_dot dot);

static inline struct slv_str slv_entry_key(const struct slv_entry *e) {
    return (struct slv_str){e->key->bytes, e->key->n};
}
static inline struct slv_str slv_entry_path(const struct slv_entry *e) {
    return (struct slv_str){e->bytes, e->n_path};
}
static inline struct slv_str slv_entry_data(const struct slv_entry *e) {
    return (struct slv_str){e->bytes + e->n_path, e->n_data};
}

static inline struct slv_place slv_entry_place(const struct slv_entry *e) {
    return (struct slv_place){slv_entry_key(e), slv_entry_path(e), e->dot};
}

/* Below, at or above 0, as a is before, at or behind b. */
int slv_place_compare(const struct slv_place *a, const struct slv_place *b);

/* On the wire: key, path, writer (8), number. */
void slv_place_write(const struct slv_place *p, struct slv_buf *b);
struct slv_place slv_place_read(struct slv_reader *r);

uint64_t slv_entries_count(const struct slv_entries *t);

/* How many entries are before a place; the entry with so many before it, NULL: there are not so
 * many. */
uint64_t slv_entries_rank(const struct slv_entries *t, const struct slv_place *at);
/* How many are in keys up to and with this one. */
uint64_t slv_entries_rank_behind(const struct slv_entries *t, struct slv_str key);
const struct slv_entry *slv_entries_at(const struct slv_entries *t, uint64_t rank);

/* The sum of the fingerprints of entries [from, to), counted. */
struct slv_print slv_entries_sum(const struct slv_entries *t, uint64_t from, uint64_t to);

/* The fingerprint of one: 16 bytes of BLAKE2b of its parts, each behind its length. */
struct slv_print slv_entry_print(const struct slv_entry *e);
struct slv_print slv_place_print(const struct slv_place *at, struct slv_str data);

/* Bytes of memory that it takes, about. */
size_t slv_entries_bytes(const struct slv_entries *t);

#endif
