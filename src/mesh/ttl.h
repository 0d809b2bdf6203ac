/* ttl.h: entries that go by themselves: when each is due, and up to when a space has let them go.
 *
 * In a space with a time to live the data of each entry begins with the stamp of its write (8
 * bytes, hlc.h); what its type reads is behind it. It is due at
 *
 *     the first multiple of the grain behind (ms of the stamp + time to live)
 *     grain: time to live / 64, at least 1 s
 *
 * so that whole buckets go at once. Nobody sends removals: when an entry is due is the same at all
 * nodes. That it is, is said by the cut: what is due by the cut is not there, and is not taken.
 *
 *     seen (context) and cut both grow, and join by taking all, and the larger. An entry lives
 *     where its op was seen, no op that was seen removed it, and it is due behind the cut.
 *
 * A node's cut follows its clock, and those of its peers: they say theirs with all by which they
 * compare (replica.h), and the smaller follows the larger, so that nodes whose clocks differ
 * disagree for the time of a message, not for as long as their clocks are apart. But no cut is
 * followed that is further ahead of the own clock than stamps may be: a node whose clock is wrong
 * must not make others forget.
 *
 * Reach is the largest cut that there was here: what is due by it may be missing. It is the cut,
 * unless the clock was set back by more than stamps may be ahead. Then the cut follows the clock;
 * reach does not, until all is due that was written by then. A node whose reach is behind its cut
 * is nobody to learn from what was removed. Reach is in the store; the cut is found anew.
 *
 * Invariants: each entry of the space is in the bucket of its due time; buckets ascend, none is
 * empty; of a bucket's dots no more than half, and 64, are of entries that went before.
 * Threads: one.
 */
#ifndef SLV_MESH_TTL_H
#define SLV_MESH_TTL_H

#include "mesh/entries.h"

#define SLV_TTL_MIN_MS 1000u
#define SLV_TTL_MAX_MS ((uint64_t)3650 * 86400 * 1000)
#define SLV_TTL_STAMP 8u       /* bytes before what a type reads */
#define SLV_TTL_BUCKETS 65536u /* at most; some 70 where no clock was set back */

struct slv_ttl_bucket {
    uint64_t due;
    struct slv_dot *dot; /* heap: of all that were put in */
    size_t n, room, live;
};

/* {0}: entries do not go. Times are ms since 1970. */
struct slv_ttl {
    uint64_t ms, grain;
    uint64_t cut, reach;
    struct slv_ttl_bucket *bucket; /* heap, ascending */
    size_t n, room;
};

void slv_ttl_init(struct slv_ttl *t, uint64_t ms);
void slv_ttl_fini(struct slv_ttl *t);

/* When an entry with this data is due; 0: its data has no stamp. */
uint64_t slv_ttl_due(const struct slv_ttl *t, struct slv_str data);
/* The data behind the stamp; all of it where entries do not go. */
struct slv_str slv_ttl_data(const struct slv_ttl *t, struct slv_str data);
/* Whether such an entry is gone, or must not come. */
static inline bool slv_ttl_is_gone(const struct slv_ttl *t, struct slv_str data) {
    return t->ms && slv_ttl_due(t, data) <= t->cut;
}

/* The clock shows wall_ms, and stamps may be skew_ms ahead: the cut follows. */
void slv_ttl_advance(struct slv_ttl *t, uint64_t wall_ms, uint64_t skew_ms);
/* Another's cut, which the caller found to be near enough. */
void slv_ttl_follow(struct slv_ttl *t, uint64_t cut);

/* An entry that comes to e, and one that has gone. SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_ttl_hold(struct slv_ttl *t, const struct slv_entries *e, struct slv_dot dot,
                 uint64_t due) SLV_MUST_USE;
void slv_ttl_release(struct slv_ttl *t, uint64_t due);

/* When the first bucket is due; UINT64_MAX: there is none. */
uint64_t slv_ttl_next(const struct slv_ttl *t);
/* The first bucket, if it is due by the cut, is the caller's, who frees its dots. */
bool slv_ttl_take(struct slv_ttl *t, struct slv_ttl_bucket *ret);

#endif
