/* sum.c: see sum.h. Written so that compilers turn the inner loop into vector instructions. */
#include "base/sum.h"

#include <string.h>

#define LANES 16
#define ROW (LANES * sizeof(uint64_t))

uint64_t slv_sum_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The word as it lies in memory, lowest byte first. */
static uint64_t word(uint64_t w) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

static void add_rows(uint64_t lanes[LANES], const unsigned char *p, size_t rows) {
    uint64_t s[LANES];
    memcpy(s, lanes, sizeof s);
    for (size_t i = 0; i < rows; i++, p += ROW) {
        uint64_t w[LANES];
        memcpy(w, p, sizeof w);
        for (size_t k = 0; k < LANES; k++) {
            uint64_t x = s[k] + word(w[k]);
            x ^= x >> 29;
            s[k] = x + (x << 21);
        }
    }
    memcpy(lanes, s, sizeof s);
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
