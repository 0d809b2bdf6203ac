/* kernels_avx512vnni.c: the kernel templates compiled for AVX-512 VNNI. */
#include "kernel/simd/ops_avx512.h"

#include "kernel/simd/matmul_tmpl.h"
#include "kernel/simd/rows_tmpl.h"
#include "kernel/simd/attn_tmpl.h"

void slv_kernels_avx512vnni(struct slv_kernels *k) {
    mm_fill(k);
    rw_fill(k);
    at_fill(k);
}

slv_matmul_fn slv_matmul_avx512vnni(enum slv_form form) { return mm_forms[form]; }
