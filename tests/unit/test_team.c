/* test_team.c: stages that many do: every unit once, no stage before the one before it is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STAGES 200
#define UNITS 300

struct tally {
    size_t units[STAGES];
    _Atomic unsigned char done[STAGES][UNITS];
    _Atomic size_t sum[STAGES];
    _Atomic unsigned wrong; /* units begun before the stage before was whole */
    pthread_t caller;
    bool nap; /* all but the caller nap in each piece */
    _Atomic size_t by_caller;
};

static size_t units(void *arg, size_t stage) {
    const struct tally *t = arg;
    return t->units[stage];
}

static void run(void *arg, size_t stage, size_t from, size_t to) {
    struct tally *t = arg;
    if (stage && atomic_load(&t->sum[stage - 1]) != t->units[stage - 1])
        atomic_fetch_add(&t->wrong, 1);
    for (size_t i = from; i < to; i++)
        atomic_fetch_add(&t->done[stage][i], 1);
    struct timespec nap = {.tv_nsec = 1000000};
    bool caller = pthread_equal(pthread_self(), t->caller);
    if (t->nap && !caller) nanosleep(&nap, NULL);
    if (caller) atomic_fetch_add(&t->by_caller, to - from);
    atomic_fetch_add(&t->sum[stage], to - from);
}

static void run_and_check(struct slv_team *team, struct tally *t) {
    const struct slv_job job = {STAGES, units, run, t};
    slv_team_run(team, &job);
    assert_int_equal(t->wrong, 0);
    for (size_t s = 0; s < STAGES; s++) {
        assert_int_equal(t->sum[s], t->units[s]);
        for (size_t i = 0; i < UNITS; i++)
            assert_int_equal(t->done[s][i], i < t->units[s]);
    }
}

/* A generator of numbers that is the same everywhere. */
static uint32_t next(uint32_t *seed) { return *seed = *seed * 1664525u + 1013904223u; }

static struct tally *tally(uint32_t *seed) {
    struct tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    for (size_t s = 0; s < STAGES; s++) {
        static const size_t most[] = {1, 2, 8, UNITS};
        t->units[s] = next(seed) >> 8;
        t->units[s] %= most[next(seed) >> 30] + 1;
    }
    return t;
}

static void every_unit_is_done_once_and_in_its_stage(void **state) {
    (void)state;
    uint32_t seed = 1;
    static const size_t sizes[] = {1, 2, 3, 7, 16};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct slv_team *team;
        assert_int_equal(slv_team_open(sizes[k], &team), 0);
        assert_int_equal(slv_team_size(team), sizes[k]);
        for (int round = 0; round < 20; round++) {
            struct tally *t = tally(&seed);
            run_and_check(team, t);
            free(t);
        }
        slv_team_close(team);
    }
}

/* Two members of equal shares, of which one naps a millisecond in each piece. */
static void a_slow_member_does_less(void **state) {
    (void)state;
    struct slv_team *team;
    struct tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    for (size_t s = 0; s < STAGES; s++)
        t->units[s] = 8;
    t->caller = pthread_self();
    t->nap = true;
    assert_int_equal(slv_team_open(2, &team), 0);
    run_and_check(team, t);
    assert_true(t->by_caller > STAGES * 8 / 2);
    slv_team_close(team);
    free(t);
}

static void nothing_to_do_is_done_at_once(void **state) {
    (void)state;
    struct slv_team *team;
    struct tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    assert_int_equal(slv_team_open(3, &team), 0);
    run_and_check(team, t);
    const struct slv_job none = {0, units, run, t};
    slv_team_run(team, &none);
    slv_team_close(team);
    assert_int_equal(slv_team_open(0, &team), SLV_E_USAGE);
    assert_int_equal(slv_team_open(SLV_TEAM_MAX + 1, &team), SLV_E_USAGE);
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_is_done_once_and_in_its_stage),
        cmocka_unit_test(a_slow_member_does_less),
        cmocka_unit_test(nothing_to_do_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
