/* soft_tpm.h: what stands for a TPM that quotes: a key in memory, and PCRs that anybody may extend.
 * It writes the structures of TCG's part 2 by itself, so that what reads them is not its own judge.
 * What fails, aborts: it serves fuzz targets too. */
#ifndef SLV_TESTS_SOFT_TPM_H
#define SLV_TESTS_SOFT_TPM_H

#include "trust/tpm.h"

#include <openssl/evp.h>

struct soft_tpm {
    struct slv_tpm_quoter quoter; /* hand this out */
    EVP_PKEY *key;
    uint8_t ak[SLV_TPM_AK_MAX], name[SLV_TPM_DIGEST];
    size_t ak_n;
    struct slv_tpm_pcrs pcrs; /* which: those of its bank */
    unsigned measured;        /* calls */
    unsigned disturb; /* so many quotes from now on find PCR 23 extended by another program */
    unsigned tear;    /* .. or extended between the reading and the signing */
};

/* short_point: a key whose x begins with a zero, which is left out. */
void soft_tpm_init(struct soft_tpm *t, bool short_point);
void soft_tpm_fini(struct soft_tpm *t);
void soft_tpm_extend(struct soft_tpm *t, unsigned pcr, const uint8_t digest[SLV_TPM_DIGEST]);
/* Signs any n bytes with the key. */
void soft_tpm_sign(const struct soft_tpm *t, const uint8_t *p, size_t n, uint8_t ret[SLV_TPM_SIG]);

#endif
