/* test_transport.c: what a user would lose: nodes that do not find each other over a network that
 * lets little through, or that a stranger can keep from each other. */
#include "nodes.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t ways(int i) {
    const struct slv_transport_stats s = nodes_stats(i);
    return s.open[SLV_WAY_UDP] + s.open[SLV_WAY_TCP] + s.open[SLV_WAY_RELAYED];
}

static enum slv_way way(int a, int b) { return slv_transport_way(node[a].t, (uint64_t)b + 1); }

/* One association is left of them, and it carries. */
static void must_settle(int a, int b) {
    nodes_until(nodes_both_open(a, b));
    nodes_must_exchange(a, b);
    nodes_until(ways(a) == 1 && ways(b) == 1 && !nodes_stats(a).half_open &&
                !nodes_stats(b).half_open);
    nodes_must_exchange(a, b);
}

/* --- two nodes -------------------------------------------------------------------------------- */

static void two_nodes_speak_with_each_other(void **state) {
    (void)state;
    for (int leader = 0; leader < 2; leader++) { /* either may be the one that connects */
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        nodes_send(0, 1, "too early");
        assert_int_equal(nodes_stats(0).lost, 1);
        nodes_connect(leader, 1 - leader);
        must_settle(0, 1);
        assert_int_equal(way(0, 1), SLV_WAY_UDP);
        assert_int_equal(nodes_stats(0).opened[SLV_WAY_UDP], 1);
        assert_int_equal(nodes_stats(0).opened[SLV_WAY_TCP], 0);
        nodes_close(1);
        nodes_until(!node[0].open[1]);
        nodes_close(0);
    }
    assert_int_equal(node[0].ups[1], 2);
    assert_int_equal(node[0].downs[1], 2);
}

static void the_longest_datagram_comes_and_a_longer_one_is_counted(void **state) {
    (void)state;
    static char bytes[SLV_TRANSPORT_DATAGRAM_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    nodes_open(0, NULL);
    nodes_open(1, NULL);
    nodes_connect(0, 1);
    must_settle(0, 1);
    const size_t lost = nodes_stats(0).lost;
    slv_transport_send(node[0].t, 2, (struct slv_str){bytes, sizeof bytes});
    slv_transport_send(node[0].t, 2, (struct slv_str){bytes, 0});
    assert_int_equal(nodes_stats(0).lost, lost + 2);
    slv_transport_send(node[0].t, 2, (struct slv_str){bytes, sizeof bytes - 1});
    nodes_until(node[1].last_n == sizeof bytes - 1);
    assert_int_equal(nodes_stats(1).bytes_received, nodes_stats(0).bytes_sent);
}

static void over_IPv6_as_well(void **state) {
    static const char *const six[] = {"[::1]:0"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct slv_transport_conf c = nodes_conf(i);
        struct slv_transport *t = NULL;
        c.listen = six;
        if (slv_transport_open(&c, &t, NULL)) skip();
        slv_transport_close(t);
        nodes_open(i, &c);
    }
    nodes_connect(0, 1);
    must_settle(0, 1);
}

static void both_connect_at_once(void **state) {
    (void)state;
    for (int round = 0; round < 8; round++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        nodes_connect(round & 1, 1 - (round & 1));
        if (round & 2) nodes_step();
        nodes_connect(1 - (round & 1), round & 1);
        must_settle(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

/* Over IPv4 from here, over IPv6 from there: no hello crosses another, and both open. */
static void both_connect_at_once_on_different_paths(void **state) {
    static const char *const both[] = {"127.0.0.1:0", "[::1]:0"};
    (void)state;
    for (int round = 0; round < 4; round++) {
        char six[SLV_TRANSPORT_ADDRESS_TEXT];
        const char *to = six;
        for (int i = 0; i < 2; i++) {
            struct slv_transport_conf c = nodes_conf(i);
            struct slv_transport *t = NULL;
            c.listen = both;
            c.n_listen = 2;
            if (slv_transport_open(&c, &t, NULL)) skip();
            slv_transport_close(t);
            nodes_open(i, &c);
        }
        const int from = round & 1;
        assert_int_equal(slv_transport_listening(node[1 - from].t, 1, six), 0);
        nodes_connect(1 - from, from);
        assert_int_equal(
            slv_transport_connect(node[from].t, (uint64_t)(1 - from) + 1, NULL, &to, 1, NULL), 0);
        must_settle(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

static void the_first_address_that_answers_is_used(void **state) {
    (void)state;
    nodes_open(0, NULL);
    nodes_open(1, NULL);
    const int mute = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof in;
    char silent[64];
    assert_int_equal(bind(mute, (struct sockaddr *)&in, n), 0);
    assert_int_equal(getsockname(mute, (struct sockaddr *)&in, &n), 0);
    snprintf(silent, sizeof silent, "127.0.0.1:%u", ntohs(in.sin_port));
    const char *const address[] = {silent, "[2001:db8::1]:9", silent, node[1].address};
    assert_int_equal(slv_transport_connect(node[0].t, 2, NULL, address, 4, NULL), 0);
    must_settle(0, 1);
    assert_int_equal(way(0, 1), SLV_WAY_UDP);
    close(mute);
}

/* --- nodes that begin again ------------------------------------------------------------------- */

/* As if its power had failed: nobody is told. */
static void crash(int i, int peer) {
    nodes_deafen(peer, 0);
    nodes_close(i);
    nodes_deafen(peer, -1);
}

static void a_node_that_begins_again_is_up_again(void **state) {
    (void)state;
    for (int lost = 0; lost < 2; lost++) /* the leader, the follower */
        for (int from = 0; from < 2; from++) {
            const int stays = 1 - lost;
            nodes_open(0, NULL);
            nodes_open(1, NULL);
            nodes_connect(from, 1 - from);
            must_settle(0, 1);
            const unsigned ups = node[stays].ups[lost], downs = node[stays].downs[lost];
            char same[SLV_TRANSPORT_ADDRESS_TEXT];
            const char *listen = same;
            memcpy(same, node[lost].address, sizeof same);
            crash(lost, stays);
            assert_true(node[stays].open[lost]);
            struct slv_transport_conf c = nodes_conf(lost);
            c.listen = &listen;
            nodes_open(lost, &c);
            nodes_connect(lost, stays);
            must_settle(0, 1);
            assert_int_equal(node[stays].ups[lost], ups + 1);
            assert_int_equal(node[stays].downs[lost], downs); /* in the place of the one before */
            nodes_close(0);
            nodes_close(1);
        }
}

static void a_node_with_another_address_is_up_again(void **state) {
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        nodes_connect(0, 1);
        must_settle(0, 1);
        crash(lost, 1 - lost);
        nodes_open(lost, NULL);
        nodes_connect(lost, 1 - lost);
        must_settle(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

static void a_second_association_is_resumed(void **state) {
    (void)state;
    nodes_open(0, NULL);
    nodes_open(1, NULL);
    nodes_connect(0, 1);
    must_settle(0, 1);
    for (int i = 0; i < 3; i++) {
        slv_transport_disconnect(node[0].t, 2);
        node[0].open[1] = false;
        nodes_until(!node[1].open[0]);
        nodes_connect(0, 1);
        must_settle(0, 1);
    }
    assert_int_equal(nodes_stats(0).peers, 1);
    assert_int_equal(node[0].downs[1], 0); /* whoever disconnects knows it */
}

static unsigned told[SLV_TRANSPORT_ODDS]; /* the last peer's number; 0: none */

static void on_odd(void *ctx, uint64_t peer, enum slv_transport_odd what) {
    (void)ctx;
    told[what] = (unsigned)peer;
}

static uint64_t opened(int i) {
    const struct slv_transport_stats s = nodes_stats(i);
    return s.opened[SLV_WAY_UDP] + s.opened[SLV_WAY_TCP];
}

/* Who comes back again and again is one; two, of whom each takes the other's place, are two. */
static void two_with_one_key_are_noticed(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        const int one = how & 1, other = 1 - one, copy = 2; /* the leader, the follower */
        memcpy(node[copy].key, node[one].key, sizeof node[copy].key);
        memcpy(node[copy].secret, node[one].secret, sizeof node[copy].secret);
        struct slv_transport_conf c = nodes_conf(other);
        c.odd = on_odd;
        memset(told, 0, sizeof told);
        nodes_open(one, NULL);
        struct slv_transport_conf twin = nodes_conf(copy);
        twin.odd = on_odd;
        nodes_open(copy, NULL);
        nodes_open(other, &c);
        if (how & 2) nodes_deafen(other, 0); /* over TCP */
        for (int i = 0; i < 6; i++) {
            nodes_connect(one, other);
            nodes_until(nodes_both_open(one, other));
            slv_transport_disconnect(node[one].t, (uint64_t)other + 1);
            node[one].open[other] = false;
            nodes_until(!node[other].open[one]);
        }
        for (int i = 0; i < 6; i++) { /* another process each time, the one before is no more */
            nodes_close(copy);
            nodes_open(copy, &twin);
            nodes_connect(copy, other);
            nodes_until(node[copy].open[other] && node[other].open[one]);
        }
        assert_int_equal(nodes_stats(other).odd[SLV_TRANSPORT_TWIN], 0);
        const uint64_t before = opened(other);
        nodes_begin_wait();
        while (opened(other) < before + 6 ||
               !told[SLV_TRANSPORT_OWN_TWIN]) { /* whoever is not up connects, as nodes do */
            nodes_connect(node[one].open[other] ? copy : one, other);
            if (!nodes_step()) fail_msg("no way opens");
        }
        assert_int_equal(told[SLV_TRANSPORT_TWIN], one + 1);
        assert_int_equal(told[SLV_TRANSPORT_OWN_TWIN], other + 1);
        assert_int_equal(told[SLV_TRANSPORT_OTHER], 0);
        for (int i = 0; i < 3; i++)
            nodes_close(i);
        node[one].open[other] = node[copy].open[other] = node[other].open[one] = false;
    }
}

/* Though each lets the other in. */
static void who_is_of_another_mesh_is_not_heard(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) {
        const int from = how & 1, to = 1 - from;
        memset(told, 0, sizeof told);
        for (int i = 0; i < 2; i++) {
            struct slv_transport_conf c = nodes_conf(i);
            c.mesh = 7 + (unsigned)i;
            c.odd = on_odd;
            nodes_open(i, &c);
            if (how & 2) nodes_deafen(i, 0); /* over TCP */
        }
        nodes_connect(from, to);
        nodes_until(nodes_stats(0).odd[SLV_TRANSPORT_OTHER] &&
                    nodes_stats(1).odd[SLV_TRANSPORT_OTHER]);
        nodes_until(ways(0) == 0 && ways(1) == 0);
        assert_int_equal(node[0].ups[1] + node[1].ups[0], 0);
        nodes_close(0);
        nodes_close(1);
    }
}

/* --- who is let in ---------------------------------------------------------------------------- */

static void a_stranger_is_refused(void **state) {
    (void)state;
    for (int udp = 0; udp < 2; udp++) {
        nodes_member[1] = false;
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        if (!udp) nodes_deafen(0, 0);
        nodes_connect(1, 0);
        nodes_until(nodes_stats(0).failed[SLV_DTLS_WHY_STRANGER] > 0 &&
                    nodes_stats(1).failed[SLV_DTLS_WHY_REFUSED] > 0);
        assert_int_equal(node[0].ups[1], 0);
        assert_int_equal(node[1].ups[0], 0);
        assert_int_equal(ways(0), 0);
        nodes_close(0);
        nodes_close(1);
    }
}

static void another_member_in_the_place_of_one_is_refused(void **state) {
    (void)state;
    for (int pinned = 0; pinned < 2; pinned++)
        for (int udp = 0; udp < 2; udp++) {
            for (int i = 0; i < 3; i++)
                nodes_open(i, NULL);
            if (!udp) nodes_deafen(1, 0);
            const char *address = node[1].address;
            assert_int_equal(
                slv_transport_connect(node[0].t, 3, pinned ? node[2].key : NULL, &address, 1, NULL),
                0);
            nodes_until(nodes_stats(0).failed[SLV_DTLS_WHY_STRANGER] > 0);
            assert_int_equal(node[0].ups[1] + node[0].ups[2], 0);
            for (int i = 0; i < 3; i++)
                nodes_close(i);
        }
}

static void who_is_revoked_is_cut_off(void **state) {
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        for (int i = 0; i < 3; i++)
            nodes_open(i, NULL);
        if (tcp) nodes_deafen(0, 0);
        nodes_connect(1, 0);
        nodes_connect(2, 0);
        nodes_until(nodes_both_open(0, 1) && nodes_both_open(0, 2));
        assert_int_equal(way(0, 1), tcp ? SLV_WAY_TCP : SLV_WAY_UDP);
        nodes_member[1] = false;
        slv_transport_recheck(node[0].t);
        assert_false(node[0].open[1]);
        assert_true(node[0].open[2]);
        nodes_until(!node[1].open[0]);
        nodes_connect(1, 0); /* with its session, if it has one */
        nodes_until(nodes_stats(0).failed[SLV_DTLS_WHY_STRANGER] > 0);
        assert_false(node[0].open[1]);
        nodes_must_exchange(0, 2);
        nodes_member[1] = true;
        for (int i = 0; i < 3; i++)
            nodes_close(i);
    }
}

static void a_node_that_cannot_take_a_peer_up_closes_it(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        node[i].refuses = true;
        const unsigned downs = node[i].downs[1 - i];
        nodes_connect(0, 1);
        nodes_until(nodes_stats(i).ups && !ways(0) && !ways(1) && !nodes_stats(0).half_open);
        assert_int_equal(node[i].downs[1 - i], downs);
        assert_int_equal(nodes_stats(i).up, 0);
        node[i].refuses = false;
        nodes_connect(0, 1);
        must_settle(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

/* --- UDP is closed ---------------------------------------------------------------------------- */

static void without_udp_there_is_tcp(void **state) {
    (void)state;
    for (int from = 0; from < 2; from++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        nodes_deafen(1 - from, 0);
        nodes_connect(from, 1 - from);
        must_settle(0, 1);
        assert_int_equal(way(0, 1), SLV_WAY_TCP);
        assert_int_equal(way(1, 0), SLV_WAY_TCP);
        assert_int_equal(nodes_stats(0).opened[SLV_WAY_UDP], 0);
        nodes_close(1 - from);
        nodes_until(!node[from].open[1 - from]);
        nodes_close(from);
    }
}

static void both_connect_at_once_over_tcp(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 2; i++) {
            nodes_open(i, NULL);
            nodes_deafen(i, 0);
        }
        nodes_connect(0, 1);
        nodes_connect(1, 0);
        must_settle(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

static void udp_takes_over_when_it_opens(void **state) {
    (void)state;
    for (int from = 0; from < 2; from++) {
        for (int i = 0; i < 2; i++) {
            struct slv_transport_conf c = nodes_conf(i);
            c.again_ms = 200;
            nodes_open(i, &c);
        }
        const unsigned ups = node[0].ups[1], downs = node[0].downs[1];
        nodes_deafen(1 - from, 0);
        nodes_connect(from, 1 - from);
        must_settle(0, 1);
        assert_int_equal(way(0, 1), SLV_WAY_TCP);
        nodes_deafen(1 - from, -1);
        nodes_until(way(0, 1) == SLV_WAY_UDP && way(1, 0) == SLV_WAY_UDP);
        must_settle(0, 1);
        assert_int_equal(node[0].ups[1], ups + 2);
        assert_int_equal(node[0].downs[1], downs);
        nodes_close(0);
        nodes_close(1);
    }
}

/* Much at once: what is not lost comes whole and in order. */
static size_t disorder, next_number;

static void check_number(int self, int peer) {
    uint32_t number;
    (void)peer;
    memcpy(&number, node[self].last, sizeof number);
    if (number < next_number || node[self].last_n != 4 + number % 1400) disorder++;
    next_number = number + 1;
}

static void a_stream_that_is_full_loses_whole_datagrams(void **state) {
    static char bytes[SLV_TRANSPORT_DATAGRAM_MAX];
    (void)state;
    nodes_open(0, NULL);
    nodes_open(1, NULL);
    nodes_deafen(1, 0);
    nodes_connect(0, 1);
    must_settle(0, 1);
    nodes_run_ms(50); /* what is on its way has come */
    const struct slv_transport_stats before = nodes_stats(0);
    node[1].on_receive = check_number;
    disorder = next_number = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        memcpy(bytes, &i, sizeof i);
        slv_transport_send(node[0].t, 2, (struct slv_str){bytes, 4 + i % 1400});
    }
    const struct slv_transport_stats s = nodes_stats(0);
    assert_true(s.lost > before.lost);
    const size_t sent = s.datagrams_sent - before.datagrams_sent, got = node[1].got[0];
    assert_int_equal(sent + s.lost - before.lost, 4000);
    nodes_until(node[1].got[0] >= got + sent);
    assert_int_equal(disorder, 0);
}

/* --- through others --------------------------------------------------------------------------- */

static void three_nodes(uint64_t rate, uint32_t again_ms) {
    for (int i = 0; i < 3; i++) {
        struct slv_transport_conf c = nodes_conf(i);
        c.no_tcp = true;
        c.relay_use = true;
        c.relay_rate = i == 2 ? rate : 0;
        c.again_ms = again_ms;
        nodes_open(i, &c);
    }
    nodes_deafen(0, node[1].port);
    nodes_deafen(1, node[0].port);
    for (int i = 0; i < 2; i++)
        nodes_connect(i, 2);
    nodes_until(nodes_both_open(0, 2) && nodes_both_open(1, 2));
}

static void who_cannot_reach_each_other_are_relayed(void **state) {
    static char bytes[SLV_TRANSPORT_DATAGRAM_MAX];
    (void)state;
    for (int from = 0; from < 2; from++) {
        three_nodes(1000000, 60000);
        nodes_must_exchange(0, 2);
        nodes_must_exchange(1, 2);
        nodes_connect(from, 1 - from);
        nodes_until(nodes_both_open(0, 1));
        nodes_must_exchange(0, 1);
        assert_int_equal(way(0, 1), SLV_WAY_RELAYED);
        assert_int_equal(way(1, 0), SLV_WAY_RELAYED);
        slv_transport_send(node[0].t, 2, (struct slv_str){bytes, SLV_TRANSPORT_DATAGRAM});
        nodes_until(node[1].last_n == SLV_TRANSPORT_DATAGRAM);
        const struct slv_transport_stats s = nodes_stats(2);
        assert_true(s.relayed_bytes > SLV_TRANSPORT_DATAGRAM && s.relayed_datagrams > 8);
        assert_int_equal(s.relay_refused, 0);
        assert_int_equal(node[2].got[0] > 8, 0); /* none of it was the relay's own */
        nodes_close(2);
        nodes_until(!node[0].open[1] && !node[1].open[0] && !node[0].open[2]);
        nodes_close(0);
        nodes_close(1);
        memset(node[2].got, 0, sizeof node[2].got);
    }
}

static void a_direct_way_takes_over_from_a_relay(void **state) {
    (void)state;
    three_nodes(1000000, 300);
    nodes_connect(0, 1);
    nodes_until(nodes_both_open(0, 1));
    assert_int_equal(way(0, 1), SLV_WAY_RELAYED);
    nodes_deafen(0, -1);
    nodes_deafen(1, -1);
    nodes_until(way(0, 1) == SLV_WAY_UDP && way(1, 0) == SLV_WAY_UDP);
    nodes_must_exchange(0, 1);
    nodes_until(!nodes_stats(0).open[SLV_WAY_RELAYED] && !nodes_stats(1).open[SLV_WAY_RELAYED]);
    assert_int_equal(node[0].downs[1], 0);
}

static void a_relay_carries_no_more_than_it_offers(void **state) {
    static char bytes[1000];
    (void)state;
    three_nodes(20000, 60000);
    nodes_connect(0, 1);
    nodes_until(nodes_both_open(0, 1));
    nodes_must_exchange(0, 1);
    const size_t got = node[1].got[0];
    const uint64_t before = nodes_stats(2).relayed_bytes;
    for (int i = 0; i < 100; i++)
        slv_transport_send(node[0].t, 2, (struct slv_str){bytes, sizeof bytes});
    nodes_until(nodes_stats(2).relay_refused > 0);
    nodes_run_ms(100);
    assert_true(node[1].got[0] < got + 30);
    assert_true(nodes_stats(2).relayed_bytes - before < 30000);
    nodes_must_exchange(0, 2); /* what is its own it takes */
}

static void who_relays_nothing_carries_nothing(void **state) {
    (void)state;
    three_nodes(0, 60000);
    nodes_connect(0, 1);
    nodes_run_ms(700);
    assert_false(node[0].open[1]);
    assert_int_equal(nodes_stats(2).relayed_bytes, 0);
    nodes_must_exchange(0, 2);
}

/* A relay that has no way to a peer says so, and the next is asked. */
static void the_next_relay_is_asked(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct slv_transport_conf c = nodes_conf(i);
        c.no_tcp = c.relay_use = true;
        c.relay_rate = 1000000;
        nodes_open(i, &c);
    }
    nodes_deafen(0, node[1].port);
    nodes_deafen(1, node[0].port);
    nodes_connect(0, 2);
    nodes_connect(0, 3);
    nodes_connect(1, 2); /* 3, which is asked first, does not know 1 */
    nodes_until(nodes_both_open(0, 2) && nodes_both_open(0, 3) && nodes_both_open(1, 2));
    nodes_connect(0, 1);
    nodes_until(nodes_both_open(0, 1));
    nodes_must_exchange(0, 1);
    assert_int_equal(nodes_stats(0).failed[SLV_DTLS_WHY_REFUSED], 1);
    assert_true(nodes_stats(2).relayed_bytes > 0);
    assert_int_equal(nodes_stats(3).relayed_bytes, 0);
}

/* --- floods ----------------------------------------------------------------------------------- */

/* What keeps handshakes half open: it answers cookies, and says no more. */
struct attacker {
    struct slv_dtls *d;
    struct slv_dtls_assoc *assoc;
    int fd;
    unsigned said;
};

static void attacker_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    struct attacker *x = ctx;
    (void)a;
    if (x->said++ < 2) assert_int_equal(send(x->fd, p, n, 0), n);
}

static bool attacker_allow(void *ctx, const uint8_t key[32]) {
    (void)ctx;
    (void)key;
    return true;
}

static void attacker_data(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n) {
    (void)ctx;
    (void)a;
    (void)p;
    (void)n;
}

static int connected(int type, const char *from, uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    const int fd = socket(AF_INET, type, 0);
    inet_pton(AF_INET, from, &in.sin_addr);
    if (bind(fd, (struct sockaddr *)&in, sizeof in)) fail_msg("no %s", from);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(port);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static int attacker_sign(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]) {
    (void)ctx;
    return crypto_sign_detached(ret, NULL, p, n, node[NODES - 1].secret);
}

static void half_open_one(int to, struct attacker *x) {
    struct slv_dtls_conf c = {.ctx = x,
                              .sign = attacker_sign,
                              .allow = attacker_allow,
                              .output = attacker_output,
                              .data = attacker_data};
    const struct slv_dtls_address anywhere = {.n = 1};
    memcpy(c.key, node[NODES - 1].key, sizeof c.key);
    *x = (struct attacker){.fd = connected(SOCK_DGRAM, "127.0.0.2", node[to].port)};
    assert_int_equal(slv_dtls_open(&c, 0, &x->d, NULL), 0);
    assert_int_equal(slv_dtls_connect(x->d, 0, &anywhere, NULL, &x->assoc), 0);
    uint8_t p[2048];
    ssize_t n = -1;
    for (int i = 0; n < 0 && i < 50; i++) {
        nodes_step();
        n = recv(x->fd, p, sizeof p, MSG_DONTWAIT);
    }
    if (n > 0) (void)slv_dtls_feed(x->assoc, 0, p, (size_t)n);
    nodes_step();
}

static void half_open_handshakes_and_garbage_keep_nobody_out(void **state) {
    enum { MANY = 40 };
    static struct attacker x[MANY];
    uint8_t garbage[300];
    (void)state;
    struct slv_transport_conf c = nodes_conf(0);
    c.per_source = 8;
    c.handshake_ms = 60000;
    nodes_open(0, &c);
    nodes_open(1, NULL);
    nodes_open(2, NULL);
    nodes_connect(1, 0);
    must_settle(0, 1);
    const unsigned ups = node[0].ups[1];
    for (int i = 0; i < MANY; i++) {
        half_open_one(0, &x[i]);
        for (int k = 0; k < 50; k++) {
            for (size_t b = 0; b < sizeof garbage; b++)
                garbage[b] = (uint8_t)rand();
            if (k & 1) memcpy(garbage, "\x16\xfe\xff\0\0\0\0\0\0\0", 10);
            if (send(x[i].fd, garbage, (size_t)(rand() % 300), 0) < 0) break;
        }
        nodes_send(1, 0, "still there");
        nodes_send(0, 1, "yes");
    }
    const int elsewhere = connected(SOCK_DGRAM, "127.0.0.3", node[0].port);
    assert_int_equal(send(elsewhere, garbage, sizeof garbage, 0), sizeof garbage);
    close(elsewhere);
    nodes_must_exchange(0, 1);
    const struct slv_transport_stats s = nodes_stats(0);
    assert_int_equal(s.half_open, 8);
    assert_true(s.limited > 0 && s.strange > 0);
    nodes_connect(2, 0);
    nodes_until(nodes_both_open(0, 2));
    nodes_must_exchange(0, 2);
    assert_int_equal(node[0].ups[1], ups);
    for (int i = 0; i < MANY; i++) {
        slv_dtls_assoc_close(x[i].assoc);
        slv_dtls_close(x[i].d);
        close(x[i].fd);
    }
}

static void idle_and_rude_streams_keep_nobody_out(void **state) {
    enum { MANY = 60 };
    int fd[MANY];
    (void)state;
    struct slv_transport_conf c = nodes_conf(0);
    c.per_source = 8;
    c.handshake_ms = 1500;
    nodes_open(0, &c);
    nodes_open(1, NULL);
    nodes_deafen(0, 0);
    for (int i = 0; i < MANY; i++) {
        fd[i] = connected(SOCK_STREAM, "127.0.0.2", node[0].port);
        if (i & 1 && send(fd[i], "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) < 0) continue;
        nodes_step();
        assert_true(nodes_stats(0).half_open <= 8);
    }
    nodes_connect(1, 0);
    nodes_until(nodes_both_open(0, 1));
    nodes_must_exchange(0, 1);
    assert_true(nodes_stats(0).limited > 0);
    nodes_until(nodes_stats(0).failed[SLV_DTLS_WHY_TIMEOUT] > 0 && !nodes_stats(0).half_open);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
}

/* --- what may be called from within ----------------------------------------------------------- */

static void disconnect_now(int self, int peer) {
    slv_transport_disconnect(node[self].t, (uint64_t)peer + 1);
    node[self].open[peer] = false;
}

static void answer_much(int self, int peer) {
    if (node[self].got[peer] < 50) nodes_send(self, peer, "and again");
}

static void connect_again(int self, int peer) { nodes_connect(self, peer); }

static void a_node_may_send_connect_and_disconnect_from_within(void **state) {
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        if (tcp) nodes_deafen(0, 0);
        memset(node[0].got, 0, sizeof node[0].got);
        memset(node[1].got, 0, sizeof node[1].got);
        node[0].on_receive = node[1].on_receive = answer_much;
        nodes_connect(1, 0);
        nodes_until(nodes_both_open(0, 1));
        nodes_send(0, 1, "begin");
        nodes_until(node[0].got[1] >= 40);
        node[0].on_receive = disconnect_now;
        node[1].on_receive = NULL;
        node[1].on_down = connect_again;
        const unsigned ups = node[1].ups[0];
        nodes_send(1, 0, "away with me");
        nodes_until(node[1].ups[0] > ups);
        node[0].on_receive = NULL;
        node[1].on_down = NULL;
        nodes_until(nodes_both_open(0, 1));
        nodes_must_exchange(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void opening_says_which_address_is_wrong(void **state) {
    (void)state;
    static const char *const wrong[] = {"127.0.0.1", "127.0.0.1:65536", "[::1:80",
                                        "::1:80",    "198.51.100.1:0",  "nowhere.invalid:1"};
    struct slv_err err;
    struct slv_transport *t = NULL;
    struct slv_transport_conf c = nodes_conf(0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        c.listen = &wrong[i];
        assert_true(slv_transport_open(&c, &t, &err) < 0);
        assert_ptr_equal(strstr(err.msg, wrong[i]), err.msg);
    }
    nodes_open(1, NULL);
    const char *used = node[1].address;
    c.listen = &used;
    assert_int_equal(slv_transport_open(&c, &t, &err), SLV_E_IO);
    assert_ptr_equal(strstr(err.msg, used), err.msg);
    const char *many[SLV_TRANSPORT_LISTEN_MAX + 1];
    for (size_t i = 0; i <= SLV_TRANSPORT_LISTEN_MAX; i++)
        many[i] = "127.0.0.1:0";
    c.listen = many;
    c.n_listen = SLV_TRANSPORT_LISTEN_MAX + 1;
    assert_int_equal(slv_transport_open(&c, &t, &err), SLV_E_USAGE);
    c.n_listen = SLV_TRANSPORT_LISTEN_MAX;
    assert_int_equal(slv_transport_open(&c, &t, &err), 0);
    slv_transport_close(t);
    const char *named = "localhost:80", *zero = "127.0.0.1:0";
    assert_int_equal(slv_transport_connect(node[1].t, 1, NULL, &named, 1, &err), SLV_E_USAGE);
    assert_int_equal(slv_transport_connect(node[1].t, 1, NULL, &zero, 1, &err), SLV_E_USAGE);
    assert_int_equal(slv_transport_connect(node[1].t, 2, NULL, NULL, 0, &err), SLV_E_USAGE);
}

static void peers_are_bounded_and_old_ones_make_room(void **state) {
    (void)state;
    struct slv_transport_conf c = nodes_conf(0);
    c.peers_max = 2;
    nodes_open(0, &c);
    for (int i = 1; i < 4; i++)
        nodes_open(i, NULL);
    nodes_connect(1, 0);
    nodes_connect(2, 0);
    nodes_until(nodes_both_open(0, 1) && nodes_both_open(0, 2));
    nodes_connect(3, 0);
    nodes_run_ms(300);
    assert_false(node[0].open[3]);
    nodes_must_exchange(0, 1);
    nodes_must_exchange(0, 2);
    slv_transport_disconnect(node[0].t, 2);
    nodes_until(!node[1].open[0]);
    slv_transport_disconnect(node[3].t, 1);
    nodes_connect(3, 0);
    nodes_until(nodes_both_open(0, 3));
    assert_int_equal(nodes_stats(0).peers, 2);
}

/* Each allocation fails once: nothing leaks, nothing falls, and the next try succeeds. */
static void lack_of_memory_is_survived(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 60; n += 1 + n / 12) {
        struct slv_transport_conf c = nodes_conf(0);
        c.relay_use = true;
        if (n & 1) c.no_tcp = true;
        slv_mem_fail_at(n);
        const int rc = slv_transport_open(&c, &node[0].t, NULL);
        slv_mem_fail_at(0);
        assert_true(!rc || rc == SLV_E_NOMEM);
        if (rc) node[0].t = NULL;
        else nodes_close(0);
    }
    for (uint64_t n = 1; n < 24; n++) {
        nodes_open(0, NULL);
        nodes_open(1, NULL);
        if (n & 1) nodes_deafen(1, 0);
        const char *address = node[1].address;
        slv_mem_fail_at(n);
        (void)!slv_transport_connect(node[0].t, 2, NULL, &address, 1, NULL);
        nodes_run_ms(40);
        slv_mem_fail_at(0);
        nodes_begin_wait();
        while (!nodes_both_open(0, 1)) {
            (void)!slv_transport_connect(node[0].t, 2, NULL, &address, 1, NULL);
            if (!nodes_step()) fail_msg("not after allocation %d", (int)n);
        }
        nodes_must_exchange(0, 1);
        nodes_close(0);
        nodes_close(1);
    }
}

static void nodes_find_each_other_by_multicast(void **state) {
    static const char *const anywhere[] = {"0.0.0.0:0"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct slv_transport_conf c = nodes_conf(i);
        c.mesh = i < 3 ? 7 : 8;
        c.listen = anywhere;
        c.discover = (struct slv_transport_discover){
            .on = true, .interface = "lo", .port = 18376, .every_ms = 300};
        nodes_open(i, &c);
    }
    nodes_run_ms(50);
    if (!nodes_stats(0).announced) nodes_run_ms(1000);
    if (!nodes_stats(0).announced) skip();
    nodes_until(nodes_both_open(0, 1) && nodes_both_open(0, 2) && nodes_both_open(1, 2));
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(18376)};
    inet_pton(AF_INET, "239.255.83.76", &in.sin_addr);
    const struct ip_mreqn lo = {.imr_ifindex = 1};
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof lo);
    for (int i = 0; i < 300; i++)
        (void)!sendto(fd, "SLVAxxxxxxxxyyyyyyyyzz!", 22 + (size_t)(i & 1), 0,
                      (struct sockaddr *)&in, sizeof in);
    close(fd);
    nodes_until(nodes_stats(0).heard_dropped > 100);
    assert_int_equal(node[0].found[3], 0);
    assert_int_equal(node[3].ups[0], 0);
    nodes_must_exchange(0, 1);
}

static bool all_meshed(int n) {
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            if (i != k && !node[i].open[k]) return false;
    return true;
}

static void sixty_four_nodes_know_each_other(void **state) {
    (void)state;
    for (int i = 0; i < NODES; i++) {
        struct slv_transport_conf c = nodes_conf(i);
        c.per_source = c.handshakes_max = 128; /* all of them have one address */
        c.per_source_rate = 1000;
        c.tcp_after_ms = 25000;
        c.handshake_ms = 25000;
        c.retransmit_ms = 500;
        nodes_open(i, &c);
    }
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < NODES; k++)
            if (i < k || (i + k) % 5 == 0)
                if (i != k) nodes_connect(i, k);
    nodes_until(all_meshed(NODES));
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < NODES; k++)
            if (i != k) nodes_send(i, k, "hello");
    for (int i = 0; i + 1 < NODES; i++)
        nodes_must_exchange(i, i + 1);
    for (int i = 0; i < NODES; i++)
        assert_int_equal(nodes_stats(i).up, NODES - 1);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, nodes_setup, nodes_teardown)
    const struct CMUnitTest tests[] = {
        T(two_nodes_speak_with_each_other),
        T(the_longest_datagram_comes_and_a_longer_one_is_counted),
        T(over_IPv6_as_well),
        T(both_connect_at_once),
        T(both_connect_at_once_on_different_paths),
        T(the_first_address_that_answers_is_used),
        T(a_node_that_begins_again_is_up_again),
        T(a_node_with_another_address_is_up_again),
        T(a_second_association_is_resumed),
        T(two_with_one_key_are_noticed),
        T(who_is_of_another_mesh_is_not_heard),
        T(a_stranger_is_refused),
        T(another_member_in_the_place_of_one_is_refused),
        T(who_is_revoked_is_cut_off),
        T(a_node_that_cannot_take_a_peer_up_closes_it),
        T(without_udp_there_is_tcp),
        T(both_connect_at_once_over_tcp),
        T(udp_takes_over_when_it_opens),
        T(a_stream_that_is_full_loses_whole_datagrams),
        T(who_cannot_reach_each_other_are_relayed),
        T(a_direct_way_takes_over_from_a_relay),
        T(a_relay_carries_no_more_than_it_offers),
        T(who_relays_nothing_carries_nothing),
        T(the_next_relay_is_asked),
        T(half_open_handshakes_and_garbage_keep_nobody_out),
        T(idle_and_rude_streams_keep_nobody_out),
        T(a_node_may_send_connect_and_disconnect_from_within),
        T(opening_says_which_address_is_wrong),
        T(peers_are_bounded_and_old_ones_make_room),
        T(lack_of_memory_is_survived),
        T(nodes_find_each_other_by_multicast),
        T(sixty_four_nodes_know_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
