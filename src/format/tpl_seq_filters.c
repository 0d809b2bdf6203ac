/* tpl_seq_filters.c: filters on sequences and mappings.
 *
 * map, select and their like, batch, slice, unique, items and reverse give iterators that compute
 * an element when it is asked for, so that an error in an element nobody reads stays unseen, as
 * with Python's generators. Sorting is a stable merge sort. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

static bool flag(struct tpl_run *r, struct slv_value *v) { return v && slv_tpl_truth(r, v); }

/* Text in lower case; any other value as it is. */
static struct slv_value *folded(struct tpl_run *r, struct slv_value *v) {
    return v && v->kind == TPL_STR ? slv_tpl_recase(r, v, CASE_LOWER) : v;
}

/* --- attributes by path ----------------------------------------------------------------------- */

/* "a.b.0" of a value, as items; an undefined step becomes `fallback` where that is given. */
static struct slv_value *by_path(struct tpl_run *r, struct slv_value *v, struct tpl_text path,
                                 struct slv_value *fallback) {
    for (size_t from = 0; v && from <= path.n;) {
        const char *dot = from < path.n ? memchr(path.p + from, '.', path.n - from) : NULL;
        size_t to = dot ? (size_t)(dot - path.p) : path.n;
        struct slv_value *key = slv_tpl_view(&r->mem, path.p + from, to - from);
        if (key && key->s.n && key->s.n < 19 && slv_tpl_all(key, IS_ASCII) &&
            slv_tpl_all(key, IS_DECIMAL))
            key = slv_tpl_parse_int(&r->mem, key->s.p, key->s.n, 10);
        v = key && slv_tpl_pay(r, 1) ? slv_tpl_getitem(r, v, key, NULL) : NULL;
        if (v && v->kind == TPL_UNDEF && fallback) v = fallback;
        from = to + 1;
    }
    return v;
}

/* attr: NULL or None (the value itself), a path, or an integer. */
static struct slv_value *attribute(struct tpl_run *r, struct slv_value *v,
                                   const struct slv_value *attr, struct slv_value *fallback) {
    if (!attr || attr->kind == TPL_NONE) return v;
    if (attr->kind == TPL_STR) return by_path(r, v, attr->s, fallback);
    struct slv_value key = *attr, *copy = slv_tpl_new(&r->mem, (enum tpl_kind)attr->kind);
    if (!copy) return NULL;
    *copy = key;
    v = slv_tpl_getitem(r, v, copy, NULL);
    return v && v->kind == TPL_UNDEF && fallback ? fallback : v;
}

/* What an element is sorted by. With several paths, "a,b": a list of what they find. */
static struct slv_value *sort_key(struct tpl_run *r, struct slv_value *v,
                                  const struct slv_value *attr, bool fold, bool several) {
    if (!several || !attr || attr->kind != TPL_STR || !memchr(attr->s.p, ',', attr->s.n)) {
        v = attribute(r, v, attr, NULL);
        if (fold) v = folded(r, v);
        if (!several || !v || v->kind == TPL_STR || v->kind == TPL_INT || v->kind == TPL_FLOAT ||
            v->kind == TPL_BOOL)
            return v;
        /* In a list, equal elements need no order of their own: [none, none]|sort is fine. */
        struct slv_value *one = slv_tpl_list(&r->mem, TPL_LIST, 1);
        return one && slv_tpl_push(&r->mem, one, v) ? one : NULL;
    }
    struct slv_value *key = slv_tpl_list(&r->mem, TPL_LIST, 2);
    for (size_t from = 0; key && from <= attr->s.n;) {
        const char *p = attr->s.p + from;
        const char *comma = from < attr->s.n ? memchr(p, ',', attr->s.n - from) : NULL;
        size_t n = comma ? (size_t)(comma - p) : attr->s.n - from;
        struct slv_value *part = by_path(r, v, (struct tpl_text){p, n}, NULL);
        if (fold) part = folded(r, part);
        if (!slv_tpl_push(&r->mem, key, part)) return NULL;
        from += n + 1;
    }
    return key;
}

/* --- sorting ---------------------------------------------------------------------------------- */

struct keyed {
    struct slv_value *key, *v;
};

static bool merge_sort(struct tpl_run *r, struct keyed *a, struct keyed *tmp, size_t n,
                       bool reverse) {
    if (n < 2) return true;
    size_t half = n / 2, i = 0, k = half, o = 0;
    if (!merge_sort(r, a, tmp, half, reverse) || !merge_sort(r, a + half, tmp, n - half, reverse))
        return false;
    while (i < half || k < n) {
        bool left = k == n;
        if (i < half && k < n) {
            /* Equal elements keep their order in both directions. */
            int c;
            if (!slv_tpl_pay(r, 1) || !slv_tpl_order(r, a[k].key, a[i].key, &c)) return false;
            left = reverse ? c != 1 : c != -1;
        }
        tmp[o++] = left ? a[i++] : a[k++];
    }
    memcpy(a, tmp, n * sizeof *a);
    return true;
}

/* The elements of v with their keys, sorted. `by`: one element of a pair, or -1 for attr. */
static struct keyed *sorted(struct tpl_run *r, struct slv_value *v, const struct slv_value *attr,
                            bool fold, bool reverse, int by, size_t *ret_n) {
    struct slv_value *list = slv_tpl_collect(r, v, TPL_LIST);
    size_t n = list ? list->list->n : 0;
    struct keyed *a = list ? slv_tpl_alloc(&r->mem, (2 * n + 1) * sizeof *a) : NULL;
    if (!a) return NULL;
    for (size_t i = 0; i < n; i++) {
        a[i].v = list->list->v[i];
        if (by >= 0) {
            a[i].key = a[i].v->list->v[by];
            if (fold) a[i].key = folded(r, a[i].key);
        } else {
            a[i].key = sort_key(r, a[i].v, attr, fold, true);
        }
        if (!a[i].key) return NULL;
    }
    *ret_n = n;
    return merge_sort(r, a, a + n, n, reverse) ? a : NULL;
}

static struct slv_value *list_of(struct tpl_run *r, const struct keyed *a, size_t n) {
    struct slv_value *v = a ? slv_tpl_list(&r->mem, TPL_LIST, n) : NULL;
    for (size_t i = 0; v && i < n; i++)
        v->list->v[v->list->n++] = a[i].v;
    return v;
}

static struct slv_value *f_sort(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    size_t n;
    bool reverse = flag(r, a->v[0]), fold = !flag(r, a->v[1]);
    struct keyed *s = r->rc ? NULL : sorted(r, v, a->v[2], fold, reverse, -1, &n);
    return s ? list_of(r, s, n) : NULL;
}

static struct slv_value *items_view(struct tpl_run *r, struct slv_value *v) {
    struct slv_value *view = slv_tpl_new(&r->mem, TPL_VIEW);
    if (!view) return NULL;
    view->view = TPL_ITEMS;
    view->dict = v->dict;
    return view;
}

static struct slv_value *f_dictsort(struct tpl_run *r, struct slv_value *v,
                                    const struct tpl_args *a) {
    size_t n;
    bool fold = !flag(r, a->v[0]), reverse = flag(r, a->v[2]);
    int by = !a->v[1] || slv_tpl_text_is(a->v[1], "key") ? 0
             : slv_tpl_text_is(a->v[1], "value")         ? 1
                                                         : -1;
    if (by < 0) return slv_tpl_fail(r, "You can only sort by either \"key\" or \"value\"");
    if (!slv_tpl_defined(r, v)) return NULL;
    if (v->kind != TPL_DICT) return slv_tpl_fail(r, "dictsort wants a mapping");
    struct slv_value *view = items_view(r, v);
    struct keyed *s = view ? sorted(r, view, NULL, fold, reverse, by, &n) : NULL;
    return s ? list_of(r, s, n) : NULL;
}

static struct slv_value *f_groupby(struct tpl_run *r, struct slv_value *v,
                                   const struct tpl_args *a) {
    bool fold = !flag(r, a->v[2]);
    struct slv_value *fallback = a->v[1] && a->v[1]->kind != TPL_NONE ? a->v[1] : NULL;
    struct slv_value *all = slv_tpl_collect(r, v, TPL_LIST);
    size_t n = all ? all->list->n : 0;
    struct keyed *s = all ? slv_tpl_alloc(&r->mem, (2 * n + 1) * sizeof *s) : NULL;
    struct slv_value *out = s ? slv_tpl_list(&r->mem, TPL_LIST, 0) : NULL;
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        s[i].v = all->list->v[i];
        s[i].key = attribute(r, s[i].v, a->v[0], fallback);
        if (fold) s[i].key = folded(r, s[i].key);
        if (!s[i].key) return NULL;
    }
    if (!merge_sort(r, s, s + n, n, false)) return NULL;
    for (size_t i = 0; i < n;) {
        struct slv_value *group = slv_tpl_list(&r->mem, TPL_LIST, 0);
        struct slv_value *key = s[i].key;
        int same = group ? 1 : -1;
        for (size_t from = i; same == 1 && i < n; i += same == 1) {
            if (i > from) same = slv_tpl_equal(r, key, s[i].key);
            if (same == 1 && !slv_tpl_push(&r->mem, group, s[i].v)) return NULL;
        }
        if (same < 0) return NULL;
        if (fold) key = attribute(r, group->list->v[0], a->v[0], fallback);
        struct slv_value *pair = key ? slv_tpl_pair(&r->mem, key, group) : NULL;
        if (!slv_tpl_push(&r->mem, out, pair)) return NULL;
        pair->grouped = true;
    }
    return out;
}

/* --- one value out of many -------------------------------------------------------------------- */

static struct slv_value *extreme(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a,
                                 int want) {
    struct tpl_iter *it = slv_tpl_iter(r, v);
    struct slv_value *item, *best = NULL, *best_key = NULL;
    bool fold = !flag(r, a->v[0]);
    int got = -1, c = want;
    while (it && (got = slv_tpl_next(r, it, &item)) == 1) {
        struct slv_value *key = sort_key(r, item, a->v[1], fold, false);
        if (!key || (best && !slv_tpl_order(r, key, best_key, &c))) return NULL;
        if (best && c != want) continue;
        best = item;
        best_key = key;
    }
    return got < 0 ? NULL : best ? best : &slv_tpl_undef;
}

static struct slv_value *f_min(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    return extreme(r, v, a, -1);
}

static struct slv_value *f_max(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    return extreme(r, v, a, 1);
}

static struct slv_value *f_sum(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct slv_value *total = a->v[1] ? a->v[1] : slv_tpl_int(r, 0), *item;
    struct tpl_iter *it = total ? slv_tpl_iter(r, v) : NULL;
    int got = -1;
    if (total && total->kind == TPL_STR) return slv_tpl_fail(r, "sum() can't sum strings");
    while (it && (got = slv_tpl_next(r, it, &item)) == 1) {
        item = attribute(r, item, a->v[0], NULL);
        total = item ? slv_tpl_arith(r, OP_ADD, total, item) : NULL;
        if (!total) return NULL;
    }
    return got < 0 ? NULL : total;
}

static struct slv_value *f_first(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter(r, v);
    struct slv_value *item;
    int got = it ? slv_tpl_next(r, it, &item) : -1;
    (void)a;
    return got < 0 ? NULL : got ? item : &slv_tpl_undef;
}

static struct slv_value *f_last(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct slv_value *item, *minus_one;
    (void)a;
    if (v->kind == TPL_STR) {
        if (v->cps == 0) return &slv_tpl_undef;
        minus_one = slv_value_int(&r->mem, -1);
        return minus_one ? slv_tpl_getitem(r, v, minus_one, NULL) : NULL;
    }
    struct tpl_iter *it = slv_tpl_reversed(r, v);
    if (!it && !r->mem.failed)
        return slv_tpl_fail(r, "'%s' object is not reversible", slv_tpl_type(v));
    int got = it ? slv_tpl_next(r, it, &item) : -1;
    return got < 0 ? NULL : got ? item : &slv_tpl_undef;
}

static struct slv_value *f_join(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter(r, v);
    struct slv_value *item, *sep = a->v[0] ? slv_tpl_str(r, a->v[0]) : &slv_tpl_empty;
    size_t mark = slv_tpl_begin(r);
    int got = -1;
    if (!it || !sep) return NULL;
    for (bool first = true; (got = slv_tpl_next(r, it, &item)) == 1; first = false) {
        item = attribute(r, item, a->v[1], NULL);
        if (!item || (!first && !slv_tpl_add(r, sep->s.p, sep->s.n)) || !slv_tpl_add_value(r, item))
            return NULL;
    }
    return got < 0 ? NULL : slv_tpl_end(r, mark);
}

static struct slv_value *f_list(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    (void)a;
    return slv_tpl_collect(r, v, TPL_LIST);
}

/* --- iterators -------------------------------------------------------------------------------- */

/* Python's generators look at what they walk only when the first element is asked for. */
static bool begin_any(struct tpl_run *r, struct tpl_iter *it) {
    if (!it->inner) it->inner = slv_tpl_iter(r, it->src);
    return it->inner != NULL;
}

/* The same, where what is false counts as empty. */
static int begin_walk(struct tpl_run *r, struct tpl_iter *it) {
    if (it->inner) return 1;
    if (it->src->kind != TPL_UNDEF && it->src->kind != TPL_ITER) {
        bool any = slv_tpl_truth(r, it->src);
        if (r->rc) return -1;
        if (!any) return 0;
    }
    return begin_any(r, it) ? 1 : -1;
}

static int next_mapped(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    struct slv_value *item;
    int got = begin_walk(r, it);
    if (got == 1) got = slv_tpl_next(r, it->inner, &item);
    if (got != 1) return got;
    if (it->attr) {
        *ret = attribute(r, item, it->attr, it->fallback);
        return *ret ? 1 : -1;
    }
    if (!it->def) {
        slv_tpl_fail(r, "No filter named '%.*s'.", (int)(it->fill->s.n < 100 ? it->fill->s.n : 100),
                     it->fill->s.p);
        return -1;
    }
    *ret = slv_tpl_invoke(r, it->def, item, &it->args);
    return *ret ? 1 : -1;
}

/* map('filter', args...) or map(attribute='path', default=value) */
static struct slv_value *f_map(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter_new(r, next_mapped);
    if (!it) return NULL;
    it->src = v;
    for (size_t i = 0; !a->n && i < a->nkw; i++)
        if (slv_tpl_text_is(a->names[i], "attribute")) it->attr = a->kw[i];
    for (size_t i = 0; it->attr && i < a->nkw; i++) {
        if (slv_tpl_text_is(a->names[i], "default")) {
            it->fallback = a->kw[i]->kind == TPL_NONE ? NULL : a->kw[i];
        } else if (!slv_tpl_text_is(a->names[i], "attribute")) {
            return slv_tpl_fail(r, "map: unexpected keyword argument");
        }
    }
    if (!it->attr) {
        if (!a->n) return slv_tpl_fail(r, "map requires a filter argument");
        if (a->v[0]->kind != TPL_STR) return slv_tpl_fail(r, "map: a filter's name is a str");
        it->fill = a->v[0];
        it->def = slv_tpl_filter(a->v[0]->s.p, a->v[0]->s.n);
        it->args = *a;
        it->args.v++;
        it->args.n--;
    }
    return slv_tpl_iter_value(r, it);
}

static int next_selected(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    int got = begin_walk(r, it);
    while (got == 1 && (got = slv_tpl_next(r, it->inner, ret)) == 1) {
        struct slv_value *v = attribute(r, *ret, it->attr, NULL);
        if (v && it->fill && !it->def) {
            slv_tpl_fail(r, "No test named '%.*s'.",
                         (int)(it->fill->s.n < 100 ? it->fill->s.n : 100), it->fill->s.p);
            return -1;
        }
        if (v && it->def) v = slv_tpl_invoke(r, it->def, v, &it->args);
        bool yes = v && slv_tpl_truth(r, v);
        if (!v || r->rc) return -1;
        if (yes != it->negate) return 1;
    }
    return got;
}

static struct slv_value *selection(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a,
                                   bool with_attr, bool negate) {
    struct tpl_iter *it = slv_tpl_iter_new(r, next_selected);
    size_t used = with_attr;
    if (!it) return NULL;
    if (with_attr && !a->n) return slv_tpl_fail(r, "Missing parameter for attribute name");
    it->src = v;
    it->negate = negate;
    if (with_attr) it->attr = a->v[0];
    if (a->n > used) {
        struct slv_value *name = a->v[used++];
        if (name->kind != TPL_STR) return slv_tpl_fail(r, "a test's name is a str");
        it->fill = name;
        it->def = slv_tpl_test(name->s.p, name->s.n);
    }
    it->args = *a;
    if (used) it->args.v += used;
    it->args.n -= used;
    return slv_tpl_iter_value(r, it);
}

static struct slv_value *f_select(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    return selection(r, v, a, false, false);
}

static struct slv_value *f_reject(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    return selection(r, v, a, false, true);
}

static struct slv_value *f_selectattr(struct tpl_run *r, struct slv_value *v,
                                      const struct tpl_args *a) {
    return selection(r, v, a, true, false);
}

static struct slv_value *f_rejectattr(struct tpl_run *r, struct slv_value *v,
                                      const struct tpl_args *a) {
    return selection(r, v, a, true, true);
}

static int next_unique(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    int got = -1;
    while (begin_any(r, it) && (got = slv_tpl_next(r, it->inner, ret)) == 1) {
        struct slv_value *key = sort_key(r, *ret, it->attr, it->fold, false);
        if (!key) return -1;
        struct slv_value *seen = slv_tpl_get(r, &r->mem, it->seen, key);
        if (r->rc) return -1;
        if (seen) continue;
        return slv_tpl_put(r, &r->mem, it->seen, key, &slv_tpl_true) ? 1 : -1;
    }
    return got;
}

static struct slv_value *f_unique(struct tpl_run *r, struct slv_value *v,
                                  const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter_new(r, next_unique);
    if (!it) return NULL;
    it->seen = slv_tpl_alloc(&r->mem, sizeof *it->seen);
    it->fold = !flag(r, a->v[0]);
    it->attr = a->v[1];
    it->src = v;
    return it->seen ? slv_tpl_iter_value(r, it) : NULL;
}

static bool fill_up(struct tpl_run *r, struct slv_value *list, size_t to, struct slv_value *with) {
    while (list->list->n < to)
        if (!slv_tpl_pay(r, 1) || !slv_tpl_push(&r->mem, list, with)) return false;
    return true;
}

static int next_batch(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    struct slv_value *list = slv_tpl_list(&r->mem, TPL_LIST, 0), *item;
    int got = list && begin_any(r, it) ? 1 : -1;
    while (got == 1 && (list->list->n < it->width || !list->list->n)) {
        got = slv_tpl_next(r, it->inner, &item);
        if (got == 1 && !slv_tpl_push(&r->mem, list, item)) return -1;
    }
    if (got < 0 || (got == 0 && !list->list->n)) return got;
    *ret = list;
    if (got == 0 && it->fill && !fill_up(r, list, it->width, it->fill)) return -1;
    return 1;
}

static struct slv_value *f_batch(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    int64_t n;
    struct tpl_iter *it = slv_tpl_iter_new(r, next_batch);
    if (!it || !slv_tpl_want_int(r, a->v[0], &n)) return NULL;
    if (n < 1) return slv_tpl_fail(r, "batch wants a width of at least 1");
    it->width = (size_t)n;
    if (a->v[1] && a->v[1]->kind != TPL_NONE) it->fill = a->v[1];
    it->src = v;
    return slv_tpl_iter_value(r, it);
}

static int next_slice(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    if (!it->pos && !it->fallback) it->fallback = slv_tpl_collect(r, it->src, TPL_LIST);
    if (!it->fallback) return -1;
    const struct tpl_list *all = it->fallback->list;
    size_t number = it->pos, each = all->n / it->width, extra = all->n % it->width;
    if (number >= it->width) return 0;
    size_t n = each + (number < extra);
    struct slv_value *list = slv_tpl_pay(r, n) ? slv_tpl_list(&r->mem, TPL_LIST, n + 1) : NULL;
    if (!list) return -1;
    for (size_t i = 0; i < n; i++)
        list->list->v[list->list->n++] = all->v[it->at++];
    if (it->fill && number >= extra) list->list->v[list->list->n++] = it->fill;
    it->pos++;
    *ret = list;
    return 1;
}

static struct slv_value *f_slice(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    int64_t n;
    struct tpl_iter *it = slv_tpl_iter_new(r, next_slice);
    if (!it || !slv_tpl_want_int(r, a->v[0], &n)) return NULL;
    if (n < 1) return slv_tpl_fail(r, "slice wants at least 1 slice");
    it->src = v;
    it->width = (size_t)n;
    if (a->v[1] && a->v[1]->kind != TPL_NONE) it->fill = a->v[1];
    return slv_tpl_iter_value(r, it);
}

static int next_item(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    if (!it->inner && it->src->kind != TPL_UNDEF && it->src->kind != TPL_DICT)
        slv_tpl_fail(r, "Can only get item pairs from a mapping.");
    if (r->rc) return -1;
    if (!it->inner) {
        struct slv_value *view = it->src->kind == TPL_DICT ? items_view(r, it->src) : it->src;
        it->inner = view ? slv_tpl_iter(r, view) : NULL;
    }
    return it->inner ? slv_tpl_next(r, it->inner, ret) : -1;
}

static struct slv_value *f_items(struct tpl_run *r, struct slv_value *v, const struct tpl_args *a) {
    struct tpl_iter *it = slv_tpl_iter_new(r, next_item);
    (void)a;
    if (it) it->src = v;
    return slv_tpl_iter_value(r, it);
}

static struct slv_value *reversed_text(struct tpl_run *r, struct slv_value *v) {
    static struct slv_value minus_one = {.kind = TPL_INT, .i = -1};
    struct slv_value *const part[3] = {NULL, NULL, &minus_one};
    return slv_tpl_slice(r, v, part);
}

static struct slv_value *f_reverse(struct tpl_run *r, struct slv_value *v,
                                   const struct tpl_args *a) {
    (void)a;
    if (v->kind == TPL_STR) return reversed_text(r, v);
    struct tpl_iter *it = slv_tpl_reversed(r, v);
    if (it || r->mem.failed) return slv_tpl_iter_value(r, it);
    struct slv_value *list = slv_tpl_collect(r, v, TPL_LIST);
    for (size_t i = 0, n = list ? list->list->n : 0; i < n / 2; i++) {
        struct slv_value *t = list->list->v[i];
        list->list->v[i] = list->list->v[n - 1 - i];
        list->list->v[n - 1 - i] = t;
    }
    return list;
}

const struct tpl_def slv_tpl_seq_filters[] = {
    {"batch", f_batch, 1, 2, "linecount,fill_with", false},
    {"dictsort", f_dictsort, 0, 3, "case_sensitive,by,reverse", false},
    {"first", f_first, 0, 0, "", false},
    {"groupby", f_groupby, 1, 3, "attribute,default,case_sensitive", false},
    {"items", f_items, 0, 0, "", false},
    {"join", f_join, 0, 2, "d,attribute", false},
    {"last", f_last, 0, 0, "", false},
    {"list", f_list, 0, 0, "", false},
    {"map", f_map, 0, 0, "*", false},
    {"max", f_max, 0, 2, "case_sensitive,attribute", false},
    {"min", f_min, 0, 2, "case_sensitive,attribute", false},
    {"reject", f_reject, 0, 0, "*", false},
    {"rejectattr", f_rejectattr, 0, 0, "*", false},
    {"reverse", f_reverse, 0, 0, "", false},
    {"select", f_select, 0, 0, "*", false},
    {"selectattr", f_selectattr, 0, 0, "*", false},
    {"slice", f_slice, 1, 2, "slices,fill_with", false},
    {"sort", f_sort, 0, 3, "reverse,case_sensitive,attribute", false},
    {"sum", f_sum, 0, 2, "attribute,start", false},
    {"unique", f_unique, 0, 2, "case_sensitive,attribute", false},
    {NULL, NULL, 0, 0, "", false},
};
