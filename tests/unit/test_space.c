/* test_space.c: what a user would lose: nodes that saw the same writes and hold different things.
 *
 * Replicas that write at random and are given each other's writes in any order, any number of
 * times, cut short by lack of memory, or a range at a time, broken off in the middle; against a
 * history of all writes, from which what must live is plain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/space.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITES 160
#define KEYS 6

/* Gives a replica a write, perhaps with no memory for some of it, until it has it. */
static void give(struct replica *to, size_t k, bool starve) {
    struct slv_op op = replicas_op(k);
    const bool had = slv_dots_has(&to->space.context, op.dot);
    bool fresh = false;
    int rc;
    do {
        if (starve) slv_mem_fail_at(1 + rnd(6));
        rc = slv_space_apply(&to->space, &op, &fresh);
        slv_mem_fail_at(0);
        assert_true(!rc || (starve && rc == SLV_E_NOMEM));
    } while (rc);
    assert_int_equal(fresh, !had);
    slv_op_fini(&op);
}

/* Removes some or all of what the replica sees of a key, and puts some in. */
static void write_something(struct replica *from) {
    char key[8], path[8], data[16];
    struct slv_op op = {.dot = {from->id, from->next}};
    snprintf(key, sizeof key, "k%u", (unsigned)rnd(KEYS));
    op.key = (struct slv_str){key, strlen(key)};
    const struct slv_place at = {.key = op.key};
    const bool all = rnd(2);
    uint64_t i = slv_entries_rank(from->space.entries, &at);
    const struct slv_entry *e;
    for (;
         (e = slv_entries_at(from->space.entries, i)) != NULL && slv_str_is(slv_entry_key(e), key);
         i++)
        if (all || rnd(2))
            assert_int_equal(slv_dots_add(&op.removes, e->dot.writer,
                                          (struct slv_dot_range){e->dot.n, e->dot.n}),
                             0);
    snprintf(path, sizeof path, "p%u", (unsigned)rnd(3));
    snprintf(data, sizeof data, "%llu", (unsigned long long)from->next);
    for (uint32_t k = rnd(4); k > 0; k--)
        assert_int_equal(slv_op_add(&op, (struct slv_str){path, strlen(path)},
                                    (struct slv_str){data, strlen(data)}),
                         0);
    replica_write(from, &op);
    slv_op_fini(&op);
}

/* --- ranges ----------------------------------------------------------------------------------- */

static void dots_of(const struct slv_space *s, const struct slv_space_range *r,
                    struct slv_dots *ret) {
    uint64_t i, to;
    for (slv_space_find(s, r, &i, &to); i < to; i++) {
        const struct slv_dot d = slv_entries_at(s->entries, i)->dot;
        assert_int_equal(slv_dots_add(ret, d.writer, (struct slv_dot_range){d.n, d.n}), 0);
    }
}

static void take_range(struct slv_space *to, const struct slv_space *from,
                       const struct slv_space_range *r) {
    struct slv_dots theirs = {0};
    uint64_t i, end;
    dots_of(from, r, &theirs);
    const struct slv_seen seen = slv_space_seen(from);
    slv_space_retain(to, r, &theirs, &seen);
    for (slv_space_find(from, r, &i, &end); i < end; i++) {
        const struct slv_entry *e = slv_entries_at(from->entries, i);
        const struct slv_place at = {slv_entry_key(e), slv_entry_path(e), e->dot};
        assert_int_equal(slv_space_take(to, &at, slv_entry_data(e), NULL), 0);
    }
    slv_dots_fini(&theirs);
}

/* Key by key, in any order; the context only where all were taken. */
static void take_all(struct slv_space *to, const struct slv_space *from) {
    static const char *const key[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6"};
    struct slv_place place[KEYS + 1];
    const uint32_t turn = rnd(KEYS), stop = rnd(2) ? KEYS : rnd(KEYS);
    for (size_t i = 0; i <= KEYS; i++)
        place[i] = (struct slv_place){.key = {key[i], 2}};
    for (uint32_t i = 0; i < stop; i++) {
        const uint32_t k = (i + turn) % KEYS;
        const struct slv_space_range r = {k ? &place[k] : NULL,
                                          k + 1 < KEYS ? &place[k + 1] : NULL};
        take_range(to, from, &r);
    }
    if (stop == KEYS) assert_int_equal(slv_dots_join(&to->context, &from->context), 0);
}

/* --- what must be ----------------------------------------------------------------------------- */

/* Of the ops that were seen: all entries but those that one of them removes. */
static void check(const struct slv_space *s) {
    struct slv_dots removed = {0}, live = {0}, have = {0};
    const struct slv_space_range all = {0};
    for (size_t k = 0; k < n_history; k++) {
        struct slv_op op = replicas_op(k);
        if (slv_dots_has(&s->context, op.dot))
            assert_int_equal(slv_dots_join(&removed, &op.removes), 0);
        slv_op_fini(&op);
    }
    for (size_t k = 0; k < n_history; k++) {
        struct slv_op op = replicas_op(k);
        for (uint32_t i = 0; i < op.n && slv_dots_has(&s->context, op.dot); i++) {
            const struct slv_dot d = slv_op_entry_dot(&op, i);
            if (!slv_dots_has(&removed, d))
                assert_int_equal(slv_dots_add(&live, d.writer, (struct slv_dot_range){d.n, d.n}),
                                 0);
        }
        slv_op_fini(&op);
    }
    dots_of(s, &all, &have);
    assert_true(slv_dots_equal(&have, &live));
    slv_dots_fini(&removed);
    slv_dots_fini(&live);
    slv_dots_fini(&have);
}

static void check_equal(const struct slv_space *a, const struct slv_space *b) {
    const uint64_t n = slv_entries_count(a->entries);
    assert_int_equal(n, slv_entries_count(b->entries));
    assert_true(slv_dots_equal(&a->context, &b->context));
    const struct slv_print x = slv_entries_sum(a->entries, 0, n);
    const struct slv_print y = slv_entries_sum(b->entries, 0, n);
    assert_memory_equal(&x, &y, sizeof x);
}

static void run(bool ranges, bool starve) {
    replicas_open();
    while (n_history < WRITES) {
        const uint32_t i = rnd(REPLICAS), j = rnd(REPLICAS);
        if (!rnd(3)) write_something(&replica[i]);
        else if (n_history) give(&replica[i], rnd((uint32_t)n_history), starve);
        if (ranges && i != j && !rnd(8)) take_all(&replica[i].space, &replica[j].space);
        if (!ranges) check(&replica[i].space);
    }
    for (size_t i = 0; i < REPLICAS; i++) { /* in another order each, some twice */
        const size_t turn = rnd(WRITES);
        for (size_t k = 0; k < WRITES + 20; k++)
            give(&replica[i], (k * 7 + turn) % WRITES, starve);
        check(&replica[i].space);
        check_equal(&replica[i].space, &replica[0].space);
    }
    replicas_close();
}

static void orders_and_repetitions_do_not_matter(void **state) {
    (void)state;
    for (int turn = 0; turn < 60; turn++)
        run(false, turn % 2);
}

static void ranges_that_are_taken_agree_with_writes(void **state) {
    (void)state;
    for (int turn = 0; turn < 150; turn++)
        run(true, turn % 3 == 0);
}

/* Both are the same after one has taken all of the other and the other all of it: no
 * op is needed. */
static void ranges_alone_bring_two_together(void **state) {
    (void)state;
    for (int turn = 0; turn < 100; turn++) {
        replicas_open();
        while (n_history < WRITES) {
            const uint32_t i = rnd(2);
            if (rnd(2)) write_something(&replica[i]);
            else if (n_history) give(&replica[i], rnd((uint32_t)n_history), false);
        }
        const struct slv_space_range all = {0};
        struct slv_space *a = &replica[0].space, *b = &replica[1].space;
        take_range(a, b, &all);
        assert_int_equal(slv_dots_join(&a->context, &b->context), 0);
        check(a);
        take_range(b, a, &all);
        assert_int_equal(slv_dots_join(&b->context, &a->context), 0);
        check_equal(a, b);
        replicas_close();
    }
}

static void bytes_that_are_no_op_are_refused(void **state) {
    (void)state;
    replicas_open();
    while (n_history < 40)
        write_something(&replica[rnd(REPLICAS)]);
    for (size_t k = 0; k < n_history; k++) {
        struct slv_buf *h = &history[k], again;
        for (size_t cut = 0; cut < h->len; cut++) {
            struct slv_op op = {0};
            struct slv_reader r = slv_reader_of(h->data, cut);
            assert_true(read_op(&r, &op) == SLV_E_FORMAT || !slv_reader_done(&r));
            slv_op_fini(&op);
        }
        slv_buf_init(&again, SLV_OP_BYTES_MAX + 32);
        for (size_t bit = 0; bit < 8 * h->len; bit++) { /* one form of each */
            struct slv_op op = {0};
            h->data[bit / 8] = (char)(h->data[bit / 8] ^ 1 << bit % 8);
            struct slv_reader r = slv_reader_of(h->data, h->len);
            if (!read_op(&r, &op) && slv_reader_done(&r)) {
                slv_buf_clear(&again);
                write_op(&op, &again);
                assert_int_equal(again.len, h->len);
                assert_memory_equal(again.data, h->data, h->len);
            }
            slv_op_fini(&op);
            h->data[bit / 8] = (char)(h->data[bit / 8] ^ 1 << bit % 8);
        }
        slv_buf_fini(&again);
    }
    replicas_close();
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_and_repetitions_do_not_matter),
        cmocka_unit_test(ranges_that_are_taken_agree_with_writes),
        cmocka_unit_test(ranges_alone_bring_two_together),
        cmocka_unit_test(bytes_that_are_no_op_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
