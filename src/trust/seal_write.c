/* seal_write.c: a sealed file from its first byte to its last (seal.h). The header comes at the
 * end, when the size is known: until then there are zeros in its place, and the file has its
 * temporary name. A block is sealed when a byte after it comes, or none does: whether it is the
 * last is part of it. */
#include "base/file.h"
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <sodium.h>
#include <string.h>

struct slv_seal_writer {
    struct slv_newfile out;
    struct slv_seal_keys *keys; /* slv_secret_alloc */
    struct slv_seal_head head;
    uint8_t bytes[SLV_SEAL_HEAD_MAX]; /* of the header */
    struct slv_aead *aead;
    uint8_t *block; /* [a stride], of which n bytes wait to be sealed */
    size_t n;
    uint64_t index; /* of that block */
};

static int no_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "seal: out of memory");
}

static uint8_t *slot(struct slv_seal_writer *w, size_t i) {
    return w->bytes + SLV_SEAL_FIXED + i * SLV_SEAL_SLOT;
}

static int wrap_for_devices(struct slv_seal_writer *w, const struct slv_pubs *to,
                            struct slv_err *err) {
    if (!to->n || to->n > SLV_SEAL_FOR_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "seal: for %zu keys: there are 1 to %d", to->n,
                           SLV_SEAL_FOR_MAX);
    for (size_t i = 0; i < to->n; i++) {
        if (!slv_hex_read(to->v[i].id, slot(w, i), SLV_KEYID_BYTES))
            return slv_err_set(err, SLV_E_INTERNAL, "seal: not a key id");
        int rc = slv_pub_wrap(to->v[i].key, w->keys->file, slot(w, i) + SLV_KEYID_BYTES, err);
        if (rc) return slv_err_prefix(err, rc, "seal: key %s", to->v[i].id);
    }
    w->head.n_for = to->n;
    return 0;
}

static int make_keys(struct slv_seal_writer *w, const struct slv_seal_for *to,
                     struct slv_err *err) {
    int rc = 0;
    randombytes_buf(w->keys->file, sizeof w->keys->file);
    slv__seal_derive(w->keys);
    if (to->own) {
        memcpy(slot(w, 0), to->own->id, SLV_KEYID_BYTES);
        slv__seal_wrap_own(to->own, w->keys->file, slot(w, 0) + SLV_KEYID_BYTES);
        w->head.n_for = 1;
    } else {
        rc = wrap_for_devices(w, to->devices, err);
    }
    w->head.bytes = SLV_SEAL_FIXED + w->head.n_for * SLV_SEAL_SLOT + SLV_SEAL_MAC;
    return rc ? rc : slv_aead_open(w->keys->block, &w->aead, err);
}

int slv__seal_writer_open(const char *path, const struct slv_seal_for *to,
                          struct slv_seal_writer **ret, struct slv_err *err) {
    int rc = slv_trust_init(err);
    if (rc) return rc;
    struct slv_seal_writer *w = slv_mem_calloc(1, sizeof *w);
    if (!w) return no_memory(err);
    w->out.fd = -1;
    w->keys = slv_secret_alloc(sizeof *w->keys);
    w->block = slv_mem_alloc(SLV_SEAL_STRIDE);
    rc = w->keys && w->block ? make_keys(w, to, err) : no_memory(err);
    if (!rc) rc = slv_newfile_open(path, &w->out, err);
    if (rc) slv__seal_writer_close(w);
    else *ret = w;
    return rc;
}

static int put_block(struct slv_seal_writer *w, bool last, struct slv_err *err) {
    if (w->head.size + w->n > SLV_SEAL_SIZE_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s: too long to be sealed", w->out.path);
    int rc = slv_aead_seal(w->aead, w->index, last, w->block, w->n);
    if (rc) return no_memory(err);
    uint64_t at = w->head.bytes + w->index * SLV_SEAL_STRIDE;
    rc = slv_newfile_write(&w->out, w->block, w->n + SLV_AEAD_TAG, at, err);
    w->head.size += w->n;
    w->index++;
    w->n = 0;
    return rc;
}

int slv__seal_writer_add(struct slv_seal_writer *w, const void *p, size_t n, struct slv_err *err) {
    const uint8_t *from = p;
    while (n) {
        int rc = w->n == SLV_SEAL_BLOCK ? put_block(w, false, err) : 0;
        if (rc) return rc;
        size_t room = SLV_SEAL_BLOCK - w->n, k = n < room ? n : room;
        memcpy(w->block + w->n, from, k);
        w->n += k;
        from += k;
        n -= k;
    }
    return 0;
}

int slv__seal_writer_commit(struct slv_seal_writer *w, uint64_t *ret_size, struct slv_err *err) {
    int rc = put_block(w, true, err);
    if (rc) return rc;
    w->head.n_blocks = slv__seal_blocks(w->head.size);
    slv__seal_head_put(&w->head, w->keys, w->bytes);
    rc = slv_newfile_write(&w->out, w->bytes, w->head.bytes, 0, err);
    if (!rc) rc = slv_newfile_commit(&w->out, err);
    if (!rc && ret_size) *ret_size = w->head.size;
    return rc;
}

void slv__seal_writer_close(struct slv_seal_writer *w) {
    if (!w) return;
    if (w->block) sodium_memzero(w->block, SLV_SEAL_STRIDE);
    slv_mem_free(w->block);
    slv_aead_close(w->aead);
    slv_secret_free(w->keys, sizeof *w->keys);
    slv_newfile_close(&w->out);
    slv_mem_free(w);
}
