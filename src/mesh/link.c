/* link.c: see link.h and link_int.h. */
#include "mesh/link_int.h"
#include "base/mem.h"

/* --- bytes and ranges ------------------------------------------------------------------------- */

int link_bytes_extend(struct link_bytes *b, size_t len) {
    if (len <= b->len) return 0;
    if (b->head && len > b->cap - b->head && b->head >= b->cap / 2 && len <= b->cap) {
        memmove(b->data, b->data + b->head, b->len); /* no more than was dropped since the last */
        b->head = 0;
    }
    if (len > b->cap - b->head) {
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap < len)
            cap *= 2;
        if (b->head && cap == b->cap) cap *= 2;
        char *p = slv_mem_alloc(cap);
        if (!p) return SLV_E_NOMEM;
        if (b->len) memcpy(p, b->data + b->head, b->len);
        slv_mem_free(b->data);
        *b = (struct link_bytes){.data = p, .len = b->len, .cap = cap};
    }
    b->len = len;
    return 0;
}

void link_bytes_drop(struct link_bytes *b, size_t n) {
    b->head += n;
    b->len -= n;
    if (b->len) return;
    slv_mem_free(b->data);
    *b = (struct link_bytes){0};
}

void link_ranges_add(struct link_range *v, size_t *n, struct link_range r) {
    size_t i = *n, j;
    while (i && v[i - 1].from > r.from)
        i--;
    if (i && v[i - 1].to >= r.from) i--;
    for (j = i; j < *n && v[j].from <= r.to; j++) { /* i to j are one with it */
        if (v[j].from < r.from) r.from = v[j].from;
        if (v[j].to > r.to) r.to = v[j].to;
    }
    memmove(v + i + 1, v + j, (*n - j) * sizeof *v);
    v[i] = r;
    *n = *n - (j - i) + 1;
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool fill_conf(struct slv_link_conf *c) {
    if (!c->mtu_min) c->mtu_min = 475;
    if (!c->mtu_max) c->mtu_max = c->mtu_min;
    if (!c->message_max) c->message_max = SLV_LINK_MESSAGE_MAX;
    if (!c->lane_window) c->lane_window = (size_t)256 << 10;
    if (!c->lane_queue) c->lane_queue = c->message_max + ((size_t)256 << 10);
    if (!c->dead_after) c->dead_after = 30 * SECOND;
    return c->on_message && c->mtu_min >= SLV_LINK_MTU_MIN && c->mtu_max >= c->mtu_min &&
           c->mtu_max <= SLV_LINK_MTU_MAX && c->message_max <= SLV_LINK_MESSAGE_MAX &&
           c->lane_window >= SLV_LINK_WINDOW_FIRST && c->lane_window <= SLV_LINK_LANE_MAX &&
           c->lane_queue >= c->message_max + SLV_LINK_MESSAGE_HEAD &&
           c->lane_queue <= SLV_LINK_LANE_MAX;
}

int slv_link_open(const struct slv_link_conf *c, struct slv_link **ret) {
    struct slv_link_conf conf = *c;
    if (!fill_conf(&conf)) return SLV_E_USAGE;
    struct slv_link *l = slv_mem_calloc(1, sizeof *l);
    if (!l) return SLV_E_NOMEM;
    l->conf = conf;
    l->heard.due = UINT64_MAX;
    for (int i = 0; i < SLV_LANES; i++)
        l->out[i].credit = l->in[i].granted = SLV_LINK_WINDOW_FIRST;
    link_recover_init(l);
    *ret = l;
    return 0;
}

void slv_link_close(struct slv_link *l) {
    if (!l) return;
    for (int i = 0; i < SLV_LANES; i++) {
        link_out_fini(&l->out[i]);
        link_in_fini(&l->in[i]);
    }
    slv_mem_free(l->datagrams.data);
    slv_mem_free(l->r.record);
    slv_mem_free(l);
}

/* --- what the caller gives -------------------------------------------------------------------- */

int slv_link_send(struct slv_link *l, enum slv_lane lane, struct slv_str bytes) {
    struct link_out *o = &l->out[lane];
    const size_t head = slv_number_bytes(bytes.n), had = o->queue.len;
    if (bytes.n > l->conf.message_max) return SLV_E_LIMIT;
    if (head + bytes.n > l->conf.lane_queue - had) return SLV_E_BUSY;
    const int rc = link_bytes_extend(&o->queue, had + head + bytes.n);
    if (rc) return rc;
    char *p = link_bytes_at(&o->queue, had), room[SLV_LINK_MESSAGE_HEAD + 1];
    struct slv_buf b = {.data = room, .cap = sizeof room, .max = SLV_LINK_MESSAGE_HEAD};
    slv_write_number(&b, bytes.n);
    memcpy(p, room, head);
    if (bytes.n) memcpy(p + head, bytes.p, bytes.n);
    l->stats.messages_sent++;
    return 0;
}

size_t slv_link_queued(const struct slv_link *l, enum slv_lane lane) {
    return l->out[lane].queue.len;
}

int slv_link_datagram(struct slv_link *l, struct slv_str bytes) {
    struct link_bytes *q = &l->datagrams;
    const size_t had = q->len;
    if (bytes.n > l->conf.mtu_min - SLV_LINK_DATAGRAM_HEAD) return SLV_E_LIMIT;
    if (had + 2 + bytes.n > SLV_LINK_DATAGRAM_QUEUE) return SLV_E_BUSY;
    const int rc = link_bytes_extend(q, had + 2 + bytes.n);
    if (rc) return rc;
    char *p = link_bytes_at(q, had);
    p[0] = (char)(bytes.n & 0xff);
    p[1] = (char)(bytes.n >> 8);
    if (bytes.n) memcpy(p + 2, bytes.p, bytes.n);
    l->stats.messages_sent++;
    return 0;
}

void slv_link_hold(struct slv_link *l, enum slv_lane lane, bool on) {
    l->in[lane].holds = on;
    link_in_credit(l, lane);
}

/* --- what it says ----------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t slv_link_next(const struct slv_link *l, uint64_t now) {
    uint64_t at = least(l->heard.due, link_recover_next(l));
    if (l->datagrams.len) return now;
    if (l->r.probes) at = least(at, l->retry_at);
    if (link_waits(l) && link_recover_has_room(l)) {
        const uint64_t free_at = link_recover_free_at(l);
        at = least(at, free_at > l->retry_at ? free_at : l->retry_at);
    }
    return at > now ? at : now;
}

bool slv_link_waits(const struct slv_link *l) { return l->r.n_flight > 0; }

bool slv_link_dead(const struct slv_link *l) { return l->is_broken || l->r.is_dead; }

void slv_link_stats(const struct slv_link *l, struct slv_link_stats *ret) {
    *ret = l->stats;
    if (l->r.rtt_at != UINT64_MAX) {
        ret->srtt = l->r.srtt;
        ret->rttvar = l->r.rttvar;
        ret->rtt_min = l->r.rtt_min;
    }
    ret->cwnd = l->r.cwnd;
    ret->in_flight = l->r.in_flight;
    ret->mtu = l->r.mtu;
}

size_t slv_link_memory(const struct slv_link *l) {
    size_t n = sizeof *l + l->datagrams.cap + l->r.room * sizeof *l->r.record;
    for (int i = 0; i < SLV_LANES; i++) {
        n += l->out[i].queue.cap + l->in[i].held.cap + l->in[i].room * sizeof *l->in[i].island;
        for (const struct link_piece *p = l->out[i].first; p; p = p->after)
            n += sizeof *p;
    }
    return n;
}
