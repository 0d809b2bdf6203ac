/* expand.c: see expand.h: schemas put together of others, the table of clauses, what a literal
 * means. */
#include "engine/constraint/expand.h"
#include "engine/constraint/values.h"
#include "base/mem.h"

#include <string.h>

/* --- what the files share --------------------------------------------------------------------- */

const json_t *slv_kw_get(const struct slv_at *a, const char *key) {
    return json_object_get(a->s, key);
}

void slv_kw_bad(const struct slv_at *a, const char *key, const char *why) {
    slv_refuse(a->c, SLV_E_FORMAT, a->node, key, "%s", why);
}

void slv_kw_add(const struct slv_at *a, struct slv_boxes *to, struct slv_box b) {
    slv_boxes_add(a->c, to, &b);
}

/* A count keyword: *ret stays where it is absent. */
bool slv_kw_count(const struct slv_at *a, const char *key, uint32_t *ret) {
    const json_t *j = slv_kw_get(a, key);
    if (!j) return false;
    double v = json_is_number(j) ? json_number_value(j) : -1;
    if (v < 0 || v != (double)(uint64_t)v) return slv_kw_bad(a, key, "wants a whole number"), false;
    *ret = v >= (double)(SLV_COUNT_INF - 1) ? SLV_COUNT_INF - 1 : (uint32_t)v;
    return true;
}

/* Adds the boxes of a literal to a list: a union. */
void slv_kw_add_lit(const struct slv_at *a, struct slv_boxes *to, slv_lit l) {
    uint32_t n;
    const struct slv_box *v = slv_expand(a->c, l, &n);
    for (uint32_t i = 0; i < n; i++)
        slv_boxes_add(a->c, to, &v[i]);
}

/* Adds the boxes of all literals together. */
void slv_kw_add_all(const struct slv_at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
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

bool slv_kw_is_true(const struct slv_at *a, const char *key) {
    return json_is_true(slv_kw_get(a, key));
}

slv_spec slv_kw_spec(const struct slv_at *a, const char *key, const json_t *schema, bool yes) {
    if (!json_is_object(schema) && !json_is_boolean(schema)) {
        slv_kw_bad(a, key, "wants a schema");
        return SLV_SPEC_ANY;
    }
    return slv_spec_of(a->c, slv_lit_schema(a->c, schema, a->node) | !yes);
}

slv_lang slv_kw_pattern(const struct slv_at *a, const char *keyword, const char *s, size_t n) {
    struct slv_err e = {0};
    slv_lang r;
    const int rc = slv_regex_search(a->c->p, s, n, a->c->classes, &r, &e);
    const uint32_t cost = rc ? UINT32_MAX : slv_lang_size(a->c->p, r);
    if (cost >= a->c->cost) {
        a->c->cost = cost;
        a->c->costly = a->node;
        a->c->costly_key = keyword;
    }
    if (!rc) return r;
    slv_refuse(a->c, rc, a->node, keyword, "%s", e.msg);
    return SLV_LANG_ANY;
}

/* --- schemas put together --------------------------------------------------------------------- */

/* The literals of a list of schemas; NULL where it is none. */
static slv_lit *literals(const struct slv_at *a, const char *key, size_t *ret_n) {
    const json_t *list = slv_kw_get(a, key), *x;
    size_t i;
    if (!json_is_array(list) || !json_array_size(list))
        return slv_kw_bad(a, key, "wants a list of schemas"), NULL;
    slv_lit *v = slv_compile_take(a->c, json_array_size(list), sizeof *v);
    if (!v) return NULL;
    json_array_foreach((json_t *)(uintptr_t)list, i, x) {
        (void)slv_kw_spec(a, key, x, true);
        if (a->c->rc) return NULL;
        v[i] = slv_lit_schema(a->c, x, a->node);
    }
    *ret_n = json_array_size(list);
    return v;
}

static void all_yes(const struct slv_at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = literals(a, "allOf", &n);
    if (v) slv_kw_add_all(a, to, v, n);
}

static void each_no(const struct slv_at *a, struct slv_boxes *to, const char *key) {
    size_t n;
    const slv_lit *v = literals(a, key, &n);
    for (size_t i = 0; v && i < n; i++)
        slv_kw_add_lit(a, to, v[i] | 1);
}

static void all_no(const struct slv_at *a, struct slv_boxes *to) { each_no(a, to, "allOf"); }

#define MAX_SUBSETS 6

/* Every way in which some are met and the others are not: then what was looked at is known. */
static void subsets(const struct slv_at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
    slv_lit set[MAX_SUBSETS] = {0};
    if (n > MAX_SUBSETS) {
        slv_refuse(a->c, SLV_E_UNSUPPORTED, a->node, "anyOf",
                   "more than %d alternatives beside an unevaluated...", MAX_SUBSETS);
        return;
    }
    for (unsigned bits = 1; bits < 1u << n; bits++) {
        for (size_t i = 0; i < n; i++)
            set[i] = bits >> i & 1 ? v[i] : v[i] | 1;
        slv_kw_add_all(a, to, set, n);
    }
}

static void any_yes(const struct slv_at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = literals(a, "anyOf", &n);
    if (!v) return;
    if (a->c->annotate) {
        subsets(a, to, v, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        slv_kw_add_lit(a, to, v[i]);
}

static void none_of(const struct slv_at *a, struct slv_boxes *to, const slv_lit *v, size_t n) {
    slv_lit *set = slv_compile_take(a->c, n, sizeof *set);
    for (size_t i = 0; set && i < n; i++)
        set[i] = v[i] | 1;
    if (set) slv_kw_add_all(a, to, set, n);
}

static void any_no(const struct slv_at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = literals(a, "anyOf", &n);
    if (v) none_of(a, to, v, n);
}

/* Whether two literals share no value, seen by form. */
static bool apart(const struct slv_at *a, slv_lit x, slv_lit y) {
    struct slv_boxes b = {0};
    slv_kw_add_lit(a, &b, x);
    uint32_t n;
    const struct slv_box *v = slv_expand(a->c, y, &n);
    slv_boxes_and(a->c, &b, v, n);
    const bool r = b.n == 0;
    slv_boxes_free(&b);
    return r;
}

/* One of them and none of the others, where they are not apart anyway. */
static void one_yes(const struct slv_at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = literals(a, "oneOf", &n);
    slv_lit *set = v ? slv_compile_take(a->c, n, sizeof *set) : NULL;
    for (size_t i = 0; set && i < n && !a->c->rc; i++) {
        size_t k = 0;
        set[k++] = v[i];
        for (size_t j = 0; j < n; j++)
            if (j != i && !apart(a, v[i], v[j])) set[k++] = v[j] | 1;
        slv_kw_add_all(a, to, set, k);
    }
}

static void one_no(const struct slv_at *a, struct slv_boxes *to) {
    size_t n;
    const slv_lit *v = literals(a, "oneOf", &n);
    if (!v) return;
    none_of(a, to, v, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && !a->c->rc; j++) {
            const slv_lit two[] = {v[i], v[j]};
            slv_kw_add_all(a, to, two, 2);
        }
}

static slv_lit lit_of(const struct slv_at *a, const char *key) {
    (void)slv_kw_spec(a, key, slv_kw_get(a, key), true);
    return a->c->rc ? 0 : slv_lit_schema(a->c, slv_kw_get(a, key), a->node);
}

static void not_yes(const struct slv_at *a, struct slv_boxes *to) {
    slv_kw_add_lit(a, to, lit_of(a, "not") | 1);
}
static void not_no(const struct slv_at *a, struct slv_boxes *to) {
    slv_kw_add_lit(a, to, lit_of(a, "not"));
}

static void branch(const struct slv_at *a, struct slv_boxes *to, slv_lit test, const char *key,
                   bool yes) {
    const slv_lit then = slv_kw_get(a, key) ? lit_of(a, key) | !yes : 0;
    const slv_lit v[] = {test, then};
    if (slv_kw_get(a, key)) slv_kw_add_all(a, to, v, 2);
    else if (yes) slv_kw_add_lit(a, to, test);
}

static void if_do(const struct slv_at *a, struct slv_boxes *to, bool yes) {
    if (a->draft < SLV_DRAFT_7) {
        if (yes) slv_kw_add(a, to, slv_box_all());
        return;
    }
    const slv_lit test = lit_of(a, "if");
    if (a->c->rc) return;
    branch(a, to, test, "then", yes);
    branch(a, to, test | 1, "else", yes);
}

static void if_yes(const struct slv_at *a, struct slv_boxes *to) { if_do(a, to, true); }
static void if_no(const struct slv_at *a, struct slv_boxes *to) { if_do(a, to, false); }

static const char *const ref_keys[] = {"$ref", "$dynamicRef", "$recursiveRef"};

static void ref_do(const struct slv_at *a, struct slv_boxes *to, bool yes) {
    if (yes) slv_kw_add(a, to, slv_box_all());
    for (size_t i = 0; i < 3; i++) {
        const json_t *j = slv_kw_get(a, ref_keys[i]);
        struct slv_err e = {0};
        slv_node n;
        if (!j || (i == 1 && a->draft < SLV_DRAFT_2020) || (i == 2 && a->draft != SLV_DRAFT_2019))
            continue;
        if (!json_is_string(j)) {
            slv_kw_bad(a, ref_keys[i], "wants a reference");
            return;
        }
        const int rc = slv_document_resolve(a->c->d, a->node, json_string_value(j),
                                            (enum slv_reference)i, &n, &e);
        if (rc) {
            slv_refuse(a->c, rc, a->node, ref_keys[i], "%s", e.msg);
            return;
        }
        const slv_lit l = slv_lit_node(a->c, n);
        if (!yes) slv_kw_add_lit(a, to, l | 1);
        else slv_boxes_and_spec(a->c, to, slv_spec_of(a->c, l));
    }
}

static void ref_yes(const struct slv_at *a, struct slv_boxes *to) { ref_do(a, to, true); }
static void ref_no(const struct slv_at *a, struct slv_boxes *to) { ref_do(a, to, false); }

/* --- the table -------------------------------------------------------------------------------- */

static const struct slv_clause applicators[] = {
    {{"$ref", "$dynamicRef", "$recursiveRef"}, ref_yes, ref_no},
    {{"allOf"}, all_yes, all_no},
    {{"anyOf"}, any_yes, any_no},
    {{"oneOf"}, one_yes, one_no},
    {{"not"}, not_yes, not_no},
    {{"if"}, if_yes, if_no},
    {{NULL}, NULL, NULL},
};

static const struct slv_clause *const tables[] = {slv_scalar_clauses, slv_array_clauses,
                                                  slv_object_clauses, applicators};
#define N_TABLES (sizeof tables / sizeof tables[0])

static bool counts(const struct slv_at *a, const struct slv_clause *k) {
    const bool ref_alone = a->draft <= SLV_DRAFT_7 && json_is_string(slv_kw_get(a, "$ref"));
    if (ref_alone && strcmp(k->keys[0], "$ref") != 0) return false;
    for (size_t i = 0; i < 5 && k->keys[i]; i++)
        if (slv_kw_get(a, k->keys[i])) return true;
    return false;
}

/* --- unevaluated ------------------------------------------------------------------------------ */

/* What unevaluatedProperties and unevaluatedItems ask of values in b, which knows what was
 * looked at; or, not `yes`, those that do not meet it. */
static void unevaluated_properties(const struct slv_at *a, const struct slv_box *b,
                                   struct slv_boxes *to, bool yes) {
    const json_t *s = slv_kw_get(a, "unevaluatedProperties");
    const slv_lang seen = b->evaluated ? b->evaluated->names : SLV_LANG_NONE;
    const slv_lang rest = slv_lang_not(a->c->p, seen);
    if (!yes) {
        slv_kw_add_want(a, to, rest, slv_kw_spec(a, "unevaluatedProperties", s, false));
        return;
    }
    struct slv_object o = slv_object_any;
    struct slv_class *v = slv_compile_take(a->c, 2, sizeof *v);
    const struct slv_evaluated all = {SLV_LANG_ANY, 0, NULL, 0};
    if (!v) return;
    o.n_classes = 0;
    if (!slv_lang_is_none(a->c->p, seen)) v[o.n_classes++] = (struct slv_class){seen, SLV_SPEC_ANY};
    if (!slv_lang_is_none(a->c->p, rest))
        v[o.n_classes++] =
            (struct slv_class){rest, slv_kw_spec(a, "unevaluatedProperties", s, true)};
    o.classes = v;
    slv_kw_add_object(a, to, SLV_T_ALL, o, &all);
}

static void unevaluated_items(const struct slv_at *a, const struct slv_box *b, struct slv_boxes *to,
                              bool yes) {
    const json_t *s = slv_kw_get(a, "unevaluatedItems");
    const struct slv_evaluated none = {SLV_LANG_NONE, 0, NULL, 0};
    const struct slv_evaluated *e = b->evaluated ? b->evaluated : &none;
    const struct slv_evaluated all = {SLV_LANG_NONE, SLV_COUNT_INF, NULL, 0};
    struct slv_array r = slv_array_any;
    slv_lit *either = slv_compile_take(a->c, e->n_contained + 1u, sizeof *either);
    if (!either || e->items == SLV_COUNT_INF) {
        if (yes) slv_kw_add_array(a, to, SLV_T_ALL, r, &all);
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
        slv_kw_add_array(a, to, SLV_T_ALL, r, &all);
        return;
    }
    struct slv_contains *some = slv_compile_take(a->c, 1, sizeof *some);
    if (!some) return;
    *some = (struct slv_contains){rest | 1, 1, SLV_COUNT_INF, e->items};
    r.contains = some;
    r.n_contains = 1;
    r.min = e->items + 1;
    slv_kw_add_array(a, to, SLV_T_ARRAY, r, NULL);
}

static const struct late {
    const char *key;
    void (*make)(const struct slv_at *a, const struct slv_box *b, struct slv_boxes *to, bool yes);
} unevaluated[] = {{"unevaluatedProperties", unevaluated_properties},
                   {"unevaluatedItems", unevaluated_items}};

/* Each box of v by what it leaves to look at. */
static void late_and(const struct slv_at *a, const struct late *l, struct slv_boxes *v) {
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

static bool has_late(const struct slv_at *a, const struct late *l) {
    return a->draft >= SLV_DRAFT_2019 && slv_kw_get(a, l->key);
}

/* --- a literal -------------------------------------------------------------------------------- */

static void all_clauses(const struct slv_at *a, struct slv_boxes *to) {
    slv_kw_add(a, to, slv_box_all());
    for (size_t i = 0; i < N_TABLES; i++)
        for (const struct slv_clause *k = tables[i]; k->keys[0] && to->n && !a->c->rc; k++) {
            struct slv_boxes x = {0};
            if (!counts(a, k)) continue;
            k->yes(a, &x);
            slv_boxes_fold(a->c, &x);
            slv_boxes_and(a->c, to, x.v, x.n);
            slv_boxes_free(&x);
        }
}

static void schema_yes(const struct slv_at *a, struct slv_boxes *to) {
    all_clauses(a, to);
    for (size_t i = 0; i < 2; i++)
        if (has_late(a, &unevaluated[i])) late_and(a, &unevaluated[i], to);
}

/* Values that all else accepts, and the keyword does not. */
static void late_no(const struct slv_at *a, const struct late *l, struct slv_boxes *to) {
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

static void schema_no(const struct slv_at *a, struct slv_boxes *to) {
    for (size_t i = 0; i < N_TABLES; i++)
        for (const struct slv_clause *k = tables[i]; k->keys[0] && !a->c->rc; k++)
            if (counts(a, k)) k->no(a, to);
    for (size_t i = 0; i < 2; i++)
        if (has_late(a, &unevaluated[i])) late_no(a, &unevaluated[i], to);
    for (size_t i = 0; i < to->n; i++)
        to->v[i].evaluated = NULL;
}

static void schema(struct slv_compile *c, slv_node n, bool yes, struct slv_boxes *to) {
    const struct slv_at a = {c, n, slv_document_json(c->d, n), slv_document_draft(c->d, n)};
    if (a.draft == SLV_DRAFT_OTHER) slv_kw_bad(&a, "$schema", "names a dialect that is not known");
    if (json_is_boolean(a.s)) {
        if (json_is_true(a.s) == yes) slv_kw_add(&a, to, slv_box_all());
    } else if (yes) schema_yes(&a, to);
    else schema_no(&a, to);
}

static void place(struct slv_compile *c, slv_lit l, struct slv_boxes *to) {
    const struct slv_place p = c->places[l / 2];
    const bool yes = !(l & 1);
    const struct slv_at a = {c, p.node, NULL, SLV_DRAFT_2020};
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
            slv_kw_add_lit(&a, to, p.either[i]);
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
