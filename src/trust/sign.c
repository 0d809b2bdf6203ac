/* sign.c: see sign.h. */
#include "trust/sign.h"
#include "base/blocks.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "trust/secret.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#define TITLE "selvage signature 1"
#define PIECE ((size_t)1 << 20)

static int no_memory(const char *what, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "%.200s: out of memory", what);
}

/* --- the text --------------------------------------------------------------------------------- */

/* The lines that are signed. */
static void put_lines(const struct slv_signature *s, struct slv_buf *out) {
    slv_buf_addf(out, TITLE "\nkey %s\ntime %" PRIu64 "\nsize %" PRIu64 "\n", s->key, s->time,
                 s->size);
    slv_fields_put_bytes(out, "blake2b", s->digest, sizeof s->digest);
}

int slv_signature_write(const struct slv_signature *s, struct slv_buf *out) {
    put_lines(s, out);
    slv_fields_put_bytes(out, "signature", s->sig, sizeof s->sig);
    return out->status;
}

int slv_signature_parse(const char *text, size_t n, const char *what, struct slv_signature *ret,
                        struct slv_err *err) {
    struct slv_fields f;
    struct slv_signature s = {0};
    uint8_t id[SLV_KEYID_BYTES] = {0};
    slv_fields_init(&f, text, n, TITLE);
    slv_fields_bytes(&f, "key", id, sizeof id);
    slv_fields_uint(&f, "time", &s.time);
    slv_fields_uint(&f, "size", &s.size);
    slv_fields_bytes(&f, "blake2b", s.digest, sizeof s.digest);
    slv_fields_bytes(&f, "signature", s.sig, sizeof s.sig);
    int rc = slv_fields_check(&f, what, err);
    if (rc) return rc;
    slv_hex_write(id, sizeof id, s.key);
    *ret = s;
    return 0;
}

int slv_signature_read(const char *path, struct slv_signature *ret, struct slv_err *err) {
    struct slv_buf text;
    slv_buf_init(&text, SLV_SIGN_TEXT_MAX);
    int rc = slv_file_read(path, &text, err);
    if (rc == SLV_E_NOENT)
        rc = slv_err_set(err, SLV_E_TRUST, "%s: there is no signature: the file is not signed",
                         path);
    if (rc == SLV_E_LIMIT)
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: too long for a signature", path);
    if (!rc) rc = slv_signature_parse(text.data, text.len, path, ret, err);
    slv_buf_fini(&text);
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

static int hash_pieces(const struct slv_blocks *b, const char *path, const struct slv_ui *ui,
                       unsigned char *piece, struct slv_signature *s, struct slv_err *err) {
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, SLV_SIGN_DIGEST);
    for (uint64_t at = 0; at < b->size;) {
        size_t n = b->size - at < PIECE ? (size_t)(b->size - at) : PIECE;
        if (slv_ui_cancelled(ui)) return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", path);
        int rc = slv_blocks_read(b, at, n, piece, err);
        if (rc) return rc;
        crypto_generichash_update(&h, piece, n);
        at += n;
        slv_ui_progress(ui, path, at, b->size);
    }
    crypto_generichash_final(&h, s->digest, SLV_SIGN_DIGEST);
    s->size = b->size;
    return 0;
}

/* Fills in size and digest. */
static int hash_file(const char *path, const struct slv_ui *ui, struct slv_signature *s,
                     struct slv_err *err) {
    struct slv_blocks b = {0};
    int rc = slv_trust_init(err);
    if (!rc) rc = slv_blocks_open_file(path, &b, err);
    if (rc) return rc;
    unsigned char *piece = slv_mem_alloc(PIECE);
    rc = piece ? hash_pieces(&b, path, ui, piece, s, err) : no_memory(path, err);
    slv_mem_free(piece);
    slv_blocks_close(&b);
    return rc;
}

int slv_sign_file(const struct slv_key *k, const char *path, const struct slv_ui *ui,
                  struct slv_signature *ret, struct slv_err *err) {
    struct slv_signature s = {.time = slv_clock_wall(&slv_clock_system) / 1000000000};
    struct slv_buf lines;
    memcpy(s.key, slv_key_pub(k)->id, sizeof s.key);
    int rc = hash_file(path, ui, &s, err);
    if (rc) return rc;
    slv_buf_init(&lines, SLV_SIGN_TEXT_MAX);
    put_lines(&s, &lines);
    rc = lines.status ? no_memory(path, err) : slv_key_sign(k, lines.data, lines.len, s.sig, err);
    slv_buf_fini(&lines);
    if (!rc) *ret = s;
    return rc;
}

/* --- checking --------------------------------------------------------------------------------- */

int slv_signature_check(const struct slv_signature *s, const struct slv_pubs *trusted,
                        const char *what, struct slv_err *err) {
    const struct slv_pub *p = slv_pubs_find(trusted, s->key);
    struct slv_buf lines;
    if (!p)
        return slv_err_set(
            err, SLV_E_TRUST,
            "%s: signed by key %s, which is not trusted: 'selvage key trust FILE' adds "
            "a key",
            what, s->key);
    int rc = slv_trust_init(err);
    if (rc) return rc;
    slv_buf_init(&lines, SLV_SIGN_TEXT_MAX);
    put_lines(s, &lines);
    if (lines.status) rc = no_memory(what, err);
    else if (!slv_pub_verify(p->key, lines.data, lines.len, s->sig))
        rc = slv_err_set(err, SLV_E_TRUST, "%s: was not signed by key %s", what, s->key);
    slv_buf_fini(&lines);
    return rc;
}

int slv_signature_verify(const struct slv_signature *s, const struct slv_pubs *trusted,
                         const char *path, const struct slv_ui *ui, struct slv_err *err) {
    struct slv_signature have = {0};
    struct slv_blocks b = {0};
    int rc = slv_signature_check(s, trusted, path, err);
    if (!rc) rc = slv_blocks_open_file(path, &b, err);
    if (rc) return rc;
    uint64_t size = b.size;
    slv_blocks_close(&b);
    if (size != s->size)
        return slv_err_set(err, SLV_E_TRUST,
                           "%s: is not the file that was signed: %" PRIu64 " bytes, %" PRIu64
                           " were signed",
                           path, size, s->size);
    rc = hash_file(path, ui, &have, err);
    if (!rc && (have.size != s->size || memcmp(have.digest, s->digest, SLV_SIGN_DIGEST) != 0))
        rc = slv_err_set(err, SLV_E_TRUST,
                         "%s: is not the file that was signed: its content has another digest",
                         path);
    return rc;
}
