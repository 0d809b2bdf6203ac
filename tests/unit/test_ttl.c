/* test_ttl.c: what a user would lose: an entry that stays when it is due, or goes before; a value
 * that is read otherwise where there is a time to live; memory for what is long gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/check.h"
#include "mesh/hlc.h"
#include "replicas.h"

#include <stdio.h>
#include <string.h>

#define KEY ((struct slv_str){"key", 3})
#define START 1700000000000u /* ms, a multiple of 1000 */
#define WRITER 7u

static struct slv_space space;
static uint64_t next_dot;
static uint64_t came, went;

static void on_put(void *ctx, const struct slv_entry *e) {
    (void)ctx, (void)e;
    came++;
}
static void on_removed(void *ctx, const struct slv_entry *e) {
    (void)ctx, (void)e;
    went++;
}
static const struct slv_space_watch watch = {on_put, on_removed, NULL};

static void open_space(uint64_t ttl_ms) {
    assert_int_equal(slv_space_init(&space), 0);
    if (ttl_ms) slv_ttl_init(&space.ttl, ttl_ms);
    space.watch = &watch;
    next_dot = 1;
    came = went = 0;
}

static struct slv_draft draft(enum slv_mesh_type type, struct slv_str key, uint64_t ms) {
    struct slv_draft d;
    const struct slv_dot dot = {WRITER, next_dot};
    assert_int_equal(slv_draft_open(&d, &space, type, key, dot, ms << 16), 0);
    return d;
}

static void done(struct slv_draft *d) {
    next_dot = slv_op_range(&d->op).last + 1;
    assert_true(slv_op_check(&d->op, d->type, space.ttl.ms, d->stamp));
    assert_int_equal(slv_space_write(&space, &d->op), 0);
    slv_draft_close(d);
}

static void add(const char *element, uint64_t ms) {
    struct slv_draft d = draft(SLV_TYPE_SET, KEY, ms);
    assert_int_equal(slv_draft_add(&d, text(element)), 0);
    done(&d);
}

/* A clock that shows this; what is due goes. */
static uint64_t show(uint64_t ms) {
    slv_ttl_advance(&space.ttl, ms, 5000);
    return slv_space_expire(&space);
}

/* --- when ------------------------------------------------------------------------------------- */

static void whole_buckets_are_due_at_once(void **state) {
    static const struct {
        uint64_t ttl, stamp, due;
    } row[] = {
        {1000, START, START + 2000},
        {1000, START + 999, START + 2000},
        {1000, START + 1000, START + 3000},
        {5500, START + 600, START + 7000},
        {64000, START + 1, START + 65000},
        {100000, START, START + 100832},        /* a grain of 1,562 ms */
        {604800000u, START, START + 612550000}, /* one of 9,450,000 ms */
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct slv_ttl t;
        struct slv_buf b;
        slv_ttl_init(&t, row[i].ttl);
        slv_buf_init(&b, 16);
        slv_write_id(&b, row[i].stamp << 16 | 9);
        assert_int_equal(slv_ttl_due(&t, (struct slv_str){b.data, b.len}), row[i].due);
        assert_int_equal(slv_ttl_due(&t, (struct slv_str){b.data, 7}), 0);
        slv_buf_fini(&b);
    }
}

static void what_is_due_goes_and_is_told(void **state) {
    (void)state;
    open_space(10000);
    add("a", START + 100);
    add("b", START + 900);
    add("c", START + 1000);
    assert_int_equal(slv_ttl_next(&space.ttl), START + 11000);
    assert_int_equal(show(START + 10999), 0);
    assert_int_equal(went, 0);
    assert_int_equal(show(START + 11000), 2);
    assert_int_equal(went, 2);
    assert_true(slv_read_has(&space, KEY, text("c")));
    assert_int_equal(slv_ttl_next(&space.ttl), START + 12000);
    assert_true(slv_dots_has(&space.context, (struct slv_dot){WRITER, 2}));
    add("c", START + 11500); /* again: the first one is removed, and no longer waited for */
    assert_int_equal(slv_ttl_next(&space.ttl), START + 22000);
    assert_int_equal(show(START + 100000), 1);
    assert_int_equal(slv_ttl_next(&space.ttl), UINT64_MAX);
    assert_int_equal(slv_entries_count(space.entries), 0);
    slv_space_fini(&space);
}

/* An op that comes late, and an entry that is offered: seen, and not put. */
static void what_comes_too_late_is_seen_and_gone(void **state) {
    (void)state;
    open_space(10000);
    add("a", START);
    add("b", START);
    struct slv_draft d = draft(SLV_TYPE_SET, KEY, START + 100);
    assert_int_equal(slv_draft_add(&d, text("late")), 0);
    show(START + 11000);
    const uint64_t had = came;
    bool fresh = false;
    assert_int_equal(slv_space_apply(&space, &d.op, &fresh), 0);
    assert_true(fresh && slv_dots_has(&space.context, slv_op_entry_dot(&d.op, 0)));
    const struct slv_place at = {KEY, text("x"), {WRITER + 1, 1}};
    const struct slv_str data = d.op.entry[0].data;
    assert_int_equal(slv_space_take(&space, &at, data, &fresh), 0);
    assert_false(fresh);
    assert_int_equal(slv_space_settle(&space, &at, data, &fresh), 0);
    assert_int_equal(came, had);
    assert_int_equal(slv_entries_count(space.entries), 0);
    slv_draft_close(&d);
    slv_space_fini(&space);
}

/* --- clocks ----------------------------------------------------------------------------------- */

static void a_clock_that_is_set_back_is_followed_only_from_afar(void **state) {
    struct slv_ttl t;
    (void)state;
    slv_ttl_init(&t, 60000);
    slv_ttl_advance(&t, START + 1500, 5000);
    assert_int_equal(t.cut, START + 1000);
    slv_ttl_advance(&t, START - 3900, 5000); /* within the bound: it stays */
    assert_int_equal(t.cut, START + 1000);
    slv_ttl_follow(&t, START + 5000);
    assert_true(t.cut == START + 5000 && t.reach == START + 5000);
    slv_ttl_follow(&t, START + 4000);
    assert_int_equal(t.cut, START + 5000);
    slv_ttl_advance(&t, START + 3600000, 5000); /* an hour ahead, for a while */
    slv_ttl_advance(&t, START + 10000, 5000);
    assert_int_equal(t.cut, START + 10000);
    /* what it let go then is due by this at the latest: whatever was there, with stamps ahead */
    assert_int_equal(t.reach, START + 10000 + 5000 + 60000 + 1000);
    slv_ttl_advance(&t, START + 30000, 5000);
    assert_int_equal(t.reach, START + 76000);
    slv_ttl_advance(&t, START + 80000, 5000);
    assert_true(t.cut == START + 80000 && t.reach == START + 80000);
    slv_ttl_fini(&t);
}

/* --- types ------------------------------------------------------------------------------------ */

static bool is_text(void *ctx, struct slv_str value) {
    const struct slv_str *want = ctx;
    assert_true(value.n == want->n && !memcmp(value.p, want->p, want->n));
    *(struct slv_str *)ctx = (struct slv_str){"", 0};
    return true;
}

static void value_is(enum slv_mesh_type type, const char *value) {
    struct slv_str want = text(value);
    slv_read_values(&space, type, KEY, is_text, &want);
    assert_int_equal(want.n, 0);
}

static void registers_are_read_behind_the_stamp(void **state) {
    (void)state;
    for (int t = SLV_TYPE_LAST; t <= SLV_TYPE_MANY; t++) {
        open_space(10000);
        for (unsigned i = 0; i < 3; i++) {
            struct slv_draft d = draft((enum slv_mesh_type)t, KEY, START + i);
            assert_int_equal(slv_draft_assign(&d, text(i == 2 ? "new" : "old")), 0);
            done(&d);
        }
        assert_int_equal(slv_entries_count(space.entries), 1);
        value_is((enum slv_mesh_type)t, "new");
        show(START + 11000);
        assert_int_equal(slv_entries_count(space.entries), 0);
        slv_space_fini(&space);
    }
    for (int t = SLV_TYPE_ON_WINS; t <= SLV_TYPE_OFF_WINS; t++) {
        const bool says = t == SLV_TYPE_ON_WINS;
        open_space(10000);
        struct slv_draft d = draft((enum slv_mesh_type)t, KEY, START);
        assert_int_equal(slv_draft_switch(&d, says), 0);
        done(&d);
        assert_int_equal(slv_read_flag(&space, (enum slv_mesh_type)t, KEY), says);
        show(START + 11000);
        assert_int_equal(slv_read_flag(&space, (enum slv_mesh_type)t, KEY), !says);
        slv_space_fini(&space);
    }
}

static void rows_stay_while_their_writer_writes(void **state) {
    struct slv_draft d;
    struct slv_top_item top;
    size_t n;
    (void)state;
    open_space(10000);
    for (unsigned i = 0; i < 5; i++) {
        d = draft(SLV_TYPE_COUNTER, KEY, START + 8000 * i);
        assert_int_equal(slv_draft_count(&d, i % 2 ? -2 : 5), 0);
        done(&d);
        show(START + 8000 * i + 100);
    }
    assert_int_equal(slv_read_count(&space, SLV_TYPE_COUNTER, KEY), 11);
    show(START + 32000 + 11000);
    assert_int_equal(slv_read_count(&space, SLV_TYPE_COUNTER, KEY), 0);
    d = draft(SLV_TYPE_COUNTER, KEY, START + 44000); /* it begins anew */
    assert_int_equal(slv_draft_count(&d, 3), 0);
    done(&d);
    assert_int_equal(slv_read_count(&space, SLV_TYPE_COUNTER, KEY), 3);
    for (unsigned i = 0; i < 3; i++) {
        d = draft(SLV_TYPE_UNIQUE, text("u"), START + 44000 + i);
        assert_int_equal(slv_draft_see(&d, text(i ? "x" : "y")), 0);
        done(&d);
        d = draft(SLV_TYPE_TOP, text("t"), START + 44000 + i);
        assert_int_equal(slv_draft_tally(&d, text("x"), 2), 0);
        done(&d);
    }
    assert_int_equal(slv_read_unique(&space, text("u")), 2);
    assert_int_equal(slv_read_top(&space, text("t"), &top, 1, &n), 0);
    assert_true(n == 1 && top.count == 6 && top.error == 0);
    slv_space_fini(&space);
}

static void only_some_types_fall_in_pieces(void **state) {
    static const char *const whole[] = {"budget", "vector", "list", "text", "doc"};
    (void)state;
    for (int t = 0; t < SLV_MESH_TYPES; t++) {
        bool refused = false;
        for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
            refused = refused || !strcmp(whole[i], slv_mesh_type_name((enum slv_mesh_type)t));
        assert_int_equal(slv_mesh_type_expires((enum slv_mesh_type)t), !refused);
    }
}

static void an_entry_has_a_stamp_that_is_not_of_the_future(void **state) {
    struct slv_op_entry e = {text("x"), {"", 0}};
    const struct slv_op op = {.dot = {WRITER, 1}, .key = KEY, .entry = &e, .n = 1};
    struct slv_buf b;
    (void)state;
    slv_buf_init(&b, 32);
    slv_write_id(&b, 1000);
    assert_true(slv_op_check(&op, SLV_TYPE_SET, false, 1000));
    assert_false(slv_op_check(&op, SLV_TYPE_SET, true, 1000)); /* it has none */
    e.data = (struct slv_str){b.data, 8};
    assert_true(slv_op_check(&op, SLV_TYPE_SET, true, 1000));
    assert_false(slv_op_check(&op, SLV_TYPE_SET, true, 999));
    assert_false(slv_op_check(&op, SLV_TYPE_SET, false, 1000)); /* elements have no data */
    e.data.n = 7;
    assert_false(slv_op_check(&op, SLV_TYPE_SET, true, 1000));
    e = (struct slv_op_entry){{"", 0}, {b.data, 8}};
    assert_false(slv_op_check(&op, SLV_TYPE_LAST, true, 1000)); /* nor its own behind that */
    slv_write_id(&b, 1000);
    e.data = (struct slv_str){b.data, 16};
    assert_true(slv_op_check(&op, SLV_TYPE_LAST, true, 1000));
    assert_false(slv_op_check(&op, SLV_TYPE_MANY, true, 999));
    slv_buf_fini(&b);
}

/* --- much ------------------------------------------------------------------------------------- */

/* A key that is written over and over leaves nothing in the list of what is due. */
static void what_was_removed_is_not_waited_for(void **state) {
    (void)state;
    open_space(604800000u);
    for (unsigned i = 0; i < 20000; i++)
        add(i % 2 ? "a" : "b", START + i);
    assert_int_equal(space.ttl.n, 1);
    assert_int_equal(space.ttl.bucket[0].live, 2);
    assert_true(space.ttl.bucket[0].n <= 64 + 2 * 2);
    show(START + 2 * (uint64_t)604800000);
    assert_int_equal(slv_entries_count(space.entries), 0);
    assert_int_equal(went, 20000);
    slv_space_fini(&space);
}

/* At random, against a list: what is there is what is not due and was not removed. */
static void each_entry_goes_in_its_time(void **state) {
    enum { ELEMENTS = 400 };
    (void)state;
    for (uint32_t turn = 0; turn < 20; turn++) {
        uint64_t due[ELEMENTS] = {0}, now = START;
        const uint64_t ttl = 1000 + rnd(200000), grain = ttl / 64 > 1000 ? ttl / 64 : 1000;
        open_space(ttl);
        for (uint32_t step = 0; step < 3000; step++) {
            const uint32_t k = rnd(ELEMENTS);
            char element[8];
            snprintf(element, sizeof element, "%u", (unsigned)k);
            now += rnd((uint32_t)(ttl / 100));
            show(now);
            struct slv_draft d = draft(SLV_TYPE_SET, KEY, now);
            const bool adds = rnd(4);
            assert_int_equal(
                adds ? slv_draft_add(&d, text(element)) : slv_draft_drop(&d, text(element)), 0);
            done(&d);
            due[k] = adds ? ((now + ttl) / grain + 1) * grain : 0;
            const uint32_t look = rnd(ELEMENTS);
            snprintf(element, sizeof element, "%u", (unsigned)look);
            assert_int_equal(slv_read_has(&space, KEY, text(element)), due[look] > now);
        }
        uint64_t n = 0;
        for (uint32_t k = 0; k < ELEMENTS; k++)
            n += due[k] > now;
        assert_int_equal(slv_entries_count(space.entries), n);
        assert_true(space.ttl.n <= 66);
        show(now + 2 * ttl + 2 * grain);
        assert_int_equal(slv_entries_count(space.entries), 0);
        slv_space_fini(&space);
    }
}

/* Each allocation fails once: the write is as if it had not been tried. */
static void without_memory_nothing_is_left(void **state) {
    (void)state;
    open_space(10000);
    for (uint32_t i = 0; i < 300; i++) {
        char element[8];
        snprintf(element, sizeof element, "%u", (unsigned)i);
        struct slv_draft d = draft(SLV_TYPE_SET, KEY, START + 700 * i);
        assert_int_equal(slv_draft_add(&d, text(element)), 0);
        const uint64_t had = slv_entries_count(space.entries);
        int rc = SLV_E_NOMEM;
        for (unsigned k = 1; rc; k++) {
            slv_mem_fail_at(k);
            rc = slv_space_write(&space, &d.op);
            slv_mem_fail_at(0);
            assert_true(!rc || rc == SLV_E_NOMEM);
            assert_int_equal(slv_entries_count(space.entries), had + !rc);
        }
        next_dot = slv_op_range(&d.op).last + 1;
        slv_draft_close(&d);
    }
    show(START + 1000000);
    assert_int_equal(slv_entries_count(space.entries), 0);
    slv_space_fini(&space);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_buckets_are_due_at_once),
        cmocka_unit_test(what_is_due_goes_and_is_told),
        cmocka_unit_test(what_comes_too_late_is_seen_and_gone),
        cmocka_unit_test(a_clock_that_is_set_back_is_followed_only_from_afar),
        cmocka_unit_test(registers_are_read_behind_the_stamp),
        cmocka_unit_test(rows_stay_while_their_writer_writes),
        cmocka_unit_test(only_some_types_fall_in_pieces),
        cmocka_unit_test(an_entry_has_a_stamp_that_is_not_of_the_future),
        cmocka_unit_test(what_was_removed_is_not_waited_for),
        cmocka_unit_test(each_entry_goes_in_its_time),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
