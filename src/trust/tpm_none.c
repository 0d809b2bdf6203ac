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

static int no_ak(void *ctx, uint8_t ret[SLV_TPM_AK_MAX], size_t *ret_n, struct slv_err *err) {
    (void)ctx;
    (void)ret;
    (void)ret_n;
    return none(err);
}

static int no_measure(void *ctx, unsigned pcr, const uint8_t (*events)[SLV_TPM_DIGEST], size_t n,
                      struct slv_err *err) {
    (void)ctx;
    (void)pcr;
    (void)events;
    (void)n;
    return none(err);
}

static int no_quote(void *ctx, uint32_t pcrs, const uint8_t extra[SLV_TPM_DIGEST],
                    struct slv_tpm_quote *ret, struct slv_err *err) {
    (void)ctx;
    (void)pcrs;
    (void)extra;
    (void)ret;
    return none(err);
}

const struct slv_tpm_quoter slv_tpm_quoter_system = {no_ak, no_measure, no_quote, NULL};
