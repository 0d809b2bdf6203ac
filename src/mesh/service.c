/* service.c: see service.h. */
#include "mesh/service.h"
#include "base/mem.h"
#include "mesh/value.h"
#include "net/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX ((size_t)64 << 20)
#define KEYS_MOST 1000u
#define ROOT "/v1/spaces/"

/* A write that is not synced yet, and who waits for it. */
struct waiting {
    struct waiting *next;
    struct slv_exchange *x;
    uint64_t ticket;
};

/* Keys that have changed since the watcher was told. */
struct watcher {
    struct watcher *next;
    struct slv_exchange *x;
    size_t space;
    struct slv_buf keys; /* each behind its length */
    size_t last_n;       /* bytes of the last */
};

enum {
    M_MEMBERS,
    M_CONNECTED,
    M_ENTRIES,
    M_SENT,
    M_RECEIVED,
    M_PUSHED,
    M_ROUNDS,
    M_DIFFERING,
    M_REFUSED,
    M_COMMITS,
    M_ISOLATED,
    METRICS
};

static const struct slv_metric metrics[METRICS] = {
    [M_MEMBERS] = {"selvage_mesh_members", "members by state", SLV_METRIC_GAUGE, {"state"}, {0}},
    [M_CONNECTED] =
        {"selvage_mesh_connected", "peers with an association", SLV_METRIC_GAUGE, {0}, {0}},
    [M_ENTRIES] = {"selvage_mesh_entries", "entries of a space", SLV_METRIC_GAUGE, {"space"}, {0}},
    [M_SENT] = {"selvage_mesh_sent_bytes_total",
                "bytes to peers, before encryption",
                SLV_METRIC_COUNTER,
                {0},
                {0}},
    [M_RECEIVED] =
        {"selvage_mesh_received_bytes_total", "bytes of peers", SLV_METRIC_COUNTER, {0}, {0}},
    [M_PUSHED] =
        {"selvage_mesh_pushed_total", "batches pushed, times peers", SLV_METRIC_COUNTER, {0}, {0}},
    [M_ROUNDS] =
        {"selvage_mesh_rounds_total", "times that sums were told", SLV_METRIC_COUNTER, {0}, {0}},
    [M_DIFFERING] = {"selvage_mesh_differing_total",
                     "sums of peers that differed",
                     SLV_METRIC_COUNTER,
                     {0},
                     {0}},
    [M_REFUSED] = {"selvage_mesh_refused_total",
                   "datagrams and messages that were refused",
                   SLV_METRIC_COUNTER,
                   {0},
                   {0}},
    [M_COMMITS] =
        {"selvage_mesh_commits_total", "transactions of the store", SLV_METRIC_COUNTER, {0}, {0}},
    [M_ISOLATED] =
        {"selvage_mesh_local_only", "1: no other node answers", SLV_METRIC_GAUGE, {0}, {0}},
};

struct slv_service {
    struct slv_service_conf conf;
    struct slv_metrics *metrics;
    uint64_t told[METRICS]; /* counters, as they were last told */
    struct waiting *waiting, **waiting_end;
    struct watcher *watcher;
    size_t n_waiting, n_watchers;
};

/* --- replies ---------------------------------------------------------------------------------- */

static void reply(struct slv_exchange *x, int status, struct slv_buf *b) {
    const struct slv_reply r = {.status = b->status ? 500 : status, .type = "application/json"};
    slv_buf_addc(b, '\n');
    slv_exchange_reply(x, &r, b->data, b->status ? 0 : b->len);
    slv_buf_fini(b);
}

static void refuse(struct slv_exchange *x, int status, const char *why) {
    struct slv_buf b;
    struct slv_json j;
    slv_buf_init(&b, 4096);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_object(&j, "error");
    slv_json_str(&j, "message", why);
    slv_json_object_end(&j);
    slv_json_object_end(&j);
    reply(x, status, &b);
}

static int status_of(int rc) {
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
    default:
        return 400;
    }
}

static void begin(struct slv_buf *b, struct slv_json *j) {
    slv_buf_init(b, BODY_MAX);
    slv_json_init(j, b);
}

/* --- spaces and keys -------------------------------------------------------------------------- */

static void tell_space(const struct slv_node *n, size_t i, struct slv_json *j) {
    const struct slv_space_conf *c = slv_node_space_conf(n, i);
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, slv_replica_id(slv_node_replica(n, i)));
    slv_json_object(j, NULL);
    slv_json_strn(j, "name", c->name.p, c->name.n);
    slv_json_str(j, "type", slv_mesh_type_name(c->type));
    slv_json_str(j, "order", c->causal ? "causal" : "eventual");
    slv_json_str(j, "id", id);
    slv_json_uint(j, "entries", slv_entries_count(slv_node_read(n, i)->entries));
    slv_json_object_end(j);
}

static void list_spaces(struct slv_service *s, struct slv_exchange *x) {
    struct slv_buf b;
    struct slv_json j;
    begin(&b, &j);
    slv_json_array(&j, NULL);
    for (size_t i = 0; i < slv_node_spaces(s->conf.node); i++)
        tell_space(s->conf.node, i, &j);
    slv_json_array_end(&j);
    reply(x, 200, &b);
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
    struct slv_buf b;
    struct slv_json j;
    bool there = false;
    begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_strn(&j, "space", c->name.p, c->name.n);
    slv_json_strn(&j, "key", key.p, key.n);
    slv_json_str(&j, "type", slv_mesh_type_name(c->type));
    write_value(s, space, key, &j, &there);
    slv_json_object_end(&j);
    if (there || b.status) {
        reply(x, 200, &b);
        return;
    }
    slv_buf_fini(&b);
    refuse(x, 404, "no such key");
}

/* "after=KEY&limit=N" */
static bool read_query(struct slv_str q, char *ret_after, size_t *ret_limit) {
    while (q.n) {
        const char *amp = memchr(q.p, '&', q.n);
        const struct slv_str part = {q.p, amp ? (size_t)(amp - q.p) : q.n};
        if (part.n > 6 && !memcmp(part.p, "after=", 6)) {
            if (!slv_head_decode((struct slv_str){part.p + 6, part.n - 6}, ret_after,
                                 SLV_HEAD_TARGET_MAX + 1))
                return false;
        } else if (part.n > 6 && part.n < 14 && !memcmp(part.p, "limit=", 6)) {
            *ret_limit = 0;
            for (size_t i = 6; i < part.n; i++) {
                if (part.p[i] < '0' || part.p[i] > '9') return false;
                *ret_limit = *ret_limit * 10 + (size_t)(part.p[i] - '0');
            }
        } else {
            return false;
        }
        q.p += part.n + (amp != NULL);
        q.n -= part.n + (amp != NULL);
    }
    return true;
}

/* Each key has many entries: the next is found by its place, not by walking. */
static void list_keys(struct slv_service *s, struct slv_exchange *x, size_t space,
                      struct slv_str query) {
    const struct slv_entries *e = slv_node_read(s->conf.node, space)->entries;
    char after[SLV_HEAD_TARGET_MAX + 1] = "";
    struct slv_buf b;
    struct slv_json j;
    size_t limit = KEYS_MOST;
    if (!read_query(query, after, &limit)) {
        refuse(x, 400, "a query is after=KEY&limit=N");
        return;
    }
    struct slv_str key = {after, strlen(after)};
    const struct slv_entry *at;
    struct slv_place behind;
    begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "keys");
    behind = (struct slv_place){.key = key, .dot = {UINT64_MAX, UINT64_MAX}};
    for (size_t k = 0; k < limit && k < KEYS_MOST; k++) {
        uint64_t rank = key.n || k ? slv_entries_rank_behind(e, behind.key) : 0;
        at = slv_entries_at(e, rank);
        if (!at) break;
        behind.key = slv_entry_key(at);
        slv_json_strn(&j, NULL, behind.key.p, behind.key.n);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    reply(x, 200, &b);
}

/* --- writes ----------------------------------------------------------------------------------- */

static void answer_written(struct slv_exchange *x) {
    static const char body[] = "{\"written\":true}\n";
    const struct slv_reply r = {.status = 200, .type = "application/json"};
    slv_exchange_reply(x, &r, body, sizeof body - 1);
    slv_exchange_put(x);
}

static int wait_for(struct slv_service *s, struct slv_exchange *x, uint64_t ticket) {
    struct waiting *w = slv_mem_alloc(sizeof *w);
    if (!w) return SLV_E_NOMEM;
    *w = (struct waiting){NULL, x, ticket};
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
    if (rc == SLV_E_USAGE) return slv_err_set(err, rc, "this node may not write here");
    if (rc) return slv_err_set(err, rc, "the write failed");
    s->conf.wake(s->conf.ctx);
    rc = wait_for(s, x, ticket);
    return rc ? slv_err_set(err, rc, "out of memory") : 0;
}

static int make(struct slv_draft *d, struct slv_str body, struct slv_err *err) {
    struct slv_json_doc doc = {0};
    int rc = slv_json_read(body.p, body.n, &doc, err);
    if (!rc) rc = slv_value_write(d, slv_json_root(&doc), err);
    slv_json_doc_fini(&doc);
    return rc;
}

static void put_key(struct slv_service *s, struct slv_exchange *x, size_t space,
                    struct slv_str key) {
    struct slv_draft d;
    struct slv_err err = {0};
    const bool is_delete = slv_exchange_head(x)->method == SLV_METHOD_DELETE;
    if (s->n_waiting >= SLV_SERVICE_WAITING_MAX) {
        refuse(x, 503, "too many writes wait for the disk");
        return;
    }
    int rc = slv_node_draft(s->conf.node, space, key, &d);
    if (rc) {
        refuse(x, status_of(rc), "the key is too long");
        return;
    }
    if (!is_delete) rc = make(&d, slv_exchange_body(x), &err);
    else if (slv_draft_delete(&d))
        rc = slv_err_set(&err, SLV_E_USAGE,
                         "a budget cannot be deleted: it would forget what was spent");
    if (!rc) rc = apply(s, x, space, &d, &err);
    slv_draft_close(&d);
    if (rc) refuse(x, status_of(rc), err.msg);
}

/* --- watching --------------------------------------------------------------------------------- */

static void watch(struct slv_service *s, struct slv_exchange *x, size_t space) {
    const struct slv_reply r = {.status = 200, .type = "text/event-stream"};
    struct watcher *w =
        s->n_watchers < SLV_SERVICE_WATCHES_MAX ? slv_mem_calloc(1, sizeof *w) : NULL;
    if (!w) {
        refuse(x, 503, "too many watch");
        return;
    }
    w->x = x;
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

void slv_service_changed(struct slv_service *s, size_t space, struct slv_str key) {
    for (struct watcher *w = s->watcher; w; w = w->next) {
        if (w->space != space || (w->keys.len && is_noted(w, key))) continue;
        slv_write_bytes(&w->keys, key.p, key.n);
        w->last_n = key.n;
    }
}

static void tell_change(struct slv_service *s, struct watcher *w, struct slv_str key) {
    struct slv_buf b;
    struct slv_json j;
    begin(&b, &j);
    slv_buf_adds(&b, "data: ");
    slv_json_object(&j, NULL);
    slv_json_strn(&j, "key", key.p, key.n);
    write_value(s, w->space, key, &j, NULL);
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

/* --- the node --------------------------------------------------------------------------------- */

static const char *const states[] = {"alive", "suspect", "dead", "left", "removed"};

static void tell_members(const struct slv_node *n, struct slv_json *j) {
    struct slv_swim *swim = slv_node_swim(n);
    slv_json_array(j, "members");
    for (size_t i = 0; swim && i < slv_swim_count(swim); i++) {
        struct slv_swim_member m;
        char id[20];
        slv_swim_at(swim, i, &m);
        snprintf(id, sizeof id, "%016" PRIx64, m.id);
        slv_json_object(j, NULL);
        slv_json_str(j, "id", id);
        slv_json_str(j, "state", states[m.state]);
        slv_json_bool(j, "self", m.id == slv_node_id(n));
        slv_json_double(j, "rtt_ms", m.rtt_us / 1e3);
        slv_json_object_end(j);
    }
    slv_json_array_end(j);
}

static void status(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_node *n = s->conf.node;
    struct slv_node_stats c;
    struct slv_swim_counters swim = {0};
    struct slv_buf b;
    struct slv_json j;
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, slv_node_id(n));
    slv_node_stats(n, &c);
    if (slv_node_swim(n)) slv_swim_count_all(slv_node_swim(n), &swim);
    begin(&b, &j);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "mesh", s->conf.mesh);
    slv_json_str(&j, "node", id);
    slv_json_bool(&j, "local_only", swim.isolated);
    slv_json_uint(&j, "connected", c.connected);
    tell_members(n, &j);
    slv_json_array(&j, "spaces");
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        tell_space(n, i, &j);
    slv_json_array_end(&j);
    slv_json_uint(&j, "bytes_sent", c.bytes_sent);
    slv_json_uint(&j, "bytes_received", c.bytes_received);
    slv_json_uint(&j, "pushed", c.pushed);
    slv_json_uint(&j, "rounds", c.rounds);
    slv_json_uint(&j, "differing", c.differing);
    slv_json_uint(&j, "refused", c.refused);
    slv_json_object_end(&j);
    reply(x, 200, &b);
}

/* Counters only grow here: those of a node that was opened anew begin again. */
static void count(struct slv_service *s, int i, const char *label, uint64_t now) {
    const uint64_t more = now > s->told[i] ? now - s->told[i] : 0;
    s->told[i] = now;
    slv_metrics_add(s->metrics, (size_t)i, label, NULL, (double)more);
}

static void show_metrics(struct slv_service *s, struct slv_exchange *x) {
    const struct slv_reply r = {.status = 200, .type = "text/plain; version=0.0.4"};
    const struct slv_node *n = s->conf.node;
    struct slv_swim_counters swim = {0};
    struct slv_node_stats c;
    struct slv_buf b;
    slv_node_stats(n, &c);
    if (slv_node_swim(n)) slv_swim_count_all(slv_node_swim(n), &swim);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        slv_metrics_set(s->metrics, M_MEMBERS, states[i], NULL, swim.members[i]);
    slv_metrics_set(s->metrics, M_CONNECTED, NULL, NULL, (double)c.connected);
    slv_metrics_set(s->metrics, M_ISOLATED, NULL, NULL, swim.isolated);
    for (size_t i = 0; i < slv_node_spaces(n); i++)
        slv_metrics_set(s->metrics, M_ENTRIES, slv_node_space_conf(n, i)->name.p, NULL,
                        (double)slv_entries_count(slv_node_read(n, i)->entries));
    const struct {
        int i;
        uint64_t v;
    } counters[] = {{M_SENT, c.bytes_sent}, {M_RECEIVED, c.bytes_received}, {M_PUSHED, c.pushed},
                    {M_ROUNDS, c.rounds},   {M_DIFFERING, c.differing},     {M_REFUSED, c.refused},
                    {M_COMMITS, c.commits}};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        count(s, counters[i].i, NULL, counters[i].v);
    slv_buf_init(&b, BODY_MAX);
    if (!slv_metrics_write(s->metrics, &b)) slv_exchange_reply(x, &r, b.data, b.len);
    else refuse(x, 503, "out of memory");
    slv_buf_fini(&b);
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

/* Behind "/v1/spaces/": "NAME/watch", "NAME/keys", "NAME/keys/KEY". */
static void in_space(struct slv_service *s, struct slv_exchange *x, struct slv_str path) {
    const struct slv_head *h = slv_exchange_head(x);
    const char *slash = memchr(path.p, '/', path.n);
    const size_t n = slash ? (size_t)(slash - path.p) : path.n;
    char name[SLV_HEAD_TARGET_MAX + 1], key[SLV_HEAD_TARGET_MAX + 1];
    size_t space;
    const struct slv_str rest = {path.p + n, path.n - n};
    if (!slv_head_decode((struct slv_str){path.p, n}, name, sizeof name) ||
        !find_space(s, (struct slv_str){name, strlen(name)}, &space)) {
        refuse(x, 404, "no such space");
        return;
    }
    const bool get = h->method == SLV_METHOD_GET;
    const bool put = h->method == SLV_METHOD_PUT || h->method == SLV_METHOD_DELETE;
    const bool is_key = rest.n > 6 && !memcmp(rest.p, "/keys/", 6);
    if (is_key && !slv_head_decode((struct slv_str){rest.p + 6, rest.n - 6}, key, sizeof key)) {
        refuse(x, 400, "the key is not percent-encoded UTF-8");
        return;
    }
    const struct slv_str k = {key, is_key ? strlen(key) : 0};
    if (is_path(rest, "/watch") && get) watch(s, x, space);
    else if (is_path(rest, "/keys") && get) list_keys(s, x, space, h->query);
    else if (is_key && get) get_key(s, x, space, k);
    else if (is_key && put) put_key(s, x, space, k);
    else
        refuse(x, is_key || is_path(rest, "/watch") || is_path(rest, "/keys") ? 405 : 404,
               "no such thing to do");
}

void slv_service_handle(struct slv_exchange *x, void *service) {
    struct slv_service *s = service;
    const struct slv_head *h = slv_exchange_head(x);
    const size_t root = sizeof ROOT - 1;
    if (strcmp(slv_exchange_peer(x)->address, "unix") != 0) refuse(x, 403, "only by a unix socket");
    else if (!s->conf.node || slv_node_failed(s->conf.node))
        refuse(x, 503, "the node's store has failed; it is being opened again");
    else if (h->path.n > root && !memcmp(h->path.p, ROOT, root))
        in_space(s, x, (struct slv_str){h->path.p + root, h->path.n - root});
    else if (h->method != SLV_METHOD_GET) refuse(x, 405, "no such thing to do");
    else if (is_path(h->path, "/v1/spaces")) list_spaces(s, x);
    else if (is_path(h->path, "/v1/status")) status(s, x);
    else if (is_path(h->path, "/metrics")) show_metrics(s, x);
    else refuse(x, 404, "no such path");
    slv_exchange_put(x);
}

/* --- the service ------------------------------------------------------------------------------ */

int slv_service_open(const struct slv_service_conf *conf, struct slv_service **ret,
                     struct slv_err *err) {
    struct slv_service *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    s->conf = *conf;
    s->waiting_end = &s->waiting;
    if (slv_metrics_open(metrics, METRICS, &s->metrics)) {
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
        answer_written(w->x);
        slv_mem_free(w);
    }
    if (s->conf.node) tell_watchers(s);
}

void slv_service_set_node(struct slv_service *s, struct slv_node *node) {
    while (s->waiting) {
        struct waiting *w = take_waiting(s);
        refuse(w->x, 503, "the write may be lost: the store failed");
        slv_exchange_put(w->x);
        slv_mem_free(w);
    }
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
    slv_mem_free(s);
}
