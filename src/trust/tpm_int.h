/* tpm_int.h: the connection to a TPM, through libtss2, for what seals (tpm_esys.c) and what quotes
 * (tpm_quote.c). Everything that is loaded is flushed when it ends: a TPM without a resource
 * manager has room for three objects. */
#ifndef SLV_TRUST_TPM_INT_H
#define SLV_TRUST_TPM_INT_H

#include "trust/tpm.h"

#include <tss2/tss2_esys.h>

struct slv__tpm {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR primary, session, object; /* ESYS_TR_NONE: none */
};

/* Connects; *t is the caller's, for slv__tpm_hang_up, also on failure. */
int slv__tpm_call(struct slv__tpm *t, struct slv_err *err) SLV_MUST_USE;
void slv__tpm_hang_up(struct slv__tpm *t);

/* "TPM: WHAT: WHY". Returns `code`. */
int slv__tpm_refused(const char *what, TSS2_RC rc, int code, struct slv_err *err);

#endif
