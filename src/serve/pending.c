/* pending.c: calls that wait for their model to be opened, or for what they are held to to be
 * compiled: until it is, or cannot be, or their time is over.
 *
 * One thread, the watch, sleeps until the first of them is late. The loader, which may read a file
 * for long or wait for memory, knows nothing of it: the model is opened all the same, for others
 * and for who asks again. A call is in a model's list under s->models_lock only, and whoever takes
 * it out hands it to a worker; so it goes on once. */
#include "base/thread.h"
#include "serve/serve_int.h"

#include <time.h>

/* --- for a model ------------------------------------------------------------------------------ */

/* The lock is held, as in all of these. */
void serve_pending_add(struct serve_model *m, struct serve_call *c) {
    c->next_pending = m->pending;
    m->pending = c;
    if (c->deadline) pthread_cond_signal(&m->s->pending_cond);
}

static void hand_over(struct serve_call *c, void (*fn)(void *call)) {
    c->work = (struct serve_work){.fn = fn, .arg = c};
    serve_work(c->s->workers, &c->work);
}

void serve_pending_wake(struct serve_model *m,
                        bool (*refuse)(const struct serve_model *m, struct serve_fail *f)) {
    while (m->pending) {
        struct serve_call *c = m->pending;
        m->pending = c->next_pending;
        if (m->state == MODEL_READY) {
            m->users++;
            c->model = m;
        } else {
            (void)refuse(m, &c->fail);
        }
        hand_over(c, serve_call_resume);
    }
}

/* Those that are late go; *first becomes the next moment at which one will be (0: never). */
static void drop_late(struct serve_model *m, uint64_t now, uint64_t *first) {
    for (struct serve_call **at = &m->pending; *at;) {
        struct serve_call *c = *at;
        if (!c->deadline || now < c->deadline) {
            if (c->deadline && (!*first || c->deadline < *first)) *first = c->deadline;
            at = &c->next_pending;
            continue;
        }
        *at = c->next_pending;
        m->users++; /* what a reply says of the model is its name, which is there */
        c->model = m;
        hand_over(c, serve_call_late);
    }
}

/* --- for a compiler --------------------------------------------------------------------------- */

void serve_pending_compile(struct serve_call *c, void (*fn)(void *call)) {
    struct slv_serve *s = c->s;
    c->work = (struct serve_work){.fn = fn, .arg = c};
    pthread_mutex_lock(&s->models_lock);
    if (c->deadline) {
        c->next_pending = s->compiling;
        s->compiling = c;
        pthread_cond_signal(&s->pending_cond);
    }
    serve_work(s->compilers, &c->work);
    pthread_mutex_unlock(&s->models_lock);
}

void serve_pending_begun(struct serve_call *c) {
    struct serve_call **at = &c->s->compiling;
    if (!c->deadline) return;
    pthread_mutex_lock(&c->s->models_lock);
    while (*at && *at != c)
        at = &(*at)->next_pending;
    if (*at) *at = c->next_pending;
    pthread_mutex_unlock(&c->s->models_lock);
}

/* The lock is held. What a compiler has begun already is not given up. */
static void drop_late_work(struct slv_serve *s, uint64_t now, uint64_t *first) {
    for (struct serve_call **at = &s->compiling; *at;) {
        struct serve_call *c = *at;
        if (now < c->deadline) {
            if (!*first || c->deadline < *first) *first = c->deadline;
            at = &c->next_pending;
            continue;
        }
        *at = c->next_pending;
        if (serve_work_take_back(s->compilers, &c->work)) hand_over(c, serve_call_late);
    }
}

/* --- the watch -------------------------------------------------------------------------------- */

static void *watch(void *arg) {
    struct slv_serve *s = arg;
    pthread_mutex_lock(&s->models_lock);
    while (!s->watch_stop) {
        uint64_t first = 0;
        const uint64_t now = serve_now();
        for (size_t i = 0; i < s->o.n_models; i++)
            drop_late(&s->model[i], now, &first);
        drop_late_work(s, now, &first);
        const struct timespec ts = {(time_t)(first / 1000000000u), (long)(first % 1000000000u)};
        if (first) pthread_cond_timedwait(&s->pending_cond, &s->models_lock, &ts);
        else pthread_cond_wait(&s->pending_cond, &s->models_lock);
    }
    pthread_mutex_unlock(&s->models_lock);
    return NULL;
}

static bool refuse_stopping(const struct serve_model *m, struct serve_fail *f) {
    (void)m;
    return serve_refuse_stopping(f);
}

void serve_pending_refuse(struct slv_serve *s) {
    pthread_mutex_lock(&s->models_lock);
    for (size_t i = 0; i < s->o.n_models; i++)
        serve_pending_wake(&s->model[i], refuse_stopping);
    pthread_mutex_unlock(&s->models_lock);
}

void serve_pending_init(struct slv_serve *s) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as serve_now */
    pthread_cond_init(&s->pending_cond, &attr);
    pthread_condattr_destroy(&attr);
}

int serve_pending_start(struct slv_serve *s) {
    int rc = slv_thread_start(&s->watch, watch, s);
    s->has_watch = !rc;
    return rc;
}

void serve_pending_stop(struct slv_serve *s) {
    pthread_mutex_lock(&s->models_lock);
    s->watch_stop = true;
    pthread_cond_signal(&s->pending_cond);
    pthread_mutex_unlock(&s->models_lock);
    if (s->has_watch) pthread_join(s->watch, NULL);
    s->has_watch = false;
}
