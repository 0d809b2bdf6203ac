/* workers.c: threads that do what may take a while and is no forward pass: reading requests,
 * templates, schemas, audit records. A queue in order of arrival. A server has one for what is
 * always quick and one for schemas, which may take a while to compile. */
#include "base/mem.h"
#include "base/thread.h"
#include "serve/serve_int.h"

#define WORKERS_MAX 8

struct serve_workers {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct serve_work *first, **last;
    bool stop;
    unsigned n;
    pthread_t thread[WORKERS_MAX];
};

static void *run(void *arg) {
    struct serve_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct serve_work *job = w->first;
        if (!job && w->stop) break;
        if (!job) {
            pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        w->first = job->next;
        if (!w->first) w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        job->fn(job->arg);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void serve_work(struct serve_workers *w, struct serve_work *job) {
    job->next = NULL;
    pthread_mutex_lock(&w->lock);
    *w->last = job;
    w->last = &job->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

bool serve_work_take_back(struct serve_workers *w, struct serve_work *job) {
    pthread_mutex_lock(&w->lock);
    struct serve_work **at = &w->first;
    while (*at && *at != job)
        at = &(*at)->next;
    const bool found = *at != NULL;
    if (found) *at = job->next;
    if (found && w->last == &job->next) w->last = at;
    pthread_mutex_unlock(&w->lock);
    return found;
}

int serve_workers_open(unsigned n, struct serve_workers **ret) {
    struct serve_workers *w = slv_mem_calloc(1, sizeof *w);
    if (!w) return SLV_E_NOMEM;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->last = &w->first;
    for (; w->n < n && w->n < WORKERS_MAX; w->n++)
        if (slv_thread_start(&w->thread[w->n], run, w)) break;
    if (!w->n) {
        serve_workers_close(w);
        return SLV_E_NOMEM;
    }
    *ret = w;
    return 0;
}

void serve_workers_close(struct serve_workers *w) {
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true; /* when what waits is done */
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n; i++)
        pthread_join(w->thread[i], NULL);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    slv_mem_free(w);
}
