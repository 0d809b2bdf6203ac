/* grammar.c: see grammar.h.
 *
 * References are looked up; expressions that are languages become such; the others become nodes,
 * each list from its end to its beginning. What is asked of the network then (does a rule have a
 * string; may it be empty) goes backwards through it from where rules end, so that each edge is
 * looked at once. */
#include "engine/constraint/grammar_int.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct work {
    struct slv_gtext x;
    struct slv_grammar *g;
    const struct slv_gdef **sorted;
    const struct slv_gdef *at; /* the rule that nodes are made of */
    unsigned depth;
};

static int name_cmp(const char *a, size_t na, const char *b, size_t nb) {
    const int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : na < nb ? -1 : na > nb;
}

static int shown(size_t n) { return n < 100 ? (int)n : 100; }

/* --- names ------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b) {
    const struct slv_gdef *x = *(const struct slv_gdef *const *)a;
    const struct slv_gdef *y = *(const struct slv_gdef *const *)b;
    return name_cmp(x->name, x->n, y->name, y->n);
}

static int sort_names(struct work *w) {
    struct slv_gtext *x = &w->x;
    w->sorted = slv_mem_calloc(x->n_defs, sizeof *w->sorted);
    if (!w->sorted) return slv_gtext_fail(x, SLV_E_NOMEM, "out of memory") == NULL;
    for (size_t i = 0; i < x->n_defs; i++)
        w->sorted[i] = &x->defs[i];
    qsort(w->sorted, x->n_defs, sizeof *w->sorted, by_name);
    for (size_t i = 1; i < x->n_defs; i++) {
        const struct slv_gdef *d = w->sorted[i];
        if (by_name(&w->sorted[i - 1], &w->sorted[i]) == 0)
            slv_gtext_fail(x, SLV_E_FORMAT, "rule %.*s is defined twice", shown(d->n), d->name);
    }
    return x->rc;
}

static const struct slv_gdef *find_def(const struct work *w, const char *name, size_t n) {
    const struct slv_gdef key = {.name = name, .n = n}, *k = &key;
    const struct slv_gdef *const *at =
        bsearch(&k, w->sorted, w->x.n_defs, sizeof *w->sorted, by_name);
    return at ? *at : NULL;
}

static void resolve(struct work *w) {
    struct slv_gtext *x = &w->x;
    const char *start = x->gbnf ? "root" : "start";
    for (struct slv_gexpr *e = x->refs; e; e = e->ref_next) {
        const struct slv_gdef *d = find_def(w, e->ref.name, e->ref.n);
        if (d) e->what = (uint32_t)(d - x->defs);
        else
            slv_gtext_fail(x, SLV_E_FORMAT, "there is no rule %.*s, which a rule refers to",
                           shown(e->ref.n), e->ref.name);
    }
    const struct slv_gdef *d = find_def(w, start, strlen(start));
    if (d) w->g->start = (uint32_t)(d - x->defs);
    else slv_gtext_fail(x, SLV_E_FORMAT, "there is no rule %s, where an answer begins", start);
}

/* --- languages -------------------------------------------------------------------------------- */

static uint32_t rule_size(struct work *w, uint32_t rule);

static uint32_t plus(uint32_t a, uint32_t b) {
    return !a || !b || a + b > SLV_GRAMMAR_MAX_LANGUAGE ? 0 : a + b;
}

/* Parts of the language that e is; 0: it is none. */
static uint32_t size_of(struct work *w, const struct slv_gexpr *e) {
    uint32_t n = 1;
    if (e->kind == E_LANG) return 1;
    if (e->kind == E_TOKEN || e->kind == E_JSON) return 0;
    if (++w->depth > SLV_GRAMMAR_MAX_WALK) {
        slv_gtext_fail(&w->x, SLV_E_LIMIT, "rules refer to rules too deep");
        n = 0;
    }
    if (e->kind == E_REF) n = n ? rule_size(w, e->what) : 0;
    for (const struct slv_gexpr *k = e->first; k && n && e->kind != E_REF; k = k->next)
        n = plus(n, size_of(w, k));
    w->depth--;
    return n;
}

/* Expressions inside each other, where e is a language. */
static uint32_t deep(const struct work *w, const struct slv_gexpr *e) {
    uint32_t r = e->kind == E_REF ? w->x.defs[e->what].deep : 0;
    for (const struct slv_gexpr *k = e->first; k; k = k->next) {
        const uint32_t d = deep(w, k);
        r = d > r ? d : r;
    }
    return r + 1;
}

static uint32_t rule_size(struct work *w, uint32_t rule) {
    struct slv_gdef *d = &w->x.defs[rule];
    if (d->state == 2) return d->size;
    if (d->state == 1) return 0; /* it comes round to itself */
    d->state = 1;
    d->size = size_of(w, d->body);
    d->state = 2;
    d->deep = d->size ? deep(w, d->body) : 0;
    if (d->deep > SLV_GRAMMAR_MAX_NESTING)
        slv_gtext_fail(&w->x, SLV_E_LIMIT, "rule %.*s refers to rules that refer to rules too deep",
                       shown(d->n), d->name);
    return d->size;
}

static slv_lang lang_of(struct work *w, const struct slv_gexpr *e);

static slv_lang rule_lang(struct work *w, uint32_t rule) {
    struct slv_gdef *d = &w->x.defs[rule];
    if (d->lang == SLV_LANG_NONE) d->lang = lang_of(w, d->body);
    return d->lang;
}

/* Halves joined, so that tables of words are copied few times. */
static slv_lang any_of(struct slv_langs *p, const slv_lang *v, size_t n) {
    if (n == 1) return v[0];
    return slv_lang_or(p, any_of(p, v, n / 2), any_of(p, v + n / 2, n - n / 2));
}

static slv_lang lang_of_list(struct work *w, const struct slv_gexpr *e) {
    struct slv_langs *p = w->g->p;
    slv_lang few[16], *v = few, r = SLV_LANG_EMPTY;
    size_t n = 0;
    for (const struct slv_gexpr *k = e->first; k; k = k->next)
        n++;
    if (n > 16) v = slv_mem_calloc(n, sizeof *v);
    if (!v) {
        slv_gtext_fail(&w->x, SLV_E_NOMEM, "out of memory");
        return SLV_LANG_FAIL;
    }
    size_t i = 0;
    for (const struct slv_gexpr *k = e->first; k; k = k->next)
        v[i++] = lang_of(w, k);
    if (e->kind == E_ALT) r = any_of(p, v, n);
    else
        while (n--)
            r = slv_lang_concat(p, v[n], r);
    if (v != few) slv_mem_free(v);
    return r;
}

static slv_lang lang_of(struct work *w, const struct slv_gexpr *e) {
    switch (e->kind) {
    case E_LANG:
        return e->lang;
    case E_REF:
        return rule_lang(w, e->what);
    case E_REPEAT:
        return slv_lang_repeat(w->g->p, lang_of(w, e->first), e->lo, e->hi);
    case E_SEQ:
    case E_ALT:
        return lang_of_list(w, e);
    case E_TOKEN:
    case E_JSON:
        break;
    }
    return SLV_LANG_FAIL;
}

static void check_terminals(struct work *w) {
    for (uint32_t i = 0; i < w->x.n_defs && !w->x.rc; i++) {
        const struct slv_gdef *d = &w->x.defs[i];
        if (rule_size(w, i) || !d->terminal || w->x.rc) continue;
        slv_gtext_fail(&w->x, SLV_E_UNSUPPORTED,
                       "terminal %.*s: it is made of literals, patterns and other terminals, "
                       "at most %u, and not of itself",
                       shown(d->n), d->name, SLV_GRAMMAR_MAX_LANGUAGE);
    }
}

/* --- nodes ------------------------------------------------------------------------------------ */

static uint32_t build(struct work *w, const struct slv_gexpr *e, uint32_t next);

static uint32_t node(struct work *w, struct slv_gnode k) {
    struct slv_grammar *g = w->g;
    if (w->x.rc) return SLV_G_ACCEPT_NODE;
    const int rc = slv_mem_grow((void **)&g->nodes, g->n_nodes, &g->cap_nodes, sizeof *g->nodes,
                                SLV_GRAMMAR_MAX_NODES);
    if (rc) {
        slv_gtext_fail(&w->x, rc, "the grammar has too many places, its repetitions written out");
        return SLV_G_ACCEPT_NODE;
    }
    g->nodes[g->n_nodes] = k;
    return (uint32_t)g->n_nodes++;
}

static uint32_t split(struct work *w, uint32_t next, uint32_t other) {
    return node(w, (struct slv_gnode){.kind = SLV_G_SPLIT, .next = next, .other = other});
}

static uint32_t term(struct work *w, slv_lang lang, uint32_t next) {
    if (lang == SLV_LANG_EMPTY) return next;
    if (lang != SLV_LANG_FAIL && slv_lang_size(w->g->p, lang) > SLV_LANG_MAX_SIZE)
        slv_gtext_fail(&w->x, SLV_E_LIMIT,
                       "%s%.*s: its repetitions multiply to more than %u places",
                       w->at ? "rule " : "", w->at ? shown(w->at->n) : 0, w->at ? w->at->name : "",
                       SLV_LANG_MAX_SIZE);
    return node(w, (struct slv_gnode){.kind = SLV_G_TERM, .next = next, .lang = lang});
}

static uint32_t build_sequence(struct work *w, const struct slv_gexpr *e, uint32_t next) {
    const struct slv_gexpr *few[16], **v = few;
    size_t n = 0;
    for (const struct slv_gexpr *k = e->first; k; k = k->next)
        n++;
    if (n > 16) v = slv_mem_calloc(n, sizeof *v);
    if (!v) {
        slv_gtext_fail(&w->x, SLV_E_NOMEM, "out of memory");
        return next;
    }
    n = 0;
    for (const struct slv_gexpr *k = e->first; k; k = k->next)
        v[n++] = k;
    while (n--)
        next = build(w, v[n], next);
    if (v != few) slv_mem_free(v);
    return next;
}

static uint32_t build_repeat(struct work *w, const struct slv_gexpr *e, uint32_t next) {
    uint32_t at = next;
    if (e->hi == SLV_LANG_INF) {
        at = split(w, next, next);
        const uint32_t again = build(w, e->first, at);
        if (!w->x.rc) w->g->nodes[at].next = again;
    }
    for (uint32_t i = e->lo; i < e->hi && e->hi != SLV_LANG_INF && !w->x.rc; i++)
        at = split(w, build(w, e->first, at), next);
    for (uint32_t i = 0; i < e->lo && !w->x.rc; i++)
        at = build(w, e->first, at);
    return at;
}

/* The place where e begins, which goes on to next. */
static uint32_t build(struct work *w, const struct slv_gexpr *e, uint32_t next) {
    struct slv_gnode k = {.next = next, .other = e->what};
    const bool language = size_of(w, e) > 0;
    if (w->x.rc) return next;
    switch (e->kind) {
    case E_LANG:
        return term(w, e->lang, next);
    case E_TOKEN:
        k.kind = SLV_G_TOKEN;
        k.token = e->token;
        return node(w, k);
    case E_JSON:
        k.kind = SLV_G_JSON;
        return node(w, k);
    case E_REF: {
        const struct slv_gdef *d = &w->x.defs[e->what];
        if (language && (d->terminal || d->body->kind != E_SEQ))
            return term(w, rule_lang(w, e->what), next);
        k.kind = SLV_G_CALL;
        return node(w, k);
    }
    case E_SEQ:
        return build_sequence(w, e, next);
    case E_REPEAT:
        return language ? term(w, lang_of(w, e), next) : build_repeat(w, e, next);
    case E_ALT: {
        if (language) return term(w, lang_of(w, e), next);
        uint32_t at = build(w, e->first, next);
        for (const struct slv_gexpr *a = e->first->next; a; a = a->next)
            at = split(w, build(w, a, next), at);
        return at;
    }
    }
    return next;
}

static void build_all(struct work *w) {
    struct slv_grammar *g = w->g;
    struct slv_gtext *x = &w->x;
    g->n_rules = x->n_defs;
    g->rules = slv_arena_calloc(&g->mem, g->n_rules, sizeof *g->rules);
    if (!g->rules) slv_gtext_fail(x, SLV_E_NOMEM, "out of memory");
    (void)node(w, (struct slv_gnode){0});
    (void)node(w, (struct slv_gnode){.kind = SLV_G_ACCEPT});
    (void)node(w, (struct slv_gnode){.kind = SLV_G_END});
    for (uint32_t i = 0; i < x->n_defs && !x->rc; i++) {
        const struct slv_gdef *d = w->at = &x->defs[i];
        g->rules[i].name = slv_arena_strndup(&g->mem, d->name, d->n);
        if (!g->rules[i].name) slv_gtext_fail(x, SLV_E_NOMEM, "out of memory");
        else if (d->terminal) g->rules[i].start = term(w, rule_lang(w, i), SLV_G_ACCEPT_NODE);
        else g->rules[i].start = build(w, d->body, SLV_G_ACCEPT_NODE);
        if (slv_langs_status(g->p))
            slv_gtext_fail(x, slv_langs_status(g->p), "rule %.*s: %s", shown(d->n), d->name,
                           slv_langs_why(g->p));
    }
}

/* --- what is said of the network -------------------------------------------------------------- */

/* Edges turned round: who goes on to a node; who calls a rule. */
struct back {
    uint32_t *head, *link; /* by node; by edge: two of each node, and one of its call. 0: none */
    uint32_t *calls;       /* by rule: edges */
    uint32_t *queue;
    uint8_t *is;
    size_t n;
};

static void back_free(struct back *b) {
    slv_mem_free(b->head);
    slv_mem_free(b->link);
    slv_mem_free(b->calls);
    slv_mem_free(b->queue);
    slv_mem_free(b->is);
}

static void edge(uint32_t *head, uint32_t *link, uint32_t e) {
    link[e] = *head;
    *head = e;
}

static bool back_make(const struct slv_grammar *g, struct back *b) {
    b->head = slv_mem_calloc(g->n_nodes, sizeof *b->head);
    b->link = slv_mem_calloc(3 * g->n_nodes, sizeof *b->link);
    b->calls = slv_mem_calloc(g->n_rules, sizeof *b->calls);
    b->queue = slv_mem_calloc(g->n_nodes, sizeof *b->queue);
    b->is = slv_mem_calloc(g->n_nodes, 1);
    if (!b->head || !b->link || !b->calls || !b->queue || !b->is) return false;
    for (uint32_t i = SLV_G_END_NODE + 1; i < g->n_nodes; i++) {
        const struct slv_gnode *k = &g->nodes[i];
        edge(&b->head[k->next], b->link, 3 * i);
        if (k->kind == SLV_G_SPLIT) edge(&b->head[k->other], b->link, 3 * i + 1);
        if (k->kind == SLV_G_CALL) edge(&b->calls[k->other], b->link, 3 * i + 2);
    }
    return true;
}

/* Whether node i reaches its rule's end if what it goes on to does: passing it without a byte
 * (empty), or at all. */
static bool passes(const struct slv_grammar *g, const struct back *b, uint32_t i, bool empty) {
    const struct slv_gnode *k = &g->nodes[i];
    switch ((enum slv_gnode_kind)k->kind) {
    case SLV_G_SPLIT:
        return b->is[k->next] || b->is[k->other];
    case SLV_G_TERM:
        return b->is[k->next] && (!empty || slv_lang_nullable(g->p, k->lang));
    case SLV_G_TOKEN:
    case SLV_G_JSON:
        return b->is[k->next] && !empty;
    case SLV_G_CALL:
        return b->is[k->next] && b->is[g->rules[k->other].start];
    case SLV_G_NONE:
    case SLV_G_ACCEPT:
    case SLV_G_END:
        break;
    }
    return false;
}

static void look(const struct slv_grammar *g, struct back *b, uint32_t e, bool empty) {
    for (; e; e = b->link[e]) {
        const uint32_t i = e / 3;
        if (b->is[i] || !passes(g, b, i, empty)) continue;
        b->is[i] = 1;
        b->queue[b->n++] = i;
    }
}

/* Fills b->is: the nodes that reach their rule's end. starts: the rules that begin at a node, as a
 * list. */
static void spread(const struct slv_grammar *g, struct back *b, const uint32_t *starts,
                   const uint32_t *same_start, bool empty) {
    memset(b->is, 0, g->n_nodes);
    b->is[SLV_G_ACCEPT_NODE] = 1;
    b->queue[0] = SLV_G_ACCEPT_NODE;
    b->n = 1;
    for (size_t at = 0; at < b->n; at++) {
        const uint32_t i = b->queue[at];
        look(g, b, b->head[i], empty);
        for (uint32_t r = starts[i]; r; r = same_start[r - 1])
            look(g, b, b->calls[r - 1], empty);
    }
}

static void check_strings(struct work *w, struct back *b) {
    struct slv_grammar *g = w->g;
    uint32_t *starts = slv_mem_calloc(g->n_nodes, sizeof *starts); /* rule + 1 */
    uint32_t *same = slv_mem_calloc(g->n_rules, sizeof *same);
    if (!starts || !same) slv_gtext_fail(&w->x, SLV_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < g->n_rules && !w->x.rc; i++) {
        same[i] = starts[g->rules[i].start];
        starts[g->rules[i].start] = i + 1;
    }
    if (!w->x.rc) spread(g, b, starts, same, false);
    for (size_t i = 0; i < g->n_rules && !w->x.rc; i++)
        if (!b->is[g->rules[i].start])
            slv_gtext_fail(&w->x, SLV_E_UNSUPPORTED, "rule %.100s has no string, it never ends",
                           g->rules[i].name);
    if (!w->x.rc) spread(g, b, starts, same, true);
    for (size_t i = 0; i < g->n_rules && !w->x.rc; i++)
        g->rules[i].nullable = b->is[g->rules[i].start];
    slv_mem_free(starts);
    slv_mem_free(same);
}

/* --- left recursion --------------------------------------------------------------------------- */

/* A walk over what is entered before the first byte: nodes of all rules in one stack, with a
 * rule's own marker below them. */
struct left {
    uint32_t *stack; /* node * 2, or rule * 2 + 1: the rule is left */
    size_t n, cap;
    uint8_t *seen;  /* by node */
    uint8_t *state; /* by rule: 1: inside, 2: left */
};

static bool push(struct work *w, struct left *l, uint32_t what) {
    const int rc = slv_mem_grow((void **)&l->stack, l->n, &l->cap, sizeof *l->stack,
                                (size_t)4 * SLV_GRAMMAR_MAX_NODES);
    if (rc) return slv_gtext_fail(&w->x, rc, "out of memory") != NULL;
    l->stack[l->n++] = what;
    return true;
}

static bool enter(struct work *w, struct left *l, uint32_t rule) {
    if (l->state[rule] == 2) return true;
    if (l->state[rule] == 1)
        return slv_gtext_fail(&w->x, SLV_E_UNSUPPORTED,
                              "rule %.100s is left recursive: it begins with itself",
                              w->g->rules[rule].name) != NULL;
    l->state[rule] = 1;
    return push(w, l, rule * 2 + 1) && push(w, l, w->g->rules[rule].start * 2);
}

static bool step(struct work *w, struct left *l, uint32_t i) {
    const struct slv_grammar *g = w->g;
    const struct slv_gnode *k = &g->nodes[i];
    if (l->seen[i] || k->kind <= SLV_G_END) return true;
    l->seen[i] = 1;
    const bool on = k->kind == SLV_G_SPLIT ||
                    (k->kind == SLV_G_TERM && slv_lang_nullable(g->p, k->lang)) ||
                    (k->kind == SLV_G_CALL && g->rules[k->other].nullable);
    if (on && !push(w, l, k->next * 2)) return false;
    if (k->kind == SLV_G_SPLIT && !push(w, l, k->other * 2)) return false;
    return k->kind != SLV_G_CALL || enter(w, l, k->other);
}

static void check_left(struct work *w) {
    const struct slv_grammar *g = w->g;
    struct left l = {.seen = slv_mem_calloc(g->n_nodes, 1), .state = slv_mem_calloc(g->n_rules, 1)};
    if (!l.seen || !l.state) slv_gtext_fail(&w->x, SLV_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < g->n_rules && !w->x.rc; i++) {
        bool ok = enter(w, &l, i);
        while (ok && l.n) {
            const uint32_t what = l.stack[--l.n];
            if (what & 1) l.state[what / 2] = 2;
            else ok = step(w, &l, what / 2);
        }
    }
    slv_mem_free(l.stack);
    slv_mem_free(l.seen);
    slv_mem_free(l.state);
}

/* --- opening ---------------------------------------------------------------------------------- */

bool slv_grammar_names(const struct slv_grammar *g, int32_t id) {
    for (size_t i = 0; i < g->n_tokens; i++)
        if (g->tokens[i] == id) return true;
    return false;
}

static int compile(struct work *w) {
    struct back b = {0};
    if (slv_gtext_read(&w->x) || sort_names(w)) return w->x.rc;
    resolve(w);
    if (!w->x.rc) check_terminals(w);
    if (!w->x.rc) build_all(w);
    if (!w->x.rc && !back_make(w->g, &b)) slv_gtext_fail(&w->x, SLV_E_NOMEM, "out of memory");
    if (!w->x.rc) check_strings(w, &b);
    back_free(&b);
    if (!w->x.rc) check_left(w);
    return w->x.rc;
}

int slv_grammar_read(const struct slv_tokenizer *t, const char *text, size_t n,
                     struct slv_grammar **ret, struct slv_err *err) {
    struct slv_err own;
    struct slv_grammar *g = slv_mem_calloc(1, sizeof *g);
    struct work w = {.g = g, .x = {.g = g, .t = t, .s = text, .n = n, .err = err ? err : &own}};
    if (!g) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    slv_arena_init(&g->mem, SLV_GRAMMAR_MAX_MEMORY);
    slv_arena_init(&w.x.mem, SLV_GRAMMAR_MAX_MEMORY);
    int rc = slv_langs_open(&g->p);
    if (rc) slv_err_set(err, rc, "out of memory");
    else {
        slv_langs_allow(g->p, SLV_COMPILE_STEPS);
        rc = compile(&w);
        if (!rc) slv_langs_allow(g->p, SLV_LANG_NO_BOUND);
    }
    slv_arena_fini(&w.x.mem);
    slv_mem_free(w.x.defs);
    slv_mem_free(w.x.schema_texts);
    slv_mem_free(w.sorted);
    if (rc) slv_grammar_free(g);
    else *ret = g;
    return rc;
}

size_t slv_grammar_bytes(const struct slv_grammar *g) {
    size_t r = sizeof *g + g->mem.used + slv_langs_bytes(g->p) + g->cap_nodes * sizeof *g->nodes +
               g->cap_tokens * sizeof *g->tokens + g->cap_schemas * sizeof(struct slv_schema *);
    for (size_t i = 0; i < g->n_schemas; i++)
        r += slv_schema_bytes(g->schemas[i]);
    return r;
}

void slv_grammar_free(struct slv_grammar *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_schemas; i++)
        slv_schema_close(g->schemas[i]);
    slv_langs_close(g->p);
    slv_mem_free(g->nodes);
    slv_mem_free(g->schemas);
    slv_mem_free(g->tokens);
    slv_arena_fini(&g->mem);
    slv_mem_free(g);
}
