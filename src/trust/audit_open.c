/* audit_open.c: opening an audit log: where it stands, and what a killed process left of it.
 *
 *     nothing there                    a new log: segment 0
 *     segments, no newest              killed between two: the next one is begun
 *     the newest ends in a piece       killed while it wrote, or the power went: to LOG.torn-SEQ
 *     LOG.torn-SEQ, no record SEQ      killed before that was recorded: recorded now
 *
 * Moving aside: LOG.torn-SEQ appears whole, then the log is cut, then the record is written. SEQ is
 * the number that record will have, so that at any moment one can tell what is left to do. */
#include "base/file.h"
#include "base/mem.h"
#include "trust/audit_int.h"
#include "trust/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASHKEY_TITLE "selvage audit hash key 1"
#define HASHKEY_MAX 256

static int no_memory(const struct slv_audit *a, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", a->log);
}

static int os_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
}

/* --- the hash key ----------------------------------------------------------------------------- */

static int parse_hash_key(const struct slv_secret *s, const char *path, uint8_t ret[32],
                          struct slv_err *err) {
    struct slv_fields f;
    slv_fields_init(&f, s->data, s->n, HASHKEY_TITLE);
    slv_fields_bytes(&f, "secret", ret, 32);
    return slv_fields_check(&f, path, err);
}

static int read_hash_key(const char *path, uint8_t ret[32], struct slv_err *err) {
    struct slv_secret s = {0};
    int rc = slv_secret_read(path, HASHKEY_MAX, &s, err);
    if (!rc) rc = parse_hash_key(&s, path, ret, err);
    slv_secret_fini(&s);
    return rc;
}

static int make_hash_key(const char *path, uint8_t key[32], struct slv_err *err) {
    struct slv_newfile f = {.fd = -1};
    struct slv_secret s = {.room = HASHKEY_MAX};
    randombytes_buf(key, 32);
    s.data = slv_secret_alloc(s.room);
    if (!s.data) return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
    struct slv_buf text = {.data = s.data, .cap = s.room, .max = s.room - 1};
    slv_buf_adds(&text, HASHKEY_TITLE "\n");
    slv_fields_put_bytes(&text, "secret", key, 32);
    int rc = slv_newfile_open(path, &f, err);
    if (!rc) rc = slv_newfile_write(&f, text.data, text.len, 0, err);
    if (!rc) rc = slv_newfile_commit_new(&f, err);
    slv_newfile_close(&f);
    slv_secret_fini(&s);
    return rc;
}

static int lock_file(struct slv_audit *a, const char *path, struct slv_err *err) {
    a->lock_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (a->lock_fd < 0) return os_error(path, err);
    if (!flock(a->lock_fd, LOCK_EX | LOCK_NB)) return 0;
    if (errno != EWOULDBLOCK) return os_error(path, err);
    return slv_err_set(err, SLV_E_BUSY, "%s: another process has this log open", a->log);
}

static int hash_key_path(const char *log, struct slv_buf *ret, struct slv_err *err) {
    slv_buf_init(ret, 8192);
    int rc = slv_buf_addf(ret, "%s" SLV_AUDIT_HASHKEY_SUFFIX, log);
    return rc ? slv_err_set(err, rc, "%s: %s", log, slv_strerror(rc)) : 0;
}

/* What cannot be made for want of a folder is said of the log, not of a file beside it. */
static int check_folder(const char *log, struct slv_err *err) {
    const char *slash = strrchr(log, '/');
    struct stat st;
    struct slv_buf path;
    if (!slash) return 0;
    slv_buf_init(&path, 65536);
    slv_buf_add(&path, log, (size_t)(slash - log) + 1);
    int rc = path.status ? slv_err_set(err, path.status, "%.200s: out of memory", log) : 0;
    if (!rc && stat(path.data, &st))
        rc = slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: its folder: %s", log,
                         strerror(errno));
    slv_buf_fini(&path);
    return rc;
}

int slv__audit_hash_key(struct slv_audit *a, struct slv_err *err) {
    struct slv_buf path;
    int rc = hash_key_path(a->log, &path, err);
    if (!rc) rc = check_folder(a->log, err);
    if (!rc) {
        rc = read_hash_key(path.data, a->hash_key, err);
        if (rc == SLV_E_NOENT) rc = make_hash_key(path.data, a->hash_key, err);
    }
    if (!rc) rc = lock_file(a, path.data, err);
    if (!rc) {
        uint8_t id[32];
        crypto_generichash(id, sizeof id, (const unsigned char *)"id", 2, a->hash_key, 32);
        slv_hex_write(id, SLV_KEYID_BYTES, a->hash_key_id);
    }
    slv_buf_fini(&path);
    return rc;
}

int slv_audit_hash(const char *log, bool answer, const void *p, size_t n, char ret[65],
                   struct slv_err *err) {
    struct slv_buf path;
    uint8_t *key = slv_secret_alloc(32);
    int rc = hash_key_path(log, &path, err);
    if (!rc && !key) rc = slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", log);
    if (!rc) rc = read_hash_key(path.data, key, err);
    if (!rc) slv__audit_hash_text(key, answer, p, n, ret);
    slv_secret_free(key, 32);
    slv_buf_fini(&path);
    return rc;
}

/* --- what is there ---------------------------------------------------------------------------- */

/* The number in a name such as "audit.000017"; false: another name. */
static bool is_segment(const char *name, const char *log, uint64_t *ret) {
    size_t n = strlen(log);
    if (strncmp(name, log, n) != 0 || name[n] != '.' || strspn(name + n + 1, "0123456789") != 6 ||
        name[n + 7])
        return false;
    *ret = strtoull(name + n + 1, NULL, 10);
    return true;
}

/* One more than the highest number of a finished segment; 0: there is none. */
static int count_segments(const struct slv_audit *a, uint64_t *ret, struct slv_err *err) {
    const char *slash = strrchr(a->log, '/'), *name = slash ? slash + 1 : a->log;
    char *folder =
        slash ? slv_mem_strndup(a->log, (size_t)(slash - a->log) + 1) : slv_mem_strndup(".", 1);
    uint64_t n = 0, i = 0;
    struct dirent *e;
    if (!folder) return no_memory(a, err);
    DIR *d = opendir(folder);
    int rc = d ? 0 : os_error(folder, err);
    while (d && (e = readdir(d)))
        if (is_segment(e->d_name, name, &i) && i >= n) n = i + 1;
    if (d) closedir(d);
    slv_mem_free(folder);
    if (!rc) *ret = n;
    return rc;
}

/* Takes over where a checked segment ends. */
static int take_over(struct slv_audit *a, const struct slv_audit_check *c, struct slv_err *err) {
    const struct slv_pubs *own = slv_key_pubs(a->key);
    if (!slv_pubs_find(own, c->key))
        return slv_err_set(err, SLV_E_TRUST,
                           "%s: key %s signs this log, which is not this device's", a->log, c->key);
    a->next = c->next;
    a->segment = c->segment;
    a->not_signed = c->not_signed;
    memcpy(a->prev, c->hash, sizeof a->prev);
    memcpy(a->log_id, c->log, sizeof a->log_id);
    return 0;
}

/* Checks a segment. *ret_tail: a copy of what follows its whole records, heap. */
static int check_segment(struct slv_audit *a, const char *path, bool newest,
                         struct slv_audit_check *c, struct slv_err *err) {
    struct slv_map map = {0};
    int rc = slv_map_open(path, &map, err);
    if (rc) return rc;
    slv_audit_check_init(c, slv_key_pubs(a->key));
    c->from_any = true;
    rc = slv_audit_check_segment(c, (const char *)map.data, map.size, newest, err);
    if (rc) slv_err_prefix(err, rc, "%s", path);
    a->bytes = map.size - c->tail;
    slv_map_close(&map);
    return rc ? rc : take_over(a, c, err);
}

/* --- torn records ----------------------------------------------------------------------------- */

#define TORN_MAX ((size_t)1 << 30)

static int torn_path(const struct slv_audit *a, struct slv_buf *ret, struct slv_err *err) {
    slv_buf_init(ret, 8192);
    int rc = slv_buf_addf(ret, "%s.torn-%" PRIu64, a->log, a->next);
    return rc ? slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc)) : 0;
}

/* Moves the `tail` bytes at the end of the newest segment aside. */
static int move_tail(struct slv_audit *a, uint64_t tail, struct slv_err *err) {
    struct slv_buf path;
    struct slv_map map = {0};
    int rc = torn_path(a, &path, err);
    if (!rc) rc = slv_map_open(a->log, &map, err);
    if (!rc && map.size < a->bytes + tail)
        rc = slv_err_set(err, SLV_E_IO, "%s: has changed", a->log);
    if (!rc) rc = slv_file_write(path.data, map.data + a->bytes, tail, 0600, err);
    if (!rc && (ftruncate(a->fd, (off_t)a->bytes) || fsync(a->fd))) rc = os_error(a->log, err);
    slv_map_close(&map);
    slv_buf_fini(&path);
    return rc;
}

/* Adds a "torn" record for the file that was moved aside under the next number, if there is one. */
static int add_torn(struct slv_audit *a, struct slv_err *err) {
    struct slv_audit_line l = {.type = SLV_AUDIT_TORN};
    struct slv_buf path, torn;
    slv_buf_init(&torn, TORN_MAX);
    int rc = torn_path(a, &path, err);
    if (!rc && access(path.data, F_OK)) {
        slv_buf_fini(&path);
        return 0;
    }
    if (!rc) rc = slv_file_read(path.data, &torn, err);
    if (!rc) {
        l.bytes = torn.len;
        slv_audit_line_hash(torn.data, torn.len, l.hash);
        rc = slv__audit_add(a, &l, err);
    }
    slv_buf_fini(&torn);
    slv_buf_fini(&path);
    return rc;
}

/* --- going on --------------------------------------------------------------------------------- */

/* A record for each key that came after the one the log was signed by last. */
static int add_keys(struct slv_audit *a, const char *last, struct slv_err *err) {
    const struct slv_pubs *own = slv_key_pubs(a->key);
    const struct slv_pub *p = slv_pubs_find(own, last);
    for (size_t i = (size_t)(p - own->v) + 1; i < own->n; i++) {
        struct slv_audit_line l = {.type = SLV_AUDIT_KEY, .created = own->v[i].created};
        memcpy(l.key, own->v[i].id, sizeof l.key);
        slv_hex_write(own->v[i].key, SLV_PUB_BYTES, l.public);
        slv_hex_write(own->v[i].signed_by, SLV_SIG_BYTES, l.signed_by);
        int rc = slv__audit_add(a, &l, err);
        if (rc) return rc;
    }
    return 0;
}

static int add_start(struct slv_audit *a, struct slv_err *err) {
    struct slv_audit_line l = {.type = SLV_AUDIT_START, .not_signed = a->not_signed};
    memcpy(l.key, slv_key_pub(a->key)->id, sizeof l.key);
    memcpy(l.hash_key, a->hash_key_id, sizeof l.hash_key);
    int rc = slv__audit_add(a, &l, err);
    return rc ? rc : slv__audit_add_sign(a, "start", err);
}

static int resume_newest(struct slv_audit *a, struct slv_err *err) {
    struct slv_audit_check c = {0};
    int rc = check_segment(a, a->log, true, &c, err);
    if (!rc) {
        a->fd = open(a->log, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (a->fd < 0) rc = os_error(a->log, err);
    }
    if (!rc && c.tail) rc = move_tail(a, c.tail, err);
    if (!rc) rc = add_torn(a, err);
    if (!rc) rc = add_keys(a, c.key, err);
    if (!rc) rc = add_start(a, err);
    if (!rc) rc = slv__audit_put(a, err);
    if (!rc && fsync(a->fd)) rc = os_error(a->log, err);
    a->synced = a->next;
    a->not_signed = 0;
    a->signed_ns = slv_clock_mono(a->o.clock);
    slv_audit_check_fini(&c);
    return rc;
}

/* Killed between two segments: the last one that is finished says how it goes on. */
static int resume_between(struct slv_audit *a, uint64_t n, struct slv_err *err) {
    struct slv_audit_check c = {0};
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_audit_segment_path(a->log, n - 1, &path);
    if (rc) slv_err_set(err, rc, "%s: %s", a->log, slv_strerror(rc));
    else rc = check_segment(a, path.data, false, &c, err);
    a->segment = n;
    if (!rc) rc = slv__audit_add_open(a, c.key, err);
    if (!rc) rc = add_keys(a, c.key, err);
    if (!rc) rc = slv__audit_add_sign(a, "open", err);
    if (!rc) rc = slv__audit_make_segment(a, err);
    slv_audit_check_fini(&c);
    slv_buf_fini(&path);
    return rc;
}

static int begin(struct slv_audit *a, struct slv_err *err) {
    uint8_t id[SLV_KEYID_BYTES];
    randombytes_buf(id, sizeof id);
    slv_hex_write(id, sizeof id, a->log_id);
    memset(a->prev, '0', sizeof a->prev - 1);
    int rc = slv__audit_add_open(a, slv_key_pub(a->key)->id, err);
    if (!rc) rc = slv__audit_add_sign(a, "open", err);
    return rc ? rc : slv__audit_make_segment(a, err);
}

int slv__audit_resume(struct slv_audit *a, struct slv_err *err) {
    uint64_t n = 0;
    if (!access(a->log, F_OK)) return resume_newest(a, err);
    int rc = count_segments(a, &n, err);
    if (rc) return rc;
    return n ? resume_between(a, n, err) : begin(a, err);
}

/* --- checkpoints ------------------------------------------------------------------------------ */

static int put_checkpoint(const struct slv_audit_check *c, const struct slv_key *key,
                          struct slv_buf *ret, struct slv_err *err) {
    struct slv_audit_line l = {
        .type = SLV_AUDIT_CHECKPOINT, .version = SLV_AUDIT_VERSION, .seq = c->next - 1};
    struct slv_buf text;
    uint8_t sig[SLV_SIG_BYTES];
    slv_audit_line_time(l.time, slv_clock_wall(&slv_clock_system));
    memcpy(l.log, c->log, sizeof l.log);
    memcpy(l.key, slv_key_pub(key)->id, sizeof l.key);
    memcpy(l.hash, c->hash, sizeof l.hash);
    slv_buf_init(&text, 2 * SLV_AUDIT_LINE_MAX);
    int rc = slv_audit_line_signed(&l, &text);
    if (!rc) rc = slv_key_sign(key, text.data, text.len, sig, err);
    if (!rc) {
        slv_hex_write(sig, sizeof sig, l.sig);
        rc = slv_audit_line_write(&l, ret);
    }
    if (!rc) rc = slv_buf_addc(ret, '\n');
    slv_buf_fini(&text);
    return rc ? slv_err_set(err, rc, "checkpoint: %s", slv_strerror(rc)) : 0;
}

int slv_audit_checkpoint(const char *log, uint64_t from, const struct slv_key *key,
                         struct slv_buf *ret, struct slv_err *err) {
    struct slv_audit_check c;
    slv_audit_check_init(&c, slv_key_pubs(key));
    int rc = slv_audit_check_files(&c, log, from, err);
    if (!rc) rc = put_checkpoint(&c, key, ret, err);
    slv_audit_check_fini(&c);
    return rc;
}
