/* layout.h: how a weight matrix lies in memory for multiplication, whatever type it is stored as.
 *
 * A matrix of `rows` outputs by `cols` inputs is cut into tiles of 16 rows; a tile holds its 16
 * rows over all columns, one block after the other, and lanes are rows everywhere, so that a
 * product needs no horizontal sum. The last tile is padded with rows of zeros.
 *
 * Float types: a block is one column: 16 elements as the file stores them (4 or 2 bytes each).
 *
 * Integer types (every quantized one, through its canonical form, kernel/quant.h): a block is
 * `block` columns:
 *
 *     d[16]          f16 or f32: scale of each row's block (NVFP4: one such line per 16 columns)
 *     m[16]          the same, only with a minimum
 *     sc[nsub][16]   int8, only with sub-scales
 *     mn[nsub][16]   int8, only with sub-minimums
 *     codes          for each 32 columns as many vectors as a code has bits
 *
 * Codes are unsigned numbers u; the code is u + bias or table[u] (of 8 bits: the code itself,
 * signed). Columns of a chunk of 32 form 8 groups g of 4; a vector is 64 bytes, byte 4 r + j for
 * row r, column 4 g + j. A number lies whole in one byte as long as whole numbers fit: group g in
 * vector g % bits, from bit bits * (g / bits) on. What is left of the bytes, of numbers of 3, 5 and
 * 6 bits, makes up the last groups: slv_code_pieces.
 */
#ifndef SLV_KERNEL_LAYOUT_H
#define SLV_KERNEL_LAYOUT_H

#include "kernel/quant.h"

#define SLV_TILE_ROWS 16

/* The forms of arithmetic that kernels are written for; each has one function per instruction set.
 * Named by the bits of a code, t: table, sNN: sub-scales over NN columns, m: minimum, sm:
 * sub-minimums, f16: a float scale for each 16 columns. */
enum slv_form {
    SLV_FORM_F32,
    SLV_FORM_F16,
    SLV_FORM_BF16,
    SLV_FORM_8,
    SLV_FORM_4,
    SLV_FORM_4_M,
    SLV_FORM_5,
    SLV_FORM_5_M,
    SLV_FORM_4T,
    SLV_FORM_4T_F16,
    SLV_FORM_2,
    SLV_FORM_2_S16_SM,
    SLV_FORM_3_S16,
    SLV_FORM_4_S32_SM,
    SLV_FORM_5_S32_SM,
    SLV_FORM_6_S16,
    SLV_FORM_4T_S32,
    SLV_FORM_4T_S16,
    SLV_FORM_COUNT
};

/* What a form is made of: one row a form. */
struct slv_form_parts {
    uint8_t bits;  /* of a code; 16 or 32: floats */
    uint8_t sub;   /* columns of a sub-scale: 16, 32 or 0 */
    uint8_t min;   /* 0: none, 1: m only, 2: m and mn */
    uint8_t table; /* codes go through a table */
    uint8_t fsub;  /* columns of a float scale if less than the block: 16 or 0 */
};

extern const struct slv_form_parts slv_form_parts[SLV_FORM_COUNT];

/* Where a number lies: n bits from bit `at` on of a vector's byte are its bits from `to` on. */
struct slv_code_piece {
    uint8_t vec, at, n, to;
};
#define SLV_CODE_PIECES 3

/* Of numbers of so many bits, of each group: the pieces, and one of n = 0. */
extern const struct slv_code_piece slv_code_pieces[9][8][SLV_CODE_PIECES + 1];

/* How a storage type is laid out: one row a type. */
struct slv_layout {
    uint16_t id;         /* enum slv_dtype_id */
    uint8_t form;        /* enum slv_form */
    int8_t bias;         /* code = u + bias where there is no table */
    bool d_f32;          /* scales are kept as f32, for types whose range f16 does not hold */
    uint16_t block;      /* columns of a tile block; 1 for floats */
    uint16_t act;        /* columns that share an activation scale; 0: activations stay f32 */
    const int8_t *table; /* 16 codes or NULL */
};

/* The layout of a storage type, or NULL for types that cannot be multiplied with. */
const struct slv_layout *slv_layout_get(uint32_t id);

/* Bytes of one tile block, and of a whole matrix with its padding; 0 where the product overflows or
 * cols is not a multiple of the block. */
size_t slv_layout_block_bytes(const struct slv_layout *l);
size_t slv_layout_bytes(const struct slv_layout *l, size_t rows, size_t cols);

/* Fills tile number `tile` (16 rows from row 16 * tile) at dst from a matrix in file form: rows of
 * row_bytes each, the first at src. Threads: any, on different tiles. */
void slv_layout_pack(const struct slv_layout *l, const void *src, size_t row_bytes, size_t rows,
                     size_t cols, size_t tile, void *dst);

/* Row r of a tile as numbers, dst[cols]: the bits of slv_dequant of the row that was packed. NaN
 * may be another NaN. */
void slv_layout_row(const struct slv_layout *l, const void *tile, size_t r, size_t cols,
                    float *dst);

#endif
