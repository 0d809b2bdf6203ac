/* replica_int.h: what the files of a replica share. See replica.h. */
#ifndef SLV_MESH_REPLICA_INT_H
#define SLV_MESH_REPLICA_INT_H

#include "mesh/replica.h"

#define SHY_MAX 16u                    /* peers that are left alone at a time */
#define RANGES_MAX 16384u              /* that are still to be asked for */
#define ANSWER_NS 3000000000ull        /* how long one waits for an answer */
#define SHY_NS 1000000000ull           /* how long a peer is left alone at first, */
#define SHY_MOST_NS 60000000000ull     /* and at most */
#define BUDGET_MIN ((size_t)32 << 10)  /* bytes asked for at first, */
#define BUDGET_MAX ((size_t)384 << 10) /* and at most */

/* The head of a writer's latest batch. */
struct head {
    uint64_t writer, last, node;
    uint32_t store;
    char *bytes; /* heap */
    size_t n;
};

/* A batch that waits for what it depends on. */
struct waiting {
    struct waiting *next;
    uint64_t peer;
    struct slv_batch batch; /* of the bytes behind this */
    char bytes[];
};

struct shy {
    uint64_t peer, until, gap;
};

/* A range to be asked for: its ends as slv_place is written; NULL: open. */
struct ask {
    char *from, *to; /* heap */
    uint32_t n_from, n_to;
    bool settle; /* all entries are wanted, whatever was seen */
    uint64_t n;  /* as it was asked: how many entries are here, and their sum */
    struct slv_print sum;
};

enum asking { NOBODY, FOR_BATCHES, FOR_RANGES };

/* Who is asked, and for what. */
struct pull {
    enum asking what;
    uint64_t peer, deadline;
    uint64_t id;
    size_t budget;
    bool came, gains; /* since it was asked last: batches; such as were not here */
    bool gained;      /* something since it was asked first */
    /* FOR_RANGES: what the other had seen at first, what is to be asked for still, of which the
     * last n_asked were asked for, and what was told to a causal space, to be taken at once. */
    bool has_seen;
    uint64_t life; /* of the other, then */
    struct slv_dots seen;
    struct slv_dots ghosts;    /* of the other; what is seen, no ghost and not there was removed */
    struct slv_dots unchecked; /* writers whose heads were told, and could not be checked */
    struct slv_dots refused;   /* entries that are not taken */
    struct ask *ask;           /* heap */
    size_t n_ask, room_ask, n_asked;
    uint64_t work; /* ranges that may still be told */
    struct slv_buf later;
};

/* Entries that own writes have removed which can still be lost: nobody else may take them for
 * removed. Place, data, of each. */
struct ghosts {
    struct slv_buf bytes;
    uint64_t n;
};

struct slv_replica {
    struct slv_replica_conf conf;
    struct slv_replica_count count;
    struct slv_space space;
    struct slv_space_watch watch; /* the space's: it tells store and conf.watch */
    struct slv_oplog *log;
    struct slv_history *history; /* NULL: none is kept */
    struct slv_history_keep history_keep;
    uint64_t old_history, old_history_end; /* numbers of records of one that is kept no longer */
    /* Whose op is being applied, and its stamp; 0: none is. */
    uint64_t op_node, op_stamp;
    uint32_t store;
    uint64_t writer;                   /* of this store */
    uint64_t next;                     /* number */
    uint64_t flushed, synced;          /* last numbers */
    uint64_t first_waiting;            /* number of the first op that waits to be signed */
    uint64_t stamp;                    /* the latest of those */
    struct slv_buf ops;                /* that wait to be signed */
    struct ghosts unsigned_, unsynced; /* of writes that wait to be signed; that are signed */
    struct slv_dots overruled;         /* those of them that others have removed, too */
    /* An own op is being applied; another's. */
    bool writing, applying;
    struct slv_dots deps; /* others' writes seen since the last flush that wrote */
    struct head *head;    /* heap, ascending by writer */
    size_t n_head, room_head;
    struct head synced_head; /* this store's, as far as it is synced */
    struct waiting *waiting, **waiting_end;
    size_t waiting_bytes;
    bool context_changed; /* since the last flush */
    uint64_t news;        /* counts its changes */
    size_t n_let_go;      /* retirements that the context names */
    int failed;           /* what the store, or this replica's writer, has failed with */
    struct pull pull;
    uint64_t pull_id;
    struct shy shy[SHY_MAX];
};

/* --- replica.c -------------------------------------------------------------------------------- */

/* One batch of a peer's. 0: it is here, or waits, or was refused, which is counted; SLV_E_TRUST,
 * SLV_E_FORMAT, SLV_E_NOMEM. *ret_new: it is here now and was not. */
int replica_take(struct slv_replica *r, uint64_t peer, struct slv_batch *b, bool *ret_new);

static inline bool replica_has_ghosts(const struct slv_replica *r) {
    return r->unsigned_.n + r->unsynced.n > 0;
}

/* Whether there is room for what makes the space larger, or for what is said to replace
 * something. */
bool replica_has_room(const struct slv_replica *r, bool replaces);

/* Whether an entry that an op of another's just put in meets another one in its place: what its
 * writer saw there is gone by then. */
bool replica_is_conflict(const struct slv_replica *r, const struct slv_entry *e);

/* Own cut into a message, and another's out of one, which is followed where it is near enough and
 * the peer is believed. False: it is not, or none. *ret_ms (may be NULL): the time. Nothing is read
 * or written where there is no time to live. */
void replica_write_cut(const struct slv_replica *r, struct slv_buf *b);
bool replica_read_cut(struct slv_replica *r, uint64_t peer, struct slv_reader *m, uint64_t *ret_ms);
/* Own reach for the store, and out of it. */
void replica_write_reach(const struct slv_replica *r, struct slv_buf *b);
int replica_load_reach(struct slv_replica *r, struct slv_reader *m);

/* Those of its ops that are new here. */
int replica_apply_ops(struct slv_replica *r, const struct slv_batch *b);

/* The head of own writes that others may be told. */
int replica_own_synced(struct slv_replica *r);

/* Batches that waited, as far as they can be applied now. */
int replica_drain(struct slv_replica *r);

/* The context as far as own writes are synced. */
int replica_shown(const struct slv_replica *r, struct slv_dots *ret);
/* Whether others may know of this dot. */
bool replica_may_show(const struct slv_replica *r, struct slv_dot dot);
void replica_sums(struct slv_replica *r, const struct slv_dots *shown, uint8_t seen[SLV_SUM_BYTES],
                  uint8_t there[SLV_SUM_BYTES]);

/* A message begun: kind, space. */
void replica_begin(const struct slv_replica *r, struct slv_buf *b, enum slv_mesh_kind kind);
/* Sends it and ends the buffer. 0 or what is wrong. */
int replica_send(const struct slv_replica *r, uint64_t peer, struct slv_buf *b);

/* --- replica_store.c -------------------------------------------------------------------------- */

/* Keeps a head that was checked, if it reaches further than what is there. */
int replica_keep_head(struct slv_replica *r, const struct slv_batch_head *h);
/* NULL: there is none. */
const struct head *replica_head(const struct slv_replica *r, uint64_t writer);
/* That of a writer that is let go. */
void replica_drop_head(struct slv_replica *r, uint64_t writer);

/* Of a replica: as slv_node_of. */
uint64_t replica_node_of(const void *replica, uint64_t writer);
/* The op under way is one of this node's with this stamp; it is over, and what it brought. */
void replica_begin_op(struct slv_replica *r, uint64_t node, uint64_t stamp);
void replica_end_op(struct slv_replica *r, uint64_t writer, struct slv_dot_range dots, bool done);

/* For others who lack it. */
int replica_keep_batch(struct slv_replica *r, const struct slv_batch_head *h, struct slv_str bytes);
void replica_keep_context(struct slv_replica *r);
void replica_forget_ghosts(struct ghosts *g);

/* --- replica_retire.c ------------------------------------------------------------------------- */

/* The context is another. */
static inline void replica_saw(struct slv_replica *r) {
    r->context_changed = true;
    r->news++;
}
/* Up to which number a writer is known to have written: by its head, or by its retirement. */
uint64_t replica_proved(const struct slv_replica *r, uint64_t writer);
/* Its next batch may depend on all that was seen so. */
int replica_depend_on(struct slv_replica *r, const struct slv_dots *seen);
/* What is here of retired writers and of nobody's: its entries, and its batches. */
void replica_drop_retired(struct slv_replica *r);
/* And what was seen of it, as what is left in the log had removed it. */
int replica_forget_more(struct slv_replica *r);
/* Lets writers go that are retired, as far as all of them is here. */
int replica_let_go(struct slv_replica *r);
/* The same of all that the context names, which was seen here by now, but for those of which
 * something was refused. */
int replica_let_go_named(struct slv_replica *r, const struct slv_dots *context,
                         const struct slv_dots *refused);
/* Takes out what the context is not to have: retirements, and writers that were let go. */
int replica_strip(const struct slv_replica *r, struct slv_dots *seen);
/* What of theirs is retired here, or the other way round, is made the same, so that only what is
 * missing differs. *ret_lacks: they lack something of a writer that was let go here. */
int replica_level(const struct slv_replica *r, struct slv_dots *theirs, bool *ret_lacks);

/* --- replica_pull.c --------------------------------------------------------------------------- */

int replica_on_pull(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m);
int replica_on_give(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m);
/* Batches of that peer came: it is at it. */
void replica_heard(struct slv_replica *r, uint64_t peer, uint64_t now, bool gains);
/* The end of asking. A peer that had nothing is left alone for a moment; one whose answers were
 * none, or nothing that could be taken, for longer each time. */
enum outcome { GAINS, NOTHING, USELESS };
void replica_pull_end(struct slv_replica *r, uint64_t now, enum outcome o);

/* --- replica_range.c -------------------------------------------------------------------------- */

void replica_ask_all(struct slv_replica *r, uint64_t now);
int replica_on_ask(struct slv_replica *r, uint64_t peer, struct slv_reader *m);
int replica_on_tell(struct slv_replica *r, uint64_t peer, uint64_t now, struct slv_reader *m);
void replica_forget_ranges(struct slv_replica *r);

#endif
