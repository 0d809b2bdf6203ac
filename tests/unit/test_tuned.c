/* test_tuned.c: what a user would lose: numbers that were measured here and only those; never a
 * start because of a file that is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/team.h"
#include "cli/tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MACHINE "A Processor, 8 threads, avx2"
#define MODEL UINT64_C(0x0123456789abcdef)

static const struct slv_tuned good = {
    .prompt_threads = 8, .decode_threads = 5, .prompt_batch = 512};

static void write_text(const struct slv_tuned *t, struct slv_buf *b) {
    slv_buf_init(b, 4096);
    assert_int_equal(slv_tuned_text(t, MACHINE, MODEL, b), 0);
}

static void what_was_found_is_read_back(void **state) {
    (void)state;
    struct slv_tuned t = {0};
    struct slv_buf b;
    write_text(&good, &b);
    assert_null(slv_tuned_read(b.data, b.len, MACHINE, MODEL, &t));
    assert_int_equal(t.prompt_threads, 8);
    assert_int_equal(t.decode_threads, 5);
    assert_int_equal(t.prompt_batch, 512);
    slv_buf_fini(&b);
}

static void what_is_broken_is_not_used(void **state) {
    (void)state;
    struct slv_tuned t = {.prompt_threads = 77};
    struct slv_buf b;
    char broken[4096];
    write_text(&good, &b);
    for (size_t n = 0; n < b.len; n++) { /* as a file is read: with a NUL behind it */
        memcpy(broken, b.data, n);
        broken[n] = '\0';
        assert_non_null(slv_tuned_read(broken, n, MACHINE, MODEL, &t));
    }
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        memcpy(broken, b.data, b.len + 1);
        broken[bit / 8] = (char)(broken[bit / 8] ^ (1 << (bit % 8)));
        assert_non_null(slv_tuned_read(broken, b.len, MACHINE, MODEL, &t));
    }
    memcpy(broken, b.data, b.len);
    strcpy(broken + b.len, "\n");
    assert_non_null(slv_tuned_read(broken, b.len + 1, MACHINE, MODEL, &t));
    assert_int_equal(t.prompt_threads, 77);
    slv_buf_fini(&b);
}

static void what_is_foreign_or_impossible_is_not_used(void **state) {
    (void)state;
    static const struct slv_tuned bad[] = {{0, 0, 256}, {8, 0, 256},
                                           {4, 5, 256}, {SLV_TEAM_MAX + 1, 1, 256},
                                           {8, 5, 0},   {8, 5, SLV_TUNED_BATCH_MAX + 1}};
    struct slv_tuned t = {.prompt_threads = 77};
    struct slv_buf b;
    write_text(&good, &b);
    assert_non_null(slv_tuned_read(b.data, b.len, "Another, 8 threads, avx2", MODEL, &t));
    assert_non_null(slv_tuned_read(b.data, b.len, MACHINE, MODEL + 1, &t));
    char *version = strstr(b.data, "tuned 1");
    version[6] = '2';
    assert_string_equal(slv_tuned_read(b.data, b.len, MACHINE, MODEL, &t), "is of another version");
    slv_buf_fini(&b);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) { /* whole, but nonsense */
        write_text(&bad[i], &b);
        assert_string_equal(slv_tuned_read(b.data, b.len, MACHINE, MODEL, &t),
                            "holds a number out of range");
        slv_buf_fini(&b);
    }
    assert_int_equal(t.prompt_threads, 77);
}

static void expect_machine(const char *cpuinfo, const char *want) {
    char dir[] = "/tmp/slv-tuned-XXXXXX", path[64];
    struct slv_buf b;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/proc", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/proc/cpuinfo", dir);
    FILE *f = cpuinfo ? fopen(path, "w") : NULL;
    if (cpuinfo) {
        assert_non_null(f);
        for (int i = 0; i < 400; i++) /* longer than what is looked at */
            assert_true(fputs(cpuinfo, f) >= 0);
        assert_int_equal(fclose(f), 0);
    }
    slv_buf_init(&b, 4096);
    assert_int_equal(slv_tuned_machine(dir, 8, "avx2", &b), 0);
    assert_string_equal(b.data, want);
    slv_buf_fini(&b);
    if (cpuinfo) unlink(path);
    snprintf(path, sizeof path, "%s/proc", dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void a_machine_is_known_by_its_processor(void **state) {
    (void)state;
    expect_machine(
        "processor\t: 0\nvendor_id\t: X\nmodel\t\t: 1\nmodel name\t: A Processor\nflags\t: a b\n\n",
        MACHINE);
    expect_machine("processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n\n",
                   "0xd0c, 8 threads, avx2");
    expect_machine("model name\t:\nmodel name : B\n", "B, 8 threads, avx2");
    expect_machine("nothing\n", "unknown, 8 threads, avx2");
    expect_machine(NULL, "unknown, 8 threads, avx2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_found_is_read_back),
        cmocka_unit_test(what_is_broken_is_not_used),
        cmocka_unit_test(what_is_foreign_or_impossible_is_not_used),
        cmocka_unit_test(a_machine_is_known_by_its_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
