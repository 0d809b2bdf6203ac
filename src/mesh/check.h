/* check.h: whether another's op is one that its type's rules could have made.
 *
 * Who may write a space may still not write in others' names, or in the future: rows by writer
 * are written by that writer alone, no stamp is later than the batch's, what is spent of a budget
 * is not forgotten. Damage that harms its own entry only is left to the readers of the types, which
 * take it for nothing. Threads: any. */
#ifndef SLV_MESH_CHECK_H
#define SLV_MESH_CHECK_H

#include "mesh/types.h"

/* stamp: the latest that the op may have (hlc.h). ttl: its entries go by themselves (ttl.h), and
 * each begins with a stamp. */
bool slv_op_check(const struct slv_op *op, enum slv_mesh_type type, bool ttl, uint64_t stamp);

#endif
