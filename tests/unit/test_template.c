/* test_template.c: a conversation must reach the model in the very form it was trained on, and a
 * hostile template must cost nothing but an error.
 *
 * The table of templates and of what Jinja2 makes of them is data/template/cases.jsonl, written by
 * golden/make_template_cases.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/sanitize.h"
#include "format/template_impl.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Seconds. What is stopped ends in about one, far less than this however slow the machine; what is
 * not stopped would go on for hours. */
#define ENOUGH 30

static uint64_t fixed(void *ctx) {
    (void)ctx;
    return UINT64_C(1753536896000000000); /* make_templates.NOW */
}

static const struct slv_clock still = {.mono_ns = fixed, .wall_ns = fixed};

/* Renders text with the names of a JSON object (NULL: none). */
static int render(const char *text, size_t n, const char *json, struct slv_buf *out,
                  struct slv_err *err) {
    struct slv_template *t;
    struct slv_scope *s;
    struct slv_value *v;
    int rc = slv_template_compile(text, n, &t, err);
    if (rc) return rc;
    rc = slv_scope_open((size_t)1 << 24, &still, &s);
    if (rc) {
        slv_template_free(t);
        return rc;
    }
    if (json) rc = slv_value_parse(s, json, strlen(json), &v, err);
    if (!rc && json) rc = slv_scope_set_all(s, v);
    if (!rc) rc = slv_template_render(t, s, out, err);
    slv_scope_close(s);
    slv_template_free(t);
    return rc;
}

static void check(const char *text, const char *json, const char *want) {
    struct slv_buf out;
    struct slv_err err = {0};
    slv_buf_init(&out, (size_t)1 << 24);
    int rc = render(text, strlen(text), json, &out, &err);
    if (rc) print_error("%s\n  %s\n", text, err.msg);
    assert_int_equal(rc, 0);
    assert_string_equal(out.data, want);
    slv_buf_fini(&out);
}

static void check_error(const char *text, int code, const char *message) {
    struct slv_buf out;
    struct slv_err err = {0};
    slv_buf_init(&out, (size_t)1 << 24);
    assert_int_equal(render(text, strlen(text), NULL, &out, &err), code);
    assert_int_equal(err.code, code);
    assert_string_equal(err.msg, message);
    slv_buf_fini(&out);
}

/* --- the table -------------------------------------------------------------------------------- */

/* One line of the table: false, and a word to the reader, where we differ. */
static bool same_as_jinja(const char *line, size_t n, const char *given, size_t given_n) {
    struct slv_scope *s;
    struct slv_value *v, *names;
    struct slv_template *t = NULL;
    struct slv_buf out;
    struct slv_err err = {0};
    slv_buf_init(&out, (size_t)1 << 20);
    assert_int_equal(slv_scope_open((size_t)1 << 24, &still, &s), 0);
    assert_int_equal(slv_value_parse(s, line, n, &v, &err), 0);
    assert_int_equal(slv_value_parse(s, given, given_n, &names, &err), 0);
    const struct slv_value *text = v->list->v[0];
    const struct tpl_entry *want = &v->list->v[1]->dict->e[0];
    assert_int_equal(slv_scope_set_all(s, names), 0);
    int rc = slv_template_compile(text->s.p, text->s.n, &t, &err);
    if (!rc) rc = slv_template_render(t, s, &out, &err);
    bool same = rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT;
    if (slv_tpl_text_is(want->key, "ok"))
        same =
            rc == 0 && out.len == want->value->s.n && !memcmp(out.data, want->value->s.p, out.len);
    if (slv_tpl_text_is(want->key, "raised"))
        same = rc == SLV_E_USAGE && strlen(err.msg) == want->value->s.n &&
               !memcmp(err.msg, want->value->s.p, want->value->s.n);
    if (!same)
        print_error("%.*s\n  want %.*s\n  got  %d %s\n", (int)text->s.n, text->s.p,
                    (int)want->value->s.n, want->value->s.p, rc, rc ? err.msg : out.data);
    slv_template_free(t);
    slv_scope_close(s);
    slv_buf_fini(&out);
    return same;
}

static void every_case_comes_out_as_from_jinja(void **state) {
    (void)state;
    struct slv_buf text;
    const char *names = NULL;
    size_t cases = 0, bad = 0, names_n = 0;
    slv_buf_init(&text, (size_t)1 << 24);
    assert_int_equal(slv_file_read(TEST_DATA "/template/cases.jsonl", &text, NULL), 0);
    for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        size_t n = (size_t)(end - line);
        if (!names) {
            names = line;
            names_n = n;
            continue;
        }
        bad += !same_as_jinja(line, n, names, names_n);
        cases++;
    }
    assert_int_equal(bad, 0);
    assert_true(cases >= 700);
    slv_buf_fini(&text);
}

/* --- errors a person can use ------------------------------------------------------------------ */

static void errors_name_the_line_and_the_reason(void **state) {
    (void)state;
    check_error("a\n{{ x.y }}", SLV_E_FORMAT, "line 2: 'x' is undefined");
    check_error("{% if x %}\n\n{% endfor %}", SLV_E_FORMAT,
                "line 3: Encountered unknown tag 'endfor'");
    check_error("\n\n{{ 1 + }}", SLV_E_FORMAT, "line 3: expected an expression");
    check_error("{% include 'x' %}", SLV_E_UNSUPPORTED,
                "line 1: the statement 'include' is not supported");
    check_error("\n{{ 1|nope }}", SLV_E_UNSUPPORTED, "line 2: No filter named 'nope'");
    check_error("{{ 'a' is nope }}", SLV_E_UNSUPPORTED, "line 1: No test named 'nope'");
    check_error("{{ 'a'.encode() }}", SLV_E_UNSUPPORTED,
                "line 1: the method 'encode' is not supported");
    check_error("{{ [].append(1) }}", SLV_E_FORMAT, "line 1: 'append' is undefined");
    check_error("{{ raise_exception('no\\tway') }}", SLV_E_USAGE, "no?way");
    check_error("ok\n\xff", SLV_E_FORMAT, "line 2: the template is not valid UTF-8");
    check_error("{{ 2 ** 64 }}", SLV_E_FORMAT, "line 1: integer out of range");
    check_error("{% for x in [1] %}\n{% set y = 1 %}\n{{ x / 0 }}{% endfor %}", SLV_E_FORMAT,
                "line 3: division by zero");
}

static void a_long_message_of_the_template_is_cut_not_lost(void **state) {
    (void)state;
    struct slv_buf out;
    struct slv_err err = {0};
    static const char text[] = "{{ raise_exception('x' * 5000) }}";
    slv_buf_init(&out, 1000);
    assert_int_equal(render(text, strlen(text), NULL, &out, &err), SLV_E_USAGE);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    slv_buf_fini(&out);
    assert_int_equal(render(text, strlen(text), NULL, &out, NULL), SLV_E_USAGE);
}

/* --- values ----------------------------------------------------------------------------------- */

static void values_built_in_c_are_those_of_the_template(void **state) {
    (void)state;
    struct slv_scope *s;
    struct slv_template *t;
    struct slv_buf out;
    static const char text[] = "{{ a }}{{ b }}{{ c }}{{ d }}{{ e }}{{ l }}{{ m }}{{ m.k }}";
    slv_buf_init(&out, 1000);
    assert_int_equal(slv_template_compile(text, strlen(text), &t, NULL), 0);
    assert_int_equal(slv_scope_open(10000, &still, &s), 0);
    struct slv_value *l = slv_value_list(s), *m = slv_value_dict(s);
    l = slv_value_push(s, slv_value_push(s, l, slv_value_int(s, -3)), slv_value_str(s, "x", 1));
    m = slv_value_put(s, m, "k", slv_value_bool(s, true));
    m = slv_value_put(s, m, "z", slv_value_none(s));
    m = slv_value_put(s, m, "k", slv_value_double(s, 0.1));
    assert_int_equal(slv_scope_set(s, "a", slv_value_none(s)), 0);
    assert_int_equal(slv_scope_set(s, "b", slv_value_bool(s, false)), 0);
    assert_int_equal(slv_scope_set(s, "c", slv_value_int(s, 7)), 0);
    assert_int_equal(slv_scope_set(s, "d", slv_value_double(s, 1e16)), 0);
    assert_int_equal(slv_scope_set(s, "e",
                                   slv_value_str(s,
                                                 "a\xff"
                                                 "b\0c",
                                                 5)),
                     0);
    assert_int_equal(slv_scope_set(s, "l", l), 0);
    assert_int_equal(slv_scope_set(s, "m", m), 0);
    for (int again = 0; again < 2; again++) {
        slv_buf_clear(&out);
        assert_int_equal(slv_template_render(t, s, &out, NULL), 0);
        static const char want[] = "NoneFalse71e+16a\xef\xbf\xbd"
                                   "b\0c[-3, 'x']{'k': 0.1, 'z': None}0.1";
        assert_int_equal(out.len, sizeof want - 1);
        assert_memory_equal(out.data, want, out.len);
    }
    assert_null(slv_value_push(s, NULL, l));
    assert_null(slv_value_push(s, l, NULL));
    assert_null(slv_value_put(s, m, "k", NULL));
    assert_null(slv_value_put(s, l, "k", m));
    assert_null(slv_value_int(NULL, 1));
    assert_int_equal(slv_scope_set(s, "n", NULL), SLV_E_NOMEM);
    assert_int_equal(slv_scope_set_all(s, NULL), SLV_E_NOMEM);
    assert_int_equal(slv_scope_set_all(s, l), SLV_E_USAGE);
    while (slv_value_push(s, l, slv_value_int(s, 1)))
        ; /* until the scope is full */
    assert_true(s->full);
    slv_scope_close(s);
    slv_scope_close(NULL);
    slv_template_free(t);
    slv_template_free(NULL);
    slv_buf_fini(&out);
}

static void big_dicts_keep_their_order_and_find_every_key(void **state) {
    (void)state;
    struct slv_scope *s;
    char key[20];
    assert_int_equal(slv_scope_open((size_t)1 << 24, NULL, &s), 0);
    struct slv_value *d = slv_value_dict(s);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "k%d", i % 10000);
        d = slv_value_put(s, d, key, slv_value_int(s, i));
    }
    assert_non_null(d);
    assert_int_equal(d->dict->n, 10000);
    for (int i = 0; i < 10000; i++) {
        int n = snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(slv_tpl_get_str(s, d->dict, key, (size_t)n)->i, i + 10000);
        assert_int_equal(d->dict->e[i].value->i, i + 10000);
    }
    slv_scope_close(s);
}

static void json_is_read_as_it_is_and_refused_when_broken(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",   "{",       "[1,]",      "{\"a\":1,}", "{\"a\" 1}", "{a:1}",  "[1 2]",
        "01", "1.",      "1e",        "-",          "+1",        ".5",     "nul",
        "\"", "\"\\x\"", "\"\\u12\"", "\"\t\"",     "1 1",       "NaN",    "'a'",
        "[",  "]",       "tru",       "{\"a\":}",   "\"\\",      "\"\\\"", "[\"a]",
    };
    struct slv_scope *s;
    struct slv_value *v;
    struct slv_err err;
    assert_int_equal(slv_scope_open((size_t)1 << 20, NULL, &s), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(slv_value_parse(s, bad[i], strlen(bad[i]), &v, &err), SLV_E_FORMAT);
    char deep[200];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    assert_int_equal(slv_value_parse(s, deep, 130, &v, &err), SLV_E_LIMIT);
    assert_int_equal(slv_value_parse(s, deep + 1, 128, &v, &err), 0);
    slv_scope_close(s);
    check("{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e }}",
          "{\"a\": \"\\u00e9\\ud83d\\ude42\\ud800\\n\\/\", \"b\": [-0.5e-3, 18446744073709551616],"
          " \"c\": -9223372036854775808, \"d\": {\"x\": 1, \"y\": 2, \"x\": 3}, \"e\": 1E5}",
          "\xc3\xa9\xf0\x9f\x99\x82\xef\xbf\xbd\n/|[-0.0005, 18446744073709551616]|"
          "-9223372036854775808|{'x': 3, 'y': 2}|100000.0");
}

/* --- hostile templates ------------------------------------------------------------------------ */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* other programs may be busy */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The template must end with SLV_E_LIMIT (or in `code`), and not go on for ever. */
static void endure(const char *name, const char *text, size_t n, int code) {
    struct slv_buf out;
    struct slv_err err = {0};
    slv_buf_init(&out, (size_t)1 << 22);
    double start = now();
    int rc = render(text, n, NULL, &out, &err);
    double took = now() - start;
    if (getenv("TEMPLATE_TIMES")) print_message("%6.3f s  %.100s\n", took, name);
    if (rc != code || took > ENOUGH) print_error("%s: %d %s, %.2f s\n", name, rc, err.msg, took);
    assert_int_equal(rc, code);
    assert_true(took <= ENOUGH);
    slv_buf_fini(&out);
}

/* head, then piece times, then tail */
static void endure_repeated(const char *head, const char *piece, size_t times, const char *tail,
                            int code) {
    struct slv_buf b;
    slv_buf_init(&b, (size_t)1 << 24);
    slv_buf_adds(&b, head);
    for (size_t i = 0; i < times; i++)
        slv_buf_adds(&b, piece);
    slv_buf_adds(&b, tail);
    assert_int_equal(b.status, 0);
    endure(piece, b.data, b.len, code);
    slv_buf_fini(&b);
}

static void deep_templates_are_refused(void **state) {
    (void)state;
    static const char *const open[] = {"(",   "[",  "{1:", "-", "not ", "a if b else ",
                                       "[a[", "f(", "-("};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        endure_repeated("{{ ", open[i], 50000, "", SLV_E_LIMIT);
    endure_repeated("", "{% if a %}", 50000, "", SLV_E_LIMIT);
    endure_repeated("", "{% for a in b %}", 50000, "", SLV_E_LIMIT);
    endure_repeated("", "{% macro a() %}", 50000, "", SLV_E_LIMIT);
    endure_repeated("", "{% set a %}", 50000, "", SLV_E_LIMIT);
    endure_repeated("{% for ", "(", 50000, "", SLV_E_LIMIT);
    endure_repeated("{{ 1", " + 1", 50000, " }}", SLV_E_LIMIT);
    endure_repeated("{{ 1", "|string", 50000, " }}", SLV_E_LIMIT);
    endure_repeated("{{ a", ".b", 50000, " }}", SLV_E_LIMIT);
    endure_repeated("{{ a", "()", 50000, " }}", SLV_E_LIMIT);
    endure_repeated("{{ 1", " and 1", 50000, " }}", SLV_E_LIMIT);
    endure_repeated("{{ 1", " if 1", 50000, " }}", SLV_E_LIMIT);
    /* Long is not deep. */
    endure_repeated("{% if 0 %}", "{% elif 0 %}", 50000, "{% endif %}", 0);
    endure_repeated("{{ 1", " ~ 1", 50000, " }}", 0);
    endure_repeated("{{ 1", " == 1", 50000, " }}", 0);
    endure_repeated("{{ '", "\\n", 200000, "' }}", 0);
    endure_repeated("{{ ''", " 'a'", 100000, " }}", 0);
    endure_repeated("", "{{ 1 }}", 50000, "", 0);
    endure_repeated("", "a", (size_t)1 << 20, "", 0);
    endure_repeated("", "a", ((size_t)1 << 20) + 1, "", SLV_E_LIMIT);
    endure_repeated("", "{{a}}", 200000, "", SLV_E_LIMIT);
}

static void many_names_stay_quick(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, (size_t)1 << 20);
    for (int i = 0; i < 20000; i++)
        slv_buf_addf(&b, "{%% set a%d = %d %%}", i, i);
    endure("names", b.data, b.len, 0);
    slv_buf_clear(&b);
    slv_buf_adds(&b, "{% for x in range(100000) %}");
    for (int i = 0; i < 20000; i++)
        slv_buf_addf(&b, "{%% set a%d = %d %%}", i, i);
    slv_buf_adds(&b, "{% endfor %}");
    endure("names in a loop", b.data, b.len, SLV_E_LIMIT);
    slv_buf_fini(&b);
}

static void templates_that_never_end_are_stopped(void **state) {
    (void)state;
    static const char *const rows[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) "
        "}}",
        "{% macro a(n) %}{% call b(n) %}{{ caller() }}{% endcall %}{% endmacro %}"
        "{% macro b(n) %}{{ a(n) }}{{ caller() }}{% endmacro %}{{ a(1) }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor "
        "%}"
        "{{ n.x }}",
        "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor "
        "%}"
        "{{ n.x|tojson }}",
        "{% set n = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
        "{% set n = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x < n.y }}",
        "{% set n = namespace(x=()) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor "
        "%}"
        "{{ {n.x: 1} }}",
        "{% set n = namespace(x=[]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}"
        "{{ n.x }}",
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
        "{% set n = namespace(x=[1]|map('string')) %}{% for i in range(9999) %}"
        "{% set n.x = n.x|map('string') %}{% endfor %}{{ n.x|list }}",
        "{% for i in range(99999) %}{{ ('é' * 99999)[i] }}{% endfor %}",
        "{% set s = 'é' * 99999 %}{% for i in range(99999) %}{{ s[99998] }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s.count('c') }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s.rfind('ca') }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s.find('c', 5) }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s.split('c') }}{% endfor %}",
        "{% set s = ' ' * 999999 %}{% for i in range(99999) %}{{ s.strip() }}{% endfor %}",
        "{% set s = 'ab' * 99999 %}{{ s.strip('é' * 99999 ~ 'ab') }}"
        "{% for i in range(99999) %}{{ s.strip('é' * 99999 ~ 'ab') }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s|upper|length }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s.isalpha() }}{% endfor %}",
        "{% set s = 'ab' * 999999 %}{% for i in range(99999) %}{{ s == s ~ '' }}{% endfor %}",
        "{% set s = 'Σ' * 999999 %}{% for i in range(999) %}{{ s.lower()|length }}{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% set t = s ~ '' %}{% for i in range(99999) %}"
        "{% if s == t %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% set t = s ~ '' %}{% for i in range(99999) %}"
        "{% if s < t %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% set t = {s: 1} %}{% for i in range(99999) %}"
        "{% if s in t %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% set t = s ~ '' %}{% for i in range(99999) %}"
        "{% if s.startswith(t) %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% for i in range(99999) %}{% if s|wordcount %}{% endif %}"
        "{% endfor %}",
        "{% set s = 'ab' * 3999999 %}{% for i in range(99999) %}{% if s is upper %}{% endif %}"
        "{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in range(99999) %}{{ l|sort|first }}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ l.index(99998) }}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ 99998 in l }}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ l|unique|list|length }}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ l == l + [] }}{% endfor %}",
        "{% set l = range(99999)|list %}{% set m = l + [] %}{% for i in l %}{% if l == m %}"
        "{% endif %}{% endfor %}",
        "{% set l = range(99999)|list %}{% set m = l + [] %}{% for i in l %}{% if l < m %}"
        "{% endif %}{% endfor %}",
        "{% set l = ((1,) * 99999) %}{% set d = {l: 1} %}{% for i in range(99999) %}{% if l in d %}"
        "{% endif %}{% endfor %}",
        "{% set d = dict(range(99998)|batch(2)) %}{% set e = dict(d) %}{% for i in range(99999) %}"
        "{% if d == e %}{% endif %}{% endfor %}",
        "{% set l = ['a' * 999999] * 9999 %}{{ l|join|length }}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
        "%}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor "
        "%}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}"
        "{% set n.x = n.x|replace('a', n.x) %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
        "%}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99999) %}{% set n.x = n.x + [i] %}{% "
        "endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ ('a' * 1000000) * 1000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ ''|center(1000000000) }}",
        "{{ 'a\nb'|indent(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ 'a'.rjust(9223372036854775807) }}",
        "{{ 'a'.zfill(1000000000) }}",
        "{{ '\t'.expandtabs(1000000000) }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{{ [1]|tojson(indent=9223372036854775807) }}",
        "{{ [1]|batch(1000000000, 'x')|list }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{{ 'a'|replace('', 'b' * 9999999) }}",
        "{{ ('a,' * 999999).split(',') }}",
        "{% filter center(1000000000) %}{% endfilter %}",
        "{{ range(99999)|map('string')|map('center', 9999)|join }}",
        "{{ dict(range(99998)|map('string')|batch(2)|list)|tojson * 99 }}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        endure(rows[i], rows[i], strlen(rows[i]), SLV_E_LIMIT);
    endure_repeated("{{ ", "9", 200000, " }}", SLV_E_FORMAT);
    static const char *const refused[] = {
        "{{ 10 ** 1000 }}",
        "{{ 10 ** 9223372036854775807 }}",
        "{{ 9 ** 99 ** 99 }}",
        "{{ range(9223372036854775807) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ 9223372036854775807 * 2 }}",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        endure(refused[i], refused[i], strlen(refused[i]), SLV_E_FORMAT);
}

static void hostile_templates_leave_memory_alone(void **state) {
    (void)state;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    /* The worst of all of the above; maxrss is in kilobytes. */
    if (!SLV_SANITIZED) assert_true(use.ru_maxrss < 64 * 1024);
}

static void a_long_conversation_fits(void **state) {
    (void)state;
    struct slv_scope *s;
    struct slv_template *t;
    struct slv_buf out;
    struct slv_err err = {0};
    char content[1000];
    static const char text[] =
        "{%- set ns = namespace(n=0, all='') -%}\n"
        "{%- for m in messages %}\n"
        "    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\n"
        "        {{- raise_exception('Roles must alternate') }}\n"
        "    {%- endif %}\n"
        "    {%- set content = m.content | trim %}\n"
        "    {%- set ns.n = ns.n + 1 %}\n"
        "    {%- set ns.all = ns.all + m.role + '\\n' + content %}\n"
        "    {{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>' }}\n"
        "{%- endfor %}{{ ns.n }}{{ ns.all|length }}";
    memset(content, 'x', sizeof content);
    slv_buf_init(&out, (size_t)1 << 24);
    assert_int_equal(slv_template_compile(text, strlen(text), &t, &err), 0);
    assert_int_equal(slv_scope_open((size_t)1 << 24, &still, &s), 0);
    struct slv_value *messages = slv_value_list(s);
    for (int i = 0; i < 5000; i++) {
        const char *role = i % 2 ? "assistant" : "user";
        struct slv_value *m = slv_value_dict(s);
        m = slv_value_put(s, m, "role", slv_value_str(s, role, strlen(role)));
        m = slv_value_put(s, m, "content", slv_value_str(s, content, sizeof content));
        messages = slv_value_push(s, messages, m);
    }
    assert_int_equal(slv_scope_set(s, "messages", messages), 0);
    int rc = slv_template_render(t, s, &out, &err);
    if (rc) print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    assert_string_equal(out.data + out.len - 11, "50005037500");
    slv_buf_fini(&out);
    slv_buf_init(&out, 1000);
    assert_int_equal(slv_template_render(t, s, &out, &err), SLV_E_LIMIT);
    slv_buf_fini(&out);
    slv_scope_close(s);
    slv_template_free(t);
}

/* --- failing allocations ---------------------------------------------------------------------- */

static void every_failing_allocation_is_an_error_and_no_leak(void **state) {
    (void)state;
    static const char json[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9llo\"}, {\"role\": \"tool\","
        " \"content\": null, \"tool_calls\": [{\"a\": [1, 2.5, \"x\"]}]}], \"d\": {\"a\": 1, \"b\":"
        " 2, \"c\": 3, \"d\": 4, \"e\": 5, \"f\": 6, \"g\": 7, \"h\": 8, \"i\": 9, \"j\": 10}}";
    static const char text[] =
        "{%- macro m(a, b=2) -%}{{ a ~ b ~ varargs ~ kwargs ~ caller() }}{%- endmacro -%}\n"
        "{%- set ns = namespace(x='', l=[]) -%}\n"
        "{%- for k, v in d|dictsort if v > 1 -%}{%- set ns.x = ns.x + k * 60 -%}"
        "{{ loop.index }}{{ loop.length }}{{ loop.nextitem }}{% endfor %}\n"
        "{% call m(1, 5, 6, z=3) %}body{% endcall %}{% filter upper %}{{ ns.x }}{% endfilter %}\n"
        "{{ messages|tojson(indent=2, sort_keys=true) }}{{ messages }}\n"
        "{{ d.items()|list|sort(attribute=1)|map(attribute=0)|join(',') }}{{ 'a b c'.split() }}\n"
        "{{ d|length }}{{ messages|selectattr('content')|map(attribute='role')|list }}\n"
        "{% for c in 'h\xc3\xa9' recursive %}{{ c|title }}{{ loop.changed(c) }}{% endfor %}\n"
        "{{ '%s %5.2f' % ('a', 1.5) }}{{ '{:>5} {x}'.format('q', x=1) }}{{ 'aXb'.rsplit('X', 1) "
        "}}\n"
        "{{ [3, 1]|sort|unique|batch(2)|list }}{{ 'abc'[::-1] }}{{ (1, 2) + (3,) }}\n"
        "{% set t %}x{% endset %}{% with q = t ~ 'y' %}{{ q|indent|replace('x', 'z') }}{% endwith "
        "%}\n"
        "{{ messages|groupby('role')|length }}{{ '<b>'|safe + '<' }}{{ 'a-b'.partition('-') }}\n"
        "{{ strftime_now('%Y %B') }}{{ cycler(1, 2).next() }}{{ '12'|int + '1.5'|float }}";
    bool done = false;
    for (uint64_t n = 1; !done && n < 5000; n++) {
        struct slv_buf out;
        struct slv_err err = {0};
        slv_buf_init(&out, (size_t)1 << 20);
        slv_mem_fail_at(n);
        int rc = render(text, sizeof text - 1, json, &out, &err);
        done = rc == 0;
        /* Scratch, chunks and the output grow rarely: the n-th may not come any more. */
        slv_mem_fail_at(0);
        if (rc && rc != SLV_E_NOMEM) print_error("%s\n", err.msg);
        assert_true(rc == 0 || rc == SLV_E_NOMEM);
        slv_buf_fini(&out);
    }
    assert_true(done);
}

static void a_scope_without_room_says_so(void **state) {
    (void)state;
    struct slv_scope *s;
    struct slv_value *v;
    struct slv_err err;
    assert_int_equal(slv_scope_open(10, NULL, &s), SLV_E_LIMIT);
    assert_int_equal(slv_scope_open(5000, NULL, &s), 0);
    char json[6002] = "[";
    for (size_t i = 1; i < 6000; i += 2)
        memcpy(json + i, "1,", 2);
    memcpy(json + 5999, "1]", 3);
    assert_int_equal(slv_value_parse(s, json, strlen(json), &v, &err), SLV_E_LIMIT);
    assert_int_equal(slv_value_parse(s, "7", 1, &v, &err), 0);
    slv_scope_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_comes_out_as_from_jinja),
        cmocka_unit_test(errors_name_the_line_and_the_reason),
        cmocka_unit_test(a_long_message_of_the_template_is_cut_not_lost),
        cmocka_unit_test(values_built_in_c_are_those_of_the_template),
        cmocka_unit_test(big_dicts_keep_their_order_and_find_every_key),
        cmocka_unit_test(json_is_read_as_it_is_and_refused_when_broken),
        cmocka_unit_test(deep_templates_are_refused),
        cmocka_unit_test(many_names_stay_quick),
        cmocka_unit_test(templates_that_never_end_are_stopped),
        cmocka_unit_test(hostile_templates_leave_memory_alone),
        cmocka_unit_test(a_long_conversation_fits),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_no_leak),
        cmocka_unit_test(a_scope_without_room_says_so),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
