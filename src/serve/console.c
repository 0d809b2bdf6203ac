/* console.c: the console's files, and what only an admin may see:
 *
 *     GET /console                    one page; its script and style below it
 *     GET /v1/admin/sessions          answers that are made or wait: whose, how long, how much
 *     GET /v1/admin/audit?last=N      the last records of the audit log, as they stand
 *     GET /v1/admin/log?last=N        the last messages of the log
 *
 * With keys, /v1/admin wants one that may administer; without, a peer of this machine. No prompt
 * and no answer is in any of it.
 *
 * The page is data of the program, and may load nothing but itself: its policy (Content Security
 * Policy Level 3) allows no script, style or connection of elsewhere, and none written into the
 * page, so that an answer that a model made up cannot act.
 *
 * Messages are kept in a ring of LOG_ROWS, the oldest overwritten; a longer one is cut. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve/console_files.h"
#include "serve/serve_int.h"
#include "trust/audit.h"
#include "trust/audit_line.h"
#include "trust/audit_tail.h"

#include <stdio.h>
#include <string.h>

#define LOG_ROWS 512
#define LOG_TEXT 480
#define SESSIONS_MAX 1000
#define LAST_DEFAULT 100
#define LAST_MAX 1000
#define REPLY_MAX ((size_t)24 << 20) /* LAST_MAX records of the longest */

/* --- files ------------------------------------------------------------------------------------ */

static const char page_fields[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cache-Control: no-cache\r\n";

void serve_console(struct slv_serve *s, struct slv_exchange *x) {
    const struct slv_str whole = slv_exchange_head(x)->path;
    const size_t skip = strlen("/console");
    const struct slv_str path = {whole.p + skip, whole.n - skip};
    struct serve_fail f = {0};
    for (size_t i = 0; i < n_console_files; i++) {
        const struct console_file *file = &console_files[i];
        const struct slv_reply r = {.status = 200, .type = file->type, .fields = page_fields};
        if (!slv_str_is(path, file->path)) continue;
        slv_exchange_reply(x, &r, file->data, file->n);
        return;
    }
    serve_refuse(&f, 404, NULL, "not_found", "there is nothing at %.*s", (int)whole.n, whole.p);
    serve_reply_fail(s, x, API_CHAT, &f);
}

/* --- the log ---------------------------------------------------------------------------------- */

struct log_row {
    uint64_t ns; /* since 1970 */
    enum slv_log_level level;
    char text[LOG_TEXT];
};

struct serve_console {
    pthread_mutex_t lock;
    uint64_t n; /* of all that came; row i is at i % LOG_ROWS */
    struct log_row row[LOG_ROWS];
};

static void keep_line(enum slv_log_level level, const char *msg, void *ctx) {
    struct serve_console *k = ctx;
    const uint64_t ns = slv_clock_wall(&slv_clock_system);
    pthread_mutex_lock(&k->lock);
    struct log_row *r = &k->row[k->n++ % LOG_ROWS];
    r->ns = ns;
    r->level = level;
    if (snprintf(r->text, sizeof r->text, "%s", msg) >= (int)sizeof r->text)
        memcpy(r->text + sizeof r->text - 4, "...", 4);
    pthread_mutex_unlock(&k->lock);
}

int serve_console_open(struct slv_serve *s, struct slv_err *err) {
    s->console = slv_mem_calloc(1, sizeof *s->console);
    if (!s->console) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    pthread_mutex_init(&s->console->lock, NULL);
    slv_log_tee(keep_line, s->console);
    return 0;
}

void serve_console_close(struct slv_serve *s) {
    if (!s->console) return;
    slv_log_tee(NULL, NULL);
    pthread_mutex_destroy(&s->console->lock);
    slv_mem_free(s->console);
}

static bool write_log(struct slv_serve *s, uint64_t last, struct slv_json *j,
                      struct serve_fail *f) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct serve_console *k = s->console;
    (void)f;
    pthread_mutex_lock(&k->lock);
    uint64_t have = k->n < LOG_ROWS ? k->n : LOG_ROWS;
    for (uint64_t i = k->n - (last < have ? last : have); i < k->n; i++) {
        const struct log_row *r = &k->row[i % LOG_ROWS];
        slv_json_object(j, NULL);
        slv_json_uint(j, "seq", i);
        slv_json_uint(j, "time_ms", r->ns / 1000000u);
        slv_json_str(j, "level", names[r->level]);
        slv_json_str(j, "msg", r->text);
        slv_json_object_end(j);
    }
    pthread_mutex_unlock(&k->lock);
    return true;
}

/* --- sessions --------------------------------------------------------------------------------- */

static void session_json(const struct serve_session *r, uint64_t now, struct slv_json *j) {
    slv_json_object(j, NULL);
    slv_json_str(j, "id", r->id);
    slv_json_uint(j, "index", r->index);
    slv_json_str(j, "state", r->is_active ? "active" : "waiting");
    if (*r->key) slv_json_str(j, "key", r->key);
    else slv_json_null(j, "key");
    slv_json_str(j, "model", r->model);
    slv_json_uint(j, "prompt_tokens", r->n_prompt);
    slv_json_uint(j, "tokens", r->n_tokens);
    slv_json_uint(j, "ms", (now - r->t0) / 1000000u);
    slv_json_uint(j, "queued_ms", ((r->is_active ? r->t_start : now) - r->t0) / 1000000u);
    slv_json_object_end(j);
}

static bool write_sessions(struct slv_serve *s, uint64_t last, struct slv_json *j,
                           struct serve_fail *f) {
    struct serve_session *v = slv_mem_calloc(SESSIONS_MAX, sizeof *v);
    if (!v) return serve_refuse(f, 503, NULL, NULL, "out of memory");
    size_t n = serve_sched_list(s->sched, v, last < SESSIONS_MAX ? last : SESSIONS_MAX);
    const uint64_t now = serve_now();
    for (size_t i = 0; i < n; i++)
        session_json(&v[i], now, j);
    slv_mem_free(v);
    return true;
}

/* --- the audit log ---------------------------------------------------------------------------- */

/* A record is a line of JSON, in which there is no text but names. */
static int add_record(void *ctx, const char *line, size_t n, struct slv_err *err) {
    struct slv_json *j = ctx;
    struct slv_audit_line l;
    if (!slv_audit_line_read(line, n, &l))
        return slv_err_set(err, SLV_E_FORMAT, "a line is not a record: `selvage audit verify`");
    if (j->comma) slv_buf_addc(j->out, ',');
    slv_buf_add(j->out, line, n);
    j->comma = true;
    return 0;
}

static bool write_audit(struct slv_serve *s, uint64_t last, struct slv_json *j,
                        struct serve_fail *f) {
    struct slv_err err = {0};
    if (!s->o.audit) return true;
    if (!slv_audit_tail(slv_audit_path(s->o.audit), last, add_record, j, &err)) return true;
    return serve_refuse(f, 500, NULL, "audit_unreadable", "audit log: %s", err.msg);
}

/* --- requests --------------------------------------------------------------------------------- */

static bool read_last(struct slv_str query, uint64_t *ret, struct serve_fail *f) {
    static const char name[] = "last=";
    const size_t skip = sizeof name - 1;
    uint64_t n = 0;
    *ret = LAST_DEFAULT;
    if (!query.n) return true;
    bool ok = query.n > skip && query.n <= skip + 4 && !memcmp(query.p, name, skip);
    for (size_t i = skip; ok && i < query.n; i++) {
        ok = query.p[i] >= '0' && query.p[i] <= '9';
        n = n * 10 + (uint64_t)(query.p[i] - '0');
    }
    *ret = n;
    return (ok && n && n <= LAST_MAX) ||
           serve_refuse(f, 400, "last", NULL, "last: 1 to %d is wanted", LAST_MAX);
}

bool serve_may_administer(const struct slv_serve *s, const struct slv_exchange *x,
                          const struct slv_apikey *key, struct serve_fail *f) {
    if (s->o.keys)
        return (key && key->admin) ||
               serve_refuse(f, 403, NULL, "not_admin", "only a key that may administer sees that");
    return slv_exchange_peer(x)->is_local ||
           serve_refuse(f, 403, NULL, "not_admin", "without keys only this machine sees that");
}

void serve_admin_errand(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey *key,
                        struct serve_fail *f) {
    static const struct {
        const char *path;
        bool (*write)(struct slv_serve *s, uint64_t last, struct slv_json *j, struct serve_fail *f);
    } rows[] = {{"/v1/admin/sessions", write_sessions},
                {"/v1/admin/audit", write_audit},
                {"/v1/admin/log", write_log}};
    static const struct slv_reply r = {.status = 200,
                                       .type = "application/json",
                                       .fields = "Cache-Control: no-store\r\n"
                                                 "X-Content-Type-Options: nosniff\r\n"};
    const struct slv_head *h = slv_exchange_head(x);
    struct slv_buf b;
    struct slv_json j;
    uint64_t last;
    size_t i = 0;
    if (!serve_may_administer(s, x, key, f) || !read_last(h->query, &last, f)) return;
    while (i < sizeof rows / sizeof *rows && !slv_str_is(h->path, rows[i].path))
        i++;
    if (i == sizeof rows / sizeof *rows) {
        serve_refuse(f, 404, NULL, "not_found", "there is nothing at %.*s", (int)h->path.n,
                     h->path.p);
        return;
    }
    slv_buf_init(&b, REPLY_MAX);
    slv_json_init(&j, &b);
    slv_json_object(&j, NULL);
    slv_json_str(&j, "object", "list");
    slv_json_bool(&j, "kept", rows[i].write != write_audit || s->o.audit);
    slv_json_array(&j, "data");
    bool ok = rows[i].write(s, last, &j, f);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    if (ok && b.status) serve_refuse(f, 503, NULL, NULL, "the reply: %s", slv_strerror(b.status));
    else if (ok) slv_exchange_reply(x, &r, b.data, b.len);
    slv_buf_fini(&b);
}
