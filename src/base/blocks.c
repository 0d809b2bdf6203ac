/* blocks.c: see blocks.h. */
#include "base/blocks.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int slv_blocks_read(const struct slv_blocks *b, uint64_t at, size_t n, void *p,
                    struct slv_err *err) {
    if (at > b->size || n > b->size - at)
        return slv_err_set(err, SLV_E_LIMIT, "%zu bytes at %llu are past the end at %llu", n,
                           (unsigned long long)at, (unsigned long long)b->size);
    return n ? b->read(b->ctx, at, n, p, err) : 0;
}

void slv_blocks_close(struct slv_blocks *b) {
    if (b->close) b->close(b->ctx);
    *b = (struct slv_blocks){0};
}

/* --- a plain file ----------------------------------------------------------------------------- */

struct plain {
    int fd;
    char *path;
};

static int plain_read(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *err) {
    const struct plain *f = ctx;
    size_t got = 0;
    if (!slv_fd_read_at(f->fd, p, n, at, &got))
        return slv_err_set(err, SLV_E_IO, "%s: %s", f->path, strerror(errno));
    if (got < n) return slv_err_set(err, SLV_E_LIMIT, "%s: has become shorter", f->path);
    return 0;
}

static void plain_close(void *ctx) {
    struct plain *f = ctx;
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    slv_mem_free(f->path);
    slv_mem_free(f);
}

int slv_blocks_open_file(const char *path, struct slv_blocks *ret, struct slv_err *err) {
    struct stat st = {0};
    struct plain *f = slv_mem_calloc(1, sizeof *f);
    if (!f) return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    f->path = slv_mem_strndup(path, strlen(path));
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int rc = 0;
    if (!f->path) rc = slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    else if (f->fd < 0 || fstat(f->fd, &st))
        rc = slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                         "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode)) rc = slv_err_set(err, SLV_E_IO, "%s: is not a file", path);
    if (rc) plain_close(f);
    else *ret = (struct slv_blocks){(uint64_t)st.st_size, plain_read, plain_close, f};
    return rc;
}

/* --- a plain file, written -------------------------------------------------------------------- */

struct writing {
    struct slv_newfile file;
    uint64_t at;
};

static int file_write(void *ctx, const void *p, size_t n, struct slv_err *err) {
    struct writing *w = ctx;
    int rc = slv_newfile_write(&w->file, p, n, w->at, err);
    if (!rc) w->at += n;
    return rc;
}

static int file_commit(void *ctx, struct slv_err *err) {
    struct writing *w = ctx;
    return slv_newfile_commit(&w->file, err);
}

static void file_close(void *ctx) {
    struct writing *w = ctx;
    slv_newfile_close(&w->file);
    slv_mem_free(w);
}

int slv_sink_open_file(const char *path, struct slv_sink *ret, struct slv_err *err) {
    struct writing *w = slv_mem_calloc(1, sizeof *w);
    if (!w) return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    int rc = slv_newfile_open(path, &w->file, err);
    if (rc) slv_mem_free(w);
    else *ret = (struct slv_sink){file_write, file_commit, file_close, w};
    return rc;
}

void slv_sink_close(struct slv_sink *s) {
    if (s->close) s->close(s->ctx);
    *s = (struct slv_sink){0};
}
