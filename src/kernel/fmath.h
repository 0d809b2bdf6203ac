/* fmath.h: the arithmetic every kernel is made of, for one lane. Same bits on every machine.
 *
 * Only correctly rounded operations are used: + - * / sqrt fma, conversions, compares (DESIGN
 * "Arithmetic"). The vector kernels perform exactly these operations in exactly this order, so a
 * lane of theirs equals a call here; constants are shared through this file.
 *
 * Stated errors, checked by tests/unit/test_fmath.c: expf 1 ulp on [-87, 88]; tanhf 2e-7 absolute;
 * gelu_erff 1.5e-7 of |x|.
 * The double functions are for tables and samplers, not for the forward pass: relative error below
 * 1e-14 (exp, log), absolute below 1e-14 for sin and cos up to |x| = 2^22.
 */
#ifndef SLV_KERNEL_FMATH_H
#define SLV_KERNEL_FMATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t slv_f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float slv_f32_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* a * b + c rounded once. Where the instruction may be missing: the product of two floats is exact
 * in double; adding c rounds to odd (Boldo and Melquiond, 2008), after which rounding to float
 * gives the correctly rounded sum. */
static inline float slv_fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    double p = (double)a * (double)b, cd = (double)c;
    double s = p + cd;
    double bb = s - p;
    double e = (p - (s - bb)) + (cd - bb); /* TwoSum: the exact error of s */
    uint64_t u;
    memcpy(&u, &s, sizeof u);
    if (e != 0.0 && !(u & 1) && e == e) { /* inexact and even: move to the odd neighbour */
        u += ((e > 0.0) == (s > 0.0)) ? 1 : (uint64_t)-1;
        memcpy(&s, &u, sizeof s);
    }
    return (float)s;
#endif
}

/* The larger one; the second where they compare unordered or equal. */
static inline float slv_maxf(float a, float b) { return a > b ? a : b; }

/* To the nearest integer, ties to even; exact for |x| < 2^22. */
#define SLV_RNE_MAGIC 0x1.8p23f
static inline float slv_rnef(float x) { return (x + SLV_RNE_MAGIC) - SLV_RNE_MAGIC; }

/* 2^n for -126 <= n <= 127. */
static inline float slv_pow2i(int32_t n) { return slv_f32_from_bits((uint32_t)(n + 127) << 23); }

#define SLV_EXP_LO (-104.0f)
#define SLV_EXP_HI 89.0f
#define SLV_EXP_LOG2E 0x1.715476p+0f
#define SLV_EXP_LN2_HI 0x1.62e4p-1f
#define SLV_EXP_LN2_LO 0x1.7f7d1cp-20f
#define SLV_EXP_C2 0x1.fffffcp-2f
#define SLV_EXP_C3 0x1.555492p-3f
#define SLV_EXP_C4 0x1.5558f2p-5f
#define SLV_EXP_C5 0x1.123a20p-7f
#define SLV_EXP_C6 0x1.6a23ccp-10f

/* e^x. Below SLV_EXP_LO 0, above SLV_EXP_HI infinity, NaN for NaN. x = n ln2 + r with |r| <=
 * ln2 / 2; the polynomial is a minimax fit of e^r; 2^n is applied in two exact halves. */
static inline float slv_expf(float x) {
    x = x < SLV_EXP_LO ? SLV_EXP_LO : x;
    x = x > SLV_EXP_HI ? SLV_EXP_HI : x;
    if (x != x) return x;
    float n = slv_rnef(x * SLV_EXP_LOG2E);
    float r = slv_fma(n, -SLV_EXP_LN2_HI, x);
    r = slv_fma(n, -SLV_EXP_LN2_LO, r);
    float p = SLV_EXP_C6;
    p = slv_fma(p, r, SLV_EXP_C5);
    p = slv_fma(p, r, SLV_EXP_C4);
    p = slv_fma(p, r, SLV_EXP_C3);
    p = slv_fma(p, r, SLV_EXP_C2);
    p = slv_fma(p, r, 1.0f);
    p = slv_fma(p, r, 1.0f);
    int32_t ni = (int32_t)n, half = ni >> 1;
    return p * slv_pow2i(half) * slv_pow2i(ni - half);
}

/* x * sigmoid(x) = x / (1 + e^-x). */
static inline float slv_siluf(float x) { return x / (1.0f + slv_expf(-x)); }

/* GELU in its tanh form, 0.5 x (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), written as
 * x / (1 + e^-2u). */
#define SLV_GELU_A 0.044715f
#define SLV_GELU_B (-1.5957691216057308f) /* -2 sqrt(2 / pi) */
static inline float slv_geluf(float x) {
    float t = x * x;
    float u = slv_fma(t * x, SLV_GELU_A, x);
    return x / (1.0f + slv_expf(u * SLV_GELU_B));
}

/* GELU as defined, x Phi(x), with Phi(-a) = erfc(a / sqrt(2)) / 2 = exp(-a p(a)) / 2 for a >= 0; p
 * is a polynomial fitted to that on [0, 8], beyond which nothing is left to add. For x > 0 it is
 * x - x Phi(-x). */
#define SLV_GELU_ERF_END 8.0f
#define SLV_GELU_ERF_C0 0x1.98846ep-1f
#define SLV_GELU_ERF_C1 0x1.45f012p-2f
#define SLV_GELU_ERF_C2 0x1.2a141ep-5f
#define SLV_GELU_ERF_C3 (-0x1.406556p-8f)
#define SLV_GELU_ERF_C4 0x1.52e262p-14f
#define SLV_GELU_ERF_C5 0x1.2a34e6p-13f
#define SLV_GELU_ERF_C6 (-0x1.19ce32p-15f)
#define SLV_GELU_ERF_C7 0x1.d05334p-19f
#define SLV_GELU_ERF_C8 (-0x1.291c0cp-23f)
static inline float slv_gelu_erff(float x) {
    float a = slv_f32_from_bits(slv_f32_bits(x) & 0x7fffffffu);
    a = SLV_GELU_ERF_END < a ? SLV_GELU_ERF_END : a;
    float p = SLV_GELU_ERF_C8;
    p = slv_fma(p, a, SLV_GELU_ERF_C7);
    p = slv_fma(p, a, SLV_GELU_ERF_C6);
    p = slv_fma(p, a, SLV_GELU_ERF_C5);
    p = slv_fma(p, a, SLV_GELU_ERF_C4);
    p = slv_fma(p, a, SLV_GELU_ERF_C3);
    p = slv_fma(p, a, SLV_GELU_ERF_C2);
    p = slv_fma(p, a, SLV_GELU_ERF_C1);
    p = slv_fma(p, a, SLV_GELU_ERF_C0);
    float tail = a * slv_expf(-a * p);
    return slv_fma(tail, -0.5f, slv_maxf(0.0f, x));
}

static inline float slv_tanhf(float x) {
    float a = slv_f32_from_bits(slv_f32_bits(x) & 0x7fffffffu);
    float t = slv_expf(-2.0f * a);
    float y = (1.0f - t) / (1.0f + t);
    return slv_f32_from_bits(slv_f32_bits(y) | (slv_f32_bits(x) & 0x80000000u));
}

/* The bits of the smallest amax whose 127 / amax is finite: 2^-121. */
#define SLV_QUANT_MIN_BITS 0x03000000u

/* Double precision, for tables, samplers and log-probabilities. */
double slv_exp64(double x);
double slv_log64(double x);                                    /* x > 0; -inf for 0, NaN below */
double slv_pow64(double x, double y);                          /* x > 0 */
void slv_sincos64(double x, double *ret_sin, double *ret_cos); /* |x| <= 2^22 */

#endif
