/* pace.h: how many drafted tokens pay.
 *
 * A step over m tokens takes longer than one over a single token, by a factor that depends on
 * model, machine, threads and depth: it is measured as steps are made, and smoothed. Against it
 * stands the number of tokens that drafts are expected to give. Nothing here decides what is
 * generated, only how fast.
 */
#ifndef SLV_ENGINE_PACE_H
#define SLV_ENGINE_PACE_H

#include "selvage.h"

#define SLV_PACE_MAX 64 /* tokens in one step */

struct slv_pace {
    double ns[SLV_PACE_MAX + 1];        /* of a step over so many tokens; 0: not measured */
    uint64_t at[SLV_PACE_MAX + 1];      /* the step that measured it last */
    uint32_t counted[SLV_PACE_MAX + 1]; /* how often it was */
    uint64_t steps;
    double allowance; /* ns that trying out may cost */
};

/* A step over m tokens, 1 <= m <= SLV_PACE_MAX, took ns. */
void slv_pace_measured(struct slv_pace *p, uint32_t m, uint64_t ns);

/* What a step over m tokens is expected to take, in ns; 1 and more if none was measured yet. */
double slv_pace_cost(const struct slv_pace *p, uint32_t m);

/* How many of n drafted tokens to check, where chance[i] is the chance that token i is right if
 * those before it are, and drafting each took extra_ns: the number with the most tokens a second
 * expected, 0 if drafting does not pay. *ret_rate: tokens a ns then. */
uint32_t slv_pace_choose(const struct slv_pace *p, const float *chance, uint32_t n, double extra_ns,
                         double *ret_rate);

/* After slv_pace_choose said 0: how many to check nevertheless, to learn what that costs, or, where
 * the chances themselves are doubted, what they are. Rarely more than 0: all such steps together
 * lose at most one percent of the time. */
uint32_t slv_pace_probe(struct slv_pace *p, const float *chance, uint32_t n, double extra_ns,
                        bool doubted);

#endif
