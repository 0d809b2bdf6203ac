/* dots.c: see dots.h. */
#include "mesh/dots.h"
#include "base/mem.h"

void slv_dots_fini(struct slv_dots *s) {
    for (uint32_t i = 0; i < s->n; i++)
        slv_mem_free(s->writer[i].range);
    slv_mem_free(s->writer);
    *s = (struct slv_dots){0};
}

/* --- finding ---------------------------------------------------------------------------------- */

/* The first writer that is not before id. */
static uint32_t writer_at(const struct slv_dots *s, uint64_t id) {
    uint32_t lo = 0, hi = s->n;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (s->writer[mid].id < id) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static const struct slv_dots_writer *find(const struct slv_dots *s, uint64_t id) {
    static const struct slv_dots_writer none = {0};
    const uint32_t i = writer_at(s, id);
    return i < s->n && s->writer[i].id == id ? &s->writer[i] : &none;
}

/* The first range that ends at n or behind it. */
static uint32_t range_at(const struct slv_dots_writer *w, uint64_t n) {
    uint32_t lo = 0, hi = w->n;
    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (w->range[mid].last < n) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

bool slv_dots_has(const struct slv_dots *s, struct slv_dot dot) {
    const struct slv_dots_writer *w = find(s, dot.writer);
    const uint32_t i = range_at(w, dot.n);
    return i < w->n && w->range[i].first <= dot.n;
}

uint64_t slv_dots_base(const struct slv_dots *s, uint64_t writer) {
    const struct slv_dots_writer *w = find(s, writer);
    return w->n && w->range[0].first == 1 ? w->range[0].last : 0;
}

uint64_t slv_dots_last(const struct slv_dots *s, uint64_t writer) {
    const struct slv_dots_writer *w = find(s, writer);
    return w->n ? w->range[w->n - 1].last : 0;
}

uint64_t slv_dots_count(const struct slv_dots *s) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < s->writer[i].n; k++) {
            const struct slv_dot_range *r = &s->writer[i].range[k];
            const uint64_t n = r->last - r->first + 1;
            sum = UINT64_MAX - sum < n ? UINT64_MAX : sum + n;
        }
    return sum;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* Room for one element more of an array that has n. */
static int grow(void **p, uint32_t n, uint32_t *room, size_t size, uint32_t most) {
    size_t cap = *room;
    const int rc = slv_mem_grow(p, n, &cap, size, most);
    *room = (uint32_t)cap;
    return rc;
}

static int open_writer(struct slv_dots *s, uint64_t id, struct slv_dots_writer **ret) {
    const uint32_t i = writer_at(s, id);
    if (i == s->n || s->writer[i].id != id) {
        void *p = s->writer;
        const int rc = grow(&p, s->n, &s->room, sizeof *s->writer, SLV_WRITERS_MAX);
        s->writer = p;
        if (rc) return rc;
        memmove(s->writer + i + 1, s->writer + i, (s->n - i) * sizeof *s->writer);
        s->writer[i] = (struct slv_dots_writer){.id = id};
        s->n++;
    }
    *ret = &s->writer[i];
    return 0;
}

/* Takes the place of ranges [i, j) of w, which touch r or lie in it. */
static void put_over(struct slv_dots_writer *w, uint32_t i, uint32_t j, struct slv_dot_range r) {
    if (w->range[i].first < r.first) r.first = w->range[i].first;
    if (w->range[j - 1].last > r.last) r.last = w->range[j - 1].last;
    w->range[i] = r;
    memmove(w->range + i + 1, w->range + j, (w->n - j) * sizeof *w->range);
    w->n -= j - i - 1;
}

static int put_range(struct slv_dots_writer *w, struct slv_dot_range r) {
    const uint32_t i = range_at(w, r.first - 1);
    uint32_t j = i;
    while (j < w->n && w->range[j].first <= r.last + 1)
        j++;
    if (i < j) {
        put_over(w, i, j, r);
        return 0;
    }
    void *p = w->range;
    const int rc = grow(&p, w->n, &w->room, sizeof *w->range, SLV_RANGES_MAX);
    w->range = p;
    if (rc) return rc;
    memmove(w->range + i + 1, w->range + i, (w->n - i) * sizeof *w->range);
    w->range[i] = r;
    w->n++;
    return 0;
}

void slv_dots_drop(struct slv_dots *s, uint64_t writer) {
    const uint32_t i = writer_at(s, writer);
    if (i == s->n || s->writer[i].id != writer) return;
    slv_mem_free(s->writer[i].range);
    memmove(s->writer + i, s->writer + i + 1, (s->n - i - 1) * sizeof *s->writer);
    s->n--;
}

int slv_dots_add(struct slv_dots *s, uint64_t writer, struct slv_dot_range r) {
    struct slv_dots_writer *w;
    if (!r.first || r.first > r.last || r.last > SLV_DOT_MAX) return SLV_E_LIMIT;
    int rc = open_writer(s, writer, &w);
    if (rc) return rc;
    rc = put_range(w, r);
    if (rc && !w->n) slv_dots_drop(s, writer); /* one without ranges has no place in a set */
    return rc;
}

int slv_dots_join(struct slv_dots *s, const struct slv_dots *t) {
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t k = 0; k < t->writer[i].n; k++) {
            const int rc = slv_dots_add(s, t->writer[i].id, t->writer[i].range[k]);
            if (rc) return rc;
        }
    return 0;
}

struct slv_dots slv_dots_of(const struct slv_dots *s, uint64_t writer) {
    const uint32_t i = writer_at(s, writer);
    const bool there = i < s->n && s->writer[i].id == writer;
    return there ? (struct slv_dots){.writer = &s->writer[i], .n = 1} : (struct slv_dots){0};
}

/* --- comparing -------------------------------------------------------------------------------- */

/* What of r is not in w. */
static int range_missing(struct slv_dot_range r, const struct slv_dots_writer *w, uint64_t id,
                         int (*fn)(void *ctx, uint64_t writer, struct slv_dot_range r), void *ctx) {
    for (uint32_t i = range_at(w, r.first); i < w->n && w->range[i].first <= r.last; i++) {
        const struct slv_dot_range have = w->range[i];
        if (have.first > r.first) {
            const int rc = fn(ctx, id, (struct slv_dot_range){r.first, have.first - 1});
            if (rc) return rc;
        }
        if (have.last >= r.last) return 0;
        r.first = have.last + 1;
    }
    return fn(ctx, id, r);
}

int slv_dots_missing(const struct slv_dots *s, const struct slv_dots *t,
                     int (*fn)(void *ctx, uint64_t writer, struct slv_dot_range r), void *ctx) {
    for (uint32_t i = 0; i < s->n; i++) {
        const struct slv_dots_writer *w = &s->writer[i], *other = find(t, w->id);
        for (uint32_t k = 0; k < w->n; k++) {
            const int rc = range_missing(w->range[k], other, w->id, fn, ctx);
            if (rc) return rc;
        }
    }
    return 0;
}

static int add_range(void *ctx, uint64_t writer, struct slv_dot_range r) {
    return slv_dots_add(ctx, writer, r);
}

int slv_dots_subtract(struct slv_dots *s, const struct slv_dots *t) {
    struct slv_dots left = {0};
    const int rc = t->n ? slv_dots_missing(s, t, add_range, &left) : 0;
    if (rc || !t->n) {
        slv_dots_fini(&left);
        return rc;
    }
    slv_dots_fini(s);
    *s = left;
    return 0;
}

static int is_one(void *ctx, uint64_t writer, struct slv_dot_range r) {
    (void)ctx, (void)writer, (void)r;
    return 1;
}

bool slv_dots_cover(const struct slv_dots *s, const struct slv_dots *t) {
    return !slv_dots_missing(t, s, is_one, NULL);
}

bool slv_dots_equal(const struct slv_dots *s, const struct slv_dots *t) {
    if (s->n != t->n) return false;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct slv_dots_writer *a = &s->writer[i], *b = &t->writer[i];
        if (a->id != b->id || a->n != b->n ||
            memcmp(a->range, b->range, a->n * sizeof *a->range) != 0)
            return false;
    }
    return true;
}

/* --- the wire --------------------------------------------------------------------------------- */

void slv_dots_write(const struct slv_dots *s, struct slv_buf *b) {
    slv_write_number(b, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct slv_dots_writer *w = &s->writer[i];
        uint64_t next = 1; /* the first number that this range may begin with */
        slv_write_id(b, w->id);
        slv_write_number(b, w->n);
        for (uint32_t k = 0; k < w->n; k++) {
            slv_write_number(b, w->range[k].first - next);
            slv_write_number(b, w->range[k].last - w->range[k].first);
            next = w->range[k].last + 2;
        }
    }
}

/* A writer's ranges into `to`, whose last writer is another, before it. */
static int read_writer(struct slv_reader *r, struct slv_dots *to) {
    const uint64_t id = slv_read_id(r), n = slv_read_number(r, SLV_RANGES_MAX);
    uint64_t next = 1;
    if (r->bad || !n || (to->n && to->writer[to->n - 1].id >= id)) return SLV_E_FORMAT;
    for (uint64_t k = 0; k < n; k++) {
        const uint64_t gap = slv_read_number(r, SLV_DOT_MAX);
        const uint64_t more = slv_read_number(r, SLV_DOT_MAX);
        const struct slv_dot_range range = {next + gap, next + gap + more};
        if (r->bad || range.last > SLV_DOT_MAX) return SLV_E_FORMAT;
        const int rc = slv_dots_add(to, id, range);
        if (rc) return rc;
        next = range.last + 2;
    }
    return 0;
}

int slv_dots_read(struct slv_reader *r, struct slv_dots *ret) {
    const uint64_t n = slv_read_number(r, SLV_WRITERS_MAX);
    int rc = r->bad ? SLV_E_FORMAT : 0;
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = read_writer(r, ret);
    if (rc) slv_dots_fini(ret);
    return rc;
}
