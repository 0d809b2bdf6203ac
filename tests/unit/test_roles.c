/* test_roles.c: what a user would lose: a group that votes with those who are gone, that changes
 * its mind for ever, or that hangs on one machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/roles.h"

#include <string.h>

#define MOST 24u

static const struct slv_roles_conf five = {
    .voters = 5, .most = 16, .dead_ms = 1000, .gone_ms = 60000};

static uint64_t rnd_state;

static uint64_t rnd(uint64_t below) {
    rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
    return (rnd_state >> 33) % below;
}

static void apply(struct slv_roles_member *m, size_t n, uint64_t id, enum slv_strong_role role) {
    for (size_t i = 0; i < n; i++)
        if (m[i].id == id) m[i].role = role;
}

/* Makes changes until there are none; how many. */
static unsigned settle(const struct slv_roles_conf *c, struct slv_roles_member *m, size_t n) {
    uint64_t id;
    enum slv_strong_role role;
    unsigned k = 0;
    while (slv_roles_next(c, m, n, 1, &id, &role)) {
        assert_true(++k < 4 * MOST); /* it comes to an end */
        assert_true(id != 1);        /* the leader stays as it is */
        apply(m, n, id, role);
    }
    return k;
}

static unsigned voters(const struct slv_roles_member *m, size_t n) {
    unsigned k = 0;
    for (size_t i = 0; i < n; i++)
        k += m[i].role == SLV_STRONG_VOTER;
    return k;
}

static void new_ones(struct slv_roles_member *m, size_t n) {
    memset(m, 0, n * sizeof *m);
    for (size_t i = 0; i < n; i++)
        m[i] = (struct slv_roles_member){.id = i + 1, .ready = true, .rtt_us = (uint32_t)i};
    m[0].role = SLV_STRONG_VOTER;
}

static void as_many_as_can(void **state) {
    static const unsigned want[] = {1, 1, 1, 3, 3, 5, 5, 5, 5};
    struct slv_roles_member m[8];
    (void)state;
    for (unsigned n = 1; n <= 8; n++) {
        new_ones(m, n);
        settle(&five, m, n);
        assert_int_equal(voters(m, n), want[n]);
        for (unsigned i = 0; i < n; i++) { /* the nearest vote, and all learn */
            assert_int_equal(m[i].role, i < want[n] ? SLV_STRONG_VOTER : SLV_STRONG_LEARNER);
        }
    }
}

static void one_that_is_lost_is_replaced(void **state) {
    struct slv_roles_member m[7];
    (void)state;
    new_ones(m, 7);
    settle(&five, m, 7);
    m[2].silent_ms = 999;
    assert_int_equal(settle(&five, m, 7), 0); /* it may come back */
    m[2].silent_ms = 1000;
    assert_int_equal(settle(&five, m, 7), 2);
    assert_int_equal(m[2].role, SLV_STRONG_LEARNER);
    assert_int_equal(m[5].role, SLV_STRONG_VOTER);
    m[2].silent_ms = 0; /* it is back, and learns */
    assert_int_equal(settle(&five, m, 7), 0);
    m[2].silent_ms = 60000;
    assert_int_equal(settle(&five, m, 7), 1);
    assert_int_equal(m[2].role, SLV_STRONG_GONE);
}

/* Switched off one after the other, three stay three: any two of them go on when they are back. */
static void those_that_leave_stay_voters(void **state) {
    struct slv_roles_member m[3];
    (void)state;
    new_ones(m, 3);
    settle(&five, m, 3);
    m[1].left = true;
    assert_int_equal(settle(&five, m, 3), 0);
    new_ones(m, 3);
    settle(&five, m, 3);
    m[1].removed = true; /* but not one that is no member any more */
    settle(&five, m, 3);
    assert_int_equal(m[1].role, SLV_STRONG_GONE);
}

/* With two of five gone, three that are three can lose one more. */
static void fewer_that_can_lose_one(void **state) {
    struct slv_roles_member m[5];
    (void)state;
    new_ones(m, 5);
    settle(&five, m, 5);
    m[3].silent_ms = m[4].silent_ms = 5000;
    settle(&five, m, 5);
    assert_int_equal(voters(m, 5), 3);
    m[3].silent_ms = m[4].silent_ms = 0;
    settle(&five, m, 5);
    assert_int_equal(voters(m, 5), 5);
}

static void one_that_is_hurt_is_seen_to_first(void **state) {
    struct slv_roles_member m[6];
    (void)state;
    new_ones(m, 6);
    settle(&five, m, 6);
    m[1].hurt = true;
    m[2].silent_ms = 5000;
    assert_int_equal(settle(&five, m, 6), 0);
    m[1].role = SLV_STRONG_GONE;
    m[1].hurt = false;
    settle(&five, m, 6);
    assert_int_equal(voters(m, 6), 5);
}

static void the_nearest_that_is_well_leads_next(void **state) {
    struct slv_roles_member m[5];
    (void)state;
    new_ones(m, 5);
    assert_int_equal(slv_roles_heir(m, 5, 1), 0); /* nobody else votes */
    settle(&five, m, 5);
    assert_int_equal(slv_roles_heir(m, 5, 1), 2);
    assert_int_equal(slv_roles_heir(m, 5, 2), 1);
    m[1].silent_ms = 1;
    assert_int_equal(slv_roles_heir(m, 5, 1), 3);
    m[2].hurt = m[3].mute = true;
    assert_int_equal(slv_roles_heir(m, 5, 1), 5);
    m[4].left = true;
    assert_int_equal(slv_roles_heir(m, 5, 1), 0);
}

static void it_always_ends(void **state) {
    struct slv_roles_member m[MOST];
    (void)state;
    for (unsigned turn = 0; turn < 20000; turn++) {
        const size_t n = 1 + (size_t)rnd(MOST);
        const struct slv_roles_conf c = {.voters = 1 + (uint32_t)rnd(7),
                                         .most = 2 + (uint32_t)rnd(MOST),
                                         .dead_ms = 1000,
                                         .gone_ms = 60000};
        for (size_t i = 0; i < n; i++) {
            m[i] = (struct slv_roles_member){.id = i + 1,
                                             .role = (enum slv_strong_role)rnd(4),
                                             .left = !rnd(8),
                                             .removed = !rnd(12),
                                             .ready = rnd(2),
                                             .hurt = !rnd(40),
                                             .rtt_us = (uint32_t)rnd(5)};
            if (!rnd(3)) m[i].silent_ms = 1 + (uint32_t)rnd(100000);
        }
        m[0] = (struct slv_roles_member){.id = 1, .role = SLV_STRONG_VOTER};
        settle(&c, m, n);
        unsigned lost = 0;
        for (size_t i = 0; i < n; i++)
            lost += m[i].role == SLV_STRONG_VOTER &&
                    (m[i].left || m[i].silent_ms >= 1000 || m[i].removed);
        bool hurt = false;
        for (size_t i = 0; i < n; i++)
            hurt |= m[i].hurt && m[i].role != SLV_STRONG_GONE;
        if (hurt) continue;
        assert_true(voters(m, n) <= c.voters || voters(m, n) == 1);
        assert_true(lost < 2); /* but for one, whose going would not help */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_can),
        cmocka_unit_test(one_that_is_lost_is_replaced),
        cmocka_unit_test(those_that_leave_stay_voters),
        cmocka_unit_test(fewer_that_can_lose_one),
        cmocka_unit_test(one_that_is_hurt_is_seen_to_first),
        cmocka_unit_test(the_nearest_that_is_well_leads_next),
        cmocka_unit_test(it_always_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
