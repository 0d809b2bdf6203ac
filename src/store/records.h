/* records.h: records on disk: bytes of a key, bytes of a value, written in transactions by a thread
 * of its own, so that a loop that must not wait can keep what it knows.
 *
 *     PATH             an SQLite database: records(k BLOB PRIMARY KEY, v BLOB, sum BLOB)
 *     PATH-wal         its log: what was committed and is not in it yet
 *     PATH.lock        held while it is open; says that PATH is such a store, and whether damage is
 *                      still to be told of
 *     PATH.damaged-N   what was there before it was salvaged, N up to SLV_RECORDS_DAMAGED_MAX
 *     PATH.new         a salvage that is under way
 *
 * Invariants:
 *   1. What slv_records_done or slv_records_wait has reported survives a killed process and a power
 *      cut, as far as the disk does what it says.
 *   2. A transaction is there whole or not at all, and none is there without those before it.
 *   3. A record that is not what was written is never handed out; that some were lost is told at
 *      every slv_records_load until a commit of something after that is durable.
 *   4. One process has a store open at a time.
 *
 * Each record has a sum of its own (BLAKE2b, RFC 7693, over key and value): SQLite sees damage to
 * its structures, but not to what they hold. What the sums do not show is a store that was put back
 * to an earlier state, or a log whose last transactions a disk has lost.
 *
 * Memory: two transactions of conf.max, SQLite's cache, and 8 bytes for each page in the log.
 * Threads: one calls; a second one writes. Times are ns.
 */
#ifndef SLV_STORE_RECORDS_H
#define SLV_STORE_RECORDS_H

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#define SLV_RECORDS_KEY_MAX 4096u /* bytes; at least 1 */
#define SLV_RECORDS_VALUE_MAX ((size_t)16 << 20)
#define SLV_RECORDS_OVERHEAD 8u /* what a put or del takes besides key and value */
#define SLV_RECORDS_DAMAGED_MAX 4

struct slv_records;

struct slv_records_conf {
    size_t max;                    /* bytes of a transaction; 0: 64 MiB */
    size_t cache;                  /* bytes of SQLite's cache; 0: 2 MiB */
    const struct slv_clock *clock; /* NULL: the machine's */
    /* A line about what is damaged and what was done about it. Called by slv_records_open and
     * slv_records_load; must not call the store. May be NULL. */
    void (*note)(void *ctx, const char *line);
    void *note_ctx;
};

/* Opens the store at a path, or makes it (mode 0600) in a folder that is there. SLV_E_BUSY: it is
 * open elsewhere; SLV_E_FORMAT: the file is another program's, or of another version, and was not
 * touched; SLV_E_IO, SLV_E_NOMEM. What was a store and cannot be read as one any more is kept as
 * PATH.damaged-N, and a new one begun: slv_records_load tells. */
int slv_records_open(const char *path, const struct slv_records_conf *conf,
                     struct slv_records **ret, struct slv_err *err) SLV_MUST_USE;

/* Waits for the commit that is under way. What was put after it is dropped. */
void slv_records_close(struct slv_records *r);

/* All records in order of their keys (as memcmp; of two that begin alike the shorter is first), to
 * fn, which must not call the store; what it returns other than 0 ends the loading and is returned.
 * First the whole store is read: records whose sum is wrong are removed; where a page cannot be
 * read, or SQLite's check of the pages finds something, all that can be read is written to a new
 * file. *ret_damaged: records were lost, now or before.
 * SLV_E_BUSY: a commit is under way. SLV_E_IO, SLV_E_NOMEM. */
typedef int slv_records_fn(void *ctx, struct slv_str key, struct slv_str value);
int slv_records_load(struct slv_records *r, slv_records_fn *fn, void *ctx, bool *ret_damaged,
                     struct slv_err *err) SLV_MUST_USE;

/* --- transactions ----------------------------------------------------------------------------- */

/* Into the transaction that the next commit hands over; copied; never waits for the disk. A later
 * one of the same key counts. SLV_E_USAGE: the key is empty, or key or value too long; SLV_E_LIMIT:
 * conf.max is reached: commit, and put it again when that is done; SLV_E_NOMEM; SLV_E_IO: the store
 * has failed. On an error the transaction is as it was before the call. */
int slv_records_put(struct slv_records *r, struct slv_str key, struct slv_str value) SLV_MUST_USE;
int slv_records_del(struct slv_records *r, struct slv_str key) SLV_MUST_USE;

/* What was put since the last commit was never said. */
void slv_records_drop(struct slv_records *r);

/* Hands the transaction to the writer, also an empty one; never waits for the disk. SLV_E_BUSY: one
 * is under way, or done and not yet fetched by slv_records_done: what was put stays. SLV_E_IO: the
 * store has failed. */
int slv_records_commit(struct slv_records *r, struct slv_err *err) SLV_MUST_USE;

/* Readable when slv_records_done has something to say. The store's. */
int slv_records_fd(const struct slv_records *r);

/* 1: the commit is done, *ret_status is 0 when it is durable; 0: none is. Status SLV_E_IO with a
 * line that says why (a full disk), or SLV_E_NOMEM: closing takes it back whole; but one whose last
 * step was a sync that failed may be there, whole, when the store is opened anew. A store that
 * failed refuses everything until then. Never waits. */
int slv_records_done(struct slv_records *r, int *ret_status, struct slv_err *err) SLV_MUST_USE;

/* Waits for the commit that is under way; its status, or 0 where there is none. */
int slv_records_wait(struct slv_records *r, struct slv_err *err) SLV_MUST_USE;

/* --- counting --------------------------------------------------------------------------------- */

struct slv_records_stats {
    uint64_t records;     /* that are there; known once they were loaded */
    uint64_t bytes;       /* of the database's pages */
    uint64_t commits;     /* that were reported durable */
    uint64_t puts, dels;  /* in these */
    uint64_t sync_ns;     /* what the last COMMIT took: writing the log and its sync */
    uint64_t sync_all_ns; /* all of them */
    uint64_t sync_max_ns;
    uint64_t damaged;  /* records whose sum was wrong */
    uint64_t salvages; /* new files that were made of what could be read */
};
void slv_records_stats(struct slv_records *r, struct slv_records_stats *ret);

#endif
