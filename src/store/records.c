/* records.c: see records.h. Opening and closing a store, its transactions, and the thread that
 * writes them.
 *
 *     caller                               writer
 *     put, put, del --> pending
 *     commit: pending <-> given ---------> BEGIN, given, COMMIT (the log's sync)
 *     put ... --> pending                  state RECORDS_DONE, descriptor readable
 *     done: state RECORDS_IDLE             a checkpoint, where the log has grown
 */
#include "store/records_int.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX ((size_t)64 << 20)
#define CACHE ((size_t)2 << 20)
#define KEEP ((size_t)1 << 20) /* a buffer beyond that goes back to the system when it is empty */
#define LOG_PAGES 1000         /* a checkpoint is due */
#define DEL UINT32_MAX         /* in the place of a value's length */

void slv__records_note(struct slv_records *r, const char *fmt, ...) {
    struct slv_err line;
    va_list ap;
    if (!r->conf.note) return;
    va_start(ap, fmt);
    slv_err_vset(&line, 0, fmt, ap);
    va_end(ap);
    r->conf.note(r->conf.note_ctx, line.msg);
}

/* --- PATH.lock -------------------------------------------------------------------------------- */

#define MARK_TEXT "selvage records "
#define MARK_BYTES 18u
static const char letters[] = {0, 'S', 'L'}; /* of enum slv__records_mark */

int slv__records_set_mark(struct slv_records *r, enum slv__records_mark mark, struct slv_err *err) {
    char text[MARK_BYTES + 1];
    if (r->mark == mark) return 0;
    snprintf(text, sizeof text, MARK_TEXT "%c\n", letters[mark]);
    if (pwrite(r->lock_fd, text, MARK_BYTES, 0) != (ssize_t)MARK_BYTES || fdatasync(r->lock_fd))
        return slv_err_set(err, SLV_E_IO, "%s.lock: %s", r->path, strerror(errno));
    r->mark = mark;
    return 0;
}

/* *ret_odd: it says something else. */
static int lock_path(struct slv_records *r, bool *ret_odd, struct slv_err *err) {
    char text[MARK_BYTES + 1];
    char *name = slv__records_name(r->path, ".lock");
    if (!name) return slv_err_set(err, SLV_E_NOMEM, "%s: %s", r->path, slv_strerror(SLV_E_NOMEM));
    r->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = 0;
    if (r->lock_fd < 0) rc = slv_err_set(err, SLV_E_IO, "%s: %s", name, strerror(errno));
    slv_mem_free(name);
    if (rc) return rc;
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return slv_err_set(err, SLV_E_BUSY, "%s: another process has it open", r->path);
    const ssize_t n = pread(r->lock_fd, text, sizeof text, 0);
    if (n < 0) return slv_err_set(err, SLV_E_IO, "%s.lock: %s", r->path, strerror(errno));
    const bool ours = n == (ssize_t)MARK_BYTES && !memcmp(text, MARK_TEXT, MARK_BYTES - 2);
    const char *at =
        ours && text[MARK_BYTES - 2] ? memchr(letters, text[MARK_BYTES - 2], sizeof letters) : NULL;
    r->mark = at ? (enum slv__records_mark)(at - letters) : RECORDS_NONE;
    *ret_odd = n > 0 && !at;
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Whether the file is there and has something in it. */
static int look_for(const char *path, bool *ret_there, struct slv_err *err) {
    struct stat st;
    const bool is = !stat(path, &st);
    if (!is && errno != ENOENT) return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    *ret_there = is && st.st_size > 0;
    return 0;
}

/* A new database, whole before it has the name. */
static int make(struct slv_records *r, struct slv_err *err) {
    char *path = slv__records_name(r->path, ".new"), *wal = slv__records_name(r->path, "-wal");
    int rc = 0;
    if (!path || !wal) {
        rc = slv_err_set(err, SLV_E_NOMEM, "%s: %s", r->path, slv_strerror(SLV_E_NOMEM));
    } else {
        rc = slv__recdb_open(&r->db, path, RECDB_MAKE, r->conf.cache, err);
        slv__recdb_close(&r->db);
        unlink(wal); /* of a database that is no more */
        if (!rc && rename(path, r->path))
            rc = slv_err_set(err, SLV_E_IO, "%s: %s", r->path, strerror(errno));
        if (!rc) rc = slv__records_sync_folder(r->path, err);
        if (!rc) rc = slv__recdb_open(&r->db, r->path, RECDB_KNOWN, r->conf.cache, err);
    }
    slv_mem_free(path);
    slv_mem_free(wal);
    return rc;
}

/* In the place of what cannot be read as a store at all. */
static int begin_anew(struct slv_records *r, const char *why, struct slv_err *err) {
    slv__records_note(r, "%s: all that was in it is lost here", why);
    int rc = slv__records_set_mark(r, RECORDS_LOST, err);
    if (!rc) rc = slv__records_set_aside(r, NULL, err);
    return rc ? rc : make(r, err);
}

static int open_database(struct slv_records *r, bool odd, struct slv_err *err) {
    struct slv_err why = {0};
    const bool known = r->mark != RECORDS_NONE;
    bool there = false;
    int rc = look_for(r->path, &there, err);
    if (rc) return rc;
    if (!there && known) {
        slv_err_set(&why, SLV_RECORDS_DAMAGED, "%s: is gone", r->path);
        rc = begin_anew(r, why.msg, err);
    } else if (!there) {
        rc = make(r, err);
    } else {
        rc = slv__recdb_open(&r->db, r->path, known ? RECDB_KNOWN : RECDB_ASK, r->conf.cache, &why);
        if (rc < 0) slv_err_set(err, rc, "%s", why.msg);
        if (rc > 0) {
            slv__recdb_close(&r->db);
            rc = begin_anew(r, why.msg, err);
        }
    }
    if (rc > 0) rc = SLV_E_IO;
    /* (what an unreadable mark said is not known: the worst) */
    if (!rc && odd) rc = slv__records_set_mark(r, RECORDS_LOST, err);
    if (!rc && r->mark == RECORDS_NONE) {
        rc = slv__records_set_mark(r, RECORDS_SOUND, err);
        if (!rc) rc = slv__records_sync_folder(r->path, err);
    }
    return rc;
}

static void *write_all(void *arg);

static int prepare(struct slv_records *r, struct slv_err *err) {
    bool odd = false;
    pthread_mutex_init(&r->db_lock, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->fd < 0) return slv_err_set(err, SLV_E_IO, "%s: eventfd: %s", r->path, strerror(errno));
    int rc = lock_path(r, &odd, err);
    if (!rc) rc = open_database(r, odd, err);
    if (!rc && slv_thread_start(&r->thread, write_all, r))
        rc = slv_err_set(err, SLV_E_NOMEM, "%s: no thread is to be had", r->path);
    else r->started = !rc;
    return rc;
}

int slv_records_open(const char *path, const struct slv_records_conf *conf,
                     struct slv_records **ret, struct slv_err *err) {
    struct slv_records *r = slv_mem_calloc(1, sizeof *r);
    if (r) r->path = slv_mem_strndup(path, strlen(path));
    if (!r || !r->path) {
        slv_mem_free(r);
        return slv_err_set(err, SLV_E_NOMEM, "%s: %s", path, slv_strerror(SLV_E_NOMEM));
    }
    r->lock_fd = -1;
    if (conf) r->conf = *conf;
    if (!r->conf.max) r->conf.max = MAX;
    if (!r->conf.cache) r->conf.cache = CACHE;
    if (!r->conf.clock) r->conf.clock = &slv_clock_system;
    slv_buf_init(&r->pending, r->conf.max);
    slv_buf_init(&r->given, r->conf.max);
    const int rc = prepare(r, err);
    if (rc) slv_records_close(r);
    else *ret = r;
    return rc;
}

void slv_records_close(struct slv_records *r) {
    if (!r) return;
    if (r->started) {
        pthread_mutex_lock(&r->lock);
        r->closing = true;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    slv__recdb_close(&r->db);
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->db_lock);
    if (r->fd >= 0) close(r->fd);
    if (r->lock_fd >= 0) close(r->lock_fd); /* after the database: nobody opens it before */
    slv_buf_fini(&r->pending);
    slv_buf_fini(&r->given);
    slv_mem_free(r->path);
    slv_mem_free(r);
}

int slv_records_load(struct slv_records *r, slv_records_fn *fn, void *ctx, bool *ret_damaged,
                     struct slv_err *err) {
    struct slv_err why = {0};
    pthread_mutex_lock(&r->lock);
    int rc = r->broken.code;
    if (rc) why = r->broken;
    else if (r->state != RECORDS_IDLE)
        rc = slv_err_set(&why, SLV_E_BUSY, "%s: a commit is under way", r->path);
    pthread_mutex_unlock(&r->lock);
    if (rc) return slv_err_set(err, rc, "%s", why.msg);
    pthread_mutex_lock(&r->db_lock);
    rc = slv__records_check(r, &why);
    if (rc) {
        pthread_mutex_lock(&r->lock);
        r->broken = why;
        pthread_mutex_unlock(&r->lock);
    }
    if (!rc) rc = slv__records_tell(r, fn, ctx, &why);
    if (!rc) {
        *ret_damaged = r->mark == RECORDS_LOST;
        r->told = true;
    }
    pthread_mutex_unlock(&r->db_lock);
    return rc ? slv_err_set(err, rc, "%s", why.msg) : 0;
}

/* --- the caller's side ------------------------------------------------------------------------ */

static int is_broken(struct slv_records *r, struct slv_err *err) {
    pthread_mutex_lock(&r->lock);
    const int code = r->broken.code;
    if (code) slv_err_set(err, code, "%s", r->broken.msg);
    pthread_mutex_unlock(&r->lock);
    return code;
}

static int add(struct slv_records *r, struct slv_str key, const struct slv_str *value) {
    const uint32_t n[2] = {(uint32_t)key.n, value ? (uint32_t)value->n : DEL};
    struct slv_buf *b = &r->pending;
    if (!key.n || key.n > SLV_RECORDS_KEY_MAX) return SLV_E_USAGE;
    if (value && value->n > SLV_RECORDS_VALUE_MAX) return SLV_E_USAGE;
    int rc = is_broken(r, NULL);
    if (rc) return rc;
    rc = slv_buf_reserve(b, sizeof n + key.n + (value ? value->n : 0));
    b->status = 0; /* the next one may be smaller */
    if (rc) return rc;
    slv_buf_add(b, n, sizeof n);
    slv_buf_add(b, key.p, key.n);
    if (value) slv_buf_add(b, value->p, value->n);
    return 0;
}

int slv_records_put(struct slv_records *r, struct slv_str key, struct slv_str value) {
    return add(r, key, &value);
}

int slv_records_del(struct slv_records *r, struct slv_str key) { return add(r, key, NULL); }

static void empty(struct slv_buf *b) {
    if (b->cap > KEEP) slv_buf_fini(b);
    else slv_buf_clear(b);
}

void slv_records_drop(struct slv_records *r) { empty(&r->pending); }

int slv_records_commit(struct slv_records *r, struct slv_err *err) {
    pthread_mutex_lock(&r->lock);
    int rc = r->broken.code;
    if (rc) slv_err_set(err, rc, "%s", r->broken.msg);
    else if (r->state != RECORDS_IDLE)
        rc = slv_err_set(err, SLV_E_BUSY, "%s: a commit is under way", r->path);
    if (!rc) {
        const struct slv_buf free_one = r->given;
        r->given = r->pending;
        r->pending = free_one;
        r->state = RECORDS_GIVEN;
        pthread_cond_broadcast(&r->change);
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

int slv_records_fd(const struct slv_records *r) { return r->fd; }

int slv_records_done(struct slv_records *r, int *ret_status, struct slv_err *err) {
    uint64_t n;
    pthread_mutex_lock(&r->lock);
    const bool done = r->state == RECORDS_DONE;
    if (done) {
        r->state = RECORDS_IDLE;
        *ret_status = r->status;
        if (r->status) slv_err_set(err, r->status, "%s", r->broken.msg);
        if (read(r->fd, &n, sizeof n) < 0) n = 0; /* (the writer's number: there is one) */
    }
    pthread_mutex_unlock(&r->lock);
    return done;
}

int slv_records_wait(struct slv_records *r, struct slv_err *err) {
    int status = 0;
    pthread_mutex_lock(&r->lock);
    while (r->state == RECORDS_GIVEN)
        pthread_cond_wait(&r->change, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return slv_records_done(r, &status, err) ? status : 0;
}

void slv_records_stats(struct slv_records *r, struct slv_records_stats *ret) {
    pthread_mutex_lock(&r->lock);
    *ret = r->stats;
    pthread_mutex_unlock(&r->lock);
}

/* --- the writer ------------------------------------------------------------------------------- */

struct counted {
    uint64_t puts, dels, ns, bytes;
    int64_t more;
};

static int apply_one(struct slv_records *r, size_t *at, struct counted *c, struct slv_err *err) {
    uint32_t n[2];
    int more = 0;
    memcpy(n, r->given.data + *at, sizeof n);
    const struct slv_str key = {r->given.data + *at + sizeof n, n[0]};
    const struct slv_str value = {key.p + key.n, n[1] == DEL ? 0 : n[1]};
    const int rc = n[1] == DEL ? slv__recdb_del(&r->db, key, &more, err)
                               : slv__recdb_put(&r->db, key, value, &more, err);
    *at += sizeof n + key.n + value.n;
    c->more += more;
    if (n[1] == DEL) c->dels++;
    else c->puts++;
    return rc;
}

/* What fails is taken back when the database is closed; nothing else is done with it until then. */
static int apply(struct slv_records *r, struct counted *c, struct slv_err *err) {
    int rc = 0;
    if (r->given.len) {
        rc = slv__recdb_do(&r->db, RECDB_BEGIN, "writing", err);
        for (size_t at = 0; !rc && at < r->given.len;)
            rc = apply_one(r, &at, c, err);
        const uint64_t from = slv_clock_mono(r->conf.clock);
        if (!rc) rc = slv__recdb_do(&r->db, RECDB_COMMIT, "commit", err);
        c->ns = slv_clock_mono(r->conf.clock) - from;
    }
    if (!rc && r->given.len && r->told && r->mark == RECORDS_LOST)
        rc = slv__records_set_mark(r, RECORDS_SOUND, err);
    if (!rc) rc = slv__recdb_bytes(&r->db, &c->bytes, err);
    return rc > 0 ? SLV_E_IO : rc;
}

static void count(struct slv_records *r, const struct counted *c) {
    struct slv_records_stats *s = &r->stats;
    s->commits++;
    s->records += (uint64_t)c->more;
    s->bytes = c->bytes;
    s->puts += c->puts;
    s->dels += c->dels;
    s->sync_ns = c->ns;
    s->sync_all_ns += c->ns;
    if (s->sync_max_ns < c->ns) s->sync_max_ns = c->ns;
}

/* Called with r->lock, and left with it. */
static void write_one(struct slv_records *r) {
    struct slv_err err = r->broken;
    struct counted c = {0};
    const uint64_t one = 1;
    int rc = r->broken.code;
    pthread_mutex_unlock(&r->lock);
    if (!rc) {
        pthread_mutex_lock(&r->db_lock);
        rc = apply(r, &c, &err);
        pthread_mutex_unlock(&r->db_lock);
    }
    empty(&r->given);
    pthread_mutex_lock(&r->lock);
    if (!rc) count(r, &c);
    r->status = rc;
    if (rc) r->broken = err;
    if (rc) r->broken.code = rc;
    r->state = RECORDS_DONE;
    /* (a number that is 0 takes one more) */
    const ssize_t n = write(r->fd, &one, sizeof one);
    (void)n;
    pthread_cond_broadcast(&r->change);
}

/* The same. Where it fails nothing is lost, but the log would grow without end. */
static void move_log(struct slv_records *r) {
    struct slv_err err = {0};
    pthread_mutex_unlock(&r->lock);
    pthread_mutex_lock(&r->db_lock);
    int rc = 0;
    if (r->db.frames >= LOG_PAGES) rc = slv__recdb_checkpoint(&r->db, false, &err);
    pthread_mutex_unlock(&r->db_lock);
    pthread_mutex_lock(&r->lock);
    if (rc) r->broken = err;
    if (rc) r->broken.code = rc > 0 ? SLV_E_IO : rc;
}

static void *write_all(void *arg) {
    struct slv_records *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->state != RECORDS_GIVEN && !r->closing)
            pthread_cond_wait(&r->change, &r->lock);
        if (r->state != RECORDS_GIVEN) break;
        write_one(r);
        if (!r->broken.code) move_log(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
