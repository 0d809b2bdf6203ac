/* dtls_ident.h: what a node shows of itself and asks of others, over datagrams (dtls.h) and over
 * streams (stream.h) alike: the certificate that dtls_cert.h describes, made and checked.
 *
 * Both are made from one struct slv_dtls_conf, of which only what names the node and what it knows
 * of the time and of others is looked at: key, sign, allow, time, lifetime_s. Threads: one. */
#ifndef SLV_NET_DTLS_IDENT_H
#define SLV_NET_DTLS_IDENT_H

#include "net/dtls.h"

#include <openssl/ssl.h>

/* Makes a P-256 key and a certificate for it, and gives both to ctx, for handshakes that begin from
 * now on; on failure what ctx had stays. SLV_E_TRUST: what `sign` gives is not the key's signature;
 * what `sign` fails with; SLV_E_NOMEM. */
int slv_dtls_ident_make(const struct slv_dtls_conf *conf, SSL_CTX *ctx,
                        struct slv_err *err) SLV_MUST_USE;

/* Whether a certificate (NULL: none was shown) is one of a node that is let in now; only then
 * ret_key is written. verify: look at its signature. */
enum slv_dtls_reason slv_dtls_ident_check(const struct slv_dtls_conf *conf, X509 *cert, bool verify,
                                          uint8_t ret_key[SLV_DTLS_KEY]);

/* The same for what came in a handshake, which must be one certificate and no chain; sets the alert
 * that tells the peer. */
enum slv_dtls_reason slv_dtls_ident_verify(const struct slv_dtls_conf *conf, X509_STORE_CTX *x,
                                           uint8_t ret_key[SLV_DTLS_KEY]);

/* Which of the certificates of its key this is: the first bytes of its serial number, which is
 * drawn at random. 0: NULL, or of another form. */
uint64_t slv_dtls_ident_which(const X509 *cert);

#endif
