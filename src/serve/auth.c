/* auth.c: who asks, whether they may, and how much of it.
 *
 * A token comes as "Authorization: Bearer" or "X-Api-Key". Each key has two buckets, of requests
 * and of tokens, that fill up at their limit a minute and hold one minute's worth. A request takes
 * one and its prompt; what is written is taken when it is known, so that a bucket may run into the
 * red and its key waits until it has filled up.
 *
 * Host and Origin: a page of somebody's in a browser must not reach a server that has no keys, by
 * its own name for 127.0.0.1 (DNS rebinding) or by a form. So a request with an Origin is taken
 * only from the server's own page or one that was named; and without keys the Host must be an
 * address, localhost, or a name that was given. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/sum.h"
#include "serve/serve_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- users ------------------------------------------------------------------------------------ */

static struct serve_user *user_of(struct slv_serve *s, const char *id) {
    for (struct serve_user *u = s->users; u; u = u->next)
        if (!strcmp(u->id, id)) return u;
    struct serve_user *u = slv_mem_calloc(1, sizeof *u);
    if (!u) return NULL;
    snprintf(u->id, sizeof u->id, "%s", id);
    u->space = s->o.share_prefixes || !*id ? 0 : slv_sum64(id, strlen(id), 1) | 1;
    u->at = UINT64_MAX; /* full at first */
    u->next = s->users;
    s->users = u;
    return u;
}

/* Fills the buckets up to now. */
static void refill(struct serve_user *u, const struct slv_apikey *key) {
    const uint64_t now = serve_now();
    double requests = (double)key->requests_per_minute, tokens = (double)key->tokens_per_minute;
    double minutes = u->at == UINT64_MAX ? 1.0 : (double)(now - u->at) / 60e9;
    u->at = now;
    u->requests += requests * minutes;
    u->tokens += tokens * minutes;
    if (u->requests > requests) u->requests = requests;
    if (u->tokens > tokens) u->tokens = tokens;
}

static uint32_t seconds_until(double have, double want, double per_minute) {
    double s = (want - have) * 60.0 / per_minute;
    return s < 1.0 ? 1u : s > 3600.0 ? 3600u : (uint32_t)(s + 0.999);
}

static bool take_request(struct serve_user *u, const struct slv_apikey *key, struct serve_fail *f) {
    refill(u, key);
    if (key->requests_per_minute && u->requests < 1.0) {
        f->retry_s = seconds_until(u->requests, 1.0, (double)key->requests_per_minute);
        return serve_refuse(f, 429, NULL, "rate_limit_exceeded", "more than %llu requests a minute",
                            (unsigned long long)key->requests_per_minute);
    }
    if (key->tokens_per_minute && u->tokens <= 0.0) {
        f->retry_s = seconds_until(u->tokens, 1.0, (double)key->tokens_per_minute);
        return serve_refuse(f, 429, NULL, "rate_limit_exceeded", "more than %llu tokens a minute",
                            (unsigned long long)key->tokens_per_minute);
    }
    if (key->requests_per_minute) u->requests -= 1.0;
    return true;
}

bool serve_auth_tokens(struct serve_call *c, uint64_t n, bool must, struct serve_fail *f) {
    if (!c->key || !c->key->tokens_per_minute) return true;
    const double limit = (double)c->key->tokens_per_minute;
    bool ok = true;
    pthread_mutex_lock(&c->s->auth_lock);
    refill(c->user, c->key);
    if (must && (double)n > limit)
        ok = serve_refuse(f, 413, NULL, "rate_limit_exceeded",
                          "the prompt has %llu tokens, the key's limit is %.0f a minute",
                          (unsigned long long)n, limit);
    else if (must && (double)n > c->user->tokens) {
        f->retry_s = seconds_until(c->user->tokens, (double)n, limit);
        ok = serve_refuse(f, 429, NULL, "rate_limit_exceeded", "more than %.0f tokens a minute",
                          limit);
    }
    if (ok) c->user->tokens -= (double)n;
    pthread_mutex_unlock(&c->s->auth_lock);
    return ok;
}

/* --- tokens ----------------------------------------------------------------------------------- */

static struct slv_str token_of(const struct slv_head *h) {
    struct slv_str a = slv_head_field(h, "authorization");
    if (!a.p) return slv_head_field(h, "x-api-key");
    if (a.n < 7 || strncasecmp(a.p, "Bearer ", 7) != 0) return (struct slv_str){NULL, 0};
    a.p += 7;
    a.n -= 7;
    while (a.n && *a.p == ' ') {
        a.p++;
        a.n--;
    }
    return a;
}

bool serve_auth(struct slv_serve *s, struct slv_exchange *x, const struct slv_apikey **ret_key,
                struct serve_user **ret_user, struct serve_fail *f) {
    const struct slv_apikey *key = NULL;
    struct slv_err err = {0};
    if (s->o.keys) {
        struct slv_str token = token_of(slv_exchange_head(x));
        if (!token.p) return serve_refuse(f, 401, NULL, "no_api_key", "an API key is wanted");
        const uint64_t now = slv_clock_wall(&slv_clock_system) / 1000000000u;
        if (slv_apikeys_find(s->o.keys, token.p, token.n, now, &key, &err))
            return serve_refuse(f, 401, NULL, "invalid_api_key", "the API key is not valid");
    }
    pthread_mutex_lock(&s->auth_lock);
    struct serve_user *u = user_of(s, key ? key->id : "");
    bool ok = u != NULL || serve_refuse(f, 503, NULL, NULL, "out of memory");
    if (ok && key) ok = take_request(u, key, f);
    pthread_mutex_unlock(&s->auth_lock);
    *ret_key = key;
    *ret_user = u;
    return ok;
}

/* --- where a request comes from --------------------------------------------------------------- */

static bool same(struct slv_str a, const char *b) {
    return a.n == strlen(b) && !strncasecmp(a.p, b, a.n);
}

/* Without the port. */
static struct slv_str host_name(struct slv_str h) {
    if (h.n && h.p[0] == '[') {
        const char *close = memchr(h.p, ']', h.n);
        return close ? (struct slv_str){h.p, (size_t)(close - h.p) + 1} : h;
    }
    const char *colon = h.n ? memchr(h.p, ':', h.n) : NULL;
    return colon ? (struct slv_str){h.p, (size_t)(colon - h.p)} : h;
}

static bool is_address(struct slv_str h) {
    if (h.n && h.p[0] == '[') return true;
    for (size_t i = 0; i < h.n; i++)
        if (!strchr("0123456789.", h.p[i])) return false;
    return h.n > 0;
}

static bool host_allowed(const struct slv_serve *s, struct slv_str h) {
    struct slv_str name = host_name(h);
    if (is_address(name) || same(name, "localhost") || !h.n) return true;
    for (size_t i = 0; i < s->o.n_hosts; i++)
        if (same(name, s->o.hosts[i])) return true;
    return s->o.keys && !s->o.n_hosts;
}

/* Browsers show a page the reply only where this says so (the Fetch standard's CORS protocol). */
static void let_in(struct slv_exchange *x, const char *origin) {
    char fields[600];
    snprintf(fields, sizeof fields,
             "Access-Control-Allow-Origin: %.300s\r\nVary: Origin\r\n"
             "Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
             "Access-Control-Allow-Headers: authorization, content-type, x-api-key\r\n"
             "Access-Control-Expose-Headers: retry-after\r\n",
             origin);
    slv_exchange_add_fields(x, fields);
}

bool serve_auth_origin(struct slv_serve *s, struct slv_exchange *x, struct serve_fail *f) {
    const struct slv_head *h = slv_exchange_head(x);
    struct slv_str origin = slv_head_field(h, "origin");
    if (!host_allowed(s, h->host))
        return serve_refuse(f, 421, "Host", "wrong_host",
                            "this server is not called that: --host NAME allows a name");
    if (!origin.p) return true;
    for (size_t i = 0; i < s->o.n_origins; i++)
        if (same(origin, s->o.origins[i])) {
            let_in(x, s->o.origins[i]);
            return true;
        }
    const char *own = slv_exchange_peer(x)->tls ? "https://" : "http://";
    size_t n = strlen(own);
    if (origin.n == n + h->host.n && !strncasecmp(origin.p, own, n) &&
        !strncasecmp(origin.p + n, h->host.p, h->host.n))
        return true;
    return serve_refuse(f, 403, "Origin", "wrong_origin",
                        "pages of other sites may not ask: --origin URL allows one");
}

/* --- life ------------------------------------------------------------------------------------- */

int serve_auth_open(struct slv_serve *s, struct slv_err *err) {
    (void)err;
    pthread_mutex_init(&s->auth_lock, NULL);
    return 0;
}

void serve_auth_close(struct slv_serve *s) {
    while (s->users) {
        struct serve_user *u = s->users;
        s->users = u->next;
        slv_mem_free(u);
    }
    pthread_mutex_destroy(&s->auth_lock);
}
