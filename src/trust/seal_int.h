/* seal_int.h: the header of a sealed file, for what writes and what reads it (seal.h draws it), and
 * writing one from end to end. */
#ifndef SLV_TRUST_SEAL_INT_H
#define SLV_TRUST_SEAL_INT_H

#include "trust/aead.h"
#include "trust/seal.h"

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
    uint8_t kept[32]; /* from which the keys come of what is made of the content: keep.c */
};
/* All from file. */
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

/* What wraps the keys of files that are for whoever can open a certain other one: seal.h. */
struct slv_seal_own {
    uint8_t id[SLV_KEYID_BYTES], wrap[32];
};

/* Who a file is for: devices, or (own) the holders of a file. */
struct slv_seal_for {
    const struct slv_pubs *devices;
    const struct slv_seal_own *own;
};

/* Who opens it: one of the two. */
struct slv_seal_opener {
    const struct slv_key *device;
    const struct slv_seal_own *own;
};

/* Reads a header from the first n bytes of a file: its form, then, with the key, whether it and the
 * file's length are as they were written. *keys is filled in. SLV_E_FORMAT, SLV_E_TRUST. */
int slv__seal_head_read(const uint8_t *p, size_t n, uint64_t file_bytes,
                        const struct slv_seal_opener *who, struct slv_seal_keys *keys,
                        struct slv_seal_head *ret, struct slv_err *err) SLV_MUST_USE;

/* The file key, wrapped for `own`: a slot's SLV_WRAP_BYTES. False: it is not what was wrapped. */
void slv__seal_wrap_own(const struct slv_seal_own *own, const uint8_t in[32],
                        uint8_t ret[SLV_WRAP_BYTES]);
bool slv__seal_unwrap_own(const struct slv_seal_own *own, const uint8_t in[SLV_WRAP_BYTES],
                          uint8_t ret[32]) SLV_MUST_USE;

/* A file being sealed. Threads: one at a time. */
struct slv_seal_writer;
/* As slv_seal_file. */
int slv__seal_writer_open(const char *path, const struct slv_seal_for *to,
                          struct slv_seal_writer **ret, struct slv_err *err) SLV_MUST_USE;
int slv__seal_writer_add(struct slv_seal_writer *w, const void *p, size_t n,
                         struct slv_err *err) SLV_MUST_USE;
/* *ret_size (may be NULL): bytes that were sealed. */
int slv__seal_writer_commit(struct slv_seal_writer *w, uint64_t *ret_size,
                            struct slv_err *err) SLV_MUST_USE;
void slv__seal_writer_close(struct slv_seal_writer *w);

/* Borrowed, [32]: kept of struct slv_seal_keys. */
const uint8_t *slv__sealed_kept(const struct slv_sealed *f);

/* Opens a file for `who`; `from` is taken over, also on failure. As slv_sealed_open. */
int slv__sealed_open(struct slv_blocks *from, const char *name, const struct slv_seal_opener *who,
                     struct slv_sealed **ret, struct slv_err *err) SLV_MUST_USE;

#endif
