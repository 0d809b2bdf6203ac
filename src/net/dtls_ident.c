/* dtls_ident.c: see dtls_ident.h. */
#include "net/dtls_ident.h"
#include "net/dtls_cert.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#define DAY_S ((uint64_t)86400)

/* --- who a peer is ---------------------------------------------------------------------------- */

static void known_time(const struct slv_dtls_conf *conf, uint64_t *earliest, uint64_t *latest) {
    *earliest = 0;
    *latest = UINT64_MAX;
    if (conf->time) conf->time(conf->ctx, earliest, latest);
    if (*earliest > SLV_DTLS_TIME_MAX) *earliest = SLV_DTLS_TIME_MAX;
    if (*latest > SLV_DTLS_TIME_MAX) *latest = SLV_DTLS_TIME_MAX;
}

enum slv_dtls_reason slv_dtls_ident_check(const struct slv_dtls_conf *conf, X509 *cert, bool verify,
                                          uint8_t ret_key[SLV_DTLS_KEY]) {
    uint8_t der[SLV_DTLS_CERT], *end = der;
    struct slv_dtls_cert c;
    uint64_t earliest, latest;
    if (!cert) return SLV_DTLS_WHY_NO_CERTIFICATE;
    if (i2d_X509(cert, NULL) != SLV_DTLS_CERT || i2d_X509(cert, &end) != SLV_DTLS_CERT ||
        !slv_dtls_cert_read(der, sizeof der, &c))
        return SLV_DTLS_WHY_FORM;
    if (verify && !slv_dtls_cert_verify(der)) return SLV_DTLS_WHY_SIGNATURE;
    known_time(conf, &earliest, &latest);
    if (c.to < earliest || c.from > latest) return SLV_DTLS_WHY_TIME;
    if (!memcmp(c.node, conf->key, sizeof c.node)) return SLV_DTLS_WHY_ITSELF;
    if (!conf->allow(conf->ctx, c.node)) return SLV_DTLS_WHY_STRANGER;
    memcpy(ret_key, c.node, sizeof c.node);
    return SLV_DTLS_WHY_NONE;
}

/* What the peer is told, as an alert. */
static int alert_error(enum slv_dtls_reason reason) {
    static const int error[SLV_DTLS_REASONS] = {
        [SLV_DTLS_WHY_FORM] = X509_V_ERR_CERT_REJECTED,               /* bad_certificate */
        [SLV_DTLS_WHY_SIGNATURE] = X509_V_ERR_CERT_SIGNATURE_FAILURE, /* decrypt_error */
        [SLV_DTLS_WHY_TIME] = X509_V_ERR_CERT_HAS_EXPIRED,            /* certificate_expired */
        [SLV_DTLS_WHY_STRANGER] = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, /* unknown_ca */
        [SLV_DTLS_WHY_ITSELF] = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    };
    return error[reason] ? error[reason] : X509_V_ERR_CERT_REJECTED;
}

enum slv_dtls_reason slv_dtls_ident_verify(const struct slv_dtls_conf *conf, X509_STORE_CTX *x,
                                           uint8_t ret_key[SLV_DTLS_KEY]) {
    const enum slv_dtls_reason reason =
        sk_X509_num(X509_STORE_CTX_get0_untrusted(x)) == 1
            ? slv_dtls_ident_check(conf, X509_STORE_CTX_get0_cert(x), true, ret_key)
            : SLV_DTLS_WHY_FORM;
    X509_STORE_CTX_set_error(x, reason == SLV_DTLS_WHY_NONE ? X509_V_OK : alert_error(reason));
    return reason;
}

uint64_t slv_dtls_ident_which(const X509 *cert) {
    const ASN1_INTEGER *serial = cert ? X509_get0_serialNumber(cert) : NULL;
    uint64_t which = 0;
    if (serial && ASN1_STRING_length(serial) == SLV_DTLS_SERIAL)
        memcpy(&which, ASN1_STRING_get0_data(serial), sizeof which);
    return which;
}

/* --- certificates ----------------------------------------------------------------------------- */

static int sign_certificate(const struct slv_dtls_conf *conf, EVP_PKEY *key,
                            uint8_t der[SLV_DTLS_CERT], struct slv_err *err) {
    struct slv_dtls_cert c;
    uint64_t earliest, latest;
    size_t n = 0;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, c.point, sizeof c.point,
                                        &n) != 1 ||
        n != sizeof c.point)
        return slv_err_set(err, SLV_E_INTERNAL, "DTLS: a key of OpenSSL's has another form");
    known_time(conf, &earliest, &latest);
    const uint64_t more = conf->lifetime_s + DAY_S;
    c.from = earliest > DAY_S ? earliest - DAY_S : 0;
    c.to = SLV_DTLS_TIME_MAX - latest > more ? latest + more : SLV_DTLS_TIME_MAX;
    memcpy(c.node, conf->key, sizeof c.node);
    randombytes_buf(c.serial, sizeof c.serial);
    int rc = slv_dtls_cert_write(&c, der);
    if (rc) return slv_err_set(err, rc, "DTLS: the time cannot be written");
    const struct slv_dtls_cert_signed *s = &slv_dtls_cert_signed;
    rc = conf->sign(conf->ctx, der + s->at, s->n, der + s->signature_at);
    if (rc) return slv_err_set(err, rc, "DTLS: the node's key does not sign");
    if (!slv_dtls_cert_verify(der))
        return slv_err_set(err, SLV_E_TRUST, "DTLS: what signs is not the node's key");
    return 0;
}

int slv_dtls_ident_make(const struct slv_dtls_conf *conf, SSL_CTX *ctx, struct slv_err *err) {
    uint8_t der[SLV_DTLS_CERT];
    const uint8_t *p = der;
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int rc = key ? sign_certificate(conf, key, der, err) : SLV_E_NOMEM;
    X509 *cert = rc ? NULL : d2i_X509(NULL, &p, sizeof der);
    if (!rc && (!cert || SSL_CTX_use_cert_and_key(ctx, cert, key, NULL, 1) != 1)) rc = SLV_E_NOMEM;
    if (rc == SLV_E_NOMEM) slv_err_set(err, rc, "DTLS: out of memory");
    ERR_clear_error();
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}
