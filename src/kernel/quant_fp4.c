/* quant_fp4.c: four-bit floats (E2M1) under a scale of eight bits: MXFP4 and NVFP4.
 *
 *     MXFP4  u8 exponent | 16 bytes of nibbles                  32 elements
 *     NVFP4  4 x u8 scale | 4 x 8 bytes of nibbles              4 x 16 elements
 *
 * An E2M1 number is half of a small integer; codes are that integer and d is half the scale. Low
 * nibbles are the first half of a block's elements, high nibbles the second.
 *
 * Sources: OCP Microscaling Formats 1.0 (E2M1, E8M0); gguf-py's quants.py, which differs from it in
 * reading the E8M0 NaN (255) as 2^128 / 2. NVFP4's further scale for the whole tensor is a tensor
 * of its own in GGUF and not applied here. */
#include "kernel/quant_int.h"

#include <string.h>

static const int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void nibbles(const uint8_t *q, int half, int8_t *code) {
    for (int j = 0; j < half; j++) {
        code[j] = e2m1_doubled[q[j] & 15];
        code[j + half] = e2m1_doubled[q[j] >> 4];
    }
}

/* 2^(e - 128); a float's exponent is e - 1, the two least are subnormal. */
static float half_e8m0(uint8_t e) {
    uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* Half of a number with 4 exponent bits (bias 7) and 3 of fraction. The top bit is not looked at;
 * 127, which would be NaN, counts as zero. */
static float half_ue4m3(uint8_t e) {
    static const float power[16] = {0x1p-10f, 0x1p-10f, 0x1p-9f, 0x1p-8f, 0x1p-7f, 0x1p-6f,
                                    0x1p-5f,  0x1p-4f,  0x1p-3f, 0x1p-2f, 0x1p-1f, 0x1p0f,
                                    0x1p1f,   0x1p2f,   0x1p3f,  0x1p4f};
    int exponent = e >> 3 & 15, fraction = (e & 7) | (exponent ? 8 : 0);
    return e == 127 ? 0.0f : (float)fraction * power[exponent];
}

void quant_expand_mxfp4(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i * 17;
    quant_set_scale(ret, half_e8m0(p[0]));
    nibbles(p + 1, 16, ret->code);
}

void quant_expand_nvfp4(const void *src, size_t i, struct slv_qblock *ret) {
    const uint8_t *p = (const uint8_t *)src + i / 4 * 36;
    quant_set_scale(ret, half_ue4m3(p[i % 4]));
    nibbles(p + 4 + i % 4 * 8, 8, ret->code);
}
