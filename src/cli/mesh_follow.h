/* mesh_follow.h: what changes in spaces of nodes on this machine, each followed by a thread of its
 * own, told in one queue. A node that is not there is asked again, with gaps that grow from 0.1 s
 * to 5 s. Threads: one, besides its own. */
#ifndef SLV_CLI_MESH_FOLLOW_H
#define SLV_CLI_MESH_FOLLOW_H

#include "base/err.h"
#include "base/str.h"

#define SLV_FOLLOW_MOST 128u
#define SLV_FOLLOW_QUEUE_MAX ((size_t)64 << 20)

struct slv_follow;

enum slv_follow_what {
    SLV_FOLLOW_BEGUN,   /* what changes from now on is told; what is there is to be listed */
    SLV_FOLLOW_CHANGED, /* text: {"key","value"} */
    SLV_FOLLOW_MISSED,  /* more changed than there was room for: it is to be listed */
    SLV_FOLLOW_ENDED    /* nothing is told for now; text: why */
};

struct slv_follow_event {
    size_t source;
    enum slv_follow_what what;
    struct slv_str text; /* until the next call */
};

int slv_follow_open(struct slv_follow **ret, struct slv_err *err) SLV_MUST_USE;
/* Sources are numbered from 0. Texts are borrowed until the close. SLV_E_LIMIT, SLV_E_NOMEM. */
int slv_follow_add(struct slv_follow *f, const char *socket, struct slv_str space,
                   struct slv_err *err) SLV_MUST_USE;
/* Readable when there is an event. */
int slv_follow_fd(const struct slv_follow *f);
bool slv_follow_next(struct slv_follow *f, struct slv_follow_event *ret);
/* Takes a second at most. */
void slv_follow_close(struct slv_follow *f);

#endif
