/* quoted.h: two structures of a TPM 2.0 that come from elsewhere, read strictly: only the one form
 * that our own quotes and keys have (tpm.h) is taken, every size is checked against the bytes that
 * are there, and none may be left over. Numbers have their highest byte first.
 *
 *     TPMS_ATTEST    magic "\xffTCG", type 0x8018 (a quote), qualified signer, extra data, clock,
 *                    counts of resets and restarts, whether the clock is safe, firmware's version,
 *                    selection of PCRs, digest of their values
 *     TPM2B_PUBLIC   size, type ECC, name's hash SHA-256, attributes, no policy, no symmetric
 *                    cipher, ECDSA with SHA-256, P-256, no key derivation, x, y
 *
 * Threads: any. Source: TCG TPM 2.0 Library, part 2: 10.12.12 (TPMS_ATTEST), 12.2.5
 * (TPM2B_PUBLIC); part 1, 16 (names). */
#ifndef SLV_TRUST_QUOTED_H
#define SLV_TRUST_QUOTED_H

#include "trust/tpm.h"

#define SLV_TPM_NAME (2 + SLV_TPM_DIGEST) /* the hash's number, and a digest */

struct slv_quoted {
    uint8_t signer[SLV_TPM_NAME];  /* qualified name of the key that signed */
    uint8_t extra[SLV_TPM_DIGEST]; /* what whoever asked wanted in it */
    uint64_t clock_ms;             /* for how long the TPM has run, all in all */
    uint32_t resets, restarts;     /* power cycles; wake-ups since the last one */
    bool safe;                     /* the clock was never higher than now */
    uint64_t firmware;
    uint32_t pcrs; /* bit i: PCR i was signed */
    uint8_t digest[SLV_TPM_DIGEST];
};
/* p[0..n) as a TPMS_ATTEST. SLV_E_FORMAT "quote: malformed FIELD". */
int slv_quoted_parse(const uint8_t *p, size_t n, struct slv_quoted *ret,
                     struct slv_err *err) SLV_MUST_USE;

struct slv_ak {
    uint8_t point[1 + 2 * 32];       /* uncompressed: 4, x, y. It need not lie on the curve */
    uint8_t name[SLV_TPM_DIGEST];    /* SHA-256 of the public area: what tells keys apart */
    uint8_t qualified[SLV_TPM_NAME]; /* as a primary key of the endorsement hierarchy */
};
/* p[0..n) as the TPM2B_PUBLIC of an attestation key. SLV_E_FORMAT "ak: malformed FIELD". */
int slv_ak_parse(const uint8_t *p, size_t n, struct slv_ak *ret, struct slv_err *err) SLV_MUST_USE;

/* The digest that a TPM signs of those values. */
void slv_pcrs_digest(const struct slv_tpm_pcrs *pcrs, uint8_t ret[SLV_TPM_DIGEST]);
/* What a PCR is that was reset and then extended with n digests. */
void slv_pcr_replay(const uint8_t (*events)[SLV_TPM_DIGEST], size_t n, uint8_t ret[SLV_TPM_DIGEST]);

#endif
