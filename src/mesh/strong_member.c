/* strong_member.c: who is in a strong group: roles, the hand-over of leadership, and members whose
 * records are damaged. See strong.h for the rule that these follow. */
#include "mesh/strong_int.h"

#include <stdio.h>

#define MEMBER_NS (60000 * MS)
#define DAMAGE_NS (500 * MS)   /* between two words of a damaged node, or to one */
#define SILENT_NS (5000 * MS)  /* until one that was told is told no more */
#define FORGET_NS (60000 * MS) /* a damaged member that is silent */
#define LATE_NS (3000 * MS)    /* for which words of before may come, once it was readmitted */

static int role_to_raft(enum slv_strong_role r) {
    if (r == SLV_STRONG_VOTER) return RAFT_VOTER;
    return r == SLV_STRONG_LEARNER ? RAFT_STANDBY : RAFT_SPARE;
}

static const struct raft_server *server(const struct slv_strong *s, uint64_t id) {
    const struct raft_configuration *c = &s->raft.configuration;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == id) return &c->servers[i];
    return NULL;
}

enum slv_strong_role slv_strong_role(const struct slv_strong *s, uint64_t id) {
    const struct raft_server *v = s->started && !s->damaged ? server(s, id) : NULL;
    if (!v) return SLV_STRONG_GONE;
    if (v->role == RAFT_VOTER) return SLV_STRONG_VOTER;
    return v->role == RAFT_STANDBY ? SLV_STRONG_LEARNER : SLV_STRONG_SPARE;
}

size_t slv_strong_members(const struct slv_strong *s, uint64_t ret[SLV_STRONG_MEMBERS_MAX]) {
    const struct raft_configuration *c = &s->raft.configuration;
    size_t n = 0;
    for (unsigned i = 0; s->started && !s->damaged && i < c->n && n < SLV_STRONG_MEMBERS_MAX; i++)
        ret[n++] = c->servers[i].id;
    return n;
}

/* --- roles ------------------------------------------------------------------------------------ */

static void changed(struct raft_change *req, int status) {
    struct slv_strong *s = req->data;
    s->change_pending = false;
    s->change_status = status;
}

static void end_change(struct slv_strong *s, enum slv_strong_status status) {
    struct call *c = s->change_call;
    const struct slv_strong_result r = {
        .status = status, .hint = s->leader, .index = s->raft.last_applied, .value = {"", 0}};
    s->change_call = NULL;
    strong_call_end(s, c, &r);
}

static bool is_last_voter(const struct slv_strong *s, uint64_t id) {
    unsigned others = 0;
    for (unsigned i = 0; i < s->raft.configuration.n; i++)
        others += s->raft.configuration.servers[i].role == RAFT_VOTER &&
                  s->raft.configuration.servers[i].id != id;
    return !others;
}

/* The next step on the way to the wanted role; a status of the core, -1: it is there. */
static int start_step(struct slv_strong *s) {
    const enum slv_strong_role now = slv_strong_role(s, s->change_id), to = s->change_role;
    char address[17];
    if (now == to) return -1;
    if (to != SLV_STRONG_VOTER && is_last_voter(s, s->change_id)) return RAFT_CANTCHANGE;
    if (to != SLV_STRONG_GONE && now != SLV_STRONG_GONE)
        return raft_assign(&s->raft, &s->change, s->change_id, role_to_raft(to), changed);
    if (now == SLV_STRONG_GONE && s->raft.configuration.n == SLV_STRONG_MEMBERS_MAX)
        return RAFT_TOOMANY;
    snprintf(address, sizeof address, "%016llx", (unsigned long long)s->change_id);
    const int rc = to == SLV_STRONG_GONE
                       ? raft_remove(&s->raft, &s->change, s->change_id, changed)
                       : raft_add(&s->raft, &s->change, s->change_id, address, changed);
    /* When the store fails in there, the core has freed what it holds for its members. */
    if (rc && s->failed) raft_configuration_init(&s->raft.configuration);
    return rc;
}

/* From outside the core: its callbacks come while it is in the middle of things. */
void strong_member_step(struct slv_strong *s) {
    int rc = s->change_status;
    if (!s->change_call || s->change_pending) return;
    if (!rc && s->raft.state != RAFT_LEADER) rc = RAFT_LEADERSHIPLOST;
    if (!rc) {
        s->change.data = s;
        s->change_pending = true;
        rc = start_step(s);
        if (rc) s->change_pending = false;
    }
    switch (rc) {
    case 0:
        return;
    case -1:
        end_change(s, SLV_STRONG_OK);
        return;
    case RAFT_LEADERSHIPLOST: /* removing oneself ends so, too */
        end_change(s, SLV_STRONG_TIMEOUT);
        return;
    case RAFT_NOTLEADER:
        end_change(s, SLV_STRONG_NOT_LEADER);
        return;
    case RAFT_CANTCHANGE:
        end_change(s, SLV_STRONG_CONFLICT);
        return;
    case RAFT_TOOMANY:
        end_change(s, SLV_STRONG_LIMIT);
        return;
    case RAFT_NOMEM: /* the core has half of it */
        strong_fail(s);
        return;
    default: /* one that does not catch up */
        end_change(s, SLV_STRONG_UNAVAILABLE);
        return;
    }
}

static struct call *new_change(struct slv_strong *s, uint64_t id, enum slv_strong_role role) {
    struct call *c;
    if (strong_call_new(s, CALL_MEMBER, &c)) return NULL;
    c->until = s->now + MEMBER_NS;
    if (s->change_call) {
        strong_call_status(s, c, SLV_STRONG_CONFLICT);
        return c;
    }
    s->change_call = c;
    c->held = false;
    s->change_id = id;
    s->change_role = role;
    s->change_status = 0;
    c->until = UINT64_MAX; /* the core ends it, or the loss of leadership */
    return c;
}

int slv_strong_member(struct slv_strong *s, uint64_t now, uint64_t id, enum slv_strong_role role,
                      uint64_t *ret_call) {
    if (!s->started || s->failed || !id || role > SLV_STRONG_VOTER) return SLV_E_USAGE;
    if (now > s->now) s->now = now;
    struct call *c;
    if (strong_call_ready(s)) {
        c = new_change(s, id, role);
        if (!c) return SLV_E_BUSY;
    } else {
        const int rc = strong_call_new(s, CALL_MEMBER, &c);
        if (rc) return rc;
        strong_call_status(s, c, s->leads ? SLV_STRONG_UNAVAILABLE : SLV_STRONG_NOT_LEADER);
    }
    *ret_call = c->id;
    strong_pump(s);
    return 0;
}

/* --- handing over ----------------------------------------------------------------------------- */

static void moved(struct raft_transfer *req) {
    struct slv_strong *s = req->data;
    s->is_moving = false;
}

int slv_strong_transfer(struct slv_strong *s, uint64_t now, uint64_t id) {
    if (!s->started || s->damaged || s->failed) return SLV_E_USAGE;
    if (now > s->now) s->now = now;
    if (!strong_call_ready(s)) return SLV_E_USAGE;
    if (s->is_moving || s->change_call) return SLV_E_BUSY;
    s->moving.data = s;
    s->is_moving = true;
    if (raft_transfer(&s->raft, &s->moving, id, moved)) {
        s->is_moving = false;
        return SLV_E_USAGE;
    }
    strong_pump(s);
    return 0;
}

bool slv_strong_is_moving(const struct slv_strong *s) { return s->is_moving; }

/* --- damage ----------------------------------------------------------------------------------- */

static void say_damaged(struct slv_strong *s, uint64_t to) {
    const struct strong_msg m = {.kind = STRONG_DAMAGED, .number = s->nonce};
    if (s->now < s->damage_next) return;
    s->damage_next = s->now + DAMAGE_NS;
    strong_send(s, to, &m, strong_gate(s));
}

int slv_strong_appeal(struct slv_strong *s, uint64_t now, uint64_t peer) {
    if (!s->started || !s->damaged || s->failed) return SLV_E_USAGE;
    if (now > s->now) s->now = now;
    s->damage_next = s->now;
    say_damaged(s, peer);
    strong_pump(s);
    return 0;
}

/* A message to a node that is damaged. */
static void become_fresh(struct slv_strong *s, uint64_t term, uint64_t vote, uint64_t index) {
    s->damaged = false;
    s->fresh_until = index;
    s->term = term;
    s->vote = vote;
    strong_put_vote(s);
    strong_put_fresh(s);
    s->conf.world.event(s->conf.world.ctx, SLV_STRONG_READMITTED, s->conf.id);
    if (strong_core_start(s)) strong_fail(s);
}

void strong_member_readmit(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    if (m->kind != STRONG_READMIT) {
        say_damaged(s, from);
    } else if (m->number == s->nonce && m->commit) {
        become_fresh(s, m->term, from, m->commit);
    } else {
        s->stats.refused++;
    }
}

int slv_strong_readmit(struct slv_strong *s, uint64_t now, uint64_t term, uint64_t index) {
    if (!s->started || !s->damaged || s->failed || !term || term > STRONG_TERM_MAX || !index ||
        index > STRONG_NUMBER_MAX)
        return SLV_E_USAGE;
    if (now > s->now) s->now = now;
    become_fresh(s, term, s->conf.id, index);
    strong_pump(s);
    return 0;
}

/* Where it is remembered: its place, or that of who was heard least lately, made free. */
static size_t hurt_of(struct slv_strong *s, uint64_t peer) {
    size_t old = 0;
    for (size_t i = 0; i < DAMAGED_MAX; i++) {
        if (s->hurt[i].peer == peer) return i;
        if (s->hurt[i].heard < s->hurt[old].heard) old = i;
    }
    memset(&s->hurt[old], 0, sizeof s->hurt[old]);
    s->hurt[old].peer = peer;
    s->hurt[old].at = s->now;
    return old;
}

/* A member says that it is damaged: it is remembered for a while. One that goes on saying so has
 * not been reached by READMIT, and somebody has put it in meanwhile: it is removed once more. */
void strong_member_damaged(struct slv_strong *s, uint64_t from, const struct strong_msg *m) {
    if (s->raft.state != RAFT_LEADER || !m->number) return;
    const size_t i = hurt_of(s, from);
    if (m->number == s->hurt[i].told && server(s, from)) {
        if (s->now - s->hurt[i].told_at < LATE_NS) return;
        s->hurt[i].told = 0;
    }
    if (m->number != s->hurt[i].nonce)
        s->conf.world.event(s->conf.world.ctx, SLV_STRONG_DAMAGED, from);
    s->hurt[i].nonce = m->number;
    s->hurt[i].heard = s->now;
}

bool slv_strong_is_hurt(const struct slv_strong *s, uint64_t id) {
    for (size_t i = 0; i < DAMAGED_MAX; i++)
        if (s->hurt[i].peer == id && id && s->now - s->hurt[i].heard < SILENT_NS)
            return s->hurt[i].nonce != s->hurt[i].told;
    return false;
}

static void note_told(struct slv_strong *s, uint64_t peer, uint64_t nonce) {
    for (size_t i = 0; i < DAMAGED_MAX; i++) {
        if (s->hurt[i].peer != peer) continue;
        s->hurt[i].told = nonce;
        s->hurt[i].told_at = s->now;
    }
}

/* The barrier is committed: if the node is no member by now, it is none. */
void strong_member_barrier(struct slv_strong *s, struct call *c) {
    const struct strong_msg m = {.kind = STRONG_READMIT,
                                 .number = c->number,
                                 .term = s->raft.current_term,
                                 .commit = s->raft.last_applied};
    if (!server(s, c->space) && !s->raft.configuration_uncommitted_index &&
        s->raft.state == RAFT_LEADER) {
        strong_send(s, c->space, &m, strong_gate(s));
        note_told(s, c->space, c->number);
    }
    strong_call_status(s, c, SLV_STRONG_OK);
}

/* Removes one that is damaged, or asks for the barrier behind which it may be told. */
static void treat(struct slv_strong *s, size_t i) {
    struct call *c;
    s->hurt[i].at = s->now + DAMAGE_NS;
    if (server(s, s->hurt[i].peer)) {
        if (!s->conf.readmit || s->hurt[i].nonce == s->hurt[i].told || s->change_call) return;
        c = new_change(s, s->hurt[i].peer, SLV_STRONG_GONE);
        if (c) c->told = true;
        return;
    }
    if (s->now - s->hurt[i].heard > SILENT_NS && s->hurt[i].nonce == s->hurt[i].told) return;
    if (strong_call_new(s, CALL_READMIT, &c)) return;
    c->told = true;
    c->space = s->hurt[i].peer;
    c->number = s->hurt[i].nonce;
    c->round = s->round + 1;
}

uint64_t strong_member_tick(struct slv_strong *s) {
    uint64_t next = UINT64_MAX;
    const bool ready = strong_call_ready(s);
    for (size_t i = 0; i < DAMAGED_MAX; i++) {
        if (!s->hurt[i].peer) continue;
        if (!s->leads || s->now - s->hurt[i].heard > FORGET_NS) {
            s->hurt[i].peer = s->hurt[i].heard = 0;
            continue;
        }
        if (ready && s->now >= s->hurt[i].at) treat(s, i);
        if (s->hurt[i].at < next) next = s->hurt[i].at > s->now ? s->hurt[i].at : s->now + MS;
    }
    return next;
}
