/* mesh.c: a node of the mesh before admins: what is asked below /mesh goes on to the node's unix
 * socket (mesh/service.h), and its answer comes back.
 *
 *     GET              /mesh/status              who is there
 *     GET              /mesh/spaces              what is shared
 *     GET              /mesh/spaces/S/keys       ?after=KEY&limit=N
 *     GET, PUT, DELETE /mesh/spaces/S/keys/K
 *     GET              /mesh/spaces/S/watch      server-sent events, one for each change
 *     GET              /mesh/metrics             for Prometheus
 *
 * and nothing else does; a session's token, "Selvage-Token", goes both ways with it. With keys an
 * admin's is wanted; without, a peer of this machine. Without a node (serve.h) there is no such
 * path.
 *
 * A request that is passed on is a relay, which belongs to its exchange and to the loop's thread:
 *
 *     CONNECTING   the porter was asked for a connection (porter.h)
 *     HEAD         the request is going; no whole head of a reply has come
 *     WHOLE        a body of so many bytes comes, and is sent on when it is there
 *     EVENTS       events come, and are sent on, each when it is whole
 *     OVER         the reply has ended, or its client has left
 *
 * Each has a connection of its own, which ends with it: a client that leaves is a request that
 * ends. What comes of the node is bounded: REPLY_MAX a reply, EVENT_MAX an event, BYTES_MAX of all
 * that wait to be whole; so are relays and, of these, watches. A watcher that does not read loses
 * its connection when more waits for it than the server keeps (httpd.h). A node that is silent for
 * SILENT_S is given up; while it is watched it says something every ten seconds. */
#define _GNU_SOURCE /* memmem */
#include "base/log.h"
#include "base/mem.h"
#include "serve/mesh_head.h"
#include "serve/porter.h"
#include "serve/serve_int.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROOT "/mesh"
#define RELAYS_MAX 32u
#define WATCHES_MAX 64u
#define REPLY_MAX ((size_t)16 << 20)
#define EVENT_MAX ((size_t)1 << 20)
#define BYTES_MAX ((size_t)64 << 20)
#define SILENT_S 30

#define GET (1u << SLV_METHOD_GET | 1u << SLV_METHOD_HEAD)
#define PUT (1u << SLV_METHOD_PUT)
#define DELETE (1u << SLV_METHOD_DELETE)

static const char fields[] = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/* What may be asked. In a path '*' is a part of one; at its end, all that is left. */
static const struct row {
    const char *path; /* behind ROOT */
    const char *root; /* what the node has in its place */
    uint32_t methods;
    bool watches;
    const char *type; /* of the reply */
} rows[] = {{"/status", "/v1", GET, false, "application/json"},
            {"/spaces", "/v1", GET, false, "application/json"},
            {"/spaces/*/keys", "/v1", GET, false, "application/json"},
            {"/spaces/*/keys/*", "/v1", GET | PUT | DELETE, false, "application/json"},
            {"/spaces/*/watch", "/v1", 1u << SLV_METHOD_GET, true, "text/event-stream"},
            {"/metrics", "", GET, false, "text/plain; version=0.0.4"}};

enum stage { CONNECTING, HEAD, WHOLE, EVENTS, OVER };

struct relay {
    struct relay *next; /* of all that are not over, by arrival */
    struct serve_mesh *m;
    struct slv_exchange *x; /* a reference, until it is over */
    const struct row *row;
    enum stage stage;
    struct bufferevent *bev;     /* from HEAD on */
    struct slv_buf in;           /* of the node, not sent on yet */
    size_t looked;               /* bytes of it in which no event ends */
    struct serve_mesh_head head; /* without its token, which is in fields */
    struct slv_buf fields;       /* of the reply */
    char who[SLV_APIKEY_ID];     /* the key, or "" */
};

struct serve_mesh {
    struct slv_serve *s;
    struct slv_porter *porter;
    struct event *came; /* NULL: the porter has ended */
    struct relay *first;
    uint32_t n[2]; /* relays, by whether they watch */
    size_t bytes;  /* of all their `in` */
};

/* --- ends ------------------------------------------------------------------------------------- */

static void drop(struct relay *r, size_t n) {
    memmove(r->in.data, r->in.data + n, r->in.len - n);
    r->in.len -= n;
    r->m->bytes -= n;
}

/* Nothing more is asked of the node, or told. May free r. */
static void finish(struct relay *r) {
    struct serve_mesh *m = r->m;
    struct relay **at = &m->first;
    if (r->stage == OVER) return;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->stage = OVER;
    m->n[r->row->watches]--;
    if (r->bev) bufferevent_free(r->bev);
    drop(r, r->in.len);
    slv_buf_fini(&r->in);
    slv_buf_fini(&r->fields);
    slv_exchange_put(r->x);
}

static void count(const struct relay *r, int status) {
    char text[8];
    snprintf(text, sizeof text, "%d", status);
    slv_metrics_add(r->m->s->metrics, M_MESH_REQUESTS, text, NULL, 1.0);
}

/* Before anything of a reply was sent. */
static void refuse(struct relay *r, int status, const char *why) {
    struct serve_fail f = {0};
    serve_refuse(&f, status, NULL, "mesh", "%s", why);
    if (status == 503) f.retry_s = 1;
    count(r, status);
    serve_reply_fail(r->m->s, r->x, API_CHAT, &f);
    finish(r);
}

/* A stream ends before its client does. */
static void end_events(struct relay *r, const char *why) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 4096);
    slv_json_init(&j, &b);
    slv_buf_adds(&b, "data: ");
    slv_json_object(&j, NULL);
    slv_json_object(&j, "error");
    slv_json_str(&j, "message", why);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
    slv_buf_adds(&b, "\n\n");
    if (!b.status) slv_exchange_send(r->x, b.data, b.len);
    slv_buf_fini(&b);
    slv_exchange_end(r->x);
    finish(r);
}

static bool is_write(const struct relay *r) {
    const enum slv_method m = slv_exchange_head(r->x)->method;
    return m == SLV_METHOD_PUT || m == SLV_METHOD_DELETE;
}

/* Whatever it was doing, it cannot go on. A write that the node was asked for may be done: who
 * hears of a 503 might do it again. */
static void fail(struct relay *r, const char *why) {
    char text[200];
    if (r->stage == EVENTS) {
        end_events(r, why);
    } else if (r->stage == CONNECTING || !is_write(r)) {
        refuse(r, 503, why);
    } else {
        snprintf(text, sizeof text, "%s: it may have been written, or not", why);
        refuse(r, 504, text);
    }
}

static void on_gone(void *relay) { finish(relay); }

static void on_close(void *relay) { slv_mem_free(relay); }

/* --- what the node says ----------------------------------------------------------------------- */

static void told(const struct relay *r) {
    const struct slv_head *h = slv_exchange_head(r->x);
    count(r, r->head.status);
    if (!is_write(r)) return;
    slv_log(SLV_LOG_INFO, "%s %.*s %.*s %d %s", slv_exchange_peer(r->x)->address,
            (int)h->method_text.n, h->method_text.p, (int)h->path.n, h->path.p, r->head.status,
            *r->who ? r->who : "without a key");
}

/* False: out of memory. */
static bool keep_fields(struct relay *r) {
    const struct slv_str token = r->head.token;
    slv_buf_adds(&r->fields, fields);
    if (token.p) slv_buf_addf(&r->fields, SERVE_MESH_TOKEN ": %.*s\r\n", (int)token.n, token.p);
    r->head.token = (struct slv_str){NULL, 0};
    return !r->fields.status;
}

static void take_head(struct relay *r) {
    const int rc = serve_mesh_head_read(r->in.data, r->in.len, &r->head);
    if (rc == SLV_E_BUSY) return;
    const bool events = !rc && r->row->watches && r->head.status == 200;
    if (rc || r->head.has_size == events) {
        fail(r, "the mesh's node does not answer as one");
        return;
    }
    if (r->head.size > REPLY_MAX) {
        refuse(r, 413, "the mesh's node says more than is passed on: ask it by its socket");
        return;
    }
    if (!keep_fields(r)) {
        fail(r, "out of memory");
        return;
    }
    drop(r, r->head.n);
    r->stage = events ? EVENTS : WHOLE;
    if (!events) return;
    told(r);
    const struct slv_reply reply = {.status = 200, .type = r->row->type, .fields = r->fields.data};
    slv_exchange_begin(r->x, &reply);
}

static void take_whole(struct relay *r) {
    const struct slv_reply reply = {.status = r->head.status,
                                    .type =
                                        r->head.status == 200 ? r->row->type : "application/json",
                                    .fields = r->fields.data};
    if (r->in.len < r->head.size) return;
    told(r);
    slv_exchange_reply(r->x, &reply, r->in.data, (size_t)r->head.size);
    finish(r);
}

/* Whole events only: between two of them the server may say that the stream lives, and for the
 * same reason what the node says of that is left out. */
static void take_events(struct relay *r) {
    size_t from = 0, at = r->looked;
    const char *end;
    while ((end = memmem(r->in.data + at, r->in.len - at, "\n\n", 2)) != NULL) {
        at = (size_t)(end - r->in.data) + 2;
        if (r->in.data[from] != ':') slv_exchange_send(r->x, r->in.data + from, at - from);
        from = at;
    }
    drop(r, from);
    r->looked = r->in.len ? r->in.len - 1 : 0;
    if (r->in.len > EVENT_MAX)
        end_events(r, "a value is longer than is passed on: ask the node by its socket");
}

/* False: there is no room for it. */
static bool take_bytes(struct relay *r) {
    struct evbuffer *in = bufferevent_get_input(r->bev);
    const size_t n = evbuffer_get_length(in);
    if (n > BYTES_MAX - r->m->bytes || slv_buf_reserve(&r->in, n)) return false;
    const int got = evbuffer_remove(in, r->in.data + r->in.len, n);
    if (got < 0 || (size_t)got != n) return false;
    r->in.len += n;
    r->m->bytes += n;
    return true;
}

static void on_read(struct bufferevent *bev, void *relay) {
    struct relay *r = relay;
    (void)bev;
    if (!take_bytes(r)) {
        fail(r, "too much of the mesh waits for its readers");
        return;
    }
    slv_exchange_hold(r->x); /* r is there until the end of this */
    if (r->stage == HEAD) take_head(r);
    if (r->stage == WHOLE) take_whole(r);
    if (r->stage == EVENTS) take_events(r);
    slv_exchange_put(r->x);
}

static void on_event(struct bufferevent *bev, short what, void *relay) {
    (void)bev;
    fail(relay, what & BEV_EVENT_TIMEOUT ? "the mesh's node does not answer"
                                         : "the mesh's node has ended");
}

/* --- what it is asked ------------------------------------------------------------------------- */

static bool write_request(const struct relay *r, struct evbuffer *out) {
    const struct slv_head *h = slv_exchange_head(r->x);
    const struct slv_str body = slv_exchange_body(r->x);
    const enum slv_method method = h->method == SLV_METHOD_HEAD ? SLV_METHOD_GET : h->method;
    const struct slv_str token = slv_head_field(h, "selvage-token");
    const size_t skip = sizeof ROOT - 1;
    int n = evbuffer_add_printf(
        out, "%s %s%.*s%s%.*s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %zu\r\n",
        slv_method_name(method), r->row->root, (int)(h->path.n - skip), h->path.p + skip,
        h->query.n ? "?" : "", (int)h->query.n, h->query.n ? h->query.p : "", body.n);
    if (n > 0 && token.p)
        n = evbuffer_add_printf(out, SERVE_MESH_TOKEN ": %.*s\r\n", (int)token.n, token.p);
    if (n > 0) n = evbuffer_add_printf(out, "\r\n");
    /* (the exchange has it for as long as the relay has the exchange) */
    return n > 0 && (!body.n || !evbuffer_add_reference(out, body.p, body.n, NULL, NULL));
}

static void go_on(struct relay *r, int fd) {
    static const struct timeval silent = {SILENT_S, 0};
    r->bev = bufferevent_socket_new(slv_httpd_base(r->m->s->httpd), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!r->bev) close(fd);
    if (!r->bev || !write_request(r, bufferevent_get_output(r->bev))) {
        refuse(r, 503, "out of memory");
        return;
    }
    r->stage = HEAD;
    bufferevent_setcb(r->bev, on_read, NULL, on_event, r);
    bufferevent_set_timeouts(r->bev, &silent, &silent);
    bufferevent_enable(r->bev, EV_READ | EV_WRITE);
}

static struct relay *first_connecting(struct serve_mesh *m) {
    struct relay *r = m->first;
    while (r && r->stage != CONNECTING)
        r = r->next;
    return r;
}

/* The porter has ended: nobody is connected any more. */
static void lose_porter(struct serve_mesh *m, const struct slv_err *why) {
    struct relay *r;
    slv_log(SLV_LOG_ERROR, "mesh: %s", why->msg);
    event_free(m->came);
    m->came = NULL;
    while ((r = first_connecting(m)) != NULL)
        refuse(r, 503, why->msg);
}

/* Connections come in the order in which they were asked for; where the one who asked has left, the
 * next takes its, and the last finds nobody. */
static void on_came(evutil_socket_t porter, short what, void *mesh) {
    struct serve_mesh *m = mesh;
    (void)porter;
    (void)what;
    while (m->came) {
        struct slv_err err = {0};
        char why[sizeof err.msg + 40];
        int fd = -1;
        const int rc = slv_porter_take(m->porter, &fd, &err);
        if (rc == SLV_E_BUSY) return;
        struct relay *r = first_connecting(m);
        if (rc == SLV_E_IO) {
            lose_porter(m, &err);
        } else if (!r) {
            if (!rc) close(fd);
        } else if (rc) {
            snprintf(why, sizeof why, "the mesh's node cannot be reached: %s", err.msg);
            refuse(r, 503, why);
        } else {
            go_on(r, fd);
        }
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static bool matches(const char *pattern, struct slv_str path) {
    const char *p = path.p, *end = path.p + path.n;
    for (; *pattern; pattern++) {
        if (*pattern != '*') {
            if (p == end || *p++ != *pattern) return false;
            continue;
        }
        if (p == end || *p == '/') return false;
        while (p < end && (!pattern[1] || *p != '/'))
            p++;
    }
    return p == end;
}

static const struct row *find_row(const struct slv_head *h, struct serve_fail *f) {
    const size_t skip = sizeof ROOT - 1;
    const struct slv_str path = {h->path.p + skip, h->path.n - skip};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!matches(rows[i].path, path)) continue;
        if (rows[i].methods & 1u << h->method) return &rows[i];
        f->methods = rows[i].methods;
        serve_refuse(f, 405, NULL, "wrong_method", "%.*s does not take %.*s", (int)h->path.n,
                     h->path.p, (int)h->method_text.n, h->method_text.p);
        return NULL;
    }
    serve_refuse(f, 404, NULL, "not_found", "there is nothing at %.*s", (int)h->path.n, h->path.p);
    return NULL;
}

static bool start(struct serve_mesh *m, struct slv_exchange *x, const struct row *row,
                  const struct slv_apikey *key, struct serve_fail *f) {
    const uint32_t most = row->watches ? WATCHES_MAX : RELAYS_MAX;
    struct slv_err err = {0};
    struct relay **at = &m->first;
    if (!m->came) return serve_refuse(f, 503, NULL, "mesh", "who connects has ended");
    f->retry_s = 1;
    if (m->n[row->watches] >= most)
        return serve_refuse(f, 503, NULL, "mesh", "the mesh has %u %s already", most,
                            row->watches ? "watchers" : "requests");
    if (slv_porter_ask(m->porter, &err)) return serve_refuse(f, 503, NULL, "mesh", "%s", err.msg);
    struct relay *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    *r = (struct relay){.m = m, .x = x, .row = row};
    snprintf(r->who, sizeof r->who, "%s", key ? key->id : "");
    slv_buf_init(&r->in, REPLY_MAX + SERVE_MESH_HEAD_MAX + 65536);
    slv_buf_init(&r->fields, 2 * SERVE_MESH_HEAD_MAX);
    slv_exchange_hold(x);
    slv_exchange_own(x, r, on_gone, on_close);
    while (*at)
        at = &(*at)->next;
    *at = r;
    m->n[row->watches]++;
    return true;
}

void serve_mesh(struct slv_serve *s, struct slv_exchange *x) {
    const struct slv_apikey *key = NULL;
    struct serve_user *user;
    struct serve_fail f = {0};
    bool ok = serve_auth(s, x, &key, &user, &f) && serve_may_administer(s, x, key, &f);
    if (ok && atomic_load(&s->audit_failed))
        ok = serve_refuse(&f, 503, NULL, "audit_failed", "the audit log cannot be written");
    if (ok && atomic_load(&s->stopping)) ok = serve_refuse_stopping(&f);
    const struct row *row = ok ? find_row(slv_exchange_head(x), &f) : NULL;
    if (!row || !start(s->mesh, x, row, key, &f)) serve_reply_fail(s, x, API_CHAT, &f);
    slv_apikey_put(key);
}

/* --- life ------------------------------------------------------------------------------------- */

int serve_mesh_open(struct slv_serve *s, struct slv_err *err) {
    if (!s->o.mesh) return 0;
    struct serve_mesh *m = slv_mem_calloc(1, sizeof *m);
    if (!m) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    *m = (struct serve_mesh){.s = s, .porter = s->o.mesh};
    s->mesh = m;
    m->came = event_new(slv_httpd_base(s->httpd), slv_porter_fd(m->porter), EV_READ | EV_PERSIST,
                        on_came, m);
    if (!m->came || event_add(m->came, NULL))
        return slv_err_set(err, SLV_E_NOMEM, "event loop: out of memory");
    return 0;
}

uint32_t serve_mesh_watches(const struct slv_serve *s) { return s->mesh ? s->mesh->n[true] : 0; }

void serve_mesh_stop(struct slv_serve *s) {
    for (struct relay *r = s->mesh ? s->mesh->first : NULL, *next; r; r = next) {
        next = r->next;
        if (r->stage == EVENTS) end_events(r, "the server is stopping");
    }
}

void serve_mesh_close(struct slv_serve *s) {
    struct serve_mesh *m = s->mesh;
    if (!m) return;
    while (m->first)
        finish(m->first);
    if (m->came) event_free(m->came);
    slv_mem_free(m);
    s->mesh = NULL;
}
