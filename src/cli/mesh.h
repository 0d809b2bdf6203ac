/* mesh.h: what the commands of the mesh share: where a node keeps its things, and asking it. */
#ifndef SLV_CLI_MESH_H
#define SLV_CLI_MESH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonin.h"
#include "base/str.h"

/* "90", "90s", "30m", "12h", "7d", at most 3650d: in ms; 0: it is none. */
uint64_t slv_cli_duration(struct slv_str t);

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
/* The same with more to it, which may be 0 and NULL. */
struct slv_cli_question {
    const char *socket, *method, *path;
    struct slv_str body;
    uint32_t ms; /* within which it is answered, or SLV_E_NET; 0: as long as it takes */
    /* A session's file: what it says was seen is sent along, and what is seen now is added to it,
     * also where the answer is an error; one that is not there is a session's beginning. It is
     * replaced as a whole; of two commands at once one may be forgotten. SLV_E_FORMAT: it is none
     * of a session; SLV_E_LIMIT: the space has too many writers for one. */
    const char *session;
    long *status; /* HTTP's, also of a failure; 0: there was no answer */
};
int slv_cli_mesh_ask_so(const struct slv_cli_question *q, struct slv_cli_reply *ret,
                        struct slv_err *err) SLV_MUST_USE;
/* "/v1/spaces/SPACE/WHAT", and "/KEY" where key.p is not NULL, percent-encoded. */
void slv_cli_mesh_target(struct slv_buf *b, struct slv_str space, const char *what,
                         struct slv_str key);
/* What a body that came with another status than 200 says, as an error. */
int slv_cli_mesh_error(struct slv_str body, long status, struct slv_err *err);
void slv_cli_reply_fini(struct slv_cli_reply *r);

#endif
