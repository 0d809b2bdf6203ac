/* team.h: a fixed set of threads that do one piece of work together.
 *
 * The caller is member 0. Between pieces the others sleep. Inside a piece, slv_team_barrier holds
 * every member until all have come: it spins briefly, because the wait is usually shorter than a
 * system call, and then sleeps on a futex, so that a busy machine is not made busier.
 *
 * Threads: one caller at a time.
 */
#ifndef SLV_BASE_TEAM_H
#define SLV_BASE_TEAM_H

#include "selvage.h"

#define SLV_TEAM_MAX 256

struct slv_team;

/* The work: member `ith` of `nth`. Everything written before a barrier is seen after it by all. */
typedef void (*slv_team_fn)(void *arg, size_t ith, size_t nth);

/* n members, 1 to SLV_TEAM_MAX; n - 1 threads are started. SLV_E_NOMEM, SLV_E_USAGE. */
int slv_team_open(size_t n, struct slv_team **ret) SLV_MUST_USE;
void slv_team_close(struct slv_team *t);

size_t slv_team_size(const struct slv_team *t);

/* Runs fn on all members and returns when all have. No allocation. */
void slv_team_run(struct slv_team *t, slv_team_fn fn, void *arg);

/* Inside fn only, by every member. */
void slv_team_barrier(struct slv_team *t);

/* Processors this process may run on: the affinity mask, and the cgroup's quota rounded up. */
size_t slv_team_cpus(void);

#endif
