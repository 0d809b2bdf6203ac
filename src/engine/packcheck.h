/* packcheck.h: the mapped tiles of a packed file (packfile.h), each piece of which is checked when
 * it is first used: so a start does not wait until all of them have been read.
 *
 * Where there is a thread to spare it may go ahead (slv_packcheck_ahead) while the rest of a model
 * is opened; from the first use on the threads of the step are better at it.
 *
 * Invariant: bytes that slv_packcheck_need has returned true for are as they were written, or have
 * been packed anew from the model by `mend`. Whoever needs a piece that another thread is checking
 * waits for it. Once all are right a call costs one load.
 */
#ifndef SLV_ENGINE_PACKCHECK_H
#define SLV_ENGINE_PACKCHECK_H

#include "engine/packfile.h"

struct slv_packcheck;

/* Makes bytes [from, to) of the tiles right again, which can then be written. Called by one thread
 * at a time. */
typedef void (*slv_packcheck_mend)(void *ctx, size_t from, size_t to);

/* Takes over the file with its mapping; on failure it is closed. SLV_E_NOMEM. */
int slv_packcheck_new(struct slv_packfile *file, slv_packcheck_mend mend, void *ctx,
                      struct slv_packcheck **ret) SLV_MUST_USE;
/* Ends the mapping. NULL is taken. */
void slv_packcheck_free(struct slv_packcheck *c);

/* Starts a thread that checks pieces from the first on until one is needed. Where none can be had
 * nothing is lost. */
void slv_packcheck_ahead(struct slv_packcheck *c);

/* Returns when bytes [from, to) can be read; false: they are bad and there is no memory to pack
 * them anew now. Threads: any. */
bool slv_packcheck_need(struct slv_packcheck *c, size_t from, size_t to);

/* Pieces that are not known to be right yet. Threads: any. */
size_t slv_packcheck_left(const struct slv_packcheck *c);

/* Whether a piece was not as it was written. */
bool slv_packcheck_bad(const struct slv_packcheck *c);

#endif
