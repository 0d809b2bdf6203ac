/* quant_iq.c: the types whose codes come from a codebook (quant_iq_tables.c) or a value table.
 *
 *     IQ1_S    f16 d | 32 index bytes | 8 x u16: 4 x 3 index bits, 3-bit sc, sign of delta
 *     IQ1_M    32 index bytes | 16 bytes of nibbles: 3 index bits, sign of delta
 *              | 4 x u16: 4 x 3-bit sc, 4 bits of the f16 d
 *     IQ2_XXS  f16 d | 8 x (4 index bytes | u32: 4 x 7 sign bits, 4-bit sc)
 *     IQ2_XS   f16 d | 32 x u16: 9 index bits, 7 sign bits | 8 bytes of 4-bit sc
 *     IQ2_S    f16 d | 32 index bytes | 32 sign bytes | 8 bytes of 2 index bits | 8 of 4-bit sc
 *     IQ3_XXS  f16 d | 64 index bytes | 8 x u32: 4 x 7 sign bits, 4-bit sc
 *     IQ3_S    f16 d | 64 index bytes | 8 bytes of 1 index bit | 32 sign bytes | 4 of 4-bit sc
 *     IQ4_NL   f16 d | 16 nibbles                                              (32 elements)
 *     IQ4_XS   f16 d | u16: 8 x 2 high bits of sc | 4 bytes of 4 low | 8 x 16 nibbles
 *
 * All but IQ4_NL have 256 elements. A codebook row is 8 elements (IQ1, IQ2) or 4 (IQ3). Seven sign
 * bits stand for eight signs whose number of minus is even. The scales are fractional in the
 * format; here d takes the power of two:
 *
 *     IQ1      d * (2 sc + 1) * (digit +- 1/8)     = d/8 * (2 sc + 1) * (8 digit +- 1)
 *     IQ2      d * (sc + 1/2) / 4 * value          = d/8 * (2 sc + 1) * value
 *     IQ3_XXS  d * (sc + 1/2) / 2 * value          = d/4 * (2 sc + 1) * value
 *     IQ3_S    d * (2 sc + 1) * value
 *     IQ4_XS   d * (sc - 32) * value
 *
 * Source: gguf-py's quants.py and ggml-common.h. */
#include "kernel/quant_int.h"

static const int8_t iq2_value[4] = {8, 25, 43, 0}; /* the digit 3 is in no codebook */
static const int8_t iq3_xxs_value[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t iq3_s_value[8] = {1, 3, 5, 7, 9, 11, 13, 15};
static const int8_t iq4_value[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

/* --- rows of a codebook ----------------------------------------------------------------------- */

/* The eighth sign of seven makes the number of set bits even. */
static unsigned eight_signs(unsigned seven) {
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

static void iq1_row(unsigned index, int delta, int8_t *code) {
    unsigned row = quant_iq1_grid[index];
    for (int j = 0; j < 8; j++, row >>= 2)
        code[j] = (int8_t)(8 * ((int)(row & 3) - 1) + delta);
}

static void iq2_row(unsigned row, unsigned signs, int8_t *code) {
    for (int j = 0; j < 8; j++, row >>= 2, signs >>= 1) {
        int v = iq2_value[row & 3];
        code[j] = (int8_t)(signs & 1 ? -v : v);
    }
}

/* Two rows of four. */
static void iq3_rows(const int8_t *value, unsigned low, unsigned high, unsigned signs,
                     int8_t *code) {
    unsigned row = low | high << 12;
    for (int j = 0; j < 8; j++, row >>= 3, signs >>= 1) {
        int v = value[row & 7];
        code[j] = (int8_t)(signs & 1 ? -v : v);
    }
}

/* Nibble k of packed nibbles, low one first. */
static unsigned nibble(const uint8_t *p, int k) { return p[k / 2] >> k % 2 * 4 & 15; }

static int16_t odd_scale(unsigned sc) { return (int16_t)(2 * sc + 1); }

static void set_d(struct slv_qblock *b, float d) {
    b->d = d;
    b->m = 0;
}

/* --- types ------------------------------------------------------------------------------------ */

void quant_expand_iq1_s(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 50, *index = p + 2;
    set_d(ret, quant_half(p) * 0.125f);
    for (int s = 0; s < 8; s++) {
        unsigned h = quant_u16(p + 34 + 2 * s);
        ret->sc[s] = odd_scale(h >> 12 & 7);
        for (int g = 0; g < 4; g++)
            iq1_row(index[s * 4 + g] | (h >> 3 * g & 7) << 8, h & 0x8000 ? -1 : 1,
                    ret->code + s * 32 + g * 8);
    }
}

void quant_expand_iq1_m(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 56, *high = p + 32, *scales = p + 48;
    unsigned d = 0;
    for (int k = 0; k < 4; k++)
        d |= (unsigned)(quant_u16(scales + 2 * k) >> 12) << 4 * k;
    set_d(ret, slv_f16_to_f32((uint16_t)d) * 0.125f);
    for (int s = 0; s < 16; s++)
        ret->sc[s] = odd_scale(quant_u16(scales + s / 4 * 2) >> s % 4 * 3 & 7);
    for (int g = 0; g < 32; g++) {
        unsigned h = nibble(high, g);
        iq1_row(p[g] | (h & 7) << 8, h & 8 ? -1 : 1, ret->code + g * 8);
    }
}

void quant_expand_iq2_xxs(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 66;
    set_d(ret, quant_half(p) * 0.125f);
    for (int s = 0; s < 8; s++) {
        const uint8_t *index = p + 2 + s * 8;
        uint32_t packed = quant_u32(index + 4);
        ret->sc[s] = odd_scale(packed >> 28);
        for (int g = 0; g < 4; g++)
            iq2_row(quant_iq2_xxs_grid[index[g]], eight_signs(packed >> 7 * g & 127),
                    ret->code + s * 32 + g * 8);
    }
}

void quant_expand_iq2_xs(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 74;
    set_d(ret, quant_half(p) * 0.125f);
    for (int s = 0; s < 16; s++)
        ret->sc[s] = odd_scale(nibble(p + 66, s));
    for (int g = 0; g < 32; g++) {
        unsigned packed = quant_u16(p + 2 + 2 * g);
        iq2_row(quant_iq2_xs_grid[packed & 511], eight_signs(packed >> 9), ret->code + g * 8);
    }
}

void quant_expand_iq2_s(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 82;
    const uint8_t *index = p + 2, *signs = p + 34, *high = p + 66;
    set_d(ret, quant_half(p) * 0.125f);
    for (int s = 0; s < 16; s++)
        ret->sc[s] = odd_scale(nibble(p + 74, s));
    for (int g = 0; g < 32; g++) {
        unsigned h = high[g / 4] >> g % 4 * 2 & 3;
        iq2_row(quant_iq2_s_grid[index[g] | h << 8], signs[g], ret->code + g * 8);
    }
}

void quant_expand_iq3_xxs(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 98, *index = p + 2;
    const uint16_t *grid = quant_iq3_xxs_grid;
    set_d(ret, quant_half(p) * 0.25f);
    for (int s = 0; s < 8; s++) {
        uint32_t packed = quant_u32(p + 66 + 4 * s);
        ret->sc[s] = odd_scale(packed >> 28);
        for (int g = 4 * s; g < 4 * s + 4; g++)
            iq3_rows(iq3_xxs_value, grid[index[2 * g]], grid[index[2 * g + 1]],
                     eight_signs(packed >> 7 * (g % 4) & 127), ret->code + g * 8);
    }
}

void quant_expand_iq3_s(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 110;
    const uint8_t *index = p + 2, *high = p + 66, *signs = p + 74;
    const uint16_t *grid = quant_iq3_s_grid;
    set_d(ret, quant_half(p));
    for (int s = 0; s < 8; s++)
        ret->sc[s] = odd_scale(nibble(p + 106, s));
    for (int g = 0; g < 32; g++) {
        unsigned h = (unsigned)high[g / 4] >> g % 4 * 2;
        iq3_rows(iq3_s_value, grid[index[2 * g] | (h & 1) << 8],
                 grid[index[2 * g + 1] | (h >> 1 & 1) << 8], signs[g], ret->code + g * 8);
    }
}

static void iq4_nibbles(const uint8_t *q, int8_t *code) {
    for (int j = 0; j < 16; j++) {
        code[j] = iq4_value[q[j] & 15];
        code[j + 16] = iq4_value[q[j] >> 4];
    }
}

void quant_expand_iq4_nl(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 18;
    quant_set_scale(ret, quant_half(p));
    iq4_nibbles(p + 2, ret->code);
}

void quant_expand_iq4_xs(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 136;
    unsigned high = quant_u16(p + 2);
    set_d(ret, quant_half(p));
    for (int s = 0; s < 8; s++) {
        ret->sc[s] = (int16_t)((int)(nibble(p + 4, s) | (high >> 2 * s & 3) << 4) - 32);
        iq4_nibbles(p + 8 + 16 * s, ret->code + 32 * s);
    }
}
