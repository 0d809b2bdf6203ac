/* oplog.c: see oplog.h. */
#include "mesh/oplog.h"
#include "base/mem.h"

struct kept {
    struct kept *older, *newer; /* by arrival */
    uint64_t writer;
    struct slv_dot_range dots;
    size_t n;
    char bytes[];
};

/* A writer's, ascending. */
struct list {
    uint64_t writer;
    struct kept **v; /* heap */
    size_t n, room;
};

struct slv_oplog {
    struct list *list; /* [n], ascending by writer */
    size_t n, room;
    struct kept *oldest, *newest;
    size_t bytes, max;
    void (*dropped)(void *ctx, struct slv_str bytes); /* may be NULL */
    void *ctx;
};

int slv_oplog_open(size_t max, struct slv_oplog **ret) {
    struct slv_oplog *l = slv_mem_calloc(1, sizeof *l);
    if (!l) return SLV_E_NOMEM;
    l->max = max;
    *ret = l;
    return 0;
}

void slv_oplog_on_drop(struct slv_oplog *l, void (*fn)(void *ctx, struct slv_str bytes),
                       void *ctx) {
    l->dropped = fn;
    l->ctx = ctx;
}

void slv_oplog_close(struct slv_oplog *l) {
    if (!l) return;
    for (struct kept *k = l->oldest, *next; k; k = next) {
        next = k->newer;
        slv_mem_free(k);
    }
    for (size_t i = 0; i < l->n; i++)
        slv_mem_free(l->list[i].v);
    slv_mem_free(l->list);
    slv_mem_free(l);
}

size_t slv_oplog_bytes(const struct slv_oplog *l) { return l->bytes; }

/* --- places ----------------------------------------------------------------------------------- */

static size_t list_at(const struct slv_oplog *l, uint64_t writer) {
    size_t lo = 0, hi = l->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (l->list[mid].writer < writer) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static struct list *find_list(const struct slv_oplog *l, uint64_t writer) {
    const size_t i = list_at(l, writer);
    return i < l->n && l->list[i].writer == writer ? &l->list[i] : NULL;
}

/* The first op whose dot is n or behind it. */
static size_t op_at(const struct list *w, uint64_t n) {
    size_t lo = 0, hi = w->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (w->v[mid]->dots.first < n) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* --- keeping and dropping --------------------------------------------------------------------- */

static size_t cost(const struct kept *k) { return sizeof *k + k->n + sizeof k; }

static void unlink_kept(struct slv_oplog *l, struct kept *k) {
    if (k->older) k->older->newer = k->newer;
    else l->oldest = k->newer;
    if (k->newer) k->newer->older = k->older;
    else l->newest = k->older;
    l->bytes -= cost(k);
}

/* A writer of whom nothing is kept has no list. */
static void drop_if_empty(struct slv_oplog *l, struct list *w) {
    const size_t at = (size_t)(w - l->list);
    if (w->n) return;
    slv_mem_free(w->v);
    memmove(w, w + 1, (l->n - at - 1) * sizeof *w);
    l->n--;
}

static void drop(struct slv_oplog *l, struct kept *k) {
    struct list *w = find_list(l, k->writer);
    const size_t i = op_at(w, k->dots.first);
    memmove(w->v + i, w->v + i + 1, (w->n - i - 1) * sizeof *w->v);
    w->n--;
    unlink_kept(l, k);
    if (l->dropped) l->dropped(l->ctx, (struct slv_str){k->bytes, k->n});
    slv_mem_free(k);
    drop_if_empty(l, w);
}

static int open_list(struct slv_oplog *l, uint64_t writer, struct list **ret) {
    const size_t i = list_at(l, writer);
    if (i == l->n || l->list[i].writer != writer) {
        void *p = l->list;
        const int rc = slv_mem_grow(&p, l->n, &l->room, sizeof *l->list, SLV_WRITERS_MAX);
        l->list = p;
        if (rc) return rc;
        memmove(l->list + i + 1, l->list + i, (l->n - i) * sizeof *l->list);
        l->list[i] = (struct list){.writer = writer};
        l->n++;
    }
    *ret = &l->list[i];
    return 0;
}

/* Room in a writer's list for one more. */
static int ready(struct slv_oplog *l, uint64_t writer, struct list **ret) {
    int rc = open_list(l, writer, ret);
    if (rc) return rc;
    void *p = (*ret)->v;
    rc = slv_mem_grow(&p, (*ret)->n, &(*ret)->room, sizeof *(*ret)->v, SIZE_MAX / 16);
    (*ret)->v = p;
    if (rc) drop_if_empty(l, *ret);
    return rc;
}

int slv_oplog_add(struct slv_oplog *l, uint64_t writer, struct slv_dot_range dots,
                  struct slv_str bytes) {
    struct list *w = find_list(l, writer);
    size_t i = w ? op_at(w, dots.first) : 0;
    if (w && i < w->n && w->v[i]->dots.first == dots.first) return 0;
    const size_t own = sizeof(struct kept) + sizeof(struct kept *);
    if (l->max < own || bytes.n > l->max - own) return SLV_E_LIMIT;
    struct kept *k = slv_mem_alloc(sizeof *k + bytes.n);
    if (!k) return SLV_E_NOMEM;
    *k = (struct kept){.writer = writer, .dots = dots, .n = bytes.n};
    if (bytes.n) memcpy(k->bytes, bytes.p, bytes.n);
    while (l->oldest && l->bytes + cost(k) > l->max)
        drop(l, l->oldest);
    const int rc = ready(l, writer, &w);
    if (rc) {
        slv_mem_free(k);
        return rc;
    }
    i = op_at(w, dots.first);
    memmove(w->v + i + 1, w->v + i, (w->n - i) * sizeof *w->v);
    w->v[i] = k;
    w->n++;
    k->older = l->newest;
    if (l->newest) l->newest->newer = k;
    else l->oldest = k;
    l->newest = k;
    l->bytes += cost(k);
    return 0;
}

void slv_oplog_trim(struct slv_oplog *l, const struct slv_dots *seen) {
    for (struct kept *k = l->oldest, *next; k; k = next) {
        next = k->newer;
        if (slv_dots_has(seen, (struct slv_dot){k->writer, k->dots.last})) drop(l, k);
    }
}

/* --- who misses what -------------------------------------------------------------------------- */

struct search {
    const struct slv_oplog *l;
    int (*fn)(void *ctx, struct slv_str bytes);
    void *ctx;
    const struct kept *given; /* the last */
    bool gone;
};

/* What is kept may reach over the range's ends: it is given all the same, once, as the same dots
 * again do no harm. What lies in nothing that is here may be entries alone, which others removed
 * before their op came; that cannot be told from an op that is gone. */
static int search_range(void *ctx, uint64_t writer, struct slv_dot_range r) {
    struct search *s = ctx;
    const struct list *w = find_list(s->l, writer);
    size_t i = w ? op_at(w, r.first) : 0;
    uint64_t next = r.first;
    if (i && w->v[i - 1]->dots.last >= next) i--;
    for (; w && i < w->n && w->v[i]->dots.first <= r.last; i++) {
        const struct kept *k = w->v[i];
        if (k->dots.first > next) s->gone = true;
        next = k->dots.last + 1;
        if (k == s->given) continue;
        s->given = k;
        const int rc = s->fn(s->ctx, (struct slv_str){k->bytes, k->n});
        if (rc) return rc;
    }
    if (next <= r.last) s->gone = true;
    return 0;
}

int slv_oplog_missing(const struct slv_oplog *l, const struct slv_dots *have,
                      const struct slv_dots *theirs, int (*fn)(void *ctx, struct slv_str bytes),
                      void *ctx, bool *ret_gone) {
    struct search s = {.l = l, .fn = fn, .ctx = ctx};
    const int rc = slv_dots_missing(have, theirs, search_range, &s);
    *ret_gone = s.gone;
    return rc;
}

struct slv_str slv_oplog_find(const struct slv_oplog *l, struct slv_dot dot) {
    const struct list *w = find_list(l, dot.writer);
    const size_t i = w ? op_at(w, dot.n + 1) : 0;
    if (!i || w->v[i - 1]->dots.last < dot.n) return (struct slv_str){"", 0};
    return (struct slv_str){w->v[i - 1]->bytes, w->v[i - 1]->n};
}

int slv_oplog_dots(const struct slv_oplog *l, struct slv_dots *ret) {
    int rc = 0;
    for (const struct kept *k = l->oldest; k && !rc; k = k->newer)
        rc = slv_dots_add(ret, k->writer, k->dots);
    return rc;
}
