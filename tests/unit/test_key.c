/* test_key.c: a device key is what it was when it was made, is nobody else's to read, is never lost
 * to a second one, and after a rotation what the old one signed and opened is still signed and
 * opened. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/key.h"
#include "trust/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the place of the C library's: a file system that can only link. */
static bool only_links;
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    if (only_links || !(flags & RENAME_NOREPLACE)) {
        errno = EINVAL;
        return -1;
    }
    return !faccessat(to, new, F_OK, AT_SYMLINK_NOFOLLOW) ? (errno = EEXIST, -1)
                                                          : renameat(from, old, to, new);
}

static struct slv_err err;

static struct slv_key *saved_key(const char *path) {
    struct slv_key *k = NULL;
    assert_int_equal(slv_key_new(&k, &err), 0);
    assert_int_equal(slv_key_save(k, path, false, &err), 0);
    return k;
}

static int opens(const char *path) {
    struct slv_key *k = NULL;
    int rc = slv_key_open(path, false, &k, &err);
    slv_key_close(k);
    return rc;
}

/* --- fields ----------------------------------------------------------------------------------- */

static void hexadecimal_has_one_form(void **state) {
    (void)state;
    uint8_t all[256], back[256];
    char hex[SLV_HEX(256)];
    for (size_t i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    slv_hex_write(all, 256, hex);
    assert_true(slv_hex_read(hex, back, 256));
    assert_memory_equal(all, back, 256);
    for (int c = 0; c < 256; c++) {
        char two[2] = {(char)c, '0'};
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        assert_int_equal(slv_hex_read(two, back, 1), good);
    }
}

static bool reads_number(const char *text, uint64_t *ret) {
    struct slv_fields f;
    slv_fields_init(&f, text, strlen(text), "title");
    slv_fields_uint(&f, "n", ret);
    return !slv_fields_check(&f, "x", NULL);
}

static void fields_have_one_form(void **state) {
    (void)state;
    uint64_t v = 7;
    static const char *const bad[] = {"",
                                      "title",
                                      "title\n",
                                      "title \nn 1\n",
                                      "title\nn 1",
                                      "title\nn\n",
                                      "title\nn \n",
                                      "title\nn 01\n",
                                      "title\nn +1\n",
                                      "title\nn 1 \n",
                                      "title\nn  1\n",
                                      "title\nm 1\n",
                                      "title\nn 1\n\n",
                                      "title\nn 1\r\n",
                                      "title x\nn 1\n",
                                      "title\nn 18446744073709551616\n",
                                      "titlex\nn 1\n",
                                      "title\nn 1\nn 1\n",
                                      "title\nn 1x\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(reads_number(bad[i], &v));
    assert_true(reads_number("title\nn 0\n", &v) && v == 0);
    assert_true(reads_number("title\nn 18446744073709551615\n", &v) && v == UINT64_MAX);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void signatures_are_those_of_rfc_8032(void **state) {
    (void)state;
    static const char text[] =
        "selvage device key 1\ncreated 1\n"
        "public 3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\n"
        "secret 4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb\n";
    struct slv_key *k = NULL;
    uint8_t sig[SLV_SIG_BYTES];
    char hex[SLV_HEX(SLV_SIG_BYTES)];
    scratch_write(scratch("k"), text, sizeof text - 1);
    assert_int_equal(slv_key_open(scratch("k"), false, &k, &err), 0);
    assert_int_equal(slv_key_sign(k, "\x72", 1, sig, &err), 0);
    slv_hex_write(sig, sizeof sig, hex);
    assert_string_equal(hex, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_true(slv_pub_verify(slv_key_pub(k)->key, "\x72", 1, sig));
    assert_false(slv_pub_verify(slv_key_pub(k)->key, "\x73", 1, sig));
    slv_key_close(k);
}

static void a_key_is_read_as_it_was_written(void **state) {
    (void)state;
    const char *path = scratch("a/b/device.key");
    struct slv_key *k = saved_key(path), *again = NULL;
    struct stat st;
    uint8_t one[SLV_SIG_BYTES], two[SLV_SIG_BYTES];
    assert_int_equal(slv_key_open(path, false, &again, &err), 0);
    assert_int_equal(slv_key_sign(k, "x", 1, one, &err), 0);
    assert_int_equal(slv_key_sign(again, "x", 1, two, &err), 0);
    assert_memory_equal(one, two, sizeof one);
    assert_true(!stat(path, &st) && (st.st_mode & 07777) == 0600);
    assert_true(!stat(scratch("a"), &st) && (st.st_mode & 07777) == 0700);
    slv_key_close(again);
    assert_int_equal(slv_key_open(path, true, &again, &err), 0);
    assert_int_equal(slv_key_sign(again, "x", 1, two, &err), SLV_E_INTERNAL);
    slv_key_close(again);
    slv_key_close(k);
}

static void a_key_that_others_may_read_is_refused(void **state) {
    (void)state;
    const char *path = scratch("k");
    slv_key_close(saved_key(path));
    static const mode_t bad[] = {0640, 0604, 0620, 0602, 0644, 0777, 0610};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(chmod(path, bad[i]), 0);
        assert_int_equal(opens(path), SLV_E_TRUST);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(opens(path), 0);
    assert_int_equal(opens(scratch("")), SLV_E_TRUST); /* a folder */
    assert_int_equal(opens(scratch("none")), SLV_E_NOENT);
    assert_non_null(strstr(err.msg, "key new"));
}

static void a_key_is_not_lost_to_another(void **state) {
    (void)state;
    const char *path = scratch("k");
    struct slv_key *k = NULL, *first = saved_key(path);
    char *before = scratch_read(path, NULL), *after;
    assert_int_equal(slv_key_new(&k, &err), 0);
    assert_int_equal(slv_key_save(k, path, false, &err), SLV_E_USAGE);
    after = scratch_read(path, NULL);
    assert_string_equal(before, after);
    assert_false(scratch_there(scratch("k.tmp")));
    free(after);
    assert_int_equal(slv_key_save(k, path, true, &err), 0);
    after = scratch_read(path, NULL);
    assert_string_not_equal(before, after);
    free(before);
    free(after);
    slv_key_close(first);
    slv_key_close(k);
}

static void a_key_is_not_lost_where_files_can_only_be_linked(void **state) {
    (void)state;
    only_links = true;
    a_key_is_not_lost_to_another(state);
    only_links = false;
}

/* What somebody left there who may read it is not written into as it is. */
static void a_temporary_file_of_before_gives_nothing_away(void **state) {
    (void)state;
    struct stat st;
    scratch_write(scratch("k.tmp"), "x", 1);
    assert_int_equal(chmod(scratch("k.tmp"), 0644), 0);
    slv_key_close(saved_key(scratch("k")));
    assert_true(!stat(scratch("k"), &st) && (st.st_mode & 07777) == 0600);
}

/* Killed between the two names that a new file has for a moment: the next one must not be written
 * into the first. */
static void a_second_name_of_a_key_is_not_written_to(void **state) {
    (void)state;
    struct slv_key *k = saved_key(scratch("k")), *other = NULL;
    char *before = scratch_read(scratch("k"), NULL);
    assert_int_equal(link(scratch("k"), scratch("k.tmp")), 0);
    assert_int_equal(slv_key_new(&other, &err), 0);
    assert_int_equal(slv_key_save(other, scratch("k"), false, &err), SLV_E_USAGE);
    char *after = scratch_read(scratch("k"), NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
    slv_key_close(other);
    slv_key_close(k);
}

static void no_byte_of_a_key_file_can_change(void **state) {
    (void)state;
    const char *path = scratch("k"), *hurt = scratch("h");
    size_t n = 0;
    slv_key_close(saved_key(path));
    assert_int_equal(slv_key_rotate(path, false, NULL, &err), 0);
    char *text = scratch_read(path, &n);
    /* the first key's time is nobody's to vouch for */
    size_t time_at = (size_t)(strstr(text, "created ") - text) + 8;
    for (size_t i = 0; i < n; i++) {
        if (i >= time_at && i < time_at + 10) continue;
        text[i] ^= 1;
        scratch_write(hurt, text, n);
        int rc = opens(hurt);
        assert_true(rc == SLV_E_FORMAT || rc == SLV_E_TRUST);
        text[i] ^= 1;
    }
    for (size_t i = 0; i < n; i++) {
        scratch_write(hurt, text, i);
        int rc = opens(hurt);
        bool whole =
            i == (size_t)(strstr(text + time_at, "created ") - text); /* the first key alone */
        assert_true(whole ? !rc : rc == SLV_E_FORMAT);
    }
    free(text);
}

static void after_a_rotation_the_old_key_still_counts(void **state) {
    (void)state;
    const char *path = scratch("k");
    struct slv_key *old = saved_key(path), *k = NULL;
    uint8_t secret[32] = {1, 2, 3}, wrapped[SLV_WRAP_BYTES], back[32] = {0};
    struct slv_buf text;
    struct slv_pubs pubs = {0};
    assert_int_equal(slv_pub_wrap(slv_key_pub(old)->key, secret, wrapped, &err), 0);
    assert_int_equal(slv_key_rotate(path, false, &k, &err), 0);
    assert_int_equal(slv_key_pubs(k)->n, 2);
    assert_string_not_equal(slv_key_pub(k)->id, slv_key_pub(old)->id);
    assert_int_equal(slv_key_unwrap(k, slv_key_pub(old)->id, wrapped, back), 0);
    assert_memory_equal(secret, back, 32);
    assert_int_equal(slv_key_unwrap(k, slv_key_pub(k)->id, wrapped, back), SLV_E_TRUST);
    slv_key_close(k);
    slv_buf_init(&text, 1 << 20);
    assert_int_equal(slv_key_rotate(path, true, &k, &err), 0);
    assert_int_equal(slv_key_unwrap(k, slv_key_pub(old)->id, wrapped, back), SLV_E_NOENT);
    assert_int_equal(slv_pubs_write(slv_key_pubs(k), &text), 0);
    assert_null(strstr(text.data, "secret"));
    assert_int_equal(slv_pubs_parse(&pubs, text.data, text.len, "x", &err), 0);
    assert_int_equal(pubs.n, 3);
    assert_non_null(slv_pubs_find(&pubs, slv_key_pub(old)->id));
    slv_pubs_fini(&pubs);
    slv_buf_fini(&text);
    slv_key_close(k);
    slv_key_close(old);
}

static void wrapped_secrets_are_for_one_key_and_whole(void **state) {
    (void)state;
    struct slv_key *k = saved_key(scratch("k"));
    uint8_t secret[32] = {9}, w[SLV_WRAP_BYTES], back[32], zeros[32] = {0};
    assert_int_equal(slv_pub_wrap(slv_key_pub(k)->key, secret, w, &err), 0);
    for (size_t i = 0; i < sizeof w; i++) {
        w[i] ^= 0x10;
        memset(back, 0, sizeof back);
        assert_int_equal(slv_key_unwrap(k, slv_key_pub(k)->id, w, back), SLV_E_TRUST);
        assert_memory_equal(back, zeros, sizeof back);
        w[i] ^= 0x10;
    }
    assert_int_equal(slv_key_unwrap(k, "00112233445566778899aabbccddeeff", w, back), SLV_E_NOENT);
    assert_int_equal(slv_pub_wrap(zeros, secret, w, &err),
                     SLV_E_TRUST); /* a point of small order */
    slv_key_close(k);
}

/* Another's key cannot be slipped into a device's list. */
static void a_list_of_keys_is_one_devices(void **state) {
    (void)state;
    const char *path = scratch("k");
    struct slv_key *k = NULL, *other = saved_key(scratch("o"));
    struct slv_pubs pubs = {0};
    struct slv_pub p;
    struct slv_buf text;
    slv_key_close(saved_key(path));
    assert_int_equal(slv_key_rotate(path, false, &k, &err), 0);
    slv_buf_init(&text, 1 << 20);
    p = *slv_key_pub(other);
    p.first = false;
    memcpy(p.signed_by, slv_key_pub(k)->signed_by, sizeof p.signed_by);
    assert_int_equal(slv_pubs_write(slv_key_pubs(k), &text), 0);
    slv_pub_put(&p, &text);
    assert_int_equal(slv_pubs_parse(&pubs, text.data, text.len, "x", &err), SLV_E_TRUST);
    assert_int_equal(pubs.n, 0);
    slv_pubs_fini(&pubs);
    slv_buf_fini(&text);
    slv_key_close(k);
    slv_key_close(other);
}

static void trusted_keys_are_this_users_to_choose(void **state) {
    (void)state;
    struct slv_pubs pubs = {0};
    struct slv_key *k = saved_key(scratch("k"));
    struct slv_buf text;
    slv_buf_init(&text, 1 << 20);
    assert_int_equal(slv_pubs_write(slv_key_pubs(k), &text), 0);
    scratch_write(scratch("a.pub"), text.data, text.len);
    scratch_write(scratch("b.text"), "other files are none of its business", 5);
    assert_int_equal(slv_pubs_read_folder(&pubs, scratch("."), &err), 0);
    assert_int_equal(pubs.n, 1);
    assert_int_equal(slv_pubs_read_folder(&pubs, scratch("none"), &err), 0);
    assert_int_equal(chmod(scratch("a.pub"), 0666), 0);
    assert_int_equal(slv_pubs_read_folder(&pubs, scratch("."), &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "a.pub: others may write to it"));
    slv_pubs_fini(&pubs);
    slv_buf_fini(&text);
    slv_key_close(k);
}

static void failed_allocations_lose_no_key(void **state) {
    (void)state;
    char path[200], tmp[200];
    strcpy(path, scratch("k"));
    strcpy(tmp, scratch("k.tmp"));
    slv_key_close(saved_key(path));
    for (uint64_t n = 1, done = 0; !done; n++) {
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = slv_key_rotate(path, false, NULL, &err);
        slv_mem_fail_at(0);
        done = slv_mem_count() - before < n;
        assert_true(done ? !rc : rc == 0 || rc == SLV_E_NOMEM);
        assert_int_equal(opens(path), 0);
        assert_false(scratch_there(tmp));
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_drop)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(hexadecimal_has_one_form),
        T(fields_have_one_form),
        T(signatures_are_those_of_rfc_8032),
        T(a_key_is_read_as_it_was_written),
        T(a_key_that_others_may_read_is_refused),
        T(a_key_is_not_lost_to_another),
        T(a_key_is_not_lost_where_files_can_only_be_linked),
        T(a_temporary_file_of_before_gives_nothing_away),
        T(a_second_name_of_a_key_is_not_written_to),
        T(no_byte_of_a_key_file_can_change),
        T(after_a_rotation_the_old_key_still_counts),
        T(wrapped_secrets_are_for_one_key_and_whole),
        T(a_list_of_keys_is_one_devices),
        T(trusted_keys_are_this_users_to_choose),
        T(failed_allocations_lose_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
