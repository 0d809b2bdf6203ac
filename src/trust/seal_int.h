/* seal_int.h: the header of a sealed file, for what writes and what reads it (seal.h draws it). */
#ifndef SLV_TRUST_SEAL_INT_H
#define SLV_TRUST_SEAL_INT_H

#include "trust/aead.h"
#include "trust/seal.h"

#define SLV_SEAL_MAGIC "slvseal1"
#define SLV_SEAL_MAGIC_BYTES ((size_t)8)
#define SLV_SEAL_FIXED ((size_t)32) /* bytes before the recipients */
#define SLV_SEAL_SLOT (SLV_KEYID_BYTES + (size_t)SLV_WRAP_BYTES)
#define SLV_SEAL_MAC ((size_t)32)
#define SLV_SEAL_HEAD_MAX (SLV_SEAL_FIXED + SLV_SEAL_FOR_MAX * SLV_SEAL_SLOT + SLV_SEAL_MAC)
#define SLV_SEAL_STRIDE (SLV_SEAL_BLOCK + SLV_AEAD_TAG)
/* What is sealed is at most so much: lengths and offsets then fit in what the system calls take. */
#define SLV_SEAL_SIZE_MAX ((uint64_t)1 << 60)

/* The keys of one file. */
struct slv_seal_keys {
    uint8_t file[32], head[32], block[SLV_AEAD_KEY];
};
/* head and block from file. */
void slv__seal_derive(struct slv_seal_keys *k);

struct slv_seal_head {
    uint64_t size;     /* of what is sealed */
    uint64_t n_blocks; /* 1 at least */
    size_t bytes;      /* of the header */
    size_t n_for;
};

static inline uint64_t slv__seal_blocks(uint64_t size) {
    return size ? (size + SLV_SEAL_BLOCK - 1) / SLV_SEAL_BLOCK : 1;
}

/* Bytes of a sealed file. */
uint64_t slv__seal_file_bytes(const struct slv_seal_head *h);

/* Writes a header of h->bytes to p; its recipients are there already. */
void slv__seal_head_put(const struct slv_seal_head *h, const struct slv_seal_keys *k, uint8_t *p);

/* Reads a header from the first n bytes of a file: its form, then, with the key, whether it and the
 * file's length are as they were written. *keys is filled in. SLV_E_FORMAT, SLV_E_TRUST. */
int slv__seal_head_read(const uint8_t *p, size_t n, uint64_t file_bytes, const struct slv_key *key,
                        struct slv_seal_keys *keys, struct slv_seal_head *ret,
                        struct slv_err *err) SLV_MUST_USE;

#endif
