/* attn.c: the definition of attention over one block, and of joining blocks. */
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#define LANES 16

static float k_at(enum slv_kv_type type, const void *k, size_t dk, size_t pos, size_t i) {
    size_t at = (pos / LANES * dk + i) * LANES + pos % LANES;
    return type == SLV_KV_F16 ? slv_f16_to_f32(((const uint16_t *)k)[at]) : ((const float *)k)[at];
}

static float score_float(enum slv_kv_type type, const struct slv_attn_args *a, size_t pos) {
    float acc = 0.0f;
    for (size_t i = 0; i < a->dk; i++)
        acc = slv_fma(a->q[i], k_at(type, a->k, a->dk, pos, i), acc);
    return acc;
}

static float score_q8(const struct slv_attn_args *a, size_t pos) {
    const int8_t *k = (const int8_t *)a->k + pos / LANES * a->dk * LANES;
    const float *ks = a->k_scale + pos / LANES * (a->dk / 32) * LANES;
    float acc = 0.0f;
    for (size_t b = 0; b < a->dk / 32; b++) {
        int32_t dot = 0;
        for (size_t i = b * 32; i < b * 32 + 32; i++)
            dot += k[(i / 4 * LANES + pos % LANES) * 4 + i % 4] * a->q8[i];
        acc = slv_fma((float)dot, ks[b * LANES + pos % LANES] * a->q8_scale[b], acc);
    }
    return acc;
}

static float v_step(enum slv_kv_type type, const struct slv_attn_args *a, float p, size_t pos,
                    size_t i, float acc) {
    size_t at = pos * a->dv + i;
    if (type == SLV_KV_Q8)
        return slv_fma(p * a->v_scale[pos * (a->dv / 32) + i / 32],
                       (float)((const int8_t *)a->v)[at], acc);
    if (type == SLV_KV_F16) return slv_fma(p, slv_f16_to_f32(((const uint16_t *)a->v)[at]), acc);
    return slv_fma(p, ((const float *)a->v)[at], acc);
}

static void attn(enum slv_kv_type type, const struct slv_attn_args *a, float *ret_max,
                 float *ret_sum, float *out) {
    float s[SLV_KV_BLOCK], max = -slv_f32_from_bits(0x7f800000u), inv_cap = 1.0f / a->cap;
    for (size_t j = a->first; j < a->last; j++) {
        s[j] = (type == SLV_KV_Q8 ? score_q8(a, j) : score_float(type, a, j)) * a->scale;
        if (a->cap > 0.0f) s[j] = a->cap * slv_tanhf(s[j] * inv_cap);
        max = slv_maxf(s[j], max);
    }
    float part[LANES] = {0};
    for (size_t j = a->first; j < a->last; j++) {
        s[j] = slv_expf(s[j] - max);
        part[j % LANES] += s[j];
    }
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            part[i] += part[i + half];
    for (size_t i = 0; i < a->dv; i++) {
        float acc = 0.0f;
        for (size_t j = a->first; j < a->last; j++)
            acc = v_step(type, a, s[j], j, i, acc);
        out[i] = acc;
    }
    *ret_max = max;
    *ret_sum = part[0];
}

static void attn_f32(const struct slv_attn_args *a, float *m, float *l, float *out) {
    attn(SLV_KV_F32, a, m, l, out);
}

static void attn_f16(const struct slv_attn_args *a, float *m, float *l, float *out) {
    attn(SLV_KV_F16, a, m, l, out);
}

static void attn_q8(const struct slv_attn_args *a, float *m, float *l, float *out) {
    attn(SLV_KV_Q8, a, m, l, out);
}

static void attn_join(float m, float l, const float *o, size_t n, float *max, float *sum,
                      float *acc) {
    float top = slv_maxf(m, *max);
    float c_old = slv_expf(*max - top), c_new = slv_expf(m - top);
    *sum = slv_fma(*sum, c_old, l * c_new);
    for (size_t i = 0; i < n; i++)
        acc[i] = slv_fma(acc[i], c_old, o[i] * c_new);
    *max = top;
}

void slv_kernels_scalar_attn(struct slv_kernels *k) {
    k->attn[SLV_KV_F32] = attn_f32;
    k->attn[SLV_KV_F16] = attn_f16;
    k->attn[SLV_KV_Q8] = attn_q8;
    k->attn_join = attn_join;
}
