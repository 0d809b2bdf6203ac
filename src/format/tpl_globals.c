/* tpl_globals.c: the functions a template finds without being given them: Jinja's range, dict,
 * namespace, cycler and joiner, and transformers' raise_exception and strftime_now. */
#include "format/template_impl.h"

#define TPL_MESSAGE_MAX 1000 /* more than struct slv_err holds */

static struct slv_value *g_range(struct tpl_run *r, struct slv_value *self,
                                 const struct tpl_args *a) {
    int64_t from = 0, to, step = 1;
    uint64_t n = 0;
    (void)self;
    if (!slv_tpl_want_int(r, a->v[a->v[1] ? 1 : 0], &to)) return NULL;
    if (a->v[1] && !slv_tpl_want_int(r, a->v[0], &from)) return NULL;
    if (a->v[2] && !slv_tpl_want_int(r, a->v[2], &step)) return NULL;
    if (step == 0) return slv_tpl_fail(r, "range() arg 3 must not be zero");
    if (step > 0 && from < to) n = ((uint64_t)to - (uint64_t)from - 1) / (uint64_t)step + 1;
    if (step < 0 && from > to) n = ((uint64_t)from - (uint64_t)to - 1) / (0 - (uint64_t)step) + 1;
    if (n > TPL_RANGE_MAX)
        return slv_tpl_fail(r, "Range too big. The sandbox blocks ranges larger than %d",
                            TPL_RANGE_MAX);
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_RANGE);
    struct tpl_range *g = v ? slv_tpl_alloc(&r->mem, sizeof *g) : NULL;
    if (!g) return NULL;
    *g = (struct tpl_range){from, to, step, (size_t)n};
    v->range = g;
    return v;
}

/* Adds keyword arguments, and before them a mapping or pairs given as the one other argument. */
static bool fill_dict(struct tpl_run *r, struct tpl_dict *d, const struct tpl_args *a) {
    struct slv_value *pair;
    int got = 0;
    if (a->n > 1) {
        slv_tpl_fail(r, "expected at most 1 argument, got %zu", a->n);
        return false;
    }
    if (a->n && a->v[0]->kind == TPL_DICT) {
        const struct tpl_dict *from = a->v[0]->dict;
        if (!slv_tpl_pay(r, from->n)) return false;
        for (size_t i = 0; i < from->n; i++)
            if (!slv_tpl_put(r, &r->mem, d, from->e[i].key, from->e[i].value)) return false;
    } else if (a->n) {
        struct tpl_iter *it = slv_tpl_iter(r, a->v[0]);
        while (it && (got = slv_tpl_next(r, it, &pair)) == 1) {
            struct slv_value *two = slv_tpl_collect(r, pair, TPL_LIST);
            if (two && two->list->n != 2) slv_tpl_fail(r, "a pair is required");
            if (!two || two->list->n != 2 ||
                !slv_tpl_put(r, &r->mem, d, two->list->v[0], two->list->v[1]))
                return false;
        }
        if (!it || got < 0) return false;
    }
    for (size_t i = 0; i < a->nkw; i++)
        if (!slv_tpl_put(r, &r->mem, d, a->names[i], a->kw[i])) return false;
    return true;
}

static struct slv_value *g_dict(struct tpl_run *r, struct slv_value *self,
                                const struct tpl_args *a) {
    struct slv_value *v = slv_value_dict(&r->mem);
    (void)self;
    return v && fill_dict(r, v->dict, a) ? v : NULL;
}

static struct slv_value *g_namespace(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    struct slv_value *v = g_dict(r, self, a);
    if (v) v->kind = TPL_NS;
    return v;
}

static struct slv_value *new_cycle(struct tpl_run *r, enum tpl_kind kind) {
    struct slv_value *v = slv_tpl_new(&r->mem, kind);
    if (v) v->cycle = slv_tpl_alloc(&r->mem, sizeof *v->cycle);
    return v && v->cycle ? v : NULL;
}

static struct slv_value *g_cycler(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct slv_value *v = new_cycle(r, TPL_CYCLER);
    (void)self;
    if (!v) return NULL;
    if (!a->n || a->nkw) return slv_tpl_fail(r, "at least one item has to be provided");
    v->cycle->items = (struct tpl_list){a->v, a->n, a->n};
    return v;
}

static struct slv_value *g_joiner(struct tpl_run *r, struct slv_value *self,
                                  const struct tpl_args *a) {
    struct slv_value *v = new_cycle(r, TPL_JOINER);
    (void)self;
    if (!v) return NULL;
    v->cycle->sep = a->v[0] ? a->v[0] : slv_tpl_cstr(&r->mem, ", ");
    return v->cycle->sep ? v : NULL;
}

/* The template's own refusal: its words are the message. */
static struct slv_value *g_raise_exception(struct tpl_run *r, struct slv_value *self,
                                           const struct tpl_args *a) {
    struct slv_value *s = slv_tpl_str(r, a->v[0]);
    (void)self;
    if (!s || r->rc) return NULL;
    int n = s->s.n < TPL_MESSAGE_MAX ? (int)s->s.n : TPL_MESSAGE_MAX;
    r->rc = slv_err_set(r->err, SLV_E_USAGE, "%.*s", n, s->s.p);
    return NULL;
}

/* strftime_now(format): the clock's time in UTC. */
static struct slv_value *g_strftime_now(struct tpl_run *r, struct slv_value *self,
                                        const struct tpl_args *a) {
    (void)self;
    if (a->v[0]->kind != TPL_STR) return slv_tpl_fail(r, "strftime_now wants a str");
    if (!r->mem.clock) return slv_tpl_fail(r, "strftime_now: there is no clock");
    size_t mark = slv_tpl_begin(r);
    uint64_t now = slv_clock_wall(r->mem.clock);
    return slv_tpl_add_time(r, a->v[0]->s, now) ? slv_tpl_end(r, mark) : NULL;
}

static const struct tpl_def globals[] = {
    {"cycler", g_cycler, 0, 0, "*", false},
    {"dict", g_dict, 0, 0, "*", false},
    {"joiner", g_joiner, 0, 1, "sep", false},
    {"namespace", g_namespace, 0, 0, "*", false},
    {"raise_exception", g_raise_exception, 1, 1, "message", false},
    {"range", g_range, 1, 3, "start,stop,step", true},
    {"strftime_now", g_strftime_now, 1, 1, "format", false},
    {NULL, NULL, 0, 0, "", false},
};

const struct tpl_def *slv_tpl_global(const char *name, size_t n) {
    return slv_tpl_find(globals, name, n);
}
