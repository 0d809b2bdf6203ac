/* dtls.h: encrypted datagrams between nodes that know each other by their keys: DTLS 1.2 (RFC 6347)
 * with many peers over one UDP socket that somebody else owns.
 *
 * No input or output is done here: datagrams are given in (slv_dtls_accept, slv_dtls_feed), those
 * to be sent come out by a function of the caller's, and time is a parameter, with one exception
 * (below). One context, struct slv_dtls, belongs to one node; one association, struct
 * slv_dtls_assoc, is what it has with one peer.
 *
 * Who is who. A node is an Ed25519 key, which may be kept where it can be asked for signatures
 * only. OpenSSL 3.0 speaks DTLS with no Ed25519 certificate on the side of the server, and cannot
 * ask a function for such a signature; so the node makes a P-256 key that lives in this process
 * only, and signs a certificate for it (dtls_cert.h), which names the Ed25519 key. The peer must
 * show a certificate of exactly that form; that its Ed25519 key is a member's is for conf.allow to
 * say. Both sides always show one. Only ECDHE-ECDSA with AES-256-GCM or ChaCha20-Poly1305, the
 * extended master secret (RFC 7627), no compression, no renegotiation.
 *
 * Time in certificates. A device may not know what day it is, and then must neither be shut out nor
 * shut others out. So conf.time tells not a time but what is known of it: between when and when it
 * is now. A certificate is valid from a day before the earliest to `lifetime` and a day after the
 * latest time that its maker held possible: for ever where the maker knows nothing. It is refused
 * only where it is over, or not begun, at every time that the reader holds possible: never where
 * the reader knows nothing. A clock that is wrong but believed is the caller's fault; what shuts a
 * lost key out for sure is conf.allow.
 *
 * Before a peer has shown that it receives what is sent to its address, nothing is kept of it, no
 * memory is allocated and at most one datagram is answered, with a shorter one (cookies, RFC 6347
 * 4.2.1). A cookie is a keyed hash of the address and of what the hello begins with; the key is
 * drawn anew every cookie_ns, and the one before still counts.
 *
 * What a caller does with a datagram from an address:
 *
 *     a = the newest association of that address, old = the one before, if it is there yet
 *     if (!a || slv_dtls_is_new(a, p, n)) slv_dtls_accept(.., a, ..)   is_new: old = a, a = assoc
 *     else slv_dtls_feed(a, ..), and while a is not open: slv_dtls_feed(old, ..)
 *
 * A peer that moved to another address, or that lost its associations, connects again, with the
 * session of the last time if it has one (slv_dtls_session): one round trip less, and no
 * signatures. Nothing that comes from an address closes what is open there, as anybody may have
 * sent it. When the new association opens (conf.changed), its key tells whose it is: an older one
 * with that key which was begun by the same side is closed, wherever its address is, as the peer
 * has given it up.
 *
 * If two nodes connect to each other at once, from the same addresses, each sees that hellos have
 * crossed; the one with the lower random number goes on, on both sides. The other association fails
 * (SLV_DTLS_WHY_CROSSED) in favour of the one that slv_dtls_accept gives. From different addresses
 * both may open: slv_dtls_prefer says for both nodes alike which one they mean to keep. That one is
 * used to send from when it is open; the other is closed when the first has been heard from since
 * both were open, so that one which only this side believes in is not preferred for good.
 *
 * Retransmission obeys the machine's clock. OpenSSL 3.0 keeps the timers of a handshake by
 * gettimeofday() and cannot be told otherwise: slv_dtls_timeout adds what it says is left to `now`,
 * and slv_dtls_tick sends again only where that clock agrees. A clock that is set back by an hour
 * stops retransmission for as long; handshake_ns, which is measured by `now`, ends such a
 * handshake. What is left counts as nothing when it is below 15 ms, and an expired timer sends
 * again with every datagram that comes in: hence SLV_DTLS_RETRANSMIT_MIN. Programs that own time
 * (tests, a simulator) define gettimeofday() themselves: the one of the program goes before the C
 * library's.
 *
 * Memory: an open association takes 41 KB, of which OpenSSL holds 22 for handshakes for good; its
 * other buffers, 20 KB, are given back whenever a call returns. What a peer can make it keep during
 * a handshake, 150 KB at most, is bounded by looking at records before it does (dtls_record.h). At
 * most handshakes_max peers that have a true address but no name yet are waited for; the oldest of
 * them makes room for a new one.
 *
 * OpenSSL believes alerts that are not encrypted as long as the handshake lasts: who can write
 * datagrams in a peer's name can end handshakes, and delay one for good. An open association cannot
 * be ended that way.
 *
 * Threads: one for a context and all its associations.
 *
 * Sources: RFC 6347, RFC 5246, RFC 5289, RFC 7627, RFC 7905, RFC 8410. */
#ifndef SLV_NET_DTLS_H
#define SLV_NET_DTLS_H

#include "base/err.h"

#define SLV_DTLS_KEY 32                                 /* bytes of an Ed25519 public key */
#define SLV_DTLS_SIGNATURE 64                           /* and of what it signs */
#define SLV_DTLS_ADDRESS_MAX 28                         /* as long as a struct sockaddr_in6 */
#define SLV_DTLS_DATAGRAM_MAX 2048                      /* longer ones are not taken */
#define SLV_DTLS_MTU_MIN 256                            /* of the payload of UDP */
#define SLV_DTLS_MTU_MAX 1472                           /* what Ethernet leaves with IPv4 */
#define SLV_DTLS_MTU 1200                               /* unless something else is known */
#define SLV_DTLS_REPLY 44                               /* bytes of the answer to a hello */
#define SLV_DTLS_RETRANSMIT_MIN ((uint64_t)20000000)    /* ns */
#define SLV_DTLS_RETRANSMIT_MAX ((uint64_t)60000000000) /* ns */
#define SLV_DTLS_ASSOCS_MAX ((uint32_t)1 << 20)

struct slv_dtls;
struct slv_dtls_assoc;
struct slv_dtls_session;

enum slv_dtls_state {
    SLV_DTLS_HANDSHAKE,
    SLV_DTLS_OPEN,
    SLV_DTLS_CLOSED, /* by the peer, after it was open */
    SLV_DTLS_FAILED,
    SLV_DTLS_STATES
};

/* Why an association failed. name, text */
#define SLV_DTLS_REASONS_LIST(X)                                                                   \
    X(NONE, "it has not failed")                                                                   \
    X(NO_CERTIFICATE, "the peer shows no certificate")                                             \
    X(FORM, "the peer's certificate is not of the form that nodes use")                            \
    X(SIGNATURE, "the peer's certificate is not signed by the key that it names")                  \
    X(TIME, "the peer's certificate is over or has not begun")                                     \
    X(STRANGER, "the peer's key is not one that is let in")                                        \
    X(ITSELF, "the peer has this node's own key")                                                  \
    X(REFUSED, "the peer has refused")                                                             \
    X(TIMEOUT, "the handshake took too long")                                                      \
    X(CROSSED, "the peer has connected at the same time, and goes first")                          \
    X(DROPPED, "there were too many handshakes at once")                                           \
    X(MASTER_SECRET, "the peer has no extended master secret")                                     \
    X(PROTOCOL, "the peer does not keep to DTLS 1.2 as nodes speak it")                            \
    X(MEMORY, "out of memory")

enum slv_dtls_reason {
#define SLV_DTLS_REASON_ENUM(name, text) SLV_DTLS_WHY_##name,
    SLV_DTLS_REASONS_LIST(SLV_DTLS_REASON_ENUM)
#undef SLV_DTLS_REASON_ENUM
};
#define SLV_DTLS_REASONS (SLV_DTLS_WHY_MEMORY + 1)

/* Where a datagram came from or goes to: bytes that mean nothing here but that equal ones are the
 * same address. Unused ones are not looked at. */
struct slv_dtls_address {
    uint8_t p[SLV_DTLS_ADDRESS_MAX];
    uint8_t n;
};

/* How a context works. Zero where a default is named. Functions get `ctx`.
 *
 * `output` must call nothing of the context; from `data` and `changed` everything may be called but
 * slv_dtls_feed, slv_dtls_tick and slv_dtls_assoc_close of the same association. The other
 * functions are called within a handshake, and must call nothing of the context. */
struct slv_dtls_conf {
    void *ctx;
    uint8_t key[SLV_DTLS_KEY]; /* the node's own */

    /* Signs p[0..n) with the node's key, when a certificate is made: SLV_E_*. It is 290 bytes that
     * begin with 0x30, as nothing else does that a node signs. */
    int (*sign)(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]);
    /* Whether that key is let in. Asked when its holder has proved that it has it, on each side, in
     * each handshake, also in one that resumes a session. */
    bool (*allow)(void *ctx, const uint8_t peer[SLV_DTLS_KEY]);
    /* What is known of the time, in seconds since 1970: *ret_earliest <= now <= *ret_latest. NULL:
     * nothing. A device that has no clock knows when its software was built, or when it was last
     * told the time, and no latest time: UINT64_MAX. */
    void (*time)(void *ctx, uint64_t *ret_earliest, uint64_t *ret_latest);
    /* Sends a datagram of at most the association's MTU to the association's address. It may be
     * lost. */
    void (*output)(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n);
    /* What a datagram of the peer's held: borrowed for the call. */
    void (*data)(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n);
    /* The association is open, closed or has failed: called once for each, at the end of the call
     * that did it, which for one that was dropped is another one's, and for one that fails at once
     * is the one that makes it. May be NULL. */
    void (*changed)(void *ctx, struct slv_dtls_assoc *a);

    bool chacha_first;       /* this machine has no AES instructions */
    uint32_t mtu;            /* of new associations, bytes; 0: SLV_DTLS_MTU */
    uint32_t max;            /* associations, until they are closed; 0: 4096 */
    uint32_t handshakes_max; /* of those that peers began and that are not open; 0: 64 */
    uint32_t sessions_max;   /* that peers may resume, some KB each; 0: as max */
    uint64_t handshake_ns;   /* how long one may take; 0: 30 s */
    uint64_t retransmit_ns;  /* at first, then twice as long each time; 0: 1 s */
    uint64_t cookie_ns;      /* how long a cookie is good, twice that at most; 0: 30 s */
    uint64_t session_ns;     /* how long a session may be resumed; 0: 12 h */
    uint64_t lifetime_s;     /* of a certificate, where the time is known; 0: 7 days */
};

/* Makes the first certificate. SLV_E_USAGE: a number out of its range; SLV_E_TRUST: what `sign`
 * gives is not the key's signature; what `sign` fails with; SLV_E_NOMEM. */
int slv_dtls_open(const struct slv_dtls_conf *conf, uint64_t now, struct slv_dtls **ret,
                  struct slv_err *err) SLV_MUST_USE;
/* All associations must be closed first. */
void slv_dtls_close(struct slv_dtls *d);

/* Makes a new P-256 key and certificate for handshakes that begin from now on, and forgets the
 * sessions that peers may resume; those that the caller has (slv_dtls_session) should go with them,
 * so that no peer meets the old certificate again (slv_dtls_which). On failure the old one stays.
 * As slv_dtls_open. */
int slv_dtls_renew(struct slv_dtls *d, uint64_t now, struct slv_err *err) SLV_MUST_USE;
/* When that is due: after half of lifetime_s, by the caller's clock. */
uint64_t slv_dtls_renew_at(const struct slv_dtls *d);

/* --- associations ----------------------------------------------------------------------------- */

/* Begins a handshake: the first datagram goes out at once. `session`, which stays the caller's, is
 * of an earlier association with that peer (slv_dtls_session), or NULL; if it is of no use any more
 * the handshake is a full one. An address that has an association in its handshake is not connected
 * to. SLV_E_LIMIT: there are conf.max already; SLV_E_NOMEM; SLV_E_USAGE: an address that is too
 * long. */
int slv_dtls_connect(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *to,
                     const struct slv_dtls_session *session,
                     struct slv_dtls_assoc **ret) SLV_MUST_USE;

/* What came of a datagram from an address that has no association, or another one. */
struct slv_dtls_accepted {
    uint8_t reply[SLV_DTLS_REPLY]; /* to be sent to that address */
    size_t reply_n;                /* 0: none */
    /* It began a handshake, or belonged to one that had begun. NULL: no. It may have failed. */
    struct slv_dtls_assoc *assoc;
    bool is_new;
};

/* `there`: the newest association of that address, NULL: none; it stays, unless its hello has
 * crossed this one. SLV_E_FORMAT: no hello of DTLS 1.2, forget it; SLV_E_LIMIT: conf.max;
 * SLV_E_NOMEM. */
int slv_dtls_accept(struct slv_dtls *d, uint64_t now, const struct slv_dtls_address *from,
                    struct slv_dtls_assoc *there, const uint8_t *p, size_t n,
                    struct slv_dtls_accepted *ret) SLV_MUST_USE;

/* Whether a datagram from a's address begins a handshake that is not a's. */
bool slv_dtls_is_new(const struct slv_dtls_assoc *a, const uint8_t *p, size_t n);

/* A datagram for this association. What is none is dropped without a word, what was there before
 * too (a window of 64 records). SLV_E_NET: the association is no more; SLV_E_NOMEM: nor is it now.
 */
int slv_dtls_feed(struct slv_dtls_assoc *a, uint64_t now, const uint8_t *p, size_t n);

/* Sends p[0..n) as one datagram; no bytes are no datagram. SLV_E_LIMIT: more than slv_dtls_room;
 * SLV_E_BUSY: not open yet; SLV_E_NET: not open any more; SLV_E_NOMEM: nor is it now. */
int slv_dtls_send(struct slv_dtls_assoc *a, const void *p, size_t n) SLV_MUST_USE;

/* When slv_dtls_tick is due; UINT64_MAX: never. Changes with every call. */
uint64_t slv_dtls_timeout(const struct slv_dtls_assoc *a, uint64_t now);
void slv_dtls_tick(struct slv_dtls_assoc *a, uint64_t now);

/* Tells the peer, if it is open, and frees it. NULL is none. */
void slv_dtls_assoc_close(struct slv_dtls_assoc *a);

enum slv_dtls_state slv_dtls_state(const struct slv_dtls_assoc *a);
enum slv_dtls_reason slv_dtls_reason(const struct slv_dtls_assoc *a);
const char *slv_dtls_reason_text(enum slv_dtls_reason reason);
/* Sets err to what has happened, with the peer's own reason where it sent one. SLV_E_TRUST for
 * those that are about who the peer is, SLV_E_NET for others; 0: it has not failed. */
int slv_dtls_explain(const struct slv_dtls_assoc *a, struct slv_err *err);

/* The peer's key, SLV_DTLS_KEY bytes; NULL: not proved yet. */
const uint8_t *slv_dtls_peer(const struct slv_dtls_assoc *a);
/* Which certificate the peer has shown, of those for its key: a number that another process, or the
 * same one after slv_dtls_renew, draws anew. 0: not proved yet. */
uint64_t slv_dtls_which(const struct slv_dtls_assoc *a);
const struct slv_dtls_address *slv_dtls_address(const struct slv_dtls_assoc *a);
bool slv_dtls_is_client(const struct slv_dtls_assoc *a); /* this node connected */
bool slv_dtls_is_resumed(const struct slv_dtls_assoc *a);
/* Whatever the caller keeps with it. */
void slv_dtls_set_user(struct slv_dtls_assoc *a, void *user);
void *slv_dtls_user(const struct slv_dtls_assoc *a);

/* Whether this is the one to be kept, of two open associations of which each node began one: the
 * one that the node with the lower key began. False where the peer is not known. */
bool slv_dtls_prefer(const struct slv_dtls_assoc *a);

/* Bytes that a record adds to what it holds: 37, or 29 with ChaCha20; 37 until it is open. */
uint32_t slv_dtls_overhead(const struct slv_dtls_assoc *a);
uint32_t slv_dtls_mtu(const struct slv_dtls_assoc *a);
/* Bytes that one slv_dtls_send takes: MTU less overhead. */
uint32_t slv_dtls_room(const struct slv_dtls_assoc *a);
/* SLV_E_USAGE: out of range. */
int slv_dtls_set_mtu(struct slv_dtls_assoc *a, uint32_t mtu) SLV_MUST_USE;

/* What a later slv_dtls_connect to the same peer may resume: of an open association that this node
 * began, NULL otherwise. It outlives the association, and no restart. */
struct slv_dtls_session *slv_dtls_session(const struct slv_dtls_assoc *a) SLV_MUST_USE;
void slv_dtls_session_close(struct slv_dtls_session *s);

/* --- counts ----------------------------------------------------------------------------------- */

struct slv_dtls_counts {
    uint64_t crossed;     /* hellos that this node's own ones go before */
    uint64_t garbage;     /* given to slv_dtls_accept, and no hello */
    uint64_t hellos;      /* without a cookie */
    uint64_t cookies_bad; /* with one that is wrong or old */
    uint64_t accepted;    /* handshakes that peers began */
    uint64_t connected;   /* and this node */
    uint64_t opened;      /* of both */
    uint64_t resumed;     /* of them */
    uint64_t not_resumed; /* sessions that a peer asked for, and that were there, but not any more
                              for a key that is let in, or in time */
    uint64_t kept_out;    /* datagrams that were not given to OpenSSL */
    uint64_t failed[SLV_DTLS_REASONS];
    uint32_t assocs;     /* now */
    uint32_t handshakes; /* of peers, now */
    uint32_t sessions;   /* kept now */
};
void slv_dtls_counts(const struct slv_dtls *d, struct slv_dtls_counts *ret);

#endif
