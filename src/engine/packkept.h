/* packkept.h: packed tiles in a keeper's file (struct slv_keeper), for models that only some may
 * read. It is the keeper who sees to it that the bytes are those that were written: they have no
 * checksums here, and are not mapped but read into memory, all of them before the first is used.
 *
 * What the keeper is given, all numbers little-endian (as packfile.h):
 *
 *     0       packkept.c's struct header, 64 bytes
 *     64      a row of 144 bytes for each matrix, as in packfile.h
 *             zeros up to
 *     T       the tiles as they lie in memory; T is a multiple of 64 KiB
 *
 * Whether it fits is judged as packfile.h has it: the bytes before T are compared with those that
 * this model would write, so nothing in the file is used as a size or an offset. What is read is
 * as many bytes as the keeper says there are, let go of where they are not what was wanted. */
#ifndef SLV_ENGINE_PACKKEPT_H
#define SLV_ENGINE_PACKKEPT_H

#include "base/blocks.h"
#include "base/team.h"
#include "engine/packfile.h"

/* What a keeper's file holds; UINT64_MAX: there can be none. */
uint64_t slv_packkept_bytes(const struct slv_pack_id *id);

/* A file being read: all of it, so that this can begin before it is known what should be in it. */
struct slv_keptread;

/* Opens the file at path, and takes memory for it. SLV_E_NOENT: there is none; as the keeper's
 * opening fails; SLV_E_FORMAT, SLV_E_NOMEM. Needs the keeper for the call only. */
int slv_keptread_open(const struct slv_keeper *k, const char *path, struct slv_keptread **ret,
                      struct slv_err *err) SLV_MUST_USE;
/* Starts a thread that begins to read. Where none can be had nothing is lost. */
void slv_keptread_ahead(struct slv_keptread *r);
/* Reads the rest with all members of the team, once, and judges what came: *ret_tiles is
 * [id->tile_bytes] of slv_mem_map, the caller's. SLV_E_FORMAT: of another version or layout; as the
 * keeper's reading fails; SLV_E_NOMEM. */
int slv_keptread_finish(struct slv_keptread *r, const struct slv_pack_id *id, struct slv_team *team,
                        unsigned char **ret_tiles, struct slv_err *err) SLV_MUST_USE;
/* Also while the thread reads, which ends soon then. NULL is taken. */
void slv_keptread_close(struct slv_keptread *r);

/* A file being written, in steps that one thread may take over from another. */
struct slv_keptwrite {
    const struct slv_pack_id *id;
    const unsigned char *tiles; /* borrowed */
    struct slv_sink file;
    size_t done; /* bytes of tiles */
};

/* As slv_packwrite_open and so on. */
int slv_keptwrite_open(const struct slv_keeper *k, const char *path, const struct slv_pack_id *id,
                       const unsigned char *tiles, struct slv_keptwrite *ret,
                       struct slv_err *err) SLV_MUST_USE;
int slv_keptwrite_step(struct slv_keptwrite *w, bool *ret_more, struct slv_err *err) SLV_MUST_USE;
int slv_keptwrite_commit(struct slv_keptwrite *w, struct slv_err *err) SLV_MUST_USE;
void slv_keptwrite_close(struct slv_keptwrite *w);

#endif
