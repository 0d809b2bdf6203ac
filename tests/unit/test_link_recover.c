/* test_link_recover.c: how a link learns what was lost, and of the path: what a user would lose is
 * time, or the patience of those who share the line.
 *
 * Datagrams by hand, or over simulated paths (path.h), in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mesh/wire.h"
#include "path.h"

#define MBIT ((uint64_t)125000) /* bytes a second */
#define DELAY (40 * PATH_MS)

static const struct slv_link_conf plain = {.mtu_max = 1350};

/* All that an end would send is lost; how much that was. */
static int lose_all(struct path_end *e) {
    char buf[SLV_LINK_MTU_MAX];
    int n = 0;
    while (path_poll(e, buf))
        n++;
    return n;
}

static void give(enum slv_lane lane, uint64_t n) {
    for (; n > 0; n--)
        assert_int_equal(path_give(&path_end[0], lane), 0);
}

/* Two ends that know their round trip; messages are short. */
static void open_warm(const struct path_way *w) {
    path_open(1, 2, &plain, w);
    for (int i = 0; i < SLV_LANES; i++)
        path_end[0].size[i] = 200;
    for (int i = 0; i < 8; i++) {
        give((enum slv_lane)(i % SLV_LANES), 1);
        path_run(UINT64_MAX);
    }
}

/* --- losses ----------------------------------------------------------------------------------- */

static void a_loss_is_known_by_the_third_that_came_later(void **state) {
    (void)state;
    for (uint64_t later = 2; later <= 3; later++) {
        open_warm(&(struct path_way){.delay = DELAY});
        const uint64_t since = path_now;
        give(SLV_LANE_STRONG, 1);
        assert_int_equal(lose_all(&path_end[0]), 1);
        for (uint64_t i = 0; i < later; i++) {
            give(SLV_LANE_REPAIR, 1);
            path_run(path_now + 1);
        }
        path_run(since + 2 * DELAY + later); /* it, or when it will be known by time */
        const uint64_t next = slv_link_next(path_end[0].l, path_now);
        if (later == 2) assert_in_range(next - since, 2 * DELAY * 9 / 8, 2 * DELAY * 5 / 4);
        path_run(UINT64_MAX);
        const uint64_t took = path_end[1].came_at[SLV_LANE_STRONG] - since;
        if (later == 3) assert_in_range(took, 3 * DELAY, 3 * DELAY + 10);
        path_settled();
        path_close();
    }
}

/* The last of all is lost: nothing comes by which that might be known. */
static void who_hears_nothing_asks_with_what_was_lost(void **state) {
    (void)state;
    open_warm(&(struct path_way){.delay = DELAY});
    give(SLV_LANE_STRONG, 1);
    assert_int_equal(lose_all(&path_end[0]), 1);
    uint64_t next = slv_link_next(path_end[0].l, path_now), wait = next - path_now;
    assert_in_range(wait, 2 * DELAY, 5 * DELAY);
    path_run(next);
    path_run(UINT64_MAX);
    assert_int_equal(path_end[1].came_at[SLV_LANE_STRONG], next + DELAY);

    give(SLV_LANE_STRONG, 1); /* each time later, by two datagrams */
    lose_all(&path_end[0]);
    for (int k = 0; k < 4; k++) {
        next = slv_link_next(path_end[0].l, path_now);
        if (k) assert_in_range(next - path_now, 2 * wait - 2, 2 * wait + 2);
        wait = next - path_now;
        path_now = next;
        assert_int_equal(lose_all(&path_end[0]), 2);
    }
    path_run(UINT64_MAX);
    path_settled();
    give(SLV_LANE_STRONG, 1); /* an answer makes it as quick as before */
    lose_all(&path_end[0]);
    assert_in_range(slv_link_next(path_end[0].l, path_now) - path_now, 2 * DELAY, 5 * DELAY);
    path_run(UINT64_MAX);
    path_close();
}

static void no_memory_when_asking_means_asking_soon(void **state) {
    char buf[SLV_LINK_MTU_MAX];
    size_t n;
    (void)state;
    open_warm(&(struct path_way){.delay = DELAY});
    path_end[0].size[SLV_LANE_BULK] = 3000;
    path_fill(&path_end[0], SLV_LANE_BULK); /* the window is full, and all is lost */
    while (lose_all(&path_end[0]) || slv_link_next(path_end[0].l, path_now) < path_now + DELAY / 2)
        path_now = slv_link_next(path_end[0].l, path_now);
    int rc = 0;
    for (int k = 0; k < 10 && !rc; k++) { /* until there is no room to remember what was sent */
        path_now = slv_link_next(path_end[0].l, path_now);
        slv_mem_fail_at(1);
        rc = slv_link_poll(path_end[0].l, path_now, buf, sizeof buf, &n);
        slv_mem_fail_at(0);
        if (!rc) lose_all(&path_end[0]);
    }
    assert_int_equal(rc, SLV_E_NOMEM);
    assert_int_equal(slv_link_next(path_end[0].l, path_now) - path_now, 10 * PATH_MS);
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

static void reordering_is_learnt_and_forgiven(void **state) {
    static const struct path_way w = {
        .rate = 10 * MBIT, .delay = 10 * PATH_MS, .queue = 50000, .late = 20};
    (void)state;
    path_open(1, 2, &plain, &w);
    path_end[0].size[SLV_LANE_BULK] = 100000;
    const uint64_t since = path_now;
    path_give_all(&path_end[0], SLV_LANE_BULK, 300);
    const double took = (double)(path_end[1].came_at[SLV_LANE_BULK] - since) / 1e9;
    assert_true((double)path_end[1].came_bytes[SLV_LANE_BULK] / took > (double)w.rate * 0.94);
    assert_in_range(path_stats(0).spurious, 1, 120);
    assert_true(path_stats(0).retransmitted * 25 < path_end[1].came_bytes[SLV_LANE_BULK]);
    path_settled();
    path_close();
}

/* A moment in which nothing passes, large or small, is no black hole for what is large. */
static void many_lost_in_a_row_are_no_black_hole(void **state) {
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = 20 * PATH_MS, .rate = 20 * MBIT});
    for (int k = 0; k < 400; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK);
        path_end[0].way.cut = k % 40 == 39;
        path_run(path_now + 10 * PATH_MS);
    }
    assert_true(path_stats(0).lost > 50);
    assert_int_equal(path_stats(0).mtu, 1350);
    assert_int_equal(path_stats(0).black_holes, 0);
    path_close();
}

/* A path that was silent for long is not the one that was known. */
static void after_a_long_silence_the_window_is_small(void **state) {
    uint64_t least = UINT64_MAX;
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = 10 * PATH_MS, .rate = 20 * MBIT});
    for (int k = 0; k < 500; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK);
        path_end[0].way.cut = k >= 200 && k < 400;
        path_run(path_now + 10 * PATH_MS);
        if (k == 199) assert_true(path_stats(0).cwnd > 50000);
        if (path_stats(0).cwnd < least) least = path_stats(0).cwnd;
    }
    assert_in_range(least, 2 * 475, 2 * 1350);
    path_close();
}

/* What is given all the time asks as well: no pause tells that there is no answer. */
static void who_goes_on_sending_notices_a_cut_too(void **state) {
    struct slv_link_conf c = plain;
    c.dead_after = 10 * PATH_SECOND;
    (void)state;
    path_open(1, 2, &c, &(struct path_way){.delay = 20 * PATH_MS});
    path_end[0].size[SLV_LANE_BULK] = 100000;
    for (int k = 0; k < 20; k++) { /* for a large window */
        path_fill(&path_end[0], SLV_LANE_BULK);
        path_run(path_now + PATH_SECOND);
    }
    path_end[0].way.cut = true;
    path_end[0].size[SLV_LANE_URGENT] = 50;
    for (int k = 0; k < 11 * 20; k++) {
        give(SLV_LANE_URGENT, 1);
        path_run(path_now + 50 * PATH_MS);
        if (k == 9 * 20) assert_false(slv_link_dead(path_end[0].l));
    }
    assert_int_equal(slv_link_dead(path_end[0].l), true);
    path_end[0].way.cut = false;
    give(SLV_LANE_URGENT, 1);
    path_run(path_now + PATH_SECOND);
    assert_false(slv_link_dead(path_end[0].l));
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

/* Who slept, and is late himself, does not say that the peer is dead before it was asked. */
static void who_slept_asks_first(void **state) {
    (void)state;
    open_warm(&(struct path_way){.delay = DELAY});
    give(SLV_LANE_STRONG, 5);
    lose_all(&path_end[0]);
    path_now += 1000 * PATH_SECOND;
    lose_all(&path_end[0]);
    assert_false(slv_link_dead(path_end[0].l));
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

/* --- the window and the pace ------------------------------------------------------------------ */

static void a_large_window_is_not_sent_at_once(void **state) {
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = 20 * PATH_MS});
    path_end[0].size[SLV_LANE_BULK] = 100000;
    for (int k = 0; k < 10; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK);
        path_run(path_now + PATH_SECOND);
    }
    assert_true(path_stats(0).cwnd > 40 * path_stats(0).mtu);
    path_fill(&path_end[0], SLV_LANE_BULK);
    assert_in_range(lose_all(&path_end[0]), 8, 12);
    path_run(UINT64_MAX);
    path_settled();
    path_close();
}

/* One datagram more in a round trip, once there was a loss. */
static void a_window_grows_slowly_near_its_limit(void **state) {
    (void)state;
    struct slv_link_conf c = plain;
    c.mtu_max = c.mtu_min = 1000;
    path_open(1, 2, &c, &(struct path_way){.delay = 50 * PATH_MS});
    uint64_t at = 0, from = 0;
    for (int k = 0; k < 50; k++) {
        path_fill(&path_end[0], SLV_LANE_BULK);
        path_end[0].way.loss = k == 3 ? 200 : 0;
        path_run(path_now + 100 * PATH_MS);
        if (k == 19) at = path_stats(0).cwnd, from = path_now;
    }
    const uint64_t turns = (path_now - from) / (100 * PATH_MS);
    assert_true(path_stats(0).congestions > 0);
    assert_in_range(path_stats(0).cwnd - at, turns * 700, turns * 1100);
    path_close();
}

static void what_is_exempt_from_the_rate_makes_no_long_debt(void **state) {
    static const char bytes[400];
    struct slv_link_conf c = plain;
    c.rate = 50000;
    (void)state;
    path_open(1, 2, &c, &(struct path_way){.delay = 5 * PATH_MS});
    for (int i = 0; i < 2500; i++) { /* twenty seconds' worth */
        assert_int_equal(slv_link_datagram(path_end[0].l, (struct slv_str){bytes, 400}), 0);
        path_run(path_now + 10000);
    }
    give(SLV_LANE_URGENT, 1);
    const uint64_t since = path_now;
    path_run(UINT64_MAX);
    assert_in_range(path_end[1].came_at[SLV_LANE_URGENT] - since, PATH_SECOND / 2, 2 * PATH_SECOND);
    path_close();
}

static void a_lost_probe_is_not_a_size_that_cannot_pass(void **state) {
    struct slv_link_conf c = plain;
    c.rate = 4 * MBIT;
    (void)state;
    for (uint32_t seed = 0; seed < 20; seed++) {
        path_open(seed, 2, &c, &(struct path_way){.delay = 5 * PATH_MS, .loss = 100});
        path_give_all(&path_end[0], SLV_LANE_BULK, 300);
        assert_int_equal(path_stats(0).mtu, 1350);
        path_settled();
        path_close();
    }
}

/* --- a path that changes ---------------------------------------------------------------------- */

static void the_largest_size_that_arrives_is_found(void **state) {
    struct slv_link_conf c = plain;
    c.rate = 8 * MBIT; /* or all is sent before the search ends */
    (void)state;
    for (size_t mtu = 475; mtu <= 1400; mtu += 37) {
        path_open(mtu, 2, &c, &(struct path_way){.delay = 5 * PATH_MS, .mtu = mtu});
        path_give_all(&path_end[0], SLV_LANE_BULK, 700);
        const size_t most = mtu < 1350 ? mtu : 1350;
        assert_in_range(path_stats(0).mtu, most - 16 < 475 ? 475 : most - 16, most);
        assert_int_equal(path_stats(0).congestions, 0); /* of what was lost, all was to try */
        path_settled();
        path_close();
    }
    c.mtu_max = 475;
    path_open(1, 2, &c, &(struct path_way){.delay = 5 * PATH_MS, .mtu = 475});
    path_give_all(&path_end[0], SLV_LANE_BULK, 100);
    assert_int_equal(path_end[0].way.too_large, 0);
    path_close();
}

static void a_path_whose_mtu_shrinks_is_a_black_hole_for_a_moment(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 40; seed++) {
        const struct path_way w = {.delay = 5 * PATH_MS, .loss = seed % 4 * 10, .rate = 20 * MBIT};
        path_open(seed, 2, &plain, &w);
        path_give_all(&path_end[0], SLV_LANE_BULK, 200);
        assert_in_range(path_stats(0).mtu, 1300, 1350);
        path_end[0].way.mtu = 700;
        const uint64_t since = path_now;
        path_give_all(&path_end[0], SLV_LANE_BULK, 400);
        assert_in_range(path_stats(0).black_holes, 1, 2);
        assert_in_range(path_stats(0).mtu, 475, 700);
        assert_true(path_now - since < 15 * PATH_SECOND);
        path_settled();
        path_close();
    }
}

static void a_way_that_is_cut_is_noticed_and_heals(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct slv_link_conf c = plain;
        c.dead_after = 20 * PATH_SECOND;
        path_open(1, 2, &c, &(struct path_way){.delay = 10 * PATH_MS});
        path_give_all(&path_end[0], SLV_LANE_STRONG, 10);
        path_end[which].way.cut = true;
        const uint64_t since = path_now;
        path_fill(&path_end[0], SLV_LANE_STRONG);
        path_run(since + 19 * PATH_SECOND);
        assert_false(slv_link_dead(path_end[0].l));
        path_run(since + 21 * PATH_SECOND);
        assert_true(slv_link_dead(path_end[0].l));
        const uint64_t sent = path_stats(0).datagrams_sent;
        path_run(since + 3600 * PATH_SECOND);
        assert_in_range(path_stats(0).datagrams_sent - sent, 100, 1000); /* now and then */
        path_run(since + 6 * 3600 * PATH_SECOND); /* more askings than are remembered */
        assert_in_range(slv_link_memory(path_end[0].l), 1, 3 << 20);
        path_end[which].way.cut = false;
        path_run(path_now + 60 * PATH_SECOND);
        assert_false(slv_link_dead(path_end[0].l));
        path_settled();
        path_close();
    }
}

/* A window that is not used says nothing of the path. */
static void a_window_grows_only_by_what_uses_it(void **state) {
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = 10 * PATH_MS});
    const uint64_t first = path_stats(0).cwnd;
    for (int k = 0; k < 500; k++)
        path_give_all(&path_end[0], SLV_LANE_URGENT, 1);
    assert_in_range(path_stats(0).cwnd, first, 2 * first);
    path_close();
}

/* --- what came -------------------------------------------------------------------------------- */

static void nothing_is_taken_twice(void **state) {
    static const char bytes[100];
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){.delay = PATH_MS, .doubled = 1000});
    for (int i = 0; i < 50; i++) {
        assert_int_equal(slv_link_datagram(path_end[0].l, (struct slv_str){bytes, 100}), 0);
        give(SLV_LANE_URGENT, 1);
        path_run(path_now + 10 * PATH_MS);
    }
    path_run(UINT64_MAX);
    assert_int_equal(path_end[1].datagrams, 50);
    assert_true(path_stats(1).doubled >= 50);
    path_settled();
    path_close();
}

/* The peer's datagram `number`: these numbers. */
static void hear(const uint64_t *v) {
    struct slv_buf b;
    slv_buf_init(&b, 256);
    for (; *v != UINT64_MAX; v++)
        slv_write_number(&b, *v);
    assert_int_equal(slv_link_receive(path_end[0].l, path_now, (struct slv_str){b.data, b.len}), 0);
    slv_buf_fini(&b);
}

#define HEAR(...) hear((const uint64_t[]){__VA_ARGS__, UINT64_MAX})

/* The numbers of ranges in the next answer; its datagram. */
static uint64_t answer(uint64_t *ret_number) {
    char buf[SLV_LINK_MTU_MAX];
    path_now += 10 * PATH_MS;
    const size_t n = path_poll(&path_end[0], buf);
    struct slv_reader r = slv_reader_of(buf, n);
    *ret_number = slv_read_number(&r, 1000);
    assert_int_equal(slv_read_number(&r, 100), 2);
    slv_read_number(&r, UINT64_MAX >> 2);
    slv_read_number(&r, 1000000);
    const uint64_t ranges = 1 + slv_read_number(&r, 31);
    assert_false(r.bad);
    return ranges;
}

static void answers_say_what_the_peer_does_not_know(void **state) {
    uint64_t number;
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){0});
    path_end[0].size[SLV_LANE_URGENT] = 10;
    HEAR(0, 1);
    HEAR(4, 1);
    give(SLV_LANE_URGENT, 1);
    assert_int_equal(answer(&number), 2);
    HEAR(8, 2, number, 0, 0, 0, 1); /* it knows of 0 and 4 */
    assert_int_equal(answer(&number), 1);
    HEAR(2, 1); /* late: it is told, with what is newer */
    give(SLV_LANE_URGENT, 1);
    assert_int_equal(answer(&number), 3);
    HEAR(6, 1); /* later than that answer, which it has */
    HEAR(10, 2, number, 0, 0, 0, 1);
    assert_int_equal(answer(&number), 5); /* so that it is not known what it has */
    for (uint64_t k = 12; k < 90; k += 2) /* more gaps than are remembered */
        HEAR(k, 1);
    const uint64_t doubled = path_stats(0).doubled;
    HEAR(2, 3, 0); /* which came, and it can no longer be known that it did */
    assert_int_equal(path_stats(0).doubled, doubled + 1);
    assert_int_equal(path_end[0].datagrams, 0);
    assert_in_range(answer(&number), 25, 32);
    path_close();
}

/* Numbers so far from each other that no answer has room for all. */
static void an_answer_cut_short_is_not_taken_for_whole(void **state) {
    uint64_t number;
    (void)state;
    path_open(1, 2, &plain, &(struct path_way){0});
    path_end[0].size[SLV_LANE_URGENT] = 10;
    for (uint64_t k = 1; k < 32; k++)
        HEAR(k << 50, 1);
    give(SLV_LANE_URGENT, 1);
    assert_in_range(answer(&number), 10, 30);
    HEAR((uint64_t)32 << 50, 2, number, 0, 0, 0, 1);
    assert_in_range(answer(&number), 10, 30);
    path_close();
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_is_known_by_the_third_that_came_later),
        cmocka_unit_test(who_hears_nothing_asks_with_what_was_lost),
        cmocka_unit_test(no_memory_when_asking_means_asking_soon),
        cmocka_unit_test(reordering_is_learnt_and_forgiven),
        cmocka_unit_test(many_lost_in_a_row_are_no_black_hole),
        cmocka_unit_test(after_a_long_silence_the_window_is_small),
        cmocka_unit_test(who_goes_on_sending_notices_a_cut_too),
        cmocka_unit_test(who_slept_asks_first),
        cmocka_unit_test(a_large_window_is_not_sent_at_once),
        cmocka_unit_test(a_window_grows_slowly_near_its_limit),
        cmocka_unit_test(what_is_exempt_from_the_rate_makes_no_long_debt),
        cmocka_unit_test(a_lost_probe_is_not_a_size_that_cannot_pass),
        cmocka_unit_test(the_largest_size_that_arrives_is_found),
        cmocka_unit_test(a_path_whose_mtu_shrinks_is_a_black_hole_for_a_moment),
        cmocka_unit_test(a_way_that_is_cut_is_noticed_and_heals),
        cmocka_unit_test(a_window_grows_only_by_what_uses_it),
        cmocka_unit_test(nothing_is_taken_twice),
        cmocka_unit_test(answers_say_what_the_peer_does_not_know),
        cmocka_unit_test(an_answer_cut_short_is_not_taken_for_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
