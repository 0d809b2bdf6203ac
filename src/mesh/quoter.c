/* quoter.c: see quoter.h. */
#include "mesh/quoter.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
    uint64_t peer;
    uint8_t nonce[SLV_ATTEST_NONCE];
};

struct slv_quoter {
    struct slv_attest *attest; /* the thread's, once it runs */
    struct slv_attest_self self;
    uint8_t node[SLV_PUB_BYTES];
    pthread_t thread;
    bool started;
    int fd;
    struct slv_buf evidence, told; /* of the thread, until `done`; of slv_quoter_done */
    struct slv_err err, told_err;
    struct job job, under_way;
    pthread_mutex_t lock; /* of what follows, and of `job` */
    pthread_cond_t change;
    bool waits, done, ending;
};

/* --- the thread ------------------------------------------------------------------------------- */

/* False: it is to end. */
static bool take(struct slv_quoter *q) {
    pthread_mutex_lock(&q->lock);
    while (!q->ending && (!q->waits || q->done))
        pthread_cond_wait(&q->change, &q->lock);
    q->under_way = q->job;
    q->waits = false;
    const bool ending = q->ending;
    pthread_mutex_unlock(&q->lock);
    return !ending;
}

static void give(struct slv_quoter *q) {
    static const uint64_t one = 1;
    pthread_mutex_lock(&q->lock);
    q->done = true;
    pthread_mutex_unlock(&q->lock);
    /* (it fails only where it is readable already) */
    while (write(q->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void *run(void *arg) {
    struct slv_quoter *q = arg;
    while (take(q)) {
        slv_buf_clear(&q->evidence);
        q->err = (struct slv_err){0};
        if (slv_attest_quote(q->attest, q->under_way.nonce, q->node, &q->evidence, &q->err))
            slv_buf_clear(&q->evidence);
        give(q);
    }
    return NULL;
}

/* --- the loop's side -------------------------------------------------------------------------- */

void slv_quoter_ask(struct slv_quoter *q, uint64_t peer, const uint8_t nonce[SLV_ATTEST_NONCE]) {
    pthread_mutex_lock(&q->lock);
    q->job.peer = peer;
    memcpy(q->job.nonce, nonce, SLV_ATTEST_NONCE);
    q->waits = true;
    pthread_cond_signal(&q->change);
    pthread_mutex_unlock(&q->lock);
}

bool slv_quoter_done(struct slv_quoter *q, struct slv_quoter_answer *ret) {
    uint64_t count;
    while (read(q->fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&q->lock);
    const bool done = q->done;
    if (done) {
        const struct slv_buf empty = q->told;
        q->told = q->evidence;
        q->evidence = empty;
        q->told_err = q->err;
        ret->peer = q->under_way.peer;
        memcpy(ret->nonce, q->under_way.nonce, SLV_ATTEST_NONCE);
        ret->evidence = (struct slv_str){q->told.data, q->told.len};
        ret->why = q->told_err.msg;
        q->done = false;
        pthread_cond_signal(&q->change);
    }
    pthread_mutex_unlock(&q->lock);
    return done;
}

int slv_quoter_fd(const struct slv_quoter *q) { return q->fd; }

const struct slv_attest_self *slv_quoter_self(const struct slv_quoter *q) { return &q->self; }

/* --- others' evidence ------------------------------------------------------------------------- */

static struct slv_attest_list list_of(const struct slv_digests *d, bool any) {
    return (struct slv_attest_list){d->v, d->n, any};
}

int slv_quoter_judge(const uint8_t key[SLV_PUB_BYTES], const uint8_t nonce[SLV_ATTEST_NONCE],
                     struct slv_str evidence, const struct slv_condition *c, struct slv_err *err) {
    const struct slv_attest_want want = {.aks = list_of(&c->aks, c->any_ak),
                                         .binaries = list_of(&c->binaries, !c->binaries.n),
                                         .policies = list_of(&c->policies, !c->policies.n)};
    struct slv_attest_report report;
    return slv_attest_verify(evidence.p, evidence.n, "its evidence", nonce, key, &want, &report,
                             err);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int start(struct slv_quoter *q, struct slv_err *err) {
    q->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (q->fd < 0) return slv_err_set(err, SLV_E_IO, "mesh: eventfd: %s", strerror(errno));
    q->self = *slv_attest_self(q->attest);
    if (slv_thread_start(&q->thread, run, q))
        return slv_err_set(err, SLV_E_NOMEM, "mesh: no thread is to be had");
    q->started = true;
    return 0;
}

int slv_quoter_open(const struct slv_tpm_quoter *tpm, struct slv_str policy,
                    const uint8_t node[SLV_PUB_BYTES], struct slv_quoter **ret,
                    struct slv_err *err) {
    struct slv_quoter *q = slv_mem_calloc(1, sizeof *q);
    if (!q) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    q->fd = -1;
    memcpy(q->node, node, sizeof q->node);
    slv_buf_init(&q->evidence, SLV_EVIDENCE_MAX);
    slv_buf_init(&q->told, SLV_EVIDENCE_MAX);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->change, NULL);
    int rc = slv_attest_open(tpm, policy.p, policy.n, &q->attest, err);
    if (!rc) rc = start(q, err);
    if (rc) slv_quoter_close(q);
    else *ret = q;
    return rc;
}

void slv_quoter_close(struct slv_quoter *q) {
    if (!q) return;
    if (q->started) {
        pthread_mutex_lock(&q->lock);
        q->ending = true;
        pthread_cond_signal(&q->change);
        pthread_mutex_unlock(&q->lock);
        pthread_join(q->thread, NULL);
    }
    slv_attest_close(q->attest);
    if (q->fd >= 0) close(q->fd);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->change);
    slv_buf_fini(&q->evidence);
    slv_buf_fini(&q->told);
    slv_mem_free(q);
}
