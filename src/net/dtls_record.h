/* dtls_record.h: what is looked at in a datagram before OpenSSL does.
 *
 *     record      type 1 | version 2 | epoch 2 | number 6 | length 2 | ..
 *     handshake   type 1 | length 3 | message number 2 | fragment at 3, length 3 | ..
 *     hello       version 2 | random 32 | session 1+ | cookie 1+ | suites 2+ | compression 1+ |
 *                 extensions 2+
 *
 * 1. The first datagrams of a peer, answered without anything being kept (RFC 6347, 4.2.1).
 * 2. Datagrams within a handshake. OpenSSL 3.0 keeps up to 100 records of 16 KB that come before
 *    their epoch, and makes room for messages that come in pieces as long as these say they are; so
 *    what no handshake of nodes has is kept from it: messages of more than 2 KB, data before the
 *    handshake's end, more than a few records of an epoch to come.
 * 3. Datagrams at any time. An encrypted record that is shorter than what encryption adds ends an
 *    association in OpenSSL 3.0 (an internal error), whoever sent it; others that do not fit it
 *    drops without a word. */
#ifndef SLV_NET_DTLS_RECORD_H
#define SLV_NET_DTLS_RECORD_H

#include "net/dtls.h"

#define SLV_DTLS_RANDOM 32
#define SLV_DTLS_COOKIE 16
#define SLV_DTLS_MESSAGE_MAX 2048
#define SLV_DTLS_EARLY_MAX 4 /* encrypted records in a handshake */
#define SLV_DTLS_RECORD_HEADER 13

/* A ClientHello of DTLS 1.2 in one piece. Borrowed from the datagram. */
struct slv_dtls_hello {
    uint8_t number[6];     /* the record's */
    const uint8_t *random; /* SLV_DTLS_RANDOM bytes */
    const uint8_t *session;
    size_t session_n;
    const uint8_t *cookie;
    size_t cookie_n;
};
bool slv_dtls_hello_read(const uint8_t *p, size_t n, struct slv_dtls_hello *ret) SLV_MUST_USE;

/* Answers it with a cookie: a HelloVerifyRequest. */
void slv_dtls_hello_reply(const struct slv_dtls_hello *h, const uint8_t cookie[SLV_DTLS_COOKIE],
                          uint8_t ret[SLV_DTLS_REPLY]);

/* Whether a datagram may go on to OpenSSL, for an association whose records have so much overhead,
 * header included. early: NULL, or in a handshake, the count of its encrypted records. */
bool slv_dtls_record_fits(const uint8_t *p, size_t n, uint32_t overhead,
                          uint32_t *early) SLV_MUST_USE;

#endif
