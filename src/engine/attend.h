/* attend.h: attention of a step: every query head of every token over all that it may see.
 *
 * The visible positions are cut into blocks of SLV_KV_BLOCK and spans of SLV_KV_SPAN blocks, both
 * aligned to absolute position. Blocks of a span join in ascending order to the span's own maximum,
 * sum and output; spans join in ascending order. That is what a result is made of, however the work
 * is cut: a unit is some tokens and one KV head, so that K and V are read once for all query heads
 * that share them; where the step has few tokens a unit is one span of them, and slv_attend_finish
 * joins.
 *
 * Threads: any, on different units; slv_attend_finish after all units are done.
 */
#ifndef SLV_ENGINE_ATTEND_H
#define SLV_ENGINE_ATTEND_H

#include "engine/step.h"

#define SLV_KV_SPAN 4 /* blocks: 256 positions */

/* Spans' results that may wait for slv_attend_finish. */
#define SLV_ATTEND_PARTS 1024

struct slv_attend {
    const struct slv_hparams *h;
    const struct slv_kernels *kern;
    const struct slv_step_token *tok;
    size_t n;
    const float *q; /* [n][ldq]: heads end to end */
    float *out;     /* [n][ldo] */
    float *part;    /* [slv_attend_part_floats]; NULL: nothing is to wait */
    size_t ldq, ldo;
    uint32_t layer;
};

/* Floats of `part`. */
size_t slv_attend_part_floats(const struct slv_hparams *h);

/* Whether results wait in `part` until slv_attend_finish. */
bool slv_attend_waits(const struct slv_attend *a);

size_t slv_attend_units(const struct slv_attend *a);
void slv_attend_run(const struct slv_attend *a, size_t from, size_t to);

/* Columns [c0, c1) of token i's row of `out`. Does nothing where nothing waits. */
void slv_attend_finish(const struct slv_attend *a, size_t i, size_t c0, size_t c1);

#endif
