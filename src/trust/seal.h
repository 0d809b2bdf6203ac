/* seal.h: sealed files: a model at rest that only the devices it was sealed for can read.
 *
 * The file, all numbers little-endian:
 *
 *     0     8       "slvseal1"
 *     8     4       H: bytes of the header, 64 + 96 n
 *     12    4       bytes of a block: 65536
 *     16    4       n: recipients, 1 to 64
 *     20    4       zeros
 *     24    8       bytes that were sealed
 *     32    96 n    for each recipient: its key's id (16), and the file key, wrapped (80, pub.h)
 *     H-32  32      BLAKE2b-256 of the H-32 bytes before, keyed
 *     H             blocks: 65536 bytes each and a tag of 16; the last one has what is left, which
 *                   is nothing only if nothing was sealed
 *
 * A file has a key of its own, random, from which two are derived (BLAKE2b, libsodium's
 * crypto_kdf): one for the header, one for the blocks. A block is ChaCha20-Poly1305 (RFC 8439): its
 * nonce is its index, which repeats under no key; index and whether it is the last are
 * authenticated with it.
 *
 * So: a block of another file has another key, one moved within the file another index, a file that
 * was cut another last block and another length; a changed header has another digest. Each is
 * SLV_E_TRUST before anything of a bad block is handed out. A file that does not begin with the
 * eight characters is SLV_E_FORMAT: it is not a sealed file.
 *
 * What it does not say is who sealed it: anybody can seal for a public key. That is for a signature
 * (sign.h) of the sealed file.
 *
 * What is made of a sealed model (packed weights, sessions) goes into files of the same form with
 * one slot, which is for whoever can open the model: from the model's file key a third key is
 * derived, from that one for each use, and the slot holds the new file's key in a secretbox of it
 * (nonce, 24, and box, 48, then zeros) under an id derived likewise. Not for the device's public
 * key, as a model is: anybody can seal for that, so who may write to the disk could pass off
 * weights of his own as this model's. So what opens was written by somebody who could read the
 * model, for this model and this use; that it is the newest such file nothing says.
 *
 * ChaCha20-Poly1305 and not AES-GCM: small ARM boards have no AES instructions, without which AES
 * is slow and leaks through the cache; one algorithm then reads every file everywhere. OpenSSL's
 * and not libsodium's: 3.7 GB/s a core against 1.3 with AVX-512, and it has NEON. */
#ifndef SLV_TRUST_SEAL_H
#define SLV_TRUST_SEAL_H

#include "base/blocks.h"
#include "base/ui.h"
#include "trust/key.h"

#define SLV_SEAL_MAGIC "slvseal1"
#define SLV_SEAL_MAGIC_BYTES ((size_t)8)
#define SLV_SEAL_BLOCK ((size_t)65536)
#define SLV_SEAL_FOR_MAX 64 /* recipients */

/* Seals the file `in` ("-": standard input) into `out`, which appears when it is whole, for the
 * holders of these keys. ui may be NULL. *ret_size (may be NULL): bytes that were sealed.
 * SLV_E_NOENT, SLV_E_IO (also: the file changed meanwhile), SLV_E_LIMIT (recipients), SLV_E_TRUST
 * (not a usable key), SLV_E_BUSY, SLV_E_CANCELLED, SLV_E_NOMEM. */
int slv_seal_file(const char *in, const char *out, const struct slv_pubs *to,
                  const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) SLV_MUST_USE;

/* Writes what is sealed in `in` to `out`, for its owner only, which appears when all of it was
 * good. As slv_sealed_open, and as above. */
int slv_unseal_file(const char *in, const char *out, const struct slv_key *key,
                    const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) SLV_MUST_USE;

/* --- reading anywhere ------------------------------------------------------------------------- */

struct slv_sealed;

/* Opens a sealed file with a device's key, which is not needed afterwards. SLV_E_TRUST: it is
 * sealed for others, or is not what was sealed; SLV_E_FORMAT: not a sealed file; SLV_E_NOENT,
 * SLV_E_IO, SLV_E_NOMEM. */
int slv_sealed_open(const char *path, const struct slv_key *key, struct slv_sealed **ret,
                    struct slv_err *err) SLV_MUST_USE;
/* The same of bytes that lie anywhere, `from`, which is taken over, also on failure. */
int slv_sealed_open_blocks(struct slv_blocks *from, const char *name, const struct slv_key *key,
                           struct slv_sealed **ret, struct slv_err *err) SLV_MUST_USE;
void slv_sealed_close(struct slv_sealed *f);
uint64_t slv_sealed_size(const struct slv_sealed *f);

/* Bytes [at, at + n) of what was sealed to p. Every block they lie in is read, checked and
 * decrypted whole. SLV_E_TRUST "PATH: block 17 is not what was sealed"; SLV_E_LIMIT: past the end;
 * SLV_E_IO, SLV_E_NOMEM. After an error p may hold bytes of good blocks, never of the bad one.
 * Threads: any number at once. */
int slv_sealed_read(const struct slv_sealed *f, uint64_t at, size_t n, void *p,
                    struct slv_err *err) SLV_MUST_USE;

/* The same as blocks, which own the file from here on. */
void slv_sealed_take_blocks(struct slv_sealed *f, struct slv_blocks *ret);

/* Whether a file begins like a sealed one; false too where it cannot be read. */
bool slv_sealed_is(const char *path);
bool slv_sealed_is_blocks(const struct slv_blocks *b);

/* Where its blocks begin and how many bytes each takes in it: for who reads the file itself in
 * pieces of that size (signed.h). Nothing of it has been checked. SLV_E_TRUST: it cannot be so;
 * SLV_E_IO. */
int slv_sealed_pieces(const struct slv_blocks *b, size_t *ret_first, size_t *ret_piece,
                      struct slv_err *err) SLV_MUST_USE;

/* Keeps what is made of the content in files of its own key (see above); needs f no longer after.
 * SLV_E_NOMEM. */
int slv_sealed_keeper(const struct slv_sealed *f, struct slv_keeper *ret,
                      struct slv_err *err) SLV_MUST_USE;

#endif
