/* test_httpd.c: the server of sockets, with a handler of the test's own: no stream loses its end
 * however many threads write, nobody's silence keeps others from being served, a client that goes
 * is noticed, and an end is an end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define WRITERS 16
#define PIECES 60

static struct slv_httpd *server;
static uint16_t port;
static pthread_t loop;
static atomic_int refused, lost, opened, closed;
static struct slv_exchange *_Atomic held; /* of "/hold" */

/* --- the handler ------------------------------------------------------------------------------ */

/* Pieces of one reply from a thread: "0\n1\n...". */
static void *write_stream(void *exchange) {
    static const struct slv_reply head = {.status = 200,
                                          .type = "text/event-stream; charset=utf-8"};
    struct slv_exchange *x = exchange;
    char text[16];
    slv_exchange_begin(x, &head);
    for (int i = 0; i < PIECES; i++)
        slv_exchange_send(x, text, (size_t)snprintf(text, sizeof text, "%d\n", i));
    slv_exchange_end(x);
    slv_exchange_put(x);
    return NULL;
}

static void on_lost(void *owner) {
    (void)owner;
    atomic_fetch_add(&lost, 1);
}

static void on_closed(void *owner) {
    (void)owner;
    atomic_fetch_add(&closed, 1);
}

static void handle(struct slv_exchange *x, void *ctx) {
    static const struct slv_reply ok = {.status = 200, .type = "text/plain"};
    static const struct slv_reply events = {.status = 200,
                                            .type = "text/event-stream; charset=utf-8"};
    const struct slv_head *h = slv_exchange_head(x);
    struct slv_str body = slv_exchange_body(x);
    pthread_t t;
    (void)ctx;
    atomic_fetch_add(&opened, 1);
    slv_exchange_own(x, x, on_lost, on_closed);
    if (slv_str_is(h->path, "/stream")) {
        assert_int_equal(pthread_create(&t, NULL, write_stream, x), 0);
        pthread_detach(t);
        return;
    }
    if (slv_str_is(h->path, "/hold") || slv_str_is(h->path, "/silent")) {
        if (slv_str_is(h->path, "/silent")) slv_exchange_begin(x, &events);
        atomic_store(&held, x);
        return;
    }
    if (slv_str_is(h->path, "/size")) {
        char text[32];
        slv_exchange_reply(x, &ok, text, (size_t)snprintf(text, sizeof text, "%zu", body.n));
    } else {
        slv_exchange_reply(x, &ok, body.p, body.n);
    }
    slv_exchange_put(x);
}

static void on_refused(int status, void *ctx) {
    (void)ctx;
    atomic_store(&refused, status);
}

/* What is held is answered: the time is over. */
static void on_late(void *ctx) {
    static const struct slv_reply late = {.status = 503, .type = "text/plain"};
    struct slv_exchange *x = atomic_exchange(&held, NULL);
    (void)ctx;
    if (!x) return;
    slv_exchange_reply(x, &late, "too late", 8);
    slv_exchange_put(x);
}

static void *run(void *arg) {
    (void)arg;
    assert_int_equal(slv_httpd_run(server, 10000, NULL), 0);
    return NULL;
}

/* With limits that suit a test. */
static void serve(struct slv_httpd_opts o) {
    o.handle = handle;
    o.refused = on_refused;
    atomic_store(&lost, 0);
    atomic_store(&opened, 0);
    atomic_store(&closed, 0);
    atomic_store(&held, NULL);
    assert_int_equal(slv_httpd_open(&o, &server, NULL), 0);
    assert_int_equal(slv_httpd_listen(server, "127.0.0.1:0", &port, NULL), 0);
    assert_int_equal(pthread_create(&loop, NULL, run, NULL), 0);
}

static int end(void **state) {
    (void)state;
    if (!server) return 0;
    slv_httpd_stop(server);
    pthread_join(loop, NULL);
    slv_httpd_close(server);
    server = NULL;
    bool all = atomic_load(&opened) == atomic_load(&closed);
    if (!all)
        printf("# %d exchanges were not let go of\n", atomic_load(&opened) - atomic_load(&closed));
    return all ? 0 : 1;
}

/* --- a client --------------------------------------------------------------------------------- */

static int dial(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct timeval tv = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a)) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

static void say(int fd, const char *text) {
    size_t n = strlen(text);
    assert_true(send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* Until the other side closes, or `want` has come. */
static char *hear(int fd, const char *want) {
    static _Thread_local char text[65536];
    size_t n = 0;
    text[0] = '\0';
    while (n < sizeof text - 1 && !(want && strstr(text, want))) {
        ssize_t k = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (k <= 0) break;
        n += (size_t)k;
        text[n] = '\0';
    }
    return text;
}

static void ask(int fd, const char *path, const char *rest) {
    char text[200];
    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, rest);
    say(fd, text);
}

static void heard(int fd, const char *want) {
    char *text = hear(fd, want);
    if (!strstr(text, want)) fail_msg("\"%s\" was not heard, but \"%s\"", want, text);
}

/* Waits for at most 5 s; how long it took, in ms. */
static double until(atomic_int *at, int want) {
    uint64_t t = slv_clock_mono(&slv_clock_system);
    for (int i = 0; i < 5000 && atomic_load(at) < want; i++)
        usleep(1000);
    assert_true(atomic_load(at) >= want);
    return (double)(slv_clock_mono(&slv_clock_system) - t) / 1e6;
}

/* --- addresses -------------------------------------------------------------------------------- */

/* A port past 65535 taken modulo 65536 would open one that nobody asked for. */
static void addresses_are_read_strictly(void **state) {
    static const char *const bad[] = {"127.0.0.1:99999",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:80a",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:+80",
                                      "127.0.0.1: 80",
                                      "127.0.0.1:000080",
                                      "127.0.0.1:",
                                      "127.0.0.1",
                                      "foo",
                                      ":8080",
                                      "::1:8080",
                                      "unix:",
                                      ""};
    static const char *const good[] = {"127.0.0.1:0", "127.0.0.1:65535", "[::1]:8080", "unix:x"};
    bool local = false;
    (void)state;
    serve((struct slv_httpd_opts){0});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct slv_err err = {0};
        assert_int_equal(slv_httpd_check(bad[i], &local, &err), SLV_E_USAGE);
        assert_non_null(strstr(err.msg, "a port of 0 to 65535, or unix:PATH"));
        assert_int_equal(slv_httpd_listen(server, bad[i], NULL, NULL), SLV_E_USAGE);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        local = false;
        assert_int_equal(slv_httpd_check(good[i], &local, NULL), 0);
        assert_true(local);
    }
    assert_int_equal(slv_httpd_check("0.0.0.0:1", &local, NULL), 0);
    assert_false(local);
}

/* --- streams ---------------------------------------------------------------------------------- */

static void *read_streams(void *arg) {
    char want[8 * PIECES + 200] = "";
    size_t n = 0;
    for (int i = 0; i < PIECES; i++) {
        char line[16];
        int k = snprintf(line, sizeof line, "%d\n", i);
        n += (size_t)snprintf(want + n, sizeof want - n, "%x\r\n%s\r\n", (unsigned)k, line);
    }
    snprintf(want + n, sizeof want - n, "0\r\n\r\n");
    int fd = dial();
    for (int i = 0; fd >= 0 && i < 60; i++) {
        ask(fd, "/stream", "");
        if (!strstr(hear(fd, "\r\n0\r\n\r\n"), want)) atomic_fetch_add((atomic_int *)arg, 1);
    }
    if (fd < 0) atomic_fetch_add((atomic_int *)arg, 1);
    else close(fd);
    return NULL;
}

static void no_stream_loses_a_piece(void **state) {
    pthread_t t[WRITERS];
    atomic_int bad = 0;
    (void)state;
    serve((struct slv_httpd_opts){0});
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, read_streams, &bad), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&bad), 0);
}

static void a_silent_stream_gets_comments(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){.comment_ms = 20});
    int fd = dial();
    ask(fd, "/silent", "");
    heard(fd, ": waiting\n\n\r\nb\r\n: waiting\n\n\r\n");
    slv_exchange_end(held);
    heard(fd, "0\r\n\r\n");
    slv_exchange_put(held);
    close(fd);
}

static void requests_that_come_at_once_are_answered_in_turn(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){0});
    int fd = dial();
    say(fd,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\noneGET / HTTP/1.1\r\nHost: "
        "a\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
        "HEAD /size HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n");
    char *text = hear(fd, NULL), *at = strstr(text, "\r\n\r\none");
    assert_non_null(at);
    at = strstr(at + 7, "Content-Length: 0\r\n");
    assert_non_null(at);
    at = strstr(at, "\r\n\r\nthree");
    assert_non_null(at);
    at = strstr(at, "Connection: close\r\n");
    assert_non_null(at);
    assert_string_equal(strstr(at, "\r\n\r\n"),
                        "\r\n\r\n"); /* HEAD: no body, and nothing after it */
    close(fd);
}

static void hold(int fd, const char *path) {
    atomic_store(&held, NULL);
    ask(fd, path, "");
    for (int i = 0; i < 5000 && !atomic_load(&held); i++)
        usleep(1000);
    assert_non_null(atomic_load(&held));
}

static void a_client_that_goes_is_noticed(void **state) {
    static char much[100000];
    const struct linger reset = {1, 0};
    (void)state;
    serve((struct slv_httpd_opts){0});
    for (int way = 0; way < 4; way++) {
        int fd = dial();
        hold(fd, way % 2 ? "/silent" : "/hold");
        if (way >= 2) send(fd, much, sizeof much, MSG_NOSIGNAL); /* more than the server reads on */
        usleep(20000);
        if (way == 3) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        double ms = until(&lost, way + 1);
        printf("# noticed after %.1f ms\n", ms);
        assert_true(slv_exchange_is_gone(held));
        slv_exchange_put(held);
    }
}

/* Processor time of the process in ms. */
static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static void what_is_sent_on_meanwhile_waits(void **state) {
    static char much[300000];
    (void)state;
    serve((struct slv_httpd_opts){0});
    int fd = dial(), k = 1;
    hold(fd, "/silent");
    memset(much, 'x', sizeof much);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &k, sizeof k);
    ask(fd, "/size", "Content-Length: 300000\r\n");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    ssize_t sent = send(fd, much, sizeof much, MSG_NOSIGNAL);
    double ms = cpu();
    usleep(300000);
    ms = cpu() - ms;
    printf("# %.0f ms of processor time in 300 ms\n", ms);
    slv_exchange_end(held);
    slv_exchange_put(held);
    fcntl(fd, F_SETFL, 0);
    for (ssize_t n = sent > 0 ? sent : 0; n < (ssize_t)sizeof much; n += sent) {
        sent = send(fd, much, sizeof much - (size_t)n, MSG_NOSIGNAL);
        assert_true(sent > 0);
    }
    heard(fd, "\r\n\r\n300000"); /* and is read when its turn has come */
    close(fd);
    assert_true(ms < 150);
}

/* A last reply is not lost with what the client sent on. */
static void a_last_reply_arrives(void **state) {
    static char much[200000];
    (void)state;
    serve((struct slv_httpd_opts){0});
    int fd = dial();
    atomic_store(&held, NULL);
    ask(fd, "/silent", "Connection: close\r\n");
    say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(send(fd, much, sizeof much, MSG_NOSIGNAL) == sizeof much);
    while (!atomic_load(&held))
        usleep(1000);
    usleep(50000);
    for (int i = 0; i < 100; i++)
        slv_exchange_send(held, "0123456789", 10);
    slv_exchange_send(held, "last", 4);
    slv_exchange_end(held);
    slv_exchange_put(held);
    usleep(50000); /* nobody reads for a while */
    heard(fd, "0123456789last");
    close(fd);
}

static void a_client_that_does_not_read_is_let_go(void **state) {
    static char piece[65536];
    (void)state;
    serve((struct slv_httpd_opts){.out_max = 1 << 20, .write_ms = 60000});
    int fd = dial();
    hold(fd, "/silent");
    for (int i = 0; i < 2000 && !slv_exchange_is_gone(held); i++) {
        slv_exchange_send(held, piece, sizeof piece);
        usleep(500);
    }
    until(&lost, 1);
    slv_exchange_put(held);
    close(fd);
}

/* --- silence ---------------------------------------------------------------------------------- */

static void slow_requests_are_told_so(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){.head_ms = 100, .body_ms = 150, .idle_ms = 100});
    int fd = dial();
    say(fd, "GET / HT");
    heard(fd, "HTTP/1.1 408 Request Timeout\r\n");
    close(fd);
    fd = dial();
    ask(fd, "/", "Content-Length: 4000000\r\n");
    say(fd, "some");
    heard(fd, "HTTP/1.1 408 Request Timeout\r\n"); /* however much it says will come */
    assert_int_equal(atomic_load(&refused), 408);
    close(fd);
    fd = dial();
    assert_string_equal(hear(fd, NULL), ""); /* who never says anything is not told of it */
    close(fd);
}

/* A body may be slow as long as it comes. */
static void a_slow_body_that_goes_on_is_waited_for(void **state) {
    char piece[4000];
    (void)state;
    serve((struct slv_httpd_opts){.body_ms = 400});
    int fd = dial();
    memset(piece, 'x', sizeof piece);
    ask(fd, "/size", "Content-Length: 40000\r\n");
    for (int i = 0; i < 10; i++) {
        assert_true(send(fd, piece, sizeof piece, MSG_NOSIGNAL) == sizeof piece);
        usleep(100000);
    }
    heard(fd, "\r\n\r\n40000");
    close(fd);
}

/* Bodies that are announced and do not come take nobody's place. */
static void announced_bodies_take_no_room(void **state) {
    int fd[12];
    (void)state;
    serve((struct slv_httpd_opts){.body_max = 1 << 20, .bodies_max = 4 << 20});
    for (int i = 0; i < 12; i++) {
        fd[i] = dial();
        ask(fd[i], "/", i % 2 ? "Transfer-Encoding: chunked\r\n" : "Content-Length: 1048576\r\n");
    }
    int one = dial();
    ask(one, "/", "Content-Length: 5\r\nConnection: close\r\n");
    say(one, "hello");
    heard(one, "\r\n\r\nhello");
    close(one);
    for (int i = 0; i < 12; i++)
        close(fd[i]);
}

/* Bodies that did come are bounded, all together. */
static void bodies_are_bounded_together(void **state) {
    static char much[1 << 20];
    int fd[8], full = 0;
    (void)state;
    serve((struct slv_httpd_opts){.body_max = 1 << 20, .bodies_max = 2 << 20});
    memset(much, 'x', sizeof much);
    for (int i = 0; i < 8; i++) {
        fd[i] = dial();
        ask(fd[i], "/", "Content-Length: 1048576\r\n");
        (void)!send(fd[i], much, sizeof much - 1, MSG_NOSIGNAL);
    }
    for (int i = 0; i < 8; i++) {
        (void)!send(fd[i], "x", 1, MSG_NOSIGNAL);
        full += strstr(hear(fd[i], "\r\n\r\n"), " 503 ") != NULL;
        close(fd[i]);
    }
    assert_true(full >= 5);
    int one = dial();
    ask(one, "/size", "Content-Length: 1048576\r\nConnection: close\r\n");
    assert_true(send(one, much, sizeof much, MSG_NOSIGNAL) == sizeof much);
    heard(one, "\r\n\r\n1048576"); /* and all is given back */
    close(one);
}

static void who_is_silent_makes_room(void **state) {
    int fd[40];
    (void)state;
    serve((struct slv_httpd_opts){.connections_max = 8});
    for (int i = 0; i < 40; i++) {
        fd[i] = dial();
        if (i % 4 == 1) say(fd[i], "GET / HTTP/1.1\r\nHo");
        if (i % 4 == 2) ask(fd[i], "/", "Content-Length: 100\r\n");
        if (i % 4 == 3) ask(fd[i], "/", "Transfer-Encoding: chunked\r\n");
    }
    int one = dial();
    ask(one, "/", "Content-Length: 5\r\nConnection: close\r\n");
    say(one, "hello");
    heard(one, "\r\n\r\nhello");
    assert_true(slv_httpd_connections(server) <= 8);
    close(one);
    for (int i = 0; i < 40; i++)
        close(fd[i]);
}

/* Where descriptors run out, those that are answered go on, and nobody spins. */
static void no_descriptors_is_no_storm(void **state) {
    struct rlimit old, few;
    int fd[24], n = 0;
    (void)state;
    serve((struct slv_httpd_opts){0});
    int busy = dial();
    hold(busy, "/hold");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (; n < 24; n++)
        fd[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    few = (struct rlimit){(rlim_t)fd[n - 1] + 1, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < n; i++)
        assert_int_equal(connect(fd[i], (struct sockaddr *)&to, sizeof to), 0);
    double ms = cpu();
    usleep(500000);
    ms = cpu() - ms;
    printf("# %.0f ms of processor time in 500 ms without descriptors\n", ms);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(ms < 200);
    say(fd[n - 1], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    heard(fd[n - 1], "HTTP/1.1 200 OK\r\n"); /* when there are some again, who waited is served */
    for (int i = 0; i < n; i++)
        close(fd[i]);
    slv_exchange_put(held);
    close(busy);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void an_end_lets_replies_end_and_nobody_in(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){0});
    int idle = dial(), fd = dial();
    hold(fd, "/silent");
    heard(fd, "HTTP/1.1 200 OK\r\n");
    slv_httpd_stop(server);
    assert_string_equal(hear(idle, NULL), "");
    assert_int_equal(dial(), -1);
    slv_exchange_send(held, "last", 4);
    slv_exchange_end(held);
    heard(fd, "4\r\nlast\r\n0\r\n\r\n");
    slv_exchange_put(held);
    assert_string_equal(hear(fd, NULL), "");
    close(fd);
    close(idle);
}

/* Whoever waits for an answer hears that there will be none, and not just the line go dead. */
static void an_end_in_a_hurry_tells_who_waits(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){.late = on_late});
    int fd = dial();
    hold(fd, "/hold");
    uint64_t t = slv_clock_mono(&slv_clock_system);
    slv_httpd_hurry(server);
    heard(fd, "HTTP/1.1 503");
    assert_true(slv_clock_mono(&slv_clock_system) - t < 5000000000u); /* draining takes ten */
    close(fd);
    assert_int_equal(atomic_load(&lost), 0);
}

static void memory_that_runs_out_ends_a_connection(void **state) {
    (void)state;
    serve((struct slv_httpd_opts){0});
    for (uint64_t i = 1; i < 12; i++) {
        int fd = dial();
        usleep(2000); /* the test's own counter: the loop's thread has it */
        slv_mem_fail_at(i);
        ask(fd, "/size", "Content-Length: 5\r\nConnection: close\r\n");
        say(fd, "hello");
        hear(fd, NULL); /* something, or nothing */
        slv_mem_fail_at(0);
        close(fd);
    }
    int fd = dial();
    ask(fd, "/size", "Content-Length: 5\r\nConnection: close\r\n");
    say(fd, "hello");
    heard(fd, "\r\n\r\n5");
    close(fd);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* of the clients here; the server looks after its own thread */
#define TEST(f) cmocka_unit_test_teardown(f, end)
    const struct CMUnitTest tests[] = {
        TEST(addresses_are_read_strictly),
        TEST(no_stream_loses_a_piece),
        TEST(a_silent_stream_gets_comments),
        TEST(requests_that_come_at_once_are_answered_in_turn),
        TEST(a_client_that_goes_is_noticed),
        TEST(what_is_sent_on_meanwhile_waits),
        TEST(a_last_reply_arrives),
        TEST(a_client_that_does_not_read_is_let_go),
        TEST(slow_requests_are_told_so),
        TEST(a_slow_body_that_goes_on_is_waited_for),
        TEST(announced_bodies_take_no_room),
        TEST(bodies_are_bounded_together),
        TEST(who_is_silent_makes_room),
        TEST(no_descriptors_is_no_storm),
        TEST(an_end_lets_replies_end_and_nobody_in),
        TEST(an_end_in_a_hurry_tells_who_waits),
        TEST(memory_that_runs_out_ends_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
