/* prompt.h: a request's prompt, as tokens. */
#ifndef SLV_SERVE_PROMPT_H
#define SLV_SERVE_PROMPT_H

#include "serve/serve_int.h"

/* A list of token ids of the call's model, for slv_tokens_free also where they are refused. `name`:
 * the field, for messages. */
bool serve_prompt_ids(const struct serve_call *c, const json_t *list, const char *name,
                      struct slv_tokens *ret, struct serve_fail *f) SLV_MUST_USE;

#endif
