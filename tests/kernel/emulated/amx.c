/* amx.c: the AMX kernels over the emulation of immintrin.h, under another name. */
#define EMULATE_VNNI
#define EMULATE_AMX
#define slv_kernels_amx slv_emulated_amx
#define slv_matmul_avx512vnni slv_emulated_matmul_avx512vnni
#define slv_amx_works slv_emulated_amx_works
#include "kernel/x86/kernels_amx.c"
