/* matmul_tmpl.h: matrix times columns in sixteen lanes, written once for every instruction set: few
 * columns of quantized weights in few_tmpl.h, several in wide_tmpl.h, floats here for any number.
 *
 * A lane is an output row; every lane does what matmul.c does for that row, in the same order, so
 * results are equal to the bit. The forms (layout.h) are instances of always-inlined bodies whose
 * arguments are constants: the compiler sees straight code for each.
 */
#include "kernel/simd/few_tmpl.h"
#include "kernel/simd/wide_tmpl.h"

INLINE void mm_int(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                   size_t tile0, size_t tile1, float *out, size_t ldo) {
    for (size_t t = tile0; t < tile1; t++) {
        const uint8_t *tile = w->tiles + t * w->tile_bytes;
        if (n <= COLS) fw_tile(f, w, x, n, tile, out + t * ROWS, ldo);
        else wd_tile(f, w, x, n, tile, out + t * ROWS, ldo);
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
            struct slv_acts at = {.f = x->f + c * x->ld, .ld = x->ld};
            for (size_t i = 0; i < nt; i++)
                mm_float_tiles(kind, w, &at, 1, COLS_FLOAT, tile + i * w->tile_bytes,
                               out + c * ldo + (t + i) * ROWS, ldo);
        }
        for (; c < n; c++) {
            struct slv_acts at = {.f = x->f + c * x->ld, .ld = x->ld};
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
/*              bits sub min table fsub bias block */
MM_INT(mm_8, 8, 0, 0, 0, 0, 0, 0)
MM_INT(mm_4, 4, 0, 0, 0, 0, -8, 32)
MM_INT(mm_4_m, 4, 0, 1, 0, 0, 0, 32)
MM_INT(mm_5, 5, 0, 0, 0, 0, -16, 32)
MM_INT(mm_5_m, 5, 0, 1, 0, 0, 0, 32)
MM_INT(mm_4t, 4, 0, 0, 1, 0, 0, 32)
MM_INT(mm_4t_f16, 4, 0, 0, 1, 16, 0, 64)
MM_INT(mm_2, 2, 0, 0, 0, 0, -1, 0)
MM_INT(mm_2_s16_sm, 2, 16, 2, 0, 0, 0, 256)
MM_INT(mm_3_s16, 3, 16, 0, 0, 0, -4, 256)
MM_INT(mm_4_s32_sm, 4, 32, 2, 0, 0, 0, 256)
MM_INT(mm_5_s32_sm, 5, 32, 2, 0, 0, 0, 256)
MM_INT(mm_6_s16, 6, 16, 0, 0, 0, -32, 256)
MM_INT(mm_4t_s32, 4, 32, 0, 1, 0, 0, 256)
MM_INT(mm_4t_s16, 4, 16, 0, 1, 0, 0, 256)

static void mm_fill(struct slv_kernels *k) {
    k->matmul[SLV_FORM_F32] = mm_f32;
    k->matmul[SLV_FORM_F16] = mm_f16;
    k->matmul[SLV_FORM_BF16] = mm_bf16;
    k->matmul[SLV_FORM_8] = mm_8;
    k->matmul[SLV_FORM_4] = mm_4;
    k->matmul[SLV_FORM_4_M] = mm_4_m;
    k->matmul[SLV_FORM_5] = mm_5;
    k->matmul[SLV_FORM_5_M] = mm_5_m;
    k->matmul[SLV_FORM_4T] = mm_4t;
    k->matmul[SLV_FORM_4T_F16] = mm_4t_f16;
    k->matmul[SLV_FORM_2] = mm_2;
    k->matmul[SLV_FORM_2_S16_SM] = mm_2_s16_sm;
    k->matmul[SLV_FORM_3_S16] = mm_3_s16;
    k->matmul[SLV_FORM_4_S32_SM] = mm_4_s32_sm;
    k->matmul[SLV_FORM_5_S32_SM] = mm_5_s32_sm;
    k->matmul[SLV_FORM_6_S16] = mm_6_s16;
    k->matmul[SLV_FORM_4T_S32] = mm_4t_s32;
    k->matmul[SLV_FORM_4T_S16] = mm_4t_s16;
}
