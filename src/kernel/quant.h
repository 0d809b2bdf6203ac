/* quant.h: what the blocks of each quantized tensor type mean. Bytes as GGUF files hold them.
 *
 * Every quantized type, whatever its packing, is a row of blocks of the same canonical form: small
 * integer codes, small integer factors for each sub-block, and one or two floats:
 *
 *     value[k] = d * sc[k / sub] * code[k]  +  m * mn[k / sub]
 *
 * expand() gives these integers, without rounding anything: they are what the engine multiplies
 * with. Types whose scales have fractional parts (0.5 + ls, grid + 0.125) put a power of two into d
 * and keep codes and factors whole. slv_dequant() computes the formula in floats, which gives the
 * format's reference implementation (the Python package gguf) bit for bit: d * sc * code is exact
 * in a float for every type but Q8_K, whose sc is 1, so that only the final sum rounds. A NaN scale
 * gives NaN.
 *
 * Threads: any; nothing here has state.
 */
#ifndef SLV_KERNEL_QUANT_H
#define SLV_KERNEL_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLV_QBLOCK_MAX 256 /* most elements in a block */
#define SLV_QSUB_MAX 16    /* most sub-blocks in a block */

/* One block in canonical form. Entries past the type's block / sub are left alone, and mn where
 * has_min is false. |sc * code| is at most 4096 and sc fits a signed byte for every type. */
struct slv_qblock {
    float d;                     /* scale of the codes */
    float m;                     /* scale of the minimums; 0 for types without */
    int8_t code[SLV_QBLOCK_MAX]; /* in element order */
    int16_t sc[SLV_QSUB_MAX];    /* factor of each sub-block; 1 for types without */
    int16_t mn[SLV_QSUB_MAX];    /* minimum of each sub-block; 1 where only m is used */
};

struct slv_quant {
    uint16_t id;    /* enum slv_dtype_id */
    uint16_t block; /* elements of one canonical block: the unit of one float scale. The file's own
                       block is this or a multiple of it (NVFP4: 64 elements, four scales) */
    uint16_t sub;   /* elements that share sc and mn: 16, 32, or `block` where there are none */
    bool has_min;   /* m and mn are used */

    /* Canonical block number i of the row that starts at src, which may be at any address. */
    void (*expand)(const void *src, size_t i, struct slv_qblock *ret);
};

/* The row of a type; NULL for float and integer types and unknown ids. */
const struct slv_quant *slv_quant_get(uint32_t id);

/* n elements (a multiple of the type's block) of any type, also floats and integers, of a row that
 * starts at src, at any address -> dst[n]. What a float cannot hold (F64, I32, I64) is rounded to
 * nearest. Returns false for an unknown type. */
bool slv_dequant(uint32_t id, const void *src, float *dst, size_t n);

/* Exact widening, and narrowing with ties to even (NaN stays NaN and keeps its sign). In integers:
 * the same on every CPU, whatever the rounding mode. */
float slv_f16_to_f32(uint16_t h);
uint16_t slv_f32_to_f16(float f);
float slv_bf16_to_f32(uint16_t h);

#endif
