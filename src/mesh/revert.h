/* revert.h: what must be done to a value to make it what it was: ordinary operations (value.h), so
 * that putting back is a write like any other: it spreads, it merges, and can be undone.
 *
 *     last, flags           set the value
 *     many                  set the value, of several the last
 *     set                   add and remove elements
 *     counter               add the difference
 *     list, text            remove and insert between what is equal before and behind
 *     doc                   the same, place by place; texts and counters in it stay such
 *     what was not there    delete
 *
 * Rows that only their writer may write (budgets, vectors, sketches), and counters that only grow,
 * cannot be put back. Threads: one.
 */
#ifndef SLV_MESH_REVERT_H
#define SLV_MESH_REVERT_H

#include "mesh/value.h"

#define SLV_REVERT_OPS_MAX 4096u /* of a key */
#define SLV_REVERT_BYTES_MAX ((size_t)256 << 10)

/* Appends operations, each behind its length, that done one after the other to what `now` has of
 * the key make it read as in `before`. *ret_n: how many. SLV_E_USAGE: not of this type;
 * SLV_E_LIMIT: too many, or too long; SLV_E_NOMEM. */
int slv_revert_plan(enum slv_mesh_type type, const struct slv_space *before,
                    const struct slv_space *now, struct slv_str key, struct slv_buf *ops,
                    size_t *ret_n) SLV_MUST_USE;

#endif
