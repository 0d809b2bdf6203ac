/* ops_neon.h: one register of the kernel templates' vocabulary (ops_quad.h) in ARMv8.0 Advanced
 * SIMD; with the dot product instructions where the compiler is told so (__ARM_FEATURE_DOTPROD),
 * and with matrix products (__ARM_FEATURE_MATMUL_INT8) for several columns. */
#ifndef SLV_OPS_NEON_H
#define SLV_OPS_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OP static inline __attribute__((always_inline, unused))

typedef float32x4_t f4;
typedef int32x4_t i4;
typedef int8x16_t b16;

#define f4_load vld1q_f32
#define f4_store vst1q_f32
#define f4_set1 vdupq_n_f32
#define f4_add vaddq_f32
#define f4_sub vsubq_f32
#define f4_mul vmulq_f32
#define f4_div vdivq_f32
/* The instructions fmax and fmin treat NaN in another way. */
OP f4 f4_max(f4 x, f4 y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
OP f4 f4_min(f4 x, f4 y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
OP f4 f4_fma(f4 x, f4 y, f4 z) { return vfmaq_f32(z, x, y); }
OP f4 f4_select(f4 m, f4 x, f4 y) { return vbslq_f32(vreinterpretq_u32_f32(m), x, y); }
#define f4_bits vreinterpretq_s32_f32
#define f4_to_i4 vcvtnq_s32_f32
OP f4 f4_from_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
OP void f4_store_f16(uint16_t *p, f4 x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
OP f4 f4_from_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

#define i4_float_bits vreinterpretq_f32_s32
#define i4_to_f4 vcvtq_f32_s32
#define i4_store vst1q_s32
#define i4_set1 vdupq_n_s32
#define i4_add vaddq_s32
#define i4_sub vsubq_s32
#define i4_mul vmulq_s32
#define i4_and vandq_s32
#define i4_or vorrq_s32
OP i4 i4_maxu(i4 x, i4 y) {
    return vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(x), vreinterpretq_u32_s32(y)));
}
OP i4 i4_sll(i4 x, int n) { return vshlq_s32(x, vdupq_n_s32(n)); }
OP i4 i4_sra1(i4 x) { return vshrq_n_s32(x, 1); }
OP i4 i4_lanes(int32_t first) {
    static const int32_t lanes[4] = {0, 1, 2, 3};
    return vaddq_s32(vld1q_s32(lanes), vdupq_n_s32(first));
}
OP f4 i4_within(i4 lane, int lo, int hi) {
    return vreinterpretq_f32_u32(
        vandq_u32(vcgeq_s32(lane, vdupq_n_s32(lo)), vcltq_s32(lane, vdupq_n_s32(hi))));
}

OP b16 b16_load(const uint8_t *p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }
OP void b16_store(uint8_t *p, b16 x) { vst1q_u8(p, vreinterpretq_u8_s8(x)); }
OP b16 b16_flip(b16 x) { return veorq_s8(x, vdupq_n_s8(-128)); }
OP b16 b16_repeat(int32_t x) { return vreinterpretq_s8_s32(vdupq_n_s32(x)); }
OP b16 b16_and(b16 x, uint8_t mask) { return vandq_s8(x, vdupq_n_s8((int8_t)mask)); }
#define b16_or vorrq_s8
OP b16 b16_srl(b16 x, int n) {
    return vreinterpretq_s8_u8(vshlq_u8(vreinterpretq_u8_s8(x), vdupq_n_s8((int8_t)-n)));
}
OP b16 b16_sll(b16 x, int n) { return vshlq_s8(x, vdupq_n_s8((int8_t)n)); }
OP b16 b16_pick(b16 table, b16 idx) { return vqtbl1q_s8(table, vreinterpretq_u8_s8(idx)); }

#define SIGNED_BIAS 0
#ifdef __ARM_FEATURE_DOTPROD
#define i4_dot_s vdotq_s32
#else
OP i4 i4_dot_s(i4 acc, b16 s, b16 x) {
    int16x8_t lo = vmull_s8(vget_low_s8(s), vget_low_s8(x));
    int16x8_t hi = vmull_s8(vget_high_s8(s), vget_high_s8(x));
    return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(lo), vpaddlq_s16(hi)));
}
#endif

OP i4 i4_add_pairs(i4 acc, b16 p, b16 x) {
    const int16x8_t a = vreinterpretq_s16_s8(p), b = vreinterpretq_s16_s8(x);
    const int32x4_t lo = vmull_s16(vget_low_s16(a), vget_low_s16(b));
    return vaddq_s32(acc, vpaddq_s32(lo, vmull_high_s16(a, b)));
}

#include "kernel/simd/ops_quad.h"

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

#define COLS 4
/* Unsigned codes are at most 63: they are signed as they stand. */
#define vi_dot_u vi_dot_s
OP b16 i16_pairs(int8x8_t lo_hi, int times) {
    return vreinterpretq_s8_s16(vmulq_n_s16(vmovl_s8(lo_hi), (int16_t)times));
}
OP vp vp_pairs(const int8_t *lo, const int8_t *hi, int times) {
    const int8x16_t l = vld1q_s8(lo), h = vld1q_s8(hi), a = vzip1q_s8(l, h), b = vzip2q_s8(l, h);
    return (vp){{i16_pairs(vget_low_s8(a), times), i16_pairs(vget_high_s8(a), times),
                 i16_pairs(vget_low_s8(b), times), i16_pairs(vget_high_s8(b), times)}};
}
QUAD_SET(vp, vp_repeat, int32_t, b16_repeat)
OP vi vi_add_pairs(vi acc, vp p, int32_t x) {
    const b16 v = b16_repeat(x);
    return (vi){{i4_add_pairs(acc.r[0], p.r[0], v), i4_add_pairs(acc.r[1], p.r[1], v),
                 i4_add_pairs(acc.r[2], p.r[2], v), i4_add_pairs(acc.r[3], p.r[3], v)}};
}
OP vi vi_load(const int32_t *p) {
    return (vi){{vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)}};
}
OP void vi_hold(vi *p) { (void)p; }
#include "kernel/simd/ops_sum32.h"
#ifdef __ARM_FEATURE_MATMUL_INT8
#include "kernel/simd/ops_i8mm.h"
#endif

OP float vf_tree_sum(vf x) {
    f4 s4 = vaddq_f32(vaddq_f32(x.r[0], x.r[2]), vaddq_f32(x.r[1], x.r[3]));
    float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
OP float scalar_sqrt(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

#define TILES_FLOAT 4
#define AT_CHAINS 4 /* vectors of sums in attention */
#define AT_LOTS(lot) lot(4) lot(3) lot(2) lot(1)
#define COLS_FLOAT 4

#endif
