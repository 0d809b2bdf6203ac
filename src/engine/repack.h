/* repack.h: the weights of a model, from the file of packed tiles that an earlier start left
 * (packfile.h) or packed now and kept in such a file for the next one.
 *
 * Which file a model's is, is told by its key: the matrices' names, types, shapes and places, and
 * some of their bytes. That it is the model's is told by all of their bytes: a checksum of them is
 * in the file, and is compared unless device, inode, size and times of the source are those that it
 * was last found right for (struct slv_map's stamp). So a model that was copied, touched or changed
 * in place is read once more as a whole. What would go unseen is a change that leaves all of these
 * as they were; no write through the kernel does.
 *
 * Tiles from a file are checked piece by piece when they are first used (packcheck.h), and packed
 * again where they are bad; then the file is replaced when the model is closed.
 *
 * A model with a source has such a file only through its keeper (packkept.h), whose id is then the
 * file's key: nothing of the model's bytes is in the name. It is read as a whole when the model is
 * opened.
 *
 * The file is written in the background once the model is open, and what is missing when the model
 * is closed is written then: it is whole or absent. A failure costs the file and says so once.
 *
 * Threads: as the model's own opening and closing. */
#ifndef SLV_ENGINE_REPACK_H
#define SLV_ENGINE_REPACK_H

#include "base/buf.h"
#include "engine/weights.h"

struct slv_keptread; /* packkept.h */
struct slv_repack;

/* What a model's tiles are to be found by. */
struct slv_repack_model {
    const struct slv_gguf *gguf;
    const struct slv_hparams *h;
    struct slv_weights *w;
    const struct slv_keeper *keeper; /* of a model with a source, or NULL */
    struct slv_keptread *early;      /* of slv_repack_early, or NULL; stays the caller's */
};

/* Begins to read the file of a keeper's model, if there is one, which takes no more than the
 * keeper's id: so the rest is found out beside it. NULL: nothing is being read. To be closed with
 * slv_keptread_close. */
struct slv_keptread *slv_repack_early(const struct slv_model_opts *opts) SLV_MUST_USE;

/* Looks for the model's file in opts->packed: *ret_cached, its tiles are m->w's from now on. *ret
 * (NULL without a folder) needs what is in m until slv_repack_finish, and m->w's tiles need it when
 * they are first used. SLV_E_NOMEM. */
int slv_repack_open(const struct slv_repack_model *m, struct slv_team *team,
                    const struct slv_model_opts *opts, bool *ret_cached, struct slv_repack **ret,
                    struct slv_err *err) SLV_MUST_USE;

/* Packs m->w's tiles, and begins to write the file if r is not NULL. SLV_E_NOMEM. */
int slv_repack_pack(const struct slv_repack_model *m, struct slv_team *team,
                    const struct slv_model_opts *opts, struct slv_repack *r,
                    struct slv_err *err) SLV_MUST_USE;

/* Completes the file, or drops it where opts->keeping says so. NULL is taken. */
void slv_repack_finish(struct slv_repack *r);

/* Appends the path of the model's file in the folder, whether or not it is there. SLV_E_NOMEM. */
int slv_repack_path(const struct slv_repack_model *m, const char *folder,
                    struct slv_buf *path) SLV_MUST_USE;

#endif
