/* profile.h: where the time of a runner's steps goes.
 *
 * A runner that has a profile (slv_runner_profile) tells it when each piece of an operator's work
 * begins and ends, and on which member of the team. From that come, for each operator of the plan,
 * the time in which members worked on it, the time in which they waited for it to be done, and what
 * it read and multiplied; and, where there is room for it, a list of events in the order of time.
 *
 * The time of a step is parted without a rest: for each member it is work on operators, waiting in
 * operators (from the end of the operator before to the end of this one, without its own work), and
 * what lies behind the last one. Where members take their tokens through the layers each by itself
 * (lanes.h) an operator ends for each when it has done it; the wait for the others is that of the
 * operator that follows. Bytes and products are those that the step needs, not those of a
 * counter: weights once a step, keys and values once a step for each cache.
 *
 * Nothing is allocated while steps run. Threads: pieces from any member of the team, the rest from
 * the runner's caller between steps.
 */
#ifndef SLV_ENGINE_PROFILE_H
#define SLV_ENGINE_PROFILE_H

#include "engine/step.h"

/* One operator of the plan over all steps. Times are sums over members, in ns. */
struct slv_profile_row {
    uint64_t calls; /* steps in which it had work */
    uint64_t busy_ns, wait_ns;
    uint64_t weight_bytes, kv_bytes; /* read */
    uint64_t macs;                   /* products that were added up */
};

/* All steps. */
struct slv_profile_sum {
    uint64_t steps, tokens;
    uint64_t step_ns;            /* from the beginning of each to its end */
    uint64_t busy_ns, wait_ns;   /* sums over members; with idle_ns they are members * step_ns */
    uint64_t idle_ns;            /* behind the last operator */
    uint64_t events, lost_steps; /* kept; steps that some or all had no room of */
};

/* Work on one operator by one member without a pause, monotonic ns. */
struct slv_profile_event {
    uint64_t begin, end;
    uint32_t op, step;
};

/* A step of which events were kept. */
struct slv_profile_step {
    uint64_t begin, end;
    uint32_t tokens;
};

#define SLV_PROFILE_EVENTS_MAX ((size_t)1 << 20)
#define SLV_PROFILE_STEPS_MAX ((size_t)1 << 14)

struct slv_profile;

/* For a runner of this plan, borrowed, with a team of at most so many members, 1 to SLV_TEAM_MAX.
 * n_events: most events to keep, shared out among the members; 0: none; SLV_E_USAGE above
 * SLV_PROFILE_EVENTS_MAX. SLV_E_NOMEM. */
int slv_profile_open(const struct slv_plan *plan, size_t members, size_t n_events,
                     struct slv_profile **ret) SLV_MUST_USE;
void slv_profile_close(struct slv_profile *p);

/* Forgets what was seen. */
void slv_profile_clear(struct slv_profile *p);

const struct slv_profile_row *slv_profile_row(const struct slv_profile *p, size_t op);
void slv_profile_sum(const struct slv_profile *p, struct slv_profile_sum *ret);

/* The events of a member in the order of time; *ret_n of them. */
const struct slv_profile_event *slv_profile_events(const struct slv_profile *p, size_t member,
                                                   size_t *ret_n);
/* The steps that events speak of by number. */
const struct slv_profile_step *slv_profile_steps(const struct slv_profile *p, size_t *ret_n);

/* --- what a runner tells it ------------------------------------------------------------------- */

void slv_profile_begin_step(struct slv_profile *p);

/* The calling member has worked on an operator since `begin`. */
void slv_profile_piece(struct slv_profile *p, size_t op, uint64_t begin);

/* The step over tok[0..n), n_logits of them with logits, has ended; a team of so many members made
 * it, each doing the first n_alone operators by itself for some of the tokens. */
void slv_profile_end_step(struct slv_profile *p, const struct slv_step_token *tok, uint32_t n,
                          uint32_t n_logits, size_t n_alone, size_t members);

#endif
