/* batch.c: see batch.h. */
#include "engine/batch.h"
#include "base/err.h"
#include "base/mem.h"
#include "engine/park.h"

#include <string.h>

#define DEFAULT_SESSIONS 8u
#define MAX_SESSIONS 1024u
#define DEFAULT_BESIDE 32u

/* --- opening ---------------------------------------------------------------------------------- */

static int fill(const struct slv_model *m, const struct slv_batch_opts *in,
                struct slv_batch_opts *ret, struct slv_session_opts *ret_step,
                struct slv_err *err) {
    struct slv_batch_opts o = in ? *in : (struct slv_batch_opts){0};
    if (!o.n_sessions) o.n_sessions = DEFAULT_SESSIONS;
    if (!o.n_beside) o.n_beside = DEFAULT_BESIDE;
    if (!o.n_at_once || o.n_at_once > o.n_sessions) o.n_at_once = o.n_sessions;
    if (o.n_sessions > MAX_SESSIONS)
        return slv_err_set(err, SLV_E_USAGE, "batch: %u sessions, the limit is %u", o.n_sessions,
                           MAX_SESSIONS);
    if (o.n_batch && o.n_batch < o.n_at_once) o.n_batch = o.n_at_once;
    /* A step is one of a session with as many tokens: the limits are the same. */
    struct slv_session_opts so = {.n_ctx = m->h.n_ctx,
                                  .n_batch = o.n_batch,
                                  .n_logits = o.n_at_once,
                                  .n_draft = SLV_DRAFT_AUTO,
                                  .threads = o.threads};
    int rc = slv_session_opts_fill(m, &so, &so, err);
    if (rc) return rc;
    o.n_batch = so.n_batch;
    o.threads = so.threads;
    if (o.n_at_once > o.n_batch) o.n_at_once = o.n_batch; /* a context of few positions */
    *ret = o;
    *ret_step = so;
    return 0;
}

static int open_parts(struct slv_batch *b) {
    struct slv_runner_model parts = {&b->m->h, &b->m->w, &b->m->plan, &b->m->kern};
    b->tok = slv_mem_calloc(b->o.n_batch, sizeof *b->tok);
    b->slot = slv_mem_calloc(b->o.n_sessions, sizeof *b->slot);
    if (!b->tok || !b->slot) return SLV_E_NOMEM;
    int rc = slv_team_open(b->o.threads, &b->team);
    if (!rc) rc = slv_runner_open(&parts, b->o.n_batch, b->n_logits, b->team, &b->runner);
    return rc ? rc : slv_runner_few(b->runner, b->o.threads_few);
}

int slv_batch_open(struct slv_model *m, const struct slv_batch_opts *opts, struct slv_batch **ret,
                   struct slv_err *err) {
    struct slv_batch_opts o = {0};
    struct slv_session_opts step = {0};
    int rc = slv_model_check_generates(m, err);
    if (!rc) rc = fill(m, opts, &o, &step, err);
    if (rc) return rc;
    if (m->inspect)
        return slv_err_set(err, SLV_E_USAGE, "the model was opened for inspection only");
    uint64_t used = slv_model_shared_bytes(m, &step);
    if (o.memory && used > o.memory)
        return slv_err_set(err, SLV_E_FIT, "needs %.1f MiB without any session, %.1f are allowed",
                           (double)used / 0x1p20, (double)o.memory / 0x1p20);
    struct slv_batch *b = slv_mem_calloc(1, sizeof *b);
    if (!b) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    b->m = m;
    b->o = o;
    b->n_logits = step.n_logits;
    b->used = used;
    b->adapters = atomic_load_explicit(&m->adapter_bytes, memory_order_relaxed);
    rc = open_parts(b);
    if (rc) {
        slv_batch_close(b);
        return slv_err_set(err, rc, "no memory for steps of %u tokens", o.n_batch);
    }
    *ret = b;
    return 0;
}

static void empty(struct slv_batch *b, struct slv_batch_slot *t) {
    slv_generation_close(t->g);
    slv_park_end(b, t);
    slv_session_give(t->s);
    t->s->joined = false;
    *t = (struct slv_batch_slot){0};
    b->n_active--;
}

void slv_batch_close(struct slv_batch *b) {
    if (!b) return;
    slv_runner_close(b->runner);
    slv_team_close(b->team);
    slv_mem_free(b->tok);
    slv_mem_free(b->slot);
    slv_mem_free(b);
}

void slv_batch_lend(struct slv_batch *b, struct slv_session *s) {
    struct slv_memory mem = {0};
    s->batch = b;
    s->team = b->team;
    s->runner = b->runner;
    s->tok = b->tok;
    if (!slv_model_memory(b->m, &s->o, &mem, NULL)) s->takes = mem.total;
    if (s->o.prefix) {
        s->takes -= mem.kv;
        if (!s->o.prefix->n_batch++) b->used += s->o.prefix->bytes;
    }
    b->used += s->takes;
}

void slv_batch_take_back(struct slv_batch *b, struct slv_session *s) {
    if (s->joined) slv_batch_leave(b, s);
    b->used -= s->takes;
    if (s->o.prefix && !--s->o.prefix->n_batch) b->used -= s->o.prefix->bytes;
}

int slv_batch_adapt(struct slv_batch *b, size_t width, struct slv_err *err) {
    const uint64_t adapters = atomic_load_explicit(&b->m->adapter_bytes, memory_order_relaxed);
    const uint64_t used =
        b->used - b->adapters + adapters + slv_runner_adapt_bytes(b->runner, width);
    if (b->o.memory && used > b->o.memory)
        return slv_err_set(err, SLV_E_FIT, "needs %.1f MiB with its adapters, %.1f are allowed",
                           (double)used / 0x1p20, (double)b->o.memory / 0x1p20);
    if (slv_runner_adapt(b->runner, width))
        return slv_err_set(err, SLV_E_NOMEM, "no memory for adapters");
    b->used = used;
    b->adapters = adapters;
    return 0;
}

/* --- joining and leaving ---------------------------------------------------------------------- */

int slv_batch_join(struct slv_batch *b, struct slv_session *s, const int32_t *ids, size_t n,
                   const struct slv_generate_opts *opts, slv_piece_fn piece, slv_done_fn done,
                   void *ctx, struct slv_err *err) {
    if (s->batch != b) return slv_err_set(err, SLV_E_USAGE, "the session is not of this batch");
    int rc = slv_session_check_feed(s, ids, n, err);
    if (!rc) rc = slv_generation_check(s, opts, err);
    if (rc) return rc;
    if (b->n_active == b->o.n_sessions)
        return slv_err_set(err, SLV_E_LIMIT, "the batch is full: %u sessions", b->o.n_sessions);
    struct slv_batch_slot *t = b->slot;
    while (t->s)
        t++;
    *t = (struct slv_batch_slot){.s = s,
                                 .joined = b->n_joined++,
                                 .opts = *opts,
                                 .piece = piece,
                                 .done = done,
                                 .ctx = ctx,
                                 .ids = ids,
                                 .n_ids = n};
    slv_park_join(b, t);
    s->joined = true;
    b->n_active++;
    return 0;
}

bool slv_batch_leave(struct slv_batch *b, struct slv_session *s) {
    for (uint32_t i = 0; i < b->o.n_sessions; i++)
        if (b->slot[i].s == s) {
            empty(b, &b->slot[i]);
            return true;
        }
    return false;
}

/* Whoever asked may join again, or close the session, when told. */
void slv_batch_end(struct slv_batch *b, struct slv_batch_slot *t, int rc,
                   const struct slv_err *err) {
    struct slv_session *s = t->s;
    slv_done_fn done = t->done;
    void *ctx = t->ctx;
    enum slv_finish finish = t->g ? slv_generation_finish(t->g) : SLV_FINISH_STOP;
    empty(b, t);
    if (done) done(s, rc, finish, rc ? err->msg : "", ctx);
}

/* --- a step ----------------------------------------------------------------------------------- */

struct slv_reading slv_batch_reading(const struct slv_batch_slot *t) {
    const uint32_t pos = t->s->kv.n_pos;
    if (pos < t->n_back) return (struct slv_reading){t->s->history + pos, t->n_back - pos, true};
    if (t->g) return (struct slv_reading){0};
    return (struct slv_reading){t->ids + t->n_read, t->n_ids - t->n_read, false};
}

/* Whether it takes part in the step being made. */
static bool is_in(const struct slv_batch_slot *t) {
    return t->s && t->place == SLV_PLACE_IN && !t->starved;
}

/* What the step holds so far. */
struct making {
    uint32_t n, rows;
    int rc; /* of putting something into it */
};

/* Puts k tokens of a slot's session into the step, with logits after those from `from` on. */
static void put(struct slv_batch *b, struct slv_batch_slot *t, const int32_t *ids, uint32_t k,
                uint32_t from, struct making *m) {
    int rc = slv_session_put(t->s, ids, k, from, b->tok + m->n);
    if (rc) {
        m->rc = rc;
        return;
    }
    t->row = m->rows;
    t->n_fed = k;
    m->n += k;
    m->rows += from < k ? k - from : 0;
}

/* All generations, in turn from another one each time: what does not fit waits for the next step,
 * and is the first to be asked then. */
static void put_answers(struct slv_batch *b, struct making *m) {
    const uint32_t n = b->o.n_sessions, first = b->first_answer;
    bool waits = false;
    for (uint32_t i = 0; i < n; i++) {
        struct slv_batch_slot *t = &b->slot[(first + i) % n];
        t->n_fed = 0;
        t->was_reading = false;
        if (!is_in(t) || slv_batch_reading(t).n) continue;
        bool fits =
            m->n + t->feed.n <= b->o.n_batch && m->rows + t->feed.n - t->feed.from <= b->n_logits;
        if (fits) put(b, t, t->feed.ids, t->feed.n, t->feed.from, m);
        else if (!waits) b->first_answer = (first + i) % n;
        waits = waits || !fits;
    }
    if (!waits) b->first_answer = 0;
}

/* Tokens of what the slot reads that may go into the step, up to `most`. */
static uint32_t piece_of(const struct slv_batch *b, const struct slv_batch_slot *t,
                         const struct slv_reading *r, uint32_t most, const struct making *m) {
    if (most > t->s->o.n_batch) most = t->s->o.n_batch;
    if (r->n > most) return most;
    bool no_row = !r->again && m->rows == b->n_logits; /* for the logits after the last of them */
    return (uint32_t)r->n - (no_row ? 1 : 0);
}

/* Whether another prompt is about to put the block into the tree that this one wants next: it is
 * further in it, or as far and before it in the row. Whoever is furthest waits for nobody. */
static bool is_read_by_other(const struct slv_batch *b, const struct slv_batch_slot *t) {
    const struct slv_prefix_user *u = &t->s->prefix;
    if (!u->at) return false;
    const size_t from = (size_t)u->at->depth * SLV_KV_BLOCK, end = from + SLV_KV_BLOCK;
    const uint32_t pos = t->s->kv.n_pos;
    if (pos + slv_batch_reading(t).n < end) return false;
    for (const struct slv_batch_slot *o = b->slot; o < b->slot + b->o.n_sessions; o++) {
        if (o == t || !is_in(o) || o->s->prefix.at != u->at) continue;
        uint32_t at = o->s->kv.n_pos;
        const struct slv_reading r = slv_batch_reading(o);
        if (!r.n || at < pos || (at == pos && o > t) || at + r.n < end) continue;
        if (!memcmp(o->s->history + from, t->s->history + from, SLV_KV_BLOCK * sizeof(int32_t)))
            return true;
    }
    return false;
}

/* Prompts take what is known of them. Returns how many are to be read in the step. */
static uint32_t look_at_prompts(struct slv_batch *b) {
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < b->o.n_sessions; i++) {
        struct slv_batch_slot *t = &b->slot[i];
        if (!is_in(t)) continue;
        const struct slv_reading r = slv_batch_reading(t);
        const uint32_t known = r.n ? slv_session_take(t->s, r.ids, r.n) : 0;
        if (!r.again) t->n_read += known;
    }
    for (uint32_t i = 0; i < b->o.n_sessions; i++) {
        struct slv_batch_slot *t = &b->slot[i];
        t->is_reading = is_in(t) && slv_batch_reading(t).n && !is_read_by_other(b, t);
        waiting += t->is_reading;
    }
    return waiting;
}

/* Prompts share what is left; each gets a panel's worth at least, in turn while that lasts. */
static void put_prompts(struct slv_batch *b, struct making *m) {
    const uint32_t n = b->o.n_sessions, first = b->first_prompt;
    uint32_t waiting = look_at_prompts(b), room = b->o.n_batch - m->n;
    if (m->n && room > b->o.n_beside) room = b->o.n_beside;
    for (uint32_t i = 0; i < n && room; i++) {
        struct slv_batch_slot *t = &b->slot[(first + i) % n];
        if (!t->is_reading) continue;
        uint32_t share = room / waiting > SLV_PANEL ? room / waiting : SLV_PANEL;
        waiting--;
        const struct slv_reading r = slv_batch_reading(t);
        uint32_t k = piece_of(b, t, &r, share < room ? share : room, m);
        if (!k) continue;
        put(b, t, r.ids, k, !r.again && k == r.n ? k - 1 : k, m);
        t->was_reading = true;
        room -= k;
        b->first_prompt = (first + i + 1) % n;
    }
}

/* The prompt has been read: from now on it answers. */
static int begin(struct slv_batch_slot *t, struct slv_batch *b, struct slv_err *err) {
    if (!slv_runner_finite(b->runner, t->row))
        return slv_err_set(err, SLV_E_NUMERIC, "%s at position %u", slv_strerror(SLV_E_NUMERIC),
                           t->s->kv.n_pos - 1);
    slv_session_has_logits(t->s, true, t->row);
    return slv_generation_open(t->s, &t->opts, t->piece, t->ctx, &t->g, err);
}

/* What the step has brought to a slot. */
static int take(struct slv_batch *b, struct slv_batch_slot *t, struct slv_err *err) {
    int rc = 0;
    if (t->was_reading) {
        const struct slv_reading r = slv_batch_reading(t);
        slv_session_keep(t->s, r.ids, t->n_fed);
        if (r.again) b->stats.reread += t->n_fed;
        else t->n_read += t->n_fed;
        if (r.again || t->n_read < t->n_ids) return 0;
        rc = begin(t, b, err);
    } else {
        rc = slv_generation_fed(t->g, t->row, SLV_STEP_SHARED, err);
    }
    return rc ? rc : slv_generation_go(t->g, b->n_active == 1, &t->feed, err);
}

/* Whoever was asked to stop since the last step. */
static void end_cancelled(struct slv_batch *b) {
    struct slv_err e = {0};
    for (uint32_t i = 0; i < b->o.n_sessions; i++) {
        struct slv_batch_slot *t = &b->slot[i];
        if (t->s && slv_session_take_cancel(t->s))
            slv_batch_end(b, t, slv_err_set(&e, SLV_E_CANCELLED, "interrupted"), &e);
    }
}

static int step_failed(struct slv_batch *b, int rc, struct slv_err *err) {
    if (rc == SLV_E_CANCELLED) {
        atomic_store_explicit(&b->cancelled, false, memory_order_relaxed);
        return slv_err_set(err, rc, "interrupted");
    }
    return slv_err_set(err, rc, "%s", slv_strerror(rc));
}

int slv_batch_step(struct slv_batch *b, uint32_t *ret_active, struct slv_err *err) {
    struct making m = {0};
    struct slv_err e = {0};
    end_cancelled(b);
    slv_park_before(b);
    put_answers(b, &m);
    put_prompts(b, &m);
    if (m.rc) return step_failed(b, m.rc, err);
    if (m.n) {
        slv_runner_watch(b->runner, &b->cancelled);
        int rc = slv_step(b->runner, b->tok, m.n);
        if (rc && rc != SLV_E_NUMERIC) return step_failed(b, rc, err);
    }
    for (uint32_t i = 0; i < b->o.n_sessions; i++) {
        struct slv_batch_slot *t = &b->slot[i];
        if (!t->n_fed) continue; /* who joins while this goes on has not been fed either */
        int rc = take(b, t, &e);
        t->n_fed = 0;
        if (rc || (t->g && !t->feed.n)) slv_batch_end(b, t, rc, &e);
    }
    slv_park_after(b);
    if (ret_active) *ret_active = b->n_active;
    return 0;
}

void slv_batch_cancel(struct slv_batch *b) {
    atomic_store_explicit(&b->cancelled, true, memory_order_relaxed);
}
