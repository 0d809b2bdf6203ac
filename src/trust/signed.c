/* signed.c: see signed.h. */
#include "trust/signed.h"
#include "base/mem.h"
#include "trust/secret.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

struct checked {
    struct slv_blocks from;
    char *name;
    struct slv_signed_pieces pieces;
    size_t n;                        /* pieces */
    crypto_generichash_state *state; /* [n + 1]: before each piece, and at the end */
};

static int no_memory(const char *name, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", name);
}

/* Where piece i begins; i <= n. */
static uint64_t start_of(const struct checked *c, size_t i) {
    const size_t first = c->pieces.first;
    uint64_t at = first ? (i ? first + (uint64_t)(i - 1) * c->pieces.piece : 0)
                        : (uint64_t)i * c->pieces.piece;
    return at < c->from.size ? at : c->from.size;
}

static size_t piece_of(const struct checked *c, uint64_t at) {
    const size_t first = c->pieces.first;
    if (at < first) return 0;
    return (size_t)((at - first) / c->pieces.piece) + (first ? 1 : 0);
}

static size_t most_bytes(const struct checked *c) {
    return c->pieces.first > c->pieces.piece ? c->pieces.first : c->pieces.piece;
}

/* --- the first reading ------------------------------------------------------------------------ */

static int hash_all(struct checked *c, unsigned char *piece, const struct slv_ui *ui,
                    struct slv_err *err) {
    crypto_generichash_init(&c->state[0], NULL, 0, SLV_SIGN_DIGEST);
    for (size_t i = 0; i < c->n; i++) {
        uint64_t at = start_of(c, i), end = start_of(c, i + 1);
        if (slv_ui_cancelled(ui))
            return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", c->name);
        int rc = slv_blocks_read(&c->from, at, (size_t)(end - at), piece, err);
        if (rc) return rc;
        c->state[i + 1] = c->state[i];
        crypto_generichash_update(&c->state[i + 1], piece, end - at);
        slv_ui_progress(ui, c->name, end, c->from.size);
    }
    return 0;
}

static int check_all(struct checked *c, const struct slv_signature *s, const struct slv_ui *ui,
                     struct slv_err *err) {
    uint8_t digest[SLV_SIGN_DIGEST];
    if (c->from.size != s->size)
        return slv_err_set(err, SLV_E_TRUST,
                           "%s: is not the file that was signed: %" PRIu64 " bytes, %" PRIu64
                           " were signed",
                           c->name, c->from.size, s->size);
    unsigned char *piece = slv_mem_alloc(most_bytes(c));
    int rc = piece ? hash_all(c, piece, ui, err) : no_memory(c->name, err);
    slv_mem_free(piece);
    if (rc) return rc;
    crypto_generichash_state end = c->state[c->n];
    crypto_generichash_final(&end, digest, sizeof digest);
    if (!memcmp(digest, s->digest, sizeof digest)) return 0;
    return slv_err_set(err, SLV_E_TRUST,
                       "%s: is not the file that was signed: its content has another digest",
                       c->name);
}

/* --- later ones ------------------------------------------------------------------------------- */

/* Piece i to p. The state after it is a function of the one before and of its bytes, and of nothing
 * else: equal bytes make it equal in all of its memory. */
static int read_piece(const struct checked *c, size_t i, unsigned char *p, struct slv_err *err) {
    uint64_t at = start_of(c, i), end = start_of(c, i + 1);
    int rc = slv_blocks_read(&c->from, at, (size_t)(end - at), p, err);
    if (rc && rc != SLV_E_LIMIT) return rc; /* that: it has become shorter */
    crypto_generichash_state h = c->state[i];
    if (!rc) crypto_generichash_update(&h, p, end - at);
    if (!rc && !memcmp(&h, &c->state[i + 1], sizeof h)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "%s: has changed since its signature was checked",
                       c->name);
}

static int read_range(const struct checked *c, uint64_t at, size_t n, unsigned char *to,
                      unsigned char *piece, struct slv_err *err) {
    while (n) {
        size_t i = piece_of(c, at);
        uint64_t from = start_of(c, i), end = start_of(c, i + 1);
        size_t take = end - at < n ? (size_t)(end - at) : n;
        bool whole = at == from && take == end - from;
        int rc = read_piece(c, i, whole ? to : piece, err);
        if (rc) return rc;
        if (!whole) memcpy(to, piece + (at - from), take);
        to += take;
        at += take;
        n -= take;
    }
    return 0;
}

static int checked_read(void *ctx, uint64_t at, size_t n, void *p, struct slv_err *err) {
    const struct checked *c = ctx;
    unsigned char *piece = slv_mem_alloc(most_bytes(c));
    if (!piece) return no_memory(c->name, err);
    int rc = read_range(c, at, n, p, piece, err);
    slv_mem_free(piece);
    return rc;
}

static void checked_close(void *ctx) {
    struct checked *c = ctx;
    if (!c) return;
    slv_blocks_close(&c->from);
    slv_mem_free(c->state);
    slv_mem_free(c->name);
    slv_mem_free(c);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int make_room(struct checked *c, struct slv_err *err) {
    const struct slv_signed_pieces *p = &c->pieces;
    uint64_t n = c->from.size > p->first ? (c->from.size - p->first - 1) / p->piece + 1 : 0;
    size_t bytes;
    n += p->first && c->from.size;
    if (n >= SIZE_MAX || !slv_size_mul((size_t)n + 1, sizeof *c->state, &bytes))
        return slv_err_set(err, SLV_E_LIMIT, "%s: too large", c->name);
    c->n = (size_t)n;
    c->state = slv_mem_alloc_aligned(64, bytes);
    return c->state ? 0 : no_memory(c->name, err);
}

int slv_signed_open(struct slv_blocks *from, const char *name, const struct slv_signature *s,
                    const struct slv_pubs *trusted, const struct slv_signed_pieces *pieces,
                    const struct slv_ui *ui, struct slv_blocks *ret, struct slv_err *err) {
    struct checked *c = slv_mem_calloc(1, sizeof *c);
    if (!c) {
        slv_blocks_close(from);
        return no_memory(name, err);
    }
    c->from = *from;
    *from = (struct slv_blocks){0};
    c->pieces = *pieces;
    c->name = slv_mem_strndup(name, strlen(name));
    int rc = c->name ? slv_trust_init(err) : no_memory(name, err);
    if (!rc && pieces->piece < SLV_SIGNED_PIECE_MIN)
        rc = slv_err_set(err, SLV_E_USAGE, "%s: pieces of %zu bytes", name, pieces->piece);
    if (!rc) rc = slv_signature_check(s, trusted, name, err);
    if (!rc) rc = make_room(c, err);
    if (!rc) rc = check_all(c, s, ui, err);
    if (rc) checked_close(c);
    else *ret = (struct slv_blocks){c->from.size, checked_read, checked_close, c};
    return rc;
}
