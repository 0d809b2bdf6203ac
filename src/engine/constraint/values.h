/* values.h: JSON values as boxes (enum, const), and as text. */
#ifndef SLV_ENGINE_CONSTRAINT_VALUES_H
#define SLV_ENGINE_CONSTRAINT_VALUES_H

#include "base/buf.h"
#include "engine/constraint/box.h"

#define SLV_NUMBER_TEXT 64

/* The shortest decimal that reads as the number, without exponent but for the very small and large.
 * Returns its length. */
size_t slv_number_text(const json_t *number, char ret[SLV_NUMBER_TEXT]);

/* Appends a value as compact JSON: members in their order, what must be escaped escaped in the
 * shortest way, all else as UTF-8. to_read: for a matcher, which knows SLV_DECIMALS decimals; a
 * number with more is cut, and its last digit made 1 where it would be 0 (it is no rounder than
 * it was). Returns out's status. */
int slv_value_text(const json_t *value, bool to_read, struct slv_buf *out);

/* Adds the boxes of the list's values, or of all others, for node n's error messages. */
void slv_values(struct slv_compile *c, slv_node n, const json_t *list, struct slv_boxes *to);
void slv_other_values(struct slv_compile *c, slv_node n, const json_t *list, struct slv_boxes *to);

/* The strings of a box, lengths included. */
slv_lang slv_box_text(struct slv_compile *c, const struct slv_box *b);

#endif
