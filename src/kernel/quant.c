/* quant.c: the table of quantized types, elements as floats, and half-precision conversion.
 *
 * What a block's bytes mean is in quant_legacy.c, quant_k.c, quant_iq.c, quant_ternary.c and
 * quant_fp4.c: one function a type, bytes to canonical integers. Everything else follows from the
 * canonical form. */
#include "kernel/quant_int.h"

#include <string.h>

/* id, elements of a canonical block, of a sub-block, has a minimum */
static const struct slv_quant quants[SLV_DTYPE_END] = {
    [SLV_Q4_0] = {SLV_Q4_0, 32, 32, false, quant_expand_q4_0},
    [SLV_Q4_1] = {SLV_Q4_1, 32, 32, true, quant_expand_q4_1},
    [SLV_Q5_0] = {SLV_Q5_0, 32, 32, false, quant_expand_q5_0},
    [SLV_Q5_1] = {SLV_Q5_1, 32, 32, true, quant_expand_q5_1},
    [SLV_Q8_0] = {SLV_Q8_0, 32, 32, false, quant_expand_q8_0},
    [SLV_Q8_1] = {SLV_Q8_1, 32, 32, false, quant_expand_q8_1},
    [SLV_Q2_K] = {SLV_Q2_K, 256, 16, true, quant_expand_q2_k},
    [SLV_Q3_K] = {SLV_Q3_K, 256, 16, false, quant_expand_q3_k},
    [SLV_Q4_K] = {SLV_Q4_K, 256, 32, true, quant_expand_q4_k},
    [SLV_Q5_K] = {SLV_Q5_K, 256, 32, true, quant_expand_q5_k},
    [SLV_Q6_K] = {SLV_Q6_K, 256, 16, false, quant_expand_q6_k},
    [SLV_Q8_K] = {SLV_Q8_K, 256, 256, false, quant_expand_q8_k},
    [SLV_IQ1_S] = {SLV_IQ1_S, 256, 32, false, quant_expand_iq1_s},
    [SLV_IQ1_M] = {SLV_IQ1_M, 256, 16, false, quant_expand_iq1_m},
    [SLV_IQ2_XXS] = {SLV_IQ2_XXS, 256, 32, false, quant_expand_iq2_xxs},
    [SLV_IQ2_XS] = {SLV_IQ2_XS, 256, 16, false, quant_expand_iq2_xs},
    [SLV_IQ2_S] = {SLV_IQ2_S, 256, 16, false, quant_expand_iq2_s},
    [SLV_IQ3_XXS] = {SLV_IQ3_XXS, 256, 32, false, quant_expand_iq3_xxs},
    [SLV_IQ3_S] = {SLV_IQ3_S, 256, 32, false, quant_expand_iq3_s},
    [SLV_IQ4_NL] = {SLV_IQ4_NL, 32, 32, false, quant_expand_iq4_nl},
    [SLV_IQ4_XS] = {SLV_IQ4_XS, 256, 32, false, quant_expand_iq4_xs},
    [SLV_TQ1_0] = {SLV_TQ1_0, 256, 256, false, quant_expand_tq1_0},
    [SLV_TQ2_0] = {SLV_TQ2_0, 256, 256, false, quant_expand_tq2_0},
    [SLV_MXFP4] = {SLV_MXFP4, 32, 32, false, quant_expand_mxfp4},
    [SLV_NVFP4] = {SLV_NVFP4, 16, 16, false, quant_expand_nvfp4},
    [SLV_Q1_0] = {SLV_Q1_0, 128, 128, false, quant_expand_q1_0},
    [SLV_Q2_0] = {SLV_Q2_0, 64, 64, false, quant_expand_q2_0},
};

const struct slv_quant *slv_quant_get(uint32_t id) {
    return id < SLV_DTYPE_END && quants[id].expand ? &quants[id] : NULL;
}

/* --- half precision --------------------------------------------------------------------------- */

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float slv_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)(int)fraction * 0x1p-24f; /* zero and subnormals; exact */
    return sign ? -small : small;
}

float slv_bf16_to_f32(uint16_t h) { return from_bits((uint32_t)h << 16); }

uint16_t slv_f32_to_f16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, v = bits & 0x7fffffff;
    if (v > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (v >> 13 & 0x1ff)); /* NaN */
    if (v >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and more round to infinity */
    if (v >= 0x38800000) {                                 /* 2^-14: normal in half precision */
        v -= 112u << 23;
        return (uint16_t)(sign | (v + 0xfff + (v >> 13 & 1)) >> 13);
    }
    if (v < 0x33000000) return (uint16_t)sign; /* below 2^-25, half of the least subnormal */
    uint32_t shift = 126 - (v >> 23);          /* 14 to 24 */
    uint32_t mantissa = (v & 0x7fffff) | 0x800000, q = mantissa >> shift;
    uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    q += rest > half || (rest == half && q & 1);
    return (uint16_t)(sign | q);
}

/* --- elements as floats ----------------------------------------------------------------------- */

static void quantized(const struct slv_quant *q, const void *src, float *dst, size_t n) {
    struct slv_qblock b;
    for (size_t i = 0; i < n / q->block; i++, dst += q->block) {
        q->expand(src, i, &b);
        for (size_t k = 0; k < q->block; k++) {
            size_t s = k / q->sub;
            float v = b.d * (float)b.sc[s] * (float)b.code[k];
            dst[k] = q->has_min ? v + b.m * (float)b.mn[s] : v;
        }
    }
}

/* Elements of the types that are not quantized. */
static float load_f32(const uint8_t *p) { return from_bits(quant_u32(p)); }
static float load_f16(const uint8_t *p) { return quant_half(p); }
static float load_bf16(const uint8_t *p) { return slv_bf16_to_f32(quant_u16(p)); }
static float load_i8(const uint8_t *p) { return (float)(int8_t)p[0]; }
static float load_i16(const uint8_t *p) { return (float)(int16_t)quant_u16(p); }
static float load_i32(const uint8_t *p) { return (float)(int32_t)quant_u32(p); }

static uint64_t load_u64(const uint8_t *p) {
    return quant_u32(p) | (uint64_t)quant_u32(p + 4) << 32;
}

static float load_i64(const uint8_t *p) { return (float)(int64_t)load_u64(p); }

static float load_f64(const uint8_t *p) {
    uint64_t bits = load_u64(p);
    double d;
    memcpy(&d, &bits, sizeof d);
    return (float)d;
}

static float (*const loaders[SLV_DTYPE_END])(const uint8_t *p) = {
    [SLV_F32] = load_f32, [SLV_F16] = load_f16, [SLV_BF16] = load_bf16, [SLV_F64] = load_f64,
    [SLV_I8] = load_i8,   [SLV_I16] = load_i16, [SLV_I32] = load_i32,   [SLV_I64] = load_i64,
};

bool slv_dequant(uint32_t id, const void *src, float *dst, size_t n) {
    const struct slv_quant *q = slv_quant_get(id);
    if (q) {
        quantized(q, src, dst, n);
        return true;
    }
    if (id >= SLV_DTYPE_END || !loaders[id]) return false;
    const uint8_t *p = src;
    for (size_t i = 0, stride = slv_dtype_get(id)->bytes; i < n; i++, p += stride)
        dst[i] = loaders[id](p);
    return true;
}
