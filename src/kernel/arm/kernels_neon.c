/* kernels_neon.c: the kernel templates compiled for ARMv8.0 Advanced SIMD. */
#include "kernel/simd/ops_neon.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_neon(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
