/* transport_relay.c: DTLS carried by others, and for others; see transport.h, "Relaying".
 *
 * The associations that are carried belong to a context of their own (t->inner): dtls.h forbids
 * that a datagram of one association be sent while one of the same context is at work, and theirs
 * are shorter by what carries them. */
#include "mesh/transport_int.h"

/* The way to a relay; NULL: none that may be used. */
static struct way *way_to(const struct slv_transport *t, uint64_t id) {
    const struct peer *p = transport_peer_find(t, id);
    return p && p->is_up && p->used && p->used->kind > SLV_WAY_RELAYED ? p->used : NULL;
}

/* --- being carried ---------------------------------------------------------------------------- */

void transport_relay_reply(struct slv_transport *t, uint64_t relay, uint64_t peer, const uint8_t *p,
                           size_t n) {
    const struct frame f = {.kind = FRAME_VIA, .id = peer, .bytes = {(const char *)p, n}};
    struct way *w = way_to(t, relay);
    if (!w || !transport_way_send(w, &f)) t->stats.lost++;
}

void transport_relay_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    uint64_t relay, peer;
    transport_address_unpack_via(slv_dtls_address(a), &relay, &peer);
    transport_relay_reply(ctx, relay, peer, p, n);
}

struct way *transport_relay_connect(struct slv_transport *t, struct peer *p, struct peer *relay) {
    const struct slv_dtls_address packed = transport_address_pack_via(relay->id, p->id);
    if (transport_way_find(t, &packed)) return NULL;
    struct way *w = transport_way_new(t, SLV_WAY_RELAYED, p, NULL);
    if (!w) return NULL;
    w->packed = packed;
    w->relay = relay->id;
    w->relayed = p->id;
    return transport_way_begin(w, t->inner, NULL);
}

static void arrive(struct slv_transport *t, uint64_t relay, const struct frame *f) {
    if (!t->inner || f->id == t->own) {
        t->stats.dropped++;
        return;
    }
    const struct arrival a = {.d = t->inner,
                              .at = transport_address_pack_via(relay, f->id),
                              .kind = SLV_WAY_RELAYED,
                              .relay = relay,
                              .relayed = f->id,
                              .bytes = f->bytes};
    transport_way_arrive(t, &a);
}

/* A relay that says so could as well carry nothing. */
static void nowhere(struct slv_transport *t, uint64_t relay, uint64_t id) {
    const struct slv_dtls_address at = transport_address_pack_via(relay, id);
    struct way *w = transport_way_find(t, &at), *older = w ? w->older : NULL;
    struct peer *p = transport_peer_find(t, id);
    if (older) transport_way_end(older);
    if (w && w->state == WAY_HALF) transport_way_failed(w, SLV_DTLS_WHY_REFUSED);
    else if (w) transport_way_end(w);
    if (p && p->try.on) transport_try_nowhere(t, p);
}

static void lose(struct way *w, uint64_t relay) {
    if (w->kind != SLV_WAY_RELAYED || w->relay != relay) return;
    if (w->older) transport_way_end(w->older);
    transport_way_end(w);
}

void transport_relay_lost(struct slv_transport *t, uint64_t relay) {
    if (!t->inner) return;
    for (struct way *w = t->half, *next; w; w = next) {
        next = w->half_next;
        lose(w, relay);
    }
    for (size_t i = 0; i < t->map_n; i++)
        for (struct way *w = t->map[i], *next; w; w = next) {
            next = w->map_next;
            lose(w, relay);
        }
}

/* --- carrying --------------------------------------------------------------------------------- */

/* A second's bytes may go at once. */
static bool may_carry(struct slv_transport *t, size_t n) {
    const uint64_t now = transport_now(t), rate = t->conf.relay_rate;
    const uint64_t past = now - t->relay_at;
    const uint64_t more = past >= SECOND ? rate : (uint64_t)((double)rate * (double)past / 1e9);
    if (more || past >= SECOND) {
        t->relay_at = now;
        t->relay_tokens = more < rate - t->relay_tokens ? t->relay_tokens + more : rate;
    }
    if (t->relay_tokens < n) return false;
    t->relay_tokens -= n;
    return true;
}

static void carry(struct way *from, const struct frame *f) {
    struct slv_transport *t = from->t;
    struct way *to = t->conf.relay_rate ? way_to(t, f->id) : NULL;
    const struct frame on = {.kind = FRAME_OF, .id = from->peer->id, .bytes = f->bytes};
    const struct frame no = {.kind = FRAME_NOWHERE, .id = f->id};
    if (!to || to->peer == from->peer) {
        t->stats.relay_refused++;
        if (!transport_way_send(from, &no)) t->stats.lost++;
    } else if (!may_carry(t, f->bytes.n)) {
        t->stats.relay_refused++;
    } else if (!transport_way_send(to, &on)) {
        t->stats.lost++;
    } else {
        t->stats.relayed_datagrams++;
        t->stats.relayed_bytes += f->bytes.n;
    }
}

void transport_relay_receive(struct way *w, const struct frame *f) {
    if (w->kind <= SLV_WAY_RELAYED) w->t->stats.dropped++;
    else if (f->kind == FRAME_VIA) carry(w, f);
    else if (f->kind == FRAME_OF) arrive(w->t, w->peer->id, f);
    else nowhere(w->t, w->peer->id, f->id);
}
