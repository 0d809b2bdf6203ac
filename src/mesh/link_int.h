/* link_int.h: what the files of the link share.
 *
 *     link.c          open, queues, next, counters
 *     link_send.c     what a datagram is filled with: lanes by turns, pieces of their streams
 *     link_receive.c  what came: frames, acknowledgements to give, streams put together
 *     link_recover.c  what was sent: acknowledged, lost, sent again; the round trip, the window
 *
 * What a lane has sent and not got acknowledged is a row of pieces, one after the other without
 * gaps, up to the first byte never sent: each is in flight in one datagram, lost, or acknowledged.
 * Pieces are allocated when a datagram is made, and only joined or freed when an answer comes:
 * nothing that a peer says needs memory to be believed.
 *
 *     stream   base                                 next               end
 *              | in flight | acked | lost | in flight | not yet sent   |
 *
 * A datagram that wants an answer has a record, in the order of their numbers, until it is
 * acknowledged, or lost for so long that it will not come; the others have none.
 */
#ifndef SLV_MESH_LINK_INT_H
#define SLV_MESH_LINK_INT_H

#include "mesh/link.h"
#include "mesh/wire.h"

#define MS ((uint64_t)1000000)
#define SECOND (1000 * MS)

#define LINK_RANGES 32u                      /* of numbers of datagrams that are remembered */
#define LINK_ISLANDS 512u                    /* of a lane: stretches behind a gap */
#define LINK_RECORDS 4096u                   /* datagrams in flight */
#define LINK_DATAGRAM_MAX 65536u             /* bytes of one that comes */
#define LINK_NUMBER_MAX (UINT64_MAX >> 2)    /* of datagrams, and of bytes of a stream */
#define LINK_ACK_DELAY (10 * MS)             /* how long an answer may wait for company */
#define LINK_ACK_EVERY 2u                    /* datagrams that are answered at once */
#define LINK_DELAY_MAX ((uint64_t)1000000)   /* us, that a peer may say it waited */
#define LINK_RTT_FIRST (333 * MS)            /* before any was measured (RFC 9002, 6.2.2) */
#define LINK_RTT_MAX (60 * SECOND)           /* a longer one is taken for this */
#define LINK_GRANULARITY (1 * MS)            /* least time that timers tell apart */
#define LINK_REORDER 3u                      /* a datagram is lost when one so far behind arrived */
#define LINK_REORDER_MAX 64u                 /* the same, with a network that mixes them */
#define LINK_PROBE_TIME_MAX (8 * SECOND)     /* between askings of a silent peer */
#define LINK_PERSISTENT 3u                   /* probe times of loss: all begins anew */
#define LINK_DEAD_SENT 3u                    /* overdue ones before a peer is called dead */
#define LINK_WINDOW_FIRST 10u                /* datagrams in flight at the start */
#define LINK_WINDOW_MIN 2u                   /* and at least */
#define LINK_WINDOW_MAX ((uint64_t)16 << 20) /* bytes */
#define LINK_BURST 10u                       /* datagrams that are sent without a pause */
#define LINK_RATE_BURST (100 * MS)           /* of the rate of conf, that are */
#define LINK_RETRY (10 * MS)                 /* after there was no memory */
#define LINK_MTU_STEP 16u                    /* bytes: a search ends when it is this near */
#define LINK_MTU_TRIES 3u                    /* lost probes of one size */
#define LINK_MTU_AGAIN (600 * SECOND) /* until a larger size is tried again (RFC 8899, 5.1.1) */
#define LINK_BLACK_HOLE 6u            /* large datagrams lost in a row */
#define LINK_SPLIT_MIN 48u            /* a piece is not cut for less room than this */

enum { FRAME_PAD, FRAME_PING, FRAME_ACK, FRAME_DATAGRAM, FRAME_CREDIT, FRAME_DATA = 8 };

/* Bytes that are added at the end and taken from the front. */
struct link_bytes {
    char *data; /* heap; NULL while empty. What is held begins at head */
    size_t head, len, cap;
};

/* Numbers from to to, the last not in it. */
struct link_range {
    uint64_t from, to;
};

enum link_piece_state { PIECE_FLIGHT, PIECE_LOST, PIECE_ACKED };

struct link_piece {
    struct link_piece *before, *after; /* in the stream */
    struct link_piece *beside;         /* in flight: another of the same datagram */
    uint64_t from, to;
    enum slv_lane lane;
    enum link_piece_state state;
};

struct link_out {
    struct link_bytes queue; /* from `base` on */
    uint64_t base, next;     /* of the stream: not acknowledged, never sent */
    uint64_t credit;
    uint64_t lost; /* bytes to be sent again */
    struct link_piece *first, *last;
};

struct link_in {
    struct link_bytes held; /* from `base` on, with holes behind `whole` */
    uint64_t base, whole;   /* of the stream: given up to here, here without gaps up to here */
    uint64_t granted;
    struct link_range *island; /* heap, ascending: what is there behind a gap */
    size_t n_islands, room;
    bool holds, tell; /* no more credit; the last one is to be sent */
};

enum link_record_state { RECORD_FLIGHT, RECORD_LOST, RECORD_ACKED };

struct link_record {
    uint64_t number, at;       /* when it was sent */
    struct link_piece *pieces; /* by `beside` */
    uint64_t told;             /* an ack frame in it spoke of numbers below this */
    uint32_t size;
    uint8_t state;
    uint8_t credits; /* bit of each lane whose credit it told */
    bool is_probe;   /* of the path's MTU: its loss is not congestion */
    bool is_full;    /* the window was used when it was sent */
};

/* What the peer is to be told of its datagrams. */
struct link_heard {
    struct link_range range[LINK_RANGES + 1]; /* ascending */
    size_t n;
    uint64_t floor;      /* numbers below are no longer known: they are dropped */
    uint64_t known;      /* the peer knows which of those below came */
    uint64_t known_from; /* answers in datagrams before this one did not have all of them */
    uint64_t newest_at;
    uint64_t due;     /* when to answer; UINT64_MAX: nothing to answer */
    uint32_t waiting; /* datagrams to answer */
};

struct link_recover {
    struct link_record *record; /* ring of `room` from `first`, ascending */
    size_t first, n, room;
    size_t n_flight;                     /* records in flight */
    uint64_t in_flight;                  /* bytes */
    uint64_t next_number;                /* of the next datagram */
    uint64_t acked_to;                   /* the largest number acknowledged, and one */
    uint64_t srtt, rttvar, rtt_min, rtt; /* rtt: the last */
    uint64_t rtt_at;                     /* of the first measure; UINT64_MAX: none */
    uint64_t loss_at, last_sent, waiting_since;
    uint32_t probes_sent; /* times it was asked without answer (PTO count) */
    uint32_t overdue;     /* datagrams sent when there should have been an answer */
    uint32_t probes;      /* datagrams to be sent as asking, now */
    uint32_t reorder;
    bool is_dead;

    uint64_t cwnd, ssthresh, grown; /* grown: acked bytes not yet turned into window */
    uint64_t recovery_at;           /* what was sent before does not count again; 0: none */
    uint64_t undo_cwnd, undo_ssthresh;
    uint64_t undo_lost; /* datagrams whose loss is why the window is smaller than undo_cwnd */
    uint64_t paced_to;  /* pacing: the bytes sent so far are those of the time up to here */

    size_t mtu, too_big; /* known to arrive, known not to */
    size_t mtu_probe;    /* size in flight; 0: none */
    uint32_t mtu_fails, big_lost;
    uint64_t mtu_again, big_acked; /* time of the next search; number of the last large that came */
};

struct slv_link {
    struct slv_link_conf conf;
    struct link_out out[SLV_LANES];
    struct link_in in[SLV_LANES];
    struct link_bytes datagrams; /* each behind two bytes of its length, the lower first */
    struct link_heard heard;
    struct link_recover r;
    struct slv_link_stats stats;
    uint64_t rated_to; /* rate: as paced_to */
    uint64_t retry_at; /* no memory until then */
    uint32_t turn;     /* datagrams with bytes of lanes; of these every SLV_LINK_TURNth is a turn */
    int32_t balance;   /* what REPAIR had beyond its share, in bytes of BULK */
    bool is_broken;    /* by a message that cannot be */
};

/* --- bytes and ranges ------------------------------------------------------------------------- */

/* Makes it at least len bytes; what is new has any content. */
int link_bytes_extend(struct link_bytes *b, size_t len) SLV_MUST_USE;
void link_bytes_drop(struct link_bytes *b, size_t n);
static inline char *link_bytes_at(const struct link_bytes *b, size_t i) {
    return b->data + b->head + i;
}

/* Adds a range; v has room for one more than n. */
void link_ranges_add(struct link_range *v, size_t *n, struct link_range r);

/* --- sending ---------------------------------------------------------------------------------- */

/* Whether a lane has bytes that may be sent, but for windows. */
bool link_lane_waits(const struct link_out *o);
/* Whether any has, or a credit is to be told. */
bool link_waits(const struct slv_link *l);
/* A piece is acknowledged, or lost: it is joined to its like, and what is done with is freed. */
void link_piece_end(struct slv_link *l, struct link_piece *p, enum link_piece_state state);
void link_out_fini(struct link_out *o);

/* --- receiving -------------------------------------------------------------------------------- */

void link_in_fini(struct link_in *in);
/* Gives credit anew where it pays. */
void link_in_credit(struct slv_link *l, enum slv_lane lane);

/* An ack frame: numbers, the last not in it, descending. */
struct link_ack {
    uint64_t delay; /* us */
    size_t n;
    struct link_range range[LINK_RANGES];
};

/* --- recovery --------------------------------------------------------------------------------- */

void link_recover_init(struct slv_link *l);
/* Room for one more record, at a cost for the oldest if it is to be had at all. SLV_E_NOMEM. */
int link_recover_ready(struct slv_link *l) SLV_MUST_USE;
bool link_recover_has_room(const struct slv_link *l);
/* A datagram was sent: the rest of a record for which there is room. */
void link_recover_sent(struct slv_link *l, uint64_t now, struct link_record *rec);
void link_recover_acked(struct slv_link *l, uint64_t now, const struct link_ack *ack);
/* What time brings: losses, and the wish to ask (r.probes). */
void link_recover_tick(struct slv_link *l, uint64_t now);
/* The next time at which it would. */
uint64_t link_recover_next(const struct slv_link *l);
/* When pacing and the rate let more bytes of lanes go; now or before: at once. */
uint64_t link_recover_free_at(const struct slv_link *l);
/* Counts bytes that were sent as to the rate. */
void link_recover_rate(struct slv_link *l, uint64_t now, size_t n);
/* The size that the path should be probed with now; 0: none. */
size_t link_recover_mtu_probe(const struct slv_link *l, uint64_t now);

#endif
