/* test_sign.c: a signature is of one file and one key: any other byte, size, key or line is
 * refused, with a reason that says which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/sign.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES ((2u << 20) + 77) /* more than a piece */

static struct slv_err err;
static struct slv_key *key;
static char path[200];
static struct slv_signature sig;
static char text[SLV_SIGN_TEXT_MAX];
static size_t text_n;

static int set_up(void **state) {
    int rc = scratch_make(state);
    struct slv_buf b;
    char *data = malloc(FILE_BYTES);
    if (rc || !data) return -1;
    strcpy(path, scratch("model.gguf"));
    scratch_noise(data, FILE_BYTES, 1);
    scratch_write(path, data, FILE_BYTES);
    free(data);
    slv_buf_init(&b, sizeof text - 1);
    if (slv_key_new(&key, &err) || slv_sign_file(key, path, NULL, &sig, &err) ||
        slv_signature_write(&sig, &b))
        return -1;
    memcpy(text, b.data, b.len + 1);
    text_n = b.len;
    slv_buf_fini(&b);
    return 0;
}

static int tear_down(void **state) {
    slv_key_close(key);
    return scratch_drop(state);
}

static int verify_text(const char *t, size_t n) {
    struct slv_signature s;
    int rc = slv_signature_parse(t, n, "s", &s, &err);
    return rc ? rc : slv_signature_verify(&s, slv_key_pubs(key), path, NULL, &err);
}

static void a_file_is_what_was_signed(void **state) {
    (void)state;
    uint8_t digest[64];
    size_t n = 0;
    assert_int_equal(verify_text(text, text_n), 0);
    char *data = scratch_read(path, &n);
    crypto_generichash(digest, sizeof digest, (unsigned char *)data, n, NULL, 0);
    assert_int_equal(sig.size, FILE_BYTES);
    assert_memory_equal(digest, sig.digest, sizeof digest);
    free(data);
    assert_int_equal(rename(path, scratch("other.gguf")), 0);
    strcpy(path, scratch("other.gguf"));
    assert_int_equal(verify_text(text, text_n), 0); /* under another name */
}

static void another_file_is_refused(void **state) {
    (void)state;
    size_t n = 0;
    char *data = scratch_read(path, &n);
    static const size_t at[] = {0, 1u << 20, FILE_BYTES - 1};
    for (size_t i = 0; i < 3; i++) {
        data[at[i]] ^= 4;
        scratch_write(path, data, n);
        assert_int_equal(verify_text(text, text_n), SLV_E_TRUST);
        assert_non_null(strstr(err.msg, "another digest"));
        data[at[i]] ^= 4;
    }
    scratch_write(path, data, n - 1);
    assert_int_equal(verify_text(text, text_n), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "2097228 bytes, 2097229 were signed"));
    scratch_write(path, data, n);
    assert_int_equal(verify_text(text, text_n), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(verify_text(text, text_n), SLV_E_NOENT);
    free(data);
}

static void no_byte_of_a_signature_can_change(void **state) {
    (void)state;
    char hurt[SLV_SIGN_TEXT_MAX];
    for (size_t i = 0; i < text_n; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(hurt, text, text_n);
            hurt[i] ^= (char)(1 << bit);
            int rc = verify_text(hurt, text_n);
            assert_true(rc == SLV_E_TRUST || rc == SLV_E_FORMAT);
        }
    for (size_t i = 0; i < text_n; i++)
        assert_int_equal(verify_text(text, i), SLV_E_FORMAT);
    memcpy(hurt, text, text_n);
    hurt[text_n] = '\n';
    assert_int_equal(verify_text(hurt, text_n + 1), SLV_E_FORMAT);
}

static void a_key_that_is_not_trusted_is_refused(void **state) {
    (void)state;
    struct slv_key *other = NULL;
    struct slv_signature s = sig;
    struct slv_pubs none = {0};
    assert_int_equal(slv_key_new(&other, &err), 0);
    assert_int_equal(slv_signature_verify(&s, slv_key_pubs(other), path, NULL, &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "which is not trusted"));
    assert_int_equal(slv_signature_verify(&s, &none, path, NULL, &err), SLV_E_TRUST);
    memcpy(s.key, slv_key_pub(other)->id, sizeof s.key); /* claims to be another's */
    assert_int_equal(slv_signature_verify(&s, slv_key_pubs(other), path, NULL, &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "was not signed by key"));
    slv_key_close(other);
}

static bool stop_at_once(void *ctx) {
    (void)ctx;
    return true;
}

static void signing_can_be_stopped(void **state) {
    (void)state;
    struct slv_ui ui = {.cancelled = stop_at_once};
    struct slv_signature s;
    assert_int_equal(slv_sign_file(key, path, &ui, &s, &err), SLV_E_CANCELLED);
    assert_int_equal(slv_sign_file(key, "/", NULL, &s, &err), SLV_E_IO);
    assert_int_equal(slv_sign_file(key, scratch("none"), NULL, &s, &err), SLV_E_NOENT);
}

static void an_empty_file_can_be_signed(void **state) {
    (void)state;
    struct slv_signature s;
    scratch_write(path, "", 0);
    assert_int_equal(slv_sign_file(key, path, NULL, &s, &err), 0);
    assert_int_equal(slv_signature_verify(&s, slv_key_pubs(key), path, NULL, &err), 0);
}

static void failed_allocations_are_errors(void **state) {
    (void)state;
    for (uint64_t n = 1, done = 0; !done; n++) {
        struct slv_signature s;
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = slv_sign_file(key, path, NULL, &s, &err);
        if (!rc) rc = slv_signature_verify(&s, slv_key_pubs(key), path, NULL, &err);
        slv_mem_fail_at(0);
        done = slv_mem_count() - before < n;
        assert_int_equal(rc, done ? 0 : SLV_E_NOMEM);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_file_is_what_was_signed),
        T(another_file_is_refused),
        T(no_byte_of_a_signature_can_change),
        T(a_key_that_is_not_trusted_is_refused),
        T(signing_can_be_stopped),
        T(an_empty_file_can_be_signed),
        T(failed_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
