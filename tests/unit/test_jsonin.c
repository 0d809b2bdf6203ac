/* test_jsonin.c: JSON from a stranger is read as others read it, or refused with the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/jsonin.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

static struct slv_json_doc doc;

static struct slv_json_val read_ok(const char *text) {
    struct slv_err e = {0};
    slv_json_doc_fini(&doc);
    if (slv_json_read(text, strlen(text), &doc, &e)) fail_msg("%s: %s", text, e.msg);
    return slv_json_root(&doc);
}

static void refused(const char *text, size_t n, int code, const char *why) {
    struct slv_json_doc d = {0};
    struct slv_err e = {0};
    char *exact = malloc(n ? n : 1); /* a sanitizer sees what is read behind it */
    assert_non_null(exact);
    memcpy(exact, text, n);
    int rc = slv_json_read(exact, n, &d, &e);
    free(exact);
    if (rc != code || !strstr(e.msg, why)) fail_msg("%.*s: %d, '%s'", (int)n, text, rc, e.msg);
}

static bool is_str(struct slv_json_val v, const char *want, size_t n) {
    struct slv_str s;
    return slv_json_get_str(v, &s) && s.n == n && !memcmp(s.p, want, n);
}

static void values_are_found(void **state) {
    (void)state;
    struct slv_json_val v = read_ok(" {\"a\": [1, \"x\", {}], \"b\": null, \"c\": {\"d\": true},"
                                    "\"e\": -12.5e1, \"a b\": false} \n"),
                        at;
    struct slv_json_iter it = {0};
    struct slv_str name;
    int64_t i;
    double f;
    bool b;
    assert_int_equal(slv_json_count(v), 5);
    assert_int_equal(slv_json_count(slv_json_get(v, "a")), 3);
    assert_int_equal(slv_json_kind(slv_json_get(v, "b")), SLV_JSON_NULL);
    assert_true(slv_json_get_bool(slv_json_get(slv_json_get(v, "c"), "d"), &b) && b);
    assert_true(slv_json_get_bool(slv_json_get(v, "a b"), &b) && !b);
    assert_true(slv_json_get_f64(slv_json_get(v, "e"), &f) && f == -125.0);
    assert_false(slv_json_get_i64(slv_json_get(v, "e"), &i));
    assert_true(slv_json_each(slv_json_get(v, "a"), &it, &name, &at) && name.n == 0);
    assert_true(slv_json_get_i64(at, &i) && i == 1);
    assert_true(slv_json_each(slv_json_get(v, "a"), &it, NULL, &at) && is_str(at, "x", 1));
    assert_true(slv_json_each(slv_json_get(v, "a"), &it, NULL, &at));
    assert_int_equal(slv_json_kind(at), SLV_JSON_OBJECT);
    assert_false(slv_json_each(slv_json_get(v, "a"), &it, NULL, &at));
}

static void what_is_not_there_is_nothing(void **state) {
    (void)state;
    struct slv_json_val v = read_ok("{\"a\": 1}"), none = slv_json_get(v, "b"), at;
    struct slv_json_iter it = {0};
    struct slv_str s;
    double f;
    assert_int_equal(slv_json_kind(none), SLV_JSON_NONE);
    assert_int_equal(slv_json_kind(slv_json_get(slv_json_get(none, "x"), "y")), SLV_JSON_NONE);
    assert_int_equal(slv_json_count(none), 0);
    assert_false(slv_json_get_str(none, &s) || slv_json_get_f64(none, &f));
    assert_false(slv_json_each(slv_json_get(v, "a"), &it, NULL, &at));
}

static void of_a_name_that_is_there_twice_the_last_counts(void **state) {
    (void)state;
    int64_t i;
    struct slv_json_val v = read_ok("{\"a\": 1, \"b\": [1, {\"a\": 7}], \"a\": 2}");
    assert_true(slv_json_get_i64(slv_json_get(v, "a"), &i) && i == 2);
}

static void strings_are_decoded(void **state) {
    (void)state;
    struct slv_json_val v =
        read_ok("[\"\", \"\\u0041\\n\\\"\\\\\\/\", \"\\ud83d\\ude00\", \"\\ud83dx\", \"\\udc00\","
                "\"a\\u0000b\", \"\xc3\xa9\\t\", \"plain \xf0\x9f\x98\x80\"]");
    static const struct {
        const char *want;
        size_t n;
    } rows[] = {{"", 0},
                {"A\n\"\\/", 5},
                {"\xf0\x9f\x98\x80", 4},
                {"\xef\xbf\xbdx", 4},
                {"\xef\xbf\xbd", 3},
                {"a\0b", 3},
                {"\xc3\xa9\t", 3},
                {"plain \xf0\x9f\x98\x80", 10}};
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(slv_json_each(v, &it, NULL, &at));
        if (!is_str(at, rows[i].want, rows[i].n)) fail_msg("string %zu", i);
    }
    assert_false(slv_json_each(v, &it, NULL, &at));
}

static void numbers_are_what_they_say(void **state) {
    (void)state;
    int64_t i = 0;
    double f = 0;
    assert_true(slv_json_get_i64(read_ok("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(slv_json_get_i64(read_ok("9223372036854775808"), &i));
    assert_true(slv_json_get_f64(read_ok("9223372036854775808"), &f) && f == 0x1p63);
    assert_true(slv_json_get_f64(read_ok("1e400"), &f) && isinf(f));
    assert_true(slv_json_get_f64(read_ok("1e-12"), &f) && f == 1e-12);
    char many[201];
    memset(many, '1', 200);
    many[200] = 0;
    assert_false(slv_json_get_f64(read_ok(many), &f));
}

static void malformed_text_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {{"", "not a value"},
                {"  ", "not a value"},
                {"[1", "a ',' or the end"},
                {"[1,]", "not a value"},
                {"[1 2]", "a ',' or the end"},
                {"{\"a\"}", "a ':' is missing"},
                {"{\"a\":}", "not a value"},
                {"{a:1}", "a name is missing"},
                {"{\"a\":1,}", "a name is missing"},
                {"\"abc", "does not end"},
                {"\"abc\\", "does not end"},
                {"\"\\u12", "broken \\u"},
                {"\"\\x\"", "unknown escape"},
                {"\"a\nb\"", "control character"},
                {"\"\\n\nb\"", "control character"},
                {"01", "not a value"},
                {"-", "not a value"},
                {"1.", "without digits"},
                {"1e", "without digits"},
                {"tru", "not a value"},
                {"nullx", "something follows"},
                {"1 1", "something follows"},
                {"\"\xff\"", "not UTF-8"},
                {"]", "not a value"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refused(rows[i].text, strlen(rows[i].text), SLV_E_FORMAT, rows[i].why);
    refused("\"a\0b\"", 5, SLV_E_FORMAT, "control character");
    refused("\0", 1, SLV_E_FORMAT, "not a value");
}

static void depth_has_a_limit(void **state) {
    (void)state;
    char text[4 * SLV_JSON_MAX_DEPTH];
    const size_t deep = SLV_JSON_MAX_DEPTH;
    memset(text, '[', deep);
    memset(text + deep, ']', deep);
    text[2 * deep] = 0;
    read_ok(text);
    memset(text, '[', sizeof text);
    refused(text, sizeof text, SLV_E_LIMIT, "nested");
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char text[] = "{\"a\": [1, 2, 3, \"\\u00e9\\u00e9\\u00e9\"], \"b\": "
                               "[[], [], [], [], [], [], [], [], [], []]}";
    for (uint64_t k = 1;; k++) {
        struct slv_json_doc d = {0};
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(k);
        int rc = slv_json_read(text, sizeof text - 1, &d, NULL);
        slv_mem_fail_at(0);
        const bool done = slv_mem_count() - before < k;
        assert_int_equal(rc, done ? 0 : SLV_E_NOMEM);
        if (done) assert_int_equal(slv_json_count(slv_json_get(slv_json_root(&d), "b")), 10);
        slv_json_doc_fini(&d);
        if (done) break;
    }
}

static int tear_down(void **state) {
    (void)state;
    slv_json_doc_fini(&doc);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found),
        cmocka_unit_test(what_is_not_there_is_nothing),
        cmocka_unit_test(of_a_name_that_is_there_twice_the_last_counts),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(numbers_are_what_they_say),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
