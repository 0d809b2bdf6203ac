/* exchange.c: a request and its reply: see httpd.h. */
#include "base/mem.h"
#include "net/httpd_int.h"

#include <stdio.h>
#include <string.h>

#define EVENTS "text/event-stream" /* with or without parameters */

const char *slv_status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } rows[] = {{200, "OK"},
                {204, "No Content"},
                {400, "Bad Request"},
                {401, "Unauthorized"},
                {403, "Forbidden"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {408, "Request Timeout"},
                {409, "Conflict"},
                {413, "Content Too Large"},
                {414, "URI Too Long"},
                {415, "Unsupported Media Type"},
                {417, "Expectation Failed"},
                {421, "Misdirected Request"},
                {429, "Too Many Requests"},
                {431, "Request Header Fields Too Large"},
                {500, "Internal Server Error"},
                {501, "Not Implemented"},
                {503, "Service Unavailable"},
                {504, "Gateway Timeout"},
                {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status) return rows[i].text;
    return "Status";
}

void slv_reply_write(struct slv_buf *out, const struct slv_reply *r, bool keep_alive,
                     bool has_length, size_t n) {
    slv_buf_addf(out, "HTTP/1.1 %d %s\r\n", r->status, slv_status_text(r->status));
    if (r->type) slv_buf_addf(out, "Content-Type: %s\r\n", r->type);
    if (has_length) slv_buf_addf(out, "Content-Length: %zu\r\n", n);
    else if (keep_alive) slv_buf_adds(out, "Transfer-Encoding: chunked\r\n");
    slv_buf_addf(out, "Connection: %s\r\n%s\r\n", keep_alive ? "keep-alive" : "close",
                 r->fields ? r->fields : "");
}

/* --- life ------------------------------------------------------------------------------------- */

int slv_exchange_open(struct slv_conn *c, const char *head, size_t n, struct slv_exchange **ret,
                      struct slv_err *err) {
    struct slv_exchange *x = slv_mem_calloc(1, sizeof *x);
    if (x) x->head_bytes = slv_mem_strndup(head, n);
    if (!x || !x->head_bytes) {
        slv_mem_free(x);
        slv_err_set(err, SLV_E_NOMEM, "out of memory");
        return 503;
    }
    int status = slv_head_read(x->head_bytes, n, &x->head, err);
    if (status) {
        slv_mem_free(x->head_bytes);
        slv_mem_free(x);
        return status;
    }
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->lock, NULL);
    x->h = c->h;
    x->conn = c;
    x->peer = c->peer;
    slv_buf_init(&x->body, c->h->o.body_max);
    slv_buf_init(&x->out, SIZE_MAX / 2);
    *ret = x;
    return 0;
}

void slv_exchange_hold(struct slv_exchange *x) {
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
}

void slv_exchange_drop_body(struct slv_exchange *x) {
    pthread_mutex_lock(&x->h->bodies_lock);
    x->h->bodies -= x->body_counted;
    pthread_mutex_unlock(&x->h->bodies_lock);
    x->body_counted = 0;
    slv_buf_fini(&x->body);
}

void slv_exchange_put(struct slv_exchange *x) {
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1) return;
    if (x->on_close) x->on_close(x->owner);
    slv_exchange_drop_body(x);
    slv_buf_fini(&x->out);
    pthread_mutex_destroy(&x->lock);
    slv_mem_free(x->fields);
    slv_mem_free(x->head_bytes);
    slv_mem_free(x);
}

void slv_exchange_add_fields(struct slv_exchange *x, const char *fields) {
    slv_mem_free(x->fields);
    x->fields = slv_mem_strndup(fields, strlen(fields));
}

void slv_exchange_own(struct slv_exchange *x, void *owner, void (*gone)(void *owner),
                      void (*close)(void *owner)) {
    x->owner = owner;
    x->on_gone = gone;
    x->on_close = close;
}

void *slv_exchange_owner(const struct slv_exchange *x) { return x->owner; }

void slv_exchange_lost(struct slv_exchange *x) {
    x->conn = NULL;
    atomic_store(&x->gone, true);
    if (x->on_gone) x->on_gone(x->owner);
    slv_exchange_put(x);
}

const struct slv_head *slv_exchange_head(const struct slv_exchange *x) { return &x->head; }

const struct slv_peer *slv_exchange_peer(const struct slv_exchange *x) { return &x->peer; }

struct slv_str slv_exchange_body(const struct slv_exchange *x) {
    return (struct slv_str){x->body.data, x->body.len};
}

bool slv_exchange_is_gone(const struct slv_exchange *x) { return atomic_load(&x->gone); }

/* --- replies ---------------------------------------------------------------------------------- */

/* The loop's thread will look at it. */
static void ready(struct slv_exchange *x) {
    struct slv_httpd *h = x->h;
    pthread_mutex_lock(&h->lock);
    bool was = x->queued;
    if (!was) {
        slv_exchange_hold(x);
        x->queued = true;
        x->next = h->ready;
        h->ready = x;
    }
    pthread_mutex_unlock(&h->lock);
    if (!was) slv_httpd_wake(h);
}

static bool begin(struct slv_exchange *x, const struct slv_reply *r, bool has_length, size_t n) {
    if (x->begun || x->ended) return false;
    x->begun = true;
    x->close = r->close || !x->head.keep_alive || (!has_length && x->head.minor == 0);
    x->chunked = !has_length && !x->close;
    slv_reply_write(&x->out, r, !x->close, has_length, n);
    if (!x->fields) return true;
    x->out.len -= 2; /* before the empty line */
    slv_buf_addf(&x->out, "%s\r\n", x->fields);
    return true;
}

void slv_exchange_reply(struct slv_exchange *x, const struct slv_reply *r, const void *p,
                        size_t n) {
    pthread_mutex_lock(&x->lock);
    if (begin(x, r, true, n)) {
        if (x->head.method != SLV_METHOD_HEAD) slv_buf_add(&x->out, p, n);
        x->ended = true;
    }
    pthread_mutex_unlock(&x->lock);
    ready(x);
}

void slv_exchange_begin(struct slv_exchange *x, const struct slv_reply *r) {
    pthread_mutex_lock(&x->lock);
    if (begin(x, r, false, 0)) x->events = r->type && !strncmp(r->type, EVENTS, strlen(EVENTS));
    pthread_mutex_unlock(&x->lock);
    ready(x);
}

void slv_exchange_send(struct slv_exchange *x, const void *p, size_t n) {
    if (!n || slv_exchange_is_gone(x)) return;
    pthread_mutex_lock(&x->lock);
    if (x->begun && !x->ended) {
        if (x->chunked) slv_buf_addf(&x->out, "%zx\r\n", n);
        slv_buf_add(&x->out, p, n);
        if (x->chunked) slv_buf_adds(&x->out, "\r\n");
    }
    pthread_mutex_unlock(&x->lock);
    ready(x);
}

void slv_exchange_end(struct slv_exchange *x) {
    pthread_mutex_lock(&x->lock);
    if (x->begun && !x->ended) {
        if (x->chunked) slv_buf_adds(&x->out, "0\r\n\r\n");
        x->ended = true;
    }
    pthread_mutex_unlock(&x->lock);
    ready(x);
}
