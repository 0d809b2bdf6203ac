/* httpd.c: see httpd.h. */
#include "net/httpd.h"
#include "base/mem.h"
#include "net/httpd_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_PREFIX "unix:"
#define BACKLOG 512
#define TURN_NS 100000u
#define LATE_MS 3000u /* for replies that were told to end: two seconds, and one to be read */

/* --- waking the loop -------------------------------------------------------------------------- */

void slv_httpd_wake(struct slv_httpd *h) {
    const uint64_t one = 1;
    if (atomic_exchange(&h->wanted, true)) return; /* it is on its way */
    if (write(h->wake_fd, &one, sizeof one) < 0) { /* full: it will wake all the same */
    }
}

/* Not only no more accepted: who comes is refused, and not left waiting in the system's queue. */
static void close_listeners(struct slv_httpd *h) {
    while (h->listeners) {
        struct slv_listener *l = h->listeners;
        h->listeners = l->next;
        if (l->l) evconnlistener_free(l->l);
        if (l->path) unlink(l->path);
        slv_mem_free(l->path);
        slv_mem_free(l);
    }
}

static void stop_now(struct slv_httpd *h) {
    h->stopping = true;
    close_listeners(h);
    for (struct slv_conn *c = h->ends.newer, *next; c != &h->ends; c = next) {
        next = c->newer;
        slv_conn_stop(c);
    }
}

static void end_if_drained(struct slv_httpd *h) {
    if (h->stopping && !atomic_load(&h->n_conns)) event_base_loopbreak(h->base);
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    struct slv_httpd *h = arg;
    uint64_t n;
    (void)what;
    if (read((int)fd, &n, sizeof n) < 0) { /* somebody else was quicker */
    }
    atomic_store(&h->wanted, false);
    pthread_mutex_lock(&h->lock);
    struct slv_exchange *x = h->ready, *next;
    h->ready = NULL;
    while (x) {
        next = x->next; /* until it is no longer queued nobody else touches that */
        x->queued = false;
        pthread_mutex_unlock(&h->lock);
        if (x->conn) slv_conn_flush(x->conn);
        slv_exchange_put(x);
        x = next;
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    if (atomic_exchange(&h->poked, false) && h->on_poke) h->on_poke(h->poke_arg);
    if (atomic_load(&h->stop) && !h->stopping) stop_now(h);
    end_if_drained(h);
}

void slv_httpd_stop(struct slv_httpd *h) {
    atomic_store(&h->stop, true);
    slv_httpd_wake(h);
}

void slv_httpd_hurry(struct slv_httpd *h) {
    atomic_store(&h->hurry, true);
    slv_httpd_stop(h);
}

void slv_httpd_on_poke(struct slv_httpd *h, void (*fn)(void *arg), void *arg) {
    h->on_poke = fn;
    h->poke_arg = arg;
}

void slv_httpd_poke(struct slv_httpd *h) {
    atomic_store(&h->poked, true);
    slv_httpd_wake(h);
}

uint32_t slv_httpd_connections(const struct slv_httpd *h) { return atomic_load(&h->n_conns); }

/* --- opening ---------------------------------------------------------------------------------- */

static void on_again(evutil_socket_t fd, short what, void *arg);

static void fill(struct slv_httpd_opts *o) {
    if (!o->connections_max) o->connections_max = 1024;
    if (!o->body_max) o->body_max = (size_t)32 << 20;
    if (!o->bodies_max) o->bodies_max = (size_t)256 << 20;
    if (!o->out_max) o->out_max = (size_t)4 << 20;
    if (!o->idle_ms) o->idle_ms = 75000;
    if (!o->head_ms) o->head_ms = 10000;
    if (!o->body_ms) o->body_ms = 20000;
    if (!o->write_ms) o->write_ms = 60000;
    if (!o->comment_ms) o->comment_ms = 10000;
}

int slv_httpd_open(const struct slv_httpd_opts *o, struct slv_httpd **ret, struct slv_err *err) {
    struct slv_httpd *h = slv_mem_calloc(1, sizeof *h);
    if (!h) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    h->o = *o;
    fill(&h->o);
    h->ends.newer = h->ends.older = &h->ends;
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->bodies_lock, NULL);
    h->base = event_base_new();
    h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->base && h->wake_fd >= 0)
        h->woken = event_new(h->base, h->wake_fd, EV_READ | EV_PERSIST, on_wake, h);
    if (h->woken) h->again = evtimer_new(h->base, on_again, h);
    if (!h->again || event_add(h->woken, NULL)) {
        slv_httpd_close(h);
        return slv_err_set(err, SLV_E_NOMEM, "event loop: out of memory or descriptors");
    }
    *ret = h;
    return 0;
}

static void close_connections(struct slv_httpd *h) {
    while (h->ends.newer != &h->ends)
        slv_conn_close(h->ends.newer);
}

void slv_httpd_close(struct slv_httpd *h) {
    if (!h) return;
    close_connections(h);
    close_listeners(h);
    for (struct slv_exchange *x = h->ready, *next; x; x = next) {
        next = x->next;
        slv_exchange_put(x);
    }
    if (h->woken) event_free(h->woken);
    if (h->again) event_free(h->again);
    if (h->drained) event_free(h->drained);
    if (h->base) event_base_free(h->base);
    if (h->wake_fd >= 0) close(h->wake_fd);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->bodies_lock);
    slv_mem_free(h);
}

/* --- listening -------------------------------------------------------------------------------- */

/* One of those of which nothing is being answered, closed: that which has been idle longest, or
 * else the oldest whose body is coming or whose reply is going. */
static bool close_one(struct slv_httpd *h) {
    struct slv_conn *slow = NULL;
    for (struct slv_conn *c = h->ends.newer; c != &h->ends; c = c->newer) {
        if (c->state == SLV_CONN_HEAD || c->state == SLV_CONN_LINGER) {
            slv_conn_close(c);
            return true;
        }
        if (c->state != SLV_CONN_BUSY && !slow) slow = c;
    }
    if (slow) slv_conn_close(slow);
    return slow != NULL;
}

static bool make_room(struct slv_httpd *h) {
    return atomic_load(&h->n_conns) < h->o.connections_max || close_one(h);
}

static bool is_loopback(const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
    if (sa->sa_family != AF_INET6) return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static void name_peer(const struct sockaddr *sa, socklen_t n, struct slv_peer *ret) {
    char host[48], port[8];
    ret->is_local = sa->sa_family == AF_UNIX || is_loopback(sa);
    if (sa->sa_family == AF_UNIX ||
        getnameinfo(sa, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(ret->address, sizeof ret->address, "unix");
    else snprintf(ret->address, sizeof ret->address, "%s:%s", host, port);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n,
                      void *arg) {
    struct slv_httpd *h = arg;
    struct slv_peer peer = {0};
    const int one = 1;
    (void)l;
    if (!make_room(h)) {
        if (h->o.refused) h->o.refused(503, h->o.ctx);
        evutil_closesocket(fd);
        return;
    }
    name_peer(sa, (socklen_t)n, &peer);
    bool is_unix = sa->sa_family == AF_UNIX;
    if (!is_unix) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    slv_conn_open(h, fd, is_unix, &peer);
}

/* No descriptor is left: a connection goes, or nobody is let in for a moment. */
static void on_accept_error(struct evconnlistener *listener, void *arg) {
    static const struct timeval moment = {0, 100000};
    struct slv_httpd *h = arg;
    (void)listener;
    if (close_one(h) || evtimer_add(h->again, &moment)) return;
    for (struct slv_listener *l = h->listeners; l; l = l->next)
        evconnlistener_disable(l->l);
}

static void on_again(evutil_socket_t fd, short what, void *arg) {
    struct slv_httpd *h = arg;
    (void)fd;
    (void)what;
    for (struct slv_listener *l = h->listeners; l; l = l->next)
        evconnlistener_enable(l->l);
}

static int bad_address(const char *address, struct slv_err *err) {
    return slv_err_set(err, SLV_E_USAGE,
                       "%s: ADDRESS:PORT with a port of 0 to 65535, or unix:PATH, is wanted",
                       address);
}

/* (The path comes last: it may be longer than a message.) */
static int bad_path(const char *address, struct slv_err *err) {
    const char *path = address + strlen(UNIX_PREFIX);
    if (!*path) return bad_address(address, err);
    return slv_err_set(err, SLV_E_USAGE,
                       "the path of a unix socket has %zu bytes at most, not %zu: '%s'",
                       sizeof((struct sockaddr_un *)0)->sun_path - 1, strlen(path), path);
}

/* Digits only: what the system's own reading takes modulo 65536 would be another port. */
static bool is_port(const char *text) {
    const size_t n = strlen(text);
    return n >= 1 && n <= 5 && strspn(text, "0123456789") == n && strtol(text, NULL, 10) <= 65535;
}

/* "HOST:PORT" or "[HOST]:PORT" */
static int split(const char *address, char host[256], char port[8], struct slv_err *err) {
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    const char *from = address;
    if (n >= 2 && address[0] == '[' && colon[-1] == ']') {
        from++;
        n -= 2;
    } else if (colon && memchr(address, ':', n)) {
        return bad_address(address, err);
    }
    if (!colon || !n || n >= 256 || !is_port(colon + 1)) return bad_address(address, err);
    memcpy(host, from, n);
    host[n] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return 0;
}

static int resolve(const char *address, struct addrinfo **ret, struct slv_err *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char host[256], port[8];
    int rc = split(address, host, port, err);
    if (rc) return rc;
    int e = getaddrinfo(host, port, &hints, ret);
    return e ? slv_err_set(err, SLV_E_USAGE, "%s: %s", address, gai_strerror(e)) : 0;
}

static bool is_unix_address(const char *address) {
    return !strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX));
}

static bool is_unix_path(const char *path) {
    return *path && strlen(path) < sizeof((struct sockaddr_un *)0)->sun_path;
}

int slv_httpd_check(const char *address, bool *ret_local, struct slv_err *err) {
    struct addrinfo *list = NULL;
    if (is_unix_address(address)) {
        if (!is_unix_path(address + strlen(UNIX_PREFIX))) return bad_path(address, err);
        *ret_local = true;
        return 0;
    }
    int rc = resolve(address, &list, err);
    if (rc) return rc;
    bool local = list != NULL;
    for (struct addrinfo *a = list; a; a = a->ai_next)
        local = local && is_loopback(a->ai_addr);
    if (list) freeaddrinfo(list);
    *ret_local = local;
    return 0;
}

static int add_listener(struct slv_httpd *h, const char *address, int fd, const char *path,
                        struct slv_err *err) {
    struct slv_listener *l = slv_mem_calloc(1, sizeof *l);
    if (l && path) l->path = slv_mem_strndup(path, strlen(path));
    if (l && (l->path || !path))
        l->l = evconnlistener_new(h->base, on_accept, h,
                                  LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (!l || !l->l) {
        int e = errno;
        if (l) slv_mem_free(l->path);
        slv_mem_free(l);
        close(fd);
        return slv_err_set(err, SLV_E_IO, "%s: %s", address, strerror(e));
    }
    evconnlistener_set_error_cb(l->l, on_accept_error);
    l->next = h->listeners;
    h->listeners = l;
    return 0;
}

/* A socket file that nobody listens at any more. */
static bool is_stale(const struct sockaddr_un *un) {
    struct stat st;
    if (lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool refused = connect(fd, (const struct sockaddr *)(const void *)un, sizeof *un) != 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int listen_unix(struct slv_httpd *h, const char *address, struct slv_err *err) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = address + strlen(UNIX_PREFIX);
    if (!is_unix_path(path)) return bad_path(address, err);
    memcpy(un.sun_path, path, strlen(path) + 1);
    if (is_stale(&un)) unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old = umask(0177);
    int failed = fd < 0 || bind(fd, (struct sockaddr *)(void *)&un, sizeof un);
    int e = errno;
    umask(old);
    if (failed) {
        if (fd >= 0) close(fd);
        return slv_err_set(err, SLV_E_IO, "%s: %s", address, strerror(e));
    }
    return add_listener(h, address, fd, path, err);
}

static int bind_tcp(const struct addrinfo *a) {
    const int one = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!bind(fd, a->ai_addr, a->ai_addrlen)) return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

int slv_httpd_listen(struct slv_httpd *h, const char *address, uint16_t *ret_port,
                     struct slv_err *err) {
    struct addrinfo *list = NULL;
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    uint16_t port = 0;
    if (is_unix_address(address)) {
        int rc = listen_unix(h, address, err);
        if (!rc && ret_port) *ret_port = 0;
        return rc;
    }
    int rc = resolve(address, &list, err);
    if (rc) return rc;
    int fd = bind_tcp(list), e = errno;
    freeaddrinfo(list);
    if (fd < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", address, strerror(e));
    if (!getsockname(fd, (struct sockaddr *)&ss, &n))
        port = ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&ss)->sin_port
                                             : ((struct sockaddr_in6 *)(void *)&ss)->sin6_port);
    rc = add_listener(h, address, fd, NULL, err);
    if (!rc && ret_port) *ret_port = port;
    return rc;
}

/* --- running ---------------------------------------------------------------------------------- */

static void on_drain_end(evutil_socket_t fd, short what, void *arg) {
    struct slv_httpd *h = arg;
    (void)fd;
    (void)what;
    h->over = true;
}

/* Asks the system for short turns: who needs little is let in sooner beside threads that compute
 * all the time (a slice of one's own is known from Linux 6.12 on; older kernels pass it over). */
static void ask_for_short_turns(void) {
    const struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = 48, .policy = SCHED_OTHER, .runtime = TURN_NS};
    if (getpriority(PRIO_PROCESS, 0)) return;      /* somebody has chosen: let it be */
    if (syscall(SYS_sched_setattr, 0, &attr, 0)) { /* then not */
    }
}

/* Whoever has left while a reply was written is an error of that connection, and no signal,
 * whatever the program thinks of SIGPIPE. */
static void block_pipe(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Until nobody is connected or the time is over. */
static void drain(struct slv_httpd *h, uint32_t ms, bool may_hurry) {
    const struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    h->over = false;
    bool wait = h->drained && !evtimer_add(h->drained, &tv);
    while (wait && atomic_load(&h->n_conns) && !h->over && !(may_hurry && atomic_load(&h->hurry)))
        wait = event_base_loop(h->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) >= 0;
}

struct event_base *slv_httpd_base(const struct slv_httpd *h) {
    return h->base;
}

int slv_httpd_run(struct slv_httpd *h, uint32_t drain_ms, struct slv_err *err) {
    ask_for_short_turns();
    block_pipe();
    while (!h->stopping) {
        if (event_base_loop(h->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            return slv_err_set(err, SLV_E_IO, "event loop: %s", strerror(errno));
    }
    h->drained = evtimer_new(h->base, on_drain_end, h);
    drain(h, drain_ms, true);
    if (atomic_load(&h->n_conns) && h->o.late) {
        h->o.late(h->o.ctx);
        drain(h, LATE_MS, false);
    }
    close_connections(h);
    return 0;
}
