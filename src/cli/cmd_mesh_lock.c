/* cmd_mesh_lock.c: selvage mesh lock: a lock of a strong space, and a command that runs while it is
 * held.
 *
 * The lock has a lease. It is renewed three times in its time; when the group refuses, or has not
 * answered for the whole of it, the lock is taken for lost and the command is ended: it may be
 * somebody else's by then. What the lock guards should refuse tokens below the highest it has
 * seen, since a command that is stopped (by a debugger, a laptop's lid) does not hear of it. */
#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/mesh.h"
#include "cli/mesh_lock.h"
#include "cli/out.h"
#include "cli/sig.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 256u
#define AGAIN_MS 200 /* until a lock that is held is asked for again */
#define END_MS 5000  /* from asking the command to end until it is made to */

struct opts {
    const char *socket, *holder;
    double ttl, wait;
};

struct lock {
    struct slv_mesh_lock at;
    double wait; /* seconds */
    pid_t child;
    int fd; /* of the child: readable when it has ended */
};

static uint64_t now_ns(void) { return slv_clock_mono(&slv_clock_system); }

/* --- getting it ------------------------------------------------------------------------------- */

static int acquire(struct lock *l, struct slv_err *err) {
    const uint64_t until = now_ns() + (uint64_t)(l->wait * 1e9);
    int rc = SLV_E_BUSY;
    while (rc == SLV_E_BUSY) {
        rc = slv_mesh_lock_take(&l->at, err);
        if (rc != SLV_E_BUSY || now_ns() >= until) break;
        poll(NULL, 0, AGAIN_MS);
        if (slv_sig_seen()) rc = slv_err_set(err, SLV_E_CANCELLED, "mesh lock: interrupted");
    }
    return rc;
}

/* --- the command ------------------------------------------------------------------------------ */

static void become(const char *const *args, size_t n, const char *token) {
    const char *argv[ARGS_MAX + 1];
    union {
        const char *const *in;
        char *const *out;
    } u = {argv};
    memcpy(argv, args, n * sizeof *args);
    argv[n] = NULL;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    if (!setenv("SELVAGE_TOKEN", token, 1)) execvp(argv[0], u.out);
    fprintf(stderr, "selvage: %s: %s\n", argv[0], strerror(errno));
}

static int start(struct lock *l, const char *const *args, size_t n, struct slv_err *err) {
    char token[32];
    snprintf(token, sizeof token, "%" PRId64, l->at.token);
    l->child = fork();
    if (l->child < 0) return slv_err_set(err, SLV_E_IO, "mesh lock: fork: %s", strerror(errno));
    if (!l->child) {
        become(args, n, token);
        _exit(127);
    }
    l->fd = (int)syscall(SYS_pidfd_open, l->child, 0);
    return l->fd < 0 ? slv_err_set(err, SLV_E_IO, "mesh lock: pidfd: %s", strerror(errno)) : 0;
}

/* Whether it ended within ms. */
static bool ended(const struct lock *l, int ms) {
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1;
}

static void end(const struct lock *l) {
    kill(l->child, SIGTERM);
    if (!ended(l, END_MS)) kill(l->child, SIGKILL);
}

/* Until the command has ended. SLV_E_BUSY: the lock was lost. */
static int hold(struct lock *l, struct slv_err *err) {
    const int third = (int)(l->at.ttl * 1e3 / 3);
    bool told = false;
    int rc = 0;
    while (!rc && !ended(l, third > 0 ? third : 1)) {
        if (slv_sig_seen() && !told) told = !kill(l->child, SIGTERM);
        rc = slv_mesh_lock_keep(&l->at, err);
        if (rc && rc != SLV_E_BUSY && slv_mesh_lock_is_held(&l->at, 0)) rc = 0; /* there is time */
    }
    if (!rc) return 0;
    end(l);
    return slv_err_set(err, SLV_E_BUSY, "mesh lock: the lock was lost: the command was ended");
}

static int reap(const struct lock *l) {
    int status = 0;
    while (waitpid(l->child, &status, 0) < 0 && errno == EINTR)
        continue;
    close(l->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_held(struct lock *l, const char *const *args, size_t n, struct slv_err *err) {
    struct slv_err ignored = {0};
    int rc = start(l, args, n, err);
    if (rc) return rc;
    rc = hold(l, err);
    const int status = reap(l);
    if (!rc && slv_mesh_lock_release(&l->at, &ignored))
        slv_err_set(err, SLV_E_BUSY, "mesh lock: %s", ignored.msg); /* it ends by its lease */
    return rc ? rc : status;
}

static int run(const struct slv_cli *cli, const void *opts, struct slv_err *err) {
    const struct opts *o = opts;
    const char *space = cli->args[0], *key = cli->args[1];
    struct lock l = {.at = {.socket = o->socket,
                            .space = {space, strlen(space)},
                            .key = {key, strlen(key)},
                            .holder = o->holder,
                            .ttl = o->ttl},
                     .wait = o->wait};
    int rc = slv_cli_mesh_key("KEY", key, err);
    if (!rc) rc = slv_cli_mesh_utf8("--holder", o->holder, err);
    if (rc) return rc;
    slv_sig_watch();
    rc = acquire(&l, err);
    if (!rc && cli->nargs > 2) {
        rc = run_held(&l, cli->args + 2, cli->nargs - 2, err);
    } else if (!rc) {
        slv_out_printf(cli->json ? "{\"token\":%" PRId64 "}\n" : "%" PRId64 "\n", l.at.token);
    }
    slv_sig_unwatch();
    return rc;
}

static const struct slv_opt rows[] = {
    {"socket", 0, SLV_OPT_STR_AT(struct opts, socket), .arg = "PATH",
     .help = "the node's; default: where `mesh up` puts it"},
    {"ttl", 0, SLV_OPT_REAL_AT(struct opts, ttl), .arg = "SECONDS", .def = "10", .rmin = 0.1,
     .rmax = 2e6, .help = "how long the lock outlives who holds it"},
    {"wait", 0, SLV_OPT_REAL_AT(struct opts, wait), .arg = "SECONDS", .def = "0", .rmin = 0,
     .rmax = 1e7, .help = "how long to wait for it"},
    {"holder", 0, SLV_OPT_STR_AT(struct opts, holder), .arg = "TEXT",
     .help = "what others read as the key's value"},
};

const struct slv_cmd slv_cmd_mesh_lock = {
    .name = "mesh lock",
    .help = "hold a lock of a strong space, while a command runs",
    .args = "SPACE KEY [-- COMMAND...]",
    .more = "Prints the lock's token, which grows with each holder. With a command: runs it with "
            "the token as SELVAGE_TOKEN, keeps the lock, lets it go afterwards, and ends with the "
            "command's status; a command whose lock is lost is ended.\n"
            "Without one the lock is held for --ttl seconds: `mesh put SPACE KEY --op unlock "
            "--token N` lets it go.",
    .min_args = 2,
    .max_args = ARGS_MAX,
    SLV_CMD_OPTS(rows, struct opts),
    .fn = run,
};
