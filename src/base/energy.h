/* energy.h: what the processors have used, by the counters that Linux shows (powercap: Intel's
 * RAPL, which AMD has too).
 *
 * Counted are the zones of whole packages, and memory's where it has one of its own: cores,
 * graphics and "psys" are in them or overlap with them. A counter is in uJ and wraps at a number
 * that it states, after some minutes at the least: what is measured must be read once in that time.
 * Where there is no counter, or it may not be read (as usual without root), there is no number.
 *
 * Source: Documentation/power/powercap/powercap.rst of Linux. Threads: one at a time. */
#ifndef SLV_BASE_ENERGY_H
#define SLV_BASE_ENERGY_H

#include "selvage.h"

#define SLV_ENERGY_FOLDER "/sys/class/powercap"
#define SLV_ENERGY_ZONES_MAX 64
#define SLV_ENERGY_PATH_MAX 512

struct slv_energy {
    size_t n;
    struct slv_energy_zone {
        char path[SLV_ENERGY_PATH_MAX]; /* of its counter */
        uint64_t last, range;           /* uJ; the counter goes from 0 to range */
    } zone[SLV_ENERGY_ZONES_MAX];
    uint64_t used; /* uJ since the beginning */
};

/* Begins to count with the zones under `folder`. SLV_E_NOENT: none can be read. */
int slv_energy_begin(struct slv_energy *ret, const char *folder) SLV_MUST_USE;

/* uJ since slv_energy_begin. SLV_E_IO: a counter can no longer be read; nothing is told then. */
int slv_energy_read(struct slv_energy *e, uint64_t *ret_uj) SLV_MUST_USE;

#endif
