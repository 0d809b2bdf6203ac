/* sealed.c: reading sealed files anywhere (seal.h). Nothing is kept between reads, so that readers
 * need no lock: a read of some bytes costs the blocks they lie in. */
#include "base/file.h"
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

struct slv_sealed {
    int fd;
    char *path;
    struct slv_seal_head head;
    struct slv_aead *aead;
};

static int no_memory(const char *path, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", path);
}

static int os_error(const char *path, struct slv_err *err) {
    return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO, "%s: %s",
                       path, strerror(errno));
}

/* --- opening ---------------------------------------------------------------------------------- */

static int open_regular(const char *path, int *ret_fd, uint64_t *ret_size, struct slv_err *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return os_error(path, err);
    int rc = 0;
    if (fstat(fd, &st)) rc = os_error(path, err);
    else if (!S_ISREG(st.st_mode)) rc = slv_err_set(err, SLV_E_IO, "%s: is not a file", path);
    if (rc) close(fd);
    else {
        *ret_fd = fd;
        *ret_size = (uint64_t)st.st_size;
    }
    return rc;
}

static int read_head(struct slv_sealed *f, uint64_t file_bytes, const struct slv_key *key,
                     struct slv_seal_keys *keys, struct slv_err *err) {
    uint8_t head[SLV_SEAL_HEAD_MAX];
    size_t n = 0;
    if (!slv_fd_read_at(f->fd, head, sizeof head, 0, &n)) return os_error(f->path, err);
    int rc = slv__seal_head_read(head, n, file_bytes, key, keys, &f->head, err);
    if (!rc) rc = slv_aead_open(keys->block, &f->aead, err);
    return rc ? slv_err_prefix(err, rc, "%s", f->path) : 0;
}

int slv_sealed_open(const char *path, const struct slv_key *key, struct slv_sealed **ret,
                    struct slv_err *err) {
    uint64_t bytes = 0;
    int rc = slv_trust_init(err);
    if (rc) return rc;
    struct slv_sealed *f = slv_mem_calloc(1, sizeof *f);
    if (!f) return no_memory(path, err);
    f->fd = -1;
    struct slv_seal_keys *keys = slv_secret_alloc(sizeof *keys);
    f->path = slv_mem_strndup(path, strlen(path));
    rc = f->path && keys ? open_regular(path, &f->fd, &bytes, err) : no_memory(path, err);
    if (!rc) rc = read_head(f, bytes, key, keys, err);
    slv_secret_free(keys, sizeof *keys);
    if (rc) slv_sealed_close(f);
    else *ret = f;
    return rc;
}

void slv_sealed_close(struct slv_sealed *f) {
    if (!f) return;
    slv_aead_close(f->aead);
    if (f->fd >= 0) close(f->fd);
    slv_mem_free(f->path);
    slv_mem_free(f);
}

uint64_t slv_sealed_size(const struct slv_sealed *f) { return f->head.size; }

bool slv_sealed_is(const char *path) {
    uint8_t p[SLV_SEAL_MAGIC_BYTES];
    int fd = -1;
    uint64_t size = 0;
    size_t n = 0;
    if (open_regular(path, &fd, &size, NULL)) return false;
    bool is = slv_fd_read_at(fd, p, sizeof p, 0, &n) && n == sizeof p &&
              !memcmp(p, SLV_SEAL_MAGIC, sizeof p);
    close(fd);
    return is;
}

/* --- reading ---------------------------------------------------------------------------------- */

static size_t block_bytes(const struct slv_sealed *f, uint64_t i) {
    uint64_t left = f->head.size - i * SLV_SEAL_BLOCK;
    return left < SLV_SEAL_BLOCK ? (size_t)left : SLV_SEAL_BLOCK;
}

/* Block i, decrypted, to p, which has room for a stride. */
static int read_block(const struct slv_sealed *f, uint64_t i, uint8_t *p, struct slv_err *err) {
    size_t n = block_bytes(f, i), got = 0;
    if (!slv_fd_read_at(f->fd, p, n + SLV_AEAD_TAG, f->head.bytes + i * SLV_SEAL_STRIDE, &got))
        return os_error(f->path, err);
    if (got < n + SLV_AEAD_TAG)
        return slv_err_set(err, SLV_E_TRUST, "%s: has been cut short meanwhile", f->path);
    int rc = slv_aead_unseal(f->aead, i, i + 1 == f->head.n_blocks, p, n);
    if (rc == SLV_E_TRUST)
        return slv_err_set(err, rc, "%s: block %" PRIu64 " is not what was sealed", f->path, i);
    return rc ? no_memory(f->path, err) : 0;
}

static int read_range(const struct slv_sealed *f, uint64_t at, size_t n, uint8_t *to,
                      uint8_t *block, struct slv_err *err) {
    while (n) {
        uint64_t i = at / SLV_SEAL_BLOCK;
        size_t from = (size_t)(at % SLV_SEAL_BLOCK), take = block_bytes(f, i) - from;
        if (take > n) take = n;
        int rc = read_block(f, i, block, err);
        if (rc) return rc;
        memcpy(to, block + from, take);
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
