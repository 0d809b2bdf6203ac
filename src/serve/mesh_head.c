/* mesh_head.c: see mesh_head.h. */
#include "serve/mesh_head.h"
#include "base/err.h"
#include "net/head.h"

#include <strings.h>

#define DIGITS_MAX 15

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* "HTTP/1.1 200 OK" */
static bool read_status(struct slv_str line, int *ret) {
    static const char before[] = "HTTP/1.";
    const size_t n = sizeof before - 1;
    if (line.n < n + 5 || memcmp(line.p, before, n) || !is_digit(line.p[n])) return false;
    const char *d = line.p + n + 1;
    if (d[0] != ' ' || !is_digit(d[1]) || !is_digit(d[2]) || !is_digit(d[3])) return false;
    if (line.n > n + 5 && d[4] != ' ') return false;
    *ret = (d[1] - '0') * 100 + (d[2] - '0') * 10 + (d[3] - '0');
    return *ret >= 200 && *ret <= 599;
}

/* What stands behind "NAME:", without space before it; p NULL: it is another field. */
static struct slv_str value_of(struct slv_str line, const char *name) {
    const size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp(line.p, name, n) != 0)
        return (struct slv_str){NULL, 0};
    struct slv_str v = {line.p + n + 1, line.n - n - 1};
    while (v.n && *v.p == ' ') {
        v.p++;
        v.n--;
    }
    return v;
}

static bool read_size(struct slv_str v, struct serve_mesh_head *h) {
    if (h->has_size || !v.n || v.n > DIGITS_MAX) return false;
    h->has_size = true;
    for (size_t i = 0; i < v.n; i++) {
        if (!is_digit(v.p[i])) return false;
        h->size = h->size * 10 + (uint64_t)(v.p[i] - '0');
    }
    return true;
}

static bool read_token(struct slv_str v, struct serve_mesh_head *h) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (h->token.p || !v.n) return false;
    for (size_t i = 0; i < v.n; i++)
        if (!memchr(letters, v.p[i], sizeof letters - 1)) return false;
    h->token = v;
    return true;
}

int serve_mesh_head_read(const char *p, size_t n, struct serve_mesh_head *ret) {
    struct serve_mesh_head h = {.n = slv_head_find(p, n)};
    size_t at = 0;
    if (!h.n) return n > SERVE_MESH_HEAD_MAX ? SLV_E_FORMAT : SLV_E_BUSY;
    if (h.n > SERVE_MESH_HEAD_MAX || slv_head_check(p, h.n, 0, NULL)) return SLV_E_FORMAT;
    for (bool first = true; at + 2 < h.n; first = false) {
        const char *end = memchr(p + at, '\r', h.n - at);
        const struct slv_str line = {p + at, (size_t)(end - (p + at))};
        if (first && !read_status(line, &h.status)) return SLV_E_FORMAT;
        const struct slv_str size = value_of(line, "content-length");
        if (size.p && !read_size(size, &h)) return SLV_E_FORMAT;
        const struct slv_str token = value_of(line, SERVE_MESH_TOKEN);
        if (token.p && !read_token(token, &h)) return SLV_E_FORMAT;
        if (value_of(line, "transfer-encoding").p) return SLV_E_FORMAT;
        at += line.n + 2;
    }
    *ret = h;
    return h.status ? 0 : SLV_E_FORMAT;
}
