/* test_replica_ttl.c: what a user would lose: an entry that goes too early because of somebody
 * else's clock, one that comes back after its time, nodes that never agree on what has gone. */
#include "replica_world.h"

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
