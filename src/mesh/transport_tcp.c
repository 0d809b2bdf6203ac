/* transport_tcp.c: TCP and TLS, for where UDP is closed; see transport.h and stream.h.
 *
 * The side that accepts says WELCOME when it lets the other in; the other takes the way for open
 * when it has heard that. What the system's buffers do not take is kept up to STREAM_OUT_MAX bytes;
 * beyond that the newest datagrams are lost, as they would be on a path that is too narrow.
 *
 * Callbacks of libevent are deferred: a write must not end its own way while somebody is at work on
 * it. */
#define _GNU_SOURCE /* accept4 */
#include "mesh/transport_int.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#define BACKLOG 128
#define SILENT_MS 30000 /* a peer that acknowledges nothing for so long is gone */
#define DISCARD_MS 100  /* when no descriptor is left nobody is let in for so long */

/* --- messages --------------------------------------------------------------------------------- */

bool transport_tcp_send(struct way *w, const struct frame *f) {
    uint8_t head[STREAM_HEAD + FRAME_HEAD_MAX];
    struct evbuffer *out = bufferevent_get_output(w->bev);
    const size_t n = transport_frame_head(f, head + STREAM_HEAD), all = n + f->bytes.n;
    if (all > FRAME_MAX || evbuffer_get_length(out) + all > STREAM_OUT_MAX) return false;
    head[0] = (uint8_t)(all >> 8);
    head[1] = (uint8_t)all;
    if (evbuffer_expand(out, STREAM_HEAD + all)) return false; /* all of it, or nothing */
    if (evbuffer_add(out, head, STREAM_HEAD + n)) return false;
    return !f->bytes.n || !evbuffer_add(out, f->bytes.p, f->bytes.n);
}

static void open_up(struct way *w) {
    uint8_t key[SLV_DTLS_KEY];
    const struct ssl_st *ssl = bufferevent_openssl_get_ssl(w->bev);
    const enum slv_dtls_reason reason = slv_stream_peer(w->t->stream, ssl, key);
    if (reason == SLV_DTLS_WHY_NONE) transport_way_opened(w, key, slv_stream_which(ssl));
    else transport_way_failed(w, reason);
}

static void take(struct way *w, struct slv_str message) {
    struct frame f;
    if (w->state == WAY_OPEN) {
        transport_way_receive(w, message);
        return;
    }
    if (w->own && transport_frame_read(message, &f) && f.kind == FRAME_WELCOME) open_up(w);
    else transport_way_failed(w, SLV_DTLS_WHY_PROTOCOL);
}

static void on_read(struct bufferevent *bev, void *arg) {
    struct way *w = arg;
    struct slv_transport *t = w->t;
    struct evbuffer *in = bufferevent_get_input(bev);
    uint8_t message[STREAM_HEAD + FRAME_MAX];
    int rc = 0;
    while (!rc && w->state != WAY_OVER) {
        size_t n = 0;
        const ev_ssize_t here = evbuffer_copyout(in, message, sizeof message);
        rc = transport_stream_next(message, here > 0 ? (size_t)here : 0, &n);
        if (rc) break;
        evbuffer_drain(in, STREAM_HEAD + n);
        take(w, (struct slv_str){(const char *)message + STREAM_HEAD, n});
    }
    if (rc == SLV_E_FORMAT) {
        t->stats.dropped++;
        transport_way_end(w);
    }
    transport_settle(t);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void shaken(struct way *w) {
    static const uint8_t welcome[] = {0, 1, FRAME_WELCOME};
    w->shaken = true;
    if (w->own) return;
    if (bufferevent_write(w->bev, welcome, sizeof welcome)) transport_way_end(w);
    else open_up(w);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct way *w = arg;
    struct slv_transport *t = w->t;
    if (what & BEV_EVENT_CONNECTED) shaken(w);
    else if (w->state == WAY_OPEN) transport_way_end(w);
    else {
        const unsigned long e = bufferevent_get_openssl_error(bev);
        /* (Who could not connect at all, or was sent away before any error of TLS.) */
        transport_way_failed(w, e || w->shaken
                                    ? slv_stream_reason(bufferevent_openssl_get_ssl(bev), e)
                                    : SLV_DTLS_WHY_TIMEOUT);
    }
    transport_settle(t);
}

/* Takes fd over. */
static bool begin(struct way *w, evutil_socket_t fd) {
    const int one = 1, silent = SILENT_MS;
    SSL *ssl = slv_stream_ssl(w->t->stream, w->own);
    if (ssl)
        w->bev = bufferevent_openssl_socket_new(w->t->conf.base, fd, ssl,
                                                w->own ? BUFFEREVENT_SSL_CONNECTING
                                                       : BUFFEREVENT_SSL_ACCEPTING,
                                                BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!w->bev) {
        SSL_free(ssl);
        evutil_closesocket(fd);
        return false;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof silent);
    bufferevent_openssl_set_allow_dirty_shutdown(w->bev, 1);
    bufferevent_setcb(w->bev, on_read, NULL, on_event, w);
    bufferevent_setwatermark(w->bev, EV_READ, 0, STREAM_IN_MAX);
    transport_soon(w->t, w->deadline);
    return !bufferevent_enable(w->bev, EV_READ | EV_WRITE);
}

struct way *transport_tcp_connect(struct slv_transport *t, struct peer *p,
                                  const struct address *to) {
    struct way *w = transport_way_new(t, SLV_WAY_TCP, p, to);
    if (!w) return NULL;
    const int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && begin(w, fd) && !bufferevent_socket_connect(w->bev, &to->sa, (int)to->n))
        return w;
    transport_way_end(w);
    return NULL;
}

void transport_tcp_free(struct way *w) {
    if (!w->bev) return;
    SSL *ssl = bufferevent_openssl_get_ssl(w->bev);
    bufferevent_setcb(w->bev, NULL, NULL, NULL, NULL);
    if (w->shaken) SSL_shutdown(ssl);
    ERR_clear_error();
    bufferevent_free(w->bev);
    w->bev = NULL;
}

/* --- accepting -------------------------------------------------------------------------------- */

/* The stream that has been half open for longest makes room. */
static void drop_oldest(struct slv_transport *t) {
    struct way *oldest = NULL;
    for (struct way *w = t->half; w; w = w->half_next)
        if (w->kind == SLV_WAY_TCP && !w->own) oldest = w;
    if (oldest) transport_way_failed(oldest, SLV_DTLS_WHY_DROPPED);
}

static void welcome(struct slv_transport *t, evutil_socket_t fd, const struct address *from) {
    struct gate *gate = transport_gate_of(&t->gates, from);
    if (!transport_gate_open(&t->gates, gate, transport_now(t))) {
        t->stats.limited++;
        evutil_closesocket(fd);
        return;
    }
    if (t->n_strangers >= t->conf.handshakes_max) drop_oldest(t);
    struct way *w = transport_way_new(t, SLV_WAY_TCP, NULL, from);
    if (!w) {
        evutil_closesocket(fd);
        return;
    }
    w->gate = gate;
    transport_gate_enter(&t->gates, gate, w->begun);
    if (!begin(w, fd)) transport_way_end(w);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
    struct slv_transport *t = arg;
    (void)what;
    for (unsigned i = 0; i < TURN_STREAMS; i++) {
        struct address from = {.n = sizeof from.in6};
        const int s = accept4((int)fd, &from.sa, &from.n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s >= 0) {
            welcome(t, s, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            for (size_t k = 0; k < t->n_ports; k++)
                if (t->port[k].tcp == fd) event_del(t->port[k].tcp_event);
            transport_soon(t, transport_now(t) + DISCARD_MS * MS);
        }
        break;
    }
    transport_settle(t);
}

int transport_tcp_open(struct port *port) {
    const int family = port->bound.sa.sa_family, one = 1;
    port->tcp = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (port->tcp >= 0 &&
        (family == AF_INET ||
         !setsockopt(port->tcp, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one)) &&
        !setsockopt(port->tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) &&
        !bind(port->tcp, &port->bound.sa, port->bound.n) && !listen(port->tcp, BACKLOG))
        return 0;
    return errno;
}

int transport_tcp_start(struct slv_transport *t, struct port *port) {
    port->tcp_event = event_new(t->conf.base, port->tcp, EV_READ | EV_PERSIST, on_acceptable, t);
    return port->tcp_event && !event_add(port->tcp_event, NULL) ? 0 : SLV_E_NOMEM;
}
