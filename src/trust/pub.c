/* pub.c: see pub.h. */
#include "trust/pub.h"
#include "base/file.h"
#include "base/mem.h"
#include "trust/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define TITLE "selvage public key 1"

_Static_assert(SLV_PUB_BYTES == crypto_sign_PUBLICKEYBYTES && SLV_SIG_BYTES == crypto_sign_BYTES,
               "Ed25519");
_Static_assert(SLV_WRAP_BYTES == 32 + crypto_box_SEALBYTES, "sealed box");

/* --- one key ---------------------------------------------------------------------------------- */

void slv_pub_id(const uint8_t key[SLV_PUB_BYTES], char ret[SLV_KEYID_HEX]) {
    uint8_t hash[32];
    crypto_generichash(hash, sizeof hash, key, SLV_PUB_BYTES, NULL, 0);
    slv_hex_write(hash, SLV_KEYID_BYTES, ret);
}

bool slv_keyid_valid(const char *s) {
    return strspn(s, "0123456789abcdef") == SLV_KEYID_HEX - 1 && !s[SLV_KEYID_HEX - 1];
}

void slv_pub_succession(const uint8_t before[SLV_PUB_BYTES], const struct slv_pub *p,
                        uint8_t ret[SLV_SUCCESSION_BYTES]) {
    static const char domain[32] = "selvage key succession 1";
    memcpy(ret, domain, 32);
    memcpy(ret + 32, before, SLV_PUB_BYTES);
    memcpy(ret + 64, p->key, SLV_PUB_BYTES);
    for (size_t i = 0; i < 8; i++)
        ret[96 + i] = (uint8_t)(p->created >> (8 * i));
}

bool slv_pub_verify(const uint8_t key[SLV_PUB_BYTES], const void *p, size_t n,
                    const uint8_t sig[SLV_SIG_BYTES]) {
    return !crypto_sign_verify_detached(sig, p, n, key);
}

bool slv_pub_follows(const struct slv_pub *p, const uint8_t before[SLV_PUB_BYTES]) {
    uint8_t text[SLV_SUCCESSION_BYTES];
    slv_pub_succession(before, p, text);
    return slv_pub_verify(before, text, sizeof text, p->signed_by);
}

int slv_pub_wrap(const uint8_t key[SLV_PUB_BYTES], const uint8_t in[32],
                 uint8_t ret[SLV_WRAP_BYTES], struct slv_err *err) {
    uint8_t x[crypto_box_PUBLICKEYBYTES];
    if (!crypto_sign_ed25519_pk_to_curve25519(x, key) && !crypto_box_seal(ret, in, 32, x)) return 0;
    return slv_err_set(err, SLV_E_TRUST, "not a key that can be sealed for");
}

/* --- a set ------------------------------------------------------------------------------------ */

void slv_pubs_fini(struct slv_pubs *s) {
    if (!s) return;
    slv_mem_free(s->v);
    *s = (struct slv_pubs){0};
}

int slv_pubs_add(struct slv_pubs *s, const struct slv_pub *p) {
    int rc = slv_mem_grow((void **)&s->v, s->n, &s->cap, sizeof *s->v, SLV_PUBS_MAX);
    if (!rc) s->v[s->n++] = *p;
    return rc;
}

const struct slv_pub *slv_pubs_find(const struct slv_pubs *s, const char *id) {
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->v[i].id, id)) return &s->v[i];
    return NULL;
}

/* --- files ------------------------------------------------------------------------------------ */

void slv_pub_fields(struct slv_fields *f, bool first, struct slv_pub *ret) {
    *ret = (struct slv_pub){.first = first};
    slv_fields_uint(f, "created", &ret->created);
    slv_fields_bytes(f, "public", ret->key, sizeof ret->key);
    if (!first) slv_fields_bytes(f, "signed", ret->signed_by, sizeof ret->signed_by);
    slv_pub_id(ret->key, ret->id);
}

void slv_pub_put(const struct slv_pub *p, struct slv_buf *out) {
    slv_buf_addf(out, "created %" PRIu64 "\n", p->created);
    slv_fields_put_bytes(out, "public", p->key, sizeof p->key);
    if (!p->first) slv_fields_put_bytes(out, "signed", p->signed_by, sizeof p->signed_by);
}

int slv_pubs_write(const struct slv_pubs *s, struct slv_buf *out) {
    slv_buf_adds(out, TITLE "\n");
    for (size_t i = 0; i < s->n; i++)
        slv_pub_put(&s->v[i], out);
    return out->status;
}

int slv_pubs_parse(struct slv_pubs *s, const char *text, size_t n, const char *what,
                   struct slv_err *err) {
    struct slv_fields f;
    struct slv_pub p, before = {0};
    size_t n_keys = 0, old = s->n;
    int rc = slv_trust_init(err);
    slv_fields_init(&f, text, n, TITLE);
    do {
        slv_pub_fields(&f, !n_keys, &p);
        if (!rc) rc = slv_fields_at_end(&f) ? slv_fields_check(&f, what, err) : 0;
        if (!rc && n_keys && !slv_pub_follows(&p, before.key))
            rc = slv_err_set(err, SLV_E_TRUST, "%s: key %s is not signed by the one before it",
                             what, p.id);
        if (!rc && ++n_keys > SLV_PUB_CHAIN_MAX)
            rc = slv_err_set(err, SLV_E_LIMIT, "%s: more than %d keys", what, SLV_PUB_CHAIN_MAX);
        if (!rc && (rc = slv_pubs_add(s, &p)))
            slv_err_set(err, rc, "%s: %s", what, slv_strerror(rc));
        before = p;
    } while (!rc && !slv_fields_at_end(&f));
    if (rc) s->n = old;
    return rc;
}

/* Whom to trust is not for others to say. */
static int check_writers(int fd, const char *path, struct slv_err *err) {
    struct stat st;
    if (fstat(fd, &st)) return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    if (st.st_uid == 0) st.st_uid = geteuid(); /* root could do as it likes anyway */
    const char *why = slv_file_foreign(&st);
    return why ? slv_err_set(err, SLV_E_TRUST, "%s: %s", path, why) : 0;
}

static int read_file(int fd, const char *path, struct slv_buf *text, struct slv_err *err) {
    size_t n = 0;
    int rc = check_writers(fd, path, err);
    if (rc) return rc;
    if (slv_buf_reserve(text, SLV_PUB_FILE_MAX))
        return slv_err_set(err, text->status, "%.200s: out of memory", path);
    if (!slv_fd_read_at(fd, text->data, SLV_PUB_FILE_MAX, 0, &n))
        return slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno));
    text->len = n;
    return 0;
}

int slv_pubs_read_file(struct slv_pubs *s, const char *path, struct slv_err *err) {
    struct slv_buf text;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                           "%s: %s", path, strerror(errno));
    slv_buf_init(&text, SLV_PUB_FILE_MAX);
    int rc = read_file(fd, path, &text, err);
    if (!rc) rc = slv_pubs_parse(s, text.data, text.len, path, err);
    slv_buf_fini(&text);
    close(fd);
    return rc;
}

static int read_entry(struct slv_pubs *s, const char *folder, const char *name,
                      struct slv_err *err) {
    struct slv_buf path;
    size_t n = strlen(name), suffix = sizeof SLV_PUB_SUFFIX - 1;
    if (name[0] == '.' || n <= suffix || strcmp(name + n - suffix, SLV_PUB_SUFFIX)) return 0;
    slv_buf_init(&path, 8192);
    int rc = slv_buf_addf(&path, "%s/%s", folder, name);
    if (rc) slv_err_set(err, rc, "%s: %s", folder, slv_strerror(rc));
    else rc = slv_pubs_read_file(s, path.data, err);
    slv_buf_fini(&path);
    return rc;
}

int slv_pubs_read_folder(struct slv_pubs *s, const char *folder, struct slv_err *err) {
    struct dirent *e;
    DIR *d = opendir(folder);
    if (!d && errno == ENOENT) return 0;
    if (!d) return slv_err_set(err, SLV_E_IO, "%s: %s", folder, strerror(errno));
    int rc = 0;
    while (!rc && (e = readdir(d)))
        rc = read_entry(s, folder, e->d_name, err);
    closedir(d);
    return rc;
}
