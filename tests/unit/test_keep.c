/* test_keep.c: what is made of a sealed model comes back to those who can read the model, and what
 * others put in its place does not; of a signed file not one byte comes that was not signed, also
 * when somebody writes to it after it was checked. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/seal.h"
#include "trust/signed.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCK SLV_SEAL_BLOCK
#define STRIDE (BLOCK + 16)

static struct slv_err err;
static struct slv_key *key;
static char plain[200], sealed[200], kept[200];

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(plain, scratch("plain"));
    strcpy(sealed, scratch("sealed"));
    strcpy(kept, scratch("kept"));
    return slv_key_new(&key, &err);
}

static int tear_down(void **state) {
    slv_key_close(key);
    return scratch_drop(state);
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* The keeper of a new sealed file of these bytes. */
static struct slv_keeper keeper_of(const char *content) {
    struct slv_keeper k = {0};
    struct slv_sealed *f = NULL;
    scratch_write(plain, content, strlen(content));
    assert_int_equal(slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, NULL, &err), 0);
    assert_int_equal(slv_sealed_open(sealed, key, &f, &err), 0);
    assert_int_equal(slv_sealed_keeper(f, &k, &err), 0);
    slv_sealed_close(f);
    return k;
}

static int keep(const struct slv_keeper *k, enum slv_kept use, const uint8_t *data, size_t n,
                size_t step) {
    struct slv_sink to = {0};
    int rc = k->create(k->ctx, use, kept, &to, &err);
    for (size_t at = 0; at < n && !rc; at += step)
        rc = to.write(to.ctx, data + at, n - at < step ? n - at : step, &err);
    if (!rc) rc = to.commit(to.ctx, &err);
    slv_sink_close(&to);
    return rc;
}

/* Reads all of it; *ret_n bytes. */
static int take(const struct slv_keeper *k, enum slv_kept use, uint8_t *data, size_t *ret_n) {
    struct slv_blocks from = {0};
    int rc = k->open(k->ctx, use, kept, &from, &err);
    if (!rc) rc = slv_blocks_read(&from, 0, (size_t)from.size, data, &err);
    if (!rc) *ret_n = (size_t)from.size;
    slv_blocks_close(&from);
    return rc;
}

static void what_is_kept_comes_back_and_is_nowhere_plain(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model");
    static const size_t sizes[] = {0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 500};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i], got = 1, bytes = 0;
        uint8_t *data = malloc(n + 1), *back = malloc(n + 1);
        scratch_noise(data, n, (unsigned)i);
        assert_int_equal(keep(&k, SLV_KEPT_WEIGHTS, data, n, i % 2 ? 1000 : BLOCK), 0);
        assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &got), 0);
        assert_int_equal(got, n);
        assert_memory_equal(back, data, n);
        char *file = scratch_read(kept, &bytes);
        for (size_t at = 0; at + 16 <= n; at += 997)
            assert_null(memmem(file, bytes, data + at, 16));
        free(file);
        free(data);
        free(back);
    }
    k.close(k.ctx);
}

static void no_two_files_have_one_key(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model");
    uint8_t data[1000] = {0};
    size_t n = 0;
    assert_int_equal(keep(&k, SLV_KEPT_WEIGHTS, data, sizeof data, 1000), 0);
    char *one = scratch_read(kept, &n);
    assert_int_equal(keep(&k, SLV_KEPT_WEIGHTS, data, sizeof data, 1000), 0);
    char *two = scratch_read(kept, &n);
    assert_memory_not_equal(one + 160, two + 160, 1000);
    free(one);
    free(two);
    k.close(k.ctx);
}

/* What somebody who may write to the folder could put there. */
static void what_others_have_made_is_refused(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model"), other = keeper_of("a model");
    uint8_t data[100] = {1, 2, 3}, back[100];
    size_t n = 0;
    assert_true(k.id != other.id); /* of one content, sealed twice */
    assert_int_equal(keep(&other, SLV_KEPT_WEIGHTS, data, sizeof data, 100), 0);
    assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &n), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "was not made of this model"));
    assert_int_equal(keep(&k, SLV_KEPT_SESSION, data, sizeof data, 100), 0); /* for another use */
    assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &n), SLV_E_TRUST);
    assert_int_equal(take(&k, SLV_KEPT_SESSION, back, &n), 0);
    scratch_write(plain, data, sizeof data); /* sealed for the device's public key */
    assert_int_equal(slv_seal_file(plain, kept, slv_key_pubs(key), NULL, NULL, &err), 0);
    assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &n), SLV_E_TRUST);
    scratch_write(kept, data, sizeof data);
    assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &n), SLV_E_FORMAT);
    unlink(kept);
    assert_int_equal(take(&k, SLV_KEPT_WEIGHTS, back, &n), SLV_E_NOENT);
    k.close(k.ctx);
    other.close(other.ctx);
}

static void whoever_opens_the_model_opens_what_is_kept(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model"), again = {0};
    struct slv_sealed *f = NULL;
    uint8_t data[100] = {1, 2, 3}, back[100];
    size_t n = 0;
    assert_int_equal(keep(&k, SLV_KEPT_WEIGHTS, data, sizeof data, 100), 0);
    assert_int_equal(slv_sealed_open(sealed, key, &f, &err), 0); /* the next start */
    assert_int_equal(slv_sealed_keeper(f, &again, &err), 0);
    slv_sealed_close(f);
    assert_true(again.id == k.id);
    assert_int_equal(take(&again, SLV_KEPT_WEIGHTS, back, &n), 0);
    assert_int_equal(slv_sealed_open(kept, key, &f, &err), SLV_E_TRUST); /* the device key alone */
    k.close(k.ctx);
    again.close(again.ctx);
}

static void no_bit_of_it_can_change(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model");
    uint8_t data[300], back[300];
    size_t n = 0, got = 0;
    scratch_noise(data, sizeof data, 1);
    assert_int_equal(keep(&k, SLV_KEPT_WEIGHTS, data, sizeof data, 300), 0);
    char *file = scratch_read(kept, &n);
    for (size_t at = 0; at < n; at++) {
        file[at] = (char)(file[at] ^ 1);
        scratch_write(kept, file, n);
        int rc = take(&k, SLV_KEPT_WEIGHTS, back, &got);
        assert_true(rc == SLV_E_TRUST || (rc == SLV_E_FORMAT && at < 8));
        file[at] = (char)(file[at] ^ 1);
    }
    for (size_t end = 0; end < n; end++) {
        scratch_write(kept, file, end);
        assert_true(take(&k, SLV_KEPT_WEIGHTS, back, &got));
    }
    free(file);
    k.close(k.ctx);
}

static void what_is_not_finished_leaves_nothing(void **state) {
    (void)state;
    struct slv_keeper k = keeper_of("a model");
    struct slv_sink to = {0};
    uint8_t data[BLOCK + 5] = {0};
    assert_int_equal(k.create(k.ctx, SLV_KEPT_WEIGHTS, kept, &to, &err), 0);
    assert_int_equal(to.write(to.ctx, data, sizeof data, &err), 0);
    slv_sink_close(&to);
    assert_false(scratch_there(kept) || scratch_there(scratch("kept.tmp")));
    k.close(k.ctx);
}

static void failed_allocations_of_keepers_are_errors(void **state) {
    (void)state;
    uint8_t data[BLOCK + 100] = {0}, back[BLOCK + 100];
    for (uint64_t n = 1;; n++) {
        struct slv_keeper k = {0};
        struct slv_sealed *f = NULL;
        size_t got;
        scratch_write(plain, "x", 1);
        assert_int_equal(slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, NULL, &err), 0);
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = slv_sealed_open(sealed, key, &f, &err);
        if (!rc) rc = slv_sealed_keeper(f, &k, &err);
        if (!rc) rc = keep(&k, SLV_KEPT_SESSION, data, sizeof data, sizeof data);
        if (!rc) rc = take(&k, SLV_KEPT_SESSION, back, &got);
        slv_mem_fail_at(0);
        slv_sealed_close(f);
        if (k.close) k.close(k.ctx);
        if (slv_mem_count() - before < n) break;
        assert_true(rc == SLV_E_NOMEM || !rc); /* 0: only the folder was not synced */
    }
}

/* --- signed files ----------------------------------------------------------------------------- */

#define BYTES (3 * BLOCK + 777)
static uint8_t data_of[BYTES];

static struct slv_signature sign_plain(void) {
    struct slv_signature s;
    scratch_noise(data_of, BYTES, 7);
    scratch_write(plain, data_of, BYTES);
    assert_int_equal(slv_sign_file(key, plain, NULL, &s, &err), 0);
    return s;
}

static int open_signed(const struct slv_signature *s, size_t first, size_t piece,
                       struct slv_blocks *ret) {
    const struct slv_signed_pieces pieces = {first, piece};
    struct slv_blocks from = {0};
    int rc = slv_blocks_open_file(plain, &from, &err);
    if (!rc) rc = slv_signed_open(&from, plain, s, slv_key_pubs(key), &pieces, NULL, ret, &err);
    assert_null(from.ctx); /* taken over */
    return rc;
}

static void signed_bytes_are_those_of_the_file(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{0, 4096},         {0, BLOCK},    {0, BYTES * 2},
                                      {160, STRIDE},     {6304, 5000},  {BYTES, 4096},
                                      {BYTES + 1, 4096}, {1, BYTES - 1}};
    const struct slv_signature s = sign_plain();
    uint8_t *got = malloc(BYTES);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct slv_blocks b = {0};
        if (open_signed(&s, sizes[i][0], sizes[i][1], &b)) fail_msg("%s", err.msg);
        assert_int_equal(b.size, BYTES);
        for (size_t k = 0; k < 200; k++) {
            size_t at = k < 2 ? 0 : k * 7919 * 31 % BYTES,
                   n = k ? k * 104729 % (BYTES - at + 1) : BYTES;
            memset(got, 0, BYTES);
            assert_int_equal(slv_blocks_read(&b, at, n, got, &err), 0);
            assert_memory_equal(got, data_of + at, n);
        }
        slv_blocks_close(&b);
    }
    struct slv_blocks b = {0};
    assert_int_equal(open_signed(&s, 0, 100, &b), SLV_E_USAGE);
    free(got);
}

static void an_empty_file_can_be_signed(void **state) {
    (void)state;
    struct slv_signature s;
    struct slv_blocks b = {0};
    scratch_write(plain, "", 0);
    assert_int_equal(slv_sign_file(key, plain, NULL, &s, &err), 0);
    assert_int_equal(open_signed(&s, 0, 4096, &b), 0);
    assert_int_equal(b.size, 0);
    slv_blocks_close(&b);
}

static void another_file_is_refused(void **state) {
    (void)state;
    const struct slv_signature s = sign_plain();
    struct slv_blocks b = {0};
    for (size_t at = 0; at < BYTES; at += 9973) {
        data_of[at] ^= 1;
        scratch_write(plain, data_of, BYTES);
        assert_int_equal(open_signed(&s, 160, STRIDE, &b), SLV_E_TRUST);
        data_of[at] ^= 1;
    }
    scratch_write(plain, data_of, BYTES - 1);
    assert_int_equal(open_signed(&s, 160, STRIDE, &b), SLV_E_TRUST);
    struct slv_signature wrong = s;
    wrong.time++;
    scratch_write(plain, data_of, BYTES);
    assert_int_equal(open_signed(&wrong, 160, STRIDE, &b), SLV_E_TRUST);
    struct slv_key *mine = key;
    assert_int_equal(slv_key_new(&key, &err), 0); /* whom this user trusts */
    assert_int_equal(open_signed(&s, 160, STRIDE, &b), SLV_E_TRUST);
    slv_key_close(key);
    key = mine;
}

static void overwrite(size_t at, uint8_t byte) {
    int fd = open(plain, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, &byte, 1, (off_t)at) == 1);
    close(fd);
}

static void what_changes_after_the_check_does_not_come_out(void **state) {
    (void)state;
    const struct slv_signature s = sign_plain();
    struct slv_blocks b = {0};
    uint8_t *got = malloc(BYTES);
    assert_int_equal(open_signed(&s, 0, 4096, &b), 0);
    for (size_t at = 0; at < BYTES; at += 9973) {
        size_t from = at / 4096 * 4096, n = BYTES - from < 4096 ? BYTES - from : 4096;
        overwrite(at, data_of[at] ^ 0x80);
        assert_int_equal(slv_blocks_read(&b, 0, BYTES, got, &err), SLV_E_TRUST);
        assert_int_equal(slv_blocks_read(&b, from + n - 1, 1, got, &err), SLV_E_TRUST);
        assert_non_null(strstr(err.msg, "has changed since its signature was checked"));
        assert_int_equal(slv_blocks_read(&b, 0, from, got, &err),
                         0); /* the others are as they were */
        overwrite(at, data_of[at]);
        assert_int_equal(slv_blocks_read(&b, 0, BYTES, got, &err), 0);
    }
    assert_int_equal(truncate(plain, 5000), 0);
    assert_int_equal(slv_blocks_read(&b, 0, 4096, got, &err), 0);
    assert_int_equal(slv_blocks_read(&b, 4096, 4096, got, &err), SLV_E_TRUST);
    slv_blocks_close(&b);
    free(got);
}

/* The header of a sealed file is checked like the rest: it cannot be another's meanwhile. */
static void a_sealed_file_is_read_through_its_signature(void **state) {
    (void)state;
    struct slv_signature s = sign_plain();
    struct slv_sealed *f = NULL;
    struct slv_blocks b = {0};
    size_t first, piece;
    uint8_t *got = malloc(BYTES);
    assert_int_equal(slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, NULL, &err), 0);
    strcpy(plain, sealed);
    assert_int_equal(slv_sign_file(key, plain, NULL, &s, &err), 0);
    assert_int_equal(slv_blocks_open_file(plain, &b, &err), 0);
    assert_int_equal(slv_sealed_pieces(&b, &first, &piece, &err), 0);
    slv_blocks_close(&b);
    assert_true(first == 160 && piece == STRIDE);
    assert_int_equal(open_signed(&s, first, piece, &b), 0);
    assert_int_equal(slv_sealed_open_blocks(&b, plain, key, &f, &err), 0);
    assert_int_equal(slv_sealed_read(f, 0, BYTES, got, &err), 0);
    assert_memory_equal(got, data_of, BYTES);
    overwrite(160 + STRIDE + 9, 0);
    overwrite(160 + STRIDE + 10, 0);
    assert_int_equal(slv_sealed_read(f, BLOCK, 10, got, &err), SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "signature"));
    slv_sealed_close(f);
    free(got);
}

struct reader {
    pthread_t thread;
    const struct slv_blocks *b;
    unsigned seed;
    bool ok;
};

static void *read_much(void *arg) {
    struct reader *r = arg;
    static _Thread_local uint8_t got[BYTES];
    r->ok = true;
    for (size_t k = 1; k < 100; k++) {
        size_t at = (k * 7919 + r->seed * 977) % BYTES, n = k * 3001 % (BYTES - at + 1);
        r->ok = r->ok && !slv_blocks_read(r->b, at, n, got, NULL) && !memcmp(got, data_of + at, n);
    }
    return NULL;
}

static void many_threads_read_a_signed_file(void **state) {
    (void)state;
    const struct slv_signature s = sign_plain();
    struct slv_blocks b = {0};
    struct reader r[4];
    assert_int_equal(open_signed(&s, 0, 4096, &b), 0);
    for (unsigned i = 0; i < 4; i++) {
        r[i] = (struct reader){.b = &b, .seed = i};
        assert_int_equal(pthread_create(&r[i].thread, NULL, read_much, &r[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(r[i].thread, NULL);
        assert_true(r[i].ok);
    }
    slv_blocks_close(&b);
}

static void failed_allocations_of_signed_files_are_errors(void **state) {
    (void)state;
    const struct slv_signature s = sign_plain();
    uint8_t got[100];
    for (uint64_t n = 1;; n++) {
        const struct slv_signed_pieces pieces = {0, 4096};
        struct slv_blocks b = {0}, from = {0};
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = slv_blocks_open_file(plain, &from, &err);
        if (!rc) rc = slv_signed_open(&from, plain, &s, slv_key_pubs(key), &pieces, NULL, &b, &err);
        if (!rc) rc = slv_blocks_read(&b, 10, 100, got, &err);
        slv_mem_fail_at(0);
        slv_blocks_close(&b);
        if (slv_mem_count() - before < n) break;
        assert_int_equal(rc, SLV_E_NOMEM);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_comes_back_and_is_nowhere_plain),
        TEST(no_two_files_have_one_key),
        TEST(what_others_have_made_is_refused),
        TEST(whoever_opens_the_model_opens_what_is_kept),
        TEST(no_bit_of_it_can_change),
        TEST(what_is_not_finished_leaves_nothing),
        TEST(failed_allocations_of_keepers_are_errors),
        TEST(signed_bytes_are_those_of_the_file),
        TEST(an_empty_file_can_be_signed),
        TEST(another_file_is_refused),
        TEST(what_changes_after_the_check_does_not_come_out),
        TEST(a_sealed_file_is_read_through_its_signature),
        TEST(many_threads_read_a_signed_file),
        TEST(failed_allocations_of_signed_files_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
