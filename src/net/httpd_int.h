/* httpd_int.h: what httpd.c (opening, listening, running), conn.c (connections) and exchange.c
 * (requests and replies) share.
 *
 * Threads: a connection belongs to the loop's thread. Of an exchange, `out` and what says how far
 * the reply is are under its lock; the head and the body do not change while others hold it. */
#ifndef SLV_NET_HTTPD_INT_H
#define SLV_NET_HTTPD_INT_H

#include "net/httpd.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

struct bufferevent;

enum slv_conn_state {
    SLV_CONN_HEAD,
    SLV_CONN_BODY,
    SLV_CONN_BUSY,
    SLV_CONN_FLUSH,
    SLV_CONN_LINGER
};

struct slv_conn {
    struct slv_httpd *h;
    struct slv_conn *older, *newer; /* of all, by when they became idle or were opened */
    struct bufferevent *bev;
    struct event *timer;
    struct event *look;     /* for the client's end, where nothing is read */
    struct slv_exchange *x; /* in BODY, BUSY */
    enum slv_conn_state state;
    bool greeted;  /* its handshake has ended, or there is none */
    bool any;      /* of the next head there is something */
    size_t looked; /* bytes of it that were found good */
    struct slv_body body;
    size_t came; /* bytes of it since the timer was set */
    struct slv_peer peer;
};

struct slv_exchange {
    struct slv_httpd *h; /* NULL once the server is closed */
    atomic_uint refs;
    struct slv_conn *conn; /* loop's thread; NULL: it is gone */
    char *head_bytes;
    char *fields; /* of any reply's head, besides its own; or NULL */
    struct slv_head head;
    struct slv_peer peer;
    struct slv_buf body;
    size_t body_counted; /* bytes of bodies_max that it takes */
    void *owner;
    void (*on_gone)(void *owner);
    void (*on_close)(void *owner);

    pthread_mutex_t lock;
    struct slv_buf out; /* to be written: the head, and the body or chunks of it */
    bool begun, ended;  /* the reply */
    bool chunked, events, close;
    atomic_bool gone;
    bool queued;               /* in h->ready, under its lock */
    struct slv_exchange *next; /* there */
};

struct slv_listener {
    struct slv_listener *next;
    struct evconnlistener *l;
    bool is_unix;
    char *path; /* of a unix socket */
};

struct slv_httpd {
    struct slv_httpd_opts o;
    struct event_base *base;
    struct event *woken, *drained;
    struct event *again; /* when descriptors had run out */
    int wake_fd;
    struct slv_listener *listeners;
    struct slv_conn ends; /* newer: the oldest connection, older: the newest */
    atomic_uint n_conns;
    size_t bodies; /* bytes of bodies at the moment */
    atomic_bool stop, hurry, poked, wanted;
    bool stopping, over; /* the time to drain */
    void (*on_poke)(void *arg);
    void *poke_arg;

    pthread_mutex_t lock;       /* of: */
    struct slv_exchange *ready; /* something was sent */
    pthread_mutex_t bodies_lock;
};

/* conn.c: takes over a socket; the connection closes itself. */
void slv_conn_open(struct slv_httpd *h, int fd, bool is_unix, const struct slv_peer *peer);
void slv_conn_close(struct slv_conn *c);
/* Writes what the exchange has for it, and goes on when that was all. */
void slv_conn_flush(struct slv_conn *c);
/* The server is stopping: closes itself if nothing is being answered. */
void slv_conn_stop(struct slv_conn *c);

/* exchange.c: with one reference, of the connection's. head[0..n) is copied and read: 0, or the
 * status to answer with. */
int slv_exchange_open(struct slv_conn *c, const char *head, size_t n, struct slv_exchange **ret,
                      struct slv_err *err) SLV_MUST_USE;
/* The client has left. */
void slv_exchange_lost(struct slv_exchange *x);
/* A head and whole body of a reply. */
void slv_reply_write(struct slv_buf *out, const struct slv_reply *r, bool keep_alive,
                     bool has_length, size_t n);

void slv_httpd_wake(struct slv_httpd *h);

#endif
