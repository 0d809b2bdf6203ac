/* head.c: see head.h. */
#define _GNU_SOURCE /* memmem */
#include "net/head.h"
#include "base/utf8.h"

#include <string.h>

static int refuse(int status, struct slv_err *err, const char *what) {
    slv_err_set(err, SLV_E_FORMAT, "%s", what);
    return status;
}

/* --- characters (RFC 9110, section 5.6.2) ----------------------------------------------------- */

static bool is_token_char(unsigned char c) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return c && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_visible(unsigned char c) { return c > ' ' && c < 0x7f; }

/* Of a field's value: also what is not ASCII, which no field that is read here may have. */
static bool is_value_char(unsigned char c) { return c == '\t' || (c >= ' ' && c != 0x7f); }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool same_word(struct slv_str s, const char *word) {
    if (s.n != strlen(word)) return false;
    for (size_t i = 0; i < s.n; i++)
        if (lower(s.p[i]) != word[i]) return false;
    return true;
}

/* --- lines ------------------------------------------------------------------------------------ */

size_t slv_head_find(const char *p, size_t n) {
    const char *at = n ? memmem(p, n, "\r\n\r\n", 4) : NULL;
    return at ? (size_t)(at - p) + 4 : 0;
}

int slv_head_check(const char *p, size_t n, size_t from, struct slv_err *err) {
    for (size_t i = from; i < n; i++) {
        if (p[i] == '\n' && (i == 0 || p[i - 1] != '\r'))
            return refuse(400, err, "a line feed without a carriage return");
        if (i && p[i - 1] == '\r' && p[i] != '\n')
            return refuse(400, err, "a carriage return without a line feed");
        if (!p[i]) return refuse(400, err, "a NUL byte in the head");
    }
    if (n > SLV_HEAD_MAX) return refuse(431, err, "the head is longer than 16384 bytes");
    return 0;
}

/* The next line without its end; false where there is none. */
static bool next_line(char **p, char *end, struct slv_str *ret) {
    if (*p >= end) return false;
    char *eol = memmem(*p, (size_t)(end - *p), "\r\n", 2);
    if (!eol) return false;
    *ret = (struct slv_str){*p, (size_t)(eol - *p)};
    *p = eol + 2;
    return true;
}

/* --- the request line ------------------------------------------------------------------------- */

static const char *const method_names[SLV_METHOD_COUNT] = {
    [SLV_METHOD_GET] = "GET", [SLV_METHOD_HEAD] = "HEAD",     [SLV_METHOD_POST] = "POST",
    [SLV_METHOD_PUT] = "PUT", [SLV_METHOD_DELETE] = "DELETE", [SLV_METHOD_OPTIONS] = "OPTIONS"};

const char *slv_method_name(enum slv_method m) { return method_names[m]; }

static enum slv_method method_of(struct slv_str s) {
    for (int m = SLV_METHOD_OTHER + 1; m < SLV_METHOD_COUNT; m++)
        if (slv_str_is(s, method_names[m])) return (enum slv_method)m;
    return SLV_METHOD_OTHER;
}

/* A name or an address with or without a port (RFC 3986, 3.2.2), and nothing that another reader
 * might find a second name in: no user, no comma, no space. */
static bool is_host(struct slv_str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool word = is_token_char(c) || strchr(":[]()=;", c);
        if (!c || !word) return false;
    }
    return true;
}

/* "http://host/path" says the host as well, and its word counts (RFC 9112, 3.2.2). */
static bool take_authority(struct slv_str *t, struct slv_head *h) {
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t k = strlen(schemes[i]);
        if (t->n < k || !same_word((struct slv_str){t->p, k}, schemes[i])) continue;
        const char *from = t->p + k, *end = t->p + t->n;
        const char *to = from;
        while (to < end && *to != '/' && *to != '?')
            to++;
        h->host = (struct slv_str){from, (size_t)(to - from)};
        *t = (struct slv_str){to, (size_t)(end - to)};
        return h->host.n && is_host(h->host);
    }
    return true;
}

static int read_target(struct slv_str t, struct slv_head *h, struct slv_err *err) {
    if (t.n > SLV_HEAD_TARGET_MAX) return refuse(414, err, "the target is longer than 4096 bytes");
    for (size_t i = 0; i < t.n; i++)
        if (!is_visible((unsigned char)t.p[i]))
            return refuse(400, err, "a character in the target that must be percent-encoded");
    if (!take_authority(&t, h)) return refuse(400, err, "the target's host is no host");
    if (t.n == 1 && t.p[0] == '*' && h->method == SLV_METHOD_OPTIONS) {
        h->path = t;
        return 0;
    }
    if (h->host.n && (!t.n || t.p[0] == '?')) { /* "http://host?query" */
        h->path = (struct slv_str){"/", 1};
        if (t.n) h->query = (struct slv_str){t.p + 1, t.n - 1};
        return 0;
    }
    if (!t.n || t.p[0] != '/') return refuse(400, err, "the target does not begin with '/'");
    const char *q = memchr(t.p, '?', t.n);
    h->path = (struct slv_str){t.p, q ? (size_t)(q - t.p) : t.n};
    if (q) h->query = (struct slv_str){q + 1, t.n - h->path.n - 1};
    return 0;
}

static int read_request_line(struct slv_str line, struct slv_head *h, struct slv_err *err) {
    const char *end = line.p + line.n;
    const char *a = memchr(line.p, ' ', line.n);
    const char *b = a ? memchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
    if (!b || memchr(b + 1, ' ', (size_t)(end - b - 1)))
        return refuse(400, err, "the first line is not \"METHOD TARGET HTTP/1.1\"");
    h->method_text = (struct slv_str){line.p, (size_t)(a - line.p)};
    struct slv_str version = {b + 1, (size_t)(end - b - 1)};
    if (!h->method_text.n) return refuse(400, err, "no method");
    for (size_t i = 0; i < h->method_text.n; i++)
        if (!is_token_char((unsigned char)h->method_text.p[i]))
            return refuse(400, err, "a method that is no word");
    h->method = method_of(h->method_text);
    if (slv_str_is(version, "HTTP/1.0")) h->minor = 0;
    else if (slv_str_is(version, "HTTP/1.1")) h->minor = 1;
    else if (version.n >= 5 && !memcmp(version.p, "HTTP/", 5))
        return refuse(505, err, "HTTP/1.1 and 1.0 are spoken here");
    else return refuse(400, err, "the first line is not \"METHOD TARGET HTTP/1.1\"");
    return read_target((struct slv_str){a + 1, (size_t)(b - a - 1)}, h, err);
}

bool slv_head_decode(struct slv_str s, char *ret, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex(s.p[i + 1]) : -1, low = high < 0 ? -1 : hex(s.p[i + 2]);
            if (low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (!c || n + 1 >= max) return false;
        ret[n++] = c;
    }
    if (n >= max) return false;
    ret[n] = '\0';
    return slv_utf8_valid(ret, n, NULL);
}

/* --- fields ----------------------------------------------------------------------------------- */

static int read_field(struct slv_str line, struct slv_head *h, struct slv_err *err) {
    const char *colon = memchr(line.p, ':', line.n);
    if (line.p[0] == ' ' || line.p[0] == '\t') return refuse(400, err, "a folded field");
    if (!colon || colon == line.p) return refuse(400, err, "a field without a name");
    if (h->n_fields == SLV_HEAD_FIELDS_MAX) return refuse(431, err, "more than 64 fields");
    struct slv_field *f = &h->field[h->n_fields++];
    f->name = (struct slv_str){line.p, (size_t)(colon - line.p)};
    for (size_t i = 0; i < f->name.n; i++) {
        if (!is_token_char((unsigned char)line.p[i]))
            return refuse(400, err, "a field's name has a character that it may not have");
        ((char *)(uintptr_t)line.p)[i] = lower(line.p[i]);
    }
    const char *v = colon + 1, *end = line.p + line.n;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (const char *c = v; c < end; c++)
        if (!is_value_char((unsigned char)*c))
            return refuse(400, err, "a control character in a field");
    f->value = (struct slv_str){v, (size_t)(end - v)};
    return 0;
}

struct slv_str slv_head_field(const struct slv_head *h, const char *name) {
    for (size_t i = 0; i < h->n_fields; i++)
        if (slv_str_is(h->field[i].name, name)) return h->field[i].value;
    return (struct slv_str){NULL, 0};
}

static int read_size(struct slv_str v, uint64_t *ret, struct slv_err *err) {
    uint64_t n = 0;
    if (!v.n) return refuse(400, err, "Content-Length: nothing");
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9') return refuse(400, err, "Content-Length: not a number");
        if (i < 18) n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (v.n > 18) return refuse(413, err, "Content-Length: too large");
    *ret = n;
    return 0;
}

/* Whether a word is among those of "Connection: a, b". */
static bool has_word(struct slv_str list, const char *word) {
    const char *p = list.p, *end = list.p + list.n;
    while (p && p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *to = comma ? comma : end;
        while (p < to && (*p == ' ' || *p == '\t'))
            p++;
        while (to > p && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (same_word((struct slv_str){p, (size_t)(to - p)}, word)) return true;
        p = comma ? comma + 1 : end;
    }
    return false;
}

/* Fields that say where the request ends, and whom it is for. */
static int read_framing(struct slv_head *h, struct slv_err *err) {
    unsigned hosts = 0, lengths = 0, codings = 0;
    h->keep_alive = h->minor == 1;
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct slv_str name = h->field[i].name, v = h->field[i].value;
        if (slv_str_is(name, "host")) {
            if (!is_host(v)) return refuse(400, err, "Host: not a host");
            if (!hosts++ && !h->host.n) h->host = v;
        } else if (slv_str_is(name, "content-length")) {
            int status = lengths++ ? 0 : read_size(v, &h->content_size, err);
            if (status) return status;
        } else if (slv_str_is(name, "transfer-encoding")) {
            codings++;
            if (!same_word(v, "chunked"))
                return refuse(501, err, "Transfer-Encoding: only \"chunked\" is known");
        } else if (slv_str_is(name, "connection")) {
            if (has_word(v, "close")) h->keep_alive = false;
            else if (has_word(v, "keep-alive")) h->keep_alive = true;
        } else if (slv_str_is(name, "expect")) {
            if (!same_word(v, "100-continue")) return refuse(417, err, "Expect: not known");
            h->expects_continue = h->minor == 1;
        }
    }
    if (hosts > 1 || (h->minor == 1 && !hosts)) return refuse(400, err, "not exactly one Host");
    if (lengths > 1) return refuse(400, err, "more than one Content-Length");
    if (codings > 1 || (codings && (lengths || h->minor == 0)))
        return refuse(400, err, "it is not clear where the body ends");
    h->chunked = codings == 1;
    return 0;
}

int slv_head_read(char *p, size_t n, struct slv_head *ret, struct slv_err *err) {
    char *end = p + n - 2; /* without the empty line */
    struct slv_str line;
    *ret = (struct slv_head){0};
    int status = slv_head_check(p, n, 0, err);
    if (!status && !next_line(&p, end, &line)) status = refuse(400, err, "an empty head");
    if (!status) status = read_request_line(line, ret, err);
    while (!status && next_line(&p, end, &line))
        status = read_field(line, ret, err);
    return status ? status : read_framing(ret, err);
}

/* --- body ------------------------------------------------------------------------------------- */

/* Where in a chunked body (RFC 9112, 7.1):
 *
 *     SIZE digits CR | SIZE_LF LF | DATA ... | DATA_CR CR | DATA_LF LF | SIZE 0 CR | SIZE_LF LF |
 *     LAST_CR CR | LAST_LF LF */
enum { SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF, LAST_CR, LAST_LF };

void slv_body_init(struct slv_body *b, const struct slv_head *h) {
    *b = (struct slv_body){.chunked = h->chunked, .left = h->content_size};
    b->ended = !h->chunked && !h->content_size;
}

static int size_digit(struct slv_body *b, char c, struct slv_err *err) {
    int d = hex(c);
    if (c == '\r' && b->n_digits) {
        b->state = SIZE_LF;
        return 0;
    }
    if (d < 0) return refuse(400, err, "a chunk's size is not a number alone");
    if (++b->n_digits > 8) return refuse(413, err, "a chunk is too large");
    b->left = b->left * 16 + (uint64_t)d;
    return 0;
}

/* One byte of what is around the chunks. */
static int frame_byte(struct slv_body *b, char c, struct slv_err *err) {
    static const struct {
        char want;
        int next;
    } step[] = {[SIZE_LF] = {'\n', DATA},
                [DATA_CR] = {'\r', DATA_LF},
                [DATA_LF] = {'\n', SIZE},
                [LAST_CR] = {'\r', LAST_LF},
                [LAST_LF] = {'\n', LAST_LF}};
    if (b->state == SIZE) return size_digit(b, c, err);
    if (c != step[b->state].want)
        return refuse(400, err, "a chunk does not end where it should, or has a trailer");
    if (b->state == LAST_LF) b->ended = true;
    bool last = b->state == SIZE_LF && !b->left;
    b->state = last ? LAST_CR : step[b->state].next;
    if (b->state == SIZE) b->left = b->n_digits = 0;
    return 0;
}

static int add_data(const char *p, size_t n, struct slv_buf *out, struct slv_err *err) {
    int rc = slv_buf_add(out, p, n);
    if (rc == SLV_E_LIMIT) {
        slv_err_set(err, rc, "the body is longer than %zu bytes", out->max);
        return 413;
    }
    return rc ? refuse(500, err, "out of memory") : 0;
}

int slv_body_feed(struct slv_body *b, const char *p, size_t n, struct slv_buf *out, size_t *ret,
                  struct slv_err *err) {
    size_t i = 0;
    int status = 0;
    while (!status && !b->ended && i < n) {
        bool data = !b->chunked || b->state == DATA;
        size_t k = data && b->left < n - i ? (size_t)b->left : n - i;
        if (!data) {
            status = frame_byte(b, p[i++], err);
            continue;
        }
        status = add_data(p + i, k, out, err);
        i += k;
        b->left -= k;
        if (b->left) continue;
        if (b->chunked) b->state = DATA_CR;
        else b->ended = true;
    }
    *ret = i;
    return status;
}
