/* transport_int.h: what the files of the transport share.
 *
 *     transport.c           open, close, timer, counts, what a node calls
 *     transport_address.c   addresses: text, sockaddr, the bytes that stand for one in dtls.h
 *     transport_frame.c     messages, frames of streams, announcements: read and written
 *     transport_gate.c      how much a source may begin
 *     transport_way.c       ways: made, found by address, opened, ended
 *     transport_peer.c      peers: kept, which way is used
 *     transport_try.c       trying addresses, better ways, and new ones when this node has moved
 *     transport_udp.c       UDP sockets and DTLS on them
 *     transport_tcp.c       TCP and TLS
 *     transport_relay.c     DTLS through others, and for others
 *     transport_discover.c  announcements
 *
 * Invariants:
 *   1. A way is in `half` until it opens or ends, and in its peer's list from when the peer is
 *      known (own ones: from the start) until it ends. A way with an association is in `map` until
 *      it ends.
 *   2. Ways end by transport_way_end, which may be called anywhere, and are freed by
 *      transport_settle only, when no function of OpenSSL, dtls.h or libevent is at work on them.
 *   3. peer->used and peer->next are open, and of that peer's list. The node was told up for
 *      `used`; while there is none, but a `next`, it is not told down.
 *   4. Each address in `map` has at most two ways: the newest, and behind it an older open one.
 */
#ifndef SLV_MESH_TRANSPORT_INT_H
#define SLV_MESH_TRANSPORT_INT_H

#include "mesh/transport.h"
#include "net/stream.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define MS ((uint64_t)1000000)
#define SECOND (1000 * MS)

#define TURN_DATAGRAMS 64u   /* taken of a socket in a turn of the loop */
#define TURN_BATCH 16u       /* in one call */
#define TURN_STREAMS 8u      /* accepted in a turn */
#define HANDSHAKE_MTU 548u   /* 576 less IP and UDP */
#define FRAME_HEAD_MAX 10u   /* of a message */
#define FRAME_MAX 2048u      /* bytes of a message */
#define STREAM_HEAD 2u       /* before it on a stream */
#define STREAM_IN_MAX 16384u /* bytes of a stream that wait to be looked at */
#define STREAM_OUT_MAX 262144u
#define RELAY_OVERHEAD (37u + 9u) /* VIA */
#define RELAYS_TRIED 3u
#define YOUNG_NS SECOND /* what was proposed is not given up sooner for one as good */
#define SECONDLY SECOND /* what is looked after now and then */
#define GATES 1024u     /* a power of two */
#define HEARD_MAX 64u   /* announcing nodes that are remembered */
#define SEEN_MAX 4u     /* certificates of a peer's that are remembered */
#define TWIN_RETURNS 3u /* of them, TWIN_NS apart at most, show that there are two processes */
#define TWIN_NS (900 * SECOND)

/* --- transport_address.c ---------------------------------------------------------------------- */

struct address {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t n;
};

/* "ADDRESS:PORT" or "[ADDRESS]:PORT", numbers. Port 0 only where `listens`. */
int transport_address_parse(const char *text, bool listens, struct address *ret) SLV_MUST_USE;
/* The same, and names. */
int transport_address_resolve(const char *text, struct address *ret,
                              struct slv_err *err) SLV_MUST_USE;
void transport_address_text(const struct address *a, char ret[SLV_TRANSPORT_ADDRESS_TEXT]);
bool transport_address_equal(const struct address *a, const struct address *b, bool ports);
uint16_t transport_address_port(const struct address *a);
void transport_address_set_port(struct address *a, uint16_t port);
bool transport_address_loops(const struct address *a); /* it is this machine's own */
bool transport_address_any(const struct address *a);
/* What stands for it in dtls.h: with the socket, as each socket has associations of its own. */
struct slv_dtls_address transport_address_pack(const struct address *a, unsigned socket);
void transport_address_unpack(const struct slv_dtls_address *p, struct address *ret,
                              unsigned *ret_socket);
/* And for a peer behind a relay. */
struct slv_dtls_address transport_address_pack_via(uint64_t relay, uint64_t peer);
void transport_address_unpack_via(const struct slv_dtls_address *p, uint64_t *ret_relay,
                                  uint64_t *ret_peer);
/* What it is limited by: an IPv4 address, the upper half of an IPv6 one. *ret_n bytes. */
void transport_address_source(const struct address *a, uint8_t ret[9], size_t *ret_n);

/* --- transport_frame.c ------------------------------------------------------------------------ */

enum frame_kind {
    FRAME_DATA,
    FRAME_USE,
    FRAME_USED,
    FRAME_VIA,
    FRAME_OF,
    FRAME_NOWHERE,
    FRAME_WELCOME,
    FRAME_TWIN,
    FRAME_KINDS
};
#define FRAME_RELAYS 1u /* flag */

struct frame {
    enum frame_kind kind;
    uint8_t flags;
    uint64_t id;          /* of a node; of USE and USED: the mesh */
    struct slv_str bytes; /* borrowed */
};

bool transport_frame_read(struct slv_str message, struct frame *ret) SLV_MUST_USE;
/* Bytes written: FRAME_HEAD_MAX at most. f->bytes goes behind them. */
size_t transport_frame_head(const struct frame *f, uint8_t ret[FRAME_HEAD_MAX]);

/* Of the first bytes of a stream: SLV_OK: *ret_n bytes of a message are at STREAM_HEAD; SLV_E_BUSY:
 * more are needed; SLV_E_FORMAT: a length that cannot be. */
int transport_stream_next(const uint8_t *p, size_t n, size_t *ret_n) SLV_MUST_USE;

#define ANNOUNCE_BYTES 22u
struct announce {
    uint64_t mesh, node;
    uint16_t port;
};
bool transport_announce_read(struct slv_str datagram, struct announce *ret) SLV_MUST_USE;
void transport_announce_write(const struct announce *a, uint8_t ret[ANNOUNCE_BYTES]);

/* --- transport_gate.c ------------------------------------------------------------------------- */

/* Some sources share one, by a hash that they do not know. */
struct gate {
    uint32_t half_open;
    uint32_t tokens; /* thousandths */
    uint64_t at;
};

struct gates {
    uint8_t key[16];
    uint32_t most, rate;
    struct gate gate[GATES];
};

void transport_gates_init(struct gates *g, uint32_t most, uint32_t rate);
struct gate *transport_gate_of(struct gates *g, const struct address *from);
/* Whether one more may be begun. */
bool transport_gate_open(const struct gates *g, const struct gate *x, uint64_t now);
void transport_gate_enter(const struct gates *g, struct gate *x, uint64_t now);
void transport_gate_leave(struct gate *x);

/* --- ways and peers --------------------------------------------------------------------------- */

enum way_state { WAY_HALF, WAY_OPEN, WAY_OVER };

struct peer;
struct way {
    struct slv_transport *t;
    struct peer *peer; /* NULL: not known yet */
    struct way *next;  /* of the peer; stays when it is over */
    struct way *over_next;
    struct way *half_prev, *half_next;
    struct way *map_next; /* another address of the same place in the map */
    struct way *older;    /* the one before, of the same address */
    enum slv_way kind;
    enum way_state state;
    bool own;    /* this node began it */
    bool offers; /* the peer relays */
    bool mapped;
    unsigned asked; /* times that USE was sent */
    uint64_t begun, opened, heard, chosen, use_at;
    uint8_t key[SLV_DTLS_KEY];
    uint64_t which; /* of the peer's certificates; 0: not proved */
    struct address to;
    unsigned socket;
    struct gate *gate; /* of a stranger's, while it is half open */

    struct slv_dtls_assoc *assoc;   /* UDP, RELAYED */
    struct slv_dtls_address packed; /* the same */
    uint64_t relay, relayed;        /* RELAYED: through whom, to whom */
    struct address local;           /* UDP: of this node, to which the peer began it; n 0: any */
    struct address source;          /* UDP: this node's own address towards it */
    bool looked;                    /* and it was found out */
    struct bufferevent *bev;        /* TCP */
    uint64_t deadline;
    bool shaken; /* TCP: the handshake of TLS is through */
};

/* Trying for a way. */
struct try {
    bool on;
    uint64_t begun, udp_at, tcp_at, relay_at; /* when the next of each is due */
    unsigned udp, tcp, relays;                /* begun */
    uint64_t relay_after;                     /* the number of the relay that was tried last */
};

/* The certificates of a peer's that ways of a kind were opened with, the last one first. A process
 * has one for each kind at a time, and none that it had before: one that comes back after another
 * one is another process's. (A handshake that began before a certificate was renewed may end
 * behind one that began after: so a single return is none.) */
struct seen {
    uint64_t which[SEEN_MAX];
};

struct peer {
    uint64_t id;
    uint8_t key[SLV_DTLS_KEY];
    bool has_key, pinned; /* pinned: the node said which it must be */
    bool is_up, leads;    /* leads: this node does */
    struct peer *gone_next;
    struct way *ways, *used;
    struct way *next; /* the leader's: it was proposed, and is used when the peer has said so */
    struct try try;
    uint64_t again_at; /* when a better way is looked for; UINT64_MAX: not */
    uint64_t touched;  /* when something was begun or ended */
    struct address address[SLV_TRANSPORT_ADDRESSES_MAX];
    size_t n_addresses;
    struct slv_dtls_session *session;
    struct seen seen[SLV_WAYS];
    unsigned returns;  /* of a certificate, none longer than TWIN_NS after the one before */
    uint64_t returned; /* the last of them */
};

struct port {
    struct address bound;
    int udp, tcp;
    struct event *udp_event, *tcp_event;
};

struct heard {
    uint64_t id, at;
    struct address from;
};

struct discovery {
    struct slv_transport_discover conf;
    struct address group[2];
    int fd[2]; /* IPv4, IPv6 */
    struct event *event[2], *timer;
    unsigned joined[2][16]; /* interfaces; 0: none */
    struct heard heard[HEARD_MAX];
    uint64_t announced_at, tokens_at;
    uint32_t tokens;
    bool soon;
    char interface[32];
};

struct slv_transport {
    struct slv_transport_conf conf;
    const struct slv_clock *clock;
    uint64_t own; /* number */
    struct port port[SLV_TRANSPORT_LISTEN_MAX];
    size_t n_ports;
    int look_fd[2];                /* by which this node's addresses are asked for */
    struct slv_dtls *dtls, *inner; /* inner: through relays; NULL: not used */
    struct slv_stream *stream;     /* NULL: no TCP */
    struct event *timer;
    uint64_t due;
    uint64_t secondly, renew_at;

    struct way **map; /* [map_n], a power of two */
    size_t map_n;
    uint8_t map_key[16];
    struct way *half, *over;
    const struct address *arriving; /* `local` of the arrival that is being taken in */
    uint32_t n_strangers;           /* streams that are half open and were accepted */
    struct peer *gone;              /* to be freed when nothing is at work */
    struct peer **peer;             /* ascending */
    size_t n_peers, room_peers;
    struct gates gates;
    uint64_t relay_at; /* of relay_tokens */
    uint64_t relay_tokens;
    struct discovery discovery;
    bool has_discovery;
    bool closing;
    struct slv_transport_stats stats;
    uint8_t buffer[TURN_BATCH][FRAME_MAX + 1];
};

/* --- transport.c ------------------------------------------------------------------------------ */

uint64_t transport_now(const struct slv_transport *t);
/* The timer is to run at `at`, or before. */
void transport_soon(struct slv_transport *t, uint64_t at);

/* --- transport_way.c -------------------------------------------------------------------------- */

/* In `half`, and of peer's ways unless NULL. NULL: no memory. */
struct way *transport_way_new(struct slv_transport *t, enum slv_way kind, struct peer *p,
                              const struct address *to) SLV_MUST_USE;
/* Into the map: the newest of its address. */
void transport_way_map(struct way *w);
struct way *transport_way_find(const struct slv_transport *t, const struct slv_dtls_address *a);
/* The key is proved: of whom it is, and what that means for the one in use. */
void transport_way_opened(struct way *w, const uint8_t key[SLV_DTLS_KEY], uint64_t which);
void transport_way_end(struct way *w);
void transport_way_failed(struct way *w, enum slv_dtls_reason reason);
/* Begins the handshake of a new way whose `packed` is set. The way; NULL: it has ended. */
struct way *transport_way_begin(struct way *w, struct slv_dtls *d,
                                const struct slv_dtls_session *session);
/* Sends a message. False: it is lost. */
bool transport_way_send(struct way *w, const struct frame *f);
/* A message came. */
void transport_way_receive(struct way *w, struct slv_str message);
/* Frees what is over. */
void transport_settle(struct slv_transport *t);
/* An association of dtls.h is given to its way, or has changed. */
void transport_way_changed(void *ctx, struct slv_dtls_assoc *a);
void transport_way_data(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n);

/* A datagram of DTLS from where no way need be yet. */
struct arrival {
    struct slv_dtls *d;
    struct slv_dtls_address at;
    enum slv_way kind;
    unsigned socket;         /* UDP */
    struct address from;     /* UDP */
    struct address local;    /* UDP: to which it was sent; n 0: not known */
    uint64_t relay, relayed; /* RELAYED */
    struct slv_str bytes;
};
void transport_way_arrive(struct slv_transport *t, const struct arrival *a);

/* --- transport_peer.c ------------------------------------------------------------------------- */

struct peer *transport_peer_find(const struct slv_transport *t, uint64_t id);
/* Finds or makes. SLV_E_LIMIT, SLV_E_NOMEM. */
int transport_peer_get(struct slv_transport *t, uint64_t id, struct peer **ret) SLV_MUST_USE;
void transport_peer_free(struct peer *p);
/* A way of it has opened. */
void transport_peer_odd(const struct peer *p, const struct way *w, enum slv_transport_odd what);
void transport_peer_opened(struct peer *p, struct way *w);
void transport_peer_ended(struct peer *p, struct way *w);
/* Something was heard on a way: f: USE, USED or DATA. */
void transport_peer_heard(struct peer *p, struct way *w, const struct frame *f);
/* When to call again. */
uint64_t transport_peer_tick(struct slv_transport *t, struct peer *p, uint64_t now);
/* Ends all its ways, without a word to the node. */
void transport_peer_drop(struct peer *p);

/* --- transport_try.c -------------------------------------------------------------------------- */

void transport_try_begin(struct slv_transport *t, struct peer *p);
/* All was begun, and has ended in nothing, or in a way. */
bool transport_try_over(const struct slv_transport *t, const struct peer *p);
/* Begins what is due; when to call again. */
uint64_t transport_try_tick(struct slv_transport *t, struct peer *p, uint64_t now);
/* A relay has no way to it. */
void transport_try_nowhere(struct slv_transport *t, struct peer *p);
/* Whether this node's own address towards a peer has changed. */
void transport_try_moved(struct slv_transport *t, struct peer *p);
void transport_try_source(struct slv_transport *t, struct way *w);

/* --- transport_udp.c -------------------------------------------------------------------------- */

int transport_udp_open(struct port *port, struct slv_err *err, const char *name) SLV_MUST_USE;
int transport_udp_start(struct slv_transport *t, struct port *port) SLV_MUST_USE;
/* The socket that reaches an address; SLV_E_NOENT: none does. */
int transport_udp_port(const struct slv_transport *t, const struct address *to,
                       unsigned *ret) SLV_MUST_USE;
/* Begins an association. NULL: not now. */
struct way *transport_udp_connect(struct slv_transport *t, struct peer *p,
                                  const struct address *to);
void transport_udp_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n);
/* From the address `local`, where it has one: who is at several must answer from the one that was
 * asked. */
void transport_udp_reply(struct slv_transport *t, unsigned socket, const struct address *to,
                         const struct address *local, struct slv_str bytes);

/* --- transport_tcp.c -------------------------------------------------------------------------- */

int transport_tcp_open(struct port *port) SLV_MUST_USE; /* errno */
int transport_tcp_start(struct slv_transport *t, struct port *port) SLV_MUST_USE;
struct way *transport_tcp_connect(struct slv_transport *t, struct peer *p,
                                  const struct address *to);
bool transport_tcp_send(struct way *w, const struct frame *f);
void transport_tcp_free(struct way *w);

/* --- transport_relay.c ------------------------------------------------------------------------ */

struct way *transport_relay_connect(struct slv_transport *t, struct peer *p, struct peer *relay);
void transport_relay_output(void *ctx, struct slv_dtls_assoc *a, const uint8_t *p, size_t n);
void transport_relay_reply(struct slv_transport *t, uint64_t relay, uint64_t peer, const uint8_t *p,
                           size_t n);
/* VIA, OF and NOWHERE. */
void transport_relay_receive(struct way *w, const struct frame *f);
/* The way to a relay is no more. */
void transport_relay_lost(struct slv_transport *t, uint64_t relay);

/* --- transport_discover.c --------------------------------------------------------------------- */

int transport_discover_open(struct slv_transport *t, struct slv_err *err) SLV_MUST_USE;
void transport_discover_close(struct slv_transport *t);

#endif
