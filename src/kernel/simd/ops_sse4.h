/* ops_sse4.h: one register of the kernel templates' vocabulary (ops_quad.h) in SSE4.1 and SSSE3.
 * There is no fma instruction at this level: it is emulated exactly, as fmath.h does it, which is
 * slow and right. Old machines run; they are not what we tune for. */
#ifndef SLV_OPS_SSE4_H
#define SLV_OPS_SSE4_H

#include <smmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/fmath.h"
#include "kernel/quant.h"

#define OP static inline __attribute__((always_inline, unused))

typedef __m128 f4;
typedef __m128i i4;
typedef __m128i b16;

#define f4_load _mm_loadu_ps
#define f4_store _mm_storeu_ps
#define f4_set1 _mm_set1_ps
#define f4_add _mm_add_ps
#define f4_sub _mm_sub_ps
#define f4_mul _mm_mul_ps
#define f4_div _mm_div_ps
#define f4_max _mm_max_ps
#define f4_min _mm_min_ps
/* slv_fma of two lanes: the sum in double, moved to the odd neighbour where inexact and even. */
OP __m128d fma_half(__m128d x, __m128d y, __m128d z) {
    __m128d p = _mm_mul_pd(x, y), s = _mm_add_pd(p, z), zero = _mm_setzero_pd();
    __m128d zz = _mm_sub_pd(s, p);
    __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, zz)), _mm_sub_pd(z, zz));
    __m128d inexact = _mm_and_pd(_mm_cmpneq_pd(e, zero), _mm_cmpord_pd(e, e));
    __m128d down = _mm_xor_pd(_mm_cmpgt_pd(e, zero), _mm_cmpgt_pd(s, zero));
    __m128i u = _mm_castpd_si128(s), one = _mm_set1_epi64x(1);
    __m128i even = _mm_sub_epi64(_mm_and_si128(u, one), one);
    __m128i step = _mm_and_si128(_mm_or_si128(_mm_castpd_si128(down), one), even);
    return _mm_castsi128_pd(_mm_add_epi64(u, _mm_and_si128(step, _mm_castpd_si128(inexact))));
}
OP f4 f4_fma(f4 x, f4 y, f4 z) {
    __m128d lo = fma_half(_mm_cvtps_pd(x), _mm_cvtps_pd(y), _mm_cvtps_pd(z));
    __m128d hi = fma_half(_mm_cvtps_pd(_mm_movehl_ps(x, x)), _mm_cvtps_pd(_mm_movehl_ps(y, y)),
                          _mm_cvtps_pd(_mm_movehl_ps(z, z)));
    return _mm_movelh_ps(_mm_cvtpd_ps(lo), _mm_cvtpd_ps(hi));
}
OP f4 f4_select(f4 m, f4 x, f4 y) { return _mm_blendv_ps(y, x, m); }
#define f4_bits _mm_castps_si128
#define f4_to_i4 _mm_cvtps_epi32
/* A subnormal half m 2^-24 is (1 + m 2^-10) 2^-14 less 2^-14. */
OP f4 f4_from_f16(const uint16_t *p) {
    const __m128i bias = _mm_set1_epi32(112 << 23), least = _mm_set1_epi32(113 << 23);
    __m128i h = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m128i sign = _mm_slli_epi32(_mm_srli_epi32(h, 15), 31);
    __m128i x = _mm_srli_epi32(_mm_slli_epi32(h, 17), 4);
    __m128i over = _mm_cmpgt_epi32(x, _mm_set1_epi32((31 << 23) - 1)); /* infinities and NaN */
    __m128i big = _mm_add_epi32(_mm_add_epi32(x, bias), _mm_and_si128(over, bias));
    __m128 small = _mm_sub_ps(_mm_castsi128_ps(_mm_add_epi32(x, least)), _mm_castsi128_ps(least));
    __m128i under = _mm_cmpgt_epi32(_mm_set1_epi32(1 << 23), x);
    __m128 y = _mm_blendv_ps(_mm_castsi128_ps(big), small, _mm_castsi128_ps(under));
    return _mm_or_ps(y, _mm_castsi128_ps(sign));
}
OP void f4_store_f16(uint16_t *p, f4 x) {
    float f[4];
    f4_store(f, x);
    for (int i = 0; i < 4; i++)
        p[i] = slv_f32_to_f16(f[i]);
}
OP f4 f4_from_bf16(const uint16_t *p) {
    __m128i h = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(h), 16));
}

#define i4_float_bits _mm_castsi128_ps
#define i4_to_f4 _mm_cvtepi32_ps
OP void i4_store(int32_t *p, i4 x) { _mm_storeu_si128((__m128i *)(void *)p, x); }
#define i4_set1 _mm_set1_epi32
#define i4_add _mm_add_epi32
#define i4_sub _mm_sub_epi32
#define i4_mul _mm_mullo_epi32
#define i4_and _mm_and_si128
#define i4_or _mm_or_si128
#define i4_maxu _mm_max_epu32
#define i4_sll _mm_slli_epi32
OP i4 i4_sra1(i4 x) { return _mm_srai_epi32(x, 1); }
OP i4 i4_lanes(int32_t first) { return _mm_setr_epi32(first, first + 1, first + 2, first + 3); }
OP f4 i4_within(i4 lane, int lo, int hi) {
    return _mm_castsi128_ps(_mm_and_si128(_mm_cmpgt_epi32(lane, _mm_set1_epi32(lo - 1)),
                                          _mm_cmpgt_epi32(_mm_set1_epi32(hi), lane)));
}

OP b16 b16_load(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
OP void b16_store(uint8_t *p, b16 x) { _mm_storeu_si128((__m128i *)(void *)p, x); }
#define b16_repeat _mm_set1_epi32
OP b16 b16_flip(b16 x) { return _mm_xor_si128(x, _mm_set1_epi8((char)0x80)); }
OP b16 b16_and(b16 x, uint8_t mask) { return _mm_and_si128(x, _mm_set1_epi8((char)mask)); }
#define b16_or _mm_or_si128
/* Shifts of 16-bit units: the caller masks what crosses a byte. */
#define b16_srl _mm_srli_epi16
#define b16_sll _mm_slli_epi16
#define b16_pick _mm_shuffle_epi8

#define SIGNED_BIAS 0
OP i4 i4_dot_s(i4 acc, b16 s, b16 x) {
    __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8(s), _mm_sign_epi8(x, s));
    return _mm_add_epi32(acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)));
}

#include "kernel/simd/ops_quad.h"

OP vi vi_from_i8(const int8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vi){{_mm_cvtepi8_epi32(x), _mm_cvtepi8_epi32(_mm_srli_si128(x, 4)),
                 _mm_cvtepi8_epi32(_mm_srli_si128(x, 8)),
                 _mm_cvtepi8_epi32(_mm_srli_si128(x, 12))}};
}
OP void vi_store_i8(int8_t *p, vi x) {
    __m128i w0 = _mm_packs_epi32(x.r[0], x.r[1]), w1 = _mm_packs_epi32(x.r[2], x.r[3]);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi16(w0, w1));
}

#define COLS 2
OP vp vp_pairs(const int8_t *lo, const int8_t *hi, int times) {
    const __m128i l = b16_load((const uint8_t *)lo), h = b16_load((const uint8_t *)hi);
    const __m128i a = _mm_unpacklo_epi8(l, h), b = _mm_unpackhi_epi8(l, h);
    const __m128i t = _mm_set1_epi16((short)times);
    return (vp){{_mm_mullo_epi16(_mm_cvtepi8_epi16(a), t),
                 _mm_mullo_epi16(_mm_cvtepi8_epi16(_mm_srli_si128(a, 8)), t),
                 _mm_mullo_epi16(_mm_cvtepi8_epi16(b), t),
                 _mm_mullo_epi16(_mm_cvtepi8_epi16(_mm_srli_si128(b, 8)), t)}};
}
QUAD_SET(vp, vp_repeat, int32_t, b16_repeat)
QUAD_2(vp, vp_products, vp, _mm_maddubs_epi16)
QUAD_2(vp, vp_add, vp, _mm_add_epi16)
OP i4 i4_madd(i4 acc, b16 x, b16 y) { return _mm_add_epi32(acc, _mm_madd_epi16(x, y)); }
OP vi vi_madd(vi acc, vp x, vp y) {
    return (vi){{i4_madd(acc.r[0], x.r[0], y.r[0]), i4_madd(acc.r[1], x.r[1], y.r[1]),
                 i4_madd(acc.r[2], x.r[2], y.r[2]), i4_madd(acc.r[3], x.r[3], y.r[3])}};
}
/* four registers each: they do not fit anyway */
OP void vi_hold(vi *p) { (void)p; }
OP void vp_hold(vp *p) { (void)p; }
#include "kernel/simd/ops_sum16.h"

OP float vf_tree_sum(vf x) {
    __m128 s4 = _mm_add_ps(_mm_add_ps(x.r[0], x.r[2]), _mm_add_ps(x.r[1], x.r[3]));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
OP float scalar_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

#define TILES_FLOAT 2
#define AT_CHAINS 2 /* vectors of sums in attention */
#define AT_LOTS(lot) lot(2) lot(1)
#define COLS_FLOAT 2

#endif
