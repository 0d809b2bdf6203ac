/* soft_tpm.c: see soft_tpm.h. */
#include "soft_tpm.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define PCR_OURS 23

static void require(bool ok) {
    if (!ok) abort();
}

static void put(uint8_t **p, size_t bytes, uint64_t v) {
    while (bytes-- > 0)
        *(*p)++ = (uint8_t)(v >> (8 * bytes));
}

static void put_sized(uint8_t **p, const uint8_t *s, size_t n) {
    put(p, 2, n);
    memcpy(*p, s, n);
    *p += n;
}

/* --- the key ---------------------------------------------------------------------------------- */

static void get_point(const EVP_PKEY *key, uint8_t ret[65]) {
    size_t n = 0;
    require(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, ret, 65, &n) == 1);
    require(n == 65 && ret[0] == 4);
}

static void put_ak(struct soft_tpm *t, const uint8_t point[65]) {
    uint8_t *p = t->ak + 2, *size = t->ak;
    const size_t cut = point[1] ? 0 : 1;
    put(&p, 2, 0x0023);     /* ECC */
    put(&p, 2, 0x000b);     /* named by SHA-256 */
    put(&p, 4, 0x00050472); /* fixed, restricted, signs */
    put(&p, 2, 0);          /* no policy */
    put(&p, 2, 0x0010);     /* no symmetric cipher */
    put(&p, 2, 0x0018);     /* ECDSA */
    put(&p, 2, 0x000b);     /* with SHA-256 */
    put(&p, 2, 0x0003);     /* P-256 */
    put(&p, 2, 0x0010);     /* no key derivation */
    put_sized(&p, point + 1 + cut, 32 - cut);
    put_sized(&p, point + 33, 32);
    t->ak_n = (size_t)(p - t->ak);
    put(&size, 2, t->ak_n - 2);
    SHA256(t->ak + 2, t->ak_n - 2, t->name);
}

void soft_tpm_sign(const struct soft_tpm *t, const uint8_t *p, size_t n, uint8_t ret[SLV_TPM_SIG]) {
    uint8_t der[128];
    const uint8_t *at = der;
    size_t size = sizeof der;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    require(md && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, t->key) == 1);
    require(EVP_DigestSign(md, der, &size, p, n) == 1);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)size);
    require(sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, 32) == 32 &&
            BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + 32, 32) == 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(md);
}

/* --- what it is asked ------------------------------------------------------------------------- */

void soft_tpm_extend(struct soft_tpm *t, unsigned pcr, const uint8_t digest[SLV_TPM_DIGEST]) {
    uint8_t both[2 * SLV_TPM_DIGEST];
    memcpy(both, t->pcrs.v[pcr], SLV_TPM_DIGEST);
    memcpy(both + SLV_TPM_DIGEST, digest, SLV_TPM_DIGEST);
    SHA256(both, sizeof both, t->pcrs.v[pcr]);
}

static int ak(void *ctx, uint8_t ret[SLV_TPM_AK_MAX], size_t *ret_n, struct slv_err *err) {
    const struct soft_tpm *t = ctx;
    (void)err;
    memcpy(ret, t->ak, t->ak_n);
    *ret_n = t->ak_n;
    return 0;
}

static int measure(void *ctx, unsigned pcr, const uint8_t (*events)[SLV_TPM_DIGEST], size_t n,
                   struct slv_err *err) {
    struct soft_tpm *t = ctx;
    (void)err;
    require(pcr < SLV_TPM_PCRS);
    memset(t->pcrs.v[pcr], 0, SLV_TPM_DIGEST);
    for (size_t i = 0; i < n; i++)
        soft_tpm_extend(t, pcr, events[i]);
    t->measured++;
    return 0;
}

static void digest_of(const struct slv_tpm_pcrs *pcrs, uint8_t ret[SLV_TPM_DIGEST]) {
    uint8_t all[SLV_TPM_PCRS * SLV_TPM_DIGEST];
    size_t n = 0;
    for (unsigned i = 0; i < SLV_TPM_PCRS; i++) {
        if (!(pcrs->which >> i & 1)) continue;
        memcpy(all + n, pcrs->v[i], SLV_TPM_DIGEST);
        n += SLV_TPM_DIGEST;
    }
    SHA256(all, n, ret);
}

static size_t put_attest(const struct soft_tpm *t, const struct slv_tpm_pcrs *pcrs,
                         const uint8_t extra[SLV_TPM_DIGEST], uint8_t *ret) {
    uint8_t name[2 + SLV_TPM_DIGEST], parent[4 + sizeof name], digest[SLV_TPM_DIGEST];
    uint8_t *p = name, *at = parent;
    put(&p, 2, 0x000b);
    memcpy(p, t->name, sizeof t->name);
    put(&at, 4, 0x4000000b); /* the endorsement hierarchy */
    memcpy(at, name, sizeof name);
    SHA256(parent, sizeof parent, name + 2);
    digest_of(pcrs, digest);
    p = ret;
    put(&p, 4, 0xff544347);
    put(&p, 2, 0x8018);
    put_sized(&p, name, sizeof name);
    put_sized(&p, extra, SLV_TPM_DIGEST);
    put(&p, 8, 1234567); /* clock */
    put(&p, 4, 17);      /* resets */
    put(&p, 4, 3);       /* restarts */
    put(&p, 1, 1);       /* safe */
    put(&p, 8, 0x0102030405060708);
    put(&p, 4, 1);
    put(&p, 2, 0x000b);
    put(&p, 1, 3);
    for (unsigned i = 0; i < 3; i++)
        put(&p, 1, pcrs->which >> (8 * i) & 0xff);
    put_sized(&p, digest, sizeof digest);
    return (size_t)(p - ret);
}

static int quote(void *ctx, uint32_t pcrs, const uint8_t extra[SLV_TPM_DIGEST],
                 struct slv_tpm_quote *ret, struct slv_err *err) {
    struct soft_tpm *t = ctx;
    struct slv_tpm_quote q = {.ak_n = t->ak_n, .pcrs = t->pcrs};
    (void)err;
    if (t->disturb) soft_tpm_extend(t, PCR_OURS, t->name);
    t->disturb -= t->disturb > 0;
    q.pcrs = t->pcrs;
    if (t->tear) soft_tpm_extend(t, PCR_OURS, t->name);
    t->tear -= t->tear > 0;
    q.pcrs.which &= pcrs;
    struct slv_tpm_pcrs now = t->pcrs;
    now.which = q.pcrs.which;
    memcpy(q.ak, t->ak, t->ak_n);
    q.attest_n = put_attest(t, &now, extra, q.attest);
    soft_tpm_sign(t, q.attest, q.attest_n, q.sig);
    *ret = q;
    return 0;
}

/* --- life ------------------------------------------------------------------------------------- */

void soft_tpm_init(struct soft_tpm *t, bool short_point) {
    uint8_t point[65];
    *t = (struct soft_tpm){.quoter = {ak, measure, quote, t}, .pcrs.which = 0xffffff};
    do { /* one in 256 is short */
        EVP_PKEY_free(t->key);
        t->key = EVP_EC_gen("P-256");
        require(t->key != NULL);
        get_point(t->key, point);
    } while (!point[1] != short_point);
    put_ak(t, point);
}

void soft_tpm_fini(struct soft_tpm *t) { EVP_PKEY_free(t->key); }
