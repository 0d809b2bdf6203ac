/* blocks.h: bytes that can be read anywhere, whatever they come from (struct slv_blocks), and files
 * that are written from end to end, wherever they go (struct slv_sink). Both are in selvage.h.
 *
 * Whoever reads a model through this knows neither files nor cryptography: a plain file is one
 * implementation (below), a sealed one another (trust/seal.h).
 *
 * What a read costs is the source's affair: a sealed file decrypts whole blocks of 64 KiB. Ask for
 * large pieces. */
#ifndef SLV_BASE_BLOCKS_H
#define SLV_BASE_BLOCKS_H

#include "base/err.h"

/* SLV_E_LIMIT: past the end. n may be 0. */
int slv_blocks_read(const struct slv_blocks *b, uint64_t at, size_t n, void *p,
                    struct slv_err *err) SLV_MUST_USE;
/* b may be all zeros; it is after. */
void slv_blocks_close(struct slv_blocks *b);

/* A plain file. If it shrinks meanwhile, reading what is gone is SLV_E_LIMIT. SLV_E_NOENT, SLV_E_IO
 * (also: a folder or a device), SLV_E_NOMEM. */
int slv_blocks_open_file(const char *path, struct slv_blocks *ret,
                         struct slv_err *err) SLV_MUST_USE;

/* A plain file, as slv_newfile_open (base/file.h) makes one. */
int slv_sink_open_file(const char *path, struct slv_sink *ret, struct slv_err *err) SLV_MUST_USE;
/* s may be all zeros; it is after. */
void slv_sink_close(struct slv_sink *s);

#endif
