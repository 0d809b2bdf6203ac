/* test_opt.c: what a user types is read as GNU tools read it, and what cannot be read is refused
 * with the option's name and what it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/amount.h"
#include "cli/opt.h"
#include "cli/out.h"

#include <stdio.h>
#include <string.h>

struct opts {
    bool raw, all;
    const char *file;
    int64_t n;
    uint64_t memory;
    double temp;
    int kv;
    struct slv_opt_ints threads;
    struct slv_opt_list stop;
};

static const struct slv_opt rows[] = {
    {"raw", 'r', SLV_OPT_FLAG_AT(struct opts, raw), .help = "raw"},
    {"all", 'a', SLV_OPT_FLAG_AT(struct opts, all), .help = "all"},
    {"file", 'f', SLV_OPT_STR_AT(struct opts, file), .arg = "FILE", .help = "a file"},
    {NULL, 'n', SLV_OPT_INT_AT(struct opts, n), .arg = "N", .def = "512", .imin = 1, .imax = 4096,
     .help = "a number of things, described at such length that the text must be wrapped to fit"},
    {"memory", 0, SLV_OPT_SIZE_AT(struct opts, memory), .arg = "SIZE", .def = "1G", .imin = 1 << 20,
     .imax = INT64_MAX, .help = "memory"},
    {"temp", 0, SLV_OPT_REAL_AT(struct opts, temp), .arg = "T", .def = "0.8", .rmin = 0, .rmax = 10,
     .help = "temperature"},
    {"kv", 0, SLV_OPT_CHOICE_AT(struct opts, kv), .choices = "f32|f16|q8", .def = "f16",
     .help = "cache"},
    {"threads", 't', SLV_OPT_INTS_AT(struct opts, threads), .arg = "N,N", .imin = 1, .imax = 256,
     .help = "threads"},
    {"stop", 0, SLV_OPT_LIST_AT(struct opts, stop), .arg = "TEXT", .help = "stop"},
};
#define ROWS (sizeof rows / sizeof rows[0])

static struct opts o;
static struct slv_opt_set set;
static const char *words[80];
static size_t nargs;
static struct slv_err err;

/* Splits a line at spaces; '_' stands for an empty word. */
static int parse(const char *line) {
    static char copy[2000];
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        words[n++] = strcmp(w, "_") ? w : "";
    memset(&o, 0, sizeof o);
    memset(&err, 0, sizeof err);
    set = (struct slv_opt_set){rows, ROWS, &o, 0};
    return slv_opt_parse(&set, 1, words, n, &nargs, &err);
}

static void refused(const char *line, const char *message) {
    assert_int_equal(parse(line), SLV_E_USAGE);
    assert_string_equal(err.msg, message);
}

static void defaults_hold_where_nothing_is_said(void **state) {
    (void)state;
    assert_int_equal(parse(""), 0);
    assert_int_equal(o.n, 512);
    assert_int_equal(o.memory, 1 << 30);
    assert_true(o.temp == 0.8);
    assert_int_equal(o.kv, 1);
    assert_null(o.file);
    assert_int_equal(o.threads.n + o.stop.n + set.given + nargs, 0);
}

static void every_way_of_writing_an_option_is_read(void **state) {
    (void)state;
    assert_int_equal(parse("a -n 7 b --file=x --temp 1.5 -- --raw -"), 0);
    assert_int_equal(nargs, 4);
    assert_string_equal(words[0], "a");
    assert_string_equal(words[1], "b");
    assert_string_equal(words[2], "--raw");
    assert_string_equal(words[3], "-");
    assert_int_equal(o.n, 7);
    assert_string_equal(o.file, "x");
    assert_true(o.temp == 1.5);
    assert_int_equal(set.given, 1 << 2 | 1 << 3 | 1 << 5);
    assert_int_equal(parse("-ran9"), 0);
    assert_true(o.raw && o.all && o.n == 9);
    assert_int_equal(parse("-raf -x --file= --stop -n --stop _"), 0);
    assert_string_equal(o.file, "");
    assert_int_equal(o.stop.n, 2);
    assert_string_equal(o.stop.v[0], "-n");
    assert_string_equal(o.stop.v[1], "");
    assert_int_equal(parse("- -n 1 -n 2"), 0);
    assert_true(nargs == 1 && o.n == 2);
    assert_int_equal(parse("--kv q8 -t1,2,16"), 0);
    assert_true(o.kv == 2 && o.threads.n == 3 && o.threads.v[2] == 16);
}

static const struct slv_opt digit_rows[] = {
    {"one", '1', SLV_OPT_FLAG_AT(struct opts, raw), .help = "one"},
    {"temp", 0, SLV_OPT_REAL_AT(struct opts, temp), .arg = "T", .rmin = 0.001, .rmax = 315360000,
     .help = "seconds"},
};

static void negative_numbers_are_arguments(void **state) {
    (void)state;
    assert_int_equal(parse("a -1 -.5 -0x7 -r -2.5e3 -n 3 -- -9 -r"), 0);
    static const char *const want[] = {"a", "-1", "-.5", "-0x7", "-2.5e3", "-9", "-r"};
    assert_int_equal(nargs, sizeof want / sizeof *want);
    for (size_t i = 0; i < nargs; i++)
        assert_string_equal(words[i], want[i]);
    assert_true(o.raw && o.n == 3);
    refused("-.", "unknown option '-.': see --help");
    refused("-.x", "unknown option '-.': see --help");
    refused("--1", "unknown option '--1': see --help");
    /* An option's letter may be a digit. */
    const char *given[] = {"-1", "-2"};
    set = (struct slv_opt_set){digit_rows, 2, &o, 0};
    memset(&o, 0, sizeof o);
    assert_int_equal(slv_opt_parse(&set, 1, given, 2, &nargs, &err), 0);
    assert_true(o.raw && nargs == 1);
    assert_string_equal(given[0], "-2");
}

static void ranges_are_written_as_people_do(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 10000);
    slv_opt_help(digit_rows, 2, &b);
    assert_non_null(strstr(b.data, "seconds (0.001 to 315360000)"));
    slv_buf_fini(&b);
}

static void numbers_outside_the_range_are_refused(void **state) {
    (void)state;
    refused("-n 0", "-n: 0 is out of range: 1 to 4096");
    refused("-n 4097", "-n: 4097 is out of range: 1 to 4096");
    refused("-n 1x", "-n: '1x' is not a whole number");
    refused("-n _", "-n: '' is not a whole number");
    refused("-n 0x10", "-n: '0x10' is not a whole number");
    refused("-n 9223372036854775808", "-n: '9223372036854775808' is not a whole number");
    refused("-n", "-n: wants a value: N");
    refused("--temp nan", "--temp: 'nan' is not a number");
    refused("--temp 1e999", "--temp: '1e999' is not a number");
    refused("--temp -1", "--temp: -1 is out of range: 0 to 10");
    refused("--temp _", "--temp: '' is not a number");
    refused("--memory 5", "--memory: 5 is out of range: at least 1M");
    refused("--memory 5X", "--memory: '5X' is not a size such as 512M or 2G");
    refused("--kv f64", "--kv: 'f64' is none of f32|f16|q8");
    refused("--kv f16|q8", "--kv: 'f16|q8' is none of f32|f16|q8");
    refused("--kv _", "--kv: '' is none of f32|f16|q8");
    refused("-t 1,,2", "--threads: '' is not a whole number");
    refused("-t 1,2,", "--threads: '' is not a whole number");
    refused("-t 1,300", "--threads: 300 is out of range: 1 to 256");
    refused("--raw=1", "--raw: takes no value");
}

static void unknown_options_name_the_nearest(void **state) {
    (void)state;
    refused("--tmep 1", "unknown option '--tmep': did you mean --temp?");
    refused("--mem=1G", "unknown option '--mem': did you mean --memory?");
    refused("--xyzzy", "unknown option '--xyzzy': see --help");
    refused("--=x", "unknown option '--': see --help");
    refused("-rz", "unknown option '-z': see --help");
    refused("--fil x", "unknown option '--fil': did you mean --file?");
}

static void lists_have_an_end(void **state) {
    (void)state;
    char line[2000] = "-t 1";
    for (int i = 1; i < SLV_OPT_LIST_MAX; i++)
        strcat(line, ",1");
    assert_int_equal(parse(line), 0);
    assert_int_equal(o.threads.n, SLV_OPT_LIST_MAX);
    strcat(line, ",1");
    refused(line, "--threads: more than 64 values");
    line[0] = '\0';
    for (int i = 0; i <= SLV_OPT_LIST_MAX; i++)
        strcat(line, "--stop=x ");
    refused(line, "--stop: given more than 64 times");
}

static void sizes_are_powers_of_1024(void **state) {
    (void)state;
    static const struct {
        const char *s;
        uint64_t v;
    } good[] = {{"0", 0},
                {"4096", 4096},
                {"4096B", 4096},
                {"64K", 65536},
                {"1.5G", 1536 << 20},
                {"0.25K", 256},
                {"0.0009765625M", 1023},
                {"512M", 512 << 20},
                {"512MiB", 512 << 20},
                {"2g", 2ull << 30},
                {"1TB", 1ull << 40}};
    static const char *const bad[] = {"",
                                      "M",
                                      "-1M",
                                      "1.5",
                                      "1.G",
                                      ".5G",
                                      "1.5B",
                                      "1.5.5G",
                                      "1MM",
                                      "1iB",
                                      "1 M",
                                      "8388608T",
                                      "99999999999999999999"};
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(slv_amount_size(good[i].s, &v));
        assert_int_equal(v, good[i].v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(slv_amount_size(bad[i], &v));
}

static void distance_counts_slips(void **state) {
    (void)state;
    assert_int_equal(slv_opt_distance("list", "list", 3), 0);
    assert_int_equal(slv_opt_distance("lsit", "list", 3), 1);
    assert_int_equal(slv_opt_distance("lis", "list", 3), 1);
    assert_int_equal(slv_opt_distance("", "abc", 3), 3);
    assert_int_equal(slv_opt_distance("kitten", "sitting", 5), 3);
    assert_int_equal(slv_opt_distance("abcdef", "uvwxyz", 3), 4);
    char big[200];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(slv_opt_distance(big, "x", 3), 4);
}

static void help_comes_from_the_rows(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 10000);
    slv_opt_help(rows, ROWS, &b);
    assert_non_null(strstr(b.data, "\n  -n N                    a number of things"));
    assert_non_null(strstr(b.data, "fit (1 to 4096; default 512)\n"));
    assert_non_null(strstr(b.data, "--memory SIZE       memory (at least 1M; default 1G)"));
    assert_non_null(strstr(b.data, "--kv f32|f16|q8     cache (default f16)"));
    for (const char *p = b.data; *p; p += strcspn(p, "\n") + 1)
        assert_true(strcspn(p, "\n") <= 80);
    slv_buf_fini(&b);
}

static void sizes_are_shown_for_people(void **state) {
    (void)state;
    char s[SLV_OUT_SIZE_MAX];
    assert_string_equal(slv_out_size(0, s), "0 B");
    assert_string_equal(slv_out_size(1023, s), "1023 B");
    assert_string_equal(slv_out_size(98362432, s), "93.8 MiB");
    assert_string_equal(slv_out_size(UINT64_MAX, s), "16384.0 PiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_where_nothing_is_said),
        cmocka_unit_test(every_way_of_writing_an_option_is_read),
        cmocka_unit_test(negative_numbers_are_arguments),
        cmocka_unit_test(ranges_are_written_as_people_do),
        cmocka_unit_test(numbers_outside_the_range_are_refused),
        cmocka_unit_test(unknown_options_name_the_nearest),
        cmocka_unit_test(lists_have_an_end),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(distance_counts_slips),
        cmocka_unit_test(help_comes_from_the_rows),
        cmocka_unit_test(sizes_are_shown_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
