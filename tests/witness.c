/* witness.c: see witness.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "witness.h"
#include "engine/batch.h"

#include <stdio.h>
#include <string.h>

uint32_t rnd(uint32_t n) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

struct witness {
    struct seen *to;
    struct slv_session *s;
    const struct how *how;
    uint32_t pieces;
};

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct witness *w = ctx;
    struct seen *to = w->to;
    assert_true(to->n_text + p->n + 2 < PIECES_MAX && to->n < SEEN_MAX);
    to->text[to->n_text++] = (char)p->n;
    memcpy(to->text + to->n_text, p->text, p->n);
    to->n_text += (uint32_t)p->n;
    if (p->id >= 0) {
        to->logprobs[to->n] = p->logprob;
        memcpy(to->top[to->n], p->top, p->n_top * sizeof *p->top);
        to->ids[to->n++] = p->id;
    }
    if (++w->pieces != w->how->stop_after) return true;
    if (w->how->by_cancel) slv_session_cancel(w->s, true);
    return w->how->by_cancel;
}

static uint64_t steady_ns, uneven_state;

static uint64_t steady(void *ctx) { /* every step takes the same: the more tokens the better */
    (void)ctx;
    return steady_ns += 1000;
}

static uint64_t still(void *ctx) { /* and drafting takes nothing */
    (void)ctx;
    return 0;
}

static uint64_t uneven(void *ctx) {
    (void)ctx;
    uneven_state = uneven_state * 6364136223846793005u + 1;
    return steady_ns += uneven_state >> 44;
}

const struct slv_clock witness_clocks[3] = {
    {.mono_ns = still, .wall_ns = still},
    {.mono_ns = steady, .wall_ns = steady},
    {.mono_ns = uneven, .wall_ns = uneven},
};

struct slv_session *witness_open(struct slv_model *m, const struct how *how,
                                 const struct slv_session_opts *so) {
    struct slv_session *s = NULL;
    struct slv_err e = {0};
    if (slv_session_open(m, so, &s, &e) ||
        (how->n_uses && slv_session_set_adapters(s, how->uses, how->n_uses, &e)))
        fail_msg("%s", e.msg);
    return s;
}

void witness(struct slv_model *m, const struct how *how, bool plain, struct seen *ret,
             struct slv_generate_stats *stats) {
    struct slv_session *s;
    struct slv_err e = {0};
    struct slv_generate_opts g = how->g;
    struct slv_session_opts so = how->so;
    if (plain) so.n_draft = 0;
    if (plain) g.draft = NULL;
    memset(ret, 0, sizeof *ret);
    s = witness_open(m, how, &so);
    if (s->spec && how->clock) s->spec->clock = how->clock;
    struct witness w = {ret, s, how, 0};
    assert_int_equal(slv_session_feed(s, how->prompt, how->n_prompt, &e), 0);
    for (int turn = 0; turn < 2; turn++) {
        ret->rc = slv_session_generate(s, &g, on_piece, &w, &ret->finish, &e);
        struct slv_generate_stats st;
        slv_session_stats(s, &st);
        assert_true(st.accepted <= st.drafted && (plain ? st.drafted == 0 : true));
        stats->tokens += st.tokens;
        stats->steps += st.steps;
        stats->drafted += st.drafted;
        stats->accepted += st.accepted;
        ret->pos = slv_session_position(s);
        memcpy(ret->history, s->history, ret->pos * sizeof(int32_t));
        const float *l = slv_session_logits(s);
        ret->n_logits = l ? m->h.n_vocab : 0;
        assert_non_null(l);
        memcpy(ret->logits, l, m->h.n_vocab * sizeof *l);
        int32_t more[3] = {how->prompt[0], how->prompt[1], how->prompt[2]};
        if (turn) break;
        int rc = slv_session_feed(s, more, 3, NULL);
        if (rc == SLV_E_CANCELLED) ret->rc = rc; /* asked for with the last piece */
        if (rc) break;
    }
    slv_session_close(s);
}

/* NULL: there is no memory for it, which may be. */
static struct slv_session *open_if_fits(struct slv_model *m, const struct how *how,
                                        const struct slv_session_opts *so, bool may_not) {
    struct slv_session *s = NULL;
    if (may_not && so->n_first && slv_session_open(m, so, &s, NULL) == SLV_E_FIT) return NULL;
    slv_session_close(s);
    return witness_open(m, how, so);
}

/* --- many at once ----------------------------------------------------------------------------- */

/* One generation among others. */
struct member {
    struct slv_batch *b;
    struct slv_session *s;
    const struct how *how;
    struct seen *to;
    struct witness w;
    int32_t more[3];
    int turn;
    bool over;
};

static void look(struct member *p) {
    const float *l = slv_session_logits(p->s);
    uint32_t n_vocab = p->s->m->h.n_vocab;
    p->to->pos = slv_session_position(p->s);
    memcpy(p->to->history, p->s->history, p->to->pos * sizeof(int32_t));
    assert_non_null(l);
    p->to->n_logits = n_vocab;
    memcpy(p->to->logits, l, n_vocab * sizeof *l);
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    struct member *p = (struct member *)((char *)ctx - offsetof(struct member, w));
    assert_ptr_equal(s, p->s);
    assert_int_equal(rc != 0, *msg != '\0');
    p->to->rc = rc;
    if (!rc) p->to->finish = finish;
    look(p);
    memcpy(p->more, p->how->prompt, sizeof p->more);
    p->over = p->turn++ ||
              slv_batch_join(p->b, s, p->more, 3, &p->how->g, on_piece, on_done, &p->w, NULL) != 0;
    if (!p->over) return;
    slv_session_close(s);
    p->s = NULL;
}

/* False: there is no memory for it while others are there. */
static bool join(struct member *p, struct slv_model *m, struct slv_batch *b, const struct how *how,
                 struct seen *to) {
    struct slv_session_opts so = how->so;
    struct slv_err e = {0};
    so.batch = b;
    *p = (struct member){.b = b, .how = how, .to = to};
    p->s = open_if_fits(m, how, &so, b->n_active > 0);
    if (!p->s) return false;
    if (p->s->spec && how->clock) p->s->spec->clock = how->clock;
    p->w = (struct witness){to, p->s, how, 0};
    assert_int_equal(
        slv_batch_join(b, p->s, how->prompt, how->n_prompt, &how->g, on_piece, on_done, &p->w, &e),
        0);
    return true;
}

/* Somebody who comes, and goes without a word. */
static void passer_by(struct slv_model *m, struct slv_batch *b, const struct how *how,
                      struct slv_session **s) {
    struct slv_session_opts so = how->so;
    struct slv_generate_opts g = how->g;
    so.batch = b;
    if (*s) {
        bool joined = (*s)->joined;
        if (rnd(2)) assert_int_equal(slv_batch_leave(b, *s), joined);
        slv_session_close(*s); /* or by this */
        *s = NULL;
        return;
    }
    g.ignore_end = true;
    g.max_tokens = 0;
    g.n_stop = 0;
    *s = open_if_fits(m, how, &so, true);
    if (*s && slv_batch_join(b, *s, how->prompt, how->n_prompt, &g, NULL, NULL, NULL, NULL))
        passer_by(m, b, how, s); /* full */
}

#define MEMBERS 32

void witness_batch(struct slv_model *m, const struct how *how, size_t n,
                   const struct slv_batch_opts *bo, struct seen *ret,
                   struct slv_batch_stats *ret_stats) {
    struct slv_batch *b;
    struct slv_session *other = NULL;
    struct slv_err e = {0};
    struct member member[MEMBERS];
    uint32_t active = 0;
    size_t next = 0;
    assert_true(n <= MEMBERS);
    memset(ret, 0, n * sizeof *ret);
    assert_int_equal(slv_batch_open(m, bo, &b, &e), 0);
    while (next < n || active > (other ? 1u : 0u)) {
        if (next < n && active < b->o.n_sessions && (!active || !rnd(3)))
            next += join(&member[next], m, b, &how[next], &ret[next]);
        else if (!rnd(8)) passer_by(m, b, &how[0], &other);
        if (!rnd(10)) slv_batch_cancel(b);
        int rc = slv_batch_step(b, &active, &e);
        assert_true(!rc || rc == SLV_E_CANCELLED);
        if (rc) active = b->n_active;
        if (other && !other->joined)
            slv_session_close(other), other = NULL; /* its context is full */
    }
    slv_session_close(other);
    for (size_t i = 0; i < n; i++)
        assert_true(member[i].over);
    if (ret_stats) slv_batch_stats(b, ret_stats);
    slv_batch_close(b);
}

void same_seen(const struct seen *a, const struct seen *b) {
    assert_int_equal(a->rc, b->rc);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->pos, b->pos);
    assert_memory_equal(a, b, sizeof *a);
}

struct slv_model *witness_model(const char *name) {
    struct slv_model *m = NULL;
    struct slv_err e = {0};
    struct slv_model_opts o = {.threads = 1};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.gguf", MODEL_DIR, name);
    if (slv_model_open(path, &o, &m, &e)) fail_msg("%s", e.msg);
    assert_true(m->h.n_vocab <= VOCAB_MAX);
    return m;
}

struct slv_prefix_cache *witness_cache(struct slv_model *m, enum slv_kv_kind kv, uint64_t bytes) {
    struct slv_prefix_cache *c = NULL;
    struct slv_prefix_cache_opts o = {.kv = kv, .bytes = bytes};
    struct slv_err e = {0};
    if (slv_prefix_cache_open(m, &o, &c, &e)) fail_msg("%s", e.msg);
    return c;
}

void witness_cache_close(struct slv_prefix_cache *c) {
    assert_int_equal(c->n_users, 0);
    assert_int_equal(c->pool->reserved, 0);
    slv_pool_lock(c->pool);
    for (uint32_t i = 0; i < c->tree->n_taken; i++)
        assert_int_equal(c->tree->nodes[i].users, 0);
    for (int k = 0; k < SLV_PAGE_CLASSES; k++)
        for (uint32_t i = 0; c->pool->cls[k].page_bytes && i < c->pool->cls[k].n; i++)
            assert_true(c->pool->cls[k].refs[i] <= 1);
    while (slv_tree_evict(c->tree)) {
    }
    assert_int_equal(c->pool->used, 0);
    assert_true(c->pool->resident <= c->pool->budget);
    assert_int_equal(c->tree->used.newer == &c->tree->used, 1);
    slv_pool_unlock(c->pool);
    slv_prefix_cache_close(c);
}

struct slv_session *witness_session(struct slv_model *m, struct slv_prefix_cache *c,
                                    enum slv_kv_kind kv, uint32_t n_ctx, uint32_t n_batch) {
    struct slv_session *s = NULL;
    struct slv_session_opts o = {
        .n_ctx = n_ctx, .n_batch = n_batch, .threads = 1, .kv = kv, .prefix = c};
    struct slv_err e = {0};
    if (slv_session_open(m, &o, &s, &e)) fail_msg("%s", e.msg);
    return s;
}

void witness_logits(struct slv_model *m, enum slv_kv_kind kv, const int32_t *ids, size_t n,
                    float *ret) {
    struct slv_session *s = witness_session(m, NULL, kv, 512, 0);
    assert_int_equal(slv_session_feed(s, ids, n, NULL), 0);
    memcpy(ret, slv_session_logits(s), m->h.n_vocab * sizeof *ret);
    slv_session_close(s);
}

void witness_prompt(struct how *how, uint32_t n_vocab) {
    uint32_t period = 5 + rnd(40);
    how->n_prompt = 20 + rnd(150);
    for (uint32_t i = 0; i < how->n_prompt; i++)
        how->prompt[i] = i < period || !rnd(20) ? (int32_t)rnd(n_vocab) : how->prompt[i - period];
}

static void some_sampling(struct slv_sampling *o) {
    static const float temps[] = {0.0f, 0.0f, 0.7f, 1.5f};
    slv_sampling_default(o);
    o->temperature = temps[rnd(4)];
    o->seed = rnd(1000);
    if (rnd(2)) o->top_k = 1 + rnd(20);
    if (!rnd(3)) o->top_p = 0.9f;
    if (!rnd(3)) o->repeat_penalty = 1.1f;
    if (!rnd(4)) o->frequency_penalty = 0.1f;
    if (!rnd(4)) o->dry_multiplier = 0.5f;
}

void witness_options(struct how *how, const struct slv_model *m) {
    static const uint32_t threads[] = {1, 1, 2, 4};
    memset(how, 0, sizeof *how);
    witness_prompt(how, m->h.n_vocab);
    slv_generate_default(&how->g);
    some_sampling(&how->g.sampling);
    if (rnd(2)) { /* answers of few words, in which everything comes again */
        for (size_t i = 0; i < 6; i++)
            how->bias[i] = (struct slv_logit_bias){(int32_t)rnd(m->h.n_vocab), 30.0f};
        how->g.sampling.bias = how->bias;
        how->g.sampling.n_bias = 6;
    }
    how->g.max_tokens = rnd(3) ? 20 + rnd(100) : 0;
    how->g.want_logprobs = rnd(2);
    how->g.logprobs = how->g.want_logprobs ? rnd(4) : 0;
    how->g.ignore_end = rnd(2);
    how->g.special = rnd(2);
    how->so.n_ctx = how->n_prompt + 30 + rnd(200);
    how->so.n_batch = rnd(3) ? 0 : 2 + rnd(30);
    how->so.threads = threads[rnd(4)];
    how->so.threads_few = how->n_prompt % 4;
    how->so.kv = (enum slv_kv_kind)rnd(3);
    how->so.n_draft = rnd(3) ? SLV_DRAFT_AUTO : 1 + rnd(SLV_DRAFT_MAX);
    how->clock = rnd(3) ? &witness_clocks[0] : rnd(5) ? &witness_clocks[1 + rnd(2)] : NULL;
    if (!rnd(4)) {
        how->stop_after = 1 + rnd(60);
        how->by_cancel = rnd(2);
    }
}

bool witness_stop(const struct seen *plain, char stop[8]) {
    if (plain->n_text < 60) return false;
    for (int i = 0; i < 20; i++) {
        uint32_t at = rnd(plain->n_text - 10), n = 1 + rnd(6);
        if (memchr(plain->text + at, '\0', n)) continue;
        memcpy(stop, plain->text + at, n);
        stop[n] = '\0';
        return true;
    }
    return false;
}
