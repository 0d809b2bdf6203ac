/* retired.c: see retired.h. */
#include "mesh/retired.h"
#include "base/mem.h"

static void free_one(struct slv_retirement *r) {
    for (uint32_t i = 0; i < r->n; i++)
        slv_dots_fini(&r->space[i].seen);
    slv_mem_free(r);
}

void slv_retired_fini(struct slv_retired *t) {
    for (size_t i = 0; i < t->n; i++)
        free_one(t->v[i]);
    slv_mem_free(t->v);
    slv_mem_free(t->by_writer);
    slv_dots_fini(&t->dots);
    *t = (struct slv_retired){0};
}

/* --- one -------------------------------------------------------------------------------------- */

static int read_space(struct slv_reader *m, uint64_t writer, struct slv_retired_space *s) {
    s->id = slv_read_id(m);
    const int rc = m->bad ? SLV_E_FORMAT : slv_dots_read(m, &s->seen);
    if (rc) return rc;
    return s->seen.n == 1 && s->seen.writer[0].id == writer ? 0 : SLV_E_FORMAT;
}

static int read_spaces(struct slv_reader *m, struct slv_retirement *r) {
    for (uint32_t i = 0; i < r->n; i++) {
        const int rc = read_space(m, r->writer, &r->space[i]);
        if (rc) return rc;
        if (i && r->space[i - 1].id >= r->space[i].id) return SLV_E_FORMAT;
    }
    return slv_reader_done(m) ? 0 : SLV_E_FORMAT;
}

static int read_one(struct slv_dot dot, struct slv_str bytes, struct slv_retirement **ret) {
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    const uint64_t writer = slv_read_id(&m), node = slv_read_id(&m);
    const uint32_t n = (uint32_t)slv_read_number(&m, SLV_RETIRED_SPACES_MAX);
    if (m.bad || !n || !dot.writer || !dot.n || dot.n > SLV_DOT_MAX) return SLV_E_FORMAT;
    struct slv_retirement *r = slv_mem_calloc(1, sizeof *r + n * sizeof *r->space);
    if (!r) return SLV_E_NOMEM;
    *r = (struct slv_retirement){dot, writer, node, n};
    const int rc = read_spaces(&m, r);
    if (rc) free_one(r);
    else *ret = r;
    return rc;
}

void slv_retirement_write(const struct slv_retirement *r, struct slv_buf *b) {
    slv_write_id(b, r->writer);
    slv_write_id(b, r->node);
    slv_write_number(b, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        slv_write_id(b, r->space[i].id);
        slv_dots_write(&r->space[i].seen, b);
    }
}

/* --- all of them ------------------------------------------------------------------------------ */

/* The first of a writer whose dot is not before this one. */
static size_t find_at(const struct slv_retired *t, uint64_t writer, struct slv_dot dot) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct slv_retirement *r = t->by_writer[mid];
        const bool before =
            r->writer != writer ? r->writer < writer : slv_dot_compare(r->dot, dot) < 0;
        if (before) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static size_t first_of(const struct slv_retired *t, uint64_t writer) {
    return find_at(t, writer, (struct slv_dot){0, 0});
}

static bool is_of(const struct slv_retired *t, size_t i, uint64_t writer) {
    return i < t->n && t->by_writer[i]->writer == writer;
}

/* Where it is among all, by dot. */
static size_t place_of(const struct slv_retired *t, struct slv_dot dot) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (slv_dot_compare(t->v[mid]->dot, dot) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static void insert(struct slv_retirement **v, size_t n, size_t at, struct slv_retirement *r) {
    memmove(v + at + 1, v + at, (n - at) * sizeof(struct slv_retirement *));
    v[at] = r;
}

static int make_room(struct slv_retired *t) {
    const size_t size = sizeof(struct slv_retirement *);
    void *p = t->v, *q = t->by_writer;
    int rc = slv_mem_grow(&p, t->n, &t->room, size, SLV_RETIRED_MAX);
    t->v = p;
    if (!rc) rc = slv_mem_grow(&q, t->n, &t->room_by_writer, size, SLV_RETIRED_MAX);
    t->by_writer = q;
    return rc;
}

int slv_retired_add(struct slv_retired *t, struct slv_dot dot, struct slv_str bytes,
                    bool *ret_new) {
    struct slv_retirement *r = NULL;
    if (ret_new) *ret_new = false;
    if (slv_dots_has(&t->dots, dot)) return 0;
    int rc = read_one(dot, bytes, &r);
    if (rc) return rc;
    rc = make_room(t);
    if (!rc) rc = slv_dots_add_dot(&t->dots, dot);
    if (rc) {
        free_one(r);
        return rc;
    }
    insert(t->v, t->n, place_of(t, dot), r);
    insert(t->by_writer, t->n, find_at(t, r->writer, dot), r);
    t->n++;
    if (ret_new) *ret_new = true;
    return 0;
}

const struct slv_retirement *slv_retired_find(const struct slv_retired *t, uint64_t writer) {
    const size_t i = first_of(t, writer);
    return is_of(t, i, writer) ? t->by_writer[i] : NULL;
}

const struct slv_dots *slv_retirement_seen(const struct slv_retirement *r, uint64_t space) {
    for (uint32_t i = 0; i < r->n; i++)
        if (r->space[i].id == space) return &r->space[i].seen;
    return NULL;
}

const struct slv_dots *slv_retired_seen(const struct slv_retired *t, uint64_t writer,
                                        uint64_t space) {
    const struct slv_dots *seen = NULL;
    for (size_t i = first_of(t, writer); is_of(t, i, writer) && !seen; i++)
        seen = slv_retirement_seen(t->by_writer[i], space);
    return seen;
}

bool slv_retired_names(const struct slv_retired *t, const struct slv_dots *context,
                       uint64_t writer) {
    for (size_t i = first_of(t, writer); is_of(t, i, writer); i++)
        if (slv_dots_has(context, t->by_writer[i]->dot)) return true;
    return false;
}
