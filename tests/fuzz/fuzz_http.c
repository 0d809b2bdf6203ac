/* fuzz_http.c: any bytes as requests on one connection: refused with a status and a sentence, or
 * read; and the same whichever way the network cuts them: at once, byte by byte, in pieces that the
 * first two bytes choose. Of what is read nothing may be left that two readers could differ in. */
#include "base/mem.h"
#include "net/head.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX ((size_t)3000)

static void require(bool ok) {
    if (!ok) abort();
}

/* A connection, and a log of all that was read from it. */
struct reader {
    char *buf; /* what came and was not read yet; a block of its size, for the sanitizer */
    size_t n, looked;
    bool in_body;
    int status;
    struct slv_body body;
    struct slv_buf bytes, log;
};

static bool one_line(struct slv_str s) {
    return !s.n || (!memchr(s.p, '\r', s.n) && !memchr(s.p, '\n', s.n) && !memchr(s.p, 0, s.n));
}

static void check_head(const struct slv_head *h) {
    static char plain[SLV_HEAD_TARGET_MAX + 1];
    if (slv_head_decode(h->path, plain, sizeof plain)) require(strlen(plain) <= h->path.n);
    unsigned hosts = 0, lengths = 0, codings = 0;
    require(h->path.n && (h->path.p[0] == '/' || slv_str_is(h->path, "*")));
    require(!memchr(h->path.p, '?', h->path.n) && !memchr(h->path.p, ' ', h->path.n));
    require(one_line(h->path) && one_line(h->query) && one_line(h->host) && h->minor <= 1);
    require(h->n_fields <= SLV_HEAD_FIELDS_MAX && h->content_size < 1000000000000000000u);
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct slv_str name = h->field[i].name, v = h->field[i].value;
        require(name.n && one_line(name) && one_line(v) && !memchr(name.p, ' ', name.n));
        for (size_t k = 0; k < name.n; k++)
            require(name.p[k] < 'A' || name.p[k] > 'Z');
        require(!v.n || (v.p[0] != ' ' && v.p[v.n - 1] != ' ' && v.p[0] != '\t'));
        hosts += slv_str_is(name, "host");
        lengths += slv_str_is(name, "content-length");
        codings += slv_str_is(name, "transfer-encoding");
    }
    require(hosts <= 1 && (hosts || !h->minor) && lengths + codings <= 1);
    require(h->chunked == (codings == 1) && (lengths || !h->content_size));
    require(!h->chunked || h->minor == 1);
}

static void log_head(struct slv_buf *log, const struct slv_head *h) {
    slv_buf_addf(log, "%d %.*s %.*s ? %.*s @ %.*s %d%d%d %llu\n", (int)h->method,
                 (int)h->method_text.n, h->method_text.p, (int)h->path.n, h->path.p,
                 (int)h->query.n, h->query.p ? h->query.p : "", (int)h->host.n,
                 h->host.p ? h->host.p : "", h->keep_alive, h->expects_continue, h->chunked,
                 (unsigned long long)h->content_size);
    for (size_t i = 0; i < h->n_fields; i++)
        slv_buf_addf(log, "%.*s: %.*s\n", (int)h->field[i].name.n, h->field[i].name.p,
                     (int)h->field[i].value.n, h->field[i].value.p);
}

static void drop(struct reader *r, size_t n) {
    memmove(r->buf, r->buf + n, r->n - n);
    r->n -= n;
    r->looked = 0;
}

static void fail(struct reader *r, int status, const struct slv_err *err) {
    require(status >= 400 && status < 600 && err->msg[0] && !strchr(err->msg, '\n'));
    r->status = status;
    slv_buf_addf(&r->log, "%d %s\n", status, err->msg);
}

/* Whether there may be more to do. */
static bool take_head(struct reader *r) {
    struct slv_err err = {0};
    struct slv_head h;
    size_t n = r->n < SLV_HEAD_MAX + 1 ? r->n : SLV_HEAD_MAX + 1;
    size_t end = slv_head_find(r->buf, n);
    int status = slv_head_check(r->buf, end ? end : n, r->looked ? r->looked - 1 : 0, &err);
    if (!status && !end) {
        r->looked = n;
        return false;
    }
    if (!status) {
        char *copy = malloc(end);
        require(copy != NULL);
        memcpy(copy, r->buf, end);
        status = slv_head_read(copy, end, &h, &err);
        if (!status) {
            check_head(&h);
            log_head(&r->log, &h);
            slv_body_init(&r->body, &h);
        }
        free(copy);
    }
    if (status) {
        fail(r, status, &err);
        return false;
    }
    drop(r, end);
    r->in_body = true;
    slv_buf_clear(&r->bytes);
    return true;
}

static bool take_body(struct reader *r) {
    struct slv_err err = {0};
    size_t taken = 0;
    int status = slv_body_feed(&r->body, r->buf, r->n, &r->bytes, &taken, &err);
    require(taken <= r->n && r->bytes.len <= BODY_MAX);
    if (status) {
        fail(r, status, &err);
        return false;
    }
    drop(r, taken);
    if (!r->body.ended) {
        require(!r->n);
        return false;
    }
    slv_buf_addf(&r->log, "%zu bytes: ", r->bytes.len);
    slv_buf_add(&r->log, r->bytes.data, r->bytes.len);
    r->in_body = false;
    return true;
}

static void feed(struct reader *r, const uint8_t *p, size_t n) {
    if (r->status) return;
    char *more = malloc(r->n + n);
    require(more != NULL);
    memcpy(more, r->buf, r->n);
    memcpy(more + r->n, p, n);
    free(r->buf);
    r->buf = more;
    r->n += n;
    bool go_on = true;
    while (go_on && !r->status)
        go_on = r->in_body ? take_body(r) : r->n && take_head(r);
}

/* Pieces of a and b bytes in turn; 0: all at once. */
static void read_all(struct reader *r, const uint8_t *p, size_t n, size_t a, size_t b) {
    *r = (struct reader){.buf = malloc(1)};
    require(r->buf != NULL);
    slv_buf_init(&r->bytes, BODY_MAX);
    slv_buf_init(&r->log, (size_t)1 << 24);
    for (size_t i = 0, k = 0; i < n; i += k, k = 0) {
        size_t next = a ? a : n;
        a = a ? b : 0;
        b = next;
        k = next < n - i ? next : n - i;
        feed(r, p + i, k);
    }
}

static void fini(struct reader *r) {
    free(r->buf);
    slv_buf_fini(&r->bytes);
    slv_buf_fini(&r->log);
}

static void same(const struct reader *a, const struct reader *b) {
    require(a->log.len == b->log.len && !memcmp(a->log.data, b->log.data, a->log.len));
    require(a->status == b->status && a->in_body == b->in_body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader whole, other;
    if (size < 2) return 0;
    read_all(&whole, data + 2, size - 2, 0, 0);
    read_all(&other, data + 2, size - 2, 1u + data[0], 1u + data[1]);
    same(&whole, &other);
    fini(&other);
    if (size < 2000) { /* (a head that comes byte by byte is looked through for each of them) */
        read_all(&other, data + 2, size - 2, 1, 1);
        same(&whole, &other);
        fini(&other);
    }
    fini(&whole);
    return 0;
}
