/* guide.h: an answer that is held to a JSON Schema or a grammar.
 *
 * A constraint is a compiled schema or grammar with the masks of a model's vocabulary; a guide is
 * one answer's place in it. Many guides may use one constraint, from any threads: what grows while
 * masks are made is behind a lock. */
#ifndef SLV_ENGINE_GUIDE_H
#define SLV_ENGINE_GUIDE_H

#include "selvage.h"

struct slv_guide;

/* Bytes that a constraint took when it was last used: it grows as answers meet new states, by at
 * most SLV_LANG_MAX_BYTES and SLV_MASKS_MAX_BYTES. What the vocabulary takes is the model's, and
 * not in it. Waits for nobody. */
size_t slv_constraint_bytes(const struct slv_constraint *c);
/* Whether a constraint has used up so much of its room for states that whoever keeps it for answers
 * to come had better open it anew: answers need room for states that none has met before. */
bool slv_constraint_is_worn(const struct slv_constraint *c);

#define SLV_GUIDE_HEAD_MAX 255u

/* head[0..n_head), at most SLV_GUIDE_HEAD_MAX bytes of whole UTF-8, comes first, however tokens cut
 * it; c holds what follows it. Borrows c, which may be NULL, and m. SLV_E_NOMEM. */
int slv_guide_open(const struct slv_constraint *c, struct slv_model *m, const char *head,
                   size_t n_head, struct slv_guide **ret) SLV_MUST_USE;
void slv_guide_close(struct slv_guide *g);

/* All below may fail with SLV_E_LIMIT: what follows would need more states, ways or steps than a
 * constraint may have. What was taken before is right, and can be gone on with in principle: the
 * answer is cut there. */

/* Whether anything holds the answer still: not where there is no constraint and the head is over.
 * */
bool slv_guide_holds(const struct slv_guide *g);
/* The tokens that may come next, a bit each, valid until the next call; those that end an answer
 * are among them where it may end. NULL: the value is complete, and nothing may follow.
 * SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_guide_mask(struct slv_guide *g, const uint64_t **ret, struct slv_err *err) SLV_MUST_USE;
/* A token of the mask was taken; ends are not told. SLV_E_USAGE: it was none of it. */
int slv_guide_take(struct slv_guide *g, int32_t id, struct slv_err *err) SLV_MUST_USE;
/* Whether what was taken is a whole value or text; and whether, moreover, nothing may follow. */
bool slv_guide_done(const struct slv_guide *g);
bool slv_guide_ended(const struct slv_guide *g);
/* Tokens that must come next, as the tokenizer cuts that text: at most `most`. One whose text
 * might be part of a longer token is left to be drawn. */
int slv_guide_forced(struct slv_guide *g, int32_t *ids, size_t most, size_t *ret_n,
                     struct slv_err *err) SLV_MUST_USE;

#endif
