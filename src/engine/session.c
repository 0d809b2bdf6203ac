/* session.c: one conversation: its cache, its runner, its history; and generation. See selvage.h.
 */
#include "base/err.h"
#include "base/mem.h"
#include "engine/model.h"
#include "engine/sampler.h"
#include "engine/step.h"
#include "format/stream.h"

#include <stdatomic.h>
#include <string.h>

struct slv_session {
    struct slv_model *m;
    struct slv_session_opts o;
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_kv kv;
    int32_t *history;             /* [n_ctx], kv.n_pos of them */
    struct slv_step_token *batch; /* [n_batch] */
    bool has_logits;
    _Atomic bool cancelled;
};

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

int slv_session_open(struct slv_model *m, const struct slv_session_opts *opts,
                     struct slv_session **ret, struct slv_err *err) {
    struct slv_session_opts o = {0};
    int rc = slv_session_opts_fill(m, opts, &o, err);
    if (!rc) rc = check_memory(m, &o, err);
    if (!rc && m->inspect)
        rc = slv_err_set(err, SLV_E_USAGE, "the model was opened for inspection only");
    if (rc) return rc;
    struct slv_session *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    s->m = m;
    s->o = o;
    s->history = slv_mem_calloc(o.n_ctx, sizeof *s->history);
    s->batch = slv_mem_calloc(o.n_batch, sizeof *s->batch);
    struct slv_runner_model parts = {&m->h, &m->w, &m->plan, &m->kern};
    if (!s->history || !s->batch) rc = SLV_E_NOMEM;
    if (!rc) rc = slv_kv_init(&s->kv, &m->h, slv_kv_type_of(o.kv), o.n_ctx, o.n_batch);
    if (!rc) rc = slv_team_open(o.threads, &s->team);
    if (!rc) rc = slv_runner_open(&parts, o.n_batch, o.n_logits, s->team, &s->runner);
    if (!rc) slv_runner_watch(s->runner, &s->cancelled);
    if (rc) {
        slv_session_close(s);
        return slv_err_set(err, rc, "no memory for a session of %u positions", o.n_ctx);
    }
    *ret = s;
    return 0;
}

void slv_session_close(struct slv_session *s) {
    if (!s) return;
    slv_runner_close(s->runner);
    slv_team_close(s->team);
    slv_kv_fini(&s->kv);
    slv_mem_free(s->history);
    slv_mem_free(s->batch);
    slv_mem_free(s);
}

uint32_t slv_session_position(const struct slv_session *s) { return s->kv.n_pos; }

uint32_t slv_session_context(const struct slv_session *s) { return s->o.n_ctx; }

void slv_session_cancel(struct slv_session *s, bool stop) {
    atomic_store_explicit(&s->cancelled, stop, memory_order_relaxed);
}

static bool take_cancel(struct slv_session *s) {
    return atomic_exchange_explicit(&s->cancelled, false, memory_order_relaxed);
}

const float *slv_session_logits(const struct slv_session *s) {
    return s->has_logits ? slv_runner_logits(s->runner, 0) : NULL;
}

int slv_session_rewind(struct slv_session *s, uint32_t n) {
    if (n > s->kv.n_pos) return SLV_E_USAGE;
    if (!slv_kv_rewind(&s->kv, n)) return SLV_E_LIMIT;
    s->has_logits = false;
    return 0;
}

/* --- feeding ---------------------------------------------------------------------------------- */

static int check_feed(const struct slv_session *s, const int32_t *ids, size_t n,
                      struct slv_err *err) {
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

int slv_session_feed_each(struct slv_session *s, const int32_t *ids, size_t n, slv_logits_fn each,
                          void *ctx, struct slv_err *err) {
    int rc = check_feed(s, ids, n, err);
    uint32_t most = each ? s->o.n_logits : s->o.n_batch;
    for (size_t done = 0; done < n && !rc;) {
        uint32_t k = n - done < most ? (uint32_t)(n - done) : most;
        if (take_cancel(s)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
        for (uint32_t i = 0; i < k; i++)
            s->batch[i] = (struct slv_step_token){.kv = &s->kv,
                                                  .id = ids[done + i],
                                                  .pos = s->kv.n_pos + i,
                                                  .logits = each || done + i + 1 == n};
        s->has_logits = false;
        if (s->kv.n_pos + k > s->kv.highest) s->kv.highest = s->kv.n_pos + k;
        rc = slv_step(s->runner, s->batch, k);
        if (rc == SLV_E_CANCELLED && take_cancel(s)) return slv_err_set(err, rc, "interrupted");
        if (rc) return slv_err_set(err, rc, "%s at position %u", slv_strerror(rc), s->kv.n_pos);
        memcpy(s->history + s->kv.n_pos, ids + done, k * sizeof *ids);
        s->kv.n_pos += k;
        for (uint32_t i = 0; each && i < k; i++)
            each(done + i, slv_runner_logits(s->runner, i), ctx);
        done += k;
        s->has_logits = !each && done == n;
    }
    return rc;
}

int slv_session_feed(struct slv_session *s, const int32_t *ids, size_t n, struct slv_err *err) {
    return slv_session_feed_each(s, ids, n, NULL, NULL, err);
}

/* --- generating ------------------------------------------------------------------------------- */

void slv_generate_default(struct slv_generate_opts *ret) {
    *ret = (struct slv_generate_opts){0};
    slv_sampling_default(&ret->sampling);
}

/* DRY does not look back across a line's end or a control token. */
static bool breaks_sequence(const void *ctx, int32_t id) {
    const struct slv_tokenizer *t = ctx;
    if (slv_tokenizer_kind(t, id) == SLV_TOKEN_CONTROL) return true;
    struct slv_str p = slv_tokenizer_piece(t, id);
    for (size_t i = 0; i < p.n; i++)
        if (memchr("\n:\"*", p.p[i], 4)) return true;
    return p.n == 2 && !memcmp(p.p, "\xc4\x8a", 2); /* byte-level BPE writes a newline so */
}

struct generation {
    struct slv_session *s;
    const struct slv_generate_opts *o;
    struct slv_sampler *sampler;
    struct slv_stream stream;
    struct slv_buf text; /* given out, and what is held back at its end */
    size_t given;
    struct slv_logprob top[SLV_TOP_LOGPROBS_MAX];
    slv_piece_fn piece;
    void *ctx;
};

/* How many bytes at the end of text could be the beginning of a stop string. */
static size_t held_back(const struct generation *g) {
    size_t most = 0;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]), left = g->text.len - g->given;
        for (size_t k = n - 1 < left ? n - 1 : left; k > most; k--)
            if (!memcmp(g->text.data + g->text.len - k, g->o->stop[i], k)) most = k;
    }
    return most;
}

/* The first stop string in what has not been given out; its offset, or SIZE_MAX. */
static size_t find_stop(const struct generation *g) {
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < g->o->n_stop; i++) {
        size_t n = strlen(g->o->stop[i]);
        for (size_t at = g->given; at + n <= g->text.len && at < first; at++)
            if (!memcmp(g->text.data + at, g->o->stop[i], n)) first = at;
    }
    return first;
}

/* Gives out text up to `end`, with the token it came with. */
static bool give(struct generation *g, size_t end, int32_t id, float logprob, size_t n_top) {
    struct slv_piece p = {.text = g->text.data + g->given,
                          .n = end - g->given,
                          .id = id,
                          .logprob = logprob,
                          .top = g->top,
                          .n_top = n_top};
    g->given = end;
    return !g->piece || g->piece(&p, g->ctx);
}

/* One token: drawn, shown, fed. *ret_done when the answer ended. */
static int generate_one(struct generation *g, bool *ret_done, struct slv_err *err) {
    struct slv_session *s = g->s;
    const float *logits = slv_session_logits(s);
    uint32_t n_vocab = s->m->h.n_vocab, pos = s->kv.n_pos;
    int32_t id = slv_sampler_draw(g->sampler, logits, s->history, pos, pos);
    float logprob = 0.0f;
    size_t n_top = g->o->want_logprobs ? g->o->logprobs : 0;
    if (g->o->want_logprobs) slv_logprobs(logits, n_vocab, id, &logprob, g->top, n_top);
    if (!g->o->ignore_end && slv_tokenizer_is_end(s->m->tokenizer, id)) {
        *ret_done = true;
        return 0;
    }
    int rc = slv_stream_add(&g->stream, id, &g->text);
    if (rc) return slv_err_set(err, rc, "the answer's text: %s", slv_strerror(rc));
    size_t stop = find_stop(g), end = stop < SIZE_MAX ? stop : g->text.len - held_back(g);
    if (!give(g, end, id, logprob, n_top)) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    *ret_done = stop < SIZE_MAX;
    if (*ret_done) g->text.len = g->given; /* nothing after a stop string is shown */
    return *ret_done ? 0 : slv_session_feed(s, &id, 1, err);
}

static int generate_all(struct generation *g, enum slv_finish *ret_finish, struct slv_err *err) {
    for (uint32_t n = 0;; n++) {
        bool done = false;
        if (g->o->max_tokens && n == g->o->max_tokens) {
            *ret_finish = SLV_FINISH_LENGTH;
            break;
        }
        if (g->s->kv.n_pos == g->s->o.n_ctx) {
            *ret_finish = SLV_FINISH_LIMIT;
            break;
        }
        int rc = generate_one(g, &done, err);
        if (rc) return rc;
        if (done) {
            *ret_finish = SLV_FINISH_STOP;
            break;
        }
    }
    if (g->given == g->text.len && !g->stream.n_held) return 0;
    slv_stream_end(&g->stream, &g->text);
    if (g->text.status) return slv_err_set(err, g->text.status, "the answer's text is too long");
    give(g, g->text.len, -1, 0.0f, 0);
    return 0;
}

#define ANSWER_MAX ((size_t)64 << 20)

int slv_session_generate(struct slv_session *s, const struct slv_generate_opts *opts,
                         slv_piece_fn piece, void *ctx, enum slv_finish *ret_finish,
                         struct slv_err *err) {
    if (!s->has_logits) return slv_err_set(err, SLV_E_USAGE, "nothing was fed to the session");
    if (opts->logprobs > SLV_TOP_LOGPROBS_MAX || opts->logprobs > s->m->h.n_vocab)
        return slv_err_set(err, SLV_E_USAGE, "logprobs: at most %d", SLV_TOP_LOGPROBS_MAX);
    for (size_t i = 0; i < opts->n_stop; i++)
        if (!*opts->stop[i]) return slv_err_set(err, SLV_E_USAGE, "stop: an empty string");
    struct generation g = {.s = s, .o = opts, .piece = piece, .ctx = ctx};
    int rc = slv_sampler_open(&opts->sampling, s->m->h.n_vocab, breaks_sequence, s->m->tokenizer,
                              &g.sampler, err);
    if (rc) return rc;
    slv_stream_init(&g.stream, s->m->tokenizer, opts->special, false);
    slv_buf_init(&g.text, ANSWER_MAX);
    enum slv_finish finish = SLV_FINISH_STOP;
    rc = generate_all(&g, &finish, err);
    slv_sampler_close(g.sampler);
    slv_buf_fini(&g.text);
    if (!rc && ret_finish) *ret_finish = finish;
    return rc;
}
