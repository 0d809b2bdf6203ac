/* client.h: what asks a node by its socket (service.h) has in common: paths of requests, and what
 * their answers mean. Threads: any. */
#ifndef SLV_MESH_CLIENT_H
#define SLV_MESH_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

/* "/v1/spaces/SPACE/WHAT", and "/KEY" where key.p is not NULL, percent-encoded. */
void slv_client_target(struct slv_buf *b, struct slv_str space, const char *what,
                       struct slv_str key);
/* What a body that came with another status than 200 says, as an error: SLV_E_NOENT, SLV_E_USAGE,
 * SLV_E_BUSY, SLV_E_LIMIT, SLV_E_TRUST, SLV_E_NET (not now), SLV_E_IO. `path`, of what was asked,
 * may be NULL: a space that is not there is named. */
int slv_client_refused(const char *path, struct slv_str body, long status, struct slv_err *err);
/* Whether an answer speaks of what was seen, so that it has a token (token.h). */
bool slv_client_shows(long status);

#endif
