/* test_sketch_rows.c: what a user would lose: a reading that depends on the order in which writes
 * came, and everybody's reading because of one writer's bad row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/value.h"
#include "replicas.h"

#include <stdio.h>
#include <string.h>

#define KEY ((struct slv_str){"key", 3})

static struct slv_str value_text(char at[16], uint32_t i) {
    const int n = snprintf(at, 16, "v-%u", (unsigned)i);
    return (struct slv_str){at, (size_t)n};
}

/* --- a space with rows ------------------------------------------------------------------------ */

/* An entry that `writer` puts at the path of `row`. */
static void put_row(struct slv_space *s, enum slv_mesh_type type, uint64_t writer, uint64_t row,
                    struct slv_str data) {
    struct slv_draft d;
    struct slv_buf path;
    const struct slv_dot dot = {writer, slv_dots_last(&s->context, writer) + 1};
    slv_buf_init(&path, 8);
    slv_write_id(&path, row);
    assert_int_equal(slv_draft_open(&d, s, type, KEY, dot, 1), 0);
    assert_int_equal(slv_draft_put(&d, (struct slv_str){path.data, path.len}, data.p, data.n), 0);
    assert_int_equal(slv_space_apply(s, &d.op, NULL), 0);
    slv_draft_close(&d);
    slv_buf_fini(&path);
}

static void put_unique(struct slv_space *s, uint64_t writer, const struct slv_unique *u) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_UNIQUE_BYTES_MAX);
    slv_unique_write(u, &b);
    assert_int_equal(b.status, 0);
    put_row(s, SLV_TYPE_UNIQUE, writer, writer, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

static void put_top(struct slv_space *s, uint64_t writer, const struct slv_top *t) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_top_write(t, &b);
    put_row(s, SLV_TYPE_TOP, writer, writer, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

static void read_json(const struct slv_space *s, enum slv_mesh_type type, struct slv_buf *b) {
    struct slv_json j;
    slv_buf_init(b, 1 << 16);
    slv_json_init(&j, b);
    assert_int_equal(slv_value_read(s, type, KEY, 0, &j, NULL, NULL), 0);
}

static const struct slv_top_item *find(const struct slv_top_item *v, size_t n, struct slv_str s) {
    for (size_t i = 0; i < n; i++)
        if (v[i].value.n == s.n && !memcmp(v[i].value.p, s.p, s.n)) return &v[i];
    return NULL;
}

/* --- writes that come in any order ------------------------------------------------------------ */

#define WRITES 60

/* A write as its definition sees it. */
struct done {
    uint64_t seen; /* bit k: write k */
    uint64_t row;  /* of an addition: the additions that its writer's row then has */
    size_t writer;
    bool is_delete;
    uint32_t value, times;
};
static struct done said[WRITES];
static uint64_t has_seen[REPLICAS];

/* The last row of a writer that a replica with `seen` has, and nobody deleted. */
static uint64_t row_of(size_t writer, uint64_t seen) {
    size_t last = WRITES;
    for (size_t k = 0; k < n_history; k++)
        if ((seen >> k & 1) && !said[k].is_delete && said[k].writer == writer) last = k;
    for (size_t k = 0; k < n_history && last < WRITES; k++)
        if ((seen >> k & 1) && said[k].is_delete && (said[k].seen >> last & 1)) return 0;
    return last < WRITES ? said[last].row : 0;
}

static void give(size_t to, size_t k) {
    replica_give(&replica[to], k);
    has_seen[to] |= (uint64_t)1 << k;
}

static void write_something(size_t from, enum slv_mesh_type type) {
    struct replica *r = &replica[from];
    const struct slv_dot dot = {r->id, r->next};
    struct done *w = &said[n_history];
    struct slv_draft d;
    char at[16];
    int rc;
    *w = (struct done){.seen = has_seen[from], .writer = from, .is_delete = !rnd(9)};
    w->value = rnd(40);
    w->times = 1 + rnd(9);
    if (!w->is_delete) w->row = row_of(from, w->seen) | (uint64_t)1 << n_history;
    const struct slv_str v = value_text(at, w->value);
    assert_int_equal(slv_draft_open(&d, &r->space, type, KEY, dot, 1), 0);
    if (w->is_delete) rc = slv_draft_delete(&d);
    else if (type == SLV_TYPE_UNIQUE) rc = slv_draft_see(&d, v);
    else rc = slv_draft_tally(&d, v, w->times);
    assert_int_equal(rc, 0);
    replica_write(r, &d.op);
    give(from, n_history - 1);
    slv_draft_close(&d);
}

static bool is_closed(uint64_t seen) {
    for (size_t k = 0; k < n_history; k++)
        if ((seen >> k & 1) && (said[k].seen & ~seen)) return false;
    return true;
}

static void check(size_t i, enum slv_mesh_type type) {
    struct slv_top_item item[64];
    struct slv_unique u = {{0}};
    uint64_t rows = 0, times[40] = {0};
    size_t n = 0, want = 0;
    char at[16];
    if (!is_closed(has_seen[i])) return;
    for (size_t w = 0; w < REPLICAS; w++)
        rows |= row_of(w, has_seen[i]);
    for (size_t k = 0; k < n_history; k++) {
        if (!(rows >> k & 1)) continue;
        slv_unique_add(&u, value_text(at, said[k].value));
        times[said[k].value] += said[k].times;
    }
    if (type == SLV_TYPE_UNIQUE) {
        assert_int_equal(slv_read_unique(&replica[i].space, KEY), slv_unique_count(&u));
        return;
    }
    assert_int_equal(slv_read_top(&replica[i].space, KEY, item, 64, &n), 0);
    for (uint32_t v = 0; v < 40; v++) {
        const struct slv_top_item *x = find(item, n, value_text(at, v));
        assert_int_equal(x ? x->count : 0, times[v]);
        want += times[v] > 0;
    }
    assert_int_equal(n, want);
}

static void run(enum slv_mesh_type type, bool causal) {
    struct slv_buf first, other;
    replicas_open();
    memset(has_seen, 0, sizeof has_seen);
    for (int turn = 0; turn < 400 && n_history < WRITES; turn++) {
        const size_t i = rnd(REPLICAS), k = n_history ? rnd((uint32_t)n_history) : 0;
        if (!rnd(3)) write_something(i, type);
        else if (n_history && (!causal || !(said[k].seen & ~has_seen[i]))) give(i, k);
        check(i, type);
    }
    for (size_t i = 0; i < REPLICAS; i++) {
        for (size_t k = 0; k < n_history; k++)
            give(i, (k * 7 + i) % n_history);
        for (size_t k = 0; k < n_history; k++)
            give(i, k);
        check(i, type);
        read_json(&replica[i].space, type, i ? &other : &first);
        if (!i) continue;
        assert_string_equal(other.data, first.data);
        slv_buf_fini(&other);
    }
    slv_buf_fini(&first);
    replicas_close();
}

static void readings_do_not_depend_on_the_order_of_writes(void **state) {
    (void)state;
    for (int turn = 0; turn < 100; turn++) {
        run(SLV_TYPE_UNIQUE, turn % 2);
        run(SLV_TYPE_TOP, turn % 2);
    }
}

/* --- rows of others --------------------------------------------------------------------------- */

static void few_strings_are_counted_exactly(void **state) {
    static const char want[] = "[{\"value\":\"b\",\"count\":9,\"error\":0},"
                               "{\"value\":\"a\",\"count\":4,\"error\":0},"
                               "{\"value\":\"ab\",\"count\":4,\"error\":0}]";
    static const uint8_t bytes[] = {1, 'a', 4, 0, 2, 'a', 'b', 1, 0, 1, 'b', 7, 0};
    struct slv_space s;
    struct slv_top x = {.n = 0}, y = {.n = 0};
    struct slv_buf b;
    (void)state;
    assert_int_equal(slv_top_add(&x, text("b"), 7), 0);
    assert_int_equal(slv_top_add(&x, text("ab"), 1), 0);
    assert_int_equal(slv_top_add(&x, text("a"), 4), 0);
    assert_int_equal(slv_top_add(&y, text("ab"), 3), 0);
    assert_int_equal(slv_top_add(&y, text("b"), 2), 0);
    slv_buf_init(&b, SLV_DATA_MAX);
    slv_top_write(&x, &b);
    assert_int_equal(b.len, sizeof bytes);
    assert_memory_equal(b.data, bytes, sizeof bytes);
    slv_buf_fini(&b);
    assert_int_equal(slv_space_init(&s), 0);
    put_top(&s, 9, &x);
    put_top(&s, 3, &y);
    read_json(&s, SLV_TYPE_TOP, &b);
    assert_string_equal(b.data, want);
    slv_buf_fini(&b);
    slv_space_fini(&s);
}

static int do_op(struct slv_space *s, enum slv_mesh_type type, const char *json) {
    struct slv_json_doc doc;
    struct slv_draft d;
    struct slv_err err = {0};
    const struct slv_dot dot = {5, slv_dots_last(&s->context, 5) + 1};
    assert_int_equal(slv_json_read(json, strlen(json), &doc, NULL), 0);
    assert_int_equal(slv_draft_open(&d, s, type, KEY, dot, 1), 0);
    const int rc = slv_value_write(&d, slv_json_root(&doc), NULL, &err);
    if (!rc) assert_int_equal(slv_space_apply(s, &d.op, NULL), 0);
    else assert_true(strlen(err.msg) > 0);
    slv_draft_close(&d);
    slv_json_doc_fini(&doc);
    return rc;
}

static void operations_are_done_or_refused(void **state) {
    struct slv_space s, t;
    struct slv_buf b;
    char json[400];
    (void)state;
    assert_int_equal(slv_space_init(&s), 0);
    assert_int_equal(slv_space_init(&t), 0);
    assert_int_equal(do_op(&s, SLV_TYPE_UNIQUE, "{\"value\":\"a\"}"), 0);
    assert_int_equal(do_op(&s, SLV_TYPE_UNIQUE, "{\"op\":\"add\",\"value\":\"b\"}"), 0);
    assert_int_equal(do_op(&s, SLV_TYPE_UNIQUE, "{\"value\":7}"), SLV_E_FORMAT);
    assert_int_equal(do_op(&s, SLV_TYPE_UNIQUE, "{\"value\":\"a\",\"n\":2}"), SLV_E_FORMAT);
    const char *other = "{\"op\":\"remove\",\"value\":\"a\"}";
    assert_int_equal(do_op(&s, SLV_TYPE_UNIQUE, other), SLV_E_USAGE);
    read_json(&s, SLV_TYPE_UNIQUE, &b);
    assert_string_equal(b.data, "2");
    slv_buf_fini(&b);
    for (int i = 0; i < 20; i++) {
        snprintf(json, sizeof json, "{\"value\":\"%c\",\"n\":%d}", 'a' + i, 100 + i);
        assert_int_equal(do_op(&t, SLV_TYPE_TOP, json), 0);
    }
    assert_int_equal(do_op(&t, SLV_TYPE_TOP, "{\"op\":\"add\",\"value\":\"c\"}"), 0);
    assert_int_equal(do_op(&t, SLV_TYPE_TOP, "{\"value\":\"c\",\"n\":0}"), SLV_E_FORMAT);
    assert_int_equal(do_op(&t, SLV_TYPE_TOP, "{\"value\":\"c\",\"n\":-1}"), SLV_E_FORMAT);
    assert_int_equal(do_op(&t, SLV_TYPE_TOP, "{\"value\":[]}"), SLV_E_FORMAT);
    snprintf(json, sizeof json, "{\"value\":\"%0257d\"}", 0);
    assert_int_equal(do_op(&t, SLV_TYPE_TOP, json), SLV_E_LIMIT);
    read_json(&t, SLV_TYPE_TOP, &b); /* sixteen: e (104) is the last; c has 103 */
    assert_non_null(strstr(b.data, "[{\"value\":\"t\",\"count\":119,\"error\":0},"));
    assert_non_null(strstr(b.data, ",{\"value\":\"e\",\"count\":104,\"error\":0}]"));
    slv_buf_fini(&b);
    slv_space_fini(&s);
    slv_space_fini(&t);
}

/* What a bad writer puts at its own row, at a row of its own making, and over another's. */
static void bad_rows_disturb_no_others(void **state) {
    struct slv_unique u = {{0}}, v = {{0}};
    struct slv_top t = {.n = 0}, many = {.n = 0};
    (void)state;
    slv_unique_add(&u, text("one"));
    slv_unique_add(&u, text("two"));
    memset(v.rank, SLV_UNIQUE_RANK_MAX, sizeof v.rank);
    assert_int_equal(slv_top_add(&t, text("one"), 5), 0);
    assert_int_equal(slv_top_add(&many, text("evil"), 1000), 0);
    for (int is_top = 0; is_top < 2; is_top++) {
        const enum slv_mesh_type type = is_top ? SLV_TYPE_TOP : SLV_TYPE_UNIQUE;
        const char *want = is_top ? "[{\"value\":\"one\",\"count\":5,\"error\":0}]" : "2";
        struct slv_space s;
        struct slv_buf b, read;
        assert_int_equal(slv_space_init(&s), 0);
        if (is_top) put_top(&s, 5, &t);
        else put_unique(&s, 5, &u);
        slv_buf_init(&b, SLV_DATA_MAX);
        if (is_top) slv_top_write(&many, &b);
        else slv_unique_write(&v, &b);
        const struct slv_str data = {b.data, b.len};
        put_row(&s, type, 4, 5, data);
        put_row(&s, type, 6, 5, data);
        put_row(&s, type, 6, 7, data);
        put_row(&s, type, 6, 6, (struct slv_str){data.p, data.n - 1});
        put_row(&s, type, 8, 8, (struct slv_str){"\7\7\7", 3});
        read_json(&s, type, &read);
        assert_string_equal(read.data, want);
        slv_buf_fini(&read);
        slv_buf_fini(&b);
        slv_space_fini(&s);
    }
}

/* The write between two rows, which removes the first, may come last. */
static void of_several_rows_of_a_writer_the_last_counts(void **state) {
    struct slv_unique u = {{0}}, before = {{0}};
    struct slv_top t = {.n = 0};
    struct slv_space s;
    struct slv_buf b;
    (void)state;
    assert_int_equal(slv_space_init(&s), 0);
    assert_int_equal(slv_top_add(&t, text("one"), 5), 0);
    put_top(&s, 5, &t);
    assert_int_equal(slv_top_add(&t, text("one"), 2), 0);
    put_top(&s, 5, &t);
    put_top(&s, 6, &t);
    read_json(&s, SLV_TYPE_TOP, &b);
    assert_string_equal(b.data, "[{\"value\":\"one\",\"count\":14,\"error\":0}]");
    slv_buf_fini(&b);
    slv_space_fini(&s);
    assert_int_equal(slv_space_init(&s), 0);
    slv_unique_add(&before, text("before it was deleted"));
    slv_unique_add(&u, text("behind"));
    put_unique(&s, 5, &before);
    put_unique(&s, 5, &u);
    assert_int_equal(slv_read_unique(&s, KEY), 1);
    slv_space_fini(&s);
}

/* A writer that finds its own row damaged begins another, and is not held up. */
static void a_writer_gets_over_its_own_bad_row(void **state) {
    struct slv_space s;
    struct slv_draft d;
    struct slv_top_item item[2];
    size_t n = 0;
    (void)state;
    assert_int_equal(slv_space_init(&s), 0);
    put_row(&s, SLV_TYPE_TOP, 5, 5, (struct slv_str){"\7\7\7", 3});
    assert_int_equal(slv_draft_open(&d, &s, SLV_TYPE_TOP, KEY, (struct slv_dot){5, 3}, 1), 0);
    assert_int_equal(slv_draft_tally(&d, text("one"), 3), 0);
    assert_int_equal(slv_space_apply(&s, &d.op, NULL), 0);
    slv_draft_close(&d);
    assert_int_equal(slv_entries_count(s.entries), 1);
    slv_mem_fail_at(1);
    assert_int_equal(slv_read_top(&s, KEY, item, 2, &n), SLV_E_NOMEM);
    assert_int_equal(slv_read_top(&s, KEY, item, 2, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(item[0].count, 3);
    slv_space_fini(&s);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(readings_do_not_depend_on_the_order_of_writes),
        cmocka_unit_test(few_strings_are_counted_exactly),
        cmocka_unit_test(operations_are_done_or_refused),
        cmocka_unit_test(bad_rows_disturb_no_others),
        cmocka_unit_test(of_several_rows_of_a_writer_the_last_counts),
        cmocka_unit_test(a_writer_gets_over_its_own_bad_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
