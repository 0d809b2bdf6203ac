/* test_revert.c: what a user would lose: a value that is not what it was, after it was said to be
 * put back; or the history that says what it was.
 *
 * Values of each type, written at random and then spoiled at random by another: what the plan says,
 * done, makes them read as before, and then there is nothing more to do. History against what it
 * was given: over a restart, out of time, out of room, out of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/history.h"
#include "mesh/hlc.h"
#include "mesh/revert.h"
#include "replicas.h"

#include <stdlib.h>
#include <string.h>

#define KEY ((struct slv_str){"k", 1})
#define ROUNDS 300

static uint64_t now, next_number;

/* --- values ----------------------------------------------------------------------------------- */

static int do_op(struct slv_space *s, enum slv_mesh_type type, uint64_t writer, struct slv_str op) {
    const struct slv_dot dot = {writer, next_number};
    struct slv_json_doc doc = {0};
    struct slv_draft d;
    struct slv_err err = {0};
    assert_int_equal(slv_json_read(op.p, op.n, &doc, &err), 0);
    assert_int_equal(slv_draft_open(&d, s, type, KEY, dot, ++now), 0);
    int rc = slv_value_write(&d, slv_json_root(&doc), NULL, &err);
    if (!rc) {
        assert_int_equal(slv_space_write(s, &d.op), 0);
        next_number = slv_op_range(&d.op).last + 1;
    }
    slv_draft_close(&d);
    slv_json_doc_fini(&doc);
    return rc;
}

static const char *word(void) {
    static const char *const words[] = {"",
                                        "a",
                                        "bb",
                                        "\xc3\xa4\xc3\xb6",
                                        "\xe2\x82\xac x",
                                        "\xf0\x9f\x98\x80",
                                        "a/b~c",
                                        "long enough to be cut"};
    return words[rnd(8)];
}

static const char *place(void) {
    static const char *const places[] = {"",     "/a",   "/b",   "/a/b",   "/a/0",
                                         "/b/1", "/a/-", "/b/a", "/a/1/b", "/b/2/a"};
    return places[rnd(10)];
}

static const char *any(void) {
    static const char *const values[] = {
        "null",         "true", "-1.50",           "\"x\"",
        "{}",           "[]",   "[1,2,{\"a\":3}]", "{\"a\":{\"b\":[]},\"b\":\"\\u00e9\"}",
        "[[1],[2],[3]]"};
    return values[rnd(9)];
}

#define FORMS 6

/* Operations, of which some cannot be done: $w a word, $p a place, $v any value, $n a small
 * number. */
static const char *const forms[SLV_MESH_TYPES][FORMS] = {
    [SLV_TYPE_LAST] = {"{'value':'$w'}"},
    [SLV_TYPE_MANY] = {"{'value':'$w'}"},
    [SLV_TYPE_ON_WINS] = {"{'value':true}", "{'value':false}"},
    [SLV_TYPE_OFF_WINS] = {"{'value':true}", "{'value':false}"},
    [SLV_TYPE_SET] = {"{'op':'add','value':'$w'}", "{'op':'remove','value':'$w'}"},
    [SLV_TYPE_COUNTER] = {"{'value':$n}", "{'value':-7}"},
    [SLV_TYPE_LIST] = {"{'value':$v,'at':$n}", "{'value':$v,'at':0}",
                       "{'op':'remove','value':1,'at':$n}"},
    [SLV_TYPE_TEXT] = {"{'op':'insert','value':'$w','at':$n}",
                       "{'op':'insert','value':'$w','at':0}", "{'op':'remove','value':2,'at':$n}"},
    [SLV_TYPE_DOC] = {"{'pointer':'$p','value':$v}", "{'op':'insert','pointer':'$p','value':$v}",
                      "{'op':'remove','pointer':'$p'}", "{'op':'count','pointer':'$p','value':$n}",
                      "{'op':'text','pointer':'$p','value':'$w'}",
                      "{'op':'edit','pointer':'$p','value':'$w','at':0,'gone':1}"},
};

static void random_op(enum slv_mesh_type type, struct slv_buf *b) {
    uint32_t n = 0;
    while (n < FORMS && forms[type][n])
        n++;
    const char *f = rnd(25) ? forms[type][rnd(n)] : "{'op':'delete'}";
    slv_buf_clear(b);
    for (; *f; f++) {
        if (*f == '\'') slv_buf_addc(b, '"');
        else if (*f != '$') slv_buf_addc(b, *f);
        else if (*++f == 'n') slv_buf_addf(b, "%u", rnd(6));
        else slv_buf_adds(b, *f == 'w' ? word() : *f == 'p' ? place() : any());
    }
}

static void write_some(struct slv_space *s, enum slv_mesh_type type, uint64_t writer, uint64_t n) {
    struct slv_buf op;
    slv_buf_init(&op, 4096);
    for (uint64_t i = 0; i < n; i++) {
        random_op(type, &op);
        (void)do_op(s, type, writer, (struct slv_str){op.data, op.len});
    }
    slv_buf_fini(&op);
}

static void copy(const struct slv_space *from, struct slv_space *to) {
    assert_int_equal(slv_space_init(to), 0);
    for (uint64_t i = 0; i < slv_entries_count(from->entries); i++) {
        const struct slv_entry *e = slv_entries_at(from->entries, i);
        const struct slv_place at = slv_entry_place(e);
        assert_int_equal(slv_space_load(to, &at, slv_entry_data(e)), 0);
    }
    assert_int_equal(slv_dots_join(&to->context, &from->context), 0);
}

static void read_value(const struct slv_space *s, enum slv_mesh_type type, struct slv_buf *b) {
    struct slv_json j;
    bool there;
    slv_buf_init(b, 1 << 20);
    slv_json_init(&j, b);
    assert_int_equal(slv_value_read(s, type, KEY, 0, &j, NULL, &there), 0);
    if (!there) slv_buf_adds(b, " not there");
}

static size_t put_back(const struct slv_space *before, struct slv_space *s,
                       enum slv_mesh_type type) {
    struct slv_buf ops;
    size_t n = 0;
    slv_buf_init(&ops, SLV_REVERT_BYTES_MAX);
    assert_int_equal(slv_revert_plan(type, before, s, KEY, &ops, &n), 0);
    struct slv_reader r = slv_reader_of(ops.data, ops.len);
    for (size_t i = 0; i < n; i++) {
        const struct slv_str op = slv_read_bytes(&r, SLV_REVERT_BYTES_MAX);
        if (do_op(s, type, 3, op)) fail_msg("%.*s", (int)op.n, op.p);
    }
    assert_true(slv_reader_done(&r));
    slv_buf_fini(&ops);
    return n;
}

/* (Of a register that had many values one is put back.) */
static void spoil_and_put_back(enum slv_mesh_type type) {
    struct slv_space before, s;
    struct slv_buf want, got;
    next_number = 1;
    assert_int_equal(slv_space_init(&before), 0);
    write_some(&before, type, 1, rnd(12));
    copy(&before, &s);
    write_some(&s, type, 2, 1 + rnd(8));
    put_back(&before, &s, type);
    read_value(&before, type, &want);
    read_value(&s, type, &got);
    /* (a list or text of which nothing is left is there or not) */
    if (strcmp(want.data, "[]") != 0 && strcmp(want.data, "\"\"") != 0)
        assert_string_equal(got.data, want.data);
    else assert_memory_equal(got.data, want.data, 2);
    assert_int_equal(put_back(&before, &s, type), 0);
    slv_buf_fini(&want);
    slv_buf_fini(&got);
    slv_space_fini(&before);
    slv_space_fini(&s);
}

static void what_was_is_again(void **state) {
    (void)state;
    for (int t = 0; t < SLV_MESH_TYPES; t++)
        for (int i = 0; i < ROUNDS && slv_mesh_type_reverts((enum slv_mesh_type)t); i++)
            spoil_and_put_back((enum slv_mesh_type)t);
}

static void others_cannot_be(void **state) {
    (void)state;
    static const enum slv_mesh_type no[] = {SLV_TYPE_GROWING, SLV_TYPE_BUDGET, SLV_TYPE_VECTOR,
                                            SLV_TYPE_UNIQUE, SLV_TYPE_TOP};
    struct slv_space s;
    struct slv_buf ops;
    size_t n;
    slv_buf_init(&ops, 100);
    assert_int_equal(slv_space_init(&s), 0);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(slv_revert_plan(no[i], &s, &s, KEY, &ops, &n), SLV_E_USAGE);
    slv_space_fini(&s);
}

/* --- history ---------------------------------------------------------------------------------- */

#define RECORDS 4096u

/* The store: records by number. */
static struct {
    char *bytes;
    size_t n;
} record[RECORDS];

static void keep_put(void *ctx, uint64_t number, struct slv_str r) {
    (void)ctx;
    assert_true(number < RECORDS && !record[number].bytes);
    record[number].bytes = malloc(r.n);
    if (!record[number].bytes) abort();
    memcpy(record[number].bytes, r.p, r.n);
    record[number].n = r.n;
}

static void keep_del(void *ctx, uint64_t number) {
    (void)ctx;
    assert_true(number < RECORDS && record[number].bytes);
    free(record[number].bytes);
    record[number].bytes = NULL;
}

static const struct slv_history_keep keep = {keep_put, keep_del, NULL};

static size_t kept(void) {
    size_t n = 0;
    for (size_t i = 0; i < RECORDS; i++)
        n += record[i].bytes != NULL;
    return n;
}

static void forget(void) {
    for (size_t i = 0; i < RECORDS; i++) {
        free(record[i].bytes);
        record[i].bytes = NULL;
    }
}

static struct slv_history *open_history(uint64_t now_ms, size_t max, bool lost) {
    struct slv_history *h;
    assert_int_equal(slv_history_open(60000, max, &keep, &h), 0);
    for (size_t i = 0; i < RECORDS; i++)
        if (record[i].bytes)
            assert_int_equal(slv_history_load(h, i, (struct slv_str){record[i].bytes, record[i].n}),
                             0);
    slv_history_loaded(h, now_ms, lost, false);
    return h;
}

/* A register of which values go one after the other; that of time t is t. */
static void write_value(struct slv_history *h, struct slv_space *s, uint64_t node, uint64_t t) {
    char data[9] = {0};
    const struct slv_dot dot = {node, t};
    const struct slv_place at = {KEY, {"", 0}, dot};
    const struct slv_entry *old = slv_entries_at(s->entries, 0);
    if (old) {
        slv_history_gone(h, t, node, t << 16, old);
        slv_space_drop(s, old->dot);
    }
    data[8] = (char)t;
    assert_int_equal(slv_space_load(s, &at, (struct slv_str){data, sizeof data}), 0);
    slv_history_op(h, t, node, t << 16, node, (struct slv_dot_range){t, t});
}

/* In these tests a node has one writer of its own number. */
static uint64_t node_of(const void *ctx, uint64_t writer) {
    (void)ctx;
    return writer;
}

/* Which values there were without the ops of a node since then; -1: none. */
static int value_before(const struct slv_history *h, const struct slv_space *s, uint64_t from,
                        uint64_t node, int *ret_rc) {
    const struct slv_undo undo = {from, UINT64_MAX, node};
    struct slv_undone u;
    struct slv_space before;
    int v = -1;
    *ret_rc = slv_history_undone(h, s, &undo, false, node_of, NULL, &u);
    if (*ret_rc) return v;
    assert_int_equal(slv_undone_before(&u, s, KEY, &before), 0);
    for (uint64_t i = 0; i < slv_entries_count(before.entries); i++) {
        const struct slv_entry *e = slv_entries_at(before.entries, i);
        v = slv_entry_data(e).p[8] > v ? slv_entry_data(e).p[8] : v;
    }
    slv_space_fini(&before);
    slv_undone_fini(&u);
    return v;
}

static void history_knows_what_was(void **state) {
    (void)state;
    struct slv_history *h = open_history(1, 1 << 20, false);
    struct slv_space s;
    int rc;
    assert_int_equal(slv_space_init(&s), 0);
    for (uint64_t t = 10; t <= 100; t += 10)
        write_value(h, &s, 1 + t / 10 % 2, t);
    for (int restart = 0; restart < 2; restart++) {
        for (int t = 10; t <= 110; t++) { /* what was the latest before t */
            const int want = t <= 10 ? -1 : (t - 1) / 10 * 10;
            assert_int_equal(value_before(h, &s, (uint64_t)t, 0, &rc), want);
            assert_int_equal(rc, 0);
        }
        /* (node 1 wrote 20, 40 .. 100; without these the last is 90) */
        assert_int_equal(value_before(h, &s, 2, 1, &rc), 90);
        assert_int_equal(value_before(h, &s, 2, 2, &rc), 100);
        assert_int_equal(value_before(h, &s, 1, 0, &rc), -1);
        assert_int_equal(rc, SLV_E_NOENT); /* before it began */
        slv_history_close(h);
        h = open_history(101, 1 << 20, false);
    }
    slv_history_close(h);
    slv_space_fini(&s);
    forget();
}

/* Where nothing was before, all that was is known. */
static void an_empty_space_has_no_past(void **state) {
    (void)state;
    struct slv_history *h;
    struct slv_space s;
    int rc;
    assert_int_equal(slv_history_open(60000, 1 << 20, &keep, &h), 0);
    slv_history_loaded(h, 500, false, true);
    assert_int_equal(slv_space_init(&s), 0);
    for (uint64_t t = 10; t <= 30; t += 10)
        write_value(h, &s, 1, t);
    for (int restart = 0; restart < 2; restart++) {
        assert_int_equal(value_before(h, &s, 0, 0, &rc), -1);
        assert_int_equal(rc, 0);
        assert_int_equal(value_before(h, &s, 25, 0, &rc), 20);
        slv_history_close(h);
        h = open_history(600, 1 << 20, false);
    }
    slv_history_trim(h, 60500); /* that it was empty is forgotten with the first */
    value_before(h, &s, 0, 0, &rc);
    assert_int_equal(rc, SLV_E_NOENT);
    slv_history_close(h);
    slv_space_fini(&s);
    forget();
}

static void history_ends(void **state) {
    (void)state;
    struct slv_history *h = open_history(1, 1 << 20, false);
    struct slv_space s;
    int rc;
    assert_int_equal(slv_space_init(&s), 0);
    for (uint64_t t = 10; t <= 100; t += 10)
        write_value(h, &s, 1, t);
    assert_int_equal(slv_history_trim(h, 60050), 60060); /* what came by 50 is too old */
    value_before(h, &s, 51, 0, &rc);
    assert_int_equal(rc, 0);
    value_before(h, &s, 50, 0, &rc); /* others of that time may have been there */
    assert_int_equal(rc, SLV_E_NOENT);
    slv_history_close(h);
    h = open_history(60050, 1 << 20, false); /* not further than what is left */
    assert_in_range(slv_history_reach(h), 60, 60 + SLV_SKEW_MS);
    slv_history_trim(h, 200000);
    assert_int_equal(kept(), 0);
    slv_history_close(h);
    h = open_history(200000, 2000, false); /* with room for some dozen */
    assert_int_equal(slv_history_reach(h), 200001);
    for (uint64_t t = 101; t <= 120; t++) {
        write_value(h, &s, 1, t);
        assert_true(slv_history_bytes(h) <= 2000);
    }
    assert_in_range(kept(), 5, 39);
    slv_history_close(h);
    h = open_history(300000, 2000, true); /* damaged */
    assert_int_equal(slv_history_reach(h), 300001);
    assert_int_equal(kept(), 1);
    slv_history_close(h);
    slv_space_fini(&s);
    forget();
}

/* What is being undone is not let go meanwhile; what came without its op ends what is known. */
static void what_is_held_stays(void **state) {
    (void)state;
    struct slv_history *h = open_history(1, 1000, false);
    const struct slv_undo undo = {10, UINT64_MAX, 0};
    struct slv_undone u;
    struct slv_space s, before;
    int rc;
    assert_int_equal(slv_space_init(&s), 0);
    write_value(h, &s, 1, 10);
    write_value(h, &s, 1, 20);
    slv_history_hold(h, true);
    assert_int_equal(slv_history_undone(h, &s, &undo, false, node_of, NULL, &u), 0);
    for (uint64_t t = 30; t <= 120; t += 10)
        write_value(h, &s, 2, t);
    assert_int_equal(slv_history_trim(h, 1000000), UINT64_MAX);
    assert_true(slv_history_bytes(h) > 1000);
    assert_int_equal(slv_undone_before(&u, &s, KEY, &before), 0);
    slv_space_fini(&before);
    slv_undone_fini(&u);
    slv_history_hold(h, false);
    assert_true(slv_history_bytes(h) <= 1000);
    slv_history_unknown(h, 130);
    slv_history_unknown(h, 131);
    value_before(h, &s, 1129, 0, &rc);
    assert_int_equal(rc, SLV_E_NOENT);
    value_before(h, &s, 1131, 0, &rc);
    assert_int_equal(rc, 0);
    slv_history_close(h);
    slv_space_fini(&s);
    forget();
}

static void put_mark(struct slv_space *s, uint64_t writer, uint64_t n, const struct slv_mark *m) {
    struct slv_buf b;
    const struct slv_place at = {slv_mark_key(), {"0123456789abcdef", 16}, {writer, n}};
    slv_buf_init(&b, SLV_MARK_BYTES_MAX);
    slv_mark_write(m, &b);
    assert_int_equal(slv_space_load(s, &at, (struct slv_str){b.data, b.len}), 0);
    slv_buf_fini(&b);
}

static struct slv_undo asked = {10, 100, 0};

static size_t keys_undone(const struct slv_history *h, const struct slv_space *s, bool again,
                          uint64_t *ret_excused) {
    const struct slv_undo undo = asked;
    struct slv_undone u;
    assert_int_equal(slv_history_undone(h, s, &undo, again, node_of, NULL, &u), 0);
    const size_t n = u.n_key;
    *ret_excused = u.excused;
    slv_undone_fini(&u);
    return n;
}

/* A mark says what was undone, unless it is another's, or was undone in turn. */
static void marks_count_if_they_may(void **state) {
    (void)state;
    struct slv_history *h = open_history(1, 1 << 20, false);
    struct slv_space s;
    struct slv_mark m = {.undo = {10, 100, 0}, .at_ms = 200, .by = 7, .first = KEY, .last = KEY};
    uint64_t excused;
    assert_int_equal(slv_space_init(&s), 0);
    write_value(h, &s, 1, 20);
    assert_int_equal(keys_undone(h, &s, false, &excused), 1);
    assert_int_equal(excused, 0);
    put_mark(&s, 8, 1, &m); /* signed by another than it says */
    assert_int_equal(keys_undone(h, &s, false, &excused), 1);
    put_mark(&s, 7, 1, &m);
    assert_int_equal(keys_undone(h, &s, false, &excused), 0);
    assert_int_equal(excused, 1);
    assert_int_equal(keys_undone(h, &s, true, &excused), 1);
    asked.to_ms = 201; /* that is to be undone, too */
    assert_int_equal(keys_undone(h, &s, false, &excused), 1);
    asked.node = 1; /* or only what node 1 did */
    assert_int_equal(keys_undone(h, &s, false, &excused), 0);
    asked = (struct slv_undo){10, 100, 0};
    m = (struct slv_mark){.undo = {150, 300, 7}, .at_ms = 400, .by = 9, .first = KEY, .last = KEY};
    put_mark(&s, 9, 1, &m); /* what that node did then is undone */
    assert_int_equal(keys_undone(h, &s, false, &excused), 1);
    for (uint64_t i = 0; i < 200; i++) { /* each undoes all before it: soon decided all the same */
        m.undo = (struct slv_undo){0, 500 + i, 0};
        m.at_ms = 500 + i;
        put_mark(&s, 9, 2 + i, &m);
    }
    keys_undone(h, &s, false, &excused);
    m.undo.to_ms = m.at_ms + 1; /* of a time to come */
    put_mark(&s, 9, 500, &m);
    assert_int_equal(keys_undone(h, &s, true, &excused), 1);
    slv_history_close(h);
    slv_space_fini(&s);
    forget();
}

/* It never says what was not: it begins anew, and the old is unknown. */
static void without_memory_it_begins_anew(void **state) {
    (void)state;
    uint64_t failed = 1;
    int rc;
    for (uint64_t k = 1; failed; k++) {
        struct slv_history *h = open_history(1, 1 << 20, false);
        struct slv_space s;
        assert_int_equal(slv_space_init(&s), 0);
        write_value(h, &s, 1, 10);
        const struct slv_entry *e = slv_entries_at(s.entries, 0);
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(k);
        slv_history_gone(h, 20, 1, (uint64_t)20 << 16, e);
        slv_history_op(h, 20, 1, (uint64_t)20 << 16, 1, (struct slv_dot_range){20, 20});
        failed = slv_mem_count() - before >= k;
        slv_mem_fail_at(0);
        value_before(h, &s, 15, 0, &rc);
        assert_int_equal(rc, failed ? SLV_E_NOENT : 0);
        slv_history_close(h);
        slv_space_fini(&s);
        forget();
    }
}

static void bad_records_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "\x03\x01", "\x00", "\x01\x01xxxxxxxx", "\x00\x01\x01", "\x02\x01xxxxxxxxxxxxxxxx\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct slv_history *h;
        assert_int_equal(slv_history_open(60000, 1 << 20, &keep, &h), 0);
        assert_int_equal(
            slv_history_load(h, 0, (struct slv_str){bad[i], i == 2 ? 1 : strlen(bad[i])}),
            SLV_E_FORMAT);
        slv_history_close(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_is_again),
        cmocka_unit_test(others_cannot_be),
        cmocka_unit_test(history_knows_what_was),
        cmocka_unit_test(an_empty_space_has_no_past),
        cmocka_unit_test(history_ends),
        cmocka_unit_test(what_is_held_stays),
        cmocka_unit_test(marks_count_if_they_may),
        cmocka_unit_test(without_memory_it_begins_anew),
        cmocka_unit_test(bad_records_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
