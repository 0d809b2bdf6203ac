/* spill.h: a file for what does not fit into memory, which this process alone can read, and nobody
 * after it.
 *
 * It has no name in its folder: a process that ends, however, leaves nothing. What is in it is
 * encrypted with a random key that is in memory only. A record is ChaCha20-Poly1305 (RFC 8439, by
 * aead.h) and its nonce the count of records before it, which is kept in memory with its place and
 * length: so a record that was changed, moved or replaced by an older one is SLV_E_TRUST.
 *
 *     chunk (64 KiB)  | 0 | 1 | 2 | 3 | 4 | ...
 *     record            [ bytes, tag, -- ]      from the first run of free chunks long enough
 *
 * The file grows to its limit at most, and shrinks to nothing when nothing is in it. A disk that is
 * full or broken is an error of that record, told in the log once; others may be taken later.
 *
 * Threads: any number at once. */
#ifndef SLV_TRUST_SPILL_H
#define SLV_TRUST_SPILL_H

#include "base/err.h"
#include "selvage.h"

struct slv_spill_file;

/* In a folder that is there; at most `most` bytes. SLV_E_NOENT, SLV_E_IO, SLV_E_USAGE (most),
 * SLV_E_NOMEM. The key is made when the first page is put. */
int slv_spill_open(const char *folder, uint64_t most, struct slv_spill_file **ret,
                   struct slv_err *err) SLV_MUST_USE;
/* NULL is taken. */
void slv_spill_close(struct slv_spill_file *f);

/* As batches take it (selvage.h): put gives SLV_E_LIMIT where it is full, SLV_E_IO, SLV_E_NOMEM,
 * SLV_E_UNSUPPORTED (this libcrypto has no such cipher); get SLV_E_TRUST, SLV_E_IO. Valid until it
 * is closed. */
struct slv_spill slv_spill_of(struct slv_spill_file *f);

/* Bytes of the disk in use, and the most there may be. */
void slv_spill_usage(struct slv_spill_file *f, uint64_t *ret_used, uint64_t *ret_most);

#endif
