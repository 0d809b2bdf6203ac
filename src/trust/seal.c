/* seal.c: a whole file into a sealed one (seal.h). */
#include "base/mem.h"
#include "trust/seal_int.h"
#include "trust/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE SLV_SEAL_BLOCK

struct sealer {
    int fd;         /* of what is sealed */
    const char *in; /* its name */
    uint8_t *piece; /* [PIECE] */
    uint64_t total; /* to expect; 0: unknown */
    uint64_t done;
    const struct slv_ui *ui;
};

static int interrupted(const struct sealer *s, struct slv_err *err) {
    return slv_err_set(err, SLV_E_CANCELLED, "%s: interrupted", s->in);
}

/* A whole piece, or what is left. */
static int fill(struct sealer *s, size_t *ret_n, struct slv_err *err) {
    size_t n = 0;
    while (n < PIECE) {
        ssize_t r = read(s->fd, s->piece + n, PIECE - n);
        if (r < 0 && errno == EINTR && !slv_ui_cancelled(s->ui)) continue;
        if (r < 0 && errno == EINTR) return interrupted(s, err);
        if (r < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", s->in, strerror(errno));
        if (r == 0) break;
        n += (size_t)r;
    }
    *ret_n = n;
    return 0;
}

static int put_pieces(struct sealer *s, struct slv_seal_writer *w, struct slv_err *err) {
    for (;;) {
        size_t n = 0;
        if (slv_ui_cancelled(s->ui)) return interrupted(s, err);
        int rc = fill(s, &n, err);
        if (!rc) rc = slv__seal_writer_add(w, s->piece, n, err);
        if (rc) return rc;
        s->done += n;
        slv_ui_progress(s->ui, s->in, s->done, s->total);
        if (n < PIECE) return 0;
    }
}

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
    if ((uint64_t)st.st_size == s->done) return 0;
    return slv_err_set(err, SLV_E_IO, "%s: has changed while it was read", s->in);
}

int slv_seal_file(const char *in, const char *out, const struct slv_pubs *to,
                  const struct slv_ui *ui, uint64_t *ret_size, struct slv_err *err) {
    struct sealer s = {.fd = -1, .in = in, .ui = ui};
    const struct slv_seal_for all = {.devices = to};
    struct slv_seal_writer *w = NULL;
    s.piece = slv_mem_alloc(PIECE);
    int rc = s.piece ? open_in(&s, err) : slv_err_set(err, SLV_E_NOMEM, "seal: out of memory");
    if (!rc) rc = slv__seal_writer_open(out, &all, &w, err);
    if (!rc) rc = put_pieces(&s, w, err);
    if (!rc) rc = check_unchanged(&s, err);
    if (!rc) rc = slv__seal_writer_commit(w, ret_size, err);
    slv__seal_writer_close(w);
    if (s.piece) sodium_memzero(s.piece, PIECE);
    slv_mem_free(s.piece);
    if (s.fd > STDIN_FILENO) close(s.fd);
    return rc;
}
