/* lanes.h: a step of many tokens, cut so that each member of the team takes some of them through
 * all layers by itself.
 *
 * Where the members share every operator they wait for each other at the end of each, and what one
 * writes is in another's cache when it is read. In a lane nobody waits, an operator finds what the
 * one before it has made in its own core's cache, and while one member waits for keys and values
 * another multiplies. But each reads all weights: there must be so many tokens that it does not
 * matter, the more the more members there are.
 *
 * A lane whose first tokens go on in the cache of the lane before it follows it: in each layer it
 * has to wait until that one has stored its keys and values (and those it follows itself). Such a
 * cut is at a multiple of SLV_LANE_ALIGN positions, so that nobody stores what somebody may read.
 *
 * Threads: any; pure.
 */
#ifndef SLV_ENGINE_LANES_H
#define SLV_ENGINE_LANES_H

#include "engine/plan.h"
#include "engine/step.h"

#define SLV_LANE_ALIGN 16 /* positions of a tile of keys (slv_attn_block) */

/* Tokens, or rows, [first, first + n) of a step. */
struct slv_lane {
    size_t first, n;
    bool follows; /* the one before it */
};

/* What layers cost, in some unit. */
struct slv_lane_costs {
    uint64_t token;       /* but for attention */
    uint64_t seen, near;  /* each position that it sees: of all, of those in the window */
    uint64_t layer_bytes; /* of weights, the largest layer's */
};

void slv_lanes_measure(const struct slv_plan *p, struct slv_lane_costs *ret);

/* Cuts a step of n tokens for so many members, lane[members]: how many lanes there are, all of the
 * tokens in order and each lane with some. 1: there are too few, or what depends on each other (the
 * tokens of a text that see each other, those of one cache that stand apart) leaves no even cut. */
size_t slv_lanes_cut(const struct slv_hparams *h, const struct slv_lane_costs *c,
                     const struct slv_step_token *tok, size_t n, size_t members,
                     struct slv_lane *lane);

#endif
