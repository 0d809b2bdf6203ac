/* test_node_lone.c: what a node does that hears of nobody: when it writes down what it heard
 * before, and when it gives ways up. What a user would lose: a disk that is worn out by what says
 * the same again, nodes that all wait for one disk at the same moment, two that do not speak again.
 */
#include "mesh/swim_int.h" /* before node_int.h, which takes its MS */

#include "lone_node.h"

#define TRIES 60u

/* Ms until a record that came just now is committed. */
static uint64_t wait_for_commit(void) {
    const uint64_t from = now_ms;
    const unsigned before = commits;
    char key[2] = {'?', 0};
    assert_int_equal(node_put(node, (struct slv_str){key, 1}, (struct slv_str){"", 0}), 0);
    while (commits == before && now_ms - from < 2000)
        run_ms(10);
    return now_ms - from;
}

/* What others wrote waits, each time for another while: they all heard it at once. */
static void what_was_heard_waits_a_while(void **unused) {
    const uint64_t lazy = LAZY_NS / MS;
    uint64_t least = UINT64_MAX, most = 0;
    (void)unused;
    begin(false);
    for (unsigned i = 0; i < TRIES; i++) {
        const uint64_t ms = wait_for_commit();
        assert_true(ms >= lazy / 2 && ms <= lazy * 3 / 2 + 20);
        if (ms < least) least = ms;
        if (ms > most) most = ms;
    }
    assert_true(most - least > lazy / 2);
    end();
}

static void own_writes_do_not(void **unused) {
    struct slv_draft d;
    uint64_t ticket;
    (void)unused;
    begin(false);
    run_ms(1000);
    const unsigned before = commits;
    assert_int_equal(slv_node_draft(node, 0, (struct slv_str){"k", 1}, &d), 0);
    assert_int_equal(slv_draft_add(&d, (struct slv_str){"x", 1}), 0);
    assert_int_equal(slv_node_write(node, 0, &d, &ticket), 0);
    slv_draft_close(&d);
    run_ms(10);
    assert_int_equal(commits, before + 1);
    assert_true(slv_node_durable(node) >= ticket);
    end();
}

/* A member as it says of itself. */
static void recall(unsigned i) {
    static const struct slv_str data = {"somewhere", 9};
    uint8_t sig[SLV_SWIM_SIGNATURE] = {0};
    const struct slv_swim_record r = {ids[i], 1, false, data, sig};
    assert_int_equal(slv_swim_recall(node->swim, clock_ns(NULL), &r, false), 0);
}

static bool always(void *ctx, const struct slv_swim_record *r) {
    (void)ctx, (void)r;
    return true;
}

/* (One that refutes suspicions says no more each time than that it is alive.) */
static void a_member_that_says_the_same_is_written_down_now_and_then(void **unused) {
    (void)unused;
    begin(false);
    node->swim->conf.verify = always;
    recall(1);
    run_ms(1000);
    struct member *m = swim_find(node->swim, ids[1]);
    assert_non_null(m);
    const unsigned first = puts_of[RECORD_MEMBER];
    assert_true(first > 0);
    for (uint64_t i = 2; i < 62; i++) { /* half a minute of it */
        swim_become(node->swim, clock_ns(NULL), m, SLV_SWIM_ALIVE, i);
        run_ms(500);
    }
    assert_in_range(puts_of[RECORD_MEMBER] - first, 2, 4);
    const unsigned before = puts_of[RECORD_MEMBER];
    swim_become(node->swim, clock_ns(NULL), m, SLV_SWIM_DEAD, m->incarnation);
    run_ms(500);
    assert_int_equal(puts_of[RECORD_MEMBER], before + 1); /* that is news */
    end();
}

/* Who has begun anew no longer has the association, and does not say so. */
static void a_way_without_answers_is_given_up(void **unused) {
    (void)unused;
    begin(false);
    assert_int_equal(slv_node_up(node, clock_ns(NULL), ids[1]), 0);
    run_ms((unsigned)(SILENT_NS / MS) - 500);
    assert_int_equal(disconnects, 0);
    assert_true(slv_node_is_connected(node, ids[1]));
    run_ms(3000);
    assert_int_equal(disconnects, 1);
    assert_false(slv_node_is_connected(node, ids[1]));
    end();
}

/* What it said by a clock far ahead may lie in them until that time is near, and be believed. */
static void ways_go_when_a_clock_is_set_back(void **unused) {
    (void)unused;
    tags_ttl_ms = 60000;
    begin(false);
    tags_ttl_ms = 0;
    assert_int_equal(slv_node_up(node, clock_ns(NULL), ids[1]), 0);
    run_ms(100);
    ahead_ms = 4000; /* as far as clocks may be apart: nothing was wrong */
    run_ms(100);
    ahead_ms = 0;
    run_ms(100);
    assert_int_equal(disconnects, 0);
    ahead_ms = 20000;
    run_ms(100);
    assert_int_equal(disconnects, 0);
    ahead_ms = 0;
    run_ms(100);
    assert_int_equal(disconnects, 1);
    assert_false(slv_node_is_connected(node, ids[1]));
    run_ms(2000);
    assert_int_equal(disconnects, 1); /* once */
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_heard_waits_a_while),
        cmocka_unit_test(own_writes_do_not),
        cmocka_unit_test(a_member_that_says_the_same_is_written_down_now_and_then),
        cmocka_unit_test(a_way_without_answers_is_given_up),
        cmocka_unit_test(ways_go_when_a_clock_is_set_back),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
