/* node.h: one node of the mesh: its spaces, its peers, what it sends and when; without sockets,
 * disk, clock or threads, so that the same code runs on a network and in a simulator.
 *
 *     datagrams of associations --> link (a peer) --> messages --> replica (a space)
 *                                        |                            |
 *                                        +--> swim: who is there      +--> records for the store
 *
 * A write goes out as soon as the store has it: to every peer that is connected where members are
 * few, and where they are many to some at random, who hand it on. Each round a peer at random is
 * told the sums of all spaces, and asks for what it lacks; so are some peers whenever asking has
 * brought something, which spreads it in a few round trips.
 *
 * Long messages are packed (pack.h), once for all peers.
 *
 *     SUMS (a datagram): how many spaces, of each its id, sum and cut (replica.h, ttl.h)
 *
 * Members are known by swim.h, and connected to: all where they are few, else those with whom there
 * is something to speak about, until they are silent for a while.
 *
 * Invariants:
 *   1. Nothing is told to others that depends on own writes which the store may still lose.
 *   2. One commit is under way at a time; what is put meanwhile goes with the next.
 *   3. A node that has failed (store, or its writer is ahead of it elsewhere) does nothing more:
 *      what it put and did not commit must be dropped, and the node opened anew.
 *
 * Times are ns of a clock that never goes back. Callbacks must not call the node, but for those
 * that say so. Threads: one.
 */
#ifndef SLV_MESH_NODE_H
#define SLV_MESH_NODE_H

#include "base/err.h"
#include "mesh/link.h"
#include "mesh/replica.h"
#include "mesh/roster.h"
#include "mesh/strong.h"
#include "mesh/swim.h"

#define SLV_NODE_SPACES_MAX 64u
#define SLV_NODE_SPACE_NAME_MAX 64u
#define SLV_NODE_ASKS_MAX 1024u

#define SLV_NODE_NONCE 32u
#define SLV_NODE_EVIDENCE_MAX ((size_t)8 << 10) /* bytes */
#define SLV_NODE_WHY 160u                       /* bytes of a reason */

struct slv_node;

enum slv_node_event {
    SLV_NODE_MEMBER,    /* `id` is in state `state` */
    SLV_NODE_ISOLATED,  /* state 1: local only; 0: no longer */
    SLV_NODE_TWO_FACED, /* `id` signed two things with the same numbers */
    SLV_NODE_FAILED,    /* open it anew */
    SLV_NODE_OVERTAKEN, /* the same, with a new store: its writer is ahead elsewhere, or over */
    SLV_NODE_LEADER,    /* `id` leads the group of the strong spaces; 0: nobody that is known */
    SLV_NODE_RIVAL,     /* `id` leads another group than this node's: two were founded */
    SLV_NODE_HANDOVER,  /* this node, which leads the group, begins to make `id` the leader */
    SLV_NODE_ROSTER,    /* what is said of `id` has changed; state: enum slv_statement_kind */
    SLV_NODE_DAMAGED,   /* `id`, of that group, has lost what it had of it */
    SLV_NODE_REFOUNDED, /* open it anew, as it was ordered: nothing is wrong */
    SLV_NODE_OTHERWISE, /* `id` declares a space otherwise: slv_node_other */
    SLV_NODE_UNSHARED,  /* space `state` is one that no other node has shown to have, so far */
    SLV_NODE_ATTESTED,  /* `id` has shown what its statement wants (1), or not (0): slv_node_attest,
                           which may be called, says why not */
};

/* A space as a peer has it, of whose name this node has another one. */
struct slv_node_other {
    struct slv_str name; /* this node's */
    const char *type;
    bool causal;
    uint64_t ttl_ms; /* 0: it has none */
};

/* What is measured where it happens. */
enum slv_node_measure {
    SLV_NODE_STALENESS,   /* another's batch, of a space: seconds from its stamp to applying */
    SLV_NODE_CONVERGENCE, /* with a peer: seconds from sums that differed to equal ones */
    SLV_NODE_ROUND,       /* of repair, of a space: bytes of messages as they go, both ways */
    SLV_NODE_COMMIT, /* of the group, that this node leads: seconds from proposing to applying */
    SLV_NODE_MEASURES
};

/* What a node wants of the world. */
struct slv_node_world {
    /* A datagram in the association with a peer; one that cannot be sent is lost. */
    void (*send)(void *ctx, uint64_t peer, struct slv_str datagram);
    /* An association with a member is wanted, whose record this is (empty: it is a seed). Asked
     * again from time to time until slv_node_up. */
    void (*connect)(void *ctx, uint64_t peer, struct slv_str record);
    /* It is no longer; slv_node_down does not follow. */
    void (*disconnect)(void *ctx, uint64_t peer);
    /* Records of one transaction, which slv_node_world.commit ends: after it is synced,
     * slv_node_synced follows. SLV_E_*: the store has failed. */
    int (*put)(void *ctx, struct slv_str key, struct slv_str value);
    int (*del)(void *ctx, struct slv_str key);
    int (*commit)(void *ctx);
    uint64_t (*random)(void *ctx);
    /* The lists: who may write a key of a space, and who may write all of it. */
    bool (*may_write)(void *ctx, uint64_t node, uint64_t space, struct slv_str key);
    bool (*may_repair)(void *ctx, uint64_t node, uint64_t space);
    bool (*may_join)(void *ctx, uint64_t node);
    /* Whom it lets in, one after the other, i from 0 on, whether they are there or not; false:
     * there are no more. NULL: nobody beside those whom statements name. */
    bool (*member)(void *ctx, size_t i, uint64_t *ret);
    void (*event)(void *ctx, enum slv_node_event e, uint64_t id, int state);
    /* Something of a key has changed; may be NULL. Must not call the node. */
    void (*changed)(void *ctx, size_t space, struct slv_str key);
    /* The same of a strong space; an empty key: perhaps of any. */
    void (*agreed_changed)(void *ctx, size_t agreed, struct slv_str key);
    /* What came of slv_node_ask; once each. May be NULL. Must not call the node. */
    void (*answer)(void *ctx, uint64_t ask, const struct slv_strong_result *r);
    /* A batch of this node's that is synced and goes out; for those who count. May be NULL. */
    void (*published)(void *ctx, const struct slv_batch *b);
    /* Something was measured, some of it of a space. May be NULL. Must not call the node. */
    void (*measured)(void *ctx, enum slv_node_measure what, size_t space, double value);
    /* Evidence of this machine is wanted, for a peer's nonce: slv_node_quoted follows, not from
     * within this call; until then there is no other. NULL: it shows none. */
    void (*quote)(void *ctx, uint64_t peer, const uint8_t nonce[SLV_NODE_NONCE]);
    /* 0: evidence, which anybody may have made, is of the node with that key, for that nonce, and
     * as the condition wants it. Else a line says what is wrong. NULL: none is. */
    int (*attested)(void *ctx, const uint8_t key[SLV_ROSTER_KEY],
                    const uint8_t nonce[SLV_NODE_NONCE], struct slv_str evidence,
                    const struct slv_condition *c, struct slv_err *err);
    void *ctx;
};

struct slv_node_conf {
    uint64_t id;
    const struct slv_clock *clock; /* the wall's, for stamps */
    uint32_t skew_ms;              /* how far ahead stamps may be; 0: SLV_SKEW_MS */
    const struct slv_mesh_trust *trust;
    struct slv_node_world world;
    struct slv_str record; /* what others need to reach it; copied */
    /* Who is a member is what statements say, and of whom they say nothing, world's may_*. NULL:
     * only those. Borrowed. */
    const struct slv_roster_conf *roster;
    struct slv_str join; /* a statement that names this node, by an invitation; or empty. Copied */
    struct slv_swim_conf swim; /* its numbers and switches; the rest is the node's */
    struct slv_link_conf link; /* the same */
    uint32_t round_ms;         /* between rounds of comparing; 0: 1000 */
    uint32_t direct_max;       /* members up to which all are connected; 0: 64 */
    uint32_t idle_ms;          /* beyond that: how long a silent peer stays connected; 0: 20000 */
    uint32_t attest_ms; /* after which who must show evidence is asked for it anew; 0: 3600000 */
    uint32_t voters;    /* of the group, where there are as many: 1 to 7; 0: 5 */
    uint32_t heartbeat_ms, election_ms; /* of it, where round trips are short; 0: 120, 400 */
    size_t group_log; /* bytes of its log behind which a snapshot is made; 0: 4 MiB */
    uint64_t
        peer_rate;    /* bytes a second of messages taken from a peer, a second's at once; 0: any */
    uint32_t dead_ms; /* for which a voter is silent until another takes its place; 0: 15000 */
};

struct slv_space_conf {
    struct slv_str name; /* "readings"; the same at all nodes, with type, order and time to live */
    enum slv_mesh_type type;
    bool causal;
    uint64_t ttl_ms;     /* time to live of what is written; 0: for good. As slv_replica_conf's */
    size_t max;          /* bytes in memory; 0: any */
    uint64_t history_ms; /* for which what was done is kept at this node (history.h); 0: not */
    size_t history_max;  /* bytes; 0: SLV_HISTORY_BYTES */
    size_t log_max;      /* bytes; 0: 64 MiB */
    size_t waiting_max;  /* bytes; 0: 4 MiB */
    size_t repair_max;   /* bytes; 0: 64 MiB */
};

/* *ret is to be given its spaces, the store's records, and started. */
int slv_node_open(const struct slv_node_conf *conf, struct slv_node **ret) SLV_MUST_USE;
void slv_node_close(struct slv_node *n);

/* *ret: its number here, from 0. SLV_E_USAGE: the name is taken, or such a time to live or a
 * history is not for this type; SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_node_space(struct slv_node *n, const struct slv_space_conf *c, size_t *ret) SLV_MUST_USE;

/* A record. One of a space that is not there is left alone. SLV_E_FORMAT: it is damaged. */
int slv_node_load(struct slv_node *n, struct slv_str key, struct slv_str value) SLV_MUST_USE;

/* All records were there. damaged: some were not readable; fresh: its writer was overtaken, or the
 * store is another node's copy: a new writer is begun. */
int slv_node_start(struct slv_node *n, uint64_t now, bool damaged, bool fresh) SLV_MUST_USE;

/* A member to find others by. As slv_swim_seed. */
int slv_node_seed(struct slv_node *n, uint64_t now, uint64_t id) SLV_MUST_USE;

/* --- what happens ----------------------------------------------------------------------------- */

/* An association with a peer is there, in the place of the one before. SLV_E_BUSY: it is no member,
 * and there are as many guests as there may be; SLV_E_NOMEM. */
int slv_node_up(struct slv_node *n, uint64_t now, uint64_t peer) SLV_MUST_USE;
void slv_node_down(struct slv_node *n, uint64_t now, uint64_t peer);
/* A datagram of it. What is wrong with it is counted. */
void slv_node_receive(struct slv_node *n, uint64_t now, uint64_t peer, struct slv_str datagram);
/* The commit is synced. */
void slv_node_synced(struct slv_node *n, uint64_t now);
/* Does what is due. When to call next: by the latest at this time, or after anything above. */
uint64_t slv_node_tick(struct slv_node *n, uint64_t now);

/* --- reading and writing ---------------------------------------------------------------------- */

/* How many spaces there are, and how they were declared. */
size_t slv_node_spaces(const struct slv_node *n);
const struct slv_space_conf *slv_node_space_conf(const struct slv_node *n, size_t space);
/* The node's id, and that of the node with a key, where there are statements. */
uint64_t slv_node_id(const struct slv_node *n);
uint64_t slv_node_id_of(const struct slv_node *n, const uint8_t key[SLV_ROSTER_KEY]);

const struct slv_space *slv_node_read(const struct slv_node *n, size_t space);
struct slv_replica *slv_node_replica(const struct slv_node *n, size_t space);

/* As slv_replica_draft and slv_replica_write; the next slv_node_tick commits. *ret_ticket: the
 * write is durable when slv_node_durable is at least that. */
int slv_node_draft(struct slv_node *n, size_t space, struct slv_str key,
                   struct slv_draft *ret) SLV_MUST_USE;
int slv_node_write(struct slv_node *n, size_t space, const struct slv_draft *d,
                   uint64_t *ret_ticket) SLV_MUST_USE;
uint64_t slv_node_durable(const struct slv_node *n);
/* Whether this node may write a key. */
bool slv_node_may(const struct slv_node *n, size_t space, struct slv_str key);

/* A time, ms since 1970, behind the stamps of all that was seen, and not behind those of what is
 * written from now on. */
uint64_t slv_node_mark(struct slv_node *n);

/* --- strong spaces ---------------------------------------------------------------------------- */

/* What a group of the nodes agrees on (strong.h). Some node founds the group, once in the life of a
 * mesh; the others take part by themselves, and some of them vote (roles.h). */

/* A strong space, before the start; *ret: its number among these. As slv_node_space. */
int slv_node_agreed(struct slv_node *n, struct slv_str name, size_t *ret) SLV_MUST_USE;
size_t slv_node_agreed_count(const struct slv_node *n);
const char *slv_node_agreed_name(const struct slv_node *n, size_t i);
uint64_t slv_node_agreed_id(const struct slv_node *n, size_t i);

/* How a group is founded: where this node was in none; also where it was in one and has lost all
 * that it had of it, and there is nobody to let it in again; out of what it has of one whose voters
 * are lost for good, most of them (slv_strong_take_over: SLV_NODE_REFOUNDED follows). Others that
 * hear no leader of that one go over to the new group, and drop what they had.
 *
 * Where two were founded, neither knowing of the other, both go on: which is right is not theirs to
 * say. A node of one can give it up, with what it has of it, for the other (slv_node_rival). */
enum slv_node_founding { SLV_FOUND_FIRST, SLV_FOUND_ANEW, SLV_FOUND_COPY, SLV_FOUND_OTHER };
/* SLV_E_USAGE: it is in a group already, or cannot be founded so. */
int slv_node_found(struct slv_node *n, uint64_t now, enum slv_node_founding how) SLV_MUST_USE;
/* Who leads another group, as was heard lately; 0: nobody. */
uint64_t slv_node_rival(const struct slv_node *n);
/* The group's number; 0: none is known. */
uint64_t slv_node_group(const struct slv_node *n);
/* NULL: none is known. For slv_strong_get and what else only looks. */
struct slv_strong *slv_node_strong(const struct slv_node *n);

/* Has a command done, once, within ms: it is asked again until it is decided. world.answer follows,
 * not from within this call, with OK, CONFLICT, LIMIT, DENIED; UNAVAILABLE: it was not done, and
 * will not be; TIMEOUT: nobody knows. The client and its number are the node's. SLV_E_TRUST: this
 * node may not write that; SLV_E_BUSY, SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_node_ask(struct slv_node *n, uint64_t now, const struct slv_strong_command *c, uint32_t ms,
                 uint64_t *ret_ask) SLV_MUST_USE;

/* Asks the group's leader, again and again for ms, to hand over to a voter. SLV_NODE_LEADER tells
 * when it has. SLV_E_USAGE: there is no group, or the node does not vote in it. */
int slv_node_lead(struct slv_node *n, uint64_t now, uint64_t id, uint32_t ms) SLV_MUST_USE;

/* --- members ---------------------------------------------------------------------------------- */

/* A signed statement, that is passed on to all. As slv_roster_add. */
int slv_node_state(struct slv_node *n, uint64_t now, struct slv_str statement) SLV_MUST_USE;
/* NULL: it has none. */
const struct slv_roster *slv_node_roster(const struct slv_node *n);
/* Whether statements let a key in: as a member, or as a guest that may have an invitation. */
bool slv_node_lets_in(const struct slv_node *n, const uint8_t key[SLV_ROSTER_KEY]);

/* Writers that are retired. */
const struct slv_retired *slv_node_retired(const struct slv_node *n);

/* One that is over and will be: when all members have said what they have of it. */
struct slv_node_over {
    uint64_t writer, node;
    size_t waits;       /* for so many who have said nothing, one of whom is */
    uint64_t waits_for; /* this */
    bool differs;       /* some still lack something */
    bool is_large;      /* more than a retirement holds: it will not be retired */
};
/* As this node has it of the group's. How many, at most `most`; and how many there are. */
size_t slv_node_overs(const struct slv_node *n, struct slv_node_over *ret, size_t most);
size_t slv_node_count_over(const struct slv_node *n);

/* Under which number a node writes, as far as it is known here: 0, where it has written nothing
 * yet, or where its last store was lost and nobody has said so. */
uint64_t slv_node_writer_of(const struct slv_node *n, uint64_t node);

/* What a member has shown of its machine, where its statement has a condition. */
struct slv_node_attest {
    bool is_wanted, is_shown;
    const char *why; /* it is not shown; borrowed until the node is next called */
};
void slv_node_attest(const struct slv_node *n, uint64_t id, struct slv_node_attest *ret);

/* What slv_node_world.quote asked for. Empty: there is no evidence to be had. */
void slv_node_quoted(struct slv_node *n, uint64_t now, uint64_t peer,
                     const uint8_t nonce[SLV_NODE_NONCE], struct slv_str evidence);

/* --- what it is ------------------------------------------------------------------------------- */

/* Says goodbye, as slv_swim_leave; who leads the group hands that over. */
int slv_node_leave(struct slv_node *n, uint64_t now) SLV_MUST_USE;
/* Then: it is told to as many as there are to tell, the lead is handed over, what was written is
 * synced, and the writes and the group's messages that were sent have come. (Not so for long where
 * a peer is not reached.) */
bool slv_node_has_left(const struct slv_node *n);

/* Of the last SLV_NODE_OTHERWISE. Each such space is told of once. */
const struct slv_node_other *slv_node_other(const struct slv_node *n);

/* This node's writer, the same in all spaces. */
uint64_t slv_node_writer(const struct slv_node *n);
struct slv_swim *slv_node_swim(const struct slv_node *n);
bool slv_node_failed(const struct slv_node *n);
/* There are other members, and none answers: lost, or not met yet. */
bool slv_node_is_alone(const struct slv_node *n);

struct slv_node_stats {
    uint64_t datagrams_sent, bytes_sent, datagrams_received, bytes_received;
    uint64_t refused;           /* datagrams and messages that were malformed or not allowed */
    uint64_t pushed, handed_on; /* batches, times peers */
    uint64_t rounds, differing; /* sums that came, and of those that were others */
    uint64_t commits;
    uint64_t unsent; /* messages of the group for which there was no way, or no room */
    uint64_t held;   /* times that a peer was given no more credit, as it sent more than its rate */
    uint64_t unattested; /* times that evidence was wrong, or did not come */
    /* Bytes of messages that were packed, before and after; those to several peers once. */
    uint64_t plain_bytes, packed_bytes;
    size_t connected;
    size_t kept; /* members that the store will know */
};
void slv_node_stats(const struct slv_node *n, struct slv_node_stats *ret);
/* Whether there is an association with a member. */
bool slv_node_is_connected(const struct slv_node *n, uint64_t id);

#endif
