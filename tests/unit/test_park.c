/* test_park.c: what a user would lose: answers that do not fail, nor change a letter, when there
 * are more of them than memory.
 *
 * Generations with any options in a batch whose cache holds little more than one of them, against
 * the same alone: with a spill that keeps everything, with one that fails now and then, is full or
 * has lost what it was given, and with none; models with and without a window. Who has to wait, who
 * does not, and who never could be served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/park.h"
#include "witness.h"

#include <stdlib.h>
#include <string.h>

/* --- a spill in memory ------------------------------------------------------------------------ */

#define RECORDS 4096u

struct heap {
    void *page[RECORDS];
    size_t n[RECORDS];
    uint32_t put_fails, get_fails; /* one of so many; 0: none */
    uint32_t n_put, n_got, n_failed, n_held;
};

static int heap_put(void *ctx, const void *page, size_t n, uint64_t *ret_at) {
    struct heap *h = ctx;
    uint32_t at = 0;
    if (h->put_fails && !rnd(h->put_fails)) {
        h->n_failed++;
        return SLV_E_IO;
    }
    while (h->page[at])
        at++;
    assert_true(at < RECORDS);
    h->page[at] = malloc(n);
    memcpy(h->page[at], page, n);
    h->n[at] = n;
    h->n_put++;
    h->n_held++;
    *ret_at = at;
    return 0;
}

static int heap_get(void *ctx, uint64_t at, void *page, size_t n) {
    struct heap *h = ctx;
    assert_true(at < RECORDS && h->page[at] && h->n[at] == n);
    if (h->get_fails && !rnd(h->get_fails)) {
        h->n_failed++;
        return SLV_E_TRUST;
    }
    memcpy(page, h->page[at], n);
    h->n_got++;
    return 0;
}

static void heap_drop(void *ctx, uint64_t at) {
    struct heap *h = ctx;
    assert_true(at < RECORDS && h->page[at]);
    free(h->page[at]);
    h->page[at] = NULL;
    h->n_held--;
}

/* --- the same words --------------------------------------------------------------------------- */

#define TOGETHER 10

static struct how how[TOGETHER];
static struct seen alone[TOGETHER], parked[TOGETHER];

static const struct {
    const char *name;
    uint32_t window; /* another one than the model's; 0: its own */
} models[] = {{"llama3", 0},  {"gemma3", 0},        {"gemma3", 100},
              {"gemma2", 65}, {"llama-window", 64}, {"gpt2", 0}};
#define MODELS (sizeof models / sizeof models[0])

static struct slv_model *model(size_t i) {
    struct slv_model *m = witness_model(models[i].name);
    if (models[i].window) m->h.window = models[i].window;
    return m;
}

/* What the largest of them wants, and a few pages more. */
static uint64_t tight_budget(struct slv_model *m) {
    enum slv_kv_type t = slv_kv_type_of(how[0].so.kv);
    uint64_t most = 0;
    for (size_t i = 0; i < TOGETHER; i++) {
        uint64_t n = slv_kv_shared_bytes(&m->h, t, how[i].so.n_ctx, SEEN_MAX);
        if (n > most) most = n;
    }
    return most + rnd(6) * slv_kv_bytes(&m->h, t, SLV_KV_BLOCK, 1);
}

/* Generations of all kinds that have little room together; some begin alike. */
static void some_generations(struct slv_model *m) {
    struct slv_generate_stats stats = {0};
    for (size_t i = 0; i < TOGETHER; i++) {
        witness_options(&how[i], m);
        how[i].so.kv = how[0].so.kv;
        if (rnd(2)) how[i].g.max_tokens = 0; /* as long as there is context */
        how[i].so.n_first = 1 + rnd(how[i].n_prompt + 40);
        how[i].so.priority = (int32_t)rnd(3) - 1;
        if (i && !rnd(3)) memcpy(how[i].prompt, how[0].prompt, 20 * sizeof(int32_t));
        witness(m, &how[i], true, &alone[i], &stats);
    }
}

static void run(size_t i, struct heap *heap, struct slv_batch_stats *all) {
    static const uint32_t threads[] = {1, 2, 4};
    const struct slv_spill spill = {heap_put, heap_get, heap_drop, heap};
    struct slv_batch_stats st = {0};
    struct slv_model *m = model(i);
    struct slv_batch_opts o = {.n_sessions = 2 + rnd(6),
                               .n_at_once = rnd(3) ? 0 : 1 + rnd(4),
                               .n_batch = rnd(2) ? 8 + rnd(60) : 0,
                               .threads = threads[rnd(3)],
                               .spill = heap ? &spill : NULL};
    some_generations(m);
    struct slv_prefix_cache *c = witness_cache(m, how[0].so.kv, tight_budget(m));
    for (size_t j = 0; j < TOGETHER; j++)
        how[j].so.prefix = c;
    witness_batch(m, how, TOGETHER, &o, parked, &st);
    for (size_t j = 0; j < TOGETHER; j++)
        same_seen(&alone[j], &parked[j]);
    all->waits += st.waits;
    all->spilled += st.spilled;
    all->reread += st.reread;
    assert_int_equal(st.waiting, 0);
    if (heap) assert_int_equal(heap->n_held, 0);
    witness_cache_close(c);
    slv_model_close(m);
}

static void who_waits_says_the_same(void **state) {
    static const struct {
        const char *what;
        bool spills;
        uint32_t put_fails, get_fails;
    } cases[] = {{"without a spill", false, 0, 0},
                 {"with one", true, 0, 0},
                 {"that fails now and then", true, 12, 12},
                 {"that is full", true, 1, 0},
                 {"that has lost everything", true, 0, 1}};
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct heap heap = {.put_fails = cases[k].put_fails, .get_fails = cases[k].get_fails};
        struct slv_batch_stats all = {0};
        for (size_t i = 0; i < MODELS; i++)
            for (int r = 0; r < 2; r++)
                run(i, cases[k].spills ? &heap : NULL, &all);
        print_message("# %s: %llu waits, %llu bytes spilled, %u pages read back, %u failures, "
                      "%llu tokens again\n",
                      cases[k].what, (unsigned long long)all.waits, (unsigned long long)all.spilled,
                      heap.n_got, heap.n_failed, (unsigned long long)all.reread);
        assert_true(all.waits > 30);
        assert_true(heap.put_fails == 1 || (heap.n_put > 0) == cases[k].spills);
        if (k == 1) assert_true(heap.n_got > 30 && all.reread < 2000);
        else assert_true(all.reread > 100);
    }
}

/* --- who waits -------------------------------------------------------------------------------- */

struct told {
    int done, rc;
    enum slv_finish finish;
    uint32_t n;
    struct slv_session **s; /* its own: closed when it is done */
};

static bool on_piece(const struct slv_piece *p, void *ctx) {
    if (p->id >= 0) ((struct told *)ctx)->n++;
    return true;
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    struct told *t = ctx;
    (void)msg;
    t->done++;
    t->rc = rc;
    t->finish = finish;
    slv_session_close(s);
    *t->s = NULL;
}

struct scene {
    struct slv_model *m;
    struct slv_prefix_cache *c;
    struct slv_batch *b;
    struct slv_generate_opts g;
    struct slv_session *s[4];
    struct told told[4];
    int32_t ids[4][8];
};

/* A cache for one session of that many positions. */
static void open_scene(struct scene *x, uint32_t n_ctx) {
    struct slv_batch_opts bo = {.threads = 1, .n_sessions = 4};
    *x = (struct scene){.m = witness_model("llama3")};
    x->c = witness_cache(x->m, 0, slv_kv_shared_bytes(&x->m->h, SLV_KV_F16, n_ctx, 256));
    assert_int_equal(slv_batch_open(x->m, &bo, &x->b, NULL), 0);
    slv_generate_default(&x->g);
    x->g.ignore_end = true;
    for (uint32_t i = 0; i < 32; i++)
        x->ids[i / 8][i % 8] = (int32_t)(5 + i);
}

static int enter(struct scene *x, size_t i, uint32_t n_ctx, int32_t priority) {
    struct slv_session_opts so = {
        .n_ctx = n_ctx, .n_first = 10, .prefix = x->c, .batch = x->b, .priority = priority};
    int rc = slv_session_open(x->m, &so, &x->s[i], NULL);
    x->told[i].s = &x->s[i];
    if (rc) return rc;
    return slv_batch_join(x->b, x->s[i], x->ids[i], 8, &x->g, on_piece, on_done, &x->told[i], NULL);
}

static void step(struct scene *x) {
    uint32_t active = 0;
    assert_int_equal(slv_batch_step(x->b, &active, NULL), 0);
}

static uint32_t waiting(struct scene *x) {
    struct slv_batch_stats st;
    slv_batch_stats(x->b, &st);
    return st.waiting;
}

static void close_scene(struct scene *x) {
    for (size_t i = 0; i < 4; i++)
        slv_session_close(x->s[i]);
    slv_batch_close(x->b);
    witness_cache_close(x->c);
    slv_model_close(x->m);
}

/* The last to come waits first; who comes first ends first, and so on. */
static void the_last_waits_first(void **state) {
    struct scene x;
    uint32_t ended = 0;
    (void)state;
    open_scene(&x, 512);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enter(&x, i, 500, 0), 0);
    while (ended < 3) {
        step(&x);
        for (size_t i = 0; i < 3; i++)
            if (x.told[i].done) ended = i + 1 > ended ? (uint32_t)i + 1 : ended;
        for (size_t i = 0; i + 1 < ended; i++)
            assert_int_equal(x.told[i].done, 1);
        if (x.told[0].done && !x.told[1].done) assert_true(x.told[1].n > 0);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(x.told[i].rc, 0);
        assert_int_equal(x.told[i].n, 500 - 8);
        assert_int_equal(x.told[i].finish, SLV_FINISH_LIMIT);
    }
    close_scene(&x);
}

static void a_higher_priority_does_not_wait(void **state) {
    struct scene x;
    (void)state;
    open_scene(&x, 512);
    assert_int_equal(enter(&x, 0, 500, 0), 0);
    assert_int_equal(enter(&x, 1, 500, -1), 0);
    assert_int_equal(enter(&x, 2, 500, 3), 0);
    while (!x.told[2].done) {
        step(&x);
        assert_int_equal(x.b->slot[2].place, SLV_PLACE_IN);
    }
    assert_int_equal(x.told[0].done + x.told[1].done, 0);
    while (!x.told[0].done)
        step(&x);
    assert_int_equal(x.told[1].done, 0);
    close_scene(&x); /* with one that still answers */
}

/* Room is made for who is worth more, and for nobody else. */
static void room_is_made_for_who_is_worth_more(void **state) {
    struct scene x;
    struct slv_batch_stats st;
    (void)state;
    open_scene(&x, 200);
    assert_int_equal(enter(&x, 0, 200, 1), 0);
    while (x.told[0].n < 130)
        step(&x);
    assert_int_equal(enter(&x, 1, 200, 5), SLV_E_FIT);
    assert_false(slv_batch_yield(x.b, 1));
    assert_true(slv_batch_yield(x.b, 5));
    slv_batch_stats(x.b, &st);
    assert_int_equal(waiting(&x), 1);
    assert_int_equal(st.priority, 1);
    assert_int_equal(enter(&x, 1, 200, 5), 0);
    while (!x.told[1].done)
        step(&x);
    assert_int_equal(x.told[0].done, 0);
    while (!x.told[0].done)
        step(&x);
    assert_int_equal(x.told[0].n, 200 - 8);
    close_scene(&x);
}

/* No more than so many are in a step, also without a cache that they share. */
static void no_more_than_so_many_at_once(void **state) {
    struct slv_batch_opts bo = {.threads = 1, .n_sessions = 4, .n_at_once = 2};
    struct scene x;
    (void)state;
    open_scene(&x, 200);
    slv_batch_close(x.b);
    assert_int_equal(slv_batch_open(x.m, &bo, &x.b, NULL), 0);
    x.g.max_tokens = 20;
    for (size_t i = 0; i < 4; i++) {
        struct slv_session_opts so = {.n_ctx = 64, .batch = x.b, .priority = i == 3};
        assert_int_equal(slv_session_open(x.m, &so, &x.s[i], NULL), 0);
        x.told[i].s = &x.s[i];
        assert_int_equal(
            slv_batch_join(x.b, x.s[i], x.ids[i], 8, &x.g, on_piece, on_done, &x.told[i], NULL), 0);
    }
    assert_int_equal(waiting(&x), 2);
    assert_true(slv_batch_yield(x.b, 1)); /* the second one */
    while (!x.told[3].done) {
        step(&x);
        assert_int_equal(x.told[1].n + x.told[2].n, 0);
    }
    while (x.b->n_active)
        step(&x);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(x.told[i].rc, 0);
        assert_int_equal(x.told[i].n, 20);
    }
    close_scene(&x);
}

/* Stopped, or closed, wherever it is. */
static void who_waits_can_leave(void **state) {
    struct scene x;
    (void)state;
    open_scene(&x, 300);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enter(&x, i, 300, 0), 0);
    while (waiting(&x) < 2)
        step(&x);
    slv_session_cancel(x.s[2], true);
    step(&x);
    assert_int_equal(x.told[2].rc, SLV_E_CANCELLED);
    assert_true(slv_batch_leave(x.b, x.s[1]));
    assert_int_equal(waiting(&x), 0);
    while (!x.told[0].done)
        step(&x);
    assert_int_equal(x.told[0].rc, 0);
    close_scene(&x);
}

static void who_never_fits_is_told(void **state) {
    struct scene x;
    (void)state;
    open_scene(&x, 200);
    assert_int_equal(enter(&x, 0, 300, 0), SLV_E_FIT); /* it could not be served to its end */
    assert_int_equal(enter(&x, 0, 200, 0), 0);
    slv_pool_lock(x.c->pool); /* somebody keeps half of the rest */
    const size_t kept = (x.c->pool->budget - x.c->pool->reserved) / 2;
    assert_true(slv_pool_reserve(x.c->pool, kept));
    slv_pool_unlock(x.c->pool);
    while (!x.told[0].done)
        step(&x);
    assert_int_equal(x.told[0].rc, SLV_E_FIT);
    assert_true(x.told[0].n > 20);
    slv_pool_lock(x.c->pool);
    slv_pool_unreserve(x.c->pool, kept);
    slv_pool_unlock(x.c->pool);
    close_scene(&x);
}

/* --- by itself, and without memory ------------------------------------------------------------ */

static void a_session_by_itself_grows(void **state) {
    struct scene x;
    float want[VOCAB_MAX];
    int32_t ids[200];
    (void)state;
    open_scene(&x, 200);
    struct slv_session_opts so = {.n_ctx = 200, .n_first = 1, .threads = 1, .prefix = x.c};
    struct slv_session *a = NULL, *b = NULL;
    for (int i = 0; i < 200; i++)
        ids[i] = (int32_t)rnd(x.m->h.n_vocab);
    assert_int_equal(slv_session_open(x.m, &so, &a, NULL), 0);
    assert_int_equal(slv_session_open(x.m, &so, &b, NULL), 0);
    assert_int_equal(slv_session_feed(b, ids, 100, NULL), 0);
    assert_int_equal(slv_session_feed(a, ids, 200, NULL), SLV_E_FIT);
    slv_session_close(b);
    uint32_t at = slv_session_position(a);
    assert_int_equal(slv_session_feed(a, ids + at, 200 - at, NULL), 0);
    witness_logits(x.m, SLV_KV_KIND_F16, ids, 200, want);
    assert_memory_equal(slv_session_logits(a), want, x.m->h.n_vocab * sizeof *want);
    slv_session_close(a);
    close_scene(&x);
}

static void every_allocation_may_fail(void **state) {
    uint64_t k = 1;
    bool failed = true;
    (void)state;
    for (; failed; k++) {
        struct scene x;
        struct heap heap = {.put_fails = 0};
        const struct slv_spill spill = {heap_put, heap_get, heap_drop, &heap};
        open_scene(&x, 200);
        x.b->o.spill = &spill;
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(k);
        int rc = enter(&x, 0, 200, 0);
        if (!rc) rc = enter(&x, 1, 200, 0);
        while (!rc && x.b->n_active)
            step(&x);
        failed = slv_mem_count() - before >= k;
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        for (size_t i = 0; i < 2; i++)
            assert_true(!x.told[i].done || !x.told[i].rc || x.told[i].rc == SLV_E_NOMEM);
        close_scene(&x);
        assert_int_equal(heap.n_held, 0);
    }
    assert_true(k > 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_says_the_same),
        cmocka_unit_test(the_last_waits_first),
        cmocka_unit_test(a_higher_priority_does_not_wait),
        cmocka_unit_test(room_is_made_for_who_is_worth_more),
        cmocka_unit_test(no_more_than_so_many_at_once),
        cmocka_unit_test(who_waits_can_leave),
        cmocka_unit_test(who_never_fits_is_told),
        cmocka_unit_test(a_session_by_itself_grows),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
