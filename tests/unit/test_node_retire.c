/* test_node_retire.c: who may say what of writers that are over, and who is believed in it, at a
 * node without sockets. What a user would lose: writes of a node that another one has declared
 * over, a table that anybody fills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/node_int.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define N 3u /* 0 is the node; 1 may vote; 2 may not */
#define GROUP 77u

static struct slv_node *node;
static uint64_t now_ms, random_state, overtaken, ids[N];
static uint8_t keys[N][SLV_ROSTER_KEY], secrets[N][crypto_sign_SECRETKEYBYTES];
static uint8_t authority[SLV_ROSTER_KEY], secret[crypto_sign_SECRETKEYBYTES];
static bool synced;
static struct slv_buf sent; /* the last message to anybody, as a link's datagram */

/* --- a world ---------------------------------------------------------------------------------- */

static uint64_t clock_ns(void *ctx) {
    (void)ctx;
    return (now_ms + 1000000) * MS;
}
static const struct slv_clock clock_of_test = {clock_ns, clock_ns, NULL};

static uint64_t id_of(void *ctx, const uint8_t key[SLV_ROSTER_KEY]) {
    uint64_t id;
    (void)ctx;
    memcpy(&id, key, sizeof id);
    return id;
}

static bool verify(void *ctx, const uint8_t key[SLV_ROSTER_KEY], struct slv_str bytes,
                   const uint8_t sig[SLV_ROSTER_SIG]) {
    (void)ctx;
    return !crypto_sign_verify_detached(sig, (const uint8_t *)bytes.p, bytes.n, key);
}

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
    (void)ctx, (void)peer;
    slv_buf_clear(&sent);
    slv_buf_add(&sent, datagram.p, datagram.n);
}

static void connect_to(void *ctx, uint64_t peer, struct slv_str record) {
    (void)ctx, (void)peer, (void)record;
}
static void disconnect_from(void *ctx, uint64_t peer) { (void)ctx, (void)peer; }

static int put(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)key, (void)value;
    return 0;
}
static int del(void *ctx, struct slv_str key) {
    (void)ctx, (void)key;
    return 0;
}
static int commit(void *ctx) {
    (void)ctx;
    synced = true;
    return 0;
}

static uint64_t random_of(void *ctx) {
    (void)ctx;
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state ^ random_state >> 29;
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

static struct slv_roster_conf roster = {
    .mesh = {"floor", 5}, .has_authority = true, .verify = verify, .id_of = id_of};
static const struct slv_mesh_trust trust = {sign, check, NULL};

static void state(unsigned about, enum slv_statement_kind kind, unsigned flags) {
    static uint64_t number;
    struct slv_statement s = {.kind = kind, .number = ++number, .flags = flags};
    uint8_t sig[SLV_ROSTER_SIG];
    struct slv_buf b, m;
    memcpy(s.key, keys[about], sizeof s.key);
    slv_buf_init(&b, 65536);
    slv_buf_init(&m, 65536);
    assert_int_equal(slv_statement_write(&s, &b), 0);
    slv_statement_signed(roster.mesh, (struct slv_str){b.data, b.len}, &m);
    crypto_sign_detached(sig, NULL, (const uint8_t *)m.data, m.len, secret);
    slv_buf_add(&b, sig, sizeof sig);
    assert_int_equal(slv_node_state(node, clock_ns(NULL), (struct slv_str){b.data, b.len}), 0);
    slv_buf_fini(&b);
    slv_buf_fini(&m);
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
    const struct slv_space_conf tags = {.name = {"tags", 4}, .type = SLV_TYPE_SET};
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
    now_ms = overtaken = 0;
    random_state = 1;
    memcpy(roster.authority, authority, sizeof authority);
    slv_buf_init(&sent, 65536);
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

static void end(void) {
    slv_node_close(node);
    slv_buf_fini(&sent);
}

/* --- what may be asked of the group ----------------------------------------------------------- */

static bool may_ask(uint64_t peer, enum slv_strong_op op, const char *kind, uint64_t a, uint64_t b,
                    struct slv_str value) {
    struct slv_strong_command c = {.op = op, .value = value};
    struct slv_buf key;
    slv_buf_init(&key, 64);
    slv_buf_adds(&key, kind);
    slv_write_id(&key, a);
    if (b) slv_write_id(&key, b);
    c.key = (struct slv_str){key.data, key.len};
    const bool ret = node_retire_may_ask(node, peer, &c);
    slv_buf_fini(&key);
    return ret;
}

static struct slv_str over_value(struct slv_buf *b, uint64_t of, uint32_t store, bool revoked) {
    slv_buf_init(b, 64);
    slv_write_id(b, of);
    slv_write_number(b, store);
    slv_write_number(b, revoked);
    return (struct slv_str){b->data, b->len};
}

/* The node, which leads, has it written. */
static void say_over(uint64_t writer, struct slv_str value) {
    struct slv_strong_command c = {.op = SLV_STRONG_PUT, .value = value};
    struct slv_buf key;
    uint64_t ask;
    slv_buf_init(&key, 64);
    slv_buf_adds(&key, "o");
    slv_write_id(&key, writer);
    c.key = (struct slv_str){key.data, key.len};
    assert_int_equal(slv_node_ask(node, clock_ns(NULL), &c, 1000, &ask), 0);
    run_ms(200);
    slv_buf_fini(&key);
}

static void who_may_say_what(void **unused) {
    const struct slv_str nothing = {"", 0};
    const uint64_t writer = slv_mesh_writer(ids[2], 5), another = slv_mesh_writer(ids[1], 5);
    struct slv_buf b;
    (void)unused;
    begin(true);
    const struct slv_str good = over_value(&b, ids[2], 5, false);
    assert_true(may_ask(ids[2], SLV_STRONG_PUT, "o", writer, 0, good));
    assert_true(may_ask(ids[1], SLV_STRONG_PUT, "o", writer, 0, good));   /* handed on */
    assert_false(may_ask(ids[2], SLV_STRONG_PUT, "o", another, 0, good)); /* not its writer */
    assert_false(may_ask(ids[2], SLV_STRONG_PUT, "o", writer, 0, nothing));
    assert_false(may_ask(ids[2], SLV_STRONG_LOCK, "o", writer, 0, good));
    assert_false(may_ask(ids[1], SLV_STRONG_DELETE, "o", writer, 0, nothing));
    assert_false(
        may_ask(ids[2], SLV_STRONG_PUT, "h", writer, ids[2], nothing)); /* it is not over */
    say_over(writer, good);
    assert_true(may_ask(ids[2], SLV_STRONG_PUT, "h", writer, ids[2], nothing));
    assert_false(may_ask(ids[2], SLV_STRONG_PUT, "h", writer, ids[1], nothing));
    assert_true(may_ask(ids[1], SLV_STRONG_PUT, "h", writer, ids[2], nothing));
    assert_false(may_ask(ids[1], SLV_STRONG_PUT, "h", writer, ids[1], (struct slv_str){"", 65536}));
    slv_buf_fini(&b);
    const struct slv_str of_1 = over_value(&b, ids[1], 5, false);
    assert_false(may_ask(ids[2], SLV_STRONG_PUT, "o", another, 0, of_1)); /* another's */
    slv_buf_fini(&b);
    const struct slv_str revoked = over_value(&b, ids[1], 5, true);
    assert_false(may_ask(ids[0], SLV_STRONG_PUT, "o", another, 0, revoked)); /* which it is not */
    state(1, SLV_REVOKED, 0);
    assert_true(may_ask(ids[0], SLV_STRONG_PUT, "o", another, 0, revoked));
    assert_false(may_ask(ids[2], SLV_STRONG_PUT, "o", another, 0, revoked));
    slv_buf_fini(&b);
    assert_false(may_ask(ids[1], SLV_STRONG_CAS, "r", GROUP, 1, nothing));
    assert_false(may_ask(ids[1], SLV_STRONG_PUT, "r", GROUP, 1, nothing));
    assert_true(may_ask(ids[0], SLV_STRONG_CAS, "r", GROUP, 1, nothing)); /* it leads */
    assert_true(may_ask(ids[0], SLV_STRONG_DELETE, "h", writer, ids[1], nothing));
    assert_false(may_ask(ids[0], SLV_STRONG_PUT, "x", writer, 0, nothing));
    assert_false(may_ask(ids[0], SLV_STRONG_PUT, "", 0, 0, nothing));
    end();
}

/* --- what is believed of peers ---------------------------------------------------------------- */

static struct peer *meet(unsigned i) {
    assert_int_equal(slv_node_up(node, clock_ns(NULL), ids[i]), 0);
    struct peer *p = node_peer(node, ids[i]);
    assert_non_null(p);
    return p;
}

static void tell(struct peer *p, uint64_t kind, const struct slv_buf *b, size_t n) {
    struct slv_reader m = slv_reader_of(b->data, n);
    node_retire_receive(node, p, kind, &m);
}

/* One retirement of a writer that wrote a number in some space. */
static void write_told(struct slv_buf *b, uint64_t number, uint64_t writer) {
    struct slv_dots seen = {0};
    struct slv_buf one;
    slv_buf_init(&one, 1024);
    assert_int_equal(slv_dots_add_dot(&seen, (struct slv_dot){writer, 1}), 0);
    slv_write_id(&one, writer);
    slv_write_id(&one, ids[1]);
    slv_write_number(&one, 1);
    slv_write_id(&one, 5);
    slv_dots_write(&seen, &one);
    slv_buf_init(b, 1024);
    slv_write_number(b, 1);
    slv_write_id(b, GROUP);
    slv_write_number(b, number);
    slv_write_bytes(b, one.data, one.len);
    slv_write_number(b, 0);
    slv_buf_fini(&one);
    slv_dots_fini(&seen);
}

static void who_may_vote_is_believed(void **unused) {
    struct slv_buf b;
    (void)unused;
    begin(false);
    write_told(&b, 1, 1234);
    tell(meet(2), MSG_RETIRED, &b, b.len);
    assert_int_equal(slv_node_retired(node)->n, 0);
    tell(meet(1), MSG_RETIRED, &b, b.len);
    assert_int_equal(slv_node_retired(node)->n, 1);
    tell(node_peer(node, ids[1]), MSG_RETIRED, &b, b.len);
    assert_int_equal(slv_node_retired(node)->n, 1);
    run_ms(1500);
    assert_int_equal(slv_replica_let_go(slv_node_replica(node, 0)), 1); /* nothing of it was here */
    assert_int_equal(overtaken, 0);
    slv_buf_fini(&b);
    write_told(&b, 2, slv_node_writer(node));
    tell(node_peer(node, ids[1]), MSG_RETIRED, &b, b.len);
    assert_int_equal(overtaken, 0); /* the store is to know of it first */
    run_ms(100);
    assert_int_equal(overtaken, 1); /* it begins another */
    slv_buf_fini(&b);
    end();
}

static void rubbish_is_counted_and_nothing_else(void **unused) {
    struct slv_node_stats before, after;
    struct slv_buf b;
    (void)unused;
    begin(false);
    struct peer *p = meet(1);
    write_told(&b, 1, 1234);
    for (size_t n = 0; n < b.len; n++) {
        slv_node_stats(node, &before);
        tell(p, MSG_RETIRED, &b, n);
        slv_node_stats(node, &after);
        assert_true(after.refused > before.refused);
    }
    for (unsigned turn = 0; turn < 20000; turn++) {
        char bytes[64];
        struct slv_reader m = slv_reader_of(bytes, 1 + random_of(NULL) % sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(random_of(NULL) >> 24 & (turn % 2 ? 255 : 3));
        node_retire_receive(node, p, turn % 3 ? MSG_RETIRED : MSG_RETIRED_ASK, &m);
    }
    assert_true(slv_node_retired(node)->n <= 1); /* that all of it but the last byte was there */
    run_ms(100);
    slv_buf_fini(&b);
    end();
}

/* Records of the store, cut short or changed. */
static void damaged_records_are_none(void **unused) {
    struct slv_buf b;
    char key[17] = {RECORD_RETIRED};
    (void)unused;
    begin(false);
    slv_buf_init(&b, 1024);
    struct slv_dots seen = {0};
    assert_int_equal(slv_dots_add_dot(&seen, (struct slv_dot){1234, 1}), 0);
    slv_write_id(&b, 1234);
    slv_write_id(&b, ids[1]);
    slv_write_number(&b, 1);
    slv_write_id(&b, 5);
    slv_dots_write(&seen, &b);
    slv_dots_fini(&seen);
    key[8] = key[16] = 1;
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(
            node_retire_load(node, (struct slv_str){key, 17}, (struct slv_str){b.data, n}),
            SLV_E_FORMAT);
    assert_int_equal(
        node_retire_load(node, (struct slv_str){key, 16}, (struct slv_str){b.data, b.len}),
        SLV_E_FORMAT);
    assert_int_equal(
        node_retire_load(node, (struct slv_str){key, 17}, (struct slv_str){b.data, b.len}), 0);
    assert_int_equal(slv_node_retired(node)->n, 1);
    slv_buf_fini(&b);
    end();
}

static int make_keys(void **unused) {
    const uint8_t seed[crypto_sign_SEEDBYTES] = {99};
    (void)unused;
    if (sodium_init() < 0) return -1;
    crypto_sign_seed_keypair(authority, secret, seed);
    for (unsigned i = 0; i < N; i++) {
        const uint8_t own[crypto_sign_SEEDBYTES] = {(uint8_t)(i + 1)};
        crypto_sign_seed_keypair(keys[i], secrets[i], own);
        ids[i] = id_of(NULL, keys[i]);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_say_what),
        cmocka_unit_test(who_may_vote_is_believed),
        cmocka_unit_test(rubbish_is_counted_and_nothing_else),
        cmocka_unit_test(damaged_records_are_none),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
