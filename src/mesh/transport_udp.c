/* transport_udp.c: UDP sockets, and DTLS on them; see transport_int.h.
 *
 * What the network says of a datagram that did not arrive (ICMP) is not asked for: anybody can say
 * so, and a peer that begins again is refused for a moment only. The next try finds out. */
#define _GNU_SOURCE /* recvmmsg */
#include "mesh/transport_int.h"

#include <errno.h>
#include <unistd.h>

#define BUFFER (1 << 20) /* bytes, of a socket, where the system allows it */

/* --- sockets ---------------------------------------------------------------------------------- */

static bool set(int fd, int level, int option, int value) {
    return !setsockopt(fd, level, option, &value, sizeof value);
}

static bool prepare(int fd, int family) {
    /* (As much as there is, if it is not so much.) */
    (void)set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
    (void)set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER);
    if (family == AF_INET)
        return set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE) &&
               set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) && set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
}

int transport_udp_open(struct port *port, struct slv_err *err, const char *name) {
    const int family = port->bound.sa.sa_family;
    port->udp = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (port->udp >= 0 && prepare(port->udp, family) &&
        !bind(port->udp, &port->bound.sa, port->bound.n) &&
        !getsockname(port->udp, &port->bound.sa, &port->bound.n))
        return 0;
    return slv_err_set(err, SLV_E_IO, "%s: UDP: %s", name, strerror(errno));
}

int transport_udp_port(const struct slv_transport *t, const struct address *to, unsigned *ret) {
    const bool loops = transport_address_loops(to);
    size_t found = t->n_ports;
    for (size_t i = t->n_ports; i-- > 0;) {
        const struct address *b = &t->port[i].bound;
        if (b->sa.sa_family != to->sa.sa_family) continue;
        /* (From 127.0.0.1 nothing gets to another machine.) */
        if (transport_address_loops(b) && !loops) continue;
        if (found == t->n_ports || transport_address_loops(b) == loops || transport_address_any(b))
            found = i;
    }
    if (found == t->n_ports) return SLV_E_NOENT;
    *ret = (unsigned)found;
    return 0;
}

/* --- sending ---------------------------------------------------------------------------------- */

union control {
    struct cmsghdr align;
    char p[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void put_local(struct msghdr *m, union control *c, const struct address *local) {
    const bool six = local->sa.sa_family == AF_INET6;
    const struct in_pktinfo four = {.ipi_spec_dst = local->in.sin_addr};
    const struct in6_pktinfo info = {.ipi6_addr = local->in6.sin6_addr,
                                     .ipi6_ifindex = local->in6.sin6_scope_id};
    const size_t n = six ? sizeof info : sizeof four;
    memset(c, 0, sizeof *c);
    m->msg_control = c->p;
    m->msg_controllen = CMSG_SPACE(n);
    struct cmsghdr *h = CMSG_FIRSTHDR(m);
    h->cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
    h->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
    h->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(h), six ? (const void *)&info : (const void *)&four, n);
}

static void get_local(struct msghdr *m, struct address *ret) {
    struct in_pktinfo four;
    struct in6_pktinfo six;
    ret->n = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            memcpy(&four, CMSG_DATA(h), sizeof four);
            *ret = (struct address){.in = {.sin_family = AF_INET, .sin_addr = four.ipi_addr},
                                    .n = sizeof ret->in};
        } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
            memcpy(&six, CMSG_DATA(h), sizeof six);
            *ret = (struct address){.in6 = {.sin6_family = AF_INET6, .sin6_addr = six.ipi6_addr},
                                    .n = sizeof ret->in6};
            if (IN6_IS_ADDR_LINKLOCAL(&six.ipi6_addr)) ret->in6.sin6_scope_id = six.ipi6_ifindex;
        }
    }
}

void transport_udp_reply(struct slv_transport *t, unsigned socket, const struct address *to,
                         const struct address *local, struct slv_str bytes) {
    struct iovec io = {(void *)(uintptr_t)bytes.p, bytes.n};
    union control control;
    struct msghdr m = {.msg_name = (void *)(uintptr_t)&to->in6,
                       .msg_namelen = to->n,
                       .msg_iov = &io,
                       .msg_iovlen = 1};
    if (local && local->n) put_local(&m, &control, local);
    if (sendmsg(t->port[socket].udp, &m, MSG_NOSIGNAL) < 0) t->stats.lost++;
}

void transport_udp_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    struct slv_transport *t = ctx;
    const struct way *w = slv_dtls_user(a); /* NULL: it is being made */
    struct address to;
    unsigned socket;
    transport_address_unpack(slv_dtls_address(a), &to, &socket);
    transport_udp_reply(t, socket, &to, w ? &w->local : t->arriving,
                        (struct slv_str){(const char *)p, n});
}

struct way *transport_udp_connect(struct slv_transport *t, struct peer *p,
                                  const struct address *to) {
    unsigned socket;
    if (transport_udp_port(t, to, &socket)) return NULL;
    const struct slv_dtls_address packed = transport_address_pack(to, socket);
    const struct way *there = transport_way_find(t, &packed);
    if (there && there->state == WAY_HALF) return NULL;
    struct way *w = transport_way_new(t, SLV_WAY_UDP, p, to);
    if (!w) return NULL;
    w->packed = packed;
    w->socket = socket;
    return transport_way_begin(w, t->dtls, p->session);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* How many came. */
static unsigned receive(struct slv_transport *t, unsigned socket) {
    struct address from[TURN_BATCH];
    struct mmsghdr m[TURN_BATCH];
    struct iovec io[TURN_BATCH];
    union control control[TURN_BATCH];
    memset(m, 0, sizeof m);
    for (unsigned i = 0; i < TURN_BATCH; i++) {
        io[i] = (struct iovec){t->buffer[i], sizeof t->buffer[i]};
        m[i].msg_hdr = (struct msghdr){.msg_name = &from[i].in6,
                                       .msg_namelen = sizeof from[i].in6,
                                       .msg_iov = &io[i],
                                       .msg_iovlen = 1,
                                       .msg_control = control[i].p,
                                       .msg_controllen = sizeof control[i].p};
    }
    const int got = recvmmsg(t->port[socket].udp, m, TURN_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        from[i].n = m[i].msg_hdr.msg_namelen;
        if (m[i].msg_len > FRAME_MAX || !transport_address_port(&from[i])) {
            t->stats.strange++;
            continue;
        }
        struct arrival a = {.d = t->dtls,
                            .at = transport_address_pack(&from[i], socket),
                            .kind = SLV_WAY_UDP,
                            .socket = socket,
                            .from = from[i],
                            .bytes = {(const char *)t->buffer[i], m[i].msg_len}};
        get_local(&m[i].msg_hdr, &a.local);
        transport_way_arrive(t, &a);
    }
    return got > 0 ? (unsigned)got : 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct slv_transport *t = arg;
    unsigned socket = 0;
    (void)what;
    while (t->port[socket].udp != fd)
        socket++;
    for (unsigned n = 0, got = TURN_BATCH; got == TURN_BATCH && n < TURN_DATAGRAMS; n += got)
        got = receive(t, socket);
    transport_settle(t);
}

int transport_udp_start(struct slv_transport *t, struct port *port) {
    port->udp_event = event_new(t->conf.base, port->udp, EV_READ | EV_PERSIST, on_readable, t);
    return port->udp_event && !event_add(port->udp_event, NULL) ? 0 : SLV_E_NOMEM;
}
