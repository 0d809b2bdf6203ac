/* test_profile.c: what a user would lose: a picture of where the time goes that is whole, and steps
 * that are the same whether or not somebody looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/profile.h"
#include "witness.h"

#include <string.h>

#define PROMPT 40
#define DRAWN 6

struct rig {
    struct slv_model *m;
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_kv kv;
    float logits[DRAWN + 1][VOCAB_MAX];
};

static void rig_open(struct rig *r, const char *name, size_t threads) {
    r->m = witness_model(name);
    struct slv_runner_model parts = {&r->m->h, &r->m->w, &r->m->plan, &r->m->kern};
    assert_int_equal(slv_team_open(threads, &r->team), 0);
    assert_int_equal(slv_runner_open(&parts, PROMPT, 1, r->team, &r->runner), 0);
    assert_int_equal(slv_kv_init(&r->kv, &r->m->h, SLV_KV_F16, PROMPT + DRAWN, PROMPT, NULL), 0);
}

static void rig_close(struct rig *r) {
    slv_runner_close(r->runner);
    slv_team_close(r->team);
    slv_kv_fini(&r->kv);
    slv_model_close(r->m);
}

static void step(struct rig *r, uint32_t n, bool logits) {
    struct slv_step_token tok[PROMPT];
    for (uint32_t i = 0; i < n; i++)
        tok[i] = (struct slv_step_token){.kv = &r->kv,
                                         .id = (int32_t)((r->kv.n_pos + i) % r->m->h.n_vocab),
                                         .pos = r->kv.n_pos + i,
                                         .logits = logits && i + 1 == n};
    assert_int_equal(slv_kv_ready(&r->kv, n), 0);
    assert_int_equal(slv_step(r->runner, tok, n), 0);
    r->kv.n_pos += n;
}

/* A prompt in two steps, the first without logits, and some tokens. */
static void run(struct rig *r) {
    assert_true(slv_kv_rewind(&r->kv, 0));
    step(r, PROMPT / 2, false);
    step(r, PROMPT / 2, true);
    for (int i = 0; i <= DRAWN; i++) {
        memcpy(r->logits[i], slv_runner_logits(r->runner, 0), r->m->h.n_vocab * sizeof(float));
        if (i < DRAWN) step(r, 1, true);
    }
}

#define STEPS (2 + DRAWN)

static void check_sums(const struct rig *r, const struct slv_profile *p, size_t threads) {
    struct slv_profile_sum sum;
    uint64_t busy = 0, wait = 0, weights = 0;
    slv_profile_sum(p, &sum);
    assert_int_equal(sum.steps, STEPS);
    assert_int_equal(sum.tokens, PROMPT + DRAWN);
    for (size_t i = 0; i < r->m->plan.n_ops; i++) {
        const struct slv_profile_row *row = slv_profile_row(p, i);
        const struct slv_op *op = &r->m->plan.ops[i];
        bool last = op->kind == SLV_OP_OUT_NORM || op->kind == SLV_OP_LOGITS;
        if (op->kind != SLV_OP_ATTN_OUT) assert_int_equal(row->calls, STEPS - last);
        if (row->calls) assert_true(row->busy_ns > 0);
        if (op->kind == SLV_OP_MATMUL || op->kind == SLV_OP_LOGITS)
            assert_true(row->weight_bytes > 0 && row->macs > 0);
        assert_int_equal(row->kv_bytes > 0, op->kind == SLV_OP_ATTN);
        busy += row->busy_ns;
        wait += row->wait_ns;
        weights += row->weight_bytes;
    }
    assert_int_equal(busy, sum.busy_ns);
    assert_int_equal(wait, sum.wait_ns);
    assert_int_equal(busy + wait + sum.idle_ns, sum.step_ns * threads);
    uint64_t out = r->m->w.out.mat.tile_bytes * ((r->m->h.n_vocab + 15) / 16);
    uint64_t most = r->m->w.tile_bytes * STEPS - out; /* matrices begin on cache lines */
    assert_true(weights <= most && weights > most - most / 20);
}

static void check_events(const struct rig *r, const struct slv_profile *p, size_t threads) {
    size_t n_steps = 0;
    bool seen[4096] = {0};
    const struct slv_profile_step *steps = slv_profile_steps(p, &n_steps);
    assert_int_equal(n_steps, STEPS);
    for (size_t m = 0; m < threads; m++) {
        size_t n = 0;
        const struct slv_profile_event *e = slv_profile_events(p, m, &n);
        for (size_t i = 0; i < n; i++) {
            assert_true(e[i].step < n_steps && e[i].op < r->m->plan.n_ops);
            assert_true(e[i].begin <= e[i].end);
            assert_true(steps[e[i].step].begin <= e[i].begin && e[i].end <= steps[e[i].step].end);
            if (i) assert_true(e[i - 1].end <= e[i].begin && e[i - 1].step <= e[i].step);
            seen[e[i].op] = true;
        }
    }
    for (size_t i = 0; i < r->m->plan.n_ops; i++)
        if (slv_profile_row(p, i)->calls) assert_true(seen[i]);
}

static void time_is_told_without_a_rest(void **state) {
    static const char *const names[] = {"llama3", "gemma3", "gpt2", "phi2"};
    static struct rig plain, watched;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t threads = 1; threads <= 3; threads++) {
            struct slv_profile *p;
            rig_open(&plain, names[i], 1);
            rig_open(&watched, names[i], threads);
            assert_int_equal(slv_profile_open(&watched.m->plan, threads, 100000, &p), 0);
            slv_runner_profile(watched.runner, p);
            run(&plain);
            for (int again = 0; again < 2; again++) {
                slv_profile_clear(p);
                uint64_t before = slv_mem_count();
                run(&watched);
                assert_int_equal(slv_mem_count(), before);
                check_sums(&watched, p, threads);
                check_events(&watched, p, threads);
                assert_memory_equal(plain.logits, watched.logits, sizeof plain.logits);
            }
            slv_profile_close(p);
            rig_close(&plain);
            rig_close(&watched);
        }
}

static void steps_of_few_tokens_are_made_by_few(void **state) {
    (void)state;
    static struct rig plain, watched;
    struct slv_profile *p;
    size_t n_steps = 0, n = 0;
    rig_open(&plain, "llama3", 1);
    rig_open(&watched, "llama3", 4);
    assert_int_equal(slv_runner_few(watched.runner, 4), 0); /* no fewer than there are */
    assert_int_equal(slv_runner_few(watched.runner, 3), 0);
    assert_int_equal(slv_runner_few(watched.runner, 2), 0);
    assert_int_equal(slv_profile_open(&watched.m->plan, 4, 100000, &p), 0);
    slv_runner_profile(watched.runner, p);
    run(&plain);
    run(&watched);
    assert_memory_equal(plain.logits, watched.logits, sizeof plain.logits);
    check_events(&watched, p, 4);
    const struct slv_profile_step *steps = slv_profile_steps(p, &n_steps);
    for (size_t m = 2; m < 4; m++) {
        const struct slv_profile_event *e = slv_profile_events(p, m, &n);
        for (size_t i = 0; i < n; i++)
            assert_true(steps[e[i].step].tokens > SLV_STEP_FEW);
    }
    slv_profile_close(p);
    rig_close(&plain);
    rig_close(&watched);
}

/* Bytes and products of attention, counted by hand. */
static void windows_and_shared_caches_are_counted(void **state) {
    (void)state;
    static struct rig r;
    struct slv_profile *p;
    rig_open(&r, "llama-window", 1);
    const struct slv_hparams *h = &r.m->h;
    assert_true(h->window && h->window < PROMPT + 1);
    assert_int_equal(slv_profile_open(&r.m->plan, 1, 0, &p), 0);
    step(&r, PROMPT, true);
    slv_runner_profile(r.runner, p);
    step(&r, 1, true);
    for (size_t i = 0; i < r.m->plan.n_ops; i++) {
        const struct slv_op *op = &r.m->plan.ops[i];
        if (op->kind != SLV_OP_ATTN) continue;
        uint64_t seen = h->windowed[op->layer] ? h->window : PROMPT + 1;
        const struct slv_profile_row *row = slv_profile_row(p, i);
        assert_int_equal(row->macs, seen * h->n_head * (h->head_k + h->head_v));
        assert_int_equal(row->kv_bytes, seen * h->n_head_kv * r.kv.block_bytes / SLV_KV_BLOCK);
    }
    slv_profile_close(p);
    rig_close(&r);
}

static void what_does_not_fit_is_left_out_and_counted(void **state) {
    (void)state;
    static struct rig r;
    struct slv_profile *p;
    struct slv_profile_sum sum;
    size_t n_steps = 0, n_events = 0;
    rig_open(&r, "llama3", 1);
    assert_int_equal(slv_profile_open(&r.m->plan, 1, r.m->plan.n_ops * 4, &p), 0);
    slv_runner_profile(r.runner, p);
    run(&r);
    slv_profile_sum(p, &sum);
    slv_profile_steps(p, &n_steps);
    slv_profile_events(p, 0, &n_events);
    assert_true(n_steps > 0 && n_steps < STEPS);
    assert_int_equal(n_steps + sum.lost_steps, STEPS);
    assert_int_equal(sum.events, n_events);
    assert_int_equal(sum.steps, STEPS);
    slv_profile_close(p);
    assert_int_equal(slv_profile_open(&r.m->plan, 1, SLV_PROFILE_EVENTS_MAX + 1, &p), SLV_E_USAGE);
    assert_int_equal(slv_profile_open(&r.m->plan, 0, 0, &p), SLV_E_USAGE);
    for (uint64_t n = 1; n < 6; n++) {
        slv_mem_fail_at(n);
        assert_int_equal(slv_profile_open(&r.m->plan, 1, 10, &p), SLV_E_NOMEM);
        slv_mem_fail_at(0);
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_told_without_a_rest),
        cmocka_unit_test(steps_of_few_tokens_are_made_by_few),
        cmocka_unit_test(windows_and_shared_caches_are_counted),
        cmocka_unit_test(what_does_not_fit_is_left_out_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
