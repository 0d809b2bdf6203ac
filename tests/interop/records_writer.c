/* records_writer.c: writes numbered transactions to a store of records, for tests that kill it.
 * usage: records_writer PATH TRANSACTIONS RECORDS BYTES
 *
 * Transaction n puts records t/n/0 to t/n/RECORDS-1 with BYTES each that follow from their keys,
 * and "last" = n; it removes those of transaction n - KEPT. What is there when it opens the store
 * must be that of some n: the first line of standard output is n and whether damage was told of.
 * Then follow n and the bytes of the log, one line each, once transaction n is durable.
 * Exit status 1: an error, with its line; 9: what is there is not of any n. */
#include "base/buf.h"
#include "store/records.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT 40u
#define BYTES_MAX 65536u

static struct slv_records *store;
static unsigned long records, bytes;

static struct {
    unsigned long last, n, numbers; /* "last", how many others, and their numbers' sum */
    bool wrong;
} found;

static size_t key_of(char *key, unsigned long n, unsigned long i) {
    return (size_t)sprintf(key, "t/%08lu/%lu", n, i);
}

static void value_of(char *value, unsigned long n, unsigned long i) {
    uint32_t x = (uint32_t)(n * 2654435761u + i * 40503u + 1);
    for (unsigned long k = 0; k < bytes; k++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        value[k] = (char)x;
    }
}

static int see(void *ctx, struct slv_str key, struct slv_str value) {
    static char right[BYTES_MAX];
    char text[64];
    unsigned long n, i;
    (void)ctx;
    snprintf(text, sizeof text, "%.*s", (int)key.n, key.p);
    if (!strcmp(text, "last")) {
        found.last = strtoul(value.p, NULL, 10);
    } else if (sscanf(text, "t/%lu/%lu", &n, &i) == 2 && i < records) {
        value_of(right, n, i);
        found.wrong |= value.n != bytes || memcmp(value.p, right, bytes) != 0;
        found.n++;
        found.numbers += n;
    } else {
        found.wrong = true;
    }
    return 0;
}

/* Those of the last KEPT transactions are there, and no others. */
static bool is_whole(void) {
    const unsigned long n = found.last < KEPT ? found.last : KEPT;
    const unsigned long sum = n * found.last - n * (n - (n > 0)) / 2;
    return !found.wrong && found.n == n * records && found.numbers == sum * records;
}

static int write_one(unsigned long n) {
    static char value[BYTES_MAX];
    char key[64];
    int rc = 0;
    for (unsigned long i = 0; !rc && i < records; i++) {
        value_of(value, n, i);
        rc = slv_records_put(store, (struct slv_str){key, key_of(key, n, i)},
                             (struct slv_str){value, bytes});
        if (!rc && n > KEPT)
            rc = slv_records_del(store, (struct slv_str){key, key_of(key, n - KEPT, i)});
    }
    const size_t len = (size_t)sprintf(value, "%lu", n);
    if (!rc)
        rc = slv_records_put(store, (struct slv_str){"last", 4}, (struct slv_str){value, len + 1});
    return rc;
}

static int run(const char *path, unsigned long transactions, struct slv_err *err) {
    char wal[4096], line[64];
    bool damaged = false;
    int status = 0;
    int rc = slv_records_open(path, NULL, &store, err);
    if (!rc) rc = slv_records_load(store, see, NULL, &damaged, err);
    if (rc) return rc;
    int len = sprintf(line, "%lu %d\n", found.last, damaged);
    if (write(1, line, (size_t)len) != len || (!damaged && !is_whole())) return SLV_E_INTERNAL;
    snprintf(wal, sizeof wal, "%s-wal", path);
    for (unsigned long i = 0, n = found.last + 1; i < transactions; i++, n++) {
        struct pollfd p = {.fd = slv_records_fd(store), .events = POLLIN};
        struct stat st = {0};
        if ((rc = write_one(n)) || (rc = slv_records_commit(store, err))) return rc;
        while (!slv_records_done(store, &status, err))
            poll(&p, 1, -1);
        if (status) return status;
        stat(wal, &st);
        len = sprintf(line, "%lu %lu\n", n, (unsigned long)st.st_size);
        if (write(1, line, (size_t)len) != len) return SLV_E_IO;
    }
    return 0;
}

int main(int argc, char **argv) {
    struct slv_err err = {0};
    if (argc != 5) return 2;
    records = strtoul(argv[3], NULL, 10);
    bytes = strtoul(argv[4], NULL, 10);
    if (bytes > BYTES_MAX) return 2;
    signal(SIGXFSZ, SIG_IGN); /* a file that is too large is an error like others */
    const int rc = run(argv[1], strtoul(argv[2], NULL, 10), &err);
    if (rc) fprintf(stderr, "%s\n", err.code ? err.msg : "it is of no transaction");
    slv_records_close(store);
    return rc == SLV_E_INTERNAL ? 9 : rc ? 1 : 0;
}
