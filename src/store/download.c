/* download.c: see download.h.
 *
 *     partial/sha256-<hex>        the bytes so far; the digest is the one they should have
 *     partial/url-<hex>           the same where none is known: the digest of the URL
 *     partial/<either>.meta       {"etag":".."} of the response that the bytes are from
 *
 * What may be trusted: the file's length says how far the download came, nothing more. Its bytes
 * are believed once the whole file's digest is right. If it is wrong and some bytes were there
 * before this run (a power cut can leave a file long and empty), the file is fetched once more from
 * the start before the source is blamed.
 *
 * Order of writes: when a response begins the file anew, the file is emptied before .meta names the
 * new ETag, so that old bytes never stand under a new ETag. */
#include "store/download.h"
#include "base/file.h"
#include "base/json.h"
#include "base/json_parse.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (UINT64_C(1) << 42) /* of a file whose size nobody has promised: 4 TiB */
#define SPARE_BYTES (UINT64_C(16) << 20)   /* left free on the disk */

struct job {
    struct slv_store *st;
    const struct slv_ui *ui;
    const struct slv_download *d;
    char *path, *meta; /* partial/KEY and its .meta */
    int fd;
    uint64_t len;                /* bytes in the file */
    uint64_t size;               /* expected; SLV_STORE_SIZE_UNKNOWN */
    char sha256[SLV_SHA256_HEX]; /* expected; "" */
    char etag[256];              /* strong, of the bytes in the file; "" */
    bool inherited;              /* some bytes are an earlier run's */
    uint64_t fetched;
};

static int io_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
}

/* --- the partial file ------------------------------------------------------------------------- */

static void read_meta(struct job *j) {
    struct slv_buf text;
    slv_buf_init(&text, 4096);
    j->etag[0] = '\0';
    json_t *doc = NULL;
    int rc = slv_file_read(j->meta, &text, NULL);
    if (!rc) rc = slv_json_parse(text.data, text.len, j->meta, &doc, NULL);
    if (rc) doc = NULL; /* without an ETag: the digest decides alone */
    const char *etag = json_string_value(json_object_get(doc, "etag"));
    if (etag && etag[0] == '"' && strlen(etag) < sizeof j->etag)
        memcpy(j->etag, etag, strlen(etag) + 1);
    json_decref(doc);
    slv_buf_fini(&text);
}

/* Not replaced atomically: a torn file is no JSON, and then there is no ETag, which is safe. */
static int write_meta(struct job *j, struct slv_err *err) {
    struct slv_buf text;
    struct slv_json out;
    slv_buf_init(&text, 8192);
    slv_json_init(&out, &text);
    slv_json_object(&out, NULL);
    slv_json_str(&out, "url", j->d->url);
    slv_json_str(&out, "etag", j->etag);
    slv_json_object_end(&out);
    int rc = text.status ? slv_err_set(err, text.status, "%s: too long", j->meta) : 0;
    int fd = open(j->meta, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (!rc && (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len))
        rc = io_error(j->meta, err);
    if (fd >= 0) close(fd);
    slv_buf_fini(&text);
    return rc;
}

static int empty_file(struct job *j, struct slv_err *err) {
    if (ftruncate(j->fd, 0)) return io_error(j->path, err);
    j->len = 0;
    j->inherited = false;
    return 0;
}

static int wait_a_little(struct job *j, struct slv_err *err) {
    struct timespec t = {.tv_nsec = 50000000};
    if (slv_ui_cancelled(j->ui))
        return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", j->d->file);
    nanosleep(&t, NULL);
    return 0;
}

/* Opens and locks the partial. Another process that works on it is waited for; when it is done its
 * file has become a blob, so what was opened may be a file without a name: then once more. */
static int open_locked(struct job *j, struct slv_err *err) {
    bool told = false;
    for (;;) {
        struct stat mine, there;
        j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (j->fd < 0) return io_error(j->path, err);
        while (flock(j->fd, LOCK_EX | LOCK_NB)) {
            if (errno != EWOULDBLOCK && errno != EINTR) return io_error(j->path, err);
            if (!told) slv_ui_note(j->ui, "another process downloads this file: waiting");
            told = true;
            int rc = wait_a_little(j, err);
            if (rc) return rc;
        }
        if (fstat(j->fd, &mine)) return io_error(j->path, err);
        if (!stat(j->path, &there) && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev) {
            j->len = (uint64_t)mine.st_size;
            return 0;
        }
        close(j->fd);
        j->fd = -1;
    }
}

static int name_partial(struct job *j, struct slv_err *err) {
    char hex[SLV_SHA256_HEX], key[SLV_SHA256_HEX + 16];
    const char *kind = j->sha256[0] ? "sha256" : "url";
    int rc = 0;
    if (j->sha256[0]) memcpy(hex, j->sha256, sizeof hex);
    else rc = slv_sha256_bytes(j->d->url, strlen(j->d->url), hex);
    if (!rc) {
        snprintf(key, sizeof key, "%s-%s", kind, hex);
        j->path = slv__store_file(j->st, "partial", key);
        snprintf(key, sizeof key, "%s-%s.meta", kind, hex);
        j->meta = slv__store_file(j->st, "partial", key);
    }
    return rc || !j->path || !j->meta
               ? slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", j->d->file)
               : 0;
}

static int check_space(struct job *j, struct slv_err *err) {
    struct statvfs v;
    if (j->size == SLV_STORE_SIZE_UNKNOWN || j->size <= j->len || fstatvfs(j->fd, &v)) return 0;
    uint64_t need = j->size - j->len, have = (uint64_t)v.f_bavail * v.f_frsize;
    if (have >= SPARE_BYTES && have - SPARE_BYTES >= need) return 0;
    return slv_err_set(err, SLV_E_FIT,
                       "%s: %" PRIu64 " MiB more are needed, the disk of %s has %" PRIu64
                       " MiB free",
                       j->d->file, (need + SPARE_BYTES) >> 20, slv_store_home(j->st), have >> 20);
}

/* --- the sink of the HTTP client -------------------------------------------------------------- */

static int sink_prepare(void *ctx, uint64_t *ret_from, const char **ret_if_range,
                        struct slv_err *err) {
    struct job *j = ctx;
    if (j->size != SLV_STORE_SIZE_UNKNOWN && j->len > j->size) {
        int rc = empty_file(j, err);
        if (rc) return rc;
    }
    /* nothing ties these bytes to what would follow them */
    if (j->len && !j->etag[0] && !j->sha256[0]) {
        int rc = empty_file(j, err);
        if (rc) return rc;
    }
    *ret_from = j->len;
    *ret_if_range = j->etag[0] ? j->etag : NULL;
    return 0;
}

/* What the endpoint says about the file must be what was promised. */
static int check_linked(struct job *j, const struct slv_http_head *head, struct slv_err *err) {
    if (slv_sha256_valid(head->linked_etag)) {
        if (j->sha256[0] && strcmp(j->sha256, head->linked_etag))
            return slv_err_set(err, SLV_E_TRUST,
                               "the server has another file: its SHA-256 is %s, expected is %s",
                               head->linked_etag, j->sha256);
        memcpy(j->sha256, head->linked_etag, sizeof j->sha256);
    }
    if (head->has_linked_size) {
        if (j->size != SLV_STORE_SIZE_UNKNOWN && j->size != head->linked_size)
            return slv_err_set(err, SLV_E_TRUST,
                               "the server has another file: of %" PRIu64
                               " bytes, expected are %" PRIu64,
                               head->linked_size, j->size);
        j->size = head->linked_size;
    }
    return 0;
}

static int check_total(struct job *j, const struct slv_http_head *head, struct slv_err *err) {
    if (head->has_total && j->size != SLV_STORE_SIZE_UNKNOWN && head->total != j->size)
        return slv_err_set(err, SLV_E_TRUST,
                           "the server sends a file of %" PRIu64 " bytes, expected are %" PRIu64,
                           head->total, j->size);
    if (head->has_total) j->size = head->total;
    if (j->size == SLV_STORE_SIZE_UNKNOWN && !j->sha256[0])
        return slv_err_set(err, SLV_E_IO,
                           "the server says neither size nor digest: nothing to check the file by");
    if (j->size != SLV_STORE_SIZE_UNKNOWN && j->size > SIZE_MAX_BYTES)
        return slv_err_set(err, SLV_E_LIMIT, "a file of %" PRIu64 " bytes", j->size);
    return 0;
}

static int sink_start(void *ctx, const struct slv_http_head *head, struct slv_err *err) {
    struct job *j = ctx;
    if (head->status == 416) return empty_file(j, err);
    int rc = check_linked(j, head, err);
    if (!rc) rc = check_total(j, head, err);
    if (rc) return rc;
    if (head->status == 206 && head->from == j->len) return check_space(j, err);
    if (head->status == 206) {
        rc = empty_file(j, err);
        return rc ? rc : slv_err_set(err, SLV_E_NET, "the server sent another range than asked");
    }
    rc = empty_file(j, err);
    if (rc) return rc;
    if (head->etag[0] == '"') memcpy(j->etag, head->etag, sizeof j->etag);
    else j->etag[0] = '\0';
    rc = write_meta(j, err);
    return rc ? rc : check_space(j, err);
}

static int sink_data(void *ctx, const void *p, size_t n, struct slv_err *err) {
    struct job *j = ctx;
    uint64_t max = j->size == SLV_STORE_SIZE_UNKNOWN ? SIZE_MAX_BYTES : j->size;
    const unsigned char *at = p;
    if (n > max - j->len)
        return slv_err_set(err, SLV_E_TRUST, "the server sends more than the %" PRIu64 " bytes",
                           max);
    while (n) {
        ssize_t w = pwrite(j->fd, at, n, (off_t)j->len);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return io_error(j->path, err);
        at += w;
        n -= (size_t)w;
        j->len += (uint64_t)w;
        j->fetched += (uint64_t)w;
    }
    slv_ui_progress(j->ui, j->d->file, j->len, j->size == SLV_STORE_SIZE_UNKNOWN ? 0 : j->size);
    return 0;
}

static int sink_end(void *ctx, struct slv_err *err) {
    struct job *j = ctx;
    if (j->size == SLV_STORE_SIZE_UNKNOWN || j->len == j->size) return 0;
    return slv_err_set(err, SLV_E_NET, "ended after %" PRIu64 " of %" PRIu64 " bytes", j->len,
                       j->size);
}

/* --- the job ---------------------------------------------------------------------------------- */

static int fetch(struct job *j, struct slv_http *http, struct slv_err *err) {
    struct slv_http_sink sink = {sink_prepare, sink_start, sink_data, sink_end, j};
    if (j->size != SLV_STORE_SIZE_UNKNOWN && j->len == j->size && j->sha256[0]) return 0;
    int rc = check_space(j, err);
    if (!rc) rc = slv_http_get(http, j->d->url, &sink, err);
    if (!rc && fsync(j->fd)) rc = io_error(j->path, err);
    return rc;
}

/* SLV_E_TRUST if the digest is not the expected one. */
static int check_digest(struct job *j, struct slv_store_staged *ret, struct slv_err *err) {
    int rc = slv_sha256_fd(j->fd, "verifying", j->ui, ret->f.sha256, &ret->f.size, err);
    if (rc) return rc;
    if (j->sha256[0] && strcmp(ret->f.sha256, j->sha256))
        return slv_err_set(err, SLV_E_TRUST, "%s: its SHA-256 is %s, expected is %s: not kept",
                           j->d->file, ret->f.sha256, j->sha256);
    return slv__check_magic(j->fd, j->d->file, err);
}

static int fetch_and_check(struct job *j, struct slv_http *http, struct slv_store_staged *ret,
                           struct slv_err *err) {
    for (;;) {
        int rc = fetch(j, http, err);
        if (!rc) rc = check_digest(j, ret, err);
        if (rc == SLV_E_TRUST && j->inherited && ret->f.sha256[0]) {
            slv_ui_note(j->ui, "what an earlier run left is damaged: from the start");
            ret->f.sha256[0] = '\0';
            rc = empty_file(j, err);
            if (!rc) continue;
        }
        return rc;
    }
}

/* With the partial open and locked. */
static int work(struct job *j, struct slv_http *http, struct slv_store_staged *ret,
                struct slv_err *err) {
    if (j->sha256[0] && slv__store_has(j->st, j->sha256, j->size)) {
        unlink(j->path); /* made by open_locked, or another process has just finished */
        unlink(j->meta);
        memcpy(ret->f.sha256, j->sha256, sizeof ret->f.sha256);
        ret->f.size = j->size;
        return 0;
    }
    read_meta(j);
    int rc = j->sha256[0] ? 0 : empty_file(j, err);
    j->inherited = j->len > 0;
    if (!rc) rc = fetch_and_check(j, http, ret, err);
    if (rc == SLV_E_TRUST || rc == SLV_E_FORMAT || (rc && !j->len)) {
        unlink(j->path);
        unlink(j->meta);
    }
    if (rc) return rc;
    ret->path = j->path;
    ret->fd = j->fd;
    ret->seal = true;
    j->path = NULL;
    j->fd = -1;
    return 0;
}

int slv_download(struct slv_store *st, struct slv_http *http, const struct slv_download *d,
                 struct slv_store_staged *ret, uint64_t *ret_bytes, struct slv_err *err) {
    struct job j = {.st = st, .ui = slv_http_ui(http), .d = d, .fd = -1, .size = d->size};
    struct slv_store_staged s = {.fd = -1};
    s.f.file = d->file;
    if (d->sha256) snprintf(j.sha256, sizeof j.sha256, "%s", d->sha256);
    int rc = slv__store_make(st, err);
    if (!rc && j.sha256[0] && slv__store_has(st, j.sha256, j.size)) {
        memcpy(s.f.sha256, j.sha256, sizeof s.f.sha256);
        s.f.size = j.size;
    } else {
        if (!rc) rc = name_partial(&j, err);
        if (!rc) rc = open_locked(&j, err);
        if (!rc) rc = work(&j, http, &s, err);
    }
    if (j.fd >= 0) close(j.fd);
    slv_mem_free(j.path);
    slv_mem_free(j.meta);
    if (rc) return rc;
    *ret = s;
    *ret_bytes = j.fetched;
    return 0;
}
