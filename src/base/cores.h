/* cores.h: what processors this process may use, and how many threads are worth having.
 *
 * Counted are the processors that are online and in the process's affinity mask; of those that
 * share a core (hyper-threads) one, because two of them are no faster than one at what this program
 * does; and of cores of different speed (big.LITTLE) as many of the fastest as make a stage of work
 * shortest: see slv_cores_best. A cgroup's quota of processor time, rounded up, is the most.
 *
 * Sources: Linux's Documentation/admin-guide/cputopology.rst, cgroup-v2.rst, cgroup-v1 (CFS
 * bandwidth), ABI/testing/sysfs-devices-system-cpu. What a file does not say counts as not there.
 *
 * Threads: any. */
#ifndef SLV_BASE_CORES_H
#define SLV_BASE_CORES_H

#include "selvage.h"

#define SLV_CORES_MAX 4096 /* processors that are looked at */

/* A set of processors by number. */
struct slv_cpuset {
    uint64_t bits[SLV_CORES_MAX / 64];
};

/* Cores that are equally fast. */
struct slv_core_class {
    size_t n;
    uint64_t speed; /* in the unit of what told it */
};
#define SLV_CORE_CLASSES_MAX 8

struct slv_cores {
    size_t online;    /* processors of the machine; 0: it does not say */
    size_t allowed;   /* of them, those that the process may run on */
    size_t cores;     /* of those, one of each core */
    size_t worth;     /* of those, the fastest that are worth having */
    uint64_t quota;   /* thousandths of a processor that the cgroup grants; 0: no limit */
    size_t threads;   /* what follows: at least 1 */
    size_t n_classes; /* fastest first; 1: all are alike, or nothing says otherwise */
    struct slv_core_class classes[SLV_CORE_CLASSES_MAX];
    const char *speed_from; /* "cpu_capacity", "cpuinfo_max_freq", or NULL */
};

/* Reads the files of a machine under `root`, "" for this one, for a process with that affinity
 * mask. */
void slv_cores_read(const char *root, const struct slv_cpuset *allowed, struct slv_cores *ret);

/* This process on this machine. */
void slv_cores_here(struct slv_cores *ret);

/* How many of so many cores, fastest first, make a stage of work shortest that is cut into as many
 * pieces for each and taken by whoever is free (team.h): with the k fastest, the whole over their
 * speeds together, and where the k-th is slower than the first, once its piece, which it may begin
 * last. */
size_t slv_cores_best(const struct slv_core_class *classes, size_t n);

#endif
