/* park.h: sessions of a batch that wait, as there is not memory, or no place, for all.
 *
 *     IN -> LEAVING -> OUT -> COMING -> IN
 *
 * No more than o.n_at_once are in: who joins when there are so many is out. Sessions that share a
 * prefix cache reserve memory as they grow. When one cannot, somebody leaves: of those that are in,
 * the one of lowest priority, and of these the last to have joined; that may be the one that has
 * need. Whoever leaves gets no steps; its pages are written to the batch's
 * spill, a few after each step, so that the others are not held up; then all of them are given back
 * and the session is out, with its tokens only. When there is room for the first of those that are
 * out it comes back: what the tree of prefixes still knows of it is taken from there, the rest is
 * read from the spill, a few pages before each step; and what is in neither place, as nothing was
 * spilled, or the disk is full or has changed something, is computed again from the tokens. That
 * gives the same bits, as keys and values do not depend on what else is in a step (step.h): so
 * nothing fails for want of memory or of a disk, and no answer is another one for it.
 *
 * Nobody comes back while somebody has no memory or is leaving, and then only if there is room for
 * some more positions of all others too: else it would leave again at once.
 *
 * Progress: the first of all by rank always gets what it needs, as the others leave one by one, and
 * a session by itself fits into its cache (session.c). Where the cache is pinned to others it ends
 * with SLV_E_FIT.
 *
 * Threads: those of the batch. */
#ifndef SLV_ENGINE_PARK_H
#define SLV_ENGINE_PARK_H

#include "engine/batch.h"

/* Of a slot that was taken just now: whether there is a place for it in the steps. */
void slv_park_join(const struct slv_batch *b, struct slv_batch_slot *t);

/* Before a step: who can comes back, who has no memory for it is marked as starved, and somebody
 * leaves for it. May end sessions. */
void slv_park_before(struct slv_batch *b);

/* After a step: who leaves does so. */
void slv_park_after(struct slv_batch *b);

/* Of a slot that is to be emptied: what its session has elsewhere goes. One that was not in then
 * has fewer positions than it was fed, or none. */
void slv_park_end(const struct slv_batch *b, struct slv_batch_slot *t);

#endif
