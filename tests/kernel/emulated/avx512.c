/* avx512.c: the AVX-512 kernels over the emulation of immintrin.h, under another name. */
#define slv_kernels_avx512 slv_emulated_avx512
#include "kernel/x86/kernels_avx512.c"
