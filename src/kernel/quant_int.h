/* quant_int.h: what the quant_*.c files share: unaligned loads, codebooks, their functions.
 *
 * Blocks lie at any address, so that everything is read byte by byte or through memcpy. Types whose
 * blocks are one scale for all have sub == block and the factor sc[0] == 1. */
#ifndef SLV_KERNEL_QUANT_INT_H
#define SLV_KERNEL_QUANT_INT_H

#include "base/dtype.h"
#include "kernel/quant.h"

static inline uint16_t quant_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static inline uint32_t quant_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline float quant_half(const uint8_t *p) { return slv_f16_to_f32(quant_u16(p)); }

/* The scales of a block that has no sub-blocks and no minimum. */
static inline void quant_set_scale(struct slv_qblock *b, float d) {
    b->d = d;
    b->m = 0;
    b->sc[0] = 1;
}

/* slv_quant.expand of each type. */
typedef void quant_expand(const void *src, size_t i, struct slv_qblock *ret);

quant_expand quant_expand_q4_0, quant_expand_q4_1, quant_expand_q5_0, quant_expand_q5_1,
    quant_expand_q8_0, quant_expand_q8_1; /* quant_legacy.c */
quant_expand quant_expand_q2_k, quant_expand_q3_k, quant_expand_q4_k, quant_expand_q5_k,
    quant_expand_q6_k, quant_expand_q8_k; /* quant_k.c */
quant_expand quant_expand_iq1_s, quant_expand_iq1_m, quant_expand_iq2_xxs, quant_expand_iq2_xs,
    quant_expand_iq2_s, quant_expand_iq3_xxs, quant_expand_iq3_s, quant_expand_iq4_nl,
    quant_expand_iq4_xs; /* quant_iq.c */
quant_expand quant_expand_tq1_0, quant_expand_tq2_0, quant_expand_q1_0,
    quant_expand_q2_0;                               /* quant_ternary.c */
quant_expand quant_expand_mxfp4, quant_expand_nvfp4; /* quant_fp4.c */

/* The codebooks of the IQ types. Of iq1 and iq2 a row is 8 digits of 2 bits, of iq3 4 digits of
 * 3 bits; the first element is the lowest digit. */
extern const uint16_t quant_iq1_grid[2048];
extern const uint16_t quant_iq2_xxs_grid[256];
extern const uint16_t quant_iq2_xs_grid[512];
extern const uint16_t quant_iq2_s_grid[1024];
extern const uint16_t quant_iq3_xxs_grid[256];
extern const uint16_t quant_iq3_s_grid[512];

#endif
