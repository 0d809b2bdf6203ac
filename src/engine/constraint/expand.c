/* expand.c: keywords to boxes.
 *
 * Keywords that belong together are a clause. A clause knows the boxes of the values that meet it, and
 * those of the values that do not: a schema is the product of its clauses, its complement their union.
 * One table lists the clauses; a keyword that is in none of them is an annotation.
 *
 * Source: JSON Schema validation and core, drafts 4 to 2020-12. */
#include "engine/constraint/box.h"
#include "engine/constraint/format.h"
#include "engine/constraint/values.h"
#include "engine/constraint/regex.h"
#include "base/mem.h"

#include <string.h>

/* One schema that is being expanded. */
struct at {
    struct slv_compile *c;
    slv_node node;
    const json_t *s;
    enum slv_draft draft;
};

static const json_t *get(const struct at *a, const char *key) { return json_object_get(a->s, key); }

static void bad(const struct at *a, const char *key, const char *why) {
    slv_refuse(a->c, SLV_E_FORMAT, a->node, key, "%s", why);
}

static void add(const struct at *a, struct slv_boxes *to, struct slv_box b) {
    slv_boxes_add(a->c, to, &b);
}

/* A count keyword: *ret stays where it is absent. */
static bool count(const struct at *a, const char *key, uint32_t *ret) {
    const json_t *j = get(a, key);
    if (!j) return false;
    double v = json_is_number(j) ? json_number_value(j) : -1;
    if (v < 0 || v != (double)(uint64_t)v) return bad(a, key, "wants a whole number"), false;
    *ret = v >= (double)(SLV_COUNT_INF - 1) ? SLV_COUNT_INF - 1 : (uint32_t)v;
    return true;
}

/* Adds the boxes of a literal to a list: a union. */
static void add_lit(const struct at *a, struct slv_boxes *to, slv_lit l) {
    uint32_t n;
    const struct slv_box *v = slv_expand(a->c, l, &n);
    for (uint32_t i = 0; i < n; i++)
        slv_boxes_add(a->c, to, &v[i]);
}

/* Adds the boxes of all literals together. */
static void add_all(const struct at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
    struct slv_boxes x = {0};
    const struct slv_box all = slv_box_all();
    slv_boxes_add(a->c, &x, &all);
    for (size_t i = 0; i < n && x.n && !a->c->rc; i++) {
        uint32_t m;
        const struct slv_box *w = slv_expand(a->c, v[i], &m);
        slv_boxes_and(a->c, &x, w, m);
    }
    for (size_t i = 0; i < x.n; i++)
        slv_boxes_add(a->c, to, &x.v[i]);
    slv_boxes_free(&x);
}

/* --- type ------------------------------------------------------------------------------------- */

static const struct type_name {
    const char *name;
    unsigned types;
} type_names[] = {{"null", SLV_T_NULL},     {"boolean", SLV_T_FALSE | SLV_T_TRUE},
                  {"number", SLV_T_NUMBER}, {"string", SLV_T_STRING},
                  {"array", SLV_T_ARRAY},   {"object", SLV_T_OBJECT},
                  {"any", SLV_T_ALL}};

/* The types of one name; *integer where it is that one. */
static unsigned types_of(const struct at *a, const json_t *name, bool *integer) {
    const char *s = json_string_value(name);
    if (s && !strcmp(s, "integer")) return *integer = true, 0;
    for (size_t i = 0; s && i < sizeof type_names / sizeof type_names[0]; i++)
        if (!strcmp(s, type_names[i].name)) return type_names[i].types;
    bad(a, "type", "no type of JSON");
    return 0;
}

static unsigned read_types(const struct at *a, bool *integer) {
    const json_t *t = get(a, "type"), *x;
    unsigned types = 0;
    size_t i;
    *integer = false;
    if (!json_is_array(t)) types = types_of(a, t, integer);
    json_array_foreach((json_t *)(uintptr_t)t, i, x) types |= types_of(a, x, integer);
    if (types & SLV_T_NUMBER) *integer = false;
    return types;
}

static const struct slv_numbers *integers(const struct at *a) {
    return slv_numbers_multiples(&a->c->mem, SLV_DECIMAL_ONE);
}

static void add_numbers(const struct at *a, struct slv_boxes *to, unsigned types,
                        const struct slv_numbers *n) {
    struct slv_box b = slv_box_of(types);
    if (!n) {
        slv_refuse(a->c, SLV_E_LIMIT, a->node, NULL, "too many ranges of numbers");
        return;
    }
    b.numbers = n;
    if (!n->n) b.types &= ~(unsigned)SLV_T_NUMBER;
    add(a, to, b);
}

static void type_yes(const struct at *a, struct slv_boxes *to) {
    bool integer;
    const unsigned types = read_types(a, &integer);
    if (integer) add_numbers(a, to, types | SLV_T_NUMBER, integers(a));
    else add(a, to, slv_box_of(types));
}

static void type_no(const struct at *a, struct slv_boxes *to) {
    bool integer;
    const unsigned types = ~read_types(a, &integer) & SLV_T_ALL;
    if (integer) add_numbers(a, to, types, slv_numbers_not(&a->c->mem, integers(a)));
    else add(a, to, slv_box_of(types));
}

/* --- enum, const ------------------------------------------------------------------------------ */

static void enum_yes(const struct at *a, struct slv_boxes *to) {
    const json_t *list = get(a, "enum");
    if (!json_is_array(list)) bad(a, "enum", "wants a list");
    else slv_values(a->c, a->node, list, to);
}

static void enum_no(const struct at *a, struct slv_boxes *to) {
    const json_t *list = get(a, "enum");
    if (!json_is_array(list)) bad(a, "enum", "wants a list");
    else slv_other_values(a->c, a->node, list, to);
}

/* A const is an enum of one. */
static void const_do(const struct at *a, struct slv_boxes *to, bool yes) {
    json_t *list = json_pack("[O]", get(a, "const"));
    if (!list) slv_refuse(a->c, SLV_E_NOMEM, a->node, "const", "out of memory");
    else if (yes) slv_values(a->c, a->node, list, to);
    else slv_other_values(a->c, a->node, list, to);
    json_decref(list);
}

static void const_yes(const struct at *a, struct slv_boxes *to) { const_do(a, to, true); }
static void const_no(const struct at *a, struct slv_boxes *to) { const_do(a, to, false); }

/* --- numbers ---------------------------------------------------------------------------------- */

/* A bound, in units, rounded inwards. */
static bool bound(const struct at *a, const char *key, bool lower, slv_decimal *ret, bool *exact) {
    const json_t *j = get(a, key);
    char text[SLV_NUMBER_TEXT];
    if (!j || json_is_boolean(j)) return false;
    if (!json_is_number(j)) return bad(a, key, "wants a number"), false;
    const size_t n = slv_number_text(j, text);
    return slv_decimal_read(text, n, lower, ret, exact);
}

static bool is_true(const struct at *a, const char *key) { return json_is_true(get(a, key)); }

static const struct slv_numbers *number_set(const struct at *a) {
    slv_decimal lo = -SLV_DECIMAL_MAX, hi = SLV_DECIMAL_MAX, v;
    bool exact;
    if (bound(a, "minimum", true, &v, &exact)) lo = v + (exact && is_true(a, "exclusiveMinimum"));
    if (bound(a, "exclusiveMinimum", true, &v, &exact)) lo = v + exact > lo ? v + exact : lo;
    if (bound(a, "maximum", false, &v, &exact)) hi = v - (exact && is_true(a, "exclusiveMaximum"));
    if (bound(a, "exclusiveMaximum", false, &v, &exact)) hi = v - exact < hi ? v - exact : hi;
    const struct slv_numbers *r = &slv_numbers_all;
    if (lo > -SLV_DECIMAL_MAX || hi < SLV_DECIMAL_MAX) r = slv_numbers_range(&a->c->mem, lo, hi);
    if (bound(a, "multipleOf", true, &v, &exact)) {
        if (v <= 0) return bad(a, "multipleOf", "wants more than 0"), r;
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

static void number_yes(const struct at *a, struct slv_boxes *to) {
    add_numbers(a, to, SLV_T_ALL, number_set(a));
}

static void number_no(const struct at *a, struct slv_boxes *to) {
    const struct slv_numbers *n = number_set(a);
    add_numbers(a, to, SLV_T_NUMBER, n ? slv_numbers_not(&a->c->mem, n) : NULL);
}

/* --- strings ---------------------------------------------------------------------------------- */

static slv_lang pattern(const struct at *a, const char *keyword, const char *s, size_t n) {
    struct slv_err e = {0};
    slv_lang r;
    const int rc = slv_regex_search(a->c->p, s, n, a->c->classes, &r, &e);
    if (!rc) return r;
    slv_refuse(a->c, rc, a->node, keyword, "%s", e.msg);
    return SLV_LANG_ANY;
}

/* pattern and format together. */
static slv_lang text_of(const struct at *a) {
    const json_t *p = get(a, "pattern");
    const char *format = json_string_value(get(a, "format"));
    slv_lang r = SLV_LANG_ANY, f;
    if (p && !json_is_string(p)) bad(a, "pattern", "wants a string");
    else if (p) r = pattern(a, "pattern", json_string_value(p), json_string_length(p));
    if (format && a->c->formats && slv_format_lang(a->c->p, format, &f)) {
        r = slv_lang_and(a->c->p, r, f);
        if (r == SLV_LANG_FAIL) slv_refuse(a->c, SLV_E_LIMIT, a->node, "format", "too many states");
    }
    return r;
}

static void string_yes(const struct at *a, struct slv_boxes *to) {
    struct slv_box b = slv_box_all();
    slv_lang set;
    uint32_t lo, hi;
    b.text = text_of(a);
    (void)count(a, "minLength", &b.min_len);
    (void)count(a, "maxLength", &b.max_len);
    if (slv_lang_is_repeat(a->c->p, b.text, &set, &lo, &hi)) {
        b.text = slv_lang_repeat(a->c->p, set, 0, SLV_LANG_INF); /* bounds cost nothing apart */
        b.min_len = lo > b.min_len ? lo : b.min_len;
        b.max_len = hi < b.max_len ? hi : b.max_len;
    }
    if (b.min_len > b.max_len || b.text == SLV_LANG_NONE) b.types &= ~(unsigned)SLV_T_STRING;
    add(a, to, b);
}

static void string_no(const struct at *a, struct slv_boxes *to) {
    struct slv_box b = slv_box_of(SLV_T_STRING);
    uint32_t n;
    b.text = slv_lang_not(a->c->p, text_of(a));
    if (!slv_lang_is_none(a->c->p, b.text)) add(a, to, b);
    b.text = SLV_LANG_ANY;
    if (count(a, "maxLength", &n)) {
        b.min_len = n + 1;
        add(a, to, b);
        b.min_len = 0;
    }
    if (count(a, "minLength", &n) && n) {
        b.max_len = n - 1;
        add(a, to, b);
    }
}

/* --- arrays ----------------------------------------------------------------------------------- */

static void add_array(const struct at *a, struct slv_boxes *to, unsigned types,
                      struct slv_array array, const struct slv_evaluated *seen) {
    struct slv_array *keep = slv_compile_take(a->c, 1, sizeof *keep);
    struct slv_evaluated *e = seen && a->c->annotate ? slv_compile_take(a->c, 1, sizeof *e) : NULL;
    struct slv_box b = slv_box_of(types);
    if (!keep) return;
    *keep = array;
    if (e) *e = *seen;
    b.array = keep;
    b.evaluated = e;
    add(a, to, b);
}

/* The schemas by position, and of what comes after them (NULL: anything). */
static const json_t *item_lists(const struct at *a, const json_t **rest, const char **rest_key) {
    const json_t *items = get(a, "items"), *prefix = get(a, "prefixItems");
    *rest_key = "items";
    if (json_is_array(items)) { /* before 2020-12, and still written */
        *rest = get(a, "additionalItems");
        *rest_key = "additionalItems";
        return items;
    }
    *rest = items;
    return a->draft >= SLV_DRAFT_2020 ? prefix : NULL;
}

static slv_spec spec_of(const struct at *a, const char *key, const json_t *schema, bool yes) {
    if (!json_is_object(schema) && !json_is_boolean(schema)) {
        bad(a, key, "wants a schema");
        return SLV_SPEC_ANY;
    }
    return slv_spec_of(a->c, slv_lit_schema(a->c, schema, a->node) | !yes);
}

static void items_yes(const struct at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    struct slv_evaluated seen = {SLV_LANG_NONE, 0, NULL, 0};
    const json_t *rest, *x;
    const char *key;
    size_t i;
    const json_t *list = item_lists(a, &rest, &key);
    r.n_prefix = (uint32_t)json_array_size(list);
    slv_spec *prefix = slv_compile_take(a->c, r.n_prefix, sizeof *prefix);
    if (!prefix) return;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) prefix[i] = spec_of(a, key, x, true);
    r.prefix = prefix;
    if (rest) r.rest = spec_of(a, key, rest, true);
    seen.items = rest ? SLV_COUNT_INF : r.n_prefix;
    add_array(a, to, SLV_T_ALL, r, &seen);
}

static void items_no(const struct at *a, struct slv_boxes *to) {
    const json_t *rest, *x;
    const char *key;
    size_t i;
    const json_t *list = item_lists(a, &rest, &key);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) { /* one of them is wrong, the i-th */
        struct slv_array r = slv_array_any;
        slv_spec *prefix = slv_compile_take(a->c, i + 1, sizeof *prefix);
        if (!prefix) return;
        prefix[i] = spec_of(a, key, x, false);
        if (prefix[i] == SLV_SPEC_NONE) continue;
        r.prefix = prefix;
        r.n_prefix = r.min = (uint32_t)i + 1;
        add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
    if (!rest || spec_of(a, key, rest, false) == SLV_SPEC_NONE) return;
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    struct slv_array r = slv_array_any;
    if (!some) return;
    const uint32_t from = (uint32_t)json_array_size(list);
    *some = (struct slv_contains){slv_lit_schema(a->c, rest, a->node) | 1, 1, SLV_COUNT_INF, from};
    r.contains = some;
    r.n_contains = 1;
    r.min = from + 1;
    add_array(a, to, SLV_T_ARRAY, r, NULL);
}

static void lengths_yes(const struct at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    (void)count(a, "minItems", &r.min);
    (void)count(a, "maxItems", &r.max);
    if (r.min > r.max) add(a, to, slv_box_of(SLV_T_ALL & ~SLV_T_ARRAY));
    else add_array(a, to, SLV_T_ALL, r, NULL);
}

static void lengths_no(const struct at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    uint32_t n;
    if (count(a, "minItems", &n) && n) {
        r.max = n - 1;
        add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
    r.max = SLV_COUNT_INF;
    if (count(a, "maxItems", &n)) {
        r.min = n + 1;
        add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
}

static void unique_yes(const struct at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    const json_t *j = get(a, "uniqueItems");
    if (!json_is_boolean(j)) bad(a, "uniqueItems", "wants true or false");
    r.unique = json_is_true(j);
    if (r.unique) add_array(a, to, SLV_T_ALL, r, NULL);
    else add(a, to, slv_box_all());
}

static void unique_no(const struct at *a, struct slv_boxes *to) {
    (void)to;
    if (is_true(a, "uniqueItems"))
        slv_refuse(a->c, SLV_E_UNSUPPORTED, a->node, "uniqueItems", "in a complement");
}

static void contains_bounds(const struct at *a, uint32_t *min, uint32_t *max) {
    *min = 1;
    *max = SLV_COUNT_INF;
    if (a->draft < SLV_DRAFT_2019) return;
    (void)count(a, "minContains", min);
    (void)count(a, "maxContains", max);
}

static void add_contains(const struct at *a, struct slv_boxes *to, unsigned types, uint32_t min,
                         uint32_t max, bool seen) {
    const json_t *s = get(a, "contains");
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    slv_lit *lit = slv_compile_take(a->c, 1, sizeof *lit);
    struct slv_array r = slv_array_any;
    if (spec_of(a, "contains", s, true) == SLV_SPEC_NONE && min) types &= ~(unsigned)SLV_T_ARRAY;
    if (!some || !lit || min > max) {
        add(a, to, slv_box_of(types & ~(unsigned)SLV_T_ARRAY));
        return;
    }
    *lit = slv_lit_schema(a->c, s, a->node);
    *some = (struct slv_contains){*lit, min, max, 0};
    r.contains = some;
    r.n_contains = min > 0 || max != SLV_COUNT_INF;
    r.min = min;
    const struct slv_evaluated e = {SLV_LANG_NONE, 0, lit, 1};
    add_array(a, to, types, r, seen && a->draft >= SLV_DRAFT_2020 ? &e : NULL);
}

static void contains_yes(const struct at *a, struct slv_boxes *to) {
    uint32_t min, max;
    contains_bounds(a, &min, &max);
    add_contains(a, to, SLV_T_ALL, min, max, true);
}

static void contains_no(const struct at *a, struct slv_boxes *to) {
    uint32_t min, max;
    contains_bounds(a, &min, &max);
    if (min) add_contains(a, to, SLV_T_ARRAY, 0, min - 1, false);
    if (max != SLV_COUNT_INF) add_contains(a, to, SLV_T_ARRAY, max + 1, SLV_COUNT_INF, false);
}

/* --- objects ---------------------------------------------------------------------------------- */

static void add_object(const struct at *a, struct slv_boxes *to, unsigned types,
                       struct slv_object object, const struct slv_evaluated *seen) {
    struct slv_object *keep = slv_compile_take(a->c, 1, sizeof *keep);
    struct slv_evaluated *e = seen && a->c->annotate ? slv_compile_take(a->c, 1, sizeof *e) : NULL;
    struct slv_box b = slv_box_of(types);
    if (!keep) return;
    *keep = object;
    if (e) *e = *seen;
    b.object = keep;
    b.evaluated = e;
    add(a, to, b);
}

/* An object that has one member of a name, or does not (spec NONE). */
static void add_member(const struct at *a, struct slv_boxes *to, unsigned types, slv_name name,
                       slv_spec spec, bool required) {
    struct slv_object o = slv_object_any;
    struct slv_prop *p = slv_compile_take(a->c, 1, sizeof *p);
    if (!p || (required && spec == SLV_SPEC_NONE)) return;
    *p = (struct slv_prop){name, spec, required};
    o.props = p;
    o.n_props = 1;
    add_object(a, to, types, o, NULL);
}

static slv_name name_of(const struct at *a, const char *key) {
    return slv_name_of(a->c, key, strlen(key));
}

/* Names of `properties`, as one language. */
static slv_lang property_words(const struct at *a) {
    const json_t *props = get(a, "properties");
    struct slv_word *w = slv_compile_take(a->c, json_object_size(props), sizeof *w);
    size_t n = 0;
    const char *key;
    json_t *x;
    if (!w) return SLV_LANG_NONE;
    json_object_foreach((json_t *)(uintptr_t)props, key, x) {
        (void)x;
        w[n++] = (struct slv_word){key, strlen(key)};
    }
    return slv_lang_words(a->c->p, w, n);
}

/* Splits every class by a pattern: those in it get the spec too. */
static void split_classes(const struct at *a, struct slv_class *v, uint32_t *n, slv_lang in,
                          slv_spec spec) {
    const uint32_t before = *n;
    const slv_lang out = slv_lang_not(a->c->p, in);
    for (uint32_t i = 0, at = 0; i < before; i++) {
        const struct slv_class k = v[at];
        const slv_lang x = slv_lang_and(a->c->p, k.names, in);
        const slv_lang y = slv_lang_and(a->c->p, k.names, out);
        const bool some_x = !slv_lang_is_none(a->c->p, x), some_y = !slv_lang_is_none(a->c->p, y);
        if (some_x && some_y && *n == SLV_MAX_CLASSES) {
            slv_refuse(a->c, SLV_E_LIMIT, a->node, "patternProperties",
                       "more than %u classes of names", SLV_MAX_CLASSES);
            return;
        }
        if (some_x && some_y) v[(*n)++] = (struct slv_class){y, k.spec};
        v[at++] = some_x ? (struct slv_class){x, slv_spec_and(a->c, k.spec, spec)} : k;
    }
}

/* The names that patternProperties matches. */
static slv_lang pattern_names(const struct at *a) {
    slv_lang all = SLV_LANG_NONE;
    const char *key;
    json_t *x;
    json_object_foreach((json_t *)(uintptr_t)get(a, "patternProperties"), key, x) {
        (void)x;
        all = slv_lang_or(a->c->p, all, pattern(a, "patternProperties", key, strlen(key)));
    }
    return all;
}

/* The classes of names that properties does not list. */
static const struct slv_class *class_list(const struct at *a, uint32_t *ret_n) {
    const json_t *patterns = get(a, "patternProperties"), *others = get(a, "additionalProperties");
    struct slv_class *v = slv_compile_take(a->c, SLV_MAX_CLASSES, sizeof *v);
    const char *key;
    json_t *x;
    *ret_n = 0;
    if (!v) return NULL;
    const slv_lang rest = slv_lang_not(a->c->p, pattern_names(a));
    v[(*ret_n)++] = (struct slv_class){SLV_LANG_ANY, SLV_SPEC_ANY};
    json_object_foreach((json_t *)(uintptr_t)patterns, key, x) {
        const slv_lang in = pattern(a, "patternProperties", key, strlen(key));
        split_classes(a, v, ret_n, in, spec_of(a, "patternProperties", x, true));
        if (a->c->rc) return v;
    }
    if (others) split_classes(a, v, ret_n, rest, spec_of(a, "additionalProperties", others, true));
    return v;
}

static bool want_object(const struct at *a, const char *key) {
    if (!get(a, key) || json_is_object(get(a, key))) return true;
    bad(a, key, "wants an object");
    return false;
}

static void members_yes(const struct at *a, struct slv_boxes *to) {
    const json_t *props = get(a, "properties"), *patterns = get(a, "patternProperties");
    struct slv_object o = slv_object_any;
    struct slv_evaluated seen = {SLV_LANG_NONE, 0, NULL, 0};
    const char *key, *pat;
    json_t *x, *y;
    if (!want_object(a, "properties") || !want_object(a, "patternProperties")) return;
    struct slv_prop *v = slv_compile_take(a->c, json_object_size(props), sizeof *v);
    if (!v) return;
    json_object_foreach((json_t *)(uintptr_t)props, key, x) {
        slv_spec s = spec_of(a, "properties", x, true);
        json_object_foreach((json_t *)(uintptr_t)patterns, pat, y) {
            const slv_lang in = pattern(a, "patternProperties", pat, strlen(pat));
            if (slv_lang_has(a->c->p, in, key, strlen(key)))
                s = slv_spec_and(a->c, s, spec_of(a, "patternProperties", y, true));
        }
        v[o.n_props++] = (struct slv_prop){name_of(a, key), s, false};
    }
    o.props = v;
    o.classes = class_list(a, &o.n_classes);
    if (!o.classes) return;
    seen.names = SLV_LANG_ANY;
    if (!get(a, "additionalProperties") && a->c->annotate)
        seen.names = slv_lang_or(a->c->p, property_words(a), pattern_names(a));
    add_object(a, to, SLV_T_ALL, o, &seen);
}

/* Some member whose name is in `names` meets the spec. */
static void add_want(const struct at *a, struct slv_boxes *to, slv_lang names, slv_spec spec) {
    struct slv_object o = slv_object_any;
    struct slv_class *w = slv_compile_take(a->c, 1, sizeof *w);
    if (!w || spec == SLV_SPEC_NONE || slv_lang_is_none(a->c->p, names)) return;
    *w = (struct slv_class){names, spec};
    o.wants = w;
    o.n_wants = o.min = 1;
    add_object(a, to, SLV_T_OBJECT, o, NULL);
}

static void members_no(const struct at *a, struct slv_boxes *to) {
    const json_t *others = get(a, "additionalProperties");
    const char *key;
    json_t *x;
    if (!want_object(a, "properties") || !want_object(a, "patternProperties")) return;
    json_object_foreach((json_t *)(uintptr_t)get(a, "properties"), key, x)
        add_member(a, to, SLV_T_OBJECT, name_of(a, key), spec_of(a, "properties", x, false), true);
    json_object_foreach((json_t *)(uintptr_t)get(a, "patternProperties"), key, x)
        add_want(a, to, pattern(a, "patternProperties", key, strlen(key)),
                 spec_of(a, "patternProperties", x, false));
    if (!others) return;
    const slv_lang known = slv_lang_or(a->c->p, property_words(a), pattern_names(a));
    add_want(a, to, slv_lang_not(a->c->p, known),
             spec_of(a, "additionalProperties", others, false));
}

/* A list of names. */
static bool names_ok(const struct at *a, const char *key, const json_t *list) {
    size_t i;
    const json_t *x;
    bool ok = json_is_array(list);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) ok = ok && json_is_string(x);
    if (!ok) bad(a, key, "wants a list of names");
    return ok;
}

/* Objects that have all members of the list, and perhaps `also`. */
static void add_having(const struct at *a, struct slv_boxes *to, unsigned types, const json_t *list,
                       const char *also) {
    struct slv_object o = slv_object_any;
    struct slv_prop *v = slv_compile_take(a->c, json_array_size(list) + 1, sizeof *v);
    size_t i;
    const json_t *x;
    if (!v) return;
    if (also) v[o.n_props++] = (struct slv_prop){name_of(a, also), SLV_SPEC_ANY, true};
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        const slv_name name = slv_name_of(a->c, json_string_value(x), json_string_length(x));
        uint32_t k = 0;
        while (k < o.n_props && v[k].name != name)
            k++;
        if (k == o.n_props) v[o.n_props++] = (struct slv_prop){name, SLV_SPEC_ANY, true};
    }
    o.props = v;
    add_object(a, to, types, o, NULL);
}

static void required_yes(const struct at *a, struct slv_boxes *to) {
    const json_t *list = get(a, "required");
    if (names_ok(a, "required", list)) add_having(a, to, SLV_T_ALL, list, NULL);
}

static void required_no(const struct at *a, struct slv_boxes *to) {
    const json_t *list = get(a, "required"), *x;
    size_t i;
    if (!names_ok(a, "required", list)) return;
    json_array_foreach((json_t *)(uintptr_t)list, i, x)
        add_member(a, to, SLV_T_OBJECT, name_of(a, json_string_value(x)), SLV_SPEC_NONE, false);
}

static void sizes_yes(const struct at *a, struct slv_boxes *to) {
    struct slv_object o = slv_object_any;
    (void)count(a, "minProperties", &o.min);
    (void)count(a, "maxProperties", &o.max);
    if (o.min > o.max) add(a, to, slv_box_of(SLV_T_ALL & ~SLV_T_OBJECT));
    else add_object(a, to, SLV_T_ALL, o, NULL);
}

static void sizes_no(const struct at *a, struct slv_boxes *to) {
    struct slv_object o = slv_object_any;
    uint32_t n;
    if (count(a, "minProperties", &n) && n) {
        o.max = n - 1;
        add_object(a, to, SLV_T_OBJECT, o, NULL);
    }
    o.max = SLV_COUNT_INF;
    if (count(a, "maxProperties", &n)) {
        o.min = n + 1;
        add_object(a, to, SLV_T_OBJECT, o, NULL);
    }
}

/* The strings that propertyNames allows. */
static slv_lang allowed_names(const struct at *a) {
    const json_t *s = get(a, "propertyNames");
    slv_lang all = SLV_LANG_NONE;
    uint32_t n = 0;
    if (spec_of(a, "propertyNames", s, true) == SLV_SPEC_ANY) return SLV_LANG_ANY;
    const struct slv_box *v = slv_expand(a->c, slv_lit_schema(a->c, s, a->node), &n);
    for (uint32_t i = 0; i < n; i++)
        if (v[i].types & SLV_T_STRING) all = slv_lang_or(a->c->p, all, slv_box_text(a->c, &v[i]));
    return all;
}

static void names_yes(const struct at *a, struct slv_boxes *to) {
    const slv_lang in = allowed_names(a), out = slv_lang_not(a->c->p, in);
    struct slv_class *v = slv_compile_take(a->c, 2, sizeof *v);
    struct slv_object o = slv_object_any;
    if (!v) return;
    o.n_classes = 0;
    if (!slv_lang_is_none(a->c->p, in)) v[o.n_classes++] = (struct slv_class){in, SLV_SPEC_ANY};
    if (!slv_lang_is_none(a->c->p, out)) v[o.n_classes++] = (struct slv_class){out, SLV_SPEC_NONE};
    o.classes = v;
    add_object(a, to, SLV_T_ALL, o, NULL);
}

static void names_no(const struct at *a, struct slv_boxes *to) {
    add_want(a, to, slv_lang_not(a->c->p, allowed_names(a)), SLV_SPEC_ANY);
}

/* --- what one member asks of others ----------------------------------------------------------- */

/* to = to x (what member `key` asks): nothing without it, with it these names or that schema. */
static void dependency_yes(const struct at *a, struct slv_boxes *to, const char *keyword,
                           const char *key, const json_t *x) {
    struct slv_boxes either = {0};
    add(a, &either, slv_box_of(SLV_T_ALL & ~SLV_T_OBJECT));
    add_member(a, &either, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_NONE, false);
    if (json_is_array(x)) {
        if (names_ok(a, keyword, x)) add_having(a, &either, SLV_T_OBJECT, x, key);
    } else {
        struct slv_boxes with = {0};
        add_member(a, &with, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_ANY, true);
        slv_boxes_and_spec(a->c, &with, spec_of(a, keyword, x, true));
        for (size_t i = 0; i < with.n; i++)
            slv_boxes_add(a->c, &either, &with.v[i]);
        slv_boxes_free(&with);
    }
    slv_boxes_fold(a->c, &either);
    slv_boxes_and(a->c, to, either.v, either.n);
    slv_boxes_free(&either);
}

static void dependency_no(const struct at *a, struct slv_boxes *to, const char *keyword,
                          const char *key, const json_t *x) {
    struct slv_boxes with = {0};
    size_t i;
    const json_t *name;
    if (json_is_array(x) && !names_ok(a, keyword, x)) return;
    json_array_foreach((json_t *)(uintptr_t)x, i, name) add_member(
        a, &with, SLV_T_OBJECT, name_of(a, json_string_value(name)), SLV_SPEC_NONE, false);
    if (!json_is_array(x)) {
        add(a, &with, slv_box_of(SLV_T_ALL));
        slv_boxes_and_spec(a->c, &with, spec_of(a, keyword, x, false));
    }
    struct slv_boxes has = {0};
    add_member(a, &has, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_ANY, true);
    slv_boxes_and(a->c, &with, has.v, has.n);
    for (i = 0; i < with.n; i++)
        slv_boxes_add(a->c, to, &with.v[i]);
    slv_boxes_free(&has);
    slv_boxes_free(&with);
}

static void dependencies_do(const struct at *a, struct slv_boxes *to, bool yes) {
    static const char *const keys[] = {"dependencies", "dependentRequired", "dependentSchemas"};
    if (yes) add(a, to, slv_box_all());
    for (size_t i = 0; i < 3; i++) {
        const char *key;
        json_t *x;
        if ((i == 0) != (a->draft < SLV_DRAFT_2019) || !want_object(a, keys[i])) continue;
        json_object_foreach((json_t *)(uintptr_t)get(a, keys[i]), key, x) {
            if (yes) dependency_yes(a, to, keys[i], key, x);
            else dependency_no(a, to, keys[i], key, x);
        }
    }
}

static void dependencies_yes(const struct at *a, struct slv_boxes *to) {
    dependencies_do(a, to, true);
}
static void dependencies_no(const struct at *a, struct slv_boxes *to) {
    dependencies_do(a, to, false);
}

/* --- schemas put together --------------------------------------------------------------------- */

/* The literals of a list of schemas; NULL where it is none. */
static slv_lit *lits(const struct at *a, const char *key, size_t *ret_n) {
    const json_t *list = get(a, key), *x;
    size_t i;
    if (!json_is_array(list) || !json_array_size(list))
        return bad(a, key, "wants a list of schemas"), NULL;
    slv_lit *v = slv_compile_take(a->c, json_array_size(list), sizeof *v);
    if (!v) return NULL;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        (void)spec_of(a, key, x, true);
        if (a->c->rc) return NULL;
        v[i] = slv_lit_schema(a->c, x, a->node);
    }
    *ret_n = json_array_size(list);
    return v;
}

static void all_yes(const struct at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = lits(a, "allOf", &n);
    if (v) add_all(a, to, v, n);
}

static void each_no(const struct at *a, struct slv_boxes *to, const char *key) {
    size_t n;
    const slv_lit *v = lits(a, key, &n);
    for (size_t i = 0; v && i < n; i++)
        add_lit(a, to, v[i] | 1);
}

static void all_no(const struct at *a, struct slv_boxes *to) { each_no(a, to, "allOf"); }

#define MAX_SUBSETS 6

/* Every way in which some are met and the others are not: then what was looked at is known. */
static void subsets(const struct at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
    slv_lit set[MAX_SUBSETS] = {0};
    if (n > MAX_SUBSETS) {
        slv_refuse(a->c, SLV_E_UNSUPPORTED, a->node, "anyOf",
                   "more than %d alternatives beside an unevaluated...", MAX_SUBSETS);
        return;
    }
    for (unsigned bits = 1; bits < 1u << n; bits++) {
        for (size_t i = 0; i < n; i++)
            set[i] = bits >> i & 1 ? v[i] : v[i] | 1;
        add_all(a, to, set, n);
    }
}

static void any_yes(const struct at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = lits(a, "anyOf", &n);
    if (!v) return;
    if (a->c->annotate) {
        subsets(a, to, v, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        add_lit(a, to, v[i]);
}

static void none_of(const struct at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
    slv_lit *set = slv_compile_take(a->c, n, sizeof *set);
    for (size_t i = 0; set && i < n; i++)
        set[i] = v[i] | 1;
    if (set) add_all(a, to, set, n);
}

static void any_no(const struct at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = lits(a, "anyOf", &n);
    if (v) none_of(a, to, v, n);
}

/* Whether two literals share no value, seen by form. */
static bool apart(const struct at *a, slv_lit x, slv_lit y) {
    struct slv_boxes b = {0};
    add_lit(a, &b, x);
    uint32_t n;
    const struct slv_box *v = slv_expand(a->c, y, &n);
    slv_boxes_and(a->c, &b, v, n);
    const bool r = b.n == 0;
    slv_boxes_free(&b);
    return r;
}

/* One of them and none of the others, where they are not apart anyway. */
static void one_yes(const struct at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = lits(a, "oneOf", &n);
    slv_lit *set = v ? slv_compile_take(a->c, n, sizeof *set) : NULL;
    for (size_t i = 0; set && i < n && !a->c->rc; i++) {
        size_t k = 0;
        set[k++] = v[i];
        for (size_t j = 0; j < n; j++)
            if (j != i && !apart(a, v[i], v[j])) set[k++] = v[j] | 1;
        add_all(a, to, set, k);
    }
}

static void one_no(const struct at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = lits(a, "oneOf", &n);
    if (!v) return;
    none_of(a, to, v, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && !a->c->rc; j++) {
            const slv_lit two[] = {v[i], v[j]};
            add_all(a, to, two, 2);
        }
}

static slv_lit lit_of(const struct at *a, const char *key) {
    (void)spec_of(a, key, get(a, key), true);
    return a->c->rc ? 0 : slv_lit_schema(a->c, get(a, key), a->node);
}

static void not_yes(const struct at *a, struct slv_boxes *to) {
    add_lit(a, to, lit_of(a, "not") | 1);
}
static void not_no(const struct at *a, struct slv_boxes *to) { add_lit(a, to, lit_of(a, "not")); }

static void branch(const struct at *a, struct slv_boxes *to, slv_lit test, const char *key,
                   bool yes) {
    const slv_lit then = get(a, key) ? lit_of(a, key) | !yes : 0;
    const slv_lit v[] = {test, then};
    if (get(a, key)) add_all(a, to, v, 2);
    else if (yes) add_lit(a, to, test);
}

static void if_do(const struct at *a, struct slv_boxes *to, bool yes) {
    if (a->draft < SLV_DRAFT_7) {
        if (yes) add(a, to, slv_box_all());
        return;
    }
    const slv_lit test = lit_of(a, "if");
    if (a->c->rc) return;
    branch(a, to, test, "then", yes);
    branch(a, to, test | 1, "else", yes);
}

static void if_yes(const struct at *a, struct slv_boxes *to) { if_do(a, to, true); }
static void if_no(const struct at *a, struct slv_boxes *to) { if_do(a, to, false); }

static const char *const ref_keys[] = {"$ref", "$dynamicRef", "$recursiveRef"};

static void ref_do(const struct at *a, struct slv_boxes *to, bool yes) {
    if (yes) add(a, to, slv_box_all());
    for (size_t i = 0; i < 3; i++) {
        const json_t *j = get(a, ref_keys[i]);
        struct slv_err e = {0};
        slv_node n;
        if (!j || (i == 1 && a->draft < SLV_DRAFT_2020) || (i == 2 && a->draft != SLV_DRAFT_2019))
            continue;
        if (!json_is_string(j)) {
            bad(a, ref_keys[i], "wants a reference");
            return;
        }
        const int rc = slv_document_resolve(a->c->d, a->node, json_string_value(j), i == 1, &n, &e);
        if (rc) {
            slv_refuse(a->c, rc, a->node, ref_keys[i], "%s", e.msg);
            return;
        }
        const slv_lit l = slv_lit_node(a->c, n);
        if (!yes) add_lit(a, to, l | 1);
        else slv_boxes_and_spec(a->c, to, slv_spec_of(a->c, l));
    }
}

static void ref_yes(const struct at *a, struct slv_boxes *to) { ref_do(a, to, true); }
static void ref_no(const struct at *a, struct slv_boxes *to) { ref_do(a, to, false); }

/* --- the table -------------------------------------------------------------------------------- */

static const struct clause {
    const char *keys[5]; /* any of them makes it count */
    void (*yes)(const struct at *a, struct slv_boxes *to);
    void (*no)(const struct at *a, struct slv_boxes *to);
} clauses[] = {
    {{"type"}, type_yes, type_no},
    {{"enum"}, enum_yes, enum_no},
    {{"const"}, const_yes, const_no},
    {{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
     number_yes,
     number_no},
    {{"minLength", "maxLength", "pattern", "format"}, string_yes, string_no},
    {{"items", "prefixItems"}, items_yes, items_no},
    {{"minItems", "maxItems"}, lengths_yes, lengths_no},
    {{"uniqueItems"}, unique_yes, unique_no},
    {{"contains"}, contains_yes, contains_no},
    {{"properties", "patternProperties", "additionalProperties"}, members_yes, members_no},
    {{"required"}, required_yes, required_no},
    {{"minProperties", "maxProperties"}, sizes_yes, sizes_no},
    {{"propertyNames"}, names_yes, names_no},
    {{"dependencies", "dependentRequired", "dependentSchemas"}, dependencies_yes, dependencies_no},
    {{"$ref", "$dynamicRef", "$recursiveRef"}, ref_yes, ref_no},
    {{"allOf"}, all_yes, all_no},
    {{"anyOf"}, any_yes, any_no},
    {{"oneOf"}, one_yes, one_no},
    {{"not"}, not_yes, not_no},
    {{"if"}, if_yes, if_no},
};
#define N_CLAUSES (sizeof clauses / sizeof clauses[0])

static bool counts(const struct at *a, const struct clause *k) {
    const bool ref_alone = a->draft <= SLV_DRAFT_7 && json_is_string(get(a, "$ref"));
    if (ref_alone && strcmp(k->keys[0], "$ref") != 0) return false;
    for (size_t i = 0; i < 5 && k->keys[i]; i++)
        if (get(a, k->keys[i])) return true;
    return false;
}

/* --- unevaluated ------------------------------------------------------------------------------ */

/* What unevaluatedProperties and unevaluatedItems ask of values in b, which knows what was looked at;
 * or, not `yes`, those that do not meet it. */
static void unevaluated_properties(const struct at *a, const struct slv_box *b,
                                   struct slv_boxes *to, bool yes) {
    const json_t *s = get(a, "unevaluatedProperties");
    const slv_lang seen = b->evaluated ? b->evaluated->names : SLV_LANG_NONE;
    const slv_lang rest = slv_lang_not(a->c->p, seen);
    if (!yes) {
        add_want(a, to, rest, spec_of(a, "unevaluatedProperties", s, false));
        return;
    }
    struct slv_object o = slv_object_any;
    struct slv_class *v = slv_compile_take(a->c, 2, sizeof *v);
    const struct slv_evaluated all = {SLV_LANG_ANY, 0, NULL, 0};
    if (!v) return;
    o.n_classes = 0;
    if (!slv_lang_is_none(a->c->p, seen)) v[o.n_classes++] = (struct slv_class){seen, SLV_SPEC_ANY};
    if (!slv_lang_is_none(a->c->p, rest))
        v[o.n_classes++] = (struct slv_class){rest, spec_of(a, "unevaluatedProperties", s, true)};
    o.classes = v;
    add_object(a, to, SLV_T_ALL, o, &all);
}

static void unevaluated_items(const struct at *a, const struct slv_box *b, struct slv_boxes *to,
                              bool yes) {
    const json_t *s = get(a, "unevaluatedItems");
    const struct slv_evaluated none = {SLV_LANG_NONE, 0, NULL, 0};
    const struct slv_evaluated *e = b->evaluated ? b->evaluated : &none;
    const struct slv_evaluated all = {SLV_LANG_NONE, SLV_COUNT_INF, NULL, 0};
    struct slv_array r = slv_array_any;
    slv_lit *either = slv_compile_take(a->c, e->n_contained + 1u, sizeof *either);
    if (!either || e->items == SLV_COUNT_INF) {
        if (yes) add_array(a, to, SLV_T_ALL, r, &all);
        return;
    }
    either[0] = lit_of(a, "unevaluatedItems");
    if (e->n_contained) memcpy(either + 1, e->contained, e->n_contained * sizeof *either);
    const slv_lit rest = slv_lit_either(a->c, either, e->n_contained + 1u, a->node);
    (void)s;
    if (yes) {
        slv_spec *prefix = slv_compile_take(a->c, e->items, sizeof *prefix); /* any */
        if (!prefix) return;
        r.prefix = prefix;
        r.n_prefix = e->items;
        r.rest = slv_spec_of(a->c, rest);
        add_array(a, to, SLV_T_ALL, r, &all);
        return;
    }
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    if (!some) return;
    *some = (struct slv_contains){rest | 1, 1, SLV_COUNT_INF, e->items};
    r.contains = some;
    r.n_contains = 1;
    r.min = e->items + 1;
    add_array(a, to, SLV_T_ARRAY, r, NULL);
}

static const struct late {
    const char *key;
    void (*make)(const struct at *a, const struct slv_box *b, struct slv_boxes *to, bool yes);
} lates[] = {{"unevaluatedProperties", unevaluated_properties},
             {"unevaluatedItems", unevaluated_items}};

/* Each box of v by what it leaves to look at. */
static void late_and(const struct at *a, const struct late *l, struct slv_boxes *v) {
    struct slv_boxes out = {0};
    for (size_t i = 0; i < v->n && !a->c->rc; i++) {
        struct slv_boxes one = {0}, asks = {0};
        slv_boxes_add(a->c, &one, &v->v[i]);
        l->make(a, &v->v[i], &asks, true);
        slv_boxes_and(a->c, &one, asks.v, asks.n);
        for (size_t j = 0; j < one.n; j++)
            slv_boxes_add(a->c, &out, &one.v[j]);
        slv_boxes_free(&one);
        slv_boxes_free(&asks);
    }
    slv_boxes_free(v);
    *v = out;
}

static bool has_late(const struct at *a, const struct late *l) {
    return a->draft >= SLV_DRAFT_2019 && get(a, l->key);
}

/* --- a literal -------------------------------------------------------------------------------- */

static void all_clauses(const struct at *a, struct slv_boxes *to) {
    add(a, to, slv_box_all());
    for (size_t i = 0; i < N_CLAUSES && to->n && !a->c->rc; i++) {
        struct slv_boxes x = {0};
        if (!counts(a, &clauses[i])) continue;
        clauses[i].yes(a, &x);
        slv_boxes_fold(a->c, &x);
        slv_boxes_and(a->c, to, x.v, x.n);
        slv_boxes_free(&x);
    }
}

static void schema_yes(const struct at *a, struct slv_boxes *to) {
    all_clauses(a, to);
    for (size_t i = 0; i < 2; i++)
        if (has_late(a, &lates[i])) late_and(a, &lates[i], to);
}

/* Values that all else accepts, and the keyword does not. */
static void late_no(const struct at *a, const struct late *l, struct slv_boxes *to) {
    struct slv_boxes v = {0};
    all_clauses(a, &v);
    for (size_t i = 0; i < v.n && !a->c->rc; i++) {
        struct slv_boxes one = {0}, fails = {0};
        slv_boxes_add(a->c, &one, &v.v[i]);
        l->make(a, &v.v[i], &fails, false);
        slv_boxes_and(a->c, &one, fails.v, fails.n);
        for (size_t j = 0; j < one.n; j++)
            slv_boxes_add(a->c, to, &one.v[j]);
        slv_boxes_free(&one);
        slv_boxes_free(&fails);
    }
    slv_boxes_free(&v);
}

static void schema_no(const struct at *a, struct slv_boxes *to) {
    for (size_t i = 0; i < N_CLAUSES && !a->c->rc; i++)
        if (counts(a, &clauses[i])) clauses[i].no(a, to);
    for (size_t i = 0; i < 2; i++)
        if (has_late(a, &lates[i])) late_no(a, &lates[i], to);
    for (size_t i = 0; i < to->n; i++)
        to->v[i].evaluated = NULL;
}

static void schema(struct slv_compile *c, slv_node n, bool yes, struct slv_boxes *to) {
    const struct at a = {c, n, slv_document_json(c->d, n), slv_document_draft(c->d, n)};
    if (json_is_boolean(a.s)) {
        if (json_is_true(a.s) == yes) add(&a, to, slv_box_all());
    } else if (yes) schema_yes(&a, to);
    else schema_no(&a, to);
}

static void place(struct slv_compile *c, slv_lit l, struct slv_boxes *to) {
    const struct slv_place p = c->places[l / 2];
    const bool yes = !(l & 1);
    const struct at a = {c, p.node, NULL, SLV_DRAFT_2020};
    json_t *one;
    switch (p.kind) {
    case SLV_PLACE_SCHEMA:
        schema(c, p.node, yes, to);
        return;
    case SLV_PLACE_VALUE:
        one = json_pack("[O]", p.value);
        if (!one) slv_refuse(c, SLV_E_NOMEM, p.node, NULL, "out of memory");
        else if (yes) slv_values(c, p.node, one, to);
        else slv_other_values(c, p.node, one, to);
        json_decref(one);
        return;
    case SLV_PLACE_EITHER:
        if (!yes) none_of(&a, to, p.either, p.n_either);
        for (uint32_t i = 0; yes && i < p.n_either; i++)
            add_lit(&a, to, p.either[i]);
        return;
    }
}

const struct slv_box *slv_expand(struct slv_compile *c, slv_lit l, uint32_t *ret_n) {
    const unsigned side = l & 1;
    struct slv_boxes b = {0};
    *ret_n = 0;
    if (c->rc || c->unknown) return NULL;
    if (c->places[l / 2].state[side] == 2) {
        *ret_n = c->places[l / 2].n_boxes[side];
        return c->places[l / 2].boxes[side];
    }
    if (c->places[l / 2].state[side] == 1) {
        c->unknown = c->clear_depth > 0;
        if (c->unknown) return NULL;
        slv_refuse(c, SLV_E_UNSUPPORTED, c->places[l / 2].node, NULL,
                   "the schema refers to itself without going into a value");
        return NULL;
    }
    if (c->depth == SLV_MAX_EXPAND_DEPTH) {
        slv_refuse(c, SLV_E_LIMIT, c->places[l / 2].node, NULL, "schemas put together too deeply");
        return NULL;
    }
    c->places[l / 2].state[side] = 1;
    c->depth++;
    place(c, l, &b);
    slv_boxes_fold(c, &b);
    c->depth--;
    c->places[l / 2].state[side] = 0;
    if (c->unknown) {
        slv_boxes_free(&b);
        return NULL;
    }
    struct slv_box *keep = slv_compile_take(c, b.n, sizeof *keep);
    if (keep && b.n) memcpy(keep, b.v, b.n * sizeof *keep);
    c->places[l / 2].boxes[side] = keep;
    c->places[l / 2].n_boxes[side] = keep ? (uint32_t)b.n : 0;
    c->places[l / 2].state[side] = 2;
    slv_boxes_free(&b);
    *ret_n = c->places[l / 2].n_boxes[side];
    return keep;
}
