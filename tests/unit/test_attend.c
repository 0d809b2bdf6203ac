/* test_attend.c: attention of a step against the same thing written plainly: every query alone, by
 * the scalar kernels, block after block and span after span. What a user would lose: answers that
 * do not depend on how a prompt was cut, on what else was in the step, on the number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/attend.h"

#include <string.h>

#define SPAN (SLV_KV_SPAN * SLV_KV_BLOCK)
#define N_CTX 1100
#define GUARD 1e30f

static uint32_t state;

static float number(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)(state >> 8) / 8388608.0f - 1.0f;
}

/* One shape of model, with two sessions whose caches are full of numbers. */
struct shape {
    const char *name;
    uint32_t n_head, n_head_kv, dim, window;
    enum slv_kv_type type;
};

struct setting {
    struct slv_hparams h;
    struct slv_kernels kern, plain;
    struct slv_kv kv[2];
    size_t ld;
    float *part;
};

static void setting_open(struct setting *t, const struct shape *s) {
    memset(t, 0, sizeof *t);
    t->h = (struct slv_hparams){.n_layer = 1,
                                .n_head = s->n_head,
                                .n_head_kv = s->n_head_kv,
                                .head_k = s->dim,
                                .head_v = s->dim,
                                .window = s->window,
                                .attn_scale = 0.3f};
    t->h.windowed[0] = s->window != 0;
    enum slv_cpu_level best;
    bool lowered;
    assert_int_equal(slv_cpu_choose(NULL, &best, &lowered), 0);
    slv_kernels_init(&t->kern, best);
    slv_kernels_init(&t->plain, SLV_CPU_SCALAR);
    t->ld = ((size_t)s->n_head * s->dim + 15) / 16 * 16;
    t->part = slv_mem_alloc_aligned(64, slv_attend_part_floats(&t->h) * sizeof *t->part);
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(slv_kv_init(&t->kv[k], &t->h, s->type, N_CTX, 64, NULL), 0);
        float key[SLV_MAX_HEAD_DIM], value[SLV_MAX_HEAD_DIM];
        for (uint32_t pos = 0; pos < N_CTX; pos++) {
            t->kv[k].n_pos = pos;
            assert_int_equal(slv_kv_ready(&t->kv[k], 1), 0);
            for (uint32_t head = 0; head < s->n_head_kv; head++) {
                for (size_t i = 0; i < s->dim; i++)
                    key[i] = number(), value[i] = number();
                slv_kv_store(&t->kv[k], &t->kern, 0, head, pos, key, s->dim, value, s->dim);
            }
        }
    }
}

static void setting_close(struct setting *t) {
    slv_kv_fini(&t->kv[0]);
    slv_kv_fini(&t->kv[1]);
    slv_mem_free(t->part);
}

/* a + b in the order of the definition; the first of all is taken as it is. */
static void join(const struct slv_kernels *k, bool first, const float *o, float m, float l,
                 size_t n, float *acc, float *max, float *sum) {
    if (!first) {
        k->attn_join(m, l, o, n, max, sum, acc);
        return;
    }
    memcpy(acc, o, n * sizeof *o);
    *max = m;
    *sum = l;
}

static void plainly(const struct setting *t, const struct slv_step_token *tok, const float *q_row,
                    uint32_t head, float *ret) {
    const struct slv_kv *kv = tok->kv;
    float q[SLV_MAX_HEAD_DIM] = {0}, o[SLV_MAX_HEAD_DIM], span[SLV_MAX_HEAD_DIM];
    float all[SLV_MAX_HEAD_DIM], scale[SLV_MAX_HEAD_DIM / 32], sm = 0, sl = 0, am = 0, al = 0;
    int8_t q8[SLV_MAX_HEAD_DIM];
    memcpy(q, q_row + (size_t)head * t->h.head_k, t->h.head_k * sizeof *q);
    if (kv->type == SLV_KV_Q8)
        t->plain.quantize(q, kv->dk, 32, 1, &(struct slv_codes){.q = q8, .d = scale});
    uint32_t end = tok->pos + 1;
    uint32_t first = t->h.window && end > t->h.window ? end - t->h.window : 0;
    bool any = false, in_span = false;
    for (uint32_t b = first / SLV_KV_BLOCK; b * SLV_KV_BLOCK < end; b++) {
        uint32_t base = b * SLV_KV_BLOCK;
        struct slv_attn_block blk = {.scale = t->h.attn_scale};
        slv_kv_block(kv, 0, head / (t->h.n_head / t->h.n_head_kv), b, &blk);
        struct slv_attn_query query = {.q = q, .q8 = q8, .q8_scale = scale, .out = o};
        query.first = first > base ? first - base : 0;
        query.last = end - base < SLV_KV_BLOCK ? end - base : SLV_KV_BLOCK;
        t->plain.attn[kv->type](&blk, &query, 1);
        join(&t->plain, !in_span, o, query.max, query.sum, kv->dv, span, &sm, &sl);
        in_span = true;
        if ((base + SLV_KV_BLOCK) % SPAN && base + SLV_KV_BLOCK < end) continue;
        join(&t->plain, !any, span, sm, sl, kv->dv, all, &am, &al);
        any = true;
        in_span = false;
    }
    for (size_t i = 0; i < t->h.head_v; i++)
        ret[i] = all[i] / al;
}

/* Whether a step of n tokens that sees so much is one of those whose spans wait to be joined. */
static bool waits(const struct setting *t, const struct slv_step_token *tok, size_t n) {
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t end = tok[i].pos + 1;
        uint32_t first = t->h.window && end > t->h.window ? end - t->h.window : 0;
        uint32_t spans = (end - 1) / SPAN - first / SPAN + 1;
        if (spans > most) most = spans;
    }
    return n <= 8 && most > 1 && n * t->h.n_head * most <= SLV_ATTEND_PARTS;
}

/* The tokens of one step, in units of `piece`, last first; finished in columns of `cols`. */
static void check_step(struct setting *t, const struct slv_step_token *tok, size_t n, size_t piece,
                       size_t cols) {
    float *q = slv_mem_calloc(n * t->ld, sizeof *q), *out = slv_mem_calloc(n * t->ld, sizeof *q);
    size_t width = (size_t)t->h.n_head * t->h.head_v;
    for (size_t i = 0; i < n * t->ld; i++)
        q[i] = number(), out[i] = GUARD;
    struct slv_attend a = {.h = &t->h,
                           .kern = &t->kern,
                           .tok = tok,
                           .n = n,
                           .q = q,
                           .out = out,
                           .part = t->part,
                           .ldq = t->ld,
                           .ldo = t->ld};
    assert_int_equal(slv_attend_waits(&a), waits(t, tok, n));
    size_t units = slv_attend_units(&a);
    for (size_t at = (units + piece - 1) / piece; at-- > 0;)
        slv_attend_run(&a, at * piece, (at + 1) * piece < units ? (at + 1) * piece : units);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c += cols)
            slv_attend_finish(&a, i, c, c + cols < width ? c + cols : width);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t head = 0; head < t->h.n_head; head++) {
            float want[SLV_MAX_HEAD_DIM];
            plainly(t, &tok[i], q + i * t->ld, head, want);
            assert_memory_equal(out + i * t->ld + (size_t)head * t->h.head_v, want,
                                t->h.head_v * sizeof *want);
        }
        for (size_t c = width; c < t->ld; c++)
            assert_true(out[i * t->ld + c] == GUARD);
    }
    slv_mem_free(q);
    slv_mem_free(out);
}

static void one_shape(const struct shape *s) {
    struct setting t;
    struct slv_step_token tok[40];
    setting_open(&t, s);
    const uint32_t last = N_CTX - 1;
    /* one token: at the beginning, at borders of blocks and spans, far behind (of a window
     * only the end is held) */
    static const uint32_t at[] = {0, 63, 64, 255, 256, 300, 1023, 1024, N_CTX - 1};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        if (s->window && at[i] != last) continue;
        tok[0] = (struct slv_step_token){.kv = &t.kv[0], .pos = at[i]};
        check_step(&t, tok, 1, 1, 16);
        check_step(&t, tok, 1, 5, 48);
    }
    /* five tokens of one session, three of the other between them; then forty of both */
    for (uint32_t i = 0; i < 8; i++)
        tok[i] = (struct slv_step_token){.kv = &t.kv[i % 3 == 1], .pos = last - 7 + i};
    check_step(&t, tok, 8, 3, 16);
    for (uint32_t i = 0; i < 40; i++)
        tok[i] = (struct slv_step_token){.kv = &t.kv[i >= 29], .pos = last - 39 + i};
    check_step(&t, tok, 40, 1, 64);
    check_step(&t, tok, 40, 7, 64);
    setting_close(&t);
}

static void attention_is_what_it_is_defined_to_be(void **unused) {
    static const struct shape shapes[] = {
        {"groups of three", 9, 3, 64, 0, SLV_KV_F16},
        {"alone", 4, 4, 32, 0, SLV_KV_F32},
        {"int8", 6, 2, 64, 0, SLV_KV_Q8},
        {"a large group", 20, 1, 48, 0, SLV_KV_F16},
        {"padded heads", 4, 2, 20, 0, SLV_KV_F16},
        {"wide heads", 2, 1, 512, 0, SLV_KV_F16},
        {"short window", 6, 2, 64, 100, SLV_KV_F16},
        {"window of spans", 6, 2, 64, 700, SLV_KV_F32},
        {"too many to wait", 32, 8, 16, 0, SLV_KV_F16},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        state = (uint32_t)i + 1;
        one_shape(&shapes[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_is_what_it_is_defined_to_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
