/* test_fmath.c: our own exp, log, sin, cos, tanh and the emulated fma keep the errors that fmath.h
 * states: what every answer rests on, against the C library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/fmath.h"

#include <math.h>

static uint64_t state = 1;

static uint32_t rnd(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static double uniform(double lo, double hi) {
    return lo + (hi - lo) * ((double)rnd() / 4294967296.0);
}

static void exp_is_within_one_ulp(void **unused) {
    (void)unused;
    double worst = 0.0;
    for (float x = -87.0f; x < 88.0f; x += 0.0013f) {
        double want = exp((double)x), ulp = ldexp(1.0, ilogb(want) - 23);
        double e = fabs((double)slv_expf(x) - want) / ulp;
        if (e > worst) worst = e;
    }
    assert_true(worst <= 1.0);
    assert_true(slv_expf(0.0f) == 1.0f && slv_expf(-200.0f) == 0.0f && isinf(slv_expf(100.0f)));
    assert_true(isnan(slv_expf(NAN)));
}

static void tanh_is_within_its_bound(void **unused) {
    (void)unused;
    for (float x = -12.0f; x < 12.0f; x += 0.0007f)
        assert_true(fabs((double)slv_tanhf(x) - tanh((double)x)) <= 2e-7);
}

static void gelu_is_within_its_bound(void **unused) {
    (void)unused;
    for (float x = -14.0f; x < 14.0f; x += 0.0007f) {
        const double want = 0.5 * (double)x * erfc((double)x * -sqrt(0.5));
        assert_true(fabs((double)slv_gelu_erff(x) - want) <= 1.5e-7 * fabs((double)x));
    }
    assert_true(slv_gelu_erff(INFINITY) == INFINITY && slv_gelu_erff(NAN) != 0.0f);
    assert_true(fabsf(slv_gelu_erff(-INFINITY)) < 1e-13f && isnan(slv_gelu_erff(NAN)));
}

static void double_functions_are_within_their_bounds(void **unused) {
    (void)unused;
    for (int i = 0; i < 200000; i++) {
        double x = uniform(-700.0, 700.0), y = exp(uniform(-100.0, 100.0)), s, c;
        assert_true(fabs(slv_exp64(x) / exp(x) - 1.0) < 1e-14);
        assert_true(fabs(slv_log64(y) - log(y)) < 1e-14 * (fabs(log(y)) + 1.0));
        double angle = uniform(-4194304.0, 4194304.0);
        slv_sincos64(angle, &s, &c);
        assert_true(fabs(s - sin(angle)) < 1e-14 && fabs(c - cos(angle)) < 1e-14);
    }
    assert_true(isinf(slv_log64(0.0)) && isnan(slv_log64(-1.0)) && slv_exp64(-1e9) == 0.0);
}

/* Exponents near each other make the sum cancel or round in the last place. */
static void fma_is_rounded_once(void **unused) {
    (void)unused;
    for (int i = 0; i < 3000000; i++) {
        uint32_t a = rnd(), b = rnd(), c = rnd();
        int e = (int)(a >> 23 & 255) + (int)(b >> 23 & 255) - 127 + (int)(rnd() % 64) - 32;
        if (i & 1) c = (c & 0x807fffffu) | ((uint32_t)e & 255u) << 23;
        float fa = slv_f32_from_bits(a), fb = slv_f32_from_bits(b), fc = slv_f32_from_bits(c);
        float got = slv_fma(fa, fb, fc), want = fmaf(fa, fb, fc);
        if (isnan(got) && isnan(want)) continue;
        assert_int_equal(slv_f32_bits(got), slv_f32_bits(want));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_one_ulp),
        cmocka_unit_test(tanh_is_within_its_bound),
        cmocka_unit_test(gelu_is_within_its_bound),
        cmocka_unit_test(double_functions_are_within_their_bounds),
        cmocka_unit_test(fma_is_rounded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
