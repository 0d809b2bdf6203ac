/* ops_i8mm.h: several columns (wide_tmpl.h) in the matrix products of ARMv8.6: SMMLA takes two rows
 * of 8 columns of k and two columns of as many, and adds the four sums to an int32 each: twice the
 * products of a dot product instruction.
 *
 * Two groups of an unpacked chunk, 4 columns of k each, are zipped when they are stored, once for
 * all columns: register q of the eight has rows 2 q and 2 q + 1 of 8 columns of k. Sums come as
 * [row][column] of two by two, and are parted into columns when a run of groups ends.
 *
 * Included by ops_neon.h where the compiler is told so (__ARM_FEATURE_MATMUL_INT8). Source: Arm
 * Architecture Reference Manual (SMMLA); ACLE.
 */
#ifndef SLV_OPS_I8MM_H
#define SLV_OPS_I8MM_H

#define MM_ARRANGED

OP b16 b16_zip_lo(b16 x, b16 y) {
    return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(x), vreinterpretq_s32_s8(y)));
}
OP b16 b16_zip_hi(b16 x, b16 y) {
    return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(x), vreinterpretq_s32_s8(y)));
}
OP void vb_arrange(vb *u, vb *v) {
    const vb x = *u, y = *v;
    *u = (vb){{b16_zip_lo(x.r[0], y.r[0]), b16_zip_hi(x.r[0], y.r[0]), b16_zip_lo(x.r[1], y.r[1]),
               b16_zip_hi(x.r[1], y.r[1])}};
    *v = (vb){{b16_zip_lo(x.r[2], y.r[2]), b16_zip_hi(x.r[2], y.r[2]), b16_zip_lo(x.r[3], y.r[3]),
               b16_zip_hi(x.r[3], y.r[3])}};
}

/* Register q of the pair of groups that begins at u. */
OP b16 i8mm_rows(const vb *u, int q) { return q < 4 ? u[0].r[q] : u[1].r[q - 4]; }

/* One column: dot products of both halves of 8 columns of k, which are neighbours. */
OP vi i8mm_one(const vb *u, int ng, const int8_t *x) {
    i4 s[8];
    _Pragma("GCC unroll 8") for (int q = 0; q < 8; q++) s[q] = i4_set1(0);
    _Pragma("GCC unroll 4") for (int g = 0; g < ng; g += 2) {
        const int8x8_t half = vld1_s8(x + 4 * g);
        const b16 v = vcombine_s8(half, half);
        _Pragma("GCC unroll 8") for (int q = 0; q < 8; q++) s[q] =
            vdotq_s32(s[q], i8mm_rows(u + g, q), v);
    }
    return (vi){{vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]), vpaddq_s32(s[4], s[5]),
                 vpaddq_s32(s[6], s[7])}};
}

/* nc columns, an even number. */
OP void i8mm_pairs(const vb *u, int ng, const int8_t *x, int nc, vi part[]) {
    i4 s[COLS / 2][8];
    _Pragma("GCC unroll 4") for (int p = 0; p < nc / 2; p++)
        _Pragma("GCC unroll 8") for (int q = 0; q < 8; q++) s[p][q] = i4_set1(0);
    _Pragma("GCC unroll 4") for (int g = 0; g < ng; g += 2) {
        b16 v[COLS / 2];
        _Pragma("GCC unroll 4") for (int p = 0; p < nc / 2; p++) v[p] =
            vcombine_s8(vld1_s8(x + 64 * p + 4 * g), vld1_s8(x + 64 * p + 32 + 4 * g));
        _Pragma("GCC unroll 8") for (int q = 0; q < 8; q++) {
            const b16 rows = i8mm_rows(u + g, q);
            _Pragma("GCC unroll 4") for (int p = 0; p < nc / 2; p++) s[p][q] =
                vmmlaq_s32(s[p][q], rows, v[p]);
        }
    }
    _Pragma("GCC unroll 4") for (int p = 0; p < nc / 2; p++)
        _Pragma("GCC unroll 4") for (int q = 0; q < 4; q++) {
        part[2 * p].r[q] = vuzp1q_s32(s[p][2 * q], s[p][2 * q + 1]);
        part[2 * p + 1].r[q] = vuzp2q_s32(s[p][2 * q], s[p][2 * q + 1]);
    }
}

/* dot[c] += mult * the sum over ng groups, zipped, and their columns; mult 1 where `ones`; ng is
 * even. Codes are signed, or small enough to be. */
OP void vi_dot_arranged(const vb *u, int ng, const int8_t *x, int nc, bool ones, vm mult,
                        vi dot[]) {
    vi part[COLS];
    if (nc == 1) part[0] = i8mm_one(u, ng, x);
    else i8mm_pairs(u, ng, x, nc, part);
    _Pragma("GCC unroll 8") for (int c = 0; c < nc; c++) dot[c] =
        vi_add(dot[c], ones ? part[c] : vi_mul(part[c], mult));
}

#endif
