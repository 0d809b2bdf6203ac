/* transport_try.c: trying for a way to a peer: see transport.h, "Connecting". */
#include "mesh/transport_int.h"

#include <unistd.h>

#define RELAY_STAGGER SECOND

void transport_try_begin(struct slv_transport *t, struct peer *p) {
    const uint64_t now = transport_now(t);
    p->try = (struct try){.on = true,
                          .begun = now,
                          .udp_at = now,
                          .tcp_at = now + t->conf.tcp_after_ms * MS,
                          .relay_at = now + t->conf.relay_after_ms * MS,
                          /* (Not all choose the same relay first.) */
                          .relay_after = p->id ^ t->own};
    if (!p->n_addresses) p->try.relay_at = now;
    transport_soon(t, now);
}

/* The next that relays behind the one that was tried last, or the first. */
static struct peer *next_relay(const struct slv_transport *t, const struct peer *p) {
    struct peer *first = NULL;
    for (size_t i = 0; i < t->n_peers; i++) {
        struct peer *x = t->peer[i];
        const struct way *u = x->used;
        if (x == p || !u || u->kind <= SLV_WAY_RELAYED || !u->offers) continue;
        if (x->id > p->try.relay_after) return x;
        if (!first) first = x;
    }
    return first;
}

static void try_relay(struct slv_transport *t, struct peer *p, uint64_t now) {
    struct peer *relay = next_relay(t, p);
    p->try.relay_at = now + RELAY_STAGGER;
    p->try.relays++;
    if (!relay) return;
    p->try.relay_after = relay->id;
    transport_relay_connect(t, p, relay);
}

void transport_try_nowhere(struct slv_transport *t, struct peer *p) {
    p->try.relay_at = transport_now(t);
    transport_soon(t, p->try.relay_at);
}

static bool has_begun(const struct peer *p) {
    const struct way *w = p->ways;
    while (w && (!w->own || w->state != WAY_HALF))
        w = w->next;
    return w;
}

/* (It need not be in use yet.) */
static enum slv_way best_open(const struct peer *p) {
    enum slv_way best = SLV_WAY_NONE;
    for (const struct way *w = p->ways; w; w = w->next)
        if (w->state == WAY_OPEN && w->kind > best) best = w->kind;
    return best;
}

/* What a try has not begun yet, and would be better than what there is. */
static bool udp_left(const struct peer *p, enum slv_way have) {
    return have < SLV_WAY_UDP && p->try.udp < p->n_addresses;
}

static bool tcp_left(const struct slv_transport *t, const struct peer *p, enum slv_way have) {
    return have < SLV_WAY_TCP && t->stream && p->try.tcp < p->n_addresses;
}

static bool relay_left(const struct slv_transport *t, const struct peer *p, enum slv_way have) {
    return have < SLV_WAY_RELAYED && t->inner && p->try.relays < RELAYS_TRIED;
}

bool transport_try_over(const struct slv_transport *t, const struct peer *p) {
    const enum slv_way have = best_open(p);
    return !p->try.on || (!has_begun(p) && !udp_left(p, have) && !tcp_left(t, p, have) &&
                          !relay_left(t, p, have));
}

static void earlier(uint64_t *next, uint64_t at) {
    if (at < *next) *next = at;
}

uint64_t transport_try_tick(struct slv_transport *t, struct peer *p, uint64_t now) {
    struct try *y = &p->try;
    const enum slv_way have = best_open(p);
    const uint64_t stagger = t->conf.stagger_ms * MS;
    uint64_t next = UINT64_MAX;
    if (transport_try_over(t, p)) y->on = false;
    if (!y->on) return next;
    if (udp_left(p, have)) {
        if (now >= y->udp_at) {
            y->udp_at = now + stagger;
            transport_udp_connect(t, p, &p->address[y->udp++]);
        }
        earlier(&next, y->udp_at);
    }
    if (tcp_left(t, p, have)) {
        if (now >= y->tcp_at) {
            y->tcp_at = now + stagger;
            transport_tcp_connect(t, p, &p->address[y->tcp++]);
        }
        earlier(&next, y->tcp_at);
    }
    if (relay_left(t, p, have)) {
        if (now >= y->relay_at) try_relay(t, p, now);
        earlier(&next, y->relay_at);
    }
    return next;
}

/* --- this node moves -------------------------------------------------------------------------- */

/* The address that the system would send from: that of a socket which is connected, without a
 * datagram, and not used for anything else. */
static bool source_of(const struct slv_transport *t, const struct address *to,
                      struct address *ret) {
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    const int fd = t->look_fd[to->sa.sa_family == AF_INET6];
    struct address a = {.n = sizeof a.in6};
    if (fd < 0 || connect(fd, &to->sa, to->n)) return false;
    const bool ok = !getsockname(fd, &a.sa, &a.n) && !transport_address_any(&a);
    if (connect(fd, &nobody, sizeof nobody)) return false;
    if (ok) *ret = a;
    return ok;
}

void transport_try_source(struct slv_transport *t, struct way *w) {
    if (transport_address_any(&t->port[w->socket].bound))
        w->looked = source_of(t, &w->to, &w->source);
}

void transport_try_moved(struct slv_transport *t, struct peer *p) {
    struct address now_from;
    struct way *w = p->used;
    if (!w || w->kind != SLV_WAY_UDP || !w->looked || !source_of(t, &w->to, &now_from)) return;
    if (transport_address_equal(&w->source, &now_from, false)) return;
    if (!transport_udp_connect(t, p, &w->to)) return; /* soon again */
    w->source = now_from;
    t->stats.moved++;
}
