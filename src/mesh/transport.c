/* transport.c: the transport as a whole: see transport.h and transport_int.h. */
#include "mesh/transport.h"
#include "base/mem.h"
#include "mesh/transport_int.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#define LIFETIME_S ((uint64_t)7 * 86400) /* of certificates */
#define PORT_TRIES 16                    /* for one that is free for UDP and TCP alike */
#define TICK_MIN (2 * MS)
#define RATE_MAX ((uint64_t)1 << 40)

uint64_t transport_now(const struct slv_transport *t) { return slv_clock_mono(t->clock); }

/* --- time ------------------------------------------------------------------------------------- */

void transport_soon(struct slv_transport *t, uint64_t at) {
    if (at >= t->due || t->closing) return;
    const uint64_t now = transport_now(t), left = at > now ? (at - now) / 1000 + 1 : 0;
    const struct timeval tv = {(time_t)(left / 1000000), (suseconds_t)(left % 1000000)};
    t->due = at;
    if (evtimer_add(t->timer, &tv)) t->due = UINT64_MAX; /* then the next that happens sets it */
}

static uint64_t tick_half(struct slv_transport *t, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (struct way *w = t->half, *after; w; w = after) {
        after = w->half_next;
        if (w->state != WAY_HALF) continue;
        if (w->assoc) slv_dtls_tick(w->assoc, now);
        else if (now >= w->deadline) transport_way_failed(w, SLV_DTLS_WHY_TIMEOUT);
        if (w->state != WAY_HALF) continue;
        const uint64_t at = w->assoc ? slv_dtls_timeout(w->assoc, now) : w->deadline;
        if (at < next) next = at;
    }
    return next;
}

/* Peers come and go meanwhile: they are found again by number. */
static uint64_t each_peer(struct slv_transport *t, uint64_t now,
                          uint64_t (*what)(struct slv_transport *t, struct peer *p, uint64_t now)) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < t->n_peers;) {
        const uint64_t id = t->peer[i]->id, at = what(t, t->peer[i], now);
        if (at < next) next = at;
        if (i >= t->n_peers || t->peer[i]->id != id)
            for (i = 0; i < t->n_peers && t->peer[i]->id < id;)
                i++;
        if (i < t->n_peers && t->peer[i]->id == id) i++;
    }
    return next;
}

static uint64_t look_at(struct slv_transport *t, struct peer *p, uint64_t now) {
    (void)now;
    transport_try_moved(t, p);
    return UINT64_MAX;
}

/* The session was made with a certificate that is not this node's any more. */
static uint64_t forget_session(struct slv_transport *t, struct peer *p, uint64_t now) {
    (void)t, (void)now;
    slv_dtls_session_close(p->session);
    p->session = NULL;
    return UINT64_MAX;
}

/* A certificate that cannot be renewed now, as its key does not sign, is good for as long again. */
static void renew(struct slv_transport *t, uint64_t now) {
    struct slv_err err;
    int rc = slv_dtls_renew(t->dtls, now, &err);
    if (!rc && t->inner) rc = slv_dtls_renew(t->inner, now, &err);
    if (!rc && t->stream) rc = slv_stream_renew(t->stream, &err);
    t->renew_at = rc ? now + 60 * SECOND : slv_dtls_renew_at(t->dtls);
    each_peer(t, now, forget_session);
}

static void each_second(struct slv_transport *t, uint64_t now) {
    if (now < t->secondly) return;
    t->secondly = now + SECONDLY;
    each_peer(t, now, look_at);
    if (now >= t->renew_at) renew(t, now);
    for (size_t i = 0; i < t->n_ports; i++) /* where descriptors had run out */
        if (t->port[i].tcp_event) event_add(t->port[i].tcp_event, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct slv_transport *t = arg;
    (void)fd;
    (void)what;
    const uint64_t now = transport_now(t);
    t->due = UINT64_MAX;
    transport_settle(t);
    each_second(t, now);
    uint64_t next = tick_half(t, now);
    const uint64_t at = each_peer(t, now, transport_peer_tick);
    if (at < next) next = at;
    transport_settle(t);
    if (t->secondly < next) next = t->secondly;
    transport_soon(t, next > now + TICK_MIN ? next : now + TICK_MIN);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void set(uint32_t *v, uint32_t otherwise) {
    if (!*v) *v = otherwise;
}

static int fill_in(struct slv_transport_conf *c, struct slv_err *err) {
    set(&c->peers_max, SLV_TRANSPORT_PEERS_MAX);
    set(&c->handshakes_max, 64);
    set(&c->per_source, 16);
    set(&c->per_source_rate, 20);
    set(&c->stagger_ms, 150);
    set(&c->tcp_after_ms, 1500);
    set(&c->relay_after_ms, 3000);
    set(&c->again_ms, 60000);
    set(&c->retransmit_ms, 500);
    set(&c->handshake_ms, 10000);
    if (c->n_listen > SLV_TRANSPORT_LISTEN_MAX)
        return slv_err_set(err, SLV_E_USAGE, "%s: %u addresses to listen at are the most",
                           c->listen[SLV_TRANSPORT_LISTEN_MAX], SLV_TRANSPORT_LISTEN_MAX);
    const bool ok = c->base && c->n_listen && c->sign && c->allow && c->id_of && c->up && c->down &&
                    c->receive && c->peers_max <= SLV_TRANSPORT_PEERS_MAX &&
                    c->handshakes_max <= SLV_TRANSPORT_PEERS_MAX && c->per_source_rate <= 100000 &&
                    c->relay_rate <= RATE_MAX && c->retransmit_ms >= SLV_DTLS_RETRANSMIT_MIN / MS &&
                    c->retransmit_ms <= SLV_DTLS_RETRANSMIT_MAX / MS;
    return ok ? 0 : slv_err_set(err, SLV_E_USAGE, "transport: a setting is out of its range");
}

/* (The contexts' functions get the transport.) */
static int sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    const struct slv_transport *t = ctx;
    return t->conf.sign(t->conf.ctx, p, n, ret);
}

static bool allow(void *ctx, const uint8_t peer[SLV_DTLS_KEY]) {
    const struct slv_transport *t = ctx;
    return t->conf.allow(t->conf.ctx, peer);
}

static void known_time(void *ctx, uint64_t *ret_earliest, uint64_t *ret_latest) {
    const struct slv_transport *t = ctx;
    t->conf.time(t->conf.ctx, ret_earliest, ret_latest);
}

static struct slv_dtls_conf dtls_conf(struct slv_transport *t, uint32_t less) {
    const struct slv_transport_conf *c = &t->conf;
    struct slv_dtls_conf d = {.ctx = t,
                              .sign = sign,
                              .allow = allow,
                              .time = c->time ? known_time : NULL,
                              .output = less ? transport_relay_output : transport_udp_output,
                              .data = transport_way_data,
                              .changed = transport_way_changed,
                              .chacha_first = c->chacha_first,
                              .mtu = HANDSHAKE_MTU - less,
                              .max = 4 * c->peers_max + 2 * c->handshakes_max,
                              .handshakes_max = c->handshakes_max,
                              .sessions_max = c->peers_max,
                              .handshake_ns = c->handshake_ms * MS,
                              .retransmit_ns = c->retransmit_ms * MS,
                              .lifetime_s = LIFETIME_S};
    memcpy(d.key, c->key, sizeof d.key);
    return d;
}

static void close_port(struct port *p) {
    if (p->udp_event) event_free(p->udp_event);
    if (p->tcp_event) event_free(p->tcp_event);
    if (p->udp >= 0) close(p->udp);
    if (p->tcp >= 0) close(p->tcp);
    *p = (struct port){.udp = -1, .tcp = -1};
}

/* One socket for UDP, one for TCP of the same port: of ports that the system picks for UDP some are
 * in use on TCP. */
static int bind_port(struct slv_transport *t, struct port *port, const char *name,
                     struct slv_err *err) {
    struct address wanted;
    int rc = transport_address_resolve(name, &wanted, err);
    if (rc) return rc;
    for (int tries = transport_address_port(&wanted) ? 1 : PORT_TRIES, e = 0;; tries--) {
        port->bound = wanted;
        rc = transport_udp_open(port, err, name);
        if (rc || t->conf.no_tcp || !(e = transport_tcp_open(port))) return rc;
        if (e != EADDRINUSE || tries == 1)
            return slv_err_set(err, SLV_E_IO, "%s: TCP: %s", name, strerror(e));
        close_port(port);
    }
}

static int open_port(struct slv_transport *t, const char *name, struct slv_err *err) {
    struct port *port = &t->port[t->n_ports++];
    *port = (struct port){.udp = -1, .tcp = -1};
    int rc = bind_port(t, port, name, err);
    if (rc) return rc;
    rc = transport_udp_start(t, port);
    if (!rc && port->tcp >= 0) rc = transport_tcp_start(t, port);
    return rc ? slv_err_set(err, rc, "%s: out of memory", name) : 0;
}

static int open_contexts(struct slv_transport *t, struct slv_err *err) {
    const uint64_t now = transport_now(t);
    struct slv_dtls_conf outer = dtls_conf(t, 0), inner = dtls_conf(t, RELAY_OVERHEAD);
    int rc = slv_dtls_open(&outer, now, &t->dtls, err);
    if (!rc && t->conf.relay_use) rc = slv_dtls_open(&inner, now, &t->inner, err);
    if (!rc && !t->conf.no_tcp) rc = slv_stream_open(&outer, &t->stream, err);
    if (!rc) t->renew_at = slv_dtls_renew_at(t->dtls);
    return rc;
}

static int make_room(struct slv_transport *t, struct slv_err *err) {
    t->map_n = 64;
    while (t->map_n < 2 * (size_t)t->conf.peers_max)
        t->map_n *= 2;
    t->map = slv_mem_calloc(t->map_n, sizeof *t->map);
    t->timer = evtimer_new(t->conf.base, on_timer, t);
    randombytes_buf(t->map_key, sizeof t->map_key);
    transport_gates_init(&t->gates, t->conf.per_source, t->conf.per_source_rate);
    t->relay_tokens = t->conf.relay_rate;
    t->relay_at = transport_now(t);
    for (int i = 0; i < 2; i++)
        t->look_fd[i] = socket(i ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return t->map && t->timer ? 0 : slv_err_set(err, SLV_E_NOMEM, "transport: out of memory");
}

int slv_transport_open(const struct slv_transport_conf *conf, struct slv_transport **ret,
                       struct slv_err *err) {
    struct slv_transport *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return slv_err_set(err, SLV_E_NOMEM, "transport: out of memory");
    t->conf = *conf;
    t->clock = conf->clock ? conf->clock : &slv_clock_system;
    t->look_fd[0] = t->look_fd[1] = -1;
    t->due = UINT64_MAX;
    int rc = fill_in(&t->conf, err);
    if (!rc) rc = open_contexts(t, err);
    if (!rc) rc = make_room(t, err);
    for (size_t i = 0; !rc && i < conf->n_listen; i++)
        rc = open_port(t, conf->listen[i], err);
    if (!rc) t->own = t->conf.id_of(t->conf.ctx, t->conf.key);
    if (!rc && conf->discover.on) rc = transport_discover_open(t, err);
    t->conf.listen = NULL; /* they were borrowed */
    if (rc) {
        slv_transport_close(t);
        return rc;
    }
    transport_soon(t, transport_now(t) + SECONDLY);
    *ret = t;
    return 0;
}

static void close_ports(struct slv_transport *t) {
    for (size_t i = 0; i < t->n_ports; i++)
        close_port(&t->port[i]);
    for (int i = 0; i < 2; i++)
        if (t->look_fd[i] >= 0) close(t->look_fd[i]);
}

void slv_transport_close(struct slv_transport *t) {
    if (!t) return;
    t->closing = true;
    transport_discover_close(t);
    for (size_t i = 0; i < t->n_peers; i++)
        transport_peer_drop(t->peer[i]);
    while (t->half)
        transport_way_end(t->half);
    transport_settle(t);
    for (size_t i = 0; i < t->n_peers; i++)
        transport_peer_free(t->peer[i]);
    slv_mem_free(t->peer);
    close_ports(t);
    slv_mem_free(t->map);
    if (t->timer) event_free(t->timer);
    slv_dtls_close(t->inner);
    slv_dtls_close(t->dtls);
    slv_stream_close(t->stream);
    slv_mem_free(t);
}

/* --- what a node calls ------------------------------------------------------------------------ */

int slv_transport_listening(const struct slv_transport *t, size_t i,
                            char ret[SLV_TRANSPORT_ADDRESS_TEXT]) {
    if (i >= t->n_ports) return SLV_E_NOENT;
    transport_address_text(&t->port[i].bound, ret);
    return 0;
}

/* Whether the addresses are others than before. */
static bool note_addresses(struct peer *p, const struct address *a, size_t n) {
    bool same = p->n_addresses == n;
    for (size_t i = 0; same && i < n; i++)
        same = transport_address_equal(&p->address[i], &a[i], true);
    if (same) return false;
    memcpy(p->address, a, n * sizeof *a);
    p->n_addresses = n;
    return true;
}

int slv_transport_connect(struct slv_transport *t, uint64_t peer, const uint8_t *key,
                          const char *const *addresses, size_t n, struct slv_err *err) {
    struct address a[SLV_TRANSPORT_ADDRESSES_MAX];
    struct peer *p = NULL;
    if (n > SLV_TRANSPORT_ADDRESSES_MAX) n = SLV_TRANSPORT_ADDRESSES_MAX;
    for (size_t i = 0; i < n; i++)
        if (transport_address_parse(addresses[i], false, &a[i]))
            return slv_err_set(err, SLV_E_USAGE, "%s: ADDRESS:PORT, in numbers, is wanted",
                               addresses[i]);
    if (peer == t->own) return slv_err_set(err, SLV_E_USAGE, "transport: the node's own number");
    const int rc = transport_peer_get(t, peer, &p);
    if (rc) return slv_err_set(err, rc, "transport: no room for another peer");
    if (key && (!p->has_key || !p->used)) {
        memcpy(p->key, key, sizeof p->key);
        p->has_key = true;
    }
    p->pinned = p->pinned || key;
    const bool others = note_addresses(p, a, n);
    if (p->is_up) return 0;
    if (transport_try_over(t, p)) transport_try_begin(t, p);
    else if (others) p->try.udp = p->try.tcp = 0;
    return 0;
}

void slv_transport_disconnect(struct slv_transport *t, uint64_t peer) {
    struct peer *p = transport_peer_find(t, peer);
    if (!p) return;
    if (p->is_up) t->stats.up--;
    transport_peer_drop(p);
}

void slv_transport_send(struct slv_transport *t, uint64_t peer, struct slv_str datagram) {
    const struct peer *p = transport_peer_find(t, peer);
    const struct frame f = {.kind = FRAME_DATA, .bytes = datagram};
    if (!p || !p->used || !datagram.n || datagram.n > SLV_TRANSPORT_DATAGRAM_MAX ||
        !transport_way_send(p->used, &f)) {
        t->stats.lost++;
        return;
    }
    t->stats.datagrams_sent++;
    t->stats.bytes_sent += datagram.n;
}

static uint64_t recheck(struct slv_transport *t, struct peer *p, uint64_t now) {
    if (!p->has_key || t->conf.allow(t->conf.ctx, p->key)) return now;
    const bool was_up = p->is_up;
    slv_transport_disconnect(t, p->id);
    slv_dtls_session_close(p->session);
    p->session = NULL;
    if (!was_up) return now;
    t->stats.downs++;
    t->conf.down(t->conf.ctx, p->id);
    return now;
}

void slv_transport_recheck(struct slv_transport *t) { each_peer(t, transport_now(t), recheck); }

enum slv_way slv_transport_way(const struct slv_transport *t, uint64_t peer) {
    const struct peer *p = transport_peer_find(t, peer);
    return p && p->used ? p->used->kind : SLV_WAY_NONE;
}

void slv_transport_stats(const struct slv_transport *t, struct slv_transport_stats *ret) {
    *ret = t->stats;
    ret->peers = (uint32_t)t->n_peers;
}
