/* audit_tail.c: see audit_tail.h. The newest segment stays mapped from beginning to end, so that it
 * does not matter if it is finished and renamed meanwhile; older ones never change. */
#define _GNU_SOURCE /* memrchr */
#include "trust/audit_tail.h"
#include "base/file.h"
#include "trust/audit_check.h"

#include <inttypes.h>
#include <string.h>

/* The whole lines of one segment. */
struct segment {
    struct slv_map map;
    const char *p, *end;
};

static int open_path(const char *path, struct segment *ret, struct slv_err *err) {
    int rc = slv_map_open(path, &ret->map, err);
    if (rc) return rc;
    ret->p = ret->end = (const char *)ret->map.data;
    if (ret->map.size) ret->end += slv_audit_whole(ret->p, ret->map.size);
    return 0;
}

static int open_finished(const char *log, uint64_t number, struct segment *ret,
                         struct slv_err *err) {
    struct slv_buf path;
    slv_buf_init(&path, 8192);
    int rc = slv_audit_segment_path(log, number, &path);
    if (rc) slv_err_set(err, rc, "%s: %s", log, slv_strerror(rc));
    else rc = open_path(path.data, ret, err);
    slv_buf_fini(&path);
    return rc;
}

/* Which segment it is, by its first line. */
static int number_of(const char *log, const struct segment *s, uint64_t *ret, struct slv_err *err) {
    struct slv_audit_line l;
    const char *lf = s->p == s->end ? NULL : memchr(s->p, '\n', (size_t)(s->end - s->p));
    if (!lf || !slv_audit_line_read(s->p, (size_t)(lf - s->p), &l) || l.type != SLV_AUDIT_OPEN)
        return slv_err_set(err, SLV_E_FORMAT, "%s: is not an audit log: its first line opens none",
                           log);
    if (l.segment > SLV_AUDIT_SEGMENTS_MAX)
        return slv_err_set(err, SLV_E_FORMAT, "%s: segment %" PRIu64 ": there cannot be so many",
                           log, l.segment);
    *ret = l.segment;
    return 0;
}

/* Where its last *n lines begin, or all of them; *n becomes how many it has not. */
static const char *go_back(const struct segment *s, uint64_t *n) {
    const char *p = s->end;
    while (*n && p > s->p) {
        const char *lf = memrchr(s->p, '\n', (size_t)(p - 1 - s->p));
        p = lf ? lf + 1 : s->p;
        --*n;
    }
    return p;
}

static int tell(const struct segment *s, const char *from, slv_audit_tail_fn fn, void *ctx,
                struct slv_err *err) {
    int rc = 0;
    for (const char *p = from; !rc && p < s->end;) {
        const char *lf = memchr(p, '\n', (size_t)(s->end - p));
        rc = fn(ctx, p, (size_t)(lf - p), err);
        p = lf + 1;
    }
    return rc;
}

/* The finished segments before `number`, as far as `left` lines more are wanted. */
static int tell_older(const char *log, uint64_t number, uint64_t left, slv_audit_tail_fn fn,
                      void *ctx, struct slv_err *err) {
    struct segment s = {0};
    uint64_t first = number;
    size_t skip = 0;
    int rc = 0;
    while (left && first > 0) {
        rc = open_finished(log, first - 1, &s, err);
        if (rc == SLV_E_NOENT) break; /* put away */
        if (rc) return rc;
        skip = (size_t)(go_back(&s, &left) - s.p);
        slv_map_close(&s.map);
        first--;
    }
    for (rc = 0; !rc && first < number; first++) {
        rc = open_finished(log, first, &s, err);
        if (rc) return rc;
        rc = tell(&s, s.p + skip, fn, ctx, err);
        slv_map_close(&s.map);
        skip = 0;
    }
    return rc;
}

int slv_audit_tail(const char *log, uint64_t n, slv_audit_tail_fn fn, void *ctx,
                   struct slv_err *err) {
    struct segment newest = {0};
    uint64_t number = 0;
    int rc = open_path(log, &newest, err);
    if (rc) return rc;
    rc = number_of(log, &newest, &number, err);
    if (!rc) {
        const char *from = go_back(&newest, &n);
        rc = tell_older(log, number, n, fn, ctx, err);
        if (!rc) rc = tell(&newest, from, fn, ctx, err);
    }
    slv_map_close(&newest.map);
    return rc;
}
