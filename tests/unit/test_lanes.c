/* test_lanes.c: what a user would lose: results that do not depend on how many threads there are.
 *
 * Steps of any sessions on teams of one to four members, to the bit, most of them large enough that
 * members take their tokens through the layers alone; and where a step may be cut at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/lanes.h"
#include "engine/model.h"
#include "witness.h"

#include <stdlib.h>
#include <string.h>

#define SESSIONS 20
#define TOKENS 160
#define N_CTX 128
#define MEMBERS 4

/* A step of some sessions, each at its own depth. */
struct step {
    struct slv_kv kv[SESSIONS];
    struct slv_step_token tok[TOKENS];
    uint32_t n, n_sessions, n_logits;
};

static void put_tokens(struct step *t, struct slv_model *m, uint32_t s, uint32_t pos, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const bool last = i + 1 == n;
        t->tok[t->n++] =
            (struct slv_step_token){.kv = &t->kv[s],
                                    .id = (int32_t)((s * 131 + (pos + i) * 7919) % m->h.n_vocab),
                                    .pos = pos + i,
                                    .logits = last};
        t->n_logits += last;
    }
    t->kv[s].n_pos = pos;
    assert_int_equal(slv_kv_ready(&t->kv[s], n), 0);
}

/* The logits of two steps, the second deeper than the first, on so many threads. */
static float *run(struct slv_model *m, const uint32_t length[2][SESSIONS], enum slv_kv_type type,
                  size_t threads, size_t *ret_lanes) {
    struct slv_runner_model parts = {&m->h, &m->w, &m->plan, &m->kern};
    struct slv_team *team;
    struct slv_runner *r;
    struct step *t = calloc(1, sizeof *t);
    struct slv_lane_costs costs;
    struct slv_lane lane[MEMBERS];
    const size_t row = m->h.n_vocab;
    float *all = calloc(2 * SESSIONS * row, sizeof *all);
    slv_lanes_measure(&m->plan, &costs);
    assert_int_equal(slv_team_open(threads, &team), 0);
    assert_int_equal(slv_runner_open(&parts, TOKENS, SESSIONS, team, &r), 0);
    for (size_t s = 0; s < SESSIONS; s++)
        assert_int_equal(slv_kv_init(&t->kv[s], &m->h, type, N_CTX, TOKENS, NULL), 0);
    for (size_t k = 0; k < 2; k++) {
        t->n = t->n_logits = 0;
        for (uint32_t s = 0; s < SESSIONS; s++)
            if (length[k][s]) put_tokens(t, m, s, k ? length[0][s] : 0, length[k][s]);
        *ret_lanes = slv_lanes_cut(&m->h, &costs, t->tok, t->n, threads, lane);
        assert_int_equal(slv_step(r, t->tok, t->n), 0);
        for (uint32_t i = 0; i < t->n_logits; i++)
            memcpy(all + (k * SESSIONS + i) * row, slv_runner_logits(r, i), row * sizeof *all);
    }
    for (size_t s = 0; s < SESSIONS; s++)
        slv_kv_fini(&t->kv[s]);
    slv_runner_close(r);
    slv_team_close(team);
    free(t);
    return all;
}

/* Lengths of both steps: some long ones, or many of one token. */
static void draw_lengths(uint32_t length[2][SESSIONS]) {
    for (size_t k = 0; k < 2; k++) {
        uint32_t left = TOKENS;
        for (size_t s = 0; s < SESSIONS; s++) {
            uint32_t n = rnd(3) ? 1 : 1 + rnd(60);
            length[k][s] = n < left ? n : 0;
            left -= length[k][s];
        }
    }
}

static void members_alone_give_what_they_give_together(void **state) {
    static const char *const names[] = {"llama3", "gemma3",  "gpt2",    "llama-window",
                                        "gemma2", "granite", "mistral3"};
    (void)state;
    size_t cut = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct slv_model *m = witness_model(names[i]);
        for (int k = 0; k < 6; k++) {
            uint32_t length[2][SESSIONS];
            const enum slv_kv_type type = (enum slv_kv_type)(k % SLV_KV_TYPES);
            size_t lanes;
            draw_lengths(length);
            float *want = run(m, length, type, 1, &lanes);
            for (size_t threads = 2; threads <= MEMBERS; threads++) {
                float *got = run(m, length, type, threads, &lanes);
                cut += lanes > 1;
                assert_memory_equal(got, want, 2 * SESSIONS * m->h.n_vocab * sizeof *want);
                free(got);
            }
            free(want);
        }
        slv_model_close(m);
    }
    assert_true(cut > 10);
}

/* --- where a step is cut ---------------------------------------------------------------------- */

static const struct slv_lane_costs even = {.token = 1000, .seen = 1};

/* Appends a run of tokens of a cache of its own. */
static size_t append(struct step *t, size_t s, uint32_t pos, size_t n) {
    for (size_t i = 0; i < n; i++, pos++)
        t->tok[t->n++] = (struct slv_step_token){.kv = &t->kv[s], .pos = pos};
    return n;
}

static void all_tokens_are_in_a_lane_and_none_is_torn(void **state) {
    (void)state;
    struct slv_hparams h = {.n_layer = 1};
    struct step *t = calloc(1, sizeof *t);
    for (int turn = 0; turn < 2000; turn++) {
        struct slv_lane lane[MEMBERS];
        t->n = 0;
        for (size_t s = 0; s < SESSIONS && t->n + 40 < TOKENS; s++)
            append(t, s, rnd(90), rnd(2) ? 1 : 1 + rnd(39));
        const bool whole = turn % 3 == 0; /* texts whose tokens see each other */
        for (size_t i = t->n; whole && i-- > 0;)
            t->tok[i].end = i + 1 < t->n && t->tok[i + 1].kv == t->tok[i].kv ? t->tok[i + 1].end
                                                                             : t->tok[i].pos + 1;
        const size_t members = 2 + rnd(MEMBERS - 1);
        const size_t lanes = slv_lanes_cut(&h, &even, t->tok, t->n, members, lane);
        size_t at = 0;
        assert_true(lanes == 1 || lanes == members);
        for (size_t k = 0; k < lanes; k++, at += lane[k - 1].n) {
            assert_int_equal(lane[k].first, at);
            assert_true(lane[k].n > 0);
            const bool in = at && t->tok[at].kv == t->tok[at - 1].kv;
            assert_int_equal(lane[k].follows, in);
            assert_false(in && (whole || t->tok[at].pos % SLV_LANE_ALIGN));
        }
        assert_int_equal(at, t->n);
    }
    free(t);
}

static void what_is_too_little_or_out_of_order_is_shared(void **state) {
    (void)state;
    struct slv_hparams h = {.n_layer = 1};
    struct slv_lane_costs large = even;
    struct slv_lane lane[MEMBERS];
    struct step *t = calloc(1, sizeof *t);
    for (size_t s = 0; s < 16; s++)
        append(t, s, 50, 1);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 2, lane), 2);
    assert_int_equal(lane[0].n, 8);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n - 1, 2, lane), 1);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 3, lane), 1);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 1, lane), 1);
    large.layer_bytes = (uint64_t)100 << 20;
    assert_int_equal(slv_lanes_cut(&h, &large, t->tok, t->n, 2, lane), 1);
    append(t, 3, 51, 16); /* apart from the rest of its cache */
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 2, lane), 1);
    t->n = 0;
    append(t, 0, 0, 32);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 2, lane), 2);
    t->tok[20].pos = 5;
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 2, lane), 1);
    t->n = 0;
    append(t, 0, 0, 30); /* one is deep, and costs as much as all others */
    append(t, 1, 1000000, 1);
    assert_int_equal(slv_lanes_cut(&h, &even, t->tok, t->n, 2, lane), 1);
    free(t);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_alone_give_what_they_give_together),
        cmocka_unit_test(all_tokens_are_in_a_lane_and_none_is_torn),
        cmocka_unit_test(what_is_too_little_or_out_of_order_is_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
