/* test_oplog.c: what a user would lose: a write that one node kept for another and did not give it.
 *
 * A log of any ops, some of them trimmed or pushed out, asked by peers that have seen any of them,
 * against a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/oplog.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS 60
#define WRITERS 3

struct item {
    uint64_t writer;
    struct slv_dot_range dots;
    char text[24];
    bool is_kept, given;
};
static struct item item[OPS];

static void draw(void) {
    uint64_t next[WRITERS] = {1, 1, 1};
    for (size_t i = 0; i < OPS; i++) {
        const uint32_t w = rnd(WRITERS);
        item[i] = (struct item){.writer = 100 + w, .dots = {next[w], next[w] + rnd(4)}};
        next[w] = item[i].dots.last + 1;
        snprintf(item[i].text, sizeof item[i].text, "%u:%u", (unsigned)w,
                 (unsigned)item[i].dots.first);
    }
}

static int note(void *ctx, struct slv_str bytes) {
    const size_t *stop = ctx;
    size_t given = 0;
    for (size_t i = 0; i < OPS; i++) {
        if (slv_str_is(bytes, item[i].text)) {
            assert_true(item[i].is_kept && !item[i].given);
            item[i].given = true;
        }
        given += item[i].given;
    }
    return given == *stop;
}

/* A peer that has some ops, all but some, and entries of others that it saw removed. */
static void ask(const struct slv_oplog *l, const struct slv_dots *have) {
    struct slv_dots theirs = {0};
    bool gone, none_gone = true;
    size_t never = OPS + 1;
    for (size_t i = 0; i < OPS; i++) {
        const struct item *k = &item[i];
        struct slv_dot_range r = k->dots;
        item[i].given = false;
        if (rnd(3)) continue;
        if (rnd(2) && r.last > r.first)
            r.first = r.last = r.first + 1 + rnd((uint32_t)(r.last - r.first));
        assert_int_equal(slv_dots_add(&theirs, k->writer, r), 0);
    }
    assert_int_equal(slv_oplog_missing(l, have, &theirs, note, &never, &gone), 0);
    for (size_t i = 0; i < OPS; i++) {
        const struct slv_dot dot = {item[i].writer, item[i].dots.first};
        const bool misses = slv_dots_has(have, dot) && !slv_dots_has(&theirs, dot);
        assert_int_equal(item[i].given, misses && item[i].is_kept);
        none_gone = none_gone && (!misses || item[i].is_kept);
    }
    assert_int_equal(gone, !none_gone);
    slv_dots_fini(&theirs);
}

static void peers_are_given_what_they_miss(void **state) {
    (void)state;
    for (int turn = 0; turn < 300; turn++) {
        struct slv_oplog *l;
        struct slv_dots have = {0}, trim = {0};
        assert_int_equal(slv_oplog_open(1 << 20, &l), 0);
        draw();
        for (size_t k = 0; k < OPS; k++) { /* they come in another order, some twice, some never */
            struct item *i = &item[k * 7 % OPS];
            if (!rnd(5)) continue;
            for (uint32_t times = 1 + rnd(2); times > 0; times--)
                assert_int_equal(slv_oplog_add(l, i->writer, i->dots,
                                               (struct slv_str){i->text, strlen(i->text)}),
                                 0);
            assert_int_equal(slv_dots_add(&have, i->writer, i->dots), 0);
            i->is_kept = true;
        }
        ask(l, &have);
        for (size_t k = 0; k < OPS; k++) {
            if (rnd(4)) continue;
            assert_int_equal(slv_dots_add(&trim, item[k].writer, item[k].dots), 0);
            item[k].is_kept = false;
        }
        slv_oplog_trim(l, &trim);
        for (int i = 0; i < 5; i++)
            ask(l, &have);
        slv_oplog_trim(l, &have);
        assert_int_equal(slv_oplog_bytes(l), 0);
        slv_dots_fini(&have);
        slv_dots_fini(&trim);
        slv_oplog_close(l);
    }
}

static void a_full_log_drops_the_oldest(void **state) {
    (void)state;
    struct slv_oplog *l;
    struct slv_dots have = {0};
    static char text[200];
    assert_int_equal(slv_oplog_open(10000, &l), 0);
    const struct slv_str much = {text, sizeof text};
    assert_int_equal(
        slv_oplog_add(l, 1, (struct slv_dot_range){1, 1}, (struct slv_str){text, 10000}),
        SLV_E_LIMIT);
    for (uint64_t n = 1; n <= 1000; n++) {
        assert_int_equal(slv_oplog_add(l, n % 3, (struct slv_dot_range){n, n}, much), 0);
        assert_true(slv_oplog_bytes(l) <= 10000);
    }
    assert_true(slv_oplog_bytes(l) > 9000);
    assert_int_equal(slv_dots_add(&have, 1000 % 3, (struct slv_dot_range){1000, 1000}), 0);
    slv_oplog_trim(l, &have); /* the newest is there */
    assert_true(slv_oplog_bytes(l) <= 9800);
    slv_dots_fini(&have);
    slv_oplog_close(l);
}

static void without_memory_nothing_is_lost(void **state) {
    (void)state;
    for (uint64_t k = 1;; k++) {
        struct slv_oplog *l;
        struct slv_dots have = {0};
        bool failed = false;
        assert_int_equal(slv_oplog_open(1 << 20, &l), 0);
        draw();
        slv_mem_fail_at(k);
        for (size_t i = 0; i < OPS; i++) {
            const struct slv_str bytes = {item[i].text, strlen(item[i].text)};
            const int rc = slv_oplog_add(l, item[i].writer, item[i].dots, bytes);
            assert_true(!rc || rc == SLV_E_NOMEM);
            item[i].is_kept = !rc;
            failed = failed || rc;
        }
        slv_mem_fail_at(0);
        for (size_t i = 0; i < OPS; i++)
            assert_int_equal(slv_dots_add(&have, item[i].writer, item[i].dots), 0);
        ask(l, &have);
        slv_dots_fini(&have);
        slv_oplog_close(l);
        if (!failed) break;
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_are_given_what_they_miss),
        cmocka_unit_test(a_full_log_drops_the_oldest),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
