/* team.c: see team.h.
 *
 * Invariants
 *   - `stage` is the open stage: a number that grows by one with each, and how many units it has.
 *     It is one word, so that nobody reads the number of one and the units of another.
 *   - share[m] says how many pieces of member m's share of a stage are taken. A piece is taken by
 *     compare and swap from (stage, k) or from (an earlier stage, any) to (stage, k + 1). While a
 *     piece of a stage is not taken the stage is open, so who takes one knows that it still is: no
 *     late-comer takes what is not there, or looks at a job that has returned.
 *   - `left` counts units of the open stage that are not done. Who brings it to 0 opens the next.
 *   - job is written before `stage` (release) and read after it (acquire).
 *   - `phase` is what sleepers wait for: it is raised after `stage` has changed, and at the end.
 */
#include "base/team.h"
#include "base/clock.h"
#include "base/cores.h"
#include "base/gate.h"
#include "base/mem.h"
#include "base/thread.h"

#include <stdatomic.h>

#define PIECES SLV_TEAM_PIECES

#define PATIENCE_NS 2000 /* how long one waits before looking at the others' shares */

/* A stage and a count below it. */
static uint64_t pair(uint32_t stage, uint32_t n) { return (uint64_t)stage << 32 | n; }
static uint32_t stage_of(uint64_t v) { return (uint32_t)(v >> 32); }
static uint32_t count_of(uint64_t v) { return (uint32_t)v; }

struct line { /* a word on its own cache line */
    _Alignas(64) _Atomic uint64_t v;
};

struct slv_team {
    /* what changes with each stage */
    _Alignas(64) _Atomic uint64_t stage;
    size_t next; /* stage of the job that follows the open one */
    struct line left;
    _Alignas(64) struct slv_gate phase;
    struct line share[SLV_TEAM_MAX];
    /* what does not, apart from it */
    _Alignas(64) size_t n;
    unsigned patience, awake; /* PATIENCE_NS and SLV_AWAKE_NS in turns of slv_cpu_relax */
    struct slv_job job;
    _Atomic bool done, stop;
    struct member {
        struct slv_team *team;
        size_t ith;
        pthread_t thread;
    } members[];
};

/* --- stages ----------------------------------------------------------------------------------- */

/* Stage numbers wrap. Now and then all shares are brought up to date, so that one of which nothing
 * was taken for very long does not seem to be ahead. */
static void renew_shares(struct slv_team *t, uint32_t number) {
    for (size_t i = 0; i < t->n; i++)
        atomic_store_explicit(&t->share[i].v, pair(number - 1, UINT32_MAX), memory_order_relaxed);
}

/* Opens the next stage that has units, or says that the job is done. The caller is alone: nothing
 * is open. */
static void open_next(struct slv_team *t) {
    uint32_t number = stage_of(atomic_load_explicit(&t->stage, memory_order_relaxed)) + 1;
    if (number % (1u << 24) == 0) renew_shares(t, number);
    while (t->next < t->job.n_stages) {
        size_t n = t->job.units(t->job.arg, t->next++);
        if (!n) continue;
        atomic_store_explicit(&t->left.v, n, memory_order_relaxed);
        atomic_store_explicit(&t->stage, pair(number, (uint32_t)n), memory_order_release);
        slv_gate_raise(&t->phase);
        return;
    }
    atomic_store_explicit(&t->done, true, memory_order_release);
    slv_gate_raise(&t->phase);
}

/* The first unit of piece p of P that n units are cut into. */
static size_t unit_at(size_t n, size_t p, size_t pieces) { return n * p / pieces; }

/* Takes a piece of member m's share of a stage and does it: how many units it had, 0 if none is
 * left. They count as done once told to finish(). */
static size_t take(struct slv_team *t, uint64_t stage, size_t m) {
    size_t n = count_of(stage), pieces = t->n * PIECES < n ? t->n * PIECES : n;
    size_t first = pieces * m / t->n, end = pieces * (m + 1) / t->n;
    uint64_t old = atomic_load_explicit(&t->share[m].v, memory_order_relaxed);
    uint32_t k;
    do {
        int32_t ahead = (int32_t)(stage_of(stage) - stage_of(old));
        k = ahead > 0 ? 0 : count_of(old);
        if (ahead < 0 || k >= end - first) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&t->share[m].v, &old,
                                                    pair(stage_of(stage), k + 1),
                                                    memory_order_acq_rel, memory_order_relaxed));
    size_t from = unit_at(n, first + k, pieces), to = unit_at(n, first + k + 1, pieces);
    t->job.run(t->job.arg, t->next - 1, from, to);
    return to - from;
}

static void finish(struct slv_team *t, size_t units) {
    if (units && atomic_fetch_sub_explicit(&t->left.v, units, memory_order_acq_rel) == units)
        open_next(t);
}

static uint64_t open_stage(const struct slv_team *t) {
    return atomic_load_explicit(&t->stage, memory_order_acquire);
}

static void own_share(struct slv_team *t, uint64_t stage, size_t ith) {
    size_t did = 0, n;
    while ((n = take(t, stage, ith)))
        did += n;
    finish(t, did);
}

/* A piece of anybody else's share. */
static bool help(struct slv_team *t, uint64_t stage, size_t ith) {
    size_t n = 0;
    for (size_t i = 1; i < t->n && !n; i++)
        n = take(t, stage, (ith + i) % t->n);
    finish(t, n);
    return n != 0;
}

/* Works and waits until `over` is set. */
static void take_part(struct slv_team *t, size_t ith, const _Atomic bool *over) {
    while (!atomic_load_explicit(over, memory_order_acquire)) {
        uint32_t phase = atomic_load(&t->phase.at);
        uint64_t stage = open_stage(t);
        own_share(t, stage, ith);
        for (unsigned i = 0; i <= t->awake && open_stage(t) == stage; i++) {
            while (i == t->patience && help(t, stage, ith)) {
            }
            if (atomic_load_explicit(over, memory_order_acquire)) return;
            if (i == t->awake) slv_gate_sleep(&t->phase, phase);
            else slv_cpu_relax();
        }
    }
}

static _Thread_local size_t self; /* a worker's ith */

size_t slv_team_member(void) { return self; }

static void *worker(void *arg) {
    struct member *m = arg;
    self = m->ith;
    take_part(m->team, m->ith, &m->team->stop);
    return NULL;
}

void slv_team_run(struct slv_team *t, const struct slv_job *job) {
    if (t->n == 1) {
        for (size_t i = 0; i < job->n_stages; i++) {
            size_t n = job->units(job->arg, i), pieces = n < PIECES ? n : PIECES;
            for (size_t p = 0; p < pieces; p++)
                job->run(job->arg, i, unit_at(n, p, pieces), unit_at(n, p + 1, pieces));
        }
        return;
    }
    t->job = *job;
    t->next = 0;
    atomic_store_explicit(&t->done, false, memory_order_relaxed);
    open_next(t);
    take_part(t, 0, &t->done);
}

/* --- life ------------------------------------------------------------------------------------- */

static void measure_relax(struct slv_team *t) {
    const int turns = 100;
    uint64_t begin = slv_clock_mono(&slv_clock_system);
    for (int i = 0; i < turns; i++)
        slv_cpu_relax();
    uint64_t ns = (slv_clock_mono(&slv_clock_system) - begin) / (unsigned)turns + 1;
    t->patience = (unsigned)(PATIENCE_NS / ns + 1);
    t->awake = (unsigned)(SLV_AWAKE_NS / ns + 2);
}

static void stop_workers(struct slv_team *t, size_t started) {
    atomic_store(&t->stop, true);
    slv_gate_raise(&t->phase);
    for (size_t i = 1; i < started; i++)
        pthread_join(t->members[i].thread, NULL);
}

int slv_team_open(size_t n, struct slv_team **ret) {
    if (n < 1 || n > SLV_TEAM_MAX) return SLV_E_USAGE;
    size_t bytes = sizeof(struct slv_team) + n * sizeof(struct member);
    struct slv_team *t = slv_mem_alloc_aligned(64, bytes);
    if (!t) return SLV_E_NOMEM;
    *t = (struct slv_team){.n = n};
    measure_relax(t);
    size_t i = 1;
    for (; i < n; i++) {
        t->members[i] = (struct member){.team = t, .ith = i};
        if (slv_thread_start(&t->members[i].thread, worker, &t->members[i])) break;
    }
    if (i < n) {
        stop_workers(t, i);
        slv_mem_free(t);
        return SLV_E_NOMEM;
    }
    *ret = t;
    return 0;
}

void slv_team_close(struct slv_team *t) {
    if (!t) return;
    if (t->n > 1) stop_workers(t, t->n);
    slv_mem_free(t);
}

size_t slv_team_size(const struct slv_team *t) { return t->n; }

size_t slv_team_cpus(void) {
    struct slv_cores c;
    slv_cores_here(&c);
    return c.threads > SLV_TEAM_MAX ? SLV_TEAM_MAX : c.threads;
}
