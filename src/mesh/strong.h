/* strong.h: what a group of nodes agrees on: keys that are read and written as if there were one
 * copy of them (linearizable), locks with fencing tokens, leases, epochs. By Raft, on libraft's
 * core; without sockets, disk, clock or threads, so that the same code runs in a simulator.
 *
 *     calls -------> call ----> raft core (libraft) <--> io: records, messages <--> the world
 *     answers <----- state <---- committed commands      guard: what the core must not be given
 *     watches <-----/
 *
 * Statuses say what is known. OK and CONFLICT: it was decided. NOT_LEADER, UNAVAILABLE, LIMIT,
 * EXPIRED, DENIED: it was not done and will not be. TIMEOUT: nobody knows; the same command with
 * the same client and number may be sent again, and is done once. A client numbers its commands
 * from 1 upwards, one at a time; SLV_STRONG_CLIENTS are remembered, and of more the one that has
 * been silent for longest in the log is forgotten: it is EXPIRED then, and begins anew with
 * another id.
 *
 * Reads: SLV_STRONG_BARRIER: by an entry of the log that is appended after the read began.
 * SLV_STRONG_LEASED: from the leader's memory while it has a lease, else as before. A lease is an
 * entry of the log that the leader proposes at t (its clock); once it is applied it holds till
 * t + D - D * drift. Whoever becomes leader waits for as long as D + D * drift since it last
 * received such an entry (since its start, where that came off the disk) before it takes any
 * command or read. A lease that was ever used is committed, so a later leader has its entry; it
 * received that after t; so while the lease holds no other leader has answered anybody, as long as
 * no clock is faster or slower than true time by more than the drift. As D is shorter than the
 * time to an election, the wait is mostly over before. slv_strong_get: local, may be stale.
 *
 * A lease of a client ends by an entry that the leader proposes, when by its clock the time has
 * gone by since it applied the last renewal or became leader: late, never early. A lock is a key
 * with a lease of its own; its token is the index of the entry by which it was acquired, and what
 * is guarded by it should refuse tokens that are smaller than one that it has seen.
 *
 * Damage: a node whose records are damaged has perhaps forgotten a vote or entries that it said it
 * had. It throws all away, answers nothing of Raft, and tells the others (DAMAGED). Its member
 * entry is removed (by the leader itself with conf.readmit, else by an operator); when that is
 * committed, and an entry after it too, the leader sends READMIT with its commit index, and the
 * node starts with an empty log, votes for nobody until it has applied that index, and is added
 * like a new one. Safe: no majority of the configuration before the removal is without a node that
 * has the removal, so nobody can win by a vote that was forgotten, and what the node had
 * acknowledged was committed without it when the removal was. Where the others are too few to
 * commit the removal, nothing goes on: that is for an operator (slv_strong_readmit), who may lose
 * writes by it.
 *
 * Invariants:
 *   1. No message that depends on a record leaves before the record is synced.
 *   2. What the core is given cannot make it fail (strong_guard.c says what and why).
 *   3. A node that has failed does nothing more: it must be opened anew.
 *
 * Times are ns of a clock that never goes back. Callbacks must not call the node. Threads: one
 * (libraft keeps no state of its own, but allocates by malloc).
 * Sources: Ongaro, Ousterhout, In Search of an Understandable Consensus Algorithm (2014); Ongaro,
 * Consensus: Bridging Theory and Practice (2014), 3, 4, 6.3, 6.4, 9.6; Ongaro's note on
 * single-server changes (raft-dev, 2015).
 */
#ifndef SLV_MESH_STRONG_H
#define SLV_MESH_STRONG_H

#include "base/str.h"
#include "selvage.h"

#include <stdint.h>

#define SLV_STRONG_MEMBERS_MAX 64u
#define SLV_STRONG_KEY_MAX ((size_t)1024)
#define SLV_STRONG_VALUE_MAX ((size_t)128 << 10)
#define SLV_STRONG_STATE_MAX ((size_t)64 << 20) /* bytes of keys and values, the same everywhere */
#define SLV_STRONG_CLIENTS 1024u                /* remembered */
#define SLV_STRONG_LEASES_MAX 65536u
#define SLV_STRONG_CALLS_MAX 4096u               /* under way */
#define SLV_STRONG_WATCHES_MAX 1024u             /* of one node */
#define SLV_STRONG_MESSAGE_MAX ((size_t)1 << 20) /* bytes */
#define SLV_STRONG_PIECE_MAX ((size_t)256 << 10) /* of a snapshot, in messages and records */

enum slv_strong_op {
    SLV_STRONG_PUT = 1,   /* key, value, lease (0: none) */
    SLV_STRONG_DELETE,    /* key; one that is not there: OK, version 0 */
    SLV_STRONG_CAS,       /* put, if the key's version is `version` (0: it is not there) */
    SLV_STRONG_CAS_VALUE, /* put, if its value is `expect`; one that is not there: CONFLICT */
    SLV_STRONG_LOCK,      /* key, value, ttl_ms; version: the token, which names its lease */
    SLV_STRONG_UNLOCK,    /* key, version: the token */
    SLV_STRONG_GRANT,     /* ttl_ms; the answer's version is the lease */
    SLV_STRONG_KEEPALIVE, /* lease, or token */
    SLV_STRONG_REVOKE,    /* lease; its keys go */
    SLV_STRONG_EPOCH,     /* key: a number, in digits, that grows by one; the answer's version */
    SLV_STRONG_GET,       /* key, read */
};

enum slv_strong_read { SLV_STRONG_BARRIER, SLV_STRONG_LEASED };

struct slv_strong_command {
    enum slv_strong_op op;
    uint64_t client, seq; /* from 1 on; of reads not looked at */
    uint64_t space;
    struct slv_str key, value, expect;
    uint64_t version, lease;
    uint32_t ttl_ms; /* 1 to 2^31 */
    enum slv_strong_read read;
};

enum slv_strong_status {
    SLV_STRONG_OK,
    SLV_STRONG_NOT_LEADER, /* hint: who is, or 0 */
    SLV_STRONG_CONFLICT,   /* version: what is there, 0: nothing */
    SLV_STRONG_UNAVAILABLE,
    SLV_STRONG_TIMEOUT,
    SLV_STRONG_LIMIT,
    SLV_STRONG_EXPIRED, /* the client, or its number is behind one that was done */
    SLV_STRONG_DENIED,  /* who asks may not */
    SLV_STRONG_STATUSES
};

struct slv_strong_result {
    enum slv_strong_status status;
    uint64_t index;   /* of the log: at which it was decided or read */
    uint64_t version; /* of the key: the index of its last write; a token, a lease, an epoch */
    uint64_t hint;
    struct slv_str value; /* of reads; borrowed for the call */
};

enum slv_strong_event {
    SLV_STRONG_LEADER, /* `id` is leader; 0: none is known */
    SLV_STRONG_STEPPED_DOWN,
    SLV_STRONG_FAILED,    /* open it anew */
    SLV_STRONG_DAMAGED,   /* member `id` says that its records are damaged */
    SLV_STRONG_READMITTED /* this node is fresh, and may be added */
};

enum slv_strong_role { SLV_STRONG_GONE, SLV_STRONG_SPARE, SLV_STRONG_LEARNER, SLV_STRONG_VOTER };

struct slv_strong_world {
    /* To a peer; it may be lost. */
    void (*send)(void *ctx, uint64_t peer, struct slv_str bytes);
    /* Records of a transaction, which commit ends; slv_strong_synced follows with its ticket, of
     * several in their order. SLV_E_*: the store has failed. */
    int (*put)(void *ctx, struct slv_str key, struct slv_str value);
    int (*del)(void *ctx, struct slv_str key);
    int (*commit)(void *ctx, uint64_t ticket);
    uint64_t (*random)(void *ctx);
    void (*event)(void *ctx, enum slv_strong_event e, uint64_t id);
    /* The answer to a call; once each. */
    void (*answer)(void *ctx, uint64_t call, const struct slv_strong_result *r);
    void *ctx;
    /* Whether a peer may ask this; a call that was handed on is asked of who handed it on, too.
     * NULL: all may. */
    bool (*may)(void *ctx, uint64_t peer, const struct slv_strong_command *c);
};

struct slv_strong_conf {
    uint64_t id; /* not 0 */
    struct slv_strong_world world;
    uint32_t heartbeat_ms; /* 0: 100 */
    uint32_t election_ms;  /* at least; 0: 500, and up to 1.6 times that at random */
    uint32_t lease_ms;     /* D, less than election_ms; 0: 0.8 times that */
    uint32_t drift_ppm;    /* of clocks against true time; 0: 1000; less than 200000 */
    uint32_t call_ms;      /* until a call is answered with TIMEOUT; 0: 5000 */
    size_t log_max;        /* bytes of entries behind which a snapshot is made; 0: 4 MiB */
    size_t history_max;    /* bytes of changes kept for watches; 0: 1 MiB */
    bool readmit;          /* as leader: removes members that say they are damaged */
};

struct slv_strong;

/* *ret is to be given its records, perhaps bootstrapped, and started. SLV_E_USAGE, SLV_E_NOMEM. */
int slv_strong_open(const struct slv_strong_conf *conf, struct slv_strong **ret) SLV_MUST_USE;
void slv_strong_close(struct slv_strong *s);

/* A record that was synced, in any order, before the start. SLV_E_FORMAT: it is damaged, as the
 * node then is. SLV_E_NOMEM. */
int slv_strong_load(struct slv_strong *s, struct slv_str key, struct slv_str value) SLV_MUST_USE;

/* The first voters, the same at each of them; before the start of a node without records, that
 * never was a member. Without it a node waits to be added. SLV_E_USAGE. */
int slv_strong_bootstrap(struct slv_strong *s, const uint64_t *ids, size_t n) SLV_MUST_USE;

/* All records were there. damaged: some were not readable, or are missing. What does not fit
 * together counts as damaged too. SLV_E_NOMEM, or what the store fails with. */
int slv_strong_start(struct slv_strong *s, uint64_t now, bool damaged) SLV_MUST_USE;

void slv_strong_receive(struct slv_strong *s, uint64_t now, uint64_t from, struct slv_str bytes);

/* What was sent to it may be lost, and its answers: the next tick ends calls that it was handed, as
 * if their time were up. */
void slv_strong_lost(struct slv_strong *s, uint64_t peer);
/* The commit with this ticket is synced, and all before it. */
void slv_strong_synced(struct slv_strong *s, uint64_t now, uint64_t ticket);
/* Does what is due. When to call next. */
uint64_t slv_strong_tick(struct slv_strong *s, uint64_t now);

/* --- reading and writing ---------------------------------------------------------------------- */

/* Here or by way of the leader; world.answer follows, not from within this call.
 * SLV_E_USAGE: the command is none, or too large. SLV_E_BUSY: too many are under way. */
int slv_strong_call(struct slv_strong *s, uint64_t now, const struct slv_strong_command *c,
                    uint64_t *ret_call) SLV_MUST_USE;

/* Local and perhaps stale. ret->value is borrowed until the next call of anything. */
void slv_strong_get(const struct slv_strong *s, uint64_t space, struct slv_str key,
                    struct slv_strong_result *ret);

/* The keys of a space in their order: the first behind `after`, of which *ret_key is borrowed until
 * the next call of anything. False: there is none. */
bool slv_strong_next(const struct slv_strong *s, uint64_t space, struct slv_str after,
                     struct slv_str *ret_key);
/* How many there are. */
size_t slv_strong_count(const struct slv_strong *s, uint64_t space);

struct slv_strong_change {
    uint64_t index, space, version;
    struct slv_str key, value;
    bool gone;
    bool compacted; /* changes are missing from here on: read anew, then go on behind `index` */
};

/* Changes of keys that begin with prefix, in log order, from `from` on (0: from now on); those
 * that are past come within this call. SLV_E_NOENT: they are compacted: read anew, and watch from
 * slv_strong_applied + 1. SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_strong_watch(struct slv_strong *s, uint64_t space, struct slv_str prefix, uint64_t from,
                     void (*fn)(void *ctx, const struct slv_strong_change *c), void *ctx,
                     uint64_t *ret_watch) SLV_MUST_USE;
void slv_strong_unwatch(struct slv_strong *s, uint64_t watch);

/* --- the group -------------------------------------------------------------------------------- */

/* Round trips between members take so long: where that is long for the times of conf, all of them
 * are stretched alike, so that who is far away is not taken for dead. */
void slv_strong_pace(struct slv_strong *s, uint32_t rtt_ms);

/* On the leader: gives a node a role, adding it where it is none yet; GONE removes it. A voter is
 * first brought up to date. One at a time (CONFLICT else); answered as a call. SLV_E_USAGE,
 * SLV_E_BUSY. */
int slv_strong_member(struct slv_strong *s, uint64_t now, uint64_t id, enum slv_strong_role role,
                      uint64_t *ret_call) SLV_MUST_USE;
/* On the leader: hands it to a voter (0: any). Whether it was taken is told by events.
 * SLV_E_USAGE, SLV_E_BUSY. */
int slv_strong_transfer(struct slv_strong *s, uint64_t now, uint64_t id) SLV_MUST_USE;
/* And is about to: it was not refused, and has not ended. */
bool slv_strong_is_moving(const struct slv_strong *s);
/* On a damaged node: says so to a member, as it does to each that it hears from. For those that it
 * does not hear from: where its entry is removed already. SLV_E_USAGE: it is not damaged. */
int slv_strong_appeal(struct slv_strong *s, uint64_t now, uint64_t peer) SLV_MUST_USE;
/* For an operator, on a damaged node whose entry is removed, or where all is lost: see above.
 * SLV_E_USAGE: it is not damaged. */
int slv_strong_readmit(struct slv_strong *s, uint64_t now, uint64_t term,
                       uint64_t index) SLV_MUST_USE;

/* For an operator, where most of the voters are lost for good. Puts records by which this node,
 * when it is opened anew from them, is the only voter, and all that its log has is decided, also
 * what was not before; it must be closed then. What the others had decided and this one had not
 * heard of is lost, and locks of then may have tokens that are given again. SLV_E_USAGE: it is
 * damaged, or leads; what the store fails with, SLV_E_NOMEM. */
int slv_strong_take_over(struct slv_strong *s, uint64_t now) SLV_MUST_USE;
/* Deletes all records, of one that is to be closed: it goes over to another group. */
int slv_strong_erase(struct slv_strong *s) SLV_MUST_USE;

enum slv_strong_role slv_strong_role(const struct slv_strong *s, uint64_t id);
/* All of them, of any role; how many. */
size_t slv_strong_members(const struct slv_strong *s, uint64_t ret[SLV_STRONG_MEMBERS_MAX]);
/* One that leads, or knows who does, to be asked where no leader is heard: by a node that is no
 * member, or damaged, or does not hear the leader, though others do. */
void slv_strong_guide(struct slv_strong *s, uint64_t now, uint64_t peer);
/* On the leader: a member has said, not long ago, that its records are damaged. */
bool slv_strong_is_hurt(const struct slv_strong *s, uint64_t id);
uint64_t slv_strong_leader(const struct slv_strong *s); /* 0: not known */
bool slv_strong_leads(const struct slv_strong *s);
uint64_t slv_strong_applied(const struct slv_strong *s);
uint64_t slv_strong_term(const struct slv_strong *s);
bool slv_strong_failed(const struct slv_strong *s);
bool slv_strong_is_lost(const struct slv_strong *s); /* damaged, and waits to be let in again */
bool slv_strong_damaged(const struct slv_strong *s); /* or fresh, and not up to date yet */

struct slv_strong_stats {
    uint64_t sent, received, refused; /* messages */
    uint64_t guarded;                 /* that would have led the core astray, or come too late */
    uint64_t commits, snapshots, installed, lease_reads, barrier_reads;
    size_t log_bytes, state_bytes;
};
void slv_strong_stats(const struct slv_strong *s, struct slv_strong_stats *ret);

#endif
