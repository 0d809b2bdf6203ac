/* sign.h: signatures of files, beside them: FILE.sig.
 *
 *     selvage signature 1
 *     key 5a098c32d5c7da3bfbd67a4c502d02c4      id of the key (pub.h)
 *     time 1771234567                           seconds since 1970, as the signer's clock said
 *     size 98362432                             bytes of the file
 *     blake2b 0e5751c026e543b2..                BLAKE2b-512 of it (RFC 7693)
 *     signature 92a009a9f0d4cab8..              Ed25519 of the five lines before this one
 *
 * The file is read once, in pieces, however large it is. Its name is not signed: it may be renamed.
 * What a signature says is checked in this order: is it well formed (SLV_E_FORMAT), is its key
 * trusted, did that key sign these lines, is the file what they say (SLV_E_TRUST each, the message
 * says which). */
#ifndef SLV_TRUST_SIGN_H
#define SLV_TRUST_SIGN_H

#include "base/ui.h"
#include "trust/key.h"

#define SLV_SIGN_SUFFIX ".sig"
#define SLV_SIGN_DIGEST 64
#define SLV_SIGN_TEXT_MAX ((size_t)4096) /* bytes of a signature file */

struct slv_signature {
    char key[SLV_KEYID_HEX];
    uint64_t time, size;
    uint8_t digest[SLV_SIGN_DIGEST];
    uint8_t sig[SLV_SIG_BYTES];
};

/* Signs a file with the key in use. ui may be NULL. SLV_E_NOENT, SLV_E_IO, SLV_E_CANCELLED,
 * SLV_E_NOMEM. */
int slv_sign_file(const struct slv_key *k, const char *path, const struct slv_ui *ui,
                  struct slv_signature *ret, struct slv_err *err) SLV_MUST_USE;

/* Appends a signature as text. */
int slv_signature_write(const struct slv_signature *s, struct slv_buf *out) SLV_MUST_USE;

/* Reads one; `what` names it in messages. SLV_E_FORMAT. */
int slv_signature_parse(const char *text, size_t n, const char *what, struct slv_signature *ret,
                        struct slv_err *err) SLV_MUST_USE;

/* The same of a file. SLV_E_TRUST: there is none; SLV_E_IO, SLV_E_NOMEM. */
int slv_signature_read(const char *path, struct slv_signature *ret,
                       struct slv_err *err) SLV_MUST_USE;

/* Whether one of these keys made the signature; says nothing of the file. SLV_E_TRUST. */
int slv_signature_check(const struct slv_signature *s, const struct slv_pubs *trusted,
                        const char *what, struct slv_err *err) SLV_MUST_USE;

/* Whether the file at path is, to the byte, what was signed by one of these keys. SLV_E_TRUST, or
 * as slv_sign_file. */
int slv_signature_verify(const struct slv_signature *s, const struct slv_pubs *trusted,
                         const char *path, const struct slv_ui *ui,
                         struct slv_err *err) SLV_MUST_USE;

#endif
