/* attn_tmpl.h: attention over one block of 64 positions in sixteen lanes, written once for every
 * instruction set. For q.k a lane is a position, for V a lane is a dimension: no horizontal sum but
 * the fixed tree. Several queries share what is read and converted of K and V; each gets what it
 * would get alone. Includes rows_tmpl.h's exp and tanh.
 *
 * An ops_<isa>.h gives AT_CHAINS, the vectors of sums that registers hold: 12, 6, 4 or 2, and
 * AT_LOTS, the numbers of queries that share a reading, the most first, at most AT_CHAINS.
 */

#define AT_TILES (SLV_KV_BLOCK / LANES)
#define AT_AHEAD 8 /* pairs of lines asked for while the weights of a query are computed */

OP vf at_load(enum slv_kv_type type, const void *p, size_t i) {
    return type == SLV_KV_F16 ? vf_from_f16((const uint16_t *)p + i)
                              : vf_load((const float *)p + i);
}

OP size_t at_bytes(enum slv_kv_type type) {
    return type == SLV_KV_F32 ? 4 : type == SLV_KV_F16 ? 2 : 1;
}

/* Few queries wait for memory, and the hardware does not guess where the next block lies: scores
 * ask for V, weights for the first lines of the next K, values for all of it. When `at` of `all`
 * elements are done, so much of both halves is asked for, into the second cache: memory answers two
 * pages in turn faster than one, and the first cache is full of what is read now. */
OP void at_fetch(enum slv_kv_type type, const void *p, size_t at, size_t all) {
    const size_t bytes = at_bytes(type); /* in this order a compiler sees a constant factor */
    const char *half = (const char *)p + (bytes > 1 ? at * (bytes / 2) : at / 2);
    __builtin_prefetch(half, 0, 2);
    __builtin_prefetch(half + all * at_bytes(type) / 2, 0, 2);
}

/* The same number, which the compiler takes for another: what is read at it is read again for each
 * vector, and not kept in registers that the sums need. */
OP size_t at_again(size_t i) {
    __asm__ volatile("" : "+r"(i));
    return i;
}

/* Vectors beside each other for each of nq queries. */
OP int at_beside(int nq) { return AT_CHAINS / nq >= 4 ? 4 : AT_CHAINS / nq >= 2 ? 2 : 1; }

/* Scores of nq queries for nt tiles from t0 on, before scaling: nq * nt independent chains. */
OP void at_scores_float(enum slv_kv_type type, const struct slv_attn_block *b,
                        const struct slv_attn_query *q, int nq, size_t t0, int nt,
                        float s[][SLV_KV_BLOCK]) {
    vf acc[AT_CHAINS];
    UNROLL for (int i = 0; i < nq * nt; i++) acc[i] = vf_zero();
    for (size_t i = 0; i < b->dk; i++) {
        if (nq < AT_CHAINS)
            at_fetch(type, b->v, (t0 * b->dk + i * (size_t)nt) * LANES, b->dv * SLV_KV_BLOCK);
        UNROLL for (int t = 0; t < nt; t++) {
            const vf k = at_load(type, b->k, ((t0 + (size_t)t) * b->dk + i) * LANES);
            const size_t at = at_again(i);
            UNROLL for (int c = 0; c < nq; c++) acc[c * nt + t] =
                vf_fma(vf_set1(q[c].q[at]), k, acc[c * nt + t]);
        }
    }
    UNROLL for (int c = 0; c < nq; c++) UNROLL for (int t = 0; t < nt; t++)
        vf_store(s[c] + (t0 + (size_t)t) * LANES, acc[c * nt + t]);
}

OP void at_scores_q8(const struct slv_attn_block *b, const struct slv_attn_query *q, size_t tile,
                     float *s) {
    const int8_t *k = (const int8_t *)b->k + tile * b->dk * LANES;
    const float *ks = b->k_scale + tile * (b->dk / 32) * LANES;
    vf acc = vf_zero();
    for (size_t j = 0; j < b->dk / 32; j++) {
        vi dot = SIGNED_BIAS ? vi_set1(-SIGNED_BIAS * q->q8_less[j]) : vi_zero();
        UNROLL for (int g = 0; g < 8; g++) dot =
            vi_dot_s(dot, vb_load(k + (j * 8 + (size_t)g) * 64), q->q8 + j * 32 + 4 * (size_t)g);
        vf scale = vf_mul(vf_load(ks + j * LANES), vf_set1(q->q8_scale[j]));
        acc = vf_fma(vi_to_vf(dot), scale, acc);
    }
    vf_store(s + tile * LANES, acc);
}

/* nq queries, nv vectors of 16 dimensions from i0 on: chains over positions [j0, j1), which go on
 * from what `out` holds. */
OP void at_values(enum slv_kv_type type, const struct slv_attn_block *b,
                  const struct slv_attn_query *q, int nq, size_t i0, int nv, size_t j0, size_t j1,
                  float p[][SLV_KV_BLOCK]) {
    vf acc[AT_CHAINS];
    UNROLL for (int c = 0; c < nq; c++) UNROLL for (int v = 0; v < nv; v++) acc[c * nv + v] =
        vf_load(q[c].out + i0 + (size_t)v * LANES);
    for (size_t j = j0; j < j1; j++) {
        if (nq < AT_CHAINS)
            at_fetch(type, b->next, i0 * SLV_KV_BLOCK + j * (size_t)nv * LANES,
                     b->dk * SLV_KV_BLOCK);
        UNROLL for (int v = 0; v < nv; v++) {
            const size_t i = i0 + (size_t)v * LANES, at = j * b->dv + i;
            const vf x = type == SLV_KV_Q8 ? vi_to_vf(vi_from_i8((const int8_t *)b->v + at))
                                           : at_load(type, b->v, at);
            const float by = type == SLV_KV_Q8 ? b->v_scale[j * (b->dv / 32) + i / 32] : 1.0f;
            const size_t from = at_again(j);
            UNROLL for (int c = 0; c < nq; c++) {
                const float pj = type == SLV_KV_Q8 ? p[c][from] * by : p[c][from];
                acc[c * nv + v] = vf_fma(vf_set1(pj), x, acc[c * nv + v]);
            }
        }
    }
    UNROLL for (int c = 0; c < nq; c++) UNROLL for (int v = 0; v < nv; v++)
        vf_store(q[c].out + i0 + (size_t)v * LANES, acc[c * nv + v]);
}

/* All dimensions. */
OP void at_values_all(enum slv_kv_type type, const struct slv_attn_block *b,
                      const struct slv_attn_query *q, int nq, size_t j0, size_t j1,
                      float p[][SLV_KV_BLOCK]) {
    const int nv = at_beside(nq);
    size_t i = 0;
    if (j0 >= j1) return;
    for (; nv > 1 && i + (size_t)nv * LANES <= b->dv; i += (size_t)nv * LANES)
        at_values(type, b, q, nq, i, nv, j0, j1, p);
    for (; i < b->dv; i += LANES)
        at_values(type, b, q, nq, i, 1, j0, j1, p);
}

OP vf at_seen(const struct slv_attn_query *q, size_t t) {
    return vi_within(vi_add(vi_lanes(), vi_set1((int32_t)(t * LANES))), (int)q->first,
                     (int)q->last);
}

/* Scores of tiles [t0, t1) into weights, with their maximum and sum. `all`: every position of them
 * is seen. */
OP void at_softmax(const struct slv_attn_block *b, struct slv_attn_query *q, bool all, size_t t0,
                   size_t t1, float *s) {
    const vf none = vf_set1(-slv_f32_from_bits(0x7f800000u));
    vf max = none, sum = vf_zero();
    for (size_t t = t0; t < t1; t++) {
        vf x = vf_mul(vf_load(s + t * LANES), vf_set1(b->scale));
        if (b->cap > 0.0f) x = vf_mul(vf_set1(b->cap), rw_tanh(vf_mul(x, vf_set1(1.0f / b->cap))));
        if (!all) x = vf_select(at_seen(q, t), x, none);
        vf_store(s + t * LANES, x);
        max = vf_max(x, max);
    }
    const float top = vf_max_of(max) + 0.0f;
    for (size_t t = t0; t < t1; t++) {
        vf e = rw_exp(vf_sub(vf_load(s + t * LANES), vf_set1(top)));
        if (!all) e = vf_select(at_seen(q, t), e, vf_zero());
        sum = vf_add(sum, e);
        vf_store(s + t * LANES, e);
    }
    q->max = top;
    q->sum = vf_tree_sum(sum);
}

/* nq queries together. Positions that not all of them see are given to each alone: a weight of zero
 * is not the same as none where V is not finite. */
OP void at_block(enum slv_kv_type type, const struct slv_attn_block *b, struct slv_attn_query *q,
                 int nq) {
    float s[AT_CHAINS][SLV_KV_BLOCK];
    size_t low = SLV_KV_BLOCK, high = 0, j0 = 0, j1 = SLV_KV_BLOCK;
    for (int c = 0; c < nq; c++) {
        if (q[c].first < low) low = q[c].first;
        if (q[c].last > high) high = q[c].last;
        if (q[c].first > j0) j0 = q[c].first;
        if (q[c].last < j1) j1 = q[c].last;
    }
    const size_t t1 = (high + LANES - 1) / LANES;
    const int nt = at_beside(nq);
    size_t t = low / LANES;
    for (; type == SLV_KV_Q8 && t < t1; t++)
        for (int c = 0; c < nq; c++)
            at_scores_q8(b, &q[c], t, s[c]);
    for (; nt > 1 && t + (size_t)nt <= t1; t += (size_t)nt)
        at_scores_float(type, b, q, nq, t, nt, s);
    for (; t < t1; t++)
        at_scores_float(type, b, q, nq, t, 1, s);
    for (int c = 0; c < nq; c++) {
        for (size_t i = 0; nq < AT_CHAINS && i < AT_AHEAD; i++)
            at_fetch(type, b->next, ((size_t)c * AT_AHEAD + i) * 128 / at_bytes(type),
                     b->dk * SLV_KV_BLOCK);
        if (j0 == 0 && j1 == SLV_KV_BLOCK) at_softmax(b, &q[c], true, 0, AT_TILES, s[c]);
        else at_softmax(b, &q[c], false, low / LANES, t1, s[c]);
        memset(q[c].out, 0, b->dv * sizeof(float));
    }
    if (nq == 1 || j0 >= j1) {
        for (int c = 0; c < nq; c++)
            at_values_all(type, b, &q[c], 1, q[c].first, q[c].last, s + c);
        return;
    }
    for (int c = 0; c < nq; c++)
        at_values_all(type, b, &q[c], 1, q[c].first, j0, s + c);
    at_values_all(type, b, q, nq, j0, j1, s);
    for (int c = 0; c < nq; c++)
        at_values_all(type, b, &q[c], 1, j1, q[c].last, s + c);
}

OP void at_all(enum slv_kv_type type, const struct slv_attn_block *b, struct slv_attn_query *q,
               size_t n) {
    size_t i = 0;
#define AT_LOT(nq)                                                                                 \
    for (; i + nq <= n; i += nq)                                                                   \
        at_block(type, b, q + i, nq);
    AT_LOTS(AT_LOT)
#undef AT_LOT
}

static void at_f32(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    at_all(SLV_KV_F32, b, q, n);
}

static void at_f16(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    at_all(SLV_KV_F16, b, q, n);
}

static void at_q8(const struct slv_attn_block *b, struct slv_attn_query *q, size_t n) {
    at_all(SLV_KV_Q8, b, q, n);
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
