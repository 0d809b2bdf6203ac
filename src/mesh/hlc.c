/* hlc.c: see hlc.h. */
#include "mesh/hlc.h"

/* Of the wall clock: a count of 0 in its millisecond. */
static uint64_t wall(const struct slv_hlc *h) { return slv_hlc_wall_ms(h) << 16; }

uint64_t slv_hlc_wall_ms(const struct slv_hlc *h) { return slv_clock_wall(h->clock) / 1000000u; }

void slv_hlc_init(struct slv_hlc *h, const struct slv_clock *clock, uint64_t skew_ms) {
    *h = (struct slv_hlc){.clock = clock, .skew_ms = skew_ms ? skew_ms : SLV_SKEW_MS};
}

/* (A count that is full goes on in the next millisecond.) */
uint64_t slv_hlc_now(struct slv_hlc *h) {
    const uint64_t now = wall(h);
    h->last = now > h->last ? now : h->last + 1;
    return h->last;
}

uint64_t slv_hlc_limit(const struct slv_hlc *h) { return wall(h) + (h->skew_ms << 16) + 0xffff; }

bool slv_hlc_see(struct slv_hlc *h, uint64_t stamp) {
    if (stamp > slv_hlc_limit(h)) {
        h->refused++;
        return false;
    }
    if (stamp > h->last) h->last = stamp;
    return true;
}
