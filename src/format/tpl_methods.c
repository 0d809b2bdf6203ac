/* tpl_methods.c: the methods of str, list, tuple and dict that a template may call, with Python's
 * results. Those that would change their object are not there: Jinja's immutable sandbox hides
 * them, and a template that calls one fails. Those of str that look for something are in
 * tpl_search.c. */
#define _GNU_SOURCE /* memmem */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

bool slv_tpl_want_str(struct tpl_run *r, const struct slv_value *v) {
    if (v->kind == TPL_STR) return true;
    if (slv_tpl_defined(r, v)) slv_tpl_fail(r, "a str is required, not %s", slv_tpl_type(v));
    return false;
}

bool slv_tpl_want_int(struct tpl_run *r, const struct slv_value *v, int64_t *ret) {
    if (slv_tpl_as_int(v, ret)) return true;
    if (slv_tpl_defined(r, v)) slv_tpl_fail(r, "an int is required, not %s", slv_tpl_type(v));
    return false;
}

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
        if (!slv_tpl_pay(r, self->s.n)) return NULL;                                               \
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
        if (!slv_tpl_want_str(r, item) || !slv_tpl_add(r, item->s.p, item->s.n)) return NULL;
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
    if (!slv_tpl_want_str(r, a->v[0]) || !slv_tpl_want_str(r, by)) return NULL;
    if (a->v[2] && !slv_tpl_want_int(r, a->v[2], &limit)) return NULL;
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
    if (!slv_tpl_want_int(r, a->v[0], &width)) return false;
    if (a->v[1]) {
        if (!slv_tpl_want_str(r, a->v[1])) return false;
        if (a->v[1]->cps != 1) {
            slv_tpl_fail(r, "The fill character must be exactly one character long");
            return false;
        }
        *ret_fill = a->v[1]->s;
    }
    *ret_pad = width > (int64_t)self->cps ? (size_t)width - self->cps : 0;
    return true;
}

static struct slv_value *padded(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a,
                                int where) {
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
    if (!slv_tpl_want_int(r, a->v[0], &width)) return NULL;
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
    if (a->v[0] && !slv_tpl_want_int(r, a->v[0], &size)) return NULL;
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
    if (a->v[1] && !slv_tpl_want_int(r, a->v[1], &from)) return NULL;
    if (a->v[2] && !slv_tpl_want_int(r, a->v[2], &to)) return NULL;
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

static struct slv_value *range_index(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    self = slv_tpl_collect(r, self, TPL_LIST);
    return self ? list_index(r, self, a) : NULL;
}

static struct slv_value *range_count(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    self = slv_tpl_collect(r, self, TPL_LIST);
    return self ? list_count(r, self, a) : NULL;
}

/* A copy of what cannot change is the thing itself. */
static struct slv_value *same(struct tpl_run *r, struct slv_value *self, const struct tpl_args *a) {
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
    {"encode", NULL, 0, 2, "encoding,errors", false},
    {"expandtabs", str_expandtabs, 0, 1, "tabsize", false},
    {"format", slv_tpl_format, 0, 0, "*", false},
    {"format_map", str_format_map, 0, 0, "*", false},
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
    {"maketrans", NULL, 0, 3, "x,y,z", true},
    {"replace", str_replace, 2, 3, "old,new,count", true},
    {"rjust", str_rjust, 1, 2, "width,fillchar", true},
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

static const struct tpl_def range_methods[] = {
    {"count", range_count, 1, 1, "value", true},
    {"index", range_index, 1, 1, "value", true},
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
    case TPL_STR:
        found = slv_tpl_find(str_methods, name, n);
        return found ? found : slv_tpl_find(slv_tpl_search_methods, name, n);
    case TPL_LIST:
        return slv_tpl_find(list_methods, name, n);
    case TPL_TUPLE:
        found = slv_tpl_find(list_methods, name, n);
        return found && found->fn != same ? found : NULL;
    case TPL_DICT:
        return slv_tpl_find(dict_methods, name, n);
    case TPL_RANGE:
        return slv_tpl_find(range_methods, name, n);
    case TPL_LOOP:
        return slv_tpl_find(slv_tpl_loop_methods, name, n);
    case TPL_CYCLER:
        return slv_tpl_find(slv_tpl_cycler_methods, name, n);
    case TPL_UNDEF:
    case TPL_NONE:
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIGINT:
    case TPL_FLOAT:
    case TPL_VIEW:
    case TPL_ITER:
    case TPL_NS:
    case TPL_MACRO:
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_JOINER:
        break;
    }
    return NULL;
}

bool slv_tpl_method_unsafe(const struct slv_value *v, const char *name, size_t n) {
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    static const char *const of_list[] = {"append", "clear",  "pop",    "reverse", "insert",
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
