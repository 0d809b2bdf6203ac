/* test_entries.c: what a user would lose: an entry that is there and not found, or two nodes that
 * take different contents for the same.
 *
 * The tree against a sorted array, put in and taken out at random; sums against those of a tree
 * that was filled in another order; and memory that runs out at every point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/entries.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 4000

/* An entry as it was put in. */
struct item {
    char key[12], path[12], data[40];
    struct slv_dot dot;
};

static struct item list[MOST];
static size_t n_list;

static int by_place(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    int c = strcmp(x->key, y->key);
    if (!c) c = strcmp(x->path, y->path);
    if (!c) c = (x->dot.writer > y->dot.writer) - (x->dot.writer < y->dot.writer);
    return c ? c : (x->dot.n > y->dot.n) - (x->dot.n < y->dot.n);
}

static struct slv_place place(const struct item *i) {
    return (struct slv_place){text(i->key), text(i->path), i->dot};
}

static struct item draw(uint32_t n_keys) {
    static uint64_t next = 1;
    struct item i = {.dot = {rnd(5) * 0x1111111111111111u, next++}};
    snprintf(i.key, sizeof i.key, "k%u", (unsigned)rnd(n_keys));
    if (rnd(2)) snprintf(i.path, sizeof i.path, "%u", (unsigned)rnd(20));
    memset(i.data, 'x', rnd(sizeof i.data));
    return i;
}

static int put(struct slv_entries *t, const struct item *i) {
    const struct slv_place p = place(i);
    return slv_entries_put(t, &p, text(i->data), NULL);
}

static void check_same(const struct slv_entry *e, const struct item *i) {
    assert_non_null(e);
    assert_true(slv_str_is(slv_entry_key(e), i->key) && slv_str_is(slv_entry_path(e), i->path));
    assert_true(slv_str_is(slv_entry_data(e), i->data));
    assert_true(e->dot.writer == i->dot.writer && e->dot.n == i->dot.n);
}

/* Everything that can be asked of it. */
static void check(const struct slv_entries *t) {
    struct slv_print all = {0, 0}, from = {0, 0};
    const size_t lo = n_list ? rnd((uint32_t)n_list) : 0;
    qsort(list, n_list, sizeof *list, by_place);
    assert_int_equal(slv_entries_count(t), n_list);
    for (size_t i = 0; i < n_list; i++) {
        const struct slv_place p = place(&list[i]);
        const struct slv_entry *e = slv_entries_at(t, i);
        check_same(e, &list[i]);
        assert_int_equal(slv_entries_rank(t, &p), i);
        assert_ptr_equal(slv_entries_find(t, list[i].dot), e);
        const struct slv_print one = slv_entry_print(e);
        all.lo += one.lo;
        all.hi += one.hi + (all.lo < one.lo);
        if (i + 1 == lo) from = all;
    }
    const struct slv_print whole = slv_entries_sum(t, 0, n_list),
                           rest = slv_entries_sum(t, lo, n_list);
    assert_memory_equal(&whole, &all, sizeof all);
    from.lo += rest.lo;
    from.hi += rest.hi + (from.lo < rest.lo);
    assert_memory_equal(&from, &all, sizeof all);
    assert_null(slv_entries_at(t, n_list));
    assert_null(slv_entries_find(t, (struct slv_dot){1, 1}));
}

static void what_is_put_in_is_found_in_order(void **state) {
    static const uint32_t keys[] = {1, 30, 100000};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        struct slv_entries *t;
        assert_int_equal(slv_entries_open(&t), 0);
        n_list = 0;
        for (int turn = 0; turn < 30; turn++) {
            const bool grows = turn < 12 || turn % 3 == 0;
            for (uint32_t i = rnd(600); i > 0; i--) {
                if (grows && n_list < MOST) {
                    list[n_list] = draw(keys[k]);
                    assert_int_equal(put(t, &list[n_list]), 0);
                    assert_int_equal(put(t, &list[n_list++]), SLV_E_USAGE);
                } else if (!grows && n_list) {
                    const size_t at = rnd((uint32_t)n_list);
                    assert_true(slv_entries_remove(t, list[at].dot));
                    assert_false(slv_entries_remove(t, list[at].dot));
                    list[at] = list[--n_list];
                }
            }
            check(t);
        }
        while (n_list)
            assert_true(slv_entries_remove(t, list[--n_list].dot));
        check(t);
        slv_entries_close(t);
    }
}

static void equal_contents_have_equal_sums(void **state) {
    (void)state;
    struct slv_entries *a, *b;
    struct slv_print x, y;
    assert_int_equal(slv_entries_open(&a), 0);
    assert_int_equal(slv_entries_open(&b), 0);
    for (n_list = 0; n_list < 2000; n_list++) {
        list[n_list] = draw(300);
        assert_int_equal(put(a, &list[n_list]), 0);
    }
    for (size_t i = n_list; i-- > 0;)
        assert_int_equal(put(b, &list[i]), 0);
    for (size_t i = 0; i < 1000; i++) { /* and through others that go again */
        const struct item other = draw(300);
        assert_int_equal(put(b, &other), 0);
        assert_true(slv_entries_remove(b, other.dot));
    }
    for (int turn = 0; turn < 300; turn++) {
        const uint64_t from = rnd(2000), to = from + rnd((uint32_t)(2001 - from));
        x = slv_entries_sum(a, from, to);
        y = slv_entries_sum(b, from, to);
        assert_memory_equal(&x, &y, sizeof x);
    }
    assert_true(slv_entries_remove(b, list[77].dot));
    x = slv_entries_sum(a, 0, 2000);
    y = slv_entries_sum(b, 0, 1999);
    assert_memory_not_equal(&x, &y, sizeof x);
    slv_entries_close(a);
    slv_entries_close(b);
}

static void entries_take_little_more_than_their_bytes(void **state) {
    (void)state;
    struct slv_entries *t;
    size_t bytes = 0;
    assert_int_equal(slv_entries_open(&t), 0);
    for (size_t i = 0; i < 100000; i++) {
        char key[32], data[32];
        snprintf(key, sizeof key, "sensor/%05zu/temperature", i * 7919 % 100000);
        snprintf(data, sizeof data, "%018zu", i);
        const struct slv_place p = {.key = text(key), .dot = {77, i + 1}};
        assert_int_equal(slv_entries_put(t, &p, text(data), NULL), 0);
        bytes += strlen(key) + strlen(data) + 16; /* key, data, dot and lengths */
    }
    assert_true(slv_entries_bytes(t) < 4 * bytes);
    const size_t before = slv_entries_bytes(t);
    for (size_t i = 0; i < 1000000; i++) { /* a hundred that come and go do not add up */
        const struct slv_place p = {.key = text("set"), .dot = {78, i + 1}};
        assert_int_equal(slv_entries_put(t, &p, text("element"), NULL), 0);
        if (i >= 100) assert_true(slv_entries_remove(t, (struct slv_dot){78, i - 99}));
    }
    assert_true(slv_entries_bytes(t) < before + 100000);
    slv_entries_close(t);
}

static void what_is_too_long_is_refused(void **state) {
    (void)state;
    struct slv_entries *t;
    static char long_text[SLV_DATA_MAX + 1];
    assert_int_equal(slv_entries_open(&t), 0);
    struct slv_place p = {.key = {long_text, SLV_KEY_MAX + 1}, .dot = {1, 1}};
    assert_int_equal(slv_entries_put(t, &p, text(""), NULL), SLV_E_LIMIT);
    p = (struct slv_place){.path = {long_text, SLV_PATH_MAX + 1}, .dot = {1, 1}};
    assert_int_equal(slv_entries_put(t, &p, text(""), NULL), SLV_E_LIMIT);
    p = (struct slv_place){.dot = {1, 1}};
    const struct slv_str data = {long_text, SLV_DATA_MAX + 1};
    assert_int_equal(slv_entries_put(t, &p, data, NULL), SLV_E_LIMIT);
    assert_int_equal(slv_entries_put(t, &p, text(""), NULL),
                     0); /* nothing at all may be an entry */
    assert_non_null(slv_entries_at(t, 0));
    slv_entries_close(t);
}

static void without_memory_nothing_changes(void **state) {
    (void)state;
    for (uint64_t k = 1;; k++) {
        struct slv_entries *t;
        bool failed = false;
        assert_int_equal(slv_entries_open(&t), 0);
        slv_mem_fail_at(k);
        for (n_list = 0; n_list < 300;) {
            list[n_list] = draw(40);
            const int rc = put(t, &list[n_list]);
            assert_true(!rc || rc == SLV_E_NOMEM);
            n_list += !rc;
            if (rc && !failed) check(t);
            failed = failed || rc;
        }
        slv_mem_fail_at(0);
        check(t);
        slv_entries_close(t);
        if (!failed) break;
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_in_is_found_in_order),
        cmocka_unit_test(equal_contents_have_equal_sums),
        cmocka_unit_test(entries_take_little_more_than_their_bytes),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
