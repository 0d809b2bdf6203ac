/* client.h: what asks a node by its socket (service.h) has in common: paths of requests, and what
 * their answers mean. Threads: any. */
#ifndef SLV_MESH_CLIENT_H
#define SLV_MESH_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* "/v1/spaces/SPACE/WHAT", and "/KEY" where key.p is not NULL, percent-encoded. */
void slv_client_target(struct slv_buf *b, struct slv_str space, const char *what,
                       struct slv_str key);
/* The same of a key that is read or written: within a time, and of strong spaces `read` some way
 * (NULL: the usual). */
void slv_client_key(struct slv_buf *b, struct slv_str space, struct slv_str key,
                    uint32_t timeout_ms, const char *read);
/* What a line of a watch tells, {"key","value"}; false: it is another line. */
bool slv_client_event(struct slv_str line, struct slv_str *ret);
/* What a body that came with another status than 200 says, as an error: SLV_E_NOENT, SLV_E_USAGE,
 * SLV_E_BUSY, SLV_E_LIMIT, SLV_E_TRUST, SLV_E_NET (not now), SLV_E_IO. `path`, of what was asked,
 * may be NULL: a space that is not there is named. */
int slv_client_refused(const char *path, struct slv_str body, long status, struct slv_err *err);
/* What an answer says was seen: *ret is the token of its field (token.h); empty: nothing.
 * SLV_E_LIMIT: what was asked is done, and there is no token for it. */
int slv_client_token(long status, const struct slv_buf *field, struct slv_str *ret,
                     struct slv_err *err);

#endif
