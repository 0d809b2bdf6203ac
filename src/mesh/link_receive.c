/* link_receive.c: see link.h and link_int.h.
 *
 * A datagram is read three times: to see that all of it can be (nothing is changed until then), to
 * take what it says, each of which may be taken again without harm, and, when all was taken, to
 * hand its datagram messages up. Only then is it known as received, and ever answered.
 */
#include "mesh/link_int.h"
#include "base/mem.h"

struct frame {
    unsigned type; /* that of lane 0 for frames of lanes */
    enum slv_lane lane;
    uint64_t at; /* credit, or place in the stream */
    struct slv_str bytes;
    struct link_ack ack;
};

/* --- reading ---------------------------------------------------------------------------------- */

static void read_ack(struct slv_reader *r, struct link_ack *a) {
    const uint64_t largest = slv_read_number(r, LINK_NUMBER_MAX);
    a->delay = slv_read_number(r, LINK_DELAY_MAX);
    a->n = 1 + (size_t)slv_read_number(r, LINK_RANGES - 1);
    a->range[0] =
        (struct link_range){.from = largest - slv_read_number(r, largest), .to = largest + 1};
    for (size_t i = 1; i < a->n; i++) {
        const uint64_t below = a->range[i - 1].from; /* at least one is left out, one is in */
        if (below < 2) r->bad = true;
        if (r->bad) return;
        const uint64_t to = below - 1 - slv_read_number(r, below - 2);
        a->range[i] = (struct link_range){.from = to - 1 - slv_read_number(r, to - 1), .to = to};
    }
}

static bool read_zeros(struct slv_reader *r) {
    const struct slv_str s = slv_read_raw(r, slv_reader_left(r));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i]) return false;
    return true;
}

/* Reads one frame; false: it is none. */
static bool read_frame(struct slv_reader *r, struct frame *f) {
    const unsigned type = (unsigned)slv_read_number(r, FRAME_DATA + SLV_LANES - 1);
    f->type = type;
    switch (type) {
    case FRAME_PAD:
        return read_zeros(r);
    case FRAME_PING:
        return !r->bad;
    case FRAME_ACK:
        read_ack(r, &f->ack);
        return !r->bad;
    case FRAME_DATAGRAM:
        f->bytes = slv_read_bytes(r, LINK_DATAGRAM_MAX);
        return !r->bad;
    default:
        break;
    }
    f->type = type < FRAME_DATA ? FRAME_CREDIT : FRAME_DATA;
    f->lane = (enum slv_lane)(type - f->type);
    f->at = slv_read_number(r, LINK_NUMBER_MAX);
    if (f->type == FRAME_DATA) {
        f->bytes = slv_read_bytes(r, LINK_DATAGRAM_MAX);
        if (!f->bytes.n) return false;
    }
    return !r->bad;
}

/* Whether a frame, well-formed, says what can be. */
static bool can_be(const struct slv_link *l, const struct frame *f) {
    if (f->type == FRAME_ACK) return f->ack.range[0].to <= l->r.next_number;
    if (f->type != FRAME_DATA) return true;
    const uint64_t granted = l->in[f->lane].granted;
    return f->at <= granted && f->bytes.n <= granted - f->at;
}

/* Whether all frames can be; whether they want an answer. At most one answers. */
static bool check(const struct slv_link *l, struct slv_reader r, bool *ret_elicits) {
    struct frame f;
    bool acks = false;
    *ret_elicits = false;
    if (r.p == r.end) return false;
    while (slv_reader_left(&r)) {
        if (!read_frame(&r, &f) || !can_be(l, &f)) return false;
        if (f.type == FRAME_ACK && acks) return false;
        if (f.type == FRAME_ACK) acks = true;
        else if (f.type != FRAME_DATAGRAM && f.type != FRAME_PAD) *ret_elicits = true;
    }
    return !r.bad;
}

/* --- streams ---------------------------------------------------------------------------------- */

void link_in_fini(struct link_in *in) {
    slv_mem_free(in->held.data);
    slv_mem_free(in->island);
}

void link_in_credit(struct slv_link *l, enum slv_lane lane) {
    struct link_in *in = &l->in[lane];
    const uint64_t want = in->whole + l->conf.lane_window;
    if (in->holds || !in->whole || want < in->granted + l->conf.lane_window / 4) return;
    if (want > LINK_NUMBER_MAX) return;
    in->granted = want;
    in->tell = true;
}

/* Bytes of a lane, perhaps ones that came before. */
static int take_data(struct slv_link *l, const struct frame *f) {
    struct link_in *in = &l->in[f->lane];
    struct link_range r = {f->at, f->at + f->bytes.n};
    const char *p = f->bytes.p;
    if (r.to <= in->whole) return 0;
    if (r.from < in->whole) { /* what is whole may have been looked at */
        p += in->whole - r.from;
        r.from = in->whole;
    }
    if (r.from > in->whole && in->n_islands == in->room) {
        void *v = in->island;
        const int rc = slv_mem_grow(&v, in->n_islands, &in->room, sizeof *in->island, LINK_ISLANDS);
        in->island = v;
        if (rc) return rc;
    }
    const int rc = link_bytes_extend(&in->held, (size_t)(r.to - in->base));
    if (rc) return rc;
    memcpy(link_bytes_at(&in->held, (size_t)(r.from - in->base)), p, (size_t)(r.to - r.from));
    if (r.from > in->whole) {
        link_ranges_add(in->island, &in->n_islands, r);
        return 0;
    }
    in->whole = r.to;
    size_t n = 0;
    for (; n < in->n_islands && in->island[n].from <= in->whole; n++)
        if (in->island[n].to > in->whole) in->whole = in->island[n].to;
    in->n_islands -= n;
    if (n) memmove(in->island, in->island + n, in->n_islands * sizeof *in->island);
    if (in->n_islands) return 0;
    slv_mem_free(in->island);
    in->island = NULL;
    in->room = 0;
    return 0;
}

/* The whole message that a lane begins with, if it has come; `l` is broken if it cannot be. */
static bool first_message(struct slv_link *l, const struct link_in *in, size_t *ret_head,
                          struct slv_str *ret) {
    const size_t have = (size_t)(in->whole - in->base);
    if (!have || l->is_broken) return false;
    const char *at = link_bytes_at(&in->held, 0);
    struct slv_reader r = slv_reader_of(at, have);
    const uint64_t n = slv_read_number(&r, l->conf.message_max);
    if (r.bad) { /* a part of a number, or one that is too large */
        size_t part = 0;
        while (part < have && at[part] & 0x80)
            part++;
        l->is_broken = part < have || have >= slv_number_bytes(l->conf.message_max);
        return false;
    }
    *ret_head = have - slv_reader_left(&r);
    *ret = slv_read_raw(&r, (size_t)n);
    return !r.bad;
}

static void hand_up(struct slv_link *l, enum slv_lane lane) {
    struct link_in *in = &l->in[lane];
    struct slv_str s;
    size_t head;
    while (first_message(l, in, &head, &s)) {
        l->stats.messages_received++;
        l->conf.on_message(l->conf.ctx, lane, s);
        link_bytes_drop(&in->held, head + s.n);
        in->base += head + s.n;
    }
    link_in_credit(l, lane);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static bool is_old(const struct link_heard *h, uint64_t number) {
    if (number < h->floor) return true;
    for (size_t i = h->n; i-- > 0 && h->range[i].to > number;)
        if (h->range[i].from <= number) return true;
    return false;
}

static void hear(struct slv_link *l, uint64_t now, uint64_t number, bool elicits) {
    struct link_heard *h = &l->heard;
    const uint64_t next = h->n ? h->range[h->n - 1].to : 0;
    link_ranges_add(h->range, &h->n, (struct link_range){number, number + 1});
    if (h->n > LINK_RANGES) {
        h->floor = h->range[0].to;
        h->n--;
        memmove(h->range, h->range + 1, h->n * sizeof *h->range);
    }
    if (number < h->known) h->known = number;
    if (number < next) h->known_from = l->r.next_number; /* it is in no answer until now */
    if (number >= next) h->newest_at = now;
    if (!elicits) return;
    h->waiting++;
    const bool at_once = number != next || h->waiting >= LINK_ACK_EVERY;
    const uint64_t due = at_once ? now : now + LINK_ACK_DELAY;
    if (due < h->due) h->due = due;
}

/* --- datagrams -------------------------------------------------------------------------------- */

static int take(struct slv_link *l, uint64_t now, struct slv_reader r) {
    struct frame f;
    int rc = 0;
    while (!rc && slv_reader_left(&r) && read_frame(&r, &f)) {
        struct link_out *o = &l->out[f.type == FRAME_CREDIT ? f.lane : 0];
        if (f.type == FRAME_ACK) link_recover_acked(l, now, &f.ack);
        else if (f.type == FRAME_CREDIT && f.at > o->credit) o->credit = f.at;
        else if (f.type == FRAME_DATA) rc = take_data(l, &f);
    }
    return rc;
}

static void hand_up_datagrams(struct slv_link *l, struct slv_reader r) {
    struct frame f;
    while (slv_reader_left(&r) && read_frame(&r, &f)) {
        if (f.type != FRAME_DATAGRAM) continue;
        l->stats.messages_received++;
        if (l->conf.on_datagram) l->conf.on_datagram(l->conf.ctx, f.bytes);
    }
}

int slv_link_receive(struct slv_link *l, uint64_t now, struct slv_str bytes) {
    struct slv_reader r = slv_reader_of(bytes.p, bytes.n);
    bool elicits;
    const uint64_t number = slv_read_number(&r, LINK_NUMBER_MAX);
    if (l->is_broken || bytes.n > LINK_DATAGRAM_MAX || r.bad || !check(l, r, &elicits)) {
        l->stats.refused++;
        return SLV_E_FORMAT;
    }
    l->stats.datagrams_received++;
    l->stats.bytes_received += bytes.n;
    if (is_old(&l->heard, number)) {
        l->stats.doubled++;
        return 0;
    }
    const int rc = take(l, now, r);
    if (rc) return rc;
    hear(l, now, number, elicits);
    for (int i = 0; i < SLV_LANES; i++)
        hand_up(l, (enum slv_lane)i);
    hand_up_datagrams(l, r);
    return 0;
}
