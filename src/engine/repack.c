/* repack.c: see repack.h. */
#define _GNU_SOURCE
#include "engine/repack.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sum.h"
#include "base/thread.h"
#include "engine/packcheck.h"
#include "engine/packfile.h"
#include "engine/packfolder.h"
#include "engine/packkept.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_BYTES 8192
#define SAMPLES 16       /* matrices of which the key sees bytes */
#define SAMPLE_BYTES 256 /* of each */
#define NICE 19          /* the thread that writes takes what others leave */

struct slv_repack {
    struct slv_repack_model m;
    struct slv_model_opts opts;
    struct slv_pack_id id;
    struct slv_buf path;
    char *folder;
    void *tile; /* room for one that is packed again, or NULL */
    uint64_t content, stamp;
    struct slv_packwrite write;
    struct slv_keptwrite kept; /* in its place where there is a keeper */
    bool begun, threaded;      /* a file; a thread that writes it */
    pthread_t thread;
    _Atomic bool hand_over; /* the thread is to leave the rest to slv_repack_finish */
    bool done;
    int rc; /* of the last step, with err */
    struct slv_err err;
};

static void note(const struct slv_model_opts *o, const struct slv_err *why, const char *so) {
    struct slv_err line;
    slv_err_set(&line, why->code, "%s: %s", why->msg, so);
    if (o->note) o->note(o->note_ctx, line.msg);
    else slv_log(SLV_LOG_DEBUG, "%s", line.msg);
}

/* --- who the model is ------------------------------------------------------------------------- */

/* The way tiles lie, found by packing: two blocks of each layout in use, filled by counting. So a
 * change of it is seen whether or not anybody thinks of saying so. */
static int sum_layout(const struct slv_dtype *type, const struct slv_layout *l, uint64_t *sum) {
    size_t block = type->block > l->block ? type->block : l->block, cols = 2 * block;
    size_t row_bytes = cols / type->block * type->bytes;
    size_t n = slv_layout_bytes(l, SLV_TILE_ROWS, cols);
    unsigned char *src = slv_mem_alloc(SLV_TILE_ROWS * row_bytes);
    unsigned char *dst = slv_mem_alloc_aligned(64, n);
    int rc = src && dst ? 0 : SLV_E_NOMEM;
    if (!rc) {
        for (size_t i = 0; i < SLV_TILE_ROWS * row_bytes; i++)
            src[i] = (unsigned char)slv_sum_mix(i);
        memset(dst, 0, n);
        slv_layout_pack(l, src, row_bytes, SLV_TILE_ROWS, cols, 0, dst);
        *sum = slv_sum_mix(*sum ^ slv_sum64(dst, n, l->id));
    }
    slv_mem_free(src);
    slv_mem_free(dst);
    return rc;
}

static int sum_layouts(const struct slv_repack_model *m, uint64_t *ret) {
    bool seen[256] = {0};
    uint64_t sum = 0;
    for (size_t i = 0; i < slv_weights_count(m->h); i++) {
        const struct slv_linear *l = slv_weights_at(m->w, m->h, i);
        if (!l->mat.layout || seen[l->mat.layout->id % 256]) continue;
        seen[l->mat.layout->id % 256] = true;
        int rc = sum_layout(l->from->type, l->mat.layout, &sum);
        if (rc) return rc;
    }
    *ret = sum;
    return 0;
}

static void fill_row(const struct slv_linear *l, struct slv_pack_row *row) {
    struct slv_str name = l->from->name;
    memcpy(row->name, name.p, name.n < sizeof row->name ? name.n : sizeof row->name);
    row->layout = l->mat.layout->id;
    row->row0 = l->row0;
    row->rows = l->mat.rows;
    row->cols = l->mat.cols;
    row->at = l->at;
    row->tile_bytes = l->mat.tile_bytes;
}

/* Of the first, the last and some matrices between: bytes from the middle of each. */
static uint64_t sample(const struct slv_repack_model *m, uint64_t sum) {
    size_t n = slv_weights_count(m->h);
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct slv_linear *l = slv_weights_at(m->w, m->h, (n - 1) * i / (SAMPLES - 1));
        if (!l->mat.layout || !l->from->data) continue;
        size_t bytes = (size_t)l->from->bytes;
        size_t k = bytes < SAMPLE_BYTES ? bytes : SAMPLE_BYTES;
        sum = slv_sum64((const unsigned char *)l->from->data + (bytes - k) / 2, k, sum);
    }
    return sum;
}

static int make_id(const struct slv_repack_model *m, struct slv_pack_id *ret) {
    size_t n = slv_weights_count(m->h);
    struct slv_pack_id id = {.tile_bytes = m->w->tile_bytes};
    id.rows = slv_mem_calloc(n, sizeof *id.rows);
    int rc = id.rows ? sum_layouts(m, &id.layout) : SLV_E_NOMEM;
    if (rc) {
        slv_mem_free(id.rows);
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        const struct slv_linear *l = slv_weights_at(m->w, m->h, i);
        if (l->mat.layout) fill_row(l, &id.rows[id.n_rows++]);
    }
    id.key =
        m->keeper ? m->keeper->id : sample(m, slv_sum64(id.rows, id.n_rows * sizeof *id.rows, 0));
    *ret = id;
    return 0;
}

int slv_repack_path(const struct slv_repack_model *m, const char *folder, struct slv_buf *path) {
    struct slv_pack_id id = {0};
    int rc = make_id(m, &id);
    if (!rc) rc = slv_packfolder_path(folder, id.key, path);
    slv_mem_free(id.rows);
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether the open file's tiles were made from this source. */
static int check_source(struct slv_repack *r, struct slv_team *team, struct slv_packfile *f) {
    if (r->stamp && f->stamp == r->stamp) return 0;
    if (slv_weights_sum(r->m.w, r->m.h, team, &r->opts) != f->content)
        return slv_err_set(&r->err, SLV_E_FORMAT, "%s: is of another model", r->path.data);
    if (r->stamp) slv_packfile_stamp(f, r->path.data, r->stamp);
    return 0;
}

static void pack_again(void *ctx, size_t from, size_t to) {
    struct slv_repack *r = ctx;
    slv_weights_mend(r->m.w, r->m.h, from, to, r->tile);
}

/* Its tiles become the weights', each piece to be checked when it is first used. */
static int take_tiles(struct slv_repack *r, struct slv_packfile *f) {
    unsigned char *tiles = f->tiles;
    struct slv_packcheck *check = NULL;
    r->content = f->content;
    r->tile = slv_mem_alloc_aligned(64, slv_weights_tile_max(r->m.w, r->m.h));
    int rc = r->tile ? slv_packcheck_new(f, pack_again, r, &check) : SLV_E_NOMEM;
    if (rc) return slv_err_set(&r->err, rc, "%s: out of memory", r->path.data);
    slv_weights_adopt(r->m.w, r->m.h, tiles, check);
    return 0;
}

/* The same of a keeper's file: its tiles are read, and right, or there are none. */
static int load_kept(struct slv_repack *r, struct slv_team *team) {
    struct slv_keptread *own = NULL, *k = r->m.early;
    unsigned char *tiles = NULL;
    int rc = k ? 0 : slv_keptread_open(r->m.keeper, r->path.data, &own, &r->err);
    if (!rc) rc = slv_keptread_finish(k ? k : own, &r->id, team, &tiles, &r->err);
    if (!rc) slv_weights_adopt(r->m.w, r->m.h, tiles, NULL);
    slv_keptread_close(own);
    return rc;
}

struct slv_keptread *slv_repack_early(const struct slv_model_opts *o) {
    struct slv_keptread *r = NULL;
    struct slv_buf path;
    struct slv_err why; /* is found again, and told, by who needs the file */
    if (!o->keeper || !o->packed || o->inspect) return NULL;
    slv_buf_init(&path, PATH_BYTES);
    int rc = slv_packfolder_path(o->packed, o->keeper->id, &path);
    if (!rc) rc = slv_keptread_open(o->keeper, path.data, &r, &why);
    if (!rc) slv_keptread_ahead(r);
    slv_buf_fini(&path);
    return r;
}

static int load_plain(struct slv_repack *r, struct slv_team *team) {
    struct slv_packfile f = {.fd = -1};
    int rc = slv_packfile_open(r->path.data, &r->id, &f, &r->err);
    if (!rc) rc = check_source(r, team, &f);
    if (!rc) slv_packfile_touch(&f);
    if (!rc) rc = take_tiles(r, &f);
    slv_packfile_close(&f);
    return rc;
}

/* Tiles from the file; false: there is none that can be used. */
static bool load_file(struct slv_repack *r, struct slv_team *team) {
    int rc = r->m.keeper ? load_kept(r, team) : load_plain(r, team);
    if (!rc) return true;
    if (rc != SLV_E_NOENT) {
        note(&r->opts, &r->err, "packed again");
        unlink(r->path.data);
    }
    return false;
}

/* --- writing ---------------------------------------------------------------------------------- */

static size_t written(const struct slv_repack *r) {
    return r->m.keeper ? r->kept.done : r->write.done;
}

/* Writes until it is done or the callback or the other thread wants it to end. */
static void write_some(struct slv_repack *r, bool closing) {
    bool more = true;
    while (!r->rc && more) {
        if (!closing && atomic_load(&r->hand_over)) return;
        const struct slv_model_opts *o = &r->opts;
        if (closing && o->keeping && !o->keeping(o->note_ctx, written(r), r->id.tile_bytes)) {
            r->rc = SLV_E_CANCELLED;
            return;
        }
        r->rc = r->m.keeper ? slv_keptwrite_step(&r->kept, &more, &r->err)
                            : slv_packwrite_step(&r->write, &more, &r->err);
    }
    if (!r->rc)
        r->rc = r->m.keeper ? slv_keptwrite_commit(&r->kept, &r->err)
                            : slv_packwrite_commit(&r->write, &r->err);
    r->done = true;
}

static void *writer(void *arg) {
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE)) { /* only a wish */
    }
    write_some(arg, false);
    return NULL;
}

static void begin_file(struct slv_repack *r) {
    r->rc = slv_packfolder_make_room(r->folder, r->path.data, slv_packfile_bytes(&r->id),
                                     r->opts.packed_max, &r->err);
    if (!r->rc && r->m.keeper)
        r->rc =
            slv_keptwrite_open(r->m.keeper, r->path.data, &r->id, r->m.w->tiles, &r->kept, &r->err);
    else if (!r->rc)
        r->rc = slv_packwrite_open(r->path.data, &r->id, r->m.w->tiles, r->content, r->stamp,
                                   &r->write, &r->err);
    r->begun = !r->rc;
}

static void start_writing(struct slv_repack *r) {
    begin_file(r);
    if (r->begun) r->threaded = !slv_thread_start(&r->thread, writer, r);
}

/* A file of which a piece was bad: the tiles in memory are right again and go into another. */
static void replace_file(struct slv_repack *r) {
    struct slv_packcheck *c = r->m.w->check;
    if (!c || !slv_packcheck_bad(c)) return;
    slv_err_set(&r->err, SLV_E_FORMAT, "%s: is damaged (tiles)", r->path.data);
    note(&r->opts, &r->err, "packed again");
    unlink(r->path.data);
    if (slv_packcheck_need(c, 0, r->id.tile_bytes)) begin_file(r);
}

static void repack_free(struct slv_repack *r) {
    if (!r) return;
    slv_buf_fini(&r->path);
    slv_mem_free(r->folder);
    slv_mem_free(r->tile);
    slv_mem_free(r->id.rows);
    slv_mem_free(r);
}

void slv_repack_finish(struct slv_repack *r) {
    if (!r) return;
    replace_file(r);
    atomic_store(&r->hand_over, true);
    if (r->threaded) pthread_join(r->thread, NULL);
    if (r->begun && !r->done && !r->rc) write_some(r, true);
    if (r->begun && r->m.keeper) slv_keptwrite_close(&r->kept);
    else if (r->begun) slv_packwrite_close(&r->write);
    /* Somebody else writes it, or it is more than the folder may hold: nobody's fault. */
    bool quiet = r->rc == SLV_E_CANCELLED || r->rc == SLV_E_BUSY || r->rc == SLV_E_FIT;
    if (r->rc && !quiet) note(&r->opts, &r->err, "the packed weights are not kept");
    repack_free(r);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int new_repack(const struct slv_repack_model *m, const struct slv_model_opts *o,
                      struct slv_repack **ret) {
    struct slv_repack *r = slv_mem_calloc(1, sizeof *r);
    if (!r) return SLV_E_NOMEM;
    r->m = *m;
    r->opts = *o;
    r->write.file.fd = -1;
    slv_buf_init(&r->path, PATH_BYTES);
    r->folder = slv_mem_strndup(o->packed, strlen(o->packed));
    int rc = r->folder ? make_id(m, &r->id) : SLV_E_NOMEM;
    if (!rc) rc = slv_packfolder_path(r->folder, r->id.key, &r->path);
    r->opts.packed = r->folder;
    r->stamp = slv_gguf_stamp(m->gguf);
    if (rc) repack_free(r);
    else *ret = r;
    return rc;
}

int slv_repack_open(const struct slv_repack_model *m, struct slv_team *team,
                    const struct slv_model_opts *opts, bool *ret_cached, struct slv_repack **ret,
                    struct slv_err *err) {
    struct slv_repack *r = NULL;
    *ret_cached = false;
    *ret = NULL;
    if (!opts->packed || (!m->keeper && !slv_gguf_is_file(m->gguf))) return 0;
    int rc = new_repack(m, opts, &r);
    if (rc) return slv_err_set(err, rc, "packed weights: %s", slv_strerror(rc));
    if (slv_packfolder_make(r->folder, &r->err)) {
        note(opts, &r->err, "packed weights are not kept");
        repack_free(r);
        return 0;
    }
    *ret_cached = load_file(r, team);
    if (*ret_cached && m->w->check && slv_team_size(team) > 1) slv_packcheck_ahead(m->w->check);
    *ret = r;
    return 0;
}

int slv_repack_pack(const struct slv_repack_model *m, struct slv_team *team,
                    const struct slv_model_opts *opts, struct slv_repack *r, struct slv_err *err) {
    int rc = slv_weights_pack(m->w, m->h, team, opts, r && !m->keeper ? &r->content : NULL, err);
    if (!rc && r) start_writing(r);
    return rc;
}
