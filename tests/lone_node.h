/* lone_node.h: a node of the mesh without sockets, whose disk keeps nothing and is quick; others
 * are keys and statements. Each test is a program of its own and uses what it needs of this. */
#ifndef SLV_TESTS_LONE_NODE_H
#define SLV_TESTS_LONE_NODE_H

#include "node_parts.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define N 3u /* 0 is the node; 1 may vote; 2 may not */

static struct slv_node *node;
static uint64_t overtaken, ids[N];
static uint8_t keys[N][SLV_ROSTER_KEY], secrets[N][crypto_sign_SECRETKEYBYTES];
static unsigned puts_of[256], commits; /* records by the first byte of their keys */
static bool synced;
static uint64_t tags_ttl_ms; /* of its space; 0: what is there stays */

/* --- a world ---------------------------------------------------------------------------------- */

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    (void)ctx;
    return crypto_sign_detached(ret, NULL, (const uint8_t *)bytes.p, bytes.n, secrets[0]);
}

static bool check(void *ctx, uint64_t by, struct slv_str bytes, const uint8_t sig[SLV_BATCH_SIG]) {
    for (unsigned i = 0; i < N; i++)
        if (ids[i] == by) return verify(ctx, keys[i], bytes, sig);
    return false;
}

static void send_to(void *ctx, uint64_t peer, struct slv_str datagram) {
    (void)ctx, (void)peer, (void)datagram;
}

static void connect_to(void *ctx, uint64_t peer, struct slv_str record) {
    (void)ctx, (void)peer, (void)record;
}
static unsigned disconnects;
static void disconnect_from(void *ctx, uint64_t peer) {
    (void)ctx, (void)peer;
    disconnects++;
}

static int put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)value;
    puts_of[(unsigned char)key.p[0]]++;
    return 0;
}
static int del(void *ctx, struct slv_str key) {
    (void)ctx, (void)key;
    return 0;
}
static int commit(void *ctx) {
    (void)ctx;
    synced = true;
    commits++;
    return 0;
}

static bool may(void *ctx, uint64_t id, uint64_t space, struct slv_str key) {
    (void)ctx, (void)id, (void)space, (void)key;
    return false;
}
static bool may_repair(void *ctx, uint64_t id, uint64_t space) {
    return may(ctx, id, space, (struct slv_str){"", 0});
}
static bool may_join(void *ctx, uint64_t id) {
    (void)ctx, (void)id;
    return false;
}

static void on_event(void *ctx, enum slv_node_event e, uint64_t id, int state) {
    (void)ctx, (void)id, (void)state;
    overtaken += e == SLV_NODE_OVERTAKEN;
}

static const struct slv_mesh_trust trust = {sign, check, NULL};

static void state(unsigned about, enum slv_statement_kind kind, unsigned flags) {
    static uint64_t number;
    struct slv_statement s = {.kind = kind, .number = ++number, .flags = flags};
    struct slv_buf b;
    memcpy(s.key, keys[about], sizeof s.key);
    sign_statement(&s, &b);
    assert_int_equal(slv_node_state(node, clock_ns(NULL), (struct slv_str){b.data, b.len}), 0);
    slv_buf_fini(&b);
}

static void run_ms(unsigned ms) {
    for (const uint64_t end = now_ms + ms; now_ms < end; now_ms += 10) {
        slv_node_tick(node, clock_ns(NULL));
        if (!synced) continue;
        synced = false;
        slv_node_synced(node, clock_ns(NULL));
    }
}

static void begin(bool found) {
    const struct slv_space_conf tags = {
        .name = {"tags", 4}, .type = SLV_TYPE_SET, .ttl_ms = tags_ttl_ms};
    const struct slv_node_conf c = {
        .id = ids[0],
        .clock = &clock_of_test,
        .trust = &trust,
        .world = {.send = send_to,
                  .connect = connect_to,
                  .disconnect = disconnect_from,
                  .put = put,
                  .del = del,
                  .commit = commit,
                  .random = random_of,
                  .may_write = may,
                  .may_repair = may_repair,
                  .may_join = may_join,
                  .event = on_event},
        .record = {"somewhere", 9},
        .roster = &roster,
    };
    size_t k;
    now_ms = ahead_ms = overtaken = commits = disconnects = 0;
    random_state = 1;
    memset(puts_of, 0, sizeof puts_of);
    assert_int_equal(slv_node_open(&c, &node), 0);
    assert_int_equal(slv_node_space(node, &tags, &k), 0);
    assert_int_equal(slv_node_start(node, clock_ns(NULL), false, false), 0);
    state(0, SLV_MEMBER, SLV_MAY_ALL);
    state(1, SLV_MEMBER, SLV_MAY_ALL);
    state(2, SLV_MEMBER, SLV_MAY_WRITE_ALL | SLV_MAY_REPAIR);
    if (found) assert_int_equal(slv_node_found(node, clock_ns(NULL), SLV_FOUND_FIRST), 0);
    run_ms(3000);
    if (found) assert_true(slv_strong_leads(slv_node_strong(node)));
}

static void end(void) { slv_node_close(node); }

static int make_keys(void **unused) {
    const int rc = make_authority(unused);
    for (unsigned i = 0; i < N && !rc; i++) {
        make_key((uint8_t)(i + 1), keys[i], secrets[i]);
        ids[i] = id_of(NULL, keys[i]);
    }
    return rc;
}

#endif
