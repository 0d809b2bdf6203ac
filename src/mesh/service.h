/* service.h: a node's spaces over HTTP, for programs on its own machine.
 *
 *     GET    /v1/spaces                     [{"name","type","order","id"}]
 *     GET    /v1/spaces/S/keys              {"keys":[..]}    ?after=KEY&limit=N
 *     GET    /v1/spaces/S/keys/K            {"space","key","type","value"}; 404: it has none
 *     PUT    /v1/spaces/S/keys/K            an operation (value.h); answered when it is synced here
 *     DELETE /v1/spaces/S/keys/K            the value goes
 *     GET    /v1/spaces/S/watch             events: a line "data: {"key","value"}" for each change
 *     POST   /v1/found                      begins the group of the strong spaces here; or
 *                                           ?anew=true, ?copy=true, ?other=true
 *     POST   /v1/lead                       {"to": a node that votes}, or {}, this one: the
 *                                           leader hands over, {"leader"}; ?timeout_ms=N
 *     GET    /v1/roster                     who may do what: statements (roster.h), and where this
 *                                           node is: {"mesh","authority","key","addresses",..}
 *     POST   /v1/roster                     {"statement": hexadecimal digits}: it is passed on
 *     GET    /v1/status                     the node, its members, its spaces
 *     GET    /metrics                       for Prometheus
 *
 * Answers about keys have a field "Selvage-Token" (token.h): what the node had seen of the space. A
 * request with such a field, or ?token=TOKEN, is done when this node has seen as much, and its
 * answer's token says what both have; 504 after timeout_ms: it has not. Of a strong space only
 * reads that are local and lists wait: others ask the group. 413: a space with so many writers that
 * no token names them.
 *
 * Of a strong space keys are read through the group: ?read=barrier, leased, or local (what this
 * node has, perhaps old); ?timeout_ms=N (10000). Its values are JSON, and its operations
 *
 *     {"value"}, {"op":"cas","value","version"}, {"op":"swap","value","expect"}: with "lease" too
 *     {"op":"lock","ttl_ms"} -> {"token"}        {"op":"unlock","token"}
 *     {"op":"grant","ttl_ms"} -> {"lease"}       {"op":"keepalive"|"revoke","lease"}
 *     {"op":"epoch"} -> {"epoch"}
 *
 * 409: it is not what it should be; 503: it was not done; 504: nobody knows whether it was.
 *
 * An error is {"error":{"message"}}. Keys in paths are percent-encoded. Only what comes by a unix
 * socket is answered: whoever may open its file may do all of it.
 *
 * All runs on the thread of the server's loop. A watcher that does not read fast enough is told of
 * the latest values only.
 */
#ifndef SLV_MESH_SERVICE_H
#define SLV_MESH_SERVICE_H

#include "base/err.h"
#include "mesh/node.h"
#include "mesh/transport.h"
#include "net/httpd.h"

struct slv_service;

#define SLV_SERVICE_WATCHES_MAX 256u
#define SLV_SERVICE_WAITING_MAX 65536u /* writes that are not synced yet */
#define SLV_SERVICE_SESSIONS_MAX 4096u /* requests that wait for what their session has seen */

struct slv_service_odd {
    uint64_t peer, at, n; /* of whom and when it showed last, the node's time; how often */
};

/* What the node's host has seen. */
struct slv_service_host {
    const char *outside; /* why it is not in the mesh; empty: nothing is known of that */
    struct slv_service_odd odd[SLV_TRANSPORT_ODDS];
};

struct slv_service_conf {
    const char *mesh;                    /* its name */
    const struct slv_service_host *host; /* borrowed, and looked at when it is asked for */
    struct slv_node *node;
    /* Something was given to the node: it wants to be ticked. */
    void (*wake)(void *ctx);
    uint64_t (*now)(void);        /* the node's time */
    const struct slv_buf *record; /* its key, and addresses behind their lengths */
    void *ctx;
};

int slv_service_open(const struct slv_service_conf *conf, struct slv_service **ret,
                     struct slv_err *err) SLV_MUST_USE;
/* After its server has ended. */
void slv_service_close(struct slv_service *s);

/* slv_httpd_opts.handle, with the service as its ctx. */
void slv_service_handle(struct slv_exchange *x, void *service);

/* The node was ticked, or its store has synced: who waits for that is answered, and who watches is
 * told what has changed. */
void slv_service_news(struct slv_service *s);

/* The node's time by which slv_service_news is to be called; UINT64_MAX: never. */
uint64_t slv_service_next(const struct slv_service *s);

/* slv_node_world.measured. */
void slv_service_measured(struct slv_service *s, enum slv_node_measure what, size_t space,
                          double value);

/* A key of a space has changed (slv_space_watch, by way of the node's). */
void slv_service_changed(struct slv_service *s, size_t space, struct slv_str key);

/* slv_node_world.agreed_changed and answer. */
void slv_service_agreed_changed(struct slv_service *s, size_t agreed, struct slv_str key);
void slv_service_answered(struct slv_service *s, uint64_t ask, const struct slv_strong_result *r);

/* The node is opened anew, or ends (NULL): who waits is refused. */
void slv_service_set_node(struct slv_service *s, struct slv_node *node);

#endif
