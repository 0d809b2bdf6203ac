/* matcher.c: see matcher.h.
 *
 *   {"a":[1,"x     threads: { string "x, in: array(1 item) -> object(after "a") -> nothing }
 *
 * Threads that differ only in what contains their value are one thread with several containers, and
 * so are new objects and arrays of the same record: alternatives that have nested alternatives add
 * up and do not multiply (a stack shared like a graph: Tomita, "Efficient Parsing for Natural
 * Language", 1985). Where items must differ nothing is shared: what was written before is each
 * alternative's own.
 *
 * A grammar (matcher_grammar.c) contains values as an array does: their frame is one of its places.
 *
 * Sets of threads lie one behind the other, the current one last; frames are bumped off chunks.
 * A mark is the lengths of both, so that going back costs nothing. */
#include "engine/constraint/grammar.h"
#include "engine/constraint/matcher_int.h"
#include "engine/constraint/same.h"
#include "engine/constraint/string.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

/* --- threads ---------------------------------------------------------------------------------- */

/* A copy of f (NULL: of nothing) to change. */
static struct frame *copy(struct slv_matcher *m, const struct frame *f) {
    struct frame *r = slv_way_bump(m, sizeof *r);
    if (r && f) *r = *f;
    return r;
}

/* a with those of b that it does not have. */
const struct places *slv_way_join(struct slv_matcher *m, const struct places *a,
                                  const struct places *b) {
    for (; b; b = b->next) {
        const struct places *x = a;
        uint64_t n = 1;
        for (; x && x->f != b->f; n++)
            x = x->next;
        if (!slv_way_spend(m, n)) return a;
        if (x) continue;
        struct places *r = slv_way_bump(m, sizeof *r);
        if (!r) return a;
        *r = (struct places){a, b->f};
        a = r;
    }
    return a;
}

static bool differs(const struct places *up) { return up && up->f->differs; }

static enum slv_number_mode number_mode(const struct slv_matcher *m, const struct places *up) {
    if (differs(up)) return SLV_NUMBER_ONE_TEXT;
    return m->flags & SLV_MATCH_READ ? SLV_NUMBER_READ : SLV_NUMBER_WRITE;
}

static bool same_string(const struct slv_string_at *a, const struct slv_string_at *b) {
    return a->lang == b->lang && a->count == b->count && a->part == b->part && a->set == b->set;
}

static bool same_number(const struct thread *a, const struct thread *b) {
    const struct slv_number *x = &a->number.at, *y = &b->number.at;
    return a->number.set == b->number.set && x->digits == y->digits && x->phase == y->phase &&
           x->n_int == y->n_int && x->n_frac == y->n_frac && x->negative == y->negative;
}

/* Whether two threads go on alike, up to what contains their value. */
static bool alike(const struct thread *a, const struct thread *b) {
    if (a->state != b->state || a->f != b->f) return false;
    switch ((enum state)a->state) {
    case S_VALUE:
        return a->spec == b->spec && (a->up == b->up || a->up->f->s == b->up->f->s);
    case S_KEY:
        return a->key.lo == b->key.lo && a->key.hi == b->key.hi && a->key.depth == b->key.depth;
    case S_FREE_KEY:
        return a->family == b->family && same_string(&a->string, &b->string);
    case S_COLON:
        return a->family == b->family;
    case S_CONSTANT:
        return a->constant.rest == b->constant.rest;
    case S_STRING:
        return same_string(&a->string, &b->string);
    case S_TERM:
        return a->family == b->family && same_string(&a->string, &b->string);
    case S_TOKEN:
        return a->family == b->family;
    case S_NUMBER:
        return same_number(a, b);
    case S_ITEM:
    case S_FIRST:
    case S_OPEN:
    case S_MORE:
    case S_NEXT:
    case S_END:
        return true;
    }
    return false;
}

/* Adds a thread to the set that is being made, or its containers to one that is like it. */
void slv_way_put(struct slv_matcher *m, const struct thread *t) {
    if (m->status || !slv_way_spend(m, 1 + (m->n - m->first) / 8)) return;
    for (size_t i = m->first; i < m->n; i++) {
        const struct thread *x = &m->v[i];
        if (!alike(x, t)) continue;
        if (x->up == t->up) return;
        if (differs(x->up) || differs(t->up) || !x->up || !t->up) continue;
        m->v[i].up = slv_way_join(m, m->v[i].up, t->up);
        return;
    }
    if (m->n - m->first >= SLV_MAX_THREADS) return; /* a way fewer: what is taken stays right */
    const int rc = slv_mem_grow((void **)&m->v, m->n, &m->cap, sizeof *m->v, (size_t)1 << 24);
    if (rc) (void)slv_way_fail(m, rc);
    else m->v[m->n++] = *t;
}

static struct thread blank(enum state state) { return (struct thread){.state = state}; }

static struct thread thread(const struct frame *f, enum state state) {
    struct thread t = blank(state);
    t.f = f;
    return t;
}

static struct thread inside_of(const struct places *up, enum state state) {
    struct thread t = blank(state);
    t.up = up;
    return t;
}

static void go(struct slv_matcher *m, const struct frame *f, enum state state) {
    const struct thread t = thread(f, state);
    slv_way_put(m, &t);
}

const struct places *slv_way_in(struct slv_matcher *m, const struct frame *f) {
    struct places *r = slv_way_bump(m, sizeof *r);
    if (r) r->f = f;
    return r;
}

static void value_in(struct slv_matcher *m, const struct frame *f, slv_spec spec) {
    struct thread t = inside_of(slv_way_in(m, f), S_VALUE);
    t.spec = spec;
    slv_way_put(m, &t);
}

/* Whose specs a value in these containers has. */
static const struct slv_schema *schema(const struct slv_matcher *m, const struct places *up) {
    return up ? up->f->s : m->s;
}

/* --- values that must differ ------------------------------------------------------------------ */

static bool repeats(const struct slv_matcher *m, const struct piece *past, size_t from, size_t to) {
    for (; past; past = past->up)
        if (slv_same_value(m->text + from, to - from, m->text + past->from, past->to - past->from))
            return true;
    return false;
}

static const struct piece *add_piece(struct slv_matcher *m, const struct piece *up, size_t from,
                                     size_t to) {
    struct piece *r = slv_way_bump(m, sizeof *r);
    if (r) *r = (struct piece){up, from, to};
    return r;
}

/* --- after a value ---------------------------------------------------------------------------- */

/* f after a value in it has ended before byte `to`; NULL where that repeats one. */
static const struct frame *holding(struct slv_matcher *m, const struct frame *f, size_t to) {
    if (!f->items || !f->items->unique || m->may_repeat) return f;
    if (repeats(m, f->past, f->from, to)) return NULL;
    struct frame *r = copy(m, f);
    if (r) r->past = add_piece(m, f->past, f->from, to);
    return r;
}

/* A value has ended before byte `to` of the text. */
static void ended(struct slv_matcher *m, const struct places *up, size_t to) {
    if (!up) go(m, NULL, S_END);
    for (; up; up = up->next) {
        const struct frame *f = up->f->node ? NULL : holding(m, up->f, to);
        if (f) go(m, f, S_NEXT);
        if (up->f->node) slv_way_return(m, up->f);
    }
}

/* --- objects ---------------------------------------------------------------------------------- */

static uint64_t *copy_bits(struct slv_matcher *m, const struct frame *f) {
    const size_t words = (f->members->n + 64) / 64;
    uint64_t *r = slv_way_bump(m, words * sizeof *r);
    if (r && f->at.there) memcpy(r, f->at.there, words * sizeof *r);
    return r;
}

/* How far the object has come with member i, met as `set`; false where that cannot be. */
static bool choose_member(const struct frame *f, uint32_t i, unsigned set,
                          struct slv_object_state *p) {
    const struct slv_member *x = &f->members->v[i];
    *p = f->at;
    if (set & ~(unsigned)x->credits || x->spec[set] == SLV_SPEC_NONE) return false;
    if (p->any_order ? p->there[i / 64] >> (i % 64) & 1
                     : x->order < p->pos || x->order > f->members->last[p->pos])
        return false;
    p->chosen = i + 1;
    p->pos = x->order + 1;
    p->count++;
    p->wants &= ~set;
    return slv_members_can_end(f->members, p);
}

static const struct frame *with_member(struct slv_matcher *m, const struct frame *f, uint32_t i,
                                       unsigned set) {
    struct slv_object_state p;
    if (!choose_member(f, i, set, &p)) return NULL;
    uint64_t *there = copy_bits(m, f);
    struct frame *r = there ? copy(m, f) : NULL;
    if (!r) return NULL;
    there[i / 64] |= (uint64_t)1 << (i % 64);
    p.there = there;
    p.chosen = 0;
    r->at = p;
    return r;
}

static bool member_possible(const struct frame *f, uint32_t i) {
    struct slv_object_state p;
    for (unsigned set = 0; set <= f->members->v[i].credits; set++)
        if (choose_member(f, i, set, &p)) return true;
    return false;
}

static bool choose_free(const struct frame *f, uint32_t family, unsigned set,
                        struct slv_object_state *p) {
    const struct slv_members *k = f->members;
    *p = f->at;
    if (k->families[family].spec[set] == SLV_SPEC_NONE) return false;
    if (!p->any_order && p->pos < k->n && k->v[k->in_order[k->last[p->pos]]].required) return false;
    p->pos = k->n;
    p->count++;
    p->wants &= ~set;
    return slv_members_can_end(k, p);
}

static const struct frame *with_free(struct slv_matcher *m, const struct frame *f, uint32_t family,
                                     unsigned set) {
    struct slv_object_state p;
    if (!choose_free(f, family, set, &p)) return NULL;
    struct frame *r = copy(m, f);
    if (r) r->at = p;
    return r;
}

static bool free_possible(const struct frame *f, uint32_t family) {
    struct slv_object_state p;
    for (unsigned set = 0; set <= f->members->families[family].credits; set++)
        if (choose_free(f, family, set, &p)) return true;
    return false;
}

/* The names of a family, less those that are taken where that may matter. */
static slv_lang free_names(struct slv_matcher *m, const struct frame *f, uint32_t family) {
    const struct slv_free_member *k = &f->members->families[family];
    slv_lang names = k->names;
    if (k->boundless) return names;
    for (const struct piece *x = f->past; x; x = x->up) {
        json_t *j =
            json_loadb(m->text + x->from, x->to - x->from, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!j) return SLV_LANG_NONE;
        const struct slv_word w = {json_string_value(j), json_string_length(j)};
        names = slv_lang_and(m->p, names, slv_lang_not(m->p, slv_lang_words(m->p, &w, 1)));
        json_decref(j);
    }
    return slv_lang_is_none(m->p, names) ? SLV_LANG_NONE : names;
}

static void begin_key(struct slv_matcher *m, const struct frame *f) {
    const struct slv_members *k = f->members;
    for (uint32_t i = 0; i < k->n; i++) {
        if (!member_possible(f, i)) continue;
        struct thread t = thread(f, S_KEY);
        t.key.lo = 0;
        t.key.hi = k->n;
        t.key.depth = 1;
        slv_way_put(m, &t);
        break;
    }
    for (uint32_t i = 0; i < k->n_families; i++) {
        if (!free_possible(f, i)) continue;
        struct thread t = thread(f, S_FREE_KEY);
        t.family = i;
        t.string.lang = free_names(m, f, i);
        t.from = m->n_text;
        if (t.string.lang != SLV_LANG_NONE) slv_way_put(m, &t);
    }
}

/* The listed keys of [lo, hi) that go on with c. */
static void narrow(const struct slv_members *k, unsigned char c, uint32_t depth, uint32_t *lo,
                   uint32_t *hi) {
    while (*lo < *hi && (unsigned char)k->v[*lo].key[depth] < c)
        ++*lo;
    uint32_t end = *lo;
    while (end < *hi && (unsigned char)k->v[end].key[depth] == c)
        end++;
    *hi = end;
}

static void in_key(struct slv_matcher *m, const struct thread *t, unsigned char c) {
    const struct slv_members *k = t->f->members;
    struct thread next = *t;
    narrow(k, c, t->key.depth, &next.key.lo, &next.key.hi);
    next.key.depth++;
    if (next.key.lo == next.key.hi) return;
    if (next.key.depth < k->v[next.key.lo].n) {
        for (uint32_t i = next.key.lo; i < next.key.hi; i++)
            if (next.key.hi - next.key.lo == t->key.hi - t->key.lo || member_possible(t->f, i)) {
                slv_way_put(m, &next);
                return;
            }
        return;
    }
    const struct slv_member *x = &k->v[next.key.lo];
    for (unsigned set = 0; set < SLV_VARIANTS; set++) {
        const struct frame *f = with_member(m, t->f, next.key.lo, set);
        if (f) value_in(m, f, x->spec[set]);
    }
}

/* A free key was closed: it must be none of the listed, and new. */
static void free_key_ended(struct slv_matcher *m, const struct thread *t) {
    const struct slv_members *k = t->f->members;
    const size_t n = m->n_text + 1 - t->from; /* with the quote that is being taken */
    for (uint32_t i = 0; i < k->n; i++)
        if (k->v[i].n == n + 1 && !memcmp(k->v[i].key, m->text + t->from, n)) return;
    for (const struct piece *x = t->f->past; x; x = x->up)
        if (x->to - x->from == n && !memcmp(m->text + x->from, m->text + t->from, n)) return;
    struct frame *f = copy(m, t->f);
    if (!f) return;
    f->past = add_piece(m, f->past, t->from, m->n_text + 1);
    struct thread next = thread(f, S_COLON);
    next.family = t->family;
    slv_way_put(m, &next);
}

static void colon(struct slv_matcher *m, const struct thread *t) {
    const struct slv_free_member *k = &t->f->members->families[t->family];
    for (unsigned set = 0; set < SLV_VARIANTS; set++) {
        const struct frame *f = with_free(m, t->f, t->family, set);
        if (f) value_in(m, f, k->spec[set]);
    }
}

static bool object_may_go_on(struct slv_matcher *m, const struct frame *f) {
    for (uint32_t i = 0; i < f->members->n; i++)
        if (member_possible(f, i)) return true;
    for (uint32_t i = 0; i < f->members->n_families; i++)
        if (free_possible(f, i) && free_names(m, f, i) != SLV_LANG_NONE) return true;
    return false;
}

/* --- values ----------------------------------------------------------------------------------- */

/* A new object or array of the record; one that was begun with this byte already gets the
 * containers too. */
static void begin_frame(struct slv_matcher *m, const struct places *up,
                        const struct slv_members *members, const struct slv_items *items) {
    const bool differ = (items && items->unique) || differs(up);
    for (size_t i = m->first; i < m->n && !differ; i++) {
        const struct frame *f = m->v[i].f;
        const bool fresh = m->v[i].state == S_OPEN || m->v[i].state == S_FIRST;
        if (!fresh || f->members != members || f->items != items || !f->up || !up) continue;
        struct frame *r = copy(m, f);
        if (!r) return;
        r->up = slv_way_join(m, f->up, up);
        m->v[i].f = r;
        return;
    }
    struct frame *f = slv_way_bump(m, sizeof *f);
    if (!f) return;
    f->up = up;
    f->members = members;
    f->items = items;
    f->s = schema(m, up);
    f->level = up ? up->f->level + 1 : 0;
    f->differs = differ;
    if (members) {
        f->at.wants = members->wants;
        f->at.any_order = m->flags & SLV_MATCH_READ;
        f->at.there = copy_bits(m, f);
    }
    go(m, f, members ? S_OPEN : S_FIRST);
}

/* A number has come as far as t. In a grammar it ends wherever it may. */
static void in_number(struct slv_matcher *m, const struct thread *t) {
    slv_way_put(m, t);
    for (const struct places *x = t->up; x; x = x->next)
        if (x->f->node && slv_number_done(t->number.set, &t->number.at, number_mode(m, t->up)))
            slv_way_return(m, x->f);
}

static void begin_value(struct slv_matcher *m, const struct places *up, slv_spec spec,
                        unsigned char c) {
    const struct slv_shape *s = &schema(m, up)->shapes[spec];
    struct thread t = inside_of(up, S_CONSTANT);
    if (c == '"') {
        t.state = S_STRING;
        for (uint32_t i = 0; i < s->n_texts; i++) {
            t.string.lang = s->texts[i].lang;
            const bool free = s->texts[i].min == 0 && s->texts[i].max == SLV_LANG_INF;
            t.string.set = free ? NULL : &s->texts[i];
            slv_way_put(m, &t);
        }
    } else if (c == '{') {
        for (uint32_t i = 0; i < s->n_objects; i++)
            begin_frame(m, up, s->objects[i], NULL);
    } else if (c == '[') {
        for (uint32_t i = 0; i < s->n_arrays; i++)
            begin_frame(m, up, NULL, s->arrays[i]);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        t.state = S_NUMBER;
        t.number.set = s->numbers;
        if (slv_number_step(s->numbers, &t.number.at, (char)c, number_mode(m, up)))
            in_number(m, &t);
    } else {
        t.constant.rest = c == 'n' && s->types & SLV_T_NULL    ? "null" + 1
                          : c == 't' && s->types & SLV_T_TRUE  ? "true" + 1
                          : c == 'f' && s->types & SLV_T_FALSE ? "false" + 1
                                                               : NULL;
        if (t.constant.rest) slv_way_put(m, &t);
    }
}

/* --- arrays ----------------------------------------------------------------------------------- */

/* The frame whose next item is met as `set`; NULL where that cannot be. */
static const struct frame *with_item(struct slv_matcher *m, const struct frame *f, unsigned set,
                                     slv_spec *ret_spec) {
    const struct slv_items *a = f->items;
    uint32_t met[SLV_MAX_CREDITS];
    const uint32_t n = f->at.count;
    *ret_spec = a->spec[n < a->n_positions ? n : a->n_positions - 1][set];
    if (*ret_spec == SLV_SPEC_NONE) return NULL;
    for (unsigned k = 0; k < SLV_MAX_CREDITS; k++) {
        const bool more = set >> k & 1 && f->met[k] < SLV_COUNT_INF - 1;
        met[k] = f->met[k] + more;
    }
    if (!slv_items_can_end(a, n + 1, met)) return NULL;
    struct frame *r = copy(m, f);
    if (!r) return NULL;
    r->at.count++;
    r->from = m->n_text;
    memcpy(r->met, met, sizeof met);
    return r;
}

static void begin_item(struct slv_matcher *m, const struct frame *f, unsigned char c) {
    slv_spec spec;
    for (unsigned set = 0; set < SLV_VARIANTS; set++) {
        const struct frame *r = with_item(m, f, set, &spec);
        if (r) begin_value(m, slv_way_in(m, r), spec, c);
    }
}

static bool array_may_close(const struct frame *f) {
    const struct slv_items *a = f->items;
    if (f->at.count < a->min || f->at.count > a->max) return false;
    for (unsigned k = 0; k < SLV_MAX_CREDITS && a->credits >> k & 1; k++)
        if (f->met[k] < a->contains[k].min || f->met[k] > a->contains[k].max) return false;
    return true;
}

static bool array_may_go_on(struct slv_matcher *m, const struct frame *f) {
    const size_t chunk = m->room.chunk, used = m->room.used;
    bool r = false;
    slv_spec spec;
    for (unsigned set = 0; set < SLV_VARIANTS && !r; set++)
        r = with_item(m, f, set, &spec) != NULL;
    m->room.chunk = chunk;
    m->room.used = used;
    return r;
}

/* --- one byte --------------------------------------------------------------------------------- */

static void after_value(struct slv_matcher *m, const struct frame *f, unsigned char c) {
    if (f->members) {
        if (c == '}' && slv_members_ended(f->members, &f->at)) ended(m, f->up, m->n_text + 1);
        if (c == ',' && object_may_go_on(m, f)) go(m, f, S_MORE);
    } else {
        if (c == ']' && array_may_close(f)) ended(m, f->up, m->n_text + 1);
        if (c == ',' && array_may_go_on(m, f)) go(m, f, S_ITEM);
    }
}

/* A number ends where something comes that is no part of it. */
static void number_ended(struct slv_matcher *m, const struct thread *t, unsigned char c) {
    if (!t->up || !slv_number_done(t->number.set, &t->number.at, number_mode(m, t->up))) return;
    for (const struct places *x = t->up; x; x = x->next) {
        const struct frame *f = x->f->node ? NULL : holding(m, x->f, m->n_text);
        if (f) after_value(m, f, c);
    }
}

void slv_way_advance(struct slv_matcher *m, const struct thread *t, unsigned char c) {
    struct thread next = *t;
    switch ((enum state)t->state) {
    case S_VALUE:
        begin_value(m, t->up, t->spec, c);
        return;
    case S_FIRST:
        if (c == ']') after_value(m, t->f, c);
        else begin_item(m, t->f, c);
        return;
    case S_ITEM:
        begin_item(m, t->f, c);
        return;
    case S_OPEN:
        if (c == '}') after_value(m, t->f, c);
        if (c == '"') begin_key(m, t->f);
        return;
    case S_MORE:
        if (c == '"') begin_key(m, t->f);
        return;
    case S_KEY:
        in_key(m, t, c);
        return;
    case S_FREE_KEY:
        if (c == '"' && slv_string_may_close(m->p, &t->string)) free_key_ended(m, t);
        if ((c != '"' || t->string.part) && slv_string_byte(m->p, &next.string, c))
            slv_way_put(m, &next);
        return;
    case S_COLON:
        if (c == ':') colon(m, t);
        return;
    case S_CONSTANT:
        if ((unsigned char)*t->constant.rest != c) return;
        next.constant.rest++;
        if (*next.constant.rest) slv_way_put(m, &next);
        else ended(m, t->up, m->n_text + 1);
        return;
    case S_STRING:
        if (c == '"' && slv_string_may_close(m->p, &t->string)) ended(m, t->up, m->n_text + 1);
        if ((c != '"' || t->string.part) && slv_string_byte(m->p, &next.string, c))
            slv_way_put(m, &next);
        return;
    case S_NUMBER:
        if (slv_number_step(t->number.set, &next.number.at, (char)c, number_mode(m, t->up)))
            in_number(m, &next);
        else number_ended(m, t, c);
        return;
    case S_NEXT:
        after_value(m, t->f, c);
        return;
    case S_TERM:
        slv_way_term(m, t, c);
        return;
    case S_TOKEN:
    case S_END:
        return;
    }
}

/* --- the interface ---------------------------------------------------------------------------- */

static bool must_differ(const struct slv_matcher *m) {
    for (size_t i = m->first; i < m->n; i++)
        if (slv_way_frame(&m->v[i]) && slv_way_frame(&m->v[i])->differs) return true;
    return false;
}

/* Puts the set after byte c behind the current one and makes it current; false: there is none, and
 * nothing has changed. */
bool slv_way_step(struct slv_matcher *m, unsigned char c,
                  void (*advance_one)(struct slv_matcher *m, const struct thread *t,
                                      unsigned char c)) {
    const size_t first = m->first, n = m->n, chunk = m->room.chunk, used = m->room.used;
    if (m->n_text == m->cap_text) {
        const int rc =
            slv_mem_grow((void **)&m->text, m->n_text, &m->cap_text, 1, SLV_MATCHER_MAX_BYTES);
        if (rc) return slv_way_fail(m, rc) != NULL;
    }
    m->text[m->n_text] = (char)c;
    m->first = n;
    m->n_steps++;
    for (size_t i = first; i < n && slv_way_spend(m, 1); i++) {
        const struct thread t = m->v[i];
        advance_one(m, &t, c);
    }
    m->n_text++;
    if (!m->probing && m->n > m->first && must_differ(m)) slv_way_drop_repeating(m);
    if (m->n > m->first && !m->status) return true;
    m->n_text--;
    m->first = first;
    m->n = n;
    m->room.chunk = chunk;
    m->room.used = used;
    return false;
}

static bool step(struct slv_matcher *m, unsigned char c) {
    return slv_way_step(m, c, slv_way_advance);
}

struct slv_mark slv_matcher_mark(struct slv_matcher *m) {
    return (struct slv_mark){m->first, m->n, m->n_text, m->room.chunk, m->room.used};
}

void slv_matcher_rewind(struct slv_matcher *m, const struct slv_mark *to) {
    m->first = to->thread0;
    m->n = to->threads;
    m->n_text = to->bytes;
    m->room.chunk = to->chunk;
    m->room.used = to->used;
}

bool slv_matcher_try(struct slv_matcher *m, unsigned char c) { return step(m, c); }

size_t slv_matcher_ways(const struct slv_matcher *m) { return m->n - m->first; }

/* Whether a string can go on for ever, whatever it has come to: then it can differ from any
 * others. */
static bool endless(const struct slv_matcher *m, const struct slv_string_at *s) {
    slv_lang set;
    uint32_t lo, hi = 0;
    if (s->set && s->set->max != SLV_LANG_INF) return false;
    return s->lang == SLV_LANG_ANY ||
           (slv_lang_is_repeat(m->p, s->lang, &set, &lo, &hi) && hi == SLV_LANG_INF);
}

bool slv_matcher_string(const struct slv_matcher *m, size_t way, struct slv_string_at *ret,
                        bool *ret_key) {
    const struct thread *t = &m->v[m->first + way];
    const bool string = t->state == S_STRING || t->state == S_FREE_KEY;
    if (!string) return false;
    if (slv_way_frame(t) && slv_way_frame(t)->differs && !endless(m, &t->string)) return false;
    *ret = t->string;
    *ret_key = t->state == S_FREE_KEY;
    return true;
}

void slv_matcher_may_repeat(struct slv_matcher *m, bool may) {
    m->probing += may ? 1u : -1u;
    m->may_repeat = may;
}

uint32_t slv_matcher_order(const struct slv_matcher *m) {
    uint32_t best = UINT32_MAX;
    for (size_t i = m->first; i < m->n; i++)
        for (const struct places *x = m->v[i].up; x; x = x->next)
            if (x->f->members && x->f->at.pos < best) best = x->f->at.pos;
    return best;
}

/* What a piece has behind text that is the same as [from, here), up to the quote that ends the
 * string. */
static void tell(const struct slv_matcher *m, const char *s, size_t n, size_t from,
                 void (*f)(void *ctx, const char *rest, size_t n), void *ctx) {
    const size_t len = m->n_text - from;
    if (n <= len || memcmp(s, m->text + from, len) != 0) return;
    size_t end = len;
    while (end < n && s[end] != '"')
        end += s[end] == '\\' ? 2 : 1;
    if (end < n) f(ctx, s + len, end + 1 - len);
}

void slv_matcher_taken(const struct slv_matcher *m, size_t way,
                       void (*f)(void *ctx, const char *rest, size_t n), void *ctx) {
    const struct thread *t = &m->v[m->first + way];
    if (t->state == S_FREE_KEY) {
        const struct slv_members *k = t->f->members;
        for (uint32_t i = 0; i < k->n; i++)
            tell(m, k->v[i].key, k->v[i].n, t->from, f, ctx);
        for (const struct piece *x = t->f->past; x; x = x->up)
            tell(m, m->text + x->from, x->to - x->from, t->from, f, ctx);
    }
    for (const struct frame *a = slv_way_frame(t); a && a->differs; a = a->up ? a->up->f : NULL)
        for (const struct piece *x = a->past; a->items && a->items->unique && x; x = x->up)
            tell(m, m->text + x->from, x->to - x->from, a->from, f, ctx);
}

size_t slv_matcher_focus(struct slv_matcher *m, const bool *keep) {
    const size_t first = m->first, n = m->n - first;
    m->first = m->n;
    for (size_t i = 0; i < n && !m->status; i++) {
        const struct thread t = m->v[first + i];
        if (!keep[i]) continue;
        const int rc = slv_mem_grow((void **)&m->v, m->n, &m->cap, sizeof *m->v, (size_t)1 << 24);
        if (rc) (void)slv_way_fail(m, rc);
        else m->v[m->n++] = t;
    }
    return m->n - m->first;
}

static void close_thread(struct slv_matcher *m, const struct thread *t, unsigned char c) {
    (void)c;
    if (t->state == S_STRING) ended(m, t->up, m->n_text + 1);
    if (t->state != S_FREE_KEY) return;
    struct thread next = thread(t->f, S_COLON);
    next.family = t->family;
    slv_way_put(m, &next);
}

bool slv_matcher_close_string(struct slv_matcher *m) { return slv_way_step(m, '"', close_thread); }

/* Forgets the sets before the current one. */
static void settle(struct slv_matcher *m) {
    memmove(m->v, m->v + m->first, (m->n - m->first) * sizeof *m->v);
    m->n -= m->first;
    m->first = 0;
    slv_way_tidy(m);
}

size_t slv_matcher_feed(struct slv_matcher *m, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!step(m, (unsigned char)s[i])) return i;
        settle(m);
    }
    return n;
}

bool slv_matcher_feed_token(struct slv_matcher *m, int32_t id) {
    if (!slv_matcher_try_token(m, id)) return false;
    settle(m);
    return true;
}

bool slv_matcher_done(const struct slv_matcher *m) {
    for (size_t i = m->first; i < m->n; i++) {
        const struct thread *t = &m->v[i];
        if (t->state == S_END) return true;
        if (t->state == S_NUMBER && !t->up &&
            slv_number_done(t->number.set, &t->number.at, number_mode(m, NULL)))
            return true;
    }
    return false;
}

int slv_matcher_status(const struct slv_matcher *m) {
    return m->status ? m->status : slv_langs_status(m->p);
}

bool slv_matcher_ended(const struct slv_matcher *m) {
    for (size_t i = m->first; i < m->n; i++)
        if (m->v[i].state != S_END) return false;
    return true;
}

void slv_matcher_reset(struct slv_matcher *m) {
    m->status = 0;
    m->first = m->n = m->n_text = 0;
    m->room.chunk = m->room.used = 0;
    struct thread t = blank(S_VALUE);
    if (m->g) {
        slv_way_begin(m);
        return;
    }
    t.spec = m->s->root;
    if (m->s->shapes[t.spec].types) slv_way_put(m, &t);
}

static int open_on(const struct slv_schema *s, const struct slv_grammar *g, unsigned flags,
                   struct slv_matcher **ret) {
    struct slv_matcher *m = slv_mem_calloc(1, sizeof *m);
    if (!m) return SLV_E_NOMEM;
    m->s = s;
    m->g = g;
    m->p = g ? g->p : s->c.p;
    m->flags = flags;
    if (g) m->reached = slv_mem_calloc(g->n_nodes, sizeof *m->reached);
    if (g && !m->reached) m->status = SLV_E_NOMEM;
    else slv_matcher_reset(m);
    const int rc = m->status;
    if (rc) slv_matcher_close(m);
    else *ret = m;
    return rc;
}

int slv_matcher_open(struct slv_schema *s, unsigned flags, struct slv_matcher **ret) {
    return open_on(s, NULL, flags, ret);
}

int slv_matcher_open_grammar(struct slv_grammar *g, struct slv_matcher **ret) {
    return open_on(NULL, g, 0, ret);
}

void slv_matcher_close(struct slv_matcher *m) {
    if (!m) return;
    slv_way_free(m);
    slv_mem_free(m->v);
    slv_mem_free(m->text);
    slv_mem_free(m->reached);
    slv_mem_free(m->queue);
    slv_mem_free(m);
}
