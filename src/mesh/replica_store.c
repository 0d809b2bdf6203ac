/* replica_store.c: see replica.h. What a replica keeps, and its records in the store. */
#include "mesh/replica_int.h"
#include "base/mem.h"

/* --- records ---------------------------------------------------------------------------------- */

/* The first byte of a record's key; the space's id follows. */
enum table { ENTRY = 'e', CONTEXT = 'c', BATCH = 'b', HEAD = 'h', HISTORY = 'o' };

#define KEY_MAX 64u
#define RECORD_MAX ((size_t)1 << 20)
#define GHOSTS_MAX ((size_t)512 << 10)

static void begin_key(const struct slv_replica *r, struct slv_buf *key, enum table t) {
    slv_buf_init(key, KEY_MAX);
    slv_buf_addc(key, (char)t);
    slv_write_id(key, r->conf.id);
}

/* Ends both buffers. (What the store does not get, for lack of memory too, is lost to it: then the
 * replica is opened anew from what it has.) */
static void put_record(struct slv_replica *r, struct slv_buf *key, struct slv_buf *value) {
    const struct slv_replica_world *w = r->conf.world;
    int rc = key->status ? key->status : value->status;
    if (!rc)
        rc = w->put(w->ctx, (struct slv_str){key->data, key->len},
                    (struct slv_str){value->data, value->len});
    if (rc && !r->failed) r->failed = SLV_E_IO;
    slv_buf_fini(key);
    slv_buf_fini(value);
}

static void del_record(struct slv_replica *r, struct slv_buf *key) {
    const struct slv_replica_world *w = r->conf.world;
    const int rc =
        key->status ? key->status : w->del(w->ctx, (struct slv_str){key->data, key->len});
    if (rc && !r->failed) r->failed = SLV_E_IO;
    slv_buf_fini(key);
}

/* --- history ---------------------------------------------------------------------------------- */

static void history_key(const struct slv_replica *r, struct slv_buf *key, uint64_t number) {
    begin_key(r, key, HISTORY);
    slv_write_id(key, number);
}

static void put_history(void *ctx, uint64_t number, struct slv_str record) {
    struct slv_replica *r = ctx;
    struct slv_buf key, value;
    history_key(r, &key, number);
    slv_buf_init(&value, RECORD_MAX);
    slv_buf_add(&value, record.p, record.n);
    put_record(r, &key, &value);
}

static void del_history(void *ctx, uint64_t number) {
    struct slv_replica *r = ctx;
    struct slv_buf key;
    history_key(r, &key, number);
    del_record(r, &key);
}

void replica_begin_op(struct slv_replica *r, uint64_t node, uint64_t stamp) {
    r->op_node = node;
    r->op_stamp = stamp;
}

void replica_end_op(struct slv_replica *r, uint64_t writer, struct slv_dot_range dots, bool done) {
    const uint64_t node = r->op_node;
    r->op_node = 0;
    if (!r->history || !done) return;
    slv_history_op(r->history, slv_hlc_wall_ms(r->conf.hlc), node, r->op_stamp, writer, dots);
}

uint64_t replica_node_of(const void *replica, uint64_t writer) {
    const struct slv_replica *r = replica;
    const struct head *h = replica_head(r, writer);
    const struct slv_retirement *t = h ? NULL : slv_retired_find(r->conf.retired, writer);
    return h ? h->node : t ? t->node : 0;
}

/* An entry that came without its op was there before, nobody knows since when. */
static void note_put(struct slv_replica *r) {
    if (r->history && !r->op_node) slv_history_unknown(r->history, slv_hlc_wall_ms(r->conf.hlc));
}

/* (What an own op put in, and then failed, never was.) */
static void note_gone(struct slv_replica *r, const struct slv_entry *e) {
    const uint64_t now = slv_hlc_wall_ms(r->conf.hlc);
    if (!r->history || (r->writing && e->dot.writer == r->writer && e->dot.n >= r->next)) return;
    if (r->op_node) slv_history_gone(r->history, now, r->op_node, r->op_stamp, e);
    else slv_history_unknown(r->history, now);
}

/* --- entries ---------------------------------------------------------------------------------- */

static void entry_key(const struct slv_replica *r, struct slv_buf *key, struct slv_dot dot) {
    begin_key(r, key, ENTRY);
    slv_write_id(key, dot.writer);
    slv_write_id(key, dot.n);
}

static void on_put(void *ctx, const struct slv_entry *e) {
    struct slv_replica *r = ctx;
    struct slv_buf key, value;
    /* (alone in its key: there is nothing to look for, which is so mostly) */
    if (r->applying && e->key->refs > 1) r->count.conflicts += replica_is_conflict(r, e);
    entry_key(r, &key, e->dot);
    slv_buf_init(&value, RECORD_MAX);
    slv_write_bytes(&value, e->key->bytes, e->key->n);
    slv_write_bytes(&value, e->bytes, e->n_path);
    slv_write_bytes(&value, e->bytes + e->n_path, e->n_data);
    put_record(r, &key, &value);
    note_put(r);
    if (r->conf.watch) r->conf.watch->put(r->conf.watch->ctx, e);
}

/* (Where there is no room for it no range is told until it is forgotten.) */
static void keep_ghost(struct slv_replica *r, const struct slv_entry *e) {
    const struct slv_place at = slv_entry_place(e);
    slv_place_write(&at, &r->unsigned_.bytes);
    slv_write_bytes(&r->unsigned_.bytes, slv_entry_data(e).p, e->n_data);
    r->unsigned_.n++;
}

void replica_forget_ghosts(struct ghosts *g) {
    slv_buf_fini(&g->bytes);
    slv_buf_init(&g->bytes, GHOSTS_MAX);
    g->n = 0;
}

static void on_removed(void *ctx, const struct slv_entry *e) {
    struct slv_replica *r = ctx;
    struct slv_buf key;
    if (r->writing) keep_ghost(r, e);
    entry_key(r, &key, e->dot);
    del_record(r, &key);
    note_gone(r, e);
    if (r->conf.watch) r->conf.watch->removed(r->conf.watch->ctx, e);
}

/* Batches in the order of their stamps, which is about that in which they came. */
static void batch_key(const struct slv_replica *r, struct slv_buf *key,
                      const struct slv_batch_head *h) {
    begin_key(r, key, BATCH);
    slv_write_id(key, h->stamp);
    slv_write_id(key, h->writer);
    slv_write_id(key, h->dots.first);
}

static void on_dropped(void *ctx, struct slv_str bytes) {
    struct slv_replica *r = ctx;
    struct slv_buf key;
    struct slv_batch_head h;
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    if (slv_batch_head_read(&m, &h)) {
        if (!r->failed) r->failed = SLV_E_IO; /* no memory: its form was right */
        return;
    }
    batch_key(r, &key, &h);
    slv_batch_head_fini(&h);
    del_record(r, &key);
}

/* (One longer than the whole log is not kept.) */
int replica_keep_batch(struct slv_replica *r, const struct slv_batch_head *h,
                       struct slv_str bytes) {
    struct slv_buf key, value;
    const int rc = slv_oplog_add(r->log, h->writer, h->dots, bytes);
    if (rc) return rc == SLV_E_LIMIT ? 0 : rc;
    batch_key(r, &key, h);
    slv_buf_init(&value, RECORD_MAX);
    slv_buf_add(&value, bytes.p, bytes.n);
    put_record(r, &key, &value);
    return 0;
}

/* --- heads ------------------------------------------------------------------------------------ */

static size_t head_at(const struct slv_replica *r, uint64_t writer) {
    size_t lo = 0, hi = r->n_head;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (r->head[mid].writer < writer) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

const struct head *replica_head(const struct slv_replica *r, uint64_t writer) {
    const size_t i = head_at(r, writer);
    return i < r->n_head && r->head[i].writer == writer ? &r->head[i] : NULL;
}

void replica_drop_head(struct slv_replica *r, uint64_t writer) {
    const size_t i = head_at(r, writer);
    struct slv_buf key;
    if (i == r->n_head || r->head[i].writer != writer) return;
    slv_mem_free(r->head[i].bytes);
    memmove(r->head + i, r->head + i + 1, (r->n_head - i - 1) * sizeof *r->head);
    r->n_head--;
    begin_key(r, &key, HEAD);
    slv_write_id(&key, writer);
    del_record(r, &key);
}

static int set_head(struct slv_replica *r, const struct slv_batch_head *h) {
    const size_t i = head_at(r, h->writer);
    const bool there = i < r->n_head && r->head[i].writer == h->writer;
    char *copy = slv_mem_strndup(h->bytes.p, h->bytes.n);
    void *p = r->head;
    int rc = copy ? 0 : SLV_E_NOMEM;
    if (!rc && !there)
        rc = slv_mem_grow(&p, r->n_head, &r->room_head, sizeof *r->head, SLV_WRITERS_MAX);
    r->head = p;
    if (rc) {
        slv_mem_free(copy);
        return rc;
    }
    if (there) {
        slv_mem_free(r->head[i].bytes);
    } else {
        memmove(r->head + i + 1, r->head + i, (r->n_head - i) * sizeof *r->head);
        r->n_head++;
    }
    r->head[i] = (struct head){h->writer, h->dots.last, h->node, h->store, copy, h->bytes.n};
    return 0;
}

int replica_keep_head(struct slv_replica *r, const struct slv_batch_head *h) {
    struct slv_buf key, value;
    const struct head *had = replica_head(r, h->writer);
    if (had && had->last >= h->dots.last) return 0;
    const int rc = set_head(r, h);
    if (rc) return rc;
    begin_key(r, &key, HEAD);
    slv_write_id(&key, h->writer);
    slv_buf_init(&value, RECORD_MAX);
    slv_buf_add(&value, h->bytes.p, h->bytes.n);
    put_record(r, &key, &value);
    return 0;
}

void replica_keep_context(struct slv_replica *r) {
    struct slv_buf key, value;
    begin_key(r, &key, CONTEXT);
    slv_buf_init(&value, RECORD_MAX);
    slv_dots_write(&r->space.context, &value);
    replica_write_reach(r, &value);
    put_record(r, &key, &value);
    r->context_changed = false;
}

/* --- what the store has ---------------------------------------------------------------------- */

/* A whole batch out of the store: the log's. */
static int load_batch(struct slv_replica *r, struct slv_reader *value) {
    struct slv_batch b;
    int rc = slv_batch_read(value, &b);
    if (rc) return rc;
    rc = slv_oplog_add(r->log, b.head.writer, b.head.dots, b.bytes);
    slv_batch_fini(&b);
    return rc == SLV_E_LIMIT ? 0 : rc;
}

static int load_head(struct slv_replica *r, struct slv_reader *value) {
    struct slv_batch_head h;
    int rc = slv_batch_head_read(value, &h);
    if (rc) return rc;
    rc = set_head(r, &h);
    if (!rc && h.stamp > r->conf.hlc->last) r->conf.hlc->last = h.stamp;
    slv_batch_head_fini(&h);
    return rc;
}

static int load_entry(struct slv_replica *r, struct slv_reader *key, struct slv_reader *value) {
    struct slv_place at;
    at.dot.writer = slv_read_id(key);
    at.dot.n = slv_read_id(key);
    at.key = slv_read_bytes(value, SLV_KEY_MAX);
    at.path = slv_read_bytes(value, SLV_PATH_MAX);
    const struct slv_str data = slv_read_bytes(value, SLV_DATA_MAX);
    if (!slv_reader_done(key) || value->bad) return SLV_E_FORMAT;
    return slv_space_load(&r->space, &at, data);
}

static int load_history(struct slv_replica *r, struct slv_reader *key, struct slv_reader *value) {
    const uint64_t number = slv_read_id(key);
    const struct slv_str record = slv_read_raw(value, slv_reader_left(value));
    if (!slv_reader_done(key) || number == UINT64_MAX) return SLV_E_FORMAT;
    if (r->history) return slv_history_load(r->history, number, record);
    /* (What lies before a gap goes with the next start.) */
    if (number != r->old_history_end) r->old_history = number;
    r->old_history_end = number + 1;
    return 0;
}

/* What was kept before is let go where nothing is any more. */
static void begin_history(struct slv_replica *r, bool damaged) {
    const bool empty = !r->space.context.n && !slv_entries_count(r->space.entries);
    if (r->history) slv_history_loaded(r->history, slv_hlc_wall_ms(r->conf.hlc), damaged, empty);
    while (r->old_history < r->old_history_end)
        del_history(r, r->old_history++);
}

bool slv_replica_is_context(struct slv_str key) { return key.n == 9 && key.p[0] == CONTEXT; }

static int load_context(struct slv_replica *r, struct slv_reader *value) {
    const int rc = slv_dots_read(value, &r->space.context);
    return rc ? rc : replica_load_reach(r, value);
}

int slv_replica_load(struct slv_replica *r, struct slv_str key, struct slv_str value) {
    struct slv_reader k = slv_reader_of(key.p, key.n), v = slv_reader_of(value.p, value.n);
    const char table = *slv_read_raw(&k, 1).p;
    int rc = SLV_E_FORMAT;
    if (slv_read_id(&k) != r->conf.id || k.bad) return rc;
    if (table == ENTRY) rc = load_entry(r, &k, &v);
    else if (table == CONTEXT) rc = load_context(r, &v);
    else if (table == BATCH) rc = load_batch(r, &v);
    else if (table == HEAD) rc = load_head(r, &v);
    else if (table == HISTORY) rc = load_history(r, &k, &v);
    return rc ? rc : slv_reader_done(&v) ? 0 : SLV_E_FORMAT;
}

struct proving {
    const struct slv_replica *r;
    struct slv_dots to;
};

static int prove(void *ctx, uint64_t writer, struct slv_dot_range d) {
    struct proving *p = ctx;
    const uint64_t proved = replica_proved(p->r, writer);
    if (d.last > proved) d.last = proved;
    return d.first > d.last ? 0 : slv_dots_add(&p->to, writer, d);
}

/* Of a writer whose head is lost no more was seen than is proved: others will tell and prove it. */
static int forget_unproved(struct slv_replica *r) {
    const struct slv_dots nothing = {0};
    struct proving p = {.r = r};
    const int rc = slv_dots_missing(&r->space.context, &nothing, prove, &p);
    if (rc) {
        slv_dots_fini(&p.to);
        return rc;
    }
    slv_dots_fini(&r->space.context);
    r->space.context = p.to;
    for (uint64_t i = 0; i < slv_entries_count(r->space.entries);) {
        const struct slv_dot dot = slv_entries_at(r->space.entries, i)->dot;
        if (dot.n <= replica_proved(r, dot.writer)) i++;
        else slv_space_drop(&r->space, dot);
    }
    return 0;
}

/* A head of ops that nobody will see, up to what is here of an older store of this node's. */
static int sign_older(struct slv_replica *r, uint32_t store) {
    static const struct slv_str no_ops = {"?", 1};
    struct slv_batch_head h = {.space = r->conf.id, .node = r->conf.node, .store = store};
    struct slv_buf b;
    h.writer = slv_mesh_writer(h.node, store);
    h.stamp = r->conf.hlc->last;
    h.dots.first = h.dots.last = slv_dots_last(&r->space.context, h.writer);
    const struct head *had = replica_head(r, h.writer);
    if (!h.dots.last || (had && had->last >= h.dots.last)) return 0;
    if (h.dots.last <= replica_proved(r, h.writer)) return 0; /* it is retired */
    slv_buf_init(&b, SLV_BATCH_MAX);
    int rc = slv_batch_write(&h, no_ops, r->conf.trust, &b);
    h.bytes = (struct slv_str){b.data, b.len - no_ops.n * !rc};
    if (!rc) rc = replica_keep_head(r, &h);
    slv_buf_fini(&b);
    return rc;
}

static int reapply(void *ctx, struct slv_str bytes) {
    struct slv_replica *r = ctx;
    struct slv_reader m = slv_reader_of(bytes.p, bytes.n);
    struct slv_batch b;
    int rc = slv_batch_read(&m, &b);
    if (rc) return rc;
    rc = replica_keep_head(r, &b.head);
    if (!rc) rc = replica_apply_ops(r, &b);
    slv_batch_fini(&b);
    return rc;
}

/* Seen is what is there, and what the log still has. */
static int salvage(struct slv_replica *r, const struct slv_replica_stores *s) {
    const struct slv_dots nothing = {0};
    struct slv_dots logged = {0};
    bool gone;
    int rc = 0;
    replica_drop_retired(r);
    const uint64_t n = slv_entries_count(r->space.entries);
    slv_dots_fini(&r->space.context);
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = slv_dots_add_dot(&r->space.context, slv_entries_at(r->space.entries, i)->dot);
    if (rc == SLV_E_LIMIT) rc = 0; /* the others' are known to others */
    if (!rc) rc = slv_oplog_dots(r->log, &logged);
    if (!rc) rc = slv_oplog_missing(r->log, &logged, &nothing, reapply, r, &gone);
    slv_dots_fini(&logged);
    if (!rc) rc = replica_forget_more(r);
    for (size_t i = 0; i < s->n && !rc; i++)
        rc = sign_older(r, s->older[i]);
    if (!rc) rc = forget_unproved(r);
    replica_saw(r);
    return rc;
}

int slv_replica_loaded(struct slv_replica *r, const struct slv_replica_stores *s) {
    r->store = s->store;
    r->writer = slv_mesh_writer(r->conf.node, s->store);
    r->watch = (struct slv_space_watch){on_put, on_removed, r};
    r->space.watch = &r->watch;
    slv_oplog_on_drop(r->log, on_dropped, r);
    r->history_keep = (struct slv_history_keep){put_history, del_history, r};
    begin_history(r, s->damaged);
    slv_replica_expire(r); /* before what is left in the log is looked at */
    int rc = s->damaged ? salvage(r, s) : 0;
    const struct head *own = replica_head(r, r->writer);
    const uint64_t seen = slv_dots_last(&r->space.context, r->writer);
    r->flushed = own && own->last > seen ? own->last : seen;
    r->synced = r->flushed;
    r->next = r->flushed + 1;
    if (!rc) rc = replica_own_synced(r);
    if (!rc && r->conf.causal) rc = replica_depend_on(r, &r->space.context);
    return rc ? rc : replica_let_go(r);
}
