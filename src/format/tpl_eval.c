/* tpl_eval.c: the value of an expression: one small function for each kind of node. */
#include "format/template_impl.h"

#include <string.h>

typedef struct slv_value *(*eval_fn)(struct tpl_run *r, const struct tpl_node *n);

static struct slv_value *eval_const(struct tpl_run *r, const struct tpl_node *n) {
    (void)r;
    return n->val;
}

static struct slv_value *eval_name(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_lookup(r, n->id);
    return v ? v : r->rc ? NULL : n->val;
}

static struct slv_value *eval_list(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v =
        slv_tpl_list(&r->mem, n->op == OP_TUPLE ? TPL_TUPLE : TPL_LIST, n->a ? 4 : 0);
    for (const struct tpl_node *e = n->a; v && e; e = e->next)
        if (!slv_tpl_push(&r->mem, v, slv_tpl_eval(r, e))) return NULL;
    return v;
}

static struct slv_value *eval_dict(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_value_dict(&r->mem);
    for (const struct tpl_node *e = n->a; v && e; e = e->next->next) {
        struct slv_value *key = slv_tpl_eval(r, e), *item = key ? slv_tpl_eval(r, e->next) : NULL;
        if (!item || !slv_tpl_put(r, &r->mem, v->dict, key, item)) return NULL;
    }
    return v;
}

static struct slv_value *eval_getattr(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_eval(r, n->a);
    r->line = n->line;
    return v ? slv_tpl_getattr(r, v, n->val, n->undef) : NULL;
}

static struct slv_value *eval_getitem(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_eval(r, n->a), *part[3] = {NULL, NULL, NULL};
    if (!v) return NULL;
    if (n->b->op != OP_SLICE) {
        struct slv_value *key = slv_tpl_eval(r, n->b);
        r->line = n->line;
        return key ? slv_tpl_getitem(r, v, key, NULL) : NULL;
    }
    const struct tpl_node *const nodes[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++) {
        if (!nodes[i]) continue;
        part[i] = slv_tpl_eval(r, nodes[i]);
        if (!part[i]) return NULL;
    }
    r->line = n->line;
    return slv_tpl_slice(r, v, part);
}

static struct slv_value *eval_slice(struct tpl_run *r, const struct tpl_node *n) {
    (void)n;
    return slv_tpl_fail(r, "a slice stands where no slice can");
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Room for the arguments known from the text, the caller, and those a dict or list adds. */
static bool spread(struct tpl_run *r, const struct tpl_call *c, struct slv_value **ret_list,
                   struct slv_value **ret_dict) {
    *ret_list = *ret_dict = NULL;
    if (c->dyn_args) {
        struct slv_value *v = slv_tpl_eval(r, c->dyn_args);
        *ret_list = v ? slv_tpl_collect(r, v, TPL_LIST) : NULL;
        if (!*ret_list) return false;
    }
    if (!c->dyn_kwargs) return true;
    *ret_dict = slv_tpl_eval(r, c->dyn_kwargs);
    if (!*ret_dict) return false;
    bool ok = (*ret_dict)->kind == TPL_DICT;
    for (size_t i = 0; ok && i < (*ret_dict)->dict->n; i++)
        ok = (*ret_dict)->dict->e[i].key->kind == TPL_STR;
    if (!ok) slv_tpl_fail(r, "argument after ** must be a mapping with strings as keys");
    return ok;
}

/* Evaluates a call's arguments; `caller` (may be NULL) joins the keyword arguments. */
static bool eval_args(struct tpl_run *r, const struct tpl_call *c, struct slv_value *caller,
                      struct tpl_args *ret) {
    static const struct tpl_call nothing = {0};
    struct slv_value *list = NULL, *dict = NULL;
    struct tpl_args a = {0};
    if (!c) c = &nothing;
    size_t n = c->n, nkw = c->nkw + (caller ? 1 : 0);
    struct slv_value *fixed[4];
    size_t i = 0;
    for (const struct tpl_node *e = c->args; e && i < 4; e = e->next) {
        fixed[i] = slv_tpl_eval(r, e);
        if (!fixed[i++]) return false;
    }
    struct slv_value **rest = NULL;
    if (n > 4) {
        rest = slv_tpl_alloc(&r->mem, n * sizeof *rest);
        if (!rest) return false;
        const struct tpl_node *e = c->args;
        for (size_t k = 0; k < n; k++, e = e->next) {
            rest[k] = k < 4 ? fixed[k] : slv_tpl_eval(r, e);
            if (!rest[k]) return false;
        }
    }
    if (!spread(r, c, &list, &dict)) return false;
    size_t total = n + (list ? list->list->n : 0), named = nkw + (dict ? dict->dict->n : 0);
    if (total) a.v = slv_tpl_alloc(&r->mem, total * sizeof *a.v);
    if (named) a.names = slv_tpl_alloc(&r->mem, 2 * named * sizeof *a.names);
    if ((total && !a.v) || (named && !a.names) || !slv_tpl_pay(r, total + named)) return false;
    a.kw = named ? a.names + named : NULL;
    if (n) memcpy(a.v, rest ? rest : fixed, n * sizeof *a.v);
    if (list && list->list->n) memcpy(a.v + n, list->list->v, list->list->n * sizeof *a.v);
    a.n = total;
    for (const struct tpl_node *e = c->kwargs; e; e = e->next) {
        a.names[a.nkw] = e->val;
        a.kw[a.nkw] = slv_tpl_eval(r, e->a);
        if (!a.kw[a.nkw++]) return false;
    }
    for (i = 0; dict && i < dict->dict->n; i++, a.nkw++) {
        a.names[a.nkw] = dict->dict->e[i].key;
        a.kw[a.nkw] = dict->dict->e[i].value;
    }
    if (caller) {
        static struct slv_value name = {.kind = TPL_STR, .s = {"caller", 6}, .cps = 6};
        a.names[a.nkw] = &name;
        a.kw[a.nkw++] = caller;
    }
    *ret = a;
    return true;
}

/* Where `name` stands in "a,b,c", or -1. */
static int param_index(const char *params, struct tpl_text name) {
    for (int i = 0; *params; i++) {
        size_t n = strcspn(params, ",");
        if (n == name.n && memcmp(params, name.p, n) == 0) return i;
        params += n + (params[n] == ',');
    }
    return -1;
}

struct slv_value *slv_tpl_invoke(struct tpl_run *r, const struct tpl_def *def,
                                 struct slv_value *self, const struct tpl_args *a) {
    struct slv_value *v[TPL_ARGS_MAX] = {NULL};
    struct tpl_args bound = {.v = v, .n = a->n};
    if (!def->fn)
        return slv_tpl_fail_code(r, SLV_E_UNSUPPORTED, "the method '%s' is not supported",
                                 def->name);
    bool as_they_come = *def->params == '*';
    if (a->n > def->max && !as_they_come)
        return slv_tpl_fail(r, "%s() takes at most %u arguments, not %zu", def->name, def->max,
                            a->n);
    if (as_they_come) return def->fn(r, self, a);
    for (size_t i = 0; i < a->n; i++)
        v[i] = a->v[i];
    for (size_t i = 0; i < a->nkw; i++) {
        int at = def->positional ? -1 : param_index(def->params, a->names[i]->s);
        if (at < 0 || v[at])
            return slv_tpl_fail(r, "%s() got an unexpected argument '%.*s'", def->name,
                                (int)(a->names[i]->s.n < 100 ? a->names[i]->s.n : 100),
                                a->names[i]->s.p);
        v[at] = a->kw[i];
    }
    for (unsigned i = 0; i < def->min; i++)
        if (!v[i]) return slv_tpl_fail(r, "%s() lacks an argument", def->name);
    return def->fn(r, self, &bound);
}

static struct slv_value *call_joiner(struct tpl_cycle *c) {
    if (c->used) return c->sep;
    c->used = true;
    return &slv_tpl_empty;
}

static struct slv_value *call(struct tpl_run *r, struct slv_value *f, const struct tpl_args *a) {
    switch ((enum tpl_kind)f->kind) {
    case TPL_METHOD:
        return slv_tpl_invoke(r, f->method->def, f->method->self, a);
    case TPL_FUNC:
        return slv_tpl_invoke(r, f->func, NULL, a);
    case TPL_MACRO:
        return slv_tpl_call_macro(r, f->macro, a);
    case TPL_LOOP:
        return slv_tpl_call_loop(r, f->loop, a);
    case TPL_JOINER:
        if (a->n || a->nkw) return slv_tpl_fail(r, "a joiner takes no arguments");
        return call_joiner(f->cycle);
    case TPL_UNDEF:
        return slv_tpl_defined(r, f) ? f : NULL;
    case TPL_NONE:
    case TPL_BOOL:
    case TPL_INT:
    case TPL_BIGINT:
    case TPL_FLOAT:
    case TPL_STR:
    case TPL_LIST:
    case TPL_TUPLE:
    case TPL_DICT:
    case TPL_VIEW:
    case TPL_RANGE:
    case TPL_ITER:
    case TPL_NS:
    case TPL_CYCLER:
        break;
    }
    return slv_tpl_fail(r, "'%s' object is not callable", slv_tpl_type(f));
}

/* x.name(...) on a plain value does without an object for the method. */
struct slv_value *slv_tpl_eval_call(struct tpl_run *r, const struct tpl_node *n,
                                    struct slv_value *caller) {
    const struct tpl_node *callee = n->a;
    struct slv_value *f, *self = NULL;
    const struct tpl_def *def = NULL;
    struct tpl_args a;
    if (callee->op == OP_GETATTR) {
        self = slv_tpl_eval(r, callee->a);
        if (!self) return NULL;
        if (self->kind == TPL_STR || self->kind == TPL_DICT || self->kind == TPL_LIST)
            def = slv_tpl_method(self, callee->val->s.p, callee->val->s.n);
        r->line = callee->line;
        f = def ? NULL : slv_tpl_getattr(r, self, callee->val, callee->undef);
    } else {
        f = slv_tpl_eval(r, callee);
    }
    if ((!f && !def) || !eval_args(r, n->call, caller, &a)) return NULL;
    r->line = n->line;
    return def ? slv_tpl_invoke(r, def, self, &a) : call(r, f, &a);
}

static struct slv_value *eval_call(struct tpl_run *r, const struct tpl_node *n) {
    return slv_tpl_eval_call(r, n, NULL);
}

static struct slv_value *no_row(struct tpl_run *r, const struct tpl_node *n) {
    return slv_tpl_fail_code(r, SLV_E_UNSUPPORTED, "No %s named '%.*s' found.",
                             n->op == OP_TEST ? "test" : "filter",
                             (int)(n->val->s.n < 100 ? n->val->s.n : 100), n->val->s.p);
}

static struct slv_value *apply(struct tpl_run *r, const struct tpl_node *n, struct slv_value *v) {
    struct tpl_args a;
    if (!v) return NULL;
    if (!n->fn) return no_row(r, n);
    if (!eval_args(r, n->call, NULL, &a)) return NULL;
    r->line = n->line;
    return slv_tpl_invoke(r, n->fn, v, &a);
}

static struct slv_value *eval_filter(struct tpl_run *r, const struct tpl_node *n) {
    return apply(r, n, slv_tpl_eval(r, n->a));
}

struct slv_value *slv_tpl_filtered(struct tpl_run *r, const struct tpl_node *n,
                                   struct slv_value *text) {
    if (!slv_tpl_enter(r)) return NULL;
    struct slv_value *v = apply(r, n, n->a ? slv_tpl_filtered(r, n->a, text) : text);
    slv_tpl_leave(r);
    return v;
}

/* --- logic and operators ---------------------------------------------------------------------- */

/* -1: failed */
static int test(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_eval(r, n);
    bool yes = v && slv_tpl_truth(r, v);
    return !v || r->rc ? -1 : yes;
}

static struct slv_value *eval_not(struct tpl_run *r, const struct tpl_node *n) {
    int yes = test(r, n->a);
    return yes < 0 ? NULL : slv_tpl_bool(!yes);
}

static struct slv_value *eval_logic(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_eval(r, n->a);
    bool yes = v && slv_tpl_truth(r, v);
    if (!v || r->rc) return NULL;
    return yes == (n->op == OP_OR) ? v : slv_tpl_eval(r, n->b);
}

static struct slv_value *eval_cond(struct tpl_run *r, const struct tpl_node *n) {
    int yes = test(r, n->b);
    if (yes < 0) return NULL;
    return yes ? slv_tpl_eval(r, n->a) : n->c ? slv_tpl_eval(r, n->c) : &slv_tpl_undef;
}

static struct slv_value *eval_arith(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *a = slv_tpl_eval(r, n->a), *b = a ? slv_tpl_eval(r, n->b) : NULL;
    r->line = n->line;
    return b ? slv_tpl_arith(r, (enum tpl_op)n->op, a, b) : NULL;
}

static struct slv_value *eval_unary(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *a = slv_tpl_eval(r, n->a);
    return a ? slv_tpl_unary(r, (enum tpl_op)n->op, a) : NULL;
}

static struct slv_value *eval_concat(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *all = NULL;
    for (const struct tpl_node *e = n->a; e; e = e->next) {
        struct slv_value *v = slv_tpl_eval(r, e);
        v = v ? slv_tpl_str(r, v) : NULL;
        if (v && all) v = slv_tpl_join2(r, all, v);
        if (!v) return NULL;
        all = v;
    }
    return all;
}

static struct slv_value *eval_compare(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *a = slv_tpl_eval(r, n->a), *v = NULL;
    for (const struct tpl_node *e = n->b; a && e; e = e->next) {
        struct slv_value *b = slv_tpl_eval(r, e->a);
        r->line = n->line;
        v = b ? slv_tpl_compare(r, (enum tpl_op)e->op, a, b) : NULL;
        if (!v || !v->truth) return v;
        a = b;
    }
    return a ? v : NULL;
}

static const eval_fn evals[] = {
    [OP_CONST] = eval_const,     [OP_NAME] = eval_name,   [OP_TUPLE] = eval_list,
    [OP_LIST] = eval_list,       [OP_DICT] = eval_dict,   [OP_GETATTR] = eval_getattr,
    [OP_GETITEM] = eval_getitem, [OP_SLICE] = eval_slice, [OP_CALL] = eval_call,
    [OP_FILTER] = eval_filter,   [OP_TEST] = eval_filter, [OP_NOT] = eval_not,
    [OP_NEG] = eval_unary,       [OP_POS] = eval_unary,   [OP_AND] = eval_logic,
    [OP_OR] = eval_logic,        [OP_ADD] = eval_arith,   [OP_SUB] = eval_arith,
    [OP_MUL] = eval_arith,       [OP_DIV] = eval_arith,   [OP_FLOORDIV] = eval_arith,
    [OP_MOD] = eval_arith,       [OP_POW] = eval_arith,   [OP_CONCAT] = eval_concat,
    [OP_COMPARE] = eval_compare, [OP_COND] = eval_cond,
};

struct slv_value *slv_tpl_eval(struct tpl_run *r, const struct tpl_node *n) {
    if (!slv_tpl_enter(r)) return NULL;
    r->line = n->line;
    struct slv_value *v = evals[n->op](r, n);
    slv_tpl_leave(r);
    return v;
}
