/* test_constraint.c: what holds answers to a JSON Schema, from the bottom up: languages,
 * patterns, sets of numbers, schemas, masks. What a user would lose: an answer that is not
 * valid, a valid one that is refused, or a model that is led to where no token goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/constraint/check.h"
#include "engine/constraint/mask.h"
#include "engine/constraint/regex.h"
#include "format/tokenizer.h"
#include "tiny_vocab.h"

#include <stdio.h>
#include <string.h>

static uint64_t random_state = 1;

static uint32_t draw(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

/* --- languages and patterns ------------------------------------------------------------------- */

static slv_lang compiled(struct slv_langs *p, const char *pattern) {
    struct slv_err e = {0};
    slv_lang l = SLV_LANG_FAIL;
    if (slv_regex_search(p, pattern, strlen(pattern), SLV_REGEX_ECMA, &l, &e))
        fail_msg("%s: %s", pattern, e.msg);
    return l;
}

static bool matches(struct slv_langs *p, slv_lang l, const char *s) {
    return slv_lang_has(p, l, s, strlen(s));
}

static void test_patterns(void **state) {
    static const struct {
        const char *pattern, *in[5], *out[5];
    } rows[] = {
        {"^ab*c$", {"ac", "abbc"}, {"abd", "xac", "a"}},
        {"b", {"b", "abc"}, {"", "ac"}},
        {"^(a|bc){2,3}$", {"aa", "abc", "bcbcbc"}, {"a", "aaaa", "abca "}},
        {"^a.c$",
         {"abc", "a\xc3\xa9"
                 "c"},
         {"a\nc", "ac"}},
        {"^[^a-y]$", {"z", "\xc3\xa9"}, {"b", "zz"}},
        {"^\\d{2}\\D\\w\\W\\s\\S$", {"12x_- a"}, {"1xx_- a", "12xx- _ "}},
        {"^\\u00e9\\x41\\t$",
         {"\xc3\xa9"
          "A\t"},
         {"eA\t"}},
        {"^\\u{1F600}\\ud83d\\ude00$", {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80"}, {"\xf0\x9f\x98\x80"}},
        {"^(?=.*\\d)[a-z0-9]{3}$", {"ab1", "1ab"}, {"abc", "ab12"}},
        {"^(?!no).*$", {"yes", ""}, {"no", "not"}},
        {"^((?!bad).)*$", {"good", "ba"}, {"bad", "a bad b"}},
        {"\\bcat\\b", {"a cat", "cat"}, {"cats", "concat"}},
        {"^(a$|b)", {"a", "bx"}, {"ax", "c"}},
        {"a{,2}", {"a{,2}"}, {"a", "aa"}},
        {"^\\p{Lu}\\P{L}$", {"A1", "\xc3\x89-"}, {"a1", "AB"}},
        {"^[\\w.-]+$", {"a.b-c"}, {"a b", "", "\xc3\xa9"}},
        {"(^a|b$)", {"ax", "xb"}, {"xa", "bx"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_langs *p;
        assert_int_equal(slv_langs_open(&p), 0);
        const slv_lang l = compiled(p, rows[i].pattern);
        for (size_t k = 0; k < 5 && rows[i].in[k]; k++)
            if (!matches(p, l, rows[i].in[k])) fail_msg("%s: %s", rows[i].pattern, rows[i].in[k]);
        for (size_t k = 0; k < 5 && rows[i].out[k]; k++)
            if (matches(p, l, rows[i].out[k]))
                fail_msg("%s: not %s", rows[i].pattern, rows[i].out[k]);
        slv_langs_close(p);
    }
}

/* Repetitions of repetitions: one where their counts leave no gap, and then with one state a count;
 * else as they are. */
static void test_repetitions(void **state) {
    static const struct row {
        const char *nested, *flat; /* NULL: it stays nested */
        uint32_t in[4], out[4];
    } rows[] = {
        {"^((a{1,16}){1,16}){1,16}$", "^a{1,4096}$", {1, 15, 17, 4096}, {0, 0, 4097, 5000}},
        {"^(a{3}){2,4}$", NULL, {6, 9, 12, 6}, {3, 7, 10, 15}},
        {"^(a{2,3}){4}$", "^a{8,12}$", {8, 9, 11, 12}, {0, 4, 7, 13}},
        {"^(a{2,3}){0,4}$", NULL, {0, 2, 3, 12}, {1, 13, 14, 100}},
        {"^(a{2,3}){2,}$", "^a{4,}$", {4, 5, 7, 5000}, {0, 1, 2, 3}},
        {"^(a{0,3}){2,5}$", "^a{0,15}$", {0, 1, 14, 15}, {16, 17, 18, 100}},
        {"^(a{5,}){2,3}$", "^a{10,}$", {10, 11, 14, 5000}, {0, 5, 6, 9}},
        {"^(a{5,}){0,3}$", NULL, {0, 5, 6, 5000}, {1, 2, 3, 4}},
    };
    static char text[5001];
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_langs *p = NULL;
        assert_int_equal(slv_langs_open(&p), 0);
        const slv_lang l = compiled(p, rows[i].nested);
        if (rows[i].flat && compiled(p, rows[i].flat) != l) fail_msg("%s", rows[i].nested);
        for (size_t k = 0; k < 4; k++) {
            if (!slv_lang_has(p, l, text, rows[i].in[k])) fail_msg("%s: in", rows[i].nested);
            if (slv_lang_has(p, l, text, rows[i].out[k]))
                fail_msg("%s: %u", rows[i].nested, rows[i].out[k]);
        }
        slv_langs_close(p);
    }
}

/* A pool that may take so many steps and no more, and can go on when it is allowed more. */
static void test_steps(void **state) {
    (void)state;
    struct slv_langs *p = NULL;
    assert_int_equal(slv_langs_open(&p), 0);
    const slv_lang l = compiled(p, "^(.*a.{20})$");
    const slv_lang other = compiled(p, "^(.*b.{19})$");
    slv_langs_allow(p, 1000);
    const slv_lang both = slv_lang_and(p, l, slv_lang_not(p, other));
    assert_true(slv_lang_count(p, both, SIZE_MAX) < SIZE_MAX);
    assert_true(slv_langs_is_spent(p));
    assert_int_equal(slv_langs_status(p), SLV_E_LIMIT);
    slv_langs_allow(p, SLV_LANG_NO_BOUND);
    assert_int_equal(slv_langs_status(p), 0);
    assert_true(slv_lang_has(p, both, "xa01234567890123456789", 22));
    slv_langs_close(p);
}

static void test_patterns_refused(void **state) {
    static const struct {
        const char *pattern;
        int code;
    } rows[] = {{"(a", SLV_E_FORMAT},          {"a)", SLV_E_FORMAT},
                {"[b-a]", SLV_E_FORMAT},       {"*", SLV_E_FORMAT},
                {"a{2,1}", SLV_E_FORMAT},      {"\\", SLV_E_FORMAT},
                {"(a)\\1", SLV_E_UNSUPPORTED}, {"(?<=a)b", SLV_E_UNSUPPORTED},
                {"(?i)a", SLV_E_UNSUPPORTED},  {"\\p{Script=Greek}", SLV_E_UNSUPPORTED},
                {"a{1000001}", SLV_E_LIMIT},   {"((a$|b)+c)*", SLV_E_UNSUPPORTED}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_langs *p;
        struct slv_err e = {0};
        slv_lang l;
        assert_int_equal(slv_langs_open(&p), 0);
        const int rc =
            slv_regex_search(p, rows[i].pattern, strlen(rows[i].pattern), SLV_REGEX_ECMA, &l, &e);
        if (rc != rows[i].code || !e.msg[0]) fail_msg("%s: %d %s", rows[i].pattern, rc, e.msg);
        slv_langs_close(p);
    }
}

/* An expression that would have 2^30 states is walked as far as it must, and no further. */
static void test_languages(void **state) {
    struct slv_langs *p;
    (void)state;
    assert_int_equal(slv_langs_open(&p), 0);
    const slv_lang a = compiled(p, "^[ab]*a[ab]{30}$"), b = compiled(p, "^b*$");
    assert_true(slv_lang_is_none(p, slv_lang_and(p, a, b)));
    assert_true(slv_lang_is_none(p, slv_lang_and(p, a, slv_lang_not(p, a))));
    assert_int_equal(slv_lang_count(p, compiled(p, "^[ab]{0,3}$"), 100), 15);
    assert_int_equal(slv_lang_count(p, compiled(p, "^a*$"), 100), 100);
    assert_true(slv_lang_boundless(p, SLV_LANG_ANY, 8));
    assert_true(slv_lang_boundless(p, compiled(p, "^x-"), 8));
    assert_false(slv_lang_boundless(p, compiled(p, "^(x|y.*)$"), 8));
    const struct slv_lengths l = slv_lang_lengths(p, compiled(p, "^[a-z]{2,5}$"));
    assert_true(l.dense && l.min == 2 && l.max == 5);
    assert_false(slv_lang_lengths(p, compiled(p, "^(ab)*$")).dense);
    static const struct slv_word words[] = {{"ab", 2}, {"abc", 3}, {"\xc3\xa9", 2}, {"ab", 2}};
    const slv_lang w = slv_lang_words(p, words, 4);
    assert_int_equal(slv_lang_count(p, w, 100), 3);
    assert_true(matches(p, w, "abc") && matches(p, w, "\xc3\xa9") && !matches(p, w, "a"));
    assert_int_equal(slv_lang_count(p, slv_lang_and(p, w, compiled(p, "^a")), 9), 2);
    /* No string has a surrogate: what is left of such a pattern has none. */
    assert_true(slv_lang_is_none(p, compiled(p, "^a\\ude00$")));
    assert_true(slv_lang_is_none(p, compiled(p, "^a[]$")));
    const slv_lang ok = compiled(p, "^[^\\ud800-\\udfff]*$");
    assert_true(slv_lang_is_none(p, slv_lang_not(p, ok)));
    assert_true(matches(p, ok, "a\xee\x80\x80") && !slv_lang_is_none(p, ok));
    assert_int_equal(slv_lang_count(p, compiled(p, "^[\\ud7ff-\\ue000]$"), 99), 2);
    assert_int_equal(slv_langs_status(p), 0);
    slv_langs_close(p);
}

/* --- numbers ---------------------------------------------------------------------------------- */

#define HUNDREDTH (SLV_DECIMAL_ONE / 100)

/* Every text of up to four letters: taken if and only if it begins a number of the set, and may
 * end there if and only if it is one. All numbers of these sets have two decimals and less than
 * three digits. */
static void check_texts(const struct slv_numbers *set, char *s, size_t n, struct slv_number at) {
    for (const char *c = "-0123456789."; *c && n < 5; c++) {
        struct slv_number next = at;
        if (n >= 3 && s[n - 3] == '.') return; /* two decimals are enough */
        if (!slv_number_step(set, &next, *c, SLV_NUMBER_WRITE)) continue;
        s[n] = *c;
        s[n + 1] = 0;
        bool begins = false;
        char text[16];
        for (int v = -9999; v <= 9999 && !begins; v++) {
            if (!slv_numbers_has(set, (slv_decimal)v * HUNDREDTH)) continue;
            for (int digits = v % 100 == 0  ? 0
                              : v % 10 == 0 ? 1
                                            : 2;
                 digits <= 2 && !begins; digits++) {
                snprintf(text, sizeof text, "%.*f", digits, v / 100.0);
                begins = !strncmp(text, s, n + 1);
            }
        }
        if (!begins) fail_msg("%s goes on with nothing", s);
        const bool number = s[n] != '-' && s[n] != '.';
        const bool is =
            number && slv_numbers_has(set, (slv_decimal)(atof(s) * 100 + (s[0] == '-' ? -.5 : .5)) *
                                               HUNDREDTH);
        if (is != slv_number_done(set, &next, SLV_NUMBER_WRITE)) fail_msg("%s is %d", s, is);
        check_texts(set, s, n + 1, next);
    }
}

static void test_numbers(void **state) {
    struct slv_arena a;
    char s[8];
    (void)state;
    slv_arena_init(&a, (size_t)1 << 20);
    const slv_decimal one = SLV_DECIMAL_ONE;
    const struct slv_numbers *small = slv_numbers_range(&a, -12 * one, 30 * one);
    const struct slv_numbers *sets[] = {
        slv_numbers_and(&a, small, slv_numbers_multiples(&a, one)),
        slv_numbers_and(&a, small, slv_numbers_multiples(&a, one / 4)),
        slv_numbers_and(&a, slv_numbers_range(&a, one / 20, one),
                        slv_numbers_multiples(&a, one / 20)),
        slv_numbers_and(&a, small, slv_numbers_multiples(&a, 7 * one)),
        slv_numbers_and(&a, slv_numbers_and(&a, small, slv_numbers_multiples(&a, one)),
                        slv_numbers_not(&a, slv_numbers_multiples(&a, 2 * one))),
        slv_numbers_or(&a, slv_numbers_range(&a, 5 * one, 5 * one),
                       slv_numbers_and(&a, slv_numbers_range(&a, -99 * one, -97 * one),
                                       slv_numbers_multiples(&a, one / 2))),
        slv_numbers_and(&a, slv_numbers_multiples(&a, 15 * one),
                        slv_numbers_and(&a, small, slv_numbers_multiples(&a, 10 * one))),
        &slv_numbers_none,
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        check_texts(sets[i], s, 0, (struct slv_number){0});
    assert_true(slv_numbers_not(&a, &slv_numbers_none)->free);
    assert_int_equal(slv_numbers_count(sets[3], 100), 6); /* -7 to 28 */
    slv_arena_fini(&a);
}

static void test_decimals(void **state) {
    static const struct {
        const char *text;
        bool up, exact;
        double is;
    } rows[] = {{"1", false, true, 1},
                {"-0.25", false, true, -0.25},
                {"1e3", true, true, 1000},
                {"12.50e-1", true, true, 1.25},
                {"1e-20", false, false, 0},
                {"1e-20", true, false, 1e-16},
                {"-1e-20", false, false, -1e-16},
                {"1e300", true, false, 1e21}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slv_decimal v;
        bool exact;
        assert_true(slv_decimal_read(rows[i].text, strlen(rows[i].text), rows[i].up, &v, &exact));
        assert_int_equal(exact, rows[i].exact);
        if ((double)v / 1e16 != rows[i].is) fail_msg("%s: %g", rows[i].text, (double)v / 1e16);
    }
    slv_decimal v;
    bool exact;
    assert_false(slv_decimal_read("x", 1, false, &v, &exact));
    assert_false(slv_decimal_read("1e", 2, false, &v, &exact));
}

/* --- schemas ---------------------------------------------------------------------------------- */

static struct slv_schema *schema_of(const char *text) {
    struct slv_err e = {0};
    struct slv_schema *s = NULL;
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    if (slv_schema_open(text, strlen(text), &o, &s, NULL, &e)) fail_msg("%s: %s", text, e.msg);
    return s;
}

static bool accepts(const char *schema, const char *value) {
    struct slv_schema *s = schema_of(schema);
    struct slv_matcher *m;
    bool r = false;
    assert_int_equal(slv_matcher_open(s, SLV_MATCH_READ, &m), 0);
    json_t *j = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    assert_int_equal(slv_schema_accepts(m, j, &r, NULL), 0);
    json_decref(j);
    slv_matcher_close(m);
    slv_schema_close(s);
    return r;
}

static void test_values(void **state) {
    static const struct {
        const char *schema, *in[6], *out[6];
    } rows[] = {
        {"{\"type\":\"integer\"}", {"1", "1.0", "-3", "1e3"}, {"1.5", "\"1\"", "null"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":2}",
         {"\"\\u00e9\\ud83d\\ude00\""},
         {"\"a\"", "\"abc\""}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"b\"]}",
         {"{\"b\":1,\"a\":null}", "3"},
         {"{\"a\":null}", "{\"a\":1,\"b\":2}"}},
        {"{\"minimum\":0.1,\"exclusiveMaximum\":0.3}",
         {"0.1", "0.2", "0.29999999999999993"},
         {"0.3", "0.09999"}},
        {"{\"multipleOf\":0.05}", {"0.15", "5", "-0.1"}, {"0.07", "0.05000000000000001"}},
        {"{\"type\":\"array\",\"uniqueItems\":true}",
         {"[1,2]", "[{\"a\":1},{\"b\":1}]", "[0,false]"},
         {"[1,1]", "[1,1.0]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]"}},
        {"{\"not\":{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]}}",
         {"{\"a\":\"x\"}", "{}"},
         {"{\"a\":3}", "1"}},
        {"{\"const\":{\"a\":[1,null]}}",
         {"{\"a\":[1.0,null]}"},
         {"{\"a\":[1]}", "{\"a\":[1,null],\"b\":1}"}},
        {"{\"not\":{\"enum\":[1,\"a\",null,[2]]}}",
         {"2", "\"b\"", "[]", "{}"},
         {"1", "\"a\"", "null", "[2]"}},
        {"{\"enum\":[9007199254740993]}",
         {"9007199254740993"},
         {"9007199254740992", "9007199254740994"}},
        {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\"$ref\":\"#/definitions/a\","
         "\"maximum\":1,\"definitions\":{\"a\":{\"type\":\"integer\"}}}",
         {"5"},
         {"\"x\""}},
        {"{\"items\":{\"$dynamicRef\":\"#x\"},\"$defs\":{\"a\":{\"$dynamicAnchor\":\"x\",\"type\":"
         "\"null\"}}}",
         {"[null]", "[]"},
         {"[1]"}},
        {"{\"$ref\":\"#/$defs/a\",\"maximum\":1,\"$defs\":{\"a\":{\"type\":\"integer\"}}}",
         {"1"},
         {"5"}},
        {"{\"properties\":{\"a~b/c%\":{\"$ref\":\"#/$defs/x~1y~0z%25\"}},\"$defs\":{\"x/"
         "y~z%\":{\"type\":\"null\"}}}",
         {"{\"a~b/c%\":null}"},
         {"{\"a~b/c%\":1}"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t k = 0; k < 6 && rows[i].in[k]; k++)
            if (!accepts(rows[i].schema, rows[i].in[k]))
                fail_msg("%s: %s", rows[i].schema, rows[i].in[k]);
        for (size_t k = 0; k < 6 && rows[i].out[k]; k++)
            if (accepts(rows[i].schema, rows[i].out[k]))
                fail_msg("%s: not %s", rows[i].schema, rows[i].out[k]);
    }
}

/* What is not enforced is refused, with the keyword and where it is. */
static void test_refused(void **state) {
    static const struct {
        const char *schema;
        int code;
        const char *keyword, *pointer;
    } rows[] = {
        {"{\"properties\":{\"a/b\":{\"not\":{\"uniqueItems\":true}}}}", SLV_E_UNSUPPORTED,
         "uniqueItems", "/properties/a~1b/not/uniqueItems"},
        {"{\"items\":{\"pattern\":\"(a)\\\\1\"}}", SLV_E_UNSUPPORTED, "pattern", "/items/pattern"},
        {"{\"items\":{\"pattern\":\"^((ab?){1,1000}c){1,1000}$\"}}", SLV_E_LIMIT,
         "\"pattern\": its repetitions multiply", "/items/pattern"},
        {"{\"patternProperties\":{\"a.{9}$\":true,\"b.{11}$\":false,\"c.{13}$\":true,"
         "\"d.{15}$\":false},\"additionalProperties\":false}",
         SLV_E_LIMIT, "\"patternProperties\": too many steps", "/patternProperties"},
        {"{\"anyOf\":[true,{\"type\":\"strnig\"}]}", SLV_E_FORMAT, "type", "/anyOf/1/type"},
        {"{\"$ref\":\"https://example.org/other\"}", SLV_E_UNSUPPORTED, "outside", "/$ref"},
        {"{\"$ref\":\"#/$defs/none\"}", SLV_E_FORMAT, "nowhere", "/$ref"},
        {"{\"$ref\":\"#\"}", SLV_E_UNSUPPORTED, "refers to itself", ""},
        {"{\"items\":{\"$dynamicRef\":\"#x\"},\"$defs\":{\"a\":{\"$dynamicAnchor\":\"x\"},"
         "\"b\":{\"$id\":\"b\",\"$dynamicAnchor\":\"x\"}}}",
         SLV_E_UNSUPPORTED, "several", "/items/$dynamicRef"},
        {"{\"$schema\":\"https://json-schema.org/draft/2019-09/schema\",\"$recursiveAnchor\":true,"
         "\"items\":{\"$id\":\"b\",\"items\":{\"$recursiveRef\":\"#\"}}}",
         SLV_E_UNSUPPORTED, "several", "/items/items/$recursiveRef"},
        {"{\"required\":true}", SLV_E_FORMAT, "required", "/required"},
        {"{\"minLength\":-1}", SLV_E_FORMAT, "minLength", "/minLength"},
        {"{\"multipleOf\":1e-20}", SLV_E_UNSUPPORTED, "multipleOf", "/multipleOf"},
        {"{\"a\":1,\"a\":2}", SLV_E_FORMAT, "duplicate", ""},
        {"{\"maximum\":123456789012345678901}", SLV_E_UNSUPPORTED, "64 bits", ""},
        {"[]", SLV_E_FORMAT, "a schema is", ""},
        {"{", SLV_E_FORMAT, "line 1", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_err e = {0};
        struct slv_schema *s = NULL;
        char at[SLV_SCHEMA_POINTER_MAX];
        const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
        const int rc = slv_schema_open(rows[i].schema, strlen(rows[i].schema), &o, &s, at, &e);
        if (rc != rows[i].code || !strstr(e.msg, rows[i].keyword) ||
            strcmp(at, rows[i].pointer) != 0)
            fail_msg("%s: %d %s at '%s'", rows[i].schema, rc, e.msg, at);
    }
}

static void test_no_value(void **state) {
    static const char *const schemas[] = {
        "false",
        "{\"type\":\"string\",\"enum\":[1,2]}",
        "{\"type\":\"integer\",\"minimum\":3,\"maximum\":4,\"multipleOf\":5}",
        "{\"$ref\":\"#/$defs/"
        "a\",\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":"
        "\"#/$defs/a\"}},\"required\":[\"a\"]}}}",
        "{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3,\"maxLength\":3}",
        "{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]},\"minProperties\":3}",
        "{\"type\":\"array\",\"items\":false,\"contains\":true}",
        "{\"allOf\":[{\"type\":\"string\"},{\"not\":{\"type\":\"string\"}}]}"};
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        struct slv_schema *s = schema_of(schemas[i]);
        if (slv_schema_has_values(s)) fail_msg("%s", schemas[i]);
        slv_schema_close(s);
    }
}

/* A bound on an answer's length is one, and there is none where there is none. */
static void test_longest(void **state) {
    static const struct {
        const char *schema;
        size_t longest;
    } rows[] = {
        {"{\"type\":\"boolean\"}", 5},
        {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}", 4},
        {"{\"type\":\"string\",\"maxLength\":3}", 20},
        {"{\"enum\":[\"a\",null]}", 8},
        {"{\"type\":\"array\",\"items\":{\"const\":true},\"maxItems\":3}", 17},
        {"{\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":false,\"type\":"
         "\"object\"}",
         11},
        {"{\"type\":\"string\"}", SIZE_MAX},
        {"{\"type\":\"object\"}", SIZE_MAX},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/"
         "$defs/a\"},"
         "\"maxItems\":1}}}",
         SIZE_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slv_schema *s = schema_of(rows[i].schema);
        if (slv_schema_longest(s) != rows[i].longest)
            fail_msg("%s: %zu", rows[i].schema, slv_schema_longest(s));
        slv_schema_close(s);
    }
}

/* --- masks ------------------------------------------------------------------------------------ */

static struct slv_gguf *vocab_file;
static struct tiny vocab;
static struct slv_tokenizer *tokenizer;
static struct slv_lexicon *lexicon;
static struct slv_free_text *free_text;

/* Beside the bytes pieces of JSON, so that many tokens cross the ends of strings; _ is a space. */
static const char *const pieces[] = {"<unk>",
                                     "<s>",
                                     "</s>",
                                     "\",\"",
                                     "\":\"",
                                     "\":",
                                     "{\"",
                                     "\"}",
                                     "\"]",
                                     "[\"",
                                     "\",",
                                     "]}",
                                     "}}",
                                     "},{\"",
                                     "},",
                                     "null",
                                     "true",
                                     "false",
                                     "ab",
                                     "abc",
                                     "bc",
                                     "the",
                                     "\xe2\x96\x81the",
                                     "x\"",
                                     "ab\"",
                                     "ab\",\"",
                                     "k1\":",
                                     "k1",
                                     "\"a\":1",
                                     "a\":",
                                     "12",
                                     "123",
                                     "00",
                                     "0.5",
                                     ".5",
                                     "-1",
                                     "1,",
                                     "1]",
                                     "2,3",
                                     "\\n",
                                     "\\\"",
                                     "\xc3\xa9\"",
                                     "\xc3\xa9",
                                     "2024-0",
                                     "-01",
                                     "T00",
                                     "foo",
                                     "1}",
                                     "\"b\":\"y\"",
                                     "]",
                                     "[]",
                                     "{}",
                                     "[{\"",
                                     "aaaaaaaaaaaaaaaa",
                                     "dog\"",
                                     "\"k\":\"",
                                     "cat\",\"lives\":"};
#define N_PIECES (sizeof pieces / sizeof pieces[0])

static int open_vocabulary(void **state) {
    char c[8];
    struct slv_err e;
    (void)state;
    tiny_begin(&vocab);
    tiny_str(&vocab, "tokenizer.ggml.model", "llama");
    tiny_array(&vocab, "tokenizer.ggml.tokens", SLV_GGUF_STR, 256 + N_PIECES);
    for (unsigned b = 0; b < 256; b++)
        tiny_item(&vocab, c, (size_t)snprintf(c, sizeof c, "<0x%02X>", b));
    for (size_t i = 0; i < N_PIECES; i++)
        tiny_item(&vocab, pieces[i], strlen(pieces[i]));
    tiny_array(&vocab, "tokenizer.ggml.token_type", SLV_GGUF_I32, 256 + N_PIECES);
    for (uint32_t i = 0; i < 256 + N_PIECES; i++) {
        const uint32_t type = i < 256 ? 6 : i == 256 ? 2 : i < 259 ? 3 : 1;
        (void)slv_buf_add(&vocab.out, &type, sizeof type);
    }
    tiny_array(&vocab, "tokenizer.ggml.scores", SLV_GGUF_F32, 256 + N_PIECES);
    for (uint32_t i = 0; i < 256 + N_PIECES; i++) {
        const float score = -(float)i;
        (void)slv_buf_add(&vocab.out, &score, sizeof score);
    }
    tiny_u32(&vocab, "tokenizer.ggml.unknown_token_id", 256);
    tiny_u32(&vocab, "tokenizer.ggml.bos_token_id", 257);
    tiny_u32(&vocab, "tokenizer.ggml.eos_token_id", 258);
    tiny_end(&vocab);
    if (slv_gguf_parse(vocab.out.data, vocab.out.len, &vocab_file, &e)) return -1;
    if (slv_tokenizer_open(vocab_file, &tokenizer, &e)) return -1;
    return slv_lexicon_open(tokenizer, &lexicon, &e) || slv_free_text_open(lexicon, &free_text);
}

static int close_vocabulary(void **state) {
    (void)state;
    slv_free_text_close(free_text);
    slv_lexicon_close(lexicon);
    slv_tokenizer_close(tokenizer);
    slv_gguf_close(vocab_file);
    slv_buf_fini(&vocab.out);
    return 0;
}

/* The bytes of a token; none for those that are no text. */
static size_t bytes_of(int32_t id, struct slv_buf *b) {
    slv_buf_clear(b);
    assert_int_equal(slv_token_bytes(tokenizer, id, false, false, b), 0);
    return b->len;
}

static bool taken_whole(struct slv_matcher *m, const struct slv_buf *b) {
    const struct slv_mark mark = slv_matcher_mark(m);
    size_t n = 0;
    while (n < b->len && slv_matcher_try(m, (unsigned char)b->data[n]))
        n++;
    slv_matcher_rewind(m, &mark);
    return n == b->len;
}

/* A mask has exactly the tokens whose bytes are taken one after the other; one of them is
 * returned. */
static int32_t check_mask(struct slv_masks *z, struct slv_matcher *m, const char *schema) {
    static uint64_t bits[(256 + N_PIECES + 63) / 64];
    struct slv_buf b;
    int32_t chosen = -1;
    uint32_t n = 0;
    slv_buf_init(&b, 256);
    assert_int_equal(slv_mask_next(z, m, bits), 0);
    for (int32_t id = 0; id < (int32_t)(256 + N_PIECES); id++) {
        const bool is = bytes_of(id, &b) && taken_whole(m, &b);
        if (is != (bits[id / 64] >> (id % 64) & 1))
            fail_msg("%s: token %d '%s' is %s the mask", schema, id, b.data, is ? "not in" : "in");
        const uint32_t weight = id >= 256 ? 4 : 1;
        n += is ? weight : 0;
        if (is && draw(n) < weight) chosen = id;
    }
    slv_buf_fini(&b);
    return chosen;
}

/* Walks along random tokens: masks are exact, and no way is without an end. */
static void walk(const char *schema) {
    struct slv_schema *s = schema_of(schema);
    struct slv_masks *z;
    struct slv_matcher *m;
    struct slv_buf b;
    if (!slv_schema_has_values(s)) {
        slv_schema_close(s);
        return;
    }
    slv_buf_init(&b, 256);
    assert_int_equal(slv_masks_open(free_text, s, &z), 0);
    assert_int_equal(slv_matcher_open(s, 0, &m), 0);
    for (int round = 0; round < 4; round++) {
        slv_matcher_reset(m);
        for (int i = 0; i < 40; i++) {
            const int32_t id = check_mask(z, m, schema);
            if (id < 0 && !slv_matcher_done(m)) fail_msg("%s: no token goes on", schema);
            if (id < 0) break;
            const size_t n = bytes_of(id, &b);
            assert_int_equal(slv_matcher_feed(m, b.data, n), n);
        }
    }
    slv_matcher_close(m);
    slv_masks_close(z);
    slv_schema_close(s);
    slv_buf_fini(&b);
}

static void each_schema(void (*f)(const char *schema)) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *in = fopen(SCHEMAS, "r");
    assert_non_null(in);
    while ((n = getline(&line, &cap, in)) > 0) {
        line[n - 1] = 0;
        f(line);
    }
    free(line);
    fclose(in);
}

static void test_masks(void **state) {
    (void)state;
    each_schema(walk);
}

static void test_forced(void **state) {
    char out[64];
    size_t n;
    struct slv_schema *s =
        schema_of("{\"type\":\"object\",\"properties\":{\"name\":{\"enum\":[\"abc\",\"abd\"]},"
                  "\"n\":{\"const\":7}},"
                  "\"required\":[\"name\",\"n\"],\"additionalProperties\":false}");
    struct slv_matcher *m;
    (void)state;
    assert_int_equal(slv_matcher_open(s, 0, &m), 0);
    assert_int_equal(slv_mask_forced(m, out, sizeof out, &n), 0);
    assert_int_equal(n, strlen("{\"name\":\"ab"));
    assert_memory_equal(out, "{\"name\":\"ab", n);
    assert_int_equal(slv_matcher_feed(m, "{\"name\":\"abd", 12), 12);
    assert_int_equal(slv_mask_forced(m, out, sizeof out, &n), 0);
    assert_memory_equal(out, "\",\"n\":7}", n);
    assert_int_equal(n, 8);
    assert_int_equal(slv_matcher_feed(m, out, n), n);
    assert_true(slv_matcher_done(m));
    slv_matcher_close(m);
    slv_schema_close(s);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Fails as if memory were out, or gives what it gives otherwise: how much of an object's beginning
 * fits. */
static bool all_of_it(const char *schema, size_t *ret_taken) {
    struct slv_schema *s = NULL;
    struct slv_matcher *m = NULL;
    struct slv_masks *z = NULL;
    struct slv_err e = {0};
    static uint64_t bits[(256 + N_PIECES + 63) / 64];
    const struct slv_schema_options o = SLV_SCHEMA_WRITTEN;
    *ret_taken = 0;
    int rc = slv_schema_open(schema, strlen(schema), &o, &s, NULL, &e);
    if (!rc) rc = slv_matcher_open(s, 0, &m);
    if (!rc) rc = slv_masks_open(free_text, s, &z);
    if (!rc) rc = slv_mask_next(z, m, bits);
    if (!rc) *ret_taken = slv_matcher_feed(m, "{\"a", 3);
    if (!rc) rc = slv_matcher_status(m);
    slv_masks_close(z);
    slv_matcher_close(m);
    slv_schema_close(s);
    if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT) fail_msg("%s: %d %s", schema, rc, e.msg);
    return rc == 0;
}

static void fail_each(const char *schema) {
    size_t taken, same;
    const uint64_t before = slv_mem_count();
    assert_true(all_of_it(schema, &taken));
    const uint64_t n = slv_mem_count() - before;
    for (uint64_t k = 1; k <= n; k++) {
        slv_mem_fail_at(k);
        const bool ok = all_of_it(schema, &same);
        slv_mem_fail_at(0);
        if (ok && same != taken)
            fail_msg("%s: another answer after allocation %llu", schema, (unsigned long long)k);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    each_schema(fail_each);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),    cmocka_unit_test(test_patterns_refused),
        cmocka_unit_test(test_repetitions), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_languages),   cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_no_value),
        cmocka_unit_test(test_longest),     cmocka_unit_test(test_masks),
        cmocka_unit_test(test_forced),      cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
