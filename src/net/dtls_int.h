/* dtls_int.h: what a context and its associations share: dtls.c makes contexts and certificates,
 * dtls_session.c keeps sessions, dtls_assoc.c has the associations, dtls_bio.c stands between them
 * and OpenSSL.
 *
 * Invariants:
 *   1. An association has its SSL until it is closed or has failed; what has failed holds no more
 *      than its own struct.
 *   2. `waiting` has the associations that peers began and that are in SLV_DTLS_HANDSHAKE, oldest
 *      first, and no others.
 *   3. SSL's buffers are there only while one of its functions works. */
#ifndef SLV_NET_DTLS_INT_H
#define SLV_NET_DTLS_INT_H

#include "net/dtls_cert.h"
#include "net/dtls_ident.h"
#include "net/dtls_record.h"

#include <openssl/ssl.h>

struct slv_dtls_links {
    struct slv_dtls_assoc *prev, *next;
};

/* A session that a peer may resume. */
struct slv_dtls_kept {
    SSL_SESSION *session; /* NULL: the place is free */
    uint64_t made;
};
#define SLV_DTLS_WAYS 4 /* places that a session may be in */

struct slv_dtls {
    struct slv_dtls_conf conf; /* without zeros */
    SSL_CTX *ctx;
    BIO_METHOD *method;
    uint64_t now;  /* of the call that is being made */
    uint64_t made; /* the certificate */

    uint64_t cookie_slot;      /* now / cookie_ns */
    uint8_t cookie_key[2][32]; /* of this slot, and of the one before */

    struct slv_dtls_links waiting; /* first, last */
    struct slv_dtls_kept *kept;    /* [kept_n]; a power of two */
    uint32_t kept_n;
    struct slv_dtls_counts counts;
};

struct slv_dtls_assoc {
    struct slv_dtls *d;
    SSL *ssl;
    struct slv_dtls_links links;
    enum slv_dtls_state state;
    enum slv_dtls_reason reason;
    enum slv_dtls_reason refused; /* by the check of the certificate */
    int alert;                    /* of the peer; -1: none */
    bool client, has_peer, resumed, is_feeding;
    uint8_t peer[SLV_DTLS_KEY];
    uint8_t random[SLV_DTLS_RANDOM]; /* of the peer's hello */
    uint8_t cookie[SLV_DTLS_COOKIE];
    struct slv_dtls_address address;
    uint64_t deadline; /* of the handshake */
    uint32_t mtu, overhead, early;
    void *user;
    const uint8_t *in; /* a datagram that OpenSSL has not read yet; NULL: none */
    size_t in_n;
};

/* --- dtls.c ----------------------------------------------------------------------------------- */

void slv_dtls_cookie(const struct slv_dtls *d, int key, const struct slv_dtls_address *from,
                     const struct slv_dtls_hello *h, uint8_t ret[SLV_DTLS_COOKIE]);
/* Draws a new key where it is time. */
void slv_dtls_cookie_turn(struct slv_dtls *d, uint64_t now);

/* --- dtls_session.c --------------------------------------------------------------------------- */

int slv_dtls_kept_open(struct slv_dtls *d) SLV_MUST_USE;
void slv_dtls_kept_close(struct slv_dtls *d);
void slv_dtls_kept_drop(struct slv_dtls *d);
/* Sets OpenSSL's functions. */
void slv_dtls_kept_use(struct slv_dtls *d);

/* --- dtls_bio.c ------------------------------------------------------------------------------- */

/* A BIO that reads a->in, once, and writes to conf.output: a datagram for a datagram. */
BIO_METHOD *slv_dtls_bio_method(void) SLV_MUST_USE;
BIO *slv_dtls_bio(struct slv_dtls_assoc *a) SLV_MUST_USE;

#endif
