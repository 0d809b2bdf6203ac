/* tpm.h: a secret that only this machine's TPM 2.0 gives back (tpm_esys.c; tpm_none.c in builds
 * without it, where each of these is SLV_E_UNSUPPORTED).
 *
 * The secret becomes an object of the TPM's owner hierarchy, encrypted by the TPM under a key that
 * never leaves it: copied to another machine, or after the TPM was cleared, it is of no use. On the
 * way to and from the TPM it is encrypted too, so that the bus between them gives nothing away.
 *
 * Which TPM: $SELVAGE_TPM, as the TSS names it ("device:/dev/tpmrm0", "swtpm:port=2321"); else the
 * one the TSS finds. Source: TCG TPM 2.0 Library, parts 1 and 3; TCG TSS 2.0 ESAPI. */
#ifndef SLV_TRUST_TPM_H
#define SLV_TRUST_TPM_H

#include "base/err.h"

#define SLV_TPM_SECRET 32
#define SLV_TPM_BLOB_MAX 1024 /* bytes of an object as it is kept */

/* Whether this build can use a TPM. */
bool slv_tpm_built(void);

/* SLV_E_UNSUPPORTED, SLV_E_IO "TPM: WHAT: WHY", SLV_E_NOMEM. */
int slv_tpm_seal(const uint8_t secret[SLV_TPM_SECRET], uint8_t ret[SLV_TPM_BLOB_MAX], size_t *ret_n,
                 struct slv_err *err) SLV_MUST_USE;
/* As above, and SLV_E_TRUST: this TPM did not make it. */
int slv_tpm_unseal(const uint8_t *blob, size_t n, uint8_t ret[SLV_TPM_SECRET],
                   struct slv_err *err) SLV_MUST_USE;

#endif
