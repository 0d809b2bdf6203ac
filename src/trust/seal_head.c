/* seal_head.c: the header of a sealed file: all of it is hostile until its digest is right. */
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static uint64_t get(const uint8_t *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void put(uint8_t *p, size_t bytes, uint64_t v) {
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

uint64_t slv__seal_file_bytes(const struct slv_seal_head *h) {
    return h->bytes + h->size + h->n_blocks * SLV_AEAD_TAG; /* far below 2^64: SLV_SEAL_SIZE_MAX */
}

void slv__seal_derive(struct slv_seal_keys *k) {
    static const char context[crypto_kdf_CONTEXTBYTES] = {'s', 'l', 'v', 's', 'e', 'a', 'l', '1'};
    crypto_kdf_derive_from_key(k->head, sizeof k->head, 1, context, k->file);
    crypto_kdf_derive_from_key(k->block, sizeof k->block, 2, context, k->file);
    crypto_kdf_derive_from_key(k->kept, sizeof k->kept, 3, context, k->file);
}

#define BOX (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + 32)
_Static_assert(BOX <= SLV_WRAP_BYTES, "a slot has room for it");

void slv__seal_wrap_own(const struct slv_seal_own *own, const uint8_t in[32],
                        uint8_t ret[SLV_WRAP_BYTES]) {
    memset(ret, 0, SLV_WRAP_BYTES);
    randombytes_buf(ret, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(ret + crypto_secretbox_NONCEBYTES, in, 32, ret, own->wrap);
}

bool slv__seal_unwrap_own(const struct slv_seal_own *own, const uint8_t in[SLV_WRAP_BYTES],
                          uint8_t ret[32]) {
    return !crypto_secretbox_open_easy(ret, in + crypto_secretbox_NONCEBYTES,
                                       crypto_secretbox_MACBYTES + 32, in, own->wrap);
}

static void digest(const struct slv_seal_keys *k, const uint8_t *p, size_t n,
                   uint8_t ret[SLV_SEAL_MAC]) {
    crypto_generichash(ret, SLV_SEAL_MAC, p, n, k->head, sizeof k->head);
}

void slv__seal_head_put(const struct slv_seal_head *h, const struct slv_seal_keys *k, uint8_t *p) {
    memcpy(p, SLV_SEAL_MAGIC, SLV_SEAL_MAGIC_BYTES);
    put(p + 8, 4, h->bytes);
    put(p + 12, 4, SLV_SEAL_BLOCK);
    put(p + 16, 4, h->n_for);
    put(p + 20, 4, 0);
    put(p + 24, 8, h->size);
    digest(k, p, h->bytes - SLV_SEAL_MAC, p + h->bytes - SLV_SEAL_MAC);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int damaged(struct slv_err *err) {
    return slv_err_set(err, SLV_E_TRUST, "the header is not what was written");
}

/* The numbers fit together and into the bytes that are there. Nothing says yet that they are so. */
static int read_form(const uint8_t *p, size_t n, struct slv_seal_head *ret, struct slv_err *err) {
    struct slv_seal_head h = {0};
    if (n < SLV_SEAL_MAGIC_BYTES || memcmp(p, SLV_SEAL_MAGIC, SLV_SEAL_MAGIC_BYTES) != 0)
        return slv_err_set(err, SLV_E_FORMAT, "is not a sealed file");
    if (n < SLV_SEAL_FIXED) return slv_err_set(err, SLV_E_TRUST, "is cut short in its header");
    h.n_for = get(p + 16, 4);
    h.size = get(p + 24, 8);
    if (!h.n_for || h.n_for > SLV_SEAL_FOR_MAX || h.size > SLV_SEAL_SIZE_MAX) return damaged(err);
    h.bytes = SLV_SEAL_FIXED + h.n_for * SLV_SEAL_SLOT + SLV_SEAL_MAC;
    h.n_blocks = slv__seal_blocks(h.size);
    if (get(p + 8, 4) != h.bytes || get(p + 12, 4) != SLV_SEAL_BLOCK || get(p + 20, 4) != 0)
        return damaged(err);
    if (n < h.bytes) return slv_err_set(err, SLV_E_TRUST, "is cut short in its header");
    *ret = h;
    return 0;
}

int slv_sealed_pieces(const struct slv_blocks *b, size_t *ret_first, size_t *ret_piece,
                      struct slv_err *err) {
    uint8_t head[SLV_SEAL_HEAD_MAX];
    struct slv_seal_head h;
    size_t n = b->size < sizeof head ? (size_t)b->size : sizeof head;
    int rc = slv_blocks_read(b, 0, n, head, err);
    if (!rc) rc = read_form(head, n, &h, err);
    if (rc) return rc;
    *ret_first = h.bytes;
    *ret_piece = SLV_SEAL_STRIDE;
    return 0;
}

static const uint8_t *slot(const uint8_t *p, size_t i) {
    return p + SLV_SEAL_FIXED + i * SLV_SEAL_SLOT;
}

/* "key A", "keys A and B", "keys A, B and 3 others". */
static int not_for_us(const uint8_t *p, const struct slv_seal_head *h, const struct slv_key *key,
                      struct slv_err *err) {
    char a[SLV_KEYID_HEX], b[SLV_KEYID_HEX] = "", more[48] = "";
    slv_hex_write(slot(p, 0), SLV_KEYID_BYTES, a);
    if (h->n_for > 1) slv_hex_write(slot(p, 1), SLV_KEYID_BYTES, b);
    if (h->n_for > 2) snprintf(more, sizeof more, " and %zu others", h->n_for - 2);
    return slv_err_set(err, SLV_E_TRUST, "is sealed for key%s %s%s%s%s; this device has %s",
                       h->n_for > 1 ? "s" : "", a,
                       h->n_for > 2   ? ", "
                       : h->n_for > 1 ? " and "
                                      : "",
                       b, more, slv_key_pub(key)->id);
}

/* The file key of slot i: SLV_E_NOENT, it is somebody else's; SLV_E_TRUST. */
static int unwrap(const uint8_t *p, size_t i, const struct slv_seal_opener *who, uint8_t ret[32]) {
    const uint8_t *wrapped = slot(p, i) + SLV_KEYID_BYTES;
    char id[SLV_KEYID_HEX];
    if (who->own) {
        if (memcmp(slot(p, i), who->own->id, SLV_KEYID_BYTES) != 0) return SLV_E_NOENT;
        return slv__seal_unwrap_own(who->own, wrapped, ret) ? 0 : SLV_E_TRUST;
    }
    slv_hex_write(slot(p, i), SLV_KEYID_BYTES, id);
    return slv_key_unwrap(who->device, id, wrapped, ret);
}

/* The file key from the first slot that is ours and makes the digest right. */
static int find_key(const uint8_t *p, const struct slv_seal_head *h,
                    const struct slv_seal_opener *who, struct slv_seal_keys *keys,
                    struct slv_err *err) {
    bool ours = false;
    for (size_t i = 0; i < h->n_for; i++) {
        uint8_t mac[SLV_SEAL_MAC];
        int rc = unwrap(p, i, who, keys->file);
        ours = ours || rc != SLV_E_NOENT;
        if (rc) continue;
        slv__seal_derive(keys);
        digest(keys, p, h->bytes - SLV_SEAL_MAC, mac);
        if (!sodium_memcmp(mac, p + h->bytes - SLV_SEAL_MAC, SLV_SEAL_MAC)) return 0;
    }
    if (ours) return damaged(err);
    if (who->own) return slv_err_set(err, SLV_E_TRUST, "was not made of this model");
    return not_for_us(p, h, who->device, err);
}

int slv__seal_head_read(const uint8_t *p, size_t n, uint64_t file_bytes,
                        const struct slv_seal_opener *who, struct slv_seal_keys *keys,
                        struct slv_seal_head *ret, struct slv_err *err) {
    struct slv_seal_head h;
    int rc = read_form(p, n, &h, err);
    if (!rc) rc = find_key(p, &h, who, keys, err);
    if (rc) return rc;
    uint64_t want = slv__seal_file_bytes(&h);
    if (file_bytes != want)
        return slv_err_set(err, SLV_E_TRUST, "%s: %" PRIu64 " bytes, %" PRIu64 " were written",
                           file_bytes < want ? "is cut short" : "has grown", file_bytes, want);
    *ret = h;
    return 0;
}
