/* declare.h: a node as texts say it: its spaces, peers, members, whose mesh it is. The command and
 * the library take the same texts. Threads: any. */
#ifndef SLV_MESH_DECLARE_H
#define SLV_MESH_DECLARE_H

#include "mesh/host.h"
#include "mesh/invite.h"

#define SLV_DECLARE_MAX 64u /* of each list */
#define SLV_DECLARE_SPACE "NAME:TYPE[:ORDER][:ttl=TIME][:history=TIME][:max=SIZE]"

struct slv_declare_list {
    const char *const *v;
    size_t n;
};

struct slv_declare {
    const char *mark; /* what an error's line begins with, before a name: "mesh up: --" */
    const char *name; /* of the mesh; NULL: the invitation's, or "mesh" */
    const char *authority, *invitation;   /* NULL: none */
    struct slv_declare_list space;        /* SLV_DECLARE_SPACE; ORDER: causal, or strong */
    struct slv_declare_list peer, member; /* KEY@HOST:PORT; KEY */
    struct slv_declare_list advertise;    /* ADDRESS:PORT */
};

/* What a host borrows. */
struct slv_declared {
    struct slv_host_peer peer[SLV_DECLARE_MAX];
    uint8_t member[SLV_DECLARE_MAX][SLV_HOST_KEY_BYTES];
    struct slv_space_conf space[SLV_DECLARE_MAX];
    struct slv_str strong[SLV_DECLARE_MAX];
    uint8_t authority[SLV_HOST_KEY_BYTES];
    struct slv_invite invitation;
};

/* Fills in conf's mesh, space, strong, peer, member, advertise, authority and invitation, which
 * borrow *ret and the texts. SLV_E_USAGE, SLV_E_FORMAT, SLV_E_LIMIT with a line. */
int slv_declare_read(const struct slv_declare *d, struct slv_declared *ret,
                     struct slv_host_conf *conf, struct slv_err *err) SLV_MUST_USE;

#endif
