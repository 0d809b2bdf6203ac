/* records_mend.c: salvage of a damaged store (records.h): what can be read of it goes to a new
 * file, which takes its place.
 *
 * Records are read through the tree, in order of keys, from its beginning to where it cannot be
 * read; then from the next key at which it can be entered again. Such keys come from the pages
 * themselves, whichever they are: the first of each leaf, all of inner pages. A page that is no
 * longer part of the tree gives keys too, but no records: nothing that was deleted comes back.
 * What hangs on an inner page that is damaged is lost; with the tree's root, everything.
 *
 * PATH.lock says that records were lost before anything is changed. The damaged file keeps its name
 * until the new one is whole and takes it.
 *
 * Source: SQLite's documentation, "Database File Format", 1.6 (pages of B-trees). */
#define _GNU_SOURCE /* qsort_r */
#include "store/records_int.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS_MAX ((size_t)64 << 20) /* bytes of keys to enter by */
#define PAGE_MAX 65536u

/* --- keys to enter by ------------------------------------------------------------------------- */

struct keys {
    struct slv_buf bytes; /* one after the other */
    struct slv_buf at;    /* struct slv_str, its p an offset until they are sorted */
};

/* A number of 1 to 9 bytes; false past the end. */
static bool number(const uint8_t *page, size_t end, size_t *at, uint64_t *ret) {
    uint64_t x = 0;
    for (int i = 0; i < 9; i++) {
        if (*at >= end) return false;
        const uint8_t b = page[(*at)++];
        if (i == 8) {
            *ret = x << 8 | b;
            return true;
        }
        x = x << 7 | (b & 127);
        if (b < 128) break;
    }
    *ret = x;
    return true;
}

/* The key in a cell, or what of it stands in this page. */
static struct slv_str key_at(const uint8_t *page, size_t end, size_t at) {
    const struct slv_str none = {NULL, 0};
    uint64_t payload, head, type;
    if (!number(page, end, &at, &payload)) return none;
    const size_t start = at;
    if (!number(page, end, &at, &head) || head > 64 || !number(page, end, &at, &type)) return none;
    if (type < 14 || type % 2 || (type - 12) / 2 > SLV_RECORDS_KEY_MAX) return none;
    size_t n = (size_t)(type - 12) / 2;
    if (start + head >= end) return none;
    if (n > end - start - head) n = end - start - (size_t)head;
    return (struct slv_str){(const char *)page + start + head, n};
}

static int add_key(struct keys *k, struct slv_str key) {
    const size_t at[2] = {k->bytes.len, key.n};
    const int rc = slv_buf_add(&k->bytes, key.p, key.n);
    return rc ? rc : slv_buf_add(&k->at, at, sizeof at);
}

static int add_page(struct keys *k, const uint8_t *page, size_t size) {
    const bool leaf = page[0] == 0x0a;
    if (!leaf && page[0] != 0x02) return 0;
    size_t n = (size_t)page[3] << 8 | page[4];
    if (leaf && n > 1) n = 1;
    for (size_t i = 0; i < n; i++) {
        const size_t p = (leaf ? 8 : 12) + 2 * i;
        if (p + 2 > size) break;
        const size_t cell = ((size_t)page[p] << 8 | page[p + 1]) + (leaf ? 0 : 4);
        const struct slv_str key = key_at(page, size, cell);
        const int rc = key.n ? add_key(k, key) : 0;
        if (rc) return rc;
    }
    return 0;
}

static int by_key(const void *a, const void *b, void *bytes) {
    size_t x[2], y[2];
    memcpy(x, a, sizeof x);
    memcpy(y, b, sizeof y);
    const char *p = bytes;
    const int c = memcmp(p + x[0], p + y[0], x[1] < y[1] ? x[1] : y[1]);
    return c ? c : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Up to KEYS_MAX; pages that cannot be read have none. SLV_E_NOMEM. */
static int find_keys(struct slv__recdb *d, struct keys *k, struct slv_err *err) {
    int64_t size = 0;
    int rc = slv__recdb_number(d, "PRAGMA page_size", &size, err);
    if (rc) return rc < 0 ? rc : 0;
    if (size < 512 || size > PAGE_MAX) return 0;
    /* (closing it ends SQLite's locks of this process; PATH.lock stands for them) */
    const int fd = open(d->path, O_RDONLY | O_CLOEXEC);
    uint8_t *page = slv_mem_alloc((size_t)size);
    const off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (!page) rc = SLV_E_NOMEM;
    for (off_t at = (off_t)size; !rc && at + size <= end; at += (off_t)size)
        if (pread(fd, page, (size_t)size, at) == size) rc = add_page(k, page, (size_t)size);
    if (fd >= 0) close(fd);
    slv_mem_free(page);
    if (k->at.len)
        qsort_r(k->at.data, k->at.len / (2 * sizeof(size_t)), 2 * sizeof(size_t), by_key,
                k->bytes.data);
    if (rc == SLV_E_NOMEM) return slv_err_set(err, rc, "%s: %s", d->path, slv_strerror(rc));
    return 0;
}

/* --- reading what can be read ----------------------------------------------------------------- */

struct salvage {
    struct slv_records *r;
    struct slv__recdb to;
    struct slv__records_walk walk;
    uint64_t good, wrong;
    int failed; /* SLV_E_*: not for damage to the old file */
};

static int on_row(void *ctx, const struct slv__records_row *row, struct slv_err *err) {
    struct salvage *s = ctx;
    int new = 0;
    if (!row->good) {
        slv__records_name_bad(s->r, row->key, ++s->wrong);
        return 0;
    }
    s->failed = slv__recdb_put(&s->to, row->key, row->value, &new, err);
    s->good += (uint64_t) new;
    return s->failed;
}

/* What a result of SQLite's on the old file means: whether to go on. */
static bool right(struct salvage *s, int rc, struct slv_err *err) {
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) return true;
    const int code = slv__recdb_fail(s->walk.d, "salvage", rc, err);
    if (code < 0) s->failed = code;
    return false;
}

static bool from(struct salvage *s, enum slv__recdb_stmt which, struct slv_str key,
                 struct slv_err *err) {
    sqlite3_stmt *q = s->walk.d->stmt[which];
    return right(s, sqlite3_bind_blob(q, 1, key.p, (int)key.n, SQLITE_TRANSIENT), err);
}

/* From the next key on: none is between a key and the same with a zero after it. */
static bool from_next(struct salvage *s, enum slv__recdb_stmt which, struct slv_err *err) {
    char start[SLV_RECORDS_KEY_MAX + 1];
    memcpy(start, s->walk.last, s->walk.last_n);
    start[s->walk.last_n] = '\0';
    return from(s, which, (struct slv_str){start, s->walk.last_n + 1}, err);
}

static struct slv_str last(const struct salvage *s) {
    return (struct slv_str){s->walk.last, s->walk.last_n};
}

/* The record after the last one may be one whose value cannot be read: past it, if its key can be.
 * false: it cannot, or the tree leads back. */
static bool pass(struct salvage *s, struct slv_err *err) {
    struct slv__records_walk *w = &s->walk;
    sqlite3_stmt *q = w->d->stmt[RECDB_NEXT];
    bool on = false;
    if (!from_next(s, RECDB_NEXT, err)) return false;
    const int rc = sqlite3_step(q);
    if (right(s, rc, err) && rc == SQLITE_ROW) {
        const struct slv_str key = {sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)};
        on = key.p && key.n <= SLV_RECORDS_KEY_MAX && key.n < w->left &&
             slv_str_compare(key, last(s)) > 0;
        if (on) {
            w->left -= key.n;
            memcpy(w->last, key.p, key.n);
            w->last_n = key.n;
        }
    }
    sqlite3_reset(q);
    return on;
}

/* Reads on until it cannot be gone on with from here: true when the end was reached. */
static bool read_on(struct salvage *s, enum slv__recdb_stmt first, struct slv_err *err) {
    enum slv__recdb_stmt which = first;
    for (;;) {
        const int rc = slv__records_walk(&s->walk, which, on_row, s, err);
        if (!rc) return true;
        if (rc < 0) s->failed = rc;
        which = RECDB_FROM;
        if (s->failed || !pass(s, err) || !from_next(s, which, err)) return false;
    }
}

static int read_all(struct salvage *s, struct slv_err *err) {
    struct keys k;
    struct slv__recdb *d = &s->r->db;
    int rc = slv__records_walk_init(&s->walk, d, err);
    if (rc) return rc < 0 ? rc : 0; /* nothing of it can be read */
    s->walk.strict = false;
    slv_buf_init(&k.bytes, KEYS_MAX);
    slv_buf_init(&k.at, KEYS_MAX);
    bool end = read_on(s, RECDB_ALL, err);
    if (!end && !s->failed) rc = find_keys(d, &k, err);
    for (size_t at = 0; !rc && !end && !s->failed && at < k.at.len; at += 2 * sizeof(size_t)) {
        size_t key[2];
        memcpy(key, k.at.data + at, sizeof key);
        const struct slv_str start = {k.bytes.data + key[0], key[1]};
        if (slv_str_compare(start, last(s)) > 0 && from(s, RECDB_FROM, start, err))
            end = read_on(s, RECDB_FROM, err);
    }
    slv_buf_fini(&k.bytes);
    slv_buf_fini(&k.at);
    return rc ? rc : s->failed;
}

/* --- files ------------------------------------------------------------------------------------ */

static int out_of_memory(struct slv_records *r, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%s: %s", r->path, slv_strerror(SLV_E_NOMEM));
}

/* The name that is free; where none is, the last one: the first ones show how it began. */
static char *damaged_name(const char *path) {
    char suffix[32];
    for (int i = 1;; i++) {
        snprintf(suffix, sizeof suffix, ".damaged-%d", i);
        char *name = slv__records_name(path, suffix);
        if (!name || i == SLV_RECORDS_DAMAGED_MAX || access(name, F_OK)) return name;
        slv_mem_free(name);
    }
}

static bool rename_there(const char *from_path, const char *to) {
    return !rename(from_path, to) || errno == ENOENT;
}

int slv__records_set_aside(struct slv_records *r, const char *by, struct slv_err *err) {
    char *to = damaged_name(r->path), *wal = slv__records_name(r->path, "-wal");
    char *to_wal = to ? slv__records_name(to, "-wal") : NULL;
    int rc = to && wal && to_wal ? 0 : out_of_memory(r, err);
    /* The log first: it must never stand beside the new file, which would take it for its own. */
    if (!rc) {
        unlink(to);
        unlink(to_wal);
        bool done = rename_there(wal, to_wal);
        if (done && by)
            done = (!link(r->path, to) || rename_there(r->path, to)) && !rename(by, r->path);
        else if (done) done = rename_there(r->path, to);
        if (!done)
            rc = slv_err_set(err, SLV_E_IO, "%s: setting it aside: %s", r->path, strerror(errno));
    }
    if (!rc) rc = slv__records_sync_folder(r->path, err);
    if (!rc && !access(to, F_OK))
        slv__records_note(r, "%s: what was there is kept as %s", r->path, to);
    slv_mem_free(to);
    slv_mem_free(wal);
    slv_mem_free(to_wal);
    return rc;
}

static int copy_to(struct salvage *s, const char *path, struct slv_err *err) {
    struct slv__recdb *to = &s->to;
    int rc = slv__recdb_open(to, path, RECDB_MAKE, s->r->conf.cache, err);
    if (!rc) rc = slv__recdb_do(to, RECDB_BEGIN, "salvage", err);
    if (!rc) rc = read_all(s, err);
    if (!rc) rc = slv__recdb_do(to, RECDB_COMMIT, "salvage", err);
    if (!rc) rc = slv__recdb_checkpoint(to, true, err);
    slv__recdb_close(to);
    return rc > 0 ? SLV_E_IO : rc;
}

int slv__records_salvage(struct slv_records *r, const char *why, struct slv_err *err) {
    struct salvage s = {.r = r};
    char *path = slv__records_name(r->path, ".new");
    if (!path) return out_of_memory(r, err);
    slv__records_note(r, "%s: what can be read is written to a new file", why);
    int rc = slv__records_set_mark(r, RECORDS_LOST, err);
    /* What is in the log is found in the pages, too. */
    if (!rc) (void)slv__recdb_checkpoint(&r->db, true, NULL);
    if (!rc) rc = copy_to(&s, path, err);
    if (!rc) {
        slv__recdb_close(&r->db);
        rc = slv__records_set_aside(r, path, err);
        if (!rc) rc = slv__recdb_open(&r->db, r->path, RECDB_KNOWN, r->conf.cache, err);
        if (rc > 0) rc = SLV_E_IO;
    }
    slv_mem_free(path);
    if (rc) return rc;
    pthread_mutex_lock(&r->lock);
    r->stats.records = s.good;
    r->stats.damaged += s.wrong;
    r->stats.salvages++;
    pthread_mutex_unlock(&r->lock);
    slv__records_note(r, "%s: %llu records were saved, and %llu found damaged", r->path,
                      (unsigned long long)s.good, (unsigned long long)s.wrong);
    return 0;
}
