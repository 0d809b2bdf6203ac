/* swim_probe.c: probes, direct and through helpers, and local health; see swim.h. */
#include "mesh/swim_int.h"

#define FIRST_US 250000u /* for an ack of a member whose way is not known */
#define HOT_PERIODS 16u  /* in which those that have just died are tried, one a period */

/* --- time ------------------------------------------------------------------------------------- */

static uint64_t bound(uint64_t v, uint64_t least, uint64_t most) {
    if (v < least) return least;
    return v > most ? most : v;
}

/* Of a round trip: as TCP reckons it (RFC 6298). A member that was not measured yet may
 * be far away. */
static uint64_t ack_time_well(const struct slv_swim *s, const struct member *m) {
    uint64_t us = s->rtt_us ? s->rtt_us + 4 * (uint64_t)s->rttvar_us : 0;
    if (m) us = m->rtt_us ? m->rtt_us + 4 * (uint64_t)m->rttvar_us : 2 * us + FIRST_US;
    return bound(us * 1000, s->conf.ack_min_ms * MS, s->conf.ack_max_ms * MS);
}

uint64_t swim_ack_time(const struct slv_swim *s, const struct member *m) {
    return ack_time_well(s, m) * (1 + s->health);
}

/* A probe must end within its period. */
uint64_t swim_period(const struct slv_swim *s) {
    const uint64_t period = s->conf.period_ms * MS, probe = 3 * ack_time_well(s, NULL);
    return period > probe ? period : probe;
}

static void measure(uint32_t *rtt_us, uint32_t *var_us, uint32_t us) {
    if (!*rtt_us) {
        *rtt_us = us;
        *var_us = us / 2;
        return;
    }
    const uint32_t off = us > *rtt_us ? us - *rtt_us : *rtt_us - us;
    *var_us += off / 4 - *var_us / 4;
    *rtt_us += us / 8;
    *rtt_us -= (*rtt_us - us / 8) / 8;
}

/* (What lasted while we were not running says nothing of the way.) */
static void take_time(struct slv_swim *s, uint64_t now, struct member *m, uint32_t seq) {
    if (!m->ping_at || m->ping_seq != seq) return;
    const uint64_t us = (now - m->ping_at) / 1000;
    if (s->late_at <= m->ping_at && us < 10 * 1000 * (uint64_t)s->conf.ack_max_ms) {
        measure(&m->rtt_us, &m->rttvar_us, us ? (uint32_t)us : 1);
        measure(&s->rtt_us, &s->rttvar_us, us ? (uint32_t)us : 1);
    }
    m->ping_at = 0;
}

/* --- local health ----------------------------------------------------------------------------- */

void swim_worse(struct slv_swim *s, uint32_t by) {
    if (is_off(s, SLV_SWIM_NO_HEALTH)) return;
    s->health = s->health + by < SLV_SWIM_HEALTH_MAX ? s->health + by : SLV_SWIM_HEALTH_MAX;
}

/* --- probes ----------------------------------------------------------------------------------- */

/* Of whom we have something that is wrong, if it answers. */
static bool is_to_hear(const struct slv_swim *s, const struct member *m) {
    return m->state == SLV_SWIM_DEAD || m->state == SLV_SWIM_LEFT ||
           (m->state == SLV_SWIM_SUSPECT && !is_off(s, SLV_SWIM_NO_BUDDY));
}

/* Who is suspected, dead or gone is told so before all else; who may not know us is told of us. */
void swim_ping(struct slv_swim *s, uint64_t now, uint64_t to, uint32_t seq) {
    struct member *m = swim_find(s, to);
    const bool may_know = m && is_up(m);
    swim_begin(s, PING);
    slv_write_number(&s->out, seq);
    slv_write_number(&s->out, !m || !m->record);
    slv_write_id(&s->out, s->digest);
    if (!may_know) (void)swim_say_record(s, s->self);
    if (m && is_to_hear(s, m)) (void)swim_say(s, m);
    if (m) {
        m->ping_at = now;
        m->ping_seq = seq;
    }
    s->unanswered++;
    const bool went = swim_fill_and_send(s, to);
    if (m && !went) m->ping_at = 0;
}

static struct probe *free_probe(struct slv_swim *s, uint64_t target) {
    struct probe *ret = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &s->probe[i];
        if (p->is_used && p->target == target) return NULL;
        if (!p->is_used) ret = p;
    }
    return ret;
}

static void start(struct slv_swim *s, uint64_t now, struct member *m, bool is_turn) {
    const uint64_t ack = swim_ack_time(s, m);
    struct probe *p = free_probe(s, m->id);
    if (!p) return;
    const uint64_t ms = ack / MS;
    *p = (struct probe){.target = m->id,
                        .sent = now,
                        .ask_at = now + ack,
                        .end_at = now + 3 * ack,
                        .seq = ++s->seq,
                        .ack_ms = ms < REQ_MS_MAX ? (uint32_t)ms + 1 : REQ_MS_MAX,
                        .is_used = true,
                        .is_turn = is_turn};
    s->c.probes++;
    swim_ping(s, now, m->id, p->seq);
}

/* So many of all do this that enough confirm. One place is left for the probe in turn. */
void swim_verify(struct slv_swim *s, uint64_t now, struct member *m) {
    size_t used = 0;
    for (size_t i = 0; i < PROBES; i++)
        used += s->probe[i].is_used && !s->probe[i].is_turn;
    if (used + 1 < PROBES && below(s, swim_live(s)) < 3 * ((uint64_t)s->conf.confirms + 1))
        start(s, now, m, false);
}

static void ask_helpers(struct slv_swim *s, const struct member *m, struct probe *p) {
    p->was_asked = true;
    for (uint32_t tries = 4 * s->conf.helpers; tries && p->helpers < s->conf.helpers; tries--) {
        const struct member *h = s->order[below(s, s->n_order)];
        bool is_fit = h->state == SLV_SWIM_ALIVE && h->id != p->target;
        for (uint32_t i = 0; i < p->helpers; i++)
            is_fit = is_fit && h->id != p->helper[i];
        if (!is_fit) continue;
        p->helper[p->helpers++] = h->id;
        s->unanswered++;
        swim_begin(s, REQ);
        slv_write_number(&s->out, p->seq);
        slv_write_id(&s->out, m->id);
        slv_write_number(&s->out, p->ack_ms);
        swim_fill_and_send(s, h->id);
    }
}

/* A helper that sent neither ack nor nack speaks against us, not against the target. */
static void fail_probe(struct slv_swim *s, uint64_t now, struct member *m, struct probe *p) {
    const uint32_t nacks = (uint32_t)__builtin_popcount(p->nacked);
    p->is_used = false;
    if (!is_up(m) || (m->heard >= p->sent && !is_off(s, SLV_SWIM_NO_BUDDY))) return;
    s->c.failed++;
    if (p->is_turn)
        swim_worse(s, p->helpers && !is_off(s, SLV_SWIM_NO_NACK) ? p->helpers - nacks : 1);
    if (m->state == SLV_SWIM_ALIVE) s->c.suspicions++;
    swim_accuse(s, now, m, &s->conf.id, 1);
    if (is_off(s, SLV_SWIM_NO_BUDDY)) return;
    swim_begin(s, GOSSIP);
    if (swim_say(s, m)) swim_send(s, m->id);
}

/* The next of the round; a round is shuffled when it begins (Fisher, Yates). */
static struct member *next_in_turn(struct slv_swim *s) {
    for (size_t looked = 0; looked < s->n_order; looked++) {
        if (s->order_at >= s->n_order) {
            for (size_t i = s->n_order - 1; i > 0; i--) {
                const size_t k = (size_t)below(s, i + 1);
                struct member *m = s->order[i];
                s->order[i] = s->order[k];
                s->order[k] = m;
            }
            s->order_at = 0;
        }
        struct member *m = s->order[s->order_at++];
        if (is_up(m)) return m;
    }
    return NULL;
}

uint64_t swim_probes(struct slv_swim *s, uint64_t now) {
    uint64_t next = UINT64_MAX;
    bool in_turn = false;
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &s->probe[i];
        if (!p->is_used) continue;
        struct member *m = swim_find(s, p->target);
        if (!m) p->is_used = false;
        else if (now >= p->end_at) fail_probe(s, now, m, p);
        else if (now >= p->ask_at && !p->was_asked) ask_helpers(s, m, p);
        if (!p->is_used) continue;
        const uint64_t at = p->was_asked ? p->end_at : p->ask_at;
        next = at < next ? at : next;
        in_turn = in_turn || p->is_turn;
    }
    if (in_turn) return next;
    if (now >= s->next_turn) {
        struct member *m = next_in_turn(s);
        const uint64_t ack = m ? swim_ack_time(s, m) : 0;
        s->next_turn = now + s->conf.period_ms * MS * (1 + s->health);
        if (m) start(s, now, m, true);
        if (m && now + ack < next) next = now + ack;
    }
    return s->next_turn < next ? s->next_turn : next;
}

/* --- answers ---------------------------------------------------------------------------------- */

void swim_on_ping(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, unsigned flags) {
    const struct member *m = swim_find(s, from);
    (void)now;
    swim_begin(s, ACK);
    slv_write_number(&s->out, seq);
    slv_write_number(&s->out, !m || !m->record);
    if (flags) (void)swim_say_record(s, s->self);
    if (m && is_to_hear(s, m)) (void)swim_say(s, m);
    swim_fill_and_send(s, from);
}

static void was_answered(struct slv_swim *s, uint64_t now) {
    s->acked = now;
    s->unanswered = 0;
}

static void send_answer(struct slv_swim *s, enum type type, uint64_t to, uint32_t seq) {
    swim_begin(s, type);
    slv_write_number(&s->out, seq);
    if (type == ACK) slv_write_number(&s->out, 0);
    swim_fill_and_send(s, to);
}

static bool is_helper(const struct probe *p, uint64_t id, uint32_t *ret) {
    for (uint32_t i = 0; i < p->helpers; i++) {
        *ret = i;
        if (p->helper[i] == id) return true;
    }
    return false;
}

void swim_on_ack(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, unsigned flags) {
    struct member *m = swim_find(s, from);
    uint32_t at;
    s->c.acks++;
    was_answered(s, now);
    if (m) take_time(s, now, m, seq);
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &s->probe[i];
        if (!p->is_used || p->seq != seq || (p->target != from && !is_helper(p, from, &at)))
            continue;
        p->is_used = false;
        if (p->is_turn && s->health) s->health--;
    }
    for (size_t i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relay[i];
        if (!r->is_used || r->seq != seq || r->target != from) continue;
        r->is_used = false;
        send_answer(s, ACK, r->asker, r->asker_seq);
    }
    if (!flags || !swim_may_answer(s, now, m)) return;
    swim_begin(s, RECORDS);
    if (swim_say_record(s, s->self)) swim_send(s, from);
}

void swim_on_nack(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq) {
    uint32_t at;
    s->c.nacks++;
    was_answered(s, now);
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &s->probe[i];
        if (p->is_used && p->seq == seq && is_helper(p, from, &at))
            p->nacked = (uint8_t)(p->nacked | 1u << at);
    }
}

void swim_on_req(struct slv_swim *s, uint64_t now, uint64_t from, uint32_t seq, uint64_t target,
                 uint64_t ms) {
    struct relay *r = NULL;
    size_t of_asker = 0;
    for (size_t i = 0; i < RELAYS; i++) {
        if (!s->relay[i].is_used) r = &s->relay[i];
        else of_asker += s->relay[i].asker == from;
    }
    if (target == s->conf.id) send_answer(s, ACK, from, seq);
    if (target == s->conf.id || !r || of_asker >= RELAYS / 4) return;
    const struct member *m = swim_find(s, target);
    if (!m || m->state == SLV_SWIM_REMOVED) return;
    *r = (struct relay){.asker = from,
                        .target = target,
                        .nack_at = now + ms * MS * 4 / 5,
                        .end_at = now + ms * MS * 2,
                        .asker_seq = seq,
                        .seq = ++s->seq,
                        .is_used = true,
                        .was_nacked = is_off(s, SLV_SWIM_NO_NACK)};
    swim_ping(s, now, target, r->seq);
}

uint64_t swim_relays(struct slv_swim *s, uint64_t now) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < RELAYS; i++) {
        struct relay *r = &s->relay[i];
        if (!r->is_used) continue;
        if (now >= r->nack_at && !r->was_nacked) {
            r->was_nacked = true;
            send_answer(s, NACK, r->asker, r->asker_seq);
        }
        if (now >= r->end_at) {
            r->is_used = false;
            continue;
        }
        const uint64_t at = r->was_nacked ? r->end_at : r->nack_at;
        next = at < next ? at : next;
    }
    return next;
}

/* --- dead members and seeds ------------------------------------------------------------------- */

/* (Mostly a program was started again: it is back in a moment, and may know nobody.) */
void swim_died(struct slv_swim *s, uint64_t now, struct member *m) {
    const uint64_t hot = now + HOT_PERIODS * (uint64_t)s->conf.period_ms * MS;
    m->far_gap_ms = s->conf.period_ms;
    m->far_at = now + m->far_gap_ms * MS;
    if (m->far_at < s->next_far) s->next_far = m->far_at;
    if (hot > s->hot_until) s->hot_until = hot;
}

void swim_heat(struct slv_swim *s, uint64_t now) {
    if (now < s->heated_until) return;
    for (size_t i = 0; i < s->n; i++)
        if (s->member[i]->state == SLV_SWIM_DEAD) {
            s->member[i]->far_at = now;
            s->member[i]->far_gap_ms = 1000;
        }
    for (size_t i = 0; i < s->n_seeds; i++) {
        s->seed[i].far_at = now;
        s->seed[i].far_gap_ms = 1000;
    }
    s->next_far = now;
    s->heated_until = s->hot_until =
        now + (s->c.members[SLV_SWIM_DEAD] + s->n_seeds + 5) * s->conf.period_ms * MS;
}

/* While nobody answers the gaps do not grow: we are the smaller side of a split, then. */
static void was_tried(struct slv_swim *s, uint64_t now, uint64_t *at, uint32_t *gap_ms) {
    const uint32_t most =
        s->isolated && s->conf.far_ms < s->conf.far_gap_ms ? s->conf.far_ms : s->conf.far_gap_ms;
    *at = now + *gap_ms * MS;
    *gap_ms = *gap_ms < most / 2 ? *gap_ms * 2 : most;
}

/* Not met yet, or gone: who was to be found comes back, and may know nobody. (One that is dead is
 * tried as such.) While it is here, it is one that would be tried at once. */
static bool is_lost(const struct slv_swim *s, struct seed *q) {
    const struct member *m = swim_find(s, q->id);
    if (m && is_up(m)) q->far_gap_ms = 1000;
    return !m || m->state == SLV_SWIM_LEFT;
}

/* The one that waits longest, of those that are due. */
static bool try_one(struct slv_swim *s, uint64_t now) {
    struct member *dead = NULL;
    struct seed *seed = NULL;
    for (size_t i = 0; s->c.members[SLV_SWIM_DEAD] && i < s->n; i++) {
        struct member *m = s->member[i];
        if (m->state == SLV_SWIM_DEAD && m->far_at <= now && (!dead || m->far_at < dead->far_at))
            dead = m;
    }
    for (size_t i = 0; i < s->n_seeds; i++) {
        struct seed *q = &s->seed[i];
        const bool waits = q->far_at <= now && (!seed || q->far_at < seed->far_at);
        if (waits && is_lost(s, q)) seed = q;
    }
    if (!dead && !seed) return false;
    if (dead && (!seed || dead->far_at <= seed->far_at)) {
        was_tried(s, now, &dead->far_at, &dead->far_gap_ms);
        swim_ping(s, now, dead->id, ++s->seq);
    } else {
        was_tried(s, now, &seed->far_at, &seed->far_gap_ms);
        swim_ping(s, now, seed->id, ++s->seq);
    }
    return true;
}

uint64_t swim_far(struct slv_swim *s, uint64_t now) {
    if (!s->c.members[SLV_SWIM_DEAD] && !s->n_seeds) return UINT64_MAX;
    if (now < s->next_far) return s->next_far;
    const uint64_t period = s->conf.period_ms * MS, far = s->conf.far_ms * MS;
    const bool tried = try_one(s, now);
    if (now < s->hot_until || !tried) s->next_far = now + period;
    else s->next_far = now + far * 3 / 4 + below(s, far / 4 + 1);
    return s->next_far;
}
