/* draft.h: guessing the next tokens, so that one step can check several.
 *
 * A drafter is given the tokens so far and proposes how they go on. Whatever it proposes, nothing
 * but speed depends on it: the step that checks gives the logits that plain decoding would have
 * had, and a drafted token counts only if the sampler, with the random number of that position,
 * draws it (generate.c). Sources: Leviathan, Kalman and Matias 2023; Chen et al. 2023; with a
 * random number that belongs to the position, their acceptance rule becomes equality.
 *
 * There are two: the lookup in the conversation itself (lookup.h), and a smaller model with the
 * same vocabulary. Whichever promises more tokens a second (pace.h) is asked, or none. Another kind
 * (the model's own first layers, say) is another `slv_drafter`.
 *
 * Threads: one at a time, that of the session.
 */
#ifndef SLV_ENGINE_DRAFT_H
#define SLV_ENGINE_DRAFT_H

#include "base/clock.h"
#include "engine/lookup.h"
#include "engine/pace.h"
#include "engine/sampler.h"
#include "format/tokenizer.h"

#define SLV_DRAFT_MAX 63u /* tokens drafted at once */
#define SLV_DRAFT_DEFAULT 15u

/* What is proposed: chance[i] that ids[i] is right if those before it are. */
struct slv_guess {
    uint32_t n;
    int32_t ids[SLV_DRAFT_MAX];
    float chance[SLV_DRAFT_MAX];
};

/* A way to guess. */
struct slv_drafter {
    /* Proposes at most `most` tokens to follow history[0..n), and may stop where the chance that
     * all so far are right has fallen below `floor`. */
    void (*propose)(void *self, const int32_t *history, uint32_t n, uint32_t most, double floor,
                    struct slv_guess *ret);
    /* `id` follows history[0..n). Called once for every token, in order, whoever proposed it. */
    void (*told)(void *self, const int32_t *history, uint32_t n, int32_t id);
    /* What one proposed token takes, in ns, and the chance that it will be right, before anything
     * is proposed. NULL: nothing, so it is always asked and judged by what it proposes. Negative
     * time: it cannot be said yet. */
    void (*forecast)(void *self, double *ret_ns, float *ret_chance);
};

#define SLV_DRAFTERS_MAX 4

/* A session that drafts for another one. */
struct slv_draft_model {
    struct slv_session *s;
    struct slv_sampler *sampler; /* of the generation that is drafted for; borrowed */
    const struct slv_clock *clock;
    struct slv_guess last; /* what was proposed last, for history[0..last_at) */
    uint32_t last_at;
    size_t kind[SLV_DRAFT_MAX]; /* how sure the model was */
    float right[8], all[8];     /* experience, by how sure it was */
    float mean;                 /* chance of a token before anything is proposed */
    double ns;                  /* of one proposed token, smoothed; negative: not known */
};

/* Everything that one session needs to speculate. */
struct slv_speculator {
    struct slv_lookup *lookup;
    struct slv_draft_model model;
    struct {
        const struct slv_drafter *how;
        void *self;
        uint64_t asked; /* the step when it last proposed something that was checked */
    } drafter[SLV_DRAFTERS_MAX];
    uint32_t n_drafters, most;
    struct slv_pace pace;
    const struct slv_clock *clock;
    struct slv_guess guess[2];
};

/* Bytes of a speculator for n_ctx positions; 0 if that overflows. */
size_t slv_speculator_bytes(uint32_t n_ctx);
/* most: tokens drafted at once, 1 to SLV_DRAFT_MAX. SLV_E_NOMEM. */
int slv_speculator_open(uint32_t n_ctx, uint32_t most, struct slv_speculator **ret) SLV_MUST_USE;
void slv_speculator_close(struct slv_speculator *sp);

/* A generation by s begins. draft: a session of a model with the same vocabulary, or NULL; sampler:
 * that of the generation. Both are borrowed until the next call. */
void slv_speculator_begin(struct slv_speculator *sp, const struct slv_session *s,
                          struct slv_session *draft, struct slv_sampler *sampler);

/* One more drafter, asked after those there are; until the next slv_speculator_begin. False: there
 * are SLV_DRAFTERS_MAX. */
bool slv_speculator_add(struct slv_speculator *sp, const struct slv_drafter *how, void *self);

/* `id` follows history[0..n). */
void slv_speculator_told(struct slv_speculator *sp, const int32_t *history, uint32_t n, int32_t id);

/* Guesses at most `most` tokens to follow history[0..n): as many as pay, perhaps none. The result
 * is valid until the next call. */
const struct slv_guess *slv_speculator_next(struct slv_speculator *sp, const int32_t *history,
                                            uint32_t n, uint32_t most);

/* SLV_E_USAGE, with the first difference in the message, unless both have the same tokens. */
int slv_same_vocabulary(const struct slv_tokenizer *a, const struct slv_tokenizer *b,
                        struct slv_err *err) SLV_MUST_USE;

#endif
