/* blocks.h: bytes that can be read anywhere, whatever they come from.
 *
 * Whoever reads a model through this knows neither files nor cryptography: a plain file is one
 * implementation (below), a sealed one another (trust/seal.h). A read gives all the bytes asked for
 * or an error, and never bytes that somebody has tampered with where the source can tell.
 *
 * What a read costs is the source's affair: a sealed file decrypts whole blocks of 64 KiB. Ask for
 * large pieces. Threads: any number may read one source at once. */
#ifndef SLV_BASE_BLOCKS_H
#define SLV_BASE_BLOCKS_H

#include "base/err.h"

struct slv_blocks {
    uint64_t size; /* bytes in all */
    /* Bytes [at, at + n) to p. SLV_E_IO; SLV_E_TRUST: they are not what was written; SLV_E_NOMEM.
     * On an error p holds nothing that may be used. Called through slv_blocks_read. */
    int (*read)(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *err);
    void (*close)(void *ctx); /* may be NULL */
    void *ctx;
};

/* SLV_E_LIMIT: past the end. n may be 0. */
int slv_blocks_read(const struct slv_blocks *b, uint64_t at, size_t n, void *p,
                    struct slv_err *err) SLV_MUST_USE;
/* b may be all zeros; it is after. */
void slv_blocks_close(struct slv_blocks *b);

/* A plain file. If it shrinks meanwhile, reading what is gone is SLV_E_IO. SLV_E_NOENT, SLV_E_IO
 * (also: a folder or a device), SLV_E_NOMEM. */
int slv_blocks_open_file(const char *path, struct slv_blocks *ret,
                         struct slv_err *err) SLV_MUST_USE;

#endif
