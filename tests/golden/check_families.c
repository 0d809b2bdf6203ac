/* check_families.c: what a user would lose: the answers of the model itself.
 *
 * tiny_model.py makes a small random model of every family when the tests are built; goldens.bin
 * holds what llama.cpp and a double-precision forward pass answer to them (make_families.py). For
 * each model, after 1, 7 and 300 tokens:
 *
 *   - the logits are those of both, within the bars stored with the goldens;
 *   - however the tokens are fed, with whatever threads and on whatever instruction set, the bits
 *     are the same;
 *   - a cache of halves or bytes changes little.
 *
 * Then each model once more with one feature of its family taken away: the answer must be another
 * one, which shows that the tests above would notice. Last, models of many tensor types against
 * the same numbers as floats.
 *
 * --digest [few] prints instead, for each model and kind of cache, one number made of the bits of
 * all its logits and of an answer drawn from it, and one made of all: machines of other kinds must
 * print the same. `few` is fewer models, which together have every feature and type, and short
 * prompts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "selvage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LONG 300u
#define N_CTX 512u /* tiny_model.py's */
#define N_LENGTHS 3
static const uint32_t lengths[N_LENGTHS] = {1, 7, LONG};

/* A feature must move some logit by so much. */
#define MATTERS 0.1f
/* Most that other kinds of cache and 8-bit activations may move a logit, of a spread of about 2.
 * Measured: see the lines this program prints. */
#define F16_BAR 0.05f
#define Q8_BAR 0.8f
#define QUANT_BAR 0.1f /* root mean square of the error, by that of the logits */

struct golden {
    char name[32];
    float llama_bar, exact_bar; /* 0: there are none */
    const float *exact, *llama; /* [3][n_vocab], [4][n_vocab] */
};

static uint32_t n_vocab, n_goldens;
static int32_t ids[LONG];
static struct golden *goldens;
static unsigned char *golden_bytes;

/* A line of the manifest. */
struct entry {
    char kind[8], name[48], feature[48];
    uint32_t n_ctx;
};

#define ENTRIES_MAX 400
static struct entry entries[ENTRIES_MAX];
static size_t n_entries, n_comparisons;

/* --- files -------------------------------------------------------------------------------------*/

static unsigned char *read_all(const char *path, size_t *ret_n) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    unsigned char *p = malloc((size_t)n + 1);
    if (!p || fread(p, 1, (size_t)n, f) != (size_t)n) fail_msg("cannot read %s", path);
    fclose(f);
    p[n] = 0;
    *ret_n = (size_t)n;
    return p;
}

static int load_goldens(void **state) {
    (void)state;
    size_t n, row, record, at = 20;
    uint32_t head[3];
    golden_bytes = read_all(TEST_DATA "/families/goldens.bin", &n);
    memcpy(head, golden_bytes + 8, sizeof head);
    n_vocab = head[0];
    n_goldens = head[1];
    assert_memory_equal(golden_bytes, "SLVFAM1\n", 8);
    assert_int_equal(head[2], LONG);
    memcpy(ids, golden_bytes + at, sizeof ids);
    at += sizeof ids;
    row = n_vocab * sizeof(float);
    record = 40 + 7 * row;
    assert_int_equal(n, at + n_goldens * record);
    goldens = calloc(n_goldens, sizeof *goldens);
    assert_non_null(goldens);
    for (size_t i = 0; i < n_goldens; i++, at += record) {
        struct golden *g = &goldens[i];
        memcpy(g->name, golden_bytes + at, sizeof g->name);
        memcpy(&g->llama_bar, golden_bytes + at + 32, 4);
        memcpy(&g->exact_bar, golden_bytes + at + 36, 4);
        g->exact = (const float *)(const void *)(golden_bytes + at + 40);
        g->llama = g->exact + 3 * n_vocab;
    }
    return 0;
}

static int unload(void **state) {
    (void)state;
    printf("# %u models with goldens, %zu rows of logits compared\n", n_goldens, n_comparisons);
    free(goldens);
    free(golden_bytes);
    return 0;
}

static const struct golden *golden_of(const char *name) {
    for (size_t i = 0; i < n_goldens; i++)
        if (!strcmp(goldens[i].name, name)) return &goldens[i];
    fail_msg("no golden for %s: run make_families.py", name);
    return NULL;
}

/* --- running
 * ------------------------------------------------------------------------------------*/

/* How tokens are fed: `piece` a call (0: all at once), n_batch a step. */
struct way {
    const char *what;
    uint32_t threads, n_batch, piece;
};

static const struct way whole = {"at once", 1, 512, 0};

static struct slv_model *open_model(const char *name, const char *feature, const char *cpu) {
    char path[512];
    struct slv_model *m = NULL;
    struct slv_err err = {0};
    struct slv_model_opts o = {.threads = 1, .cpu = cpu};
    snprintf(path, sizeof path, "%s/%s%s%s.gguf", MODEL_DIR, name, *feature ? "~" : "", feature);
    if (slv_model_open(path, &o, &m, &err)) fail_msg("%s", err.msg);
    struct slv_model_info info;
    slv_model_info(m, &info);
    assert_int_equal(info.n_vocab, n_vocab);
    return m;
}

/* Logits after the first n ids. */
static void answer(struct slv_model *m, const struct way *w, enum slv_kv_kind kv, uint32_t n_ctx,
                   uint32_t n, float *ret) {
    struct slv_session *s = NULL;
    struct slv_err err = {0};
    struct slv_session_opts o = {
        .n_ctx = n_ctx, .n_batch = w->n_batch, .threads = w->threads, .kv = kv};
    if (slv_session_open(m, &o, &s, &err)) fail_msg("%s", err.msg);
    for (uint32_t at = 0; at < n;) {
        uint32_t k = w->piece && w->piece < n - at ? w->piece : n - at;
        if (slv_session_feed(s, ids + at, k, &err)) fail_msg("%s: %s", w->what, err.msg);
        at += k;
    }
    memcpy(ret, slv_session_logits(s), n_vocab * sizeof *ret);
    slv_session_close(s);
}

static float apart(const float *a, const float *b) {
    float max = 0.0f;
    n_comparisons++;
    for (size_t i = 0; i < n_vocab; i++) {
        float d = fabsf(a[i] - b[i]);
        if (!(d <= max)) max = d; /* a NaN stays */
    }
    return max;
}

/* --- the tests
 * ----------------------------------------------------------------------------------*/

static float row[512], other[512];

static void answers_are_those_of_the_oracles(void **state) {
    const struct entry *e = *state;
    const struct golden *g = golden_of(e->name);
    struct slv_model *m = open_model(e->name, "", NULL);
    float llama = 0.0f, exact = 0.0f, d;
    assert_true(n_vocab <= sizeof row / sizeof *row);
    for (size_t i = 0; i < N_LENGTHS; i++) {
        answer(m, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], row);
        d = apart(row, g->exact + i * n_vocab);
        exact = d <= exact ? exact : d;
        if (!(g->llama_bar > 0.0f)) continue;
        d = apart(row, g->llama + i * n_vocab);
        llama = d <= llama ? llama : d;
    }
    if (g->llama_bar > 0.0f) { /* llama.cpp with a filled cache */
        d = apart(row, g->llama + N_LENGTHS * n_vocab);
        llama = d <= llama ? llama : d;
    }
    printf("# %-20s llama.cpp %.1e  exact %.1e\n", e->name, (double)llama, (double)exact);
    slv_model_close(m);
    if (!(exact <= g->exact_bar)) fail_msg("%g from the exact answer", (double)exact);
    if (!(llama <= g->llama_bar)) fail_msg("%g from llama.cpp", (double)llama);
}

static void feeding_does_not_change_a_bit(void **state) {
    static const struct way ways[] = {
        {"two threads", 2, 512, 0},      {"three threads, batches of 100", 3, 100, 0},
        {"token by token", 1, 512, 1},   {"batches of one", 1, 1, 0},
        {"seven at a time", 2, 64, 7},   {"seven in batches of three", 1, 3, 7},
        {"a filled cache", 1, 512, 290}, {"a filled cache, two threads", 2, 16, 290},
    };
    const struct entry *e = *state;
    struct slv_model *m = open_model(e->name, "", NULL);
    for (size_t i = 0; i < N_LENGTHS; i++) {
        answer(m, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], row);
        for (size_t j = 0; j < sizeof ways / sizeof ways[0]; j++) {
            answer(m, &ways[j], SLV_KV_KIND_F32, e->n_ctx, lengths[i], other);
            n_comparisons++;
            if (memcmp(row, other, n_vocab * sizeof *row))
                fail_msg("%u tokens, %s: other bits", lengths[i], ways[j].what);
        }
    }
    slv_model_close(m);
}

static void instruction_sets_do_not_change_a_bit(void **state) {
    static const char *const levels[] = {"scalar",     "sse4", "avx2",   "avx512",
                                         "avx512vnni", "neon", "dotprod"};
    static const struct way two = {"two threads", 2, 64, 0};
    const struct entry *e = *state;
    for (enum slv_kv_kind kv = SLV_KV_KIND_F16; kv <= SLV_KV_KIND_Q8; kv++)
        for (size_t j = 0; j < sizeof levels / sizeof levels[0]; j++) {
            struct slv_model *m = open_model(e->name, "", levels[j]);
            answer(m, &two, kv, e->n_ctx, 70, j ? other : row);
            n_comparisons++;
            slv_model_close(m);
            if (j && memcmp(row, other, n_vocab * sizeof *row))
                fail_msg("%s, cache %d: other bits than scalar", levels[j], (int)kv);
        }
}

static void small_caches_change_little(void **state) {
    static const struct way batches = {"two threads, batches of 50", 2, 50, 0};
    const struct entry *e = *state;
    struct slv_model *m = open_model(e->name, "", NULL);
    float max[3] = {0};
    for (size_t i = 0; i < N_LENGTHS; i++) {
        answer(m, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], row);
        for (enum slv_kv_kind kv = SLV_KV_KIND_F16; kv <= SLV_KV_KIND_Q8; kv++) {
            float again[512], d;
            answer(m, &whole, kv, e->n_ctx, lengths[i], other);
            answer(m, &batches, kv, e->n_ctx, lengths[i], again);
            if (memcmp(other, again, n_vocab * sizeof *other))
                fail_msg("cache %d: batches change bits", (int)kv);
            d = apart(row, other);
            if (!(d <= max[kv])) max[kv] = d;
        }
    }
    slv_model_close(m);
    printf("# %-20s f16 cache %.1e  q8 cache %.1e\n", e->name, (double)max[SLV_KV_KIND_F16],
           (double)max[SLV_KV_KIND_Q8]);
    assert_true(max[SLV_KV_KIND_F32] == 0.0f);
    if (!(max[SLV_KV_KIND_F16] <= F16_BAR)) fail_msg("f16: %g", (double)max[SLV_KV_KIND_F16]);
    if (!(max[SLV_KV_KIND_Q8] <= Q8_BAR)) fail_msg("q8: %g", (double)max[SLV_KV_KIND_Q8]);
}

static void feature_matters(void **state) {
    const struct entry *e = *state;
    struct slv_model *m = open_model(e->name, "", NULL),
                     *m2 = open_model(e->name, e->feature, NULL);
    float max = 0.0f;
    for (size_t i = 0; i < N_LENGTHS; i++) {
        answer(m, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], row);
        answer(m2, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], other);
        float d = apart(row, other);
        if (d > max) max = d;
    }
    slv_model_close(m);
    slv_model_close(m2);
    if (!(max >= MATTERS)) fail_msg("moves logits by %g only", (double)max);
}

static void tensor_types_answer_like_floats(void **state) {
    const struct entry *e = *state;
    struct slv_model *m = open_model(e->name, "", NULL), *f = open_model(e->name, "float", NULL);
    double worst = 0.0;
    for (size_t i = 0; i < N_LENGTHS; i++) {
        double sum = 0.0, errors = 0.0;
        answer(m, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], row);
        answer(f, &whole, SLV_KV_KIND_F32, e->n_ctx, lengths[i], other);
        n_comparisons++;
        for (size_t j = 0; j < n_vocab; j++) {
            sum += (double)other[j] * (double)other[j];
            errors += ((double)row[j] - (double)other[j]) * ((double)row[j] - (double)other[j]);
        }
        if (!(sqrt(errors / sum) <= worst)) worst = sqrt(errors / sum);
    }
    slv_model_close(m);
    slv_model_close(f);
    printf("# %-20s differs from its float twin by %.1f %%\n", e->name, 100.0 * worst);
    assert_true(worst > 0.0 && worst <= (double)QUANT_BAR);
}

/* --- bits, for other machines to compare
 * --------------------------------------------------------*/

#define FEW 70 /* more than a block of positions, and than any window */
static const char *const few[] = {
    "llama3",               /* rope factors, tied */
    "llama-window",         /* a window in every layer */
    "mistral3-temperature", /* yarn, attention temperature */
    "qwen3",                /* norms of q and k by head, wide heads */
    "gemma2",               /* GELU with gate, windows, both caps, norms behind, SentencePiece */
    "gemma3-flags",         /* window flags by layer, a rope base of its own */
    "phi2",                 /* layer norm, fused q, k, v, biases, partial rope, parallel */
    "phi4-mini",            /* fused gate, long factors, partial rope */
    "granite-nope",         /* no positions, scales */
    "olmo2",                /* norms of q and k by row, none before */
    "gpt2",                 /* learned positions, GELU without gate */
    "mixed",                /* Q8_0, Q4_0, Q4_K, Q6_K, F16, BF16 */
    "all-types",            /* Q4_1, Q5, IQ, ternary, MXFP4, NVFP4 and the rest */
};
#define ANSWER 6

static void add_to_digest(uint64_t *d, const void *p, size_t n) { /* FNV-1a */
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        *d = (*d ^ b[i]) * 0x100000001b3u;
}

static void add_logits(size_t i, const float *logits, void *digest) {
    (void)i;
    add_to_digest(digest, logits, n_vocab * sizeof *logits);
}

static bool add_piece(const struct slv_piece *p, void *digest) {
    add_to_digest(digest, p->text, p->n);
    add_to_digest(digest, &p->id, sizeof p->id);
    add_to_digest(digest, &p->logprob, sizeof p->logprob);
    for (size_t i = 0; i < p->n_top; i++) {
        add_to_digest(digest, &p->top[i].id, sizeof p->top[i].id);
        add_to_digest(digest, &p->top[i].logprob, sizeof p->top[i].logprob);
    }
    return true;
}

static uint64_t digest_of(struct slv_model *m, enum slv_kv_kind kv, uint32_t n) {
    uint64_t d = 0xcbf29ce484222325u;
    struct slv_session *s = NULL;
    struct slv_err err = {0};
    struct slv_session_opts o = {
        .n_ctx = N_CTX, .n_batch = 64, .n_logits = 64, .threads = 2, .kv = kv};
    struct slv_generate_opts g;
    slv_generate_default(&g);
    g.max_tokens = ANSWER;
    g.want_logprobs = true;
    g.logprobs = 5;
    g.ignore_end = true;
    if (slv_session_open(m, &o, &s, &err) ||
        slv_session_feed_each(s, ids, n - 1, add_logits, &d, &err) ||
        slv_session_feed(s, ids + n - 1, 1, &err))
        fail_msg("%s", err.msg);
    add_logits(0, slv_session_logits(s), &d);
    if (slv_session_generate(s, &g, add_piece, &d, NULL, &err)) fail_msg("%s", err.msg);
    slv_session_close(s);
    return d;
}

static bool is_one_of_few(const char *name) {
    for (size_t i = 0; i < sizeof few / sizeof few[0]; i++)
        if (!strcmp(name, few[i])) return true;
    return false;
}

static void print_digests(void **state) {
    static const char *const caches[] = {"f16", "f32", "q8"};
    uint64_t all = 0xcbf29ce484222325u;
    const bool shorter = *(const bool *)*state;
    size_t found = 0;
    for (size_t i = 0; i < n_entries; i++) {
        if (!strcmp(entries[i].kind, "off")) continue;
        if (shorter && !is_one_of_few(entries[i].name)) continue;
        found++;
        struct slv_model *m = open_model(entries[i].name, "", NULL);
        for (enum slv_kv_kind kv = SLV_KV_KIND_F16; kv <= SLV_KV_KIND_Q8; kv++) {
            uint64_t d = digest_of(m, kv, shorter ? FEW : LONG);
            add_to_digest(&all, &d, sizeof d);
            printf("bits %s, %s cache: %016llx\n", entries[i].name, caches[kv],
                   (unsigned long long)d);
        }
        slv_model_close(m);
    }
    if (shorter) assert_int_equal(found, sizeof few / sizeof few[0]);
    printf("bits of all: %016llx\n", (unsigned long long)all);
}

/* --- the table, from the manifest
 * ---------------------------------------------------------------*/

static const struct {
    const char *kind, *title;
    CMUnitTestFunction f;
} tests_of[] = {
    {"case", "answers are those of the oracles", answers_are_those_of_the_oracles},
    {"case", "feeding does not change a bit", feeding_does_not_change_a_bit},
    {"case", "instruction sets do not change a bit", instruction_sets_do_not_change_a_bit},
    {"case", "small caches change little", small_caches_change_little},
    {"off", "matters", feature_matters},
    {"quant", "tensor types answer like floats", tensor_types_answer_like_floats},
    {"quant", "feeding does not change a bit", feeding_does_not_change_a_bit},
    {"quant", "instruction sets do not change a bit", instruction_sets_do_not_change_a_bit},
    {"bits", "feeding does not change a bit", feeding_does_not_change_a_bit},
    {"bits", "instruction sets do not change a bit", instruction_sets_do_not_change_a_bit},
};
#define N_TESTS_OF (sizeof tests_of / sizeof tests_of[0])

static struct CMUnitTest tests[ENTRIES_MAX * 4];
static char titles[ENTRIES_MAX * 4][160];

static void read_manifest(void) {
    FILE *f = fopen(MODEL_DIR "/manifest.txt", "r");
    char line[200];
    while (f && n_entries < ENTRIES_MAX && fgets(line, sizeof line, f)) {
        struct entry *e = &entries[n_entries];
        if (sscanf(line, "%7s %47s %47s", e->kind, e->name, e->feature) != 3) continue;
        e->n_ctx = N_CTX;
        n_entries++;
    }
    if (f) fclose(f);
}

int main(int argc, char **argv) {
    size_t n = 0;
    read_manifest();
    if (argc > 1 && !strcmp(argv[1], "--digest")) {
        bool shorter = argc > 2 && !strcmp(argv[2], "few");
        const struct CMUnitTest digests[] = {cmocka_unit_test_prestate(print_digests, &shorter)};
        return _cmocka_run_group_tests("digests", digests, 1, load_goldens, unload);
    }
    for (size_t i = 0; i < n_entries; i++)
        for (size_t j = 0; j < N_TESTS_OF; j++) {
            struct entry *e = &entries[i];
            if (strcmp(e->kind, tests_of[j].kind) != 0) continue;
            snprintf(titles[n], sizeof titles[n], "%s: %s%s%s", e->name,
                     e->kind[0] == 'o' ? e->feature : "", e->kind[0] == 'o' ? " " : "",
                     tests_of[j].title);
            tests[n] = (struct CMUnitTest){
                .name = titles[n], .test_func = tests_of[j].f, .initial_state = e};
            n++;
        }
    return n ? _cmocka_run_group_tests("families", tests, n, load_goldens, unload) : 1;
}
