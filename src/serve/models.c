/* models.c: the models that are served: opened when somebody asks for one, within one budget.
 *
 *     UNLOADED -> WANTED -> READY -> CLOSING -> UNLOADED
 *                      \-> FAILED (tried again after a while)
 *
 * One thread, the loader, opens and closes. It opens in the order in which models were first asked
 * for; where the budget has no room it closes what nobody uses, least recently used first, and
 * waits for somebody to finish if that is not enough. A model is never there twice: who asks for
 * one that is on its way waits with the others.
 *
 * What a model takes: weights, the buffers of a step, and a cache of keys and values for all its
 * requests together, as much as `slots` of them want or the budget leaves. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/prefix.h"
#include "serve/serve_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS 5000000000u /* after a failure */
#define CTX_DEFAULT 8192u
#define SLOTS_DEFAULT 16u
#define N_BATCH 256u
#define N_BESIDE 64u
#define BLOCK 64u /* positions of a page of a prefix cache */

/* --- what there is ---------------------------------------------------------------------------- */

static uint64_t memory_free(void) {
    unsigned long long kb = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1) break;
    if (f) fclose(f);
    return kb * 1024;
}

struct serve_model *serve_models_find(struct slv_serve *s, const char *name) {
    if (!name || !*name) return &s->model[0];
    for (size_t i = 0; i < s->o.n_models; i++)
        if (!strcmp(s->model[i].name, name)) return &s->model[i];
    return NULL;
}

const char *serve_model_state_name(struct serve_model *m) {
    static const char *const names[] = {"unloaded", "loading", "ready", "unloading", "failed"};
    pthread_mutex_lock(&m->s->models_lock);
    enum serve_model_state state = m->state;
    pthread_mutex_unlock(&m->s->models_lock);
    return names[state];
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What opening a model would take, but its cache; and the cache's bytes for all slots. */
struct needs {
    uint64_t fixed, kv_least, kv_most;
    uint32_t ctx;
};

/* What one request of n positions reserves of the cache: besides its own a block (selvage.h). */
static int request_bytes(struct slv_model *m, struct slv_session_opts so, uint32_t n, uint64_t *ret,
                         struct slv_err *err) {
    struct slv_memory own = {0}, beside = {0};
    so.n_ctx = n;
    so.n_batch = n < N_BATCH ? n : N_BATCH;
    int rc = slv_model_memory(m, &so, &own, err);
    so.n_ctx = so.n_batch = n < BLOCK ? n : BLOCK;
    if (!rc) rc = slv_model_memory(m, &so, &beside, err);
    *ret = own.kv + beside.kv;
    return rc;
}

/* The most positions, in whole blocks and up to n->ctx, of which a cache of so many bytes holds one
 * request; 0: none. */
static int fit_context(struct slv_model *m, const struct slv_session_opts *so, uint64_t bytes,
                       const struct needs *n, uint32_t *ret, struct slv_err *err) {
    uint32_t low = 0, high = n->ctx / BLOCK;
    while (low < high) {
        const uint32_t mid = low + (high - low + 1) / 2;
        uint64_t wants = 0;
        int rc = request_bytes(m, *so, mid * BLOCK, &wants, err);
        if (rc) return rc;
        if (wants <= bytes) low = mid;
        else high = mid - 1;
    }
    *ret = low * BLOCK;
    return 0;
}

/* A cache of a size that was given, or of what is left of a small memory: no request may have more
 * positions than it holds. A context that was asked for is not made smaller without a word. */
static int fit_cache(struct slv_serve *s, struct slv_model *m, const struct slv_session_opts *so,
                     struct needs *n, struct slv_err *err) {
    const uint64_t left = s->o.memory > n->fixed ? s->o.memory - n->fixed : 0;
    const uint64_t bytes = s->o.kv_bytes ? s->o.kv_bytes : left;
    uint32_t ctx = 0;
    int rc = fit_context(m, so, bytes, n, &ctx, err);
    if (rc) return rc;
    if (s->o.kv_bytes && !ctx)
        return slv_err_set(err, SLV_E_FIT, "--kv-memory: %.1f MiB hold no request of %u positions",
                           (double)bytes / 0x1p20, BLOCK);
    if (!ctx || (!s->o.kv_bytes && s->o.ctx)) {
        const uint32_t wanted = ctx ? n->ctx : BLOCK;
        uint64_t wants = 0;
        char more[64] = "";
        rc = request_bytes(m, *so, wanted, &wants, err);
        if (rc) return rc;
        if (ctx) snprintf(more, sizeof more, "; --ctx %u would fit", ctx);
        return slv_err_set(
            err, SLV_E_FIT, "needs %.0f MiB for requests of %u positions, %.0f may be had%s",
            (double)(n->fixed + wants) / 0x1p20, wanted, (double)s->o.memory / 0x1p20, more);
    }
    n->ctx = ctx;
    n->kv_least = bytes;
    if (n->kv_most < bytes || s->o.kv_bytes) n->kv_most = bytes;
    return 0;
}

static int measure(struct slv_serve *s, struct slv_model *m, const struct slv_model_info *info,
                   struct needs *ret, struct slv_err *err) {
    struct slv_memory mem = {0};
    uint32_t ctx = s->o.ctx ? s->o.ctx : CTX_DEFAULT;
    if (info->n_ctx && ctx > info->n_ctx) ctx = info->n_ctx;
    if (info->encoder) {
        const struct slv_embedder_opts eo = {.threads = s->o.threads};
        int rc = slv_embedder_memory(m, &eo, &mem, err);
        *ret = (struct needs){.fixed = mem.total, .ctx = ctx};
        return rc;
    }
    const struct slv_session_opts so = {.n_ctx = ctx,
                                        .n_batch = ctx < N_BATCH ? ctx : N_BATCH,
                                        .n_logits = s->o.slots,
                                        .threads = s->o.threads,
                                        .kv = s->o.kv};
    int rc = slv_model_memory(m, &so, &mem, err);
    uint64_t kv = 0;
    if (!rc) rc = request_bytes(m, so, ctx, &kv, err);
    *ret = (struct needs){.fixed = mem.weights + mem.arena + serve_constraint_most(s),
                          .kv_least = kv,
                          .kv_most = kv * s->o.slots,
                          .ctx = ctx};
    if (rc) return rc;
    if (s->o.kv_bytes) ret->kv_least = ret->kv_most = s->o.kv_bytes;
    const bool small = s->o.kv_bytes ? s->o.kv_bytes < kv : ret->fixed + kv > s->o.memory;
    return small ? fit_cache(s, m, &so, ret, err) : 0;
}

/* Closes what nobody uses, the least recently used. False: there is nothing. The lock is held. */
static struct serve_model *find_idle(struct slv_serve *s) {
    struct serve_model *idle = NULL;
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct serve_model *m = &s->model[i];
        if (m->state == MODEL_READY && !m->users && !m->n_pins &&
            (!idle || m->last_used < idle->last_used))
            idle = m;
    }
    return idle;
}

static void close_parts(struct serve_model *m) {
    serve_constraints_close(m);
    serve_adapters_close(m);
    slv_embedder_close(m->embedder);
    slv_batch_close(m->batch);
    slv_prefix_cache_close(m->prefix);
    slv_model_close(m->m);
    m->embedder = NULL;
    m->batch = NULL;
    m->told = (struct slv_batch_stats){0};
    m->prefix = NULL;
    m->m = NULL;
}

/* Bytes that no waiting will free. The lock is held. */
static uint64_t pinned_bytes(const struct slv_serve *s) {
    uint64_t n = 0;
    for (size_t i = 0; i < s->o.n_models; i++)
        if (s->model[i].n_pins) n += s->model[i].bytes;
    return n;
}

static void want(struct serve_model *m);

/* The lock is held, and given up meanwhile. */
static void unload(struct serve_model *m) {
    m->state = MODEL_CLOSING;
    pthread_mutex_unlock(&m->s->models_lock);
    slv_log(SLV_LOG_INFO, "%s: unloaded", m->name);
    close_parts(m);
    pthread_mutex_lock(&m->s->models_lock);
    m->s->models_bytes -= m->bytes;
    m->bytes = 0;
    m->state = MODEL_UNLOADED;
    if (m->pending) want(m); /* somebody asked for it meanwhile */
}

/* Takes `least` bytes off the budget, closing others; waits for them to be unused. One that nobody
 * has asked for yet closes none. SLV_E_FIT: there will not be so many. */
static int take_budget(struct serve_model *m, uint64_t least, struct slv_err *err) {
    struct slv_serve *s = m->s;
    int rc = 0;
    if (least > s->o.memory) m->early = false; /* there will never be room */
    pthread_mutex_lock(&s->models_lock);
    while (!rc && s->models_bytes + least > s->o.memory) {
        struct serve_model *idle = m->early ? NULL : find_idle(s);
        uint64_t kept = m->early ? s->models_bytes : pinned_bytes(s);
        if (kept + least > s->o.memory)
            rc = slv_err_set(err, SLV_E_FIT, "needs %.0f MiB, %.0f of %.0f are to be had",
                             (double)least / 0x1p20, (double)(s->o.memory - kept) / 0x1p20,
                             (double)s->o.memory / 0x1p20);
        else if (idle) unload(idle);
        else if (s->models_stop) rc = slv_err_set(err, SLV_E_BUSY, "the server is stopping");
        else pthread_cond_wait(&s->models_cond, &s->models_lock);
    }
    if (!rc) {
        s->models_bytes += least;
        m->bytes = least;
    }
    pthread_mutex_unlock(&s->models_lock);
    return rc;
}

/* As much more as the cache would like and the budget has. */
static uint64_t take_more(struct serve_model *m, uint64_t want) {
    struct slv_serve *s = m->s;
    pthread_mutex_lock(&s->models_lock);
    uint64_t left = s->o.memory - s->models_bytes;
    if (want > left) want = left;
    s->models_bytes += want;
    m->bytes += want;
    pthread_mutex_unlock(&s->models_lock);
    return want;
}

static int open_batch(struct serve_model *m, const struct needs *n, struct slv_err *err) {
    struct slv_serve *s = m->s;
    if (m->info.encoder) return 0;
    const struct slv_prefix_cache_opts po = {
        .kv = s->o.kv, .bytes = n->kv_least + take_more(m, n->kv_most - n->kv_least)};
    const struct slv_batch_opts bo = {
        .n_sessions = 2 * s->o.slots, /* who is worth more takes a place, and another waits */
        .n_at_once = s->o.slots,
        .n_batch = N_BATCH,
        .n_beside = N_BESIDE,
        .spill = s->o.spill,
        .threads = s->o.threads};
    int rc = slv_prefix_cache_open(m->m, &po, &m->prefix, err);
    if (!rc) rc = slv_batch_open(m->m, &bo, &m->batch, err);
    while (!rc && slv_prefix_warm(m->prefix)) {
    }
    return rc;
}

static int open_model(struct serve_model *m, struct slv_err *err) {
    struct slv_serve *s = m->s;
    struct slv_model_opts mo = {.threads = s->o.threads, .inspect = true};
    struct slv_model *look = NULL;
    struct needs n = {0};
    int rc = s->o.open(s->o.open_ctx, m->path, &mo, &look, err);
    if (rc) return rc;
    slv_model_info(look, &m->info);
    rc = measure(s, look, &m->info, &n, err);
    slv_model_close(look);
    if (rc == SLV_E_FIT) m->early = false; /* there will never be room */
    if (!rc) rc = take_budget(m, n.fixed + n.kv_least, err);
    if (rc) return rc;
    mo.inspect = false;
    rc = s->o.open(s->o.open_ctx, m->path, &mo, &m->m, err);
    if (!rc) slv_model_info(m->m, &m->info);
    m->ctx = n.ctx;
    return rc ? rc : open_batch(m, &n, err);
}

/* Clients need not know of the server's files: the log says the rest. */
static bool refuse_failed(const struct serve_model *m, struct serve_fail *f) {
    if (m->why.code == SLV_E_FIT || m->why.code == SLV_E_BUSY)
        return serve_refuse_err(f, 503, "model", &m->why);
    return serve_refuse(f, 503, "model", "model_unavailable",
                        "%s cannot be loaded: the server's log says why", m->name);
}

static void load(struct serve_model *m) {
    struct slv_serve *s = m->s;
    struct slv_err err = {0};
    const uint64_t t = serve_now();
    int rc = open_model(m, &err);
    bool later = rc == SLV_E_FIT && m->early; /* there is room for others only */
    if (rc) {
        slv_log(later ? SLV_LOG_INFO : SLV_LOG_ERROR, "%s: %s%s", m->name, err.msg,
                later ? ": opened when it is asked for" : "");
        close_parts(m);
    } else {
        slv_log(SLV_LOG_INFO, "%s: ready in %.0f ms, %.0f MiB of memory, %u positions a request",
                m->name, (double)(serve_now() - t) / 1e6, (double)m->bytes / 0x1p20, m->ctx);
        slv_metrics_add(s->metrics, M_LOADS, m->name, NULL, 1.0);
    }
    pthread_mutex_lock(&s->models_lock);
    if (rc) {
        s->models_bytes -= m->bytes;
        m->bytes = 0;
        m->failed_at = serve_now();
        m->why = err;
    }
    m->state = later ? MODEL_UNLOADED : rc ? MODEL_FAILED : MODEL_READY;
    if (later && m->pending) want(m);
    m->last_used = serve_now();
    m->created = slv_clock_wall(&slv_clock_system) / 1000000000u;
    if (m->state != MODEL_WANTED) serve_pending_wake(m, refuse_failed);
    pthread_mutex_unlock(&s->models_lock);
}

/* All that were to be there from the beginning have been tried: a server that has none of them is
 * of no use to anybody, and who started it is told why. The lock is held. */
static void check_first(struct slv_serve *s) {
    s->models_tried = true;
    for (size_t i = 0; i < s->o.n_models; i++)
        if (s->model[i].state != MODEL_FAILED) return;
    s->failed = s->model[0].why;
    slv_serve_stop(s);
}

static void *run_loader(void *arg) {
    struct slv_serve *s = arg;
    pthread_mutex_lock(&s->models_lock);
    while (!s->models_stop) {
        struct serve_model *next = NULL;
        for (size_t i = 0; i < s->o.n_models; i++) {
            struct serve_model *m = &s->model[i];
            if (m->state == MODEL_WANTED && (!next || m->last_used < next->last_used)) next = m;
        }
        if (!next) {
            if (s->o.load_all && !s->models_tried) check_first(s);
            pthread_cond_wait(&s->models_cond, &s->models_lock);
            continue;
        }
        next->early = !next->asked;
        pthread_mutex_unlock(&s->models_lock);
        load(next);
        pthread_mutex_lock(&s->models_lock);
    }
    pthread_mutex_unlock(&s->models_lock);
    return NULL;
}

/* --- from others ------------------------------------------------------------------------------ */

/* The lock is held. */
static void want(struct serve_model *m) {
    m->state = MODEL_WANTED;
    m->last_used = serve_now();
    pthread_cond_broadcast(&m->s->models_cond);
}

bool serve_model_get(struct serve_model *m, struct serve_call *c, bool *ret_ready,
                     struct serve_fail *f) {
    struct slv_serve *s = m->s;
    bool ok = true;
    *ret_ready = false;
    pthread_mutex_lock(&s->models_lock);
    if (m->state == MODEL_FAILED && serve_now() - m->failed_at < RETRY_NS) ok = refuse_failed(m, f);
    else if (s->models_stop) ok = serve_refuse(f, 503, NULL, "stopping", "the server is stopping");
    if (ok && m->state == MODEL_READY) {
        m->users++;
        m->last_used = serve_now();
        c->model = m;
        *ret_ready = true;
    } else if (ok) {
        m->asked = true;
        if (m->state != MODEL_WANTED && m->state != MODEL_CLOSING) want(m);
        serve_pending_add(m, c);
    }
    pthread_mutex_unlock(&s->models_lock);
    return ok;
}

bool serve_model_hold(struct serve_model *m) {
    pthread_mutex_lock(&m->s->models_lock);
    bool ready = m->state == MODEL_READY;
    m->users += ready;
    pthread_mutex_unlock(&m->s->models_lock);
    return ready;
}

void serve_model_put(struct serve_model *m) {
    pthread_mutex_lock(&m->s->models_lock);
    /* (who was late has not used it: of one that is wanted it says since when) */
    if (m->state == MODEL_READY) m->last_used = serve_now();
    if (!--m->users) pthread_cond_broadcast(&m->s->models_cond); /* who waits for the memory */
    pthread_mutex_unlock(&m->s->models_lock);
}

void serve_model_pin(struct serve_model *m, bool on) {
    pthread_mutex_lock(&m->s->models_lock);
    if (on) m->n_pins++;
    else m->n_pins--;
    pthread_cond_broadcast(&m->s->models_cond);
    pthread_mutex_unlock(&m->s->models_lock);
}

bool serve_model_take(struct serve_model *m, uint64_t bytes) {
    struct slv_serve *s = m->s;
    pthread_mutex_lock(&s->models_lock);
    bool fits = s->models_bytes + bytes <= s->o.memory;
    if (fits) {
        s->models_bytes += bytes;
        m->bytes += bytes;
    }
    pthread_mutex_unlock(&s->models_lock);
    return fits;
}

void serve_model_give(struct serve_model *m, uint64_t bytes) {
    pthread_mutex_lock(&m->s->models_lock);
    m->s->models_bytes -= bytes;
    m->bytes -= bytes;
    pthread_cond_broadcast(&m->s->models_cond);
    pthread_mutex_unlock(&m->s->models_lock);
}

void serve_models_measure(struct slv_serve *s) {
    uint32_t loaded = 0;
    pthread_mutex_lock(&s->models_lock);
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct serve_model *m = &s->model[i];
        struct slv_prefix_stats st = {0};
        if (m->state != MODEL_READY) continue;
        loaded++;
        if (!m->prefix) continue;
        slv_prefix_cache_stats(m->prefix, &st);
        slv_metrics_set(s->metrics, M_KV_USED, m->name, NULL, (double)st.bytes);
        slv_metrics_set(s->metrics, M_KV_BUDGET, m->name, NULL, (double)st.budget);
        slv_metrics_set(s->metrics, M_CACHE_HITS, m->name, NULL, (double)st.hits);
        slv_metrics_set(s->metrics, M_CACHE_MISSES, m->name, NULL, (double)st.misses);
    }
    slv_metrics_set(s->metrics, M_MEMORY_USED, NULL, NULL, (double)s->models_bytes);
    slv_metrics_set(s->metrics, M_MEMORY_BUDGET, NULL, NULL, (double)s->o.memory);
    pthread_mutex_unlock(&s->models_lock);
    slv_metrics_set(s->metrics, M_MODELS_LOADED, NULL, NULL, loaded);
}

/* --- life ------------------------------------------------------------------------------------- */

int serve_models_open(struct slv_serve *s, struct slv_err *err) {
    pthread_mutex_init(&s->models_lock, NULL);
    pthread_cond_init(&s->models_cond, NULL);
    serve_pending_init(s);
    if (!s->o.memory) s->o.memory = memory_free() / 5 * 4;
    if (!s->o.slots) s->o.slots = SLOTS_DEFAULT;
    s->model = slv_mem_calloc(s->o.n_models, sizeof *s->model);
    if (!s->model) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    for (size_t i = 0; i < s->o.n_models; i++) {
        s->model[i] =
            (struct serve_model){.s = s, .name = s->o.models[i].name, .path = s->o.models[i].path};
        pthread_mutex_init(&s->model[i].constraints_lock, NULL);
        pthread_mutex_init(&s->model[i].adapters_lock, NULL);
        if (s->o.load_all) want(&s->model[i]);
    }
    int rc = slv_thread_start(&s->loader, run_loader, s);
    s->has_loader = !rc;
    if (!rc) rc = serve_pending_start(s);
    return rc ? slv_err_set(err, rc, "no thread to open models") : 0;
}

void serve_models_stop(struct slv_serve *s) {
    pthread_mutex_lock(&s->models_lock);
    s->models_stop = true;
    pthread_cond_broadcast(&s->models_cond);
    pthread_mutex_unlock(&s->models_lock);
    if (s->has_loader) pthread_join(s->loader, NULL);
    s->has_loader = false;
    serve_pending_stop(s);
    pthread_mutex_lock(&s->models_lock);
    for (size_t i = 0; i < s->o.n_models; i++) {
        struct serve_model *m = &s->model[i];
        if (!m->pending) continue;
        slv_err_set(&m->why, SLV_E_BUSY, "the server is stopping");
        m->state = MODEL_FAILED;
        serve_pending_wake(m, refuse_failed);
    }
    pthread_mutex_unlock(&s->models_lock);
}

void serve_models_close(struct slv_serve *s) {
    for (size_t i = 0; i < s->o.n_models; i++) {
        close_parts(&s->model[i]);
        pthread_mutex_destroy(&s->model[i].constraints_lock);
        pthread_mutex_destroy(&s->model[i].adapters_lock);
    }
    slv_mem_free(s->model);
    s->model = NULL;
    pthread_cond_destroy(&s->models_cond);
    pthread_cond_destroy(&s->pending_cond);
    pthread_mutex_destroy(&s->models_lock);
}
