/* packfolder.c: see packfolder.h. */
#define _GNU_SOURCE
#include "engine/packfolder.h"
#include "base/mem.h"
#include "engine/packfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_BYTES 8192
#define FILES_MAX 100000
#define KEY_DIGITS 16

int slv_packfolder_path(const char *folder, uint64_t key, struct slv_buf *path) {
    return slv_buf_addf(path, "%s/%016" PRIx64 SLV_PACK_SUFFIX, folder, key);
}

static int os_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", path,
                       strerror(errno));
}

int slv_packfolder_judge(const char *folder, struct slv_err *err) {
    struct stat st;
    if (stat(folder, &st)) return os_error(folder, err);
    const char *why = NULL;
    if (!S_ISDIR(st.st_mode)) why = "is not a folder";
    else if (st.st_uid != geteuid()) why = "belongs to another user";
    else if (st.st_mode & (S_IWGRP | S_IWOTH)) why = "others may write to it";
    return why ? slv_err_set(err, SLV_E_TRUST, "%s: %s", folder, why) : 0;
}

int slv_packfolder_make(const char *folder, struct slv_err *err) {
    char *path = slv_mem_strndup(folder, strlen(folder));
    if (!path) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    int rc = 0;
    for (char *p = path + 1; !rc; p++) {
        if (*p != '/' && *p) continue;
        char c = *p;
        *p = '\0';
        if (mkdir(path, c ? 0755 : 0700) && errno != EEXIST) rc = os_error(path, err);
        *p = c;
        if (!c) break;
    }
    slv_mem_free(path);
    return rc ? rc : slv_packfolder_judge(folder, err);
}

/* --- what is in it ---------------------------------------------------------------------------- */

struct entry {
    char path[PATH_BYTES / 2];
    bool left; /* half written */
    uint64_t bytes;
    int64_t used; /* ns since 1970 */
};

/* KEY.tiles or KEY.tiles.tmp */
static bool is_packed(const char *name, bool *ret_left) {
    size_t digits = strspn(name, "0123456789abcdef");
    if (digits != KEY_DIGITS) return false;
    *ret_left = !strcmp(name + digits, SLV_PACK_SUFFIX SLV_PACK_TMP);
    return *ret_left || !strcmp(name + digits, SLV_PACK_SUFFIX);
}

static bool fill_entry(const char *folder, const char *name, struct entry *e) {
    struct stat st;
    if (!is_packed(name, &e->left)) return false;
    int n = snprintf(e->path, sizeof e->path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof e->path || lstat(e->path, &st) || !S_ISREG(st.st_mode))
        return false;
    e->bytes = (uint64_t)st.st_blocks * 512;
    e->used = (int64_t)st.st_mtim.tv_sec * 1000000000 + (int64_t)st.st_mtim.tv_nsec;
    return true;
}

/* Calls fn for each packed file. No folder: none. */
static int each_entry(const char *folder, int (*fn)(void *arg, const struct entry *e), void *arg,
                      struct slv_err *err) {
    struct entry e;
    struct dirent *d;
    int rc = 0;
    DIR *dir = opendir(folder);
    if (!dir) return errno == ENOENT ? 0 : os_error(folder, err);
    while (!rc && (d = readdir(dir)))
        if (fill_entry(folder, d->d_name, &e)) rc = fn(arg, &e);
    closedir(dir);
    return rc ? slv_err_set(err, rc, "%s: %s", folder, slv_strerror(rc)) : 0;
}

/* Removes a half-written file that no process is writing; the one that would begin it anew is told
 * by the inode that the name has gone. */
static bool drop_left(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return false;
    struct stat st, named;
    bool gone = !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && !lstat(path, &named) &&
                st.st_ino == named.st_ino && st.st_dev == named.st_dev && !unlink(path);
    close(fd);
    return gone;
}

static bool drop(const struct entry *e) { return e->left ? drop_left(e->path) : !unlink(e->path); }

static void count(struct slv_packfolder_sum *s, const struct entry *e) {
    *(e->left ? &s->n_left : &s->n) += 1;
    *(e->left ? &s->left_bytes : &s->bytes) += e->bytes;
}

/* Whether some process has the half-written file locked. */
static bool is_being_written(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    bool busy = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    if (fd >= 0) close(fd);
    return busy;
}

static int add_entry(void *arg, const struct entry *e) {
    if (!e->left || !is_being_written(e->path)) count(arg, e);
    return 0;
}

static int clear_entry(void *arg, const struct entry *e) {
    if (drop(e)) count(arg, e);
    return 0;
}

int slv_packfolder_sum(const char *folder, struct slv_packfolder_sum *ret, struct slv_err *err) {
    struct slv_packfolder_sum sum = {0};
    int rc = each_entry(folder, add_entry, &sum, err);
    if (!rc) *ret = sum;
    return rc;
}

int slv_packfolder_clear(const char *folder, struct slv_packfolder_sum *ret, struct slv_err *err) {
    struct slv_packfolder_sum sum = {0};
    int rc = each_entry(folder, clear_entry, &sum, err);
    if (!rc) *ret = sum;
    return rc;
}

/* --- the bound -------------------------------------------------------------------------------- */

/* One file that may be dropped. */
struct used {
    char *path;
    uint64_t bytes;
    int64_t used;
};

struct listing {
    const char *keep;
    struct used *v;
    size_t n, cap;
    uint64_t bytes;
};

static int list_entry(void *arg, const struct entry *e) {
    struct listing *l = arg;
    if (e->left) {
        drop_left(e->path);
        return 0;
    }
    if (!strcmp(e->path, l->keep)) return 0;
    int rc = slv_mem_grow((void **)&l->v, l->n, &l->cap, sizeof *l->v, FILES_MAX);
    if (rc) return rc;
    char *path = slv_mem_strndup(e->path, strlen(e->path));
    if (!path) return SLV_E_NOMEM;
    l->v[l->n++] = (struct used){path, e->bytes, e->used};
    l->bytes += e->bytes;
    return 0;
}

static int by_use(const void *a, const void *b) {
    const struct used *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

/* The folder's bound: of the disk's free space that part counts which its files take already. */
static uint64_t default_max(const char *folder, uint64_t own) {
    struct statvfs fs;
    uint64_t max = SLV_PACKFOLDER_MAX;
    if (statvfs(folder, &fs)) return max;
    uint64_t third = ((uint64_t)fs.f_bavail * fs.f_frsize + own) / 3;
    return third < max ? third : max;
}

int slv_packfolder_make_room(const char *folder, const char *keep, uint64_t need, uint64_t max,
                             struct slv_err *err) {
    struct listing l = {.keep = keep};
    int rc = each_entry(folder, list_entry, &l, err);
    if (l.n) qsort(l.v, l.n, sizeof *l.v, by_use);
    if (!max) max = default_max(folder, l.bytes);
    if (!rc && need > max)
        rc = slv_err_set(err, SLV_E_FIT,
                         "%s: %" PRIu64 " bytes are more than it may hold (%" PRIu64 ")", folder,
                         need, max);
    for (size_t i = 0; i < l.n; i++) {
        bool over = !rc && (l.bytes > max || need > max - l.bytes);
        if (over && !unlink(l.v[i].path)) l.bytes -= l.v[i].bytes;
        slv_mem_free(l.v[i].path);
    }
    slv_mem_free(l.v);
    return rc;
}
