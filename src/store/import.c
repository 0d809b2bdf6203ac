/* import.c: local files into the store.
 *
 * A file is linked, cloned or copied to partial/import-<pid>-<n>, hashed there, and committed like
 * a download. What is hashed is the copy: a source that changes meanwhile cannot put a blob under a
 * wrong digest. Copies of killed processes are not locked any more and go before the next import.
 */
#define _GNU_SOURCE
#include "store/store_int.h"
#include "store/hub.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

static int io_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", path,
                       strerror(errno));
}

static void drop_dead_imports(struct slv_store *st) {
    char *dir = slv__store_file(st, "partial", "");
    DIR *d = dir ? opendir(dir) : NULL;
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (strncmp(e->d_name, "import-", 7)) continue;
        char *path = slv__store_file(st, "partial", e->d_name);
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
        if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB)) unlink(path);
        if (fd >= 0) close(fd);
        slv_mem_free(path);
    }
    if (d) closedir(d);
    slv_mem_free(dir);
}

static int open_source(const char *path, int *ret_fd, struct slv_err *err) {
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return io_error(path, err);
    int rc = fstat(fd, &s) ? io_error(path, err) : 0;
    if (!rc && !S_ISREG(s.st_mode)) rc = slv_err_set(err, SLV_E_IO, "%s: not a file", path);
    if (!rc) rc = slv__check_magic(fd, path, err);
    if (rc) close(fd);
    else *ret_fd = fd;
    return rc;
}

static int copy_bytes(int from, int to, const struct slv_store_import *in, const char *path,
                      const char *to_path, struct slv_err *err) {
    struct stat s;
    uint64_t at = 0, total = fstat(from, &s) ? 0 : (uint64_t)s.st_size;
    unsigned char *piece = slv_mem_alloc(PIECE);
    int rc = piece ? 0 : slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", path);
    while (!rc) {
        if (slv_ui_cancelled(in->ui)) {
            rc = slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", path);
            break;
        }
        ssize_t n = read(from, piece, PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = io_error(path, err);
        else if (n == 0) break;
        else if (!slv_fd_write(to, piece, (size_t)n)) rc = io_error(to_path, err);
        at += n > 0 ? (uint64_t)n : 0;
        slv_ui_progress(in->ui, "copying", at, total);
    }
    slv_mem_free(piece);
    return rc;
}

/* Makes (or links) the file and locks it. Between the two another process may have taken it for a
 * dead one's and removed it: then once more. */
static int make_locked(const char *source, bool *link_it, struct slv_store_staged *s,
                       struct slv_err *err) {
    for (;;) {
        struct stat mine, there;
        if (*link_it && link(source, s->path)) *link_it = false;
        s->fd = open(s->path, (*link_it ? O_RDONLY : O_RDWR | O_CREAT | O_EXCL) | O_CLOEXEC, 0644);
        if (s->fd < 0 && *link_it && errno == ENOENT) continue;
        if (s->fd < 0) return io_error(s->path, err);
        while (flock(s->fd, LOCK_EX))
            if (errno != EINTR) return io_error(s->path, err);
        if (fstat(s->fd, &mine)) return io_error(s->path, err);
        if (!stat(s->path, &there) && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev)
            return 0;
        close(s->fd);
        s->fd = -1;
    }
}

/* Puts the source's bytes behind a new, locked file in partial/. */
static int bring(struct slv_store *st, const struct slv_store_import *in, const char *path,
                 struct slv_store_staged *ret, struct slv_err *err) {
    char name[64];
    int from = -1, rc = open_source(path, &from, err);
    bool linked = in->link;
    if (rc) return rc;
    snprintf(name, sizeof name, "import-%ld-%" PRIx64, (long)getpid(),
             slv_clock_mono(&slv_clock_system));
    struct slv_store_staged s = {.fd = -1, .path = slv__store_file(st, "partial", name)};
    if (!s.path) rc = slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", path);
    else rc = make_locked(path, &linked, &s, err);
    if (!rc && !linked && ioctl(s.fd, FICLONE, from))
        rc = copy_bytes(from, s.fd, in, path, s.path, err);
    if (!rc && !linked && fsync(s.fd)) rc = io_error(s.path, err);
    close(from);
    s.seal = !linked;
    if (!rc) {
        *ret = s;
        return 0;
    }
    if (s.path && s.fd >= 0) unlink(s.path);
    slv__store_staged_fini(&s);
    return rc;
}

static int stage(struct slv_store *st, const struct slv_store_import *in, const char *path,
                 const char *want, struct slv_store_staged *ret, struct slv_err *err) {
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
    if (!slv__file_name_ok(file))
        return slv_err_set(err, SLV_E_USAGE, "%s: a file name the store does not take", path);
    int rc = bring(st, in, path, ret, err);
    if (rc) return rc;
    ret->f.file = file;
    rc = slv_sha256_fd(ret->fd, "hashing", in->ui, ret->f.sha256, &ret->f.size, err);
    if (!rc && want && strcmp(want, ret->f.sha256))
        rc = slv_err_set(err, SLV_E_TRUST,
                         "%s: its SHA-256 is %s, but the name stands for %s: another file, or a "
                         "damaged one",
                         path, ret->f.sha256, want);
    if (rc) {
        unlink(ret->path);
        slv__store_staged_fini(ret);
    }
    return rc;
}

/* The paths of all parts, part 1 first; one path for a file that is no set. */
static int list_parts(struct slv_arena *arena, const char *path, const char ***ret, size_t *ret_n,
                      struct slv_err *err) {
    size_t prefix = 0;
    unsigned no = 1, n = 1;
    bool split = slv__split_name(path, &prefix, &no, &n);
    if (n > SLV_STORE_FILES_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s: a split set of %u parts; at most %d are stored",
                           path, n, SLV_STORE_FILES_MAX);
    const char **v = slv_arena_calloc(arena, n, sizeof *v);
    for (unsigned i = 0; v && i < n; i++) {
        size_t size = strlen(path) + 1;
        char *p = slv_arena_strndup(arena, path, size - 1);
        if (!p) {
            v = NULL;
            break;
        }
        if (split) snprintf(p + prefix, size - prefix, "-%05u-of-%05u.gguf", i + 1, n);
        v[i] = p;
    }
    if (!v) return slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", path);
    *ret = v;
    *ret_n = n;
    return 0;
}

int slv_store_add_file(struct slv_store *st, const char *name, const struct slv_store_import *in,
                       struct slv_err *err) {
    struct slv_arena arena;
    const char **paths = NULL;
    size_t n = 0, done = 0;
    int rc = slv_store_check_name(name, err);
    if (rc) return rc;
    slv_arena_init(&arena, (size_t)8 << 20);
    rc = slv__store_make(st, err);
    if (!rc) rc = list_parts(&arena, in->path, &paths, &n, err);
    struct slv_store_staged *staged = rc ? NULL : slv_arena_calloc(&arena, n, sizeof *staged);
    if (!rc && !staged) rc = slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", in->path);
    if (!rc && in->want_sha256 && n > 1)
        rc = slv_err_set(err, SLV_E_TRUST, "%s: a split set, but the name stands for one file",
                         in->path);
    if (!rc) drop_dead_imports(st);
    char *real = rc ? NULL : realpath(in->path, NULL);
    while (!rc && done < n) {
        rc = stage(st, in, paths[done], in->want_sha256, &staged[done], err);
        if (!rc) done++;
    }
    if (!rc)
        rc = slv__store_commit(st, name,
                               in->source ? in->source
                               : real     ? real
                                          : in->path,
                               staged, n, err);
    for (size_t i = 0; i < done; i++) {
        if (rc) unlink(staged[i].path);
        slv__store_staged_fini(&staged[i]);
    }
    free(real); /* from realpath */
    slv_arena_fini(&arena);
    return rc;
}
