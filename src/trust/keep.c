/* keep.c: the keeper of a sealed model (seal.h): what is made of it, sealed for who can open it. */
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <sodium.h>
#include <string.h>

#define USES ((size_t)SLV_KEPT_SESSION + 1)

/* In memory of slv_secret_alloc. */
struct keep {
    struct slv_seal_own own[USES];
};

/* Numbers of subkeys: a use's key, its id, the model's id. */
enum { WRAP = 0, ID = 16, MODEL = 32 };
static const char context[crypto_kdf_CONTEXTBYTES] = {'s', 'l', 'v', 'k', 'e', 'p', 't', '1'};

static const struct slv_seal_own *own_of(const struct keep *k, enum slv_kept use) {
    return (size_t)use < USES ? &k->own[use] : &k->own[0];
}

static int keep_open(void *ctx, enum slv_kept use, const char *path, struct slv_blocks *ret,
                     struct slv_err *err) {
    const struct slv_seal_opener who = {.own = own_of(ctx, use)};
    struct slv_blocks from = {0};
    struct slv_sealed *f = NULL;
    int rc = slv_blocks_open_file(path, &from, err);
    if (!rc) rc = slv__sealed_open(&from, path, &who, &f, err);
    if (!rc) slv_sealed_take_blocks(f, ret);
    return rc;
}

static int sink_write(void *ctx, const void *p, size_t n, struct slv_err *err) {
    return slv__seal_writer_add(ctx, p, n, err);
}

static int sink_commit(void *ctx, struct slv_err *err) {
    return slv__seal_writer_commit(ctx, NULL, err);
}

static void sink_close(void *ctx) { slv__seal_writer_close(ctx); }

static int keep_create(void *ctx, enum slv_kept use, const char *path, struct slv_sink *ret,
                       struct slv_err *err) {
    const struct slv_seal_for to = {.own = own_of(ctx, use)};
    struct slv_seal_writer *w = NULL;
    int rc = slv__seal_writer_open(path, &to, &w, err);
    if (!rc) *ret = (struct slv_sink){sink_write, sink_commit, sink_close, w};
    return rc;
}

static void keep_close(void *ctx) { slv_secret_free(ctx, sizeof(struct keep)); }

int slv_sealed_keeper(const struct slv_sealed *f, struct slv_keeper *ret, struct slv_err *err) {
    const uint8_t *kept = slv__sealed_kept(f);
    uint8_t id[crypto_kdf_BYTES_MIN];
    struct keep *k = slv_secret_alloc(sizeof *k);
    if (!k) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    for (size_t use = 0; use < USES; use++) {
        struct slv_seal_own *own = &k->own[use];
        crypto_kdf_derive_from_key(own->wrap, sizeof own->wrap, WRAP + use, context, kept);
        crypto_kdf_derive_from_key(own->id, sizeof own->id, ID + use, context, kept);
    }
    struct slv_keeper keeper = {
        .open = keep_open, .create = keep_create, .close = keep_close, .ctx = k};
    crypto_kdf_derive_from_key(id, sizeof id, MODEL, context, kept);
    memcpy(&keeper.id, id, sizeof keeper.id);
    *ret = keeper;
    return 0;
}
