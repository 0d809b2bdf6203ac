/* tpm_quote.c: see tpm.h: the attestation key, PCRs, quotes. Nothing here is secret and what counts
 * is signed by the TPM, so there are no sessions against who listens on its bus. */
#include "trust/tpm_int.h"

#include <string.h>
#include <tss2/tss2_mu.h>

#define BANK TPM2_ALG_SHA256
#define SELECT 3 /* bytes of a selection: SLV_TPM_PCRS bits */

_Static_assert(SLV_TPM_PCRS == 8 * SELECT && SLV_TPM_DIGEST == TPM2_SHA256_DIGEST_SIZE, "the bank");

/* --- the key ---------------------------------------------------------------------------------- */

/* `unique` is what makes it another key than that of other programs with such a template. */
static TSS2_RC make_ak(struct slv__tpm *t, TPM2B_PUBLIC **ret) {
    static const TPM2B_PUBLIC template = {
        .publicArea =
            {
                .type = TPM2_ALG_ECC,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED |
                                    TPMA_OBJECT_SIGN_ENCRYPT,
                .parameters.eccDetail =
                    {
                        .symmetric.algorithm = TPM2_ALG_NULL,
                        .scheme = {.scheme = TPM2_ALG_ECDSA,
                                   .details.ecdsa.hashAlg = TPM2_ALG_SHA256},
                        .curveID = TPM2_ECC_NIST_P256,
                        .kdf.scheme = TPM2_ALG_NULL,
                    },
                .unique.ecc = {.x = {32, "selvage attestation key 1"}, .y = {.size = 32}},
            },
    };
    static const TPM2B_SENSITIVE_CREATE sensitive = {0};
    static const TPM2B_DATA outside = {0};
    static const TPML_PCR_SELECTION pcrs = {0};
    return Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &sensitive, &template, &outside, &pcrs, &t->primary,
                              ret, NULL, NULL, NULL);
}

/* Loads it; its public part as the TPM writes it. */
static int load_ak(struct slv__tpm *t, uint8_t ret[SLV_TPM_AK_MAX], size_t *ret_n,
                   struct slv_err *err) {
    TPM2B_PUBLIC *public = NULL;
    size_t n = 0;
    TSS2_RC rc = make_ak(t, &public);
    if (!rc) rc = Tss2_MU_TPM2B_PUBLIC_Marshal(public, ret, SLV_TPM_AK_MAX, &n);
    Esys_Free(public);
    if (rc) return slv__tpm_refused("makes no attestation key", rc, SLV_E_IO, err);
    *ret_n = n;
    return 0;
}

static int ak(void *ctx, uint8_t ret[SLV_TPM_AK_MAX], size_t *ret_n, struct slv_err *err) {
    struct slv__tpm t;
    (void)ctx;
    int code = slv__tpm_call(&t, err);
    if (!code) code = load_ak(&t, ret, ret_n, err);
    slv__tpm_hang_up(&t);
    return code;
}

/* --- PCRs ------------------------------------------------------------------------------------- */

static TPML_PCR_SELECTION selection(uint32_t which) {
    TPML_PCR_SELECTION s = {.count = 1, .pcrSelections[0] = {.hash = BANK, .sizeofSelect = SELECT}};
    for (unsigned i = 0; i < SELECT; i++)
        s.pcrSelections[0].pcrSelect[i] = (BYTE)(which >> (8 * i));
    return s;
}

/* Of those asked for, which ones the answer has. */
static uint32_t selected(const TPML_PCR_SELECTION *s, uint32_t asked) {
    uint32_t which = 0;
    for (UINT32 k = 0; k < s->count; k++) {
        const TPMS_PCR_SELECTION *p = &s->pcrSelections[k];
        for (unsigned i = 0; p->hash == BANK && i < SELECT && i < p->sizeofSelect; i++)
            which |= (uint32_t)p->pcrSelect[i] << (8 * i);
    }
    return which & asked;
}

/* The values of an answer, which come in the order of their PCRs. False: they are not as many. */
static bool take_values(uint32_t which, const TPML_DIGEST *values, struct slv_tpm_pcrs *ret) {
    UINT32 n = 0;
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        if (!(which >> i & 1)) continue;
        if (n == values->count || values->digests[n].size != SLV_TPM_DIGEST) return false;
        memcpy(ret->v[i], values->digests[n++].buffer, SLV_TPM_DIGEST);
    }
    ret->which |= which;
    return n == values->count;
}

/* Of those asked for the ones that the TPM has, which hands out some at a time. */
static int read_pcrs(struct slv__tpm *t, uint32_t asked, struct slv_tpm_pcrs *ret,
                     struct slv_err *err) {
    ret->which = 0;
    while (asked & ~ret->which) {
        const uint32_t left = asked & ~ret->which;
        const TPML_PCR_SELECTION in = selection(left);
        TPML_PCR_SELECTION *out = NULL;
        TPML_DIGEST *values = NULL;
        TSS2_RC rc = Esys_PCR_Read(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &in, NULL,
                                   &out, &values);
        const uint32_t got = rc ? 0 : selected(out, left);
        const bool fits = rc || take_values(got, values, ret);
        Esys_Free(out);
        Esys_Free(values);
        if (rc) return slv__tpm_refused("shows no PCRs", rc, SLV_E_IO, err);
        if (!fits) return slv_err_set(err, SLV_E_IO, "TPM: shows other PCRs than it says");
        if (!got) break;
    }
    if (!ret->which)
        return slv_err_set(err, SLV_E_IO,
                           "TPM: has no PCRs with SHA-256: its firmware's set-up "
                           "can switch that bank on");
    return 0;
}

static TSS2_RC reset_and_extend(struct slv__tpm *t, unsigned pcr,
                                const uint8_t (*events)[SLV_TPM_DIGEST], size_t n) {
    const ESYS_TR handle = ESYS_TR_PCR0 + pcr;
    TSS2_RC rc = Esys_PCR_Reset(t->esys, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE);
    for (size_t i = 0; !rc && i < n; i++) {
        TPML_DIGEST_VALUES v = {.count = 1, .digests[0].hashAlg = BANK};
        memcpy(v.digests[0].digest.sha256, events[i], SLV_TPM_DIGEST);
        rc = Esys_PCR_Extend(t->esys, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &v);
    }
    return rc;
}

static int measure(void *ctx, unsigned pcr, const uint8_t (*events)[SLV_TPM_DIGEST], size_t n,
                   struct slv_err *err) {
    struct slv__tpm t;
    (void)ctx;
    int code = slv__tpm_call(&t, err);
    TSS2_RC rc = code ? 0 : reset_and_extend(&t, pcr, events, n);
    if (rc) code = slv__tpm_refused("takes no measurement", rc, SLV_E_IO, err);
    slv__tpm_hang_up(&t);
    return code;
}

/* --- quotes ----------------------------------------------------------------------------------- */

/* Right-aligned: TPMs may leave leading zeros out. */
static bool take_number(const TPM2B_ECC_PARAMETER *n, uint8_t ret[SLV_TPM_SIG / 2]) {
    const size_t room = SLV_TPM_SIG / 2;
    if (n->size > room) return false;
    memset(ret, 0, room);
    memcpy(ret + room - n->size, n->buffer, n->size);
    return true;
}

static bool take_quote(const TPM2B_ATTEST *attest, const TPMT_SIGNATURE *sig,
                       struct slv_tpm_quote *ret) {
    if (attest->size > SLV_TPM_ATTEST_MAX || sig->sigAlg != TPM2_ALG_ECDSA) return false;
    memcpy(ret->attest, attest->attestationData, attest->size);
    ret->attest_n = attest->size;
    return take_number(&sig->signature.ecdsa.signatureR, ret->sig) &&
           take_number(&sig->signature.ecdsa.signatureS, ret->sig + SLV_TPM_SIG / 2);
}

static int sign(struct slv__tpm *t, const uint8_t extra[SLV_TPM_DIGEST], struct slv_tpm_quote *ret,
                struct slv_err *err) {
    static const TPMT_SIG_SCHEME the_keys = {.scheme = TPM2_ALG_NULL};
    const TPML_PCR_SELECTION pcrs = selection(ret->pcrs.which);
    TPM2B_DATA data = {.size = SLV_TPM_DIGEST};
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *sig = NULL;
    memcpy(data.buffer, extra, SLV_TPM_DIGEST);
    TSS2_RC rc = Esys_Quote(t->esys, t->primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                            &data, &the_keys, &pcrs, &attest, &sig);
    const bool fits = rc || take_quote(attest, sig, ret);
    Esys_Free(attest);
    Esys_Free(sig);
    if (rc) return slv__tpm_refused("quotes no PCRs", rc, SLV_E_IO, err);
    return fits ? 0 : slv_err_set(err, SLV_E_IO, "TPM: its quote has another form");
}

static int quote(void *ctx, uint32_t pcrs, const uint8_t extra[SLV_TPM_DIGEST],
                 struct slv_tpm_quote *ret, struct slv_err *err) {
    struct slv_tpm_quote q = {0};
    struct slv__tpm t;
    (void)ctx;
    int code = slv__tpm_call(&t, err);
    if (!code) code = load_ak(&t, q.ak, &q.ak_n, err);
    if (!code) code = read_pcrs(&t, pcrs, &q.pcrs, err);
    if (!code) code = sign(&t, extra, &q, err);
    slv__tpm_hang_up(&t);
    if (!code) *ret = q;
    return code;
}

const struct slv_tpm_quoter slv_tpm_quoter_system = {ak, measure, quote, NULL};
