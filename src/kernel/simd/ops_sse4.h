/* ops_sse4.h: the sixteen-lane vocabulary of the kernel templates in SSE4.1 and SSSE3: each vector
 * is four registers. There is no fma instruction at this level: it is emulated exactly, lane by
 * lane (fmath.h), which is slow and right. Old machines run; they are not what we tune for. */
#ifndef SLV_OPS_SSE4_H
#define SLV_OPS_SSE4_H

#include <smmintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/fmath.h"
#include "kernel/quant.h"

#define OP static inline __attribute__((always_inline, unused))
#define EACH for (int i = 0; i < 4; i++)

typedef struct {
    __m128 r[4];
} vf;
typedef struct {
    __m128i r[4];
} vi;
typedef struct {
    __m128i r[4];
} vb;

OP vf vf_load(const float *p) {
    vf y;
    EACH y.r[i] = _mm_loadu_ps(p + 4 * i);
    return y;
}
OP void vf_store(float *p, vf x) { EACH _mm_storeu_ps(p + 4 * i, x.r[i]); }
OP vf vf_set1(float x) {
    vf y;
    EACH y.r[i] = _mm_set1_ps(x);
    return y;
}
OP vf vf_zero(void) { return vf_set1(0.0f); }
#define OP2(type, name, intr)                                                                      \
    OP type name(type x, type y) {                                                                 \
        EACH x.r[i] = intr(x.r[i], y.r[i]);                                                        \
        return x;                                                                                  \
    }
OP2(vf, vf_add, _mm_add_ps)
OP2(vf, vf_sub, _mm_sub_ps)
OP2(vf, vf_mul, _mm_mul_ps)
OP2(vf, vf_div, _mm_div_ps)
OP2(vf, vf_max, _mm_max_ps)
OP2(vf, vf_min, _mm_min_ps)
OP2(vi, vi_add, _mm_add_epi32)
OP2(vi, vi_sub, _mm_sub_epi32)
OP2(vi, vi_mul, _mm_mullo_epi32)
OP2(vi, vi_and, _mm_and_si128)
OP2(vi, vi_or, _mm_or_si128)
OP2(vi, vi_maxu, _mm_max_epu32)
OP2(vb, vb_or, _mm_or_si128)
#undef OP2
OP vf vf_fma(vf x, vf y, vf z) {
    float a[16], b[16], c[16];
    vf_store(a, x);
    vf_store(b, y);
    vf_store(c, z);
    for (int i = 0; i < 16; i++)
        c[i] = slv_fma(a[i], b[i], c[i]);
    return vf_load(c);
}
OP vf vf_select(vf m, vf x, vf y) {
    EACH y.r[i] = _mm_blendv_ps(y.r[i], x.r[i], m.r[i]);
    return y;
}
OP vf vf_unordered(vf x) {
    EACH x.r[i] = _mm_cmpunord_ps(x.r[i], x.r[i]);
    return x;
}
OP vi vf_bits(vf x) {
    vi y;
    EACH y.r[i] = _mm_castps_si128(x.r[i]);
    return y;
}
OP vf vi_float_bits(vi x) {
    vf y;
    EACH y.r[i] = _mm_castsi128_ps(x.r[i]);
    return y;
}
OP vi vf_to_vi(vf x) {
    vi y;
    EACH y.r[i] = _mm_cvtps_epi32(x.r[i]);
    return y;
}
OP vf vi_to_vf(vi x) {
    vf y;
    EACH y.r[i] = _mm_cvtepi32_ps(x.r[i]);
    return y;
}
OP vi vi_set1(int32_t x) {
    vi y;
    EACH y.r[i] = _mm_set1_epi32(x);
    return y;
}
OP vi vi_zero(void) { return vi_set1(0); }
OP vi vi_sll(vi x, int n) {
    EACH x.r[i] = _mm_slli_epi32(x.r[i], n);
    return x;
}
OP vi vi_sra1(vi x) {
    EACH x.r[i] = _mm_srai_epi32(x.r[i], 1);
    return x;
}
OP vi vi_lanes(void) {
    vi y;
    EACH y.r[i] = _mm_setr_epi32(4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3);
    return y;
}
OP vf vi_within(vi lane, int lo, int hi) {
    vf y;
    __m128i l = _mm_set1_epi32(lo - 1), h = _mm_set1_epi32(hi);
    EACH y.r[i] = _mm_castsi128_ps(
        _mm_and_si128(_mm_cmpgt_epi32(lane.r[i], l), _mm_cmpgt_epi32(h, lane.r[i])));
    return y;
}
OP vi vi_from_i8(const int8_t *p) {
    vi y;
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    y.r[0] = _mm_cvtepi8_epi32(x);
    y.r[1] = _mm_cvtepi8_epi32(_mm_srli_si128(x, 4));
    y.r[2] = _mm_cvtepi8_epi32(_mm_srli_si128(x, 8));
    y.r[3] = _mm_cvtepi8_epi32(_mm_srli_si128(x, 12));
    return y;
}
OP void vi_store_i8(int8_t *p, vi x) {
    __m128i w0 = _mm_packs_epi32(x.r[0], x.r[1]), w1 = _mm_packs_epi32(x.r[2], x.r[3]);
    _mm_storeu_si128((__m128i *)(void *)p, _mm_packs_epi16(w0, w1));
}
OP void vi_store(int32_t *p, vi x) {
    EACH _mm_storeu_si128((__m128i *)(void *)(p + 4 * i), x.r[i]);
}
OP vf vf_from_f16(const void *p) {
    uint16_t h[16];
    float f[16];
    __builtin_memcpy(h, p, sizeof h);
    for (int i = 0; i < 16; i++)
        f[i] = slv_f16_to_f32(h[i]);
    return vf_load(f);
}
OP void vf_store_f16(uint16_t *p, vf x) {
    float f[16];
    vf_store(f, x);
    for (int i = 0; i < 16; i++)
        p[i] = slv_f32_to_f16(f[i]);
}
OP vf vf_from_bf16(const void *p) {
    vf y;
    EACH {
        __m128i h = _mm_loadl_epi64((const __m128i *)(const void *)((const char *)p + 8 * i));
        y.r[i] = _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(h), 16));
    }
    return y;
}

OP vb vb_load(const void *p) {
    vb y;
    EACH y.r[i] = _mm_loadu_si128((const __m128i *)p + i);
    return y;
}
OP vb vb_and(vb x, uint8_t mask) {
    EACH x.r[i] = _mm_and_si128(x.r[i], _mm_set1_epi8((char)mask));
    return x;
}
OP vb vb_srl(vb x, int n) {
    EACH x.r[i] = _mm_srli_epi16(x.r[i], n);
    return x;
}
OP vb vb_sll(vb x, int n) {
    EACH x.r[i] = _mm_slli_epi16(x.r[i], n);
    return x;
}
OP vb vb_table(const int8_t *table, vb idx) {
    __m128i t = _mm_loadu_si128((const __m128i *)(const void *)table);
    EACH idx.r[i] = _mm_shuffle_epi8(t, idx.r[i]);
    return idx;
}

OP __m128i dot_u_quarter(__m128i u, __m128i x) {
    return _mm_madd_epi16(_mm_maddubs_epi16(u, x), _mm_set1_epi16(1));
}
OP vi vi_dot_u(vi acc, vb u, int32_t x) {
    __m128i v = _mm_set1_epi32(x);
    EACH acc.r[i] = _mm_add_epi32(acc.r[i], dot_u_quarter(u.r[i], v));
    return acc;
}
#define SIGNED_BIAS 0
OP vi vi_dot_s(vi acc, vb s, int32_t x) {
    __m128i v = _mm_set1_epi32(x);
    EACH acc.r[i] =
        _mm_add_epi32(acc.r[i], dot_u_quarter(_mm_abs_epi8(s.r[i]), _mm_sign_epi8(v, s.r[i])));
    return acc;
}

OP float vf_tree_sum(vf x) {
    __m128 s4 = _mm_add_ps(_mm_add_ps(x.r[0], x.r[2]), _mm_add_ps(x.r[1], x.r[3]));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
OP float scalar_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

#define TILES_FLOAT 2
#define COLS_FLOAT 2
#define COLS_INT 2

#endif
