/* mesh_follow.c: see mesh_follow.h.
 *
 * The queue is of records: source (4), what (1), bytes (4), text. Threads append under the mutex;
 * who reads takes all of it at once. A source whose change found no room says so in `missed`, and
 * tells nothing more until that has been heard. */
#include "cli/mesh_follow.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cli/mesh.h"
#include "mesh/client.h"
#include "store/local.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define GAP_LEAST_MS 100u
#define GAP_MOST_MS 5000u
#define HEAD_BYTES 9u

struct source {
    struct slv_follow *f;
    uint32_t number;
    const char *socket;
    struct slv_str space;
    bool is_begun; /* the thread's */
    bool missed;   /* under the mutex */
    struct slv_buf said;
    pthread_t thread;
};

struct slv_follow {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* `ending` has become true */
    bool ending;
    int fd;
    struct slv_buf queue, taken;
    size_t at; /* in taken */
    struct source source[SLV_FOLLOW_MOST];
    size_t n;
};

/* --- a source's thread ------------------------------------------------------------------------ */

static void push(struct source *s, enum slv_follow_what what, struct slv_str text) {
    struct slv_follow *f = s->f;
    const uint32_t n = (uint32_t)text.n;
    const char kind = (char)what;
    const uint64_t one = 1;
    pthread_mutex_lock(&f->lock);
    if (!s->missed && !slv_buf_reserve(&f->queue, HEAD_BYTES + text.n)) {
        slv_buf_add(&f->queue, &s->number, 4);
        slv_buf_add(&f->queue, &kind, 1);
        slv_buf_add(&f->queue, &n, 4);
        slv_buf_add(&f->queue, text.p, text.n);
    } else {
        s->missed = true;
        f->queue.status = 0;
    }
    pthread_mutex_unlock(&f->lock);
    while (write(f->fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static bool is_ending(void *ctx) {
    const struct source *s = ctx;
    pthread_mutex_lock(&s->f->lock);
    const bool ending = s->f->ending;
    pthread_mutex_unlock(&s->f->lock);
    return ending;
}

static void on_begun(void *ctx, long status) {
    struct source *s = ctx;
    s->is_begun = status == 200;
    if (s->is_begun) push(s, SLV_FOLLOW_BEGUN, (struct slv_str){"", 0});
}

static int on_line(void *ctx, struct slv_str line) {
    struct source *s = ctx;
    struct slv_str told;
    if (!s->is_begun) slv_buf_add(&s->said, line.p, line.n);
    else if (slv_client_event(line, &told)) push(s, SLV_FOLLOW_CHANGED, told);
    return 0;
}

static void follow_once(struct source *s, const struct slv_buf *path) {
    const struct slv_local_request q = {
        .socket = s->socket, .method = "GET", .path = path->data, .body = {"", 0}};
    const struct slv_local_follower f = {on_begun, on_line, is_ending, s};
    struct slv_err err = {0};
    long status = 0;
    slv_buf_clear(&s->said);
    int rc = slv_local_follow(&q, &f, &status, &err);
    if (!rc && status != 200)
        rc = slv_client_refused(NULL, (struct slv_str){s->said.data, s->said.len}, status, &err);
    if (!rc) slv_err_set(&err, SLV_E_NET, "%s: the node has ended", s->socket);
    push(s, SLV_FOLLOW_ENDED, (struct slv_str){err.msg, strlen(err.msg)});
}

/* False: it is to end. */
static bool pause_for(struct slv_follow *f, unsigned ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&f->lock);
    while (!f->ending && pthread_cond_timedwait(&f->wake, &f->lock, &t) != ETIMEDOUT)
        continue;
    const bool ending = f->ending;
    pthread_mutex_unlock(&f->lock);
    return !ending;
}

static void *run(void *arg) {
    struct source *s = arg;
    struct slv_buf path;
    unsigned gap = GAP_LEAST_MS;
    slv_buf_init(&path, 4096);
    slv_buf_init(&s->said, 65536);
    slv_client_target(&path, s->space, "watch", (struct slv_str){NULL, 0});
    do {
        s->is_begun = false;
        follow_once(s, &path);
        if (s->is_begun) gap = GAP_LEAST_MS;
        else gap = gap * 2 < GAP_MOST_MS ? gap * 2 : GAP_MOST_MS;
    } while (pause_for(s->f, gap));
    slv_buf_fini(&s->said);
    slv_buf_fini(&path);
    return NULL;
}

/* --- all of them ------------------------------------------------------------------------------ */

int slv_follow_open(struct slv_follow **ret, struct slv_err *err) {
    struct slv_follow *f = slv_mem_calloc(1, sizeof *f);
    pthread_condattr_t a;
    if (!f) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    f->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (f->fd < 0) {
        slv_mem_free(f);
        return slv_err_set(err, SLV_E_IO, "mesh: eventfd: %s", strerror(errno));
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &a);
    pthread_condattr_destroy(&a);
    slv_buf_init(&f->queue, SLV_FOLLOW_QUEUE_MAX);
    slv_buf_init(&f->taken, SLV_FOLLOW_QUEUE_MAX);
    *ret = f;
    return 0;
}

int slv_follow_add(struct slv_follow *f, const char *socket, struct slv_str space,
                   struct slv_err *err) {
    if (f->n == SLV_FOLLOW_MOST)
        return slv_err_set(err, SLV_E_LIMIT, "mesh: more than %u spaces are followed",
                           SLV_FOLLOW_MOST);
    struct source *s = &f->source[f->n];
    *s = (struct source){.f = f, .number = (uint32_t)f->n, .socket = socket, .space = space};
    const int rc = slv_thread_start(&s->thread, run, s);
    if (rc) return slv_err_set(err, rc, "mesh: no thread is to be had");
    f->n++;
    return 0;
}

int slv_follow_fd(const struct slv_follow *f) { return f->fd; }

static bool next_missed(struct slv_follow *f, struct slv_follow_event *ret) {
    for (size_t i = 0; i < f->n; i++) {
        if (!f->source[i].missed) continue;
        f->source[i].missed = false;
        *ret = (struct slv_follow_event){i, SLV_FOLLOW_MISSED, {"", 0}};
        return true;
    }
    return false;
}

/* The queue changes places with what was read. True: there is an event of `missed`. */
static bool take(struct slv_follow *f, struct slv_follow_event *ret) {
    uint64_t count;
    while (read(f->fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
    pthread_mutex_lock(&f->lock);
    const struct slv_buf b = f->taken;
    f->taken = f->queue;
    f->queue = b;
    slv_buf_clear(&f->queue);
    f->at = 0;
    /* (what was told before it was missed is only older) */
    const bool missed = next_missed(f, ret);
    pthread_mutex_unlock(&f->lock);
    return missed;
}

bool slv_follow_next(struct slv_follow *f, struct slv_follow_event *ret) {
    uint32_t source, n;
    char what;
    if (f->at == f->taken.len && take(f, ret)) return true;
    if (f->at == f->taken.len) return false;
    const char *p = f->taken.data + f->at;
    memcpy(&source, p, 4);
    memcpy(&what, p + 4, 1);
    memcpy(&n, p + 5, 4);
    *ret = (struct slv_follow_event){source, (enum slv_follow_what)what, {p + HEAD_BYTES, n}};
    f->at += HEAD_BYTES + n;
    return true;
}

void slv_follow_close(struct slv_follow *f) {
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < f->n; i++)
        pthread_join(f->source[i].thread, NULL);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    slv_buf_fini(&f->queue);
    slv_buf_fini(&f->taken);
    close(f->fd);
    slv_mem_free(f);
}
