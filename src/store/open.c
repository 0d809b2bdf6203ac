/* open.c: see open.h. One descriptor is opened, and everything is read through it. */
#include "store/open.h"
#include "base/blocks.h"
#include "store/keys.h"
#include "trust/seal.h"
#include "trust/secret.h"
#include "trust/sign.h"
#include "trust/signed.h"

#include <string.h>
#include <sys/stat.h>

static int read_signature(const char *path, const char *given, struct slv_signature *ret,
                          struct slv_err *err) {
    struct slv_buf name;
    slv_buf_init(&name, 8192);
    int rc = slv_buf_addf(&name, "%s%s", given ? given : path, given ? "" : SLV_SIGN_SUFFIX);
    if (rc) slv_err_set(err, rc, "path: %s", slv_strerror(rc));
    if (!rc) rc = slv_signature_read(name.data, ret, err);
    slv_buf_fini(&name);
    return rc;
}

/* *b becomes what reads only signed bytes. */
static int check_signature(const char *path, const struct slv_store_open *how, bool sealed,
                           struct slv_blocks *b, struct slv_err *err) {
    struct slv_signature s;
    struct slv_pubs trusted = {0};
    struct slv_signed_pieces pieces = {0, SLV_SIGNED_PIECE};
    int rc = read_signature(path, how->signature, &s, err);
    if (!rc && !how->signers) rc = slv_store_pubs(NULL, how->key, &trusted, err);
    if (sealed && slv_sealed_pieces(b, &pieces.first, &pieces.piece, NULL))
        pieces = (struct slv_signed_pieces){0, SLV_SIGNED_PIECE}; /* it will be refused */
    if (!rc)
        rc = slv_signed_open(b, path, &s, how->signers ? how->signers : &trusted, &pieces, how->ui,
                             b, err);
    slv_pubs_fini(&trusted);
    return rc;
}

/* *b becomes what was sealed in it. */
static int unseal(const char *path, const struct slv_store_open *how, struct slv_blocks *b,
                  struct slv_keeper *keeper, struct slv_err *err) {
    struct slv_key *key = NULL;
    struct slv_sealed *f = NULL;
    int rc = slv_store_key_open(how->key, false, &key, err);
    if (!rc) rc = slv_sealed_open_blocks(b, path, key, &f, err);
    slv_key_close(key);
    if (!rc) rc = slv_sealed_keeper(f, keeper, err);
    if (rc) slv_sealed_close(f);
    else slv_sealed_take_blocks(f, b);
    return rc;
}

static int open_source(const char *path, const struct slv_store_open *how, bool sealed,
                       struct slv_blocks *b, const struct slv_model_opts *opts,
                       struct slv_model **ret, struct slv_err *err) {
    struct slv_model_opts o = *opts;
    struct slv_keeper keeper = {0};
    int rc = 0;
    if (sealed) slv_secret_no_dumps();
    if (how->require_signed) rc = check_signature(path, how, sealed, b, err);
    if (!rc && sealed) rc = unseal(path, how, b, &keeper, err);
    if (rc) return rc;
    o.source = b;
    o.keeper = sealed ? &keeper : NULL;
    return slv_model_open(path, &o, ret, err);
}

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int slv_store_model_open(const char *path, const struct slv_store_open *how,
                         const struct slv_model_opts *opts, struct slv_model **ret,
                         struct slv_err *err) {
    static const struct slv_store_open defaults;
    static const struct slv_model_opts none;
    struct slv_blocks b = {0};
    if (!how) how = &defaults;
    if (!opts) opts = &none;
    if (is_folder(path)) {
        if (!how->require_signed) return slv_model_open(path, opts, ret, err);
        return slv_err_set(err, SLV_E_USAGE, "%s: a folder has no signature; a file has", path);
    }
    int rc = slv_blocks_open_file(path, &b, err);
    if (rc) return rc;
    bool sealed = slv_sealed_is_blocks(&b);
    if (sealed || how->require_signed) rc = open_source(path, how, sealed, &b, opts, ret, err);
    slv_blocks_close(&b);
    return rc || sealed || how->require_signed ? rc : slv_model_open(path, opts, ret, err);
}
