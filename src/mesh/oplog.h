/* oplog.h: the batches of ops of a space that others may still want, as bytes.
 *
 * They are kept until all members have seen them, or until the log's bytes are at their limit: then
 * the oldest go, by when they came here. Who misses one that is gone is brought up to date by
 * ranges (space.h).
 *
 *     by writer: in the order of their numbers; and all in the order in which they came
 *
 * Threads: one.
 */
#ifndef SLV_MESH_OPLOG_H
#define SLV_MESH_OPLOG_H

#include "mesh/dots.h"

struct slv_oplog;

/* max: bytes that it may take. */
int slv_oplog_open(size_t max, struct slv_oplog **ret) SLV_MUST_USE;
void slv_oplog_close(struct slv_oplog *l);

/* fn is told of each that is dropped while the log is open. */
void slv_oplog_on_drop(struct slv_oplog *l, void (*fn)(void *ctx, struct slv_str bytes), void *ctx);

/* Keeps a copy of ops whose dots these are. One that is there stays as it is. SLV_E_NOMEM;
 * SLV_E_LIMIT: longer than the whole log may be. */
int slv_oplog_add(struct slv_oplog *l, uint64_t writer, struct slv_dot_range dots,
                  struct slv_str bytes) SLV_MUST_USE;

/* Drops what is in `seen`: all members have it. */
void slv_oplog_trim(struct slv_oplog *l, const struct slv_dots *seen);

/* Calls fn with all of whose dots some are in `have` and not in `theirs`, in the order of writers
 * and numbers, until it returns other than 0, which is returned. *ret_gone: there are such dots of
 * which the log has no ops, as far as it was looked through. */
int slv_oplog_missing(const struct slv_oplog *l, const struct slv_dots *have,
                      const struct slv_dots *theirs, int (*fn)(void *ctx, struct slv_str bytes),
                      void *ctx, bool *ret_gone);

/* What has this dot; empty: nothing has. Borrowed until the log changes. */
struct slv_str slv_oplog_find(const struct slv_oplog *l, struct slv_dot dot);

/* Adds the dots of all that it has. SLV_E_NOMEM, SLV_E_LIMIT. */
int slv_oplog_dots(const struct slv_oplog *l, struct slv_dots *ret) SLV_MUST_USE;

size_t slv_oplog_bytes(const struct slv_oplog *l);

#endif
