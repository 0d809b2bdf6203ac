/* expand_array.c: what keywords say of arrays, as boxes: see expand.h. */
#include "engine/constraint/expand.h"

void slv_kw_add_array(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                      struct slv_array array, const struct slv_evaluated *seen) {
    struct slv_array *keep = slv_compile_take(a->c, 1, sizeof *keep);
    struct slv_evaluated *e = seen && a->c->annotate ? slv_compile_take(a->c, 1, sizeof *e) : NULL;
    struct slv_box b = slv_box_of(types);
    if (!keep) return;
    *keep = array;
    if (e) *e = *seen;
    b.array = keep;
    b.evaluated = e;
    slv_kw_add(a, to, b);
}

/* The schemas by position, and of what comes after them (NULL: anything). */
static const json_t *item_lists(const struct slv_at *a, const json_t **rest,
                                const char **rest_key) {
    const json_t *items = slv_kw_get(a, "items"), *prefix = slv_kw_get(a, "prefixItems");
    *rest_key = "items";
    if (json_is_array(items)) { /* before 2020-12, and still written */
        *rest = slv_kw_get(a, "additionalItems");
        *rest_key = "additionalItems";
        return items;
    }
    *rest = items;
    return a->draft >= SLV_DRAFT_2020 ? prefix : NULL;
}

static void items_yes(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    struct slv_evaluated seen = {SLV_LANG_NONE, 0, NULL, 0};
    const json_t *rest, *x;
    const char *key;
    size_t i;
    const json_t *list = item_lists(a, &rest, &key);
    r.n_prefix = (uint32_t)json_array_size(list);
    slv_spec *prefix = slv_compile_take(a->c, r.n_prefix, sizeof *prefix);
    if (!prefix) return;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) prefix[i] = slv_kw_spec(a, key, x, true);
    r.prefix = prefix;
    if (rest) r.rest = slv_kw_spec(a, key, rest, true);
    seen.items = rest ? SLV_COUNT_INF : r.n_prefix;
    slv_kw_add_array(a, to, SLV_T_ALL, r, &seen);
}

static void items_no(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *rest, *x;
    const char *key;
    size_t i;
    const json_t *list = item_lists(a, &rest, &key);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) { /* one of them is wrong, the i-th */
        struct slv_array r = slv_array_any;
        slv_spec *prefix = slv_compile_take(a->c, i + 1, sizeof *prefix);
        if (!prefix) return;
        prefix[i] = slv_kw_spec(a, key, x, false);
        if (prefix[i] == SLV_SPEC_NONE) continue;
        r.prefix = prefix;
        r.n_prefix = r.min = (uint32_t)i + 1;
        slv_kw_add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
    if (!rest || slv_kw_spec(a, key, rest, false) == SLV_SPEC_NONE) return;
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    struct slv_array r = slv_array_any;
    if (!some) return;
    const uint32_t from = (uint32_t)json_array_size(list);
    *some = (struct slv_contains){slv_lit_schema(a->c, rest, a->node) | 1, 1, SLV_COUNT_INF, from};
    r.contains = some;
    r.n_contains = 1;
    r.min = from + 1;
    slv_kw_add_array(a, to, SLV_T_ARRAY, r, NULL);
}

static void lengths_yes(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    (void)slv_kw_count(a, "minItems", &r.min);
    (void)slv_kw_count(a, "maxItems", &r.max);
    if (r.min > r.max) slv_kw_add(a, to, slv_box_of(SLV_T_ALL & ~SLV_T_ARRAY));
    else slv_kw_add_array(a, to, SLV_T_ALL, r, NULL);
}

static void lengths_no(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    uint32_t n;
    if (slv_kw_count(a, "minItems", &n) && n) {
        r.max = n - 1;
        slv_kw_add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
    r.max = SLV_COUNT_INF;
    if (slv_kw_count(a, "maxItems", &n)) {
        r.min = n + 1;
        slv_kw_add_array(a, to, SLV_T_ARRAY, r, NULL);
    }
}

static void unique_yes(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_array r = slv_array_any;
    const json_t *j = slv_kw_get(a, "uniqueItems");
    if (!json_is_boolean(j)) slv_kw_bad(a, "uniqueItems", "wants true or false");
    r.unique = json_is_true(j);
    if (r.unique) slv_kw_add_array(a, to, SLV_T_ALL, r, NULL);
    else slv_kw_add(a, to, slv_box_all());
}

static void unique_no(const struct slv_at *a, struct slv_boxes *to) {
    (void)to;
    if (slv_kw_is_true(a, "uniqueItems"))
        slv_refuse(a->c, SLV_E_UNSUPPORTED, a->node, "uniqueItems", "in a complement");
}

static void contains_bounds(const struct slv_at *a, uint32_t *min, uint32_t *max) {
    *min = 1;
    *max = SLV_COUNT_INF;
    if (a->draft < SLV_DRAFT_2019) return;
    (void)slv_kw_count(a, "minContains", min);
    (void)slv_kw_count(a, "maxContains", max);
}

static void add_contains(const struct slv_at *a, struct slv_boxes *to, unsigned types, uint32_t min,
                         uint32_t max, bool seen) {
    const json_t *s = slv_kw_get(a, "contains");
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    slv_lit *lit = slv_compile_take(a->c, 1, sizeof *lit);
    struct slv_array r = slv_array_any;
    if (slv_kw_spec(a, "contains", s, true) == SLV_SPEC_NONE && min)
        types &= ~(unsigned)SLV_T_ARRAY;
    if (!some || !lit || min > max) {
        slv_kw_add(a, to, slv_box_of(types & ~(unsigned)SLV_T_ARRAY));
        return;
    }
    *lit = slv_lit_schema(a->c, s, a->node);
    *some = (struct slv_contains){*lit, min, max, 0};
    r.contains = some;
    r.n_contains = min > 0 || max != SLV_COUNT_INF;
    r.min = min;
    const struct slv_evaluated e = {SLV_LANG_NONE, 0, lit, 1};
    slv_kw_add_array(a, to, types, r, seen && a->draft >= SLV_DRAFT_2020 ? &e : NULL);
}

static void contains_yes(const struct slv_at *a, struct slv_boxes *to) {
    uint32_t min, max;
    contains_bounds(a, &min, &max);
    add_contains(a, to, SLV_T_ALL, min, max, true);
}

static void contains_no(const struct slv_at *a, struct slv_boxes *to) {
    uint32_t min, max;
    contains_bounds(a, &min, &max);
    if (min) add_contains(a, to, SLV_T_ARRAY, 0, min - 1, false);
    if (max != SLV_COUNT_INF) add_contains(a, to, SLV_T_ARRAY, max + 1, SLV_COUNT_INF, false);
}

const struct slv_clause slv_array_clauses[] = {
    {{"items", "prefixItems"}, items_yes, items_no},
    {{"minItems", "maxItems"}, lengths_yes, lengths_no},
    {{"uniqueItems"}, unique_yes, unique_no},
    {{"contains"}, contains_yes, contains_no},
    {{NULL}, NULL, NULL},
};
