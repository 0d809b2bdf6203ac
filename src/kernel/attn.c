/* attn.c: the definition of attention over one block, and of joining blocks. */
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#define LANES 16

static float k_at(enum slv_kv_type type, const void *k, size_t dk, size_t pos, size_t i) {
    size_t at = (pos / LANES * dk + i) * LANES + pos % LANES;
    return type == SLV_KV_F16 ? slv_f16_to_f32(((const uint16_t *)k)[at]) : ((const float *)k)[at];
}

static float score_float(enum slv_kv_type type, const struct slv_attn_block *b, const float *q,
                         size_t pos) {
    float acc = 0.0f;
    for (size_t i = 0; i < b->dk; i++)
        acc = slv_fma(q[i], k_at(type, b->k, b->dk, pos, i), acc);
    return acc;
}

static float score_q8(const struct slv_attn_block *b, const struct slv_attn_query *q, size_t pos) {
    const int8_t *k = (const int8_t *)b->k + pos / LANES * b->dk * LANES;
    const float *ks = b->k_scale + pos / LANES * (b->dk / 32) * LANES;
    float acc = 0.0f;
    for (size_t j = 0; j < b->dk / 32; j++) {
        int32_t dot = 0;
        for (size_t i = j * 32; i < j * 32 + 32; i++)
            dot += k[(i / 4 * LANES + pos % LANES) * 4 + i % 4] * q->q8[i];
        acc = slv_fma((float)dot, ks[j * LANES + pos % LANES] * q->q8_scale[j], acc);
    }
    return acc;
}

static float v_step(enum slv_kv_type type, const struct slv_attn_block *b, float p, size_t pos,
                    size_t i, float acc) {
    size_t at = pos * b->dv + i;
    if (type == SLV_KV_Q8)
        return slv_fma(p * b->v_scale[pos * (b->dv / 32) + i / 32],
                       (float)((const int8_t *)b->v)[at], acc);
    if (type == SLV_KV_F16) return slv_fma(p, slv_f16_to_f32(((const uint16_t *)b->v)[at]), acc);
    return slv_fma(p, ((const float *)b->v)[at], acc);
}

static void attn_one(enum slv_kv_type type, const struct slv_attn_block *b,
                     struct slv_attn_query *q) {
    float s[SLV_KV_BLOCK], max = -slv_f32_from_bits(0x7f800000u), inv_cap = 1.0f / b->cap;
    for (size_t j = q->first; j < q->last; j++) {
        s[j] = (type == SLV_KV_Q8 ? score_q8(b, q, j) : score_float(type, b, q->q, j)) * b->scale;
        if (b->cap > 0.0f) s[j] = b->cap * slv_tanhf(s[j] * inv_cap);
        max = slv_maxf(s[j], max);
    }
    max += 0.0f; /* of zeros it does not matter which was first: there is one */
    float part[LANES] = {0};
    for (size_t j = q->first; j < q->last; j++) {
        s[j] = slv_expf(s[j] - max);
        part[j % LANES] += s[j];
    }
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            part[i] += part[i + half];
    for (size_t i = 0; i < b->dv; i++) {
        float acc = 0.0f;
        for (size_t j = q->first; j < q->last; j++)
            acc = v_step(type, b, s[j], j, i, acc);
        q->out[i] = acc;
    }
    q->max = max;
    q->sum = part[0];
}

static void attn_f32(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    for (size_t i = 0; i < n; i++)
        attn_one(SLV_KV_F32, b, &q[i]);
}

static void attn_f16(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    for (size_t i = 0; i < n; i++)
        attn_one(SLV_KV_F16, b, &q[i]);
}

static void attn_q8(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    for (size_t i = 0; i < n; i++)
        attn_one(SLV_KV_Q8, b, &q[i]);
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
