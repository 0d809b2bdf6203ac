/* test_batch.c: what a user would lose: the promise that others in the same step change nothing.
 *
 * Generations with any options in batches of any size against the same alone, in everything that
 * can be seen of them; others that come, go, are stopped, or have a spoilt token among theirs; and
 * what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/batch.h"
#include "witness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TOGETHER 9

static struct how how[TOGETHER];
static struct seen alone[TOGETHER], together[TOGETHER];

static void compare(struct slv_model *m, const struct slv_batch_opts *bo) {
    static const uint32_t threads[] = {1, 2, 4};
    struct slv_generate_stats stats = {0};
    struct slv_batch_opts o = *bo;
    char stop[TOGETHER][8];
    const char *stops[TOGETHER];
    for (size_t i = 0; i < TOGETHER; i++) {
        witness_options(&how[i], m);
        witness(m, &how[i], true, &alone[i], &stats);
        stops[i] = stop[i];
        if (rnd(3) || !witness_stop(&alone[i], stop[i])) continue;
        how[i].g.stop = &stops[i];
        how[i].g.n_stop = 1;
        witness(m, &how[i], true, &alone[i], &stats);
    }
    o.threads = threads[rnd(3)];
    o.threads_few = o.n_beside % 3;
    witness_batch(m, how, TOGETHER, &o, together, NULL);
    for (size_t i = 0; i < TOGETHER; i++)
        same_seen(&alone[i], &together[i]);
}

static void others_change_nothing(void **state) {
    static const char *const names[] = {"llama3", "gemma3", "gpt2", "llama-window", "gemma2"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct slv_model *m = witness_model(names[i]);
        for (int k = 0; k < 4; k++) {
            struct slv_batch_opts o = {.n_sessions = 1 + rnd(8),
                                       .n_batch = rnd(2) ? 8 + rnd(60) : 0,
                                       .n_beside = rnd(2) ? 1 + rnd(20) : 0};
            compare(m, &o);
        }
        slv_model_close(m);
    }
}

/* Counts what it is told. */
struct told {
    int done, rc;
    uint32_t pieces;
    char msg[256];
};

static bool piece(const struct slv_piece *p, void *ctx) {
    struct told *t = ctx;
    (void)p;
    t->pieces++;
    return true;
}

static void done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                 void *ctx) {
    struct told *t = ctx;
    (void)s, (void)finish;
    t->done++;
    t->rc = rc;
    snprintf(t->msg, sizeof t->msg, "%s", msg);
}

static struct slv_session *member(struct slv_model *m, struct slv_batch *b, uint32_t n_ctx) {
    struct slv_session_opts so = {.n_ctx = n_ctx, .batch = b};
    struct slv_session *s = NULL;
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    return s;
}

static struct slv_generate_opts plainly(uint32_t max_tokens) {
    struct slv_generate_opts g;
    slv_generate_default(&g);
    g.max_tokens = max_tokens;
    g.ignore_end = true;
    return g;
}

/* Makes the embedding of one token no numbers, as a spoilt file would. */
static void spoil(struct slv_model *m, int32_t id) {
    const struct slv_gguf_tensor *t = m->w.embd.from;
    size_t row = (size_t)(t->bytes / t->ne[1]), page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)t->data + (size_t)id * row, from = at / page * page;
    assert_int_equal(mprotect((void *)from, at + row - from, PROT_READ | PROT_WRITE), 0);
    memset((void *)at, 0xff, row);
}

static void one_that_fails_fails_alone(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_batch *b;
    struct slv_batch_opts o = {.threads = 1};
    struct slv_generate_opts g = plainly(12);
    struct told told[3] = {{0}};
    int32_t good[] = {5, 6, 7, 8}, bad[] = {5, 6, 9, 8};
    uint32_t active = 1;
    spoil(m, 9);
    assert_int_equal(slv_batch_open(m, &o, &b, NULL), 0);
    struct slv_session *s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = member(m, b, 64);
        assert_int_equal(
            slv_batch_join(b, s[i], i == 1 ? bad : good, 4, &g, piece, done, &told[i], NULL), 0);
    }
    while (active)
        assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(told[i].done, 1);
        assert_int_equal(told[i].rc, i == 1 ? SLV_E_NUMERIC : 0);
        assert_true(i == 1 ? !told[i].pieces && strstr(told[i].msg, "position 3")
                           : told[i].pieces >= 12);
        slv_session_close(s[i]);
    }
    slv_batch_close(b);
    slv_model_close(m);
}

static void a_session_is_stopped_alone(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_batch *b;
    struct slv_batch_opts o = {.threads = 1, .n_batch = 8, .n_sessions = 2};
    struct slv_generate_opts g = plainly(12);
    struct told told[2] = {{0}};
    int32_t ids[40];
    uint32_t active = 1;
    for (int32_t i = 0; i < 40; i++)
        ids[i] = i + 3;
    assert_int_equal(slv_batch_open(m, &o, &b, NULL), 0);
    struct slv_session *s[2] = {member(m, b, 64), member(m, b, 64)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(slv_batch_join(b, s[i], ids, 40, &g, piece, done, &told[i], NULL), 0);
    assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    slv_session_cancel(s[0], true); /* in the middle of its prompt */
    assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    assert_int_equal(told[0].rc, SLV_E_CANCELLED);
    assert_int_equal(active, 1);
    assert_int_equal(slv_session_feed(s[0], ids + slv_session_position(s[0]), 1, NULL), 0);
    assert_non_null(slv_session_logits(s[0])); /* it can be used by itself */
    assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    assert_null(slv_session_logits(s[0])); /* another step was made since */
    while (active)
        assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    assert_int_equal(told[1].rc, 0);
    for (int i = 0; i < 2; i++)
        slv_session_close(s[i]);
    slv_batch_close(b);
    slv_model_close(m);
}

/* Answers come at every step while a long prompt is read beside them. */
static void a_long_prompt_holds_nobody_up(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_batch *b;
    struct slv_batch_opts o = {.threads = 1, .n_batch = 64, .n_beside = 8};
    struct slv_generate_opts g = plainly(0);
    struct told told[3] = {{0}};
    int32_t ids[100];
    uint32_t active, before;
    for (int32_t i = 0; i < 100; i++)
        ids[i] = i + 3;
    assert_int_equal(slv_batch_open(m, &o, &b, NULL), 0);
    struct slv_session *s[3] = {member(m, b, 64), member(m, b, 200), member(m, b, 200)};
    assert_int_equal(slv_batch_join(b, s[0], ids, 3, &g, piece, done, &told[0], NULL), 0);
    assert_int_equal(slv_batch_step(b, &active, NULL), 0);
    assert_int_equal(slv_batch_join(b, s[1], ids, 100, &g, piece, done, &told[1], NULL), 0);
    assert_int_equal(slv_batch_join(b, s[2], ids, 10, &g, piece, done, &told[2], NULL), 0);
    for (int i = 0; i < 10; i++) {
        before = told[0].pieces;
        assert_int_equal(slv_batch_step(b, &active, NULL), 0);
        assert_int_equal(told[0].pieces, before + 1);
        assert_true(slv_session_position(s[1]) <= 8u * (uint32_t)(i + 1));
    }
    assert_true(told[2].pieces > 0 && !told[1].pieces); /* nor does it hold up the short one */
    for (int i = 0; i < 3; i++)
        slv_session_close(s[i]);
    slv_batch_close(b);
    slv_model_close(m);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *other = witness_model("gpt2");
    struct slv_batch *b;
    struct slv_batch_opts o = {.threads = 1, .n_sessions = 1}, many = {.n_sessions = 100000};
    struct slv_session_opts so = {.n_ctx = 32};
    struct slv_generate_opts g = plainly(2);
    struct slv_err e = {0};
    struct slv_session *s, *own, *third;
    int32_t ids[33] = {5, 6, 7};
    assert_int_equal(slv_batch_open(m, &many, &b, &e), SLV_E_USAGE);
    assert_int_equal(slv_batch_open(m, &o, &b, &e), 0);
    assert_int_equal(slv_session_open(m, &so, &own, &e), 0);
    assert_int_equal(slv_batch_join(b, own, ids, 3, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    so.batch = b;
    assert_int_equal(slv_session_open(other, &so, &s, &e), SLV_E_USAGE);
    assert_int_equal(slv_session_open(m, &so, &s, &e), 0);
    assert_int_equal(slv_session_open(m, &so, &third, &e), 0);
    assert_int_equal(slv_batch_join(b, s, ids, 0, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    assert_int_equal(slv_batch_join(b, s, ids, 33, &g, NULL, NULL, NULL, &e), SLV_E_LIMIT);
    assert_false(slv_batch_leave(b, s));
    assert_int_equal(slv_batch_join(b, s, ids, 3, &g, NULL, NULL, NULL, &e), 0);
    assert_int_equal(slv_batch_join(b, s, ids, 3, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    assert_int_equal(slv_batch_join(b, third, ids, 3, &g, NULL, NULL, NULL, &e), SLV_E_LIMIT);
    assert_int_equal(slv_session_feed(s, ids, 3, &e), SLV_E_USAGE);
    assert_int_equal(slv_session_generate(s, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    assert_int_equal(slv_session_rewind(s, 0), SLV_E_USAGE);
    slv_session_close(own);
    slv_session_close(s);
    slv_session_close(third);
    slv_batch_close(b);
    slv_model_close(m);
    slv_model_close(other);
}

/* Sessions are refused before they would take more than the batch may. */
static void the_limit_of_memory_holds(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_batch *b;
    struct slv_batch_opts o = {.threads = 1, .memory = 1};
    struct slv_session_opts so = {.n_ctx = 256};
    struct slv_session *s[3] = {NULL};
    struct slv_memory mem;
    struct slv_err e = {0};
    assert_int_equal(slv_batch_open(m, &o, &b, &e), SLV_E_FIT);
    o.memory = 0;
    assert_int_equal(slv_batch_open(m, &o, &b, &e), 0);
    uint64_t shared = b->used;
    so.batch = b;
    assert_int_equal(slv_model_memory(m, &so, &mem, &e), 0);
    slv_batch_close(b);
    o.memory = shared + 2 * mem.total + mem.total / 2;
    assert_int_equal(slv_batch_open(m, &o, &b, &e), 0);
    so.batch = b;
    for (int i = 0; i < 3; i++)
        assert_int_equal(slv_session_open(m, &so, &s[i], &e), i < 2 ? 0 : SLV_E_FIT);
    assert_non_null(strstr(e.msg, "the largest context that fits is"));
    slv_session_close(s[0]);
    assert_int_equal(slv_session_open(m, &so, &s[0], &e), 0);
    for (int i = 0; i < 2; i++)
        slv_session_close(s[i]);
    assert_int_equal(b->used, shared);
    slv_batch_close(b);
    slv_model_close(m);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_batch_opts o = {.threads = 2};
    struct slv_generate_opts g = plainly(2);
    int32_t ids[] = {5, 6};
    int rc = SLV_E_NOMEM;
    uint64_t k = 1;
    for (; rc; k++) {
        struct slv_batch *b = NULL;
        struct slv_session *s = NULL;
        struct told told = {0};
        uint32_t active = 0;
        slv_mem_fail_at(k);
        rc = slv_batch_open(m, &o, &b, NULL);
        struct slv_session_opts so = {.n_ctx = 32, .batch = b};
        if (!rc) rc = slv_session_open(m, &so, &s, NULL);
        if (!rc) rc = slv_batch_join(b, s, ids, 2, &g, piece, done, &told, NULL);
        while (!rc && !told.done)
            rc = slv_batch_step(b, &active, NULL);
        if (!rc) rc = told.rc;
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        slv_session_close(s);
        slv_batch_close(b);
    }
    print_message("# %u allocations\n", (unsigned)k);
    assert_true(k > 8);
    slv_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_change_nothing),
        cmocka_unit_test(one_that_fails_fails_alone),
        cmocka_unit_test(a_session_is_stopped_alone),
        cmocka_unit_test(a_long_prompt_holds_nobody_up),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(the_limit_of_memory_holds),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
