/* weights_pack.c: matrices into tiles, from a mapping or from a source, and a source's tables into
 * memory. See weights.h. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "base/sum.h"
#include "engine/packcheck.h"
#include "engine/weights.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DROP_BYTES ((size_t)1 << 20) /* of a file's pages held while packing, by each thread */
#define READ_BYTES ((size_t)1 << 20) /* of a source, likewise */

/* What the threads of a job have met: the first error stays. */
struct trouble {
    pthread_mutex_t lock;
    _Atomic int status;
    struct slv_err *err;
};

static void met(struct trouble *t, int rc, const struct slv_err *why) {
    pthread_mutex_lock(&t->lock);
    if (!atomic_load(&t->status)) {
        slv_err_set(t->err, rc, "%s", why->msg);
        atomic_store(&t->status, rc);
    }
    pthread_mutex_unlock(&t->lock);
}

/* Bytes of the source; false: one of the threads has met an error. */
static bool take(struct trouble *t, const struct slv_blocks *from, uint64_t at, size_t n, void *p) {
    struct slv_err why = {0};
    if (atomic_load_explicit(&t->status, memory_order_relaxed)) return false;
    int rc = slv_blocks_read(from, at, n, p, &why);
    if (rc) met(t, rc, &why);
    return !rc;
}

struct packing {
    struct slv_weights *w;
    const struct slv_hparams *h;
    size_t page;
    bool pack, sum;                    /* what to do with the source */
    const struct slv_model_opts *opts; /* progress */
    _Atomic uint64_t done;             /* bytes of tiles */
    _Atomic uint64_t total;            /* sum of the tiles' sums */
    pthread_t caller;
    unsigned char *raw; /* [members][raw_bytes] of a source, or NULL */
    size_t raw_bytes;
    struct trouble trouble;
};

static void tell(struct packing *p, uint64_t bytes) {
    uint64_t done = atomic_fetch_add_explicit(&p->done, bytes, memory_order_relaxed) + bytes;
    if (p->opts->progress && pthread_equal(pthread_self(), p->caller))
        p->opts->progress(p->opts->progress_ctx, done, p->w->tile_bytes);
}

static size_t tiles_to_pack(void *arg, size_t stage) {
    const struct packing *p = arg;
    const struct slv_linear *l = slv_weights_at(p->w, p->h, stage);
    return l->mat.layout ? (l->mat.rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS : 0;
}

/* Lets whole pages of what has been read go; they can be read again from the file. */
static void drop_pages(const unsigned char *from, const unsigned char *to, size_t page) {
    uintptr_t a = ((uintptr_t)from + page - 1) / page * page, b = (uintptr_t)to / page * page;
    if (b > a && madvise((void *)a, b - a, MADV_DONTNEED)) { /* only a hint */
    }
}

static void pack_tile(const struct slv_linear *l, size_t i, void *dst) {
    const size_t row_bytes = (size_t)(l->from->bytes / l->from->ne[1]);
    const unsigned char *src = (const unsigned char *)l->from->data + l->row0 * row_bytes;
    slv_layout_pack(l->mat.layout, src, row_bytes, l->mat.rows, l->mat.cols, i, dst);
}

static void pack_tiles(void *arg, size_t stage, size_t t0, size_t t1) {
    struct packing *p = arg;
    const struct slv_linear *l = slv_weights_at(p->w, p->h, stage);
    size_t row_bytes = (size_t)(l->from->bytes / l->from->ne[1]), rows = l->mat.rows;
    const unsigned char *src = (const unsigned char *)l->from->data + l->row0 * row_bytes;
    size_t dropped = t0 * SLV_TILE_ROWS, told = t0;
    uint64_t sum = 0;
    for (size_t i = t0; i < t1; i++) {
        size_t first = i * SLV_TILE_ROWS;
        size_t read = first + SLV_TILE_ROWS < rows ? first + SLV_TILE_ROWS : rows;
        if (p->sum) /* of any order of tiles, because each one's seed says where it belongs */
            sum += slv_sum64(src + first * row_bytes, (read - first) * row_bytes,
                             slv_sum_mix(stage) + i);
        if (p->pack) pack_tile(l, i, p->w->tiles + l->at + i * l->mat.tile_bytes);
        if (i + 1 < t1 && (read - dropped) * row_bytes < DROP_BYTES) continue;
        drop_pages(src + dropped * row_bytes, src + read * row_bytes, p->page);
        tell(p, (i + 1 - told) * l->mat.tile_bytes);
        told = i + 1;
        dropped = read;
    }
    atomic_fetch_add_explicit(&p->total, sum, memory_order_relaxed);
}

/* The same from a source, some tiles' rows at a time. */
static void pack_read(void *arg, size_t stage, size_t t0, size_t t1) {
    struct packing *p = arg;
    const struct slv_linear *l = slv_weights_at(p->w, p->h, stage);
    const size_t row_bytes = (size_t)(l->from->bytes / l->from->ne[1]), rows = l->mat.rows;
    unsigned char *raw = p->raw + slv_team_member() * p->raw_bytes;
    const size_t step = p->raw_bytes / (SLV_TILE_ROWS * row_bytes);
    for (size_t t = t0; t < t1; t += step) {
        size_t end = t1 - t < step ? t1 : t + step, first = t * SLV_TILE_ROWS;
        size_t n = (end * SLV_TILE_ROWS < rows ? end * SLV_TILE_ROWS : rows) - first;
        uint64_t at = l->from->offset + (l->row0 + first) * row_bytes;
        if (!take(&p->trouble, p->w->source, at, n * row_bytes, raw)) return;
        for (size_t i = t; i < end; i++)
            slv_layout_pack(l->mat.layout, raw, row_bytes, n, l->mat.cols, i - t,
                            p->w->tiles + l->at + i * l->mat.tile_bytes);
        tell(p, (end - t) * l->mat.tile_bytes);
    }
}

/* Room for READ_BYTES, and a tile's rows at least, for each member of the team. */
static int raw_room(struct packing *p, struct slv_team *team, struct slv_err *err) {
    size_t all, most = READ_BYTES;
    for (size_t i = 0; i < slv_weights_count(p->h); i++) {
        const struct slv_linear *l = slv_weights_at(p->w, p->h, i);
        if (!l->mat.layout) continue;
        size_t bytes = SLV_TILE_ROWS * (size_t)(l->from->bytes / l->from->ne[1]);
        if (bytes > most) most = bytes;
    }
    p->raw_bytes = most;
    p->raw = slv_size_mul(most, slv_team_size(team), &all) ? slv_mem_map(64, all) : NULL;
    if (!p->raw) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    slv_mem_hide(p->raw, all);
    return 0;
}

static uint64_t run_packing(struct packing *p, struct slv_team *team) {
    p->page = (size_t)sysconf(_SC_PAGESIZE);
    p->caller = pthread_self();
    const struct slv_job job = {slv_weights_count(p->h), tiles_to_pack,
                                p->w->source ? pack_read : pack_tiles, p};
    slv_team_run(team, &job);
    return atomic_load(&p->total);
}

void slv_weights_adopt(struct slv_weights *w, const struct slv_hparams *h, void *tiles,
                       struct slv_packcheck *check) {
    w->tiles = tiles;
    w->check = check;
    for (size_t i = 0; i < slv_weights_count(h); i++) {
        struct slv_linear *l = slv_weights_at(w, h, i);
        if (l->mat.layout) l->mat.tiles = w->tiles + l->at;
    }
}

size_t slv_weights_tile_max(struct slv_weights *w, const struct slv_hparams *h) {
    size_t most = 0;
    for (size_t i = 0; i < slv_weights_count(h); i++) {
        const struct slv_linear *l = slv_weights_at(w, h, i);
        if (l->mat.layout && l->mat.tile_bytes > most) most = l->mat.tile_bytes;
    }
    return most;
}

void slv_weights_mend(struct slv_weights *w, const struct slv_hparams *h, size_t from, size_t to,
                      void *tile) {
    for (size_t k = 0; k < slv_weights_count(h); k++) {
        const struct slv_linear *l = slv_weights_at(w, h, k);
        const size_t bytes = l->mat.tile_bytes;
        const size_t end = l->at + (l->mat.rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS * bytes;
        if (!l->mat.layout || l->at >= to || end <= from) continue;
        for (size_t at = from > l->at ? from - (from - l->at) % bytes : l->at; at < to && at < end;
             at += bytes) {
            const size_t a = at > from ? at : from, b = at + bytes < to ? at + bytes : to;
            memset(tile, 0, bytes);
            pack_tile(l, (at - l->at) / bytes, tile);
            memcpy(w->tiles + a, (unsigned char *)tile + (a - at), b - a);
        }
    }
}

bool slv_weights_ready(const struct slv_weights *w, const struct slv_linear *l, size_t t0,
                       size_t t1) {
    const size_t bytes = l->mat.tile_bytes;
    return !w->check || slv_packcheck_need(w->check, l->at + t0 * bytes, l->at + t1 * bytes);
}

int slv_weights_room(struct slv_weights *w, struct slv_err *err) {
    void *p = mmap(NULL, w->tile_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return slv_err_set(err, SLV_E_NOMEM, "no memory for %zu bytes of weights", w->tile_bytes);
    if (madvise(p, w->tile_bytes, MADV_HUGEPAGE)) { /* only a hint */
    }
    if (w->source) slv_mem_hide(p, w->tile_bytes);
    w->tiles = p;
    return 0;
}

void slv_weights_drop(struct slv_weights *w) {
    if (w->tiles && !w->check) munmap(w->tiles, w->tile_bytes);
    w->tiles = NULL;
}

static int pack_source(struct packing *p, struct slv_team *team, struct slv_err *err) {
    p->trouble.err = err;
    int rc = raw_room(p, team, err);
    if (rc) return rc;
    pthread_mutex_init(&p->trouble.lock, NULL);
    run_packing(p, team);
    pthread_mutex_destroy(&p->trouble.lock);
    slv_mem_unmap(p->raw, p->raw_bytes * slv_team_size(team));
    return atomic_load(&p->trouble.status);
}

int slv_weights_pack(struct slv_weights *w, const struct slv_hparams *h, struct slv_team *team,
                     const struct slv_model_opts *opts, uint64_t *ret_sum, struct slv_err *err) {
    int rc = slv_weights_room(w, err);
    if (rc) return rc;
    slv_weights_adopt(w, h, w->tiles, NULL);
    struct packing packing = {.w = w, .h = h, .pack = true, .sum = ret_sum, .opts = opts};
    if (w->source) {
        rc = pack_source(&packing, team, err);
        if (rc) return rc;
    } else {
        uint64_t sum = run_packing(&packing, team);
        if (ret_sum) *ret_sum = sum;
    }
    if (opts->progress) opts->progress(opts->progress_ctx, w->tile_bytes, w->tile_bytes);
    return 0;
}

/* --- tables of a source ----------------------------------------------------------------------- */

struct tables {
    struct slv_weights *w;
    const struct slv_table *todo[3];
    size_t n;
    struct trouble trouble;
};

static size_t pieces_to_read(void *arg, size_t stage) {
    const struct tables *t = arg;
    return ((size_t)t->todo[stage]->from->bytes + READ_BYTES - 1) / READ_BYTES;
}

static void read_pieces(void *arg, size_t stage, size_t from, size_t to) {
    struct tables *t = arg;
    const struct slv_table *table = t->todo[stage];
    for (size_t at = from * READ_BYTES; at < to * READ_BYTES && at < table->from->bytes;
         at += READ_BYTES) {
        size_t left = (size_t)table->from->bytes - at, n = left < READ_BYTES ? left : READ_BYTES;
        unsigned char *p = (unsigned char *)(uintptr_t)table->data + at;
        if (!take(&t->trouble, t->w->source, table->from->offset + at, n, p)) return;
    }
}

int slv_weights_read(struct slv_weights *w, struct slv_team *team, struct slv_err *err) {
    struct slv_table *const all[] = {&w->embd, &w->pos_embd, &w->types};
    struct tables t = {.w = w, .trouble.err = err};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i]->from || all[i]->from == w->out.from) continue;
        const size_t bytes = (size_t)all[i]->from->bytes;
        void *p = slv_mem_map(64, bytes);
        if (!p) return slv_err_set(err, SLV_E_NOMEM, "no memory for a table of %zu bytes", bytes);
        slv_mem_hide(p, bytes);
        all[i]->data = p;
        t.todo[t.n++] = all[i];
    }
    const struct slv_job job = {t.n, pieces_to_read, read_pieces, &t};
    pthread_mutex_init(&t.trouble.lock, NULL);
    slv_team_run(team, &job);
    pthread_mutex_destroy(&t.trouble.lock);
    return atomic_load(&t.trouble.status);
}

uint64_t slv_weights_sum(struct slv_weights *w, const struct slv_hparams *h, struct slv_team *team,
                         const struct slv_model_opts *opts) {
    struct packing packing = {.w = w, .h = h, .sum = true, .opts = opts};
    return run_packing(&packing, team);
}
