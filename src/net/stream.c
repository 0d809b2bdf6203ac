/* stream.c: see stream.h. */
#include "net/stream.h"
#include "base/mem.h"
#include "net/dtls_ident.h"
#include "trust/secret.h"

#include <openssl/err.h>

#define AES "TLS_AES_256_GCM_SHA384"
#define CHACHA "TLS_CHACHA20_POLY1305_SHA256"
#define CERT_MAX 2048 /* bytes of a certificate message */

struct slv_stream {
    struct slv_dtls_conf conf;
    SSL_CTX *ctx;
};

/* What was found wrong with a certificate is kept with its SSL, one more than the reason, as a
 * pointer that is none. */
static void keep_reason(SSL *ssl, enum slv_dtls_reason reason) {
    SSL_set_app_data(ssl, (void *)((uintptr_t)reason + 1));
}

static int verify_peer(X509_STORE_CTX *x, void *arg) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct slv_stream *s = arg;
    uint8_t key[SLV_DTLS_KEY];
    const enum slv_dtls_reason reason = slv_dtls_ident_verify(&s->conf, x, key);
    keep_reason(ssl, reason);
    return reason == SLV_DTLS_WHY_NONE;
}

static int make_context(struct slv_stream *s, struct slv_err *err) {
    ERR_clear_error();
    s->ctx = SSL_CTX_new(TLS_method());
    if (!s->ctx) return slv_err_set(err, SLV_E_NOMEM, "TLS: out of memory");
    SSL_CTX_set_options(s->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_num_tickets(s->ctx, 0);
    SSL_CTX_set_session_cache_mode(s->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(s->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_max_cert_list(s->ctx, CERT_MAX);
    SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(s->ctx, verify_peer, s);
    const char *suites = s->conf.chacha_first ? CHACHA ":" AES : AES ":" CHACHA;
    const bool ok = SSL_CTX_set_min_proto_version(s->ctx, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(s->ctx, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_ciphersuites(s->ctx, suites) == 1 &&
                    SSL_CTX_set1_groups_list(s->ctx, "X25519:P-256") == 1 &&
                    SSL_CTX_set1_sigalgs_list(s->ctx, "ECDSA+SHA256") == 1;
    ERR_clear_error();
    return ok ? 0 : slv_err_set(err, SLV_E_UNSUPPORTED, "TLS: this OpenSSL lacks what is needed");
}

int slv_stream_open(const struct slv_dtls_conf *conf, struct slv_stream **ret,
                    struct slv_err *err) {
    int rc = slv_trust_init(err);
    if (rc) return rc;
    struct slv_stream *s = slv_mem_calloc(1, sizeof *s);
    if (!s) return slv_err_set(err, SLV_E_NOMEM, "TLS: out of memory");
    s->conf = *conf;
    rc = make_context(s, err);
    if (!rc) rc = slv_stream_renew(s, err);
    if (rc) slv_stream_close(s);
    else *ret = s;
    return rc;
}

void slv_stream_close(struct slv_stream *s) {
    if (!s) return;
    SSL_CTX_free(s->ctx);
    slv_mem_free(s);
}

int slv_stream_renew(struct slv_stream *s, struct slv_err *err) {
    return slv_dtls_ident_make(&s->conf, s->ctx, err);
}

struct ssl_st *slv_stream_ssl(struct slv_stream *s, bool client) {
    ERR_clear_error();
    SSL *ssl = SSL_new(s->ctx);
    ERR_clear_error();
    if (!ssl) return NULL;
    if (client) SSL_set_connect_state(ssl);
    else SSL_set_accept_state(ssl);
    return ssl;
}

enum slv_dtls_reason slv_stream_peer(const struct slv_stream *s, const struct ssl_st *ssl,
                                     uint8_t ret_key[SLV_DTLS_KEY]) {
    return slv_dtls_ident_check(&s->conf, SSL_get0_peer_certificate(ssl), false, ret_key);
}

uint64_t slv_stream_which(const struct ssl_st *ssl) {
    return slv_dtls_ident_which(SSL_get0_peer_certificate(ssl));
}

enum slv_dtls_reason slv_stream_reason(const struct ssl_st *ssl, unsigned long e) {
    const uintptr_t kept = (uintptr_t)SSL_get_app_data(ssl);
    const int why = ERR_GET_REASON(e);
    if (kept > 1) return (enum slv_dtls_reason)(kept - 1);
    if (why == ERR_R_MALLOC_FAILURE) return SLV_DTLS_WHY_MEMORY;
    if (why == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return SLV_DTLS_WHY_NO_CERTIFICATE;
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && why > SSL_AD_REASON_OFFSET) return SLV_DTLS_WHY_REFUSED;
    return SLV_DTLS_WHY_PROTOCOL;
}
