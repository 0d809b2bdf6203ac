/* otlp.c: see otlp.h. A span is one message of fixed size on a socket that keeps borders; the
 * sender gathers those that come within a second and posts them together. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "cli/otlp.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "trust/sandbox.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_MAX 256
#define GATHER_MS 1000
#define POST_S 5L
#define URL_MAX 2048
#define CLOSE_MS 2000

struct slv_otlp {
    pid_t pid;
    int fd;
};

/* --- what is posted --------------------------------------------------------------------------- */

static void text_attribute(struct slv_json *j, const char *key, const char *v) {
    if (!*v) return;
    slv_json_object(j, NULL);
    slv_json_str(j, "key", key);
    slv_json_object(j, "value");
    slv_json_str(j, "stringValue", v);
    slv_json_object_end(j);
    slv_json_object_end(j);
}

static void int_attribute(struct slv_json *j, const char *key, uint64_t v) {
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    slv_json_object(j, NULL);
    slv_json_str(j, "key", key);
    slv_json_object(j, "value");
    slv_json_str(j, "intValue", digits); /* 64 bits are strings in this encoding */
    slv_json_object_end(j);
    slv_json_object_end(j);
}

static void nanoseconds(struct slv_json *j, const char *key, uint64_t ns) {
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)ns);
    slv_json_str(j, key, digits);
}

enum { KIND_INTERNAL = 1, KIND_SERVER = 2 };

/* The span's id with its last digits replaced: ids of its parts. */
static void part_id(const struct slv_serve_span *s, unsigned part, char ret[17]) {
    snprintf(ret, 17, "%.14s%02x", s->span, part);
}

static void span_head(struct slv_json *j, const struct slv_serve_span *s, const char *id,
                      const char *parent, const char *name, int kind) {
    slv_json_object(j, NULL);
    slv_json_str(j, "traceId", s->trace);
    slv_json_str(j, "spanId", id);
    if (*parent) slv_json_str(j, "parentSpanId", parent);
    slv_json_str(j, "name", name);
    slv_json_int(j, "kind", kind);
}

/* A part of the request's time, unless it had none. */
static void part_span(struct slv_json *j, const struct slv_serve_span *s, unsigned part,
                      const char *name, uint64_t from, uint64_t to) {
    char id[17];
    if (!from || to < from) return;
    part_id(s, part, id);
    span_head(j, s, id, s->span, name, KIND_INTERNAL);
    nanoseconds(j, "startTimeUnixNano", from);
    nanoseconds(j, "endTimeUnixNano", to);
    slv_json_object_end(j);
}

static void request_span(struct slv_json *j, const struct slv_serve_span *s) {
    span_head(j, s, s->span, s->parent, s->path, KIND_SERVER);
    nanoseconds(j, "startTimeUnixNano", s->begun_ns);
    nanoseconds(j, "endTimeUnixNano", s->ended_ns);
    slv_json_array(j, "attributes");
    text_attribute(j, "gen_ai.system", "selvage");
    text_attribute(j, "gen_ai.request.model", s->model);
    text_attribute(j, "gen_ai.response.id", s->id);
    text_attribute(j, "gen_ai.response.finish_reasons", s->finish);
    text_attribute(j, "url.path", s->path);
    text_attribute(j, "enduser.id", s->key);
    int_attribute(j, "http.response.status_code", s->status);
    int_attribute(j, "gen_ai.usage.input_tokens", s->prompt_tokens);
    int_attribute(j, "gen_ai.usage.output_tokens", s->output_tokens);
    int_attribute(j, "selvage.cached_tokens", s->cached_tokens);
    slv_json_array_end(j);
    slv_json_object(j, "status");
    slv_json_int(j, "code", s->status >= 500 ? 2 : 0);
    slv_json_object_end(j);
    slv_json_object_end(j);
    part_span(j, s, 1, "queue", s->begun_ns, s->started_ns);
    part_span(j, s, 2, "prompt", s->started_ns, s->first_ns);
    part_span(j, s, 3, "answer", s->first_ns, s->ended_ns);
}

static void batch_json(struct slv_buf *out, const struct slv_serve_span *v, size_t n) {
    struct slv_json j;
    slv_json_init(&j, out);
    slv_json_object(&j, NULL);
    slv_json_array(&j, "resourceSpans");
    slv_json_object(&j, NULL);
    slv_json_object(&j, "resource");
    slv_json_array(&j, "attributes");
    text_attribute(&j, "service.name", "selvage");
    text_attribute(&j, "service.version", slv_version());
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_json_array(&j, "scopeSpans");
    slv_json_object(&j, NULL);
    slv_json_object(&j, "scope");
    slv_json_str(&j, "name", "selvage.serve");
    slv_json_object_end(&j);
    slv_json_array(&j, "spans");
    for (size_t i = 0; i < n; i++)
        request_span(&j, &v[i]);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
    slv_json_array_end(&j);
    slv_json_object_end(&j);
}

/* --- the sender ------------------------------------------------------------------------------- */

static size_t forget(char *p, size_t size, size_t n, void *ctx) {
    (void)p;
    (void)ctx;
    return size * n;
}

static bool post(CURL *curl, const char *url, const struct slv_serve_span *v, size_t n) {
    struct slv_buf body;
    long status = 0;
    slv_buf_init(&body, (size_t)16 << 20);
    batch_json(&body, v, n);
    struct curl_slist *head = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, head);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, forget);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, POST_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    bool ok = !body.status && curl_easy_perform(curl) == CURLE_OK &&
              curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status < 300;
    curl_slist_free_all(head);
    slv_buf_fini(&body);
    return ok;
}

/* Spans that come within a moment. False: the server has ended. */
static bool gather(int fd, struct slv_serve_span *v, size_t *ret_n) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int wait = -1;
    *ret_n = 0;
    while (*ret_n < BATCH_MAX) {
        int k = poll(&p, 1, wait);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return true;
        ssize_t n = recv(fd, &v[*ret_n], sizeof *v, 0);
        if (n <= 0) return false;
        if (n == sizeof *v) ++*ret_n;
        wait = GATHER_MS;
    }
    return true;
}

static void send_all(int fd, const char *url) {
    static const struct slv_sandbox_path system[] = {{"/etc", SLV_SANDBOX_READ},
                                                     {"/usr", SLV_SANDBOX_READ},
                                                     {"/lib", SLV_SANDBOX_READ},
                                                     {"/lib64", SLV_SANDBOX_READ},
                                                     {"/run/systemd/resolve", SLV_SANDBOX_READ},
                                                     {"/dev/urandom", SLV_SANDBOX_READ}};
    static struct slv_serve_span v[BATCH_MAX];
    struct slv_err err = {0};
    bool more = true, failing = false;
    size_t n;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int rc = slv_sandbox_files(system, sizeof system / sizeof *system, &err);
    CURL *curl = rc && rc != SLV_E_UNSUPPORTED ? NULL : curl_easy_init();
    while (curl && more) {
        more = gather(fd, v, &n);
        if (!n) continue;
        bool ok = post(curl, url, v, n);
        if (!ok && !failing) slv_log(SLV_LOG_WARN, "traces: %s takes none: dropped", url);
        failing = !ok;
    }
    _exit(curl ? 0 : 1);
}

/* --- the server's side ------------------------------------------------------------------------ */

static int full_url(const char *url, char ret[URL_MAX], struct slv_err *err) {
    bool http = !strncmp(url, "http://", 7), https = !strncmp(url, "https://", 8);
    const char *host = url + (https ? 8 : 7), *slash = strchr(host, '/');
    if ((!http && !https) || !*host || strlen(url) + 16 > URL_MAX)
        return slv_err_set(err, SLV_E_USAGE, "--otlp %s: http://HOST:PORT is wanted", url);
    snprintf(ret, URL_MAX, "%s%s", url,
             slash && slash[1] ? ""
             : slash           ? "v1/traces"
                               : "/v1/traces");
    return 0;
}

int slv_otlp_open(const char *url, struct slv_otlp **ret, struct slv_err *err) {
    char full[URL_MAX];
    int fd[2], rc = full_url(url, full, err);
    if (rc) return rc;
    struct slv_otlp *o = slv_mem_calloc(1, sizeof *o);
    if (!o) return slv_err_set(err, SLV_E_NOMEM, "out of memory");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd)) {
        slv_mem_free(o);
        return slv_err_set(err, SLV_E_IO, "traces: %s", strerror(errno));
    }
    o->pid = fork();
    if (!o->pid) {
        close(fd[0]);
        send_all(fd[1], full);
    }
    close(fd[1]);
    o->fd = fd[0];
    if (o->pid < 0) {
        int e = errno;
        slv_otlp_close(o);
        return slv_err_set(err, SLV_E_IO, "traces: %s", strerror(e));
    }
    *ret = o;
    return 0;
}

void slv_otlp_close(struct slv_otlp *o) {
    if (!o) return;
    close(o->fd); /* it sends what it has, and ends */
    for (int ms = 0; o->pid > 0 && ms < CLOSE_MS; ms += 20) {
        if (waitpid(o->pid, NULL, WNOHANG)) o->pid = 0;
        else poll(NULL, 0, 20);
    }
    if (o->pid > 0) {
        kill(o->pid, SIGKILL);
        waitpid(o->pid, NULL, 0);
    }
    slv_mem_free(o);
}

void slv_otlp_span(void *otlp, const struct slv_serve_span *s) {
    struct slv_otlp *o = otlp;
    if (send(o->fd, s, sizeof *s, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) { /* dropped */
    }
}
