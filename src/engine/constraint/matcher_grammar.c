/* matcher_grammar.c: how a text goes through a grammar's network: see matcher.h.
 *
 * A thread stands in a terminal, before a token or before a value; what contains it are frames,
 * one for each rule that was entered and is to be gone on from. After each byte all nodes that are
 * reached without another byte are gone through, each once for all places it was reached from: a
 * rule that is entered in several ways at one place of the text is entered once, its frame has
 * several containers (Tomita's stack, as for values). A rule's last call needs no frame of its
 * own, so lists that recur on their right take no depth.
 *
 * Rules that may be empty are passed where they are called (Aycock and Horspool, "Practical Earley
 * Parsing", The Computer Journal 45, 2002): a frame that was made in this step is not returned to
 * in it, and may still get containers. */
#include "engine/constraint/grammar.h"
#include "engine/constraint/matcher_int.h"
#include "base/mem.h"

#include <string.h>

/* Those of b that a does not have. */
static const struct places *fresh(struct slv_matcher *m, const struct places *a,
                                  const struct places *b) {
    const struct places *r = NULL;
    for (; b; b = b->next) {
        const struct places *x = a;
        uint64_t n = 1;
        for (; x && x->f != b->f; n++)
            x = x->next;
        if (!slv_way_spend(m, n)) return r;
        if (!x) r = slv_way_join(m, r, slv_way_in(m, b->f));
    }
    return r;
}

/* A node is reached from these places; it is gone on with when its turn comes. */
static void reach(struct slv_matcher *m, uint32_t node, const struct places *up) {
    struct reached *r = &m->reached[node];
    if (r->step != m->n_steps) *r = (struct reached){m->n_steps, up, NULL};
    else {
        up = fresh(m, r->up, up);
        if (!up) return;
        r->up = slv_way_join(m, r->up, up);
    }
    const int rc = slv_mem_grow((void **)&m->queue, m->n_queue, &m->cap_queue, sizeof *m->queue,
                                SIZE_MAX / 64);
    if (rc) (void)slv_way_fail(m, rc);
    else m->queue[m->n_queue++] = (struct waiting){node, up};
}

/* The frame of this step to go on from at node `at`, in these places too; *ret_new: it was made. */
static const struct frame *entered(struct slv_matcher *m, uint32_t at, const struct places *up,
                                   const struct slv_schema *s, bool *ret_new) {
    struct reached *r = &m->reached[at];
    *ret_new = !r->f;
    if (r->f) {
        r->f->up = slv_way_join(m, r->f->up, up);
        return r->f;
    }
    struct frame *f = slv_way_bump(m, sizeof *f);
    if (!f) return NULL;
    f->up = up;
    f->s = s;
    f->node = m->g->nodes[at].next;
    f->born = m->n_steps;
    r->f = f;
    return f;
}

static void call(struct slv_matcher *m, uint32_t at, const struct places *up) {
    const struct slv_gnode *k = &m->g->nodes[at];
    const struct slv_grule *rule = &m->g->rules[k->other];
    bool made;
    if (k->next == SLV_G_ACCEPT_NODE) {
        reach(m, rule->start, up);
        return;
    }
    const struct frame *f = entered(m, at, up, NULL, &made);
    if (f && made) reach(m, rule->start, slv_way_in(m, f));
    if (f && rule->nullable) reach(m, k->next, up);
}

static void before_value(struct slv_matcher *m, uint32_t at, const struct places *up) {
    const struct slv_schema *s = m->g->schemas[m->g->nodes[at].other];
    bool made;
    const struct frame *f = entered(m, at, up, s, &made);
    if (!f || !made) return;
    struct thread t = {.state = S_VALUE, .up = slv_way_in(m, f)};
    t.spec = s->root;
    slv_way_put(m, &t);
}

static void accept(struct slv_matcher *m, const struct places *up) {
    for (; up; up = up->next)
        if (up->f->born != m->n_steps) reach(m, up->f->node, up->f->up);
}

static void go_on(struct slv_matcher *m, uint32_t at, const struct places *up) {
    const struct slv_gnode *k = &m->g->nodes[at];
    struct thread t = {.state = S_TERM, .family = at, .up = up};
    switch ((enum slv_gnode_kind)k->kind) {
    case SLV_G_ACCEPT:
        accept(m, up);
        return;
    case SLV_G_END:
        t = (struct thread){.state = S_END};
        slv_way_put(m, &t);
        return;
    case SLV_G_SPLIT:
        reach(m, k->next, up);
        reach(m, k->other, up);
        return;
    case SLV_G_TERM:
        t.string.lang = k->lang;
        slv_way_put(m, &t);
        if (slv_lang_nullable(m->p, k->lang)) reach(m, k->next, up);
        return;
    case SLV_G_TOKEN:
        t.state = S_TOKEN;
        slv_way_put(m, &t);
        return;
    case SLV_G_JSON:
        before_value(m, at, up);
        return;
    case SLV_G_CALL:
        call(m, at, up);
        return;
    case SLV_G_NONE:
        return;
    }
}

static void go_on_all(struct slv_matcher *m) {
    for (size_t i = 0; i < m->n_queue && slv_way_spend(m, 1); i++)
        go_on(m, m->queue[i].node, m->queue[i].up);
    m->n_queue = 0;
}

void slv_way_begin(struct slv_matcher *m) {
    struct frame *f = slv_way_bump(m, sizeof *f);
    if (!f) return;
    f->node = SLV_G_END_NODE;
    m->n_steps++;
    reach(m, m->g->rules[m->g->start].start, slv_way_in(m, f));
    go_on_all(m);
}

void slv_way_return(struct slv_matcher *m, const struct frame *f) {
    reach(m, f->node, f->up);
    go_on_all(m);
}

void slv_way_term(struct slv_matcher *m, const struct thread *t, unsigned char c) {
    struct thread next = *t;
    if (!slv_text_byte(m->p, &next.string, c)) return;
    if (next.string.lang != SLV_LANG_EMPTY) slv_way_put(m, &next);
    if (next.string.part || !slv_lang_nullable(m->p, next.string.lang)) return;
    reach(m, m->g->nodes[t->family].next, t->up);
    go_on_all(m);
}

/* --- tokens ----------------------------------------------------------------------------------- */

bool slv_matcher_text(const struct slv_matcher *m, size_t way, struct slv_string_at *ret) {
    const struct thread *t = &m->v[m->first + way];
    if (t->state != S_TERM) return false;
    *ret = t->string;
    return true;
}

bool slv_matcher_token(const struct slv_matcher *m, size_t way, int32_t *ret) {
    const struct thread *t = &m->v[m->first + way];
    if (t->state != S_TOKEN) return false;
    *ret = m->g->nodes[t->family].token;
    return true;
}

bool slv_matcher_try_token(struct slv_matcher *m, int32_t id) {
    const size_t first = m->first, n = m->n, chunk = m->room.chunk, used = m->room.used;
    m->first = n;
    m->n_steps++;
    for (size_t i = first; i < n && !m->status; i++) {
        const struct thread t = m->v[i];
        if (t.state != S_TOKEN || m->g->nodes[t.family].token != id) continue;
        reach(m, m->g->nodes[t.family].next, t.up);
        go_on_all(m);
    }
    if (m->n > m->first && !m->status) return true;
    m->first = first;
    m->n = n;
    m->room.chunk = chunk;
    m->room.used = used;
    return false;
}
