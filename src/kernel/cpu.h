/* cpu.h: which instruction sets this machine has, and the cap a user puts on them.
 *
 * Levels of one architecture are listed from the slowest to the fastest, but they are no ladder: a
 * machine may have AVX-512 without AVX-VNNI, or the other way round. What a level builds on (each
 * row's comment) is always there with it.
 *
 * Detection includes what the operating system saves on a context switch (XCR0, hwcaps). */
#ifndef SLV_KERNEL_CPU_H
#define SLV_KERNEL_CPU_H

#include "selvage.h"

enum slv_cpu_level {
    SLV_CPU_SCALAR,
    SLV_CPU_SSE4,       /* SSE4.1 and SSSE3 */
    SLV_CPU_AVX2,       /* SSE4; AVX2, FMA, F16C */
    SLV_CPU_AVXVNNI,    /* AVX2; AVX-VNNI */
    SLV_CPU_AVX512,     /* AVX2; AVX-512 F, BW, VL, DQ */
    SLV_CPU_AVX512VNNI, /* AVX512; AVX-512 VNNI */
    SLV_CPU_AMX,        /* AVX512VNNI; AMX tiles and int8, which the system permits */
    SLV_CPU_NEON,       /* ARMv8.0 */
    SLV_CPU_DOTPROD,    /* NEON; ARMv8.2 dot product */
    SLV_CPU_I8MM,       /* DOTPROD; ARMv8.6 matrix products of int8 */
    SLV_CPU_LEVELS
};

/* "scalar", "avx2", ...: what SLV_CPU accepts. Never NULL. */
const char *slv_cpu_name(enum slv_cpu_level level);

/* The levels whose code runs here: bit 1 << level for each, always that of scalar. Where there is
 * AMX this asks the system for leave to use it, for the whole process, and tries it out; if either
 * fails there is none. */
uint32_t slv_cpu_levels(void);

/* Whether code of that level runs here. */
bool slv_cpu_has(enum slv_cpu_level level);

/* The best level this machine has that is not above `cap` in the list, a name in any case or NULL
 * for no cap. A cap of another architecture is no cap. *ret_lowered: the machine has not what the
 * cap names. An unknown name is SLV_E_USAGE. */
int slv_cpu_choose(const char *cap, enum slv_cpu_level *ret, bool *ret_lowered) SLV_MUST_USE;

/* The same for a machine that has `levels` (slv_cpu_levels). */
int slv_cpu_choose_of(uint32_t levels, const char *cap, enum slv_cpu_level *ret,
                      bool *ret_lowered) SLV_MUST_USE;

#endif
