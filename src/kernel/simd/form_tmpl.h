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
    int low, high, sub, min, table, fsub, bias, block;
};

/* Whether codes come out of mm_decode signed. */
INLINE bool mm_signed(struct mm_form f) { return f.low == 8 || f.table; }

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

/* The 8 groups of a chunk's codes, 64 bytes each. */
INLINE void mm_decode(struct mm_form f, const uint8_t *chunk, const int8_t *table, vb u[8]) {
    if (f.low == 8) {
        UNROLL for (int g = 0; g < 8; g++) u[g] = vb_load(chunk + 64 * g);
        return;
    }
    if (f.low == 4) {
        UNROLL for (int v = 0; v < 4; v++) {
            vb x = vb_load(chunk + 64 * v);
            u[v] = vb_and(x, 15);
            u[v + 4] = vb_and(vb_srl(x, 4), 15);
        }
    } else {
        UNROLL for (int v = 0; v < 2; v++) {
            vb x = vb_load(chunk + 64 * v);
            UNROLL for (int i = 0; i < 4; i++) u[2 * i + v] = vb_and(vb_srl(x, 2 * i), 3);
        }
    }
    const uint8_t *high = chunk + 64 * f.low;
    if (f.high == 1) {
        vb x = vb_load(high);
        UNROLL for (int g = 0; g < 8; g++) u[g] =
            vb_or(u[g], vb_sll(vb_and(vb_srl(x, g), 1), f.low));
    }
    if (f.high == 2) {
        UNROLL for (int v = 0; v < 2; v++) {
            vb x = vb_load(high + 64 * v);
            UNROLL for (int i = 0; i < 4; i++) u[2 * i + v] =
                vb_or(u[2 * i + v], vb_sll(vb_and(vb_srl(x, 2 * i), 3), f.low));
        }
    }
    if (f.table) {
        UNROLL for (int g = 0; g < 8; g++) u[g] = vb_table(table, u[g]);
    }
}

INLINE int32_t mm_load4(const void *q) {
    int32_t x;
    __builtin_memcpy(&x, q, 4);
    return x;
}
