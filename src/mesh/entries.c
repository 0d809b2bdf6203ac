/* entries.c: see entries.h. */
#include "mesh/entries.h"
#include "base/mem.h"

#include <sodium.h>

#define ORDER 32
#define DEPTH 16 /* 16^DEPTH entries and more, each node but the last of a level half full */

struct node;

struct child {
    struct node *at;
    const struct slv_entry *first;
    uint64_t count;
    struct slv_print sum;
};

struct node {
    uint16_t n;
    bool is_leaf;
    union {
        struct slv_entry *entry[ORDER];
        struct child child[ORDER];
    };
};

#define LEAF_BYTES (offsetof(struct node, entry) + ORDER * sizeof(struct slv_entry *))

struct slv_entries {
    struct child root; /* at NULL: empty */
    unsigned depth;    /* levels of nodes */
    /* What the next put may need, taken before anything changes: a node for each level that may
     * split, and one for a new root. */
    struct node *spare_leaf, *spare[DEPTH];
    unsigned n_spare;
    struct slv_entry **slot;
    size_t n_slots; /* a power of two, or 0 */
    size_t bytes;
};

/* --- order ------------------------------------------------------------------------------------ */

/* Of an entry and a place. */
int slv_place_compare(const struct slv_place *a, const struct slv_place *b) {
    int c = slv_str_compare(a->key, b->key);
    if (!c) c = slv_str_compare(a->path, b->path);
    return c ? c : slv_dot_compare(a->dot, b->dot);
}

void slv_place_write(const struct slv_place *p, struct slv_buf *b) {
    slv_write_bytes(b, p->key.p, p->key.n);
    slv_write_bytes(b, p->path.p, p->path.n);
    slv_write_id(b, p->dot.writer);
    slv_write_number(b, p->dot.n);
}

struct slv_place slv_place_read(struct slv_reader *r) {
    struct slv_place p;
    p.key = slv_read_bytes(r, SLV_KEY_MAX);
    p.path = slv_read_bytes(r, SLV_PATH_MAX);
    p.dot.writer = slv_read_id(r);
    p.dot.n = slv_read_number(r, SLV_DOT_MAX);
    return p;
}

static int compare(const struct slv_entry *e, const struct slv_place *p) {
    const struct slv_place at = slv_entry_place(e);
    return slv_place_compare(&at, p);
}

/* --- fingerprints ----------------------------------------------------------------------------- */

static struct slv_print plus(struct slv_print a, struct slv_print b) {
    const uint64_t lo = a.lo + b.lo;
    return (struct slv_print){lo, a.hi + b.hi + (lo < b.lo)};
}

static struct slv_print minus(struct slv_print a, struct slv_print b) {
    return (struct slv_print){a.lo - b.lo, a.hi - b.hi - (a.lo < b.lo)};
}

static void hash_number(crypto_generichash_state *h, uint64_t v) {
    unsigned char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(v >> 8 * i);
    crypto_generichash_update(h, bytes, sizeof bytes);
}

struct slv_print slv_place_print(const struct slv_place *at, struct slv_str data) {
    crypto_generichash_state h;
    unsigned char out[16];
    uint64_t half[2] = {0, 0};
    const uint64_t number[] = {at->key.n, at->path.n, data.n, at->dot.writer, at->dot.n};
    const struct slv_str part[] = {at->key, at->path, data};
    crypto_generichash_init(&h, NULL, 0, sizeof out);
    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        hash_number(&h, number[i]);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        crypto_generichash_update(&h, (const unsigned char *)part[i].p, part[i].n);
    crypto_generichash_final(&h, out, sizeof out);
    for (size_t i = 0; i < sizeof out; i++)
        half[i / 8] |= (uint64_t)out[i] << i % 8 * 8;
    return (struct slv_print){half[0], half[1]};
}

struct slv_print slv_entry_print(const struct slv_entry *e) {
    const struct slv_place at = slv_entry_place(e);
    return slv_place_print(&at, slv_entry_data(e));
}

/* --- by dot ----------------------------------------------------------------------------------- */

static size_t home(const struct slv_entries *t, struct slv_dot dot) {
    uint64_t x = (dot.writer ^ dot.n * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return (size_t)(x >> 32 ^ x) & (t->n_slots - 1);
}

/* Where the dot is, or would be put. */
static size_t slot_of(const struct slv_entries *t, struct slv_dot dot) {
    size_t i = home(t, dot);
    while (t->slot[i] && slv_dot_compare(t->slot[i]->dot, dot) != 0)
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

const struct slv_entry *slv_entries_find(const struct slv_entries *t, struct slv_dot dot) {
    return t->n_slots ? t->slot[slot_of(t, dot)] : NULL;
}

/* Room in the table for one more. */
static int widen(struct slv_entries *t) {
    const size_t old = t->n_slots;
    if ((t->root.count + 1) * 3 <= old * 2) return 0;
    struct slv_entry **from = t->slot;
    struct slv_entry **to = slv_mem_calloc(old ? 2 * old : 16, sizeof(struct slv_entry *));
    if (!to) return SLV_E_NOMEM;
    t->slot = to;
    t->n_slots = old ? 2 * old : 16;
    t->bytes += (t->n_slots - old) * sizeof *t->slot;
    for (size_t i = 0; i < old; i++)
        if (from[i]) t->slot[slot_of(t, from[i]->dot)] = from[i];
    slv_mem_free(from);
    return 0;
}

/* Empties a slot; those behind it that had to make way move up. */
static void empty_slot(struct slv_entries *t, size_t i) {
    const size_t mask = t->n_slots - 1;
    for (size_t k = (i + 1) & mask; t->slot[k]; k = (k + 1) & mask) {
        const size_t want = home(t, t->slot[k]->dot);
        if (((k - want) & mask) < ((k - i) & mask)) continue;
        t->slot[i] = t->slot[k];
        i = k;
    }
    t->slot[i] = NULL;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static size_t node_bytes(bool is_leaf) { return is_leaf ? LEAF_BYTES : sizeof(struct node); }

static struct node *new_node(struct slv_entries *t, bool is_leaf) {
    struct node *n = slv_mem_alloc(node_bytes(is_leaf));
    if (!n) return NULL;
    n->n = 0;
    n->is_leaf = is_leaf;
    t->bytes += node_bytes(is_leaf);
    return n;
}

static void free_node(struct slv_entries *t, struct node *n) {
    t->bytes -= node_bytes(n->is_leaf);
    slv_mem_free(n);
}

static const struct slv_entry *first_of(const struct node *n) {
    return n->is_leaf ? n->entry[0] : n->child[0].first;
}

/* How many entries or children of a node begin before a place. */
static unsigned before(const struct node *n, const struct slv_place *p) {
    unsigned lo = 0, hi = n->n;
    while (lo < hi) {
        const unsigned mid = (lo + hi) / 2;
        if (compare(n->is_leaf ? n->entry[mid] : n->child[mid].first, p) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* The child in which a place lies. */
static unsigned child_for(const struct node *n, const struct slv_place *p) {
    const unsigned i = before(n, p);
    return i ? i - 1 : 0;
}

static struct child summary(struct node *n) {
    struct child c = {.at = n, .first = first_of(n)};
    for (unsigned i = 0; i < n->n; i++) {
        c.count += n->is_leaf ? 1 : n->child[i].count;
        c.sum = plus(c.sum, n->is_leaf ? slv_entry_print(n->entry[i]) : n->child[i].sum);
    }
    return c;
}

static size_t item_bytes(const struct node *n) {
    return n->is_leaf ? sizeof n->entry[0] : sizeof n->child[0];
}

static void *item(struct node *n, unsigned i) {
    return n->is_leaf ? (void *)&n->entry[i] : (void *)&n->child[i];
}

static void open_gap(struct node *n, unsigned i) {
    memmove(item(n, i + 1), item(n, i), (n->n - i) * item_bytes(n));
    n->n++;
}

static void close_gap(struct node *n, unsigned i) {
    n->n--;
    memmove(item(n, i), item(n, i + 1), (n->n - i) * item_bytes(n));
}

/* The upper half of a full node goes to `to`. */
static void halve(struct node *n, struct node *to) {
    to->n = (uint16_t)(n->n - n->n / 2);
    n->n = (uint16_t)(n->n / 2);
    memcpy(item(to, 0), item(n, n->n), to->n * item_bytes(n));
}

/* --- putting in ------------------------------------------------------------------------------- */

static int take_spare(struct slv_entries *t) {
    if (!t->spare_leaf) t->spare_leaf = new_node(t, true);
    bool ok = t->spare_leaf != NULL;
    while (ok && t->n_spare < t->depth) {
        ok = (t->spare[t->n_spare] = new_node(t, false)) != NULL;
        t->n_spare += ok;
    }
    return ok ? 0 : SLV_E_NOMEM;
}

static struct node *use_spare(struct slv_entries *t, bool is_leaf) {
    struct node *n = is_leaf ? t->spare_leaf : t->spare[--t->n_spare];
    if (is_leaf) t->spare_leaf = NULL;
    return n;
}

/* A node that is full is halved before it is gone into: slot i of its parent, which has room. */
static void split_child(struct slv_entries *t, struct node *parent, unsigned i) {
    struct node *n = parent->child[i].at, *to = use_spare(t, n->is_leaf);
    halve(n, to);
    const struct slv_print all = parent->child[i].sum;
    const uint64_t count = parent->child[i].count;
    open_gap(parent, i + 1);
    parent->child[i + 1] = summary(to);
    parent->child[i].count = count - parent->child[i + 1].count;
    parent->child[i].sum = minus(all, parent->child[i + 1].sum);
}

static void put_below(struct slv_entries *t, struct child *c, struct slv_entry *e,
                      const struct slv_place *p, struct slv_print print) {
    struct node *n = c->at;
    c->count++;
    c->sum = plus(c->sum, print);
    if (n->is_leaf) {
        const unsigned i = before(n, p);
        open_gap(n, i);
        n->entry[i] = e;
    } else {
        unsigned i = child_for(n, p);
        if (n->child[i].at->n == ORDER) {
            split_child(t, n, i);
            i = child_for(n, p);
        }
        put_below(t, &n->child[i], e, p, print);
    }
    c->first = first_of(n);
}

/* A root with room: of one level more where it was full. */
static void ready_root(struct slv_entries *t) {
    if (!t->root.at) {
        t->root = (struct child){.at = use_spare(t, true)};
        t->depth = 1;
    } else if (t->root.at->n == ORDER) {
        struct node *top = use_spare(t, false);
        top->n = 1;
        top->child[0] = t->root;
        t->root.at = top;
        t->depth++;
        split_child(t, top, 0);
    }
}

static size_t entry_bytes(const struct slv_entry *e) { return sizeof *e + e->n_path + e->n_data; }

static void free_entry(struct slv_entries *t, struct slv_entry *e) {
    struct slv_name *key = e->key;
    t->bytes -= entry_bytes(e);
    if (!--key->refs) {
        t->bytes -= sizeof *key + key->n;
        slv_mem_free(key);
    }
    slv_mem_free(e);
}

/* The bytes of a key that has entries already, or new ones, with one holder more. */
static struct slv_name *hold_key(struct slv_entries *t, struct slv_str key) {
    const struct slv_place p = {.key = key};
    const struct slv_entry *e = slv_entries_at(t, slv_entries_rank(t, &p));
    if (e && !slv_str_compare(slv_entry_key(e), key)) {
        e->key->refs++;
        return e->key;
    }
    struct slv_name *name = slv_mem_alloc(sizeof *name + key.n);
    if (!name) return NULL;
    *name = (struct slv_name){.refs = 1, .n = (uint32_t)key.n};
    if (key.n) memcpy(name->bytes, key.p, key.n);
    t->bytes += sizeof *name + key.n;
    return name;
}

static struct slv_entry *new_entry(struct slv_entries *t, const struct slv_place *at,
                                   struct slv_str data) {
    struct slv_entry *e = slv_mem_alloc(sizeof *e + at->path.n + data.n);
    if (!e) return NULL;
    *e = (struct slv_entry){
        .dot = at->dot, .n_data = (uint32_t)data.n, .n_path = (uint16_t)at->path.n};
    if (at->path.n) memcpy(e->bytes, at->path.p, at->path.n);
    if (data.n) memcpy(e->bytes + at->path.n, data.p, data.n);
    e->key = hold_key(t, at->key);
    if (!e->key) {
        slv_mem_free(e);
        return NULL;
    }
    t->bytes += entry_bytes(e);
    return e;
}

int slv_entries_put(struct slv_entries *t, const struct slv_place *at, struct slv_str data,
                    const struct slv_entry **ret) {
    if (at->key.n > SLV_KEY_MAX || at->path.n > SLV_PATH_MAX || data.n > SLV_DATA_MAX ||
        t->depth + 1 >= DEPTH)
        return SLV_E_LIMIT;
    if (slv_entries_find(t, at->dot)) return SLV_E_USAGE;
    int rc = widen(t);
    if (!rc) rc = take_spare(t);
    struct slv_entry *e = rc ? NULL : new_entry(t, at, data);
    if (!e) return SLV_E_NOMEM;
    ready_root(t);
    put_below(t, &t->root, e, at, slv_entry_print(e));
    t->slot[slot_of(t, e->dot)] = e;
    if (ret) *ret = e;
    return 0;
}

/* --- taking out ------------------------------------------------------------------------------- */

/* Two neighbours that fit one node become one. */
static void merge_near(struct slv_entries *t, struct node *n, unsigned i) {
    if (i + 1 == n->n) {
        if (!i) return;
        i--;
    }
    struct node *a = n->child[i].at, *b = n->child[i + 1].at;
    if (a->n + b->n > ORDER * 3 / 4) return;
    memcpy(item(a, a->n), item(b, 0), b->n * item_bytes(a));
    a->n = (uint16_t)(a->n + b->n);
    n->child[i].count += n->child[i + 1].count;
    n->child[i].sum = plus(n->child[i].sum, n->child[i + 1].sum);
    free_node(t, b);
    close_gap(n, i + 1);
}

/* Takes the entry at p out, which is there. */
static void remove_below(struct slv_entries *t, struct child *c, const struct slv_place *p,
                         struct slv_print print) {
    struct node *n = c->at;
    c->count--;
    c->sum = minus(c->sum, print);
    if (n->is_leaf) {
        close_gap(n, before(n, p));
    } else {
        unsigned i = before(n, p);
        if (i == n->n || compare(n->child[i].first, p) != 0) i--;
        remove_below(t, &n->child[i], p, print);
        if (!n->child[i].at->n) {
            free_node(t, n->child[i].at);
            close_gap(n, i);
        } else {
            merge_near(t, n, i);
        }
    }
    if (n->n) c->first = first_of(n);
}

/* A root of one child, or of none, is too much. */
static void lower_root(struct slv_entries *t) {
    while (t->root.at && (!t->root.at->n || (!t->root.at->is_leaf && t->root.at->n == 1))) {
        struct node *top = t->root.at;
        if (top->n) t->root = top->child[0];
        else t->root = (struct child){0};
        free_node(t, top);
        t->depth--;
    }
}

bool slv_entries_remove(struct slv_entries *t, struct slv_dot dot) {
    struct slv_entry *e = t->n_slots ? t->slot[slot_of(t, dot)] : NULL;
    if (!e) return false;
    const struct slv_place p = {slv_entry_key(e), slv_entry_path(e), dot};
    remove_below(t, &t->root, &p, slv_entry_print(e));
    lower_root(t);
    empty_slot(t, slot_of(t, dot));
    free_entry(t, e);
    return true;
}

/* --- counting --------------------------------------------------------------------------------- */

uint64_t slv_entries_count(const struct slv_entries *t) { return t->root.count; }

uint64_t slv_entries_rank(const struct slv_entries *t, const struct slv_place *at) {
    uint64_t rank = 0;
    for (const struct node *n = t->root.at; n;) {
        if (n->is_leaf) return rank + before(n, at);
        const unsigned k = child_for(n, at);
        for (unsigned i = 0; i < k; i++)
            rank += n->child[i].count;
        n = n->child[k].at;
    }
    return rank;
}

const struct slv_entry *slv_entries_at(const struct slv_entries *t, uint64_t rank) {
    const struct node *n = t->root.at;
    if (rank >= t->root.count) return NULL;
    while (!n->is_leaf) {
        unsigned i = 0;
        for (; rank >= n->child[i].count; i++)
            rank -= n->child[i].count;
        n = n->child[i].at;
    }
    return n->entry[rank];
}

/* The sum of the first `to` entries. */
static struct slv_print sum_to(const struct slv_entries *t, uint64_t to) {
    struct slv_print sum = {0, 0};
    const struct node *n = t->root.at;
    if (to >= t->root.count) return t->root.sum;
    while (!n->is_leaf) {
        unsigned i = 0;
        for (; to >= n->child[i].count; i++) {
            to -= n->child[i].count;
            sum = plus(sum, n->child[i].sum);
        }
        n = n->child[i].at;
    }
    for (uint64_t i = 0; i < to; i++)
        sum = plus(sum, slv_entry_print(n->entry[i]));
    return sum;
}

struct slv_print slv_entries_sum(const struct slv_entries *t, uint64_t from, uint64_t to) {
    return from < to ? minus(sum_to(t, to), sum_to(t, from)) : (struct slv_print){0, 0};
}

size_t slv_entries_bytes(const struct slv_entries *t) { return sizeof *t + t->bytes; }

/* --- life ------------------------------------------------------------------------------------- */

int slv_entries_open(struct slv_entries **ret) {
    struct slv_entries *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return SLV_E_NOMEM;
    *ret = t;
    return 0;
}

static void free_below(struct slv_entries *t, struct node *n) {
    for (unsigned i = 0; i < n->n; i++)
        if (n->is_leaf) free_entry(t, n->entry[i]);
        else free_below(t, n->child[i].at);
    free_node(t, n);
}

void slv_entries_close(struct slv_entries *t) {
    if (!t) return;
    if (t->root.at) free_below(t, t->root.at);
    slv_mem_free(t->spare_leaf);
    while (t->n_spare)
        slv_mem_free(t->spare[--t->n_spare]);
    slv_mem_free(t->slot);
    slv_mem_free(t);
}

/* The first key behind one is that with a zero more. */
uint64_t slv_entries_rank_behind(const struct slv_entries *t, struct slv_str key) {
    char next[SLV_KEY_MAX + 1];
    if (key.n > SLV_KEY_MAX) return slv_entries_count(t);
    memcpy(next, key.p, key.n);
    next[key.n] = 0;
    const struct slv_place at = {.key = {next, key.n + 1}};
    return slv_entries_rank(t, &at);
}
