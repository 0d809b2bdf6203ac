/* gate.h: a count that threads raise and other threads wait for.
 *
 * Who waits spins briefly, because the wait is usually shorter than a system call, and then sleeps
 * on a futex. A count wraps; it is compared within half its range. All that was written before a
 * gate was raised is seen by who has found it raised. Threads: any.
 */
#ifndef SLV_BASE_GATE_H
#define SLV_BASE_GATE_H

#include <stdatomic.h>
#include <stdint.h>

#define SLV_AWAKE_NS 40000 /* how long one waits before sleeping */

struct slv_gate {
    _Atomic uint32_t at;
    _Atomic uint32_t sleepers;
};

static inline void slv_cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* By one. */
void slv_gate_raise(struct slv_gate *g);

/* Returns when the count is no longer `old`. */
void slv_gate_sleep(struct slv_gate *g, uint32_t old);

/* Returns when the count is n or past it. */
void slv_gate_await(struct slv_gate *g, uint32_t n);

#endif
