/* dtls_cert.h: the certificate of a node: for a P-256 key that lives in one process, signed by the
 * node's Ed25519 key. 368 bytes, always the same ones but for five places:
 *
 *     Certificate
 *       TBSCertificate
 *         version 3
 *         serialNumber              16 bytes, random, the first of 0x40..0x7f      [serial]
 *         signature                 Ed25519
 *         issuer                    CN=selvage node
 *         validity                  GeneralizedTime, twice                         [from, to]
 *         subject                   CN=selvage link
 *         subjectPublicKeyInfo      id-ecPublicKey, prime256v1, uncompressed       [point]
 *         extensions                keyUsage digitalSignature, critical
 *                                   basicConstraints no CA, critical
 *                                   authorityKeyIdentifier: the Ed25519 key        [node]
 *       signatureAlgorithm          Ed25519
 *       signatureValue                                                             [signature]
 *
 * A reader compares the rest byte by byte: there is one form, and no parser to be led astray.
 * (Times before 2050 would be UTCTime by RFC 5280, in fewer bytes; nobody reads these but nodes.)
 *
 * Sources: RFC 5280, RFC 8410, RFC 5480. */
#ifndef SLV_NET_DTLS_CERT_H
#define SLV_NET_DTLS_CERT_H

#include "net/dtls.h"

#define SLV_DTLS_CERT 368
#define SLV_DTLS_CERT_POINT 65
#define SLV_DTLS_SERIAL 16
#define SLV_DTLS_TIME_MAX ((uint64_t)253402300799) /* 9999-12-31 23:59:59 */

struct slv_dtls_cert {
    uint8_t serial[SLV_DTLS_SERIAL];
    uint64_t from, to; /* seconds since 1970, to SLV_DTLS_TIME_MAX */
    uint8_t point[SLV_DTLS_CERT_POINT];
    uint8_t node[SLV_DTLS_KEY];
};

/* Writes all but the signature. SLV_E_INTERNAL: a time that is none. */
int slv_dtls_cert_write(const struct slv_dtls_cert *c, uint8_t ret[SLV_DTLS_CERT]) SLV_MUST_USE;

/* What of it is signed, and where the signature goes. */
struct slv_dtls_cert_signed {
    size_t at, n, signature_at;
};
extern const struct slv_dtls_cert_signed slv_dtls_cert_signed;

/* Reads one; its signature is not looked at. False: it is not of that form. */
bool slv_dtls_cert_read(const uint8_t *p, size_t n, struct slv_dtls_cert *ret) SLV_MUST_USE;

/* Whether the key that it names has signed it; of one that was read. */
bool slv_dtls_cert_verify(const uint8_t p[SLV_DTLS_CERT]) SLV_MUST_USE;

#endif
