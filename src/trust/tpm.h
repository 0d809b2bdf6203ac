/* tpm.h: what this machine's TPM 2.0 does: keep a secret that only it gives back (tpm_esys.c), and
 * sign what was measured into its PCRs (tpm_quote.c). In builds without it (tpm_none.c) each of
 * these is SLV_E_UNSUPPORTED.
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

/* --- quotes ----------------------------------------------------------------------------------- */

#define SLV_TPM_PCRS 24
#define SLV_TPM_DIGEST 32      /* SHA-256: the only bank of PCRs that is used */
#define SLV_TPM_AK_MAX 128     /* bytes of an attestation key's TPM2B_PUBLIC */
#define SLV_TPM_ATTEST_MAX 512 /* bytes of a TPMS_ATTEST */
#define SLV_TPM_SIG 64         /* ECDSA on P-256: r and s, the highest byte first */

/* Values of PCRs. */
struct slv_tpm_pcrs {
    uint32_t which; /* bit i: PCR i is among them */
    uint8_t v[SLV_TPM_PCRS][SLV_TPM_DIGEST];
};

/* What the TPM signed, as it gave it out, with the values that were read before. */
struct slv_tpm_quote {
    uint8_t ak[SLV_TPM_AK_MAX]; /* TPM2B_PUBLIC of the key */
    uint8_t attest[SLV_TPM_ATTEST_MAX];
    uint8_t sig[SLV_TPM_SIG];
    size_t ak_n, attest_n;
    struct slv_tpm_pcrs pcrs;
};

/* A TPM that quotes, or what stands for one in a test or a simulator.
 *
 * Its attestation key is a restricted signing key, ECDSA on P-256 with SHA-256: the TPM signs with
 * it what it made itself, and never bytes from outside that look so. It is a primary key of the
 * endorsement hierarchy, made anew each time from the TPM's seed and a template that never changes:
 * the same after each start, and kept nowhere. Of that hierarchy, because its seed stays when the
 * owner clears the TPM (TPM2_Clear gives the owner's a new one, and a machine could become another
 * one so), and because only for keys of it, or the platform's, a quote has the true counts of
 * resets and the firmware's version (part 1, "Attestation": others get them obfuscated).
 * Errors as slv_tpm_seal. Threads: one at a time. */
struct slv_tpm_quoter {
    /* The public part of the attestation key. */
    int (*ak)(void *ctx, uint8_t ret[SLV_TPM_AK_MAX], size_t *ret_n, struct slv_err *err);
    /* Resets a PCR and extends it with n digests, one after the other. */
    int (*measure)(void *ctx, unsigned pcr, const uint8_t (*events)[SLV_TPM_DIGEST], size_t n,
                   struct slv_err *err);
    /* Signs those of the PCRs that the TPM has, and `extra`. Values and what is signed may differ,
     * if somebody extends a PCR meanwhile. */
    int (*quote)(void *ctx, uint32_t pcrs, const uint8_t extra[SLV_TPM_DIGEST],
                 struct slv_tpm_quote *ret, struct slv_err *err);
    void *ctx;
};

/* This machine's. Each call connects to the TPM and leaves nothing in it. */
extern const struct slv_tpm_quoter slv_tpm_quoter_system;

#endif
