/* cmocka.h: as much of cmocka as the tests that run for ARM use, for which there is no cmocka on
 * another machine. TAP on standard output; a failed assertion ends its test. Where the real one
 * widens to its largest integer so does this. */
#ifndef SLV_TEST_CMOCKA_H
#define SLV_TEST_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);
struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
    void *initial_state;
};

static jmp_buf cmocka_end_of_test;

#define fail_msg(...)                                                                              \
    do {                                                                                           \
        printf("# %s:%d: ", __FILE__, __LINE__);                                                   \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        longjmp(cmocka_end_of_test, 1);                                                            \
    } while (0)
#define cmocka_require(c, text)                                                                    \
    do {                                                                                           \
        if (!(c)) fail_msg("%s", text);                                                            \
    } while (0)
#define assert_true(c) cmocka_require(c, #c)
#define assert_false(c) cmocka_require(!(c), "not " #c)
#define assert_null(p) cmocka_require(!(p), #p " is not null")
#define assert_non_null(p) cmocka_require(p, #p " is null")
#define assert_int_equal(a, b) cmocka_require((uintmax_t)(a) == (uintmax_t)(b), #a " is not " #b)
#define assert_ptr_equal(a, b)                                                                     \
    cmocka_require((const void *)(a) == (const void *)(b), #a " is not " #b)
#define assert_string_equal(a, b) cmocka_require(!strcmp(a, b), #a " is not " #b)
#define assert_memory_equal(a, b, n) cmocka_require(!memcmp(a, b, n), #a " is not " #b)
#define assert_in_range(x, lo, hi)                                                                 \
    cmocka_require((uintmax_t)(x) >= (uintmax_t)(lo) && (uintmax_t)(x) <= (uintmax_t)(hi),         \
                   #x " is out of range")

#define cmocka_unit_test_prestate(f, state)                                                        \
    { #f, f, NULL, NULL, state }
#define cmocka_unit_test(f) cmocka_unit_test_prestate(f, NULL)

static inline int cmocka_run_one(const struct CMUnitTest *t, size_t number) {
    void *state = t->initial_state;
    int failed = setjmp(cmocka_end_of_test);
    if (!failed) t->test_func(&state);
    printf("%sok %zu - %s\n", failed ? "not " : "", number, t->name);
    return failed;
}

static inline int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests,
                                          size_t n, CMFixtureFunction setup,
                                          CMFixtureFunction teardown) {
    int failed = setjmp(cmocka_end_of_test);
    (void)name;
    if (failed || (setup && setup(NULL))) return 1;
    for (size_t i = 0; i < n; i++)
        failed += cmocka_run_one(&tests[i], i + 1);
    if (teardown) teardown(NULL);
    printf("1..%zu\n", n);
    return failed;
}
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    _cmocka_run_group_tests(#tests, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)

#endif
