/* audit_tail.h: the last records of an audit log, as they stand. Nothing is verified: audit_check.h
 * does that. */
#ifndef SLV_TRUST_AUDIT_TAIL_H
#define SLV_TRUST_AUDIT_TAIL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A line without its line feed; what it returns, unless 0, ends the tail and is returned. */
typedef int (*slv_audit_tail_fn)(void *ctx, const char *line, size_t n, struct slv_err *err);

/* Calls fn for the last n lines of a log, oldest first, from as many of its segments as that takes;
 * those that were put away are passed over. The log may be written meanwhile: a piece of a record
 * at its end is no line. SLV_E_NOENT, SLV_E_IO, SLV_E_FORMAT: it is no audit log; SLV_E_NOMEM. */
int slv_audit_tail(const char *log, uint64_t n, slv_audit_tail_fn fn, void *ctx,
                   struct slv_err *err) SLV_MUST_USE;

#endif
