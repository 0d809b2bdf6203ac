/* transport_discover.c: announcements by multicast in the local network; see transport.h.
 *
 * They say who is at which port, and the address is where they come from. Nobody vouches for them:
 * what is found is an address to be tried, so many a second, and DTLS shows who is there. A node
 * that hears of one which it has not heard of lately announces itself soon, so that two know of
 * each other in a moment and not after a period of the slower.
 *
 * Sources: RFC 2365, RFC 4291 (2.7), RFC 3493 (5.2). */
#define _GNU_SOURCE /* struct ip_mreqn */
#include "mesh/transport_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#define GROUP4 "239.255.83.76"
#define GROUP6 "ff02::534c"
#define PORT 8376
#define EVERY_MS 5000u
#define SOON_MS 200u            /* at most, until a new one is answered */
#define ANSWER_NS (500 * MS)    /* between two announcements */
#define FORGET_NS (60 * SECOND) /* who was not heard for so long is new */
#define HEARD_A_SECOND 50u
#define HEARD_TURN 16u
#define JOINED 16u

static uint32_t jitter(uint32_t ms) { return ms ? randombytes_uniform(ms) : 0; }

static void set_timer(struct discovery *d, uint32_t ms) {
    const struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(d->timer, &tv);
}

/* --- announcing ------------------------------------------------------------------------------- */

static bool join(struct discovery *d, int six, unsigned interface) {
    for (size_t i = 0; i < JOINED; i++) {
        unsigned *at = &d->joined[six][i];
        if (*at == interface) return true;
        if (*at) continue;
        const struct ip_mreqn m4 = {.imr_multiaddr = d->group[0].in.sin_addr,
                                    .imr_ifindex = (int)interface};
        const struct ipv6_mreq m6 = {.ipv6mr_multiaddr = d->group[1].in6.sin6_addr,
                                     .ipv6mr_interface = interface};
        const int rc = six ? setsockopt(d->fd[1], IPPROTO_IPV6, IPV6_JOIN_GROUP, &m6, sizeof m6)
                           : setsockopt(d->fd[0], IPPROTO_IP, IP_ADD_MEMBERSHIP, &m4, sizeof m4);
        if (rc && errno != EADDRINUSE) return false;
        *at = interface;
        return true;
    }
    return false;
}

/* The port that others reach by this family; 0: none. */
static uint16_t port_of(const struct slv_transport *t, int six) {
    for (size_t i = 0; i < t->n_ports; i++) {
        const struct address *a = &t->port[i].bound;
        if ((a->sa.sa_family == AF_INET6) == six && !transport_address_loops(a))
            return transport_address_port(a);
    }
    return 0;
}

static void announce_on(struct slv_transport *t, int six, unsigned interface) {
    struct discovery *d = &t->discovery;
    const struct announce a = {t->conf.mesh, t->own, port_of(t, six)};
    const struct ip_mreqn by = {.imr_ifindex = (int)interface};
    uint8_t bytes[ANNOUNCE_BYTES];
    struct address to = d->group[six];
    if (d->fd[six] < 0 || !a.port || !join(d, six, interface)) return;
    if (six) to.in6.sin6_scope_id = interface;
    else if (setsockopt(d->fd[0], IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by)) return;
    transport_announce_write(&a, bytes);
    if (sendto(d->fd[six], bytes, sizeof bytes, MSG_NOSIGNAL, &to.sa, to.n) < 0) return;
    t->stats.announced++;
}

/* On each interface; they come and go, so they are asked for each time. */
static void announce(struct slv_transport *t) {
    struct discovery *d = &t->discovery;
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list)) return;
    const unsigned wanted = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
    for (const struct ifaddrs *a = list, *b; a; a = a->ifa_next) {
        const int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6) continue;
        if (*d->interface ? strcmp(a->ifa_name, d->interface) != 0
                          : (a->ifa_flags & wanted) != wanted || (a->ifa_flags & IFF_LOOPBACK))
            continue;
        for (b = list; b != a; b = b->ifa_next) /* once for several addresses */
            if (b->ifa_addr && b->ifa_addr->sa_family == family &&
                !strcmp(a->ifa_name, b->ifa_name))
                break;
        if (b == a) announce_on(t, family == AF_INET6, if_nametoindex(a->ifa_name));
    }
    freeifaddrs(list);
}

static void on_time(evutil_socket_t fd, short what, void *arg) {
    struct slv_transport *t = arg;
    struct discovery *d = &t->discovery;
    const uint32_t every = d->conf.every_ms;
    (void)fd;
    (void)what;
    d->soon = false;
    d->announced_at = transport_now(t);
    announce(t);
    set_timer(d, every - every / 4 + jitter(every / 2));
}

/* --- hearing ---------------------------------------------------------------------------------- */

static bool may_hear(struct discovery *d, uint64_t now) {
    if (now - d->tokens_at >= SECOND) {
        d->tokens_at = now;
        d->tokens = HEARD_A_SECOND;
    }
    if (!d->tokens) return false;
    d->tokens--;
    return true;
}

/* Whether it is new; it takes the place of who was silent for longest. */
static bool note(struct discovery *d, uint64_t id, const struct address *from, uint64_t now) {
    struct heard *to = d->heard;
    for (struct heard *h = d->heard; h < d->heard + HEARD_MAX; h++) {
        if (h->id == id && h->at && transport_address_equal(&h->from, from, true)) {
            const bool fresh = now - h->at > FORGET_NS;
            h->at = now;
            return fresh;
        }
        if (h->at < to->at) to = h;
    }
    *to = (struct heard){id, now, *from};
    return true;
}

static void hear(struct slv_transport *t, struct address *from, struct slv_str datagram) {
    struct discovery *d = &t->discovery;
    const uint64_t now = transport_now(t);
    char text[SLV_TRANSPORT_ADDRESS_TEXT];
    struct announce a;
    if (!transport_announce_read(datagram, &a) || !may_hear(d, now)) {
        t->stats.heard_dropped++;
        return;
    }
    if (a.mesh != t->conf.mesh || a.node == t->own) return;
    t->stats.heard++;
    transport_address_set_port(from, a.port);
    if (note(d, a.node, from, now) && !d->soon && now - d->announced_at > ANSWER_NS) {
        d->soon = true;
        set_timer(d, jitter(SOON_MS));
    }
    transport_address_text(from, text);
    if (t->conf.found) t->conf.found(t->conf.ctx, a.node, text);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct slv_transport *t = arg;
    uint8_t bytes[ANNOUNCE_BYTES + 1];
    (void)what;
    for (unsigned i = 0; i < HEARD_TURN; i++) {
        struct address from = {.n = sizeof from.in6};
        const ssize_t n = recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, &from.sa, &from.n);
        if (n < 0) break;
        hear(t, &from, (struct slv_str){(const char *)bytes, (size_t)n});
    }
    transport_settle(t);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int group_of(const char *text, int six, uint16_t port, struct address *ret) {
    struct address a = {.n = six ? sizeof a.in6 : sizeof a.in};
    a.sa.sa_family = six ? AF_INET6 : AF_INET;
    if (inet_pton(a.sa.sa_family, text, six ? (void *)&a.in6.sin6_addr : (void *)&a.in.sin_addr) !=
            1 ||
        !(six ? IN6_IS_ADDR_MULTICAST(&a.in6.sin6_addr)
              : IN_MULTICAST(ntohl(a.in.sin_addr.s_addr))))
        return SLV_E_USAGE;
    transport_address_set_port(&a, port);
    *ret = a;
    return 0;
}

/* Bound to the group: what is sent to the port in another way is not heard. */
static int open_socket(const struct discovery *d, int six) {
    const int one = 1;
    const struct address *g = &d->group[six];
    const int fd = socket(g->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (six) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &one, sizeof one);
    } else {
        const int none = 0;
        (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &one, sizeof one);
        (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &none, sizeof none);
    }
    if (!bind(fd, &g->sa, g->n)) return fd;
    close(fd);
    return -1;
}

static int start(struct slv_transport *t) {
    struct discovery *d = &t->discovery;
    d->timer = evtimer_new(t->conf.base, on_time, t);
    for (int six = 0; six < 2; six++) {
        if (d->fd[six] < 0) continue;
        d->event[six] = event_new(t->conf.base, d->fd[six], EV_READ | EV_PERSIST, on_readable, t);
        if (!d->event[six] || event_add(d->event[six], NULL)) return SLV_E_NOMEM;
    }
    if (!d->timer) return SLV_E_NOMEM;
    set_timer(d, jitter(SOON_MS));
    return 0;
}

int transport_discover_open(struct slv_transport *t, struct slv_err *err) {
    struct discovery *d = &t->discovery;
    d->conf = t->conf.discover;
    t->has_discovery = true;
    d->fd[0] = d->fd[1] = -1;
    if (!d->conf.port) d->conf.port = PORT;
    if (!d->conf.every_ms) d->conf.every_ms = EVERY_MS;
    if (d->conf.interface) snprintf(d->interface, sizeof d->interface, "%s", d->conf.interface);
    const char *const group[2] = {d->conf.group4 ? d->conf.group4 : GROUP4,
                                  d->conf.group6 ? d->conf.group6 : GROUP6};
    for (int six = 0; six < 2; six++) {
        if (group_of(group[six], six, d->conf.port, &d->group[six]))
            return slv_err_set(err, SLV_E_USAGE, "%s: not a group's address", group[six]);
        if (port_of(t, six)) d->fd[six] = open_socket(d, six);
    }
    if (d->fd[0] < 0 && d->fd[1] < 0)
        return slv_err_set(err, SLV_E_IO, "%s: port %u: %s", group[0], d->conf.port,
                           strerror(errno));
    return start(t) ? slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", group[0]) : 0;
}

void transport_discover_close(struct slv_transport *t) {
    struct discovery *d = &t->discovery;
    if (!t->has_discovery) return;
    for (int i = 0; i < 2; i++) {
        if (d->event[i]) event_free(d->event[i]);
        if (d->fd[i] >= 0) close(d->fd[i]);
    }
    if (d->timer) event_free(d->timer);
}
