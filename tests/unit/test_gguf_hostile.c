/* test_gguf_hostile.c: a model file from a stranger cannot crash, stall or bloat the program.
 *
 * The files are made by tests/hostile/make_gguf.py, which also says what each must be answered.
 * Reading past a file's end is caught by the address sanitizer here (each file is also parsed from
 * an exact-size heap copy), using too much memory by a limit on the process's data, too much time
 * by the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/sanitize.h"
#include "format/gguf.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define DATA_LIMIT ((rlim_t)64 << 20)

/* Seconds one file may take. Sanitizers are slow; this is about runaway loops. */
#if SLV_SANITIZED
#define TIME_LIMIT 5.0
#else
#define TIME_LIMIT 1.0
#endif

static const struct {
    const char *name;
    int code;
} codes[] = {
    {"OK", 0},
    {"MODEL", 0}, /* sound as GGUF */
    {"FORMAT", SLV_E_FORMAT},
    {"UNSUPPORTED", SLV_E_UNSUPPORTED},
    {"LIMIT", SLV_E_LIMIT},
    {"NOENT", SLV_E_NOENT},
    {"USAGE", SLV_E_USAGE},
};

static int code_of(const char *name) {
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (!strcmp(codes[i].name, name)) return codes[i].code;
    fail_msg("unknown code %s in the manifest", name);
    return 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads every value and the ends of every tensor, as a loader would. */
static unsigned walk(const struct slv_gguf *g) {
    unsigned sum = 0;
    struct slv_str key;
    enum slv_gguf_kind kind;
    for (size_t i = 0; slv_gguf_kv_at(g, i, &key, &kind); i++)
        if (key.n) sum += (unsigned char)key.p[key.n - 1];
    for (size_t i = 0; i < slv_gguf_n_tensors(g); i++) {
        const struct slv_gguf_tensor *t = slv_gguf_tensor_at(g, i);
        sum += ((const unsigned char *)t->data)[0] + ((const unsigned char *)t->data)[t->bytes - 1];
    }
    return sum;
}

/* The same bytes at the end of a heap block, with each allocation failing in turn before they may
 * succeed. Split sets aside, the answer must be the one from disk. */
static void parse_copy(const char *path, int want) {
    struct slv_map m;
    struct slv_gguf *g;
    if (slv_map_open(path, &m, NULL)) return;
    unsigned char *copy = malloc(m.size ? m.size : 1);
    assert_non_null(copy);
    if (m.size) memcpy(copy, m.data, m.size);
    int rc = SLV_E_NOMEM;
    for (uint64_t n = 1; rc == SLV_E_NOMEM; n++) {
        slv_mem_fail_at(n);
        rc = slv_gguf_parse(copy, m.size, &g, NULL);
        slv_mem_fail_at(0);
    }
    if (!rc) slv_gguf_close(g);
    if (!strstr(path, "split-") && rc != want)
        fail_msg("%s: %d in memory, %d on disk", path, rc, want);
    free(copy);
    slv_map_close(&m);
}

/* A mapped file as a source. */
static int read_copy(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *e) {
    const struct slv_map *m = ctx;
    (void)e;
    memcpy(p, m->data + at, n);
    return 0;
}

/* The same through a source: the same answer, and nothing points to data. */
static void read_source(const char *path, int want) {
    struct slv_map m = {0};
    struct slv_gguf *g = NULL;
    assert_int_equal(slv_map_open(path, &m, NULL), 0);
    const struct slv_blocks from = {m.size, read_copy, NULL, &m};
    int rc = slv_gguf_read(&from, &g, NULL);
    if (!strstr(path, "split-") && rc != want)
        fail_msg("%s: %d from a source, %d on disk", path, rc, want);
    for (size_t i = 0; !rc && i < slv_gguf_n_tensors(g); i++)
        assert_null(slv_gguf_tensor_at(g, i)->data);
    if (!rc) {
        assert_false(slv_gguf_is_file(g) || slv_gguf_stamp(g));
        slv_gguf_close(g);
    }
    slv_map_close(&m);
}

static void check_file(const char *name, int want) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", HOSTILE_DIR, name);
    struct slv_gguf *g = NULL;
    struct slv_err e = {0};
    double start = now();
    int rc = slv_gguf_open(path, &g, &e);
    double took = now() - start;
    if (rc != want) fail_msg("%s: %d (%s), not %d", name, rc, e.msg, want);
    if (took > TIME_LIMIT) fail_msg("%s: took %g s", name, took);
    if (rc) {
        assert_int_equal(e.code, rc);
        if (strncmp(e.msg, HOSTILE_DIR, strlen(HOSTILE_DIR)) != 0 ||
            strlen(e.msg) < strlen(path) / 2)
            fail_msg("%s: the message '%s' does not name the file", name, e.msg);
        assert_null(g);
    } else {
        walk(g);
        slv_gguf_close(g);
    }
    parse_copy(path, want);
    read_source(path, want);
}

static void every_malformed_file_is_refused_with_a_reason(void **state) {
    (void)state;
    FILE *f = fopen(HOSTILE_DIR "/manifest.txt", "r");
    assert_non_null(f);
    char name[200], code[20];
    int files = 0, models = 0;
    while (fscanf(f, "%199s %19s", name, code) == 2) {
        check_file(name, code_of(code));
        files++;
        models += !strcmp(code, "MODEL");
    }
    fclose(f);
    assert_true(files - models > 200);
    assert_true(models > 100);
}

/* The bytes of a valid file; freed by the caller. */
static unsigned char *load(const char *name, size_t *ret_n) {
    char path[600];
    struct slv_map m;
    struct slv_err e;
    snprintf(path, sizeof path, "%s/%s", HOSTILE_DIR, name);
    if (slv_map_open(path, &m, &e)) fail_msg("%s", e.msg);
    unsigned char *p = malloc(m.size);
    assert_non_null(p);
    memcpy(p, m.data, m.size);
    *ret_n = m.size;
    slv_map_close(&m);
    return p;
}

static void a_download_cut_anywhere_is_refused(void **state) {
    (void)state;
    size_t n;
    unsigned char *p = load("ok-llama.gguf", &n);
    for (size_t cut = 0; cut + 32 < n; cut++) { /* the last tensor has 30 bytes of padding */
        unsigned char *copy = malloc(cut ? cut : 1);
        struct slv_gguf *g;
        assert_non_null(copy);
        memcpy(copy, p, cut);
        assert_int_equal(slv_gguf_parse(copy, cut, &g, NULL), SLV_E_FORMAT);
        free(copy);
    }
    free(p);
}

static void a_flipped_byte_is_refused_or_harmless(void **state) {
    (void)state;
    static const unsigned char flips[] = {0x01, 0x80, 0xff, 0x10};
    size_t n, refused = 0;
    unsigned char *p = load("ok-llama.gguf", &n);
    if (n > 10000) n = 10000; /* past the metadata there are only weights */
    size_t size;
    free(p);
    p = load("ok-llama.gguf", &size);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof flips; k++) {
            struct slv_gguf *g;
            p[i] ^= flips[k];
            if (slv_gguf_parse(p, size, &g, NULL)) {
                refused++;
            } else {
                walk(g);
                slv_gguf_close(g);
            }
            p[i] ^= flips[k];
        }
    assert_true(refused > n / 4);
    free(p);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* A sparse file: a header with one entry, an array of n empty strings. */
static int open_strings(uint64_t n) {
    static const char head[] = "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0"
                               "\1\0\0\0\0\0\0\0k\x09\0\0\0\x08\0\0\0";
    char path[] = "/tmp/slv-strings-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, sizeof head - 1), sizeof head - 1);
    assert_int_equal(write(fd, &n, sizeof n), sizeof n);
    assert_int_equal(ftruncate(fd, (off_t)(sizeof head - 1 + 8 + 8 * n)), 0);
    close(fd);
    struct slv_gguf *g;
    double start = now();
    int rc = slv_gguf_open(path, &g, NULL);
    assert_true(now() - start < TIME_LIMIT);
    if (!rc) slv_gguf_close(g);
    unlink(path);
    return rc;
}

static void millions_of_strings_fit_the_memory_promised(void **state) {
    (void)state;
    assert_int_equal(open_strings(SLV_GGUF_MAX_STRINGS), 0);
    assert_int_equal(open_strings(SLV_GGUF_MAX_STRINGS + 1), SLV_E_LIMIT);
}

/* Names chosen to be as slow to sort as possible: the most there may be, equal but for the end. */
static void the_most_and_longest_names_are_sorted_in_time(void **state) {
    (void)state;
    struct slv_buf b;
    uint64_t header[2] = {0, SLV_GGUF_MAX_KV};
    slv_buf_init(&b, (size_t)32 << 20);
    slv_buf_add(&b, "GGUF\3\0\0\0", 8);
    slv_buf_add(&b, header, sizeof header);
    for (uint32_t i = 0; i < SLV_GGUF_MAX_KV; i++) {
        uint64_t n = SLV_GGUF_MAX_NAME;
        char name[SLV_GGUF_MAX_NAME + 1];
        memset(name, 'k', sizeof name);
        snprintf(name + SLV_GGUF_MAX_NAME - 5, 6, "%05u", (unsigned)(i * 40503u % SLV_GGUF_MAX_KV));
        slv_buf_add(&b, &n, sizeof n);
        slv_buf_add(&b, name, SLV_GGUF_MAX_NAME);
        slv_buf_add(&b, "\0\0\0\0x", 5);
    }
    assert_int_equal(b.status, 0);
    struct slv_gguf *g;
    double start = now();
    assert_int_equal(slv_gguf_parse(b.data, b.len, &g, NULL), 0);
    assert_true(now() - start < TIME_LIMIT);
    slv_gguf_close(g);
    slv_buf_fini(&b);
}

int main(void) {
#if !SLV_SANITIZED
    const struct rlimit limit = {DATA_LIMIT, DATA_LIMIT};
    if (setrlimit(RLIMIT_DATA, &limit)) return 1;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_malformed_file_is_refused_with_a_reason),
        cmocka_unit_test(a_download_cut_anywhere_is_refused),
        cmocka_unit_test(a_flipped_byte_is_refused_or_harmless),
        cmocka_unit_test(millions_of_strings_fit_the_memory_promised),
        cmocka_unit_test(the_most_and_longest_names_are_sorted_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
