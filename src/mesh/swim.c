/* swim.c: the calls and the clockwork; see swim.h. */
#include "base/mem.h"
#include "mesh/swim_int.h"

/* --- opening ---------------------------------------------------------------------------------- */

/* A number of the configuration: what it is when it is 0, and its bounds. */
struct number {
    uint32_t *v;
    uint32_t usual, least, most;
};

static int take_numbers(struct slv_swim_conf *c) {
    const struct number number[] = {
        {&c->max, 1024, 2, SLV_SWIM_MEMBERS_MAX},
        {&c->mtu, 475, SLV_SWIM_MTU_MIN, SLV_SWIM_MESSAGE_MAX},
        {&c->period_ms, 200, 10, 60000},
        {&c->ack_min_ms, 50, 1, 60000},
        {&c->ack_max_ms, 1000, 1, 60000},
        {&c->helpers, 3, 1, HELPERS_MAX},
        {&c->confirms, 3, 1, ACCUSERS - 1},
        {&c->alpha_pct, 100, 10, 10000},
        {&c->beta, 6, 1, 100},
        {&c->lambda, 2, 1, 16},
        {&c->fanout, 3, 1, 16},
        {&c->claims, 8, 1, 1000},
        {&c->far_ms, 5000, 10, 3600000},
        {&c->far_gap_ms, 60000, 10, 3600000},
        {&c->window_ms, 10000, 10, 3600000},
        {&c->silence_ms, 1000, 10, 3600000},
        {&c->isolated_by, 5, 1, 100},
    };
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
        const struct number *n = &number[i];
        if (!*n->v) *n->v = n->usual;
        if (*n->v < n->least || *n->v > n->most) return SLV_E_USAGE;
    }
    return c->ack_min_ms <= c->ack_max_ms ? 0 : SLV_E_USAGE;
}

static bool is_too_long(const struct slv_swim_conf *c, struct slv_str record) {
    return record.n > SLV_SWIM_RECORD_MAX || record.n + SLV_SWIM_RECORD_OVERHEAD > c->mtu;
}

static int open_self(struct slv_swim *s, uint64_t now) {
    const struct slv_str record = s->conf.record;
    slv_buf_init(&s->out, SLV_SWIM_MESSAGE_MAX);
    int rc = slv_buf_reserve(&s->out, SLV_SWIM_MESSAGE_MAX);
    if (!rc) rc = swim_insert(s, s->conf.id, &s->self);
    if (!rc) rc = swim_announce(s, now, s->conf.incarnation, record, false);
    s->conf.record = (struct slv_str){"", 0};
    return rc;
}

int slv_swim_open(const struct slv_swim_conf *conf, uint64_t now, struct slv_swim **ret) {
    struct slv_swim_conf c = *conf;
    int rc = take_numbers(&c);
    if (rc) return rc;
    if (!c.verify || !c.sign || !c.send || !c.random || !now || (c.off & ~(uint32_t)SLV_SWIM_PLAIN))
        return SLV_E_USAGE;
    if (c.incarnation > SLV_SWIM_INCARNATION_MAX) return SLV_E_USAGE;
    if (is_too_long(&c, c.record)) return SLV_E_LIMIT;
    struct slv_swim *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return SLV_E_NOMEM;
    s->conf = c;
    s->acked = s->changed = now;
    s->seq = (uint32_t)c.random(c.ctx);
    s->next_turn = now + below(s, c.period_ms * MS);
    s->hot_until = now + 50 * (uint64_t)c.period_ms * MS;
    s->sync_gap_ms = c.period_ms;
    rc = open_self(s, now);
    if (rc) slv_swim_close(s);
    else *ret = s;
    return rc;
}

void slv_swim_close(struct slv_swim *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) {
        slv_mem_free(s->member[i]->record);
        slv_mem_free(s->member[i]);
    }
    slv_mem_free(s->member);
    slv_mem_free(s->order);
    slv_mem_free(s->queue);
    slv_buf_fini(&s->out);
    slv_mem_free(s);
}

/* --- the clockwork ---------------------------------------------------------------------------- */

/* A call that comes late says that we did not run: then what was due meanwhile may have been
 * answered, and the answers wait to be read. All deadlines move. */
static void take_time(struct slv_swim *s, uint64_t now) {
    const uint64_t due = s->due, half = s->conf.period_ms * MS / 2;
    if (due == UINT64_MAX || !due || now <= due) return;
    s->due = now;
    if (now - due < half || is_off(s, SLV_SWIM_NO_HEALTH)) return;
    const uint64_t late = now - due;
    for (size_t i = 0; i < PROBES; i++) {
        s->probe[i].ask_at += late;
        s->probe[i].end_at += late;
    }
    for (size_t i = 0; i < s->n; i++)
        if (s->member[i]->state == SLV_SWIM_SUSPECT) {
            s->member[i]->since += late;
            s->member[i]->asked_at += late;
        }
    s->acked = now;
    s->late_at = now;
    s->c.late++;
    swim_worse(s, late < 4 * half ? 1 : 2);
}

static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t slv_swim_tick(struct slv_swim *s, uint64_t now) {
    uint64_t next;
    take_time(s, now);
    if (s->self->state == SLV_SWIM_LEFT) {
        next = swim_gossip(s, now);
        s->due = next;
        return next;
    }
    if (s->must_refute) swim_refute(s, now);
    if (now >= s->next_check) {
        swim_check_isolated(s, now);
        s->next_check = now + s->conf.period_ms * MS;
    }
    next = swim_probes(s, now);
    next = sooner(next, swim_relays(s, now));
    next = sooner(next, swim_far(s, now));
    next = sooner(next, swim_suspicions(s, now));
    next = sooner(next, swim_gossip(s, now)); /* last, as all of these make news */
    if (s->must_refute) next = sooner(next, now + s->conf.period_ms * MS / 4);
    s->due = next;
    return next;
}

/* --- messages --------------------------------------------------------------------------------- */

struct message {
    enum type type;
    uint32_t seq;
    unsigned flags;
    uint64_t digest, target, ms;
    struct slv_reader rest;
};

/* What each type has before its updates. */
enum part { HAS_SEQ = 1, HAS_FLAGS = 2, HAS_DIGEST = 4, HAS_TARGET = 8, HAS_UPDATES = 16 };
static const unsigned parts[TYPES] = {
    [PING] = HAS_SEQ | HAS_FLAGS | HAS_DIGEST | HAS_UPDATES,
    [ACK] = HAS_SEQ | HAS_FLAGS | HAS_UPDATES,
    [NACK] = HAS_SEQ | HAS_UPDATES,
    [REQ] = HAS_SEQ | HAS_TARGET | HAS_UPDATES,
    [GOSSIP] = HAS_UPDATES,
    [RECORDS] = HAS_UPDATES,
};

static bool read_message(const void *p, size_t n, struct message *ret) {
    if (!n || n > SLV_SWIM_MESSAGE_MAX) return false;
    struct slv_reader r = slv_reader_of(p, n);
    const uint8_t first = (uint8_t)slv_read_raw(&r, 1).p[0];
    if (first >> 4 != VERSION || (first & 15) >= TYPES) return false;
    *ret = (struct message){.type = (enum type)(first & 15)};
    const unsigned has = parts[ret->type];
    if (has & HAS_SEQ) ret->seq = (uint32_t)slv_read_number(&r, UINT32_MAX);
    if (has & HAS_FLAGS) ret->flags = (unsigned)slv_read_number(&r, 1);
    if (has & HAS_DIGEST) ret->digest = slv_read_id(&r);
    if (has & HAS_TARGET) {
        ret->target = slv_read_id(&r);
        ret->ms = slv_read_number(&r, REQ_MS_MAX);
    }
    ret->rest = r;
    if (r.bad) return false;
    if (has & HAS_UPDATES) return swim_check_updates(&r);
    if (ret->type == SUMS) return slv_reader_left(&r) == (size_t)4 * BUCKETS;
    return ret->type == PAGE ? swim_check_page(r) : swim_check_want(r);
}

/* Of a member. */
static void take_message(struct slv_swim *s, uint64_t now, struct member *m,
                         const struct message *msg) {
    switch (msg->type) {
    case PING:
        swim_on_ping(s, now, m->id, msg->seq, msg->flags);
        if (is_up(m)) swim_on_digest(s, now, m, msg->digest);
        break;
    case ACK:
        swim_on_ack(s, now, m->id, msg->seq, msg->flags);
        break;
    case NACK:
        swim_on_nack(s, now, m->id, msg->seq);
        break;
    case REQ:
        swim_on_req(s, now, m->id, msg->seq, msg->target, msg->ms);
        break;
    case SUMS:
        swim_on_sums(s, now, m, msg->rest);
        break;
    case PAGE:
        swim_on_page(s, now, m, msg->rest);
        break;
    case WANT:
        swim_on_want(s, now, m, msg->rest);
        break;
    case GOSSIP:
    case RECORDS:
    case TYPES:
        break;
    }
}

int slv_swim_receive(struct slv_swim *s, uint64_t now, uint64_t from, const void *p, size_t n) {
    struct message msg;
    take_time(s, now);
    struct member *m = swim_find(s, from);
    if (m == s->self || !read_message(p, n, &msg)) {
        s->c.malformed++;
        return SLV_E_FORMAT;
    }
    if (s->self->state == SLV_SWIM_LEFT || (m && m->state == SLV_SWIM_REMOVED)) return 0;
    s->status = 0;
    if (m) swim_sign_of_life(s, now, m);
    if (parts[msg.type] & HAS_UPDATES)
        swim_take_updates(s, now, from, msg.rest, msg.type != RECORDS);
    m = swim_find(s, from);
    if (m) take_message(s, now, m, &msg);
    else if (msg.type == PING) swim_on_ping(s, now, from, msg.seq, msg.flags);
    else if (msg.type == ACK) swim_on_ack(s, now, from, msg.seq, msg.flags);
    swim_send_wants(s, now, from);
    return s->status;
}

bool slv_swim_asks(const void *p, size_t n) { return n && (*(const uint8_t *)p & 15) == PING; }

void slv_swim_heard(struct slv_swim *s, uint64_t now, uint64_t id) {
    struct member *m = swim_find(s, id);
    take_time(s, now);
    if (m && m != s->self && m->state != SLV_SWIM_REMOVED) swim_sign_of_life(s, now, m);
}

void slv_swim_met(struct slv_swim *s, uint64_t now, uint64_t id) {
    const struct member *m = swim_find(s, id);
    take_time(s, now);
    if (s->self->state == SLV_SWIM_LEFT || m == s->self) return;
    if (!m || (m->state != SLV_SWIM_ALIVE && m->state != SLV_SWIM_REMOVED))
        swim_ping(s, now, id, ++s->seq);
}

/* --- what the layer above decides ------------------------------------------------------------- */

int slv_swim_seed(struct slv_swim *s, uint64_t now, uint64_t id) {
    for (size_t i = 0; i < s->n_seeds; i++)
        if (s->seed[i].id == id) return 0;
    if (id == s->conf.id) return 0;
    if (s->n_seeds == SLV_SWIM_SEEDS_MAX) return SLV_E_LIMIT;
    s->seed[s->n_seeds++] = (struct seed){.id = id, .far_at = now, .far_gap_ms = 1000};
    if (s->next_far > now) s->next_far = now;
    return 0;
}

int slv_swim_recall(struct slv_swim *s, uint64_t now, const struct slv_swim_record *r,
                    bool is_dead) {
    struct member *m;
    if (r->id == s->conf.id) return SLV_E_USAGE;
    if (swim_find(s, r->id)) return 0;
    if (is_too_long(&s->conf, r->data) || r->incarnation > SLV_SWIM_INCARNATION_MAX)
        return SLV_E_LIMIT;
    if (!s->conf.verify(s->conf.ctx, r)) return SLV_E_TRUST;
    int rc = swim_insert(s, r->id, &m);
    if (rc) return rc;
    rc = swim_keep(m, r);
    if (rc) swim_erase(s, m);
    else swim_become(s, now, m, is_dead ? SLV_SWIM_DEAD : SLV_SWIM_ALIVE, r->incarnation);
    return rc;
}

int slv_swim_change(struct slv_swim *s, uint64_t now, struct slv_str record) {
    if (is_too_long(&s->conf, record)) return SLV_E_LIMIT;
    if (s->self->state == SLV_SWIM_LEFT) return SLV_E_USAGE;
    return swim_announce(s, now, s->self->incarnation + 1, record, false);
}

int slv_swim_leave(struct slv_swim *s, uint64_t now) {
    const struct member *m = s->self;
    const struct slv_str record = {(const char *)m->record + SLV_SWIM_SIGNATURE, m->record_n};
    if (m->state == SLV_SWIM_LEFT) return 0;
    return swim_announce(s, now, m->incarnation + 1, record, true);
}

bool slv_swim_has_left(const struct slv_swim *s) {
    return s->self->state == SLV_SWIM_LEFT && !s->self->is_queued;
}

int slv_swim_remove(struct slv_swim *s, uint64_t now, uint64_t id) {
    struct member *m = swim_find(s, id);
    if (id == s->conf.id) return SLV_E_USAGE;
    if (!m) {
        const int rc = swim_insert(s, id, &m);
        if (rc) return rc;
    }
    swim_dequeue(s, m);
    swim_become(s, now, m, SLV_SWIM_REMOVED, m->incarnation);
    slv_mem_free(m->record);
    m->record = NULL;
    m->record_n = 0;
    return 0;
}

void slv_swim_allow(struct slv_swim *s, uint64_t now, uint64_t id) {
    struct member *m = swim_find(s, id);
    (void)now;
    if (m && m->state == SLV_SWIM_REMOVED) swim_erase(s, m);
}

/* --- what it is told -------------------------------------------------------------------------- */

size_t slv_swim_count(const struct slv_swim *s) { return s->n; }

static void show(const struct member *m, struct slv_swim_member *ret) {
    *ret = (struct slv_swim_member){
        .id = m->id,
        .incarnation = m->incarnation,
        .state = (enum slv_swim_state)m->state,
        .record = {"", 0},
        .since = m->since,
        .heard = m->heard,
        .rtt_us = m->rtt_us,
    };
    ret->signature = m->record;
    if (m->record)
        ret->record = (struct slv_str){(const char *)m->record + SLV_SWIM_SIGNATURE, m->record_n};
}

void slv_swim_at(const struct slv_swim *s, size_t i, struct slv_swim_member *ret) {
    show(s->member[i], ret);
}

int slv_swim_find(const struct slv_swim *s, uint64_t id, struct slv_swim_member *ret) {
    const struct member *m = swim_find(s, id);
    if (!m) return SLV_E_NOENT;
    show(m, ret);
    return 0;
}

void slv_swim_count_all(const struct slv_swim *s, struct slv_swim_counters *ret) {
    *ret = s->c;
    ret->health = s->health;
    ret->isolated = s->isolated;
}
