/* tpm_none.c: tpm.h in builds that have no TPM support. */
#include "trust/tpm.h"

bool slv_tpm_built(void) { return false; }

static int none(struct slv_err *err) {
    return slv_err_set(err, SLV_E_UNSUPPORTED, "TPM: this program was built without it");
}

int slv_tpm_seal(const uint8_t secret[SLV_TPM_SECRET], uint8_t ret[SLV_TPM_BLOB_MAX], size_t *ret_n,
                 struct slv_err *err) {
    (void)secret;
    (void)ret;
    (void)ret_n;
    return none(err);
}

int slv_tpm_unseal(const uint8_t *blob, size_t n, uint8_t ret[SLV_TPM_SECRET],
                   struct slv_err *err) {
    (void)blob;
    (void)n;
    (void)ret;
    return none(err);
}
