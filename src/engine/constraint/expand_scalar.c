/* expand_scalar.c: what keywords say of any type and of scalars, as boxes: see expand.h. */
#include "engine/constraint/expand.h"
#include "engine/constraint/format.h"
#include "engine/constraint/values.h"

#include <string.h>

/* --- type ------------------------------------------------------------------------------------- */

static const struct type_name {
    const char *name;
    unsigned types;
} type_names[] = {{"null", SLV_T_NULL},     {"boolean", SLV_T_FALSE | SLV_T_TRUE},
                  {"number", SLV_T_NUMBER}, {"string", SLV_T_STRING},
                  {"array", SLV_T_ARRAY},   {"object", SLV_T_OBJECT},
                  {"any", SLV_T_ALL}};

/* The types of one name; *integer where it is that one. */
static unsigned types_of(const struct slv_at *a, const json_t *name, bool *integer) {
    const char *s = json_string_value(name);
    if (s && !strcmp(s, "integer")) return *integer = true, 0;
    for (size_t i = 0; s && i < sizeof type_names / sizeof type_names[0]; i++)
        if (!strcmp(s, type_names[i].name)) return type_names[i].types;
    slv_kw_bad(a, "type", "no type of JSON");
    return 0;
}

static unsigned read_types(const struct slv_at *a, bool *integer) {
    const json_t *t = slv_kw_get(a, "type"), *x;
    unsigned types = 0;
    size_t i;
    *integer = false;
    if (!json_is_array(t)) types = types_of(a, t, integer);
    json_array_foreach((json_t *)(uintptr_t)t, i, x) types |= types_of(a, x, integer);
    if (types & SLV_T_NUMBER) *integer = false;
    return types;
}

static const struct slv_numbers *integers(const struct slv_at *a) {
    return slv_numbers_multiples(&a->c->mem, SLV_DECIMAL_ONE);
}

static void add_numbers(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                        const struct slv_numbers *n) {
    struct slv_box b = slv_box_of(types);
    if (!n) {
        slv_refuse(a->c, SLV_E_LIMIT, a->node, NULL, "too many ranges of numbers");
        return;
    }
    b.numbers = n;
    if (!n->n) b.types &= ~(unsigned)SLV_T_NUMBER;
    slv_kw_add(a, to, b);
}

static void type_yes(const struct slv_at *a, struct slv_boxes *to) {
    bool integer;
    const unsigned types = read_types(a, &integer);
    if (integer) add_numbers(a, to, types | SLV_T_NUMBER, integers(a));
    else slv_kw_add(a, to, slv_box_of(types));
}

static void type_no(const struct slv_at *a, struct slv_boxes *to) {
    bool integer;
    const unsigned types = ~read_types(a, &integer) & SLV_T_ALL;
    if (integer) add_numbers(a, to, types, slv_numbers_not(&a->c->mem, integers(a)));
    else slv_kw_add(a, to, slv_box_of(types));
}

/* --- enum, const ------------------------------------------------------------------------------ */

static void enum_yes(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *list = slv_kw_get(a, "enum");
    if (!json_is_array(list)) slv_kw_bad(a, "enum", "wants a list");
    else slv_values(a->c, a->node, list, to);
}

static void enum_no(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *list = slv_kw_get(a, "enum");
    if (!json_is_array(list)) slv_kw_bad(a, "enum", "wants a list");
    else slv_other_values(a->c, a->node, list, to);
}

/* A const is an enum of one. */
static void const_do(const struct slv_at *a, struct slv_boxes *to, bool yes) {
    json_t *list = json_pack("[O]", slv_kw_get(a, "const"));
    if (!list) slv_refuse(a->c, SLV_E_NOMEM, a->node, "const", "out of memory");
    else if (yes) slv_values(a->c, a->node, list, to);
    else slv_other_values(a->c, a->node, list, to);
    json_decref(list);
}

static void const_yes(const struct slv_at *a, struct slv_boxes *to) { const_do(a, to, true); }
static void const_no(const struct slv_at *a, struct slv_boxes *to) { const_do(a, to, false); }

/* --- numbers ---------------------------------------------------------------------------------- */

/* A bound, in units, rounded inwards. */
static bool bound(const struct slv_at *a, const char *key, bool lower, slv_decimal *ret,
                  bool *exact) {
    const json_t *j = slv_kw_get(a, key);
    char text[SLV_NUMBER_TEXT];
    if (!j || json_is_boolean(j)) return false;
    if (!json_is_number(j)) return slv_kw_bad(a, key, "wants a number"), false;
    const size_t n = slv_number_text(j, text);
    return slv_decimal_read(text, n, lower, ret, exact);
}

static const struct slv_numbers *number_set(const struct slv_at *a) {
    slv_decimal lo = -SLV_DECIMAL_MAX, hi = SLV_DECIMAL_MAX, v;
    bool exact;
    if (bound(a, "minimum", true, &v, &exact))
        lo = v + (exact && slv_kw_is_true(a, "exclusiveMinimum"));
    if (bound(a, "exclusiveMinimum", true, &v, &exact)) lo = v + exact > lo ? v + exact : lo;
    if (bound(a, "maximum", false, &v, &exact))
        hi = v - (exact && slv_kw_is_true(a, "exclusiveMaximum"));
    if (bound(a, "exclusiveMaximum", false, &v, &exact)) hi = v - exact < hi ? v - exact : hi;
    const struct slv_numbers *r = &slv_numbers_all;
    if (lo > -SLV_DECIMAL_MAX || hi < SLV_DECIMAL_MAX) r = slv_numbers_range(&a->c->mem, lo, hi);
    if (bound(a, "multipleOf", true, &v, &exact)) {
        if (v <= 0) return slv_kw_bad(a, "multipleOf", "wants more than 0"), r;
        if (!exact) {
            slv_refuse(a->c, SLV_E_UNSUPPORTED, a->node, "multipleOf", "more than %d decimals",
                       SLV_DECIMALS);
            return r;
        }
        const struct slv_numbers *m = slv_numbers_multiples(&a->c->mem, v);
        r = r && m ? slv_numbers_and(&a->c->mem, r, m) : NULL;
    }
    return r;
}

static void number_yes(const struct slv_at *a, struct slv_boxes *to) {
    add_numbers(a, to, SLV_T_ALL, number_set(a));
}

static void number_no(const struct slv_at *a, struct slv_boxes *to) {
    const struct slv_numbers *n = number_set(a);
    add_numbers(a, to, SLV_T_NUMBER, n ? slv_numbers_not(&a->c->mem, n) : NULL);
}

/* --- strings ---------------------------------------------------------------------------------- */

/* pattern and format together. */
static slv_lang text_of(const struct slv_at *a) {
    const json_t *p = slv_kw_get(a, "pattern");
    const char *format = json_string_value(slv_kw_get(a, "format"));
    slv_lang r = SLV_LANG_ANY, f;
    if (p && !json_is_string(p)) slv_kw_bad(a, "pattern", "wants a string");
    else if (p) r = slv_kw_pattern(a, "pattern", json_string_value(p), json_string_length(p));
    if (format && a->c->formats && slv_format_lang(a->c->p, format, &f)) {
        r = slv_lang_and(a->c->p, r, f);
        if (r == SLV_LANG_FAIL) slv_refuse(a->c, SLV_E_LIMIT, a->node, "format", "too many states");
    }
    return r;
}

static void string_yes(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_box b = slv_box_all();
    slv_lang set;
    uint32_t lo, hi;
    b.text = text_of(a);
    (void)slv_kw_count(a, "minLength", &b.min_len);
    (void)slv_kw_count(a, "maxLength", &b.max_len);
    if (slv_lang_is_repeat(a->c->p, b.text, &set, &lo, &hi)) {
        b.text = slv_lang_repeat(a->c->p, set, 0, SLV_LANG_INF); /* bounds cost nothing apart */
        b.min_len = lo > b.min_len ? lo : b.min_len;
        b.max_len = hi < b.max_len ? hi : b.max_len;
    }
    if (b.min_len > b.max_len || b.text == SLV_LANG_NONE) b.types &= ~(unsigned)SLV_T_STRING;
    slv_kw_add(a, to, b);
}

static void string_no(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_box b = slv_box_of(SLV_T_STRING);
    uint32_t n;
    b.text = slv_lang_not(a->c->p, text_of(a));
    if (!slv_lang_is_none(a->c->p, b.text)) slv_kw_add(a, to, b);
    b.text = SLV_LANG_ANY;
    if (slv_kw_count(a, "maxLength", &n)) {
        b.min_len = n + 1;
        slv_kw_add(a, to, b);
        b.min_len = 0;
    }
    if (slv_kw_count(a, "minLength", &n) && n) {
        b.max_len = n - 1;
        slv_kw_add(a, to, b);
    }
}

const struct slv_clause slv_scalar_clauses[] = {
    {{"type"}, type_yes, type_no},
    {{"enum"}, enum_yes, enum_no},
    {{"const"}, const_yes, const_no},
    {{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
     number_yes,
     number_no},
    {{"minLength", "maxLength", "pattern", "format"}, string_yes, string_no},
    {{NULL}, NULL, NULL},
};
