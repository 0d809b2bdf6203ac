/* test_sketch.c: what a user would lose: a count of different strings that is further off than the
 * error that is promised, a string that was there often and is not shown, or counts that are not
 * within the bounds that are shown; and a node, by a peer's bytes.
 *
 * Strings are always the same, and so is their hash: what holds here once, holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/sketch.h"
#include "replicas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 8
#define ERROR (1.04 / 64.0) /* standard, relative: of 4,096 registers */

static struct slv_str number_text(char at[32], const char *kind, uint32_t i) {
    const int n = snprintf(at, 32, "%s-%u", kind, (unsigned)i);
    return (struct slv_str){at, (size_t)n};
}

/* --- unique ----------------------------------------------------------------------------------- */

static double off(uint64_t count, uint32_t n) { return ((double)count - n) / n; }

/* Each string is met by one to three of the writers. */
static void different_strings_of_eight_writers_are_counted(void **state) {
    static struct slv_unique u[WRITERS];
    (void)state;
    for (uint32_t n = 100; n <= 1000000; n *= 10) {
        struct slv_unique all = {{0}};
        char at[32];
        memset(u, 0, sizeof u);
        for (uint32_t i = 0; i < n; i++) {
            const struct slv_str v = number_text(at, "visitor", i);
            for (uint32_t k = 0; k <= i % 3; k++)
                slv_unique_add(&u[(i + 5 * k) % WRITERS], v);
        }
        assert_int_equal(slv_unique_count(&all), 0);
        for (uint64_t w = 0; w < WRITERS; w++)
            slv_unique_join(&all, &u[w]);
        assert_true(fabs(off(slv_unique_count(&all), n)) <= 3 * ERROR);
    }
}

/* One count may be right by chance; so: the mean and the spread of many, at the counts where others
 * change from one method to another as well. */
static void counts_are_spread_as_promised(void **state) {
    static const uint32_t counts[] = {1, 10, 100, 1000, 4096, 10240, 12000, 20480, 50000};
    enum { TURNS = 64 };
    char at[32];
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        double sum = 0, squares = 0;
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            struct slv_unique u = {{0}};
            char kind[16];
            snprintf(kind, sizeof kind, "turn %u", (unsigned)turn);
            for (uint32_t i = 0; i < counts[c]; i++)
                slv_unique_add(&u, number_text(at, kind, i));
            const double e = off(slv_unique_count(&u), counts[c]);
            sum += e;
            squares += e * e;
            if (counts[c] <= 10) assert_true(fabs(e * counts[c]) <= 1);
        }
        assert_true(fabs(sum / TURNS) <= 3 * ERROR / 8); /* 8: the root of TURNS */
        assert_true(sqrt(squares / TURNS) <= 1.25 * ERROR);
    }
}

static void check_form(const struct slv_unique *u, size_t *ret_n, char *ret_form) {
    struct slv_unique v;
    struct slv_buf b;
    slv_buf_init(&b, SLV_UNIQUE_BYTES_MAX);
    slv_unique_write(u, &b);
    assert_int_equal(b.status, 0);
    assert_true(slv_unique_read((struct slv_str){b.data, b.len}, &v));
    assert_memory_equal(u, &v, sizeof v);
    *ret_n = b.len;
    *ret_form = b.data[0];
    slv_buf_fini(&b);
}

/* The form of a sketch that is not the shorter. */
static void write_other_form(const struct slv_unique *u, bool dense, struct slv_buf *b) {
    size_t from = 0;
    uint32_t v = 0;
    slv_buf_init(b, 3 * SLV_UNIQUE_REGISTERS);
    slv_buf_addc(b, (char)dense);
    for (size_t i = 0; i < SLV_UNIQUE_REGISTERS; i++) {
        if (dense) {
            v |= (uint32_t)u->rank[i] << (6 * (i % 4));
            if (i % 4 < 3) continue;
            slv_buf_add(b, (const char[]){(char)v, (char)(v >> 8), (char)(v >> 16)}, 3);
            v = 0;
        } else if (u->rank[i]) {
            slv_write_number(b, i - from);
            slv_buf_addc(b, (char)u->rank[i]);
            from = i + 1;
        }
    }
}

static void a_sketch_has_one_form_the_shorter(void **state) {
    static const uint8_t want[] = {0x00, 0x85, 0x05, 0x01, 0x85, 0x0b, 0x01, 0xa2, 0x09, 0x02};
    struct slv_unique u = {{0}}, v;
    struct slv_buf b;
    size_t n = 0, switched = 0;
    char form = 0, at[32];
    (void)state;
    slv_unique_add(&u, text("robot-7")); /* registers 2059, 645 and 3246; ranks 1, 1, 2 */
    slv_unique_add(&u, text("robot-8"));
    slv_unique_add(&u, text(""));
    slv_buf_init(&b, SLV_UNIQUE_BYTES_MAX);
    slv_unique_write(&u, &b);
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    slv_buf_fini(&b);
    for (uint32_t i = 0; i < 6000; i++) {
        slv_unique_add(&u, number_text(at, "s", i));
        check_form(&u, &n, &form);
        if (form && !switched) switched = i;
        assert_int_equal(form != 0, switched != 0);
        assert_true(!form || n == SLV_UNIQUE_BYTES_MAX);
        if (i % 50) continue;
        write_other_form(&u, !form, &b);
        assert_true(form ? b.len > n : b.len >= n);
        assert_false(slv_unique_read((struct slv_str){b.data, b.len}, &v));
        slv_buf_fini(&b);
    }
    assert_in_range(switched, 1000, 3000);
    memset(u.rank, SLV_UNIQUE_RANK_MAX, sizeof u.rank); /* full of the largest: no infinity */
    check_form(&u, &n, &form);
    assert_int_equal(slv_unique_count(&u), SLV_UNIQUE_MOST);
}

/* --- top -------------------------------------------------------------------------------------- */

#define ITEMS 3000u
#define EVENTS 200000u

struct stream {
    char name[ITEMS][32];
    uint64_t truth[ITEMS], weight; /* weight: of all */
    struct slv_top top[WRITERS];
};

static struct slv_str item_name(const struct stream *st, uint32_t i) { return text(st->name[i]); }

static void count(struct stream *st, uint32_t writer, uint32_t i, uint64_t n) {
    assert_int_equal(slv_top_add(&st->top[writer], item_name(st, i), n), 0);
    st->truth[i] += n;
    st->weight += n;
}

static const struct slv_top_item *find(const struct slv_top_item *v, size_t n, struct slv_str s) {
    for (size_t i = 0; i < n; i++)
        if (v[i].value.n == s.n && !memcmp(v[i].value.p, s.p, s.n)) return &v[i];
    return NULL;
}

/* What is not certain of a string, by each sketch that has it, or has no place left for it. */
static uint64_t uncertain(const struct stream *st, struct slv_str s) {
    uint64_t sum = 0;
    for (uint32_t w = 0; w < WRITERS; w++) {
        const struct slv_top *t = &st->top[w];
        const struct slv_top_item *x = find(t->slot, t->n, s);
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < t->n; i++)
            if (t->slot[i].count < least) least = t->slot[i].count;
        sum += x ? x->error : t->n == SLV_TOP_SLOTS ? least : 0;
    }
    return sum;
}

/* What holds of the sum of all sketches. */
static void check_top(const struct stream *st) {
    struct slv_top_sum sum = {0};
    size_t found = 0;
    for (uint32_t w = 0; w < WRITERS; w++)
        assert_int_equal(slv_top_sum_add(&sum, &st->top[w]), 0);
    slv_top_sum_end(&sum);
    assert_true(sum.missed <= st->weight / SLV_TOP_SLOTS);
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct slv_top_item *x = find(sum.item, sum.n, item_name(st, i));
        if (!x) assert_true(st->truth[i] <= sum.missed);
        if (!x) continue;
        found++;
        assert_true(x->count - x->error <= st->truth[i] && st->truth[i] <= x->count);
        assert_true(x->error <= sum.missed && x->error == uncertain(st, x->value));
    }
    assert_int_equal(found, sum.n);
    for (size_t i = 1; i < sum.n; i++) {
        const struct slv_top_item *a = &sum.item[i - 1], *b = &sum.item[i];
        const int order = strcmp(a->value.p, b->value.p);
        assert_true(a->count > b->count || (a->count == b->count && order < 0));
    }
    slv_top_sum_fini(&sum);
}

static struct stream *open_stream(void) {
    struct stream *st = calloc(1, sizeof *st);
    assert_non_null(st);
    for (uint32_t i = 0; i < ITEMS; i++)
        number_text(st->name[i], "word", i * 7919 % ITEMS);
    return st;
}

/* Half of it goes to the writer of its string, half to any. */
static void what_is_often_is_there_with_its_bounds(void **state) {
    struct stream *st = open_stream();
    uint64_t *up_to = calloc(ITEMS, sizeof *up_to), all = 0;
    (void)state;
    assert_non_null(up_to);
    for (uint32_t i = 0; i < ITEMS; i++)
        up_to[i] = all += 1000000 / (i + 1); /* Zipf */
    for (uint32_t k = 0; k < EVENTS; k++) {
        const uint64_t at = rnd((uint32_t)all);
        uint32_t from = 0, to = ITEMS - 1;
        while (from < to) {
            const uint32_t half = (from + to) / 2;
            if (up_to[half] <= at) from = half + 1;
            else to = half;
        }
        count(st, rnd(2) ? from % WRITERS : rnd(WRITERS), from, 1 + rnd(5));
        if (k % 20000 == 77) check_top(st);
    }
    check_top(st);
    assert_true(st->truth[0] > st->weight / SLV_TOP_SLOTS); /* (else it said nothing) */
    free(up_to);
    free(st);
}

/* All alike, in turn, so that each is put out again before it comes back; then one that is not. */
static void what_is_often_is_there_among_many_alike(void **state) {
    struct stream *st = open_stream();
    (void)state;
    for (uint32_t k = 0; k < 20 * ITEMS; k++)
        count(st, k % 3, k % ITEMS, 1);
    check_top(st);
    for (uint32_t k = 0; k < 2000; k++) {
        count(st, k % WRITERS, 5, 1);
        count(st, k % 3, 100 + k, 1);
    }
    check_top(st);
    free(st);
}

static void what_is_too_much_is_refused(void **state) {
    char longest[SLV_TOP_VALUE_MAX + 1];
    struct slv_top t = {.n = 0};
    struct slv_top_sum sum = {0};
    char name[SLV_TOP_SLOTS][32];
    (void)state;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(slv_top_add(&t, text("a"), 0), SLV_E_USAGE);
    assert_int_equal(slv_top_add(&t, (struct slv_str){longest, sizeof longest}, 1), SLV_E_LIMIT);
    assert_int_equal(slv_top_add(&t, text("a"), SLV_TOP_TOTAL_MAX + 1), SLV_E_LIMIT);
    assert_int_equal(t.n, 0);
    assert_int_equal(slv_top_add(&t, (struct slv_str){longest, sizeof longest - 1}, 1), 0);
    assert_int_equal(slv_top_add(&t, text("a"), SLV_TOP_TOTAL_MAX - 1), 0);
    assert_int_equal(slv_top_add(&t, text("a"), 1), SLV_E_LIMIT);
    assert_int_equal(slv_top_add(&t, text("b"), UINT64_MAX), SLV_E_LIMIT);
    assert_int_equal(t.n, 2);
    t = (struct slv_top){.n = 0};
    for (uint32_t i = 0; i < SLV_TOP_SLOTS; i++)
        assert_int_equal(slv_top_add(&t, number_text(name[i], "n", i), SLV_TOP_TOTAL_MAX / 64), 0);
    for (uint32_t w = 0; w < SLV_WRITERS_MAX; w++)
        assert_int_equal(slv_top_sum_add(&sum, &t), 0);
    assert_int_equal(slv_top_sum_add(&sum, &t), SLV_E_LIMIT);
    slv_top_sum_end(&sum);
    assert_int_equal(sum.n, SLV_TOP_SLOTS);
    assert_true(sum.item[0].count == SLV_WRITERS_MAX * (SLV_TOP_TOTAL_MAX / 64));
    slv_top_sum_fini(&sum);
}

/* --- bytes of others -------------------------------------------------------------------------- */

/* Refused, or read as what is written so. The bytes are copied to where nothing may be read behind
 * them. */
static bool read_any(bool is_top, const char *data, size_t n) {
    char *p = malloc(n ? n : 1);
    struct slv_unique u;
    struct slv_top t;
    struct slv_buf b;
    assert_non_null(p);
    if (n) memcpy(p, data, n);
    slv_buf_init(&b, SLV_DATA_MAX);
    const struct slv_str s = {p, n};
    const bool good = is_top ? slv_top_read(s, &t) : slv_unique_read(s, &u);
    if (is_top) slv_top_write(&t, &b);
    else slv_unique_write(&u, &b);
    if (good) assert_int_equal(b.len, n);
    if (good && n) assert_memory_equal(b.data, p, n);
    if (!good) assert_int_equal(b.len, is_top ? 0 : 1); /* of nothing */
    if (!is_top) (void)slv_unique_count(&u);
    slv_buf_fini(&b);
    free(p);
    return good;
}

static void damage(bool is_top, const struct slv_buf *b) {
    char *p = malloc(b->len + 1);
    size_t good = 0;
    assert_non_null(p);
    memcpy(p, b->data, b->len);
    p[b->len] = 0;
    assert_true(read_any(is_top, p, b->len));
    assert_true(is_top || !read_any(is_top, p, b->len + 1));
    for (size_t n = 0; n < b->len; n += 1 + n / 64)
        (void)read_any(is_top, p, n);
    for (size_t i = 0; i < b->len; i += 1 + b->len / 1500)
        for (int bit = 0; bit < 8; bit++) {
            p[i] = (char)(p[i] ^ 1 << bit);
            good += read_any(is_top, p, b->len);
            p[i] = (char)(p[i] ^ 1 << bit);
        }
    assert_true(good); /* some say something else */
    free(p);
}

static void any_bytes_are_refused_or_one_sketch(void **state) {
    static const size_t sizes[] = {1, 3, 60, 500, 3000, 20000};
    char name[SLV_TOP_SLOTS * 4][32], junk[64];
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct slv_unique u = {{0}};
        struct slv_top t = {.n = 0};
        struct slv_buf b;
        char at[32];
        for (uint32_t i = 0; i < sizes[k]; i++) {
            struct slv_str v = number_text(name[i % 256], "n", i % 256);
            assert_int_equal(slv_top_add(&t, v, 1 + rnd(1000)), 0);
            slv_unique_add(&u, number_text(at, "u", i));
        }
        slv_buf_init(&b, SLV_DATA_MAX);
        slv_unique_write(&u, &b);
        damage(false, &b);
        slv_buf_clear(&b);
        slv_top_write(&t, &b);
        damage(true, &b);
        slv_buf_fini(&b);
    }
    for (int turn = 0; turn < 20000; turn++) {
        const size_t n = rnd(sizeof junk);
        for (size_t i = 0; i < n; i++)
            junk[i] = (char)(rnd(3) ? rnd(8) : rnd(256));
        (void)read_any(turn % 2, junk, n);
    }
}

static void what_no_sketch_can_be_is_refused(void **state) {
    static const struct {
        bool is_top;
        const char *what;
        size_t n;
        const char *bytes;
    } bad[] = {
        {false, "no form", 0, ""},
        {false, "a form that is none", 1, "\2"},
        {false, "a rank of 0", 3, "\0\0\0"},
        {false, "a rank of 54", 3, "\0\0\66"},
        {false, "a register behind the last", 4, "\0\200\40\1"},
        {false, "a number of more bytes than it needs", 4, "\0\200\0\1"},
        {false, "a pair that is cut", 2, "\0\5"},
        {false, "a dense one that is short", 4, "\1\1\1\1"},
        {true, "two that are the same", 8, "\1a\2\0\1a\2\0"},
        {true, "two in the wrong order", 8, "\1b\2\0\1a\2\0"},
        {true, "a count of 0", 4, "\1a\0\0"},
        {true, "an error, and a slot that is free", 4, "\1a\2\1"},
        {true, "an error as large as the count", 4, "\1a\2\2"},
        {true, "a total past its limit", 21,
         "\1a\200\200\200\200\200\200\200\2\0\1b\200\200\200\200\200\200\1\0"},
        {true, "a string that is cut", 3, "\5ab"},
        {true, "a string of 257 bytes", 2, "\201\2"},
    };
    (void)state;
    char dense[SLV_UNIQUE_BYTES_MAX];
    assert_true(read_any(false, "\0", 1)); /* of nothing */
    memset(dense, 1, sizeof dense);
    assert_true(read_any(false, dense, sizeof dense));
    dense[sizeof dense - 1] = (char)(54 << 2); /* the last register */
    assert_false(read_any(false, dense, sizeof dense));
    assert_true(read_any(true, "", 0));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_any(bad[i].is_top, bad[i].bytes, bad[i].n)) fail_msg("%s", bad[i].what);
    }
}

/* Full sketches are needed to be wrong in these ways. */
static void a_full_top_that_could_not_be_is_refused(void **state) {
    struct slv_top t = {.n = 0};
    char name[SLV_TOP_SLOTS + 1][32];
    struct slv_buf b;
    (void)state;
    for (uint32_t i = 0; i <= SLV_TOP_SLOTS; i++)
        assert_int_equal(slv_top_add(&t, number_text(name[i], "n", i), 10 + i), 0);
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_top_write(&t, &b);
    assert_true(read_any(true, b.data, b.len));
    const size_t n = b.len;
    slv_buf_add(&b, "\1z\2\0", 4); /* a slot more than there are */
    assert_false(read_any(true, b.data, b.len));
    slv_buf_clear(&b);
    t.slot[3].error = 12; /* more than the smallest count, which is 11 */
    slv_top_write(&t, &b);
    assert_int_equal(b.len, n);
    assert_false(read_any(true, b.data, b.len));
    slv_buf_fini(&b);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(different_strings_of_eight_writers_are_counted),
        cmocka_unit_test(counts_are_spread_as_promised),
        cmocka_unit_test(a_sketch_has_one_form_the_shorter),
        cmocka_unit_test(what_is_often_is_there_with_its_bounds),
        cmocka_unit_test(what_is_often_is_there_among_many_alike),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(any_bytes_are_refused_or_one_sketch),
        cmocka_unit_test(what_no_sketch_can_be_is_refused),
        cmocka_unit_test(a_full_top_that_could_not_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
