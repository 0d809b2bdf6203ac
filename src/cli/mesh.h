/* mesh.h: what the commands of the mesh share: where a node keeps its things, and asking it. */
#ifndef SLV_CLI_MESH_H
#define SLV_CLI_MESH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonin.h"
#include "base/str.h"

/* "FOLDER/NAME": in the store's folder of this user's, under "mesh", unless one is given. */
int slv_cli_mesh_path(const char *folder, const char *name, struct slv_buf *ret,
                      struct slv_err *err) SLV_MUST_USE;

/* A reply of the node at `socket` (NULL: where `mesh up` puts it), whole and read. What it says of
 * an error is the message: SLV_E_NOENT, SLV_E_USAGE, SLV_E_BUSY, SLV_E_IO. SLV_E_NET: no node is up
 * there. */
struct slv_cli_reply {
    struct slv_buf text;
    struct slv_json_doc doc;
};
int slv_cli_mesh_ask(const char *socket, const char *method, const char *path, struct slv_str body,
                     struct slv_cli_reply *ret, struct slv_err *err) SLV_MUST_USE;
/* The same, as part of a session: what the file says was seen is sent along, and what is seen now
 * is added to it, also where the answer is an error; one that is not there is a session's
 * beginning. The file is replaced as a whole; of two commands at once one may be forgotten.
 * SLV_E_FORMAT: the file is none of a session; SLV_E_LIMIT: the space has too many writers for one.
 * NULL: none. */
struct slv_cli_question {
    const char *socket, *method, *path;
    struct slv_str body;
};
int slv_cli_mesh_ask_in(const struct slv_cli_question *q, const char *session,
                        struct slv_cli_reply *ret, struct slv_err *err) SLV_MUST_USE;
/* What a body that came with another status than 200 says, as an error. */
int slv_cli_mesh_error(struct slv_str body, long status, struct slv_err *err);
void slv_cli_reply_fini(struct slv_cli_reply *r);

#endif
