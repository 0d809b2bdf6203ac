/* tpl_loop.c: the for statement and the loop object, as Jinja's LoopContext.
 *
 * Elements come from an iterator one by one; loop.last looks one ahead, loop.length reads what is
 * left when the iterable does not know its length. All rounds of a loop share one frame, emptied
 * between rounds, as macros defined inside see the names of the last round. */
#include "format/template_impl.h"

#include <string.h>

/* --- the object ------------------------------------------------------------------------------- */

static int advance(struct tpl_run *r, struct tpl_loop *l) {
    struct slv_value *v = l->after;
    int got = 1;
    if (l->have_after) {
        l->have_after = false;
        got = v != NULL;
    } else {
        got = l->ended ? 0 : slv_tpl_next(r, l->it, &v);
    }
    if (got != 1) return got;
    l->index0++;
    l->before = l->current;
    l->current = v;
    return 1;
}

/* The element after this one in *ret, NULL at the end. */
static bool peek(struct tpl_run *r, struct tpl_loop *l, struct slv_value **ret) {
    if (!l->have_after || !l->after) {
        int got = slv_tpl_next(r, l->it, &l->after);
        if (got < 0) return false;
        if (got == 0) l->after = NULL;
        l->have_after = got == 1;
        l->ended = got == 0;
    }
    *ret = l->after;
    return true;
}

static bool length(struct tpl_run *r, struct tpl_loop *l, int64_t *ret) {
    size_t n;
    if (l->length < 0 && l->src && l->src->kind != TPL_ITER) {
        if (!slv_tpl_len(r, l->src, &n)) return false;
        l->length = (int64_t)n;
    } else if (l->length < 0) {
        struct slv_value *rest = slv_tpl_iter_value(r, l->it);
        rest = rest ? slv_tpl_collect(r, rest, TPL_LIST) : NULL;
        l->it = rest ? slv_tpl_iter(r, rest) : NULL;
        if (!l->it) return false;
        l->length = (int64_t)rest->list->n + l->index0 + 1 + l->have_after;
    }
    *ret = l->length;
    return true;
}

static struct slv_value *loop_field(struct tpl_run *r, struct tpl_loop *l,
                                    const struct slv_value *name) {
    int64_t n;
    struct slv_value *v;
    if (slv_tpl_text_is(name, "index")) return slv_tpl_int(r, l->index0 + 1);
    if (slv_tpl_text_is(name, "index0")) return slv_tpl_int(r, l->index0);
    if (slv_tpl_text_is(name, "first")) return slv_tpl_bool(l->index0 == 0);
    if (slv_tpl_text_is(name, "depth")) return slv_tpl_int(r, l->depth0 + 1);
    if (slv_tpl_text_is(name, "depth0")) return slv_tpl_int(r, l->depth0);
    if (slv_tpl_text_is(name, "previtem"))
        return l->index0 == 0 || !l->before ? &slv_tpl_undef : l->before;
    bool last = slv_tpl_text_is(name, "last");
    if (last || slv_tpl_text_is(name, "nextitem")) {
        if (!peek(r, l, &v)) return NULL;
        return last ? slv_tpl_bool(!v) : v ? v : &slv_tpl_undef;
    }
    bool rev0 = slv_tpl_text_is(name, "revindex0"), rev = slv_tpl_text_is(name, "revindex");
    if (!rev0 && !rev && !slv_tpl_text_is(name, "length")) return NULL;
    if (!length(r, l, &n)) return NULL;
    return slv_tpl_int(r, rev0 ? n - l->index0 - 1 : rev ? n - l->index0 : n);
}

static struct slv_value *macro_field(struct tpl_run *r, const struct tpl_sig *sig,
                                     const struct slv_value *name) {
    if (slv_tpl_text_is(name, "name"))
        return sig->name ? slv_tpl_cstr(&r->mem, sig->name) : &slv_tpl_none;
    if (slv_tpl_text_is(name, "catch_kwargs")) return slv_tpl_bool(sig->kwargs);
    if (slv_tpl_text_is(name, "catch_varargs")) return slv_tpl_bool(sig->varargs);
    if (slv_tpl_text_is(name, "caller")) return slv_tpl_bool(sig->caller);
    if (!slv_tpl_text_is(name, "arguments")) return NULL;
    struct slv_value *list = slv_tpl_list(&r->mem, TPL_TUPLE, sig->n);
    for (const struct tpl_node *n = sig->params; list && n; n = n->next)
        if (!slv_tpl_push(&r->mem, list, slv_tpl_view(&r->mem, n->val->s.p, n->val->s.n)))
            return NULL;
    return list;
}

struct slv_value *slv_tpl_field(struct tpl_run *r, struct slv_value *v,
                                const struct slv_value *name) {
    if (v->kind == TPL_LOOP) return loop_field(r, v->loop, name);
    if (v->kind == TPL_MACRO) return macro_field(r, v->macro->sig, name);
    if (v->kind == TPL_TUPLE && v->grouped) {
        if (slv_tpl_text_is(name, "grouper")) return v->list->v[0];
        if (slv_tpl_text_is(name, "list")) return v->list->v[1];
    }
    if (v->kind != TPL_CYCLER) return NULL;
    const struct tpl_cycle *c = v->cycle;
    if (slv_tpl_text_is(name, "current")) return c->items.v[c->pos];
    return slv_tpl_text_is(name, "pos") ? slv_tpl_int(r, (int64_t)c->pos) : NULL;
}

static struct slv_value *loop_cycle(struct tpl_run *r, struct slv_value *self,
                                    const struct tpl_args *a) {
    if (a->nkw) return slv_tpl_fail(r, "cycle() takes no keyword arguments");
    if (!a->n) return slv_tpl_fail(r, "no items for cycling given");
    return a->v[(size_t)self->loop->index0 % a->n];
}

static struct slv_value *loop_changed(struct tpl_run *r, struct slv_value *self,
                                      const struct tpl_args *a) {
    struct tpl_loop *l = self->loop;
    struct slv_value *now = slv_tpl_list(&r->mem, TPL_TUPLE, a->n);
    if (a->nkw) return slv_tpl_fail(r, "changed() takes no keyword arguments");
    for (size_t i = 0; now && i < a->n; i++)
        now->list->v[now->list->n++] = a->v[i];
    int same = !now ? -1 : l->changed ? slv_tpl_equal(r, l->changed, now) : 0;
    if (same < 0) return NULL;
    l->changed = now;
    return slv_tpl_bool(!same);
}

const struct tpl_def slv_tpl_loop_methods[] = {
    {"cycle", loop_cycle, 0, 0, "*", true},
    {"changed", loop_changed, 0, 0, "*", true},
    {NULL, NULL, 0, 0, "", false},
};

static struct slv_value *cycler_next(struct tpl_run *r, struct slv_value *self,
                                     const struct tpl_args *a) {
    struct tpl_cycle *c = self->cycle;
    struct slv_value *v = c->items.v[c->pos];
    (void)r, (void)a;
    c->pos = (c->pos + 1) % c->items.n;
    return v;
}

static struct slv_value *cycler_reset(struct tpl_run *r, struct slv_value *self,
                                      const struct tpl_args *a) {
    (void)r, (void)a;
    self->cycle->pos = 0;
    return &slv_tpl_none;
}

const struct tpl_def slv_tpl_cycler_methods[] = {
    {"next", cycler_next, 0, 0, "", true},
    {"reset", cycler_reset, 0, 0, "", true},
    {NULL, NULL, 0, 0, "", false},
};

/* --- the statement ---------------------------------------------------------------------------- */

/* Elements for which the loop's own test holds; it sees the target's names and those outside. */
static int next_tested(struct tpl_run *r, struct tpl_iter *it, struct slv_value **ret) {
    struct tpl_frame *outside = r->frame;
    int got;
    while ((got = slv_tpl_next(r, it->inner, ret)) == 1) {
        it->frame->n = 0;
        r->frame = it->frame;
        bool ok = slv_tpl_assign(r, it->node->a, *ret);
        struct slv_value *v = ok ? slv_tpl_eval(r, it->node->c) : NULL;
        bool yes = v && slv_tpl_truth(r, v);
        r->frame = outside;
        if (!v || r->rc) return -1;
        if (yes) return 1;
    }
    return got;
}

static struct tpl_iter *elements(struct tpl_run *r, const struct tpl_node *n,
                                 struct slv_value *src) {
    struct tpl_iter *it = slv_tpl_iter(r, src);
    if (!it || !n->c) return it;
    struct tpl_iter *tested = slv_tpl_iter_new(r, next_tested);
    if (!tested) return NULL;
    tested->inner = it;
    tested->node = n;
    tested->frame = slv_tpl_frame(r, r->frame);
    return tested->frame ? tested : NULL;
}

/* The rounds. *ret_whole: at least one ran to its end, which is what keeps else from running. */
static bool rounds(struct tpl_run *r, const struct tpl_node *n, struct slv_value *loop,
                   bool *ret_whole) {
    struct tpl_frame *frame = slv_tpl_frame(r, r->frame), *outside = r->frame;
    int got = -1;
    *ret_whole = false;
    if (!frame) return false;
    while ((got = advance(r, loop->loop)) == 1) {
        frame->n = 0;
        r->frame = frame;
        if (!slv_tpl_assign(r, n->a, loop->loop->current) ||
            !slv_tpl_bind(r, r->t->loop_id, loop) || !slv_tpl_exec(r, n->body))
            return false;
        r->frame = outside;
        if (r->flow == FLOW_ON) *ret_whole = true;
        bool stop = r->flow == FLOW_BREAK;
        r->flow = FLOW_ON;
        if (stop) break;
    }
    return got >= 0;
}

bool slv_tpl_exec_for(struct tpl_run *r, const struct tpl_node *n, struct slv_value *src,
                      int64_t depth0) {
    bool whole;
    struct slv_value *loop = slv_tpl_new(&r->mem, TPL_LOOP);
    struct tpl_loop *l = loop ? slv_tpl_alloc(&r->mem, sizeof *l) : NULL;
    if (!l) return false;
    *l = (struct tpl_loop){
        .src = n->c ? NULL : src, .index0 = -1, .depth0 = depth0, .length = -1, .frame = r->frame};
    l->node = n->flag ? n : NULL;
    l->it = elements(r, n, src);
    loop->loop = l;
    if (!l->it || !rounds(r, n, loop, &whole)) return false;
    if (whole || !n->orelse) return true;
    struct tpl_frame *outside = r->frame;
    r->frame = slv_tpl_frame(r, outside);
    if (!r->frame || !slv_tpl_exec(r, n->orelse)) return false;
    r->frame = outside;
    return true;
}

struct slv_value *slv_tpl_call_loop(struct tpl_run *r, const struct tpl_loop *l,
                                    const struct tpl_args *a) {
    if (a->n != 1 || a->nkw) return slv_tpl_fail(r, "a loop is called with one iterable");
    if (!l->node)
        return slv_tpl_fail(r, "The loop must have the 'recursive' marker to be called "
                               "recursively.");
    struct tpl_frame *caller = r->frame;
    if (!slv_tpl_enter(r)) return NULL;
    size_t mark = slv_tpl_capture(r);
    r->frame = l->frame;
    if (!slv_tpl_exec_for(r, l->node, a->v[0], l->depth0 + 1)) return NULL;
    r->frame = caller;
    slv_tpl_leave(r);
    return slv_tpl_captured(r, mark);
}
