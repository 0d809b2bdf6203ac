/* immintrin.h, of the tests: the intrinsics of instruction sets that this machine may not have,
 * over those of AVX2, FMA and F16C. A kernel file of AVX-512 or AVX-VNNI that is compiled with this
 * folder first in the path runs on any machine that has AVX2, and is what it is but for the
 * instructions.
 *
 * Most of it is SIMDe (package libsimde-dev), which gives the compiler's own names to its
 * functions; here is what SIMDe 0.7.4 lacks, from halves of 256 bits. What neither has does not
 * compile: the compiler refuses its own intrinsic without the option that goes with it.
 *
 * EMULATE_VNNI, EMULATE_AVXVNNI, EMULATE_AMX (with VNNI; tiles.h): the level that the including
 * file is compiled for.
 *
 * Source: Intel Intrinsics Guide; SDM vol. 2.
 */
#ifndef SLV_TEST_IMMINTRIN_H
#define SLV_TEST_IMMINTRIN_H

#include_next <immintrin.h>

#define SIMDE_NO_INLINE /* inlined it takes minutes to compile */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "the emulation is exact only over AVX2, FMA and F16C"
#endif

#define EMULATED static inline __attribute__((always_inline, unused))

typedef struct {
    __m256 a, b;
} emulated_ps;
typedef struct {
    __m256i a, b;
} emulated_si;

EMULATED emulated_ps halves_ps(__m512 x) {
    emulated_ps h;
    __builtin_memcpy(&h, &x, sizeof h);
    return h;
}
EMULATED emulated_si halves_si(__m512i x) {
    emulated_si h;
    __builtin_memcpy(&h, &x, sizeof h);
    return h;
}
EMULATED __m512 join_ps(__m256 a, __m256 b) {
    const emulated_ps h = {a, b};
    __m512 x;
    __builtin_memcpy(&x, &h, sizeof x);
    return x;
}
EMULATED __m512i join_si(__m256i a, __m256i b) {
    const emulated_si h = {a, b};
    __m512i x;
    __builtin_memcpy(&x, &h, sizeof x);
    return x;
}

/* --- conversions --- */

EMULATED __m512 emulated_cvtepi32_ps(__m512i x) {
    const emulated_si h = halves_si(x);
    return join_ps(_mm256_cvtepi32_ps(h.a), _mm256_cvtepi32_ps(h.b));
}
EMULATED __m512i emulated_cvtps_epi32(__m512 x) {
    const emulated_ps h = halves_ps(x);
    return join_si(_mm256_cvtps_epi32(h.a), _mm256_cvtps_epi32(h.b));
}
EMULATED __m512i emulated_cvtepi8_epi32(__m128i x) {
    return join_si(_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)));
}
EMULATED __m512i emulated_cvtepu16_epi32(__m256i x) {
    return join_si(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(x)),
                   _mm256_cvtepu16_epi32(_mm256_extracti128_si256(x, 1)));
}
EMULATED __m128i emulated_cvtepi32_epi8(__m512i x) { /* the lowest byte of each */
    int32_t wide[16];
    int8_t narrow[16];
    __builtin_memcpy(wide, &x, sizeof wide);
    for (int i = 0; i < 16; i++)
        narrow[i] = (int8_t)(wide[i] & 0xff);
    return _mm_loadu_si128((const __m128i *)(const void *)narrow);
}
EMULATED __m512 emulated_cvtph_ps(__m256i x) {
    return join_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(x)),
                   _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1)));
}
EMULATED __m256i emulated_cvtps_ph(__m512 x) { /* to nearest even */
    const emulated_ps h = halves_ps(x);
    return _mm256_set_m128i(_mm256_cvtps_ph(h.b, _MM_FROUND_TO_NEAREST_INT),
                            _mm256_cvtps_ph(h.a, _MM_FROUND_TO_NEAREST_INT));
}

/* --- the rest --- */

EMULATED __m512i emulated_srai_epi32(__m512i x, unsigned n) {
    const emulated_si h = halves_si(x);
    return join_si(_mm256_srai_epi32(h.a, (int)n), _mm256_srai_epi32(h.b, (int)n));
}
EMULATED __m256 emulated_extractf32x8_ps(__m512 x, int i) {
    const emulated_ps h = halves_ps(x);
    return i ? h.b : h.a;
}
EMULATED uint16_t emulated_mask_cmplt(uint16_t mask, __m512i x, __m512i y) {
    const emulated_si a = halves_si(x), b = halves_si(y);
    const int lo = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.a, a.a)));
    const int hi = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.b, a.b)));
    return (uint16_t)(mask & (lo | hi << 8));
}
EMULATED int emulated_reduce_add_epi32(__m512i x) {
    int32_t lane[16];
    uint32_t sum = 0;
    __builtin_memcpy(lane, &x, sizeof lane);
    for (int i = 0; i < 16; i++)
        sum += (uint32_t)lane[i];
    return (int)sum;
}
EMULATED unsigned emulated_reduce_max_epu32(__m512i x) {
    uint32_t lane[16], most = 0;
    __builtin_memcpy(lane, &x, sizeof lane);
    for (int i = 0; i < 16; i++)
        most = lane[i] > most ? lane[i] : most;
    return most;
}
EMULATED float emulated_reduce_max_ps(__m512 x) {
    float lane[16], most;
    __builtin_memcpy(lane, &x, sizeof lane);
    most = lane[0];
    for (int i = 1; i < 16; i++)
        most = most > lane[i] ? most : lane[i];
    return most;
}

#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 emulated_cvtepi32_epi8
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps emulated_cvtph_ps
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(x, rounding)                                                               \
    ((void)sizeof(char[(rounding) == _MM_FROUND_TO_NEAREST_INT ? 1 : -1]), emulated_cvtps_ph(x))
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 emulated_srai_epi32
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps
#undef _mm512_mask_cmplt_epi32_mask
#define _mm512_mask_cmplt_epi32_mask emulated_mask_cmplt
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32 emulated_reduce_add_epi32
#undef _mm512_reduce_max_epu32
#define _mm512_reduce_max_epu32 emulated_reduce_max_epu32
#undef _mm512_reduce_max_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
/* SIMDe 0.7.4 gives this name the arguments of another. */
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 simde_mm512_madd_epi16

#ifdef EMULATE_VNNI
#define __AVX512VNNI__ 1
#endif
#ifdef EMULATE_AMX
#include "tiles.h"
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbssd
#undef _tile_dpbsud
#define _tile_loadconfig tile_config
#define _tile_release tile_release
#define _tile_loadd tile_load
#define _tile_stored tile_store
#define _tile_zero tile_zero
#define _tile_dpbssd(c, a, b) tile_dp(c, a, b, true, true)
#define _tile_dpbsud(c, a, b) tile_dp(c, a, b, true, false)
#endif
#ifdef EMULATE_AVXVNNI
#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define _mm256_dpwssd_avx_epi32 simde_mm256_dpwssd_epi32
#endif

#endif
