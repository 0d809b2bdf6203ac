/* rows_tmpl.h: the row operators in sixteen lanes, written once for every instruction set. The
 * operations and their order are those of rows.c and fmath.h; a tail shorter than sixteen goes
 * through a zero-padded copy, whose spare lanes add exact zeros to sums. */
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#define LANES 16

OP vf rw_exp(vf x) {
    x = vf_max(vf_set1(SLV_EXP_LO), x); /* a NaN is the second, which stays */
    x = vf_min(vf_set1(SLV_EXP_HI), x);
    vf magic = vf_set1(SLV_RNE_MAGIC);
    vf n = vf_sub(vf_add(vf_mul(x, vf_set1(SLV_EXP_LOG2E)), magic), magic);
    vf r = vf_fma(n, vf_set1(-SLV_EXP_LN2_HI), x);
    r = vf_fma(n, vf_set1(-SLV_EXP_LN2_LO), r);
    vf p = vf_set1(SLV_EXP_C6);
    p = vf_fma(p, r, vf_set1(SLV_EXP_C5));
    p = vf_fma(p, r, vf_set1(SLV_EXP_C4));
    p = vf_fma(p, r, vf_set1(SLV_EXP_C3));
    p = vf_fma(p, r, vf_set1(SLV_EXP_C2));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    vi ni = vf_to_vi(n), half = vi_sra1(ni), bias = vi_set1(127);
    vf s1 = vi_float_bits(vi_sll(vi_add(half, bias), 23));
    vf s2 = vi_float_bits(vi_sll(vi_add(vi_sub(ni, half), bias), 23));
    return vf_mul(vf_mul(p, s1), s2);
}

OP vf rw_negate(vf x) { return vi_float_bits(vi_add(vf_bits(x), vi_set1((int32_t)0x80000000u))); }

OP vf rw_silu(vf x) { return vf_div(x, vf_add(vf_set1(1.0f), rw_exp(rw_negate(x)))); }

OP vf rw_gelu(vf x) {
    vf t = vf_mul(x, x);
    vf u = vf_fma(vf_mul(t, x), vf_set1(SLV_GELU_A), x);
    return vf_div(x, vf_add(vf_set1(1.0f), rw_exp(vf_mul(u, vf_set1(SLV_GELU_B)))));
}

OP vf rw_gelu_erf(vf x) {
    vf a = vi_float_bits(vi_and(vf_bits(x), vi_set1(0x7fffffff)));
    a = vf_min(vf_set1(SLV_GELU_ERF_END), a);
    vf p = vf_set1(SLV_GELU_ERF_C8);
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C7));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C6));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C5));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C4));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C3));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C2));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C1));
    p = vf_fma(p, a, vf_set1(SLV_GELU_ERF_C0));
    vf tail = vf_mul(a, rw_exp(vf_mul(rw_negate(a), p)));
    return vf_fma(tail, vf_set1(-0.5f), vf_max(vf_zero(), x));
}

OP vf rw_tanh(vf x) {
    vf a = vi_float_bits(vi_and(vf_bits(x), vi_set1(0x7fffffff)));
    vf t = rw_exp(vf_mul(vf_set1(-2.0f), a));
    vf y = vf_div(vf_sub(vf_set1(1.0f), t), vf_add(vf_set1(1.0f), t));
    return vi_float_bits(vi_or(vf_bits(y), vi_and(vf_bits(x), vi_set1((int32_t)0x80000000u))));
}

/* n < 16 floats, the rest zeros. */
OP vf rw_load_tail(const float *p, size_t n) {
    float t[LANES] = {0};
    memcpy(t, p, n * sizeof *p);
    return vf_load(t);
}

OP void rw_store_tail(float *p, vf x, size_t n) {
    float t[LANES];
    vf_store(t, x);
    memcpy(p, t, n * sizeof *p);
}

OP vf rw_load(const float *p, size_t left) {
    return left >= LANES ? vf_load(p) : rw_load_tail(p, left);
}

OP void rw_store(float *p, vf x, size_t left) {
    if (left >= LANES) vf_store(p, x);
    else rw_store_tail(p, x, left);
}

/* The largest magnitude, as bits, which order as the numbers do. */
OP uint32_t rw_top(const float *x, size_t n) {
    vi top = vi_zero();
    for (size_t i = 0; i < n; i += LANES)
        top = vi_maxu(top, vi_and(vf_bits(rw_load(x + i, n - i)), vi_set1(0x7fffffff)));
    return vi_maxu_of(top);
}

static uint32_t rw_top_row(const float *x, size_t n) { return rw_top(x, n); }

/* Codes of sixteen numbers: magic plus an integer is that integer's bits above magic's own. */
OP vi rw_codes(const float *x, vf by, int8_t *q) {
    const vf magic = vf_set1(SLV_RNE_MAGIC);
    const vi codes = vi_sub(vf_bits(vf_add(vf_mul(vf_load(x), by), magic)), vf_bits(magic));
    vi_store_i8(q, codes);
    return codes;
}

/* Codes of the block at b, and the sum of all. */
OP int32_t rw_quantize_block(const float *x, size_t b, size_t block, size_t w, vf by,
                             const struct slv_codes *to) {
    vi all = vi_zero();
    for (size_t i = b; i < b + block; i += 32) {
        const vi c0 = rw_codes(x + i, by, to->q + i * w);
        const vi c1 = rw_codes(x + i + LANES, by, to->q + i * w + LANES);
        const vi both = vi_add(c0, c1);
        if (to->sum) {
            to->sum[i / 32 * w * 2] = (int16_t)vi_sum_of(c0);
            to->sum[i / 32 * w * 2 + 1] = (int16_t)vi_sum_of(c1);
        }
        if (to->sum32) to->sum32[i / 64 * w * 2 + i / 32 % 2] = (int16_t)vi_sum_of(both);
        all = vi_add(all, both);
    }
    return to->m || to->less ? vi_sum_of(all) : 0;
}

/* A block of which nothing can be kept: too small, or with an infinity or a NaN in it. */
static void rw_quantize_none(size_t b, size_t block, size_t w, const struct slv_codes *to) {
    for (size_t i = b / 32; i < (b + block) / 32; i++) {
        memset(to->q + i * 32 * w, 0, 32);
        if (to->sum) memset(to->sum + i * 2 * w, 0, 2 * sizeof *to->sum);
        if (to->sum32) to->sum32[i / 2 * w * 2 + i % 2] = 0;
    }
}

static void rw_quantize(const float *x, size_t n, size_t block, size_t w,
                        const struct slv_codes *to) {
    for (size_t b = 0; b < n; b += block) {
        const uint32_t top = rw_top(x + b, block);
        const float amax = slv_f32_from_bits(top);
        const size_t at = b / block * w;
        int32_t all = 0;
        if (top >= SLV_QUANT_MIN_BITS && top < 0x7f800000u) {
            to->d[at] = amax / 127.0f;
            all = rw_quantize_block(x, b, block, w, vf_set1(127.0f / amax), to);
        } else {
            to->d[at] = slv_f32_from_bits(top < 0x7f800000u ? 0 : 0x7fc00000u);
            rw_quantize_none(b, block, w, to);
        }
        if (to->m) to->m[at] = to->d[at] * (float)all;
        if (to->less) to->less[at] = -all;
    }
}

static void rw_rms_norm(const float *x, const float *w, size_t n, float eps, float *out) {
    vf p = vf_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = rw_load(x + i, n - i);
        p = vf_fma(v, v, p);
    }
    vf scale = vf_set1(1.0f / scalar_sqrt(vf_tree_sum(p) / (float)n + eps));
    for (size_t i = 0; i < n; i += LANES) {
        vf y = vf_mul(rw_load(x + i, n - i), scale);
        if (w) y = vf_mul(y, rw_load(w + i, n - i));
        rw_store(out + i, y, n - i);
    }
}

static void rw_layer_norm(const float *x, const float *w, const float *b, size_t n, float eps,
                          float *out) {
    vf p = vf_zero();
    for (size_t i = 0; i < n; i += LANES)
        p = vf_add(p, rw_load(x + i, n - i));
    vf mean = vf_set1(vf_tree_sum(p) / (float)n);
    p = vf_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf c = vf_sub(rw_load(x + i, n - i), mean);
        if (n - i < LANES) c = vf_select(vi_within(vi_lanes(), 0, (int)(n - i)), c, vf_zero());
        p = vf_fma(c, c, p);
    }
    vf scale = vf_set1(1.0f / scalar_sqrt(vf_tree_sum(p) / (float)n + eps));
    for (size_t i = 0; i < n; i += LANES) {
        vf y = vf_mul(vf_sub(rw_load(x + i, n - i), mean), scale);
        if (w) y = vf_mul(y, rw_load(w + i, n - i));
        if (b) y = vf_add(y, rw_load(b + i, n - i));
        rw_store(out + i, y, n - i);
    }
}

#define RW_UNARY(name, op)                                                                         \
    static void name(const float *x, size_t n, float *out) {                                       \
        for (size_t i = 0; i < n; i += LANES)                                                      \
            rw_store(out + i, op(rw_load(x + i, n - i)), n - i);                                   \
    }
RW_UNARY(rw_silu_row, rw_silu)
RW_UNARY(rw_gelu_row, rw_gelu)
RW_UNARY(rw_gelu_erf_row, rw_gelu_erf)

OP vf rw_silu_times(vf a, vf b) { return vf_mul(rw_silu(a), b); }
OP vf rw_gelu_times(vf a, vf b) { return vf_mul(rw_gelu(a), b); }

#define RW_BINARY(name, op)                                                                        \
    static void name(const float *a, const float *b, size_t n, float *out) {                       \
        for (size_t i = 0; i < n; i += LANES)                                                      \
            rw_store(out + i, op(rw_load(a + i, n - i), rw_load(b + i, n - i)), n - i);            \
    }
RW_BINARY(rw_add_row, vf_add)
RW_BINARY(rw_mul_row, vf_mul)
RW_BINARY(rw_silu_mul_row, rw_silu_times)
RW_BINARY(rw_gelu_mul_row, rw_gelu_times)

static void rw_axpy(const float *a, const float *b, float s, size_t n, float *out) {
    for (size_t i = 0; i < n; i += LANES)
        rw_store(out + i, vf_fma(rw_load(b + i, n - i), vf_set1(s), rw_load(a + i, n - i)), n - i);
}

static void rw_softcap(const float *x, float s, size_t n, float *out) {
    vf inv = vf_set1(1.0f / s), sv = vf_set1(s);
    for (size_t i = 0; i < n; i += LANES)
        rw_store(out + i, vf_mul(sv, rw_tanh(vf_mul(rw_load(x + i, n - i), inv))), n - i);
}

static void rw_to_f16(const float *x, size_t n, uint16_t *out) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store_f16(out + i, vf_load(x + i));
    for (; i < n; i++)
        out[i] = slv_f32_to_f16(x[i]);
}

static void rw_from_f16(const uint16_t *x, size_t n, float *out) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(out + i, vf_from_f16(x + i));
    for (; i < n; i++)
        out[i] = slv_f16_to_f32(x[i]);
}

static void rw_fill(struct slv_kernels *k) {
    k->quantize = rw_quantize;
    k->rms_norm = rw_rms_norm;
    k->layer_norm = rw_layer_norm;
    k->silu = rw_silu_row;
    k->gelu = rw_gelu_row;
    k->gelu_erf = rw_gelu_erf_row;
    k->add = rw_add_row;
    k->mul = rw_mul_row;
    k->silu_mul = rw_silu_mul_row;
    k->gelu_mul = rw_gelu_mul_row;
    k->axpy = rw_axpy;
    k->softcap = rw_softcap;
    k->top = rw_top_row;
    k->f32_to_f16 = rw_to_f16;
    k->f16_to_f32 = rw_from_f16;
}
