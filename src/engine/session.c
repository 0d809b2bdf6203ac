/* session.c: one conversation: its cache, its runner, its history. See selvage.h. */
#include "engine/session.h"
#include "base/err.h"
#include "base/mem.h"
#include "engine/batch.h"
#include "engine/lora.h"

#include <math.h>
#include <string.h>

/* --- opening ---------------------------------------------------------------------------------- */

/* The largest context that fits, 0 if none does. */
static uint32_t largest_context(const struct slv_model *m, struct slv_session_opts o) {
    uint32_t lo = 0, hi = m->h.n_ctx;
    while (lo < hi) {
        struct slv_memory mem;
        o.n_ctx = lo + (hi - lo + 1) / 2;
        if (!slv_model_memory(m, &o, &mem, NULL) && mem.total <= o.memory) lo = o.n_ctx;
        else hi = o.n_ctx - 1;
    }
    return lo;
}

static int check_memory(const struct slv_model *m, const struct slv_session_opts *o,
                        struct slv_err *err) {
    struct slv_memory mem;
    int rc = slv_model_memory(m, o, &mem, err);
    if (rc || !o->memory || mem.total <= o->memory) return rc;
    uint32_t fits = largest_context(m, *o);
    const double mib = 1024.0 * 1024.0;
    if (!fits)
        return slv_err_set(err, SLV_E_FIT,
                           "needs %.1f MiB (weights %.1f, KV %.1f, arena %.1f), %.1f are allowed: "
                           "no context fits",
                           (double)mem.total / mib, (double)mem.weights / mib, (double)mem.kv / mib,
                           (double)mem.arena / mib, (double)o->memory / mib);
    return slv_err_set(err, SLV_E_FIT,
                       "needs %.1f MiB for a context of %u, %.1f are allowed: the largest context "
                       "that fits is %u",
                       (double)mem.total / mib, o->n_ctx, (double)o->memory / mib, fits);
}

/* What a session by itself has. */
static int open_parts(struct slv_session *s) {
    struct slv_runner_model parts = {&s->m->h, &s->m->w, &s->m->plan, &s->m->kern};
    s->tok = slv_mem_calloc(s->o.n_batch, sizeof *s->tok);
    int rc = s->tok ? slv_team_open(s->o.threads, &s->team) : SLV_E_NOMEM;
    if (!rc) rc = slv_runner_open(&parts, s->o.n_batch, s->o.n_logits, s->team, &s->runner);
    return rc ? rc : slv_runner_few(s->runner, s->o.threads_few);
}

/* Its share of a prefix cache: what it wants at first, of one that could hold all it may want. */
static int open_share(struct slv_session *s, enum slv_kv_type type, struct slv_err *err) {
    const struct slv_session_opts *o = &s->o;
    struct slv_pool *pool = o->prefix->pool;
    const uint32_t first = o->n_first && o->n_first < o->n_ctx ? o->n_first : o->n_ctx;
    const size_t all = slv_kv_shared_bytes(&s->m->h, type, o->n_ctx, o->n_batch);
    int rc = slv_kv_borrow(&s->kv, &s->m->h, type, o->n_ctx, o->n_batch, pool);
    if (!rc) rc = all > pool->budget ? SLV_E_FIT : slv_kv_reserve(&s->kv, first);
    if (rc != SLV_E_FIT) return rc;
    return slv_err_set(err, rc,
                       "a session of %u positions needs %.1f MiB of a prefix cache of %.1f, which "
                       "has %.1f to give",
                       o->n_ctx, (double)all / 0x1p20, (double)pool->budget / 0x1p20,
                       (double)(pool->budget - pool->reserved) / 0x1p20);
}

static int open_kv(struct slv_session *s, struct slv_err *err) {
    const struct slv_session_opts *o = &s->o;
    enum slv_kv_type type = slv_kv_type_of(o->kv);
    if (o->prefix) return open_share(s, type, err);
    return slv_kv_init(&s->kv, &s->m->h, type, o->n_ctx, o->n_batch, NULL);
}

int slv_session_open(struct slv_model *m, const struct slv_session_opts *opts,
                     struct slv_session **ret, struct slv_err *err) {
    struct slv_session_opts o = {0};
    int rc = slv_model_check_generates(m, err);
    if (!rc) rc = slv_session_opts_fill(m, opts, &o, err);
    if (!rc) rc = check_memory(m, &o, err);
    if (!rc && m->inspect)
        rc = slv_err_set(err, SLV_E_USAGE, "the model was opened for inspection only");
    if (rc) return rc;
    struct slv_session *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    s->m = m;
    s->o = o;
    s->history = slv_mem_calloc(o.n_ctx, sizeof *s->history);
    if (!s->history) rc = SLV_E_NOMEM;
    if (!rc) rc = open_kv(s, err);
    if (!rc && o.batch) slv_batch_lend(o.batch, s);
    else if (!rc) rc = open_parts(s);
    if (!rc && o.n_draft) rc = slv_speculator_open(o.n_ctx, o.n_draft, &s->spec);
    if (rc) {
        slv_session_close(s);
        if (rc == SLV_E_FIT) return rc; /* said already */
        return slv_err_set(err, rc, "no memory for a session of %u positions", o.n_ctx);
    }
    slv_prefix_join(&s->prefix, o.prefix, o.n_ctx, o.space, &s->adapters);
    *ret = s;
    return 0;
}

void slv_session_close(struct slv_session *s) {
    if (!s) return;
    slv_speculator_close(s->spec);
    if (s->batch) {
        slv_batch_take_back(s->batch, s);
    } else {
        slv_runner_close(s->runner);
        slv_team_close(s->team);
        slv_mem_free(s->tok);
    }
    slv_session_give(s);
    slv_prefix_part(&s->prefix);
    slv_kv_fini(&s->kv);
    slv_mem_free(s->history);
    slv_mem_free(s);
}

uint32_t slv_session_position(const struct slv_session *s) { return s->kv.n_pos; }

uint32_t slv_session_context(const struct slv_session *s) { return s->o.n_ctx; }

void slv_session_cancel(struct slv_session *s, bool stop) {
    atomic_store_explicit(&s->cancelled, stop, memory_order_relaxed);
}

bool slv_session_take_cancel(struct slv_session *s) {
    return atomic_exchange_explicit(&s->cancelled, false, memory_order_relaxed);
}

const float *slv_session_logits(const struct slv_session *s) {
    bool there = s->has_logits && s->logits_of == slv_runner_steps(s->runner);
    return there ? slv_runner_logits(s->runner, s->row) : NULL;
}

void slv_session_has_logits(struct slv_session *s, bool has, uint32_t row) {
    s->has_logits = has;
    s->row = row;
    s->logits_of = slv_runner_steps(s->runner);
}

void slv_session_give(struct slv_session *s) { slv_prefix_give(&s->prefix, &s->kv, s->history); }

int slv_session_back(struct slv_session *s, uint32_t n) {
    if (n > s->kv.n_pos || s->joined) return SLV_E_USAGE;
    if (!slv_kv_rewind(&s->kv, n) &&
        (!slv_prefix_recover(&s->prefix, &s->kv, n) || !slv_kv_rewind(&s->kv, n)))
        return SLV_E_LIMIT;
    slv_prefix_back(&s->prefix, n);
    s->has_logits = false;
    return 0;
}

int slv_session_rewind(struct slv_session *s, uint32_t n) {
    if (n < s->kv.n_pos && !s->joined) slv_session_give(s);
    return slv_session_back(s, n);
}

int slv_session_resume(struct slv_session *s, const int32_t *ids, size_t n, uint32_t *ret,
                       struct slv_err *err) {
    uint32_t same = 0;
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    if (!n) return slv_err_set(err, SLV_E_USAGE, "no tokens to read");
    if (n > s->o.n_ctx)
        return slv_err_set(err, SLV_E_LIMIT, "%zu tokens do not fit in a context of %u", n,
                           s->o.n_ctx);
    while (same < s->kv.n_pos && same + 1 < n && s->history[same] == ids[same])
        same++;
    if (same < s->kv.n_pos && slv_session_rewind(s, same)) { /* a window has moved on */
        same = 0;
        int rc = slv_session_rewind(s, 0);
        if (rc) return slv_err_set(err, rc, "%s", slv_strerror(rc));
    }
    slv_session_take(s, ids + same, n - same);
    *ret = s->kv.n_pos;
    return 0;
}

/* --- adapters --------------------------------------------------------------------------------- */

static int make_set(const struct slv_model *m, const struct slv_adapter_use *v, size_t n,
                    struct slv_adapter_set *ret, struct slv_err *err) {
    *ret = (struct slv_adapter_set){.n = n};
    if (n > SLV_ADAPTERS_MAX)
        return slv_err_set(err, SLV_E_USAGE, "%zu adapters, the limit is %u", n, SLV_ADAPTERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (v[i].adapter->m != m)
            return slv_err_set(err, SLV_E_USAGE, "adapter %zu is one of another model", i + 1);
        if (!isfinite(v[i].scale))
            return slv_err_set(err, SLV_E_USAGE, "adapter %zu: its scale is no number", i + 1);
        ret->use[i] = v[i];
        ret->width += v[i].adapter->width;
    }
    return 0;
}

/* Room for their work in a session that makes its own steps. */
static int make_room(struct slv_session *s, size_t width, struct slv_err *err) {
    struct slv_memory mem = {0};
    int rc = slv_model_memory(s->m, &s->o, &mem, err);
    if (rc) return rc;
    const uint64_t all = mem.total + slv_lora_bytes(s->o.n_batch, width);
    if (s->o.memory && all > s->o.memory)
        return slv_err_set(err, SLV_E_FIT, "needs %.1f MiB with its adapters, %.1f are allowed",
                           (double)all / 0x1p20, (double)s->o.memory / 0x1p20);
    if (slv_runner_adapt(s->runner, width))
        return slv_err_set(err, SLV_E_NOMEM, "no memory for adapters");
    return 0;
}

int slv_session_set_adapters(struct slv_session *s, const struct slv_adapter_use *v, size_t n,
                             struct slv_err *err) {
    struct slv_adapter_set set;
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    if (s->kv.n_pos)
        return slv_err_set(err, SLV_E_USAGE, "adapters are chosen while the session is empty");
    int rc = make_set(s->m, v, n, &set, err);
    if (!rc && n)
        rc = s->batch ? slv_batch_adapt(s->batch, set.width, err) : make_room(s, set.width, err);
    if (rc) return rc;
    s->adapters = set;
    slv_prefix_part(&s->prefix);
    slv_prefix_join(&s->prefix, s->o.prefix, s->o.n_ctx, s->o.space, &s->adapters);
    return 0;
}

/* --- feeding ---------------------------------------------------------------------------------- */

int slv_session_check_feed(const struct slv_session *s, const int32_t *ids, size_t n,
                           struct slv_err *err) {
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    if (!n) return slv_err_set(err, SLV_E_USAGE, "no tokens to read");
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->m->h.n_vocab)
            return slv_err_set(err, SLV_E_USAGE, "token %d is not in the vocabulary", ids[i]);
    if (n > s->o.n_ctx - s->kv.n_pos)
        return slv_err_set(err, SLV_E_LIMIT, "%zu tokens after %u do not fit in a context of %u%s",
                           n, s->kv.n_pos, s->o.n_ctx,
                           s->o.n_ctx < s->m->h.n_ctx ? ": ask for a longer one" : "");
    return 0;
}

int slv_session_room(struct slv_session *s, uint32_t n) {
    return n <= s->kv.n_room ? 0 : slv_kv_reserve(&s->kv, n);
}

void slv_session_drop(struct slv_session *s) {
    slv_session_give(s);
    bool empty = slv_kv_rewind(&s->kv, 0) && !slv_kv_reserve(&s->kv, 0); /* none is too many */
    (void)empty;
    slv_prefix_back(&s->prefix, 0);
    s->has_logits = false;
}

int slv_session_put(struct slv_session *s, const int32_t *ids, uint32_t n, uint32_t from,
                    struct slv_step_token *tok) {
    int rc = slv_session_room(s, s->kv.n_pos + n);
    if (!rc) rc = slv_kv_ready(&s->kv, n);
    if (rc) return rc;
    for (uint32_t i = 0; i < n; i++)
        tok[i] = (struct slv_step_token){.kv = &s->kv,
                                         .id = ids[i],
                                         .pos = s->kv.n_pos + i,
                                         .logits = i >= from,
                                         .adapters = s->adapters.n ? &s->adapters : NULL};
    s->has_logits = false;
    return 0;
}

int slv_session_step(struct slv_session *s, const int32_t *ids, uint32_t n, uint32_t from) {
    int rc = slv_session_put(s, ids, n, from, s->tok);
    if (rc) return rc;
    slv_runner_watch(s->runner, &s->cancelled);
    return slv_step(s->runner, s->tok, n);
}

void slv_session_keep(struct slv_session *s, const int32_t *ids, uint32_t n) {
    int32_t *to = s->history + s->kv.n_pos;
    if (to != ids) memcpy(to, ids, n * sizeof *ids);
    s->kv.n_pos += n;
    slv_prefix_grow(&s->prefix, &s->kv, s->history);
}

uint32_t slv_session_take(struct slv_session *s, const int32_t *ids, size_t n) {
    if (!s->prefix.cache) return 0;
    int32_t *to = s->history + s->kv.n_pos;
    if (to != ids) memcpy(to, ids, n * sizeof *ids);
    uint32_t end = s->kv.n_pos + (uint32_t)n;
    if (end > s->kv.n_room && slv_kv_reserve(&s->kv, end)) end = s->kv.n_room;
    uint32_t k = slv_prefix_take(&s->prefix, &s->kv, s->history, end);
    if (k) s->has_logits = false;
    s->reused += k;
    return k;
}

int slv_session_feed_each(struct slv_session *s, const int32_t *ids, size_t n, slv_logits_fn each,
                          void *ctx, struct slv_err *err) {
    int rc = slv_session_check_feed(s, ids, n, err);
    uint32_t most = each ? s->o.n_logits : s->o.n_batch;
    size_t done = rc || each ? 0 : slv_session_take(s, ids, n);
    while (done < n && !rc) {
        uint32_t k = n - done < most ? (uint32_t)(n - done) : most;
        uint32_t from = each ? 0 : done + k == n ? k - 1 : k;
        if (slv_session_take_cancel(s)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
        rc = slv_session_step(s, ids + done, k, from);
        if (rc == SLV_E_CANCELLED && slv_session_take_cancel(s))
            return slv_err_set(err, rc, "interrupted");
        if (rc) return slv_err_set(err, rc, "%s at position %u", slv_strerror(rc), s->kv.n_pos);
        slv_session_keep(s, ids + done, k);
        for (uint32_t i = 0; each && i < k; i++)
            each(done + i, slv_runner_logits(s->runner, i), ctx);
        done += k;
        slv_session_has_logits(s, !each && done == n, 0);
    }
    return rc;
}

int slv_session_feed(struct slv_session *s, const int32_t *ids, size_t n, struct slv_err *err) {
    return slv_session_feed_each(s, ids, n, NULL, NULL, err);
}
