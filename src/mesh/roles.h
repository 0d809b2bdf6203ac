/* roles.h: which members of a strong group should vote: three to seven of those that are well, the
 * rest learn. Numbers in, one change out, so that it can be looked at by itself.
 *
 * A voter that is silent costs nothing as long as there is a majority without it, and may come back
 * at any time. So it is replaced, if somebody else can vote; it is let go without a replacement
 * only where that makes the group able to lose one more:
 *
 *     slack = voters that are not lost - (voters / 2 + 1)
 *
 * So is one that left: where all are switched off one after the other, the last alone would have
 * the group, and be needed for it to go on.
 *
 * Threads: any. Source: Ongaro 2014, 4.2 (one change at a time).
 */
#ifndef SLV_MESH_ROLES_H
#define SLV_MESH_ROLES_H

#include "mesh/strong.h"

struct slv_roles_member {
    uint64_t id;
    enum slv_strong_role role;
    bool left;          /* it said so, and is silent */
    bool removed;       /* it is no member of the mesh any more */
    bool ready;         /* it waits to be added */
    bool mute;          /* it may not vote */
    bool hurt;          /* it has lost its records, and is removed and let in again first */
    uint32_t silent_ms; /* for how long it has been gone; 0: it is well */
    uint32_t rtt_us;
};

struct slv_roles_conf {
    uint32_t voters;  /* wanted: 1 to 7 */
    uint32_t most;    /* members of the group */
    uint32_t dead_ms; /* silent for so long: a voter is lost, and replaced */
    uint32_t gone_ms; /* a learner is no longer a member */
};

/* The next change that the leader, which is `self`, should make. False: all is well. */
bool slv_roles_next(const struct slv_roles_conf *c, const struct slv_roles_member *m, size_t n,
                    uint64_t self, uint64_t *ret_id, enum slv_strong_role *ret_role);

/* The nearest voter that is well and is not `self`, to lead in its place; 0: there is none. */
uint64_t slv_roles_heir(const struct slv_roles_member *m, size_t n, uint64_t self);

#endif
