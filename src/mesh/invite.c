/* invite.c: see invite.h. */
#include "mesh/invite.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define VERSION 1u
#define BYTES_MAX ((size_t)8192)

static const char mark[] = SLV_INVITE_MARK;

static void keys_of(const struct slv_invite *i, uint8_t key[SLV_ROSTER_KEY],
                    uint8_t secret[crypto_sign_SECRETKEYBYTES]) {
    crypto_sign_seed_keypair(key, secret, i->seed);
}

void slv_invite_key(const struct slv_invite *i, uint8_t ret_key[SLV_ROSTER_KEY]) {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    keys_of(i, ret_key, secret);
    sodium_memzero(secret, sizeof secret);
}

void slv_invite_draw(struct slv_invite *i, uint8_t ret_key[SLV_ROSTER_KEY]) {
    randombytes_buf(i->seed, sizeof i->seed);
    slv_invite_key(i, ret_key);
}

int slv_invite_write(const struct slv_invite *i, struct slv_buf *b) {
    struct slv_buf raw;
    char text[sodium_base64_ENCODED_LEN(BYTES_MAX, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    slv_buf_init(&raw, BYTES_MAX);
    slv_write_number(&raw, VERSION);
    slv_write_bytes(&raw, i->mesh, strlen(i->mesh));
    slv_buf_add(&raw, (const char *)i->authority, sizeof i->authority);
    slv_buf_add(&raw, (const char *)i->seed, sizeof i->seed);
    slv_write_number(&raw, i->n_peer);
    for (size_t k = 0; k < i->n_peer; k++) {
        slv_buf_add(&raw, (const char *)i->peer[k].key, sizeof i->peer[k].key);
        slv_write_bytes(&raw, i->peer[k].address, strlen(i->peer[k].address));
    }
    const int rc = raw.status;
    if (!rc) {
        sodium_bin2base64(text, sizeof text, (const uint8_t *)raw.data, raw.len,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        slv_buf_adds(b, mark);
        slv_buf_adds(b, text);
        sodium_memzero(text, sizeof text);
        sodium_memzero(raw.data, raw.len);
    }
    slv_buf_fini(&raw);
    return rc ? rc : b->status;
}

static void read_bytes(struct slv_reader *r, void *ret, size_t n) {
    const struct slv_str s = slv_read_raw(r, n);
    if (s.n == n) memcpy(ret, s.p, n);
}

/* A string without NUL. */
static void read_text(struct slv_reader *r, char *ret, size_t most) {
    const struct slv_str s = slv_read_bytes(r, most);
    if (memchr(s.p, '\0', s.n)) r->bad = true;
    memcpy(ret, s.p, s.n);
    ret[s.n] = '\0';
}

static int cut(struct slv_err *err) {
    return slv_err_set(err, SLV_E_FORMAT, "an invitation that is cut short, or damaged");
}

int slv_invite_read(struct slv_str line, struct slv_invite *ret, struct slv_err *err) {
    uint8_t raw[BYTES_MAX];
    size_t n = 0;
    struct slv_invite i = {0};
    const size_t k = sizeof mark - 1;
    if (!line.n || memcmp(line.p, mark, line.n < k ? line.n : k) != 0)
        return slv_err_set(err, SLV_E_FORMAT, "not an invitation: it begins with %s", mark);
    if (line.n < k ||
        !slv_base64_read((struct slv_str){line.p + k, line.n - k}, raw, sizeof raw, &n))
        return cut(err);
    struct slv_reader r = slv_reader_of(raw, n);
    if (slv_read_number(&r, VERSION) != VERSION) r.bad = true;
    read_text(&r, i.mesh, sizeof i.mesh - 1);
    read_bytes(&r, i.authority, sizeof i.authority);
    read_bytes(&r, i.seed, sizeof i.seed);
    i.n_peer = (size_t)slv_read_number(&r, SLV_INVITE_PEERS_MAX);
    for (size_t p = 0; p < i.n_peer && !r.bad; p++) {
        read_bytes(&r, i.peer[p].key, sizeof i.peer[p].key);
        read_text(&r, i.peer[p].address, SLV_INVITE_ADDRESS_MAX);
    }
    const bool good = slv_reader_done(&r) && i.mesh[0];
    sodium_memzero(raw, sizeof raw);
    if (good) *ret = i;
    return good ? 0 : cut(err);
}

int slv_invite_use(const struct slv_invite *i, const uint8_t key[SLV_ROSTER_KEY],
                   struct slv_str name, struct slv_buf *ret) {
    uint8_t secret[crypto_sign_SECRETKEYBYTES], sig[SLV_ROSTER_SIG];
    struct slv_statement s = {.kind = SLV_JOINED, .name = name};
    struct slv_buf b;
    const size_t from = ret->len;
    if (name.n > SLV_ROSTER_NAME_MAX) return SLV_E_LIMIT;
    memcpy(s.key, key, sizeof s.key);
    keys_of(i, s.invitation, secret);
    slv_buf_init(&b, 2 * SLV_STATEMENT_MAX);
    int rc = slv_statement_write(&s, ret);
    if (!rc) {
        const struct slv_str mesh = {i->mesh, strlen(i->mesh)};
        slv_statement_signed(mesh, (struct slv_str){ret->data + from, ret->len - from}, &b);
        rc = b.status;
    }
    if (!rc) {
        crypto_sign_detached(sig, NULL, (const uint8_t *)b.data, b.len, secret);
        slv_buf_add(ret, (const char *)sig, sizeof sig);
        rc = ret->status;
    }
    sodium_memzero(secret, sizeof secret);
    slv_buf_fini(&b);
    return rc;
}
