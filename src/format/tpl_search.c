/* tpl_search.c: the methods of str that look for something: stripping, finding, splitting. All are
 * linear in the text, whatever is looked for. */
#define _GNU_SOURCE /* memmem */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

static bool given(const struct slv_value *v) { return v && v->kind != TPL_NONE; }

/* --- stripping -------------------------------------------------------------------------------- */

static struct slv_value *strip(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                               bool left, bool right) {
    const struct slv_value *chars = given(a->v[0]) ? a->v[0] : NULL;
    if (chars && !slv_tpl_want_str(r, chars)) return NULL;
    /* Each character taken off is looked for among chars. */
    size_t work = chars ? (self->s.n / 16 + 1) * (chars->s.n / 16 + 1) : self->s.n / 8;
    if (!slv_tpl_pay(r, work)) return NULL;
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
    if (!slv_tpl_want_str(r, a->v[0]) || !slv_tpl_pay(r, a->v[0]->s.n / 64)) return NULL;
    if (!begins(self->s, a->v[0]->s)) return self;
    return slv_tpl_like(r, self, self->s.p + a->v[0]->s.n, self->s.n - a->v[0]->s.n);
}

static struct slv_value *str_removesuffix(struct tpl_run *r, struct slv_value *self,
                                          const struct tpl_args *a) {
    if (!slv_tpl_want_str(r, a->v[0]) || !slv_tpl_pay(r, a->v[0]->s.n / 64)) return NULL;
    if (!ends(self->s, a->v[0]->s)) return self;
    return slv_tpl_like(r, self, self->s.p, self->s.n - a->v[0]->s.n);
}

/* --- places ----------------------------------------------------------------------------------- */

/* The bytes between the optional bounds a->v[at], a->v[at + 1], as a slice has them. *ret_base is
 * the number of the first character; false with *ret_none when the bounds cross. */
static bool window(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a, size_t at,
                   struct tpl_text *ret, size_t *ret_base, bool *ret_none) {
    int64_t n = (int64_t)self->cps, from = 0, to = n;
    if (given(a->v[at]) && !slv_tpl_want_int(r, a->v[at], &from)) return false;
    if (given(a->v[at + 1]) && !slv_tpl_want_int(r, a->v[at + 1], &to)) return false;
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
        if (!slv_tpl_want_str(r, a->v[0]) || !slv_tpl_pay(r, a->v[0]->s.n / 64)) return NULL;
        return slv_tpl_bool(!none && test(s, a->v[0]->s));
    }
    const struct tpl_list *l = a->v[0]->list;
    if (!slv_tpl_pay(r, l->n)) return NULL;
    for (size_t i = 0; i < l->n && !found; i++) {
        if (!slv_tpl_want_str(r, l->v[i]) || !slv_tpl_pay(r, l->v[i]->s.n / 64)) return NULL;
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

static struct slv_value *search(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                                bool last, bool must) {
    struct tpl_text s;
    size_t base, at = SIZE_MAX;
    bool none;
    if (!slv_tpl_want_str(r, a->v[0]) || !window(r, self, a, 1, &s, &base, &none)) return NULL;
    if (!none && !slv_tpl_search(r, s, a->v[0]->s, last, &at)) return NULL;
    if (at == SIZE_MAX && must) return slv_tpl_fail(r, "substring not found");
    if (at == SIZE_MAX) return slv_tpl_int(r, -1);
    const struct slv_value part = {
        .kind = TPL_STR, .s = s, .cps = self->cps == self->s.n ? (uint32_t)s.n : 0};
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
    if (!slv_tpl_want_str(r, a->v[0]) || !window(r, self, a, 1, &s, &base, &none)) return NULL;
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
static bool rsplit_on(struct tpl_run *r, struct slv_value *self, struct tpl_text sep, uint64_t most,
                      struct slv_value *list) {
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
    if (!list || (a->v[1] && !slv_tpl_want_int(r, a->v[1], &limit))) return NULL;
    uint64_t most = limit < 0 ? UINT64_MAX : (uint64_t)limit;
    bool ok;
    if (!slv_tpl_pay(r, self->s.n / 16)) return NULL;
    if (!given(a->v[0])) {
        ok = split_words(r, self, most, last, list);
    } else {
        if (!slv_tpl_want_str(r, a->v[0])) return NULL;
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
    if (!slv_tpl_want_str(r, a->v[0])) return NULL;
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

const struct tpl_def slv_tpl_search_methods[] = {
    {"count", str_count, 1, 3, "sub,start,end", true},
    {"endswith", str_endswith, 1, 3, "suffix,start,end", true},
    {"find", str_find, 1, 3, "sub,start,end", true},
    {"index", str_index, 1, 3, "sub,start,end", true},
    {"lstrip", str_lstrip, 0, 1, "chars", true},
    {"partition", str_partition, 1, 1, "sep", true},
    {"removeprefix", str_removeprefix, 1, 1, "prefix", true},
    {"removesuffix", str_removesuffix, 1, 1, "suffix", true},
    {"rfind", str_rfind, 1, 3, "sub,start,end", true},
    {"rindex", str_rindex, 1, 3, "sub,start,end", true},
    {"rpartition", str_rpartition, 1, 1, "sep", true},
    {"rsplit", str_rsplit, 0, 2, "sep,maxsplit", false},
    {"rstrip", str_rstrip, 0, 1, "chars", true},
    {"split", str_split, 0, 2, "sep,maxsplit", false},
    {"splitlines", str_splitlines, 0, 1, "keepends", false},
    {"startswith", str_startswith, 1, 3, "prefix,start,end", true},
    {"strip", str_strip, 0, 1, "chars", true},
    {NULL, NULL, 0, 0, "", false},
};
