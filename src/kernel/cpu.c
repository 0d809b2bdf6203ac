/* cpu.c: see cpu.h. Sources: Intel SDM vol. 2 (CPUID), vol. 1 chapters 13 (XCR0) and 18 (AMX);
 * Linux hwcaps and Documentation/arch/x86/xstate.rst. */
#include "kernel/cpu.h"
#include "kernel/kernels.h"

#include <string.h>
#include <strings.h>

#if defined(__x86_64__)
#include <cpuid.h>
#define AMX_TILE (1u << 24)
#define AMX_INT8 (1u << 25)
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#define HWCAP_DOTPROD (1ul << 20)
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1ul << 13)
#endif
#endif

static const char *const names[SLV_CPU_LEVELS] = {
    [SLV_CPU_SCALAR] = "scalar",   [SLV_CPU_SSE4] = "sse4",     [SLV_CPU_AVX2] = "avx2",
    [SLV_CPU_AVXVNNI] = "avxvnni", [SLV_CPU_AVX512] = "avx512", [SLV_CPU_AVX512VNNI] = "avx512vnni",
    [SLV_CPU_AMX] = "amx",         [SLV_CPU_NEON] = "neon",     [SLV_CPU_DOTPROD] = "dotprod",
    [SLV_CPU_I8MM] = "i8mm",
};

const char *slv_cpu_name(enum slv_cpu_level level) { return names[level]; }

#define BIT(level) (1u << (level))

#if defined(__x86_64__)
static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool all(uint32_t reg, uint32_t bits) { return (reg & bits) == bits; }

/* Linux saves tiles only for processes that asked. Asking again is harmless. */
static bool amx_permitted(void) {
#if defined(__linux__)
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
#else
    return false;
#endif
}

/* What of AVX2 and above there is, where XMM and YMM state is saved. */
static uint32_t avx_levels(uint64_t saved) {
    uint32_t has = 0, a, b, c, d, a1 = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, bit_AVX2)) return 0;
    has |= BIT(SLV_CPU_AVX2);
    uint32_t b7 = b, c7 = c, d7 = d, subleaves = a;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) a1 = a;
    if (all(a1, bit_AVXVNNI)) has |= BIT(SLV_CPU_AVXVNNI);
    if ((saved & 0xe0) != 0xe0) return has; /* opmask and ZMM state */
    if (!all(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ)) return has;
    has |= BIT(SLV_CPU_AVX512);
    if (!all(c7, bit_AVX512VNNI)) return has;
    has |= BIT(SLV_CPU_AVX512VNNI);
    if ((saved & 0x60000) != 0x60000) return has; /* tile configuration and data */
    if (all(d7, AMX_TILE | AMX_INT8) && amx_permitted() && slv_amx_works()) has |= BIT(SLV_CPU_AMX);
    return has;
}

uint32_t slv_cpu_levels(void) {
    uint32_t has = BIT(SLV_CPU_SCALAR), a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all(c, bit_SSSE3 | bit_SSE4_1)) return has;
    has |= BIT(SLV_CPU_SSE4);
    if (!all(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return has;
    uint64_t saved = xcr0();
    if ((saved & 0x6) != 0x6) return has; /* XMM and YMM state */
    return has | avx_levels(saved);
}
#elif defined(__aarch64__)
uint32_t slv_cpu_levels(void) {
    uint32_t has = BIT(SLV_CPU_SCALAR) | BIT(SLV_CPU_NEON);
#if defined(__linux__)
    if (!(getauxval(AT_HWCAP) & HWCAP_DOTPROD)) return has;
    has |= BIT(SLV_CPU_DOTPROD);
    if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) has |= BIT(SLV_CPU_I8MM);
#endif
    return has;
}
#else
uint32_t slv_cpu_levels(void) { return BIT(SLV_CPU_SCALAR); }
#endif

bool slv_cpu_has(enum slv_cpu_level level) { return slv_cpu_levels() & BIT(level); }

/* Levels of which there is no code, by the level that comes before them. SVE: lanes are the sixteen
 * rows of a tile, a fixed count, so registers of unknown length gain nothing over i8mm and NEON. */
static const struct {
    const char *name;
    enum slv_cpu_level after;
} others[] = {
    {"sve", SLV_CPU_I8MM},
};

/* The level a cap names, or the one that comes before; *ret_named says which. */
static int find_level(const char *cap, enum slv_cpu_level *ret, bool *ret_named) {
    for (int level = 0; level < SLV_CPU_LEVELS; level++)
        if (!strcasecmp(cap, names[level])) {
            *ret = (enum slv_cpu_level)level;
            *ret_named = true;
            return 0;
        }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!strcasecmp(cap, others[i].name)) {
            *ret = others[i].after;
            *ret_named = false;
            return 0;
        }
    return SLV_E_USAGE;
}

static int best_of(uint32_t levels, int top) {
    while (top > 0 && !(levels & BIT(top)))
        top--;
    return top;
}

int slv_cpu_choose_of(uint32_t levels, const char *cap, enum slv_cpu_level *ret,
                      bool *ret_lowered) {
    enum slv_cpu_level top = SLV_CPU_LEVELS - 1;
    bool named = true;
    if (!cap) {
        *ret = (enum slv_cpu_level)best_of(levels, top);
        *ret_lowered = false;
        return 0;
    }
    int rc = find_level(cap, &top, &named);
    if (rc) return rc;
    *ret_lowered = !named || !(levels & BIT(top));
    const bool arm_cap = top >= SLV_CPU_NEON, arm = levels >= BIT(SLV_CPU_NEON);
    if (top != SLV_CPU_SCALAR && arm_cap != arm) top = SLV_CPU_LEVELS - 1;
    *ret = (enum slv_cpu_level)best_of(levels, top);
    return 0;
}

int slv_cpu_choose(const char *cap, enum slv_cpu_level *ret, bool *ret_lowered) {
    return slv_cpu_choose_of(slv_cpu_levels(), cap, ret, ret_lowered);
}
