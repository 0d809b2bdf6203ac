/* dtype.h: the tensor types a GGUF file can hold: one table row a type.
 *
 * A tensor's elements come in blocks along its first dimension: `block` elements in `bytes` bytes.
 * Ids are those of ggml's `enum ggml_type`, which GGUF files store. The arithmetic of the quantized
 * ones is one row each in kernel/quant.c. */
#ifndef SLV_BASE_DTYPE_H
#define SLV_BASE_DTYPE_H

#include <stdint.h>

enum slv_dtype_id {
    SLV_F32 = 0,
    SLV_F16 = 1,
    SLV_Q4_0 = 2,
    SLV_Q4_1 = 3,
    SLV_Q5_0 = 6,
    SLV_Q5_1 = 7,
    SLV_Q8_0 = 8,
    SLV_Q8_1 = 9,
    SLV_Q2_K = 10,
    SLV_Q3_K = 11,
    SLV_Q4_K = 12,
    SLV_Q5_K = 13,
    SLV_Q6_K = 14,
    SLV_Q8_K = 15,
    SLV_IQ2_XXS = 16,
    SLV_IQ2_XS = 17,
    SLV_IQ3_XXS = 18,
    SLV_IQ1_S = 19,
    SLV_IQ4_NL = 20,
    SLV_IQ3_S = 21,
    SLV_IQ2_S = 22,
    SLV_IQ4_XS = 23,
    SLV_I8 = 24,
    SLV_I16 = 25,
    SLV_I32 = 26,
    SLV_I64 = 27,
    SLV_F64 = 28,
    SLV_IQ1_M = 29,
    SLV_BF16 = 30,
    SLV_TQ1_0 = 34,
    SLV_TQ2_0 = 35,
    SLV_MXFP4 = 39,
    SLV_NVFP4 = 40,
    SLV_Q1_0 = 41,
    SLV_Q2_0 = 42,
    SLV_DTYPE_END = 43
};

struct slv_dtype {
    const char *name; /* as users write it: "q4_0", "f32" */
    uint16_t id;      /* enum slv_dtype_id */
    uint16_t block;   /* elements in a block */
    uint16_t bytes;   /* bytes in a block */
};

/* The row of an id, or NULL for an id that no file should hold. */
const struct slv_dtype *slv_dtype_get(uint32_t id);

/* The row of a name, case-insensitive, or NULL. */
const struct slv_dtype *slv_dtype_named(const char *name);

#endif
