/* node.c: see node.h. Spaces, the store, writes; peers are in node_peer.c, members in
 * node_member.c, what they must show in node_attest.c. */
#include "mesh/node_int.h"
#include "base/mem.h"

#include <sodium.h>

/* --- small things ----------------------------------------------------------------------------- */

void node_event(struct slv_node *n, enum slv_node_event e, uint64_t id, int state) {
    const struct slv_node_world *w = &n->conf.world;
    if (w->event) w->event(w->ctx, e, id, state);
}

void node_fail(struct slv_node *n, enum slv_node_event e) {
    if (n->failed) return;
    n->failed = true;
    node_event(n, e, n->conf.id, 0);
}

void node_measure(const struct slv_node *n, enum slv_node_measure what, size_t space,
                  double value) {
    const struct slv_node_world *w = &n->conf.world;
    if (w->measured) w->measured(w->ctx, what, space, value);
}

void node_end_round(struct space *s) {
    if (!s->round || slv_replica_asking(s->replica)) return;
    node_measure(s->node, SLV_NODE_ROUND, s->index, (double)s->round);
    s->round = 0;
}

uint64_t node_random(struct slv_node *n, uint64_t below) {
    const struct slv_node_world *w = &n->conf.world;
    return w->random(w->ctx) % below;
}

struct space *node_space(const struct slv_node *n, uint64_t id) {
    for (size_t i = 0; i < n->n_space; i++)
        if (n->space[i]->id == id) return n->space[i];
    return NULL;
}

uint64_t slv_node_writer(const struct slv_node *n) {
    return slv_mesh_writer(n->conf.id, n->store[0]);
}
uint64_t slv_node_id(const struct slv_node *n) { return n->conf.id; }
size_t slv_node_spaces(const struct slv_node *n) { return n->n_space; }
const struct slv_space_conf *slv_node_space_conf(const struct slv_node *n, size_t space) {
    return &n->space[space]->conf;
}
bool slv_node_failed(const struct slv_node *n) { return n->failed; }
struct slv_swim *slv_node_swim(const struct slv_node *n) {
    return n->swim;
}
uint64_t slv_node_durable(const struct slv_node *n) { return n->durable; }
struct slv_replica *slv_node_replica(const struct slv_node *n, size_t space) {
    return n->space[space]->replica;
}
const struct slv_space *slv_node_read(const struct slv_node *n, size_t space) {
    return slv_replica_space(n->space[space]->replica);
}

void slv_node_stats(const struct slv_node *n, struct slv_node_stats *ret) {
    *ret = n->stats;
    ret->connected = 0;
    ret->kept = n->n_kept;
    for (size_t i = 0; i < n->n_peer; i++)
        ret->connected += n->peer[i]->link != NULL;
}

/* --- a space's world -------------------------------------------------------------------------- */

/* Whoever heard the same would write it at the same time, and who shares a disk or a processor with
 * many would wait for them all: so it is written a while later, each at another time. */
static void note_record(struct slv_node *n) {
    if (!n->has_records) n->commit_next = n->now + LAZY_NS / 2 + node_random(n, LAZY_NS);
    n->has_records = true;
}

int node_put(struct slv_node *n, struct slv_str key, struct slv_str value) {
    const struct slv_node_world *w = &n->conf.world;
    const int rc = n->failed ? SLV_E_IO : w->put(w->ctx, key, value);
    note_record(n);
    if (rc) node_fail(n, SLV_NODE_FAILED);
    return rc;
}

int node_del(struct slv_node *n, struct slv_str key) {
    const struct slv_node_world *w = &n->conf.world;
    const int rc = n->failed ? SLV_E_IO : w->del(w->ctx, key);
    note_record(n);
    if (rc) node_fail(n, SLV_NODE_FAILED);
    return rc;
}

static int on_put(void *ctx, struct slv_str key, struct slv_str value) {
    return node_put(((struct space *)ctx)->node, key, value);
}

static int on_del(void *ctx, struct slv_str key) {
    return node_del(((struct space *)ctx)->node, key);
}

static int on_send(void *ctx, uint64_t peer, struct slv_str message) {
    struct space *s = ctx;
    const struct slv_str m = node_packed(s->node, message);
    const int rc = node_message(s->node, peer, SLV_LANE_REPAIR, m);
    if (!rc && slv_replica_asks(s->replica, peer)) s->round += m.n;
    return rc;
}

static bool on_may_write(void *ctx, uint64_t node, struct slv_str key) {
    const struct space *s = ctx;
    return node_may_write(s->node, node, s->conf.name, s->id, key);
}

static bool on_may_repair(void *ctx, uint64_t node) {
    const struct space *s = ctx;
    return node_may_repair(s->node, node, s->id);
}

/* (A writer's clock may be ahead of this one's.) */
static void measure_staleness(const struct space *s, const struct slv_batch *b) {
    const uint64_t now = slv_clock_wall(s->node->conf.clock) / MS,
                   then = slv_stamp_ms(b->head.stamp);
    node_measure(s->node, SLV_NODE_STALENESS, s->index,
                 now > then ? (double)(now - then) / 1e3 : 0);
}

static void begin_batches(const struct space *s, struct slv_buf *b) {
    slv_buf_init(b, SLV_MESSAGE_MAX);
    slv_buf_addc(b, SLV_MSG_BATCH);
    slv_write_id(b, s->id);
}

/* What was pushed here is pushed on, where its writer did not reach all itself. */
static void on_fresh(void *ctx, const struct slv_batch *b, uint64_t peer) {
    const struct space *s = ctx;
    struct slv_node *n = s->node;
    struct slv_buf m;
    if (n->conf.world.measured) measure_staleness(s, b);
    if (node_is_small(n)) return;
    begin_batches(s, &m);
    slv_buf_add(&m, b->bytes.p, b->bytes.n);
    if (!m.status) n->stats.handed_on += node_spread(n, (struct slv_str){m.data, m.len}, peer);
    slv_buf_fini(&m);
}

static void on_pulled(void *ctx) { ((struct space *)ctx)->node->announce = true; }

static void on_behind_itself(void *ctx) {
    node_fail(((struct space *)ctx)->node, SLV_NODE_OVERTAKEN);
}

static void on_two_faced(void *ctx, uint64_t node, struct slv_str one, struct slv_str other) {
    (void)one, (void)other;
    node_event(((struct space *)ctx)->node, SLV_NODE_TWO_FACED, node, 0);
}

static void on_changed(void *ctx, const struct slv_entry *e) {
    const struct space *s = ctx;
    const struct slv_node_world *w = &s->node->conf.world;
    if (w->changed && !slv_mark_is_key(slv_entry_key(e)))
        w->changed(w->ctx, s->index, slv_entry_key(e));
}

/* --- opening ---------------------------------------------------------------------------------- */

static const char meta_key[] = "m";

int slv_node_open(const struct slv_node_conf *conf, struct slv_node **ret) {
    struct slv_node *n = slv_mem_calloc(1, sizeof *n);
    if (!n) return SLV_E_NOMEM;
    n->conf = *conf;
    if (!conf->round_ms) n->conf.round_ms = 1000;
    if (!conf->direct_max) n->conf.direct_max = 64;
    if (!conf->idle_ms) n->conf.idle_ms = 20000;
    if (!conf->attest_ms) n->conf.attest_ms = 3600000;
    n->record = slv_mem_strndup(conf->record.p, conf->record.n);
    slv_buf_init(&n->later, (size_t)64 << 20);
    slv_buf_init(&n->members, (size_t)1 << 20);
    if (!n->record || node_roster_open(n) || slv_packer_open(&n->packer)) {
        slv_node_close(n);
        return SLV_E_NOMEM;
    }
    n->conf.record.p = n->record;
    slv_hlc_init(&n->hlc, conf->clock, conf->skew_ms);
    *ret = n;
    return 0;
}

void slv_node_close(struct slv_node *n) {
    if (!n) return;
    node_strong_close(n);
    node_roster_close(n);
    node_retire_close(n);
    slv_packer_close(n->packer);
    slv_buf_fini(&n->later);
    node_free_peers(n);
    node_member_close(n);
    for (size_t i = 0; i < n->n_space; i++) {
        slv_replica_close(n->space[i]->replica);
        slv_buf_fini(&n->space[i]->out);
        slv_mem_free(n->space[i]);
    }
    slv_mem_free(n->record);
    slv_mem_free(n);
}

uint64_t node_space_id(struct slv_str name, const char *type, char order, uint64_t ttl_ms) {
    struct slv_buf b;
    uint8_t out[16];
    slv_buf_init(&b, 256);
    slv_buf_adds(&b, "selvage mesh space 1");
    slv_write_bytes(&b, name.p, name.n);
    slv_buf_adds(&b, type);
    slv_buf_addc(&b, order);
    if (ttl_ms) {
        slv_buf_addc(&b, 't');
        slv_write_number(&b, ttl_ms);
    }
    crypto_generichash(out, sizeof out, (const uint8_t *)b.data, b.len, NULL, 0);
    slv_buf_fini(&b);
    struct slv_reader r = slv_reader_of(out, sizeof out);
    return slv_read_id(&r);
}

static int open_space(struct slv_node *n, struct space *s, const struct slv_space_conf *c) {
    s->node = n;
    s->id = node_space_id(c->name, slv_mesh_type_name(c->type), c->causal ? 'c' : 'e', c->ttl_ms);
    s->index = n->n_space;
    memcpy(s->name, c->name.p, c->name.n);
    s->conf = *c;
    s->conf.name.p = s->name;
    s->watch = (struct slv_space_watch){on_changed, on_changed, s};
    slv_buf_init(&s->out, SLV_MESSAGE_MAX);
    s->world = (struct slv_replica_world){
        .send = on_send,
        .may_write = on_may_write,
        .may_repair = on_may_repair,
        .fresh = on_fresh,
        .pulled = on_pulled,
        .behind_itself = on_behind_itself,
        .two_faced = on_two_faced,
        .put = on_put,
        .del = on_del,
        .ctx = s,
    };
    const struct slv_replica_conf rc = {
        .id = s->id,
        .type = c->type,
        .causal = c->causal,
        .ttl_ms = c->ttl_ms,
        .max = c->max,
        .history_ms = c->history_ms,
        .history_max = c->history_max ? c->history_max : SLV_HISTORY_BYTES,
        .log_max = c->log_max ? c->log_max : (size_t)64 << 20,
        .waiting_max = c->waiting_max ? c->waiting_max : (size_t)4 << 20,
        .repair_max = c->repair_max ? c->repair_max : (size_t)64 << 20,
        .node = n->conf.id,
        .chance = n->conf.world.random(n->conf.world.ctx),
        .hlc = &n->hlc,
        .trust = n->conf.trust,
        .world = &s->world,
        .watch = &s->watch,
        .retired = &n->retired,
    };
    return slv_replica_open(&rc, &s->replica);
}

bool node_has_name(const struct slv_node *n, struct slv_str name) {
    for (size_t i = 0; i < n->n_space; i++)
        if (slv_str_is(name, n->space[i]->name)) return true;
    for (size_t i = 0; i < n->n_agreed; i++)
        if (slv_str_is(name, n->agreed[i].name)) return true;
    return false;
}

int slv_node_space(struct slv_node *n, const struct slv_space_conf *c, size_t *ret) {
    if (n->n_space == SLV_NODE_SPACES_MAX || c->name.n > SLV_NODE_SPACE_NAME_MAX)
        return SLV_E_LIMIT;
    if (node_has_name(n, c->name)) return SLV_E_USAGE;
    struct space *s = slv_mem_calloc(1, sizeof *s);
    const int rc = s ? open_space(n, s, c) : SLV_E_NOMEM;
    if (rc) {
        slv_mem_free(s);
        return rc;
    }
    *ret = n->n_space;
    n->space[n->n_space++] = s;
    return 0;
}

/* How often it has started, and its writers' numbers. */
static int load_meta(struct slv_node *n, struct slv_str value) {
    struct slv_reader v = slv_reader_of(value.p, value.n);
    const uint64_t incarnation = slv_read_number(&v, SLV_SWIM_INCARNATION_MAX - 1);
    const uint32_t k = (uint32_t)slv_read_number(&v, STORES_MAX);
    for (uint32_t i = 0; i < k; i++)
        n->store[i] = (uint32_t)slv_read_number(&v, UINT32_MAX);
    if (!slv_reader_done(&v)) return SLV_E_FORMAT;
    n->n_store = k;
    n->incarnation = incarnation;
    return 0;
}

int slv_node_load(struct slv_node *n, struct slv_str key, struct slv_str value) {
    struct slv_reader k = slv_reader_of(key.p, key.n);
    if (slv_str_is(key, meta_key)) return load_meta(n, value);
    if (key.n > 1 && key.p[0] == RECORD_STRONG) return node_strong_load(n, key, value);
    if (key.n == 1 + SLV_ROSTER_KEY && key.p[0] == RECORD_ROSTER) return node_roster_load(n, value);
    if (key.n > 1 && key.p[0] == RECORD_MEMBER) return node_member_load(n, key, value);
    if (key.n == 17 && key.p[0] == RECORD_RETIRED) return node_retire_load(n, key, value);
    slv_read_raw(&k, 1);
    const uint64_t id = slv_read_id(&k);
    const struct space *s = k.bad ? NULL : node_space(n, id);
    if (k.bad) return SLV_E_FORMAT;
    if (s) return slv_replica_load(s->replica, key, value);
    return slv_replica_is_context(key) ? node_retire_left(n, id, value) : 0;
}

int node_later(struct slv_node *n, struct slv_str value) {
    slv_write_bytes(&n->later, value.p, value.n);
    return n->later.status;
}

uint64_t slv_node_id_of(const struct slv_node *n, const uint8_t key[SLV_ROSTER_KEY]) {
    const struct slv_roster_conf *c = n->conf.roster;
    return c->id_of(c->ctx, key);
}

static int put_meta(struct slv_node *n) {
    struct slv_buf b;
    slv_buf_init(&b, 512);
    slv_write_number(&b, n->incarnation);
    slv_write_number(&b, n->n_store);
    for (uint32_t i = 0; i < n->n_store; i++)
        slv_write_number(&b, n->store[i]);
    const int rc =
        b.status ? b.status
                 : node_put(n, (struct slv_str){meta_key, 1}, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
    return rc;
}

/* (The oldest is forgotten where there are too many.) */
static void begin_store(struct slv_node *n) {
    if (n->n_store < STORES_MAX) n->n_store++;
    memmove(n->store + 1, n->store, (n->n_store - 1) * sizeof *n->store);
    n->store[0] = 1 + (uint32_t)node_random(n, UINT32_MAX);
}

int slv_node_start(struct slv_node *n, uint64_t now, bool damaged, bool fresh) {
    n->now = now;
    for (size_t i = 0; i < n->n_space; i++)
        damaged = damaged || slv_replica_has_more(n->space[i]->replica);
    const bool over = n->n_store && slv_retired_find(&n->retired, slv_node_writer(n));
    if (!n->n_store || damaged || fresh || over) begin_store(n);
    n->incarnation++;
    const struct slv_replica_stores stores = {n->store[0], n->store + 1, n->n_store - 1, damaged};
    int rc = put_meta(n);
    for (size_t i = 0; i < n->n_space && !rc; i++)
        rc = slv_replica_loaded(n->space[i]->replica, &stores);
    if (!rc) rc = node_member_open(n);
    if (!rc) rc = node_roster_start(n);
    if (!rc) rc = node_member_start(n);
    if (!rc) rc = node_strong_start(n, damaged || fresh);
    if (rc) return rc;
    n->started = true;
    n->has_writes = true; /* the store's number is synced before anything else */
    n->round_next = now + node_random(n, n->conf.round_ms) * MS;
    return 0;
}

int slv_node_seed(struct slv_node *n, uint64_t now, uint64_t id) {
    n->swim_next = now;
    return slv_swim_seed(n->swim, now, id);
}

bool slv_node_may(const struct slv_node *n, size_t space, struct slv_str key) {
    return on_may_write(n->space[space], n->conf.id, key);
}

uint64_t slv_node_mark(struct slv_node *n) {
    const uint64_t last = slv_stamp_ms(n->hlc.last), now = slv_hlc_wall_ms(&n->hlc);
    const uint64_t ms = (last > now ? last : now) + 1;
    /* (One that is too far ahead is not taken: so far the clock was set back.) */
    return slv_hlc_see(&n->hlc, ms << 16) ? ms : last + 1;
}

/* --- writes ----------------------------------------------------------------------------------- */

int slv_node_draft(struct slv_node *n, size_t space, struct slv_str key, struct slv_draft *ret) {
    return slv_replica_draft(n->space[space]->replica, key, ret);
}

int slv_node_write(struct slv_node *n, size_t space, const struct slv_draft *d,
                   uint64_t *ret_ticket) {
    if (n->failed) return SLV_E_IO;
    const int rc = slv_replica_write(n->space[space]->replica, d);
    if (rc) return rc;
    n->has_writes = true;
    *ret_ticket = ++n->tickets;
    return 0;
}

static int flush(struct slv_node *n) {
    int rc = 0;
    for (size_t i = 0; i < n->n_space && !rc; i++) {
        struct space *s = n->space[i];
        const size_t len = s->out.len;
        if (!len) {
            slv_buf_fini(&s->out);
            begin_batches(s, &s->out);
        }
        const size_t head = s->out.len;
        rc = slv_replica_flush(s->replica, &s->out);
        if (!rc && s->out.len == head && !len) slv_buf_clear(&s->out);
    }
    return rc;
}

/* Own writes are committed at once, others' when some have come together. */
static void commit(struct slv_node *n) {
    const struct slv_node_world *w = &n->conf.world;
    if (n->is_committing || n->failed || !(n->has_writes || n->has_records)) return;
    if (!n->has_writes && !n->leaves && n->now < n->commit_next) return;
    const uint64_t ticket = n->tickets;
    const int rc = flush(n);
    if (rc == SLV_E_NOMEM) return; /* it is tried again with the next tick */
    if (rc || w->commit(w->ctx)) {
        node_fail(n, SLV_NODE_FAILED);
        return;
    }
    n->stats.commits++;
    n->is_committing = true;
    n->commit_at = n->now;
    n->has_writes = n->has_records = false;
    n->committing = ticket;
    node_strong_committed(n);
}

static void publish(struct slv_node *n, const struct space *s) {
    const struct slv_node_world *w = &n->conf.world;
    struct slv_reader m = slv_reader_of(s->out.data + 9, s->out.len - 9);
    struct slv_batch b;
    if (w->published && !slv_batch_read(&m, &b)) {
        w->published(w->ctx, &b);
        slv_batch_fini(&b);
    }
    n->stats.pushed += node_spread(n, (struct slv_str){s->out.data, s->out.len}, n->conf.id);
}

/* The longest of late: a disk that stalls now and then is as slow as that. */
static void note_sync(struct slv_node *n, uint64_t took) {
    n->sync_ns -= n->sync_ns / SYNC_SHARE;
    if (took > n->sync_ns) n->sync_ns = took;
}

void slv_node_synced(struct slv_node *n, uint64_t now) {
    n->now = now;
    if (!n->is_committing || n->failed) return;
    n->is_committing = false;
    note_sync(n, now - n->commit_at);
    n->durable = n->committing;
    for (size_t i = 0; i < n->n_space; i++) {
        struct space *s = n->space[i];
        slv_replica_synced(s->replica);
        if (!s->out.len) continue;
        publish(n, s);
        slv_buf_clear(&s->out);
    }
    node_strong_synced(n);
    commit(n);
    node_pump(n);
}

/* --- time ------------------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void round_of_sums(struct slv_node *n) {
    if (n->now < n->round_next) return;
    const uint64_t gap = n->conf.round_ms * MS;
    n->round_next = n->now + gap / 2 + node_random(n, gap);
    node_tell_sums(n, NULL);
}

static void announce(struct slv_node *n) {
    if (!n->announce) return;
    n->announce = false;
    for (uint32_t i = 0; i < ANNOUNCE_PEERS; i++)
        node_tell_sums(n, NULL);
}

/* What this node said while its clock was far ahead, and is still on its way in a link, would be
 * believed by others when that time is near: links keep a message for as long as it takes. So it
 * goes with them. */
static void watch_cut(struct slv_node *n, struct space *s) {
    const uint64_t cut = slv_replica_cut(s->replica);
    if (cut < s->cut) node_disconnect_all(n);
    s->cut = cut;
}

uint64_t slv_node_tick(struct slv_node *n, uint64_t now) {
    uint64_t next = UINT64_MAX;
    n->now = now;
    if (n->failed || !n->started) return UINT64_MAX;
    n->swim_next = slv_swim_tick(n->swim, now);
    for (size_t i = 0; i < n->n_space; i++) {
        struct slv_replica *r = n->space[i]->replica;
        const uint64_t due = slv_replica_expire(r);
        watch_cut(n, n->space[i]);
        if (due != UINT64_MAX) next = least(next, now + due);
        if (slv_replica_next(r) <= now) slv_replica_tick(r, now);
        node_end_round(n->space[i]);
        next = least(next, slv_replica_next(r));
    }
    round_of_sums(n);
    announce(n);
    next = least(next, node_strong_tick(n));
    next = least(next, node_roster_tick(n));
    next = least(next, node_retire_tick(n));
    next = least(next, node_member_tick(n));
    next = least(next, node_attest_tick(n));
    commit(n);
    next = least(next, node_tick_peers(n));
    node_pump(n);
    next = least(next, n->link_next);
    next = least(next, least(n->swim_next, n->round_next));
    if (n->has_records && !n->is_committing) next = least(next, n->commit_next);
    return n->failed ? UINT64_MAX : next > now ? next : now + 1;
}
