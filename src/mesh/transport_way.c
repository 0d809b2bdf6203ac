/* transport_way.c: ways: made, found, opened, ended; see transport_int.h. */
#include "base/mem.h"
#include "mesh/transport_int.h"

#include <sodium.h>

/* --- what is half open ------------------------------------------------------------------------ */

static void half_add(struct way *w) {
    struct slv_transport *t = w->t;
    w->half_next = t->half;
    if (t->half) t->half->half_prev = w;
    t->half = w;
    t->stats.half_open++;
}

static void half_remove(struct way *w) {
    struct slv_transport *t = w->t;
    if (w->state != WAY_HALF) return;
    *(w->half_prev ? &w->half_prev->half_next : &t->half) = w->half_next;
    if (w->half_next) w->half_next->half_prev = w->half_prev;
    if (w->gate) transport_gate_leave(w->gate);
    if (w->kind == SLV_WAY_TCP && !w->own) t->n_strangers--;
    w->gate = NULL;
    t->stats.half_open--;
}

struct way *transport_way_new(struct slv_transport *t, enum slv_way kind, struct peer *p,
                              const struct address *to) {
    struct way *w = slv_mem_calloc(1, sizeof *w);
    if (!w) return NULL;
    w->t = t;
    w->kind = kind;
    w->own = p != NULL;
    w->begun = transport_now(t);
    w->deadline = w->begun + t->conf.handshake_ms * MS;
    if (to) w->to = *to;
    if (kind == SLV_WAY_TCP && !p) t->n_strangers++;
    half_add(w);
    if (!p) return w;
    w->peer = p;
    w->next = p->ways;
    p->ways = w;
    return w;
}

/* --- the map ---------------------------------------------------------------------------------- */

static struct way **place_of(const struct slv_transport *t, const struct slv_dtls_address *a) {
    uint8_t hash[crypto_shorthash_BYTES];
    uint32_t h;
    crypto_shorthash(hash, a->p, a->n, t->map_key);
    memcpy(&h, hash, sizeof h);
    return &t->map[h & (t->map_n - 1)];
}

static bool same(const struct slv_dtls_address *a, const struct slv_dtls_address *b) {
    return a->n == b->n && !memcmp(a->p, b->p, a->n);
}

/* What points to the newest of an address, or to NULL at the end of its place. */
static struct way **slot_of(const struct slv_transport *t, const struct slv_dtls_address *a) {
    struct way **at = place_of(t, a);
    while (*at && !same(&(*at)->packed, a))
        at = &(*at)->map_next;
    return at;
}

struct way *transport_way_find(const struct slv_transport *t, const struct slv_dtls_address *a) {
    return *slot_of(t, a);
}

/* An open one stays behind the new one until that is open, too: anybody may have begun it. */
void transport_way_map(struct way *w) {
    struct way *newest = transport_way_find(w->t, &w->packed), *older = newest;
    if (newest && newest->state == WAY_HALF) {
        older = newest->older;
        newest->older = NULL;
        transport_way_end(newest);
    } else if (newest && newest->older) {
        transport_way_end(newest->older);
    }
    struct way **at = slot_of(w->t, &w->packed);
    w->map_next = *at ? (*at)->map_next : NULL;
    w->older = older;
    w->mapped = true;
    *at = w;
}

static void unmap(struct way *w) {
    if (!w->mapped) return;
    struct way **at = slot_of(w->t, &w->packed);
    w->mapped = false;
    if (*at != w) {
        if (*at && (*at)->older == w) (*at)->older = NULL;
    } else if (w->older) {
        w->older->map_next = w->map_next;
        *at = w->older;
    } else {
        *at = w->map_next;
    }
    w->older = NULL;
}

/* --- beginning and end ------------------------------------------------------------------------ */

void transport_way_end(struct way *w) {
    struct slv_transport *t = w->t;
    if (w->state == WAY_OVER) return;
    half_remove(w);
    if (w->state == WAY_OPEN) t->stats.open[w->kind]--;
    w->state = WAY_OVER;
    unmap(w);
    w->over_next = t->over;
    t->over = w;
    transport_soon(t, 0);
    struct peer *p = w->peer;
    if (!p) return;
    struct way **at = &p->ways;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    transport_peer_ended(p, w);
}

void transport_way_failed(struct way *w, enum slv_dtls_reason reason) {
    if (w->state == WAY_OVER) return;
    w->t->stats.failed[reason]++;
    if (reason == SLV_DTLS_WHY_STRANGER && w->own && w->peer)
        transport_peer_odd(w->peer, w, SLV_TRANSPORT_ELSE);
    transport_way_end(w);
}

void transport_settle(struct slv_transport *t) {
    struct way *w;
    struct peer *p;
    while ((w = t->over)) {
        t->over = w->over_next;
        slv_dtls_assoc_close(w->assoc);
        transport_tcp_free(w);
        slv_mem_free(w);
    }
    while ((p = t->gone)) {
        t->gone = p->gone_next;
        transport_peer_free(p);
    }
}

/* Whose the way is. False: it is nobody's that can be had. */
static bool find_peer(struct way *w) {
    struct slv_transport *t = w->t;
    const uint64_t id = t->conf.id_of(t->conf.ctx, w->key);
    struct peer *p = w->peer;
    if (w->own ? p->id != id : transport_peer_get(t, id, &p) != 0) return false;
    if (w->kind == SLV_WAY_RELAYED && w->relayed != id) return false;
    if (p->has_key && memcmp(p->key, w->key, sizeof p->key)) {
        if (p->pinned || p->used) return false;
        slv_dtls_session_close(p->session);
        p->session = NULL;
    }
    memcpy(p->key, w->key, sizeof p->key);
    p->has_key = true;
    p->leads = memcmp(t->conf.key, p->key, sizeof p->key) < 0;
    if (w->own) return true;
    w->peer = p;
    w->next = p->ways;
    p->ways = w;
    return true;
}

static void keep_session(struct way *w) {
    struct slv_dtls_session *s = w->kind == SLV_WAY_UDP ? slv_dtls_session(w->assoc) : NULL;
    if (!s) return;
    slv_dtls_session_close(w->peer->session);
    w->peer->session = s;
}

void transport_way_opened(struct way *w, const uint8_t key[SLV_DTLS_KEY], uint64_t which) {
    static const uint32_t less[SLV_WAYS] = {[SLV_WAY_RELAYED] = RELAY_OVERHEAD};
    struct slv_transport *t = w->t;
    if (w->state != WAY_HALF) return;
    half_remove(w);
    w->state = WAY_OPEN;
    w->opened = transport_now(t);
    memcpy(w->key, key, sizeof w->key);
    w->which = which;
    t->stats.open[w->kind]++;
    if (!find_peer(w)) {
        transport_way_failed(w, SLV_DTLS_WHY_STRANGER);
        return;
    }
    t->stats.opened[w->kind]++;
    /* (From here on who sends finds out what fits.) */
    if (w->assoc && slv_dtls_set_mtu(w->assoc, SLV_DTLS_MTU_MAX - less[w->kind])) {
        transport_way_failed(w, SLV_DTLS_WHY_PROTOCOL);
        return;
    }
    keep_session(w);
    if (w->kind == SLV_WAY_UDP) transport_try_source(t, w);
    transport_peer_opened(w->peer, w);
}

/* --- associations ----------------------------------------------------------------------------- */

void transport_way_changed(void *ctx, struct slv_dtls_assoc *a) {
    struct way *w = slv_dtls_user(a);
    (void)ctx;
    if (!w || w->state == WAY_OVER) return; /* whoever is making it will look */
    if (slv_dtls_state(a) == SLV_DTLS_OPEN)
        transport_way_opened(w, slv_dtls_peer(a), slv_dtls_which(a));
    else if (slv_dtls_state(a) == SLV_DTLS_CLOSED) transport_way_end(w);
    else if (w->state == WAY_HALF) transport_way_failed(w, slv_dtls_reason(a));
    else transport_way_end(w);
}

void transport_way_data(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    struct way *w = slv_dtls_user(a);
    (void)ctx;
    if (w && w->state == WAY_OPEN) transport_way_receive(w, (struct slv_str){(const char *)p, n});
}

static void feed(struct way *w, struct slv_str bytes) {
    const uint64_t now = transport_now(w->t);
    if (w->state == WAY_OVER) return;
    if (slv_dtls_feed(w->assoc, now, (const uint8_t *)bytes.p, bytes.n)) transport_way_end(w);
    if (w->state == WAY_HALF) transport_soon(w->t, slv_dtls_timeout(w->assoc, now));
}

/* A stranger's handshake has begun. */
static void welcome(struct slv_transport *t, const struct arrival *a, struct slv_dtls_assoc *assoc,
                    struct gate *gate) {
    struct way *w = slv_dtls_state(assoc) == SLV_DTLS_HANDSHAKE
                        ? transport_way_new(t, a->kind, NULL, &a->from)
                        : NULL;
    if (!w) {
        slv_dtls_assoc_close(assoc);
        return;
    }
    w->assoc = assoc;
    w->packed = a->at;
    w->socket = a->socket;
    w->local = a->local;
    w->relay = a->relay;
    w->relayed = a->relayed;
    w->gate = gate;
    if (gate) transport_gate_enter(&t->gates, gate, w->begun);
    slv_dtls_set_user(assoc, w);
    transport_way_map(w);
    transport_soon(t, slv_dtls_timeout(assoc, w->begun));
}

void transport_way_arrive(struct slv_transport *t, const struct arrival *a) {
    const uint8_t *p = (const uint8_t *)a->bytes.p;
    struct way *w = transport_way_find(t, &a->at), *older = w ? w->older : NULL;
    struct slv_dtls_accepted r = {.reply_n = 0};
    const uint64_t now = transport_now(t);
    if (w && !slv_dtls_is_new(w->assoc, p, a->bytes.n)) {
        feed(w, a->bytes);
        if (older && w->state != WAY_OPEN) feed(older, a->bytes);
        return;
    }
    struct gate *gate = a->kind == SLV_WAY_UDP ? transport_gate_of(&t->gates, &a->from) : NULL;
    if (gate && !transport_gate_open(&t->gates, gate, now)) {
        t->stats.limited++;
        return;
    }
    t->arriving = &a->local;
    const int rc = slv_dtls_accept(a->d, now, &a->at, w ? w->assoc : NULL, p, a->bytes.n, &r);
    t->arriving = NULL;
    if (rc) {
        t->stats.strange++;
        return;
    }
    if (r.reply_n && a->kind == SLV_WAY_UDP)
        transport_udp_reply(t, a->socket, &a->from, &a->local,
                            (struct slv_str){(const char *)r.reply, r.reply_n});
    else if (r.reply_n) transport_relay_reply(t, a->relay, a->relayed, r.reply, r.reply_n);
    if (r.is_new) welcome(t, a, r.assoc, gate);
}

/* --- messages --------------------------------------------------------------------------------- */

bool transport_way_send(struct way *w, const struct frame *f) {
    uint8_t message[FRAME_MAX];
    if (w->state != WAY_OPEN) return false;
    if (w->kind == SLV_WAY_TCP) return transport_tcp_send(w, f);
    const size_t head = transport_frame_head(f, message);
    if (f->bytes.n > sizeof message - head) return false;
    if (f->bytes.n) memcpy(message + head, f->bytes.p, f->bytes.n);
    const int rc = slv_dtls_send(w->assoc, message, head + f->bytes.n);
    if (rc == SLV_E_NET || rc == SLV_E_NOMEM) transport_way_end(w);
    return !rc;
}

void transport_way_receive(struct way *w, struct slv_str message) {
    struct frame f;
    if (!transport_frame_read(message, &f)) {
        w->t->stats.dropped++;
        return;
    }
    switch (f.kind) {
    case FRAME_DATA:
    case FRAME_USE:
    case FRAME_USED:
    case FRAME_TWIN:
        transport_peer_heard(w->peer, w, &f);
        break;
    case FRAME_VIA:
    case FRAME_OF:
    case FRAME_NOWHERE:
        w->heard = transport_now(w->t);
        transport_relay_receive(w, &f);
        break;
    case FRAME_WELCOME: /* once, before the way is open */
    case FRAME_KINDS:
        w->t->stats.dropped++;
        break;
    }
}

struct way *transport_way_begin(struct way *w, struct slv_dtls *d,
                                const struct slv_dtls_session *session) {
    if (slv_dtls_connect(d, w->begun, &w->packed, session, &w->assoc)) {
        transport_way_end(w);
        return NULL;
    }
    if (slv_dtls_state(w->assoc) != SLV_DTLS_HANDSHAKE) {
        transport_way_failed(w, slv_dtls_reason(w->assoc));
        return NULL;
    }
    slv_dtls_set_user(w->assoc, w);
    transport_way_map(w);
    transport_soon(w->t, slv_dtls_timeout(w->assoc, w->begun));
    return w;
}
