/* sim_int.h: what the files of the simulator share. See sim.h.
 *
 *     sim.c        time, nodes, writes, the run
 *     sim_fault.c  what befalls whom, and when
 *     sim_net.c    datagrams on their way, associations
 *     sim_disk.c   records, what is synced of them
 *     sim_check.c  all that was written, and what must hold
 *     sim_strong.c what was asked of the strong space, and what must hold of that
 */
#ifndef SLV_MESH_SIM_INT_H
#define SLV_MESH_SIM_INT_H

#include "mesh/linear.h"
#include "mesh/node.h"
#include "mesh/sim.h"

#ifndef MS
#define MS 1000000ull
#endif
#define SIM_SPACES 4u
#define SIM_WALL 1750000000000000000ull /* ns: the wall's time when a run begins */
#define SIM_CLOCK_OFF (2000 * MS)       /* no clock is further from it, but far ones */
#define SIM_CLOCK_PPM 200

struct sim;

struct sim_bytes {
    char *p; /* heap; NULL: none */
    size_t n;
};

/* --- disks ------------------------------------------------------------------------------------ */

struct sim_record {
    struct sim_bytes key, value; /* value.p NULL: deleted */
    uint64_t sum;                /* of both, as they were put */
    uint64_t commit;             /* of an undo: with which it came */
};

/* What is on it, in the order of the keys; and, in the order in which they were put, records that
 * are not yet. */
struct sim_disk {
    struct sim_record *record, *pending, *undo; /* heap */
    size_t n, room, n_pending, room_pending;
    size_t n_committed;       /* of the pending: they are synced soon */
    size_t n_undo, room_undo; /* what synced ones were put over, for a disk that lies */
    uint64_t commits;
    bool full;
};

/* --- nodes ------------------------------------------------------------------------------------ */

enum sim_role { SIM_MEMBER, SIM_TRAITOR, SIM_GONE };

struct sim_node {
    struct sim *sim;
    unsigned index;
    uint64_t id;
    enum sim_role role;
    struct slv_node *node; /* NULL: it is down */
    uint32_t life;         /* counts its starts */
    uint64_t tick_at;      /* the next that is on its way; UINT64_MAX: none */
    uint64_t up_at;        /* when it starts again; UINT64_MAX: never */
    uint64_t stuck_until;  /* it handles nothing before */
    int64_t clock_off;     /* ns, of the wall */
    int64_t drift_ppm;
    uint64_t late_until; /* it was stuck, or its clock jumped: it does late what is due before */
    uint64_t far_until;  /* its clock is ahead by more than stamps may be; 0: it is not */
    bool was_far;
    struct slv_clock clock;
    struct slv_mesh_trust trust;
    struct sim_disk disk;
    bool is_fresh; /* at its next start it begins another store */
    bool is_core;
    unsigned group; /* of a split */
    size_t space[SIM_SPACES];
    unsigned asked, lasts; /* of the last questions: under way, and (bits) to be asked */
    struct sim_view *view; /* heap: of writes that were not published yet */
    size_t n_view, room_view;
};

/* --- events ----------------------------------------------------------------------------------- */

enum sim_event {
    SIM_TICK,
    SIM_DATAGRAM,
    SIM_HELLO,
    SIM_WELCOME,
    SIM_CONFIRM,
    SIM_SYNCED,
    SIM_FAULT,
    SIM_WRITE,
    SIM_CHECK
};

struct sim_pending {
    uint64_t at, seq;
    enum sim_event what;
    unsigned from, to;
    uint32_t tag; /* of an association, or a life */
    struct sim_bytes bytes;
};

/* What a node had seen of a space when it wrote up to a number. */
struct sim_view {
    size_t space;
    uint64_t writer, last;
    struct slv_dots seen;
};

/* A batch that went out. */
struct sim_batch {
    struct sim_bytes bytes;
    struct slv_batch batch; /* of them */
    unsigned by;
    struct slv_dots view; /* in which it was written; empty: not known */
    /* The disk of who wrote it is lost. Another node has it, since so many looks in this life of
     * its: long enough for its disk to have it. */
    bool is_orphan;
    unsigned keeper, looks;
    uint32_t keeper_life;
};

struct sim_net {
    uint64_t delay, jitter; /* ns */
    uint64_t hop;           /* ns that all datagrams of nodes that are well take; 0: some */
    uint32_t loss_ppm, double_ppm;
    uint64_t rate; /* bytes/s of a node; 0: any */
    size_t mtu;
    uint64_t *busy;  /* [n]: when a node's link is free */
    uint32_t *assoc; /* [n * n]: tag of the association at a node with another; 0: none */
    uint32_t *hello; /* [n * n]: tag of the one that it last asked for */
    uint32_t tags;   /* given so far */
    bool *blocked;   /* [n * n]: from, to */
    bool is_split;
    unsigned bridge; /* a node that is in both parts; n: none */
};

/* An operation on the strong space, and at whom it is under way. */
struct sim_ask {
    struct slv_linear_op op;
    unsigned node;
    uint64_t ask;   /* at the node; 0: it is over, or nobody will hear of it */
    uint64_t token; /* of a lock */
    bool is_last;   /* of the questions at the end */
};

struct sim {
    struct slv_sim_conf conf;
    struct slv_sim_result *result;
    uint64_t random;
    uint64_t now, seq;
    uint64_t faults_end;
    uint64_t sync_ns; /* what a disk takes, on average */
    unsigned faults;  /* drawn */
    bool is_calm;     /* the faults have ended for the core */
    size_t log_max;
    uint64_t peer_rate;        /* at every other node; 0: any */
    uint64_t ttl_ms;           /* of the first space; 0: it has none */
    struct sim_pending *event; /* heap of n_event, the earliest first */
    size_t n_event, room_event;
    unsigned n;
    struct sim_node *node;
    struct sim_net net;
    struct sim_batch *batch;
    size_t n_batch, room_batch;
    struct sim_ask *ask;
    size_t n_ask, room_ask;
    bool is_founded; /* the group was */
    bool failed, no_memory;
};

uint64_t sim_random(struct sim *s, uint64_t below);
static inline bool sim_chance(struct sim *s, uint32_t ppm) { return sim_random(s, 1000000) < ppm; }
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Something does not hold. */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct sim_bytes sim_dup(struct sim *s, struct slv_str bytes);
/* bytes.p is the event's. */
void sim_push(struct sim *s, struct sim_pending e);
/* Room for one element more; false: no memory, which ends the run. */
bool sim_room(struct sim *s, void **p, size_t n, size_t *room, size_t size);
struct sim_node *sim_by_id(struct sim *s, uint64_t id);
/* Whether what is named befalls this node now. */
bool sim_suffers(const struct sim *s, const struct sim_node *n, enum slv_sim_fault f);
/* The wall's time by its clock, in ms. */
uint64_t sim_wall_ms(const struct sim_node *n);
/* What its clock shows that never goes back: it drifts. */
uint64_t sim_clock(const struct sim_node *n);
/* For who drives a run by himself: all zero but conf, result and random; then events one after the
 * other. False: no memory. */
bool sim_open(struct sim *s);
void sim_step(struct sim *s);
void sim_close(struct sim *s);
void sim_start(struct sim_node *n);
void sim_stop(struct sim_node *n);
void sim_schedule(struct sim_node *n);

/* --- sim_net.c -------------------------------------------------------------------------------- */

bool sim_net_open(struct sim *s);
void sim_net_close(struct sim *s);
void sim_net_datagram(void *ctx, uint64_t peer, struct slv_str datagram);
void sim_net_connect(void *ctx, uint64_t peer, struct slv_str record);
void sim_net_disconnect(void *ctx, uint64_t peer);
void sim_net_arrive(struct sim *s, const struct sim_pending *e);
/* A node that has crashed has no associations. */
void sim_net_forget(struct sim_node *n);

/* --- sim_disk.c ------------------------------------------------------------------------------- */

int sim_disk_put(void *ctx, struct slv_str key, struct slv_str value);
int sim_disk_del(void *ctx, struct slv_str key);
int sim_disk_commit(void *ctx);
void sim_disk_synced(struct sim_node *n);
/* What is not synced is lost. */
void sim_disk_crash(struct sim_node *n);
/* So is some of what was. */
void sim_disk_lie(struct sim_node *n);
void sim_disk_flip(struct sim_node *n);
/* All of it. */
void sim_disk_lose(struct sim_node *n);
/* Gives the node its records. *ret_damaged: some could not be read. */
int sim_disk_load(struct sim_node *n, bool *ret_damaged);
void sim_disk_close(struct sim_disk *d);

/* --- sim_fault.c ------------------------------------------------------------------------------ */

void sim_fault_draw(struct sim *s);
void sim_fault_happen(struct sim *s);
/* They end for a core of nodes. */
void sim_fault_end(struct sim *s);
/* What a traitor makes of what it publishes. */
void sim_fault_betray(struct sim_node *n, const struct slv_batch *b);

/* --- sim_check.c ------------------------------------------------------------------------------ */

/* It has written to a space just now. */
void sim_check_wrote(struct sim_node *n, size_t space);
void sim_check_published(struct sim_node *n, const struct slv_batch *b);
void sim_check_started(struct sim_node *n);
/* What may never be seen, of all nodes. */
void sim_check_always(struct sim *s);
bool sim_check_agreed(struct sim *s);
/* Traces what each of the core holds. */
void sim_check_tell(struct sim *s);
void sim_check_truth(struct sim *s);
void sim_check_crashed(struct sim_node *n);
/* Its disk is gone, and what it alone had. */
void sim_check_lost(struct sim_node *n);
void sim_check_close(struct sim *s);

/* --- sim_strong.c ----------------------------------------------------------------------------- */

/* A node asks something, now and then. */
void sim_strong_ask(struct sim_node *n);
void sim_strong_answer(void *ctx, uint64_t ask, const struct slv_strong_result *r);
/* What it had asked nobody will hear of. */
void sim_strong_crashed(struct sim_node *n);
/* The core asks for all that there is. */
void sim_strong_calm(struct sim *s);
void sim_strong_always(struct sim *s);
bool sim_strong_leads(const struct sim_node *n);
/* They were answered; or the core is not enough for it. */
bool sim_strong_agreed(struct sim *s);
/* All that was answered could have been so with one copy. */
void sim_strong_tell(struct sim *s);
void sim_strong_truth(struct sim *s);
void sim_strong_close(struct sim *s);

#endif
