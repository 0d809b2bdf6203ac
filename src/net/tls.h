/* tls.h: what the server shows of itself, and whom it lets in, over TLS 1.3 (1.2 at least).
 *
 * A context is made of a certificate chain, its key and, for mutual TLS, the authorities whose
 * clients are let in; slv_tls_reload reads the files again, and connections that are open keep
 * what they were opened with. With TLS 1.2 only suites with forward secrecy and authenticated
 * encryption are spoken. No session tickets: a ticket's key would have to be rotated and kept.
 *
 * Threads: one. Source: RFC 8446, RFC 9325. */
#ifndef SLV_NET_TLS_H
#define SLV_NET_TLS_H

#include "base/err.h"

struct slv_tls;
struct ssl_st;

struct slv_tls_files {
    const char *cert, *key; /* PEM */
    const char *client_ca;  /* PEM; NULL: clients need no certificate */
};

/* SLV_E_NOENT, SLV_E_IO, SLV_E_TRUST: others may read the key, or it is not the certificate's, or
 * the certificate has expired; SLV_E_FORMAT, SLV_E_NOMEM. Strings are copied. */
int slv_tls_open(const struct slv_tls_files *f, struct slv_tls **ret,
                 struct slv_err *err) SLV_MUST_USE;
void slv_tls_close(struct slv_tls *t);

/* On failure what was in force stays. */
int slv_tls_reload(struct slv_tls *t, struct slv_err *err) SLV_MUST_USE;

/* Seconds since 1970 at which the certificate ends. */
int64_t slv_tls_not_after(const struct slv_tls *t);

/* For one connection, the caller's; NULL: no memory. */
struct ssl_st *slv_tls_accept(const struct slv_tls *t) SLV_MUST_USE;

/* Why a handshake failed, of OpenSSL's error `e` (0: it has none, the client has left): a word for
 * who counts, one of "no_certificate", "certificate", "protocol", "closed". *ret_why: a sentence
 * that lives as long as the program. */
const char *slv_tls_failure(unsigned long e, const char **ret_why);

#define SLV_TLS_NAME 65
/* SHA-256 of the client's certificate in hex; "" if it has none. */
void slv_tls_peer(const struct ssl_st *ssl, char ret[SLV_TLS_NAME]);

#endif
