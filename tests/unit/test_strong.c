/* test_strong.c: what a user would lose: a write that was acknowledged, a read that is older than
 * one before, a lock that two hold, a group that stands still though most of it is well.
 *
 * Groups in virtual time (strongs.h) under faults drawn from a seed: power cuts of any of them and
 * of all at once, partitions, cuts one way, loss, doubles, disorder, clocks that drift, hand-overs,
 * snapshots. Clients write, swap, lock and read meanwhile, repeat what they have no answer to, and
 * what they saw must be linearizable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/linear.h"
#include "mesh/strong_int.h"
#include "strongs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS 6
#define OPS 6000
#define DRIFT 50000
#define DRIFT_MOST 190000

enum fault {
    CRASH = 1,
    CRASH_ALL = 2,
    PARTITION = 4,
    ONE_WAY = 8,
    LOSS = 16,
    TRANSFER = 32,
    MEMBERS = 64,
    ALL = 127,
    LEASES = 128 /* leaders are cut off, and clients read from any */
};

static struct client {
    uint64_t id, seq, node, call, since, retry;
    size_t op;       /* in the history */
    bool busy, sure; /* sure: it was not taken at any node yet */
    struct slv_strong_command c;
    char value[8], expect[8];
    uint64_t token[2];
} client[CLIENTS];

static struct slv_linear_op history[OPS];
static size_t n_history;
static uint64_t ids, lease_reads;
static unsigned flavor; /* kinds of faults */
static const char *const keys[] = {"a", "b", "c", "lock", "lock2"};

static uint64_t number(struct slv_str v) {
    struct slv_reader r = slv_reader_of(v.p, v.n);
    return v.n == 8 ? slv_read_id(&r) : 0;
}

static struct slv_str bytes(uint64_t v, char to[8]) {
    for (int i = 8; i-- > 0; v >>= 8)
        to[i] = (char)v;
    return (struct slv_str){to, 8};
}

/* --- clients ---------------------------------------------------------------------------------- */

static void draw(struct client *k, struct slv_linear_op *o) {
    static uint64_t last[3];
    const unsigned key = (unsigned)strongs_rnd(flavor & LEASES ? 1 : 5);
    const uint64_t v = n_history + 1;
    k->c = (struct slv_strong_command){.client = k->id, .space = 1};
    k->c.key = strongs_str(keys[key]);
    *o = (struct slv_linear_op){.process = k->id, .key = key, .value = v};
    if (key >= 3) {
        uint64_t *token = &k->token[key - 3];
        o->f = *token ? SLV_LINEAR_RELEASE : SLV_LINEAR_ACQUIRE;
        k->c.op = *token ? SLV_STRONG_UNLOCK : SLV_STRONG_LOCK;
        k->c.ttl_ms = 1500;
        k->c.version = o->value = *token;
        *token = 0;
        k->c.seq = ++k->seq;
        return;
    }
    switch (strongs_rnd(4)) {
    case 0:
        o->f = SLV_LINEAR_WRITE;
        k->c.op = SLV_STRONG_PUT;
        k->c.value = bytes(v, k->value);
        last[key] = v;
        break;
    case 1:
        o->f = SLV_LINEAR_CAS;
        o->expect = last[key] ? last[key] : 1;
        k->c.op = SLV_STRONG_CAS_VALUE;
        k->c.value = bytes(v, k->value);
        k->c.expect = bytes(o->expect, k->expect);
        last[key] = v;
        break;
    default:
        o->f = SLV_LINEAR_READ;
        k->c.op = SLV_STRONG_GET;
        k->c.read = strongs_rnd(3) ? SLV_STRONG_LEASED : SLV_STRONG_BARRIER;
    }
    if (k->c.op != SLV_STRONG_GET) k->c.seq = ++k->seq;
}

static void ask(struct client *k) {
    k->node = 1 + strongs_rnd(STRONGS);
    if (flavor & LEASES) k->node = 1 + strongs_rnd(3);
    else if (strongs_rnd(2) && strongs_leader()) k->node = strongs_leader();
    k->since = strongs_now;
    k->call = 0;
    k->retry = 0;
    struct strongs_node *n = &strongs_node[k->node];
    if (!n->s || slv_strong_call(n->s, strongs_clock(k->node), &k->c, &k->call)) {
        k->retry = strongs_now + 20 * SMS;
        return;
    }
    n->next = strongs_now;
}

static void finish(struct client *k, enum slv_linear_outcome how) {
    history[k->op].outcome = how;
    history[k->op].end = strongs_now;
    k->busy = false;
}

/* Nobody will know; it goes on under another name. */
static void give_up(struct client *k) {
    finish(k, k->c.op == SLV_STRONG_GET ? SLV_LINEAR_FAILED : SLV_LINEAR_UNKNOWN);
    k->id = ++ids;
    k->seq = 0;
    k->token[0] = k->token[1] = 0;
}

static void on_answer(uint64_t node, uint64_t call, const struct slv_strong_result *r) {
    for (struct client *k = client; k < client + CLIENTS; k++) {
        if (!k->busy || k->node != node || k->call != call || k->retry) continue;
        struct slv_linear_op *o = &history[k->op];
        if (r->status == SLV_STRONG_OK || r->status == SLV_STRONG_CONFLICT) {
            const bool ok = r->status == SLV_STRONG_OK;
            if (o->f == SLV_LINEAR_READ) o->result = number(r->value);
            if (o->f == SLV_LINEAR_ACQUIRE && ok) o->value = k->token[o->key - 3] = r->version;
            finish(k, ok ? SLV_LINEAR_OK : SLV_LINEAR_REFUSED);
        } else if (k->c.op == SLV_STRONG_GET) {
            finish(k, SLV_LINEAR_FAILED);
        } else {
            assert_int_not_equal(r->status, SLV_STRONG_EXPIRED);
            k->retry = strongs_now + (5 + strongs_rnd(50)) * SMS;
        }
    }
}

static void clients_step(bool fresh, bool patient) {
    for (struct client *k = client; k < client + CLIENTS; k++) {
        if (k->busy) {
            if (k->retry ? strongs_now >= k->retry : strongs_now - k->since > 700 * SMS) {
                const bool lock = k->c.op == SLV_STRONG_LOCK;
                if (k->c.op == SLV_STRONG_GET && !k->retry) finish(k, SLV_LINEAR_FAILED);
                else if (!patient && !lock && !strongs_rnd(8)) give_up(k);
                else ask(k);
            }
        } else if (fresh && n_history < OPS && !strongs_rnd(4)) {
            k->op = n_history++;
            draw(k, &history[k->op]);
            history[k->op].begin = strongs_now;
            k->busy = true;
            ask(k);
        }
    }
}

/* --- what must hold --------------------------------------------------------------------------- */

/* Locks end by themselves, too. */
static void check_history(uint64_t seed) {
    static struct slv_linear_op all[2 * OPS];
    struct slv_linear_result r;
    size_t n = 0;
    for (size_t i = 0; i < n_history; i++) {
        const struct slv_linear_op *o = &history[i];
        all[n++] = *o;
        if (o->f != SLV_LINEAR_ACQUIRE || o->outcome != SLV_LINEAR_OK) continue;
        all[n++] = (struct slv_linear_op){.process = 999,
                                          .key = o->key,
                                          .f = SLV_LINEAR_RELEASE,
                                          .outcome = SLV_LINEAR_UNKNOWN,
                                          .value = o->value,
                                          .begin = o->begin};
        for (size_t k = 0; k < n_history; k++) { /* tokens grow */
            const struct slv_linear_op *p = &history[k];
            if (k == i || p->key != o->key || p->f != o->f || p->outcome != SLV_LINEAR_OK) continue;
            assert_int_not_equal(p->value, o->value);
            if (p->end < o->begin) assert_true(p->value < o->value);
        }
    }
    assert_int_equal(slv_linear_check(all, n, 1 << 22, &r), 0);
    if (r.verdict != SLV_LINEAR_YES)
        fail_msg("seed %llu: key %llu, verdict %d at %zu of %zu", (unsigned long long)seed,
                 (unsigned long long)r.key, (int)r.verdict, r.at, n);
}

/* All nodes that are members hold the same, byte by byte. */
static void check_same(void) {
    struct slv_buf b[2];
    const uint64_t leader = strongs_leader();
    slv_buf_init(&b[0], STRONG_SNAPSHOT_MAX);
    slv_buf_init(&b[1], STRONG_SNAPSHOT_MAX);
    strong_state_write(&strongs_node[leader].s->state, &b[0]);
    for (unsigned i = 1; i <= STRONGS; i++) {
        const struct slv_strong *s = strongs_node[i].s;
        if (!s || slv_strong_role(strongs_node[leader].s, i) < SLV_STRONG_LEARNER) continue;
        if (slv_strong_applied(s) != slv_strong_applied(strongs_node[leader].s)) continue;
        slv_buf_clear(&b[1]);
        strong_state_write(&s->state, &b[1]);
        assert_int_equal(b[0].len, b[1].len);
        assert_memory_equal(b[0].data, b[1].data, b[0].len);
    }
    slv_buf_fini(&b[0]);
    slv_buf_fini(&b[1]);
}

static void none_failed(void) {
    for (unsigned i = 1; i <= STRONGS; i++)
        if (strongs_node[i].s) assert_false(slv_strong_failed(strongs_node[i].s));
}

/* --- faults ----------------------------------------------------------------------------------- */

static void restart_all(void) {
    for (unsigned i = 1; i <= STRONGS; i++)
        if (strongs_node[i].id && !strongs_node[i].s) strongs_start(i, false, false);
}

static void change_members(void) {
    const uint64_t l = strongs_leader(), who = 1 + strongs_rnd(STRONGS);
    uint64_t call;
    if (!l) return;
    if (!strongs_node[who].id) strongs_start(who, false, false);
    const int rc = slv_strong_member(strongs_node[l].s, strongs_clock(l), who,
                                     (enum slv_strong_role)strongs_rnd(4), &call);
    assert_int_equal(rc, 0);
    strongs_node[l].next = strongs_now;
}

/* A node whose disk is not done with something, if there is one. */
static uint64_t a_busy_node(unsigned n) {
    const uint64_t from = strongs_rnd(n);
    for (uint64_t i = 0; i < n; i++)
        if (strongs_node[1 + (from + i) % n].n_commit) return 1 + (from + i) % n;
    return 1 + from;
}

static void one_fault(unsigned kinds, unsigned n) {
    const unsigned kind = 1u << strongs_rnd(7), node = 1 + (unsigned)strongs_rnd(n);
    const uint64_t l = strongs_leader();
    if (!(kind & kinds)) return;
    switch (kind) {
    case CRASH:
        for (unsigned k = 1 + (unsigned)strongs_rnd(n / 2 + 1); k > 0; k--)
            strongs_crash(strongs_rnd(3) == 0 && l ? l : a_busy_node(n));
        break;
    case CRASH_ALL:
        for (unsigned i = 1; i <= STRONGS; i++)
            strongs_crash(i);
        break;
    case PARTITION:
        strongs_partition((unsigned)strongs_rnd(1u << n) << 1);
        break;
    case ONE_WAY:
        strongs_cut[l && strongs_rnd(2) ? l : node][1 + strongs_rnd(n)] = true;
        break;
    case LOSS:
        strongs_loss = (uint32_t)strongs_rnd(400);
        break;
    case TRANSFER:
        if (l) (void)!slv_strong_transfer(strongs_node[l].s, strongs_clock(l), 0);
        break;
    default:
        change_members();
    }
}

static void cut_leader_off(void) {
    const uint64_t l = strongs_leader();
    if (l && strongs_rnd(3)) strongs_partition(1u << l);
    else strongs_partition(0);
}

static void heal(uint32_t loss) {
    memset(strongs_cut, 0, sizeof strongs_cut);
    strongs_loss = loss;
}

static void torture(uint64_t seed, unsigned n, unsigned kinds, uint64_t for_ms, size_t log_max) {
    struct strongs_conf c = {.seed = seed,
                             .n = n,
                             .delay_us = 500 + (uint32_t)(seed % 5) * 1000,
                             .jitter_us = seed % 3 ? 0 : 20000,
                             .twice = seed % 2 ? 50 : 0,
                             .sync_us = seed % 3 ? 200 + (uint32_t)(seed % 7) * 1000 : 100000};
    int64_t drift = DRIFT;
    flavor = kinds;
    if (kinds & LEASES) {
        drift = DRIFT_MOST;
        c.node.lease_ms = 490;
        c.sync_us = 300;
    }
    c.node.drift_ppm = (uint32_t)drift;
    c.node.log_max = log_max;
    strongs_open(&c);
    strongs_answer = on_answer;
    n_history = 0;
    memset(client, 0, sizeof client);
    for (struct client *k = client; k < client + CLIENTS; k++)
        k->id = ++ids;
    for (unsigned i = 1; i <= STRONGS; i++)
        strongs_node[i].ppm = kinds & LEASES ? (strongs_rnd(2) ? drift : -drift)
                                             : (int64_t)strongs_rnd(2 * DRIFT) - drift;
    uint64_t next_fault = strongs_now + 1000 * SMS;
    const uint64_t end = strongs_now + for_ms * SMS;
    while (strongs_now < end) {
        strongs_run(strongs_now + SMS * (1 + strongs_rnd(4)));
        clients_step(true, kinds & LEASES);
        if (strongs_now < next_fault) continue;
        next_fault = strongs_now + (50 + strongs_rnd(seed % 4 ? 700 : 2500)) * SMS;
        if (!strongs_rnd(3)) heal(c.loss);
        if (!strongs_rnd(2)) restart_all();
        if (kinds & LEASES) cut_leader_off();
        else one_fault(kinds, n);
    }
    heal(0);
    restart_all();
    bool busy = true;
    for (unsigned k = 0; k < 30000 && (busy || !strongs_leader()); k++) {
        busy = false;
        strongs_run(strongs_now + SMS * 2);
        clients_step(false, true);
        for (struct client *p = client; p < client + CLIENTS; p++)
            busy |= p->busy;
    }
    assert_false(busy); /* it goes on once all are well */
    none_failed();
    strongs_run(strongs_now + 500 * SMS);
    for (unsigned i = 1; i <= STRONGS; i++)
        if (strongs_node[i].s) lease_reads += strongs_node[i].s->stats.lease_reads;
    check_same();
    check_history(seed);
    strongs_close();
}

static void under_power_cuts(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++)
        torture(seed, 3 + 2 * (unsigned)(seed % 3), CRASH | CRASH_ALL, 6000, 0);
}

static void under_all_faults(void **state) {
    (void)state;
    lease_reads = 0;
    for (uint64_t seed = 100; seed < 250; seed++)
        torture(seed, 3 + 2 * (unsigned)(seed % 3), ALL & ~(unsigned)MEMBERS, 8000,
                seed % 2 ? 2000 : 0);
    assert_true(lease_reads > 1000);
}

static void leases_of_leaders_cut_off(void **state) {
    (void)state;
    lease_reads = 0;
    for (uint64_t seed = 500; seed < 560; seed++)
        torture(seed, 3, LEASES, 8000, 0);
    assert_true(lease_reads > 1000);
}

static void under_changes_of_members(void **state) {
    (void)state;
    for (uint64_t seed = 300; seed < 400; seed++)
        torture(seed, 3 + 2 * (unsigned)(seed % 3), ALL, 8000, seed % 2 ? 2000 : 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_power_cuts),
        cmocka_unit_test(under_all_faults),
        cmocka_unit_test(under_changes_of_members),
        cmocka_unit_test(leases_of_leaders_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
