/* dtls.c: contexts, certificates and cookies of DTLS; see dtls.h. */
#include "net/dtls.h"
#include "base/mem.h"
#include "net/dtls_int.h"
#include "trust/secret.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#define SUITE_AES "ECDHE-ECDSA-AES256-GCM-SHA384"
#define SUITE_CHACHA "ECDHE-ECDSA-CHACHA20-POLY1305"
#define SECOND ((uint64_t)1000000000)
#define DAY_S ((uint64_t)86400)

static int no_memory(struct slv_err *err) {
    ERR_clear_error();
    return slv_err_set(err, SLV_E_NOMEM, "DTLS: out of memory");
}

/* --- who a peer is ---------------------------------------------------------------------------- */

static void known_time(const struct slv_dtls *d, uint64_t *earliest, uint64_t *latest) {
    *earliest = 0;
    *latest = UINT64_MAX;
    if (d->conf.time) d->conf.time(d->conf.ctx, earliest, latest);
    if (*earliest > SLV_DTLS_TIME_MAX) *earliest = SLV_DTLS_TIME_MAX;
    if (*latest > SLV_DTLS_TIME_MAX) *latest = SLV_DTLS_TIME_MAX;
}

enum slv_dtls_reason slv_dtls_check(struct slv_dtls *d, X509 *cert, bool verify,
                                    uint8_t ret_key[SLV_DTLS_KEY]) {
    uint8_t der[SLV_DTLS_CERT], *end = der;
    struct slv_dtls_cert c;
    uint64_t earliest, latest;
    if (!cert) return SLV_DTLS_WHY_NO_CERTIFICATE;
    if (i2d_X509(cert, NULL) != SLV_DTLS_CERT || i2d_X509(cert, &end) != SLV_DTLS_CERT ||
        !slv_dtls_cert_read(der, sizeof der, &c))
        return SLV_DTLS_WHY_FORM;
    if (verify && !slv_dtls_cert_verify(der)) return SLV_DTLS_WHY_SIGNATURE;
    known_time(d, &earliest, &latest);
    if (c.to < earliest || c.from > latest) return SLV_DTLS_WHY_TIME;
    if (!memcmp(c.node, d->conf.key, sizeof c.node)) return SLV_DTLS_WHY_ITSELF;
    if (!d->conf.allow(d->conf.ctx, c.node)) return SLV_DTLS_WHY_STRANGER;
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

static int verify_peer(X509_STORE_CTX *x, void *arg) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct slv_dtls_assoc *a = SSL_get_app_data(ssl);
    struct slv_dtls *d = arg;
    a->refused = sk_X509_num(X509_STORE_CTX_get0_untrusted(x)) == 1
                     ? slv_dtls_check(d, X509_STORE_CTX_get0_cert(x), true, a->peer)
                     : SLV_DTLS_WHY_FORM;
    const bool ok = a->refused == SLV_DTLS_WHY_NONE;
    X509_STORE_CTX_set_error(x, ok ? X509_V_OK : alert_error(a->refused));
    return ok;
}

/* --- cookies ---------------------------------------------------------------------------------- */

void slv_dtls_cookie_turn(struct slv_dtls *d, uint64_t now) {
    const uint64_t slot = now / d->conf.cookie_ns;
    if (slot == d->cookie_slot) return;
    if (slot == d->cookie_slot + 1) memcpy(d->cookie_key[1], d->cookie_key[0], 32);
    else randombytes_buf(d->cookie_key[1], 32);
    randombytes_buf(d->cookie_key[0], 32);
    d->cookie_slot = slot;
}

void slv_dtls_cookie(const struct slv_dtls *d, int key, const struct slv_dtls_address *from,
                     const struct slv_dtls_hello *h, uint8_t ret[SLV_DTLS_COOKIE]) {
    const uint8_t lengths[2] = {from->n, (uint8_t)h->session_n};
    crypto_generichash_state s;
    crypto_generichash_init(&s, d->cookie_key[key], sizeof d->cookie_key[key], SLV_DTLS_COOKIE);
    crypto_generichash_update(&s, lengths, sizeof lengths);
    crypto_generichash_update(&s, from->p, from->n);
    crypto_generichash_update(&s, h->random, SLV_DTLS_RANDOM);
    crypto_generichash_update(&s, h->session, h->session_n);
    crypto_generichash_final(&s, ret, SLV_DTLS_COOKIE);
}

/* dtls_assoc.c has looked at the cookie; OpenSSL must have read the same one. */
static int cookie_fits(SSL *ssl, const unsigned char *cookie, unsigned n) {
    const struct slv_dtls_assoc *a = SSL_get_app_data(ssl);
    return n == SLV_DTLS_COOKIE && !memcmp(cookie, a->cookie, n);
}

/* OpenSSL is never asked to answer a hello, but wants to know how. */
static int no_cookie(SSL *ssl, unsigned char *cookie, unsigned *ret_n) {
    (void)ssl;
    (void)cookie;
    *ret_n = 0;
    return 0;
}

/* --- certificates ----------------------------------------------------------------------------- */

static int sign_certificate(const struct slv_dtls *d, EVP_PKEY *key, uint8_t der[SLV_DTLS_CERT],
                            struct slv_err *err) {
    struct slv_dtls_cert c;
    uint64_t earliest, latest;
    size_t n = 0;
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, c.point, sizeof c.point,
                                        &n) != 1 ||
        n != sizeof c.point)
        return slv_err_set(err, SLV_E_INTERNAL, "DTLS: a key of OpenSSL's has another form");
    known_time(d, &earliest, &latest);
    const uint64_t more = d->conf.lifetime_s + DAY_S;
    c.from = earliest > DAY_S ? earliest - DAY_S : 0;
    c.to = SLV_DTLS_TIME_MAX - latest > more ? latest + more : SLV_DTLS_TIME_MAX;
    memcpy(c.node, d->conf.key, sizeof c.node);
    randombytes_buf(c.serial, sizeof c.serial);
    int rc = slv_dtls_cert_write(&c, der);
    if (rc) return slv_err_set(err, rc, "DTLS: the time cannot be written");
    const struct slv_dtls_cert_signed *s = &slv_dtls_cert_signed;
    rc = d->conf.sign(d->conf.ctx, der + s->at, s->n, der + s->signature_at);
    if (rc) return slv_err_set(err, rc, "DTLS: the node's key does not sign");
    if (!slv_dtls_cert_verify(der))
        return slv_err_set(err, SLV_E_TRUST, "DTLS: what signs is not the node's key");
    return 0;
}

int slv_dtls_renew(struct slv_dtls *d, uint64_t now, struct slv_err *err) {
    uint8_t der[SLV_DTLS_CERT];
    const uint8_t *p = der;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    int rc = key ? sign_certificate(d, key, der, err) : no_memory(err);
    X509 *cert = rc ? NULL : d2i_X509(NULL, &p, sizeof der);
    if (!rc && (!cert || SSL_CTX_use_cert_and_key(d->ctx, cert, key, NULL, 1) != 1))
        rc = no_memory(err);
    if (!rc) d->made = now;
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

uint64_t slv_dtls_renew_at(const struct slv_dtls *d) {
    uint64_t half;
    if (__builtin_mul_overflow(d->conf.lifetime_s, SECOND / 2, &half) ||
        __builtin_add_overflow(half, d->made, &half))
        return UINT64_MAX;
    return half;
}

/* --- contexts --------------------------------------------------------------------------------- */

static bool in_range(uint64_t v, uint64_t least, uint64_t most) { return v >= least && v <= most; }

static void set32(uint32_t *v, uint32_t otherwise) {
    if (!*v) *v = otherwise;
}

static void set64(uint64_t *v, uint64_t otherwise) {
    if (!*v) *v = otherwise;
}

static int fill_in(struct slv_dtls_conf *c, struct slv_err *err) {
    set32(&c->mtu, SLV_DTLS_MTU);
    set32(&c->max, 4096);
    set32(&c->handshakes_max, c->max < 64 ? c->max : 64);
    set32(&c->sessions_max, c->max);
    set64(&c->handshake_ns, 30 * SECOND);
    set64(&c->retransmit_ns, SECOND);
    set64(&c->cookie_ns, 30 * SECOND);
    set64(&c->session_ns, 12 * 3600 * SECOND);
    set64(&c->lifetime_s, 7 * DAY_S);
    const bool ok =
        in_range(c->mtu, SLV_DTLS_MTU_MIN, SLV_DTLS_MTU_MAX) && c->max <= SLV_DTLS_ASSOCS_MAX &&
        c->handshakes_max <= c->max && c->sessions_max <= SLV_DTLS_ASSOCS_MAX &&
        in_range(c->retransmit_ns, SLV_DTLS_RETRANSMIT_MIN, SLV_DTLS_RETRANSMIT_MAX) &&
        c->lifetime_s <= SLV_DTLS_TIME_MAX && c->sign && c->allow && c->output && c->data;
    return ok ? 0 : slv_err_set(err, SLV_E_USAGE, "DTLS: a setting is out of its range");
}

static int make_context(struct slv_dtls *d, struct slv_err *err) {
    d->ctx = SSL_CTX_new(DTLS_method());
    d->method = slv_dtls_bio_method();
    if (!d->ctx || !d->method) return no_memory(err);
    SSL_CTX_set_options(d->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                    SSL_OP_NO_QUERY_MTU | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                    SSL_OP_PRIORITIZE_CHACHA);
    /* (One certificate, and no search for others to show with it.) */
    SSL_CTX_set_mode(d->ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_max_cert_list(d->ctx, SLV_DTLS_MESSAGE_MAX);
    SSL_CTX_set_verify(d->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(d->ctx, verify_peer, d);
    SSL_CTX_set_cookie_verify_cb(d->ctx, cookie_fits);
    SSL_CTX_set_cookie_generate_cb(d->ctx, no_cookie);
    slv_dtls_kept_use(d);
    const char *suites =
        d->conf.chacha_first ? SUITE_CHACHA ":" SUITE_AES : SUITE_AES ":" SUITE_CHACHA;
    const bool ok = SSL_CTX_set_min_proto_version(d->ctx, DTLS1_2_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(d->ctx, DTLS1_2_VERSION) == 1 &&
                    SSL_CTX_set_cipher_list(d->ctx, suites) == 1 &&
                    SSL_CTX_set1_groups_list(d->ctx, "X25519:P-256") == 1 &&
                    SSL_CTX_set1_sigalgs_list(d->ctx, "ECDSA+SHA256") == 1 &&
                    SSL_CTX_set_max_send_fragment(d->ctx, SLV_DTLS_DATAGRAM_MAX) == 1;
    ERR_clear_error();
    return ok ? 0 : slv_err_set(err, SLV_E_UNSUPPORTED, "DTLS: this OpenSSL lacks what is needed");
}

int slv_dtls_open(const struct slv_dtls_conf *conf, uint64_t now, struct slv_dtls **ret,
                  struct slv_err *err) {
    int rc = slv_trust_init(err);
    struct slv_dtls *d = rc ? NULL : slv_mem_calloc(1, sizeof *d);
    if (!rc && !d) rc = no_memory(err);
    if (rc) return rc;
    d->conf = *conf;
    d->now = now;
    randombytes_buf(d->cookie_key, sizeof d->cookie_key);
    rc = fill_in(&d->conf, err);
    if (!rc) d->cookie_slot = now / d->conf.cookie_ns;
    if (!rc && slv_dtls_kept_open(d)) rc = no_memory(err);
    if (!rc) rc = make_context(d, err);
    if (!rc) rc = slv_dtls_renew(d, now, err);
    if (rc) slv_dtls_close(d);
    else *ret = d;
    return rc;
}

void slv_dtls_close(struct slv_dtls *d) {
    if (!d) return;
    slv_dtls_kept_close(d);
    SSL_CTX_free(d->ctx);
    BIO_meth_free(d->method);
    sodium_memzero(d->cookie_key, sizeof d->cookie_key);
    slv_mem_free(d);
}

void slv_dtls_counts(const struct slv_dtls *d, struct slv_dtls_counts *ret) { *ret = d->counts; }
