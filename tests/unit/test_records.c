/* test_records.c: what a node keeps on disk is there when it is opened again, in order; what was
 * damaged is never handed out, and is told of until somebody has acted on it; and a file that is
 * somebody else's is let be. (Killed writers, full disks, power cuts: interop/test_records.py.) */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "store/records.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096u

/* In the place of the C library's: a disk that fails. */
static bool sync_fails;
int fdatasync(int fd) {
    if (!sync_fails) return fsync(fd);
    errno = EIO;
    return -1;
}

static struct slv_err err;
static struct slv_records *store;
static char path[200], said[4096];

static void note(void *ctx, const char *line) {
    (void)ctx;
    assert_null(strchr(line, '\n'));
    if (strlen(said) + strlen(line) < sizeof said) strcat(said, line);
}

static struct slv_records_conf conf = {.note = note};

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(path, scratch("records.db"));
    said[0] = '\0';
    err = (struct slv_err){0};
    sync_fails = false;
    return 0;
}

static int tear_down(void **state) {
    slv_records_close(store);
    store = NULL;
    return scratch_drop(state);
}

static struct slv_str str(const char *s) { return (struct slv_str){s, strlen(s)}; }

static void open_store(void) {
    const int rc = slv_records_open(path, &conf, &store, &err);
    if (rc) fail_msg("%d %s", rc, err.msg);
}

static void close_store(void) {
    slv_records_close(store);
    store = NULL;
}

static void put(const char *key, const char *value) {
    assert_int_equal(slv_records_put(store, str(key), str(value)), 0);
}

static void commit(void) {
    assert_int_equal(slv_records_commit(store, &err), 0);
    const int rc = slv_records_wait(store, &err);
    if (rc) fail_msg("%d %s", rc, err.msg);
}

static struct {
    char text[4096]; /* "k=v k=v " of those that are short */
    size_t n;
    struct slv_str last;
    char room[SLV_RECORDS_KEY_MAX];
    bool damaged;
} got;

static int take(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx;
    if (got.n++) {
        const size_t n = got.last.n < key.n ? got.last.n : key.n;
        const int c = memcmp(got.last.p, key.p, n);
        assert_true(c < 0 || (!c && got.last.n < key.n));
    }
    memcpy(got.room, key.p, key.n);
    got.last = (struct slv_str){got.room, key.n};
    if (strlen(got.text) + key.n + value.n + 3 < sizeof got.text)
        sprintf(got.text + strlen(got.text), "%.*s=%.*s ", (int)key.n, key.p, (int)value.n,
                value.p);
    return 0;
}

static void load(void) {
    memset(&got, 0, sizeof got);
    const int rc = slv_records_load(store, take, NULL, &got.damaged, &err);
    if (rc) fail_msg("%d %s", rc, err.msg);
}

static void reopen(void) {
    close_store();
    open_store();
    load();
}

static uint64_t stat_records(void) {
    struct slv_records_stats s;
    slv_records_stats(store, &s);
    return s.records;
}

/* --- what is written -------------------------------------------------------------------------- */

static void records_come_back_in_order(void **state) {
    (void)state;
    open_store();
    load();
    assert_int_equal(got.n, 0);
    assert_false(got.damaged);
    put("b", "2");
    put("a", "1");
    put("ab", "");
    put("c", "x");
    commit();
    put("c", "3");
    put("d", "gone");
    assert_int_equal(slv_records_del(store, str("d")), 0);
    assert_int_equal(slv_records_del(store, str("never")), 0);
    commit();
    assert_int_equal(stat_records(), 4);
    reopen();
    assert_string_equal(got.text, "a=1 ab= b=2 c=3 ");
    assert_false(got.damaged);
    assert_int_equal(stat_records(), 4);
    assert_string_equal(said, "");
    struct stat st;
    assert_int_equal(chmod(path, 0644), 0);
    reopen();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    close_store();
    assert_false(scratch_there(scratch("records.db-wal"))); /* ... but while it is open */
    open_store();
    put("e", "4");
    commit();
    assert_int_equal(stat(scratch("records.db-wal"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(scratch_there(scratch("records.db-shm")));
}

static void any_bytes_are_a_key_and_a_value(void **state) {
    static char key[SLV_RECORDS_KEY_MAX + 1], value[300000];
    (void)state;
    scratch_noise(key, sizeof key, 1);
    scratch_noise(value, sizeof value, 2);
    open_store();
    for (size_t n = 1; n < sizeof key; n = n * 3 + 1)
        assert_int_equal(
            slv_records_put(store, (struct slv_str){key, n}, (struct slv_str){value, n * 40}), 0);
    const struct slv_str zeros[] = {{"\0", 1}, {"\0\0", 2}, {"\xff", 1}, {"\xff\0", 2}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(slv_records_put(store, zeros[i], zeros[i]), 0);
    assert_int_equal(slv_records_put(store, (struct slv_str){key, SLV_RECORDS_KEY_MAX},
                                     (struct slv_str){value, sizeof value}),
                     0);
    commit();
    const uint64_t n = stat_records();
    reopen();
    assert_int_equal(got.n, n);
    assert_false(got.damaged);
    assert_int_equal(slv_records_put(store, (struct slv_str){key, sizeof key}, str("")),
                     SLV_E_USAGE);
    assert_int_equal(slv_records_put(store, str(""), str("")), SLV_E_USAGE);
    assert_int_equal(slv_records_del(store, str("")), SLV_E_USAGE);
    assert_int_equal(
        slv_records_put(store, str("k"), (struct slv_str){value, SLV_RECORDS_VALUE_MAX + 1}),
        SLV_E_USAGE);
}

static void what_was_not_committed_is_dropped(void **state) {
    (void)state;
    open_store();
    put("a", "1");
    commit();
    put("b", "2");
    slv_records_drop(store);
    put("c", "3");
    commit();
    put("d", "4");
    reopen();
    assert_string_equal(got.text, "a=1 c=3 ");
}

static void a_descriptor_says_when_it_is_durable(void **state) {
    int status = 1;
    (void)state;
    open_store();
    struct pollfd p = {.fd = slv_records_fd(store), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(slv_records_done(store, &status, &err), 0);
    assert_int_equal(status, 1);
    for (int i = 0; i < 3; i++) {
        if (i) put("a", "1"); /* and one of nothing */
        assert_int_equal(slv_records_commit(store, &err), 0);
        assert_int_equal(slv_records_commit(store, &err), SLV_E_BUSY);
        put("b", "of the next one");
        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_int_equal(slv_records_commit(store, &err), SLV_E_BUSY);
        assert_int_equal(slv_records_load(store, take, NULL, &got.damaged, &err), SLV_E_BUSY);
        assert_int_equal(slv_records_done(store, &status, &err), 1);
        assert_int_equal(status, 0);
        assert_int_equal(poll(&p, 1, 0), 0);
        assert_int_equal(slv_records_done(store, &status, &err), 0);
    }
    assert_int_equal(slv_records_wait(store, &err), 0);
    struct slv_records_stats s;
    slv_records_stats(store, &s);
    assert_int_equal(s.commits, 3);
    assert_int_equal(s.puts, 4);
    assert_true(s.sync_ns && s.sync_all_ns >= s.sync_max_ns && s.bytes >= 2 * PAGE);
}

static void closing_waits_for_the_commit_under_way(void **state) {
    (void)state;
    open_store();
    put("a", "1");
    assert_int_equal(slv_records_commit(store, &err), 0);
    put("b", "2");
    reopen();
    assert_string_equal(got.text, "a=1 ");
}

static void a_transaction_has_a_limit(void **state) {
    static char value[1000];
    (void)state;
    conf.max = 2100;
    open_store();
    conf.max = 0;
    const struct slv_str big = {value, sizeof value};
    assert_int_equal(slv_records_put(store, str("a"), big), 0);
    assert_int_equal(slv_records_put(store, str("b"), big), 0);
    assert_int_equal(slv_records_put(store, str("c"), big), SLV_E_LIMIT);
    assert_int_equal(slv_records_put(store, str("d"), str("small")), 0);
    assert_int_equal(slv_records_commit(store, &err), 0);
    assert_int_equal(slv_records_put(store, str("c"), big), 0);
    assert_int_equal(slv_records_wait(store, &err), 0);
    commit();
    assert_int_equal(stat_records(), 4);
    reopen();
    assert_int_equal(got.n, 4);
}

static void the_log_does_not_grow_without_end(void **state) {
    static char value[20000];
    struct stat st;
    (void)state;
    open_store();
    for (int i = 0; i < 1200; i++) {
        char key[16];
        sprintf(key, "%d", i % 7);
        scratch_noise(value, sizeof value, (unsigned)i);
        assert_int_equal(slv_records_put(store, str(key), (struct slv_str){value, sizeof value}),
                         0);
        commit();
    }
    assert_int_equal(stat(scratch("records.db-wal"), &st), 0);
    assert_in_range(st.st_size, 1, 6 << 20);
    reopen();
    assert_int_equal(got.n, 7);
}

static int refuse(void *ctx, struct slv_str key, struct slv_str value) {
    (void)ctx, (void)key, (void)value;
    return SLV_E_LIMIT;
}

static void who_loads_may_end_it(void **state) {
    (void)state;
    open_store();
    put("a", "1");
    commit();
    assert_int_equal(slv_records_load(store, refuse, NULL, &got.damaged, &err), SLV_E_LIMIT);
    load();
    assert_int_equal(got.n, 1);
}

/* --- who may open it -------------------------------------------------------------------------- */

static void a_second_opener_is_refused(void **state) {
    struct slv_records *second = NULL;
    (void)state;
    open_store();
    assert_int_equal(slv_records_open(path, &conf, &second, &err), SLV_E_BUSY);
    assert_non_null(strstr(err.msg, "another process has it open"));
    put("a", "1");
    commit();
    close_store();
    open_store();
}

static void nobody_elses_file_is_touched(void **state) {
    size_t n;
    (void)state;
    open_store();
    put("a", "1");
    commit();
    close_store();
    char *db = scratch_read(path, &n);
    const struct {
        size_t at;
        char byte;
        const char *says;
    } cases[] = {
        {68, 'x', "is a database of another program"},
        {63, 2, "is of version 2, and 1 is known here"},
        {0, 'x', "is no database of SQLite"},
    };
    for (size_t i = 0; i < 3; i++) {
        const char *other = scratch("other.db"), *lock = scratch("other.db.lock");
        const char was = db[cases[i].at];
        db[cases[i].at] = cases[i].byte;
        struct stat st;
        scratch_write(other, db, n);
        assert_int_equal(chmod(other, 0644), 0);
        assert_int_equal(slv_records_open(other, &conf, &store, &err), SLV_E_FORMAT);
        assert_int_equal(stat(other, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_null(store);
        assert_non_null(strstr(err.msg, cases[i].says));
        assert_non_null(strstr(err.msg, other));
        size_t m;
        char *now = scratch_read(other, &m);
        assert_true(m == n && !memcmp(now, db, n));
        free(now);
        db[cases[i].at] = was;
        unlink(lock);
    }
    free(db);
    assert_int_equal(slv_records_open(scratch("no/where"), &conf, &store, &err), SLV_E_IO);
    assert_int_equal(mkdir(scratch("folder"), 0700), 0);
    assert_int_equal(slv_records_open(scratch("folder"), &conf, &store, &err), SLV_E_IO);
}

/* --- damage ----------------------------------------------------------------------------------- */

/* Records of 100 bytes, in a file of some levels of pages. */
#define MANY 3000u
static void fill(void) {
    char key[16], value[101];
    open_store();
    for (unsigned i = 0; i < MANY; i++) {
        sprintf(key, "key-%06u", i);
        scratch_noise(value, 100, i);
        assert_int_equal(slv_records_put(store, str(key), (struct slv_str){value, 100}), 0);
    }
    commit();
    close_store();
}

/* Tells of what is lost until something was committed after that. */
static void told_until_acted_on(void) {
    close_store();
    open_store();
    put("nobody", "was told");
    assert_int_equal(slv_records_del(store, str("nobody")), 0);
    commit();
    for (int i = 0; i < 2; i++) {
        reopen();
        assert_true(got.damaged);
    }
    commit(); /* of nothing */
    reopen();
    assert_true(got.damaged);
    put("acted", "on");
    commit();
    reopen();
    assert_false(got.damaged);
}

static void a_flipped_bit_is_seen_and_its_record_removed(void **state) {
    size_t n;
    char value[100];
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    scratch_noise(value, sizeof value, 1234);
    char *at = memmem(db, n, value, sizeof value);
    assert_non_null(at);
    at[50] ^= 4;
    at[-3] ^= 1; /* and its key's: that is another record's now, which must not go for it */
    scratch_write(path, db, n);
    free(db);
    open_store();
    load();
    assert_int_equal(got.n, MANY - 1);
    assert_true(got.damaged);
    struct slv_records_stats s;
    slv_records_stats(store, &s);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.records, MANY - 1);
    told_until_acted_on();
    assert_int_equal(got.n, MANY);
}

static void only_the_value_flipped_no_new_file_is_made(void **state) {
    size_t n;
    char value[100];
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    scratch_noise(value, sizeof value, 77);
    ((char *)memmem(db, n, value, sizeof value))[99] ^= 64;
    scratch_write(path, db, n);
    free(db);
    open_store();
    load();
    assert_true(got.damaged && got.n == MANY - 1);
    assert_non_null(strstr(said, "the record of key 6b65792d303030303737 is not what was written"));
    assert_non_null(strstr(said, "1 of 3000 records were damaged"));
    assert_false(scratch_there(scratch("records.db.damaged-1")));
}

static void what_can_be_read_around_lost_pages_is_saved(void **state) {
    size_t n;
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    unsigned leaves = 0, lost = 0;
    for (size_t at = 2 * PAGE; at < n; at += PAGE) {
        if (db[at] != 0x0a) continue;
        leaves++;
        if (leaves % 20 != 3 && leaves != 41) continue; /* some apart, one and its neighbour */
        scratch_noise(db + at, PAGE, (unsigned)at);
        lost++;
    }
    assert_true(leaves > 80 && lost >= 5);
    scratch_write(path, db, n);
    free(db);
    open_store();
    load();
    assert_true(got.damaged);
    const size_t per_leaf = MANY / leaves + 2;
    assert_in_range(got.n, MANY - lost * 2 * per_leaf, MANY - lost);
    struct slv_records_stats s;
    slv_records_stats(store, &s);
    assert_int_equal(s.salvages, 1);
    assert_int_equal(s.records, got.n);
    assert_true(scratch_there(scratch("records.db.damaged-1")));
    assert_non_null(strstr(said, "records.db.damaged-1"));
    told_until_acted_on();
    assert_false(scratch_there(scratch("records.db.new")));
    assert_false(scratch_there(scratch("records.db.damaged-2")));
}

/* Each is one of a kind: at the beginning, the middle, the end. */
static void a_truncated_file_is_no_store_or_a_part_of_one(void **state) {
    static const unsigned parts[] = {1, 2, 50, 99};
    size_t n;
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    for (size_t i = 0; i < 4; i++) {
        scratch_write(path, db, n * parts[i] / 100);
        open_store();
        load();
        assert_true(got.damaged);
        assert_true(got.n < MANY);
        put("after", "that");
        commit();
        const size_t now = got.n + 1;
        reopen();
        assert_int_equal(got.n, now);
        assert_false(got.damaged);
        close_store();
    }
    assert_true(scratch_there(scratch("records.db.damaged-4")));
    scratch_write(path, db, n / 2); /* a fifth takes the place of the last */
    open_store();
    load();
    assert_true(got.damaged);
    assert_false(scratch_there(scratch("records.db.damaged-5")));
    free(db);
}

static void a_store_that_became_garbage_or_vanished_begins_anew(void **state) {
    char noise[3 * PAGE];
    (void)state;
    scratch_noise(noise, sizeof noise, 5);
    for (int i = 0; i < 4; i++) {
        said[0] = '\0';
        open_store();
        load();
        assert_false(got.damaged);
        put("a", "1");
        commit();
        close_store();
        if (i == 0) scratch_write(path, noise, sizeof noise);
        if (i == 1) scratch_write(path, "", 0);
        if (i == 2) unlink(path);
        if (i == 3) scratch_write(path, noise, 50);
        open_store();
        load();
        assert_true(got.damaged && !got.n);
        assert_true(said[0]);
        told_until_acted_on();
        assert_string_equal(got.text, "acted=on ");
        assert_int_equal(slv_records_del(store, str("acted")), 0);
        commit();
        close_store();
    }
}

static void a_schema_that_is_another_is_damage(void **state) {
    size_t n;
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    char *at = memmem(db, n, "WITHOUT ROWID", 13);
    assert_non_null(at);
    at[3] ^= 32; /* SQLite itself takes it for the same */
    scratch_write(path, db, n);
    free(db);
    open_store();
    load();
    assert_true(got.damaged && !got.n);
}

/* Any page, any byte: what is handed out was written, and all the rest is there or told of. */
static void noise_anywhere_is_told_or_harmless(void **state) {
    size_t n;
    unsigned told = 0;
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    for (unsigned i = 0; i < 60; i++) {
        uint32_t x[2];
        scratch_noise(x, sizeof x, i + 1000);
        const size_t at = i % 2 ? x[0] % n : (x[0] % (n / PAGE)) * PAGE + x[1] % 12;
        if (at < 100) continue; /* its name: another program's, see above */
        const char was = db[at];
        db[at] = (char)(was ^ 1 << x[1] % 8);
        scratch_write(path, db, n);
        db[at] = was;
        open_store();
        load();
        assert_true(got.n <= MANY);
        assert_true(got.damaged || got.n == MANY);
        told += got.damaged;
        put("acted", "on");
        commit();
        close_store();
    }
    assert_true(told > 20);
    free(db);
}

/* --- what fails ------------------------------------------------------------------------------- */

static void after_a_failed_sync_all_is_refused(void **state) {
    int status = 0;
    (void)state;
    open_store();
    put("a", "1");
    commit();
    put("a", "2");
    put("b", "2");
    sync_fails = true;
    assert_int_equal(slv_records_commit(store, &err), 0);
    struct pollfd p = {.fd = slv_records_fd(store), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(slv_records_done(store, &status, &err), 1);
    assert_int_equal(status, SLV_E_IO);
    assert_non_null(strstr(err.msg, path));
    sync_fails = false;
    assert_int_equal(slv_records_put(store, str("c"), str("3")), SLV_E_IO);
    assert_int_equal(slv_records_del(store, str("c")), SLV_E_IO);
    assert_int_equal(slv_records_commit(store, &err), SLV_E_IO);
    assert_int_equal(slv_records_load(store, take, NULL, &got.damaged, &err), SLV_E_IO);
    reopen();
    assert_true(!strcmp(got.text, "a=1 ") || !strcmp(got.text, "a=2 b=2 "));
    assert_false(got.damaged);
}

static void memory_that_is_not_there_loses_nothing(void **state) {
    (void)state;
    open_store();
    put("a", "1");
    commit();
    close_store();
    for (uint64_t i = 1;; i++) {
        slv_mem_fail_at(i);
        const int rc = slv_records_open(path, &conf, &store, &err);
        slv_mem_fail_at(0);
        if (!rc) break;
        assert_int_equal(rc, SLV_E_NOMEM);
        assert_null(store);
        assert_true(i < 50);
    }
    char big[2000];
    scratch_noise(big, sizeof big, 3);
    slv_mem_fail_at(1);
    assert_int_equal(slv_records_put(store, str("b"), (struct slv_str){big, sizeof big}),
                     SLV_E_NOMEM);
    slv_mem_fail_at(0);
    put("c", "3");
    commit();
    reopen();
    assert_string_equal(got.text, "a=1 c=3 ");
    assert_false(got.damaged);
}

/* A salvage that finds no memory leaves the damaged file where it is, and is made the next time. */
static void a_salvage_that_fails_is_made_again(void **state) {
    size_t n;
    (void)state;
    fill();
    char *db = scratch_read(path, &n);
    for (size_t at = 10 * PAGE; at < n; at += PAGE)
        if (db[at] == 0x0a) {
            memset(db + at, 0, PAGE);
            break;
        }
    scratch_write(path, db, n);
    free(db);
    for (uint64_t i = 1;; i++) {
        open_store();
        slv_mem_fail_at(i);
        memset(&got, 0, sizeof got);
        const int rc = slv_records_load(store, take, NULL, &got.damaged, &err);
        slv_mem_fail_at(0);
        if (!rc) break;
        assert_int_equal(rc, SLV_E_NOMEM);
        assert_int_equal(got.n, 0);
        assert_int_equal(slv_records_put(store, str("x"), str("y")), SLV_E_NOMEM);
        close_store();
        assert_true(i < 200);
    }
    assert_true(got.damaged);
    assert_in_range(got.n, MANY - 100, MANY - 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order),
        TEST(any_bytes_are_a_key_and_a_value),
        TEST(what_was_not_committed_is_dropped),
        TEST(a_descriptor_says_when_it_is_durable),
        TEST(closing_waits_for_the_commit_under_way),
        TEST(a_transaction_has_a_limit),
        TEST(the_log_does_not_grow_without_end),
        TEST(who_loads_may_end_it),
        TEST(a_second_opener_is_refused),
        TEST(nobody_elses_file_is_touched),
        TEST(a_flipped_bit_is_seen_and_its_record_removed),
        TEST(only_the_value_flipped_no_new_file_is_made),
        TEST(what_can_be_read_around_lost_pages_is_saved),
        TEST(a_truncated_file_is_no_store_or_a_part_of_one),
        TEST(a_store_that_became_garbage_or_vanished_begins_anew),
        TEST(a_schema_that_is_another_is_damage),
        TEST(noise_anywhere_is_told_or_harmless),
        TEST(after_a_failed_sync_all_is_refused),
        TEST(memory_that_is_not_there_loses_nothing),
        TEST(a_salvage_that_fails_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
