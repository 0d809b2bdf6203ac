/* test_linear.c: what a user would lose: a history that no single copy could have given, and that
 * passes as one that it could.
 *
 * Histories made by hand, right and wrong ones; and random ones of a single copy, which must pass,
 * and must not once an answer in them is bent so that none could have given it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/linear.h"

#include <stdlib.h>
#include <string.h>

#define R(p, v, b, e)                                                                              \
    { p, 1, SLV_LINEAR_READ, SLV_LINEAR_OK, 0, 0, v, b, e }
#define W(p, v, b, e)                                                                              \
    { p, 1, SLV_LINEAR_WRITE, SLV_LINEAR_OK, v, 0, 0, b, e }
#define WU(p, v, b)                                                                                \
    { p, 1, SLV_LINEAR_WRITE, SLV_LINEAR_UNKNOWN, v, 0, 0, b, 0 }
#define C(p, x, v, b, e)                                                                           \
    { p, 1, SLV_LINEAR_CAS, SLV_LINEAR_OK, v, x, 0, b, e }
#define CN(p, x, v, b, e)                                                                          \
    { p, 1, SLV_LINEAR_CAS, SLV_LINEAR_REFUSED, v, x, 0, b, e }
#define A(p, v, b, e)                                                                              \
    { p, 1, SLV_LINEAR_ACQUIRE, SLV_LINEAR_OK, v, 0, 0, b, e }
#define AN(p, b, e)                                                                                \
    { p, 1, SLV_LINEAR_ACQUIRE, SLV_LINEAR_REFUSED, 9, 0, 0, b, e }
#define L(p, v, b, e)                                                                              \
    { p, 1, SLV_LINEAR_RELEASE, SLV_LINEAR_OK, v, 0, 0, b, e }
#define LU(p, v, b)                                                                                \
    { p, 1, SLV_LINEAR_RELEASE, SLV_LINEAR_UNKNOWN, v, 0, 0, b, 0 }

static const struct {
    const char *name;
    bool fits;
    size_t n;
    struct slv_linear_op op[6];
} cases[] = {
    {"nothing", true, 0, {{0}}},
    {"one after the other", true, 3, {W(1, 5, 0, 1), R(2, 5, 2, 3), R(1, 5, 4, 5)}},
    {"a read during a write sees either", true, 2, {W(1, 5, 0, 9), R(2, 0, 1, 2)}},
    {"two reads during a write", true, 3, {W(1, 5, 0, 9), R(2, 0, 1, 2), R(2, 5, 3, 4)}},
    {"and not back again", false, 3, {W(1, 5, 0, 9), R(2, 5, 1, 2), R(3, 0, 3, 4)}},
    {"a stale read", false, 3, {W(1, 5, 0, 1), W(1, 6, 2, 3), R(2, 5, 4, 5)}},
    {"a lost write", false, 2, {W(1, 5, 0, 1), R(2, 0, 2, 3)}},
    {"a value from nowhere", false, 2, {W(1, 5, 0, 1), R(2, 7, 2, 3)}},
    {"a double CAS", false, 3, {W(1, 5, 0, 1), C(2, 5, 6, 2, 9), C(3, 5, 7, 3, 8)}},
    {"a CAS that is refused", true, 3, {W(1, 5, 0, 1), C(2, 5, 6, 2, 9), CN(3, 5, 7, 3, 8)}},
    {"a CAS refused for nothing", false, 2, {W(1, 5, 0, 1), CN(2, 5, 6, 2, 3)}},
    {"an unknown write may be", true, 2, {WU(1, 5, 0), R(2, 5, 100, 101)}},
    {"or not be", true, 2, {WU(1, 5, 0), R(2, 0, 100, 101)}},
    {"or be late", true, 3, {WU(1, 5, 0), R(2, 0, 100, 101), R(2, 5, 102, 103)}},
    {"but not before it began", false, 2, {R(2, 5, 1, 2), WU(1, 5, 3)}},
    {"nor twice",
     false,
     5,
     {WU(1, 5, 0), R(2, 5, 1, 2), W(2, 6, 3, 4), R(2, 6, 5, 6), R(2, 5, 7, 8)}},
    {"a lock", true, 4, {A(1, 3, 0, 1), AN(2, 2, 3), L(1, 3, 4, 5), A(2, 8, 6, 7)}},
    {"a lock held by two", false, 2, {A(1, 3, 0, 1), A(2, 8, 2, 3)}},
    {"a lock whose time is up", true, 3, {A(1, 3, 0, 1), LU(9, 3, 0), A(2, 8, 2, 3)}},
    {"another's release", false, 3, {A(1, 3, 0, 1), L(2, 4, 2, 3), A(2, 8, 4, 5)}},
};

static void by_hand(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slv_linear_result r;
        assert_int_equal(slv_linear_check(cases[i].op, cases[i].n, 0, &r), 0);
        if (r.verdict != (cases[i].fits ? SLV_LINEAR_YES : SLV_LINEAR_NO))
            fail_msg("%s", cases[i].name);
        if (!cases[i].fits) assert_true(r.at < cases[i].n && r.key == 1);
    }
}

/* --- of a single copy ------------------------------------------------------------------------- */

static uint64_t seed;
static uint64_t rnd(uint64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
}

#define OPS 400
static struct slv_linear_op history[OPS];

/* Each happens at a moment of its own, in this order, within what it takes. */
static void make(uint64_t s) {
    uint64_t value[3] = {0}, busy[8] = {0};
    seed = s;
    for (size_t i = 0; i < OPS; i++) {
        struct slv_linear_op *o = &history[i];
        const uint64_t at = 10 * (i + 1), p = rnd(8), k = rnd(3);
        *o = (struct slv_linear_op){.process = p, .key = k, .f = (enum slv_linear_f)rnd(3)};
        o->begin = at - rnd(60);
        if (o->begin > at || o->begin < busy[p]) o->begin = busy[p] < at ? busy[p] : at;
        o->end = at + rnd(60);
        busy[p] = o->end + 1;
        o->value = i + 1;
        o->expect = rnd(2) ? value[k] : i + 1;
        if (rnd(12) == 0) o->outcome = SLV_LINEAR_UNKNOWN;
        if (o->f == SLV_LINEAR_READ) o->result = value[k];
        if (o->f == SLV_LINEAR_CAS && value[k] != o->expect) {
            if (!o->outcome) o->outcome = SLV_LINEAR_REFUSED;
        } else if (o->f != SLV_LINEAR_READ && (!o->outcome || rnd(2))) {
            value[k] = o->value;
        }
    }
}

static void of_one_copy(void **state) {
    (void)state;
    unsigned found = 0, bent = 0;
    for (uint64_t s = 0; s < 200; s++) {
        struct slv_linear_result r;
        make(s);
        assert_int_equal(slv_linear_check(history, OPS, 0, &r), 0);
        assert_int_equal(r.verdict, SLV_LINEAR_YES);
        /* A read of what was written long before, or will be long after. */
        const size_t i = OPS / 2 + (size_t)rnd(OPS / 4);
        if (history[i].f != SLV_LINEAR_READ || history[i].outcome || !history[i].result) continue;
        bent++;
        history[i].result = rnd(2) ? OPS : 1 + rnd(20);
        assert_int_equal(slv_linear_check(history, OPS, 0, &r), 0);
        found += r.verdict == SLV_LINEAR_NO;
    }
    assert_true(bent > 20);
    assert_int_equal(found, bent);
}

static void gives_up(void **state) {
    (void)state;
    struct slv_linear_result r;
    struct slv_linear_op v[64];
    for (size_t i = 0; i < 64; i++)
        v[i] = (struct slv_linear_op)W(i, i + 1, 0, 100);
    v[63] = (struct slv_linear_op)R(63, 999, 0, 100);
    assert_int_equal(slv_linear_check(v, 64, 10000, &r), 0);
    assert_int_equal(r.verdict, SLV_LINEAR_UNDECIDED);
    v[0].end = 0;
    v[0].begin = 1;
    assert_int_equal(slv_linear_check(v, 64, 0, &r), SLV_E_USAGE);
    assert_int_equal(slv_linear_check(v, SLV_LINEAR_OPS_MAX + 1, 0, &r), SLV_E_LIMIT);
}

static void without_memory(void **state) {
    (void)state;
    make(3);
    int rc = SLV_E_NOMEM;
    for (uint64_t n = 1; rc; n++) {
        struct slv_linear_result r = {.verdict = SLV_LINEAR_UNDECIDED};
        slv_mem_fail_at(n);
        rc = slv_linear_check(history, OPS, 0, &r);
        slv_mem_fail_at(0);
        assert_int_equal(rc ? SLV_E_NOMEM : 0, rc);
        assert_int_equal(r.verdict, rc ? SLV_LINEAR_UNDECIDED : SLV_LINEAR_YES);
    }
}

static void as_lines(void **state) {
    (void)state;
    const struct slv_linear_op v[] = {W(1, 5, 0, 2), R(2, 5, 1, 3), CN(1, 4, 6, 4, 5), WU(2, 7, 6)};
    struct slv_buf b;
    slv_buf_init(&b, 4096);
    assert_int_equal(slv_linear_write(v, 4, &b), 0);
    assert_string_equal(b.data, "{\"process\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":1,"
                                "\"value\":5,\"time\":0,\"index\":0}\n"
                                "{\"process\":2,\"type\":\"invoke\",\"f\":\"read\",\"key\":1,"
                                "\"value\":null,\"time\":1,\"index\":1}\n"
                                "{\"process\":1,\"type\":\"ok\",\"f\":\"write\",\"key\":1,"
                                "\"value\":5,\"time\":2,\"index\":2}\n"
                                "{\"process\":2,\"type\":\"ok\",\"f\":\"read\",\"key\":1,\"value\":"
                                "5,\"time\":3,\"index\":3}\n"
                                "{\"process\":1,\"type\":\"invoke\",\"f\":\"cas\",\"key\":1,"
                                "\"value\":[4,6],\"time\":4,\"index\":4}\n"
                                "{\"process\":1,\"type\":\"fail\",\"f\":\"cas\",\"key\":1,"
                                "\"value\":[4,6],\"time\":5,\"index\":5}\n"
                                "{\"process\":2,\"type\":\"invoke\",\"f\":\"write\",\"key\":1,"
                                "\"value\":7,\"time\":6,\"index\":6}\n"
                                "{\"process\":2,\"type\":\"info\",\"f\":\"write\",\"key\":1,"
                                "\"value\":7,\"time\":6,\"index\":7}\n");
    slv_buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),        cmocka_unit_test(of_one_copy), cmocka_unit_test(gives_up),
        cmocka_unit_test(without_memory), cmocka_unit_test(as_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
