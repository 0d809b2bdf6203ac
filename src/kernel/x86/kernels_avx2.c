/* kernels_avx2.c: the kernel templates compiled for AVX2. */
#include "kernel/simd/ops_avx2.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_avx2(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
