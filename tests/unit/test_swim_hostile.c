/* test_swim_hostile.c: what a user would lose to one member that lies: others taken for dead,
 * memory, bandwidth, or a member that was removed and comes back.
 *
 * Messages are written here by their description in swim.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/wire.h"
#include "swim_net.h"

#include <string.h>

enum { PING = 0x10, ACK, NACK, REQ, GOSSIP, RECORDS, SUMS, PAGE, WANT };
enum { ALIVE, LEFT, DEAD_RECORD, SUSPECT, DEAD };

#define N 32
#define US 0 /* whom the lies are told */
#define LIAR 5

static struct slv_buf msg;

static void begin(int type) {
    slv_buf_init(&msg, SLV_SWIM_MESSAGE_MAX + 64);
    slv_buf_addc(&msg, (char)type);
}

static void say(int kind, uint64_t id, uint64_t incarnation) {
    slv_buf_addc(&msg, (char)kind);
    slv_write_id(&msg, id);
    slv_write_number(&msg, incarnation);
}

static void say_record(int kind, uint64_t id, uint64_t incarnation, const char *record,
                       bool is_genuine) {
    uint8_t signature[SLV_SWIM_SIGNATURE];
    const struct slv_swim_record r = {
        id, incarnation, kind == LEFT, {record, strlen(record)}, NULL};
    net_sign(&r, signature);
    signature[17] ^= !is_genuine;
    say(kind, id, incarnation);
    slv_write_bytes(&msg, record, strlen(record));
    slv_buf_add(&msg, signature, sizeof signature);
}

static void say_claim(int kind, uint64_t id, uint64_t incarnation, size_t n) {
    say(kind, id, incarnation);
    slv_write_number(&msg, n);
    uint64_t accuser[16], last = 0;
    for (size_t k = 0; k < n; k++) { /* members, in order of id */
        accuser[k] = UINT64_MAX;
        for (size_t i = 1; i < N; i++)
            if (net_id(i) > last && net_id(i) < accuser[k] && net_id(i) != id)
                accuser[k] = net_id(i);
        last = accuser[k];
        slv_write_id(&msg, accuser[k]);
    }
}

static int tell(struct net *net, uint64_t from) {
    assert_int_equal(msg.status, 0);
    const int rc = slv_swim_receive(net->node[US].swim, net->now, from, msg.data, msg.len);
    slv_buf_fini(&msg);
    return rc;
}

static struct slv_swim_counters counters(const struct net *net, size_t i) {
    struct slv_swim_counters c;
    slv_swim_count_all(net->node[i].swim, &c);
    return c;
}

static uint64_t incarnation(const struct net *net, size_t at, size_t of) {
    struct slv_swim_member m;
    assert_int_equal(slv_swim_find(net->node[at].swim, net_id(of), &m), 0);
    return m.incarnation;
}

static void open_net(struct net *net) {
    net_open(net, N, 21);
    net_join(net, NULL);
    net_run(net, 5 * NET_S);
}

static void nobody_speaks_for_another(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    static const int kinds[] = {ALIVE, LEFT, DEAD_RECORD};
    for (size_t k = 0; k < 3; k++) {
        begin(GOSSIP);
        say_record(kinds[k], net_id(3), 1000, "elsewhere", false);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
    }
    begin(GOSSIP); /* signed as alive, said to have left */
    say_record(ALIVE, net_id(3), 1000, "elsewhere", true);
    msg.data[1] = LEFT;
    assert_int_equal(tell(&net, net_id(LIAR)), 0);
    begin(GOSSIP); /* of us, forged; and claims of incarnations that we never had */
    say_record(ALIVE, net_id(US), 1u << 30, "elsewhere", false);
    say_claim(SUSPECT, net_id(US), 1u << 30, 1);
    say_claim(DEAD, net_id(US), SLV_SWIM_INCARNATION_MAX, 4);
    say_claim(DEAD, net_id(3), 1u << 30, 4);
    assert_int_equal(tell(&net, net_id(LIAR)), 0);
    assert_int_equal(incarnation(&net, US, 3), incarnation(&net, 3, 3));
    assert_true(incarnation(&net, US, US) < 100);
    assert_int_equal(net_sees(&net, US, 3), SLV_SWIM_ALIVE);
    assert_int_equal(counters(&net, US).forged, 5);
    for (int k = 0; k < 100; k++) { /* not even a verification each */
        begin(GOSSIP);
        say_record(ALIVE, net_id(3), 1000, "elsewhere", false);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
    }
    assert_true(counters(&net, US).forged < 40);
    net_close(&net);
}

static void old_records_change_nothing(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    const char *const old = "old address";
    for (int k = 0; k < 3; k++) {
        assert_int_equal(slv_swim_change(net.node[3].swim, net.now, (struct slv_str){"new", 3}), 0);
        net_run(&net, NET_S);
    }
    const uint64_t now = incarnation(&net, US, 3);
    assert_true(now > 3);
    for (uint64_t v = 1; v <= now; v++) {
        begin(GOSSIP);
        say_record(v % 2 ? ALIVE : LEFT, net_id(3), v, old, true);
        if (v < now) say_claim(DEAD, net_id(3), v, 4);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
    }
    struct slv_swim_member m;
    assert_int_equal(slv_swim_find(net.node[US].swim, net_id(3), &m), 0);
    assert_true(slv_str_is(m.record, "new") && m.state == SLV_SWIM_ALIVE);
    assert_int_equal(m.incarnation, now);
    net_close(&net);
}

static void unknown_ids_take_no_memory(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    const uint64_t before = slv_mem_count();
    const size_t n = slv_swim_count(net.node[US].swim);
    uint64_t made = 0;
    for (uint64_t id = 1; id <= 2000; id++) {
        begin(GOSSIP);
        say_claim(id % 2 ? SUSPECT : DEAD, id, id, 3);
        say_record(ALIVE, id, 1, "x", false);
        made = slv_mem_count();
        const int rc = slv_swim_receive(net.node[US].swim, net.now, id % 3 ? net_id(LIAR) : id,
                                        msg.data, msg.len);
        assert_int_equal(rc, 0);
        assert_int_equal(slv_mem_count(), made);
        slv_buf_fini(&msg);
    }
    assert_true(made > before);
    assert_int_equal(slv_swim_count(net.node[US].swim), n);
    assert_true(counters(&net, US).unknown >= 2000);
    net_close(&net);
}

/* Members with genuine records beyond what there is room for: live ones stay. */
static void the_table_has_a_bound(void **state) {
    (void)state;
    const struct slv_swim_conf conf = {.max = 40};
    struct net net;
    net_open(&net, N, 22);
    net_join(&net, &conf);
    for (uint64_t id = 1; id <= 200; id++) {
        begin(GOSSIP);
        say_record(ALIVE, id, 1, "x", true);
        const int rc = tell(&net, net_id(LIAR));
        assert_int_equal(rc, id <= 40 - N ? 0 : SLV_E_LIMIT);
    }
    assert_int_equal(slv_swim_count(net.node[US].swim), 40);
    net_run(&net, 60 * NET_S); /* they are nobody, and are found dead */
    assert_int_equal(net_seen(&net, US, SLV_SWIM_ALIVE), N - 1);
    begin(GOSSIP);
    say_record(ALIVE, 500, 1, "x", true);
    assert_int_equal(tell(&net, net_id(LIAR)), 0); /* in the place of a dead one */
    assert_int_equal(slv_swim_count(net.node[US].swim), 40);
    for (size_t i = 1; i < N; i++)
        assert_int_equal(net_sees(&net, US, i), SLV_SWIM_ALIVE);
    net_close(&net);
}

/* All the time, to all, in the name of others, about all, as fast as a network gives. */
static void a_liar_kills_nobody(void **state) {
    (void)state;
    struct net net;
    uint64_t draw = 99, refutations = 0, health = 0;
    open_net(&net);
    for (int k = 0; k < 3000; k++) {
        net_run(&net, 10 * NET_MS);
        const size_t of = net_random(&draw) % N, to = net_random(&draw) % N;
        if (of == LIAR || to == LIAR) continue;
        begin(GOSSIP);
        for (size_t i = 0; i < N; i++) {
            struct slv_swim_member m;
            assert_int_equal(slv_swim_find(net.node[to].swim, net_id(i), &m), 0);
            if ((i + N - of) % N < (k % 7 < 3 ? 12 : 1))
                say_claim(k % 2 ? DEAD : SUSPECT, m.id, m.incarnation, 4);
        }
        (void)slv_swim_receive(net.node[to].swim, net.now, net_id(LIAR), msg.data, msg.len);
        slv_buf_fini(&msg);
    }
    for (size_t i = 0; i < N; i++) {
        refutations += counters(&net, i).refutations;
        health += counters(&net, i).health;
    }
    print_message("# lies for 30 s: %u false deaths, %u refutations, health %u in all\n",
                  (unsigned)net.wrong, (unsigned)refutations, (unsigned)health);
    assert_int_equal(net.wrong, 0);
    assert_true(health <= N); /* and slows nobody down */
    assert_true(refutations > 20);
    net_close(&net);
}

/* Members are heard from, and suspected again, as often as a liar can say it. */
static void a_storm_of_claims_is_limited(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    const struct slv_swim_counters before = counters(&net, US);
    for (int k = 0; k < 50; k++) {
        for (size_t i = 1; i < N; i++) {
            begin(GOSSIP);
            assert_int_equal(tell(&net, net_id(i)), 0);
        }
        net.now += 190 * NET_MS; /* (no member runs meanwhile) */
        (void)slv_swim_tick(net.node[US].swim, net.now);
        begin(GOSSIP);
        for (size_t i = 1; i < N; i++)
            if (i != LIAR) say_claim(SUSPECT, net_id(i), incarnation(&net, US, i), 1);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
    }
    const struct slv_swim_counters c = counters(&net, US);
    assert_true(c.dropped - before.dropped > 100);
    assert_true(c.suspected - before.suspected >= 60);
    assert_true(c.suspected - before.suspected <= 16 + 8 * 10 + c.failed);
    net_close(&net);
}

/* The more members say so, the sooner: max - (max - min) * log(c + 1) / log(k + 1), here of 301 ms
 * and six times that. Our own probe may make one more of them. */
static void a_suspicion_ends_as_it_is_confirmed(void **state) {
    (void)state;
    static const uint64_t ms[] = {1806, 1054, 613, 301, 301};
    const struct slv_swim_conf conf = {.off = SLV_SWIM_NO_HEALTH}; /* it is not us */
    for (size_t n = 1; n <= 4; n++) {
        struct net net;
        net_open(&net, N, 21);
        net_join(&net, &conf);
        net_run(&net, 13 * NET_S);
        for (size_t i = 0; i < N; i++)
            if (i != US) net_stop(&net, i);
        net_run(&net, 160 * NET_MS);
        assert_int_equal(net_sees(&net, US, 3), SLV_SWIM_ALIVE);
        begin(GOSSIP);
        say_claim(SUSPECT, net_id(3), incarnation(&net, US, 3), n);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
        const uint64_t from = net.now;
        (void)slv_swim_tick(net.node[US].swim, net.now);
        while (net_sees(&net, US, 3) != SLV_SWIM_DEAD && net.now - from < 3 * NET_S)
            net_run(&net, 5 * NET_MS);
        const uint64_t took = (net.now - from) / NET_MS;
        const uint64_t off = took > ms[n - 1] ? took - ms[n - 1] : ms[n - 1] - took;
        assert_true(off <= 20 || (took + 20 >= ms[n] && took <= ms[n] + 20));
        net_close(&net);
    }
}

static void who_is_removed_stays_away(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    assert_int_equal(slv_swim_remove(net.node[US].swim, net.now, net_id(LIAR)), 0);
    assert_int_equal(slv_swim_remove(net.node[US].swim, net.now, 777), 0); /* never seen */
    assert_int_equal(slv_swim_remove(net.node[US].swim, net.now, net_id(US)), SLV_E_USAGE);
    assert_int_equal(slv_swim_change(net.node[LIAR].swim, net.now, (struct slv_str){"x", 1}), 0);
    begin(GOSSIP);
    say_record(ALIVE, 777, 9, "x", true);
    assert_int_equal(tell(&net, net_id(3)), 0);
    net_run(&net, 20 * NET_S);
    assert_int_equal(net_sees(&net, US, LIAR), SLV_SWIM_REMOVED);
    const uint64_t sent = counters(&net, US).sent;
    begin(PING);
    slv_write_number(&msg, 1);
    slv_write_number(&msg, 1);
    slv_write_id(&msg, 1);
    assert_int_equal(tell(&net, net_id(LIAR)), 0);
    assert_int_equal(counters(&net, US).sent, sent);
    slv_swim_allow(net.node[US].swim, net.now, net_id(LIAR));
    net_run(&net, 20 * NET_S);
    assert_int_equal(net_sees(&net, US, LIAR), SLV_SWIM_ALIVE);
    struct slv_swim_member m;
    assert_int_equal(slv_swim_find(net.node[US].swim, 777, &m), 0);
    assert_int_equal(m.state, SLV_SWIM_REMOVED);
    net_close(&net);
}

/* What one sends must not make us send much more. */
static void answers_are_limited(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    const struct slv_swim_counters before = counters(&net, US);
    for (int k = 0; k < 1000; k++) {
        begin(SUMS);
        for (int b = 0; b < 64; b++)
            slv_buf_add(&msg, "\1\2\3\4", 4);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
        begin(WANT);
        slv_write_id(&msg, net_id(2));
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
        begin(REQ); /* who asks for all helpers leaves some to others */
        slv_write_number(&msg, (uint64_t)k);
        slv_write_id(&msg, net_id(2));
        slv_write_number(&msg, 10000);
        assert_int_equal(tell(&net, net_id(LIAR)), 0);
    }
    assert_true(counters(&net, US).sent - before.sent <= 50 + 4);
    net_close(&net);
}

static void who_is_not_known_is_asked_who_it_is(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    const uint64_t sent = counters(&net, US).sent;
    begin(ACK);
    slv_buf_add(&msg, "\7\1", 2); /* it has no record of us */
    assert_int_equal(tell(&net, net_id(3)), 0);
    assert_int_equal(counters(&net, US).sent, sent + 1);
    net_close(&net);
}

static bool takes(struct net *net) {
    const int rc = tell(net, net_id(3));
    assert_true(!rc || rc == SLV_E_FORMAT);
    return !rc;
}

static void what_is_no_message_is_refused(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    begin(GOSSIP);
    assert_true(takes(&net));
    begin(GOSSIP + 0x10); /* another version */
    assert_false(takes(&net));
    begin(WANT + 1);
    assert_false(takes(&net));
    begin(NACK);
    slv_buf_add(&msg, "\x81\x00", 2); /* a number longer than it must be */
    assert_false(takes(&net));
    begin(GOSSIP);
    say(5, 1, 1);
    assert_false(takes(&net));
    begin(GOSSIP);
    say_claim(SUSPECT, 1, SLV_SWIM_INCARNATION_MAX + 1, 1);
    assert_false(takes(&net));
    for (size_t n = 0; n <= 5; n += 5) {
        begin(GOSSIP);
        say_claim(SUSPECT, 1, 1, n);
        assert_false(takes(&net));
    }
    begin(GOSSIP);
    say(SUSPECT, 1, 1);
    slv_buf_add(&msg, "\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1", 17); /* not in order */
    assert_false(takes(&net));
    begin(WANT);
    slv_buf_add(&msg, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1", 16);
    assert_false(takes(&net));
    begin(SUMS);
    slv_buf_add(&msg, "1234", 4);
    assert_false(takes(&net));
    begin(PAGE);
    slv_buf_add(&msg, "\1\0\0\1\0\0", 6); /* the same bucket again */
    assert_false(takes(&net));
    begin(GOSSIP);
    while (msg.len <= SLV_SWIM_MESSAGE_MAX)
        say_claim(SUSPECT, 1, 1, 1);
    assert_false(takes(&net));
    assert_int_equal(slv_swim_receive(net.node[US].swim, net.now, net_id(3), "", 0), SLV_E_FORMAT);
    assert_int_equal(slv_swim_receive(net.node[US].swim, net.now, net_id(US), "\x14", 1),
                     SLV_E_FORMAT); /* from ourselves */
    assert_int_equal(net_seen(&net, US, SLV_SWIM_ALIVE), N - 1);
    net_close(&net);
}

/* A message cut anywhere or with any bit changed is refused, or another message. */
static void broken_messages_do_no_harm(void **state) {
    (void)state;
    struct net net;
    open_net(&net);
    begin(PING);
    slv_write_number(&msg, 7);
    slv_write_number(&msg, 1);
    slv_write_id(&msg, 1);
    say_record(ALIVE, net_id(3), 2, "elsewhere", true);
    say_claim(SUSPECT, net_id(2), 1, 2);
    const struct slv_buf all = msg;
    size_t taken = 0;
    for (size_t n = 0; n < all.len; n++)
        taken += !slv_swim_receive(net.node[US].swim, net.now, net_id(3), all.data, n);
    assert_int_equal(taken, 2); /* cut between its parts */
    for (size_t bit = 0; bit < 8 * all.len; bit++) {
        all.data[bit / 8] ^= (char)(1 << bit % 8);
        const int rc = slv_swim_receive(net.node[US].swim, net.now, net_id(3), all.data, all.len);
        assert_true(!rc || rc == SLV_E_FORMAT);
        all.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    msg = all;
    slv_buf_fini(&msg);
    assert_true(incarnation(&net, US, 3) <= 2);
    assert_int_equal(slv_swim_count(net.node[US].swim), N);
    net_run(&net, 20 * NET_S);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(net_seen(&net, i, SLV_SWIM_ALIVE), N - 1);
    net_close(&net);
}

static void a_configuration_is_checked(void **state) {
    (void)state;
    struct net net;
    struct slv_swim *s = NULL;
    static char record[600];
    open_net(&net);
    const struct slv_swim_conf good = net.node[0].conf;
    struct slv_swim_conf c = good;
    c.mtu = 100;
    assert_int_equal(slv_swim_open(&c, 1, &s), SLV_E_USAGE);
    c = good;
    c.verify = NULL;
    assert_int_equal(slv_swim_open(&c, 1, &s), SLV_E_USAGE);
    c = good;
    c.off = 32;
    assert_int_equal(slv_swim_open(&c, 1, &s), SLV_E_USAGE);
    c = good;
    c.record = (struct slv_str){record, 475 - SLV_SWIM_RECORD_OVERHEAD + 1};
    assert_int_equal(slv_swim_open(&c, 1, &s), SLV_E_LIMIT);
    c.mtu = SLV_SWIM_MESSAGE_MAX;
    c.record.n = SLV_SWIM_RECORD_MAX + 1;
    assert_int_equal(slv_swim_open(&c, 1, &s), SLV_E_LIMIT);
    assert_null(s);
    assert_int_equal(slv_swim_change(net.node[0].swim, net.now, (struct slv_str){record, 513}),
                     SLV_E_LIMIT);
    for (uint64_t id = 1; id <= SLV_SWIM_SEEDS_MAX; id++) {
        const int rc = slv_swim_seed(net.node[2].swim, net.now, id);
        assert_int_equal(rc, id < SLV_SWIM_SEEDS_MAX ? 0 : SLV_E_LIMIT);
    }
    slv_swim_close(NULL);
    net_close(&net);
}

/* The longest records there may be, of all, with nothing else of a message's room to spare. */
static void long_records_fit(void **state) {
    (void)state;
    static char record[475 - SLV_SWIM_RECORD_OVERHEAD];
    memset(record, 'r', sizeof record);
    const struct slv_swim_conf conf = {.record = {record, sizeof record}};
    struct net net;
    net_open(&net, N, 23);
    for (size_t i = 0; i < N; i++)
        net.node[i].incarnation = SLV_SWIM_INCARNATION_MAX / 2;
    net_join(&net, &conf);
    net_stop(&net, 2);
    net_run(&net, 10 * NET_S);
    net_start(&net, 2, 0, &conf);
    assert_true(net_settle(&net, 10 * NET_S));
    net_close(&net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_speaks_for_another),
        cmocka_unit_test(old_records_change_nothing),
        cmocka_unit_test(unknown_ids_take_no_memory),
        cmocka_unit_test(the_table_has_a_bound),
        cmocka_unit_test(a_liar_kills_nobody),
        cmocka_unit_test(a_storm_of_claims_is_limited),
        cmocka_unit_test(a_suspicion_ends_as_it_is_confirmed),
        cmocka_unit_test(who_is_removed_stays_away),
        cmocka_unit_test(answers_are_limited),
        cmocka_unit_test(who_is_not_known_is_asked_who_it_is),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(broken_messages_do_no_harm),
        cmocka_unit_test(a_configuration_is_checked),
        cmocka_unit_test(long_records_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
