/* lexicon.h: a vocabulary as a trie of the bytes of its tokens.
 *
 * Nodes lie in depth-first order: what begins with a node's bytes is [node + 1, node's end).
 * Built once for a tokenizer, immutable, any number of threads. Control tokens are not in it; a
 * token that is a whole text's end is asked of the tokenizer. */
#ifndef SLV_ENGINE_CONSTRAINT_LEXICON_H
#define SLV_ENGINE_CONSTRAINT_LEXICON_H

#include "base/err.h"
#include "format/tokenizer.h"

#define SLV_LEXICON_DEPTH 255u /* bytes of the longest token that is kept */

struct slv_lexicon {
    size_t n_tokens; /* of the vocabulary */
    size_t n;        /* nodes; node 0 is the root, the empty string */
    uint8_t *byte, *depth;
    uint32_t *end;
    int32_t *token; /* -1: none ends here */
    int32_t *same;  /* by token: another one with the same bytes; -1 */
    unsigned deepest;
};

/* SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_lexicon_open(const struct slv_tokenizer *t, struct slv_lexicon **ret,
                     struct slv_err *err) SLV_MUST_USE;
void slv_lexicon_close(struct slv_lexicon *l);

/* The node of the bytes s[0..n), or 0 (the root) where no token begins so, and for n = 0. */
uint32_t slv_lexicon_find(const struct slv_lexicon *l, const char *s, size_t n);

/* Appends the tokens of s[0..n), which stands within a text: as the tokenizer cuts it, if those
 * tokens are these bytes; else (SentencePiece puts a space in front of what it is given,
 * WordPiece changes letters) the longest ones first, as far as there are any. SLV_E_NOMEM,
 * SLV_E_LIMIT. */
int slv_lexicon_cut(const struct slv_lexicon *l, const struct slv_tokenizer *t, const char *s,
                    size_t n, struct slv_ids *out) SLV_MUST_USE;

#endif
