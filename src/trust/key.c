/* key.c: see key.h. */
#include "trust/key.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "trust/secret.h"
#include "trust/tpm.h"

#include <sodium.h>
#include <string.h>

#define TITLE "selvage device key 1"
#define SEED 32
#define FILE_MAX ((size_t)512 << 10)

_Static_assert(SEED == crypto_sign_SEEDBYTES && SEED == SLV_TPM_SECRET, "Ed25519");
_Static_assert(SLV_PUB_CHAIN_MAX *(2 * SLV_TPM_BLOB_MAX + 400) < FILE_MAX, "a full key file");

/* One for each public key, in the same order. */
struct seeds {
    uint8_t seed[SLV_PUB_CHAIN_MAX][SEED];
    bool there[SLV_PUB_CHAIN_MAX];
};

/* What the TPM keeps a seed in. */
struct blob {
    size_t n; /* 0: the seed stands in the file */
    uint8_t p[SLV_TPM_BLOB_MAX];
};

struct slv_key {
    struct slv_pubs pubs;
    struct blob *blobs;   /* [SLV_PUB_CHAIN_MAX]; NULL: no seed is in a TPM */
    struct seeds *secret; /* slv_secret_alloc */
    bool show;            /* only looked at */
};

static int no_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "key: out of memory");
}

static int no_key(const char *path, struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOENT, "%s: there is no key: 'selvage key new' makes one", path);
}

static int alloc_key(struct slv_key **ret, struct slv_err *err) {
    int rc = slv_trust_init(err);
    if (rc) return rc;
    struct slv_key *k = slv_mem_calloc(1, sizeof *k);
    if (k) k->secret = slv_secret_alloc(sizeof *k->secret);
    if (k && k->secret) {
        *ret = k;
        return 0;
    }
    slv_key_close(k);
    return no_memory(err);
}

void slv_key_close(struct slv_key *k) {
    if (!k) return;
    slv_secret_free(k->secret, sizeof *k->secret);
    slv_pubs_fini(&k->pubs);
    slv_mem_free(k->blobs);
    slv_mem_free(k);
}

const struct slv_pubs *slv_key_pubs(const struct slv_key *k) { return &k->pubs; }
const struct slv_pub *slv_key_pub(const struct slv_key *k) { return &k->pubs.v[k->pubs.n - 1]; }
bool slv_key_has_secret(const struct slv_key *k, size_t i) { return k->secret->there[i]; }
bool slv_key_in_tpm(const struct slv_key *k) { return k->blobs && k->blobs[k->pubs.n - 1].n; }

static int need_blobs(struct slv_key *k, struct slv_err *err) {
    if (!k->blobs) k->blobs = slv_mem_calloc(SLV_PUB_CHAIN_MAX, sizeof *k->blobs);
    return k->blobs ? 0 : no_memory(err);
}

/* --- secrets ---------------------------------------------------------------------------------- */

/* The seed's whole secret key and its public key, for as long as it takes. */
struct expanded {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t pub[SLV_PUB_BYTES];
};

static void expand(const struct slv_key *k, size_t i, struct expanded *ret) {
    crypto_sign_seed_keypair(ret->pub, ret->secret, k->secret->seed[i]);
}

int slv_key_sign(const struct slv_key *k, const void *p, size_t n, uint8_t ret[SLV_SIG_BYTES],
                 struct slv_err *err) {
    struct expanded e;
    size_t last = k->pubs.n - 1;
    if (k->show || !k->secret->there[last])
        return slv_err_set(err, SLV_E_INTERNAL, "key %s: has no secret here", k->pubs.v[last].id);
    expand(k, last, &e);
    crypto_sign_detached(ret, NULL, p, n, e.secret);
    sodium_memzero(&e, sizeof e);
    return 0;
}

int slv_key_unwrap(const struct slv_key *k, const char *id, const uint8_t in[SLV_WRAP_BYTES],
                   uint8_t ret[32]) {
    const struct slv_pub *p = slv_pubs_find(&k->pubs, id);
    size_t i = p ? (size_t)(p - k->pubs.v) : 0;
    if (!p || k->show || !k->secret->there[i]) return SLV_E_NOENT;
    struct {
        struct expanded e;
        uint8_t secret[crypto_box_SECRETKEYBYTES], pub[crypto_box_PUBLICKEYBYTES], out[32];
    } x;
    expand(k, i, &x.e);
    bool ok = !crypto_sign_ed25519_sk_to_curve25519(x.secret, x.e.secret) &&
              !crypto_sign_ed25519_pk_to_curve25519(x.pub, x.e.pub) &&
              !crypto_box_seal_open(x.out, in, SLV_WRAP_BYTES, x.pub, x.secret);
    if (ok) memcpy(ret, x.out, sizeof x.out);
    sodium_memzero(&x, sizeof x);
    return ok ? 0 : SLV_E_TRUST;
}

/* Appends a new key, signed by the one before it. */
static int add_new(struct slv_key *k, bool tpm, struct slv_err *err) {
    size_t n = k->pubs.n;
    if (n >= SLV_PUB_CHAIN_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "key: it has been rotated %d times",
                           SLV_PUB_CHAIN_MAX - 1);
    struct expanded e;
    struct slv_pub p = {.first = !n, .created = slv_clock_wall(&slv_clock_system) / 1000000000};
    uint8_t text[SLV_SUCCESSION_BYTES];
    randombytes_buf(k->secret->seed[n], SEED);
    expand(k, n, &e);
    memcpy(p.key, e.pub, sizeof p.key);
    sodium_memzero(&e, sizeof e);
    slv_pub_id(p.key, p.id);
    if (n) slv_pub_succession(k->pubs.v[n - 1].key, &p, text);
    int rc = n ? slv_key_sign(k, text, sizeof text, p.signed_by, err) : 0;
    if (!rc && tpm) rc = need_blobs(k, err);
    if (!rc && tpm) rc = slv_tpm_seal(k->secret->seed[n], k->blobs[n].p, &k->blobs[n].n, err);
    if (!rc && slv_pubs_add(&k->pubs, &p)) rc = no_memory(err);
    if (!rc) k->secret->there[n] = true;
    return rc;
}

static int new_key(bool tpm, struct slv_key **ret, struct slv_err *err) {
    struct slv_key *k = NULL;
    int rc = alloc_key(&k, err);
    if (!rc) rc = add_new(k, tpm, err);
    if (rc) slv_key_close(k);
    else *ret = k;
    return rc;
}

int slv_key_new(struct slv_key **ret, struct slv_err *err) { return new_key(false, ret, err); }
int slv_key_new_tpm(struct slv_key **ret, struct slv_err *err) { return new_key(true, ret, err); }

/* --- reading ---------------------------------------------------------------------------------- */

static bool fits(const struct slv_key *k, size_t i) {
    struct expanded e;
    expand(k, i, &e);
    bool same = !memcmp(e.pub, k->pubs.v[i].key, sizeof e.pub);
    sodium_memzero(&e, sizeof e);
    return same;
}

/* The line that has the secret, or says where it is. */
static int read_secret(struct slv_key *k, size_t i, struct slv_fields *f, struct slv_err *err) {
    k->secret->there[i] = !slv_fields_next_is(f, "forgotten");
    if (!k->secret->there[i]) slv_fields_word(f, "forgotten");
    else if (!slv_fields_next_is(f, "tpm")) slv_fields_bytes(f, "secret", k->secret->seed[i], SEED);
    else {
        int rc = need_blobs(k, err);
        if (rc) return rc;
        slv_fields_blob(f, "tpm", k->blobs[i].p, SLV_TPM_BLOB_MAX, &k->blobs[i].n);
    }
    return 0;
}

/* Asks the TPM for a seed that it keeps, unless the key is only looked at. */
static int fetch_secret(struct slv_key *k, size_t i, const char *path, struct slv_err *err) {
    if (!k->secret->there[i]) return 0;
    bool tpm = k->blobs && k->blobs[i].n;
    if (tpm && k->show) return 0;
    int rc = tpm ? slv_tpm_unseal(k->blobs[i].p, k->blobs[i].n, k->secret->seed[i], err) : 0;
    if (rc) return slv_err_prefix(err, rc, "%s: key %s", path, k->pubs.v[i].id);
    if (fits(k, i)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "%s: the secret of key %s is not that key's", path,
                       k->pubs.v[i].id);
}

/* The lines of one key: into the next place. */
static int read_one(struct slv_key *k, struct slv_fields *f, const char *path,
                    struct slv_err *err) {
    size_t i = k->pubs.n;
    struct slv_pub p;
    if (i == SLV_PUB_CHAIN_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s: more than %d keys", path, SLV_PUB_CHAIN_MAX);
    slv_pub_fields(f, !i, &p);
    int rc = read_secret(k, i, f, err);
    if (rc) return rc;
    if (f->missed) return slv_fields_check(f, path, err);
    if (i && !slv_pub_follows(&p, k->pubs.v[i - 1].key))
        return slv_err_set(err, SLV_E_TRUST, "%s: key %s is not signed by the one before it", path,
                           p.id);
    if (slv_pubs_add(&k->pubs, &p)) return no_memory(err);
    return fetch_secret(k, i, path, err);
}

static int read_text(struct slv_key *k, const struct slv_secret *s, const char *path,
                     struct slv_err *err) {
    struct slv_fields f;
    int rc = 0;
    slv_fields_init(&f, s->data, s->n, TITLE);
    do
        rc = read_one(k, &f, path, err);
    while (!rc && !slv_fields_at_end(&f));
    if (!rc) rc = slv_fields_check(&f, path, err);
    if (!rc && !k->secret->there[k->pubs.n - 1])
        rc = slv_err_set(err, SLV_E_FORMAT, "%s: the key in use has no secret", path);
    return rc;
}

int slv_key_open(const char *path, bool show, struct slv_key **ret, struct slv_err *err) {
    struct slv_secret s = {0};
    struct slv_key *k = NULL;
    int rc = slv_secret_read(path, FILE_MAX, &s, err);
    if (rc == SLV_E_NOENT) return no_key(path, err);
    if (!rc) rc = alloc_key(&k, err);
    if (!rc) k->show = show;
    if (!rc) rc = read_text(k, &s, path, err);
    if (!rc && show) sodium_memzero(k->secret->seed, sizeof k->secret->seed);
    slv_secret_fini(&s);
    if (rc) slv_key_close(k);
    else *ret = k;
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Into memory that is taken at once, so that no piece of it is left behind by growing. */
static void put_text(const struct slv_key *k, struct slv_buf *out) {
    slv_buf_adds(out, TITLE "\n");
    for (size_t i = 0; i < k->pubs.n; i++) {
        slv_pub_put(&k->pubs.v[i], out);
        if (!k->secret->there[i]) slv_buf_adds(out, "forgotten\n");
        else if (k->blobs && k->blobs[i].n)
            slv_fields_put_bytes(out, "tpm", k->blobs[i].p, k->blobs[i].n);
        else slv_fields_put_bytes(out, "secret", k->secret->seed[i], SEED);
    }
}

static int write_text(const struct slv_key *k, struct slv_newfile *f, struct slv_err *err) {
    struct slv_secret s = {.room = FILE_MAX};
    s.data = slv_secret_alloc(s.room);
    if (!s.data) return no_memory(err);
    /* Never grows: cap is all of max. The memory stays ours. */
    struct slv_buf out = {.data = s.data, .cap = s.room, .max = s.room - 1};
    put_text(k, &out);
    int rc = out.status ? slv_err_set(err, out.status, "key: %s", slv_strerror(out.status))
                        : slv_newfile_write(f, out.data, out.len, 0, err);
    slv_secret_fini(&s);
    return rc;
}

static int make_folder_of(const char *path, struct slv_err *err) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return 0;
    char *folder = slv_mem_strndup(path, (size_t)(slash - path));
    int rc = folder ? slv_folder_make(folder, 0700, err) : no_memory(err);
    slv_mem_free(folder);
    return rc;
}

int slv_key_save(const struct slv_key *k, const char *path, bool replace, struct slv_err *err) {
    struct slv_newfile f;
    int rc = make_folder_of(path, err);
    if (!rc) rc = slv_newfile_open(path, &f, err);
    if (rc) return rc;
    rc = write_text(k, &f, err);
    if (!rc) rc = replace ? slv_newfile_commit(&f, err) : slv_newfile_commit_new(&f, err);
    slv_newfile_close(&f);
    return rc;
}

/* The new file is locked before the old one is read: of two rotations at once one is SLV_E_BUSY. */
int slv_key_rotate(const char *path, bool forget, struct slv_key **ret, struct slv_err *err) {
    struct slv_newfile f;
    struct slv_key *k = NULL;
    int rc = slv_newfile_open(path, &f, err);
    if (rc == SLV_E_NOENT) return no_key(path, err);
    if (rc) return rc;
    rc = slv_key_open(path, false, &k, err);
    if (!rc) rc = add_new(k, slv_key_in_tpm(k), err);
    for (size_t i = 0; !rc && forget && i + 1 < k->pubs.n; i++)
        k->secret->there[i] = false;
    if (!rc) rc = write_text(k, &f, err);
    if (!rc) rc = slv_newfile_commit(&f, err);
    slv_newfile_close(&f);
    if (!rc && ret) *ret = k;
    else slv_key_close(k);
    return rc;
}
