/* otlp.h: traces of requests, sent on by a process of its own that does nothing else.
 *
 *     server --spans--> sender --POST URL/v1/traces--> a collector
 *
 * The server itself may connect nowhere (confine.h). The sender is made before it gives that up; it
 * has no files but the system's, starts nothing, and gets what goes out: times, counts, names of
 * models and ids, never texts. What it cannot send, for lack of a collector or of time, is dropped
 * and counted; nobody waits for it.
 *
 * Format: OTLP 1.3 over HTTP, JSON encoding; trace context: W3C traceparent 00. */
#ifndef SLV_CLI_OTLP_H
#define SLV_CLI_OTLP_H

#include "base/err.h"
#include "serve/serve.h"

struct slv_otlp;

/* url: "http://127.0.0.1:4318", or with a path; without one it is /v1/traces. Before there are
 * threads. SLV_E_USAGE: not a URL. */
int slv_otlp_open(const char *url, struct slv_otlp **ret, struct slv_err *err) SLV_MUST_USE;
/* What is under way is sent within two seconds. NULL is none. */
void slv_otlp_close(struct slv_otlp *o);

/* A slv_serve_span_fn. Threads: any. */
void slv_otlp_span(void *otlp, const struct slv_serve_span *s);

#endif
