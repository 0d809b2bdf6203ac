/* fuzz_packfile.c: a file of packed tiles to which any bytes have been done is refused with a line
 * of text, or is the one that was written: through opening and checking.
 *
 * The input is a list of changes of 8 bytes: where (3 bytes, the last ones count from the end of
 * the header's fields, of the table or of the file), how (1), and with what (4). */
#include "base/mem.h"
#include "engine/packfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TILE_BYTES (2 * SLV_PACK_PIECE + 4160)
#define CHANGES_MAX 16

static void require(bool ok) {
    if (!ok) abort();
}

static unsigned char tiles[TILE_BYTES];
static struct slv_pack_row rows[3] = {
    {"a", 2, 0, 16, 32, 0, 4160}, {"b", 2, 0, 16, 32, 4160, 4160}, {"c", 8, 0, 16, 32, 8320, 99}};
static struct slv_pack_id id = {
    .key = 1, .layout = 2, .rows = rows, .n_rows = 3, .tile_bytes = TILE_BYTES};
static char path[64];
static unsigned char *whole;
static size_t whole_bytes;

static void remove_file(void) { unlink(path); }

/* Writes the file that is to be spoilt, once, and keeps a copy. */
static void set_up(void) {
    struct slv_packwrite w;
    struct stat st;
    bool more = true;
    if (whole) return;
    for (size_t i = 0; i < TILE_BYTES; i++)
        tiles[i] = (unsigned char)(i * 31 + i / 256);
    snprintf(path, sizeof path, "/tmp/selvage-fuzz-%ld.tiles", (long)getpid());
    require(!slv_packwrite_open(path, &id, tiles, 3, 4, &w, NULL));
    while (more)
        require(!slv_packwrite_step(&w, &more, NULL));
    require(!slv_packwrite_commit(&w, NULL));
    slv_packwrite_close(&w);
    atexit(remove_file);
    require(!stat(path, &st));
    whole_bytes = (size_t)st.st_size;
    whole = slv_mem_alloc(whole_bytes);
    int fd = open(path, O_RDONLY);
    require(whole && read(fd, whole, whole_bytes) == (ssize_t)whole_bytes);
    close(fd);
}

static size_t place(const uint8_t *c) {
    size_t at = (size_t)c[0] | (size_t)c[1] << 8 | (size_t)c[2] << 16;
    if (c[3] & 4) at = 8 * (at % 13);                 /* a field of the header */
    else if (c[3] & 8) at = 4096 + at % 600;          /* the table */
    else if (c[3] & 16) at = whole_bytes - at % 5000; /* the end */
    return at % whole_bytes;
}

/* Applies one change; the length of the file after it. */
static size_t change(int fd, const uint8_t *c, size_t n) {
    size_t at = place(c);
    if (c[3] % 4 == 3) {
        require(!ftruncate(fd, (off_t)at));
        return at;
    }
    size_t k = c[3] % 4 == 2 ? 1 : 4;
    if (at + k > n) return n;
    require(pwrite(fd, c + 4, k, (off_t)at) == (ssize_t)k);
    return n;
}

static bool is_whole(int fd, size_t n) {
    unsigned char piece[65536];
    for (size_t at = 0; n == whole_bytes && at < n; at += sizeof piece) {
        ssize_t got = pread(fd, piece, sizeof piece, (off_t)at);
        require(got > 0);
        if (memcmp(piece, whole + at, (size_t)got) != 0) return false;
    }
    return n == whole_bytes;
}

static void open_file(bool good) {
    struct slv_packfile f;
    struct slv_err e = {0};
    int rc = slv_packfile_open(path, &id, &f, &e);
    if (rc) {
        require(!good && rc == SLV_E_FORMAT && e.code == rc && e.msg[0] && !strchr(e.msg, '\n'));
        return;
    }
    require(slv_packfile_check(&f, 0, f.n_pieces) == good);
    require(!good || !memcmp(f.tiles, tiles, TILE_BYTES));
    slv_packfile_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up();
    size_t n = whole_bytes, changes = size / 8 < CHANGES_MAX ? size / 8 : CHANGES_MAX;
    int fd = open(path, O_RDWR);
    require(fd >= 0);
    for (size_t i = 0; i < changes; i++)
        n = change(fd, data + 8 * i, n);
    open_file(is_whole(fd, n));
    for (size_t i = 0; i < changes; i++) {
        size_t at = place(data + 8 * i), k = whole_bytes - at < 4 ? whole_bytes - at : 4;
        require(pwrite(fd, whole + at, k, (off_t)at) == (ssize_t)k);
    }
    if (n < whole_bytes)
        require(pwrite(fd, whole + n, whole_bytes - n, (off_t)n) == (ssize_t)(whole_bytes - n));
    close(fd);
    return 0;
}
