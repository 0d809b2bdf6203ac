/* test_safetensors.c: a file of tensors from a stranger cannot crash the program or make it read
 * another tensor's bytes. Each file is parsed from a heap copy of its exact size, so that a
 * sanitizer sees what is read beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "format/safetensors.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file: the header's text, the length it claims (0: the text's own), and bytes of data. */
static unsigned char *make(const char *json, uint64_t claims, size_t data, size_t *ret_n) {
    const size_t text = strlen(json), n = 8 + text + data;
    unsigned char *p = malloc(n);
    assert_non_null(p);
    if (!claims) claims = text;
    for (size_t i = 0; i < 8; i++)
        p[i] = (unsigned char)(claims >> (8 * i));
    memcpy(p + 8, json, text);
    for (size_t i = 0; i < data; i++)
        p[8 + text + i] = (unsigned char)i;
    *ret_n = n;
    return p;
}

static void refused(const char *json, uint64_t claims, size_t data, int code, const char *why) {
    struct slv_safetensors s;
    struct slv_err e = {0};
    size_t n;
    unsigned char *p = make(json, claims, data, &n);
    slv_safetensors_init(&s);
    int rc = slv_safetensors_parse(&s, p, n, &e);
    if (rc != code || !strstr(e.msg, why))
        fail_msg("%.80s: %d, '%s', not '%s'", json, rc, e.msg, why);
    assert_int_equal(s.n, 0);
    slv_safetensors_fini(&s);
    free(p);
}

static void tensors_are_found_in_place(void **state) {
    (void)state;
    struct slv_safetensors s;
    size_t n;
    unsigned char *p =
        make("{\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},\"__metadata__\":"
             "{\"x\":\"y\"},\"a\\u00e9\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
             "\"c\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,3],\"data_offsets\":[16,19]}}   ",
             0, 19, &n);
    slv_safetensors_init(&s);
    assert_int_equal(slv_safetensors_parse(&s, p, n, NULL), 0);
    assert_int_equal(s.n, 3);
    const struct slv_gguf_tensor *a = &s.v[0], *b = &s.v[1], *c = &s.v[2];
    assert_true(a->name.n == 3 && !memcmp(a->name.p, "a\xc3\xa9", 3) && a->type->id == SLV_F32);
    assert_true(a->n_dims == 1 && a->ne[0] == 1 && a->bytes == 4);
    assert_true(b->n_dims == 2 && b->ne[0] == 3 && b->ne[1] == 2 && b->type->id == SLV_F16);
    assert_true(((const unsigned char *)b->data)[0] == 4 && b->bytes == 12);
    assert_true(c->ne[0] == 3 && c->ne[1] == 1 && c->type->id == SLV_I8);
    assert_ptr_equal((const unsigned char *)c->data + 3, p + n);
    slv_safetensors_fini(&s);
    free(p);
}

#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void malformed_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        uint64_t claims;
        size_t data;
        int code;
        const char *why;
    } rows[] = {
        {"{", 0, 0, SLV_E_FORMAT, "header: JSON at byte"},
        {"[]", 0, 0, SLV_E_FORMAT, "not an object"},
        {"{}", 3, 0, SLV_E_FORMAT, "of which 2 are there"},
        {"{}", 1u << 30, 0, SLV_E_LIMIT, "a header of 1073741824"},
        {"{}", UINT64_MAX, 0, SLV_E_LIMIT, "a header of"},
        {"{}", 0, 1, SLV_E_FORMAT, "the data has 1"},
        {"{\"a\":1}", 0, 0, SLV_E_FORMAT, "no dtype"},
        {"{\"a\":{\"dtype\":7}}", 0, 0, SLV_E_FORMAT, "no dtype"},
        {"{\"a\":" T("F33", "[1]", "0", "4") "}", 0, 4, SLV_E_UNSUPPORTED, "dtype 'F33'"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, 0, SLV_E_FORMAT, "no shape"},
        {"{\"a\":" T("F32", "{}", "0", "4") "}", 0, 4, SLV_E_FORMAT, "no shape"},
        {"{\"a\":" T("F32", "[-1]", "0", "4") "}", 0, 4, SLV_E_FORMAT, "not a count"},
        {"{\"a\":" T("F32", "[1.0]", "0", "4") "}", 0, 4, SLV_E_FORMAT, "not a count"},
        {"{\"a\":" T("F32", "[0]", "0", "0") "}", 0, 0, SLV_E_UNSUPPORTED, "empty"},
        {"{\"a\":" T("F32", "[1,1,1,1,1]", "0", "4") "}", 0, 4, SLV_E_UNSUPPORTED, "5 dimensions"},
        {"{\"a\":" T("F32", "[4611686018427387904]", "0", "4") "}", 0, 4, SLV_E_FORMAT, "63 bits"},
        {"{\"a\":" T("F32", "[2147483648,2147483648,4]", "0", "0") "}", 0, 0, SLV_E_FORMAT,
         "63 bits"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, 4, SLV_E_FORMAT, "no data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 0, 4, SLV_E_FORMAT,
         "no data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 0, 4, SLV_E_FORMAT,
         "no data_offsets"},
        {"{\"a\":" T("F32", "[1]", "null", "4") "}", 0, 4, SLV_E_FORMAT, "not a number"},
        {"{\"a\":" T("F32", "[1]", "-4", "0") "}", 0, 4, SLV_E_FORMAT, "the data has 4"},
        {"{\"a\":" T("F32", "[1]", "4", "0") "}", 0, 4, SLV_E_FORMAT, "the data has 4"},
        {"{\"a\":" T("F32", "[2]", "0", "8") "}", 0, 4, SLV_E_FORMAT, "the data has 4"},
        {"{\"a\":" T("F32", "[2]", "0", "9223372036854775807") "}", 0, 4, SLV_E_FORMAT, "has 4"},
        {"{\"a\":" T("F32", "[2]", "0", "4") "}", 0, 4, SLV_E_FORMAT, "its type and shape take 8"},
        {"{\"a\":" T("F32", "[1]", "4", "8") "}", 0, 8, SLV_E_FORMAT, "after a gap"},
        {"{\"a\":" T("F32", "[1]", "0", "4") ",\"b\":" T("F32", "[1]", "0", "4") "}", 0, 4,
         SLV_E_FORMAT, "within"},
        {"{\"a\":" T("F32", "[2]", "0", "8") ",\"b\":" T("F32", "[2]", "4", "12") "}", 0, 12,
         SLV_E_FORMAT, "within"},
        {"{\"a\":" T("F32", "[1]", "0", "4") "}", 0, 8, SLV_E_FORMAT, "the data has 8"},
        {"{\"\":" T("F32", "[1]", "0", "4") "}", 0, 4, SLV_E_FORMAT, "a name of 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refused(rows[i].json, rows[i].claims, rows[i].data, rows[i].code, rows[i].why);
    struct slv_safetensors s;
    static const unsigned char seven[7];
    slv_safetensors_init(&s);
    assert_int_equal(slv_safetensors_parse(&s, seven, sizeof seven, NULL), SLV_E_FORMAT);
    assert_int_equal(slv_safetensors_parse(&s, NULL, 0, NULL), SLV_E_FORMAT);
    slv_safetensors_fini(&s);
}

/* --- sets ------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/selvage-safetensors-XXXXXX";

static void put(const char *name, const void *p, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void put_file(const char *name, const char *tensor) {
    char json[256];
    size_t n;
    snprintf(json, sizeof json, "{\"%s\":" T("F32", "[1]", "0", "4") "}", tensor);
    unsigned char *p = make(json, 0, 4, &n);
    put(name, p, n);
    free(p);
}

static int open_index(const char *index, struct slv_safetensors *s, struct slv_err *err) {
    put("i.json", index, strlen(index));
    slv_safetensors_init(s);
    int rc = slv_safetensors_open_index(s, folder, "i.json", err);
    if (rc) slv_safetensors_fini(s);
    return rc;
}

static void a_set_is_opened(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *why;
    } bad[] = {
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"1.st\"}}", SLV_E_FORMAT,
         "'b' is not in the file"},
        {"{\"weight_map\":{\"a\":\"2.st\",\"b\":\"1.st\"}}", SLV_E_FORMAT, "is not in the file"},
        {"{\"weight_map\":{\"a\":\"../1.st\"}}", SLV_E_FORMAT, "not a plain one"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", SLV_E_FORMAT, "not a plain one"},
        {"{\"weight_map\":{\"a\":\"..\"}}", SLV_E_FORMAT, "not a plain one"},
        {"{\"weight_map\":{\"a\":\"1.st\\u0000\"}}", SLV_E_FORMAT, "not a plain one"},
        {"{\"weight_map\":{\"a\":\"3.st\"}}", SLV_E_NOENT, "3.st"},
        {"{\"weight_map\":{\"a\":7}}", SLV_E_FORMAT, "not a string"},
        {"{\"weight_map\":{}}", SLV_E_FORMAT, "names no files"},
        {"{}", SLV_E_FORMAT, "names no files"},
        {"[", SLV_E_FORMAT, "i.json"},
    };
    struct slv_safetensors s;
    struct slv_err e = {0};
    put_file("1.st", "a");
    put_file("2.st", "b");
    assert_int_equal(open_index("{\"weight_map\":{\"b\":\"2.st\",\"a\":\"1.st\"}}", &s, &e), 0);
    assert_true(s.n == 2 && s.n_files == 2);
    slv_safetensors_fini(&s);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int rc = open_index(bad[i].json, &s, &e);
        if (rc != bad[i].code || !strstr(e.msg, bad[i].why))
            fail_msg("%s: %d, '%s'", bad[i].json, rc, e.msg);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (uint64_t k = 1;; k++) {
        struct slv_safetensors s;
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(k);
        int rc = open_index("{\"weight_map\":{\"b\":\"2.st\",\"a\":\"1.st\"}}", &s, NULL);
        slv_mem_fail_at(0);
        const bool done = slv_mem_count() - before < k;
        if (rc && rc != SLV_E_NOMEM) fail_msg("allocation %d: %d", (int)k, rc);
        assert_true(!done || !rc);
        if (!rc) slv_safetensors_fini(&s);
        if (done) break;
    }
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"1.st", "2.st", "i.json"};
    char path[256];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_found_in_place),
        cmocka_unit_test(malformed_files_are_refused),
        cmocka_unit_test(a_set_is_opened),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
