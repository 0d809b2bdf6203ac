/* replica_retire.c: see replica.h and retired.h. Letting go of writers that are retired, and
 * comparing what was seen with one who has let others go. */
#include "mesh/replica_int.h"

/* --- writers ---------------------------------------------------------------------------------- */

size_t slv_replica_writers(const struct slv_replica *r) { return r->n_head; }

void slv_replica_writer(const struct slv_replica *r, size_t i, struct slv_replica_writer *ret) {
    const struct head *h = &r->head[i];
    *ret = (struct slv_replica_writer){h->writer, h->node, h->last, h->store};
}

size_t slv_replica_let_go(const struct slv_replica *r) { return r->n_let_go; }

static bool waits_for(const struct slv_replica *r, uint64_t writer) {
    for (const struct waiting *w = r->waiting; w; w = w->next)
        if (w->batch.head.writer == writer) return true;
    return false;
}

/* Of a writer that is retired; an empty set where it wrote nothing here. */
static const struct slv_dots *all_of(const struct slv_replica *r, uint64_t writer) {
    static const struct slv_dots nothing = {0};
    const struct slv_dots *seen = slv_retired_seen(r->conf.retired, writer, r->conf.id);
    return seen ? seen : &nothing;
}

int slv_replica_seen_of(const struct slv_replica *r, uint64_t writer, struct slv_dots *ret) {
    const struct slv_dots seen = slv_space_let_go(&r->space, writer)
                                     ? *all_of(r, writer)
                                     : slv_dots_of(&r->space.context, writer);
    int rc = waits_for(r, writer) ? SLV_E_BUSY : 0;
    if (!rc) rc = slv_dots_join(ret, &seen);
    if (rc) slv_dots_fini(ret);
    return rc;
}

uint64_t replica_proved(const struct slv_replica *r, uint64_t writer) {
    const struct head *h = replica_head(r, writer);
    const uint64_t last = slv_dots_last(all_of(r, writer), writer);
    return h && h->last > last ? h->last : last;
}

/* Of a writer the last write, before which all of its were; of a group each retirement. */
int replica_depend_on(struct slv_replica *r, const struct slv_dots *seen) {
    const struct slv_retired *t = r->conf.retired;
    int rc = 0;
    for (uint32_t i = 0; i < seen->n && !rc; i++) {
        const struct slv_dots_writer *w = &seen->writer[i];
        const bool is_group = slv_dots_last(&t->dots, w->id) > 0;
        for (uint32_t k = 0; k < w->n && is_group && !rc; k++)
            rc = slv_dots_add(&r->deps, w->id, w->range[k]);
        if (!is_group && w->id != r->writer)
            rc = slv_dots_add_dot(&r->deps, (struct slv_dot){w->id, w->range[w->n - 1].last});
    }
    return rc;
}

static void trim_log(struct slv_replica *r, uint64_t writer) {
    struct slv_dot_range any = {1, SLV_DOT_MAX};
    struct slv_dots_writer w = {.id = writer, .range = &any, .n = 1};
    const struct slv_dots dots = {.writer = &w, .n = 1};
    slv_oplog_trim(r->log, &dots);
}

/* --- letting go ------------------------------------------------------------------------------- */

/* Numbers of a writer are here that were in nobody's store when it was retired. */
static bool has_more(const struct slv_replica *r, const struct slv_retirement *t) {
    const struct slv_dots *all = slv_retirement_seen(t, r->conf.id);
    const struct slv_dots seen = slv_dots_of(&r->space.context, t->writer);
    return all && !slv_dots_cover(all, &seen);
}

bool slv_replica_has_more(const struct slv_replica *r) {
    for (size_t i = 0; i < r->conf.retired->n; i++)
        if (has_more(r, r->conf.retired->v[i])) return true;
    return false;
}

/* Such writes are nowhere else, and never will be: nor may what they removed be gone. So what this
 * node had seen is as good as damaged. */
void replica_drop_retired(struct slv_replica *r) {
    for (size_t i = 0; i < r->conf.retired->n; i++) {
        const struct slv_retirement *t = r->conf.retired->v[i];
        if (has_more(r, t)) trim_log(r, t->writer);
    }
    for (uint64_t i = 0; i < slv_entries_count(r->space.entries);) {
        const struct slv_dot dot = slv_entries_at(r->space.entries, i)->dot;
        const struct slv_dots *all = slv_retired_seen(r->conf.retired, dot.writer, r->conf.id);
        if (all && !slv_dots_has(all, dot)) slv_space_drop(&r->space, dot);
        else i++;
    }
}

/* What there is more of one. */
static int forget_more(struct slv_replica *r, const struct slv_retirement *t) {
    const struct slv_dots seen = slv_dots_of(&r->space.context, t->writer);
    struct slv_dots more = {0};
    int rc = slv_dots_join(&more, &seen);
    if (!rc) rc = slv_dots_subtract(&more, slv_retirement_seen(t, r->conf.id));
    if (!rc) rc = slv_dots_subtract(&r->space.context, &more);
    slv_dots_fini(&more);
    return rc;
}

int replica_forget_more(struct slv_replica *r) {
    int rc = 0;
    for (size_t i = 0; i < r->conf.retired->n && !rc; i++)
        if (has_more(r, r->conf.retired->v[i])) rc = forget_more(r, r->conf.retired->v[i]);
    return rc;
}

/* A context that is full of writers has room for the retirement of one of them. */
static int name(struct slv_replica *r, const struct slv_retirement *t) {
    struct slv_dots *c = &r->space.context;
    int rc = slv_dots_add_dot(c, t->dot);
    if (rc == SLV_E_LIMIT && slv_dots_last(c, t->writer)) {
        slv_dots_drop(c, t->writer);
        rc = slv_dots_add_dot(c, t->dot);
    }
    return rc;
}

/* (Batches of the writer that wait are here by then, and go with the next look at those.) */
static int let_go(struct slv_replica *r, const struct slv_retirement *t) {
    int rc = r->conf.causal ? slv_dots_add_dot(&r->deps, t->dot) : 0;
    if (!rc) rc = name(r, t);
    if (rc) return rc;
    slv_dots_drop(&r->space.context, t->writer);
    slv_dots_drop(&r->deps, t->writer);
    trim_log(r, t->writer);
    replica_drop_head(r, t->writer);
    replica_saw(r);
    return 0;
}

/* (Not the writer that this node has, nor one of which it has more: it is to be opened anew. One
 * that does not list this space is done with.) */
static int look_at_all(struct slv_replica *r, const struct slv_dots *context,
                       const struct slv_dots *refused) {
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < r->conf.retired->n && !rc; i++) {
        const struct slv_retirement *t = r->conf.retired->v[i];
        const struct slv_dots *all = slv_retirement_seen(t, r->conf.id);
        bool done = !all || slv_dots_has(&r->space.context, t->dot);
        const bool told =
            context && slv_dots_has(context, t->dot) && !slv_dots_last(refused, t->writer);
        const bool may = !done && t->writer != r->writer && !has_more(r, t);
        if (may && (told || slv_space_covers(&r->space, all))) {
            rc = let_go(r, t);
            done = !rc;
        }
        n += done;
    }
    r->n_let_go = n;
    return rc;
}

int replica_let_go(struct slv_replica *r) {
    return r->n_let_go == r->conf.retired->n ? 0 : look_at_all(r, NULL, NULL);
}

int replica_let_go_named(struct slv_replica *r, const struct slv_dots *context,
                         const struct slv_dots *refused) {
    return r->n_let_go == r->conf.retired->n ? 0 : look_at_all(r, context, refused);
}

int replica_strip(const struct slv_replica *r, struct slv_dots *seen) {
    if (!r->conf.retired->n) return 0;
    for (uint32_t i = 0; i < seen->n;) {
        const uint64_t id = seen->writer[i].id;
        if (slv_space_let_go(&r->space, id)) slv_dots_drop(seen, id);
        else i++;
    }
    return slv_dots_subtract(seen, &r->conf.retired->dots);
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
    for (size_t i = 0; i < r->conf.retired->n && !rc; i++) {
        const struct slv_retirement *t = r->conf.retired->v[i];
        const struct slv_dots *all = slv_retirement_seen(t, r->conf.id);
        if (!all) continue;
        const bool here = slv_dots_has(&r->space.context, t->dot);
        const bool there = slv_dots_has(theirs, t->dot);
        const uint64_t last = slv_dots_last(&r->space.context, t->writer);
        if (here && !there) {
            if (!slv_retired_names(r->conf.retired, theirs, t->writer) &&
                !slv_dots_cover(theirs, all))
                *ret_lacks = true;
            rc = slv_dots_add_dot(theirs, t->dot);
        }
        if (there && last) rc = slv_dots_add(theirs, t->writer, (struct slv_dot_range){1, last});
    }
    return rc;
}
