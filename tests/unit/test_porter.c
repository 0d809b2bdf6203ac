/* test_porter.c: a process connects to the one socket that it was told of, and to no other one,
 * whatever it is asked; and who asks never waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "scratch.h"
#include "serve/porter.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int listen_at(const char *name, int backlog) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    strcpy(un.sun_path, scratch(name));
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static struct slv_porter *open_at(const char *name) {
    struct slv_porter *p = NULL;
    struct slv_err err = {0};
    if (slv_porter_open(scratch(name), &p, &err)) fail_msg("%s", err.msg);
    return p;
}

/* What comes next, waited for. */
static int take(struct slv_porter *p, int *ret, struct slv_err *err) {
    int rc;
    struct pollfd f = {.fd = slv_porter_fd(p), .events = POLLIN};
    while ((rc = slv_porter_take(p, ret, err)) == SLV_E_BUSY)
        assert_int_equal(poll(&f, 1, 10000), 1);
    return rc;
}

static int ask(struct slv_porter *p, int *ret, struct slv_err *err) {
    const int rc = slv_porter_ask(p, err);
    return rc ? rc : take(p, ret, err);
}

static void test_connects(void **state) {
    const int l = listen_at("node", 10), other = listen_at("other", 10);
    struct slv_porter *p = open_at("node");
    struct slv_err err = {0};
    char got[8] = "";
    int fd = -1;
    (void)state;
    assert_int_equal(slv_porter_take(p, &fd, &err), SLV_E_BUSY);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(p, &fd, &err), 0);
        const int s = accept(l, NULL, NULL);
        assert_true(s >= 0);
        assert_int_equal(write(fd, "hello", 5), 5);
        assert_int_equal(read(s, got, sizeof got), 5);
        assert_memory_equal(got, "hello", 5);
        assert_int_equal(read(fd, got, 1), -1); /* does not block */
        assert_int_equal(errno, EAGAIN);
        close(s);
        close(fd);
    }
    /* words of whoever has the server's end are none */
    static const char words[] = "\2\0/some/other/path";
    assert_true(send(slv_porter_fd(p), words, sizeof words, 0) > 0);
    assert_int_equal(take(p, &fd, &err), 0);
    close(fd);
    assert_true(accept(l, NULL, NULL) >= 0);
    assert_int_equal(accept(other, NULL, NULL), -1);
    slv_porter_close(p);
    close(l);
    close(other);
}

static void test_nobody_there(void **state) {
    struct slv_porter *p = open_at("later");
    struct slv_err err = {0};
    int fd = -1;
    (void)state;
    assert_int_equal(ask(p, &fd, &err), SLV_E_NET);
    assert_string_equal(err.msg, strerror(ENOENT));
    int l = listen_at("later", 10);
    assert_int_equal(ask(p, &fd, &err), 0);
    close(fd);
    close(l);
    assert_int_equal(ask(p, &fd, &err), SLV_E_NET);
    assert_string_equal(err.msg, strerror(ECONNREFUSED));
    unlink(scratch("later"));
    l = listen_at("later", 0); /* one waits to be let in, and the next is told so */
    assert_int_equal(ask(p, &fd, &err), 0);
    const int rc = ask(p, &(int){-1}, &err);
    assert_int_equal(rc, SLV_E_NET);
    assert_string_equal(err.msg, strerror(EAGAIN));
    close(fd);
    close(l);
    slv_porter_close(p);
}

static void test_nobody_waits(void **state) {
    struct slv_porter *p = open_at("none");
    struct slv_err err = {0};
    int rc = 0, fd, n = 0;
    (void)state;
    while (!(rc = slv_porter_ask(p, &err)) && n < 1000000)
        n++;
    assert_int_equal(rc, SLV_E_BUSY); /* so many that it is told of, and not one that waits */
    for (; n; n--)
        assert_int_equal(take(p, &fd, &err), SLV_E_NET);
    assert_int_equal(slv_porter_take(p, &fd, &err), SLV_E_BUSY);
    slv_porter_close(p);
}

static void test_no_descriptors_left(void **state) {
    const int l = listen_at("many", 10);
    struct slv_porter *p = open_at("many");
    struct slv_err err = {0};
    struct rlimit before, none;
    int fd = -1;
    (void)state;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 1; /* (poll wants as many as it looks at) */
    setrlimit(RLIMIT_NOFILE, &none);
    const int rc = ask(p, &fd, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, SLV_E_NET);
    assert_string_equal(err.msg, strerror(EMFILE));
    assert_int_equal(ask(p, &fd, &err), 0);
    close(fd);
    close(l);
    slv_porter_close(p);
}

static void test_ends(void **state) {
    struct slv_porter *p = open_at("none");
    struct slv_err err = {0};
    int fd;
    (void)state;
    shutdown(slv_porter_fd(p), SHUT_WR); /* it sees its server's end */
    assert_int_equal(take(p, &fd, &err), SLV_E_IO);
    assert_int_equal(slv_porter_ask(p, &err), SLV_E_IO);
    slv_porter_close(p);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* none is left */
    slv_porter_close(NULL);
}

static void test_refusals(void **state) {
    struct slv_porter *p = NULL;
    struct slv_err err = {0};
    char path[200];
    (void)state;
    memset(path, 'x', sizeof path);
    path[108] = '\0';
    assert_int_equal(slv_porter_open(path, &p, &err), SLV_E_USAGE);
    assert_int_equal(slv_porter_open("", &p, &err), SLV_E_USAGE);
    slv_mem_fail_at(1);
    const int rc = slv_porter_open("x", &p, &err);
    slv_mem_fail_at(0);
    assert_int_equal(rc, SLV_E_NOMEM);
    path[107] = '\0';
    assert_int_equal(slv_porter_open(path, &p, &err), 0);
    slv_porter_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects),     cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_nobody_waits), cmocka_unit_test(test_no_descriptors_left),
        cmocka_unit_test(test_ends),         cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests_name("porter", tests, scratch_make, scratch_drop);
}
