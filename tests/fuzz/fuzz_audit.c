/* fuzz_audit.c: any bytes as an audit log: refused with a line of text and a code that says so, or
 * records whose signatures are of the one key that is trusted, which the fuzzer does not have; and
 * a good log with lines left out, moved, repeated or changed is refused, or is a beginning of it.
 *
 * The first byte says which: 0 the rest is a log; else a list of changes of 3 bytes: which line,
 * where in it, what is done. */
#include "base/mem.h"
#include "trust/audit.h"
#include "trust/audit_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES_MAX 64
#define LOG_MAX 65536

static void require(bool ok) {
    if (!ok) abort();
}

static struct slv_key *key;
static char good[LOG_MAX];
static size_t good_n;

static void drop_key(void) { slv_key_close(key); }

static void set_up(void) {
    char log[64], hashkey[80];
    struct slv_audit *a = NULL;
    struct slv_audit_opts o = {.sync = SLV_AUDIT_SYNC_NEVER, .sign_every = 3};
    if (key) return;
    require(!slv_key_new(&key, NULL));
    atexit(drop_key);
    snprintf(log, sizeof log, "/tmp/selvage-fuzz-%ld.log", (long)getpid());
    snprintf(hashkey, sizeof hashkey, "%s.hashkey", log);
    require(!slv_audit_open(log, key, &o, &a, NULL));
    for (int i = 0; i < 10; i++) {
        struct slv_audit_record r = {.model = "m", .prompt = "p", .prompt_n = 1, .status = 200};
        require(!slv_audit_append(a, &r, NULL, NULL));
    }
    require(!slv_audit_close(a, NULL));
    int fd = open(log, O_RDONLY);
    ssize_t n = read(fd, good, sizeof good);
    require(n > 0);
    good_n = (size_t)n;
    close(fd);
    unlink(log);
    unlink(hashkey);
}

static int check(const char *s, size_t n, struct slv_audit_check *c) {
    struct slv_err err = {0};
    slv_audit_check_init(c, slv_key_pubs(key));
    int rc = slv_audit_check_segment(c, s, n, true, &err);
    require(rc <= 0 && !rc == !err.msg[0]);
    slv_audit_check_fini(c);
    return rc;
}

struct lines {
    const char *at[LINES_MAX];
    size_t len[LINES_MAX], n;
};

static void cut_lines(struct lines *l) {
    l->n = 0;
    for (const char *p = good; p < good + good_n; p += l->len[l->n++]) {
        l->at[l->n] = p;
        l->len[l->n] = (size_t)((const char *)memchr(p, '\n', good_n) - p) + 1;
    }
}

static void do_change(struct lines *l, const uint8_t *c, char *out, size_t *n) {
    size_t i = c[0] % l->n, j = c[1] % l->n, at = 0;
    const char *p = l->at[i];
    size_t len = l->len[i];
    switch (c[2] % 4) {
    case 0: /* one is left out */
        memmove(&l->at[i], &l->at[i + 1], (l->n - i - 1) * sizeof l->at[0]);
        memmove(&l->len[i], &l->len[i + 1], (l->n - i - 1) * sizeof l->len[0]);
        l->n -= l->n > 1;
        break;
    case 1: /* two change places */
        l->at[i] = l->at[j];
        l->len[i] = l->len[j];
        l->at[j] = p;
        l->len[j] = len;
        break;
    case 2: /* one stands twice */
        l->at[j] = p;
        l->len[j] = len;
        break;
    default: /* a byte is another: its line goes to where there is room */
        if (*n + len > LOG_MAX) return;
        at = c[1] % len;
        memcpy(out + *n, p, len);
        out[*n + at] = (char)(out[*n + at] ^ (c[2] / 4 + 1));
        l->at[i] = out + *n;
        *n += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slv_audit_check c;
    struct lines l;
    size_t room_n = 0, n = 0;
    set_up();
    if (!size || !data[0]) {
        int rc = size ? check((const char *)data + 1, size - 1, &c) : 0;
        require(rc || !size || c.signatures || c.records == 1);
        return 0;
    }
    char *room = malloc(LOG_MAX), *log = malloc(LOG_MAX);
    require(room && log);
    cut_lines(&l);
    for (size_t i = 1; i + 3 <= size && i < 40; i += 3)
        do_change(&l, data + i, room, &room_n);
    for (size_t i = 0; i < l.n && n + l.len[i] < LOG_MAX; n += l.len[i++])
        memcpy(log + n, l.at[i], l.len[i]);
    /* What nothing vouches for may change; up to the last signature all is as it was. */
    if (!check(log, n, &c)) {
        size_t sure = 0;
        const char *p = log;
        for (uint64_t i = 0; i + c.not_signed < c.records; i++, sure = (size_t)(p - log))
            p = (const char *)memchr(p, '\n', n - sure) + 1;
        require(sure <= good_n && !memcmp(log, good, sure));
    }
    free(room);
    free(log);
    return 0;
}
