/* quant_k.c: the K types: super-blocks of 256 elements whose sub-blocks have small integer scales.
 *
 *     Q2_K  16 x (4-bit sc | 4-bit mn) | 64 x 2 bits           | f16 d | f16 dmin
 *     Q3_K  32 high bits | 64 x 2 bits | 12 bytes of 6-bit sc  | f16 d
 *     Q4_K  f16 d | f16 dmin | 12 bytes of 6-bit sc and mn     | 128 nibbles
 *     Q5_K  f16 d | f16 dmin | 12 bytes of 6-bit sc and mn     | 32 high bits | 128 nibbles
 *     Q6_K  128 nibbles | 64 x 2 high bits | 16 x i8 sc        | f16 d
 *     Q8_K  f32 d | 256 x i8 | 16 x i16 sums, not needed for the values
 *
 * Codes are bit planes: byte j of a plane of w bytes holds element j in its lowest bits, element
 * j + w in the next, and so on; the plane of high bits likewise. Minimums are subtracted, so that
 * m = -dmin. Source: gguf-py's quants.py and ggml-common.h. */
#include "kernel/quant_int.h"

#include <string.h>

/* code[] = bits of `bits` width of planes that are `width` bytes wide, 256 elements in all. */
static void planes(const uint8_t *q, unsigned bits, unsigned width, int8_t *code) {
    unsigned mask = (1u << bits) - 1;
    for (const uint8_t *end = q + 32 * bits; q < end; q += width)
        for (unsigned shift = 0; shift < 8; shift += bits, code += width)
            for (unsigned j = 0; j < width; j++)
                code[j] = (int8_t)(q[j] >> shift & mask);
}

/* Adds (bit plane) << to, less `zero`, to the codes. */
static void add_planes(const uint8_t *q, unsigned bits, unsigned to, int zero, int8_t *code) {
    int8_t high[256];
    planes(q, bits, 32, high);
    for (int k = 0; k < 256; k++)
        code[k] = (int8_t)(code[k] + high[k] * (1 << to) - zero);
}

static void scale_and_min(const uint8_t *p, struct slv_qblock *b) {
    b->d = quant_half(p);
    b->m = -quant_half(p + 2);
}

/* Eight 6-bit factors and eight 6-bit minimums. The first four of each lie in the low bits of
 * bytes 0-3 and 4-7; of the others bytes 8-11 hold the low nibbles (factor, minimum) and the top
 * bits of bytes 0-3 and 4-7 the rest. */
static void six_bit_pairs(const uint8_t *s, struct slv_qblock *b) {
    for (int k = 0; k < 4; k++) {
        b->sc[k] = s[k] & 63;
        b->mn[k] = s[k + 4] & 63;
        b->sc[k + 4] = (int16_t)((s[k + 8] & 15) | (s[k] >> 6) << 4);
        b->mn[k + 4] = (int16_t)((s[k + 8] >> 4) | (s[k + 4] >> 6) << 4);
    }
}

void quant_expand_q2_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 84;
    scale_and_min(p + 80, ret);
    for (int s = 0; s < 16; s++) {
        ret->sc[s] = p[s] & 15;
        ret->mn[s] = p[s] >> 4;
    }
    planes(p + 16, 2, 32, ret->code);
}

void quant_expand_q3_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 110, *s = p + 96;
    ret->d = quant_half(p + 108);
    ret->m = 0;
    /* Sixteen 6-bit factors: low nibbles are two planes of 8 bytes, high bits four planes of 4. */
    for (int k = 0; k < 16; k++) {
        int low = s[k % 8] >> (k / 8 * 4) & 15, high = s[8 + k % 4] >> (k / 4 * 2) & 3;
        ret->sc[k] = (int16_t)((low | high << 4) - 32);
    }
    planes(p + 32, 2, 32, ret->code);
    add_planes(p, 1, 2, 4, ret->code);
}

void quant_expand_q4_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 144;
    scale_and_min(p, ret);
    six_bit_pairs(p + 4, ret);
    planes(p + 16, 4, 32, ret->code);
}

void quant_expand_q5_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 176;
    scale_and_min(p, ret);
    six_bit_pairs(p + 4, ret);
    planes(p + 48, 4, 32, ret->code);
    add_planes(p + 16, 1, 4, 0, ret->code);
}

void quant_expand_q6_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 210;
    ret->d = quant_half(p + 208);
    ret->m = 0;
    for (int s = 0; s < 16; s++)
        ret->sc[s] = (int8_t)p[192 + s];
    planes(p, 4, 64, ret->code);
    add_planes(p + 128, 2, 4, 32, ret->code);
}

void quant_expand_q8_k(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 292;
    uint32_t bits = quant_u32(p);
    float d;
    memcpy(&d, &bits, sizeof d);
    quant_set_scale(ret, d);
    memcpy(ret->code, p + 4, 256);
}
