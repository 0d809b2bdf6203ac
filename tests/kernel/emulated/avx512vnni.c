/* avx512vnni.c: the AVX-512 VNNI kernels over the emulation of immintrin.h, under another name. */
#define EMULATE_VNNI
#define slv_kernels_avx512vnni slv_emulated_avx512vnni
#define slv_matmul_avx512vnni slv_emulated_matmul_avx512vnni
#include "kernel/x86/kernels_avx512vnni.c"
