/* layout.c: see layout.h. Owns the two tables (forms, types), the packing of tiles and the reading
 * of a row back. */
#include "kernel/layout.h"
#include "base/dtype.h"
#include "base/mem.h"

#include <string.h>

#define CHUNK 32 /* columns whose code planes lie together */

const struct slv_form_parts slv_form_parts[SLV_FORM_COUNT] = {
    [SLV_FORM_F32] = {.bits = 32},
    [SLV_FORM_F16] = {.bits = 16},
    [SLV_FORM_BF16] = {.bits = 16},
    [SLV_FORM_8] = {.bits = 8},
    [SLV_FORM_4] = {.bits = 4},
    [SLV_FORM_4_M] = {.bits = 4, .min = 1},
    [SLV_FORM_5] = {.bits = 5},
    [SLV_FORM_5_M] = {.bits = 5, .min = 1},
    [SLV_FORM_4T] = {.bits = 4, .table = 1},
    [SLV_FORM_4T_F16] = {.bits = 4, .table = 1, .fsub = 16},
    [SLV_FORM_2] = {.bits = 2},
    [SLV_FORM_2_S16_SM] = {.bits = 2, .sub = 16, .min = 2},
    [SLV_FORM_3_S16] = {.bits = 3, .sub = 16},
    [SLV_FORM_4_S32_SM] = {.bits = 4, .sub = 32, .min = 2},
    [SLV_FORM_5_S32_SM] = {.bits = 5, .sub = 32, .min = 2},
    [SLV_FORM_6_S16] = {.bits = 6, .sub = 16},
    [SLV_FORM_4T_S32] = {.bits = 4, .table = 1, .sub = 32},
    [SLV_FORM_4T_S16] = {.bits = 4, .table = 1, .sub = 16},
};

const struct slv_code_piece slv_code_pieces[9][8][SLV_CODE_PIECES + 1] = {
    [2] = {{{0, 0, 2, 0}},
           {{1, 0, 2, 0}},
           {{0, 2, 2, 0}},
           {{1, 2, 2, 0}},
           {{0, 4, 2, 0}},
           {{1, 4, 2, 0}},
           {{0, 6, 2, 0}},
           {{1, 6, 2, 0}}},
    [3] = {{{0, 0, 3, 0}},
           {{1, 0, 3, 0}},
           {{2, 0, 3, 0}},
           {{0, 3, 3, 0}},
           {{1, 3, 3, 0}},
           {{2, 3, 3, 0}},
           {{0, 6, 2, 0}, {2, 6, 1, 2}},
           {{1, 6, 2, 0}, {2, 7, 1, 2}}},
    [4] = {{{0, 0, 4, 0}},
           {{1, 0, 4, 0}},
           {{2, 0, 4, 0}},
           {{3, 0, 4, 0}},
           {{0, 4, 4, 0}},
           {{1, 4, 4, 0}},
           {{2, 4, 4, 0}},
           {{3, 4, 4, 0}}},
    [5] = {{{0, 0, 5, 0}},
           {{1, 0, 5, 0}},
           {{2, 0, 5, 0}},
           {{3, 0, 5, 0}},
           {{4, 0, 5, 0}},
           {{0, 5, 3, 0}, {3, 5, 2, 3}},
           {{1, 5, 3, 0}, {4, 5, 2, 3}},
           {{2, 5, 3, 0}, {3, 7, 1, 3}, {4, 7, 1, 4}}},
    [6] = {{{0, 0, 6, 0}},
           {{1, 0, 6, 0}},
           {{2, 0, 6, 0}},
           {{3, 0, 6, 0}},
           {{4, 0, 6, 0}},
           {{5, 0, 6, 0}},
           {{0, 6, 2, 0}, {1, 6, 2, 2}, {2, 6, 2, 4}},
           {{3, 6, 2, 0}, {4, 6, 2, 2}, {5, 6, 2, 4}}},
    [8] = {{{0, 0, 8, 0}},
           {{1, 0, 8, 0}},
           {{2, 0, 8, 0}},
           {{3, 0, 8, 0}},
           {{4, 0, 8, 0}},
           {{5, 0, 8, 0}},
           {{6, 0, 8, 0}},
           {{7, 0, 8, 0}}},
};

/* The codes a 4-bit index stands for. Unused entries are 0. */
static const int8_t iq4_codes[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t fp4_codes[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static const int8_t iq2_codes[16] = {8, 25, 43, 0, 0, 0, 0, 0, -8, -25, -43};
static const int8_t iq3_xxs_codes[16] = {4,  12,  20,  28,  36,  44,  52,  62,
                                         -4, -12, -20, -28, -36, -44, -52, -62};
static const int8_t iq3_s_codes[16] = {1,  3,  5,  7,  9,  11,  13,  15,
                                       -1, -3, -5, -7, -9, -11, -13, -15};
static const int8_t iq1_codes[16] = {-9, -7, -1, 1, 7, 9};

static const struct slv_layout layouts[] = {
    {.id = SLV_F32, .form = SLV_FORM_F32, .block = 1},
    {.id = SLV_F16, .form = SLV_FORM_F16, .block = 1},
    {.id = SLV_BF16, .form = SLV_FORM_BF16, .block = 1},
    {.id = SLV_Q8_0, .form = SLV_FORM_8, .block = 32, .act = 32},
    {.id = SLV_Q8_1, .form = SLV_FORM_8, .block = 32, .act = 32},
    {.id = SLV_Q8_K, .form = SLV_FORM_8, .d_f32 = true, .block = 256, .act = 256},
    {.id = SLV_Q4_0, .form = SLV_FORM_4, .bias = -8, .block = 32, .act = 32},
    {.id = SLV_Q4_1, .form = SLV_FORM_4_M, .block = 32, .act = 32},
    {.id = SLV_Q5_0, .form = SLV_FORM_5, .bias = -16, .block = 32, .act = 32},
    {.id = SLV_Q5_1, .form = SLV_FORM_5_M, .block = 32, .act = 32},
    {.id = SLV_IQ4_NL, .form = SLV_FORM_4T, .block = 32, .act = 32, .table = iq4_codes},
    {.id = SLV_MXFP4,
     .form = SLV_FORM_4T,
     .d_f32 = true,
     .block = 32,
     .act = 32,
     .table = fp4_codes},
    {.id = SLV_NVFP4,
     .form = SLV_FORM_4T_F16,
     .d_f32 = true,
     .block = 64,
     .act = 32,
     .table = fp4_codes},
    {.id = SLV_Q1_0, .form = SLV_FORM_2, .bias = -1, .block = 128, .act = 128},
    {.id = SLV_Q2_0, .form = SLV_FORM_2, .bias = -1, .block = 64, .act = 64},
    {.id = SLV_TQ1_0, .form = SLV_FORM_2, .bias = -1, .block = 256, .act = 256},
    {.id = SLV_TQ2_0, .form = SLV_FORM_2, .bias = -1, .block = 256, .act = 256},
    {.id = SLV_Q2_K, .form = SLV_FORM_2_S16_SM, .block = 256, .act = 256},
    {.id = SLV_Q3_K, .form = SLV_FORM_3_S16, .bias = -4, .block = 256, .act = 256},
    {.id = SLV_Q4_K, .form = SLV_FORM_4_S32_SM, .block = 256, .act = 256},
    {.id = SLV_Q5_K, .form = SLV_FORM_5_S32_SM, .block = 256, .act = 256},
    {.id = SLV_Q6_K, .form = SLV_FORM_6_S16, .bias = -32, .block = 256, .act = 256},
    {.id = SLV_IQ4_XS, .form = SLV_FORM_4T_S32, .block = 256, .act = 256, .table = iq4_codes},
    {.id = SLV_IQ3_XXS,
     .form = SLV_FORM_4T_S32,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq3_xxs_codes},
    {.id = SLV_IQ3_S, .form = SLV_FORM_4T_S32, .block = 256, .act = 256, .table = iq3_s_codes},
    {.id = SLV_IQ2_XXS,
     .form = SLV_FORM_4T_S32,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq2_codes},
    {.id = SLV_IQ2_XS,
     .form = SLV_FORM_4T_S16,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq2_codes},
    {.id = SLV_IQ2_S,
     .form = SLV_FORM_4T_S16,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq2_codes},
    {.id = SLV_IQ1_S,
     .form = SLV_FORM_4T_S32,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq1_codes},
    {.id = SLV_IQ1_M,
     .form = SLV_FORM_4T_S16,
     .d_f32 = true,
     .block = 256,
     .act = 256,
     .table = iq1_codes},
};

const struct slv_layout *slv_layout_get(uint32_t id) {
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].id == id) return &layouts[i];
    return NULL;
}

/* Offsets of a tile block's parts; `end` is its size. */
struct parts_at {
    size_t m, sc, mn, codes, end;
};

static struct parts_at locate(const struct slv_layout *l) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    struct parts_at at = {0};
    if (f->bits >= 16) {
        at.end = (size_t)SLV_TILE_ROWS * f->bits / 8;
        return at;
    }
    size_t line = (size_t)SLV_TILE_ROWS * (l->d_f32 ? 4 : 2);
    size_t subs = f->sub ? (size_t)l->block / f->sub : 0;
    at.m = f->fsub ? line * (l->block / f->fsub) : line;
    at.sc = at.m + (f->min ? line : 0);
    at.mn = at.sc + subs * SLV_TILE_ROWS;
    at.codes = at.mn + (f->min == 2 ? subs * SLV_TILE_ROWS : 0);
    at.end = at.codes + (size_t)SLV_TILE_ROWS * l->block * (f->bits) / 8;
    return at;
}

size_t slv_layout_block_bytes(const struct slv_layout *l) { return locate(l).end; }

size_t slv_layout_bytes(const struct slv_layout *l, size_t rows, size_t cols) {
    size_t padded, n;
    if (cols % l->block || !slv_size_align(rows, SLV_TILE_ROWS, &padded)) return 0;
    if (!slv_size_mul(padded / SLV_TILE_ROWS, cols / l->block, &n)) return 0;
    return slv_size_mul(n, slv_layout_block_bytes(l), &n) ? n : 0;
}

static void pack_floats(size_t elem, const uint8_t *src, size_t row_bytes, size_t rows, size_t cols,
                        uint8_t *dst) {
    memset(dst, 0, cols * SLV_TILE_ROWS * elem);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            memcpy(dst + (c * SLV_TILE_ROWS + r) * elem, src + r * row_bytes + c * elem, elem);
}

static void put_scale(const struct slv_layout *l, uint8_t *line, size_t r, float v) {
    uint16_t h = slv_f32_to_f16(v);
    if (l->d_f32) memcpy(line + 4 * r, &v, 4);
    else memcpy(line + 2 * r, &h, 2);
}

/* How codes of a table are stored: number[(uint8_t)code] = u. */
static void table_numbers(const int8_t *table, uint8_t number[256]) {
    memset(number, 0, 256);
    for (unsigned u = 16; u-- > 0;) /* of equal codes the first number counts */
        number[(uint8_t)table[u]] = (uint8_t)u;
}

/* Four numbers at once, a byte each: a shift moves bits between bytes, the mask drops those. */
static uint32_t four(const uint8_t *u) {
    uint32_t v;
    memcpy(&v, u, 4);
    return v;
}

/* Row r of a chunk's vectors from its 32 numbers; `bits` is a constant. */
static inline __attribute__((always_inline)) void put_numbers(unsigned bits, uint8_t *chunk,
                                                              size_t r, const uint8_t u[CHUNK]) {
    uint32_t out[8] = {0};
    for (unsigned g = 0; g < 8; g++)
        for (const struct slv_code_piece *p = slv_code_pieces[bits][g]; p->n; p++) {
            uint32_t mask = ((1u << p->n) - 1) * 0x01010101u;
            out[p->vec] |= (four(u + 4 * g) >> p->to & mask) << p->at;
        }
    for (unsigned v = 0; v < bits; v++)
        memcpy(chunk + (size_t)64 * v + 4 * r, &out[v], 4);
}

/* f with its number of bits a constant, so that each has code of its own. */
#define BY_BITS(bits, f, ...)                                                                      \
    switch (bits) {                                                                                \
        BITS(2, f, __VA_ARGS__)                                                                    \
        BITS(3, f, __VA_ARGS__)                                                                    \
        BITS(4, f, __VA_ARGS__)                                                                    \
        BITS(5, f, __VA_ARGS__)                                                                    \
        BITS(6, f, __VA_ARGS__)                                                                    \
        BITS(8, f, __VA_ARGS__)                                                                    \
    default:                                                                                       \
        break; /* there are no others */                                                           \
    }
#define BITS(n, f, ...)                                                                            \
    case n:                                                                                        \
        f(n, __VA_ARGS__);                                                                         \
        break;

static void put_chunk(unsigned bits, uint8_t *chunk, size_t r, const uint8_t u[CHUNK]) {
    BY_BITS(bits, put_numbers, chunk, r, u)
}

/* One row of one tile block; its canonical blocks lie end to end over the tile block's columns. */
static void pack_row(const struct slv_layout *l, const struct slv_quant *t,
                     const uint8_t number[256], const void *row, size_t block, size_t r,
                     const struct parts_at *at, uint8_t *dst) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    size_t line = (size_t)SLV_TILE_ROWS * (l->d_f32 ? 4 : 2), n = (size_t)l->block / t->block;
    uint8_t u[SLV_QBLOCK_MAX];
    struct slv_qblock q;
    for (size_t i = 0; i < n; i++) {
        t->expand(row, block * n + i, &q);
        put_scale(l, dst + line * i, r, q.d);
        if (f->min) put_scale(l, dst + at->m, r, q.m);
        for (size_t s = 0; f->sub && s < (size_t)t->block / f->sub; s++) {
            dst[at->sc + s * SLV_TILE_ROWS + r] = (uint8_t)q.sc[s * f->sub / t->sub];
            if (f->min == 2)
                dst[at->mn + s * SLV_TILE_ROWS + r] = (uint8_t)q.mn[s * f->sub / t->sub];
        }
        uint8_t *to = u + i * t->block;
        for (size_t k = 0; l->table && k < t->block; k++)
            to[k] = number[(uint8_t)q.code[k]];
        for (size_t k = 0; !l->table && k < t->block; k++)
            to[k] = (uint8_t)(q.code[k] - l->bias);
    }
    for (size_t c = 0; c < (size_t)l->block / CHUNK; c++)
        put_chunk(f->bits, dst + at->codes + c * 64 * (size_t)f->bits, r, u + c * CHUNK);
}

void slv_layout_pack(const struct slv_layout *l, const void *src, size_t row_bytes, size_t rows,
                     size_t cols, size_t tile, void *dst) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    size_t first = tile * SLV_TILE_ROWS, n = rows - first;
    if (n > SLV_TILE_ROWS) n = SLV_TILE_ROWS;
    const uint8_t *from = (const uint8_t *)src + first * row_bytes;
    if (f->bits >= 16) {
        pack_floats((size_t)f->bits / 8, from, row_bytes, n, cols, dst);
        return;
    }
    const struct slv_quant *t = slv_quant_get(l->id);
    struct parts_at at = locate(l);
    uint8_t number[256];
    if (l->table) table_numbers(l->table, number);
    for (size_t b = 0; b < cols / l->block; b++) {
        uint8_t *out = (uint8_t *)dst + b * at.end;
        if (n < SLV_TILE_ROWS) memset(out, 0, at.end);
        for (size_t r = 0; r < n; r++)
            pack_row(l, t, number, from + r * row_bytes, b, r, &at, out);
    }
}

/* --- a row back ------------------------------------------------------------------------------- */

static float get_scale(const struct slv_layout *l, const uint8_t *line, size_t r) {
    float v;
    uint16_t h;
    if (l->d_f32) {
        memcpy(&v, line + 4 * r, 4);
        return v;
    }
    memcpy(&h, line + 2 * r, 2);
    return slv_f16_to_f32(h);
}

/* The 32 numbers of a chunk's row r: what put_numbers was given. */
static inline __attribute__((always_inline)) void get_numbers(unsigned bits, const uint8_t *chunk,
                                                              size_t r, uint8_t u[CHUNK]) {
    for (unsigned g = 0; g < 8; g++) {
        uint32_t v = 0;
        for (const struct slv_code_piece *p = slv_code_pieces[bits][g]; p->n; p++) {
            uint32_t mask = ((1u << p->n) - 1) * 0x01010101u;
            v |= (four(chunk + (size_t)64 * p->vec + 4 * r) >> p->at & mask) << p->to;
        }
        memcpy(u + 4 * g, &v, 4);
    }
}

static void get_chunk(unsigned bits, const uint8_t *chunk, size_t r, uint8_t u[CHUNK]) {
    BY_BITS(bits, get_numbers, chunk, r, u)
}

static float get_float(const struct slv_layout *l, const uint8_t *p) {
    uint16_t h;
    float v;
    if (l->form == SLV_FORM_F32) {
        memcpy(&v, p, 4);
        return v;
    }
    memcpy(&h, p, 2);
    return l->form == SLV_FORM_F16 ? slv_f16_to_f32(h) : slv_bf16_to_f32(h);
}

/* Columns [c, c + n) of a tile block, which share all factors: quant.h's formula. */
static void get_values(const struct slv_layout *l, const uint8_t *block, const struct parts_at *at,
                       size_t r, size_t c, size_t n, const uint8_t *u, float *dst) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    const size_t line = (size_t)SLV_TILE_ROWS * (l->d_f32 ? 4 : 2);
    const size_t sub = f->sub ? c / f->sub * SLV_TILE_ROWS + r : 0;
    float d = get_scale(l, block + (f->fsub ? c / f->fsub * line : 0), r), less = 0.0f;
    if (f->sub) d *= (float)(int8_t)block[at->sc + sub];
    if (f->min) less = get_scale(l, block + at->m, r);
    if (f->min == 2) less *= (float)(int8_t)block[at->mn + sub];
    for (size_t k = 0; k < n; k++) {
        int code = l->table ? l->table[u[k] & 15] : l->bias + (f->bits == 8 ? (int8_t)u[k] : u[k]);
        float v = d * (float)code;
        dst[k] = f->min ? v + less : v;
    }
}

void slv_layout_row(const struct slv_layout *l, const void *tile, size_t r, size_t cols,
                    float *dst) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    const struct parts_at at = locate(l);
    const uint8_t *p = tile;
    if (f->bits >= 16) {
        for (size_t c = 0; c < cols; c++)
            dst[c] = get_float(l, p + (c * SLV_TILE_ROWS + r) * f->bits / 8);
        return;
    }
    const size_t n = f->sub == 16 || f->fsub == 16 ? 16 : CHUNK;
    uint8_t u[CHUNK];
    for (size_t c = 0; c < cols; c += n) {
        const uint8_t *block = p + c / l->block * at.end;
        const size_t in = c % l->block;
        if (c % CHUNK == 0) get_chunk(f->bits, block + at.codes + in / CHUNK * 64 * f->bits, r, u);
        get_values(l, block, &at, r, in, n, u + c % CHUNK, dst + c);
    }
}
