/* kernels_sse4.c: the kernel templates compiled for SSE4.1. */
#include "kernel/simd/ops_sse4.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_sse4(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
