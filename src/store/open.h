/* open.h: a model that a user names, opened whatever its file is: plain, or sealed for this device;
 * signed or not.
 *
 * A sealed model is decrypted in memory only. What is kept of it, packed weights and sessions, is
 * sealed too (trust/seal.h); from the first such model on the process leaves no core dumps, and no
 * other of the same user can look into it (slv_secret_no_dumps).
 *
 * Where a signature is required, what was verified is what is loaded: the model is read through
 * trust/signed.h, which compares every piece with what was hashed when the signature was checked.
 * So whoever may write to the file gains nothing by doing so in between. A plain model is then not
 * mapped but read, and its packed weights are neither kept nor used, since nothing vouches for
 * those; a sealed one's are, since only who can read the model can write them. */
#ifndef SLV_STORE_OPEN_H
#define SLV_STORE_OPEN_H

#include "base/ui.h"
#include "selvage.h"
#include "trust/pub.h"

/* All zeros is a good default. Everything is borrowed for the call. */
struct slv_store_open {
    const char *key;                /* file of the device key; NULL: the store's (keys.h) */
    bool require_signed;            /* refuse what no key of `signers` has signed */
    const struct slv_pubs *signers; /* NULL: all that are trusted (slv_store_pubs) */
    const char *signature;   /* its file; NULL: PATH.sig. Of a sealed file it is the signature of
                                   the sealed bytes */
    const struct slv_ui *ui; /* while a signature is checked; may be NULL */
};

/* Opens the model at path (slv_store_resolve finds it for a name). opts as for slv_model_open, but
 * source and keeper, which are set here. how may be NULL. SLV_E_TRUST: sealed for others, not what
 * was sealed, not signed, or not what was signed; SLV_E_USAGE: a folder cannot be signed; and as
 * slv_model_open. Threads: any. */
int slv_store_model_open(const char *path, const struct slv_store_open *how,
                         const struct slv_model_opts *opts, struct slv_model **ret,
                         struct slv_err *err) SLV_MUST_USE;

#endif
