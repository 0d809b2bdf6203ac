/* hlc.h: time that never goes back and never lies far ahead: a hybrid logical clock.
 *
 * A stamp is milliseconds since 1970 and a count within one, in one number, so that stamps order as
 * numbers do. Each that is given is larger than all that were given or seen here (Kulkarni and
 * others, Logical Physical Clocks, 2014): what is written after something was seen has the later
 * stamp, whatever the clocks say. A stamp from further ahead of this node's clock than the bound is
 * refused: one node whose clock is wrong must not drag all others with it, or win for ever.
 *
 *     stamp: 48 bits milliseconds | 16 bits count
 *
 * Threads: one.
 */
#ifndef SLV_MESH_HLC_H
#define SLV_MESH_HLC_H

#include "base/clock.h"
#include "selvage.h"

#define SLV_SKEW_MS 5000u /* the bound, unless one is set */

struct slv_hlc {
    const struct slv_clock *clock;
    uint64_t last;    /* stamp */
    uint64_t skew_ms; /* how far ahead one may be */
    uint64_t refused; /* stamps, so far */
};

static inline uint64_t slv_stamp_ms(uint64_t stamp) { return stamp >> 16; }

void slv_hlc_init(struct slv_hlc *h, const struct slv_clock *clock, uint64_t skew_ms);

/* The stamp of something that happens now. */
uint64_t slv_hlc_now(struct slv_hlc *h);

/* What the clock shows, in ms since 1970. */
uint64_t slv_hlc_wall_ms(const struct slv_hlc *h);

/* The latest stamp that would be taken now. */
uint64_t slv_hlc_limit(const struct slv_hlc *h);

/* Something with this stamp was seen. False: it is refused, and nothing has changed. */
bool slv_hlc_see(struct slv_hlc *h, uint64_t stamp) SLV_MUST_USE;

#endif
