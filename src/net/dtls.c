/* dtls.c: contexts, certificates and cookies of DTLS; see dtls.h. */
#include "net/dtls.h"
#include "base/mem.h"
#include "net/dtls_int.h"
#include "trust/secret.h"

#include <openssl/err.h>
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

static int verify_peer(X509_STORE_CTX *x, void *arg) {
    const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct slv_dtls_assoc *a = SSL_get_app_data(ssl);
    const struct slv_dtls *d = arg;
    a->refused = slv_dtls_ident_verify(&d->conf, x, a->peer);
    return a->refused == SLV_DTLS_WHY_NONE;
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

int slv_dtls_renew(struct slv_dtls *d, uint64_t now, struct slv_err *err) {
    const int rc = slv_dtls_ident_make(&d->conf, d->ctx, err);
    if (rc) return rc;
    d->made = now;
    slv_dtls_kept_drop(d);
    return 0;
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
