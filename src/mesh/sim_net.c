/* sim_net.c: see sim_int.h.
 *
 * An association is a tag that both ends have; datagrams of other tags are dropped. Who wants one
 * says hello with a new tag, is welcomed, has it from then on, and confirms; with that the other
 * has it too, in the place of what it had. Of several that are made at once the one that was begun
 * last holds, at both ends. */
#include "mesh/sim_int.h"
#include "base/mem.h"

#define QUEUE_NS (300 * MS) /* of a narrow link */
#define HEAD_BYTES 65u      /* of IP, UDP, DTLS */

static size_t pair(const struct sim *s, unsigned from, unsigned to) {
    return (size_t)from * s->n + to;
}

bool sim_net_open(struct sim *s) {
    struct sim_net *w = &s->net;
    w->busy = slv_mem_calloc(s->n, sizeof *w->busy);
    w->assoc = slv_mem_calloc((size_t)s->n * s->n, sizeof *w->assoc);
    w->hello = slv_mem_calloc((size_t)s->n * s->n, sizeof *w->hello);
    w->blocked = slv_mem_calloc((size_t)s->n * s->n, sizeof *w->blocked);
    w->bridge = s->n;
    w->mtu = 1472;
    return w->busy && w->assoc && w->hello && w->blocked;
}

void sim_net_close(struct sim *s) {
    slv_mem_free(s->net.busy);
    slv_mem_free(s->net.assoc);
    slv_mem_free(s->net.hello);
    slv_mem_free(s->net.blocked);
}

/* --- the way ---------------------------------------------------------------------------------- */

static bool is_open(const struct sim *s, const struct sim_node *a, const struct sim_node *b) {
    const struct sim_net *w = &s->net;
    if (s->is_calm && a->is_core && b->is_core) return true;
    if (w->blocked[pair(s, a->index, b->index)]) return false;
    return !w->is_split || a->group == b->group || a->index == w->bridge || b->index == w->bridge;
}

/* When what is sent now has left; UINT64_MAX: the link's queue is full. */
static uint64_t leave(struct sim *s, const struct sim_node *a, size_t n) {
    struct sim_net *w = &s->net;
    uint64_t *busy = &w->busy[a->index];
    if (!w->rate || !sim_suffers(s, a, SLV_SIM_NARROW)) return s->now;
    if (*busy < s->now) *busy = s->now;
    if (*busy - s->now > QUEUE_NS) return UINT64_MAX;
    *busy += (n + HEAD_BYTES) * 1000000000u / w->rate;
    return *busy;
}

static void deliver(struct sim *s, struct sim_node *a, struct sim_node *b, struct sim_pending e) {
    const struct sim_net *w = &s->net;
    const bool ill = sim_suffers(s, a, SLV_SIM_DELAY) || sim_suffers(s, b, SLV_SIM_DELAY);
    const uint64_t left = leave(s, a, e.bytes.n);
    const uint64_t delay = ill      ? w->delay + sim_random(s, w->jitter + 1)
                           : w->hop ? w->hop
                                    : 100000 + sim_random(s, MS / 2);
    if (left == UINT64_MAX) {
        slv_mem_free(e.bytes.p);
        return;
    }
    e.at = left + delay;
    e.from = a->index;
    e.to = b->index;
    sim_push(s, e);
}

static void send(struct sim *s, struct sim_node *a, struct sim_node *b, enum sim_event what,
                 uint32_t tag, struct slv_str bytes) {
    const struct sim_net *w = &s->net;
    const bool lossy = sim_suffers(s, a, SLV_SIM_LOSS) || sim_suffers(s, b, SLV_SIM_LOSS);
    const bool doubled = sim_suffers(s, a, SLV_SIM_DOUBLE) && sim_chance(s, w->double_ppm);
    s->result->datagrams++;
    s->result->bytes += bytes.n + HEAD_BYTES;
    if (!is_open(s, a, b) || (lossy && sim_chance(s, w->loss_ppm))) return;
    if (bytes.n + HEAD_BYTES > w->mtu && sim_suffers(s, a, SLV_SIM_NARROW)) return;
    struct sim_pending e = {.what = what, .tag = tag, .bytes = sim_dup(s, bytes)};
    deliver(s, a, b, e);
    if (!doubled) return;
    e.bytes = sim_dup(s, bytes);
    deliver(s, a, b, e);
}

/* --- a node's --------------------------------------------------------------------------------- */

void sim_net_datagram(void *ctx, uint64_t peer, struct slv_str datagram) {
    struct sim_node *n = ctx, *to = sim_by_id(n->sim, peer);
    const uint32_t tag = n->sim->net.assoc[pair(n->sim, n->index, to->index)];
    if (tag) send(n->sim, n, to, SIM_DATAGRAM, tag, datagram);
}

void sim_net_connect(void *ctx, uint64_t peer, struct slv_str record) {
    struct sim_node *n = ctx, *to = sim_by_id(n->sim, peer);
    struct sim *s = n->sim;
    (void)record;
    if (!to || to == n) return;
    uint32_t *tag = &s->net.hello[pair(s, n->index, to->index)];
    *tag = ++s->net.tags;
    send(s, n, to, SIM_HELLO, *tag, (struct slv_str){"", 0});
}

void sim_net_disconnect(void *ctx, uint64_t peer) {
    struct sim_node *n = ctx, *to = sim_by_id(n->sim, peer);
    n->sim->net.assoc[pair(n->sim, n->index, to->index)] = 0;
}

void sim_net_forget(struct sim_node *n) {
    struct sim *s = n->sim;
    for (unsigned i = 0; i < s->n; i++) {
        s->net.assoc[pair(s, n->index, i)] = 0;
        s->net.hello[pair(s, n->index, i)] = 0;
    }
}

static void take(struct sim *s, struct sim_node *n, const struct sim_node *from, uint32_t tag) {
    s->net.assoc[pair(s, n->index, from->index)] = tag;
    if (slv_node_up(n->node, sim_clock(n), from->id))
        s->net.assoc[pair(s, n->index, from->index)] = 0;
}

void sim_net_arrive(struct sim *s, const struct sim_pending *e) {
    struct sim_node *n = &s->node[e->to], *from = &s->node[e->from];
    const size_t at = pair(s, e->to, e->from);
    const uint32_t tag = s->net.assoc[at];
    if (!n->node) return;
    switch (e->what) {
    case SIM_DATAGRAM:
        if (tag == e->tag)
            slv_node_receive(n->node, sim_clock(n), from->id,
                             (struct slv_str){e->bytes.p ? e->bytes.p : "", e->bytes.n});
        break;
    case SIM_HELLO:
        send(s, n, from, SIM_WELCOME, e->tag, (struct slv_str){"", 0});
        break;
    case SIM_WELCOME:
        if (s->net.hello[at] != e->tag || tag >= e->tag) break;
        send(s, n, from, SIM_CONFIRM, e->tag, (struct slv_str){"", 0});
        take(s, n, from, e->tag);
        break;
    case SIM_CONFIRM:
        if (tag < e->tag) take(s, n, from, e->tag);
        break;
    case SIM_TICK:
    case SIM_SYNCED:
    case SIM_FAULT:
    case SIM_WRITE:
    case SIM_CHECK:
        break;
    }
}
