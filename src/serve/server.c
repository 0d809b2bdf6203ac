/* server.c: see serve.h. The parts are opened in the order in which they need each other, and
 * closed the other way round. */
#include "base/log.h"
#include "base/mem.h"
#include "net/tls.h"
#include "serve/serve_int.h"

#include <stdio.h>

#define WORKERS 3
#define COMPILERS 2 /* of schemas, grammars and tools, so that nobody else waits for them */
#define TLS_TOLD_NS 1000000000u /* at least between two lines about handshakes */

static void on_refused(int status, void *server) {
    struct slv_serve *s = server;
    char reason[24];
    snprintf(reason, sizeof reason, "http_%d", status);
    slv_metrics_add(s->metrics, M_REFUSED, reason, NULL, 1.0);
}

/* Counted all; logged at most once a second, or whoever knocks could fill the disk. */
static void on_tls_failed(const struct slv_peer *peer, const char *reason, const char *why,
                          void *server) {
    struct slv_serve *s = server;
    const uint64_t now = serve_now();
    char more[60] = "";
    slv_metrics_add(s->metrics, M_TLS_FAILURES, reason, NULL, 1.0);
    if (s->tls_told && now - s->tls_told < TLS_TOLD_NS) {
        s->tls_untold++;
        return;
    }
    if (s->tls_untold)
        snprintf(more, sizeof more, " (and %llu more before)", (unsigned long long)s->tls_untold);
    s->tls_told = now;
    s->tls_untold = 0;
    slv_log(SLV_LOG_INFO, "%s TLS handshake failed: %s: %s%s", peer->address, reason, why, more);
}

/* Something was asked of the loop's thread. */
static void on_poke(void *server) {
    struct slv_serve *s = server;
    struct slv_err err = {0};
    bool changed = false;
    if (atomic_load(&s->stopping)) serve_mesh_stop(s);
    if (!atomic_exchange(&s->reload, false)) return;
    if (s->o.keys && slv_apikeys_reload(s->o.keys, &changed, &err))
        slv_log(SLV_LOG_ERROR, "keys stay as they were: %s", err.msg);
    else if (s->o.keys) slv_log(SLV_LOG_INFO, "keys read again%s", changed ? "" : ": no change");
    if (s->o.tls && slv_tls_reload(s->o.tls, &err))
        slv_log(SLV_LOG_ERROR, "certificates stay as they were: %s", err.msg);
    else if (s->o.tls) slv_log(SLV_LOG_INFO, "certificates read again");
}

/* The time for answers is over: they end with what there is and say why, and who waits is
 * refused. */
static void on_late(void *server) {
    struct slv_serve *s = server;
    slv_log(SLV_LOG_INFO, "stopping: answers that have not ended are cut short");
    atomic_store(&s->ending, true);
    serve_pending_refuse(s);
    serve_sched_end(s->sched);
}

static int open_httpd(struct slv_serve *s, struct slv_err *err) {
    const struct slv_httpd_opts o = {.handle = serve_handle,
                                     .refused = on_refused,
                                     .tls_failed = on_tls_failed,
                                     .late = on_late,
                                     .ctx = s,
                                     .tls = s->o.tls,
                                     .connections_max = s->o.connections_max,
                                     .body_max = (size_t)s->o.body_max};
    int rc = slv_httpd_open(&o, &s->httpd, err);
    if (!rc) slv_httpd_on_poke(s->httpd, on_poke, s);
    return rc;
}

int slv_serve_open(const struct slv_serve_opts *o, struct slv_serve **ret, struct slv_err *err) {
    struct slv_serve *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    s->o = *o;
    s->started = serve_now();
    if (!s->o.queue_max) s->o.queue_max = 256;
    if (!s->o.drain_ms) s->o.drain_ms = 30000;
    int rc = slv_metrics_open(serve_metrics, M_COUNT, &s->metrics);
    if (rc) slv_err_set(err, rc, "out of memory");
    if (!rc) rc = serve_auth_open(s, err);
    if (!rc) rc = serve_console_open(s, err);
    if (!rc &&
        (serve_workers_open(WORKERS, &s->workers) || serve_workers_open(COMPILERS, &s->compilers)))
        rc = slv_err_set(err, SLV_E_NOMEM, "no threads for requests");
    if (!rc) rc = open_httpd(s, err);
    if (!rc) rc = serve_mesh_open(s, err);
    if (!rc) rc = serve_models_open(s, err);
    if (!rc) rc = serve_sched_open(s, &s->sched, err);
    if (rc) {
        slv_serve_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void slv_serve_close(struct slv_serve *s) {
    if (!s) return;
    /* what waits is refused, and workers end the replies */
    if (s->model) serve_models_stop(s);
    serve_sched_stop(s->sched);
    serve_workers_close(
        s->workers); /* which may give work to the compilers, but not they to them */
    serve_workers_close(s->compilers);
    serve_sched_close(s->sched);
    if (s->model) serve_models_close(s);
    serve_mesh_close(s);
    slv_httpd_close(s->httpd);
    serve_auth_close(s);
    slv_metrics_close(s->metrics);
    serve_console_close(s);
    slv_mem_free(s);
}

int slv_serve_listen(struct slv_serve *s, const char *address, uint16_t *ret_port,
                     struct slv_err *err) {
    return slv_httpd_listen(s->httpd, address, ret_port, err);
}

int slv_serve_run(struct slv_serve *s, struct slv_err *err) {
    int rc = slv_httpd_run(s->httpd, s->o.drain_ms, err);
    pthread_mutex_lock(&s->models_lock);
    if (!rc && s->failed.code) rc = slv_err_set(err, s->failed.code, "%s", s->failed.msg);
    pthread_mutex_unlock(&s->models_lock);
    return rc;
}

void slv_serve_stop(struct slv_serve *s) {
    atomic_store(&s->stopping, true);
    slv_httpd_poke(s->httpd);
    slv_httpd_stop(s->httpd);
}

void slv_serve_hurry(struct slv_serve *s) {
    atomic_store(&s->stopping, true);
    slv_httpd_poke(s->httpd);
    slv_httpd_hurry(s->httpd);
}

void slv_serve_reload(struct slv_serve *s) {
    atomic_store(&s->reload, true);
    slv_httpd_poke(s->httpd);
}
