/* http.c: see http.h. Redirects are followed here and not by libcurl, hop by hop, so that each one
 * is checked, the token is decided anew for each, and the endpoint's X-Linked-* headers (the digest
 * and size of a large file, sent with the redirect to where it lies) are seen.
 * Sources: RFC 9110 (range requests, If-Range, Retry-After), libcurl's manual pages. */
#include "store/http.h"
#include "base/clock.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define REDIRECTS_MAX 8
#define CONNECT_TIMEOUT_S 30L
#define HEADERS_MAX 500    /* header lines of one response */
#define DISCARD_MAX 65536u /* bytes of a body that nobody wants */
#define FIRST_PAUSE_MS 250u
#define LAST_PAUSE_MS 20000u
#define RETRY_AFTER_MAX_S 60

struct slv_http {
    CURL *curl;
    char *endpoint, *token, *ca_file;
    int64_t stall_s, retries;
    const struct slv_ui *ui;
    char why[CURL_ERROR_SIZE];

    /* the hop in progress */
    struct slv_http_head head;
    bool at_endpoint; /* this hop goes to the endpoint's origin */
    size_t header_lines;
    long retry_after;      /* seconds; -1: not said */
    char server_says[200]; /* X-Error-Message */
    const struct slv_http_sink *sink;
    bool started; /* the sink takes this body */
    size_t discarded;
    curl_off_t moved;  /* bytes, both ways */
    uint64_t moved_ns; /* when that last changed, or the request began */
    bool stalled;
    int sink_rc; /* what stopped the transfer, if the sink or a header did */
    struct slv_err *err;
};

/* --- opening ---------------------------------------------------------------------------------- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_status;

static void curl_setup(void) { curl_status = curl_global_init(CURL_GLOBAL_DEFAULT); }

static const char *from_env(const char *given, const char *variable) {
    const char *v = given ? given : getenv(variable);
    return v && *v ? v : NULL;
}

static char *dup(const char *s) { return s ? slv_mem_strndup(s, strlen(s)) : NULL; }

/* Letters that a header may hold: a token with a newline would add headers of its own. */
static bool token_ok(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f) return false;
    return true;
}

/* libcurl calls this at least once a second. Its own CURLOPT_LOW_SPEED_TIME goes by an average over
 * several seconds, so that a stall after a fast start is seen late. */
static int progress_hook(void *ctx, curl_off_t dt, curl_off_t d, curl_off_t ut, curl_off_t u) {
    struct slv_http *h = ctx;
    uint64_t now = slv_clock_mono(&slv_clock_system);
    (void)dt, (void)ut;
    if (d + u != h->moved) {
        h->moved = d + u;
        h->moved_ns = now;
    }
    h->stalled = now - h->moved_ns >= (uint64_t)h->stall_s * 1000000000u;
    return h->stalled || slv_ui_cancelled(h->ui) ? 1 : 0;
}

static int set_up(struct slv_http *h, const struct slv_http_opts *o, struct slv_err *err) {
    const char *endpoint = from_env(o->endpoint, "SELVAGE_HF_ENDPOINT");
    const char *token = from_env(o->token, "HF_TOKEN");
    const char *ca = from_env(o->ca_file, "SELVAGE_CA_FILE");
    if (!endpoint) endpoint = "https://huggingface.co";
    if (strncasecmp(endpoint, "https://", 8))
        return slv_err_set(err, SLV_E_USAGE, "SELVAGE_HF_ENDPOINT: %s: only https:// is used",
                           endpoint);
    if (token && !token_ok(token))
        return slv_err_set(err, SLV_E_USAGE, "HF_TOKEN: has bytes that no token has");
    h->endpoint = dup(endpoint);
    h->token = dup(token);
    h->ca_file = dup(ca);
    h->stall_s = o->stall_s ? o->stall_s : 30;
    h->retries = o->retries;
    h->ui = o->ui;
    h->curl = curl_easy_init();
    if (!h->endpoint || (token && !h->token) || (ca && !h->ca_file) || !h->curl)
        return slv_err_set(err, SLV_E_NOMEM, "http: out of memory");
    for (size_t n = strlen(h->endpoint); n && h->endpoint[n - 1] == '/'; n--)
        h->endpoint[n - 1] = '\0';
    return 0;
}

int slv_http_open(const struct slv_http_opts *o, struct slv_http **ret, struct slv_err *err) {
    pthread_once(&curl_once, curl_setup);
    if (curl_status)
        return slv_err_set(err, SLV_E_INTERNAL, "http: %s", curl_easy_strerror(curl_status));
    struct slv_http *h = slv_mem_calloc(1, sizeof *h);
    if (!h) return slv_err_set(err, SLV_E_NOMEM, "http: out of memory");
    int rc = set_up(h, o, err);
    if (rc) slv_http_close(h);
    else *ret = h;
    return rc;
}

void slv_http_close(struct slv_http *h) {
    if (!h) return;
    if (h->curl) curl_easy_cleanup(h->curl);
    slv_mem_free(h->endpoint);
    slv_mem_free(h->token);
    slv_mem_free(h->ca_file);
    slv_mem_free(h);
}

const char *slv_http_endpoint(const struct slv_http *h) { return h->endpoint; }
const struct slv_ui *slv_http_ui(const struct slv_http *h) { return h->ui; }

/* --- URLs ------------------------------------------------------------------------------------- */

/* "host:port" of an https URL; false for any other scheme and for what is no URL. */
static bool https_origin(const char *url, char ret[300]) {
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
              !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) && !strcasecmp(scheme, "https") &&
              !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
              !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) &&
              snprintf(ret, 300, "%s:%s", host, port) < 300;
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return ok;
}

/* A URL for messages: signed query strings are long and secret. */
static const char *brief(const char *url, char out[160]) {
    snprintf(out, 160, "%.*s", (int)strcspn(url, "?#"), url);
    return out;
}

/* --- headers ---------------------------------------------------------------------------------- */

static bool read_u64(const char *s, size_t n, uint64_t *ret) {
    uint64_t v = 0;
    if (!n) return false;
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
            return false;
    *ret = v;
    return true;
}

/* "bytes 100-199/200", "bytes 100-199" + "/" + "*", "bytes *" + "/200". */
static void read_content_range(struct slv_http_head *head, const char *s) {
    const char *slash = strchr(s, '/');
    if (strncasecmp(s, "bytes ", 6) || !slash) return;
    s += 6;
    read_u64(s, strspn(s, "0123456789"), &head->from);
    head->has_total = read_u64(slash + 1, strlen(slash + 1), &head->total);
}

static void copy_value(char *to, size_t size, const char *s) {
    size_t n = strlen(s);
    if (n < size) memcpy(to, s, n + 1);
    else to[0] = '\0';
}

/* W/"x" and "x" without quotes and weakness. */
static void copy_etag_bare(char *to, size_t size, const char *s) {
    if (!strncmp(s, "W/", 2)) s += 2;
    size_t n = strlen(s);
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
        s++;
        n -= 2;
    }
    to[0] = '\0';
    if (n < size) {
        memcpy(to, s, n);
        to[n] = '\0';
    }
}

/* <https://...>; rel="next" */
static void read_link(struct slv_http_head *head, const char *s) {
    const char *end = strchr(s, '>');
    if (s[0] != '<' || !end || !strstr(end, "rel=\"next\"")) return;
    size_t n = (size_t)(end - s - 1);
    if (n >= sizeof head->next) return;
    memcpy(head->next, s + 1, n);
    head->next[n] = '\0';
}

static void read_header(struct slv_http *h, const char *name, const char *value) {
    struct slv_http_head *head = &h->head;
    if (!strcasecmp(name, "etag")) copy_value(head->etag, sizeof head->etag, value);
    else if (!strcasecmp(name, "content-range")) read_content_range(head, value);
    else if (!strcasecmp(name, "retry-after")) {
        uint64_t s;
        h->retry_after = read_u64(value, strlen(value), &s) && s < RETRY_AFTER_MAX_S
                             ? (long)s
                             : RETRY_AFTER_MAX_S;
    } else if (!h->at_endpoint) return;
    else if (!strcasecmp(name, "x-linked-etag"))
        copy_etag_bare(head->linked_etag, sizeof head->linked_etag, value);
    else if (!strcasecmp(name, "x-linked-size"))
        head->has_linked_size = read_u64(value, strlen(value), &head->linked_size);
    else if (!strcasecmp(name, "link")) read_link(head, value);
    else if (!strcasecmp(name, "x-error-message"))
        copy_value(h->server_says, sizeof h->server_says, value);
}

/* One header line; a status line begins the headers anew (100 Continue, a proxy's own answer). */
static size_t header_hook(char *p, size_t size, size_t n, void *ctx) {
    struct slv_http *h = ctx;
    char line[1200];
    n *= size;
    if (++h->header_lines > HEADERS_MAX) {
        h->sink_rc = slv_err_set(h->err, SLV_E_LIMIT, "more than %d headers", HEADERS_MAX);
        return 0;
    }
    size_t len = n;
    while (len && (p[len - 1] == '\r' || p[len - 1] == '\n' || p[len - 1] == ' '))
        len--;
    if (len >= sizeof line) return n; /* nothing we read is that long */
    memcpy(line, p, len);
    line[len] = '\0';
    if (!strncasecmp(line, "HTTP/", 5)) {
        struct slv_http_head *head = &h->head;
        head->etag[0] = head->next[0] = '\0';
        head->has_total = false;
        head->from = head->total = 0;
        h->retry_after = -1;
        h->server_says[0] = '\0';
        return n;
    }
    char *colon = strchr(line, ':');
    if (!colon || memchr(line, '\0', len)) return n;
    *colon = '\0';
    read_header(h, line, colon + 1 + strspn(colon + 1, " \t"));
    return n;
}

/* --- one try ---------------------------------------------------------------------------------- */

static bool is_redirect(long status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool wanted(long status) { return status == 200 || status == 206; }

static int start_body(struct slv_http *h) {
    curl_off_t length = -1;
    curl_easy_getinfo(h->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (h->head.status == 200) {
        h->head.from = 0;
        h->head.has_total = length >= 0;
        h->head.total = length >= 0 ? (uint64_t)length : 0;
    }
    h->started = true;
    return h->sink->start(h->sink->ctx, &h->head, h->err);
}

static size_t body_hook(char *p, size_t size, size_t n, void *ctx) {
    struct slv_http *h = ctx;
    n *= size;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->head.status);
    if (!wanted(h->head.status)) {
        h->discarded += n;
        if (h->discarded > DISCARD_MAX) return 0;
        return n;
    }
    if (!h->started) h->sink_rc = start_body(h);
    if (!h->sink_rc) h->sink_rc = h->sink->data(h->sink->ctx, p, n, h->err);
    return h->sink_rc ? 0 : n;
}

static int curl_failure(struct slv_http *h, CURLcode c, const char *url) {
    char where[160];
    const char *why = h->why[0] ? h->why : curl_easy_strerror(c);
    if (h->sink_rc) return slv_err_prefix(h->err, h->sink_rc, "%s", brief(url, where));
    brief(url, where);
    if (h->stalled)
        return slv_err_set(h->err, SLV_E_NET, "%s: nothing came for %" PRId64 " s", where,
                           h->stall_s);
    if (c == CURLE_ABORTED_BY_CALLBACK)
        return slv_err_set(h->err, SLV_E_CANCELLED, "%s: interrupted", where);
    if (c == CURLE_OUT_OF_MEMORY)
        return slv_err_set(h->err, SLV_E_NOMEM, "%s: out of memory", where);
    if (c == CURLE_PEER_FAILED_VERIFICATION || c == CURLE_SSL_ISSUER_ERROR ||
        c == CURLE_SSL_INVALIDCERTSTATUS)
        return slv_err_set(h->err, SLV_E_TRUST, "%s: certificate refused: %s", where, why);
    if (c == CURLE_SSL_CACERT_BADFILE)
        return slv_err_set(h->err, SLV_E_USAGE, "%s: no certificates to check with: %s", where,
                           why);
    if (c == CURLE_URL_MALFORMAT || c == CURLE_UNSUPPORTED_PROTOCOL)
        return slv_err_set(h->err, SLV_E_USAGE, "%s: not an https URL", where);
    return slv_err_set(h->err, SLV_E_NET, "%s: %s", where, why);
}

/* libcurl's setopt is variadic: longs must be longs. */
static void set_request(struct slv_http *h, const char *url, uint64_t from,
                        struct curl_slist *headers) {
    char range[40];
    CURL *c = h->curl;
    curl_easy_reset(c); /* keeps the connections */
    snprintf(range, sizeof range, "%" PRIu64 "-", from);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, h->at_endpoint ? "selvage" : NULL);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_RANGE, from ? range : NULL);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->why);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, header_hook);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, body_hook);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, progress_hook);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (h->ca_file) curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
}

static int add_header(struct curl_slist **list, const char *name, const char *value) {
    char line[2200];
    if (snprintf(line, sizeof line, "%s: %s", name, value) >= (int)sizeof line) return SLV_E_LIMIT;
    struct curl_slist *more = curl_slist_append(*list, line);
    if (!more) return SLV_E_NOMEM;
    *list = more;
    return 0;
}

/* One request, no redirect followed. */
static int one_hop(struct slv_http *h, const char *url, uint64_t from, const char *if_range) {
    char origin[300], ours[300], bearer[2100], where[160];
    struct curl_slist *headers = NULL;
    if (!https_origin(url, origin))
        return slv_err_set(h->err, SLV_E_TRUST, "%s: refused: not https", brief(url, where));
    h->at_endpoint = https_origin(h->endpoint, ours) && !strcasecmp(origin, ours);
    h->header_lines = h->discarded = 0;
    h->started = h->stalled = false;
    h->moved = 0;
    h->moved_ns = slv_clock_mono(&slv_clock_system);
    h->sink_rc = 0;
    h->why[0] = '\0';
    int rc = add_header(&headers, "Accept-Encoding", "identity");
    if (!rc && from && if_range) rc = add_header(&headers, "If-Range", if_range);
    if (!rc && h->token && h->at_endpoint) {
        snprintf(bearer, sizeof bearer, "Bearer %s", h->token);
        rc = strlen(h->token) < 2048 ? add_header(&headers, "Authorization", bearer) : SLV_E_LIMIT;
    }
    if (rc) slv_err_set(h->err, rc, "%s: %s", brief(url, where), slv_strerror(rc));
    else {
        set_request(h, url, from, headers);
        CURLcode c = curl_easy_perform(h->curl);
        curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->head.status);
        bool unread = c == CURLE_WRITE_ERROR && !h->sink_rc && !wanted(h->head.status);
        if (c && !unread) rc = curl_failure(h, c, url);
    }
    curl_slist_free_all(headers);
    return rc;
}

static bool passes(long status) {
    return status == 408 || status == 429 || (status >= 500 && status != 501);
}

static int refused(struct slv_http *h, const char *url) {
    char where[160];
    long s = h->head.status;
    const char *colon = h->server_says[0] ? ": " : "";
    brief(url, where);
    if (s == 401 || s == 403)
        return slv_err_set(h->err, SLV_E_IO,
                           "%s: refused (%ld)%s%s: it does not exist, or it needs a token of "
                           "somebody who may read it: set HF_TOKEN",
                           where, s, colon, h->server_says);
    if (s == 404 || s == 410)
        return slv_err_set(h->err, SLV_E_NOENT, "%s: not found (%ld)%s%s", where, s, colon,
                           h->server_says);
    return slv_err_set(h->err, passes(s) ? SLV_E_NET : SLV_E_IO, "%s: the server answers %ld%s%s",
                       where, s, colon, h->server_says);
}

static int finish_body(struct slv_http *h, uint64_t from) {
    int rc = 0;
    if (h->head.status == 416 && from) {
        rc = h->sink->start(h->sink->ctx, &h->head, h->err);
        return rc ? rc : slv_err_set(h->err, SLV_E_NET, "the server has no such range");
    }
    if (!h->started) rc = start_body(h); /* an empty body */
    return rc ? rc : h->sink->end(h->sink->ctx, h->err);
}

/* One try: a request and the redirects after it. */
static int one_try(struct slv_http *h, const char *url) {
    uint64_t from = 0;
    const char *if_range = NULL;
    char where[160];
    struct slv_buf at;
    slv_buf_init(&at, 16384);
    h->head = (struct slv_http_head){0};
    h->retry_after = -1;
    int rc = h->sink->prepare(h->sink->ctx, &from, &if_range, h->err);
    if (!rc && slv_buf_adds(&at, url)) rc = slv_err_set(h->err, at.status, "URL too long");
    for (int hop = 0; !rc; hop++) {
        const char *next = NULL;
        rc = one_hop(h, at.data, from, if_range);
        if (rc) break;
        if (!is_redirect(h->head.status)) {
            if (!wanted(h->head.status) && !(h->head.status == 416 && from))
                rc = refused(h, at.data);
            else if ((rc = finish_body(h, from)))
                slv_err_prefix(h->err, rc, "%s", brief(at.data, where));
            break;
        }
        curl_easy_getinfo(h->curl, CURLINFO_REDIRECT_URL, &next);
        if (!next || hop == REDIRECTS_MAX) {
            rc = slv_err_set(h->err, SLV_E_IO, "%s: %s", brief(url, where),
                             next ? "redirected too often" : "redirected to nowhere");
            break;
        }
        slv_buf_clear(&at);
        if (slv_buf_adds(&at, next)) rc = slv_err_set(h->err, at.status, "redirect URL too long");
    }
    slv_buf_fini(&at);
    return rc;
}

/* --- trying again ----------------------------------------------------------------------------- */

static int pause_ms(struct slv_http *h, uint64_t ms) {
    uint64_t until = slv_clock_mono(&slv_clock_system) + ms * 1000000u;
    while (slv_clock_mono(&slv_clock_system) < until) {
        struct timespec t = {.tv_nsec = 20000000};
        if (slv_ui_cancelled(h->ui)) return slv_err_set(h->err, SLV_E_CANCELLED, "interrupted");
        nanosleep(&t, NULL);
    }
    return 0;
}

int slv_http_get(struct slv_http *h, const char *url, const struct slv_http_sink *sink,
                 struct slv_err *err) {
    struct slv_err own = {0};
    uint64_t best = 0, from = 0, pause = FIRST_PAUSE_MS;
    const char *if_range;
    int64_t failures = 0;
    char where[160];
    h->sink = sink;
    h->err = &own;
    for (;;) {
        int rc = one_try(h, url);
        if (!rc) return 0;
        if (rc != SLV_E_NET) return slv_err_set(err, rc, "%s", own.msg);
        if (!sink->prepare(sink->ctx, &from, &if_range, NULL) && from > best) {
            best = from; /* it goes forward: patience starts again */
            failures = 0;
            pause = FIRST_PAUSE_MS;
        }
        if (failures++ >= h->retries) return slv_err_set(err, rc, "%s", own.msg);
        uint64_t wait = h->retry_after > 0 ? (uint64_t)h->retry_after * 1000 : pause;
        char line[700];
        snprintf(line, sizeof line, "%s: trying again in %.1f s", own.msg, (double)wait / 1000);
        slv_ui_note(h->ui, line);
        rc = pause_ms(h, wait);
        if (rc) return slv_err_set(err, rc, "%s: interrupted", brief(url, where));
        pause = pause * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : pause * 2;
    }
}

/* --- into memory ------------------------------------------------------------------------------ */

struct to_buf {
    struct slv_buf *buf;
    struct slv_http_head head;
};

static int buf_prepare(void *ctx, uint64_t *ret_from, const char **ret_if_range,
                       struct slv_err *err) {
    struct to_buf *t = ctx;
    (void)err;
    slv_buf_clear(t->buf);
    *ret_from = 0;
    *ret_if_range = NULL;
    return 0;
}

static int buf_start(void *ctx, const struct slv_http_head *head, struct slv_err *err) {
    struct to_buf *t = ctx;
    (void)err;
    t->head = *head;
    return 0;
}

static int buf_data(void *ctx, const void *p, size_t n, struct slv_err *err) {
    struct to_buf *t = ctx;
    int rc = slv_buf_add(t->buf, p, n);
    return rc ? slv_err_set(err, rc, "the answer is too long: %s", slv_strerror(rc)) : 0;
}

static int buf_end(void *ctx, struct slv_err *err) {
    (void)ctx, (void)err;
    return 0;
}

int slv_http_get_buf(struct slv_http *h, const char *url, struct slv_buf *buf,
                     struct slv_http_head *ret_head, struct slv_err *err) {
    struct to_buf t = {.buf = buf};
    struct slv_http_sink sink = {buf_prepare, buf_start, buf_data, buf_end, &t};
    int rc = slv_http_get(h, url, &sink, err);
    if (!rc && ret_head) *ret_head = t.head;
    return rc;
}
