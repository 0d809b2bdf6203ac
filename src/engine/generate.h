/* generate.h: an answer in the making, apart from the steps that it needs.
 *
 * A generation draws tokens as long as the session has logits for the next one, and then says what
 * is to be fed. Who runs the step - for this session alone, or for many at once (batch.h) - tells
 * it where the logits are. So all ways to generate are one.
 *
 * Threads: one at a time, that of the session.
 */
#ifndef SLV_ENGINE_GENERATE_H
#define SLV_ENGINE_GENERATE_H

#include "engine/session.h"

struct slv_generation;

/* What is to be fed at the session's position: logits are wanted after ids[from] and all behind.
 * Valid until the generation goes on. */
struct slv_feed {
    const int32_t *ids;
    uint32_t n, from;
};

/* SLV_E_USAGE: options that cannot be. */
int slv_generation_check(const struct slv_session *s, const struct slv_generate_opts *opts,
                         struct slv_err *err) SLV_MUST_USE;

/* The same errors. opts with all it points to, and ctx, are borrowed. The
 * session has logits when it first goes on. */
int slv_generation_open(struct slv_session *s, const struct slv_generate_opts *opts,
                        slv_piece_fn piece, void *ctx, struct slv_generation **ret,
                        struct slv_err *err) SLV_MUST_USE;
void slv_generation_close(struct slv_generation *g);

/* Goes on to the next step that is needed; ret->n = 0: the answer has ended. may_guess: tokens that
 * are only likely may be fed with it. */
int slv_generation_go(struct slv_generation *g, bool may_guess, struct slv_feed *ret,
                      struct slv_err *err) SLV_MUST_USE;

#define SLV_STEP_SHARED UINT64_MAX

/* That step was run, and its logits are the runner's rows from `row` on; it took ns, or
 * SLV_STEP_SHARED: it cannot be said, other things were in it. SLV_E_NUMERIC: the logits are not
 * numbers. */
int slv_generation_fed(struct slv_generation *g, uint32_t row, uint64_t ns,
                       struct slv_err *err) SLV_MUST_USE;

/* Why the answer ended. */
enum slv_finish slv_generation_finish(const struct slv_generation *g);

#endif
