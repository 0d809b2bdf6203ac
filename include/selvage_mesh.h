/* selvage_mesh.h: a node of the mesh inside a program: state shared with peers, with no centre.
 *
 *   struct slv_mesh           a node, with a thread, a folder and a socket of its own. It is a node
 *                             like one of `selvage mesh up`, and the commands work on it, too.
 *   struct slv_mesh_session   what somebody has seen, so that he sees no less at the next node.
 *
 * Which consistency to choose, types, operations and their JSON: docs/mesh.md. The rules of
 * selvage.h hold. Values and answers are JSON, in UTF-8 and with a zero byte behind them.
 *
 * Threads: any, for each function; a node may be asked by many at once. But slv_mesh_close: no
 * other call on that node may be under way, other than slv_mesh_watch, which it ends.
 *
 * Link with -lselvage-mesh; it needs nothing of -lselvage.
 */
#ifndef SELVAGE_MESH_H
#define SELVAGE_MESH_H

#include "selvage.h"

#ifdef __cplusplus
extern "C" {
#endif

struct slv_mesh;
struct slv_mesh_session;

/* --- a node ----------------------------------------------------------------------------------- */

struct slv_mesh_list {
    const char *const *v;
    size_t n;
};

/* As the options of `selvage mesh up`, in the same words. Zeros are defaults, but for folder and
 * space. Borrowed for the call. */
struct slv_mesh_opts {
    const char *folder;             /* what the node keeps, and its socket; made if it is missing */
    const char *key;                /* file of its key; NULL: the user's, of `selvage key new` */
    const char *name;               /* of the mesh; NULL: what the invitation says, or "mesh" */
    struct slv_mesh_list space;     /* "parts:counter", "settings:last:ttl=30m", .. */
    struct slv_mesh_list peer;      /* "KEY@HOST:PORT": nodes to find the others by */
    struct slv_mesh_list member;    /* "KEY": others that may join */
    struct slv_mesh_list listen;    /* "ADDRESS:PORT"; none: "0.0.0.0:7420"; port 0: any */
    struct slv_mesh_list advertise; /* "ADDRESS:PORT" to be told; none: where it listens */
    const char *authority;  /* "KEY": whose statements say who is a member; NULL: nobody's */
    const char *invitation; /* a line of `selvage mesh invite`; NULL: none */
    uint32_t voters;        /* on strong spaces, 1 to 7; 0: 5 */
    bool discover;          /* look for members in the local network */
    uint64_t relay;     /* bytes a second passed on between members that do not reach each other */
    uint64_t rate;      /* bytes a second sent to each node, at most; 0: what the network takes */
    uint64_t peer_rate; /* of writes taken from each; 0: 16 MiB */
};

/* Hexadecimal digits of a key, and of a node's number, with a zero behind. */
#define SLV_MESH_KEY_TEXT 65
#define SLV_MESH_ID_TEXT 17

/* The public key of a file, which others want to know before the node is up; a new key where there
 * is no file. path NULL: the user's. SLV_E_TRUST: others may read the file, or it does not fit
 * together; SLV_E_FORMAT, SLV_E_IO, SLV_E_NOMEM. */
SLV_API int slv_mesh_key(const char *path, char ret[SLV_MESH_KEY_TEXT],
                         struct slv_err *err) SLV_MUST_USE;

/* Starts a node; it listens when this returns, and is to be closed before the program ends.
 * SLV_E_USAGE, SLV_E_FORMAT, SLV_E_LIMIT: the option is named; SLV_E_NOENT: there is no key;
 * SLV_E_BUSY: another process has the folder; SLV_E_IO, SLV_E_TRUST, SLV_E_NOMEM. */
SLV_API int slv_mesh_open(const struct slv_mesh_opts *o, struct slv_mesh **ret,
                          struct slv_err *err) SLV_MUST_USE;

/* Tells the others that the node leaves, and ends it: some tenths of a second. What was written is
 * on the disk. */
SLV_API void slv_mesh_close(struct slv_mesh *m);

/* The node's number, 16 digits; the node's. */
SLV_API const char *slv_mesh_id(const struct slv_mesh *m);

/* Where it listens, "192.0.2.7:7420"; NULL: there are no more. The path of its socket. Both are the
 * node's. */
SLV_API const char *slv_mesh_address(const struct slv_mesh *m, size_t i);
SLV_API const char *slv_mesh_socket(const struct slv_mesh *m);

/* --- keys ------------------------------------------------------------------------------------- */

/* How to ask. NULL, and zeros, are defaults. */
struct slv_mesh_ask {
    uint32_t timeout_ms; /* that a strong space may take, and a session wait; 0: 10,000 */
    const char *read;    /* of strong spaces: "barrier", "leased", "local"; NULL: "barrier" */
    struct slv_mesh_session *session; /* NULL: none */
};

/* *ret_json is {"space","key","type","value"}, of strong spaces with "version"; to be given back
 * by slv_mesh_free. SLV_E_NOENT: there is no such key, or space; SLV_E_NET: not within the time;
 * SLV_E_USAGE, SLV_E_LIMIT, SLV_E_NOMEM. */
SLV_API int slv_mesh_get(struct slv_mesh *m, const char *space, const char *key,
                         const struct slv_mesh_ask *ask, char **ret_json,
                         struct slv_err *err) SLV_MUST_USE;

/* Does an operation: {"value": 5}, {"op": "add", "value": "x"}, .. After 0 the write is on this
 * machine's disk, and on its way; of a strong space, agreed on. *ret_json says so, and what a
 * lock or a lease gave; ret_json may be NULL. As slv_mesh_get; SLV_E_BUSY: it was not done, as the
 * value was another one, or somebody has the lock; SLV_E_TRUST: this node may not write that. After
 * SLV_E_NET it may have been done, or not. */
SLV_API int slv_mesh_put(struct slv_mesh *m, const char *space, const char *key,
                         const char *op_json, const struct slv_mesh_ask *ask, char **ret_json,
                         struct slv_err *err) SLV_MUST_USE;

/* All of the key goes. As slv_mesh_put. */
SLV_API int slv_mesh_del(struct slv_mesh *m, const char *space, const char *key,
                         const struct slv_mesh_ask *ask, struct slv_err *err) SLV_MUST_USE;

/* Anything else that a node is asked over HTTP (docs/mesh.md, "Over HTTP"): "GET" "/v1/status",
 * "POST" "/v1/found". body_json may be NULL. */
SLV_API int slv_mesh_request(struct slv_mesh *m, const char *method, const char *path,
                             const char *body_json, char **ret_json,
                             struct slv_err *err) SLV_MUST_USE;

/* Tells of each change in a space, in this thread, until fn returns other than 0, which is
 * returned. The first call has NULL: what changes from there on will be told, and what is there is
 * to be read now. Then {"key","value"}, null where it went. Of changes in quick succession the last
 * is told. SLV_E_CANCELLED: the node is closed; SLV_E_NET: it has ended, or was too far ahead of
 * fn; SLV_E_NOENT. fn may call all but slv_mesh_close. */
typedef int (*slv_mesh_change_fn)(void *ctx, const char *json);
SLV_API int slv_mesh_watch(struct slv_mesh *m, const char *space, slv_mesh_change_fn fn, void *ctx,
                           struct slv_err *err) SLV_MUST_USE;

/* Gives back what a function above has handed out. */
SLV_API void slv_mesh_free(char *json);

/* --- sessions --------------------------------------------------------------------------------- */

/* With what an earlier one has seen, as its text says; NULL: nothing yet. SLV_E_FORMAT: it is no
 * such text; SLV_E_NOMEM. */
SLV_API int slv_mesh_session_open(const char *text, struct slv_mesh_session **ret,
                                  struct slv_err *err) SLV_MUST_USE;
SLV_API void slv_mesh_session_close(struct slv_mesh_session *s);

/* What was seen, as a line of text, for another program, or another day; slv_mesh_free. It is no
 * secret. SLV_E_LIMIT: so many have written that no text names it; SLV_E_NOMEM. */
SLV_API int slv_mesh_session_text(struct slv_mesh_session *s, char **ret,
                                  struct slv_err *err) SLV_MUST_USE;

/* --- its log ---------------------------------------------------------------------------------- */

/* Whoever is told what the nodes of this process log, in one of their threads; level 0 error, 1
 * warning, 2 what happens. fn must not call any of these functions; NULL: nobody is told, as it is
 * before. To be called while no node is open. */
SLV_API void slv_mesh_log(void (*fn)(void *ctx, int level, const char *line), void *ctx);

#ifdef __cplusplus
}
#endif
#endif
