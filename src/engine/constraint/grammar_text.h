/* grammar_text.h: what a grammar writes between quotes, slashes and brackets, to languages.
 *
 * Each takes s[*at..n), which begins with its quote, slash or bracket, and moves *at behind it.
 * SLV_E_FORMAT, SLV_E_UNSUPPORTED, SLV_E_LIMIT, SLV_E_NOMEM. */
#ifndef SLV_ENGINE_CONSTRAINT_GRAMMAR_TEXT_H
#define SLV_ENGINE_CONSTRAINT_GRAMMAR_TEXT_H

#include "base/buf.h"
#include "engine/constraint/lang.h"

/* "text": its bytes, escapes taken away, appended to out. */
int slv_gram_quoted(const char *s, size_t n, size_t *at, struct slv_buf *out,
                    struct slv_err *err) SLV_MUST_USE;
/* "text"; lark: also "text"i, whatever the case of its letters, and "a".."z". */
int slv_gram_literal(struct slv_langs *p, const char *s, size_t n, size_t *at, bool lark,
                     slv_lang *ret, struct slv_err *err) SLV_MUST_USE;
/* /pattern/: the strings that it matches as a whole. */
int slv_gram_regex(struct slv_langs *p, const char *s, size_t n, size_t *at, slv_lang *ret,
                   struct slv_err *err) SLV_MUST_USE;
/* [a-z] or [^a-z]. */
int slv_gram_class(struct slv_langs *p, const char *s, size_t n, size_t *at, slv_lang *ret,
                   struct slv_err *err) SLV_MUST_USE;

#endif
