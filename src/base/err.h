/* err.h: filling in and passing on struct slv_err.
 *
 * The lowest layer that knows the reason calls slv_err_set(); each caller that can say where it
 * happened calls slv_err_prefix() on the way up, so that the message reads from the outside in:
 * "model.gguf: tensor 'blk.0.attn_q.weight': offset 96 is not a multiple of 32".
 */
#ifndef SLV_BASE_ERR_H
#define SLV_BASE_ERR_H

#include "selvage.h"
#include <stdarg.h>

/* Sets code and message (printf form) if err is not NULL. Returns `code`, so that the caller can
 * write `return slv_err_set(err, SLV_E_FORMAT, ...)`. Bytes outside printable UTF-8 in the result
 * are replaced by '?', so that names taken from hostile files cannot drive a terminal. */
int slv_err_set(struct slv_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int slv_err_vset(struct slv_err *err, int code, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* Puts "PREFIX: " before the message. Returns err->code, or `code` where err is NULL. A message
 * that grows past the buffer loses its tail. */
int slv_err_prefix(struct slv_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The program's exit status for a library code: 0 for SLV_OK, 1 for unknown codes. */
int slv_err_exit_status(int code);

#endif
