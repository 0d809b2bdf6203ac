/* logfile.c: see logfile.h. A line is one write; files move by rename, so that a killed process
 * loses none. */
#include "cli/logfile.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_MAX_ 4096

struct slv_logfile {
    pthread_mutex_t lock;
    char path[PATH_MAX_];
    uint64_t bytes, size;
    unsigned keep;
    int fd;
    bool failed;
};

static bool open_file(struct slv_logfile *f) {
    struct stat st;
    f->fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (f->fd < 0 || fstat(f->fd, &st)) return false;
    f->size = (uint64_t)st.st_size;
    return true;
}

/* FILE.1 becomes FILE.2, and so on; the oldest goes. */
static bool turn(struct slv_logfile *f) {
    char from[PATH_MAX_ + 16], to[PATH_MAX_ + 16];
    close(f->fd);
    for (unsigned i = f->keep; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%u", f->path, i);
        if (i > 1) snprintf(from, sizeof from, "%s.%u", f->path, i - 1);
        else snprintf(from, sizeof from, "%s", f->path);
        if (rename(from, to) && errno != ENOENT) return open_file(f);
    }
    return open_file(f);
}

static void to_stderr(const char *line, size_t n) {
    if (!slv_fd_write(STDERR_FILENO, line, n)) { /* nowhere left to say it */
    }
}

static void sink(const char *line, size_t n, void *ctx) {
    struct slv_logfile *f = ctx;
    pthread_mutex_lock(&f->lock);
    bool ok = f->fd >= 0;
    if (ok && f->size && f->size + n > f->bytes) ok = turn(f);
    if (ok) ok = slv_fd_write(f->fd, line, n);
    if (ok) f->size += n;
    else to_stderr(line, n);
    if (!ok && !f->failed) {
        char why[PATH_MAX_ + 200];
        int k = snprintf(why, sizeof why, "selvage: %s: %s\n", f->path, strerror(errno));
        to_stderr(why, (size_t)k);
    }
    f->failed = !ok;
    pthread_mutex_unlock(&f->lock);
}

int slv_logfile_open(const char *path, uint64_t bytes, unsigned keep, struct slv_logfile **ret,
                     struct slv_err *err) {
    struct slv_logfile *f = slv_mem_calloc(1, sizeof *f);
    if (!f) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    *f = (struct slv_logfile){.bytes = bytes, .keep = keep, .fd = -1};
    if (strlen(path) >= sizeof f->path) {
        slv_mem_free(f);
        return slv_err_set(err, SLV_E_USAGE, "log: the path is too long");
    }
    memcpy(f->path, path, strlen(path) + 1);
    if (!open_file(f)) {
        int rc = slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
        if (f->fd >= 0) close(f->fd);
        slv_mem_free(f);
        return rc;
    }
    pthread_mutex_init(&f->lock, NULL);
    slv_log_sink(sink, f);
    slv_log_stamp(true);
    *ret = f;
    return 0;
}

void slv_logfile_close(struct slv_logfile *f) {
    if (!f) return;
    slv_log_sink(NULL, NULL);
    slv_log_stamp(false);
    if (f->fd >= 0) close(f->fd);
    pthread_mutex_destroy(&f->lock);
    slv_mem_free(f);
}
