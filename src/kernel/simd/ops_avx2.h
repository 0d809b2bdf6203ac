/* ops_avx2.h: the sixteen-lane vocabulary of the kernel templates in AVX2, FMA and F16C; with VNNI
 * of 256 bits where the compiler is told so (__AVXVNNI__). Each vector is two registers. */
#ifndef SLV_OPS_AVX2_H
#define SLV_OPS_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OP static inline __attribute__((always_inline, unused))

typedef struct {
    __m256 a, b;
} vf;
typedef struct {
    __m256i a, b;
} vi;
typedef struct {
    __m256i a, b;
} vb;

OP vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
OP void vf_store(float *p, vf x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
OP vf vf_set1(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
OP vf vf_zero(void) { return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
#define OP2(name, intr)                                                                            \
    OP vf name(vf x, vf y) { return (vf){intr(x.a, y.a), intr(x.b, y.b)}; }
OP2(vf_add, _mm256_add_ps)
OP2(vf_sub, _mm256_sub_ps)
OP2(vf_mul, _mm256_mul_ps)
OP2(vf_div, _mm256_div_ps)
OP2(vf_max, _mm256_max_ps) /* x > y ? x : y, as the instruction defines it */
OP2(vf_min, _mm256_min_ps) /* x < y ? x : y */
#undef OP2
OP vf vf_fma(vf x, vf y, vf z) {
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
/* m ? x : y, for a mask of all-ones or all-zeros lanes */
OP vf vf_select(vf m, vf x, vf y) {
    return (vf){_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}
OP vi vf_bits(vf x) { return (vi){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
OP vf vi_float_bits(vi x) { return (vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
OP vi vf_to_vi(vf x) { return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
OP vf vi_to_vf(vi x) { return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

OP vi vi_zero(void) { return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
OP vi vi_set1(int32_t x) { return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
OP vi vi_add(vi x, vi y) { return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
OP vi vi_sub(vi x, vi y) { return (vi){_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
OP vi vi_mul(vi x, vi y) {
    return (vi){_mm256_mullo_epi32(x.a, y.a), _mm256_mullo_epi32(x.b, y.b)};
}
OP vi vi_and(vi x, vi y) { return (vi){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
OP vi vi_or(vi x, vi y) { return (vi){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
OP vi vi_maxu(vi x, vi y) { return (vi){_mm256_max_epu32(x.a, y.a), _mm256_max_epu32(x.b, y.b)}; }
OP vi vi_sll(vi x, int n) { return (vi){_mm256_slli_epi32(x.a, n), _mm256_slli_epi32(x.b, n)}; }
OP vi vi_sra1(vi x) { return (vi){_mm256_srai_epi32(x.a, 1), _mm256_srai_epi32(x.b, 1)}; }
OP vi vi_lanes(void) {
    return (vi){_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}
/* lo <= lane < hi as a mask; values small and not negative */
OP vf vi_within(vi lane, int lo, int hi) {
    __m256i l = _mm256_set1_epi32(lo - 1), h = _mm256_set1_epi32(hi);
    return (vf){_mm256_castsi256_ps(
                    _mm256_and_si256(_mm256_cmpgt_epi32(lane.a, l), _mm256_cmpgt_epi32(h, lane.a))),
                _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(lane.b, l),
                                                     _mm256_cmpgt_epi32(h, lane.b)))};
}
OP vi vi_from_i8(const int8_t *p) {
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vi){_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}
/* The low bytes of lanes that are within -128..127. */
OP void vi_store_i8(int8_t *p, vi x) {
    __m256i w = _mm256_packs_epi32(x.a, x.b); /* 0-3 8-11 | 4-7 12-15 */
    w = _mm256_permute4x64_epi64(w, 0xd8);    /* 0-7 | 8-15 */
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)(void *)p, b);
}
OP void vi_store(int32_t *p, vi x) {
    _mm256_storeu_si256((__m256i *)(void *)p, x.a);
    _mm256_storeu_si256((__m256i *)(void *)(p + 8), x.b);
}
/* The largest lane, unsigned; the sum of all. */
OP uint32_t vi_maxu_of(vi x) {
    __m256i m8 = _mm256_max_epu32(x.a, x.b);
    __m128i m4 = _mm_max_epu32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
    m4 = _mm_max_epu32(m4, _mm_shuffle_epi32(m4, 0x4e));
    m4 = _mm_max_epu32(m4, _mm_shuffle_epi32(m4, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m4);
}
OP int32_t vi_sum_of(vi x) {
    __m256i s8 = _mm256_add_epi32(x.a, x.b);
    __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
    s4 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4e));
    s4 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0xb1));
    return _mm_cvtsi128_si32(s4);
}
OP vf vf_from_f16(const void *p) {
    const __m128i *h = p;
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}
OP void vf_store_f16(uint16_t *p, vf x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
OP vf vf_from_bf16(const void *p) {
    const __m128i *h = p;
    return (vf){
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(h)), 16)),
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(h + 1)), 16))};
}

OP vb vb_load(const void *p) {
    const __m256i *b = p;
    return (vb){_mm256_loadu_si256(b), _mm256_loadu_si256(b + 1)};
}
OP vb vb_and(vb x, uint8_t mask) {
    __m256i m = _mm256_set1_epi8((char)mask);
    return (vb){_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
OP vb vb_flip(vb x) { /* the top bit of each byte */
    const __m256i m = _mm256_set1_epi8((char)0x80);
    return (vb){_mm256_xor_si256(x.a, m), _mm256_xor_si256(x.b, m)};
}
OP void vb_store(void *p, vb x) {
    _mm256_storeu_si256((__m256i *)p, x.a);
    _mm256_storeu_si256((__m256i *)p + 1, x.b);
}
OP vb vb_or(vb x, vb y) { return (vb){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
/* Shifts of 16-bit units: the caller masks what crosses a byte. */
OP vb vb_srl(vb x, int n) { return (vb){_mm256_srli_epi16(x.a, n), _mm256_srli_epi16(x.b, n)}; }
OP vb vb_sll(vb x, int n) { return (vb){_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)}; }
OP vb vb_table(const int8_t *table, vb idx) {
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (vb){_mm256_shuffle_epi8(t, idx.a), _mm256_shuffle_epi8(t, idx.b)};
}

OP vi vi_each(const void *x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return vi_set1(four);
}
OP vf vf_each(const float *x) { return vf_set1(*x); }

#ifdef __AVXVNNI__
OP vi vi_dot_u(vi acc, vb u, const int8_t *x) {
    const __m256i v = vi_each(x).a;
    return (vi){_mm256_dpbusd_avx_epi32(acc.a, u.a, v), _mm256_dpbusd_avx_epi32(acc.b, u.b, v)};
}
/* As in ops_avx512.h: s + 128 is unsigned, and 128 times the sum of x comes off in the caller. */
#define SIGNED_BIAS (-128)
OP vi vi_dot_s(vi acc, vb s, const int8_t *x) { return vi_dot_u(acc, vb_flip(s), x); }
#else
/* Sums of 4 products of unsigned bytes, at most 128, so that a pair's sum stays below 2^15. */
OP __m256i dot_u_half(__m256i u, __m256i x) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, x), _mm256_set1_epi16(1));
}
/* |s| is multiplied by x with s's sign, and nothing is left to add. */
OP vi vi_dot_s(vi acc, vb s, const int8_t *x) {
    __m256i v = vi_each(x).a;
    return (vi){
        _mm256_add_epi32(acc.a, dot_u_half(_mm256_abs_epi8(s.a), _mm256_sign_epi8(v, s.a))),
        _mm256_add_epi32(acc.b, dot_u_half(_mm256_abs_epi8(s.b), _mm256_sign_epi8(v, s.b)))};
}
#define SIGNED_BIAS 0
#endif

/* --- several columns --- */

#define COLS 4
typedef vb vp;
#define vp_load vb_load
#define vp_store vb_store
OP vp vp_repeat(int32_t x) { return (vp){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
OP vp vp_pairs(const int8_t *lo, const int8_t *hi, int times) {
    const __m128i *pl = (const __m128i *)(const void *)lo, *ph = (const __m128i *)(const void *)hi;
    __m128i l = _mm_loadu_si128(pl), h = _mm_loadu_si128(ph);
    const __m256i t = _mm256_set1_epi16((short)times);
    const vp p = {_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(l, h)),
                  _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(l, h))};
    if (times == 1) return p;
    return (vp){_mm256_mullo_epi16(p.a, t), _mm256_mullo_epi16(p.b, t)};
}
OP void vi_hold(vi *p) { __asm__ volatile("" : "+x"(p->a), "+x"(p->b)); }
#ifdef __AVXVNNI__
OP vi vi_add_pairs(vi acc, vp p, int32_t x) {
    const __m256i v = _mm256_set1_epi32(x);
    return (vi){_mm256_dpwssd_avx_epi32(acc.a, p.a, v), _mm256_dpwssd_avx_epi32(acc.b, p.b, v)};
}
OP vi vi_load(const int32_t *p) {
    const __m256i *v = (const __m256i *)(const void *)p;
    return (vi){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
#include "kernel/simd/ops_sum32.h"
#else
OP vp vp_products(vb u, vp x) {
    return (vp){_mm256_maddubs_epi16(u.a, x.a), _mm256_maddubs_epi16(u.b, x.b)};
}
OP vp vp_add(vp x, vp y) { return (vp){_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)}; }
OP vi vi_madd(vi acc, vp x, vp y) {
    return (vi){_mm256_add_epi32(acc.a, _mm256_madd_epi16(x.a, y.a)),
                _mm256_add_epi32(acc.b, _mm256_madd_epi16(x.b, y.b))};
}
OP void vp_hold(vp *p) { __asm__ volatile("" : "+x"(p->a), "+x"(p->b)); }
#include "kernel/simd/ops_sum16.h"
#endif

/* The fixed tree: 16 to 8 to 4 to 2 to 1. */
OP float vf_tree_sum(vf x) {
    __m256 s8 = _mm256_add_ps(x.a, x.b);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    __m128 s1 = _mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1));
    return _mm_cvtss_f32(s1);
}
/* The largest lane; none is NaN. */
OP float vf_max_of(vf x) {
    __m256 m8 = _mm256_max_ps(x.a, x.b);
    __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    m4 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m4, _mm_shuffle_ps(m4, m4, 1)));
}
OP float scalar_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

#define TILES_FLOAT 4 /* row tiles multiplied at once with one column */
#define AT_CHAINS 6   /* vectors of sums in attention */
#define AT_LOTS(lot) lot(6) lot(3) lot(2) lot(1)
#define COLS_FLOAT 4 /* columns multiplied at once with one row tile */

#endif
