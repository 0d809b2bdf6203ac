/* turns.h: a conversation as chat templates want it, from the three ways in which clients write it.
 *
 * OpenAI's chat messages, the items of its responses and Anthropic's messages all become the same
 * list of dicts with "role", "content", and for calls of tools "tool_calls", "tool_call_id" and
 * "name": what templates of Hugging Face models read. Control tokens that a user spells out stay
 * text. */
#ifndef SLV_SERVE_TURNS_H
#define SLV_SERVE_TURNS_H

#include "engine/chat.h"
#include "serve/serve_int.h"

struct serve_turns {
    struct serve_call *c;
    const struct slv_model *m;
    struct slv_scope *scope;
    struct slv_value *list; /* NULL: out of memory */
    size_t n;
    struct slv_buf note;  /* goes into the system message, where there is something */
    bool tools_as_text;   /* the template knows nothing of tools: calls and results are texts */
    struct slv_buf plain; /* contents one after the other, for models without a template */
};

/* Reads the call's messages. What is not text is refused by name. */
bool serve_turns_read(struct serve_turns *t, struct serve_fail *f) SLV_MUST_USE;

/* JSON as a value, strings guarded; depth at most 64. NULL: too deep, or out of memory. */
struct slv_value *serve_turns_value(const struct serve_turns *t, const json_t *v, unsigned depth);

#endif
