/* packkept.c: see packkept.h. */
#define _GNU_SOURCE
#include "engine/packkept.h"
#include "base/mem.h"
#include "base/thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define ALIGN ((size_t)64 << 10)     /* of the tiles in the file: a sealed file's blocks */
#define READ_BYTES ((size_t)2 << 20) /* a multiple of it, and a large page */
#define STEP_BYTES ((size_t)16 << 20)
#define VERSION 1u

static const char magic[8] = "SLVKEPT1";

struct header {
    char magic[8];
    uint64_t version, layout, key, n_rows, tile_bytes, tiles_at, zero;
};
_Static_assert(sizeof(struct header) == 64, "no padding");

/* Where the tiles begin; 0: there can be no such file. */
static size_t tiles_at(const struct slv_pack_id *id) {
    size_t rows, at, all;
    bool ok = slv_size_mul(id->n_rows, sizeof *id->rows, &rows) &&
              slv_size_add(rows, sizeof(struct header), &at) && slv_size_align(at, ALIGN, &at) &&
              slv_size_add(at, id->tile_bytes, &all) && all <= INT64_MAX && id->tile_bytes;
    return ok && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? at : 0;
}

uint64_t slv_packkept_bytes(const struct slv_pack_id *id) {
    size_t at = tiles_at(id);
    return at ? at + id->tile_bytes : UINT64_MAX;
}

/* All that stands before the tiles, from slv_mem_calloc. */
static int make_head(const struct slv_pack_id *id, const char *path, unsigned char **ret,
                     size_t *ret_n, struct slv_err *err) {
    size_t n = tiles_at(id);
    if (!n) return slv_err_set(err, SLV_E_LIMIT, "%s: too large", path);
    struct header h = {.version = VERSION,
                       .layout = id->layout,
                       .key = id->key,
                       .n_rows = id->n_rows,
                       .tile_bytes = id->tile_bytes,
                       .tiles_at = n};
    unsigned char *head = slv_mem_calloc(n, 1);
    if (!head) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    memcpy(h.magic, magic, sizeof magic);
    memcpy(head, &h, sizeof h);
    memcpy(head + sizeof h, id->rows, id->n_rows * sizeof *id->rows);
    *ret = head;
    *ret_n = n;
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct slv_keptread {
    struct slv_blocks from;
    char *path;
    unsigned char *data; /* [from.size], slv_mem_map; NULL: the tiles have been handed out */
    size_t members;      /* of the team that joins */
    _Atomic size_t next; /* piece of READ_BYTES that nobody has taken yet */
    _Atomic int status;
    pthread_mutex_t lock; /* of err */
    struct slv_err err;
    pthread_t thread;
    bool threaded;
};

int slv_keptread_open(const struct slv_keeper *k, const char *path, struct slv_keptread **ret,
                      struct slv_err *err) {
    struct slv_keptread *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    pthread_mutex_init(&r->lock, NULL);
    r->path = slv_mem_strndup(path, strlen(path));
    int rc = r->path ? k->open(k->ctx, SLV_KEPT_WEIGHTS, path, &r->from, err)
                     : slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (!rc && r->from.size > INT64_MAX) rc = slv_err_set(err, SLV_E_FORMAT, "%s: too large", path);
    if (!rc && !(r->data = slv_mem_map(READ_BYTES, (size_t)r->from.size)))
        rc = slv_err_set(err, SLV_E_NOMEM, "no memory for %llu bytes of weights",
                         (unsigned long long)r->from.size);
    if (rc) {
        slv_keptread_close(r);
        return rc;
    }
    slv_mem_hide(r->data, (size_t)r->from.size);
    *ret = r;
    return 0;
}

static bool take_piece(struct slv_keptread *r, size_t *ret_at) {
    size_t n = ((size_t)r->from.size + READ_BYTES - 1) / READ_BYTES;
    size_t i = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
    if (i >= n || atomic_load_explicit(&r->status, memory_order_relaxed)) return false;
    *ret_at = i * READ_BYTES;
    return true;
}

static void stop(struct slv_keptread *r, int rc, const char *why) {
    pthread_mutex_lock(&r->lock);
    if (!atomic_load(&r->status)) slv_err_set(&r->err, rc, "%s", why);
    atomic_store(&r->status, rc);
    pthread_mutex_unlock(&r->lock);
}

static void read_pieces(struct slv_keptread *r) {
    struct slv_err why = {0};
    size_t at;
    while (take_piece(r, &at)) {
        size_t left = (size_t)r->from.size - at;
        int rc = slv_blocks_read(&r->from, at, left < READ_BYTES ? left : READ_BYTES, r->data + at,
                                 &why);
        if (rc) stop(r, rc, why.msg);
    }
}

static void *ahead(void *arg) {
    read_pieces(arg);
    return NULL;
}

void slv_keptread_ahead(struct slv_keptread *r) {
    r->threaded = !slv_thread_start(&r->thread, ahead, r);
}

/* A member's share of the pieces would be read in four parts, and the others wait for the last one;
 * so each takes a piece after the other, from the front. */
static size_t members(void *arg, size_t stage) {
    const struct slv_keptread *r = arg;
    (void)stage;
    return r->members;
}

static void join_in(void *arg, size_t stage, size_t from, size_t to) {
    (void)stage;
    (void)from;
    (void)to;
    read_pieces(arg);
}

static void join_ahead(struct slv_keptread *r) {
    if (r->threaded) pthread_join(r->thread, NULL);
    r->threaded = false;
}

/* Whether what stands before the tiles is what would be written. */
static int check_head(const struct slv_keptread *r, const struct slv_pack_id *id, size_t *ret_at,
                      struct slv_err *err) {
    unsigned char *want = NULL;
    size_t n = 0;
    int rc = make_head(id, r->path, &want, &n, err);
    if (rc) return rc;
    if (r->from.size < n) rc = slv_err_set(err, SLV_E_FORMAT, "%s: is cut short", r->path);
    else if (memcmp(r->data, want, n) != 0)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is of another version or layout", r->path);
    else if (r->from.size != n + id->tile_bytes)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is cut short or too long", r->path);
    slv_mem_free(want);
    *ret_at = n;
    return rc;
}

static void drop(struct slv_keptread *r) {
    if (r->data) slv_mem_unmap(r->data, (size_t)r->from.size);
    r->data = NULL;
}

int slv_keptread_finish(struct slv_keptread *r, const struct slv_pack_id *id, struct slv_team *team,
                        unsigned char **ret_tiles, struct slv_err *err) {
    const struct slv_job job = {1, members, join_in, r};
    size_t at = 0;
    r->members = slv_team_size(team);
    slv_team_run(team, &job);
    join_ahead(r);
    int rc = atomic_load(&r->status);
    if (rc) slv_err_set(err, rc, "%s", r->err.msg);
    else rc = check_head(r, id, &at, err);
    if (rc) {
        drop(r); /* they are packed again, which takes as much */
        return rc;
    }
    *ret_tiles = r->data + at;
    slv_mem_unmap(r->data, at); /* whole pages: ALIGN */
    r->data = NULL;
    if (utimensat(AT_FDCWD, r->path, NULL, 0)) { /* when it was last used: packfolder.h */
    }
    return 0;
}

void slv_keptread_close(struct slv_keptread *r) {
    if (!r) return;
    if (r->threaded) stop(r, SLV_E_CANCELLED, "not needed");
    join_ahead(r);
    drop(r);
    slv_blocks_close(&r->from);
    pthread_mutex_destroy(&r->lock);
    slv_mem_free(r->path);
    slv_mem_free(r);
}

/* --- writing ---------------------------------------------------------------------------------- */

int slv_keptwrite_open(const struct slv_keeper *k, const char *path, const struct slv_pack_id *id,
                       const unsigned char *tiles, struct slv_keptwrite *ret, struct slv_err *err) {
    struct slv_keptwrite w = {.id = id, .tiles = tiles};
    unsigned char *head = NULL;
    size_t n = 0;
    int rc = make_head(id, path, &head, &n, err);
    if (!rc) rc = k->create(k->ctx, SLV_KEPT_WEIGHTS, path, &w.file, err);
    if (!rc) rc = w.file.write(w.file.ctx, head, n, err);
    slv_mem_free(head);
    if (rc) slv_keptwrite_close(&w);
    else *ret = w;
    return rc;
}

int slv_keptwrite_step(struct slv_keptwrite *w, bool *ret_more, struct slv_err *err) {
    size_t left = w->id->tile_bytes - w->done, n = left < STEP_BYTES ? left : STEP_BYTES;
    int rc = w->file.write(w->file.ctx, w->tiles + w->done, n, err);
    if (rc) return rc;
    w->done += n;
    *ret_more = w->done < w->id->tile_bytes;
    return 0;
}

int slv_keptwrite_commit(struct slv_keptwrite *w, struct slv_err *err) {
    return w->file.commit(w->file.ctx, err);
}

void slv_keptwrite_close(struct slv_keptwrite *w) {
    slv_sink_close(&w->file);
    *w = (struct slv_keptwrite){0};
}
