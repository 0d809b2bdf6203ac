/* test_doc.c: what a user would lose: a part of a document that nobody took away.
 *
 * Edits against what they say: what was set is read at its place, and nothing else has changed. Two
 * who write at once, case by case. Replicas that write anything anywhere, seen in any order, read
 * the same in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/doc.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITES 100
#define KEY ((struct slv_str){"doc", 3})

static uint64_t now; /* the last stamp */

/* Everybody sees everything. */
static void meet(void) {
    for (size_t i = 0; i < REPLICAS; i++)
        for (size_t k = 0; k < n_history; k++)
            replica_give(&replica[i], k);
}

enum what { SET, SET_TEXT, REMOVE, INSERT, EDIT, COUNT };

/* One write; what came of it. */
static int write_doc(size_t who, enum what what, const char *pointer, const char *value, int n) {
    struct replica *r = &replica[who];
    struct slv_draft d;
    const struct slv_dot dot = {r->id, r->next};
    assert_int_equal(slv_draft_open(&d, &r->space, SLV_TYPE_DOC, KEY, dot, ++now), 0);
    const int rc = what == SET        ? slv_doc_set(&d, text(pointer), text(value))
                   : what == SET_TEXT ? slv_doc_set_text(&d, text(pointer), text(value))
                   : what == REMOVE   ? slv_doc_remove(&d, text(pointer))
                   : what == INSERT   ? slv_doc_insert(&d, text(pointer), text(value))
                   : what == EDIT     ? slv_doc_edit(&d, text(pointer), (size_t)n, 0, text(value))
                                      : slv_doc_count(&d, text(pointer), n);
    if (!rc) replica_write(r, &d.op);
    slv_draft_close(&d);
    return rc;
}

static void done(size_t who, enum what what, const char *pointer, const char *value, int n) {
    const int rc = write_doc(who, what, pointer, value, n);
    if (rc) fail_msg("%s %s: %d", pointer, value, rc);
}

static int read_doc(size_t who, const char *pointer, struct slv_buf *b) {
    slv_buf_clear(b);
    return slv_doc_read(&replica[who].space, KEY, text(pointer), b);
}

static void expect(size_t who, const char *pointer, const char *want) {
    struct slv_buf b;
    slv_buf_init(&b, 1 << 20);
    const int rc = read_doc(who, pointer, &b);
    if (!want) assert_int_equal(rc, SLV_E_NOENT);
    else assert_int_equal(rc, 0);
    if (want) assert_string_equal(b.data, want);
    slv_buf_fini(&b);
}

static void expect_all(const char *want) {
    meet();
    for (size_t i = 0; i < REPLICAS; i++)
        expect(i, "", want);
}

static void what_is_set_is_there(void **state) {
    (void)state;
    replicas_open();
    expect(0, "", NULL);
    done(0, SET, "",
         "{\"b\": [1, {\"x\": null}, []], \"a\": \"\\u00e9\\n\", \"\": 1.50, \"a/b~c\": true}", 0);
    expect(0, "", "{\"\":1.50,\"a\":\"\xc3\xa9\\n\",\"a/b~c\":true,\"b\":[1,{\"x\":null},[]]}");
    expect(0, "/b/1", "{\"x\":null}");
    expect(0, "/a~1b~0c", "true");
    expect(0, "/", "1.50");
    expect(0, "/b/3", NULL);
    expect(0, "/b/01", NULL);
    expect(0, "/c", NULL);
    done(0, SET, "/b/1/y", "{}", 0);
    done(0, SET, "/b/0", "[0]", 0);
    done(0, INSERT, "/b/1", "\"new\"", 0);
    done(0, INSERT, "/b/-", "9", 0);
    expect(0, "/b", "[[0],\"new\",{\"x\":null,\"y\":{}},[],9]");
    done(0, REMOVE, "/b/0", "", 0);
    done(0, REMOVE, "/a", "", 0);
    expect(0, "", "{\"\":1.50,\"a/b~c\":true,\"b\":[\"new\",{\"x\":null,\"y\":{}},[],9]}");
    done(0, SET_TEXT, "/t", "hllo", 0);
    done(0, EDIT, "/t", "e", 1);
    done(0, COUNT, "/n", "", 5);
    done(0, COUNT, "/n", "", -7);
    expect(0, "/t", "\"hello\"");
    expect(0, "/n", "-2");
    done(0, SET, "", "3", 0);
    expect(0, "", "3");
    done(0, REMOVE, "", "", 0);
    expect(0, "", NULL);
    replicas_close();
}

static void what_cannot_be_done_is_refused(void **state) {
    (void)state;
    replicas_open();
    done(0, SET, "", "{\"a\": {\"b\": [1, 2]}, \"s\": 1}", 0);
    assert_int_equal(write_doc(0, SET, "a", "1", 0), SLV_E_FORMAT);
    assert_int_equal(write_doc(0, SET, "/a~2", "1", 0), SLV_E_FORMAT);
    assert_int_equal(write_doc(0, SET, "/a", "{", 0), SLV_E_FORMAT);
    assert_int_equal(write_doc(0, SET, "/x/y", "1", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, SET, "/s/y", "1", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, SET, "/a/b/2", "1", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, SET, "/a/b/-", "1", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, INSERT, "/a/b/3", "1", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, INSERT, "/a/x", "1", 0), SLV_E_USAGE);
    assert_int_equal(write_doc(0, INSERT, "", "1", 0), SLV_E_USAGE);
    assert_int_equal(write_doc(0, REMOVE, "/z", "", 0), SLV_E_NOENT);
    assert_int_equal(write_doc(0, EDIT, "/s", "x", 0), SLV_E_USAGE);
    assert_int_equal(write_doc(0, COUNT, "/s", "", 1), SLV_E_USAGE);
    done(0, SET_TEXT, "/t", "ab", 0);
    assert_int_equal(write_doc(0, EDIT, "/t", "x", 3), SLV_E_NOENT);
    assert_int_equal(write_doc(0, EDIT, "/t", "\xff", 0), SLV_E_FORMAT);
    expect(0, "", "{\"a\":{\"b\":[1,2]},\"s\":1,\"t\":\"ab\"}");
    replicas_close();
}

/* Two that do not see each other's writes. */
static void begin(const char *json) {
    replicas_open();
    done(0, SET, "", json, 0);
    meet();
}

static void those_who_write_at_once_lose_nothing(void **state) {
    (void)state;
    begin("{\"o\": {}}"); /* members are merged, of one the later is read */
    done(0, SET, "/o/a", "1", 0);
    done(1, SET, "/o/b", "2", 0);
    done(0, SET, "/o/c", "3", 0);
    done(1, SET, "/o/c", "4", 0);
    expect_all("{\"o\":{\"a\":1,\"b\":2,\"c\":4}}");
    replicas_close();
    replicas_open(); /* also where both begin it */
    done(0, SET, "", "{\"a\": {\"x\": 1}}", 0);
    done(1, SET, "", "{\"a\": {\"y\": 2}}", 0);
    expect_all("{\"a\":{\"x\":1,\"y\":2}}");
    replicas_close();
    begin("{\"o\": {\"a\": 1}}"); /* a removal takes what it saw */
    done(0, REMOVE, "/o", "", 0);
    done(1, SET, "/o/b", "2", 0);
    expect_all("{\"o\":{\"b\":2}}");
    replicas_close();
    begin("{\"o\": {\"a\": 1}}"); /* of an object and what takes its place the later */
    done(1, SET, "/o/b", "2", 0);
    done(0, SET, "/o", "\"gone\"", 0);
    expect_all("{\"o\":\"gone\"}");
    replicas_close();
    begin("{\"o\": {\"a\": 1}}");
    done(0, SET, "/o", "\"gone\"", 0);
    done(1, SET, "/o/b", "2", 0);
    expect_all("{\"o\":{\"b\":2}}");
    replicas_close();
    begin("{\"l\": [0]}"); /* lists: both come, one after the other */
    done(0, INSERT, "/l/1", "1", 0);
    done(1, INSERT, "/l/1", "2", 0);
    done(1, INSERT, "/l/2", "3", 0);
    expect_all("{\"l\":[0,1,2,3]}");
    done(0, REMOVE, "/l/0", "", 0); /* an element that moved, and one that is written to */
    done(1, SET, "/l/3", "{\"x\": 1}", 0);
    done(2, SET, "/l/1", "[]", 0);
    expect_all("{\"l\":[[],2,{\"x\":1}]}");
    replicas_close();
    begin("{\"l\": [1, 2]}"); /* two new lists are not one */
    done(0, SET, "/l", "[3]", 0);
    done(1, SET, "/l", "[4]", 0);
    expect_all("{\"l\":[4]}");
    replicas_close();
    begin("{\"l\": [1, 2]}"); /* into one that is removed */
    done(0, REMOVE, "/l", "", 0);
    done(1, INSERT, "/l/1", "9", 0);
    expect_all("{\"l\":[9]}");
    replicas_close();
    begin("{}"); /* texts and counters */
    done(0, SET_TEXT, "/t", "shared", 0);
    done(0, COUNT, "/n", "", 10);
    meet();
    done(0, EDIT, "/t", "more ", 0);
    done(1, EDIT, "/t", "!", 6);
    done(0, COUNT, "/n", "", 1);
    done(1, COUNT, "/n", "", -4);
    expect_all("{\"n\":7,\"t\":\"more shared!\"}");
    replicas_close();
}

/* --- anything anywhere ------------------------------------------------------------------------ */

static const char *const names[] = {"/a",   "/b",   "/a/x",   "/a/y",   "/b/0",
                                    "/b/1", "/b/-", "/b/0/z", "/a/x/0", ""};
static const char *const values[] = {"1",
                                     "\"s\"",
                                     "{}",
                                     "[]",
                                     "{\"x\":[1,2]}",
                                     "[{\"z\":1},2]",
                                     "null",
                                     "{\"x\":{\"y\":3},\"y\":4}"};

static const char *any_name(void) { return names[rnd(sizeof names / sizeof *names)]; }
static const char *any_value(void) { return values[rnd(sizeof values / sizeof *values)]; }

static bool write_any(size_t who) {
    const uint32_t dice = rnd(20);
    if (dice < 9) return !write_doc(who, SET, any_name(), any_value(), 0);
    if (dice < 12) return !write_doc(who, REMOVE, any_name(), "", 0);
    if (dice < 15) return !write_doc(who, INSERT, any_name(), any_value(), 0);
    if (dice < 16) return !write_doc(who, SET_TEXT, any_name(), "text", 0);
    if (dice < 18) return !write_doc(who, EDIT, any_name(), "XY", (int)rnd(5));
    return !write_doc(who, COUNT, any_name(), "", (int)rnd(9) - 4);
}

static void all_read_the_same_in_the_end(void **state) {
    (void)state;
    struct slv_buf a, b;
    slv_buf_init(&a, 1 << 20);
    slv_buf_init(&b, 1 << 20);
    for (int turn = 0; turn < 150; turn++) {
        replicas_open();
        for (int i = 0; i < 400 && n_history < WRITES; i++) {
            write_any(rnd(REPLICAS));
            for (uint32_t k = rnd(3); k > 0 && n_history; k--)
                replica_give(&replica[rnd(REPLICAS)], rnd((uint32_t)n_history));
        }
        for (size_t i = 0; i < REPLICAS; i++)
            for (size_t k = 0; k < n_history; k++)
                replica_give(&replica[i], (k + 31 * i) % n_history);
        const int rc = read_doc(0, "", &a);
        for (size_t i = 1; i < REPLICAS; i++) {
            assert_int_equal(read_doc(i, "", &b), rc);
            assert_string_equal(a.data, b.data);
        }
        replicas_close();
    }
    slv_buf_fini(&a);
    slv_buf_fini(&b);
}

/* What a set says is what is read there; what is not there, or around it, stays as it was. */
static void a_set_changes_its_place_and_no_other(void **state) {
    (void)state;
    struct slv_buf before[10], b;
    int rc[10];
    slv_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < 10; i++)
        slv_buf_init(&before[i], 1 << 20);
    for (int turn = 0; turn < 400; turn++) {
        replicas_open();
        for (int i = 0; i < 40; i++) {
            write_any(rnd(2));
            if (!rnd(4) && n_history) replica_give(&replica[rnd(2)], rnd((uint32_t)n_history));
        }
        for (size_t i = 0; i < 10; i++)
            rc[i] = read_doc(0, names[i], &before[i]);
        const char *name = any_name(), *value = any_value();
        if (!write_doc(0, SET, name, value, 0)) {
            assert_int_equal(read_doc(0, name, &b), 0);
            assert_string_equal(b.data, value);
            for (size_t i = 0; i < 10; i++) {
                const size_t n = strlen(names[i]) < strlen(name) ? strlen(names[i]) : strlen(name);
                if (!strncmp(names[i], name, n)) continue; /* above or below it */
                assert_int_equal(read_doc(0, names[i], &b), rc[i]);
                if (!rc[i]) assert_string_equal(b.data, before[i].data);
            }
        }
        replicas_close();
    }
    for (size_t i = 0; i < 10; i++)
        slv_buf_fini(&before[i]);
    slv_buf_fini(&b);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_set_is_there),
        cmocka_unit_test(what_cannot_be_done_is_refused),
        cmocka_unit_test(those_who_write_at_once_lose_nothing),
        cmocka_unit_test(all_read_the_same_in_the_end),
        cmocka_unit_test(a_set_changes_its_place_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
