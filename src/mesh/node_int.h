/* node_int.h: what the files of a node share. See node.h. */
#ifndef SLV_MESH_NODE_INT_H
#define SLV_MESH_NODE_INT_H

#include "mesh/node.h"
#include "mesh/pack.h"
#include "mesh/roles.h"

#ifndef MS
#define MS 1000000ull
#endif
#define PEERS_MAX 4096u
#define LINK_MTU 475u               /* a link's mtu_min where none is set */
#define STORES_MAX 64u              /* that it remembers to have had */
#define EARLY_MAX 6u                /* datagrams kept for a peer until it is connected */
#define EARLY_NS (2000 * MS)        /* and for how long */
#define CONNECT_NS (250 * MS)       /* between two tries to connect, at first, */
#define CONNECT_MOST_NS (8000 * MS) /* and at most */
#define SILENT_NS (3000 * MS)       /* after which an association is taken for broken */
#define SILENT_DEAD_NS (500 * MS)   /* and that of one that is taken for dead */
#define LOOK_NS (100 * MS)          /* between two looks at all peers */
#define SYNC_SHARE 32u              /* by 1/32 a transaction what was a long one counts for less */
#define OTHERS_MAX 64u              /* ids of others' spaces that are remembered */
#define ANNOUNCE_PEERS 3u           /* told when asking has brought something */
#define LAZY_NS (200 * MS)          /* how long others' writes wait to be synced, about */
/* Keys of records begin so, beside those of replicas. */
#define RECORD_STRONG 'S'  /* then the group's own */
#define RECORD_ROSTER 'R'  /* then the key that it is about */
#define RECORD_MEMBER 'M'  /* then its id */
#define RECORD_RETIRED 'F' /* then the group, and the number (node_retire.c) */
#define MSG_SUMS 6u        /* beside enum slv_mesh_kind */
#define MSG_ROSTER 7u
#define MSG_JOIN 8u /* (9: SLV_MSG_PACKED) */
#define MSG_ATTEST 10u
#define MSG_EVIDENCE 11u
#define MSG_RETIRED 12u
#define MSG_RETIRED_ASK 13u
#define GUESTS_MAX 32u     /* no members, connected at once while there are invitations */
#define JOINS_MAX 8u       /* guests of whom the group is asked at once */
#define NODE_TOLD_MAX 256u /* writers that are over at a time */
#define NODE_SAID_MAX 64u  /* of those of which this node has said something that are remembered */

/* What a peer has shown of its machine, where its statement wants that. */
struct node_shown {
    bool is_asked, is_shown;
    uint64_t due; /* until when it must answer; else when it is asked */
    uint8_t nonce[SLV_NODE_NONCE];
    uint64_t told;          /* when `why` was last told as an event; 0: never */
    char why[SLV_NODE_WHY]; /* it was last refused */
};

/* What it has asked of this one's. */
struct node_asked {
    bool waits;     /* for `nonce` to be quoted */
    bool is_quoted; /* the TPM is being asked, for this association */
    uint64_t next;  /* not before this */
    uint8_t nonce[SLV_NODE_NONCE];
};

/* A member that is connected, or with whom there is something to speak about. */
struct peer {
    struct slv_node *node;
    uint64_t id;
    struct slv_link *link; /* NULL: not connected */
    uint64_t next;         /* when the link wants to be polled */
    uint64_t up;           /* since when it is, or was, connected */
    uint64_t used;         /* when something was last said or heard, beside the link's own */
    bool asks;             /* what waits to be sent wants an answer */
    uint64_t unheard;      /* since when it was spoken to and not heard; 0: it was heard since */
    uint64_t wanted, gap;  /* when to try to connect again; 0: it is not wanted */
    uint64_t tried;        /* when that was done */
    struct slv_buf early;  /* datagrams that wait for the link, each behind its length */
    uint32_t n_early;
    uint64_t early_until;
    uint64_t paid; /* up to when what it sent is within its rate: a virtual schedule (GCRA) */
    bool is_held;  /* it has no credit for more */
    bool is_guest; /* no member, but it may have an invitation; or a member that has not shown what
                      its statement wants */
    struct node_shown shown;
    struct node_asked asked;
    uint64_t roster_next;  /* when it may be told all statements again; of a guest: may tell some */
    uint64_t retired_next; /* when it may be asked for retirements again */
    bool dirty;            /* it is among the node's */
    uint64_t differs;      /* since when its sums are others; 0: they were equal, or never told */
};

/* A member whose record the store has, and what that says. */
struct node_kept {
    uint64_t id, incarnation, at; /* at: when it was put; 0: in a life before */
    bool is_dead;
};

struct space {
    struct slv_node *node;
    uint64_t id;
    size_t index;
    char name[SLV_NODE_SPACE_NAME_MAX + 1];
    struct slv_space_conf conf; /* its name is the one above */
    struct slv_space_watch watch;
    struct slv_replica *replica;
    struct slv_replica_world world;
    struct slv_buf out; /* own batches that wait to be synced */
    uint64_t round;     /* bytes of the round of repair that is under way */
    uint64_t cut;       /* as it was last; a smaller one: this node's clock was set back */
    bool is_shared;     /* a peer has it, or that none has was told */
};

/* A guest of whom the group is asked whether its invitation is used for the first time. */
struct node_join {
    uint64_t ask;
    enum slv_strong_op op;
    char *bytes; /* heap: its statement; NULL: none */
    size_t n;
    uint8_t key[SLV_ROSTER_KEY], invitation[SLV_ROSTER_KEY];
};

/* What was asked of the group and is not decided. */
struct node_ask {
    uint64_t id;
    struct slv_strong_command command; /* its bytes are the block's */
    char *bytes;                       /* heap */
    unsigned client;
    uint64_t call; /* under way; 0: it is asked again at `next` */
    uint64_t next, gap, until;
    uint64_t called; /* when it was asked last */
    bool unknown;    /* it may have been done */
    bool done;
};

/* As whom the group is asked: one thing at a time, each with a number. */
struct node_client {
    uint64_t id, seq;
    bool busy;
};

/* A node that can be added to the group. */
struct node_ready {
    uint64_t id, at, hello_next;
};

/* A writer that is over, as a node that is not in the group is told. */
struct node_told {
    uint64_t writer, node;
    bool is_revoked;
};

/* What was said of a writer: its print, and when it was answered. */
struct node_said {
    uint64_t writer, at;
    uint8_t print[16];
};

struct node_retire {
    uint64_t next, poll_next, declare_next;
    uint64_t ask;    /* of the group, under way; 0: none */
    bool is_new;     /* replicas have not heard of some retirements */
    uint64_t ticket; /* with which the store has all that are known */
    struct node_told told[NODE_TOLD_MAX];
    size_t n_told;
    struct node_said saying, said[NODE_SAID_MAX]; /* saying: under way; its writer 0: nothing is */
};

struct node_agreed {
    struct slv_node *node;
    uint64_t id;
    size_t index;
    char name[SLV_NODE_SPACE_NAME_MAX + 1];
    bool watched;
};

/* The group, and what there is to it at this node. */
/* Who should lead, as was asked for here, until it is so (to, until, next), and when this node, as
 * the leader, may hand over again. */
struct node_lead {
    uint64_t to, until, next; /* to: 0: nobody was */
    uint64_t asked_next, unwell_next;
    uint64_t window_at, late; /* since when it is looked at; how late it was called since then */
};

struct node_strong {
    struct slv_strong *s; /* NULL: none is known */
    uint64_t group, was;  /* was: the group of which it was made; 0: none */
    bool started;
    bool refounds, refounded;             /* opened anew: it will be; when this commit is synced */
    uint64_t term, term_since;            /* as it was looked at; since when it is that */
    bool led;                             /* a leader was known in it */
    uint32_t unrest_ms;                   /* by which round trips are taken to be longer */
    uint64_t heard;                       /* when the leader was last, or this group began here */
    bool is_ready;                        /* to be said to `guide` */
    uint64_t guide;                       /* who said that it leads */
    uint64_t ticket, committing, durable; /* put, on their way, synced */
    uint64_t next, policy_next, who_next, leads_since;
    uint64_t due;    /* when it should be called; 0: not yet */
    uint64_t change; /* of roles, under way; 0: none */
    uint64_t asks;
    struct node_ask **ask; /* heap */
    size_t n_ask, room_ask;
    struct node_client client[SLV_NODE_ASKS_MAX];
    struct node_ready *ready; /* heap */
    size_t n_ready, room_ready;
    struct node_lead lead;
    uint64_t other, other_leader, other_at; /* another group, who leads it, when it was heard of */
};

/* Ids of spaces that others have, looked at (node_other.c). */
struct node_other {
    uint64_t seen[OTHERS_MAX]; /* a ring */
    size_t at;
    uint64_t next;  /* look */
    uint64_t since; /* others' sums are heard; 0: they are not yet */
    struct slv_node_other last;
};

struct slv_node {
    struct slv_node_conf conf;
    char *record; /* heap: conf's */
    struct slv_node_stats stats;
    struct slv_packer *packer;
    struct slv_hlc hlc;
    struct slv_swim *swim;
    uint64_t swim_next, round_next, commit_next;
    uint32_t store[STORES_MAX]; /* the numbers of this node's writers, the present one first */
    uint32_t n_store;
    uint64_t incarnation;
    struct space *space[SLV_NODE_SPACES_MAX];
    size_t n_space;
    struct node_agreed agreed[SLV_NODE_SPACES_MAX];
    size_t n_agreed;
    struct node_strong strong;
    struct slv_retired retired;
    struct node_retire retire;
    struct slv_retired_space *left; /* heap: contexts of spaces that are in the store alone */
    size_t n_left, room_left;
    struct slv_roster *roster; /* NULL: none */
    struct node_join join[JOINS_MAX];
    char *join_bytes; /* heap: conf's */
    uint64_t join_next;
    struct slv_buf members; /* records of them, until the start */
    struct node_kept *kept; /* heap, ascending by id */
    size_t n_kept, room_kept;
    uint64_t keep_next, keep_again; /* again: for what was put off; 0: nothing was */
    bool members_changed;           /* since they were kept */
    uint64_t attest_next;
    bool is_quoting; /* the world is, for this peer and nonce */
    uint64_t quote_peer;
    uint8_t quote_nonce[SLV_NODE_NONCE];
    struct node_other other;
    struct slv_buf later; /* statements that are loaded before what they need */
    struct peer **peer;   /* heap, ascending by id */
    size_t n_peer, room_peer;
    struct peer **dirty; /* heap: those whose links have something to send, perhaps */
    size_t n_dirty, room_dirty;
    uint64_t link_next; /* no link wants to be polled before, but for dirty ones */
    uint64_t look_next; /* when to look at all peers */
    uint64_t now;
    uint64_t tickets, committing, durable; /* of writes: given, on their way, synced */
    bool has_writes, has_records, is_committing;
    uint64_t commit_at, sync_ns; /* of the transaction under way; how long they take */
    bool announce;
    bool failed;
    bool started;
    bool leaves; /* there is no time to be lazy */
};

/* --- node_other.c ----------------------------------------------------------------------------- */

/* A space that is not known here, as a member has said. */
void node_other_heard(struct slv_node *n, uint64_t peer, uint64_t id);
/* After each member's sums. */
void node_other_tick(struct slv_node *n);

/* --- node.c ----------------------------------------------------------------------------------- */

void node_fail(struct slv_node *n, enum slv_node_event e);
void node_event(struct slv_node *n, enum slv_node_event e, uint64_t id, int state);
void node_measure(const struct slv_node *n, enum slv_node_measure what, size_t space, double value);
/* A space's replica was given something: a round of repair may have ended. */
void node_end_round(struct space *s);
uint64_t node_random(struct slv_node *n, uint64_t below);
struct space *node_space(const struct slv_node *n, uint64_t id);
/* Whether a space has it. */
bool node_has_name(const struct slv_node *n, struct slv_str name);
/* Of name, type, order, and time to live: nodes that declare a space otherwise do not share it. */
uint64_t node_space_id(struct slv_str name, const char *type, char order, uint64_t ttl_ms);
/* A record of the next transaction. A failure fails the node. */
int node_put(struct slv_node *n, struct slv_str key, struct slv_str value);
int node_del(struct slv_node *n, struct slv_str key);

/* Remembers a loaded statement until the start. */
int node_later(struct slv_node *n, struct slv_str value);

/* --- node_member.c ---------------------------------------------------------------------------- */

int node_member_load(struct slv_node *n, struct slv_str key, struct slv_str value);
/* The next of all members, from *i = 0 on, whether they are there or not: whom a statement names,
 * or the host lets in. */
bool node_next_member(const struct slv_node *n, size_t *i, uint64_t *ret);
int node_member_open(struct slv_node *n);
/* Recalls those that were loaded: when it is known who may be a member. */
int node_member_start(struct slv_node *n);
uint64_t node_member_tick(struct slv_node *n);
void node_member_close(struct slv_node *n);

/* --- node_roster.c ---------------------------------------------------------------------------- */

/* What is said of a node; NULL: nothing. */
const struct slv_statement *node_about(const struct slv_node *n, uint64_t id);
bool node_may_join(const struct slv_node *n, uint64_t id);
bool node_may_write(const struct slv_node *n, uint64_t id, struct slv_str space, uint64_t space_id,
                    struct slv_str key);
bool node_may_repair(const struct slv_node *n, uint64_t id, uint64_t space_id);
bool node_may_vote(const struct slv_node *n, uint64_t id);
int node_roster_open(struct slv_node *n);
void node_roster_close(struct slv_node *n);
int node_roster_load(struct slv_node *n, struct slv_str value);
int node_roster_start(struct slv_node *n);
uint64_t node_roster_tick(struct slv_node *n);
/* A peer has other statements. */
void node_roster_differs(struct slv_node *n, struct peer *p);
void node_roster_receive(struct slv_node *n, struct peer *p, struct slv_reader *m);
void node_roster_join(struct slv_node *n, struct peer *p, struct slv_reader *m);
/* It is a guest no longer. */
void node_roster_welcome(struct slv_node *n, struct peer *p);
/* Whether an answer of the group was to one of these. */
bool node_roster_answered(struct slv_node *n, uint64_t ask, const struct slv_strong_result *r);

/* --- node_attest.c ---------------------------------------------------------------------------- */

/* Whether a node must show something. */
bool node_attest_wants(const struct slv_node *n, uint64_t id);
/* There is a new association; something new is said of a peer that is connected. */
void node_attest_begin(struct slv_node *n, struct peer *p);
void node_attest_follow(struct slv_node *n, struct peer *p);
/* Of either kind; of guests too. */
void node_attest_receive(struct slv_node *n, struct peer *p, uint64_t kind, struct slv_reader *m);
uint64_t node_attest_tick(struct slv_node *n);

/* --- node_retire.c ---------------------------------------------------------------------------- */

int node_retire_load(struct slv_node *n, struct slv_str key, struct slv_str value);
/* The record of a context, of a space that is not declared. */
int node_retire_left(struct slv_node *n, uint64_t space, struct slv_str context);
/* Whether a peer may ask the group for this, of space 0 and no invitation. */
bool node_retire_may_ask(const struct slv_node *n, uint64_t peer,
                         const struct slv_strong_command *c);
/* Whether an answer of the group was to one of these. */
bool node_retire_answered(struct slv_node *n, uint64_t ask, const struct slv_strong_result *r);
/* Of what is known, for others; one whose print is another. */
uint64_t node_retire_print(const struct slv_node *n);
void node_retire_differs(struct slv_node *n, struct peer *p);
void node_retire_receive(struct slv_node *n, struct peer *p, uint64_t kind, struct slv_reader *m);
uint64_t node_retire_tick(struct slv_node *n);
void node_retire_close(struct slv_node *n);

/* --- node_strong.c ---------------------------------------------------------------------------- */

int node_strong_load(struct slv_node *n, struct slv_str key, struct slv_str value);
int node_strong_start(struct slv_node *n, bool damaged);
void node_strong_receive(struct slv_node *n, uint64_t peer, struct slv_str bytes);
/* The association with a peer is another, or none. */
void node_strong_lost(struct slv_node *n, uint64_t peer);
/* What was put goes with the commit that begins. */
void node_strong_committed(struct slv_node *n);
void node_strong_synced(struct slv_node *n);
uint64_t node_strong_tick(struct slv_node *n);
void node_strong_close(struct slv_node *n);
/* Tells a peer of the group, and who leads it. */
void node_strong_hello(struct slv_node *n, uint64_t peer, uint64_t leader);
void node_strong_ask_lead(struct slv_node *n, uint64_t leader, uint64_t to);

/* --- node_roles.c ----------------------------------------------------------------------------- */

/* A node says that it can be added. */
void node_roles_ready(struct slv_node *n, uint64_t peer);
void node_roles_hurt(struct slv_node *n, uint64_t peer);
/* A member asks that a voter leads: this node, if it leads, hands over to it. */
void node_roles_asked(struct slv_node *n, uint64_t peer, uint64_t to);
/* Where there is a group. When next. */
uint64_t node_roles_tick(struct slv_node *n);

/* --- node_peer.c ------------------------------------------------------------------------------ */

struct peer *node_peer(const struct slv_node *n, uint64_t id);
void node_free_peers(struct slv_node *n);
/* The message as it goes out: packed where that is worth it, and then good until the next is. */
struct slv_str node_packed(struct slv_node *n, struct slv_str message);
/* Through the link, as it is. SLV_E_BUSY: there is none, or it is full, or the peer is a guest,
 * which is told nothing but what guests are. */
int node_message(struct slv_node *n, uint64_t peer, enum slv_lane lane, struct slv_str bytes);
/* Outside the lanes; asks: the peer answers it. A peer that is not connected gets it when it is,
 * if that is soon. Whether it goes at once. */
bool node_datagram(struct slv_node *n, uint64_t peer, struct slv_str bytes, bool asks);
/* Packed, to all that are connected where members are few, else to some. How many. */
size_t node_spread(struct slv_node *n, struct slv_str message, uint64_t not_to);
/* To all that are connected, however many, as it is. */
void node_spread_all(struct slv_node *n, struct slv_str message);
void node_disconnect(struct slv_node *n, struct peer *p);
void node_disconnect_all(struct slv_node *n);
/* A peer becomes a guest, if it is none. */
void node_shut(struct slv_node *n, struct peer *p);
/* A member is alive: one that could not be reached for long is tried at once. */
void node_is_back(struct slv_node *n, uint64_t id);
bool node_is_small(const struct slv_node *n);
/* Sends what the links have. */
void node_pump(struct slv_node *n);
/* Connects, forgets, polls what is due. When next. */
uint64_t node_tick_peers(struct slv_node *n);
/* The sums of all spaces to some peer; NULL: one that is connected, at random. */
void node_tell_sums(struct slv_node *n, struct peer *p);

#endif
