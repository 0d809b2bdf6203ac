/* lookup.h: what followed the last time: an index of a conversation's own tokens.
 *
 * For each length of a fixed list (the levels) it knows every place where the tokens before a
 * position occurred earlier. The longest one that did says what may come next: of the most recent
 * occurrences of that length, what most of them went on with. Where a copy has just departed from
 * its source in one token, going on behind that token in the source is a second opinion. How often
 * predictions of each kind were right is counted as tokens are added, and belongs to what is
 * proposed.
 *
 * Memory is bounded by the number of positions, and taken at once. Adding and taking back a token
 * cost O(1) expected. Threads: one at a time. Source of the idea: Saxena 2023 (prompt lookup
 * decoding); Fu et al. 2024 (n-gram pools).
 */
#ifndef SLV_ENGINE_LOOKUP_H
#define SLV_ENGINE_LOOKUP_H

#include "selvage.h"

struct slv_lookup;

#define SLV_LOOKUP_LEVELS 8
extern const uint8_t slv_lookup_level[SLV_LOOKUP_LEVELS]; /* tokens, ascending */

#define SLV_LOOKUP_VOTES 8 /* occurrences that are asked */

/* Bytes for n_ctx positions, 0 if that overflows. */
size_t slv_lookup_bytes(uint32_t n_ctx);
/* SLV_E_NOMEM. */
int slv_lookup_open(uint32_t n_ctx, struct slv_lookup **ret) SLV_MUST_USE;
void slv_lookup_close(struct slv_lookup *l);

/* Makes it hold exactly history[0..n), n <= n_ctx: what it already has of it stays. Nothing is
 * learned from it. */
void slv_lookup_sync(struct slv_lookup *l, const int32_t *history, uint32_t n);

/* One more token, below n_ctx; whether it was the predicted one is counted. */
void slv_lookup_add(struct slv_lookup *l, int32_t id);

/* Goes back to the first n tokens, n <= those held. */
void slv_lookup_rewind(struct slv_lookup *l, uint32_t n);

uint32_t slv_lookup_size(const struct slv_lookup *l);

/* Where the tokens at the end occurred before. */
struct slv_lookup_match {
    uint32_t level; /* place in slv_lookup_level */
    uint32_t next;  /* position of the token that followed there */
};

/* False: not even the shortest level did. */
bool slv_lookup_find(const struct slv_lookup *l, struct slv_lookup_match *ret);

/* Proposes at most `most` tokens; chance[i] is how probable ids[i] is if those before it are right,
 * by experience. Returns how many. */
uint32_t slv_lookup_propose(const struct slv_lookup *l, uint32_t most, int32_t *ids, float *chance);

#endif
