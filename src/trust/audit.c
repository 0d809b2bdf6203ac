/* audit.c: appending to an audit log (audit.h). Numbers, hashes and writes are made under one lock;
 * syncs without it, so that those who wait share one. */
#include "trust/audit_int.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (8 * SLV_AUDIT_LINE_MAX)

static int broken(struct slv_audit *a, struct slv_err *err) {
    return slv_err_set(err, a->broken.code, "%s", a->broken.msg);
}

/* From here on no record is taken: what is on the disk is not known any more. */
static int breaks(struct slv_audit *a, const char *what, struct slv_err *err) {
    slv_err_set(&a->broken, SLV_E_IO, "%s: %s: %s: no more records are taken", a->log, what,
                strerror(errno));
    return broken(a, err);
}

/* --- lines ------------------------------------------------------------------------------------ */

static int sign_line(struct slv_audit *a, struct slv_audit_line *l, struct slv_err *err) {
    struct slv_buf text;
    uint8_t sig[SLV_SIG_BYTES];
    slv_buf_init(&text, TEXT_MAX);
    int rc = slv_audit_line_signed(l, &text);
    if (rc) slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc));
    else rc = slv_key_sign(a->key, text.data, text.len, sig, err);
    if (!rc) slv_hex_write(sig, sizeof sig, l->sig);
    slv_buf_fini(&text);
    return rc;
}

int slv__audit_add(struct slv_audit *a, struct slv_audit_line *l, struct slv_err *err) {
    size_t at = a->text.len;
    l->seq = a->next;
    slv_audit_line_time(l->time, slv_clock_wall(a->o.clock));
    memcpy(l->prev, a->prev, sizeof l->prev);
    int rc = l->type == SLV_AUDIT_SIGN ? sign_line(a, l, err) : 0;
    if (!rc && (rc = slv_audit_line_write(l, &a->text)))
        slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc));
    if (!rc) slv_audit_line_hash(a->text.data + at, a->text.len - at, a->prev);
    if (!rc && (rc = slv_buf_addc(&a->text, '\n')))
        slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc));
    if (!rc) a->next++;
    return rc;
}

int slv__audit_add_sign(struct slv_audit *a, const char *why, struct slv_err *err) {
    struct slv_audit_line l = {.type = SLV_AUDIT_SIGN};
    slv_audit_line_text(l.why, why);
    memcpy(l.key, slv_key_pub(a->key)->id, sizeof l.key);
    return slv__audit_add(a, &l, err);
}

int slv__audit_add_open(struct slv_audit *a, const char *key, struct slv_err *err) {
    struct slv_audit_line l = {
        .type = SLV_AUDIT_OPEN, .version = SLV_AUDIT_VERSION, .segment = a->segment};
    memcpy(l.log, a->log_id, sizeof l.log);
    memcpy(l.key, key, sizeof l.key);
    memcpy(l.hash_key, a->hash_key_id, sizeof l.hash_key);
    return slv__audit_add(a, &l, err);
}

/* What to return to when lines that were added are not written. */
struct mark {
    uint64_t next, not_signed;
    char prev[SLV_HEX(SLV_AUDIT_HASH)];
};

static struct mark mark(struct slv_audit *a) {
    struct mark m = {a->next, a->not_signed, ""};
    memcpy(m.prev, a->prev, sizeof m.prev);
    slv_buf_clear(&a->text);
    return m;
}

static void back_to(struct slv_audit *a, const struct mark *m) {
    a->next = m->next;
    a->not_signed = m->not_signed;
    memcpy(a->prev, m->prev, sizeof a->prev);
}

/* One write. A piece of it that was taken is taken back: the next record must not follow it. */
int slv__audit_put(struct slv_audit *a, struct slv_err *err) {
    if (!slv_fd_write(a->fd, a->text.data, a->text.len)) {
        int why = errno;
        bool whole = !ftruncate(a->fd, (off_t)a->bytes);
        errno = why;
        if (!whole) return breaks(a, "write", err);
        return slv_err_set(err, SLV_E_IO, "%s: %s", a->log, strerror(why));
    }
    a->bytes += a->text.len;
    return 0;
}

/* --- syncing ---------------------------------------------------------------------------------- */

/* Until all records before `want` are on the disk. The lock is held, but not while it waits. */
static int sync_to(struct slv_audit *a, uint64_t want, struct slv_err *err) {
    while (!a->broken.code && a->synced < want) {
        if (a->syncing) {
            pthread_cond_wait(&a->synced_more, &a->lock);
            continue;
        }
        uint64_t all = a->next;
        a->syncing = true;
        pthread_mutex_unlock(&a->lock);
        int bad = fdatasync(a->fd) ? errno : 0; /* nobody changes fd while syncing */
        pthread_mutex_lock(&a->lock);
        a->syncing = false;
        errno = bad;
        if (bad) (void)breaks(a, "sync", NULL);
        else a->synced = all;
        pthread_cond_broadcast(&a->synced_more);
    }
    return a->broken.code ? broken(a, err) : 0;
}

/* --- segments --------------------------------------------------------------------------------- */

int slv__audit_make_segment(struct slv_audit *a, struct slv_err *err) {
    struct slv_newfile f = {.fd = -1};
    int rc = slv_newfile_open(a->log, &f, err);
    if (!rc) rc = slv_newfile_write(&f, a->text.data, a->text.len, 0, err);
    if (!rc) rc = slv_newfile_commit_new(&f, err);
    if (!rc && fcntl(f.fd, F_SETFL, O_APPEND))
        rc = slv_err_set(err, SLV_E_IO, "%s: %s", a->log, strerror(errno));
    if (!rc) {
        a->fd = f.fd;
        f.fd = -1;
        a->bytes = a->text.len;
        a->synced = a->next;
        a->not_signed = 0;
        a->signed_ns = slv_clock_mono(a->o.clock);
    }
    slv_newfile_close(&f);
    return rc;
}

static int rename_finished(struct slv_audit *a, struct slv_err *err) {
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_audit_segment_path(a->log, a->segment, &path);
    if (rc) slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc));
    else if (!access(path.data, F_OK))
        rc = slv_err_set(err, SLV_E_IO, "%s: is there already", path.data);
    else if (rename(a->log, path.data))
        rc = slv_err_set(err, SLV_E_IO, "%s: %s", path.data, strerror(errno));
    slv_buf_fini(&path);
    return rc;
}

/* The last signature of the newest segment, on the disk. */
static int finish_segment(struct slv_audit *a, struct slv_err *err) {
    struct mark m = mark(a);
    int rc = slv__audit_add_sign(a, "segment", err);
    if (!rc) rc = slv__audit_put(a, err);
    if (rc) back_to(a, &m);
    else if (fdatasync(a->fd)) rc = breaks(a, "sync", err);
    else a->synced = a->next;
    return rc;
}

static int begin_segment(struct slv_audit *a, struct slv_err *err) {
    int rc = rename_finished(a, err);
    if (rc) return rc;
    close(a->fd);
    a->fd = -1;
    a->segment++;
    (void)mark(a);
    rc = slv__audit_add_open(a, slv_key_pub(a->key)->id, err);
    if (!rc) rc = slv__audit_add_sign(a, "open", err);
    return rc ? rc : slv__audit_make_segment(a, err);
}

/* Finishes the newest segment and begins the next, with the lock held from its last signature on,
 * so that nothing follows that. Once it is there, what fails ends the log. */
static void next_segment(struct slv_audit *a) {
    struct slv_err why = {0};
    while (a->syncing)
        pthread_cond_wait(&a->synced_more, &a->lock);
    if (a->broken.code || a->bytes < a->o.segment_bytes) return; /* another thread was here */
    if (finish_segment(a, &why)) return; /* tried again at the next record */
    if (begin_segment(a, &why)) a->broken = why;
    pthread_cond_broadcast(&a->synced_more);
}

/* --- appending -------------------------------------------------------------------------------- */

void slv__audit_hash_text(const uint8_t key[32], bool answer, const void *p, size_t n,
                          char ret[SLV_HEX(SLV_AUDIT_HASH)]) {
    crypto_generichash_state h;
    uint8_t out[SLV_AUDIT_HASH];
    crypto_generichash_init(&h, key, 32, sizeof out);
    crypto_generichash_update(&h, (const unsigned char *)(answer ? "answer:" : "prompt:"), 7);
    if (n) crypto_generichash_update(&h, p, n);
    crypto_generichash_final(&h, out, sizeof out);
    slv_hex_write(out, sizeof out, ret);
}

static void fill_line(const struct slv_audit *a, const struct slv_audit_record *r,
                      struct slv_audit_line *l) {
    *l = (struct slv_audit_line){
        .type = SLV_AUDIT_REQUEST,
        .prompt_tokens = r->prompt_tokens,
        .output_tokens = r->output_tokens,
        .ms = r->ms,
        .status = r->status,
    };
    slv_audit_line_text(l->id, r->id);
    slv_audit_line_text(l->who, r->who);
    slv_audit_line_text(l->model, r->model);
    slv_audit_line_text(l->finish, r->finish);
    slv__audit_hash_text(a->hash_key, false, r->prompt, r->prompt_n, l->prompt_hash);
    slv__audit_hash_text(a->hash_key, true, r->answer, r->answer_n, l->answer_hash);
}

/* Adds lines and writes them: all or none. */
static int put_line(struct slv_audit *a, struct slv_audit_line *l, const char *sign,
                    struct slv_err *err) {
    struct mark m = mark(a);
    int rc = a->broken.code ? broken(a, err) : 0;
    if (!rc && l) rc = slv__audit_add(a, l, err);
    a->not_signed++;
    if (!rc && sign) rc = slv__audit_add_sign(a, sign, err);
    if (!rc) rc = slv__audit_put(a, err);
    if (rc) back_to(a, &m);
    if (rc || !sign) return rc;
    a->not_signed = 0;
    a->signed_ns = slv_clock_mono(a->o.clock);
    return 0;
}

static bool is_due(const struct slv_audit *a) {
    return a->not_signed &&
           slv_clock_mono(a->o.clock) - a->signed_ns >= a->o.sign_s * UINT64_C(1000000000);
}

int slv_audit_append(struct slv_audit *a, const struct slv_audit_record *r, uint64_t *ret_seq,
                     struct slv_err *err) {
    struct slv_audit_line l;
    fill_line(a, r, &l);
    pthread_mutex_lock(&a->lock);
    const char *sign = a->not_signed + 1 >= a->o.sign_every ? "count" : is_due(a) ? "time" : NULL;
    int rc = put_line(a, &l, sign, err);
    uint64_t seq = l.seq;
    if (!rc && a->o.sync == SLV_AUDIT_SYNC_RECORD) rc = sync_to(a, seq + 1, err);
    /* The record is in the log; if there can be no next segment, the next one will hear of it. */
    if (!rc && a->bytes >= a->o.segment_bytes) next_segment(a);
    pthread_mutex_unlock(&a->lock);
    if (!rc && ret_seq) *ret_seq = seq;
    return rc;
}

const char *slv_audit_path(const struct slv_audit *a) { return a->log; }

int slv_audit_sign(struct slv_audit *a, struct slv_err *err) {
    pthread_mutex_lock(&a->lock);
    int rc = put_line(a, NULL, "asked", err);
    if (!rc) rc = sync_to(a, a->next, err);
    pthread_mutex_unlock(&a->lock);
    return rc;
}

/* --- what has to happen in time --------------------------------------------------------------- */

static uint64_t pause_ms(const struct slv_audit *a) {
    uint64_t ms = a->o.sign_s * UINT64_C(1000) / 4;
    if (ms < 20) ms = 20;
    return a->o.sync == SLV_AUDIT_SYNC_INTERVAL && a->o.sync_ms < ms ? a->o.sync_ms : ms;
}

static void wait_ms(struct slv_audit *a, uint64_t ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t ns = (uint64_t)t.tv_nsec + ms % 1000 * 1000000;
    t.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&a->wake, &a->lock, &t);
}

static void *keep_time(void *arg) {
    struct slv_audit *a = arg;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        wait_ms(a, pause_ms(a));
        if (a->stop || a->broken.code) continue;
        bool due = is_due(a);
        if (due && put_line(a, NULL, "time", NULL)) continue; /* tried again; appending says why */
        if (a->o.sync == SLV_AUDIT_SYNC_INTERVAL || (due && a->o.sync == SLV_AUDIT_SYNC_RECORD))
            (void)sync_to(a, a->next, NULL);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static void set_defaults(struct slv_audit_opts *o) {
    if (!o->sync_ms) o->sync_ms = 1000;
    if (!o->sign_every) o->sign_every = 64;
    if (!o->sign_s) o->sign_s = 10;
    if (!o->segment_bytes) o->segment_bytes = (uint64_t)64 << 20;
    if (!o->clock) o->clock = &slv_clock_system;
}

static void drop(struct slv_audit *a) {
    if (a->fd >= 0) close(a->fd);
    if (a->lock_fd >= 0) close(a->lock_fd);
    slv_secret_free(a->hash_key, 32);
    slv_buf_fini(&a->text);
    pthread_cond_destroy(&a->wake);
    pthread_cond_destroy(&a->synced_more);
    pthread_mutex_destroy(&a->lock);
    slv_mem_free(a->log);
    slv_mem_free(a);
}

static int alloc(const char *log, struct slv_audit **ret, struct slv_err *err) {
    struct slv_audit *a = slv_mem_calloc(1, sizeof *a);
    if (!a) return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", log);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&a->synced_more, NULL);
    pthread_mutex_init(&a->lock, NULL);
    a->fd = a->lock_fd = -1;
    slv_buf_init(&a->text, TEXT_MAX);
    a->log = slv_mem_strndup(log, strlen(log));
    a->hash_key = slv_secret_alloc(32);
    if (a->log && a->hash_key) {
        *ret = a;
        return 0;
    }
    drop(a);
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", log);
}

int slv_audit_open(const char *log, const struct slv_key *key, const struct slv_audit_opts *opts,
                   struct slv_audit **ret, struct slv_err *err) {
    struct slv_audit *a = NULL;
    int rc = slv_trust_init(err);
    if (!rc) rc = alloc(log, &a, err);
    if (rc) return rc;
    if (opts) a->o = *opts;
    a->key = key;
    set_defaults(&a->o);
    rc = slv__audit_hash_key(a, err);
    if (!rc) rc = slv__audit_resume(a, err);
    if (!rc && slv_thread_start(&a->thread, keep_time, a))
        rc = slv_err_set(err, SLV_E_NOMEM, "%s: no thread can be started", log);
    if (rc) {
        drop(a);
        return rc;
    }
    *ret = a;
    return 0;
}

int slv_audit_close(struct slv_audit *a, struct slv_err *err) {
    if (!a) return 0;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_mutex_lock(&a->lock);
    int rc = put_line(a, NULL, "close", err);
    if (!rc) rc = sync_to(a, a->next, err);
    pthread_mutex_unlock(&a->lock);
    drop(a);
    return rc;
}
