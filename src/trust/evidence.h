/* evidence.h: what a node shows of itself when it is asked (attest.h), as text:
 *
 *     selvage attestation 1
 *     ak 0058002300..          the attestation key: TPM2B_PUBLIC (quoted.h)
 *     quote ff544347..         what it signed: TPMS_ATTEST
 *     signature 5ab3c47e..     ECDSA on P-256 with SHA-256: r and s
 *     pcr 0 3d458cfe..         the values that were quoted, lowest PCR first
 *     ..
 *     pcr 23 8e11ff02..
 *     binary 90ab617c..        SHA-256 of the program, and
 *     policy e3b0c442..        of its policy: in this order they were measured into PCR 23
 *
 * There is one way to write each (fields.h), so evidence that reads well is, to the byte, what was
 * written. Reading says nothing of whether it is true: that is slv_attest_verify. Threads: any. */
#ifndef SLV_TRUST_EVIDENCE_H
#define SLV_TRUST_EVIDENCE_H

#include "base/buf.h"
#include "trust/quoted.h"

#define SLV_EVIDENCE_MAX ((size_t)8192) /* bytes of text */

struct slv_evidence {
    struct slv_tpm_quote quote;
    uint8_t events[2][SLV_TPM_DIGEST]; /* binary, policy */
};

/* Appends it. Errors are the buffer's. */
int slv_evidence_write(const struct slv_evidence *e, struct slv_buf *out) SLV_MUST_USE;

/* text[0..n), which messages call `what`. SLV_E_FORMAT; SLV_E_LIMIT: too long. */
int slv_evidence_parse(const char *text, size_t n, const char *what, struct slv_evidence *ret,
                       struct slv_err *err) SLV_MUST_USE;

#endif
