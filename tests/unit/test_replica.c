/* test_replica.c: what a user would lose: a write that does not arrive, one that comes back after
 * it was removed, nodes that never agree, a node that is talked into forgetting what it has not
 * seen.
 *
 * Nodes with stores of their own, between which messages are lost, doubled and come in any order,
 * some of which crash; against a history of all batches that left. Then the losses end, and after
 * some rounds all hold what the history says. */
#include "replica_world.h"

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

/* A dot does not say of which key it is: who may write some keys only would remove any. */
static void who_is_confined_removes_nothing_else(void **state) {
    (void)state;
    open_nodes(SLV_TYPE_SET, false, 1 << 20);
    const struct slv_replica_count *c = slv_replica_count(node[0].r);
    const struct slv_dot_range one = {2, 2};
    node[1].confined = true;
    struct slv_op kept = {.key = text("k")}, own = {.key = text("own 1")},
                  op = {.key = text("own 1")};
    assert_int_equal(slv_op_add(&kept, text("red"), text("")), 0);
    assert_int_equal(slv_dots_add(&op.removes, slv_mesh_writer(node[2].id, 0), one), 0);
    struct blob b = craft(&node[1], 1, stamp_now(), &op),
                again = dup_bytes((struct slv_str){b.p, b.n});
    give_blob(&node[0], &node[1], b); /* of what is not here yet: it waits */
    assert_int_equal(c->waited, 1);
    give_blob(&node[0], &node[2], craft(&node[2], 1, stamp_now(), &kept));
    assert_int_equal(entries_at(&node[0]), 1); /* and is refused when that has come */
    assert_int_equal(c->forbidden, 1);
    give_blob(&node[0], &node[1], again);
    assert_int_equal(c->forbidden, 2);
    assert_int_equal(entries_at(&node[0]), 1);
    slv_op_fini(&op);
    /* (What it wrote itself, and what others did in its keys, it may.) */
    assert_int_equal(slv_op_add(&own, text("blue"), text("")), 0);
    give_blob(&node[0], &node[3], craft(&node[3], 1, stamp_now(), &own));
    assert_int_equal(entries_at(&node[0]), 2);
    op = (struct slv_op){.key = text("own 1")};
    assert_int_equal(slv_dots_add(&op.removes, slv_mesh_writer(node[3].id, 0), one), 0);
    give_blob(&node[0], &node[1], craft(&node[1], 1, stamp_now(), &op));
    assert_int_equal(entries_at(&node[0]), 1);
    slv_op_fini(&op);
    slv_op_fini(&own);
    slv_op_fini(&kept);
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

/* Questions of ranges and their answers, as long as there are any. */
static void answer_ranges(struct node *to, struct node *from) {
    while (n_queue) {
        struct message m = take_message(SLV_MSG_ASK, from);
        if (!m.bytes.p) m = take_message(SLV_MSG_TELL, to);
        if (!m.bytes.p) break;
        give_message(&m);
        free(m.bytes.p);
    }
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
    answer_ranges(b, a);
    lossless = false;
    heal();
    check_against_history();
    close_nodes();
}

/* What a node has removed and may lose the removal of, it says to be there: but not where another
 * has removed it, too, which it says that it has seen. */
static void what_two_have_removed_is_not_said_to_be_there(void **state) {
    struct node *a = &node[1], *b = &node[2], *c = &node[0];
    (void)state;
    open_nodes(SLV_TYPE_SET, false, 1500);
    lossless = true;
    add_element(a, "shared", "x");
    commit(a);
    pass_on(SLV_MSG_BATCH, b);
    pass_on(SLV_MSG_BATCH, c);
    write_much(a);
    const uint64_t before = entries_at(a);
    drop_element(b, "shared", "x");
    commit(b);
    drop_element(a, "shared", "x");
    pass_on(SLV_MSG_BATCH, a);
    ask_for_ranges(c, a);
    answer_ranges(c, a);
    forget_messages();
    assert_int_equal(entries_at(a), before - 1);
    assert_int_equal(entries_at(c), before - 1);
    lossless = false;
    heal();
    check_against_history();
    close_nodes();
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_to_agree),
        cmocka_unit_test(what_a_member_may_not_write_is_not_taken),
        cmocka_unit_test(what_was_not_written_is_not_removed),
        cmocka_unit_test(who_is_confined_removes_nothing_else),
        cmocka_unit_test(two_faces_come_out_as_one),
        cmocka_unit_test(a_store_of_last_week_is_noticed),
        cmocka_unit_test(a_damaged_store_is_mended_by_others),
        cmocka_unit_test(answers_from_before_a_crash_are_none),
        cmocka_unit_test(a_teller_that_crashed_is_not_listened_to),
        cmocka_unit_test(what_two_have_removed_is_not_said_to_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
