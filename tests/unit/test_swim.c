/* test_swim.c: what a user would lose: a member that is down and not known to be, one that is up
 * and taken for dead, halves that never find each other again, and a mesh that one liar breaks.
 *
 * A network in virtual time (swim_net.h), every case from fixed seeds. What one lying member can do
 * is in test_swim_hostile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/wire.h"
#include "swim_net.h"

#include <stdlib.h>
#include <string.h>

#define N 32

/* Sums over all nodes: numbers of datagrams and bytes with what they cost below. */
static uint64_t cost(const struct net *net) {
    uint64_t sum = 0;
    for (size_t i = 0; i < net->n; i++) {
        struct slv_swim_counters c;
        if (!net->node[i].swim) continue;
        slv_swim_count_all(net->node[i].swim, &c);
        sum += c.bytes + NET_OVERHEAD * c.sent;
    }
    return sum;
}

static uint64_t until_seen(struct net *net, size_t of, enum slv_swim_state state, size_t by) {
    const uint64_t from = net->now;
    while (net_seen(net, of, state) < by && net->now - from < 100 * NET_S)
        net_run(net, 10 * NET_MS);
    return net->now - from;
}

static void check_malformed(const struct net *net) {
    for (size_t i = 0; i < net->n; i++) {
        struct slv_swim_counters c;
        if (!net->node[i].swim) continue;
        slv_swim_count_all(net->node[i].swim, &c);
        assert_int_equal(c.malformed + c.forged + c.refused, 0);
    }
}

static void members_find_each_other(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct net net;
        net_open(&net, N, seed);
        net_join(&net, NULL);
        assert_true(net.now - NET_BEGIN < 4 * NET_S);
        net_run(&net, 10 * NET_S);
        const uint64_t before = cost(&net);
        net_run(&net, 20 * NET_S);
        const uint64_t each = (cost(&net) - before) / 20 / N;
        if (seed == 1) print_message("# idle: %u bytes/s a node\n", (unsigned)each);
        assert_true(each < 1000);
        assert_int_equal(net.wrong, 0);
        check_malformed(&net);
        net_close(&net);
    }
}

static void few_members_find_each_other(void **state) {
    (void)state;
    for (size_t n = 2; n <= 5; n++) {
        struct net net;
        net_open(&net, n, n);
        net_start(&net, 1, 0, NULL); /* whom they know comes later */
        net_run(&net, 30 * NET_S);
        net_join(&net, NULL);
        net_run(&net, 10 * NET_S);
        net.node[0].group = 1; /* alone: it does not try less and less */
        net_run(&net, 400 * NET_S);
        net.node[0].group = 0;
        assert_true(net_settle(&net, 8 * NET_S));
        net_run(&net, 20 * NET_S);
        net_stop(&net, 0);
        assert_true(until_seen(&net, 0, SLV_SWIM_DEAD, n - 1) < (n == 2 ? 15 : 5) * NET_S);
        net_start(&net, 0, 1, NULL);
        assert_true(net_settle(&net, 5 * NET_S));
        net_close(&net);
    }
}

static void a_crash_is_known_in_two_seconds(void **state) {
    (void)state;
    uint64_t worst = 0, sum = 0, crashes = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct net net;
        net_open(&net, N, seed);
        net_join(&net, NULL);
        net_run(&net, 13 * NET_S); /* two rounds: ways are measured */
        for (size_t v = 1; v <= 5; v++) {
            net_run(&net, net_random(&net.random) % 400 * NET_MS);
            net_stop(&net, v);
            const uint64_t t = until_seen(&net, v, SLV_SWIM_DEAD, N - v);
            worst = t > worst ? t : worst;
            sum += t;
            crashes++;
        }
        assert_int_equal(net.wrong, 0);
        net_close(&net);
    }
    print_message("# a crash is known everywhere after %u ms at worst, %u ms on average, of %u\n",
                  (unsigned)(worst / NET_MS), (unsigned)(sum / crashes / NET_MS),
                  (unsigned)crashes);
    assert_true(worst < 2 * NET_S && sum / crashes < 800 * NET_MS);
}

static void lost_datagrams_kill_nobody(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct net net;
        net_open(&net, N, seed);
        net_join(&net, NULL);
        net.loss_pct = 20;
        net_run(&net, 60 * NET_S);
        assert_int_equal(net.wrong, 0);
        net_stop(&net, 7);
        assert_true(until_seen(&net, 7, SLV_SWIM_DEAD, N - 1) < 5 * NET_S);
        net_close(&net);
    }
}

static void long_ways_are_no_failures(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct net net;
        net_open(&net, N, seed);
        net.delay_us = 100000; /* 200 ms there and back, and more */
        net.jitter_us = 20000;
        net_join(&net, NULL);
        net_run(&net, 60 * NET_S);
        assert_int_equal(net.wrong, 0);
        net_stop(&net, 7);
        const uint64_t t = until_seen(&net, 7, SLV_SWIM_DEAD, N - 1);
        if (seed == 1)
            print_message("# over 200 ms: a crash is known after %u ms\n", (unsigned)(t / NET_MS));
        assert_true(t < 10 * NET_S);
        net_close(&net);
    }
}

/* One of them is far away, and nobody knew. */
static void one_far_away_is_no_failure(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct net net;
        uint64_t suspicions = 0;
        net_open(&net, N, seed);
        net.node[3].far_us = 40000;
        net.node[9].far_us = 90000;
        net_join(&net, NULL);
        net_run(&net, 60 * NET_S);
        for (size_t i = 0; i < N; i++) {
            struct slv_swim_counters c;
            struct slv_swim_member m;
            slv_swim_count_all(net.node[i].swim, &c);
            suspicions += c.suspicions;
            assert_int_equal(slv_swim_find(net.node[i].swim, net_id(9), &m), 0);
            if (i != 9 && i != 3) assert_in_range(m.rtt_us, 180000, 190000);
            assert_int_equal(slv_swim_find(net.node[i].swim, net_id(7), &m), 0);
            if (i != 9 && i != 3 && i != 7) assert_in_range(m.rtt_us, 400, 1600);
        }
        assert_int_equal(suspicions + net.wrong, 0);
        net_close(&net);
    }
}

/* What is sent before there is a way waits for it: its answer would tell of no round trip. */
static void what_waited_says_nothing_of_the_way(void **state) {
    (void)state;
    struct net net;
    net_open(&net, 5, 1);
    net.delay_us = 1000;
    net_join(&net, NULL);
    net.node[0].wait_us = 400000;
    net_run(&net, 10 * NET_S);
    for (size_t i = 1; i < 5; i++) {
        struct slv_swim_member m;
        assert_int_equal(slv_swim_find(net.node[0].swim, net_id(i), &m), 0);
        assert_in_range(m.rtt_us, 0, 4000);
    }
    net_close(&net);
}

struct starved {
    uint64_t all, of_healthy, healthy;
};

static struct starved starve(uint64_t seed, uint32_t off) {
    const struct slv_swim_conf conf = {.off = off};
    struct net net;
    net_open(&net, N, seed);
    net_join(&net, &conf);
    net_run(&net, 5 * NET_S);
    for (size_t i = 0; i < N / 5; i++)
        net.node[i * 5 + 1].starved = true;
    net_run(&net, 120 * NET_S);
    const struct starved ret = {net.wrong, net.wrong_of_healthy, net.wrong_healthy};
    net_close(&net);
    return ret;
}

static void slow_members_accuse_nobody_else(void **state) {
    (void)state;
    struct starved ours = {0}, plain = {0};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        const struct starved a = starve(seed, 0), b = starve(seed, SLV_SWIM_PLAIN);
        ours.all += a.all, ours.of_healthy += a.of_healthy, ours.healthy += a.healthy;
        plain.all += b.all, plain.of_healthy += b.of_healthy, plain.healthy += b.healthy;
    }
    print_message("# a fifth starved: healthy ones found dead %u times (by healthy ones %u), plain "
                  "SWIM %u (%u); all %u, %u\n",
                  (unsigned)ours.of_healthy, (unsigned)ours.healthy, (unsigned)plain.of_healthy,
                  (unsigned)plain.healthy, (unsigned)ours.all, (unsigned)plain.all);
    assert_true(plain.of_healthy > 1000);
    assert_true(ours.of_healthy * 50 <= plain.of_healthy);
}

static void halves_find_each_other(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        const size_t half = seed == 1 ? N / 2 : 3;
        struct net net;
        net_open(&net, N, seed);
        net_join(&net, NULL);
        for (size_t i = 0; i < half; i++)
            net.node[i].group = 1;
        net_run(&net, 600 * NET_S);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(net_seen(&net, i, SLV_SWIM_DEAD), i < half ? N - half : half);
        const uint64_t before = cost(&net);
        net_run(&net, 60 * NET_S);
        assert_true((cost(&net) - before) / 60 / N < 1200); /* split, they are as cheap */
        for (size_t i = 0; i < half; i++)
            net.node[i].group = 0;
        const uint64_t from = net.now;
        /* One that is far is tried each 5 s; of a dozen and more, one is at once. */
        assert_true(net_settle(&net, seed == 1 ? 1200 * NET_MS : 6 * NET_S));
        print_message("# %u of %u split for 11 minutes: whole after %u ms\n", (unsigned)half, N,
                      (unsigned)((net.now - from) / NET_MS));
        net_close(&net);
    }
}

static void one_who_is_cut_off_knows_it(void **state) {
    (void)state;
    static const bool way[3][2] = {{true, true}, {true, false}, {false, true}};
    for (size_t k = 0; k < 3; k++) {
        struct net net;
        net_open(&net, N, 5 + k);
        net_join(&net, NULL);
        net_run(&net, 10 * NET_S);
        net.node[9].mute = way[k][0];
        net.node[9].deaf = way[k][1];
        net_run(&net, 6 * NET_S);
        assert_int_equal(net_seen(&net, 9, SLV_SWIM_DEAD), N - 1);
        size_t dead = 0, isolated = 0;
        struct slv_swim_counters c;
        for (size_t i = 0; i < N; i++)
            dead += i != 9 && net_sees(&net, 9, i) == SLV_SWIM_DEAD;
        slv_swim_count_all(net.node[9].swim, &c);
        assert_int_equal(dead, 0); /* it does not take all others for dead */
        if (net.node[9].deaf) assert_true(c.isolated && net.node[9].isolations == 1);
        for (size_t i = 0; i < N; i++)
            isolated += i != 9 && net.node[i].isolations;
        assert_int_equal(isolated, 0);
        net.node[9].mute = net.node[9].deaf = false;
        assert_true(net_settle(&net, 15 * NET_S));
        net_run(&net, 3 * NET_S); /* it is slow to probe, still */
        slv_swim_count_all(net.node[9].swim, &c);
        assert_false(c.isolated);
        net_close(&net);
    }
}

static void a_broken_way_between_two_is_no_failure(void **state) {
    (void)state;
    struct net net;
    net_open(&net, N, 12);
    net_join(&net, NULL);
    net_run(&net, 10 * NET_S);
    net.cut[0] = 3, net.cut[1] = 17;
    net_run(&net, 120 * NET_S);
    uint64_t suspicions = 0, health = 0;
    for (size_t i = 0; i < N; i++) {
        struct slv_swim_counters c;
        slv_swim_count_all(net.node[i].swim, &c);
        suspicions += c.suspicions;
        health += c.health;
    }
    assert_int_equal(suspicions + health + net.wrong, 0); /* helpers reach it */
    net_close(&net);
}

/* Helpers that have no answer either say so: then it is not us. */
static void a_crash_costs_others_no_health(void **state) {
    (void)state;
    struct net net;
    net_open(&net, N, 13);
    net_join(&net, NULL);
    net_run(&net, 10 * NET_S);
    net_stop(&net, 3);
    for (int k = 0; k < 300; k++) {
        net_run(&net, 10 * NET_MS);
        for (size_t i = 0; i < N; i++) {
            struct slv_swim_counters c;
            if (i == 3) continue;
            slv_swim_count_all(net.node[i].swim, &c);
            assert_int_equal(c.health, 0);
        }
    }
    net.node[5].deaf = true;
    net_run(&net, 3 * NET_S);
    struct slv_swim_counters c;
    slv_swim_count_all(net.node[5].swim, &c);
    assert_true(c.health >= 4); /* but here it is */
    net_close(&net);
}

static void who_leaves_is_not_taken_for_dead(void **state) {
    (void)state;
    struct net net;
    net_open(&net, N, 3);
    net_join(&net, NULL);
    assert_int_equal(slv_swim_leave(net.node[4].swim, net.now), 0);
    uint64_t next = slv_swim_tick(net.node[4].swim, net.now);
    for (int k = 0; next != UINT64_MAX && k < 100; k++) {
        net_run(&net, 50 * NET_MS);
        next = slv_swim_tick(net.node[4].swim, net.now);
    }
    assert_true(next == UINT64_MAX);
    net_stop(&net, 4);
    net_run(&net, 5 * NET_S);
    assert_int_equal(net_seen(&net, 4, SLV_SWIM_LEFT), N - 1);
    net_start(&net, 4, 0, NULL); /* and it may come back */
    assert_true(net_settle(&net, 5 * NET_S));
    net_close(&net);
}

static void who_comes_back_is_a_member_again(void **state) {
    (void)state;
    struct net net;
    net_open(&net, N, 4);
    net_join(&net, NULL);
    net_stop(&net, 6); /* and comes back before it was missed */
    net_start(&net, 6, 0, NULL);
    net_run(&net, 3 * NET_S);
    struct slv_swim_member m;
    assert_int_equal(slv_swim_find(net.node[20].swim, net_id(6), &m), 0);
    assert_int_equal(m.state, SLV_SWIM_ALIVE);
    assert_true(m.incarnation >= 2);
    net_stop(&net, 6);
    net_run(&net, 20 * NET_S);
    assert_int_equal(net_seen(&net, 6, SLV_SWIM_DEAD), N - 1);
    net.node[6].incarnation = 0; /* it forgot how often it was here before */
    net_start(&net, 6, 0, NULL);
    assert_true(net_settle(&net, 5 * NET_S));
    net_stop(&net, 6);
    net_run(&net, 20 * NET_S);
    net_start(&net, 6, 6, NULL); /* and whom it knew: the others look for it */
    assert_true(net_settle(&net, 10 * NET_S));
    net_close(&net);
}

/* It knows nobody, and was told of nobody: the others look for it, the sooner the less time has
 * passed. */
static void who_just_died_is_looked_for(void **state) {
    static const uint64_t away[] = {50, 300, 1000, 2500};
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const uint64_t ms = away[seed % 4];
        struct net net;
        net_open(&net, 3, seed);
        net_join(&net, NULL);
        net_run(&net, 20 * NET_S);
        net_stop(&net, 0);
        assert_true(until_seen(&net, 0, SLV_SWIM_DEAD, 2) < 3 * NET_S);
        net_run(&net, ms * NET_MS);
        net.node[0].incarnation = 0;
        net_start(&net, 0, 0, NULL);
        assert_true(net_settle(&net, (600 + 2 * ms) * NET_MS));
        net_close(&net);
    }
}

/* Of members that are up nothing is asked; of one that was removed neither. Who left is back,
 * perhaps with a store from before it left. */
static void who_is_met_is_asked(void **state) {
    (void)state;
    struct net net;
    net_open(&net, 6, 3);
    net_join(&net, NULL);
    struct slv_swim *s = net.node[0].swim;
    net_stop(&net, 1);
    until_seen(&net, 1, SLV_SWIM_DEAD, 5);
    assert_int_equal(slv_swim_leave(net.node[2].swim, net.now), 0);
    until_seen(&net, 2, SLV_SWIM_LEFT, 4);
    assert_int_equal(slv_swim_remove(s, net.now, net_id(3)), 0);
    const struct {
        uint64_t id;
        unsigned asked;
    } met[] = {{net_id(0), 0}, {net_id(1), 1}, {net_id(2), 1},
               {net_id(3), 0}, {net_id(4), 0}, {7, 1}};
    for (size_t i = 0; i < sizeof met / sizeof *met; i++) {
        struct slv_swim_counters before, after;
        slv_swim_count_all(s, &before);
        slv_swim_met(s, net.now, met[i].id);
        slv_swim_count_all(s, &after);
        assert_int_equal(after.sent - before.sent, met[i].asked);
    }
    net_close(&net);
}

/* The one that it is told of is gone; those that it knew are not, but for one. */
static void who_is_recalled_is_found(void **state) {
    (void)state;
    uint8_t signature[SLV_SWIM_SIGNATURE];
    struct net net;
    net_open(&net, 6, 5);
    net_join(&net, NULL);
    net_stop(&net, 0);
    net_stop(&net, 4);
    net_stop(&net, 5);
    net_start(&net, 5, 0, NULL);
    struct slv_swim *s = net.node[5].swim;
    for (size_t i = 1; i < 5; i++) {
        struct slv_swim_member m;
        assert_int_equal(slv_swim_find(net.node[2].swim, net_id(i), &m), 0);
        struct slv_swim_record r = {.id = m.id, .incarnation = m.incarnation, .data = m.record};
        net_sign(&r, signature);
        assert_memory_equal(signature, m.signature, sizeof signature);
        r.signature = signature;
        assert_int_equal(slv_swim_recall(s, net.now, &r, i == 3), 0);
        assert_int_equal(net_sees(&net, 5, i), i == 3 ? SLV_SWIM_DEAD : SLV_SWIM_ALIVE);
        assert_int_equal(slv_swim_recall(s, net.now, &r, i != 3), 0); /* nothing new */
        assert_int_equal(net_sees(&net, 5, i), i == 3 ? SLV_SWIM_DEAD : SLV_SWIM_ALIVE);
        r.id = net_id(0);
        assert_int_equal(slv_swim_recall(s, net.now, &r, false), SLV_E_TRUST);
        r.id = net_id(5);
        assert_int_equal(slv_swim_recall(s, net.now, &r, false), SLV_E_USAGE);
    }
    net_run(&net, 10 * NET_S);
    for (size_t i = 1; i < 5; i++)
        assert_int_equal(net_sees(&net, 5, i), i == 4 ? SLV_SWIM_DEAD : SLV_SWIM_ALIVE);
    assert_int_equal(net_sees(&net, 2, 5), SLV_SWIM_ALIVE);
    assert_int_equal(net.wrong, 1); /* the one that was recalled so */
    net_close(&net);
}

static void a_new_record_reaches_all(void **state) {
    (void)state;
    struct net net;
    net_open(&net, N, 8);
    net_join(&net, NULL);
    net.loss_pct = 10;
    assert_int_equal(slv_swim_change(net.node[3].swim, net.now, (struct slv_str){"moved", 5}), 0);
    net_run(&net, 10 * NET_S);
    for (size_t i = 0; i < N; i++) {
        struct slv_swim_member m;
        assert_int_equal(slv_swim_find(net.node[i].swim, net_id(3), &m), 0);
        assert_true(slv_str_is(m.record, "moved"));
    }
    net_close(&net);
}

/* Gossip ends; whoever missed it finds out by what lists should be. */
static void what_was_missed_is_found(void **state) {
    (void)state;
    for (int who_changes = 0; who_changes < 2; who_changes++) {
        struct net net;
        net_open(&net, N, 9);
        net_join(&net, NULL);
        net_run(&net, 10 * NET_S);
        net.node[20].deaf = true; /* so short that nobody misses it */
        struct slv_swim *s = net.node[3].swim;
        if (who_changes == 0)
            assert_int_equal(slv_swim_change(s, net.now, (struct slv_str){"moved", 5}), 0);
        else assert_int_equal(slv_swim_leave(s, net.now), 0);
        (void)slv_swim_tick(s, net.now);
        net_run(&net, 900 * NET_MS);
        struct slv_swim_member m;
        assert_int_equal(slv_swim_find(net.node[20].swim, net_id(3), &m), 0);
        assert_int_equal(m.incarnation, 1);
        net.node[20].deaf = false;
        net_run(&net, 10 * NET_S);
        assert_int_equal(slv_swim_find(net.node[20].swim, net_id(3), &m), 0);
        assert_true(m.incarnation > 1);
        assert_int_equal(m.state, who_changes ? SLV_SWIM_LEFT : SLV_SWIM_ALIVE);
        net_close(&net);
    }
}

static void the_same_seed_gives_the_same_run(void **state) {
    (void)state;
    uint64_t hash[3];
    for (size_t k = 0; k < 3; k++) {
        struct net net;
        net_open(&net, N, k == 2 ? 78 : 77);
        net_join(&net, NULL);
        net.loss_pct = 5;
        net.node[3].starved = true;
        net_stop(&net, 9);
        net_run(&net, 20 * NET_S);
        hash[k] = net.hash;
        net_close(&net);
    }
    assert_true(hash[0] == hash[1] && hash[0] != hash[2]);
}

static void data_is_a_sign_of_life(void **state) {
    (void)state;
    struct net net;
    net_open(&net, 3, 6);
    net_join(&net, NULL);
    net_run(&net, 10 * NET_S);
    net.node[1].mute = true; /* its answers are lost, but its data comes to node 0 */
    for (int k = 0; k < 1000; k++) {
        net_run(&net, 20 * NET_MS);
        slv_swim_heard(net.node[0].swim, net.now, net_id(1));
        assert_int_not_equal(net_sees(&net, 0, 1), SLV_SWIM_DEAD);
    }
    assert_int_equal(net_sees(&net, 2, 1), SLV_SWIM_DEAD);
    net_close(&net);
}

/* --- a thousand ------------------------------------------------------------------------------- */

#define MANY 1000

/* Each learns of all from one that has all, as far as records go into a message. */
static void introduce(struct net *net) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_SWIM_MESSAGE_MAX);
    for (size_t k = 0; k < net->n;) {
        slv_buf_clear(&b);
        slv_buf_addc(&b, 0x15);
        for (int j = 0; j < 12 && k < net->n; j++, k++) {
            struct slv_swim_member m;
            uint8_t signature[SLV_SWIM_SIGNATURE];
            assert_int_equal(slv_swim_find(net->node[k].swim, net_id(k), &m), 0);
            const struct slv_swim_record r = {m.id, m.incarnation, false, m.record, NULL};
            net_sign(&r, signature);
            slv_buf_addc(&b, 0);
            slv_write_id(&b, r.id);
            slv_write_number(&b, r.incarnation);
            slv_write_bytes(&b, r.data.p, r.data.n);
            slv_buf_add(&b, signature, sizeof signature);
        }
        assert_int_equal(b.status, 0);
        for (size_t i = 0; i < net->n; i++)
            (void)slv_swim_receive(net->node[i].swim, net->now, 1, b.data, b.len);
    }
    slv_buf_fini(&b);
}

static void a_thousand_hear_of_a_change(void **state) {
    (void)state;
    const struct slv_swim_conf conf = {.record = {"a", 1}};
    struct net net;
    net_open(&net, MANY, 1);
    for (size_t i = 0; i < MANY; i++)
        net_start(&net, i, i, &conf);
    introduce(&net);
    net_run(&net, 1500 * NET_MS);
    assert_int_equal(net_seen(&net, 17, SLV_SWIM_ALIVE), MANY - 1);
    net_stop(&net, 17);
    const uint64_t t = until_seen(&net, 17, SLV_SWIM_DEAD, MANY - 1);
    print_message("# a thousand: a crash is known after %u ms\n", (unsigned)(t / NET_MS));
    assert_true(t < 5 * NET_S);
    const uint64_t from = net.now;
    assert_int_equal(slv_swim_change(net.node[3].swim, net.now, (struct slv_str){"b", 1}), 0);
    size_t have = 0;
    while (have < MANY - 1 && net.now - from < 20 * NET_S) {
        have = 0;
        net_run(&net, 50 * NET_MS);
        for (size_t i = 0; i < MANY; i++) {
            struct slv_swim_member m;
            have += net.node[i].swim && !slv_swim_find(net.node[i].swim, net_id(3), &m) &&
                    slv_str_is(m.record, "b");
        }
    }
    print_message("# a thousand: a change is known after %u ms\n",
                  (unsigned)((net.now - from) / NET_MS));
    assert_true(net.now - from <= 2 * NET_S); /* ten periods: log2 of a thousand */
    net_start(&net, 17, 3, &conf);            /* who joins learns of all from few messages */
    while (slv_swim_count(net.node[17].swim) < MANY && net.now - from < 4 * NET_S)
        net_run(&net, 100 * NET_MS);
    struct slv_swim_counters c;
    slv_swim_count_all(net.node[17].swim, &c);
    print_message("# a thousand: one that joins knows all after %u ms\n",
                  (unsigned)((net.now - from) / NET_MS));
    assert_int_equal(c.members[SLV_SWIM_ALIVE], MANY);
    net_close(&net);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void without_memory_nothing_is_lost(void **state) {
    (void)state;
    uint64_t failed = 1;
    for (uint64_t k = 1; failed; k++) {
        const struct slv_swim_conf conf = {.record = {"a", 1}};
        struct net net;
        net_open(&net, 6, 2);
        for (size_t i = 0; i < 3; i++)
            net_start(&net, i, 0, &conf);
        const uint64_t before = slv_mem_count();
        slv_mem_fail_at(k);
        net_run(&net, NET_S);
        const int changed = slv_swim_change(net.node[1].swim, net.now, (struct slv_str){"b", 1});
        assert_true(!changed || changed == SLV_E_NOMEM);
        const int removed = slv_swim_remove(net.node[2].swim, net.now, 12345);
        assert_true(!removed || removed == SLV_E_NOMEM);
        failed = slv_mem_count() - before >= k;
        slv_mem_fail_at(0);
        for (size_t i = 3; i < 6; i++)
            net_start(&net, i, 0, &conf);
        assert_true(net_settle(&net, 20 * NET_S));
        net_close(&net);
    }
    failed = 1;
    for (uint64_t k = 1; failed; k++) {
        struct net net;
        struct slv_swim *s = NULL;
        net_open(&net, 1, 2);
        net_start(&net, 0, 0, NULL);
        slv_mem_fail_at(k);
        const int rc = slv_swim_open(&net.node[0].conf, net.now, &s);
        failed = rc != 0;
        assert_true(!rc || (rc == SLV_E_NOMEM && !s));
        slv_mem_fail_at(0);
        slv_swim_close(s);
        net_close(&net);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_find_each_other),
        cmocka_unit_test(few_members_find_each_other),
        cmocka_unit_test(a_crash_is_known_in_two_seconds),
        cmocka_unit_test(lost_datagrams_kill_nobody),
        cmocka_unit_test(long_ways_are_no_failures),
        cmocka_unit_test(one_far_away_is_no_failure),
        cmocka_unit_test(what_waited_says_nothing_of_the_way),
        cmocka_unit_test(slow_members_accuse_nobody_else),
        cmocka_unit_test(halves_find_each_other),
        cmocka_unit_test(one_who_is_cut_off_knows_it),
        cmocka_unit_test(a_broken_way_between_two_is_no_failure),
        cmocka_unit_test(a_crash_costs_others_no_health),
        cmocka_unit_test(who_leaves_is_not_taken_for_dead),
        cmocka_unit_test(who_comes_back_is_a_member_again),
        cmocka_unit_test(who_is_recalled_is_found),
        cmocka_unit_test(who_just_died_is_looked_for),
        cmocka_unit_test(who_is_met_is_asked),
        cmocka_unit_test(a_new_record_reaches_all),
        cmocka_unit_test(what_was_missed_is_found),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(data_is_a_sign_of_life),
        cmocka_unit_test(a_thousand_hear_of_a_change),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
