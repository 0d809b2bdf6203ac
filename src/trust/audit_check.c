/* audit_check.c: see audit_check.h. */
#include "trust/audit_check.h"
#include "base/file.h"
#include "base/mem.h"
#include "trust/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void slv_audit_check_init(struct slv_audit_check *c, const struct slv_pubs *trusted) {
    *c = (struct slv_audit_check){.trusted = trusted};
}

void slv_audit_check_fini(struct slv_audit_check *c) {
    if (!c) return;
    slv_pubs_fini(&c->followed);
    slv_mem_free(c->checkpoints);
    c->checkpoints = NULL;
}

static int bad(struct slv_audit_check *c, uint64_t record, struct slv_err *err, const char *fmt,
               ...) __attribute__((format(printf, 4, 5)));
static int bad(struct slv_audit_check *c, uint64_t record, struct slv_err *err, const char *fmt,
               ...) {
    va_list ap;
    c->bad = record;
    va_start(ap, fmt);
    slv_err_vset(err, SLV_E_TRUST, fmt, ap);
    va_end(ap);
    return slv_err_prefix(err, SLV_E_TRUST, "record %" PRIu64, record);
}

static int no_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "audit log: out of memory");
}

/* --- keys and signatures ---------------------------------------------------------------------- */

static const struct slv_pub *known(const struct slv_audit_check *c, const char *id) {
    const struct slv_pub *p = slv_pubs_find(c->trusted, id);
    return p ? p : slv_pubs_find(&c->followed, id);
}

/* 0, SLV_E_NOENT (the key is not known), SLV_E_TRUST or SLV_E_NOMEM, without a message. */
static int check_signature(const struct slv_audit_check *c, const struct slv_audit_line *l) {
    const struct slv_pub *p = known(c, l->key);
    uint8_t sig[SLV_SIG_BYTES];
    struct slv_buf text;
    if (!p) return SLV_E_NOENT;
    if (!slv_hex_read(l->sig, sig, sizeof sig)) return SLV_E_TRUST;
    slv_buf_init(&text, 2 * SLV_AUDIT_LINE_MAX);
    int rc = slv_audit_line_signed(l, &text);
    if (!rc && !slv_pub_verify(p->key, text.data, text.len, sig)) rc = SLV_E_TRUST;
    slv_buf_fini(&text);
    return rc;
}

static int on_sign(struct slv_audit_check *c, const struct slv_audit_line *l, struct slv_err *err) {
    if (strcmp(l->key, c->key) != 0)
        return bad(c, l->seq, err, "is signed by key %s, the log's is %s", l->key, c->key);
    int rc = check_signature(c, l);
    if (rc == SLV_E_NOENT)
        return bad(c, l->seq, err,
                   "is signed by key %s, which is not trusted: 'selvage key trust FILE' adds a key",
                   l->key);
    if (rc == SLV_E_TRUST)
        return bad(c, l->seq, err, "key %s did not sign what stands here", l->key);
    if (rc) return no_memory(err);
    c->signatures++;
    c->not_signed = 0;
    c->opening = false;
    return 0;
}

/* A new key, which the one before vouches for. */
static int on_key(struct slv_audit_check *c, const struct slv_audit_line *l, struct slv_err *err) {
    const struct slv_pub *before = known(c, c->key);
    struct slv_pub p = {.created = l->created};
    if (!before) return bad(c, l->seq, err, "follows key %s, which is not trusted", c->key);
    if (!slv_hex_read(l->public, p.key, sizeof p.key) ||
        !slv_hex_read(l->signed_by, p.signed_by, sizeof p.signed_by))
        return bad(c, l->seq, err, "is not a key");
    slv_pub_id(p.key, p.id);
    if (strcmp(p.id, l->key) != 0 || !slv_pub_follows(&p, before->key))
        return bad(c, l->seq, err, "key %s is not signed by key %s", l->key, c->key);
    if (slv_pubs_add(&c->followed, &p)) return no_memory(err);
    memcpy(c->key, p.id, sizeof c->key);
    return 0;
}

/* --- records ---------------------------------------------------------------------------------- */

static int on_open(struct slv_audit_check *c, const struct slv_audit_line *l, struct slv_err *err) {
    bool first = !c->records;
    if (l->version != SLV_AUDIT_VERSION)
        return slv_err_set(err, SLV_E_UNSUPPORTED, "audit log: version %" PRIu64 " is not known",
                           l->version);
    if (first) {
        memcpy(c->log, l->log, sizeof c->log);
        memcpy(c->key, l->key, sizeof c->key);
        c->first_segment = l->segment;
    } else if (strcmp(c->log, l->log) != 0) {
        return bad(c, l->seq, err, "is of log %s, the ones before are of log %s", l->log, c->log);
    } else if (l->segment != c->segment + 1) {
        return bad(c, l->seq, err, "begins segment %" PRIu64 ", segment %" PRIu64 " is missing",
                   l->segment, c->segment + 1);
    } else if (strcmp(c->key, l->key) != 0) {
        return bad(c, l->seq, err, "names key %s, the log's is %s", l->key, c->key);
    }
    c->segment = l->segment;
    c->opening = true;
    memcpy(c->hash_key, l->hash_key, sizeof c->hash_key);
    return 0;
}

static int on_type(struct slv_audit_check *c, const struct slv_audit_line *l, struct slv_err *err) {
    if (c->opening && l->type != SLV_AUDIT_SIGN && l->type != SLV_AUDIT_KEY)
        return bad(c, l->seq, err, "should be the signature that a segment begins with");
    switch (l->type) {
    case SLV_AUDIT_SIGN:
        return on_sign(c, l, err);
    case SLV_AUDIT_KEY:
        return on_key(c, l, err);
    case SLV_AUDIT_TORN:
        c->torn++;
        return 0;
    case SLV_AUDIT_REQUEST:
        c->requests++;
        return 0;
    case SLV_AUDIT_START:
        if (strcmp(c->key, l->key) != 0)
            return bad(c, l->seq, err, "names key %s, the log's is %s", l->key, c->key);
        memcpy(c->hash_key, l->hash_key, sizeof c->hash_key);
        return 0;
    case SLV_AUDIT_OPEN:
        return on_open(c, l, err);
    case SLV_AUDIT_CHECKPOINT:
        break;
    }
    return bad(c, l->seq, err, "is no record of a log");
}

static int at_checkpoint(struct slv_audit_check *c, uint64_t seq, struct slv_err *err) {
    for (size_t i = 0; i < c->n_checkpoints; i++) {
        const struct slv_audit_line *p = &c->checkpoints[i];
        if (strcmp(p->log, c->log) != 0)
            return bad(c, seq, err, "the checkpoint of %s is of another log, %s", p->time, p->log);
        if (p->seq == seq && strcmp(p->hash, c->hash) != 0)
            return bad(c, seq, err, "is not the record that was there at the checkpoint of %s",
                       p->time);
    }
    return 0;
}

/* Whether a record of that number stands among these lines. */
static bool stands_later(const char *p, const char *end, uint64_t seq) {
    char head[40];
    int n = snprintf(head, sizeof head, "{\"seq\":%" PRIu64 ",", seq);
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        if ((size_t)(end - p) > (size_t)n && !memcmp(p, head, (size_t)n)) return true;
        p = lf ? lf + 1 : end;
    }
    return false;
}

/* `rest` to `end`: the lines after this one. */
static int check_order(struct slv_audit_check *c, const struct slv_audit_line *l, const char *rest,
                       const char *end, struct slv_err *err) {
    if (!c->records && c->from_any && l->type == SLV_AUDIT_OPEN) c->first = c->next = l->seq;
    else if (!c->records && l->type == SLV_AUDIT_OPEN && l->segment)
        return bad(c, 0, err,
                   "is missing: the log begins with segment %" PRIu64 ": --from %" PRIu64
                   " checks from there",
                   l->segment, l->segment);
    if (l->seq < c->next)
        return bad(c, l->seq, err, "stands here again, where record %" PRIu64 " should be",
                   c->next);
    if (l->seq > c->next && stands_later(rest, end, c->next))
        return bad(c, l->seq, err, "stands before record %" PRIu64 ": they were put out of order",
                   c->next);
    if (l->seq > c->next)
        return bad(c, c->next, err, "is missing: record %" PRIu64 " stands in its place", l->seq);
    if (c->records && strcmp(l->prev, c->hash) != 0)
        return bad(c, l->seq - 1, err,
                   "has been changed: record %" PRIu64 " has another hash of it", l->seq);
    return 0;
}

static int check_line(struct slv_audit_check *c, const char *s, size_t n, const char *end,
                      struct slv_err *err) {
    struct slv_audit_line l;
    bool reads = slv_audit_line_read(s, n, &l);
    if (!c->records && (!reads || l.type != SLV_AUDIT_OPEN))
        return slv_err_set(err, SLV_E_FORMAT, "is not an audit log: its first line opens none");
    if (!reads) return bad(c, c->next, err, "has been changed: it is no record any more");
    int rc = check_order(c, &l, s + n + 1, end, err);
    if (!rc && l.type == SLV_AUDIT_OPEN && c->records && c->last != SLV_AUDIT_SIGN)
        rc = bad(c, l.seq, err, "begins a segment, and the one before is not signed at its end");
    if (rc) return rc;
    c->not_signed++;
    rc = on_type(c, &l, err);
    if (rc) return rc;
    slv_audit_line_hash(s, n, c->hash);
    memcpy(c->records ? c->ended : c->begun, l.time, sizeof l.time);
    memcpy(c->ended, l.time, sizeof l.time);
    c->last = l.type;
    c->closed = l.type == SLV_AUDIT_SIGN && !strcmp(l.why, "close");
    c->records++;
    c->next++;
    return at_checkpoint(c, l.seq, err);
}

size_t slv_audit_whole(const char *p, size_t n) {
    size_t whole = 0;
    const char *zero = memchr(p, '\0', n), *lf;
    size_t end = zero ? (size_t)(zero - p) : n;
    while (whole < end && (lf = memchr(p + whole, '\n', end - whole)))
        whole = (size_t)(lf - p) + 1;
    return whole;
}

int slv_audit_check_segment(struct slv_audit_check *c, const char *p, size_t n, bool newest,
                            struct slv_err *err) {
    size_t whole = n ? slv_audit_whole(p, n) : 0;
    const char *end = p + whole;
    if (!n) return slv_err_set(err, SLV_E_FORMAT, "is not an audit log: it is empty");
    for (bool first = true; p < end; first = false) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        uint64_t segment = c->segment;
        bool later = c->records > 0;
        int rc = check_line(c, p, (size_t)(lf - p), end, err);
        if (!rc && later && first != (c->last == SLV_AUDIT_OPEN))
            rc = bad(c, c->next - 1, err, "should %sbegin a segment, the one after %" PRIu64,
                     first ? "" : "not ", segment);
        if (rc) return rc;
        p = lf + 1;
    }
    c->tail = n - whole;
    if (!c->records)
        return slv_err_set(err, SLV_E_FORMAT, "is not an audit log: it has no whole record");
    if (c->tail && !newest) return bad(c, c->next, err, "is cut short, and a segment follows");
    return 0;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

static int add_checkpoint(struct slv_audit_check *c, const char *s, size_t n, const char *what,
                          struct slv_err *err) {
    struct slv_audit_line l;
    if (!slv_audit_line_read(s, n, &l) || l.type != SLV_AUDIT_CHECKPOINT)
        return slv_err_set(err, SLV_E_FORMAT, "%s: is not a checkpoint", what);
    int rc = check_signature(c, &l);
    if (rc == SLV_E_NOENT)
        return slv_err_set(err, SLV_E_TRUST, "%s: is signed by key %s, which is not trusted", what,
                           l.key);
    if (rc == SLV_E_TRUST)
        return slv_err_set(err, rc, "%s: key %s did not sign what stands there", what, l.key);
    if (!rc)
        rc = slv_mem_grow((void **)&c->checkpoints, c->n_checkpoints, &c->checkpoints_cap,
                          sizeof *c->checkpoints, SLV_AUDIT_CHECKPOINTS_MAX);
    if (rc) return slv_err_set(err, rc, "%s: %s", what, slv_strerror(rc));
    c->checkpoints[c->n_checkpoints++] = l;
    return 0;
}

int slv_audit_check_add(struct slv_audit_check *c, const char *text, size_t n, const char *what,
                        struct slv_err *err) {
    const char *end = text + n;
    int rc = slv_trust_init(err);
    if (!rc && !n) rc = slv_err_set(err, SLV_E_FORMAT, "%s: is not a checkpoint", what);
    while (!rc && text < end) {
        const char *lf = memchr(text, '\n', (size_t)(end - text));
        rc = add_checkpoint(c, text, (size_t)((lf ? lf : end) - text), what, err);
        text = lf ? lf + 1 : end;
    }
    return rc;
}

int slv_audit_check_end(struct slv_audit_check *c, struct slv_err *err) {
    for (size_t i = 0; i < c->n_checkpoints; i++) {
        const struct slv_audit_line *p = &c->checkpoints[i];
        if (p->seq >= c->next)
            return bad(c, c->next, err,
                       "is missing: the log is cut off: at the checkpoint of %s there was record "
                       "%" PRIu64,
                       p->time, p->seq);
        if (p->seq < c->first)
            return bad(c, p->seq, err,
                       "is not there, but the checkpoint of %s is of it: check from an "
                       "earlier segment",
                       p->time);
    }
    return 0;
}

/* --- files ------------------------------------------------------------------------------------ */

int slv_audit_segment_path(const char *log, uint64_t segment, struct slv_buf *ret) {
    slv_buf_clear(ret);
    return slv_buf_addf(ret, "%s.%06" PRIu64, log, segment);
}

static int check_file(struct slv_audit_check *c, const char *path, bool newest,
                      struct slv_err *err) {
    struct slv_map map = {0};
    int rc = slv_map_open(path, &map, err);
    if (rc) return rc;
    rc = slv_audit_check_segment(c, (const char *)map.data, map.size, newest, err);
    if (rc) slv_err_prefix(err, rc, "%s", path);
    slv_map_close(&map);
    return rc;
}

int slv_audit_check_files(struct slv_audit_check *c, const char *log, uint64_t from,
                          struct slv_err *err) {
    struct slv_buf path;
    uint64_t i = from;
    int rc = slv_trust_init(err);
    c->from_any = c->from_any || from > 0;
    slv_buf_init(&path, 8192);
    for (; !rc && i < SLV_AUDIT_SEGMENTS_MAX; i++) {
        rc = slv_audit_segment_path(log, i, &path);
        if (rc) slv_err_set(err, rc, "%s: %s", log, slv_strerror(rc));
        else if (access(path.data, F_OK)) break;
        else rc = check_file(c, path.data, false, err);
    }
    /* Killed between two segments, a log has no newest one. */
    if (!rc && (i == from || !access(log, F_OK))) rc = check_file(c, log, true, err);
    if (!rc && c->first_segment != from)
        rc = slv_err_set(err, SLV_E_TRUST, "%s: segment %" PRIu64 " is missing", log, from);
    if (!rc) rc = slv_audit_check_end(c, err);
    slv_buf_fini(&path);
    return rc;
}
