/* link_send.c: see link.h and link_int.h. */
#include "mesh/link_int.h"
#include "base/mem.h"

#define REPAIR_SHARE 2 /* bytes of REPAIR to one of BULK while both wait */

/* A datagram in the making. */
struct draft {
    struct slv_buf b; /* in memory of poll's: never asks for more */
    char room[SLV_LINK_MTU_MAX + 1];
    struct link_record rec;
    bool elicits, has_lanes;
};

static void draft_init(struct draft *d, const struct slv_link *l, size_t limit) {
    d->b = (struct slv_buf){.data = d->room, .cap = sizeof d->room, .max = limit};
    d->rec = (struct link_record){.number = l->r.next_number};
    d->elicits = d->has_lanes = false;
    slv_write_number(&d->b, d->rec.number);
}

static size_t draft_left(const struct draft *d) { return d->b.max - d->b.len; }

/* --- pieces ----------------------------------------------------------------------------------- */

static void piece_unlink(struct link_out *o, struct link_piece *p) {
    if (p->before) p->before->after = p->after;
    else o->first = p->after;
    if (p->after) p->after->before = p->before;
    else o->last = p->before;
    slv_mem_free(p);
}

/* Behind `before`, or at the row's end for NULL. */
static struct link_piece *piece_add(struct link_out *o, struct link_piece *before) {
    struct link_piece *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return NULL;
    p->before = before ? before : o->last;
    p->after = before ? before->after : NULL;
    if (p->before) p->before->after = p;
    else o->first = p;
    if (p->after) p->after->before = p;
    else o->last = p;
    return p;
}

void link_piece_end(struct slv_link *l, struct link_piece *p, enum link_piece_state state) {
    struct link_out *o = &l->out[p->lane];
    p->state = state;
    p->beside = NULL;
    if (state == PIECE_LOST) o->lost += p->to - p->from;
    if (p->before && p->before->state == state) {
        p->from = p->before->from;
        piece_unlink(o, p->before);
    }
    if (p->after && p->after->state == state) {
        p->to = p->after->to;
        piece_unlink(o, p->after);
    }
    if (state != PIECE_ACKED || p != o->first) return;
    link_bytes_drop(&o->queue, (size_t)(p->to - o->base));
    o->base = p->to;
    piece_unlink(o, p);
}

void link_out_fini(struct link_out *o) {
    while (o->first)
        piece_unlink(o, o->first);
    slv_mem_free(o->queue.data);
}

/* --- lanes ------------------------------------------------------------------------------------ */

static uint64_t unsent(const struct link_out *o) {
    const uint64_t end = o->base + o->queue.len, to = end < o->credit ? end : o->credit;
    return to > o->next ? to - o->next : 0;
}

bool link_lane_waits(const struct link_out *o) { return o->lost || unsent(o); }

bool link_waits(const struct slv_link *l) {
    for (int i = 0; i < SLV_LANES; i++)
        if (link_lane_waits(&l->out[i]) || l->in[i].tell) return true;
    return false;
}

/* The piece to send next, of at most `most` bytes; there is one. */
static struct link_piece *take_piece(struct link_out *o, enum slv_lane lane, uint64_t most) {
    struct link_piece *p = o->first;
    if (!o->lost) {
        const uint64_t n = unsent(o);
        p = piece_add(o, NULL);
        if (!p) return NULL;
        p->lane = lane;
        p->from = o->next;
        p->to = o->next += n < most ? n : most;
        return p;
    }
    while (p->state != PIECE_LOST)
        p = p->after;
    if (p->to - p->from > most) {
        struct link_piece *rest = piece_add(o, p);
        if (!rest) return NULL;
        rest->lane = lane;
        rest->state = PIECE_LOST;
        rest->from = p->from + most;
        rest->to = p->to;
        p->to = rest->from;
    }
    return p;
}

/* Where the next piece begins, and its bytes. */
static uint64_t next_piece(const struct link_out *o, uint64_t *ret_n) {
    const struct link_piece *p = o->first;
    if (!o->lost) {
        *ret_n = unsent(o);
        return o->next;
    }
    while (p->state != PIECE_LOST)
        p = p->after;
    *ret_n = p->to - p->from;
    return p->from;
}

/* Puts in as much of a lane as goes. */
static int put_lane(struct slv_link *l, struct draft *d, enum slv_lane lane, size_t *ret_n) {
    struct link_out *o = &l->out[lane];
    while (link_lane_waits(o)) {
        uint64_t want;
        const uint64_t from = next_piece(o, &want);
        const size_t left = draft_left(d);
        const size_t head = 1 + slv_number_bytes(from) + slv_number_bytes(left);
        if (left <= head || (want > left - head && left - head < LINK_SPLIT_MIN)) return 0;
        struct link_piece *p = take_piece(o, lane, left - head);
        if (!p) return SLV_E_NOMEM;
        const size_t n = (size_t)(p->to - p->from);
        if (p->state == PIECE_LOST) {
            o->lost -= n;
            l->stats.retransmitted += n;
        }
        p->state = PIECE_FLIGHT;
        p->beside = d->rec.pieces;
        d->rec.pieces = p;
        slv_buf_addc(&d->b, (char)(FRAME_DATA + (int)lane));
        slv_write_number(&d->b, p->from);
        slv_write_bytes(&d->b, link_bytes_at(&o->queue, (size_t)(p->from - o->base)), n);
        d->elicits = d->has_lanes = true;
        *ret_n += n;
    }
    return 0;
}

/* Which lanes go first; `first` is one that has its turn, or SLV_LANES. */
static void order_lanes(struct slv_link *l, enum slv_lane order[SLV_LANES]) {
    static const enum slv_lane lower[] = {SLV_LANE_STRONG, SLV_LANE_REPAIR, SLV_LANE_BULK};
    const bool both =
        link_lane_waits(&l->out[SLV_LANE_REPAIR]) && link_lane_waits(&l->out[SLV_LANE_BULK]);
    if (!both) l->balance = 0;
    const bool bulk = l->balance > 0;
    enum slv_lane first = SLV_LANES;
    for (uint32_t i = 0; l->turn % SLV_LINK_TURN == SLV_LINK_TURN - 1 && i < 3; i++) {
        const enum slv_lane lane = lower[(l->turn / SLV_LINK_TURN + i) % 3];
        if (first == SLV_LANES && link_lane_waits(&l->out[lane])) first = lane;
    }
    const enum slv_lane plain[SLV_LANES] = {SLV_LANE_URGENT, SLV_LANE_STRONG,
                                            bulk ? SLV_LANE_BULK : SLV_LANE_REPAIR,
                                            bulk ? SLV_LANE_REPAIR : SLV_LANE_BULK};
    size_t n = 0;
    if (first != SLV_LANES) order[n++] = first;
    for (size_t i = 0; i < SLV_LANES; i++)
        if (plain[i] != first) order[n++] = plain[i];
}

static int put_lanes(struct slv_link *l, struct draft *d) {
    enum slv_lane order[SLV_LANES];
    size_t n[SLV_LANES] = {0};
    int rc = 0;
    order_lanes(l, order);
    for (size_t i = 0; i < SLV_LANES && !rc; i++)
        rc = put_lane(l, d, order[i], &n[order[i]]);
    l->balance += (int32_t)n[SLV_LANE_REPAIR] - REPAIR_SHARE * (int32_t)n[SLV_LANE_BULK];
    if (d->has_lanes) l->turn++;
    return rc;
}

static void put_credits(struct slv_link *l, struct draft *d) {
    for (int i = 0; i < SLV_LANES; i++) {
        struct link_in *in = &l->in[i];
        if (!in->tell || draft_left(d) < 1 + slv_number_bytes(in->granted)) continue;
        slv_buf_addc(&d->b, (char)(FRAME_CREDIT + i));
        slv_write_number(&d->b, in->granted);
        in->tell = false;
        d->rec.credits |= (uint8_t)(1 << i);
        d->elicits = true;
    }
}

/* --- what is not of lanes --------------------------------------------------------------------- */

/* Of range i, that is not the last: the numbers left out behind it, and how long it is. */
static void ack_step(const struct link_heard *h, size_t i, uint64_t *ret_gap, uint64_t *ret_len) {
    *ret_gap = h->range[i + 1].from - h->range[i].to - 1;
    *ret_len = h->range[i].to - h->range[i].from - 1;
}

/* An answer of at most `most` bytes: the newest ranges, without those that the peer knows of. */
static void put_ack(struct slv_link *l, struct draft *d, uint64_t now, size_t most) {
    struct link_heard *h = &l->heard;
    const struct link_range newest = h->range[h->n - 1];
    const uint64_t delay = (now - h->newest_at) / 1000;
    const uint64_t told = delay < LINK_DELAY_MAX ? delay : LINK_DELAY_MAX;
    size_t size = 2 + slv_number_bytes(newest.to - 1) + slv_number_bytes(told) +
                  slv_number_bytes(newest.to - newest.from - 1);
    uint64_t gap, len;
    size_t i = h->n - 1;
    if (size > most) return;
    for (; i > 0 && h->range[i - 1].to > h->known; i--) {
        ack_step(h, i - 1, &gap, &len);
        size += slv_number_bytes(gap) + slv_number_bytes(len);
        if (size > most) break;
    }
    if (!i || h->range[i - 1].to <= h->known) d->rec.told = newest.to; /* all of them */
    slv_buf_addc(&d->b, FRAME_ACK);
    slv_write_number(&d->b, newest.to - 1);
    slv_write_number(&d->b, told);
    slv_write_number(&d->b, h->n - 1 - i);
    slv_write_number(&d->b, newest.to - newest.from - 1);
    for (size_t k = h->n - 1; k-- > i;) {
        ack_step(h, k, &gap, &len);
        slv_write_number(&d->b, gap);
        slv_write_number(&d->b, len);
    }
    h->waiting = 0;
    h->due = UINT64_MAX;
}

/* Bytes of the first datagram message that waits. */
static size_t datagram_size(const struct slv_link *l) {
    const char *p = link_bytes_at(&l->datagrams, 0);
    return (size_t)(uint8_t)p[0] | (size_t)(uint8_t)p[1] << 8;
}

static size_t datagram_room(const struct slv_link *l) {
    if (!l->datagrams.len) return 0;
    const size_t n = datagram_size(l);
    return 1 + slv_number_bytes(n) + n;
}

static void put_datagrams(struct slv_link *l, struct draft *d) {
    while (l->datagrams.len && datagram_room(l) <= draft_left(d)) {
        const size_t n = datagram_size(l);
        slv_buf_addc(&d->b, FRAME_DATAGRAM);
        slv_write_bytes(&d->b, link_bytes_at(&l->datagrams, 2), n);
        link_bytes_drop(&l->datagrams, 2 + n);
    }
}

/* --- poll ------------------------------------------------------------------------------------- */

static void finish(struct slv_link *l, uint64_t now, struct draft *d, void *buf, size_t *ret_n) {
    const size_t n = d->b.len;
    memcpy(buf, d->b.data, n);
    *ret_n = n;
    d->rec.size = (uint32_t)n;
    l->r.next_number++;
    if (d->elicits) link_recover_sent(l, now, &d->rec);
    link_recover_rate(l, now, n);
    l->stats.datagrams_sent++;
    l->stats.bytes_sent += n;
}

/* Nothing but its size: whether that arrives. */
static void put_mtu_probe(struct slv_link *l, struct draft *d) {
    static const char zeros[64];
    slv_buf_addc(&d->b, FRAME_PING);
    while (draft_left(d))
        slv_buf_add(&d->b, zeros, draft_left(d) < sizeof zeros ? draft_left(d) : sizeof zeros);
    d->elicits = d->rec.is_probe = true;
    l->r.mtu_probe = d->b.len;
}

/* Of what the lanes want. */
static int put_rest(struct slv_link *l, uint64_t now, struct draft *d, bool lanes, bool asks) {
    int rc = 0;
    if (!lanes && !asks) return 0;
    put_credits(l, d);
    rc = put_lanes(l, d);
    if (rc) l->retry_at = now + LINK_RETRY;
    if (asks && !d->elicits && draft_left(d)) {
        slv_buf_addc(&d->b, FRAME_PING);
        d->elicits = true;
    }
    if (asks && d->elicits) l->r.probes--;
    return rc;
}

int slv_link_poll(struct slv_link *l, uint64_t now, void *buf, size_t room, size_t *ret_n) {
    if (room < l->conf.mtu_min) return SLV_E_USAGE;
    link_recover_tick(l, now);
    int rc = 0;
    bool asks = l->r.probes && l->retry_at <= now;
    bool lanes = !asks && l->retry_at <= now && link_waits(l) && link_recover_has_room(l) &&
                 link_recover_free_at(l) <= now;
    if (asks || lanes) rc = link_recover_ready(l);
    if (rc) {
        l->retry_at = now + LINK_RETRY;
        asks = lanes = false;
    }
    const size_t probe = lanes ? link_recover_mtu_probe(l, now) : 0;
    struct draft d;
    size_t limit = asks ? l->conf.mtu_min : l->r.mtu;
    if (limit > room) limit = room;
    if (probe && probe <= room) {
        draft_init(&d, l, probe);
        put_mtu_probe(l, &d);
    } else {
        draft_init(&d, l, limit);
        const size_t empty = d.b.len, keep = datagram_room(l);
        const size_t most = keep > limit / 2 ? limit - empty - keep : limit / 2;
        const bool fits = l->heard.waiting && (lanes || asks || keep || l->heard.due <= now);
        if (fits) put_ack(l, &d, now, most);
        put_datagrams(l, &d);
        const int put = put_rest(l, now, &d, lanes, asks);
        if (put) rc = put;
        if (d.b.len == empty) {
            if (rc) return rc;
            *ret_n = 0;
            return 0;
        }
    }
    finish(l, now, &d, buf, ret_n);
    return 0;
}
