/* check_encoders.c: what a user would lose: that texts which mean the like stay near each other,
 * that an index made on one machine can be searched on another.
 *
 * tiny_folders.py makes small random encoders when the tests are built, as folders in Hugging Face
 * layout and as GGUF files; goldens.json holds what a plain double-precision pass makes of some
 * texts, and the tokens Hugging Face's tokenizers cut them into (make_encoders.py). For each:
 *
 *   - tokens are the same and vectors agree with those;
 *   - whatever the threads, the instruction set, the size of a step and the other texts in it, the
 *     bits are the same; and the same from the folder and from the file;
 *   - 8-bit matrices change little.
 *
 * Then decoders: a folder's answers are those of the GGUF file with the same weights.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/jsonin.h"
#include "base/mem.h"
#include "engine/model.h"
#include "kernel/cpu.h"
#include "selvage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TEXTS 16
#define DIM 128
#define BAR 2e-5f    /* of a number, where vectors are as long as they come */
#define Q8_COS 0.995 /* between a vector and the one of 8-bit matrices; measured: see the lines */

struct row {
    struct slv_embed_text text;
    int32_t ids[1024];
    size_t n_ids, dim;
    float want[DIM];
};

static struct slv_buf golden_text;
static struct slv_json_doc golden;

static int load(void **state) {
    (void)state;
    struct slv_err e = {0};
    slv_buf_init(&golden_text, (size_t)1 << 24);
    if (slv_file_read(TEST_DATA "/encoders/goldens.json", &golden_text, &e)) fail_msg("%s", e.msg);
    if (slv_json_read(golden_text.data, golden_text.len, &golden, &e)) fail_msg("%s", e.msg);
    return 0;
}

static int unload(void **state) {
    (void)state;
    slv_json_doc_fini(&golden);
    slv_buf_fini(&golden_text);
    return 0;
}

static size_t numbers(struct slv_json_val v, double *out, size_t most) {
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    size_t n = 0;
    while (slv_json_each(v, &it, NULL, &at)) {
        assert_true(n < most);
        assert_true(slv_json_get_f64(at, &out[n++]));
    }
    return n;
}

static size_t rows_of(const char *name, struct row *rows) {
    static double x[1024];
    struct slv_json_iter it = {0};
    struct slv_json_val at;
    struct slv_str s;
    size_t n = 0;
    while (slv_json_each(slv_json_get(slv_json_root(&golden), name), &it, NULL, &at)) {
        struct row *r = &rows[n++];
        assert_true(n <= TEXTS);
        *r = (struct row){0};
        assert_true(slv_json_get_str(slv_json_get(at, "text"), &s));
        r->text.p = s.p;
        r->text.n = s.n;
        if (slv_json_get_str(slv_json_get(at, "second"), &s)) {
            r->text.second = s.p;
            r->text.second_n = s.n;
        }
        r->n_ids = numbers(slv_json_get(at, "ids"), x, 1024);
        for (size_t i = 0; i < r->n_ids; i++)
            r->ids[i] = (int32_t)x[i];
        r->dim = numbers(slv_json_get(at, "vector"), x, DIM);
        for (size_t i = 0; i < r->dim; i++)
            r->want[i] = (float)x[i];
    }
    return n;
}

static struct slv_model *open_model(const char *name, const char *suffix, const char *cpu) {
    char path[512];
    struct slv_model *m = NULL;
    struct slv_err e = {0};
    const struct slv_model_opts o = {.cpu = cpu, .threads = 1};
    snprintf(path, sizeof path, FOLDERS "/%s%s", name, suffix);
    if (slv_model_open(path, &o, &m, &e)) fail_msg("%s", e.msg);
    return m;
}

/* Vectors of the rows in an order: from the last to the first where back. */
static void embed(struct slv_model *m, const struct row *rows, size_t n, bool back,
                  const struct slv_embedder_opts *o, float (*ret)[DIM]) {
    struct slv_embed_text texts[TEXTS];
    static float out[TEXTS * DIM];
    uint32_t tokens[TEXTS];
    struct slv_embedder *e = NULL;
    struct slv_err err = {0};
    if (slv_embedder_open(m, o, &e, &err)) fail_msg("%s", err.msg);
    const size_t dim = slv_embedder_dimensions(e);
    assert_true(dim <= DIM);
    for (size_t i = 0; i < n; i++)
        texts[i] = rows[back ? n - 1 - i : i].text;
    if (slv_embed(e, texts, n, out, tokens, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < n; i++) {
        const size_t at = back ? n - 1 - i : i;
        assert_int_equal(tokens[i], rows[at].n_ids);
        memcpy(ret[at], out + i * dim, dim * sizeof(float));
    }
    slv_embedder_close(e);
}

/* --- goldens ---------------------------------------------------------------------------------- */

static void check_tokens(struct slv_model *m, const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct slv_ids ids = {0};
        const struct row *r = &rows[i];
        const unsigned flags = SLV_TOKENIZE_ADD | SLV_TOKENIZE_SPECIAL;
        assert_int_equal(slv_tokenize(m->tokenizer, r->text.p, r->text.n, flags, &ids), 0);
        if (!r->text.second) assert_int_equal(ids.n, r->n_ids);
        assert_memory_equal(ids.v, r->ids, ids.n * sizeof *ids.v);
        slv_ids_fini(&ids);
    }
}

static void check_near(const struct row *rows, size_t n, float (*got)[DIM], const char *name) {
    float worst = 0.0f;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < rows[i].dim; k++) {
            const float d = fabsf(got[i][k] - rows[i].want[k]);
            if (!(d <= worst)) worst = d;
        }
    printf("# %-12s %zu texts, largest difference %.1e\n", name, n, (double)worst);
    if (!(worst <= BAR)) fail_msg("%s: off by %g", name, (double)worst);
}

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static const char *const encoders[] = {"bert",       "bert-cls", "bert-long",   "bert-rank",
                                       "distilbert", "nomic",    "xlm-roberta", "roberta-rank"};
#define ENCODERS (sizeof encoders / sizeof encoders[0])

static void vectors_are_those_of_a_plain_pass(void **state) {
    (void)state;
    static struct row rows[TEXTS];
    static float got[TEXTS][DIM];
    const struct slv_embedder_opts o = {.raw = true, .special = true, .threads = 1};
    for (size_t c = 0; c < ENCODERS; c++) {
        const size_t n = rows_of(encoders[c], rows);
        assert_true(n > 0);
        struct slv_model *m = open_model(encoders[c], "", NULL);
        check_tokens(m, rows, n);
        embed(m, rows, n, false, &o, got);
        check_near(rows, n, got, encoders[c]);
        slv_model_close(m);
    }
}

static void eight_bits_change_little(void **state) {
    (void)state;
    static const char *const names[] = {"bert-long", "nomic"};
    static struct row rows[TEXTS];
    static float got[TEXTS][DIM];
    const struct slv_embedder_opts o = {.special = true, .threads = 1};
    for (size_t c = 0; c < 2; c++) {
        const size_t n = rows_of(names[c], rows);
        double least = 1.0;
        struct slv_model *m = open_model(names[c], "-q8.gguf", NULL);
        embed(m, rows, n, false, &o, got);
        for (size_t i = 0; i < n; i++) {
            const double cos = cosine(got[i], rows[i].want, rows[i].dim);
            if (cos < least) least = cos;
        }
        printf("# %s in 8 bits: least cosine %.5f\n", names[c], least);
        assert_true(least >= Q8_COS);
        slv_model_close(m);
    }
}

/* --- one result ------------------------------------------------------------------------------- */

static void same_bits(const struct row *rows, size_t n, float (*a)[DIM], float (*b)[DIM],
                      const char *name, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a[i], b[i], rows[i].dim * sizeof(float)))
            fail_msg("%s, text %zu: other bits with %s", name, i, what);
}

static void other_ways(struct slv_model *m, const char *name, const struct row *rows, size_t n,
                       float (*want)[DIM]) {
    static const struct {
        const char *what;
        uint32_t threads, n_batch;
        bool back;
    } ways[] = {{"3 threads", 3, 0, false},
                {"steps of 64 tokens, from the last text on", 1, 64, true},
                {"steps of 8192 tokens", 2, 8192, true}};
    static float got[TEXTS][DIM];
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct slv_embedder_opts o = {
            .special = true, .threads = ways[i].threads, .n_batch = ways[i].n_batch};
        embed(m, rows, n, ways[i].back, &o, got);
        same_bits(rows, n, want, got, name, ways[i].what);
    }
    for (size_t i = 0; i < n; i++) {
        const struct slv_embedder_opts o = {.special = true, .threads = 1};
        embed(m, rows + i, 1, false, &o, got + i);
    }
    same_bits(rows, n, want, got, name, "each text alone");
}

static void one_result(void **state) {
    (void)state;
    static struct row rows[TEXTS];
    static float want[TEXTS][DIM], got[TEXTS][DIM];
    const struct slv_embedder_opts o = {.special = true, .threads = 1};
    for (size_t c = 0; c < ENCODERS; c++) {
        const size_t n = rows_of(encoders[c], rows);
        struct slv_model *m = open_model(encoders[c], "", NULL);
        embed(m, rows, n, false, &o, want);
        other_ways(m, encoders[c], rows, n, want);
        slv_model_close(m);
        m = open_model(encoders[c], ".gguf", NULL);
        embed(m, rows, n, false, &o, got);
        same_bits(rows, n, want, got, encoders[c], "the GGUF file");
        slv_model_close(m);
        for (int level = 0; level < SLV_CPU_LEVELS; level++) {
            m = open_model(encoders[c], "", slv_cpu_name((enum slv_cpu_level)level));
            embed(m, rows, n, false, &o, got);
            same_bits(rows, n, want, got, encoders[c], slv_cpu_name(m->kern.level));
            slv_model_close(m);
        }
    }
}

/* --- what is asked for ------------------------------------------------------------------------ */

static void vectors_are_of_length_one_and_as_short_as_asked(void **state) {
    (void)state;
    static struct row rows[TEXTS];
    static float whole[TEXTS][DIM], cut[TEXTS][DIM];
    const size_t n = rows_of("bert", rows);
    struct slv_model *m = open_model("bert", "", NULL);
    struct slv_embedder_opts o = {.special = true, .threads = 1};
    embed(m, rows, n, false, &o, whole);
    o.dimensions = 10;
    embed(m, rows, n, false, &o, cut);
    for (size_t i = 0; i < n; i++) {
        double length = 0.0, part = 0.0;
        for (size_t k = 0; k < 51; k++)
            length += (double)whole[i][k] * (double)whole[i][k];
        for (size_t k = 0; k < 10; k++)
            part += (double)cut[i][k] * (double)cut[i][k];
        assert_true(fabs(length - 1.0) < 1e-6 && fabs(part - 1.0) < 1e-6);
        assert_true(cosine(whole[i], cut[i], 10) > 1.0 - 1e-6);
        assert_true(cosine(whole[i], rows[i].want, 51) > 1.0 - 1e-9);
    }
    slv_model_close(m);
}

static void a_long_text_is_refused_or_cut(void **state) {
    (void)state;
    static char text[2000];
    struct slv_model *m = open_model("bert", "", NULL);
    struct slv_embedder *e = NULL;
    struct slv_err err = {0};
    float whole[51], cut[51];
    uint32_t tokens = 0;
    for (size_t i = 0; i < 1998; i += 2)
        memcpy(text + i, "a ", 3);
    const struct slv_embed_text texts[] = {{"the", 3, NULL, 0}, {text, strlen(text), NULL, 0}};
    struct slv_embedder_opts o = {.threads = 1};
    assert_int_equal(slv_embedder_open(m, &o, &e, NULL), 0);
    float both[2 * 51];
    assert_int_equal(slv_embed(e, texts, 2, both, NULL, &err), SLV_E_LIMIT);
    assert_non_null(strstr(err.msg, "text 2: 1001 tokens do not fit in a context of 64"));
    assert_int_equal(slv_embed(e, texts, 1, both, NULL, &err), 0); /* it can go on */
    slv_embedder_close(e);
    o.truncate = true;
    assert_int_equal(slv_embedder_open(m, &o, &e, NULL), 0);
    assert_int_equal(slv_embed(e, texts + 1, 1, cut, &tokens, NULL), 0);
    assert_int_equal(tokens, 64);
    const struct slv_embed_text begin = {text, (size_t)2 * 62, NULL, 0};
    assert_int_equal(slv_embed(e, &begin, 1, whole, NULL, NULL), 0);
    assert_memory_equal(whole, cut, sizeof cut);
    slv_embedder_close(e);
    slv_model_close(m);
}

static void what_cannot_be_is_said(void **state) {
    (void)state;
    struct slv_model *m = open_model("bert", "", NULL), *d = open_model("hf-qwen2", "", NULL);
    struct slv_embedder *e = NULL;
    struct slv_session *s = NULL;
    struct slv_batch *b = NULL;
    struct slv_prefix_cache *p = NULL;
    struct slv_err err = {0};
    struct slv_embedder_opts o = {.pooling = SLV_POOL_RANK};
    assert_int_equal(slv_embedder_open(m, &o, &e, &err), SLV_E_USAGE);
    assert_non_null(strstr(err.msg, "no scores"));
    o = (struct slv_embedder_opts){.n_ctx = 65};
    assert_int_equal(slv_embedder_open(m, &o, &e, &err), SLV_E_USAGE);
    o = (struct slv_embedder_opts){.dimensions = 52};
    assert_int_equal(slv_embedder_open(m, &o, &e, &err), SLV_E_USAGE);
    o = (struct slv_embedder_opts){.memory = 1 << 20};
    assert_int_equal(slv_embedder_open(m, &o, &e, &err), SLV_E_FIT);
    assert_int_equal(slv_embedder_open(d, NULL, &e, &err), SLV_E_USAGE);
    assert_non_null(strstr(err.msg, "choose mean"));
    assert_int_equal(slv_session_open(m, NULL, &s, &err), SLV_E_USAGE);
    assert_non_null(strstr(err.msg, "an encoder"));
    assert_int_equal(slv_batch_open(m, NULL, &b, &err), SLV_E_USAGE);
    assert_int_equal(slv_prefix_cache_open(m, NULL, &p, &err), SLV_E_USAGE);
    slv_model_close(m);
    slv_model_close(d);
}

static void a_text_can_be_stopped(void **state) {
    (void)state;
    struct slv_model *m = open_model("bert", "", NULL);
    struct slv_embedder *e = NULL;
    const struct slv_embed_text text = {"cat", 3, NULL, 0};
    float v[51];
    assert_int_equal(slv_embedder_open(m, NULL, &e, NULL), 0);
    slv_embedder_cancel(e);
    assert_int_equal(slv_embed(e, &text, 1, v, NULL, NULL), SLV_E_CANCELLED);
    assert_int_equal(slv_embed(e, &text, 1, v, NULL, NULL), 0);
    slv_embedder_close(e);
    slv_model_close(m);
}

/* --- decoders --------------------------------------------------------------------------------- */

#define PROMPT 40

static void logits_of(struct slv_model *m, float *ret) {
    struct slv_session *s = NULL;
    struct slv_session_opts o = {.n_ctx = 64, .threads = 1, .kv = SLV_KV_KIND_F32};
    int32_t ids[PROMPT];
    for (int32_t i = 0; i < PROMPT; i++)
        ids[i] = (i * 7919 + 3) % (int32_t)m->h.n_vocab;
    assert_int_equal(slv_session_open(m, &o, &s, NULL), 0);
    assert_int_equal(slv_session_feed(s, ids, PROMPT, NULL), 0);
    memcpy(ret, slv_session_logits(s), m->h.n_vocab * sizeof *ret);
    slv_session_close(s);
}

/* Llama's heads are turned in other pairs in the two, so that sums are in another order. */
static void decoders_answer_as_their_gguf_files(void **state) {
    (void)state;
    static const char *const names[] = {"hf-llama", "hf-qwen2", "hf-qwen3"};
    static float a[512], b[512];
    for (size_t c = 0; c < 3; c++) {
        struct slv_model *folder = open_model(names[c], "", NULL);
        struct slv_model *file = open_model(names[c], ".gguf", NULL);
        float worst = 0.0f;
        assert_true(folder->h.n_vocab <= 512 && folder->h.n_vocab == file->h.n_vocab);
        assert_int_equal(slv_model_same_vocabulary(folder, file, NULL), 0);
        logits_of(folder, a);
        logits_of(file, b);
        for (size_t i = 0; i < folder->h.n_vocab; i++)
            if (fabsf(a[i] - b[i]) > worst) worst = fabsf(a[i] - b[i]);
        printf("# %s: largest difference %.1e\n", names[c], (double)worst);
        assert_true(c ? worst == 0.0f : worst < 1e-4f);
        slv_model_close(folder);
        slv_model_close(file);
    }
}

/* The last state of a long text, in steps of several sizes and beside others. */
static void decoders_embed_too(void **state) {
    (void)state;
    static const uint32_t steps[] = {512, 16, 5};
    static char text[600];
    struct slv_model *m = open_model("hf-qwen2", "", NULL);
    float want[3 * 64], got[3 * 64];
    for (size_t i = 0; i + 4 < sizeof text; i += 4)
        memcpy(text + i, "the ", 5);
    const struct slv_embed_text texts[] = {
        {"in", 2, NULL, 0}, {text, strlen(text), NULL, 0}, {"then", 4, NULL, 0}};
    for (enum slv_pooling how = SLV_POOL_MEAN; how <= SLV_POOL_LAST; how++)
        for (size_t i = 0; i < 3; i++) {
            struct slv_embedder_opts o = {.pooling = how, .n_batch = steps[i], .threads = 2};
            struct slv_embedder *e = NULL;
            assert_int_equal(slv_embedder_open(m, &o, &e, NULL), 0);
            assert_int_equal(slv_embedder_dimensions(e), 64);
            assert_int_equal(slv_embed(e, texts, 3, i ? got : want, NULL, NULL), 0);
            if (i) assert_memory_equal(want, got, sizeof want);
            assert_int_equal(slv_embed(e, texts + 1, 1, got, NULL, NULL), 0);
            assert_memory_equal(want + 64, got, sizeof want / 3);
            slv_embedder_close(e);
        }
    slv_model_close(m);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Everything that a folder and an embedder allocate, each in turn refused. */
static void nothing_is_lost_when_memory_runs_out(void **state) {
    (void)state;
    static const char *const names[] = {FOLDERS "/bert-cls", FOLDERS "/distilbert",
                                        FOLDERS "/hf-qwen2"};
    const struct slv_embed_text texts[] = {{"the cat", 7, NULL, 0}, {"\xc3\xa9", 2, NULL, 0}};
    const struct slv_model_opts mo = {.threads = 1};
    const struct slv_embedder_opts eo = {.threads = 1, .pooling = SLV_POOL_MEAN};
    static float v[2 * DIM];
    for (size_t c = 0; c < sizeof names / sizeof names[0]; c++) {
        uint64_t k = 1;
        for (bool done = false; !done; k++) {
            struct slv_model *m = NULL;
            struct slv_embedder *e = NULL;
            const uint64_t before = slv_mem_count();
            slv_mem_fail_at(k);
            int rc = slv_model_open(names[c], &mo, &m, NULL);
            if (!rc) rc = slv_embedder_open(m, &eo, &e, NULL);
            if (!rc) rc = slv_embed(e, texts, 2, v, NULL, NULL);
            slv_mem_fail_at(0);
            done = slv_mem_count() - before < k;
            if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT)
                fail_msg("%s, allocation %llu: %d", names[c], (unsigned long long)k, rc);
            slv_embedder_close(e);
            slv_model_close(m);
        }
        printf("# %s: %llu allocations\n", strrchr(names[c], '/') + 1, (unsigned long long)k - 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_those_of_a_plain_pass),
        cmocka_unit_test(eight_bits_change_little),
        cmocka_unit_test(one_result),
        cmocka_unit_test(vectors_are_of_length_one_and_as_short_as_asked),
        cmocka_unit_test(a_long_text_is_refused_or_cut),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(a_text_can_be_stopped),
        cmocka_unit_test(decoders_answer_as_their_gguf_files),
        cmocka_unit_test(decoders_embed_too),
        cmocka_unit_test(nothing_is_lost_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
