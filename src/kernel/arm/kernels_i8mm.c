/* kernels_i8mm.c: the kernel templates compiled for ARMv8.6 matrix products of int8. */
#include "kernel/simd/ops_neon.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_i8mm(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
