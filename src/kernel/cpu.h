/* cpu.h: which instruction sets this machine has, and the cap a user puts on them.
 *
 * Levels of one architecture are ordered: a machine at a level has all lower ones of its kind.
 * Detection includes what the operating system saves on a context switch (XCR0, hwcaps). */
#ifndef SLV_KERNEL_CPU_H
#define SLV_KERNEL_CPU_H

#include "selvage.h"

enum slv_cpu_level {
    SLV_CPU_SCALAR,
    SLV_CPU_SSE4,       /* SSE4.1 and SSSE3 */
    SLV_CPU_AVX2,       /* AVX2, FMA, F16C */
    SLV_CPU_AVX512,     /* AVX-512 F, BW, VL, DQ */
    SLV_CPU_AVX512VNNI, /* the same and AVX-512 VNNI */
    SLV_CPU_NEON,       /* ARMv8.0 */
    SLV_CPU_DOTPROD,    /* ARMv8.2 dot product */
    SLV_CPU_LEVELS
};

/* "scalar", "avx2", ...: what SLV_CPU accepts. Never NULL. */
const char *slv_cpu_name(enum slv_cpu_level level);

/* Whether code of that level runs here. */
bool slv_cpu_has(enum slv_cpu_level level);

/* The best level this machine has that is not above `cap`, a name or NULL for no cap. A cap of
 * another architecture's or above the machine's is the best there is, with *ret_lowered true; an
 * unknown name is SLV_E_USAGE. */
int slv_cpu_choose(const char *cap, enum slv_cpu_level *ret, bool *ret_lowered) SLV_MUST_USE;

#endif
