/* records_int.h: what the files of records.h share.
 *
 *     records.c       transactions, the writer's thread, opening and closing
 *     records_db.c    the SQLite database: its settings, its form, applying a transaction
 *     records_load.c  reading it, finding damage
 *     records_mend.c  salvage, and what is kept of a damaged file
 *
 * No other file calls SQLite.
 */
#ifndef SLV_STORE_RECORDS_INT_H
#define SLV_STORE_RECORDS_INT_H

#include "store/records.h"
#include "base/buf.h"

#include <pthread.h>
#include <sqlite3.h>

#define SLV_RECORDS_SUM 8u

/* Returned beside SLV_E_*: the database is ours, and something in it cannot be read. */
#define SLV_RECORDS_DAMAGED 1

enum slv__recdb_stmt {
    RECDB_BEGIN,
    RECDB_COMMIT,
    RECDB_ROLLBACK,
    RECDB_INSERT, /* k, v, sum; nothing where the key is there */
    RECDB_UPDATE, /* the same, where it is */
    RECDB_DELETE,
    RECDB_ALL,  /* in order of keys */
    RECDB_FROM, /* those not below a key */
    RECDB_NEXT, /* the first key of them, without its value */
    RECDB_STMTS
};

/* One database. Threads: one at a time. */
struct slv__recdb {
    sqlite3 *db;
    sqlite3_stmt *stmt[RECDB_STMTS];
    const char *path; /* borrowed */
    int frames;       /* of its log */
};

/* How a database is opened. */
enum slv__recdb_how {
    RECDB_MAKE,  /* a new one; what is at the path goes */
    RECDB_KNOWN, /* it is known to be ours: bytes that say something else are damage */
    RECDB_ASK,   /* it may be anybody's, and is not touched then */
};

/* SLV_RECORDS_DAMAGED; else as slv_records_open. Whatever comes back, slv__recdb_close is due. */
int slv__recdb_open(struct slv__recdb *d, const char *path, enum slv__recdb_how how, size_t cache,
                    struct slv_err *err);
void slv__recdb_close(struct slv__recdb *d);

/* What a result of SQLite means, with "PATH: WHAT: WHY". */
int slv__recdb_fail(struct slv__recdb *d, const char *what, int rc, struct slv_err *err);

/* A statement that gives no rows, and is ready again after. */
int slv__recdb_do(struct slv__recdb *d, enum slv__recdb_stmt s, const char *what,
                  struct slv_err *err);
/* One that gives a number. */
int slv__recdb_number(struct slv__recdb *d, const char *sql, int64_t *ret, struct slv_err *err);
/* Of its pages, the log's too. */
int slv__recdb_bytes(struct slv__recdb *d, uint64_t *ret, struct slv_err *err);

/* *ret_new: -1, 0 or 1: how many records more there are. */
int slv__recdb_put(struct slv__recdb *d, struct slv_str key, struct slv_str value, int *ret_new,
                   struct slv_err *err);
int slv__recdb_del(struct slv__recdb *d, struct slv_str key, int *ret_new, struct slv_err *err);

/* All of the log into the database. */
int slv__recdb_checkpoint(struct slv__recdb *d, bool empty_log, struct slv_err *err);

void slv__recdb_sum(struct slv_str key, struct slv_str value, uint8_t ret[SLV_RECORDS_SUM]);

/* A file name and what follows it, from slv_mem_alloc. */
char *slv__records_name(const char *path, const char *suffix);
int slv__records_sync_folder(const char *path, struct slv_err *err);

/* What PATH.lock says; nothing: nobody has made a store here; RECORDS_LOST: records were lost, and
 * who was told of it has not committed since. */
enum slv__records_mark { RECORDS_NONE, RECORDS_SOUND, RECORDS_LOST };
enum slv__records_state { RECORDS_IDLE, RECORDS_GIVEN, RECORDS_DONE };

struct slv_records {
    char *path;
    struct slv_records_conf conf;
    int lock_fd;
    enum slv__records_mark mark;
    bool told; /* the caller knows of the damage */

    struct slv_buf pending; /* the caller's */
    struct slv_buf given;   /* the writer's while state is RECORDS_GIVEN */

    pthread_mutex_t db_lock; /* the database: the writer's, or a load's; taken before `lock` */
    struct slv__recdb db;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t change;
    pthread_t thread;
    bool started, closing;
    enum slv__records_state state;
    int status;            /* of the commit that is done */
    struct slv_err broken; /* code 0: not */
    int fd;
    struct slv_records_stats stats;
};

/* What PATH.lock says from here on, synced. */
int slv__records_set_mark(struct slv_records *r, enum slv__records_mark mark, struct slv_err *err);
void slv__records_note(struct slv_records *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* PATH, closed, and its log are now PATH.damaged-N; by: the file that takes its place, or NULL. */
int slv__records_set_aside(struct slv_records *r, const char *by, struct slv_err *err);

/* --- reading ---------------------------------------------------------------------------------- */

/* Through all rows of a database, in order. */
struct slv__records_walk {
    struct slv__recdb *d;
    bool strict;   /* keys must ascend */
    uint64_t left; /* bytes that its records can have */
    size_t last_n; /* of the last one, if it is good or keys must ascend; 0: none yet */
    char last[SLV_RECORDS_KEY_MAX];
};
struct slv__records_row {
    struct slv_str key, value; /* until the next one; what is not good may have none */
    bool good;                 /* its sum is right */
};
typedef int slv__records_row_fn(void *ctx, const struct slv__records_row *row, struct slv_err *err);

int slv__records_walk_init(struct slv__records_walk *w, struct slv__recdb *d, struct slv_err *err);
/* Of RECDB_ALL or RECDB_FROM; goes on after the last row of the walk before. What fn returns other
 * than 0 ends it. SLV_RECORDS_DAMAGED: not all could be read. */
int slv__records_walk(struct slv__records_walk *w, enum slv__recdb_stmt which,
                      slv__records_row_fn *fn, void *ctx, struct slv_err *err);

/* A line about the nth record whose sum is wrong. */
void slv__records_name_bad(struct slv_records *r, struct slv_str key, uint64_t nth);

/* Reads and mends. The caller has db_lock, as of the next two. */
int slv__records_check(struct slv_records *r, struct slv_err *err);
/* Reads and tells. */
int slv__records_tell(struct slv_records *r, slv_records_fn *fn, void *ctx, struct slv_err *err);
/* What can be read, in a new file in the old one's place. */
int slv__records_salvage(struct slv_records *r, const char *why, struct slv_err *err);

#endif
