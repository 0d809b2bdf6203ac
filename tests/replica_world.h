/* replica_world.h: what tests of replicas share: nodes with stores of their own, between which
 * messages are lost, doubled and come in any order, some of which crash; against a history of all
 * batches that left. Each test is a program of its own and uses what it needs of this. */
#ifndef SLV_TESTS_REPLICA_WORLD_H
#define SLV_TESTS_REPLICA_WORLD_H

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

#pragma GCC diagnostic ignored "-Wunused-function"

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
    bool confined;   /* it may write keys that begin with "own" only, and not repair */
    bool is_behind;  /* it was told so */
    bool is_damaged; /* some of its records are gone */
    uint32_t older[8];
    size_t n_older;
    uint64_t accused; /* whom it knows to have signed two things */
    struct slv_retired retired;
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
    (void)ctx;
    const bool own = key.n >= 3 && !memcmp(key.p, "own", 3);
    return !by_id(id)->forbidden && (own || !by_id(id)->confined);
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
    const bool damaged = n->is_damaged || slv_replica_has_more(n->r);
    const struct slv_replica_stores s = {n->store, n->older, n->n_older, damaged};
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
                                            .watch = &n->watch,
                                            .retired = &n->retired};
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
        slv_retired_fini(&node[i].retired);
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

/* Of each writer as much was seen, or it was let go. */
static void check_seen(const struct slv_space *s, const struct slv_dots *want) {
    for (uint32_t i = 0; i < want->n; i++) {
        const uint64_t id = want->writer[i].id;
        assert_true(slv_space_let_go(s, id) ||
                    slv_dots_base(&s->context, id) == slv_dots_last(want, id));
        assert_true(!slv_space_let_go(s, id) || !slv_dots_last(&s->context, id));
    }
    assert_true(slv_space_covers(s, want));
    assert_true(s->retired->n || slv_dots_equal(&s->context, want));
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
        check_seen(s, &want.context);
    }
    slv_space_fini(&want);
}

/* Nobody shows a write before what it was written in view of. */
static void check_causes(const struct node *n) {
    const struct slv_space *s = slv_replica_space(n->r);
    for (size_t k = 0; k < n_batch; k++) {
        struct slv_batch b = read_batch(k);
        if (slv_space_has(s, (struct slv_dot){b.head.writer, b.head.dots.first})) {
            assert_true(slv_space_covers(s, &b.head.deps));
            assert_true(b.head.dots.first == 1 ||
                        slv_space_has(s, (struct slv_dot){b.head.writer, b.head.dots.first - 1}));
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

/* --- messages by hand ------------------------------------------------------------------------- */

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

typedef int element_fn(struct slv_draft *d, struct slv_str element);

static void change_element(struct node *n, const char *key, const char *element, element_fn *how) {
    struct slv_draft d;
    assert_int_equal(slv_replica_draft(n->r, text(key), &d), 0);
    assert_int_equal(how(&d, text(element)), 0);
    assert_int_equal(slv_replica_write(n->r, &d), 0);
    slv_draft_close(&d);
}

static void add_element(struct node *n, const char *key, const char *element) {
    change_element(n, key, element, slv_draft_add);
}

static void drop_element(struct node *n, const char *key, const char *element) {
    change_element(n, key, element, slv_draft_drop);
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

#endif
