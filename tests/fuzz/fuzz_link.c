/* fuzz_link.c: two links that talk, and any bytes as what happens between them: datagrams lost,
 * doubled, late, in any order; with the first byte odd also bent, or made up. Without these all
 * that was given comes, once and in order; with them a link stays sound and as small as it says.
 *
 *     kind, then steps: what & 15, end by bit 4, what is left of the byte a small number
 */
#include "base/mem.h"
#include "mesh/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MS ((uint64_t)1000000)
#define AIR 64
#define MESSAGE_MAX ((size_t)3000)
#define QUEUE ((size_t)8192)
#define WINDOW ((size_t)16384)
#define GIVEN_MAX 4096
#define MTU_MAX 700

/* Of one lane: its queue and what puts it together, each twice as large when it has just grown,
 * pieces and islands of single bytes; and the records. */
#define MEMORY_MAX (4 * (2 * (QUEUE + WINDOW + MESSAGE_MAX) + QUEUE * 64 + 512 * 16) + 4096 * 64)

struct end {
    struct slv_link *l;
    struct end *peer;
    uint32_t n_given[SLV_LANES], n_came[SLV_LANES];
    uint16_t length[SLV_LANES][GIVEN_MAX];
};

static struct {
    struct end *to;
    size_t n;
    char bytes[MTU_MAX];
} air[AIR];

static size_t n_air;
static struct end end[2];
static uint64_t now;
static bool forges;
static char pool[MESSAGE_MAX + 256];

static void require(bool ok) {
    if (!ok) abort();
}

/* A byte of the input; zeros behind its end. */
struct input {
    const uint8_t *p, *end;
};

static unsigned next(struct input *in) { return in->p < in->end ? *in->p++ : 0; }

static unsigned next2(struct input *in) {
    const unsigned lo = next(in);
    return lo | next(in) << 8;
}

/* --- what is said ----------------------------------------------------------------------------- */

static const char *content(enum slv_lane lane, uint32_t k) {
    return pool + (k * 4 + (uint32_t)lane) % 256;
}

static void on_message(void *ctx, enum slv_lane lane, struct slv_str bytes) {
    struct end *e = ctx;
    const uint32_t k = e->n_came[lane]++;
    require(bytes.n <= MESSAGE_MAX);
    if (forges) {
        if (bytes.n % 7 == 3) slv_link_hold(e->l, lane, bytes.n & 8);
        return;
    }
    require(k < e->peer->n_given[lane] && bytes.n == e->peer->length[lane][k]);
    require(!memcmp(bytes.p, content(lane, k), bytes.n));
    if (bytes.n % 16 == 5) { /* answers from within */
        const uint32_t i = e->n_given[SLV_LANE_STRONG];
        const struct slv_str s = {content(SLV_LANE_STRONG, i), 2};
        if (i < GIVEN_MAX && !slv_link_send(e->l, SLV_LANE_STRONG, s)) {
            e->length[SLV_LANE_STRONG][i] = 2;
            e->n_given[SLV_LANE_STRONG]++;
        }
    }
}

static void on_datagram(void *ctx, struct slv_str bytes) {
    (void)ctx;
    size_t sum = 0;
    for (size_t i = 0; i < bytes.n; i++)
        sum += (unsigned char)bytes.p[i];
    require(sum <= 255 * bytes.n);
}

static void give(struct end *e, enum slv_lane lane, size_t n) {
    const uint32_t k = e->n_given[lane];
    if (k == GIVEN_MAX) return;
    const int rc = slv_link_send(e->l, lane, (struct slv_str){content(lane, k), n});
    require(!rc || rc == SLV_E_BUSY || rc == SLV_E_NOMEM || (rc == SLV_E_LIMIT && n > MESSAGE_MAX));
    if (rc) return;
    e->length[lane][k] = (uint16_t)n;
    e->n_given[lane]++;
}

/* --- what happens to it ----------------------------------------------------------------------- */

/* One poll; into the air if there is room there. */
static bool poll_one(struct end *e) {
    static char lost[MTU_MAX];
    char *buf = n_air < AIR ? air[n_air].bytes : lost;
    size_t n = 0;
    const int rc = slv_link_poll(e->l, now, buf, MTU_MAX, &n);
    require((!rc || rc == SLV_E_NOMEM) && n <= MTU_MAX);
    if (rc || !n) {
        require(slv_link_next(e->l, now) > now);
        return false;
    }
    if (n_air < AIR) {
        air[n_air].to = e->peer;
        air[n_air++].n = n;
    }
    return true;
}

static void receive(struct end *e, const char *p, size_t n) {
    const int rc = slv_link_receive(e->l, now, (struct slv_str){p, n});
    require(!rc || rc == SLV_E_NOMEM || rc == SLV_E_LIMIT || (forges && rc == SLV_E_FORMAT));
    require(slv_link_memory(e->l) <= MEMORY_MAX);
}

static void drop(size_t i) {
    n_air--;
    if (i < n_air) memcpy(&air[i], &air[n_air], sizeof *air);
}

static void forge(struct end *e, struct input *in, unsigned n) {
    const size_t left = (size_t)(in->end - in->p), take = n < left ? n : left;
    char *p = malloc(take ? take : 1);
    require(p);
    memcpy(p, in->p, take);
    in->p += take;
    receive(e, p, take);
    free(p);
}

static void arrive(struct input *in, size_t i, bool bend) {
    if (bend && forges && air[i].n)
        air[i].bytes[next2(in) % air[i].n] ^= (char)(1u << next(in) % 8);
    receive(air[i].to, air[i].bytes, air[i].n);
}

static void step(struct input *in) {
    const unsigned b = next(in), small = b >> 5;
    struct end *e = &end[b >> 4 & 1];
    const size_t i = n_air ? next(in) % n_air : 0;
    switch (b & 15) {
    case 0:
        give(e, (enum slv_lane)(small % SLV_LANES), next(in));
        break;
    case 1:
        give(e, (enum slv_lane)(small % SLV_LANES), next2(in) % (MESSAGE_MAX + 1));
        break;
    case 2:
        poll_one(e);
        break;
    case 3:
        while (n_air < AIR && poll_one(e))
            ;
        break;
    case 4:
        now += (small + 1) * MS;
        break;
    case 5:
        now += next2(in) * MS;
        break;
    case 6:
        if (slv_link_next(e->l, now) != UINT64_MAX) now = slv_link_next(e->l, now);
        break;
    case 7:
        if (n_air) drop(i);
        break;
    case 8:
        while (n_air) /* all, the last first */
            arrive(in, n_air - 1, false), drop(n_air - 1);
        break;
    case 9:
        if (n_air) arrive(in, i, false); /* and once more later */
        break;
    case 10:
        if (n_air) arrive(in, i, true), drop(i);
        break;
    case 11:
        slv_link_hold(e->l, (enum slv_lane)(small % SLV_LANES), next(in) & 1);
        break;
    case 12:
        (void)!slv_link_datagram(e->l, (struct slv_str){pool, next(in)});
        break;
    case 13:
        if (forges) forge(e, in, next(in));
        break;
    case 14:
        slv_mem_fail_at(1 + small);
        break;
    default:
        while (n_air) { /* all, in order */
            arrive(in, 0, false);
            memmove(air, air + 1, --n_air * sizeof *air);
        }
    }
}

/* Nothing is lost from now on: all that was given comes. */
static void settle(void) {
    struct input none = {0};
    for (int k = 0; k < 2 * SLV_LANES; k++)
        slv_link_hold(end[k % 2].l, (enum slv_lane)(k / 2), false);
    for (int turn = 0;; turn++) {
        uint64_t at = UINT64_MAX;
        require(turn < 20000);
        for (int k = 0; k < 2; k++) {
            while (n_air < AIR && poll_one(&end[k]))
                ;
            const uint64_t want = slv_link_next(end[k].l, now);
            if (want < at) at = want;
        }
        if (!n_air && at == UINT64_MAX) break;
        if (!n_air) now = at;
        for (; n_air; memmove(air, air + 1, --n_air * sizeof *air))
            arrive(&none, 0, false);
    }
    for (int k = 0; k < 2 * SLV_LANES; k++) {
        const struct end *e = &end[k % 2];
        require(e->n_came[k / 2] == e->peer->n_given[k / 2]);
        require(!slv_link_queued(e->l, (enum slv_lane)(k / 2)));
        require(slv_link_memory(e->l) < 2048);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, data + size};
    const unsigned kind = next(&in);
    struct slv_link_conf c = {.mtu_min = 256,
                              .mtu_max = kind & 2 ? MTU_MAX : 256,
                              .message_max = MESSAGE_MAX,
                              .lane_queue = QUEUE,
                              .lane_window = WINDOW,
                              .rate = kind & 4 ? 20000 : 0,
                              .on_message = on_message,
                              .on_datagram = on_datagram};
    for (size_t i = 0; i < sizeof pool; i++)
        pool[i] = (char)(i * i >> 3 ^ i);
    forges = kind & 1;
    now = MS;
    n_air = 0;
    for (int k = 0; k < 2; k++) {
        memset(end[k].n_given, 0, sizeof end[k].n_given);
        memset(end[k].n_came, 0, sizeof end[k].n_came);
        end[k].peer = &end[1 - k];
        c.ctx = &end[k];
        require(!slv_link_open(&c, &end[k].l));
    }
    for (int n = 0; in.p < in.end && n < 4000; n++)
        step(&in);
    slv_mem_fail_at(0);
    if (!forges) settle();
    for (int k = 0; k < 2; k++)
        slv_link_close(end[k].l);
    return 0;
}
