/* form_tmpl.h: what the products' templates share: an instance's constants, where the parts of a
 * tile block lie, scales, and codes unpacked into groups. See layout.h.
 *
 * The including file has first included an ops_<isa>.h, which gives the vocabulary: vf (16 floats),
 * vi (16 int32), vb (64 bytes) and the operations on them.
 */
#include "kernel/kernels.h"

#define ROWS SLV_TILE_ROWS
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* With one column nothing is used twice: weights come from memory, and the next page's first lines
 * must be asked for before the hardware, which stops at a page's end, would. Bytes. */
#define PREFETCH_AHEAD 6144

/* What an instance is made of, all constants: see slv_form_parts; `bias` and `block` are those of
 * the form's layouts, block 0 where they differ. */
struct mm_form {
    int bits, sub, min, table, fsub, bias, block;
};

/* Whether codes come out of mm_decode signed. */
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

/* The 8 groups of a chunk's numbers, 64 bytes each: slv_code_pieces, so that each takes few steps.
 */
INLINE void mm_numbers(int bits, const uint8_t *chunk, vb u[8]) {
    vb x[8];
    UNROLL for (int v = 0; v < bits; v++) x[v] = vb_load(chunk + 64 * v);
    const int whole = 8 / bits; /* of a byte's */
    UNROLL for (int g = 0; g < bits * whole; g++) u[g] =
        bits == 8 ? x[g] : mm_bits(x[g % bits], bits * (g / bits), bits, 0);
    if (bits == 3) {
        UNROLL for (int k = 0; k < 2; k++) u[6 + k] =
            vb_or(mm_bits(x[k], 6, 2, 0), mm_bits(x[2], 6 + k, 1, 2));
    }
    if (bits == 5) {
        UNROLL for (int k = 0; k < 2; k++) u[5 + k] =
            vb_or(mm_bits(x[k], 5, 3, 0), mm_bits(x[3 + k], 5, 2, 3));
        u[7] = vb_or(mm_bits(x[2], 5, 3, 0), vb_or(mm_bits(x[3], 7, 1, 3), mm_bits(x[4], 7, 1, 4)));
    }
    if (bits == 6) {
        UNROLL for (int k = 0; k < 2; k++) u[6 + k] =
            vb_or(mm_bits(x[3 * k], 6, 2, 0),
                  vb_or(mm_bits(x[3 * k + 1], 6, 2, 2), mm_bits(x[3 * k + 2], 6, 2, 4)));
    }
}

/* The same, through the table if there is one. */
INLINE void mm_decode(struct mm_form f, const uint8_t *chunk, const int8_t *table, vb u[8]) {
    mm_numbers(f.bits, chunk, u);
    if (f.table) {
        UNROLL for (int g = 0; g < 8; g++) u[g] = vb_table(table, u[g]);
    }
}

INLINE int32_t mm_load4(const void *q) {
    int32_t x;
    __builtin_memcpy(&x, q, 4);
    return x;
}
