/* mesh_lock.h: a lock of a strong space, asked for and kept over a node's socket.
 *
 * It has a lease. Until when it surely is ours is measured from before it was asked for, by our own
 * clock: the group counts from later, so we let go first. What the lock guards should refuse tokens
 * below the highest it has seen, since a process that is stopped (by a debugger, a laptop's lid)
 * does not hear that it has lost it. Threads: one. */
#ifndef SLV_CLI_MESH_LOCK_H
#define SLV_CLI_MESH_LOCK_H

#include "base/err.h"
#include "base/str.h"

struct slv_mesh_lock {
    const char *socket; /* NULL: where `mesh up` puts it; borrowed, as are the next */
    struct slv_str space, key;
    const char *holder; /* what others read as the key's value; may be NULL */
    double ttl;         /* seconds that it outlives who holds it */
    int64_t token;      /* grows with each holder; 0: none yet */
    uint64_t until_ns;  /* monotonic: until then it surely is ours */
};

/* One try. SLV_E_BUSY: somebody else has it; SLV_E_NET: nobody knows. */
int slv_mesh_lock_take(struct slv_mesh_lock *l, struct slv_err *err) SLV_MUST_USE;
/* For another ttl: three times in one. SLV_E_BUSY: it is lost; others: it is ours until
 * until_ns. */
int slv_mesh_lock_keep(struct slv_mesh_lock *l, struct slv_err *err) SLV_MUST_USE;
int slv_mesh_lock_release(struct slv_mesh_lock *l, struct slv_err *err) SLV_MUST_USE;
/* Whether it surely is ours for another ns. */
bool slv_mesh_lock_is_held(const struct slv_mesh_lock *l, uint64_t ns);

#endif
