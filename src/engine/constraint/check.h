/* check.h: whether a compiled schema accepts a value, without a model. */
#ifndef SLV_ENGINE_CONSTRAINT_CHECK_H
#define SLV_ENGINE_CONSTRAINT_CHECK_H

#include "engine/constraint/matcher.h"

/* Whether a mask of the schema lets the value be written, its members in whatever order. m: opened
 * with SLV_MATCH_READ; reset here. SLV_E_LIMIT, SLV_E_NOMEM where it cannot be told. */
int slv_schema_accepts(struct slv_matcher *m, const json_t *value, bool *ret,
                       struct slv_err *err) SLV_MUST_USE;

/* Appends the value as a mask would let it be written, its members in the schema's order. m: opened
 * without SLV_MATCH_READ, reset here. *ret false where that was not found. */
int slv_schema_arrange(struct slv_matcher *m, const json_t *value, struct slv_buf *out, bool *ret,
                       struct slv_err *err) SLV_MUST_USE;

#endif
