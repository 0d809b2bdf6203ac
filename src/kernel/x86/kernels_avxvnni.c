/* kernels_avxvnni.c: the kernel templates compiled for AVX2 and AVX-VNNI. */
#include "kernel/simd/ops_avx2.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_avxvnni(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}
