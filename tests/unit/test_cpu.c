/* test_cpu.c: which level a machine and a cap give. Levels are no ladder, so that machines are made
 * up here: with AVX-512 and without AVX-VNNI, and the other way round.
 *
 * What a user would lose: a program that runs at all on a processor of another make, and SLV_CPU to
 * hold it to the code of a slower one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/cpu.h"

#include <string.h>

#define HAS(level) (1u << SLV_CPU_##level)
#define ZEN3 (HAS(SCALAR) | HAS(SSE4) | HAS(AVX2))
#define ALDER_LAKE (ZEN3 | HAS(AVXVNNI))
#define SKYLAKE_X (ZEN3 | HAS(AVX512))
#define ICE_LAKE (SKYLAKE_X | HAS(AVX512VNNI))
#define ZEN5 (ICE_LAKE | HAS(AVXVNNI))
#define SAPPHIRE_RAPIDS (ZEN5 | HAS(AMX))
#define PENTIUM_4 HAS(SCALAR)
#define A72 (HAS(SCALAR) | HAS(NEON))
#define N1 (A72 | HAS(DOTPROD))
#define V1 (N1 | HAS(I8MM))

static void best_level_at_or_below_the_cap(void **unused) {
    (void)unused;
    static const struct {
        uint32_t levels;
        const char *cap, *level;
        bool lowered;
    } cases[] = {
        {ZEN3, NULL, "avx2", false},
        {ZEN3, "avx2", "avx2", false},
        {ZEN3, "sse4", "sse4", false},
        {ZEN3, "SCALAR", "scalar", false},
        {ZEN3, "avxvnni", "avx2", true},
        {ZEN3, "amx", "avx2", true},
        {ALDER_LAKE, NULL, "avxvnni", false},
        {ALDER_LAKE, "avx2", "avx2", false},
        {ALDER_LAKE, "avx512", "avxvnni", true},
        {SKYLAKE_X, NULL, "avx512", false},
        {SKYLAKE_X, "avxvnni", "avx2", true},
        {SKYLAKE_X, "avx512vnni", "avx512", true},
        {ICE_LAKE, NULL, "avx512vnni", false},
        {ICE_LAKE, "avx512", "avx512", false},
        {ICE_LAKE, "avxvnni", "avx2", true},
        {ICE_LAKE, "amx", "avx512vnni", true},
        {ZEN5, "avxvnni", "avxvnni", false},
        {ZEN5, NULL, "avx512vnni", false},
        {SAPPHIRE_RAPIDS, NULL, "amx", false},
        {SAPPHIRE_RAPIDS, "AMX", "amx", false},
        {SAPPHIRE_RAPIDS, "avx512vnni", "avx512vnni", false},
        {SAPPHIRE_RAPIDS, "avxvnni", "avxvnni", false},
        {SAPPHIRE_RAPIDS, "i8mm", "amx", true},
        {PENTIUM_4, NULL, "scalar", false},
        {PENTIUM_4, "avx512", "scalar", true},
        {A72, NULL, "neon", false},
        {A72, "dotprod", "neon", true},
        {N1, NULL, "dotprod", false},
        {N1, "neon", "neon", false},
        {N1, "i8mm", "dotprod", true},
        {N1, "sve", "dotprod", true},
        {N1, "scalar", "scalar", false},
        {V1, NULL, "i8mm", false},
        {V1, "dotprod", "dotprod", false},
        {V1, "sve", "i8mm", true},
        /* Another architecture's caps say nothing here. */
        {N1, "avx2", "dotprod", true},
        {ZEN3, "neon", "avx2", true},
        {ICE_LAKE, "sve", "avx512vnni", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum slv_cpu_level level = SLV_CPU_LEVELS;
        bool lowered = !cases[i].lowered;
        assert_int_equal(slv_cpu_choose_of(cases[i].levels, cases[i].cap, &level, &lowered), 0);
        if (strcmp(slv_cpu_name(level), cases[i].level) || lowered != cases[i].lowered)
            fail_msg("case %zu, cap %s: %s%s", i, cases[i].cap ? cases[i].cap : "(none)",
                     slv_cpu_name(level), lowered ? ", lowered" : "");
    }
}

static void unknown_caps_are_refused(void **unused) {
    (void)unused;
    static const char *const caps[] = {"", "avx", "avx9000", "avx2 ", "neon2", "best"};
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        enum slv_cpu_level level = SLV_CPU_LEVELS;
        bool lowered = true;
        assert_int_equal(slv_cpu_choose(caps[i], &level, &lowered), SLV_E_USAGE);
        assert_int_equal(level, SLV_CPU_LEVELS);
        assert_true(lowered);
    }
}

/* Whatever is chosen, its code runs here, and what it builds on too. */
static void this_machine_has_what_is_chosen(void **unused) {
    (void)unused;
    const uint32_t levels = slv_cpu_levels();
    assert_true(levels & HAS(SCALAR));
    for (int cap = 0; cap < SLV_CPU_LEVELS; cap++) {
        enum slv_cpu_level level;
        bool lowered;
        assert_int_equal(slv_cpu_choose(slv_cpu_name((enum slv_cpu_level)cap), &level, &lowered),
                         0);
        assert_true(slv_cpu_has(level));
        assert_int_equal(lowered, !(levels >> cap & 1));
    }
    static const struct {
        enum slv_cpu_level level, on;
    } builds[] = {{SLV_CPU_AVX2, SLV_CPU_SSE4},      {SLV_CPU_AVXVNNI, SLV_CPU_AVX2},
                  {SLV_CPU_AVX512, SLV_CPU_AVX2},    {SLV_CPU_AVX512VNNI, SLV_CPU_AVX512},
                  {SLV_CPU_AMX, SLV_CPU_AVX512VNNI}, {SLV_CPU_DOTPROD, SLV_CPU_NEON},
                  {SLV_CPU_I8MM, SLV_CPU_DOTPROD}};
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++)
        if (slv_cpu_has(builds[i].level)) assert_true(slv_cpu_has(builds[i].on));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_level_at_or_below_the_cap),
        cmocka_unit_test(unknown_caps_are_refused),
        cmocka_unit_test(this_machine_has_what_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
