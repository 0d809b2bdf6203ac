/* test_speculate.c: what a user would lose: the promise that guessing tokens ahead changes nothing.
 *
 * The index against a search by hand, the pacing against steps of known cost, and generations with
 * drafts against plain ones, in everything that can be seen of them: tokens, pieces of text,
 * log-probabilities, why they ended, and the session afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/session.h"
#include "witness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- the index -------------------------------------------------------------------------------- */

#define N_TEXT 600u

/* The definition, by looking everywhere. */
static bool find_by_hand(const int32_t *t, uint32_t n, struct slv_lookup_match *ret) {
    for (uint32_t level = SLV_LOOKUP_LEVELS; level-- > 0;) {
        uint32_t len = slv_lookup_level[level], next[SLV_LOOKUP_VOTES],
                 votes[SLV_LOOKUP_VOTES] = {0}, kinds = 0, asked = 0, best = 0;
        for (uint32_t end = n - 1; n > len && end >= len && asked < SLV_LOOKUP_VOTES; end--) {
            if (memcmp(t + end - len, t + n - len, len * sizeof *t) != 0) continue;
            uint32_t i = 0;
            while (i < kinds && t[next[i]] != t[end])
                i++;
            if (i == kinds) next[kinds++] = end;
            votes[i]++;
            asked++;
        }
        if (!asked) continue;
        for (uint32_t i = 1; i < kinds; i++)
            if (votes[i] > votes[best]) best = i;
        *ret = (struct slv_lookup_match){level, next[best]};
        return true;
    }
    return false;
}

static void check_find(const struct slv_lookup *l, const int32_t *t, uint32_t n) {
    struct slv_lookup_match want = {0}, got = {0};
    bool is = find_by_hand(t, n, &want);
    assert_int_equal(slv_lookup_size(l), n);
    assert_int_equal(slv_lookup_find(l, &got), is);
    assert_int_equal(got.level, want.level);
    assert_int_equal(got.next, want.next);
}

/* Texts that are hard on an index: random ones of few and many words, one word, periods, blocks
 * that come again with a change. */
static int32_t hard_text(uint32_t kind, int32_t *t, uint32_t i) {
    switch (kind) {
    case 0:
        return (int32_t)rnd(2);
    case 1:
        return (int32_t)rnd(5);
    case 2:
        return (int32_t)rnd(1000);
    case 3:
        return 7;
    case 4:
        return (int32_t)(i % 3);
    case 5:
        return (int32_t)(i % 37);
    case 6:
        return i < 40 || !rnd(15) ? (int32_t)rnd(50) : t[i - 40];
    default:
        return __builtin_popcount(i) & 1; /* Thue-Morse: polynomials modulo 2^64 collide */
    }
}
#define TEXTS 8

static void the_index_finds_what_a_search_finds(void **state) {
    (void)state;
    static int32_t t[N_TEXT];
    for (uint32_t kind = 0; kind < TEXTS; kind++) {
        struct slv_lookup *l;
        assert_int_equal(slv_lookup_open(N_TEXT, &l), 0);
        uint32_t n = 0;
        for (uint32_t i = 0; i < 4 * N_TEXT; i++) {
            if (n == N_TEXT || (n && !rnd(60))) { /* back, a little or far */
                n = rnd(4) ? n - rnd(n < 20 ? n : 20) : rnd(n);
                slv_lookup_rewind(l, n);
                if (n) check_find(l, t, n);
                if (n == N_TEXT) n--, slv_lookup_rewind(l, n);
            }
            t[n] = hard_text(kind, t, n);
            slv_lookup_add(l, t[n++]);
            check_find(l, t, n);
        }
        slv_lookup_close(l);
    }
}

static void the_index_follows_any_history(void **state) {
    (void)state;
    static int32_t t[N_TEXT];
    struct slv_lookup *l;
    assert_int_equal(slv_lookup_open(N_TEXT, &l), 0);
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t n = 1 + rnd(N_TEXT), from = rnd(n);
        for (uint32_t i = from; i < n; i++)
            t[i] = hard_text(round % TEXTS, t, i);
        slv_lookup_sync(l, t, n);
        check_find(l, t, n);
    }
    slv_lookup_close(l);
}

static void the_index_takes_no_more_than_it_says(void **state) {
    (void)state;
    struct slv_lookup *l;
    int32_t ids[15];
    float chance[15];
    assert_int_equal(slv_lookup_open(100000, &l), 0);
    uint64_t before = slv_mem_count();
    for (uint32_t i = 0; i < 100000; i++) {
        slv_lookup_add(l, (int32_t)(i % 1000 ? rnd(3) : rnd(100000)));
        if (i % 7 == 0) slv_lookup_propose(l, 15, ids, chance);
    }
    assert_int_equal(slv_mem_count(), before);
    slv_lookup_rewind(l, 0);
    struct slv_lookup_match m;
    slv_lookup_add(l, 1);
    assert_false(slv_lookup_find(l, &m));
    slv_lookup_close(l);
    assert_true(slv_lookup_bytes(100000) < 200u * 100000u);
    assert_true(slv_lookup_bytes(SLV_MAX_CTX) > slv_lookup_bytes(100000));
}

/* How many of the first k proposals are what really comes, on average, from `from` on. */
static double right_of(const int32_t *t, uint32_t n, uint32_t from, uint32_t k) {
    struct slv_lookup *l;
    int32_t ids[15];
    float chance[15];
    uint32_t right = 0, asked = 0;
    assert_int_equal(slv_lookup_open(n, &l), 0);
    for (uint32_t i = 0; i < n; i++) {
        if (i >= from && i + k <= n) {
            uint32_t got = slv_lookup_propose(l, k, ids, chance);
            for (uint32_t j = 0; j < got && ids[j] == t[i + j]; j++)
                right++;
            for (uint32_t j = 0; j < got; j++)
                assert_true(chance[j] > 0.0f && chance[j] < 1.0f);
            asked += k;
        }
        slv_lookup_add(l, t[i]);
    }
    slv_lookup_close(l);
    return (double)right / asked;
}

static void repetition_is_proposed(void **state) {
    (void)state;
    static int32_t t[N_TEXT];
    for (uint32_t i = 0; i < N_TEXT; i++)
        t[i] = (int32_t)(i % 3); /* a period that is shorter than what is proposed */
    assert_true(right_of(t, N_TEXT, 10, 15) > 0.99);
    for (uint32_t i = 0; i < N_TEXT; i++)
        t[i] = i < 300 ? (int32_t)rnd(1000) : t[i - 300];
    assert_true(right_of(t, N_TEXT, 302, 8) > 0.99);
    for (uint32_t i = 300; i < N_TEXT; i += 12)
        t[i] = 5000; /* an edited copy: each twelfth token is another one, the rest goes on */
    double edited = right_of(t, N_TEXT, 302, 1);
    printf("# edited copy: %.3f right\n", edited);
    assert_true(edited > 0.89); /* all but the edits themselves: 11 of 12 */
}

/* --- the pace --------------------------------------------------------------------------------- */

static void length_follows_cost_and_chance(void **state) {
    (void)state;
    struct slv_pace flat = {0}, steep = {0}, knee = {0};
    float sure[15], unsure[15];
    double rate;
    for (uint32_t i = 0; i < 15; i++) {
        sure[i] = 0.95f;
        unsure[i] = 0.2f;
    }
    for (uint32_t i = 0; i < 200; i++)
        for (uint32_t m = 1; m <= 16; m++) {
            slv_pace_measured(&flat, m, 1000000);
            slv_pace_measured(&steep, m, 1000000 * m);
            slv_pace_measured(&knee, m, m <= 8 ? 1000000 + 50000 * m : 4000000);
        }
    assert_int_equal(slv_pace_choose(&flat, sure, 15, 0.0, &rate), 15);
    assert_int_equal(slv_pace_choose(&flat, unsure, 0, 0.0, &rate), 0);
    assert_int_equal(slv_pace_choose(&steep, sure, 15, 0.0, &rate), 0);
    assert_int_equal(slv_pace_choose(&knee, sure, 15, 0.0, &rate), 7);
    assert_int_equal(slv_pace_choose(&knee, unsure, 15, 1e6, &rate), 0);
    assert_true(fabs(slv_pace_cost(&knee, 4) - 1.2e6) < 2e4);
}

/* Steps over several tokens cost so much that nothing pays, until they no longer do. */
static void trying_out_is_cheap_and_notices_a_change(void **state) {
    (void)state;
    struct slv_pace p = {0};
    float sure[15];
    double rate, lost = 0.0, all = 0.0;
    for (uint32_t i = 0; i < 15; i++)
        sure[i] = 0.9f;
    uint32_t tries = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t k = slv_pace_choose(&p, sure, 15, 0.0, &rate);
        if (!k) k = slv_pace_probe(&p, sure, 15, 0.0, false);
        double ns = 1e6 * (1.0 + 1.5 * k);
        if (k && i > 100) lost += ns - 1e6;
        tries += k > 0;
        all += ns;
        slv_pace_measured(&p, k + 1, (uint64_t)ns);
    }
    printf("# %u tries, %.4f of the time\n", tries, lost / all);
    assert_true(tries > 5 && lost / all < 0.011);
    uint32_t since = 0, k = 0;
    for (uint32_t i = 0; i < 20000 && k < 5; i++, since++) {
        k = slv_pace_choose(&p, sure, 15, 0.0, &rate);
        uint32_t m = 1 + (k ? k : slv_pace_probe(&p, sure, 15, 0.0, false));
        slv_pace_measured(&p, m, (uint64_t)(1e6 + 1e5 * m));
    }
    assert_true(since < 20000);
}

/* --- generations ------------------------------------------------------------------------------ */

static struct slv_generate_stats total;
static struct seen plain_seen, guessed_seen;

static void compare(struct slv_model *m, struct how *how) {
    char stop[8];
    const char *stops[] = {stop};
    witness(m, how, true, &plain_seen, &total);
    witness(m, how, false, &guessed_seen, &total);
    same_seen(&plain_seen, &guessed_seen);
    if (!witness_stop(&plain_seen, stop)) return;
    how->g.stop = stops;
    how->g.n_stop = 1;
    witness(m, how, true, &plain_seen, &total);
    witness(m, how, false, &guessed_seen, &total);
    same_seen(&plain_seen, &guessed_seen);
}

static void with_lookup(const char *name, uint32_t rounds) {
    struct slv_model *m = witness_model(name);
    struct how how;
    total = (struct slv_generate_stats){0};
    for (uint32_t i = 0; i < rounds; i++) {
        witness_options(&how, m);
        compare(m, &how);
    }
    printf("# %s: %u tokens, %u steps, %u guessed, %u right\n", name, (unsigned)total.tokens,
           (unsigned)total.steps, (unsigned)total.drafted, (unsigned)total.accepted);
    assert_true(total.accepted > 10 * rounds && total.drafted - total.accepted > 10 * rounds);
    slv_model_close(m);
}

static void lookup_changes_nothing(void **state) {
    (void)state;
    with_lookup("llama3", 60);
    with_lookup("gpt2", 30);
}

static void lookup_changes_nothing_behind_a_window(void **state) {
    (void)state;
    with_lookup("gemma2", 30);
    with_lookup("gemma3", 30);
    with_lookup("llama-window", 30);
}

/* A rewind that plain decoding could do works after drafts too, and gives the same. */
static void a_session_with_drafts_goes_back_as_far(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama-window");
    struct slv_session *s;
    struct slv_session_opts so = {.n_ctx = 512, .n_batch = 32, .threads = 1};
    struct how how;
    float want[VOCAB_MAX] = {0};
    witness_prompt(&how, m->h.n_vocab);
    for (int guess = 0; guess < 2; guess++) {
        struct slv_generate_opts g;
        slv_generate_default(&g);
        g.max_tokens = 200;
        g.ignore_end = true;
        so.n_draft = guess ? 15 : 0;
        assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
        if (guess) s->spec->clock = &witness_clocks[0];
        assert_int_equal(slv_session_feed(s, how.prompt, how.n_prompt, NULL), 0);
        assert_int_equal(slv_session_generate(s, &g, NULL, NULL, NULL, NULL), 0);
        assert_int_equal(slv_session_rewind(s, slv_session_position(s) - 15), 0);
        assert_int_equal(slv_session_feed(s, how.prompt, 3, NULL), 0);
        if (guess) assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof *want);
        else memcpy(want, slv_session_logits(s), m->h.n_vocab * sizeof *want);
        slv_session_close(s);
    }
    slv_model_close(m);
}

/* --- a model that drafts ---------------------------------------------------------------------- */

static void with_draft(struct slv_model *m, struct slv_model *draft, uint32_t rounds) {
    struct how how;
    total = (struct slv_generate_stats){0};
    for (uint32_t i = 0; i < rounds; i++) {
        witness_options(&how, m);
        struct slv_session_opts so = {.n_ctx = how.so.n_ctx - rnd(20), .threads = 1};
        assert_int_equal(slv_session_open(draft, &so, &how.g.draft, NULL), 0);
        compare(m, &how);
        slv_session_close(how.g.draft);
    }
    printf("# %u tokens, %u steps, %u guessed, %u right\n", (unsigned)total.tokens,
           (unsigned)total.steps, (unsigned)total.drafted, (unsigned)total.accepted);
}

static void a_draft_model_changes_nothing(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *bad = witness_model("qwen2"),
                     *window = witness_model("llama-window");
    with_draft(m, m, 25); /* the best there can be: right wherever the last bit is */
    assert_true(total.accepted > total.drafted * 7 / 10 && total.accepted > 1000);
    with_draft(m, bad, 25);
    assert_true(total.drafted - total.accepted > 100);
    with_draft(window, window, 15);
    assert_true(total.accepted > 300);
    slv_model_close(m);
    slv_model_close(bad);
    slv_model_close(window);
}

/* Makes the embedding of every token that is not in ids[0..n) useless, as a spoilt file would. */
static void spoil_others(struct slv_model *m, const int32_t *ids, uint32_t n) {
    const struct slv_gguf_tensor *t = m->w.embd.from;
    size_t row = (size_t)(t->bytes / t->ne[1]), page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)t->data / page * page, to = (uintptr_t)t->data + t->bytes;
    assert_int_equal(mprotect((void *)from, to - from, PROT_READ | PROT_WRITE), 0);
    for (uint32_t id = 0; id < m->h.n_vocab; id++) {
        bool used = false;
        for (uint32_t i = 0; i < n; i++)
            used = used || ids[i] == (int32_t)id;
        if (!used)
            memset((char *)(uintptr_t)t->data + id * row, 0xff, row); /* NaN, whatever type */
    }
}

static void values_that_are_no_numbers_after_a_wrong_guess_are_no_error(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *bad = witness_model("qwen2");
    struct slv_session_opts so = {.n_ctx = 256, .threads = 1};
    struct how how = {
        .n_prompt = 30, .so = {.n_ctx = 128, .threads = 1}, .clock = &witness_clocks[0]};
    for (uint32_t i = 0; i < how.n_prompt; i++)
        how.prompt[i] = (int32_t)rnd(m->h.n_vocab);
    slv_generate_default(&how.g);
    how.g.max_tokens = 30;
    how.g.ignore_end = true;
    witness(m, &how, true, &plain_seen, &total);
    spoil_others(m, plain_seen.history, plain_seen.pos);
    assert_int_equal(slv_session_open(bad, &so, &how.g.draft, NULL), 0);
    how.so.n_draft = 7;
    witness(m, &how, false, &guessed_seen, &total);
    same_seen(&plain_seen, &guessed_seen);
    slv_session_close(how.g.draft);
    slv_model_close(m);
    slv_model_close(bad);
}

static void a_draft_with_other_tokens_is_refused(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3"), *other = witness_model("gemma");
    struct slv_session_opts so = {.n_ctx = 64, .threads = 1, .n_draft = 7};
    struct slv_session *s, *d;
    struct slv_generate_opts g;
    struct slv_err e = {0};
    int32_t ids[2] = {1, 2};
    slv_generate_default(&g);
    g.max_tokens = 2;
    g.ignore_end = true;
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    assert_int_equal(slv_session_open(other, &so, &d, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, 2, NULL), 0);
    g.draft = d;
    assert_int_equal(slv_session_generate(s, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    assert_non_null(strstr(e.msg, "vocabulary"));
    g.draft = s;
    assert_int_equal(slv_session_generate(s, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    g.draft = NULL;
    assert_int_equal(slv_session_generate(s, &g, NULL, NULL, NULL, &e), 0);
    assert_int_equal(slv_model_same_vocabulary(m, other, &e), SLV_E_USAGE);
    assert_int_equal(slv_model_same_vocabulary(m, m, &e), 0);
    slv_session_close(d);
    so.n_draft = 0;
    assert_int_equal(slv_session_open(m, &so, &d, NULL), 0);
    g.draft = s;
    assert_int_equal(slv_session_feed(d, ids, 2, NULL), 0);
    assert_int_equal(slv_session_generate(d, &g, NULL, NULL, NULL, &e), SLV_E_USAGE);
    assert_non_null(strstr(e.msg, "n_draft"));
    slv_session_close(d);
    slv_session_close(s);
    so.n_draft = 64;
    assert_int_equal(slv_session_open(m, &so, &s, &e), SLV_E_USAGE);
    slv_model_close(m);
    slv_model_close(other);
}

/* --- certain tokens --------------------------------------------------------------------------- */

struct script {
    uint32_t asked, n_vocab, every, run;
};

/* From each position divisible by `every` a run of tokens is certain. */
static size_t from_script(void *ctx, const int32_t *history, size_t n, int32_t *ids, size_t max) {
    struct script *sc = ctx;
    size_t from = n - n % sc->every, k = 0;
    (void)history;
    sc->asked++;
    for (size_t at = n - from; at < sc->run && k < max; at++)
        ids[k++] = (int32_t)((from * 31 + at * 7) % (sc->n_vocab - 8) + 4);
    return k;
}

static size_t one_by_one(void *ctx, const int32_t *history, size_t n, int32_t *ids, size_t max) {
    return from_script(ctx, history, n, ids, max ? 1 : 0);
}

static void certain_tokens_are_taken_as_they_are(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct how how;
    struct script sc = {.n_vocab = m->h.n_vocab};
    uint64_t steps[2] = {0};
    for (uint32_t i = 0; i < 80; i++) {
        witness_options(&how, m);
        sc.every = 5 + rnd(90);
        sc.run = 1 + rnd(sc.every);
        how.g.forced_ctx = &sc;
        if (!i) how.g.ignore_end = !(how.stop_after = 0);
        how.g.forced = one_by_one;
        total.steps = 0;
        witness(m, &how, true, &plain_seen, &total);
        steps[0] += total.steps;
        how.g.forced = from_script;
        total.steps = 0;
        witness(m, &how, false, &guessed_seen, &total);
        steps[1] += total.steps;
        same_seen(&plain_seen, &guessed_seen);
        for (uint32_t at = how.n_prompt; !i && at < how.n_prompt + 10; at++)
            if (at % sc.every < sc.run)
                assert_int_equal(
                    plain_seen.ids[at - how.n_prompt],
                    ((at - at % sc.every) * 31 + at % sc.every * 7) % (sc.n_vocab - 8) + 4);
    }
    printf("# %u steps instead of %u\n", (unsigned)steps[1], (unsigned)steps[0]);
    assert_true(steps[1] < steps[0] * 3 / 4);
    slv_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_finds_what_a_search_finds),
        cmocka_unit_test(the_index_follows_any_history),
        cmocka_unit_test(the_index_takes_no_more_than_it_says),
        cmocka_unit_test(repetition_is_proposed),
        cmocka_unit_test(length_follows_cost_and_chance),
        cmocka_unit_test(trying_out_is_cheap_and_notices_a_change),
        cmocka_unit_test(lookup_changes_nothing),
        cmocka_unit_test(lookup_changes_nothing_behind_a_window),
        cmocka_unit_test(a_session_with_drafts_goes_back_as_far),
        cmocka_unit_test(a_draft_model_changes_nothing),
        cmocka_unit_test(values_that_are_no_numbers_after_a_wrong_guess_are_no_error),
        cmocka_unit_test(a_draft_with_other_tokens_is_refused),
        cmocka_unit_test(certain_tokens_are_taken_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
