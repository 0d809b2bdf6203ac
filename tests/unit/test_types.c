/* test_types.c: what a user would lose: a value that is not what its type says.
 *
 * Replicas write at random and see each other's writes late and in any order. Each write remembers
 * which others it saw; what a value must be follows from that by each type's definition, written
 * down here once more in the plainest way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/hlc.h"
#include "mesh/types.h"
#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITES 60
#define ELEMENTS 3
#define KEY ((struct slv_str){"key", 3})

/* A write as the definitions see it. */
struct done {
    uint64_t seen; /* bit k: write k */
    uint64_t writer, stamp;
    bool is_delete, puts; /* puts: it leaves something to be read */
    char what[16];        /* value or element */
    int64_t by;
};
static struct done said[WRITES];    /* of each write of the history */
static uint64_t has_seen[REPLICAS]; /* bit k: write k */

static uint64_t seen_by(const struct replica *r) { return has_seen[r - replica]; }

static void give(struct replica *to, size_t k) {
    replica_give(to, k);
    has_seen[to - replica] |= (uint64_t)1 << k;
}

/* One write of a type; false: it was not to be. */
static bool make(struct slv_draft *d, struct done *w, enum slv_mesh_type type) {
    const uint32_t dice = rnd(8);
    int rc = 0;
    snprintf(w->what, sizeof w->what, "%u", (unsigned)rnd(ELEMENTS));
    w->puts = true;
    switch (type) {
    case SLV_TYPE_LAST:
    case SLV_TYPE_MANY:
        snprintf(w->what, sizeof w->what, "v%zu", n_history);
        rc = slv_draft_assign(d, text(w->what));
        break;
    case SLV_TYPE_ON_WINS:
    case SLV_TYPE_OFF_WINS:
        w->puts = (dice & 1) == (type == SLV_TYPE_ON_WINS);
        rc = slv_draft_switch(d, dice & 1);
        break;
    case SLV_TYPE_SET:
        w->puts = dice > 3;
        rc = w->puts ? slv_draft_add(d, text(w->what)) : slv_draft_drop(d, text(w->what));
        break;
    case SLV_TYPE_COUNTER:
    case SLV_TYPE_GROWING:
        w->by = (int64_t)rnd(100) - (type == SLV_TYPE_COUNTER ? 50 : 0);
        rc = slv_draft_count(d, w->by);
        break;
    case SLV_TYPE_BUDGET:
        w->by = rnd(60);
        if (dice < 2) return !slv_draft_mint(d, (uint64_t)w->by);
        if (dice < 5) {
            rc = slv_draft_spend(d, (uint64_t)w->by);
            w->by = -w->by;
        } else {
            rc = slv_draft_give(d, replica[rnd(REPLICAS)].id, (uint64_t)w->by);
            w->by = 0;
        }
        return !rc;
    case SLV_TYPE_VECTOR: {
        const float v[3] = {(float)n_history, 1.0f, -0.5f};
        w->by = rnd(6);
        rc = slv_draft_contribute(d, (uint64_t)w->by, 0, v, 3);
        assert_true(!rc || rc == SLV_E_BUSY);
        return !rc;
    }
    case SLV_TYPE_LIST:
    case SLV_TYPE_TEXT:
    case SLV_TYPE_DOC:
    case SLV_TYPE_UNIQUE: /* test_sketch.c */
    case SLV_TYPE_TOP:
    case SLV_MESH_TYPES:
        break;
    }
    assert_int_equal(rc, 0);
    return true;
}

static void write_something(struct replica *from, enum slv_mesh_type type, bool deletes) {
    struct done *w = &said[n_history];
    struct slv_draft d;
    *w = (struct done){.seen = seen_by(from), .writer = from->id, .stamp = 1 + rnd(20)};
    const struct slv_dot dot = {from->id, from->next};
    assert_int_equal(slv_draft_open(&d, &from->space, type, KEY, dot, w->stamp), 0);
    w->is_delete = deletes && !rnd(8);
    bool ok = true;
    if (w->is_delete) assert_int_equal(slv_draft_delete(&d), 0);
    else ok = make(&d, w, type);
    if (ok) {
        replica_write(from, &d.op);
        give(from, n_history - 1);
    }
    slv_draft_close(&d);
}

/* --- the definitions -------------------------------------------------------------------------- */

/* Whether write k, which put something, was written over by one that a replica
 * with `seen` knows. */
static bool is_over(size_t k, uint64_t seen, bool by_element) {
    for (size_t j = 0; j < n_history; j++) {
        const struct done *w = &said[j];
        if (!(seen >> j & 1) || !(w->seen >> k & 1)) continue;
        if (w->is_delete || !by_element || !strcmp(w->what, said[k].what)) return true;
    }
    return false;
}

static bool is_alive(size_t k, uint64_t seen, bool by_element) {
    return (seen >> k & 1) && said[k].puts && !said[k].is_delete && !is_over(k, seen, by_element);
}

/* Whether a replica has seen all that what it has seen had seen: what each says of the others then
 * holds. (Without, something may be seen for a while that was written over by what is to come.) */
static bool is_closed(const struct replica *r) {
    for (size_t k = 0; k < n_history; k++)
        if ((seen_by(r) >> k & 1) && (said[k].seen & ~seen_by(r))) return false;
    return true;
}

/* What was read, each value between bars. */
static bool collect(void *ctx, struct slv_str v) {
    char *to = ctx;
    snprintf(to + strlen(to), 400 - strlen(to), "|%.*s|", (int)v.n, v.p);
    return true;
}

static void check_registers(const struct replica *r, enum slv_mesh_type type) {
    char read[400] = "", want[24] = "", bars[24];
    size_t n = 0, best = WRITES;
    slv_read_values(&r->space, type, KEY, collect, read);
    for (size_t k = 0; k < n_history; k++) {
        if (!is_alive(k, seen_by(r), false)) continue;
        const struct done *w = &said[k], *b = &said[best == WRITES ? k : best];
        if (best == WRITES || w->stamp > b->stamp ||
            (w->stamp == b->stamp && w->writer > b->writer))
            best = k;
        snprintf(bars, sizeof bars, "|%s|", w->what);
        if (type == SLV_TYPE_MANY) assert_non_null(strstr(read, bars));
        n += strlen(bars);
    }
    if (type == SLV_TYPE_MANY) {
        assert_int_equal(strlen(read), n);
        return;
    }
    if (best < WRITES) snprintf(want, sizeof want, "|%s|", said[best].what);
    assert_string_equal(read, want);
}

static void check_others(const struct replica *r, enum slv_mesh_type type) {
    char read[400] = "";
    bool any = false, has[ELEMENTS] = {false};
    int64_t sum = 0;
    double want[6][3] = {{0}}, got[3];
    size_t parts[6] = {0}, n = 0;
    for (size_t k = 0; k < n_history; k++) {
        const struct done *w = &said[k];
        any = any || is_alive(k, seen_by(r), false);
        if (is_alive(k, seen_by(r), true)) has[atoi(w->what)] = true;
        if (!(seen_by(r) >> k & 1)) continue;
        sum += w->by;
        if (type != SLV_TYPE_VECTOR) continue;
        want[w->by][0] += (double)k;
        want[w->by][1] += 1.0;
        want[w->by][2] -= 0.5;
        parts[w->by]++;
    }
    if (type == SLV_TYPE_ON_WINS) assert_int_equal(slv_read_flag(&r->space, type, KEY), any);
    if (type == SLV_TYPE_OFF_WINS) assert_int_equal(slv_read_flag(&r->space, type, KEY), !any);
    if (type == SLV_TYPE_COUNTER || type == SLV_TYPE_GROWING || type == SLV_TYPE_BUDGET)
        assert_int_equal(slv_read_count(&r->space, type, KEY), sum);
    for (size_t e = 0; e < 6 && type == SLV_TYPE_VECTOR; e++) {
        assert_int_equal(slv_read_vector(&r->space, KEY, e, got, 3), parts[e]);
        assert_memory_equal(got, want[e], sizeof got);
    }
    if (type != SLV_TYPE_SET) return;
    slv_read_values(&r->space, type, KEY, collect, read);
    for (size_t e = 0; e < ELEMENTS; e++) {
        char name[4];
        snprintf(name, sizeof name, "%zu", e);
        assert_int_equal(slv_read_has(&r->space, KEY, text(name)), has[e]);
        n += has[e];
    }
    assert_int_equal(strlen(read), 3 * n);
}

/* Nobody can have spent what nobody made, whoever saw what. */
static void check_budget(void) {
    int64_t left = 0;
    uint64_t rights = 0;
    for (size_t k = 0; k < n_history; k++)
        left += said[k].by;
    assert_true(left >= 0);
    for (size_t i = 0; i < REPLICAS; i++)
        rights += slv_read_rights(&replica[i].space, KEY, replica[i].id);
    assert_true(rights <= (uint64_t)left);
    const uint64_t all = ((uint64_t)1 << n_history) - 1;
    if ((has_seen[0] & has_seen[1] & has_seen[2] & has_seen[3]) == all)
        assert_int_equal(rights, left);
}

static void check(const struct replica *r, enum slv_mesh_type type) {
    if (!is_closed(r)) return;
    if (type == SLV_TYPE_LAST || type == SLV_TYPE_MANY) check_registers(r, type);
    else check_others(r, type);
}

static void run(enum slv_mesh_type type, bool deletes, bool causal) {
    replicas_open();
    memset(has_seen, 0, sizeof has_seen);
    for (int turn = 0; turn < 400 && n_history < WRITES; turn++) {
        struct replica *r = &replica[rnd(REPLICAS)];
        const size_t k = n_history ? rnd((uint32_t)n_history) : 0;
        if (!rnd(3)) write_something(r, type, deletes);
        else if (n_history && (!causal || !(said[k].seen & ~seen_by(r)))) give(r, k);
        check(r, type);
        if (type == SLV_TYPE_BUDGET) check_budget();
    }
    for (size_t i = 0; i < REPLICAS; i++) {
        for (size_t k = 0; k < n_history; k++)
            give(&replica[i], (k * 7 + i) % n_history);
        for (size_t k = 0; k < n_history; k++)
            give(&replica[i], k);
        assert_true(is_closed(&replica[i]));
        check(&replica[i], type);
    }
    if (type == SLV_TYPE_BUDGET) check_budget();
    replicas_close();
}

static void each_type_is_what_it_says(void **state) {
    (void)state;
    for (int t = 0; t <= SLV_TYPE_VECTOR; t++) {
        const bool rows = t == SLV_TYPE_COUNTER || t == SLV_TYPE_GROWING || t == SLV_TYPE_BUDGET ||
                          t == SLV_TYPE_VECTOR;
        for (int turn = 0; turn < 100; turn++)
            run((enum slv_mesh_type)t, !rows && turn % 2, turn % 4 > 1);
    }
}

static void a_write_of_another_type_is_refused(void **state) {
    (void)state;
    struct slv_space s;
    struct slv_draft d;
    const float v = 1.0f;
    assert_int_equal(slv_space_init(&s), 0);
    for (int t = 0; t < SLV_MESH_TYPES; t++) {
        enum slv_mesh_type found;
        assert_true(slv_mesh_type_find(text(slv_mesh_type_name((enum slv_mesh_type)t)), &found));
        assert_int_equal(found, t);
        assert_int_equal(slv_draft_open(&d, &s, found, KEY, (struct slv_dot){1, 1}, 1), 0);
        const bool reg = t == SLV_TYPE_LAST || t == SLV_TYPE_MANY, set = t == SLV_TYPE_SET;
        const bool flag = t == SLV_TYPE_ON_WINS || t == SLV_TYPE_OFF_WINS;
        assert_int_equal(slv_draft_assign(&d, KEY) == SLV_E_USAGE, !reg);
        assert_int_equal(slv_draft_switch(&d, true) == SLV_E_USAGE, !flag);
        assert_int_equal(slv_draft_add(&d, KEY) == SLV_E_USAGE, !set);
        assert_int_equal(slv_draft_drop(&d, KEY) == SLV_E_USAGE, !set);
        assert_int_equal(slv_draft_count(&d, -1) == SLV_E_USAGE, t != SLV_TYPE_COUNTER);
        assert_int_equal(slv_draft_mint(&d, 1) == SLV_E_USAGE, t != SLV_TYPE_BUDGET);
        assert_int_equal(slv_draft_contribute(&d, 1, 0, &v, 1) == SLV_E_USAGE,
                         t != SLV_TYPE_VECTOR);
        assert_int_equal(slv_draft_see(&d, KEY) == SLV_E_USAGE, t != SLV_TYPE_UNIQUE);
        assert_int_equal(slv_draft_tally(&d, KEY, 1) == SLV_E_USAGE, t != SLV_TYPE_TOP);
        slv_draft_close(&d);
    }
    assert_int_equal(slv_draft_open(&d, &s, SLV_TYPE_BUDGET, KEY, (struct slv_dot){1, 1}, 1), 0);
    assert_int_equal(slv_draft_spend(&d, 1), SLV_E_BUSY);
    assert_int_equal(slv_draft_give(&d, 2, UINT64_MAX), SLV_E_BUSY);
    assert_int_equal(slv_draft_delete(&d), SLV_E_USAGE);
    slv_draft_close(&d);
    slv_space_fini(&s);
}

/* --- time ------------------------------------------------------------------------------------- */

static uint64_t wall_ms;
static uint64_t wall(void *ctx) {
    (void)ctx;
    return wall_ms * 1000000u;
}

static void stamps_grow_and_the_far_future_is_refused(void **state) {
    (void)state;
    const struct slv_clock clock = {.mono_ns = wall, .wall_ns = wall};
    struct slv_hlc a, b;
    uint64_t last = 0;
    slv_hlc_init(&a, &clock, 1000);
    slv_hlc_init(&b, &clock, 0);
    wall_ms = 1000000;
    for (int i = 0; i < 200000; i++) { /* a clock that stands, jumps, and goes back */
        if (!rnd(50)) wall_ms += rnd(20);
        if (!rnd(5000)) wall_ms -= 300;
        const uint64_t now = slv_hlc_now(&a);
        assert_true(now > last);
        last = now;
        if (!rnd(100)) assert_true(slv_hlc_see(&b, now) && slv_hlc_now(&b) > now);
    }
    wall_ms = slv_stamp_ms(last) + 10;
    assert_false(slv_hlc_see(&a, (wall_ms + 1001) << 16));
    assert_int_equal(a.refused, 1);
    assert_true(slv_hlc_see(&a, (wall_ms + 1000) << 16));
    assert_true(slv_hlc_now(&a) > (wall_ms + 1000) << 16);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_what_it_says),
        cmocka_unit_test(a_write_of_another_type_is_refused),
        cmocka_unit_test(stamps_grow_and_the_far_future_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
