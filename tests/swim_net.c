/* swim_net.c: see swim_net.h. */
#include "swim_net.h"

#include <stdlib.h>
#include <string.h>

#define INBOX 400u /* datagrams that wait for a node that does not run: a socket's buffer */

uint64_t net_id(size_t i) { return (i + 1) * 0x9e3779b97f4a7c15u; }
size_t net_index(uint64_t id) { return (size_t)(id * 0xf1de83e19937733du) - 1; }

uint64_t net_random(uint64_t *state) { /* xorshift64* (Vigna, 2016) */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static uint64_t fold(uint64_t h, const void *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
    return h;
}

void net_sign(const struct slv_swim_record *r, uint8_t ret[SLV_SWIM_SIGNATURE]) {
    uint64_t h = 0xcbf29ce484222325u;
    h = fold(h, &r->id, sizeof r->id);
    h = fold(h, &r->incarnation, sizeof r->incarnation);
    h = fold(h, &r->left, 1);
    h = fold(h, r->data.p, r->data.n);
    for (size_t i = 0; i < SLV_SWIM_SIGNATURE; i++)
        ret[i] = (uint8_t)(h >> i % 8 * 8);
}

/* --- events ----------------------------------------------------------------------------------- */

static bool before(const struct net_event *a, const struct net_event *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct net *net, struct net_event e) {
    if (net->n_heap == net->room) {
        net->room = net->room ? 2 * net->room : 1024;
        net->heap = realloc(net->heap, net->room * sizeof *net->heap);
        if (!net->heap) abort();
    }
    e.order = net->order++;
    size_t i = net->n_heap++;
    for (; i && before(&e, &net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = e;
}

static struct net_event pop(struct net *net) {
    const struct net_event top = net->heap[0], e = net->heap[--net->n_heap];
    size_t i = 0;
    for (size_t k = 1; k < net->n_heap; i = k, k = 2 * i + 1) {
        if (k + 1 < net->n_heap && before(&net->heap[k + 1], &net->heap[k])) k++;
        if (!before(&net->heap[k], &e)) break;
        net->heap[i] = net->heap[k];
    }
    net->heap[i] = e;
    return top;
}

/* --- what a member asks for ------------------------------------------------------------------- */

static bool verify(void *ctx, const struct slv_swim_record *r) {
    uint8_t signature[SLV_SWIM_SIGNATURE];
    (void)ctx;
    net_sign(r, signature);
    return !memcmp(signature, r->signature, sizeof signature);
}

static int sign(void *ctx, const struct slv_swim_record *r, uint8_t ret[SLV_SWIM_SIGNATURE]) {
    struct net_node *node = ctx;
    node->incarnation = r->incarnation;
    net_sign(r, ret);
    return 0;
}

static uint64_t random64(void *ctx) { return net_random(&((struct net_node *)ctx)->random); }

static void carry(struct net_node *node, uint64_t to, const void *p, size_t n) {
    struct net *net = node->net;
    const size_t i = net_index(to);
    const uint64_t head[] = {net->now, node->i, to};
    net->hash = fold(net->hash, head, sizeof head);
    net->hash = fold(net->hash, p, n < 24 ? n : 24);
    if (i >= net->n || node->mute || node->group != net->node[i].group) return;
    const bool is_cut = (i == net->cut[0] && node->i == net->cut[1]) ||
                        (i == net->cut[1] && node->i == net->cut[0]);
    if (is_cut && net->cut[0] != net->cut[1]) return;
    if (net->loss_pct && net_random(&net->random) % 100 < net->loss_pct) return;
    struct net_datagram *d = malloc(sizeof *d + n);
    if (!d) abort();
    *d = (struct net_datagram){.from = node->i, .n = n};
    memcpy(d->bytes, p, n);
    uint64_t us = net->delay_us + node->wait_us + node->far_us + net->node[i].far_us;
    if (net->jitter_us) us += net_random(&net->random) % net->jitter_us;
    push(net, (struct net_event){.at = net->now + us * 1000, .node = i, .datagram = d});
}

static bool send(void *ctx, uint64_t to, const void *p, size_t n) {
    struct net_node *node = ctx;
    carry(node, to, p, n);
    return !node->wait_us;
}

static void on_change(void *ctx, uint64_t id, enum slv_swim_state state, uint64_t incarnation) {
    struct net_node *node = ctx;
    struct net *net = node->net;
    const size_t of = net_index(id);
    const uint64_t what[] = {net->now, node->i, id, (uint64_t)state, incarnation};
    net->hash = fold(net->hash, what, sizeof what);
    if (state == SLV_SWIM_DEAD && of < net->n && net->node[of].swim) {
        net->wrong++;
        net->wrong_of_healthy += !net->node[of].starved;
        net->wrong_healthy += !net->node[of].starved && !node->starved;
    }
    if (net->on_change) net->on_change(net, node, of, state);
}

static void on_isolated(void *ctx, bool isolated) {
    ((struct net_node *)ctx)->isolations += isolated;
}

/* --- running ---------------------------------------------------------------------------------- */

static void schedule(struct net *net, struct net_node *node, uint64_t at) {
    if (at == UINT64_MAX || (node->next > net->now && node->next <= at)) return;
    node->next = at;
    push(net, (struct net_event){.at = at, .node = node->i});
}

static void tick(struct net *net, struct net_node *node) {
    schedule(net, node, slv_swim_tick(node->swim, net->now));
}

static void receive(struct net *net, struct net_node *node, struct net_datagram *d) {
    (void)slv_swim_receive(node->swim, net->now, net_id(d->from), d->bytes, d->n);
    node->received++;
    free(d);
}

static void drop_inbox(struct net_node *node) {
    while (node->inbox) {
        struct net_datagram *d = node->inbox;
        node->inbox = d->next;
        free(d);
    }
    node->inbox_end = &node->inbox;
    node->n_inbox = 0;
}

/* A starved node runs for a moment now and then: it does what is due, often before it reads what
 * waits, and of that only some; a socket's buffer holds the rest, and no more. */
static void starve(struct net *net, struct net_node *node, struct net_datagram *d) {
    if (d && node->n_inbox < INBOX) {
        *node->inbox_end = d;
        node->inbox_end = &d->next;
        node->n_inbox++;
    } else {
        free(d);
    }
    if (net->now < node->awake_at) return;
    if (net_random(&net->random) % 2) tick(net, node);
    for (uint64_t most = 1 + net_random(&net->random) % 24; most && node->inbox; most--) {
        struct net_datagram *waits = node->inbox;
        node->inbox = waits->next;
        if (!node->inbox) node->inbox_end = &node->inbox;
        node->n_inbox--;
        receive(net, node, waits);
    }
    tick(net, node);
    const bool is_short = net_random(&net->random) % 2;
    const uint64_t ms = net_random(&net->random) % (is_short ? 50 : net->starve_ms);
    node->awake_at = net->now + ms * NET_MS;
    push(net, (struct net_event){.at = node->awake_at, .node = node->i});
}

static void step(struct net *net, const struct net_event *e) {
    struct net_node *node = &net->node[e->node];
    struct net_datagram *d = e->datagram;
    const bool reaches = d && !node->deaf && net->node[d->from].group == node->group;
    if (!node->swim || (d && !reaches)) {
        free(d);
    } else if (node->starved) {
        starve(net, node, d);
    } else {
        if (d) receive(net, node, d);
        tick(net, node);
    }
}

void net_run(struct net *net, uint64_t ns) {
    const uint64_t end = net->now + ns;
    while (net->n_heap && net->heap[0].at <= end) {
        const struct net_event e = pop(net);
        net->now = e.at;
        step(net, &e);
    }
    net->now = end;
}

/* --- nodes ------------------------------------------------------------------------------------ */

void net_open(struct net *net, size_t n, uint64_t seed) {
    *net = (struct net){.n = n,
                        .now = NET_BEGIN,
                        .random = seed * 2 + 1,
                        .delay_us = 200,
                        .jitter_us = 600,
                        .starve_ms = 3000,
                        .hash = 1};
    net->node = calloc(n, sizeof *net->node);
    if (!net->node) abort();
    for (int i = 0; i < 10; i++)
        (void)net_random(&net->random);
    for (size_t i = 0; i < n; i++) {
        net->node[i] = (struct net_node){.net = net, .i = i, .incarnation = 0};
        net->node[i].inbox_end = &net->node[i].inbox;
        net->node[i].random = net_random(&net->random) | 1;
    }
}

void net_stop(struct net *net, size_t i) {
    slv_swim_close(net->node[i].swim);
    net->node[i].swim = NULL;
    drop_inbox(&net->node[i]);
}

void net_close(struct net *net) {
    for (size_t i = 0; i < net->n; i++)
        net_stop(net, i);
    while (net->n_heap)
        free(pop(net).datagram);
    free(net->heap);
    free(net->node);
}

void net_start(struct net *net, size_t i, size_t seed, const struct slv_swim_conf *conf) {
    static const char record[] = "192.0.2.1:4000 [2001:db8::1]:4000 key 0123456789abcdef0123456789";
    struct net_node *node = &net->node[i];
    struct slv_swim_conf c = conf ? *conf : (struct slv_swim_conf){0};
    net_stop(net, i);
    c.id = net_id(i);
    c.incarnation = node->incarnation + 1;
    if (!c.record.n) c.record = (struct slv_str){record, sizeof record - 1};
    c.ctx = node;
    c.verify = verify;
    c.sign = sign;
    c.send = send;
    c.random = random64;
    c.on_change = on_change;
    c.on_isolated = on_isolated;
    node->conf = c;
    node->next = 0;
    if (slv_swim_open(&c, net->now, &node->swim)) abort();
    if (seed != i && slv_swim_seed(node->swim, net->now, net_id(seed))) abort();
    tick(net, node);
}

enum slv_swim_state net_sees(const struct net *net, size_t i, size_t of) {
    struct slv_swim_member m;
    if (slv_swim_find(net->node[i].swim, net_id(of), &m)) return SLV_SWIM_REMOVED;
    return m.state;
}

size_t net_seen(const struct net *net, size_t of, enum slv_swim_state state) {
    size_t n = 0;
    for (size_t i = 0; i < net->n; i++)
        n += net->node[i].swim && i != of && net_sees(net, i, of) == state;
    return n;
}

static bool is_settled(const struct net *net) {
    for (size_t i = 0; i < net->n; i++) {
        size_t others = 0;
        if (!net->node[i].swim) continue;
        for (size_t k = 0; k < net->n; k++)
            others += k != i && net->node[k].swim && net->node[k].group == net->node[i].group;
        if (net_seen(net, i, SLV_SWIM_ALIVE) != others) return false;
    }
    return true;
}

bool net_settle(struct net *net, uint64_t ns) {
    const uint64_t end = net->now + ns;
    while (net->now < end && !is_settled(net))
        net_run(net, 50 * NET_MS);
    return is_settled(net);
}

void net_join(struct net *net, const struct slv_swim_conf *conf) {
    net_start(net, 0, 0, conf);
    for (size_t i = 1; i < net->n; i++) {
        net_run(net, NET_S / net->n);
        net_start(net, i, 0, conf);
    }
    if (!net_settle(net, 60 * NET_S)) abort();
}
