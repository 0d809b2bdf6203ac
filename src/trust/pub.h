/* pub.h: public keys: what a device shows of its key, and whom a user trusts.
 *
 * A public key file, which `selvage key show --public` writes:
 *
 *     selvage public key 1
 *     created 1764332628             seconds since 1970
 *     public 9d61b19deffd5a60..      Ed25519
 *     created 1771234567             the next one, after a rotation
 *     public d75a980182b10ab7..
 *     signed 92a009a9f0d4cab8..      by the one before: over both keys and the time
 *
 * So one file vouches for all keys that a device has had: what an old one signed still verifies.
 * A key's id is the first 16 bytes of BLAKE2b-256 of the key, as 32 digits. It finds a key; what is
 * trusted is always the key itself. */
#ifndef SLV_TRUST_PUB_H
#define SLV_TRUST_PUB_H

#include "base/buf.h"
#include "base/err.h"
#include "trust/fields.h"

#define SLV_PUB_BYTES 32
#define SLV_SIG_BYTES 64
#define SLV_KEYID_BYTES 16
#define SLV_KEYID_HEX SLV_HEX(SLV_KEYID_BYTES)
#define SLV_PUB_CHAIN_MAX 128                /* keys of one device */
#define SLV_PUBS_MAX 100000                  /* keys in one set */
#define SLV_PUB_FILE_MAX ((size_t)256 << 10) /* bytes of a file of keys */
#define SLV_PUB_SUFFIX ".pub"

struct slv_pub {
    uint8_t key[SLV_PUB_BYTES];
    uint64_t created;                 /* seconds since 1970 */
    uint8_t signed_by[SLV_SIG_BYTES]; /* by the key before it; zeros for a device's first */
    char id[SLV_KEYID_HEX];
    bool first; /* of its device */
};

/* Any number of keys; zero it first. Threads: externally locked. */
struct slv_pubs {
    struct slv_pub *v;
    size_t n, cap;
};
void slv_pubs_fini(struct slv_pubs *s);
int slv_pubs_add(struct slv_pubs *s, const struct slv_pub *p) SLV_MUST_USE;
/* Borrowed until the set changes; NULL: not among them. */
const struct slv_pub *slv_pubs_find(const struct slv_pubs *s, const char *id);

void slv_pub_id(const uint8_t key[SLV_PUB_BYTES], char ret[SLV_KEYID_HEX]);
/* Whether s is 32 lower-case digits and a NUL. */
bool slv_keyid_valid(const char *s);

/* Adds the keys of a public key file. SLV_E_FORMAT; SLV_E_TRUST: a key is not signed by the one
 * before it. `what` names it in messages. */
int slv_pubs_parse(struct slv_pubs *s, const char *text, size_t n, const char *what,
                   struct slv_err *err) SLV_MUST_USE;
/* The same of a file that only this user (or root) may write: SLV_E_TRUST. */
int slv_pubs_read_file(struct slv_pubs *s, const char *path, struct slv_err *err) SLV_MUST_USE;
/* Of every file NAME.pub in a folder; no such folder: none. */
int slv_pubs_read_folder(struct slv_pubs *s, const char *folder, struct slv_err *err) SLV_MUST_USE;
/* Appends one device's keys, oldest first, as such a file. */
int slv_pubs_write(const struct slv_pubs *s, struct slv_buf *out) SLV_MUST_USE;

/* Reading and writing one key's lines, for files that hold more than that. */
void slv_pub_fields(struct slv_fields *f, bool first, struct slv_pub *ret);
void slv_pub_put(const struct slv_pub *p, struct slv_buf *out);

/* Whether p follows the key `before`. */
bool slv_pub_follows(const struct slv_pub *p, const uint8_t before[SLV_PUB_BYTES]) SLV_MUST_USE;
/* What the key `before` signs for p: SLV_SUCCESSION_BYTES. */
#define SLV_SUCCESSION_BYTES (32 + 2 * SLV_PUB_BYTES + 8)
void slv_pub_succession(const uint8_t before[SLV_PUB_BYTES], const struct slv_pub *p,
                        uint8_t ret[SLV_SUCCESSION_BYTES]);

/* Whether sig is key's signature (RFC 8032) of p[0..n). */
bool slv_pub_verify(const uint8_t key[SLV_PUB_BYTES], const void *p, size_t n,
                    const uint8_t sig[SLV_SIG_BYTES]) SLV_MUST_USE;

/* 32 bytes for the holder of a key only (an X25519 key derived from the Ed25519 key, and
 * libsodium's sealed box: an ephemeral key, X25519, XSalsa20-Poly1305). SLV_E_TRUST: not a usable
 * key. */
#define SLV_WRAP_BYTES 80
int slv_pub_wrap(const uint8_t key[SLV_PUB_BYTES], const uint8_t in[32],
                 uint8_t ret[SLV_WRAP_BYTES], struct slv_err *err) SLV_MUST_USE;

#endif
