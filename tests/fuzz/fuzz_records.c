/* fuzz_records.c: any bytes as the database of a store of records. It is refused with a line, or
 * loaded: in order of keys, what can be read of it; then it takes a record, and has that and the
 * same ones when it is opened again, sound.
 *
 * The first byte: bit 0: the file is known to be a store (what cannot be read is set aside);
 * bit 2: the rest is
 * changes of 4 bytes (place, value) to a good database, which is shorter than writing one. */
#include "store/records.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GOOD_MAX ((size_t)1 << 16)
#define SUFFIXES 12

static char folder[64], path[80];
static uint8_t good[GOOD_MAX];
static size_t good_n;

/* In the place of the C library's: no power is cut here. */
int fsync(int fd) { return fd < 0; }
int fdatasync(int fd) { return fd < 0; }

static void require(bool ok) {
    if (!ok) abort();
}

static void clear(void) {
    static const char *const suffixes[SUFFIXES] = {
        "",         "-wal",       "-journal",   "-shm",           ".lock",        ".new",
        ".new-wal", ".damaged-1", ".damaged-2", ".damaged-1-wal", ".new-journal", ".damaged-2-wal"};
    for (int i = 0; i < SUFFIXES; i++) {
        char name[120];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void drop(void) {
    clear();
    rmdir(folder);
}

struct seen {
    char last[SLV_RECORDS_KEY_MAX];
    size_t last_n, n, bytes;
};

static int see(void *ctx, struct slv_str key, struct slv_str value) {
    struct seen *s = ctx;
    const size_t n = key.n < s->last_n ? key.n : s->last_n;
    const int c = memcmp(key.p, s->last, n);
    require(key.n && key.n <= SLV_RECORDS_KEY_MAX && value.n <= SLV_RECORDS_VALUE_MAX);
    require(!s->last_n || c > 0 || (!c && key.n > s->last_n));
    memcpy(s->last, key.p, key.n);
    s->last_n = key.n;
    s->n++;
    s->bytes += key.n + value.n;
    return 0;
}

static int open_and_load(struct slv_records **r, struct seen *s, bool *damaged) {
    struct slv_err err = {0};
    *s = (struct seen){.n = 0};
    int rc = slv_records_open(path, NULL, r, &err);
    require(rc <= 0 && !rc == !err.code && !strchr(err.msg, '\n'));
    if (!rc) rc = slv_records_load(*r, see, s, damaged, &err);
    require(rc <= 0 && (!rc || err.msg[0]));
    return rc;
}

static void put(struct slv_records *r, const char *key, size_t bytes) {
    static char value[5000];
    require(
        !slv_records_put(r, (struct slv_str){key, strlen(key)}, (struct slv_str){value, bytes}));
}

static void commit(struct slv_records *r) {
    struct slv_err err = {0};
    require(!slv_records_commit(r, &err));
    require(!slv_records_wait(r, &err));
}

/* A small one: two levels, one record of several pages, a page that is free. */
static void set_up(void) {
    struct slv_records *r = NULL;
    struct seen s;
    bool damaged;
    char key[16];
    if (good_n) return;
    strcpy(folder, "/dev/shm/selvage-fuzz-XXXXXX"); /* in memory, where there is such */
    if (!mkdtemp(folder)) {
        strcpy(folder, "/tmp/selvage-fuzz-XXXXXX");
        require(mkdtemp(folder) != NULL);
    }
    snprintf(path, sizeof path, "%s/r", folder);
    atexit(drop);
    require(!open_and_load(&r, &s, &damaged));
    for (int i = 0; i < 90; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        put(r, key, i == 40 ? 5000 : 60);
    }
    commit(r);
    for (int i = 50; i < 90; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        require(!slv_records_del(r, (struct slv_str){key, strlen(key)}));
    }
    commit(r);
    slv_records_close(r);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = read(fd, good, sizeof good);
    require(n > 0 && (size_t)n < sizeof good);
    good_n = (size_t)n;
    close(fd);
}

static void write_file(const char *suffix, const void *p, size_t n) {
    char name[120];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    close(fd);
}

static void write_changed(const uint8_t *data, size_t size) {
    static uint8_t db[GOOD_MAX];
    memcpy(db, good, good_n);
    for (; size >= 4; data += 4, size -= 4) {
        const size_t at = ((size_t)data[0] << 8 | data[1]) % good_n;
        db[at] = data[2];
        db[(at + 1) % good_n] ^= data[3];
    }
    write_file("", db, good_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_records *r = NULL;
    struct seen first, second;
    bool damaged = false;
    set_up();
    clear();
    if (!size) return 0;
    if (data[0] & 4) write_changed(data + 1, size - 1);
    else write_file("", data + 1, size - 1);
    if (data[0] & 1) write_file(".lock", "selvage records S\n", 18);
    if (!open_and_load(&r, &first, &damaged)) {
        put(r, "zzz", 10);
        struct slv_err err = {0};
        require(!slv_records_commit(r, &err));
        if (!slv_records_wait(r, &err)) {
            slv_records_close(r);
            require(!open_and_load(&r, &second, &damaged));
            require(!damaged && second.n >= first.n && second.n <= first.n + 1);
        }
    }
    slv_records_close(r);
    return 0;
}
