/* test_sandbox.c: what a server has given up stays given up: each act is tried by a process of its
 * own that has gone into the sandbox, in its first thread and in one started later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scratch.h"
#include "trust/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_LANDLOCK = 77, ALLOWED = 0 };

static char may_read[200], may_write[200], outside[200];
static int socket_before, unix_before; /* sockets that were opened before */
static struct sockaddr_un there;       /* where somebody listens */
static int listener;

static int set_up(void **state) {
    if (scratch_make(state)) return -1;
    strcpy(may_read, scratch("read"));
    strcpy(may_write, scratch("write"));
    strcpy(outside, scratch("outside"));
    if (mkdir(may_read, 0700) || mkdir(may_write, 0700) || mkdir(outside, 0700)) return -1;
    const char *const folders[] = {may_read, may_write, outside};
    for (size_t i = 0; i < 3; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/f", folders[i]);
        scratch_write(path, "text", 4);
    }
    socket_before = socket(AF_INET, SOCK_STREAM, 0);
    unix_before = socket(AF_UNIX, SOCK_STREAM, 0);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    there.sun_family = AF_UNIX;
    strcpy(there.sun_path, scratch("socket"));
    if (bind(listener, (struct sockaddr *)(void *)&there, sizeof there) || listen(listener, 100))
        return -1;
    return socket_before < 0 || unix_before < 0 ? -1 : 0;
}

static int tear_down(void **state) {
    close(socket_before);
    close(unix_before);
    close(listener);
    return scratch_drop(state);
}

/* --- acts: 0, or errno ------------------------------------------------------------------------ */

static int try_open(const char *folder, const char *name, int flags) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, flags, 0600);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

static int read_outside(void) { return try_open(outside, "f", O_RDONLY); }
static int write_outside(void) { return try_open(outside, "f", O_WRONLY); }
static int make_outside(void) { return try_open(outside, "new", O_WRONLY | O_CREAT); }
static int read_allowed(void) { return try_open(may_read, "f", O_RDONLY); }
static int write_read_only(void) { return try_open(may_read, "f", O_WRONLY); }
static int make_read_only(void) { return try_open(may_read, "new", O_WRONLY | O_CREAT); }
static int make_allowed(void) { return try_open(may_write, "new", O_WRONLY | O_CREAT); }

static int remove_read_only(void) {
    char path[300];
    snprintf(path, sizeof path, "%s/f", may_read);
    return unlink(path) ? errno : 0;
}

static int run_program(void) {
    static char name[] = "/bin/true";
    char *const argv[] = {name, NULL};
    execv(argv[0], argv);
    return errno;
}

static int make_process(void) {
    pid_t p = fork();
    if (!p) _exit(0);
    return p < 0 ? errno : 0;
}

static int open_socket(void) { return socket(AF_INET, SOCK_DGRAM, 0) < 0 ? errno : 0; }

static int connect_out(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(socket_before, (struct sockaddr *)(void *)&to, sizeof to) ? errno : 0;
}

static int connect_to(int fd) {
    return connect(fd, (struct sockaddr *)(void *)&there, sizeof there) ? errno : 0;
}

static int connect_near(void) { return connect_to(unix_before); }

static int open_and_connect_near(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? errno : connect_to(fd);
}

static int look_into_another(void) {
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) ? errno : 0;
}

static int change_root(void) { return chroot("/") ? errno : 0; }

/* --- running them ----------------------------------------------------------------------------- */

static void *in_thread(void *act) {
    int (*fn)(void) = *(int (**)(void))act;
    return (void *)(intptr_t)fn();
}

/* In the sandbox, or in that of who may connect to unix sockets, by the first thread or another
 * one: what the act gave. */
static int inside(int (*act)(void), bool may_unix, bool thread) {
    const struct slv_sandbox_path paths[] = {{may_read, SLV_SANDBOX_READ},
                                             {may_write, SLV_SANDBOX_WRITE},
                                             {"/bin", SLV_SANDBOX_READ},
                                             {"/usr", SLV_SANDBOX_READ},
                                             {"/not/there", SLV_SANDBOX_READ}};
    int status = 0;
    fflush(NULL);
    pid_t p = fork();
    if (!p) {
        struct slv_err err = {0};
        pthread_t t;
        void *r = NULL;
        if (slv_sandbox_files(paths, 5, &err)) _exit(NO_LANDLOCK);
        if (may_unix ? slv_sandbox_calls_but_unix(&err) : slv_sandbox_calls(&err))
            _exit(NO_LANDLOCK + 1);
        if (!thread) _exit(act());
        if (pthread_create(&t, NULL, in_thread, &act)) _exit(200);
        pthread_join(t, &r);
        _exit((int)(intptr_t)r);
    }
    assert_true(p > 0);
    assert_int_equal(waitpid(p, &status, 0), p);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_acts(void **state) {
    static const struct {
        const char *what;
        int (*act)(void);
        int want;
        bool may_unix;
    } rows[] = {{"reads what it may", read_allowed, ALLOWED, false},
                {"makes files where it may", make_allowed, ALLOWED, false},
                {"reads no other file", read_outside, EACCES, false},
                {"writes no other file", write_outside, EACCES, false},
                {"makes no other file", make_outside, EACCES, false},
                {"writes no file that it may read", write_read_only, EACCES, false},
                {"makes none beside it", make_read_only, EACCES, false},
                {"removes none", remove_read_only, EACCES, false},
                {"starts no program", run_program, EPERM, false},
                {"makes no process", make_process, EPERM, false},
                {"opens no socket", open_socket, EPERM, false},
                {"connects none it has", connect_out, EPERM, false},
                {"looks into no other process", look_into_another, EPERM, false},
                {"changes no root", change_root, EPERM, false},
                {"connects to no unix socket", connect_near, EPERM, false},
                {"opens no unix socket", open_and_connect_near, EPERM, false},
                {"a porter connects to unix sockets", open_and_connect_near, ALLOWED, true},
                {"a porter opens no other socket", open_socket, EPERM, true},
                {"a porter reads no other file", read_outside, EACCES, true},
                {"a porter starts no program", run_program, EPERM, true},
                {"a porter makes no process", make_process, EPERM, true},
                {"a porter looks into no other process", look_into_another, EPERM, true}};
    (void)state;
    if (!slv_sandbox_abi()) {
        print_message("no Landlock here: not tried\n");
        return;
    }
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        int got = inside(rows[i / 2].act, rows[i / 2].may_unix, i % 2);
        if (got == NO_LANDLOCK + 1) {
            print_message("no seccomp here: not tried\n");
            return;
        }
        if (got != rows[i / 2].want)
            fail_msg("%s: %s%s", rows[i / 2].what, got ? strerror(got) : "it could",
                     i % 2 ? " (a thread)" : "");
    }
}

/* Without a sandbox all of it works here, but what needs rights: so the rows above mean something.
 * */
static void test_without(void **state) {
    (void)state;
    assert_int_equal(read_outside(), 0);
    assert_int_equal(make_outside(), 0);
    assert_int_equal(write_read_only(), 0);
    assert_int_equal(open_socket(), 0);
    assert_int_equal(open_and_connect_near(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_acts), cmocka_unit_test(test_without)};
    return cmocka_run_group_tests_name("sandbox", tests, set_up, tear_down);
}
