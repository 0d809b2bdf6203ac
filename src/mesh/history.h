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
 * undone stays in force, as in any merge. What came by a range of places has no op: it counts as
 * put in by the node that wrote it, when it came; what went so, as removed by nobody, then.
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

/* Without memory for what is to be kept, history begins anew. */
void slv_history_op(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                    uint64_t writer, struct slv_dot_range dots);
void slv_history_gone(struct slv_history *h, uint64_t now_ms, uint64_t node, uint64_t stamp,
                      const struct slv_entry *e);

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
 * and where: for what it says is void where that was undone in turn. */
struct slv_mark {
    struct slv_undo undo;
    uint64_t at_ms, by;
    struct slv_str first, last;
};

#define SLV_MARK_BYTES_MAX (2u * SLV_KEY_MAX + 64)
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
};

/* Ops to be undone, and what they did; good until the history or the space is given something
 * else, but for the keys. */
struct slv_undone {
    struct slv_undone_op *op; /* heap, [n_op], ascending by writer and number */
    size_t n_op;
    struct slv_history_item **gone; /* heap, [n_gone]: what they removed, by key */
    size_t n_gone;
    struct slv_mark *mark; /* heap, [n_mark], the latest first; strings are the space's */
    size_t n_mark;
    struct slv_str *key; /* heap, [n_key], ascending: that they changed; each heap */
    size_t n_key;
};

/* s: the space as it is. again: marks do not count. SLV_E_NOENT: history does not reach so far;
 * SLV_E_LIMIT, SLV_E_NOMEM. *ret is {0} after a failure. */
int slv_history_undone(const struct slv_history *h, const struct slv_space *s,
                       const struct slv_undo *u, bool again, struct slv_undone *ret) SLV_MUST_USE;
void slv_undone_fini(struct slv_undone *u);

/* What a key would be without them, as a space that has nothing else; to be read only.
 * SLV_E_NOMEM. */
int slv_undone_before(const struct slv_undone *u, const struct slv_space *s, struct slv_str key,
                      struct slv_space *ret) SLV_MUST_USE;

#endif
