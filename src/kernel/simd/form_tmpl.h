/* form_tmpl.h: what the products' templates share: an instance's constants, where the parts of a
 * tile block lie, scales, and codes unpacked into groups. See layout.h.
 *
 * The including file has first included an ops_<isa>.h, which gives the vocabulary: vf (16 floats),
 * vi (16 int32), vb (64 bytes) and the operations on them.
 */
#ifndef SLV_FORM_TMPL_H
#define SLV_FORM_TMPL_H

#include "kernel/kernels.h"

#define ROWS SLV_TILE_ROWS
#define STRIP 64 /* columns that go over all tiles of a call before the next do */
#define INLINE static inline __attribute__((always_inline))
#ifndef UNROLL /* tests that emulate instructions have no use for straight code */
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Few columns wait for memory: what comes so many bytes later is asked for, a few lines at a time
 * between the products, half as far where two tiles are read in turn. The hardware alone stops at a
 * page's end; all of a block at once fills what the first cache has for lines on their way. */
#ifndef PREFETCH_AHEAD
#define PREFETCH_AHEAD 4096
#endif

INLINE void mm_ahead(const uint8_t *p, int bytes, int tiles) {
    _Pragma("GCC unroll 8") for (int i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + PREFETCH_AHEAD / tiles + i);
}

/* What an instance is made of, all constants: see slv_form_parts; `bias` and `block` are those of
 * the form's layouts, block 0 where they differ. */
struct mm_form {
    int bits, sub, min, table, fsub, bias, block;
};

#define MM_ARGS                                                                                    \
    const struct slv_mat *w, const struct slv_acts *x, size_t n, size_t tile0, size_t tile1,       \
        float *out, size_t ldo

/* The forms of integers: X(name, form, bits, sub, min, table, fsub, bias, block). */
#define MM_FORMS(X)                                                                                \
    X(mm_8, SLV_FORM_8, 8, 0, 0, 0, 0, 0, 0)                                                       \
    X(mm_4, SLV_FORM_4, 4, 0, 0, 0, 0, -8, 32)                                                     \
    X(mm_4_m, SLV_FORM_4_M, 4, 0, 1, 0, 0, 0, 32)                                                  \
    X(mm_5, SLV_FORM_5, 5, 0, 0, 0, 0, -16, 32)                                                    \
    X(mm_5_m, SLV_FORM_5_M, 5, 0, 1, 0, 0, 0, 32)                                                  \
    X(mm_4t, SLV_FORM_4T, 4, 0, 0, 1, 0, 0, 32)                                                    \
    X(mm_4t_f16, SLV_FORM_4T_F16, 4, 0, 0, 1, 16, 0, 64)                                           \
    X(mm_2, SLV_FORM_2, 2, 0, 0, 0, 0, -1, 0)                                                      \
    X(mm_2_s16_sm, SLV_FORM_2_S16_SM, 2, 16, 2, 0, 0, 0, 256)                                      \
    X(mm_3_s16, SLV_FORM_3_S16, 3, 16, 0, 0, 0, -4, 256)                                           \
    X(mm_4_s32_sm, SLV_FORM_4_S32_SM, 4, 32, 2, 0, 0, 0, 256)                                      \
    X(mm_5_s32_sm, SLV_FORM_5_S32_SM, 5, 32, 2, 0, 0, 0, 256)                                      \
    X(mm_6_s16, SLV_FORM_6_S16, 6, 16, 0, 0, 0, -32, 256)                                          \
    X(mm_4t_s32, SLV_FORM_4T_S32, 4, 32, 0, 1, 0, 0, 256)                                          \
    X(mm_4t_s16, SLV_FORM_4T_S16, 4, 16, 0, 1, 0, 0, 256)

/* Whether codes come out of mm_code signed. */
INLINE bool mm_signed(struct mm_form f) { return f.bits == 8 || f.table; }

/* Byte offsets in a tile block; `line` is that of 16 scales, `block` its columns. */
struct mm_block_at {
    int block, line, m, sc, mn, codes;
};

INLINE struct mm_block_at mm_locate(struct mm_form f, const struct slv_layout *l) {
    struct mm_block_at at = {.block = f.block ? f.block : l->block,
                             .line = ROWS * (l->d_f32 ? 4 : 2)};
    const int nsub = f.sub ? at.block / f.sub : 0;
    at.m = at.line * (f.fsub ? at.block / f.fsub : 1);
    at.sc = at.m + (f.min ? at.line : 0);
    at.mn = at.sc + nsub * ROWS;
    at.codes = at.mn + (f.min == 2 ? nsub * ROWS : 0);
    return at;
}

INLINE vf mm_scale(bool f32, const uint8_t *line) {
    return f32 ? vf_load((const float *)(const void *)line) : vf_from_f16(line);
}

/* The n bits from `at` on of each byte, moved to `to`. */
INLINE vb mm_bits(vb x, int at, int n, int to) {
    vb y = at > to ? vb_srl(x, at - to) : at < to ? vb_sll(x, to - at) : x;
    return vb_and(y, (uint8_t)(((1 << n) - 1) << to));
}

INLINE vb mm_load_bits(const uint8_t *chunk, int vec, int at, int n, int to) {
    return mm_bits(vb_load(chunk + 64 * vec), at, n, to);
}

/* Group g of a chunk's numbers, 64 bytes: slv_code_pieces, so that it takes few steps. */
INLINE vb mm_number(int bits, const uint8_t *chunk, int g) {
    const int k = g - bits * (8 / bits); /* of those that are not whole */
    if (bits == 8) return vb_load(chunk + 64 * g);
    if (k < 0) return mm_load_bits(chunk, g % bits, bits * (g / bits), bits, 0);
    if (bits == 3)
        return vb_or(mm_load_bits(chunk, k, 6, 2, 0), mm_load_bits(chunk, 2, 6 + k, 1, 2));
    if (bits == 5 && k < 2)
        return vb_or(mm_load_bits(chunk, k, 5, 3, 0), mm_load_bits(chunk, 3 + k, 5, 2, 3));
    if (bits == 5)
        return vb_or(mm_load_bits(chunk, 2, 5, 3, 0),
                     vb_or(mm_load_bits(chunk, 3, 7, 1, 3), mm_load_bits(chunk, 4, 7, 1, 4)));
    return vb_or(
        mm_load_bits(chunk, 3 * k, 6, 2, 0),
        vb_or(mm_load_bits(chunk, 3 * k + 1, 6, 2, 2), mm_load_bits(chunk, 3 * k + 2, 6, 2, 4)));
}

/* The same, through the table if there is one. */
INLINE vb mm_code(struct mm_form f, const uint8_t *chunk, const int8_t *table, int g) {
    const vb u = mm_number(f.bits, chunk, g);
    return f.table ? vb_table(table, u) : u;
}

INLINE int32_t mm_load4(const void *q) {
    int32_t x;
    __builtin_memcpy(&x, q, 4);
    return x;
}

#endif
