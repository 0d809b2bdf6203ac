/* seal.c: writing sealed files (seal.h). The header comes last, when the size is known: until then
 * there are zeros in its place, and the file has its temporary name. */
#include "base/file.h"
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sealer {
    int fd;         /* of what is sealed */
    const char *in; /* its name */
    struct slv_newfile out;
    struct slv_seal_keys *keys; /* slv_secret_alloc */
    struct slv_seal_head head;
    uint8_t bytes[SLV_SEAL_HEAD_MAX]; /* of the header */
    struct slv_aead *aead;
    uint8_t *block[2]; /* the one that is sealed, and the one after it; a stride each */
    uint64_t total;    /* to expect; 0: unknown */
    const struct slv_ui *ui;
};

static int no_memory(struct slv_err *err) {
    return slv_err_set(err, SLV_E_NOMEM, "seal: out of memory");
}

/* --- recipients ------------------------------------------------------------------------------- */

static int wrap_for_all(struct sealer *s, const struct slv_pubs *to, struct slv_err *err) {
    if (!to->n || to->n > SLV_SEAL_FOR_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "seal: for %zu keys: there are 1 to %d", to->n,
                           SLV_SEAL_FOR_MAX);
    s->head.n_for = to->n;
    s->head.bytes = SLV_SEAL_FIXED + to->n * SLV_SEAL_SLOT + SLV_SEAL_MAC;
    randombytes_buf(s->keys->file, sizeof s->keys->file);
    slv__seal_derive(s->keys);
    for (size_t i = 0; i < to->n; i++) {
        uint8_t *slot = s->bytes + SLV_SEAL_FIXED + i * SLV_SEAL_SLOT;
        if (!slv_hex_read(to->v[i].id, slot, SLV_KEYID_BYTES))
            return slv_err_set(err, SLV_E_INTERNAL, "seal: not a key id");
        int rc = slv_pub_wrap(to->v[i].key, s->keys->file, slot + SLV_KEYID_BYTES, err);
        if (rc) return slv_err_prefix(err, rc, "seal: key %s", to->v[i].id);
    }
    return slv_aead_open(s->keys->block, &s->aead, err);
}

/* --- blocks ----------------------------------------------------------------------------------- */

static int interrupted(const struct sealer *s, struct slv_err *err) {
    return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", s->in);
}

/* A whole block, or what is left. */
static int fill(struct sealer *s, uint8_t *p, size_t *ret_n, struct slv_err *err) {
    size_t n = 0;
    while (n < SLV_SEAL_BLOCK) {
        ssize_t r = read(s->fd, p + n, SLV_SEAL_BLOCK - n);
        if (r < 0 && errno == EINTR && !slv_ui_cancelled(s->ui)) continue;
        if (r < 0 && errno == EINTR) return interrupted(s, err);
        if (r < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", s->in, strerror(errno));
        if (r == 0) break;
        n += (size_t)r;
    }
    *ret_n = n;
    return 0;
}

static int put_block(struct sealer *s, uint64_t i, bool last, size_t n, struct slv_err *err) {
    if (s->head.size + n > SLV_SEAL_SIZE_MAX)
        return slv_err_set(err, SLV_E_LIMIT, "%s: too long to be sealed", s->in);
    int rc = slv_aead_seal(s->aead, i, last, s->block[0], n);
    if (rc) return no_memory(err);
    s->head.size += n;
    return slv_newfile_write(&s->out, s->block[0], n + SLV_AEAD_TAG,
                             s->head.bytes + i * SLV_SEAL_STRIDE, err);
}

/* The block after the next is read before that is sealed: whether it is the last is part of it. */
static int put_blocks(struct sealer *s, struct slv_err *err) {
    size_t n = 0, next = 0;
    bool last = false;
    int rc = fill(s, s->block[0], &n, err);
    for (uint64_t i = 0; !rc && !last; i++) {
        if (slv_ui_cancelled(s->ui)) return interrupted(s, err);
        rc = n == SLV_SEAL_BLOCK ? fill(s, s->block[1], &next, err) : 0;
        if (n < SLV_SEAL_BLOCK) next = 0;
        last = !next;
        if (!rc) rc = put_block(s, i, last, n, err);
        slv_ui_progress(s->ui, s->in, s->head.size, s->total);
        uint8_t *used = s->block[0];
        s->block[0] = s->block[1];
        s->block[1] = used;
        n = next;
    }
    return rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int open_in(struct sealer *s, struct slv_err *err) {
    struct stat st;
    bool is_stdin = !strcmp(s->in, "-");
    s->fd = is_stdin ? STDIN_FILENO : open(s->in, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (is_stdin) s->in = "standard input";
    if (s->fd < 0 || fstat(s->fd, &st))
        return slv_err_set(err, errno == ENOENT || errno == ENOTDIR ? SLV_E_NOENT : SLV_E_IO,
                           "%s: %s", s->in, strerror(errno));
    if (S_ISREG(st.st_mode)) s->total = (uint64_t)st.st_size;
    return 0;
}

static int check_unchanged(const struct sealer *s, struct slv_err *err) {
    struct stat st;
    if (fstat(s->fd, &st) || !S_ISREG(st.st_mode) || s->fd == STDIN_FILENO) return 0;
    if ((uint64_t)st.st_size == s->head.size) return 0;
    return slv_err_set(err, SLV_E_IO, "%s: has changed while it was read", s->in);
}

static int write_all(struct sealer *s, struct slv_err *err) {
    int rc = put_blocks(s, err);
    if (!rc) rc = check_unchanged(s, err);
    if (rc) return rc;
    s->head.n_blocks = slv__seal_blocks(s->head.size);
    slv__seal_head_put(&s->head, s->keys, s->bytes);
    rc = slv_newfile_write(&s->out, s->bytes, s->head.bytes, 0, err);
    return rc ? rc : slv_newfile_commit(&s->out, err);
}

static int prepare(struct sealer *s, const struct slv_pubs *to, struct slv_err *err) {
    int rc = slv_trust_init(err);
    if (rc) return rc;
    s->keys = slv_secret_alloc(sizeof *s->keys);
    s->block[0] = slv_mem_alloc(SLV_SEAL_STRIDE);
    s->block[1] = slv_mem_alloc(SLV_SEAL_STRIDE);
    if (!s->keys || !s->block[0] || !s->block[1]) return no_memory(err);
    rc = wrap_for_all(s, to, err);
    return rc ? rc : open_in(s, err);
}

static void finish(struct sealer *s) {
    for (size_t i = 0; i < 2; i++) {
        if (s->block[i]) sodium_memzero(s->block[i], SLV_SEAL_STRIDE);
        slv_mem_free(s->block[i]);
    }
    slv_aead_close(s->aead);
    slv_secret_free(s->keys, sizeof *s->keys);
    if (s->fd > STDIN_FILENO) close(s->fd);
}

int slv_seal_file(const char *in, const char *out, const struct slv_pubs *to,
                  const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) {
    struct sealer s = {.fd = -1, .in = in, .out.fd = -1, .ui = ui};
    int rc = prepare(&s, to, err);
    if (!rc) rc = slv_newfile_open(out, &s.out, err);
    if (!rc) {
        rc = write_all(&s, err);
        slv_newfile_close(&s.out);
    }
    if (!rc && ret_size) *ret_size = s.head.size;
    finish(&s);
    return rc;
}
