/* checker.c: see checker.h. Messages keep their borders (SOCK_SEQPACKET): a path one way, a struct
 * slv_err the other. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "cli/checker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sanitize.h"
#include "trust/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_MAX_ 8192

struct slv_checker {
    pthread_mutex_t lock;
    pid_t pid;
    int fd;
};

static void limit(int what, uint64_t n) {
    const struct rlimit r = {n, n};
    setrlimit((__rlimit_resource_t)what, &r);
}

/* The reader: never returns. */
static void read_file(int fd, const char *path,
                      int (*check)(void *ctx, const char *path, struct slv_err *err), void *ctx) {
    struct slv_err err = {0}, boxed = {0};
    limit(RLIMIT_CPU, SLV_CHECKER_SECONDS);
    if (!SLV_SANITIZED) limit(RLIMIT_DATA, SLV_CHECKER_BYTES); /* the shadow alone is terabytes */
    limit(RLIMIT_CORE, 0);
    int rc = slv_sandbox_calls(&boxed);
    if (!rc || rc == SLV_E_UNSUPPORTED) err.code = check(ctx, path, &err);
    else err = boxed;
    _exit(send(fd, &err, sizeof err, MSG_NOSIGNAL) == sizeof err ? 0 : 1);
}

/* Whether the reader said something; if not, what is to be said of it. */
static void tell_failure(int fd, int status) {
    struct slv_err err = {0};
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
        slv_err_set(&err, SLV_E_LIMIT, "it takes too long to read");
    else slv_err_set(&err, SLV_E_FORMAT, "it makes its reader fail");
    if (send(fd, &err, sizeof err, MSG_NOSIGNAL) < 0) _exit(1);
}

/* The checker: never returns. */
static void serve_checks(int fd, int (*check)(void *ctx, const char *path, struct slv_err *err),
                         void *ctx) {
    char path[PATH_MAX_ + 1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    for (;;) {
        ssize_t n = recv(fd, path, PATH_MAX_, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(0); /* the server has ended */
        path[n] = '\0';
        int status = 1;
        pid_t p = fork();
        if (!p) read_file(fd, path, check, ctx);
        while (p > 0 && waitpid(p, &status, 0) < 0 && errno == EINTR) {
        }
        tell_failure(fd, p > 0 ? status : 1 << 8);
    }
}

/* What else the server has open is nothing to who reads files of others. */
static void close_others(int fd) {
    if (fd > 3) close_range(3, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, UINT_MAX, 0);
}

int slv_checker_open(int (*check)(void *ctx, const char *path, struct slv_err *err), void *ctx,
                     struct slv_checker **ret, struct slv_err *err) {
    struct slv_checker *k = slv_mem_calloc(1, sizeof *k);
    int fd[2];
    if (!k) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd)) {
        slv_mem_free(k);
        return slv_err_set(err, SLV_E_IO, "checker: %s", strerror(errno));
    }
    k->pid = fork();
    if (!k->pid) {
        close_others(fd[1]);
        serve_checks(fd[1], check, ctx);
    }
    close(fd[1]);
    k->fd = fd[0];
    if (SLV_SANITIZED)
        slv_log(SLV_LOG_WARN,
                "built with a sanitizer: what reads a file first has no limit of memory, "
                "and leaks are searched for at the end");
    pthread_mutex_init(&k->lock, NULL);
    if (k->pid < 0) {
        int e = errno;
        slv_checker_close(k);
        return slv_err_set(err, SLV_E_IO, "checker: %s", strerror(e));
    }
    *ret = k;
    return 0;
}

void slv_checker_close(struct slv_checker *k) {
    if (!k) return;
    close(k->fd); /* which ends it */
    while (k->pid > 0 && waitpid(k->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    pthread_mutex_destroy(&k->lock);
    slv_mem_free(k);
}

int slv_checker_ask(struct slv_checker *k, const char *path, struct slv_err *err) {
    struct slv_err said = {0};
    ssize_t got = -1;
    if (strlen(path) > PATH_MAX_) return slv_err_set(err, SLV_E_USAGE, "the path is too long");
    pthread_mutex_lock(&k->lock);
    if (send(k->fd, path, strlen(path), MSG_NOSIGNAL) > 0) do
            got = recv(k->fd, &said, sizeof said, 0);
        while (got < 0 && errno == EINTR);
    pthread_mutex_unlock(&k->lock);
    if (got != sizeof said) return slv_err_set(err, SLV_E_IO, "the checker has ended");
    said.msg[sizeof said.msg - 1] = '\0';
    return said.code ? slv_err_set(err, said.code, "%s", said.msg) : 0;
}
