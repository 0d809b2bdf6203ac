/* matmul_tmpl.h: matrix times columns in sixteen lanes, written once for every instruction set.
 *
 * The including file has first included an ops_<isa>.h, which gives the vocabulary: vf (16 floats),
 * vi (16 int32), vb (64 bytes) and the operations on them. A lane is an output row; every lane does
 * what matmul.c does for that row, in the same order, so results are equal to the bit.
 *
 * The forms (layout.h) are instances of two always-inlined bodies whose arguments are constants:
 * the compiler sees straight code for each.
 */
#include "kernel/kernels.h"

#define ROWS SLV_TILE_ROWS
/* With one column nothing is used twice: weights come from memory, and the next page's first lines
 * must be asked for before the hardware, which stops at a page's end, would. Bytes. */
#define PREFETCH_AHEAD 6144
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* What an instance is made of, all constants: see slv_form_parts; `bias` and `block` are those of
 * the form's layouts, block 0 where they differ. */
struct mm_form {
    int low, high, sub, min, table, fsub, bias, block;
};

INLINE int mm_bias(struct mm_form f) { return f.low == 8 || f.table ? SIGNED_BIAS : f.bias; }

INLINE vf mm_scale(bool f32, const uint8_t *line) {
    return f32 ? vf_load((const float *)(const void *)line) : vf_from_f16(line);
}

/* The 8 groups of a chunk's codes, 64 bytes each. */
INLINE void mm_decode(struct mm_form f, const uint8_t *chunk, const int8_t *table, vb u[8]) {
    if (f.low == 8) {
        UNROLL for (int g = 0; g < 8; g++) u[g] = vb_load(chunk + 64 * g);
        return;
    }
    if (f.low == 4) {
        UNROLL for (int v = 0; v < 4; v++) {
            vb x = vb_load(chunk + 64 * v);
            u[v] = vb_and(x, 15);
            u[v + 4] = vb_and(vb_srl(x, 4), 15);
        }
    } else {
        UNROLL for (int v = 0; v < 2; v++) {
            vb x = vb_load(chunk + 64 * v);
            UNROLL for (int i = 0; i < 4; i++) u[2 * i + v] = vb_and(vb_srl(x, 2 * i), 3);
        }
    }
    const uint8_t *high = chunk + 64 * f.low;
    if (f.high == 1) {
        vb x = vb_load(high);
        UNROLL for (int g = 0; g < 8; g++) u[g] =
            vb_or(u[g], vb_sll(vb_and(vb_srl(x, g), 1), f.low));
    }
    if (f.high == 2) {
        UNROLL for (int v = 0; v < 2; v++) {
            vb x = vb_load(high + 64 * v);
            UNROLL for (int i = 0; i < 4; i++) u[2 * i + v] =
                vb_or(u[2 * i + v], vb_sll(vb_and(vb_srl(x, 2 * i), 3), f.low));
        }
    }
    if (f.table) {
        UNROLL for (int g = 0; g < 8; g++) u[g] = vb_table(table, u[g]);
    }
}

INLINE int32_t mm_load4(const int8_t *q) {
    int32_t x;
    __builtin_memcpy(&x, q, 4);
    return x;
}

/* The dot of groups [g0, g1) of a chunk with the column's codes q, corrected by the bias. */
INLINE vi mm_groups(struct mm_form f, const vb u[8], int g0, int g1, const int8_t *q,
                    const int16_t *sum) {
    const int bias = mm_bias(f);
    vi dot = bias ? vi_set1(bias * (g1 - g0 == 8 ? sum[0] + sum[1] : sum[g0 / 4])) : vi_zero();
    UNROLL for (int g = g0; g < g1; g++) {
        int32_t x = mm_load4(q + 4 * g);
        dot = f.low == 8 || f.table ? vi_dot_s(dot, u[g], x) : vi_dot_u(dot, u[g], x);
    }
    return dot;
}

/* One tile block times nc columns: the state of a block's integers is in dot[] and min[]. */
INLINE void mm_block(struct mm_form f, const struct slv_layout *l, int nc, const uint8_t *blk,
                     const struct slv_acts *x, size_t at, vf acc[]) {
    const int line = ROWS * (l->d_f32 ? 4 : 2), block = f.block ? f.block : l->block;
    const int act = f.fsub ? 32 : block; /* columns of an activation scale */
    const int scales = f.fsub ? block / f.fsub : 1, nsub = f.sub ? block / f.sub : 0;
    const uint8_t *m_line = blk + line * scales;
    const int8_t *sc = (const int8_t *)m_line + (f.min ? line : 0);
    const int8_t *mn = sc + nsub * ROWS;
    const uint8_t *codes = (const uint8_t *)mn + (f.min == 2 ? nsub * ROWS : 0);
    vi dot[8], min[8];
    UNROLL for (int c = 0; c < nc; c++) dot[c] = min[c] = vi_zero();
    for (int i = 0; i < block / 32; i++) {
        vb u[8];
        mm_decode(f, codes + (size_t)i * 64 * (size_t)(f.low + f.high), l->table, u);
        UNROLL for (int half = 0; half < 2; half++) {
            const bool split = f.sub == 16 || f.fsub == 16;
            if (!split && half) break;
            const int g0 = split ? 4 * half : 0, g1 = split ? g0 + 4 : 8;
            const int sub = f.sub ? (32 * i + 16 * half) / f.sub : 0;
            vi scv = f.sub ? vi_from_i8(sc + sub * ROWS) : vi_zero();
            vi mnv = f.min == 2 ? vi_from_i8(mn + sub * ROWS) : vi_zero();
            UNROLL for (int c = 0; c < nc; c++) {
                const size_t col = (size_t)c * x->ld + at + 32 * (size_t)i;
                const int16_t *sum = x->sum + col / 16;
                vi d = mm_groups(f, u, g0, g1, x->q + col, sum);
                if (f.fsub) {
                    vf dx = vf_set1(x->d[col / (size_t)act]);
                    vf dw = mm_scale(l->d_f32, blk + line * (2 * i + half));
                    acc[c] = vf_fma(vi_to_vf(d), vf_mul(dw, dx), acc[c]);
                    continue;
                }
                dot[c] = vi_add(dot[c], f.sub ? vi_mul(d, scv) : d);
                int32_t s = split ? sum[half] : sum[0] + sum[1];
                if (f.min == 2) min[c] = vi_add(min[c], vi_mul(mnv, vi_set1(s)));
                if (f.min == 1) min[c] = vi_add(min[c], vi_set1(s));
            }
        }
    }
    if (f.fsub) return;
    vf dw = mm_scale(l->d_f32, blk);
    UNROLL for (int c = 0; c < nc; c++) {
        vf dx = vf_set1(x->d[((size_t)c * x->ld + at) / (size_t)act]);
        acc[c] = vf_fma(vi_to_vf(dot[c]), vf_mul(dw, dx), acc[c]);
        if (f.min)
            acc[c] = vf_fma(vi_to_vf(min[c]), vf_mul(mm_scale(l->d_f32, m_line), dx), acc[c]);
    }
}

INLINE struct slv_acts mm_acts_at(const struct slv_acts *x, size_t col, size_t act) {
    struct slv_acts y = {.ld = x->ld};
    if (act) {
        y.q = x->q + col * x->ld;
        y.d = x->d + col * x->ld / act;
        y.sum = x->sum + col * x->ld / 16;
    } else {
        y.f = x->f + col * x->ld;
    }
    return y;
}

INLINE void mm_int_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, int nc,
                        const uint8_t *tile, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    vf acc[8];
    UNROLL for (int c = 0; c < nc; c++) acc[c] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *blk = tile + b * bytes;
        for (size_t i = 0; nc == 1 && i < bytes; i += 64)
            __builtin_prefetch(blk + PREFETCH_AHEAD + i);
        mm_block(f, l, nc, blk, x, b * block, acc);
    }
    UNROLL for (int c = 0; c < nc; c++) vf_store(out + (size_t)c * ldo, acc[c]);
}

INLINE void mm_int(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                   size_t tile0, size_t tile1, float *out, size_t ldo) {
    for (size_t t = tile0; t < tile1; t++) {
        const uint8_t *tile = w->tiles + t * w->tile_bytes;
        size_t c = 0;
        for (; c + COLS_INT <= n; c += COLS_INT) {
            struct slv_acts at = mm_acts_at(x, c, w->layout->act);
            mm_int_tile(f, w, &at, COLS_INT, tile, out + c * ldo + t * ROWS, ldo);
        }
        for (; c < n; c++) {
            struct slv_acts at = mm_acts_at(x, c, w->layout->act);
            mm_int_tile(f, w, &at, 1, tile, out + c * ldo + t * ROWS, ldo);
        }
    }
}

/* 32: f32, 16: f16, -16: bf16 */
INLINE vf mm_load_float(int kind, const uint8_t *p) {
    return kind == 32   ? vf_load((const float *)(const void *)p)
           : kind == 16 ? vf_from_f16(p)
                        : vf_from_bf16(p);
}

/* nt tiles times nc columns at once: enough independent chains to hide the latency of fma. */
INLINE void mm_float_tiles(int kind, const struct slv_mat *w, const struct slv_acts *x, int nt,
                           int nc, const uint8_t *tile, float *out, size_t ldo) {
    const size_t step = (size_t)ROWS * (kind == 32 ? 4 : 2);
    vf acc[8];
    UNROLL for (int i = 0; i < nt * nc; i++) acc[i] = vf_zero();
    for (size_t k = 0; k < w->cols; k++) {
        UNROLL for (int t = 0; t < nt; t++) {
            vf wv = mm_load_float(kind, tile + (size_t)t * w->tile_bytes + k * step);
            UNROLL for (int c = 0; c < nc; c++) acc[t * nc + c] =
                vf_fma(wv, vf_set1(x->f[(size_t)c * x->ld + k]), acc[t * nc + c]);
        }
    }
    UNROLL for (int t = 0; t < nt; t++) UNROLL for (int c = 0; c < nc; c++)
        vf_store(out + (size_t)c * ldo + (size_t)t * ROWS, acc[t * nc + c]);
}

INLINE void mm_float(int kind, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t tile0, size_t tile1, float *out, size_t ldo) {
    for (size_t t = tile0; t < tile1;) {
        const uint8_t *tile = w->tiles + t * w->tile_bytes;
        const size_t nt = tile1 - t >= TILES_FLOAT ? TILES_FLOAT : 1;
        size_t c = 0;
        for (; c + COLS_FLOAT <= n; c += COLS_FLOAT) {
            struct slv_acts at = mm_acts_at(x, c, 0);
            for (size_t i = 0; i < nt; i++)
                mm_float_tiles(kind, w, &at, 1, COLS_FLOAT, tile + i * w->tile_bytes,
                               out + c * ldo + (t + i) * ROWS, ldo);
        }
        for (; c < n; c++) {
            struct slv_acts at = mm_acts_at(x, c, 0);
            if (nt == TILES_FLOAT)
                mm_float_tiles(kind, w, &at, TILES_FLOAT, 1, tile, out + c * ldo + t * ROWS, ldo);
            else mm_float_tiles(kind, w, &at, 1, 1, tile, out + c * ldo + t * ROWS, ldo);
        }
        t += nt;
    }
}

#define MM_ARGS                                                                                    \
    const struct slv_mat *w, const struct slv_acts *x, size_t n, size_t tile0, size_t tile1,       \
        float *out, size_t ldo
#define MM_INT(name, ...)                                                                          \
    static void name(MM_ARGS) {                                                                    \
        mm_int((struct mm_form){__VA_ARGS__}, w, x, n, tile0, tile1, out, ldo);                    \
    }
#define MM_FLOAT(name, kind)                                                                       \
    static void name(MM_ARGS) { mm_float(kind, w, x, n, tile0, tile1, out, ldo); }

MM_FLOAT(mm_f32, 32)
MM_FLOAT(mm_f16, 16)
MM_FLOAT(mm_bf16, -16)
/*             low high sub min table fsub bias block */
MM_INT(mm_8, 8, 0, 0, 0, 0, 0, 0, 0)
MM_INT(mm_4, 4, 0, 0, 0, 0, 0, -8, 32)
MM_INT(mm_4_m, 4, 0, 0, 1, 0, 0, 0, 32)
MM_INT(mm_41, 4, 1, 0, 0, 0, 0, -16, 32)
MM_INT(mm_41_m, 4, 1, 0, 1, 0, 0, 0, 32)
MM_INT(mm_4t, 4, 0, 0, 0, 1, 0, 0, 32)
MM_INT(mm_4t_f16, 4, 0, 0, 0, 1, 16, 0, 64)
MM_INT(mm_2, 2, 0, 0, 0, 0, 0, -1, 0)
MM_INT(mm_2_s16_sm, 2, 0, 16, 2, 0, 0, 0, 256)
MM_INT(mm_21_s16, 2, 1, 16, 0, 0, 0, -4, 256)
MM_INT(mm_4_s32_sm, 4, 0, 32, 2, 0, 0, 0, 256)
MM_INT(mm_41_s32_sm, 4, 1, 32, 2, 0, 0, 0, 256)
MM_INT(mm_42_s16, 4, 2, 16, 0, 0, 0, -32, 256)
MM_INT(mm_4t_s32, 4, 0, 32, 0, 1, 0, 0, 256)
MM_INT(mm_4t_s16, 4, 0, 16, 0, 1, 0, 0, 256)

static void mm_fill(struct slv_kernels *k) {
    k->matmul[SLV_FORM_F32] = mm_f32;
    k->matmul[SLV_FORM_F16] = mm_f16;
    k->matmul[SLV_FORM_BF16] = mm_bf16;
    k->matmul[SLV_FORM_8] = mm_8;
    k->matmul[SLV_FORM_4] = mm_4;
    k->matmul[SLV_FORM_4_M] = mm_4_m;
    k->matmul[SLV_FORM_41] = mm_41;
    k->matmul[SLV_FORM_41_M] = mm_41_m;
    k->matmul[SLV_FORM_4T] = mm_4t;
    k->matmul[SLV_FORM_4T_F16] = mm_4t_f16;
    k->matmul[SLV_FORM_2] = mm_2;
    k->matmul[SLV_FORM_2_S16_SM] = mm_2_s16_sm;
    k->matmul[SLV_FORM_21_S16] = mm_21_s16;
    k->matmul[SLV_FORM_4_S32_SM] = mm_4_s32_sm;
    k->matmul[SLV_FORM_41_S32_SM] = mm_41_s32_sm;
    k->matmul[SLV_FORM_42_S16] = mm_42_s16;
    k->matmul[SLV_FORM_4T_S32] = mm_4t_s32;
    k->matmul[SLV_FORM_4T_S16] = mm_4t_s16;
}
