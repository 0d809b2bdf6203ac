/* fuzz_swim.c: any messages, from members and strangers, between any calls: refused or taken, with
 * nothing sent that another member would refuse, no time that stands still, and no bound passed.
 *
 * The input is a program: a byte says what comes next (low three bits) and from or about whom (the
 * others): 0 time, in a byte, of 10 ms, and a tick; 1 a call, in a byte; else a message: its length
 * in two bytes, the low one first, and its bytes. A signature is good that begins with 's'. */
#include "mesh/swim.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MS ((uint64_t)1000000)
#define SELF 9u
#define PEER 77u
#define MAX 24u
#define MTU 330u

struct world {
    struct slv_swim *swim, *peer; /* peer: it gets all that swim sends */
    uint64_t now, random, sent;
};

static void require(bool ok) {
    if (!ok) abort();
}

static bool verify(void *ctx, const struct slv_swim_record *r) {
    (void)ctx;
    require(r->data.n <= SLV_SWIM_RECORD_MAX);
    size_t sum = 0;
    for (size_t i = 0; i < r->data.n; i++)
        sum += (uint8_t)r->data.p[i];
    return r->signature[0] == 's' && sum < SIZE_MAX;
}

static int sign(void *ctx, const struct slv_swim_record *r, uint8_t ret[SLV_SWIM_SIGNATURE]) {
    (void)ctx, (void)r;
    memset(ret, 's', SLV_SWIM_SIGNATURE);
    return 0;
}

static uint64_t draw(void *ctx) {
    struct world *w = ctx;
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return w->random >> 20;
}

static bool send(void *ctx, uint64_t to, const void *p, size_t n) {
    struct world *w = ctx;
    require(n && n <= MTU && to != SELF);
    require(slv_swim_receive(w->peer, w->now, SELF, p, n) != SLV_E_FORMAT);
    w->sent++;
    return true;
}

static bool drop(void *ctx, uint64_t to, const void *p, size_t n) {
    (void)ctx, (void)to, (void)p, (void)n;
    return true;
}

static void check(const struct slv_swim *s) {
    uint64_t last = 0;
    size_t n = 0;
    struct slv_swim_counters c;
    for (size_t i = 0; i < slv_swim_count(s); i++) {
        struct slv_swim_member m;
        slv_swim_at(s, i, &m);
        require(!i || m.id > last);
        require(m.record.n + SLV_SWIM_RECORD_OVERHEAD <= MTU);
        last = m.id;
    }
    slv_swim_count_all(s, &c);
    for (int k = 0; k <= SLV_SWIM_REMOVED; k++)
        n += c.members[k];
    require(n == slv_swim_count(s) && n <= MAX && c.health <= SLV_SWIM_HEALTH_MAX);
}

static struct slv_swim *open_one(struct world *w, uint64_t id) {
    const struct slv_swim_conf conf = {.id = id,
                                       .incarnation = 1,
                                       .record = {"here", 4},
                                       .ctx = w,
                                       .verify = verify,
                                       .sign = sign,
                                       .send = id == SELF ? send : drop,
                                       .random = draw,
                                       .max = MAX,
                                       .mtu = MTU};
    struct slv_swim *s = NULL;
    require(!slv_swim_open(&conf, w->now, &s));
    return s;
}

static void call(struct world *w, uint8_t what, uint64_t id) {
    struct slv_swim *s = w->swim;
    static const char record[64] = "there";
    int rc = 0;
    switch (what % 6) {
    case 0:
        rc = slv_swim_remove(s, w->now, id);
        break;
    case 1:
        slv_swim_allow(s, w->now, id);
        break;
    case 2:
        slv_swim_heard(s, w->now, id);
        break;
    case 3:
        rc = slv_swim_seed(s, w->now, id);
        break;
    case 4:
        rc = slv_swim_change(s, w->now, (struct slv_str){record, what / 6});
        break;
    default:
        if (what > 250) rc = slv_swim_leave(s, w->now);
        break;
    }
    require(!rc || rc == SLV_E_LIMIT || rc == SLV_E_USAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world w = {.now = 1000 * MS, .random = size};
    size_t i = 0;
    w.peer = open_one(&w, PEER);
    w.swim = open_one(&w, SELF);
    for (int steps = 0; i + 3 <= size && steps < 300; steps++) {
        const unsigned op = data[i] & 7u;
        const uint64_t id = data[i] >> 3; /* SELF too */
        w.sent = 0;
        if (op == 0) {
            w.now += data[i + 1] * 10 * MS;
            require(slv_swim_tick(w.swim, w.now) > w.now);
            i += 2;
        } else if (op == 1) {
            call(&w, data[i + 1], id);
            i += 2;
        } else {
            const size_t want = data[i + 1] | (size_t)data[i + 2] << 8, left = size - i - 3;
            const size_t n = want < left ? want : left;
            const int rc = slv_swim_receive(w.swim, w.now, id, data + i + 3, n);
            require(!rc || rc == SLV_E_FORMAT || rc == SLV_E_LIMIT);
            i += 3 + n;
        }
        require(w.sent < 60);
        check(w.swim);
    }
    slv_swim_close(w.swim);
    slv_swim_close(w.peer);
    return 0;
}
