/* expand_object.c: what keywords say of objects, as boxes: see expand.h. */
#include "engine/constraint/expand.h"
#include "engine/constraint/values.h"

#include <string.h>

void slv_kw_add_object(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                       struct slv_object object, const struct slv_evaluated *seen) {
    struct slv_object *keep = slv_compile_take(a->c, 1, sizeof *keep);
    struct slv_evaluated *e = seen && a->c->annotate ? slv_compile_take(a->c, 1, sizeof *e) : NULL;
    struct slv_box b = slv_box_of(types);
    if (!keep) return;
    *keep = object;
    if (e) *e = *seen;
    b.object = keep;
    b.evaluated = e;
    slv_kw_add(a, to, b);
}

/* An object that has one member of a name, or does not (spec NONE). */
static void add_member(const struct slv_at *a, struct slv_boxes *to, unsigned types, slv_name name,
                       slv_spec spec, bool required) {
    struct slv_object o = slv_object_any;
    struct slv_prop *p = slv_compile_take(a->c, 1, sizeof *p);
    if (!p || (required && spec == SLV_SPEC_NONE)) return;
    *p = (struct slv_prop){name, spec, required};
    o.props = p;
    o.n_props = 1;
    slv_kw_add_object(a, to, types, o, NULL);
}

static slv_name name_of(const struct slv_at *a, const char *key) {
    return slv_name_of(a->c, key, strlen(key));
}

/* Names of `properties`, as one language. */
static slv_lang property_words(const struct slv_at *a) {
    const json_t *props = slv_kw_get(a, "properties");
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
static void split_classes(const struct slv_at *a, struct slv_class *v, uint32_t *n, slv_lang in,
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
static slv_lang pattern_names(const struct slv_at *a) {
    slv_lang all = SLV_LANG_NONE;
    const char *key;
    json_t *x;
    json_object_foreach((json_t *)(uintptr_t)slv_kw_get(a, "patternProperties"), key, x) {
        (void)x;
        all = slv_lang_or(a->c->p, all, slv_kw_pattern(a, "patternProperties", key, strlen(key)));
    }
    return all;
}

/* The classes of names that properties does not list. */
static const struct slv_class *class_list(const struct slv_at *a, uint32_t *ret_n) {
    const json_t *patterns = slv_kw_get(a, "patternProperties"),
                 *others = slv_kw_get(a, "additionalProperties");
    struct slv_class *v = slv_compile_take(a->c, SLV_MAX_CLASSES, sizeof *v);
    const char *key;
    json_t *x;
    *ret_n = 0;
    if (!v) return NULL;
    const slv_lang rest = slv_lang_not(a->c->p, pattern_names(a));
    v[(*ret_n)++] = (struct slv_class){SLV_LANG_ANY, SLV_SPEC_ANY};
    json_object_foreach((json_t *)(uintptr_t)patterns, key, x) {
        const slv_lang in = slv_kw_pattern(a, "patternProperties", key, strlen(key));
        split_classes(a, v, ret_n, in, slv_kw_spec(a, "patternProperties", x, true));
        if (a->c->rc) return v;
    }
    if (others)
        split_classes(a, v, ret_n, rest, slv_kw_spec(a, "additionalProperties", others, true));
    return v;
}

static bool want_object(const struct slv_at *a, const char *key) {
    if (!slv_kw_get(a, key) || json_is_object(slv_kw_get(a, key))) return true;
    slv_kw_bad(a, key, "wants an object");
    return false;
}

static void members_yes(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *props = slv_kw_get(a, "properties"),
                 *patterns = slv_kw_get(a, "patternProperties");
    struct slv_object o = slv_object_any;
    struct slv_evaluated seen = {SLV_LANG_NONE, 0, NULL, 0};
    const char *key, *pat;
    json_t *x, *y;
    if (!want_object(a, "properties") || !want_object(a, "patternProperties")) return;
    struct slv_prop *v = slv_compile_take(a->c, json_object_size(props), sizeof *v);
    if (!v) return;
    json_object_foreach((json_t *)(uintptr_t)props, key, x) {
        slv_spec s = slv_kw_spec(a, "properties", x, true);
        json_object_foreach((json_t *)(uintptr_t)patterns, pat, y) {
            const slv_lang in = slv_kw_pattern(a, "patternProperties", pat, strlen(pat));
            if (slv_lang_has(a->c->p, in, key, strlen(key)))
                s = slv_spec_and(a->c, s, slv_kw_spec(a, "patternProperties", y, true));
        }
        v[o.n_props++] = (struct slv_prop){name_of(a, key), s, false};
    }
    o.props = v;
    o.classes = class_list(a, &o.n_classes);
    if (!o.classes) return;
    seen.names = SLV_LANG_ANY;
    if (!slv_kw_get(a, "additionalProperties") && a->c->annotate)
        seen.names = slv_lang_or(a->c->p, property_words(a), pattern_names(a));
    slv_kw_add_object(a, to, SLV_T_ALL, o, &seen);
}

/* Some member whose name is in `names` meets the spec. */
void slv_kw_add_want(const struct slv_at *a, struct slv_boxes *to, slv_lang names, slv_spec spec) {
    struct slv_object o = slv_object_any;
    struct slv_class *w = slv_compile_take(a->c, 1, sizeof *w);
    if (!w || spec == SLV_SPEC_NONE || slv_lang_is_none(a->c->p, names)) return;
    *w = (struct slv_class){names, spec};
    o.wants = w;
    o.n_wants = o.min = 1;
    slv_kw_add_object(a, to, SLV_T_OBJECT, o, NULL);
}

static void members_no(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *others = slv_kw_get(a, "additionalProperties");
    const char *key;
    json_t *x;
    if (!want_object(a, "properties") || !want_object(a, "patternProperties")) return;
    json_object_foreach((json_t *)(uintptr_t)slv_kw_get(a, "properties"), key, x) add_member(
        a, to, SLV_T_OBJECT, name_of(a, key), slv_kw_spec(a, "properties", x, false), true);
    json_object_foreach((json_t *)(uintptr_t)slv_kw_get(a, "patternProperties"), key, x)
        slv_kw_add_want(a, to, slv_kw_pattern(a, "patternProperties", key, strlen(key)),
                        slv_kw_spec(a, "patternProperties", x, false));
    if (!others) return;
    const slv_lang known = slv_lang_or(a->c->p, property_words(a), pattern_names(a));
    slv_kw_add_want(a, to, slv_lang_not(a->c->p, known),
                    slv_kw_spec(a, "additionalProperties", others, false));
}

/* A list of names. */
static bool names_ok(const struct slv_at *a, const char *key, const json_t *list) {
    size_t i;
    const json_t *x;
    bool ok = json_is_array(list);
    json_array_foreach((json_t *)(uintptr_t)list, i, x) ok = ok && json_is_string(x);
    if (!ok) slv_kw_bad(a, key, "wants a list of names");
    return ok;
}

/* Objects that have all members of the list, and perhaps `also`. */
static void add_having(const struct slv_at *a, struct slv_boxes *to, unsigned types,
                       const json_t *list, const char *also) {
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
    slv_kw_add_object(a, to, types, o, NULL);
}

static void required_yes(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *list = slv_kw_get(a, "required");
    if (names_ok(a, "required", list)) add_having(a, to, SLV_T_ALL, list, NULL);
}

static void required_no(const struct slv_at *a, struct slv_boxes *to) {
    const json_t *list = slv_kw_get(a, "required"), *x;
    size_t i;
    if (!names_ok(a, "required", list)) return;
    json_array_foreach((json_t *)(uintptr_t)list, i, x)
        add_member(a, to, SLV_T_OBJECT, name_of(a, json_string_value(x)), SLV_SPEC_NONE, false);
}

static void sizes_yes(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_object o = slv_object_any;
    (void)slv_kw_count(a, "minProperties", &o.min);
    (void)slv_kw_count(a, "maxProperties", &o.max);
    if (o.min > o.max) slv_kw_add(a, to, slv_box_of(SLV_T_ALL & ~SLV_T_OBJECT));
    else slv_kw_add_object(a, to, SLV_T_ALL, o, NULL);
}

static void sizes_no(const struct slv_at *a, struct slv_boxes *to) {
    struct slv_object o = slv_object_any;
    uint32_t n;
    if (slv_kw_count(a, "minProperties", &n) && n) {
        o.max = n - 1;
        slv_kw_add_object(a, to, SLV_T_OBJECT, o, NULL);
    }
    o.max = SLV_COUNT_INF;
    if (slv_kw_count(a, "maxProperties", &n)) {
        o.min = n + 1;
        slv_kw_add_object(a, to, SLV_T_OBJECT, o, NULL);
    }
}

/* The strings that propertyNames allows. */
static slv_lang allowed_names(const struct slv_at *a) {
    const json_t *s = slv_kw_get(a, "propertyNames");
    slv_lang all = SLV_LANG_NONE;
    uint32_t n = 0;
    if (slv_kw_spec(a, "propertyNames", s, true) == SLV_SPEC_ANY) return SLV_LANG_ANY;
    const struct slv_box *v = slv_expand(a->c, slv_lit_schema(a->c, s, a->node), &n);
    for (uint32_t i = 0; i < n; i++)
        if (v[i].types & SLV_T_STRING) all = slv_lang_or(a->c->p, all, slv_box_text(a->c, &v[i]));
    return all;
}

static void names_yes(const struct slv_at *a, struct slv_boxes *to) {
    const slv_lang in = allowed_names(a), out = slv_lang_not(a->c->p, in);
    struct slv_class *v = slv_compile_take(a->c, 2, sizeof *v);
    struct slv_object o = slv_object_any;
    if (!v) return;
    o.n_classes = 0;
    if (!slv_lang_is_none(a->c->p, in)) v[o.n_classes++] = (struct slv_class){in, SLV_SPEC_ANY};
    if (!slv_lang_is_none(a->c->p, out)) v[o.n_classes++] = (struct slv_class){out, SLV_SPEC_NONE};
    o.classes = v;
    slv_kw_add_object(a, to, SLV_T_ALL, o, NULL);
}

static void names_no(const struct slv_at *a, struct slv_boxes *to) {
    slv_kw_add_want(a, to, slv_lang_not(a->c->p, allowed_names(a)), SLV_SPEC_ANY);
}

/* --- what one member asks of others ----------------------------------------------------------- */

/* to = to x (what member `key` asks): nothing without it, with it these names or that schema. */
static void dependency_yes(const struct slv_at *a, struct slv_boxes *to, const char *keyword,
                           const char *key, const json_t *x) {
    struct slv_boxes either = {0};
    slv_kw_add(a, &either, slv_box_of(SLV_T_ALL & ~SLV_T_OBJECT));
    add_member(a, &either, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_NONE, false);
    if (json_is_array(x)) {
        if (names_ok(a, keyword, x)) add_having(a, &either, SLV_T_OBJECT, x, key);
    } else {
        struct slv_boxes with = {0};
        add_member(a, &with, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_ANY, true);
        slv_boxes_and_spec(a->c, &with, slv_kw_spec(a, keyword, x, true));
        for (size_t i = 0; i < with.n; i++)
            slv_boxes_add(a->c, &either, &with.v[i]);
        slv_boxes_free(&with);
    }
    slv_boxes_fold(a->c, &either);
    slv_boxes_and(a->c, to, either.v, either.n);
    slv_boxes_free(&either);
}

static void dependency_no(const struct slv_at *a, struct slv_boxes *to, const char *keyword,
                          const char *key, const json_t *x) {
    struct slv_boxes with = {0};
    size_t i;
    const json_t *name;
    if (json_is_array(x) && !names_ok(a, keyword, x)) return;
    json_array_foreach((json_t *)(uintptr_t)x, i, name) add_member(
        a, &with, SLV_T_OBJECT, name_of(a, json_string_value(name)), SLV_SPEC_NONE, false);
    if (!json_is_array(x)) {
        slv_kw_add(a, &with, slv_box_of(SLV_T_ALL));
        slv_boxes_and_spec(a->c, &with, slv_kw_spec(a, keyword, x, false));
    }
    struct slv_boxes has = {0};
    add_member(a, &has, SLV_T_OBJECT, name_of(a, key), SLV_SPEC_ANY, true);
    slv_boxes_and(a->c, &with, has.v, has.n);
    for (i = 0; i < with.n; i++)
        slv_boxes_add(a->c, to, &with.v[i]);
    slv_boxes_free(&has);
    slv_boxes_free(&with);
}

static void dependencies_do(const struct slv_at *a, struct slv_boxes *to, bool yes) {
    static const char *const keys[] = {"dependencies", "dependentRequired", "dependentSchemas"};
    if (yes) slv_kw_add(a, to, slv_box_all());
    for (size_t i = 0; i < 3; i++) {
        const char *key;
        json_t *x;
        if ((i == 0) != (a->draft < SLV_DRAFT_2019) || !want_object(a, keys[i])) continue;
        json_object_foreach((json_t *)(uintptr_t)slv_kw_get(a, keys[i]), key, x) {
            if (yes) dependency_yes(a, to, keys[i], key, x);
            else dependency_no(a, to, keys[i], key, x);
        }
    }
}

static void dependencies_yes(const struct slv_at *a, struct slv_boxes *to) {
    dependencies_do(a, to, true);
}
static void dependencies_no(const struct slv_at *a, struct slv_boxes *to) {
    dependencies_do(a, to, false);
}

const struct slv_clause slv_object_clauses[] = {
    {{"properties", "patternProperties", "additionalProperties"}, members_yes, members_no},
    {{"required"}, required_yes, required_no},
    {{"minProperties", "maxProperties"}, sizes_yes, sizes_no},
    {{"propertyNames"}, names_yes, names_no},
    {{"dependencies", "dependentRequired", "dependentSchemas"}, dependencies_yes, dependencies_no},
    {{NULL}, NULL, NULL},
};
