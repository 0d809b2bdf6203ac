/* few_tmpl.h: a tile times few columns: their sums stay in registers from the tile's first block to
 * its last. This is what decoding waits for: with one column memory is the limit, and every
 * instruction that is not a product delays the next line.
 */
#include "kernel/simd/block_tmpl.h"

/* Columns [c, c + nc) of n, which are one panel. */
INLINE void fw_cols(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    size_t c, int nc, const uint8_t *tile, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    const int8_t *q = x->q + c * 32;
    const float *d = x->d + c;
    const int16_t *sum = x->sum + c * 2;
    vf acc[COLS];
    UNROLL for (int k = 0; k < nc; k++) acc[k] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        mm_block(f, l, tile, NULL, true, nc, q, d, sum, n, acc);
        tile += bytes;
        q += block * n;
        d += block / act * n;
        sum += block / 16 * n;
    }
    UNROLL for (int k = 0; k < nc; k++) vf_store(out + (c + (size_t)k) * ldo, acc[k]);
}

/* n columns, at most COLS. */
INLINE void fw_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    const uint8_t *tile, float *out, size_t ldo) {
    size_t c = 0;
    for (; COLS >= 8 && c + 8 <= n; c += 8)
        fw_cols(f, w, x, n, c, 8, tile, out, ldo);
    for (; COLS >= 4 && c + 4 <= n; c += 4)
        fw_cols(f, w, x, n, c, 4, tile, out, ldo);
    for (; c + 2 <= n; c += 2)
        fw_cols(f, w, x, n, c, 2, tile, out, ldo);
    for (; c < n; c++)
        fw_cols(f, w, x, n, c, 1, tile, out, ldo);
}
