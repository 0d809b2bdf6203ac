/* swim.h: who is a member, and who has failed: SWIM with suspicion, made robust by Lifeguard.
 *
 * Each period a member probes one other (ping, then ping-req through helpers), round robin over a
 * shuffled list; what is learned rides on these messages and on short bursts of gossip. A member
 * that does not answer is suspected, is told so first, and refutes; one that does not is dead
 * (Das, Gupta, Motivala: SWIM, 2002). A member that is slow itself must not accuse others: its
 * local health (0 well .. 8) stretches its period and timeouts; helpers answer nack where they had
 * no answer either; a suspicion ends the sooner the more members confirm it by probes of their own
 * (Dadgar, Phillips, Currey: Lifeguard, 2018). Five things go beyond these papers: who hears of a
 * suspicion may probe at once, so that it is soon confirmed or dropped; whoever is about to take a
 * suspect for dead pings it itself, three times, whatever others say; a datagram from a suspect
 * ends the suspicion where it is received; who is called late takes that as its own fault and moves
 * all deadlines; who is answered by nobody, or lost most members at once, takes itself for cut off.
 *
 * What lies below gives datagrams whose sender is genuine, and may lose, repeat, delay and reorder
 * them. What a member says may be false. So:
 *   - A record (addresses, key; opaque here) holds for an incarnation and is signed by its node.
 *     Nothing but a verified record makes a member known, raises an incarnation or marks it left.
 *   - Suspect and dead claims count for exactly the incarnation known. Unknown ids allocate
 *     nothing.
 *   - A dead claim kills nobody: it is taken as a suspicion by those it names. Accusers' names in
 *     it may be forged, so the most that one member can do with lies is to start suspicions and
 *     hurry them to the least timeout, in which whoever is alive refutes, and answers pings. New
 *     suspicions taken from a sender are limited to conf.claims a second. It is the sender who is
 *     charged and not the accuser it names: else one member could silence another by accusing in
 *     its name.
 *   - Answers longer than their question are limited for each member, and for all strangers at
 *     once; so are signatures found bad, as each costs a verification.
 * A member that lies about its own probes can hide a failure from those who ask it for help, for
 * that probe only. Old records replayed for ids that were evicted come back as members, and are
 * found dead again.
 *
 * Lists of members stay equal by anti-entropy: pings carry a digest; where it differs while nothing
 * is in flight, sums of 64 buckets are sent, then what differs is exchanged. Dead members and seeds
 * are probed for ever, soon at first and then slowly; when one comes back, all others are tried at
 * once, as a split may have healed. Bound: the end of a split is found within conf.far_ms where one
 * side has a dozen dead, or nobody who answers, within conf.far_gap_ms in any case, and all see all
 * a second or two later.
 *
 * Messages (wire.h; the first byte is version 1 << 4 | type; whole messages are checked first):
 *
 *     ping 0      number seq, flags (1: I have no record of you), 8 bytes digest, updates
 *     ack 1       number seq, flags, updates          nack 2      number seq, updates
 *     ping-req 3  number seq, 8 bytes target, number ms, updates
 *     gossip 4    updates      records 5  updates that are not passed on
 *     sums 6      64 times 4 bytes: of the buckets, in order
 *     page 7      for each bucket: bucket (ascending), flags (1: not all of it), number of entries,
 *                 entries ascending: 8 bytes id, number incarnation * 4 + class (enum swim_class)
 *     want 8      ids ascending, 8 bytes each
 *
 *     update: kind; 8 bytes id; number incarnation; then
 *         0 alive, 1 left, 2 dead: bytes record, 64 bytes signature (of the record; `left` is
 *                                  signed, `dead` is a hint for those who know it not)
 *         3 suspect, 4 dead:       number of accusers (1 to 4), 8 bytes each, ascending
 *
 * No clock, randomness or socket is used here: time is a parameter (ns, monotonic, any origin but
 * 0), the rest is in conf. The same calls give the same messages. Callbacks must not call back into
 * the same instance. Memory: some 300 bytes and its record for each member. Threads: one.
 */
#ifndef SLV_MESH_SWIM_H
#define SLV_MESH_SWIM_H

#include "base/str.h"
#include "selvage.h"

#define SLV_SWIM_RECORD_MAX 512u
#define SLV_SWIM_SIGNATURE 64u
#define SLV_SWIM_MESSAGE_MAX 1200u /* bytes that are read; conf.mtu is of those sent */
#define SLV_SWIM_MTU_MIN 320u
#define SLV_SWIM_MEMBERS_MAX 4096u
#define SLV_SWIM_SEEDS_MAX 64u
#define SLV_SWIM_HEALTH_MAX 8u
#define SLV_SWIM_INCARNATION_MAX (((uint64_t)1 << 60) - 1)

/* Bytes of a message beside the record in it: what a record may have is conf.mtu less these. */
#define SLV_SWIM_RECORD_OVERHEAD 108u

enum slv_swim_state {
    SLV_SWIM_ALIVE,
    SLV_SWIM_SUSPECT,
    SLV_SWIM_DEAD,
    SLV_SWIM_LEFT,    /* said so itself */
    SLV_SWIM_REMOVED, /* by slv_swim_remove: nothing of it is heard until slv_swim_allow */
};

/* What a node says of itself. The signature is over all the rest. Borrowed. */
struct slv_swim_record {
    uint64_t id, incarnation;
    bool left;
    struct slv_str data;      /* at most SLV_SWIM_RECORD_MAX */
    const uint8_t *signature; /* [SLV_SWIM_SIGNATURE]; NULL: to be signed */
};

/* Parts that can be switched off, to compare. */
enum slv_swim_switch {
    SLV_SWIM_NO_HEALTH = 1,   /* local health, late calls, being cut off */
    SLV_SWIM_NO_NACK = 2,     /* helpers do not answer nack */
    SLV_SWIM_NO_DYNAMIC = 4,  /* suspicions end after the least timeout, confirmed or not */
    SLV_SWIM_NO_BUDDY = 8,    /* suspects are not told first; signs of life do not end a suspicion;
                                 who hears of one does not probe, nor ping before it ends */
    SLV_SWIM_TRUST_DEAD = 16, /* a dead claim kills */
    SLV_SWIM_PLAIN = 31,      /* SWIM of 2002 */
};

/* Numbers that are 0 take the default in brackets. */
struct slv_swim_conf {
    uint64_t id;           /* ours */
    uint64_t incarnation;  /* the first; above those of earlier runs, or we find out and go above */
    struct slv_str record; /* ours; copied */

    void *ctx; /* of all callbacks */
    bool (*verify)(void *ctx, const struct slv_swim_record *r);
    /* 0, or an error: then what asked for it is tried again later. */
    int (*sign)(void *ctx, const struct slv_swim_record *r,
                uint8_t ret_signature[SLV_SWIM_SIGNATURE]);
    /* Whether it goes at once: the answer to a ping that waited says nothing of the way. */
    bool (*send)(void *ctx, uint64_t to, const void *p, size_t n);
    uint64_t (*random)(void *ctx);
    /* May be NULL. A member is alive again with the same incarnation when it was heard from while
     * it was suspected. */
    void (*on_change)(void *ctx, uint64_t id, enum slv_swim_state state, uint64_t incarnation);
    void (*on_isolated)(void *ctx, bool isolated); /* may be NULL */

    uint32_t max;        /* members in all, with us, removed and left ones [1024] */
    uint32_t mtu;        /* bytes of a message [475]; SLV_SWIM_MTU_MIN to SLV_SWIM_MESSAGE_MAX */
    uint32_t period_ms;  /* between probes, when well [200]; longer where round trips are */
    uint32_t ack_min_ms; /* least and most time for an ack: from round trips [50, 1000] */
    uint32_t ack_max_ms;
    uint32_t helpers;     /* of an indirect probe [3], at most 8 */
    uint32_t confirms;    /* further accusers that make a suspicion as short as it gets [3], <= 3 */
    uint32_t alpha_pct;   /* least suspicion: alpha / 100 * max(1, log10 members) * period [100] */
    uint32_t beta;        /* the longest is beta times that [6] */
    uint32_t lambda;      /* an update is sent lambda * log2(members + 1) times [2] */
    uint32_t fanout;      /* members told in a burst of gossip, every quarter of a period [3] */
    uint32_t claims;      /* new suspicions taken from a sender, a second [8], twice that at once */
    uint32_t far_ms;      /* between probes of dead members and seeds [5000] */
    uint32_t far_gap_ms;  /* most between two of the same one [60000] */
    uint32_t window_ms;   /* losing most members within this: it may be us [10000] */
    uint32_t silence_ms;  /* so does no ack from anyone for this [1000], or
                             three periods */
    uint32_t isolated_by; /* suspicions last so many times longer then [5] */
    uint32_t off;         /* enum slv_swim_switch */
};

struct slv_swim_member {
    uint64_t id, incarnation;
    enum slv_swim_state state;
    struct slv_str record;    /* borrowed until the next call; empty: none is known */
    const uint8_t *signature; /* of the record, borrowed the same; NULL: none is known */
    uint64_t since;           /* when it came to be in this state */
    uint64_t heard;           /* when a datagram of it last came; 0: none */
    uint32_t rtt_us;          /* smoothed; 0: not measured */
};

struct slv_swim_counters {
    uint64_t probes, acks, nacks; /* probes begun, acks and nacks received */
    uint64_t failed;              /* probes without an answer */
    uint64_t suspicions;          /* raised by our own probes */
    uint64_t suspected;           /* begun here, by whoever */
    uint64_t cleared;             /* ended by a sign of life */
    uint64_t refuted;             /* members seen to refute: false positives, most likely */
    uint64_t refutations;         /* our own */
    uint64_t deaths;              /* declared here */
    uint64_t late;                /* calls that came too late */
    uint64_t dropped;             /* claims beyond a limit */
    uint64_t unknown;             /* claims about ids that are not known */
    uint64_t forged;              /* records with bad signatures */
    uint64_t malformed;           /* messages */
    uint64_t refused;             /* records for which there was no room */
    uint64_t sent, bytes;         /* datagrams, and bytes in them */
    uint32_t health;              /* local: 0 to 8 */
    uint32_t members[SLV_SWIM_REMOVED + 1]; /* by state, with us */
    bool isolated;
};

struct slv_swim;

/* conf is copied. SLV_E_USAGE: a number or callback is not as said; SLV_E_LIMIT: the record is too
 * long for the mtu; SLV_E_NOMEM; what conf.sign gives. */
int slv_swim_open(const struct slv_swim_conf *conf, uint64_t now,
                  struct slv_swim **ret) SLV_MUST_USE;
void slv_swim_close(struct slv_swim *s);

/* Does what is due; returns when to call next (UINT64_MAX: when something comes). Messages that
 * wait should be received before. Being called late costs local health. */
uint64_t slv_swim_tick(struct slv_swim *s, uint64_t now);

/* A datagram. Call slv_swim_tick after the last of those that wait. SLV_E_FORMAT: it is none of
 * ours, nothing was done; SLV_E_NOMEM: a part could not be kept, and will come again. */
int slv_swim_receive(struct slv_swim *s, uint64_t now, uint64_t from, const void *p, size_t n);

/* Whether a message that conf.send is given is one that whom it is for answers, when it comes. */
bool slv_swim_asks(const void *p, size_t n);

/* Something else genuine came from this member. */
void slv_swim_heard(struct slv_swim *s, uint64_t now, uint64_t id);

/* There is a new way to it, so it is up: who takes it for dead or gone, or does not know it, asks
 * it. */
void slv_swim_met(struct slv_swim *s, uint64_t now, uint64_t id);

/* An id to find others by; kept for ever. SLV_E_LIMIT: too many. */
int slv_swim_seed(struct slv_swim *s, uint64_t now, uint64_t id) SLV_MUST_USE;

/* A member as it was known when this node ran last. One that was not dead is taken to be alive
 * until it does not answer; of neither anything is passed on. One that is known is left as it is.
 * SLV_E_TRUST: the record is not genuine, or of no member any more; SLV_E_USAGE: it is ours;
 * SLV_E_LIMIT: it is too long, or there is no room; SLV_E_NOMEM. */
int slv_swim_recall(struct slv_swim *s, uint64_t now, const struct slv_swim_record *r,
                    bool is_dead) SLV_MUST_USE;

/* A new record of ours, in a new incarnation. As slv_swim_open; nothing has changed then. */
int slv_swim_change(struct slv_swim *s, uint64_t now, struct slv_str record) SLV_MUST_USE;

/* Says goodbye. Ticks spread it until slv_swim_has_left (some half second; at once where nobody
 * is up); nothing is probed or answered any more. What conf.sign gives, SLV_E_NOMEM. */
int slv_swim_leave(struct slv_swim *s, uint64_t now) SLV_MUST_USE;
bool slv_swim_has_left(const struct slv_swim *s);

/* A member that must be no more, known or not, until it is allowed again, and is known again by its
 * record. SLV_E_USAGE: it is us; SLV_E_NOMEM; SLV_E_LIMIT: no room. */
int slv_swim_remove(struct slv_swim *s, uint64_t now, uint64_t id) SLV_MUST_USE;
void slv_swim_allow(struct slv_swim *s, uint64_t now, uint64_t id);

/* Members in order of id, us too: at 0 to slv_swim_count - 1. */
size_t slv_swim_count(const struct slv_swim *s);
void slv_swim_at(const struct slv_swim *s, size_t i, struct slv_swim_member *ret);
/* SLV_E_NOENT. */
int slv_swim_find(const struct slv_swim *s, uint64_t id, struct slv_swim_member *ret);

void slv_swim_count_all(const struct slv_swim *s, struct slv_swim_counters *ret);

#endif
