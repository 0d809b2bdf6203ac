/* strong_int.h: what the files of a strong group's node share. See strong.h.
 *
 *     strong.c        opening, starting, receiving, time
 *     strong_load.c   records at the start, and whether they fit together
 *     strong_io.c     the raft_io: records out, messages out, what waits for a sync
 *     strong_guard.c  what the core must not be given, and what it leaves undone
 *     strong_snap.c   snapshots, taken, sent in pieces, put together
 *     strong_call.c   calls, forwarding, reads, leases
 *     strong_member.c roles, transfer, damage
 *     strong_watch.c  changes and who wants them
 */
#ifndef SLV_MESH_STRONG_INT_H
#define SLV_MESH_STRONG_INT_H

#include "base/buf.h"
#include "base/mem.h"
#include "mesh/strong_wire.h"

#include <raft.h>

#ifndef MS
#define MS 1000000ull
#endif
#define OUT_MAX 4096u                /* messages that wait for a sync */
#define OUT_BYTES ((size_t)32 << 20) /* of them */
#define RECORD_MAX (SLV_STRONG_PIECE_MAX + ((size_t)64 << 10))
#define WINDOW 4u /* pieces that are under way */
#define DAMAGED_MAX 8u
#define PEER_CALLS_MAX 1024u /* under way for one peer */
#define QUIET_NS (2000 * MS) /* between two heartbeats to one that only learns */
#define PIECE_NS (300 * MS)  /* until pieces are sent again */

/* Bytes of a snapshot, shared by those who send it. */
struct blob {
    unsigned refs;
    uint64_t index, term, conf_index;
    struct strong_members members;
    size_t n;
    char *bytes; /* heap */
};

/* A record that waits to be sorted in at the start. */
struct loaded {
    uint64_t index;
    struct slv_str bytes; /* heap */
};

/* What the core waits for until a ticket is synced. */
struct waiting {
    uint64_t ticket;
    struct raft_io_append *append;
    raft_io_append_cb append_cb;
    uint64_t members; /* the index of the last entry of members in it, or 0 */
    struct raft_io_snapshot_put *put;
    raft_io_snapshot_put_cb put_cb;
    struct blob *blob; /* of a snapshot: what becomes the last one */
    void *bufs;        /* of one that is installed: the core forgets to free it when it closes */
};

struct out {
    uint64_t peer, gate;
    char *bytes; /* heap */
    size_t n;
};

/* What one that only learns was told last. */
struct told {
    uint64_t peer, term, index, commit, at;
};

struct sent {
    struct raft_io_send *req;
    raft_io_send_cb cb;
};

struct got {
    struct raft_io_snapshot_get *req;
    raft_io_snapshot_get_cb cb;
};

/* A snapshot on its way to a peer. */
struct transfer {
    uint64_t peer, heard, acked, sent, at; /* at: when to send again */
    struct blob *blob;
};

/* What a call is at this node. */
enum call_kind {
    CALL_FORWARDED, /* the leader was asked */
    CALL_LOGGED,    /* it is in the log */
    CALL_READ,      /* waits for a barrier */
    CALL_READMIT,   /* a damaged peer that waits for one */
    CALL_MEMBER,
};

struct call {
    struct raft_apply apply; /* first: the core's handle of one that is logged */
    struct slv_strong *s;
    enum call_kind kind;
    uint64_t id;           /* at this node */
    uint64_t peer, number; /* who asked, and what he calls it; 0: here */
    uint64_t until;
    uint64_t round; /* of reads: the barrier that it waits for; of forwarded ones: the leader */
    uint64_t space; /* of reads */
    char *key;      /* heap */
    size_t n_key;
    bool held;  /* the core has `apply` */
    bool ended; /* result is there */
    bool told;  /* and was given, or nobody waits */
    struct slv_strong_result result;
    char *value; /* heap: of the result */
};

struct watch {
    uint64_t id, space, next; /* next: index from which on it is told */
    char *prefix;
    size_t n_prefix;
    void (*fn)(void *ctx, const struct slv_strong_change *c);
    void *ctx;
};

struct change {
    uint64_t index, space, version;
    size_t n_key, n_value;
    bool gone;
    char *bytes; /* heap: key, value */
};

struct slv_strong {
    struct slv_strong_conf conf;
    struct slv_strong_stats stats;
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick_cb;
    raft_io_recv_cb recv_cb;
    uint64_t now, tick_next;
    uint32_t least[3]; /* conf's heartbeat_ms, election_ms, lease_ms, as they were given */
    bool opened, started, failed, told_failed;
    bool damaged;         /* all was thrown away, and READMIT is waited for */
    uint64_t fresh_until; /* votes for nobody until it has applied this; 0: it may */
    uint64_t nonce, damage_next;
    /* records */
    uint64_t term, vote;
    struct loaded *load;
    size_t n_load, room_load;
    struct loaded *piece;
    size_t n_piece, room_piece;
    struct slv_str head; /* heap */
    bool load_bad, has_records;
    bool dirty; /* something was put since the last commit */
    uint64_t tickets, durable;
    uint64_t vote_ticket; /* that makes term and vote durable */
    bool owes;            /* the leader has sent entries, and heard nothing since */
    uint64_t result_at;   /* when it last heard */
    uint64_t disk_first;  /* index of the first entry on disk */
    uint32_t *size;       /* heap: of entries from disk_first on */
    size_t n_size, room_size, log_bytes;
    struct waiting *waiting;
    size_t n_waiting, room_waiting;
    /* messages */
    struct out *out;
    size_t n_out, room_out, out_bytes;
    struct told *told; /* heap: of members that do not vote */
    size_t n_told, room_told;
    struct sent *sent;
    size_t n_sent, room_sent;
    struct got *got;
    size_t n_got, room_got;
    /* what was verified of the leader's log in this term: strong_guard.c */
    uint64_t matched, matched_term;
    uint64_t yield_until; /* until when it lets another stand */
    struct {
        uint64_t by, until, term, index, index_term;
    } chosen; /* to lead, which waits for the disk; by 0: it is not */
    /* snapshots */
    struct blob *snap;        /* the last that was put */
    struct blob *snap_next;   /* taken or received, on its way to the disk */
    uint64_t snap_pieces;     /* records that are there */
    struct strong_state next; /* of the one that is received */
    bool has_next;
    struct transfer *transfer;
    size_t n_transfer, room_transfer;
    struct blob *in; /* being put together */
    uint64_t in_from, in_at;
    /* the state and what is made of it */
    struct strong_state state;
    struct slv_strong_result result; /* of the entry that was applied last */
    struct call **call;              /* heap */
    size_t n_call, room_call;
    uint64_t calls, round, round_done;
    struct call *barrier;   /* the entry that ends a round */
    uint64_t barrier_since; /* when it was proposed */
    uint32_t barrier_ms;    /* of the lease that it is */
    bool barrier_leads;
    uint64_t guide;  /* who is said to lead; see slv_strong_guide */
    uint64_t leader; /* as of the last look, */
    uint64_t lead_term;
    bool leads;         /* and whether it is this node */
    uint64_t own_index; /* of the first entry of its own in this term, once applied; else 0 */
    uint64_t lease_from, lease_until; /* of this leader's own lease, while lease_until is not 0 */
    uint64_t lease_asked;             /* when a read last wanted one */
    uint64_t others_until;            /* until then another's lease may hold */
    struct raft_change change;
    struct call *change_call; /* NULL: no change is under way */
    uint64_t change_id;
    enum slv_strong_role change_role;
    bool change_pending; /* the core has it */
    int change_status;
    struct {
        uint64_t peer, nonce, heard, at;
        uint64_t told;    /* the nonce with which it was readmitted: that is over */
        uint64_t told_at; /* when that was sent */
    } hurt[DAMAGED_MAX];  /* members that say that they are damaged; peer 0: none */
    struct raft_transfer moving;
    bool is_moving;
    /* watches */
    struct watch *watch;
    size_t n_watch, room_watch;
    uint64_t watches;
    struct change *history; /* a ring */
    size_t n_history, at_history, room_history, history_bytes;
    uint64_t history_from; /* all changes from this index on are there */
};

/* --- strong.c --------------------------------------------------------------------------------- */

void strong_fail(struct slv_strong *s);
/* Does what the core has left to do; at the end of all that comes from outside. */
void strong_pump(struct slv_strong *s);
/* Whether what the core remembers of time and role is to be left alone for now. */
bool strong_is_quiet(const struct slv_strong *s);

/* --- strong_load.c ---------------------------------------------------------------------------- */

/* What raft asks for at its start. */
int strong_load_all(struct slv_strong *s, struct raft_snapshot **ret_snapshot,
                    raft_index *ret_first, struct raft_entry **ret_entries, size_t *ret_n);
/* Whether the records fit together. 0, SLV_E_FORMAT, SLV_E_NOMEM. Sorts them. */
int strong_load_check(struct slv_strong *s);
void strong_load_free(struct slv_strong *s);

/* --- strong_io.c ------------------------------------------------------------------------------ */

void strong_io_init(struct slv_strong *s);
/* Records; a failure fails the node. */
void strong_put(struct slv_strong *s, char kind, bool numbered, uint64_t number,
                const struct slv_buf *value);
void strong_del(struct slv_strong *s, char kind, uint64_t number);
void strong_put_vote(struct slv_strong *s);
void strong_put_fresh(struct slv_strong *s);
int strong_size_push(struct slv_strong *s, size_t bytes);
/* A message that waits for gate; 0: it goes at once. */
void strong_send(struct slv_strong *s, uint64_t peer, const struct strong_msg *m, uint64_t gate);
void strong_io_flush(struct slv_strong *s); /* commits, sends, calls back */
void strong_io_synced(struct slv_strong *s, uint64_t ticket);
void strong_io_drop(struct slv_strong *s);        /* at the end: all that waits is called back */
uint64_t strong_gate(const struct slv_strong *s); /* all that was put until now */
bool strong_members_of(const struct raft_configuration *c, struct strong_members *ret);
/* The entry of members as libraft has it, and as we do. SLV_E_FORMAT, SLV_E_NOMEM. */
int strong_members_to_raft(const struct strong_members *m, struct raft_configuration *ret);
int strong_payload_to_raft(unsigned type, struct slv_str payload, struct raft_buffer *ret);
int strong_payload_from_raft(const struct raft_entry *e, struct slv_buf *ret);

/* --- strong_guard.c --------------------------------------------------------------------------- */

/* Gives a message to the core, or does not. */
void strong_guard_receive(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
void strong_guard_tick(struct slv_strong *s);
void strong_guard_synced(struct slv_strong *s);        /* does what waited for the disk */
uint64_t strong_guard_due(const struct slv_strong *s); /* when it may stand, at the earliest */
/* After raft_start, and whenever a snapshot was installed. */
void strong_guard_started(struct slv_strong *s);
uint64_t strong_guard_match(const struct slv_strong *s, uint64_t last);
const struct raft_entry *strong_entry_at(const struct slv_strong *s, uint64_t index);
uint64_t strong_term_at(const struct slv_strong *s, uint64_t index);
void strong_deliver(struct slv_strong *s, uint64_t from, struct raft_message *m);

/* --- strong_snap.c ---------------------------------------------------------------------------- */

struct blob *strong_blob_hold(struct blob *b);
void strong_blob_drop(struct blob *b);
void strong_snap_init(struct slv_strong *s); /* the fsm */
void strong_snap_tune(struct slv_strong *s);
int strong_snap_send(struct slv_strong *s, uint64_t peer);
void strong_snap_piece(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
void strong_snap_acked(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
uint64_t strong_snap_tick(struct slv_strong *s);
void strong_snap_free(struct slv_strong *s);
void strong_snap_stop(struct slv_strong *s); /* sends none any more */

/* --- strong_call.c ---------------------------------------------------------------------------- */

int strong_call_new(struct slv_strong *s, enum call_kind kind, struct call **ret);
/* Answers it; it is freed when the core has let go of it. */
void strong_call_end(struct slv_strong *s, struct call *c, const struct slv_strong_result *r);
void strong_call_status(struct slv_strong *s, struct call *c, enum slv_strong_status status);
void strong_call_asked(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
void strong_call_answered(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
void strong_call_role(struct slv_strong *s); /* leader or not any more */
uint64_t strong_call_tick(struct slv_strong *s);
void strong_call_lease_seen(struct slv_strong *s, uint64_t ttl_ms);
void strong_call_barriers(struct slv_strong *s);
bool strong_call_ready(const struct slv_strong *s); /* leads, and may answer */
void strong_call_sweep(struct slv_strong *s);
void strong_call_free(struct slv_strong *s);

/* --- strong_member.c -------------------------------------------------------------------------- */

void strong_member_damaged(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
void strong_member_barrier(struct slv_strong *s, struct call *c);
void strong_member_readmit(struct slv_strong *s, uint64_t from, const struct strong_msg *m);
uint64_t strong_member_tick(struct slv_strong *s);
void strong_member_step(struct slv_strong *s);
int strong_core_start(struct slv_strong *s); /* strong.c */

/* --- strong_watch.c --------------------------------------------------------------------------- */

void strong_watch_changed(void *ctx, const struct strong_key *k, uint64_t index, bool gone);
void strong_watch_compact(struct slv_strong *s, uint64_t index);
void strong_watch_free(struct slv_strong *s);

#endif
