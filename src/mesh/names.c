/* names.c: see names.h. */
#include "mesh/names.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND ((uint64_t)1000000000)
#define GAP_LEAST (5 * SECOND)
#define GAP_MOST (60 * SECOND)
#define LOOK_NS (10 * SECOND) /* between two looks whether one that was found is wanted again */
#define HOST_MAX 256
#define ADDRESS_TEXT 80

struct place {
    char host[HOST_MAX], port[8];
};

struct found {
    char address[SLV_NAMES_ADDRESSES_MAX][ADDRESS_TEXT];
    size_t n;
};

/* What loop and thread share; whoever of them ends last frees it. */
struct desk {
    pthread_mutex_t lock; /* of all but fd */
    pthread_cond_t change;
    enum { IDLE, ASKED, UNDER_WAY, DONE } state;
    bool ending, is_orphan;
    struct place place;
    struct found found;
    int error; /* of getaddrinfo */
    int fd;    /* readable when it is done; of the thread and the loop, until ending */
};

struct name {
    struct place place;
    struct found found;
    uint64_t due, gap; /* due UINT64_MAX: it is a number */
    bool is_missing;   /* that was told */
};

struct slv_names {
    struct slv_names_conf conf;
    struct name name[SLV_NAMES_MAX];
    size_t n, asked; /* asked: which is under way */
    bool is_busy;
    struct desk *desk; /* NULL: there are numbers only */
    pthread_t thread;
    struct event *timer, *done;
};

static uint64_t now_ns(void) { return slv_clock_mono(&slv_clock_system); }

/* --- places ----------------------------------------------------------------------------------- */

static bool split(const char *text, struct place *ret) {
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    const size_t digits = colon ? strlen(colon + 1) : 0;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    } else if (n && memchr(text, ':', n)) {
        return false;
    }
    if (!n || n >= HOST_MAX || digits < 1 || digits > 5 ||
        strspn(colon + 1, "0123456789") != digits)
        return false;
    const long port = strtol(colon + 1, NULL, 10);
    if (port < 1 || port > 65535) return false;
    memcpy(ret->host, text, n);
    ret->host[n] = '\0';
    snprintf(ret->port, sizeof ret->port, "%ld", port);
    return true;
}

static void keep(const struct addrinfo *a, struct found *ret) {
    char host[HOST_MAX], port[8];
    if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || ret->n == SLV_NAMES_ADDRESSES_MAX)
        return;
    if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    const int n = snprintf(ret->address[ret->n], ADDRESS_TEXT,
                           a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    if (n > 0 && n < ADDRESS_TEXT) ret->n++;
}

/* 0, or what gai_strerror has words for. */
static int look_up(const struct place *p, int flags, struct found *ret) {
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    *ret = (struct found){.n = 0};
    const int rc = getaddrinfo(p->host, p->port, &hints, &list);
    if (rc) return rc;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        keep(a, ret);
    freeaddrinfo(list);
    return ret->n ? 0 : EAI_NONAME;
}

bool slv_names_is_place(const char *text, bool is_number) {
    struct place p;
    struct found f;
    return split(text, &p) && (!is_number || !look_up(&p, AI_NUMERICHOST, &f));
}

/* --- the thread ------------------------------------------------------------------------------- */

static void free_desk(struct desk *d) {
    if (d->fd >= 0) close(d->fd);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->change);
    slv_mem_free(d);
}

/* (With the lock, that is let go meanwhile.) */
static void work(struct desk *d) {
    static const uint64_t one = 1;
    const struct place place = d->place;
    struct found found;
    d->state = UNDER_WAY;
    pthread_mutex_unlock(&d->lock);
    const int rc = look_up(&place, 0, &found);
    pthread_mutex_lock(&d->lock);
    d->found = found;
    d->error = rc;
    d->state = DONE;
    /* (it fails only where it is readable already) */
    while (write(d->fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void *run(void *arg) {
    struct desk *d = arg;
    pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        if (d->state == ASKED) work(d);
        else pthread_cond_wait(&d->change, &d->lock);
    }
    const bool is_orphan = d->is_orphan;
    pthread_mutex_unlock(&d->lock);
    if (is_orphan) free_desk(d);
    return NULL;
}

/* --- the loop's side -------------------------------------------------------------------------- */

static void ask(struct slv_names *n, size_t i) {
    struct desk *d = n->desk;
    n->is_busy = true;
    n->asked = i;
    pthread_mutex_lock(&d->lock);
    d->place = n->name[i].place;
    d->state = ASKED;
    pthread_cond_signal(&d->change);
    pthread_mutex_unlock(&d->lock);
}

static void later(struct slv_names *n, size_t i) {
    struct name *x = &n->name[i];
    x->gap = GAP_LEAST;
    x->due = now_ns() + LOOK_NS;
}

/* The one that is due first; NULL: there are numbers only. */
static struct name *next_of(struct slv_names *n) {
    struct name *first = NULL;
    for (size_t i = 0; i < n->n; i++)
        if (n->name[i].due != UINT64_MAX && (!first || n->name[i].due < first->due))
            first = &n->name[i];
    return first;
}

static void step(struct slv_names *n) {
    while (!n->is_busy) {
        const struct name *x = next_of(n);
        const uint64_t now = now_ns();
        if (!x) return;
        if (x->due > now) {
            const uint64_t us = (x->due - now) / 1000 + 1;
            const struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
            evtimer_add(n->timer, &tv);
            return;
        }
        const size_t i = (size_t)(x - n->name);
        if (n->conf.is_wanted(n->conf.ctx, i)) ask(n, i);
        else later(n, i);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    step(arg);
}

/* (Many names are told in another order each time.) */
static bool has_news(const struct found *old, const struct found *f) {
    for (size_t i = 0; i < f->n; i++) {
        size_t k = 0;
        while (k < old->n && strcmp(old->address[k], f->address[i]) != 0)
            k++;
        if (k == old->n) return true;
    }
    return false;
}

static void take(struct slv_names *n, const struct found *f, int error) {
    struct name *x = &n->name[n->asked];
    const bool was_missing = x->is_missing, is_news = !error && has_news(&x->found, f);
    x->due = now_ns() + x->gap;
    x->gap = 2 * x->gap < GAP_MOST ? 2 * x->gap : GAP_MOST;
    x->is_missing = error;
    if (is_news) x->found = *f;
    if (is_news) n->conf.told(n->conf.ctx, n->asked, NULL);
    else if (error && !was_missing) n->conf.told(n->conf.ctx, n->asked, gai_strerror(error));
}

static void on_done(evutil_socket_t fd, short what, void *arg) {
    struct slv_names *n = arg;
    struct desk *d = n->desk;
    uint64_t count;
    (void)what;
    while (read((int)fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&d->lock);
    const bool is_done = d->state == DONE;
    const struct found found = d->found;
    const int error = d->error;
    if (is_done) d->state = IDLE;
    pthread_mutex_unlock(&d->lock);
    if (!is_done) return;
    n->is_busy = false;
    take(n, &found, error);
    step(n);
}

size_t slv_names_get(const struct slv_names *n, size_t i, const char **ret, size_t most) {
    const struct found *f = &n->name[i].found;
    size_t k = 0;
    for (; k < f->n && k < most; k++)
        ret[k] = f->address[k];
    return k;
}

/* --- opening ---------------------------------------------------------------------------------- */

static int start(struct slv_names *n, struct slv_err *err) {
    struct desk *d = slv_mem_calloc(1, sizeof *d);
    if (!d) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->change, NULL);
    d->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    n->timer = evtimer_new(n->conf.base, on_timer, n);
    n->done = d->fd < 0 ? NULL : event_new(n->conf.base, d->fd, EV_READ | EV_PERSIST, on_done, n);
    if (!n->timer || !n->done || event_add(n->done, NULL) || slv_thread_start(&n->thread, run, d)) {
        free_desk(d);
        return slv_err_set(err, SLV_E_NOMEM, "mesh: no thread is to be had, or no memory");
    }
    n->desk = d;
    return 0;
}

int slv_names_add(struct slv_names *n, const char *text, struct slv_err *err) {
    const struct timeval at_once = {0, 0};
    if (n->n == SLV_NAMES_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "mesh: more than %u peers", SLV_NAMES_MAX);
    struct name *x = &n->name[n->n];
    *x = (struct name){.due = UINT64_MAX, .gap = GAP_LEAST};
    if (!split(text, &x->place))
        return slv_err_set(err, SLV_E_USAGE, "mesh: %s: not HOST:PORT", text);
    if (look_up(&x->place, AI_NUMERICHOST, &x->found)) {
        const int rc = n->desk ? 0 : start(n, err);
        if (rc) return rc;
        x->due = now_ns();
        evtimer_add(n->timer, &at_once);
    }
    n->n++;
    return 0;
}

int slv_names_open(const struct slv_names_conf *conf, struct slv_names **ret, struct slv_err *err) {
    struct slv_names *n = slv_mem_calloc(1, sizeof *n);
    if (!n) return slv_err_set(err, SLV_E_NOMEM, "mesh: out of memory");
    n->conf = *conf;
    *ret = n;
    return 0;
}

/* Nobody waits for the resolver, which may take longer than whoever stops a node is patient. */
static void end_thread(struct slv_names *n) {
    struct desk *d = n->desk;
    pthread_mutex_lock(&d->lock);
    const bool is_orphan = d->state == UNDER_WAY;
    d->ending = true;
    d->is_orphan = is_orphan;
    pthread_cond_signal(&d->change);
    if (is_orphan) pthread_detach(n->thread);
    pthread_mutex_unlock(&d->lock);
    if (is_orphan) return;
    pthread_join(n->thread, NULL);
    free_desk(d);
}

void slv_names_close(struct slv_names *n) {
    if (!n) return;
    if (n->timer) event_free(n->timer);
    if (n->done) event_free(n->done);
    if (n->desk) end_thread(n);
    slv_mem_free(n);
}
