/* tiles.c: see tiles.h. */
#include "tiles.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define TILES 8
#define ROWS_MAX 16
#define BYTES_MAX 64

/* The operand of LDTILECFG. */
struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t colsb[16];
    uint8_t rows[16];
};
_Static_assert(sizeof(struct config) == 64, "as the instruction reads it");

static _Thread_local struct config now; /* palette 0: released */
static _Thread_local uint8_t data[TILES][ROWS_MAX][BYTES_MAX];
static atomic_long faults, products;

static bool fault(bool wrong, const char *what, int t) {
    if (wrong && atomic_fetch_add(&faults, 1) < 10) printf("# tile %d: %s\n", t, what);
    return wrong;
}

void tile_config(const void *config) {
    static const uint8_t none[14];
    struct config c;
    memcpy(&c, config, sizeof c);
    bool wrong = fault(c.palette > 1, "no such palette", -1) ||
                 fault(c.start_row, "a start row", -1) ||
                 fault(memcmp(c.reserved, none, sizeof none), "reserved bytes", -1);
    for (int t = 0; t < 16 && !wrong; t++)
        wrong = t < TILES ? fault(c.colsb[t] > BYTES_MAX || c.rows[t] > ROWS_MAX, "too large", t) ||
                                fault(!c.colsb[t] != !c.rows[t], "rows without bytes", t)
                          : fault(c.colsb[t] || c.rows[t], "no such register", t);
    if (wrong) return;
    now = c;
    memset(data, 0, sizeof data);
}

void tile_release(void) {
    memset(&now, 0, sizeof now);
    memset(data, 0, sizeof data);
}

static bool usable(int t) {
    return !fault(!now.palette, "used without a configuration", t) &&
           !fault(t < 0 || t >= TILES, "no such register", t) &&
           !fault(!now.rows[t], "used and not configured", t);
}

void tile_load(int t, const void *base, ptrdiff_t stride) {
    if (!usable(t)) return;
    memset(data[t], 0, sizeof data[t]);
    for (int r = 0; r < now.rows[t]; r++)
        memcpy(data[t][r], (const char *)base + r * stride, now.colsb[t]);
}

void tile_store(int t, void *base, ptrdiff_t stride) {
    if (!usable(t)) return;
    for (int r = 0; r < now.rows[t]; r++)
        memcpy((char *)base + r * stride, data[t][r], now.colsb[t]);
}

void tile_zero(int t) {
    if (usable(t)) memset(data[t], 0, sizeof data[t]);
}

static bool fit(int c, int a, int b) {
    return !fault(c == a || c == b || a == b, "the same register twice", c) &&
           !fault(now.colsb[a] % 4 || now.colsb[b] % 4, "bytes that are no multiple of 4", a) &&
           !fault(now.rows[c] != now.rows[a], "other rows than the sums", a) &&
           !fault(now.colsb[c] != now.colsb[b], "other columns than the sums", b) &&
           !fault(now.colsb[a] / 4 != now.rows[b], "other rows than there are to multiply", b);
}

static int32_t number(uint8_t byte, bool with_sign) { return with_sign ? (int8_t)byte : byte; }

void tile_dp(int c, int a, int b, bool a_signed, bool b_signed) {
    if (!usable(c) || !usable(a) || !usable(b) || !fit(c, a, b)) return;
    atomic_fetch_add(&products, 1);
    for (int m = 0; m < now.rows[c]; m++)
        for (int n = 0; n < now.colsb[c] / 4; n++) {
            uint32_t sum;
            memcpy(&sum, data[c][m] + 4 * n, 4);
            for (int k = 0; k < now.colsb[a]; k++)
                sum += (uint32_t)(number(data[a][m][k], a_signed) *
                                  number(data[b][k / 4][4 * n + k % 4], b_signed));
            memcpy(data[c][m] + 4 * n, &sum, 4);
        }
}

long tile_faults(void) { return atomic_load(&faults); }
bool tile_released(void) { return !now.palette; }
long tile_products(void) { return atomic_load(&products); }
