/* packkept.c: see packkept.h. */
#define _GNU_SOURCE
#include "engine/packkept.h"
#include "base/mem.h"

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

struct reading {
    const struct slv_blocks *from;
    unsigned char *tiles;
    size_t at, n, members;
    _Atomic size_t next;  /* piece of READ_BYTES that nobody has taken yet */
    pthread_mutex_t lock; /* of err */
    _Atomic int status;
    struct slv_err *err;
};

/* A member's share of the pieces would be read in four parts, and the others wait for the last one;
 * so each takes a piece after the other, from the front. */
static size_t members(void *arg, size_t stage) {
    const struct reading *r = arg;
    (void)stage;
    return r->members;
}

static bool take_piece(struct reading *r, size_t *ret_at) {
    size_t n = (r->n + READ_BYTES - 1) / READ_BYTES;
    size_t i = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
    if (i >= n || atomic_load_explicit(&r->status, memory_order_relaxed)) return false;
    *ret_at = i * READ_BYTES;
    return true;
}

static void read_pieces(void *arg, size_t stage, size_t from, size_t to) {
    struct reading *r = arg;
    struct slv_err why = {0};
    size_t at;
    (void)stage;
    (void)from;
    (void)to;
    while (take_piece(r, &at)) {
        size_t left = r->n - at;
        int rc = slv_blocks_read(r->from, r->at + at, left < READ_BYTES ? left : READ_BYTES,
                                 r->tiles + at, &why);
        if (!rc) continue;
        pthread_mutex_lock(&r->lock);
        if (!atomic_load(&r->status)) slv_err_set(r->err, rc, "%s", why.msg);
        atomic_store(&r->status, rc);
        pthread_mutex_unlock(&r->lock);
    }
}

/* Whether what stands before the tiles is what would be written. */
static int check_head(const struct slv_blocks *b, const char *path, const struct slv_pack_id *id,
                      size_t *ret_at, struct slv_err *err) {
    unsigned char *want = NULL;
    size_t n = 0;
    int rc = make_head(id, path, &want, &n, err);
    if (rc) return rc;
    unsigned char *have = slv_mem_alloc(n);
    if (!have) rc = slv_err_set(err, SLV_E_NOMEM, "out of memory");
    else if (b->size < n) rc = slv_err_set(err, SLV_E_FORMAT, "%s: is cut short", path);
    else rc = slv_blocks_read(b, 0, n, have, err);
    if (!rc && memcmp(have, want, n) != 0)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is of another version or layout", path);
    if (!rc && b->size != n + id->tile_bytes)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: is cut short or too long", path);
    slv_mem_free(have);
    slv_mem_free(want);
    *ret_at = n;
    return rc;
}

int slv_packkept_read(const struct slv_keeper *k, const char *path, const struct slv_pack_id *id,
                      unsigned char *tiles, struct slv_team *team, struct slv_err *err) {
    struct slv_blocks b = {0};
    int rc = k->open(k->ctx, SLV_KEPT_WEIGHTS, path, &b, err);
    if (rc) return rc;
    struct reading r = {.from = &b,
                        .tiles = tiles,
                        .n = id->tile_bytes,
                        .members = slv_team_size(team),
                        .err = err};
    rc = check_head(&b, path, id, &r.at, err);
    if (!rc) {
        const struct slv_job job = {1, members, read_pieces, &r};
        pthread_mutex_init(&r.lock, NULL);
        slv_team_run(team, &job);
        pthread_mutex_destroy(&r.lock);
        rc = atomic_load(&r.status);
    }
    slv_blocks_close(&b);
    if (!rc && utimensat(AT_FDCWD, path, NULL, 0)) { /* when it was last used: packfolder.h */
    }
    return rc;
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
