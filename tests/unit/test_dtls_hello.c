/* test_dtls_hello.c: what a user would lose: a node that strangers can fill, shut, or use to flood
 * others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "links.h"
#include "net/dtls_record.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define LINK 7

static struct packet hello, hello_again; /* without a cookie, with one */

/* Of host 0 to host 1. */
static void record_hellos(void) {
    links_connect(0, 1, LINK, NULL);
    hello = *packet[packet_first];
    struct packet *first = packet[packet_first++];
    links_deliver(first);
    free(first);
    struct packet *reply = packet[packet_first++];
    links_deliver(reply);
    free(reply);
    hello_again = *packet[packet_first];
    links_lose();
    assert_int_equal(links_counts(1).hellos, 1);
    assert_null(host[1].assoc[LINK]);
}

static struct slv_dtls_accepted accept_from(const char *address, const struct packet *p) {
    struct slv_dtls_address from = {.n = (uint8_t)strlen(address)};
    struct slv_dtls_accepted r = {.reply_n = 0};
    memcpy(from.p, address, from.n);
    const int rc = slv_dtls_accept(host[1].d, now, &from, NULL, p->p, p->n, &r);
    assert_true(!rc || rc == SLV_E_FORMAT);
    assert_true(r.reply_n <= p->n);
    assert_true(!r.reply_n || !r.assoc);
    return r;
}

static void a_cookie_is_good_for_its_address_and_time_only(void **state) {
    (void)state;
    struct slv_dtls_conf conf = {.cookie_ns = 30 * SECOND};
    links_begin(2, &conf);
    record_hellos();
    assert_int_equal(accept_from("elsewhere", &hello_again).reply_n, SLV_DTLS_REPLY);
    assert_int_equal(accept_from("abc", &hello_again).reply_n, SLV_DTLS_REPLY);
    for (size_t i = 0; i < SLV_DTLS_COOKIE; i++) {
        struct packet p = hello_again;
        p.p[13 + 12 + 2 + 32 + 1 + 1 + i] ^= 1;
        links_deliver(&p);
        links_lose();
    }
    struct packet p = hello_again; /* another hello with that cookie */
    p.p[13 + 12 + 2 + 5] ^= 1;
    links_deliver(&p);
    links_lose();
    assert_int_equal(links_counts(1).cookies_bad, 2 + SLV_DTLS_COOKIE + 1);
    assert_int_equal(links_counts(1).accepted, 0);
    now += 30 * SECOND; /* the last one's time, at most */
    links_deliver(&hello_again);
    assert_int_equal(links_counts(1).accepted, 1);
    links_lose();
    links_close(1, LINK);
    now += 30 * SECOND;
    links_deliver(&hello_again);
    assert_int_equal(links_counts(1).accepted, 1);
    links_end();
    /* And one of long ago. */
    links_begin(2, &conf);
    record_hellos();
    now += 1000 * SECOND;
    links_deliver(&hello_again);
    assert_int_equal(links_counts(1).cookies_bad, 1);
    links_end();
}

static void a_hello_that_comes_twice_begins_one_handshake(void **state) {
    (void)state;
    links_begin(2, NULL);
    record_hellos();
    static const char mine[] = {0, 0, LINK};
    struct slv_dtls_address from = {.n = sizeof mine};
    memcpy(from.p, mine, sizeof mine);
    struct slv_dtls_accepted a, b;
    assert_int_equal(slv_dtls_accept(host[1].d, now, &from, NULL, hello_again.p, hello_again.n, &a),
                     0);
    assert_int_equal(slv_dtls_accept(host[1].d, now, &from, NULL, hello_again.p, hello_again.n, &b),
                     0);
    assert_true(a.is_new && !b.is_new && a.assoc == b.assoc);
    assert_false(slv_dtls_is_new(a.assoc, hello_again.p, hello_again.n));
    assert_false(slv_dtls_is_new(a.assoc, hello.p, hello.n));
    host[1].assoc[LINK] = a.assoc;
    links_run();
    links_must_work(0, 1, LINK);
    links_end();
}

/* What is answered is shorter than what asked for it, and before the cookie nothing is allocated.
 * */
static void nothing_is_kept_of_who_shows_no_cookie(void **state) {
    (void)state;
    static struct packet p;
    links_begin(2, NULL);
    record_hellos();
    const size_t before = mallinfo2().uordblks;
    const uint64_t allocations = slv_mem_count();
    srand(2);
    for (size_t n = 0; n <= hello.n; n++) {
        p = hello;
        p.n = (uint16_t)n;
        accept_from("a", &p);
    }
    for (int i = 0; i < 20000; i++) {
        p = i % 2 ? hello : hello_again;
        for (int k = rand() % 4; k >= 0; k--)
            p.p[rand() % p.n] = (uint8_t)rand();
        if (i % 3 == 0) p.n = (uint16_t)(rand() % (int)sizeof p.p);
        accept_from("a", &p);
    }
    assert_int_equal(slv_mem_count(), allocations);
    assert_true(mallinfo2().uordblks <= before);
    assert_int_equal(links_counts(1).assocs, 0);
    assert_true(links_counts(1).garbage > 5000 && links_counts(1).hellos > 1000);
    links_connect(0, 1, LINK + 1, NULL);
    links_run();
    links_must_work(0, 1, LINK + 1);
    links_end();
}

static void half_open_handshakes_are_bounded(void **state) {
    (void)state;
    struct slv_dtls_conf conf = {.handshakes_max = 64};
    links_begin(2, &conf);
    const size_t before = mallinfo2().uordblks;
    size_t kept = 0;
    for (int l = 0; l < 500; l++) {
        links_connect(0, 1, l, NULL);
        for (int step = 0; step < 3; step++) { /* hello, reply, hello with the cookie */
            struct packet *p = packet[packet_first++];
            links_deliver(p);
            free(p);
        }
        links_lose(); /* the server's flight */
        assert_true(links_counts(1).handshakes <= 64);
        if (l == 63) kept = mallinfo2().uordblks - before;
    }
    print_message("# a half-open handshake, both sides: %zu bytes\n", kept / 64);
    assert_int_equal(links_counts(1).failed[SLV_DTLS_WHY_DROPPED], 500 - 64);
    assert_int_equal(slv_dtls_reason(host[1].assoc[0]), SLV_DTLS_WHY_DROPPED);
    links_settle(); /* those that are left go on, the others begin anew or are told off */
    for (int l = 500 - 64; l < 500; l++)
        assert_true(links_is_open(0, l) && links_is_open(1, l));
    assert_int_equal(links_counts(1).handshakes, 0);
    links_end();
}

static void there_is_an_end_to_associations(void **state) {
    (void)state;
    struct slv_dtls_conf few = {.max = 3, .handshakes_max = 3};
    links_begin(1, NULL);
    links_open(1, &few);
    for (int l = 0; l < 5; l++) {
        links_connect(0, 1, l, NULL);
        links_run();
        assert_int_equal(links_is_open(0, l), l < 3);
    }
    const struct slv_dtls_address to = {{9}, 1};
    struct slv_dtls_assoc *a = NULL;
    assert_int_equal(slv_dtls_connect(host[1].d, now, &to, NULL, &a), SLV_E_LIMIT);
    links_close(1, 0);
    links_settle();
    assert_true(links_is_open(1, 3) != links_is_open(1, 4));
    links_end();
}

/* What is sent too early is lost, and takes nothing from what the handshake may have. */
static void data_that_come_too_early_do_not_end_a_handshake(void **state) {
    (void)state;
    struct packet p = {.from = 0, .to = 1, .link = LINK, .n = 60};
    const uint8_t data[] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 47};
    links_begin(2, NULL);
    record_hellos();
    links_deliver(&hello_again);
    memcpy(p.p, data, sizeof data);
    for (int i = 0; i < 20; i++)
        links_deliver(&p);
    assert_int_equal(links_counts(1).kept_out, 20);
    links_settle();
    links_must_work(0, 1, LINK);
    links_end();
}

/* A peer that has a true address and then sends what makes OpenSSL keep much. */
static void what_a_handshake_keeps_is_bounded(void **state) {
    (void)state;
    struct packet p = {.from = 0, .to = 1, .link = LINK, .n = 1200};
    links_begin(2, NULL);
    record_hellos();
    links_deliver(&hello_again);
    links_lose();
    const size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < 400; i++) {
        /* Records of the next epoch; and messages of 16 KB in pieces. */
        const uint8_t early[] = {22,         0xfe, 0xfd, 0, 1, 0, 0, 0, 0, (uint8_t)(i >> 8),
                                 (uint8_t)i, 4,    0xa3};
        const uint8_t piece[] = {22,
                                 0xfe,
                                 0xfd,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 1,
                                 (uint8_t)(i >> 8),
                                 (uint8_t)i,
                                 4,
                                 0xa3,
                                 11,
                                 0,
                                 0x40,
                                 0,
                                 0,
                                 (uint8_t)(2 + i % 10),
                                 0,
                                 0,
                                 1,
                                 0,
                                 4,
                                 0x97};
        memset(p.p, 0, sizeof p.p);
        if (i % 2) memcpy(p.p, early, sizeof early);
        else memcpy(p.p, piece, sizeof piece);
        links_deliver(&p);
    }
    const size_t more = mallinfo2().uordblks - before;
    print_message("# what an ill-willed peer can have kept: %zu bytes\n", more);
    assert_true(more < 200000);
    assert_true(links_counts(1).kept_out > 300);
    links_end();
}

static void lack_of_memory_loses_nothing(void **state) {
    (void)state;
    struct slv_dtls *d = NULL;
    links_begin(2, NULL);
    for (uint64_t n = 1;; n++) {
        slv_mem_fail_at(n);
        const int rc = slv_dtls_open(&host[0].conf, now, &d, NULL);
        slv_mem_fail_at(0);
        if (!rc) break;
        assert_int_equal(rc, SLV_E_NOMEM);
    }
    slv_dtls_close(d);
    struct slv_dtls_assoc *a = NULL;
    const struct slv_dtls_address to = {{1, 0, LINK}, 3};
    slv_mem_fail_at(1);
    assert_int_equal(slv_dtls_connect(host[0].d, now, &to, NULL, &a), SLV_E_NOMEM);
    slv_mem_fail_at(0);
    record_hellos();
    slv_mem_fail_at(1);
    links_deliver(&hello_again);
    slv_mem_fail_at(0);
    assert_int_equal(links_counts(1).assocs, 0);
    links_deliver(&hello_again);
    links_settle();
    links_must_work(0, 1, LINK);
    links_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cookie_is_good_for_its_address_and_time_only),
        cmocka_unit_test(a_hello_that_comes_twice_begins_one_handshake),
        cmocka_unit_test(nothing_is_kept_of_who_shows_no_cookie),
        cmocka_unit_test(half_open_handshakes_are_bounded),
        cmocka_unit_test(there_is_an_end_to_associations),
        cmocka_unit_test(data_that_come_too_early_do_not_end_a_handshake),
        cmocka_unit_test(what_a_handshake_keeps_is_bounded),
        cmocka_unit_test(lack_of_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
