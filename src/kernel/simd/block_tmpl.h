/* block_tmpl.h: one tile block times some columns whose sums stay in registers. Codes are unpacked
 * as they are multiplied, or have been before (struct mm_open).
 *
 * Beside the common vocabulary an ops_<isa>.h gives:
 *
 *     COLS           columns multiplied at once, as many as there are registers for: 8, 4 or 2
 *     vi_dot_s(acc, s, x)   acc + for each row the sum of 4 products of its signed codes with the
 *                    bytes at x, each s taken as s - SIGNED_BIAS: the caller makes up for it
 *     vi_each(x), vf_each(x)   the number at x in all rows
 *     vm             what a dot is multiplied by, 16 rows: vm_ones(), vm_from_i8(p), vm_load,
 *                    vm_store (64 bytes)
 *     va             sums of products that are not multiplied yet
 *     vi_dot_group(bits, i, n, u, x, nc, ones, mult, part, dot)
 *                    of n groups the i-th: part[c] grows by u times the 4 columns at x + 32 c; some
 *                    time, at the latest with the n-th, dot[c] by mult times that, mult 1 where
 *                    `ones`; u below 2^bits; exact
 *     vp             pairs of int16, 16 rows: vp_pairs(lo, hi, times) of int8, vp_repeat(x) the
 *                    pair in x for all rows, vp_load, vp_store (64 bytes);
 *                    vi_add_pairs(acc, vp, x): acc + lo * x0 + hi * x1, x0 and x1 the int16 in x
 *     vi_hold(p)     nothing, but the compiler must have *p in registers there
 */
#ifndef SLV_BLOCK_TMPL_H
#define SLV_BLOCK_TMPL_H

#include "kernel/simd/form_tmpl.h"

#ifndef MM_ARRANGED /* else the vocabulary has an order of its own for groups that lie unpacked */
OP void vb_arrange(vb *u, vb *v) { (void)u, (void)v; }
#endif

/* A tile block unpacked, and what it is multiplied by in the shape that this takes. */
struct mm_open {
    _Alignas(64) uint8_t u[SLV_QBLOCK_MAX / 32][512];
    uint8_t mult[SLV_QBLOCK_MAX / 16][64];
    uint8_t pair[SLV_QBLOCK_MAX / 32][64];
};

/* What is in a code beside its number: a minus power of two, or 0. */
INLINE int mm_bias(struct mm_form f) { return mm_signed(f) ? SIGNED_BIAS : f.bias; }

/* Where the parts of a block have factors, pairs of their sums are multiplied by the minimums, or
 * by the bias with its sub-scale (no form has both). Else the sum of all is enough. */
INLINE bool mm_parted(struct mm_form f) { return f.sub || f.fsub; }
INLINE bool mm_paired(struct mm_form f) { return mm_parted(f) && (f.min || mm_bias(f)); }

/* How many pairs: one for two parts, and with a float scale for each 16 one for each. */
INLINE int mm_pairs(struct mm_form f, int block) {
    return !mm_paired(f) ? 0 : f.fsub ? block / f.fsub : block / (2 * f.sub);
}

/* The sums that they are multiplied with: a pair every 2 * w. */
INLINE const int16_t *mm_sums(struct mm_form f, const struct slv_codes *x) {
    return f.sub == 32 ? x->sum32 : x->sum;
}

/* Nothing; but a compiler that knows how the pointers that a form uses move keeps one for each
 * place that is read from them, and has no registers for so many. */
INLINE void mm_hold_codes(struct mm_form f, struct slv_codes *x) {
    __asm__("" : "+r"(x->q), "+r"(x->d));
    if (mm_paired(f) && f.sub != 32) __asm__("" : "+r"(x->sum));
    if (mm_paired(f) && f.sub == 32) __asm__("" : "+r"(x->sum32));
    if (!mm_parted(f) && mm_bias(f)) __asm__("" : "+r"(x->less));
    if (f.min == 1) __asm__("" : "+r"(x->m));
}

/* What pair i of sums is multiplied by; with a float scale for each 16, half i % 2 of pair i / 2.
 * `sc` and `mn` are the block's. */
INLINE vp mm_pair(struct mm_form f, const int8_t *sc, const int8_t *mn, int i) {
    static const int8_t none[ROWS], one[ROWS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const int times = f.min ? 1 : mm_bias(f);
    if (f.fsub) return vp_pairs(i % 2 ? none : one, i % 2 ? one : none, times);
    const int8_t *by = f.min ? mn : sc;
    return vp_pairs(by + 2 * i * ROWS, by + (2 * i + 1) * ROWS, times);
}

/* What the parts of a tile block are read from: as it is stored, or open. */
struct mm_from {
    const uint8_t *blk;
    const int8_t *sc, *mn, *table;
    struct mm_block_at at;
    const struct mm_open *open; /* or NULL */
};

INLINE vb mm_get_code(struct mm_form f, const struct mm_from *b, int i, int g) {
    if (b->open) return vb_load(b->open->u[i] + 64 * g);
    return mm_code(f, b->blk + b->at.codes + (size_t)i * 64 * (size_t)f.bits, b->table, g);
}

INLINE vp mm_get_pair(struct mm_form f, const struct mm_from *b, int i) {
    return b->open ? vp_load(b->open->pair[i]) : mm_pair(f, b->sc, b->mn, i);
}

/* Of the groups [g0, g0 + ng) the i-th to be multiplied: those that lie in one vector follow each
 * other. */
INLINE int mm_turn(int bits, int g0, int ng, int i) {
    const int whole = 8 / bits;
    return ng == 8 && i < bits * whole ? i / whole + bits * (i % whole) : g0 + i;
}

/* Groups [g0, g0 + ng) of chunk i, whose sub-scale is `sub`, of nt tiles times nc columns: dot[]
 * grows, of tile t and column c at t * nc + c. */
INLINE void mm_dot(struct mm_form f, const struct mm_from b[], int nt, int i, int g0, int ng,
                   int sub, const int8_t *q, int nc, vi dot[]) {
#ifdef MM_ARRANGED
    if (b->open) {
        vi_dot_arranged((const vb *)(const void *)(b->open->u[i] + 64 * g0), ng, q + 4 * g0, nc,
                        !f.sub, f.sub ? vm_load(b->open->mult[sub]) : vm_ones(), dot);
        return;
    }
#endif
    if (mm_signed(f)) {
        vi part[COLS];
        UNROLL for (int c = 0; c < nt * nc; c++) part[c] = f.sub ? vi_zero() : dot[c];
        UNROLL for (int k = 0; k < ng; k++) {
            const int g = mm_turn(f.bits, g0, ng, k);
            UNROLL for (int t = 0; t < nt; t++) {
                const vb s = mm_get_code(f, &b[t], i, g);
                UNROLL for (int c = 0; c < nc; c++) {
                    vi *to = &part[t * nc + c];
                    *to = vi_dot_s(*to, s, q + 32 * c + 4 * g);
                    vi_hold(to);
                }
            }
        }
        UNROLL for (int c = 0; c < nt * nc; c++) {
            const vi sc = vi_from_i8(b[c / nc].sc + sub * ROWS);
            dot[c] = f.sub ? vi_add(dot[c], vi_mul(part[c], sc)) : part[c];
        }
        return;
    }
    va part[COLS];
    UNROLL for (int k = 0; k < ng; k++) {
        const int g = mm_turn(f.bits, g0, ng, k);
        UNROLL for (int t = 0; t < nt; t++) {
            const int8_t *sc = b[t].sc + sub * ROWS;
            const vm mult = !f.sub      ? vm_ones()
                            : b[t].open ? vm_load(b[t].open->mult[sub])
                                        : vm_from_i8(sc);
            vi_dot_group(f.bits, k, ng, mm_get_code(f, &b[t], i, g), q + 4 * g, nc, !f.sub, mult,
                         part + t * nc, dot + t * nc);
        }
    }
}

/* Pair i, and the sums of nc columns: to[] grows. */
INLINE void mm_add_pairs(struct mm_form f, const struct mm_from b[], int nt, int i,
                         const int16_t *sum, int nc, vi to[]) {
    UNROLL for (int t = 0; t < nt; t++) {
        const vp pair = mm_get_pair(f, &b[t], i);
        UNROLL for (int c = 0; c < nc; c++) to[t * nc + c] =
            vi_add_pairs(to[t * nc + c], pair, mm_load4(sum + 2 * c));
    }
}

/* What a dot begins with where there are no parts: what the bias adds. */
INLINE vi mm_begin(struct mm_form f, const int32_t *less) {
    const int bias = mm_parted(f) ? 0 : -mm_bias(f);
    return bias ? vi_sll(vi_each(less), __builtin_ctz((unsigned)bias)) : vi_zero();
}

/* The scales at `at` of the tiles' blocks cover what dot[] has: acc[] grows. */
INLINE void mm_scaled(const struct mm_from b[], int nt, bool f32, int at, const float *d, int nc,
                      const vi dot[], vf acc[]) {
    UNROLL for (int t = 0; t < nt; t++) {
        const vf dw = mm_scale(f32, b[t].blk + at);
        UNROLL for (int c = 0; c < nc; c++) {
            vf *to = &acc[t * nc + c];
            *to = vf_fma(vi_to_vf(dot[t * nc + c]), vf_mul(dw, vf_each(d + c)), *to);
        }
    }
}

/* One minimum a block: those at `at`. */
INLINE void mm_least(const struct mm_from b[], int nt, bool f32, int at, const float *m, int nc,
                     vf acc[]) {
    UNROLL for (int t = 0; t < nt; t++) {
        const vf mw = mm_scale(f32, b[t].blk + at);
        UNROLL for (int c = 0; c < nc; c++) acc[t * nc + c] =
            vf_fma(mw, vf_each(m + c), acc[t * nc + c]);
    }
}

INLINE void mm_ahead_of(const struct mm_from b[], int nt, int at, int bytes) {
    UNROLL for (int t = 0; t < nt; t++) mm_ahead(b[t].blk + at, bytes, nt);
}

/* The same block of nt tiles, `far` bytes apart, times nc columns of a panel of w, x the first.
 * `open`: what it has been unpacked to, of one tile; or NULL. `ahead`: what follows in memory is
 * asked for. */
INLINE void mm_block(struct mm_form f, const struct slv_layout *l, const uint8_t *blk, size_t far,
                     const struct mm_open *open, bool ahead, int nt, int nc, struct slv_codes x,
                     size_t w, vf acc[]) {
    const struct mm_block_at at = mm_locate(f, l);
    const int halves = f.sub == 16 || f.fsub == 16 ? 2 : 1, ng = 8 / halves;
    struct mm_from b[COLS];
    vi dot[COLS], min[COLS];
    UNROLL for (int t = 0; t < nt; t++, blk += far) b[t] = (struct mm_from){
        blk, (const int8_t *)blk + at.sc, (const int8_t *)blk + at.mn, l->table, at, open};
    UNROLL for (int c = 0; c < nt * nc; c++) {
        dot[c] = mm_begin(f, x.less + c % nc);
        min[c] = vi_zero();
    }
    if (ahead) mm_ahead_of(b, nt, 0, at.codes);
    for (int i = 0; !f.fsub && i < mm_pairs(f, at.block); i++)
        mm_add_pairs(f, b, nt, i, mm_sums(f, &x) + 2 * w * (size_t)i, nc, f.min ? min : dot);
    for (int i = 0; i < at.block / 32; i++, x.q += 32 * w, x.sum += 2 * w) {
        if (ahead) mm_ahead_of(b, nt, at.codes + i * 64 * f.bits, 64 * f.bits);
        UNROLL for (int half = 0; half < halves; half++) {
            const int sub = f.sub ? (32 * i + 16 * half) / f.sub : 0;
            mm_dot(f, b, nt, i, half * ng, ng, sub, x.q, nc, dot);
            if (!f.fsub) continue;
            if (mm_paired(f)) mm_add_pairs(f, b, nt, 2 * i + half, x.sum, nc, dot);
            mm_scaled(b, nt, l->d_f32, at.line * (2 * i + half), x.d + (size_t)i * w, nc, dot, acc);
            UNROLL for (int c = 0; c < nt * nc; c++) dot[c] = vi_zero();
        }
    }
    if (f.fsub) return;
    mm_scaled(b, nt, l->d_f32, 0, x.d, nc, dot, acc);
    if (f.min == 2) mm_scaled(b, nt, l->d_f32, at.m, x.d, nc, min, acc);
    if (f.min == 1) mm_least(b, nt, l->d_f32, at.m, x.m, nc, acc);
}

#endif
