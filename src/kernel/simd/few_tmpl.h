/* few_tmpl.h: a tile times few columns: their sums stay in registers from the tile's first block to
 * its last. This is what decoding waits for: with one column memory is the limit, and every
 * instruction that is not a product delays the next line. More columns come in groups, for each of
 * which the tile, near by then, is unpacked again.
 */
#include "kernel/simd/block_tmpl.h"

_Static_assert(SLV_PANEL % COLS == 0 && STRIP % SLV_PANEL == 0, "a group lies in one panel");

/* nt tiles, `run` tiles apart, times columns [c, c + nc) of n, all of one panel; of two tiles these
 * are all columns. Who comes first asks for what follows in memory. */
INLINE void fw_cols(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    int nt, int nc, size_t c, const uint8_t *tile, size_t run, float *out,
                    size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    const size_t far = w->tile_bytes * run;
    const struct slv_panel p = slv_panel_of(c, n, x->ld);
    const size_t pan = nt > 1 ? (size_t)nc : p.w;
    const bool ahead = nt > 1 || c == 0;
    vf acc[COLS];
    UNROLL for (int k = 0; k < nt * nc; k++) acc[k] = vf_zero();
    struct slv_codes at = slv_codes_at(&x->codes, p.at, act, p.c);
    for (size_t b = 0; b < blocks; b++) {
        mm_hold_codes(f, &at);
        mm_block(f, l, tile + b * bytes, far, NULL, ahead, nt, nc, at, pan, acc);
        at = slv_codes_at(&at, block * pan, act, 0);
    }
    UNROLL for (int t = 0; t < nt; t++) UNROLL for (int k = 0; k < nc; k++)
        vf_store(out + (c + (size_t)k) * ldo + (size_t)t * run * ROWS, acc[t * nc + k]);
}

/* nt tiles, `run` tiles apart, times columns [c, c1), `most` at most: one instance a number. */
INLINE void fw_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    int nt, int most, size_t c, size_t c1, size_t t, size_t run, float *out,
                    size_t ldo) {
    UNROLL for (int nc = 1; nc <= most; nc++) if (c1 - c == (size_t)nc)
        fw_cols(f, w, x, n, nt, nc, c, w->tiles + t * w->tile_bytes, run, out + t * ROWS, ldo);
}

/* Tiles [t0, t1) times n columns. While the sums fit two tiles are read in turn, far from each
 * other: memory answers two pages faster than one. */
INLINE void fw_tiles(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t t0, size_t t1, float *out, size_t ldo) {
    const size_t run = n <= COLS / 2 ? (t1 - t0) / 2 : 0;
    for (size_t t = t0; t < t0 + run; t++)
        fw_tile(f, w, x, n, 2, COLS / 2, 0, n, t, run, out, ldo);
    for (size_t s = 0; s < n; s += STRIP)
        for (size_t t = t0 + 2 * run; t < t1; t++)
            for (size_t c = s; c < n && c < s + STRIP; c += COLS)
                fw_tile(f, w, x, n, 1, COLS, c, c + COLS < n ? c + COLS : n, t, 0, out, ldo);
}
