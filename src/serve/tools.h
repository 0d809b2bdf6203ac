/* tools.h: tools that a model may call, in each family's own words.
 *
 * Models were trained to write calls in a way of their own: between tags, behind a control token,
 * as a bare object. Which way is found by the chat template, which also tells the model of the
 * tools; for a template that knows of none, a system message says it. A row of `syntaxes` (tools.c)
 * is all that a family needs.
 *
 * An answer is a sequence of parts: text, and calls whose name and arguments are told as they
 * come. */
#ifndef SLV_SERVE_TOOLS_H
#define SLV_SERVE_TOOLS_H

#include "serve/turns.h"

/* Calls and results in the words of a template that knows of none: Hermes' tags, which many models
 * were trained on. */
#define SERVE_CALL_BEGIN "<tool_call>\n"
#define SERVE_CALL_END "\n</tool_call>"
#define SERVE_CALL_TEXT SERVE_CALL_BEGIN "{\"name\": \"%s\", \"arguments\": %s}" SERVE_CALL_END
#define SERVE_RESULT_BEGIN "<tool_response>\n"
#define SERVE_RESULT_END "\n</tool_response>"

enum serve_part_kind { PART_TEXT, PART_CALL, PART_ARGUMENTS, PART_CALL_END };

struct serve_part {
    enum serve_part_kind kind;
    uint32_t call;  /* which, from 0 */
    const char *id; /* of CALL: "call_" and digits */
    const char *p;  /* text; name; a piece of the arguments' JSON */
    size_t n;
};

typedef void (*serve_part_fn)(struct serve_choice *ch, const struct serve_part *p);

/* Tells of what has come since the last time. What might become a call's mark is held back until
 * it is known. `ended`: nothing more comes, and ch->finish says why. Then what was held back is
 * text where the model ended there; where the answer was cut it is the beginning of a call that is
 * not told of, and ch->cut is set. A call whose name was told and that was cut ends where it is,
 * with ch->cut set: marks are never text. */
void serve_parts_next(struct serve_choice *ch, bool ended, serve_part_fn fn);

/* Why a choice that is told to its end has ended, in OpenAI's words: "tool_calls" where it has
 * calls, all of them whole, and neither a limit nor the time ended it. */
const char *serve_finish_word(const struct serve_choice *ch);

/* Reads the request's tools, and gives them to the template or to the system message: before the
 * turns are read. */
bool serve_tools_set(struct serve_turns *t, struct serve_fail *f) SLV_MUST_USE;

/* What the answer is held to, for the request's tools, schema or grammar. */
bool serve_tools_constrain(struct serve_call *c, struct serve_fail *f) SLV_MUST_USE;

#endif
