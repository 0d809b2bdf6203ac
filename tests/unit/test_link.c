/* test_link.c: what a user would lose: a message that never comes, comes twice, or comes in pieces;
 * a write that waits behind a snapshot; a node that is taken down by what another sends it.
 *
 * Links over simulated paths (path.h) that lose, double, delay and reorder, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "mesh/wire.h"
#include "path.h"

#include <stdlib.h>

#define KIB ((size_t)1024)
#define MBIT ((uint64_t)125000) /* bytes a second */

static const struct slv_link_conf plain = {.mtu_max = 1350};
static const enum slv_lane lanes[] = {SLV_LANE_URGENT, SLV_LANE_STRONG, SLV_LANE_REPAIR,
                                      SLV_LANE_BULK};

/* Bytes of messages a second, until the last of them had come. */
static uint64_t goodput(const struct path_end *e, enum slv_lane lane, uint64_t since) {
    return (uint64_t)((double)e->came_bytes[lane] * 1e9 / (double)(e->came_at[lane] - since));
}

/* --- all comes, once, in order ---------------------------------------------------------------- */

/* Messages of any lane both ways, now and then. */
static void mixed(int n) {
    for (int i = 0; i < n; i++) {
        struct path_end *e = &path_end[path_rnd(2)];
        const int rc = path_give(e, lanes[path_rnd(SLV_LANES)]);
        assert_true(!rc || rc == SLV_E_BUSY);
        if (!path_rnd(3)) path_run(path_now + path_rnd(50) * PATH_MS);
    }
    path_run(UINT64_MAX);
    path_settled();
}

static void all_comes_once_and_in_order(void **state) {
    static const uint32_t loss[] = {0, 10, 50, 200}, delay[] = {1, 20, 200};
    (void)state;
    for (uint32_t turn = 0; turn < 1800; turn++) {
        struct path_way w = {.loss = loss[turn % 4], .delay = delay[turn / 4 % 3] * PATH_MS};
        if (turn / 12 % 2) w.doubled = 1 + turn % 100;
        if (turn / 24 % 2) w.late = 1 + turn % 300;
        if (turn / 48 % 2) w.jitter = w.delay;
        if (turn / 96 % 2) w.rate = 8 * MBIT;
        if (turn / 192 % 2) w.queue = 20000;
        if (turn / 384 % 2) w.mtu = 475 + turn % 900;
        path_open(turn, 2, &plain, &w);
        if (turn % 5 == 0) path_end[0].size[SLV_LANE_BULK] = 60000;
        if (turn % 7 == 0) path_end[1].size[SLV_LANE_URGENT] = 3;
        mixed(20);
        path_close();
    }
}

/* One thing about a path, or who uses it, that is other from now on. */
static void change(struct path_end *e) {
    struct path_way *w = &e->way;
    switch (path_rnd(8)) {
    case 0:
        w->loss = path_rnd(2) ? 0 : path_rnd(400);
        break;
    case 1:
        w->delay = path_rnd(600) * PATH_MS;
        break;
    case 2:
        w->cut = path_rnd(2);
        break;
    case 3:
        w->mtu = path_rnd(2) ? 0 : 475 + path_rnd(900);
        break;
    case 4:
        w->rate = path_rnd(3) ? 0 : 4000 + path_rnd(1000000);
        break;
    case 5:
        w->late = w->doubled = path_rnd(300);
        break;
    case 6:
        slv_mem_fail_at(1 + path_rnd(5));
        break;
    default:
        slv_link_hold(e->l, lanes[path_rnd(SLV_LANES)], path_rnd(2));
    }
}

static void whatever_happens_all_comes_when_it_is_over(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 250; seed++) {
        struct slv_link_conf c = plain;
        c.rate = seed % 5 ? 0 : 20000 + 400 * seed;
        path_open(seed, 2, &c, &(struct path_way){.delay = PATH_MS});
        for (int k = 0; k < 60; k++) {
            struct path_end *e = &path_end[path_rnd(2)];
            if (path_rnd(2)) change(e);
            for (uint32_t n = path_rnd(20); n > 0; n--)
                (void)!path_give(e, lanes[path_rnd(SLV_LANES)]);
            path_run(path_now + path_rnd(path_rnd(3) ? 200 : 5000) * PATH_MS);
        }
        slv_mem_fail_at(0);
        for (size_t i = 0; i < 2; i++) {
            path_end[i].way = (struct path_way){.delay = PATH_MS};
            for (size_t k = 0; k < SLV_LANES; k++)
                slv_link_hold(path_end[i].l, lanes[k], false);
        }
        path_run(UINT64_MAX);
        path_settled();
        path_close();
    }
}

static void long_messages_come_over_bad_paths(void **state) {
    (void)state;
    for (uint32_t turn = 0; turn < 12; turn++) {
        struct path_way w = {.delay = 20 * PATH_MS, .loss = 50 * (turn % 4), .late = 20};
        path_open(turn, 2, &plain, &w);
        path_end[0].size[SLV_LANE_BULK] = 1 << 20;
        path_give_all(&path_end[0], SLV_LANE_BULK, 3);
        path_settled();
        path_close();
    }
}

static void a_slow_line_is_used_and_not_flooded(void **state) {
    const struct path_way w = {.rate = 8000, .delay = 20 * PATH_MS, .queue = 8000, .mtu = 475};
    (void)state;
    path_open(1, 2, &plain, &w);
    const uint64_t since = path_now;
    path_give_all(&path_end[0], SLV_LANE_REPAIR, 150);
    assert_in_range(goodput(&path_end[1], SLV_LANE_REPAIR, since), 8000 * 80 / 100, 8000);
    assert_in_range(path_stats(0).retransmitted, 0, path_end[1].came_bytes[SLV_LANE_REPAIR] / 8);
    path_settled();
    path_close();
}

static void messages_of_all_lengths_up_to_the_limit(void **state) {
    static char bytes[SLV_LINK_MESSAGE_MAX + 1];
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = PATH_MS});
    struct slv_link *l = path_end[0].l;
    path_end[1].loose = true;
    const size_t n[] = {0, 1, 127, 128, 475, 16384, SLV_LINK_MESSAGE_MAX};
    size_t sum = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        assert_int_equal(slv_link_send(l, SLV_LANE_BULK, (struct slv_str){bytes, n[i]}), 0);
        path_run(UINT64_MAX);
        sum += n[i];
        assert_int_equal(path_end[1].came[SLV_LANE_BULK], i + 1);
        assert_int_equal(path_end[1].came_bytes[SLV_LANE_BULK], sum);
    }
    assert_int_equal(slv_link_send(l, SLV_LANE_BULK, (struct slv_str){bytes, sizeof bytes}),
                     SLV_E_LIMIT);
    path_close();
}

/* --- how fast --------------------------------------------------------------------------------- */

static void a_long_transfer_fills_the_bottleneck(void **state) {
    static const struct {
        uint64_t mbit, ms, queue;
    } t[] = {{10, 20, 50000}, {10, 20, 20000}, {2, 50, 12500}, {50, 2, 30000}, {4, 100, 80000}};
    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct path_way w = {
            .rate = t[i].mbit * MBIT, .delay = t[i].ms * PATH_MS / 2, .queue = t[i].queue};
        path_open(i, 2, &plain, &w);
        path_end[0].size[SLV_LANE_BULK] = 200000;
        const uint64_t since = path_now;
        path_give_all(&path_end[0], SLV_LANE_BULK, t[i].mbit * 12);
        assert_in_range(goodput(&path_end[1], SLV_LANE_BULK, since), w.rate * 85 / 100, w.rate);
        assert_int_equal(path_stats(0).black_holes, 0); /* though a queue lost many in a row */
        path_settled();
        path_close();
    }
}

static void two_share_a_bottleneck_fairly(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        const struct path_way w = {
            .rate = 10 * MBIT, .delay = 15 * PATH_MS, .jitter = PATH_MS, .queue = 50000};
        path_open(seed, 4, &plain, &w);
        path_end[2].via = &path_end[0].way;
        uint64_t at[2] = {0};
        for (int k = 0; k < 300; k++) { /* the second begins two seconds later */
            path_fill(&path_end[0], SLV_LANE_BULK);
            if (k >= 20) path_fill(&path_end[2], SLV_LANE_BULK);
            path_run(path_now + 100 * PATH_MS);
            if (k != 100) continue;
            at[0] = path_end[1].came_bytes[SLV_LANE_BULK];
            at[1] = path_end[3].came_bytes[SLV_LANE_BULK];
        }
        const uint64_t a = path_end[1].came_bytes[SLV_LANE_BULK] - at[0];
        const uint64_t b = path_end[3].came_bytes[SLV_LANE_BULK] - at[1];
        assert_true(a < 2 * b && b < 2 * a);
        assert_true(a + b > 20 * w.rate * 85 / 100);
        path_close();
    }
}

static void an_urgent_write_does_not_wait_for_a_snapshot(void **state) {
    const struct path_way w = {.rate = 10 * MBIT, .delay = 10 * PATH_MS, .queue = 40000};
    (void)state;
    path_open(3, 2, &plain, &w);
    path_end[0].size[SLV_LANE_URGENT] = 300;
    path_end[0].size[SLV_LANE_BULK] = 200000;
    uint32_t slow = 0;
    for (uint64_t k = 0; k < 200; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK); /* a megabyte waits: about a second */
        const uint64_t since = path_now;
        assert_int_equal(path_give(&path_end[0], SLV_LANE_URGENT), 0);
        path_run(path_now + 97 * PATH_MS);
        for (int i = 0; i < 3 && path_end[1].came[SLV_LANE_URGENT] <= k; i++)
            path_run(path_now + 50 * PATH_MS); /* it was lost */
        assert_int_equal(path_end[1].came[SLV_LANE_URGENT], k + 1);
        /* What is in flight: the queue of the way, 32 ms; and the delay. */
        if (path_end[1].came_at[SLV_LANE_URGENT] - since > 45 * PATH_MS) slow++;
    }
    assert_in_range(slow, 0, 10);
    path_close();
}

static void the_rate_that_is_set_is_kept(void **state) {
    const struct slv_link_conf c = {.mtu_max = 1350, .rate = 50000};
    (void)state;
    path_open(1, 2, &c, &(struct path_way){.delay = 5 * PATH_MS});
    for (int k = 0; k < 100; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK);
        for (int i = 0; i < 2; i++) /* these do not wait, and all else waits for them */
            assert_int_equal(slv_link_datagram(path_end[0].l, (struct slv_str){"0123456789", 10}),
                             0);
        path_run(path_now + 100 * PATH_MS);
    }
    assert_int_equal(path_end[1].datagrams, 200);
    assert_in_range(path_stats(0).bytes_sent, 10 * c.rate * 98 / 100,
                    10 * c.rate + c.rate / 10 + 2700);
    path_close();
}

/* --- lanes ------------------------------------------------------------------------------------ */

static void no_lane_starves_and_shares_are_kept(void **state) {
    (void)state;
    for (size_t from = 0; from < 3; from += 2) {
        const struct path_way w = {.rate = 4 * MBIT, .delay = 5 * PATH_MS, .queue = 20000};
        uint64_t sum = 0, came[SLV_LANES];
        path_open(from, 2, &plain, &w);
        path_give_all(&path_end[0], SLV_LANE_REPAIR,
                      from ? 500 : 0); /* who was alone owes nothing */
        path_end[1].came_bytes[SLV_LANE_REPAIR] = 0;
        for (int k = 0; k < (from ? 20 : 200); k++) {
            for (size_t i = from; i < SLV_LANES; i++)
                path_fill(&path_end[0], lanes[i]);
            path_run(path_now + 100 * PATH_MS);
        }
        for (size_t i = 0; i < SLV_LANES; i++)
            sum += came[i] = path_end[1].came_bytes[i];
        if (from) { /* two to one */
            assert_true(came[SLV_LANE_REPAIR] > came[SLV_LANE_BULK] * 17 / 10);
            assert_true(came[SLV_LANE_REPAIR] < came[SLV_LANE_BULK] * 23 / 10);
        } else {
            for (size_t i = 1; i < SLV_LANES; i++)
                assert_true(came[i] > sum / (3 * SLV_LINK_TURN) * 9 / 10);
            assert_true(came[SLV_LANE_URGENT] > sum * 8 / 10);
        }
        path_close();
    }
}

static void a_loss_in_one_lane_holds_up_no_other(void **state) {
    char buf[SLV_LINK_MTU_MAX];
    (void)state;
    for (size_t i = 0; i < SLV_LANES; i++) {
        path_open(i, 2, &plain, &(struct path_way){.delay = 20 * PATH_MS});
        for (size_t k = 0; k < SLV_LANES; k++)
            path_end[0].size[k] = 400;
        for (size_t k = 0; k < SLV_LANES; k++) { /* the first is lost */
            assert_int_equal(path_give(&path_end[0], lanes[(i + k) % SLV_LANES]), 0);
            while (!k && path_poll(&path_end[0], buf))
                ;
        }
        path_run(path_now + 25 * PATH_MS); /* before it can have been sent again */
        for (size_t k = 0; k < SLV_LANES; k++)
            assert_int_equal(path_end[1].came[lanes[(i + k) % SLV_LANES]], k > 0);
        path_run(UINT64_MAX);
        path_settled();
        path_close();
    }
}

static void who_is_busy_holds_a_lane_back(void **state) {
    struct slv_link_conf c = plain;
    c.message_max = 3000;
    c.lane_queue = 64 * KIB;
    (void)state;
    path_open(1, 2, &c, &(struct path_way){.delay = PATH_MS});
    struct path_end *a = &path_end[0], *b = &path_end[1];
    slv_link_hold(b->l, SLV_LANE_BULK, true);
    for (int k = 0; k < 50; k++) {
        path_fill(a, SLV_LANE_BULK);
        path_run(path_now + 100 * PATH_MS);
    }
    assert_in_range(b->came_bytes[SLV_LANE_BULK], 1, SLV_LINK_WINDOW_FIRST);
    assert_in_range(slv_link_queued(a->l, SLV_LANE_BULK), 60 * KIB, 64 * KIB);
    assert_true(slv_link_next(a->l, path_now) == UINT64_MAX); /* nobody asks in a circle */
    path_give_all(a, SLV_LANE_STRONG, 200);
    assert_int_equal(b->came[SLV_LANE_STRONG], 200);
    slv_link_hold(b->l, SLV_LANE_BULK, false);
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

/* --- little ----------------------------------------------------------------------------------- */

static void little_is_sent_for_little_and_nothing_when_idle(void **state) {
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = 10 * PATH_MS});
    for (int i = 0; i < SLV_LANES; i++)
        path_end[0].size[i] = 40;
    path_run(path_now + PATH_SECOND);
    assert_int_equal(path_stats(0).datagrams_sent + path_stats(1).datagrams_sent, 0);
    path_give_all(&path_end[0], SLV_LANE_URGENT,
                  1); /* it, credit with the answer, an answer to that */
    assert_int_equal(path_stats(0).datagrams_sent, 2);
    assert_int_equal(path_stats(1).datagrams_sent, 1);
    path_give_all(&path_end[0], SLV_LANE_URGENT, 8); /* all in one */
    assert_int_equal(path_stats(0).datagrams_sent, 3);
    assert_int_equal(path_stats(1).datagrams_sent, 2);
    path_run(path_now + 100 * PATH_SECOND);
    assert_int_equal(path_stats(0).datagrams_sent + path_stats(1).datagrams_sent, 5);
    assert_in_range(path_stats(0).srtt, 20 * PATH_MS, 25 * PATH_MS);
    path_settled();
    path_close();
}

static void answers_come_at_once_or_within_five_ms(void **state) {
    char buf[SLV_LINK_MTU_MAX];
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){0});
    struct path_end *a = &path_end[0], *b = &path_end[1];
    path_give_all(a, SLV_LANE_URGENT, 1); /* credit is given */
    for (int k = 1; k <= 2; k++) {
        for (int i = 0; i < k; i++) {
            assert_int_equal(path_give(a, SLV_LANE_URGENT), 0);
            for (size_t n; (n = path_poll(a, buf)) > 0;)
                assert_int_equal(slv_link_receive(b->l, path_now, (struct slv_str){buf, n}), 0);
        }
        const uint64_t waits = slv_link_next(b->l, path_now) - path_now;
        if (b->came_bytes[SLV_LANE_URGENT] < 1000 && k == 1) assert_int_equal(waits, 5 * PATH_MS);
        if (k == 2) assert_int_equal(waits, 0);
        path_run(UINT64_MAX);
    }
    for (int i = 0; i < 2; i++) { /* the first of two is lost */
        assert_int_equal(path_give(a, SLV_LANE_URGENT), 0);
        for (size_t n; (n = path_poll(a, buf)) > 0;)
            if (i) assert_int_equal(slv_link_receive(b->l, path_now, (struct slv_str){buf, n}), 0);
    }
    assert_true(slv_link_next(b->l, path_now) == path_now);
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

/* --- messages beside the lanes ---------------------------------------------------------------- */

static void probes_pass_a_window_that_is_full(void **state) {
    static const char bytes[475];
    char buf[SLV_LINK_MTU_MAX];
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = PATH_MS});
    struct path_end *a = &path_end[0];
    const struct slv_str most = {bytes, 475 - SLV_LINK_DATAGRAM_HEAD};
    assert_int_equal(slv_link_datagram(a->l, (struct slv_str){bytes, most.n + 1}), SLV_E_LIMIT);
    path_fill(a, SLV_LANE_BULK);
    while (path_poll(a, buf)) /* all lost */
        ;
    assert_true(path_stats(0).in_flight + 475 > path_stats(0).cwnd);
    for (int i = 0; i < 5; i++) {
        const uint64_t before = path_stats(0).in_flight;
        assert_int_equal(slv_link_datagram(a->l, most), 0);
        assert_true(slv_link_next(a->l, path_now) == path_now);
        const size_t n = path_poll(a, buf);
        assert_true(n > most.n);
        assert_int_equal(path_stats(0).in_flight, before);
        if (i % 2)
            assert_int_equal(slv_link_receive(path_end[1].l, path_now, (struct slv_str){buf, n}),
                             0);
    }
    path_run(UINT64_MAX);
    assert_int_equal(path_end[1].datagrams, 2); /* never sent again */
    path_settled();
    int rc, n = 0;
    while (!(rc = slv_link_datagram(a->l, most)))
        n++;
    assert_int_equal(rc, SLV_E_BUSY);
    path_run(UINT64_MAX);
    assert_int_equal(path_end[1].datagrams, 2 + n);
    path_settled();
    path_close();
}

/* --- no memory -------------------------------------------------------------------------------- */

static void give_starved(struct path_end *e, enum slv_lane lane) {
    int rc;
    while ((rc = path_give(e, lane)) == SLV_E_NOMEM)
        ;
    assert_int_equal(rc, 0);
}

static void any_allocation_may_fail(void **state) {
    const struct path_way w = {.delay = 5 * PATH_MS, .loss = 100, .late = 100};
    (void)state;
    struct slv_link *l = NULL;
    slv_mem_fail_at(1);
    struct slv_link_conf c = plain;
    c.on_message = (void (*)(void *, enum slv_lane, struct slv_str))abort;
    assert_int_equal(slv_link_open(&c, &l), SLV_E_NOMEM);
    for (uint64_t at = 1, all = at; at <= all; at++) {
        path_open(7, 2, &plain, &w);
        const uint64_t from = slv_mem_count();
        slv_mem_fail_at(at);
        for (int i = 0; i < 24; i++)
            give_starved(&path_end[i % 2], lanes[i / 2 % SLV_LANES]);
        path_run(UINT64_MAX);
        slv_mem_fail_at(0);
        if (slv_mem_count() - from > all) all = slv_mem_count() - from;
        if (all > 600) all = 600;
        path_settled();
        path_close();
    }
    for (uint32_t seed = 0; seed < 50; seed++) { /* now and then, for ever */
        path_open(seed, 2, &plain, &w);
        for (int i = 0; i < 24; i++) {
            slv_mem_fail_at(1 + path_rnd(9));
            give_starved(&path_end[i % 2], lanes[i / 2 % SLV_LANES]);
        }
        do
            slv_mem_fail_at(1 + path_rnd(9));
        while (path_step(UINT64_MAX));
        slv_mem_fail_at(0);
        path_settled();
        path_close();
    }
}

/* --- who means harm --------------------------------------------------------------------------- */

/* Numbers below UINT64_MAX make a datagram. */
static struct slv_str craft(struct slv_buf *b, const uint64_t *v) {
    slv_buf_clear(b);
    for (; *v != UINT64_MAX; v++)
        slv_write_number(b, *v);
    return (struct slv_str){b->data, b->len};
}

#define END UINT64_MAX
#define FAR (UINT64_MAX >> 2)

static void what_cannot_be_is_refused_and_changes_nothing(void **state) {
    static const uint64_t bad[][12] = {
        {END},                         /* nothing */
        {9000, END},                   /* no frame */
        {FAR + 1, 1, END},             /* a number too large */
        {9000, 12, END},               /* no such frame */
        {9000, 1, 2, END},             /* an answer cut off */
        {9000, 2, 50, 0, 0, 0, END},   /* of what was never sent */
        {9000, 2, 1, 0, 0, 2, END},    /* below zero */
        {9000, 2, 1, 0, 1, 0, 0, END}, /* a range too many */
        {9000, 2, 1, 0, 1, 1, 0, 0, END},
        {9000, 2, 1, 0, 32, 0, 0, 0, END},
        {9000, 2, 1, 1000001, 0, 0, END},
        {9000, 2, 1, 0, 0, 0, 2, 1, 0, 0, 0, END}, /* two answers */
        {9000, 0, 0, 1, END},                      /* padding that is none */
        {9000, 3, 2, 7, END},                      /* bytes that are not there */
        {9000, 4, END},
        {9000, 4, FAR + 1, END},
        {9000, 8, 0, 0, END}, /* none */
        {9000, 8, FAR, 1, 7, END},
        {9000, 8, SLV_LINK_WINDOW_FIRST, 1, 7, END}, /* beyond the credit */
        {9000, 9, SLV_LINK_WINDOW_FIRST - 1, 2, 7, 7, END},
        {9000, 8, 0, 1, 0, 8, 5, END}, /* good, then bad */
    };
    struct slv_buf b;
    (void)state;
    slv_buf_init(&b, 4096);
    path_open(1, 2, &plain, &(struct path_way){.delay = PATH_MS});
    path_give_all(&path_end[0], SLV_LANE_BULK, 2);
    const struct slv_link_stats before = path_stats(0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(slv_link_receive(path_end[0].l, path_now, craft(&b, bad[i])),
                         SLV_E_FORMAT);
    struct slv_link_stats after = path_stats(0);
    assert_int_equal(after.refused, sizeof bad / sizeof *bad);
    after.refused = 0;
    assert_memory_equal(&before, &after, sizeof before);
    mixed(50);
    slv_buf_fini(&b);
    path_close();
}

static void a_message_that_cannot_be_ends_a_link(void **state) {
    static const uint64_t bad[][8] = {
        {0, 8, 0, 3, 0xff, 0xff, 0x7f, END}, /* two million; the last byte is two on the wire */
        {0, 8, 0, 2, 0x80, 0, END},          /* zero, written in two bytes */
        {0, 8, 0, 3, 0x80, 0x80, 0x80, END}, /* a number that goes on */
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char bytes[8] = {0};
        size_t n = 0;
        for (; bad[i][n] != END; n++)
            bytes[n] = (char)bad[i][n];
        path_open(1, 2, &plain, &(struct path_way){0});
        struct slv_link *l = path_end[0].l;
        assert_int_equal(slv_link_receive(l, path_now, (struct slv_str){bytes, n}), 0);
        assert_true(slv_link_dead(l));
        bytes[0] = 1;
        assert_int_equal(slv_link_receive(l, path_now, (struct slv_str){bytes, n}), SLV_E_FORMAT);
        assert_int_equal(path_end[0].came[SLV_LANE_URGENT], 0);
        path_close();
    }
}

/* Single bytes all over the windows of all lanes, and numbers all over the place. */
static void a_peer_cannot_make_a_link_grow(void **state) {
    struct slv_buf b;
    size_t most = 0;
    (void)state;
    slv_buf_init(&b, 4096);
    path_open(1, 2, &plain, &(struct path_way){0});
    struct slv_link *l = path_end[0].l;
    uint64_t number = 5, sent = 0;
    for (uint32_t k = 0; k < 20000; k++) {
        char buf[SLV_LINK_MTU_MAX];
        const uint64_t v[] = {number, 8 + k % 4, 1 + path_rnd(8190) * 2, 1, 7, END};
        number += 1 + path_rnd(1000);
        const int rc = slv_link_receive(l, path_now, craft(&b, v));
        assert_true(!rc || rc == SLV_E_LIMIT);
        if (slv_link_memory(l) > most) most = slv_link_memory(l);
        path_now += PATH_MS;
        for (; path_poll(&path_end[0], buf); sent++)
            ;
    }
    assert_in_range(most, 1, 160 * KIB);
    assert_in_range(sent, 1, 20000); /* not more than came */
    slv_buf_fini(&b);
    path_close();
}

static void numbers_out_of_range_are_refused(void **state) {
    struct slv_link *l = NULL;
    struct slv_link_conf c = {.on_message = (void (*)(void *, enum slv_lane, struct slv_str))abort};
    (void)state;
    const struct slv_link_conf good = c;
    assert_int_equal(slv_link_open(&good, &l), 0);
    size_t n;
    char buf[474];
    assert_int_equal(slv_link_poll(l, 0, buf, sizeof buf, &n), SLV_E_USAGE);
    slv_link_close(l);
    slv_link_close(NULL);
    struct slv_link_conf bad[] = {good, good, good, good, good, good, good};
    bad[0].on_message = NULL;
    bad[1].mtu_min = SLV_LINK_MTU_MIN - 1;
    bad[2].mtu_max = 400;
    bad[3].mtu_max = SLV_LINK_MTU_MAX + 1;
    bad[4].message_max = SLV_LINK_MESSAGE_MAX + 1;
    bad[5].lane_window = SLV_LINK_WINDOW_FIRST - 1;
    bad[6].lane_queue = SLV_LINK_MESSAGE_MAX;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(slv_link_open(&bad[i], &l), SLV_E_USAGE);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_comes_once_and_in_order),
        cmocka_unit_test(whatever_happens_all_comes_when_it_is_over),
        cmocka_unit_test(long_messages_come_over_bad_paths),
        cmocka_unit_test(a_slow_line_is_used_and_not_flooded),
        cmocka_unit_test(messages_of_all_lengths_up_to_the_limit),
        cmocka_unit_test(a_long_transfer_fills_the_bottleneck),
        cmocka_unit_test(two_share_a_bottleneck_fairly),
        cmocka_unit_test(an_urgent_write_does_not_wait_for_a_snapshot),
        cmocka_unit_test(the_rate_that_is_set_is_kept),
        cmocka_unit_test(no_lane_starves_and_shares_are_kept),
        cmocka_unit_test(a_loss_in_one_lane_holds_up_no_other),
        cmocka_unit_test(who_is_busy_holds_a_lane_back),
        cmocka_unit_test(little_is_sent_for_little_and_nothing_when_idle),
        cmocka_unit_test(answers_come_at_once_or_within_five_ms),
        cmocka_unit_test(probes_pass_a_window_that_is_full),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(what_cannot_be_is_refused_and_changes_nothing),
        cmocka_unit_test(a_message_that_cannot_be_ends_a_link),
        cmocka_unit_test(a_peer_cannot_make_a_link_grow),
        cmocka_unit_test(numbers_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
