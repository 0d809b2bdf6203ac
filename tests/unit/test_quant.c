/* test_quant.c: a model's weights mean here what they mean to the program that wrote them.
 *
 * Expected values: tests/data/quant/blocks.bin, made by tests/golden/make_quant.py, which also
 * describes the file. Every type of the table must be in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "base/file.h"
#include "kernel/quant.h"

#include <math.h>
#include <string.h>

#define N_TYPES 35
#define N_QUANTIZED 27
#define SEEDED_BLOCKS 1024

/* Offsets of the f16 numbers in a block (Q8_K: of the upper half of its f32; IQ1_M: of the piece of
 * its f16 with the exponent's upper bits), as the script has them. -1: none. */
static const struct {
    uint32_t id;
    int half[2];
} halves[] = {
    {SLV_Q4_0, {0, -1}},    {SLV_Q4_1, {0, 2}},    {SLV_Q5_0, {0, -1}},   {SLV_Q5_1, {0, 2}},
    {SLV_Q8_0, {0, -1}},    {SLV_Q8_1, {0, 2}},    {SLV_Q2_K, {80, 82}},  {SLV_Q3_K, {108, -1}},
    {SLV_Q4_K, {0, 2}},     {SLV_Q5_K, {0, 2}},    {SLV_Q6_K, {208, -1}}, {SLV_Q8_K, {2, -1}},
    {SLV_IQ2_XXS, {0, -1}}, {SLV_IQ2_XS, {0, -1}}, {SLV_IQ2_S, {0, -1}},  {SLV_IQ3_XXS, {0, -1}},
    {SLV_IQ3_S, {0, -1}},   {SLV_IQ1_S, {0, -1}},  {SLV_IQ1_M, {54, -1}}, {SLV_IQ4_NL, {0, -1}},
    {SLV_IQ4_XS, {0, -1}},  {SLV_TQ1_0, {52, -1}}, {SLV_TQ2_0, {64, -1}}, {SLV_MXFP4, {-1, -1}},
    {SLV_NVFP4, {-1, -1}},  {SLV_Q1_0, {0, -1}},   {SLV_Q2_0, {0, -1}},
};
#define N_HALVES (sizeof halves / sizeof halves[0])

static const int *halves_of(uint32_t id) {
    for (size_t i = 0; i < N_HALVES; i++)
        if (halves[i].id == id) return halves[i].half;
    return NULL;
}

/* Eight bytes of splitmix64, as the script draws them. */
static uint64_t next_random(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* `count` random blocks with finite scales. The caller frees them. */
static uint8_t *random_blocks(const struct slv_dtype *t, uint64_t seed, size_t count) {
    size_t n = t->bytes * count;
    uint8_t *p = malloc(n + 8);
    assert_non_null(p);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = next_random(&seed);
        memcpy(p + i, &v, 8);
    }
    const int *half = halves_of(t->id);
    assert_non_null(half);
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < 2; k++)
            if (half[k] >= 0) p[i * t->bytes + (size_t)half[k] + 1] &= 0xbf;
    return p;
}

/* The bits of a float; one pattern for all NaN. */
static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return isnan(f) ? 0x7fc00000u : u;
}

static uint64_t hash_of(const float *v, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = bits_of(v[i]);
        for (int k = 0; k < 4; k++, u >>= 8)
            h = (h ^ (u & 255)) * 0x100000001b3u;
    }
    return h;
}

static uint32_t u32_at(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* --- against the reference -------------------------------------------------------------------- */

struct record {
    const struct slv_dtype *type;
    uint32_t seed, blocks;
    const uint8_t *bytes, *expected;
};

/* Compares one record; the blocks are moved to an odd address first. */
static void check_record(const struct record *r) {
    size_t n = (size_t)r->blocks * r->type->block, size = (size_t)r->blocks * r->type->bytes;
    uint8_t *odd = malloc(size + 1), *drawn = NULL;
    float *got = malloc(n * sizeof *got);
    assert_non_null(odd);
    assert_non_null(got);
    if (r->seed == 0xffffffff) {
        for (size_t i = 0; i < 65536; i++) {
            odd[1 + 2 * i] = (uint8_t)i;
            odd[2 + 2 * i] = (uint8_t)(i >> 8);
        }
    } else {
        if (r->seed) drawn = random_blocks(r->type, r->seed, r->blocks);
        memcpy(odd + 1, r->seed ? drawn : r->bytes, size);
    }
    assert_true(slv_dequant(r->type->id, odd + 1, got, n));
    if (r->seed) {
        uint64_t want;
        memcpy(&want, r->expected, sizeof want);
        if (hash_of(got, n) != want) fail_msg("%s: random blocks differ", r->type->name);
    } else {
        for (size_t i = 0; i < n; i++)
            if (bits_of(got[i]) != u32_at(r->expected + 4 * i))
                fail_msg("%s, element %zu: %08x, not %08x", r->type->name, i, bits_of(got[i]),
                         u32_at(r->expected + 4 * i));
    }
    free(drawn);
    free(odd);
    free(got);
}

static void every_weight_has_the_value_its_writer_meant(void **state) {
    (void)state;
    struct slv_map m;
    struct slv_err e;
    assert_int_equal(slv_map_open(TEST_DATA "/quant/blocks.bin", &m, &e), 0);
    unsigned seen[SLV_DTYPE_END] = {0};
    for (const uint8_t *p = m.data, *end = p + m.size; p < end;) {
        struct record r = {slv_dtype_get(u32_at(p)), u32_at(p + 4), u32_at(p + 8), p + 16, NULL};
        assert_non_null(r.type);
        r.expected = r.bytes + u32_at(p + 12);
        check_record(&r);
        p = r.expected + (r.seed ? 8 : (size_t)r.blocks * r.type->block * 4);
        seen[r.type->id]++;
    }
    slv_map_close(&m);
    for (uint32_t id = 0; id < SLV_DTYPE_END; id++)
        if (slv_quant_get(id)) assert_int_equal(seen[id], 2);
    assert_int_equal(seen[SLV_F16], 1);
    assert_int_equal(seen[SLV_BF16], 1);
}

static void wide_numbers_are_rounded_once(void **state) {
    (void)state;
    const float f32[2] = {1.5f, -0.0f};
    const double f64[2] = {1.0 + 0x1p-24, 1e300};
    const int8_t i8[2] = {-128, 127};
    const int16_t i16[2] = {-32768, 5};
    const int32_t i32[2] = {INT32_MIN, 0x1000001};
    const int64_t i64[2] = {INT64_MIN, 3};
    const struct {
        uint32_t id;
        const void *src;
        float want[2];
    } cases[] = {
        {SLV_F32, f32, {1.5f, -0.0f}},       {SLV_F64, f64, {1.0f, INFINITY}},
        {SLV_I8, i8, {-128, 127}},           {SLV_I16, i16, {-32768, 5}},
        {SLV_I32, i32, {-0x1p31f, 0x1p24f}}, {SLV_I64, i64, {-0x1p63f, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float got[2];
        assert_true(slv_dequant(cases[i].id, cases[i].src, got, 2));
        assert_int_equal(bits_of(got[0]), bits_of(cases[i].want[0]));
        assert_int_equal(bits_of(got[1]), bits_of(cases[i].want[1]));
    }
    float untouched = 7;
    assert_false(slv_dequant(4, f32, &untouched, 1));
    assert_false(slv_dequant(SLV_DTYPE_END, f32, &untouched, 1));
    assert_false(slv_dequant(UINT32_MAX, f32, &untouched, 1));
    assert_true(untouched == 7);
}

/* --- the table -------------------------------------------------------------------------------- */

static void no_type_is_missing(void **state) {
    (void)state;
    int types = 0, quantized = 0;
    for (uint32_t id = 0; id < SLV_DTYPE_END + 10; id++) {
        const struct slv_dtype *t = slv_dtype_get(id);
        const struct slv_quant *q = slv_quant_get(id);
        if (!t) {
            assert_null(q);
            continue;
        }
        types++;
        assert_int_equal(t->id, id);
        assert_ptr_equal(slv_dtype_named(t->name), t);
        assert_true((t->block > 1) == (q != NULL));
        if (!q) continue;
        quantized++;
        assert_int_equal(q->id, id);
        assert_int_equal(t->block % q->block, 0);
        assert_int_equal(q->block % q->sub, 0);
        assert_true(q->block <= SLV_QBLOCK_MAX && q->block / q->sub <= SLV_QSUB_MAX);
        assert_true(q->sub == 16 || q->sub == 32 || q->sub == q->block);
        assert_non_null(halves_of(id));
    }
    assert_int_equal(types, N_TYPES);
    assert_int_equal(quantized, N_QUANTIZED);
    assert_int_equal(N_HALVES, N_QUANTIZED);
    assert_ptr_equal(slv_dtype_named("Q4_K"), slv_dtype_get(SLV_Q4_K));
    assert_null(slv_dtype_named("q4"));
    assert_null(slv_dtype_get(UINT32_MAX));
}

/* --- the canonical form ----------------------------------------------------------------------- */

/* Expands block i of p between guard bytes, so that entries past the block show if written. */
static void expand_guarded(const struct slv_quant *q, const uint8_t *p, size_t i,
                           struct slv_qblock *b) {
    memset(b, 0x5a, sizeof *b);
    q->expand(p, i, b);
    for (size_t k = q->block; k < SLV_QBLOCK_MAX; k++)
        assert_int_equal(b->code[k], 0x5a);
    for (size_t s = q->block / q->sub; s < SLV_QSUB_MAX; s++) {
        assert_int_equal(b->sc[s], 0x5a5a);
        assert_int_equal(b->mn[s], 0x5a5a);
    }
}

static void integers_carry_the_whole_value(void **state) {
    (void)state;
    for (size_t t = 0; t < N_HALVES; t++) {
        const struct slv_dtype *type = slv_dtype_get(halves[t].id);
        const struct slv_quant *q = slv_quant_get(type->id);
        uint8_t *p = random_blocks(type, 99 + type->id, SEEDED_BLOCKS);
        size_t n = (size_t)SEEDED_BLOCKS * type->block;
        float *want = malloc(n * sizeof *want);
        assert_non_null(want);
        assert_true(slv_dequant(type->id, p, want, n));
        for (size_t k = 0; k < n; k++) {
            struct slv_qblock b;
            if (k % q->block == 0) expand_guarded(q, p, k / q->block, &b);
            size_t e = k % q->block, s = e / q->sub;
            /* integers first, as the engine does; without a minimum only the float itself rounds */
            double v = (double)b.d * (double)(b.sc[s] * b.code[e]);
            if (q->has_min) v += (double)b.m * (double)b.mn[s];
            else assert_true(b.m == 0);
            bool same = q->has_min
                            ? fabs(v - (double)want[k]) <= 1e-6 * (fabs(v) + fabs((double)b.m))
                            : (float)v == want[k];
            if (!same) fail_msg("%s, element %zu: %g, not %g", type->name, k, v, (double)want[k]);
        }
        free(want);
        free(p);
    }
}

/* The engine adds sc * code * activation over a block in int32, and may split sc * code into two
 * signed bytes: both need these ranges. */
static void integers_stay_small(void **state) {
    (void)state;
    for (size_t t = 0; t < N_HALVES; t++) {
        const struct slv_dtype *type = slv_dtype_get(halves[t].id);
        const struct slv_quant *q = slv_quant_get(type->id);
        uint8_t *p = random_blocks(type, 7 + type->id, SEEDED_BLOCKS);
        for (size_t i = 0; i < (size_t)SEEDED_BLOCKS * type->block / q->block; i++) {
            struct slv_qblock b;
            q->expand(p, i, &b);
            for (size_t k = 0; k < q->block; k++)
                assert_in_range(b.sc[k / q->sub] * b.code[k] + 4096, 0, 8192);
            for (size_t s = 0; s < q->block / q->sub; s++) {
                assert_in_range(b.sc[s] + 128, 0, 255);
                if (q->has_min) assert_in_range(b.mn[s], 0, 63);
            }
        }
        free(p);
    }
}

/* --- half precision --------------------------------------------------------------------------- */

static void half_precision_survives_a_round_trip(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = slv_f16_to_f32((uint16_t)h);
        uint16_t back = slv_f32_to_f16(f);
        if (isnan(f)) {
            assert_int_equal(back & 0x7e00, 0x7e00);
            assert_int_equal(back & 0x8000, h & 0x8000);
        } else {
            assert_int_equal(back, h);
        }
    }
    assert_true(slv_f16_to_f32(0x3c00) == 1.0f);
    assert_true(slv_f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(slv_f16_to_f32(0xfbff) == -65504.0f);
}

static void half_precision_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = slv_f16_to_f32((uint16_t)h);
        float high = h == 0x7bff ? 65536.0f : slv_f16_to_f32((uint16_t)(h + 1));
        float middle = low + (high - low) / 2; /* exact: one more bit than half precision */
        assert_int_equal(slv_f32_to_f16(middle), h & 1 ? h + 1 : h);
        assert_int_equal(slv_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(slv_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(slv_f32_to_f16(-middle), 0x8000 | (h & 1 ? h + 1 : h));
    }
    assert_int_equal(slv_f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(slv_f32_to_f16(0x1p-149f), 0);
    assert_int_equal(slv_f32_to_f16(-3e38f), 0xfc00);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_weight_has_the_value_its_writer_meant),
        cmocka_unit_test(wide_numbers_are_rounded_once),
        cmocka_unit_test(no_type_is_missing),
        cmocka_unit_test(integers_carry_the_whole_value),
        cmocka_unit_test(integers_stay_small),
        cmocka_unit_test(half_precision_survives_a_round_trip),
        cmocka_unit_test(half_precision_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
