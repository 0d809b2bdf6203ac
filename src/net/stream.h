/* stream.h: TLS 1.3 between nodes, for where UDP is closed: the same certificates and the same
 * question of who is let in as dtls.h, on a stream that somebody else owns.
 *
 * What comes out is an SSL object that is to be given a socket (libevent's bufferevent_openssl). A
 * handshake succeeds on the side that accepts when the peer has proved a key that is let in; the
 * side that connects is through half a round trip earlier, and knows only by what it then hears
 * that it was let in. TLS_AES_256_GCM_SHA384 and TLS_CHACHA20_POLY1305_SHA256; no tickets, no
 * resumption: a fallback, whose handshakes are few.
 *
 * Threads: one. Source: RFC 8446. */
#ifndef SLV_NET_STREAM_H
#define SLV_NET_STREAM_H

#include "net/dtls.h"

struct slv_stream;
struct ssl_st;

/* Of conf: ctx, key, sign, allow, time, chacha_first, lifetime_s (not 0). Errors as slv_dtls_open.
 */
int slv_stream_open(const struct slv_dtls_conf *conf, struct slv_stream **ret,
                    struct slv_err *err) SLV_MUST_USE;
/* All of its SSL objects must be freed first. NULL is none. */
void slv_stream_close(struct slv_stream *s);

/* As slv_dtls_renew. */
int slv_stream_renew(struct slv_stream *s, struct slv_err *err) SLV_MUST_USE;

/* For one connection, the caller's; NULL: no memory. */
struct ssl_st *slv_stream_ssl(struct slv_stream *s, bool client) SLV_MUST_USE;

/* After its handshake: who the peer is, asked anew; ret_key is written for SLV_DTLS_WHY_NONE. */
enum slv_dtls_reason slv_stream_peer(const struct slv_stream *s, const struct ssl_st *ssl,
                                     uint8_t ret_key[SLV_DTLS_KEY]);

/* As slv_dtls_which. */
uint64_t slv_stream_which(const struct ssl_st *ssl);

/* Why a handshake failed, of OpenSSL's error e, 0: the peer has left. */
enum slv_dtls_reason slv_stream_reason(const struct ssl_st *ssl, unsigned long e);

#endif
