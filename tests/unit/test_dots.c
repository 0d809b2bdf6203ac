/* test_dots.c: what a user would lose: a write that a node takes for one it has seen.
 *
 * Sets of dots against a plain table of which numbers are in, joined and compared in any order;
 * their wire form, whole, cut, and with every bit turned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/dots.h"
#include "replicas.h"

#include <stdlib.h>
#include <string.h>

#define WRITERS 5
#define NUMBERS 60

/* Which are in it: [writer][number - 1]. */
struct model {
    bool has[WRITERS][NUMBERS];
};

static uint64_t id_of(size_t w) { return 0x0102030405060708u * (w + 1); }

static void draw(struct slv_dots *s, struct model *m) {
    *s = (struct slv_dots){0};
    memset(m, 0, sizeof *m);
    for (uint32_t k = rnd(12); k > 0; k--) {
        const size_t w = rnd(WRITERS);
        const uint64_t first = 1 + rnd(NUMBERS),
                       last = first + rnd((uint32_t)(NUMBERS + 1 - first));
        assert_int_equal(slv_dots_add(s, id_of(w), (struct slv_dot_range){first, last}), 0);
        for (uint64_t n = first; n <= last; n++)
            m->has[w][n - 1] = true;
    }
}

static void check(const struct slv_dots *s, const struct model *m) {
    uint64_t count = 0;
    for (size_t w = 0; w < WRITERS; w++) {
        uint64_t base = 0, last = 0;
        for (uint64_t n = 1; n <= NUMBERS; n++) {
            const bool has = m->has[w][n - 1];
            assert_int_equal(slv_dots_has(s, (struct slv_dot){id_of(w), n}), has);
            if (has && base == n - 1) base = n;
            if (has) last = n;
            count += has;
        }
        assert_false(slv_dots_has(s, (struct slv_dot){id_of(w) + 1, 1}));
        assert_int_equal(slv_dots_base(s, id_of(w)), base);
        assert_int_equal(slv_dots_last(s, id_of(w)), last);
    }
    assert_int_equal(slv_dots_count(s), count);
}

static int note(void *ctx, uint64_t writer, struct slv_dot_range r) {
    struct model *m = ctx;
    for (size_t w = 0; w < WRITERS; w++)
        for (uint64_t n = r.first; id_of(w) == writer && n <= r.last; n++) {
            assert_false(m->has[w][n - 1]);
            m->has[w][n - 1] = true;
        }
    return 0;
}

static void sets_are_what_was_put_into_them(void **state) {
    (void)state;
    for (int turn = 0; turn < 3000; turn++) {
        struct slv_dots a, b;
        struct model ma, mb, missing = {0}, want = {0};
        bool covers = true;
        draw(&a, &ma);
        draw(&b, &mb);
        check(&a, &ma);
        for (size_t w = 0; w < WRITERS; w++)
            for (size_t n = 0; n < NUMBERS; n++) {
                want.has[w][n] = ma.has[w][n] && !mb.has[w][n];
                covers = covers && !want.has[w][n];
            }
        assert_int_equal(slv_dots_missing(&a, &b, note, &missing), 0);
        assert_memory_equal(&missing, &want, sizeof want);
        assert_int_equal(slv_dots_cover(&b, &a), covers);
        assert_int_equal(slv_dots_equal(&a, &b), !memcmp(&ma, &mb, sizeof ma));
        assert_int_equal(slv_dots_join(&b, &a), 0);
        for (size_t w = 0; w < WRITERS; w++)
            for (size_t n = 0; n < NUMBERS; n++)
                mb.has[w][n] = mb.has[w][n] || ma.has[w][n];
        check(&b, &mb);
        assert_true(slv_dots_cover(&b, &a));
        slv_dots_fini(&a);
        slv_dots_fini(&b);
    }
}

static void the_same_set_has_one_form(void **state) {
    (void)state;
    for (int turn = 0; turn < 300; turn++) {
        struct slv_dots a, b = {0}, c = {0};
        struct model ma;
        struct slv_buf one, two;
        slv_buf_init(&one, 1 << 20);
        slv_buf_init(&two, 1 << 20);
        draw(&a, &ma);
        slv_dots_write(&a, &one);
        struct slv_reader r = slv_reader_of(one.data, one.len);
        assert_int_equal(slv_dots_read(&r, &b), 0);
        assert_true(slv_reader_done(&r) && slv_dots_equal(&a, &b));
        for (uint64_t n = NUMBERS; n > 0; n--) /* number by number, in another order */
            for (size_t w = 0; w < WRITERS; w++)
                if (ma.has[w][n - 1])
                    assert_int_equal(slv_dots_add(&c, id_of(w), (struct slv_dot_range){n, n}), 0);
        slv_dots_write(&c, &two);
        assert_int_equal(one.len, two.len);
        assert_memory_equal(one.data, two.data, one.len);
        for (size_t cut = 0; cut < one.len; cut++) {
            struct slv_dots d = {0};
            r = slv_reader_of(one.data, cut);
            assert_true(slv_dots_read(&r, &d) == SLV_E_FORMAT || !slv_reader_done(&r));
            slv_dots_fini(&d);
        }
        for (size_t bit = 0; bit < 8 * one.len; bit++) { /* another set, or none; never two forms */
            struct slv_dots d = {0};
            one.data[bit / 8] = (char)(one.data[bit / 8] ^ 1 << bit % 8);
            r = slv_reader_of(one.data, one.len);
            if (!slv_dots_read(&r, &d) && slv_reader_done(&r)) {
                slv_buf_clear(&two);
                slv_dots_write(&d, &two);
                assert_int_equal(two.len, one.len);
                assert_memory_equal(two.data, one.data, one.len);
                assert_false(slv_dots_equal(&d, &a));
            }
            slv_dots_fini(&d);
            one.data[bit / 8] = (char)(one.data[bit / 8] ^ 1 << bit % 8);
        }
        slv_buf_fini(&one);
        slv_buf_fini(&two);
        slv_dots_fini(&a);
        slv_dots_fini(&b);
        slv_dots_fini(&c);
    }
}

static void what_is_too_much_is_refused(void **state) {
    (void)state;
    struct slv_dots s = {0};
    const struct slv_dot_range none = {0, 3}, back = {3, 2}, far = {1, SLV_DOT_MAX + 1};
    assert_int_equal(slv_dots_add(&s, 1, none), SLV_E_LIMIT);
    assert_int_equal(slv_dots_add(&s, 1, back), SLV_E_LIMIT);
    assert_int_equal(slv_dots_add(&s, 1, far), SLV_E_LIMIT);
    assert_int_equal(s.n, 0);
    for (uint64_t i = 0; i < SLV_RANGES_MAX; i++)
        assert_int_equal(slv_dots_add(&s, 7, (struct slv_dot_range){2 * i + 1, 2 * i + 1}), 0);
    const uint64_t past = 2 * SLV_RANGES_MAX + 5;
    assert_int_equal(slv_dots_add(&s, 7, (struct slv_dot_range){past, past}), SLV_E_LIMIT);
    assert_int_equal(slv_dots_add(&s, 7, (struct slv_dot_range){1, past}), 0);
    assert_int_equal(slv_dots_base(&s, 7), past);
    for (uint64_t i = 0; i + 1 < SLV_WRITERS_MAX; i++)
        assert_int_equal(slv_dots_add(&s, 100 + i, (struct slv_dot_range){1, 1}), 0);
    assert_int_equal(slv_dots_add(&s, 99, (struct slv_dot_range){1, 1}), SLV_E_LIMIT);
    slv_dots_fini(&s);
}

static void without_memory_nothing_changes(void **state) {
    (void)state;
    for (uint64_t k = 1;; k++) {
        struct slv_dots s = {0};
        bool failed = false;
        slv_mem_fail_at(k);
        for (uint64_t i = 0; i < 40; i++) {
            const uint64_t before = slv_dots_count(&s), id = i % 5, n = 1 + 2 * (i / 5);
            const int rc = slv_dots_add(&s, id, (struct slv_dot_range){n, n});
            assert_true(!rc || rc == SLV_E_NOMEM);
            assert_int_equal(slv_dots_count(&s), before + !rc);
            assert_int_equal(slv_dots_has(&s, (struct slv_dot){id, n}), !rc);
            failed = failed || rc;
        }
        slv_mem_fail_at(0);
        slv_dots_fini(&s);
        if (!failed) break;
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_what_was_put_into_them),
        cmocka_unit_test(the_same_set_has_one_form),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
