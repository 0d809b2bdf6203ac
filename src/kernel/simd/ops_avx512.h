/* ops_avx512.h: the sixteen-lane vocabulary of the kernel templates in AVX-512 F, BW, VL, DQ;
 * with VNNI where the compiler is told so (__AVX512VNNI__). Each vector is one register. */
#ifndef SLV_OPS_AVX512_H
#define SLV_OPS_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OP static inline __attribute__((always_inline, unused))

typedef __m512 vf;
typedef __m512i vi;
typedef struct {
    __m512i v;
} vb;

OP vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
OP void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
OP vf vf_set1(float x) { return _mm512_set1_ps(x); }
OP vf vf_zero(void) { return _mm512_setzero_ps(); }
OP vf vf_add(vf x, vf y) { return _mm512_add_ps(x, y); }
OP vf vf_sub(vf x, vf y) { return _mm512_sub_ps(x, y); }
OP vf vf_mul(vf x, vf y) { return _mm512_mul_ps(x, y); }
OP vf vf_div(vf x, vf y) { return _mm512_div_ps(x, y); }
OP vf vf_max(vf x, vf y) { return _mm512_max_ps(x, y); }
OP vf vf_min(vf x, vf y) { return _mm512_min_ps(x, y); }
OP vf vf_fma(vf x, vf y, vf z) { return _mm512_fmadd_ps(x, y, z); }
OP vf vf_select(vf m, vf x, vf y) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(m)), y, x);
}
OP vi vf_bits(vf x) { return _mm512_castps_si512(x); }
OP vf vi_float_bits(vi x) { return _mm512_castsi512_ps(x); }
OP vi vf_to_vi(vf x) { return _mm512_cvtps_epi32(x); }
OP vf vi_to_vf(vi x) { return _mm512_cvtepi32_ps(x); }

OP vi vi_zero(void) { return _mm512_setzero_si512(); }
OP vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
OP vi vi_add(vi x, vi y) { return _mm512_add_epi32(x, y); }
OP vi vi_sub(vi x, vi y) { return _mm512_sub_epi32(x, y); }
OP vi vi_mul(vi x, vi y) { return _mm512_mullo_epi32(x, y); }
OP vi vi_and(vi x, vi y) { return _mm512_and_si512(x, y); }
OP vi vi_or(vi x, vi y) { return _mm512_or_si512(x, y); }
OP vi vi_maxu(vi x, vi y) { return _mm512_max_epu32(x, y); }
OP vi vi_sll(vi x, int n) { return _mm512_slli_epi32(x, (unsigned)n); }
OP vi vi_sra1(vi x) { return _mm512_srai_epi32(x, 1); }
OP vi vi_lanes(void) {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
OP vf vi_within(vi lane, int lo, int hi) {
    __mmask16 m = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(lo));
    m = _mm512_mask_cmplt_epi32_mask(m, lane, _mm512_set1_epi32(hi));
    return _mm512_castsi512_ps(_mm512_movm_epi32(m));
}
OP vi vi_from_i8(const int8_t *p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
OP void vi_store_i8(int8_t *p, vi x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(x));
}
OP void vi_store(int32_t *p, vi x) { _mm512_storeu_si512(p, x); }
OP uint32_t vi_maxu_of(vi x) { return _mm512_reduce_max_epu32(x); }
OP int32_t vi_sum_of(vi x) { return _mm512_reduce_add_epi32(x); }
OP vf vf_from_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
OP void vf_store_f16(uint16_t *p, vf x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
OP vf vf_from_bf16(const void *p) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

OP vb vb_load(const void *p) { return (vb){_mm512_loadu_si512(p)}; }
OP vb vb_and(vb x, uint8_t mask) {
    return (vb){_mm512_and_si512(x.v, _mm512_set1_epi8((char)mask))};
}
OP vb vb_flip(vb x) { /* the top bit of each byte */
    return (vb){_mm512_xor_si512(x.v, _mm512_set1_epi8((char)0x80))};
}
OP void vb_store(void *p, vb x) { _mm512_storeu_si512(p, x.v); }
OP vb vb_or(vb x, vb y) { return (vb){_mm512_or_si512(x.v, y.v)}; }
OP vb vb_srl(vb x, int n) { return (vb){_mm512_srli_epi16(x.v, (unsigned)n)}; }
OP vb vb_sll(vb x, int n) { return (vb){_mm512_slli_epi16(x.v, (unsigned)n)}; }
OP vb vb_table(const int8_t *table, vb idx) {
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)table));
    return (vb){_mm512_shuffle_epi8(t, idx.v)};
}

/* --- several columns, and signed codes --- */

#define COLS 8
typedef vb vp;
#ifdef __AVX512F__
#define HOLD(x) __asm__ volatile("" : "+v"(x))
struct four_bytes {
    int32_t x;
} __attribute__((packed, may_alias));
#define FOUR(p) "m"(*(const struct four_bytes *)(const void *)(p))
/* Loaded and repeated in one step: compilers make two of it. */
OP vi vi_each(const void *x) {
    vi r;
    __asm__("vpbroadcastd %1, %0" : "=v"(r) : FOUR(x));
    return r;
}
#else /* over an emulation there are no such registers */
#define HOLD(x) ((void)(x))
OP vi vi_each(const void *x) {
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return vi_set1(four);
}
#endif
OP vf vf_each(const float *x) { return vi_float_bits(vi_each(x)); }
OP void vi_hold(vi *p) { HOLD(*p); }
OP void vp_hold(vp *p) { HOLD(p->v); }
#define vp_load vb_load
#define vp_store vb_store
OP vp vp_repeat(int32_t x) { return (vp){_mm512_set1_epi32(x)}; }
OP vp vp_pairs(const int8_t *lo, const int8_t *hi, int times) {
    const __m128i *pl = (const __m128i *)(const void *)lo, *ph = (const __m128i *)(const void *)hi;
    __m128i l = _mm_loadu_si128(pl), h = _mm_loadu_si128(ph);
    __m256i both = _mm256_set_m128i(_mm_unpackhi_epi8(l, h), _mm_unpacklo_epi8(l, h));
    const __m512i p = _mm512_cvtepi8_epi16(both);
    return (vp){times == 1 ? p : _mm512_mullo_epi16(p, _mm512_set1_epi16((short)times))};
}

#ifdef __AVX512VNNI__
/* The bytes at x as a part of the instruction: compilers prefer to load and repeat them first. */
OP vi vi_dot_u(vi acc, vb u, const int8_t *x) {
#ifdef __AVX512F__
    __asm__ volatile("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(u.v), FOUR(x));
    return acc;
#else
    int32_t four;
    __builtin_memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(acc, u.v, _mm512_set1_epi32(four));
#endif
}
/* There is no signed form: s + 128 is unsigned, and 128 times the sum of x comes off in the caller.
 */
#define SIGNED_BIAS (-128)
OP vi vi_dot_s(vi acc, vb s, const int8_t *x) { return vi_dot_u(acc, vb_flip(s), x); }
OP vi vi_add_pairs(vi acc, vp p, int32_t x) {
    return _mm512_dpwssd_epi32(acc, p.v, _mm512_set1_epi32(x));
}
OP vi vi_load(const int32_t *p) { return _mm512_loadu_si512(p); }
#include "kernel/simd/ops_sum32.h"
#else
OP vi vi_dot_s(vi acc, vb s, const int8_t *x) {
    __m512i v = vi_each(x);
    __m512i signed_x = _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(s.v), _mm512_setzero_si512(), v);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(s.v), signed_x);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#define SIGNED_BIAS 0
OP vp vp_products(vb u, vp x) { return (vp){_mm512_maddubs_epi16(u.v, x.v)}; }
OP vp vp_add(vp x, vp y) { return (vp){_mm512_add_epi16(x.v, y.v)}; }
OP vi vi_madd(vi acc, vp x, vp y) { return _mm512_add_epi32(acc, _mm512_madd_epi16(x.v, y.v)); }
#include "kernel/simd/ops_sum16.h"
#endif

OP float vf_tree_sum(vf x) {
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    __m128 s1 = _mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1));
    return _mm_cvtss_f32(s1);
}
/* The largest lane; none is NaN. */
OP float vf_max_of(vf x) { return _mm512_reduce_max_ps(x); }
OP float scalar_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

#define TILES_FLOAT 4
#define AT_CHAINS 12 /* vectors of sums in attention */
#define AT_LOTS(lot) lot(12) lot(6) lot(4) lot(3) lot(2) lot(1)
#define COLS_FLOAT 8

#endif
