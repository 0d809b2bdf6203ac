/* evidence.c: see evidence.h. */
#include "trust/evidence.h"
#include "trust/fields.h"

#include <stdio.h>
#include <string.h>

#define TITLE "selvage attestation 1"
#define PCR_NAME 8 /* bytes of "pcr 23" */

_Static_assert(2 * (SLV_TPM_AK_MAX + SLV_TPM_ATTEST_MAX + SLV_TPM_SIG +
                    (SLV_TPM_PCRS + 2) * (SLV_TPM_DIGEST + PCR_NAME)) +
                       256 <
                   SLV_EVIDENCE_MAX,
               "the longest");

/* Two digits at most, which the compiler is to see. */
static const char *pcr_name(unsigned i, char ret[PCR_NAME]) {
    snprintf(ret, PCR_NAME, "pcr %u", i % 100);
    return ret;
}

int slv_evidence_write(const struct slv_evidence *e, struct slv_buf *out) {
    const struct slv_tpm_quote *q = &e->quote;
    char name[PCR_NAME];
    slv_buf_adds(out, TITLE "\n");
    slv_fields_put_bytes(out, "ak", q->ak, q->ak_n);
    slv_fields_put_bytes(out, "quote", q->attest, q->attest_n);
    slv_fields_put_bytes(out, "signature", q->sig, sizeof q->sig);
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++)
        if (q->pcrs.which >> i & 1)
            slv_fields_put_bytes(out, pcr_name(i, name), q->pcrs.v[i], SLV_TPM_DIGEST);
    slv_fields_put_bytes(out, "binary", e->events[0], SLV_TPM_DIGEST);
    slv_fields_put_bytes(out, "policy", e->events[1], SLV_TPM_DIGEST);
    return out->status;
}

/* `name` goes with a field that is missed; so it must last. */
static void read_pcrs(struct slv_fields *f, char names[SLV_TPM_PCRS][PCR_NAME],
                      struct slv_tpm_pcrs *ret) {
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        if (!slv_fields_next_is(f, pcr_name(i, names[i]))) continue;
        slv_fields_bytes(f, names[i], ret->v[i], SLV_TPM_DIGEST);
        ret->which |= UINT32_C(1) << i;
    }
}

int slv_evidence_parse(const char *text, size_t n, const char *what, struct slv_evidence *ret,
                       struct slv_err *err) {
    char names[SLV_TPM_PCRS][PCR_NAME];
    struct slv_evidence e = {0};
    struct slv_fields f;
    if (n > SLV_EVIDENCE_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s: evidence is at most %zu bytes", what,
                           SLV_EVIDENCE_MAX);
    slv_fields_init(&f, text, n, TITLE);
    slv_fields_blob(&f, "ak", e.quote.ak, sizeof e.quote.ak, &e.quote.ak_n);
    slv_fields_blob(&f, "quote", e.quote.attest, sizeof e.quote.attest, &e.quote.attest_n);
    slv_fields_bytes(&f, "signature", e.quote.sig, sizeof e.quote.sig);
    read_pcrs(&f, names, &e.quote.pcrs);
    slv_fields_bytes(&f, "binary", e.events[0], SLV_TPM_DIGEST);
    slv_fields_bytes(&f, "policy", e.events[1], SLV_TPM_DIGEST);
    const int rc = slv_fields_check(&f, what, err);
    if (!rc) *ret = e;
    return rc;
}
