/* lines.c: see lines.h. */
#include "cli/lines.h"
#include "cli/sig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PIECE 65536
#define LOOK_MS 200 /* between looks for a signal, which may come just before a wait */

int slv_lines_open(const char *path, size_t max, struct slv_lines *ret, struct slv_err *err) {
    bool standard = !strcmp(path, "-");
    *ret = (struct slv_lines){.fd = STDIN_FILENO, .name = standard ? "standard input" : path};
    slv_buf_init(&ret->buf, max + 2 * PIECE);
    if (standard) return 0;
    ret->fd = open(path, O_RDONLY | O_CLOEXEC);
    return ret->fd < 0 ? slv_err_set(err, SLV_E_IO, "%s: %s", path, strerror(errno)) : 0;
}

void slv_lines_close(struct slv_lines *l) {
    slv_buf_fini(&l->buf);
    if (l->fd > STDIN_FILENO) close(l->fd);
}

/* Takes what is there, moving what is left of the buffer to its front. *ret_any: something came. */
static int fill(struct slv_lines *l, bool wait, bool *ret_any, struct slv_err *err) {
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    *ret_any = false;
    int n = poll(&p, 1, wait ? LOOK_MS : 0);
    if (slv_sig_seen()) return slv_err_set(err, SLV_E_CANCELLED, "interrupted");
    if (n == 0 || (n < 0 && errno == EINTR)) return 0;
    memmove(l->buf.data, l->buf.data + l->at, l->buf.len - l->at);
    l->buf.len -= l->at;
    l->looked -= l->at;
    l->at = 0;
    if (slv_buf_reserve(&l->buf, PIECE)) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    ssize_t got = read(l->fd, l->buf.data + l->buf.len, PIECE);
    if (got < 0 && errno == EINTR) return 0;
    if (got < 0) return slv_err_set(err, SLV_E_IO, "%s: %s", l->name, strerror(errno));
    l->buf.len += (size_t)got;
    l->eof = !got;
    *ret_any = true;
    return 0;
}

/* A line that is whole in the buffer, or the end of a last one. False: there is none. */
static bool take(struct slv_lines *l, size_t *ret_from, size_t *ret_n) {
    char *begin = l->buf.data + l->at;
    char *lf = l->looked < l->buf.len
                   ? memchr(l->buf.data + l->looked, '\n', l->buf.len - l->looked)
                   : NULL;
    l->looked = l->buf.len;
    if (!lf && (!l->eof || l->at == l->buf.len)) return false;
    size_t n = lf ? (size_t)(lf - begin) : l->buf.len - l->at;
    *ret_from = l->at;
    l->at += n + (lf ? 1 : 0);
    l->looked = l->at;
    *ret_n = n && begin[n - 1] == '\r' ? n - 1 : n;
    return true;
}

int slv_lines_next(struct slv_lines *l, bool wait, enum slv_lines_got *ret, char **ret_line,
                   size_t *ret_n, struct slv_err *err) {
    const size_t max = l->buf.max - 2 * PIECE;
    for (;;) {
        size_t from = 0, n = 0;
        bool any = false, there = take(l, &from, &n);
        if (there) {
            bool is_long = l->skip || n > max;
            l->skip = false;
            l->number++;
            *ret = is_long ? SLV_LINES_LONG : SLV_LINES_LINE;
            *ret_line = l->buf.data + from;
            *ret_n = n;
            return 0;
        }
        if (l->eof) {
            *ret = SLV_LINES_END;
            return 0;
        }
        if (l->buf.len - l->at > max) { /* its end is looked for, but it is not kept */
            l->skip = true;
            l->at = l->looked = l->buf.len;
        }
        int rc = fill(l, wait, &any, err);
        if (rc) return rc;
        if (any || wait) continue;
        *ret = SLV_LINES_NONE;
        return 0;
    }
}
