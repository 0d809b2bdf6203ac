/* head.h: the head of an HTTP/1.1 request, and the body behind it, read strictly.
 *
 *     POST /v1/models HTTP/1.1\r\n      request line
 *     Host: edge\r\n                    fields
 *     Content-Length: 2\r\n
 *     \r\n
 *     {}                                body, by length or in chunks
 *
 * What two readers of one request might understand differently is refused, so that nobody can
 * smuggle a request past a proxy: lines end in CRLF and nothing else does, no NUL and no control
 * character, no folded field, no space before a colon, one Host, one Content-Length of digits, one
 * Transfer-Encoding that is "chunked", never both, chunks without extensions or trailers. What is
 * wrong is an HTTP status and a sentence.
 *
 * Why not evhttp: it takes bare line feeds and the first of two lengths, and ends the process when
 * a client sends on while its request is being answered (libevent issues 666, 794, 1081).
 *
 * Sources: RFC 9110 (fields, methods), RFC 9112 (sections 2.2, 3, 5, 6, 7.1, 11.2), RFC 3986 (2.1).
 * Threads: any; nothing here is shared. */
#ifndef SLV_NET_HEAD_H
#define SLV_NET_HEAD_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define SLV_HEAD_MAX ((size_t)16384) /* bytes of the request line and all fields */
#define SLV_HEAD_TARGET_MAX ((size_t)4096)
#define SLV_HEAD_FIELDS_MAX 64

/* Methods that are told apart; others are SLV_METHOD_OTHER, and no error. */
enum slv_method {
    SLV_METHOD_OTHER,
    SLV_METHOD_GET,
    SLV_METHOD_HEAD,
    SLV_METHOD_POST,
    SLV_METHOD_PUT,
    SLV_METHOD_DELETE,
    SLV_METHOD_OPTIONS,
    SLV_METHOD_COUNT
};

/* name is in small letters; value has no space around it. */
struct slv_field {
    struct slv_str name, value;
};

/* Strings point into the bytes that were read, in which names of fields became small letters. */
struct slv_head {
    enum slv_method method;
    struct slv_str method_text;
    struct slv_str path;  /* "/v1/models", as sent; begins with a slash, or is "*" */
    struct slv_str query; /* what stands behind '?', or empty */
    unsigned minor;       /* HTTP/1.minor: 0 or 1 */
    struct slv_field field[SLV_HEAD_FIELDS_MAX];
    size_t n_fields;
    struct slv_str host; /* empty only for HTTP/1.0 */
    bool keep_alive, expects_continue;
    bool chunked;          /* else: */
    uint64_t content_size; /* bytes of the body; 0: none */
};

/* Bytes of p[0..n) up to and with the empty line that ends a head; 0: it is not there yet. */
size_t slv_head_find(const char *p, size_t n);

/* Reads a head that slv_head_find measured. Returns 0, or the status to answer with (400, 413, 414,
 * 417, 431, 501, 505) and what is wrong in `err`. p is changed. */
int slv_head_read(char *p, size_t n, struct slv_head *ret, struct slv_err *err) SLV_MUST_USE;

/* What may be said of bytes whose head has not ended: 0, or 400 or 431, as above. `from` bytes were
 * looked at before. */
int slv_head_check(const char *p, size_t n, size_t from, struct slv_err *err) SLV_MUST_USE;

/* The value of a field (name in small letters); empty with p NULL if there is none, the first if
 * there are several. */
struct slv_str slv_head_field(const struct slv_head *h, const char *name);

/* "GET"; NULL for SLV_METHOD_OTHER. */
const char *slv_method_name(enum slv_method m);

/* A part of a path without its percent-encoding (RFC 3986, section 2.1), and a NUL behind it.
 * False: a '%' without two hex digits, a NUL byte, bytes that are no UTF-8, or more than ret has
 * room for; SLV_HEAD_TARGET_MAX + 1 is always enough. What has no '%' is as it was. */
bool slv_head_decode(struct slv_str s, char *ret, size_t max) SLV_MUST_USE;

/* --- body ------------------------------------------------------------------------------------- */

/* A body on its way. */
struct slv_body {
    bool chunked, ended;
    uint64_t left; /* bytes of the chunk, or of the body */
    int state;     /* of the chunk's line */
    uint32_t n_digits;
    uint64_t size;
};

void slv_body_init(struct slv_body *b, const struct slv_head *h);

/* Takes bytes of p[0..n) and appends those of the body to out, whose maximum is the limit. *ret:
 * how many were taken; all, unless the body ends before. Returns 0, or 400, 413 or 500 and what is
 * wrong. */
int slv_body_feed(struct slv_body *b, const char *p, size_t n, struct slv_buf *out, size_t *ret,
                  struct slv_err *err) SLV_MUST_USE;

#endif
