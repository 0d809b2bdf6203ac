/* sched.c: who computes next. One thread makes all steps of all models.
 *
 *     submit -> waiting, by model -> admit -> batch -> step, step, ... -> done
 *
 * A choice is admitted when its model's batch has a slot and the cache has room for its prompt and
 * the beginning of an answer; an answer that grows until there is no room for all has the last one
 * wait, which goes on later where it was (engine/park.h). While one waits nobody of no higher
 * priority is admitted. Who goes first: the higher priority; then the key that has had the fewest
 * tokens of late, so that one with a hundred requests does not stand before one with a single
 * request; then who came first. Within a step all share alike (engine/batch.h).
 *
 * A key's tokens are counted from where the others stand when it comes back after a pause, as in
 * start-time fair queueing: what was not used is not saved up.
 *
 * Who leaves, or is late, is taken out before the next step. A step that takes long is given up for
 * who leaves, and made again for the others, but not more often than twice a second.
 *
 * Threads: `lock` guards the lists, and each choice's session pointer. Pieces are written without
 * it, by the scheduler's thread. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/prefix.h"
#include "serve/serve_int.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define LONG_STEP_NS 80000000u /* one that nobody who leaves should wait for */
#define GIVE_UP_NS 500000000u  /* at least between two steps given up */
#define ACTIVE_MAX 1024
#define ANSWER_FIRST 256u /* tokens of an answer for which there is memory when it begins */

struct serve_sched {
    struct slv_serve *s;
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    bool has_thread, stop;
    uint32_t n_waiting, n_active;
    struct serve_choice *active[ACTIVE_MAX];
    struct serve_call *embeds;    /* by choice[0].next: in turn */
    struct serve_model *cold;     /* whose memory is to be made ready when there is time, or NULL */
    double served;                /* where the key stands that was admitted last */
    atomic_uint_fast64_t step_ns; /* of the last step */
    uint64_t gave_up;             /* ns, when */
};

uint64_t serve_now(void) { return slv_clock_mono(&slv_clock_system); }

/* --- ends ------------------------------------------------------------------------------------- */

static void finish_call(void *arg) { serve_call_finish(arg); }

/* A worker does the rest. */
static void hand_back(struct serve_call *c) {
    c->work = (struct serve_work){.fn = finish_call, .arg = c};
    serve_work(c->s->workers, &c->work);
}

/* The choice is in no list any more. */
static void choice_ended(struct serve_choice *ch) {
    struct serve_call *c = ch->call;
    if (!ch->err.code) serve_call_choice_end(ch);
    if (!--c->n_left) hand_back(c);
}

static const char *finish_word(const struct serve_choice *ch) {
    switch (ch->how) {
    case SLV_FINISH_LENGTH:
    case SLV_FINISH_LIMIT:
        return "length";
    case SLV_FINISH_STOP:
    case SLV_FINISH_SCHEMA:
        break;
    }
    return "stop";
}

/* Its session goes, and its slot. */
static void release(struct serve_sched *q, struct serve_choice *ch) {
    struct serve_call *c = ch->call;
    struct slv_generate_stats st;
    slv_session_stats(ch->s, &st);
    if (!c->n_read++ || st.reused < c->n_cached) c->n_cached = st.reused; /* by all of them */
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->n_active; i++)
        if (q->active[i] == ch) {
            q->active[i] = q->active[--q->n_active];
            break;
        }
    struct slv_session *s = ch->s;
    ch->s = NULL;
    if (st.stop >= 0) ch->stop = c->ask.stop[st.stop];
    c->model->n_active--;
    q->cold = c->model;
    c->user->active--;
    pthread_mutex_unlock(&q->lock);
    slv_session_close(s);
}

static void on_done(struct slv_session *s, int rc, enum slv_finish finish, const char *msg,
                    void *ctx) {
    struct serve_choice *ch = ctx;
    struct serve_call *c = ch->call;
    (void)s;
    ch->how = finish;
    if (rc == SLV_E_CANCELLED && ch->finish) rc = 0; /* late: what there is counts */
    if (rc == SLV_E_CANCELLED && atomic_load(&c->s->ending) && !atomic_load(&c->gone))
        rc = SLV_E_BUSY; /* the server's end: told to who waits, and no fault */
    if (rc && rc != SLV_E_BUSY && rc != SLV_E_CANCELLED)
        slv_log(SLV_LOG_WARN, "%s: %s", c->id, msg);
    if (rc) slv_err_set(&ch->err, rc, "%s", msg);
    if (!rc && !ch->finish) ch->finish = finish_word(ch);
    release(c->s->sched, ch);
    choice_ended(ch);
}

/* --- pieces ----------------------------------------------------------------------------------- */

static void add_logprob(struct serve_choice *ch, const struct slv_piece *p);

static void count_piece(struct serve_choice *ch) {
    struct serve_call *c = ch->call;
    struct slv_metrics *m = c->s->metrics;
    const uint64_t now = serve_now();
    if (!c->t_first) {
        c->t_first = now;
        slv_metrics_observe(m, M_TTFT, c->model->name, NULL, (double)(now - c->t0) / 1e9);
    }
    if (ch->t_piece)
        slv_metrics_observe(m, M_BETWEEN, c->model->name, NULL, (double)(now - ch->t_piece) / 1e9);
    ch->t_piece = now;
    ch->n_tokens++;
    c->user->served += 1.0;
}

static bool on_piece(const struct slv_piece *p, void *ctx) {
    struct serve_choice *ch = ctx;
    struct serve_call *c = ch->call;
    if (p->id >= 0) count_piece(ch);
    if (atomic_load_explicit(&c->gone, memory_order_relaxed)) return false;
    slv_buf_add(&ch->text, p->text, p->n);
    if (p->id >= 0 && c->ask.logprobs) add_logprob(ch, p);
    if (ch->text.status || ch->logprobs.status) return false;
    if (!c->ask.stream) return true;
    slv_buf_clear(&c->out);
    c->format->piece(ch, p);
    serve_call_send(c);
    return true;
}

static void token_json(const struct serve_model *m, int32_t id, float logprob, struct slv_json *j) {
    struct slv_text t = {0};
    slv_json_object(j, NULL);
    if (!slv_model_token_text(m->m, id, &t)) {
        slv_json_strn(j, "token", t.p, t.n);
        slv_json_double(j, "logprob", logprob < -9999.0f ? -9999.0 : (double)logprob);
        slv_json_array(j, "bytes");
        for (size_t i = 0; i < t.n; i++)
            slv_json_uint(j, NULL, (unsigned char)t.p[i]);
        slv_json_array_end(j);
    }
    slv_text_free(&t);
}

static void add_logprob(struct serve_choice *ch, const struct slv_piece *p) {
    const struct serve_model *m = ch->call->model;
    struct slv_json j;
    if (ch->logprobs.len) slv_buf_addc(&ch->logprobs, ',');
    slv_json_init(&j, &ch->logprobs);
    token_json(m, p->id, p->logprob, &j);
    slv_json_array(&j, "top_logprobs");
    for (size_t i = 0; i < p->n_top; i++) {
        token_json(m, p->top[i].id, p->top[i].logprob, &j);
        slv_json_object_end(&j);
    }
    slv_json_array_end(&j);
    slv_json_object_end(&j);
}

/* --- admission -------------------------------------------------------------------------------- */

static bool goes_before(const struct serve_choice *a, const struct serve_choice *b) {
    const struct serve_call *x = a->call, *y = b->call;
    if (x->ask.priority != y->ask.priority) return x->ask.priority > y->ask.priority;
    if (x->user != y->user && x->user->served != y->user->served)
        return x->user->served < y->user->served;
    return x->seq != y->seq ? x->seq < y->seq : a->index < b->index;
}

static bool may_start(const struct serve_choice *ch) {
    const struct serve_call *c = ch->call;
    return !c->key || !c->key->sessions || c->user->active < c->key->sessions;
}

static struct serve_choice *best(const struct serve_model *m) {
    struct serve_choice *b = NULL;
    for (struct serve_choice *ch = m->waiting; ch; ch = ch->next)
        if (may_start(ch) && (!b || goes_before(ch, b))) b = ch;
    return b;
}

static void unlink_waiting(struct serve_sched *q, struct serve_choice *ch) {
    struct serve_choice **at = &ch->call->model->waiting;
    while (*at != ch)
        at = &(*at)->next;
    *at = ch->next;
    ch->next = NULL;
    q->n_waiting--;
}

static int start(struct serve_sched *q, struct serve_choice *ch, struct slv_err *err) {
    struct serve_call *c = ch->call;
    struct serve_model *m = c->model;
    const uint64_t most = (uint64_t)c->prompt.n + ch->gen.max_tokens;
    struct slv_session_opts o = {.n_ctx = most < m->ctx ? (uint32_t)most : m->ctx,
                                 .n_first = (uint32_t)c->prompt.n + ANSWER_FIRST,
                                 .priority = (int32_t)c->ask.priority,
                                 .n_draft = SLV_DRAFT_AUTO,
                                 .kv = q->s->o.kv,
                                 .prefix = m->prefix,
                                 .space = c->user->space,
                                 .batch = m->batch};
    int rc = slv_session_open(m->m, &o, &ch->s, err);
    if (rc) return rc;
    if (c->n_adapters) rc = slv_session_set_adapters(ch->s, c->use, c->n_adapters, err);
    if (!rc)
        rc = slv_batch_join(m->batch, ch->s, c->prompt.v, c->prompt.n, &ch->gen, on_piece, on_done,
                            ch, err);
    if (!rc) return 0;
    slv_session_close(ch->s);
    ch->s = NULL;
    return rc;
}

static void started(struct serve_sched *q, struct serve_choice *ch) {
    struct serve_call *c = ch->call;
    q->active[q->n_active++] = ch;
    c->model->n_active++;
    c->user->active++;
    if (c->user->served < q->served) c->user->served = q->served;
    q->served = c->user->served;
    c->user->served += (double)c->prompt.n / 8.0; /* read in a fraction of the time of writing */
    if (c->ask.stream) serve_call_stream(c);
    if (c->t_start) return;
    c->t_start = serve_now();
    slv_metrics_observe(q->s->metrics, M_QUEUE_WAIT, c->model->name, NULL,
                        (double)(c->t_start - c->t0) / 1e9);
}

/* The choice waits no longer, and got nothing. The lock is held. */
static void refuse_waiting(struct serve_sched *q, struct serve_choice *ch, int rc,
                           const char *msg) {
    unlink_waiting(q, ch);
    slv_err_set(&ch->err, rc, "%s", msg);
    choice_ended(ch);
}

/* What may be done for it now. Those that have begun and wait go before it, unless it is worth
 * more; then one that is worth less leaves it its place. */
enum entry { ENTER, WAIT, AGAIN };
static enum entry may_begin(const struct serve_sched *q, const struct serve_choice *ch) {
    const struct serve_model *m = ch->call->model;
    const int64_t priority = ch->call->ask.priority;
    struct slv_batch_stats st;
    slv_batch_stats(m->batch, &st);
    if (st.waiting && priority <= st.priority) return WAIT;
    if (m->n_active - st.waiting < q->s->o.slots) return ENTER;
    return slv_batch_yield(m->batch, (int32_t)priority) ? AGAIN : WAIT;
}

/* Who waits for the model goes into its batch as far as there is room. The lock is held. */
static void admit(struct serve_sched *q, struct serve_model *m) {
    struct slv_err err = {0};
    /* (who waits has the model; else it may be on its way this moment) */
    while (m->waiting && m->batch && m->n_active < 2 * q->s->o.slots && q->n_active < ACTIVE_MAX) {
        struct serve_choice *ch = best(m);
        const enum entry entry = ch ? may_begin(q, ch) : WAIT;
        if (entry == WAIT) return;
        if (entry == AGAIN) continue;
        int rc = start(q, ch, &err);
        if (rc == SLV_E_FIT && m->n_active) { /* when somebody is done, or waits for it */
            if (!slv_batch_yield(m->batch, (int32_t)ch->call->ask.priority)) return;
            continue;
        }
        if (rc) {
            refuse_waiting(q, ch, rc, err.msg);
            continue;
        }
        unlink_waiting(q, ch);
        started(q, ch);
    }
}

/* Those that nobody waits for any more, or that are late. The lock is held. */
static void drop_waiting(struct serve_sched *q, struct serve_model *m, uint64_t now) {
    for (struct serve_choice *ch = m->waiting, *next; ch; ch = next) {
        struct serve_call *c = ch->call;
        next = ch->next;
        if (atomic_load(&c->gone)) {
            refuse_waiting(q, ch, SLV_E_CANCELLED, "the client has left");
        } else if (c->deadline && now >= c->deadline) {
            unlink_waiting(q, ch);
            ch->finish = "timeout";
            choice_ended(ch);
        } else if (q->stop) {
            refuse_waiting(q, ch, SLV_E_BUSY, "the server is stopping");
        }
    }
}

/* Steps of those that read their prompts are long. The lock is held. */
static void note_readers(struct serve_sched *q) {
    for (size_t i = 0; i < q->s->o.n_models; i++)
        q->s->model[i].reads = false;
    for (uint32_t i = 0; i < q->n_active; i++)
        if (!q->active[i]->t_piece) q->active[i]->call->model->reads = true;
}

static void stop_late(struct serve_sched *q, uint64_t now) {
    for (uint32_t i = 0; i < q->n_active; i++) {
        struct serve_choice *ch = q->active[i];
        struct serve_call *c = ch->call;
        bool late = c->deadline && now >= c->deadline;
        if (late) ch->finish = "timeout";
        if (late || q->stop || atomic_load(&c->gone)) slv_session_cancel(ch->s, true);
    }
}

/* --- the thread ------------------------------------------------------------------------------- */

/* A step failed for all of the model. */
static void fail_all(struct serve_sched *q, struct serve_model *m, int rc, const char *msg) {
    for (uint32_t i = q->n_active; i-- > 0;) {
        struct serve_choice *ch = i < q->n_active ? q->active[i] : NULL;
        if (!ch || ch->call->model != m) continue;
        slv_batch_leave(m->batch, ch->s);
        slv_err_set(&ch->err, rc, "%s", msg);
        release(q, ch);
        choice_ended(ch);
    }
}

/* What the batch has had to do for want of memory since it was last told. */
static void tell_parked(struct serve_sched *q, struct serve_model *m) {
    struct slv_metrics *t = q->s->metrics;
    struct slv_batch_stats st, *old = &m->told;
    slv_batch_stats(m->batch, &st);
    if (st.waits == old->waits && st.waiting == old->waiting && st.spilled == old->spilled &&
        st.reread == old->reread)
        return;
    slv_metrics_set(t, M_PARKED, m->name, NULL, st.waiting);
    slv_metrics_add(t, M_PARKS, m->name, NULL, (double)(st.waits - old->waits));
    slv_metrics_add(t, M_SPILLED, m->name, NULL, (double)(st.spilled - old->spilled));
    slv_metrics_add(t, M_REREAD, m->name, NULL, (double)(st.reread - old->reread));
    *old = st;
}

static void step(struct serve_sched *q, struct serve_model *m) {
    struct slv_err err = {0};
    uint32_t active = 0;
    const uint64_t t = serve_now();
    if (!serve_model_hold(m)) return; /* a worker may let go of it before the step has ended */
    slv_metrics_observe(q->s->metrics, M_BATCH, m->name, NULL, (double)m->n_active);
    int rc = slv_batch_step(m->batch, &active, &err);
    slv_metrics_add(q->s->metrics, M_STEPS, m->name, NULL, 1.0);
    atomic_store(&q->step_ns, serve_now() - t);
    tell_parked(q, m);
    if (rc && rc != SLV_E_CANCELLED) {
        slv_log(SLV_LOG_ERROR, "%s: a step failed: %s", m->name, err.msg);
        fail_all(q, m, rc, err.msg);
    }
    serve_model_put(m);
}

/* Some texts of a call become vectors; the call behind it is the next one to get some. */
static void step_embeds(struct serve_sched *q) {
    pthread_mutex_lock(&q->lock);
    struct serve_call *c = q->embeds;
    if (c) q->embeds = c->choice->next ? c->choice->next->call : NULL;
    const bool stop = q->stop;
    pthread_mutex_unlock(&q->lock);
    if (!c) return;
    c->choice->next = NULL;
    bool late = c->deadline && serve_now() >= c->deadline;
    bool go_on = !stop && !atomic_load(&c->gone);
    if (stop) serve_refuse_stopping(&c->fail);
    if (late) go_on = serve_refuse(&c->fail, 408, NULL, "timeout", "the time is over");
    if (go_on) go_on = serve_embed_step(c, &c->fail);
    if (go_on && c->n_embedded < c->n_texts) {
        pthread_mutex_lock(&q->lock);
        struct serve_call **at = &q->embeds;
        while (*at && (*at)->choice->next)
            at = &(*at)->choice->next->call;
        if (!q->embeds) q->embeds = c;
        else (*at)->choice->next = c->choice;
        pthread_mutex_unlock(&q->lock);
        return;
    }
    pthread_mutex_lock(&q->lock);
    q->n_waiting--;
    pthread_mutex_unlock(&q->lock);
    c->n_left = 0;
    hand_back(c);
}

/* The first moment at which somebody who waits will be late; 0: never. The lock is held. */
static uint64_t next_deadline(const struct serve_sched *q) {
    uint64_t first = 0;
    for (size_t i = 0; i < q->s->o.n_models; i++)
        for (const struct serve_choice *ch = q->s->model[i].waiting; ch; ch = ch->next) {
            uint64_t d = ch->call->deadline;
            if (d && (!first || d < first)) first = d;
        }
    return first;
}

static void wait_for_work(struct serve_sched *q) {
    struct timespec ts;
    uint64_t first = next_deadline(q), now = serve_now();
    if (!first) {
        pthread_cond_wait(&q->more, &q->lock);
        return;
    }
    uint64_t ns = first > now ? first - now : 0;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ns += (uint64_t)ts.tv_nsec;
    ts.tv_sec += (time_t)(ns / 1000000000u);
    ts.tv_nsec = (long)(ns % 1000000000u);
    pthread_cond_timedwait(&q->more, &q->lock, &ts);
}

/* There is nothing else to do. The lock is held, but not while that is done. */
static void warm_a_page(struct serve_sched *q) {
    struct serve_model *m = q->cold;
    pthread_mutex_unlock(&q->lock);
    const bool held = serve_model_hold(m), did = held && slv_prefix_warm(m->prefix);
    if (held) serve_model_put(m);
    pthread_mutex_lock(&q->lock);
    if (!did) q->cold = NULL;
}

static void *run(void *arg) {
    struct serve_sched *q = arg;
    struct slv_serve *s = q->s;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        const uint64_t now = serve_now();
        for (size_t i = 0; i < s->o.n_models; i++) {
            drop_waiting(q, &s->model[i], now);
            admit(q, &s->model[i]);
        }
        stop_late(q, now);
        note_readers(q);
        if (!q->n_active && !q->embeds) {
            if (q->stop && !q->n_waiting) break;
            if (q->cold) warm_a_page(q);
            else wait_for_work(q);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        for (size_t i = 0; i < s->o.n_models; i++)
            if (s->model[i].n_active) step(q, &s->model[i]);
        step_embeds(q);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* --- from other threads ----------------------------------------------------------------------- */

static void append_waiting(struct serve_sched *q, struct serve_choice *ch) {
    struct serve_choice **at = &ch->call->model->waiting;
    while (*at)
        at = &(*at)->next;
    *at = ch;
    q->n_waiting++;
}

static void append_embeds(struct serve_sched *q, struct serve_call *c) {
    struct serve_call *last = q->embeds;
    q->n_waiting++;
    if (!last) {
        q->embeds = c;
        return;
    }
    while (last->choice->next)
        last = last->choice->next->call;
    last->choice->next = c->choice;
}

bool serve_sched_submit(struct serve_sched *q, struct serve_call *c, struct serve_fail *f) {
    pthread_mutex_lock(&q->lock);
    bool full = q->n_waiting + c->n_choices > q->s->o.queue_max;
    bool stop = q->stop;
    if (!full && !stop) {
        if (c->api == API_EMBEDDINGS) append_embeds(q, c);
        for (uint32_t i = 0; c->api != API_EMBEDDINGS && i < c->n_choices; i++)
            append_waiting(q, &c->choice[i]);
        pthread_cond_signal(&q->more);
    }
    uint32_t active = q->n_active, waiting = q->n_waiting;
    pthread_mutex_unlock(&q->lock);
    if (stop) return serve_refuse_stopping(f);
    if (!full) return true;
    f->retry_s = 1 + waiting / (active ? active : 1);
    return serve_refuse(f, 429, NULL, "queue_full", "%u requests wait already", waiting);
}

void serve_sched_gone(struct serve_sched *q, struct serve_call *c) {
    const uint64_t now = serve_now();
    pthread_mutex_lock(&q->lock);
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n_active; i++)
        if (q->active[i]->call == c) {
            slv_session_cancel(q->active[i]->s, true);
            n++;
        }
    bool alone = n && n == c->model->n_active;
    bool slow = n && (c->model->reads || atomic_load(&q->step_ns) > LONG_STEP_NS);
    if (alone || (slow && now - q->gave_up > GIVE_UP_NS)) {
        q->gave_up = now;
        slv_batch_cancel(c->model->batch);
    }
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void serve_sched_load(struct serve_sched *q, struct serve_load *ret) {
    pthread_mutex_lock(&q->lock);
    *ret = (struct serve_load){q->n_waiting, q->n_active};
    pthread_mutex_unlock(&q->lock);
}

/* The lock is held. */
static void list_one(const struct serve_choice *ch, bool active, struct serve_session *ret) {
    const struct serve_call *c = ch->call;
    *ret = (struct serve_session){.model = c->model->name,
                                  .index = ch->index,
                                  .is_active = active,
                                  .n_prompt = c->n_prompt,
                                  .n_tokens = atomic_load(&ch->n_tokens),
                                  .t0 = c->t0,
                                  .t_start = active ? c->t_start : 0};
    memcpy(ret->id, c->id, sizeof ret->id);
    if (c->key) snprintf(ret->key, sizeof ret->key, "%s", c->key->name);
}

size_t serve_sched_list(struct serve_sched *q, struct serve_session *ret, size_t max) {
    size_t n = 0;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->n_active && n < max; i++)
        list_one(q->active[i], true, &ret[n++]);
    for (size_t i = 0; i < q->s->o.n_models; i++)
        for (const struct serve_choice *ch = q->s->model[i].waiting; ch && n < max; ch = ch->next)
            list_one(ch, false, &ret[n++]);
    for (const struct serve_choice *ch = q->embeds ? q->embeds->choice : NULL; ch && n < max;
         ch = ch->next)
        list_one(ch, false, &ret[n++]);
    pthread_mutex_unlock(&q->lock);
    return n;
}

int serve_sched_open(struct slv_serve *s, struct serve_sched **ret, struct slv_err *err) {
    struct serve_sched *q = slv_mem_calloc(1, sizeof *q);
    pthread_condattr_t attr;
    if (!q) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    q->s = s;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->more, &attr);
    pthread_condattr_destroy(&attr);
    int rc = slv_thread_start(&q->thread, run, q);
    q->has_thread = !rc;
    if (rc) {
        serve_sched_close(q);
        return slv_err_set(err, rc, "no thread for the scheduler");
    }
    *ret = q;
    return 0;
}

void serve_sched_end(struct serve_sched *q) {
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    for (uint32_t i = 0; i < q->n_active; i++) {
        slv_session_cancel(q->active[i]->s, true);
        slv_batch_cancel(q->active[i]->call->model->batch); /* its step is not waited for */
    }
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
}

void serve_sched_stop(struct serve_sched *q) {
    if (!q) return;
    serve_sched_end(q);
    if (q->has_thread) pthread_join(q->thread, NULL);
    q->has_thread = false;
}

void serve_sched_close(struct serve_sched *q) {
    if (!q) return;
    serve_sched_stop(q);
    pthread_cond_destroy(&q->more);
    pthread_mutex_destroy(&q->lock);
    slv_mem_free(q);
}
