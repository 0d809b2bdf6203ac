/* chat.h: a conversation in the model's own words.
 *
 * The public half, slv_model_chat, knows roles and texts. Who has more to say (tools, calls of
 * tools, a template's own switches) builds the values himself and has them rendered here.
 *
 * Threads: any; a scope belongs to one. */
#ifndef SLV_ENGINE_CHAT_H
#define SLV_ENGINE_CHAT_H

#include "engine/model.h"

#define SLV_CHAT_SCOPE_MAX ((size_t)256 << 20)

/* A text of somebody's as a value: broken UTF-8 becomes U+FFFD, and control tokens that are spelled
 * out in it stay text. NULL: out of memory. */
struct slv_value *slv_chat_text(const struct slv_model *m, struct slv_scope *s, const char *text,
                                size_t n);

/* Whether the model's template can be used at all; it may have none. SLV_E_FORMAT,
 * SLV_E_UNSUPPORTED. */
int slv_chat_check(const struct slv_model *m, struct slv_err *err) SLV_MUST_USE;

/* Appends what the template makes of the scope, in which everything is set but bos_token and
 * eos_token; to be tokenized with SLV_TOKENIZE_SPECIAL, _ADD and _GUARDS. As slv_template_render;
 * SLV_E_UNSUPPORTED: the model has no template. */
int slv_chat_render(const struct slv_model *m, struct slv_scope *s, struct slv_buf *out,
                    struct slv_err *err) SLV_MUST_USE;

#endif
