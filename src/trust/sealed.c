/* sealed.c: reading sealed files anywhere (seal.h). Nothing is kept between reads, so that readers
 * need no lock: a read of some bytes costs the blocks they lie in. */
#include "base/file.h"
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

struct slv_sealed {
    struct slv_blocks from;
    char *path;
    struct slv_seal_head head;
    struct slv_aead *aead;
    uint8_t *kept; /* [32], slv_secret_alloc: of struct slv_seal_keys */
};

#define KEPT_BYTES ((size_t)32)

static int no_memory(const char *path, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_head(struct slv_sealed *f, const struct slv_seal_opener *who,
                     struct slv_seal_keys *keys, struct slv_err *err) {
    uint8_t head[SLV_SEAL_HEAD_MAX];
    size_t n = f->from.size < sizeof head ? (size_t)f->from.size : sizeof head;
    int rc = slv_blocks_read(&f->from, 0, n, head, err);
    if (rc) return rc; /* which says the path */
    rc = slv__seal_head_read(head, n, f->from.size, who, keys, &f->head, err);
    if (!rc) rc = slv_aead_open(keys->block, &f->aead, err);
    if (rc) return slv_err_prefix(err, rc, "%s", f->path);
    memcpy(f->kept, keys->kept, KEPT_BYTES);
    return 0;
}

int slv__sealed_open(struct slv_blocks *from, const char *name, const struct slv_seal_opener *who,
                     struct slv_sealed **ret, struct slv_err *err) {
    int rc = slv_trust_init(err);
    struct slv_sealed *f = rc ? NULL : slv_mem_calloc(1, sizeof *f);
    if (!f) {
        slv_blocks_close(from);
        return rc ? rc : no_memory(name, err);
    }
    f->from = *from;
    *from = (struct slv_blocks){0};
    struct slv_seal_keys *keys = slv_secret_alloc(sizeof *keys);
    f->kept = slv_secret_alloc(KEPT_BYTES);
    f->path = slv_mem_strndup(name, strlen(name));
    rc = f->path && keys && f->kept ? read_head(f, who, keys, err) : no_memory(name, err);
    slv_secret_free(keys, sizeof *keys);
    if (rc) slv_sealed_close(f);
    else *ret = f;
    return rc;
}

int slv_sealed_open_blocks(struct slv_blocks *from, const char *name, const struct slv_key *key,
                           struct slv_sealed **ret, struct slv_err *err) {
    const struct slv_seal_opener who = {.device = key};
    return slv__sealed_open(from, name, &who, ret, err);
}

int slv_sealed_open(const char *path, const struct slv_key *key, struct slv_sealed **ret,
                    struct slv_err *err) {
    struct slv_blocks from = {0};
    int rc = slv_blocks_open_file(path, &from, err);
    return rc ? rc : slv_sealed_open_blocks(&from, path, key, ret, err);
}

void slv_sealed_close(struct slv_sealed *f) {
    if (!f) return;
    slv_aead_close(f->aead);
    slv_secret_free(f->kept, KEPT_BYTES);
    slv_blocks_close(&f->from);
    slv_mem_free(f->path);
    slv_mem_free(f);
}

uint64_t slv_sealed_size(const struct slv_sealed *f) { return f->head.size; }

const uint8_t *slv__sealed_kept(const struct slv_sealed *f) { return f->kept; }

bool slv_sealed_is_blocks(const struct slv_blocks *b) {
    uint8_t p[SLV_SEAL_MAGIC_BYTES];
    return b->size >= sizeof p && !slv_blocks_read(b, 0, sizeof p, p, NULL) &&
           !memcmp(p, SLV_SEAL_MAGIC, sizeof p);
}

bool slv_sealed_is(const char *path) {
    struct slv_blocks b = {0};
    bool is = !slv_blocks_open_file(path, &b, NULL) && slv_sealed_is_blocks(&b);
    slv_blocks_close(&b);
    return is;
}

/* --- reading ---------------------------------------------------------------------------------- */

static size_t block_bytes(const struct slv_sealed *f, uint64_t i) {
    uint64_t left = f->head.size - i * SLV_SEAL_BLOCK;
    return left < SLV_SEAL_BLOCK ? (size_t)left : SLV_SEAL_BLOCK;
}

/* Block i, decrypted, to p, which has room for a stride. */
static int read_block(const struct slv_sealed *f, uint64_t i, uint8_t *p, struct slv_err *err) {
    size_t n = block_bytes(f, i);
    uint64_t at = f->head.bytes + i * SLV_SEAL_STRIDE;
    int rc = slv_blocks_read(&f->from, at, n + SLV_AEAD_TAG, p, err);
    if (rc == SLV_E_LIMIT)
        return slv_err_set(err, SLV_E_TRUST, "%s: has been cut short meanwhile", f->path);
    if (rc) return rc;
    rc = slv_aead_unseal(f->aead, i, i + 1 == f->head.n_blocks, p, n);
    if (rc == SLV_E_TRUST)
        return slv_err_set(err, rc, "%s: block %" PRIu64 " is not what was sealed", f->path, i);
    return rc ? no_memory(f->path, err) : 0;
}

/* A whole block goes where it is wanted, if its tag has room there too: what comes next is written
 * over it. */
static int read_range(const struct slv_sealed *f, uint64_t at, size_t n, uint8_t *to,
                      uint8_t *block, struct slv_err *err) {
    while (n) {
        uint64_t i = at / SLV_SEAL_BLOCK;
        size_t from = (size_t)(at % SLV_SEAL_BLOCK), whole = block_bytes(f, i), take = whole - from;
        if (take > n) take = n;
        bool here = take == whole && n - take >= SLV_AEAD_TAG;
        int rc = read_block(f, i, here ? to : block, err);
        if (rc) return rc;
        if (!here) memcpy(to, block + from, take);
        to += take;
        at += take;
        n -= take;
    }
    return 0;
}

int slv_sealed_read(const struct slv_sealed *f, uint64_t at, size_t n, void *p,
                    struct slv_err *err) {
    if (at > f->head.size || n > f->head.size - at)
        return slv_err_set(err, SLV_E_LIMIT, "%s: %zu bytes at %" PRIu64 " are past its end",
                           f->path, n, at);
    uint8_t *block = slv_mem_alloc(SLV_SEAL_STRIDE);
    if (!block) return no_memory(f->path, err);
    int rc = read_range(f, at, n, p, block, err);
    sodium_memzero(block, SLV_SEAL_STRIDE);
    slv_mem_free(block);
    return rc;
}

static int blocks_read(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *err) {
    return slv_sealed_read(ctx, at, n, p, err);
}

static void blocks_close(void *ctx) { slv_sealed_close(ctx); }

void slv_sealed_take_blocks(struct slv_sealed *f, struct slv_blocks *ret) {
    *ret = (struct slv_blocks){f->head.size, blocks_read, blocks_close, f};
}

/* --- all of it -------------------------------------------------------------------------------- */

static int copy_out(const struct slv_sealed *f, struct slv_newfile *out, uint8_t *block,
                    const struct slv_ui *ui, struct slv_err *err) {
    for (uint64_t i = 0; i < f->head.n_blocks; i++) {
        uint64_t at = i * SLV_SEAL_BLOCK;
        if (slv_ui_cancelled(ui))
            return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", f->path);
        int rc = read_block(f, i, block, err);
        if (!rc) rc = slv_newfile_write(out, block, block_bytes(f, i), at, err);
        if (rc) return rc;
        slv_ui_progress(ui, f->path, at + block_bytes(f, i), f->head.size);
    }
    return slv_newfile_commit(out, err);
}

int slv_unseal_file(const char *in, const char *out, const struct slv_key *key,
                    const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) {
    struct slv_sealed *f = NULL;
    struct slv_newfile to = {.fd = -1};
    int rc = slv_sealed_open(in, key, &f, err);
    if (rc) return rc;
    uint8_t *block = slv_mem_alloc(SLV_SEAL_STRIDE);
    rc = block ? slv_newfile_open(out, &to, err) : no_memory(in, err);
    if (!rc) {
        rc = copy_out(f, &to, block, ui, err);
        slv_newfile_close(&to);
    }
    if (!rc && ret_size) *ret_size = f->head.size;
    if (block) sodium_memzero(block, SLV_SEAL_STRIDE);
    slv_mem_free(block);
    slv_sealed_close(f);
    return rc;
}
