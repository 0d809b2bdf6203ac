/* mask.h: which tokens may come next.
 *
 * A mask has a bit for each token, set where all its bytes are taken by the matcher. Most time
 * would go where most tokens fit: inside strings. There a token either stays in the string, which
 * the string's language alone decides, or closes it and goes on with what may follow. The former
 * are found once for each state of a language and kept; the latter are kept as a small trie of what
 * they have behind the closing quote, which is walked each time. Elsewhere the vocabulary's trie is
 * walked, and few branches live.
 *
 * In a grammar's terminals the same is done: tokens that stay in a language's state are kept, and
 * so are those that may leave it, to be walked. A token that a grammar names has a bit where the
 * grammar says so, and nowhere else.
 *
 * Threads: one at a time for all masks of a schema. */
#ifndef SLV_ENGINE_CONSTRAINT_MASK_H
#define SLV_ENGINE_CONSTRAINT_MASK_H

#include "engine/constraint/grammar.h"
#include "engine/constraint/lexicon.h"
#include "engine/constraint/matcher.h"

struct slv_free_text; /* what all schemas share: tokens of a string of any text */
struct slv_masks;

/* Once for a vocabulary; borrows it. Immutable. SLV_E_NOMEM. */
int slv_free_text_open(const struct slv_lexicon *l, struct slv_free_text **ret) SLV_MUST_USE;
void slv_free_text_close(struct slv_free_text *f);

/* Borrows both. SLV_E_NOMEM. */
int slv_masks_open(const struct slv_free_text *f, struct slv_schema *s,
                   struct slv_masks **ret) SLV_MUST_USE;
int slv_masks_open_grammar(const struct slv_free_text *f, struct slv_grammar *g,
                           struct slv_masks **ret) SLV_MUST_USE;
void slv_masks_close(struct slv_masks *k);
/* Bytes it takes; what is kept of states stays below SLV_MASKS_MAX_BYTES, or is one. */
#define SLV_MASKS_MAX_BYTES ((size_t)8 << 20)
size_t slv_masks_bytes(const struct slv_masks *k);

/* 64-bit words of a mask. */
size_t slv_mask_words(const struct slv_lexicon *l);

/* Sets the bits of the tokens that may come next, and no others: bits[slv_mask_words]. The
 * text's end is not among them (slv_matcher_done). SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_mask_next(struct slv_masks *k, struct slv_matcher *m, uint64_t *bits) SLV_MUST_USE;

/* The same for tokens that have the bytes of a node of the vocabulary's trie, which were there
 * before, in front of bytes that may come next: those are added to bits. */
int slv_mask_under(struct slv_masks *k, struct slv_matcher *m, uint32_t node,
                   uint64_t *bits) SLV_MUST_USE;

/* The token that must come next, of those that a grammar names; -1: there is none, or a choice. */
int slv_mask_forced_token(const struct slv_matcher *m);

/* Appends the bytes that must come next, up to `most`: none where there is a choice, or the text
 * may end. */
int slv_mask_forced(struct slv_matcher *m, char *out, size_t most, size_t *ret_n) SLV_MUST_USE;

#endif
