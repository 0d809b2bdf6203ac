/* embed.c: selvage_mesh.h. A host (host.h) on a thread of its own; who asks it does so by its
 * socket, as all other programs do, so that there is one way in, and nothing here is locked but
 * sessions. Texts of options are copied: the host borrows them for as long as it runs. */
#include "selvage_mesh.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "mesh/client.h"
#include "mesh/declare.h"
#include "mesh/host.h"
#include "mesh/token.h"
#include "store/keys.h"
#include "store/local.h"
#include "trust/fields.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES ((size_t)64 << 10)
#define TEXTS_BYTES ((size_t)4 << 20)
#define ANSWER_BYTES ((size_t)256 << 20)
#define TIMEOUT_MS 10000u
#define VOTERS 5u
#define VOTERS_MAX 7u
#define PEER_RATE ((uint64_t)16 << 20)
#define ADDRESSES_MAX 16u

struct slv_mesh {
    struct slv_arena texts;
    struct slv_declared declared;
    struct slv_host_conf conf;
    struct slv_key *key;
    struct slv_host *host;
    pthread_t thread;
    atomic_bool is_closing;
    char id[SLV_MESH_ID_TEXT];
    pthread_mutex_t lock;
    pthread_cond_t changed;             /* what is below, under the lock */
    const char *address[ADDRESSES_MAX]; /* constant once it is ready */
    size_t n_address;
    size_t watchers;        /* calls of slv_mesh_watch that are under way */
    bool is_ready, is_over; /* over: the thread has ended */
    int rc;                 /* and err: why */
    struct slv_err err;
};

struct slv_mesh_session {
    pthread_mutex_t lock;
    struct slv_token seen;
};

static struct slv_str str(const char *s) { return (struct slv_str){s, s ? strlen(s) : 0}; }

/* --- the log ---------------------------------------------------------------------------------- */

static struct {
    void (*fn)(void *ctx, int level, const char *line);
    void *ctx;
} log_to;

static void on_line(const char *line, size_t n, void *ctx) { (void)line, (void)n, (void)ctx; }

static void on_log(enum slv_log_level level, const char *msg, void *ctx) {
    (void)ctx;
    if (log_to.fn) log_to.fn(log_to.ctx, (int)level, msg);
}

static void set_log(void) {
    slv_log_sink(on_line, NULL); /* a library does not print */
    slv_log_tee(on_log, NULL);
}

static void quiet(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_log);
}

void slv_mesh_log(void (*fn)(void *ctx, int level, const char *line), void *ctx) {
    quiet();
    log_to.fn = fn;
    log_to.ctx = ctx;
}

/* --- keys of nodes ---------------------------------------------------------------------------- */

int slv_mesh_key(const char *path, char ret[SLV_MESH_KEY_TEXT], struct slv_err *err) {
    struct slv_key *k = NULL;
    struct slv_err why = {0};
    struct slv_buf at;
    slv_buf_init(&at, PATH_BYTES);
    int rc = slv_store_keys_path(path, SLV_STORE_DEVICE_KEY, &at, &why);
    if (!rc) rc = slv_key_open(at.data, true, &k, &why);
    if (rc == SLV_E_NOENT) {
        rc = slv_key_new(&k, &why);
        if (!rc) rc = slv_key_save(k, at.data, false, &why);
    }
    if (rc) slv_err_set(err, rc, "%s", why.msg);
    else slv_hex_write(slv_key_pub(k)->key, SLV_HOST_KEY_BYTES, ret);
    slv_key_close(k);
    slv_buf_fini(&at);
    return rc;
}

/* --- a node's beginning and end --------------------------------------------------------------- */

static const char *copy(struct slv_mesh *m, const char *text, int *rc) {
    if (!text) return NULL;
    const char *p = slv_arena_strndup(&m->texts, text, strlen(text));
    if (!p) *rc = SLV_E_NOMEM;
    return p;
}

static struct slv_declare_list copy_list(struct slv_mesh *m, struct slv_mesh_list l, int *rc) {
    struct slv_declare_list to = {NULL, l.n};
    const char **v = l.n ? slv_arena_calloc(&m->texts, l.n, sizeof *v) : NULL;
    if (l.n && !v) *rc = SLV_E_NOMEM;
    for (size_t i = 0; !*rc && i < l.n; i++)
        v[i] = copy(m, l.v[i] ? l.v[i] : "", rc);
    to.v = v;
    return to;
}

static int declare(struct slv_mesh *m, const struct slv_mesh_opts *o, struct slv_err *err) {
    static const char *const any[] = {"0.0.0.0:7420"};
    int rc = 0;
    const struct slv_declare d = {.mark = "mesh: ",
                                  .name = copy(m, o->name, &rc),
                                  .authority = copy(m, o->authority, &rc),
                                  .invitation = o->invitation, /* a secret: for this call */
                                  .space = copy_list(m, o->space, &rc),
                                  .peer = copy_list(m, o->peer, &rc),
                                  .member = copy_list(m, o->member, &rc),
                                  .advertise = copy_list(m, o->advertise, &rc)};
    const struct slv_declare_list listen = copy_list(m, o->listen, &rc);
    if (rc) return slv_err_set(err, rc, "mesh: out of memory");
    if (o->voters > VOTERS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "mesh: voters: 1 to %u", VOTERS_MAX);
    m->conf.listen = listen.n ? listen.v : any;
    m->conf.n_listen = listen.n ? listen.n : 1;
    m->conf.voters = o->voters ? o->voters : VOTERS;
    m->conf.discover = o->discover;
    m->conf.relay_rate = o->relay;
    m->conf.rate = o->rate;
    m->conf.peer_rate = o->peer_rate ? o->peer_rate : PEER_RATE;
    return slv_declare_read(&d, &m->declared, &m->conf, err);
}

static int make_paths(struct slv_mesh *m, const char *folder, struct slv_err *err) {
    const struct {
        const char *name, **to;
    } files[] = {{"mesh.db", &m->conf.store}, {"mesh.sock", &m->conf.socket}};
    if (!folder || !*folder) return slv_err_set(err, SLV_E_USAGE, "mesh: folder: none is given");
    int rc = slv_folder_make(folder, 0700, err);
    for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++) {
        struct slv_buf b;
        slv_buf_init(&b, PATH_BYTES);
        slv_buf_addf(&b, "%s/%s", folder, files[i].name);
        rc = b.status;
        if (!rc) *files[i].to = copy(m, b.data, &rc);
        if (rc) slv_err_set(err, rc, "mesh: folder: its path is too long, or memory is out");
        slv_buf_fini(&b);
    }
    return rc;
}

static void on_ready(void *ctx, const char *const *addresses, size_t n) {
    struct slv_mesh *m = ctx;
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    while (m->n_address < n && m->n_address < ADDRESSES_MAX && !rc) {
        m->address[m->n_address] = copy(m, addresses[m->n_address], &rc);
        m->n_address += !rc;
    }
    m->is_ready = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void *run(void *arg) {
    struct slv_mesh *m = arg;
    struct slv_err err = {0};
    const int rc = slv_host_run(m->host, &err);
    pthread_mutex_lock(&m->lock);
    m->is_over = true;
    m->rc = rc;
    m->err = err;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

static int start(struct slv_mesh *m, struct slv_err *err) {
    m->conf.key = m->key;
    m->conf.ready = on_ready;
    m->conf.ctx = m;
    int rc = slv_host_open(&m->conf, &m->host, err);
    if (rc) return rc;
    snprintf(m->id, sizeof m->id, "%016" PRIx64, slv_host_id(slv_key_pub(m->key)->key));
    if (slv_thread_start(&m->thread, run, m)) {
        slv_host_close(m->host);
        return slv_err_set(err, SLV_E_NOMEM, "mesh: there is no other thread to be had");
    }
    pthread_mutex_lock(&m->lock);
    while (!m->is_ready && !m->is_over)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static void drop(struct slv_mesh *m) {
    sodium_memzero(&m->declared.invitation, sizeof m->declared.invitation);
    slv_key_close(m->key);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
    slv_arena_fini(&m->texts);
    slv_mem_free(m);
}

int slv_mesh_open(const struct slv_mesh_opts *o, struct slv_mesh **ret, struct slv_err *err) {
    struct slv_mesh *m = slv_mem_calloc(1, sizeof *m);
    quiet();
    if (!m) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    slv_arena_init(&m->texts, TEXTS_BYTES);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    int rc = declare(m, o, err);
    if (!rc) rc = make_paths(m, o->folder, err);
    if (!rc) rc = slv_store_key_open(o->key, false, &m->key, err);
    if (!rc) rc = start(m, err);
    if (rc) drop(m);
    else *ret = m;
    return rc;
}

void slv_mesh_close(struct slv_mesh *m) {
    if (!m) return;
    atomic_store(&m->is_closing, true);
    slv_host_stop(m->host);
    pthread_join(m->thread, NULL);
    slv_host_close(m->host);
    pthread_mutex_lock(&m->lock);
    while (m->watchers)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    drop(m);
}

const char *slv_mesh_id(const struct slv_mesh *m) { return m->id; }

const char *slv_mesh_address(const struct slv_mesh *m, size_t i) {
    return i < m->n_address ? m->address[i] : NULL;
}

const char *slv_mesh_socket(const struct slv_mesh *m) { return m->conf.socket; }

/* --- sessions --------------------------------------------------------------------------------- */

int slv_mesh_session_open(const char *text, struct slv_mesh_session **ret, struct slv_err *err) {
    struct slv_mesh_session *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    const int rc = text && *text ? slv_token_read(str(text), &s->seen, err) : 0;
    if (rc) {
        slv_mem_free(s);
        return rc;
    }
    pthread_mutex_init(&s->lock, NULL);
    *ret = s;
    return 0;
}

void slv_mesh_session_close(struct slv_mesh_session *s) {
    if (!s) return;
    slv_token_fini(&s->seen);
    pthread_mutex_destroy(&s->lock);
    slv_mem_free(s);
}

/* Its text, appended; empty: nothing was seen. */
static int tell_session(struct slv_mesh_session *s, struct slv_buf *b, struct slv_err *err) {
    pthread_mutex_lock(&s->lock);
    const int rc = s->seen.n_space + s->seen.n_group ? slv_token_write(&s->seen, b) : 0;
    pthread_mutex_unlock(&s->lock);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(err, rc, "mesh: the session has seen more than a token names");
    return rc ? slv_err_set(err, rc, "mesh: out of memory") : 0;
}

static int see(struct slv_mesh_session *s, struct slv_str text, struct slv_err *err) {
    struct slv_token more = {0};
    int rc = slv_token_read(text, &more, err);
    if (rc) return rc;
    pthread_mutex_lock(&s->lock);
    rc = slv_token_join(&s->seen, &more);
    pthread_mutex_unlock(&s->lock);
    slv_token_fini(&more);
    return rc ? slv_err_set(err, rc, "mesh: out of memory") : 0;
}

/* A copy of what is in a buffer. */
static int take(struct slv_buf *b, char **ret, struct slv_err *err) {
    char *p = b->status ? NULL : slv_mem_strndup(b->data ? b->data : "", b->len);
    if (!p) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    *ret = p;
    return 0;
}

int slv_mesh_session_text(struct slv_mesh_session *s, char **ret, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_TOKEN_MAX + 1);
    int rc = tell_session(s, &b, err);
    if (!rc) rc = take(&b, ret, err);
    slv_buf_fini(&b);
    return rc;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct question {
    const char *method, *path;
    struct slv_str body;
    struct slv_mesh_session *session;
};

/* Why there was no answer: the node's own reason, where its thread has ended. */
static int no_answer(struct slv_mesh *m, const char *method, struct slv_err *err) {
    pthread_mutex_lock(&m->lock);
    const bool why = m->is_over && m->rc;
    if (why) slv_err_set(err, SLV_E_NET, "mesh: the node has ended: %s", m->err.msg);
    pthread_mutex_unlock(&m->lock);
    if (why) return SLV_E_NET;
    return slv_err_set(err, SLV_E_NET, "mesh: the node has not answered%s",
                       strcmp(method, "GET") != 0 ? ": it may have been done, or not" : "");
}

static int ask_with(struct slv_mesh *m, const struct question *q, const char *field, char **ret,
                    struct slv_err *err) {
    struct slv_buf got, answer;
    struct slv_str token;
    long status = 0;
    slv_buf_init(&got, SLV_TOKEN_MAX);
    slv_buf_init(&answer, ANSWER_BYTES);
    const struct slv_local_request r = {.socket = m->conf.socket,
                                        .method = q->method,
                                        .path = q->path,
                                        .body = q->body,
                                        .field = field,
                                        .wanted = q->session ? SLV_TOKEN_FIELD : NULL,
                                        .got = &got};
    int rc = slv_local_ask(&r, &status, &answer, err);
    if (rc == SLV_E_NET) rc = no_answer(m, q->method, err);
    if (!rc && q->session) rc = slv_client_token(status, &got, &token, err);
    if (!rc && q->session && token.n) rc = see(q->session, token, err);
    if (!rc && status != 200)
        rc = slv_client_refused(q->path, (struct slv_str){answer.data, answer.len}, status, err);
    if (!rc && ret) rc = take(&answer, ret, err);
    slv_buf_fini(&got);
    slv_buf_fini(&answer);
    return rc;
}

static int ask(struct slv_mesh *m, const struct question *q, char **ret, struct slv_err *err) {
    struct slv_buf field;
    if (!q->session) return ask_with(m, q, NULL, ret, err);
    slv_buf_init(&field, SLV_TOKEN_MAX + 64);
    slv_buf_adds(&field, SLV_TOKEN_FIELD ": ");
    const size_t empty = field.len;
    int rc = tell_session(q->session, &field, err);
    if (!rc) rc = ask_with(m, q, field.len > empty ? field.data : NULL, ret, err);
    slv_buf_fini(&field);
    return rc;
}

static int ask_key(struct slv_mesh *m, const char *method, const char *space, const char *key,
                   struct slv_str body, const struct slv_mesh_ask *how, char **ret,
                   struct slv_err *err) {
    static const struct slv_mesh_ask usual = {0};
    struct slv_buf path;
    if (!how) how = &usual;
    slv_buf_init(&path, PATH_BYTES);
    slv_client_key(&path, str(space), str(key), how->timeout_ms ? how->timeout_ms : TIMEOUT_MS,
                   how->read);
    const struct question q = {method, path.data, body, how->session};
    const int rc = path.status ? slv_err_set(err, path.status, "mesh: the key is too long")
                               : ask(m, &q, ret, err);
    slv_buf_fini(&path);
    return rc;
}

int slv_mesh_get(struct slv_mesh *m, const char *space, const char *key,
                 const struct slv_mesh_ask *how, char **ret_json, struct slv_err *err) {
    return ask_key(m, "GET", space, key, str(""), how, ret_json, err);
}

int slv_mesh_put(struct slv_mesh *m, const char *space, const char *key, const char *op_json,
                 const struct slv_mesh_ask *how, char **ret_json, struct slv_err *err) {
    return ask_key(m, "PUT", space, key, str(op_json), how, ret_json, err);
}

int slv_mesh_del(struct slv_mesh *m, const char *space, const char *key,
                 const struct slv_mesh_ask *how, struct slv_err *err) {
    return ask_key(m, "DELETE", space, key, str(""), how, NULL, err);
}

int slv_mesh_request(struct slv_mesh *m, const char *method, const char *path,
                     const char *body_json, char **ret_json, struct slv_err *err) {
    const struct question q = {method, path, str(body_json ? body_json : ""), NULL};
    return ask(m, &q, ret_json, err);
}

void slv_mesh_free(char *json) { slv_mem_free(json); }

/* --- watching --------------------------------------------------------------------------------- */

struct watch {
    struct slv_mesh *m;
    slv_mesh_change_fn fn;
    void *ctx;
    bool is_begun;
    int rc;              /* fn's */
    struct slv_buf said; /* a body of another status; then a line with its zero */
};

static bool is_ending(void *ctx) {
    const struct watch *w = ctx;
    return w->rc || atomic_load(&w->m->is_closing);
}

static void on_begun(void *ctx, long status) {
    struct watch *w = ctx;
    w->is_begun = status == 200;
    if (w->is_begun) w->rc = w->fn(w->ctx, NULL);
}

static int on_change(void *ctx, struct slv_str line) {
    struct watch *w = ctx;
    struct slv_str told;
    if (w->rc || !w->is_begun) return w->rc ? w->rc : slv_buf_add(&w->said, line.p, line.n);
    if (!slv_client_event(line, &told)) return 0;
    slv_buf_clear(&w->said);
    const int rc = slv_buf_add(&w->said, told.p, told.n);
    return w->rc = rc ? rc : w->fn(w->ctx, w->said.data);
}

static int end_watch(const struct watch *w, const char *path, long status, struct slv_err *err) {
    if (w->rc) return w->rc;
    if (atomic_load(&w->m->is_closing))
        return slv_err_set(err, SLV_E_CANCELLED, "mesh: the node is closed");
    if (status && status != 200)
        return slv_client_refused(path, (struct slv_str){w->said.data, w->said.len}, status, err);
    return slv_err_set(err, SLV_E_NET,
                       "mesh: the node tells no more: it has ended, or more changed than was read");
}

static int watch(struct watch *w, const struct slv_buf *path, struct slv_err *err) {
    const struct slv_local_request r = {
        .socket = w->m->conf.socket, .method = "GET", .path = path->data, .body = {"", 0}};
    const struct slv_local_follower f = {on_begun, on_change, is_ending, w};
    long status = 0;
    if (path->status) return slv_err_set(err, path->status, "mesh: the space's name is too long");
    const int rc = slv_local_follow(&r, &f, &status, err);
    return rc == SLV_E_NOMEM ? rc : end_watch(w, path->data, status, err);
}

static void count_watchers(struct slv_mesh *m, int by) {
    pthread_mutex_lock(&m->lock);
    m->watchers += (size_t)by;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

int slv_mesh_watch(struct slv_mesh *m, const char *space, slv_mesh_change_fn fn, void *ctx,
                   struct slv_err *err) {
    struct watch w = {.m = m, .fn = fn, .ctx = ctx};
    struct slv_buf path;
    slv_buf_init(&path, PATH_BYTES);
    slv_buf_init(&w.said, ANSWER_BYTES);
    slv_client_target(&path, str(space), "watch", (struct slv_str){NULL, 0});
    count_watchers(m, 1);
    const int rc = watch(&w, &path, err);
    count_watchers(m, -1);
    slv_buf_fini(&path);
    slv_buf_fini(&w.said);
    return rc;
}
