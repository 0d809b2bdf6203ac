/* gate.c: see gate.h. */
#define _GNU_SOURCE
#include "base/gate.h"
#include "base/clock.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TURNS 64 /* between looks at the clock */

void slv_gate_raise(struct slv_gate *g) {
    atomic_fetch_add(&g->at, 1);
    if (atomic_load(&g->sleepers))
        syscall(SYS_futex, &g->at, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void slv_gate_sleep(struct slv_gate *g, uint32_t old) {
    /* Counted first, then checked again: whoever raises it after this sees the sleeper. */
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->at) == old)
        syscall(SYS_futex, &g->at, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
}

static bool reached(struct slv_gate *g, uint32_t n, uint32_t *ret_at) {
    *ret_at = atomic_load_explicit(&g->at, memory_order_acquire);
    return (int32_t)(*ret_at - n) >= 0;
}

void slv_gate_await(struct slv_gate *g, uint32_t n) {
    uint32_t at;
    if (reached(g, n, &at)) return;
    const uint64_t begin = slv_clock_mono(&slv_clock_system);
    do {
        for (int i = 0; i < TURNS; i++) {
            if (reached(g, n, &at)) return;
            slv_cpu_relax();
        }
    } while (slv_clock_mono(&slv_clock_system) - begin < SLV_AWAKE_NS);
    while (!reached(g, n, &at))
        slv_gate_sleep(g, at);
}
