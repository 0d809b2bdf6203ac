/* link.h: messages between two nodes over datagrams that may be lost, doubled, late, out of order.
 *
 * A transport without sockets, clock or cryptography: what goes in is datagrams and the time, what
 * comes out is datagrams, messages, and when to be asked again. The layer below gives genuine
 * datagrams of one association (DTLS), and opens a new link for each new one; the peer itself is
 * not trusted: what it can make a link hold, compute or send is bounded.
 *
 * Lanes. Messages of a lane come once each, whole and in order; lanes do not wait for each other. A
 * lane is a stream of bytes, in which each message stands behind its length; the stream is sent in
 * ranges, and a range that was lost is sent again, not the datagram that carried it. The receiver
 * says how far a stream may go (credit); the sender's queue is bounded, and a full one is said to
 * the caller. Single datagram messages beside the lanes are sent once, and neither acknowledged nor
 * counted in flight: nothing is to be learned from their loss that the caller does not see himself,
 * and a window that is full must not hold back the probes of who looks for dead nodes.
 *
 * Order of sending. URGENT goes first, then STRONG, then REPAIR and BULK, two bytes to one. Of any
 * SLV_LINK_TURN datagrams in a row that carry new bytes of lanes the last begins with a lower lane
 * that waits, by turns: so that a lane which waits begins at least one of 3 * SLV_LINK_TURN.
 * What is urgent waits for what is in flight, never for what is queued.
 *
 * What a peer can do. It holds memory of a link by not acknowledging (the queues), by leaving gaps
 * (window and message_max of each lane, twice that while it grows) and no other way. It makes the
 * link send by letting its queues go, and for each datagram of its own at most one answer.
 *
 * A datagram, all numbers as in wire.h:
 *
 *     its number, from 0 on, each once; then frames up to its end
 *     0 pad       zeros up to the end
 *     1 ping      nothing; wants to be acknowledged
 *     2 ack       largest number, delay in us, further ranges (at most 31), length of the first
 *                 less one, then for each: numbers left out less one, length less one
 *     3 datagram  bytes behind their length
 *     4 + lane    credit: the lane's stream may go up to here
 *     8 + lane    data: where in the stream, bytes behind their length (never none)
 *
 * Congestion control is NewReno as RFC 9002 has it (section 7, appendix B), with pacing: a window
 * of credit is at most some hundreds of datagrams, where CUBIC's curve is inside its Reno-friendly
 * region nearly always, and NewReno needs no root. A loss that turns out to be none gives the
 * window back (as RFC 9438, 4.9.2) and makes the link more patient with reordering.
 *
 * Sources: RFC 9000 (2, 4, 13, 14.4), RFC 9002 (5 to 7, appendices A and B), RFC 8899 (5),
 * RFC 9438 (4.9.2).
 * Threads: one at a time for a link.
 */
#ifndef SLV_MESH_LINK_H
#define SLV_MESH_LINK_H

#include "base/str.h"
#include "selvage.h"

#include <stdint.h>

enum slv_lane {
    SLV_LANE_URGENT, /* small pushes of writes */
    SLV_LANE_STRONG, /* consensus */
    SLV_LANE_REPAIR, /* anti-entropy, control */
    SLV_LANE_BULK,   /* snapshots */
    SLV_LANES
};

#define SLV_LINK_MTU_MIN ((size_t)256) /* bytes of a datagram, whatever conf says */
#define SLV_LINK_MTU_MAX ((size_t)9000)
#define SLV_LINK_MESSAGE_MAX ((size_t)1 << 20)
#define SLV_LINK_WINDOW_FIRST ((size_t)16384) /* credit of a lane before any was given */
#define SLV_LINK_LANE_MAX ((size_t)16 << 20)  /* bytes of a window or a queue */
#define SLV_LINK_MESSAGE_HEAD ((size_t)10)    /* most bytes of a queue beside a message's own */
#define SLV_LINK_DATAGRAM_HEAD ((size_t)13)   /* of mtu_min, what a datagram message cannot have */
#define SLV_LINK_DATAGRAM_QUEUE ((size_t)8192)
#define SLV_LINK_TURN 8u

/* How a link is. Zero numbers stand for what is said last. */
struct slv_link_conf {
    /* Bytes of a datagram: those that every path carries, and up to where more are tried while
     * there is much to send. Equal: nothing is tried. 475, mtu_min. */
    size_t mtu_min, mtu_max;
    size_t message_max; /* bytes of a message of a lane; the same at both ends. 1 MiB */
    size_t lane_queue;  /* bytes of each lane that wait to be sent or acknowledged, at least
                           message_max + SLV_LINK_MESSAGE_HEAD; that and 256 KiB */
    size_t lane_window; /* credit of each lane: bytes taken out of order. 256 KiB. A lane goes no
                           faster than this in one round trip */
    /* Bytes a second, all datagrams counted; 0: any. Acknowledgements, datagram messages and what
     * asks whether a silent peer is there do not wait for it, but others wait longer for them. */
    uint64_t rate;
    uint64_t dead_after; /* ns without an answer to anything; 30 s */

    /* A message that came; the bytes are borrowed for the call, in which the link may be given
     * messages and told to hold, and nothing else. */
    void (*on_message)(void *ctx, enum slv_lane lane, struct slv_str bytes);
    void (*on_datagram)(void *ctx, struct slv_str bytes); /* the same; NULL: they are dropped */
    void *ctx;
};

struct slv_link;

/* Times are ns of one clock that never goes back. SLV_E_USAGE: numbers out of range. */
int slv_link_open(const struct slv_link_conf *c, struct slv_link **ret) SLV_MUST_USE;
void slv_link_close(struct slv_link *l);

/* Puts a copy of a message of any length up to message_max into a lane's queue. SLV_E_BUSY: it is
 * full; SLV_E_LIMIT: too long; SLV_E_NOMEM. */
int slv_link_send(struct slv_link *l, enum slv_lane lane, struct slv_str bytes) SLV_MUST_USE;

/* Bytes of a lane's messages that the peer has not acknowledged. */
size_t slv_link_queued(const struct slv_link *l, enum slv_lane lane);

/* A message that is sent once, of at most mtu_min - SLV_LINK_DATAGRAM_HEAD bytes. Errors as above;
 * SLV_E_BUSY: SLV_LINK_DATAGRAM_QUEUE bytes wait. */
int slv_link_datagram(struct slv_link *l, struct slv_str bytes) SLV_MUST_USE;

/* While on, a lane gives no new credit: once what was given is used up, the peer's queue fills. */
void slv_link_hold(struct slv_link *l, enum slv_lane lane, bool on);

/* The next datagram to send now, into buf[room], room >= mtu_min; larger ones are made as room
 * allows. *ret_n 0: none. To be called until there is none: after messages were given or a datagram
 * was received, and at slv_link_next. SLV_E_USAGE; SLV_E_NOMEM: none now, and the link will ask for
 * another try soon. */
int slv_link_poll(struct slv_link *l, uint64_t now, void *buf, size_t room,
                  size_t *ret_n) SLV_MUST_USE;

/* Takes a datagram; calls back for what is whole with it. SLV_E_FORMAT: it is none, or says what
 * cannot be (an acknowledgement of what was not sent, bytes beyond the credit), and nothing of it
 * was taken. SLV_E_NOMEM, SLV_E_LIMIT (a lane has too many gaps): as if it had been lost; the peer
 * will send its lanes' bytes again. */
int slv_link_receive(struct slv_link *l, uint64_t now, struct slv_str bytes) SLV_MUST_USE;

/* When to poll next: now or before it: at once. UINT64_MAX: not until something is given or comes;
 * so of a link on which all was acknowledged. */
uint64_t slv_link_next(const struct slv_link *l, uint64_t now);

/* As of the last poll: nothing that was sent was answered for dead_after, nor some more that was
 * sent when an answer was overdue; or the peer sent a message that cannot be. The link goes on
 * asking, now and then, and an answer makes it live again; after such a message it refuses all. */
bool slv_link_dead(const struct slv_link *l);

/* Something was sent that the peer answers when it comes (acknowledgements are not), and it has not
 * yet. */
bool slv_link_waits(const struct slv_link *l);

struct slv_link_stats {
    uint64_t srtt, rtt_min, rttvar; /* ns; 0: not yet known */
    uint64_t cwnd, in_flight;       /* bytes */
    uint64_t mtu;                   /* bytes of a datagram that are known to arrive */
    uint64_t datagrams_sent, bytes_sent, datagrams_received, bytes_received;
    uint64_t retransmitted;  /* bytes of lanes that were sent again */
    uint64_t lost, spurious; /* datagrams taken for lost; those of them that were not */
    uint64_t congestions;    /* times the window was made smaller */
    uint64_t black_holes;    /* times the path no longer carried large datagrams */
    uint64_t messages_sent;  /* put into queues, those beside the lanes included */
    uint64_t messages_received;
    uint64_t refused, doubled; /* datagrams that were malformed; that came again */
};
void slv_link_stats(const struct slv_link *l, struct slv_link_stats *ret);

/* Bytes that the link takes, its own included. */
size_t slv_link_memory(const struct slv_link *l);

#endif
