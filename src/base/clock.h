/* clock.h: time behind a vtable, so that a simulator can own it. Threads: any. */
#ifndef SLV_BASE_CLOCK_H
#define SLV_BASE_CLOCK_H

#include <stdint.h>

struct slv_clock {
    uint64_t (*mono_ns)(void *ctx); /* never goes back; the origin means nothing */
    uint64_t (*wall_ns)(void *ctx); /* nanoseconds since 1970-01-01 00:00 UTC */
    void *ctx;
};

/* The machine's own clocks. */
extern const struct slv_clock slv_clock_system;

static inline uint64_t slv_clock_mono(const struct slv_clock *c) { return c->mono_ns(c->ctx); }
static inline uint64_t slv_clock_wall(const struct slv_clock *c) { return c->wall_ns(c->ctx); }

#endif
