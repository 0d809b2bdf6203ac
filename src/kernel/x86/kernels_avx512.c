/* kernels_avx512.c: the kernel templates compiled for AVX-512. */
#include "kernel/simd/ops_avx512.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_avx512(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
