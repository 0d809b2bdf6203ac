/* attest_check.c: the verifier's side of attest.h. Everything here was sent by somebody. What is
 * checked first is whose word it is, then whether it was given to us, then what it says. */
#include "trust/attest.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#define HEX_MAX SLV_HEX(SLV_TPM_DIGEST)

struct judged {
    struct slv_evidence e;
    struct slv_ak ak;
    struct slv_quoted q;
    uint8_t extra[SLV_TPM_DIGEST];
    const struct slv_attest_want *want;
};

/* --- the signature ---------------------------------------------------------------------------- */

/* NULL: the point is not on the curve. */
static EVP_PKEY *key_of(const struct slv_ak *ak) {
    char curve[] = "prime256v1";
    uint8_t point[sizeof ak->point];
    EVP_PKEY *key = NULL;
    memcpy(point, ak->point, sizeof point);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* As OpenSSL takes it: DER. 0: it cannot be written. */
static size_t put_der(const uint8_t sig[SLV_TPM_SIG], uint8_t **ret) {
    BIGNUM *r = BN_bin2bn(sig, SLV_TPM_SIG / 2, NULL);
    BIGNUM *s = BN_bin2bn(sig + SLV_TPM_SIG / 2, SLV_TPM_SIG / 2, NULL);
    ECDSA_SIG *es = ECDSA_SIG_new();
    int n = -1;
    if (r && s && es && ECDSA_SIG_set0(es, r, s) == 1) {
        r = s = NULL; /* es has them */
        n = i2d_ECDSA_SIG(es, ret);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(es);
    return n > 0 ? (size_t)n : 0;
}

static bool is_signed(const struct slv_ak *ak, const struct slv_tpm_quote *q) {
    uint8_t *der = NULL;
    const size_t n = put_der(q->sig, &der);
    EVP_PKEY *key = key_of(ak);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const bool ok = n && key && md &&
                    EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
                    EVP_DigestVerify(md, der, n, q->attest, q->attest_n) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    ERR_clear_error(); /* others look at this thread's */
    return ok;
}

/* --- one check each --------------------------------------------------------------------------- */

static bool is_listed(const struct slv_attest_list *l, const uint8_t digest[SLV_TPM_DIGEST]) {
    for (size_t i = 0; i < l->n; i++)
        if (!memcmp(l->v[i], digest, SLV_TPM_DIGEST)) return true;
    return l->any;
}

static int check_listed(const struct slv_attest_list *l, const uint8_t digest[SLV_TPM_DIGEST],
                        const char *name, struct slv_err *err) {
    char hex[HEX_MAX];
    if (is_listed(l, digest)) return 0;
    slv_hex_write(digest, SLV_TPM_DIGEST, hex);
    return slv_err_set(err, SLV_E_TRUST, "%s %s is not an expected one", name, hex);
}

static int check_ak(const struct judged *j, struct slv_err *err) {
    return check_listed(&j->want->aks, j->ak.name, "attestation key", err);
}

static int check_signature(const struct judged *j, struct slv_err *err) {
    if (is_signed(&j->ak, &j->e.quote)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "its attestation key did not sign the quote");
}

static int check_signer(const struct judged *j, struct slv_err *err) {
    if (!memcmp(j->ak.qualified, j->q.signer, sizeof j->q.signer)) return 0;
    return slv_err_set(err, SLV_E_TRUST,
                       "the quote does not name its attestation key, as one of the TPM's "
                       "endorsement hierarchy");
}

static int check_extra(const struct judged *j, struct slv_err *err) {
    if (!memcmp(j->extra, j->q.extra, sizeof j->extra)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "it was made for another nonce, or for another node");
}

static int check_pcrs(const struct judged *j, struct slv_err *err) {
    uint8_t digest[SLV_TPM_DIGEST];
    if (j->e.quote.pcrs.which != j->q.pcrs)
        return slv_err_set(err, SLV_E_TRUST, "its PCRs are not those that were quoted");
    if (j->q.pcrs & ~SLV_ATTEST_PCRS || !(j->q.pcrs >> SLV_ATTEST_PCR & 1))
        return slv_err_set(err, SLV_E_TRUST, "PCRs 0 to 7 and %d are to be quoted, and no others",
                           SLV_ATTEST_PCR);
    slv_pcrs_digest(&j->e.quote.pcrs, digest);
    if (!memcmp(digest, j->q.digest, sizeof digest)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "its values of PCRs are not those that were quoted");
}

static int check_events(const struct judged *j, struct slv_err *err) {
    uint8_t pcr[SLV_TPM_DIGEST];
    slv_pcr_replay(j->e.events, 2, pcr);
    if (!memcmp(pcr, j->e.quote.pcrs.v[SLV_ATTEST_PCR], sizeof pcr)) return 0;
    return slv_err_set(err, SLV_E_TRUST,
                       "its hashes of binary and policy are not what PCR %d was extended with",
                       SLV_ATTEST_PCR);
}

static int check_binary(const struct judged *j, struct slv_err *err) {
    return check_listed(&j->want->binaries, j->e.events[0], "binary", err);
}

static int check_policy(const struct judged *j, struct slv_err *err) {
    return check_listed(&j->want->policies, j->e.events[1], "policy", err);
}

static int check_wanted(const struct judged *j, struct slv_err *err) {
    const struct slv_tpm_pcrs *want = &j->want->pcrs, *are = &j->e.quote.pcrs;
    char hex[HEX_MAX];
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        if (!(want->which >> i & 1)) continue;
        if (!(are->which >> i & 1))
            return slv_err_set(err, SLV_E_TRUST, "PCR %u was not quoted", i);
        if (!memcmp(want->v[i], are->v[i], SLV_TPM_DIGEST)) continue;
        slv_hex_write(are->v[i], SLV_TPM_DIGEST, hex);
        return slv_err_set(err, SLV_E_TRUST, "PCR %u is %s, which is not expected", i, hex);
    }
    return 0;
}

static int (*const checks[])(const struct judged *j, struct slv_err *err) = {
    check_ak,     check_signature, check_signer, check_extra,  check_pcrs,
    check_events, check_binary,    check_policy, check_wanted,
};

/* --- all of them ------------------------------------------------------------------------------ */

static int read_all(const char *text, size_t n, const char *what, struct judged *j,
                    struct slv_err *err) {
    int rc = slv_evidence_parse(text, n, what, &j->e, err);
    if (rc) return rc;
    rc = slv_ak_parse(j->e.quote.ak, j->e.quote.ak_n, &j->ak, err);
    if (!rc) rc = slv_quoted_parse(j->e.quote.attest, j->e.quote.attest_n, &j->q, err);
    return rc ? slv_err_prefix(err, rc, "%s", what) : 0;
}

static void report(const struct judged *j, struct slv_attest_report *ret) {
    *ret = (struct slv_attest_report){.pcrs = j->e.quote.pcrs, .quoted = j->q};
    memcpy(ret->ak, j->ak.name, sizeof ret->ak);
    memcpy(ret->events, j->e.events, sizeof ret->events);
}

int slv_attest_read(const char *text, size_t n, const char *what, struct slv_attest_report *ret,
                    struct slv_err *err) {
    struct judged j;
    const int rc = read_all(text, n, what, &j, err);
    if (!rc) report(&j, ret);
    return rc;
}

int slv_attest_verify(const char *text, size_t n, const char *what,
                      const uint8_t nonce[SLV_ATTEST_NONCE], const uint8_t node[SLV_PUB_BYTES],
                      const struct slv_attest_want *want, struct slv_attest_report *ret,
                      struct slv_err *err) {
    struct judged j;
    int rc = read_all(text, n, what, &j, err);
    if (rc) return rc;
    slv_attest_extra(nonce, node, j.extra);
    j.want = want;
    for (size_t i = 0; !rc && i < sizeof checks / sizeof *checks; i++)
        rc = checks[i](&j, err);
    if (rc) return slv_err_prefix(err, rc, "%s", what);
    report(&j, ret);
    return 0;
}
