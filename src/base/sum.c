/* sum.c: see sum.h. In vectors, so that memory is the limit and not the sum. */
#include "base/sum.h"

#include <string.h>

#define LANES 16
#define ROW (LANES * sizeof(uint64_t))

uint64_t slv_sum_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Four lanes and the bytes they take, words lowest byte first. */
typedef uint64_t four __attribute__((vector_size(32)));
#define FOURS (LANES / 4)
#define INLINE static inline __attribute__((always_inline))

INLINE void load(const void *p, four *ret) {
    memcpy(ret, p, sizeof *ret);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (size_t k = 0; k < 4; k++)
        (*ret)[k] = __builtin_bswap64((*ret)[k]);
#endif
}

INLINE void add(four *s, const unsigned char *p) {
    four w;
    load(p, &w);
    w += *s;
    w ^= w >> 29;
    *s = w + (w << 21);
}

/* In registers, so one name a vector: compilers leave arrays of them in memory. */
INLINE void rows_of(uint64_t lanes[LANES], const unsigned char *p, size_t rows) {
    four s0, s1, s2, s3;
    _Static_assert(FOURS == 4, "one name each");
    memcpy(&s0, lanes, sizeof s0);
    memcpy(&s1, lanes + 4, sizeof s1);
    memcpy(&s2, lanes + 8, sizeof s2);
    memcpy(&s3, lanes + 12, sizeof s3);
    for (size_t i = 0; i < rows; i++, p += ROW) {
        add(&s0, p);
        add(&s1, p + 32);
        add(&s2, p + 64);
        add(&s3, p + 96);
    }
    memcpy(lanes, &s0, sizeof s0);
    memcpy(lanes + 4, &s1, sizeof s1);
    memcpy(lanes + 8, &s2, sizeof s2);
    memcpy(lanes + 12, &s3, sizeof s3);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void rows_avx2(uint64_t lanes[LANES], const unsigned char *p,
                                                      size_t rows) {
    rows_of(lanes, p, rows);
}
#endif

static void add_rows(uint64_t lanes[LANES], const unsigned char *p, size_t rows) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        rows_avx2(lanes, p, rows);
        return;
    }
#endif
    rows_of(lanes, p, rows);
}

uint64_t slv_sum64(const void *p, size_t n, uint64_t seed) {
    uint64_t lanes[LANES];
    unsigned char last[ROW] = {0};
    for (size_t k = 0; k < LANES; k++)
        lanes[k] = slv_sum_mix(seed + (k + 1) * 0x9e3779b97f4a7c15u);
    add_rows(lanes, p, n / ROW);
    if (n % ROW) {
        memcpy(last, (const unsigned char *)p + n / ROW * ROW, n % ROW);
        add_rows(lanes, last, 1);
    }
    uint64_t sum = slv_sum_mix(seed ^ slv_sum_mix(n));
    for (size_t k = 0; k < LANES; k++)
        sum = slv_sum_mix(sum ^ lanes[k]) + k;
    return sum;
}
