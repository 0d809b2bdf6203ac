/* porter.c: see porter.h. Messages keep their borders (SOCK_SEQPACKET): a byte one way; the other
 * way an errno, 0 with a descriptor. */
#define _GNU_SOURCE /* SOCK_CLOEXEC, close_range */
#include "serve/porter.h"
#include "base/mem.h"
#include "trust/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct slv_porter {
    pid_t pid;
    int fd;
};

/* Room for one descriptor beside a message. */
union rights {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

/* --- the porter ------------------------------------------------------------------------------- */

/* A descriptor, or -errno. It does not block: where too many wait to be let in, that is said. */
static int connect_to(const struct sockaddr_un *to) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (!connect(fd, (const struct sockaddr *)(const void *)to, sizeof *to)) return fd;
    const int e = errno;
    close(fd);
    return -e;
}

static bool hand_over(int fd, int got) {
    int e = got < 0 ? -got : 0;
    struct iovec v = {&e, sizeof e};
    union rights r = {{0}};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (!e) {
        m.msg_control = r.bytes;
        m.msg_controllen = sizeof r.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof got);
        memcpy(CMSG_DATA(c), &got, sizeof got);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == sizeof e;
}

static bool confine(void) {
    struct slv_err err = {0};
    int rc = slv_sandbox_files(NULL, 0, &err);
    if (!rc || rc == SLV_E_UNSUPPORTED) rc = slv_sandbox_calls_but_unix(&err);
    return !rc || rc == SLV_E_UNSUPPORTED; /* the server says what the kernel cannot do */
}

/* Never returns. What a message says is not looked at. */
static void carry(int fd, const struct sockaddr_un *to) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (fd > 3) close_range(3, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, UINT_MAX, 0);
    if (!confine()) _exit(1);
    for (;;) {
        char byte;
        const ssize_t n = recv(fd, &byte, 1, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(0); /* the server has ended */
        const int got = connect_to(to);
        const bool ok = hand_over(fd, got);
        if (got >= 0) close(got);
        if (!ok) _exit(1);
    }
}

/* --- the server's side ------------------------------------------------------------------------ */

int slv_porter_open(const char *path, struct slv_porter **ret, struct slv_err *err) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd[2];
    if (!*path || strlen(path) >= sizeof to.sun_path)
        return slv_err_set(err, SLV_E_USAGE, "%s: a unix socket's path has 1 to %zu bytes", path,
                           sizeof to.sun_path - 1);
    memcpy(to.sun_path, path, strlen(path) + 1);
    struct slv_porter *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd)) {
        slv_mem_free(p);
        return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    }
    p->pid = fork();
    const int e = errno;
    if (!p->pid) carry(fd[1], &to);
    close(fd[1]);
    p->fd = fd[0];
    if (p->pid < 0) {
        slv_porter_close(p);
        return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(e));
    }
    *ret = p;
    return 0;
}

void slv_porter_close(struct slv_porter *p) {
    if (!p) return;
    close(p->fd); /* which ends it */
    while (p->pid > 0 && waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    slv_mem_free(p);
}

int slv_porter_fd(const struct slv_porter *p) { return p->fd; }

int slv_porter_ask(struct slv_porter *p, struct slv_err *err) {
    ssize_t n;
    do
        n = send(p->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 1) return 0;
    if (errno == EAGAIN || errno == ENOBUFS)
        return slv_err_set(err, SLV_E_BUSY, "too many wait to be connected");
    return slv_err_set(err, SLV_E_IO, "who connects for the server has ended");
}

/* The descriptor that came with a message, or -1. */
static int descriptor_of(struct msghdr *m) {
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof fd))
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

int slv_porter_take(struct slv_porter *p, int *ret, struct slv_err *err) {
    int e = 0;
    struct iovec v = {&e, sizeof e};
    union rights r = {{0}};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = r.bytes, .msg_controllen = sizeof r.bytes};
    ssize_t n;
    do
        n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) return slv_err_set(err, SLV_E_BUSY, "nothing has come yet");
    if (n != sizeof e) return slv_err_set(err, SLV_E_IO, "who connects for the server has ended");
    const int fd = descriptor_of(&m);
    if (fd >= 0) {
        *ret = fd;
        return 0;
    }
    /* (it was sent, and this process has no descriptor left to call it by) */
    return slv_err_set(err, SLV_E_NET, "%s", strerror(e ? e : EMFILE));
}
