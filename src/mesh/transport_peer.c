/* transport_peer.c: peers, and which of a peer's ways is used; see transport.h, "Which way is
 * used". */
#include "base/mem.h"
#include "mesh/transport_int.h"

/* --- the row of peers ------------------------------------------------------------------------- */

/* Where it is or would be. */
static size_t place(const struct slv_transport *t, uint64_t id) {
    size_t from = 0, to = t->n_peers;
    while (from < to) {
        const size_t mid = from + (to - from) / 2;
        if (t->peer[mid]->id < id) from = mid + 1;
        else to = mid;
    }
    return from;
}

struct peer *transport_peer_find(const struct slv_transport *t, uint64_t id) {
    const size_t i = place(t, id);
    return i < t->n_peers && t->peer[i]->id == id ? t->peer[i] : NULL;
}

void transport_peer_free(struct peer *p) {
    slv_dtls_session_close(p->session);
    slv_mem_free(p);
}

/* Who has no way and wants none is kept for its session, until there is no room. */
static bool make_room(struct slv_transport *t) {
    size_t out = t->n_peers;
    for (size_t i = 0; i < t->n_peers; i++) {
        const struct peer *p = t->peer[i];
        if (p->ways || p->is_up || p->try.on) continue;
        if (out == t->n_peers || p->touched < t->peer[out]->touched) out = i;
    }
    if (out == t->n_peers) return false;
    struct peer *p = t->peer[out];
    t->n_peers--;
    memmove(t->peer + out, t->peer + out + 1, (t->n_peers - out) * sizeof *t->peer);
    p->gone_next = t->gone; /* (who called may be at work on it) */
    t->gone = p;
    transport_soon(t, 0);
    return true;
}

int transport_peer_get(struct slv_transport *t, uint64_t id, struct peer **ret) {
    struct peer *p = transport_peer_find(t, id);
    if (!p) {
        if (t->n_peers >= t->conf.peers_max && !make_room(t)) return SLV_E_LIMIT;
        const int rc = slv_mem_grow((void **)&t->peer, t->n_peers, &t->room_peers, sizeof *t->peer,
                                    t->conf.peers_max);
        if (rc) return rc;
        p = slv_mem_calloc(1, sizeof *p);
        if (!p) return SLV_E_NOMEM;
        p->id = id;
        p->again_at = UINT64_MAX;
        const size_t i = place(t, id);
        memmove(t->peer + i + 1, t->peer + i, (t->n_peers - i) * sizeof *t->peer);
        t->peer[i] = p;
        t->n_peers++;
    }
    p->touched = transport_now(t);
    *ret = p;
    return 0;
}

/* How long a way that is not used is kept, or asked for: the other side's handshake may take so
 * much longer. */
static uint64_t spare_ns(const struct slv_transport *t) { return t->conf.handshake_ms * MS; }

/* --- ways that are not wanted ----------------------------------------------------------------- */

enum which { ALL, ALL_BUT_USED, NO_BETTER };

/* NO_BETTER: handshakes of this node's own that would lead to no better way than there is. */
static void end_ways(struct peer *p, enum which which) {
    for (struct way *w = p->ways, *next; w; w = next) {
        next = w->next;
        if (which == ALL_BUT_USED && (w == p->used || w->state != WAY_OPEN)) continue;
        if (which == NO_BETTER && (w->state != WAY_HALF || (p->used && w->kind > p->used->kind)))
            continue;
        transport_way_end(w);
    }
}

void transport_peer_drop(struct peer *p) {
    p->is_up = false;
    p->try.on = false;
    p->again_at = UINT64_MAX;
    end_ways(p, ALL);
}

/* --- up and down ------------------------------------------------------------------------------ */

/* p->used is new. */
static void bring_up(struct slv_transport *t, struct peer *p) {
    const bool best = p->used->kind == SLV_WAY_UDP;
    if (!p->is_up) t->stats.up++;
    p->is_up = true;
    p->try.on = false; /* (UDP that has been begun may still open) */
    p->again_at = best ? UINT64_MAX : transport_now(t) + t->conf.again_ms * MS;
    end_ways(p, NO_BETTER);
    t->stats.ups++;
    if (!t->conf.up(t->conf.ctx, p->id)) return;
    if (p->is_up) t->stats.up--;
    transport_peer_drop(p);
}

static struct frame say(const struct slv_transport *t, enum frame_kind kind) {
    return (struct frame){
        .kind = kind, .flags = t->conf.relay_rate ? FRAME_RELAYS : 0, .id = t->conf.mesh};
}

/* Not more often than a handshake's flights: what comes before the end of a handshake is kept by
 * the other side, a few of them (dtls_record.h), and its end must still find room. */
static void ask_for(struct slv_transport *t, struct peer *p, struct way *w) {
    const struct frame f = say(t, FRAME_USE);
    w->use_at = transport_now(t) + ((uint64_t)t->conf.retransmit_ms * MS << w->asked);
    w->asked++;
    transport_soon(t, w->use_at);
    if (!transport_way_send(w, &f)) p->touched = transport_now(t);
}

/* The leader means to go over to a way, when the peer has said that it does. */
static void propose(struct slv_transport *t, struct peer *p, struct way *w) {
    p->next = w;
    w->chosen = transport_now(t);
    w->asked = 0;
    transport_soon(t, w->chosen + YOUNG_NS);
    ask_for(t, p, w);
}

static struct way *best_of(const struct peer *p) {
    struct way *best = NULL;
    for (struct way *w = p->ways; w; w = w->next) {
        if (w == p->used || w == p->next || w->state != WAY_OPEN) continue;
        if (!best || w->kind > best->kind || (w->kind == best->kind && w->opened > best->opened))
            best = w;
    }
    return best;
}

/* The leader looks whether another way is to be used. */
static void choose(struct slv_transport *t, struct peer *p, uint64_t now) {
    struct way *w = best_of(p);
    const struct way *n = p->next, *u = p->used;
    if (!w) return;
    if (n) {
        if (w->kind > n->kind || now >= n->chosen + YOUNG_NS) propose(t, p, w);
    } else if (u && w->kind <= u->kind && u->heard >= w->begun) {
        end_ways(p, ALL_BUT_USED); /* the peer has the one in use */
    } else {
        propose(t, p, w);
    }
}

/* Whether it was there before another one. */
static bool comes_back(struct seen *s, uint64_t which) {
    size_t i = 0;
    while (i < SEEN_MAX - 1 && s->which[i] != which)
        i++;
    const bool is_known = s->which[i] == which;
    memmove(s->which + 1, s->which, i * sizeof *s->which);
    s->which[0] = which;
    return is_known && i;
}

const struct slv_transport_odd_text slv_transport_odd_text[SLV_TRANSPORT_ODDS] = {
    [SLV_TRANSPORT_TWIN] = {"twin", "has a key that two machines have, and they take each other's "
                                    "place: one needs a key and a store of its own (`key new`)"},
    [SLV_TRANSPORT_OWN_TWIN] = {"own twin",
                                "says that another machine has this node's key, and takes its "
                                "place: one needs a key and a store of its own (`key new`)"},
    [SLV_TRANSPORT_OTHER] = {"other mesh", "is of another mesh (`--name`), and is not heard"},
    [SLV_TRANSPORT_ELSE] = {"somebody else",
                            "has another key where it was looked for: look at `--peer`"},
};

void transport_peer_odd(const struct peer *p, const struct way *w, enum slv_transport_odd what) {
    struct slv_transport *t = w->t;
    t->stats.odd[what]++;
    if (t->conf.odd) t->conf.odd(t->conf.ctx, p->id, what);
}

static void look_for_twin(struct slv_transport *t, struct peer *p, struct way *w) {
    const struct frame twin = {.kind = FRAME_TWIN};
    if (!w->which || !comes_back(&p->seen[w->kind], w->which)) return;
    if (!p->returns || w->opened - p->returned > TWIN_NS) p->returns = 0;
    p->returned = w->opened;
    if (++p->returns < TWIN_RETURNS) return;
    transport_peer_odd(p, w, SLV_TRANSPORT_TWIN);
    if (!transport_way_send(w, &twin)) t->stats.lost++;
}

void transport_peer_opened(struct peer *p, struct way *w) {
    struct slv_transport *t = w->t;
    p->touched = w->opened;
    look_for_twin(t, p, w);
    transport_soon(t, w->opened + spare_ns(t));
    if (p->leads) choose(t, p, w->opened);
}

void transport_peer_ended(struct peer *p, struct way *w) {
    struct slv_transport *t = w->t;
    const bool was_used = p->used == w, was_next = p->next == w;
    p->touched = transport_now(t);
    if (p->try.on && w->own && w->kind == SLV_WAY_UDP) p->try.udp_at = p->touched; /* the next */
    if (!was_used && !was_next) return;
    if (was_used) p->used = NULL;
    if (was_next) p->next = NULL;
    if (was_used && w->kind > SLV_WAY_RELAYED) transport_relay_lost(t, p->id);
    if (t->closing || !p->is_up || p->used) return;
    if (p->leads && !p->next) choose(t, p, p->touched);
    if (p->next) return; /* in a moment it is up again */
    p->is_up = false;
    p->again_at = UINT64_MAX;
    t->stats.up--;
    t->stats.downs++;
    t->conf.down(t->conf.ctx, p->id);
}

/* --- what is heard ---------------------------------------------------------------------------- */

/* From now on both use this one. */
static void go_over(struct slv_transport *t, struct peer *p, struct way *w) {
    p->used = w;
    p->next = NULL;
    end_ways(p, ALL_BUT_USED);
    if (p->used == w) bring_up(t, p);
}

static void deliver(struct slv_transport *t, const struct peer *p, struct slv_str datagram) {
    t->stats.datagrams_received++;
    t->stats.bytes_received += datagram.n;
    t->conf.receive(t->conf.ctx, p->id, datagram);
}

static void heard_by_leader(struct slv_transport *t, struct peer *p, struct way *w,
                            const struct frame *f) {
    if ((w != p->used && w != p->next) || f->kind == FRAME_USE) {
        t->stats.dropped++;
        return;
    }
    if (f->kind == FRAME_USED) w->offers = f->flags & FRAME_RELAYS;
    if (w == p->next) go_over(t, p, w);
    if (f->kind == FRAME_DATA && w == p->used) deliver(t, p, f->bytes);
}

/* Who leads is told, and closes the way. */
static bool is_of_other(struct slv_transport *t, struct peer *p, struct way *w,
                        const struct frame *f) {
    const struct frame used = say(t, FRAME_USED);
    if ((f->kind != FRAME_USE && f->kind != FRAME_USED) || f->id == t->conf.mesh) return false;
    transport_peer_odd(p, w, SLV_TRANSPORT_OTHER);
    p->try.on = false;
    if (f->kind == FRAME_USED) transport_way_end(w);
    else if (!transport_way_send(w, &used)) t->stats.lost++;
    return true;
}

void transport_peer_heard(struct peer *p, struct way *w, const struct frame *f) {
    struct slv_transport *t = w->t;
    const struct frame used = say(t, FRAME_USED);
    w->heard = transport_now(t);
    if (f->kind == FRAME_TWIN) {
        transport_peer_odd(p, w, SLV_TRANSPORT_OWN_TWIN);
        return;
    }
    if (is_of_other(t, p, w, f)) return;
    if (p->leads) {
        heard_by_leader(t, p, w, f);
        return;
    }
    if (f->kind == FRAME_USED) {
        t->stats.dropped++;
        return;
    }
    if (f->kind == FRAME_USE) {
        w->offers = f->flags & FRAME_RELAYS;
        if (!transport_way_send(w, &used)) return;
    }
    if (w != p->used) go_over(t, p, w);
    if (f->kind == FRAME_DATA && w == p->used) deliver(t, p, f->bytes);
}

/* --- time ------------------------------------------------------------------------------------- */

static void earlier(uint64_t *next, uint64_t at) {
    if (at < *next) *next = at;
}

/* What the leader has proposed. */
static uint64_t tick_next(struct slv_transport *t, struct peer *p, uint64_t now) {
    struct way *w = p->next;
    const uint64_t end = w->chosen + spare_ns(t);
    if (now >= end) {
        transport_way_end(w);
        return now;
    }
    if (now >= w->use_at) ask_for(t, p, w);
    return w->use_at < end ? w->use_at : end;
}

static uint64_t tick_spares(struct slv_transport *t, struct peer *p, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (struct way *w = p->ways, *after; w; w = after) {
        after = w->next;
        if (w->state != WAY_OPEN || w == p->used || w == p->next) continue;
        const uint64_t end = w->opened + spare_ns(t);
        if (now >= end) transport_way_end(w);
        else earlier(&next, end);
    }
    return next;
}

uint64_t transport_peer_tick(struct slv_transport *t, struct peer *p, uint64_t now) {
    if (p->leads) choose(t, p, now);
    uint64_t next = tick_spares(t, p, now);
    if (p->next) earlier(&next, tick_next(t, p, now));
    if (p->used && now >= p->again_at) {
        p->again_at = now + t->conf.again_ms * MS;
        if (p->used->kind != SLV_WAY_UDP) transport_try_begin(t, p);
    }
    earlier(&next, p->again_at);
    earlier(&next, transport_try_tick(t, p, now));
    return next;
}
