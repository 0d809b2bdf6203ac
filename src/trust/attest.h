/* attest.h: a node shows what it runs, and another one judges it.
 *
 *     open     hash the running program and its policy, measure both into PCR 23 of the TPM
 *     quote    for a nonce: the TPM signs PCRs 0 to 7 and 23 (SHA-256 bank) and
 *              SHA-256("selvage attest 1" || nonce || the node's Ed25519 key); out comes evidence
 *              (evidence.h)
 *     verify   without a TPM: is it this nonce's and this node's, did an expected key sign it, do
 *              the values and hashes fit the signature, are they the expected ones?
 *
 * What evidence proves, if its attestation key is known to be that of a machine's TPM (it was
 * written down where that could be seen; `any_ak` proves nothing of a TPM, since anybody can make
 * such a key and sign what he likes): after the nonce was drawn, that machine's TPM had these PCR
 * values, and was asked for that node's key. PCRs 0 to 7 are written by the firmware and the boot
 * loader and can be reset only by a restart: they bind which firmware, settings and Secure Boot
 * keys the machine came up with.
 *
 * What it does not prove. PCR 23 is there for programs: any that may use the TPM can reset it, at
 * locality 0, and extend it with what it likes. So it holds what software on that machine said of
 * itself. It finds the node that runs an old version, a wrong build or another policy, and the one
 * that is not on that machine; it does not find an attacker who is root there, or in the TPM's
 * group, and keeps a good program's hash at hand. It becomes as strong as what was booted only
 * where the verifier demands values of PCRs 0 to 7 and those stand for a system that starts no
 * other programs. Shared libraries, models, memory and what happens after the start are not
 * measured.
 *
 * Why PCR 23 (TCG PC Client Platform TPM Profile: "application support"): 16 is the other one that
 * can be reset, but for debugging: no value of it means anything. Those that cannot be reset (8 to
 * 15) have owners (boot loader, kernel, systemd), and a program that starts many times a day
 * would lengthen them each time. No other program on the machine may use PCR 23.
 *
 * Nor does evidence show that who sends it has the node's secret key: the link over which it came
 * must have shown that.
 *
 * Source: TCG TPM 2.0 Library parts 1 to 3 (TPM2_Quote, PCR_Reset, PCR_Extend). */
#ifndef SLV_TRUST_ATTEST_H
#define SLV_TRUST_ATTEST_H

#include "trust/evidence.h"
#include "trust/pub.h"

#define SLV_ATTEST_NONCE 32
#define SLV_ATTEST_PCR 23
#define SLV_ATTEST_PCRS (0xffu | 1u << SLV_ATTEST_PCR) /* those that are quoted, where there */

/* --- the node --------------------------------------------------------------------------------- */

struct slv_attest;

/* Hashes /proc/self/exe, which is the running program also after its file was replaced, and the
 * policy (any n bytes of the caller's that say what the node was told to do, written in one way;
 * none is n = 0), and measures both. `tpm` is borrowed until close; NULL: this machine's. As the
 * quoter fails; SLV_E_IO, SLV_E_NOMEM. The TPM is called twice. */
int slv_attest_open(const struct slv_tpm_quoter *tpm, const void *policy, size_t n,
                    struct slv_attest **ret, struct slv_err *err) SLV_MUST_USE;
void slv_attest_close(struct slv_attest *a);

/* Borrowed: the public part of the attestation key; the digest by which a verifier knows it; the
 * digests that were measured. */
struct slv_attest_self {
    uint8_t ak_public[SLV_TPM_AK_MAX]; /* TPM2B_PUBLIC */
    size_t ak_public_n;
    uint8_t ak[SLV_TPM_DIGEST]; /* SHA-256 of the public area: the TPM's name for it */
    uint8_t events[2][SLV_TPM_DIGEST];
};
const struct slv_attest_self *slv_attest_self(const struct slv_attest *a);

/* Appends evidence for the nonce, in the name of the node with that key. Where another program has
 * changed PCR 23 since it was measured, it is measured again. As the quoter fails; SLV_E_BUSY: PCRs
 * were changed four times over while they were quoted. Threads: one at a time, and since the TPM is
 * asked, not one that has a deadline. */
int slv_attest_quote(struct slv_attest *a, const uint8_t nonce[SLV_ATTEST_NONCE],
                     const uint8_t node[SLV_PUB_BYTES], struct slv_buf *out,
                     struct slv_err *err) SLV_MUST_USE;

/* --- the verifier ----------------------------------------------------------------------------- */

/* Digests that will do. None at all: nothing will. */
struct slv_attest_list {
    const uint8_t (*v)[SLV_TPM_DIGEST]; /* borrowed */
    size_t n;
    bool any;
};

/* What is expected of a node. */
struct slv_attest_want {
    struct slv_attest_list aks, binaries, policies;
    struct slv_tpm_pcrs pcrs; /* these PCRs must be quoted, and have these values */
};

/* What evidence says. */
struct slv_attest_report {
    uint8_t ak[SLV_TPM_DIGEST];
    uint8_t events[2][SLV_TPM_DIGEST]; /* binary, policy */
    struct slv_tpm_pcrs pcrs;
    struct slv_quoted quoted;
};

/* Judges text[0..n), which came from somebody, whom messages call `what`. The nonce is random, and
 * evidence for it is taken once: that is for the caller to see to. SLV_E_FORMAT: it is
 * malformed; SLV_E_LIMIT; SLV_E_TRUST and one line that says why: the first of these that is so:
 * the attestation key is not expected; it did not sign the quote, or the quote names another one;
 * the quote is for another nonce or node; values, or hashes, are not those that were quoted; a
 * hash, or a PCR's value, is not expected. Where OpenSSL has no memory left to check the
 * signature, that is as one that is wrong. Threads: any. */
int slv_attest_verify(const char *text, size_t n, const char *what,
                      const uint8_t nonce[SLV_ATTEST_NONCE], const uint8_t node[SLV_PUB_BYTES],
                      const struct slv_attest_want *want, struct slv_attest_report *ret,
                      struct slv_err *err) SLV_MUST_USE;

/* What the text says, without judging it: nothing of it need be true. SLV_E_FORMAT, SLV_E_LIMIT. */
int slv_attest_read(const char *text, size_t n, const char *what, struct slv_attest_report *ret,
                    struct slv_err *err) SLV_MUST_USE;

/* What the TPM is given to sign with its PCRs. */
void slv_attest_extra(const uint8_t nonce[SLV_ATTEST_NONCE], const uint8_t node[SLV_PUB_BYTES],
                      uint8_t ret[SLV_TPM_DIGEST]);

#endif
