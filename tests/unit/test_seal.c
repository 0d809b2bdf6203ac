/* test_seal.c: what was sealed comes back to the byte, wherever it is read, for the devices it was
 * sealed for; whatever else is done to the file, not one byte of a bad block comes out. */
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
#include "trust/seal_int.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK SLV_SEAL_BLOCK
#define STRIDE SLV_SEAL_STRIDE

static struct slv_err err;
static struct slv_key *key;
static char plain[200], sealed[200], out[200];

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(plain, scratch("plain"));
    strcpy(sealed, scratch("sealed"));
    strcpy(out, scratch("out"));
    return slv_key_new(&key, &err);
}

static int tear_down(void **state) {
    slv_key_close(key);
    return scratch_drop(state);
}

/* Seals n bytes for the device; the bytes, from malloc. */
static uint8_t *seal_bytes(size_t n, unsigned seed) {
    uint8_t *data = malloc(n + 1);
    uint64_t size = 0;
    assert_non_null(data);
    scratch_noise(data, n, seed);
    scratch_write(plain, data, n);
    assert_int_equal(slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, &size, &err), 0);
    assert_int_equal(size, n);
    return data;
}

static int unseal(void) {
    unlink(out);
    return slv_unseal_file(sealed, out, key, NULL, NULL, &err);
}

static int can_open(const struct slv_key *k) {
    struct slv_sealed *f = NULL;
    uint8_t got[6];
    int rc = slv_sealed_open(sealed, k, &f, &err);
    if (!rc) rc = slv_sealed_read(f, 0, sizeof got, got, &err);
    slv_sealed_close(f);
    return rc;
}

static void assert_refused(int code) {
    assert_int_equal(unseal(), code);
    assert_false(scratch_there(out));
    assert_string_not_equal(err.msg, "");
}

/* --- what goes right -------------------------------------------------------------------------- */

static void what_was_sealed_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0,     1,         15,        16,        BLOCK - 1,
                                   BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 5 * BLOCK + 7};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = 0, bytes = 0;
        uint8_t *data = seal_bytes(sizes[i], (unsigned)i);
        assert_int_equal(unseal(), 0);
        char *back = scratch_read(out, &n), *file = scratch_read(sealed, &bytes);
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(back, data, n);
        size_t blocks = n ? (n + BLOCK - 1) / BLOCK : 1;
        assert_int_equal(bytes, 64 + 96 + n + 16 * blocks);
        assert_true(n < 16 || !memmem(file, bytes, data, 16));
        free(back);
        free(file);
        free(data);
    }
}

/* Another implementation reads a block: the format is what seal.h says. */
static void blocks_are_those_of_rfc_8439(void **state) {
    (void)state;
    size_t n = 0;
    uint8_t *data = seal_bytes(BLOCK + 100, 3), file_key[32], key_of_blocks[32], back[BLOCK];
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n), bound[16] = {0}, nonce[12] = {0};
    unsigned long long len = 0;
    assert_memory_equal(file, "slvseal1\xa0\0\0\0\0\0\1\0\1\0\0\0\0\0\0\0\x64\0\1\0\0\0\0\0", 32);
    assert_int_equal(slv_key_unwrap(key, slv_key_pub(key)->id, file + 48, file_key), 0);
    crypto_kdf_derive_from_key(key_of_blocks, 32, 2, "slvseal1", file_key);
    assert_int_equal(crypto_aead_chacha20poly1305_ietf_decrypt(back, &len, NULL, file + 160, STRIDE,
                                                               bound, 16, nonce, key_of_blocks),
                     0);
    assert_memory_equal(back, data, BLOCK);
    bound[0] = nonce[0] = bound[8] = 1;
    assert_int_equal(crypto_aead_chacha20poly1305_ietf_decrypt(back, &len, NULL,
                                                               file + 160 + STRIDE, 116, bound, 16,
                                                               nonce, key_of_blocks),
                     0);
    assert_memory_equal(back, data + BLOCK, 100);
    free(file);
    free(data);
}

static void each_device_it_is_for_can_read_it(void **state) {
    (void)state;
    struct slv_pubs to = {0};
    struct slv_key *devices[SLV_SEAL_FOR_MAX + 1];
    scratch_write(plain, "secret", 6);
    for (size_t i = 0; i <= SLV_SEAL_FOR_MAX; i++) {
        assert_int_equal(slv_key_new(&devices[i], &err), 0);
        if (i < SLV_SEAL_FOR_MAX) assert_int_equal(slv_pubs_add(&to, slv_key_pub(devices[i])), 0);
    }
    assert_int_equal(slv_seal_file(plain, sealed, &to, NULL, NULL, &err), 0);
    for (size_t i = 0; i <= SLV_SEAL_FOR_MAX; i++) {
        assert_int_equal(can_open(devices[i]), i < SLV_SEAL_FOR_MAX ? 0 : SLV_E_TRUST);
    }
    assert_non_null(strstr(err.msg, "and 62 others; this device has"));
    assert_int_equal(slv_pubs_add(&to, slv_key_pub(key)), 0);
    assert_int_equal(slv_seal_file(plain, sealed, &to, NULL, NULL, &err), SLV_E_LIMIT);
    to.n = 0;
    assert_int_equal(slv_seal_file(plain, sealed, &to, NULL, NULL, &err), SLV_E_LIMIT);
    slv_pubs_fini(&to);
    for (size_t i = 0; i <= SLV_SEAL_FOR_MAX; i++)
        slv_key_close(devices[i]);
}

static void any_range_can_be_read(void **state) {
    (void)state;
    size_t n = 3 * BLOCK + 1000;
    uint8_t *data = seal_bytes(n, 5), *got = malloc(n);
    struct slv_sealed *f = NULL;
    struct slv_blocks b = {0}, p = {0};
    assert_non_null(got);
    assert_int_equal(slv_sealed_open(sealed, key, &f, &err), 0);
    assert_int_equal(slv_sealed_size(f), n);
    slv_sealed_take_blocks(f, &b);
    assert_int_equal(slv_blocks_open_file(plain, &p, &err), 0);
    assert_int_equal(b.size, p.size);
    srand(7);
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)rand() % (n + 1), len = (size_t)rand() % (n - at + 1);
        if (i % 3) len %= 50;
        memset(got, 0, len);
        assert_int_equal(slv_blocks_read(i % 2 ? &b : &p, at, len, got, &err), 0);
        assert_memory_equal(got, data + at, len);
    }
    static const uint64_t past[][2] = {
        {3 * BLOCK + 1000, 1}, {0, 3 * BLOCK + 1001}, {UINT64_MAX, 1}, {1, SIZE_MAX}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(slv_blocks_read(&b, past[i][0], past[i][1], got, &err), SLV_E_LIMIT);
        assert_int_equal(slv_blocks_read(&p, past[i][0], past[i][1], got, &err), SLV_E_LIMIT);
        assert_int_equal(slv_sealed_read(f, past[i][0], past[i][1], got, &err), SLV_E_LIMIT);
    }
    assert_int_equal(slv_blocks_read(&b, n, 0, got, &err), 0);
    assert_int_equal(truncate(plain, 100), 0);
    assert_int_equal(slv_blocks_read(&p, 50, 100, got, &err), SLV_E_LIMIT);
    assert_non_null(strstr(err.msg, "has become shorter"));
    slv_blocks_close(&b);
    slv_blocks_close(&p);
    slv_blocks_close(&p);
    free(got);
    free(data);
}

struct reader {
    const struct slv_blocks *b;
    const uint8_t *data;
    unsigned seed;
    int bad;
};

static void *read_some(void *arg) {
    struct reader *r = arg;
    uint8_t got[5000];
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)rand_r(&r->seed) % (r->b->size - sizeof got);
        struct slv_err e;
        if (slv_blocks_read(r->b, at, sizeof got, got, &e) || memcmp(got, r->data + at, sizeof got))
            r->bad++;
    }
    return NULL;
}

static void many_threads_read_at_once(void **state) {
    (void)state;
    uint8_t *data = seal_bytes(20 * BLOCK, 6);
    struct slv_sealed *f = NULL;
    struct slv_blocks b = {0};
    struct reader r[8];
    pthread_t t[8];
    assert_int_equal(slv_sealed_open(sealed, key, &f, &err), 0);
    slv_sealed_take_blocks(f, &b);
    for (unsigned i = 0; i < 8; i++) {
        r[i] = (struct reader){&b, data, i, 0};
        assert_int_equal(pthread_create(&t[i], NULL, read_some, &r[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(r[i].bad, 0);
    }
    slv_blocks_close(&b);
    free(data);
}

/* --- what is refused -------------------------------------------------------------------------- */

static void put_file(const uint8_t *p, size_t n) { scratch_write(sealed, p, n); }

/* Every bit of a file from `from` on, `step` bytes apart. */
static void flip_each_bit(size_t bytes, size_t from, size_t step) {
    size_t n = 0;
    free(seal_bytes(bytes, 1));
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n);
    for (size_t i = from; i < n; i += step)
        for (int bit = 0; bit < 8; bit++) {
            file[i] ^= (uint8_t)(1 << bit);
            put_file(file, n);
            assert_refused(i < 8 ? SLV_E_FORMAT : SLV_E_TRUST);
            file[i] ^= (uint8_t)(1 << bit);
        }
    put_file(file, n);
    assert_int_equal(unseal(), 0);
    free(file);
}

static void no_bit_can_change(void **state) {
    (void)state;
    flip_each_bit(50, 0, 1);
    flip_each_bit(BLOCK + 500, 160, 1009);
}

static void no_length_but_its_own_is_right(void **state) {
    (void)state;
    size_t n = 0;
    free(seal_bytes(2 * BLOCK, 1));
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n);
    file = realloc(file, n + 2 * STRIDE);
    assert_non_null(file);
    memset(file + n, 0, 2 * STRIDE);
    for (size_t i = 0; i < n; i += i < 300 ? 1 : 4321) {
        put_file(file, i);
        assert_refused(i < 8 ? SLV_E_FORMAT : SLV_E_TRUST);
    }
    put_file(file, n - STRIDE); /* to a block */
    assert_refused(SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "is cut short"));
    put_file(file, n + 1);
    assert_refused(SLV_E_TRUST);
    memcpy(file + n, file + n - STRIDE, STRIDE); /* the last block twice */
    put_file(file, n + STRIDE);
    assert_refused(SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "has grown"));
    free(file);
}

static void blocks_cannot_change_places(void **state) {
    (void)state;
    size_t n = 0, m = 0;
    uint8_t *data = seal_bytes(4 * BLOCK, 1);
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n), *copy = malloc(n), *other;
    uint8_t *first = copy + 160;
    assert_non_null(copy);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < i; j++) {
            memcpy(copy, file, n);
            memcpy(first + i * STRIDE, file + 160 + j * STRIDE, STRIDE);
            memcpy(first + j * STRIDE, file + 160 + i * STRIDE, STRIDE);
            put_file(copy, n);
            assert_refused(SLV_E_TRUST);
            char want[40];
            snprintf(want, sizeof want, "block %u is not what was sealed", j);
            assert_non_null(strstr(err.msg, want));
        }
    /* of the same plaintext, sealed once more */
    assert_int_equal(slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, NULL, &err), 0);
    other = (uint8_t *)scratch_read(sealed, &m);
    assert_int_equal(m, n);
    memcpy(copy, file, n);
    memcpy(first + 2 * STRIDE, other + 160 + 2 * STRIDE, STRIDE);
    put_file(copy, n);
    assert_refused(SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "block 2 is"));
    memcpy(copy, other, 160); /* another file's header */
    put_file(copy, n);
    assert_refused(SLV_E_TRUST);
    free(other);
    free(copy);
    free(file);
    free(data);
}

/* Made smaller by whoever may write the header's numbers but does not know the key. */
static void a_header_is_nobodys_to_write(void **state) {
    (void)state;
    size_t n = 0;
    struct slv_seal_head h = {.size = BLOCK, .n_blocks = 1, .bytes = 160, .n_for = 1};
    struct slv_seal_keys k;
    memset(&k, 1, sizeof k);
    free(seal_bytes(2 * BLOCK, 1));
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n);
    slv__seal_head_put(&h, &k, file);
    put_file(file, 160 + STRIDE);
    assert_refused(SLV_E_TRUST);
    assert_non_null(strstr(err.msg, "the header is not what was written"));
    free(file);
}

static void the_good_blocks_of_a_bad_file_can_be_read(void **state) {
    (void)state;
    size_t n = 0;
    uint8_t *data = seal_bytes(3 * BLOCK, 1), got[100], zeros[100] = {0};
    uint8_t *file = (uint8_t *)scratch_read(sealed, &n);
    struct slv_sealed *f = NULL;
    file[160 + STRIDE + 5] ^= 1;
    put_file(file, n);
    assert_int_equal(slv_sealed_open(sealed, key, &f, &err), 0);
    assert_int_equal(slv_sealed_read(f, 10, 100, got, &err), 0);
    assert_memory_equal(got, data + 10, 100);
    memset(got, 0, sizeof got);
    assert_int_equal(slv_sealed_read(f, BLOCK + 10, 100, got, &err), SLV_E_TRUST);
    assert_memory_equal(got, zeros, 100);
    assert_int_equal(slv_sealed_read(f, BLOCK - 50, 100, got, &err), SLV_E_TRUST);
    assert_memory_equal(got + 50, zeros, 50);
    assert_int_equal(slv_sealed_read(f, 2 * BLOCK, 100, got, &err), 0);
    assert_int_equal(truncate(sealed, 1000), 0);
    assert_int_equal(slv_sealed_read(f, 0, 100, got, &err), SLV_E_TRUST);
    slv_sealed_close(f);
    free(file);
    free(data);
}

static void other_files_are_no_sealed_files(void **state) {
    (void)state;
    put_file((const uint8_t *)"GGUF and more", 13);
    assert_refused(SLV_E_FORMAT);
    assert_false(slv_sealed_is(sealed));
    put_file((const uint8_t *)"", 0);
    assert_refused(SLV_E_FORMAT);
    unlink(sealed);
    assert_refused(SLV_E_NOENT);
    assert_false(slv_sealed_is(sealed));
    assert_int_equal(slv_unseal_file("/", out, key, NULL, NULL, &err), SLV_E_IO);
    assert_int_equal(slv_seal_file("/", out, slv_key_pubs(key), NULL, NULL, &err), SLV_E_IO);
    free(seal_bytes(1, 1));
    assert_true(slv_sealed_is(sealed));
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void unsealed_files_are_their_owners_only(void **state) {
    (void)state;
    struct stat st;
    free(seal_bytes(10, 1));
    assert_int_equal(unseal(), 0);
    assert_true(!stat(out, &st) && (st.st_mode & 07777) == 0600);
}

static int left = 0;

static bool stop_after_some(void *ctx) {
    (void)ctx;
    return !left--;
}

static void what_is_stopped_leaves_nothing(void **state) {
    (void)state;
    struct slv_ui ui = {.cancelled = stop_after_some};
    char tmp[210];
    free(seal_bytes(4 * BLOCK, 1));
    for (int i = 0; i < 3; i++) {
        left = i;
        assert_int_equal(slv_unseal_file(sealed, out, key, &ui, NULL, &err), SLV_E_CANCELLED);
        left = i;
        assert_int_equal(slv_seal_file(plain, out, slv_key_pubs(key), &ui, NULL, &err),
                         SLV_E_CANCELLED);
        snprintf(tmp, sizeof tmp, "%s.tmp", out);
        assert_false(scratch_there(out) || scratch_there(tmp));
    }
}

static int seal_again(void) {
    return slv_seal_file(plain, sealed, slv_key_pubs(key), NULL, NULL, &err);
}

static void failed_allocations_are_errors(void **state) {
    (void)state;
    int (*const works[])(void) = {seal_again, unseal};
    char tmp[210];
    free(seal_bytes(2 * BLOCK, 1));
    snprintf(tmp, sizeof tmp, "%s.tmp", sealed);
    for (size_t w = 0; w < 2; w++)
        for (uint64_t n = 1, done = 0; !done; n++) {
            uint64_t before = slv_mem_count();
            slv_mem_fail_at(n);
            int rc = works[w]();
            slv_mem_fail_at(0);
            done = slv_mem_count() - before < n;
            assert_true(done ? !rc : rc == 0 || rc == SLV_E_NOMEM || rc == SLV_E_TRUST);
            assert_false(scratch_there(tmp));
            assert_int_equal(can_open(key), 0);
        }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(what_was_sealed_comes_back),        T(blocks_are_those_of_rfc_8439),
        T(each_device_it_is_for_can_read_it), T(any_range_can_be_read),
        T(many_threads_read_at_once),         T(no_bit_can_change),
        T(no_length_but_its_own_is_right),    T(blocks_cannot_change_places),
        T(a_header_is_nobodys_to_write),      T(the_good_blocks_of_a_bad_file_can_be_read),
        T(other_files_are_no_sealed_files),   T(unsealed_files_are_their_owners_only),
        T(what_is_stopped_leaves_nothing),    T(failed_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
