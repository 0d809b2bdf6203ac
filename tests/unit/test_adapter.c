/* test_adapter.c: what a user would lose: an adapter that does what it was trained for, whoever
 * else is in the step, and that nobody gets what another's adapter made.
 *
 * tiny_adapter.py makes adapters of the tiny models when the tests are built, and the models with
 * the adapters merged into their weights. Adapters beside the weights against those; the same bits
 * on every level, with any threads, in batches with others, with known beginnings, from saved
 * sessions; what is refused; and files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/blocks.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/batch.h"
#include "witness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR 1e-4f     /* from merged weights */
#define MATTERS 0.05f /* what an adapter moves some logit by, at least */
#define N_IDS 150

static int32_t ids[N_IDS];

/* --- the manifest ----------------------------------------------------------------------------- */

struct line {
    char kind[8], model[32], name[48];
    char word[6][48]; /* of a case: adapters and scales in turn */
    size_t n;
};

static struct line lines[128];
static size_t n_lines;

static int read_manifest(void **state) {
    (void)state;
    FILE *f = fopen(ADAPTERS "/manifest.txt", "r");
    char text[400];
    while (f && n_lines < sizeof lines / sizeof *lines && fgets(text, sizeof text, f)) {
        struct line *l = &lines[n_lines++];
        int n =
            sscanf(text, "%7s %31s %47s %47s %47s %47s %47s %47s %47s", l->kind, l->model, l->name,
                   l->word[0], l->word[1], l->word[2], l->word[3], l->word[4], l->word[5]);
        l->n = n > 3 ? (size_t)n - 3 : 0;
    }
    if (f) fclose(f);
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)(i * i * 7 + i * 31) % 283;
    return n_lines ? 0 : -1;
}

static struct slv_adapter *open_adapter(struct slv_model *m, const char *name) {
    struct slv_adapter *a = NULL;
    struct slv_err e = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s.gguf", ADAPTERS, name);
    if (slv_adapter_open(m, path, &a, &e)) fail_msg("%s", e.msg);
    return a;
}

/* What a case uses; closed by close_uses. */
static size_t open_uses(struct slv_model *m, const struct line *l, struct slv_adapter_use *ret) {
    size_t n = l->n / 2;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct slv_adapter_use){open_adapter(m, l->word[2 * i]),
                                          strtof(l->word[2 * i + 1], NULL)};
    return n;
}

static void close_uses(struct slv_adapter_use *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        slv_adapter_close((struct slv_adapter *)(uintptr_t)v[i].adapter);
}

static struct slv_model *open_model(const char *folder, const char *name, const char *end,
                                    const char *cpu) {
    struct slv_model *m = NULL;
    struct slv_err e = {0};
    struct slv_model_opts o = {.threads = 1, .cpu = cpu};
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
    if (slv_model_open(path, &o, &m, &e)) fail_msg("%s", e.msg);
    return m;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* How tokens are fed: `piece` a call (0: all at once), n_batch a step. */
struct way {
    uint32_t threads, n_batch, piece;
    enum slv_kv_kind kv;
};

static const struct way whole = {1, 0, 0, SLV_KV_KIND_F32};

static void answer(struct slv_model *m, const struct way *w, const struct slv_adapter_use *v,
                   size_t n_uses, uint32_t n, float *ret) {
    struct slv_session_opts o = {
        .n_ctx = 300, .n_batch = w->n_batch, .threads = w->threads, .kv = w->kv};
    const struct how how = {.uses = v, .n_uses = n_uses};
    struct slv_session *s = witness_open(m, &how, &o);
    for (uint32_t at = 0; at < n;) {
        uint32_t k = w->piece && w->piece < n - at ? w->piece : n - at;
        assert_int_equal(slv_session_feed(s, ids + at, k, NULL), 0);
        at += k;
    }
    memcpy(ret, slv_session_logits(s), m->h.n_vocab * sizeof *ret);
    slv_session_close(s);
}

static float apart(const float *a, const float *b, size_t n) {
    float max = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float d = fabsf(a[i] - b[i]);
        if (!(d <= max)) max = d; /* a NaN stays */
    }
    return max;
}

static const uint32_t lengths[] = {1, 7, N_IDS};

static void answers_are_those_of_merged_weights(void **state) {
    static float plain[VOCAB_MAX], want[VOCAB_MAX], got[VOCAB_MAX];
    size_t cases = 0;
    (void)state;
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        struct slv_adapter_use v[SLV_ADAPTERS_MAX];
        char name[100];
        float from_merged = 0.0f, from_plain = 0.0f;
        if (strcmp(l->kind, "case") != 0) continue;
        snprintf(name, sizeof name, "%s+%s-merged", l->model, l->name);
        struct slv_model *m = witness_model(l->model),
                         *merged = open_model(ADAPTERS, name, ".gguf", NULL);
        size_t n = open_uses(m, l, v);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            answer(m, &whole, NULL, 0, lengths[i], plain);
            answer(m, &whole, v, n, lengths[i], got);
            answer(merged, &whole, NULL, 0, lengths[i], want);
            from_merged = fmaxf(from_merged, apart(got, want, m->h.n_vocab));
            from_plain = fmaxf(from_plain, apart(got, plain, m->h.n_vocab));
        }
        printf("# %-24s %.1e from merged weights, %.1f from none\n", name, (double)from_merged,
               (double)from_plain);
        if (!(from_merged <= BAR)) fail_msg("%s: %g", name, (double)from_merged);
        if (!(from_plain >= MATTERS)) fail_msg("%s: moves by %g only", name, (double)from_plain);
        close_uses(v, n);
        slv_model_close(merged);
        slv_model_close(m);
        cases++;
    }
    assert_true(cases >= 17);
}

/* Of sealed models too, whose tables are not where those of a file are. */
static void a_source_takes_them_like_a_file(void **state) {
    static float want[VOCAB_MAX], got[VOCAB_MAX];
    (void)state;
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        struct slv_adapter_use v[SLV_ADAPTERS_MAX];
        struct slv_blocks b = {0};
        struct slv_err e = {0};
        struct slv_model *m = NULL;
        size_t n_vocab = 0;
        char path[512];
        if (strcmp(l->kind, "case") != 0) continue;
        for (int sourced = 0; sourced < 2; sourced++) {
            const struct slv_model_opts o = {.threads = 1, .source = &b};
            snprintf(path, sizeof path, "%s/%s.gguf", MODEL_DIR, l->model);
            if (sourced && slv_blocks_open_file(path, &b, &e)) fail_msg("%s", e.msg);
            if (!sourced) m = witness_model(l->model);
            else if (slv_model_open(path, &o, &m, &e)) fail_msg("%s", e.msg);
            size_t n = open_uses(m, l, v);
            answer(m, &whole, v, n, 7, sourced ? got : want);
            n_vocab = m->h.n_vocab;
            close_uses(v, n);
            slv_model_close(m);
        }
        slv_blocks_close(&b);
        assert_memory_equal(got, want, n_vocab * sizeof *got);
    }
}

/* forward.py on merged weights, and llama.cpp with the same files: tests/data/adapters. */
static void answers_are_those_of_the_oracles(void **state) {
    static float got[VOCAB_MAX];
    static const uint32_t at[2] = {7, 120};
    struct slv_buf b;
    uint32_t head[3];
    size_t with_llama = 0;
    (void)state;
    slv_buf_init(&b, (size_t)1 << 24);
    assert_int_equal(slv_file_read(TEST_DATA "/adapters/goldens.bin", &b, NULL), 0);
    assert_memory_equal(b.data, "SLVADA1\n", 8);
    memcpy(head, b.data + 8, sizeof head); /* n_vocab, cases, ids */
    const size_t n_vocab = head[0], record = 68 + 4 * n_vocab * sizeof(float);
    const char *p = b.data + 20 + 4 * (size_t)head[2];
    assert_true(n_vocab <= VOCAB_MAX && head[2] <= N_IDS);
    assert_int_equal(b.len, 20 + 4 * (size_t)head[2] + head[1] * record);
    memcpy(ids, b.data + 20, 4 * (size_t)head[2]);
    for (uint32_t i = 0; i < head[1]; i++, p += record) {
        const float *exact = (const float *)(const void *)(p + 68), *llama = exact + 2 * n_vocab;
        struct slv_adapter_use v[SLV_ADAPTERS_MAX];
        const struct line *l = lines;
        float bar, from_exact = 0.0f, from_llama = 0.0f;
        memcpy(&bar, p + 64, sizeof bar);
        while (l < lines + n_lines && (strcmp(l->kind, "case") != 0 || strcmp(l->model, p) != 0 ||
                                       strcmp(l->name, p + 32) != 0))
            l++;
        if (l == lines + n_lines) fail_msg("no case %s %s: run make_adapters.py", p, p + 32);
        struct slv_model *m = witness_model(l->model);
        size_t n = open_uses(m, l, v);
        for (size_t k = 0; k < 2; k++) {
            answer(m, &whole, v, n, at[k], got);
            from_exact = fmaxf(from_exact, apart(got, exact + k * n_vocab, n_vocab));
            if (bar > 0.0f)
                from_llama = fmaxf(from_llama, apart(got, llama + k * n_vocab, n_vocab));
        }
        printf("# %s %s: exact %.1e, llama.cpp %.1e\n", p, p + 32, (double)from_exact,
               (double)from_llama);
        if (!(from_exact <= BAR)) fail_msg("%g from the exact answer", (double)from_exact);
        if (!(from_llama <= bar)) fail_msg("%g from llama.cpp", (double)from_llama);
        with_llama += bar > 0.0f;
        close_uses(v, n);
        slv_model_close(m);
    }
    assert_true(with_llama >= 10);
    slv_buf_fini(&b);
}

static void feeding_does_not_change_a_bit(void **state) {
    static const struct way ways[] = {{2, 0, 0, 1},  {3, 100, 0, 1}, {1, 0, 1, 1},  {1, 1, 0, 1},
                                      {1, 64, 7, 1}, {1, 3, 7, 1},   {4, 16, 90, 1}};
    static float want[VOCAB_MAX], got[VOCAB_MAX];
    (void)state;
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        struct slv_adapter_use v[SLV_ADAPTERS_MAX];
        if (strcmp(l->kind, "case") != 0) continue;
        struct slv_model *m = witness_model(l->model);
        size_t n = open_uses(m, l, v);
        answer(m, &whole, v, n, N_IDS, want);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            answer(m, &ways[i], v, n, N_IDS, got);
            if (memcmp(want, got, m->h.n_vocab * sizeof *want))
                fail_msg("%s, %s: way %zu gives other bits", l->model, l->name, i);
        }
        close_uses(v, n);
        slv_model_close(m);
    }
}

static void levels_on(const struct line *l, bool is_bits) {
    static const char *const levels[] = {"scalar",     "sse4", "avx2",   "avx512",
                                         "avx512vnni", "neon", "dotprod"};
    static const struct way two = {2, 40, 0, SLV_KV_KIND_F16};
    static float want[VOCAB_MAX], got[VOCAB_MAX], plain[VOCAB_MAX];
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        struct slv_adapter_use v[SLV_ADAPTERS_MAX];
        struct slv_model *m = open_model(MODEL_DIR, l->model, ".gguf", levels[i]);
        size_t n = 1;
        if (is_bits) v[0] = (struct slv_adapter_use){open_adapter(m, l->name), 0.7f};
        else n = open_uses(m, l, v);
        answer(m, &two, v, n, 70, i ? got : want);
        if (!i) {
            answer(m, &two, NULL, 0, 70, plain);
            assert_true(apart(plain, want, m->h.n_vocab) > MATTERS);
        } else if (memcmp(want, got, m->h.n_vocab * sizeof *want)) {
            fail_msg("%s, %s: %s gives other bits than scalar", l->model, l->name, levels[i]);
        }
        close_uses(v, n);
        slv_model_close(m);
    }
}

/* Also beside quantized weights. */
static void instruction_sets_do_not_change_a_bit(void **state) {
    size_t quantized = 0;
    (void)state;
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        bool is_bits = !strcmp(l->kind, "bits");
        quantized += is_bits;
        if (is_bits || !strcmp(l->kind, "case")) levels_on(l, is_bits);
    }
    assert_true(quantized >= 2);
}

#ifdef FOLDERS
/* In folders the rows of queries and keys lie in another order than in files. */
static void folders_answer_like_files(void **state) {
    static float want[VOCAB_MAX], got[VOCAB_MAX], plain[VOCAB_MAX];
    size_t n = 0;
    (void)state;
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        if (strcmp(l->kind, "folder") != 0) continue;
        struct slv_model *file = open_model(FOLDERS, l->model, ".gguf", NULL),
                         *folder = open_model(FOLDERS, l->model, "", NULL);
        struct slv_adapter_use a = {open_adapter(file, l->name), 1.0f},
                               b = {open_adapter(folder, l->name), 1.0f};
        answer(file, &whole, NULL, 0, 70, plain);
        answer(file, &whole, &a, 1, 70, want);
        answer(folder, &whole, &b, 1, 70, got);
        assert_true(apart(got, want, file->h.n_vocab) <= BAR);
        assert_true(apart(plain, want, file->h.n_vocab) > MATTERS);
        close_uses(&a, 1);
        close_uses(&b, 1);
        slv_model_close(file);
        slv_model_close(folder);
        n++;
    }
    assert_int_equal(n, 3);
}
#endif

/* --- with others ------------------------------------------------------------------------------ */

#define TOGETHER 9
#define SETS 6

static struct how how[TOGETHER];
static struct seen alone[TOGETHER], together[TOGETHER];

/* Sets of adapters that differ in an adapter, a scale, the order; the first is none. */
static size_t some_sets(struct slv_model *m, struct slv_adapter_use a[2],
                        struct slv_adapter_use ret[SETS][2], size_t n[SETS]) {
    const struct slv_adapter_use sets[SETS][2] = {
        {{NULL, 0}, {NULL, 0}},
        {{a[0].adapter, 1.0f}, {NULL, 0}},
        {{a[1].adapter, 1.0f}, {NULL, 0}},
        {{a[0].adapter, 0.5f}, {NULL, 0}},
        {{a[0].adapter, 1.0f}, {a[1].adapter, 0.25f}},
        {{a[1].adapter, 0.25f}, {a[0].adapter, 1.0f}},
    };
    (void)m;
    memcpy(ret, sets, sizeof sets);
    for (size_t i = 0; i < SETS; i++)
        n[i] = (size_t)(sets[i][0].adapter != NULL) + (sets[i][1].adapter != NULL);
    return SETS;
}

static const struct {
    const char *model, *adapter[2];
} pairs[] = {{"llama2", {"llama2+all", "llama2+f16"}}, {"gemma3", {"gemma3+all", "gemma3+other"}}};

/* By themselves, then in one batch, some of them behind a common beginning in a shared cache. */
static void compare(struct slv_model *m, struct slv_adapter_use sets[SETS][2],
                    const size_t n_uses[SETS], bool shares) {
    static const uint32_t threads[] = {1, 2, 4};
    struct slv_batch_opts o = {
        .n_sessions = 1 + rnd(8), .n_batch = rnd(2) ? 8 + rnd(60) : 0, .threads = threads[rnd(3)]};
    struct slv_prefix_cache_opts po = {.kv = SLV_KV_KIND_F16, .bytes = (uint64_t)48 << 20};
    struct slv_generate_stats stats = {0};
    struct slv_prefix_cache *c = NULL;
    if (shares) assert_int_equal(slv_prefix_cache_open(m, &po, &c, NULL), 0);
    for (size_t i = 0; i < TOGETHER; i++) {
        uint32_t set = rnd(SETS);
        witness_options(&how[i], m);
        if (shares) { /* all begin alike, and differ in what may be shared */
            how[i].so.kv = SLV_KV_KIND_F16;
            memcpy(how[i].prompt, how[0].prompt, sizeof how[0].prompt);
            how[i].so.space = rnd(3);
        }
        how[i].uses = sets[set];
        how[i].n_uses = n_uses[set];
        witness(m, &how[i], true, &alone[i], &stats);
        how[i].so.prefix = c;
    }
    witness_batch(m, how, TOGETHER, &o, together, NULL);
    for (size_t i = 0; i < TOGETHER; i++)
        same_seen(&alone[i], &together[i]);
    slv_prefix_cache_close(c);
}

static void others_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct slv_model *m = witness_model(pairs[i].model);
        struct slv_adapter_use a[2] = {{open_adapter(m, pairs[i].adapter[0]), 1},
                                       {open_adapter(m, pairs[i].adapter[1]), 1}};
        struct slv_adapter_use sets[SETS][2];
        size_t n[SETS];
        some_sets(m, a, sets, n);
        for (int k = 0; k < 8; k++)
            compare(m, sets, n, k % 2);
        close_uses(a, 2);
        slv_model_close(m);
    }
}

/* --- beginnings ------------------------------------------------------------------------------- */

static uint64_t reused(struct slv_prefix_cache *c) {
    struct slv_prefix_stats st;
    slv_prefix_cache_stats(c, &st);
    return st.reused;
}

/* Tokens that a session of that space with that set finds known. */
static uint64_t finds(struct slv_model *m, struct slv_prefix_cache *c, uint64_t space,
                      const struct slv_adapter_use *uses, size_t n, const float *want) {
    struct slv_session_opts o = {.n_ctx = 200, .threads = 1, .prefix = c, .space = space};
    const struct how h = {.uses = uses, .n_uses = n};
    struct slv_session *s = witness_open(m, &h, &o);
    uint64_t before = reused(c);
    assert_int_equal(slv_session_feed(s, ids, N_IDS, NULL), 0);
    assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof *want);
    slv_session_close(s);
    return reused(c) - before;
}

static void what_others_made_is_not_found(void **state) {
    static const struct way f16 = {1, 0, 0, SLV_KV_KIND_F16};
    static float want[SETS][VOCAB_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct slv_model *m = witness_model(pairs[i].model);
        struct slv_prefix_cache *c;
        struct slv_prefix_cache_opts po = {.bytes = (uint64_t)64 << 20};
        struct slv_adapter_use a[2] = {{open_adapter(m, pairs[i].adapter[0]), 1},
                                       {open_adapter(m, pairs[i].adapter[1]), 1}};
        struct slv_adapter_use sets[SETS][2];
        size_t n[SETS];
        some_sets(m, a, sets, n);
        assert_int_equal(slv_prefix_cache_open(m, &po, &c, NULL), 0);
        for (size_t k = 0; k < SETS; k++)
            answer(m, &f16, sets[k], n[k], N_IDS, want[k]);
        for (int round = 0; round < 2; round++)
            for (uint64_t space = 0; space < 3; space++)
                for (size_t k = 0; k < SETS; k++) {
                    uint64_t k_found = finds(m, c, space << 40, sets[k], n[k], want[k]);
                    assert_int_equal(k_found, round ? N_IDS - 1 : 0);
                }
        slv_prefix_cache_close(c);
        /* An adapter that was closed and opened again is another one. */
        assert_int_equal(slv_prefix_cache_open(m, &po, &c, NULL), 0);
        assert_int_equal(finds(m, c, 0, a, 1, want[1]), 0);
        assert_int_equal(finds(m, c, 0, a, 1, want[1]), N_IDS - 1);
        close_uses(a, 1);
        a[0].adapter = open_adapter(m, pairs[i].adapter[0]);
        assert_int_equal(finds(m, c, 0, a, 1, want[1]), 0);
        slv_prefix_cache_close(c);
        close_uses(a, 2);
        slv_model_close(m);
    }
}

/* More owners than a small cache has pages: each is served, nothing is kept for ever. */
static void spaces_come_and_go(void **state) {
    static const struct way f16 = {1, 0, 0, SLV_KV_KIND_F16};
    static float want[VOCAB_MAX];
    (void)state;
    struct slv_model *m = witness_model("llama3");
    struct slv_session_opts so = {.n_ctx = 200};
    struct slv_memory mem;
    struct slv_prefix_cache *c;
    assert_int_equal(slv_model_memory(m, &so, &mem, NULL), 0);
    struct slv_prefix_cache_opts po = {.bytes = 2 * mem.kv};
    assert_int_equal(slv_prefix_cache_open(m, &po, &c, NULL), 0);
    answer(m, &f16, NULL, 0, N_IDS, want);
    for (uint64_t space = 1; space < 100; space++)
        assert_int_equal(finds(m, c, space, NULL, 0, want), 0);
    assert_int_equal(finds(m, c, 99, NULL, 0, want), N_IDS - 1);
    slv_pool_lock(c->pool);
    while (slv_tree_evict(c->tree)) {
    }
    assert_int_equal(c->pool->used, 0);
    assert_true(c->tree->used.newer == &c->tree->used); /* no node is left */
    slv_pool_unlock(c->pool);
    slv_prefix_cache_close(c);
    slv_model_close(m);
}

/* --- files of sessions ------------------------------------------------------------------------ */

static void saved_sessions_know_their_adapters(void **state) {
    static float want[VOCAB_MAX];
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "/tmp/selvage-adapter-%ld.state", (long)getpid());
    struct slv_model *m = witness_model("llama2");
    struct slv_adapter_use a[2] = {{open_adapter(m, "llama2+all"), 1},
                                   {open_adapter(m, "llama2+f16"), 1}};
    struct slv_adapter_use sets[SETS][2];
    size_t n[SETS];
    struct slv_session_opts o = {.n_ctx = 200, .threads = 1};
    some_sets(m, a, sets, n);
    for (size_t k = 0; k < SETS; k++) {
        struct how h = {.uses = sets[k], .n_uses = n[k]};
        struct slv_session *s = witness_open(m, &h, &o);
        assert_int_equal(slv_session_feed(s, ids, 100, NULL), 0);
        assert_int_equal(slv_session_save(s, path, NULL), 0);
        assert_int_equal(slv_session_feed(s, ids + 100, 10, NULL), 0);
        memcpy(want, slv_session_logits(s), m->h.n_vocab * sizeof *want);
        slv_session_close(s);
        for (size_t j = 0; j < SETS; j++) {
            struct slv_err e = {0};
            h = (struct how){.uses = sets[j], .n_uses = n[j]};
            s = witness_open(m, &h, &o);
            int rc = slv_session_load(s, path, &e);
            assert_int_equal(rc, j == k ? 0 : SLV_E_FORMAT);
            if (rc) {
                assert_non_null(strstr(e.msg, "other adapters"));
            } else {
                assert_int_equal(slv_session_feed(s, ids + 100, 10, NULL), 0);
                assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof *want);
            }
            slv_session_close(s);
        }
    }
    unlink(path);
    close_uses(a, 2);
    slv_model_close(m);
}

/* --- what is refused -------------------------------------------------------------------------- */

static void refuses(struct slv_session *s, const struct slv_adapter_use *v, size_t n, int code,
                    const char *why) {
    struct slv_err e = {0};
    assert_int_equal(slv_session_set_adapters(s, v, n, &e), code);
    assert_int_equal(e.code, code);
    if (!strstr(e.msg, why)) fail_msg("'%s' does not say '%s'", e.msg, why);
}

static bool no_piece(const struct slv_piece *p, void *ctx) {
    (void)p, (void)ctx;
    return true;
}

static void misuse_is_refused_and_changes_nothing(void **state) {
    static float want[VOCAB_MAX];
    (void)state;
    struct slv_model *m = witness_model("llama2"), *other = witness_model("llama2");
    struct slv_adapter_use a = {open_adapter(m, "llama2+all"), 1},
                           b = {open_adapter(other, "llama2+all"), 1}, many[9];
    for (size_t i = 0; i < 9; i++)
        many[i] = (struct slv_adapter_use){a.adapter, 0.01f};
    struct slv_session *s = witness_session(m, NULL, SLV_KV_KIND_F32, 200, 0);
    refuses(s, &b, 1, SLV_E_USAGE, "adapter 1 is one of another model");
    refuses(s, many, 9, SLV_E_USAGE, "the limit is 8");
    a.scale = NAN;
    refuses(s, &a, 1, SLV_E_USAGE, "scale is no number");
    a.scale = INFINITY;
    refuses(s, &a, 1, SLV_E_USAGE, "scale is no number");
    a.scale = 1.0f;
    assert_int_equal(slv_session_set_adapters(s, many, 8, NULL), 0);
    assert_int_equal(slv_session_set_adapters(s, &a, 1, NULL), 0);
    refuses(s, &b, 1, SLV_E_USAGE, "another model");
    assert_int_equal(slv_session_feed(s, ids, 20, NULL), 0);
    refuses(s, NULL, 0, SLV_E_USAGE, "empty");
    answer(m, &whole, &a, 1, 20, want);
    assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof *want);
    assert_int_equal(slv_session_rewind(s, 0), 0);
    assert_int_equal(slv_session_set_adapters(s, NULL, 0, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, 20, NULL), 0);
    answer(m, &whole, NULL, 0, 20, want);
    assert_memory_equal(slv_session_logits(s), want, m->h.n_vocab * sizeof *want);
    slv_session_close(s);

    struct slv_batch *batch;
    struct slv_generate_opts g;
    slv_generate_default(&g);
    assert_int_equal(slv_batch_open(m, NULL, &batch, NULL), 0);
    struct slv_session_opts so = {.n_ctx = 100, .batch = batch};
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    assert_int_equal(slv_batch_join(batch, s, ids, 20, &g, no_piece, NULL, NULL, NULL), 0);
    refuses(s, &a, 1, SLV_E_USAGE, "in its batch");
    slv_session_close(s);
    slv_batch_close(batch);
    close_uses(&a, 1);
    close_uses(&b, 1);
    slv_model_close(m);
    slv_model_close(other);
}

static void memory_is_counted(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama2");
    struct slv_session_opts so = {.n_ctx = 100, .threads = 1};
    struct slv_memory before, after;
    struct slv_adapter_info info;
    struct slv_session *s;
    struct slv_batch *b;
    assert_int_equal(slv_model_memory(m, &so, &before, NULL), 0);
    struct slv_adapter_use a = {open_adapter(m, "llama2+all"), 1};
    slv_adapter_info(a.adapter, &info);
    assert_string_equal(info.name, "llama2+all");
    assert_int_equal(info.rank, 20);
    assert_int_equal(info.pairs, 16);
    assert_true(info.alpha == 6.0f);
    assert_int_equal(slv_model_memory(m, &so, &after, NULL), 0);
    assert_int_equal(after.weights, before.weights + info.bytes);
    so.memory = after.total; /* enough for the adapter, not for its work */
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    refuses(s, &a, 1, SLV_E_FIT, "with its adapters");
    assert_int_equal(slv_session_feed(s, ids, 5, NULL), 0);
    slv_session_close(s);
    so.memory = after.total + (1 << 20);
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    assert_int_equal(slv_session_set_adapters(s, &a, 1, NULL), 0);
    slv_session_close(s);

    struct slv_batch_opts bo = {.threads = 1};
    assert_int_equal(slv_batch_open(m, &bo, &b, NULL), 0);
    bo.memory = b->used + (1 << 20);
    slv_batch_close(b);
    assert_int_equal(slv_batch_open(m, &bo, &b, NULL), 0);
    so = (struct slv_session_opts){.n_ctx = 100, .batch = b};
    assert_int_equal(slv_session_open(m, &so, &s, NULL), 0);
    uint64_t used = b->used;
    assert_int_equal(slv_session_set_adapters(s, &a, 1, NULL), 0);
    assert_true(b->used > used && b->used <= bo.memory);
    used = b->used;
    assert_int_equal(slv_session_set_adapters(s, &a, 1, NULL), 0);
    assert_int_equal(b->used, used); /* the room is there */
    b->o.memory = used;
    struct slv_adapter_use two[2] = {a, a};
    refuses(s, two, 2, SLV_E_FIT, "with its adapters");
    assert_int_equal(b->used, used);
    slv_session_close(s);
    slv_batch_close(b);
    close_uses(&a, 1);
    so = (struct slv_session_opts){.n_ctx = 100, .threads = 1};
    assert_int_equal(slv_model_memory(m, &so, &after, NULL), 0);
    assert_int_equal(after.total, before.total);
    slv_model_close(m);
}

/* --- allocations ------------------------------------------------------------------------------ */

static int open_and_use(struct slv_model *m, struct slv_session *s, struct slv_err *e) {
    struct slv_adapter *a = NULL;
    int rc = slv_adapter_open(m, ADAPTERS "/llama2+all.gguf", &a, e);
    if (rc) return rc;
    const struct slv_adapter_use use = {a, 1.0f};
    rc = slv_session_set_adapters(s, &use, 1, e);
    if (!rc) rc = slv_session_feed(s, ids, 10, e);
    if (!slv_session_rewind(s, 0)) assert_int_equal(slv_session_set_adapters(s, NULL, 0, NULL), 0);
    slv_adapter_close(a);
    return rc;
}

static void running_out_of_memory_is_an_error(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama2");
    uint64_t n = 0;
    int rc = -1;
    while (rc) {
        struct slv_session *s = witness_session(m, NULL, SLV_KV_KIND_F32, 100, 0);
        struct slv_err e = {0};
        slv_mem_fail_at(++n);
        rc = open_and_use(m, s, &e);
        slv_mem_fail_at(0);
        if (rc && (rc != SLV_E_NOMEM || !e.msg[0]))
            fail_msg("allocation %u: %d '%s'", (unsigned)n, rc, e.msg);
        slv_session_close(s);
        assert_true(n < 1000);
    }
    assert_true(n > 10);
    assert_int_equal(m->adapter_bytes, 0);
    slv_model_close(m);
}

static void steps_allocate_nothing(void **state) {
    (void)state;
    struct slv_model *m = witness_model("llama2");
    struct slv_adapter_use a = {open_adapter(m, "llama2+all"), 1};
    struct slv_session *s = witness_session(m, NULL, SLV_KV_KIND_F16, 200, 0);
    assert_int_equal(slv_session_set_adapters(s, &a, 1, NULL), 0);
    uint64_t before = slv_mem_count();
    assert_int_equal(slv_session_feed(s, ids, 70, NULL), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(slv_session_feed(s, ids + 70 + i, 1, NULL), 0);
    assert_int_equal(slv_mem_count(), before);
    slv_session_close(s);
    close_uses(&a, 1);
    slv_model_close(m);
}

/* --- files that are none ---------------------------------------------------------------------- */

static int code_of(const char *name) {
    return !strcmp(name, "FORMAT")        ? SLV_E_FORMAT
           : !strcmp(name, "UNSUPPORTED") ? SLV_E_UNSUPPORTED
           : !strcmp(name, "LIMIT")       ? SLV_E_LIMIT
                                          : SLV_E_INTERNAL;
}

static void wrong_files_are_refused_in_one_line(void **state) {
    size_t n = 0, bad = 0;
    (void)state;
    struct slv_model *m = witness_model("llama2");
    for (const struct line *l = lines; l < lines + n_lines; l++) {
        struct slv_adapter *a = NULL;
        struct slv_err e = {0};
        char path[512];
        if (strcmp(l->kind, "bad") != 0) continue;
        snprintf(path, sizeof path, "%s/%s.gguf", ADAPTERS, l->name);
        int rc = slv_adapter_open(m, path, &a, &e);
        n++;
        if (rc == code_of(l->word[0]) && e.code == rc && e.msg[0] && !strchr(e.msg, '\n') && !a)
            continue;
        bad++;
        print_error("%s: answers %d '%s'\n", l->name, rc, e.msg);
        slv_adapter_close(a);
    }
    assert_int_equal(bad, 0);
    assert_true(n >= 30);
    struct slv_adapter *a = NULL;
    assert_int_equal(slv_adapter_open(m, ADAPTERS "/no-such-file", &a, NULL), SLV_E_NOENT);
    assert_int_equal(slv_adapter_open(m, MODEL_DIR "/llama2.gguf", &a, NULL), SLV_E_FORMAT);
    slv_model_close(m);
}

/* Any bytes are refused with a line, or are an adapter that can be used. */
static void changed_files_are_refused_or_work(void **state) {
    static const char *const names[] = {"llama2+all", "llama2+f16", "llama2+q8"};
    size_t taken = 0, refused = 0;
    (void)state;
    struct slv_model *m = witness_model("llama2");
    struct slv_session *s = witness_session(m, NULL, SLV_KV_KIND_F16, 64, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct slv_buf b;
        char path[512];
        snprintf(path, sizeof path, "%s/%s.gguf", ADAPTERS, names[i]);
        slv_buf_init(&b, (size_t)1 << 24);
        assert_int_equal(slv_file_read(path, &b, NULL), 0);
        for (int k = 0; k < 700; k++) {
            struct slv_gguf *g;
            struct slv_adapter *a = NULL;
            struct slv_err e = {0};
            size_t n = rnd(8) ? b.len : rnd((uint32_t)b.len);
            unsigned char *own = slv_mem_alloc(n);
            memcpy(own, b.data, n);
            for (uint32_t c = 0; n && c < 1 + rnd(4); c++) /* mostly where numbers and names are */
                own[rnd(rnd(8) ? (uint32_t)(n < 3000 ? n : 3000) : (uint32_t)n)] ^=
                    (unsigned char)(1u << rnd(8));
            int rc = slv_gguf_parse(own, n, &g, &e);
            if (!rc) {
                rc = slv_adapter_read(m, g, &a, &e);
                slv_gguf_close(g);
            }
            slv_mem_free(own);
            if (rc) {
                assert_true(e.code == rc && e.msg[0] && !strchr(e.msg, '\n'));
                assert_true(rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT);
                refused++;
                continue;
            }
            const struct slv_adapter_use use = {a, 1.0f};
            assert_int_equal(slv_session_set_adapters(s, &use, 1, NULL), 0);
            rc = slv_session_feed(s, ids, 3, NULL);
            assert_true(!rc || rc == SLV_E_NUMERIC);
            assert_int_equal(slv_session_rewind(s, 0), 0);
            assert_int_equal(slv_session_set_adapters(s, NULL, 0, NULL), 0);
            slv_adapter_close(a);
            taken++;
        }
        slv_buf_fini(&b);
    }
    assert_true(taken > 50 && refused > 500);
    slv_session_close(s);
    slv_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_merged_weights),
        cmocka_unit_test(answers_are_those_of_the_oracles),
        cmocka_unit_test(a_source_takes_them_like_a_file),
        cmocka_unit_test(feeding_does_not_change_a_bit),
        cmocka_unit_test(instruction_sets_do_not_change_a_bit),
#ifdef FOLDERS
        cmocka_unit_test(folders_answer_like_files),
#endif
        cmocka_unit_test(others_change_nothing),
        cmocka_unit_test(what_others_made_is_not_found),
        cmocka_unit_test(spaces_come_and_go),
        cmocka_unit_test(saved_sessions_know_their_adapters),
        cmocka_unit_test(misuse_is_refused_and_changes_nothing),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(wrong_files_are_refused_in_one_line),
        cmocka_unit_test(changed_files_are_refused_or_work),
    };
    return cmocka_run_group_tests(tests, read_manifest, NULL);
}
