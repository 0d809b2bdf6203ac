/* test_dtls.c: what a user would lose: a link that does not come up over a bad path, data that come
 * twice or from somebody else, a peer that moved and does not get back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "links.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND ((uint64_t)1000000000)
#define LINK 7

static size_t meddle_at, meddle_bit;

static enum slv_dtls_reason reason(int h) { return slv_dtls_reason(host[h].assoc[LINK]); }

/* --- a bad path ------------------------------------------------------------------------------- */

static void lose_one(size_t n, struct packet *p) {
    if (n != meddle_at) links_push(p);
}

static void double_one(size_t n, struct packet *p) {
    links_push(p);
    if (n == meddle_at) links_push(p);
}

/* The one after it goes first. */
static void swap_two(size_t n, struct packet *p) {
    static struct packet held;
    if (n == meddle_at) held = *p;
    else links_push(p);
    if (n == meddle_at + 1) links_push(&held);
}

static void lose_some(size_t n, struct packet *p) {
    (void)n;
    const int r = rand() % 8;
    if (r > 2) links_push(p);
    if (r == 3) links_push(p);
    if (r == 4 && packet_n > packet_first + 1) {
        struct packet *last = packet[packet_n - 1];
        packet[packet_n - 1] = packet[packet_first];
        packet[packet_first] = last;
    }
}

/* Each datagram of a handshake in turn, of a full one and of one that resumes. */
static void each_datagram(void (*meddle)(size_t n, struct packet *p)) {
    struct slv_dtls_conf conf = {.mtu = 400};
    for (int resumed = 0; resumed < 2; resumed++) {
        size_t most = 1;
        for (meddle_at = 0; meddle_at < most; meddle_at++) {
            links_begin(2, &conf);
            links_connect(0, 1, 1, NULL);
            links_run();
            struct slv_dtls_session *s = resumed ? slv_dtls_session(host[0].assoc[1]) : NULL;
            const uint64_t began = now;
            links_sent = 0;
            links_meddle = meddle;
            links_connect(0, 1, LINK, s);
            links_settle();
            links_meddle = NULL;
            if (most < links_sent) most = links_sent;
            links_must_work(0, 1, LINK);
            assert_int_equal(slv_dtls_is_resumed(host[0].assoc[LINK]), resumed);
            assert_true(now - began <= 4 * SECOND);
            slv_dtls_session_close(s);
            links_end();
        }
        assert_true(most >= (resumed ? 5 : 8));
    }
}

static void any_datagram_of_a_handshake_may_be_lost(void **state) {
    (void)state;
    each_datagram(lose_one);
}

static void any_datagram_of_a_handshake_may_come_twice(void **state) {
    (void)state;
    each_datagram(double_one);
}

static void any_two_datagrams_of_a_handshake_may_change_places(void **state) {
    (void)state;
    each_datagram(swap_two);
}

static void a_bad_path_is_worn_down(void **state) {
    (void)state;
    struct slv_dtls_conf conf = {
        .mtu = 300, .retransmit_ns = SECOND / 4, .handshake_ns = 1000 * SECOND};
    int opened = 0;
    srand(1);
    for (int i = 0; i < 60; i++) {
        links_begin(2, &conf);
        links_meddle = lose_some;
        links_connect(0, 1, LINK, NULL);
        links_settle();
        links_meddle = NULL;
        links_lose();
        /* (Twelve times in a row, and OpenSSL gives up; the other side then is open alone.) */
        if (links_is_open(0, LINK) && links_is_open(1, LINK)) {
            links_must_work(0, 1, LINK);
            opened++;
        }
        links_end();
    }
    assert_true(opened >= 50);
}

static void flip_one(size_t n, struct packet *p) {
    if (n == meddle_at) p->p[meddle_bit / 8 % p->n] ^= (uint8_t)(1 << meddle_bit % 8);
    links_push(p);
}

/* A flipped bit: the handshake ends with a reason, or is as good as any. */
static void a_flipped_bit_ends_a_handshake_or_changes_nothing(void **state) {
    (void)state;
    int opened = 0, failed = 0;
    for (meddle_at = 0; meddle_at < 6; meddle_at++)
        for (meddle_bit = meddle_at; meddle_bit < 8 * 740; meddle_bit += 101) {
            links_begin(2, NULL);
            links_meddle = flip_one;
            links_connect(0, 1, LINK, NULL);
            links_settle();
            links_meddle = NULL;
            if (links_is_open(0, LINK) && links_is_open(1, LINK)) {
                links_must_work(0, 1, LINK);
                opened++;
            } else {
                failed++;
                const bool is_0 = slv_dtls_state(host[0].assoc[LINK]) == SLV_DTLS_FAILED;
                const bool is_1 =
                    host[1].assoc[LINK] && slv_dtls_state(host[1].assoc[LINK]) == SLV_DTLS_FAILED;
                assert_true(is_0 || is_1);
            }
            links_end();
        }
    print_message("# flipped bits: %d handshakes opened, %d failed\n", opened, failed);
    assert_true(opened > 0 && failed > 0);
}

static size_t flight[8], flights;
static int flight_from;
static bool too_long;

static void add_up(size_t n, struct packet *p) {
    if (!n || p->from != flight_from) flights++;
    flight_from = p->from;
    flight[(flights - 1) % 8] += p->n;
    too_long |= p->n > 548;
    links_push(p);
}

static void a_narrow_path_is_kept_to(void **state) {
    (void)state;
    struct slv_dtls_conf conf = {.mtu = 548};
    links_begin(2, &conf);
    links_connect(0, 1, 1, NULL);
    links_run();
    struct slv_dtls_session *s = slv_dtls_session(host[0].assoc[1]);
    for (int resumed = 0; resumed < 2; resumed++) {
        memset(flight, 0, sizeof flight);
        flights = links_sent = 0;
        links_meddle = add_up;
        links_connect(0, 1, 2 + resumed, resumed ? s : NULL);
        links_run();
        links_meddle = NULL;
        print_message("# flights of a%s handshake, bytes:", resumed ? " resumed" : "");
        for (size_t i = 0; i < flights; i++)
            print_message(" %zu", flight[i]);
        print_message("\n");
        assert_false(too_long);
        links_must_work(0, 1, 2 + resumed);
    }
    /* As much data as fits makes as long a datagram as may be, with one byte more it is refused. */
    static const uint8_t data[2000];
    struct slv_dtls_assoc *a = host[0].assoc[2];
    assert_int_equal(slv_dtls_room(a), 548 - slv_dtls_overhead(a));
    assert_int_equal(slv_dtls_send(a, data, slv_dtls_room(a) + 1), SLV_E_LIMIT);
    assert_int_equal(slv_dtls_send(a, data, slv_dtls_room(a)), 0);
    assert_int_equal(packet[packet_first]->n, 548);
    links_run();
    assert_int_equal(host[1].last_n, slv_dtls_room(a));
    assert_int_equal(slv_dtls_set_mtu(a, SLV_DTLS_MTU_MAX + 1), SLV_E_USAGE);
    assert_int_equal(slv_dtls_set_mtu(a, SLV_DTLS_MTU_MAX), 0);
    assert_int_equal(slv_dtls_send(a, data, slv_dtls_room(a)), 0);
    assert_int_equal(packet[packet_first]->n, SLV_DTLS_MTU_MAX);
    links_run();
    assert_int_equal(host[1].last_n, slv_dtls_room(a));
    slv_dtls_session_close(s);
    links_end();
}

static void chacha_is_chosen_by_who_has_no_aes(void **state) {
    (void)state;
    for (int who = 0; who < 2; who++) {
        struct slv_dtls_conf plain = {0}, soft = {.chacha_first = true};
        links_begin(0, NULL);
        links_open(0, who ? &plain : &soft);
        links_open(1, who ? &soft : &plain);
        links_connect(0, 1, LINK, NULL);
        links_run();
        links_must_work(0, 1, LINK);
        assert_int_equal(slv_dtls_overhead(host[0].assoc[LINK]), 29);
        links_send(0, LINK, "x");
        assert_int_equal(packet[packet_first]->n, 30);
        links_end();
    }
}

/* --- data ------------------------------------------------------------------------------------- */

static void what_comes_twice_arrives_once_and_in_any_order(void **state) {
    (void)state;
    static struct packet kept[40];
    links_begin(2, NULL);
    links_connect(0, 1, LINK, NULL);
    links_run();
    for (int i = 0; i < 40; i++) {
        links_send(0, LINK, "again");
        kept[i] = *packet[packet_first];
        links_lose();
    }
    for (int i = 39; i >= 0; i--)
        links_deliver(&kept[i]);
    assert_int_equal(host[1].got_n, 40);
    for (int i = 0; i < 40; i++)
        links_deliver(&kept[i]);
    assert_int_equal(host[1].got_n, 40);
    /* Nor does a bit that is flipped do any harm to what comes after it. */
    links_send(0, LINK, "broken");
    kept[0] = *packet[packet_first];
    links_lose();
    for (int bit = 0; bit < 8 * kept[0].n; bit++) {
        kept[1] = kept[0];
        kept[1].p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        links_deliver(&kept[1]);
    }
    assert_int_equal(host[1].got_n, 40);
    links_must_work(0, 1, LINK);
    links_end();
}

/* Who can write datagrams in the peer's name, of any form but with no key. */
static void an_open_link_cannot_be_ended_from_outside(void **state) {
    (void)state;
    static struct packet p = {.from = 0, .to = 1, .link = LINK};
    struct slv_dtls_conf soft = {.chacha_first = true};
    for (int chacha = 0; chacha < 2; chacha++) {
        links_begin(2, chacha ? &soft : NULL);
        links_connect(0, 1, LINK, NULL);
        links_run();
        for (unsigned i = 0; i < 4 * 3 * 80 * 2; i++) {
            const uint8_t type = (uint8_t)(20 + i % 4), epoch = (uint8_t)(i / 4 % 3);
            const uint8_t n = (uint8_t)(i / 12 % 80);
            const uint8_t head[] = {type, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 99, 0, n};
            memset(p.p, i < 960 ? 0 : 1, 200);
            memcpy(p.p, head, sizeof head);
            if (type == 21) p.p[13] = 2;
            p.n = (uint16_t)(sizeof head + n);
            links_deliver(&p);
        }
        p.n = 0;
        links_deliver(&p);
        links_must_work(0, 1, LINK);
        links_end();
    }
}

static void who_closes_tells_the_other(void **state) {
    (void)state;
    links_begin(2, NULL);
    struct slv_dtls_assoc *a = links_connect(0, 1, LINK, NULL);
    assert_int_equal(slv_dtls_send(a, "x", 1), SLV_E_BUSY);
    links_run();
    links_send(0, LINK, "last words");
    links_close(0, LINK);
    links_run();
    assert_int_equal(host[1].got_n, 1);
    assert_int_equal(slv_dtls_state(host[1].assoc[LINK]), SLV_DTLS_CLOSED);
    assert_int_equal(slv_dtls_send(host[1].assoc[LINK], "x", 1), SLV_E_NET);
    assert_int_equal(slv_dtls_feed(host[1].assoc[LINK], now, (const uint8_t *)"x", 1), SLV_E_NET);
    assert_int_equal(slv_dtls_timeout(host[1].assoc[LINK], now), UINT64_MAX);
    assert_int_equal(host[1].changes, 2);
    assert_int_equal(links_counts(0).assocs, 0);
    links_end();
}

/* --- who it is -------------------------------------------------------------------------------- */

static void a_stranger_is_refused_by_either_side(void **state) {
    (void)state;
    for (int who = 0; who < 2; who++) { /* that does not let the other in */
        links_begin(2, NULL);
        host[who].denied = host[!who].conf.key;
        links_connect(0, 1, LINK, NULL);
        links_settle();
        assert_int_equal(reason(who), SLV_DTLS_WHY_STRANGER);
        assert_int_equal(reason(!who), SLV_DTLS_WHY_REFUSED);
        struct slv_err err;
        assert_int_equal(slv_dtls_explain(host[who].assoc[LINK], &err), SLV_E_TRUST);
        assert_int_equal(slv_dtls_explain(host[!who].assoc[LINK], &err), SLV_E_TRUST);
        assert_non_null(strstr(err.msg, "unknown CA"));
        assert_null(slv_dtls_peer(host[who].assoc[LINK]));
        assert_int_equal(links_counts(who).failed[SLV_DTLS_WHY_STRANGER], 1);
        assert_int_equal(links_counts(who).opened, 0);
        links_end();
    }
}

static void to_other_link(size_t n, struct packet *p) {
    (void)n;
    p->link ^= 1;
    links_push(p);
}

static void a_node_does_not_speak_with_itself(void **state) {
    (void)state;
    for (int other = 0; other < 2; other++) { /* as from another address, or the same */
        links_begin(1, NULL);
        links_meddle = other ? to_other_link : NULL;
        links_connect(0, 0, LINK, NULL);
        links_settle();
        assert_int_equal(links_counts(0).opened, 0);
        assert_int_equal(links_counts(0).failed[SLV_DTLS_WHY_ITSELF], other);
        links_end();
    }
}

static void a_peer_that_does_not_answer_is_given_up(void **state) {
    (void)state;
    links_begin(2, NULL);
    host[1].asleep = true;
    const uint64_t began = now;
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_int_equal(reason(0), SLV_DTLS_WHY_TIMEOUT);
    assert_int_equal(now - began, 30 * SECOND);
    assert_int_equal(links_sent, 5); /* at 0, 1, 3, 7 and 15 s */
    links_end();
    struct slv_dtls_conf quick = {.retransmit_ns = SECOND / 10, .handshake_ns = 3 * SECOND};
    links_begin(2, &quick);
    host[1].asleep = true;
    links_connect(0, 1, LINK, NULL);
    links_settle();
    assert_int_equal(links_sent, 5); /* at 0, 0.1, 0.3, 0.7 and 1.5 s */
    links_end();
}

/* OpenSSL waits by a clock that others set: an hour back, and it sends nothing for an hour. */
static void a_clock_that_is_set_back_keeps_no_handshake_for_ever(void **state) {
    (void)state;
    links_begin(2, NULL);
    host[1].asleep = true;
    const uint64_t began = now;
    links_connect(0, 1, LINK, NULL);
    links_set_back = 3600 * SECOND;
    links_settle();
    assert_int_equal(reason(0), SLV_DTLS_WHY_TIMEOUT);
    assert_int_equal(now - began, 30 * SECOND);
    host[1].asleep = false;
    links_connect(0, 1, LINK, NULL);
    links_settle();
    links_must_work(0, 1, LINK);
    links_end();
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct slv_dtls_session *first_session(const struct slv_dtls_conf *conf) {
    links_begin(2, conf);
    links_connect(0, 1, 1, NULL);
    links_run();
    assert_null(slv_dtls_session(host[1].assoc[1]));
    struct slv_dtls_session *s = slv_dtls_session(host[0].assoc[1]);
    assert_non_null(s);
    return s;
}

static void a_peer_that_moved_resumes(void **state) {
    (void)state;
    struct slv_dtls_session *s = first_session(NULL);
    /* The old link stays what it was until the new one is open; it may also be closed first. */
    for (int closed = 0; closed < 2; closed++) {
        if (closed) links_close(0, 1);
        links_run();
        links_sent = 0;
        links_connect(0, 1, 2 + closed, s);
        links_run();
        assert_int_equal(links_sent, 5);
        links_must_work(0, 1, 2 + closed);
        assert_true(slv_dtls_is_resumed(host[0].assoc[2 + closed]));
        assert_true(slv_dtls_is_resumed(host[1].assoc[2 + closed]));
        if (!closed) links_must_work(0, 1, 1);
    }
    assert_int_equal(links_counts(1).resumed, 2);
    assert_int_equal(links_counts(1).sessions, 1);
    slv_dtls_session_close(s);
    links_end();
}

static void a_key_that_was_revoked_does_not_resume(void **state) {
    (void)state;
    /* The server's judgement: it asks who it is, and refuses. */
    struct slv_dtls_session *s = first_session(NULL);
    host[1].denied = host[0].conf.key;
    links_connect(0, 1, LINK, s);
    links_settle();
    assert_int_equal(reason(1), SLV_DTLS_WHY_STRANGER);
    assert_int_equal(reason(0), SLV_DTLS_WHY_REFUSED);
    assert_int_equal(links_counts(1).not_resumed, 1);
    assert_int_equal(links_counts(1).sessions, 0);
    slv_dtls_session_close(s);
    links_end();
    /* The client's, before it connects and while it does. */
    for (int while_ = 0; while_ < 2; while_++) {
        s = first_session(NULL);
        if (!while_) host[0].denied = host[1].conf.key;
        links_connect(0, 1, LINK, s);
        host[0].denied = host[1].conf.key;
        links_settle();
        assert_int_equal(reason(0), SLV_DTLS_WHY_STRANGER);
        assert_false(links_is_open(1, LINK));
        assert_int_equal(links_counts(0).opened, 1);
        slv_dtls_session_close(s);
        links_end();
    }
}

static void a_session_that_is_not_kept_any_more_costs_a_round_trip(void **state) {
    (void)state;
    struct slv_dtls_conf conf = {.session_ns = 100 * SECOND, .sessions_max = 4};
    for (int how = 0; how < 3; how++) {
        struct slv_dtls_session *s = first_session(&conf);
        now += 100 * SECOND - 1;
        if (how == 1) now++;                        /* too old */
        for (int l = 10; how == 2 && l < 20; l++) { /* others were there since */
            now++;
            links_connect(0, 1, l, NULL);
            links_run();
            assert_true(links_counts(1).sessions <= 4);
        }
        links_connect(0, 1, LINK, s);
        links_run();
        links_must_work(0, 1, LINK);
        assert_int_equal(slv_dtls_is_resumed(host[0].assoc[LINK]), how == 0);
        slv_dtls_session_close(s);
        if (how == 2) { /* the newest ones are kept */
            s = slv_dtls_session(host[0].assoc[18]);
            links_connect(0, 1, 30, s);
            links_run();
            assert_true(slv_dtls_is_resumed(host[0].assoc[30]));
            slv_dtls_session_close(s);
        }
        links_end();
    }
}

static uint64_t which(int h, int link) { return slv_dtls_which(host[h].assoc[link]); }

/* Nor does anybody meet the old one again, with a session of before. */
static void a_new_certificate_changes_nothing_for_who_is_there(void **state) {
    (void)state;
    struct slv_dtls_session *s = first_session(NULL);
    const uint64_t old[2] = {which(0, 1), which(1, 1)};
    links_connect(0, 1, 4, s);
    links_run();
    for (int h = 0; h < 2; h++) {
        assert_true(slv_dtls_is_resumed(host[h].assoc[4]) && old[h]);
        assert_int_equal(which(h, 4), old[h]);
    }
    assert_int_equal(slv_dtls_renew_at(host[1].d) - now, (uint64_t)7 * 86400 / 2 * SECOND);
    now += 4 * 86400 * SECOND / 1000;
    assert_int_equal(slv_dtls_renew(host[1].d, now, NULL), 0);
    assert_int_equal(slv_dtls_renew(host[0].d, now, NULL), 0);
    links_must_work(0, 1, 1);
    for (int offered = 0; offered < 2; offered++) {
        links_connect(0, 1, 2 + offered, offered ? s : NULL);
        links_run();
        links_must_work(0, 1, 2 + offered);
        assert_false(slv_dtls_is_resumed(host[0].assoc[2 + offered]));
        for (int h = 0; h < 2; h++)
            assert_true(which(h, 2 + offered) != old[h]);
    }
    slv_dtls_session_close(s);
    links_end();
}

/* --- two at once ------------------------------------------------------------------------------ */

static void two_that_connect_at_once_agree_on_one(void **state) {
    (void)state;
    int first = 0;
    for (int i = 0; i < 40; i++) {
        links_begin(2, NULL);
        links_connect(0, 1, LINK, NULL);
        links_connect(1, 0, LINK, NULL);
        links_settle();
        links_must_work(0, 1, LINK);
        const int client = slv_dtls_is_client(host[0].assoc[LINK]) ? 0 : 1;
        assert_int_equal(slv_dtls_is_client(host[1].assoc[LINK]), client == 1);
        assert_null(host[client].old[LINK]);
        assert_int_equal(slv_dtls_reason(host[!client].old[LINK]), SLV_DTLS_WHY_CROSSED);
        assert_true(links_counts(client).crossed > 0);
        first += client;
        links_end();
    }
    assert_true(first > 0 && first < 40); /* (the random numbers decide) */
}

static void of_two_between_other_addresses_both_prefer_the_same(void **state) {
    (void)state;
    links_begin(2, NULL);
    links_connect(0, 1, 2, NULL);
    links_connect(1, 0, 3, NULL);
    links_settle();
    links_must_work(0, 1, 2);
    links_must_work(0, 1, 3);
    for (int l = 2; l < 4; l++)
        assert_int_equal(slv_dtls_prefer(host[0].assoc[l]), slv_dtls_prefer(host[1].assoc[l]));
    assert_int_not_equal(slv_dtls_prefer(host[0].assoc[2]), slv_dtls_prefer(host[0].assoc[3]));
    links_end();
}

static void a_peer_that_lost_all_comes_back(void **state) {
    (void)state;
    links_begin(2, NULL);
    links_connect(0, 1, LINK, NULL);
    links_run();
    slv_dtls_assoc_close(host[0].assoc[LINK]); /* nobody is told */
    host[0].assoc[LINK] = NULL;
    links_lose();
    links_connect(0, 1, LINK, NULL);
    links_settle();
    links_must_work(0, 1, LINK);
    assert_int_equal(slv_dtls_state(host[1].old[LINK]), SLV_DTLS_OPEN);
    assert_memory_equal(slv_dtls_peer(host[1].old[LINK]), host[0].conf.key, SLV_DTLS_KEY);
    links_end();
}

/* --- many ------------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void there_may_be_a_thousand(void **state) {
    (void)state;
    links_begin(2, NULL);
    links_connect(0, 1, 1000, NULL); /* what OpenSSL keeps once is there */
    links_run();
    const size_t before = mallinfo2().uordblks;
    uint64_t t = cpu_ns();
    for (int l = 0; l < 1000; l++) {
        links_connect(0, 1, l, NULL);
        links_run();
    }
    print_message("# a full handshake, both sides: %.2f ms\n", (double)(cpu_ns() - t) / 1e9);
    print_message("# an open association: %zu bytes\n", (mallinfo2().uordblks - before) / 2000);
    assert_true((mallinfo2().uordblks - before) / 2000 < 48000);
    for (int l = 0; l < 1000; l++)
        links_must_work(l % 2, !(l % 2), l);
    struct slv_dtls_session *s = slv_dtls_session(host[0].assoc[0]);
    t = cpu_ns();
    for (int l = 0; l < 90; l++) {
        links_connect(0, 1, 1001 + l, s);
        links_run();
        assert_true(links_is_open(1, 1001 + l));
    }
    print_message("# a resumed one: %.2f ms\n", (double)(cpu_ns() - t) / 90e6);
    slv_dtls_session_close(s);
    assert_int_equal(links_counts(1).assocs, 1091);
    links_end();
}

static void settings_out_of_their_range_are_refused(void **state) {
    (void)state;
    links_begin(1, NULL);
    struct slv_dtls *d = NULL;
    struct slv_dtls_conf c[] = {host[0].conf, host[0].conf, host[0].conf, host[0].conf,
                                host[0].conf};
    c[0].mtu = SLV_DTLS_MTU_MIN - 1;
    c[1].mtu = SLV_DTLS_MTU_MAX + 1;
    c[2].retransmit_ns = SLV_DTLS_RETRANSMIT_MIN - 1;
    c[3].allow = NULL;
    c[4].max = SLV_DTLS_ASSOCS_MAX + 1;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(slv_dtls_open(&c[i], now, &d, NULL), SLV_E_USAGE);
    struct slv_dtls_conf wrong = host[0].conf; /* signs with another key */
    wrong.key[5] ^= 1;
    assert_int_equal(slv_dtls_open(&wrong, now, &d, NULL), SLV_E_TRUST);
    links_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_datagram_of_a_handshake_may_be_lost),
        cmocka_unit_test(any_datagram_of_a_handshake_may_come_twice),
        cmocka_unit_test(any_two_datagrams_of_a_handshake_may_change_places),
        cmocka_unit_test(a_bad_path_is_worn_down),
        cmocka_unit_test(a_flipped_bit_ends_a_handshake_or_changes_nothing),
        cmocka_unit_test(a_narrow_path_is_kept_to),
        cmocka_unit_test(chacha_is_chosen_by_who_has_no_aes),
        cmocka_unit_test(what_comes_twice_arrives_once_and_in_any_order),
        cmocka_unit_test(an_open_link_cannot_be_ended_from_outside),
        cmocka_unit_test(who_closes_tells_the_other),
        cmocka_unit_test(a_stranger_is_refused_by_either_side),
        cmocka_unit_test(a_node_does_not_speak_with_itself),
        cmocka_unit_test(a_peer_that_does_not_answer_is_given_up),
        cmocka_unit_test(a_clock_that_is_set_back_keeps_no_handshake_for_ever),
        cmocka_unit_test(a_peer_that_moved_resumes),
        cmocka_unit_test(a_key_that_was_revoked_does_not_resume),
        cmocka_unit_test(a_session_that_is_not_kept_any_more_costs_a_round_trip),
        cmocka_unit_test(a_new_certificate_changes_nothing_for_who_is_there),
        cmocka_unit_test(two_that_connect_at_once_agree_on_one),
        cmocka_unit_test(of_two_between_other_addresses_both_prefer_the_same),
        cmocka_unit_test(a_peer_that_lost_all_comes_back),
        cmocka_unit_test(there_may_be_a_thousand),
        cmocka_unit_test(settings_out_of_their_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
