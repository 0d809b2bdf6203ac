/* few_tmpl.h: a tile times few columns: their sums stay in registers from the tile's first block to
 * its last. This is what decoding waits for: with one column memory is the limit, and every
 * instruction that is not a product delays the next line. More columns come in groups, for each of
 * which the tile, near by then, is unpacked again.
 */
#include "kernel/simd/block_tmpl.h"

_Static_assert(SLV_PANEL % COLS == 0 && STRIP % SLV_PANEL == 0, "a group lies in one panel");

/* What of the next tile a group of columns asks for while it is multiplied, `step` bytes a block.
 * Each group of a tile asks for a part, so that memory is never idle. */
struct fw_ask {
    const uint8_t *at;
    size_t step;
};

INLINE void fw_ask_block(struct fw_ask *k) {
    const uint8_t *end = k->at + k->step;
    for (; k->at < end; k->at += 64)
        __builtin_prefetch(k->at);
}

/* nt tiles, `run` tiles apart, times columns [c, c + nc) of n, all of one panel; of two tiles these
 * are all columns. ask.step 0: they are all, and what follows in memory is asked for. */
INLINE void fw_cols(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    int nt, int nc, size_t c, const uint8_t *tile, size_t run, struct fw_ask ask,
                    float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    const size_t far = w->tile_bytes * run;
    const struct slv_panel p = slv_panel_of(c, n, x->ld);
    const size_t pan = nt > 1 ? (size_t)nc : p.w;
    const bool ahead = nt > 1 || !ask.step;
    vf acc[COLS];
    UNROLL for (int k = 0; k < nt * nc; k++) acc[k] = vf_zero();
    struct slv_codes at = slv_codes_at(&x->codes, p.at, act, p.c);
    for (size_t b = 0; b < blocks; b++) {
        mm_hold_codes(f, &at);
        if (!ahead) fw_ask_block(&ask);
        mm_block(f, l, tile + b * bytes, far, NULL, ahead, nt, nc, at, pan, acc);
        at = slv_codes_at(&at, block * pan, act, 0);
    }
    UNROLL for (int t = 0; t < nt; t++) UNROLL for (int k = 0; k < nc; k++)
        vf_store(out + (c + (size_t)k) * ldo + (size_t)t * run * ROWS, acc[t * nc + k]);
}

/* nt tiles, `run` tiles apart, times columns [c, c1), `most` at most: one instance a number. */
INLINE void fw_tile(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                    int nt, int most, size_t c, size_t c1, size_t t, size_t run, struct fw_ask ask,
                    float *out, size_t ldo) {
    UNROLL for (int nc = 1; nc <= most; nc++) if (c1 - c == (size_t)nc)
        fw_cols(f, w, x, n, nt, nc, c, w->tiles + t * w->tile_bytes, run, ask, out + t * ROWS, ldo);
}

/* One tile times columns [c0, c1), group by group. */
INLINE void fw_groups(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                      size_t c0, size_t c1, size_t t, float *out, size_t ldo) {
    const size_t blocks = w->cols / (f.block ? (size_t)f.block : w->layout->block);
    const size_t groups = (c1 - c0 + COLS - 1) / COLS, step = w->tile_bytes / blocks / groups;
    struct fw_ask ask = {w->tiles + (t + 1) * w->tile_bytes, groups > 1 ? step + 1 : 0};
    for (size_t c = c0; c < c1; c += COLS, ask.at += step * blocks)
        fw_tile(f, w, x, n, 1, COLS, c, c + COLS < c1 ? c + COLS : c1, t, 0, ask, out, ldo);
}

/* Tiles [t0, t1) times n columns. While the sums fit two tiles are read in turn, far from each
 * other: memory answers two pages faster than one. */
INLINE void fw_tiles(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t t0, size_t t1, float *out, size_t ldo) {
    const size_t run = n <= COLS / 2 ? (t1 - t0) / 2 : 0;
    for (size_t t = t0; t < t0 + run; t++)
        fw_tile(f, w, x, n, 2, COLS / 2, 0, n, t, run, (struct fw_ask){0}, out, ldo);
    for (size_t s = 0; s < n; s += STRIP)
        for (size_t t = t0 + 2 * run; t < t1; t++)
            fw_groups(f, w, x, n, s, s + STRIP < n ? s + STRIP : n, t, out, ldo);
}
