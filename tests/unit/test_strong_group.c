/* test_strong_group.c: what a user would lose: a second without a leader, a command that is done
 * twice, a lease that ends early or never, a node that comes back and makes things worse.
 *
 * Groups in virtual time (strongs.h), one thing at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/strong_int.h"
#include "strongs.h"

#include <stdlib.h>
#include <string.h>

static const struct strongs_conf lan = {.n = 3, .delay_us = 500, .sync_us = 500};

static void open_lan(uint64_t seed, unsigned n) {
    struct strongs_conf c = lan;
    c.seed = seed;
    c.n = n;
    strongs_open(&c);
}

static struct slv_strong_command put(const char *key, const char *value, uint64_t seq) {
    return (struct slv_strong_command){.op = SLV_STRONG_PUT,
                                       .client = 7,
                                       .seq = seq,
                                       .space = 1,
                                       .key = strongs_str(key),
                                       .value = strongs_str(value)};
}

static struct slv_strong_command get(const char *key) {
    return (struct slv_strong_command){.op = SLV_STRONG_GET, .space = 1, .key = strongs_str(key)};
}

static struct slv_strong_command command(enum slv_strong_op op, const char *key, uint64_t client,
                                         uint64_t seq) {
    return (struct slv_strong_command){
        .op = op, .client = client, .seq = seq, .space = 1, .key = strongs_str(key)};
}

static struct slv_strong_result must(uint64_t node, struct slv_strong_command c) {
    const struct slv_strong_result r = strongs_call(node, &c);
    assert_int_equal(r.status, SLV_STRONG_OK);
    return r;
}

static void expect(uint64_t node, const char *key, const char *value) {
    const struct slv_strong_result r = must(node, get(key));
    assert_int_equal(r.value.n, strlen(value));
    assert_memory_equal(r.value.p, value, r.value.n);
}

/* One that is not `id`. */
static uint64_t other(uint64_t id, unsigned n) { return id % n + 1; }

/* --- leaders ---------------------------------------------------------------------------------- */

static void a_leader_within_a_second(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 90; seed++) {
        const unsigned n = 3 + 2 * (unsigned)(seed % 3);
        open_lan(seed, n);
        const uint64_t l = strongs_elect(5000 * SMS);
        must(other(l, n), put("a", "1", 1));
        strongs_run(strongs_now + strongs_rnd(300) * SMS);
        strongs_crash(l);
        const uint64_t since = strongs_now;
        strongs_elect(1000 * SMS);
        assert_true(strongs_now - since < 1000 * SMS);
        expect(other(l, n), "a", "1");
        strongs_close();
    }
}

/* One that was cut off does not disturb the others when it is back, nor answer while it is away. */
static void cut_off(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        open_lan(seed, 5);
        const uint64_t l = strongs_elect(5000 * SMS), away = other(l, 5);
        strongs_partition(1u << away);
        strongs_run(strongs_now + 5000 * SMS);
        const uint64_t term = slv_strong_term(strongs_node[l].s);
        assert_int_equal(strongs_leader(), l);
        struct slv_strong_command c = put("x", "y", 1);
        assert_int_equal(strongs_call(away, &c).status, SLV_STRONG_UNAVAILABLE);
        strongs_partition(0);
        strongs_run(strongs_now + 3000 * SMS);
        assert_int_equal(strongs_leader(), l);
        assert_int_equal(slv_strong_term(strongs_node[l].s), term);
        strongs_partition(1u << l); /* a leader alone steps down */
        strongs_run(strongs_now + 2000 * SMS);
        assert_int_not_equal(strongs_leader(), l);
        assert_int_not_equal(strongs_leader(), 0);
        assert_false(slv_strong_leads(strongs_node[l].s));
        strongs_close();
    }
}

static struct {
    uint64_t call;
    enum slv_strong_status status;
    unsigned n;
} last_answer;

static void note_answer(uint64_t node, uint64_t call, const struct slv_strong_result *r) {
    (void)node;
    last_answer.call = call;
    last_answer.status = r->status;
    last_answer.n++;
}

/* A call that was handed to a peer ends when the way to that peer is lost, and not after seconds;
 * those that others were handed, and those that were answered, do not. */
static void a_lost_way_ends_calls(void **state) {
    (void)state;
    open_lan(7, 3);
    const uint64_t l = strongs_elect(5000 * SMS), by = other(l, 3);
    struct slv_strong *s = strongs_node[by].s;
    struct slv_strong_command c = put("x", "y", 2);
    uint64_t call;
    must(l, put("a", "1", 1));
    strongs_cut[by][l] = true; /* what is handed on does not arrive, and the leader is heard */
    strongs_answer = note_answer;
    last_answer.n = 0;
    assert_int_equal(slv_strong_call(s, strongs_clock(by), &c, &call), 0);
    slv_strong_lost(s, 6 - by - l); /* the third */
    strongs_run(strongs_now + 100 * SMS);
    assert_int_equal(last_answer.n, 0);
    slv_strong_lost(s, l);
    slv_strong_tick(s, strongs_clock(by));
    assert_int_equal(last_answer.n, 1);
    assert_int_equal(last_answer.call, call);
    assert_int_equal(last_answer.status, SLV_STRONG_TIMEOUT);
    slv_strong_lost(s, l);
    slv_strong_tick(s, strongs_clock(by));
    assert_int_equal(last_answer.n, 1);
    strongs_answer = NULL;
    strongs_close();
}

/* A heartbeat's answer says what is on the disk, and does not wait for what comes after. */
static void slow_disks_end_no_term(void **state) {
    (void)state;
    open_lan(9, 3);
    const uint64_t l = strongs_elect(5000 * SMS);
    const uint64_t term = slv_strong_term(strongs_node[l].s);
    must(l, put("a", "0", 1));
    strongs_sync_us = 1500 * 1000;
    for (uint64_t seq = 2; seq < 200; seq++) { /* each transaction has something in it */
        const struct slv_strong_command c = put("a", "1", seq);
        uint64_t call;
        assert_int_equal(slv_strong_call(strongs_node[l].s, strongs_clock(l), &c, &call), 0);
        strongs_run(strongs_now + 50 * SMS);
        assert_int_equal(slv_strong_term(strongs_node[l].s), term);
        assert_int_equal(strongs_leader(), l);
    }
    expect(l, "a", "1");
    /* Who answers that it is there must be. */
    for (uint64_t i = 1; i <= 3; i++)
        if (i != l) strongs_cut[l][i] = true;
    strongs_run(strongs_now + 1500 * SMS);
    assert_true(strongs_leader() != l);
    strongs_close();
}

static void hands_over(void **state) {
    (void)state;
    open_lan(3, 3);
    const uint64_t l = strongs_elect(5000 * SMS), to = other(l, 3);
    must(l, put("a", "1", 1));
    assert_int_equal(slv_strong_transfer(strongs_node[to].s, strongs_clock(to), l), SLV_E_USAGE);
    assert_int_equal(slv_strong_transfer(strongs_node[l].s, strongs_clock(l), to), 0);
    strongs_run(strongs_now + 100 * SMS);
    assert_int_equal(slv_strong_leader(strongs_node[l].s), to);
    expect(l, "a", "1");
    strongs_close();
}

/* --- commands --------------------------------------------------------------------------------- */

static void done_once(void **state) {
    (void)state;
    open_lan(5, 3);
    const uint64_t l = strongs_elect(5000 * SMS);
    struct slv_strong_command c = command(SLV_STRONG_EPOCH, "e", 9, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(must(1 + strongs_rnd(3), c).version, 1);
    strongs_crash(l);
    strongs_elect(2000 * SMS);
    assert_int_equal(must(other(l, 3), c).version, 1); /* another leader knows it too */
    c.seq = 2;
    assert_int_equal(must(other(l, 3), c).version, 2);
    c.seq = 1;
    assert_int_equal(strongs_call(other(l, 3), &c).status, SLV_STRONG_EXPIRED);
    c.client = 10;
    c.seq = 2; /* nobody knows it, and it says that it was here */
    assert_int_equal(strongs_call(other(l, 3), &c).status, SLV_STRONG_EXPIRED);
    strongs_close();
}

static void swaps(void **state) {
    (void)state;
    open_lan(6, 3);
    strongs_elect(5000 * SMS);
    struct slv_strong_command c = put("k", "1", 1);
    c.op = SLV_STRONG_CAS;
    const uint64_t v = must(1, c).version;
    c.seq = 2;
    struct slv_strong_result r = strongs_call(2, &c);
    assert_int_equal(r.status, SLV_STRONG_CONFLICT);
    assert_int_equal(r.version, v);
    c.seq = 3;
    c.version = v;
    c.value = strongs_str("2");
    must(3, c);
    c.op = SLV_STRONG_CAS_VALUE;
    c.seq = 4;
    c.expect = strongs_str("1");
    assert_int_equal(strongs_call(1, &c).status, SLV_STRONG_CONFLICT);
    c.seq = 5;
    c.expect = strongs_str("2");
    c.value = strongs_str("3");
    must(2, c);
    expect(3, "k", "3");
    must(1, command(SLV_STRONG_DELETE, "k", 7, 6));
    expect(2, "k", "");
    uint64_t call;
    c.value.n = SLV_STRONG_VALUE_MAX + 1;
    assert_int_equal(slv_strong_call(strongs_node[1].s, strongs_clock(1), &c, &call), SLV_E_USAGE);
    c = command((enum slv_strong_op)STRONG_EXPIRE, "k", 1, 1);
    assert_int_equal(slv_strong_call(strongs_node[1].s, strongs_clock(1), &c, &call), SLV_E_USAGE);
    strongs_close();
}

static void locks_and_leases(void **state) {
    (void)state;
    open_lan(7, 3);
    const uint64_t l = strongs_elect(5000 * SMS), f = other(l, 3);
    struct slv_strong_command a = command(SLV_STRONG_LOCK, "m", 1, 1), b = a;
    a.ttl_ms = b.ttl_ms = 1000;
    b.client = 2;
    const uint64_t token = must(f, a).version;
    assert_int_equal(strongs_call(l, &b).status, SLV_STRONG_CONFLICT);
    /* It is kept for as long as it is renewed. */
    for (uint64_t i = 0; i < 5; i++) {
        struct slv_strong_command k = command(SLV_STRONG_KEEPALIVE, "", 1, 2 + i);
        strongs_run(strongs_now + 800 * SMS);
        k.lease = token;
        must(f, k);
        b.seq++;
        assert_int_equal(strongs_call(l, &b).status, SLV_STRONG_CONFLICT);
    }
    /* No leader ends it early; a new one begins anew. */
    strongs_run(strongs_now + 500 * SMS);
    strongs_crash(l);
    strongs_elect(1000 * SMS);
    b.seq++;
    assert_int_equal(strongs_call(f, &b).status, SLV_STRONG_CONFLICT);
    strongs_run(strongs_now + 1200 * SMS);
    b.seq++;
    const uint64_t next = must(f, b).version;
    assert_true(next > token);
    struct slv_strong_command u = command(SLV_STRONG_UNLOCK, "m", 1, 20);
    u.version = token;
    assert_int_equal(strongs_call(f, &u).status, SLV_STRONG_CONFLICT);
    u = command(SLV_STRONG_UNLOCK, "m", 2, 20);
    u.version = next;
    must(f, u);
    /* Keys go with their lease, and one that is gone takes none. */
    struct slv_strong_command g = command(SLV_STRONG_GRANT, "", 3, 1), p = put("s", "here", 1);
    g.ttl_ms = 500;
    p.lease = must(f, g).version;
    must(f, p);
    expect(f, "s", "here");
    strongs_run(strongs_now + 700 * SMS);
    expect(f, "s", "");
    p.seq = 2;
    assert_int_equal(strongs_call(f, &p).status, SLV_STRONG_CONFLICT);
    strongs_close();
}

/* --- reads ------------------------------------------------------------------------------------ */

static void reads_by_lease(void **state) {
    (void)state;
    open_lan(8, 3);
    const uint64_t l = strongs_elect(5000 * SMS);
    struct slv_strong_stats a, b;
    struct slv_strong_command g = get("a");
    must(l, put("a", "1", 1));
    g.read = SLV_STRONG_LEASED;
    must(l, g);
    strongs_run(strongs_now + 20 * SMS);
    slv_strong_stats(strongs_node[l].s, &a);
    for (int i = 0; i < 1000; i++) {
        const uint64_t at = strongs_now;
        must(l, g);
        assert_true(strongs_now - at <= SMS); /* (nobody was asked) */
        strongs_run(strongs_now + SMS);
    }
    slv_strong_stats(strongs_node[l].s, &b);
    assert_true(b.lease_reads - a.lease_reads > 990);
    assert_true(b.commits - a.commits < 30);
    /* Cut off, it stops while it still believes that it leads. */
    strongs_partition(1u << l);
    strongs_run(strongs_now + 450 * SMS);
    assert_true(strongs_node[l].s->raft.state == RAFT_LEADER);
    uint64_t call;
    slv_strong_stats(strongs_node[l].s, &a);
    assert_int_equal(slv_strong_call(strongs_node[l].s, strongs_clock(l), &g, &call), 0);
    slv_strong_stats(strongs_node[l].s, &b);
    assert_int_equal(a.lease_reads, b.lease_reads);
    strongs_close();
}

/* --- watches ---------------------------------------------------------------------------------- */

static struct seen {
    uint64_t index;
    bool gone, compacted;
    char key[8];
} seen[64];
static size_t n_seen;

static void on_change(void *ctx, const struct slv_strong_change *c) {
    (void)ctx;
    if (n_seen == 64) return;
    seen[n_seen] = (struct seen){.index = c->index, .gone = c->gone, .compacted = c->compacted};
    memcpy(seen[n_seen++].key, c->key.p, c->key.n < 7 ? c->key.n : 7);
}

static void watches(void **state) {
    (void)state;
    uint64_t w;
    struct strongs_conf c = lan;
    c.node.history_max = 2000;
    strongs_open(&c);
    const uint64_t l = strongs_elect(5000 * SMS), f = other(l, 3);
    n_seen = 0;
    assert_int_equal(
        slv_strong_watch(strongs_node[l].s, 1, strongs_str("p/"), 0, on_change, NULL, &w), 0);
    must(l, put("p/1", "x", 1));
    must(l, put("q/1", "x", 2));
    must(l, put("p/2", "x", 3));
    must(l, command(SLV_STRONG_DELETE, "p/1", 7, 4));
    assert_int_equal(n_seen, 3);
    assert_string_equal(seen[1].key, "p/2");
    assert_true(seen[0].index < seen[1].index && seen[1].index < seen[2].index && seen[2].gone);
    /* At another node it goes on behind the first. */
    strongs_run(strongs_now + 300 * SMS);
    const uint64_t from = seen[0].index + 1;
    n_seen = 0;
    assert_int_equal(
        slv_strong_watch(strongs_node[f].s, 1, strongs_str("p/"), from, on_change, NULL, &w), 0);
    assert_int_equal(n_seen, 2);
    assert_string_equal(seen[0].key, "p/2");
    slv_strong_unwatch(strongs_node[f].s, w);
    for (uint64_t i = 0; i < 40; i++)
        must(l, put("z", "y", 5 + i));
    strongs_run(strongs_now + 300 * SMS);
    assert_int_equal(
        slv_strong_watch(strongs_node[f].s, 1, strongs_str("p/"), from, on_change, NULL, &w),
        SLV_E_NOENT);
    strongs_close();
}

/* --- members ---------------------------------------------------------------------------------- */

/* Far behind, so that it is sent a snapshot of some pieces, over a network that loses some. */
static void a_learner_far_behind(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        static char big[100000];
        struct strongs_conf c = lan;
        c.seed = seed;
        c.loss = seed ? 50 : 0;
        c.node.log_max = 300000;
        strongs_open(&c);
        const uint64_t l = strongs_elect(5000 * SMS);
        for (uint64_t i = 0; i < 20; i++) {
            char key[2] = {(char)('a' + i), 0};
            struct slv_strong_command p = put(key, "", i + 1);
            memset(big, (int)i, sizeof big);
            p.value = (struct slv_str){big, sizeof big};
            struct slv_strong_result r = strongs_call(l, &p);
            while (r.status == SLV_STRONG_TIMEOUT)
                r = strongs_call(strongs_elect(5000 * SMS), &p);
        }
        const uint64_t lead = strongs_elect(5000 * SMS);
        assert_true(strongs_node[lead].s->log_bytes < 1000000);
        strongs_start(4, false, false);
        assert_int_equal(strongs_member(lead, 4, SLV_STRONG_LEARNER).status, SLV_STRONG_OK);
        for (int i = 0; i < 400 && slv_strong_applied(strongs_node[4].s) <
                                       slv_strong_applied(strongs_node[lead].s);
             i++)
            strongs_run(strongs_now + 50 * SMS);
        struct slv_strong_result r;
        slv_strong_get(strongs_node[4].s, 1, strongs_str("t"), &r);
        assert_int_equal(r.value.n, sizeof big);
        assert_int_equal(r.value.p[5], 19);
        struct slv_strong_stats st;
        slv_strong_stats(strongs_node[4].s, &st);
        assert_int_equal(st.installed, 1);
        assert_int_equal(strongs_member(strongs_elect(5000 * SMS), 4, SLV_STRONG_VOTER).status,
                         SLV_STRONG_OK);
        strongs_close();
    }
}

static void grows_and_shrinks(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        open_lan(seed, 1);
        strongs_elect(2000 * SMS);
        must(1, put("a", "1", 1));
        for (uint64_t i = 2; i <= 5; i++) {
            strongs_start(i, false, false);
            assert_int_equal(strongs_member(1, i, SLV_STRONG_VOTER).status, SLV_STRONG_OK);
        }
        strongs_crash(1);
        const uint64_t l = strongs_elect(2000 * SMS);
        expect(other(l, 5) == 1 ? 2 : other(l, 5), "a", "1");
        for (uint64_t i = 1; i <= 5; i++) /* the leader last */
            if (i != l)
                assert_int_equal(strongs_member(l, i, SLV_STRONG_GONE).status, SLV_STRONG_OK);
        assert_int_equal(strongs_member(l, l, SLV_STRONG_GONE).status, SLV_STRONG_CONFLICT);
        must(l, put("a", "2", 2));
        strongs_crash(l);
        const uint64_t term =
            slv_strong_term(strongs_node[2].s ? strongs_node[2].s : strongs_node[3].s);
        strongs_start(l, false, false);
        strongs_elect(2000 * SMS);
        assert_true(slv_strong_term(strongs_node[l].s) > term); /* alone, but in a new term */
        expect(l, "a", "2");
        strongs_close();
    }
}

/* --- damage ----------------------------------------------------------------------------------- */

static void damaged_it_does_not_vote(void **state) {
    (void)state;
    open_lan(11, 3);
    const uint64_t l = strongs_elect(5000 * SMS), hurt = other(l, 3);
    must(l, put("a", "1", 1));
    strongs_crash(hurt);
    strongs_start(hurt, true, false);
    strongs_run(strongs_now + 1000 * SMS);
    assert_true(slv_strong_damaged(strongs_node[hurt].s));
    assert_true(strongs_node[l].events[SLV_STRONG_DAMAGED]);
    for (uint64_t guide = 1; guide <= 3; guide++) { /* it asks as others do, by one that it hears */
        if (guide == hurt) continue;
        slv_strong_guide(strongs_node[hurt].s, strongs_clock(hurt), guide);
        expect(hurt, "a", "1");
    }
    strongs_crash(hurt); /* it remembers that */
    strongs_start(hurt, false, false);
    assert_true(slv_strong_damaged(strongs_node[hurt].s));
    strongs_crash(l); /* of three one is well: no leader, whatever it takes */
    strongs_run(strongs_now + 10000 * SMS);
    assert_int_equal(strongs_leader(), 0);
    strongs_start(l, false, false);
    const uint64_t now = strongs_elect(5000 * SMS);
    expect(now, "a", "1");
    /* An operator removes it; the leader tells it when that is committed; and it is added anew. */
    assert_int_equal(strongs_member(now, hurt, SLV_STRONG_GONE).status, SLV_STRONG_OK);
    assert_int_equal(slv_strong_appeal(strongs_node[hurt].s, strongs_clock(hurt), now), 0);
    strongs_run(strongs_now + 1500 * SMS);
    assert_int_equal(strongs_node[hurt].events[SLV_STRONG_READMITTED], 1);
    assert_int_equal(strongs_member(now, hurt, SLV_STRONG_VOTER).status, SLV_STRONG_OK);
    strongs_run(strongs_now + 500 * SMS);
    assert_false(slv_strong_damaged(strongs_node[hurt].s));
    strongs_crash(now);
    strongs_elect(2000 * SMS);
    expect(hurt, "a", "1");
    strongs_close();
}

/* Bits of records that turned, or records that are missing, at any place. */
static void damage_is_seen(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct strongs_conf c = lan;
        c.seed = seed;
        c.node.readmit = true;
        c.node.log_max = seed % 2 ? 400 : 0;
        strongs_open(&c);
        const uint64_t l = strongs_elect(5000 * SMS), hurt = other(l, 3);
        for (uint64_t i = 0; i < 30; i++)
            must(l, put(i % 2 ? "a" : "b", "1", i + 1));
        strongs_run(strongs_now + 300 * SMS);
        strongs_crash(hurt);
        struct strongs_node *n = &strongs_node[hurt];
        const size_t i = strongs_rnd(n->n_disk);
        bool missing = n->disk[i].key[0] == 'L' && i + 1 < n->n_disk &&
                       n->disk[i + 1].key[0] == 'L' && (i == 0 || n->disk[i - 1].key[0] == 'L');
        if (missing) {
            free(n->disk[i].value);
            memmove(n->disk + i, n->disk + i + 1, (n->n_disk - i - 1) * sizeof *n->disk);
            n->n_disk--;
        } else {
            n->disk[i].value[0] = (char)0xff;
        }
        strongs_start(hurt, false, false);
        strongs_run(strongs_now + 3000 * SMS);
        const uint64_t lead = strongs_elect(2000 * SMS);
        assert_int_equal(n->events[SLV_STRONG_READMITTED], 1);
        assert_int_equal(slv_strong_role(strongs_node[lead].s, hurt), SLV_STRONG_GONE);
        assert_int_equal(strongs_member(lead, hurt, SLV_STRONG_VOTER).status, SLV_STRONG_OK);
        strongs_run(strongs_now + 500 * SMS);
        assert_false(slv_strong_damaged(n->s));
        assert_int_equal(slv_strong_applied(n->s), slv_strong_applied(strongs_node[lead].s));
        strongs_close();
    }
}

/* Who is put in again half a second after it was removed, when it is to be told: it is still
 * damaged, and out again first. */
static void put_in_again(bool told) {
    struct strongs_conf c = lan;
    c.seed = 12;
    c.node.readmit = true;
    strongs_open(&c);
    const uint64_t l = strongs_elect(5000 * SMS), hurt = other(l, 3);
    struct strongs_node *n = &strongs_node[hurt];
    must(l, put("a", "1", 1));
    strongs_crash(hurt);
    strongs_start(hurt, true, false);
    while (slv_strong_role(strongs_node[l].s, hurt) != SLV_STRONG_GONE)
        strongs_run(strongs_now + SMS / 10);
    uint64_t call;
    strongs_run(strongs_now + 480 * SMS);
    if (told) { /* and it does not hear it */
        strongs_cut[l][hurt] = true;
        strongs_run(strongs_now + 200 * SMS);
    } else { /* as soon as a majority is heard from: when there is one, it is a member again */
        strongs_partition(1u << l);
        strongs_run(strongs_now + 40 * SMS);
    }
    assert_int_equal(
        slv_strong_member(strongs_node[l].s, strongs_clock(l), hurt, SLV_STRONG_LEARNER, &call), 0);
    strongs_partition(0);
    strongs_cut[l][hurt] = false;
    assert_int_equal(n->events[SLV_STRONG_READMITTED], 0);
    strongs_run(strongs_now + 10000 * SMS);
    assert_int_equal(n->events[SLV_STRONG_READMITTED], 1);
    assert_int_equal(slv_strong_role(strongs_node[l].s, hurt), SLV_STRONG_GONE);
    assert_int_equal(strongs_member(l, hurt, SLV_STRONG_VOTER).status, SLV_STRONG_OK);
    strongs_run(strongs_now + 500 * SMS);
    assert_false(slv_strong_damaged(n->s));
    expect(hurt, "a", "1");
    strongs_close();
}

static void put_in_before_it_was_told(void **state) {
    (void)state;
    put_in_again(false);
}

static void put_in_as_it_was_told_in_vain(void **state) {
    (void)state;
    put_in_again(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_within_a_second),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(a_lost_way_ends_calls),
        cmocka_unit_test(slow_disks_end_no_term),
        cmocka_unit_test(hands_over),
        cmocka_unit_test(done_once),
        cmocka_unit_test(swaps),
        cmocka_unit_test(locks_and_leases),
        cmocka_unit_test(reads_by_lease),
        cmocka_unit_test(watches),
        cmocka_unit_test(a_learner_far_behind),
        cmocka_unit_test(grows_and_shrinks),
        cmocka_unit_test(damaged_it_does_not_vote),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(put_in_before_it_was_told),
        cmocka_unit_test(put_in_as_it_was_told_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
