/* rope.c: see rope.h. */
#include "engine/rope.h"
#include "kernel/fmath.h"

static double clamp01(double x) { return x < 0.0 ? 0.0 : x > 1.0 ? 1.0 : x; }

static double floor64(double x) {
    double t = (double)(int64_t)x;
    return t > x ? t - 1.0 : t;
}

/* The pair whose wavelength turns `turns` times over the original context. */
static double yarn_pair(const struct slv_rope_conf *c, uint32_t n_rot, double turns) {
    const double two_pi = 0x1.921fb54442d18p+2;
    return (double)n_rot * slv_log64((double)c->ctx_orig / (turns * two_pi)) /
           (2.0 * slv_log64((double)c->base));
}

void slv_rope_frequencies(const struct slv_rope_conf *c, uint32_t n_rot, const float *factors,
                          double *ret_freq) {
    double low = 0.0, high = 0.0;
    if (c->yarn) {
        low = floor64(yarn_pair(c, n_rot, (double)c->beta_fast));
        high = -floor64(-yarn_pair(c, n_rot, (double)c->beta_slow));
        if (low < 0.0) low = 0.0;
        if (high > (double)n_rot - 1.0) high = (double)n_rot - 1.0;
    }
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        double f = slv_exp64(-2.0 * (double)i / (double)n_rot * slv_log64((double)c->base));
        if (factors) f /= (double)factors[i];
        double scaled = f * (double)c->freq_scale;
        if (c->yarn) {
            double span = high - low < 0.001 ? 0.001 : high - low;
            double keep = 1.0 - clamp01(((double)i - low) / span);
            scaled = scaled * (1.0 - keep) + f * keep;
        }
        if (c->low > 0.0f) {
            double turns = (double)c->ctx_orig * f / 0x1.921fb54442d18p+2;
            double keep = clamp01((turns - (double)c->low) / ((double)c->high - (double)c->low));
            scaled = scaled * (1.0 - keep) + f * keep;
        }
        ret_freq[i] = scaled;
    }
}

void slv_rope_angles(const double *freq, uint32_t n_rot, float mscale, uint32_t pos,
                     float *ret_cs) {
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        double s, c;
        slv_sincos64((double)pos * freq[i], &s, &c);
        ret_cs[2 * i] = (float)(c * (double)mscale);
        ret_cs[2 * i + 1] = (float)(s * (double)mscale);
    }
}

void slv_rope_apply(enum slv_rope_kind kind, uint32_t n_rot, const float *cs, float *x) {
    uint32_t half = n_rot / 2;
    for (uint32_t i = 0; i < half; i++) {
        float *a = kind == SLV_ROPE_NEOX ? x + i : x + 2 * i;
        float *b = kind == SLV_ROPE_NEOX ? x + i + half : x + 2 * i + 1;
        float c = cs[2 * i], s = cs[2 * i + 1], xa = *a, xb = *b;
        *a = xa * c - xb * s;
        *b = xa * s + xb * c;
    }
}
