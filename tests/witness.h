/* witness.h: generations with random options on tiny models, and all that can be seen of them, so
 * that ways to generate can be compared: plainly, with guessed tokens, among others in a batch.
 *
 * Everything fails the test that calls it by cmocka's own means. */
#ifndef SLV_TESTS_WITNESS_H
#define SLV_TESTS_WITNESS_H

#include "engine/session.h"

uint32_t rnd(uint32_t n); /* below n; always the same numbers */

#define SEEN_MAX 700u
#define VOCAB_MAX 1024u
#define PIECES_MAX 65536u

/* All that can be seen of one generation. */
struct seen {
    int rc;
    enum slv_finish finish;
    uint32_t n, n_text, pos, n_logits;
    int32_t ids[SEEN_MAX], history[SEEN_MAX];
    float logprobs[SEEN_MAX];
    struct slv_logprob top[SEEN_MAX][3];
    char text[PIECES_MAX]; /* pieces, each behind its length */
    float logits[VOCAB_MAX];
};

struct how {
    struct slv_session_opts so;
    struct slv_generate_opts g;
    uint32_t n_prompt, stop_after; /* stop_after: pieces after which the caller has enough; 0 */
    bool by_cancel;                /* it says so by slv_session_cancel */
    int32_t prompt[256];
    struct slv_logit_bias bias[6];
    const struct slv_clock *clock;
    const struct slv_adapter_use *uses; /* the session's adapters, n_uses of them */
    size_t n_uses;
};

/* Steps take no time; always the same; now this, now that. */
extern const struct slv_clock witness_clocks[3];

/* A tiny model of MODEL_DIR. */
struct slv_model *witness_model(const char *name);

/* A cache of that many bytes; and its end, when everything that sessions held has been given back
 * and the tree lets go of the rest. */
struct slv_prefix_cache *witness_cache(struct slv_model *m, enum slv_kv_kind kv, uint64_t bytes);
void witness_cache_close(struct slv_prefix_cache *c);

/* A session of one thread; c and n_batch may be NULL and 0. */
struct slv_session *witness_session(struct slv_model *m, struct slv_prefix_cache *c,
                                    enum slv_kv_kind kv, uint32_t n_ctx, uint32_t n_batch);

/* Opens what `how` says, with other options. */
struct slv_session *witness_open(struct slv_model *m, const struct how *how,
                                 const struct slv_session_opts *so);

/* The logits after ids[0..n), at most 512, computed plainly: [n_vocab]. */
void witness_logits(struct slv_model *m, enum slv_kv_kind kv, const int32_t *ids, size_t n,
                    float *ret);

/* A prompt that repeats itself, so that there is something to find. */
void witness_prompt(struct how *how, uint32_t n_vocab);

/* That, and any options, so that in time every pair of them meets. */
void witness_options(struct how *how, const struct slv_model *m);

/* A string out of an answer, to stop at; false: it is too short. */
bool witness_stop(const struct seen *plain, char stop[8]);

/* Opens a session, reads the prompt, generates, and looks at everything; then goes on from there
 * with a second generation, whose tokens are added. plain: without drafts. What they took is added
 * to *stats. */
void witness(struct slv_model *m, const struct how *how, bool plain, struct seen *ret,
             struct slv_generate_stats *stats);

/* The same for n generations in one batch: each joins at some time, as soon as there is room, and
 * some others besides that leave again. ret_stats: of the batch at its end; may be NULL. */
void witness_batch(struct slv_model *m, const struct how *how, size_t n,
                   const struct slv_batch_opts *bo, struct seen *ret,
                   struct slv_batch_stats *ret_stats);

void same_seen(const struct seen *a, const struct seen *b);

#endif
