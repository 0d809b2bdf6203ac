/* test_apikeys.c: a token opens what its key says and nothing else does; the file never has it;
 * what is wrong in the file is refused with the key and member, and leaves the keys of before in
 * force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/apikeys.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 2000000000

static struct slv_err err;
static char path[200];

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(path, scratch("api.json"));
    return 0;
}

static int add(const char *name, char id[SLV_APIKEY_ID], char token[SLV_APIKEY_TOKEN]) {
    static const char *const models[] = {"a", "b"};
    struct slv_apikey k = {.name = name,
                           .models = {models, 2},
                           .context = 4096,
                           .priority = -3,
                           .tokens_per_minute = 100,
                           .requests_per_minute = 10,
                           .sessions = 2};
    return slv_apikeys_add(path, &k, id, token, &err);
}

static int find(struct slv_apikeys *k, const char *token) {
    const struct slv_apikey *key = NULL;
    int rc = slv_apikeys_find(k, token, strlen(token), NOW, &key, &err);
    slv_apikey_put(key);
    return rc;
}

static void a_token_opens_its_key(void **state) {
    (void)state;
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN], wrong[SLV_APIKEY_TOKEN];
    struct slv_apikeys *k = NULL;
    const struct slv_apikey *key = NULL;
    struct stat st;
    assert_int_equal(add("alice", id, token), 0);
    assert_int_equal(strlen(token), 47);
    assert_memory_equal(token, "slv_", 4);
    assert_true(!stat(path, &st) && (st.st_mode & 07777) == 0600);
    char *text = scratch_read(path, NULL);
    assert_null(strstr(text, token));
    assert_null(strstr(text, token + 4));
    free(text);
    assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
    assert_int_equal(slv_apikeys_find(k, token, 47, NOW, &key, &err), 0);
    assert_string_equal(key->name, "alice");
    assert_string_equal(key->id, id);
    assert_true(key->context == 4096 && key->tokens_per_minute == 100 && key->priority == -3);
    assert_true(key->requests_per_minute == 10 && key->sessions == 2 && !key->admin);
    assert_true(slv_apikey_names_allow(&key->models, "b"));
    assert_false(slv_apikey_names_allow(&key->models, "c"));
    assert_true(slv_apikey_names_allow(&key->adapters, "c"));
    slv_apikey_put(key);
    for (size_t i = 0; i < 47; i++) {
        memcpy(wrong, token, sizeof wrong);
        wrong[i] = wrong[i] == 'x' ? 'y' : 'x';
        assert_int_equal(find(k, wrong), SLV_E_TRUST);
        assert_int_equal(slv_apikeys_find(k, token, i, NOW, &key, &err), SLV_E_TRUST);
    }
    assert_int_equal(find(k, ""), SLV_E_TRUST);
    assert_int_equal(find(k, "slv_ and far more than a token has of characters, all of it wrong"),
                     SLV_E_TRUST);
    slv_apikeys_close(k);
}

static void revoked_and_expired_keys_open_nothing(void **state) {
    (void)state;
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN], id2[SLV_APIKEY_ID], token2[SLV_APIKEY_TOKEN];
    struct slv_apikeys *k = NULL;
    const struct slv_apikey *key = NULL;
    struct slv_apikey until = {.name = "bob", .not_after = NOW};
    bool changed = false;
    assert_int_equal(add("alice", id, token), 0);
    assert_int_equal(slv_apikeys_add(path, &until, id2, token2, &err), 0);
    assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
    assert_int_equal(find(k, token2), 0);
    assert_int_equal(slv_apikeys_find(k, token2, 47, NOW + 1, &key, &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "has expired"));
    assert_int_equal(slv_apikeys_find(k, token, 47, NOW, &key, &err), 0);
    assert_int_equal(slv_apikeys_reload(k, &changed, &err), 0);
    assert_false(changed);
    assert_int_equal(add("alice", id2, token2), SLV_E_USAGE);
    assert_int_equal(slv_apikeys_revoke(path, "alice", id2, &err), 0);
    assert_string_equal(id, id2);
    assert_int_equal(slv_apikeys_revoke(path, "alice", id2, &err), SLV_E_NOENT);
    assert_int_equal(slv_apikeys_revoke(path, id, id2, &err), 0); /* it is already */
    assert_int_equal(find(k, token), 0);                          /* not read yet */
    assert_int_equal(slv_apikeys_reload(k, &changed, &err), 0);
    assert_true(changed);
    assert_string_equal(key->name, "alice"); /* who holds it keeps it */
    slv_apikey_put(key);
    assert_int_equal(find(k, token), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "was revoked"));
    assert_int_equal(add("alice", id2, token2), 0); /* a new one of that name */
    slv_apikeys_close(k);
}

static void what_is_wrong_in_the_file_is_named(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "line 1"},
        {"[]", "is not a file of API keys"},
        {"{\"version\":1}", "is not a file of API keys"},
        {"{\"version\":2,\"keys\":[]}", "'version'"},
        {"{\"version\":1,\"keys\":[],\"x\":1}", "is not a file of API keys"},
        {"{\"version\":1,\"keys\":[1]}", "key 1: 'object'"},
        {"{\"version\":1,\"keys\":[{}]}", "key 1: 'id'"},
#define KEY(hash, more) "{\"id\":\"0011223344556677\",\"name\":\"a\",\"hash\":\"" hash "\"" more "}"
#define H "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define FILE_OF(keys) "{\"version\":1,\"keys\":[" keys "]}"
        {FILE_OF("{\"id\":\"0011223344556677\"}"), "key 1: 'name'"},
        {FILE_OF("{\"id\":\"0011223344556677\",\"name\":\"a\\u0000b\"}"), "line 1"},
        {FILE_OF("{\"id\":\"0011223344556677\",\"name\":\"a\\u001bb\"}"), "key 1: 'name'"},
        {FILE_OF(KEY("00", "")), "key 1: 'hash'"},
        {FILE_OF(KEY(H, ",\"created\":-1")), "key 1: 'created'"},
        {FILE_OF(KEY(H, ",\"admin\":1")), "key 1: 'admin'"},
        {FILE_OF(KEY(H, ",\"priority\":101")), "key 1: 'priority'"},
        {FILE_OF(KEY(H, ",\"priority\":\"1\"")), "key 1: 'priority'"},
        {FILE_OF(KEY(H, ",\"models\":\"a\"")), "key 1: 'models'"},
        {FILE_OF(KEY(H, ",\"adapters\":[1]")), "key 1: 'adapters'"},
        {FILE_OF(KEY(H, ",\"limits\":[]")), "key 1: 'limits'"},
        {FILE_OF(KEY(H, ",\"limits\":{\"token_per_minute\":5}")), "key 1: 'token_per_minute'"},
        {FILE_OF(KEY(H, ",\"limits\":{\"sessions\":1.5}")), "key 1: 'sessions'"},
        {FILE_OF(KEY(H, ",\"scope\":[]")), "key 1: 'scope'"},
        {FILE_OF(KEY(H, "") "," KEY(H, "")), "key 2: has the hash of another one"},
        {FILE_OF(KEY(H, "") "," KEY(
             "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "")),
         "two keys have the id"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(slv_apikeys_check(bad[i][0], strlen(bad[i][0]), &err), SLV_E_FORMAT);
        if (!strstr(err.msg, bad[i][1])) fail_msg("%s: not: %s", err.msg, bad[i][1]);
    }
    static const char good[] = FILE_OF(KEY(H, ",\"models\":[],\"limits\":{}"));
    assert_int_equal(slv_apikeys_check(good, sizeof good - 1, &err), 0);
}

static void a_bad_file_leaves_the_keys_of_before(void **state) {
    (void)state;
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN];
    struct slv_apikeys *k = NULL;
    assert_int_equal(slv_apikeys_open(path, &k, &err), SLV_E_NOENT);
    assert_int_equal(add("alice", id, token), 0);
    assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
    scratch_write(path, "{", 1);
    assert_int_equal(slv_apikeys_reload(k, NULL, &err), SLV_E_FORMAT);
    assert_int_equal(find(k, token), 0);
    assert_int_equal(add("bob", id, token), SLV_E_FORMAT);
    assert_int_equal(chmod(path, 0622), 0);
    assert_int_equal(slv_apikeys_reload(k, NULL, &err), SLV_E_TRUST);
    unlink(path);
    assert_int_equal(slv_apikeys_reload(k, NULL, &err), SLV_E_NOENT);
    slv_apikeys_close(k);
}

static void names_that_could_not_be_read_again_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"", "\x1b[31m", "a\nb", "\xff", "\x7f"};
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN], big[SLV_APIKEY_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slv_apikey k = {.name = "good", .models = {&bad[i], 1}};
        assert_int_equal(slv_apikeys_add(path, &k, id, token, &err), SLV_E_USAGE);
        assert_int_equal(add(bad[i], id, token), SLV_E_USAGE);
    }
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(add(big, id, token), SLV_E_USAGE);
    assert_int_equal(add(big + 1, id, token), 0);
    assert_int_equal(add("\"\\/\xc3\xa4", id, token), 0);
}

static void many_keys_are_each_found(void **state) {
    (void)state;
    char tokens[100][SLV_APIKEY_TOKEN], ids[100][SLV_APIKEY_ID], name[20];
    struct slv_apikeys *k = NULL;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(add(name, ids[i], tokens[i]), 0);
    }
    assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
    for (size_t i = 0; i < 100; i++) {
        const struct slv_apikey *key = NULL, *same = slv_apikeys_get(k, i);
        assert_int_equal(slv_apikeys_find(k, tokens[i], 47, NOW, &key, &err), 0);
        assert_string_equal(key->id, ids[i]);
        assert_true(same == key);
        slv_apikey_put(same);
        slv_apikey_put(key);
    }
    assert_null(slv_apikeys_get(k, 100));
    slv_apikeys_close(k);
}

struct asker {
    struct slv_apikeys *k;
    const char *token;
    int bad;
};

static void *ask(void *arg) {
    struct asker *a = arg;
    for (int i = 0; i < 2000; i++) {
        const struct slv_apikey *key = NULL;
        if (slv_apikeys_find(a->k, a->token, 47, NOW, &key, NULL) || strcmp(key->name, "alice"))
            a->bad++;
        slv_apikey_put(key);
    }
    return NULL;
}

static void keys_are_found_while_they_are_reloaded(void **state) {
    (void)state;
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN], id2[SLV_APIKEY_ID], token2[SLV_APIKEY_TOKEN];
    struct slv_apikeys *k = NULL;
    pthread_t t[4];
    struct asker a[4];
    assert_int_equal(add("alice", id, token), 0);
    assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
    for (int i = 0; i < 4; i++) {
        a[i] = (struct asker){k, token, 0};
        assert_int_equal(pthread_create(&t[i], NULL, ask, &a[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(add(name, id2, token2), 0);
        assert_int_equal(slv_apikeys_reload(k, NULL, &err), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(a[i].bad, 0);
    }
    slv_apikeys_close(k);
}

static void *read_json(void *arg) {
    json_t *doc = json_loads("{\"a\":[1,2,3]}", 0, NULL);
    bool *ok = arg;
    *ok = json_array_size(json_object_get(doc, "a")) == 3;
    json_decref(doc);
    return NULL;
}

/* On a thread that never read a file of keys: the allocator is the process's. */
static void who_else_reads_json_still_can(void **state) {
    (void)state;
    pthread_t t;
    bool here = false, there = false;
    static const char text[] = "{\"version\":1,\"keys\":[]}";
    assert_int_equal(slv_apikeys_check(text, sizeof text - 1, &err), 0);
    read_json(&here);
    assert_int_equal(pthread_create(&t, NULL, read_json, &there), 0);
    pthread_join(t, NULL);
    assert_true(here && there);
}

static void failed_allocations_leave_a_sound_file(void **state) {
    (void)state;
    char id[SLV_APIKEY_ID], token[SLV_APIKEY_TOKEN], id2[SLV_APIKEY_ID], token2[SLV_APIKEY_TOKEN];
    assert_int_equal(add("alice", id, token), 0);
    char *text = scratch_read(path, NULL);
    for (uint64_t n = 1, done = 0; !done; n++) {
        struct slv_apikeys *k = NULL;
        scratch_write(path, text, strlen(text));
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = add("bob", id2, token2);
        if (!rc) rc = slv_apikeys_open(path, &k, &err);
        if (!rc) rc = find(k, token);
        slv_apikeys_close(k);
        slv_mem_fail_at(0);
        done = slv_mem_count() - before < n;
        if (rc != 0 && rc != SLV_E_NOMEM) fail_msg("%d %s", rc, err.msg);
        k = NULL;
        assert_int_equal(slv_apikeys_open(path, &k, &err), 0);
        assert_int_equal(find(k, token), 0);
        slv_apikeys_close(k);
    }
    free(text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_drop)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_token_opens_its_key),
        T(revoked_and_expired_keys_open_nothing),
        T(what_is_wrong_in_the_file_is_named),
        T(a_bad_file_leaves_the_keys_of_before),
        T(names_that_could_not_be_read_again_are_refused),
        T(many_keys_are_each_found),
        T(keys_are_found_while_they_are_reloaded),
        T(who_else_reads_json_still_can),
        T(failed_allocations_leave_a_sound_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
