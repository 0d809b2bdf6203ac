/* link_recover.c: see link.h and link_int.h. */
#include "mesh/link_int.h"
#include "base/mem.h"

static uint64_t more(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t less(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* --- records ---------------------------------------------------------------------------------- */

static struct link_record *record_at(const struct link_recover *r, size_t i) {
    return &r->record[(r->first + i) & (r->room - 1)];
}

/* The first whose number is this or behind it. */
static size_t record_find(const struct link_recover *r, uint64_t number) {
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (record_at(r, mid)->number < number) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static void record_pop(struct link_recover *r) {
    r->first = (r->first + 1) & (r->room - 1);
    r->n--;
}

static uint64_t deviation(const struct link_recover *r) {
    return more(4 * r->rttvar, LINK_GRANULARITY);
}

/* Forgets what is done with; a lost one when it is too late for it to come. */
static void trim(struct link_recover *r, uint64_t now) {
    const uint64_t late = 2 * (r->srtt + deviation(r));
    while (r->n) {
        const struct link_record *rec = record_at(r, 0);
        if (rec->state == RECORD_FLIGHT) return;
        if (r->n_flight && rec->state == RECORD_LOST && now - rec->at < late) return;
        record_pop(r);
    }
    slv_mem_free(r->record);
    r->record = NULL;
    r->first = r->room = 0;
}

/* What it carried is acknowledged, or to be sent again. */
static void release(struct slv_link *l, struct link_record *rec, enum link_piece_state state) {
    for (struct link_piece *p = rec->pieces, *beside; p; p = beside) {
        beside = p->beside;
        link_piece_end(l, p, state);
    }
    rec->pieces = NULL;
    for (int i = 0; i < SLV_LANES && state == PIECE_LOST; i++)
        if (rec->credits >> i & 1) l->in[i].tell = true;
    rec->credits = 0;
}

static void land(struct link_recover *r, struct link_record *rec, enum link_record_state state) {
    rec->state = (uint8_t)state;
    r->in_flight -= rec->size;
    r->n_flight--;
}

/* --- the path's MTU --------------------------------------------------------------------------- */

size_t link_recover_mtu_probe(const struct slv_link *l, uint64_t now) {
    const struct link_recover *r = &l->r;
    const size_t most = l->conf.mtu_max;
    const bool again = r->too_big <= most && now >= r->mtu_again;
    const size_t too_big = again ? most + 1 : r->too_big;
    if (r->mtu >= most || r->mtu_probe || r->rtt_at == UINT64_MAX) return 0;
    if (too_big <= most && too_big - r->mtu <= LINK_MTU_STEP) return 0;
    const size_t size = too_big > most ? most : r->mtu + (too_big - r->mtu) / 2;
    bool pays = false;
    for (int i = 0; i < SLV_LANES; i++)
        pays |= l->out[i].queue.len > r->mtu;
    return pays && r->in_flight + size <= r->cwnd ? size : 0;
}

static void mtu_acked(struct slv_link *l, const struct link_record *rec) {
    struct link_recover *r = &l->r;
    if (rec->size > l->conf.mtu_min && rec->number >= r->big_acked) {
        r->big_acked = rec->number;
        r->big_lost = 0;
    }
    if (!rec->is_probe) return;
    if (rec->state == RECORD_FLIGHT) r->mtu_probe = 0;
    r->mtu_fails = 0;
    if (rec->size <= r->mtu) return;
    r->mtu = rec->size;
    r->too_big = rec->size < r->too_big ? r->too_big : l->conf.mtu_max + 1;
    r->cwnd = more(r->cwnd, LINK_WINDOW_MIN * r->mtu);
}

static void mtu_lost(struct slv_link *l, uint64_t now, const struct link_record *rec) {
    struct link_recover *r = &l->r;
    if (!rec->is_probe) {
        if (rec->size > l->conf.mtu_min && rec->number > r->big_acked) r->big_lost++;
        return;
    }
    r->mtu_probe = 0;
    if (++r->mtu_fails < LINK_MTU_TRIES) return;
    r->mtu_fails = 0;
    r->too_big = rec->size;
    r->mtu_again = now + LINK_MTU_AGAIN;
}

/* No large datagram came since the last that did, small ones do: the path has changed. */
static void check_black_hole(struct slv_link *l, uint64_t now) {
    struct link_recover *r = &l->r;
    if (r->big_lost < LINK_BLACK_HOLE) return;
    r->big_lost = 0;
    r->big_acked = r->next_number;
    if (r->mtu == l->conf.mtu_min) return;
    r->too_big = r->mtu;
    r->mtu = l->conf.mtu_min;
    r->mtu_fails = 0;
    r->mtu_again = now + LINK_MTU_AGAIN;
    l->stats.black_holes++;
}

/* --- the window ------------------------------------------------------------------------------- */

void link_recover_init(struct slv_link *l) {
    struct link_recover *r = &l->r;
    const uint64_t mtu = l->conf.mtu_min;
    r->mtu = l->conf.mtu_min;
    r->too_big = l->conf.mtu_max + 1;
    r->cwnd = LINK_WINDOW_FIRST * mtu;
    r->ssthresh = LINK_WINDOW_MAX;
    r->reorder = LINK_REORDER;
    r->srtt = LINK_RTT_FIRST;
    r->rttvar = LINK_RTT_FIRST / 2;
    r->rtt_at = r->loss_at = UINT64_MAX;
}

bool link_recover_has_room(const struct slv_link *l) {
    return l->r.in_flight + l->r.mtu <= l->r.cwnd && l->r.n < LINK_RECORDS;
}

static void grow(struct link_recover *r, const struct link_record *rec) {
    if (!rec->is_full || (r->recovery_at && rec->at <= r->recovery_at)) return;
    if (r->cwnd >= LINK_WINDOW_MAX) return;
    if (r->cwnd < r->ssthresh) {
        r->cwnd += rec->size;
        return;
    }
    r->grown += rec->size;
    if (r->grown < r->cwnd) return;
    r->grown -= r->cwnd;
    r->cwnd += r->mtu;
}

/* n datagrams were lost, the last of which was sent at `at`. */
static void congested(struct slv_link *l, uint64_t now, uint64_t at, uint64_t n) {
    struct link_recover *r = &l->r;
    if (!r->recovery_at || at > r->recovery_at) {
        r->undo_cwnd = r->cwnd;
        r->undo_ssthresh = r->ssthresh;
        r->undo_lost = 0;
        r->recovery_at = now;
        r->cwnd = r->ssthresh = more(r->cwnd / 2, LINK_WINDOW_MIN * r->mtu);
        r->grown = 0;
        l->stats.congestions++;
    }
    r->undo_lost += n;
}

/* One that was taken for lost came after all. */
static void undo(struct slv_link *l, const struct link_record *rec) {
    struct link_recover *r = &l->r;
    const uint64_t behind = r->acked_to - rec->number;
    l->stats.spurious++;
    if (rec->is_probe) return;
    if (behind > r->reorder) r->reorder = (uint32_t)less(behind, LINK_REORDER_MAX);
    if (!r->undo_cwnd || rec->at > r->recovery_at || !r->undo_lost || --r->undo_lost) return;
    r->cwnd = more(r->cwnd, r->undo_cwnd);
    r->ssthresh = more(r->ssthresh, r->undo_ssthresh);
    r->undo_cwnd = 0;
}

/* --- the round trip --------------------------------------------------------------------------- */

static void measure(struct link_recover *r, uint64_t now, uint64_t sent, uint64_t delay) {
    const uint64_t rtt = less(more(now - sent, 1), LINK_RTT_MAX);
    r->rtt = rtt;
    if (r->rtt_at == UINT64_MAX) {
        r->rtt_at = now;
        r->rtt_min = r->srtt = rtt;
        r->rttvar = rtt / 2;
        return;
    }
    r->rtt_min = less(r->rtt_min, rtt);
    delay = less(delay, LINK_ACK_DELAY);
    const uint64_t own = rtt >= r->rtt_min + delay ? rtt - delay : rtt;
    const uint64_t off = r->srtt > own ? r->srtt - own : own - r->srtt;
    r->rttvar = (3 * r->rttvar + off) / 4;
    r->srtt = (7 * r->srtt + own) / 8;
}

/* How long an answer may take. */
static uint64_t probe_time(const struct link_recover *r) {
    return r->srtt + deviation(r) + LINK_ACK_DELAY;
}

/* When a peer that says nothing is asked (PTO). */
static uint64_t probe_at(const struct link_recover *r) {
    const uint64_t once = probe_time(r);
    const uint64_t most = more(once, LINK_PROBE_TIME_MAX);
    const uint32_t times = r->probes_sent < 16 ? r->probes_sent : 16;
    return r->last_sent + less(once << times, most);
}

/* --- losses ----------------------------------------------------------------------------------- */

static void lose(struct slv_link *l, uint64_t now, struct link_record *rec) {
    land(&l->r, rec, RECORD_LOST);
    l->stats.lost++;
    release(l, rec, PIECE_LOST);
    mtu_lost(l, now, rec);
}

/* A row of lost datagrams, none between them acknowledged. */
struct row {
    uint64_t first, last;
    bool is_new, is_open;
};

/* Whether it is so long that nothing can be left of the path that was measured. */
static bool row_add(const struct link_recover *r, struct row *row, const struct link_record *rec,
                    bool is_new) {
    if (rec->is_probe) return false;
    if (rec->state == RECORD_ACKED || r->rtt_at == UINT64_MAX || rec->at <= r->rtt_at) {
        *row = (struct row){0};
        return false;
    }
    if (!row->is_open) row->first = rec->at;
    row->is_open = true;
    row->last = rec->at;
    row->is_new |= is_new;
    const uint64_t most = LINK_PERSISTENT * probe_time(r);
    return row->is_new && row->last - row->first >= most;
}

static void find_lost(struct slv_link *l, uint64_t now) {
    struct link_recover *r = &l->r;
    const uint64_t delay = more(more(r->srtt, r->rtt) * 9 / 8, LINK_GRANULARITY);
    struct row row = {0};
    uint64_t last = 0, n = 0;
    bool persistent = false;
    r->loss_at = UINT64_MAX;
    for (size_t i = 0; i < r->n; i++) {
        struct link_record *rec = record_at(r, i);
        if (rec->number >= r->acked_to) break;
        bool is_new = false;
        if (rec->state == RECORD_FLIGHT) {
            is_new = r->acked_to - 1 - rec->number >= r->reorder || rec->at + delay <= now;
            if (!is_new) {
                r->loss_at = less(r->loss_at, rec->at + delay);
                continue;
            }
            lose(l, now, rec);
            if (!rec->is_probe) {
                last = more(last, rec->at);
                n++;
            }
        }
        persistent |= row_add(r, &row, rec, is_new);
    }
    if (n) congested(l, now, last, n);
    if (persistent) {
        r->cwnd = LINK_WINDOW_MIN * r->mtu;
        r->recovery_at = now; /* what else was lost until now does not count again */
        r->undo_cwnd = 0;
    }
    check_black_hole(l, now);
}

/* --- what comes ------------------------------------------------------------------------------- */

static bool record_acked(struct slv_link *l, struct link_record *rec) {
    struct link_recover *r = &l->r;
    struct link_heard *h = &l->heard;
    if (rec->state == RECORD_ACKED) return false;
    mtu_acked(l, rec);
    if (rec->number >= h->known_from) h->known = more(h->known, rec->told);
    if (rec->state == RECORD_LOST) {
        undo(l, rec);
        rec->state = RECORD_ACKED;
        return true;
    }
    land(r, rec, RECORD_ACKED);
    release(l, rec, PIECE_ACKED);
    grow(r, rec);
    return true;
}

void link_recover_acked(struct slv_link *l, uint64_t now, const struct link_ack *ack) {
    struct link_recover *r = &l->r;
    const uint64_t largest = ack->range[0].to - 1;
    bool any = false;
    size_t i = record_find(r, largest);
    r->acked_to = more(r->acked_to, largest + 1);
    if (i < r->n) {
        const struct link_record *rec = record_at(r, i);
        if (rec->number == largest && rec->state != RECORD_ACKED)
            measure(r, now, rec->at, ack->delay * 1000);
    }
    for (size_t k = 0; k < ack->n; k++) {
        i = record_find(r, ack->range[k].from);
        for (; i < r->n && record_at(r, i)->number < ack->range[k].to; i++)
            any |= record_acked(l, record_at(r, i));
    }
    if (any) {
        r->probes = r->probes_sent = r->overdue = 0;
        r->waiting_since = now;
    }
    find_lost(l, now);
    trim(r, now);
}

/* --- time ------------------------------------------------------------------------------------- */

/* Two datagrams are to ask, and carry what was sent first of what has not been answered. */
static void ask(struct slv_link *l) {
    struct link_recover *r = &l->r;
    r->probes_sent++;
    r->probes = 2;
    uint32_t n = 0;
    for (size_t i = 0; i < r->n && n < r->probes; i++) {
        struct link_record *rec = record_at(r, i);
        if (rec->state != RECORD_FLIGHT || (!rec->pieces && !rec->credits)) continue;
        release(l, rec, PIECE_LOST);
        n++;
    }
}

static void check_time(struct slv_link *l, uint64_t now) {
    struct link_recover *r = &l->r;
    if (r->loss_at <= now) {
        find_lost(l, now);
        trim(r, now);
    }
    if (r->n_flight && r->loss_at == UINT64_MAX && probe_at(r) <= now) ask(l);
}

void link_recover_tick(struct slv_link *l, uint64_t now) {
    struct link_recover *r = &l->r;
    if (r->n_flight && !r->probes) check_time(l, now);
    r->is_dead =
        r->n_flight && r->overdue >= LINK_DEAD_SENT && now - r->waiting_since >= l->conf.dead_after;
}

uint64_t link_recover_next(const struct slv_link *l) {
    const struct link_recover *r = &l->r;
    uint64_t at = UINT64_MAX;
    if (!r->n_flight) return at;
    if (!r->probes) at = r->loss_at != UINT64_MAX ? r->loss_at : probe_at(r);
    if (r->overdue < LINK_DEAD_SENT || r->is_dead) return at;
    return less(at, r->waiting_since + l->conf.dead_after);
}

/* --- sending ---------------------------------------------------------------------------------- */

int link_recover_ready(struct slv_link *l) {
    struct link_recover *r = &l->r;
    if (r->n == LINK_RECORDS) { /* only who asks for hours comes here */
        struct link_record *oldest = record_at(r, 0);
        if (oldest->state == RECORD_FLIGHT) lose(l, oldest->at, oldest);
        record_pop(r);
    }
    if (r->n < r->room) return 0;
    const size_t room = r->room ? 2 * r->room : 8;
    struct link_record *v = slv_mem_alloc(room * sizeof *v);
    if (!v) return SLV_E_NOMEM;
    for (size_t i = 0; i < r->n; i++)
        v[i] = *record_at(r, i);
    slv_mem_free(r->record);
    r->record = v;
    r->first = 0;
    r->room = room;
    return 0;
}

/* The time that n bytes take when the window is spread over a round trip, at a pace a little
 * above that, twice that while it is being found (RFC 9002, 7.7). */
static uint64_t pace(const struct link_recover *r, uint64_t n) {
    if (r->rtt_at == UINT64_MAX) return 0;
    return r->cwnd < r->ssthresh ? n * r->srtt / (2 * r->cwnd) : n * r->srtt * 4 / (5 * r->cwnd);
}

void link_recover_sent(struct slv_link *l, uint64_t now, struct link_record *rec) {
    struct link_recover *r = &l->r;
    if (!r->n_flight) {
        r->waiting_since = now;
        r->overdue = 0;
    }
    if (now - r->waiting_since > probe_time(r) && r->overdue < LINK_DEAD_SENT) r->overdue++;
    rec->at = r->last_sent = now;
    r->in_flight += rec->size;
    r->n_flight++;
    rec->is_full =
        r->cwnd < r->ssthresh ? 2 * r->in_flight >= r->cwnd : r->in_flight + 3 * r->mtu >= r->cwnd;
    r->paced_to = more(r->paced_to, now) + pace(r, rec->size);
    r->n++;
    *record_at(r, r->n - 1) = *rec;
}

static uint64_t rate_time(const struct slv_link *l, uint64_t n) {
    return l->conf.rate ? n * SECOND / l->conf.rate : 0;
}

static uint64_t rate_burst(const struct slv_link *l) {
    return more(LINK_RATE_BURST, rate_time(l, LINK_WINDOW_MIN * l->r.mtu));
}

void link_recover_rate(struct slv_link *l, uint64_t now, size_t n) {
    const uint64_t most = now + rate_burst(l) + SECOND; /* what is exempt makes no longer debt */
    l->rated_to = less(more(l->rated_to, now) + rate_time(l, n), most);
}

uint64_t link_recover_free_at(const struct slv_link *l) {
    const uint64_t burst = pace(&l->r, LINK_BURST * l->r.mtu), rated = rate_burst(l);
    const uint64_t paced_at = l->r.paced_to > burst ? l->r.paced_to - burst : 0;
    const uint64_t rated_at = l->rated_to > rated ? l->rated_to - rated : 0;
    return more(paced_at, rated_at);
}
