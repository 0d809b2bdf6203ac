/* wide_tmpl.h: a tile times several columns. A tile block is unpacked once, to unsigned bytes, and
 * multiplied with all columns while it is in the nearest cache: the storage type is paid for once.
 *
 * Beside the common vocabulary an ops_<isa>.h gives:
 *
 *     WIDE_COLS      columns multiplied at once, as many as there are registers for: 8, 4 or 2
 *     WIDE_DIGITS    2 where bytes of eight bits are multiplied as two digits of four, else 1
 *     WIDE_BIAS      -128 where signed codes are multiplied as unsigned, 128 more than they are; 0
 *                    where they are multiplied as they are
 *     vm             what a dot is multiplied by, 16 rows: vm_ones(), vm_from_i8(p, times),
 *                    vm_load, vm_store (64 bytes)
 *     vi_dot_groups(bits, u, n_groups, x, nc, ones, mult, dot)
 *                    dot[c] += mult * sum over groups g and their 4 columns of
 *                    u[g] * x[c * 32 + 4 g], u below 2^bits, mult 1 where `ones`; exact
 *     vp             pairs of int16, 16 rows: vp_pairs(lo, hi, times) of int8, vp_load, vp_store
 *                    (64 bytes); vi_add_pairs(acc, vp, x): acc + lo * x0 + hi * x1, x0 and x1 the
 *                    int16 in x
 */
#include "kernel/simd/form_tmpl.h"

/* Few columns wait for memory as one does. */
#define WIDE_FEW 16

/* Columns whose sums are held at once; a multiple of SLV_PANEL. */
#define WIDE_STRIP 64

/* A tile block unpacked. `pair` is what pairs of sums of 16 codes are multiplied by: the minimums,
 * or the bias with its sub-scale (no form has both). */
struct wd_block {
    _Alignas(64) uint8_t u[SLV_QBLOCK_MAX / 32][WIDE_DIGITS][512];
    uint8_t mult[SLV_QBLOCK_MAX / 16][WIDE_DIGITS][64];
    uint8_t pair[SLV_QBLOCK_MAX / 32][64];
    float d[4][ROWS], m[ROWS];
};

INLINE int wd_bias(struct mm_form f) { return mm_signed(f) ? WIDE_BIAS : f.bias; }
INLINE int wd_digits(struct mm_form f) { return mm_signed(f) ? WIDE_DIGITS : 1; }
INLINE bool wd_paired(struct mm_form f) { return f.min || wd_bias(f); }

INLINE void wd_codes(struct mm_form f, const uint8_t *chunk, const int8_t *table,
                     uint8_t to[WIDE_DIGITS][512]) {
    vb u[8];
    mm_decode(f, chunk, table, u);
    UNROLL for (int g = 0; g < 8; g++) {
        if (mm_signed(f) && WIDE_BIAS) u[g] = vb_flip(u[g]);
        if (wd_digits(f) == 2) {
            vb_store(to[0] + 64 * g, vb_and(u[g], 15));
            vb_store(to[WIDE_DIGITS - 1] + 64 * g, vb_and(vb_srl(u[g], 4), 15));
        } else {
            vb_store(to[0] + 64 * g, u[g]);
        }
    }
}

/* What the pair of sums of chunk i is multiplied by: minimums, or the bias with its sub-scales. `sc`
 * and `mn` are the block's. */
INLINE vp wd_pair(struct mm_form f, const int8_t *sc, const int8_t *mn, int i, int bias) {
    static const int8_t one[ROWS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    if (!f.sub) return vp_pairs(one, one, f.min ? 1 : bias);
    const int8_t *by = f.min ? mn : sc;
    return vp_pairs(by + 32 * i / f.sub * ROWS, by + (32 * i + 16) / f.sub * ROWS,
                    f.min ? 1 : bias);
}

INLINE void wd_expand(struct mm_form f, const struct slv_layout *l, const uint8_t *blk,
                      struct wd_block *e) {
    static const int8_t none[ROWS], one[ROWS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const struct mm_block_at at = mm_locate(f, l);
    const int8_t *sc = (const int8_t *)blk + at.sc, *mn = (const int8_t *)blk + at.mn;
    const int scales = f.fsub ? 4 : 1;
    UNROLL for (int i = 0; i < scales; i++)
        vf_store(e->d[i], mm_scale(l->d_f32, blk + at.line * i));
    if (f.min) vf_store(e->m, mm_scale(l->d_f32, blk + at.m));
    for (int s = 0; f.sub && s < at.block / f.sub; s++) {
        vm_store(e->mult[s][0], vm_from_i8(sc + s * ROWS, 1));
        if (wd_digits(f) == 2) vm_store(e->mult[s][WIDE_DIGITS - 1], vm_from_i8(sc + s * ROWS, 16));
    }
    for (int i = 0; i < at.block / 32; i++) {
        wd_codes(f, blk + at.codes + (size_t)i * 64 * (size_t)f.bits, l->table, e->u[i]);
        if (!wd_paired(f)) continue;
        if (f.fsub) { /* one for each half */
            vp_store(e->pair[2 * i], vp_pairs(one, none, wd_bias(f)));
            vp_store(e->pair[2 * i + 1], vp_pairs(none, one, wd_bias(f)));
        } else {
            vp_store(e->pair[i], wd_pair(f, sc, mn, i, wd_bias(f)));
        }
    }
}

/* Groups [4 * half, ...) of chunk i, with sub-scale `sub`, times nc columns: dot[] grows. */
INLINE void wd_dot(struct mm_form f, const struct wd_block *e, int i, int half, int ng, int sub,
                   const int8_t *x, int nc, vi dot[]) {
    const int bits = mm_signed(f) ? (WIDE_DIGITS == 2 ? 4 : 8) : f.bits;
    const vb *u = (const vb *)(const void *)(e->u[i][0] + 256 * half);
    x += 16 * half;
    vi_dot_groups(bits, u, ng, x, nc, !f.sub, f.sub ? vm_load(e->mult[sub][0]) : vm_ones(1), dot);
    if (wd_digits(f) == 2) {
        const int last = WIDE_DIGITS - 1;
        u = (const vb *)(const void *)(e->u[i][last] + 256 * half);
        vi_dot_groups(4, u, ng, x, nc, false, f.sub ? vm_load(e->mult[sub][last]) : vm_ones(16),
                      dot);
    }
}

/* A tile block times nc columns of a panel of w: q, d and sum are the first's; acc[nc][16] goes on.
 */
INLINE void wd_cols(struct mm_form f, const struct slv_layout *l, const struct wd_block *e, int nc,
                    const int8_t *q, const float *d, const int16_t *sum, size_t w, float *acc) {
    const int block = f.block ? f.block : l->block;
    /* The unpacked block stays where it is: a compiler that sees all of it would carry it from
     * stack to stack. */
    __asm__ volatile("" : : "r"(e) : "memory");
    const int halves = f.sub == 16 || f.fsub == 16 ? 2 : 1;
    vi dot[8], min[8];
    UNROLL for (int c = 0; c < nc; c++) dot[c] = min[c] = vi_zero();
    for (int i = 0; i < block / 32; i++, q += 32 * w, sum += 2 * w) {
        UNROLL for (int half = 0; half < halves; half++) {
            const int sub = f.sub ? (32 * i + 16 * half) / f.sub : 0;
            wd_dot(f, e, i, half, 8 / halves, sub, q, nc, dot);
            if (!f.fsub) continue;
            UNROLL for (int c = 0; c < nc; c++) {
                if (wd_paired(f))
                    dot[c] =
                        vi_add_pairs(dot[c], vp_load(e->pair[2 * i + half]), mm_load4(sum + 2 * c));
                vf dx = vf_set1(d[(size_t)i * w + (size_t)c]), dw = vf_load(e->d[2 * i + half]);
                vf_store(acc + c * ROWS,
                         vf_fma(vi_to_vf(dot[c]), vf_mul(dw, dx), vf_load(acc + c * ROWS)));
                dot[c] = vi_zero();
            }
        }
        if (wd_paired(f) && !f.fsub) {
            vp pair = vp_load(e->pair[i]);
            UNROLL for (int c = 0; c < nc; c++) {
                vi *to = f.min ? &min[c] : &dot[c];
                *to = vi_add_pairs(*to, pair, mm_load4(sum + 2 * c));
            }
        }
    }
    if (f.fsub) return;
    UNROLL for (int c = 0; c < nc; c++) {
        vf dx = vf_set1(d[c]);
        vf y = vf_fma(vi_to_vf(dot[c]), vf_mul(vf_load(e->d[0]), dx), vf_load(acc + c * ROWS));
        if (f.min) y = vf_fma(vi_to_vf(min[c]), vf_mul(vf_load(e->m), dx), y);
        vf_store(acc + c * ROWS, y);
    }
}

/* The same for a whole panel. */
INLINE void wd_panel(struct mm_form f, const struct slv_layout *l, const struct wd_block *e,
                     const int8_t *q, const float *d, const int16_t *sum, size_t w, float *acc) {
    size_t c = 0;
    for (; c + WIDE_COLS <= w; c += WIDE_COLS)
        wd_cols(f, l, e, WIDE_COLS, q + c * 32, d + c, sum + c * 2, w, acc + c * ROWS);
    for (; WIDE_COLS > 4 && c + 4 <= w; c += 4)
        wd_cols(f, l, e, 4, q + c * 32, d + c, sum + c * 2, w, acc + c * ROWS);
    for (; WIDE_COLS > 2 && c + 2 <= w; c += 2)
        wd_cols(f, l, e, 2, q + c * 32, d + c, sum + c * 2, w, acc + c * ROWS);
    for (; c < w; c++)
        wd_cols(f, l, e, 1, q + c * 32, d + c, sum + c * 2, w, acc + c * ROWS);
}

/* Columns [c0, c1) of n, c0 a multiple of SLV_PANEL and c1 too or n, times one tile. */
INLINE void wd_strip(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t c0, size_t c1, const uint8_t *tile, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    _Alignas(64) float acc[WIDE_STRIP * ROWS];
    __builtin_memset(acc, 0, (c1 - c0) * ROWS * sizeof *acc);
    struct wd_block e;
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *blk = tile + b * bytes;
        for (size_t i = 0; n <= WIDE_FEW && i < bytes; i += 64)
            __builtin_prefetch(blk + PREFETCH_AHEAD + i);
        wd_expand(f, l, blk, &e);
        for (size_t c = c0; c < c1; c += SLV_PANEL) {
            const struct slv_panel p = slv_panel_of(c, n, x->ld);
            const size_t at = p.at + b * block * p.w;
            wd_panel(f, l, &e, x->q + at, x->d + at / act, x->sum + at / 16, p.w,
                     acc + (c - c0) * ROWS);
        }
    }
    for (size_t c = c0; c < c1; c++)
        vf_store(out + c * ldo, vf_load(acc + (c - c0) * ROWS));
}

INLINE void wd_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    const uint8_t *tile, float *out, size_t ldo) {
    for (size_t c = 0; c < n; c += WIDE_STRIP)
        wd_strip(f, w, x, n, c, c + WIDE_STRIP < n ? c + WIDE_STRIP : n, tile, out, ldo);
}
