/* cpu.c: see cpu.h. Sources: Intel SDM vol. 2 (CPUID), vol. 1 chapter 13 (XCR0); Linux hwcaps. */
#include "kernel/cpu.h"

#include <string.h>
#include <strings.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#define HWCAP_DOTPROD (1ul << 20)
#endif

static const char *const names[SLV_CPU_LEVELS] = {
    [SLV_CPU_SCALAR] = "scalar",
    [SLV_CPU_SSE4] = "sse4",
    [SLV_CPU_AVX2] = "avx2",
    [SLV_CPU_AVX512] = "avx512",
    [SLV_CPU_AVX512VNNI] = "avx512vnni",
    [SLV_CPU_NEON] = "neon",
    [SLV_CPU_DOTPROD] = "dotprod",
};

const char *slv_cpu_name(enum slv_cpu_level level) { return names[level]; }

#if defined(__x86_64__)
static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool all(uint32_t reg, uint32_t bits) { return (reg & bits) == bits; }

bool slv_cpu_has(enum slv_cpu_level level) {
    if (level == SLV_CPU_SCALAR) return true;
    if (level > SLV_CPU_AVX512VNNI) return false;
    uint32_t a, b, c, d, b7 = 0, c7 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    uint32_t c1 = c;
    if (!all(c1, bit_SSSE3 | bit_SSE4_1)) return false;
    if (level == SLV_CPU_SSE4) return true;
    if (!all(c1, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return false;
    uint64_t saved = xcr0();
    if ((saved & 0x6) != 0x6) return false; /* XMM and YMM state */
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        b7 = b;
        c7 = c;
    }
    if (!all(b7, bit_AVX2)) return false;
    if (level == SLV_CPU_AVX2) return true;
    if ((saved & 0xe0) != 0xe0) return false; /* opmask and ZMM state */
    if (!all(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ)) return false;
    return level == SLV_CPU_AVX512 || all(c7, bit_AVX512VNNI);
}
#elif defined(__aarch64__)
bool slv_cpu_has(enum slv_cpu_level level) {
    if (level == SLV_CPU_SCALAR || level == SLV_CPU_NEON) return true;
#if defined(__linux__)
    return level == SLV_CPU_DOTPROD && (getauxval(AT_HWCAP) & HWCAP_DOTPROD);
#else
    return false;
#endif
}
#else
bool slv_cpu_has(enum slv_cpu_level level) { return level == SLV_CPU_SCALAR; }
#endif

/* Levels that other machines or builds have: as caps they are above what there is here. */
static bool known_elsewhere(const char *cap) {
    static const char *const others[] = {"avxvnni", "amx", "i8mm", "sve"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!strcasecmp(cap, others[i])) return true;
    return false;
}

int slv_cpu_choose(const char *cap, enum slv_cpu_level *ret, bool *ret_lowered) {
    int top = SLV_CPU_LEVELS - 1;
    if (cap) {
        for (top = 0; top < SLV_CPU_LEVELS; top++)
            if (!strcasecmp(cap, names[top])) break;
        if (top == SLV_CPU_LEVELS && !known_elsewhere(cap)) return SLV_E_USAGE;
        *ret_lowered = top == SLV_CPU_LEVELS || !slv_cpu_has((enum slv_cpu_level)top);
        if (*ret_lowered) top = SLV_CPU_LEVELS - 1;
    } else {
        *ret_lowered = false;
    }
    while (!slv_cpu_has((enum slv_cpu_level)top))
        top--;
    *ret = (enum slv_cpu_level)top;
    return 0;
}
