/* test_retire.c: what a user would lose when writers that are over are let go: a write of theirs,
 * something that comes back after it was removed, causal order, or nodes that never agree again. */
#include "replica_world.h"

#define GROUP 0x6702u
#define OVER_MAX 64

/* Writers that are over; what was agreed on; up to where each node was told of that. */
static struct { uint64_t writer, node; } over[OVER_MAX];
static size_t n_over;
static struct blob agreed[OVER_MAX];
static size_t n_agreed, n_told[NODES];

static void begin(enum slv_mesh_type type, bool causal, size_t log_max) {
    n_over = n_agreed = 0;
    memset(n_told, 0, sizeof n_told);
    open_nodes(type, causal, log_max);
}

static void end(void) {
    close_nodes();
    while (n_agreed)
        free(agreed[--n_agreed].p);
}

static void tell(struct node *n) {
    size_t *k = &n_told[n - node];
    if (*k == n_agreed) return;
    const struct slv_str bytes = {agreed[*k].p, agreed[*k].n};
    bool is_new;
    ++*k;
    assert_int_equal(slv_retired_add(&n->retired, (struct slv_dot){GROUP, *k}, bytes, &is_new), 0);
    assert_true(is_new);
    const int rc = slv_replica_retire(n->r);
    assert_true(!rc || rc == SLV_E_IO || (rc == SLV_E_BUSY && n->is_behind));
    /* (As a node does.) */
    n->is_behind = n->is_behind || slv_replica_has_more(n->r) ||
                   slv_retired_find(&n->retired, slv_mesh_writer(n->id, n->store));
    renew(n);
}

static void tell_all(void) {
    for (size_t i = 0; i < NODES; i++)
        while (n_told[i] < n_agreed)
            tell(&node[i]);
}

/* Some other node has all that it had: nobody else is to know of what is lost with it. */
static void wait_for_another(struct node *n) {
    struct node *other = &node[(size_t)(n - node + 1 + rnd(NODES - 1)) % NODES];
    const struct slv_dots *seen = &slv_replica_space(n->r)->context;
    for (int i = 0; i < 4000 && !slv_space_covers(slv_replica_space(other->r), seen); i++) {
        if (n_queue) deliver(0);
        else compare_sums(true);
        if (!rnd(20)) pass_time();
        if (i == 500) tell_all(); /* it may wait for that */
    }
    assert_true(slv_space_covers(slv_replica_space(other->r), seen));
    commit(other);
}

/* What it says is lost with its associations. */
static void cut_off(const struct node *n) {
    for (size_t i = 0; i < n_queue; i++) {
        if (queue[i].from != n->id && queue[i].to != n->id) continue;
        free(queue[i].bytes.p);
        queue[i--] = queue[--n_queue];
    }
}

static void lose_disk(struct node *n) {
    slv_replica_close(n->r);
    lose(&n->disk);
    while (n->disk.n) {
        free(n->disk.v[--n->disk.n].key.p);
        free(n->disk.v[n->disk.n].value.p);
    }
    slv_retired_fini(&n->retired);
    n_told[n - node] = 0;
    n->store += 1000;
    n->is_behind = false;
    start(n);
}

/* Its disk is gone. */
static void lose_all(struct node *n) {
    for (size_t i = 0; i < NODES; i++)
        renew(&node[i]);
    if (n_over == OVER_MAX) return;
    commit(n);
    wait_for_another(n);
    cut_off(n);
    over[n_over].node = n->id;
    over[n_over++].writer = slv_mesh_writer(n->id, n->store);
    lose_disk(n);
}

/* What all have, all of them the same, is agreed on. */
static bool agree_on(size_t i) {
    struct slv_dots all = {0}, of = {0};
    struct slv_buf b;
    bool same = true;
    for (size_t k = 0; k < NODES && same; k++) {
        same = !slv_space_let_go(slv_replica_space(node[k].r), over[i].writer) &&
               !slv_replica_seen_of(node[k].r, over[i].writer, &of) &&
               (!k || slv_dots_equal(&of, &all));
        slv_dots_fini(&all);
        all = of;
        of = (struct slv_dots){0};
    }
    slv_buf_init(&b, 256);
    slv_write_id(&b, over[i].writer);
    slv_write_id(&b, over[i].node);
    slv_write_number(&b, 1);
    slv_write_id(&b, SPACE);
    slv_dots_write(&all, &b);
    if (same && all.n) {
        agreed[n_agreed++] = dup_bytes((struct slv_str){b.data, b.len});
    }
    if (same) over[i] = over[--n_over];
    slv_buf_fini(&b);
    slv_dots_fini(&all);
    return same;
}

static void agree(void) {
    for (size_t i = 0; i < n_over; i++)
        if (agree_on(i)) i--;
}

static void live_and_retire(uint32_t steps, bool causal) {
    for (uint32_t s = 0; s < steps; s++) {
        struct node *n = &node[rnd(NODES)];
        live(20, causal);
        if (!rnd(8)) lose_all(n);
        if (rnd(2)) agree();
        if (rnd(2)) tell(n);
    }
}

static void retire_all(void) {
    for (int turn = 0; turn < 4; turn++) {
        agree();
        tell_all();
        heal();
    }
    assert_int_equal(n_over, 0);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void nothing_is_lost(void **state) {
    static const enum slv_mesh_type types[] = {SLV_TYPE_SET, SLV_TYPE_COUNTER, SLV_TYPE_LAST};
    size_t let_go = 0;
    (void)state;
    for (uint32_t turn = 0; turn < 150; turn++) {
        const bool causal = turn % 2;
        begin(types[turn % 3], causal, turn % 4 < 2 ? 1500 : 1 << 20);
        live_and_retire(25, causal);
        retire_all();
        check_against_history();
        for (size_t i = 0; i < NODES; i++) {
            const struct slv_space *s = slv_replica_space(node[i].r);
            assert_int_equal(slv_replica_let_go(node[i].r), n_agreed);
            assert_int_equal(slv_dots_count(&node[i].retired.dots), n_agreed);
            assert_true(s->context.n <= NODES + 1); /* the group counts as one */
            assert_true(slv_replica_writers(node[i].r) <= NODES);
        }
        let_go += n_agreed;
        end();
    }
    assert_true(let_go > 150);
}

/* One that has nothing is told all by those who no longer know of its writers. */
static void who_comes_new_has_all(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 20; turn++) {
        begin(SLV_TYPE_SET, turn % 2, turn % 4 < 2 ? 1500 : 1 << 20);
        add_element(&node[3], "old", "kept");
        add_element(&node[3], "old", "gone");
        commit(&node[3]);
        lose_all(&node[3]);
        retire_all();
        assert_int_equal(n_agreed, 1);
        struct slv_draft d;
        assert_int_equal(slv_replica_draft(node[1].r, text("old"), &d), 0);
        assert_int_equal(slv_draft_drop(&d, text("gone")), 0);
        assert_int_equal(slv_replica_write(node[1].r, &d), 0);
        slv_draft_close(&d);
        heal();
        lose_all(&node[2]);
        for (int i = 0; i < 20; i++) { /* it has not been told: all the same it loses nothing */
            compare_sums(false);
            while (n_queue)
                deliver(0);
            pass_time();
        }
        assert_true(slv_read_has(slv_replica_space(node[0].r), text("old"), text("kept")));
        retire_all();
        for (size_t i = 0; i < NODES; i++) {
            const struct slv_space *s = slv_replica_space(node[i].r);
            assert_true(slv_read_has(s, text("old"), text("kept")));
            assert_false(slv_read_has(s, text("old"), text("gone")));
            assert_int_equal(slv_replica_let_go(node[i].r), n_agreed);
        }
        check_against_history();
        end();
    }
}

/* What a writer that was let go wrote, and comes again, is known. */
static void old_batches_change_nothing(void **state) {
    (void)state;
    begin(SLV_TYPE_SET, false, 1 << 20);
    add_element(&node[3], "k", "a");
    commit(&node[3]);
    heal();
    struct slv_draft d;
    assert_int_equal(slv_replica_draft(node[0].r, text("k"), &d), 0);
    assert_int_equal(slv_draft_drop(&d, text("a")), 0);
    assert_int_equal(slv_replica_write(node[0].r, &d), 0);
    slv_draft_close(&d);
    heal();
    lose_all(&node[3]);
    retire_all();
    struct slv_buf m;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, SLV_MSG_BATCH);
    slv_write_id(&m, SPACE);
    slv_buf_add(&m, batch[0].p, batch[0].n);
    for (size_t i = 0; i < NODES; i++) {
        const struct message again = {node[1].id, node[i].id, {m.data, m.len}};
        give_message(&again);
        assert_false(slv_read_has(slv_replica_space(node[i].r), text("k"), text("a")));
        assert_true(slv_replica_writers(node[i].r) <= NODES);
    }
    slv_buf_fini(&m);
    assert_true(all_equal());
    end();
}

static void assign(struct node *n, const char *value) {
    struct slv_draft d;
    assert_int_equal(slv_replica_draft(n->r, text("k"), &d), 0);
    assert_int_equal(slv_draft_assign(&d, text(value)), 0);
    assert_int_equal(slv_replica_write(n->r, &d), 0);
    slv_draft_close(&d);
    commit(n);
}

static bool is_text(void *ctx, struct slv_str value) {
    *(bool *)ctx = !slv_str_compare(value, text("old"));
    return false;
}

static bool has_old(const struct node *n) {
    bool is = false;
    slv_read_values(slv_replica_space(n->r), SLV_TYPE_LAST, text("k"), is_text, &is);
    return is;
}

/* A retirement of the writer that node 3 has, with its numbers up to `last` in a space. */
static void retire_3(uint64_t space, uint64_t last) {
    const uint64_t writer = slv_mesh_writer(node[3].id, node[3].store);
    struct slv_dots all = {0};
    struct slv_buf b;
    assert_int_equal(slv_dots_add(&all, writer, (struct slv_dot_range){1, last}), 0);
    slv_buf_init(&b, 256);
    slv_write_id(&b, writer);
    slv_write_id(&b, node[3].id);
    slv_write_number(&b, 1);
    slv_write_id(&b, space);
    slv_dots_write(&all, &b);
    agreed[n_agreed++] = dup_bytes((struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
    slv_dots_fini(&all);
}

/* A node that was shut out goes on alone, and its writer is retired; a store of last week is put
 * back. What it wrote nobody else ever has; nor may what it removed be gone. */
static void who_wrote_on_removes_nothing(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 8; turn++) {
        lossless = true;
        begin(SLV_TYPE_LAST, turn % 2, turn % 4 < 2 ? 1500 : 1 << 20);
        assign(&node[3], "?");
        assign(&node[0], "?");
        heal();
        assign(turn % 3 ? &node[3] : &node[0], "old");
        heal();
        retire_3(SPACE, slv_replica_last(node[3].r));
        assign(&node[3], "new");
        forget_messages();
        for (int i = 0; i < 3; i++)
            tell(&node[i]);
        if (turn > 3) { /* it is met before it hears of it */
            for (int i = 0; i < 40; i++) {
                compare_sums(true);
                while (n_queue)
                    deliver(0);
                pass_time();
            }
        }
        tell(&node[3]);
        heal();
        for (size_t i = 0; i < NODES; i++) {
            assert_true(has_old(&node[i]));
            assert_int_equal(slv_replica_let_go(node[i].r), 1);
        }
        assign(&node[3], "more"); /* under its next writer */
        heal();
        assert_false(has_old(&node[0]));
        end();
    }
    lossless = false;
}

/* Of a space that it does not list a retirement says nothing. */
static void another_space_is_left_alone(void **state) {
    (void)state;
    begin(SLV_TYPE_LAST, false, 1 << 20);
    assign(&node[3], "old");
    heal();
    retire_3(SPACE + 1, 1);
    for (int i = 0; i < 3; i++) /* (3 would have to begin another writer) */
        tell(&node[i]);
    heal();
    for (size_t i = 0; i < NODES; i++) {
        assert_true(has_old(&node[i]));
        assert_int_equal(slv_replica_writers(node[i].r), 1);
    }
    end();
}

/* A batch that removes what nobody else ever had of a writer is applied all the same. And where
 * that was not removed it goes, and what it had removed is back. */
static void what_nobody_had_is_not_waited_for(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 4; turn++) {
        lossless = true;
        begin(SLV_TYPE_LAST, turn % 2, 1 << 20);
        assign(&node[3], turn < 2 ? "one" : "old");
        heal();
        retire_3(SPACE, slv_replica_last(node[3].r));
        assign(&node[3], "two");
        const struct message m = take_message(SLV_MSG_BATCH, &node[1]);
        give_message(&m);
        free(m.bytes.p);
        forget_messages();
        if (turn < 2) assign(&node[1], "old");
        forget_messages();
        lose_disk(&node[3]);
        tell_all();
        heal();
        for (size_t i = 0; i < NODES; i++) {
            assert_true(has_old(&node[i]));
            assert_int_equal(slv_replica_let_go(node[i].r), 1);
        }
        end();
    }
    lossless = false;
}

/* --- retirements ------------------------------------------------------------------------------ */

static struct slv_str record_of(struct slv_buf *b, uint64_t writer, uint64_t last) {
    slv_buf_clear(b);
    slv_write_id(b, writer);
    slv_write_id(b, 5);
    slv_write_number(b, 1);
    slv_write_id(b, SPACE);
    struct slv_dots all = {0};
    if (last) assert_int_equal(slv_dots_add(&all, writer, (struct slv_dot_range){1, last}), 0);
    slv_dots_write(&all, b);
    slv_dots_fini(&all);
    return (struct slv_str){b->data, b->len};
}

/* As groups that are founded anew may. */
static void a_writer_is_retired_twice(void **state) {
    const struct slv_dot one = {GROUP, 1}, two = {9, 1};
    struct slv_retired t = {0};
    struct slv_dots seen = {0};
    struct slv_buf b;
    bool is_new;
    (void)state;
    slv_buf_init(&b, 256);
    assert_int_equal(slv_retired_add(&t, one, record_of(&b, 10, 3), NULL), 0);
    assert_int_equal(slv_retired_add(&t, two, record_of(&b, 10, 3), &is_new), 0);
    assert_true(is_new);
    assert_int_equal(slv_retired_add(&t, two, record_of(&b, 10, 3), &is_new), 0);
    assert_false(is_new);
    assert_false(slv_retired_names(&t, &seen, 10));
    assert_int_equal(slv_dots_add_dot(&seen, two), 0);
    assert_true(slv_retired_names(&t, &seen, 10));
    assert_false(slv_retired_names(&t, &seen, 20));
    assert_int_equal(slv_dots_count(slv_retired_seen(&t, 10, SPACE)), 3);
    assert_null(slv_retired_seen(&t, 10, SPACE + 1));
    assert_int_equal(slv_retired_find(&t, 10)->node, 5);
    assert_null(slv_retired_find(&t, 11));
    slv_dots_fini(&seen);
    slv_retired_fini(&t);
    slv_buf_fini(&b);
}

static void without_memory_it_is_as_before(void **state) {
    const struct slv_dot dot = {GROUP, 1};
    struct slv_retired t = {0};
    struct slv_buf b;
    int rc = SLV_E_NOMEM;
    (void)state;
    slv_buf_init(&b, 256);
    const struct slv_str bytes = record_of(&b, 10, 3);
    for (uint64_t n = 1; rc; n++) {
        slv_mem_fail_at(n);
        rc = slv_retired_add(&t, dot, bytes, NULL);
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        assert_int_equal(t.n, !rc);
        assert_int_equal(slv_dots_has(&t.dots, dot), !rc);
        assert_true(n < 100 && (n > 1 || rc));
    }
    slv_retired_fini(&t);
    slv_buf_fini(&b);
}

/* A node that lacks it while it lets go does so with the next look. */
static void without_memory_it_is_let_go_later(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 2; turn++) {
        begin(SLV_TYPE_LAST, turn, 1 << 20);
        assign(&node[3], "old");
        heal();
        retire_3(SPACE, slv_replica_last(node[3].r));
        const struct slv_str bytes = {agreed[0].p, agreed[0].n};
        assert_int_equal(slv_retired_add(&node[0].retired, (struct slv_dot){GROUP, 1}, bytes, NULL),
                         0);
        int rc = SLV_E_NOMEM;
        for (uint64_t n = 1; rc; n++) {
            slv_mem_fail_at(n);
            rc = slv_replica_retire(node[0].r);
            slv_mem_fail_at(0);
            assert_true(!rc || rc == SLV_E_NOMEM || rc == SLV_E_IO);
            if (rc == SLV_E_IO) restart(&node[0]); /* a record was lost to its store */
            assert_true(n < 100 && (n > 1 || rc));
        }
        assert_int_equal(slv_replica_let_go(node[0].r), 1);
        n_told[0] = 1;
        lose_disk(&node[3]);
        tell_all();
        heal();
        for (size_t i = 0; i < NODES; i++) {
            assert_true(has_old(&node[i]));
            assert_int_equal(slv_replica_let_go(node[i].r), 1);
        }
        end();
    }
}

static void what_is_no_retirement_is_refused(void **state) {
    struct slv_retired t = {0};
    struct slv_buf b;
    (void)state;
    slv_buf_init(&b, 256);
    const struct slv_str good = record_of(&b, 10, 3);
    for (size_t n = 0; n < good.n; n++)
        assert_int_equal(
            slv_retired_add(&t, (struct slv_dot){GROUP, 1}, (struct slv_str){good.p, n}, NULL),
            SLV_E_FORMAT);
    slv_buf_addc(&b, 0);
    assert_int_equal(
        slv_retired_add(&t, (struct slv_dot){GROUP, 1}, (struct slv_str){b.data, b.len}, NULL),
        SLV_E_FORMAT);
    assert_int_equal(slv_retired_add(&t, (struct slv_dot){GROUP, 1}, record_of(&b, 10, 0), NULL),
                     SLV_E_FORMAT);
    assert_int_equal(slv_retired_add(&t, (struct slv_dot){GROUP, 0}, record_of(&b, 10, 3), NULL),
                     SLV_E_FORMAT);
    assert_int_equal(t.n, 0);
    slv_retired_fini(&t);
    slv_buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(who_comes_new_has_all),
        cmocka_unit_test(old_batches_change_nothing),
        cmocka_unit_test(who_wrote_on_removes_nothing),
        cmocka_unit_test(another_space_is_left_alone),
        cmocka_unit_test(what_nobody_had_is_not_waited_for),
        cmocka_unit_test(a_writer_is_retired_twice),
        cmocka_unit_test(without_memory_it_is_as_before),
        cmocka_unit_test(without_memory_it_is_let_go_later),
        cmocka_unit_test(what_is_no_retirement_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
