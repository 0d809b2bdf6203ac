/* conn.c: one connection: see httpd.h for its states. */
#define _GNU_SOURCE /* POLLRDHUP */
#include "base/json.h"
#include "base/mem.h"
#include "net/httpd_int.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define INPUT_MAX ((size_t)65536) /* bytes of a client that wait to be looked at */
#define BODY_FREE ((size_t)65536) /* of each body, that is not counted: small ones always come in */
#define BODY_BYTES_PER_MS 8u      /* at least, over a while */
#define LINGER_MS 2000u
#define LINGER_BYTES ((size_t)64 << 20)

static void set_timer(struct slv_conn *c, uint32_t ms) {
    const struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    if (ms) evtimer_add(c->timer, &tv);
    else evtimer_del(c->timer);
}

/* --- the row of connections ------------------------------------------------------------------- */

static void row_remove(struct slv_conn *c) {
    c->older->newer = c->newer;
    c->newer->older = c->older;
}

static void row_add(struct slv_conn *c) {
    struct slv_conn *ends = &c->h->ends;
    c->newer = ends;
    c->older = ends->older;
    ends->older->newer = c;
    ends->older = c;
}

void slv_conn_close(struct slv_conn *c) {
    struct slv_exchange *x = c->x;
    c->x = NULL;
    row_remove(c);
    atomic_fetch_sub(&c->h->n_conns, 1);
    if (c->timer) event_free(c->timer);
    if (c->look) event_free(c->look);
    if (c->bev) bufferevent_free(c->bev);
    slv_mem_free(c);
    if (x) slv_exchange_lost(x);
}

/* --- ends ------------------------------------------------------------------------------------- */

/* What is written is all that comes; the client may still be sending. */
static void linger(struct slv_conn *c) {
    int fd = bufferevent_getfd(c->bev);
    SSL *ssl = c->peer.tls ? bufferevent_openssl_get_ssl(c->bev) : NULL;
    if (ssl) SSL_shutdown(ssl);
    if (fd >= 0) shutdown(fd, SHUT_WR);
    c->state = SLV_CONN_LINGER;
    c->looked = 0;
    bufferevent_enable(c->bev, EV_READ);
    set_timer(c, LINGER_MS);
}

static void flush_and_close(struct slv_conn *c) {
    c->state = SLV_CONN_FLUSH;
    set_timer(c, 0);
    if (!evbuffer_get_length(bufferevent_get_output(c->bev))) linger(c);
}

/* An answer of the connection's own, and the end of it. */
static void refuse(struct slv_conn *c, int status, const char *why) {
    struct slv_reply r = {.status = status, .type = "application/json", .close = true};
    struct slv_buf out, body;
    struct slv_exchange *x = c->x;
    slv_buf_init(&out, 4096);
    slv_buf_init(&body, 2048);
    slv_buf_adds(&body, "{\"error\":{\"message\":\"");
    slv_json_escape(&body, why, strlen(why));
    slv_buf_adds(&body, "\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}\n");
    slv_reply_write(&out, &r, false, true, body.len);
    slv_buf_add(&out, body.data, body.len);
    evbuffer_add(bufferevent_get_output(c->bev), out.data, out.len);
    slv_buf_fini(&out);
    slv_buf_fini(&body);
    c->x = NULL;
    if (c->h->o.refused) c->h->o.refused(status, c->h->o.ctx);
    flush_and_close(c);
    slv_exchange_put(x);
}

/* --- requests --------------------------------------------------------------------------------- */

static void become_idle(struct slv_conn *c) {
    c->state = SLV_CONN_HEAD;
    c->any = false;
    c->looked = 0;
    row_remove(c);
    row_add(c);
    set_timer(c, c->h->o.idle_ms);
}

/* The request is whole. */
static void hand_over(struct slv_conn *c) {
    struct slv_exchange *x = c->x;
    c->state = SLV_CONN_BUSY;
    set_timer(c, 0);
    slv_exchange_hold(x);
    c->h->o.handle(x, c->h->o.ctx);
}

/* What has come of a body is counted, not what was announced: who announces much and sends nothing
 * takes nobody's place. */
static bool count_body(struct slv_exchange *x) {
    struct slv_httpd *h = x->h;
    size_t n = x->body.len > BODY_FREE ? x->body.len - BODY_FREE : 0;
    if (n <= x->body_counted) return true;
    n -= x->body_counted;
    pthread_mutex_lock(&h->bodies_lock);
    bool fits = n <= h->o.bodies_max - h->bodies;
    if (fits) {
        h->bodies += n;
        x->body_counted += n;
    }
    pthread_mutex_unlock(&h->bodies_lock);
    return fits;
}

static void begin_body(struct slv_conn *c) {
    struct slv_exchange *x = c->x;
    if (x->head.content_size > c->h->o.body_max) {
        refuse(c, 413, "the body is too long");
        return;
    }
    slv_body_init(&c->body, &x->head);
    c->state = SLV_CONN_BODY;
    c->came = 0;
    set_timer(c, c->h->o.body_ms);
    if (x->head.expects_continue && !c->body.ended)
        evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
}

/* The body has not ended yet: it may go on coming, if it came. */
static void body_is_late(struct slv_conn *c) {
    if (c->came < (size_t)c->h->o.body_ms * BODY_BYTES_PER_MS) {
        refuse(c, 408, "the request took too long to come");
        return;
    }
    c->came = 0;
    set_timer(c, c->h->o.body_ms);
}

/* Bytes of a head have come. Whether there is more to do. */
static bool take_head(struct slv_conn *c, struct evbuffer *in) {
    struct slv_err err = {0};
    size_t n = evbuffer_get_length(in), most = SLV_HEAD_MAX + 1;
    if (n > most) n = most;
    const char *p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
    if (!n || !p) return false;
    if (!c->any) set_timer(c, c->h->o.head_ms);
    c->any = true;
    size_t end = slv_head_find(p, n), looked = c->looked ? c->looked - 1 : 0;
    int status = slv_head_check(p, end ? end : n, looked, &err);
    if (!status && !end) {
        c->looked = n;
        return false;
    }
    if (!status) status = slv_exchange_open(c, p, end, &c->x, &err);
    if (status) {
        refuse(c, status, err.msg);
        return false;
    }
    evbuffer_drain(in, end);
    begin_body(c);
    return c->state == SLV_CONN_BODY;
}

static bool take_body(struct slv_conn *c, struct evbuffer *in) {
    struct slv_err err = {0};
    struct evbuffer_iovec v;
    while (!c->body.ended && evbuffer_peek(in, -1, NULL, &v, 1) > 0 && v.iov_len) {
        size_t taken = 0;
        int status = slv_body_feed(&c->body, v.iov_base, v.iov_len, &c->x->body, &taken, &err);
        if (status) {
            refuse(c, status, err.msg);
            return false;
        }
        evbuffer_drain(in, taken);
        c->came += taken;
        if (!count_body(c->x)) {
            refuse(c, 503, "too many bodies at once");
            return false;
        }
    }
    if (!c->body.ended) return false;
    hand_over(c);
    return false;
}

static void on_look(evutil_socket_t fd, short what, void *arg) {
    struct slv_conn *c = arg;
    struct pollfd p = {.fd = bufferevent_getfd(c->bev), .events = POLLRDHUP};
    (void)fd;
    (void)what;
    if (poll(&p, 1, 0) > 0) slv_conn_close(c);
}

/* What the client sends on has filled its buffer. Nothing more is read until the reply has ended
 * (or libevent would call on_read all the time), and its end is looked for behind that. (An event
 * of EV_CLOSED would not do: a reset is none, and wakes the loop all the time.) */
static void stop_reading(struct slv_conn *c) {
    static const struct timeval every = {0, 50000};
    bufferevent_disable(c->bev, EV_READ);
    if (!c->look) c->look = event_new(c->h->base, -1, EV_PERSIST, on_look, c);
    if (c->look) evtimer_add(c->look, &every);
}

static void read_again(struct slv_conn *c) {
    if (c->look) evtimer_del(c->look);
    bufferevent_enable(c->bev, EV_READ);
}

static void on_input(struct slv_conn *c) {
    struct evbuffer *in = bufferevent_get_input(c->bev);
    bool more = true;
    while (more) {
        if (c->state == SLV_CONN_HEAD) more = take_head(c, in);
        else if (c->state == SLV_CONN_BODY) more = take_body(c, in);
        else more = false;
    }
    if (c->state == SLV_CONN_BUSY && evbuffer_get_length(in) >= INPUT_MAX) stop_reading(c);
    if (c->state == SLV_CONN_LINGER || c->state == SLV_CONN_FLUSH) {
        c->looked += evbuffer_get_length(in);
        evbuffer_drain(in, evbuffer_get_length(in));
        if (c->state == SLV_CONN_LINGER && c->looked > LINGER_BYTES) slv_conn_close(c);
    }
}

/* --- replies ---------------------------------------------------------------------------------- */

/* The reply has been handed to the socket. */
static void reply_done(struct slv_conn *c) {
    struct slv_exchange *x = c->x;
    bool close = x->close || c->h->stopping;
    read_again(c);
    c->x = NULL;
    x->conn = NULL;
    slv_exchange_put(x);
    if (close) flush_and_close(c);
    else become_idle(c);
    on_input(c); /* what was sent on meanwhile */
}

void slv_conn_flush(struct slv_conn *c) {
    struct slv_exchange *x = c->x;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    if (c->state != SLV_CONN_BUSY) return;
    pthread_mutex_lock(&x->lock);
    bool failed = x->out.status || evbuffer_add(out, x->out.data, x->out.len);
    bool ended = x->ended, begun = x->begun, events = x->events;
    if (ended) slv_buf_fini(&x->out);
    else slv_buf_clear(&x->out);
    pthread_mutex_unlock(&x->lock);
    if (failed || (!ended && evbuffer_get_length(out) > c->h->o.out_max)) slv_conn_close(c);
    else if (ended) reply_done(c);
    else if (begun && events) set_timer(c, c->h->o.comment_ms);
}

/* A line that says nothing: proxies and clients see that the stream lives. */
static void comment(struct slv_conn *c) {
    static const char bytes[] = ": waiting\n\n";
    struct evbuffer *out = bufferevent_get_output(c->bev);
    const size_t n = sizeof bytes - 1;
    if (c->x->chunked) evbuffer_add_printf(out, "%zx\r\n%s\r\n", n, bytes);
    else evbuffer_add(out, bytes, n);
    set_timer(c, c->h->o.comment_ms);
}

void slv_conn_stop(struct slv_conn *c) {
    if (c->state == SLV_CONN_HEAD && !c->any) slv_conn_close(c);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_read(struct bufferevent *bev, void *arg) {
    (void)bev;
    on_input(arg);
}

static void on_write(struct bufferevent *bev, void *arg) {
    struct slv_conn *c = arg;
    (void)bev;
    if (c->state == SLV_CONN_FLUSH) linger(c);
}

static void tell_tls_failure(const struct slv_conn *c, const char *reason, const char *why) {
    if (c->h->o.tls_failed) c->h->o.tls_failed(&c->peer, reason, why, c->h->o.ctx);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    struct slv_conn *c = arg;
    if (what & BEV_EVENT_CONNECTED) {
        c->greeted = true;
        if (c->peer.tls) slv_tls_peer(bufferevent_openssl_get_ssl(c->bev), c->peer.cert);
        return;
    }
    if (!c->greeted) {
        const char *why, *reason = slv_tls_failure(bufferevent_get_openssl_error(bev), &why);
        tell_tls_failure(c, reason, why);
    }
    slv_conn_close(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct slv_conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == SLV_CONN_BUSY) {
        comment(c);
    } else if (c->state == SLV_CONN_BODY) {
        body_is_late(c);
    } else if (c->state == SLV_CONN_HEAD && c->any) {
        refuse(c, 408, "the request took too long to come");
    } else {
        if (!c->greeted) tell_tls_failure(c, "timeout", "the handshake took too long");
        slv_conn_close(c);
    }
}

static struct bufferevent *open_bev(struct slv_httpd *h, int fd, bool tls) {
    if (!tls) return bufferevent_socket_new(h->base, fd, BEV_OPT_CLOSE_ON_FREE);
    SSL *ssl = slv_tls_accept(h->o.tls);
    if (!ssl) return NULL;
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        h->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) SSL_free(ssl);
    else bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

void slv_conn_open(struct slv_httpd *h, int fd, bool is_unix, const struct slv_peer *peer) {
    struct slv_conn *c = slv_mem_calloc(1, sizeof *c);
    const struct timeval write_tv = {h->o.write_ms / 1000, (h->o.write_ms % 1000) * 1000};
    if (!c) {
        evutil_closesocket(fd);
        return;
    }
    *c = (struct slv_conn){.h = h, .peer = *peer};
    c->peer.tls = h->o.tls && !is_unix;
    c->greeted = !c->peer.tls;
    row_add(c);
    atomic_fetch_add(&h->n_conns, 1);
    c->bev = open_bev(h, fd, c->peer.tls);
    c->timer = evtimer_new(h->base, on_timer, c);
    if (!c->bev || !c->timer) {
        if (!c->bev) evutil_closesocket(fd);
        slv_conn_close(c);
        return;
    }
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_MAX);
    bufferevent_set_timeouts(c->bev, NULL, &write_tv);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    set_timer(c, h->o.head_ms); /* the first head, and the handshake before it */
}
