/* rows.c: the definition of the row operators. */
#include "kernel/fmath.h"
#include "kernel/kernels.h"

#define LANES 16

/* Joins sixteen partial sums: halves are added until one is left. */
static float tree(float p[LANES]) {
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            p[i] += p[i + half];
    return p[0];
}

static float sqrt_f(float x) {
#if defined(__x86_64__)
    float r;
    __asm__("sqrtss %1, %0" : "=x"(r) : "x"(x));
    return r;
#elif defined(__aarch64__)
    float r;
    __asm__("fsqrt %s0, %s1" : "=w"(r) : "w"(x));
    return r;
#else
    return __builtin_sqrtf(x);
#endif
}

static void quantize(const float *x, size_t n, size_t block, size_t w, const struct slv_codes *to) {
    for (size_t b = 0; b < n; b += block) {
        const size_t at = b / block * w;
        int all = 0, half = 0;
        uint32_t top = 0;
        for (size_t i = b; i < b + block; i++) {
            uint32_t u = slv_f32_bits(x[i]) & 0x7fffffffu;
            if (u > top) top = u;
        }
        float amax = slv_f32_from_bits(top);
        bool sane = top >= SLV_QUANT_MIN_BITS && top < 0x7f800000u;
        float inv = sane ? 127.0f / amax : 0.0f;
        to->d[at] = sane                ? amax / 127.0f
                    : top < 0x7f800000u ? 0.0f
                                        : slv_f32_from_bits(0x7fc00000u);
        for (size_t i = b; i < b + block; i += 16) {
            int s = 0;
            int8_t *q = to->q + i / 32 * w * 32 + i % 32;
            for (size_t j = 0; j < 16; j++) {
                q[j] = sane ? (int8_t)slv_rnef(x[i + j] * inv) : 0;
                s += q[j];
            }
            if (to->sum) to->sum[i / 32 * w * 2 + i / 16 % 2] = (int16_t)s;
            all += s;
            half = i % 32 ? half + s : s;
            if (to->sum32 && i % 32) to->sum32[i / 64 * w * 2 + i / 32 % 2] = (int16_t)half;
        }
        if (to->m) to->m[at] = to->d[at] * (float)all;
        if (to->less) to->less[at] = -all;
    }
}

static void rms_norm(const float *x, const float *w, size_t n, float eps, float *out) {
    float p[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        p[i % LANES] = slv_fma(x[i], x[i], p[i % LANES]);
    float scale = 1.0f / sqrt_f(tree(p) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        out[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

static void layer_norm(const float *x, const float *w, const float *b, size_t n, float eps,
                       float *out) {
    float p[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        p[i % LANES] += x[i];
    float mean = tree(p) / (float)n;
    for (size_t i = 0; i < LANES; i++)
        p[i] = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float c = x[i] - mean;
        p[i % LANES] = slv_fma(c, c, p[i % LANES]);
    }
    float scale = 1.0f / sqrt_f(tree(p) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float y = (x[i] - mean) * scale;
        if (w) y *= w[i];
        out[i] = b ? y + b[i] : y;
    }
}

static void silu(const float *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_siluf(x[i]);
}

static void gelu(const float *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_geluf(x[i]);
}

static void gelu_erf(const float *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_gelu_erff(x[i]);
}

static void add(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

static void mul(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] * b[i];
}

static void silu_mul(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_siluf(a[i]) * b[i];
}

static void gelu_mul(const float *a, const float *b, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_geluf(a[i]) * b[i];
}

static void axpy(const float *a, const float *b, float s, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_fma(b[i], s, a[i]);
}

static void softcap(const float *x, float s, size_t n, float *out) {
    float inv = 1.0f / s;
    for (size_t i = 0; i < n; i++)
        out[i] = s * slv_tanhf(x[i] * inv);
}

static uint32_t top(const float *x, size_t n) {
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = slv_f32_bits(x[i]) & 0x7fffffffu;
        if (u > most) most = u;
    }
    return most;
}

static void to_f16(const float *x, size_t n, uint16_t *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_f32_to_f16(x[i]);
}

static void from_f16(const uint16_t *x, size_t n, float *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = slv_f16_to_f32(x[i]);
}

void slv_kernels_scalar_rows(struct slv_kernels *k) {
    k->quantize = quantize;
    k->rms_norm = rms_norm;
    k->layer_norm = layer_norm;
    k->silu = silu;
    k->gelu = gelu;
    k->gelu_erf = gelu_erf;
    k->add = add;
    k->mul = mul;
    k->silu_mul = silu_mul;
    k->gelu_mul = gelu_mul;
    k->axpy = axpy;
    k->softcap = softcap;
    k->top = top;
    k->f32_to_f16 = to_f16;
    k->f16_to_f32 = from_f16;
}
