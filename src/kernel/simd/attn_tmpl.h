/* attn_tmpl.h: attention over one block of 64 positions in sixteen lanes, written once for every
 * instruction set. For q.k a lane is a position, for V a lane is a dimension: no horizontal sum but
 * the fixed tree. Includes rows_tmpl.h's exp and tanh. */

#define AT_TILES (SLV_KV_BLOCK / LANES)

OP vf at_load(enum slv_kv_type type, const void *p, size_t i) {
    return type == SLV_KV_F16 ? vf_from_f16((const uint16_t *)p + i)
                              : vf_load((const float *)p + i);
}

/* The scores of tiles [t0, t0 + nt), before scaling: nt independent chains over k. */
OP void at_scores_float(enum slv_kv_type type, const struct slv_attn_args *a, size_t t0, int nt,
                        vf s[]) {
    UNROLL for (int t = 0; t < nt; t++) s[t] = vf_zero();
    for (size_t i = 0; i < a->dk; i++) {
        vf q = vf_set1(a->q[i]);
        UNROLL for (int t = 0; t < nt; t++) s[t] =
            vf_fma(q, at_load(type, a->k, ((t0 + (size_t)t) * a->dk + i) * LANES), s[t]);
    }
}

OP vf at_scores_q8(const struct slv_attn_args *a, size_t tile) {
    const int8_t *k = (const int8_t *)a->k + tile * a->dk * LANES;
    const float *ks = a->k_scale + tile * (a->dk / 32) * LANES;
    vf acc = vf_zero();
    for (size_t b = 0; b < a->dk / 32; b++) {
        vi dot = vi_zero();
        int32_t sum = 0;
        UNROLL for (int g = 0; g < 8; g++) {
            int32_t x;
            memcpy(&x, a->q8 + b * 32 + 4 * (size_t)g, 4);
            dot = vi_dot_s(dot, vb_load(k + (b * 8 + (size_t)g) * 64), x);
        }
        if (SIGNED_BIAS) {
            for (size_t i = 0; i < 32; i++)
                sum += a->q8[b * 32 + i];
            dot = vi_add(dot, vi_set1(SIGNED_BIAS * sum));
        }
        vf scale = vf_mul(vf_load(ks + b * LANES), vf_set1(a->q8_scale[b]));
        acc = vf_fma(vi_to_vf(dot), scale, acc);
    }
    return acc;
}

/* nv vectors of 16 dimensions from dimension i0 on: chains over the visible positions. */
OP void at_values(enum slv_kv_type type, const struct slv_attn_args *a, const float *p, size_t i0,
                  int nv, float *out) {
    vf acc[4];
    UNROLL for (int v = 0; v < nv; v++) acc[v] = vf_zero();
    for (size_t j = a->first; j < a->last; j++) {
        UNROLL for (int v = 0; v < nv; v++) {
            size_t i = i0 + (size_t)v * LANES, at = j * a->dv + i;
            if (type == SLV_KV_Q8) {
                float ps = p[j] * a->v_scale[j * (a->dv / 32) + i / 32];
                vf code = vi_to_vf(vi_from_i8((const int8_t *)a->v + at));
                acc[v] = vf_fma(vf_set1(ps), code, acc[v]);
            } else {
                acc[v] = vf_fma(vf_set1(p[j]), at_load(type, a->v, at), acc[v]);
            }
        }
    }
    UNROLL for (int v = 0; v < nv; v++) vf_store(out + i0 + (size_t)v * LANES, acc[v]);
}

OP float at_max(vf x) {
    float t[LANES], max = -slv_f32_from_bits(0x7f800000u);
    vf_store(t, x);
    for (size_t i = 0; i < LANES; i++)
        max = slv_maxf(t[i], max);
    return max;
}

OP void at_block(enum slv_kv_type type, const struct slv_attn_args *a, float *ret_max,
                 float *ret_sum, float *out) {
    const size_t t0 = a->first / LANES, t1 = (a->last + LANES - 1) / LANES;
    vf s[AT_TILES], none = vf_set1(-slv_f32_from_bits(0x7f800000u)), max = none;
    if (type == SLV_KV_Q8) {
        for (size_t t = t0; t < t1; t++)
            s[t] = at_scores_q8(a, t);
    } else if (t1 - t0 == AT_TILES) {
        at_scores_float(type, a, 0, AT_TILES, s);
    } else {
        for (size_t t = t0; t < t1; t++)
            at_scores_float(type, a, t, 1, s + t);
    }
    for (size_t t = t0; t < t1; t++) {
        vf seen = vi_within(vi_add(vi_lanes(), vi_set1((int32_t)(t * LANES))), (int)a->first,
                            (int)a->last);
        s[t] = vf_mul(s[t], vf_set1(a->scale));
        if (a->cap > 0.0f)
            s[t] = vf_mul(vf_set1(a->cap), rw_tanh(vf_mul(s[t], vf_set1(1.0f / a->cap))));
        s[t] = vf_select(seen, s[t], none);
        max = vf_max(s[t], max);
    }
    const float top = at_max(max);
    float p[SLV_KV_BLOCK];
    vf sum = vf_zero();
    for (size_t t = t0; t < t1; t++) {
        vf seen = vi_within(vi_add(vi_lanes(), vi_set1((int32_t)(t * LANES))), (int)a->first,
                            (int)a->last);
        vf e = vf_select(seen, rw_exp(vf_sub(s[t], vf_set1(top))), vf_zero());
        sum = vf_add(sum, e);
        vf_store(p + t * LANES, e);
    }
    size_t i = 0;
    for (; i + 4 * LANES <= a->dv; i += 4 * LANES)
        at_values(type, a, p, i, 4, out);
    for (; i < a->dv; i += LANES)
        at_values(type, a, p, i, 1, out);
    *ret_max = top;
    *ret_sum = vf_tree_sum(sum);
}

static void at_f32(const struct slv_attn_args *a, float *m, float *l, float *out) {
    at_block(SLV_KV_F32, a, m, l, out);
}

static void at_f16(const struct slv_attn_args *a, float *m, float *l, float *out) {
    at_block(SLV_KV_F16, a, m, l, out);
}

static void at_q8(const struct slv_attn_args *a, float *m, float *l, float *out) {
    at_block(SLV_KV_Q8, a, m, l, out);
}

static void at_join(float m, float l, const float *o, size_t n, float *max, float *sum,
                    float *acc) {
    float top = slv_maxf(m, *max);
    float c_old = slv_expf(*max - top), c_new = slv_expf(m - top);
    *sum = slv_fma(*sum, c_old, l * c_new);
    for (size_t i = 0; i < n; i += LANES)
        vf_store(acc + i,
                 vf_fma(vf_load(acc + i), vf_set1(c_old), vf_mul(vf_load(o + i), vf_set1(c_new))));
    *max = top;
}

static void at_fill(struct slv_kernels *k) {
    k->attn[SLV_KV_F32] = at_f32;
    k->attn[SLV_KV_F16] = at_f16;
    k->attn[SLV_KV_Q8] = at_q8;
    k->attn_join = at_join;
}
