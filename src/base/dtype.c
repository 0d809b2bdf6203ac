/* dtype.c: see dtype.h. Block sizes are those of GGUF's tensor-type table (ggml's ggml-common.h,
 * GGML_QUANT_SIZES in the Python package gguf). Ids that are missing here (4, 5, 31-33, 36-38) were
 * withdrawn from the format; a file that holds one is refused. */
#include "base/dtype.h"

#include <stddef.h>
#include <strings.h>

/* One row a type, by id. Bytes are written as the fields of the block, in file order. */
static const struct slv_dtype dtypes[SLV_DTYPE_END] = {
    [SLV_F32] = {"f32", SLV_F32, 1, 4},
    [SLV_F16] = {"f16", SLV_F16, 1, 2},
    [SLV_BF16] = {"bf16", SLV_BF16, 1, 2},
    [SLV_F64] = {"f64", SLV_F64, 1, 8},
    [SLV_I8] = {"i8", SLV_I8, 1, 1},
    [SLV_I16] = {"i16", SLV_I16, 1, 2},
    [SLV_I32] = {"i32", SLV_I32, 1, 4},
    [SLV_I64] = {"i64", SLV_I64, 1, 8},

    /* one f16 scale (and one f16 minimum or sum), 32 codes */
    [SLV_Q4_0] = {"q4_0", SLV_Q4_0, 32, 2 + 16},
    [SLV_Q4_1] = {"q4_1", SLV_Q4_1, 32, 2 + 2 + 16},
    [SLV_Q5_0] = {"q5_0", SLV_Q5_0, 32, 2 + 4 + 16},
    [SLV_Q5_1] = {"q5_1", SLV_Q5_1, 32, 2 + 2 + 4 + 16},
    [SLV_Q8_0] = {"q8_0", SLV_Q8_0, 32, 2 + 32},
    [SLV_Q8_1] = {"q8_1", SLV_Q8_1, 32, 2 + 2 + 32},

    /* super-blocks: packed sub-scales, codes, f16 scales */
    [SLV_Q2_K] = {"q2_k", SLV_Q2_K, 256, 16 + 64 + 2 + 2},
    [SLV_Q3_K] = {"q3_k", SLV_Q3_K, 256, 32 + 64 + 12 + 2},
    [SLV_Q4_K] = {"q4_k", SLV_Q4_K, 256, 2 + 2 + 12 + 128},
    [SLV_Q5_K] = {"q5_k", SLV_Q5_K, 256, 2 + 2 + 12 + 32 + 128},
    [SLV_Q6_K] = {"q6_k", SLV_Q6_K, 256, 128 + 64 + 16 + 2},
    [SLV_Q8_K] = {"q8_k", SLV_Q8_K, 256, 4 + 256 + 32},

    /* codes are indices into fixed grids */
    [SLV_IQ1_S] = {"iq1_s", SLV_IQ1_S, 256, 2 + 32 + 16},
    [SLV_IQ1_M] = {"iq1_m", SLV_IQ1_M, 256, 32 + 16 + 8},
    [SLV_IQ2_XXS] = {"iq2_xxs", SLV_IQ2_XXS, 256, 2 + 64},
    [SLV_IQ2_XS] = {"iq2_xs", SLV_IQ2_XS, 256, 2 + 64 + 8},
    [SLV_IQ2_S] = {"iq2_s", SLV_IQ2_S, 256, 2 + 32 + 32 + 8 + 8},
    [SLV_IQ3_XXS] = {"iq3_xxs", SLV_IQ3_XXS, 256, 2 + 64 + 32},
    [SLV_IQ3_S] = {"iq3_s", SLV_IQ3_S, 256, 2 + 64 + 8 + 32 + 4},
    [SLV_IQ4_NL] = {"iq4_nl", SLV_IQ4_NL, 32, 2 + 16},
    [SLV_IQ4_XS] = {"iq4_xs", SLV_IQ4_XS, 256, 2 + 2 + 4 + 128},

    /* one, two and 1.6 bits a code */
    [SLV_TQ1_0] = {"tq1_0", SLV_TQ1_0, 256, 48 + 4 + 2},
    [SLV_TQ2_0] = {"tq2_0", SLV_TQ2_0, 256, 64 + 2},
    [SLV_Q1_0] = {"q1_0", SLV_Q1_0, 128, 2 + 16},
    [SLV_Q2_0] = {"q2_0", SLV_Q2_0, 64, 2 + 16},

    /* 4-bit floats under 8-bit scales */
    [SLV_MXFP4] = {"mxfp4", SLV_MXFP4, 32, 1 + 16},
    [SLV_NVFP4] = {"nvfp4", SLV_NVFP4, 64, 4 + 32},
};

const struct slv_dtype *slv_dtype_get(uint32_t id) {
    return id < SLV_DTYPE_END && dtypes[id].name ? &dtypes[id] : NULL;
}

const struct slv_dtype *slv_dtype_named(const char *name) {
    for (size_t i = 0; i < SLV_DTYPE_END; i++)
        if (dtypes[i].name && !strcasecmp(dtypes[i].name, name)) return &dtypes[i];
    return NULL;
}
