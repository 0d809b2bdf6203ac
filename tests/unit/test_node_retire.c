/* test_node_retire.c: who may say what of writers that are over, and who is believed in it, at a
 * node without sockets. What a user would lose: writes of a node that another one has declared
 * over, a table that anybody fills. */
#include "lone_node.h"

#define GROUP 77u

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
static void write_key(const char *kind, uint64_t writer, uint64_t member, struct slv_str value) {
    struct slv_strong_command c = {.op = SLV_STRONG_PUT, .value = value};
    struct slv_buf key;
    uint64_t ask;
    slv_buf_init(&key, 64);
    slv_buf_adds(&key, kind);
    slv_write_id(&key, writer);
    if (member) slv_write_id(&key, member);
    c.key = (struct slv_str){key.data, key.len};
    assert_int_equal(slv_node_ask(node, clock_ns(NULL), &c, 1000, &ask), 0);
    run_ms(200);
    slv_buf_fini(&key);
}

static void say_over(uint64_t writer, struct slv_str value) { write_key("o", writer, 0, value); }

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

/* --- what does not fit ------------------------------------------------------------------------ */

/* A member has of a writer, in three spaces, every other number up to 2 * count. */
static void say_gaps(uint64_t writer, unsigned member, uint64_t space, uint64_t count) {
    struct slv_dots seen = {0};
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    for (uint64_t i = 1; i <= count; i++)
        assert_int_equal(slv_dots_add_dot(&seen, (struct slv_dot){writer, 2 * i}), 0);
    slv_write_number(&b, 3);
    for (uint64_t i = 0; i < 3; i++) {
        slv_write_id(&b, space + i);
        slv_dots_write(&seen, &b);
    }
    slv_write_number(&b, 0);
    write_key("h", writer, ids[member], (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
    slv_dots_fini(&seen);
}

/* That is said, as it would wait for ever. */
static void what_does_not_fit_is_told(void **unused) {
    const uint64_t writer = slv_mesh_writer(ids[2], 5);
    struct slv_node_over over;
    struct slv_buf b;
    (void)unused;
    begin(true);
    say_over(writer, over_value(&b, ids[2], 5, false));
    say_gaps(writer, 1, 8010, 4000);
    run_ms(5000);
    assert_int_equal(slv_node_overs(node, &over, 1), 1);
    assert_int_equal(over.waits_for, ids[2]);
    say_gaps(writer, 2, 8020, 4000);
    assert_int_equal(slv_node_overs(node, &over, 1), 1);
    assert_true(over.is_large && !over.waits && !over.differs);
    run_ms(5000);
    assert_int_equal(slv_node_retired(node)->n, 0);
    say_gaps(writer, 2, 8020, 100); /* it does now */
    run_ms(5000);
    assert_int_equal(slv_node_overs(node, &over, 1), 0);
    assert_int_equal(slv_node_retired(node)->n, 1);
    slv_buf_fini(&b);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_say_what),
        cmocka_unit_test(what_does_not_fit_is_told),
        cmocka_unit_test(who_may_vote_is_believed),
        cmocka_unit_test(rubbish_is_counted_and_nothing_else),
        cmocka_unit_test(damaged_records_are_none),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
