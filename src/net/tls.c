/* tls.c: see tls.h. */
#include "net/tls.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SUITES_1_2                                                                                 \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                                   \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"

struct slv_tls {
    char *cert, *key, *client_ca;
    SSL_CTX *ctx;
    int64_t not_after;
};

/* OpenSSL's own words for what went wrong last. */
static int tls_failed(struct slv_err *err, int code, const char *path) {
    unsigned long e = ERR_peek_last_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return slv_err_set(err, code, "%s: %s", path, why ? why : "cannot be used");
}

static int check_file(const char *path, bool secret, struct slv_err *err) {
    struct stat st;
    if (stat(path, &st))
        return slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", path,
                           strerror(errno));
    if (!S_ISREG(st.st_mode)) return slv_err_set(err, SLV_E_IO, "%s: not a file", path);
    if (secret && (st.st_mode & 077))
        return slv_err_set(err, SLV_E_TRUST, "%s: others may read this key: chmod 600", path);
    return 0;
}

static int64_t end_of(const X509 *cert) {
    struct tm tm = {0};
    if (!cert || !ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm)) return 0;
    return (int64_t)timegm(&tm);
}

static int load_own(SSL_CTX *ctx, const struct slv_tls *t, struct slv_err *err) {
    int rc = check_file(t->cert, false, err);
    if (!rc) rc = check_file(t->key, true, err);
    if (rc) return rc;
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
        return tls_failed(err, SLV_E_FORMAT, t->cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1)
        return tls_failed(err, SLV_E_FORMAT, t->key);
    if (SSL_CTX_check_private_key(ctx) != 1) return tls_failed(err, SLV_E_TRUST, t->key);
    if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx))) < 0)
        return slv_err_set(err, SLV_E_TRUST, "%s: the certificate has expired", t->cert);
    return 0;
}

static int load_clients(SSL_CTX *ctx, const struct slv_tls *t, struct slv_err *err) {
    if (!t->client_ca) return 0;
    int rc = check_file(t->client_ca, false, err);
    if (rc) return rc;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(t->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, t->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_failed(err, SLV_E_FORMAT, t->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

/* Of what the client offers, HTTP/1.1 is what is spoken. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n,
                           const unsigned char *in, unsigned in_n, void *arg) {
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    int rc = SSL_select_next_proto(&chosen, n, ours, sizeof ours - 1, in, in_n);
    if (rc != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int slv_tls_reload(struct slv_tls *t, struct slv_err *err) {
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) return slv_err_set(err, SLV_E_NOMEM, "TLS: out of memory");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    int rc = SSL_CTX_set_cipher_list(ctx, SUITES_1_2) == 1
                 ? 0
                 : slv_err_set(err, SLV_E_INTERNAL, "TLS: no cipher suites");
    if (!rc) rc = load_own(ctx, t, err);
    if (!rc) rc = load_clients(ctx, t, err);
    if (rc) {
        SSL_CTX_free(ctx);
        return rc;
    }
    SSL_CTX_free(t->ctx);
    t->ctx = ctx;
    t->not_after = end_of(SSL_CTX_get0_certificate(ctx));
    return 0;
}

int slv_tls_open(const struct slv_tls_files *f, struct slv_tls **ret, struct slv_err *err) {
    struct slv_tls *t = slv_mem_calloc(1, sizeof *t);
    if (!t) return slv_err_set(err, SLV_E_NOMEM, "TLS: out of memory");
    t->cert = slv_mem_strndup(f->cert, strlen(f->cert));
    t->key = slv_mem_strndup(f->key, strlen(f->key));
    if (f->client_ca) t->client_ca = slv_mem_strndup(f->client_ca, strlen(f->client_ca));
    bool copied = t->cert && t->key && (t->client_ca || !f->client_ca);
    int rc = copied ? slv_tls_reload(t, err) : slv_err_set(err, SLV_E_NOMEM, "TLS: out of memory");
    if (rc) {
        slv_tls_close(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void slv_tls_close(struct slv_tls *t) {
    if (!t) return;
    SSL_CTX_free(t->ctx);
    slv_mem_free(t->cert);
    slv_mem_free(t->key);
    slv_mem_free(t->client_ca);
    slv_mem_free(t);
}

int64_t slv_tls_not_after(const struct slv_tls *t) { return t->not_after; }

struct ssl_st *slv_tls_accept(const struct slv_tls *t) {
    return SSL_new(t->ctx);
}

const char *slv_tls_failure(unsigned long e, const char **ret_why) {
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    *ret_why = why ? why : e ? "unknown error" : "the client has left";
    if (!e) return "closed";
    if (ERR_GET_LIB(e) != ERR_LIB_SSL) return "protocol";
    switch (ERR_GET_REASON(e)) {
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING /* from OpenSSL 3 on */
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return "closed";
#endif
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "no_certificate";
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "certificate";
    default:
        return "protocol";
    }
}

void slv_tls_peer(const struct ssl_st *ssl, char ret[SLV_TLS_NAME]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    const X509 *cert = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
    ret[0] = '\0';
    if (!cert || !X509_digest(cert, EVP_sha256(), md, &n) || n != 32) return;
    for (unsigned i = 0; i < n; i++) {
        ret[2 * i] = digits[md[i] >> 4];
        ret[2 * i + 1] = digits[md[i] & 15];
    }
    ret[64] = '\0';
}
