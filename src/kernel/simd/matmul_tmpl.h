/* matmul_tmpl.h: matrix times columns in sixteen lanes, written once for every instruction set:
 * quantized weights that are unpacked as they are multiplied in few_tmpl.h, those that are unpacked
 * once for all columns in wide_tmpl.h, floats here.
 *
 * A lane is an output row; every lane does what matmul.c does for that row, in the same order, so
 * results are equal to the bit. The forms (layout.h) are instances of always-inlined bodies whose
 * arguments are constants: the compiler sees straight code for each.
 */
#include "kernel/simd/few_tmpl.h"
#include "kernel/simd/wide_tmpl.h"

/* How often a tile is unpacked at most before that is done once for all columns; and whether it
 * costs so little that it is never done for all: 4 or 8 bits of one scale. */
#ifdef MM_ARRANGED
#define MM_PASSES 1
INLINE bool mm_plain(struct mm_form f) { return (void)f, false; }
#else
#define MM_PASSES 2
INLINE bool mm_plain(struct mm_form f) {
    return (f.bits == 4 || f.bits == 8) && !f.table && !f.sub && !f.fsub;
}
#endif

INLINE void mm_int(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                   size_t tile0, size_t tile1, float *out, size_t ldo) {
    if (mm_plain(f) || n <= COLS * MM_PASSES) fw_tiles(f, w, x, n, tile0, tile1, out, ldo);
    else wd_tiles(f, w, x, n, tile0, tile1, out, ldo);
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

#define MM_INT(name, form, ...)                                                                    \
    static void name(MM_ARGS) {                                                                    \
        mm_int((struct mm_form){__VA_ARGS__}, w, x, n, tile0, tile1, out, ldo);                    \
    }
#define MM_FLOAT(name, kind)                                                                       \
    static void name(MM_ARGS) { mm_float(kind, w, x, n, tile0, tile1, out, ldo); }

MM_FLOAT(mm_f32, 32)
MM_FLOAT(mm_f16, 16)
MM_FLOAT(mm_bf16, -16)
MM_FORMS(MM_INT)

static const slv_matmul_fn mm_forms[SLV_FORM_COUNT] = {[SLV_FORM_F32] = mm_f32,
                                                       [SLV_FORM_F16] = mm_f16,
                                                       [SLV_FORM_BF16] = mm_bf16,
#define MM_ROW(name, form, ...) [form] = (name),
                                                       MM_FORMS(MM_ROW)
#undef MM_ROW
};

static void mm_fill(struct slv_kernels *k) {
    for (int form = 0; form < SLV_FORM_COUNT; form++)
        k->matmul[form] = mm_forms[form];
}
