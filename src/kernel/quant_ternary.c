/* quant_ternary.c: types with one scale and one or two bits, or a ternary digit, an element.
 *
 *     TQ1_0  48 bytes of 5 ternary digits | 4 bytes of 4 | f16 d     256 elements, d * (q - 1)
 *     TQ2_0  64 x 2 bits | f16 d                                     256 elements, d * (q - 1)
 *     Q1_0   f16 d | 16 bytes of bits                                128 elements, bit ? d : -d
 *     Q2_0   f16 d | 16 x 2 bits                                      64 elements, d * (q - 1)
 *
 * Source: gguf-py's quants.py (TQ1_0, TQ2_0), ggml-quants.c (Q1_0, Q2_0). */
#include "kernel/quant_int.h"

/* `count` planes of ternary digits, `width` bytes wide. A byte is the fraction byte / 256; its n-th
 * digit is the whole part of fraction * 3, after n multiplications by 3 that drop the whole part.
 */
static int8_t *ternary(const uint8_t *q, int width, int count, int8_t *code) {
    for (int n = 0, power = 1; n < count; n++, power *= 3, code += width)
        for (int j = 0; j < width; j++)
            code[j] = (int8_t)(((q[j] * power & 255) * 3 >> 8) - 1);
    return code;
}

void quant_expand_tq1_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 54;
    quant_set_scale(ret, quant_half(p + 52));
    int8_t *code = ternary(p, 32, 5, ret->code);
    code = ternary(p + 32, 16, 5, code);
    ternary(p + 48, 4, 4, code);
}

void quant_expand_tq2_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 66;
    quant_set_scale(ret, quant_half(p + 64));
    for (int k = 0; k < 256; k++) /* planes of 32 bytes */
        ret->code[k] = (int8_t)((p[k / 128 * 32 + k % 32] >> (k / 32 % 4 * 2) & 3) - 1);
}

void quant_expand_q1_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 18;
    quant_set_scale(ret, quant_half(p));
    for (int k = 0; k < 128; k++)
        ret->code[k] = (int8_t)((p[2 + k / 8] >> k % 8 & 1) * 2 - 1);
}

void quant_expand_q2_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 18;
    quant_set_scale(ret, quant_half(p));
    for (int k = 0; k < 64; k++)
        ret->code[k] = (int8_t)((p[2 + k / 4] >> k % 4 * 2 & 3) - 1);
}
