/* levels.c: see levels.h. */
#include "levels.h"

#include <stdio.h>
#include <string.h>

typedef void (*fill_fn)(struct slv_kernels *k);

#ifdef SLV_EMULATED
#include "emulated/tiles.h"

/* The level's own file, compiled once more over the emulation (tests/meson.build). */
void slv_emulated_avxvnni(struct slv_kernels *k);
void slv_emulated_avx512(struct slv_kernels *k);
void slv_emulated_avx512vnni(struct slv_kernels *k);
void slv_emulated_amx(struct slv_kernels *k);
bool slv_emulated_amx_works(void);
#define EMULATED(name) slv_emulated_##name
#else
#define EMULATED(name) NULL
#endif

/* The levels of this architecture, as the tests want them. */
static const struct {
    enum slv_cpu_level level;
    bool emulated;
    fill_fn fill; /* of an emulated one; NULL: this build has no emulation */
} known[] = {
#if defined(__x86_64__)
    {SLV_CPU_SSE4, false, NULL},       {SLV_CPU_AVX2, false, NULL},
    {SLV_CPU_AVXVNNI, false, NULL},    {SLV_CPU_AVXVNNI, true, EMULATED(avxvnni)},
    {SLV_CPU_AVX512, false, NULL},     {SLV_CPU_AVX512, true, EMULATED(avx512)},
    {SLV_CPU_AVX512VNNI, false, NULL}, {SLV_CPU_AVX512VNNI, true, EMULATED(avx512vnni)},
    {SLV_CPU_AMX, false, NULL},        {SLV_CPU_AMX, true, EMULATED(amx)},
#elif defined(__aarch64__)
    {SLV_CPU_NEON, false, NULL},
    {SLV_CPU_DOTPROD, false, NULL},
    {SLV_CPU_I8MM, false, NULL},
#endif
};
#define KNOWN (sizeof known / sizeof known[0])

/* Whether the list has every level that the build knows for this architecture. */
bool subjects_complete(void) {
#if defined(__x86_64__)
    const int first = SLV_CPU_SSE4, last = SLV_CPU_AMX;
#elif defined(__aarch64__)
    const int first = SLV_CPU_NEON, last = SLV_CPU_LEVELS - 1;
#else
    const int first = 1, last = 0;
#endif
    for (int level = first; level <= last; level++) {
        bool found = false;
        for (size_t i = 0; i < KNOWN; i++)
            found = found || (known[i].level == (enum slv_cpu_level)level && !known[i].emulated);
        if (!found) return false;
    }
    return true;
}

static void fill_emulated(struct slv_kernels *k, enum slv_cpu_level level, fill_fn fill) {
    *k = (struct slv_kernels){.level = level};
    slv_kernels_scalar_matmul(k);
    slv_kernels_scalar_rows(k);
    slv_kernels_scalar_attn(k);
#ifdef SLV_EMULATED
    if (level == SLV_CPU_AMX) slv_emulated_avx512vnni(k);
#endif
    fill(k);
}

size_t subjects_init(struct subject *ret) {
    size_t n = 0;
    for (; n < KNOWN; n++) {
        struct subject *s = &ret[n];
        *s = (struct subject){.level = known[n].level, .emulated = known[n].emulated};
        snprintf(s->name, sizeof s->name, "%s%s", slv_cpu_name(s->level),
                 s->emulated ? " (emulated)" : "");
        if (!s->emulated && !slv_cpu_has(s->level)) s->missing = "this machine does not have it";
        else if (s->emulated && !known[n].fill) s->missing = "no SIMDe to emulate it with";
        else if (s->emulated && !slv_cpu_has(SLV_CPU_AVX2)) s->missing = "emulation needs AVX2";
        else if (s->emulated) fill_emulated(&s->k, s->level, known[n].fill);
        else slv_kernels_init(&s->k, s->level);
    }
    return n;
}

#ifdef SLV_EMULATED
bool emulation_sound(const struct subject *s) {
    return !s->emulated || (tile_released() && !tile_faults());
}

bool emulation_used(const struct subject *s) {
    return !s->emulated || s->level != SLV_CPU_AMX || (tile_products() && slv_emulated_amx_works());
}
#else
bool emulation_sound(const struct subject *s) { return !s->emulated; }
bool emulation_used(const struct subject *s) { return !s->emulated; }
#endif

size_t subject_coverage(const struct subject *s, const struct slv_kernels *definition,
                        size_t n_shapes, bool *ret_whole) {
    size_t n = 0;
    bool own = true;
    for (int form = 0; form < SLV_FORM_COUNT; form++) {
        own = own && s->k.matmul[form] != definition->matmul[form];
        for (size_t shape = 0; shape < n_shapes; shape++)
            n += s->covered[form] >> shape & 1;
    }
    *ret_whole = own && n == n_shapes * SLV_FORM_COUNT;
    return n;
}
