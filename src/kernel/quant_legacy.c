/* quant_legacy.c: the types with 32 elements a block and one scale: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1.
 *
 *     Q4_0  f16 d           | 16 bytes of nibbles     d * (q - 8)
 *     Q4_1  f16 d | f16 m   | 16 bytes of nibbles     d * q + m
 *     Q5_0  f16 d           | u32 high bits | 16      d * (q - 16)
 *     Q5_1  f16 d | f16 m   | u32 high bits | 16      d * q + m
 *     Q8_0  f16 d           | 32 x i8                 d * q
 *     Q8_1  f16 d | f16 s   | 32 x i8                 d * q; s = d * sum(q) is not needed for it
 *
 * Byte j of the nibbles holds element j low and element j + 16 high; bit j of the high bits belongs
 * to element j. Source: gguf-py's quants.py and ggml-common.h. */
#include "kernel/quant_int.h"

#include <string.h>

static void nibbles(const uint8_t *q, int zero, int8_t *code) {
    for (int j = 0; j < 16; j++) {
        code[j] = (int8_t)((q[j] & 15) - zero);
        code[j + 16] = (int8_t)((q[j] >> 4) - zero);
    }
}

static void five_bits(const uint8_t *q, uint32_t high, int zero, int8_t *code) {
    for (int j = 0; j < 16; j++) {
        code[j] = (int8_t)((int)((q[j] & 15) | (high >> j & 1) << 4) - zero);
        code[j + 16] = (int8_t)((int)((q[j] >> 4) | (high >> (j + 16) & 1) << 4) - zero);
    }
}

static void set_scale_and_min(struct slv_qblock *b, const uint8_t *p) {
    b->d = quant_half(p);
    b->m = quant_half(p + 2);
    b->sc[0] = b->mn[0] = 1;
}

void quant_expand_q4_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 18;
    quant_set_scale(ret, quant_half(p));
    nibbles(p + 2, 8, ret->code);
}

void quant_expand_q4_1(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 20;
    set_scale_and_min(ret, p);
    nibbles(p + 4, 0, ret->code);
}

void quant_expand_q5_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 22;
    quant_set_scale(ret, quant_half(p));
    five_bits(p + 6, quant_u32(p + 2), 16, ret->code);
}

void quant_expand_q5_1(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 24;
    set_scale_and_min(ret, p);
    five_bits(p + 8, quant_u32(p + 4), 0, ret->code);
}

void quant_expand_q8_0(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 34;
    quant_set_scale(ret, quant_half(p));
    memcpy(ret->code, p + 2, 32);
}

void quant_expand_q8_1(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 36;
    quant_set_scale(ret, quant_half(p));
    memcpy(ret->code, p + 4, 32);
}
