/* key.h: the device key: an Ed25519 key that signs, and that files are sealed for.
 *
 * The key file, which nobody but its owner may read:
 *
 *     selvage device key 1
 *     created 1764332628
 *     public 9d61b19deffd5a60..
 *     secret 4ccd089b28ff96da..      the seed (RFC 8032); or "forgotten"
 *     created 1771234567             after a rotation: the key in use is the last one
 *     public d75a980182b10ab7..
 *     signed 92a009a9f0d4cab8..      as in pub.h
 *     secret c5aa8df43f9f837b..
 *
 * In place of a secret there may be "tpm 003e..": the object in which the machine's TPM keeps it
 * (tpm.h). A key that is made for the TPM stays there through its rotations.
 *
 * Invariants:
 *   1. The last key has its secret and is the only one that signs. Older ones open what was sealed
 *      for them, unless they were forgotten.
 *   2. Every secret fits its public key, and every key but the first is signed by the one before:
 *      a file that is not so is refused.
 *   3. The file appears by rename or link of one that is whole and synced. A new key replaces none
 *      that is there, unless that is asked for.
 *   4. Secrets lie in memory of slv_secret_alloc only, and are wiped.
 *
 * Threads: any number may use one key at once. */
#ifndef SLV_TRUST_KEY_H
#define SLV_TRUST_KEY_H

#include "trust/pub.h"

struct slv_key;

/* A new key, in memory. SLV_E_NOMEM. */
int slv_key_new(struct slv_key **ret, struct slv_err *err) SLV_MUST_USE;
/* One whose secret is kept by the TPM. As slv_tpm_seal. */
int slv_key_new_tpm(struct slv_key **ret, struct slv_err *err) SLV_MUST_USE;

/* Reads a key file. With `show` the secrets are left out: the key can only be looked at, and the
 * TPM is not asked. As slv_tpm_unseal; SLV_E_TRUST:
 * others may read the file, it is another user's, or what it says does not fit together;
 * SLV_E_FORMAT, SLV_E_NOENT "PATH: no key there: 'selvage key new' makes one", SLV_E_IO,
 * SLV_E_NOMEM. */
int slv_key_open(const char *path, bool show, struct slv_key **ret,
                 struct slv_err *err) SLV_MUST_USE;

/* Writes the file; its folder is made if it is missing. Without `replace`, SLV_E_USAGE if there is
 * one already. SLV_E_BUSY: another process is writing it. */
int slv_key_save(const struct slv_key *k, const char *path, bool replace,
                 struct slv_err *err) SLV_MUST_USE;

/* Adds a new key to the file, signed by the one in use until now; from then on the new one signs.
 * With `forget`, secrets of the older ones are dropped: what is sealed for them stays shut for
 * good. SLV_E_LIMIT: SLV_PUB_CHAIN_MAX keys. *ret may be NULL. */
int slv_key_rotate(const char *path, bool forget, struct slv_key **ret,
                   struct slv_err *err) SLV_MUST_USE;

void slv_key_close(struct slv_key *k);

/* Borrowed: all keys, oldest first; the one in use. */
const struct slv_pubs *slv_key_pubs(const struct slv_key *k);
const struct slv_pub *slv_key_pub(const struct slv_key *k);
/* Whether the key of that place in slv_key_pubs has its secret. */
bool slv_key_has_secret(const struct slv_key *k, size_t i);
/* Whether the TPM keeps the secret of the key in use. */
bool slv_key_in_tpm(const struct slv_key *k);

/* Signs p[0..n) with the key in use. SLV_E_INTERNAL: opened with `show`. */
int slv_key_sign(const struct slv_key *k, const void *p, size_t n, uint8_t ret[SLV_SIG_BYTES],
                 struct slv_err *err) SLV_MUST_USE;

/* Opens what slv_pub_wrap made for the key of that id. SLV_E_NOENT: it is none of this device's (or
 * was forgotten); SLV_E_TRUST: it is not what was wrapped. No message is written. */
int slv_key_unwrap(const struct slv_key *k, const char *id, const uint8_t in[SLV_WRAP_BYTES],
                   uint8_t ret[32]) SLV_MUST_USE;

#endif
