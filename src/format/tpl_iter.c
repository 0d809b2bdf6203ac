/* tpl_iter.c: walking values. Lists are walked in place; what map and its like give is computed
 * element by element and only once, as Python's generators are. */
#include "base/utf8.h"
#include "format/template_impl.h"

#include <string.h>

struct tpl_iter *slv_tpl_iter_new(struct tpl_run *r,
                                  int (*next)(struct tpl_run *, struct tpl_iter *,
                                              struct slv_value **)) {
    struct tpl_iter *it = slv_tpl_alloc(&r->mem, sizeof *it);
    if (it) it->next = next;
    return it;
}

struct slv_value *slv_tpl_iter_value(struct tpl_run *r, struct tpl_iter *it) {
    struct slv_value *v = it ? slv_tpl_new(&r->mem, TPL_ITER) : NULL;
    if (v) v->iter = it;
    return v;
}

static int next_none(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    (void)r, (void)it, (void)ret;
    return 0;
}

static int next_list(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    const struct tpl_list *l = it->src->list;
    (void)r;
    if (it->pos >= l->n) return 0;
    *ret = l->v[it->reversed ? l->n - 1 - it->pos : it->pos];
    it->pos++;
    return 1;
}

static int next_char(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    const struct tpl_text s = it->src->s;
    size_t from = it->at, to = from + 1;
    if (from >= s.n) return 0;
    while (to < s.n && ((unsigned char)s.p[to] & 0xc0) == 0x80)
        to++;
    it->at = to;
    *ret = slv_tpl_view(&r->mem, s.p + from, to - from);
    return *ret ? 1 : -1;
}

static int next_entry(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    const struct tpl_dict *d = it->src->dict;
    if (it->pos >= d->n) return 0;
    const struct tpl_entry *e = &d->e[it->reversed ? d->n - 1 - it->pos : it->pos];
    it->pos++;
    if (it->src->kind != TPL_VIEW || it->src->view == TPL_KEYS) *ret = e->key;
    else if (it->src->view == TPL_VALUES) *ret = e->value;
    else *ret = slv_tpl_pair(&r->mem, e->key, e->value);
    return *ret ? 1 : -1;
}

static int next_number(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    const struct tpl_range *g = it->src->range;
    if (it->pos >= g->n) return 0;
    size_t i = it->reversed ? g->n - 1 - it->pos : it->pos;
    it->pos++;
    *ret = slv_tpl_int(r, g->start + (int64_t)i * g->step);
    return *ret ? 1 : -1;
}

typedef int (*next_fn)(struct tpl_run *, struct tpl_iter *, struct slv_value **);

static next_fn walker(const struct slv_value *v) {
    switch ((enum tpl_kind)v->kind) {
    case TPL_UNDEF:
        return next_none;
    case TPL_LIST:
    case TPL_TUPLE:
        return next_list;
    case TPL_STR:
        return next_char;
    case TPL_DICT:
    case TPL_VIEW:
        return next_entry;
    case TPL_RANGE:
        return next_number;
    case TPL_NONE:
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIGINT:
    case TPL_FLOAT:
    case TPL_ITER:
    case TPL_NS:
    case TPL_MACRO:
    case TPL_METHOD:
    case TPL_FUNC:
    case TPL_LOOP:
    case TPL_CYCLER:
    case TPL_JOINER:
        break;
    }
    return NULL;
}

bool slv_tpl_iterable(const struct slv_value *v) {
    return v->kind == TPL_ITER || v->kind == TPL_LOOP || walker(v);
}

struct tpl_iter *slv_tpl_iter(struct tpl_run *r, struct slv_value *v) {
    if (v->kind == TPL_ITER) return v->iter;
    next_fn next = walker(v);
    if (!next) return slv_tpl_fail(r, "'%s' object is not iterable", slv_tpl_type(v));
    struct tpl_iter *it = slv_tpl_iter_new(r, next);
    if (it) it->src = v;
    return it;
}

struct tpl_iter *slv_tpl_reversed(struct tpl_run *r, struct slv_value *v) {
    if (v->kind == TPL_ITER || v->kind == TPL_STR) return NULL;
    next_fn next = walker(v);
    struct tpl_iter *it = next ? slv_tpl_iter_new(r, next) : NULL;
    if (!it) return NULL;
    it->src = v;
    it->reversed = true;
    return it;
}

int slv_tpl_next(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    if (!slv_tpl_enter(r)) return -1;
    int got = it->next(r, it, ret);
    slv_tpl_leave(r);
    return got;
}

struct slv_value *slv_tpl_collect(struct tpl_run *r, struct slv_value *v, enum tpl_kind kind) {
    struct tpl_iter *it = slv_tpl_iter(r, v);
    struct slv_value *item, *list = it ? slv_tpl_list(&r->mem, kind, 0) : NULL;
    int got = list ? slv_tpl_next(r, it, &item) : -1;
    for (; got == 1; got = slv_tpl_next(r, it, &item))
        if (!slv_tpl_push(&r->mem, list, item)) return NULL;
    return got < 0 ? NULL : list;
}
