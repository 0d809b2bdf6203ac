/* tpl_methods.c: the methods of str, list, tuple and dict that a template may call, with Python's
 * results. Those that would change their object are not there: Jinja's immutable sandbox hides
 * them, and a template that calls one fails. */
#define _GNU_SOURCE /* memmem */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

static bool want_str(struct tpl_run *r, const struct slv_value *v) {
    if (v->kind == TPL_STR) return true;
    if (slv_tpl_defined(r, v)) slv_tpl_fail(r, "a str is required, not %s", slv_tpl_type(v));
    return false;
}

static bool want_int(struct tpl_run *r, const struct slv_value *v, int64_t *ret) {
    if (slv_tpl_as_int(v, ret)) return true;
    if (slv_tpl_defined(r, v)) slv_tpl_fail(r, "an int is required, not %s", slv_tpl_type(v));
    return false;
}

static bool given(const struct slv_value *v) { return v && v->kind != TPL_NONE; }

/* The finished scratch text, marked if self is. */
static struct slv_value *finish(struct tpl_run *r, size_t mark, const struct slv_value *self) {
    struct slv_value *v = slv_tpl_end(r, mark);
    return v && self->markup ? slv_tpl_like(r, self, v->s.p, v->s.n) : v;
}

/* --- case and classes ------------------------------------------------------------------------- */

#define CASE_METHOD(name, how)                                                                     \
    static struct slv_value *name(struct tpl_run *r, struct slv_value *self,                       \
                                  const struct tpl_args *a) {                                      \
        (void)a;                                                                                   \
        return slv_tpl_recase(r, self, how);                                                       \
    }
CASE_METHOD(str_upper, CASE_UPPER)
CASE_METHOD(str_lower, CASE_LOWER)
CASE_METHOD(str_title, CASE_TITLE)
CASE_METHOD(str_capitalize, CASE_CAPITAL)
CASE_METHOD(str_swapcase, CASE_SWAP)
CASE_METHOD(str_casefold, CASE_FOLD)

#define CLASS_METHOD(name, what)                                                                   \
    static struct slv_value *name(struct tpl_run *r, struct slv_value *self,                       \
                                  const struct tpl_args *a) {                                      \
        (void)a;                                                                                   \
        if (!slv_tpl_pay(r, self->s.n / 8)) return NULL;                                           \
        return slv_tpl_bool(slv_tpl_all(self, what));                                              \
    }
CLASS_METHOD(str_isalpha, IS_ALPHA)
CLASS_METHOD(str_isdigit, IS_DIGIT)
CLASS_METHOD(str_isdecimal, IS_DECIMAL)
CLASS_METHOD(str_isnumeric, IS_NUMERIC)
CLASS_METHOD(str_isalnum, IS_ALNUM)
CLASS_METHOD(str_isspace, IS_SPACE)
CLASS_METHOD(str_islower, IS_LOWER)
CLASS_METHOD(str_isupper, IS_UPPER)
CLASS_METHOD(str_istitle, IS_TITLE)
CLASS_METHOD(str_isprintable, IS_PRINTABLE)
CLASS_METHOD(str_isidentifier, IS_IDENTIFIER)
CLASS_METHOD(str_isascii, IS_ASCII)

/* --- stripping -------------------------------------------------------------------------------- */

static struct slv_value *strip(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                               bool left, bool right) {
    const struct slv_value *chars = given(a->v[0]) ? a->v[0] : NULL;
    if (chars && !want_str(r, chars)) return NULL;
    /* Each character taken off is looked for among chars. */
    if (chars && chars->s.n > 16 && !slv_tpl_pay(r, self->s.n / 32 * (chars->s.n / 16)))
        return NULL;
    struct tpl_text s = slv_tpl_strip(self->s, chars, left, right);
    return s.n == self->s.n ? self : slv_tpl_like(r, self, s.p, s.n);
}

static struct slv_value *str_strip(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return strip(r, self, a, true, true);
}

static struct slv_value *str_lstrip(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    return strip(r, self, a, true, false);
}

static struct slv_value *str_rstrip(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    return strip(r, self, a, false, true);
}

static bool begins(struct tpl_text s, struct tpl_text with) {
    return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0;
}

static bool ends(struct tpl_text s, struct tpl_text with) {
    return s.n >= with.n && memcmp(s.p + s.n - with.n, with.p, with.n) == 0;
}

static struct slv_value *str_removeprefix(struct tpl_run *r, struct slv_value *self,
                                          const struct tpl_args *a) {
    if (!want_str(r, a->v[0])) return NULL;
    if (!begins(self->s, a->v[0]->s)) return self;
    return slv_tpl_like(r, self, self->s.p + a->v[0]->s.n, self->s.n - a->v[0]->s.n);
}

static struct slv_value *str_removesuffix(struct tpl_run *r, struct slv_value *self,
                                          const struct tpl_args *a) {
    if (!want_str(r, a->v[0])) return NULL;
    if (!ends(self->s, a->v[0]->s)) return self;
    return slv_tpl_like(r, self, self->s.p, self->s.n - a->v[0]->s.n);
}

/* --- places ----------------------------------------------------------------------------------- */

/* The bytes between the optional bounds a->v[at], a->v[at + 1], as a slice has them. *ret_base is
 * the number of the first character; false with *ret_none when the bounds cross. */
static bool window(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a, size_t at,
                   struct tpl_text *ret, size_t *ret_base, bool *ret_none) {
    int64_t n = (int64_t)self->cps, from = 0, to = n;
    if (given(a->v[at]) && !want_int(r, a->v[at], &from)) return false;
    if (given(a->v[at + 1]) && !want_int(r, a->v[at + 1], &to)) return false;
    if (from < 0) from += n;
    if (to < 0) to += n;
    if (from < 0) from = 0;
    if (to > n) to = n;
    *ret_none = from > n || to < from;
    *ret = self->s;
    *ret_base = (size_t)from;
    if (*ret_none || (from == 0 && to == n)) return true;
    size_t a_at = slv_tpl_offset(self, (size_t)from), b_at = slv_tpl_offset(self, (size_t)to);
    *ret = (struct tpl_text){self->s.p + a_at, b_at - a_at};
    return slv_tpl_pay(r, self->s.n / 16);
}

static struct slv_value *affix(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                               bool (*test)(struct tpl_text, struct tpl_text)) {
    struct tpl_text s;
    size_t base;
    bool none, found = false;
    if (!window(r, self, a, 1, &s, &base, &none)) return NULL;
    if (a->v[0]->kind != TPL_TUPLE) {
        if (!want_str(r, a->v[0])) return NULL;
        return slv_tpl_bool(!none && test(s, a->v[0]->s));
    }
    const struct tpl_list *l = a->v[0]->list;
    if (!slv_tpl_pay(r, l->n)) return NULL;
    for (size_t i = 0; i < l->n && !found; i++) {
        if (!want_str(r, l->v[i])) return NULL;
        found = !none && test(s, l->v[i]->s);
    }
    return slv_tpl_bool(found);
}

static struct slv_value *str_startswith(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    return affix(r, self, a, begins);
}

static struct slv_value *str_endswith(struct tpl_run *r, struct slv_value *self,
                                      const struct tpl_args *a) {
    return affix(r, self, a, ends);
}

static struct slv_value *search(struct tpl_run *r, struct slv_value *self,
                                const struct tpl_args *a, bool last, bool must) {
    struct tpl_text s;
    size_t base, at = SIZE_MAX;
    bool none;
    if (!want_str(r, a->v[0]) || !window(r, self, a, 1, &s, &base, &none)) return NULL;
    if (!none && !slv_tpl_search(r, s, a->v[0]->s, last, &at)) return NULL;
    if (at == SIZE_MAX && must) return slv_tpl_fail(r, "substring not found");
    if (at == SIZE_MAX) return slv_tpl_int(r, -1);
    const struct slv_value part = {.kind = TPL_STR, .s = s, .cps = self->cps == self->s.n ? s.n : 0};
    return slv_tpl_int(r, (int64_t)(base + slv_tpl_index_of(&part, at)));
}

static struct slv_value *str_find(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    return search(r, self, a, false, false);
}

static struct slv_value *str_rfind(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return search(r, self, a, true, false);
}

static struct slv_value *str_index(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return search(r, self, a, false, true);
}

static struct slv_value *str_rindex(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    return search(r, self, a, true, true);
}

static struct slv_value *str_count(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    struct tpl_text s;
    size_t base;
    int64_t n = 0;
    bool none;
    if (!want_str(r, a->v[0]) || !window(r, self, a, 1, &s, &base, &none)) return NULL;
    if (none) return slv_tpl_int(r, 0);
    const struct tpl_text what = a->v[0]->s;
    if (what.n == 0) {
        const struct slv_value part = {.kind = TPL_STR, .s = s};
        return slv_tpl_int(r, (int64_t)slv_tpl_index_of(&part, s.n) + 1);
    }
    if (!slv_tpl_pay(r, s.n / 8)) return NULL;
    for (const char *p = s.p, *end = s.p + s.n; (p = memmem(p, (size_t)(end - p), what.p, what.n));
         p += what.n)
        n++;
    return slv_tpl_int(r, n);
}

/* --- splitting -------------------------------------------------------------------------------- */

static bool push_part(struct tpl_run *r, struct slv_value *list, struct slv_value *self,
                      const char *p, size_t n) {
    return slv_tpl_pay(r, 1) && slv_tpl_push(&r->mem, list, slv_tpl_like(r, self, p, n));
}

static bool split_on(struct tpl_run *r, struct slv_value *self, struct tpl_text sep, uint64_t most,
                     struct slv_value *list) {
    const char *p = self->s.p, *end = p + self->s.n, *at;
    for (; most && (at = memmem(p, (size_t)(end - p), sep.p, sep.n)); most--) {
        if (!push_part(r, list, self, p, (size_t)(at - p))) return false;
        p = at + sep.n;
    }
    return push_part(r, list, self, p, (size_t)(end - p));
}

/* From the end, on reversed bytes, so that matching stays linear; parts come out last first. */
static bool rsplit_on(struct tpl_run *r, struct slv_value *self, struct tpl_text sep,
                      uint64_t most, struct slv_value *list) {
    const struct tpl_text s = self->s;
    const char *back = slv_tpl_reverse(r, s), *what = back ? slv_tpl_reverse(r, sep) : NULL;
    size_t from = 0; /* bytes of `back` that are dealt with */
    if (!what) return false;
    for (const char *at; most; most--) {
        at = memmem(back + from, s.n - from, what, sep.n);
        if (!at) break;
        size_t to = (size_t)(at - back);
        if (!push_part(r, list, self, s.p + s.n - to, to - from)) return false;
        from = to + sep.n;
    }
    return push_part(r, list, self, s.p, s.n - from);
}

/* The word at one end of *s, taken off with the white space before it. */
static struct tpl_text take_word(struct tpl_text *s, bool last) {
    *s = slv_tpl_strip(*s, NULL, !last, last);
    struct tpl_text word = {s->p, 0};
    if (!last) {
        while (word.n < s->n) {
            uint32_t cp;
            size_t used = slv_utf8_decode(s->p + word.n, s->n - word.n, &cp);
            if (slv_tpl_space(cp)) break;
            word.n += used;
        }
        s->p += word.n;
        s->n -= word.n;
        return word;
    }
    size_t from = s->n;
    while (from > 0) {
        size_t i = from - 1;
        uint32_t cp;
        while (i > 0 && ((unsigned char)s->p[i] & 0xc0) == 0x80)
            i--;
        slv_utf8_decode(s->p + i, s->n - i, &cp);
        if (slv_tpl_space(cp)) break;
        from = i;
    }
    word = (struct tpl_text){s->p + from, s->n - from};
    s->n = from;
    return word;
}

static bool split_words(struct tpl_run *r, struct slv_value *self, uint64_t most, bool last,
                        struct slv_value *list) {
    struct tpl_text s = self->s;
    for (; most; most--) {
        struct tpl_text word = take_word(&s, last);
        if (!word.n) return true;
        if (!push_part(r, list, self, word.p, word.n)) return false;
    }
    s = slv_tpl_strip(s, NULL, !last, last);
    return !s.n || push_part(r, list, self, s.p, s.n);
}

static struct slv_value *split(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                               bool last) {
    struct slv_value *list = slv_tpl_list(&r->mem, TPL_LIST, 0);
    int64_t limit = -1;
    if (!list || (a->v[1] && !want_int(r, a->v[1], &limit))) return NULL;
    uint64_t most = limit < 0 ? UINT64_MAX : (uint64_t)limit;
    bool ok;
    if (!slv_tpl_pay(r, self->s.n / 16)) return NULL;
    if (!given(a->v[0])) {
        ok = split_words(r, self, most, last, list);
    } else {
        if (!want_str(r, a->v[0])) return NULL;
        const struct tpl_text sep = a->v[0]->s;
        if (sep.n == 0) return slv_tpl_fail(r, "empty separator");
        ok = last ? rsplit_on(r, self, sep, most, list) : split_on(r, self, sep, most, list);
    }
    for (size_t i = 0, n = list->list->n; ok && last && i < n / 2; i++) {
        struct slv_value *v = list->list->v[i];
        list->list->v[i] = list->list->v[n - 1 - i];
        list->list->v[n - 1 - i] = v;
    }
    return ok ? list : NULL;
}

static struct slv_value *str_split(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return split(r, self, a, false);
}

static struct slv_value *str_rsplit(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    return split(r, self, a, true);
}

static bool line_break(uint32_t cp) {
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

static struct slv_value *str_splitlines(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    bool keep = a->v[0] && slv_tpl_truth(r, a->v[0]);
    struct slv_value *list = slv_tpl_list(&r->mem, TPL_LIST, 0);
    const struct tpl_text s = self->s;
    if (!list || !slv_tpl_pay(r, s.n / 8)) return NULL;
    size_t from = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t cp;
        size_t end = i;
        i += slv_utf8_decode(s.p + i, s.n - i, &cp);
        if (!line_break(cp)) continue;
        if (cp == '\r' && i < s.n && s.p[i] == '\n') i++;
        if (!push_part(r, list, self, s.p + from, (keep ? i : end) - from)) return NULL;
        from = i;
    }
    if (from < s.n && !push_part(r, list, self, s.p + from, s.n - from)) return NULL;
    return list;
}

static struct slv_value *partition(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a, bool last) {
    size_t at;
    const struct tpl_text s = self->s;
    if (!want_str(r, a->v[0])) return NULL;
    const struct tpl_text sep = a->v[0]->s;
    if (sep.n == 0) return slv_tpl_fail(r, "empty separator");
    struct slv_value *t = slv_tpl_list(&r->mem, TPL_TUPLE, 3);
    if (!t || !slv_tpl_search(r, s, sep, last, &at)) return NULL;
    size_t n[3] = {at, sep.n, s.n - at - sep.n};
    if (at == SIZE_MAX) {
        n[last ? 2 : 0] = s.n;
        n[last ? 0 : 2] = n[1] = 0;
    }
    const char *p = s.p;
    for (int i = 0; i < 3; p += n[i++])
        if (!push_part(r, t, self, p, n[i])) return NULL;
    return t;
}

static struct slv_value *str_partition(struct tpl_run *r, struct slv_value *self,
                                       const struct tpl_args *a) {
    return partition(r, self, a, false);
}

static struct slv_value *str_rpartition(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    return partition(r, self, a, true);
}

/* --- joining, replacing, padding -------------------------------------------------------------- */

static struct slv_value *str_join(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter(r, a->v[0]);
    struct slv_value *item;
    size_t mark = slv_tpl_begin(r);
    int got;
    if (!it) return NULL;
    for (bool first = true; (got = slv_tpl_next(r, it, &item)) == 1; first = false) {
        if (!first && !slv_tpl_add(r, self->s.p, self->s.n)) return NULL;
        if (self->markup) {
            if (!slv_tpl_add_escaped(r, item)) return NULL;
            continue;
        }
        if (!want_str(r, item) || !slv_tpl_add(r, item->s.p, item->s.n)) return NULL;
    }
    return got < 0 ? NULL : finish(r, mark, self);
}

static struct slv_value *escaped(struct tpl_run *r, struct slv_value *v) {
    size_t mark = slv_tpl_begin(r);
    return slv_tpl_add_escaped(r, v) ? slv_tpl_end(r, mark) : NULL;
}

/* An empty `old` stands between all characters. */
static bool replace_all(struct tpl_run *r, struct tpl_text s, struct tpl_text old,
                        struct tpl_text by, uint64_t most) {
    const char *p = s.p, *end = s.p + s.n, *at;
    for (; most && old.n; most--) {
        at = memmem(p, (size_t)(end - p), old.p, old.n);
        if (!at) break;
        if (!slv_tpl_add(r, p, (size_t)(at - p)) || !slv_tpl_add(r, by.p, by.n)) return false;
        if (!slv_tpl_pay(r, 1)) return false;
        p = at + old.n;
    }
    for (; most && !old.n; most--) {
        if (!slv_tpl_pay(r, 1) || !slv_tpl_add(r, by.p, by.n)) return false;
        if (p == end) return true;
        uint32_t cp;
        size_t used = slv_utf8_decode(p, (size_t)(end - p), &cp);
        if (!slv_tpl_add(r, p, used)) return false;
        p += used;
    }
    return slv_tpl_add(r, p, (size_t)(end - p));
}

static struct slv_value *str_replace(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    int64_t limit = -1;
    struct slv_value *by = a->v[1];
    if (!want_str(r, a->v[0]) || !want_str(r, by)) return NULL;
    if (a->v[2] && !want_int(r, a->v[2], &limit)) return NULL;
    if (self->markup) by = escaped(r, by);
    size_t mark = slv_tpl_begin(r);
    if (!by || !slv_tpl_pay(r, self->s.n / 32) ||
        !replace_all(r, self->s, a->v[0]->s, by->s, limit < 0 ? UINT64_MAX : (uint64_t)limit))
        return NULL;
    return finish(r, mark, self);
}

static bool padding(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                    size_t *ret_pad, struct tpl_text *ret_fill) {
    int64_t width;
    *ret_fill = (struct tpl_text){" ", 1};
    if (!want_int(r, a->v[0], &width)) return false;
    if (a->v[1]) {
        if (!want_str(r, a->v[1])) return false;
        if (a->v[1]->cps != 1) {
            slv_tpl_fail(r, "The fill character must be exactly one character long");
            return false;
        }
        *ret_fill = a->v[1]->s;
    }
    *ret_pad = width > (int64_t)self->cps ? (size_t)width - self->cps : 0;
    return true;
}

static struct slv_value *padded(struct tpl_run *r, struct slv_value *self,
                                const struct tpl_args *a, int where) {
    size_t pad, mark = slv_tpl_begin(r);
    struct tpl_text fill;
    if (!padding(r, self, a, &pad, &fill)) return NULL;
    if (!pad) return self;
    /* Of an odd number of places, Python puts the greater part to the left of an odd width. */
    size_t left = where < 0 ? pad : where > 0 ? 0 : pad / 2 + (pad & (pad + self->cps) & 1);
    if (!slv_tpl_add_fill(r, fill.p, fill.n, left) || !slv_tpl_add(r, self->s.p, self->s.n) ||
        !slv_tpl_add_fill(r, fill.p, fill.n, pad - left))
        return NULL;
    return finish(r, mark, self);
}

static struct slv_value *str_ljust(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return padded(r, self, a, 1);
}

static struct slv_value *str_rjust(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    return padded(r, self, a, -1);
}

static struct slv_value *str_center(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    return padded(r, self, a, 0);
}

static struct slv_value *str_zfill(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    int64_t width;
    size_t mark = slv_tpl_begin(r);
    if (!want_int(r, a->v[0], &width)) return NULL;
    if (width <= (int64_t)self->cps) return self;
    size_t sign = self->s.n && (self->s.p[0] == '+' || self->s.p[0] == '-');
    if (!slv_tpl_add(r, self->s.p, sign) ||
        !slv_tpl_add_fill(r, "0", 1, (size_t)width - self->cps) ||
        !slv_tpl_add(r, self->s.p + sign, self->s.n - sign))
        return NULL;
    return finish(r, mark, self);
}

static struct slv_value *str_expandtabs(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    int64_t size = 8, column = 0;
    size_t mark = slv_tpl_begin(r);
    if (a->v[0] && !want_int(r, a->v[0], &size)) return NULL;
    if (!slv_tpl_pay(r, self->s.n / 8)) return NULL;
    for (size_t i = 0; i < self->s.n; i++) {
        const char *c = self->s.p + i;
        if (*c == '\t') {
            int64_t fill = size > 0 ? size - column % size : 0;
            column += fill;
            if (!slv_tpl_add_fill(r, " ", 1, (size_t)fill)) return NULL;
            continue;
        }
        if (*c == '\n' || *c == '\r') column = 0;
        else if (((unsigned char)*c & 0xc0) != 0x80) column++;
        if (!slv_tpl_add(r, c, 1)) return NULL;
    }
    return finish(r, mark, self);
}

static struct slv_value *str_format_map(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    const struct slv_value *map = a->n == 1 && !a->nkw ? a->v[0] : NULL;
    struct tpl_args named = {0};
    if (!map || map->kind != TPL_DICT) return slv_tpl_fail(r, "format_map() takes one mapping");
    const struct tpl_dict *d = map->dict;
    named.names = slv_tpl_alloc(&r->mem, (2 * d->n + 1) * sizeof *named.names);
    if (!named.names) return NULL;
    named.kw = named.names + d->n;
    for (size_t i = 0; i < d->n; i++) {
        if (d->e[i].key->kind != TPL_STR) continue;
        named.names[named.nkw] = d->e[i].key;
        named.kw[named.nkw++] = d->e[i].value;
    }
    return slv_tpl_format(r, self, &named);
}

/* --- lists and tuples ------------------------------------------------------------------------- */

static struct slv_value *list_index(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    int64_t n = (int64_t)self->list->n, from = 0, to = n;
    if (a->v[1] && !want_int(r, a->v[1], &from)) return NULL;
    if (a->v[2] && !want_int(r, a->v[2], &to)) return NULL;
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to += n;
    for (int64_t i = from; i < to && i < n; i++) {
        int same = slv_tpl_equal(r, self->list->v[i], a->v[0]);
        if (same < 0 || !slv_tpl_pay(r, 1)) return NULL;
        if (same) return slv_tpl_int(r, i);
    }
    return slv_tpl_fail(r, "value is not in list");
}

static struct slv_value *list_count(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    int64_t found = 0;
    for (size_t i = 0; i < self->list->n; i++) {
        int same = slv_tpl_equal(r, self->list->v[i], a->v[0]);
        if (same < 0 || !slv_tpl_pay(r, 1)) return NULL;
        found += same;
    }
    return slv_tpl_int(r, found);
}

/* A copy of what cannot change is the thing itself. */
static struct slv_value *same(struct tpl_run *r, struct slv_value *self,
                              const struct tpl_args *a) {
    (void)r, (void)a;
    return self;
}

/* --- dicts ------------------------------------------------------------------------------------ */

static struct slv_value *dict_view(struct tpl_run *r, struct slv_value *self, enum tpl_view view) {
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_VIEW);
    if (!v) return NULL;
    v->dict = self->dict;
    v->view = (uint8_t)view;
    return v;
}

static struct slv_value *dict_keys(struct tpl_run *r, struct slv_value *self,
                                   const struct tpl_args *a) {
    (void)a;
    return dict_view(r, self, TPL_KEYS);
}

static struct slv_value *dict_values(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    (void)a;
    return dict_view(r, self, TPL_VALUES);
}

static struct slv_value *dict_items(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    (void)a;
    return dict_view(r, self, TPL_ITEMS);
}

static struct slv_value *dict_get(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct slv_value *v = slv_tpl_get(r, &r->mem, self->dict, a->v[0]);
    if (v || r->rc) return v;
    return a->v[1] ? a->v[1] : &slv_tpl_none;
}

/* --- tables ----------------------------------------------------------------------------------- */

static const struct tpl_def str_methods[] = {
    {"capitalize", str_capitalize, 0, 0, "", true},
    {"casefold", str_casefold, 0, 0, "", true},
    {"center", str_center, 1, 2, "width,fillchar", true},
    {"count", str_count, 1, 3, "sub,start,end", true},
    {"encode", NULL, 0, 2, "encoding,errors", false},
    {"endswith", str_endswith, 1, 3, "suffix,start,end", true},
    {"expandtabs", str_expandtabs, 0, 1, "tabsize", false},
    {"find", str_find, 1, 3, "sub,start,end", true},
    {"format", slv_tpl_format, 0, 0, "*", false},
    {"format_map", str_format_map, 0, 0, "*", false},
    {"index", str_index, 1, 3, "sub,start,end", true},
    {"isalnum", str_isalnum, 0, 0, "", true},
    {"isalpha", str_isalpha, 0, 0, "", true},
    {"isascii", str_isascii, 0, 0, "", true},
    {"isdecimal", str_isdecimal, 0, 0, "", true},
    {"isdigit", str_isdigit, 0, 0, "", true},
    {"isidentifier", str_isidentifier, 0, 0, "", true},
    {"islower", str_islower, 0, 0, "", true},
    {"isnumeric", str_isnumeric, 0, 0, "", true},
    {"isprintable", str_isprintable, 0, 0, "", true},
    {"isspace", str_isspace, 0, 0, "", true},
    {"istitle", str_istitle, 0, 0, "", true},
    {"isupper", str_isupper, 0, 0, "", true},
    {"join", str_join, 1, 1, "iterable", true},
    {"ljust", str_ljust, 1, 2, "width,fillchar", true},
    {"lower", str_lower, 0, 0, "", true},
    {"lstrip", str_lstrip, 0, 1, "chars", true},
    {"maketrans", NULL, 0, 3, "x,y,z", true},
    {"partition", str_partition, 1, 1, "sep", true},
    {"removeprefix", str_removeprefix, 1, 1, "prefix", true},
    {"removesuffix", str_removesuffix, 1, 1, "suffix", true},
    {"replace", str_replace, 2, 3, "old,new,count", true},
    {"rfind", str_rfind, 1, 3, "sub,start,end", true},
    {"rindex", str_rindex, 1, 3, "sub,start,end", true},
    {"rjust", str_rjust, 1, 2, "width,fillchar", true},
    {"rpartition", str_rpartition, 1, 1, "sep", true},
    {"rsplit", str_rsplit, 0, 2, "sep,maxsplit", false},
    {"rstrip", str_rstrip, 0, 1, "chars", true},
    {"split", str_split, 0, 2, "sep,maxsplit", false},
    {"splitlines", str_splitlines, 0, 1, "keepends", false},
    {"startswith", str_startswith, 1, 3, "prefix,start,end", true},
    {"strip", str_strip, 0, 1, "chars", true},
    {"swapcase", str_swapcase, 0, 0, "", true},
    {"title", str_title, 0, 0, "", true},
    {"translate", NULL, 1, 1, "table", true},
    {"upper", str_upper, 0, 0, "", true},
    {"zfill", str_zfill, 1, 1, "width", true},
    {NULL, NULL, 0, 0, "", false},
};

static const struct tpl_def list_methods[] = {
    {"copy", same, 0, 0, "", true},
    {"count", list_count, 1, 1, "value", true},
    {"index", list_index, 1, 3, "value,start,stop", true},
    {NULL, NULL, 0, 0, "", false},
};

static const struct tpl_def dict_methods[] = {
    {"copy", same, 0, 0, "", true},
    {"fromkeys", NULL, 1, 2, "iterable,value", true},
    {"get", dict_get, 1, 2, "key,default", true},
    {"items", dict_items, 0, 0, "", true},
    {"keys", dict_keys, 0, 0, "", true},
    {"values", dict_values, 0, 0, "", true},
    {NULL, NULL, 0, 0, "", false},
};

const struct tpl_def *slv_tpl_method(const struct slv_value *v, const char *name, size_t n) {
    const struct tpl_def *found;
    switch ((enum tpl_kind)v->kind) {
    case TPL_STR: return slv_tpl_find(str_methods, name, n);
    case TPL_LIST: return slv_tpl_find(list_methods, name, n);
    case TPL_TUPLE:
        found = slv_tpl_find(list_methods, name, n);
        return found && found->fn != same ? found : NULL;
    case TPL_DICT: return slv_tpl_find(dict_methods, name, n);
    case TPL_LOOP: return slv_tpl_find(slv_tpl_loop_methods, name, n);
    case TPL_CYCLER: return slv_tpl_find(slv_tpl_cycler_methods, name, n);
    case TPL_UNDEF:
    case TPL_NONE:
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIGINT:
    case TPL_FLOAT:
    case TPL_VIEW:
    case TPL_RANGE:
    case TPL_ITER:
    case TPL_NS:
    case TPL_MACRO:
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_JOINER: break;
    }
    return NULL;
}

bool slv_tpl_method_unsafe(const struct slv_value *v, const char *name, size_t n) {
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    static const char *const of_list[] = {"append", "clear", "pop",    "reverse", "insert",
                                          "sort",   "extend", "remove", NULL};
    const char *const *rows = v->kind == TPL_DICT ? of_dict : v->kind == TPL_LIST ? of_list : NULL;
    for (; rows && *rows; rows++)
        if (strlen(*rows) == n && memcmp(*rows, name, n) == 0) return true;
    return false;
}

const struct tpl_def *slv_tpl_find(const struct tpl_def *table, const char *name, size_t n) {
    for (; table->name; table++)
        if (table->name[0] == name[0] && strlen(table->name) == n &&
            memcmp(table->name, name, n) == 0)
            return table;
    return NULL;
}
