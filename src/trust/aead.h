/* aead.h: the blocks of a sealed file: ChaCha20-Poly1305 (RFC 8439) under a key that is used for
 * one file only. Threads: any number may use one at once. */
#ifndef SLV_TRUST_AEAD_H
#define SLV_TRUST_AEAD_H

#include "base/err.h"

#define SLV_AEAD_KEY 32
#define SLV_AEAD_TAG 16

struct slv_aead;
/* SLV_E_NOMEM; SLV_E_UNSUPPORTED: this libcrypto has no ChaCha20-Poly1305. */
int slv_aead_open(const uint8_t key[SLV_AEAD_KEY], struct slv_aead **ret,
                  struct slv_err *err) SLV_MUST_USE;
void slv_aead_close(struct slv_aead *a);

/* One block in its place: p holds n bytes, or n and their tag, n at most 2^30; what comes has the
 * tag more, or less. An index must not be sealed twice. SLV_E_NOMEM. */
int slv_aead_seal(const struct slv_aead *a, uint64_t index, bool last, uint8_t *p,
                  size_t n) SLV_MUST_USE;
/* SLV_E_TRUST: it is not that block; p is wiped. */
int slv_aead_unseal(const struct slv_aead *a, uint64_t index, bool last, uint8_t *p,
                    size_t n) SLV_MUST_USE;

#endif
