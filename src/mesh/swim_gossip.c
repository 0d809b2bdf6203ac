/* swim_gossip.c: updates, their queue, and how they are taken; see swim.h. */
#include "mesh/swim_int.h"

#define PICKS 32u /* updates of a message, at most */
#define LOOKS 8u  /* that do not fit before the search for smaller ones ends */

/* --- the queue -------------------------------------------------------------------------------- */

void swim_dequeue(struct slv_swim *s, struct member *m) {
    size_t i = 0;
    if (!m->is_queued) return;
    while (s->queue[i] != m)
        i++;
    memmove(s->queue + i, s->queue + i + 1, (s->n_queue - i - 1) * sizeof m);
    s->n_queue--;
    m->is_queued = false;
}

/* Less sent first, newer first. */
static void put(struct slv_swim *s, struct member *m) {
    size_t lo = 0, hi = s->n_queue;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct member *q = s->queue[mid];
        if (q->sends < m->sends || (q->sends == m->sends && q->stamp > m->stamp)) lo = mid + 1;
        else hi = mid;
    }
    memmove(s->queue + lo + 1, s->queue + lo, (s->n_queue - lo) * sizeof m);
    s->queue[lo] = m;
    s->n_queue++;
    m->is_queued = true;
}

void swim_enqueue(struct slv_swim *s, struct member *m) {
    swim_dequeue(s, m);
    m->sends = 0;
    m->stamp = ++s->stamp;
    put(s, m);
}

static void was_sent(struct slv_swim *s, struct member *m) {
    const uint64_t most = s->conf.lambda * ((swim_log2(s->n + 1) + 1023) / 1024);
    swim_dequeue(s, m);
    if (++m->sends < most) put(s, m);
}

/* --- writing ---------------------------------------------------------------------------------- */

void swim_begin(struct slv_swim *s, enum type type) {
    slv_buf_clear(&s->out);
    slv_buf_addc(&s->out, (char)(VERSION << 4 | (unsigned)type));
}

static void say_head(struct slv_swim *s, const struct member *m, enum kind kind) {
    slv_buf_addc(&s->out, (char)kind);
    slv_write_id(&s->out, m->id);
    slv_write_number(&s->out, m->incarnation);
}

bool swim_say_record(struct slv_swim *s, const struct member *m) {
    static const enum kind kind[CLASSES] = {SAY_ALIVE, SAY_DEAD_RECORD, SAY_LEFT};
    const size_t n = 9 + slv_number_bytes(m->incarnation) + slv_number_bytes(m->record_n) +
                     m->record_n + SLV_SWIM_SIGNATURE;
    if (!m->record || s->out.len + n > s->conf.mtu) return false;
    say_head(s, m, kind[swim_class_of(m)]);
    slv_write_bytes(&s->out, m->record + SLV_SWIM_SIGNATURE, m->record_n);
    slv_buf_add(&s->out, m->record, SLV_SWIM_SIGNATURE);
    return true;
}

bool swim_say(struct slv_swim *s, const struct member *m) {
    const bool is_claim = m->state == SLV_SWIM_SUSPECT || m->state == SLV_SWIM_DEAD;
    if (!is_claim) return swim_say_record(s, m);
    const size_t n = 10 + slv_number_bytes(m->incarnation) + 8u * m->accusers;
    if (!m->accusers || s->out.len + n > s->conf.mtu) return false;
    say_head(s, m, m->state == SLV_SWIM_DEAD ? SAY_DEAD : SAY_SUSPECT);
    slv_write_number(&s->out, m->accusers);
    for (size_t i = 0; i < m->accusers; i++)
        slv_write_id(&s->out, m->accuser[i]);
    return true;
}

bool swim_send(struct slv_swim *s, uint64_t to) {
    s->c.sent++;
    s->c.bytes += s->out.len;
    return s->conf.send(s->conf.ctx, to, s->out.data, s->out.len);
}

bool swim_fill_and_send(struct slv_swim *s, uint64_t to) {
    struct member *pick[PICKS];
    size_t n = 0;
    for (size_t i = 0, looks = 0; i < s->n_queue && n < PICKS && looks < LOOKS; i++) {
        struct member *m = s->queue[i];
        if (m->id == to && m->state == SLV_SWIM_ALIVE) continue; /* it knows */
        if (swim_say(s, m)) pick[n++] = m;
        else looks++;
    }
    for (size_t i = 0; i < n; i++)
        was_sent(s, pick[i]);
    return swim_send(s, to);
}

uint64_t swim_gossip(struct slv_swim *s, uint64_t now) {
    if (!s->n_queue) return UINT64_MAX;
    if (now < s->next_gossip) return s->next_gossip;
    for (uint32_t k = 0, tries = 0; k < s->conf.fanout && tries < 4 * s->conf.fanout; tries++) {
        const struct member *m = s->n_order ? s->order[below(s, s->n_order)] : s->self;
        if (m == s->self || !is_up(m)) continue;
        if (!s->n_queue) break;
        swim_begin(s, GOSSIP);
        swim_fill_and_send(s, m->id);
        k++;
    }
    /* With nobody to tell, whoever joins asks. */
    if (swim_live(s) <= (s->self->state == SLV_SWIM_ALIVE))
        while (s->n_queue)
            swim_dequeue(s, s->queue[0]);
    const bool leaves = s->self->state == SLV_SWIM_LEFT; /* there is not much time left */
    s->next_gossip = now + s->conf.period_ms * MS / (leaves ? 16 : 4);
    return s->n_queue ? s->next_gossip : UINT64_MAX;
}

void swim_tell(struct slv_swim *s, uint64_t now, struct member *to, const struct member *m) {
    if (!swim_may_answer(s, now, to)) return;
    swim_begin(s, RECORDS);
    if (swim_say_record(s, m)) swim_send(s, to->id);
}

bool swim_may_answer(struct slv_swim *s, uint64_t now, struct member *to) {
    return swim_pass(to ? &to->replies_at : &s->strangers_at, now, to ? 20 * MS : 50 * MS,
                     to ? 50 : 20);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct update {
    enum kind kind;
    struct slv_swim_record r;
    uint64_t accuser[ACCUSERS];
    size_t accusers;
};

static bool is_record(enum kind kind) { return kind <= SAY_DEAD_RECORD; }

static bool read_update(struct slv_reader *r, struct update *ret) {
    const struct slv_str kind = slv_read_raw(r, 1);
    if (r->bad || (uint8_t)kind.p[0] >= KINDS) return false;
    ret->kind = (enum kind)kind.p[0];
    ret->r.id = slv_read_id(r);
    ret->r.incarnation = slv_read_number(r, SLV_SWIM_INCARNATION_MAX);
    if (is_record(ret->kind)) {
        ret->r.left = ret->kind == SAY_LEFT;
        ret->r.data = slv_read_bytes(r, SLV_SWIM_RECORD_MAX);
        ret->r.signature = (const uint8_t *)slv_read_raw(r, SLV_SWIM_SIGNATURE).p;
        return !r->bad;
    }
    ret->accusers = (size_t)slv_read_number(r, ACCUSERS);
    for (size_t i = 0; i < ret->accusers; i++) {
        ret->accuser[i] = slv_read_id(r);
        if (i && ret->accuser[i] <= ret->accuser[i - 1]) return false;
    }
    return !r->bad && ret->accusers;
}

bool swim_check_updates(struct slv_reader *r) {
    struct update u;
    while (slv_reader_left(r))
        if (!read_update(r, &u)) return false;
    return slv_reader_done(r);
}

/* --- taking ----------------------------------------------------------------------------------- */

/* Each bad signature costs a verification: who sends many is not read for a while. */
static bool is_genuine(struct slv_swim *s, uint64_t now, struct member *from,
                       const struct slv_swim_record *r) {
    uint64_t *at = from ? &from->forged_at : &s->forged_at;
    if (*at > now + 1000 * MS) {
        s->c.dropped++;
        return false;
    }
    if (s->conf.verify(s->conf.ctx, r)) return true;
    (void)swim_pass(at, now, 100 * MS, 20);
    s->c.forged++;
    return false;
}

/* A record of ours that we did not make since we began: an earlier run went further. */
static void take_own(struct slv_swim *s, uint64_t now, struct member *from,
                     const struct slv_swim_record *r) {
    const struct member *m = s->self;
    if (m->state == SLV_SWIM_LEFT || r->incarnation < m->incarnation) return;
    const bool is_same = r->incarnation == m->incarnation && !r->left && r->data.n == m->record_n &&
                         !memcmp(r->data.p, m->record + SLV_SWIM_SIGNATURE, r->data.n);
    if (is_same || !is_genuine(s, now, from, r)) return;
    const struct slv_str own = {(const char *)m->record + SLV_SWIM_SIGNATURE, m->record_n};
    const int rc = swim_announce(s, now, r->incarnation + 1, own, false);
    if (rc && !s->status) s->status = rc;
}

/* One that is not newer than what we have. */
static void take_old(struct slv_swim *s, uint64_t now, struct member *from, struct member *m,
                     const struct update *u) {
    if (u->r.incarnation < m->incarnation && from == m) swim_tell(s, now, from, m);
    if (u->kind == SAY_DEAD_RECORD && from) swim_take_claim(s, now, from, m->id, u->r.incarnation);
}

static void take_record(struct slv_swim *s, uint64_t now, uint64_t from_id, const struct update *u,
                        bool pass_on) {
    const struct slv_swim_record *r = &u->r;
    struct member *from = swim_find(s, from_id), *m = swim_find(s, r->id);
    enum slv_swim_state state = r->left ? SLV_SWIM_LEFT : SLV_SWIM_ALIVE;
    int rc = 0;
    if (m == s->self) {
        take_own(s, now, from, r);
        return;
    }
    if (m && m->state == SLV_SWIM_REMOVED) return;
    if (m && r->incarnation <= m->incarnation) {
        take_old(s, now, from, m, u);
        return;
    }
    if (r->data.n + SLV_SWIM_RECORD_OVERHEAD > s->conf.mtu) rc = SLV_E_LIMIT;
    else if (!is_genuine(s, now, from, r)) return;
    const bool is_new = !m;
    if (!rc && is_new) rc = swim_insert(s, r->id, &m);
    if (!rc) {
        rc = swim_keep(m, r);
        if (rc && is_new) swim_erase(s, m);
    }
    if (rc) {
        s->c.refused++;
        if (!s->status) s->status = rc;
        return;
    }
    if (m->state == SLV_SWIM_SUSPECT || m->state == SLV_SWIM_DEAD) s->c.refuted++;
    if (is_new && u->kind == SAY_DEAD_RECORD) {
        state = SLV_SWIM_DEAD;
        m->accuser[0] = from_id;
        m->accusers = 1;
    }
    swim_become(s, now, m, state, r->incarnation);
    if (m->state == SLV_SWIM_ALIVE) m->heard = r->id == from_id ? now : m->heard;
    if (pass_on || from_id == r->id) swim_enqueue(s, m);
    else s->is_learning = true;
    if (!is_new && u->kind == SAY_DEAD_RECORD && from)
        swim_take_claim(s, now, from, m->id, m->incarnation);
}

/* A claim about us. */
static void take_accusation(struct slv_swim *s, uint64_t now, struct member *from,
                            uint64_t incarnation) {
    const struct member *m = s->self;
    if (m->state == SLV_SWIM_LEFT || incarnation > m->incarnation) return;
    if (incarnation == m->incarnation) swim_refute(s, now);
    else if (from) swim_tell(s, now, from, m); /* it missed that we refuted */
}

/* An accuser that is not up counts for nothing, and we know ourselves whom we accuse. */
static size_t drop_own(const struct slv_swim *s, const struct update *u, uint64_t *ret) {
    size_t n = 0;
    for (size_t i = 0; i < u->accusers; i++)
        if (u->accuser[i] != s->conf.id) ret[n++] = u->accuser[i];
    return n;
}

static void take_claim(struct slv_swim *s, uint64_t now, struct member *from,
                       const struct update *u) {
    struct member *m = swim_find(s, u->r.id);
    uint64_t accuser[ACCUSERS];
    if (m == s->self) {
        take_accusation(s, now, from, u->r.incarnation);
        return;
    }
    if (!m || !from) {
        s->c.unknown++;
        return;
    }
    if (u->r.incarnation > m->incarnation && m->state != SLV_SWIM_REMOVED) swim_want(s, m->id);
    if (u->r.incarnation < m->incarnation && m->state != SLV_SWIM_REMOVED)
        swim_tell(s, now, from, m);
    if (u->r.incarnation != m->incarnation || !is_up(m)) return;
    if (u->kind == SAY_DEAD && is_off(s, SLV_SWIM_TRUST_DEAD)) {
        m->accusers = 0;
        m->accuser[m->accusers++] = u->accuser[0];
        swim_become(s, now, m, SLV_SWIM_DEAD, m->incarnation);
        swim_enqueue(s, m);
        return;
    }
    /* The probe that failed began before we heard of it ourselves. */
    if (m->heard && now - m->heard < 3 * s->conf.ack_min_ms * MS && !is_off(s, SLV_SWIM_NO_BUDDY))
        return;
    const bool is_new = m->state == SLV_SWIM_ALIVE;
    const size_t n = drop_own(s, u, accuser);
    if (is_new && !swim_pass(&from->claims_at, now, 1000 * MS / s->conf.claims,
                             2 * (uint64_t)s->conf.claims)) {
        s->c.dropped++;
        return;
    }
    swim_accuse(s, now, m, accuser, n);
    if (is_new && m->state == SLV_SWIM_SUSPECT && !is_off(s, SLV_SWIM_NO_BUDDY))
        swim_verify(s, now, m);
}

void swim_take_claim(struct slv_swim *s, uint64_t now, struct member *from, uint64_t id,
                     uint64_t incarnation) {
    const struct update u = {.kind = SAY_DEAD,
                             .r = {.id = id, .incarnation = incarnation},
                             .accuser = {from->id},
                             .accusers = 1};
    take_claim(s, now, from, &u);
}

void swim_take_updates(struct slv_swim *s, uint64_t now, uint64_t from, struct slv_reader r,
                       bool pass_on) {
    struct update u = {0};
    while (slv_reader_left(&r) && read_update(&r, &u)) {
        if (is_record(u.kind)) take_record(s, now, from, &u, pass_on);
        else take_claim(s, now, swim_find(s, from), &u);
        u = (struct update){0};
    }
}
