/* fields.h: small text files of this room: lines "NAME VALUE", read strictly.
 *
 *     selvage signature 1
 *     key 1f8a..
 *     size 98362432
 *
 * Each line ends in one line feed; there is one way to write each value, so that a file that reads
 * well is, to the byte, the one that was written. Numbers are decimal without leading zeros, bytes
 * are lower-case hexadecimal. The first thing that is wrong sticks: read on, and look once at the
 * end. Threads: one. */
#ifndef SLV_TRUST_FIELDS_H
#define SLV_TRUST_FIELDS_H

#include "base/buf.h"
#include "base/err.h"

struct slv_fields {
    const char *p, *end;
    size_t line;        /* of p, from 1 */
    const char *missed; /* the name of the first field that was not as it must be; NULL: none */
    size_t missed_line;
};

/* s[0..n) is borrowed. `title` is the whole first line, without the line feed. */
void slv_fields_init(struct slv_fields *f, const char *s, size_t n, const char *title);
/* Whether the next line has that name; false at the end, and once something was wrong. */
bool slv_fields_next_is(const struct slv_fields *f, const char *name);
bool slv_fields_at_end(const struct slv_fields *f);

void slv_fields_uint(struct slv_fields *f, const char *name, uint64_t *ret);
/* Exactly n bytes. */
void slv_fields_bytes(struct slv_fields *f, const char *name, void *ret, size_t n);
/* 1 to max bytes; *ret_n says how many. */
void slv_fields_blob(struct slv_fields *f, const char *name, void *ret, size_t max, size_t *ret_n);
/* A line that is the name only. */
void slv_fields_word(struct slv_fields *f, const char *name);

/* 0, or SLV_E_FORMAT "WHAT: line 3: FIELD is missing or malformed". */
int slv_fields_check(const struct slv_fields *f, const char *what, struct slv_err *err);

/* Writing: one line each. Errors are the buffer's. */
void slv_fields_put_bytes(struct slv_buf *b, const char *name, const void *p, size_t n);

#define SLV_HEX(n) (2 * (n) + 1)
/* 2 n digits and a NUL. In constant time, for secrets. */
void slv_hex_write(const void *p, size_t n, char *out);
/* Reads n bytes from exactly 2 n lower-case digits, which need no end. In constant time. */
bool slv_hex_read(const char *s, void *ret, size_t n) SLV_MUST_USE;

#endif
