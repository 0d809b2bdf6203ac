/* strong_call.c: calls of clients: into the log, or on to the leader; reads by barrier and by
 * lease; the end of clients' leases. See strong.h for why reads by lease are right.
 *
 * A barrier is an entry. Reads that come while one is under way wait for the next: it must be
 * appended after they began, for another leader may have been chosen in between. */
#include "mesh/strong_int.h"

#define LEASE_WANTED_NS (2000 * MS) /* how long a lease is renewed after the last read */
#define EXPIRE_AGAIN_NS (1000 * MS)
#define HANDED_ON 1u    /* of a call: not by who asked */
#define EXPIRE_MOST 64u /* proposed at once */

static uint64_t drift_of(const struct slv_strong *s, uint64_t ns) {
    return ns / 1000000 * s->conf.drift_ppm + 1;
}

/* --- calls ------------------------------------------------------------------------------------ */

int strong_call_new(struct slv_strong *s, enum call_kind kind, struct call **ret) {
    void *p = s->call;
    int rc = slv_mem_grow(&p, s->n_call, &s->room_call, sizeof *s->call, SLV_STRONG_CALLS_MAX);
    s->call = p;
    if (rc) return rc == SLV_E_LIMIT ? SLV_E_BUSY : rc;
    struct call *c = slv_mem_calloc(1, sizeof *c);
    if (!c) return SLV_E_NOMEM;
    c->s = s;
    c->kind = kind;
    c->id = ++s->calls;
    c->until = s->now + s->conf.call_ms * MS;
    s->call[s->n_call++] = c;
    *ret = c;
    return 0;
}

static void free_call(struct call *c) {
    slv_mem_free(c->key);
    slv_mem_free(c->value);
    slv_mem_free(c);
}

void strong_call_end(struct slv_strong *s, struct call *c, const struct slv_strong_result *r) {
    if (c->ended) return;
    c->ended = true;
    c->result = *r;
    if (c->peer) {
        const struct strong_msg m = {.kind = STRONG_ANSWER, .number = c->number, .result = *r};
        strong_send(s, c->peer, &m, 0);
        c->told = true;
        return;
    }
    if (c->told || !r->value.n) return;
    c->value = slv_mem_alloc(r->value.n);
    if (c->value) {
        memcpy(c->value, r->value.p, r->value.n);
        c->result.value.p = c->value;
    } else {
        c->result = (struct slv_strong_result){.status = SLV_STRONG_UNAVAILABLE, .value = {"", 0}};
    }
}

void strong_call_status(struct slv_strong *s, struct call *c, enum slv_strong_status status) {
    const struct slv_strong_result r = {
        .status = status, .hint = slv_strong_leader(s), .value = {"", 0}};
    strong_call_end(s, c, &r);
}

/* (Whoever is answered may look at the calls.) */
void strong_call_sweep(struct slv_strong *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (!c->ended || c->told || s->failed) continue;
        c->told = true;
        s->conf.world.answer(s->conf.world.ctx, c->id, &c->result);
    }
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (c->told && c->ended && !c->held) free_call(c);
        else s->call[kept++] = c;
    }
    s->n_call = kept;
}

void strong_call_free(struct slv_strong *s) {
    for (size_t i = 0; i < s->n_call; i++)
        free_call(s->call[i]);
    slv_mem_free(s->call);
    s->n_call = 0;
}

/* --- into the log ----------------------------------------------------------------------------- */

static void applied(struct raft_apply *req, int status, void *result) {
    struct call *c = (struct call *)req;
    struct slv_strong *s = c->s;
    c->held = false;
    /* It may be in the log of others, and be applied there. */
    if (status) strong_call_status(s, c, SLV_STRONG_TIMEOUT);
    else strong_call_end(s, c, result);
    if (s->barrier != c) return;
    s->barrier = NULL;
    if (status) return;
    s->round_done = s->round;
    if (!s->own_index) s->own_index = c->result.index;
    if (s->barrier_leads) {
        const uint64_t ns = s->barrier_ms * MS;
        s->lease_from = s->barrier_since;
        s->lease_until = s->barrier_since + ns - drift_of(s, ns);
    }
}

/* False: it is not in the log, and will not be. */
static bool propose(struct slv_strong *s, struct call *c, const struct slv_strong_command *cmd) {
    struct slv_buf b;
    struct raft_buffer entry = {0};
    bool ok = false;
    slv_buf_init(&b, STRONG_COMMAND_MAX);
    strong_command_write(cmd, &b);
    if (!b.status &&
        !strong_payload_to_raft(STRONG_COMMAND, (struct slv_str){b.data, b.len}, &entry)) {
        c->held = true;
        ok = !raft_apply(&s->raft, &c->apply, &entry, 1, applied);
        if (!ok) {
            c->held = false;
            raft_free(entry.base);
        }
    }
    slv_buf_fini(&b);
    return ok;
}

/* A command of the leader's own, that nobody waits for. */
static struct call *propose_own(struct slv_strong *s, const struct slv_strong_command *cmd) {
    struct call *c;
    if (strong_call_new(s, CALL_LOGGED, &c)) return NULL;
    c->told = true;
    c->until = UINT64_MAX;
    if (propose(s, c, cmd)) return c;
    strong_call_status(s, c, SLV_STRONG_NOT_LEADER);
    return NULL;
}

/* --- reads ------------------------------------------------------------------------------------ */

static void answer_read(struct slv_strong *s, struct call *c) {
    struct slv_strong_result r;
    slv_strong_get(s, c->space, (struct slv_str){c->key, c->n_key}, &r);
    strong_call_end(s, c, &r);
}

static void start_barrier(struct slv_strong *s) {
    struct slv_strong_command c = {.op = (enum slv_strong_op)STRONG_NOP};
    s->barrier_leads = s->own_index && s->conf.lease_ms && s->lease_asked &&
                       s->now - s->lease_asked < LEASE_WANTED_NS;
    if (s->barrier_leads) {
        c.op = (enum slv_strong_op)STRONG_LEAD;
        c.ttl_ms = s->barrier_ms = s->conf.lease_ms;
    }
    s->barrier_since = s->now;
    s->barrier = propose_own(s, &c);
    if (s->barrier) s->round++;
}

/* Starts the next barrier when some wait for it, and answers those who waited for the last. */
void strong_call_barriers(struct slv_strong *s) {
    bool wanted = !s->own_index;
    if (!s->leads) return;
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (c->ended || (c->kind != CALL_READ && c->kind != CALL_READMIT)) continue;
        if (c->round > s->round) wanted = true;
        else if (c->round <= s->round_done && c->kind == CALL_READ) answer_read(s, c);
        else if (c->round <= s->round_done) strong_member_barrier(s, c);
    }
    const bool renew = s->lease_until && s->now - s->lease_asked < LEASE_WANTED_NS &&
                       s->now - s->lease_from >= s->conf.lease_ms * MS / 2;
    if ((wanted || renew) && !s->barrier && !s->raft.transfer) start_barrier(s);
}

static bool has_lease(const struct slv_strong *s) {
    return s->raft.state == RAFT_LEADER && s->own_index && !s->raft.transfer && s->lease_until &&
           s->now < s->lease_until;
}

void strong_call_lease_seen(struct slv_strong *s, uint64_t ttl_ms) {
    const uint64_t ns = ttl_ms * MS, until = s->now + ns + drift_of(s, ns);
    if (until > s->others_until) s->others_until = until;
}

bool strong_call_ready(const struct slv_strong *s) {
    return s->leads && s->raft.state == RAFT_LEADER && s->own_index && s->now >= s->others_until &&
           !s->raft.transfer;
}

void slv_strong_get(const struct slv_strong *s, uint64_t space, struct slv_str key,
                    struct slv_strong_result *ret) {
    const struct strong_key *k = strong_state_get(&s->state, space, key);
    *ret = (struct slv_strong_result){.index = s->raft.last_applied,
                                      .version = k ? k->version : 0,
                                      .value = k ? k->value : (struct slv_str){"", 0}};
}

bool slv_strong_next(const struct slv_strong *s, uint64_t space, struct slv_str after,
                     struct slv_str *ret_key) {
    const struct strong_key *k = strong_state_behind(&s->state, space, after);
    if (k) *ret_key = k->key;
    return k != NULL;
}

size_t slv_strong_count(const struct slv_strong *s, uint64_t space) {
    return strong_state_count(&s->state, space);
}

/* --- where a call goes ------------------------------------------------------------------------ */

static void serve(struct slv_strong *s, struct call *c, const struct slv_strong_command *cmd) {
    if (cmd->op != SLV_STRONG_GET) {
        c->kind = CALL_LOGGED;
        if (!propose(s, c, cmd)) strong_call_status(s, c, SLV_STRONG_UNAVAILABLE);
        return;
    }
    c->kind = CALL_READ;
    c->space = cmd->space;
    c->n_key = cmd->key.n;
    c->round = s->round + 1;
    c->key = slv_mem_alloc(cmd->key.n ? cmd->key.n : 1);
    if (!c->key) {
        strong_call_status(s, c, SLV_STRONG_UNAVAILABLE);
        return;
    }
    if (cmd->key.n) memcpy(c->key, cmd->key.p, cmd->key.n);
    if (cmd->read == SLV_STRONG_LEASED) s->lease_asked = s->now;
    if (cmd->read == SLV_STRONG_LEASED && has_lease(s)) {
        s->stats.lease_reads++;
        answer_read(s, c);
    } else {
        s->stats.barrier_reads++;
    }
}

static void forward(struct slv_strong *s, struct call *c, const struct slv_strong_command *cmd,
                    uint64_t to, unsigned flags) {
    const struct strong_msg m = {
        .kind = STRONG_CALL, .flags = flags, .number = c->id, .command = *cmd};
    c->kind = CALL_FORWARDED;
    c->round = to;
    strong_send(s, to, &m, 0);
}

int slv_strong_call(struct slv_strong *s, uint64_t now, const struct slv_strong_command *cmd,
                    uint64_t *ret_call) {
    struct call *c;
    if (!s->started || s->failed || !strong_command_ok(cmd)) return SLV_E_USAGE;
    if (now > s->now) s->now = now;
    const int rc = strong_call_new(s, CALL_FORWARDED, &c);
    if (rc) return rc;
    const uint64_t leader = slv_strong_leader(s), to = leader ? leader : s->guide;
    if (!to || (leader == s->conf.id && !strong_call_ready(s)))
        strong_call_status(s, c, SLV_STRONG_UNAVAILABLE);
    else if (leader == s->conf.id) serve(s, c, cmd);
    else forward(s, c, cmd, to, 0);
    *ret_call = c->id;
    strong_pump(s);
    return 0;
}

static size_t calls_of(const struct slv_strong *s, uint64_t peer) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_call; i++)
        n += s->call[i]->peer == peer;
    return n;
}

static void answer_status(struct slv_strong *s, uint64_t to, uint64_t number,
                          enum slv_strong_status status) {
    const struct strong_msg m = {
        .kind = STRONG_ANSWER,
        .number = number,
        .result = {.status = status, .hint = slv_strong_leader(s), .value = {"", 0}}};
    strong_send(s, to, &m, 0);
}

/* Who asks may not hear the leader, who is heard here: it is handed on, once. */
void strong_call_asked(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    const bool leads = s->raft.state == RAFT_LEADER;
    const uint64_t leader = slv_strong_leader(s);
    struct call *c;
    if (!strong_command_ok(&m->command)) {
        s->stats.refused++;
    } else if (s->conf.world.may && !s->conf.world.may(s->conf.world.ctx, from, &m->command)) {
        answer_status(s, from, m->number, SLV_STRONG_DENIED);
    } else if (!leads && (!leader || leader == from || (m->flags & HANDED_ON))) {
        answer_status(s, from, m->number, SLV_STRONG_NOT_LEADER);
    } else if ((leads && !strong_call_ready(s)) ||
               (s->n_call > PEER_CALLS_MAX && calls_of(s, from) >= PEER_CALLS_MAX) ||
               strong_call_new(s, CALL_LOGGED, &c)) {
        answer_status(s, from, m->number, SLV_STRONG_UNAVAILABLE);
    } else {
        c->peer = from;
        c->number = m->number;
        if (leads) serve(s, c, &m->command);
        else forward(s, c, &m->command, leader, HANDED_ON);
    }
}

void strong_call_answered(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (c->id != m->number || c->kind != CALL_FORWARDED || c->round != from) continue;
        if (m->result.status == SLV_STRONG_NOT_LEADER && s->guide == from) s->guide = 0;
        strong_call_end(s, c, &m->result);
        return;
    }
}

void slv_strong_lost(struct slv_strong *s, uint64_t peer) {
    for (size_t i = 0; i < s->n_call; i++)
        if (s->call[i]->kind == CALL_FORWARDED && s->call[i]->round == peer) s->call[i]->until = 0;
}

/* --- roles and time --------------------------------------------------------------------------- */

static void lost(struct slv_strong *s) {
    s->own_index = s->lease_until = s->lease_asked = 0;
    s->round_done = s->round;
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (c->kind == CALL_READ) strong_call_status(s, c, SLV_STRONG_UNAVAILABLE);
        if (c->kind == CALL_READMIT) strong_call_status(s, c, SLV_STRONG_NOT_LEADER);
    }
    strong_snap_stop(s);
}

static void won(struct slv_strong *s) {
    s->own_index = s->lease_until = 0;
    for (size_t i = 0; i < s->state.n_lease; i++)
        s->state.lease[i].since = s->now;
}

void strong_call_role(struct slv_strong *s) {
    const uint64_t leader = slv_strong_leader(s);
    const bool leads = s->raft.state == RAFT_LEADER;
    const bool new_term = s->raft.current_term != s->lead_term;
    if (s->leads && (!leads || new_term)) {
        lost(s);
        s->conf.world.event(s->conf.world.ctx, SLV_STRONG_STEPPED_DOWN, s->conf.id);
    }
    if (leads && (!s->leads || new_term)) won(s);
    s->leads = leads;
    s->lead_term = s->raft.current_term;
    if (leader == s->leader) return;
    s->leader = leader;
    for (size_t i = 0; i < s->n_call; i++) /* whether they were done nobody will say */
        if (s->call[i]->kind == CALL_FORWARDED && s->call[i]->round != leader)
            strong_call_status(s, s->call[i], SLV_STRONG_TIMEOUT);
    s->conf.world.event(s->conf.world.ctx, SLV_STRONG_LEADER, leader);
}

/* Leases whose time is up by this leader's clock. */
static uint64_t expire(struct slv_strong *s) {
    uint64_t next = UINT64_MAX;
    unsigned n = 0;
    for (size_t i = 0; i < s->state.n_lease; i++) {
        struct strong_lease *l = &s->state.lease[i];
        const uint64_t due = l->since + l->ttl_ms * MS;
        if (due > s->now || n == EXPIRE_MOST) {
            if (due < next) next = due > s->now ? due : s->now + MS;
            continue;
        }
        const struct slv_strong_command c = {
            .op = (enum slv_strong_op)STRONG_EXPIRE, .lease = l->id, .version = l->renewed};
        if (!propose_own(s, &c)) break;
        n++;
        l->since = s->now - l->ttl_ms * MS + EXPIRE_AGAIN_NS; /* if that comes to nothing */
    }
    return next;
}

uint64_t strong_call_tick(struct slv_strong *s) {
    uint64_t next = UINT64_MAX;
    if (strong_call_ready(s)) next = expire(s);
    for (size_t i = 0; i < s->n_call; i++) {
        struct call *c = s->call[i];
        if (c->ended) continue;
        const bool is_silent = s->now >= c->until && c->until; /* 0: what it says is lost */
        if (is_silent && c->kind == CALL_FORWARDED && c->round == s->guide) s->guide = 0;
        if (s->now >= c->until) strong_call_status(s, c, SLV_STRONG_TIMEOUT);
        else if (c->until < next) next = c->until;
    }
    return next;
}
