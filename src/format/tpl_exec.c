/* tpl_exec.c: statements, frames, macros, and one rendering from its beginning to its end.
 *
 * A frame is a scope of names: a loop, a macro call, a with, a captured or filtered block has one,
 * an if has none. A name is looked up from the innermost frame outward along the frames in which
 * the text stands (a macro's are those of its definition), then at the top level, whose table
 * starts out with what the caller gave and the global functions. Assignments go to the innermost
 * frame. */
#include "base/mem.h"
#include "format/template_impl.h"

#include <string.h>

/* --- failing and paying ----------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void fail(struct tpl_run *r, int code, const char *fmt,
                                                       va_list ap) {
    struct slv_err e;
    if (r->rc) return;
    slv_err_vset(&e, code, fmt, ap);
    r->rc = slv_err_set(r->err, code, "line %u: %s", (unsigned)r->line, e.msg);
}

void *slv_tpl_fail(struct tpl_run *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(r, SLV_E_FORMAT, fmt, ap);
    va_end(ap);
    return NULL;
}

void *slv_tpl_fail_code(struct tpl_run *r, int code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(r, code, fmt, ap);
    va_end(ap);
    return NULL;
}

bool slv_tpl_pay(struct tpl_run *r, size_t n) {
    if (n <= r->steps) {
        r->steps -= (uint32_t)n;
        return true;
    }
    r->steps = 0;
    slv_tpl_fail_code(r, SLV_E_LIMIT, "the template takes too many steps");
    return false;
}

bool slv_tpl_enter(struct tpl_run *r) {
    if (r->depth >= TPL_DEPTH_MAX) {
        slv_tpl_fail_code(r, SLV_E_LIMIT, "the template recurses too deep");
        return false;
    }
    r->depth++;
    return slv_tpl_pay(r, 1);
}

/* --- names ------------------------------------------------------------------------------------ */

struct tpl_frame *slv_tpl_frame(struct tpl_run *r, struct tpl_frame *parent) {
    struct tpl_frame *f = slv_tpl_alloc(&r->mem, sizeof *f);
    if (f) f->parent = parent;
    return f;
}

static struct tpl_binding *find(const struct tpl_frame *f, uint32_t id) {
    for (size_t i = 0; i < f->n; i++)
        if (f->b[i].id == id) return &f->b[i];
    return NULL;
}

struct slv_value *slv_tpl_lookup(struct tpl_run *r, uint32_t id) {
    for (const struct tpl_frame *f = r->frame; f; f = f->parent) {
        if (!slv_tpl_pay(r, f->n / 8)) return NULL;
        const struct tpl_binding *b = find(f, id);
        if (b) return b->v;
    }
    return r->root[id];
}

bool slv_tpl_bind(struct tpl_run *r, uint32_t id, struct slv_value *v) {
    struct tpl_frame *f = r->frame;
    if (!f) {
        r->root[id] = v;
        return true;
    }
    if (!slv_tpl_pay(r, f->n / 8)) return false;
    struct tpl_binding *b = find(f, id);
    if (b) {
        b->v = v;
        return true;
    }
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 4;
        b = slv_tpl_alloc(&r->mem, cap * sizeof *b);
        if (!b) return false;
        if (f->n) memcpy(b, f->b, f->n * sizeof *b);
        f->b = b;
        f->cap = cap;
    }
    f->b[f->n++] = (struct tpl_binding){id, v};
    return true;
}

static struct slv_value *namespace_of(struct tpl_run *r, const struct tpl_node *target) {
    struct slv_value *ns = slv_tpl_lookup(r, target->id);
    if (ns && ns->kind == TPL_NS) return ns;
    return slv_tpl_fail(r, "cannot assign attribute on non-namespace object");
}

static bool unpack(struct tpl_run *r, const struct tpl_node *target, struct slv_value *v) {
    struct tpl_iter *it = slv_tpl_iter(r, v);
    struct slv_value *item;
    int got;
    size_t n = 0;
    struct slv_value *all = it ? slv_tpl_list(&r->mem, TPL_TUPLE, 4) : NULL;
    if (!all) return false;
    for (const struct tpl_node *t = target->a; t; t = t->next, n++) {
        got = slv_tpl_next(r, it, &item);
        if (got < 0 || (got == 1 && !slv_tpl_push(&r->mem, all, item))) return false;
        if (got == 0) {
            slv_tpl_fail(r, "not enough values to unpack (got %zu)", n);
            return false;
        }
    }
    got = slv_tpl_next(r, it, &item);
    if (got == 1) slv_tpl_fail(r, "too many values to unpack (expected %zu)", n);
    if (got != 0) return false;
    n = 0;
    for (const struct tpl_node *t = target->a; t; t = t->next)
        if (!slv_tpl_assign(r, t, all->list->v[n++])) return false;
    return true;
}

bool slv_tpl_assign(struct tpl_run *r, const struct tpl_node *target, struct slv_value *v) {
    if (target->op == OP_NAME) return slv_tpl_bind(r, target->id, v);
    if (target->op == OP_TUPLE) return unpack(r, target, v);
    struct slv_value *ns = namespace_of(r, target);
    return ns && slv_tpl_put(r, &r->mem, ns->dict, target->val, v);
}

/* Jinja looks at namespaces before it evaluates what they get. */
static bool check_targets(struct tpl_run *r, const struct tpl_node *target) {
    if (target->op == OP_NSREF) return namespace_of(r, target) != NULL;
    if (target->op != OP_TUPLE) return true;
    for (const struct tpl_node *t = target->a; t; t = t->next)
        if (!check_targets(r, t)) return false;
    return true;
}

/* --- output ----------------------------------------------------------------------------------- */

size_t slv_tpl_capture(struct tpl_run *r) {
    r->captures++;
    return slv_tpl_begin(r);
}

struct slv_value *slv_tpl_captured(struct tpl_run *r, size_t mark) {
    r->captures--;
    return slv_tpl_end(r, mark);
}

static bool print_text(struct tpl_run *r, struct tpl_text s) {
    if (r->captures) return slv_tpl_add(r, s.p, s.n);
    if (!slv_tpl_pay(r, s.n / 32)) return false;
    int rc = slv_buf_add(r->out, s.p, s.n);
    if (rc == SLV_E_LIMIT) slv_tpl_fail_code(r, rc, "the output grows past its maximum");
    return rc == 0;
}

static bool print(struct tpl_run *r, struct slv_value *v) {
    if (!v) return false;
    if (v->kind == TPL_STR) return print_text(r, v->s);
    if (r->captures) return slv_tpl_add_value(r, v);
    size_t mark = slv_tpl_begin(r);
    if (!slv_tpl_add_value(r, v)) return false;
    struct tpl_text s = {r->scratch.data + mark, r->scratch.len - mark};
    r->scratch.len = mark;
    return print_text(r, s);
}

/* --- macros ----------------------------------------------------------------------------------- */

/* The keyword argument of that name, which is then used up; NULL if it was not given. */
static struct slv_value *take(const struct tpl_args *a, bool *used, struct tpl_text name) {
    for (size_t i = 0; i < a->nkw; i++) {
        if (used[i] || a->names[i]->s.n != name.n) continue;
        if (memcmp(a->names[i]->s.p, name.p, name.n) != 0) continue;
        used[i] = true;
        return a->kw[i];
    }
    return NULL;
}

static bool bind_rest(struct tpl_run *r, const struct tpl_sig *sig, const struct tpl_args *a,
                      const bool *used) {
    struct slv_value *rest = sig->kwargs ? slv_value_dict(&r->mem) : NULL;
    const char *name = sig->name ? sig->name : "caller";
    if (sig->kwargs && !rest) return false;
    for (size_t i = 0; i < a->nkw; i++) {
        if (used[i]) continue;
        if (!rest) {
            slv_tpl_fail(r, "macro '%.100s' takes no keyword argument '%.*s'", name,
                         (int)(a->names[i]->s.n < 100 ? a->names[i]->s.n : 100), a->names[i]->s.p);
            return false;
        }
        if (!slv_tpl_put(r, &r->mem, rest->dict, a->names[i], a->kw[i])) return false;
    }
    if (rest && !slv_tpl_bind(r, sig->kwargs_id, rest)) return false;
    if (!sig->varargs && a->n > sig->n) {
        slv_tpl_fail(r, "macro '%.100s' takes not more than %zu argument(s)", name, sig->n);
        return false;
    }
    if (!sig->varargs) return true;
    struct slv_value *more = slv_tpl_list(&r->mem, TPL_TUPLE, a->n);
    for (size_t i = sig->n; more && i < a->n; i++)
        more->list->v[more->list->n++] = a->v[i];
    return more && slv_tpl_bind(r, sig->varargs_id, more);
}

/* Parameters are bound first, those not given as unset; then defaults are evaluated in order. */
static bool bind_args(struct tpl_run *r, const struct tpl_sig *sig, const struct tpl_args *a) {
    bool *used = slv_tpl_alloc(&r->mem, a->nkw);
    size_t i = 0;
    if (!used) return false;
    for (const struct tpl_node *n = sig->params; n; n = n->next, i++) {
        struct slv_value *v = i < a->n ? a->v[i] : take(a, used, n->val->s);
        if (!slv_tpl_pay(r, a->nkw) || !slv_tpl_bind(r, n->id, v)) return false;
    }
    if (sig->caller) {
        struct slv_value *v = take(a, used, (struct tpl_text){"caller", 6});
        if (!v || v->kind == TPL_NONE) v = &slv_tpl_undef;
        if (!slv_tpl_bind(r, sig->caller_id, v)) return false;
    }
    if (!bind_rest(r, sig, a, used)) return false;
    for (const struct tpl_node *n = sig->params; n; n = n->next) {
        if (find(r->frame, n->id)->v) continue;
        struct slv_value *v = n->a ? slv_tpl_eval(r, n->a) : n->val;
        if (!v || !slv_tpl_bind(r, n->id, v)) return false;
    }
    return true;
}

struct slv_value *slv_tpl_call_macro(struct tpl_run *r, const struct tpl_macro *m,
                                     const struct tpl_args *a) {
    struct tpl_frame *caller = r->frame;
    if (!slv_tpl_enter(r)) return NULL;
    size_t mark = slv_tpl_capture(r);
    r->frame = slv_tpl_frame(r, m->frame);
    if (!r->frame || !bind_args(r, m->sig, a) || !slv_tpl_exec(r, m->body)) return NULL;
    r->frame = caller;
    slv_tpl_leave(r);
    return slv_tpl_captured(r, mark);
}

static struct slv_value *make_macro(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = slv_tpl_new(&r->mem, TPL_MACRO);
    struct tpl_macro *m = v ? slv_tpl_alloc(&r->mem, sizeof *m) : NULL;
    if (!m) return NULL;
    *m = (struct tpl_macro){n->sig, n->body, r->frame};
    v->macro = m;
    return v;
}

/* --- statements ------------------------------------------------------------------------------- */

static bool exec_data(struct tpl_run *r, const struct tpl_node *n) {
    return print_text(r, n->val->s);
}

static bool exec_print(struct tpl_run *r, const struct tpl_node *n) {
    return print(r, slv_tpl_eval(r, n->a));
}

static bool exec_if(struct tpl_run *r, const struct tpl_node *n) {
    for (;;) {
        struct slv_value *v = slv_tpl_eval(r, n->a);
        bool yes = v && slv_tpl_truth(r, v);
        if (!v || r->rc) return false;
        if (yes) return slv_tpl_exec(r, n->b);
        /* A chain of elif is walked, not descended into. */
        if (!n->c || n->c->op != OP_IF || n->c->next) return slv_tpl_exec(r, n->c);
        n = n->c;
    }
}

static bool exec_for(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *src = slv_tpl_eval(r, n->b);
    return src && slv_tpl_exec_for(r, n, src, 0);
}

static bool exec_set(struct tpl_run *r, const struct tpl_node *n) {
    if (!check_targets(r, n->a)) return false;
    struct slv_value *v = slv_tpl_eval(r, n->b);
    return v && slv_tpl_assign(r, n->a, v);
}

/* The text of a body in a frame of its own, through filters. */
static struct slv_value *captured_body(struct tpl_run *r, const struct tpl_node *n,
                                       const struct tpl_node *filters) {
    struct tpl_frame *outside = r->frame;
    size_t mark = slv_tpl_capture(r);
    r->frame = slv_tpl_frame(r, outside);
    if (!r->frame || !slv_tpl_exec(r, n->body)) return NULL;
    struct slv_value *v = slv_tpl_captured(r, mark);
    if (v && filters && r->flow == FLOW_ON) v = slv_tpl_filtered(r, filters, v);
    r->frame = outside;
    return v;
}

static bool exec_set_block(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = captured_body(r, n, n->b);
    return v && (r->flow != FLOW_ON || slv_tpl_assign(r, n->a, v));
}

static bool exec_filter_block(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = captured_body(r, n, n->a);
    return v && (r->flow != FLOW_ON || print(r, v));
}

static bool exec_macro(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *v = make_macro(r, n);
    return v && slv_tpl_bind(r, n->id, v);
}

static bool exec_call_block(struct tpl_run *r, const struct tpl_node *n) {
    struct slv_value *caller = make_macro(r, n);
    return caller && print(r, slv_tpl_eval_call(r, n->a, caller));
}

static bool exec_generation(struct tpl_run *r, const struct tpl_node *n) {
    const struct tpl_macro m = {n->sig, n->body, r->frame};
    const struct tpl_args none = {0};
    return print(r, slv_tpl_call_macro(r, &m, &none));
}

static bool exec_with(struct tpl_run *r, const struct tpl_node *n) {
    struct tpl_frame *outside = r->frame, *inside = slv_tpl_frame(r, outside);
    if (!inside) return false;
    const struct tpl_node *value = n->b;
    for (const struct tpl_node *t = n->a; t; t = t->next, value = value->next) {
        struct slv_value *v = slv_tpl_eval(r, value);
        if (!v) return false;
        r->frame = inside;
        if (!slv_tpl_assign(r, t, v)) return false;
        r->frame = outside;
    }
    r->frame = inside;
    bool ok = slv_tpl_exec(r, n->body);
    r->frame = outside;
    return ok;
}

static bool exec_break(struct tpl_run *r, const struct tpl_node *n) {
    (void)n;
    r->flow = FLOW_BREAK;
    return true;
}

static bool exec_continue(struct tpl_run *r, const struct tpl_node *n) {
    (void)n;
    r->flow = FLOW_CONTINUE;
    return true;
}

typedef bool (*exec_fn)(struct tpl_run *r, const struct tpl_node *n);

static const exec_fn execs[] = {
    [OP_DATA] = exec_data,
    [OP_PRINT] = exec_print,
    [OP_IF] = exec_if,
    [OP_FOR] = exec_for,
    [OP_SET] = exec_set,
    [OP_SETBLOCK] = exec_set_block,
    [OP_MACRO] = exec_macro,
    [OP_CALLBLOCK] = exec_call_block,
    [OP_GENERATION] = exec_generation,
    [OP_FILTERBLOCK] = exec_filter_block,
    [OP_WITH] = exec_with,
    [OP_BREAK] = exec_break,
    [OP_CONTINUE] = exec_continue,
};

bool slv_tpl_exec(struct tpl_run *r, const struct tpl_node *body) {
    if (!slv_tpl_enter(r)) return false;
    for (; body && r->flow == FLOW_ON; body = body->next) {
        r->line = body->line;
        if (!slv_tpl_pay(r, 1) || !execs[body->op](r, body)) return false;
    }
    slv_tpl_leave(r);
    return true;
}

/* --- rendering -------------------------------------------------------------------------------- */

/* Fills the top level's table: what the caller gave, then the global functions. */
static bool fill_root(struct tpl_run *r) {
    const struct tpl_dict *ids = r->t->ids->dict;
    r->root = slv_tpl_alloc(&r->mem, (ids->n + 1) * sizeof *r->root);
    if (!r->root) return false;
    for (size_t i = 0; i < ids->n; i++) {
        const struct tpl_text name = ids->e[i].key->s;
        struct slv_value *v = slv_tpl_get_str(r->given, r->given->names->dict, name.p, name.n);
        const struct tpl_def *def = v ? NULL : slv_tpl_global(name.p, name.n);
        if (def) {
            v = slv_tpl_new(&r->mem, TPL_FUNC);
            if (!v) return false;
            v->func = def;
        }
        r->root[i] = v;
    }
    for (size_t i = 0; i < r->t->hidden_n; i++)
        r->root[r->t->hidden[i]] = NULL;
    return true;
}

int slv_template_render(const struct slv_template *t, struct slv_scope *s, struct slv_buf *out,
                        struct slv_err *err) {
    struct tpl_run r = {
        .t = t, .given = s, .out = out, .steps = TPL_STEPS_MAX, .line = 1, .err = err};
    slv_tpl_scope_init(&r.mem, TPL_RUN_MAX);
    r.mem.seed = s->seed; /* dicts of both are looked into with one hash */
    r.mem.clock = s->clock;
    slv_buf_init(&r.scratch, TPL_STR_MAX);
    bool ok = fill_root(&r) && slv_tpl_exec(&r, t->body);
    if (!r.rc && (!ok || r.mem.failed))
        r.rc = r.mem.full
                   ? slv_err_set(err, SLV_E_LIMIT, "line %u: the template takes too much memory",
                                 (unsigned)r.line)
                   : slv_err_set(err, SLV_E_NOMEM, "chat template: memory is out");
    slv_buf_fini(&r.scratch);
    slv_arena_fini(&r.mem.arena);
    return r.rc;
}
