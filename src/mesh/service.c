/* service.c: see service.h. */
#include "mesh/service_int.h"
#include "base/mem.h"
#include "mesh/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOT "/v1/spaces/"

/* --- replies ---------------------------------------------------------------------------------- */

void service_reply(struct slv_service *s, struct slv_exchange *x, const struct service_seen *seen,
                   int status, struct slv_buf *b) {
    struct slv_buf fields;
    slv_buf_init(&fields, SLV_TOKEN_MAX + 64);
    if (seen && !b->status) service_session_field(s, x, seen, &fields);
    const struct slv_reply r = {
        .status = b->status ? 500 : status, .type = "application/json", .fields = fields.data};
    slv_buf_addc(b, '\n');
    slv_exchange_reply(x, &r, b->data, b->status ? 0 : b->len);
    slv_buf_fini(&fields);
    slv_buf_fini(b);
}

void service_refuse(struct slv_exchange *x, int status, const char *why) {
    service_tell_none(NULL, x, NULL, status, why);
}

void service_tell_none(struct slv_service *s, struct slv_exchange *x,
                       const struct service_seen *seen, int status, const char *why) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 4096);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_object(&j, "error");
    slv_json_str(&j, "message", why);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
    service_reply(s, x, seen, status, &b);
}

int service_status_of(int rc) {
    switch (rc) {
    case SLV_E_NOENT:
        return 404;
    case SLV_E_BUSY:
        return 409;
    case SLV_E_LIMIT:
        return 413;
    case SLV_E_NOMEM:
        return 503;
    case SLV_E_IO:
        return 500;
    case SLV_E_TRUST:
        return 403;
    default:
        return 400;
    }
}

void service_begin(struct slv_buf *b, struct slv_json *j) {
    slv_buf_init(b, BODY_MAX);
    slv_json_init(j, b);
}

/* --- spaces and keys -------------------------------------------------------------------------- */

static void tell_history(const struct slv_node *n, size_t i, struct slv_json *j) {
    const struct slv_history *h = slv_replica_history(slv_node_replica(n, i));
    slv_json_uint(j, "history_ms", slv_node_space_conf(n, i)->history_ms);
    slv_json_uint(j, "history_since_ms", slv_history_reach(h));
    slv_json_uint(j, "history_bytes", slv_history_bytes(h));
}

void service_tell_space(const struct slv_node *n, size_t i, struct slv_json *j) {
    const struct slv_space_conf *c = slv_node_space_conf(n, i);
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, slv_replica_id(slv_node_replica(n, i)));
    slv_json_object(j, NULL);
    slv_json_strn(j, "name", c->name.p, c->name.n);
    slv_json_str(j, "type", slv_mesh_type_name(c->type));
    slv_json_str(j, "order", c->causal ? "causal" : "eventual");
    if (c->ttl_ms) slv_json_uint(j, "ttl_ms", c->ttl_ms);
    if (c->history_ms) tell_history(n, i, j);
    slv_json_str(j, "id", id);
    slv_json_uint(j, "entries", slv_entries_count(slv_node_read(n, i)->entries));
    slv_json_uint(j, "writers", slv_replica_writers(slv_node_replica(n, i)));
    slv_json_uint(j, "bytes", slv_entries_bytes(slv_node_read(n, i)->entries));
    if (c->max) slv_json_uint(j, "max", c->max);
    slv_json_bool(j, "full", slv_replica_is_full(slv_node_replica(n, i)));
    slv_json_object_end(j);
}

static void list_spaces(struct slv_service *s, struct slv_exchange *x) {
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_json_array(&j, NULL);
    for (size_t i = 0; i < slv_node_spaces(s->conf.node); i++)
        service_tell_space(s->conf.node, i, &j);
    for (size_t i = 0; i < slv_node_agreed_count(s->conf.node); i++)
        service_strong_tell_space(s->conf.node, i, &j);
    slv_json_array_end(&j);
    service_reply(s, x, NULL, 200, &b);
}

static void write_value(struct slv_service *s, size_t space, struct slv_str key, struct slv_json *j,
                        bool *ret_there) {
    const struct slv_node *n = s->conf.node;
    const struct slv_space_conf *c = slv_node_space_conf(n, space);
    const int rc = slv_value_read(slv_node_read(n, space), c->type, key, slv_node_writer(n), j,
                                  "value", ret_there);
    if (rc && !j->out->status) j->out->status = rc;
}

static void get_key(struct slv_service *s, struct slv_exchange *x, size_t space,
                    struct slv_str key) {
    const struct slv_space_conf *c = slv_node_space_conf(s->conf.node, space);
    const struct service_seen seen = {.space = space};
    struct slv_buf b;
    struct slv_json j;
    bool there = false;
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_strn(&j, "space", c->name.p, c->name.n);
    slv_json_strn(&j, "key", key.p, key.n);
    slv_json_str(&j, "type", slv_mesh_type_name(c->type));
    write_value(s, space, key, &j, &there);
    slv_json_object_end(&j);
    /* (One of a flag's two values is that nothing is there.) */
    there = there || c->type == SLV_TYPE_ON_WINS || c->type == SLV_TYPE_OFF_WINS;
    if (there || b.status) {
        service_reply(s, x, &seen, 200, &b);
        return;
    }
    slv_buf_fini(&b);
    service_tell_none(s, x, &seen, 404, "no such key");
}

static bool read_number(struct slv_str v, uint64_t most, uint64_t *ret) {
    *ret = 0;
    for (size_t i = 0; i < v.n && *ret <= most; i++) {
        if (v.p[i] < '0' || v.p[i] > '9') return false;
        *ret = *ret * 10 + (uint64_t)(v.p[i] - '0');
    }
    return v.n && *ret <= most;
}

static bool read_part(struct slv_str name, struct slv_str v, struct service_query *q) {
    static const char *const reads[] = {"barrier", "leased", "local"};
    uint64_t n;
    if (slv_str_is(name, "after")) return slv_head_decode(v, q->after, sizeof q->after);
    if (slv_str_is(name, "token")) {
        q->token = v;
        return true;
    }
    if (slv_str_is(name, "timeout_ms")) return read_number(v, 3600000, &q->timeout_ms);
    if (slv_str_is(name, "limit") && read_number(v, 9999999, &n)) {
        q->limit = (size_t)n;
        return true;
    }
    for (int i = 0; i < 3 && slv_str_is(name, "read"); i++)
        if (slv_str_is(v, reads[i])) {
            q->read = i;
            return true;
        }
    return false;
}

bool service_read_query(struct slv_str q, struct service_query *ret) {
    *ret = (struct service_query){.limit = KEYS_MOST, .timeout_ms = 10000};
    while (q.n) {
        const char *amp = memchr(q.p, '&', q.n);
        const size_t n = amp ? (size_t)(amp - q.p) : q.n;
        const char *is = memchr(q.p, '=', n);
        const size_t k = is ? (size_t)(is - q.p) : n;
        if (!is || !read_part((struct slv_str){q.p, k}, (struct slv_str){is + 1, n - k - 1}, ret))
            return false;
        q.p += n + (amp != NULL);
        q.n -= n + (amp != NULL);
    }
    return true;
}

/* Each key has many entries: the next is found by its place, not by walking. */
static void list_keys(struct slv_service *s, struct slv_exchange *x, size_t space,
                      const struct service_query *q) {
    const struct slv_entries *e = slv_node_read(s->conf.node, space)->entries;
    struct slv_buf b;
    struct slv_json j;
    struct slv_str key = {q->after, strlen(q->after)};
    const struct slv_entry *at;
    const struct service_seen seen = {.space = space};
    service_begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "keys");
    uint64_t rank = key.n ? slv_entries_rank_behind(e, key) : 0;
    for (size_t n = 0; n < q->limit && n < KEYS_MOST && (at = slv_entries_at(e, rank));) {
        const struct slv_str k = slv_entry_key(at);
        rank = slv_entries_rank_behind(e, k);
        if (slv_mark_is_key(k)) continue; /* (there is one) */
        slv_json_strn(&j, NULL, k.p, k.n);
        n++;
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    service_reply(s, x, &seen, 200, &b);
}

/* --- writes ----------------------------------------------------------------------------------- */

static void answer_written(struct slv_service *s, struct waiting *w) {
    const struct service_seen seen = {.space = w->space};
    service_reply(s, w->x, &seen, 200, &w->answer);
    slv_exchange_put(w->x);
}

int service_wait(struct slv_service *s, struct slv_exchange *x, size_t space, uint64_t ticket,
                 struct slv_buf *answer) {
    struct waiting *w = slv_mem_alloc(sizeof *w);
    if (!w) {
        slv_buf_fini(answer);
        return SLV_E_NOMEM;
    }
    *w = (struct waiting){NULL, x, ticket, space, *answer};
    slv_exchange_hold(x);
    *s->waiting_end = w;
    s->waiting_end = &w->next;
    s->n_waiting++;
    return 0;
}

/* What is written, is so whether its client hears of it or not. */
static int apply(struct slv_service *s, struct slv_exchange *x, size_t space, struct slv_draft *d,
                 struct slv_err *err) {
    uint64_t ticket;
    int rc = slv_node_write(s->conf.node, space, d, &ticket);
    if (rc == SLV_E_BUSY) { /* so much waits to be signed: after a commit there is room */
        s->conf.wake(s->conf.ctx);
        return slv_err_set(err, SLV_E_BUSY, "too much is being written: try again");
    }
    if (rc == SLV_E_USAGE) return slv_err_set(err, SLV_E_TRUST, "this node may not write here");
    if (rc == SLV_E_LIMIT && slv_replica_is_full(slv_node_replica(s->conf.node, space)))
        return slv_err_set(err, rc, "the space is full at this node: NAME:TYPE:max=SIZE");
    if (rc) return slv_err_set(err, rc, "the write failed");
    s->conf.wake(s->conf.ctx);
    struct slv_buf b;
    slv_buf_init(&b, 64);
    slv_buf_adds(&b, "{\"written\":true}");
    rc = service_wait(s, x, space, ticket, &b);
    return rc ? slv_err_set(err, rc, "out of memory") : 0;
}

static uint64_t writer_of(const void *service, uint64_t node) {
    return slv_node_writer_of(((const struct slv_service *)service)->conf.node, node);
}

static int make(const struct slv_service *s, struct slv_draft *d, struct slv_str body,
                struct slv_err *err) {
    const struct slv_value_writers writers = {writer_of, s};
    struct slv_json_doc doc = {0};
    int rc = slv_json_read(body.p, body.n, &doc, err);
    if (!rc) rc = slv_value_write(d, slv_json_root(&doc), &writers, err);
    slv_json_doc_fini(&doc);
    return rc;
}

static void put_key(struct slv_service *s, struct slv_exchange *x, size_t space,
                    struct slv_str key) {
    struct slv_draft d;
    struct slv_err err = {0};
    const bool is_delete = slv_exchange_head(x)->method == SLV_METHOD_DELETE;
    if (s->n_waiting >= SLV_SERVICE_WAITING_MAX) {
        service_refuse(x, 503, "too many writes wait for the disk");
        return;
    }
    int rc = slv_node_draft(s->conf.node, space, key, &d);
    if (rc) {
        service_refuse(x, service_status_of(rc), "the key is too long");
        return;
    }
    if (!is_delete) rc = make(s, &d, slv_exchange_body(x), &err);
    else if (slv_draft_delete(&d))
        rc = slv_err_set(&err, SLV_E_USAGE,
                         "a budget cannot be deleted: it would forget what was spent");
    if (!rc) rc = apply(s, x, space, &d, &err);
    slv_draft_close(&d);
    if (rc) service_refuse(x, service_status_of(rc), err.msg);
}

/* --- watching --------------------------------------------------------------------------------- */

void service_watch(struct slv_service *s, struct slv_exchange *x, bool is_agreed, size_t space) {
    const struct slv_reply r = {.status = 200, .type = "text/event-stream"};
    struct watcher *w =
        s->n_watchers < SLV_SERVICE_WATCHES_MAX ? slv_mem_calloc(1, sizeof *w) : NULL;
    if (!w) {
        service_refuse(x, 503, "too many watch");
        return;
    }
    w->x = x;
    w->is_agreed = is_agreed;
    w->space = space;
    slv_buf_init(&w->keys, (size_t)16 << 20);
    slv_exchange_hold(x);
    slv_exchange_begin(x, &r);
    w->next = s->watcher;
    s->watcher = w;
    s->n_watchers++;
}

/* Changes of one key come together, mostly: told twice is no harm, as what is told is its value. */
static bool is_noted(const struct watcher *w, struct slv_str key) {
    return w->last_n == key.n && w->keys.len >= key.n &&
           !memcmp(w->keys.data + w->keys.len - key.n, key.p, key.n);
}

void service_note(struct slv_service *s, bool is_agreed, size_t space, struct slv_str key) {
    for (struct watcher *w = s->watcher; w; w = w->next) {
        if (w->is_agreed != is_agreed || w->space != space || (w->keys.len && is_noted(w, key)))
            continue;
        slv_write_bytes(&w->keys, key.p, key.n);
        w->last_n = key.n;
    }
}

void slv_service_changed(struct slv_service *s, size_t space, struct slv_str key) {
    service_note(s, false, space, key);
}

static void tell_change(struct slv_service *s, struct watcher *w, struct slv_str key) {
    struct slv_buf b;
    struct slv_json j;
    service_begin(&b, &j);
    slv_buf_adds(&b, "data: ");
    slv_json_object(&j, NULL);
    slv_json_strn(&j, "key", key.p, key.n);
    if (w->is_agreed) service_strong_value(s, w->space, key, &j);
    else write_value(s, w->space, key, &j, NULL);
    slv_json_object_end(&j);
    slv_buf_adds(&b, "\n\n");
    if (!b.status) slv_exchange_send(w->x, b.data, b.len);
    slv_buf_fini(&b);
}

static void tell_watchers(struct slv_service *s) {
    for (struct watcher **at = &s->watcher; *at;) {
        struct watcher *w = *at;
        struct slv_reader r = slv_reader_of(w->keys.data, w->keys.len);
        const bool gone = slv_exchange_is_gone(w->x) || w->keys.status;
        while (!gone && slv_reader_left(&r))
            tell_change(s, w, slv_read_bytes(&r, SLV_KEY_MAX));
        slv_buf_clear(&w->keys);
        if (!gone) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        slv_exchange_end(w->x);
        slv_exchange_put(w->x);
        slv_buf_fini(&w->keys);
        slv_mem_free(w);
        s->n_watchers--;
    }
}

/* --- routes ----------------------------------------------------------------------------------- */

static bool is_path(struct slv_str path, const char *text) { return slv_str_is(path, text); }

static bool find_space(const struct slv_service *s, struct slv_str name, size_t *ret) {
    for (size_t i = 0; i < slv_node_spaces(s->conf.node); i++) {
        const struct slv_str n = slv_node_space_conf(s->conf.node, i)->name;
        *ret = i;
        if (n.n == name.n && !memcmp(n.p, name.p, n.n)) return true;
    }
    return false;
}

static void in_key(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a) {
    const enum slv_method m = slv_exchange_head(x)->method;
    const struct slv_str key = {a->key, a->n_key};
    const bool put = m == SLV_METHOD_PUT || m == SLV_METHOD_DELETE;
    if (m != SLV_METHOD_GET && !put) service_refuse(x, 405, "no such thing to do");
    else if (a->is_agreed && put) service_strong_put(s, x, a->space, key, &a->query);
    else if (a->is_agreed) service_strong_get(s, x, a->space, key, &a->query);
    else if (put) put_key(s, x, a->space, key);
    else get_key(s, x, a->space, key);
}

static void in_keys(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a) {
    if (slv_exchange_head(x)->method != SLV_METHOD_GET)
        service_refuse(x, 405, "no such thing to do");
    else if (a->is_agreed) service_strong_keys(s, x, a->space, &a->query);
    else list_keys(s, x, a->space, &a->query);
}

static bool find_any(const struct slv_service *s, struct slv_str name, struct service_asked *a) {
    a->is_agreed = service_strong_find(s, name, &a->space);
    return a->is_agreed || find_space(s, name, &a->space);
}

/* Behind "/v1/spaces/": "NAME/watch", "NAME/revert", "NAME/keys", "NAME/keys/KEY". */
bool service_read_asked(struct slv_service *s, struct slv_exchange *x, struct service_asked *a) {
    const struct slv_head *h = slv_exchange_head(x);
    const size_t root = sizeof ROOT - 1;
    const struct slv_str path = {h->path.p + root, h->path.n - root};
    const char *slash = memchr(path.p, '/', path.n);
    const size_t n = slash ? (size_t)(slash - path.p) : path.n;
    char name[SLV_HEAD_TARGET_MAX + 1];
    a->rest = (struct slv_str){path.p + n, path.n - n};
    if (!slv_head_decode((struct slv_str){path.p, n}, name, sizeof name) ||
        !find_any(s, (struct slv_str){name, strlen(name)}, a)) {
        service_refuse(x, 404, "no such space");
        return false;
    }
    a->is_key = a->rest.n > 6 && !memcmp(a->rest.p, "/keys/", 6);
    if (a->is_key &&
        !slv_head_decode((struct slv_str){a->rest.p + 6, a->rest.n - 6}, a->key, sizeof a->key)) {
        service_refuse(x, 400, "the key is not percent-encoded UTF-8");
        return false;
    }
    a->n_key = a->is_key ? strlen(a->key) : 0;
    if (service_read_query(h->query, &a->query)) return true;
    service_refuse(x, 400, "a query is of after=KEY, limit=N, read=HOW, timeout_ms=N, token=TOKEN");
    return false;
}

void service_act(struct slv_service *s, struct slv_exchange *x, const struct service_asked *a) {
    const bool watch = is_path(a->rest, "/watch"), revert = is_path(a->rest, "/revert");
    const enum slv_method method = slv_exchange_head(x)->method;
    if (a->is_key) in_key(s, x, a);
    else if (is_path(a->rest, "/keys")) in_keys(s, x, a);
    else if (watch && method == SLV_METHOD_GET) service_watch(s, x, a->is_agreed, a->space);
    else if (revert && method == SLV_METHOD_POST) service_revert(s, x, a);
    else service_refuse(x, watch || revert ? 405 : 404, "no such thing to do");
}

static void in_space(struct slv_service *s, struct slv_exchange *x) {
    struct service_asked a;
    if (service_read_asked(s, x, &a) && !service_session_waits(s, x, &a)) service_act(s, x, &a);
}

void slv_service_handle(struct slv_exchange *x, void *service) {
    struct slv_service *s = service;
    const struct slv_head *h = slv_exchange_head(x);
    const size_t root = sizeof ROOT - 1;
    if (strcmp(slv_exchange_peer(x)->address, "unix") != 0)
        service_refuse(x, 403, "only by a unix socket");
    else if (!s->conf.node || slv_node_failed(s->conf.node))
        service_refuse(x, 503, "the node opens its store again: ask once more");
    else if (h->path.n > root && !memcmp(h->path.p, ROOT, root)) in_space(s, x);
    else if (is_path(h->path, "/v1/found") && h->method == SLV_METHOD_POST)
        service_strong_found(s, x);
    else if (is_path(h->path, "/v1/lead") && h->method == SLV_METHOD_POST) service_lead(s, x);
    else if (is_path(h->path, "/v1/roster") && h->method == SLV_METHOD_POST)
        service_roster_add(s, x);
    else if (h->method != SLV_METHOD_GET) service_refuse(x, 405, "no such thing to do");
    else if (is_path(h->path, "/v1/roster")) service_roster(s, x);
    else if (is_path(h->path, "/v1/spaces")) list_spaces(s, x);
    else if (is_path(h->path, "/v1/status")) service_status(s, x);
    else if (is_path(h->path, "/metrics")) service_metrics(s, x);
    else service_refuse(x, 404, "no such path");
    slv_exchange_put(x);
}

/* --- the service ------------------------------------------------------------------------------ */

int slv_service_open(const struct slv_service_conf *conf, struct slv_service **ret,
                     struct slv_err *err) {
    struct slv_service *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    s->conf = *conf;
    s->waiting_end = &s->waiting;
    if (service_metrics_open(s)) {
        slv_mem_free(s);
        return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    }
    *ret = s;
    return 0;
}

static struct waiting *take_waiting(struct slv_service *s) {
    struct waiting *w = s->waiting;
    s->waiting = w->next;
    if (!s->waiting) s->waiting_end = &s->waiting;
    s->n_waiting--;
    return w;
}

void slv_service_news(struct slv_service *s) {
    const uint64_t durable = s->conf.node ? slv_node_durable(s->conf.node) : 0;
    while (s->waiting && s->waiting->ticket <= durable) {
        struct waiting *w = take_waiting(s);
        answer_written(s, w);
        slv_mem_free(w);
    }
    if (s->conf.node) tell_watchers(s);
    if (s->conf.node && s->session) service_session_news(s);
    if (s->conf.node && s->leading) service_lead_news(s);
}

uint64_t slv_service_next(const struct slv_service *s) {
    const uint64_t session = s->session ? s->session_next : UINT64_MAX;
    const uint64_t leading = service_lead_next(s);
    return session < leading ? session : leading;
}

void slv_service_set_node(struct slv_service *s, struct slv_node *node) {
    while (s->waiting) {
        struct waiting *w = take_waiting(s);
        service_refuse(w->x, 503, "the write may be lost: the store failed");
        slv_exchange_put(w->x);
        slv_buf_fini(&w->answer);
        slv_mem_free(w);
    }
    service_strong_drop(s);
    service_lead_drop(s);
    service_session_drop(s);
    s->conf.node = node;
}

void slv_service_close(struct slv_service *s) {
    if (!s) return;
    slv_service_set_node(s, NULL);
    for (struct watcher *w = s->watcher, *next; w; w = next) {
        next = w->next;
        slv_exchange_end(w->x);
        slv_exchange_put(w->x);
        slv_buf_fini(&w->keys);
        slv_mem_free(w);
    }
    slv_metrics_close(s->metrics);
    slv_mem_free(s->told);
    slv_mem_free(s);
}
