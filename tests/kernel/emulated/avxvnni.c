/* avxvnni.c: the AVX-VNNI kernels over the emulation of immintrin.h, under another name. */
#define EMULATE_AVXVNNI
#define slv_kernels_avxvnni slv_emulated_avxvnni
#include "kernel/x86/kernels_avxvnni.c"
