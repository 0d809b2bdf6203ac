/* test_spill.c: what a user would lose: that what a server puts on the disk for want of memory can
 * be read by nobody else, is noticed when it was touched, and is gone when the server is. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "trust/spill.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

static struct slv_err err;

static struct slv_spill_file *open_spill(uint64_t most) {
    struct slv_spill_file *f = NULL;
    if (slv_spill_open(scratch("."), most, &f, &err)) fail_msg("%s", err.msg);
    return f;
}

static uint64_t used(struct slv_spill_file *f) {
    uint64_t n, most;
    slv_spill_usage(f, &n, &most);
    assert_true(n <= most);
    return n;
}

/* The spill's descriptor, as whoever has taken over the process's rights would find it. */
static int its_fd(void) {
    for (int fd = 3; fd < 256; fd++) {
        char link[300] = "", name[40];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, link, sizeof link - 1);
        if (n > 0 && strstr(link, "(deleted)")) return fd;
    }
    fail_msg("no file without a name is open");
    return -1;
}

/* Random lives of many records, of sizes around those of chunks, against copies. */
static void what_is_put_comes_back(void **state) {
    enum { N = 60 };
    struct slv_spill_file *f = open_spill(16 * MIB);
    const struct slv_spill s = slv_spill_of(f);
    uint8_t *copy[N] = {NULL}, *page = malloc(400000);
    size_t n[N] = {0};
    uint64_t at[N], full = 0, lived = 0;
    (void)state;
    srand(7);
    for (int e = 0; e < 3000; e++) {
        const int i = rand() % N;
        if (copy[i]) {
            assert_int_equal(s.get(s.ctx, at[i], page, n[i]), 0);
            assert_memory_equal(page, copy[i], n[i]);
            if (rand() % 2) continue;
            s.drop(s.ctx, at[i]);
            free(copy[i]);
            copy[i] = NULL;
            continue;
        }
        n[i] = rand() % 3 ? 1 + (size_t)rand() % 400000
                          : 65536 * (1 + (size_t)rand() % 4) - 16 + (size_t)rand() % 3 - 1;
        copy[i] = malloc(n[i]);
        scratch_noise(copy[i], n[i], (unsigned)e);
        const int rc = s.put(s.ctx, copy[i], n[i], &at[i]);
        assert_true(!rc || rc == SLV_E_LIMIT);
        full += rc != 0;
        lived += !rc;
        if (!rc) continue;
        free(copy[i]);
        copy[i] = NULL;
    }
    assert_true(lived > 500 && full == 0);
    for (int i = 0; i < N; i++)
        if (copy[i]) s.drop(s.ctx, at[i]), free(copy[i]);
    assert_int_equal(used(f), 0);
    struct stat st;
    assert_int_equal(fstat(its_fd(), &st), 0);
    assert_int_equal(st.st_size, 0); /* the disk has it back */
    free(page);
    slv_spill_close(f);
}

static void it_grows_no_larger_than_it_may(void **state) {
    struct slv_spill_file *f = open_spill(MIB);
    const struct slv_spill s = slv_spill_of(f);
    uint8_t page[100000];
    uint64_t at[8], more = 99;
    (void)state;
    memset(page, 1, sizeof page);
    for (int i = 0; i < 8; i++)
        assert_int_equal(s.put(s.ctx, page, sizeof page, &at[i]), 0);
    assert_int_equal(s.put(s.ctx, page, sizeof page, &more), SLV_E_LIMIT);
    assert_int_equal(more, 99);
    s.drop(s.ctx, at[3]);
    assert_int_equal(s.put(s.ctx, page, sizeof page, &more), 0);
    assert_int_equal(s.put(s.ctx, page, 2 * MIB, &more), SLV_E_LIMIT);
    assert_int_equal(used(f), MIB);
    slv_spill_close(f);
    assert_int_equal(slv_spill_open(scratch("."), 1000, &f, &err), SLV_E_USAGE);
    assert_int_equal(slv_spill_open(scratch("nowhere"), MIB, &f, &err), SLV_E_NOENT);
    assert_non_null(strstr(err.msg, "nowhere"));
}

static void nobody_else_can_read_it(void **state) {
    struct slv_spill_file *f = open_spill(MIB), *other;
    const struct slv_spill s = slv_spill_of(f);
    static const char secret[] = "the patient in room 7 has a fever of 41 degrees";
    char page[5000], bytes[2][70000];
    uint64_t at[2];
    (void)state;
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = secret[i % sizeof secret];
    assert_int_equal(s.put(s.ctx, page, sizeof page, &at[0]), 0);
    assert_int_equal(s.put(s.ctx, page, sizeof page, &at[1]), 0);
    const int fd = its_fd();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pread(fd, bytes[i], sizeof page + 16, i * 65536), (int)sizeof page + 16);
    assert_null(memmem(bytes[0], sizeof page, secret, 8));
    assert_memory_not_equal(bytes[0], bytes[1], sizeof page); /* of equal bytes */
    DIR *d = opendir(scratch("."));
    for (struct dirent *e; (e = readdir(d));)
        assert_true(e->d_name[0] == '.' && strlen(e->d_name) <= 2);
    closedir(d);
    slv_spill_close(f);
    other = open_spill(MIB); /* another key */
    const struct slv_spill o = slv_spill_of(other);
    uint64_t mine;
    assert_int_equal(o.put(o.ctx, page, sizeof page, &mine), 0);
    assert_int_equal(pwrite(its_fd(), bytes[0], sizeof page + 16, 0), (int)sizeof page + 16);
    assert_int_equal(o.get(o.ctx, mine, page, sizeof page), SLV_E_TRUST);
    slv_spill_close(other);
}

static void what_was_touched_is_noticed(void **state) {
    struct slv_spill_file *f = open_spill(MIB);
    const struct slv_spill s = slv_spill_of(f);
    uint8_t page[3000], got[3000], old[3016], was[3000];
    uint64_t a, b;
    (void)state;
    memset(page, 5, sizeof page);
    memset(got, 9, sizeof got);
    memcpy(was, got, sizeof was);
    assert_int_equal(s.put(s.ctx, page, sizeof page, &a), 0);
    const int fd = its_fd();
    for (off_t i = 0; i < 3016; i += 503) { /* a bit, anywhere */
        uint8_t x;
        assert_int_equal(pread(fd, &x, 1, i), 1);
        x ^= 4;
        assert_int_equal(pwrite(fd, &x, 1, i), 1);
        assert_int_equal(s.get(s.ctx, a, got, sizeof got), SLV_E_TRUST);
        assert_memory_equal(got, was, sizeof was); /* and nothing of it comes out */
        x ^= 4;
        assert_int_equal(pwrite(fd, &x, 1, i), 1);
    }
    assert_int_equal(s.get(s.ctx, a, got, sizeof got), 0);
    assert_int_equal(pread(fd, old, sizeof old, 0), (int)sizeof old);
    s.drop(s.ctx, a);
    page[0] = 6;
    assert_int_equal(s.put(s.ctx, page, sizeof page, &a), 0); /* in the same place */
    assert_int_equal(s.put(s.ctx, page, sizeof page, &b), 0);
    assert_int_equal(pwrite(fd, old, sizeof old, 0), (int)sizeof old);
    assert_int_equal(s.get(s.ctx, a, got, sizeof got), SLV_E_TRUST); /* what was there before */
    assert_int_equal(pread(fd, old, sizeof old, 65536), (int)sizeof old);
    assert_int_equal(pwrite(fd, old, sizeof old, 0), (int)sizeof old);
    assert_int_equal(s.get(s.ctx, a, got, sizeof got), SLV_E_TRUST); /* what is elsewhere */
    assert_int_equal(s.get(s.ctx, b, got, sizeof got), 0);
    assert_int_equal(ftruncate(fd, 66000), 0);
    assert_int_equal(s.get(s.ctx, b, got, sizeof got), SLV_E_TRUST);
    assert_int_equal(s.get(s.ctx, 77, got, sizeof got), SLV_E_USAGE);
    assert_int_equal(s.get(s.ctx, a, got, sizeof got - 1), SLV_E_USAGE);
    slv_spill_close(f);
}

/* A disk that is full, by a limit that the system keeps. */
static void a_full_disk_is_an_error_of_one_record(void **state) {
    struct slv_spill_file *f = open_spill(4 * MIB);
    const struct slv_spill s = slv_spill_of(f);
    struct rlimit before, now;
    uint8_t *page = calloc(1, 300000);
    uint64_t at, again;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    now = before;
    now.rlim_cur = 400000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(s.put(s.ctx, page, 300000, &at), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    assert_int_equal(s.put(s.ctx, page, 300000, &again), SLV_E_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(s.get(s.ctx, at, page, 300000), 0);
    assert_int_equal(s.put(s.ctx, page, 300000, &again), 0);
    free(page);
    slv_spill_close(f);
}

struct worker {
    const struct slv_spill *s;
    unsigned seed;
};

static void *work(void *arg) {
    const struct worker *w = arg;
    uint8_t page[3000], got[3000];
    for (unsigned i = 0; i < 300; i++) {
        uint64_t at;
        memset(page, (int)(w->seed + i), sizeof page);
        if (w->s->put(w->s->ctx, page, sizeof page, &at)) return (void *)1;
        if (w->s->get(w->s->ctx, at, got, sizeof got) || memcmp(page, got, sizeof got))
            return (void *)1;
        w->s->drop(w->s->ctx, at);
    }
    return NULL;
}

static void several_may_use_it(void **state) {
    struct slv_spill_file *f = open_spill(MIB);
    const struct slv_spill s = slv_spill_of(f);
    pthread_t t[3];
    struct worker w[3] = {{&s, 1}, {&s, 70}, {&s, 150}};
    void *bad;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
    assert_int_equal(used(f), 0);
    slv_spill_close(f);
}

static void every_allocation_may_fail(void **state) {
    uint8_t page[1000] = {0};
    uint64_t at, k = 1;
    int rc = SLV_E_NOMEM;
    (void)state;
    for (; rc; k++) {
        struct slv_spill_file *f = NULL;
        slv_mem_fail_at(k);
        rc = slv_spill_open(scratch("."), MIB, &f, &err);
        if (!rc) {
            const struct slv_spill s = slv_spill_of(f);
            rc = s.put(s.ctx, page, sizeof page, &at);
            slv_mem_fail_at(0);
            if (rc) assert_int_equal(s.put(s.ctx, page, sizeof page, &at), 0);
            assert_int_equal(s.get(s.ctx, at, page, sizeof page), 0);
        }
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        slv_spill_close(f);
    }
    assert_true(k > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_comes_back),
        cmocka_unit_test(it_grows_no_larger_than_it_may),
        cmocka_unit_test(nobody_else_can_read_it),
        cmocka_unit_test(what_was_touched_is_noticed),
        cmocka_unit_test(a_full_disk_is_an_error_of_one_record),
        cmocka_unit_test(several_may_use_it),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_drop);
}
