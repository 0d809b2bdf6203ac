/* test_model_hostile.c: a model that is sound as a file and wrong as a model is refused in one
 * line, and a machine that runs out of memory while opening one is told so.
 *
 * The files are made by tests/hostile/make_gguf.py: those its manifest calls MODEL must be refused,
 * those whose names begin with ok- must open and run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "selvage.h"

#include <stdio.h>
#include <string.h>

#define MODELS_MIN 100 /* so that an empty manifest is not a success */

static FILE *open_manifest(void) {
    FILE *f = fopen(HOSTILE_DIR "/manifest.txt", "r");
    assert_non_null(f);
    return f;
}

/* The next file of a kind: its path. */
static bool next(FILE *manifest, const char *kind, char *ret_path, size_t size) {
    char line[256], name[200], code[40];
    while (fgets(line, sizeof line, manifest)) {
        if (sscanf(line, "%199s %39s", name, code) != 2 || strcmp(code, kind) != 0) continue;
        snprintf(ret_path, size, "%s/%s", HOSTILE_DIR, name);
        return true;
    }
    return false;
}

/* Opens a session, reads a few tokens and writes a few. */
static int run(struct slv_model *m, struct slv_err *err) {
    static const int32_t ids[] = {260, 5, 7, 11, 13, 270, 2};
    struct slv_session_opts so = {.threads = 2, .n_batch = 4};
    struct slv_generate_opts g;
    struct slv_session *s = NULL;
    enum slv_finish why;
    slv_generate_default(&g);
    g.max_tokens = 4;
    g.ignore_end = true;
    int rc = slv_session_open(m, &so, &s, err);
    if (!rc) rc = slv_session_feed(s, ids, sizeof ids / sizeof ids[0], err);
    if (!rc) rc = slv_session_generate(s, &g, NULL, NULL, &why, err);
    slv_session_close(s);
    return rc;
}

static int open_and_run(const char *path, struct slv_err *err) {
    struct slv_model_opts mo = {.threads = 2};
    struct slv_model *m = NULL;
    int rc = slv_model_open(path, &mo, &m, err);
    if (rc) return rc;
    rc = run(m, err);
    slv_model_close(m);
    return rc;
}

static bool one_line(const char *msg) {
    size_t n = strlen(msg);
    return n && !strchr(msg, '\n') && msg[n - 1] != '.';
}

static void wrong_models_are_refused_in_one_line(void **state) {
    (void)state;
    FILE *manifest = open_manifest();
    char path[512];
    size_t n = 0, bad = 0;
    for (; next(manifest, "MODEL", path, sizeof path); n++) {
        struct slv_err err = {0};
        int rc = open_and_run(path, &err);
        bool refused = rc == SLV_E_FORMAT || rc == SLV_E_UNSUPPORTED || rc == SLV_E_LIMIT;
        if (refused && err.code == rc && one_line(err.msg)) continue;
        bad++;
        print_error("%s: answers %d '%s'\n", path, rc, err.msg);
    }
    fclose(manifest);
    assert_int_equal(bad, 0);
    assert_true(n >= MODELS_MIN);
}

static void inspecting_refuses_them_too(void **state) {
    (void)state;
    FILE *manifest = open_manifest();
    char path[512];
    while (next(manifest, "MODEL", path, sizeof path)) {
        struct slv_model_opts mo = {.inspect = true};
        struct slv_model *m = NULL;
        if (!slv_model_open(path, &mo, &m, NULL)) print_error("%s: opens\n", path);
        assert_null(m);
    }
    fclose(manifest);
}

static void sound_models_run(void **state) {
    (void)state;
    FILE *manifest = open_manifest();
    char path[512];
    size_t n = 0;
    while (next(manifest, "OK", path, sizeof path)) {
        struct slv_err err = {0};
        if (!strstr(path, "/ok-")) continue;
        if (open_and_run(path, &err)) fail_msg("%s: %s", path, err.msg);
        n++;
    }
    fclose(manifest);
    assert_true(n >= 16); /* a model of each family, and of each kind of tokenizer */
}

static void running_out_of_memory_is_an_error(void **state) {
    (void)state;
    int rc = -1;
    uint64_t n = 0;
    while (rc) {
        struct slv_err err = {0};
        slv_mem_fail_at(++n);
        rc = open_and_run(HOSTILE_DIR "/ok-llama.gguf", &err);
        slv_mem_fail_at(0);
        if (rc && rc != SLV_E_NOMEM) fail_msg("allocation %u: %d '%s'", (unsigned)n, rc, err.msg);
        assert_true(n < 100000);
    }
    assert_true(n > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_models_are_refused_in_one_line),
        cmocka_unit_test(inspecting_refuses_them_too),
        cmocka_unit_test(sound_models_run),
        cmocka_unit_test(running_out_of_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
