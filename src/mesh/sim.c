/* sim.c: see sim.h. Time, nodes, writes, the run. */
#include "mesh/sim_int.h"
#include "base/mem.h"
#include "mesh/doc.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#define FOR_MS 20000u
#define CHECK_NS (1000 * MS)
#define WRITE_NS (120 * MS) /* on average, of all nodes together */
#define EVENTS_MAX 50000000u
#define PEER_RATE 65536u /* bytes a second, at every other node */

static const char *const fault_names[SLV_SIM_FAULTS] = {
    "loss", "delay", "double", "split",  "one-way", "crash", "clock", "slow",
    "full", "flip",  "lie",    "narrow", "traitor", "churn", "lost",
};

const char *slv_sim_fault_name(unsigned i) { return i < SLV_SIM_FAULTS ? fault_names[i] : NULL; }

/* --- small things ----------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood, 2014). */
static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t sim_random(struct sim *s, uint64_t below) { return draw(&s->random) % below; }

void sim_trace(struct sim *s, const char *fmt, ...) {
    char line[256];
    va_list ap;
    if (!s->conf.trace) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    s->conf.trace(s->conf.ctx, s->now / MS, line);
}

void sim_fail(struct sim *s, const char *fmt, ...) {
    va_list ap;
    if (s->failed) return;
    s->failed = true;
    va_start(ap, fmt);
    vsnprintf(s->result->why, sizeof s->result->why, fmt, ap);
    va_end(ap);
    sim_trace(s, "FAILED: %s", s->result->why);
}

struct sim_bytes sim_dup(struct sim *s, struct slv_str bytes) {
    struct sim_bytes b = {slv_mem_strndup(bytes.p, bytes.n), bytes.n};
    if (!b.p) {
        s->no_memory = true;
        b.n = 0;
    }
    return b;
}

bool sim_room(struct sim *s, void **p, size_t n, size_t *room, size_t size) {
    if (!slv_mem_grow(p, n, room, size, EVENTS_MAX)) return true;
    s->no_memory = true;
    return false;
}

/* Ids are spread, and in the order of the indices. */
static uint64_t id_of(unsigned index) { return (uint64_t)(index + 1) << 48 | 0x5eed; }

struct sim_node *sim_by_id(struct sim *s, uint64_t id) {
    const uint64_t index = (id >> 48) - 1;
    return index < s->n && s->node[index].id == id ? &s->node[index] : NULL;
}

bool sim_suffers(const struct sim *s, const struct sim_node *n, enum slv_sim_fault f) {
    return s->faults & f && !(s->is_calm && n->is_core);
}

/* --- what is to come: a heap, the earliest first, of two at once the one that was put first --- */

static bool is_before(const struct sim_pending *a, const struct sim_pending *b) {
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_push(struct sim *s, struct sim_pending e) {
    void *p = s->event;
    const bool room = sim_room(s, &p, s->n_event, &s->room_event, sizeof *s->event);
    s->event = p;
    if (!room) {
        slv_mem_free(e.bytes.p);
        return;
    }
    e.seq = s->seq++;
    size_t i = s->n_event++;
    for (; i && is_before(&e, &s->event[(i - 1) / 2]); i = (i - 1) / 2)
        s->event[i] = s->event[(i - 1) / 2];
    s->event[i] = e;
}

static struct sim_pending pop(struct sim *s) {
    const struct sim_pending first = s->event[0], last = s->event[--s->n_event];
    size_t i = 0, k;
    while ((k = 2 * i + 1) < s->n_event) {
        if (k + 1 < s->n_event && is_before(&s->event[k + 1], &s->event[k])) k++;
        if (!is_before(&s->event[k], &last)) break;
        s->event[i] = s->event[k];
        i = k;
    }
    if (s->n_event) s->event[i] = last;
    return first;
}

/* --- a node's world --------------------------------------------------------------------------- */

static uint64_t clock_at(const struct sim_node *n, uint64_t at) {
    return at + (uint64_t)((int64_t)at * n->drift_ppm / 1000000);
}

uint64_t sim_clock(const struct sim_node *n) { return clock_at(n, n->sim->now); }

/* When this node's clock will show it. */
static uint64_t time_of(const struct sim_node *n, uint64_t shown) {
    if (shown == UINT64_MAX) return shown;
    uint64_t at = shown - (uint64_t)((int64_t)shown * n->drift_ppm / 1000000);
    while (clock_at(n, at) < shown)
        at++;
    return at > n->sim->now ? at : n->sim->now + 1;
}

static uint64_t wall_ns(void *ctx) {
    const struct sim_node *n = ctx;
    return SIM_WALL + sim_clock(n) + (uint64_t)n->clock_off;
}

uint64_t sim_wall_ms(const struct sim_node *n) {
    struct sim_node copy = *n; /* (a clock's context is not const) */
    return wall_ns(&copy) / MS;
}

static uint64_t mono_ns(void *ctx) { return sim_clock(ctx); }

/* What a node signs it alone can: the simulator gives it no other's id. */
static void make_sig(uint64_t id, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    uint8_t key[16] = "sim";
    memcpy(key + 8, &id, sizeof id);
    crypto_generichash(ret, SLV_BATCH_SIG, (const uint8_t *)bytes.p, bytes.n, key, sizeof key);
}

static int sign(void *ctx, struct slv_str bytes, uint8_t ret[SLV_BATCH_SIG]) {
    make_sig(((struct sim_node *)ctx)->id, bytes, ret);
    return 0;
}

static bool check(void *ctx, uint64_t node, struct slv_str bytes,
                  const uint8_t sig[SLV_BATCH_SIG]) {
    uint8_t want[SLV_BATCH_SIG];
    if (!sim_by_id(((struct sim_node *)ctx)->sim, node)) return false;
    make_sig(node, bytes, want);
    return !memcmp(want, sig, sizeof want);
}

static uint64_t random_of(void *ctx) { return draw(&((struct sim_node *)ctx)->sim->random); }

static bool may_write(void *ctx, uint64_t node, uint64_t space, struct slv_str key) {
    (void)space, (void)key;
    return sim_by_id(((struct sim_node *)ctx)->sim, node) != NULL;
}

static bool may_repair(void *ctx, uint64_t node, uint64_t space) {
    return may_write(ctx, node, space, (struct slv_str){"", 0});
}

static bool may_join(void *ctx, uint64_t node) {
    return sim_by_id(((struct sim_node *)ctx)->sim, node) != NULL;
}

/* Those that are gone for good are listed no longer. */
static bool member(void *ctx, size_t i, uint64_t *ret) {
    const struct sim *s = ((struct sim_node *)ctx)->sim;
    size_t k = 0;
    for (unsigned x = 0; x < s->n; x++) {
        if (s->node[x].role == SIM_GONE || k++ < i) continue;
        *ret = s->node[x].id;
        return true;
    }
    return false;
}

static void on_event(void *ctx, enum slv_node_event e, uint64_t id, int state) {
    static const char *const states[] = {"alive", "suspect", "dead", "gone", "removed"};
    struct sim_node *n = ctx;
    struct sim *s = n->sim;
    const struct sim_node *of = sim_by_id(s, id);
    const unsigned whom = of ? of->index : 0;
    switch (e) {
    case SLV_NODE_MEMBER:
        sim_trace(s, "node %u takes node %u for %s", n->index, whom, states[state]);
        break;
    case SLV_NODE_ISOLATED:
        sim_trace(s, "node %u is %s", n->index, state ? "on its own" : "no longer on its own");
        break;
    case SLV_NODE_TWO_FACED:
        sim_trace(s, "node %u has two things signed by node %u as one", n->index, whom);
        break;
    case SLV_NODE_FAILED:
        sim_trace(s, "the store of node %u fails", n->index);
        break;
    case SLV_NODE_REFOUNDED:
        sim_trace(s, "node %u makes a group of its copy", n->index);
        break;
    case SLV_NODE_OVERTAKEN:
        sim_trace(s, "node %u finds writes of its own that it has lost", n->index);
        n->is_fresh = true;
        break;
    case SLV_NODE_LEADER:
        if (of) sim_trace(s, "node %u takes node %u for the leader", n->index, whom);
        else sim_trace(s, "node %u knows of no leader", n->index);
        break;
    case SLV_NODE_RIVAL:
        sim_trace(s, "node %u hears of another group, led by node %u", n->index, whom);
        break;
    case SLV_NODE_HANDOVER:
        sim_trace(s, "node %u hands over to node %u", n->index, whom);
        break;
    case SLV_NODE_ROSTER:
        sim_trace(s, "node %u hears of node %u: statement of kind %d", n->index, whom, state);
        break;
    case SLV_NODE_ATTESTED: /* (no statement here has a condition, */
    case SLV_NODE_UNSHARED:
    case SLV_NODE_OTHERWISE: /* and all declare the same) */
        break;
    case SLV_NODE_DAMAGED:
        sim_trace(s, "node %u hears that node %u has lost its log", n->index, whom);
        break;
    }
}

static void on_published(void *ctx, const struct slv_batch *b) {
    struct sim_node *n = ctx;
    sim_check_published(n, b);
    if (n->role == SIM_TRAITOR) sim_fault_betray(n, b);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum slv_mesh_type type;
    bool causal;
} spaces[SIM_SPACES] = {
    {"tags", SLV_TYPE_SET, false},
    {"hits", SLV_TYPE_COUNTER, true},
    {"settings", SLV_TYPE_LAST, false},
    {"notes", SLV_TYPE_DOC, true},
};

static int open_node(struct sim_node *n) {
    struct sim *s = n->sim;
    const struct slv_node_conf c = {
        .id = n->id,
        .clock = &n->clock,
        .trust = &n->trust,
        .world = {.send = sim_net_datagram,
                  .connect = sim_net_connect,
                  .disconnect = sim_net_disconnect,
                  .put = sim_disk_put,
                  .del = sim_disk_del,
                  .commit = sim_disk_commit,
                  .random = random_of,
                  .may_write = may_write,
                  .may_repair = may_repair,
                  .may_join = may_join,
                  .member = member,
                  .event = on_event,
                  .answer = sim_strong_answer,
                  .published = on_published,
                  .ctx = n},
        .record = {"somewhere", 9},
        .link = {.mtu_min = 475, .mtu_max = 1300},
        .group_log = s->log_max,
        .dead_ms = 3000,
        .peer_rate = n->id % 2 ? s->peer_rate : 0,
    };
    size_t agreed;
    int rc = slv_node_open(&c, &n->node);
    for (size_t i = 0; i < SIM_SPACES && !rc; i++) {
        const struct slv_space_conf space = {
            .name = {spaces[i].name, strlen(spaces[i].name)},
            .type = spaces[i].type,
            .causal = spaces[i].causal,
            .ttl_ms = i ? 0 : s->ttl_ms,
            /* (of every other one, at every other node) */
            .history_ms = (i + n->id) % 2 && i && slv_mesh_type_reverts(spaces[i].type) ? 20000 : 0,
            .history_max = 256u << 10,
            .log_max = s->log_max,
            .waiting_max = 64u << 10,
        };
        rc = slv_node_space(n->node, &space, &n->space[i]);
    }
    if (!rc) rc = slv_node_agreed(n->node, (struct slv_str){"agreed", 6}, &agreed);
    return rc;
}

/* One or two that all know. */
static int add_seeds(struct sim_node *n) {
    struct sim *s = n->sim;
    int rc = 0;
    for (unsigned i = 0; i < 2 && i < s->n && !rc; i++)
        if (i != n->index) rc = slv_node_seed(n->node, sim_clock(n), s->node[i].id);
    return rc;
}

void sim_start(struct sim_node *n) {
    struct sim *s = n->sim;
    bool damaged = false;
    n->up_at = UINT64_MAX;
    n->life++;
    n->tick_at = UINT64_MAX;
    n->disk.full = false;
    int rc = open_node(n);
    if (!rc) rc = sim_disk_load(n, &damaged);
    if (!rc) rc = slv_node_start(n->node, sim_clock(n), damaged, n->is_fresh);
    n->is_fresh = false;
    if (!rc) rc = add_seeds(n);
    if (!rc && !n->index && !s->is_founded && !slv_node_group(n->node))
        rc = slv_node_found(n->node, sim_clock(n), SLV_FOUND_ANEW);
    sim_trace(s, "node %u starts%s", n->index, damaged ? ", with a damaged store" : "");
    if (rc == SLV_E_NOMEM) s->no_memory = true;
    else if (rc) sim_fail(s, "node %u does not start: %d", n->index, rc);
    if (!rc) sim_check_started(n);
    if (!rc) sim_schedule(n);
}

void sim_stop(struct sim_node *n) {
    slv_node_close(n->node);
    n->node = NULL;
    n->life++;
    sim_disk_crash(n);
    sim_net_forget(n);
    sim_check_crashed(n);
    sim_strong_crashed(n);
    n->sim->result->crashes++;
}

/* Lets a node do what is due, and comes again when it asks for it. */
void sim_schedule(struct sim_node *n) {
    struct sim *s = n->sim;
    if (!n->node) return;
    if (slv_node_failed(n->node)) {
        sim_stop(n);
        n->up_at = s->now + 50 * MS + sim_random(s, 500 * MS);
        sim_push(s, (struct sim_pending){.at = n->up_at, .what = SIM_TICK, .to = n->index});
        return;
    }
    const uint64_t next = time_of(n, slv_node_tick(n->node, sim_clock(n)));
    if (slv_node_failed(n->node)) {
        sim_schedule(n);
        return;
    }
    if (next >= n->tick_at && n->tick_at > s->now) return;
    n->tick_at = next;
    if (next != UINT64_MAX)
        sim_push(
            s, (struct sim_pending){.at = next, .what = SIM_TICK, .to = n->index, .tag = n->life});
}

/* --- writes ----------------------------------------------------------------------------------- */

static int make_write(struct sim *s, enum slv_mesh_type type, struct slv_draft *d) {
    char value[24], pointer[16];
    snprintf(value, sizeof value, "v%u", (unsigned)sim_random(s, 12));
    const struct slv_str v = {value, strlen(value)};
    switch ((int)type) {
    case SLV_TYPE_SET:
        return sim_chance(s, 650000) ? slv_draft_add(d, v) : slv_draft_drop(d, v);
    case SLV_TYPE_COUNTER:
        return slv_draft_count(d, (int64_t)sim_random(s, 20) - 9);
    case SLV_TYPE_DOC:
        snprintf(pointer, sizeof pointer, "/n%u", (unsigned)sim_random(s, 4));
        return slv_doc_count(d, (struct slv_str){pointer, strlen(pointer)}, 1);
    default:
        return sim_chance(s, 850000) ? slv_draft_assign(d, v) : slv_draft_delete(d);
    }
}

static void write_once(struct sim_node *n) {
    struct sim *s = n->sim;
    const size_t i = sim_random(s, SIM_SPACES);
    char key[8];
    struct slv_draft d;
    uint64_t ticket;
    snprintf(key, sizeof key, "k%u", (unsigned)sim_random(s, 9));
    if (slv_node_draft(n->node, n->space[i], (struct slv_str){key, strlen(key)}, &d)) return;
    int rc = make_write(s, spaces[i].type, &d);
    if (!rc) rc = slv_node_write(n->node, n->space[i], &d, &ticket);
    if (!rc) {
        s->result->writes++;
        sim_check_wrote(n, i);
    }
    slv_draft_close(&d);
}

/* Some node writes, now and then a lot at once. */
static void on_write(struct sim *s) {
    struct sim_node *n = &s->node[sim_random(s, s->n)];
    if (s->is_calm) return;
    if (n->node && !slv_node_failed(n->node) && s->now >= n->stuck_until && !n->far_until) {
        for (uint64_t k = sim_chance(s, 30000) ? 40 : 1; k > 0; k--)
            write_once(n);
        sim_strong_ask(n);
        sim_schedule(n);
    }
    sim_push(
        s, (struct sim_pending){.at = s->now + 1 + sim_random(s, 2 * WRITE_NS), .what = SIM_WRITE});
}

/* --- a run ------------------------------------------------------------------------------------ */

static void on_check(struct sim *s) {
    sim_check_always(s);
    sim_strong_always(s);
    sim_push(s, (struct sim_pending){.at = s->now + CHECK_NS, .what = SIM_CHECK});
}

static void on_tick(struct sim *s, const struct sim_pending *e) {
    struct sim_node *n = &s->node[e->to];
    if (!n->node && n->up_at <= s->now) sim_start(n);
    if (!n->node || (e->tag && e->tag != n->life)) return;
    if (n->tick_at <= s->now) n->tick_at = UINT64_MAX;
    sim_schedule(n);
}

static void happen(struct sim *s, struct sim_pending *e) {
    struct sim_node *n = &s->node[e->to];
    switch (e->what) {
    case SIM_WRITE:
        on_write(s);
        return;
    case SIM_CHECK:
        on_check(s);
        return;
    case SIM_FAULT:
        sim_fault_happen(s);
        return;
    case SIM_TICK:
        on_tick(s, e);
        return;
    case SIM_SYNCED:
        if (!n->node || e->tag != n->life) return;
        sim_disk_synced(n);
        slv_node_synced(n->node, sim_clock(n));
        break;
    case SIM_DATAGRAM:
    case SIM_HELLO:
    case SIM_WELCOME:
    case SIM_CONFIRM:
        sim_net_arrive(s, e);
        break;
    }
    sim_schedule(n);
}

static void note(struct sim *s, uint64_t v) {
    uint64_t *d = &s->result->digest;
    *d = (*d ^ v) * 0x100000001b3u;
    *d ^= *d >> 29;
}

/* The next event, or the same later where its node is stuck. */
void sim_step(struct sim *s) {
    struct sim_pending e = pop(s);
    const struct sim_node *n = &s->node[e.to];
    const bool is_own = e.what != SIM_FAULT && e.what != SIM_WRITE && e.what != SIM_CHECK;
    s->now = e.at;
    if (is_own && n->stuck_until > s->now) {
        e.at = n->stuck_until;
        sim_push(s, e);
        return;
    }
    s->result->events++;
    note(s, s->now);
    note(s, (uint64_t)e.what << 40 | (uint64_t)e.from << 20 | e.to);
    note(s, e.bytes.n);
    happen(s, &e);
    slv_mem_free(e.bytes.p);
}

static bool goes_on(const struct sim *s) {
    return s->n_event && !s->failed && !s->no_memory && s->result->events < EVENTS_MAX;
}

static void run(struct sim *s) {
    while (goes_on(s) && s->event[0].at < s->faults_end)
        sim_step(s);
    if (!goes_on(s)) return;
    sim_fault_end(s);
    sim_strong_calm(s);
    uint64_t look = s->now;
    const uint64_t end = s->faults_end + SLV_SIM_BOUND_MS * MS;
    bool agreed = false;
    while (goes_on(s) && !agreed && s->event[0].at < end) {
        sim_step(s);
        if (s->now < look) continue;
        look = s->now + 20 * MS;
        agreed = sim_check_agreed(s) && sim_strong_agreed(s);
    }
    if (s->failed || s->no_memory) return;
    s->result->agreed_ms = (s->now - s->faults_end) / MS;
    if (!agreed) {
        sim_check_tell(s);
        sim_strong_tell(s);
        sim_fail(s, "the core does not agree after %u s", SLV_SIM_BOUND_MS / 1000);
    }
    sim_check_always(s);
    if (agreed) sim_check_truth(s);
    sim_strong_truth(s);
}

static void count_retired(struct sim *s) {
    for (unsigned i = 0; i < s->n; i++) {
        const size_t n = s->node[i].node ? slv_node_retired(s->node[i].node)->n : 0;
        if (n > s->result->retired) s->result->retired = n;
    }
}

/* (Not of the seed's own numbers: what else a seed does is the same with a time to live.) */
static uint64_t draw_ttl_ms(uint64_t seed) {
    uint64_t state = seed ^ 0x74696d65746f6c69u;
    return draw(&state) % 2 ? 3000 + draw(&state) % 5000 : 0;
}

bool sim_open(struct sim *s) {
    s->n = s->conf.nodes;
    s->node = slv_mem_calloc(s->n, sizeof *s->node);
    if (!s->node || !sim_net_open(s)) return false;
    for (unsigned i = 0; i < s->n; i++) {
        struct sim_node *n = &s->node[i];
        *n = (struct sim_node){.sim = s, .index = i, .id = id_of(i), .tick_at = UINT64_MAX};
        n->clock = (struct slv_clock){mono_ns, wall_ns, n};
        n->trust = (struct slv_mesh_trust){sign, check, n};
        n->up_at = 1 + sim_random(s, 200 * MS);
        sim_push(s, (struct sim_pending){.at = n->up_at, .what = SIM_TICK, .to = i});
    }
    return true;
}

void sim_close(struct sim *s) {
    for (unsigned i = 0; i < s->n && s->node; i++) {
        slv_node_close(s->node[i].node);
        sim_disk_close(&s->node[i].disk);
    }
    while (s->n_event)
        slv_mem_free(s->event[--s->n_event].bytes.p);
    slv_mem_free(s->event);
    sim_check_close(s);
    sim_strong_close(s);
    sim_net_close(s);
    slv_mem_free(s->node);
}

int slv_sim_run(const struct slv_sim_conf *conf, struct slv_sim_result *ret) {
    struct slv_sim_result result = {0};
    struct sim s = {
        .conf = *conf, .result = &result, .random = conf->seed, .now = 1, .peer_rate = PEER_RATE};
    if (conf->nodes < SLV_SIM_NODES_MIN || conf->nodes > SLV_SIM_NODES_MAX) return SLV_E_USAGE;
    s.ttl_ms = draw_ttl_ms(conf->seed);
    s.faults_end = (conf->for_ms ? conf->for_ms : FOR_MS) * MS;
    if (sim_open(&s)) {
        sim_fault_draw(&s);
        result.faults = s.faults;
        sim_push(&s, (struct sim_pending){.at = 1, .what = SIM_WRITE});
        sim_push(&s, (struct sim_pending){.at = CHECK_NS, .what = SIM_CHECK});
        run(&s);
        count_retired(&s);
    } else {
        s.no_memory = true;
    }
    result.virtual_ms = s.now / MS;
    result.held = !s.failed;
    sim_close(&s);
    if (s.no_memory) return SLV_E_NOMEM;
    *ret = result;
    return 0;
}

/* --- making a failure small ------------------------------------------------------------------- */

static int fails(const struct slv_sim_conf *c, bool *ret, struct slv_sim_result *result) {
    struct slv_sim_result r;
    const int rc = slv_sim_run(c, &r);
    if (rc) return rc;
    *ret = !r.held;
    if (!r.held) *result = r;
    return 0;
}

int slv_sim_minimize(const struct slv_sim_conf *conf, struct slv_sim_conf *ret,
                     struct slv_sim_result *ret_result) {
    struct slv_sim_conf best = *conf, c;
    bool bad = false;
    best.trace = NULL;
    int rc = fails(&best, &bad, ret_result);
    if (rc || !bad) return rc ? rc : SLV_E_USAGE;
    best.faults = ret_result->faults;
    best.exact = true;
    for (unsigned i = 0; i < SLV_SIM_FAULTS && !rc; i++) {
        c = best;
        c.faults &= ~(1u << i);
        if (c.faults == best.faults) continue;
        rc = fails(&c, &bad, ret_result);
        if (!rc && bad) best = c;
    }
    for (bool smaller = true; smaller && !rc && best.nodes > SLV_SIM_NODES_MIN;) {
        c = best;
        c.nodes--;
        rc = fails(&c, &bad, ret_result);
        smaller = !rc && bad;
        if (smaller) best = c;
    }
    for (bool shorter = true; shorter && !rc;) {
        c = best;
        c.for_ms = (c.for_ms ? c.for_ms : FOR_MS) / 2;
        if (c.for_ms < 500) break;
        rc = fails(&c, &bad, ret_result);
        shorter = !rc && bad;
        if (shorter) best = c;
    }
    *ret = best;
    return rc;
}
