/* sim_strong.c: see sim_int.h. Nodes read, write, compare and lock keys of a strong space; of what
 * they were told it is asked whether it could be so if there were one copy (linear.h). */
#include "mesh/sim_int.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>

#define KEYS 4u
#define LOCKS 3u /* keys behind those */
#define ASK_MS 4000u
#define LAST_MS 3000u           /* until one of the last questions is asked again */
#define FOR_EVER_MS 2000000000u /* of a lock: its end is not in what is checked */

struct digits {
    char text[24];
};

static struct slv_str digits_of(uint64_t v, struct digits *d) {
    const int n = snprintf(d->text, sizeof d->text, "%" PRIu64, v);
    return (struct slv_str){d->text, (size_t)n};
}

static uint64_t number_of(struct slv_str s) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = 10 * v + (uint64_t)(s.p[i] - '0');
    return v;
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool ask(struct sim_node *n, struct sim_ask a, struct slv_strong_command c, uint32_t ms) {
    struct sim *s = n->sim;
    char key[8];
    struct digits value, expect;
    void *p = s->ask;
    const bool room = sim_room(s, &p, s->n_ask, &s->room_ask, sizeof *s->ask);
    s->ask = p;
    if (!room) return false;
    snprintf(key, sizeof key, "k%u", (unsigned)a.op.key);
    c.space = slv_node_agreed_id(n->node, 0);
    c.key = (struct slv_str){key, strlen(key)};
    c.value = digits_of(a.op.value, &value);
    c.expect = digits_of(a.op.expect, &expect);
    a.node = n->index;
    a.op.process = s->n_ask;
    a.op.begin = s->now;
    a.op.outcome = SLV_LINEAR_UNKNOWN;
    if (slv_node_ask(n->node, sim_clock(n), &c, ms, &a.ask)) return false;
    s->ask[s->n_ask++] = a;
    return true;
}

/* A lock that somebody is known to hold. */
static const struct sim_ask *held(struct sim *s) {
    const size_t from = s->n_ask ? sim_random(s, s->n_ask) : 0;
    for (size_t i = 0; i < s->n_ask; i++) {
        const struct sim_ask *a = &s->ask[(from + i) % s->n_ask];
        if (a->op.f == SLV_LINEAR_ACQUIRE && a->op.outcome == SLV_LINEAR_OK) return a;
    }
    return NULL;
}

static void ask_lock(struct sim_node *n) {
    struct sim *s = n->sim;
    const struct sim_ask *a = sim_chance(s, 500000) ? held(s) : NULL;
    struct sim_ask o = {.op = {.key = KEYS + sim_random(s, LOCKS), .value = s->n_ask + 1}};
    if (a) {
        o.op =
            (struct slv_linear_op){.key = a->op.key, .f = SLV_LINEAR_RELEASE, .value = a->op.value};
        ask(n, o, (struct slv_strong_command){.op = SLV_STRONG_UNLOCK, .version = a->token},
            ASK_MS);
    } else {
        o.op.f = SLV_LINEAR_ACQUIRE;
        ask(n, o, (struct slv_strong_command){.op = SLV_STRONG_LOCK, .ttl_ms = FOR_EVER_MS},
            ASK_MS);
    }
}

static void ask_key(struct sim_node *n) {
    struct sim *s = n->sim;
    struct sim_ask a = {.op = {.key = sim_random(s, KEYS), .value = s->n_ask + 1}};
    switch (sim_random(s, 5)) {
    case 0:
    case 1:
        a.op.f = SLV_LINEAR_WRITE;
        ask(n, a, (struct slv_strong_command){.op = SLV_STRONG_PUT}, ASK_MS);
        break;
    case 2: /* of a value that was there not long ago */
        a.op.f = SLV_LINEAR_CAS;
        a.op.expect = a.op.value - sim_random(s, a.op.value < 12 ? a.op.value : 12);
        ask(n, a, (struct slv_strong_command){.op = SLV_STRONG_CAS_VALUE}, ASK_MS);
        break;
    default:
        a.op.f = SLV_LINEAR_READ;
        ask(n, a,
            (struct slv_strong_command){.op = SLV_STRONG_GET,
                                        .read = sim_chance(s, 500000) ? SLV_STRONG_LEASED
                                                                      : SLV_STRONG_BARRIER},
            ASK_MS);
        break;
    }
}

/* That another node leads: leaders change although nothing fails. */
static void ask_lead(struct sim_node *n) {
    struct sim *s = n->sim;
    const uint64_t to = s->node[sim_random(s, s->n)].id;
    if (!slv_node_lead(n->node, sim_clock(n), to, ASK_MS))
        sim_trace(s, "node %u asks that node %u leads", n->index, sim_by_id(s, to)->index);
}

void sim_strong_ask(struct sim_node *n) {
    for (unsigned k = 0; k < 3; k++) {
        if (sim_chance(n->sim, 250000)) ask_lock(n);
        else ask_key(n);
    }
    if (sim_chance(n->sim, 30000)) ask_lead(n);
}

static void ask_last(struct sim_node *n, uint64_t key) {
    const struct sim_ask a = {.op = {.key = key, .f = SLV_LINEAR_READ}, .is_last = true};
    if (ask(n, a, (struct slv_strong_command){.op = SLV_STRONG_GET}, LAST_MS)) n->asked++;
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct sim_ask *find(struct sim *s, unsigned node, uint64_t number) {
    for (size_t i = s->n_ask; i-- > 0;)
        if (s->ask[i].node == node && s->ask[i].ask == number) return &s->ask[i];
    return NULL;
}

void sim_strong_answer(void *ctx, uint64_t number, const struct slv_strong_result *r) {
    static const enum slv_linear_outcome outcomes[SLV_STRONG_STATUSES] = {
        [SLV_STRONG_OK] = SLV_LINEAR_OK,
        [SLV_STRONG_CONFLICT] = SLV_LINEAR_REFUSED,
        [SLV_STRONG_NOT_LEADER] = SLV_LINEAR_FAILED,
        [SLV_STRONG_UNAVAILABLE] = SLV_LINEAR_FAILED,
        [SLV_STRONG_LIMIT] = SLV_LINEAR_FAILED,
        [SLV_STRONG_EXPIRED] = SLV_LINEAR_UNKNOWN,
        [SLV_STRONG_DENIED] = SLV_LINEAR_FAILED,
        [SLV_STRONG_TIMEOUT] = SLV_LINEAR_UNKNOWN,
    };
    struct sim_node *n = ctx;
    struct sim *s = n->sim;
    struct sim_ask *a = find(s, n->index, number);
    if (!a) return;
    a->ask = 0;
    a->op.outcome = outcomes[r->status];
    a->op.end = s->now;
    if (a->op.f == SLV_LINEAR_READ) a->op.result = number_of(r->value);
    if (a->op.f == SLV_LINEAR_READ && r->status) a->op.outcome = SLV_LINEAR_FAILED;
    if (a->op.f == SLV_LINEAR_ACQUIRE) a->token = r->version;
    s->result->agreements += !r->status;
    s->is_founded = s->is_founded || !r->status; /* something was agreed on */
    if (a->is_last) n->asked--;
    if (a->is_last && r->status) n->lasts |= 1u << a->op.key; /* it is asked again */
}

void sim_strong_crashed(struct sim_node *n) {
    struct sim *s = n->sim;
    n->asked = 0;
    if (s->is_calm && n->is_core) n->lasts = (1u << KEYS) - 1;
    for (size_t i = 0; i < s->n_ask; i++)
        if (s->ask[i].node == n->index) s->ask[i].ask = 0;
}

/* --- what must hold --------------------------------------------------------------------------- */

static const struct slv_strong *strong_of(const struct sim_node *n) {
    return n->node && !slv_node_failed(n->node) ? slv_node_strong(n->node) : NULL;
}

bool sim_strong_leads(const struct sim_node *n) {
    const struct slv_strong *x = strong_of(n);
    return x && slv_strong_leads(x);
}

/* (What a disk lies about can be a vote.) */
static bool is_sound(const struct sim *s) { return !(s->faults & SLV_SIM_LIE); }

/* Two that have applied as much hold the same. */
static void check_equal(struct sim *s, const struct sim_node *a, const struct sim_node *b) {
    const struct slv_strong *x = strong_of(a), *y = strong_of(b);
    const uint64_t space = slv_node_agreed_id(a->node, 0);
    struct slv_str key = {"", 0}, other = {"", 0};
    struct slv_strong_result r, q;
    if (slv_strong_applied(x) != slv_strong_applied(y)) return;
    bool same = slv_strong_count(x, space) == slv_strong_count(y, space);
    while (same && slv_strong_next(x, space, key, &key)) {
        same = slv_strong_next(y, space, other, &other) && key.n == other.n &&
               !memcmp(key.p, other.p, key.n);
        slv_strong_get(x, space, key, &r);
        slv_strong_get(y, space, key, &q);
        same = same && r.version == q.version && r.value.n == q.value.n &&
               (!r.value.n || !memcmp(r.value.p, q.value.p, r.value.n));
    }
    if (!same)
        sim_fail(s, "nodes %u and %u have applied %" PRIu64 " entries, and hold not the same",
                 a->index, b->index, slv_strong_applied(x));
}

static void check_pair(struct sim *s, const struct sim_node *a, const struct sim_node *b) {
    const struct slv_strong *x = strong_of(a), *y = strong_of(b);
    if (slv_strong_leads(x) && slv_strong_leads(y) && slv_strong_term(x) == slv_strong_term(y))
        sim_fail(s, "nodes %u and %u lead in term %" PRIu64, a->index, b->index,
                 slv_strong_term(x));
    if (!slv_strong_damaged(x) && !slv_strong_damaged(y)) check_equal(s, a, b);
}

void sim_strong_always(struct sim *s) {
    const struct slv_strong *first = strong_of(&s->node[0]);
    s->is_founded = s->is_founded || (first && slv_strong_leads(first));
    if (!is_sound(s)) return;
    for (unsigned i = 0; i < s->n; i++)
        for (unsigned k = i + 1; k < s->n && strong_of(&s->node[i]); k++)
            if (strong_of(&s->node[k])) check_pair(s, &s->node[i], &s->node[k]);
}

/* --- the end ---------------------------------------------------------------------------------- */

void sim_strong_calm(struct sim *s) {
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].is_core) s->node[i].lasts = (1u << KEYS) - 1;
}

static bool is_well(const struct sim *s, uint64_t id) {
    for (unsigned i = 0; i < s->n; i++) {
        const struct sim_node *n = &s->node[i];
        const struct slv_strong *x = n->is_core && n->id == id ? strong_of(n) : NULL;
        if (x && !slv_strong_damaged(x)) return true;
    }
    return false;
}

/* As one of them sees it. */
static bool has_majority(const struct sim *s, const struct slv_strong *x) {
    uint64_t id[SLV_STRONG_MEMBERS_MAX];
    const size_t n = slv_strong_members(x, id);
    unsigned voters = 0, well = 0;
    for (size_t i = 0; i < n; i++) {
        if (slv_strong_role(x, id[i]) != SLV_STRONG_VOTER) continue;
        voters++;
        well += is_well(s, id[i]);
    }
    return well > voters / 2;
}

/* The core is a majority of those who vote, as each of it has it that is in the group. */
static bool can_agree(const struct sim *s) {
    bool some = false;
    for (unsigned i = 0; i < s->n; i++) {
        const struct sim_node *n = &s->node[i];
        const struct slv_strong *x = n->is_core ? strong_of(n) : NULL;
        if (!x || slv_strong_damaged(x) || slv_strong_role(x, n->id) == SLV_STRONG_GONE) continue;
        if (!has_majority(s, x)) return false;
        some = true;
    }
    return some;
}

/* Asks what is still to be asked; whether it was all answered. */
static bool ask_rest(struct sim_node *n) {
    if (!n->node || slv_node_failed(n->node)) return false;
    const unsigned lasts = n->lasts;
    n->lasts = 0;
    for (unsigned k = 0; k < KEYS; k++)
        if (lasts & 1u << k) ask_last(n, k);
    if (lasts) sim_schedule(n);
    return !n->asked && !n->lasts;
}

bool sim_strong_agreed(struct sim *s) {
    bool all = true;
    for (unsigned i = 0; i < s->n; i++)
        if (s->node[i].is_core) all = ask_rest(&s->node[i]) && all;
    return all || !is_sound(s) || !can_agree(s);
}

void sim_strong_tell(struct sim *s) {
    for (unsigned i = 0; i < s->n; i++) {
        const struct sim_node *n = &s->node[i];
        const struct slv_strong *x = strong_of(n);
        if (!x) continue;
        char leader[24] = "none";
        for (unsigned k = 0; k < s->n; k++)
            if (s->node[k].id == slv_strong_leader(x))
                snprintf(leader, sizeof leader, "node %u", k);
        sim_trace(s, "node %u, group: leader %s, term %" PRIu64 ", %u asked, %x to be asked%s", i,
                  leader, slv_strong_term(x), n->asked, n->lasts,
                  n->is_core ? ", in the core" : "");
    }
}

void sim_strong_truth(struct sim *s) {
    struct slv_linear_result r;
    struct slv_linear_op *op;
    if (!is_sound(s) || s->failed || !s->n_ask) return;
    op = slv_mem_calloc(s->n_ask, sizeof *op);
    for (size_t i = 0; i < s->n_ask && op; i++)
        op[i] = s->ask[i].op;
    if (!op || slv_linear_check(op, s->n_ask, 0, &r)) s->no_memory = true;
    else if (r.verdict == SLV_LINEAR_NO)
        sim_fail(s, "of key %" PRIu64 " answers cannot be true of one copy; see operation %zu",
                 r.key, r.at);
    s->result->undecided += op && r.verdict == SLV_LINEAR_UNDECIDED;
    slv_mem_free(op);
}

void sim_strong_close(struct sim *s) { slv_mem_free(s->ask); }
