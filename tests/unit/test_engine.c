/* test_engine.c: sessions on a tiny model: what a batch, a rewind, a missing byte of memory may not
 * change; and the sampler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/draft.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/step.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL HOSTILE_DIR "/ok-llama.gguf"
#define N_IDS 40

static struct slv_model *open_model(void) {
    struct slv_model *m = NULL;
    struct slv_err e = {0};
    if (slv_model_open(MODEL, NULL, &m, &e)) fail_msg("%s", e.msg);
    return m;
}

static void some_ids(int32_t ids[N_IDS], uint32_t n_vocab, uint32_t seed) {
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)((seed + i * 7919u) % n_vocab);
}

static void last_logits(struct slv_model *m, const int32_t *ids, size_t n, uint32_t batch,
                        float *ret) {
    struct slv_session *s = NULL;
    struct slv_session_opts o = {.n_ctx = 64, .n_batch = batch, .threads = 1};
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, n, NULL), 0);
    memcpy(ret, slv_session_logits(s), m->h.n_vocab * sizeof *ret);
    slv_session_close(s);
}

static void a_batch_of_sessions_gives_each_its_own_answer(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_runner_model parts = {&m->h, &m->w, &m->plan, &m->kern};
    struct slv_team *team;
    struct slv_runner *r;
    struct slv_kv kv[3];
    struct slv_step_token tok[3 * N_IDS];
    int32_t ids[3][N_IDS];
    float alone[3][512];
    assert_true(m->h.n_vocab <= 512);
    assert_int_equal(slv_team_open(2, &team), 0);
    assert_int_equal(slv_runner_open(&parts, 3 * N_IDS, 3, team, &r), 0);
    size_t n = 0;
    for (uint32_t s = 0; s < 3; s++) {
        some_ids(ids[s], m->h.n_vocab, s * 31);
        last_logits(m, ids[s], N_IDS - s, 64, alone[s]);
        assert_int_equal(slv_kv_init(&kv[s], &m->h, SLV_KV_F16, 64, 64, NULL), 0);
        assert_int_equal(slv_kv_ready(&kv[s], N_IDS), 0);
    }
    for (uint32_t i = 0; i < N_IDS; i++) /* tokens of the three are shuffled into one step */
        for (uint32_t s = 0; s < 3; s++)
            if (i < N_IDS - s)
                tok[n++] = (struct slv_step_token){
                    .kv = &kv[s], .id = ids[s][i], .pos = i, .logits = i + 1 == N_IDS - s};
    assert_int_equal(slv_step(r, tok, (uint32_t)n), 0);
    for (uint32_t row = 0; row < 3; row++) { /* the shortest session ends first */
        uint32_t s = 2 - row;
        assert_memory_equal(slv_runner_logits(r, row), alone[s], m->h.n_vocab * sizeof(float));
    }
    for (size_t s = 0; s < 3; s++)
        slv_kv_fini(&kv[s]);
    slv_runner_close(r);
    slv_team_close(team);
    slv_model_close(m);
}

static void going_back_is_as_if_nothing_had_been(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 64, .threads = 1};
    int32_t ids[N_IDS], other[N_IDS];
    float want[512];
    some_ids(ids, m->h.n_vocab, 1);
    some_ids(other, m->h.n_vocab, 99);
    last_logits(m, ids, N_IDS, 64, want);
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, 20, NULL), 0);
    assert_int_equal(slv_session_feed(s, other, 10, NULL), 0);
    assert_int_equal(slv_session_rewind(s, 31), SLV_E_USAGE);
    assert_int_equal(slv_session_rewind(s, 20), 0);
    assert_null(slv_session_logits(s));
    assert_int_equal(slv_session_feed(s, ids + 20, N_IDS - 20, NULL), 0);
    assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof(float));
    slv_session_close(s);
    slv_model_close(m);
}

static void what_does_not_fit_is_refused_whole(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 16, .threads = 1};
    struct slv_err e;
    int32_t ids[N_IDS], bad[2] = {1, (int32_t)m->h.n_vocab};
    some_ids(ids, m->h.n_vocab, 1);
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, 17, &e), SLV_E_LIMIT);
    assert_int_equal(slv_session_feed(s, bad, 2, &e), SLV_E_USAGE);
    assert_int_equal(slv_session_feed(s, ids, 0, &e), SLV_E_USAGE);
    assert_int_equal(slv_session_position(s), 0);
    assert_int_equal(slv_session_feed(s, ids, 16, &e), 0);
    struct slv_generate_opts g;
    enum slv_finish finish;
    slv_generate_default(&g);
    assert_int_equal(slv_session_generate(s, &g, NULL, NULL, &finish, &e), 0);
    assert_int_equal(finish, SLV_FINISH_LIMIT);
    slv_session_close(s);
    o.n_ctx = m->h.n_ctx + 1;
    assert_int_equal(slv_session_open(m, &o, &s, &e), SLV_E_USAGE);
    o = (struct slv_session_opts){.n_ctx = 64, .memory = 1000};
    assert_int_equal(slv_session_open(m, &o, &s, &e), SLV_E_FIT);
    assert_non_null(strstr(e.msg, "no context fits"));
    slv_model_close(m);
}

static void values_that_are_no_numbers_are_an_error(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 16, .threads = 1};
    struct slv_err e;
    int32_t id = 1;
    ((float *)(uintptr_t)m->w.out_norm)[0] = NAN; /* as a spoilt file would have it */
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, &id, 1, &e), SLV_E_NUMERIC);
    assert_null(slv_session_logits(s));
    assert_int_equal(slv_session_position(s), 0);
    slv_session_close(s);
    slv_model_close(m);
}

static void a_request_to_stop_is_taken_once(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 16, .threads = 1};
    int32_t id = 1;
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    slv_session_cancel(s, true);
    assert_int_equal(slv_session_feed(s, &id, 1, NULL), SLV_E_CANCELLED);
    assert_int_equal(slv_session_feed(s, &id, 1, NULL), 0);
    slv_session_cancel(s, true);
    slv_session_cancel(s, false);
    assert_int_equal(slv_session_feed(s, &id, 1, NULL), 0);
    slv_session_close(s);
    slv_model_close(m);
}

struct told {
    uint64_t calls, done, all;
    bool fell;
};

static void on_progress(void *ctx, uint64_t done, uint64_t all) {
    struct told *t = ctx;
    t->fell = t->fell || done < t->done || done > all;
    t->calls++;
    t->done = done;
    t->all = all;
}

static void loading_tells_how_far_it_is(void **state) {
    (void)state;
    struct slv_model *m;
    struct told t = {0};
    struct slv_model_opts o = {.threads = 1, .progress = on_progress, .progress_ctx = &t};
    assert_int_equal(slv_model_open(MODEL, &o, &m, NULL), 0);
    assert_true(t.calls > 0 && !t.fell);
    assert_int_equal(t.all, m->w.tile_bytes);
    assert_int_equal(t.done, t.all);
    slv_model_close(m);
}

struct count {
    uint64_t first, last; /* allocations when the second and the last token were told */
    int tokens;
};

static bool count_at_piece(const struct slv_piece *p, void *ctx) {
    struct count *c = ctx;
    c->last = slv_mem_count();
    if (c->tokens++ == 1) c->first = c->last;
    return p->n < 100;
}

/* Allocations from the second token on, which are those of its text. */
static uint64_t allocations_of(struct slv_model *m, uint32_t n_draft) {
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 64, .threads = 1, .n_draft = n_draft};
    struct slv_generate_opts g;
    struct count c = {0};
    int32_t ids[N_IDS];
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = 5 + i % 4;
    slv_generate_default(&g);
    g.max_tokens = 20;
    g.ignore_end = true;
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, N_IDS, NULL), 0);
    assert_int_equal(slv_session_generate(s, &g, count_at_piece, &c, NULL, NULL), 0);
    assert_true(c.tokens >= 20);
    slv_session_close(s);
    return c.last - c.first;
}

static void drafts_allocate_nothing(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    assert_int_equal(allocations_of(m, 7), allocations_of(m, 0));
    slv_model_close(m);
}

static void a_step_allocates_nothing(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session *s;
    struct slv_session_opts o = {.n_ctx = 64, .threads = 2};
    int32_t ids[N_IDS];
    some_ids(ids, m->h.n_vocab, 1);
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    uint64_t before = slv_mem_count();
    assert_int_equal(slv_session_feed(s, ids, 30, NULL), 0);
    for (size_t i = 30; i < N_IDS; i++)
        assert_int_equal(slv_session_feed(s, ids + i, 1, NULL), 0);
    assert_int_equal(slv_mem_count(), before);
    slv_session_close(s);
    slv_model_close(m);
}

static void drafts_are_in_the_memory_plan(void **state) {
    (void)state;
    struct slv_model *m = open_model();
    struct slv_session_opts o = {.n_ctx = 64};
    struct slv_memory without, with;
    assert_int_equal(slv_model_memory(m, &o, &without, NULL), 0);
    o.n_draft = 15;
    assert_int_equal(slv_model_memory(m, &o, &with, NULL), 0);
    assert_int_equal(with.kv, without.kv);
    uint64_t logits = 15 * m->h.n_vocab * sizeof(float), more = with.total - without.total;
    assert_true(more >= logits + slv_speculator_bytes(64) && more < logits + 65536);
    slv_model_close(m);
}

/* Load, chat, feed, generate, close; 0 or the error. */
static int whole_life(void) {
    struct slv_model *m = NULL;
    struct slv_session *s = NULL;
    struct slv_text text = {0};
    struct slv_tokens t = {0};
    struct slv_generate_opts g;
    struct slv_session_opts o = {.n_ctx = 64, .threads = 2, .n_draft = SLV_DRAFT_AUTO};
    struct slv_message turn = {"user", "hello <|im_end|>"};
    const char *stops[] = {"never"};
    slv_generate_default(&g);
    g.max_tokens = 3;
    g.stop = stops;
    g.n_stop = 1;
    g.ignore_end = true;
    int rc = slv_model_open(MODEL, NULL, &m, NULL);
    if (!rc) rc = slv_session_open(m, &o, &s, NULL);
    if (!rc) rc = slv_model_chat(m, &turn, 1, &text, NULL);
    if (!rc) rc = slv_model_tokenize(m, text.p, text.n, true, &t);
    if (!rc) rc = slv_session_feed(s, t.v, t.n, NULL);
    if (!rc) rc = slv_session_generate(s, &g, NULL, NULL, NULL, NULL);
    slv_text_free(&text);
    slv_tokens_free(&t);
    slv_session_close(s);
    slv_model_close(m);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_int_equal(whole_life(), 0);
    uint64_t n = 1;
    for (;; n++) {
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = whole_life();
        slv_mem_fail_at(0);
        if (slv_mem_count() - before < n) break; /* all of them have had their turn */
        if (rc != 0 && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT)
            fail_msg("allocation %d: %d", (int)n, rc);
    }
    assert_true(n > 30);
    printf("# %d allocations\n", (int)n - 1);
}

/* --- the sampler ------------------------------------------------------------------------------ */

static int32_t draw(const struct slv_sampling *o, const float *logits, size_t n,
                    const int32_t *past, size_t n_past, uint64_t pos) {
    struct slv_sampler *s;
    assert_int_equal(slv_sampler_open(o, n, NULL, NULL, &s, NULL), 0);
    int32_t id = slv_sampler_draw(s, logits, past, n_past, pos, NULL);
    slv_sampler_close(s);
    return id;
}

/* Of any number of logits, with equals among them: as among those that a mask leaves, which are
 * all of them. */
static void greedy_is_the_same_by_both_ways(void **state) {
    static float logits[1100];
    uint64_t mask[18];
    struct slv_sampling o;
    (void)state;
    memset(mask, 0xff, sizeof mask);
    slv_sampling_default(&o);
    srand(3);
    for (size_t n = 1; n <= 1100; n += n < 40 ? 1 : 53)
        for (int k = 0; k < 20; k++) {
            struct slv_sampler *s;
            const int values = k % 2 ? 5 : 5000;
            for (size_t i = 0; i < n; i++)
                logits[i] = (float)(rand() % values) - (k % 3 ? 3000.0f : 0.0f);
            assert_int_equal(slv_sampler_open(&o, n, NULL, NULL, &s, NULL), 0);
            assert_int_equal(slv_sampler_draw(s, logits, NULL, 0, 0, NULL),
                             slv_sampler_draw(s, logits, NULL, 0, 0, mask));
            slv_sampler_close(s);
        }
}

static void greedy_takes_the_best_and_the_lowest_of_equals(void **state) {
    (void)state;
    const float logits[] = {1, 5, 2, 5, 0};
    struct slv_sampling o;
    slv_sampling_default(&o);
    assert_int_equal(draw(&o, logits, 5, NULL, 0, 0), 1);
    struct slv_logit_bias bias = {.id = 1, .bias = -INFINITY};
    o.bias = &bias;
    o.n_bias = 1;
    assert_int_equal(draw(&o, logits, 5, NULL, 0, 0), 3);
}

static void draws_follow_the_probabilities(void **state) {
    (void)state;
    const float logits[] = {0.0f, 1.0f, 2.0f, -1.0f};
    struct slv_sampling o;
    slv_sampling_default(&o);
    o.temperature = 1.0f;
    o.seed = 42;
    int count[4] = {0};
    double sum = 0.0;
    for (int i = 0; i < 4; i++)
        sum += exp((double)logits[i]);
    for (uint64_t pos = 0; pos < 20000; pos++)
        count[draw(&o, logits, 4, NULL, 0, pos)]++;
    for (int i = 0; i < 4; i++) {
        double p = exp((double)logits[i]) / sum;
        assert_true(fabs(count[i] / 20000.0 - p) < 5.0 * sqrt(p * (1 - p) / 20000.0));
    }
    o.top_k = 2;
    for (uint64_t pos = 0; pos < 200; pos++) {
        int32_t id = draw(&o, logits, 4, NULL, 0, pos);
        assert_true(id == 1 || id == 2);
    }
    o.top_k = 0;
    o.top_p = 0.5f; /* the best alone is 0.64 */
    for (uint64_t pos = 0; pos < 200; pos++)
        assert_int_equal(draw(&o, logits, 4, NULL, 0, pos), 2);
    o.top_p = 1.0f;
    o.min_p = 0.3f; /* e^-1 = 0.37 stays, e^-2 = 0.14 goes */
    for (uint64_t pos = 0; pos < 200; pos++) {
        int32_t id = draw(&o, logits, 4, NULL, 0, pos);
        assert_true(id == 1 || id == 2);
    }
    o.min_p = 0.0f;
    o.typical_p = 0.2f;
    int32_t only = draw(&o, logits, 4, NULL, 0, 0);
    for (uint64_t pos = 0; pos < 200; pos++)
        assert_int_equal(draw(&o, logits, 4, NULL, 0, pos), only);
}

static void penalties_turn_away_from_what_was_said(void **state) {
    (void)state;
    const float logits[] = {3.0f, 2.9f, 1.0f, -4.0f};
    const int32_t past[] = {0, 0, 0};
    struct slv_sampling o;
    slv_sampling_default(&o);
    assert_int_equal(draw(&o, logits, 4, past, 3, 0), 0);
    o.repeat_penalty = 1.1f;
    assert_int_equal(draw(&o, logits, 4, past, 3, 0), 1);
    o.repeat_penalty = 1.0f;
    o.presence_penalty = 0.2f;
    assert_int_equal(draw(&o, logits, 4, past, 3, 0), 1);
    o.presence_penalty = 0.0f;
    o.frequency_penalty = 0.04f;
    assert_int_equal(draw(&o, logits, 4, past, 3, 0), 1);
    o.frequency_penalty = 0.0f;
    o.penalty_window = 0;
    o.repeat_penalty = 2.0f;
    assert_int_equal(draw(&o, logits, 4, past, 3, 0), 0);
}

static void dry_breaks_a_repetition_and_nothing_else(void **state) {
    (void)state;
    const float logits[] = {1.0f, 1.0f, 1.0f, 3.0f, 0.5f};
    const int32_t loop[] = {0, 1, 2, 3, 4, 0, 1, 2}, fresh[] = {4, 0, 3, 1, 0, 1, 2};
    struct slv_sampling o;
    slv_sampling_default(&o);
    o.dry_multiplier = 2.0f;
    assert_int_equal(draw(&o, logits, 5, loop, 8, 0), 0); /* 3 would go on with 0 1 2 3 */
    assert_int_equal(draw(&o, logits, 5, fresh, 7, 0), 3);
    o.dry_allowed = 4;
    assert_int_equal(draw(&o, logits, 5, loop, 8, 0), 3);
}

static void options_out_of_range_are_named(void **state) {
    (void)state;
    struct slv_sampling o;
    struct slv_sampler *s;
    struct slv_err e;
    slv_sampling_default(&o);
    o.top_p = 1.5f;
    assert_int_equal(slv_sampler_open(&o, 10, NULL, NULL, &s, &e), SLV_E_USAGE);
    assert_non_null(strstr(e.msg, "top_p"));
    o.top_p = NAN;
    assert_int_equal(slv_sampler_open(&o, 10, NULL, NULL, &s, &e), SLV_E_USAGE);
}

static void logprobs_add_up(void **state) {
    (void)state;
    const float logits[] = {0.5f, -1.0f, 7.0f, 7.0f, 2.0f};
    struct slv_logprob top[5];
    double sum = 0.0;
    float lp;
    slv_logprobs(logits, 5, 4, &lp, top, 5);
    for (int i = 0; i < 5; i++)
        sum += exp((double)top[i].logprob);
    assert_true(fabs(sum - 1.0) < 1e-6);
    assert_int_equal(top[0].id, 2);
    assert_int_equal(top[1].id, 3);
    assert_true(lp == top[2].logprob && top[2].id == 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_of_sessions_gives_each_its_own_answer),
        cmocka_unit_test(going_back_is_as_if_nothing_had_been),
        cmocka_unit_test(what_does_not_fit_is_refused_whole),
        cmocka_unit_test(values_that_are_no_numbers_are_an_error),
        cmocka_unit_test(a_request_to_stop_is_taken_once),
        cmocka_unit_test(loading_tells_how_far_it_is),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(drafts_allocate_nothing),
        cmocka_unit_test(drafts_are_in_the_memory_plan),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(greedy_is_the_same_by_both_ways),
        cmocka_unit_test(greedy_takes_the_best_and_the_lowest_of_equals),
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(penalties_turn_away_from_what_was_said),
        cmocka_unit_test(dry_breaks_a_repetition_and_nothing_else),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(logprobs_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
