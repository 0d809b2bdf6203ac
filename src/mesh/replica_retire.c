/* replica_retire.c: see replica.h and retired.h. Letting go of writers that are retired, and
 * comparing what was seen with one who has let others go. */
#include "mesh/replica_int.h"

static size_t count_retired(const struct slv_replica *r) {
    return r->conf.retired ? r->conf.retired->n : 0;
}

/* --- writers ---------------------------------------------------------------------------------- */

size_t slv_replica_writers(const struct slv_replica *r) { return r->n_head; }

void slv_replica_writer(const struct slv_replica *r, size_t i, struct slv_replica_writer *ret) {
    const struct head *h = &r->head[i];
    *ret = (struct slv_replica_writer){h->writer, h->node, h->last, h->store};
}

size_t slv_replica_let_go(const struct slv_replica *r) { return r->n_let_go; }

/* (What waits may bring more.) */
bool slv_replica_is_whole(const struct slv_replica *r, uint64_t writer, uint64_t *ret_last) {
    const struct head *h = replica_head(r, writer);
    const uint64_t base = slv_dots_base(&r->space.context, writer);
    *ret_last = base;
    for (const struct waiting *w = r->waiting; w; w = w->next)
        if (w->batch.head.writer == writer && w->batch.head.dots.last > base) return false;
    return base == slv_dots_last(&r->space.context, writer) && (!h || h->last <= base);
}

uint64_t replica_proved(const struct slv_replica *r, uint64_t writer) {
    const struct head *h = replica_head(r, writer);
    const uint64_t last =
        count_retired(r) ? slv_retired_last(r->conf.retired, writer, r->conf.id) : 0;
    return h && h->last > last ? h->last : last;
}

/* Of a writer the last write, before which all of its were; of a group each retirement. */
int replica_depend_on(struct slv_replica *r, const struct slv_dots *seen) {
    const struct slv_retired *t = r->conf.retired;
    int rc = 0;
    for (uint32_t i = 0; i < seen->n && !rc; i++) {
        const struct slv_dots_writer *w = &seen->writer[i];
        const bool is_group = t && slv_dots_last(&t->dots, w->id);
        for (uint32_t k = 0; k < w->n && is_group && !rc; k++)
            rc = slv_dots_add(&r->deps, w->id, w->range[k]);
        if (!is_group && w->id != r->writer)
            rc = slv_dots_add_dot(&r->deps, (struct slv_dot){w->id, w->range[w->n - 1].last});
    }
    return rc;
}

/* --- letting go ------------------------------------------------------------------------------- */

/* What none of the members had when they agreed, nobody is to have. */
static void drop_behind(struct slv_replica *r, uint64_t writer, uint64_t last) {
    for (uint64_t i = 0; i < slv_entries_count(r->space.entries);) {
        const struct slv_dot dot = slv_entries_at(r->space.entries, i)->dot;
        if (dot.writer == writer && dot.n > last) slv_space_drop(&r->space, dot);
        else i++;
    }
}

/* (Batches of the writer that wait are here by then, and go with the next look at those.) */
static int let_go(struct slv_replica *r, const struct slv_retirement *t) {
    const uint64_t last = slv_retired_last(r->conf.retired, t->writer, r->conf.id);
    struct slv_dot_range all = {1, SLV_DOT_MAX};
    struct slv_dots_writer w = {.id = t->writer, .range = &all, .n = 1};
    const struct slv_dots dots = {.writer = &w, .n = 1};
    int rc = r->conf.causal ? slv_dots_add_dot(&r->deps, t->dot) : 0;
    if (!rc) rc = slv_dots_add_dot(&r->space.context, t->dot);
    if (rc) return rc;
    if (slv_dots_last(&r->space.context, t->writer) > last) drop_behind(r, t->writer, last);
    slv_dots_drop(&r->space.context, t->writer);
    slv_dots_drop(&r->deps, t->writer);
    slv_oplog_trim(r->log, &dots);
    replica_drop_head(r, t->writer);
    replica_saw(r);
    return 0;
}

static bool is_ready(const struct slv_replica *r, const struct slv_retirement *t) {
    const uint64_t last = slv_retired_last(r->conf.retired, t->writer, r->conf.id);
    return slv_space_let_go(&r->space, t->writer) ||
           slv_dots_base(&r->space.context, t->writer) >= last;
}

/* (Not the writer that this node has: it is to begin another.) */
static int look_at_all(struct slv_replica *r, const struct slv_dots *context,
                       const struct slv_dots *refused) {
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < count_retired(r) && !rc; i++) {
        const struct slv_retirement *t = r->conf.retired->v[i];
        bool gone = slv_dots_has(&r->space.context, t->dot);
        const bool told =
            context && slv_dots_has(context, t->dot) && !slv_dots_last(refused, t->writer);
        if (!gone && t->writer != r->writer && (told || is_ready(r, t))) {
            rc = let_go(r, t);
            gone = !rc;
        }
        n += gone;
    }
    r->n_let_go = n;
    return rc;
}

int replica_let_go(struct slv_replica *r) {
    return r->n_let_go == count_retired(r) ? 0 : look_at_all(r, NULL, NULL);
}

int replica_let_go_named(struct slv_replica *r, const struct slv_dots *context,
                         const struct slv_dots *refused) {
    return r->n_let_go == count_retired(r) ? 0 : look_at_all(r, context, refused);
}

/* (Peers that had nothing to give may have something that is understood now.) */
int slv_replica_retire(struct slv_replica *r) {
    if (r->failed) return r->failed;
    memset(r->shy, 0, sizeof r->shy);
    const int rc = replica_let_go(r);
    return rc ? rc : replica_drain(r);
}

/* --- comparing -------------------------------------------------------------------------------- */

int replica_level(const struct slv_replica *r, struct slv_dots *theirs, bool *ret_lacks) {
    int rc = 0;
    for (size_t i = 0; i < count_retired(r) && !rc; i++) {
        const struct slv_retirement *t = r->conf.retired->v[i];
        const bool here = slv_dots_has(&r->space.context, t->dot);
        const bool there = slv_dots_has(theirs, t->dot);
        const uint64_t last = slv_dots_last(&r->space.context, t->writer);
        if (here && !there) {
            if (!slv_retired_names(r->conf.retired, theirs, t->writer) &&
                slv_dots_base(theirs, t->writer) <
                    slv_retired_last(r->conf.retired, t->writer, r->conf.id))
                *ret_lacks = true;
            rc = slv_dots_add_dot(theirs, t->dot);
        }
        if (there && last) rc = slv_dots_add(theirs, t->writer, (struct slv_dot_range){1, last});
    }
    return rc;
}
