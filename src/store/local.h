/* local.h: asking a program of this machine, over HTTP on its unix socket. Built on libcurl.
 * Threads: one a call. */
#ifndef SLV_STORE_LOCAL_H
#define SLV_STORE_LOCAL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct slv_local_request {
    const char *socket; /* path */
    const char *method; /* "GET" */
    const char *path;   /* "/v1/status", percent-encoded */
    struct slv_str body;
    const char *field;   /* one more of its head, "Name: value"; NULL: none */
    const char *wanted;  /* the name of a field of the reply's head; NULL: none */
    struct slv_buf *got; /* to which that is appended, if there is one */
    int *error;          /* out: errno of a connection that could not be made, or 0; NULL: none */
};

/* Percent-encodes all but unreserved characters (RFC 3986) of a path's part. Its status says
 * whether there was room. */
void slv_local_encode(struct slv_buf *b, struct slv_str part);

/* The reply's status and body. SLV_E_NET "SOCKET: WHY": nobody answers there; SLV_E_NOMEM,
 * SLV_E_LIMIT: more than the buffer may hold. */
int slv_local_ask(const struct slv_local_request *r, long *ret_status, struct slv_buf *ret,
                  struct slv_err *err) SLV_MUST_USE;

/* The same, within a time: SLV_E_NET where that was not enough: what was asked may have been done,
 * or not. ms 0: as long as it takes. */
int slv_local_ask_within(const struct slv_local_request *r, uint32_t ms, long *ret_status,
                         struct slv_buf *ret, struct slv_err *err) SLV_MUST_USE;

/* The same, a line of the body at a time, without its end, until it ends, or fn returns other than
 * 0, which is returned; `stop` (may be NULL) is asked several times a second. */
int slv_local_lines(const struct slv_local_request *r, long *ret_status,
                    int (*fn)(void *ctx, struct slv_str line), void *ctx, bool (*stop)(void),
                    struct slv_err *err) SLV_MUST_USE;

/* Lines of an answer that goes on for ever. Members may be NULL, but for line. */
struct slv_local_follower {
    void (*begun)(void *ctx, long status); /* its head has come: what changes now will be told */
    int (*line)(void *ctx, struct slv_str line);
    bool (*stop)(void *ctx); /* asked about once a second, or more often */
    void *ctx;
};
/* As slv_local_lines. */
int slv_local_follow(const struct slv_local_request *r, const struct slv_local_follower *f,
                     long *ret_status, struct slv_err *err) SLV_MUST_USE;

#endif
