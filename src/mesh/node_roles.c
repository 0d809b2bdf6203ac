/* node_roles.c: see node.h. Who votes in the group (by roles.h), and who leads it.
 *
 * A leader that does not get to run when it should answers late whatever it is asked, and yet is
 * heard too often to be replaced. So it hands over by itself, to the nearest voter that is well,
 * and not again for a while: where all are so, it goes around slowly. (Local health, swim.h, does
 * not tell: it recovers with each probe that is answered, however late this node is.) Who leads may
 * also be asked for, at any member; that is asked again until it is so.
 */
#include "mesh/node_int.h"
#include "base/mem.h"

#define POLICY_NS (500 * MS) /* between two looks */
#define HELLO_NS (1000 * MS) /* between two to the same node */
#define READY_NS (5000 * MS) /* how long that is believed */
#define STAYS_NS (1500 * MS) /* a term that is over sooner, and had no leader, is unrest */
#define CALM_NS (5000 * MS)  /* without a new one, after which there is less unrest */
#define UNREST_MOST_MS 640u
#define SYNC_MOST_MS 1000u
#define PACE_MS 50u                 /* steps in which round trips are looked at */
#define DEAD_MS 15000u              /* a voter that is silent for so long is replaced */
#define GONE_MS 600000u             /* and one that only learns let go */
#define GROUP_MOST 48u              /* members: the leader speaks to each of them */
#define UNWELL_NS (4000 * MS)       /* over so long a leader is looked at */
#define UNWELL_PART 4u              /* and is unwell, if so much of it passed in being late */
#define UNWELL_REST_NS (60000 * MS) /* until it does so again */
#define ASKED_REST_NS (1000 * MS)   /* between two hand-overs that others ask for */
#define LEAD_AGAIN_NS (250 * MS)    /* until the leader is asked again */

/* --- who votes -------------------------------------------------------------------------------- */

/* When a node said that it can be added, and when it was last told that it may. */
static struct node_ready *ready_of(struct slv_node *n, uint64_t id, bool make) {
    for (size_t i = 0; i < n->strong.n_ready; i++)
        if (n->strong.ready[i].id == id) return &n->strong.ready[i];
    void *p = n->strong.ready;
    if (!make || slv_mem_grow(&p, n->strong.n_ready, &n->strong.room_ready, sizeof *n->strong.ready,
                              PEERS_MAX))
        return NULL;
    n->strong.ready = p;
    n->strong.ready[n->strong.n_ready] = (struct node_ready){.id = id};
    return &n->strong.ready[n->strong.n_ready++];
}

/* For how long it has been silent; before this node led it did not look. */
static uint32_t silent_ms(const struct slv_node *n, const struct slv_swim_member *m) {
    uint64_t since = m->heard > n->strong.leads_since ? m->heard : n->strong.leads_since;
    if (m->id == n->conf.id || m->state == SLV_SWIM_ALIVE) return 0;
    if (since > n->now) since = n->now;
    const uint64_t ms = (n->now - since) / MS + 1;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static struct slv_roles_member view_of(struct slv_node *n, const struct slv_swim_member *m) {
    const struct node_ready *r = ready_of(n, m->id, false);
    return (struct slv_roles_member){
        .id = m->id,
        .role = slv_strong_role(n->strong.s, m->id),
        .left = m->state == SLV_SWIM_LEFT,
        .removed = m->state == SLV_SWIM_REMOVED,
        .ready = r && r->at && n->now - r->at < READY_NS,
        .mute = !node_may_vote(n, m->id),
        .hurt = slv_strong_is_hurt(n->strong.s, m->id),
        .silent_ms = silent_ms(n, m),
        .rtt_us = m->rtt_us,
    };
}

static void greet(struct slv_node *n, const struct slv_roles_member *v) {
    struct node_ready *r;
    if (v->role != SLV_STRONG_GONE || v->left || v->removed || v->silent_ms || v->ready) return;
    r = ready_of(n, v->id, true);
    if (!r || n->now < r->hello_next) return;
    r->hello_next = n->now + HELLO_NS;
    node_strong_hello(n, v->id, n->conf.id);
}

/* Members of the mesh, and those of the group that are none (or not known yet to be). */
static size_t look_at_all(struct slv_node *n, struct slv_roles_member *v, size_t most) {
    uint64_t ids[SLV_STRONG_MEMBERS_MAX];
    const size_t k = slv_strong_members(n->strong.s, ids);
    struct slv_swim_member m;
    size_t count = 0;
    for (size_t i = 0; i < slv_swim_count(n->swim) && count < most; i++) {
        slv_swim_at(n->swim, i, &m);
        v[count] = view_of(n, &m);
        greet(n, &v[count++]);
    }
    for (size_t i = 0; i < k && count < most; i++) {
        if (!slv_swim_find(n->swim, ids[i], &m)) continue;
        m = (struct slv_swim_member){.id = ids[i], .state = SLV_SWIM_DEAD};
        v[count++] = view_of(n, &m);
    }
    return count;
}

/* Where terms follow each other without a leader, answers take longer than elections, whatever it
 * is that they wait for: disks that are slow to sync, here or elsewhere, or processors. So
 * elections take longer, and no longer than they must when a leader has stayed. (That leaders die
 * one after the other is no unrest: each was elected.) */
static void feel_unrest(struct slv_node *n) {
    struct node_strong *g = &n->strong;
    const uint64_t term = slv_strong_term(g->s), age = n->now - g->term_since;
    if (term != g->term) {
        if (g->term && !g->led && age < STAYS_NS) g->unrest_ms = 2 * g->unrest_ms + 40;
        if (g->unrest_ms > UNREST_MOST_MS) g->unrest_ms = UNREST_MOST_MS;
        g->term = term;
        g->term_since = n->now;
        g->led = slv_strong_leader(g->s) != 0;
    } else if (g->unrest_ms && age > CALM_NS) {
        g->unrest_ms /= 2;
        g->term_since = n->now - STAYS_NS;
    }
}

/* The longest round trip to one that votes, and what this node's disk takes, as an election waits
 * for some four syncs; in steps, so that it is not set anew all the time. */
static void keep_pace(struct slv_node *n) {
    uint64_t ids[SLV_STRONG_MEMBERS_MAX];
    const size_t k = slv_strong_members(n->strong.s, ids);
    uint32_t most = 0;
    for (size_t i = 0; i < k; i++) {
        struct slv_swim_member m;
        if (slv_strong_role(n->strong.s, ids[i]) != SLV_STRONG_VOTER ||
            slv_swim_find(n->swim, ids[i], &m) || m.state > SLV_SWIM_SUSPECT)
            continue;
        if (m.rtt_us > most) most = m.rtt_us;
    }
    feel_unrest(n);
    const uint64_t sync_ms = n->sync_ns / MS < SYNC_MOST_MS ? n->sync_ns / MS : SYNC_MOST_MS;
    most = most / 1000 + n->strong.unrest_ms + (uint32_t)(sync_ms * 2 / 3);
    slv_strong_pace(n->strong.s, (most + PACE_MS - 1) / PACE_MS * PACE_MS);
}

/* --- who leads -------------------------------------------------------------------------------- */

/* Whether it was begun; whether it was taken shows in who leads. */
static bool hand_over(struct slv_node *n, uint64_t to) {
    if (slv_strong_transfer(n->strong.s, n->now, to)) return false;
    n->strong.next = n->now;
    node_event(n, SLV_NODE_HANDOVER, to, 0);
    return true;
}

static void begin_window(struct slv_node *n) {
    n->strong.lead.window_at = n->now;
    n->strong.lead.late = 0;
}

/* Time that passed between when this node wanted to be called and when it was. */
static void feel_lateness(struct slv_node *n) {
    if (n->strong.due && n->now > n->strong.due) n->strong.lead.late += n->now - n->strong.due;
}

static void give_way(struct slv_node *n, const struct slv_roles_member *v, size_t k) {
    struct node_lead *l = &n->strong.lead;
    const uint64_t window = n->now - l->window_at;
    if (window < UNWELL_NS) return;
    const bool unwell = l->late > window / UNWELL_PART;
    begin_window(n);
    if (!unwell || n->now < l->unwell_next) return;
    const uint64_t heir = slv_roles_heir(v, k, n->conf.id);
    if (heir && hand_over(n, heir)) l->unwell_next = n->now + UNWELL_REST_NS;
}

void node_roles_asked(struct slv_node *n, uint64_t peer, uint64_t to) {
    struct node_lead *l = &n->strong.lead;
    struct slv_swim_member m;
    const bool may =
        node_may_vote(n, peer) && slv_strong_role(n->strong.s, peer) != SLV_STRONG_GONE;
    if (!may || !slv_strong_leads(n->strong.s) || to == n->conf.id || n->now < l->asked_next ||
        slv_swim_find(n->swim, to, &m) || m.state != SLV_SWIM_ALIVE)
        return;
    if (hand_over(n, to)) l->asked_next = n->now + ASKED_REST_NS;
}

int slv_node_lead(struct slv_node *n, uint64_t now, uint64_t id, uint32_t ms) {
    n->now = now;
    if (!n->strong.started || n->failed || slv_strong_role(n->strong.s, id) != SLV_STRONG_VOTER)
        return SLV_E_USAGE;
    n->strong.lead.to = id;
    n->strong.lead.next = now;
    n->strong.lead.until = now + (uint64_t)ms * MS;
    n->strong.next = now;
    return 0;
}

/* What was asked for here. */
static uint64_t tick_lead(struct slv_node *n) {
    struct node_lead *l = &n->strong.lead;
    const uint64_t leader = slv_strong_leader(n->strong.s);
    if (!l->to || leader == l->to || n->now >= l->until) {
        l->to = 0;
        return UINT64_MAX;
    }
    if (n->now < l->next) return l->next;
    l->next = n->now + LEAD_AGAIN_NS;
    if (leader == n->conf.id) node_roles_asked(n, n->conf.id, l->to);
    else if (leader) node_strong_ask_lead(n, leader, l->to);
    return l->next;
}

/* --- time ------------------------------------------------------------------------------------- */

void node_roles_ready(struct slv_node *n, uint64_t peer) {
    struct node_ready *r = slv_strong_leads(n->strong.s) ? ready_of(n, peer, true) : NULL;
    if (!r) return;
    r->at = n->now;
    n->strong.policy_next = n->now;
}

/* What it said before it lost its records counts no more: it would be put in before it can be told
 * that it is out. */
void node_roles_hurt(struct slv_node *n, uint64_t peer) {
    struct node_ready *r = ready_of(n, peer, false);
    if (r) r->at = 0;
}

static void tick_leader(struct slv_node *n) {
    const struct slv_roles_conf c = {
        .voters = n->conf.voters ? n->conf.voters : 5,
        .most = GROUP_MOST,
        .dead_ms = n->conf.dead_ms ? n->conf.dead_ms : DEAD_MS,
        .gone_ms = GONE_MS,
    };
    const size_t most = slv_swim_count(n->swim) + SLV_STRONG_MEMBERS_MAX;
    uint64_t id;
    enum slv_strong_role role;
    struct slv_roles_member *v = slv_mem_calloc(most, sizeof *v);
    if (!v) return;
    const size_t k = look_at_all(n, v, most);
    give_way(n, v, k);
    if (!n->strong.change && slv_roles_next(&c, v, k, n->conf.id, &id, &role) &&
        slv_strong_member(n->strong.s, n->now, id, role, &n->strong.change))
        n->strong.change = 0;
    slv_mem_free(v);
}

uint64_t node_roles_tick(struct slv_node *n) {
    feel_lateness(n);
    if (n->now >= n->strong.policy_next) {
        n->strong.policy_next = n->now + POLICY_NS;
        keep_pace(n);
        if (slv_strong_leads(n->strong.s)) tick_leader(n);
        else begin_window(n);
    }
    const uint64_t next = tick_lead(n);
    return next < n->strong.policy_next ? next : n->strong.policy_next;
}
