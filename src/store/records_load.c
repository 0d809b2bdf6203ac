/* records_load.c: reading all records of a store (records.h), and finding what is damaged.
 *
 * The store is read twice: once to see whether all of it can be, and once to tell; so that nobody
 * is given a part, then a repair, then records out of order.
 *
 * What is taken for damage to the database, beside what SQLite says: keys that do not ascend (one
 * that has changed where it stands, which may be another record's by now), rows without a key, more
 * bytes of records than the file has (pages that are part of the tree more than once: a file made
 * to keep its reader busy). */
#include "store/records_int.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define NAMED_MAX 8u                   /* records that a line names */
#define BAD_KEYS_MAX ((size_t)1 << 20) /* bytes; beyond that it is no single bits */

int slv__records_walk_init(struct slv__records_walk *w, struct slv__recdb *d, struct slv_err *err) {
    *w = (struct slv__records_walk){.d = d, .strict = true};
    return slv__recdb_bytes(d, &w->left, err);
}

static int no_record(struct slv__records_walk *w, const char *why, struct slv_err *err) {
    return slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: reading: %s", w->d->path, why);
}

/* A column's bytes; false: it has none. */
static bool blob(sqlite3_stmt *s, int i, struct slv_str *ret) {
    if (sqlite3_column_type(s, i) != SQLITE_BLOB) return false;
    const void *p = sqlite3_column_blob(s, i);
    const int n = sqlite3_column_bytes(s, i);
    if (n < 0 || (n && !p)) return false;
    *ret = (struct slv_str){n ? p : "", (size_t)n};
    return true;
}

/* The row at hand. */
static int take(struct slv__records_walk *w, sqlite3_stmt *s, struct slv__records_row *row,
                struct slv_err *err) {
    uint8_t right[SLV_RECORDS_SUM];
    struct slv_str sum = {"", 0};
    *row = (struct slv__records_row){.key = {"", 0}, .value = {"", 0}};
    const bool keyed = blob(s, 0, &row->key) && row->key.n && row->key.n <= SLV_RECORDS_KEY_MAX;
    if (!keyed) row->key.n = 0;
    const bool whole = keyed && blob(s, 1, &row->value) && blob(s, 2, &sum) &&
                       row->value.n <= SLV_RECORDS_VALUE_MAX && sum.n == sizeof right;
    const uint64_t n = row->key.n + row->value.n + sizeof right;
    if (n > w->left) return no_record(w, "it has more in it than its file", err);
    w->left -= n;
    if (whole) slv__recdb_sum(row->key, row->value, right);
    row->good = whole && !memcmp(sum.p, right, sizeof right);
    if (w->strict && keyed && slv_str_compare(row->key, (struct slv_str){w->last, w->last_n}) <= 0)
        return no_record(w, "keys do not ascend", err);
    if (w->strict ? keyed : row->good) {
        memcpy(w->last, row->key.p, row->key.n);
        w->last_n = row->key.n;
    }
    return 0;
}

int slv__records_walk(struct slv__records_walk *w, enum slv__recdb_stmt which,
                      slv__records_row_fn *fn, void *ctx, struct slv_err *err) {
    sqlite3_stmt *s = w->d->stmt[which];
    struct slv__records_row row;
    int rc = SQLITE_DONE, failed = 0;
    while (!failed && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        failed = take(w, s, &row, err);
        if (!failed) failed = fn(ctx, &row, err);
    }
    if (!failed && rc != SQLITE_DONE) failed = slv__recdb_fail(w->d, "reading", rc, err);
    sqlite3_reset(s);
    return failed;
}

/* --- checking --------------------------------------------------------------------------------- */

struct check {
    struct slv_records *r;
    struct slv_buf bad; /* keys: 4 bytes of length, bytes */
    uint64_t good, wrong, bytes;
};

void slv__records_name_bad(struct slv_records *r, struct slv_str key, uint64_t nth) {
    static const char digits[] = "0123456789abcdef";
    char hex[2 * 16 + 1];
    size_t n = key.n < 16 ? key.n : 16, at = 0;
    if (!n || nth > NAMED_MAX) return;
    for (size_t i = 0; i < n; i++) {
        hex[at++] = digits[(uint8_t)key.p[i] >> 4];
        hex[at++] = digits[(uint8_t)key.p[i] & 15];
    }
    hex[at] = '\0';
    slv__records_note(r, "%s: the record of key %s%s is not what was written: removed%s", r->path,
                      hex, key.n > n ? "..." : "",
                      nth == NAMED_MAX ? "; more such are counted only" : "");
}

static int on_check(void *ctx, const struct slv__records_row *row, struct slv_err *err) {
    struct check *c = ctx;
    if (row->good) {
        c->good++;
        return 0;
    }
    c->wrong++;
    if (!row->key.n)
        return slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: reading: a row is no record", c->r->path);
    const uint32_t n = (uint32_t)row->key.n;
    slv_buf_add(&c->bad, &n, sizeof n);
    const int rc = slv_buf_add(&c->bad, row->key.p, row->key.n);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: reading: damaged all over", c->r->path);
    return rc ? slv_err_set(err, rc, "%s: %s", c->r->path, slv_strerror(rc)) : 0;
}

/* One that is not found where its key belongs is damage to the tree. */
static int remove_bad(struct slv_records *r, const struct slv_buf *bad, struct slv_err *err) {
    int rc = slv__recdb_do(&r->db, RECDB_BEGIN, "repair", err);
    if (rc) return rc;
    for (size_t at = 0; !rc && at < bad->len;) {
        uint32_t n;
        int more = 0;
        memcpy(&n, bad->data + at, sizeof n);
        rc = slv__recdb_del(&r->db, (struct slv_str){bad->data + at + sizeof n, n}, &more, err);
        if (!rc && more != -1)
            rc = slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: a record is not in its place", r->path);
        at += sizeof n + n;
    }
    if (!rc) rc = slv__recdb_do(&r->db, RECDB_COMMIT, "repair", err);
    if (rc) (void)slv__recdb_do(&r->db, RECDB_ROLLBACK, "repair", NULL);
    if (!rc) {
        uint64_t nth = 0;
        for (size_t at = 0; at < bad->len;) {
            uint32_t n;
            memcpy(&n, bad->data + at, sizeof n);
            slv__records_name_bad(r, (struct slv_str){bad->data + at + sizeof n, n}, ++nth);
            at += sizeof n + n;
        }
    }
    return rc;
}

static int quick_check(struct slv__recdb *d, struct slv_err *err) {
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(d->db, "PRAGMA quick_check(1)", -1, &s, NULL), failed = 0;
    if (!rc) rc = sqlite3_step(s);
    const char *says = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (rc != SQLITE_ROW) failed = slv__recdb_fail(d, "check", rc, err);
    else if (!says || strcmp(says, "ok") != 0)
        failed = slv_err_set(err, SLV_RECORDS_DAMAGED, "%s: check: %s", d->path, says ? says : "");
    sqlite3_finalize(s);
    return failed;
}

static int check_rows(struct slv_records *r, struct check *c, struct slv_err *err) {
    struct slv__records_walk w;
    int rc = slv__records_walk_init(&w, &r->db, err);
    c->bytes = w.left;
    if (!rc) rc = slv__records_walk(&w, RECDB_ALL, on_check, c, err);
    if (!rc && c->wrong) rc = slv__records_set_mark(r, RECORDS_LOST, err);
    if (!rc && c->wrong) rc = remove_bad(r, &c->bad, err);
    return rc;
}

int slv__records_check(struct slv_records *r, struct slv_err *err) {
    struct check c = {.r = r};
    struct slv_err why = {0};
    slv_buf_init(&c.bad, BAD_KEYS_MAX);
    /* (records that a page no longer counts are missed by no sum) */
    int rc = quick_check(&r->db, &why);
    if (!rc) rc = check_rows(r, &c, &why);
    slv_buf_fini(&c.bad);
    if (rc < 0) return slv_err_set(err, rc, "%s", why.msg);
    if (rc) return slv__records_salvage(r, why.msg, err);
    pthread_mutex_lock(&r->lock);
    r->stats.records = c.good;
    r->stats.bytes = c.bytes;
    r->stats.damaged += c.wrong;
    pthread_mutex_unlock(&r->lock);
    if (c.wrong)
        slv__records_note(r, "%s: %llu of %llu records were damaged and are removed", r->path,
                          (unsigned long long)c.wrong, (unsigned long long)(c.good + c.wrong));
    return 0;
}

/* --- telling ---------------------------------------------------------------------------------- */

struct tell {
    slv_records_fn *fn;
    void *ctx;
    const char *path;
    int said; /* by fn */
};

static int on_tell(void *ctx, const struct slv__records_row *row, struct slv_err *err) {
    struct tell *t = ctx;
    if (!row->good)
        return slv_err_set(err, SLV_E_IO,
                           "%s: reading: a record is another than it was a moment ago", t->path);
    t->said = t->fn(t->ctx, row->key, row->value);
    if (!t->said) return 0;
    return slv_err_set(err, t->said, "%s: loading: %s", t->path, slv_strerror(t->said));
}

int slv__records_tell(struct slv_records *r, slv_records_fn *fn, void *ctx, struct slv_err *err) {
    struct slv__records_walk w;
    struct tell t = {fn, ctx, r->path, 0};
    int rc = slv__records_walk_init(&w, &r->db, err);
    if (!rc) rc = slv__records_walk(&w, RECDB_ALL, on_tell, &t, err);
    if (t.said) return t.said;
    return rc > 0 ? SLV_E_IO : rc;
}
