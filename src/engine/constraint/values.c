/* values.c: see values.h. */
#include "engine/constraint/values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- text ------------------------------------------------------------------------------------- */

/* digits * 10^(exponent - n + 1) without exponent; n digits. */
static size_t plain(const char *digits, int n, int exponent, bool negative, char *out) {
    char *o = out;
    if (negative) *o++ = '-';
    if (exponent < 0) {
        *o++ = '0';
        *o++ = '.';
        for (int i = -1; i > exponent; i--)
            *o++ = '0';
    }
    for (int i = 0; i < n; i++) {
        if (i == exponent + 1 && exponent >= 0) *o++ = '.';
        *o++ = digits[i];
    }
    for (int i = n; i <= exponent; i++)
        *o++ = '0';
    *o = 0;
    return (size_t)(o - out);
}

/* The shortest digits that read as v, and the power of ten of the first. */
static int shortest(double v, char digits[20], int *ret_exponent) {
    char text[40];
    for (int n = 1; n <= 17; n++) {
        (void)snprintf(text, sizeof text, "%.*e", n - 1, v);
        if (strtod(text, NULL) != v) continue;
        int k = 0;
        const char *s = text;
        for (; *s && *s != 'e'; s++)
            if (*s >= '0' && *s <= '9') digits[k++] = *s;
        *ret_exponent = (int)strtol(s + 1, NULL, 10);
        return k;
    }
    return 0;
}

size_t slv_number_text(const json_t *number, char ret[SLV_NUMBER_TEXT]) {
    if (json_is_integer(number))
        return (size_t)snprintf(ret, SLV_NUMBER_TEXT, "%lld",
                                (long long)json_integer_value(number));
    const double v = json_real_value(number);
    char digits[20];
    int exponent = 0;
    const int n = shortest(fabs(v), digits, &exponent);
    if (v == 0) return (size_t)snprintf(ret, SLV_NUMBER_TEXT, "0");
    if (exponent >= -SLV_DECIMALS && exponent <= 21) return plain(digits, n, exponent, v < 0, ret);
    return (size_t)snprintf(ret, SLV_NUMBER_TEXT, "%.*e", n - 1, v);
}

static void string_text(const char *s, size_t n, struct slv_buf *out) {
    static const char letters[] = "btnvfr"; /* of 8 to 13; \v has none in JSON */
    (void)slv_buf_addc(out, '"');
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') (void)slv_buf_addf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11) (void)slv_buf_addf(out, "\\%c", letters[c - 8]);
        else if (c < 32) (void)slv_buf_addf(out, "\\u%04x", c);
        else (void)slv_buf_addc(out, (char)c);
    }
    (void)slv_buf_addc(out, '"');
}

/* Cuts a decimal without exponent to what a matcher knows. */
static size_t cut_decimals(char *s, size_t n) {
    const char *point = memchr(s, '.', n);
    const char *e = strchr(s, 'e');
    if (e && e[1] == '-') { /* smaller than all of them, and not 0 */
        const bool negative = s[0] == '-';
        return (size_t)snprintf(s, SLV_NUMBER_TEXT, "%s0.%0*d", negative ? "-" : "", SLV_DECIMALS,
                                1);
    }
    if (e || !point || n - (size_t)(point - s) - 1 <= SLV_DECIMALS) return n;
    n = (size_t)(point - s) + 1 + SLV_DECIMALS;
    if (s[n - 1] == '0') s[n - 1] = '1';
    s[n] = 0;
    return n;
}

int slv_value_text(const json_t *value, bool to_read, struct slv_buf *out) {
    char number[SLV_NUMBER_TEXT];
    const char *key, *comma = "";
    json_t *x;
    size_t i, n;
    switch (json_typeof(value)) {
    case JSON_NULL:
        return slv_buf_adds(out, "null");
    case JSON_TRUE:
        return slv_buf_adds(out, "true");
    case JSON_FALSE:
        return slv_buf_adds(out, "false");
    case JSON_INTEGER:
    case JSON_REAL:
        n = slv_number_text(value, number);
        return slv_buf_add(out, number, to_read ? cut_decimals(number, n) : n);
    case JSON_STRING:
        string_text(json_string_value(value), json_string_length(value), out);
        return out->status;
    case JSON_ARRAY:
        (void)slv_buf_addc(out, '[');
        json_array_foreach((json_t *)(uintptr_t)value, i, x) {
            (void)slv_buf_adds(out, i ? "," : "");
            if (slv_value_text(x, to_read, out)) return out->status;
        }
        return slv_buf_addc(out, ']');
    case JSON_OBJECT:
        (void)slv_buf_addc(out, '{');
        json_object_foreach((json_t *)(uintptr_t)value, key, x) {
            (void)slv_buf_adds(out, comma);
            string_text(key, strlen(key), out);
            (void)slv_buf_addc(out, ':');
            if (slv_value_text(x, to_read, out)) return out->status;
            comma = ",";
        }
        return slv_buf_addc(out, '}');
    }
    return out->status;
}

/* --- scalars ---------------------------------------------------------------------------------- */

static unsigned constant_type(const json_t *x) {
    return json_is_null(x)    ? SLV_T_NULL
           : json_is_false(x) ? SLV_T_FALSE
           : json_is_true(x)  ? SLV_T_TRUE
                              : 0;
}

static const struct slv_numbers *point(struct slv_compile *c, slv_node n, const json_t *x) {
    char text[SLV_NUMBER_TEXT];
    slv_decimal v;
    bool exact;
    const size_t len = slv_number_text(x, text);
    if (!slv_decimal_read(text, len, false, &v, &exact) || !exact) {
        slv_refuse(c, SLV_E_UNSUPPORTED, n, NULL, "%s has more than %d decimals, or is too large",
                   text, SLV_DECIMALS);
        return &slv_numbers_none;
    }
    return slv_numbers_range(&c->mem, v, v);
}

/* The scalars of a list as one box: its types are those that occur. */
static struct slv_box scalars(struct slv_compile *c, slv_node n, const json_t *list) {
    struct slv_box b = slv_box_of(0);
    struct slv_word *w = slv_compile_take(c, json_array_size(list), sizeof *w);
    size_t i, words = 0;
    const json_t *x;
    b.numbers = &slv_numbers_none;
    if (!w) return b;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        b.types |= constant_type(x);
        if (json_is_string(x))
            w[words++] = (struct slv_word){json_string_value(x), json_string_length(x)};
        if (!json_is_number(x)) continue;
        const struct slv_numbers *p = point(c, n, x);
        b.numbers = p ? slv_numbers_or(&c->mem, b.numbers, p) : NULL;
        if (!b.numbers) {
            slv_refuse(c, SLV_E_LIMIT, n, NULL, "more than %u numbers in a list", SLV_NUMBER_PARTS);
            b.numbers = &slv_numbers_none;
        }
    }
    b.text = slv_lang_words(c->p, w, words);
    if (words) b.types |= SLV_T_STRING;
    if (b.numbers->n) b.types |= SLV_T_NUMBER;
    return b;
}

/* --- arrays and objects ----------------------------------------------------------------------- */

static slv_spec is_value(struct slv_compile *c, const json_t *x, slv_node n, bool yes) {
    return slv_spec_of(c, slv_lit_value(c, x, n) | !yes);
}

static void add_record(struct slv_compile *c, struct slv_boxes *to, const struct slv_array *a,
                       const struct slv_object *o) {
    struct slv_box b = slv_box_of(a ? SLV_T_ARRAY : SLV_T_OBJECT);
    struct slv_array *ka = a ? slv_compile_take(c, 1, sizeof *ka) : NULL;
    struct slv_object *ko = o ? slv_compile_take(c, 1, sizeof *ko) : NULL;
    if (!ka && !ko) return;
    if (ka) *ka = *a;
    if (ko) *ko = *o;
    b.array = ka;
    b.object = ko;
    slv_boxes_add(c, to, &b);
}

static void the_array(struct slv_compile *c, slv_node n, const json_t *x, struct slv_boxes *to) {
    struct slv_array a = slv_array_any;
    slv_spec *v = slv_compile_take(c, json_array_size(x), sizeof *v);
    size_t i;
    const json_t *y;
    if (!v) return;
    json_array_foreach((json_t *)(uintptr_t)x, i, y) v[i] = is_value(c, y, n, true);
    a.prefix = v;
    a.n_prefix = a.min = a.max = (uint32_t)json_array_size(x);
    a.rest = SLV_SPEC_NONE;
    add_record(c, to, &a, NULL);
}

static void the_object(struct slv_compile *c, slv_node n, const json_t *x, struct slv_boxes *to) {
    static const struct slv_class none = {SLV_LANG_ANY, SLV_SPEC_NONE};
    struct slv_object o = slv_object_any;
    struct slv_prop *v = slv_compile_take(c, json_object_size(x), sizeof *v);
    const char *key;
    json_t *y;
    if (!v) return;
    json_object_foreach((json_t *)(uintptr_t)x, key, y) v[o.n_props++] =
        (struct slv_prop){slv_name_of(c, key, strlen(key)), is_value(c, y, n, true), true};
    o.props = v;
    o.classes = &none;
    o.min = o.max = o.n_props;
    add_record(c, to, NULL, &o);
}

/* Arrays that are not x: shorter, longer, or another item somewhere. */
static void other_arrays(struct slv_compile *c, slv_node n, const json_t *x, struct slv_boxes *to) {
    const uint32_t size = (uint32_t)json_array_size(x);
    struct slv_array a = slv_array_any;
    size_t i;
    const json_t *y;
    a.min = size + 1;
    add_record(c, to, &a, NULL);
    a.min = 0;
    a.max = size - 1;
    if (size) add_record(c, to, &a, NULL);
    a.min = a.max = a.n_prefix = size;
    json_array_foreach((json_t *)(uintptr_t)x, i, y) {
        slv_spec *v = slv_compile_take(c, size, sizeof *v);
        if (!v) return;
        v[i] = is_value(c, y, n, false);
        a.prefix = v;
        add_record(c, to, &a, NULL);
    }
}

/* Objects that are not x: a member more, one missing, or another value somewhere. */
static void other_objects(struct slv_compile *c, slv_node n, const json_t *x,
                          struct slv_boxes *to) {
    struct slv_object o = slv_object_any;
    const char *key;
    json_t *y;
    o.min = (uint32_t)json_object_size(x) + 1;
    add_record(c, to, NULL, &o);
    o.min = 0;
    json_object_foreach((json_t *)(uintptr_t)x, key, y) {
        struct slv_prop *p = slv_compile_take(c, 2, sizeof *p);
        if (!p) return;
        p[0] = (struct slv_prop){slv_name_of(c, key, strlen(key)), SLV_SPEC_NONE, false};
        p[1] = (struct slv_prop){p[0].name, is_value(c, y, n, false), true};
        o.n_props = 1;
        o.props = &p[0];
        add_record(c, to, NULL, &o);
        o.props = &p[1];
        add_record(c, to, NULL, &o);
    }
}

void slv_values(struct slv_compile *c, slv_node n, const json_t *list, struct slv_boxes *to) {
    const struct slv_box b = scalars(c, n, list);
    size_t i;
    const json_t *x;
    slv_boxes_add(c, to, &b);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        if (json_is_array(x)) the_array(c, n, x, to);
        if (json_is_object(x)) the_object(c, n, x, to);
    }
}

void slv_other_values(struct slv_compile *c, slv_node n, const json_t *list, struct slv_boxes *to) {
    const struct slv_box in = scalars(c, n, list);
    struct slv_box b = slv_box_all();
    struct slv_boxes r = {0};
    size_t i;
    const json_t *x;
    b.types &= ~(in.types & (SLV_T_NULL | SLV_T_FALSE | SLV_T_TRUE));
    b.text = slv_lang_not(c->p, in.text);
    b.numbers = slv_numbers_not(&c->mem, in.numbers);
    if (!b.numbers) {
        slv_refuse(c, SLV_E_LIMIT, n, NULL, "too many numbers in a list");
        return;
    }
    slv_boxes_add(c, &r, &b);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        struct slv_boxes others = {0};
        if (!json_is_array(x) && !json_is_object(x)) continue;
        b = slv_box_of(SLV_T_ALL & ~(unsigned)(json_is_array(x) ? SLV_T_ARRAY : SLV_T_OBJECT));
        slv_boxes_add(c, &others, &b);
        if (json_is_array(x)) other_arrays(c, n, x, &others);
        else other_objects(c, n, x, &others);
        slv_boxes_and(c, &r, others.v, others.n);
        slv_boxes_free(&others);
    }
    for (i = 0; i < r.n; i++)
        slv_boxes_add(c, to, &r.v[i]);
    slv_boxes_free(&r);
}

slv_lang slv_box_text(struct slv_compile *c, const struct slv_box *b) {
    if (b->min_len == 0 && b->max_len == SLV_LANG_INF) return b->text;
    const slv_lang one = slv_lang_set_not(c->p, NULL, 0);
    return slv_lang_and(c->p, b->text, slv_lang_repeat(c->p, one, b->min_len, b->max_len));
}
