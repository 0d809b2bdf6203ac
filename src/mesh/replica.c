/* replica.c: see replica.h. Its own writes, others' batches, messages. */
#include "mesh/replica_int.h"
#include "base/mem.h"
#include "mesh/check.h"

#include <sodium.h>

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_ttl(const struct slv_replica_conf *c) {
    return !c->ttl_ms || (slv_mesh_type_expires(c->type) && c->ttl_ms >= SLV_TTL_MIN_MS &&
                          c->ttl_ms <= SLV_TTL_MAX_MS);
}

static bool is_history(const struct slv_replica_conf *c) {
    return !c->history_ms ||
           (slv_mesh_type_reverts(c->type) && !c->ttl_ms && c->history_ms >= SLV_HISTORY_MIN_MS &&
            c->history_ms <= SLV_HISTORY_MAX_MS);
}

static const struct slv_retired nobody; /* is retired */

int slv_replica_open(const struct slv_replica_conf *conf, struct slv_replica **ret) {
    if (!is_ttl(conf) || !is_history(conf)) return SLV_E_USAGE;
    struct slv_replica *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return SLV_E_NOMEM;
    r->conf = *conf;
    if (!conf->retired) r->conf.retired = &nobody;
    r->waiting_end = &r->waiting;
    r->pull_id = conf->chance;
    slv_buf_init(&r->ops, SLV_BATCH_OPS_MAX);
    replica_forget_ghosts(&r->unsigned_);
    replica_forget_ghosts(&r->unsynced);
    slv_buf_init(&r->pull.later, conf->repair_max);
    int rc = slv_space_init(&r->space);
    r->space.retired = r->conf.retired;
    if (conf->ttl_ms) slv_ttl_init(&r->space.ttl, conf->ttl_ms);
    if (!rc) rc = slv_oplog_open(conf->log_max, &r->log);
    if (!rc && conf->history_ms)
        rc = slv_history_open(conf->history_ms, conf->history_max, &r->history_keep, &r->history);
    if (rc) {
        slv_replica_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void slv_replica_close(struct slv_replica *r) {
    if (!r) return;
    replica_forget_ranges(r);
    for (struct waiting *w = r->waiting, *next; w; w = next) {
        next = w->next;
        slv_batch_fini(&w->batch);
        slv_mem_free(w);
    }
    for (size_t i = 0; i < r->n_head; i++)
        slv_mem_free(r->head[i].bytes);
    slv_mem_free(r->head);
    slv_mem_free(r->synced_head.bytes);
    slv_buf_fini(&r->unsigned_.bytes);
    slv_buf_fini(&r->unsynced.bytes);
    slv_dots_fini(&r->overruled);
    slv_dots_fini(&r->deps);
    slv_buf_fini(&r->ops);
    slv_buf_fini(&r->pull.later);
    slv_oplog_close(r->log);
    slv_history_close(r->history);
    slv_space_fini(&r->space);
    slv_mem_free(r);
}

const struct slv_space *slv_replica_space(const struct slv_replica *r) { return &r->space; }
uint64_t slv_replica_id(const struct slv_replica *r) { return r->conf.id; }
bool slv_replica_is_causal(const struct slv_replica *r) { return r->conf.causal; }
const struct slv_history *slv_replica_history(const struct slv_replica *r) { return r->history; }

void slv_replica_hold_history(struct slv_replica *r, bool on) { slv_history_hold(r->history, on); }

int slv_replica_undone(const struct slv_replica *r, const struct slv_undo *u, bool again,
                       struct slv_undone *ret) {
    return slv_history_undone(r->history, &r->space, u, again, replica_node_of, r, ret);
}

const struct slv_replica_count *slv_replica_count(const struct slv_replica *r) { return &r->count; }
uint64_t slv_replica_news(const struct slv_replica *r) { return r->news; }
uint64_t slv_replica_last(const struct slv_replica *r) { return r->flushed; }

/* --- time to live ----------------------------------------------------------------------------- */

/* (What went is gone with the records of this, and so is the reach that says so.) */
static void expire(struct slv_replica *r) {
    const uint64_t n = slv_space_expire(&r->space);
    r->count.expired += n;
    if (n) replica_saw(r);
}

uint64_t slv_replica_expire(struct slv_replica *r) {
    struct slv_ttl *t = &r->space.ttl;
    if ((!t->ms && !r->history) || r->failed) return UINT64_MAX;
    const uint64_t now = slv_hlc_wall_ms(r->conf.hlc);
    if (t->ms) slv_ttl_advance(t, now, r->conf.hlc->skew_ms);
    if (t->ms) expire(r);
    const uint64_t next = t->ms ? slv_ttl_next(t) : slv_history_trim(r->history, now);
    return next == UINT64_MAX ? next : next > now ? (next - now) * 1000000u : 1;
}

static bool follow(struct slv_replica *r, uint64_t peer, uint64_t ms) {
    const struct slv_replica_world *w = r->conf.world;
    struct slv_ttl *t = &r->space.ttl;
    if (ms <= t->cut) return true;
    if (!w->may_repair(w->ctx, peer)) return false;
    if (ms << 16 > slv_hlc_limit(r->conf.hlc)) {
        r->count.too_far++;
        return false;
    }
    slv_ttl_follow(t, ms);
    expire(r);
    return true;
}

/* The last that is a time. */
static uint64_t cut_max(const struct slv_replica *r) {
    return ((uint64_t)1 << 47) / r->space.ttl.grain;
}

void slv_replica_follow(struct slv_replica *r, uint64_t peer, uint64_t cut) {
    if (!r->space.ttl.ms || r->failed || cut > cut_max(r)) return;
    slv_replica_expire(r);
    follow(r, peer, cut * r->space.ttl.grain);
}

uint64_t slv_replica_cut(const struct slv_replica *r) {
    return r->space.ttl.ms ? r->space.ttl.cut / r->space.ttl.grain : 0;
}

void replica_write_cut(const struct slv_replica *r, struct slv_buf *b) {
    if (r->space.ttl.ms) slv_write_number(b, slv_replica_cut(r));
}

bool replica_read_cut(struct slv_replica *r, uint64_t peer, struct slv_reader *m,
                      uint64_t *ret_ms) {
    if (!r->space.ttl.ms) return true;
    const uint64_t ms = slv_read_number(m, cut_max(r)) * r->space.ttl.grain;
    if (ret_ms) *ret_ms = ms;
    return !m->bad && follow(r, peer, ms);
}

void replica_write_reach(const struct slv_replica *r, struct slv_buf *b) {
    if (r->space.ttl.ms) slv_write_number(b, r->space.ttl.reach / r->space.ttl.grain);
}

int replica_load_reach(struct slv_replica *r, struct slv_reader *m) {
    if (!r->space.ttl.ms) return 0;
    r->space.ttl.reach = slv_read_number(m, cut_max(r)) * r->space.ttl.grain;
    return m->bad ? SLV_E_FORMAT : 0;
}

/* --- room ------------------------------------------------------------------------------------- */

bool replica_has_room(const struct slv_replica *r, bool replaces) {
    const size_t max = r->conf.max;
    return !max || slv_entries_bytes(r->space.entries) < max + (replaces ? max / 4 : 0);
}

bool slv_replica_is_full(const struct slv_replica *r) { return !replica_has_room(r, false); }

/* What an op takes away, as it says. */
static uint64_t takes(const struct slv_op *op) { return slv_dots_count(&op->removes); }

static int has_room_for(const struct slv_replica *r, const struct slv_batch *b, bool *ret) {
    struct slv_batch_walk walk = slv_batch_walk_of(b);
    struct slv_op op = {0};
    uint64_t more = 0, less = 0;
    int rc;
    *ret = replica_has_room(r, false);
    if (*ret) return 0;
    while (!(rc = slv_batch_next(&walk, &op))) {
        more += op.n;
        less += takes(&op);
        slv_op_fini(&op);
    }
    *ret = !more || (more <= less && replica_has_room(r, true));
    return rc == 1 ? 0 : rc;
}

/* --- own writes ------------------------------------------------------------------------------- */

/* (It has a later stamp than what was due: with a time to live that is shorter than a peer's clock
 * is ahead it would be due at once.) */
int slv_replica_draft(struct slv_replica *r, struct slv_str key, struct slv_draft *ret) {
    const struct slv_dot dot = {r->writer, r->next};
    slv_replica_expire(r);
    const bool later = slv_hlc_see(r->conf.hlc, r->space.ttl.cut << 16);
    const uint64_t stamp = slv_hlc_now(r->conf.hlc);
    if (!later) slv_replica_expire(r); /* the clock was set back in between: the cut is, too */
    return slv_draft_open(ret, &r->space, r->conf.type, key, dot, stamp);
}

int slv_replica_write(struct slv_replica *r, const struct slv_draft *d) {
    const struct slv_replica_world *w = r->conf.world;
    const struct slv_op *op = &d->op;
    if (r->failed) return r->failed;
    if (!w->may_write(w->ctx, r->conf.node, op->key)) return SLV_E_USAGE;
    /* (A mark comes with what was put back.) */
    const bool replaces = op->n <= takes(op) || slv_mark_is_key(op->key);
    if (op->n && !replica_has_room(r, replaces)) return SLV_E_LIMIT;
    const size_t len = r->ops.len;
    const uint64_t first = len ? r->first_waiting : r->next;
    if (slv_op_range(op).last - first >= SLV_BATCH_DOTS_MAX) return SLV_E_BUSY;
    slv_op_write(op, &r->ops);
    int rc = r->ops.status;
    if (rc == SLV_E_LIMIT && len) rc = SLV_E_BUSY; /* alone it might fit */
    r->writing = true;
    replica_begin_op(r, r->conf.node, d->stamp);
    if (!rc) rc = slv_space_write(&r->space, op);
    replica_end_op(r, r->writer, slv_op_range(op), !rc);
    r->writing = false;
    if (rc) {
        r->ops.len = len;
        r->ops.status = 0;
        return rc;
    }
    r->first_waiting = first;
    r->stamp = d->stamp;
    r->next = slv_op_range(op).last + 1;
    replica_saw(r);
    r->count.written++;
    return 0;
}

size_t slv_replica_waiting(const struct slv_replica *r) { return r->ops.len; }

static int sign_waiting(struct slv_replica *r, struct slv_buf *ret) {
    const size_t len = ret->len;
    struct slv_batch_head h = {.space = r->conf.id,
                               .node = r->conf.node,
                               .store = r->store,
                               .stamp = r->stamp,
                               .dots = {r->first_waiting, r->next - 1},
                               .deps = r->deps};
    int rc = slv_batch_write(&h, (struct slv_str){r->ops.data, r->ops.len}, r->conf.trust, ret);
    if (rc) return rc;
    h.writer = r->writer;
    h.bytes = (struct slv_str){ret->data + len, ret->len - len - r->ops.len};
    rc = replica_keep_head(r, &h);
    if (!rc) rc = replica_keep_batch(r, &h, (struct slv_str){ret->data + len, ret->len - len});
    if (rc) {
        ret->len = len;
        return rc;
    }
    slv_buf_add(&r->unsynced.bytes, r->unsigned_.bytes.data, r->unsigned_.bytes.len);
    r->unsynced.n += r->unsigned_.n;
    replica_forget_ghosts(&r->unsigned_);
    slv_dots_fini(&r->deps);
    r->flushed = r->next - 1;
    slv_buf_clear(&r->ops);
    return 0;
}

int slv_replica_flush(struct slv_replica *r, struct slv_buf *ret) {
    const int rc = r->failed ? r->failed : r->ops.len ? sign_waiting(r, ret) : 0;
    if (rc) return rc;
    if (r->context_changed) {
        replica_keep_context(r);
    }
    return r->failed;
}

int replica_own_synced(struct slv_replica *r) {
    const struct head *own = replica_head(r, r->writer);
    char *copy = own ? slv_mem_strndup(own->bytes, own->n) : NULL;
    if (own && !copy) return SLV_E_NOMEM;
    slv_mem_free(r->synced_head.bytes);
    r->synced_head = own ? *own : (struct head){0};
    r->synced_head.bytes = copy;
    return 0;
}

/* (Without memory for the head that others are told nothing could be proved: it is opened anew) */
void slv_replica_synced(struct slv_replica *r) {
    const bool more = r->synced != r->flushed;
    r->synced = r->flushed;
    replica_forget_ghosts(&r->unsynced);
    if (!replica_has_ghosts(r)) slv_dots_fini(&r->overruled);
    if (more && replica_own_synced(r) && !r->failed) r->failed = SLV_E_IO;
}

/* --- others' batches -------------------------------------------------------------------------- */

/* All of its ops are such as the type and the lists allow. */
static int check_ops(const struct slv_replica *r, const struct slv_batch *b, bool *ret_allowed) {
    const struct slv_replica_world *w = r->conf.world;
    struct slv_batch_walk walk = slv_batch_walk_of(b);
    struct slv_op op = {0};
    int rc;
    *ret_allowed = true;
    while (!(rc = slv_batch_next(&walk, &op))) {
        const bool good = slv_op_check(&op, r->conf.type, r->conf.ttl_ms, b->head.stamp);
        *ret_allowed = *ret_allowed && w->may_write(w->ctx, b->head.node, op.key);
        slv_op_fini(&op);
        if (!good) return SLV_E_FORMAT;
    }
    return rc == 1 ? 0 : rc;
}

/* What there is only one of: of two that come together, one is read, or people are to choose. (Of a
 * document's places: objects and counters are merged, see doc.h.) */
static bool is_choice(enum slv_mesh_type t, const struct slv_entry *a, const struct slv_entry *b) {
    const struct slv_str x = slv_entry_data(a), y = slv_entry_data(b);
    if (t != SLV_TYPE_DOC) return t <= SLV_TYPE_OFF_WINS;
    if (!a->n_path || a->bytes[a->n_path - 1] != '=' || x.n < 9 || y.n < 9) return false;
    return x.p[8] != y.p[8] || (x.p[8] != '{' && x.p[8] != '+');
}

static bool is_conflict(enum slv_mesh_type t, const struct slv_entry *a,
                        const struct slv_entry *b) {
    return b && a->key == b->key && a->dot.writer != b->dot.writer && a->n_path == b->n_path &&
           !memcmp(a->bytes, b->bytes, a->n_path) && is_choice(t, a, b);
}

bool replica_is_conflict(const struct slv_replica *r, const struct slv_entry *e) {
    const struct slv_entries *t = r->space.entries;
    const enum slv_mesh_type type = r->conf.type;
    if (slv_mark_is_key(slv_entry_key(e))) return false;
    if (type > SLV_TYPE_OFF_WINS && type != SLV_TYPE_DOC) return false;
    const struct slv_place at = slv_entry_place(e);
    const uint64_t rank = slv_entries_rank(t, &at);
    return is_conflict(type, e, slv_entries_at(t, rank + 1)) ||
           (rank && is_conflict(type, e, slv_entries_at(t, rank - 1)));
}

int replica_apply_ops(struct slv_replica *r, const struct slv_batch *b) {
    struct slv_batch_walk walk = slv_batch_walk_of(b);
    struct slv_op op = {0};
    int rc;
    replica_begin_op(r, b->head.node, b->head.stamp);
    while (!(rc = slv_batch_next(&walk, &op))) {
        bool fresh;
        r->applying = true;
        rc = slv_space_apply(&r->space, &op, &fresh);
        r->applying = false;
        if (!rc && replica_has_ghosts(r)) rc = slv_dots_join(&r->overruled, &op.removes);
        slv_op_fini(&op);
        if (rc) break;
        r->count.applied += fresh;
    }
    replica_end_op(r, b->head.writer, b->head.dots, rc == 1);
    /* (Where a number was given twice, ops may not follow on here.) */
    return rc == 1 ? slv_dots_add(&r->space.context, b->head.writer, b->head.dots) : rc;
}

/* A batch's dots, all of them, are in the context. */
static bool is_here(const struct slv_replica *r, const struct slv_batch_head *h) {
    struct slv_dots_writer w = {
        .id = h->writer, .range = (struct slv_dot_range[]){h->dots}, .n = 1};
    const struct slv_dots all = {.writer = &w, .n = 1};
    return slv_space_covers(&r->space, &all);
}

struct proof {
    const struct slv_replica *r;
    const struct slv_batch_head *h;
};

static int is_unproved(void *ctx, uint64_t writer, struct slv_dot_range d) {
    const struct proof *p = ctx;
    if (slv_space_let_go(&p->r->space, writer)) return 0;
    return d.last > (writer == p->h->writer ? p->h->dots.last : replica_proved(p->r, writer));
}

/* What it removes was written, as far as heads prove it. What was not may not be removed: one could
 * forbid others to write. */
static int removes_proved(const struct slv_replica *r, const struct slv_batch *b, bool *ret) {
    const struct slv_dots nothing = {0};
    struct proof p = {r, &b->head};
    struct slv_batch_walk walk = slv_batch_walk_of(b);
    struct slv_op op = {0};
    int rc;
    *ret = true;
    while (!(rc = slv_batch_next(&walk, &op))) {
        if (slv_dots_missing(&op.removes, &nothing, is_unproved, &p)) *ret = false;
        slv_op_fini(&op);
    }
    return rc == 1 ? 0 : rc;
}

/* Whether who signed it may write some keys of the space only. */
static bool is_confined(const struct slv_replica *r, const struct slv_batch *b) {
    const struct slv_replica_world *w = r->conf.world;
    return !w->may_write(w->ctx, b->head.node, (struct slv_str){"", 0});
}

static bool keeps_to_its_key(const struct slv_replica *r, const struct slv_op *op) {
    for (uint32_t i = 0; i < op->removes.n; i++) {
        const struct slv_dots_writer *w = &op->removes.writer[i];
        for (uint32_t k = 0; k < w->n; k++)
            for (uint64_t n = w->range[k].first; n <= w->range[k].last; n++) {
                const struct slv_entry *e =
                    slv_entries_find(r->space.entries, (struct slv_dot){w->id, n});
                const struct slv_str key = e ? slv_entry_key(e) : op->key;
                if (key.n != op->key.n || memcmp(key.p, op->key.p, key.n) != 0) return false;
            }
    }
    return true;
}

/* What was not seen here, and does not come with the batch itself. */
static int is_unseen(void *ctx, uint64_t writer, struct slv_dot_range d) {
    const struct proof *p = ctx;
    if (slv_space_let_go(&p->r->space, writer)) return 0;
    return writer != p->h->writer || d.first < p->h->dots.first || d.last > p->h->dots.last;
}

/* Who is confined to some keys removes nothing of others, which a dot does not tell: what he
 * removes must have been seen here, and where it is still there be of the op's key. *ret_good: that
 * it is; *ret_seen: that it was. */
static int look_at_removes(const struct slv_replica *r, const struct slv_batch *b, bool *ret_good,
                           bool *ret_seen) {
    struct slv_batch_walk walk = slv_batch_walk_of(b);
    struct proof p = {r, &b->head};
    struct slv_op op = {0};
    int rc;
    *ret_good = *ret_seen = true;
    while (!(rc = slv_batch_next(&walk, &op))) {
        if (slv_dots_count(&op.removes) > SLV_OP_REMOVES_MAX) *ret_good = false;
        else if (slv_dots_missing(&op.removes, &r->space.context, is_unseen, &p)) *ret_seen = false;
        else if (!keeps_to_its_key(r, &op)) *ret_good = false;
        slv_op_fini(&op);
    }
    return rc == 1 ? 0 : rc;
}

/* Whether a batch may be applied now. Those of a causal space, when all is here that it was written
 * in view of: its writer's batch before it, and what it names. *ret_good: whether it may at all. */
static int is_due(const struct slv_replica *r, const struct slv_batch *b, bool *ret,
                  bool *ret_good) {
    const struct slv_batch_head *h = &b->head;
    bool seen = true;
    *ret_good = true;
    int rc = removes_proved(r, b, ret);
    if (!rc && is_confined(r, b)) rc = look_at_removes(r, b, ret_good, &seen);
    *ret = *ret && seen;
    if (rc || !*ret || !r->conf.causal) return rc;
    *ret = (h->dots.first == 1 ||
            slv_space_has(&r->space, (struct slv_dot){h->writer, h->dots.first - 1})) &&
           slv_space_covers(&r->space, &h->deps);
    return 0;
}

/* All of its dots are seen. Its head may be news all the same, or the same dots have other
 * contents: its node signed both. */
static int look_again(struct slv_replica *r, const struct slv_batch *b) {
    const struct slv_replica_world *w = r->conf.world;
    const struct slv_batch_head *h = &b->head;
    const struct head *had = replica_head(r, h->writer);
    const struct slv_str kept = slv_oplog_find(r->log, (struct slv_dot){h->writer, h->dots.first});
    const bool differs =
        kept.n && (kept.n != b->bytes.n || memcmp(kept.p, b->bytes.p, kept.n) != 0);
    const bool further = !had || had->last < h->dots.last;
    if ((!differs && !further) || !slv_batch_head_check(h, r->conf.trust)) return 0;
    if (differs) w->two_faced(w->ctx, h->node, kept, b->bytes);
    return further ? replica_keep_head(r, h) : 0;
}

static int apply(struct slv_replica *r, uint64_t peer, const struct slv_batch *b) {
    const struct slv_replica_world *w = r->conf.world;
    int rc = replica_keep_head(r, &b->head);
    if (!rc) rc = replica_apply_ops(r, b);
    replica_saw(r);
    if (!rc) rc = replica_keep_batch(r, &b->head, b->bytes);
    if (!rc && r->conf.causal)
        rc = slv_dots_add_dot(&r->deps, (struct slv_dot){b->head.writer, b->head.dots.last});
    if (!rc) w->fresh(w->ctx, b, peer);
    return rc;
}

static int put_off(struct slv_replica *r, uint64_t peer, const struct slv_batch *b) {
    struct waiting *w;
    for (w = r->waiting; w; w = w->next)
        if (w->batch.head.writer == b->head.writer &&
            w->batch.head.dots.first == b->head.dots.first)
            return 0;
    const size_t cost = sizeof *w + b->bytes.n;
    if (cost > r->conf.waiting_max - r->waiting_bytes) {
        r->count.put_off++;
        return 0;
    }
    w = slv_mem_alloc(cost);
    if (!w) return SLV_E_NOMEM;
    memcpy(w->bytes, b->bytes.p, b->bytes.n);
    struct slv_reader m = slv_reader_of(w->bytes, b->bytes.n);
    const int rc = slv_batch_read(&m, &w->batch);
    if (rc) {
        slv_mem_free(w);
        return rc;
    }
    w->next = NULL;
    w->peer = peer;
    *r->waiting_end = w;
    r->waiting_end = &w->next;
    r->waiting_bytes += cost;
    r->count.waited++;
    return 0;
}

/* What is signed by whom it says, allowed, well-formed, and not of the future. */
static int check_batch(struct slv_replica *r, const struct slv_batch *b, bool *ret_good) {
    bool allowed;
    *ret_good = false;
    if (!slv_batch_head_check(&b->head, r->conf.trust)) {
        r->count.forged++;
        return 0;
    }
    const int rc = check_ops(r, b, &allowed);
    if (rc == SLV_E_FORMAT) r->count.malformed++;
    else if (!rc && !allowed) r->count.forbidden++;
    else if (!rc && !slv_hlc_see(r->conf.hlc, b->head.stamp)) r->count.in_future++;
    else *ret_good = !rc;
    return rc == SLV_E_FORMAT ? 0 : rc;
}

/* A batch of this store's own that it has not written, as far as it knows: it has lost it. */
static bool is_overtaken(struct slv_replica *r, const struct slv_batch_head *h) {
    const struct slv_replica_world *w = r->conf.world;
    if (h->writer != r->writer || h->dots.last < r->next || !slv_batch_head_check(h, r->conf.trust))
        return false;
    r->failed = SLV_E_BUSY;
    w->behind_itself(w->ctx);
    return true;
}

int replica_take(struct slv_replica *r, uint64_t peer, struct slv_batch *b, bool *ret_new) {
    bool good, due;
    *ret_new = false;
    if (r->failed) return r->failed;
    if (b->head.space != r->conf.id) return SLV_E_TRUST;
    if (is_overtaken(r, &b->head)) return r->failed;
    if (is_here(r, &b->head)) {
        r->count.doubled++;
        return slv_space_let_go(&r->space, b->head.writer) ? 0 : look_again(r, b);
    }
    int rc = check_batch(r, b, &good);
    if (rc || !good) return rc;
    rc = has_room_for(r, b, &good);
    r->count.full += !rc && !good;
    if (rc || !good) return rc;
    rc = is_due(r, b, &due, &good);
    r->count.forbidden += !rc && !good;
    if (rc || !good) return rc;
    if (!due) return put_off(r, peer, b);
    rc = apply(r, peer, b);
    *ret_new = !rc;
    if (!rc) rc = replica_drain(r);
    return rc ? rc : replica_let_go(r);
}

int replica_drain(struct slv_replica *r) {
    struct waiting **at = &r->waiting;
    while (*at && !r->failed) {
        struct waiting *w = *at;
        const bool here = is_here(r, &w->batch.head);
        bool due, good;
        int rc = is_due(r, &w->batch, &due, &good);
        if (!rc && !here && good && !due) {
            at = &w->next;
            continue;
        }
        r->count.forbidden += !rc && !here && !good;
        if (!rc && !here && good) rc = apply(r, w->peer, &w->batch);
        if (rc) return rc; /* it waits on, and is tried again with the next */
        r->waiting_bytes -= sizeof *w + w->batch.bytes.n;
        *at = w->next;
        if (!w->next) r->waiting_end = at;
        slv_batch_fini(&w->batch);
        slv_mem_free(w);
        at = &r->waiting; /* others may be due now */
    }
    return r->failed;
}

/* --- what others may know --------------------------------------------------------------------- */

bool replica_may_show(const struct slv_replica *r, struct slv_dot dot) {
    return dot.writer != r->writer || dot.n <= r->synced;
}

struct show {
    const struct slv_replica *r;
    struct slv_dots *to;
};

static int show_range(void *ctx, uint64_t writer, struct slv_dot_range d) {
    const struct show *s = ctx;
    if (writer == s->r->writer && d.last > s->r->synced) d.last = s->r->synced;
    return d.first > d.last ? 0 : slv_dots_add(s->to, writer, d);
}

int replica_shown(const struct slv_replica *r, struct slv_dots *ret) {
    const struct slv_dots nothing = {0};
    struct show s = {r, ret};
    const int rc = slv_dots_missing(&r->space.context, &nothing, show_range, &s);
    if (rc) slv_dots_fini(ret);
    return rc;
}

static void write_print(struct slv_print p, uint8_t ret[SLV_SUM_BYTES]) {
    for (size_t i = 0; i < 8; i++) {
        ret[i] = (uint8_t)(p.lo >> 8 * i);
        ret[8 + i] = (uint8_t)(p.hi >> 8 * i);
    }
}

void replica_sums(struct slv_replica *r, const struct slv_dots *shown, uint8_t seen[SLV_SUM_BYTES],
                  uint8_t there[SLV_SUM_BYTES]) {
    const struct slv_entries *e = r->space.entries;
    struct slv_buf b;
    slv_buf_init(&b, SLV_MESSAGE_MAX);
    slv_dots_write(shown, &b);
    crypto_generichash(seen, SLV_SUM_BYTES, (const uint8_t *)b.data, b.len, NULL, 0);
    slv_buf_fini(&b);
    write_print(slv_entries_sum(e, 0, slv_entries_count(e)), there);
}

void slv_replica_sum(struct slv_replica *r, uint8_t ret[SLV_SUM_BYTES]) {
    uint8_t half[2 * SLV_SUM_BYTES] = {0};
    struct slv_dots shown = {0};
    if (!replica_shown(r, &shown)) replica_sums(r, &shown, half, half + SLV_SUM_BYTES);
    slv_dots_fini(&shown);
    crypto_generichash(ret, SLV_SUM_BYTES, half, sizeof half, NULL, 0);
}

/* --- messages --------------------------------------------------------------------------------- */

void replica_begin(const struct slv_replica *r, struct slv_buf *b, enum slv_mesh_kind kind) {
    slv_buf_init(b, SLV_MESSAGE_MAX);
    slv_buf_addc(b, (char)kind);
    slv_write_id(b, r->conf.id);
}

int replica_send(const struct slv_replica *r, uint64_t peer, struct slv_buf *b) {
    const struct slv_replica_world *w = r->conf.world;
    int rc = b->status;
    if (!rc) rc = w->send(w->ctx, peer, (struct slv_str){b->data, b->len});
    slv_buf_fini(b);
    return rc;
}

static int on_batches(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m) {
    bool gains = false;
    int rc = 0;
    while (!rc && slv_reader_left(m)) {
        struct slv_batch b;
        bool fresh = false;
        rc = slv_batch_read(m, &b);
        if (rc) break;
        rc = replica_take(r, peer, &b, &fresh);
        gains = gains || fresh;
        slv_batch_fini(&b);
    }
    replica_heard(r, peer, now, gains);
    return rc;
}

int slv_replica_receive(struct slv_replica *r, uint64_t peer, uint64_t now, enum slv_mesh_kind kind,
                        struct slv_reader *m) {
    if (r->failed) return r->failed;
    slv_replica_expire(r);
    switch (kind) {
    case SLV_MSG_BATCH:
        return on_batches(r, peer, now, m);
    case SLV_MSG_PULL:
        return replica_on_pull(r, peer, now, m);
    case SLV_MSG_GIVE:
        return replica_on_give(r, peer, now, m);
    case SLV_MSG_ASK:
        return replica_on_ask(r, peer, m);
    case SLV_MSG_TELL:
        return replica_on_tell(r, peer, now, m);
    }
    return SLV_E_FORMAT;
}
