/* test_replica.c: what a user would lose: a write that does not arrive, one that comes back after
 * it was removed, nodes that never agree, a node that is talked into forgetting what it has not
 * seen.
 *
 * Nodes with stores of their own, between which messages are lost, doubled and come in any order,
 * some of which crash; against a history of all batches that left. Then the losses end, and after
 * some rounds all hold what the history says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/replica.h"
#include "replicas.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 4
#define SPACE 77u
#define MESSAGES_MAX 4096
#define RECORDS_MAX 8192
#define BATCHES_MAX 512

struct blob {
    char *p;
    size_t n;
};

static struct blob dup_bytes(struct slv_str s) {
    struct blob b = {malloc(s.n + 1), s.n};
    assert_non_null(b.p);
    memcpy(b.p, s.p, s.n);
    return b;
}

/* --- a store that forgets what was not synced ------------------------------------------------- */

struct record {
    struct blob key, value;
};

struct disk {
    struct record *v;
    size_t n;
    struct record *pending; /* value.p NULL: deleted */
    size_t n_pending;
};

static void set(struct disk *d, struct blob key, struct blob value) {
    size_t i = 0;
    while (i < d->n && (d->v[i].key.n != key.n || memcmp(d->v[i].key.p, key.p, key.n) != 0))
        i++;
    if (i < d->n) {
        free(d->v[i].key.p);
        free(d->v[i].value.p);
        d->v[i] = d->v[--d->n];
    }
    if (!value.p) {
        free(key.p);
        return;
    }
    assert_true(d->n < RECORDS_MAX);
    d->v[d->n++] = (struct record){key, value};
}

static void note(struct disk *d, struct slv_str key, struct blob value) {
    d->pending = realloc(d->pending, (d->n_pending + 1) * sizeof *d->pending);
    assert_non_null(d->pending);
    d->pending[d->n_pending++] = (struct record){dup_bytes(key), value};
}

static void sync_disk(struct disk *d) {
    for (size_t i = 0; i < d->n_pending; i++)
        set(d, d->pending[i].key, d->pending[i].value);
    d->n_pending = 0;
}

static void lose(struct disk *d) {
    for (size_t i = 0; i < d->n_pending; i++) {
        free(d->pending[i].key.p);
        free(d->pending[i].value.p);
    }
    d->n_pending = 0;
}

/* --- nodes ------------------------------------------------------------------------------------ */

struct node {
    uint64_t id;
    uint32_t store;
    struct slv_replica *r;
    struct slv_hlc hlc;
    struct slv_clock clock;
    int64_t clock_off;   /* ns, of the wall */
    uint64_t came, went; /* entries, as a watcher is told */
    struct slv_space_watch watch;
    struct slv_replica_world world;
    struct slv_replica_conf conf;
    struct disk disk;
    bool forbidden;  /* it may not write, nor repair */
    bool is_behind;  /* it was told so */
    bool is_damaged; /* some of its records are gone */
    uint32_t older[8];
    size_t n_older;
    uint64_t accused; /* whom it knows to have signed two things */
};
static struct node node[NODES];
static uint64_t now_ns;
static bool lossless;   /* no message is refused */
static uint64_t ttl_ms; /* of the next nodes' space */

struct message {
    uint64_t from, to;
    struct blob bytes;
};
static struct message queue[MESSAGES_MAX];
static size_t n_queue;

/* Each batch that left its node. */
static struct blob batch[BATCHES_MAX];
static size_t n_batch;

static uint64_t clock_ns(void *ctx) {
    const struct node *n = ctx;
    return now_ns + (uint64_t)n->clock_off;
}

static struct node *by_id(uint64_t id) {
    for (size_t i = 0; i < NODES; i++)
        if (node[i].id == id) return &node[i];
    return NULL;
}

/* A signature that anybody could make: by its node's id as a key. */
static void make_sig(uint64_t id, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    uint8_t key[16] = {0};
    memcpy(key, &id, sizeof id);
    crypto_generichash(ret, SLV_BATCH_SIG, (const uint8_t *)bytes.p, bytes.n, key, sizeof key);
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    const struct node *n = ctx;
    make_sig(n->id, bytes, ret);
    return 0;
}

static bool check(void *ctx, uint64_t id, struct slv_str bytes, const uint8_t sig[SLV_BATCH_SIG]) {
    uint8_t want[SLV_BATCH_SIG];
    (void)ctx;
    make_sig(id, bytes, want);
    return by_id(id) && !memcmp(want, sig, sizeof want);
}
static struct slv_mesh_trust trust[NODES];

static int send_to(void *ctx, uint64_t peer, struct slv_str message) {
    const struct node *n = ctx;
    if (n_queue == MESSAGES_MAX || (!lossless && !rnd(40))) return SLV_E_BUSY;
    queue[n_queue++] = (struct message){n->id, peer, dup_bytes(message)};
    return 0;
}

static bool is_allowed(void *ctx, uint64_t id, struct slv_str key) {
    (void)ctx, (void)key;
    return !by_id(id)->forbidden;
}
static bool may_repair(void *ctx, uint64_t id) { return is_allowed(ctx, id, text("")); }
static void fresh(void *ctx, const struct slv_batch *b, uint64_t peer) {
    (void)ctx, (void)b, (void)peer;
}
static void pulled(void *ctx) { (void)ctx; }
static void behind_itself(void *ctx) { ((struct node *)ctx)->is_behind = true; }
static void two_faced(void *ctx, uint64_t id, struct slv_str one, struct slv_str other) {
    assert_true(one.n != other.n || memcmp(one.p, other.p, one.n) != 0);
    ((struct node *)ctx)->accused = id;
}
static int put_record(void *ctx, struct slv_str key, struct slv_str value) {
    struct node *n = ctx;
    note(&n->disk, key, dup_bytes(value));
    return 0;
}
static int del_record(void *ctx, struct slv_str key) {
    struct node *n = ctx;
    note(&n->disk, key, (struct blob){NULL, 0});
    return 0;
}

static void on_came(void *ctx, const struct slv_entry *e) {
    (void)e;
    ((struct node *)ctx)->came++;
}
static void on_went(void *ctx, const struct slv_entry *e) {
    (void)e;
    ((struct node *)ctx)->went++;
}

static void start(struct node *n) {
    n->conf.chance = (uint64_t)rnd(UINT32_MAX) << 32 | rnd(UINT32_MAX);
    assert_int_equal(slv_replica_open(&n->conf, &n->r), 0);
    for (size_t i = 0; i < n->disk.n; i++) {
        const struct record *d = &n->disk.v[i];
        assert_int_equal(slv_replica_load(n->r, (struct slv_str){d->key.p, d->key.n},
                                          (struct slv_str){d->value.p, d->value.n}),
                         0);
    }
    const struct slv_replica_stores s = {n->store, n->older, n->n_older, n->is_damaged};
    assert_int_equal(slv_replica_loaded(n->r, &s), 0);
    n->is_damaged = false;
}

static void open_nodes(enum slv_mesh_type type, bool causal, size_t log_max) {
    now_ns = 1700000000000000000u;
    for (size_t i = 0; i < NODES; i++) {
        struct node *n = &node[i];
        *n = (struct node){.id = 1000 + 17 * i};
        n->disk.v = malloc(RECORDS_MAX * sizeof *n->disk.v);
        assert_non_null(n->disk.v);
        n->clock = (struct slv_clock){clock_ns, clock_ns, n};
        n->watch = (struct slv_space_watch){on_came, on_went, n};
        slv_hlc_init(&n->hlc, &n->clock, 0);
        trust[i] = (struct slv_mesh_trust){sign, check, n};
        n->world =
            (struct slv_replica_world){send_to,       is_allowed, may_repair, fresh,      pulled,
                                       behind_itself, two_faced,  put_record, del_record, n};
        n->conf = (struct slv_replica_conf){.id = SPACE,
                                            .type = type,
                                            .causal = causal,
                                            .ttl_ms = ttl_ms,
                                            .log_max = log_max,
                                            .waiting_max = 4096,
                                            .repair_max = 1 << 20,
                                            .node = n->id,
                                            .hlc = &n->hlc,
                                            .trust = &trust[i],
                                            .world = &n->world,
                                            .watch = &n->watch};
        start(n);
    }
}

static void close_nodes(void) {
    for (size_t i = 0; i < NODES; i++) {
        slv_replica_close(node[i].r);
        lose(&node[i].disk);
        for (size_t k = 0; k < node[i].disk.n; k++) {
            free(node[i].disk.v[k].key.p);
            free(node[i].disk.v[k].value.p);
        }
        free(node[i].disk.v);
        free(node[i].disk.pending);
    }
    while (n_queue)
        free(queue[--n_queue].bytes.p);
    while (n_batch)
        free(batch[--n_batch].p);
}

/* --- what happens ----------------------------------------------------------------------------- */

static void write_something(struct node *n) {
    char key[8], value[16];
    struct slv_draft d;
    snprintf(key, sizeof key, "k%u", (unsigned)rnd(12));
    snprintf(value, sizeof value, "v%u", (unsigned)rnd(9));
    assert_int_equal(slv_replica_draft(n->r, text(key), &d), 0);
    int rc;
    switch ((int)n->conf.type) {
    case SLV_TYPE_SET:
        rc = rnd(3) ? slv_draft_add(&d, text(value)) : slv_draft_drop(&d, text(value));
        break;
    case SLV_TYPE_COUNTER:
        rc = slv_draft_count(&d, (int64_t)rnd(20) - 10);
        break;
    default:
        rc = rnd(6) ? slv_draft_assign(&d, text(value)) : slv_draft_delete(&d);
        break;
    }
    assert_int_equal(rc, 0);
    rc = slv_replica_write(n->r, &d);
    assert_true(!rc || rc == SLV_E_IO);
    slv_draft_close(&d);
}

static void restart(struct node *n) {
    slv_replica_close(n->r);
    lose(&n->disk);
    start(n);
}

/* Signs, syncs, and sends to the others what was written. */
static void commit(struct node *n) {
    struct slv_buf b, m;
    slv_buf_init(&b, SLV_BATCH_MAX);
    const int rc = slv_replica_flush(n->r, &b);
    if (rc) { /* a record was lost to the store, for lack of memory */
        assert_int_equal(rc, SLV_E_IO);
        slv_buf_fini(&b);
        restart(n);
        return;
    }
    sync_disk(&n->disk);
    slv_replica_synced(n->r);
    if (b.len) {
        assert_true(n_batch < BATCHES_MAX);
        batch[n_batch++] = dup_bytes((struct slv_str){b.data, b.len});
        slv_buf_init(&m, SLV_MESSAGE_MAX);
        slv_buf_addc(&m, SLV_MSG_BATCH);
        slv_write_id(&m, SPACE);
        slv_buf_add(&m, b.data, b.len);
        for (size_t i = 0; i < NODES; i++)
            if (&node[i] != n) (void)send_to(n, node[i].id, (struct slv_str){m.data, m.len});
        slv_buf_fini(&m);
    }
    slv_buf_fini(&b);
}

static void give_message(const struct message *m) {
    struct node *to = by_id(m->to);
    struct slv_reader r = slv_reader_of(m->bytes.p, m->bytes.n);
    const uint64_t kind = slv_read_number(&r, SLV_MSG_TELL), space = slv_read_id(&r);
    assert_true(!r.bad && space == SPACE);
    const int rc = slv_replica_receive(to->r, m->from, now_ns, (enum slv_mesh_kind)kind, &r);
    assert_true(!rc || rc == SLV_E_FORMAT || (rc == SLV_E_BUSY && to->is_behind) || rc == SLV_E_IO);
}

/* Any message: once, again, or never. */
static void deliver(unsigned losses) {
    const size_t i = rnd((uint32_t)n_queue);
    const struct message m = queue[i];
    const bool again = losses && !rnd(8), lost = losses && rnd(100) < losses;
    if (!again) queue[i] = queue[--n_queue];
    if (!lost) give_message(&m);
    if (!again) free(m.bytes.p);
}

static void compare_sums(bool with_losses) {
    uint8_t a[SLV_SUM_BYTES], b[SLV_SUM_BYTES];
    const size_t i = rnd(NODES), k = (i + 1 + rnd(NODES - 1)) % NODES;
    slv_replica_follow(node[i].r, node[k].id, slv_replica_cut(node[k].r));
    slv_replica_sum(node[i].r, a);
    slv_replica_sum(node[k].r, b);
    if (memcmp(a, b, sizeof a) != 0) slv_replica_differs(node[i].r, node[k].id, now_ns);
    else if (!with_losses) slv_replica_differs(node[i].r, node[k].id, now_ns); /* asks in vain */
}

static void pass_time(void) {
    now_ns += 700000000u;
    for (size_t i = 0; i < NODES; i++)
        slv_replica_expire(node[i].r);
    for (size_t i = 0; i < NODES; i++)
        if (now_ns >= slv_replica_next(node[i].r)) slv_replica_tick(node[i].r, now_ns);
}

static bool all_equal(void) {
    uint8_t a[SLV_SUM_BYTES], b[SLV_SUM_BYTES];
    slv_replica_sum(node[0].r, a);
    for (size_t i = 1; i < NODES; i++) {
        slv_replica_sum(node[i].r, b);
        if (memcmp(a, b, sizeof a) != 0) return false;
    }
    return true;
}

/* Who has lost writes of its own goes on under another number. */
static void renew(struct node *n) {
    if (!n->is_behind) return;
    assert_true(n->n_older < sizeof n->older / sizeof *n->older);
    n->older[n->n_older++] = n->store;
    n->store += 100;
    n->is_behind = false;
    restart(n);
}

/* Rounds without losses until all are equal. */
static void heal(void) {
    for (size_t i = 0; i < NODES; i++)
        commit(&node[i]);
    for (int round = 0; round < 400 && !(all_equal() && !n_queue); round++) {
        while (n_queue)
            deliver(0);
        compare_sums(true);
        pass_time();
        for (size_t i = 0; i < NODES; i++)
            renew(&node[i]);
        commit(&node[rnd(NODES)]);
    }
    assert_true(all_equal());
    for (size_t i = 0; i < NODES; i++)
        commit(&node[i]);
}

/* --- what must be ----------------------------------------------------------------------------- */

static struct slv_batch read_batch(size_t k) {
    struct slv_batch b;
    struct slv_reader r = slv_reader_of(batch[k].p, batch[k].n);
    assert_int_equal(slv_batch_read(&r, &b), 0);
    return b;
}

/* All that left its node, applied once, is what each holds. */
static void check_against_history(void) {
    struct slv_space want;
    assert_int_equal(slv_space_init(&want), 0);
    for (size_t k = 0; k < n_batch; k++) {
        struct slv_batch b = read_batch(k);
        struct slv_batch_walk w = slv_batch_walk_of(&b);
        struct slv_op op = {0};
        int rc;
        while (!(rc = slv_batch_next(&w, &op))) {
            assert_int_equal(slv_space_apply(&want, &op, NULL), 0);
            slv_op_fini(&op);
        }
        assert_int_equal(rc, 1);
        slv_batch_fini(&b);
    }
    const uint64_t n = slv_entries_count(want.entries);
    const struct slv_print all = slv_entries_sum(want.entries, 0, n);
    for (size_t i = 0; i < NODES; i++) {
        const struct slv_space *s = slv_replica_space(node[i].r);
        const struct slv_print have = slv_entries_sum(s->entries, 0, slv_entries_count(s->entries));
        assert_int_equal(slv_entries_count(s->entries), n);
        assert_true(have.lo == all.lo && have.hi == all.hi);
        assert_true(slv_dots_equal(&s->context, &want.context));
    }
    slv_space_fini(&want);
}

/* Nobody shows a write before what it was written in view of. */
static void check_causes(const struct node *n) {
    const struct slv_dots *seen = &slv_replica_space(n->r)->context;
    for (size_t k = 0; k < n_batch; k++) {
        struct slv_batch b = read_batch(k);
        if (slv_dots_has(seen, (struct slv_dot){b.head.writer, b.head.dots.first})) {
            assert_true(slv_dots_cover(seen, &b.head.deps));
            assert_true(b.head.dots.first == 1 ||
                        slv_dots_has(seen, (struct slv_dot){b.head.writer, b.head.dots.first - 1}));
        }
        slv_batch_fini(&b);
    }
}

static void live(uint32_t steps, bool causal) {
    for (uint32_t s = 0; s < steps; s++) {
        struct node *n = &node[rnd(NODES)];
        const uint32_t what = rnd(100);
        if (what < 20 && n_batch < BATCHES_MAX - NODES) write_something(n);
        else if (what < 30) commit(n);
        else if (what < 33) restart(n);
        else if (what < 40) compare_sums(true);
        else if (what < 45) pass_time();
        else if (n_queue) deliver(25);
        if (causal) check_causes(n);
    }
}

/* --- tests ------------------------------------------------------------------------------------ */

static void nodes_come_to_agree(void **state) {
    static const enum slv_mesh_type types[] = {SLV_TYPE_SET, SLV_TYPE_COUNTER, SLV_TYPE_LAST};
    (void)state;
    for (uint32_t turn = 0; turn < 150; turn++) {
        const bool causal = turn % 2;
        open_nodes(types[turn % 3], causal, turn % 4 < 2 ? 1500 : 1 << 20);
        live(400, causal);
        heal();
        check_against_history();
        close_nodes();
    }
}

/* A batch that a node signs: one op, whatever is in it. */
static struct blob craft(struct node *by, uint64_t first, uint64_t stamp, const struct slv_op *op) {
    struct slv_buf ops, m;
    const struct slv_batch_head h = {.space = SPACE,
                                     .node = by->id,
                                     .store = by->store,
                                     .stamp = stamp,
                                     .dots = {first, first + op->n}};
    slv_buf_init(&ops, SLV_BATCH_OPS_MAX);
    slv_op_write(op, &ops);
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, SLV_MSG_BATCH);
    slv_write_id(&m, SPACE);
    assert_int_equal(slv_batch_write(&h, (struct slv_str){ops.data, ops.len}, by->conf.trust, &m),
                     0);
    const struct blob b = dup_bytes((struct slv_str){m.data, m.len});
    slv_buf_fini(&ops);
    slv_buf_fini(&m);
    return b;
}

static void give_blob(struct node *to, const struct node *from, struct blob b) {
    const struct message m = {from->id, to->id, b};
    give_message(&m);
    free(b.p);
}

static uint64_t entries_at(const struct node *n) {
    return slv_entries_count(slv_replica_space(n->r)->entries);
}

static uint64_t stamp_now(void) { return now_ns / 1000000u << 16; }

static void what_a_member_may_not_write_is_not_taken(void **state) {
    (void)state;
    open_nodes(SLV_TYPE_COUNTER, false, 1 << 20);
    struct slv_op op = {.key = text("k")};
    char own[8], other[8];
    struct slv_buf id;
    slv_buf_init(&id, 16);
    slv_write_id(&id, slv_mesh_writer(node[1].id, 0));
    memcpy(own, id.data, 8);
    slv_buf_clear(&id);
    slv_write_id(&id, slv_mesh_writer(node[2].id, 0));
    memcpy(other, id.data, 8);
    slv_buf_fini(&id);
    const struct slv_replica_count *c = slv_replica_count(node[0].r);
    assert_int_equal(slv_op_add(&op, (struct slv_str){other, 8}, text("\5\1")), 0);
    give_blob(&node[0], &node[1], craft(&node[1], 1, stamp_now(), &op)); /* another's row */
    assert_int_equal(c->malformed, 1);
    op.entry[0].path.p = own;
    give_blob(&node[0], &node[1],
              craft(&node[1], 1, stamp_now() + ((uint64_t)3600000 << 16), &op)); /* in an hour */
    assert_int_equal(c->in_future, 1);
    node[1].forbidden = true;
    give_blob(&node[0], &node[1], craft(&node[1], 1, stamp_now(), &op));
    assert_int_equal(c->forbidden, 1);
    node[1].forbidden = false;
    struct blob b = craft(&node[1], 1, stamp_now(), &op);
    b.p[33] = (char)(b.p[33] ^ 1); /* its stamp: the signature is of another head */
    give_blob(&node[0], &node[1], b);
    assert_int_equal(c->forged, 1);
    assert_int_equal(entries_at(&node[0]), 0);
    give_blob(&node[0], &node[1], craft(&node[1], 1, stamp_now(), &op));
    assert_int_equal(entries_at(&node[0]), 1);
    slv_op_fini(&op);
    close_nodes();
}

/* Else one member could forbid others to write. */
static void what_was_not_written_is_not_removed(void **state) {
    (void)state;
    open_nodes(SLV_TYPE_SET, false, 1 << 20);
    struct slv_op op = {.key = text("k")};
    const uint64_t writer = slv_mesh_writer(node[2].id, 0);
    assert_int_equal(slv_dots_add(&op.removes, writer, (struct slv_dot_range){1, 60000}), 0);
    give_blob(&node[0], &node[1], craft(&node[1], 1, stamp_now(), &op));
    assert_int_equal(slv_replica_count(node[0].r)->waited, 1);
    slv_op_fini(&op);
    op = (struct slv_op){.key = text("k")};
    assert_int_equal(slv_op_add(&op, text("red"), text("")), 0);
    give_blob(&node[0], &node[2], craft(&node[2], 1, stamp_now(), &op));
    assert_int_equal(entries_at(&node[0]), 1);
    slv_op_fini(&op);
    close_nodes();
}

/* All hold the same one of two things that a node signed with the same numbers, and know of it. */
static void two_faces_come_out_as_one(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 20; turn++) {
        bool any = false;
        open_nodes(SLV_TYPE_SET, turn % 2, 1 << 20);
        for (size_t i = 0; i < 3; i++) {
            struct slv_op op = {.key = text("k")};
            assert_int_equal(slv_op_add(&op, text(i % 2 ? "red" : "blue"), text("")), 0);
            give_blob(&node[i], &node[3], craft(&node[3], 1, stamp_now(), &op));
            if (rnd(2)) give_blob(&node[i], &node[3], craft(&node[3], 1, stamp_now(), &op));
            slv_op_fini(&op);
        }
        heal();
        for (size_t i = 0; i < NODES; i++)
            any = any || node[i].accused == node[3].id;
        assert_int_equal(entries_at(&node[0]), 1);
        (void)any; /* (who had only one of them has nothing to accuse it of) */
        close_nodes();
    }
}

/* A node whose disk is put back begins another store, and loses nothing of others'. */
static void a_store_of_last_week_is_noticed(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 30; turn++) {
        struct node *n = &node[0];
        open_nodes(SLV_TYPE_SET, turn % 2, turn % 3 ? 1500 : 1 << 20);
        live(100, false);
        for (size_t i = 0; i < NODES; i++)
            commit(&node[i]);
        struct record *copy = malloc((n->disk.n + 1) * sizeof *copy);
        const size_t n_copy = n->disk.n;
        assert_non_null(copy);
        for (size_t i = 0; i < n_copy; i++)
            copy[i] = (struct record){
                dup_bytes((struct slv_str){n->disk.v[i].key.p, n->disk.v[i].key.n}),
                dup_bytes((struct slv_str){n->disk.v[i].value.p, n->disk.v[i].value.n})};
        write_something(n); /* that reaches the others */
        heal();
        while (n->disk.n) {
            free(n->disk.v[--n->disk.n].key.p);
            free(n->disk.v[n->disk.n].value.p);
        }
        memcpy(n->disk.v, copy, n_copy * sizeof *copy);
        n->disk.n = n_copy;
        free(copy);
        restart(n);
        const uint32_t store = n->store;
        heal();
        assert_int_not_equal(n->store, store);
        write_something(n);
        heal();
        check_against_history();
        close_nodes();
    }
}

/* Records that cannot be read are not taken for removed things. */
static void a_damaged_store_is_mended_by_others(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 60; turn++) {
        struct node *n = &node[rnd(NODES)];
        open_nodes(SLV_TYPE_SET, turn % 2, turn % 3 ? 1500 : 1 << 20);
        live(150, false);
        heal();
        slv_replica_close(n->r);
        lose(&n->disk);
        for (uint32_t k = 1 + rnd(5); k > 0 && n->disk.n; k--) {
            struct record *r = &n->disk.v[rnd((uint32_t)n->disk.n)];
            free(r->key.p);
            free(r->value.p);
            *r = n->disk.v[--n->disk.n];
        }
        n->older[n->n_older++] = n->store;
        n->store = 1000 + turn;
        n->is_damaged = true;
        start(n);
        write_something(n);
        heal();
        check_against_history();
        close_nodes();
    }
}

/* Takes the first message of a kind to a node out of the queue; others stay. */
static struct message take_message(enum slv_mesh_kind kind, const struct node *to) {
    for (size_t i = 0; i < n_queue; i++)
        if (queue[i].to == to->id && queue[i].bytes.p[0] == (char)kind) {
            const struct message m = queue[i];
            memmove(queue + i, queue + i + 1, (--n_queue - i) * sizeof m);
            return m;
        }
    return (struct message){0};
}

static void pass_on(enum slv_mesh_kind kind, struct node *to) {
    const struct message m = take_message(kind, to);
    assert_non_null(m.bytes.p);
    give_message(&m);
    free(m.bytes.p);
}

static void forget_messages(void) {
    while (n_queue)
        free(queue[--n_queue].bytes.p);
}

static void add_element(struct node *n, const char *key, const char *element) {
    struct slv_draft d;
    assert_int_equal(slv_replica_draft(n->r, text(key), &d), 0);
    assert_int_equal(slv_draft_add(&d, text(element)), 0);
    assert_int_equal(slv_replica_write(n->r, &d), 0);
    slv_draft_close(&d);
}

/* So much that a log of 1,500 bytes no longer has the beginning, and ranges have parts. */
static void write_much(struct node *n) {
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "much%u", i);
        add_element(n, key, "x");
        if (i % 10 == 9) commit(n);
    }
    forget_messages();
}

/* Up to the question that asks for all ranges: it is in the queue. */
static void ask_for_ranges(struct node *from, struct node *of) {
    slv_replica_differs(from->r, of->id, now_ns);
    pass_on(SLV_MSG_PULL, of);
    struct message m;
    while ((m = take_message(SLV_MSG_BATCH, from)).bytes.p)
        free(m.bytes.p);
    pass_on(SLV_MSG_GIVE, from);
}

/* What it was told before it crashed leaves out what it had then and has lost. */
static void answers_from_before_a_crash_are_none(void **state) {
    struct node *a = &node[1], *b = &node[0];
    (void)state;
    open_nodes(SLV_TYPE_SET, false, 1500);
    lossless = true;
    for (unsigned i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "some%u", i);
        add_element(a, key, "x");
        commit(a);
    }
    forget_messages();
    add_element(a, "late", "x");
    commit(a);
    pass_on(SLV_MSG_BATCH, b); /* which is not synced there */
    forget_messages();
    ask_for_ranges(b, a);
    pass_on(SLV_MSG_ASK, a);
    const struct message old = take_message(SLV_MSG_TELL, b);
    assert_non_null(old.bytes.p);
    restart(b);
    ask_for_ranges(b, a);
    give_message(&old);
    free(old.bytes.p);
    lossless = false;
    heal();
    check_against_history();
    close_nodes();
}

/* One that has crashed since no longer has what it said it had seen. */
static void a_teller_that_crashed_is_not_listened_to(void **state) {
    struct node *a = &node[1], *b = &node[0], *c = &node[2];
    (void)state;
    open_nodes(SLV_TYPE_SET, false, 1500);
    lossless = true;
    add_element(b, "much0", "own"); /* who has nothing is told all at once */
    commit(b);
    write_much(a);
    add_element(c, "much50", "late");
    commit(c);
    pass_on(SLV_MSG_BATCH, a); /* which is not synced there */
    forget_messages();
    ask_for_ranges(b, a);
    pass_on(SLV_MSG_ASK, a);
    pass_on(SLV_MSG_TELL, b);
    restart(a);
    for (int i = 0; i < 8 && n_queue; i++) {
        struct message m = take_message(SLV_MSG_ASK, a);
        if (!m.bytes.p) m = take_message(SLV_MSG_TELL, b);
        if (!m.bytes.p) break;
        give_message(&m);
        free(m.bytes.p);
    }
    lossless = false;
    heal();
    check_against_history();
    close_nodes();
}

/* --- time to live ----------------------------------------------------------------------------- */

#define SECOND 1000000000u

static void wait_ms(uint64_t ms) {
    now_ns += ms * 1000000u;
    for (size_t i = 0; i < NODES; i++)
        slv_replica_expire(node[i].r);
}

static uint64_t count_of(const struct node *n) {
    return slv_entries_count(slv_replica_space(n->r)->entries);
}

/* Records of entries on its disk. */
static size_t stored(const struct node *n) {
    size_t k = 0;
    for (size_t i = 0; i < n->disk.n; i++)
        k += n->disk.v[i].key.p[0] == 'e';
    return k;
}

static void deliver_all(void) {
    while (n_queue)
        deliver(0);
}

/* Without a message, at each in its time, of the store, too. */
static void what_is_due_goes_by_itself(void **state) {
    (void)state;
    ttl_ms = 10000;
    open_nodes(SLV_TYPE_SET, false, 1 << 20);
    lossless = true;
    add_element(&node[0], "k", "x");
    commit(&node[0]);
    deliver_all();
    for (size_t i = 0; i < NODES; i++) {
        commit(&node[i]);
        assert_true(count_of(&node[i]) == 1 && stored(&node[i]) == 1);
    }
    wait_ms(9999);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(count_of(&node[i]), 1);
    wait_ms(1002);
    for (size_t i = 0; i < NODES; i++) {
        commit(&node[i]);
        assert_true(!count_of(&node[i]) && !stored(&node[i]) && node[i].went == 1);
    }
    assert_int_equal(n_queue, 0);
    assert_true(all_equal());
    lossless = false;
    close_nodes();
}

/* It was away, and its store still has the entry, as has its log: nobody takes it again. */
static void who_was_away_does_not_bring_it_back(void **state) {
    struct node *a = &node[0], *b = &node[1], *c = &node[2];
    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        const bool is_seen = turn % 2, is_stopped = turn / 2;
        ttl_ms = 10000;
        open_nodes(SLV_TYPE_SET, false, 1 << 20);
        lossless = true;
        add_element(a, "k", "x");
        commit(a);
        if (is_seen) deliver_all();
        forget_messages();
        for (size_t i = 0; i < NODES; i++)
            commit(&node[i]);
        b->clock_off = is_stopped ? 0 : -4 * (int64_t)SECOND; /* it was set back, too */
        a->clock_off = is_stopped ? 0 : -4 * (int64_t)SECOND;
        now_ns += 11001 * (uint64_t)1000000;
        slv_replica_expire(c->r);
        restart(a);
        restart(b);
        assert_int_equal(count_of(a), !is_stopped);
        const uint64_t came = c->came;
        slv_replica_differs(c->r, a->id, now_ns); /* all that it has is asked for */
        deliver_all();
        slv_replica_differs(c->r, b->id, now_ns);
        deliver_all();
        assert_true(!count_of(c) && c->came == came);
        assert_int_equal(count_of(a), 0); /* it was asked by one that no longer has it */
        heal();
        for (size_t i = 0; i < NODES; i++)
            assert_int_equal(count_of(&node[i]), 0);
        lossless = false;
        close_nodes();
    }
}

/* `a` has much that `c` has not; `b` has seen it, and its log no longer has the beginning. */
static void let_c_lack_it(struct node *a, struct node *b, struct node *c) {
    add_element(a, "kept", "x");
    commit(a);
    pass_on(SLV_MSG_BATCH, b);
    deliver_all();
    add_element(c, "own", "x");
    commit(c);
    deliver_all();
    write_much(a);
    ask_for_ranges(b, a);
    deliver_all();
    assert_true(count_of(b) == 102 && count_of(c) == 2);
}

/* One whose clock is ahead by more than the bound has let all go: others keep it, whatever it says,
 * also when its clock is right again and until all that is due. */
static void a_clock_far_ahead_makes_nobody_forget(void **state) {
    struct node *a = &node[0], *b = &node[1], *c = &node[2];
    (void)state;
    ttl_ms = 10000;
    open_nodes(SLV_TYPE_SET, false, 1500);
    lossless = true;
    let_c_lack_it(a, b, c);
    b->clock_off = 3600 * (int64_t)SECOND;
    slv_replica_expire(b->r);
    assert_int_equal(count_of(b), 0);
    slv_replica_follow(c->r, b->id, slv_replica_cut(b->r));
    assert_int_equal(count_of(c), 2);
    for (int turn = 0; turn < 3; turn++) {
        const uint64_t far = slv_replica_count(c->r)->too_far;
        ask_for_ranges(c, b);
        deliver_all();
        assert_true(turn || slv_replica_count(c->r)->too_far > far);
        assert_int_equal(count_of(c), 2);
        assert_int_equal(count_of(a), 102);
        now_ns += 3 * (uint64_t)SECOND; /* (whose answers brought nothing is left alone) */
        slv_replica_tick(c->r, now_ns);
        now_ns += 2 * (uint64_t)turn * SECOND;
        b->clock_off = 0;
        commit(b);
        if (turn) restart(b);
    }
    add_element(a, "new", "x"); /* which b takes, and keeps, again */
    commit(a);
    deliver_all();
    assert_int_equal(count_of(b), 1);
    add_element(b, "right", "x"); /* whose stamp is none of the future */
    commit(b);
    deliver_all();
    assert_true(slv_read_has(slv_replica_space(c->r), text("right"), text("x")));
    wait_ms(30000);
    heal();
    assert_int_equal(count_of(b), 0);
    lossless = false;
    close_nodes();
}

/* What is missing where the clock is a little ahead goes here, too, and only for that. */
static void a_clock_a_little_ahead_is_followed(void **state) {
    struct node *a = &node[0], *b = &node[1], *c = &node[2];
    (void)state;
    ttl_ms = 10000;
    open_nodes(SLV_TYPE_SET, false, 1500);
    lossless = true;
    let_c_lack_it(a, b, c);
    wait_ms(7000);
    add_element(c, "later", "x"); /* which b has not seen: it says nothing of it */
    b->clock_off = 4 * (int64_t)SECOND;
    slv_replica_expire(b->r);
    assert_int_equal(count_of(b), 0);
    ask_for_ranges(c, b);
    deliver_all();
    assert_true(count_of(c) == 1 && slv_replica_count(c->r)->expired == 2);
    assert_true(slv_read_has(slv_replica_space(c->r), text("later"), text("x")));
    /* and whom c tells follows as far as c, not as c's clock */
    slv_replica_follow(a->r, c->id, slv_replica_cut(c->r));
    assert_int_equal(count_of(a), 0);
    a->clock_off = -2 * (int64_t)SECOND; /* to which b's clock is too far ahead */
    restart(a);
    const uint64_t far = slv_replica_count(a->r)->too_far;
    slv_replica_follow(a->r, b->id, slv_replica_cut(b->r) + 1);
    assert_int_equal(slv_replica_count(a->r)->too_far, far + 1);
    lossless = false;
    close_nodes();
}

/* Times to live that are shorter than clocks are apart: what is written lives all the same. */
static void what_is_written_is_not_due_at_once(void **state) {
    struct node *a = &node[0], *b = &node[1];
    (void)state;
    ttl_ms = 1000;
    open_nodes(SLV_TYPE_SET, false, 1 << 20);
    lossless = true;
    b->clock_off = 4 * (int64_t)SECOND;
    slv_replica_expire(b->r);
    slv_replica_follow(a->r, b->id, slv_replica_cut(b->r));
    add_element(a, "k", "x");
    commit(a);
    deliver_all();
    wait_ms(10);
    assert_true(count_of(a) == 1 && count_of(b) == 1 && a->went + b->went == 0);
    wait_ms(2000);
    assert_true(!count_of(b) && b->went == 1);
    slv_replica_follow(a->r, b->id, slv_replica_cut(b->r));
    assert_true(!count_of(a) && a->went == 1);
    lossless = false;
    close_nodes();
}

/* A peer that may not write everything moves nobody's clock. */
static void who_may_not_repair_is_not_followed(void **state) {
    struct node *a = &node[0], *b = &node[1];
    (void)state;
    ttl_ms = 10000;
    open_nodes(SLV_TYPE_SET, false, 1 << 20);
    add_element(a, "k", "x");
    wait_ms(8000);
    b->forbidden = true;
    b->clock_off = 4 * (int64_t)SECOND;
    slv_replica_expire(b->r);
    slv_replica_follow(a->r, b->id, slv_replica_cut(b->r));
    assert_int_equal(count_of(a), 1);
    b->forbidden = false;
    slv_replica_follow(a->r, b->id, slv_replica_cut(b->r));
    assert_int_equal(count_of(a), 0);
    close_nodes();
}

/* What each holds of a history is what nobody has removed and no clock has shown to be due. */
static void check_what_lives(void) {
    for (size_t i = 0; i < NODES; i++) {
        const struct slv_space *s = slv_replica_space(node[i].r);
        struct slv_space want;
        uint64_t n = 0;
        assert_int_equal(slv_space_init(&want), 0);
        for (size_t k = 0; k < n_batch; k++) {
            struct slv_batch b = read_batch(k);
            struct slv_batch_walk w = slv_batch_walk_of(&b);
            struct slv_op op = {0};
            while (!slv_batch_next(&w, &op)) {
                assert_int_equal(slv_space_apply(&want, &op, NULL), 0);
                slv_op_fini(&op);
            }
            slv_batch_fini(&b);
        }
        for (uint64_t k = 0; k < slv_entries_count(want.entries); k++) {
            const struct slv_entry *e = slv_entries_at(want.entries, k);
            const uint64_t due = slv_ttl_due(&s->ttl, slv_entry_data(e));
            const bool there = slv_entries_find(s->entries, e->dot);
            assert_true(there || due <= (now_ns + 2 * (uint64_t)SECOND) / 1000000);
            assert_true(!there || due > s->ttl.cut);
            n += there;
        }
        assert_int_equal(slv_entries_count(s->entries), n);
        assert_true(slv_dots_equal(&s->context, &want.context));
        slv_space_fini(&want);
    }
}

static void clocks_that_differ_come_to_agree(void **state) {
    static const enum slv_mesh_type types[] = {SLV_TYPE_SET, SLV_TYPE_COUNTER, SLV_TYPE_LAST};
    (void)state;
    for (uint32_t turn = 0; turn < 150; turn++) {
        ttl_ms = 1000 + rnd(9000);
        open_nodes(types[turn % 3], turn % 2, turn % 4 < 2 ? 1500 : 1 << 20);
        for (size_t i = 0; i < NODES; i++)
            node[i].clock_off = (int64_t)rnd(4 * SECOND) - 2 * (int64_t)SECOND;
        live(400, turn % 2);
        heal();
        check_what_lives();
        close_nodes();
    }
    ttl_ms = 0;
}

/* Each allocation of taking a message fails once: it is as if the message were lost. */
static void without_memory_nothing_is_lost(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 40; turn++) {
        ttl_ms = turn % 5 > 2 ? 3650 * (uint64_t)86400000 : 0; /* which nobody lives to see */
        open_nodes(SLV_TYPE_SET, turn % 2, turn % 3 ? 1500 : 1 << 20);
        for (uint32_t s = 0; s < 200; s++) {
            struct node *n = &node[rnd(NODES)];
            const uint32_t what = rnd(10);
            if (what < 3 && n_batch < BATCHES_MAX - NODES) write_something(n);
            else if (what < 4) commit(n);
            else if (what < 5) compare_sums(true);
            else if (what < 6) pass_time();
            else if (n_queue) {
                const size_t i = rnd((uint32_t)n_queue);
                const struct message m = queue[i];
                struct slv_reader r = slv_reader_of(m.bytes.p, m.bytes.n);
                queue[i] = queue[--n_queue];
                const uint64_t kind = slv_read_number(&r, SLV_MSG_TELL);
                slv_read_id(&r);
                slv_mem_fail_at(1 + rnd(30));
                const int rc = slv_replica_receive(by_id(m.to)->r, m.from, now_ns,
                                                   (enum slv_mesh_kind)kind, &r);
                slv_mem_fail_at(0);
                assert_true(!rc || rc == SLV_E_NOMEM || rc == SLV_E_FORMAT || rc == SLV_E_IO);
                free(m.bytes.p);
            }
        }
        heal();
        check_against_history();
        close_nodes();
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_to_agree),
        cmocka_unit_test(what_a_member_may_not_write_is_not_taken),
        cmocka_unit_test(what_was_not_written_is_not_removed),
        cmocka_unit_test(two_faces_come_out_as_one),
        cmocka_unit_test(a_store_of_last_week_is_noticed),
        cmocka_unit_test(a_damaged_store_is_mended_by_others),
        cmocka_unit_test(answers_from_before_a_crash_are_none),
        cmocka_unit_test(a_teller_that_crashed_is_not_listened_to),
        cmocka_unit_test(what_is_due_goes_by_itself),
        cmocka_unit_test(who_was_away_does_not_bring_it_back),
        cmocka_unit_test(a_clock_far_ahead_makes_nobody_forget),
        cmocka_unit_test(a_clock_a_little_ahead_is_followed),
        cmocka_unit_test(what_is_written_is_not_due_at_once),
        cmocka_unit_test(who_may_not_repair_is_not_followed),
        cmocka_unit_test(clocks_that_differ_come_to_agree),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
