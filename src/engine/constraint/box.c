/* box.c: see box.h. */
#include "engine/constraint/box.h"
#include "base/mem.h"

#include <stdarg.h>
#include <string.h>

static const struct slv_class any_class = {SLV_LANG_ANY, SLV_SPEC_ANY};
const struct slv_object slv_object_any = {
    .classes = &any_class, .n_classes = 1, .max = SLV_COUNT_INF};
const struct slv_array slv_array_any = {.max = SLV_COUNT_INF, .rest = SLV_SPEC_ANY};

void slv_refuse(struct slv_compile *c, int code, slv_node n, const char *keyword, const char *fmt,
                ...) {
    va_list ap;
    if (c->clear_depth && code == SLV_E_LIMIT) c->unknown = true;
    if (c->rc || c->unknown) return;
    const int below = c->p ? slv_langs_status(c->p) : 0;
    if (below) { /* what was found since then may be due to that */
        if (!keyword && c->costly_key) {
            keyword = c->costly_key;
            n = c->costly;
        }
        c->rc = slv_err_set(c->err, below, "%s", slv_langs_why(c->p));
        if (keyword) (void)slv_err_prefix(c->err, below, "\"%s\"", keyword);
        if (c->at) slv_document_pointer(c->d, n, keyword, c->at);
        return;
    }
    c->rc = code;
    va_start(ap, fmt);
    (void)slv_err_vset(c->err, code, fmt, ap);
    va_end(ap);
    if (keyword) (void)slv_err_prefix(c->err, code, "\"%s\"", keyword);
    if (c->at) slv_document_pointer(c->d, n, keyword, c->at);
}

void *slv_compile_take(struct slv_compile *c, size_t count, size_t size) {
    void *r = slv_arena_calloc(&c->mem, count ? count : 1, size);
    if (!r) slv_refuse(c, SLV_E_LIMIT, 0, NULL, "the schema needs more than 64 MiB to be compiled");
    return r;
}

static bool room(struct slv_compile *c, void **v, size_t n, size_t *cap, size_t size, size_t most) {
    const int rc = slv_mem_grow(v, n, cap, size, most);
    if (rc) slv_refuse(c, rc, 0, NULL, "the schema needs more than 64 MiB to be compiled");
    return rc == 0;
}

/* --- names, places, specs: each kept once ----------------------------------------------------- */

static uint64_t hash_bytes(const void *p, size_t n) {
    const unsigned char *s = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * 0x100000001b3u;
    return h ^ (h >> 32);
}

static bool rehash(struct slv_compile *c, uint32_t **slots, size_t *n_slots, size_t n,
                   uint64_t (*hash)(const struct slv_compile *c, size_t i)) {
    if ((n + 1) * 2 <= *n_slots) return true;
    const size_t m = *n_slots ? *n_slots * 2 : 64;
    uint32_t *s = slv_mem_calloc(m, sizeof *s);
    if (!s) {
        slv_refuse(c, SLV_E_NOMEM, 0, NULL, "out of memory");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = hash(c, i) & (m - 1);
        while (s[at])
            at = (at + 1) & (m - 1);
        s[at] = (uint32_t)i + 1;
    }
    slv_mem_free(*slots);
    *slots = s;
    *n_slots = m;
    return true;
}

static uint64_t name_hash(const struct slv_compile *c, size_t i) {
    return hash_bytes(c->names[i].s, c->names[i].n);
}

slv_name slv_name_of(struct slv_compile *c, const char *s, size_t n) {
    if (!rehash(c, &c->name_slots, &c->n_name_slots, c->n_names, name_hash)) return 0;
    size_t at = hash_bytes(s, n) & (c->n_name_slots - 1);
    for (; c->name_slots[at]; at = (at + 1) & (c->n_name_slots - 1)) {
        const struct slv_name_def *d = &c->names[c->name_slots[at] - 1];
        if (d->n == n && !memcmp(d->s, s, n)) return c->name_slots[at] - 1;
    }
    if (!room(c, (void **)&c->names, c->n_names, &c->cap_names, sizeof *c->names, UINT32_MAX / 4))
        return 0;
    const char *copy = slv_arena_strndup(&c->mem, s, n);
    if (!copy) {
        slv_refuse(c, SLV_E_LIMIT, 0, NULL, "the schema needs more than 64 MiB to be compiled");
        return 0;
    }
    c->names[c->n_names] = (struct slv_name_def){copy, n};
    c->name_slots[at] = (uint32_t)++c->n_names;
    return (slv_name)c->n_names - 1;
}

static slv_lit add_place(struct slv_compile *c, struct slv_place p) {
    if (!room(c, (void **)&c->places, c->n_places, &c->cap_places, sizeof *c->places,
              SLV_MAX_SPECS))
        return 0;
    c->places[c->n_places] = p;
    return (slv_lit)c->n_places++ * 2;
}

slv_lit slv_lit_node(struct slv_compile *c, slv_node n) {
    if (n >= c->n_place_of_node) {
        const size_t m = slv_document_nodes(c->d) + 64;
        slv_lit *v = slv_mem_realloc(c->place_of_node, m * sizeof *v);
        if (!v) {
            slv_refuse(c, SLV_E_NOMEM, 0, NULL, "out of memory");
            return 0;
        }
        memset(v + c->n_place_of_node, 0, (m - c->n_place_of_node) * sizeof *v);
        c->place_of_node = v;
        c->n_place_of_node = m;
    }
    if (!c->place_of_node[n])
        c->place_of_node[n] =
            add_place(c, (struct slv_place){.kind = SLV_PLACE_SCHEMA, .node = n}) / 2 + 1;
    return (c->place_of_node[n] - 1) * 2;
}

slv_lit slv_lit_schema(struct slv_compile *c, const json_t *schema, slv_node within) {
    slv_node n = 0;
    const int rc = slv_document_node(c->d, schema, within, &n);
    if (rc) slv_refuse(c, rc, within, NULL, "a subschema: %s", slv_strerror(rc));
    return slv_lit_node(c, n);
}

slv_lit slv_lit_value(struct slv_compile *c, const json_t *value, slv_node within) {
    return add_place(c,
                     (struct slv_place){.kind = SLV_PLACE_VALUE, .node = within, .value = value});
}

slv_lit slv_lit_either(struct slv_compile *c, const slv_lit *v, size_t n, slv_node within) {
    if (n == 1) return v[0];
    slv_lit *keep = slv_compile_take(c, n, sizeof *keep);
    if (!keep) return 0;
    memcpy(keep, v, n * sizeof *v);
    return add_place(
        c, (struct slv_place){
               .kind = SLV_PLACE_EITHER, .node = within, .either = keep, .n_either = (uint32_t)n});
}

static uint64_t spec_hash(const struct slv_compile *c, size_t i) {
    return hash_bytes(c->specs[i].v, c->specs[i].n * sizeof(slv_lit)) + c->specs[i].n;
}

/* The spec of v[0..n), sorted and each once. */
static slv_spec intern(struct slv_compile *c, const slv_lit *v, uint32_t n) {
    if (!rehash(c, &c->spec_slots, &c->n_spec_slots, c->n_specs, spec_hash)) return SLV_SPEC_NONE;
    size_t at = (hash_bytes(v, n * sizeof *v) + n) & (c->n_spec_slots - 1);
    for (; c->spec_slots[at]; at = (at + 1) & (c->n_spec_slots - 1)) {
        const struct slv_spec_def *d = &c->specs[c->spec_slots[at] - 1];
        if (d->n == n && (!n || !memcmp(d->v, v, n * sizeof *v))) return c->spec_slots[at] - 1;
    }
    slv_lit *keep = slv_compile_take(c, n, sizeof *keep);
    if (!keep ||
        !room(c, (void **)&c->specs, c->n_specs, &c->cap_specs, sizeof *c->specs, SLV_MAX_SPECS))
        return SLV_SPEC_NONE;
    if (n) memcpy(keep, v, n * sizeof *v);
    c->specs[c->n_specs] = (struct slv_spec_def){keep, n, 0};
    c->spec_slots[at] = (uint32_t)++c->n_specs;
    return (slv_spec)c->n_specs - 1;
}

/* true, false and {} need no literal. */
static bool trivial(struct slv_compile *c, slv_lit l, bool *ret_all) {
    const struct slv_place *p = &c->places[l / 2];
    if (p->kind != SLV_PLACE_SCHEMA) return false;
    const json_t *j = slv_document_json(c->d, p->node);
    const bool all = json_is_true(j) || (json_is_object(j) && json_object_size(j) == 0);
    if (!all && !json_is_false(j)) return false;
    *ret_all = all != ((l & 1) != 0);
    return true;
}

/* The constants have numbers before all others. */
static void begin_specs(struct slv_compile *c) {
    static const slv_lit none = UINT32_MAX;
    if (c->n_specs) return;
    (void)intern(c, NULL, 0);
    (void)intern(c, &none, 1);
}

slv_spec slv_spec_of(struct slv_compile *c, slv_lit l) {
    bool all;
    begin_specs(c);
    if (c->rc) return SLV_SPEC_NONE;
    if (trivial(c, l, &all)) return all ? SLV_SPEC_ANY : SLV_SPEC_NONE;
    return intern(c, &l, 1);
}

slv_spec slv_spec_and(struct slv_compile *c, slv_spec a, slv_spec b) {
    if (a == b || b == SLV_SPEC_ANY || a == SLV_SPEC_NONE) return a;
    if (a == SLV_SPEC_ANY || b == SLV_SPEC_NONE) return b;
    const struct slv_spec_def x = c->specs[a], y = c->specs[b];
    slv_lit *v = slv_compile_take(c, (size_t)x.n + y.n, sizeof *v);
    uint32_t n = 0, i = 0, j = 0;
    if (!v) return SLV_SPEC_NONE;
    while (i < x.n || j < y.n) {
        const slv_lit l = j == y.n || (i < x.n && x.v[i] <= y.v[j]) ? x.v[i] : y.v[j];
        if (i < x.n && x.v[i] == l) i++;
        if (j < y.n && y.v[j] == l) j++;
        if (n && (l ^ 1) == v[n - 1]) return SLV_SPEC_NONE; /* a place and its complement */
        v[n++] = l;
    }
    return intern(c, v, n);
}

#define CLEAR_DEPTH 3

/* Whether multiplying out leaves nothing; *ret_known false where something could not be asked. */
static bool multiplied_out(struct slv_compile *c, slv_spec s, bool *ret_known) {
    const bool before = c->unknown;
    struct slv_boxes b = {0};
    const struct slv_box all = slv_box_all();
    c->unknown = false;
    if (!c->clear_depth) c->clear_work = c->work + SLV_CLEAR_WORK;
    c->clear_depth++;
    slv_boxes_add(c, &b, &all);
    slv_boxes_and_spec(c, &b, s);
    c->clear_depth--;
    *ret_known = !c->unknown && !c->rc;
    c->unknown = before;
    const bool none = b.n == 0;
    slv_boxes_free(&b);
    return none;
}

bool slv_spec_clear(struct slv_compile *c, slv_spec s) {
    bool known;
    if (s == SLV_SPEC_NONE) return true;
    if (s == SLV_SPEC_ANY || c->rc || c->unknown) return false;
    if (c->specs[s].clear >= 2) return c->specs[s].clear == 3;
    if (c->specs[s].clear == 1 || c->clear_depth == CLEAR_DEPTH) return false;
    c->specs[s].clear = 1;
    const bool none = multiplied_out(c, s, &known);
    c->specs[s].clear = known && none ? 3 : known && !c->clear_depth ? 2 : 0;
    return known && none;
}

/* --- records ---------------------------------------------------------------------------------- */

static uint32_t more(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t fewer(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* The spec that o has for a name it does not list. */
static slv_spec by_class(struct slv_compile *c, const struct slv_object *o, slv_name name) {
    for (uint32_t i = 0; i < o->n_classes; i++)
        if (slv_lang_has(c->p, o->classes[i].names, c->names[name].s, c->names[name].n))
            return o->classes[i].spec;
    return SLV_SPEC_NONE;
}

static const struct slv_prop *listed(const struct slv_object *o, slv_name name) {
    for (uint32_t i = 0; i < o->n_props; i++)
        if (o->props[i].name == name) return &o->props[i];
    return NULL;
}

/* a's members, each with what b says of it; then those that b alone lists. */
static void props_and(struct slv_compile *c, const struct slv_object *a, const struct slv_object *b,
                      struct slv_object *ret) {
    struct slv_prop *v = slv_compile_take(c, (size_t)a->n_props + b->n_props, sizeof *v);
    uint32_t n = 0;
    ret->props = v;
    ret->n_props = 0;
    if (!v) return;
    for (uint32_t i = 0; i < a->n_props; i++) {
        const struct slv_prop x = a->props[i], *y = listed(b, x.name);
        const slv_spec other = y ? y->spec : by_class(c, b, x.name);
        v[n++] = (struct slv_prop){x.name, slv_spec_and(c, x.spec, other),
                                   x.required || (y && y->required)};
    }
    for (uint32_t i = 0; i < b->n_props; i++) {
        const struct slv_prop y = b->props[i];
        if (listed(a, y.name)) continue;
        v[n++] =
            (struct slv_prop){y.name, slv_spec_and(c, by_class(c, a, y.name), y.spec), y.required};
    }
    ret->n_props = n;
}

static void classes_and(struct slv_compile *c, const struct slv_object *a,
                        const struct slv_object *b, struct slv_object *ret) {
    struct slv_class *v = slv_compile_take(c, (size_t)a->n_classes * b->n_classes, sizeof *v);
    uint32_t n = 0;
    ret->classes = v;
    ret->n_classes = 0;
    if (!v) return;
    for (uint32_t i = 0; i < a->n_classes; i++)
        for (uint32_t j = 0; j < b->n_classes; j++) {
            const slv_lang names = slv_lang_and(c->p, a->classes[i].names, b->classes[j].names);
            if (names == SLV_LANG_FAIL || slv_lang_is_none(c->p, names)) continue;
            v[n++] =
                (struct slv_class){names, slv_spec_and(c, a->classes[i].spec, b->classes[j].spec)};
        }
    if (n > SLV_MAX_CLASSES)
        slv_refuse(c, SLV_E_LIMIT, 0, NULL, "property names in more than %u classes",
                   SLV_MAX_CLASSES);
    ret->n_classes = n;
}

static void *both(struct slv_compile *c, const void *a, uint32_t na, const void *b, uint32_t nb,
                  size_t size) {
    char *v = slv_compile_take(c, (size_t)na + nb, size);
    if (v && na) memcpy(v, a, na * size);
    if (v && nb) memcpy(v + na * size, b, nb * size);
    return v;
}

const struct slv_object *slv_object_and(struct slv_compile *c, const struct slv_object *a,
                                        const struct slv_object *b) {
    if (!a || a == b) return b;
    if (!b) return a;
    struct slv_object *r = slv_compile_take(c, 1, sizeof *r);
    if (!r) return a;
    props_and(c, a, b, r);
    classes_and(c, a, b, r);
    r->min = more(a->min, b->min);
    r->max = fewer(a->max, b->max);
    r->n_wants = a->n_wants + b->n_wants;
    if (r->n_wants) {
        r->wants = both(c, a->wants, a->n_wants, b->wants, b->n_wants, sizeof *r->wants);
        if (!r->wants) r->n_wants = 0;
    }
    r->n_groups = a->n_groups + b->n_groups;
    if (r->n_groups) {
        r->groups = both(c, a->groups, a->n_groups, b->groups, b->n_groups, sizeof *r->groups);
        if (!r->groups) r->n_groups = 0;
    }
    return r;
}

static slv_spec item_spec(const struct slv_array *a, uint32_t i) {
    return i < a->n_prefix ? a->prefix[i] : a->rest;
}

static const struct slv_array *array_and(struct slv_compile *c, const struct slv_array *a,
                                         const struct slv_array *b) {
    if (!a || a == b) return b;
    if (!b) return a;
    struct slv_array *r = slv_compile_take(c, 1, sizeof *r);
    const uint32_t n = more(a->n_prefix, b->n_prefix);
    slv_spec *prefix = slv_compile_take(c, n, sizeof *prefix);
    if (!r || !prefix) return a;
    for (uint32_t i = 0; i < n; i++)
        prefix[i] = slv_spec_and(c, item_spec(a, i), item_spec(b, i));
    r->prefix = prefix;
    r->n_prefix = n;
    r->rest = slv_spec_and(c, a->rest, b->rest);
    r->min = more(a->min, b->min);
    r->max = fewer(a->max, b->max);
    r->unique = a->unique || b->unique;
    r->n_contains = a->n_contains + b->n_contains;
    r->contains =
        both(c, a->contains, a->n_contains, b->contains, b->n_contains, sizeof *r->contains);
    if (!r->contains) r->n_contains = 0;
    return r;
}

static bool group_possible(struct slv_compile *c, const struct slv_object *o,
                           const struct slv_group *g) {
    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t k = 0;
        for (; k < g->v[i].n; k++) {
            const struct slv_prop *p = listed(o, g->v[i].v[k].name);
            const bool there = g->v[i].v[k].required;
            if (p && (there ? p->spec == SLV_SPEC_NONE : p->required)) break;
            if (!p && there && by_class(c, o, g->v[i].v[k].name) == SLV_SPEC_NONE) break;
        }
        if (k == g->v[i].n) return true;
    }
    return false;
}

/* Whether no object can be like o, by form. */
static bool object_clear(struct slv_compile *c, const struct slv_object *o) {
    uint32_t required = 0;
    for (uint32_t i = 0; i < o->n_props; i++) {
        required += o->props[i].required;
        if (o->props[i].required && slv_spec_clear(c, o->props[i].spec)) return true;
    }
    for (uint32_t i = 0; i < o->n_groups; i++)
        if (!group_possible(c, o, &o->groups[i])) return true;
    return required > o->max || o->min > o->max;
}

static bool array_clear(struct slv_compile *c, const struct slv_array *a) {
    if (a->min > a->max) return true;
    for (uint32_t i = 0; i < a->n_prefix && i < a->min; i++)
        if (slv_spec_clear(c, a->prefix[i])) return true;
    return a->min > a->n_prefix && slv_spec_clear(c, a->rest);
}

static const struct slv_evaluated *
evaluated_and(struct slv_compile *c, const struct slv_evaluated *a, const struct slv_evaluated *b) {
    if (!a || a == b) return b;
    if (!b) return a;
    struct slv_evaluated *r = slv_compile_take(c, 1, sizeof *r);
    if (!r) return a;
    r->names = slv_lang_or(c->p, a->names, b->names);
    r->items = more(a->items, b->items);
    r->n_contained = a->n_contained + b->n_contained;
    r->contained =
        both(c, a->contained, a->n_contained, b->contained, b->n_contained, sizeof *r->contained);
    if (!r->contained) r->n_contained = 0;
    return r;
}

/* --- boxes ------------------------------------------------------------------------------------ */

struct slv_box slv_box_of(unsigned types) {
    return (struct slv_box){types, &slv_numbers_all, SLV_LANG_ANY, 0, SLV_LANG_INF, NULL, NULL,
                            NULL};
}

struct slv_box slv_box_all(void) {
    return slv_box_of(SLV_T_ALL);
}

static bool text_clear(struct slv_compile *c, const struct slv_box *b) {
    if (b->min_len > b->max_len || slv_lang_is_none(c->p, b->text)) return true;
    if (b->text == SLV_LANG_ANY) return false;
    const struct slv_lengths l = slv_lang_lengths(c->p, b->text);
    return l.min > b->max_len || l.max < b->min_len;
}

struct slv_box slv_box_and(struct slv_compile *c, const struct slv_box *a,
                           const struct slv_box *b) {
    struct slv_box r = slv_box_of(a->types & b->types);
    (void)slv_langs_spend(c->p, SLV_BOX_STEPS);
    if (++c->work > SLV_MAX_WORK)
        slv_refuse(c, SLV_E_LIMIT, 0, NULL, "the schema needs too many combinations");
    if (c->clear_depth && c->work > c->clear_work) c->unknown = true;
    if (c->rc || c->unknown) return r;
    if (r.types & SLV_T_NUMBER) {
        r.numbers = slv_numbers_and(&c->mem, a->numbers, b->numbers);
        if (!r.numbers) {
            slv_refuse(c, SLV_E_LIMIT, 0, NULL, "too many ranges of numbers");
            r.numbers = &slv_numbers_none;
        }
        if (!r.numbers->n) r.types &= ~(unsigned)SLV_T_NUMBER;
    }
    if (r.types & SLV_T_STRING) {
        r.text = slv_lang_and(c->p, a->text, b->text);
        r.min_len = more(a->min_len, b->min_len);
        r.max_len = fewer(a->max_len, b->max_len);
        if (text_clear(c, &r)) r.types &= ~(unsigned)SLV_T_STRING;
    }
    if (r.types & SLV_T_ARRAY) {
        r.array = array_and(c, a->array, b->array);
        if (r.array && array_clear(c, r.array)) r.types &= ~(unsigned)SLV_T_ARRAY;
    }
    if (r.types & SLV_T_OBJECT) {
        r.object = slv_object_and(c, a->object, b->object);
        if (r.object && object_clear(c, r.object)) r.types &= ~(unsigned)SLV_T_OBJECT;
    }
    if (c->annotate && r.types & (SLV_T_ARRAY | SLV_T_OBJECT))
        r.evaluated = evaluated_and(c, a->evaluated, b->evaluated);
    if (slv_langs_status(c->p))
        slv_refuse(c, slv_langs_status(c->p), 0, NULL, "patterns need too many states");
    return r;
}

static bool same_box(const struct slv_box *a, const struct slv_box *b) {
    return a->types == b->types && a->numbers == b->numbers && a->text == b->text &&
           a->min_len == b->min_len && a->max_len == b->max_len && a->array == b->array &&
           a->object == b->object && a->evaluated == b->evaluated;
}

void slv_boxes_add(struct slv_compile *c, struct slv_boxes *to, const struct slv_box *b) {
    if (!b->types || c->rc) return;
    for (size_t i = 0; i < to->n; i++)
        if (same_box(&to->v[i], b)) return;
    const int rc = slv_mem_grow((void **)&to->v, to->n, &to->cap, sizeof *to->v, SLV_MAX_BOXES);
    if (rc) {
        slv_refuse(c, rc, 0, NULL, "more than %u alternatives once multiplied out", SLV_MAX_BOXES);
        return;
    }
    to->v[to->n++] = *b;
}

static bool free_but_objects(const struct slv_box *b) {
    return b->numbers == &slv_numbers_all && b->text == SLV_LANG_ANY && b->min_len == 0 &&
           b->max_len == SLV_LANG_INF && !b->array && !b->evaluated;
}

/* Whether b says nothing but which members are there. */
static bool only_presence(const struct slv_box *b) {
    const struct slv_object *o = b->object;
    if (!(b->types & SLV_T_OBJECT)) return free_but_objects(b);
    if (!free_but_objects(b) || !o || !o->n_props || o->n_wants || o->n_groups || o->min ||
        o->max != SLV_COUNT_INF || o->n_classes != 1 || o->classes[0].names != SLV_LANG_ANY ||
        o->classes[0].spec != SLV_SPEC_ANY)
        return false;
    for (uint32_t i = 0; i < o->n_props; i++)
        if (o->props[i].spec != (o->props[i].required ? SLV_SPEC_ANY : SLV_SPEC_NONE)) return false;
    return true;
}

void slv_boxes_fold(struct slv_compile *c, struct slv_boxes *b) {
    unsigned types = 0;
    uint32_t n = 0;
    size_t rest = 0, folded = 0;
    struct slv_presence *v = slv_compile_take(c, b->n, sizeof *v);
    if (!v || c->annotate) return;
    for (size_t i = 0; i < b->n; i++) {
        if (!only_presence(&b->v[i])) continue;
        folded++;
        types |= b->v[i].types;
        if (b->v[i].types & SLV_T_OBJECT)
            v[n++] = (struct slv_presence){b->v[i].object->props, b->v[i].object->n_props};
    }
    if (folded < 2 || !n) return;
    struct slv_group *g = slv_compile_take(c, 1, sizeof *g);
    struct slv_object *o = slv_compile_take(c, 1, sizeof *o);
    if (!g || !o) return;
    for (size_t i = 0; i < b->n; i++)
        if (!only_presence(&b->v[i])) b->v[rest++] = b->v[i];
    *g = (struct slv_group){v, n};
    *o = slv_object_any;
    o->groups = g;
    o->n_groups = 1;
    b->n = rest;
    struct slv_box x = slv_box_of(types);
    x.object = o;
    slv_boxes_add(c, b, &x);
}

void slv_boxes_and(struct slv_compile *c, struct slv_boxes *to, const struct slv_box *v, size_t n) {
    struct slv_boxes r = {0};
    for (size_t i = 0; i < to->n && !c->rc && !c->unknown; i++)
        for (size_t j = 0; j < n && !c->rc && !c->unknown; j++) {
            const struct slv_box x = slv_box_and(c, &to->v[i], &v[j]);
            slv_boxes_add(c, &r, &x);
        }
    slv_mem_free(to->v);
    *to = r;
}

void slv_boxes_free(struct slv_boxes *b) {
    slv_mem_free(b->v);
    *b = (struct slv_boxes){0};
}

void slv_boxes_and_spec(struct slv_compile *c, struct slv_boxes *to, slv_spec s) {
    if (s == SLV_SPEC_NONE) {
        to->n = 0;
        return;
    }
    for (uint32_t i = 0; i < c->specs[s].n && to->n && !c->rc && !c->unknown; i++) {
        uint32_t n;
        const struct slv_box *v = slv_expand(c, c->specs[s].v[i], &n);
        slv_boxes_and(c, to, v, n);
    }
}
