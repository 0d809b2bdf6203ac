/* history.h: what the ops of a space put in and took out lately, so that some of them can be
 * undone.
 *
 * An op is known by its stamp and by the node that signed it. Kept are, in the order in which they
 * came here, and as records of the store beside the space's own:
 *
 *     number from 0 on: kind, when it came (ms since 1970), then
 *       BEGIN  1: the space was empty; 0: what was before is not known
 *       OP     node (8), writer (8), first number, numbers less one, stamp (8)
 *       GONE   node (8) and stamp (8) of the op that removed it; place (entries.h), data
 *
 * What a key would be without some ops is what is there, but for what they put in, and what they
 * removed, but for what they had put in themselves. So an op that saw the work of one that is
 * undone stays in force, as in any merge; of two that removed the same at once, the one that came
 * here first did. What came by a range of places has no op, and nothing says when it was written:
 * it was there before, and what is asked of a time before it came is refused, as for all that came
 * before history began. What went so was removed by nobody, then.
 *
 * The oldest goes when its time is over, or where there is no room. A space that is not declared
 * with a history has none, and nothing of this costs it anything.
 *
 * Threads: one.
 */
#ifndef SLV_MESH_HISTORY_H
#define SLV_MESH_HISTORY_H

#include "mesh/space.h"

#define SLV_HISTORY_MIN_MS ((uint64_t)1000)
#define SLV_HISTORY_MAX_MS ((uint64_t)366 * 86400 * 1000)
#define SLV_HISTORY_BYTES ((size_t)64 << 20) /* unless said otherwise */

struct slv_history;

/* Where records go. */
struct slv_history_keep {
    void (*put)(void *ctx, uint64_t number, struct slv_str record);
    void (*del)(void *ctx, uint64_t number);
    void *ctx;
};

/* For window_ms, in `max` bytes. keep is borrowed. SLV_E_NOMEM. */
int slv_history_open(uint64_t window_ms, size_t max, const struct slv_history_keep *keep,
                     struct slv_history **ret) SLV_MUST_USE;
void slv_history_close(struct slv_history *h);

/* A record, in the order of their numbers. SLV_E_FORMAT, SLV_E_NOMEM. */
int slv_history_load(struct slv_history *h, uint64_t number, struct slv_str record) SLV_MUST_USE;
/* All were there; lost: some were not, so that it begins anew. empty: nothing was ever written to
 * the space, so that where it begins all is known. */
void slv_history_loaded(struct slv_history *h, uint64_t now_ms, bool lost, bool empty);

/* Something came or went that no op tells of: history begins anew, a second from now. */
void slv_history_unknown(struct slv_history *h, uint64_t now_ms);
/* Without memory for what is to be kept, history begins anew. */
void slv_history_op(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                    uint64_t writer, struct slv_dot_range dots);
void slv_history_gone(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                      const struct slv_entry *e);

/* While it is held nothing is let go, so that what was found to be undone stays as it is: not what
 * is too old, nor for lack of room or memory. */
void slv_history_hold(struct slv_history *h, bool on);

/* Lets go what is too old. When the next will be, in ms since 1970; UINT64_MAX: there is none. */
uint64_t slv_history_trim(struct slv_history *h, uint64_t now_ms);

/* Ops since then can be undone, ms since 1970; 0: all that there ever were. */
uint64_t slv_history_reach(const struct slv_history *h);
size_t slv_history_bytes(const struct slv_history *h);

/* --- undoing ---------------------------------------------------------------------------------- */

/* Which ops: with stamps of from_ms up to, not with, to_ms; of this node, or (0) of all. */
struct slv_undo {
    uint64_t from_ms, to_ms, node;
};

/* That those ops were undone of keys first to last, both with it: an entry of the space like
 * others, in a key of its own, so that every node knows, and nobody undoes twice. When it was done,
 * and where: for what it says is void where that was undone in turn, or is to be now. */
struct slv_mark {
    struct slv_undo undo;
    uint64_t at_ms, by;
    struct slv_str first, last;
    struct slv_dot dot; /* of its entry; this and `number` are not in it */
    uint64_t number;    /* what came here behind this it does not tell of */
};

#define SLV_MARK_BYTES_MAX (2u * SLV_KEY_MAX + 64)
#define SLV_MARK_PATH 16u /* bytes: by whom, and the stamp */
/* The key of the marks, which no value has; and whether a key is that. */
struct slv_str slv_mark_key(void);
bool slv_mark_is_key(struct slv_str key);
void slv_mark_write(const struct slv_mark *m, struct slv_buf *b);
/* False: it is none. Strings are borrowed. */
bool slv_mark_read(struct slv_str data, struct slv_mark *ret);

/* An op that is to be undone. */
struct slv_undone_op {
    uint64_t writer, node, stamp;
    struct slv_dot_range dots;
    uint64_t number; /* of its item */
    uint64_t reach;  /* the largest number of the ops up to here, of its writer */
};

/* Ops to be undone, and what they did; good while the history is held. */
struct slv_undone {
    struct slv_undo undo;
    struct slv_undone_op *op; /* heap, [n_op], ascending by writer and number */
    size_t n_op;
    struct slv_history_item **gone; /* heap, [n_gone]: what they removed, by key */
    size_t n_gone;
    struct slv_mark *mark; /* heap, [n_mark], the latest first; strings are the space's */
    size_t n_mark;
    bool *in_force;        /* heap, [n_mark]: of `looked` */
    struct slv_str looked; /* heap: the key that was looked at last */
    uint64_t excused;      /* ops and removals that marks say were undone before */
    struct slv_str *key;   /* heap, [n_key], ascending: that they changed; each heap */
    size_t n_key;
};

/* Who signed for a writer; 0: that is not known. */
typedef uint64_t slv_node_of(const void *ctx, uint64_t writer);

/* s: the space as it is. again: marks do not count. A mark that its node did not write is none.
 * SLV_E_NOENT: history does not reach so far; SLV_E_LIMIT: too much, or too many marks;
 * SLV_E_NOMEM. *ret is {0} after a failure. */
int slv_history_undone(const struct slv_history *h, const struct slv_space *s,
                       const struct slv_undo *u, bool again, slv_node_of *node_of, const void *ctx,
                       struct slv_undone *ret) SLV_MUST_USE;
void slv_undone_fini(struct slv_undone *u);

/* What a key would be without them, as a space that has nothing else; to be read only.
 * SLV_E_NOMEM. */
int slv_undone_before(struct slv_undone *u, const struct slv_space *s, struct slv_str key,
                      struct slv_space *ret) SLV_MUST_USE;

#endif
