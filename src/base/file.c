/* file.c: see file.h. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/mem.h"
#include "base/sum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int fail(struct slv_err *err, const char *path) {
    int code = errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO;
    return slv_err_set(err, code, "%s: %s", path, strerror(errno));
}

/* How coarse a file system's clock may be: those that store parts of a second tick with the system
 * timer, others by two seconds at most. */
#define FINE_TICK_NS 100000000
#define COARSE_TICK_NS 3000000000

static int64_t nanoseconds(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_nsec;
}

static uint64_t stamp_of(const struct stat *st) {
    struct timespec now;
    int64_t changed = nanoseconds(st->st_ctim), modified = nanoseconds(st->st_mtim);
    int64_t last = changed > modified ? changed : modified;
    int64_t tick = last % 1000000 ? FINE_TICK_NS : COARSE_TICK_NS;
    if (clock_gettime(CLOCK_REALTIME, &now) || nanoseconds(now) - last < tick) return 0;
    const uint64_t row[] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                            (uint64_t)changed, (uint64_t)modified};
    uint64_t stamp = slv_sum64(row, sizeof row, 0);
    return stamp ? stamp : 1;
}

static int open_regular(const char *path, int *ret_fd, struct stat *ret, struct slv_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0) return fail(err, path);
    if (fstat(fd, &st)) {
        int rc = fail(err, path);
        close(fd);
        return rc;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return slv_err_set(err, SLV_E_IO, "%s: is %s, not a file", path,
                           S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    }
    *ret_fd = fd;
    *ret = st;
    return 0;
}

int slv_map_open(const char *path, struct slv_map *ret_map, struct slv_err *err) {
    int fd = -1;
    struct stat st = {0};
    int rc = open_regular(path, &fd, &st, err);
    if (rc) return rc;
    size_t size = (size_t)st.st_size;
    void *p = NULL;
    if (size) {
        p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) rc = fail(err, path);
    }
    close(fd);
    if (!rc) *ret_map = (struct slv_map){.data = p, .size = size, .stamp = stamp_of(&st)};
    return rc;
}

void slv_map_close(struct slv_map *map) {
    if (!map || !map->data) return;
    munmap((void *)(uintptr_t)map->data, map->size);
    *map = (struct slv_map){0};
}

static int read_all(int fd, const char *path, struct slv_buf *buf, struct slv_err *err) {
    for (;;) {
        char piece[16384];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(err, path);
        if (n == 0) return 0;
        int rc = slv_buf_add(buf, piece, (size_t)n);
        if (rc == SLV_E_LIMIT)
            return slv_err_set(err, rc, "%s: longer than %zu bytes", path, buf->max);
        if (rc) return slv_err_set(err, rc, "%s: out of memory", path);
    }
}

int slv_file_read(const char *path, struct slv_buf *buf, struct slv_err *err) {
    if (!strcmp(path, "-")) return read_all(STDIN_FILENO, "standard input", buf, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return fail(err, path);
    int rc = read_all(fd, path, buf, err);
    close(fd);
    return rc;
}

bool slv_fd_write(int fd, const void *p, size_t n) {
    const char *from = p;
    while (n) {
        ssize_t w = write(fd, from, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return false;
        from += w;
        n -= (size_t)w;
    }
    return true;
}

bool slv_fd_read_at(int fd, void *p, size_t n, uint64_t at, size_t *ret_n) {
    unsigned char *to = p;
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(fd, to + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return false;
        if (r == 0) break;
        got += (size_t)r;
    }
    *ret_n = got;
    return true;
}

static int make_each(char *path, unsigned mode, struct slv_err *err) {
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p) continue;
        char c = *p;
        *p = '\0';
        bool bad = mkdir(path, (mode_t)mode) && errno != EEXIST;
        int rc = bad ? fail(err, path) : 0;
        *p = c;
        if (rc || !c) return rc;
    }
}

int slv_folder_make(const char *path, unsigned mode, struct slv_err *err) {
    if (!*path) return slv_err_set(err, SLV_E_USAGE, "a folder without a name");
    char *copy = slv_mem_strndup(path, strlen(path));
    int rc = copy ? make_each(copy, mode, err)
                  : slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    slv_mem_free(copy);
    return rc;
}

static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? slv_mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : NULL;
    int fd = open(dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        if (fsync(fd)) { /* some file systems cannot; the rename itself has happened */
        }
        close(fd);
    }
    slv_mem_free(dir);
}

int slv_file_write(const char *path, const void *p, size_t n, unsigned mode, struct slv_err *err) {
    struct slv_buf tmp;
    slv_buf_init(&tmp, 8192);
    if (slv_buf_addf(&tmp, "%s.%ld.tmp", path, (long)getpid())) {
        int why = tmp.status;
        slv_buf_fini(&tmp);
        return slv_err_set(err, why, "%s: %s", path,
                           why == SLV_E_LIMIT ? "the path is too long" : slv_strerror(why));
    }
    int rc = 0;
    int fd = open(tmp.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        rc = fail(err, path);
    } else {
        if (!slv_fd_write(fd, p, n) || fsync(fd)) rc = fail(err, path);
        if (close(fd) && !rc) rc = fail(err, path);
        if (!rc && rename(tmp.data, path)) rc = fail(err, path);
        if (rc) unlink(tmp.data);
        else sync_folder(path);
    }
    slv_buf_fini(&tmp);
    return rc;
}

/* --- piece by piece --------------------------------------------------------------------------- */

static char *joined(const char *path, const char *suffix) {
    struct slv_buf b;
    slv_buf_init(&b, 8192);
    slv_buf_addf(&b, "%s%s", path, suffix);
    char *name = slv_buf_take(&b, NULL);
    slv_buf_fini(&b);
    return name;
}

const char *slv_file_foreign(const struct stat *st) {
    if (!S_ISREG(st->st_mode)) return "is not a file";
    if (st->st_uid != geteuid()) return "belongs to another user";
    if (st->st_mode & (S_IWGRP | S_IWOTH)) return "others may write to it";
    return NULL;
}

/* Opens and locks the temporary file. One that is locked is being written by somebody; one that is
 * not was left by somebody who was killed, and is begun anew. Between opening and locking it may
 * have been renamed or removed: then the lock is on a file that has no longer that name. */
static int lock_tmp(struct slv_newfile *f, struct slv_err *err) {
    for (int tries = 0; tries < 3; tries++) {
        struct stat st, named;
        f->fd =
            open(f->tmp, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
        if (f->fd < 0) return fail(err, f->tmp);
        bool locked = !flock(f->fd, LOCK_EX | LOCK_NB);
        bool same = locked && !fstat(f->fd, &st) && !lstat(f->tmp, &named) &&
                    st.st_dev == named.st_dev && st.st_ino == named.st_ino;
        const char *why = same ? slv_file_foreign(&st) : NULL;
        /* Under another name it is a file that has appeared: only this name of it goes. */
        bool shared = same && !why && st.st_nlink > 1 && !unlink(f->tmp);
        if (same && !why && !shared && !fchmod(f->fd, 0600) && !ftruncate(f->fd, 0)) return 0;
        int rc = 0;
        if (why) rc = slv_err_set(err, SLV_E_TRUST, "%s: %s", f->tmp, why);
        else if ((same && !shared) || (!locked && errno != EWOULDBLOCK)) rc = fail(err, f->tmp);
        close(f->fd);
        f->fd = -1;
        if (rc) return rc;
        if (!locked) break;
    }
    return slv_err_set(err, SLV_E_BUSY, "%s: another process is writing it", f->tmp);
}

int slv_newfile_open(const char *path, struct slv_newfile *ret, struct slv_err *err) {
    struct slv_newfile f = {.fd = -1};
    f.path = slv_mem_strndup(path, strlen(path));
    f.tmp = joined(path, SLV_NEWFILE_SUFFIX);
    int rc = f.path && f.tmp ? lock_tmp(&f, err)
                             : slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    if (rc) slv_newfile_close(&f);
    else *ret = f;
    return rc;
}

int slv_newfile_write(struct slv_newfile *f, const void *p, size_t n, uint64_t at,
                      struct slv_err *err) {
    const unsigned char *from = p;
    while (n) {
        ssize_t put = pwrite(f->fd, from, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail(err, f->path);
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return 0;
}

static int appeared(struct slv_newfile *f) {
    slv_mem_free(f->tmp);
    f->tmp = NULL;
    sync_folder(f->path);
    return 0;
}

int slv_newfile_commit(struct slv_newfile *f, struct slv_err *err) {
    if (fsync(f->fd) || rename(f->tmp, f->path)) return fail(err, f->path);
    return appeared(f);
}

/* Where a file system has no such rename: a link does not replace either. Killed after it, the file
 * has both names: lock_tmp sees to that. */
int slv_newfile_commit_new(struct slv_newfile *f, struct slv_err *err) {
    if (fsync(f->fd)) return fail(err, f->path);
    bool there = !renameat2(AT_FDCWD, f->tmp, AT_FDCWD, f->path, RENAME_NOREPLACE);
    bool none = !there && (errno == EINVAL || errno == ENOSYS);
    if (none && !link(f->tmp, f->path)) there = !unlink(f->tmp);
    if (there) return appeared(f);
    if (errno != EEXIST) return fail(err, f->path);
    return slv_err_set(err, SLV_E_USAGE, "%s: is there already", f->path);
}

void slv_newfile_close(struct slv_newfile *f) {
    if (f->fd >= 0 && f->tmp) unlink(f->tmp);
    if (f->fd >= 0) close(f->fd);
    slv_mem_free(f->path);
    slv_mem_free(f->tmp);
    *f = (struct slv_newfile){.fd = -1};
}
