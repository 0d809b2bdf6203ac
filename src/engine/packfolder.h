/* packfolder.h: the folder of packed files (packfile.h): whose it is, what is in it, and how much.
 *
 * A file is named by its model's key, 16 hexadecimal digits and SLV_PACK_SUFFIX; its time of
 * modification is when it was last used. Everything else in the folder is left alone. Any number of
 * processes may use a folder at once. */
#ifndef SLV_ENGINE_PACKFOLDER_H
#define SLV_ENGINE_PACKFOLDER_H

#include "base/buf.h"
#include "base/err.h"

struct slv_packfolder_sum {
    size_t n, n_left; /* files; and those that killed processes have left half written */
    uint64_t bytes, left_bytes;
};

/* Appends the path of the file with this key. Returns path->status. */
int slv_packfolder_path(const char *folder, uint64_t key, struct slv_buf *path);

/* Makes the folder and those above it where they are missing. SLV_E_IO; SLV_E_TRUST: it belongs to
 * another user, or others may write to it. */
int slv_packfolder_make(const char *folder, struct slv_err *err) SLV_MUST_USE;

/* The same judgement of a folder that is there; SLV_E_NOENT if it is not. */
int slv_packfolder_judge(const char *folder, struct slv_err *err) SLV_MUST_USE;

/* Removes what was used least recently until `need` bytes more are at most max, `keep`, a file's
 * path, not counted; and what was left half written. max 0: SLV_PACKFOLDER_MAX, or a third of what
 * the disk has free for it if that is less. SLV_E_FIT: need alone is more. */
#define SLV_PACKFOLDER_MAX ((uint64_t)16 << 30)
int slv_packfolder_make_room(const char *folder, const char *keep, uint64_t need, uint64_t max,
                             struct slv_err *err) SLV_MUST_USE;

/* What is there; no folder: nothing. */
int slv_packfolder_sum(const char *folder, struct slv_packfolder_sum *ret,
                       struct slv_err *err) SLV_MUST_USE;
/* Removes all of it but what a process is writing. *ret is what was removed. */
int slv_packfolder_clear(const char *folder, struct slv_packfolder_sum *ret,
                         struct slv_err *err) SLV_MUST_USE;

#endif
