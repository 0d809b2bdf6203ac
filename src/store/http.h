/* http.h: fetching over HTTPS with the rules of this program.
 *
 *   - HTTPS only, also after a redirect; at most eight redirects; certificates checked.
 *   - The token goes to the endpoint's own origin (scheme, host and port) and nowhere else.
 *   - A connection that moves nothing for stall_s seconds is given up.
 *   - What may pass (lost connections, stalls, 408, 429, 5xx) is tried again with growing pauses,
 *     up to `retries` times in a row without progress. What will not pass is not.
 *
 * Built on libcurl, which also honours https_proxy and no_proxy. Threads: one a `struct slv_http`.
 */
#ifndef SLV_STORE_HTTP_H
#define SLV_STORE_HTTP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/ui.h"

struct slv_http_opts {
    const char *endpoint; /* NULL: $SELVAGE_HF_ENDPOINT, else https://huggingface.co */
    const char *token;    /* NULL: $HF_TOKEN; may be absent */
    const char *ca_file;  /* NULL: $SELVAGE_CA_FILE, else the system's certificates */
    int64_t stall_s;      /* 0: 30 */
    int64_t retries;
    const struct slv_ui *ui;
};

struct slv_http;
int slv_http_open(const struct slv_http_opts *o, struct slv_http **ret,
                  struct slv_err *err) SLV_MUST_USE;
void slv_http_close(struct slv_http *h);

/* "https://huggingface.co", without a '/' at the end. */
const char *slv_http_endpoint(const struct slv_http *h);
const struct slv_ui *slv_http_ui(const struct slv_http *h);

/* What the server said. */
struct slv_http_head {
    long status;
    bool has_total;        /* total: size of the whole file, from Content-Range or Content-Length */
    uint64_t from, total;  /* from: where the body begins, from Content-Range */
    char etag[256];        /* as sent, quotes included; "" if none or too long */
    char linked_etag[256]; /* X-Linked-Etag of the endpoint, without quotes; "" if none */
    bool has_linked_size;
    uint64_t linked_size; /* X-Linked-Size of the endpoint */
    char next[1024];      /* Link: <..>; rel="next"; "" if none */
};

/* Where a body goes. All three return 0 or an SLV_E_* with *err set. SLV_E_NET means that another
 * try may help. */
struct slv_http_sink {
    /* Before each try: from where, and under which ETag (may stay NULL). */
    int (*prepare)(void *ctx, uint64_t *ret_from, const char **ret_if_range, struct slv_err *err);
    /* The response is 200 (the body begins at 0), 206 (at head->from) or 416. */
    int (*start)(void *ctx, const struct slv_http_head *head, struct slv_err *err);
    int (*data)(void *ctx, const void *p, size_t n, struct slv_err *err);
    /* The transfer ended without an error: is all there? */
    int (*end)(void *ctx, struct slv_err *err);
    void *ctx;
};

/* SLV_E_NET, SLV_E_TRUST (certificate, redirect away from HTTPS), SLV_E_NOENT (404),
 * SLV_E_CANCELLED, or what the sink returned. */
int slv_http_get(struct slv_http *h, const char *url, const struct slv_http_sink *sink,
                 struct slv_err *err) SLV_MUST_USE;

/* A whole body into buf, whose maximum bounds it. head may be NULL. */
int slv_http_get_buf(struct slv_http *h, const char *url, struct slv_buf *buf,
                     struct slv_http_head *ret_head, struct slv_err *err) SLV_MUST_USE;

#endif
