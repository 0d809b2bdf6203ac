/* amount.c: see amount.h. */
#include "base/amount.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS_MAX ((uint64_t)3650 * 86400 * 1000)

bool slv_amount_size(const char *s, uint64_t *ret) {
    static const char units[] = "KMGT";
    char *end;
    if (!isdigit((unsigned char)*s)) return false;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10), part = 0, of = 1;
    if (errno) return false;
    bool fraction = *end == '.' && isdigit((unsigned char)end[1]);
    for (end += fraction; fraction && isdigit((unsigned char)*end); end++) {
        if (of == 1000000) continue; /* more digits are less than a byte of a megabyte */
        part = part * 10 + (unsigned)(*end - '0');
        of *= 10;
    }
    if (fraction && !*end) return false; /* of a byte */
    if (*end) {
        const char *u = strchr(units, toupper((unsigned char)*end));
        uint64_t unit = u ? UINT64_C(1) << (10 * (u - units + 1)) : 1;
        if (u) end++;
        if (u && end[0] == 'i' && end[1] == 'B') end++;
        if (*end == 'B') end++;
        if (*end || (fraction && !u) || __builtin_mul_overflow(v, unit, &v)) return false;
        if (__builtin_add_overflow(v, unit / of * part + unit % of * part / of, &v)) return false;
    }
    if (v > INT64_MAX) return false;
    *ret = v;
    return true;
}

static const struct {
    char unit;
    uint64_t ms;
} times[] = {{'d', 86400000}, {'h', 3600000}, {'m', 60000}, {'s', 1000}};
#define TIMES (sizeof times / sizeof *times)

uint64_t slv_amount_ms(struct slv_str t) {
    uint64_t unit = 1000, n = 0;
    for (size_t i = 0; i < TIMES && t.n; i++)
        if (t.p[t.n - 1] == times[i].unit) {
            unit = times[i].ms;
            t.n--;
            break;
        }
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] < '0' || t.p[i] > '9' || n > MS_MAX) return 0;
        n = 10 * n + (uint64_t)(t.p[i] - '0');
    }
    return n <= MS_MAX / unit ? n * unit : 0;
}

const char *slv_amount_ms_text(uint64_t ms, char ret[SLV_AMOUNT_MS_TEXT]) {
    size_t i = 0;
    ms -= ms % 1000;
    while (i < TIMES - 1 && (ms % times[i].ms || ms < times[i].ms))
        i++;
    snprintf(ret, SLV_AMOUNT_MS_TEXT, "%" PRIu64 "%c", ms / times[i].ms, times[i].unit);
    return ret;
}
