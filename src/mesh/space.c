/* space.c: see space.h. */
#include "mesh/space.h"
#include "base/mem.h"

int slv_space_init(struct slv_space *s) {
    *s = (struct slv_space){0};
    return slv_entries_open(&s->entries);
}

void slv_space_fini(struct slv_space *s) {
    slv_entries_close(s->entries);
    slv_dots_fini(&s->context);
    slv_ttl_fini(&s->ttl);
    *s = (struct slv_space){0};
}

void slv_space_drop(struct slv_space *s, struct slv_dot dot) {
    const struct slv_entry *e = slv_entries_find(s->entries, dot);
    if (!e) return;
    if (s->watch) s->watch->removed(s->watch->ctx, e);
    if (s->ttl.ms) slv_ttl_release(&s->ttl, slv_ttl_due(&s->ttl, slv_entry_data(e)));
    slv_entries_remove(s->entries, dot);
}

static int enter(struct slv_space *s, const struct slv_place *at, struct slv_str data,
                 const struct slv_entry **ret) {
    const uint64_t due = s->ttl.ms ? slv_ttl_due(&s->ttl, data) : 0;
    int rc = s->ttl.ms ? slv_ttl_hold(&s->ttl, s->entries, at->dot, due) : 0;
    if (rc) return rc;
    rc = slv_entries_put(s->entries, at, data, ret);
    if (rc && s->ttl.ms) slv_ttl_release(&s->ttl, due);
    return rc;
}

static int put_entry(struct slv_space *s, const struct slv_place *at, struct slv_str data) {
    const struct slv_entry *e;
    const int rc = enter(s, at, data, &e);
    if (!rc && s->watch) s->watch->put(s->watch->ctx, e);
    return rc;
}

int slv_space_load(struct slv_space *s, const struct slv_place *at, struct slv_str data) {
    return enter(s, at, data, NULL);
}

/* (A dot given twice may be in two buckets: it goes with that of the entry which is there.) */
uint64_t slv_space_expire(struct slv_space *s) {
    struct slv_ttl_bucket b;
    uint64_t gone = 0;
    while (slv_ttl_take(&s->ttl, &b)) {
        for (size_t i = 0; i < b.n; i++) {
            const struct slv_entry *e = slv_entries_find(s->entries, b.dot[i]);
            if (!e || slv_ttl_due(&s->ttl, slv_entry_data(e)) != b.due) continue;
            slv_space_drop(s, b.dot[i]);
            gone++;
        }
        slv_mem_free(b.dot);
    }
    return gone;
}

static int is_unseen(void *ctx, uint64_t writer, struct slv_dot_range r) {
    return !slv_seen_has(ctx, (struct slv_dot){writer, r.first});
}

bool slv_space_covers(const struct slv_space *s, const struct slv_dots *dots) {
    struct slv_seen seen = slv_space_seen(s);
    return !slv_dots_missing(dots, &s->context, is_unseen, &seen);
}

/* Each range is seen before its entries go: whoever is cut short between has lost nothing, as the
 * op itself is not seen and comes again. (All of who was let go is seen.) */
static int remove_dots(struct slv_space *s, const struct slv_dots *removes) {
    for (uint32_t i = 0; i < removes->n; i++) {
        const struct slv_dots_writer *w = &removes->writer[i];
        const bool all_seen = slv_space_let_go(s, w->id);
        for (uint32_t k = 0; k < w->n; k++) {
            const int rc = all_seen ? 0 : slv_dots_add(&s->context, w->id, w->range[k]);
            if (rc) return rc;
            for (uint64_t n = w->range[k].first; n <= w->range[k].last; n++)
                slv_space_drop(s, (struct slv_dot){w->id, n});
        }
    }
    return 0;
}

static int put(struct slv_space *s, const struct slv_place *at, struct slv_str data) {
    if (slv_space_has(s, at->dot) || slv_entries_find(s->entries, at->dot)) return 0;
    if (slv_ttl_is_gone(&s->ttl, data)) return 0; /* as if it had been here */
    return put_entry(s, at, data);
}

int slv_space_apply(struct slv_space *s, const struct slv_op *op, bool *ret_new) {
    const bool fresh = !slv_space_has(s, op->dot);
    if (!op->dot.n || op->key.n > SLV_KEY_MAX || slv_dots_count(&op->removes) > SLV_OP_REMOVES_MAX)
        return SLV_E_FORMAT;
    int rc = fresh ? remove_dots(s, &op->removes) : 0;
    for (uint32_t i = 0; i < op->n && fresh && !rc; i++) {
        const struct slv_place at = {op->key, op->entry[i].path, slv_op_entry_dot(op, i)};
        rc = put(s, &at, op->entry[i].data);
    }
    if (fresh && !rc) rc = slv_dots_add(&s->context, op->dot.writer, slv_op_range(op));
    if (!rc && ret_new) *ret_new = fresh;
    return rc;
}

int slv_space_write(struct slv_space *s, const struct slv_op *op) {
    uint32_t i = 0;
    int rc = 0;
    for (; i < op->n && !rc; i++) {
        const struct slv_place at = {op->key, op->entry[i].path, slv_op_entry_dot(op, i)};
        rc = put_entry(s, &at, op->entry[i].data);
    }
    if (rc) i--; /* that one is not there */
    else rc = slv_dots_add(&s->context, op->dot.writer, slv_op_range(op));
    if (rc) {
        while (i-- > 0)
            slv_space_drop(s, slv_op_entry_dot(op, i));
        return rc;
    }
    return remove_dots(s, &op->removes); /* all are in the context: it does not grow */
}

void slv_space_find(const struct slv_space *s, const struct slv_space_range *r, uint64_t *ret_from,
                    uint64_t *ret_to) {
    *ret_from = r->from ? slv_entries_rank(s->entries, r->from) : 0;
    *ret_to = r->to ? slv_entries_rank(s->entries, r->to) : slv_entries_count(s->entries);
}

uint64_t slv_space_retain(struct slv_space *s, const struct slv_space_range *r,
                          const struct slv_dots *theirs, const struct slv_seen *seen) {
    uint64_t i, to, removed = 0;
    slv_space_find(s, r, &i, &to);
    while (i < to) {
        const struct slv_dot dot = slv_entries_at(s->entries, i)->dot;
        if (slv_seen_has(seen, dot) && !slv_dots_has(theirs, dot)) {
            slv_space_drop(s, dot);
            removed++;
            to--;
        } else {
            i++;
        }
    }
    return removed;
}

int slv_space_take(struct slv_space *s, const struct slv_place *at, struct slv_str data,
                   bool *ret_new) {
    const uint64_t n = slv_entries_count(s->entries);
    const int rc = put(s, at, data);
    if (!rc && ret_new) *ret_new = slv_entries_count(s->entries) > n;
    return rc;
}

int slv_space_settle(struct slv_space *s, const struct slv_place *at, struct slv_str data,
                     bool *ret_new) {
    const struct slv_entry *have = slv_entries_find(s->entries, at->dot);
    if (!have) return slv_space_take(s, at, data, ret_new);
    const struct slv_print a = slv_entry_print(have), b = slv_place_print(at, data);
    const bool stays = a.hi < b.hi || (a.hi == b.hi && a.lo <= b.lo);
    if (ret_new) *ret_new = !stays;
    if (stays) return 0;
    slv_space_drop(s, at->dot);
    return slv_ttl_is_gone(&s->ttl, data) ? 0 : put_entry(s, at, data);
}
