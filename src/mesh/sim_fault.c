/* sim_fault.c: see sim_int.h. */
#include "mesh/sim_int.h"
#include "mesh/node_int.h"

#define GAP_NS (900 * MS) /* between two faults, on average */

/* Some time before the faults end. */
static void joins_late(struct sim_node *n) {
    struct sim *s = n->sim;
    n->up_at = 1 + sim_random(s, s->faults_end);
    sim_push(s, (struct sim_pending){.at = n->up_at, .what = SIM_TICK, .to = n->index});
}

/* --- what a seed has -------------------------------------------------------------------------- */

void sim_fault_draw(struct sim *s) {
    struct sim_net *w = &s->net;
    const unsigned drawn = (unsigned)sim_random(s, SLV_SIM_ALL + 1u);
    /* Some kinds are rarer, as with them less can be said. */
    const unsigned rare =
        SLV_SIM_LIE | SLV_SIM_TRAITOR | SLV_SIM_FLIP | SLV_SIM_NARROW | SLV_SIM_LOST;
    s->faults = drawn & (sim_chance(s, 600000) ? ~rare : ~0u) & s->conf.faults;
    if (s->conf.exact) s->faults = s->conf.faults;
    s->log_max = sim_chance(s, 500000) ? 3000 : (size_t)1 << 20;
    s->sync_ns = sim_random(s, 3) ? 2 * MS : sim_random(s, 400 * MS) + 1;
    w->delay = sim_random(s, 3) ? sim_random(s, 20 * MS) : sim_random(s, 250 * MS);
    w->jitter = sim_random(s, 2 * w->delay + MS);
    w->loss_ppm = (uint32_t)sim_random(s, 330000);
    w->double_ppm = (uint32_t)sim_random(s, 100000);
    w->rate = 4000 + sim_random(s, 30000);
    w->mtu = 560 + sim_random(s, 500);
    for (unsigned i = 0; i < s->n; i++) {
        struct sim_node *n = &s->node[i];
        const int64_t off = (int64_t)sim_random(s, 3000 * MS) - (int64_t)(1500 * MS);
        const int64_t drift = (int64_t)sim_random(s, 2 * SIM_CLOCK_PPM) - SIM_CLOCK_PPM;
        if (!(s->faults & SLV_SIM_CLOCK)) continue;
        n->clock_off = off;
        n->drift_ppm = drift;
    }
    for (unsigned i = 2; i < s->n && s->faults & SLV_SIM_CHURN; i++)
        if (sim_chance(s, 300000)) joins_late(&s->node[i]);
    if (s->faults & SLV_SIM_TRAITOR && s->n > 2) s->node[s->n - 1].role = SIM_TRAITOR;
    sim_push(s, (struct sim_pending){.at = 1 + sim_random(s, GAP_NS), .what = SIM_FAULT});
}

/* --- one after the other ---------------------------------------------------------------------- */

static void crash(struct sim_node *n, uint64_t most) {
    struct sim *s = n->sim;
    if (!n->node) return;
    sim_trace(s, "node %u crashes", n->index);
    sim_stop(n);
    n->up_at = s->now + 20 * MS + sim_random(s, most);
    sim_push(s, (struct sim_pending){.at = n->up_at, .what = SIM_TICK, .to = n->index});
}

static void split(struct sim *s) {
    s->net.is_split = !s->net.is_split;
    for (unsigned i = 0; i < s->n; i++)
        s->node[i].group = (unsigned)sim_random(s, 2);
    s->net.bridge = sim_chance(s, 300000) ? (unsigned)sim_random(s, s->n) : s->n;
    sim_trace(s, s->net.is_split ? "the network is split" : "the network is whole");
}

static void one_way(struct sim *s) {
    const unsigned from = (unsigned)sim_random(s, s->n), to = (unsigned)sim_random(s, s->n);
    bool *b = &s->net.blocked[(size_t)from * s->n + to];
    *b = !*b;
    sim_trace(s, "node %u is %s by node %u", from, *b ? "no longer heard" : "heard", to);
}

static void excuse(struct sim_node *n, uint64_t until) {
    if (until > n->late_until) n->late_until = until;
}

static void clock_jumps(struct sim_node *n) {
    n->clock_off = (int64_t)sim_random(n->sim, 2 * SIM_CLOCK_OFF) - (int64_t)SIM_CLOCK_OFF;
    n->far_until = 0;
    excuse(n, n->sim->now + 2000 * MS);
    sim_trace(n->sim, "the clock of node %u jumps to %+d ms", n->index,
              (int)(n->clock_off / (int64_t)MS));
}

/* For a while a clock is wrong by more than may be. (It does not write then: that nobody would take
 * its stamps before their time comes is the same with and without a time to live.) */
static void clock_is_far(struct sim_node *n) {
    struct sim *s = n->sim;
    n->clock_off = (int64_t)(10000 * MS + sim_random(s, 30000 * MS));
    n->far_until = s->now + 300 * MS + sim_random(s, 2000 * MS);
    n->was_far = true;
    excuse(n, s->now + 2000 * MS);
    sim_trace(s, "the clock of node %u is far ahead", n->index);
}

static void far_clocks_end(struct sim *s) {
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].far_until && (s->is_calm || s->node[i].far_until <= s->now))
            clock_jumps(&s->node[i]);
}

static void sticks(struct sim_node *n) {
    n->stuck_until = n->sim->now + 100 * MS + sim_random(n->sim, 2500 * MS);
    excuse(n, n->stuck_until);
    sim_trace(n->sim, "node %u is stuck", n->index);
}

static void fills(struct sim_node *n) {
    n->disk.full = true;
    sim_trace(n->sim, "the disk of node %u is full", n->index);
}

static void flips(struct sim_node *n) {
    crash(n, 3000 * MS);
    sim_disk_flip(n);
}

static void lies(struct sim_node *n) {
    crash(n, 3000 * MS);
    sim_disk_lie(n);
    sim_trace(n->sim, "the disk of node %u forgets", n->index);
}

/* (Not of who has just founded the group: that is done once, and would be done again.) */
static void loses(struct sim_node *n) {
    const bool founds = !n->index && !n->sim->is_founded;
    if (!sim_chance(n->sim, 300000) || !n->node || founds) return;
    crash(n, 3000 * MS);
    sim_disk_lose(n);
    sim_check_lost(n);
    sim_trace(n->sim, "the disk of node %u is lost", n->index);
}

/* For good. Those by whom others are found stay. */
static void leaves(struct sim_node *n) {
    if (n->index < 2 || !n->node || n->sim->n < 4) return;
    sim_trace(n->sim, "node %u is gone", n->index);
    sim_stop(n);
    n->role = SIM_GONE;
    n->up_at = UINT64_MAX;
}

static void befall(struct sim_node *n, enum slv_sim_fault f) {
    struct sim *s = n->sim;
    switch ((unsigned)f) {
    case SLV_SIM_SPLIT:
        split(s);
        break;
    case SLV_SIM_ONE_WAY:
        one_way(s);
        break;
    case SLV_SIM_CRASH:
        crash(n, 6000 * MS);
        break;
    case SLV_SIM_CLOCK:
        if (s->ttl_ms && sim_chance(s, 250000)) clock_is_far(n);
        else clock_jumps(n);
        break;
    case SLV_SIM_SLOW:
        sticks(n);
        break;
    case SLV_SIM_FULL:
        fills(n);
        break;
    case SLV_SIM_FLIP:
        flips(n);
        break;
    case SLV_SIM_LIE:
        lies(n);
        break;
    case SLV_SIM_LOST:
        loses(n);
        break;
    case SLV_SIM_CHURN:
        if (sim_chance(s, 250000)) leaves(n);
        break;
    default:
        break; /* of the network's, all the time */
    }
}

/* Who leads the group is worth hitting more often. */
static struct sim_node *victim(struct sim *s) {
    struct sim_node *n = &s->node[sim_random(s, s->n)];
    if (!sim_chance(s, 250000)) return n;
    for (unsigned i = 0; i < s->n; i++)
        if (sim_strong_leads(&s->node[i])) return &s->node[i];
    return n;
}

void sim_fault_happen(struct sim *s) {
    far_clocks_end(s);
    struct sim_node *n = victim(s);
    const enum slv_sim_fault f = (enum slv_sim_fault)(1u << sim_random(s, SLV_SIM_FAULTS));
    if (n->role != SIM_GONE && sim_suffers(s, n, f)) befall(n, f);
    sim_push(s,
             (struct sim_pending){.at = s->now + 1 + sim_random(s, GAP_NS / 2), .what = SIM_FAULT});
}

/* --- the end of it ---------------------------------------------------------------------------- */

static void is_well(struct sim_node *n) {
    struct sim *s = n->sim;
    n->stuck_until = 0;
    n->disk.full = false;
    if (n->node) return;
    n->up_at = s->now;
    sim_start(n);
}

void sim_fault_end(struct sim *s) {
    const bool all = sim_chance(s, 500000);
    unsigned k = 0;
    s->now = s->faults_end;
    for (unsigned i = 0; i < s->n; i++) {
        struct sim_node *n = &s->node[i];
        n->is_core = n->role == SIM_MEMBER && (all || i < 2 || sim_chance(s, 700000));
        k += n->is_core;
    }
    s->is_calm = true;
    far_clocks_end(s);
    sim_trace(s, "%u of %u nodes suffer no more", k, s->n);
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].is_core) is_well(&s->node[i]);
}

/* --- traitors --------------------------------------------------------------------------------- */

/* A second version of what it published, with the same numbers, to some. */
static void tell_otherwise(struct sim_node *n, const struct slv_batch *b) {
    struct sim *s = n->sim;
    struct slv_buf m, ops;
    struct slv_batch_walk w = slv_batch_walk_of(b);
    struct slv_op op = {0};
    slv_buf_init(&ops, SLV_BATCH_OPS_MAX);
    while (!slv_batch_next(&w, &op)) {
        if (op.n) op.entry[0].data = (struct slv_str){"?", sim_random(s, 2)};
        slv_op_write(&op, &ops);
        slv_op_fini(&op);
    }
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, SLV_MSG_BATCH);
    slv_write_id(&m, b->head.space);
    if (ops.len && !slv_batch_write(&b->head, (struct slv_str){ops.data, ops.len}, &n->trust, &m))
        for (unsigned i = 0; i < s->n; i++)
            if (i != n->index && sim_chance(s, 500000) &&
                node_message(n->node, s->node[i].id, SLV_LANE_URGENT,
                             (struct slv_str){m.data, m.len}))
                break;
    slv_buf_fini(&m);
    slv_buf_fini(&ops);
}

/* Rubbish that begins like a message. */
static void tell_rubbish(struct sim_node *n, const struct slv_batch *b) {
    struct sim *s = n->sim;
    struct slv_buf m;
    const struct sim_node *to = &s->node[sim_random(s, s->n)];
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, (char)(1 + sim_random(s, MSG_RETIRED_ASK)));
    slv_write_id(&m, b->head.space);
    slv_buf_add(&m, b->bytes.p, b->bytes.n);
    for (uint64_t k = 1 + sim_random(s, 4); k > 0 && !m.status; k--)
        m.data[9 + sim_random(s, m.len - 9)] = (char)sim_random(s, 256);
    if (!m.status && to != n &&
        node_message(n->node, to->id, SLV_LANE_REPAIR, (struct slv_str){m.data, m.len}))
        sim_trace(s, "node %u cannot tell rubbish", n->index);
    slv_buf_fini(&m);
}

/* What somebody published before, once more. */
static void tell_old(struct sim_node *n) {
    struct sim *s = n->sim;
    const struct sim_batch *old = &s->batch[sim_random(s, s->n_batch)];
    const struct sim_node *to = &s->node[sim_random(s, s->n)];
    struct slv_buf m;
    slv_buf_init(&m, SLV_MESSAGE_MAX);
    slv_buf_addc(&m, SLV_MSG_BATCH);
    slv_write_id(&m, old->batch.head.space);
    slv_buf_add(&m, old->bytes.p, old->bytes.n);
    if (!m.status && to != n &&
        node_message(n->node, to->id, SLV_LANE_URGENT, (struct slv_str){m.data, m.len}))
        sim_trace(s, "node %u cannot tell old things", n->index);
    slv_buf_fini(&m);
}

void sim_fault_betray(struct sim_node *n, const struct slv_batch *b) {
    struct sim *s = n->sim;
    if (s->is_calm) return;
    if (sim_chance(s, 500000)) tell_otherwise(n, b);
    if (sim_chance(s, 700000)) tell_rubbish(n, b);
    if (sim_chance(s, 300000) && s->n_batch) tell_old(n);
}
