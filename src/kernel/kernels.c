/* kernels.c: the table of a level, and the state of floating-point arithmetic. */
#include "kernel/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* A level's own table is whole, but for amx, and needs none of those below it but scalar. */
void slv_kernels_init(struct slv_kernels *ret, enum slv_cpu_level level) {
    *ret = (struct slv_kernels){.level = level};
    slv_kernels_scalar_matmul(ret);
    slv_kernels_scalar_rows(ret);
    slv_kernels_scalar_attn(ret);
#if defined(__x86_64__)
    if (level == SLV_CPU_SSE4) slv_kernels_sse4(ret);
    if (level == SLV_CPU_AVX2) slv_kernels_avx2(ret);
    if (level == SLV_CPU_AVXVNNI) slv_kernels_avxvnni(ret);
    if (level == SLV_CPU_AVX512) slv_kernels_avx512(ret);
    if (level == SLV_CPU_AVX512VNNI || level == SLV_CPU_AMX) slv_kernels_avx512vnni(ret);
    if (level == SLV_CPU_AMX) slv_kernels_amx(ret);
#elif defined(__aarch64__)
    if (level == SLV_CPU_NEON) slv_kernels_neon(ret);
    if (level == SLV_CPU_DOTPROD) slv_kernels_dotprod(ret);
    if (level == SLV_CPU_I8MM) slv_kernels_i8mm(ret);
#endif
}

uint8_t slv_codes_read(const struct slv_layout *l) {
    const struct slv_form_parts *f = &slv_form_parts[l->form];
    const bool parted = f->sub || f->fsub;
    return (uint8_t)((f->min == 1 ? SLV_CODES_M : 0) | (parted ? 0 : SLV_CODES_LESS) |
                     (f->sub == 16 || f->fsub ? SLV_CODES_SUM : 0) |
                     (f->sub == 32 ? SLV_CODES_SUM32 : 0));
}

#if defined(__x86_64__)
/* MXCSR: bits 13-14 rounding, 15 flush to zero, 6 denormals are zero; exceptions stay masked. */
uint64_t slv_fpenv_enter(void) {
    unsigned old = _mm_getcsr();
    _mm_setcsr((old & ~0xe040u) | 0x1f80u);
    return old;
}

void slv_fpenv_leave(uint64_t old) { _mm_setcsr((unsigned)old); }
#elif defined(__aarch64__)
/* FPCR: bits 22-23 rounding, 24 flush to zero, 25 default NaN. */
uint64_t slv_fpenv_enter(void) {
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old & ~((uint64_t)0xf << 22)));
    return old;
}

void slv_fpenv_leave(uint64_t old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
uint64_t slv_fpenv_enter(void) { return 0; }
void slv_fpenv_leave(uint64_t old) { (void)old; }
#endif
