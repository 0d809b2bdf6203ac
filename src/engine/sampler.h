/* sampler.h: from logits to the next token.
 *
 * Everything is computed in double with our own functions, in a fixed order, and the random number
 * belongs to the position the token will take: the same seed gives the same token there, whatever
 * was drawn before and however tokens were computed.
 */
#ifndef SLV_ENGINE_SAMPLER_H
#define SLV_ENGINE_SAMPLER_H

#include "selvage.h"

struct slv_sampler;

/* Copies o (bias list included). `breaks(ctx, id)`: whether DRY must not look back across the token
 * (may be NULL: never). SLV_E_USAGE with the option's name where a value is out of range. */
int slv_sampler_open(const struct slv_sampling *o, size_t n_vocab,
                     bool (*breaks)(const void *ctx, int32_t id), const void *ctx,
                     struct slv_sampler **ret, struct slv_err *err) SLV_MUST_USE;
/* Bytes of a sampler's memory. */
size_t slv_sampler_bytes(size_t n_vocab);
void slv_sampler_close(struct slv_sampler *s);

/* Draws the token for position `pos` after history[0..n), out of those that have a bit in `mask`
 * (at least one; NULL: out of all). Does not allocate. */
int32_t slv_sampler_draw(struct slv_sampler *s, const float *logits, const int32_t *history,
                         size_t n, uint64_t pos, const uint64_t *mask);

/* The uniform number in [0, 1) of a seed and a position: 53 bits of a counter-based generator
 * (splitmix64's finalizer over both; Steele, Lea and Flood 2014). */
double slv_uniform(uint64_t seed, uint64_t pos);

#endif
