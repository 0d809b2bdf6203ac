/* fmath.c: the double-precision functions of fmath.h: plain + - * /, so that every machine gives
 * the same bits. Sources: range reduction after Cody and Waite (1980); log through
 * 2 atanh((m - 1) / (m + 1)); Taylor polynomials long enough for double. */
#include "kernel/fmath.h"

static uint64_t bits64(double d) {
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

static double from_bits64(uint64_t u) {
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

/* Nearest integer, ties to even, for |x| < 2^51. */
static double rne64(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

double slv_exp64(double x) {
    if (x != x) return x;
    if (x > 709.0)
        return x > 709.7 ? from_bits64(0x7ff0000000000000u)
                         : slv_exp64(x - 1) * 0x1.5bf0a8b145769p+1;
    if (x < -708.0) return 0.0;
    double n = rne64(x * 0x1.71547652b82fep+0);
    double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0;
    for (int k = 14; k >= 1; k--)
        p = 1.0 + p * r / (double)k;
    return p * from_bits64((uint64_t)((int64_t)n + 1023) << 52);
}

double slv_log64(double x) {
    if (x != x || x < 0) return from_bits64(0x7ff8000000000000u);
    if (x == 0) return -from_bits64(0x7ff0000000000000u);
    uint64_t u = bits64(x);
    if (u >= 0x7ff0000000000000u) return x;
    int64_t e = 0;
    if (u < 0x0010000000000000u) { /* subnormal */
        u = bits64(x * 0x1p54);
        e = -54;
    }
    e += (int64_t)(u >> 52) - 1023;
    double m = from_bits64((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
    if (m > 0x1.6a09e667f3bcdp+0) { /* keep m near 1: (sqrt(1/2), sqrt(2)] */
        m *= 0.5;
        e++;
    }
    double f = (m - 1.0) / (m + 1.0), f2 = f * f, sum = 0.0;
    for (int k = 25; k >= 3; k -= 2)
        sum = (sum + 1.0 / (double)k) * f2;
    double log_m = 2.0 * f + 2.0 * f * sum;
    return (double)e * 0x1.62e42fee00000p-1 + ((double)e * 0x1.a39ef35793c76p-33 + log_m);
}

double slv_pow64(double x, double y) { return slv_exp64(y * slv_log64(x)); }

/* sin and cos of |r| <= pi / 4. */
static void sincos_small(double r, double *ret_sin, double *ret_cos) {
    double r2 = r * r, s = 1.0, c = 1.0;
    for (int k = 19; k >= 3; k -= 2)
        s = 1.0 - s * r2 / (double)(k * (k - 1));
    for (int k = 20; k >= 2; k -= 2)
        c = 1.0 - c * r2 / (double)(k * (k - 1));
    *ret_sin = r * s;
    *ret_cos = c;
}

void slv_sincos64(double x, double *ret_sin, double *ret_cos) {
    double n = rne64(x * 0x1.45f306dc9c883p-1); /* 2 / pi */
    double r = x - n * 0x1.921fb54400000p+0;    /* pi / 2 in three pieces of 33 bits */
    r -= n * 0x1.0b4611a600000p-34;
    r -= n * 0x1.3198a2e037073p-69;
    double s, c;
    sincos_small(r, &s, &c);
    switch ((int64_t)n & 3) {
    case 0:
        *ret_sin = s;
        *ret_cos = c;
        break;
    case 1:
        *ret_sin = c;
        *ret_cos = -s;
        break;
    case 2:
        *ret_sin = -s;
        *ret_cos = -c;
        break;
    default:
        *ret_sin = -c;
        *ret_cos = s;
        break;
    }
}
