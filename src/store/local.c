/* local.c: see local.h. */
#include "store/local.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

#define LINE_MAX_BYTES ((size_t)64 << 20)

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_setup(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

struct asking {
    struct slv_buf *to;
    int (*fn)(void *ctx, struct slv_str line);
    void *ctx;
    bool (*stop)(void);
    const struct slv_local_follower *f; /* or NULL */
    CURL *curl;
    uint32_t ms;
    int rc;
};

void slv_local_encode(struct slv_buf *b, struct slv_str part) {
    for (size_t i = 0; i < part.n; i++) {
        const unsigned char c = (unsigned char)part.p[i];
        if (isalnum(c) || strchr("-._~", c ? c : '%')) slv_buf_addc(b, (char)c);
        else slv_buf_addf(b, "%%%02X", c);
    }
}

/* Whole lines of what has come go to fn. */
static int take_lines(struct asking *a) {
    size_t from = 0;
    const char *end;
    while (!a->rc && (end = memchr(a->to->data + from, '\n', a->to->len - from)) != NULL) {
        const size_t n = (size_t)(end - a->to->data) - from;
        a->rc = a->fn(a->ctx, (struct slv_str){a->to->data + from, n});
        from += n + 1;
    }
    memmove(a->to->data, a->to->data + from, a->to->len - from);
    a->to->len -= from;
    return a->rc;
}

static size_t on_data(char *p, size_t size, size_t n, void *ctx) {
    struct asking *a = ctx;
    a->rc = slv_buf_add(a->to, p, size * n);
    if (!a->rc && a->fn) a->rc = take_lines(a);
    return a->rc ? 0 : n;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct asking *w = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return (w->stop && w->stop()) || (w->f && w->f->stop && w->f->stop(w->f->ctx));
}

/* An empty line ends the head. */
static size_t on_head(char *p, size_t size, size_t n, void *ctx) {
    const struct asking *a = ctx;
    long status = 0;
    if (size * n == 2 && !memcmp(p, "\r\n", 2) && a->f && a->f->begun) {
        curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
        a->f->begun(a->f->ctx, status);
    }
    return size * n;
}

static void set_up(CURL *c, const struct slv_local_request *r, struct asking *a, char *why,
                   struct curl_slist *fields) {
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, r->socket);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)a->ms);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, a);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, fields);
    if (!r->body.n) return;
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body.p);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
}

/* (One that there is no room for is as one that did not come.) */
static void take_field(CURL *c, const struct slv_local_request *r) {
    struct curl_header *h;
    if (r->wanted && !curl_easy_header(c, r->wanted, 0, CURLH_HEADER, -1, &h) &&
        slv_buf_adds(r->got, h->value))
        slv_buf_clear(r->got);
}

/* No "Expect: 100-continue" for a socket next door. */
static struct curl_slist *make_fields(const struct slv_local_request *r) {
    struct curl_slist *first = curl_slist_append(NULL, "Expect:");
    struct curl_slist *all = first && r->field ? curl_slist_append(first, r->field) : first;
    if (!all) curl_slist_free_all(first);
    return all;
}

static int ask(const struct slv_local_request *r, struct asking *a, long *ret_status,
               struct slv_err *err) {
    char why[CURL_ERROR_SIZE] = "";
    struct slv_buf url;
    long error = 0;
    pthread_once(&curl_once, curl_setup);
    CURL *c = curl_easy_init();
    struct curl_slist *fields = make_fields(r);
    slv_buf_init(&url, (size_t)64 << 10);
    slv_buf_addf(&url, "http://localhost%s", r->path);
    int rc = !c || !fields ? SLV_E_NOMEM : url.status;
    a->curl = c;
    if (!rc) {
        set_up(c, r, a, why, fields);
        curl_easy_setopt(c, CURLOPT_URL, url.data);
        const CURLcode cc = curl_easy_perform(c);
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, ret_status);
        if (cc == CURLE_COULDNT_CONNECT) curl_easy_getinfo(c, CURLINFO_OS_ERRNO, &error);
        if (!cc) take_field(c, r);
        if (a->rc) rc = a->rc;
        else if (cc == CURLE_ABORTED_BY_CALLBACK) rc = SLV_E_CANCELLED;
        else if (cc)
            rc = slv_err_set(err, SLV_E_NET, "%s: %s", r->socket,
                             *why ? why : curl_easy_strerror(cc));
    }
    if (r->error) *r->error = (int)error;
    if (rc == SLV_E_NOMEM || rc == SLV_E_LIMIT) slv_err_set(err, rc, "%s: too much", r->socket);
    slv_buf_fini(&url);
    curl_slist_free_all(fields);
    curl_easy_cleanup(c);
    return rc;
}

int slv_local_ask(const struct slv_local_request *r, long *ret_status, struct slv_buf *ret,
                  struct slv_err *err) {
    return slv_local_ask_within(r, 0, ret_status, ret, err);
}

int slv_local_ask_within(const struct slv_local_request *r, uint32_t ms, long *ret_status,
                         struct slv_buf *ret, struct slv_err *err) {
    struct asking a = {.to = ret, .ms = ms};
    return ask(r, &a, ret_status, err);
}

int slv_local_lines(const struct slv_local_request *r, long *ret_status,
                    int (*fn)(void *ctx, struct slv_str line), void *ctx, bool (*stop)(void),
                    struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, LINE_MAX_BYTES);
    struct asking a = {.to = &b, .fn = fn, .ctx = ctx, .stop = stop};
    const int rc = ask(r, &a, ret_status, err);
    slv_buf_fini(&b);
    return rc;
}

int slv_local_follow(const struct slv_local_request *r, const struct slv_local_follower *f,
                     long *ret_status, struct slv_err *err) {
    struct slv_buf b;
    slv_buf_init(&b, LINE_MAX_BYTES);
    struct asking a = {.to = &b, .fn = f->line, .ctx = f->ctx, .f = f};
    const int rc = ask(r, &a, ret_status, err);
    slv_buf_fini(&b);
    return rc;
}
