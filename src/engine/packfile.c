/* packfile.c: see packfile.h. */
#define _GNU_SOURCE
#include "engine/packfile.h"
#include "base/mem.h"
#include "base/sum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER 4096u
#define ALIGN ((size_t)2 << 20) /* of the tiles, in the file and in memory */
#define WRITE_BYTES ((size_t)4 << 20)
#define STEP_BYTES ((size_t)32 << 20)

static const char magic[8] = "SLVTILES";

/* The header as it lies in the file. */
struct header {
    char magic[8];
    uint64_t version, layout;
    uint64_t key, content, stamp;
    uint64_t n_rows, tile_bytes, piece_bytes, tiles_at, file_bytes;
    uint64_t meta_sum; /* of bytes [HEADER, tiles_at) */
};
_Static_assert(sizeof(struct header) == 96, "no padding");
_Static_assert(sizeof(struct slv_pack_row) == 144, "no padding");

static int os_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, errno == ENOENT ? SLV_E_NOENT : SLV_E_IO, "%s: %s", path,
                       strerror(errno));
}

static size_t pieces_of(size_t bytes) { return (bytes + SLV_PACK_PIECE - 1) / SLV_PACK_PIECE; }

/* What a file of these tiles begins with, without sums; false where it does not fit in a size_t. */
static bool plan_header(const struct slv_pack_id *id, struct header *ret) {
    size_t rows, sums, meta, at, all;
    bool ok = slv_size_mul(id->n_rows, sizeof *id->rows, &rows) &&
              slv_size_mul(pieces_of(id->tile_bytes), sizeof(uint64_t), &sums) &&
              slv_size_add(rows, sums, &meta) && slv_size_add(meta, HEADER, &meta) &&
              slv_size_align(meta, ALIGN, &at) && slv_size_add(at, id->tile_bytes, &all) &&
              all <= INT64_MAX && id->tile_bytes;
    if (!ok || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) return false;
    *ret = (struct header){.version = SLV_PACK_VERSION,
                           .layout = id->layout,
                           .key = id->key,
                           .n_rows = id->n_rows,
                           .tile_bytes = id->tile_bytes,
                           .piece_bytes = SLV_PACK_PIECE,
                           .tiles_at = at,
                           .file_bytes = all};
    memcpy(ret->magic, magic, sizeof magic);
    return true;
}

/* Header, rows and sums: no overflow where plan_header was true. */
static size_t meta_bytes(const struct slv_pack_id *id) {
    return HEADER + id->n_rows * sizeof *id->rows + pieces_of(id->tile_bytes) * sizeof(uint64_t);
}

uint64_t slv_packfile_bytes(const struct slv_pack_id *id) {
    struct header h;
    return plan_header(id, &h) ? meta_bytes(id) + id->tile_bytes : UINT64_MAX;
}

/* One block of HEADER bytes with its checksum at the end. */
static void seal_header(const struct header *h, unsigned char block[HEADER]) {
    memset(block, 0, HEADER);
    memcpy(block, h, sizeof *h);
    uint64_t sum = slv_sum64(block, HEADER - sizeof sum, SLV_PACK_VERSION);
    memcpy(block + HEADER - sizeof sum, &sum, sizeof sum);
}

static bool header_is_whole(const unsigned char block[HEADER]) {
    uint64_t sum;
    memcpy(&sum, block + HEADER - sizeof sum, sizeof sum);
    return sum == slv_sum64(block, HEADER - sizeof sum, SLV_PACK_VERSION);
}

static uint64_t piece_sum(const unsigned char *tiles, size_t tile_bytes, size_t i) {
    size_t from = i * SLV_PACK_PIECE, left = tile_bytes - from;
    return slv_sum64(tiles + from, left < SLV_PACK_PIECE ? left : SLV_PACK_PIECE, i);
}

static bool read_at(int fd, void *p, size_t n, size_t at) {
    unsigned char *to = p;
    while (n) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        at += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

static bool write_at(int fd, const void *p, size_t n, size_t at) {
    const unsigned char *from = p;
    while (n) {
        ssize_t put = pwrite(fd, from, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        from += put;
        at += (size_t)put;
        n -= (size_t)put;
    }
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Why the header in the file is not the one that is wanted; NULL: it is, but for what only the file
 * knows, which is filled in. */
static const char *judge_header(int fd, uint64_t size, struct header *want) {
    unsigned char block[HEADER];
    struct header have;
    if (!read_at(fd, block, HEADER, 0)) return "is cut short";
    if (!header_is_whole(block) && (flock(fd, LOCK_SH) || !read_at(fd, block, HEADER, 0)))
        return "cannot be read";
    memcpy(&have, block, sizeof have);
    if (memcmp(have.magic, magic, sizeof magic) != 0) return "is damaged (header)";
    if (have.version != SLV_PACK_VERSION) return "is of another version";
    if (!header_is_whole(block)) return "is damaged (header)";
    if (have.layout != want->layout) return "is of another layout";
    want->content = have.content;
    want->stamp = have.stamp;
    want->meta_sum = have.meta_sum;
    if (memcmp(&have, want, sizeof have) != 0) return "is of another model";
    return size == want->file_bytes ? NULL : "is cut short or too long";
}

/* Rows and sums. */
static int read_meta(struct slv_packfile *f, const struct header *h, const char **ret_why) {
    size_t n = (size_t)h->tiles_at - HEADER, rows = f->id->n_rows * sizeof *f->id->rows;
    unsigned char *meta = slv_mem_alloc(n);
    f->n_pieces = pieces_of(f->id->tile_bytes);
    f->sums = slv_mem_calloc(f->n_pieces, sizeof *f->sums);
    if (!meta || !f->sums) {
        slv_mem_free(meta);
        return SLV_E_NOMEM;
    }
    if (!read_at(f->fd, meta, n, HEADER)) *ret_why = "cannot be read";
    else if (slv_sum64(meta, n, f->id->key) != h->meta_sum) *ret_why = "is damaged (table)";
    else if (memcmp(meta, f->id->rows, rows) != 0) *ret_why = "is of another model";
    else memcpy(f->sums, meta + rows, f->n_pieces * sizeof *f->sums);
    slv_mem_free(meta);
    return *ret_why ? SLV_E_FORMAT : 0;
}

/* Maps the tiles where huge pages can begin. */
static int map_tiles(struct slv_packfile *f, size_t at) {
    size_t n = f->id->tile_bytes, room, page = (size_t)sysconf(_SC_PAGESIZE), end;
    if (!slv_size_align(n, page, &end) || !slv_size_add(end, ALIGN, &room)) return SLV_E_NOMEM;
    unsigned char *all = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return SLV_E_NOMEM;
    size_t before = (ALIGN - (uintptr_t)all % ALIGN) % ALIGN;
    unsigned char *p = all + before;
    bool ok = mmap(p, n, PROT_READ, MAP_PRIVATE | MAP_FIXED, f->fd, (off_t)at) != MAP_FAILED;
    if (!ok) {
        munmap(all, room);
        return SLV_E_NOMEM;
    }
    if (before) munmap(all, before);
    if (room - before > end) munmap(p + end, room - before - end);
    if (madvise(p, n, MADV_HUGEPAGE)) { /* only a hint */
    }
    f->tiles = p;
    f->tile_bytes = n;
    return 0;
}

static int open_checked(const char *path, struct slv_packfile *f, struct slv_err *err) {
    struct header h;
    struct stat st;
    const char *why = NULL;
    if (!plan_header(f->id, &h)) return slv_err_set(err, SLV_E_LIMIT, "%s: too large", path);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st)) return os_error(path, err);
    why = slv_file_foreign(&st);
    if (why) return slv_err_set(err, SLV_E_TRUST, "%s: %s", path, why);
    int rc = 0;
    why = judge_header(f->fd, (uint64_t)st.st_size, &h);
    if (!why) rc = read_meta(f, &h, &why);
    if (why) return slv_err_set(err, SLV_E_FORMAT, "%s: %s", path, why);
    if (!rc) rc = map_tiles(f, (size_t)h.tiles_at);
    if (rc) return slv_err_set(err, rc, "%s: out of memory", path);
    f->content = h.content;
    f->stamp = h.stamp;
    return 0;
}

int slv_packfile_open(const char *path, const struct slv_pack_id *id, struct slv_packfile *ret,
                      struct slv_err *err) {
    struct slv_packfile f = {.fd = -1, .id = id};
    int rc = open_checked(path, &f, err);
    if (rc) slv_packfile_close(&f);
    else *ret = f;
    return rc;
}

bool slv_packfile_check(const struct slv_packfile *f, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        if (piece_sum(f->tiles, f->tile_bytes, i) != f->sums[i]) return false;
    return true;
}

/* The descriptor that is mapped is for reading only: a second one is opened, on the same file. */
void slv_packfile_stamp(struct slv_packfile *f, const char *path, uint64_t stamp) {
    unsigned char block[HEADER];
    struct header h;
    struct stat a, b;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return;
    bool ok = !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &a) && !fstat(f->fd, &b) &&
              a.st_dev == b.st_dev && a.st_ino == b.st_ino && read_at(fd, block, HEADER, 0) &&
              header_is_whole(block);
    if (ok) {
        memcpy(&h, block, sizeof h);
        h.stamp = stamp;
        seal_header(&h, block);
        if (write_at(fd, block, HEADER, 0)) f->stamp = stamp;
    }
    close(fd);
}

void slv_packfile_touch(const struct slv_packfile *f) {
    if (futimens(f->fd, NULL)) { /* a folder that cannot be written: nothing is dropped from it */
    }
}

void slv_packfile_close(struct slv_packfile *f) {
    if (f->tiles) munmap(f->tiles, f->tile_bytes);
    if (f->fd >= 0) close(f->fd);
    slv_mem_free(f->sums);
    *f = (struct slv_packfile){.fd = -1};
}

/* --- writing ---------------------------------------------------------------------------------- */

int slv_packwrite_open(const char *path, const struct slv_pack_id *id, const unsigned char *tiles,
                       uint64_t content, uint64_t stamp, struct slv_packwrite *ret,
                       struct slv_err *err) {
    struct slv_packwrite w = {
        .id = id, .tiles = tiles, .content = content, .stamp = stamp, .file = {.fd = -1}};
    struct header h;
    if (!plan_header(id, &h)) return slv_err_set(err, SLV_E_LIMIT, "%s: too large", path);
    w.head_bytes = (size_t)h.tiles_at;
    w.head = slv_mem_calloc(w.head_bytes, 1);
    if (!w.head) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    memcpy(w.head, &h, sizeof h);
    memcpy(w.head + HEADER, id->rows, id->n_rows * sizeof *id->rows);
    int rc = slv_newfile_open(path, &w.file, err);
    if (rc) slv_packwrite_close(&w);
    else *ret = w;
    return rc;
}

/* Some of the tiles, and their sums into the head. */
static int write_tiles(struct slv_packwrite *w, size_t n, struct slv_err *err) {
    unsigned char *sums = w->head + HEADER + w->id->n_rows * sizeof *w->id->rows;
    for (size_t i = w->done / SLV_PACK_PIECE; i < pieces_of(w->done + n); i++) {
        uint64_t sum = piece_sum(w->tiles, w->id->tile_bytes, i);
        memcpy(sums + i * sizeof sum, &sum, sizeof sum);
    }
    int rc = slv_newfile_write(&w->file, w->tiles + w->done, n, w->head_bytes + w->done, err);
    if (!rc) w->done += n;
    return rc;
}

int slv_packwrite_step(struct slv_packwrite *w, bool *ret_more, struct slv_err *err) {
    size_t from = w->done, all = w->id->tile_bytes;
    size_t end = all - from > STEP_BYTES ? from + STEP_BYTES : all;
    while (w->done < end) {
        size_t n = end - w->done < WRITE_BYTES ? end - w->done : WRITE_BYTES;
        int rc = write_tiles(w, n, err);
        if (rc) return rc;
    }
    if (sync_file_range(w->file.fd, (off64_t)(w->head_bytes + from), (off64_t)(end - from),
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER)) { /* fsync will say */
    }
    *ret_more = w->done < all;
    return 0;
}

int slv_packwrite_commit(struct slv_packwrite *w, struct slv_err *err) {
    struct header h;
    memcpy(&h, w->head, sizeof h);
    h.content = w->content;
    h.stamp = w->stamp;
    h.meta_sum = slv_sum64(w->head + HEADER, w->head_bytes - HEADER, w->id->key);
    seal_header(&h, w->head);
    /* The zeros up to the tiles are a hole. */
    int rc = slv_newfile_write(&w->file, w->head, meta_bytes(w->id), 0, err);
    return rc ? rc : slv_newfile_commit(&w->file, err);
}

void slv_packwrite_close(struct slv_packwrite *w) {
    slv_newfile_close(&w->file);
    slv_mem_free(w->head);
    *w = (struct slv_packwrite){.file = {.fd = -1}};
}
