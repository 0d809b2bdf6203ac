/* test_packfile.c: packed weights in a file: what was written is what is read, and anything else
 * (a flipped bit, a lost end, another version, another model, another user's file) is seen, costs
 * the file and never the answer. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/sum.h"
#include "engine/model.h"
#include "engine/packcheck.h"
#include "engine/packfile.h"
#include "engine/packfolder.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL HOSTILE_DIR "/ok-llama.gguf"
#define N_ROWS 3
#define TILE_BYTES (3 * SLV_PACK_PIECE + 4160)
#define META_AT 4096u
#define META_END (META_AT + N_ROWS * sizeof(struct slv_pack_row) + 4 * sizeof(uint64_t))
#define TILES_AT ((size_t)2 << 20)

static char dir[64], path[128];
static struct slv_err err;
static struct slv_pack_row rows[N_ROWS];
static unsigned char *tiles;

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/selvage-pack-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/0123456789abcdef.tiles", dir);
    memset(&err, 0, sizeof err);
    tiles = malloc(TILE_BYTES);
    for (size_t i = 0; i < TILE_BYTES; i++)
        tiles[i] = (unsigned char)slv_sum_mix(i);
    for (size_t i = 0; i < N_ROWS; i++) {
        rows[i] = (struct slv_pack_row){.layout = 2, .rows = 16, .cols = 32, .at = i * 4160};
        snprintf(rows[i].name, sizeof rows[i].name, "blk.%zu.weight", i);
    }
    return 0;
}

static int tear_down(void **state) {
    char command[100];
    (void)state;
    free(tiles);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static struct slv_pack_id an_id(void) {
    return (struct slv_pack_id){
        .key = 77, .layout = 5, .rows = rows, .n_rows = N_ROWS, .tile_bytes = TILE_BYTES};
}

static int write_file(const struct slv_pack_id *id) {
    struct slv_packwrite w;
    bool more = true;
    int rc = slv_packwrite_open(path, id, tiles, 1234, 99, &w, &err);
    if (rc) return rc;
    while (!rc && more)
        rc = slv_packwrite_step(&w, &more, &err);
    if (!rc) rc = slv_packwrite_commit(&w, &err);
    slv_packwrite_close(&w);
    return rc;
}

/* 0 when the file opens and all of its tiles are right. */
static int read_file(const struct slv_pack_id *id) {
    struct slv_packfile f;
    int rc = slv_packfile_open(path, id, &f, &err);
    if (rc) return rc;
    bool good = slv_packfile_check(&f, 0, f.n_pieces) && f.content == 1234 && f.stamp == 99 &&
                !memcmp(f.tiles, tiles, TILE_BYTES);
    slv_packfile_close(&f);
    return good ? 0 : SLV_E_FORMAT;
}

static void flip(const char *file, size_t at, unsigned char bits) {
    unsigned char c;
    int fd = open(file, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c ^= bits;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

static size_t file_size(const char *file) {
    struct stat st;
    return stat(file, &st) ? 0 : (size_t)st.st_size;
}

/* --- the checksum ----------------------------------------------------------------------------- */

static void any_single_bit_changes_the_sum(void **state) {
    unsigned char p[517] = {0};
    (void)state;
    for (size_t n = 0; n < sizeof p; n += 43) {
        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)slv_sum_mix(i + n);
        uint64_t want = slv_sum64(p, n, 3);
        assert_true(slv_sum64(p, n, 4) != want);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            p[bit / 8] ^= (unsigned char)(1u << bit % 8);
            assert_true(slv_sum64(p, n, 3) != want);
            p[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        assert_true(slv_sum64(p, n, 3) == want);
    }
}

static void zeros_of_any_length_differ_and_the_sum_is_that_of_every_machine(void **state) {
    static unsigned char zeros[4096 + 1];
    uint64_t seen[600];
    (void)state;
    for (size_t n = 0; n < 600; n++) {
        seen[n] = slv_sum64(zeros + n % 2, n, 0);
        for (size_t i = 0; i < n; i++)
            assert_true(seen[i] != seen[n]);
    }
    for (size_t i = 0; i < sizeof zeros; i++)
        zeros[i] = (unsigned char)(i * 7);
    assert_true(slv_sum64(zeros + 1, 4096, 1) == UINT64_C(0xd0e1b9f1bc47bb87));
    assert_true(slv_sum64(zeros, 1000, 0) == UINT64_C(0x46acab715bd0a14f));
}

/* --- the file --------------------------------------------------------------------------------- */

static void what_is_written_is_read(void **state) {
    struct slv_pack_id id = an_id();
    struct stat st;
    (void)state;
    assert_int_equal(read_file(&id), SLV_E_NOENT);
    assert_int_equal(write_file(&id), 0);
    assert_int_equal(read_file(&id), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, TILES_AT + TILE_BYTES);
    assert_int_equal(write_file(&id), 0); /* over the old one */
    assert_int_equal(read_file(&id), 0);
}

static void a_flipped_bit_anywhere_is_seen(void **state) {
    struct slv_pack_id id = an_id();
    size_t tried = 0, all = TILES_AT + TILE_BYTES;
    (void)state;
    assert_int_equal(write_file(&id), 0);
    for (size_t at = 0; at < all; at += at < META_END ? 1 : 6007) {
        flip(path, at, (unsigned char)(1u << at % 8));
        if (read_file(&id) != SLV_E_FORMAT) fail_msg("byte %zu", at);
        flip(path, at, (unsigned char)(1u << at % 8));
        tried++;
    }
    flip(path, all - 1, 0x80);
    assert_int_equal(read_file(&id), SLV_E_FORMAT);
    flip(path, all - 1, 0x80);
    assert_int_equal(read_file(&id), 0);
    printf("# %zu bytes\n", tried);
}

static void every_wrong_length_is_seen(void **state) {
    struct slv_pack_id id = an_id();
    const size_t all = TILES_AT + TILE_BYTES, ends[] = {0,
                                                        1,
                                                        7,
                                                        95,
                                                        96,
                                                        META_AT - 1,
                                                        META_AT,
                                                        META_AT + 1,
                                                        META_END - 1,
                                                        META_END,
                                                        TILES_AT - 1,
                                                        TILES_AT,
                                                        TILES_AT + 1,
                                                        TILES_AT + SLV_PACK_PIECE - 1,
                                                        TILES_AT + SLV_PACK_PIECE,
                                                        TILES_AT + 2 * SLV_PACK_PIECE,
                                                        all - 4096,
                                                        all - 1,
                                                        all + 1,
                                                        all + 4096};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        assert_int_equal(write_file(&id), 0);
        assert_int_equal(truncate(path, (off_t)ends[i]), 0);
        if (read_file(&id) != SLV_E_FORMAT) fail_msg("%zu bytes", ends[i]);
    }
}

static void zeroed_and_swapped_pieces_are_seen(void **state) {
    struct slv_pack_id id = an_id();
    static unsigned char a[4096], b[4096];
    (void)state;
    memset(tiles, 0, SLV_PACK_PIECE); /* two pieces that differ in their place alone */
    memset(tiles + SLV_PACK_PIECE, 0, SLV_PACK_PIECE);
    tiles[5] = 1;
    assert_int_equal(write_file(&id), 0);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, a, 4096, TILES_AT), 4096);
    assert_int_equal(pread(fd, b, 4096, TILES_AT + (off_t)SLV_PACK_PIECE), 4096);
    assert_int_equal(pwrite(fd, b, 4096, TILES_AT), 4096);
    assert_int_equal(read_file(&id), SLV_E_FORMAT);
    assert_int_equal(pwrite(fd, a, 4096, TILES_AT + (off_t)SLV_PACK_PIECE), 4096);
    assert_int_equal(read_file(&id), SLV_E_FORMAT);
    close(fd);
}

static void says(int rc, int want, const char *word) {
    if (rc != want || !strstr(err.msg, word)) fail_msg("%d: %s", rc, err.msg);
}

static void another_version_layout_or_model_is_not_taken(void **state) {
    struct slv_pack_id id = an_id(), other;
    (void)state;
    assert_int_equal(write_file(&id), 0);
    other = id;
    other.layout++;
    says(read_file(&other), SLV_E_FORMAT, "another layout");
    other = id;
    other.key++;
    says(read_file(&other), SLV_E_FORMAT, "another model");
    other = id;
    other.n_rows--;
    says(read_file(&other), SLV_E_FORMAT, "another model");
    other = id;
    other.tile_bytes -= 64;
    says(read_file(&other), SLV_E_FORMAT, "another model");
    rows[1].cols++;
    says(read_file(&id), SLV_E_FORMAT, "another model");
    rows[1].cols--;
    flip(path, 8, 2); /* the version; the header's sum is made right again */
    unsigned char block[4096];
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, block, sizeof block, 0), sizeof block);
    uint64_t sum = slv_sum64(block, sizeof block - 8, SLV_PACK_VERSION);
    assert_int_equal(pwrite(fd, &sum, 8, 4088), 8);
    close(fd);
    says(read_file(&id), SLV_E_FORMAT, "another version");
}

static void files_that_others_may_write_are_not_trusted(void **state) {
    struct slv_pack_id id = an_id();
    char real[160];
    (void)state;
    assert_int_equal(write_file(&id), 0);
    chmod(path, 0620);
    says(read_file(&id), SLV_E_TRUST, "others may write");
    chmod(path, 0602);
    says(read_file(&id), SLV_E_TRUST, "others may write");
    chmod(path, 0600);
    snprintf(real, sizeof real, "%s.real", path);
    assert_int_equal(rename(path, real), 0);
    assert_int_equal(symlink(real, path), 0);
    assert_int_equal(read_file(&id), SLV_E_IO);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    says(read_file(&id), SLV_E_TRUST, "not a file");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    says(read_file(&id), SLV_E_TRUST, "not a file");
    chmod(dir, 0777);
    assert_int_equal(slv_packfolder_judge(dir, &err), SLV_E_TRUST);
    chmod(dir, 0700);
    assert_int_equal(slv_packfolder_judge(dir, &err), 0);
    if (!geteuid()) {
        assert_int_equal(chown(real, 65534, 65534), 0);
        unlink(path);
        assert_int_equal(rename(real, path), 0);
        says(read_file(&id), SLV_E_TRUST, "another user");
        assert_int_equal(chown(dir, 65534, 65534), 0);
        assert_int_equal(slv_packfolder_judge(dir, &err), SLV_E_TRUST);
    }
}

static void a_stamp_is_changed_in_place(void **state) {
    struct slv_pack_id id = an_id();
    struct slv_packfile f;
    (void)state;
    assert_int_equal(write_file(&id), 0);
    assert_int_equal(slv_packfile_open(path, &id, &f, &err), 0);
    slv_packfile_stamp(&f, path, 4321);
    assert_int_equal(f.stamp, 4321);
    slv_packfile_close(&f);
    assert_int_equal(slv_packfile_open(path, &id, &f, &err), 0);
    assert_int_equal(f.stamp, 4321);
    assert_true(slv_packfile_check(&f, 0, f.n_pieces));
    slv_packfile_close(&f);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void only_one_writes_and_leftovers_are_begun_anew(void **state) {
    struct slv_pack_id id = an_id();
    struct slv_packwrite a, b;
    char tmp[160];
    bool more;
    (void)state;
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    size_t longer = TILES_AT + TILE_BYTES + 4096;
    char *left = malloc(longer);
    memset(left, 0x5a, longer);
    assert_int_equal(slv_file_write(tmp, left, longer, 0600, NULL), 0);
    assert_int_equal(slv_packwrite_open(path, &id, tiles, 1, 2, &a, &err), 0);
    assert_int_equal(slv_packwrite_open(path, &id, tiles, 1, 2, &b, &err), SLV_E_BUSY);
    assert_int_equal(slv_packwrite_step(&a, &more, &err), 0);
    assert_false(more);
    slv_packwrite_close(&a); /* given up */
    assert_int_equal(access(tmp, F_OK), -1);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(slv_file_write(tmp, left, longer, 0600, NULL), 0);
    free(left);
    assert_int_equal(write_file(&id), 0);
    assert_int_equal(read_file(&id), 0);
    assert_int_equal(access(tmp, F_OK), -1);
}

static void a_full_disk_leaves_nothing(void **state) {
    struct slv_pack_id id = an_id();
    struct rlimit old, small;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (size_t limit = 0; limit <= TILES_AT + TILE_BYTES; limit += TILES_AT / 3 + 4096) {
        small = old;
        small.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &small);
        int rc = write_file(&id);
        setrlimit(RLIMIT_FSIZE, &old);
        if (limit < TILES_AT + TILE_BYTES) assert_int_equal(rc, SLV_E_IO);
        assert_int_equal(read_file(&id), rc ? SLV_E_NOENT : 0);
        if (!rc) continue;
        assert_int_equal(rmdir(dir), 0); /* nothing is in it */
        assert_int_equal(mkdir(dir, 0700), 0);
    }
}

static void every_allocation_may_fail_here(void **state) {
    struct slv_pack_id id = an_id();
    (void)state;
    for (uint64_t n = 1;; n++) {
        uint64_t before = slv_mem_count();
        slv_mem_fail_at(n);
        int rc = write_file(&id);
        if (!rc) rc = read_file(&id);
        slv_mem_fail_at(0);
        if (slv_mem_count() - before < n) break;
        assert_true(rc == SLV_E_NOMEM || !rc); /* 0: only the folder was not synced */
        assert_int_equal(write_file(&id), 0);
        assert_int_equal(read_file(&id), 0);
    }
}

/* --- the folder ------------------------------------------------------------------------------- */

static void put(const char *name, size_t kib, int64_t used) {
    char file[160];
    char *data = calloc(kib, 1024);
    memset(data, 1, kib * 1024);
    snprintf(file, sizeof file, "%s/%s", dir, name);
    assert_int_equal(slv_file_write(file, data, kib * 1024, 0600, NULL), 0);
    free(data);
    struct timespec t[2] = {{.tv_sec = used}, {.tv_sec = used}};
    assert_int_equal(utimensat(AT_FDCWD, file, t, 0), 0);
}

static bool there(const char *name) {
    char file[160];
    snprintf(file, sizeof file, "%s/%s", dir, name);
    return !access(file, F_OK);
}

static void the_least_recently_used_make_room(void **state) {
    struct slv_packfolder_sum sum;
    (void)state;
    put("aaaaaaaaaaaaaaaa.tiles", 100, 300);
    put("bbbbbbbbbbbbbbbb.tiles", 100, 100);
    put("cccccccccccccccc.tiles", 100, 200);
    put("dddddddddddddddd.tiles.tmp", 100, 400); /* left by a killed process */
    put("eeeeeeeeeeeeeeee.tiles.tmp", 100, 400); /* being written */
    put("somebody's.tiles", 100, 1);
    int fd = open(dir, O_RDONLY);
    int busy = openat(fd, "eeeeeeeeeeeeeeee.tiles.tmp", O_RDWR);
    close(fd);
    assert_int_equal(flock(busy, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(slv_packfolder_sum(dir, &sum, &err), 0);
    assert_true(sum.n == 3 && sum.n_left == 1 && sum.bytes >= 300 * 1024);
    assert_int_equal(slv_packfolder_make_room(dir, path, 120 * 1024, 300 * 1024, &err), 0);
    assert_true(there("aaaaaaaaaaaaaaaa.tiles") && !there("bbbbbbbbbbbbbbbb.tiles"));
    assert_false(there("cccccccccccccccc.tiles"));
    assert_false(there("dddddddddddddddd.tiles.tmp"));
    assert_true(there("eeeeeeeeeeeeeeee.tiles.tmp") && there("somebody's.tiles"));
    assert_int_equal(slv_packfolder_make_room(dir, path, 400 * 1024, 300 * 1024, &err), SLV_E_FIT);
    assert_true(there("aaaaaaaaaaaaaaaa.tiles"));
    assert_int_equal(slv_packfolder_make_room(dir, path, 400 * 1024, 0, &err), 0);
    assert_true(there("aaaaaaaaaaaaaaaa.tiles"));
    assert_int_equal(slv_packfolder_clear(dir, &sum, &err), 0);
    assert_true(sum.n == 1 && sum.n_left == 0 && there("somebody's.tiles"));
    close(busy);
    assert_int_equal(slv_packfolder_clear(dir, &sum, &err), 0);
    assert_true(sum.n == 0 && sum.n_left == 1);
    assert_int_equal(slv_packfolder_sum("/nowhere/at/all", &sum, &err), 0);
    assert_int_equal(sum.n, 0);
}

/* --- checked when first used ------------------------------------------------------------------ */

#define USERS 4

struct use {
    struct slv_packcheck *check;
    const unsigned char *mapped;
    _Atomic int mended, wrong;
};

static void mend_from_memory(void *ctx, size_t from, size_t to) {
    struct use *u = ctx;
    atomic_fetch_add(&u->mended, 1);
    memcpy((unsigned char *)(uintptr_t)u->mapped + from, tiles + from, to - from);
}

static void *use_some(void *arg) {
    struct use *u = arg;
    uint64_t r = (uint64_t)(uintptr_t)&r; /* another order for each */
    for (int i = 0; i < 300; i++) {
        r = slv_sum_mix(r + 1);
        size_t from = r % TILE_BYTES, n = 1 + (r >> 32) % (SLV_PACK_PIECE * 2);
        if (n > TILE_BYTES - from) n = TILE_BYTES - from;
        bool ok = slv_packcheck_need(u->check, from, from + n);
        if (!ok || memcmp(u->mapped + from, tiles + from, n) != 0) atomic_fetch_add(&u->wrong, 1);
    }
    return NULL;
}

/* Pieces of `bad` are damaged in the file; how many were mended. ahead: one goes before. */
static int used_by_many(const size_t *bad, size_t n_bad, bool ahead) {
    const struct slv_pack_id id = an_id();
    struct slv_packfile f;
    pthread_t t[USERS];
    assert_int_equal(write_file(&id), 0);
    for (size_t i = 0; i < n_bad; i++)
        flip(path, TILES_AT + bad[i], 0x40);
    assert_int_equal(slv_packfile_open(path, &id, &f, &err), 0);
    struct use u = {.mapped = f.tiles};
    assert_int_equal(slv_packcheck_new(&f, mend_from_memory, &u, &u.check), 0);
    if (ahead) slv_packcheck_ahead(u.check);
    for (size_t i = 0; i < USERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, use_some, &u), 0);
    for (size_t i = 0; i < USERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&u.wrong), 0);
    assert_true(slv_packcheck_need(u.check, 0, TILE_BYTES));
    assert_memory_equal(u.mapped, tiles, TILE_BYTES);
    assert_true(slv_packcheck_bad(u.check) == (n_bad > 0));
    slv_packcheck_free(u.check);
    return atomic_load(&u.mended);
}

/* The limit that counts private mappings which can be written; 0 would be taken for none. */
static void limit_data(bool on) {
    static struct rlimit old;
    if (on) assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
    const struct rlimit least = {4096, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, on ? &least : &old), 0);
}

static void with_a_bad_second_piece(struct use *u) {
    const struct slv_pack_id id = an_id();
    struct slv_packfile f;
    assert_int_equal(write_file(&id), 0);
    flip(path, TILES_AT + SLV_PACK_PIECE, 1);
    assert_int_equal(slv_packfile_open(path, &id, &f, &err), 0);
    u->mapped = f.tiles;
    assert_int_equal(slv_packcheck_new(&f, mend_from_memory, u, &u->check), 0);
}

static void who_goes_ahead_checks_all_and_mends_nothing(void **state) {
    struct use u = {0};
    (void)state;
    with_a_bad_second_piece(&u);
    assert_int_equal(slv_packcheck_left(u.check), (TILE_BYTES - 1) / SLV_PACK_PIECE + 1);
    slv_packcheck_ahead(u.check);
    while (slv_packcheck_left(u.check) != 1)
        sched_yield();
    assert_true(!slv_packcheck_bad(u.check) && atomic_load(&u.mended) == 0);
    assert_true(slv_packcheck_need(u.check, 0, TILE_BYTES));
    assert_true(slv_packcheck_bad(u.check) && atomic_load(&u.mended) == 1);
    assert_memory_equal(u.mapped, tiles, TILE_BYTES);
    slv_packcheck_free(u.check);
}

static void without_memory_a_bad_piece_stays_unused_until_there_is_some(void **state) {
    struct use u = {0};
    (void)state;
    with_a_bad_second_piece(&u);
    limit_data(true);
    bool others = slv_packcheck_need(u.check, 0, SLV_PACK_PIECE);
    bool bad = slv_packcheck_need(u.check, 0, SLV_PACK_PIECE + 1);
    limit_data(false);
    assert_true(others && !bad && atomic_load(&u.mended) == 0);
    assert_true(slv_packcheck_need(u.check, 0, TILE_BYTES));
    assert_memory_equal(u.mapped, tiles, TILE_BYTES);
    slv_packcheck_free(u.check);
}

static void a_bad_piece_is_mended_once_whoever_needs_it(void **state) {
    const size_t bad[] = {0, 17, 2 * SLV_PACK_PIECE + 5, TILE_BYTES - 1};
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        assert_int_equal(used_by_many(bad, 0, ahead), 0);
        assert_int_equal(used_by_many(bad, 4, ahead), 3); /* two of them in one piece */
    }
    const struct slv_pack_id id = an_id();
    assert_int_equal(read_file(&id), SLV_E_FORMAT); /* the file is as it was */
}

/* --- models ----------------------------------------------------------------------------------- */

static char notes[1000];
static bool keep_going = true;

static void on_note(void *ctx, const char *line) {
    (void)ctx;
    size_t n = strlen(notes);
    snprintf(notes + n, sizeof notes - n, "%s\n", line);
}

static bool on_keeping(void *ctx, uint64_t done, uint64_t all) {
    (void)ctx;
    return keep_going && done <= all;
}

#define N_IDS 12

/* Opens the model with that folder, or none, and takes the logits of some tokens. */
static int answer(const char *model, const char *folder, bool *ret_cached, float *ret) {
    struct slv_model *m = NULL;
    struct slv_session *s = NULL;
    struct slv_model_info info;
    struct slv_model_opts o = {
        .threads = 2, .packed = folder, .note = on_note, .keeping = on_keeping};
    struct slv_session_opts so = {.n_ctx = 32, .threads = 1};
    int32_t ids[N_IDS];
    notes[0] = '\0';
    int rc = slv_model_open(model, &o, &m, &err);
    if (rc) return rc;
    slv_model_info(m, &info);
    *ret_cached = info.cached;
    assert_true(info.n_vocab <= 512);
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)((i * 7919u + 3) % info.n_vocab);
    rc = slv_session_open(m, &so, &s, &err);
    if (!rc) rc = slv_session_feed(s, ids, N_IDS, &err);
    if (!rc) memcpy(ret, slv_session_logits(s), info.n_vocab * sizeof *ret);
    slv_session_close(s);
    slv_model_close(m);
    return rc;
}

/* The same logits as without a folder, from a file or not as expected, with a note that says so. */
static void expect(const char *model, const char *folder, bool cached, const char *word) {
    static float want[512], got[512];
    bool was = true;
    memset(want, 0, sizeof want);
    memset(got, 0, sizeof got);
    assert_int_equal(answer(model, NULL, &was, want), 0);
    assert_false(was);
    if (answer(model, folder, &was, got)) fail_msg("%s", err.msg);
    if (was != cached) fail_msg("cached: %d; %s", was, notes);
    assert_memory_equal(want, got, sizeof want);
    bool right =
        word ? strstr(notes, word) && strchr(notes, '\n') == notes + strlen(notes) - 1 : !notes[0];
    if (!right) fail_msg("said: %s", notes);
}

static void copy_model(const char *to) {
    struct slv_buf b;
    slv_buf_init(&b, (size_t)1 << 24);
    assert_int_equal(slv_file_read(MODEL, &b, NULL), 0);
    assert_int_equal(slv_file_write(to, b.data, b.len, 0644, NULL), 0);
    slv_buf_fini(&b);
}

/* The one packed file in the folder. */
static const char *packed_file(const char *model, const char *folder) {
    static struct slv_buf b;
    struct slv_model_opts o = {.inspect = true};
    struct slv_model *m;
    slv_buf_init(&b, 8192);
    assert_int_equal(slv_model_open(model, &o, &m, NULL), 0);
    const struct slv_repack_model rm = slv_model_repack(m);
    assert_int_equal(slv_repack_path(&rm, folder, &b), 0);
    slv_model_close(m);
    static char out[200];
    snprintf(out, sizeof out, "%s", b.data);
    slv_buf_fini(&b);
    return out;
}

static void a_second_start_takes_the_file_and_gives_the_same_bits(void **state) {
    char folder[100], model[100];
    (void)state;
    snprintf(folder, sizeof folder, "%s/a/b/packed", dir);
    snprintf(model, sizeof model, "%s/copy.gguf", dir);
    expect(MODEL, folder, false, NULL);
    expect(MODEL, folder, true, NULL);
    copy_model(model); /* another file of the same content */
    expect(model, folder, true, NULL);
    expect(MODEL, folder, true, NULL);
    struct stat st;
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void a_bad_file_is_told_of_and_made_anew(void **state) {
    char folder[100];
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    expect(MODEL, folder, false, NULL);
    const char *file = packed_file(MODEL, folder);
    const size_t at[] = {
        0, 8, 50, META_AT, META_AT + 200, TILES_AT - 1, TILES_AT, file_size(file) - 1};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        flip(file, at[i], 0x10);
        /* tiles are packed again where they are bad, other damage costs the file at once */
        expect(MODEL, folder, at[i] >= TILES_AT,
               i == 1 ? "is of another version: packed again" : "is damaged");
        expect(MODEL, folder, true, NULL);
    }
    assert_int_equal(truncate(file, (off_t)file_size(file) - 1), 0);
    expect(MODEL, folder, false, "cut short");
    expect(MODEL, folder, true, NULL);
    chmod(file, 0666);
    expect(MODEL, folder, false, "others may write to it: packed again");
    expect(MODEL, folder, true, NULL);
}

/* Its words are read while a thread checks the tiles that others have left for these weights. */
static void a_model_whose_words_are_bad_leaves_the_file(void **state) {
    static const char key[] = "tokenizer.ggml.model";
    char folder[100], model[100];
    static float none[512];
    struct slv_buf b;
    bool cached;
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    snprintf(model, sizeof model, "%s/bad-words.gguf", dir);
    expect(MODEL, folder, false, NULL);
    slv_buf_init(&b, (size_t)1 << 24);
    assert_int_equal(slv_file_read(MODEL, &b, NULL), 0);
    char *at = memmem(b.data, b.len, key, sizeof key - 1);
    assert_non_null(at);
    *at = 'T';
    assert_int_equal(slv_file_write(model, b.data, b.len, 0644, NULL), 0);
    slv_buf_fini(&b);
    assert_int_not_equal(answer(model, folder, &cached, none), 0);
    assert_non_null(strstr(err.msg, key));
    expect(MODEL, folder, true, NULL);
}

static void a_step_without_memory_to_mend_fails_and_the_next_does_not(void **state) {
    char folder[100];
    const struct slv_model_opts o = {.threads = 1, .packed = folder, .note = on_note};
    const struct slv_session_opts so = {.n_ctx = 32, .threads = 1};
    const int32_t id = 3;
    struct slv_model *m;
    struct slv_session *s;
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    expect(MODEL, folder, false, NULL);
    flip(packed_file(MODEL, folder), TILES_AT, 1);
    notes[0] = '\0';
    assert_int_equal(slv_model_open(MODEL, &o, &m, &err), 0);
    assert_int_equal(slv_session_open(m, &so, &s, &err), 0);
    limit_data(true);
    int rc = slv_session_feed(s, &id, 1, &err);
    limit_data(false);
    assert_int_equal(rc, SLV_E_NOMEM);
    assert_int_equal(slv_session_feed(s, &id, 1, &err), 0);
    slv_session_close(s);
    slv_model_close(m);
    assert_non_null(strstr(notes, "is damaged (tiles): packed again"));
    expect(MODEL, folder, true, NULL);
}

static void a_model_that_was_changed_in_place_is_not_mistaken(void **state) {
    char folder[100], model[100];
    struct stat st;
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    snprintf(model, sizeof model, "%s/copy.gguf", dir);
    copy_model(model);
    expect(model, folder, false, NULL);
    const char *file = packed_file(model, folder);
    assert_int_equal(stat(model, &st), 0);
    /* A bit of a matrix, of which the key sees nothing; size and times as before. */
    struct slv_model_opts look = {.inspect = true};
    struct slv_model *m;
    assert_int_equal(slv_model_open(model, &look, &m, NULL), 0);
    size_t at = (size_t)m->w.layers[0].down.from->offset + 8;
    slv_model_close(m);
    flip(model, at, 1);
    struct timespec t[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, model, t, 0), 0);
    assert_string_equal(packed_file(model, folder), file);
    expect(model, folder, false, "is of another model: packed again");
    expect(model, folder, true, NULL);
}

static void a_file_of_another_model_of_the_same_shape_is_not_taken(void **state) {
    char folder[100], model[100], file[200];
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    snprintf(model, sizeof model, "%s/copy.gguf", dir);
    copy_model(model);
    struct slv_model_opts look = {.inspect = true};
    struct slv_model *m;
    assert_int_equal(slv_model_open(model, &look, &m, NULL), 0);
    const struct slv_gguf_tensor *t = m->w.layers[0].q.from;
    size_t at = (size_t)t->offset + (size_t)t->bytes / 2;
    slv_model_close(m);
    flip(model, at, 1);
    expect(MODEL, folder, false, NULL);
    expect(model, folder, false, NULL);
    snprintf(file, sizeof file, "%s", packed_file(model, folder));
    assert_string_not_equal(file, packed_file(MODEL, folder));
    assert_int_equal(rename(file, packed_file(MODEL, folder)), 0);
    expect(MODEL, folder, false, "is of another model: packed again");
}

static void a_folder_that_cannot_be_used_costs_one_line(void **state) {
    char folder[100];
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    assert_int_equal(slv_file_write(folder, "x", 1, 0600, NULL), 0);
    expect(MODEL, folder, false, "is not a folder: packed weights are not kept");
    unlink(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    chmod(folder, 0777);
    expect(MODEL, folder, false, "others may write to it: packed weights are not kept");
    chmod(folder, 0700);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &small);
    expect(MODEL, folder, false, "File too large: the packed weights are not kept");
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rmdir(folder), 0);
}

static void every_allocation_may_fail(void **state) {
    char folder[100];
    static float want[512], got[512];
    bool cached;
    (void)state;
    snprintf(folder, sizeof folder, "%s/packed", dir);
    assert_int_equal(answer(MODEL, NULL, &cached, want), 0);
    for (int first = 1; first >= 0; first--)
        for (uint64_t n = 1;; n++) {
            char command[120];
            snprintf(command, sizeof command, "rm -rf '%s'", folder);
            if (first) assert_int_equal(system(command), 0);
            uint64_t before = slv_mem_count();
            slv_mem_fail_at(n);
            int rc = answer(MODEL, folder, &cached, got);
            slv_mem_fail_at(0);
            if (slv_mem_count() - before < n) break;
            if (rc && rc != SLV_E_NOMEM && rc != SLV_E_LIMIT) fail_msg("%d: %d", (int)n, rc);
            if (!rc) assert_memory_equal(want, got, sizeof want);
        }
    expect(MODEL, folder, true, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_single_bit_changes_the_sum),
        cmocka_unit_test(zeros_of_any_length_differ_and_the_sum_is_that_of_every_machine),
        TEST(what_is_written_is_read),
        TEST(a_flipped_bit_anywhere_is_seen),
        TEST(every_wrong_length_is_seen),
        TEST(zeroed_and_swapped_pieces_are_seen),
        TEST(another_version_layout_or_model_is_not_taken),
        TEST(files_that_others_may_write_are_not_trusted),
        TEST(a_stamp_is_changed_in_place),
        TEST(a_bad_piece_is_mended_once_whoever_needs_it),
        TEST(who_goes_ahead_checks_all_and_mends_nothing),
        TEST(without_memory_a_bad_piece_stays_unused_until_there_is_some),
        TEST(a_model_whose_words_are_bad_leaves_the_file),
        TEST(a_step_without_memory_to_mend_fails_and_the_next_does_not),
        TEST(only_one_writes_and_leftovers_are_begun_anew),
        TEST(a_full_disk_leaves_nothing),
        TEST(every_allocation_may_fail_here),
        TEST(the_least_recently_used_make_room),
        TEST(a_second_start_takes_the_file_and_gives_the_same_bits),
        TEST(a_bad_file_is_told_of_and_made_anew),
        TEST(a_model_that_was_changed_in_place_is_not_mistaken),
        TEST(a_file_of_another_model_of_the_same_shape_is_not_taken),
        TEST(a_folder_that_cannot_be_used_costs_one_line),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
