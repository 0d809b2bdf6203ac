/* team.c: see team.h.
 *
 * Invariants
 *   - `epoch` counts pieces of work. A worker that has done piece e waits for epoch != e.
 *   - `arrived` counts members at the current barrier; the last one resets it and advances `phase`,
 *     which the others wait for. The end of a piece is such a barrier too.
 *   - fn and arg are written before epoch (release) and read after it (acquire).
 */
#define _GNU_SOURCE
#include "base/team.h"
#include "base/mem.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 4000 /* some tens of microseconds */

struct word { /* a futex on its own cache line */
    _Alignas(64) _Atomic uint32_t v;
    _Atomic uint32_t sleepers;
};

struct slv_team {
    struct word epoch, phase;
    _Alignas(64) _Atomic uint32_t arrived;
    size_t n;
    slv_team_fn fn;
    void *arg;
    bool stop;
    struct member {
        struct slv_team *team;
        size_t ith;
        pthread_t thread;
    } members[];
};

static void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns when w->v is no longer `old`. */
static void await(struct word *w, uint32_t old) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&w->v, memory_order_acquire) != old) return;
        cpu_relax();
    }
    /* Counted first, then checked again: whoever changes v after this sees the sleeper. */
    atomic_fetch_add(&w->sleepers, 1);
    while (atomic_load(&w->v) == old)
        syscall(SYS_futex, &w->v, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&w->sleepers, 1);
}

static void advance(struct word *w) {
    atomic_fetch_add(&w->v, 1);
    if (atomic_load(&w->sleepers))
        syscall(SYS_futex, &w->v, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void slv_team_barrier(struct slv_team *t) {
    if (t->n == 1) return;
    uint32_t phase = atomic_load_explicit(&t->phase.v, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 == t->n) {
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        advance(&t->phase);
    } else {
        await(&t->phase, phase);
    }
}

static void *worker(void *arg) {
    struct member *m = arg;
    struct slv_team *t = m->team;
    for (uint32_t epoch = 0;; epoch++) {
        await(&t->epoch, epoch);
        if (t->stop) return NULL;
        t->fn(t->arg, m->ith, t->n);
        slv_team_barrier(t);
    }
}

void slv_team_run(struct slv_team *t, slv_team_fn fn, void *arg) {
    t->fn = fn;
    t->arg = arg;
    if (t->n > 1) advance(&t->epoch);
    fn(arg, 0, t->n);
    slv_team_barrier(t);
}

static void stop_workers(struct slv_team *t, size_t started) {
    t->stop = true;
    advance(&t->epoch);
    for (size_t i = 1; i < started; i++)
        pthread_join(t->members[i].thread, NULL);
}

int slv_team_open(size_t n, struct slv_team **ret) {
    if (n < 1 || n > SLV_TEAM_MAX) return SLV_E_USAGE;
    size_t bytes = sizeof(struct slv_team) + n * sizeof(struct member);
    struct slv_team *t = slv_mem_alloc_aligned(64, bytes);
    if (!t) return SLV_E_NOMEM;
    *t = (struct slv_team){.n = n};
    /* Signals belong to the program's own threads, but for those that a thread's own instruction
     * raises: blocked, they would end the process past any handler. */
    static const int own[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
    sigset_t all, old;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    size_t i = 1;
    for (; i < n; i++) {
        t->members[i] = (struct member){.team = t, .ith = i};
        if (pthread_create(&t->members[i].thread, NULL, worker, &t->members[i])) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
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

/* cgroup v2: "max 100000" or "150000 100000". */
static size_t cgroup_cpus(void) {
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    long quota = 0, period = 0;
    if (!f) return SIZE_MAX;
    int n = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    if (n != 2 || quota <= 0 || period <= 0) return SIZE_MAX;
    return ((size_t)quota + (size_t)period - 1) / (size_t)period;
}

size_t slv_team_cpus(void) {
    cpu_set_t set;
    size_t n = 1, limit = cgroup_cpus();
    if (!sched_getaffinity(0, sizeof set, &set)) n = (size_t)CPU_COUNT(&set);
    if (n > limit) n = limit;
    return n < 1 ? 1 : n > SLV_TEAM_MAX ? SLV_TEAM_MAX : n;
}
