/* retired.h: writers that will never write again, as the group has agreed.
 *
 * A node that loses its store begins another writer, and the one before is over, as are those of a
 * node that was revoked. What is left of such a writer in each space are its numbers in contexts
 * and its head, beside its entries, which are values as all are: also rows of counters, which stay.
 * (To add them to another writer's would bring back what somebody deletes at the same time; and
 * what it had left of a budget nobody may spend, as nobody knows what it spent and could not tell.)
 * So it is retired (node_retire.c): when all members have the same of it, the group says so, once.
 * That is known by a dot as a write is, of the group's and a number from 1 on:
 *
 *     writer (8), whose it was (8), number of spaces in which it wrote, from 1 on;
 *     each, ascending: id (8), its numbers that all members have there (dots.h)
 *
 * (They are all that it gave, but for what was lost with its disk before anybody else had it.)
 *
 * Who knows a retirement, and has all that it says of a space, lets the writer go there: the
 * retirement's dot is in the context from then on, and stands for all of the writer's. So contexts
 * on the wire, their sums, session tokens and causal order need no rule of their own, but this one:
 * a context names the dots of writers whose retirements it names. Who does not know of a retirement
 * takes another to have seen less than it has, which loses nothing. Of a space that it does not
 * list a retirement says nothing.
 *
 * Groups that are founded anew count anew, each under its own number; a writer may be retired by
 * several.
 *
 * Invariants: retirements ascend by dot, and again by writer, then by dot. None goes.
 * Threads: one for a set that changes.
 */
#ifndef SLV_MESH_RETIRED_H
#define SLV_MESH_RETIRED_H

#include "mesh/dots.h"

#define SLV_RETIRED_MAX 65536u
#define SLV_RETIRED_SPACES_MAX 256u /* of one */
#define SLV_RETIRED_BYTES_MAX ((size_t)32 << 10)

struct slv_retired_space {
    uint64_t id;
    struct slv_dots seen; /* of the writer, and of nobody else */
};

struct slv_retirement {
    struct slv_dot dot; /* the group's */
    uint64_t writer, node;
    uint32_t n;
    struct slv_retired_space space[]; /* [n], ascending */
};

/* {0}: none. */
struct slv_retired {
    struct slv_retirement **v;         /* heap, each heap, by dot */
    struct slv_retirement **by_writer; /* heap */
    size_t n, room, room_by_writer;
    struct slv_dots dots; /* of all of them */
};

void slv_retired_fini(struct slv_retired *t);

/* What was agreed on, as above. *ret_new (may be NULL): it was not known. SLV_E_FORMAT: it is none;
 * SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_retired_add(struct slv_retired *t, struct slv_dot dot, struct slv_str bytes,
                    bool *ret_new) SLV_MUST_USE;
void slv_retirement_write(const struct slv_retirement *r, struct slv_buf *b);

/* What it says of a space; NULL: nothing. */
const struct slv_dots *slv_retirement_seen(const struct slv_retirement *r, uint64_t space);

/* One of a writer; NULL: there is none. */
const struct slv_retirement *slv_retired_find(const struct slv_retired *t, uint64_t writer);
/* What it is known to have written in a space; NULL: nothing, or it is not retired. */
const struct slv_dots *slv_retired_seen(const struct slv_retired *t, uint64_t writer,
                                        uint64_t space);
/* In view of a context: whether it names a retirement of the writer. */
bool slv_retired_names(const struct slv_retired *t, const struct slv_dots *context,
                       uint64_t writer);
/* What another has seen. */
struct slv_seen {
    const struct slv_dots *context;
    const struct slv_dots *except;     /* but for those; may be NULL */
    const struct slv_retired *retired; /* may be NULL */
};

static inline bool slv_seen_has(const struct slv_seen *s, struct slv_dot dot) {
    if (s->except && slv_dots_has(s->except, dot)) return false;
    return slv_dots_has(s->context, dot) ||
           (s->retired && s->retired->n && slv_retired_names(s->retired, s->context, dot.writer));
}

#endif
