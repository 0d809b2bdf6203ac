/* json_parse.h: reading JSON (RFC 8259), with jansson behind this library's allocator.
 *
 * The only file of this room that links more than libc: it is part of the program and of the rooms
 * above the engine, not of the engine's library. */
#ifndef SLV_BASE_JSON_PARSE_H
#define SLV_BASE_JSON_PARSE_H

#include "base/err.h"

/* `what` names the document in messages. A key that stands twice in an object is an error. Freed
 * with json_decref. SLV_E_FORMAT with line and column, SLV_E_NOMEM; SLV_E_LIMIT: it would take far
 * more memory than text. Threads: any. */
struct json_t;
int slv_json_parse(const char *s, size_t n, const char *what, struct json_t **ret,
                   struct slv_err *err) SLV_MUST_USE;

#endif
