/* few_tmpl.h: a tile times few columns: their sums stay in registers from the tile's first block to
 * its last. This is what decoding waits for: with one column memory is the limit, and every
 * instruction that is not a product delays the next line.
 */
#include "kernel/simd/block_tmpl.h"

/* nt tiles, `run` tiles apart, times nc columns, which are all. */
INLINE void fw_cols(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, int nt,
                    int nc, const uint8_t *tile, size_t run, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    const size_t far = w->tile_bytes * run, n = (size_t)nc;
    const int8_t *q = x->q;
    const float *d = x->d;
    const int16_t *sum = x->sum;
    vf acc[COLS];
    UNROLL for (int k = 0; k < nt * nc; k++) acc[k] = vf_zero();
    for (size_t b = 0; b < blocks; b++) {
        mm_block(f, l, tile, far, NULL, true, nt, nc, q, d, sum, n, acc);
        tile += bytes;
        q += block * n;
        d += block / act * n;
        sum += block / 16 * n;
    }
    UNROLL for (int t = 0; t < nt; t++) UNROLL for (int k = 0; k < nc; k++)
        vf_store(out + (size_t)k * ldo + (size_t)t * run * ROWS, acc[t * nc + k]);
}

/* nt tiles, `run` tiles apart, times n columns, at most `most`: an instance for each number. */
INLINE void fw_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    int nt, int most, size_t t, size_t run, float *out, size_t ldo) {
    UNROLL for (int nc = 1; nc <= most; nc++) if (n == (size_t)nc)
        fw_cols(f, w, x, nt, nc, w->tiles + t * w->tile_bytes, run, out + t * ROWS, ldo);
}

/* Tiles [t0, t1) times n columns, at most COLS. While the sums fit two tiles are read in turn, far
 * from each other: memory answers two pages faster than one. */
INLINE void fw_tiles(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t t0, size_t t1, float *out, size_t ldo) {
    const size_t run = n <= COLS / 2 ? (t1 - t0) / 2 : 0;
    size_t t = t0;
    for (; t < t0 + run; t++)
        fw_tile(f, w, x, n, 2, COLS / 2, t, run, out, ldo);
    for (t += run; t < t1; t++)
        fw_tile(f, w, x, n, 1, COLS, t, 0, out, ldo);
}
