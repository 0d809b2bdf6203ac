/* signed.h: a signed file, of which every byte that is handed out is one that was signed, also when
 * somebody writes to the file after it was checked.
 *
 * The file is read once and its digest compared with the signature's. Meanwhile the hash's state is
 * noted at the end of each piece. Later reads take whole pieces: hashed from the state before a
 * piece, its bytes must lead to the state after it. So they are the bytes that were signed, or
 * BLAKE2b has a collision; nothing depends on the file's name, times or owner. It takes 384 bytes a
 * piece, and BLAKE2b's 1 GB/s a core for each reading. */
#ifndef SLV_TRUST_SIGNED_H
#define SLV_TRUST_SIGNED_H

#include "base/blocks.h"
#include "trust/sign.h"

/* Where pieces end: the first after `first` bytes (0: there is none such), each other after `piece`
 * more. Changes speed only: reads that are pieces cost least. */
struct slv_signed_pieces {
    size_t first, piece;
};
#define SLV_SIGNED_PIECE ((size_t)64 << 10)
#define SLV_SIGNED_PIECE_MIN ((size_t)4 << 10)

/* `from`, which messages call `name`, is taken over, also on failure. SLV_E_TRUST: it is not what
 * one of these keys signed, as slv_signature_verify; reading what has changed since is SLV_E_TRUST
 * too. SLV_E_USAGE (pieces), SLV_E_CANCELLED, SLV_E_NOMEM, and as `from` fails. ui may be NULL. */
int slv_signed_open(struct slv_blocks *from, const char *name, const struct slv_signature *s,
                    const struct slv_pubs *trusted, const struct slv_signed_pieces *pieces,
                    const struct slv_ui *ui, struct slv_blocks *ret,
                    struct slv_err *err) SLV_MUST_USE;

#endif
