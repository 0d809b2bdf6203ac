/* shape.c: see shape.h.
 *
 * Three passes over the graph of specs: find all that are reached and bring each to boxes; find
 * those that have a value, as a least fixed point (a recursive schema that never ends has none);
 * make shapes of what is left. */
#include "engine/constraint/shape.h"
#include "engine/constraint/values.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define MAX_POSITIONS 4096u /* of an array's items that have a spec of their own */
#define MAX_FAMILY_WORDS 64u
#define BOUNDLESS_STATES 64u
#define MAX_COUNT 65536u

struct reached {
    slv_spec *queue;
    size_t n, cap;
    uint8_t *seen; /* by spec */
    size_t n_seen;
};

struct work {
    struct slv_schema *s;
    struct slv_compile *c;
    struct reached r;
    struct slv_shape *shapes; /* by spec: all alternatives, dead or not */
    size_t n_shapes;
    bool *alive;
    struct slv_shape *finished; /* the schema's */
};

/* --- pass 1: records -------------------------------------------------------------------------- */

static void reach(struct work *w, slv_spec s) {
    struct slv_compile *c = w->c;
    if (s >= w->r.n_seen) {
        const size_t m = (s + 64) * 2;
        uint8_t *v = slv_mem_realloc(w->r.seen, m);
        if (!v) {
            slv_refuse(c, SLV_E_NOMEM, 0, NULL, "out of memory");
            return;
        }
        memset(v + w->r.n_seen, 0, m - w->r.n_seen);
        w->r.seen = v;
        w->r.n_seen = m;
    }
    if (w->r.seen[s] || s == SLV_SPEC_NONE) return;
    const int rc =
        slv_mem_grow((void **)&w->r.queue, w->r.n, &w->r.cap, sizeof *w->r.queue, SLV_MAX_SPECS);
    if (rc) {
        slv_refuse(c, rc, 0, NULL, "the schema needs too many combinations");
        return;
    }
    w->r.seen[s] = 1;
    w->r.queue[w->r.n++] = s;
}

/* The key as it is written. */
static bool key_text(struct slv_compile *c, const char *name, size_t n, struct slv_member *m) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_SCHEMA_MAX_BYTES * 6);
    json_t *j = json_stringn(name, n);
    if (j) (void)slv_value_text(j, false, &b);
    json_decref(j);
    (void)slv_buf_addc(&b, ':');
    m->key = j && !b.status ? slv_arena_strndup(&c->mem, b.data, b.len) : NULL;
    m->n = (uint32_t)b.len;
    slv_buf_fini(&b);
    if (!m->key) slv_refuse(c, SLV_E_NOMEM, 0, NULL, "out of memory");
    return m->key != NULL;
}

/* base, and what each set of credits adds. */
static const slv_spec *variants(struct work *w, slv_spec base, unsigned credits,
                                const slv_spec *yes, const slv_spec *no) {
    struct slv_compile *c = w->c;
    slv_spec *v = slv_compile_take(c, SLV_VARIANTS, sizeof *v);
    if (!v) return NULL;
    for (unsigned set = 0; set < SLV_VARIANTS; set++) {
        v[set] = set & ~credits ? SLV_SPEC_NONE : base;
        for (unsigned k = 0; k < SLV_MAX_CREDITS && !(set & ~credits); k++)
            if (credits >> k & 1) v[set] = slv_spec_and(c, v[set], set >> k & 1 ? yes[k] : no[k]);
        reach(w, v[set]);
    }
    return v;
}

static unsigned wants_of(struct slv_compile *c, const struct slv_object *o, const char *name,
                         size_t n) {
    unsigned r = 0;
    for (uint32_t k = 0; k < o->n_wants; k++)
        if (slv_lang_has(c->p, o->wants[k].names, name, n)) r |= 1u << k;
    return r;
}

static int by_key(const void *a, const void *b) {
    const struct slv_member *x = a, *y = b;
    const int r = memcmp(x->key, y->key, x->n < y->n ? x->n : y->n);
    return r ? r : x->n < y->n ? -1 : x->n > y->n;
}

struct members_draft {
    struct slv_member *v;
    size_t n, cap;
    struct slv_free_member *families;
    size_t n_families, cap_families;
};

/* One listed name; one that no value fits is kept, so that it is not a free one. */
static void draft_member(struct work *w, struct members_draft *d, const struct slv_object *o,
                         struct slv_name_def name, slv_spec spec, bool required) {
    static const slv_spec any[SLV_MAX_CREDITS];
    slv_spec yes[SLV_MAX_CREDITS];
    struct slv_member m = {.required = required, .order = (uint32_t)d->n};
    for (uint32_t k = 0; k < o->n_wants; k++)
        yes[k] = o->wants[k].spec;
    m.credits = (uint8_t)wants_of(w->c, o, name.s, name.n);
    m.spec = variants(w, spec, m.credits, yes, any);
    if (!m.spec || !key_text(w->c, name.s, name.n, &m)) return;
    const int rc = slv_mem_grow((void **)&d->v, d->n, &d->cap, sizeof *d->v, SLV_MAX_SPECS);
    if (rc) slv_refuse(w->c, rc, 0, NULL, "too many properties");
    else d->v[d->n++] = m;
}

struct finite {
    struct work *w;
    struct members_draft *d;
    const struct slv_object *o;
    slv_spec spec;
};

static void finite_name(void *ctx, const char *s, size_t n) {
    struct finite *f = ctx;
    draft_member(f->w, f->d, f->o, (struct slv_name_def){s, n}, f->spec, false);
}

/* One class of names: a few as members, many as families, apart where wants tell them apart. */
static void draft_class(struct work *w, struct members_draft *d, const struct slv_object *o,
                        slv_lang names, slv_spec spec, uint32_t want, unsigned credits) {
    static const slv_spec any[SLV_MAX_CREDITS];
    struct slv_compile *c = w->c;
    if (slv_lang_is_none(c->p, names)) return;
    if (want < o->n_wants) {
        const slv_lang in = slv_lang_and(c->p, names, o->wants[want].names);
        const slv_lang out = slv_lang_and(c->p, names, slv_lang_not(c->p, o->wants[want].names));
        draft_class(w, d, o, in, spec, want + 1, credits | 1u << want);
        draft_class(w, d, o, out, spec, want + 1, credits);
        return;
    }
    const size_t count = slv_lang_count(c->p, names, MAX_COUNT);
    struct finite f = {w, d, o, spec};
    if (count <= MAX_FAMILY_WORDS && slv_lang_each(c->p, names, MAX_FAMILY_WORDS, finite_name, &f))
        return;
    slv_spec yes[SLV_MAX_CREDITS];
    for (uint32_t k = 0; k < o->n_wants; k++)
        yes[k] = o->wants[k].spec;
    struct slv_free_member k = {.names = names, .credits = (uint8_t)credits};
    k.boundless = slv_lang_boundless(c->p, names, BOUNDLESS_STATES);
    k.count = count < MAX_COUNT ? (uint32_t)count : SLV_COUNT_INF;
    k.spec = variants(w, spec, credits, yes, any);
    const int rc = slv_mem_grow((void **)&d->families, d->n_families, &d->cap_families,
                                sizeof *d->families, SLV_MAX_CLASSES * SLV_VARIANTS);
    if (rc) slv_refuse(c, rc, 0, NULL, "too many classes of property names");
    else if (k.spec) d->families[d->n_families++] = k;
}

/* Groups speak of members by index; each is listed. */
static bool keep_groups(struct slv_compile *c, const struct slv_object *o, struct slv_members *m,
                        const uint32_t *by_order) {
    struct slv_ways *g = slv_compile_take(c, o->n_groups, sizeof *g);
    m->groups = g;
    for (uint32_t i = 0; g && i < o->n_groups; i++) {
        struct slv_way *w = slv_compile_take(c, o->groups[i].n, sizeof *w);
        for (uint32_t k = 0; w && k < o->groups[i].n; k++) {
            const struct slv_presence *x = &o->groups[i].v[k];
            struct slv_there *t = slv_compile_take(c, x->n, sizeof *t);
            if (!t) return false;
            for (uint32_t j = 0; j < x->n; j++) {
                uint32_t order = 0;
                while (o->props[order].name != x->v[j].name)
                    order++;
                t[j] = (struct slv_there){by_order[order], x->v[j].required};
            }
            w[k] = (struct slv_way){t, x->n};
        }
        if (!w) return false;
        g[i] = (struct slv_ways){w, o->groups[i].n};
    }
    m->n_groups = g ? o->n_groups : 0;
    return g != NULL;
}

/* o, listing every name that a group speaks of. */
static const struct slv_object *list_groups(struct slv_compile *c, const struct slv_object *o) {
    for (uint32_t i = 0; i < o->n_groups; i++)
        for (uint32_t k = 0; k < o->groups[i].n; k++) {
            const struct slv_presence *x = &o->groups[i].v[k];
            struct slv_prop *v = slv_compile_take(c, x->n, sizeof *v);
            struct slv_object with = slv_object_any;
            if (!v) return o;
            for (uint32_t j = 0; j < x->n; j++)
                v[j] = (struct slv_prop){x->v[j].name, SLV_SPEC_ANY, false};
            with.props = v;
            with.n_props = x->n;
            o = slv_object_and(c, o, &with);
        }
    return o;
}

/* Puts the draft into the arena. */
static const struct slv_members *keep_members(struct slv_compile *c, struct members_draft *d,
                                              const struct slv_object *o) {
    struct slv_members *m = slv_compile_take(c, 1, sizeof *m);
    struct slv_member *v = slv_compile_take(c, d->n, sizeof *v);
    uint32_t *in_order = slv_compile_take(c, d->n, sizeof *in_order);
    struct slv_free_member *f = slv_compile_take(c, d->n_families, sizeof *f);
    if (!m || !v || !in_order || !f) return NULL;
    if (d->n) memcpy(v, d->v, d->n * sizeof *v);
    if (d->n_families) memcpy(f, d->families, d->n_families * sizeof *f);
    qsort(v, d->n, sizeof *v, by_key);
    for (uint32_t i = 0; i < d->n; i++) {
        in_order[v[i].order] = i;
    }
    uint32_t *last = slv_compile_take(c, d->n + 1, sizeof *last);
    if (!last) return NULL;
    last[d->n] = d->n ? (uint32_t)d->n - 1 : 0;
    for (size_t i = d->n; i-- > 0;)
        last[i] = v[in_order[i]].required ? (uint32_t)i : last[i + 1];
    m->last = last;
    m->v = v;
    m->in_order = in_order;
    m->families = f;
    m->n = (uint32_t)d->n;
    m->n_families = (uint32_t)d->n_families;
    m->min = o->min;
    m->max = o->max;
    m->wants = (uint8_t)((1u << o->n_wants) - 1);
    return keep_groups(c, o, m, in_order) ? m : NULL;
}

static const struct slv_members *draft_object(struct work *w, const struct slv_object *o) {
    struct members_draft d = {0};
    struct slv_compile *c = w->c;
    const struct slv_members *m = NULL;
    o = list_groups(c, o);
    if (o->n_wants > SLV_MAX_CREDITS) {
        slv_refuse(c, SLV_E_UNSUPPORTED, 0, NULL,
                   "more than %u complements of schemas of unnamed properties", SLV_MAX_CREDITS);
        return NULL;
    }
    struct slv_word *listed = slv_compile_take(c, o->n_props, sizeof *listed);
    if (!listed) return NULL;
    for (uint32_t i = 0; i < o->n_props && !c->rc; i++) {
        const struct slv_name_def name = c->names[o->props[i].name];
        listed[i] = (struct slv_word){name.s, name.n};
        draft_member(w, &d, o, name, o->props[i].spec, o->props[i].required);
    }
    const slv_lang taken = slv_lang_words(c->p, listed, o->n_props);
    for (uint32_t i = 0; i < o->n_classes && !c->rc; i++) {
        slv_lang names = o->classes[i].names;
        if (o->classes[i].spec == SLV_SPEC_NONE) continue;
        /* A member's key is told from a free one when it ends; but where names are few, they are
         * counted, and where they are all, nothing is gained. */
        if (names != SLV_LANG_ANY || o->n_wants)
            names = slv_lang_and(c->p, names, slv_lang_not(c->p, taken));
        draft_class(w, &d, o, names, o->classes[i].spec, 0, 0);
    }
    if (!c->rc) m = keep_members(c, &d, o);
    slv_mem_free(d.v);
    slv_mem_free(d.families);
    return m;
}

static const struct slv_items *draft_array(struct work *w, const struct slv_array *a) {
    struct slv_compile *c = w->c;
    slv_spec yes[SLV_MAX_CREDITS] = {0}, no[SLV_MAX_CREDITS] = {0};
    uint32_t n = a->n_prefix;
    if (a->n_contains > SLV_MAX_CREDITS) {
        slv_refuse(c, SLV_E_UNSUPPORTED, 0, NULL, "more than %u \"contains\" at once",
                   SLV_MAX_CREDITS);
        return NULL;
    }
    struct slv_items *r = slv_compile_take(c, 1, sizeof *r);
    for (uint32_t k = 0; k < a->n_contains; k++)
        n = a->contains[k].from > n ? a->contains[k].from : n;
    if (n >= MAX_POSITIONS) {
        slv_refuse(c, SLV_E_LIMIT, 0, NULL, "more than %u positions of items", MAX_POSITIONS);
        return NULL;
    }
    const slv_spec **spec = slv_compile_take(c, n + 1u, sizeof *spec);
    if (!r || !spec) return NULL;
    for (uint32_t k = 0; k < a->n_contains; k++) {
        const struct slv_contains *x = &a->contains[k];
        yes[k] = slv_spec_of(c, x->lit);
        no[k] = x->max == SLV_COUNT_INF ? SLV_SPEC_ANY : slv_spec_of(c, x->lit ^ 1);
        r->contains[k].min = x->min;
        r->contains[k].max = x->max;
        r->credits |= (uint8_t)(1u << k);
    }
    for (uint32_t i = 0; i <= n; i++) {
        unsigned credits = 0;
        for (uint32_t k = 0; k < a->n_contains; k++)
            if (i >= a->contains[k].from) credits |= 1u << k;
        spec[i] = variants(w, i < a->n_prefix ? a->prefix[i] : a->rest, credits, yes, no);
        if (!spec[i]) return NULL;
    }
    r->spec = spec;
    r->n_positions = n + 1;
    r->min = a->min;
    r->max = a->max;
    r->unique = a->unique;
    return r;
}

static bool text_alive(struct slv_compile *c, const struct slv_string_set *t) {
    if (t->min > t->max || slv_lang_is_none(c->p, t->lang)) return false;
    if (t->lang == SLV_LANG_ANY) return true;
    const struct slv_lengths l = slv_lang_lengths(c->p, t->lang);
    return l.min <= t->max && l.max >= t->min;
}

/* Bounds of length stay apart where every length in between occurs; else the language gets them. */
static struct slv_string_set make_text(struct slv_compile *c, const struct slv_box *b) {
    struct slv_string_set t = {b->text, b->min_len, b->max_len};
    const struct slv_lengths l = slv_lang_lengths(c->p, b->text);
    if (l.dense && l.min >= t.min && l.max <= t.max)
        return (struct slv_string_set){b->text, 0, SLV_LANG_INF};
    if (l.dense) return t;
    t = (struct slv_string_set){slv_box_text(c, b), 0, SLV_LANG_INF};
    if (t.lang == SLV_LANG_FAIL)
        slv_refuse(c, SLV_E_LIMIT, 0, NULL, "\"pattern\" and a length need too many states");
    return t;
}

/* The shape of a spec's boxes, each type's alternatives together. */
static void draft_shape(struct work *w, slv_spec s, const struct slv_boxes *b) {
    struct slv_compile *c = w->c;
    struct slv_shape r = {.numbers = &slv_numbers_none};
    struct slv_string_set *texts = slv_compile_take(c, b->n, sizeof *texts);
    const struct slv_items **arrays = slv_compile_take(c, b->n, sizeof *arrays);
    const struct slv_members **objects = slv_compile_take(c, b->n, sizeof *objects);
    if (!texts || !arrays || !objects) return;
    for (size_t i = 0; i < b->n && !c->rc; i++) {
        const struct slv_box *x = &b->v[i];
        r.types |= x->types & (SLV_T_NULL | SLV_T_FALSE | SLV_T_TRUE);
        if (x->types & SLV_T_NUMBER) r.numbers = slv_numbers_or(&c->mem, r.numbers, x->numbers);
        if (!r.numbers) {
            slv_refuse(c, SLV_E_LIMIT, 0, NULL, "too many ranges of numbers");
            return;
        }
        if (x->types & SLV_T_STRING) {
            struct slv_string_set t = make_text(c, x);
            uint32_t k = 0;
            while (k < r.n_texts && (texts[k].min != t.min || texts[k].max != t.max))
                k++;
            if (k < r.n_texts) {
                const slv_lang both = slv_lang_or(c->p, texts[k].lang, t.lang);
                const bool free = t.min == 0 && t.max == SLV_LANG_INF;
                if (free || texts[k].lang == t.lang) texts[k].lang = both;
                else k = r.n_texts;
            }
            if (k == r.n_texts && text_alive(c, &t)) texts[r.n_texts++] = t;
        }
        if (x->types & SLV_T_ARRAY) {
            const struct slv_array *a = x->array ? x->array : &slv_array_any;
            uint32_t k = 0;
            for (size_t j = 0; j < i; j++)
                k += b->v[j].types & SLV_T_ARRAY && b->v[j].array == x->array;
            if (!k && (arrays[r.n_arrays] = draft_array(w, a)) != NULL) r.n_arrays++;
        }
        if (x->types & SLV_T_OBJECT) {
            const struct slv_object *o = x->object ? x->object : &slv_object_any;
            uint32_t k = 0;
            for (size_t j = 0; j < i; j++)
                k += b->v[j].types & SLV_T_OBJECT && b->v[j].object == x->object;
            if (!k && (objects[r.n_objects] = draft_object(w, o)) != NULL) r.n_objects++;
        }
    }
    r.texts = texts;
    r.arrays = arrays;
    r.objects = objects;
    w->shapes[s] = r;
}

static bool shape_room(struct work *w, size_t n) {
    if (n <= w->n_shapes) return true;
    const size_t m = n * 2;
    struct slv_shape *v = slv_mem_realloc(w->shapes, m * sizeof *v);
    if (!v) {
        slv_refuse(w->c, SLV_E_NOMEM, 0, NULL, "out of memory");
        return false;
    }
    memset(v + w->n_shapes, 0, (m - w->n_shapes) * sizeof *v);
    w->shapes = v;
    w->n_shapes = m;
    return true;
}

static void draft_all(struct work *w) {
    reach(w, w->s->root);
    for (size_t i = 0; i < w->r.n && !w->c->rc; i++) {
        const slv_spec s = w->r.queue[i];
        struct slv_boxes b = {0};
        const struct slv_box all = slv_box_all();
        slv_boxes_add(w->c, &b, &all);
        slv_boxes_and_spec(w->c, &b, s);
        if (!w->c->rc && shape_room(w, s + 1u)) draft_shape(w, s, &b);
        slv_boxes_free(&b);
    }
    (void)shape_room(w, w->c->n_specs);
}

/* --- pass 2: what is alive -------------------------------------------------------------------- */

static bool usable(const struct slv_member *m, unsigned credits) {
    return m->spec[credits] != SLV_SPEC_NONE;
}

static bool is_there(const struct slv_object_state *p, uint32_t i) {
    return p->chosen == i + 1 || (p->there && p->there[i / 64] >> (i % 64) & 1);
}

static bool may_come(const struct slv_members *m, const struct slv_object_state *p, uint32_t i) {
    return p->any_order ? !is_there(p, i) : m->v[i].order >= p->pos;
}

/* A choice of what comes and what does not, on top of what is settled. */
struct choice {
    const struct slv_members *m;
    const struct slv_object_state *p;
    struct slv_there v[128];
    uint32_t n, steps;
};

#define MAX_STEPS 4000u

/* -1: not chosen. */
static int chosen(const struct choice *c, uint32_t member) {
    for (uint32_t i = 0; i < c->n; i++)
        if (c->v[i].member == member) return c->v[i].there;
    return -1;
}

/* Whether wants can be met, each by another member: of the listed ones `used` are taken. */
static bool assign(const struct choice *c, unsigned wants, uint32_t *used, uint32_t n_used) {
    const struct slv_members *m = c->m;
    if (!wants || n_used == SLV_MAX_CREDITS) return !wants;
    const unsigned one = wants & (0u - wants);
    for (uint32_t i = 0; i < m->n_families; i++)
        if (one & m->families[i].credits && m->families[i].spec[one] != SLV_SPEC_NONE &&
            m->families[i].count == SLV_COUNT_INF)
            return assign(c, wants & ~one, used, n_used);
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t k = 0;
        if (!may_come(m, c->p, i) || !(m->v[i].credits & one) || !usable(&m->v[i], one)) continue;
        if (chosen(c, i) == 0) continue;
        while (k < n_used && used[k] != i)
            k++;
        if (k < n_used) continue;
        used[n_used] = i;
        if (assign(c, wants & ~one, used, n_used + 1)) return true;
    }
    return false;
}

/* Whether counts and wants can be kept with that choice. */
static bool settles(const struct choice *c) {
    const struct slv_members *m = c->m;
    uint32_t required = 0, optional = 0, used[SLV_MAX_CREDITS];
    uint64_t free = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        if (!may_come(m, c->p, i)) continue;
        const int is = c->n ? chosen(c, i) : -1;
        if (m->v[i].required && !usable(&m->v[i], 0)) return false;
        required += m->v[i].required || is == 1;
        optional += is != 0 && usable(&m->v[i], 0);
    }
    for (uint32_t i = 0; i < m->n_families; i++)
        if (m->families[i].spec[0] != SLV_SPEC_NONE) free += m->families[i].count;
    const uint32_t n_wants = (uint32_t)__builtin_popcount(c->p->wants);
    return (uint64_t)c->p->count + required + n_wants <= m->max &&
           (uint64_t)c->p->count + optional + free >= m->min && assign(c, c->p->wants, used, 0);
}

static bool choose(struct choice *c, const struct slv_there *x) {
    const struct slv_member *k = &c->m->v[x->member];
    if (!may_come(c->m, c->p, x->member)) return is_there(c->p, x->member) == x->there;
    const int is = chosen(c, x->member);
    if (is >= 0) return is == x->there;
    if (x->there ? !usable(k, 0) : k->required) return false;
    if (c->n == sizeof c->v / sizeof c->v[0]) return false;
    c->v[c->n++] = *x;
    return true;
}

/* Whether the groups from g on can be met. */
static bool groups_from(struct choice *c, uint32_t g) {
    const uint32_t before = c->n;
    if (++c->steps > MAX_STEPS) return false;
    if (g == c->m->n_groups) return settles(c);
    for (uint32_t i = 0; i < c->m->groups[g].n; i++) {
        const struct slv_way *w = &c->m->groups[g].v[i];
        bool ok = true;
        for (uint32_t k = 0; ok && k < w->n; k++)
            ok = choose(c, &w->v[k]);
        if (ok && groups_from(c, g + 1)) return true;
        c->n = before;
    }
    return false;
}

bool slv_members_can_end(const struct slv_members *m, const struct slv_object_state *p) {
    struct choice c;
    if (m->simple) return true;
    c.m = m;
    c.p = p;
    c.n = c.steps = 0;
    return groups_from(&c, 0);
}

bool slv_members_ended(const struct slv_members *m, const struct slv_object_state *p) {
    if (p->wants || p->count < m->min || p->count > m->max) return false;
    for (uint32_t i = 0; i < m->n; i++)
        if (m->v[i].required && !is_there(p, i)) return false;
    for (uint32_t g = 0; g < m->n_groups; g++) {
        bool met = false;
        for (uint32_t i = 0; i < m->groups[g].n && !met; i++) {
            const struct slv_way *w = &m->groups[g].v[i];
            uint32_t k = 0;
            while (k < w->n && is_there(p, w->v[k].member) == w->v[k].there)
                k++;
            met = k == w->n;
        }
        if (!met) return false;
    }
    return true;
}

static const slv_spec *item_spec(const struct slv_items *a, uint32_t i) {
    return a->spec[i < a->n_positions ? i : a->n_positions - 1];
}

static bool any_variant(const slv_spec *v) {
    for (unsigned set = 0; set < SLV_VARIANTS; set++)
        if (v[set] != SLV_SPEC_NONE) return true;
    return false;
}

/* Whether some variant without credit k is there. */
static bool without(const slv_spec *v, unsigned k) {
    for (unsigned set = 0; set < SLV_VARIANTS; set++)
        if (!(set >> k & 1) && v[set] != SLV_SPEC_NONE) return true;
    return false;
}

bool slv_items_can_end(const struct slv_items *a, uint32_t count, const uint32_t *met) {
    uint64_t most = a->max, needed = 0;
    const slv_spec *rest = item_spec(a, a->n_positions);
    for (uint32_t i = count; i < a->n_positions && i < most; i++)
        if (!any_variant(item_spec(a, i))) most = i;
    for (unsigned k = 0; k < SLV_MAX_CREDITS && a->credits >> k & 1; k++) {
        const uint32_t min = a->contains[k].min, max = a->contains[k].max;
        uint64_t places = 0;
        if (met[k] > max) return false;
        if (max != SLV_COUNT_INF && !without(rest, k) && count + (uint64_t)(max - met[k]) < most)
            most = count + (uint64_t)(max - met[k]);
        if (met[k] >= min) continue;
        for (uint32_t i = count; i < a->n_positions - 1 && i < most; i++)
            places += item_spec(a, i)[1u << k] != SLV_SPEC_NONE;
        const uint32_t from = count > a->n_positions - 1 ? count : a->n_positions - 1;
        if (rest[1u << k] != SLV_SPEC_NONE && most > from) places += most - from;
        if (places < min - met[k]) return false;
        needed += min - met[k];
    }
    needed += count;
    return (needed > a->min ? needed : a->min) <= most && count <= a->max;
}

/* Turns dead variants into SLV_SPEC_NONE where alive[] says so, in a copy. */
static const slv_spec *alive_only(struct work *w, const slv_spec *v) {
    slv_spec *r = slv_compile_take(w->c, SLV_VARIANTS, sizeof *r);
    for (unsigned set = 0; r && set < SLV_VARIANTS; set++)
        r[set] = v[set] != SLV_SPEC_NONE && w->alive[v[set]] ? v[set] : SLV_SPEC_NONE;
    return r;
}

/* The record with what is alive now; NULL where it cannot end. */
static const struct slv_members *live_object(struct work *w, const struct slv_members *m) {
    struct slv_compile *c = w->c;
    struct slv_members *r = slv_compile_take(c, 1, sizeof *r);
    struct slv_member *v = slv_compile_take(c, m->n, sizeof *v);
    struct slv_free_member *f = slv_compile_take(c, m->n_families, sizeof *f);
    if (!r || !v || !f) return NULL;
    (void)slv_langs_spend(w->c->p, (uint64_t)m->n + m->n_families);
    *r = *m;
    r->v = v;
    r->families = f;
    r->n_families = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        v[i] = m->v[i];
        v[i].spec = alive_only(w, m->v[i].spec);
        if (!v[i].spec) return NULL;
    }
    for (uint32_t i = 0; i < m->n_families; i++) {
        f[r->n_families] = m->families[i];
        f[r->n_families].spec = alive_only(w, m->families[i].spec);
        if (!f[r->n_families].spec) return NULL;
        r->n_families += any_variant(f[r->n_families].spec);
    }
    const struct slv_object_state p = {.wants = r->wants};
    if (!slv_members_can_end(r, &p)) return NULL;
    r->simple = !r->wants && !r->n_groups && r->min == 0 && r->max == SLV_COUNT_INF;
    return r;
}

static const struct slv_items *live_array(struct work *w, const struct slv_items *a) {
    static const uint32_t met[SLV_MAX_CREDITS];
    struct slv_compile *c = w->c;
    struct slv_items *r = slv_compile_take(c, 1, sizeof *r);
    const slv_spec **spec = slv_compile_take(c, a->n_positions, sizeof *spec);
    if (!r || !spec) return NULL;
    *r = *a;
    r->spec = spec;
    for (uint32_t i = 0; i < a->n_positions; i++)
        if (!(spec[i] = alive_only(w, a->spec[i]))) return NULL;
    return slv_items_can_end(r, 0, met) ? r : NULL;
}

static bool has_value(struct work *w, const struct slv_shape *s) {
    (void)slv_langs_spend(w->c->p, 1);
    if (s->types || slv_numbers_writable(s->numbers) || s->n_texts) return true;
    for (uint32_t i = 0; i < s->n_arrays; i++)
        if (live_array(w, s->arrays[i])) return true;
    for (uint32_t i = 0; i < s->n_objects; i++)
        if (live_object(w, s->objects[i])) return true;
    return false;
}

static void find_alive(struct work *w) {
    for (bool changed = true; changed && !w->c->rc;) {
        changed = false;
        for (size_t i = w->r.n; i-- > 0 && !w->c->rc;) {
            const slv_spec s = w->r.queue[i];
            if (w->alive[s] || !has_value(w, &w->shapes[s])) continue;
            w->alive[s] = changed = true;
        }
    }
}

/* --- pass 3: shapes --------------------------------------------------------------------------- */

static void finish_shape(struct work *w, struct slv_shape *s) {
    struct slv_compile *c = w->c;
    const struct slv_items **arrays = slv_compile_take(c, s->n_arrays, sizeof *arrays);
    const struct slv_members **objects = slv_compile_take(c, s->n_objects, sizeof *objects);
    uint32_t n_arrays = 0, n_objects = 0;
    if (!arrays || !objects) return;
    for (uint32_t i = 0; i < s->n_arrays; i++)
        if ((arrays[n_arrays] = live_array(w, s->arrays[i])) != NULL) n_arrays++;
    for (uint32_t i = 0; i < s->n_objects; i++)
        if ((objects[n_objects] = live_object(w, s->objects[i])) != NULL) n_objects++;
    s->arrays = arrays;
    s->objects = objects;
    s->n_arrays = n_arrays;
    s->n_objects = n_objects;
    if (!slv_numbers_writable(s->numbers)) s->numbers = &slv_numbers_none;
    s->types |= s->numbers->n ? SLV_T_NUMBER : 0u;
    s->types |= s->n_texts ? SLV_T_STRING : 0u;
    s->types |= n_arrays ? SLV_T_ARRAY : 0u;
    s->types |= n_objects ? SLV_T_OBJECT : 0u;
}

static void finish_all(struct work *w) {
    struct slv_shape *v = slv_compile_take(w->c, w->c->n_specs, sizeof *v);
    if (!v) return;
    for (size_t i = 0; i < w->r.n && !w->c->rc; i++) {
        finish_shape(w, &w->shapes[w->r.queue[i]]);
        v[w->r.queue[i]] = w->shapes[w->r.queue[i]];
    }
    w->finished = v;
    w->s->shapes = v;
    w->s->n_shapes = w->c->n_specs;
}

/* --- the longest value ------------------------------------------------------------------------ */

#define ENDLESS SIZE_MAX
#define CHARACTER_BYTES 6 /* \\u00xx */

static size_t add_up(size_t a, size_t b) { return a > ENDLESS - b ? ENDLESS : a + b; }

static size_t multiply(size_t a, size_t b) {
    size_t r;
    return !a || !b ? 0 : __builtin_mul_overflow(a, b, &r) ? ENDLESS : r;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

struct longest {
    struct slv_schema *s;
    struct slv_shape *v; /* of s, by spec */
    uint8_t *state;      /* 0, 1: being measured, 2: known */
    unsigned depth;
};

static size_t longest(struct longest *l, slv_spec s);

static size_t longest_of(struct longest *l, const slv_spec *variants) {
    size_t r = 0;
    for (unsigned set = 0; set < SLV_VARIANTS; set++)
        if (variants[set] != SLV_SPEC_NONE) r = larger(r, longest(l, variants[set]));
    return r;
}

static size_t longest_text(struct slv_langs *p, const struct slv_string_set *t) {
    const uint32_t by_lang = slv_lang_lengths(p, t->lang).max;
    const uint32_t n = by_lang < t->max ? by_lang : t->max;
    return n == SLV_LANG_INF ? ENDLESS : multiply(n, CHARACTER_BYTES) + 2;
}

static size_t longest_array(struct longest *l, const struct slv_items *a) {
    size_t r = 2;
    for (uint32_t i = 0; i < a->n_positions && i < a->max && r != ENDLESS; i++) {
        const size_t item = longest_of(l, item_spec(a, i));
        const bool last = i == a->n_positions - 1;
        const size_t times = !last ? 1 : a->max == SLV_COUNT_INF ? ENDLESS : a->max - i;
        r = add_up(r, item ? multiply(add_up(item, 1), times) : 0);
    }
    return r;
}

static size_t longest_object(struct longest *l, const struct slv_members *m) {
    size_t r = 2;
    for (uint32_t i = 0; i < m->n && r != ENDLESS; i++) {
        const size_t value = longest_of(l, m->v[i].spec);
        if (value) r = add_up(r, add_up(value, m->v[i].n + 1));
    }
    for (uint32_t i = 0; i < m->n_families && r != ENDLESS; i++) {
        const struct slv_string_set key = {m->families[i].names, 0, SLV_LANG_INF};
        const size_t one =
            add_up(longest_text(l->s->c.p, &key), longest_of(l, m->families[i].spec));
        const uint32_t n = m->families[i].count < m->max ? m->families[i].count : m->max;
        r = add_up(r, n == SLV_COUNT_INF ? ENDLESS : multiply(n, add_up(one, 2)));
    }
    return r;
}

/* Bytes of the longest value of a spec; one that comes back to itself has none. */
static size_t longest(struct longest *l, slv_spec s) {
    struct slv_shape *x = &l->v[s];
    if (l->state[s] == 2) return x->longest;
    if (l->state[s] == 1 || l->depth == SLV_SCHEMA_MAX_DEPTH) return ENDLESS;
    l->state[s] = 1;
    l->depth++;
    size_t r = x->types & SLV_T_FALSE ? 5 : x->types & (SLV_T_NULL | SLV_T_TRUE) ? 4 : 0;
    if (x->types & SLV_T_NUMBER) r = larger(r, slv_numbers_longest(x->numbers));
    for (uint32_t i = 0; i < x->n_texts; i++)
        r = larger(r, longest_text(l->s->c.p, &x->texts[i]));
    for (uint32_t i = 0; i < x->n_arrays && r != ENDLESS; i++)
        r = larger(r, longest_array(l, x->arrays[i]));
    for (uint32_t i = 0; i < x->n_objects && r != ENDLESS; i++)
        r = larger(r, longest_object(l, x->objects[i]));
    l->depth--;
    l->state[s] = 2;
    return x->longest = r;
}

static void measure(struct work *w, struct slv_shape *v) {
    struct longest l = {w->s, v, slv_mem_calloc(w->c->n_specs, 1), 0};
    if (!l.state) slv_refuse(w->c, SLV_E_NOMEM, 0, NULL, "out of memory");
    else (void)longest(&l, w->s->root);
    slv_mem_free(l.state);
}

/* --- enough different items ------------------------------------------------------------------- */

#define COUNT_DEPTH 6

static size_t at_least(struct work *w, slv_spec s, size_t most, unsigned depth);

static size_t product(size_t a, size_t b, size_t most) {
    return !a || !b ? 0 : a >= most || b > most / a ? most : a * b;
}

static size_t sum(size_t a, size_t b, size_t most) { return a >= most - b ? most : a + b; }

static size_t best_of(struct work *w, const slv_spec *variants, size_t most, unsigned depth) {
    size_t best = 0;
    for (unsigned set = 0; set < SLV_VARIANTS; set++) {
        const size_t n =
            variants[set] == SLV_SPEC_NONE ? 0 : at_least(w, variants[set], most, depth);
        best = n > best ? n : best;
    }
    return best;
}

static size_t texts_at_least(struct work *w, const struct slv_string_set *t, size_t most) {
    const struct slv_box b = {.text = t->lang, .min_len = t->min, .max_len = t->max};
    slv_lang set;
    uint32_t lo, hi;
    if (t->lang == SLV_LANG_ANY) return t->max ? most : 1;
    if (t->max == SLV_LANG_INF && slv_lang_is_repeat(w->c->p, t->lang, &set, &lo, &hi) &&
        hi == SLV_LANG_INF)
        return most;
    const bool bounded = t->min > 0 || t->max != SLV_LANG_INF;
    return slv_lang_count(w->c->p, bounded ? slv_box_text(w->c, &b) : t->lang, most);
}

static size_t items_at_least(struct work *w, const struct slv_items *a, size_t most,
                             unsigned depth) {
    size_t n = 1;
    for (uint32_t i = 0; i < a->min && i < a->n_positions && !a->unique; i++)
        n = product(n, best_of(w, item_spec(a, i), most, depth), most);
    if (a->min == 0 && a->max > 0 && !a->credits)
        n = sum(n, best_of(w, item_spec(a, 0), most, depth), most);
    return n;
}

static size_t members_at_least(struct work *w, const struct slv_members *m, size_t most,
                               unsigned depth) {
    size_t n = 1, more_ways = 1;
    for (uint32_t i = 0; i < m->n_families && m->simple; i++)
        if (m->families[i].count == SLV_COUNT_INF) return most;
    for (uint32_t i = 0; i < m->n && m->simple; i++) {
        const size_t k = best_of(w, m->v[i].spec, most, depth);
        if (m->v[i].required) n = product(n, k, most);
        else more_ways = sum(more_ways, k, most);
    }
    return product(n, more_ways, most);
}

static size_t greater(size_t a, size_t b) { return a > b ? a : b; }

/* How many values of a spec there are at least, counted up to most: those of different types
 * together, of alternatives of one type the most. */
static size_t at_least(struct work *w, slv_spec s, size_t most, unsigned depth) {
    const struct slv_shape *x = &w->s->shapes[s];
    size_t n = (size_t)__builtin_popcount(x->types & (SLV_T_NULL | SLV_T_FALSE | SLV_T_TRUE));
    size_t texts = 0, arrays = 0, objects = 0;
    if (depth == COUNT_DEPTH) return x->types ? 1 : 0;
    for (uint32_t i = 0; i < x->n_texts; i++)
        texts = greater(texts, texts_at_least(w, &x->texts[i], most));
    for (uint32_t i = 0; i < x->n_arrays; i++)
        arrays = greater(arrays, items_at_least(w, x->arrays[i], most, depth + 1));
    for (uint32_t i = 0; i < x->n_objects; i++)
        objects = greater(objects, members_at_least(w, x->objects[i], most, depth + 1));
    n = sum(n, slv_numbers_count(x->numbers, most), most);
    return sum(sum(n, texts, most), sum(arrays, objects, most), most);
}

/* Items that must differ: there are enough of them at each place that must be taken. */
static bool enough(struct work *w, const struct slv_items *a) {
    for (uint32_t i = 0; i < a->min; i++) {
        const size_t wanted = i < a->n_positions - 1 ? i + 1u : a->min;
        if (best_of(w, item_spec(a, i), wanted, 0) < wanted) return false;
        if (i >= a->n_positions - 1) break;
    }
    for (unsigned k = 0; k < SLV_MAX_CREDITS && a->credits >> k & 1; k++) {
        const slv_spec s = item_spec(a, a->n_positions)[1u << k];
        const uint32_t wanted = a->contains[k].min;
        if (wanted > 1 && (s == SLV_SPEC_NONE || at_least(w, s, wanted, 0) < wanted)) return false;
    }
    return true;
}

static void check_unique(struct work *w) {
    for (size_t i = 0; i < w->r.n && !w->c->rc; i++) {
        const struct slv_shape *x = &w->s->shapes[w->r.queue[i]];
        for (uint32_t k = 0; k < x->n_arrays; k++)
            if (x->arrays[k]->unique && !enough(w, x->arrays[k]))
                slv_refuse(w->c, SLV_E_UNSUPPORTED, 0, NULL,
                           "\"uniqueItems\": there may not be enough different items");
    }
}

static bool has_key(const json_t *j, const char *key) {
    const char *k;
    json_t *x;
    size_t i;
    if (json_is_object(j)) {
        json_object_foreach((json_t *)(uintptr_t)j, k,
                            x) if (!strcmp(k, key) || has_key(x, key)) return true;
    } else json_array_foreach((json_t *)(uintptr_t)j, i, x) if (has_key(x, key)) return true;
    return false;
}

static int compile(struct slv_schema *s, const char *text, size_t n, struct slv_err *err) {
    struct slv_compile *c = &s->c;
    struct work w = {.s = s, .c = c};
    int rc = slv_document_read(text, n, &c->d, err);
    if (!rc && !c->p) {
        rc = slv_langs_open(&c->p);
        s->own_langs = true;
        if (!rc) slv_langs_allow(c->p, SLV_COMPILE_STEPS);
    }
    if (rc) return rc;
    const json_t *root = slv_document_json(c->d, 0);
    c->annotate = has_key(root, "unevaluatedProperties") || has_key(root, "unevaluatedItems");
    s->root = slv_spec_of(c, slv_lit_node(c, 0));
    if (!c->rc) draft_all(&w);
    w.alive = slv_mem_calloc(c->n_specs + 1, sizeof *w.alive);
    if (!w.alive) slv_refuse(c, SLV_E_NOMEM, 0, NULL, "out of memory");
    if (!c->rc) find_alive(&w);
    if (!c->rc) finish_all(&w);
    if (!c->rc) measure(&w, w.finished);
    if (!c->rc) check_unique(&w);
    if (slv_langs_status(c->p)) /* after the last box was looked at */
        slv_refuse(c, slv_langs_status(c->p), 0, NULL, "patterns need too many states");
    slv_mem_free(w.r.queue);
    slv_mem_free(w.r.seen);
    slv_mem_free(w.shapes);
    slv_mem_free(w.alive);
    if (s->own_langs && !c->rc) slv_langs_allow(c->p, SLV_LANG_NO_BOUND);
    return c->rc;
}

/* What only compiling needs. */
static void forget(struct slv_compile *c) {
    slv_document_close(c->d);
    slv_mem_free(c->places);
    slv_mem_free(c->place_of_node);
    slv_mem_free(c->spec_slots);
    slv_mem_free(c->names);
    slv_mem_free(c->name_slots);
    c->d = NULL;
    c->places = NULL;
    c->place_of_node = c->spec_slots = c->name_slots = NULL;
    c->names = NULL;
}

int slv_schema_open(const char *text, size_t n, const struct slv_schema_options *o,
                    struct slv_schema **ret, char *ret_at, struct slv_err *err) {
    return slv_schema_open_in(NULL, text, n, o, ret, ret_at, err);
}

int slv_schema_open_in(struct slv_langs *p, const char *text, size_t n,
                       const struct slv_schema_options *o, struct slv_schema **ret, char *ret_at,
                       struct slv_err *err) {
    struct slv_schema *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    slv_arena_init(&s->c.mem, SLV_SCHEMA_MAX_MEMORY);
    s->c.p = p;
    s->c.formats = o->formats;
    s->c.classes = o->classes;
    s->c.err = err;
    s->c.at = ret_at;
    if (ret_at) ret_at[0] = 0;
    const int rc = compile(s, text, n, err);
    s->c.err = NULL;
    s->c.at = NULL;
    forget(&s->c);
    if (rc) {
        slv_schema_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

size_t slv_schema_bytes(const struct slv_schema *s) {
    return sizeof *s + s->c.mem.used + s->c.cap_specs * sizeof *s->c.specs +
           (s->own_langs ? slv_langs_bytes(s->c.p) : 0);
}

void slv_schema_close(struct slv_schema *s) {
    if (!s) return;
    struct slv_compile *c = &s->c;
    if (s->own_langs) slv_langs_close(c->p);
    forget(c);
    slv_mem_free(c->specs);
    slv_arena_fini(&c->mem);
    slv_mem_free(s);
}

bool slv_schema_has_values(const struct slv_schema *s) { return s->shapes[s->root].types != 0; }

size_t slv_schema_longest(const struct slv_schema *s) { return s->shapes[s->root].longest; }
