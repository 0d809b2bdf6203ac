/* ops_neon.h: the sixteen-lane vocabulary of the kernel templates in ARMv8.0 Advanced SIMD: each
 * vector is four registers; with the dot product instructions where the compiler is told so
 * (__ARM_FEATURE_DOTPROD). */
#ifndef SLV_OPS_NEON_H
#define SLV_OPS_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define OP static inline __attribute__((always_inline, unused))
#define EACH for (int i = 0; i < 4; i++)

typedef struct {
    float32x4_t r[4];
} vf;
typedef struct {
    int32x4_t r[4];
} vi;
typedef struct {
    int8x16_t r[4];
} vb;

OP vf vf_load(const float *p) {
    vf y;
    EACH y.r[i] = vld1q_f32(p + 4 * i);
    return y;
}
OP void vf_store(float *p, vf x) { EACH vst1q_f32(p + 4 * i, x.r[i]); }
OP vf vf_set1(float x) {
    vf y;
    EACH y.r[i] = vdupq_n_f32(x);
    return y;
}
OP vf vf_zero(void) { return vf_set1(0.0f); }
#define OP2(type, name, intr)                                                                      \
    OP type name(type x, type y) {                                                                 \
        EACH x.r[i] = intr(x.r[i], y.r[i]);                                                        \
        return x;                                                                                  \
    }
OP2(vf, vf_add, vaddq_f32)
OP2(vf, vf_sub, vsubq_f32)
OP2(vf, vf_mul, vmulq_f32)
OP2(vf, vf_div, vdivq_f32)
OP2(vi, vi_add, vaddq_s32)
OP2(vi, vi_sub, vsubq_s32)
OP2(vi, vi_mul, vmulq_s32)
OP2(vi, vi_and, vandq_s32)
OP2(vi, vi_or, vorrq_s32)
OP2(vb, vb_or, vorrq_s8)
#undef OP2
/* x > y ? x : y and x < y ? x : y: the instructions fmax and fmin treat NaN in another way. */
OP vf vf_max(vf x, vf y) {
    EACH x.r[i] = vbslq_f32(vcgtq_f32(x.r[i], y.r[i]), x.r[i], y.r[i]);
    return x;
}
OP vf vf_min(vf x, vf y) {
    EACH x.r[i] = vbslq_f32(vcltq_f32(x.r[i], y.r[i]), x.r[i], y.r[i]);
    return x;
}
OP vf vf_fma(vf x, vf y, vf z) {
    EACH z.r[i] = vfmaq_f32(z.r[i], x.r[i], y.r[i]);
    return z;
}
OP vf vf_select(vf m, vf x, vf y) {
    EACH y.r[i] = vbslq_f32(vreinterpretq_u32_f32(m.r[i]), x.r[i], y.r[i]);
    return y;
}
OP vf vf_unordered(vf x) {
    EACH x.r[i] = vreinterpretq_f32_u32(vmvnq_u32(vceqq_f32(x.r[i], x.r[i])));
    return x;
}
OP vi vf_bits(vf x) {
    vi y;
    EACH y.r[i] = vreinterpretq_s32_f32(x.r[i]);
    return y;
}
OP vf vi_float_bits(vi x) {
    vf y;
    EACH y.r[i] = vreinterpretq_f32_s32(x.r[i]);
    return y;
}
OP vi vf_to_vi(vf x) {
    vi y;
    EACH y.r[i] = vcvtnq_s32_f32(x.r[i]);
    return y;
}
OP vf vi_to_vf(vi x) {
    vf y;
    EACH y.r[i] = vcvtq_f32_s32(x.r[i]);
    return y;
}
OP vi vi_set1(int32_t x) {
    vi y;
    EACH y.r[i] = vdupq_n_s32(x);
    return y;
}
OP vi vi_zero(void) { return vi_set1(0); }
OP vi vi_maxu(vi x, vi y) {
    EACH x.r[i] = vreinterpretq_s32_u32(
        vmaxq_u32(vreinterpretq_u32_s32(x.r[i]), vreinterpretq_u32_s32(y.r[i])));
    return x;
}
OP vi vi_sll(vi x, int n) {
    EACH x.r[i] = vshlq_s32(x.r[i], vdupq_n_s32(n));
    return x;
}
OP vi vi_sra1(vi x) {
    EACH x.r[i] = vshrq_n_s32(x.r[i], 1);
    return x;
}
OP vi vi_lanes(void) {
    static const int32_t lanes[4] = {0, 1, 2, 3};
    vi y;
    EACH y.r[i] = vaddq_s32(vld1q_s32(lanes), vdupq_n_s32(4 * i));
    return y;
}
OP vf vi_within(vi lane, int lo, int hi) {
    vf y;
    EACH y.r[i] = vreinterpretq_f32_u32(
        vandq_u32(vcgeq_s32(lane.r[i], vdupq_n_s32(lo)), vcltq_s32(lane.r[i], vdupq_n_s32(hi))));
    return y;
}
OP vi vi_from_i8(const int8_t *p) {
    int8x16_t x = vld1q_s8(p);
    int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_s8(vget_high_s8(x));
    return (vi){{vmovl_s16(vget_low_s16(lo)), vmovl_s16(vget_high_s16(lo)),
                 vmovl_s16(vget_low_s16(hi)), vmovl_s16(vget_high_s16(hi))}};
}
OP void vi_store_i8(int8_t *p, vi x) {
    int16x8_t lo = vcombine_s16(vmovn_s32(x.r[0]), vmovn_s32(x.r[1]));
    int16x8_t hi = vcombine_s16(vmovn_s32(x.r[2]), vmovn_s32(x.r[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}
OP void vi_store(int32_t *p, vi x) { EACH vst1q_s32(p + 4 * i, x.r[i]); }
OP vf vf_from_f16(const void *p) {
    vf y;
    EACH {
        uint16_t h[4];
        __builtin_memcpy(h, (const char *)p + 8 * i, 8);
        y.r[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
    }
    return y;
}
OP void vf_store_f16(uint16_t *p, vf x) {
    EACH vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.r[i])));
}
OP vf vf_from_bf16(const void *p) {
    vf y;
    EACH {
        uint16_t h[4];
        __builtin_memcpy(h, (const char *)p + 8 * i, 8);
        y.r[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(h), 16));
    }
    return y;
}

OP vb vb_load(const void *p) {
    vb y;
    EACH y.r[i] = vld1q_s8((const int8_t *)p + 16 * i);
    return y;
}
OP vb vb_and(vb x, uint8_t mask) {
    EACH x.r[i] = vandq_s8(x.r[i], vdupq_n_s8((int8_t)mask));
    return x;
}
OP vb vb_srl(vb x, int n) {
    EACH x.r[i] =
        vreinterpretq_s8_u8(vshlq_u8(vreinterpretq_u8_s8(x.r[i]), vdupq_n_s8((int8_t)-n)));
    return x;
}
OP vb vb_sll(vb x, int n) {
    EACH x.r[i] = vshlq_s8(x.r[i], vdupq_n_s8((int8_t)n));
    return x;
}
OP vb vb_table(const int8_t *table, vb idx) {
    int8x16_t t = vld1q_s8(table);
    EACH idx.r[i] = vqtbl1q_s8(t, vreinterpretq_u8_s8(idx.r[i]));
    return idx;
}

#define SIGNED_BIAS 0
#ifdef __ARM_FEATURE_DOTPROD
OP vi vi_dot_s(vi acc, vb s, int32_t x) {
    int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(x));
    EACH acc.r[i] = vdotq_s32(acc.r[i], s.r[i], v);
    return acc;
}
#else
OP vi vi_dot_s(vi acc, vb s, int32_t x) {
    int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(x));
    EACH {
        int16x8_t lo = vmull_s8(vget_low_s8(s.r[i]), vget_low_s8(v));
        int16x8_t hi = vmull_s8(vget_high_s8(s.r[i]), vget_high_s8(v));
        acc.r[i] = vaddq_s32(acc.r[i], vpaddq_s32(vpaddlq_s16(lo), vpaddlq_s16(hi)));
    }
    return acc;
}
#endif
/* Unsigned codes are at most 63: they are signed as they stand. */
OP vi vi_dot_u(vi acc, vb u, int32_t x) { return vi_dot_s(acc, u, x); }

OP float vf_tree_sum(vf x) {
    float32x4_t s4 = vaddq_f32(vaddq_f32(x.r[0], x.r[2]), vaddq_f32(x.r[1], x.r[3]));
    float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
OP float scalar_sqrt(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

#define TILES_FLOAT 4
#define COLS_FLOAT 4
#define COLS_INT 4

#endif
