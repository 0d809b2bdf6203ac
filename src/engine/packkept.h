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
 * this model would write, so nothing in the file is used as a size or an offset. */
#ifndef SLV_ENGINE_PACKKEPT_H
#define SLV_ENGINE_PACKKEPT_H

#include "base/blocks.h"
#include "base/team.h"
#include "engine/packfile.h"

/* What a keeper's file holds; UINT64_MAX: there can be none. */
uint64_t slv_packkept_bytes(const struct slv_pack_id *id);

/* Reads the file at path into tiles[id->tile_bytes], with all members of the team. SLV_E_NOENT:
 * there is none; SLV_E_FORMAT: of another version or layout; as the keeper's reading fails;
 * SLV_E_NOMEM. On an error the tiles hold nothing that may be used. */
int slv_packkept_read(const struct slv_keeper *k, const char *path, const struct slv_pack_id *id,
                      unsigned char *tiles, struct slv_team *team,
                      struct slv_err *err) SLV_MUST_USE;

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
