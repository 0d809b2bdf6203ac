/* transport.h: the network of a mesh node: what node.h asks of the world, on real sockets.
 *
 *     node  --connect, send, disconnect-->  transport  --DTLS on UDP-------------->  peer
 *           <--up, down, receive----------             --TLS 1.3 on TCP----------->
 *                                                      --DTLS through a third----->
 *
 * A peer is known by its number, which its key gives (conf.id_of); its key is what a handshake
 * proves. A way is an association with it: over UDP, over TCP where UDP is closed, or relayed where
 * neither goes. The node sees none of this: it is told that a peer is up, gives and gets datagrams,
 * and is told that it is down. up again without down: a new association is in the place of the old
 * one, for both nodes alike; nothing of the old one comes any more.
 *
 * Which way is used. Of two nodes the one with the lower key leads: it says on a way that this is
 * the one (USE), again until it hears something on it. The other goes over to that way, answers
 * (USED) and closes those before; the leader goes over when it hears that. What comes on another
 * way than the one in use is dropped, and a leader does not go back to a way that it has left: so a
 * datagram never reaches another association than that which it was sent in. The leader goes over
 * to a new way when that is better (UDP before TCP before relayed), or when nothing was heard on
 * the old one since the new was begun: the peer has moved, or lost it, or begins again. Two ways
 * that open at once end in one (of two between the same addresses dtls.h makes one by itself).
 *
 * Both give a way to the node only when they have heard something in it: whoever is through with a
 * handshake first must not fill the other's with datagrams that come too early (dtls_record.h).
 *
 * Connecting. A peer's addresses are tried over UDP 150 ms apart, then over TCP from 1.5 s on, then
 * through others from 3 s on; the first that opens is used. While it is not UDP, better ways are
 * tried again every minute. A node whose own address towards a peer has changed begins a new way,
 * with the session of the old; the old one goes when the new one is there. Backing off and trying
 * again is the node's, and so is finding out that a peer is dead.
 *
 * Messages on a way, of which each is a datagram of its association, or behind its length in two
 * bytes, the high one first, on a stream. Numbers are eight bytes, the high one first.
 *
 *     0 DATA      a datagram of the node's
 *     1 USE       flags 1: bit 0: it relays; number 8, of the mesh
 *     2 USED      flags 1, number 8, of the mesh
 *     3 VIA       number 8, a datagram of DTLS: to a relay, for that peer
 *     4 OF        number 8, a datagram of DTLS: from a relay, of that peer
 *     5 NOWHERE   number 8: the relay has no way of its own to that peer
 *     6 WELCOME   nothing; the first on a stream, from the one that accepted
 *     7 TWIN      nothing: another process has the key of who is told this
 *
 * Relaying. Who has no direct way carries the datagrams of an association of DTLS in those of a
 * relay's, which reads nothing and changes nothing unnoticed. Only what came on a direct way is
 * relayed, and only to a direct way: one hop. A relay's bytes are bounded by conf.relay_rate.
 *
 * What strangers can do. Before a cookie has come back nothing is kept (dtls.h). Handshakes that
 * strangers began and streams that have not proved a key are bounded in number, of all and of each
 * source (an IPv4 address, an IPv6 /64), and so is how fast a source may begin them. Each turn of
 * the loop takes a bounded number of datagrams and streams.
 *
 * A key is one process's. Of two that have the same each takes the other's place, again and again,
 * and nothing fails. What tells them apart are the certificates that they show (slv_dtls_which);
 * who notices tells both (TWIN).
 *
 * A node is of one mesh. Who is let in and says that it is of another is told of, and let go.
 *
 * Path MTU. Datagrams are not fragmented: those that are too long for the path are lost, which
 * links (link.h) find out. Handshakes use datagrams that every path carries. A datagram of
 * SLV_TRANSPORT_DATAGRAM bytes fits each way on each path of 576 bytes: to be a link's mtu_min.
 *
 * SIGPIPE must be blocked or ignored in the loop's thread, as libevent's TLS writes without
 * MSG_NOSIGNAL.
 *
 * Sources: RFC 8305 (staggered tries), RFC 6347, RFC 8446, RFC 2365 (239.255.0.0/16), RFC 4291.
 * Threads: one, the loop's.
 */
#ifndef SLV_MESH_TRANSPORT_H
#define SLV_MESH_TRANSPORT_H

#include "base/clock.h"
#include "base/str.h"
#include "net/dtls.h"

#define SLV_TRANSPORT_LISTEN_MAX 8u
#define SLV_TRANSPORT_ADDRESSES_MAX 8u /* of a peer */
#define SLV_TRANSPORT_ADDRESS_TEXT 80  /* "[IPv6%interface]:port" and NUL */
#define SLV_TRANSPORT_PEERS_MAX 4096u
/* Bytes of a node's datagram that every way carries: 576 less IP and UDP (28), DTLS (37), VIA (9),
 * DTLS (37) and DATA (1), the IPv4 way; and the most that is sent: */
#define SLV_TRANSPORT_DATAGRAM 464u
#define SLV_TRANSPORT_DATAGRAM_MAX 1434u

struct event_base;
struct slv_transport;

enum slv_transport_odd {
    SLV_TRANSPORT_TWIN,     /* two processes have this peer's key */
    SLV_TRANSPORT_OWN_TWIN, /* another one has this node's, as the peer says */
    SLV_TRANSPORT_OTHER,    /* this peer is of another mesh */
    SLV_TRANSPORT_ELSE,     /* at an address of this peer somebody else answers */
    SLV_TRANSPORT_ODDS
};

/* "twin", and what is said of the node behind its number: "has a key that two machines have, ..".
 * Never NULL. */
struct slv_transport_odd_text {
    const char *name, *says;
};
extern const struct slv_transport_odd_text slv_transport_odd_text[SLV_TRANSPORT_ODDS];

/* Announcements in the local network, by multicast: {mesh, number, port}. They are not
 * authenticated: an address found is one to be tried. */
struct slv_transport_discover {
    bool on;
    const char *group4;    /* NULL: "239.255.83.76" */
    const char *group6;    /* NULL: "ff02::534c" */
    uint16_t port;         /* 0: 8376 */
    const char *interface; /* NULL: all that can multicast and are no loopback */
    uint32_t every_ms;     /* with a quarter of jitter; 0: 5000 */
};

/* Zero where a default is named. Strings and arrays are borrowed for the call of open only.
 * Functions get ctx; all but allow, id_of, sign, time and odd may call send, connect and
 * disconnect. */
struct slv_transport_conf {
    struct event_base *base; /* the caller's; outlives the transport */
    void *ctx;
    const struct slv_clock *clock; /* NULL: slv_clock_system */

    /* "HOST:PORT" or "[HOST]:PORT"; port 0: the system picks. One UDP socket each, and a TCP one of
     * the same port. */
    const char *const *listen;
    size_t n_listen; /* 1 to SLV_TRANSPORT_LISTEN_MAX */
    bool no_tcp;

    uint64_t mesh; /* its number: peers of another, and their announcements, are not listened to */
    uint8_t key[SLV_DTLS_KEY]; /* the node's own; the next three as in struct slv_dtls_conf */
    int (*sign)(void *ctx, const void *p, size_t n, uint8_t ret[SLV_DTLS_SIGNATURE]);
    void (*time)(void *ctx, uint64_t *ret_earliest, uint64_t *ret_latest); /* may be NULL */
    bool (*allow)(void *ctx, const uint8_t peer[SLV_DTLS_KEY]);
    uint64_t (*id_of)(void *ctx, const uint8_t key[SLV_DTLS_KEY]);

    /* Not 0: it cannot be had now; its ways are closed, and down does not follow. */
    int (*up)(void *ctx, uint64_t peer);
    void (*down)(void *ctx, uint64_t peer);
    void (*receive)(void *ctx, uint64_t peer, struct slv_str datagram); /* borrowed */
    /* What is not as it should be: called each time that it shows. May be NULL. */
    void (*odd)(void *ctx, uint64_t peer, enum slv_transport_odd what);
    /* Somebody announces itself at an address, which slv_transport_connect takes. May be NULL. */
    void (*found)(void *ctx, uint64_t peer, const char *address);

    bool chacha_first;        /* this machine has no AES instructions */
    uint32_t peers_max;       /* that are kept; 0: SLV_TRANSPORT_PEERS_MAX, which is the most */
    uint32_t handshakes_max;  /* that strangers began; of streams as many more; 0: 64 */
    uint32_t per_source;      /* of those; 0: 16 */
    uint32_t per_source_rate; /* begun a second, at twice that at once; 0: 20 */
    uint32_t stagger_ms;      /* between a peer's addresses; 0: 150 */
    uint32_t tcp_after_ms;    /* 0: 1500 */
    uint32_t relay_after_ms;  /* 0: 3000 */
    uint32_t again_ms;        /* between tries for a better way; 0: 60000 */
    uint32_t retransmit_ms;   /* of a handshake's first; 0: 500 */
    uint32_t handshake_ms;    /* how long one may take; 0: 10000 */
    bool relay_use;           /* be reached and reach others through relays */
    uint64_t relay_rate;      /* bytes a second relayed for others, a second's at once; 0: none */
    struct slv_transport_discover discover;
};

/* SLV_E_USAGE: an address that is none, too many of them, a number out of range; SLV_E_IO: an
 * address that is in use or not this machine's; SLV_E_NOMEM; as slv_dtls_open. The message begins
 * with the address it is about. */
int slv_transport_open(const struct slv_transport_conf *conf, struct slv_transport **ret,
                       struct slv_err *err) SLV_MUST_USE;
/* Tells all peers. No function of conf but those of dtls.h is called any more. NULL is none. Not
 * from within a function of conf. */
void slv_transport_close(struct slv_transport *t);

/* The i-th address that is listened at, with the port that the system picked, as text. SLV_E_NOENT:
 * there are not so many. */
int slv_transport_listening(const struct slv_transport *t, size_t i,
                            char ret[SLV_TRANSPORT_ADDRESS_TEXT]) SLV_MUST_USE;

/* Begins to try for a way to a peer, or goes on with other addresses. Of one that is up over UDP
 * the addresses are noted. key: what it must prove; NULL: any whose id_of is that. addresses:
 * "ADDRESS:PORT", numbers, no names; no more than SLV_TRANSPORT_ADDRESSES_MAX are looked at, and
 * with none it is reached through relays only. SLV_E_USAGE: an address that is none, and nothing
 * was begun; SLV_E_LIMIT: too many peers are there; SLV_E_NOMEM. */
int slv_transport_connect(struct slv_transport *t, uint64_t peer, const uint8_t *key,
                          const char *const *addresses, size_t n, struct slv_err *err) SLV_MUST_USE;
/* Closes what there is and ends trying; down does not follow. */
void slv_transport_disconnect(struct slv_transport *t, uint64_t peer);
/* A datagram that cannot be sent is lost, and counted. */
void slv_transport_send(struct slv_transport *t, uint64_t peer, struct slv_str datagram);
/* Keys that are let in have changed: closes what is open with those that are no more; down. */
void slv_transport_recheck(struct slv_transport *t);

enum slv_way { SLV_WAY_NONE, SLV_WAY_RELAYED, SLV_WAY_TCP, SLV_WAY_UDP, SLV_WAYS };
/* How a peer is reached. */
enum slv_way slv_transport_way(const struct slv_transport *t, uint64_t peer);

struct slv_transport_stats {
    uint64_t datagrams_sent, bytes_sent, datagrams_received, bytes_received; /* the node's */
    uint64_t lost;    /* datagrams that could not be sent: no way, too long, the system is full */
    uint64_t dropped; /* that came and were malformed, or on a way that is not used */
    uint64_t strange; /* datagrams on sockets that belong to nothing */
    uint64_t limited; /* handshakes and streams that were too many of a source, or of all */
    uint64_t ups, downs, moved;        /* moved: ways begun since this node's address changed */
    uint64_t odd[SLV_TRANSPORT_ODDS];  /* times that such a thing showed */
    uint64_t opened[SLV_WAYS];         /* ways */
    uint64_t failed[SLV_DTLS_REASONS]; /* handshakes, of all kinds; TIMEOUT: streams that were not
                                          accepted too */
    uint64_t relayed_bytes, relayed_datagrams, relay_refused;
    uint64_t announced, heard, heard_dropped; /* announcements */
    uint32_t open[SLV_WAYS];                  /* ways, now */
    uint32_t half_open;                       /* handshakes, of both sides, now */
    uint32_t peers, up;                       /* now: kept; up */
};
void slv_transport_stats(const struct slv_transport *t, struct slv_transport_stats *ret);

#endif
