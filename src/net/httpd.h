/* httpd.h: an HTTP/1.1 server: sockets, connections, requests and their replies.
 *
 * One thread, which calls slv_httpd_run, owns all sockets. For each request it makes an exchange
 * and calls `handle`, which must not wait. Whoever holds an exchange replies to it, whole or piece
 * by piece, from any thread: what is sent goes to a buffer of the exchange, and the loop's thread
 * is woken to write it out.
 *
 *     socket -> head, body (head.h) -> exchange -> handle -> ... -> slv_exchange_reply
 *                                         ^ gone: the client has left
 *
 * A connection is in one of these states:
 *
 *     HEAD      a head is coming, or nothing (idle)
 *     BODY      a body is coming
 *     BUSY      an exchange is being answered; what the client sends on waits in its buffer
 *     FLUSH     the last reply is being written; then
 *     LINGER    what still comes is thrown away for a moment, so that the reply is not lost with it
 *
 * It is closed, and its exchange told, as soon as the client closes its side, is silent for too
 * long while something is expected of it, or does not read what it gets. Where all connections are
 * taken, the one that has been idle longest makes room, or else the oldest of which nothing is
 * being answered.
 *
 * Memory is bounded: by the number of connections, 64 KiB of input, 64 KiB of a body and out_max of
 * output each, and bodies_max for what is longer of all bodies together. */
#ifndef SLV_NET_HTTPD_H
#define SLV_NET_HTTPD_H

#include "net/head.h"
#include "net/tls.h"

struct event_base;
struct slv_httpd;
struct slv_exchange;
struct slv_peer;

/* Zeros are good defaults but for `handle`. */
struct slv_httpd_opts {
    void (*handle)(struct slv_exchange *x, void *ctx); /* on the loop's thread; x is a reference of
                                                          the handler's: slv_exchange_put */
    /* A request that was refused before there was an exchange, for who counts; may be NULL. */
    void (*refused)(int status, void *ctx);
    /* A handshake that failed: reason and why as slv_tls_failure has them, or "timeout". On the
     * loop's thread; may be NULL. */
    void (*tls_failed)(const struct slv_peer *peer, const char *reason, const char *why, void *ctx);
    /* The time for draining is over: whoever still answers has two seconds to end its reply. On the
     * loop's thread, once; may be NULL. */
    void (*late)(void *ctx);
    void *ctx;
    struct slv_tls *tls;      /* NULL: plain. Borrowed; unix sockets are always plain */
    uint32_t connections_max; /* 0: 1024 */
    size_t body_max;          /* bytes of one body; 0: 32 MiB */
    size_t bodies_max;        /* of all at a time; 0: 256 MiB */
    size_t out_max;           /* not read by a client yet, while more is made; 0: 4 MiB */
    /* Milliseconds. A head must be there after head_ms; of a body, all or 8 bytes a millisecond
     * must have come every body_ms; a client must take something every write_ms. */
    uint32_t idle_ms, head_ms, body_ms, write_ms; /* 0: 75 s, 10 s, 20 s, 60 s */
    uint32_t comment_ms;                          /* silence of an event stream; 0: 10 s */
};

int slv_httpd_open(const struct slv_httpd_opts *o, struct slv_httpd **ret,
                   struct slv_err *err) SLV_MUST_USE;
/* After slv_httpd_run; nobody holds an exchange any more. */
void slv_httpd_close(struct slv_httpd *h);

/* "127.0.0.1:8080", "[::1]:0", "unix:PATH". Port 0: one that the system picks. *ret_port (may be
 * NULL) says which, 0 for a unix socket. A stale unix socket is replaced. SLV_E_USAGE: not such an
 * address; SLV_E_IO "ADDRESS: WHY". */
int slv_httpd_listen(struct slv_httpd *h, const char *address, uint16_t *ret_port,
                     struct slv_err *err) SLV_MUST_USE;

/* Whether it is such an address, before anything is opened, and whether only this machine reaches
 * it. SLV_E_USAGE as above. */
int slv_httpd_check(const char *address, bool *ret_local, struct slv_err *err) SLV_MUST_USE;

/* The loop, for who has sockets and timers of his own on the same thread; the server's. */
struct event_base *slv_httpd_base(const struct slv_httpd *h);

/* Blocks SIGPIPE in its thread. Serves until slv_httpd_stop and, after that, until all exchanges
 * are answered, drain_ms have passed or slv_httpd_hurry was called: those that are left are told
 * by `late`, and lose their clients if that does not help. */
int slv_httpd_run(struct slv_httpd *h, uint32_t drain_ms, struct slv_err *err) SLV_MUST_USE;

/* New connections are refused, idle ones closed. From any thread or a signal handler. */
void slv_httpd_stop(struct slv_httpd *h);
/* The same, and draining ends now. From any thread or a signal handler. */
void slv_httpd_hurry(struct slv_httpd *h);

/* Makes the loop's thread call fn(arg) soon, once for any number of calls before that. From any
 * thread or a signal handler. One fn for a server: set before it runs. */
void slv_httpd_on_poke(struct slv_httpd *h, void (*fn)(void *arg), void *arg);
void slv_httpd_poke(struct slv_httpd *h);

/* Connections there are. Threads: any. */
uint32_t slv_httpd_connections(const struct slv_httpd *h);

/* --- exchanges -------------------------------------------------------------------------------- */

/* Who asks: "127.0.0.1:40312" or "unix", and the SHA-256 of its certificate or "". */
struct slv_peer {
    char address[64];
    char cert[SLV_TLS_NAME];
    bool is_local; /* a unix socket, or an address of this machine's loopback */
    bool tls;
};

const struct slv_head *slv_exchange_head(const struct slv_exchange *x);
const struct slv_peer *slv_exchange_peer(const struct slv_exchange *x);
/* The whole body; a NUL follows. */
struct slv_str slv_exchange_body(const struct slv_exchange *x);
/* Lets go of it. */
void slv_exchange_drop_body(struct slv_exchange *x);

/* From `handle` only. owner belongs to the exchange: close(owner) is called when nobody holds it
 * any more; gone(owner), on the loop's thread, when the client leaves before its reply has ended.
 * Either may be NULL. */
void slv_exchange_own(struct slv_exchange *x, void *owner, void (*gone)(void *owner),
                      void (*close)(void *owner));
void *slv_exchange_owner(const struct slv_exchange *x);

/* From `handle` only, before a reply: its head has these too, each ending in CRLF. Copied; what
 * there is no memory for is left out. */
void slv_exchange_add_fields(struct slv_exchange *x, const char *fields);

void slv_exchange_hold(struct slv_exchange *x);
void slv_exchange_put(struct slv_exchange *x);

/* A reply's head. `fields`: more of them, each ending in CRLF, or "". */
struct slv_reply {
    int status;
    const char *type; /* of the content */
    const char *fields;
    bool close; /* the connection, after it */
};

/* A whole reply. The first reply or stream of an exchange counts, others are nothing. Threads: any,
 * as below. */
void slv_exchange_reply(struct slv_exchange *x, const struct slv_reply *r, const void *p, size_t n);

/* A reply in pieces; r->type "text/event-stream" gets comments while it is silent. What cannot be
 * kept for lack of memory ends the connection. */
void slv_exchange_begin(struct slv_exchange *x, const struct slv_reply *r);
void slv_exchange_send(struct slv_exchange *x, const void *p, size_t n);
void slv_exchange_end(struct slv_exchange *x);

/* Whether the client has left. */
bool slv_exchange_is_gone(const struct slv_exchange *x);

/* "Not Found" */
const char *slv_status_text(int status);

#endif
