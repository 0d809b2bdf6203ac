/* buf.h: a growable byte buffer that states its maximum at birth.
 *
 * Errors are sticky: after a failed append every later one fails too, and `status` says why
 * (SLV_E_NOMEM or SLV_E_LIMIT), so that a run of appends needs one check at its end. What was
 * appended before the failure stays. The bytes are always followed by a NUL that is not counted.
 * Threads: one. */
#ifndef SLV_BASE_BUF_H
#define SLV_BASE_BUF_H

#include "selvage.h"
#include <stdarg.h>

struct slv_buf {
    char *data; /* "" while empty; never NULL */
    size_t len;
    size_t cap; /* bytes allocated; 0: data is a constant */
    size_t max; /* most bytes of content */
    int status;
};

void slv_buf_init(struct slv_buf *b, size_t max);
void slv_buf_fini(struct slv_buf *b);

/* Empties the buffer, keeps its memory, clears the status. */
void slv_buf_clear(struct slv_buf *b);

/* Each returns b->status. */
int slv_buf_add(struct slv_buf *b, const void *p, size_t n);
int slv_buf_adds(struct slv_buf *b, const char *s);
int slv_buf_addc(struct slv_buf *b, char c);
int slv_buf_addf(struct slv_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int slv_buf_vaddf(struct slv_buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Makes room for n more bytes without adding them. */
int slv_buf_reserve(struct slv_buf *b, size_t n);

/* Hands the bytes to the caller, who frees them with slv_mem_free; the buffer is empty after.
 * NULL when the status is not 0 or memory is out. *ret_len may be NULL. */
char *slv_buf_take(struct slv_buf *b, size_t *ret_len) SLV_MUST_USE;

#endif
