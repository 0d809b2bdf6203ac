/* value.h: values of the mesh as people and programs write them: JSON in and out, by type.
 *
 * What a value is read as, and what may be done to it, `op` and its operand:
 *
 *     type       read as                    op: "set" where there is none
 *     last       string, or null            set VALUE
 *     many       [string, ...]              set VALUE
 *     on-wins    true, false                set true or false
 *     off-wins   true, false                set true or false
 *     set        [string, ...]              add VALUE (also without op), remove VALUE
 *     counter    number                     add N (also without op)
 *     growing    number                     add N (also without op), N not below 0
 *     budget     {"left","mine"}            mint N, spend N (also without op), give N "to" WRITER
 *     vector     {"epoch","n","sum"}        contribute [numbers] "epoch" E "keep" E
 *     list       [any, ...]                 insert VALUE "at" I, remove N "at" I
 *     text       string                     set VALUE; insert VALUE "at" I; remove N "at" I
 *     unique     number                     add VALUE (also without op)
 *     top        [{"value","count",         add VALUE, "n" N times, 1 or more (also without op)
 *                  "error"}, ...]
 *     doc        any                        set VALUE, insert VALUE, remove, count N, text TEXT,
 *                                           edit TEXT "at" I "gone" N: each "pointer" P
 *     all but budget                        delete
 *
 * An operation is {"op":..,"value":..,...}; a member that its op does not know is refused. Strings
 * are UTF-8. Writers are 16 hexadecimal digits. Threads: one.
 */
#ifndef SLV_MESH_VALUE_H
#define SLV_MESH_VALUE_H

#include "base/err.h"
#include "base/json.h"
#include "base/jsonin.h"
#include "mesh/doc.h"

/* Writes the value of a key behind `name`; `writer`: this node's own, for budgets. SLV_E_NOMEM,
 * SLV_E_LIMIT; whether the key has a value at all: *ret_there (may be NULL). */
int slv_value_read(const struct slv_space *s, enum slv_mesh_type type, struct slv_str key,
                   uint64_t writer, struct slv_json *j, const char *name,
                   bool *ret_there) SLV_MUST_USE;

/* A value that was read as JSON again, compact; equal values have equal bytes where their members
 * have the same order and their numbers the same digits. j's status. */
void slv_value_json(struct slv_json *j, const char *name, struct slv_json_val v);

/* Under which number a node writes, so that a budget's share can be given to it; 0: none is known.
 * (Given to the node, and not to its writer, it would be there once more when its store is lost.)
 */
struct slv_value_writers {
    uint64_t (*of_node)(const void *ctx, uint64_t node);
    const void *ctx;
};

/* Does an operation to a draft of that type. writers may be NULL: whom is given to is a writer.
 * SLV_E_USAGE, SLV_E_FORMAT, SLV_E_NOENT, SLV_E_BUSY (a budget has not so much left), SLV_E_LIMIT,
 * SLV_E_NOMEM, with a message; the draft is good for nothing then. */
int slv_value_write(struct slv_draft *d, struct slv_json_val op,
                    const struct slv_value_writers *writers, struct slv_err *err) SLV_MUST_USE;

#endif
