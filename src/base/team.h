/* team.h: a fixed set of threads that do one piece of work together.
 *
 * A job is a list of stages; a stage is so many units, which may be done in any order and by
 * anybody, and all of which are done before the next stage begins. Each member has a share of the
 * units, in order, so that it meets the same memory in every step; it takes it in pieces, and when
 * it has none left it takes pieces of others. So nobody waits for a member that is not running, but
 * for the one piece it may be in the middle of; and a core that is slow or shared does less.
 *
 * Who has nothing to do spins briefly, because the wait is usually shorter than a system call, and
 * then sleeps on a futex, so that a busy machine is not made busier.
 *
 * The caller is member 0. Threads: one caller at a time.
 */
#ifndef SLV_BASE_TEAM_H
#define SLV_BASE_TEAM_H

#include "selvage.h"

#define SLV_TEAM_MAX 256
#define SLV_TEAM_UNITS_MAX UINT32_MAX /* of a stage */
#define SLV_TEAM_PIECES 4             /* that a member's share is taken in */

struct slv_team;

/* What is to be done. Everything written in a stage is seen in the next by all. */
struct slv_job {
    size_t n_stages;
    /* Units of a stage; 0: nothing is to be done. Asked once, after the stages before it. */
    size_t (*units)(void *arg, size_t stage);
    /* Does units [from, to) of a stage. */
    void (*run)(void *arg, size_t stage, size_t from, size_t to);
    void *arg;
};

/* n members, 1 to SLV_TEAM_MAX; n - 1 threads are started. SLV_E_NOMEM, SLV_E_USAGE. */
int slv_team_open(size_t n, struct slv_team **ret) SLV_MUST_USE;
void slv_team_close(struct slv_team *t);

size_t slv_team_size(const struct slv_team *t);

/* Which member of its team the calling thread is; 0 for a thread that no team has started, as the
 * one that calls slv_team_run. */
size_t slv_team_member(void);

/* Returns when all is done. No allocation. */
void slv_team_run(struct slv_team *t, const struct slv_job *job);

/* Members that are worth having for this process on this machine: cores.h. Reads some files. */
size_t slv_team_cpus(void);

#endif
