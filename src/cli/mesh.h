/* mesh.h: what the commands of the mesh share: where a node keeps its things, and asking it. */
#ifndef SLV_CLI_MESH_H
#define SLV_CLI_MESH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonin.h"
#include "base/str.h"
#include "cli/opt.h"

/* SLV_E_USAGE "mesh: WHAT is not UTF-8": JSON cannot hold it. A text that is NULL is well. */
int slv_cli_mesh_utf8(const char *what, const char *text, struct slv_err *err);

/* The same of a key, which is not empty. */
int slv_cli_mesh_key(const char *what, const char *text, struct slv_err *err);
/* SLV_E_USAGE: it is no node's number, 16 hexadecimal digits. */
int slv_cli_mesh_node(const char *what, const char *text, struct slv_err *err);

/* "FOLDER/NAME": in the store's folder of this user's, under "mesh", unless one is given. */
int slv_cli_mesh_path(const char *folder, const char *name, struct slv_buf *ret,
                      struct slv_err *err) SLV_MUST_USE;

/* A reply of the node at `socket` (NULL: where `mesh up` puts it), whole and read. What it says of
 * an error is the message: SLV_E_NOENT, SLV_E_USAGE, SLV_E_BUSY, SLV_E_IO. SLV_E_NET: no node is up
 * there, or it has not answered. SLV_E_USAGE: too long a path for a socket. */
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
     * of a session, SLV_E_IO: it cannot be written; nothing was asked then. SLV_E_LIMIT: the space
     * has too many writers for one. */
    const char *session;
    long *status; /* HTTP's, also of a failure; 0: there was no answer */
};
int slv_cli_mesh_ask_so(const struct slv_cli_question *q, struct slv_cli_reply *ret,
                        struct slv_err *err) SLV_MUST_USE;
/* The path of a node's socket: `given`, or where `mesh up` puts it. SLV_E_USAGE: it is too long. */
int slv_cli_mesh_socket(const char *given, struct slv_buf *ret, struct slv_err *err) SLV_MUST_USE;
/* SLV_E_NET, where no connection to `socket` could be made, by its errno. */
int slv_cli_mesh_no_node(const char *socket, int error, struct slv_err *err);
/* As JSON on standard output. */
int slv_cli_reply_print(const struct slv_cli_reply *r, struct slv_err *err);
void slv_cli_reply_fini(struct slv_cli_reply *r);

/* Asking about a key, as `mesh get`, `put` and `del` do. */
struct slv_cli_key {
    const char *socket, *session, *space, *key, *read; /* read: or NULL */
    double timeout;                                    /* seconds */
};
int slv_cli_mesh_ask_key(const struct slv_cli_key *k, const char *method, struct slv_str body,
                         struct slv_cli_reply *ret, struct slv_err *err) SLV_MUST_USE;

/* Rows of options that these commands share. */
#define SLV_CLI_MESH_SOCKET_ROW(S)                                                                 \
    {                                                                                              \
        "socket", 0, SLV_OPT_STR_AT(S, socket),                                                    \
            .arg = "PATH", .help = "the node's; default: where `mesh up` puts it"                  \
    }
#define SLV_CLI_MESH_TIMEOUT_ROW(S)                                                                \
    {                                                                                              \
        "timeout", 0, SLV_OPT_REAL_AT(S, timeout),                                                 \
            .arg = "SECONDS", .def = "10", .rmin = 0.01, .rmax = 3600,                             \
            .help = "how long a strong space may take until nobody knows, and a session wait"      \
    }
#define SLV_CLI_MESH_SESSION_ROW(S)                                                                \
    {                                                                                              \
        "session", 0, SLV_OPT_STR_AT(S, session),                                                  \
            .arg = "FILE",                                                                         \
            .help =                                                                                \
                "what was seen before, here or at other nodes, is seen again: FILE keeps count"    \
    }

#endif
