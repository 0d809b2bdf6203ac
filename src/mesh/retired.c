/* retired.c: see retired.h. */
#include "mesh/retired.h"
#include "base/mem.h"

void slv_retired_fini(struct slv_retired *t) {
    for (size_t i = 0; i < t->n; i++)
        slv_mem_free(t->v[i]);
    slv_mem_free(t->v);
    slv_dots_fini(&t->dots);
    *t = (struct slv_retired){0};
}

/* --- one -------------------------------------------------------------------------------------- */

static bool read_spaces(struct slv_reader *m, struct slv_retirement *r) {
    for (uint32_t i = 0; i < r->n; i++) {
        r->space[i].id = slv_read_id(m);
        r->space[i].last = slv_read_number(m, SLV_DOT_MAX);
        if (!r->space[i].last || (i && r->space[i - 1].id >= r->space[i].id)) return false;
    }
    return slv_reader_done(m);
}

static int read_one(struct slv_dot dot, struct slv_str bytes, struct slv_retirement **ret) {
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    struct slv_retirement head = {.dot = dot};
    head.writer = slv_read_id(&m);
    head.node = slv_read_id(&m);
    head.n = (uint32_t)slv_read_number(&m, SLV_RETIRED_SPACES_MAX);
    if (m.bad || !dot.writer || !dot.n || dot.n > SLV_DOT_MAX)
        return SLV_E_FORMAT;
    struct slv_retirement *r = slv_mem_alloc(sizeof *r + head.n * sizeof *r->space);
    if (!r) return SLV_E_NOMEM;
    *r = head;
    if (!read_spaces(&m, r)) {
        slv_mem_free(r);
        return SLV_E_FORMAT;
    }
    *ret = r;
    return 0;
}

void slv_retirement_write(const struct slv_retirement *r, struct slv_buf *b) {
    slv_write_id(b, r->writer);
    slv_write_id(b, r->node);
    slv_write_number(b, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        slv_write_id(b, r->space[i].id);
        slv_write_number(b, r->space[i].last);
    }
}

/* --- all of them ------------------------------------------------------------------------------ */

/* The first of a writer whose dot is not before this one. */
static size_t find_at(const struct slv_retired *t, uint64_t writer, struct slv_dot dot) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct slv_retirement *r = t->v[mid];
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
    return i < t->n && t->v[i]->writer == writer;
}

int slv_retired_add(struct slv_retired *t, struct slv_dot dot, struct slv_str bytes,
                    bool *ret_new) {
    struct slv_retirement *r = NULL;
    void *p = t->v;
    if (ret_new) *ret_new = false;
    if (slv_dots_has(&t->dots, dot)) return 0;
    int rc = read_one(dot, bytes, &r);
    if (!rc) rc = slv_mem_grow(&p, t->n, &t->room, sizeof(struct slv_retirement *), SLV_RETIRED_MAX);
    t->v = p;
    if (!rc) rc = slv_dots_add_dot(&t->dots, dot);
    if (rc) {
        slv_mem_free(r);
        return rc;
    }
    const size_t i = find_at(t, r->writer, dot);
    memmove(t->v + i + 1, t->v + i, (t->n - i) * sizeof *t->v);
    t->v[i] = r;
    t->n++;
    if (ret_new) *ret_new = true;
    return 0;
}

const struct slv_retirement *slv_retired_find(const struct slv_retired *t, uint64_t writer) {
    const size_t i = first_of(t, writer);
    return is_of(t, i, writer) ? t->v[i] : NULL;
}

static uint64_t last_in(const struct slv_retirement *r, uint64_t space) {
    for (uint32_t i = 0; i < r->n; i++)
        if (r->space[i].id == space) return r->space[i].last;
    return 0;
}

uint64_t slv_retired_last(const struct slv_retired *t, uint64_t writer, uint64_t space) {
    uint64_t most = 0;
    for (size_t i = first_of(t, writer); is_of(t, i, writer); i++) {
        const uint64_t last = last_in(t->v[i], space);
        if (last > most) most = last;
    }
    return most;
}

bool slv_retired_names(const struct slv_retired *t, const struct slv_dots *context,
                       uint64_t writer) {
    for (size_t i = first_of(t, writer); is_of(t, i, writer); i++)
        if (slv_dots_has(context, t->v[i]->dot)) return true;
    return false;
}
