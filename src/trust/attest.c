/* attest.c: the node's side of attest.h. */
#include "trust/attest.h"
#include "base/file.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define PURPOSE "selvage attest 1"
#define TRIES 4

struct slv_attest {
    const struct slv_tpm_quoter *tpm;
    struct slv_attest_self self;
    uint8_t pcr[SLV_TPM_DIGEST]; /* what the events make of it */
};

void slv_attest_extra(const uint8_t nonce[SLV_ATTEST_NONCE], const uint8_t node[SLV_PUB_BYTES],
                      uint8_t ret[SLV_TPM_DIGEST]) {
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const uint8_t *)PURPOSE, sizeof PURPOSE - 1);
    crypto_hash_sha256_update(&h, nonce, SLV_ATTEST_NONCE);
    crypto_hash_sha256_update(&h, node, SLV_PUB_BYTES);
    crypto_hash_sha256_final(&h, ret);
}

/* Nobody can write to a file that runs; replaced, it is still the one that is mapped. */
static int hash_program(uint8_t ret[SLV_TPM_DIGEST], struct slv_err *err) {
    struct slv_map map;
    int rc = slv_map_open("/proc/self/exe", &map, err);
    if (rc) return rc;
    crypto_hash_sha256(ret, map.data, map.size);
    slv_map_close(&map);
    return 0;
}

static int measure(const struct slv_attest *a, struct slv_err *err) {
    return a->tpm->measure(a->tpm->ctx, SLV_ATTEST_PCR, a->self.events, 2, err);
}

static int ask_ak(struct slv_attest *a, struct slv_err *err) {
    struct slv_attest_self *s = &a->self;
    struct slv_ak ak;
    int rc = a->tpm->ak(a->tpm->ctx, s->ak_public, &s->ak_public_n, err);
    if (rc) return rc;
    rc = slv_ak_parse(s->ak_public, s->ak_public_n, &ak, err);
    if (rc) return slv_err_prefix(err, rc, "TPM");
    memcpy(s->ak, ak.name, sizeof s->ak);
    return 0;
}

int slv_attest_open(const struct slv_tpm_quoter *tpm, const void *policy, size_t n,
                    struct slv_attest **ret, struct slv_err *err) {
    struct slv_attest *a = slv_mem_calloc(1, sizeof *a);
    if (!a) return slv_err_set(err, SLV_E_NOMEM, "attestation: out of memory");
    a->tpm = tpm ? tpm : &slv_tpm_quoter_system;
    int rc = hash_program(a->self.events[0], err);
    crypto_hash_sha256(a->self.events[1], n ? policy : (const void *)"", n);
    slv_pcr_replay((const uint8_t(*)[SLV_TPM_DIGEST])a->self.events, 2, a->pcr);
    if (!rc) rc = ask_ak(a, err);
    if (!rc) rc = measure(a, err);
    if (rc) slv_attest_close(a);
    else *ret = a;
    return rc;
}

void slv_attest_close(struct slv_attest *a) { slv_mem_free(a); }
const struct slv_attest_self *slv_attest_self(const struct slv_attest *a) { return &a->self; }

/* --- quotes ----------------------------------------------------------------------------------- */

static int check_has_pcr(const struct slv_tpm_quote *q, struct slv_err *err) {
    if (q->pcrs.which >> SLV_ATTEST_PCR & 1) return 0;
    return slv_err_set(err, SLV_E_IO, "TPM: has no PCR %d with SHA-256", SLV_ATTEST_PCR);
}

/* Whether the values are those that were signed. */
static int check_values(const struct slv_tpm_quote *q, bool *ret_same, struct slv_err *err) {
    uint8_t digest[SLV_TPM_DIGEST];
    struct slv_quoted quoted;
    int rc = slv_quoted_parse(q->attest, q->attest_n, &quoted, err);
    if (rc) return slv_err_prefix(err, rc, "TPM");
    slv_pcrs_digest(&q->pcrs, digest);
    *ret_same = !memcmp(digest, quoted.digest, sizeof digest);
    return 0;
}

/* *ret_good: values are what was signed, and the PCR is as it was measured. */
static int try_quote(const struct slv_attest *a, const uint8_t extra[SLV_TPM_DIGEST],
                     struct slv_tpm_quote *ret, bool *ret_good, struct slv_err *err) {
    bool same = false;
    int rc = a->tpm->quote(a->tpm->ctx, SLV_ATTEST_PCRS, extra, ret, err);
    if (!rc) rc = check_has_pcr(ret, err);
    if (!rc) rc = check_values(ret, &same, err);
    if (rc) return rc;
    const bool ours = !memcmp(ret->pcrs.v[SLV_ATTEST_PCR], a->pcr, sizeof a->pcr);
    *ret_good = same && ours;
    return ours ? 0 : measure(a, err);
}

int slv_attest_quote(struct slv_attest *a, const uint8_t nonce[SLV_ATTEST_NONCE],
                     const uint8_t node[SLV_PUB_BYTES], struct slv_buf *out, struct slv_err *err) {
    struct slv_evidence e;
    uint8_t extra[SLV_TPM_DIGEST];
    bool good = false;
    int rc = 0;
    slv_attest_extra(nonce, node, extra);
    for (int i = 0; !rc && !good && i < TRIES; i++)
        rc = try_quote(a, extra, &e.quote, &good, err);
    if (rc) return rc;
    if (!good)
        return slv_err_set(err, SLV_E_BUSY,
                           "TPM: another program changes PCRs while they are "
                           "quoted: none may use PCR %d",
                           SLV_ATTEST_PCR);
    memcpy(e.events, a->self.events, sizeof e.events);
    rc = slv_evidence_write(&e, out);
    return rc ? slv_err_set(err, rc, "attestation: %s", slv_strerror(rc)) : 0;
}
