/* test_prefix.c: what a user would lose: the promise that a beginning which was computed before, by
 * whomever, changes nothing but the time it takes.
 *
 * Sessions with a prefix cache against plain ones, in the bits of their logits: beginnings shared
 * up to every place around the borders of blocks, random lives of several sessions under budgets
 * with and without room to spare, generations by themselves and in batches. And that nothing is
 * lost or held for ever: pages, room, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/batch.h"
#include "witness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_MAX 300

static void check_logits(struct slv_session *s, const float *want) {
    const float *l = slv_session_logits(s);
    assert_non_null(l);
    assert_memory_equal(l, want, s->m->h.n_vocab * sizeof *l);
}

static void some_ids(int32_t *ids, size_t n, uint32_t n_vocab) {
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)rnd(n_vocab);
}

static uint64_t reused(struct slv_prefix_cache *c) {
    struct slv_prefix_stats st;
    slv_prefix_cache_stats(c, &st);
    return st.reused;
}

/* --- beginnings in common, up to every place -------------------------------------------------- */

/* One text that is known, closed or still open, and others that have their first n tokens. */
static void share_at(struct slv_model *m, enum slv_kv_kind kv, const int32_t *known, uint32_t n,
                     uint32_t more, bool stays) {
    struct slv_prefix_cache *c = witness_cache(m, kv, (uint64_t)8 << 20);
    struct slv_session *a = witness_session(m, c, kv, 512, 1 + rnd(100)), *b;
    int32_t ids[N_MAX];
    float want[VOCAB_MAX];
    memcpy(ids, known, n * sizeof *ids);
    for (uint32_t i = n; i < n + more; i++) /* not as the known one goes on */
        ids[i] = (int32_t)((uint32_t)(known[i] + 1) % m->h.n_vocab);
    assert_int_equal(slv_session_feed(a, known, 200, NULL), 0);
    if (!stays) slv_session_close(a);
    witness_logits(m, kv, ids, n + more, want);
    b = witness_session(m, c, kv, 512, 0);
    assert_int_equal(slv_session_feed(b, ids, n + more, NULL), 0);
    check_logits(b, want);
    /* Who has ended has given all of it; who goes on, the blocks that are full. */
    uint64_t most = stays && n > 192 ? 192 : n, all = n + more - 1;
    assert_int_equal(reused(c), most < all ? most : all);
    slv_session_close(b);
    if (stays) { /* nobody has written to what it holds */
        witness_logits(m, kv, known, 200, want);
        assert_int_equal(slv_session_back(a, 199), 0);
        assert_int_equal(slv_session_feed(a, known + 199, 1, NULL), 0);
        check_logits(a, want);
        slv_session_close(a);
    }
    witness_cache_close(c);
}

static const struct {
    const char *name;
    uint32_t window; /* another one than the model's; 0: its own */
} models[] = {{"llama3", 0},        {"gemma3", 0},         {"gemma3", 100},
              {"gemma2", 65},       {"llama-window", 0},   {"llama-window", 1},
              {"llama-window", 64}, {"llama-window", 130}, {"gpt2", 0}};
#define MODELS (sizeof models / sizeof models[0])

static struct slv_model *model(size_t i) {
    struct slv_model *m = witness_model(models[i].name);
    if (models[i].window) m->h.window = models[i].window;
    return m;
}

static void what_is_known_changes_no_bit(void **state) {
    static const uint32_t at[] = {1,   2,   62,  63,  64,  65,  66,  100, 127,
                                  128, 129, 130, 190, 191, 192, 193, 199, 200};
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        struct slv_model *m = model(i);
        int32_t known[N_MAX];
        some_ids(known, N_MAX, m->h.n_vocab);
        for (size_t k = 0; k < sizeof at / sizeof at[0]; k++)
            for (int stays = 0; stays < 2; stays++) {
                /* The tree keeps all pages here, so a window is no obstacle. */
                share_at(m, (enum slv_kv_kind)rnd(3), known, at[k], 1 + rnd(40), stays);
                if (at[k] > 1) share_at(m, (enum slv_kv_kind)rnd(3), known, at[k], 0, stays);
            }
        slv_model_close(m);
    }
}

/* A conversation goes on where another one of the same beginning has been further. */
static void it_is_taken_in_the_middle_too(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        struct slv_model *m = model(i);
        struct slv_prefix_cache *c = witness_cache(m, 0, (uint64_t)8 << 20);
        struct slv_session *b = witness_session(m, c, 0, 512, 0),
                           *a = witness_session(m, c, 0, 512, 0);
        int32_t ids[N_MAX];
        float want[VOCAB_MAX];
        some_ids(ids, N_MAX, m->h.n_vocab);
        assert_int_equal(slv_session_feed(b, ids, 70, NULL), 0);
        assert_int_equal(slv_session_feed(a, ids, 210, NULL), 0);
        slv_session_close(a);
        uint64_t before = reused(c);
        assert_int_equal(slv_session_feed(b, ids + 70, 180, NULL), 0);
        assert_int_equal(reused(c) - before, 210 - 70);
        witness_logits(m, 0, ids, 250, want);
        check_logits(b, want);
        assert_int_equal(slv_session_position(b), 250);
        slv_session_close(b);
        witness_cache_close(c);
        slv_model_close(m);
    }
}

/* Where the angles depend on how long the context may get, keys do. */
static void a_longer_context_is_another_text(void **state) {
    (void)state;
    struct slv_model *m = witness_model("phi3-long");
    const uint32_t orig = m->h.rope.ctx_orig = 100;
    assert_true(m->w.rope_long && orig < m->h.n_ctx);
    struct slv_prefix_cache *c = witness_cache(m, 0, (uint64_t)8 << 20);
    int32_t ids[70];
    float want[2][VOCAB_MAX];
    some_ids(ids, 70, m->h.n_vocab);
    for (int k = 0; k < 6; k++) {
        struct slv_session *s =
            witness_session(m, k < 2 ? NULL : c, 0, k % 2 ? m->h.n_ctx : orig, 0);
        assert_int_equal(slv_session_feed(s, ids, 70, NULL), 0);
        if (k < 2) memcpy(want[k], slv_session_logits(s), m->h.n_vocab * sizeof(float));
        else check_logits(s, want[k % 2]);
        slv_session_close(s);
        assert_int_equal(reused(c), k < 4 ? 0 : (uint64_t)(k - 3) * 69);
    }
    assert_memory_not_equal(want[0], want[1], m->h.n_vocab * sizeof(float));
    assert_int_equal(slv_prefix_pin(c, ids, 70, true, NULL), 0);
    assert_int_equal(slv_prefix_pin(c, ids, 70, false, NULL), 0);
    assert_int_equal(slv_prefix_pin(c, ids, 70, false, NULL), SLV_E_NOENT);
    witness_cache_close(c);
    slv_model_close(m);
}

/* --- random lives ----------------------------------------------------------------------------- */

#define LIVES 4

struct life {
    struct slv_session *s;
    int32_t ids[512];
    uint32_t n, n_ctx;
};

/* Texts that have beginnings in common, of many lengths. */
static void next_ids(const struct life *l, int32_t *ids, uint32_t n, uint32_t n_vocab) {
    static const uint32_t period = 97;
    bool off = false;
    uint32_t kind = rnd(3);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = l->n + i;
        off = off || !rnd(150);
        ids[i] = off ? (int32_t)rnd(n_vocab) : (int32_t)((at * 31 + at / 70 * kind) % period);
    }
}

static void open_life(struct slv_model *m, struct slv_prefix_cache *c, enum slv_kv_kind kv,
                      struct life *l, uint32_t n_ctx) {
    *l = (struct life){.n_ctx = n_ctx};
    l->s = witness_session(m, c, kv, n_ctx, 1 + rnd(90));
}

static void check_life(struct slv_model *m, enum slv_kv_kind kv, const struct life *l) {
    float want[VOCAB_MAX];
    assert_int_equal(slv_session_position(l->s), l->n);
    assert_memory_equal(l->s->history, l->ids, l->n * sizeof *l->ids);
    if (!l->n || !slv_session_logits(l->s)) return;
    witness_logits(m, kv, l->ids, l->n, want);
    check_logits(l->s, want);
}

static void go_back(struct slv_model *m, struct life *l) {
    uint32_t to = rnd(4) ? rnd(l->n + 1) : l->n - (l->n ? rnd(l->n < 5 ? l->n : 5) : 0);
    int rc = slv_session_rewind(l->s, to);
    if (rc == SLV_E_LIMIT && m->h.window && to) return; /* nothing has changed */
    assert_int_equal(rc, 0);
    l->n = to;
}

static void resume(struct slv_model *m, struct life *l) {
    int32_t ids[512];
    struct life fresh = {.n = 0};
    uint32_t n = 2 + rnd(l->n_ctx - 2), held = 0;
    if (rnd(2)) fresh.n = rnd(l->n < n ? l->n + 1 : n); /* keeps some of its own */
    memcpy(ids, l->ids, fresh.n * sizeof *ids);
    next_ids(&fresh, ids + fresh.n, n - fresh.n, m->h.n_vocab);
    assert_int_equal(slv_session_resume(l->s, ids, n, &held, NULL), 0);
    assert_true(held < n);
    assert_int_equal(slv_session_feed(l->s, ids + held, n - held, NULL), 0);
    memcpy(l->ids, ids, n * sizeof *ids);
    l->n = n;
}

static void generate(struct life *l) {
    struct slv_generate_opts g;
    slv_generate_default(&g);
    g.max_tokens = 1 + rnd(70);
    g.ignore_end = true;
    g.sampling.temperature = rnd(2) ? 1.0f : 0.0f;
    g.sampling.seed = rnd(3);
    if (!slv_session_logits(l->s)) return;
    assert_int_equal(slv_session_generate(l->s, &g, NULL, NULL, NULL, NULL), 0);
    l->n = slv_session_position(l->s);
    memcpy(l->ids, l->s->history, l->n * sizeof *l->ids); /* judged by its logits */
}

static void one_event(struct slv_model *m, struct slv_prefix_cache *c, enum slv_kv_kind kv,
                      struct life *l) {
    uint32_t room = l->n_ctx - l->n, what = rnd(12);
    if (what < 5 && room) {
        uint32_t n = 1 + rnd(room < 150 ? room : 150);
        next_ids(l, l->ids + l->n, n, m->h.n_vocab);
        assert_int_equal(slv_session_feed(l->s, l->ids + l->n, n, NULL), 0);
        l->n += n;
    } else if (what < 7) {
        go_back(m, l);
    } else if (what < 9) {
        resume(m, l);
    } else if (what < 11) {
        generate(l);
    } else {
        slv_session_close(l->s);
        open_life(m, c, kv, l, l->n_ctx);
    }
    check_life(m, kv, l);
}

/* What sessions reserve, and some more. */
static uint64_t budget(struct slv_model *m, enum slv_kv_kind kv, uint32_t n_ctx, uint64_t spare) {
    enum slv_kv_type t = slv_kv_type_of(kv);
    return LIVES * slv_kv_shared_bytes(&m->h, t, n_ctx, 90) +
           spare * slv_kv_bytes(&m->h, t, SLV_KV_BLOCK, 1);
}

static void lives(size_t i, uint64_t spare, int events, uint64_t *evictions) {
    struct slv_model *m = model(i);
    enum slv_kv_kind kv = (enum slv_kv_kind)rnd(3);
    uint32_t n_ctx = 130 + rnd(380);
    struct slv_prefix_cache *c = witness_cache(m, kv, budget(m, kv, n_ctx, spare));
    struct slv_prefix_stats st;
    struct life life[LIVES];
    for (size_t k = 0; k < LIVES; k++)
        open_life(m, c, kv, &life[k], n_ctx);
    for (int e = 0; e < events; e++)
        one_event(m, c, kv, &life[rnd(LIVES)]);
    slv_prefix_cache_stats(c, &st);
    assert_true(st.bytes <= st.budget && c->pool->resident <= st.budget);
    assert_true(st.reused > 0);
    *evictions += st.evictions;
    for (size_t k = 0; k < LIVES; k++)
        slv_session_close(life[k].s);
    witness_cache_close(c);
    slv_model_close(m);
}

static void whatever_happens_the_bits_are_the_same(void **state) {
    uint64_t tight = 0, roomy = 0;
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        lives(i, 0, 60, &tight);
        lives(i, 10, 60, &roomy);
    }
    print_message("# %llu evictions without room to spare, %llu with some\n",
                  (unsigned long long)tight, (unsigned long long)roomy);
    assert_true(tight > 50 && roomy > 10);
}

/* --- generations, alone and in batches -------------------------------------------------------- */

#define TOGETHER 8

static struct how how[TOGETHER];
static struct seen alone[TOGETHER], shared[TOGETHER];

/* Prompts that begin like the first, each up to another place. */
static void related(struct slv_model *m) {
    struct slv_generate_stats stats = {0};
    for (size_t i = 0; i < TOGETHER; i++) {
        witness_options(&how[i], m);
        how[i].so.kv = how[0].so.kv;
        uint32_t n = how[i].n_prompt < how[0].n_prompt ? how[i].n_prompt : how[0].n_prompt;
        memcpy(how[i].prompt, how[0].prompt, rnd(n + 1) * sizeof(int32_t));
        witness(m, &how[i], true, &alone[i], &stats);
    }
}

static void answers_are_those_without(void **state) {
    static const uint32_t threads[] = {1, 2, 4};
    uint64_t all = 0;
    (void)state;
    for (size_t i = 0; i < MODELS; i++)
        for (int k = 0; k < 2; k++) {
            struct slv_model *m = model(i);
            struct slv_generate_stats stats = {0};
            struct slv_batch_opts o = {.n_sessions = 1 + rnd(6),
                                       .n_batch = rnd(2) ? 8 + rnd(60) : 0,
                                       .threads = threads[rnd(3)]};
            related(m);
            struct slv_prefix_cache *c = witness_cache(m, how[0].so.kv, (uint64_t)8 << 20);
            for (size_t j = 0; j < TOGETHER; j++)
                how[j].so.prefix = c;
            if (k)
                for (size_t j = 0; j < TOGETHER; j++)
                    witness(m, &how[j], rnd(2), &shared[j], &stats);
            else witness_batch(m, how, TOGETHER, &o, shared, NULL);
            for (size_t j = 0; j < TOGETHER; j++)
                same_seen(&alone[j], &shared[j]);
            all += reused(c);
            witness_cache_close(c);
            slv_model_close(m);
        }
    assert_true(all > 1000);
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    (void)s, (void)finish, (void)msg;
    *(int *)ctx = rc ? rc : 1;
}

/* Prompts that begin alike and come at the same time are read once, whoever is asked first. */
static void they_wait_for_each_other(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = witness_cache(m, 0, (uint64_t)8 << 20);
    struct slv_batch_opts bo = {.n_sessions = 6, .n_batch = 40, .threads = 1};
    struct slv_session_opts so = {.n_ctx = 300, .prefix = c};
    struct slv_generate_opts g;
    struct slv_session *s[6];
    struct slv_prefix_stats st;
    int32_t ids[6][220];
    int done[6] = {0};
    uint32_t active = 1;
    slv_generate_default(&g);
    g.max_tokens = 3;
    assert_int_equal(slv_batch_open(m, &bo, &so.batch, NULL), 0);
    some_ids(ids[0], 220, m->h.n_vocab);
    for (int i = 0; i < 6; i++) {
        if (i) memcpy(ids[i], ids[0], sizeof ids[0]);
        if (i) some_ids(ids[i] + 200, 20, m->h.n_vocab);
        assert_int_equal(slv_session_open(m, &so, &s[i], NULL), 0);
        assert_int_equal(slv_batch_join(so.batch, s[i], ids[i], i < 3 ? 220 : 192, &g, NULL,
                                        on_done, &done[i], NULL),
                         0);
    }
    while (active)
        assert_int_equal(slv_batch_step(so.batch, &active, NULL), 0);
    slv_prefix_cache_stats(c, &st);
    assert_int_equal(st.reused, 2 * 192 + 3 * 191);
    for (int i = 0; i < 6; i++) {
        float want[VOCAB_MAX];
        assert_int_equal(done[i], 1);
        witness_logits(m, 0, s[i]->history, slv_session_position(s[i]), want);
        if (slv_session_logits(s[i])) check_logits(s[i], want);
        slv_session_close(s[i]);
    }
    slv_batch_close(so.batch);
    witness_cache_close(c);
    slv_model_close(m);
}

/* --- what is kept, and what goes -------------------------------------------------------------- */

static void the_least_recently_used_goes_first(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    const uint64_t block = slv_kv_bytes(&m->h, SLV_KV_F16, SLV_KV_BLOCK, 1);
    struct slv_prefix_cache *c = witness_cache(m, 0, 12 * block);
    struct slv_session *s = witness_session(m, c, 0, 256, 0);
    struct slv_prefix_stats st;
    int32_t text[6][129];
    uint32_t held;
    for (int i = 0; i < 6; i++)
        some_ids(text[i], 129, m->h.n_vocab), text[i][0] = i;
    for (int i = 0; i < 6; i++) { /* two blocks each, and what the session takes */
        assert_int_equal(slv_session_resume(s, text[i], 129, &held, NULL), 0);
        assert_int_equal(held, 0);
        assert_int_equal(slv_session_feed(s, text[i], 129, NULL), 0);
        if (i < 2) continue;
        assert_int_equal(slv_session_resume(s, text[0], 129, &held, NULL), 0); /* it stays in use */
        assert_int_equal(held, 128);
    }
    slv_prefix_cache_stats(c, &st);
    assert_true(st.evictions > 0 && st.bytes <= 12 * block);
    assert_int_equal(slv_session_resume(s, text[1], 129, &held, NULL), 0);
    assert_true(held < 128);
    assert_int_equal(slv_session_resume(s, text[5], 129, &held, NULL), 0);
    assert_int_equal(held, 128);
    slv_session_close(s);
    witness_cache_close(c);
    slv_model_close(m);
}

/* Reads one text after the other until everything else must have gone. */
static void flood(struct slv_model *m, struct slv_session *s) {
    int32_t ids[200];
    for (int i = 0; i < 12; i++) {
        some_ids(ids, 200, m->h.n_vocab);
        assert_int_equal(slv_session_rewind(s, 0), 0);
        assert_int_equal(slv_session_feed(s, ids, 200, NULL), 0);
    }
    assert_int_equal(slv_session_rewind(s, 0), 0);
}

static void what_is_pinned_stays(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        struct slv_model *m = model(i);
        struct slv_prefix_cache *c = witness_cache(m, 0, budget(m, 0, 256, 0) / 2);
        struct slv_session *s = witness_session(m, c, 0, 256, 16);
        int32_t ids[200];
        uint32_t held;
        struct slv_err e = {0};
        some_ids(ids, 200, m->h.n_vocab);
        assert_int_equal(slv_prefix_pin(c, ids, 200, true, &e), SLV_E_NOENT);
        assert_int_equal(slv_session_feed(s, ids, 200, NULL), 0);
        assert_int_equal(slv_prefix_pin(c, ids, 200, true, &e), 0);
        flood(m, s);
        assert_int_equal(slv_session_resume(s, ids, 200, &held, NULL), 0);
        assert_int_equal(held, 192);
        assert_int_equal(slv_session_rewind(s, 0), 0);
        assert_int_equal(slv_prefix_pin(c, ids, 200, false, &e), 0);
        assert_int_equal(slv_prefix_pin(c, ids, 200, false, &e), SLV_E_NOENT);
        flood(m, s);
        flood(m, s);
        assert_int_equal(slv_session_resume(s, ids, 200, &held, NULL), 0);
        assert_true(held < 192);
        slv_session_close(s);
        witness_cache_close(c);
        slv_model_close(m);
    }
}

static void what_sessions_may_need_is_theirs(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *other = witness_model("gpt2");
    const uint64_t each = slv_kv_shared_bytes(&m->h, SLV_KV_F16, 256, 256);
    struct slv_prefix_cache *c = witness_cache(m, 0, 2 * each + each / 2);
    struct slv_session_opts o = {.n_ctx = 256, .threads = 1, .prefix = c};
    struct slv_session *s[3];
    struct slv_err e = {0};
    int32_t ids[200];
    some_ids(ids, 200, m->h.n_vocab);
    assert_int_equal(slv_session_open(other, &o, &s[0], &e), SLV_E_USAGE);
    o.kv = SLV_KV_KIND_Q8;
    assert_int_equal(slv_session_open(m, &o, &s[0], &e), SLV_E_USAGE);
    o.kv = SLV_KV_KIND_F16;
    assert_int_equal(slv_session_open(m, &o, &s[0], &e), 0);
    assert_int_equal(slv_session_open(m, &o, &s[1], &e), 0);
    assert_int_equal(slv_session_open(m, &o, &s[2], &e), SLV_E_FIT);
    assert_non_null(strstr(e.msg, "prefix cache"));
    assert_int_equal(slv_session_feed(s[0], ids, 200, NULL), 0);
    assert_int_equal(slv_prefix_pin(c, ids, 200, true, &e), SLV_E_FIT);
    slv_session_close(s[1]);
    assert_int_equal(slv_prefix_pin(c, ids, 200, true, &e), 0);
    assert_int_equal(slv_session_open(m, &o, &s[1], &e), SLV_E_FIT);
    assert_int_equal(slv_prefix_pin(c, ids, 200, false, &e), 0);
    assert_int_equal(slv_session_open(m, &o, &s[1], &e), 0);
    slv_session_close(s[0]);
    slv_session_close(s[1]);
    witness_cache_close(c);
    struct slv_prefix_cache_opts small = {.bytes = 1000};
    assert_int_equal(slv_prefix_cache_open(m, &small, &c, &e), SLV_E_FIT);
    small = (struct slv_prefix_cache_opts){.kv = (enum slv_kv_kind)7};
    assert_int_equal(slv_prefix_cache_open(m, &small, &c, &e), SLV_E_USAGE);
    assert_int_equal(slv_prefix_cache_open(m, NULL, &c, &e), 0);
    o = (struct slv_session_opts){.threads = 1, .prefix = c};
    assert_int_equal(slv_session_open(m, &o, &s[0], &e), 0); /* the default is enough for one */
    slv_session_close(s[0]);
    witness_cache_close(c);
    slv_model_close(m);
    slv_model_close(other);
}

static void its_memory_is_counted_once(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = witness_cache(m, 0, (uint64_t)4 << 20);
    struct slv_batch *b;
    struct slv_batch_opts bo = {.threads = 1};
    struct slv_session_opts o = {.n_ctx = 128, .threads = 1}, plain_o = o;
    struct slv_session *s[2];
    struct slv_memory mem, without;
    o.prefix = c;
    assert_int_equal(slv_model_memory(m, &o, &mem, NULL), 0);
    assert_true(mem.kv >= (uint64_t)4 << 20 && mem.kv < (uint64_t)5 << 20);
    assert_int_equal(slv_batch_open(m, &bo, &b, NULL), 0);
    uint64_t before = b->used;
    plain_o.batch = o.batch = b;
    assert_int_equal(slv_model_memory(m, &plain_o, &without, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(slv_session_open(m, &o, &s[i], NULL), 0);
        assert_int_equal(b->used - before,
                         c->bytes + (uint64_t)(i + 1) * (without.total - without.kv));
    }
    assert_int_equal(slv_model_memory(m, &o, &mem, NULL), 0);
    assert_int_equal(mem.kv, 0);
    slv_session_close(s[0]);
    assert_int_equal(b->used - before, c->bytes + without.total - without.kv);
    slv_session_close(s[1]);
    assert_int_equal(b->used, before);
    slv_batch_close(b);
    witness_cache_close(c);
    slv_model_close(m);
}

static void a_window_goes_back_as_far_as_pages_are_known(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = witness_cache(m, 0, (uint64_t)8 << 20);
    struct slv_session *with = witness_session(m, c, 0, 512, 32),
                       *without = witness_session(m, NULL, 0, 512, 32);
    int32_t ids[N_MAX];
    float want[VOCAB_MAX];
    some_ids(ids, N_MAX, m->h.n_vocab);
    assert_int_equal(slv_session_feed(with, ids, 290, NULL), 0);
    assert_int_equal(slv_session_feed(without, ids, 290, NULL), 0);
    assert_int_equal(slv_session_rewind(without, 70), SLV_E_LIMIT);
    for (uint32_t n = 289; n > 30; n -= 27) {
        witness_logits(m, 0, ids, n, want);
        assert_int_equal(slv_session_rewind(with, n - 1), 0);
        assert_int_equal(slv_session_feed(with, ids + n - 1, 1, NULL), 0);
        check_logits(with, want);
        uint32_t held;
        assert_int_equal(slv_session_resume(with, ids, 290, &held, NULL), 0);
        assert_int_equal(held, 289);
        assert_int_equal(slv_session_feed(with, ids + held, 290 - held, NULL), 0);
    }
    slv_session_close(with);
    slv_session_close(without);
    witness_cache_close(c);
    slv_model_close(m);
}

static void a_step_allocates_nothing(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = witness_cache(m, 0, budget(m, 0, 256, 0) / 2);
    struct slv_session *s = witness_session(m, c, 0, 256, 32);
    uint64_t before = slv_mem_count();
    flood(m, s);
    assert_int_equal(slv_mem_count(), before);
    slv_session_close(s);
    witness_cache_close(c);
    slv_model_close(m);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    int32_t ids[150];
    some_ids(ids, 150, m->h.n_vocab);
    int rc = SLV_E_NOMEM;
    uint64_t k = 1;
    for (; rc; k++) {
        struct slv_prefix_cache *c = NULL;
        struct slv_session *s = NULL;
        struct slv_prefix_cache_opts co = {.bytes = (uint64_t)2 << 20};
        slv_mem_fail_at(k);
        rc = slv_prefix_cache_open(m, &co, &c, NULL);
        struct slv_session_opts so = {.n_ctx = 200, .threads = 1, .prefix = c};
        if (!rc) rc = slv_session_open(m, &so, &s, NULL);
        if (!rc) rc = slv_session_feed(s, ids, 150, NULL);
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        slv_session_close(s);
        if (c) witness_cache_close(c);
    }
    print_message("# %u allocations\n", (unsigned)k);
    assert_true(k > 15);
    slv_model_close(m);
}

/* --- threads ---------------------------------------------------------------------------------- */

struct worker {
    struct slv_model *m;
    struct slv_prefix_cache *c;
    const int32_t *ids;
    const float *want;
    uint32_t n_vocab;
    bool same;
};

static void *work(void *arg) {
    struct worker *w = arg;
    struct slv_session_opts o = {.n_ctx = 256, .threads = 1, .n_batch = 20, .prefix = w->c};
    struct slv_session *s;
    w->same = true;
    for (int i = 0; i < 15; i++) {
        int rc = slv_session_open(w->m, &o, &s, NULL);
        if (!rc) rc = slv_session_feed(s, w->ids, 200, NULL);
        w->same =
            w->same && !rc && !memcmp(slv_session_logits(s), w->want, w->n_vocab * sizeof(float));
        if (!rc || s) slv_session_close(s);
    }
    return NULL;
}

static void threads_may_share_one(void **state) {
    (void)state;
    struct slv_model *m = witness_model("gemma3");
    struct slv_prefix_cache *c = witness_cache(m, 0, budget(m, 0, 256, 1));
    pthread_t thread[3];
    struct worker worker[3];
    int32_t ids[3][200];
    static float want[3][VOCAB_MAX];
    some_ids(ids[0], 200, m->h.n_vocab);
    for (int i = 0; i < 3; i++) {
        memcpy(ids[i], ids[0], sizeof ids[0]);
        some_ids(ids[i] + 50 * (i + 1), 20, m->h.n_vocab);
        witness_logits(m, 0, ids[i], 200, want[i]);
        worker[i] = (struct worker){m, c, ids[i], want[i], m->h.n_vocab, false};
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_true(worker[i].same);
    }
    assert_true(reused(c) > 1000);
    witness_cache_close(c);
    slv_model_close(m);
}

/* Until slv_pool_warm has nothing to do: how many free pages have memory then. */
static uint32_t warmed(struct slv_pool *p, uint32_t n) {
    while (slv_pool_warm(p, SLV_PAGE_FULL, n)) {
    }
    assert_true(p->resident <= p->budget);
    return p->cls[SLV_PAGE_FULL].n_touched;
}

static void as_many_pages_are_made_ready_as_were_taken(void **state) {
    (void)state;
    const size_t bytes[SLV_PAGE_CLASSES] = {[SLV_PAGE_FULL] = 4096};
    const uint32_t n[SLV_PAGE_CLASSES] = {[SLV_PAGE_FULL] = 100};
    unsigned char *page[100];
    struct slv_pool *p;
    assert_int_equal(slv_pool_open(bytes, n, 100 * 4096, &p), 0);
    slv_pool_lock(p);
    assert_int_equal(warmed(p, 3), 3);
    for (int i = 0; i < 12; i++)
        assert_non_null(page[i] = slv_pool_take(p, SLV_PAGE_FULL));
    assert_int_equal(warmed(p, 3), 12);
    assert_int_equal(warmed(p, 3), 12); /* and it was not forgotten half way */
    for (int i = 12; i < 22; i++)
        assert_non_null(page[i] = slv_pool_take(p, SLV_PAGE_FULL));
    assert_int_equal(warmed(p, 3), 10);
    for (int i = 22; i < 62; i++)
        assert_non_null(page[i] = slv_pool_take(p, SLV_PAGE_FULL));
    assert_int_equal(warmed(p, 3), 25); /* a fourth of the budget */
    for (int i = 62; i < 100; i++)
        assert_non_null(page[i] = slv_pool_take(p, SLV_PAGE_FULL));
    assert_int_equal(warmed(p, 3), 0); /* no budget is left */
    for (int i = 0; i < 100; i++)
        slv_pool_drop(p, SLV_PAGE_FULL, page[i]);
    assert_int_equal(p->used, 0);
    slv_pool_unlock(p);
    slv_pool_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_changes_no_bit),
        cmocka_unit_test(it_is_taken_in_the_middle_too),
        cmocka_unit_test(a_longer_context_is_another_text),
        cmocka_unit_test(whatever_happens_the_bits_are_the_same),
        cmocka_unit_test(answers_are_those_without),
        cmocka_unit_test(they_wait_for_each_other),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(what_is_pinned_stays),
        cmocka_unit_test(what_sessions_may_need_is_theirs),
        cmocka_unit_test(its_memory_is_counted_once),
        cmocka_unit_test(a_window_goes_back_as_far_as_pages_are_known),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(threads_may_share_one),
        cmocka_unit_test(as_many_pages_are_made_ready_as_were_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
