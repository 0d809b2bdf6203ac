/* packfile.h: a model's packed tiles in a file, which the next start maps instead of packing.
 *
 * The file, all numbers little-endian (a machine of the other kind neither reads nor writes one):
 *
 *     0       header, one block of 4096 bytes: packfile.c's struct header, zeros, and in the last 8
 *             bytes the checksum of the 4088 before
 *     4096    a row of 144 bytes for each matrix: name, layout, rows, columns, place
 *             then the checksum of each piece of tiles, then zeros up to
 *     T       the tiles as they lie in memory; T is a multiple of 2 MiB, so that a system which
 *             can map a file with huge pages does
 *
 * The header holds a checksum of all bytes from 4096 to T, and every piece of SLV_PACK_PIECE bytes
 * of tiles has its own: no byte of the file is without one. A piece is small enough to be checked
 * within a core's cache and to share out among threads, large enough that the sums of 1 GB take
 * 32 KiB. Checksums (base/sum.h) find damage; they are no seal. So a file counts only if it is
 * ours: owned by this user, writable by nobody else, in a folder of the same kind.
 *
 * Whether it fits is not judged by parsing it: the header and the rows that this model would write
 * are compared with those in the file, so nothing in it is used as a size or an offset.
 *
 * A file appears by rename of one that is whole and synced; it is then never written again but for
 * its header's stamp, by one write under flock. Whoever has it mapped keeps it when it is removed.
 */
#ifndef SLV_ENGINE_PACKFILE_H
#define SLV_ENGINE_PACKFILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"

#define SLV_PACK_PIECE ((size_t)256 << 10)
#define SLV_PACK_VERSION 2u
#define SLV_PACK_SUFFIX ".tiles" /* of a file; SLV_PACK_TMP while it is being written */
#define SLV_PACK_TMP SLV_NEWFILE_SUFFIX

struct slv_pack_row {
    char name[96]; /* of the tensor, filled up with zeros */
    uint64_t layout, row0, rows, cols, at, tile_bytes;
};

/* What is to be packed. */
struct slv_pack_id {
    uint64_t key;              /* of the model: also the file's name */
    uint64_t layout;           /* of the way tiles lie: another one, another number */
    struct slv_pack_row *rows; /* [n_rows], heap */
    size_t n_rows;
    size_t tile_bytes;
};

/* An open file whose header and rows are right. */
struct slv_packfile {
    int fd;
    uint64_t content;     /* checksum of the source the tiles were made from */
    uint64_t stamp;       /* of the source's files when that was last known to be so; 0: unknown */
    unsigned char *tiles; /* mapped, read only; munmap of tile_bytes */
    size_t tile_bytes;
    uint64_t *sums; /* [pieces], heap */
    size_t n_pieces;
    const struct slv_pack_id *id;
};

/* What a file takes of the disk; UINT64_MAX: there can be none. */
uint64_t slv_packfile_bytes(const struct slv_pack_id *id);

/* Opens and maps the file. SLV_E_NOENT: there is none. SLV_E_FORMAT: truncated, damaged, of another
 * version or of another model, SLV_E_TRUST: not ours: with "PATH: WHY". SLV_E_IO, SLV_E_NOMEM. The
 * tiles are not checked yet. id is borrowed until slv_packfile_close. */
int slv_packfile_open(const char *path, const struct slv_pack_id *id, struct slv_packfile *ret,
                      struct slv_err *err) SLV_MUST_USE;
/* Whether pieces [from, to) of the tiles are as they were written. Threads: any. */
bool slv_packfile_check(const struct slv_packfile *f, size_t from, size_t to);
/* Notes that the source with this stamp has this content. What cannot be written is let be. */
void slv_packfile_stamp(struct slv_packfile *f, const char *path, uint64_t stamp);
/* Marks the file as used now. */
void slv_packfile_touch(const struct slv_packfile *f);
void slv_packfile_close(struct slv_packfile *f);

/* A file being written, in steps that one thread may take over from another. */
struct slv_packwrite {
    const struct slv_pack_id *id;
    const unsigned char *tiles; /* borrowed */
    uint64_t content, stamp;
    struct slv_newfile file;
    unsigned char *head; /* [tiles' place in the file] */
    size_t head_bytes, done;
};

/* Begins PATH.tmp, locked. SLV_E_BUSY: another process is writing it. */
int slv_packwrite_open(const char *path, const struct slv_pack_id *id, const unsigned char *tiles,
                       uint64_t content, uint64_t stamp, struct slv_packwrite *ret,
                       struct slv_err *err) SLV_MUST_USE;
/* Writes some megabytes and waits until they are on the disk. *ret_more: false when nothing is left
 * but slv_packwrite_commit. */
int slv_packwrite_step(struct slv_packwrite *w, bool *ret_more, struct slv_err *err) SLV_MUST_USE;
/* Makes the file appear. */
int slv_packwrite_commit(struct slv_packwrite *w, struct slv_err *err) SLV_MUST_USE;
/* Without a commit before, nothing stays. */
void slv_packwrite_close(struct slv_packwrite *w);

#endif
