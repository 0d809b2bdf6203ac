/* step.h: one forward pass over a batch of tokens, of any sessions.
 *
 * A runner is the moving half of a model: the arena of buffers, sized once, and the team of
 * threads. A step takes tokens with their positions and caches, computes everything the plan says,
 * and leaves logits for the tokens that asked. No heap allocation. What a token gets does not
 * depend on the others in the batch, on the number of threads, or on how a prompt was cut into
 * steps.
 *
 * Threads: one caller at a time for a runner; runners of one model are independent.
 */
#ifndef SLV_ENGINE_STEP_H
#define SLV_ENGINE_STEP_H

#include "engine/kv.h"
#include "engine/plan.h"

#include <stdatomic.h>

struct slv_adapter_set;

struct slv_step_token {
    struct slv_kv *kv;
    int32_t id;
    uint32_t pos;
    bool logits;                            /* wants logits, or its state */
    uint8_t type;                           /* where the model has token types */
    uint32_t end;                           /* it sees positions below this; 0: up to its own */
    const struct slv_adapter_set *adapters; /* adapter.h; NULL: none */
};

struct slv_runner;
struct slv_profile;

/* What a runner needs of a model; borrowed for its life. */
struct slv_runner_model {
    const struct slv_hparams *h;
    const struct slv_weights *w;
    const struct slv_plan *plan;
    const struct slv_kernels *kern;
};

/* Bytes of the arena for steps of at most n_batch tokens with at most n_out logits rows; 0 if that
 * overflows. n_out 0: a runner of states. Its steps leave, for each token that asks, what the
 * model makes of it before there are logits. */
size_t slv_runner_bytes(const struct slv_plan *p, uint32_t n_batch, uint32_t n_out);

int slv_runner_open(const struct slv_runner_model *m, uint32_t n_batch, uint32_t n_out,
                    struct slv_team *team, struct slv_runner **ret) SLV_MUST_USE;
void slv_runner_close(struct slv_runner *r);

/* Steps of at most SLV_STEP_FEW tokens are made by n threads from now on, where that is less than
 * the team has; 0: by all of it. Results do not change. SLV_E_NOMEM. */
#define SLV_STEP_FEW 16
int slv_runner_few(struct slv_runner *r, size_t n) SLV_MUST_USE;

/* Makes room for tokens with adapters whose set has this width (adapter.h), between steps; and the
 * bytes that it would take besides. Without, a runner takes nothing for adapters. SLV_E_NOMEM. */
int slv_runner_adapt(struct slv_runner *r, size_t width) SLV_MUST_USE;
size_t slv_runner_adapt_bytes(const struct slv_runner *r, size_t width);

/* From now on a step looks at *flag (NULL: at nothing) and gives up soon after it is set. */
void slv_runner_watch(struct slv_runner *r, const _Atomic bool *flag);

/* From now on steps are told to p (profile.h), which is for this runner's plan and team; NULL: to
 * nobody. Results do not change. */
void slv_runner_profile(struct slv_runner *r, struct slv_profile *p);

/* Runs n tokens, 1 <= n <= n_batch, of which at most n_out want logits. The caller has made sure
 * that ids are in the vocabulary, types in their table, and that, for each cache, positions are
 * consecutive from n_pos on and below n_ctx; tokens see no position that neither was there nor is
 * in the step; it advances n_pos afterwards. SLV_E_NUMERIC: a logit is NaN or infinite, those
 * of other rows are as good as ever. SLV_E_CANCELLED: the caches hold anything from n_pos on, and
 * there are no logits. */
int slv_step(struct slv_runner *r, const struct slv_step_token *tokens, uint32_t n) SLV_MUST_USE;

/* Row i of the states of the last step, of a runner of those: [n_embd]. */
const float *slv_runner_state(const struct slv_runner *r, uint32_t i);

/* Row i of the logits of the last step, in the order of the tokens that wanted them: [n_vocab]. */
const float *slv_runner_logits(const struct slv_runner *r, uint32_t i);

/* Whether all of that row are numbers. */
bool slv_runner_finite(const struct slv_runner *r, uint32_t i);

/* Steps run so far: logits belong to the last. */
uint64_t slv_runner_steps(const struct slv_runner *r);

#endif
