/* replica.h: a key space at one node: what it holds, how it writes, and how it and its peers come
 * to hold the same.
 *
 * A write is applied here at once and waits, with others, to be signed (slv_replica_flush); when
 * the store has it, its batch goes out to peers, who apply it and hand it on. That loses nothing
 * only where no message is lost. So peers compare 16 bytes now and then (slv_replica_sum); who
 * differs asks. All is asked for by the one who lacks it and answered out of what is there, so
 * that the one who answers keeps nothing of it:
 *
 *     PULL  what I have seen                    (some 12 bytes a writer)
 *     BATCH those you have not, out of my log   up to the bytes you asked for
 *     GIVE  there is more; or some of it is no longer in my log; and two sums of all I have
 *
 *     ASK   ranges of places, of each how many entries I have and their sum
 *     TELL  for each: the same; or its parts with their sums; or the entries that you have not
 *           seen and the dots of all there
 *
 * Ranges (Meyer, 2022, as entries.h) are for those who were away for longer than the log reaches,
 * and for damage. When all were told, and only then, what the other had seen when it was first
 * asked is seen here too. That is not further, of each writer, than a head with that writer's
 * signature proves, or it is not listened to: nobody can be made to believe that he has seen what
 * was not written yet.
 *
 * What is asked of others is one thing at a time. A peer who does not answer, or whose answers
 * bring nothing although it differs, is left alone for a while, twice as long each time.
 *
 * A batch waits, within a limit, until what it removes is known to have been written. In a causal
 * space it waits for all that it was written in view of, and ranges are taken all at once, when the
 * last is told.
 *
 * In a space with a time to live (ttl.h) who pulls, gives, asks or tells says up to when it has let
 * go what was due, and the other lets that go, too. So what is missing at the teller of a range,
 * and is not due by the cut here, was removed by a write: it was not due there. A teller whose
 * clock is too far ahead to be followed is not listened to, but for batches; and who has let go
 * what is due behind its cut, as its clock was wrong, tells no ranges until all that is due.
 *
 * Writers that are retired (retired.h) are let go when all of them is here: their numbers, heads
 * and batches. Who lacks some of that is told it by ranges; and none are taken of a peer that has
 * let somebody go of whom this one knows no retirement yet: it is to hear of that first.
 *
 * A space may be full: what its entries take is at conf.max. Then this node writes only what makes
 * it no larger, and of others' batches only such are applied; what is not waits with its writers,
 * as if it were lost, and comes when there is room. So a node's memory is bounded whatever others
 * write; it does not hold what they hold meanwhile, and says so. (A quarter more is there for what
 * claims to replace and does not.)
 *
 * Invariants:
 *   1. No number of a writer is given twice: none leaves before the store has it, and a node that
 *      finds its own writer ahead of itself begins another store.
 *   2. Of each writer there is a head that reaches as far as the context, or its retirement, but
 *      for this node's own writes that wait: nobody can make others believe, or remove, what was
 *      not written.
 *   3. What is sent tells nothing of own writes that the store does not have yet.
 *
 * Threads: one. Sources: as in space.h; Scuttlebutt (van Renesse and others, 2008).
 */
#ifndef SLV_MESH_REPLICA_H
#define SLV_MESH_REPLICA_H

#include "mesh/batch.h"
#include "mesh/history.h"
#include "mesh/hlc.h"
#include "mesh/oplog.h"
#include "mesh/types.h"

#define SLV_SUM_BYTES 16u
/* No message is longer. */
#define SLV_MESSAGE_MAX ((size_t)1 << 20)

/* The first byte of a message; the space's id follows. (node.h has one more, of all spaces.) */
enum slv_mesh_kind {
    SLV_MSG_BATCH = 1,
    SLV_MSG_PULL,
    SLV_MSG_GIVE,
    SLV_MSG_ASK,
    SLV_MSG_TELL,
};

struct slv_replica;

/* What a replica wants of the node that it is in. */
struct slv_replica_world {
    /* A message to a peer, borrowed. Other than 0: it is not sent, which is as if it were lost. */
    int (*send)(void *ctx, uint64_t peer, struct slv_str message);
    bool (*may_write)(void *ctx, uint64_t node, struct slv_str key);
    /* Whether a peer is believed in what is there and what was removed, without a signature for
     * each: whoever may write all of the space is. */
    bool (*may_repair)(void *ctx, uint64_t node);
    /* Another's batch that is new here, and from whom it came. */
    void (*fresh)(void *ctx, const struct slv_batch *b, uint64_t peer);
    /* Pulling has brought something, and ended. */
    void (*pulled)(void *ctx);
    /* This store's writer is further elsewhere than here, or gave a number twice. */
    void (*behind_itself)(void *ctx);
    /* A node has signed two different things with the same numbers. */
    void (*two_faced)(void *ctx, uint64_t node, struct slv_str one, struct slv_str other);
    /* Records for the store: they are one transaction until slv_replica_flush and what it put are
     * synced. Failing, the replica refuses all until it is opened anew. */
    int (*put)(void *ctx, struct slv_str key, struct slv_str value);
    int (*del)(void *ctx, struct slv_str key);
    void *ctx;
};

struct slv_replica_conf {
    uint64_t id; /* of the space */
    enum slv_mesh_type type;
    bool causal;
    uint64_t ttl_ms;     /* SLV_TTL_MIN_MS to SLV_TTL_MAX_MS; 0: entries do not go by themselves */
    size_t max;          /* bytes that entries take in memory; 0: any */
    uint64_t history_ms; /* for which what ops did is kept, to be undone (history.h); 0: not */
    size_t history_max;  /* bytes of it */
    size_t log_max;      /* bytes of others' and own batches that are kept */
    size_t waiting_max;  /* bytes of batches that wait for what they depend on */
    size_t repair_max;   /* bytes of entries that are taken at once at the end of ranges (causal) */
    uint64_t node;
    uint64_t chance; /* this life, drawn each time: questions and answers across a crash are none */
    struct slv_hlc *hlc;                /* borrowed, as all below */
    const struct slv_mesh_trust *trust; /* for batches */
    const struct slv_replica_world *world;
    const struct slv_space_watch *watch; /* may be NULL */
    const struct slv_retired *retired;   /* may be NULL: nobody is */
};

struct slv_replica_count {
    uint64_t written, applied;                        /* ops: own, others' */
    uint64_t doubled;                                 /* batches that were here already */
    uint64_t malformed, forged, forbidden, in_future; /* batches that were refused */
    uint64_t waited, put_off;                         /* batches: for others; no room to wait */
    uint64_t full;                                    /* batches and entries: the space is full */
    uint64_t pulls, ranges, unanswered, useless;      /* ways of asking */
    /* Others' writes of a register, a flag, or a place of a document that came while another was
     * there which their writer had not seen. */
    uint64_t conflicts;
    uint64_t expired; /* entries that went by themselves */
    uint64_t too_far; /* peers' cuts that were not followed */
};

/* SLV_E_USAGE: entries of this type do not go by themselves, or not after so long; or what is
 * written to them cannot be undone, or both are wanted; SLV_E_NOMEM. */
int slv_replica_open(const struct slv_replica_conf *conf, struct slv_replica **ret) SLV_MUST_USE;
void slv_replica_close(struct slv_replica *r);

const struct slv_space *slv_replica_space(const struct slv_replica *r);
uint64_t slv_replica_id(const struct slv_replica *r);
bool slv_replica_is_causal(const struct slv_replica *r);
/* Whether it has no room for what makes it larger. */
bool slv_replica_is_full(const struct slv_replica *r);
/* NULL: there is none. */
const struct slv_history *slv_replica_history(const struct slv_replica *r);
/* As slv_history_undone, of a replica that has one; and slv_history_hold, for as long as *ret is
 * used. */
int slv_replica_undone(const struct slv_replica *r, const struct slv_undo *u, bool again,
                       struct slv_undone *ret) SLV_MUST_USE;
void slv_replica_hold_history(struct slv_replica *r, bool on);
const struct slv_replica_count *slv_replica_count(const struct slv_replica *r);

/* --- writing ---------------------------------------------------------------------------------- */

/* A draft of a write to a key, the next of this node. One at a time; the caller closes it. As
 * slv_draft_open. */
int slv_replica_draft(struct slv_replica *r, struct slv_str key,
                      struct slv_draft *ret) SLV_MUST_USE;

/* Applies the draft that was opened last. SLV_E_BUSY: so much waits that slv_replica_flush must
 * come first; SLV_E_USAGE: the node may not write there; SLV_E_LIMIT: too long, or the space is
 * full; SLV_E_NOMEM: nothing has changed. SLV_E_IO: the store has failed. */
int slv_replica_write(struct slv_replica *r, const struct slv_draft *d) SLV_MUST_USE;

/* Bytes of own ops that wait to be signed, of SLV_BATCH_OPS_MAX for which there is room. */
size_t slv_replica_waiting(const struct slv_replica *r);

/* Signs what waits and puts it, and what else has changed, into the store's transaction. The batch,
 * empty if there was none, goes out when that is synced: it is appended to ret. */
int slv_replica_flush(struct slv_replica *r, struct slv_buf *ret) SLV_MUST_USE;

/* What was flushed until now is synced. */
void slv_replica_synced(struct slv_replica *r);

/* The last number of this store's writer that is flushed. */
uint64_t slv_replica_last(const struct slv_replica *r);

/* --- with others ------------------------------------------------------------------------------ */

/* A message behind its kind and space. SLV_E_FORMAT: it is none; SLV_E_TRUST: it is refused, of a
 * peer that cannot have made it in good faith; SLV_E_NOMEM. Nothing is lost by any of them that
 * asking again would not bring. */
int slv_replica_receive(struct slv_replica *r, uint64_t peer, uint64_t now, enum slv_mesh_kind kind,
                        struct slv_reader *m) SLV_MUST_USE;

/* Equal where the same was seen and is there. */
void slv_replica_sum(struct slv_replica *r, uint8_t ret[SLV_SUM_BYTES]);

/* A peer's sum is another: it is asked what it has, unless somebody is being asked. */
void slv_replica_differs(struct slv_replica *r, uint64_t peer, uint64_t now);

/* Changes with all that is seen, so that who waits for something need not look more often. */
uint64_t slv_replica_news(const struct slv_replica *r);

/* --- writers ---------------------------------------------------------------------------------- */

/* As its head says. */
struct slv_replica_writer {
    uint64_t writer, node, last;
    uint32_t store;
};
size_t slv_replica_writers(const struct slv_replica *r);
void slv_replica_writer(const struct slv_replica *r, size_t i, struct slv_replica_writer *ret);

/* What was seen of a writer; *ret is {0} before, and after a failure. SLV_E_BUSY: more of it waits
 * here; SLV_E_NOMEM. */
int slv_replica_seen_of(const struct slv_replica *r, uint64_t writer,
                        struct slv_dots *ret) SLV_MUST_USE;

/* conf.retired has more. As slv_replica_receive. */
int slv_replica_retire(struct slv_replica *r) SLV_MUST_USE;
/* Whether it has numbers of a retired writer that nobody else had: what it has seen is damaged by
 * them, and it is to be opened anew, and loaded as damaged. */
bool slv_replica_has_more(const struct slv_replica *r);
/* Retirements that are done with here: their writers are let go, or they do not list this space. */
size_t slv_replica_let_go(const struct slv_replica *r);

/* --- asking ----------------------------------------------------------------------------------- */

/* Whether somebody is being asked; whether it is this one. */
bool slv_replica_asking(const struct slv_replica *r);
bool slv_replica_asks(const struct slv_replica *r, uint64_t peer);

/* What is due by the clock, in a space with a time to live, goes, and what is too old of its
 * history; where nothing is, nothing is looked at. In how many ns the next will be; UINT64_MAX:
 * there is nothing. */
uint64_t slv_replica_expire(struct slv_replica *r);

/* Up to when, in grains (ttl.h), what was due is gone here: told with a sum. 0: no time to live. */
uint64_t slv_replica_cut(const struct slv_replica *r);
/* A peer's: what is due by it goes here too, unless the peer's clock is too far ahead. */
void slv_replica_follow(struct slv_replica *r, uint64_t peer, uint64_t cut);

/* What was asked of a peer, or told by it, may be lost: its association is another one, or none. */
void slv_replica_lost(struct slv_replica *r, uint64_t peer, uint64_t now);

/* When to call slv_replica_tick; UINT64_MAX: never. */
uint64_t slv_replica_next(const struct slv_replica *r);
void slv_replica_tick(struct slv_replica *r, uint64_t now);

/* --- the store -------------------------------------------------------------------------------- */

/* Whether a record's key is that of a context, whose value begins with dots. */
bool slv_replica_is_context(struct slv_str key);
/* A record of this space that the store has, while the replica is new. SLV_E_FORMAT: it is none. */
int slv_replica_load(struct slv_replica *r, struct slv_str key, struct slv_str value) SLV_MUST_USE;

/* All records were there, and the replica may be used. `store` is the number of its writer.
 * Damaged: some could not be read. Then what this node had seen is not known any more, as what is
 * missing may have been removed or lost: it goes on from what is there and in the log, and has the
 * rest told by others; `store` must be new. What no head proves is dropped then, but for what this
 * node wrote under one of the `older` numbers, for which it signs another. */
struct slv_replica_stores {
    uint32_t store;
    const uint32_t *older; /* [n] */
    size_t n;
    bool damaged;
};
int slv_replica_loaded(struct slv_replica *r, const struct slv_replica_stores *s) SLV_MUST_USE;

#endif
