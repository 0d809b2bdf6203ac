/* wide_tmpl.h: a tile times several columns, block by block: each is unpacked once, to bytes, and
 * multiplied with all columns while it is in the nearest cache, so that the storage type is paid
 * for once. A strip is what sums are held of at once, in that cache; a multiple of SLV_PANEL.
 */
#include "kernel/simd/block_tmpl.h"

/* What follows a block is asked for while it is unpacked; but a large one is more lines than the
 * first cache has on their way: its are asked for as it is multiplied for the first time. */
INLINE bool wd_large(struct mm_form f) { return f.block >= 256; }

INLINE void wd_open(struct mm_form f, const struct slv_layout *l, const uint8_t *blk,
                    struct mm_open *e) {
    const struct mm_block_at at = mm_locate(f, l);
    const int8_t *sc = (const int8_t *)blk + at.sc, *mn = (const int8_t *)blk + at.mn;
    const bool ahead = !wd_large(f);
    if (ahead) mm_ahead(blk, at.codes, 1);
    for (int s = 0; f.sub && s < at.block / f.sub; s++)
        vm_store(e->mult[s], vm_from_i8(sc + s * ROWS));
    for (int i = 0; i < at.block / 32; i++) {
        const uint8_t *chunk = blk + at.codes + (size_t)i * 64 * (size_t)f.bits;
        if (ahead) mm_ahead(chunk, 64 * f.bits, 1);
        UNROLL for (int g = 0; g < 8; g += 2) {
            vb u = mm_code(f, chunk, l->table, g), v = mm_code(f, chunk, l->table, g + 1);
            vb_arrange(&u, &v);
            vb_store(e->u[i] + 64 * g, u);
            vb_store(e->u[i] + 64 * (g + 1), v);
        }
    }
    for (int i = 0; i < mm_pairs(f, at.block); i++)
        vp_store(e->pair[i], mm_pair(f, sc, mn, i));
}

/* A tile block times columns [c, c + nc) of a panel of w, which x begins; acc[nc] goes on.
 * `first`: of the block. */
INLINE void wd_cols(struct mm_form f, const struct slv_layout *l, const uint8_t *blk,
                    const struct mm_open *e, bool first, int nc, const struct slv_codes *x,
                    size_t c, size_t w, vf *acc) {
    struct slv_codes at = slv_codes_at(x, 0, l->act, c);
    /* The block stays where it is: a compiler that sees all of it would carry it from stack to
     * stack; and no registers are left for what was read of it before. */
    __asm__ volatile("" : : "r"(e) : "memory");
    mm_hold_codes(f, &at);
    mm_block(f, l, blk, 0, e, wd_large(f) && first && c == 0, 1, nc, at, w, acc + c);
}

/* The same for a whole panel. */
INLINE void wd_panel(struct mm_form f, const struct slv_layout *l, const uint8_t *blk,
                     const struct mm_open *e, bool first, const struct slv_codes *x, size_t w,
                     vf *acc) {
    size_t c = 0;
    for (; c + COLS <= w; c += COLS)
        wd_cols(f, l, blk, e, first, COLS, x, c, w, acc);
    for (; COLS > 4 && c + 4 <= w; c += 4)
        wd_cols(f, l, blk, e, first, 4, x, c, w, acc);
    for (; COLS > 2 && c + 2 <= w; c += 2)
        wd_cols(f, l, blk, e, first, 2, x, c, w, acc);
    for (; c < w; c++)
        wd_cols(f, l, blk, e, first, 1, x, c, w, acc);
}

/* The lines that n columns' sums go to, each in another page: asked for before they are done. */
INLINE void wd_ask(float *out, size_t ldo, size_t n) {
    for (size_t c = 0; c < n; c++)
        __builtin_prefetch(out + c * ldo, 1);
}

/* Columns [c0, c1) of n, c0 a multiple of SLV_PANEL and c1 too or n, times one tile. */
INLINE void wd_strip(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t c0, size_t c1, const uint8_t *tile, float *out, size_t ldo) {
    const struct slv_layout *l = w->layout;
    const size_t block = f.block ? (size_t)f.block : l->block, act = f.fsub ? 32 : block;
    const size_t blocks = w->cols / block, bytes = w->tile_bytes / blocks;
    vf acc[STRIP];
    for (size_t c = c0; c < c1; c++)
        acc[c - c0] = vf_zero();
    struct mm_open e;
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *blk = tile + b * bytes;
        wd_open(f, l, blk, &e);
        for (size_t c = c0; c < c1; c += SLV_PANEL) {
            const struct slv_panel p = slv_panel_of(c, n, x->ld);
            const struct slv_codes at = slv_codes_at(&x->codes, p.at + b * block * p.w, act, 0);
            if (b + 1 == blocks) wd_ask(out + c * ldo, ldo, p.w);
            wd_panel(f, l, blk, &e, c == c0, &at, p.w, acc + (c - c0));
        }
    }
    for (size_t c = c0; c < c1; c++)
        vf_store(out + c * ldo, acc[c - c0]);
}

/* Strip by strip, so that its columns stay near and its sums go to rows that follow each other in
 * few pages; the tiles, which are less, are unpacked once more for each. */
INLINE void wd_tiles(struct mm_form f, const struct slv_mat *w, const struct slv_acts *x, size_t n,
                     size_t tile0, size_t tile1, float *out, size_t ldo) {
    for (size_t c0 = 0; c0 < n; c0 += STRIP) {
        const size_t c1 = c0 + STRIP < n ? c0 + STRIP : n;
        for (size_t t = tile0; t < tile1; t++)
            wd_strip(f, w, x, n, c0, c1, w->tiles + t * w->tile_bytes, out + t * ROWS, ldo);
    }
}
