/* string.h: how far the text of a JSON string has come, between its quotes, in a language.
 *
 * Characters are written as UTF-8; those that must be escaped have one escape: the short one, or
 * \u00xx with small letters. A part of a character is taken only if some character that begins so
 * leads on. */
#ifndef SLV_ENGINE_CONSTRAINT_STRING_H
#define SLV_ENGINE_CONSTRAINT_STRING_H

#include "engine/constraint/shape.h"

struct slv_string_at {
    const struct slv_string_set *set; /* bounds of the length; NULL: none, and nothing is counted */
    slv_lang lang;
    uint32_t count, part; /* characters; part of one that has begun (0: none) */
};

/* One byte that does not close the string; false: it cannot come, or a limit was passed (see
 * slv_langs_status). */
bool slv_string_byte(struct slv_langs *p, struct slv_string_at *s, unsigned char c);
/* The same of text that stands as it is: no quotes, no escapes. */
bool slv_text_byte(struct slv_langs *p, struct slv_string_at *s, unsigned char c);
bool slv_string_may_close(const struct slv_langs *p, const struct slv_string_at *s);

#endif
