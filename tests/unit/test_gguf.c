/* test_gguf.c: models that other programs wrote open here, whole or in parts, and what their
 * metadata says comes out unchanged. What must not open is in test_gguf_hostile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "format/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- writing GGUF ----------------------------------------------------------------------------- */

/* The test machine is little-endian, as is the format. */
static void put(struct slv_buf *b, const void *p, size_t n) {
    assert_int_equal(slv_buf_add(b, p, n), 0);
}
static void put_u32(struct slv_buf *b, uint32_t v) { put(b, &v, sizeof v); }
static void put_u64(struct slv_buf *b, uint64_t v) { put(b, &v, sizeof v); }
static void put_str(struct slv_buf *b, const char *s) {
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void put_key(struct slv_buf *b, const char *key, enum slv_gguf_kind kind) {
    put_str(b, key);
    put_u32(b, kind);
}

static void put_array(struct slv_buf *b, const char *key, enum slv_gguf_kind kind, uint64_t n) {
    put_key(b, key, SLV_GGUF_ARRAY);
    put_u32(b, kind);
    put_u64(b, n);
}

static void put_header(struct slv_buf *b, uint32_t version, uint64_t tensors, uint64_t kvs) {
    slv_buf_init(b, 1 << 20);
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, kvs);
}

static void put_tensor(struct slv_buf *b, const char *name, enum slv_dtype_id type, uint64_t ne0,
                       uint64_t ne1, uint64_t offset) {
    put_str(b, name);
    put_u32(b, ne1 ? 2 : 1);
    put_u64(b, ne0);
    if (ne1) put_u64(b, ne1);
    put_u32(b, type);
    put_u64(b, offset);
}

static void pad(struct slv_buf *b, size_t align) {
    while (b->len % align)
        slv_buf_addc(b, 0);
}

static struct slv_gguf *parse(const struct slv_buf *b) {
    struct slv_gguf *g = NULL;
    struct slv_err e = {0};
    if (slv_gguf_parse(b->data, b->len, &g, &e)) fail_msg("%s", e.msg);
    return g;
}

static bool str_is(struct slv_str s, const char *want) {
    return s.n == strlen(want) && !memcmp(s.p, want, s.n);
}

/* --- metadata --------------------------------------------------------------------------------- */

static void both_versions_in_use_open(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct slv_buf b;
        put_header(&b, version, 0, 1);
        put_key(&b, "general.name", SLV_GGUF_STR);
        put_str(&b, "tiny");
        struct slv_gguf *g = parse(&b);
        struct slv_str s;
        assert_int_equal(slv_gguf_version(g), version);
        assert_int_equal(slv_gguf_file_bytes(g), b.len);
        assert_int_equal(slv_gguf_n_tensors(g), 0);
        assert_null(slv_gguf_tensor_at(g, 0));
        assert_null(slv_gguf_tensor(g, "x"));
        assert_true(slv_gguf_str(g, "general.name", &s) && str_is(s, "tiny"));
        assert_false(slv_gguf_has(g, "general.nam"));
        assert_false(slv_gguf_has(g, "general.name2"));
        slv_gguf_close(g);
        slv_buf_fini(&b);
    }
    slv_gguf_close(NULL);
}

/* Every scalar kind with one value. */
static void put_scalars(struct slv_buf *b) {
    put_header(b, 3, 0, 14);
    put_key(b, "u8", SLV_GGUF_U8), put(b, "\xff", 1);
    put_key(b, "i8", SLV_GGUF_I8), put(b, "\xff", 1);
    put_key(b, "u16", SLV_GGUF_U16), put(b, "\xfe\xff", 2);
    put_key(b, "i16", SLV_GGUF_I16), put(b, "\xfe\xff", 2);
    put_key(b, "u32", SLV_GGUF_U32), put_u32(b, UINT32_MAX);
    put_key(b, "i32", SLV_GGUF_I32), put_u32(b, (uint32_t)INT32_MIN);
    put_key(b, "f32", SLV_GGUF_F32), put(b, &(float){0.1f}, 4);
    put_key(b, "yes", SLV_GGUF_BOOL), put(b, "\1", 1);
    put_key(b, "str", SLV_GGUF_STR), put_u64(b, 3), put(b, "a\0\xff", 3);
    put_key(b, "u64", SLV_GGUF_U64), put_u64(b, UINT64_MAX);
    put_key(b, "i64", SLV_GGUF_I64), put_u64(b, (uint64_t)INT64_MIN);
    put_key(b, "f64", SLV_GGUF_F64), put(b, &(double){0.1}, 8);
    put_key(b, "huge", SLV_GGUF_F64), put(b, &(double){1e300}, 8);
    put_key(b, "one", SLV_GGUF_U64), put_u64(b, 1);
}

static void integers_come_out_whole_or_not_at_all(void **state) {
    (void)state;
    static const struct {
        const char *key;
        bool is_i64, is_u32;
        int64_t i64;
    } cases[] = {
        {"u8", true, true, 255},  {"i8", true, false, -1},         {"u16", true, true, 65534},
        {"i16", true, false, -2}, {"u32", true, true, UINT32_MAX}, {"i32", true, false, INT32_MIN},
        {"u64", false, false, 0}, {"i64", true, false, INT64_MIN}, {"one", true, true, 1},
        {"f32", false, false, 0}, {"f64", false, false, 0},        {"yes", false, false, 0},
        {"str", false, false, 0}, {"none", false, false, 0},
    };
    struct slv_buf b;
    put_scalars(&b);
    struct slv_gguf *g = parse(&b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t i64 = 77;
        uint32_t u32 = 77;
        assert_int_equal(slv_gguf_i64(g, cases[i].key, &i64), cases[i].is_i64);
        assert_int_equal(slv_gguf_u32(g, cases[i].key, &u32), cases[i].is_u32);
        assert_int_equal(i64, cases[i].is_i64 ? cases[i].i64 : 77);
        assert_int_equal(u32, cases[i].is_u32 ? (uint32_t)cases[i].i64 : 77);
    }
    slv_gguf_close(g);
    slv_buf_fini(&b);
}

static void other_values_convert_as_documented(void **state) {
    (void)state;
    struct slv_buf b;
    put_scalars(&b);
    struct slv_gguf *g = parse(&b);
    float f = 0;
    bool yes = false;
    struct slv_str s = {0};
    assert_true(slv_gguf_f32(g, "f32", &f) && f == 0.1f);
    assert_true(slv_gguf_f32(g, "f64", &f) && f == 0.1f);
    assert_true(slv_gguf_f32(g, "i16", &f) && f == -2.0f);
    assert_false(slv_gguf_f32(g, "huge", &f));
    assert_false(slv_gguf_f32(g, "yes", &f));
    assert_false(slv_gguf_f32(g, "str", &f));
    assert_true(slv_gguf_bool(g, "yes", &yes) && yes);
    assert_true(slv_gguf_bool(g, "one", &yes) && yes);
    assert_false(slv_gguf_bool(g, "u8", &yes));
    assert_false(slv_gguf_bool(g, "f32", &yes));
    assert_false(slv_gguf_bool(g, "str", &yes));
    assert_true(slv_gguf_str(g, "str", &s));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0\xff", 3);
    assert_false(slv_gguf_str(g, "u8", &s));
    size_t n;
    enum slv_gguf_kind kind;
    struct slv_gguf_array a;
    assert_false(slv_gguf_arr(g, "str", &a) || a.n);
    for (n = 0; slv_gguf_kv_at(g, n, &s, &kind); n++)
        if (n == 1) assert_true(str_is(s, "i8") && kind == SLV_GGUF_I8);
    assert_int_equal(n, 14);
    slv_gguf_close(g);
    slv_buf_fini(&b);
}

static const struct slv_gguf_array *array(const struct slv_gguf *g, const char *key) {
    static struct slv_gguf_array a;
    assert_true(slv_gguf_arr(g, key, &a));
    return &a;
}

static void arrays_are_read_by_element(void **state) {
    (void)state;
    struct slv_buf b;
    put_header(&b, 3, 0, 6);
    put_array(&b, "ints", SLV_GGUF_I16, 3), put(&b, "\1\0\xff\xff\0\x80", 6);
    put_array(&b, "floats", SLV_GGUF_F32, 2), put(&b, (float[]){1.5f, -2.5f}, 8);
    put_array(&b, "bools", SLV_GGUF_BOOL, 2), put(&b, "\0\1", 2);
    put_array(&b, "words", SLV_GGUF_STR, 3), put_str(&b, "a"), put_str(&b, ""), put_str(&b, "ccc");
    put_array(&b, "empty", SLV_GGUF_STR, 0);
    put_array(&b, "nested", SLV_GGUF_ARRAY, 2);
    put_u32(&b, SLV_GGUF_STR), put_u64(&b, 1), put_str(&b, "x");
    put_u32(&b, SLV_GGUF_U8), put_u64(&b, 2), put(&b, "yz", 2);
    struct slv_gguf *g = parse(&b);
    struct slv_gguf_array a;
    int64_t i;
    float f;
    bool yes;
    struct slv_str s;
    assert_true(array(g, "ints")->kind == SLV_GGUF_I16 && array(g, "ints")->n == 3);
    assert_true(slv_gguf_arr_i64(array(g, "ints"), 2, &i) && i == -32768);
    assert_false(slv_gguf_arr_i64(array(g, "ints"), 3, &i));
    assert_false(slv_gguf_arr_i64(array(g, "ints"), SIZE_MAX, &i));
    assert_true(slv_gguf_arr_f32(array(g, "ints"), 1, &f) && f == -1.0f);
    assert_true(slv_gguf_arr_bool(array(g, "ints"), 0, &yes) && yes);
    assert_false(slv_gguf_arr_bool(array(g, "ints"), 1, &yes));
    assert_true(slv_gguf_arr_f32(array(g, "floats"), 1, &f) && f == -2.5f);
    assert_false(slv_gguf_arr_i64(array(g, "floats"), 0, &i));
    assert_true(slv_gguf_arr_bool(array(g, "bools"), 1, &yes) && yes);
    assert_true(slv_gguf_arr_str(array(g, "words"), 0, &s) && str_is(s, "a"));
    assert_true(slv_gguf_arr_str(array(g, "words"), 1, &s) && str_is(s, ""));
    assert_true(slv_gguf_arr_str(array(g, "words"), 2, &s) && str_is(s, "ccc"));
    assert_false(slv_gguf_arr_str(array(g, "words"), 3, &s));
    assert_false(slv_gguf_arr_i64(array(g, "words"), 0, &i));
    assert_false(slv_gguf_arr_str(array(g, "ints"), 0, &s));
    assert_true(slv_gguf_arr(g, "empty", &a) && a.n == 0);
    assert_false(slv_gguf_arr_str(array(g, "empty"), 0, &s));
    assert_true(array(g, "nested")->kind == SLV_GGUF_ARRAY && array(g, "nested")->n == 2);
    assert_false(slv_gguf_arr_str(array(g, "nested"), 0, &s));
    assert_false(slv_gguf_arr_i64(array(g, "nested"), 1, &i));
    assert_false(slv_gguf_i64(g, "ints", &i));
    assert_false(slv_gguf_str(g, "words", &s));
    slv_gguf_close(g);
    slv_buf_fini(&b);
}

/* Names sorted, reversed and shuffled must all be found: a broken index loses tensors silently. */
static void every_name_is_found_among_many(void **state) {
    (void)state;
    enum { N = 1000 };
    struct slv_buf b;
    char key[32];
    put_header(&b, 3, 0, N);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(key, sizeof key, "k%u", (unsigned)(i * 617 % N));
        put_key(&b, key, SLV_GGUF_U32), put_u32(&b, i * 617 % N);
    }
    struct slv_gguf *g = parse(&b);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t v;
        snprintf(key, sizeof key, "k%u", (unsigned)i);
        assert_true(slv_gguf_u32(g, key, &v) && v == i);
    }
    assert_false(slv_gguf_has(g, "k1000"));
    assert_false(slv_gguf_has(g, ""));
    slv_gguf_close(g);
    slv_buf_fini(&b);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void tensors_lie_where_the_file_says(void **state) {
    (void)state;
    for (uint32_t align = 8; align <= 4096; align *= 8) {
        struct slv_buf b;
        put_header(&b, 3, 2, 1);
        put_key(&b, "general.alignment", SLV_GGUF_U32), put_u32(&b, align);
        put_tensor(&b, "b.weight", SLV_Q4_0, 64, 3, align);
        put_tensor(&b, "a", SLV_F32, 2, 0, 0);
        pad(&b, align);
        size_t start = b.len;
        put(&b, (float[]){1, 2}, 8);
        pad(&b, align);
        for (int i = 0; i < 2 * 3 * 18; i++)
            slv_buf_addc(&b, (char)i);
        struct slv_gguf *g = parse(&b);
        const struct slv_gguf_tensor *t = slv_gguf_tensor(g, "b.weight");
        assert_ptr_equal(t, slv_gguf_tensor_at(g, 0));
        assert_int_equal(t->type->id, SLV_Q4_0);
        assert_int_equal(t->n_dims, 2);
        assert_true(t->ne[0] == 64 && t->ne[1] == 3 && t->ne[2] == 1 && t->ne[3] == 1);
        assert_int_equal(t->bytes, 2 * 3 * 18);
        assert_int_equal(t->offset, start + align);
        assert_ptr_equal(t->data, b.data + start + align);
        t = slv_gguf_tensor(g, "a");
        assert_ptr_equal(t, slv_gguf_tensor_at(g, 1));
        assert_int_equal(t->bytes, 8);
        assert_true(((const float *)t->data)[1] == 2);
        assert_null(slv_gguf_tensor(g, "b"));
        slv_gguf_close(g);
        slv_buf_fini(&b);
    }
}

static void messages_say_where_and_why(void **state) {
    (void)state;
    struct slv_buf b;
    struct slv_gguf *g;
    struct slv_err e;
    put_header(&b, 3, 1, 0);
    put_tensor(&b, "w", SLV_Q4_0, 33, 0, 0);
    pad(&b, 64);
    assert_int_equal(slv_gguf_parse(b.data, b.len, &g, &e), SLV_E_FORMAT);
    assert_string_equal(e.msg, "tensor 'w': offset 45: rows of 33 are not whole q4_0 blocks of 32");
    assert_int_equal(slv_gguf_parse(b.data, b.len, &g, NULL), SLV_E_FORMAT);
    assert_int_equal(slv_gguf_parse(NULL, 0, &g, &e), SLV_E_FORMAT);
    slv_buf_fini(&b);
    assert_int_equal(slv_gguf_open("/nonexistent.gguf", &g, &e), SLV_E_NOENT);
    assert_string_equal(e.msg, "/nonexistent.gguf: No such file or directory");
}

/* --- split sets ------------------------------------------------------------------------------- */

struct set {
    char dir[32];
    char path[3][96];
};

/* Writes part `no` of `count`: one tensor named `name`. The first part also has metadata. */
static void write_part(const char *path, uint16_t no, uint16_t count, int32_t tensors,
                       const char *name) {
    struct slv_buf b;
    put_header(&b, 3, 1, no == 0 ? 4 : 3);
    put_key(&b, "split.no", SLV_GGUF_U16), put(&b, &no, 2);
    put_key(&b, "split.count", SLV_GGUF_U16), put(&b, &count, 2);
    put_key(&b, "split.tensors.count", SLV_GGUF_I32), put(&b, &tensors, 4);
    if (no == 0) {
        put_array(&b, "words", SLV_GGUF_STR, 1);
        put_str(&b, "w");
    }
    put_tensor(&b, name, SLV_F32, 8, 0, 0);
    pad(&b, 32);
    for (int i = 0; i < 8; i++)
        put(&b, &(float){no}, 4);
    struct slv_err e;
    assert_int_equal(slv_file_write(path, b.data, b.len, 0600, &e), 0);
    slv_buf_fini(&b);
}

static void make_set(struct set *s) {
    static const char *const names[3] = {"c", "a", "b"};
    strcpy(s->dir, "/tmp/slv-gguf-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    for (uint16_t i = 0; i < 3; i++) {
        snprintf(s->path[i], sizeof s->path[i], "%s/m-%05d-of-00003.gguf", s->dir, i + 1);
        write_part(s->path[i], i, 3, 3, names[i]);
    }
}

static void remove_set(struct set *s) {
    for (int i = 0; i < 3; i++)
        unlink(s->path[i]);
    assert_int_equal(rmdir(s->dir), 0);
}

static void split_models_open_as_one(void **state) {
    (void)state;
    struct set s;
    struct slv_gguf *g;
    struct slv_err e;
    struct slv_str word;
    make_set(&s);
    if (slv_gguf_open(s.path[0], &g, &e)) fail_msg("%s", e.msg);
    assert_int_equal(slv_gguf_n_tensors(g), 3);
    assert_true(*(const float *)slv_gguf_tensor(g, "c")->data == 0.0f);
    assert_true(*(const float *)slv_gguf_tensor(g, "a")->data == 1.0f);
    assert_true(*(const float *)slv_gguf_tensor(g, "b")->data == 2.0f);
    assert_true(slv_gguf_arr_str(array(g, "words"), 0, &word) && str_is(word, "w"));
    uint64_t bytes = slv_gguf_file_bytes(g);
    slv_gguf_close(g);
    assert_true(bytes > 3 * 32);
    remove_set(&s);
}

/* Opens part `which` of a set whose part `changed` was rewritten and returns the code. */
static int open_changed(int which, int changed, uint16_t no, uint16_t count, int32_t tensors,
                        const char *name, struct slv_err *e) {
    struct set s;
    struct slv_gguf *g = NULL;
    make_set(&s);
    write_part(s.path[changed], no, count, tensors, name);
    int rc = slv_gguf_open(s.path[which], &g, e);
    if (!rc) slv_gguf_close(g);
    remove_set(&s);
    return rc;
}

static void broken_split_sets_are_refused(void **state) {
    (void)state;
    struct slv_err e;
    assert_int_equal(open_changed(1, 1, 1, 3, 3, "a", &e), SLV_E_USAGE);
    assert_non_null(strstr(e.msg, "m-00001-of-00003.gguf"));
    assert_int_equal(open_changed(0, 1, 0, 3, 3, "a", &e), SLV_E_FORMAT); /* part 1 again */
    assert_non_null(strstr(e.msg, "00002-of-00003.gguf: does not say it is part 2"));
    assert_int_equal(open_changed(0, 2, 2, 3, 3, "a", &e), SLV_E_FORMAT);
    assert_non_null(strstr(e.msg, "part 3: offset"));
    assert_non_null(strstr(e.msg, "the tensor 'a' is there twice"));
    assert_int_equal(open_changed(0, 0, 0, 3, 4, "c", &e), SLV_E_FORMAT);
    assert_non_null(strstr(e.msg, "the parts hold 3 tensors, not 4"));
    assert_int_equal(open_changed(0, 0, 0, 3, -2, "c", &e), SLV_E_FORMAT);
    assert_int_equal(open_changed(0, 0, 3, 3, 3, "c", &e), SLV_E_FORMAT);
    assert_int_equal(open_changed(0, 0, 0, 4, 3, "c", &e), SLV_E_FORMAT); /* not its name */
    assert_non_null(strstr(e.msg, "must have a name that ends in -00001-of-00004.gguf"));
    assert_int_equal(open_changed(0, 0, 0, 65535, 3, "c", &e), SLV_E_LIMIT);
    assert_int_equal(open_changed(0, 0, 0, 0, 3, "c", &e), 0); /* what merging leaves behind */
    struct set s;
    struct slv_gguf *g;
    make_set(&s);
    unlink(s.path[2]);
    assert_int_equal(slv_gguf_open(s.path[0], &g, &e), SLV_E_NOENT);
    struct slv_map m;
    assert_int_equal(slv_map_open(s.path[0], &m, &e), 0);
    assert_int_equal(slv_gguf_parse(m.data, m.size, &g, &e), SLV_E_UNSUPPORTED);
    slv_map_close(&m);
    remove_set(&s);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state) {
    (void)state;
    struct set s;
    struct slv_gguf *g = NULL;
    make_set(&s);
    int rc = SLV_E_NOMEM;
    unsigned tries = 0;
    while (rc && tries++ < 1000) {
        struct slv_err e = {0};
        slv_mem_fail_at(tries);
        rc = slv_gguf_open(s.path[0], &g, &e);
        slv_mem_fail_at(0);
        if (rc) {
            assert_int_equal(rc, SLV_E_NOMEM);
            assert_non_null(strstr(e.msg, "out of memory"));
            assert_null(g);
        }
    }
    assert_int_equal(rc, 0);
    assert_true(tries > 10);
    slv_gguf_close(g);
    remove_set(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_in_use_open),
        cmocka_unit_test(integers_come_out_whole_or_not_at_all),
        cmocka_unit_test(other_values_convert_as_documented),
        cmocka_unit_test(arrays_are_read_by_element),
        cmocka_unit_test(every_name_is_found_among_many),
        cmocka_unit_test(tensors_lie_where_the_file_says),
        cmocka_unit_test(messages_say_where_and_why),
        cmocka_unit_test(split_models_open_as_one),
        cmocka_unit_test(broken_split_sets_are_refused),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
