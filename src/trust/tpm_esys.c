/* tpm_esys.c: see tpm.h: the connection, and secrets. A primary key is made anew each time, from
 * the TPM's own seed and a template that never changes, so it is always the same one; under it
 * lies the object with the secret. What is kept is the object's public and private parts, as the
 * TPM writes them. */
#include "trust/tpm_int.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

bool slv_tpm_built(void) { return true; }

/* --- the connection --------------------------------------------------------------------------- */

int slv__tpm_refused(const char *what, TSS2_RC rc, int code, struct slv_err *err) {
    return slv_err_set(err, code, "TPM: %s: %s", what, Tss2_RC_Decode(rc));
}

static void flush(struct slv__tpm *t, ESYS_TR *handle) {
    if (*handle != ESYS_TR_NONE) Esys_FlushContext(t->esys, *handle);
    *handle = ESYS_TR_NONE;
}

void slv__tpm_hang_up(struct slv__tpm *t) {
    if (t->esys) {
        flush(t, &t->object);
        flush(t, &t->session);
        flush(t, &t->primary);
        Esys_Finalize(&t->esys);
    }
    if (t->tcti) Tss2_TctiLdr_Finalize(&t->tcti);
}

int slv__tpm_call(struct slv__tpm *t, struct slv_err *err) {
    *t =
        (struct slv__tpm){.primary = ESYS_TR_NONE, .session = ESYS_TR_NONE, .object = ESYS_TR_NONE};
    TSS2_RC rc = Tss2_TctiLdr_Initialize(getenv("SELVAGE_TPM"), &t->tcti);
    if (rc) return slv__tpm_refused("cannot be reached", rc, SLV_E_IO, err);
    rc = Esys_Initialize(&t->esys, t->tcti, NULL);
    return rc ? slv__tpm_refused("cannot be used", rc, SLV_E_IO, err) : 0;
}

/* --- sealing ---------------------------------------------------------------------------------- */

/* The parent of TCG's storage template for P-256: restricted to decrypting its children. */
static TSS2_RC make_primary(struct slv__tpm *t) {
    static const TPM2B_PUBLIC template = {
        .publicArea =
            {
                .type = TPM2_ALG_ECC,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
                .parameters.eccDetail =
                    {
                        .symmetric = {.algorithm = TPM2_ALG_AES,
                                      .keyBits.aes = 128,
                                      .mode.aes = TPM2_ALG_CFB},
                        .scheme.scheme = TPM2_ALG_NULL,
                        .curveID = TPM2_ECC_NIST_P256,
                        .kdf.scheme = TPM2_ALG_NULL,
                    },
            },
    };
    static const TPM2B_SENSITIVE_CREATE sensitive = {0};
    static const TPM2B_DATA outside = {0};
    static const TPML_PCR_SELECTION pcrs = {0};
    return Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &sensitive, &template, &outside, &pcrs, &t->primary,
                              NULL, NULL, NULL, NULL);
}

/* A session that is salted with the primary key: whoever listens on the bus cannot follow it. */
static TSS2_RC make_session(struct slv__tpm *t) {
    static const TPMT_SYM_DEF sym = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    TSS2_RC rc =
        Esys_StartAuthSession(t->esys, t->primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              ESYS_TR_NONE, NULL, TPM2_SE_HMAC, &sym, TPM2_ALG_SHA256, &t->session);
    if (rc) return rc;
    return Esys_TRSess_SetAttributes(
        t->esys, t->session,
        TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT, 0xff);
}

static int call_up(struct slv__tpm *t, struct slv_err *err) {
    int code = slv__tpm_call(t, err);
    if (code) return code;
    TSS2_RC rc = make_primary(t);
    if (rc) return slv__tpm_refused("makes no key", rc, SLV_E_IO, err);
    rc = make_session(t);
    return rc ? slv__tpm_refused("begins no session", rc, SLV_E_IO, err) : 0;
}

static TSS2_RC create(struct slv__tpm *t, const uint8_t secret[SLV_TPM_SECRET],
                      TPM2B_PRIVATE **ret_private, TPM2B_PUBLIC **ret_public) {
    static const TPM2B_PUBLIC template = {
        .publicArea =
            {
                .type = TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA,
                .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
            },
    };
    static const TPM2B_DATA outside = {0};
    static const TPML_PCR_SELECTION pcrs = {0};
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = SLV_TPM_SECRET};
    memcpy(sensitive.sensitive.data.buffer, secret, SLV_TPM_SECRET);
    TSS2_RC rc =
        Esys_Create(t->esys, t->primary, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                    &template, &outside, &pcrs, ret_private, ret_public, NULL, NULL, NULL);
    sodium_memzero(&sensitive, sizeof sensitive);
    return rc;
}

int slv_tpm_seal(const uint8_t secret[SLV_TPM_SECRET], uint8_t ret[SLV_TPM_BLOB_MAX], size_t *ret_n,
                 struct slv_err *err) {
    TPM2B_PRIVATE *private = NULL;
    TPM2B_PUBLIC *public = NULL;
    struct slv__tpm t;
    size_t n = 0;
    int code = call_up(&t, err);
    TSS2_RC rc = code ? 0 : create(&t, secret, &private, &public);
    if (!code && !rc) rc = Tss2_MU_TPM2B_PUBLIC_Marshal(public, ret, SLV_TPM_BLOB_MAX, &n);
    if (!code && !rc) rc = Tss2_MU_TPM2B_PRIVATE_Marshal(private, ret, SLV_TPM_BLOB_MAX, &n);
    if (!code && rc) code = slv__tpm_refused("does not take the secret", rc, SLV_E_IO, err);
    if (!code) *ret_n = n;
    Esys_Free(private);
    Esys_Free(public);
    slv__tpm_hang_up(&t);
    return code;
}

static int load_object(struct slv__tpm *t, const uint8_t *blob, size_t n, struct slv_err *err) {
    TPM2B_PUBLIC public = {0};
    TPM2B_PRIVATE private = {0};
    size_t at = 0;
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob, n, &at, &public) ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob, n, &at, &private) || at != n)
        return slv_err_set(err, SLV_E_TRUST, "TPM: what is kept of the secret is damaged");
    TSS2_RC rc = Esys_Load(t->esys, t->primary, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &private,
                           &public, &t->object);
    return rc ? slv__tpm_refused("did not seal this secret, or was cleared since", rc, SLV_E_TRUST,
                                 err)
              : 0;
}

int slv_tpm_unseal(const uint8_t *blob, size_t n, uint8_t ret[SLV_TPM_SECRET],
                   struct slv_err *err) {
    TPM2B_SENSITIVE_DATA *data = NULL;
    struct slv__tpm t;
    int code = call_up(&t, err);
    if (!code) code = load_object(&t, blob, n, err);
    TSS2_RC rc =
        code ? 0 : Esys_Unseal(t.esys, t.object, t.session, ESYS_TR_NONE, ESYS_TR_NONE, &data);
    if (rc) code = slv__tpm_refused("keeps the secret", rc, SLV_E_TRUST, err);
    if (!code && data->size != SLV_TPM_SECRET)
        code = slv_err_set(err, SLV_E_TRUST, "TPM: the secret has another size");
    if (!code) memcpy(ret, data->buffer, SLV_TPM_SECRET);
    if (data) sodium_memzero(data, sizeof *data);
    Esys_Free(data);
    slv__tpm_hang_up(&t);
    return code;
}
