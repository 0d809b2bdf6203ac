/* path.c: see path.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "path.h"

#include <stdlib.h>
#include <string.h>

#define POOL ((size_t)1 << 21)
#define IN_AIR 16384

struct datagram {
    uint64_t at, order;
    struct path_end *to;
    size_t n;
    char bytes[];
};

uint64_t path_now;
struct path_end path_end[PATH_ENDS];

static size_t n_ends;
static uint64_t state, order;
static char pool[POOL];
static struct datagram *air[IN_AIR]; /* a heap, the earliest first */
static size_t n_air;

uint32_t path_rnd(uint32_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 20) % n);
}

static bool chance(uint32_t of_thousand) { return of_thousand && path_rnd(1000) < of_thousand; }

/* --- datagrams on their way ------------------------------------------------------------------- */

static bool earlier(const struct datagram *a, const struct datagram *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void swap(size_t i, size_t j) {
    struct datagram *d = air[i];
    air[i] = air[j];
    air[j] = d;
}

static void air_add(struct path_end *to, const char *p, size_t n, uint64_t at) {
    assert_true(n_air < IN_AIR);
    struct datagram *d = malloc(sizeof *d + n);
    assert_non_null(d);
    *d = (struct datagram){.at = at, .order = order++, .to = to, .n = n};
    memcpy(d->bytes, p, n);
    size_t i = n_air++;
    for (air[i] = d; i && earlier(air[i], air[(i - 1) / 2]); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static struct datagram *air_take(void) {
    struct datagram *d = air[0];
    air[0] = air[--n_air];
    for (size_t i = 0, k; (k = 2 * i + 1) < n_air; i = k) {
        if (k + 1 < n_air && earlier(air[k + 1], air[k])) k++;
        if (!earlier(air[k], air[i])) break;
        swap(i, k);
    }
    return d;
}

static void carry(struct path_end *from, const char *p, size_t n) {
    struct path_way *w = from->via;
    uint64_t at = path_now;
    w->n++;
    if (w->mtu && n > w->mtu) {
        w->too_large++;
        return;
    }
    if (w->rate) {
        const uint64_t waits = w->free_at > path_now ? w->free_at - path_now : 0;
        if (w->queue && waits * w->rate / PATH_SECOND + n > w->queue) {
            w->dropped++;
            return;
        }
        w->free_at = path_now + waits + n * PATH_SECOND / w->rate;
        at = w->free_at;
    }
    w->bytes += n;
    if (w->cut || chance(w->loss)) return;
    for (int i = 0; i < 1 + chance(w->doubled); i++) {
        uint64_t more = w->delay;
        if (w->jitter) more += w->jitter / 1000 * path_rnd(1000);
        if (chance(w->late)) more += (w->delay / 1000 + 1) * path_rnd(1000);
        air_add(from->peer, p, n, at + more);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

static struct slv_str message(const struct path_end *from, enum slv_lane lane, uint64_t k) {
    const uint64_t mix = (k * SLV_LANES + lane + 1) * 0x9e3779b97f4a7c15u;
    const size_t at = (size_t)(mix >> 44); /* of a million */
    const size_t n = from->size[lane] ? (size_t)((mix >> 8 & 0xffffffff) % from->size[lane]) : 0;
    return (struct slv_str){pool + at, n};
}

int path_give(struct path_end *e, enum slv_lane lane) {
    const int rc = slv_link_send(e->l, lane, message(e, lane, e->given[lane]));
    if (!rc) e->given[lane]++;
    return rc;
}

void path_fill(struct path_end *e, enum slv_lane lane) {
    int rc;
    while (!(rc = path_give(e, lane)))
        ;
    assert_int_equal(rc, SLV_E_BUSY);
}

void path_give_all(struct path_end *e, enum slv_lane lane, uint64_t n) {
    for (n += e->given[lane]; e->given[lane] < n;) {
        const int rc = path_give(e, lane);
        assert_true(!rc || rc == SLV_E_BUSY);
        if (rc) assert_true(path_step(UINT64_MAX));
    }
    path_run(UINT64_MAX);
}

struct slv_link_stats path_stats(size_t end) {
    struct slv_link_stats s;
    slv_link_stats(path_end[end].l, &s);
    return s;
}

size_t path_poll(struct path_end *e, char *buf) {
    size_t n;
    assert_int_equal(slv_link_poll(e->l, path_now, buf, SLV_LINK_MTU_MAX, &n), 0);
    return n;
}

static void on_message(void *ctx, enum slv_lane lane, struct slv_str bytes) {
    struct path_end *e = ctx;
    if (!e->loose) {
        const struct slv_str want = message(e->peer, lane, e->came[lane]);
        assert_true(e->came[lane] < e->peer->given[lane]);
        assert_int_equal(bytes.n, want.n);
        assert_memory_equal(bytes.p, want.p, want.n);
    }
    e->came[lane]++;
    e->came_bytes[lane] += bytes.n;
    e->came_at[lane] = path_now;
}

static void on_datagram(void *ctx, struct slv_str bytes) {
    (void)bytes;
    ((struct path_end *)ctx)->datagrams++;
}

/* --- running ---------------------------------------------------------------------------------- */

void path_open(uint64_t seed, size_t n, const struct slv_link_conf *conf,
               const struct path_way *way) {
    struct slv_link_conf c = *conf;
    path_close(); /* of a test that failed */
    state = 88172645463325252u;
    for (size_t i = 0; i < POOL && !pool[POOL - 1]; i++)
        pool[i] = (char)(path_rnd(255) + 1);
    state ^= (seed + 1) * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < 10; i++)
        path_rnd(2);
    path_now = 12345;
    n_ends = n;
    for (size_t i = 0; i < n; i++) {
        struct path_end *e = &path_end[i];
        *e = (struct path_end){.way = *way, .via = &e->way, .peer = &path_end[i ^ 1]};
        for (int k = 0; k < SLV_LANES; k++)
            e->size[k] = 3000;
        c.on_message = on_message;
        c.on_datagram = on_datagram;
        c.ctx = e;
        assert_int_equal(slv_link_open(&c, &e->l), 0);
    }
}

void path_close(void) {
    while (n_air)
        free(air_take());
    for (size_t i = 0; i < n_ends; i++)
        slv_link_close(path_end[i].l);
    n_ends = 0;
}

static void drain(struct path_end *e) {
    char buf[SLV_LINK_MTU_MAX];
    size_t n;
    for (int turns = 0;; turns++) {
        assert_true(turns < 5000);
        const int rc = slv_link_poll(e->l, path_now, buf, sizeof buf, &n);
        assert_true(!rc || rc == SLV_E_NOMEM);
        if (rc || !n) break;
        carry(e, buf, n);
    }
    assert_true(slv_link_next(e->l, path_now) > path_now); /* or who calls turns in a circle */
}

bool path_step(uint64_t until) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < n_ends; i++)
        drain(&path_end[i]);
    for (size_t i = 0; i < n_ends; i++) {
        const uint64_t at = slv_link_next(path_end[i].l, path_now);
        if (at < next) next = at;
    }
    if (n_air && air[0]->at < next) next = air[0]->at;
    if (next > until || next == UINT64_MAX) {
        if (until != UINT64_MAX) path_now = until;
        return false;
    }
    path_now = next;
    while (n_air && air[0]->at <= path_now) {
        struct datagram *d = air_take();
        const int rc = slv_link_receive(d->to->l, path_now, (struct slv_str){d->bytes, d->n});
        assert_true(!rc || rc == SLV_E_NOMEM);
        drain(d->to);
        free(d);
    }
    return true;
}

void path_run(uint64_t until) {
    while (path_step(until))
        ;
}

void path_settled(void) {
    for (size_t i = 0; i < n_ends; i++) {
        const struct path_end *e = &path_end[i];
        for (int k = 0; k < SLV_LANES; k++) {
            assert_int_equal(e->came[k], e->peer->given[k]);
            assert_int_equal(slv_link_queued(e->l, (enum slv_lane)k), 0);
        }
        assert_true(slv_link_next(e->l, path_now) == UINT64_MAX);
        assert_in_range(slv_link_memory(e->l), 1, 2047);
    }
}
