/* snapshot.c: a session in a file: its tokens, and the keys and values of all layers.
 *
 * The file, all numbers little-endian (a machine of the other kind neither reads nor writes one):
 *
 *     0      header, one block of 4096 bytes: struct header, zeros, and in the last 8 bytes the
 *            checksum of the 4088 before
 *     4096   the tokens, int32 each, filled up with a zero to a multiple of 8 bytes
 *            the checksum of each page
 *            zeros up to the next multiple of 4096
 *     P      the pages as they lie in memory (kv.h): of layers that see everything, all of them in
 *            order; of layers with a window, those from block `window_first` on
 *
 * The header has a checksum of all bytes from 4096 to P; every page has its own. What lies behind
 * the last token in its page is zeros. Checksums (base/sum.h) find damage; they are no seal.
 *
 * Whether it fits is not judged by parsing it: three numbers are taken from the header, each with a
 * limit of its own (how many tokens, the first page of a window, the sums), and with them the
 * header that this session would write is compared with the one in the file. Everything is checked
 * before anything of the session changes. Keys and values are equal where the model's bytes, its
 * angles, the kind of cache, the layout of pages and the arithmetic are; the model's bytes are
 * known by their checksum, or by the stamp of its files (base/file.h); and where the session has
 * the same adapters, with the same scales and in the same order, which are known by one checksum.
 *
 * A file appears by rename of one that is whole and synced. It is written from end to end, so that
 * the same bytes can go through a model's keeper (selvage.h), which then vouches for them and for
 * the model they are of; they are read into memory, not mapped, and checked all the same.
 */
#include "base/blocks.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/sum.h"
#include "engine/session.h"

#include <string.h>

#define VERSION 2u
#define ARITHMETIC 2u /* another number whenever keys or values come out with other bits */
#define HEADER 4096u
#define BLOCK SLV_KV_BLOCK

static const char magic[8] = "SLVSTATE";

/* The header as it lies in the file. */
struct header {
    char magic[8];
    uint64_t version, arithmetic;
    uint64_t content, stamp; /* of the model; stamp 0: not known */
    uint64_t kind, is_long;
    uint64_t page_bytes[SLV_PAGE_CLASSES], block_bytes, layers;
    uint64_t n_tok, window_first;
    uint64_t meta_sum; /* of bytes [HEADER, pages_at) */
    uint64_t pages_at, file_bytes;
    uint64_t adapters; /* 0: none */
};
_Static_assert(sizeof(struct header) == 136, "no padding");

/* The parts of a file with so many tokens. */
struct parts {
    uint32_t n_blocks, n_window; /* pages of each class */
    size_t sums_at, n_meta;      /* behind the header */
};

static uint32_t blocks_of(uint64_t n) { return (uint32_t)((n + BLOCK - 1) / BLOCK); }

/* Which layers are of which class. */
static uint64_t sum_layers(const struct slv_session *s) {
    const struct slv_hparams *h = &s->m->h;
    uint64_t sum = slv_sum64(h->windowed, h->n_layer * sizeof *h->windowed, h->window);
    return slv_sum_mix(sum ^ h->n_head_kv);
}

/* The header of n_tok tokens, without what only the file knows; n_tok is within the context and
 * window_first below its blocks. False: a file of such a size cannot be. */
static bool plan(const struct slv_session *s, uint64_t n_tok, uint64_t window_first,
                 struct header *ret, struct parts *ret_parts) {
    const struct slv_kv *kv = &s->kv;
    const size_t full = kv->table[SLV_PAGE_FULL].page_bytes;
    const size_t window = kv->table[SLV_PAGE_WINDOWED].page_bytes;
    struct parts p = {.n_blocks = full ? blocks_of(n_tok) : 0};
    size_t pages, more, at, all;
    if (window) p.n_window = blocks_of(n_tok) - (uint32_t)window_first;
    p.sums_at = (size_t)(n_tok + n_tok % 2) * sizeof(int32_t);
    p.n_meta = p.sums_at + ((size_t)p.n_blocks + p.n_window) * sizeof(uint64_t);
    bool ok = slv_size_align(HEADER + p.n_meta, HEADER, &at) &&
              slv_size_mul(full, p.n_blocks, &pages) && slv_size_mul(window, p.n_window, &more) &&
              slv_size_add(at, pages, &all) && slv_size_add(all, more, &all) && all <= INT64_MAX;
    if (!ok || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) return false;
    p.n_meta = at - HEADER;
    *ret = (struct header){.version = VERSION,
                           .arithmetic = ARITHMETIC,
                           .kind = kv->type,
                           .is_long = slv_model_is_long(s->m, s->o.n_ctx),
                           .page_bytes = {full, window},
                           .block_bytes = kv->block_bytes,
                           .layers = sum_layers(s),
                           .n_tok = n_tok,
                           .window_first = window_first,
                           .pages_at = at,
                           .file_bytes = all,
                           .adapters = slv_adapter_set_content(&s->adapters)};
    memcpy(ret->magic, magic, sizeof magic);
    *ret_parts = p;
    return true;
}

static uint64_t sum_block(const unsigned char block[HEADER]) {
    return slv_sum64(block, HEADER - sizeof(uint64_t), VERSION);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* What is being written. */
struct saving {
    struct slv_session *s;
    struct header h;
    struct parts p;
    unsigned char **window; /* [blocks]: pages held meanwhile, from h.window_first on */
    unsigned char *meta, *page;
};

/* The first block from which on all pages of layers with a window are there, which are held. */
static uint32_t hold_window(struct saving *w) {
    struct slv_session *s = w->s;
    uint32_t b = blocks_of(s->kv.n_pos);
    if (!s->kv.table[SLV_PAGE_WINDOWED].page_bytes) return 0;
    slv_pool_lock(s->kv.pool);
    for (; b; b--) {
        unsigned char *page = slv_prefix_page(&s->prefix, &s->kv, SLV_PAGE_WINDOWED, b - 1);
        if (!page) break;
        slv_pool_hold(s->kv.pool, SLV_PAGE_WINDOWED, page);
        w->window[b - 1] = page;
    }
    slv_pool_unlock(s->kv.pool);
    return b;
}

static void let_window_go(struct saving *w) {
    struct slv_pool *pool = w->s->kv.pool;
    slv_pool_lock(pool);
    for (uint32_t b = 0; w->window && b < blocks_of(w->s->kv.n_pos); b++)
        if (w->window[b]) slv_pool_drop(pool, SLV_PAGE_WINDOWED, w->window[b]);
    slv_pool_unlock(pool);
}

/* Page i of the file, as it is to lie there; good until the next. */
static const unsigned char *page_of(struct saving *w, uint32_t i, size_t *ret_n) {
    const struct slv_kv *kv = &w->s->kv;
    const enum slv_page_class c = i < w->p.n_blocks ? SLV_PAGE_FULL : SLV_PAGE_WINDOWED;
    const uint32_t block = c == SLV_PAGE_FULL ? i : (uint32_t)w->h.window_first + i - w->p.n_blocks;
    const unsigned char *page = c == SLV_PAGE_FULL ? kv->table[c].page[block] : w->window[block];
    *ret_n = kv->table[c].page_bytes;
    if ((block + 1) * BLOCK <= kv->n_pos) return page;
    memcpy(w->page, page, *ret_n); /* others' words may lie behind */
    slv_kv_wipe(kv, &w->s->m->kern, c, w->page, kv->n_pos % BLOCK);
    return w->page;
}

/* What stands before the pages: their sums, and then its own. */
static void fill_head(struct saving *w, unsigned char block[HEADER]) {
    for (uint32_t i = 0; i < w->p.n_blocks + w->p.n_window; i++) {
        size_t n = 0;
        const unsigned char *page = page_of(w, i, &n);
        uint64_t sum = slv_sum64(page, n, i);
        memcpy(w->meta + w->p.sums_at + i * sizeof sum, &sum, sizeof sum);
    }
    memcpy(w->meta, w->s->history, w->s->kv.n_pos * sizeof(int32_t));
    w->h.meta_sum = slv_sum64(w->meta, w->p.n_meta, w->h.n_tok);
    memset(block, 0, HEADER);
    memcpy(block, &w->h, sizeof w->h);
    uint64_t sum = sum_block(block);
    memcpy(block + HEADER - sizeof sum, &sum, sizeof sum);
}

static int write_all(struct saving *w, struct slv_sink *f, struct slv_err *err) {
    unsigned char block[HEADER];
    fill_head(w, block);
    int rc = f->write(f->ctx, block, HEADER, err);
    if (!rc) rc = f->write(f->ctx, w->meta, w->p.n_meta, err);
    for (uint32_t i = 0; i < w->p.n_blocks + w->p.n_window && !rc; i++) {
        size_t n = 0;
        const unsigned char *page = page_of(w, i, &n);
        rc = f->write(f->ctx, page, n, err);
    }
    return rc ? rc : f->commit(f->ctx, err);
}

static int open_sink(const struct slv_model *m, const char *path, struct slv_sink *ret,
                     struct slv_err *err) {
    if (m->keeper.create) return m->keeper.create(m->keeper.ctx, SLV_KEPT_SESSION, path, ret, err);
    return slv_sink_open_file(path, ret, err);
}

static int save(struct saving *w, const char *path, struct slv_err *err) {
    struct slv_session *s = w->s;
    const struct slv_kv *kv = &s->kv;
    const size_t full = kv->table[SLV_PAGE_FULL].page_bytes;
    const size_t window = kv->table[SLV_PAGE_WINDOWED].page_bytes;
    struct slv_sink f = {0};
    w->window = slv_mem_calloc(blocks_of(kv->n_pos), sizeof *w->window);
    if (!w->window) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (!plan(s, kv->n_pos, hold_window(w), &w->h, &w->p))
        return slv_err_set(err, SLV_E_LIMIT, "%s: too large", path);
    w->h.content = slv_model_content(s->m);
    w->h.stamp = slv_gguf_stamp(s->m->gguf);
    w->meta = slv_mem_calloc(w->p.n_meta, 1);
    w->page = slv_mem_alloc(full > window ? full : window);
    if (!w->meta || !w->page) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    int rc = open_sink(s->m, path, &f, err);
    if (rc) return rc;
    rc = write_all(w, &f, err);
    slv_sink_close(&f);
    return rc;
}

/* Of a model whose bytes came from elsewhere nothing is kept but by its keeper. */
static int check_kept(const struct slv_model *m, struct slv_err *err) {
    if (!m->has_source || m->keeper.open) return 0;
    return slv_err_set(err, SLV_E_USAGE, "sessions of this model are not kept in files");
}

int slv_session_save(struct slv_session *s, const char *path, struct slv_err *err) {
    struct saving w = {.s = s};
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    if (!s->kv.n_pos) return slv_err_set(err, SLV_E_USAGE, "the session holds nothing to save");
    int rc = check_kept(s->m, err);
    if (!rc) rc = save(&w, path, err);
    let_window_go(&w);
    slv_mem_free((void *)w.window);
    slv_mem_free(w.meta);
    slv_mem_free(w.page);
    return rc;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A file whose header and tokens are right. */
struct loading {
    struct slv_map map; /* of the file, or memory of slv_mem_map with a copy of it */
    bool copied;
    struct header h;
    struct parts p;
    const unsigned char *meta, *pages;
};

/* Whether the window's pages are enough to go on from the last token. */
static bool window_is_enough(const struct slv_session *s, uint64_t n_tok, uint64_t first) {
    if (!s->kv.table[SLV_PAGE_WINDOWED].page_bytes) return first == 0;
    uint32_t sees = slv_kv_sees(&s->kv, SLV_PAGE_WINDOWED, (uint32_t)n_tok);
    return first < blocks_of(n_tok) && (sees >= n_tok || first <= sees / BLOCK);
}

/* Why the header of a file of that size is not one of this session; NULL: it is. */
static const char *judge_header(const struct slv_session *s, struct loading *l, uint64_t size) {
    const struct slv_map *m = &l->map;
    struct header have;
    uint64_t sum;
    if (m->size < HEADER) return "is cut short";
    memcpy(&have, m->data, sizeof have);
    memcpy(&sum, m->data + HEADER - sizeof sum, sizeof sum);
    if (memcmp(have.magic, magic, sizeof magic) != 0) return "is not a saved session";
    if (have.version != VERSION) return "is of another version";
    if (sum != sum_block(m->data)) return "is damaged (header)";
    if (have.arithmetic != ARITHMETIC) return "is of another version";
    if (have.adapters != slv_adapter_set_content(&s->adapters)) return "is of other adapters";
    if (have.kind != s->kv.type) return "is of another kind of KV cache";
    if (!have.n_tok || have.n_tok > s->o.n_ctx) return "has more tokens than the context";
    if (!window_is_enough(s, have.n_tok, have.window_first)) return "is of another model";
    if (!plan(s, have.n_tok, have.window_first, &l->h, &l->p)) return "is too large";
    l->h.content = have.content;
    l->h.stamp = have.stamp;
    l->h.meta_sum = have.meta_sum;
    if (memcmp(&have, &l->h, sizeof have) != 0) return "is of another model";
    return size == have.file_bytes ? NULL : "is cut short or too long";
}

static const char *judge_tokens(const struct slv_session *s, struct loading *l) {
    l->meta = l->map.data + HEADER;
    l->pages = l->map.data + l->h.pages_at;
    if (slv_sum64(l->meta, l->p.n_meta, l->h.n_tok) != l->h.meta_sum) return "is damaged (tokens)";
    for (size_t i = 0; i < l->h.n_tok; i++) {
        int32_t id;
        memcpy(&id, l->meta + i * sizeof id, sizeof id);
        if (id < 0 || (uint32_t)id >= s->m->h.n_vocab) return "is of another model";
    }
    return NULL;
}

/* The model's bytes are compared by their checksum, unless its files are known to be the same. */
static bool is_model(struct slv_session *s, const struct header *h) {
    uint64_t stamp = slv_gguf_stamp(s->m->gguf);
    bool known = stamp && stamp == h->stamp;
    if (known) atomic_store_explicit(&s->m->content, h->content, memory_order_relaxed);
    return known || slv_model_content(s->m) == h->content;
}

static const unsigned char *page_at(const struct loading *l, uint32_t i) {
    if (i < l->p.n_blocks) return l->pages + i * l->h.page_bytes[SLV_PAGE_FULL];
    return l->pages + l->p.n_blocks * l->h.page_bytes[SLV_PAGE_FULL] +
           (i - l->p.n_blocks) * l->h.page_bytes[SLV_PAGE_WINDOWED];
}

static bool pages_are_whole(const struct loading *l) {
    for (uint32_t i = 0; i < l->p.n_blocks + l->p.n_window; i++) {
        uint64_t sum;
        memcpy(&sum, l->meta + l->p.sums_at + i * sizeof sum, sizeof sum);
        size_t n = (size_t)l->h.page_bytes[i < l->p.n_blocks ? SLV_PAGE_FULL : SLV_PAGE_WINDOWED];
        if (slv_sum64(page_at(l, i), n, i) != sum) return false;
    }
    return true;
}

/* Everything has been checked: block after block, as if it had been read. */
static int put_blocks(struct slv_session *s, const struct loading *l) {
    int rc = slv_session_room(s, (uint32_t)l->h.n_tok);
    if (rc) return rc;
    rc = slv_session_rewind(s, 0);
    for (uint32_t b = 0; b < blocks_of(l->h.n_tok) && !rc; b++) {
        const unsigned char *page[SLV_PAGE_CLASSES] = {NULL};
        int32_t ids[BLOCK];
        uint64_t left = l->h.n_tok - (uint64_t)b * BLOCK;
        uint32_t n = left < BLOCK ? (uint32_t)left : BLOCK, first = (uint32_t)l->h.window_first;
        if (l->p.n_blocks) page[SLV_PAGE_FULL] = page_at(l, b);
        if (l->p.n_window && b >= first)
            page[SLV_PAGE_WINDOWED] = page_at(l, l->p.n_blocks + b - first);
        memcpy(ids, l->meta + (size_t)b * sizeof ids, n * sizeof *ids);
        rc = slv_kv_fill(&s->kv, b, page);
        if (!rc) slv_session_keep(s, ids, n);
    }
    if (!rc) return 0;
    return slv_session_back(s, 0) ? SLV_E_INTERNAL : rc;
}

/* A keeper's file, as much of it as could be right, into memory. */
static int copy_kept(const struct slv_session *s, const struct slv_blocks *b, const char *path,
                     struct loading *l, struct slv_err *err) {
    unsigned char block[HEADER];
    struct loading look = {.map = {.data = block, .size = HEADER}};
    int rc = b->size < HEADER ? 0 : slv_blocks_read(b, 0, HEADER, block, err);
    if (rc) return rc;
    const char *why = b->size < HEADER ? "is cut short" : judge_header(s, &look, b->size);
    if (why) return slv_err_set(err, SLV_E_FORMAT, "%s: %s", path, why);
    unsigned char *all = slv_mem_map(64, (size_t)b->size);
    if (!all) return slv_err_set(err, SLV_E_NOMEM, "%s: out of memory", path);
    slv_mem_hide(all, (size_t)b->size);
    l->map = (struct slv_map){.data = all, .size = (size_t)b->size};
    l->copied = true;
    return slv_blocks_read(b, 0, (size_t)b->size, all, err);
}

static int open_file(const struct slv_session *s, const char *path, struct loading *l,
                     struct slv_err *err) {
    const struct slv_keeper *k = &s->m->keeper;
    struct slv_blocks b = {0};
    if (!k->open) return slv_map_open(path, &l->map, err);
    int rc = k->open(k->ctx, SLV_KEPT_SESSION, path, &b, err);
    if (!rc) rc = copy_kept(s, &b, path, l, err);
    slv_blocks_close(&b);
    return rc;
}

static void close_file(struct loading *l) {
    if (l->copied) slv_mem_unmap((void *)(uintptr_t)l->map.data, l->map.size);
    else slv_map_close(&l->map);
}

static const char *judge(struct slv_session *s, struct loading *l) {
    const char *why = judge_header(s, l, l->map.size);
    if (!why) why = judge_tokens(s, l);
    if (!why && !pages_are_whole(l)) why = "is damaged (pages)";
    if (!why && !is_model(s, &l->h)) why = "is of another model";
    return why;
}

int slv_session_load(struct slv_session *s, const char *path, struct slv_err *err) {
    struct loading l = {.meta = NULL};
    if (s->joined) return slv_err_set(err, SLV_E_USAGE, "the session is in its batch");
    int rc = check_kept(s->m, err);
    if (!rc) rc = open_file(s, path, &l, err);
    const char *why = rc ? NULL : judge(s, &l);
    if (why) rc = slv_err_set(err, SLV_E_FORMAT, "%s: %s", path, why);
    else if (!rc) {
        rc = put_blocks(s, &l);
        if (rc) slv_err_set(err, rc, "%s: %s", path, slv_strerror(rc));
    }
    close_file(&l);
    return rc;
}
