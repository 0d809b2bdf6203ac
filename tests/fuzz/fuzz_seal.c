/* fuzz_seal.c: a sealed file to which any bytes have been done is refused, or reads as the one that
 * was sealed: opening it, and every block of it.
 *
 * The first byte says what the rest is: a whole file (0), the file's header with the good blocks
 * after it (1), or a list of changes of 4 bytes: where (3, counted from the end where the first bit
 * is set) and what to (1). */
#include "base/mem.h"
#include "trust/seal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PLAIN (2 * SLV_SEAL_BLOCK + 100)

static void require(bool ok) {
    if (!ok) abort();
}

static char path[64], plain_path[64];
static struct slv_key *key;
static uint8_t plain[PLAIN], got[PLAIN];
static uint8_t *whole;
static size_t whole_bytes;

static void clean_up(void) {
    unlink(path);
    unlink(plain_path);
    slv_key_close(key);
    free(whole);
}

static void put(const char *to, const void *a, size_t n, const void *b, size_t m) {
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    require(fd >= 0 && write(fd, a, n) == (ssize_t)n && write(fd, b, m) == (ssize_t)m &&
            !close(fd));
}

static void set_up(void) {
    struct stat st;
    if (whole) return;
    for (size_t i = 0; i < PLAIN; i++)
        plain[i] = (uint8_t)(i * 31 + i / 256);
    snprintf(path, sizeof path, "/tmp/selvage-fuzz-%ld.sealed", (long)getpid());
    snprintf(plain_path, sizeof plain_path, "/tmp/selvage-fuzz-%ld.plain", (long)getpid());
    put(plain_path, plain, PLAIN, "", 0);
    require(!slv_key_new(&key, NULL));
    require(!slv_seal_file(plain_path, path, slv_key_pubs(key), NULL, NULL, NULL));
    require(!stat(path, &st));
    whole_bytes = (size_t)st.st_size;
    whole = malloc(whole_bytes);
    int fd = open(path, O_RDONLY);
    require(whole && read(fd, whole, whole_bytes) == (ssize_t)whole_bytes);
    close(fd);
    atexit(clean_up);
}

/* The file with some of its bytes changed. */
static void put_changed(const uint8_t *c, size_t n) {
    uint8_t *copy = malloc(whole_bytes);
    require(copy);
    memcpy(copy, whole, whole_bytes);
    for (; n >= 4; c += 4, n -= 4) {
        size_t at = (size_t)c[0] | (size_t)c[1] << 8 | (size_t)(c[2] & 127) << 16;
        at %= whole_bytes;
        copy[c[2] & 128 ? whole_bytes - 1 - at : at] = c[3];
    }
    put(path, copy, whole_bytes, "", 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_sealed *f = NULL;
    struct slv_err err = {0};
    set_up();
    if (!size) return 0;
    if (data[0] % 4 == 0) put(path, data + 1, size - 1, "", 0);
    else if (data[0] % 4 == 1) put(path, data + 1, size - 1, whole + 160, whole_bytes - 160);
    else put_changed(data + 1, size - 1);
    int rc = slv_sealed_open(path, key, &f, &err);
    require(rc <= 0 && !rc == !err.msg[0]);
    if (rc) return 0;
    /* The header's digest is keyed: what is opened is the header that was written. */
    require(slv_sealed_size(f) == PLAIN);
    for (size_t at = 0; at < PLAIN; at += SLV_SEAL_BLOCK) {
        size_t n = PLAIN - at < SLV_SEAL_BLOCK ? PLAIN - at : SLV_SEAL_BLOCK;
        memset(got, 0xee, n);
        rc = slv_sealed_read(f, at, n, got, &err);
        require(rc ? rc == SLV_E_TRUST && got[0] == 0xee && got[n - 1] == 0xee
                   : !memcmp(got, plain + at, n));
    }
    slv_sealed_close(f);
    return 0;
}
