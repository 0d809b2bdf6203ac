/* test_store.c: a name leads to the very bytes that were stored under it, or to a message; nothing
 * a user or a damaged file says leads outside the store, and no failed allocation damages it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json_parse.h"
#include "base/mem.h"
#include "store/hub.h"
#include "store/store.h"
#include "store/store_int.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char dir[64];
static struct slv_store *st;
static struct slv_err err;

static int set_up(void **state) {
    char home[100];
    (void)state;
    strcpy(dir, "/tmp/selvage-store-XXXXXX");
    memset(&err, 0, sizeof err);
    if (!mkdtemp(dir)) return -1;
    snprintf(home, sizeof home, "%s/home//", dir);
    return slv_store_open(home, &st, &err);
}

static int tear_down(void **state) {
    char command[100];
    (void)state;
    slv_store_close(st);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* A model file of n bytes after the magic. */
static const char *model(const char *name, char fill, size_t n) {
    static char path[200];
    char *data = malloc(n + 4);
    assert_non_null(data);
    memcpy(data, "GGUF", 4);
    memset(data + 4, fill, n);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(slv_file_write(path, data, n + 4, 0644, NULL), 0);
    free(data);
    return path;
}

static int add(const char *name, const char *path) {
    struct slv_store_import in = {.path = path};
    return slv_store_add_file(st, name, &in, &err);
}

static int resolve(const char *name, char ret[500]) {
    struct slv_buf path;
    slv_buf_init(&path, 490);
    int rc = slv_store_resolve(st, name, &path, &err);
    if (!rc) strcpy(ret, path.data);
    slv_buf_fini(&path);
    return rc;
}

static size_t count(void) {
    struct slv_arena a;
    struct slv_store_model *v;
    size_t n = 0;
    slv_arena_init(&a, 1 << 24);
    assert_int_equal(slv_store_list(st, &a, &v, &n, NULL, &err), 0);
    slv_arena_fini(&a);
    return n;
}

static void digests_are_sha256(void **state) {
    (void)state;
    char hex[SLV_SHA256_HEX];
    assert_int_equal(slv_sha256_bytes("abc", 3, hex), 0);
    assert_string_equal(hex, DIGEST_ABC);
    assert_true(slv_sha256_valid(hex));
    assert_false(slv_sha256_valid("abc"));
    hex[3] = 'A';
    assert_false(slv_sha256_valid(hex));
}

static void names_that_could_lead_elsewhere_are_refused(void **state) {
    (void)state;
    static const char *const good[] = {"a",           "smollm2", "smollm2:135m-instruct",
                                       "A.b_c-9:1.0", "hf:a/b",  "hf:Own-er/Re.po_1:d/x y.gguf"};
    static const char *const bad[] = {"",
                                      ":",
                                      "a:",
                                      ":b",
                                      "a:b:c",
                                      "../x",
                                      "a/b",
                                      "a/../b",
                                      ".a",
                                      "-a",
                                      "a b",
                                      "a\n",
                                      "a\x1b",
                                      "\xc3\xa4",
                                      "hf:",
                                      "hf:a",
                                      "hf:a/",
                                      "hf:/b",
                                      "hf:a/b:",
                                      "hf:a/b:../x",
                                      "hf:a/b:/x",
                                      "hf:a/b:x/../y",
                                      "hf:a/b:x//y",
                                      "hf:a/b/c",
                                      "hf:../b",
                                      "hf:a/..",
                                      "hf:a/b:x\ny",
                                      "hf:a/b:.x",
                                      "hf:a/b:x\\y"};
    char big[SLV_STORE_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(slv_store_check_name(good[i], NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(slv_store_check_name(bad[i], NULL), SLV_E_USAGE);
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(slv_store_check_name(big, NULL), SLV_E_USAGE);
}

static void a_name_leads_to_the_bytes_stored(void **state) {
    (void)state;
    char path[500], text[600];
    struct slv_buf b;
    assert_int_equal(count(), 0);
    assert_int_equal(add("one:a", model("x.gguf", 'x', 1000)), 0);
    assert_int_equal(resolve("one:a", path), 0);
    slv_buf_init(&b, 5000);
    assert_int_equal(slv_file_read(path, &b, NULL), 0);
    assert_int_equal(b.len, 1004);
    assert_memory_equal(b.data, "GGUFxxxx", 8);
    slv_buf_fini(&b);
    snprintf(text, sizeof text, "%s/home/blobs/sha256-", dir);
    assert_memory_equal(path, text, strlen(text));
    /* the source may change or go */
    model("x.gguf", 'y', 10);
    assert_int_equal(resolve("one:a", path), 0);
}

static void a_model_argument_is_a_path_or_a_name(void **state) {
    (void)state;
    char path[500];
    const char *file = model("x.gguf", 'x', 10);
    assert_int_equal(resolve(file, path), 0);
    assert_string_equal(path, file);
    assert_int_equal(resolve("./no.gguf", path), SLV_E_NOENT);
    assert_int_equal(resolve("no.gguf", path), SLV_E_NOENT);
    assert_int_equal(resolve("noname", path), SLV_E_NOENT);
    assert_non_null(strstr(err.msg, "selvage list"));
    assert_int_equal(resolve("hf:a/b", path), SLV_E_NOENT);
    assert_string_equal(err.msg, "hf:a/b: not in the store: get it with 'selvage pull hf:a/b'");
    assert_int_equal(resolve("hf:a/../b", path), SLV_E_USAGE);
    assert_int_equal(resolve(NULL, path), SLV_E_NOENT);
    assert_non_null(strstr(err.msg, "selvage pull smollm2:135m-instruct"));
    assert_int_equal(add("hf:a/b", file), 0);
    assert_int_equal(resolve("hf:a/b", path), 0);
}

static void the_known_model_cannot_be_replaced(void **state) {
    (void)state;
    const struct slv_alias *a = slv_alias_default();
    struct slv_store_import in = {.path = model("x.gguf", 'x', 10), .want_sha256 = a->sha256};
    assert_int_equal(slv_store_add_file(st, a->name, &in, &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, a->sha256));
    assert_int_equal(count(), 0);
}

static void one_content_is_kept_once_and_as_long_as_it_is_named(void **state) {
    (void)state;
    char a[500], b[500];
    uint64_t freed = 1;
    assert_int_equal(add("one", model("x.gguf", 'x', 1000)), 0);
    assert_int_equal(add("two", model("y.gguf", 'x', 1000)), 0);
    assert_int_equal(resolve("one", a), 0);
    assert_int_equal(resolve("two", b), 0);
    assert_string_equal(a, b);
    assert_int_equal(slv_store_remove(st, "one", &freed, &err), 0);
    assert_int_equal(freed, 0);
    assert_int_equal(resolve("two", b), 0);
    assert_int_equal(slv_store_remove(st, "two", &freed, &err), 0);
    assert_int_equal(freed, 1004);
    assert_int_equal(access(a, F_OK), -1);
    assert_int_equal(slv_store_remove(st, "two", &freed, &err), SLV_E_NOENT);
}

static void a_name_that_gets_another_file_lets_the_old_one_go(void **state) {
    (void)state;
    char a[500], b[500];
    assert_int_equal(add("one", model("x.gguf", 'x', 1000)), 0);
    assert_int_equal(resolve("one", a), 0);
    assert_int_equal(add("one", model("x.gguf", 'y', 1000)), 0);
    assert_int_equal(resolve("one", b), 0);
    assert_string_not_equal(a, b);
    assert_int_equal(access(a, F_OK), -1);
    assert_int_equal(count(), 1);
}

static void a_hard_link_shares_the_file_and_leaves_it_as_it_is(void **state) {
    (void)state;
    struct stat s, t;
    char path[500];
    struct slv_store_import in = {.path = model("x.gguf", 'x', 1000), .link = true};
    assert_int_equal(slv_store_add_file(st, "one", &in, &err), 0);
    assert_int_equal(resolve("one", path), 0);
    assert_int_equal(stat(in.path, &s) | stat(path, &t), 0);
    assert_true(s.st_ino == t.st_ino && (s.st_mode & 0777) == 0644);
}

static void a_split_set_opens_beside_its_parts(void **state) {
    (void)state;
    char path[500], other[500];
    char first[200];
    model("m-00002-of-00002.gguf", 'b', 100);
    snprintf(first, sizeof first, "%s", model("m-00001-of-00002.gguf", 'a', 100));
    assert_int_equal(add("set", first), 0);
    assert_int_equal(resolve("set", path), 0);
    assert_string_equal(path + strlen(path) - 21, "m-00001-of-00002.gguf");
    snprintf(other, sizeof other, "%.*sm-00002-of-00002.gguf", (int)strlen(path) - 21, path);
    assert_int_equal(access(other, R_OK), 0);
    assert_int_equal(slv_store_remove(st, "set", NULL, &err), 0);
    assert_int_equal(access(other, F_OK), -1);
    unlink(first);
    model("m-00001-of-00003.gguf", 'a', 100);
    snprintf(first, sizeof first, "%s/m-00001-of-00003.gguf", dir);
    assert_int_equal(add("set", first), SLV_E_NOENT);
    assert_int_equal(count(), 0);
}

static void what_is_no_model_file_is_not_stored(void **state) {
    (void)state;
    char path[200];
    snprintf(path, sizeof path, "%s/t.gguf", dir);
    assert_int_equal(slv_file_write(path, "GGU", 3, 0644, NULL), 0);
    assert_int_equal(add("one", path), SLV_E_FORMAT);
    assert_int_equal(add("one", dir), SLV_E_IO);
    assert_int_equal(add("one", "/no/such"), SLV_E_NOENT);
    assert_int_equal(add("../one", path), SLV_E_USAGE);
    assert_int_equal(count(), 0);
}

static void damaged_records_are_counted_and_nothing_is_dropped(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "null",
        "[]",
        "{}",
        "{\"version\":1}",
        "{\"version\":2,\"name\":\"one\",\"source\":\"\",\"added\":0,\"files\":[]}",
        "{\"version\":1,\"name\":\"one\",\"source\":\"\",\"added\":0,\"files\":[]}",
        "{\"version\":1,\"name\":\"one\",\"source\":\"\",\"added\":0,\"files\":[{\"file\":\"../x\","
        "\"sha256\":\"" DIGEST_ABC "\",\"size\":1}]}",
        "{\"version\":1,\"name\":\"one\",\"source\":\"\",\"added\":0,\"files\":[{\"file\":\"x\","
        "\"sha256\":\"../../x\",\"size\":1}]}",
        "{\"version\":1,\"name\":\"one\",\"source\":\"\",\"added\":0,\"files\":[{\"file\":\"x\","
        "\"sha256\":\"" DIGEST_ABC "\",\"size\":-1}]}",
        "{\"version\":1,\"name\":\"another\",\"source\":\"\",\"added\":0,\"files\":[{\"file\":"
        "\"x\","
        "\"sha256\":\"" DIGEST_ABC "\",\"size\":1}]}"};
    char path[500];
    assert_int_equal(add("keep", model("y.gguf", 'y', 10)), 0);
    assert_int_equal(add("one", model("x.gguf", 'x', 10)), 0);
    assert_int_equal(resolve("one", path), 0);
    char *record = slv__record_path(st, "one");
    assert_non_null(record);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct slv_arena a;
        struct slv_store_model *v;
        char unused[500];
        size_t n = 0, damaged = 0;
        assert_int_equal(slv_file_write(record, texts[i], strlen(texts[i]), 0644, NULL), 0);
        slv_arena_init(&a, 1 << 24);
        assert_int_equal(slv_store_list(st, &a, &v, &n, &damaged, &err), 0);
        slv_arena_fini(&a);
        assert_true(n == 1 && damaged == 1);
        assert_int_equal(resolve("one", unused), SLV_E_FORMAT);
        assert_int_equal(slv_store_remove(st, "keep", NULL, &err), 0);
        assert_int_equal(access(path, F_OK), 0); /* the damaged record may name it */
        assert_int_equal(add("keep", model("y.gguf", 'y', 10)), 0);
    }
    assert_int_equal(slv_store_remove(st, "one", NULL, &err), 0);
    assert_int_equal(access(path, F_OK), -1);
    slv_mem_free(record);
}

static void a_missing_or_short_blob_is_said(void **state) {
    (void)state;
    char path[500], unused[500];
    assert_int_equal(add("one", model("x.gguf", 'x', 1000)), 0);
    assert_int_equal(resolve("one", path), 0);
    assert_int_equal(chmod(path, 0644) | truncate(path, 10), 0);
    assert_int_equal(resolve("one", unused), SLV_E_IO);
    assert_non_null(strstr(err.msg, "remove and pull it again"));
    unlink(path);
    assert_int_equal(resolve("one", unused), SLV_E_IO);
    assert_int_equal(add("one", model("x.gguf", 'x', 1000)), 0);
    assert_int_equal(resolve("one", unused), 0);
}

static void what_a_killed_process_leaves_goes_away(void **state) {
    (void)state;
    struct slv_store_partials p;
    char path[300];
    static const char *const litter[] = {"blobs/sha256-" DIGEST_ABC, "partial/import-1-0",
                                         "names/" DIGEST_ABC ".json.77.tmp"};
    assert_int_equal(add("one", model("x.gguf", 'x', 10)), 0);
    for (size_t i = 0; i < sizeof litter / sizeof litter[0]; i++) {
        snprintf(path, sizeof path, "%s/home/%s", dir, litter[i]);
        assert_int_equal(slv_file_write(path, "abc", 3, 0644, NULL), 0);
    }
    snprintf(path, sizeof path, "%s/home/partial/url-x", dir);
    assert_int_equal(slv_file_write(path, "abcdef", 6, 0644, NULL), 0);
    snprintf(path, sizeof path, "%s/home/partial/gone.meta", dir);
    assert_int_equal(slv_file_write(path, "{}", 2, 0644, NULL), 0);
    assert_int_equal(add("two", model("y.gguf", 'y', 10)), 0);
    for (size_t i = 0; i < sizeof litter / sizeof litter[0]; i++) {
        snprintf(path, sizeof path, "%s/home/%s", dir, litter[i]);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(slv_store_partials(st, &p, &err), 0);
    assert_true(p.n == 1 && p.bytes == 6);
    assert_int_equal(slv_store_clean(st, &p, &err), 0);
    assert_true(p.n == 1 && p.bytes == 6);
    snprintf(path, sizeof path, "%s/home/partial", dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(count(), 2);
}

static int store_it(char *path) { return add("one", path); }

static int look_up(char *path) { return resolve("one", path); }

static int list_all(char *path) {
    struct slv_arena a;
    struct slv_store_model *v;
    size_t n;
    (void)path;
    slv_arena_init(&a, 1 << 24);
    int rc = slv_store_list(st, &a, &v, &n, NULL, &err);
    slv_arena_fini(&a);
    return rc;
}

static int remove_it(char *path) {
    (void)path;
    return slv_store_remove(st, "one", NULL, &err);
}

/* Each allocation of a piece of work fails in turn: it fails with it, or does without. */
static void fail_each_allocation(const char *file, int (*work)(char *path), bool stored) {
    for (uint64_t n = 1;; n++) {
        char path[500];
        snprintf(path, sizeof path, "%s", file);
        if (stored) assert_int_equal(add("one", file), 0);
        else if (count()) assert_int_equal(slv_store_remove(st, "one", NULL, NULL), 0);
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = work(path);
        slv_mem_fail_at(0);
        if (slv_mem_count() - before < n) {
            assert_int_equal(rc, 0);
            assert_true(n > 3);
            return;
        }
        assert_true(rc <= 0 && rc != SLV_E_TRUST && rc != SLV_E_FORMAT);
        assert_true(count() <= 1);
        if (count()) assert_int_equal(resolve("one", path), 0);
    }
}

static void failed_allocations_leave_a_sound_store(void **state) {
    (void)state;
    char file[200];
    snprintf(file, sizeof file, "%s", model("x.gguf", 'x', 100));
    fail_each_allocation(file, store_it, false);
    fail_each_allocation(file, look_up, true);
    fail_each_allocation(file, list_all, true);
    fail_each_allocation(file, remove_it, true);
}

/* A listing from a server, as long as one may be, all of it empty objects or arrays; and one
 * that is nested to the end. */
static void a_document_of_many_values_does_not_fill_memory(void **state) {
    (void)state;
    enum { N = 16 << 20 };
    static const char *const units[] = {"{},", "[],", "0,", "\"\",", "["};
    char *text = slv_mem_alloc(N);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        struct slv_err why = {0};
        struct json_t *doc = NULL;
        size_t len = strlen(units[u]);
        text[0] = '[';
        for (size_t i = 1; i < N; i++)
            text[i] = units[u][(i - 1) % len];
        int rc = slv_json_parse(text, N, "listing", &doc, &why);
        assert_true(rc == SLV_E_LIMIT || (u == 4 && rc == SLV_E_FORMAT));
        assert_int_equal(why.code, rc);
    }
    slv_mem_free(text);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(digests_are_sha256),
        CASE(names_that_could_lead_elsewhere_are_refused),
        CASE(a_name_leads_to_the_bytes_stored),
        CASE(a_model_argument_is_a_path_or_a_name),
        CASE(the_known_model_cannot_be_replaced),
        CASE(one_content_is_kept_once_and_as_long_as_it_is_named),
        CASE(a_name_that_gets_another_file_lets_the_old_one_go),
        CASE(a_hard_link_shares_the_file_and_leaves_it_as_it_is),
        CASE(a_split_set_opens_beside_its_parts),
        CASE(what_is_no_model_file_is_not_stored),
        CASE(damaged_records_are_counted_and_nothing_is_dropped),
        CASE(a_document_of_many_values_does_not_fill_memory),
        CASE(a_missing_or_short_blob_is_said),
        CASE(what_a_killed_process_leaves_goes_away),
        CASE(failed_allocations_leave_a_sound_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
