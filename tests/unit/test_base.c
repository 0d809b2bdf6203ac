/* test_base.c: what everything stands on: errors that reach the user readable, sizes that cannot
 * wrap, buffers that keep their maximum, JSON that any reader accepts, UTF-8 that is never broken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void error_codes_have_texts_and_exit_statuses(void **state) {
    (void)state;
    assert_string_equal(slv_strerror(0), "no error");
    assert_string_equal(slv_strerror(SLV_E_FORMAT), "malformed input file");
    assert_string_equal(slv_strerror(-999), "unknown error");
    assert_int_equal(slv_err_exit_status(0), 0);
    assert_int_equal(slv_err_exit_status(SLV_E_FORMAT), 3);
    assert_int_equal(slv_err_exit_status(SLV_E_FIT), 4);
    assert_int_equal(slv_err_exit_status(SLV_E_CANCELLED), 130);
    assert_int_equal(slv_err_exit_status(-999), 1);
}

static void messages_are_prefixed_from_the_outside_in(void **state) {
    (void)state;
    struct slv_err e;
    assert_int_equal(slv_err_set(&e, SLV_E_FORMAT, "offset %d is odd", 7), SLV_E_FORMAT);
    assert_int_equal(slv_err_prefix(&e, SLV_E_IO, "m.gguf"), SLV_E_FORMAT);
    assert_string_equal(e.msg, "m.gguf: offset 7 is odd");
    assert_int_equal(slv_err_set(NULL, SLV_E_IO, "x"), SLV_E_IO);
    assert_int_equal(slv_err_prefix(NULL, SLV_E_IO, "x"), SLV_E_IO);
}

static void messages_cannot_drive_a_terminal_or_overflow(void **state) {
    (void)state;
    struct slv_err e;
    slv_err_set(&e, SLV_E_FORMAT, "a\x1b[2Jb\nc\xff");
    assert_string_equal(e.msg, "a?[2Jb?c?");
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    slv_err_set(&e, SLV_E_FORMAT, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    slv_err_prefix(&e, SLV_E_FORMAT, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

static void sizes_do_not_wrap(void **state) {
    (void)state;
    size_t r = 5;
    assert_false(slv_size_add(SIZE_MAX, 1, &r));
    assert_false(slv_size_mul(SIZE_MAX / 2, 3, &r));
    assert_false(slv_size_align(SIZE_MAX - 3, 16, &r));
    assert_int_equal(r, 5);
    assert_true(slv_size_align(17, 16, &r));
    assert_int_equal(r, 32);
    assert_null(slv_mem_calloc(SIZE_MAX / 2, 3));
}

static void the_chosen_allocation_fails_once(void **state) {
    (void)state;
    slv_mem_fail_at(2);
    void *a = slv_mem_alloc(1), *b = slv_mem_alloc(1), *c = slv_mem_alloc(1);
    slv_mem_fail_at(0);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    slv_mem_free(a);
    slv_mem_free(c);
}

static void growing_stops_at_the_maximum(void **state) {
    (void)state;
    int *v = NULL;
    size_t cap = 0;
    for (size_t n = 0; n < 20; n++) {
        assert_int_equal(slv_mem_grow((void **)&v, n, &cap, sizeof *v, 20), 0);
        v[n] = (int)n;
    }
    assert_int_equal(cap, 20);
    assert_int_equal(slv_mem_grow((void **)&v, 20, &cap, sizeof *v, 20), SLV_E_LIMIT);
    assert_int_equal(v[19], 19);
    slv_mem_free(v);
}

static void arena_keeps_pointers_and_its_maximum(void **state) {
    (void)state;
    struct slv_arena a;
    slv_arena_init(&a, 100000);
    char *first = slv_arena_strndup(&a, "hello", 5);
    for (int i = 0; i < 1000; i++) {
        unsigned char *p = slv_arena_alloc(&a, 33);
        if (!p) break;
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_int_equal(p[0] | p[32], 0);
        memset(p, 0xee, 33);
    }
    assert_string_equal(first, "hello");
    assert_true(a.used <= 100000);
    assert_null(slv_arena_alloc(&a, 100000));
    assert_null(slv_arena_calloc(&a, SIZE_MAX / 2, 3));
    slv_arena_fini(&a);
}

static void buffer_keeps_its_maximum_and_says_so(void **state) {
    (void)state;
    struct slv_buf b;
    slv_buf_init(&b, 10);
    assert_string_equal(b.data, "");
    assert_int_equal(slv_buf_adds(&b, "12345"), 0);
    assert_int_equal(slv_buf_addf(&b, "%d", 67890), 0);
    assert_int_equal(slv_buf_addc(&b, 'x'), SLV_E_LIMIT);
    assert_int_equal(slv_buf_add(&b, "", 0), SLV_E_LIMIT);
    assert_string_equal(b.data, "1234567890");
    slv_buf_clear(&b);
    assert_int_equal(slv_buf_addc(&b, 'x'), 0);
    size_t n;
    char *p = slv_buf_take(&b, &n);
    assert_string_equal(p, "x");
    slv_mem_free(p);
    slv_mem_fail_at(1);
    assert_int_equal(slv_buf_addc(&b, 'y'), SLV_E_NOMEM);
    slv_mem_fail_at(0);
    slv_buf_fini(&b);
}

static void json_is_escaped_and_numbers_round_trip(void **state) {
    (void)state;
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 1000);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "a\"b", "x\n\x01\xff\\");
    slv_json_array(&j, "v");
    slv_json_int(&j, NULL, INT64_MIN);
    slv_json_uint(&j, NULL, UINT64_MAX);
    slv_json_double(&j, NULL, 0.1);
    slv_json_double(&j, NULL, 1.0 / 3.0);
    slv_json_float(&j, NULL, 0.1f);
    slv_json_double(&j, NULL, (double)NAN);
    slv_json_bool(&j, NULL, true);
    slv_json_array_end(&j);
    slv_json_object(&j, "o");
    slv_json_object_end(&j);
    slv_json_null(&j, "z");
    slv_json_object_end(&j);
    assert_int_equal(b.status, 0);
    assert_string_equal(b.data,
                        "{\"a\\\"b\":\"x\\n\\u0001\xef\xbf\xbd\\\\\",\"v\":[-9223372036854775808,"
                        "18446744073709551615,0.1,0.3333333333333333,0.1,null,true],\"o\":{},"
                        "\"z\":null}");
    slv_buf_fini(&b);
}

static void utf8_follows_the_standard(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t used;
        uint32_t cp;
    } cases[] = {
        {"A", 1, 'A'},
        {"\xc3\xa9", 2, 0xe9},
        {"\xe2\x82\xac", 3, 0x20ac},
        {"\xf0\x9f\x98\x80", 4, 0x1f600},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\xc0\x80", 1, SLV_UTF8_INVALID},         /* overlong */
        {"\xed\xa0\x80", 1, SLV_UTF8_INVALID},     /* surrogate */
        {"\xf4\x90\x80\x80", 1, SLV_UTF8_INVALID}, /* past the end of Unicode */
        {"\xe2\x82", 2, SLV_UTF8_INVALID},         /* cut: one maximal subpart */
        {"\xf0\x9f\x98x", 3, SLV_UTF8_INVALID},
        {"\x80", 1, SLV_UTF8_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t cp;
        size_t used = slv_utf8_decode(cases[i].bytes, strlen(cases[i].bytes), &cp);
        assert_int_equal(used, cases[i].used);
        assert_int_equal(cp, cases[i].cp);
        char out[SLV_UTF8_MAX];
        if (cp == SLV_UTF8_INVALID) continue;
        assert_int_equal(slv_utf8_encode(cp, out), used);
        assert_memory_equal(out, cases[i].bytes, used);
    }
    assert_int_equal(slv_utf8_incomplete_tail("a\xe2\x82", 3), 2);
    assert_int_equal(slv_utf8_incomplete_tail("a\xf0\x9f\x98", 4), 3);
    assert_int_equal(slv_utf8_incomplete_tail("\xe2\x82\xac", 3), 0);
    assert_int_equal(slv_utf8_incomplete_tail("\xff", 1), 0);
    char fixed[30];
    size_t count, n = slv_utf8_repair("a\xff\xe2\x82z", 5, fixed, &count);
    assert_int_equal(count, 2);
    assert_int_equal(n, 8);
    assert_memory_equal(fixed, "a\xef\xbf\xbd\xef\xbf\xbdz", 8);
}

static void files_are_replaced_whole(void **state) {
    (void)state;
    char dir[] = "/tmp/slv-base-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/f", dir);
    struct slv_err e;
    assert_int_equal(slv_file_write(path, "one", 3, 0600, &e), 0);
    assert_int_equal(slv_file_write(path, "second", 6, 0600, &e), 0);
    struct slv_map m;
    assert_int_equal(slv_map_open(path, &m, &e), 0);
    assert_int_equal(m.size, 6);
    assert_memory_equal(m.data, "second", 6);
    slv_map_close(&m);
    struct slv_buf b;
    slv_buf_init(&b, 3);
    assert_int_equal(slv_file_read(path, &b, &e), SLV_E_LIMIT);
    slv_buf_fini(&b);
    assert_int_equal(slv_map_open(dir, &m, &e), SLV_E_IO);
    assert_non_null(strstr(e.msg, "a folder"));
    assert_int_equal(slv_map_open("/nonexistent/x", &m, &e), SLV_E_NOENT);
    assert_int_equal(slv_file_write("/nonexistent/x", "", 0, 0600, &e), SLV_E_NOENT);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* no temporary file was left */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_codes_have_texts_and_exit_statuses),
        cmocka_unit_test(messages_are_prefixed_from_the_outside_in),
        cmocka_unit_test(messages_cannot_drive_a_terminal_or_overflow),
        cmocka_unit_test(sizes_do_not_wrap),
        cmocka_unit_test(the_chosen_allocation_fails_once),
        cmocka_unit_test(growing_stops_at_the_maximum),
        cmocka_unit_test(arena_keeps_pointers_and_its_maximum),
        cmocka_unit_test(buffer_keeps_its_maximum_and_says_so),
        cmocka_unit_test(json_is_escaped_and_numbers_round_trip),
        cmocka_unit_test(utf8_follows_the_standard),
        cmocka_unit_test(files_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
