/* records_db.c: the database of a store of records (records.h): its settings, its form, and what a
 * transaction does to it.
 *
 * Settings, and why:
 *     journal_mode=WAL           a commit is one append and one sync; readers of a crashed store
 *                                find the last whole transaction by the log's sums
 *     synchronous=FULL           the log is synced at every commit, not at checkpoints only
 *     wal_autocheckpoint=0       the writer does it, after it has reported
 *     locking_mode=EXCLUSIVE     no shared memory file, whose pages another process may cut off
 *     mmap_size=0                an unreadable page is an error, not a signal
 *     cell_size_check, defensive, trusted_schema, limits: the file may hold anything
 *     secure_delete=FAST         what was deleted is overwritten where that costs no page more
 *
 * Sources: SQLite's documentation ("Database File Format", "Write-Ahead Logging", "Defense Against
 * The Dark Arts"); RFC 7693. */
#include "store/records_int.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION 0x736c7672 /* "slvr" */
#define VERSION 1
#define TABLE "CREATE TABLE records(k BLOB PRIMARY KEY,v BLOB,sum BLOB)WITHOUT ROWID"
#define STRINGIFY(x) #x
#define TEXT(x) STRINGIFY(x)

static const char *const statements[RECDB_STMTS] = {
    [RECDB_BEGIN] = "BEGIN IMMEDIATE",
    [RECDB_COMMIT] = "COMMIT",
    [RECDB_ROLLBACK] = "ROLLBACK",
    [RECDB_INSERT] = "INSERT OR IGNORE INTO records VALUES(?1,?2,?3)",
    [RECDB_UPDATE] = "UPDATE records SET v=?2,sum=?3 WHERE k=?1",
    [RECDB_DELETE] = "DELETE FROM records WHERE k=?1",
    [RECDB_ALL] = "SELECT k,v,sum FROM records ORDER BY k",
    [RECDB_FROM] = "SELECT k,v,sum FROM records WHERE k>=?1 ORDER BY k",
    [RECDB_NEXT] = "SELECT k FROM records WHERE k>=?1 ORDER BY k LIMIT 1",
};

void slv__recdb_sum(struct slv_str key, struct slv_str value, uint8_t ret[SLV_RECORDS_SUM]) {
    static const uint8_t name[] =
        "selvage.records1"; /* so that it is no other sum of these bytes */
    crypto_generichash_state h;
    uint8_t n[4], sum[crypto_generichash_BYTES_MIN];
    for (unsigned i = 0; i < sizeof n; i++)
        n[i] = (uint8_t)(key.n >> 8 * i);
    crypto_generichash_init(&h, name, sizeof name - 1, sizeof sum);
    crypto_generichash_update(&h, n, sizeof n);
    crypto_generichash_update(&h, (const uint8_t *)key.p, key.n);
    crypto_generichash_update(&h, (const uint8_t *)value.p, value.n);
    crypto_generichash_final(&h, sum, sizeof sum);
    memcpy(ret, sum, SLV_RECORDS_SUM);
}

/* --- errors ----------------------------------------------------------------------------------- */

static int meaning(int rc) {
    switch (rc) { /* extended codes first: their low byte says less */
    case SQLITE_IOERR_NOMEM:
        return SLV_E_NOMEM;
    case SQLITE_IOERR_READ:
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_DATA:
        return SLV_RECORDS_DAMAGED;
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return SLV_E_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SLV_E_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_TOOBIG:
        return SLV_RECORDS_DAMAGED; /* nothing that long was ever put */
    default:
        return SLV_E_IO;
    }
}

/* Of the call that failed, 0 where it is not known: SQLite keeps it for each file. */
static int errno_of(struct slv__recdb *d) {
    sqlite3_file *log = NULL;
    int why = d->db ? sqlite3_system_errno(d->db) : 0;
    if (!d->db || why) return why;
    if (!sqlite3_file_control(d->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) && log &&
        log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &why);
    if (!why) sqlite3_file_control(d->db, "main", SQLITE_FCNTL_LAST_ERRNO, &why);
    return why;
}

int slv__recdb_fail(struct slv__recdb *d, const char *what, int rc, struct slv_err *err) {
    const int code = meaning(rc);
    const int why = errno_of(d);
    if (code == SLV_E_BUSY)
        return slv_err_set(err, code, "%s: another process has it open", d->path);
    if (code == SLV_E_NOMEM) return slv_err_set(err, code, "%s: %s", d->path, slv_strerror(code));
    if ((rc & 0xff) == SQLITE_FULL || ((rc & 0xff) == SQLITE_IOERR && why == ENOSPC))
        return slv_err_set(err, code, "%s: %s: the disk is full", d->path, what);
    if (((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN) && why)
        return slv_err_set(err, code, "%s: %s: %s", d->path, what, strerror(why));
    return slv_err_set(err, code, "%s: %s: %s", d->path, what, sqlite3_errstr(rc));
}

int slv__recdb_do(struct slv__recdb *d, enum slv__recdb_stmt s, const char *what,
                  struct slv_err *err) {
    const int rc = sqlite3_step(d->stmt[s]);
    const int failed = rc == SQLITE_DONE ? 0 : slv__recdb_fail(d, what, rc, err);
    sqlite3_reset(d->stmt[s]);
    return failed;
}

int slv__recdb_number(struct slv__recdb *d, const char *sql, int64_t *ret, struct slv_err *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(d->db, sql, -1, &s, NULL);
    if (!rc) rc = sqlite3_step(s);
    const int failed = rc == SQLITE_ROW ? 0 : slv__recdb_fail(d, sql, rc, err);
    if (!failed) *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return failed;
}

int slv__recdb_bytes(struct slv__recdb *d, uint64_t *ret, struct slv_err *err) {
    int64_t pages = 0, page = 0;
    int rc = slv__recdb_number(d, "PRAGMA page_count", &pages, err);
    if (!rc) rc = slv__recdb_number(d, "PRAGMA page_size", &page, err);
    if (!rc) *ret = (uint64_t)pages * (uint64_t)page;
    return rc;
}

static int run(struct slv__recdb *d, const char *sql, const char *what, struct slv_err *err) {
    const int rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);
    return rc ? slv__recdb_fail(d, what, rc, err) : 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

char *slv__records_name(const char *path, const char *suffix) {
    const size_t n = strlen(path), m = strlen(suffix);
    char *name = slv_mem_alloc(n + m + 1);
    if (!name) return NULL;
    memcpy(name, path, n);
    memcpy(name + n, suffix, m + 1);
    return name;
}

int slv__records_sync_folder(const char *path, struct slv_err *err) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? slv_mem_strndup(path, slash == path ? 1 : (size_t)(slash - path))
                         : slv_mem_strndup(".", 1);
    if (!folder) return slv_err_set(err, SLV_E_NOMEM, "%s: %s", path, slv_strerror(SLV_E_NOMEM));
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    /* (EINVAL: the file system has no such sync, and keeps names in its own order) */
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        rc = slv_err_set(err, SLV_E_IO, "%s: folder: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    slv_mem_free(folder);
    return rc;
}

static int remove_file(const char *path, const char *suffix, struct slv_err *err) {
    char *name = slv__records_name(path, suffix);
    int rc = 0;
    if (!name) return slv_err_set(err, SLV_E_NOMEM, "%s: %s", path, slv_strerror(SLV_E_NOMEM));
    if (unlink(name) && errno != ENOENT)
        rc = slv_err_set(err, SLV_E_IO, "%s: %s", name, strerror(errno));
    slv_mem_free(name);
    return rc;
}

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int judge(const char *path, uint32_t application, uint32_t version, struct slv_err *err) {
    if (application != APPLICATION)
        return slv_err_set(err, SLV_E_FORMAT, "%s: is a database of another program", path);
    if (version != VERSION)
        return slv_err_set(err, SLV_E_FORMAT, "%s: is of version %u, and %d is known here", path,
                           version, VERSION);
    return 0;
}

/* What the first bytes say, before SQLite writes anything (it would finish what another program has
 * begun in its file). Where they are no database of SQLite's at all: see slv__recdb_how. */
static int look_at(const char *path, enum slv__recdb_how how, struct slv_err *err) {
    uint8_t head[100];
    struct stat st;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        const int why = errno;
        if (fd >= 0) close(fd);
        return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(why));
    }
    int rc = 0;
    if (!S_ISREG(st.st_mode)) rc = slv_err_set(err, SLV_E_FORMAT, "%s: is no file", path);
    const ssize_t n = rc ? 0 : pread(fd, head, sizeof head, 0);
    const bool sqlite = n == (ssize_t)sizeof head && !memcmp(head, "SQLite format 3", 16);
    if (!rc && sqlite) rc = judge(path, big_endian(head + 68), big_endian(head + 60), err);
    else if (!rc && how != RECDB_KNOWN)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is no database of SQLite", path);
    if (!rc && (st.st_mode & 077) && fchmod(fd, 0600))
        rc = slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return rc;
}

static int harden(struct slv__recdb *d, struct slv_err *err) {
    static const struct {
        int what, on;
    } switches[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0}, {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };
    static const struct {
        int what, most;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, (int)(SLV_RECORDS_VALUE_MAX + 2 * SLV_RECORDS_KEY_MAX)},
        {SQLITE_LIMIT_SQL_LENGTH, 1000},
        {SQLITE_LIMIT_COLUMN, 16},
        {SQLITE_LIMIT_EXPR_DEPTH, 16},
        {SQLITE_LIMIT_COMPOUND_SELECT, 2},
        {SQLITE_LIMIT_VDBE_OP, 10000},
        {SQLITE_LIMIT_FUNCTION_ARG, 8},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 8},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof switches / sizeof *switches; i++)
        rc = sqlite3_db_config(d->db, switches[i].what, switches[i].on, (int *)NULL);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        sqlite3_limit(d->db, limits[i].what, limits[i].most);
    return rc ? slv__recdb_fail(d, "settings", rc, err) : 0;
}

static int set_up(struct slv__recdb *d, size_t cache, struct slv_err *err) {
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%zu", cache / 1024 + 1);
    int rc = run(d,
                 "PRAGMA locking_mode=EXCLUSIVE;"
                 "PRAGMA mmap_size=0;"
                 "PRAGMA cell_size_check=ON;"
                 "PRAGMA temp_store=MEMORY;"
                 "PRAGMA synchronous=FULL;"
                 "PRAGMA checkpoint_fullfsync=ON;"
                 "PRAGMA journal_size_limit=16777216;"
                 "PRAGMA secure_delete=FAST;",
                 "settings", err);
    if (!rc) rc = run(d, sql, "settings", err);
    return rc;
}

/* Remembers how long the log is. */
static int grown(void *ctx, sqlite3 *db, const char *name, int frames) {
    struct slv__recdb *d = ctx;
    (void)db, (void)name;
    d->frames = frames;
    return SQLITE_OK;
}

static int use_log(struct slv__recdb *d, struct slv_err *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(d->db, "PRAGMA journal_mode=WAL", -1, &s, NULL);
    if (!rc) rc = sqlite3_step(s);
    int failed = rc == SQLITE_ROW ? 0 : slv__recdb_fail(d, "log", rc, err);
    const char *mode = failed ? "" : (const char *)sqlite3_column_text(s, 0);
    if (!failed && (!mode || strcmp(mode, "wal") != 0))
        failed = slv_err_set(err, SLV_E_IO, "%s: log: cannot be used here", d->path);
    sqlite3_finalize(s);
    sqlite3_wal_hook(d->db, grown, d); /* in the place of automatic checkpoints */
    return failed;
}

static int make(struct slv__recdb *d, struct slv_err *err) {
    int rc = run(d, "PRAGMA page_size=4096;PRAGMA auto_vacuum=NONE", "making it", err);
    if (!rc) rc = use_log(d, err);
    if (!rc)
        rc = run(d,
                 "BEGIN;" TABLE ";PRAGMA application_id=" TEXT(
                     APPLICATION) ";PRAGMA user_version=" TEXT(VERSION) ";COMMIT",
                 "making it", err);
    return rc ? rc : slv__recdb_checkpoint(d, true, err);
}

/* That it has our table, and nothing else that its statements would run. */
static int check_form(struct slv__recdb *d, struct slv_err *err) {
    int64_t application = 0, version = 0;
    sqlite3_stmt *s = NULL;
    bool right = false;
    int rc = slv__recdb_number(d, "PRAGMA application_id", &application, err);
    if (!rc) rc = slv__recdb_number(d, "PRAGMA user_version", &version, err);
    if (!rc) rc = judge(d->path, (uint32_t)application, (uint32_t)version, err);
    if (rc) return rc;
    rc = sqlite3_prepare_v2(d->db, "SELECT sql FROM sqlite_master", -1, &s, NULL);
    if (!rc && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(s, 0);
        right = sql && !strcmp(sql, TABLE);
        rc = sqlite3_step(s);
    }
    if (rc == SQLITE_ROW) right = false; /* more than one */
    const int failed =
        rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : slv__recdb_fail(d, "schema", rc, err);
    sqlite3_finalize(s);
    if (!failed && !right)
        return slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: its schema is not what was made",
                           d->path);
    return failed;
}

static int make_file(const char *path, struct slv_err *err) {
    int rc = remove_file(path, "-wal", err); /* first, lest it be another file's */
    if (!rc) rc = remove_file(path, "-journal", err);
    if (!rc) rc = remove_file(path, "", err);
    if (rc) return rc;
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return 0;
}

int slv__recdb_open(struct slv__recdb *d, const char *path, enum slv__recdb_how how, size_t cache,
                    struct slv_err *err) {
    *d = (struct slv__recdb){.path = path};
    int rc = how == RECDB_MAKE ? make_file(path, err) : look_at(path, how, err);
    if (rc) return rc;
    /* (a name that begins otherwise may mean something to SQLite) */
    char *name = slv__records_name(path[0] == '/' ? "" : "./", path);
    if (!name) return slv_err_set(err, SLV_E_NOMEM, "%s: %s", path, slv_strerror(SLV_E_NOMEM));
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    rc = sqlite3_open_v2(name, &d->db, flags, NULL);
    slv_mem_free(name);
    if (rc) return slv__recdb_fail(d, "opening", rc, err);
    sqlite3_extended_result_codes(d->db, 1);
    rc = harden(d, err);
    if (!rc) rc = set_up(d, cache, err);
    if (!rc) rc = how == RECDB_MAKE ? make(d, err) : check_form(d, err);
    if (!rc && how != RECDB_MAKE) rc = use_log(d, err);
    for (int i = 0; !rc && i < RECDB_STMTS; i++) {
        const int why = sqlite3_prepare_v3(d->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                           &d->stmt[i], NULL);
        if (why) rc = slv__recdb_fail(d, "statements", why, err);
    }
    return rc;
}

void slv__recdb_close(struct slv__recdb *d) {
    for (int i = 0; i < RECDB_STMTS; i++)
        sqlite3_finalize(d->stmt[i]);
    sqlite3_close(d->db);
    d->db = NULL;
    memset(d->stmt, 0, sizeof d->stmt);
}

/* --- changing --------------------------------------------------------------------------------- */

static int bind(sqlite3_stmt *s, int at, const void *p, size_t n) {
    return sqlite3_bind_blob(s, at, n ? p : "", (int)n, SQLITE_STATIC);
}

static int change(struct slv__recdb *d, enum slv__recdb_stmt which, const struct slv_str *part,
                  int parts, struct slv_err *err) {
    sqlite3_stmt *s = d->stmt[which];
    int rc = 0;
    for (int i = 0; !rc && i < parts; i++)
        rc = bind(s, i + 1, part[i].p, part[i].n);
    if (!rc) rc = sqlite3_step(s);
    const int failed = rc == SQLITE_DONE ? 0 : slv__recdb_fail(d, "writing", rc, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return failed;
}

int slv__recdb_put(struct slv__recdb *d, struct slv_str key, struct slv_str value, int *ret_new,
                   struct slv_err *err) {
    uint8_t sum[SLV_RECORDS_SUM];
    slv__recdb_sum(key, value, sum);
    const struct slv_str part[] = {key, value, {(const char *)sum, sizeof sum}};
    int rc = change(d, RECDB_INSERT, part, 3, err);
    const int new = sqlite3_changes(d->db);
    if (!rc && !new) rc = change(d, RECDB_UPDATE, part, 3, err);
    if (!rc && sqlite3_changes(d->db) != 1)
        rc = slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: writing: a record is not in its place",
                         d->path);
    if (!rc) *ret_new = new;
    return rc;
}

int slv__recdb_del(struct slv__recdb *d, struct slv_str key, int *ret_new, struct slv_err *err) {
    const int rc = change(d, RECDB_DELETE, &key, 1, err);
    if (!rc) *ret_new = -sqlite3_changes(d->db);
    return rc;
}

int slv__recdb_checkpoint(struct slv__recdb *d, bool empty_log, struct slv_err *err) {
    const int how = empty_log ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    const int rc = sqlite3_wal_checkpoint_v2(d->db, NULL, how, NULL, NULL);
    if (rc) return slv__recdb_fail(d, "checkpoint", rc, err);
    d->frames = 0;
    return 0;
}
